/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "nats-link.h"

#include <string.h>

#include "nats-connect.h"
#include "nats-errors.h"
#include "nats-flush.h"

/* So much is written at once. */
#define CHUNK (32 * 1024)

/* For libnats' thread for callbacks to get through. */
#define CLOSE_TIMEOUT_US (5 * G_USEC_PER_SEC)

struct _NatsLink
{
  NatsSocket       *socket;
  natsConnection   *connection;
  natsSubscription *replies;     /* with JetStream, else NULL */
  natsInbox        *inbox;       /* likewise */
  NatsFlush        *flush;       /* without JetStream, else NULL */
  char             *where;
  GSource          *source;
};

/* ---- reading and writing ---- */

static gboolean
wants_write (NatsLink *self)
{
  return g_atomic_int_get (&self->socket->wants_write);
}

static void
set_closed (NatsLink  *self,
            GError   **error)
{
  const char *text = NULL;
  natsStatus status = natsConnection_GetLastError (self->connection, &text);

  /* Otherwise the text may be that of something older. */
  if (status != NATS_CONNECTION_AUTH_FAILED && status != NATS_ERR)
    {
      status = NATS_CONNECTION_CLOSED;
      text = "the connection was lost";
    }
  nats_errors_set (error, self->where, status, text);
}

gboolean
nats_link_is_open (NatsLink *self)
{
  return !natsConnection_IsClosed (self->connection);
}

/* Reads and writes what can be. With @wait it comes back only when there was
 * something. */
gboolean
nats_link_pump (NatsLink      *self,
                gboolean       wait,
                GCancellable  *cancellable,
                GError       **error)
{
  GPollFD fds[3] = { { self->socket->fd, G_IO_IN, 0 }, { self->socket->wake_fd, G_IO_IN, 0 } };
  gboolean has_cancel;

  if (wants_write (self))
    natsConnection_ProcessWriteEvent (self->connection);
  if (wants_write (self))
    fds[0].events |= G_IO_OUT;

  has_cancel = g_cancellable_make_pollfd (cancellable, &fds[2]);
  g_poll (fds, has_cancel ? 3 : 2, wait ? -1 : 0);
  if (has_cancel)
    g_cancellable_release_fd (cancellable);

  if (g_cancellable_is_cancelled (cancellable))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: the server has not answered yet", self->where);
      return FALSE;
    }
  if (fds[1].revents != 0)
    nats_socket_quiet (self->socket);
  if (fds[0].revents & (G_IO_IN | G_IO_HUP | G_IO_ERR))
    natsConnection_ProcessReadEvent (self->connection);
  if (fds[0].revents & G_IO_OUT && wants_write (self))
    natsConnection_ProcessWriteEvent (self->connection);

  if (nats_link_is_open (self))
    return TRUE;
  set_closed (self, error);
  return FALSE;
}

gboolean
nats_link_send (NatsLink      *self,
                natsMsg       *msg,
                GCancellable  *cancellable,
                GError       **error)
{
  natsStatus status = natsConnection_PublishMsg (self->connection, msg);

  if (status == NATS_CONNECTION_CLOSED)
    {
      set_closed (self, error);
      return FALSE;
    }
  if (status != NATS_OK)
    {
      nats_errors_set (error, self->where, status, nats_GetLastError (NULL));
      return FALSE;
    }

  while (natsConnection_Buffered (self->connection) >= CHUNK)
    if (!nats_link_pump (self, TRUE, cancellable, error))
      return FALSE;
  return TRUE;
}

/* Of those that reached nobody libnats gives no more than the fact: they are added
 * to @n_nobody. */
natsMsg *
nats_link_next_reply (NatsLink *self,
                      guint    *n_nobody)
{
  natsMsg *msg = NULL;
  natsStatus status;

  if (self->replies == NULL)
    return NULL;
  while ((status = natsSubscription_NextMsg (&msg, self->replies, 0)) == NATS_NO_RESPONDERS)
    (*n_nobody)++;
  return status == NATS_OK ? msg : NULL;
}

/* Has the server say when it has gone through all that was sent. */
void
nats_link_begin_flush (NatsLink *self)
{
  nats_flush_begin (self->flush);
}

/* Waits for that. */
gboolean
nats_link_wait_flushed (NatsLink      *self,
                        GCancellable  *cancellable,
                        GError       **error)
{
  natsStatus status;

  while (!nats_flush_is_done (self->flush, &status))
    if (!nats_link_pump (self, TRUE, cancellable, error))
      return FALSE;
  if (status == NATS_OK)
    return TRUE;
  nats_errors_set (error, self->where, status, NULL);
  return FALSE;
}

/* Returns what the server says of something that the user may not do, or NULL. */
char *
nats_link_next_refusal (NatsLink *self)
{
  g_autofree char *text = g_async_queue_try_pop (self->socket->refusals);

  return g_strcmp0 (text, NATS_SOCKET_CLOSED) != 0 ? g_steal_pointer (&text) : NULL;
}

/* Whether something was, by what has been read. The texts come later, from libnats'
 * thread for callbacks. */
gboolean
nats_link_was_refused (NatsLink *self)
{
  const char *text;

  return natsConnection_GetLastError (self->connection, &text) == NATS_NOT_PERMITTED;
}

/* Ends the connection, as the only way to be sure of the last one. Returns FALSE if that
 * did not work, @text is NULL after the last one. */
gboolean
nats_link_last_refusal (NatsLink  *self,
                        char     **text)
{
  natsConnection_Close (self->connection);
  *text = g_async_queue_timeout_pop (self->socket->refusals, CLOSE_TIMEOUT_US);
  if (*text == NULL)
    return FALSE;
  if (strcmp (*text, NATS_SOCKET_CLOSED) == 0)
    g_clear_pointer (text, g_free);
  return TRUE;
}

/* ---- between two publishes ---- */

typedef struct {
  GSource   source;
  NatsLink *link;
  gpointer  tag;     /* of the connection */
} LinkSource;

/* What is answered now concerns nobody any more. (What is refused may concern the
 * inbox.) */
static void
forget (NatsLink *self)
{
  guint n_nobody = 0;
  natsMsg *msg;

  while ((msg = nats_link_next_reply (self, &n_nobody)) != NULL)
    natsMsg_Destroy (msg);
}

static gboolean
dispatch (GSource     *source,
          GSourceFunc  callback,
          gpointer     data)
{
  LinkSource *self = (LinkSource *) source;
  gboolean open = nats_link_pump (self->link, FALSE, NULL, NULL);

  forget (self->link);
  if (!open)
    return G_SOURCE_REMOVE;
  g_source_modify_unix_fd (source, self->tag, G_IO_IN | (wants_write (self->link) ? G_IO_OUT : 0));
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = { .dispatch = dispatch };

static void
attach_source (NatsLink *self)
{
  LinkSource *source = (LinkSource *) g_source_new (&source_funcs, sizeof (LinkSource));

  source->link = self;
  source->tag = g_source_add_unix_fd (&source->source, self->socket->fd, G_IO_IN);
  g_source_add_unix_fd (&source->source, self->socket->wake_fd, G_IO_IN);
  self->source = &source->source;
  g_source_attach (self->source, g_main_context_get_thread_default ());
}

/* ---- beginning and end ---- */

static gboolean
subscribe (NatsLink  *self,
           GError   **error)
{
  natsStatus status = natsInbox_Create (&self->inbox);

  if (status == NATS_OK)
    {
      g_autofree char *subject = g_strconcat (self->inbox, ".*", NULL);

      status = natsConnection_SubscribeSync (&self->replies, self->connection, subject);
    }
  if (status == NATS_OK)
    return TRUE;
  nats_errors_set (error, self->where, status, nats_GetLastError (NULL));
  return FALSE;
}

static gboolean
make_flush (NatsLink  *self,
            GError   **error)
{
  g_autoptr(GError) local_error = NULL;

  self->flush = nats_flush_new (self->connection, self->socket, &local_error);
  if (self->flush == NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: %s", self->where, local_error->message);
  return self->flush != NULL;
}

NatsLink *
nats_link_open (EvbusContext      *ctx,
                NatsServer        *server,
                GCancellable      *cancellable,
                GError           **error)
{
  g_autoptr(NatsSocket) socket = nats_socket_new ();
  natsConnection *connection = nats_connect (ctx, server, socket, cancellable, error);
  g_autoptr(NatsLink) self = NULL;

  if (connection == NULL)
    return NULL;

  self = g_new0 (NatsLink, 1);
  self->socket = g_steal_pointer (&socket);
  self->connection = connection;
  self->where = g_strdup (server->url);
  /* Without JetStream nothing is subscribed to: the user need not be allowed to. */
  if (!(evbus_context_get_boolean (ctx, "jetstream") ? subscribe (self, error) : make_flush (self, error)))
    return NULL;
  attach_source (self);
  return g_steal_pointer (&self);
}

void
nats_link_close (NatsLink *self)
{
  if (self->source != NULL)
    {
      g_source_destroy (self->source);
      g_source_unref (self->source);
    }

  /* Closed by libnats itself, it would wait for an answer that nobody reads. */
  nats_socket_shut (self->socket);
  natsConnection_ProcessReadEvent (self->connection);
  natsConnection_Close (self->connection);

  g_clear_pointer (&self->flush, nats_flush_free);
  natsSubscription_Destroy (self->replies);
  natsConnection_Destroy (self->connection);
  natsInbox_Destroy (self->inbox);
  nats_socket_unref (self->socket);
  g_free (self->where);
  g_free (self);
}

static void
cancelled (GCancellable *cancellable,
           NatsSocket   *socket)
{
  nats_socket_shut (socket);
}

/* Inside of libnats, too, a call ends when @cancellable is: with TLS it may wait for the
 * rest of a record. For g_cancellable_disconnect(). */
gulong
nats_link_guard (NatsLink     *self,
                 GCancellable *cancellable)
{
  if (cancellable == NULL)
    return 0;
  return g_cancellable_connect (cancellable, G_CALLBACK (cancelled), self->socket, NULL);
}

const char *
nats_link_get_where (NatsLink *self)
{
  return self->where;
}

const char *
nats_link_get_inbox (NatsLink *self)
{
  return self->inbox;
}

gsize
nats_link_get_max_payload (NatsLink *self)
{
  return natsConnection_GetMaxPayload (self->connection);
}
