/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The events of a batch are sent one after the other, as many as may be without an
 * acknowledgement, and more of them as it is extended; each is marked by its own. */

#include "mqtt-publish.h"

#include "mqtt-errors.h"

/* The server is at work on this much while the next is made. */
#define CHUNK (16 * 1024)

/* Beside topic and body. */
#define OVERHEAD 200

/* While we wait, the library is asked at least so often whether a ping is due (ms). */
#define TICK 1000

/* MQTT numbers messages from 1 to 65535, and then again. */
#define N_MIDS G_MAXUINT16

#define SETTLED G_MAXUINT

typedef struct {
  MqttLink     *link;
  EvbusBatch   *batch;
  GPollFD       wake;       /* of the cancellable */
  GArray       *sent;       /* guint: which events, in order, or SETTLED */
  guint         base;       /* the number of the message before the first of them */
  guint         n_open;     /* without acknowledgement */
  gsize         n_bytes;    /* since the last flush */
  gsize         largest;    /* body that was sent */
} Run;

static void
settle (guint       mid,
        int         code,
        const char *reason,
        gpointer    data)
{
  Run *self = data;
  guint place = (mid + N_MIDS - self->base - 1) % N_MIDS;
  guint *index;
  g_autofree char *message = NULL;
  EvbusOutcome outcome;

  if (place >= self->sent->len)
    return;
  index = &g_array_index (self->sent, guint, place);
  if (*index == SETTLED)
    return;

  /* Nobody may have subscribed: the server has taken it nevertheless. */
  if (code < MQTT_REFUSED)
    evbus_batch_confirm (self->batch, *index);
  else
    {
      outcome = mqtt_errors_of_code (self->link->options, code, reason, &message);
      evbus_batch_fail (self->batch, *index, outcome, message);
    }
  *index = SETTLED;
  self->n_open--;
}

static gboolean
wait_until (Run     *self,
            guint    n_open,
            GError **error)
{
  gboolean done = TRUE;

  if (self->n_open <= n_open)
    return TRUE;
  mqtt_link_cork (self->link, FALSE);
  while (done && self->n_open > n_open)
    done = mqtt_link_pump (self->link, TICK, &self->wake, error);
  if (done)
    mqtt_link_cork (self->link, TRUE);
  self->n_bytes = 0;
  return done;
}

static void
flush (Run *self)
{
  mqtt_link_cork (self->link, FALSE);
  mqtt_link_cork (self->link, TRUE);
  self->n_bytes = 0;
}

/* There is room for one more. */
static gboolean
make_room (Run     *self,
           GError **error)
{
  if (!wait_until (self, self->link->max_inflight - 1, error))
    return FALSE;
  if (self->sent->len + 1 < N_MIDS)
    return TRUE;
  if (!wait_until (self, 0, error))
    return FALSE;
  g_array_set_size (self->sent, 0);
  self->base = self->link->mid;
  return TRUE;
}

/* What could not be sent is not open, whether it has used up a number or not. */
static gboolean
take_back (Run         *self,
           MqttMessage *message,
           guint        index,
           int          last_mid,
           int          status,
           GError     **error)
{
  const MqttOptions *options = self->link->options;
  g_autofree char *text = NULL;
  const char *advice;
  EvbusOutcome outcome = mqtt_errors_of_library (status, &advice);

  if (advice == NULL)
    return mqtt_link_set_lost (self->link, status, error);

  if (self->link->mid == last_mid)
    g_array_set_size (self->sent, self->sent->len - 1);
  else
    g_array_index (self->sent, guint, self->sent->len - 1) = SETTLED;
  self->n_open--;
  text = g_strdup_printf ("%s: topic '%s': %s", options->place, message->topic->str, advice);
  evbus_batch_fail (self->batch, index, outcome, text);
  return TRUE;
}

static gboolean
send_event (Run          *self,
            MqttMessage  *message,
            guint         index,
            GError      **error)
{
  const MqttOptions *options = self->link->options;
  g_autofree char *reason = NULL;
  int last_mid = self->link->mid;
  EvbusOutcome outcome;
  int status = MOSQ_ERR_PAYLOAD_SIZE;

  if (!mqtt_message_fill (message, options, evbus_batch_get_event (self->batch, index), &outcome, &reason))
    {
      evbus_batch_fail (self->batch, index, outcome, reason);
      return TRUE;
    }
  if (!make_room (self, error))
    return FALSE;

  /* What has no acknowledgement is settled while it is sent. */
  g_array_append_val (self->sent, index);
  self->n_open++;
  if (message->size <= G_MAXINT)
    status = mosquitto_publish_v5 (self->link->client, &self->link->mid, message->topic->str, message->size,
                                   message->body, options->qos, options->retain, message->properties);
  if (status != MOSQ_ERR_SUCCESS)
    return take_back (self, message, index, last_mid, status, error);

  self->largest = MAX (self->largest, message->size);
  self->n_bytes += message->topic->len + message->size + OVERHEAD;
  if (self->n_bytes >= CHUNK)
    flush (self);
  return TRUE;
}

/* @largest: of the bodies, if all are settled. */
gboolean
mqtt_publish (MqttLink      *link,
              MqttMessage   *message,
              EvbusBatch    *batch,
              gsize         *largest,
              GCancellable  *cancellable,
              GError       **error)
{
  Run run = { .link = link, .batch = batch, .wake.fd = -1, .base = link->mid };
  gboolean woken = g_cancellable_make_pollfd (cancellable, &run.wake);
  guint n_sent = 0;
  gboolean done = TRUE;

  run.sent = g_array_sized_new (FALSE, FALSE, sizeof (guint), MIN (evbus_batch_get_n_events (batch), N_MIDS));
  link->settled = settle;
  link->settled_data = &run;
  mqtt_link_cork (link, TRUE);
  do
    {
      for (; done && n_sent < evbus_batch_get_n_events (batch); n_sent++)
        done = send_event (&run, message, n_sent, error);
      while (done && evbus_batch_extend (batch) == 0 && run.n_open > 0)
        done = wait_until (&run, run.n_open / 2, error);
    }
  while (done && n_sent < evbus_batch_get_n_events (batch));
  if (done)
    mqtt_link_cork (link, FALSE);
  link->settled = NULL;
  *largest = run.largest;
  if (woken)
    g_cancellable_release_fd (cancellable);
  g_array_unref (run.sent);
  return done;
}
