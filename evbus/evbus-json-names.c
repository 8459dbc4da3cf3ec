/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Finding a name that stands twice in an object of a JSON document. */

#include "evbus-json-names-private.h"

#include <stdlib.h>
#include <string.h>

/* Objects larger than this are sorted: no choice of names makes that slow, as
 * one could with a hash. */
#define SORTED_NAMES 16

/* @document is valid as far as it was added from. */
void
evbus_json_names_init (EvbusJsonNames *self,
                       const guint8   *document)
{
  self->document = document;
  self->plain = NULL;
  self->names = self->few_names;
  self->n_names = 0;
  self->max_names = EVBUS_JSON_FEW_NAMES;
  self->n_objects = 0;
}

void
evbus_json_names_clear (EvbusJsonNames *self)
{
  if (self->names != self->few_names)
    g_free (self->names);
  g_clear_pointer (&self->plain, g_byte_array_unref);
}

/* The caller sees to it that no more than EVBUS_MAX_NESTING are open. */
void
evbus_json_names_open (EvbusJsonNames *self)
{
  self->first[self->n_objects++] = self->n_names;
}

static EvbusJsonName *
next_name (EvbusJsonNames *self)
{
  EvbusJsonName *more;

  if (self->n_names == self->max_names)
    {
      self->max_names *= 2;
      more = g_renew (EvbusJsonName, self->names == self->few_names ? NULL : self->names,
                      self->max_names);
      if (self->names == self->few_names)
        memcpy (more, self->few_names, sizeof self->few_names);
      self->names = more;
    }
  return &self->names[self->n_names++];
}

static guint
read_hex (const guint8 *digits)
{
  guint unit = 0;

  for (guint i = 0; i < 4; i++)
    unit = unit << 4 | (guint) g_ascii_xdigit_value (digits[i]);
  return unit;
}

/* Half of a pair alone is no character, and yet a name: it is kept as the three
 * bytes that no valid document has as they are. */
static const guint8 *
unescape_unicode (GByteArray   *plain,
                  const guint8 *p,
                  const guint8 *end)
{
  gunichar c = read_hex (p);
  char utf8[6];

  p += 4;
  if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u')
    {
      guint low = read_hex (p + 2);

      if (low >= 0xdc00 && low < 0xe000)
        {
          c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
          p += 6;
        }
    }
  g_byte_array_append (plain, (guint8 *) utf8, g_unichar_to_utf8 (c, utf8));
  return p;
}

/* Never longer than what it stands for. */
static void
unescape (GByteArray   *plain,
          const guint8 *p,
          const guint8 *end)
{
  static const char from[] = "bfnrt";
  static const guint8 to[] = "\b\f\n\r\t";

  while (p < end)
    {
      const guint8 *escape = memchr (p, '\\', end - p);
      const char *known;

      g_byte_array_append (plain, p, (escape != NULL ? escape : end) - p);
      if (escape == NULL)
        break;
      p = escape + 2;
      known = strchr (from, escape[1]);
      if (escape[1] == 'u')
        p = unescape_unicode (plain, p, end);
      else
        g_byte_array_append (plain, known != NULL ? to + (known - from) : escape + 1, 1);
    }
}

/* The name between two quotation marks, which was found valid. */
void
evbus_json_names_add (EvbusJsonNames *self,
                      const guint8   *begin,
                      const guint8   *end)
{
  EvbusJsonName *name = next_name (self);

  name->place = begin - 1 - self->document;
  name->escaped = memchr (begin, '\\', end - begin) != NULL;
  name->offset = begin - self->document;
  name->length = end - begin;
  if (!name->escaped)
    return;

  if (self->plain == NULL)
    self->plain = g_byte_array_new ();
  name->offset = self->plain->len;
  unescape (self->plain, begin, end);
  name->length = self->plain->len - name->offset;
}

static int
compare_names (gconstpointer a,
               gconstpointer b,
               gpointer      data)
{
  const EvbusJsonNames *self = data;
  const EvbusJsonName *left = a;
  const EvbusJsonName *right = b;

  if (left->length != right->length)
    return left->length < right->length ? -1 : 1;
  if (left->length == 0)
    return 0;
  return memcmp ((left->escaped ? self->plain->data : self->document) + left->offset,
                 (right->escaped ? self->plain->data : self->document) + right->offset,
                 left->length);
}

/* Returns the smallest place of a name that was there before, or G_MAXSIZE. */
static gsize
find_twice (EvbusJsonNames *self,
            EvbusJsonName  *names,
            gsize           n_names)
{
  gsize twice = G_MAXSIZE;

  if (n_names <= SORTED_NAMES)
    {
      for (gsize i = 1; i < n_names; i++)
        for (gsize j = 0; j < i; j++)
          {
            if (compare_names (&names[i], &names[j], self) == 0)
              return names[i].place;
          }
      return twice;
    }

  qsort_r (names, n_names, sizeof *names, compare_names, self);
  for (gsize i = 1; i < n_names; i++)
    {
      if (compare_names (&names[i - 1], &names[i], self) == 0)
        twice = MIN (twice, MAX (names[i - 1].place, names[i].place));
    }
  return twice;
}

/* Forgets the names of the object that was opened last. Returns FALSE, with the
 * place of the second, if two of them are the same. */
gboolean
evbus_json_names_close (EvbusJsonNames *self,
                        const guint8  **twice)
{
  gsize first = self->first[--self->n_objects];
  gsize place = find_twice (self, self->names + first, self->n_names - first);

  self->n_names = first;
  if (place == G_MAXSIZE)
    return TRUE;
  *twice = self->document + place;
  return FALSE;
}
