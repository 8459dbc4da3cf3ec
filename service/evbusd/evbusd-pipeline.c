/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The calls whose answer comes later: from the commit that has their events, or
 * from their deliveries. Each is with the producer from the start, so that one
 * commit answers many, also of one sender; the producer keeps their order.
 *
 * All of it happens on GDBus's worker thread, where the calls are read and where
 * the producer's answers come back, with no wake-up of the main loop; so there is
 * no lock. */

#include "evbusd-pipeline.h"

#include "evbusd-watch.h"

#define MAX_CALLS_OF_SENDER 8192u
#define MAX_CALLS 32768u

/* Only a call that takes longer is worth the three messages with which the bus
 * is asked to tell when its sender leaves. */
#define WATCH_AFTER_US (250 * (gint64) 1000)

struct _EvbusdPipeline
{
  gatomicrefcount  ref_count;
  GDBusConnection *connection;
  EvbusProducer   *producer;
  EvbusdAnswer     answer;

  /* Used on the worker's thread alone, but for @context. */
  GHashTable      *senders;    /* unique name → Sender */
  guint            n_calls;
  GSource         *timer;
  gint64           due;        /* monotonic: when @timer goes off; G_MAXINT64: not */
  GMainContext    *context;    /* atomic; the worker's, from the first message on */
};

typedef struct {
  EvbusdPipeline *pipeline;
  char           *name;
  GQueue          calls;       /* of Call, oldest first */
  EvbusdWatch    *watch;
} Sender;

typedef struct {
  GList               link;    /* in the sender's calls */
  Sender             *sender;
  const EvbusdMethod *method;
  GDBusMessage       *message; /* without its body */
  GCancellable       *cancellable;
  gint64              since;   /* this and the next: monotonic */
  gint64              deadline;
  gboolean            timed_out;
} Call;

typedef struct {
  GSourceFunc done;
  gpointer    user_data;
} Settled;

EvbusdPipeline *
evbusd_pipeline_new (GDBusConnection *connection,
                     EvbusProducer   *producer,
                     EvbusdAnswer     answer)
{
  EvbusdPipeline *self = g_new0 (EvbusdPipeline, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->connection = g_object_ref (connection);
  self->producer = g_object_ref (producer);
  self->answer = answer;
  self->senders = g_hash_table_new (g_str_hash, g_str_equal);
  self->due = G_MAXINT64;
  return self;
}

/* A sender holds a reference, so that at the last one there is none. */
static void
unref (EvbusdPipeline *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  if (self->timer != NULL)
    {
      g_source_destroy (self->timer);
      g_source_unref (self->timer);
    }
  g_clear_pointer (&self->context, g_main_context_unref);
  g_hash_table_unref (self->senders);
  g_object_unref (self->producer);
  g_object_unref (self->connection);
  g_free (self);
}

static Sender *
ensure_sender (EvbusdPipeline *self,
               const char     *name)
{
  Sender *sender = g_hash_table_lookup (self->senders, name);

  if (sender != NULL)
    return sender;

  sender = g_new0 (Sender, 1);
  g_atomic_ref_count_inc (&self->ref_count);
  sender->pipeline = self;
  sender->name = g_strdup (name);
  g_hash_table_insert (self->senders, sender->name, sender);
  return sender;
}

static void
sender_free (Sender *sender)
{
  g_hash_table_remove (sender->pipeline->senders, sender->name);
  g_clear_pointer (&sender->watch, evbusd_watch_free);
  unref (sender->pipeline);
  g_free (sender->name);
  g_free (sender);
}

static void
end_call (Call *call)
{
  Sender *sender = call->sender;

  g_queue_unlink (&sender->calls, &call->link);
  sender->pipeline->n_calls--;
  g_object_unref (call->message);
  g_object_unref (call->cancellable);
  g_free (call);
  if (sender->calls.length == 0)
    sender_free (sender);
}

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      user_data)
{
  g_autoptr (GError) error = NULL;
  Call *call = user_data;
  EvbusdPipeline *self = call->sender->pipeline;
  GVariant *results;

  results = call->method->finish (EVBUS_PRODUCER (source), result, &error);
  if (call->timed_out && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    {
      g_clear_error (&error);
      error = evbusd_method_new_timed_out ();
    }
  self->answer (self->connection, call->message, results, error);
  end_call (call);
}

/* Each of @cancellables, of which the calls may be gone with the first. */
static void
cancel_all (GPtrArray *cancellables)
{
  for (guint i = 0; i < cancellables->len; i++)
    g_cancellable_cancel (cancellables->pdata[i]);
}

/* Nobody is left to answer: what the producer has not accepted yet is taken back. */
static void
on_vanished (gpointer user_data)
{
  Sender *sender = user_data;
  g_autoptr (GPtrArray) cancellables = g_ptr_array_new_with_free_func (g_object_unref);

  for (GList *link = sender->calls.head; link != NULL; link = link->next)
    g_ptr_array_add (cancellables, g_object_ref (((Call *) link->data)->cancellable));
  cancel_all (cancellables);
}

static void
arm_timer (EvbusdPipeline *self,
           gint64          due)
{
  if (due >= self->due)
    return;

  self->due = due;
  g_source_set_ready_time (self->timer, due);
}

/* Adds the calls that are past their time to @overdue; returns when to look again. */
static gint64
look_at (Sender    *sender,
         gint64     now,
         GPtrArray *overdue)
{
  Call *oldest = g_queue_peek_head (&sender->calls);
  gint64 next = sender->watch == NULL ? oldest->since + WATCH_AFTER_US : G_MAXINT64;

  if (next <= now)
    {
      sender->watch = evbusd_watch_new (sender->pipeline->connection, sender->name, on_vanished, sender);
      next = G_MAXINT64;
    }

  for (GList *link = sender->calls.head; link != NULL; link = link->next)
    {
      Call *call = link->data;

      if (call->timed_out)
        continue;
      call->timed_out = call->deadline <= now;
      if (call->timed_out)
        g_ptr_array_add (overdue, g_object_ref (call->cancellable));
      else
        next = MIN (next, call->deadline);
    }

  return next;
}

static gboolean
on_timer (gpointer user_data)
{
  EvbusdPipeline *self = user_data;
  g_autoptr (GPtrArray) overdue = g_ptr_array_new_with_free_func (g_object_unref);
  gint64 now = g_get_monotonic_time ();
  gint64 next = G_MAXINT64;
  GHashTableIter iter;
  gpointer sender;

  g_hash_table_iter_init (&iter, self->senders);
  while (g_hash_table_iter_next (&iter, NULL, &sender))
    next = MIN (next, look_at (sender, now, overdue));

  self->due = G_MAXINT64;
  g_source_set_ready_time (self->timer, -1);
  arm_timer (self, next);
  cancel_all (overdue);
  return G_SOURCE_CONTINUE;
}

static gboolean
dispatch_timer (GSource     *source,
                GSourceFunc  callback,
                gpointer     user_data)
{
  return callback (user_data);
}

/* On the worker's thread, before anything else. */
void
evbusd_pipeline_enter (EvbusdPipeline *self)
{
  static GSourceFuncs funcs = { NULL, NULL, dispatch_timer, NULL, NULL, NULL };
  GMainContext *context;

  if (self->timer != NULL)
    return;

  context = g_main_context_ref_thread_default ();
  self->timer = g_source_new (&funcs, sizeof (GSource));
  g_source_set_static_name (self->timer, "[evbusd] calls in time");
  g_source_set_callback (self->timer, on_timer, self, NULL);
  g_source_attach (self->timer, context);
  g_atomic_pointer_set (&self->context, context);
}

/* For its answer: the event has a copy of the body, and thousands of calls can be
 * under way. What GDBus hands to a filter is locked and stays as it is. */
static GDBusMessage *
copy_without_body (GDBusMessage *message)
{
  GDBusMessage *copy = g_dbus_message_copy (message, NULL);

  g_dbus_message_set_body (copy, NULL);
  return copy;
}

static Call *
add_call (EvbusdPipeline     *self,
          const EvbusdMethod *method,
          GDBusMessage       *message)
{
  Sender *sender = ensure_sender (self, g_dbus_message_get_sender (message));
  guint timeout = evbusd_method_get_timeout (g_dbus_message_get_body (message));
  Call *call = g_new0 (Call, 1);

  call->link.data = call;
  call->sender = sender;
  call->method = method;
  call->message = copy_without_body (message);
  call->cancellable = g_cancellable_new ();
  call->since = g_get_monotonic_time ();
  call->deadline = call->since + timeout * (gint64) 1000;
  g_queue_push_tail_link (&sender->calls, &call->link);
  self->n_calls++;
  arm_timer (self, MIN (call->deadline, call->since + WATCH_AFTER_US));
  return call;
}

static gboolean
has_room (EvbusdPipeline *self,
          const char     *name)
{
  const Sender *sender;

  if (self->n_calls >= MAX_CALLS)
    return FALSE;

  sender = g_hash_table_lookup (self->senders, name);
  return sender == NULL || sender->calls.length < MAX_CALLS_OF_SENDER;
}

/* Begins the call in @message, which has a start(), and answers it when it is done. */
void
evbusd_pipeline_call (EvbusdPipeline     *self,
                      const EvbusdMethod *method,
                      GDBusMessage       *message)
{
  g_autoptr (GVariant) arguments = g_variant_ref (g_dbus_message_get_body (message));
  Call *call;

  if (!has_room (self, g_dbus_message_get_sender (message)))
    {
      g_autoptr (GError) error = evbusd_method_new_too_many ();

      self->answer (self->connection, message, NULL, error);
      return;
    }

  call = add_call (self, method, message);
  method->start (self->producer, arguments, call->cancellable, on_put, call);
}

static gboolean
on_free (gpointer user_data)
{
  unref (user_data);
  return G_SOURCE_REMOVE;
}

static void
call_in_context (GMainContext   *context,
                 GSourceFunc     function,
                 gpointer        user_data,
                 GDestroyNotify  destroy)
{
  g_autoptr (GSource) source = g_idle_source_new ();

  /* Behind the answers, which have the same priority. */
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, function, user_data, destroy);
  g_source_attach (source, context);
}

/* The timer may be at work on the worker's thread. */
void
evbusd_pipeline_free (EvbusdPipeline *self)
{
  GMainContext *context = g_atomic_pointer_get (&self->context);

  if (context == NULL)
    unref (self);
  else
    call_in_context (context, on_free, self, NULL);
}

static gboolean
on_settled (gpointer user_data)
{
  const Settled *settled = user_data;

  call_in_context (NULL, settled->done, settled->user_data, NULL);
  return G_SOURCE_REMOVE;
}

/* Calls @done in the main context once the answers that the producer has given by
 * now are with the bus. */
void
evbusd_pipeline_settle (EvbusdPipeline *self,
                        GSourceFunc     done,
                        gpointer        user_data)
{
  GMainContext *context = g_atomic_pointer_get (&self->context);
  Settled *settled = g_new (Settled, 1);

  settled->done = done;
  settled->user_data = user_data;
  call_in_context (context, on_settled, settled, g_free);
}
