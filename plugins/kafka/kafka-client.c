/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "kafka-client.h"

#include <glib-unix.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "kafka-errors.h"
#include "kafka-properties.h"

/* A name may have several addresses, of which the library tries one after the other;
 * a broker that restarts is back. Past that, waiting is the route's. */
#define DOWN_US (G_USEC_PER_SEC)

/* Where one name is given, and it refuses: its next address is tried after some 100 ms. */
#define REFUSED_US (G_USEC_PER_SEC / 4)

/* How often it is looked whether a broker has told of its cluster: nothing says so. */
#define LOOK_MS 10

/* A broker that has just answered may take so long to name the others. */
#define METADATA_MS 500

/* A broker that lets nobody in is said to do so every 30 s, as long as it does. */
#define REFUSAL_US (60 * G_USEC_PER_SEC)

/* So long it is waited for librdkafka's threads. One of them may be in the resolver, which
 * cannot be told to stop. */
#define CLOSE_US (G_USEC_PER_SEC)

/* A topic that a client has met stays in its memory. */
#define MAX_TOPICS 1024

struct _KafkaClient
{
  rd_kafka_t          *rk;
  rd_kafka_queue_t    *queue;
  int                  fd;        /* an eventfd: librdkafka's threads write, the route's reads */
  GSource             *source;
  GHashTable          *topics;    /* name → rd_kafka_topic_t */
  char                *where;     /* kafka://HOST:PORT,… */
  gboolean             several;   /* of these */
  gboolean             answered;  /* one has, since this was made */
  char                *last;      /* what the library said last of a broker, or NULL */
  rd_kafka_resp_err_t  refused;   /* why a broker did not let us in, in a code … */
  char                *refusal;   /* … and a text, or NULL */
  gint64               refused_at;
  gint64               linger;    /* microseconds */
  gint64               down;      /* since when no broker can be reached, or 0 */
  GError              *failure;   /* what is not mended by waiting, or NULL */
};

/* ---- what the library has to say ---- */

static void
log_event (rd_kafka_event_t *event)
{
  const char *facility;
  const char *text;
  int level;

  if (rd_kafka_event_log (event, &facility, &text, &level) != 0)
    return;
  /* Whatever ends a publish is its error. */
  g_log (G_LOG_DOMAIN, level <= 4 ? G_LOG_LEVEL_INFO : G_LOG_LEVEL_DEBUG, "librdkafka: %s: %s", facility, text);
}

static void
take_error (KafkaClient      *self,
            rd_kafka_event_t *event)
{
  rd_kafka_resp_err_t code = rd_kafka_event_error (event);
  const char *text = rd_kafka_event_error_string (event);
  const char *way_out;
  char fatal[512];

  if (rd_kafka_event_error_is_fatal (event))
    {
      code = rd_kafka_fatal_error (self->rk, fatal, sizeof fatal);
      text = fatal;
    }

  code = kafka_errors_correct (code, text);
  switch (kafka_errors_get_kind (code, &way_out))
    {
    case KAFKA_DOWN:
      if (self->down == 0)
        self->down = g_get_monotonic_time ();
      return;
    case KAFKA_REFUSED:
      self->refused = code;
      g_free (self->refusal);
      self->refusal = g_strdup (text);
      self->refused_at = g_get_monotonic_time ();
      return;
    case KAFKA_BROKEN:
      break;
    default:
      if (rd_kafka_event_error_is_fatal (event))
        break;
      g_free (self->last);
      self->last = g_strdup (text);
      return;
    }

  if (self->failure == NULL)
    self->failure = kafka_errors_new (self->where, code, text);
}

static void
take_reports (KafkaClient      *self,
              rd_kafka_event_t *event,
              KafkaReportFunc   func,
              gpointer          user_data)
{
  const rd_kafka_message_t *message;

  while ((message = rd_kafka_event_message_next (event)) != NULL)
    {
      if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        self->down = 0;
      if (func != NULL)
        func (message, user_data);
    }
}

static void
serve (KafkaClient     *self,
       KafkaReportFunc  func,
       gpointer         user_data)
{
  rd_kafka_event_t *event;
  eventfd_t value;

  eventfd_read (self->fd, &value);
  while ((event = rd_kafka_queue_poll (self->queue, 0)) != NULL)
    {
      switch (rd_kafka_event_type (event))
        {
        case RD_KAFKA_EVENT_DR:
          take_reports (self, event, func, user_data);
          break;
        case RD_KAFKA_EVENT_ERROR:
          take_error (self, event);
          break;
        case RD_KAFKA_EVENT_LOG:
          log_event (event);
          break;
        default:
          break;
        }
      rd_kafka_event_destroy (event);
    }
}

static gboolean
serve_idle (int          fd,
            GIOCondition condition,
            gpointer     user_data)
{
  serve (user_data, NULL, NULL);
  return G_SOURCE_CONTINUE;
}

/* ---- waiting ---- */

static gboolean
is_down (KafkaClient *self,
         gint64       patience)
{
  return self->down != 0 && g_get_monotonic_time () - self->down > patience;
}

static gboolean
is_refused (KafkaClient *self)
{
  return self->refusal != NULL && g_get_monotonic_time () - self->refused_at < REFUSAL_US;
}

static gboolean
check (KafkaClient   *self,
       GCancellable  *cancellable,
       GError       **error)
{
  const char *last = kafka_client_get_last (self);
  gint64 patience = is_refused (self) && !self->several ? REFUSED_US : DOWN_US;

  if (self->failure == NULL && !is_down (self, patience) && !g_cancellable_is_cancelled (cancellable))
    return TRUE;

  if (self->failure != NULL)
    g_propagate_error (error, g_error_copy (self->failure));
  /* A broker that lets nobody in is the route's failure where there is no other. */
  else if (is_refused (self) && (self->down != 0 || !self->answered))
    g_propagate_error (error, kafka_errors_new (self->where, self->refused, self->refusal));
  else
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: %s", self->where,
                 last != NULL ? last : "the brokers have not answered yet");
  return FALSE;
}

/* Until something comes, or for @timeout_ms. */
static gboolean
wait_for_event (KafkaClient      *self,
                int               timeout_ms,
                KafkaReportFunc   func,
                gpointer          user_data,
                GCancellable     *cancellable,
                GError          **error)
{
  GPollFD fds[2] = { { self->fd, G_IO_IN, 0 } };
  gboolean has_cancel = g_cancellable_make_pollfd (cancellable, &fds[1]);

  g_poll (fds, has_cancel ? 2 : 1, timeout_ms);
  if (has_cancel)
    g_cancellable_release_fd (cancellable);
  serve (self, func, user_data);
  return check (self, cancellable, error);
}

/* Until something comes: reports, or what makes further waiting vain. */
gboolean
kafka_client_wait (KafkaClient      *self,
                   KafkaReportFunc   func,
                   gpointer          user_data,
                   GCancellable     *cancellable,
                   GError          **error)
{
  return wait_for_event (self, self->down != 0 ? DOWN_US / 4000 : -1, func, user_data, cancellable, error);
}

/* Has the library send what it was handed over since @began. Its threads, which would sleep for whole
 * milliseconds, are woken; but they let alone what has not waited for the linger. */
void
kafka_client_push (KafkaClient *self,
                   gint64       began)
{
  gint64 left = began + self->linger - g_get_monotonic_time ();

  if (left > 0 && self->linger < G_USEC_PER_SEC / 1000)
    g_usleep (left);
  rd_kafka_flush (self->rk, 0);
}

/* Reads what was reported up to now. */
void
kafka_client_look (KafkaClient      *self,
                   KafkaReportFunc   func,
                   gpointer          user_data)
{
  serve (self, func, user_data);
}

/* ---- warnings ---- */

static void
warn_of (EvbusContext *ctx,
         KafkaRisks    risks,
         const char   *host)
{
  if ((risks & KAFKA_RISK_UNENCRYPTED) != 0)
    evbus_context_warn_unencrypted (ctx, host);
  if ((risks & KAFKA_RISK_UNVERIFIED) != 0)
    evbus_context_warn_unverified (ctx, host);
}

static void
warn_of_servers (EvbusContext *ctx,
                 KafkaRisks    risks,
                 const char   *servers)
{
  g_auto(GStrv) hosts = g_strsplit (servers, ",", -1);

  for (guint i = 0; hosts[i] != NULL; i++)
    {
      char *host = g_strstrip (hosts[i]);
      char *colon = strrchr (host, ':');

      if (colon != NULL)
        *colon = '\0';
      warn_of (ctx, risks, host);
    }
}

/* Where the first one is on this machine, the brokers that it names need not be. */
static void
warn_of_cluster (KafkaClient  *self,
                 EvbusContext *ctx)
{
  KafkaRisks risks = kafka_properties_get_risks (rd_kafka_conf (self->rk));
  const struct rd_kafka_metadata *metadata;

  if (risks == 0 || rd_kafka_metadata (self->rk, FALSE, NULL, &metadata, METADATA_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
    return;
  for (int i = 0; i < metadata->broker_cnt; i++)
    warn_of (ctx, risks, metadata->brokers[i].host);
  rd_kafka_metadata_destroy (metadata);
}

/* ---- open and close ---- */

static gboolean
is_connected (KafkaClient *self)
{
  char *cluster = rd_kafka_clusterid (self->rk, 0);

  if (cluster == NULL)
    return FALSE;
  rd_kafka_mem_free (self->rk, cluster);
  return TRUE;
}

static gboolean
wait_connected (KafkaClient   *self,
                GCancellable  *cancellable,
                GError       **error)
{
  while (!is_connected (self))
    if (!wait_for_event (self, LOOK_MS, NULL, NULL, cancellable, error))
      return FALSE;
  self->answered = TRUE;
  self->down = 0;
  return TRUE;
}

static gboolean
make (KafkaClient   *self,
      EvbusContext  *ctx,
      GError       **error)
{
  static const guint64 one = 1;
  rd_kafka_conf_t *conf = kafka_properties_new (ctx, error);
  g_autofree char *servers = NULL;
  g_autofree char *linger = NULL;
  char text[512] = "";

  if (conf == NULL)
    return FALSE;
  servers = kafka_properties_get (conf, "bootstrap.servers");
  linger = kafka_properties_get (conf, "linger.ms");
  self->linger = g_ascii_strtod (linger, NULL) * 1000;
  self->where = g_strconcat ("kafka://", servers, NULL);
  self->several = strchr (servers, ',') != NULL;
  warn_of_servers (ctx, kafka_properties_get_risks (conf), servers);

  self->rk = rd_kafka_new (RD_KAFKA_PRODUCER, conf, text, sizeof text);
  if (self->rk == NULL)
    {
      rd_kafka_conf_destroy (conf);
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: %s", self->where, text);
      return FALSE;
    }

  rd_kafka_set_log_queue (self->rk, NULL);
  self->queue = rd_kafka_queue_get_main (self->rk);
  rd_kafka_queue_io_event_enable (self->queue, self->fd, &one, sizeof one);
  return TRUE;
}

/* Comes back when a broker has answered. */
KafkaClient *
kafka_client_open (EvbusContext  *ctx,
                   GCancellable  *cancellable,
                   GError       **error)
{
  g_autoptr(KafkaClient) self = g_new0 (KafkaClient, 1);

  self->topics = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) rd_kafka_topic_destroy);
  self->fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (self->fd < 0)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "kafka: too many files are open");
      return NULL;
    }
  if (!make (self, ctx, error) || !wait_connected (self, cancellable, error))
    return NULL;
  warn_of_cluster (self, ctx);

  self->source = g_unix_fd_source_new (self->fd, G_IO_IN);
  g_source_set_callback (self->source, G_SOURCE_FUNC (serve_idle), self, NULL);
  g_source_attach (self->source, g_main_context_get_thread_default ());
  return g_steal_pointer (&self);
}

typedef struct {
  rd_kafka_t  *rk;
  GAsyncQueue *done;
} Ending;

static gpointer
end (gpointer data)
{
  Ending *ending = data;

  rd_kafka_destroy (ending->rk);
  g_async_queue_push (ending->done, ending);
  g_async_queue_unref (ending->done);
  g_free (ending);
  return NULL;
}

/* Its messages are not sent any more, whether it is waited for or not. Where the system has no thread left
 * this one, the route's own, waits for as long as it takes: a resolver's patience at most. To leak it instead
 * would keep its threads too, of which there are none. */
static void
let_go (rd_kafka_t *rk)
{
  g_autoptr(GAsyncQueue) done = g_async_queue_new ();
  Ending *ending = g_new (Ending, 1);
  GThread *thread;

  ending->rk = rk;
  ending->done = g_async_queue_ref (done);
  thread = g_thread_try_new ("kafka-close", end, ending, NULL);
  if (thread == NULL)
    {
      end (ending);
      return;
    }
  g_thread_unref (thread);
  g_async_queue_timeout_pop (done, CLOSE_US);
}

void
kafka_client_close (KafkaClient *self)
{
  if (self->source != NULL)
    g_source_destroy (self->source);
  g_clear_pointer (&self->source, g_source_unref);
  g_hash_table_unref (self->topics);
  if (self->rk != NULL)
    {
      rd_kafka_queue_io_event_enable (self->queue, -1, NULL, 0);
      rd_kafka_queue_destroy (self->queue);
      rd_kafka_purge (self->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
      let_go (self->rk);
    }
  if (self->fd >= 0)
    close (self->fd);
  g_free (self->where);
  g_free (self->last);
  g_free (self->refusal);
  g_clear_error (&self->failure);
  g_free (self);
}

/* Whether it can be used further, rather than a new one. One that has lost all brokers
 * would first have to find that out again. */
gboolean
kafka_client_is_good (KafkaClient *self)
{
  serve (self, NULL, NULL);
  return self->failure == NULL && self->down == 0 && g_hash_table_size (self->topics) <= MAX_TOPICS;
}

const char *
kafka_client_get_where (KafkaClient *self)
{
  return self->where;
}

/* What the library said last of a broker, or NULL: that one lets nobody in tells more than all else. */
const char *
kafka_client_get_last (KafkaClient *self)
{
  return is_refused (self) ? self->refusal : self->last;
}

rd_kafka_t *
kafka_client_get (KafkaClient *self)
{
  return self->rk;
}

rd_kafka_topic_t *
kafka_client_get_topic (KafkaClient *self,
                        const char  *name)
{
  rd_kafka_topic_t *topic = g_hash_table_lookup (self->topics, name);

  if (topic != NULL)
    return topic;
  topic = rd_kafka_topic_new (self->rk, name, NULL);
  if (topic != NULL)
    g_hash_table_insert (self->topics, g_strdup (name), topic);
  return topic;
}
