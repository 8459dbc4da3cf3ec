/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fnmatch.h>
#include <string.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-matcher-private.h"
#include "evbus-nearest-private.h"

/* PCRE2 counts its steps of backtracking and gives up at this many. A name has
 * at most EVBUS_MAX_NAME_BYTES bytes, so that a sane pattern needs a few
 * hundred; the worst that the limit lets through takes about 0.1 ms. */
#define REGEX_STEPS 20000

typedef enum {
  SHAPE_LITERAL,
  SHAPE_ANY,
  SHAPE_PREFIX,
  SHAPE_GLOB,
  SHAPE_REGEX,
} Shape;

struct _EvbusMatcher
{
  Shape           shape;
  GRegex         *regex;
  gsize           length;   /* of text, without what SHAPE_PREFIX cuts off */
  char            text[];
};

static gboolean compile_glob  (const char    *pattern,
                               EvbusMatcher **result,
                               GError       **error);
static gboolean compile_regex (const char    *pattern,
                               EvbusMatcher **result,
                               GError       **error);

static const struct {
  const char *name;
  gboolean (* compile) (const char    *pattern,
                        EvbusMatcher **result,
                        GError       **error);
} languages[] = {
  { "glob", compile_glob },
  { "regex", compile_regex },
};

static EvbusMatcher *
matcher_alloc (Shape       shape,
               const char *text,
               gsize       length)
{
  EvbusMatcher *self = g_malloc0 (sizeof (EvbusMatcher) + length + 1);

  self->shape = shape;
  self->length = length;
  memcpy (self->text, text, length);
  return self;
}

/* Most patterns need no pattern matcher at all. */
static gboolean
compile_glob (const char    *pattern,
              EvbusMatcher **result,
              GError       **error)
{
  gsize length = strlen (pattern);
  gsize plain = strcspn (pattern, "*?[\\");

  if (pattern[plain] == '\0')
    *result = matcher_alloc (SHAPE_LITERAL, pattern, length);
  else if (pattern[plain] == '*' && plain + 1 == length)
    *result = matcher_alloc (plain == 0 ? SHAPE_ANY : SHAPE_PREFIX, pattern, plain);
  else
    *result = matcher_alloc (SHAPE_GLOB, pattern, length);
  return TRUE;
}

static void
set_regex_error (GError     **error,
                 const char  *pattern,
                 const char  *message)
{
  static const char marker[] = " at char ";
  const char *at = g_strrstr (message, marker);
  const char *colon = at != NULL ? strchr (at, ':') : NULL;

  /* GRegex repeats the pattern before the offset and the reason. */
  if (colon != NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                 "the pattern '%s' is not a regular expression: %s (at character %" G_GUINT64_FORMAT ")",
                 pattern, g_strchug ((char *) colon + 1),
                 g_ascii_strtoull (at + strlen (marker), NULL, 10));
  else
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                 "the pattern '%s' is not a regular expression: %s", pattern, message);
}

static gboolean
compile_regex (const char    *pattern,
               EvbusMatcher **result,
               GError       **error)
{
  g_autoptr(GError) local_error = NULL;
  g_autoptr(GRegex) alone = NULL;
  g_autoptr(GRegex) whole = NULL;
  g_autofree char *anchored = NULL;

  /* Alone first: a parenthesis too many must not close the group below, and
   * the offset in an error is the user's own. */
  alone = g_regex_new (pattern, 0, 0, &local_error);
  if (alone == NULL)
    {
      set_regex_error (error, pattern, local_error->message);
      return FALSE;
    }

  /* The limit stands in the pattern since GRegex has no call for it; compiled
   * to machine code or not, PCRE2 obeys it. */
  anchored = g_strdup_printf ("(*LIMIT_MATCH=%d)\\A(?:%s)\\z", REGEX_STEPS, pattern);
  whole = g_regex_new (anchored, G_REGEX_OPTIMIZE, 0, NULL);
  if (whole == NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                   "the pattern '%s' cannot be made to match a whole name: "
                   "leave out verbs such as (*UTF) and comments that reach its end",
                   pattern);
      return FALSE;
    }
  /* GRegex compiles to machine code at the first match, without a lock: have
   * that behind us before any other thread sees it. */
  g_regex_match (whole, "", 0, NULL);

  *result = matcher_alloc (SHAPE_REGEX, pattern, strlen (pattern));
  (*result)->regex = g_steal_pointer (&whole);
  return TRUE;
}

EvbusMatcher *
evbus_matcher_new (const char  *plugin,
                   const char  *pattern,
                   GError     **error)
{
  EvbusMatcher *self = NULL;
  const char *names[G_N_ELEMENTS (languages) + 1] = { NULL };
  const char *nearest;

  g_return_val_if_fail (plugin != NULL, NULL);
  g_return_val_if_fail (pattern != NULL, NULL);

  if (*pattern == '\0')
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                           "a profile pattern must not be empty");
      return NULL;
    }
  if (strlen (pattern) > EVBUS_MAX_NAME_BYTES)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                   "a profile pattern has at most %u bytes, this one has %" G_GSIZE_FORMAT,
                   EVBUS_MAX_NAME_BYTES, strlen (pattern));
      return NULL;
    }
  if (!g_utf8_validate (pattern, -1, NULL))
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                           "a profile pattern must be UTF-8");
      return NULL;
    }

  for (guint i = 0; i < G_N_ELEMENTS (languages); i++)
    {
      names[i] = languages[i].name;
      if (g_strcmp0 (plugin, languages[i].name) == 0)
        return languages[i].compile (pattern, &self, error) ? self : NULL;
    }

  nearest = evbus_nearest (plugin, names);
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
               "unknown match_plugin '%s'; %s%s%s", plugin,
               nearest != NULL ? "did you mean '" : "it is glob or regex",
               nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
  return NULL;
}

void
evbus_matcher_free (EvbusMatcher *self)
{
  g_return_if_fail (self != NULL);

  g_clear_pointer (&self->regex, g_regex_unref);
  g_free (self);
}

const char *
evbus_matcher_get_plugin (EvbusMatcher *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return self->shape == SHAPE_REGEX ? "regex" : "glob";
}

static gboolean
match_regex (EvbusMatcher  *self,
             const char    *name,
             gboolean      *matches,
             GError       **error)
{
  g_autoptr(GError) local_error = NULL;

  *matches = g_regex_match_full (self->regex, name, -1, 0, 0, NULL, &local_error);
  if (local_error == NULL)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_MATCH,
               "the pattern '%s' gives no answer for the profile '%s' within %d steps: "
               "write it without nested repetition",
               self->text, name, REGEX_STEPS);
  return FALSE;
}

gboolean
evbus_matcher_match (EvbusMatcher  *self,
                     const char    *name,
                     gboolean      *matches,
                     GError       **error)
{
  g_return_val_if_fail (self != NULL, FALSE);
  g_return_val_if_fail (name != NULL, FALSE);
  g_return_val_if_fail (matches != NULL, FALSE);

  switch (self->shape)
    {
    case SHAPE_LITERAL:
      *matches = strcmp (self->text, name) == 0;
      return TRUE;
    case SHAPE_ANY:
      *matches = TRUE;
      return TRUE;
    case SHAPE_PREFIX:
      *matches = strncmp (self->text, name, self->length) == 0;
      return TRUE;
    case SHAPE_GLOB:
      *matches = fnmatch (self->text, name, 0) == 0;
      return TRUE;
    case SHAPE_REGEX:
      return match_regex (self, name, matches, error);
    default:
      g_return_val_if_reached (FALSE);
    }
}
