/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "amqp-link.h"

#include <glib-unix.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "amqp-errors.h"
#include "amqp-login.h"

/* To say good-bye, for which nobody waits gladly. */
#define CLOSE_TIMEOUT_S 1

void
amqp_link_init (AmqpLink          *self,
                const AmqpOptions *options)
{
  self->options = options;
  self->fd = -1;
  amqp_confirms_init (&self->confirms, options);
}

void
amqp_link_drop (AmqpLink *self)
{
  if (self->watch != NULL)
    g_source_destroy (self->watch);
  g_clear_pointer (&self->watch, g_source_unref);
  g_clear_pointer (&self->state, amqp_destroy_connection);
  g_clear_pointer (&self->blocked, g_free);
  g_clear_pointer (&self->returned, g_free);
  self->channel = FALSE;
  self->fd = -1;
}

void
amqp_link_clear (AmqpLink *self)
{
  amqp_link_drop (self);
  amqp_confirms_clear (&self->confirms);
}

/* ---- cancelling ---- */

/* The library waits where it sends and where it asks something. What it waits
 * for ends when the socket is shut down. */
typedef struct {
  GCancellable *cancellable;
  gulong        id;
} Guard;

static void
shut_down (GCancellable *cancellable,
           gpointer      fd)
{
  shutdown (GPOINTER_TO_INT (fd), SHUT_RDWR);
}

static void
guard_begin (Guard        *guard,
             AmqpLink     *self,
             GCancellable *cancellable)
{
  guard->cancellable = cancellable;
  guard->id = cancellable == NULL ? 0 : g_cancellable_connect (cancellable, G_CALLBACK (shut_down),
                                                               GINT_TO_POINTER (self->fd), NULL);
}

static void
guard_end (Guard *guard)
{
  g_cancellable_disconnect (guard->cancellable, guard->id);
}

gboolean
amqp_link_set_cancelled (AmqpLink  *self,
                         GError   **error)
{
  if (self->blocked != NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: the server takes no messages: %s",
                 self->options->name, self->blocked);
  else
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: given up while waiting for the server",
                 self->options->name);
  return FALSE;
}

/* ---- connecting ---- */

static gboolean
serve_idle (int          fd,
            GIOCondition condition,
            gpointer     data)
{
  AmqpLink *self = data;
  g_autoptr(GError) error = NULL;

  if (amqp_link_read (self, &error))
    return G_SOURCE_CONTINUE;

  /* The next publish connects again. */
  g_info ("%s", error->message);
  return self->watch != NULL;
}

static gboolean
tick (gpointer data)
{
  return G_SOURCE_CONTINUE;
}

/* The library sends heartbeats while it reads, and only then. */
static void
watch (AmqpLink *self)
{
  self->watch = g_unix_fd_source_new (self->fd, G_IO_IN);
  g_source_set_callback (self->watch, G_SOURCE_FUNC (serve_idle), self, NULL);
  if (amqp_get_heartbeat (self->state) > 0)
    {
      g_autoptr(GSource) timer = g_timeout_source_new (amqp_get_heartbeat (self->state) * 1000 / 2);

      g_source_set_callback (timer, tick, NULL, NULL);
      g_source_add_child_source (self->watch, timer);
    }
  g_source_attach (self->watch, g_main_context_get_thread_default ());
}

static gboolean
set_open_error (AmqpLink      *self,
                GCancellable  *cancellable,
                GError        *reason,
                GError       **error)
{
  amqp_link_drop (self);
  if (!g_cancellable_is_cancelled (cancellable))
    {
      g_propagate_error (error, reason);
      return FALSE;
    }
  g_error_free (reason);
  return amqp_link_set_cancelled (self, error);
}

gboolean
amqp_link_open (AmqpLink      *self,
                GCancellable  *cancellable,
                GError       **error)
{
  gboolean connected = self->state != NULL;
  GError *local_error = NULL;
  gboolean done;
  Guard guard;

  if (self->channel)
    return TRUE;
  if (!connected && !amqp_login_connect (self, cancellable, error))
    return FALSE;

  guard_begin (&guard, self, cancellable);
  done = (connected || amqp_login_authenticate (self, &local_error)) && amqp_login_open_channel (self, &local_error);
  guard_end (&guard);
  if (!done)
    return set_open_error (self, cancellable, local_error, error);

  if (!connected)
    watch (self);
  return TRUE;
}

/* The library sends what is its own (a heartbeat, the farewell) without an end to its waiting. */
gboolean
amqp_link_has_room (AmqpLink *self)
{
  GPollFD fd = { .fd = self->fd, .events = G_IO_OUT };

  return g_poll (&fd, 1, 0) == 1 && (fd.revents & G_IO_OUT) != 0;
}

void
amqp_link_close (AmqpLink *self)
{
  struct timeval timeout = { CLOSE_TIMEOUT_S, 0 };

  if (self->state != NULL && amqp_link_has_room (self))
    {
      amqp_set_rpc_timeout (self->state, &timeout);
      amqp_connection_close (self->state, AMQP_REPLY_SUCCESS);
    }
  amqp_link_drop (self);
}

/* ---- publishing ---- */

gboolean
amqp_link_wait (AmqpLink       *self,
                const GPollFD  *wake,
                gboolean        to_write,
                gboolean       *ready,
                GError        **error)
{
  gboolean buffered = amqp_frames_enqueued (self->state) || amqp_data_in_buffer (self->state);
  int heartbeat = amqp_get_heartbeat (self->state);
  GPollFD fds[] = {
    { .fd = self->fd, .events = G_IO_IN },
    *wake,
  };
  int n;

  /* While the server takes none, it says so when it does again. */
  to_write = to_write && self->blocked == NULL;
  if (to_write)
    fds[0].events |= G_IO_OUT;
  n = g_poll (fds, G_N_ELEMENTS (fds), buffered ? 0 : heartbeat > 0 ? heartbeat * 1000 / 2 : -1);
  if (fds[1].revents != 0)
    {
      amqp_link_set_cancelled (self, error);
      /* Late confirms would be in vain. But where the server is just full, every new
       * connection would leave one more copy of the events in its hands. */
      if (self->blocked == NULL)
        amqp_link_drop (self);
      return FALSE;
    }

  if ((n <= 0 || buffered || (fds[0].revents & ~G_IO_OUT) != 0) && !amqp_link_read (self, error))
    return FALSE;
  *ready = to_write && (fds[0].revents & G_IO_OUT) != 0 && self->blocked == NULL;
  return TRUE;
}

gboolean
amqp_link_publish (AmqpLink           *self,
                   const AmqpContent  *content,
                   GCancellable       *cancellable,
                   GError            **error)
{
  gint64 now = g_get_monotonic_time ();
  Guard guard;
  int status;

  guard_begin (&guard, self, cancellable);
  status = amqp_basic_publish (self->state, AMQP_LINK_CHANNEL, content->exchange, content->routing_key,
                               self->options->mandatory, FALSE, &content->properties, content->body);
  guard_end (&guard);
  if (status == AMQP_STATUS_OK)
    {
      self->last_tag++;
      self->last_sent = now;
      return TRUE;
    }

  if (g_cancellable_is_cancelled (cancellable))
    amqp_link_set_cancelled (self, error);
  else
    amqp_errors_set_status (self->options, status, error);
  amqp_link_drop (self);
  return FALSE;
}
