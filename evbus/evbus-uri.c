/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-uri-private.h"

#include <string.h>

/* GLib lets characters pass that a URI has only with escapes, brackets and a second '#' where they may
 * not stand, and takes what it finds no scheme in for a path, also where that has a colon in front. */
static gboolean
is_uri (const char *text,
        gboolean    reference)
{
  static const char allowed[] = G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-._~:/?#[]@!$&'()*+,;=%";
  g_autofree char *scheme = NULL, *userinfo = NULL, *path = NULL, *query = NULL, *fragment = NULL;
  const char *parts[4];

  if (*text == '\0' || text[strspn (text, allowed)] != '\0' ||
      !g_uri_split (text, G_URI_FLAGS_ENCODED, &scheme, &userinfo, NULL, NULL, &path, &query, &fragment, NULL))
    return FALSE;
  parts[0] = userinfo;
  parts[1] = path;
  parts[2] = query;
  parts[3] = fragment;
  for (guint i = 0; i < G_N_ELEMENTS (parts); i++)
    if (parts[i] != NULL && strpbrk (parts[i], "#[]") != NULL)
      return FALSE;
  return scheme != NULL || (reference && text[strcspn (text, ":/?#")] != ':');
}

gboolean
evbus_uri_is_reference (const char *text)
{
  return is_uri (text, TRUE);
}

gboolean
evbus_uri_is_uri (const char *text)
{
  return is_uri (text, FALSE);
}
