/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-claim-private.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

/* What there is at one place. */
typedef struct {
  GPtrArray *parts;     /* routes of the spool that nobody has, but for those in doubt */
  GPtrArray *doubtful;  /* these: orphans of which nobody knows whose they are */
  GArray    *entries;   /* guint: which of the specs have no part by their keys */
  guint64    n_held;    /* events and dead letters of @parts, and … */
  guint64    n_doubted; /* … of @doubtful */
  gboolean   said;      /* that the entries begin anew because of a doubt */
} Place;

typedef struct {
  EvbusSpool       *spool;
  GHashTable       *held;
  GPtrArray        *specs;
  EvbusSpoolRoute **claims;
  GPtrArray        *places;    /* char *, in step with @specs */
  GPtrArray        *keys;      /* likewise */
  GHashTable       *free;      /* routes of the spool that nobody has, by key */
  GHashTable       *at;        /* Place by place */
  GPtrArray        *doubts;    /* char *: what begins anew because of a doubt; NULL: it is refused */
} Claim;

static void
place_free (gpointer data)
{
  Place *place = data;

  g_ptr_array_unref (place->parts);
  g_ptr_array_unref (place->doubtful);
  g_array_unref (place->entries);
  g_free (place);
}

/* "name:NAME", or "at:PROVIDER PATTERN DIGEST", with " 2" behind it for the second of
 * equal entries. Provider names have no blank, and in the pattern it is escaped, so
 * that a place is a prefix. */
static char *
make_place (EvbusRouteSpec *spec)
{
  g_autofree char *escaped = g_strescape (spec->profile, NULL);
  g_auto(GStrv) words = g_strsplit (escaped, " ", -1);
  g_autofree char *pattern = g_strjoinv ("\\s", words);

  return g_strdup_printf ("at:%s %s ", spec->provider, pattern);
}

/* That of a key; NULL: it is a name. */
static char *
find_place (const char *key)
{
  const char *end = g_str_has_prefix (key, "at:") ? strchr (key, ' ') : NULL;

  end = end != NULL ? strchr (end + 1, ' ') : NULL;
  return end != NULL ? g_strndup (key, (gsize) (end + 1 - key)) : NULL;
}

/* Which of equal entries is the second does not matter: they are equal. (It is not the `ordinal` of
 * the spec, which counts those of one configuration: a route that was added beside it may be equal, too.)
 * @numbers: the last one that was given to equal ones, by place and digest. */
static char *
make_key (EvbusRouteSpec *spec,
          const char     *place,
          GHashTable     *seen,
          GHashTable     *numbers)
{
  g_autofree char *first = NULL;
  char *key;
  guint n;

  if (spec->delivery.name != NULL)
    return g_strconcat ("name:", spec->delivery.name, NULL);

  first = g_strconcat (place, spec->digest, NULL);
  key = g_strdup (first);
  n = GPOINTER_TO_UINT (g_hash_table_lookup (numbers, first));
  while (g_hash_table_contains (seen, key))
    {
      g_free (key);
      n = MAX (n, 1) + 1;
      key = g_strdup_printf ("%s %u", first, n);
    }
  g_hash_table_insert (numbers, g_steal_pointer (&first), GUINT_TO_POINTER (n));
  return key;
}

static gboolean
make_keys (Claim       *claim,
           GHashTable  *taken,
           GError     **error)
{
  g_autoptr(GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr(GHashTable) numbers = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  GHashTableIter iter;
  gpointer route;

  /* Those of the routes that stay as they are. */
  g_hash_table_iter_init (&iter, taken);
  while (g_hash_table_iter_next (&iter, &route, NULL))
    g_hash_table_add (seen, (gpointer) evbus_spool_route_get_key (route));

  for (guint i = 0; i < claim->specs->len; i++)
    {
      EvbusRouteSpec *spec = claim->specs->pdata[i];
      char *place = make_place (spec);
      char *key = make_key (spec, place, seen, numbers);

      g_ptr_array_add (claim->places, place);
      g_ptr_array_add (claim->keys, key);
      if (g_hash_table_add (seen, key))
        continue;

      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                   "%s: another route is named '%s' too, and the spool could not tell them apart",
                   spec->where != NULL ? spec->where : spec->provider, spec->delivery.name);
      return FALSE;
    }

  return TRUE;
}

static void
claim_by_key (Claim *claim)
{
  for (guint i = 0; i < claim->specs->len; i++)
    {
      claim->claims[i] = g_hash_table_lookup (claim->free, claim->keys->pdata[i]);
      if (claim->claims[i] != NULL)
        g_hash_table_remove (claim->free, claim->keys->pdata[i]);
    }
}

static guint64
count_held (Claim           *claim,
            EvbusSpoolRoute *part)
{
  guint64 *n = g_hash_table_lookup (claim->held, part);
  EvbusLedger ledger;

  if (n != NULL)
    return *n;
  evbus_spool_route_get_ledger (part, &ledger, NULL);
  return ledger.queued + ledger.dead;
}

/* Takes over @name. */
static Place *
get_place (Claim *claim,
           char  *name)
{
  Place *place = g_hash_table_lookup (claim->at, name);

  if (place != NULL)
    {
      g_free (name);
      return place;
    }
  place = g_new0 (Place, 1);
  place->parts = g_ptr_array_new ();
  place->doubtful = g_ptr_array_new ();
  place->entries = g_array_new (FALSE, FALSE, sizeof (guint));
  g_hash_table_insert (claim->at, name, place);
  return place;
}

static void
add_part (Claim           *claim,
          const char      *key,
          EvbusSpoolRoute *part)
{
  char *name = find_place (key);
  Place *place;

  if (name == NULL)
    return;
  place = get_place (claim, name);
  if (evbus_spool_route_is_doubtful (part))
    {
      g_ptr_array_add (place->doubtful, part);
      place->n_doubted += count_held (claim, part);
    }
  else
    {
      g_ptr_array_add (place->parts, part);
      place->n_held += count_held (claim, part);
    }
}

/* What is left once each has what it has by its key. */
static void
find_places (Claim *claim)
{
  GHashTableIter iter;
  gpointer key, part;

  g_hash_table_iter_init (&iter, claim->free);
  while (g_hash_table_iter_next (&iter, &key, &part))
    add_part (claim, key, part);
  for (guint i = 0; i < claim->specs->len; i++)
    {
      if (claim->claims[i] == NULL)
        g_array_append_val (get_place (claim, g_strdup (claim->places->pdata[i]))->entries, i);
    }
}

static void
refuse_doubt (EvbusRouteSpec  *spec,
              guint64          n_held,
              GError         **error)
{
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
               "%s: %" G_GUINT64_FORMAT " stored events and dead letters of %s '%s' could belong to more than "
               "one route now; change one of them at a time (with a name, delivery: {name: …}, they are told apart "
               "from then on), let what is stored drain first, or, where it is an orphan's, name that first "
               "(evbusctl name-orphan)",
               spec->where != NULL ? spec->where : spec->provider, n_held, spec->provider, spec->profile);
}

static int
compare_keys (gconstpointer a,
              gconstpointer b)
{
  return strcmp (evbus_spool_route_get_key (*(EvbusSpoolRoute *const *) a),
                 evbus_spool_route_get_key (*(EvbusSpoolRoute *const *) b));
}

/* The entries of a place that all begin anew, and what is left there, which nobody gets. */
static void
accept_doubt (Claim      *claim,
              const char *where,
              Place      *place)
{
  g_autofree char *name = evbus_claim_describe (where);
  g_autoptr(GString) text = g_string_new (NULL);

  if (place->said)
    return;

  place->said = TRUE;
  g_string_append_printf (text, "%s: it is in doubt which of the stored parts belong to which entry of the "
                          "configuration. These entries begin anew: ", name);
  for (guint i = 0; i < place->entries->len; i++)
    {
      EvbusRouteSpec *spec = claim->specs->pdata[g_array_index (place->entries, guint, i)];

      g_string_append_printf (text, "%s%s", i > 0 ? ", " : "", spec->where != NULL ? spec->where : name);
    }
  g_string_append (text, ". These parts are orphans now, and keep what they have:");
  g_ptr_array_sort (place->parts, compare_keys);
  for (guint i = 0; i < place->parts->len; i++)
    {
      EvbusSpoolRoute *part = place->parts->pdata[i];
      EvbusLedger ledger;

      evbus_spool_route_get_ledger (part, &ledger, NULL);
      if (ledger.queued + ledger.dead == 0)
        continue;
      evbus_spool_doubt_route (claim->spool, part);
      g_string_append_printf (text, "\n  %s (%" G_GUINT64_FORMAT " queued, %" G_GUINT64_FORMAT " dead)",
                              evbus_spool_route_get_key (part), ledger.queued, ledger.dead);
    }
  g_string_append (text, "\nTo have an entry go on with one of them: evbusctl name-orphan 'KEY' NAME, then that name in "
                   "the entry, delivery: {name: NAME}, and a reload");
  g_ptr_array_add (claim->doubts, g_string_free (g_steal_pointer (&text), FALSE));
}

/* What has changed its settings, or has a name now, is the same route, if there is only
 * one that it can be. What is in doubt already is not asked any more; but whoever gives a name
 * to an entry by a reload, beside it, may mean that. */
static gboolean
claim_by_place (Claim   *claim,
                guint    index,
                GError **error)
{
  EvbusRouteSpec *spec = claim->specs->pdata[index];
  const char *where = claim->places->pdata[index];
  Place *place = g_hash_table_lookup (claim->at, where);

  if (claim->doubts == NULL && spec->delivery.name != NULL && place->n_doubted > 0)
    {
      refuse_doubt (spec, place->n_held + place->n_doubted, error);
      return FALSE;
    }
  if (place->parts->len == 1 && place->entries->len == 1)
    {
      claim->claims[index] = place->parts->pdata[0];
      return TRUE;
    }
  if (place->n_held == 0)
    return TRUE;
  if (claim->doubts == NULL)
    {
      refuse_doubt (spec, place->n_held, error);
      return FALSE;
    }

  accept_doubt (claim, where, place);
  return TRUE;
}

static void
find_free (Claim      *claim,
           GHashTable *taken)
{
  g_autoptr(GPtrArray) all = evbus_spool_list_routes (claim->spool);

  for (guint i = 0; i < all->len; i++)
    {
      if (!g_hash_table_contains (taken, all->pdata[i]))
        g_hash_table_insert (claim->free, (gpointer) evbus_spool_route_get_key (all->pdata[i]), all->pdata[i]);
    }
}

gboolean
evbus_claim_routes_locked (EvbusSpool       *spool,
                           GHashTable       *held,
                           GPtrArray        *specs,
                           GHashTable       *taken,
                           EvbusSpoolRoute **claims,
                           GPtrArray        *doubts,
                           GError          **error)
{
  g_autoptr(GPtrArray) places = g_ptr_array_new_with_free_func (g_free);
  g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func (g_free);
  g_autoptr(GHashTable) free_routes = g_hash_table_new (g_str_hash, g_str_equal);
  g_autoptr(GHashTable) at = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, place_free);
  Claim claim = { spool, held, specs, claims, places, keys, free_routes, at, doubts };

  if (!make_keys (&claim, taken, error))
    return FALSE;

  find_free (&claim, taken);
  claim_by_key (&claim);
  find_places (&claim);
  for (guint i = 0; i < specs->len; i++)
    {
      if (claims[i] == NULL && !claim_by_place (&claim, i, error))
        return FALSE;
    }

  for (guint i = 0; i < specs->len; i++)
    {
      if (claims[i] == NULL)
        claims[i] = evbus_spool_add_route (spool, keys->pdata[i]);
      else
        evbus_spool_rename_route (spool, claims[i], keys->pdata[i]);
    }
  return TRUE;
}

char *
evbus_claim_describe (const char *key)
{
  g_auto(GStrv) words = NULL;
  g_autoptr(GString) escaped = NULL;
  g_autofree char *pattern = NULL;

  if (g_str_has_prefix (key, "name:"))
    return g_strdup (key + strlen ("name:"));
  if (!g_str_has_prefix (key, "at:"))
    return g_strdup (key);

  words = g_strsplit (key + strlen ("at:"), " ", 3);
  if (g_strv_length (words) < 2)
    return g_strdup (key);
  /* What make_place() did. */
  escaped = g_string_new (NULL);
  for (const char *at = words[1]; *at != '\0'; at++)
    {
      if (at[0] == '\\' && at[1] == 's')
        g_string_append_c (escaped, ' ');
      else
        g_string_append_len (escaped, at, at[0] == '\\' && at[1] != '\0' ? 2 : 1);
      at += at[0] == '\\' && at[1] != '\0';
    }
  pattern = g_strcompress (escaped->str);
  return g_strdup_printf ("%s '%s'", words[0], pattern);
}

/* It has nothing, is shown to nobody, and goes soon. */
static gboolean
is_spent (EvbusSpoolRoute *route)
{
  EvbusLedger ledger;

  evbus_spool_route_get_ledger (route, &ledger, NULL);
  return evbus_spool_route_is_orphan (route) && ledger.queued + ledger.dead == 0;
}

static void
set_ambiguous (GPtrArray   *routes,
               const char  *text,
               GError     **error)
{
  g_autoptr(GString) keys = g_string_new (NULL);

  for (guint i = 0; i < routes->len; i++)
    {
      g_autofree char *key = evbus_spool_route_dup_key (routes->pdata[i]);
      g_autofree char *name = evbus_claim_describe (key);

      if (strcmp (name, text) == 0 && !is_spent (routes->pdata[i]))
        g_string_append_printf (keys, "\n  %s", key);
    }
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
               "several routes are called \"%s\"; give the key of one:%s", text, keys->str);
}

EvbusSpoolRoute *
evbus_claim_find (EvbusSpool  *spool,
                  const char  *text,
                  GError     **error)
{
  g_autoptr(GPtrArray) routes = evbus_spool_list_routes (spool);
  EvbusSpoolRoute *found = NULL;
  guint n_found = 0;

  for (guint i = 0; i < routes->len; i++)
    {
      g_autofree char *key = evbus_spool_route_dup_key (routes->pdata[i]);
      g_autofree char *name = evbus_claim_describe (key);

      if (strcmp (key, text) == 0)
        return evbus_spool_route_ref (routes->pdata[i]);
      if (strcmp (name, text) != 0 || (found != NULL && is_spent (routes->pdata[i])))
        continue;
      n_found = found != NULL && is_spent (found) ? 1 : n_found + 1;
      found = routes->pdata[i];
    }
  if (n_found > 1)
    {
      set_ambiguous (routes, text, error);
      return NULL;
    }
  if (n_found == 0)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND,
                 "the spool has no route \"%s\"; a route is called by its name, or PROVIDER 'PATTERN'", text);
  return found != NULL ? evbus_spool_route_ref (found) : NULL;
}

gboolean
evbus_claim_check_name (const char  *name,
                        GError     **error)
{
  if (*name == '\0')
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT, "the name is empty");
  else if (strlen (name) > EVBUS_MAX_NAME_BYTES)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT, "the name has %" G_GSIZE_FORMAT " bytes, and may have %u",
                 strlen (name), EVBUS_MAX_NAME_BYTES);
  else if (!g_utf8_validate (name, -1, NULL))
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT, "the name is not valid UTF-8");
  else
    return TRUE;
  return FALSE;
}

/* Another one that is called so, whether by a name or not: whoever says it would mean either. */
static gboolean
check_not_taken (EvbusSpool       *spool,
                 EvbusSpoolRoute  *route,
                 const char       *name,
                 GError          **error)
{
  g_autoptr(GPtrArray) routes = evbus_spool_list_routes (spool);

  for (guint i = 0; i < routes->len; i++)
    {
      g_autofree char *other = evbus_claim_describe (evbus_spool_route_get_key (routes->pdata[i]));

      if (routes->pdata[i] == route || strcmp (other, name) != 0)
        continue;
      if (evbus_spool_route_is_orphan (routes->pdata[i]))
        g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_EXISTS,
                     "the name \"%s\" is taken by another orphan; choose another name, or forget that one", name);
      else
        g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_EXISTS,
                     "the name \"%s\" is taken by a route that is in use; choose another name", name);
      return FALSE;
    }
  return TRUE;
}

gboolean
evbus_claim_name_orphan (EvbusSpool       *spool,
                         EvbusSpoolRoute  *orphan,
                         const char       *name,
                         GError          **error)
{
  g_autofree char *key = g_strconcat ("name:", name, NULL);

  if (!evbus_spool_route_is_orphan (orphan))
    {
      g_autofree char *called = evbus_claim_describe (evbus_spool_route_get_key (orphan));

      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "the route \"%s\" is in use, and no orphan; name it in the configuration", called);
      return FALSE;
    }
  return check_not_taken (spool, orphan, name, error) &&
         evbus_spool_name_orphan (spool, orphan, key, error);
}
