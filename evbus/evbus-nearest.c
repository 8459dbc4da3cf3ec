/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <string.h>

#include "evbus-nearest-private.h"

#define MAX_WORD   64
#define MIN_PREFIX 3

/* Edits (insert, delete, replace, swap two neighbours) between the two words,
 * upper and lower case alike. Three rows of the usual table are enough. */
static guint
distance (const char *a,
          const char *b)
{
  guint rows[3][MAX_WORD + 1];
  gsize a_length = strlen (a);
  gsize b_length = strlen (b);

  for (gsize j = 0; j <= b_length; j++)
    rows[0][j] = j;

  for (gsize i = 1; i <= a_length; i++)
    {
      guint *row = rows[i % 3];
      const guint *above = rows[(i + 2) % 3];
      const guint *two_above = rows[(i + 1) % 3];

      row[0] = i;
      for (gsize j = 1; j <= b_length; j++)
        {
          char x = g_ascii_tolower (a[i - 1]);
          char y = g_ascii_tolower (b[j - 1]);

          row[j] = MIN (MIN (row[j - 1], above[j]) + 1, above[j - 1] + (x != y));
          if (i > 1 && j > 1 && x == g_ascii_tolower (b[j - 2]) && y == g_ascii_tolower (a[i - 2]))
            row[j] = MIN (row[j], two_above[j - 2] + 1);
        }
    }
  return rows[a_length % 3][b_length];
}

/* Somebody stopped writing: as 'drop_old'. Of two that go on so neither is meant
 * more than the other. */
static const char *
find_longer (const char         *word,
             const char * const *candidates)
{
  gsize length = strlen (word);
  const char *found = NULL;

  if (length < MIN_PREFIX)
    return NULL;
  for (gsize i = 0; candidates[i] != NULL; i++)
    {
      if (g_ascii_strncasecmp (word, candidates[i], length) != 0)
        continue;
      if (found != NULL)
        return NULL;
      found = candidates[i];
    }
  return found;
}

const char *
evbus_nearest (const char         *word,
               const char * const *candidates)
{
  const char *best = NULL;
  guint best_distance;

  g_return_val_if_fail (word != NULL, NULL);
  g_return_val_if_fail (candidates != NULL, NULL);

  if (strlen (word) > MAX_WORD)
    return NULL;

  /* A third of the letters may be wrong: more is another word. */
  best_distance = MAX (1, strlen (word) / 3) + 1;
  for (gsize i = 0; candidates[i] != NULL; i++)
    {
      guint edits;

      if (strlen (candidates[i]) > MAX_WORD)
        continue;
      edits = distance (word, candidates[i]);
      if (edits < best_distance && edits < strlen (candidates[i]))
        {
          best = candidates[i];
          best_distance = edits;
        }
    }
  return best != NULL ? best : find_longer (word, candidates);
}

char *
evbus_nearest_hint (const char         *word,
                    const char * const *candidates)
{
  const char *nearest = evbus_nearest (word, candidates);

  return nearest != NULL ? g_strdup_printf ("; did you mean '%s'?", nearest) : g_strdup ("");
}
