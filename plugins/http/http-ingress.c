/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <libpeas/peas.h>
#include <openssl/crypto.h>
#include <string.h>

#include "http-transfer.h"

/* Events as HTTP requests, by the multi interface of libcurl: it keeps the connections, and
 * several requests can be under way. */

/* Whatever has to be done earlier wakes the wait up. */
#define WAIT_MS 60000

/* The events of a request for many that is sent again as it was. */
typedef struct {
  char  *first;   /* the id of the first of them */
  guint  n;
} Group;

#define HTTP_TYPE_INGRESS (http_ingress_get_type ())

G_DECLARE_FINAL_TYPE (HttpIngress, http_ingress, HTTP, INGRESS, GObject)

struct _HttpIngress
{
  GObject       parent_instance;

  HttpOptions  *options;
  HttpWriter    writer;
  CURLM        *multi;
  GPtrArray    *transfers;   /* as many as may be under way */
  guint         n_running;

  /* Of the publish that is going on. */
  EvbusContext *ctx;
  EvbusBatch   *batch;
  guint         next;        /* the first event that no request was made for */
  gboolean      stopped;     /* the destination takes nothing for now */
  gint64        until;       /* when no more requests are begun; monotonic */
  GError       *failure;     /* of what is left unmarked */
  char         *refusal;     /* of requests that were refused as poison; or NULL */

  GArray       *again;       /* Group: what the publish before has left, in order */
};

/* ---- open and close ---- */

static void
stop_transfer (HttpIngress  *self,
               HttpTransfer *transfer)
{
  if (!transfer->running)
    return;
  curl_multi_remove_handle (self->multi, transfer->easy);
  transfer->running = FALSE;
  self->n_running--;
}

static void
let_go (HttpIngress *self)
{
  for (guint i = 0; i < self->transfers->len; i++)
    stop_transfer (self, self->transfers->pdata[i]);
  g_ptr_array_set_size (self->transfers, 0);
  g_clear_pointer (&self->multi, curl_multi_cleanup);
  http_writer_clear (&self->writer);
  g_clear_pointer (&self->options, http_options_free);
}

static gboolean
start_library (GError **error)
{
  static gsize started;
  static CURLcode code;

  if (g_once_init_enter (&started))
    {
      code = curl_global_init (CURL_GLOBAL_DEFAULT);
      g_once_init_leave (&started, 1);
    }
  if (code == CURLE_OK)
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "libcurl cannot be started: %s", curl_easy_strerror (code));
  return FALSE;
}

/* The connections are made by the first requests: there is nothing that could be asked of
 * a server without one. */
static gboolean
http_ingress_open (EvbusIngress  *ingress,
                   EvbusContext  *ctx,
                   GCancellable  *cancellable,
                   GError       **error)
{
  HttpIngress *self = HTTP_INGRESS (ingress);

  let_go (self);
  if (!start_library (error))
    return FALSE;
  self->options = http_options_new (ctx, error);
  if (self->options == NULL)
    return FALSE;

  http_writer_init (&self->writer, self->options);
  self->multi = curl_multi_init ();
  curl_multi_setopt (self->multi, CURLMOPT_MAXCONNECTS, (glong) self->options->in_flight);
  for (guint i = 0; i < self->options->in_flight; i++)
    {
      HttpTransfer *transfer = http_transfer_new (self->options, ctx, error);

      if (transfer == NULL)
        return FALSE;
      g_ptr_array_add (self->transfers, transfer);
    }
  return TRUE;
}

static gboolean
http_ingress_close (EvbusIngress  *ingress,
                    EvbusContext  *ctx,
                    GError       **error)
{
  let_go (HTTP_INGRESS (ingress));
  return TRUE;
}

/* ---- what came of a request ---- */

static void
set_failure (HttpIngress  *self,
             EvbusOutcome  outcome,
             const char   *reason)
{
  if (self->failure == NULL)
    g_set_error_literal (&self->failure, EVBUS_ERROR,
                         outcome == EVBUS_OUTCOME_BROKEN ? EVBUS_ERROR_BROKEN : EVBUS_ERROR_TRANSIENT, reason);
}

static void
fail_events (HttpIngress  *self,
             HttpTransfer *transfer,
             EvbusOutcome  outcome,
             const char   *reason)
{
  for (guint i = 0; i < transfer->indexes->len; i++)
    evbus_batch_fail (self->batch, g_array_index (transfer->indexes, guint, i), outcome, reason);
}

static void
confirm_events (HttpIngress  *self,
                HttpTransfer *transfer)
{
  for (guint i = 0; i < transfer->indexes->len; i++)
    evbus_batch_confirm (self->batch, g_array_index (transfer->indexes, guint, i));
}

/* An answer tells of the events that they were not taken. Without one nobody knows, unless
 * nothing has gone out. What is refused as poison is left unmarked where one event of several is at
 * fault: the route halves that. A batch of one is as well: by that the route knows that its search
 * is over. */
static void
mark_events (HttpIngress       *self,
             HttpTransfer      *transfer,
             gboolean           known,
             const HttpVerdict *verdict)
{
  gboolean poison = !verdict->delivered && verdict->outcome == EVBUS_OUTCOME_POISON;
  gboolean several = transfer->indexes->len > 1;

  if (verdict->delivered || (poison && !several))
    transfer->fate = HTTP_FATE_SETTLED;

  if (verdict->delivered)
    {
      confirm_events (self, transfer);
    }
  else if (poison && (several || evbus_batch_get_n_events (self->batch) == 1))
    {
      transfer->fate = HTTP_FATE_REFUSED;
      if (self->refusal == NULL)
        self->refusal = g_strdup (verdict->reason);
    }
  else if (poison || known)
    {
      fail_events (self, transfer, verdict->outcome, verdict->reason);
    }
  else
    {
      set_failure (self, verdict->outcome, verdict->reason);
    }
}

static void
finish_transfer (HttpIngress  *self,
                 HttpTransfer *transfer,
                 CURLcode      code)
{
  HttpAnswer answer;
  HttpVerdict verdict;
  gboolean known;

  http_transfer_get_answer (transfer, code, &answer);
  http_outcomes_judge (self->options->outcomes, self->options->place, self->ctx, &answer, &verdict);
  known = answer.code == CURLE_OK || !transfer->sent;
  mark_events (self, transfer, known, &verdict);

  if (!verdict.delivered && verdict.outcome != EVBUS_OUTCOME_POISON)
    {
      self->stopped = TRUE;
      evbus_batch_retry_after (self->batch, http_transfer_get_delay (transfer));
    }
  g_free (verdict.reason);
  stop_transfer (self, transfer);
}

/* ---- requests ---- */

static void
start_transfer (HttpIngress  *self,
                HttpTransfer *transfer)
{
  curl_multi_add_handle (self->multi, transfer->easy);
  transfer->running = TRUE;
  transfer->fate = HTTP_FATE_OPEN;
  self->n_running++;
}

/* One event after another, a batch may take longer than a publish: what is begun too late
 * would be cut short. The first one always has its turn. */
static gboolean
is_late (HttpIngress *self)
{
  return self->next > 0 && g_get_monotonic_time () >= self->until;
}

/* Has a request made for the next event that one can be made of. */
static gboolean
start_event (HttpIngress  *self,
             HttpTransfer *transfer)
{
  guint n = evbus_batch_get_n_events (self->batch);

  while (!self->stopped && self->next < n && !is_late (self))
    {
      guint index = self->next++;
      g_autofree char *reason = NULL;

      if (http_transfer_set_event (transfer, self->options, &self->writer, self->batch, index, &reason))
        {
          start_transfer (self, transfer);
          return TRUE;
        }
      evbus_batch_fail (self->batch, index, EVBUS_OUTCOME_POISON, reason);
    }
  return FALSE;
}

static void
start_events (HttpIngress *self)
{
  for (guint i = 0; i < self->transfers->len; i++)
    {
      HttpTransfer *transfer = self->transfers->pdata[i];

      if (!transfer->running && !start_event (self, transfer))
        break;
    }
}

/* ---- requests for many events ---- */

static const char *
get_id (HttpIngress *self,
        guint        index)
{
  return evbus_event_get_id (evbus_batch_get_event (self->batch, index));
}

/* How many events the request at @i of @transfers has: as many as the others, unless it is one
 * that is sent again. */
static guint
get_share (HttpIngress *self,
           guint        i)
{
  guint n_events = evbus_batch_get_n_events (self->batch) - self->next;
  guint n_requests = self->transfers->len - i;

  if (i < self->again->len)
    {
      Group *group = &g_array_index (self->again, Group, i);

      if (g_str_equal (group->first, get_id (self, self->next)) &&
          (group->n == n_events || (group->n < n_events && n_requests > 1)))
        return group->n;
      /* The batch is another one: those after it are too. */
      g_array_set_size (self->again, 0);
    }
  return (n_events + n_requests - 1) / n_requests;
}

/* The events of the batch are divided among all the requests, which are under way at once. */
static void
start_batches (HttpIngress *self)
{
  guint n = evbus_batch_get_n_events (self->batch);

  for (guint i = 0; self->next < n; i++)
    {
      HttpTransfer *transfer = self->transfers->pdata[i];
      guint first = self->next;
      g_autoptr(GError) error = NULL;

      self->next += get_share (self, i);
      if (!http_transfer_set_batch (transfer, self->options, &self->writer, self->batch, first, self->next - first,
                                    &error))
        set_failure (self, EVBUS_OUTCOME_TRANSIENT, error->message);
      else if (transfer->indexes->len > 0)
        start_transfer (self, transfer);
    }
}

/* A request of which nobody knows whether it has arrived is to come again as it was: its key is made
 * of its events. If nothing but poison is looked for, the route halves what there is. */
static void
keep_groups (HttpIngress *self)
{
  g_array_set_size (self->again, 0);
  if (self->options->batch == HTTP_BATCH_EVENT || (self->refusal != NULL && self->failure == NULL))
    return;
  for (guint i = 0; i < self->transfers->len; i++)
    {
      HttpTransfer *transfer = self->transfers->pdata[i];
      Group group;

      if (transfer->fate == HTTP_FATE_SETTLED)
        continue;
      group.first = g_strdup (get_id (self, g_array_index (transfer->indexes, guint, 0)));
      group.n = transfer->indexes->len;
      g_array_append_val (self->again, group);
    }
}

static void
clear_group (gpointer data)
{
  g_free (((Group *) data)->first);
}

/* ---- publish ---- */

/* Returns whether a request has come to its end. */
static gboolean
take_answers (HttpIngress *self)
{
  gboolean any = FALSE;
  CURLMsg *message;
  int n_left;

  while ((message = curl_multi_info_read (self->multi, &n_left)) != NULL)
    {
      CURLcode code = message->data.result;
      char *transfer;

      if (message->msg != CURLMSG_DONE)
        continue;
      curl_easy_getinfo (message->easy_handle, CURLINFO_PRIVATE, &transfer);
      /* The message is gone by what follows. */
      finish_transfer (self, (HttpTransfer *) (gpointer) transfer, code);
      any = TRUE;
    }
  return any;
}

static void
run (HttpIngress  *self,
     GCancellable *cancellable)
{
  while (self->n_running > 0 && !g_cancellable_is_cancelled (cancellable))
    {
      CURLMcode code;
      int n;

      code = curl_multi_perform (self->multi, &n);
      if (code == CURLM_OK && take_answers (self))
        {
          start_events (self);
          continue;
        }
      if (code == CURLM_OK)
        code = curl_multi_poll (self->multi, NULL, 0, WAIT_MS, NULL);
      if (code != CURLM_OK)
        {
          set_failure (self, EVBUS_OUTCOME_TRANSIENT, curl_multi_strerror (code));
          break;
        }
    }
}

/* Called on the thread of whoever cancels. */
static void
on_cancelled (GCancellable *cancellable,
              gpointer      data)
{
  curl_multi_wakeup (data);
}

/* What no request was made for waits with the event that holds it up. */
static void
mark_rest (HttpIngress *self)
{
  for (guint n = evbus_batch_get_n_events (self->batch); self->next < n; self->next++)
    evbus_batch_fail (self->batch, self->next, EVBUS_OUTCOME_TRANSIENT, "an event before it is tried again first");
}

/* What is unmarked has one outcome: that of the requests of which nobody knows whether they have
 * arrived, if there are any. Who has refused a request has not taken it, and is asked again. */
static gboolean
conclude (HttpIngress  *self,
          GError      **error)
{
  if (self->failure == NULL && self->refusal != NULL)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_POISON, self->refusal);
      return FALSE;
    }
  if (self->failure == NULL)
    return TRUE;

  for (guint i = 0; i < self->transfers->len; i++)
    {
      HttpTransfer *transfer = self->transfers->pdata[i];

      if (transfer->fate == HTTP_FATE_REFUSED)
        fail_events (self, transfer, EVBUS_OUTCOME_TRANSIENT, self->refusal);
    }
  g_propagate_error (error, g_steal_pointer (&self->failure));
  return FALSE;
}

static gboolean
http_ingress_publish (EvbusIngress  *ingress,
                      EvbusContext  *ctx,
                      EvbusBatch    *batch,
                      GCancellable  *cancellable,
                      GError       **error)
{
  HttpIngress *self = HTTP_INGRESS (ingress);
  gboolean done;
  gulong handler;

  self->ctx = ctx;
  self->batch = batch;
  self->next = 0;
  self->stopped = FALSE;
  self->until = g_get_monotonic_time () + evbus_context_get_timeout (ctx) / 2;
  for (guint i = 0; i < self->transfers->len; i++)
    ((HttpTransfer *) self->transfers->pdata[i])->fate = HTTP_FATE_SETTLED;

  handler = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), self->multi, NULL);
  if (self->options->batch == HTTP_BATCH_EVENT)
    start_events (self);
  else
    start_batches (self);
  run (self, cancellable);
  g_cancellable_disconnect (cancellable, handler);

  if (self->n_running > 0 && self->failure == NULL)
    g_cancellable_set_error_if_cancelled (cancellable, &self->failure);
  for (guint i = 0; i < self->transfers->len; i++)
    stop_transfer (self, self->transfers->pdata[i]);
  if (self->stopped || self->failure != NULL)
    mark_rest (self);
  else
    evbus_batch_postpone (batch);
  keep_groups (self);
  done = conclude (self, error);
  g_clear_pointer (&self->refusal, g_free);
  return done;
}

/* ---- the object ---- */

static void
http_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = http_ingress_open;
  iface->publish = http_ingress_publish;
  iface->close = http_ingress_close;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (HttpIngress, http_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, http_ingress_iface_init))

static void
http_ingress_finalize (GObject *object)
{
  HttpIngress *self = HTTP_INGRESS (object);

  let_go (self);
  g_ptr_array_unref (self->transfers);
  g_array_unref (self->again);

  G_OBJECT_CLASS (http_ingress_parent_class)->finalize (object);
}

static void
http_ingress_class_init (HttpIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = http_ingress_finalize;
}

static void
http_ingress_init (HttpIngress *self)
{
  self->transfers = g_ptr_array_new_with_free_func ((GDestroyNotify) http_transfer_free);
  self->again = g_array_new (FALSE, FALSE, sizeof (Group));
  g_array_set_clear_func (self->again, clear_group);
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  /* A thread that was given up in the middle of TLS must not find OpenSSL taken down while
   * the process ends. */
  OPENSSL_init_crypto (OPENSSL_INIT_NO_ATEXIT, NULL);
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, HTTP_TYPE_INGRESS);
}
