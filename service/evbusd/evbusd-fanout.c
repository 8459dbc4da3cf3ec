/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Who subscribed to what, and handing each event to those who want it. */

#include "evbusd-fanout.h"

#include <string.h>

#include "evbusd-json.h"
#include "evbusd-subscription.h"

#define MAX_SUBSCRIPTIONS 1024
#define MAX_SUBSCRIPTIONS_EACH 64
#define MAX_GLOB_BYTES 255

struct _EvbusdFanout
{
  GDBusConnection *connection;
  GHashTable      *subscriptions;   /* number (guint64) → EvbusdSubscription */
  GHashTable      *subscribers;     /* unique name → Subscriber */
  guint64          last_number;
};

/* A connection with at least one subscription. */
typedef struct {
  EvbusdFanout *fanout;
  char         *name;
  guint         watch;
  guint         n_subscriptions;
} Subscriber;

static void
subscriber_free (Subscriber *subscriber)
{
  g_bus_unwatch_name (subscriber->watch);
  g_free (subscriber->name);
  g_free (subscriber);
}

static void
subscription_free (EvbusdSubscription *subscription)
{
  evbusd_subscription_end (subscription);
  evbusd_subscription_unref (subscription);
}

EvbusdFanout *
evbusd_fanout_new (GDBusConnection *connection)
{
  EvbusdFanout *self = g_new0 (EvbusdFanout, 1);

  self->connection = g_object_ref (connection);
  self->subscriptions = g_hash_table_new_full (g_int64_hash, g_int64_equal,
                                               g_free, (GDestroyNotify) subscription_free);
  self->subscribers = g_hash_table_new_full (g_str_hash, g_str_equal,
                                             NULL, (GDestroyNotify) subscriber_free);
  return self;
}

void
evbusd_fanout_free (EvbusdFanout *self)
{
  g_hash_table_unref (self->subscriptions);
  g_hash_table_unref (self->subscribers);
  g_object_unref (self->connection);
  g_free (self);
}

static gboolean
is_of_subscriber (gpointer key,
                  gpointer value,
                  gpointer user_data)
{
  return strcmp (evbusd_subscription_get_subscriber (value), user_data) == 0;
}

static void
on_vanished (GDBusConnection *connection,
             const char      *name,
             gpointer         user_data)
{
  Subscriber *subscriber = user_data;
  EvbusdFanout *self = subscriber->fanout;

  g_hash_table_foreach_remove (self->subscriptions, is_of_subscriber, (gpointer) name);
  g_hash_table_remove (self->subscribers, name);
}

static Subscriber *
ensure_subscriber (EvbusdFanout *self,
                   const char   *name)
{
  Subscriber *subscriber = g_hash_table_lookup (self->subscribers, name);

  if (subscriber != NULL)
    return subscriber;

  subscriber = g_new0 (Subscriber, 1);
  subscriber->fanout = self;
  subscriber->name = g_strdup (name);
  g_hash_table_insert (self->subscribers, subscriber->name, subscriber);
  subscriber->watch = g_bus_watch_name_on_connection (self->connection, name, G_BUS_NAME_WATCHER_FLAGS_NONE,
                                                      NULL, on_vanished, subscriber, NULL);
  return subscriber;
}

typedef struct {
  const char *profile;
  const char *routing_key;
} Wanted;

static gboolean
parse_glob (const char  *key,
            GVariant    *value,
            const char **glob,
            GError     **error)
{
  if (!g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "option '%s' is of type %s; it takes a string (s)", key, g_variant_get_type_string (value));
      return FALSE;
    }

  *glob = g_variant_get_string (value, NULL);
  if (strlen (*glob) == 0 || strlen (*glob) > MAX_GLOB_BYTES)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "option '%s' has %" G_GSIZE_FORMAT " bytes; it takes a glob of 1 to %d",
                   key, strlen (*glob), MAX_GLOB_BYTES);
      return FALSE;
    }

  return TRUE;
}

static gboolean
parse_options (GVariant  *options,
               Wanted    *wanted,
               GError   **error)
{
  const struct {
    const char  *key;
    const char **glob;
  } known[] = {
    { "profile", &wanted->profile },
    { "routing-key", &wanted->routing_key },
  };
  GVariantIter iter;
  const char *key;
  GVariant *value;

  g_variant_iter_init (&iter, options);
  while (g_variant_iter_next (&iter, "{&sv}", &key, &value))
    {
      g_autoptr (GVariant) owned = value;
      guint i;

      for (i = 0; i < G_N_ELEMENTS (known) && strcmp (known[i].key, key) != 0; i++);

      if (i == G_N_ELEMENTS (known))
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                       "unknown option '%s'; Subscribe knows 'profile' and 'routing-key'", key);
          return FALSE;
        }
      if (*known[i].glob != NULL)
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT, "option '%s' is given twice", key);
          return FALSE;
        }
      if (!parse_glob (key, value, known[i].glob, error))
        return FALSE;
    }

  return TRUE;
}

/* Returns the number of the new subscription, or 0. */
guint64
evbusd_fanout_subscribe (EvbusdFanout  *self,
                         const char    *subscriber_name,
                         GVariant      *options,
                         GError       **error)
{
  Wanted wanted = { NULL, NULL };
  Subscriber *subscriber = g_hash_table_lookup (self->subscribers, subscriber_name);
  guint64 number;

  if (!parse_options (options, &wanted, error))
    return 0;

  if (subscriber != NULL && subscriber->n_subscriptions >= MAX_SUBSCRIPTIONS_EACH)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
                   "this connection has %d subscriptions, which is the most one can have; end one first",
                   MAX_SUBSCRIPTIONS_EACH);
      return 0;
    }
  if (g_hash_table_size (self->subscriptions) >= MAX_SUBSCRIPTIONS)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
                   "there are %d subscriptions, which is the most the service takes", MAX_SUBSCRIPTIONS);
      return 0;
    }

  subscriber = ensure_subscriber (self, subscriber_name);
  subscriber->n_subscriptions++;
  number = ++self->last_number;
  g_hash_table_insert (self->subscriptions, g_memdup2 (&number, sizeof (number)),
                       evbusd_subscription_new (self->connection, subscriber_name, number,
                                                wanted.profile, wanted.routing_key));
  return number;
}

/* A subscription of another connection is "not found": nobody learns of it. */
gboolean
evbusd_fanout_unsubscribe (EvbusdFanout  *self,
                           const char    *subscriber_name,
                           guint64        number,
                           GError       **error)
{
  EvbusdSubscription *subscription = g_hash_table_lookup (self->subscriptions, &number);
  Subscriber *subscriber;

  if (subscription == NULL || strcmp (evbusd_subscription_get_subscriber (subscription), subscriber_name) != 0)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND,
                   "this connection has no subscription %" G_GUINT64_FORMAT, number);
      return FALSE;
    }

  g_hash_table_remove (self->subscriptions, &number);
  subscriber = g_hash_table_lookup (self->subscribers, subscriber_name);
  if (--subscriber->n_subscriptions == 0)
    g_hash_table_remove (self->subscribers, subscriber_name);
  return TRUE;
}

/* What is JSON becomes a value, all else stays bytes. */
static GVariant *
decode_body (EvbusEvent *event)
{
  GVariant *body = NULL;
  const guint8 *data;
  gsize size;

  data = evbus_event_get_data (event, &size);
  if (evbus_event_is_json (event))
    body = evbusd_json_to_variant (data, size);
  if (body == NULL)
    body = g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, data, size, sizeof (guint8));

  return g_variant_ref_sink (body);
}

/* To all who want it; the body is decoded once, and only if someone does. */
void
evbusd_fanout_deliver (EvbusdFanout *self,
                       EvbusEvent   *event)
{
  g_autoptr (GVariant) body = NULL;
  GHashTableIter iter;
  EvbusdSubscription *subscription;

  g_hash_table_iter_init (&iter, self->subscriptions);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &subscription))
    {
      if (!evbusd_subscription_matches (subscription, event))
        continue;

      if (body == NULL)
        body = decode_body (event);
      evbusd_subscription_deliver (subscription, event, body);
    }
}
