/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* One subscription: what it wants, and what still has to be sent to it.
 *
 * GDBus queues without bound whatever is sent, and so does the bus for a
 * receiver that does not read. So only a window of events is ever under way:
 * a Ping goes after them, and since a bus keeps order, its answer says that
 * the subscriber has read everything before it. The rest waits here; when that
 * buffer is full, the oldest event gives way, and the next one that is sent
 * carries the number of those that are missing. */

#include "evbusd-subscription.h"

#include <fnmatch.h>

#include "evbusd-bus.h"

#define BUFFER_EVENTS 1024
#define BUFFER_BYTES (16 * 1024 * 1024)
#define WINDOW_EVENTS 256
#define WINDOW_BYTES (4 * 1024 * 1024)

typedef struct {
  EvbusEvent *event;
  GVariant   *body;
  gsize       size;
} Entry;

typedef struct {
  guint64 events;
  guint64 bytes;
} Amount;

struct _EvbusdSubscription
{
  gatomicrefcount  ref_count;
  GDBusConnection *connection;
  char            *subscriber;
  guint64          number;
  char            *profile;       /* globs, NULL: any */
  char            *routing_key;

  GQueue           buffer;        /* of Entry */
  gsize            buffer_bytes;
  guint64          missed;        /* since the last event that was sent */

  Amount           sent;
  Amount           read;          /* of what was sent, known to be read */
  Amount           asked;         /* what the Ping under way will tell to be read */
  gboolean         asking;
  gboolean         ended;
};

static void send_more (EvbusdSubscription *self);

static void
entry_free (Entry *entry)
{
  evbus_event_unref (entry->event);
  g_variant_unref (entry->body);
  g_free (entry);
}

EvbusdSubscription *
evbusd_subscription_new (GDBusConnection *connection,
                         const char      *subscriber,
                         guint64          number,
                         const char      *profile,
                         const char      *routing_key)
{
  EvbusdSubscription *self = g_new0 (EvbusdSubscription, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->connection = g_object_ref (connection);
  self->subscriber = g_strdup (subscriber);
  self->number = number;
  self->profile = g_strdup (profile);
  self->routing_key = g_strdup (routing_key);
  g_queue_init (&self->buffer);
  return self;
}

EvbusdSubscription *
evbusd_subscription_ref (EvbusdSubscription *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbusd_subscription_unref (EvbusdSubscription *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  g_queue_clear_full (&self->buffer, (GDestroyNotify) entry_free);
  g_object_unref (self->connection);
  g_free (self->subscriber);
  g_free (self->profile);
  g_free (self->routing_key);
  g_free (self);
}

/* Nothing is sent any more, whoever still holds a reference. */
void
evbusd_subscription_end (EvbusdSubscription *self)
{
  self->ended = TRUE;
  g_queue_clear_full (&self->buffer, (GDestroyNotify) entry_free);
  self->buffer_bytes = 0;
}

const char *
evbusd_subscription_get_subscriber (EvbusdSubscription *self)
{
  return self->subscriber;
}

static gboolean
matches (const char *glob,
         const char *name)
{
  return glob == NULL || fnmatch (glob, name, 0) == 0;
}

gboolean
evbusd_subscription_matches (EvbusdSubscription *self,
                             EvbusEvent         *event)
{
  return matches (self->profile, evbus_event_get_profile (event)) &&
         matches (self->routing_key, evbus_event_get_routing_key (event));
}

static GVariant *
get_attributes (EvbusdSubscription *self,
                EvbusEvent         *event)
{
  GVariant *given = evbus_event_get_attributes (event);
  GVariantDict dict;
  GVariantIter iter;
  const char *key;
  const char *value;

  g_variant_dict_init (&dict, NULL);
  if (given != NULL)
    {
      g_variant_iter_init (&iter, given);
      while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
        g_variant_dict_insert (&dict, key, "s", value);
    }

  g_variant_dict_insert (&dict, "content-type", "s", evbus_event_get_content_type (event));
  if (self->missed > 0)
    g_variant_dict_insert (&dict, "missed", "t", self->missed);
  else
    g_variant_dict_remove (&dict, "missed");

  return g_variant_dict_end (&dict);
}

static void
send_entry (EvbusdSubscription *self,
            Entry              *entry)
{
  EvbusEvent *event = entry->event;
  GVariant *parameters;

  parameters = g_variant_new ("(tsxssv@a{sv})",
                              self->number,
                              evbus_event_get_id (event),
                              evbus_event_get_time (event),
                              evbus_event_get_routing_key (event),
                              evbus_event_get_profile (event),
                              entry->body,
                              get_attributes (self, event));
  g_dbus_connection_emit_signal (self->connection, self->subscriber, EVBUSD_OBJECT_PATH,
                                 "org.evbus1.Broker", "Event", parameters, NULL);
  self->missed = 0;
  self->sent.events++;
  self->sent.bytes += entry->size;
}

/* Any answer will do, also an error: that too came after the events. */
static void
on_ping (GObject      *source,
         GAsyncResult *result,
         gpointer      user_data)
{
  g_autoptr (GVariant) reply = NULL;
  EvbusdSubscription *self = user_data;

  reply = g_dbus_connection_call_finish (G_DBUS_CONNECTION (source), result, NULL);
  self->asking = FALSE;
  self->read = self->asked;
  send_more (self);
  evbusd_subscription_unref (self);
}

static void
ask (EvbusdSubscription *self)
{
  self->asking = TRUE;
  self->asked = self->sent;
  g_dbus_connection_call (self->connection, self->subscriber, "/", "org.freedesktop.DBus.Peer", "Ping",
                          NULL, NULL, G_DBUS_CALL_FLAGS_NO_AUTO_START, G_MAXINT, NULL,
                          on_ping, evbusd_subscription_ref (self));
}

static gboolean
has_room (EvbusdSubscription *self)
{
  return self->sent.events - self->read.events < WINDOW_EVENTS &&
         self->sent.bytes - self->read.bytes < WINDOW_BYTES;
}

static void
send_more (EvbusdSubscription *self)
{
  if (self->ended || g_dbus_connection_is_closed (self->connection))
    return;

  while (has_room (self) && !g_queue_is_empty (&self->buffer))
    {
      Entry *entry = g_queue_pop_head (&self->buffer);

      self->buffer_bytes -= entry->size;
      send_entry (self, entry);
      entry_free (entry);
    }

  if (!self->asking && self->sent.events > self->read.events)
    ask (self);
}

static void
drop_oldest (EvbusdSubscription *self)
{
  Entry *entry = g_queue_pop_head (&self->buffer);

  if (self->missed == 0)
    g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                      "EVBUS_SENDER", self->subscriber,
                      "MESSAGE", "a subscriber does not keep up; its oldest events give way");
  self->missed++;
  self->buffer_bytes -= entry->size;
  entry_free (entry);
}

/* @body: the event's body as a value, shared by all subscriptions. */
void
evbusd_subscription_deliver (EvbusdSubscription *self,
                             EvbusEvent         *event,
                             GVariant           *body)
{
  Entry *entry = g_new (Entry, 1);

  entry->event = evbus_event_ref (event);
  entry->body = g_variant_ref (body);
  evbus_event_get_data (event, &entry->size);
  g_queue_push_tail (&self->buffer, entry);
  self->buffer_bytes += entry->size;
  send_more (self);

  while (g_queue_get_length (&self->buffer) > BUFFER_EVENTS || self->buffer_bytes > BUFFER_BYTES)
    drop_oldest (self);
}
