/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The calls whose answer comes later. One for which there is space is with the broker
 * at once and is answered from the commit that has its events, or from their deliveries: one
 * commit answers many, also of one sender, and the broker keeps their order.
 *
 * One that waits for space holds its sender up: what the same sender calls next waits here
 * for its turn, so that the order holds also between routes and for calls that never wait
 * for space. Nobody waits for another sender.
 *
 * All of it happens on GDBus's worker thread, where the calls are read and where
 * the producer's answers come back, with no wake-up of the main loop; so there is
 * no lock. */

#include "evbusd-pipeline.h"

#include "evbusd-watch.h"

#define MAX_CALLS_OF_SENDER 8192u
#define MAX_CALLS 32768u
#define MAX_HELD_BYTES (64u * 1024u * 1024u)

/* Only a call that takes longer is worth the three messages with which the bus
 * is asked to tell when its sender leaves. */
#define WATCH_AFTER_US (250 * (gint64) 1000)

struct _EvbusdPipeline
{
  gatomicrefcount  ref_count;
  GDBusConnection *connection;
  EvbusBroker     *broker;
  EvbusdAnswer     answer;

  /* Used on the worker's thread alone, but for @context. */
  GHashTable      *senders;    /* unique name → Sender */
  guint            n_calls;
  guint            n_held_up;  /* senders */
  gsize            held_bytes; /* of bodies of calls that wait for their turn */
  GSource         *timer;
  gint64           due;        /* monotonic: when @timer goes off; G_MAXINT64: not */
  GMainContext    *context;    /* atomic; the worker's, from the first message on */
};

typedef struct {
  EvbusdPipeline *pipeline;
  char           *name;
  GQueue          calls;       /* of Call, oldest first: those that the broker has; never empty for long */
  GQueue          held;        /* of Call, oldest first: those that wait for their turn */
  gpointer        waiting;     /* the one of @calls that waits for space, or NULL */
  EvbusdWatch    *watch;
} Sender;

typedef struct {
  GList               link;    /* in one of its sender's lists */
  Sender             *sender;
  const EvbusdMethod *method;
  GDBusMessage       *message; /* without its body, once the broker has the call */
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
                     EvbusBroker     *broker,
                     EvbusdAnswer     answer)
{
  EvbusdPipeline *self = g_new0 (EvbusdPipeline, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->connection = g_object_ref (connection);
  self->broker = g_object_ref (broker);
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
  g_object_unref (self->broker);
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

/* For its answer: the event has a copy of the body, and thousands of calls can be
 * under way. What GDBus hands to a filter is locked and stays as it is. */
static GDBusMessage *
copy_without_body (GDBusMessage *message)
{
  GDBusMessage *copy = g_dbus_message_copy (message, NULL);

  g_dbus_message_set_body (copy, NULL);
  return copy;
}

static gsize
get_size (Call *call)
{
  return g_variant_get_size (g_dbus_message_get_body (call->message));
}

static void
unlink_held (Call *call)
{
  g_queue_unlink (&call->sender->held, &call->link);
  call->sender->pipeline->held_bytes -= get_size (call);
}

/* The call is in neither list any more. Its sender goes with the last one. */
static void
end_call (Call *call)
{
  Sender *sender = call->sender;

  sender->pipeline->n_calls--;
  g_object_unref (call->message);
  g_object_unref (call->cancellable);
  g_free (call);
  if (sender->calls.length == 0 && sender->held.length == 0)
    sender_free (sender);
}

/* Of one that waits for its turn. */
static void
answer_held (Call         *call,
             GVariant     *results,
             const GError *error)
{
  EvbusdPipeline *self = call->sender->pipeline;

  unlink_held (call);
  self->answer (self->connection, call->message, results, error);
  end_call (call);
}

static void on_put (GObject      *source,
                    GAsyncResult *result,
                    gpointer      user_data);

/* Hands a call that is in no list to the broker. One that waits for its delivery does not
 * hold up its sender. */
static void
begin (Call *call)
{
  Sender *sender = call->sender;
  g_autoptr (GDBusMessage) message = call->message;
  GVariant *arguments = g_dbus_message_get_body (message);

  call->message = copy_without_body (message);
  g_queue_push_tail_link (&sender->calls, &call->link);
  if (call->method->begin (sender->pipeline->broker, arguments, call->cancellable, on_put, call) ||
      evbusd_method_waits_for_delivery (arguments))
    return;

  sender->waiting = call;
  sender->pipeline->n_held_up++;
}

/* A call of the kind that never waits for space waited for its turn alone. */
static void
attempt_held (Call *call)
{
  g_autoptr (GError) error = NULL;
  GVariant *results = NULL;

  call->method->attempt (call->sender->pipeline->broker, g_dbus_message_get_body (call->message), &results, &error);
  answer_held (call, results, error);
}

/* Until one has to wait again. */
static void
begin_held (Sender *sender)
{
  Call *call;

  while (sender->waiting == NULL && (call = g_queue_peek_head (&sender->held)) != NULL)
    {
      if (call->method->begin == NULL)
        {
          attempt_held (call);
          continue;
        }
      unlink_held (call);
      begin (call);
    }
}

static void
refuse_held (Sender       *sender,
             const GError *error)
{
  Call *call;

  while ((call = g_queue_peek_head (&sender->held)) != NULL)
    answer_held (call, NULL, error);
}

/* The call is still in its list, so that its sender stays. At the end nothing has its turn any
 * more: what would be begun then would be answered too late. */
static void
let_next (Call         *call,
          const GError *error)
{
  Sender *sender = call->sender;

  if (sender->waiting != call)
    return;

  sender->waiting = NULL;
  sender->pipeline->n_held_up--;
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED))
    refuse_held (sender, error);
  else
    begin_held (sender);
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

  results = call->method->finish (EVBUS_BROKER (source), result, &error);
  if (call->timed_out && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    {
      g_clear_error (&error);
      error = evbusd_method_new_timed_out ();
    }
  self->answer (self->connection, call->message, results, error);
  let_next (call, error);
  g_queue_unlink (&call->sender->calls, &call->link);
  end_call (call);
}

/* Each of @cancellables, of which the calls may be gone with the first. */
static void
cancel_all (GPtrArray *cancellables)
{
  for (guint i = 0; i < cancellables->len; i++)
    g_cancellable_cancel (cancellables->pdata[i]);
}

/* Nobody is left to answer: what the broker has not accepted yet is taken back, and what
 * waits for its turn never gets there. */
static void
on_vanished (gpointer user_data)
{
  Sender *sender = user_data;
  g_autoptr (GPtrArray) cancellables = g_ptr_array_new_with_free_func (g_object_unref);
  Call *call;

  while ((call = g_queue_peek_head (&sender->held)) != NULL)
    {
      unlink_held (call);
      end_call (call);
    }
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

/* Answers the calls that waited for their turn for too long; returns when to look again. */
static gint64
look_at_held (Sender *sender,
              gint64  now)
{
  g_autoptr (GError) error = evbusd_method_new_timed_out ();
  gint64 next = G_MAXINT64;
  GList *link = sender->held.head;

  while (link != NULL)
    {
      Call *call = link->data;

      link = link->next;
      if (call->deadline <= now)
        answer_held (call, NULL, error);
      else
        next = MIN (next, call->deadline);
    }

  return next;
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
    {
      gint64 sender_next = look_at (sender, now, overdue);
      gint64 held_next = look_at_held (sender, now);

      next = MIN (next, MIN (sender_next, held_next));
    }

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

static Call *
add_call (EvbusdPipeline     *self,
          const EvbusdMethod *method,
          GDBusMessage       *message)
{
  guint timeout = evbusd_method_get_timeout (g_dbus_message_get_body (message));
  Call *call = g_new0 (Call, 1);

  call->link.data = call;
  call->sender = ensure_sender (self, g_dbus_message_get_sender (message));
  call->method = method;
  call->message = g_object_ref (message);
  call->cancellable = g_cancellable_new ();
  call->since = g_get_monotonic_time ();
  call->deadline = call->since + timeout * (gint64) 1000;
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
  if (sender == NULL)
    return TRUE;

  return sender->calls.length + sender->held.length < MAX_CALLS_OF_SENDER &&
         (sender->waiting == NULL || self->held_bytes < MAX_HELD_BYTES);
}

/* Whether an older call of that sender waits for space. Then its next ones are for
 * evbusd_pipeline_call(). */
gboolean
evbusd_pipeline_holds_up (EvbusdPipeline *self,
                          const char     *name)
{
  const Sender *sender;

  if (self->n_held_up == 0)
    return FALSE;

  sender = g_hash_table_lookup (self->senders, name);
  return sender != NULL && sender->waiting != NULL;
}

/* Begins the call in @message now or when it is its turn, and answers it when it is done. One
 * that has no begin() is for a sender that is held up. */
void
evbusd_pipeline_call (EvbusdPipeline     *self,
                      const EvbusdMethod *method,
                      GDBusMessage       *message)
{
  Call *call;

  if (!has_room (self, g_dbus_message_get_sender (message)))
    {
      g_autoptr (GError) error = evbusd_method_new_too_many ();

      self->answer (self->connection, message, NULL, error);
      return;
    }

  call = add_call (self, method, message);
  if (call->sender->waiting == NULL)
    {
      begin (call);
      return;
    }

  g_queue_push_tail_link (&call->sender->held, &call->link);
  self->held_bytes += get_size (call);
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

/* Calls @done in the main context once the answers that the broker has given by
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
