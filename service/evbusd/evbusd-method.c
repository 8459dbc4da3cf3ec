/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The methods of org.evbus1.Broker that put, as a table: how each is done
 * without waiting, and how with. */

#include "evbusd-method.h"

#include <string.h>

#define DEFAULT_TIMEOUT_MS 10000

/* What makes an event, of which each holds a reference. */
typedef struct {
  GVariant *routing_key;
  GVariant *body;
  GVariant *profile;
} Event;

/* Not g_variant_get(), which brings a message to serialised form before it
 * lends strings of it: that takes longer than all else that is done here. */
static void
get_event (Event    *event,
           GVariant *arguments)
{
  g_autoptr (GVariant) boxed = g_variant_get_child_value (arguments, 1);

  event->routing_key = g_variant_get_child_value (arguments, 0);
  event->body = g_variant_get_variant (boxed);
  event->profile = g_variant_get_child_value (arguments, 2);
}

static void
clear_event (Event *event)
{
  g_variant_unref (event->routing_key);
  g_variant_unref (event->body);
  g_variant_unref (event->profile);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Event, clear_event)

/* Takes the id. */
static GVariant *
results_of_id (char *id)
{
  GVariant *result;

  if (id == NULL)
    return NULL;

  result = g_variant_new_take_string (id);
  return g_variant_new_tuple (&result, 1);
}

static char *
put_nowait (EvbusBroker    *broker,
            GVariant       *arguments,
            GError        **error)
{
  g_auto (Event) event;

  get_event (&event, arguments);
  return evbus_producer_put_nowait (EVBUS_PRODUCER (broker), g_variant_get_string (event.routing_key, NULL), event.body,
                                    g_variant_get_string (event.profile, NULL), error);
}

static gboolean
attempt_put (EvbusBroker    *broker,
             GVariant       *arguments,
             GVariant      **results,
             GError        **error)
{
  *results = results_of_id (put_nowait (broker, arguments, error));
  return *results != NULL;
}

static gboolean
attempt_put_nowait (EvbusBroker    *broker,
                    GVariant       *arguments,
                    GVariant      **results,
                    GError        **error)
{
  g_autofree char *id = put_nowait (broker, arguments, error);

  *results = NULL;
  return id != NULL;
}

static GVariant *
get_options (GVariant *arguments)
{
  return g_variant_n_children (arguments) > 3 ? g_variant_get_child_value (arguments, 3) : NULL;
}

static gboolean
attempt_put_with_options (EvbusBroker    *broker,
                          GVariant       *arguments,
                          GVariant      **results,
                          GError        **error)
{
  g_autoptr (GVariant) options = get_options (arguments);

  if (g_variant_n_children (options) > 0)
    return FALSE;

  return attempt_put (broker, arguments, results, error);
}

/* Takes the ids. */
static GVariant *
results_of_ids (char **ids)
{
  g_auto (GStrv) owned = ids;

  return owned != NULL ? g_variant_new ("(^as)", owned) : NULL;
}

static gboolean
attempt_put_many (EvbusBroker    *broker,
                  GVariant       *arguments,
                  GVariant      **results,
                  GError        **error)
{
  g_autoptr (GVariant) events = g_variant_get_child_value (arguments, 0);

  *results = results_of_ids (evbus_producer_put_many_nowait (EVBUS_PRODUCER (broker), events, error));
  return *results != NULL;
}

static gboolean
begin_put (EvbusBroker         *broker,
           GVariant            *arguments,
           GCancellable        *cancellable,
           GAsyncReadyCallback  callback,
           gpointer             user_data)
{
  g_autoptr (GVariant) options = get_options (arguments);
  g_auto (Event) event;

  get_event (&event, arguments);
  return evbus_broker_begin_put (broker, g_variant_get_string (event.routing_key, NULL), event.body,
                                 g_variant_get_string (event.profile, NULL), options,
                                 cancellable, callback, user_data);
}

static GVariant *
finish_put (EvbusBroker    *broker,
            GAsyncResult   *result,
            GError        **error)
{
  return results_of_id (evbus_producer_put_with_options_finish (EVBUS_PRODUCER (broker), result, error));
}

static gboolean
begin_put_many (EvbusBroker         *broker,
                GVariant            *arguments,
                GCancellable        *cancellable,
                GAsyncReadyCallback  callback,
                gpointer             user_data)
{
  g_autoptr (GVariant) events = g_variant_get_child_value (arguments, 0);

  return evbus_broker_begin_put_many (broker, events, cancellable, callback, user_data);
}

static GVariant *
finish_put_many (EvbusBroker    *broker,
                 GAsyncResult   *result,
                 GError        **error)
{
  return results_of_ids (evbus_producer_put_many_finish (EVBUS_PRODUCER (broker), result, error));
}

static const EvbusdMethod methods[] = {
  { "Put", "svs", attempt_put, begin_put, finish_put },
  { "PutNowait", "svs", attempt_put_nowait, NULL, NULL },
  { "PutWithOptions", "svsa{sv}", attempt_put_with_options, begin_put, finish_put },
  { "PutMany", "a(svs)", attempt_put_many, begin_put_many, finish_put_many },
};

/* NULL for any other method, and for arguments that are not of its types. */
const EvbusdMethod *
evbusd_method_lookup (const char *name,
                      const char *signature)
{
  for (guint i = 0; i < G_N_ELEMENTS (methods); i++)
    {
      if (strcmp (methods[i].name, name) == 0 && strcmp (methods[i].signature, signature) == 0)
        return &methods[i];
    }

  return NULL;
}

static gboolean
is_to_be_delivered (GVariant *options)
{
  const char *wait = "";

  return options != NULL && g_variant_lookup (options, "wait", "&s", &wait) && strcmp (wait, "delivered") == 0;
}

/* Whether a call with these arguments may be answered long after its event is accepted. */
gboolean
evbusd_method_waits_for_delivery (GVariant *arguments)
{
  g_autoptr (GVariant) options = get_options (arguments);

  return is_to_be_delivered (options);
}

/* On the bus a sender says whether it follows; the library is told who. */
static gboolean
set_follower (GVariantDict *dict,
              const char   *sender,
              GError      **error)
{
  g_autoptr (GVariant) follow = g_variant_dict_lookup_value (dict, "follow", NULL);

  if (follow == NULL)
    return TRUE;
  if (!g_variant_is_of_type (follow, G_VARIANT_TYPE_BOOLEAN))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "option 'follow' is of type %s, and must be b", g_variant_get_type_string (follow));
      return FALSE;
    }

  if (g_variant_get_boolean (follow))
    g_variant_dict_insert (dict, "follow", "s", sender);
  else
    g_variant_dict_remove (dict, "follow");
  return TRUE;
}

/* The arguments with options as the library has them. */
static GVariant *
translate (GVariant    *arguments,
           GVariant    *options,
           const char  *sender,
           GError     **error)
{
  GVariantDict dict;
  GVariant *children[4];

  g_variant_dict_init (&dict, options);
  if (!set_follower (&dict, sender, error))
    {
      g_variant_dict_clear (&dict);
      return NULL;
    }
  /* Both the waiting for space and that for the delivery are the library's. */
  if (is_to_be_delivered (options) && !g_variant_dict_contains (&dict, "timeout"))
    g_variant_dict_insert (&dict, "timeout", "u", DEFAULT_TIMEOUT_MS);

  for (guint i = 0; i < 3; i++)
    children[i] = g_variant_get_child_value (arguments, i);
  children[3] = g_variant_ref_sink (g_variant_dict_end (&dict));
  arguments = g_variant_new_tuple (children, 4);
  for (guint i = 0; i < 4; i++)
    g_variant_unref (children[i]);
  return arguments;
}

/* Returns the message to be served, a reference: @message itself, or one with options
 * that it could not have; NULL: error. */
GDBusMessage *
evbusd_method_prepare (GDBusMessage  *message,
                       GError       **error)
{
  GVariant *arguments = g_dbus_message_get_body (message);
  g_autoptr (GVariant) options = get_options (arguments);
  g_autoptr (GVariant) follow = options != NULL ? g_variant_lookup_value (options, "follow", NULL) : NULL;
  GDBusMessage *prepared;

  if (follow == NULL && !is_to_be_delivered (options))
    return g_object_ref (message);

  arguments = translate (arguments, options, g_dbus_message_get_sender (message), error);
  if (arguments == NULL)
    return NULL;
  prepared = g_dbus_message_copy (message, NULL);
  g_dbus_message_set_body (prepared, arguments);
  return prepared;
}

/* How long (milliseconds) a call with these arguments may wait. */
guint
evbusd_method_get_timeout (GVariant *arguments)
{
  g_autoptr (GVariant) options = get_options (arguments);
  guint32 timeout = DEFAULT_TIMEOUT_MS;

  /* Then the producer ends it. */
  if (is_to_be_delivered (options))
    return G_MAXUINT;
  if (options != NULL)
    g_variant_lookup (options, "timeout", "u", &timeout);

  return timeout;
}

GError *
evbusd_method_new_timed_out (void)
{
  return g_error_new_literal (EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                              "no space within the time given; the event was not accepted");
}

GError *
evbusd_method_new_too_many (void)
{
  return g_error_new_literal (EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                              "too many calls are waiting already; the event was not accepted");
}
