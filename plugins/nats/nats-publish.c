/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* With JetStream. All messages of a batch are sent, and more as they are acknowledged. What comes
 * back is sorted by its number:
 * each asks for an answer to a subject of its own in the connection's inbox,
 * INBOX.aN for the acknowledgement of message N, INBOX.sN for the streams that have its
 * subject, INBOX.iN for the stream it should go to, INBOX.mN for the message that its
 * stream has taken it for. */

#include "nats-publish.h"

#include <string.h>

#include "nats-answer.h"
#include "nats-errors.h"
#include "nats-run.h"

#define STREAMS_SUBJECT "$JS.API.STREAM.NAMES"
#define STREAM_PREFIX "$JS.API.STREAM.INFO."
#define MESSAGE_PREFIX "$JS.API.STREAM.MSG.GET."

/* Of an answer that settles the event by itself. */
static void
fail_by (NatsRun          *run,
         guint             index,
         const NatsAnswer *answer)
{
  static const EvbusOutcome outcomes[] = {
    [NATS_ANSWER_PASSES] = EVBUS_OUTCOME_TRANSIENT,
    [NATS_ANSWER_BROKEN] = EVBUS_OUTCOME_BROKEN,
    [NATS_ANSWER_POISON] = EVBUS_OUTCOME_POISON,
    [NATS_ANSWER_ADDRESS] = EVBUS_OUTCOME_BROKEN,
    [NATS_ANSWER_STRANGE] = EVBUS_OUTCOME_TRANSIENT,
  };

  nats_run_fail (run, index, outcomes[answer->verdict], answer->text);
}

/* The event goes out again, under an id of its own. */
static void
share_stream (NatsRun *run,
              guint    index)
{
  nats_format_share_stream (run->publish->format);
  nats_run_fail (run, index, EVBUS_OUTCOME_TRANSIENT,
                 "its stream has the event's id under another subject; it is sent again, with that in Nats-Msg-Id");
}

/* Of what an event asked. */
static void
refuse_lookup (NatsRun    *run,
               guint       index,
               const char *text)
{
  switch (run->open[index])
    {
    case NATS_RUN_STREAMS:
      if (nats_run_names_subject (text, STREAMS_SUBJECT))
        nats_run_fail (run, index, EVBUS_OUTCOME_TRANSIENT, "nobody listens there now; allow the user to publish to "
                       STREAMS_SUBJECT ", to know whether a stream has it, or add it to one");
      break;
    case NATS_RUN_STREAM:
      if (strstr (text, NATS_RUN_PUBLISH_TO STREAM_PREFIX) != NULL)
        nats_run_fail (run, index, EVBUS_OUTCOME_BROKEN, "'stream' does not have it, if there is such a stream; "
                       "correct 'stream', or allow the user to publish to " STREAM_PREFIX "*, to know");
      break;
    case NATS_RUN_MESSAGE:
      if (strstr (text, NATS_RUN_PUBLISH_TO MESSAGE_PREFIX) != NULL)
        share_stream (run, index);
      break;
    default:
      break;
    }
}

static gboolean
take_refusals (NatsRun  *run,
               GError  **error)
{
  for (;;)
    {
      g_autofree char *text = nats_link_next_refusal (run->publish->link);

      if (text == NULL)
        return TRUE;
      if (!nats_run_refuse (run, text, error))
        return FALSE;
      for (guint i = 0; i < run->n; i++)
        refuse_lookup (run, i, text);
    }
}

/* Asks it something about an event. */
static gboolean
ask (NatsRun     *run,
     guint        index,
     char         kind,
     const char  *subject,
     const char  *body,
     GError     **error)
{
  natsMsg *msg = NULL;
  gboolean sent;

  natsMsg_Create (&msg, subject, nats_run_make_reply (run, kind, index), body, strlen (body));
  sent = nats_link_send (run->publish->link, msg, run->publish->cancellable, error);
  natsMsg_Destroy (msg);
  nats_run_set_open (run, index, kind);
  return sent;
}

/* Whether its subject has no stream, or JetStream is not there now. */
static gboolean
ask_for_streams (NatsRun  *run,
                 guint     index,
                 GError  **error)
{
  EvbusEvent *event = evbus_batch_get_event (run->publish->batch, index);
  g_autoptr(GString) request = g_string_new ("{\"subject\":");

  evbus_json_append_string (request, nats_format_get_subject (run->publish->format, event), -1);
  g_string_append_c (request, '}');
  return ask (run, index, NATS_RUN_STREAMS, STREAMS_SUBJECT, request->str, error);
}

/* @fixed: what is to blame is the profile's. A subject of the event is it only where the
 * profile's stream is there. */
static gboolean
judge_address (NatsRun     *run,
               guint        index,
               gboolean     fixed,
               const char  *reason,
               GError     **error)
{
  const char *stream = nats_format_get_stream (run->publish->format);

  if (fixed || stream == NULL)
    nats_run_fail (run, index, nats_errors_of_address (fixed), reason);
  else
    {
      g_autofree char *subject = g_strconcat (STREAM_PREFIX, stream, NULL);

      return ask (run, index, NATS_RUN_STREAM, subject, "", error);
    }
  return TRUE;
}

/* A stream knows an id whatever the subject: that message may be another route's. */
static gboolean
judge_duplicate (NatsRun           *run,
                 guint              index,
                 const NatsAnswer  *answer,
                 GError           **error)
{
  g_autofree char *subject = g_strconcat (MESSAGE_PREFIX, answer->text, NULL);
  g_autofree char *body = g_strdup_printf ("{\"seq\":%" G_GINT64_FORMAT "}", answer->sequence);

  if (!run->shared)
    return ask (run, index, NATS_RUN_MESSAGE, subject, body, error);
  nats_run_confirm (run, index);
  return TRUE;
}

static gboolean
take_ack (NatsRun     *run,
          guint        index,
          NatsAnswer  *answer,
          GError     **error)
{
  switch (answer->verdict)
    {
    case NATS_ANSWER_YES:
      nats_run_confirm (run, index);
      return TRUE;
    case NATS_ANSWER_DUPLICATE:
      return judge_duplicate (run, index, answer, error);
    case NATS_ANSWER_ADDRESS:
      return judge_address (run, index, nats_format_is_fixed (run->publish->format), answer->text, error);
    case NATS_ANSWER_STRANGE:
      /* Somebody else who listens there; the stream's may come yet, if there is one. */
      return run->open[index] != NATS_RUN_ACK || ask_for_streams (run, index, error);
    default:
      fail_by (run, index, answer);
      return TRUE;
    }
}

static gboolean
take_streams (NatsRun     *run,
              guint        index,
              NatsAnswer  *answer,
              GError     **error)
{
  if (answer->verdict == NATS_ANSWER_ADDRESS)
    return judge_address (run, index, nats_format_fixes_subject (run->publish->format), answer->text, error);
  fail_by (run, index, answer);
  return TRUE;
}

static gboolean
take_stream (NatsRun     *run,
             guint        index,
             NatsAnswer  *answer,
             GError     **error)
{
  const char *stream = nats_format_get_stream (run->publish->format);
  g_autofree char *reason = NULL;

  if (answer->verdict == NATS_ANSWER_YES)
    {
      reason = g_strdup_printf ("stream '%s' does not have it; add it there", stream);
      nats_run_fail (run, index, EVBUS_OUTCOME_POISON, reason);
    }
  else if (answer->verdict == NATS_ANSWER_ADDRESS)
    {
      reason = g_strdup_printf ("there is no stream '%s'; make it, or correct 'stream'", stream);
      nats_run_fail (run, index, EVBUS_OUTCOME_BROKEN, reason);
    }
  else
    fail_by (run, index, answer);
  return TRUE;
}

static gboolean
take_message (NatsRun     *run,
              guint        index,
              NatsAnswer  *answer,
              GError     **error)
{
  EvbusEvent *event = evbus_batch_get_event (run->publish->batch, index);

  if (answer->verdict == NATS_ANSWER_PASSES)
    fail_by (run, index, answer);
  else if (g_strcmp0 (answer->text, nats_format_get_subject (run->publish->format, event)) == 0)
    nats_run_confirm (run, index);
  else
    share_stream (run, index);
  return TRUE;
}

static gboolean
take_answer (NatsRun  *run,
             natsMsg  *reply,
             GError  **error)
{
  static const struct {
    void     (* read) (NatsAnswer *, natsMsg *);
    gboolean (* take) (NatsRun *, guint, NatsAnswer *, GError **);
  } kinds[] = {
    [NATS_RUN_ACK] = { nats_answer_read_ack, take_ack },
    [NATS_RUN_STREAMS] = { nats_answer_read_streams, take_streams },
    [NATS_RUN_STREAM] = { nats_answer_read_stream, take_stream },
    [NATS_RUN_MESSAGE] = { nats_answer_read_message, take_message },
  };
  g_auto(NatsAnswer) answer = { 0 };
  guint index;
  char kind;

  /* An acknowledgement may come after another answer, which was asked about. */
  if (!nats_run_find_event (run, reply, &kind, &index) || kind == 0 ||
      (run->open[index] != kind && !(kind == NATS_RUN_ACK && run->open[index] == NATS_RUN_STREAMS)))
    return TRUE;

  kinds[(guint) kind].read (&answer, reply);
  return kinds[(guint) kind].take (run, index, &answer, error);
}

/* All that are still open reached nobody. */
static gboolean
look_for_somebody (NatsRun  *run,
                   GError  **error)
{
  run->n_nobody = 0;
  for (guint i = 0; i < run->n; i++)
    {
      if (run->open[i] == NATS_RUN_MESSAGE)
        share_stream (run, i);
      else if (run->open[i] != 0 && run->open[i] != NATS_RUN_ACK)
        nats_run_fail (run, i, EVBUS_OUTCOME_BROKEN,
              "JetStream is not turned on at the server; turn it on, or set 'jetstream: false'");
      else if (run->open[i] == NATS_RUN_ACK && !ask_for_streams (run, i, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
take_answers (NatsRun  *run,
              GError  **error)
{
  natsMsg *reply;

  while ((reply = nats_link_next_reply (run->publish->link, &run->n_nobody)) != NULL)
    {
      gboolean taken = take_answer (run, reply, error);

      natsMsg_Destroy (reply);
      if (!taken)
        return FALSE;
    }
  if (!take_refusals (run, error))
    return FALSE;
  return run->n_open == 0 || run->n_open > run->n_nobody || look_for_somebody (run, error);
}

static gboolean
wait_for_answers (NatsRun  *run,
                  GError  **error)
{
  gboolean done = nats_link_pump (run->publish->link, TRUE, run->publish->cancellable, error);

  /* What has come with the end of the connection counts. */
  return take_answers (run, done ? error : NULL) && done;
}

gboolean
nats_publish_stored (NatsPublish  *self,
                     GError      **error)
{
  NatsRun run;
  gboolean done;

  nats_run_init (&run, self);
  do
    {
      done = nats_run_send (&run, NATS_RUN_ACK, error) && take_answers (&run, error);
      while (done && evbus_batch_extend (self->batch) == 0 && run.n_open > 0)
        done = wait_for_answers (&run, error);
    }
  while (done && run.n < evbus_batch_get_n_events (self->batch));
  nats_run_clear (&run);
  return done;
}
