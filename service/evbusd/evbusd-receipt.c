/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusd-receipt.h"

/* One call; all of it belongs to the main context in which it was started. */
typedef struct {
  GDBusConnection    *connection;
  GDBusMessage       *message;
  const EvbusdMethod *method;
  EvbusdAnswer        answer;
  GCancellable       *cancellable;
  GSource            *timeout;
  gboolean            timed_out;
} Receipt;

static void
receipt_free (Receipt *self)
{
  g_source_destroy (self->timeout);
  g_source_unref (self->timeout);
  g_object_unref (self->cancellable);
  g_object_unref (self->message);
  g_object_unref (self->connection);
  g_free (self);
}

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      user_data)
{
  g_autoptr (GError) error = NULL;
  Receipt *self = user_data;
  GVariant *results = self->method->finish (EVBUS_PRODUCER (source), result, &error);

  if (results == NULL && self->timed_out)
    {
      g_clear_error (&error);
      error = g_error_new_literal (EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                                   "no space within the time given; the event was not accepted");
    }
  self->answer (self->connection, self->message, results, error);
  receipt_free (self);
}

/* One that is accepted, and not on the disk yet, is not taken back: it gets its
 * answer later. */
static gboolean
on_timeout (gpointer user_data)
{
  Receipt *self = user_data;

  self->timed_out = TRUE;
  g_cancellable_cancel (self->cancellable);
  return G_SOURCE_REMOVE;
}

void
evbusd_receipt_start (GDBusConnection    *connection,
                      EvbusProducer      *producer,
                      const EvbusdMethod *method,
                      GDBusMessage       *message,
                      EvbusdAnswer        answer)
{
  Receipt *self = g_new0 (Receipt, 1);
  GVariant *arguments = g_dbus_message_get_body (message);

  self->connection = g_object_ref (connection);
  self->message = g_object_ref (message);
  self->method = method;
  self->answer = answer;
  self->cancellable = g_cancellable_new ();
  self->timeout = g_timeout_source_new (evbusd_method_get_timeout (arguments));
  g_source_set_callback (self->timeout, on_timeout, self, NULL);
  g_source_attach (self->timeout, g_main_context_get_thread_default ());
  method->start (producer, arguments, self->cancellable, on_put, self);
}
