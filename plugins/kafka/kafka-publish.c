/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The publish of one batch, which may be extended meanwhile: a message for each event and
 * topic. An event is settled when all its messages are. */

#include "kafka-publish.h"

#include <string.h>

#include "kafka-errors.h"

typedef struct {
  guint         n_open;     /* messages that nothing is known of yet */
  gboolean      failed;
  gboolean      refused;    /* it, or another one that was sent together with it */
  EvbusOutcome  outcome;
  char         *reason;
} State;

typedef struct {
  KafkaClient  *client;
  KafkaFormat  *format;
  EvbusBatch   *batch;
  GCancellable *cancellable;
  guint         n_events;
  guint         n_topics;
  State        *states;     /* one an event */
  guint         n_open;     /* messages that were sent, and not reported */
  char         *refused;    /* why: the reason of the first one */
  gboolean      keep;       /* the client is of further use */
} Run;

/* ---- what became of the messages ---- */

/* Of several topics, one that may still take it counts more than one that never will. */
static void
fail (State        *state,
      EvbusOutcome  outcome,
      char         *reason)
{
  static const guint weights[] = {
    [EVBUS_OUTCOME_POISON] = 0,
    [EVBUS_OUTCOME_TRANSIENT] = 1,
    [EVBUS_OUTCOME_BROKEN] = 2,
  };

  if (state->failed && weights[outcome] <= weights[state->outcome])
    {
      g_free (reason);
      return;
    }
  g_free (state->reason);
  state->failed = TRUE;
  state->outcome = outcome;
  state->reason = reason;
}

/* One message less to wait for. */
static void
settle (Run   *run,
        guint  index)
{
  State *state = &run->states[index];

  if (--state->n_open > 0)
    return;

  if (state->failed)
    {
      evbus_batch_fail (run->batch, index, state->outcome, state->reason);
      run->keep = run->keep && state->outcome == EVBUS_OUTCOME_POISON;
    }
  else if (!state->refused)
    evbus_batch_confirm (run->batch, index);
}

static char *
describe (Run                 *run,
          const char          *topic,
          rd_kafka_resp_err_t  code,
          const char          *way_out)
{
  const char *last = kafka_client_get_last (run->client);

  if (code == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT && last != NULL)
    return g_strdup_printf ("%s/%s: %s: %s", kafka_client_get_where (run->client), topic, rd_kafka_err2str (code), last);
  return g_strdup_printf ("%s/%s: %s%s%s", kafka_client_get_where (run->client), topic, rd_kafka_err2str (code),
                          way_out != NULL ? ": " : "", way_out != NULL ? way_out : "");
}

static void
take_failure (Run                 *run,
              guint                index,
              guint                topic,
              const char          *name,
              rd_kafka_resp_err_t  code)
{
  const char *way_out;
  EvbusOutcome outcome = kafka_errors_get_outcome (code, kafka_format_is_fixed_topic (run->format, topic), &way_out);

  fail (&run->states[index], outcome, describe (run, name, code, way_out));
}

/* The brokers refuse what was sent together as a whole. Which of them it is for is
 * found by the route, which halves a batch. */
static void
take_report (const rd_kafka_message_t *message,
             gpointer                  user_data)
{
  Run *run = user_data;
  guint number = GPOINTER_TO_UINT (message->_private);
  guint index = number / run->n_topics;
  const char *way_out;

  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
    {
      if (kafka_errors_get_kind (message->err, &way_out) == KAFKA_POISON)
        {
          run->states[index].refused = TRUE;
          if (run->refused == NULL)
            run->refused = describe (run, rd_kafka_topic_name (message->rkt), message->err, way_out);
        }
      else
        take_failure (run, index, number % run->n_topics, rd_kafka_topic_name (message->rkt), message->err);
    }
  run->n_open--;
  settle (run, index);
}

/* ---- sending ---- */

static rd_kafka_resp_err_t
produce (Run                *run,
         rd_kafka_topic_t   *topic,
         EvbusEvent         *event,
         const KafkaMessage *message,
         rd_kafka_headers_t *headers,
         guint               number)
{
  return rd_kafka_producev (kafka_client_get (run->client),
                            RD_KAFKA_V_RKT (topic),
                            RD_KAFKA_V_PARTITION (message->partition),
                            RD_KAFKA_V_MSGFLAGS (RD_KAFKA_MSG_F_COPY),
                            RD_KAFKA_V_KEY (message->key, message->key_size),
                            RD_KAFKA_V_VALUE ((void *) message->body, message->body_size),
                            RD_KAFKA_V_TIMESTAMP (evbus_event_get_time (event) / 1000),
                            RD_KAFKA_V_HEADERS (headers),
                            RD_KAFKA_V_OPAQUE (GUINT_TO_POINTER (number)),
                            RD_KAFKA_V_END);
}

static gboolean
send_message (Run                 *run,
              guint                index,
              guint                topic,
              KafkaMessage        *message,
              GError             **error)
{
  EvbusEvent *event = evbus_batch_get_event (run->batch, index);
  const char *name = kafka_format_get_topic (run->format, topic, event);
  rd_kafka_topic_t *handle = name != NULL ? kafka_client_get_topic (run->client, name) : NULL;
  rd_kafka_headers_t *headers = topic + 1 < run->n_topics ? rd_kafka_headers_copy (message->headers)
                                                          : g_steal_pointer (&message->headers);
  rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;

  if (name != NULL)
    code = handle != NULL ? produce (run, handle, event, message, headers, index * run->n_topics + topic)
                          : rd_kafka_last_error ();
  while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
    {
      /* There is room for nothing larger. */
      if (run->n_open == 0 && rd_kafka_outq_len (kafka_client_get (run->client)) == 0)
        {
          code = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
          break;
        }
      if (!kafka_client_wait (run->client, take_report, run, run->cancellable, error))
        break;
      code = produce (run, handle, event, message, headers, index * run->n_topics + topic);
    }
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
    {
      run->n_open++;
      return TRUE;
    }

  rd_kafka_headers_destroy (headers);
  if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
    return FALSE;
  take_failure (run, index, topic, name != NULL ? name : "", code);
  settle (run, index);
  return TRUE;
}

static void
make_message (Run          *run,
              guint         index,
              KafkaMessage *message)
{
  g_autoptr(GError) mistake = NULL;

  if (!kafka_format_make (run->format, evbus_batch_get_event (run->batch, index), message, &mistake))
    evbus_batch_fail (run->batch, index, EVBUS_OUTCOME_POISON, mistake->message);
}

static gboolean
send_event (Run           *run,
            guint          index,
            KafkaMessage  *message,
            GError       **error)
{
  gboolean sent = TRUE;

  if (message->headers == NULL)
    return TRUE;
  run->states[index].n_open = run->n_topics;
  for (guint topic = 0; sent && topic < run->n_topics; topic++)
    sent = send_message (run, index, topic, message, error);
  return sent;
}

/* What has come since: at first all of the batch. The library's thread begins to send while it is
 * handed over. So all of it is made before, lest it leave in many small requests, of
 * which no more than five are under way. */
static gboolean
send_more (Run     *run,
           GError **error)
{
  g_autoptr(GArray) messages = g_array_new (FALSE, TRUE, sizeof (KafkaMessage));
  guint first = run->n_events;
  gint64 began;

  g_array_set_clear_func (messages, kafka_message_clear);
  run->n_events = evbus_batch_get_n_events (run->batch);
  run->states = g_renew (State, run->states, run->n_events);
  memset (run->states + first, 0, (run->n_events - first) * sizeof (State));
  g_array_set_size (messages, run->n_events - first);
  for (guint i = first; i < run->n_events; i++)
    make_message (run, i, &g_array_index (messages, KafkaMessage, i - first));
  began = g_get_monotonic_time ();
  for (guint i = first; i < run->n_events; i++)
    if (!send_event (run, i, &g_array_index (messages, KafkaMessage, i - first), error))
      return FALSE;
  kafka_client_push (run->client, began);
  return TRUE;
}

/* What was refused is to be halved, not to be added to. */
static gboolean
is_extended (Run *run)
{
  return run->refused == NULL && evbus_batch_extend (run->batch) > 0;
}

static gboolean
send_all (Run     *run,
          GError **error)
{
  do
    {
      if (!send_more (run, error))
        return FALSE;
      while (!is_extended (run) && run->n_open > 0)
        if (!kafka_client_wait (run->client, take_report, run, run->cancellable, error))
          return FALSE;
    }
  while (run->n_events < evbus_batch_get_n_events (run->batch));

  if (run->refused == NULL)
    return TRUE;
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_POISON, run->refused);
  return FALSE;
}

/* @keep: whether the client is of further use. */
gboolean
kafka_publish (KafkaClient   *client,
               KafkaFormat   *format,
               EvbusBatch    *batch,
               gboolean      *keep,
               GCancellable  *cancellable,
               GError       **error)
{
  Run run = {
    .client = client,
    .format = format,
    .batch = batch,
    .cancellable = cancellable,
    .n_topics = kafka_format_get_n_topics (format),
    .keep = TRUE,
  };
  gboolean done;

  done = send_all (&run, error);
  if (run.n_open > 0)
    kafka_client_look (client, take_report, &run);
  *keep = run.keep && run.n_open == 0;

  for (guint i = 0; i < run.n_events; i++)
    g_free (run.states[i].reason);
  g_free (run.states);
  g_free (run.refused);
  return done;
}
