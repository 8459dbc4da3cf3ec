/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The calls that could not be answered at once: one line for each sender, so
 * that its events keep their order and no other sender waits for it.
 *
 * Calls join a line on GDBus's worker thread; all else happens in the main
 * context: only the head of a line is with the producer, and a call that waits
 * too long leaves the line wherever it stands. A sender without a line has no
 * call waiting, and then its next call need not come here. */

#include "evbusd-line.h"

#define MAX_CALLS 1024                      /* in one line */
#define MAX_BYTES (64 * 1024 * 1024)        /* of bodies in all lines */

struct _EvbusdLines
{
  gatomicrefcount  ref_count;
  GDBusConnection *connection;
  EvbusProducer   *producer;
  EvbusdAnswer     answer;

  GMutex           lock;
  int              n_lines;    /* read without the lock too */
  GHashTable      *lines;      /* unique name → Line */
  gsize            bytes;
};

typedef struct {
  EvbusdLines *lines;
  char        *sender;
  GQueue       calls;          /* of Call, under the lock; the head is with the producer */
  guint        watch;
} Line;

typedef struct {
  Line               *line;
  const EvbusdMethod *method;
  GDBusMessage       *message;
  gsize               size;
  GCancellable       *cancellable;
  GSource            *timeout;
  gboolean            timed_out;
} Call;

static void run_line (Line *line);

EvbusdLines *
evbusd_lines_new (GDBusConnection *connection,
                  EvbusProducer   *producer,
                  EvbusdAnswer     answer)
{
  EvbusdLines *self = g_new0 (EvbusdLines, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->connection = g_object_ref (connection);
  self->producer = g_object_ref (producer);
  self->answer = answer;
  g_mutex_init (&self->lock);
  self->lines = g_hash_table_new (g_str_hash, g_str_equal);
  return self;
}

/* A line holds a reference, so that at the last one there is none. */
void
evbusd_lines_unref (EvbusdLines *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  g_hash_table_unref (self->lines);
  g_mutex_clear (&self->lock);
  g_object_unref (self->producer);
  g_object_unref (self->connection);
  g_free (self);
}

static void
call_free (Call *call)
{
  g_source_destroy (call->timeout);
  g_source_unref (call->timeout);
  g_object_unref (call->message);
  g_object_unref (call->cancellable);
  g_free (call);
}

static void
line_free (Line *line)
{
  g_bus_unwatch_name (line->watch);
  evbusd_lines_unref (line->lines);
  g_free (line->sender);
  g_free (line);
}

static void
answer (Call         *call,
        GVariant     *results,
        const GError *error)
{
  EvbusdLines *lines = call->line->lines;

  lines->answer (lines->connection, call->message, results, error);
}

static void
answer_timed_out (Call *call)
{
  g_autoptr (GError) error = evbusd_method_new_timed_out ();

  answer (call, NULL, error);
}

/* Takes the head away. FALSE: it was the last one, and the line is gone. */
static gboolean
pop_head (Line *line)
{
  EvbusdLines *self = line->lines;
  Call *call;
  gboolean over;

  g_mutex_lock (&self->lock);
  call = g_queue_pop_head (&line->calls);
  self->bytes -= call->size;
  over = g_queue_is_empty (&line->calls);
  if (over)
    {
      g_hash_table_remove (self->lines, line->sender);
      g_atomic_int_add (&self->n_lines, -1);
    }
  g_mutex_unlock (&self->lock);

  call_free (call);
  if (over)
    line_free (line);

  return !over;
}

static Call *
peek_head (Line *line)
{
  EvbusdLines *self = line->lines;
  Call *call;

  g_mutex_lock (&self->lock);
  call = g_queue_peek_head (&line->calls);
  g_mutex_unlock (&self->lock);

  return call;
}

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      user_data)
{
  g_autoptr (GError) error = NULL;
  Call *call = user_data;
  Line *line = call->line;
  GVariant *results;

  results = call->method->finish (EVBUS_PRODUCER (source), result, &error);
  if (results == NULL && call->timed_out)
    answer_timed_out (call);
  else
    answer (call, results, error);

  if (pop_head (line))
    run_line (line);
}

/* A call that has left its line, though it is not answered yet. */
typedef struct {
  EvbusdLines        *lines;
  const EvbusdMethod *method;
  GDBusMessage       *message;
} Detached;

static void
on_delivered (GObject      *source,
              GAsyncResult *result,
              gpointer      user_data)
{
  g_autoptr (GError) error = NULL;
  Detached *detached = user_data;
  EvbusdLines *lines = detached->lines;
  GVariant *results = detached->method->finish (EVBUS_PRODUCER (source), result, &error);

  lines->answer (lines->connection, detached->message, results, error);
  g_object_unref (detached->message);
  evbusd_lines_unref (lines);
  g_free (detached);
}

/* One that waits for its delivery waited here for its turn alone: the producer has its
 * event's place now, and the sender's next calls need not wait until it is delivered. */
static void
detach (Call *call)
{
  EvbusdLines *lines = call->line->lines;
  Detached *detached = g_new (Detached, 1);

  g_atomic_ref_count_inc (&lines->ref_count);
  detached->lines = lines;
  detached->method = call->method;
  detached->message = g_object_ref (call->message);
  call->method->start (lines->producer, g_dbus_message_get_body (call->message), NULL, on_delivered, detached);
}

/* A call of the kind that never waits waited for its turn alone. */
static void
attempt (Call *call)
{
  g_autoptr (GError) error = NULL;
  GVariant *results = NULL;

  call->method->attempt (call->line->lines->producer, g_dbus_message_get_body (call->message), &results, &error);
  answer (call, results, error);
}

/* From the head on, until one has to wait. */
static void
run_line (Line *line)
{
  Call *call;

  do
    {
      call = peek_head (line);
      if (evbusd_method_waits_for_delivery (g_dbus_message_get_body (call->message)))
        {
          detach (call);
        }
      else if (call->method->start != NULL)
        {
          call->method->start (line->lines->producer, g_dbus_message_get_body (call->message),
                               call->cancellable, on_put, call);
          return;
        }
      else
        {
          attempt (call);
        }
    }
  while (pop_head (line));
}

static gboolean
on_timeout (gpointer user_data)
{
  Call *call = user_data;
  Line *line = call->line;
  EvbusdLines *self = line->lines;

  if (call == peek_head (line))
    {
      call->timed_out = TRUE;
      g_cancellable_cancel (call->cancellable);
      return G_SOURCE_REMOVE;
    }

  g_mutex_lock (&self->lock);
  g_queue_remove (&line->calls, call);
  self->bytes -= call->size;
  g_mutex_unlock (&self->lock);

  answer_timed_out (call);
  call_free (call);
  return G_SOURCE_REMOVE;
}

/* Nobody is left to answer: what the producer has not accepted yet is taken
 * back, and what stands behind it never gets there. */
static void
on_vanished (GDBusConnection *connection,
             const char      *name,
             gpointer         user_data)
{
  Line *line = user_data;
  EvbusdLines *self = line->lines;
  g_autoptr (GPtrArray) behind = g_ptr_array_new_with_free_func ((GDestroyNotify) call_free);
  Call *head;

  g_mutex_lock (&self->lock);
  while (g_queue_get_length (&line->calls) > 1)
    {
      Call *call = g_queue_pop_tail (&line->calls);

      self->bytes -= call->size;
      g_ptr_array_add (behind, call);
    }
  head = g_queue_peek_head (&line->calls);
  g_mutex_unlock (&self->lock);

  g_cancellable_cancel (head->cancellable);
}

static gboolean
start_line (gpointer user_data)
{
  Line *line = user_data;

  line->watch = g_bus_watch_name_on_connection (line->lines->connection, line->sender, G_BUS_NAME_WATCHER_FLAGS_NONE,
                                                NULL, on_vanished, line, NULL);
  run_line (line);
  return G_SOURCE_REMOVE;
}

static void
call_in_main_context (GSource     *source,
                      GSourceFunc  function,
                      gpointer     user_data)
{
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, function, user_data, NULL);
  g_source_attach (source, NULL);
}

static Line *
open_line_locked (EvbusdLines *self,
                  const char  *sender)
{
  Line *line = g_new0 (Line, 1);
  g_autoptr (GSource) source = g_idle_source_new ();

  g_atomic_ref_count_inc (&self->ref_count);
  line->lines = self;
  line->sender = g_strdup (sender);
  g_queue_init (&line->calls);
  g_hash_table_insert (self->lines, line->sender, line);
  g_atomic_int_inc (&self->n_lines);
  call_in_main_context (source, start_line, line);
  return line;
}

static void
append_locked (Line               *line,
               const EvbusdMethod *method,
               GDBusMessage       *message)
{
  GVariant *arguments = g_dbus_message_get_body (message);
  Call *call = g_new0 (Call, 1);

  call->line = line;
  call->method = method;
  call->message = g_object_ref (message);
  call->size = g_variant_get_size (arguments);
  call->cancellable = g_cancellable_new ();
  call->timeout = g_timeout_source_new (evbusd_method_get_timeout (arguments));
  line->lines->bytes += call->size;
  g_queue_push_tail (&line->calls, call);
  call_in_main_context (call->timeout, on_timeout, call);
}

/* Joins the line of the sender of @message. Without one, @open says whether to
 * open one; FALSE: there is none and the call is still the caller's. A call for
 * which there is no room is answered. */
gboolean
evbusd_lines_join (EvbusdLines        *self,
                   const EvbusdMethod *method,
                   GDBusMessage       *message,
                   gboolean            open)
{
  const char *sender = g_dbus_message_get_sender (message);
  g_autoptr (GError) error = NULL;
  Line *line;

  if (!open && g_atomic_int_get (&self->n_lines) == 0)
    return FALSE;

  g_mutex_lock (&self->lock);
  line = g_hash_table_lookup (self->lines, sender);
  if (line == NULL && !open)
    {
      g_mutex_unlock (&self->lock);
      return FALSE;
    }

  if ((line != NULL && g_queue_get_length (&line->calls) >= MAX_CALLS) || self->bytes >= MAX_BYTES)
    error = evbusd_method_new_too_many ();
  else
    append_locked (line != NULL ? line : open_line_locked (self, sender), method, message);
  g_mutex_unlock (&self->lock);

  if (error != NULL)
    self->answer (self->connection, message, NULL, error);
  return TRUE;
}
