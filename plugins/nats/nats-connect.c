/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* libnats connects in one call that nothing cuts short: resolving the name and TLS's
 * handshake have no end of their own. So another thread makes that call, and is left
 * alone with it when the route cannot wait any more. (libnats' own threads, which
 * the first call starts, inherit the name of that thread, and not of a route's.) */

#include "nats-connect.h"

#include <openssl/err.h>
#include <string.h>

#include "nats-errors.h"
#include "nats-tls.h"

/* Of all routes together, those left alone included. */
#define MAX_CONNECTING 64

/* After the route has been told to stop. What still computes is soon done; were it left
 * alone, it could find OpenSSL taken down by the end of the process. */
#define GRACE_US (2 * G_USEC_PER_SEC)

static int n_connecting;    /* atomic */

typedef struct {
  gatomicrefcount  ref_count;
  EvbusContext    *ctx;
  NatsServer      *server;
  NatsSocket      *socket;

  GMutex           lock;
  GCond            changed;     /* @done, or the route's cancellable */
  gboolean         done;        /* by its thread, under the lock */
  gboolean         left_alone;  /* by the route's, under the lock */
  natsConnection  *connection;  /* by its thread, before @done */
  GError          *error;       /* likewise */
} Attempt;

static void
attempt_unref (gpointer data)
{
  Attempt *self = data;

  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;
  nats_socket_unref (self->socket);
  nats_server_unref (self->server);
  g_object_unref (self->ctx);
  g_clear_error (&self->error);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->changed);
  g_free (self);
}

static Attempt *
attempt_new (EvbusContext *ctx,
             NatsServer   *server,
             NatsSocket   *socket)
{
  Attempt *self = g_new0 (Attempt, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->ctx = g_object_ref (ctx);
  self->server = nats_server_ref (server);
  self->socket = nats_socket_ref (socket);
  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  return self;
}

#define WAY_OUT "give one that it trusts by 'tls: {cert_file: …, key_file: …}'"

/* How libnats calls it when the connection is lost in TLS's handshake or just after that. */
static gboolean
is_loss (natsStatus  status,
         const char *text)
{
  return ((status == NATS_SSL_ERROR || status == NATS_IO_ERROR) &&
          (g_str_has_suffix (text, "(null)") || strstr (text, "unexpected eof") != NULL)) ||
         (status == NATS_PROTOCOL_ERROR && g_str_has_suffix (text, "got ''"));
}

/* By TLS 1.3 a server accepts the handshake without a certificate that it wants, and then ends the
 * connection. Of its alert libnats says nothing, and OpenSSL knows. */
static void
set_error (Attempt    *self,
           natsStatus  status,
           GError    **error)
{
  const char *text = nats_errors_get_text (status, nats_GetLastError (NULL));
  gboolean has_own = evbus_context_get_string (self->ctx, "tls.cert_file") != NULL;

  if (self->server->tls && nats_tls_was_refused ())
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: the server wants a certificate of the client, or another one; "
                 WAY_OUT, self->server->url);
  else if (self->server->tls && is_loss (status, text))
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: the connection was lost before the server has let us in%s",
                 self->server->url, has_own ? "" : "; it may want a certificate of the client: " WAY_OUT);
  else
    nats_errors_set (error, self->server->url, status, text);
}

static natsConnection *
make_connection (Attempt  *self,
                 GError  **error)
{
  natsConnection *connection = NULL;
  natsOptions *options = nats_options_new (self->ctx, self->server, error);
  natsStatus status;

  if (options == NULL)
    return NULL;

  status = nats_socket_apply (self->socket, options);
  ERR_clear_error ();
  if (status == NATS_OK)
    status = natsConnection_Connect (&connection, options);
  if (status != NATS_OK)
    set_error (self, status, error);
  natsOptions_Destroy (options);
  return connection;
}

static gpointer
run (gpointer data)
{
  Attempt *self = data;
  GError *error = NULL;
  natsConnection *connection = make_connection (self, &error);

  g_mutex_lock (&self->lock);
  self->error = error;
  if (!self->left_alone)
    self->connection = g_steal_pointer (&connection);
  self->done = TRUE;
  g_cond_signal (&self->changed);
  g_mutex_unlock (&self->lock);

  natsConnection_Destroy (connection);
  nats_ReleaseThreadMemory ();
  g_atomic_int_add (&n_connecting, -1);
  attempt_unref (self);
  return NULL;
}

static void
cancelled (GCancellable *cancellable,
           Attempt      *self)
{
  g_mutex_lock (&self->lock);
  g_cond_signal (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* Returns whether it is done. */
static gboolean
wait_for (Attempt      *self,
          GCancellable *cancellable)
{
  gulong handler = cancellable != NULL ? g_cancellable_connect (cancellable, G_CALLBACK (cancelled), self, NULL) : 0;
  gint64 deadline;
  gboolean done;

  g_mutex_lock (&self->lock);
  while (!self->done && !g_cancellable_is_cancelled (cancellable))
    g_cond_wait (&self->changed, &self->lock);
  deadline = g_get_monotonic_time () + GRACE_US;
  while (!self->done && g_cond_wait_until (&self->changed, &self->lock, deadline))
    ;
  done = self->done;
  self->left_alone = !done;
  g_mutex_unlock (&self->lock);

  g_cancellable_disconnect (cancellable, handler);
  return done;
}

static GThread *
start (Attempt  *self,
       GError  **error)
{
  g_autoptr(GError) local_error = NULL;
  GThread *thread = NULL;

  if (g_atomic_int_add (&n_connecting, 1) < MAX_CONNECTING)
    {
      g_atomic_ref_count_inc (&self->ref_count);
      thread = g_thread_try_new ("nats-connect", run, self, &local_error);
      if (thread != NULL)
        return thread;
      attempt_unref (self);
    }
  g_atomic_int_add (&n_connecting, -1);
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: %s", self->server->url,
               local_error != NULL ? local_error->message : "too many connections wait for an answer already");
  return NULL;
}

natsConnection *
nats_connect (EvbusContext  *ctx,
              NatsServer    *server,
              NatsSocket    *socket,
              GCancellable  *cancellable,
              GError       **error)
{
  Attempt *attempt = attempt_new (ctx, server, socket);
  GThread *thread = start (attempt, error);
  natsConnection *connection = NULL;

  if (thread != NULL && wait_for (attempt, cancellable))
    {
      g_thread_join (thread);
      connection = attempt->connection;
      if (connection == NULL)
        g_propagate_error (error, g_steal_pointer (&attempt->error));
    }
  else if (thread != NULL)
    {
      g_thread_unref (thread);
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: the server has not answered yet", server->url);
    }
  attempt_unref (attempt);
  return connection;
}
