/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Takes the calls that put out of the stream of messages, in a filter on
 * GDBus's worker thread, and answers them there: the main loop, with its wake-up
 * for each call, sees none of them. Calls that a filter lets
 * pass (other methods, wrong arguments, no object there) go GDBus's usual way,
 * which also writes the errors for them. */

#include "evbusd-intake.h"

#include <string.h>

#include "evbusd-bus.h"
#include "evbusd-pipeline.h"

#define INTERFACE "org.evbus1.Broker"

/* Refusals that nobody was told of are logged at most this often. */
#define LOG_INTERVAL_US (10 * G_USEC_PER_SEC)

/* What the filter works with. GDBus frees it once no call of the filter is
 * under way any more, which can be after the intake is gone. */
typedef struct {
  EvbusBroker    *broker;
  gboolean        durable;    /* a put is answered later, from the commit */
  EvbusdPipeline *pipeline;
} Filter;

struct _EvbusdIntake
{
  GDBusConnection *connection;
  guint            filter;
  EvbusdPipeline  *pipeline;  /* the filter's */
};

static void
log_unheard (GDBusMessage *message,
             const GError *error)
{
  static GMutex lock;
  static gint64 next;
  static guint64 unheard;
  gint64 now = g_get_monotonic_time ();
  guint64 n = 0;

  g_mutex_lock (&lock);
  unheard++;
  if (now >= next)
    {
      next = now + LOG_INTERVAL_US;
      n = unheard;
      unheard = 0;
    }
  g_mutex_unlock (&lock);

  if (n > 0)
    g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                      "EVBUS_SENDER", g_dbus_message_get_sender (message),
                      "MESSAGE", "%" G_GUINT64_FORMAT " put(s) refused whose senders want no answer; this one: %s",
                      n, error->message);
}

static GDBusMessage *
make_error_reply (GDBusMessage *message,
                  const GError *error)
{
  g_autofree char *name = g_dbus_error_encode_gerror (error);
  g_autofree char *text = g_utf8_make_valid (error->message, -1);

  return g_dbus_message_new_method_error_literal (message, name, text);
}

static void
answer (GDBusConnection *connection,
        GDBusMessage    *message,
        GVariant        *results,
        const GError    *error)
{
  g_autoptr (GDBusMessage) reply = NULL;

  if ((g_dbus_message_get_flags (message) & G_DBUS_MESSAGE_FLAGS_NO_REPLY_EXPECTED) != 0)
    {
      if (results != NULL)
        g_variant_unref (g_variant_ref_sink (results));
      if (error != NULL)
        log_unheard (message, error);
      return;
    }

  if (error != NULL)
    {
      reply = make_error_reply (message, error);
    }
  else
    {
      reply = g_dbus_message_new_method_reply (message);
      if (results != NULL)
        g_dbus_message_set_body (reply, results);
    }

  g_dbus_connection_send_message (connection, reply, G_DBUS_SEND_MESSAGE_FLAGS_NONE, NULL, NULL);
}

static const EvbusdMethod *
find_method (GDBusMessage *message)
{
  const char *path = g_dbus_message_get_path (message);
  const char *interface = g_dbus_message_get_interface (message);
  const char *member = g_dbus_message_get_member (message);

  if (g_dbus_message_get_message_type (message) != G_DBUS_MESSAGE_TYPE_METHOD_CALL ||
      g_dbus_message_get_sender (message) == NULL ||
      g_strcmp0 (path, EVBUSD_OBJECT_PATH) != 0 ||
      member == NULL ||
      (interface != NULL && strcmp (interface, INTERFACE) != 0))
    return NULL;

  return evbusd_method_lookup (member, g_dbus_message_get_signature (message));
}

static gboolean
has_descriptors (GDBusMessage  *message,
                 GError       **error)
{
  if (g_dbus_message_get_num_unix_fds (message) == 0)
    return FALSE;

  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                       "the message carries file descriptors; an event cannot");
  return TRUE;
}

/* Whether the call may be done here and now, if there is space. */
static gboolean
can_attempt (Filter             *filter,
             const EvbusdMethod *method,
             GDBusMessage       *message)
{
  if (evbusd_pipeline_holds_up (filter->pipeline, g_dbus_message_get_sender (message)))
    return FALSE;

  return method->begin == NULL ||
         (!filter->durable && !evbusd_method_waits_for_delivery (g_dbus_message_get_body (message)));
}

static void
serve (Filter             *filter,
       GDBusConnection    *connection,
       const EvbusdMethod *method,
       GDBusMessage       *message)
{
  g_autoptr (GError) error = NULL;
  GVariant *results = NULL;

  if (!can_attempt (filter, method, message))
    evbusd_pipeline_call (filter->pipeline, method, message);
  else if (!method->attempt (filter->broker, g_dbus_message_get_body (message), &results, &error) &&
           method->begin != NULL &&
           (error == NULL || g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL)))
    evbusd_pipeline_call (filter->pipeline, method, message);
  else
    answer (connection, message, results, error);
}

static void
take (Filter             *filter,
      GDBusConnection    *connection,
      const EvbusdMethod *method,
      GDBusMessage       *message)
{
  g_autoptr (GDBusMessage) prepared = NULL;
  g_autoptr (GError) error = NULL;

  if (!has_descriptors (message, &error))
    prepared = evbusd_method_prepare (message, &error);
  if (prepared == NULL)
    answer (connection, message, NULL, error);
  else
    serve (filter, connection, method, prepared);
}

static gboolean
forget (gpointer user_data)
{
  return G_SOURCE_REMOVE;
}

/* Once this turn of the worker's main loop has sent the answer: taking a message
 * of a hundred events apart takes a tenth of the time of the whole call. */
static void
forget_later (GDBusMessage *message)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  /* Of the priority of what sends the answer, and behind it. */
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, forget, message, g_object_unref);
  g_source_attach (source, g_main_context_get_thread_default ());
}

/* On GDBus's worker thread, for each message that comes or goes. */
static GDBusMessage *
on_message (GDBusConnection *connection,
            GDBusMessage    *message,
            gboolean         incoming,
            gpointer         user_data)
{
  const EvbusdMethod *method = incoming ? find_method (message) : NULL;
  Filter *filter = user_data;

  evbusd_pipeline_enter (filter->pipeline);
  if (method == NULL)
    return message;

  take (filter, connection, method, message);
  forget_later (message);
  return NULL;
}

static void
filter_free (Filter *filter)
{
  g_object_unref (filter->broker);
  evbusd_pipeline_free (filter->pipeline);
  g_free (filter);
}

/* @durable: there is a spool, and a put is answered from its commit. */
EvbusdIntake *
evbusd_intake_new (GDBusConnection *connection,
                   EvbusBroker     *broker,
                   gboolean         durable)
{
  EvbusdIntake *self = g_new0 (EvbusdIntake, 1);
  Filter *filter = g_new0 (Filter, 1);

  filter->broker = g_object_ref (broker);
  filter->durable = durable;
  filter->pipeline = evbusd_pipeline_new (connection, broker, answer);

  self->connection = g_object_ref (connection);
  self->pipeline = filter->pipeline;
  self->filter = g_dbus_connection_add_filter (connection, on_message, filter, (GDestroyNotify) filter_free);
  return self;
}

/* Calls @done in the main context once the answers that the broker has given by
 * now are with the bus. */
void
evbusd_intake_settle (EvbusdIntake *self,
                      GSourceFunc   done,
                      gpointer      user_data)
{
  evbusd_pipeline_settle (self->pipeline, done, user_data);
}

void
evbusd_intake_free (EvbusdIntake *self)
{
  g_dbus_connection_remove_filter (self->connection, self->filter);
  g_object_unref (self->connection);
  g_free (self);
}
