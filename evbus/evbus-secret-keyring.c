/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Secrets out of the keyring of the user's session: GNOME's, KDE's or another
 * that speaks the Secret Service interface. */

#include <libsecret/secret.h>

#include "evbus-error.h"
#include "evbus-secret-private.h"

/* With a service object of its own: the one that libsecret shares stays for ever,
 * and with it a connection to the bus, bound to the thread of whichever route came
 * first. This one asks to unlock what is locked, which may wait for a person.
 * (secret_service_lookup_sync() of libsecret 0.20 leaks the answer of the bus.) */
static SecretValue *
look_up (GHashTable    *attributes,
         GCancellable  *cancellable,
         GError       **error)
{
  g_autoptr(SecretService) service = NULL;
  SecretValue *value = NULL;
  GList *items;

  service = secret_service_open_sync (SECRET_TYPE_SERVICE, NULL, SECRET_SERVICE_OPEN_SESSION, cancellable, error);
  if (service == NULL)
    return NULL;

  items = secret_service_search_sync (service, NULL, attributes, SECRET_SEARCH_UNLOCK | SECRET_SEARCH_LOAD_SECRETS,
                                      cancellable, error);
  if (items != NULL && (value = secret_item_get_secret (items->data)) == NULL)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "it is locked, and nobody unlocked it");
  g_list_free_full (items, g_object_unref);
  return value;
}

static GHashTable *
make_table (GVariant *attributes)
{
  GHashTable *table = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  GVariantIter iter;
  GVariant *value;
  char *key;

  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{sv}", &key, &value))
    {
      g_hash_table_insert (table, key, g_variant_dup_string (value, NULL));
      g_variant_unref (value);
    }
  return table;
}

char *
evbus_secret_read_keyring (GVariant      *attributes,
                           gsize         *length,
                           GCancellable  *cancellable,
                           GError       **error)
{
  g_autoptr(GHashTable) table = make_table (attributes);
  g_autoptr(GError) local_error = NULL;
  SecretValue *value = look_up (table, cancellable, &local_error);
  const char *text;
  char *copy;

  if (value == NULL)
    {
      if (local_error != NULL)
        g_dbus_error_strip_remote_error (local_error);
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s%s",
                   local_error != NULL ? "the keyring of the session cannot be asked: " : "",
                   local_error != NULL ? local_error->message
                                       : "the keyring has nothing with these attributes; "
                                         "'secret-tool store' puts it there");
      return NULL;
    }

  text = secret_value_get (value, length);
  copy = g_malloc (*length + 1);
  memcpy (copy, text, *length);
  copy[*length] = '\0';
  secret_value_unref (value);
  return copy;
}
