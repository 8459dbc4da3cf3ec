/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-route-worker-private.h"

#include "evbus-cause-private.h"
#include "evbus-error.h"
#include "evbus-limits-private.h"

EvbusOutcome
evbus_worker_get_outcome (const GError *error)
{
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN))
    return EVBUS_OUTCOME_BROKEN;
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_POISON))
    return EVBUS_OUTCOME_POISON;
  return EVBUS_OUTCOME_TRANSIENT;
}

char *
evbus_worker_describe (EvbusWorker  *self,
                       const char   *call,
                       gboolean      cancelled,
                       const GError *error)
{
  const char *message = error != NULL ? error->message
                                      : "a fault of the plugin: it failed without saying why";

  if (!cancelled)
    return g_strdup (message);

  /* Past its time it is the watch that has cancelled it. */
  if (g_get_monotonic_time () < self->route->call_deadline)
    return g_strdup_printf ("%s was cut short because the route was stopped: %s", call, message);

  return g_strdup_printf ("%s took longer than %.3g s: %s", call,
                          self->route->spec->delivery.timeout / (double) G_USEC_PER_SEC, message);
}

/* What a publish came to, while its marks are read. */
typedef struct {
  EvbusLedger   outcome;
  gsize         weight;     /* of those that leave */
  GArray       *dead;       /* EvbusSpoolDeath */
  guint8       *keep;       /* a byte for each event: to be tried again */
  guint         n_kept;
  EvbusMark     worst;      /* of those */
  char         *reason;     /* of the first of them */
  gboolean      halve;
} Verdict;

static void
keep (Verdict    *verdict,
      guint       index,
      EvbusMark   mark,
      const char *reason)
{
  verdict->keep[index] = TRUE;
  verdict->n_kept++;
  if (verdict->reason == NULL || mark > verdict->worst)
    {
      g_free (verdict->reason);
      verdict->reason = g_strdup (reason);
    }
  verdict->worst = MAX (verdict->worst, mark);
}

/* Where a spool keeps no letters it is not counted as one. */
static void
bury (EvbusWorker *self,
      Verdict     *verdict,
      EvbusEvent  *event,
      const char  *reason)
{
  EvbusSpoolDeath death = { evbus_event_ref (event), g_strdup (reason) };

  if (self->route->spool != NULL && !evbus_worker_keeps_dead (self))
    verdict->outcome.expired++;
  else
    verdict->outcome.dead++;
  verdict->weight += event->weight;
  g_array_append_val (verdict->dead, death);
}

static void
clear_death (gpointer data)
{
  EvbusSpoolDeath *death = data;

  evbus_event_unref (death->event);
  g_free ((char *) death->reason);
}

static void
read_marks (EvbusWorker *self,
            guint        n,
            EvbusMark    rest,
            const char  *rest_reason,
            Verdict     *verdict)
{
  EvbusRoute *route = self->route;
  guint n_unmarked = 0;

  for (guint i = 0; i < n; i++)
    n_unmarked += evbus_batch_get_mark (self->batch, self->n_booked + i) == EVBUS_MARK_NONE;

  for (guint i = 0; i < n; i++)
    {
      EvbusEvent *event = route->hand.events->pdata[i];
      EvbusMark mark = evbus_batch_get_mark (self->batch, self->n_booked + i);
      const char *reason = evbus_batch_get_message (self->batch, self->n_booked + i);

      if (mark == EVBUS_MARK_NONE)
        {
          mark = rest;
          reason = rest_reason;
          if (rest == EVBUS_MARK_NONE)
            {
              verdict->keep[i] = TRUE;
              continue;
            }
          if (rest == EVBUS_MARK_POISON && n_unmarked > 1)
            {
              /* One of them is poison; which one is found by halving. */
              verdict->halve = TRUE;
              self->halving = TRUE;
              self->limit = MIN ((n_unmarked + 1) / 2, self->allowance);
              verdict->keep[i] = TRUE;
              continue;
            }
          if (rest == EVBUS_MARK_POISON)
            {
              self->halving = FALSE;
              self->limit = self->allowance;
            }
          verdict->outcome.duplicates += rest == EVBUS_MARK_TRANSIENT;
        }

      if (mark == EVBUS_MARK_CONFIRMED)
        {
          verdict->outcome.delivered++;
          verdict->weight += event->weight;
        }
      else if (mark == EVBUS_MARK_POISON)
        {
          bury (self, verdict, event, reason);
        }
      else
        {
          keep (verdict, i, mark, reason);
        }
    }
}

/* A sink that has failed again and again is not given a batch with each try: that
 * would be work for it, and where it took some of it without saying so, as many
 * duplicates. One event finds out as well whether it is there again. */
static void
open_circuit (EvbusWorker *self)
{
  self->allowance = 1;
  self->limit = 1;
}

/* It took what it was given, so it is given twice as much, until that is a batch. */
static void
close_circuit (EvbusWorker *self)
{
  self->allowance = MIN (self->allowance * 2, self->max_events);
  if (!self->halving)
    self->limit = self->allowance;
}

static void
conclude_failure (EvbusWorker *self,
                  Verdict     *verdict)
{
  gboolean opens = self->failures + 1 >= EVBUS_CIRCUIT_FAILURES || self->allowance < self->max_events;
  g_autofree char *reason = NULL;

  if (verdict->outcome.delivered > 0 || self->n_booked > 0)
    {
      self->failures = 0;
    }
  else if (opens)
    {
      open_circuit (self);
      reason = g_strdup_printf ("the circuit is open, one event at a time is tried: %s", verdict->reason);
    }

  evbus_worker_back_off (self,
                         verdict->worst == EVBUS_MARK_BROKEN ? EVBUS_ROUTE_STATE_BROKEN : EVBUS_ROUTE_STATE_RETRYING,
                         reason != NULL ? reason : verdict->reason);
  self->not_before = MAX (MAX (self->not_before, self->read_again),
                          g_get_monotonic_time () + evbus_batch_get_retry_after (self->batch));
}

/* In which state the publish leaves the route. */
static void
conclude (EvbusWorker *self,
          Verdict     *verdict)
{
  const char *nonsense = evbus_batch_get_nonsense (self->batch);
  g_autofree char *fault = NULL;

  if (verdict->reason != NULL)
    {
      conclude_failure (self, verdict);
      return;
    }

  close_circuit (self);
  /* An extension may have failed to read from the spool, of which the state is to tell. */
  if (g_get_monotonic_time () < self->read_again)
    return;
  self->failures = 0;
  if (verdict->halve)
    return;
  if (nonsense != NULL)
    fault = g_strdup_printf ("a fault of the plugin: %s", nonsense);
  evbus_route_set_state (self->route, EVBUS_ROUTE_STATE_RUNNING, fault);
}

static void
judge (EvbusWorker  *self,
       gboolean      returned,
       gboolean      cancelled,
       const GError *error)
{
  static const EvbusMark marks[] = {
    [EVBUS_OUTCOME_TRANSIENT] = EVBUS_MARK_TRANSIENT,
    [EVBUS_OUTCOME_BROKEN] = EVBUS_MARK_BROKEN,
    [EVBUS_OUTCOME_POISON] = EVBUS_MARK_POISON,
  };
  EvbusRoute *route = self->route;
  guint n = self->n_given;
  Verdict verdict = { 0 };
  EvbusMark rest = EVBUS_MARK_TRANSIENT;
  g_autofree char *rest_reason = NULL;

  if (evbus_batch_get_n_confirmed (self->batch) == self->n_booked + n && n == route->hand.events->len)
    {
      /* The common case, in which no event has to be looked at. */
      verdict.outcome.delivered = n;
      conclude (self, &verdict);
      evbus_worker_settle (self, n, NULL, &verdict.outcome, route->hand.weight, NULL, 0);
      evbus_worker_let_go_all (self);
      return;
    }

  if (returned && evbus_batch_is_postponed (self->batch))
    rest = EVBUS_MARK_NONE;
  else if (returned)
    rest_reason = g_strdup ("a fault of the plugin: it returned success and left events unmarked");
  else
    {
      rest_reason = evbus_worker_describe (self, "publish", cancelled, error);
      rest = marks[evbus_worker_get_outcome (error)];
    }

  verdict.keep = g_new0 (guint8, n);
  verdict.dead = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolDeath));
  g_array_set_clear_func (verdict.dead, clear_death);
  read_marks (self, n, rest, rest_reason, &verdict);
  verdict.outcome.retried = verdict.n_kept;
  conclude (self, &verdict);
  evbus_worker_settle (self, n, verdict.keep, &verdict.outcome, verdict.weight,
                       (EvbusSpoolDeath *) (gpointer) verdict.dead->data, verdict.dead->len);
  evbus_worker_let_go (self, n, verdict.keep);

  g_array_unref (verdict.dead);
  g_free (verdict.keep);
  g_free (verdict.reason);
}

/* Of which event a put inside of publish is a consequence nobody can tell: it is
 * taken for the one with the most hops. */
void
evbus_worker_set_cause (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  guint max_hops = 0;

  for (guint i = 0; route->hand.max_hops > 0 && i < self->n_given; i++)
    {
      EvbusEvent *event = route->hand.events->pdata[i];

      max_hops = MAX (max_hops, event->hops);
    }

  evbus_cause_set (max_hops);
}

/* How many of the held events are a batch. */
static guint
count_batch (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  gsize max_bytes = route->spec->delivery.batch_bytes;
  guint n = MIN (route->hand.events->len, self->limit);
  gsize weight = 0;

  if (route->hand.weight <= max_bytes)
    return n;

  for (guint i = 0; i < n; i++)
    {
      weight += ((EvbusEvent *) route->hand.events->pdata[i])->weight;
      if (i > 0 && weight > max_bytes)
        return i;
    }
  return n;
}

void
evbus_worker_publish (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  g_autoptr(GError) error = NULL;
  gboolean returned;
  gboolean cancelled;
  gboolean kept;

  self->n_given = count_batch (self);
  self->n_booked = 0;
  evbus_batch_fill (self->batch, (EvbusEvent **) route->hand.events->pdata, self->n_given);
  evbus_worker_set_cause (self);
  evbus_worker_begin_call (self);
  returned = evbus_ingress_publish (self->ingress, self->ctx, self->batch,
                                    self->cancellable, &error);
  cancelled = evbus_worker_end_call (self);
  evbus_cause_clear ();

  kept = evbus_batch_close (self->batch);
  if (!self->abandoned)
    judge (self, returned, cancelled, error);

  if (kept)
    {
      g_object_unref (self->batch);
      self->batch = evbus_batch_new (evbus_worker_extend, self);
    }
}
