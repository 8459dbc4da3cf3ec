/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Puts the events of `put KEY -`, in batches where that is possible.
 *
 * In a PutMany a body is a value, without a content type, and not all JSON survives being
 * made one (see evbusctl-body.c); what does not goes by a PutWithOptions of its own,
 * in its place. So does what comes alone: an event waits for no other to fill a batch.
 *
 * A connection keeps its messages in order, and the service takes a sender's events in
 * the order of its calls. While a batch is under way nothing is sent after it: all of it
 * is accepted or none, and if it is refused, such as for one bad line, its events are
 * put one by one, which is still in order. Meanwhile the next batch comes together; they
 * are large, so that the waiting costs little. */

#include "evbusctl-sender.h"

#include <stdio.h>
#include <unistd.h>

#include "evbusctl-output.h"

#define WINDOW_EVENTS   2048u    /* a batch under way, and the next one */
#define WINDOW_BYTES    (8u * 1024u * 1024u)
#define WINDOW_CALLS    256u
#define BATCH_EVENTS    1024u
#define BATCH_BYTES     (1024u * 1024u)
#define BATCH_LEAST     8u       /* fewer take longer to wait for than to put one by one */
#define REPORTED        20u      /* refusals shown one by one, the others counted */

struct _EvbusctlSender {
  EvbusctlBus *bus;
  const char *routing_key;
  const char *profile;
  GFunc progressed;
  gpointer user_data;
  GCancellable *cancellable;

  GQueue pending;        /* of Put, in the order of the lines: up to the first without an answer */
  GQueue waiting;        /* those of them that are to be sent */
  GPtrArray *batch;      /* those that are under way as one; empty: none are */
  guint batch_events;    /* how many go together at most */
  guint in_flight;       /* calls */
  gsize bytes;
  guint send_source;
  gint64 last_answer;

  EvbusctlTally tally;
  guint n_shown;
};

typedef struct {
  EvbusctlSender *sender;
  guint64 line;
  EvbusctlBody body;
  GVariant *value;       /* for a batch */
  gboolean alone;        /* in no batch */
  gboolean answered;
  char *id;
  GError *error;
} Put;

static void send_waiting (EvbusctlSender *self);

static void
put_free (Put *put)
{
  evbusctl_body_clear (&put->body);
  g_clear_pointer (&put->value, g_variant_unref);
  g_free (put->id);
  g_clear_error (&put->error);
  g_free (put);
}

static gboolean
can_be_in_batch (EvbusctlSender *self,
                 Put            *put)
{
  if (put->body.options != NULL && !evbusctl_bus_writes_json (self->bus))
    return FALSE;

  if (put->value == NULL && !put->alone)
    put->value = evbusctl_body_dup_value (&put->body);
  put->alone = put->value == NULL || put->alone;

  return !put->alone;
}

/* ---- What came of it ---- */

/* A refusal of this one event says nothing of the next; any other reason would
 * meet every line, or wait ten seconds for each. */
static gboolean
concerns_the_event_alone (const GError *error)
{
  return g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY) ||
         g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE);
}

static gboolean
outcome_is_unknown (const GError *error)
{
  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CLOSED) ||
         g_error_matches (error, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY);
}

/* Sends no more; what is under way is still waited for. */
static void
give_up (EvbusctlSender *self,
         GError         *error)
{
  Put *put;

  self->tally.status = evbusctl_bus_report (error);
  while ((put = g_queue_pop_head (&self->waiting)) != NULL)
    {
      put->error = g_error_copy (error);
      put->answered = TRUE;
    }
}

static void
report_refusal (EvbusctlSender *self,
                Put            *put)
{
  gboolean unknown = outcome_is_unknown (put->error);

  if (unknown)
    self->tally.n_unanswered++;
  else
    self->tally.n_refused++;

  if (concerns_the_event_alone (put->error))
    {
      g_dbus_error_strip_remote_error (put->error);
      if (self->n_shown < REPORTED)
        evbusctl_error ("line %" G_GUINT64_FORMAT ": %s", put->line, put->error->message);
      else
        self->tally.n_unseen++;
      self->n_shown = MIN (self->n_shown + 1, REPORTED);
    }
  else if (self->tally.status == EVBUSCTL_OK)
    {
      evbusctl_error ("line %" G_GUINT64_FORMAT ": %s; no more lines are read",
                      put->line, unknown ? "without an answer" : "not put");
      give_up (self, put->error);
    }
}

/* Ids and refusals come out in the order of the lines, whatever order the
 * answers came in. */
static void
report_answers (EvbusctlSender *self)
{
  Put *put;

  while ((put = g_queue_peek_head (&self->pending)) != NULL && put->answered)
    {
      g_queue_pop_head (&self->pending);
      self->bytes -= put->body.size;
      if (put->id != NULL)
        {
          self->tally.n_put++;
          if (isatty (STDOUT_FILENO))
            evbusctl_progress_clear ();
          puts (put->id);
        }
      else
        {
          report_refusal (self, put);
        }

      put_free (put);
    }
}

static void
call_ended (EvbusctlSender *self)
{
  self->in_flight--;
  self->last_answer = g_get_monotonic_time ();
  report_answers (self);
  send_waiting (self);
  self->progressed (self, self->user_data);
}

/* ---- One by one ---- */

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      user_data)
{
  Put *put = user_data;
  EvbusctlSender *self = put->sender;

  put->id = evbusctl_bus_put_finish (self->bus, result, &put->error);
  put->answered = TRUE;

  /* Then it was this one for which the batch was too large, and not their number. */
  if (g_error_matches (put->error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE))
    self->batch_events = BATCH_EVENTS;

  call_ended (self);
}

static void
send_one (EvbusctlSender *self,
          Put            *put)
{
  evbusctl_bus_put_async (self->bus, self->routing_key, put->body.value, self->profile, put->body.options,
                          self->cancellable, on_put, put);
}

/* ---- In batches ---- */

static void
put_one_by_one (EvbusctlSender *self)
{
  for (guint i = self->batch->len; i > 0; i--)
    {
      Put *put = g_ptr_array_index (self->batch, i - 1);

      put->alone = TRUE;
      g_queue_push_head (&self->waiting, put);
    }
}

/* Each event has its id, or the error that was that of all. */
static void
answer_batch (EvbusctlSender  *self,
              char           **ids,
              const GError    *error)
{
  for (guint i = 0; i < self->batch->len; i++)
    {
      Put *put = g_ptr_array_index (self->batch, i);

      put->id = ids != NULL ? g_strdup (ids[i]) : NULL;
      put->error = error != NULL ? g_error_copy (error) : NULL;
      put->answered = TRUE;
    }
}

static void
on_put_many (GObject      *source,
             GAsyncResult *result,
             gpointer      user_data)
{
  EvbusctlSender *self = user_data;
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) ids = evbusctl_bus_put_many_finish (self->bus, result, &error);

  if (ids != NULL && g_strv_length (ids) != self->batch->len)
    {
      g_clear_pointer (&ids, g_strfreev);
      g_set_error (&error, G_IO_ERROR, G_IO_ERROR_CLOSED, "%u ids were wanted", self->batch->len);
    }

  /* Fewer fit, or find space in time. */
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE) ||
      g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL))
    self->batch_events = MAX (self->batch_events / 2, BATCH_LEAST);

  /* With a spool that failed nobody knows what is in it. */
  if (ids != NULL || self->tally.status != EVBUSCTL_OK || outcome_is_unknown (error) ||
      g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED))
    answer_batch (self, ids, error);
  else
    put_one_by_one (self);

  g_ptr_array_set_size (self->batch, 0);
  call_ended (self);
}

/* How many of those that wait go next together; 0: the first goes by itself. */
static guint
count_batch (EvbusctlSender *self)
{
  gsize bytes = 0;
  guint n = 0;

  for (GList *link = self->waiting.head; link != NULL && n < self->batch_events; link = link->next)
    {
      Put *put = link->data;

      bytes += put->body.size;
      if (bytes > BATCH_BYTES || !can_be_in_batch (self, put))
        break;
      n++;
    }

  return n >= BATCH_LEAST ? n : 0;
}

static void
send_batch (EvbusctlSender *self,
            guint           n_events)
{
  GVariantBuilder events;

  g_variant_builder_init (&events, G_VARIANT_TYPE ("a(svs)"));
  while (n_events-- > 0)
    {
      Put *put = g_queue_pop_head (&self->waiting);

      g_variant_builder_add (&events, "(svs)", self->routing_key, put->value, self->profile);
      g_ptr_array_add (self->batch, put);
    }

  evbusctl_bus_put_many_async (self->bus, g_variant_builder_end (&events), G_MAXINT, self->cancellable,
                               on_put_many, self);
}

/* ---- Sending ---- */

static void
send_waiting (EvbusctlSender *self)
{
  while (self->batch->len == 0 && self->in_flight < WINDOW_CALLS && !g_queue_is_empty (&self->waiting))
    {
      guint n_events = count_batch (self);

      if (self->in_flight++ == 0)
        self->last_answer = g_get_monotonic_time ();
      if (n_events > 0)
        send_batch (self, n_events);
      else
        send_one (self, g_queue_pop_head (&self->waiting));
    }
}

static gboolean
on_send (gpointer user_data)
{
  EvbusctlSender *self = user_data;

  self->send_source = 0;
  send_waiting (self);

  return G_SOURCE_REMOVE;
}

/* Takes over what is in @body, and @error: what was wrong with it, or NULL. */
void
evbusctl_sender_add (EvbusctlSender *self,
                     guint64         line,
                     EvbusctlBody   *body,
                     GError         *error)
{
  Put *put = g_new0 (Put, 1);

  put->sender = self;
  put->line = line;
  put->body = *body;
  *body = (EvbusctlBody) { NULL };
  put->error = error;
  put->answered = error != NULL;
  self->bytes += put->body.size;
  g_queue_push_tail (&self->pending, put);
  if (put->answered)
    {
      report_answers (self);
    }
  else
    {
      g_queue_push_tail (&self->waiting, put);
      /* While a batch is under way there is time for it. */
      can_be_in_batch (self, put);
    }

  /* Once there is nothing more to be read without waiting. */
  if (self->send_source == 0)
    self->send_source = g_idle_add (on_send, self);
}

gboolean
evbusctl_sender_is_full (EvbusctlSender *self)
{
  return g_queue_get_length (&self->pending) >= WINDOW_EVENTS || self->bytes >= WINDOW_BYTES;
}

/* Whether nothing is to be sent, and no answer comes any more. */
gboolean
evbusctl_sender_is_idle (EvbusctlSender *self)
{
  return g_queue_is_empty (&self->waiting) && self->in_flight == 0;
}

/* To be called now and then: gives up if no answer has come for too long. */
void
evbusctl_sender_check_silence (EvbusctlSender *self)
{
  gint64 silence = g_get_monotonic_time () - self->last_answer;

  if (self->in_flight > 0 && silence > evbusctl_bus_get_timeout () * (gint64) 1000 &&
      !g_cancellable_is_cancelled (self->cancellable))
    {
      g_autoptr(GError) error = g_error_new (G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "silence");

      give_up (self, error);
      g_cancellable_cancel (self->cancellable);
    }
}

EvbusctlTally
evbusctl_sender_get_tally (EvbusctlSender *self)
{
  return self->tally;
}

/* @progressed is called with the sender after answers; it may add more, or find that
 * there is no use in it. */
EvbusctlSender *
evbusctl_sender_new (EvbusctlBus *bus,
                     const char  *routing_key,
                     const char  *profile,
                     GFunc        progressed,
                     gpointer     user_data)
{
  EvbusctlSender *self = g_new0 (EvbusctlSender, 1);

  self->bus = g_object_ref (bus);
  self->routing_key = routing_key;
  self->profile = profile;
  self->progressed = progressed;
  self->user_data = user_data;
  self->cancellable = g_cancellable_new ();
  self->batch = g_ptr_array_new ();
  self->batch_events = BATCH_EVENTS;
  evbusctl_bus_watch_serializer (bus);

  return self;
}

void
evbusctl_sender_free (EvbusctlSender *self)
{
  g_clear_handle_id (&self->send_source, g_source_remove);
  g_queue_clear_full (&self->pending, (GDestroyNotify) put_free);
  g_queue_clear (&self->waiting);
  g_ptr_array_unref (self->batch);
  g_object_unref (self->cancellable);
  g_object_unref (self->bus);
  g_free (self);
}
