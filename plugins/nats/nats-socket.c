/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* libnats with an event loop of ours: the route's thread reads and writes, so that it
 * can be told to stop, and so that OpenSSL is never in two threads at once. libnats'
 * timer for pings and its callbacks remain threads of its own. They may also close the
 * connection; so what is polled here is a duplicate, which nobody else closes. */

#include "nats-socket.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

NatsSocket *
nats_socket_new (void)
{
  NatsSocket *self = g_new0 (NatsSocket, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->fd = -1;
  self->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  self->refusals = g_async_queue_new_full (g_free);
  return self;
}

NatsSocket *
nats_socket_ref (NatsSocket *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
nats_socket_unref (NatsSocket *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;
  if (self->fd >= 0)
    close (self->fd);
  if (self->wake_fd >= 0)
    close (self->wake_fd);
  g_async_queue_unref (self->refusals);
  g_free (self);
}

/* The route's thread, where it waits. */
void
nats_socket_wake (NatsSocket *self)
{
  eventfd_write (self->wake_fd, 1);
}

/* Takes back what woke the route's thread. */
void
nats_socket_quiet (NatsSocket *self)
{
  eventfd_t value;

  eventfd_read (self->wake_fd, &value);
}

/* Whatever waits for the connection, also inside of libnats, finds its end. */
void
nats_socket_shut (NatsSocket *self)
{
  shutdown (self->fd, SHUT_RDWR);
}

/* ---- what libnats calls ---- */

static natsStatus
attach (void           **data,
        void            *loop,
        natsConnection  *connection,
        natsSock         fd)
{
  NatsSocket *self = loop;

  self->fd = fcntl (fd, F_DUPFD_CLOEXEC, 3);
  if (self->fd < 0 || self->wake_fd < 0)
    return NATS_SYS_ERROR;
  /* One for detach(), one for closed(). */
  *data = nats_socket_ref (nats_socket_ref (self));
  return NATS_OK;
}

static natsStatus
want_read (void *data,
           bool  add)
{
  NatsSocket *self = data;

  /* It is always read from; so this is the end of the connection. */
  if (!add)
    nats_socket_shut (self);
  return NATS_OK;
}

static natsStatus
want_write (void *data,
            bool  add)
{
  NatsSocket *self = data;

  g_atomic_int_set (&self->wants_write, add);
  if (add)
    nats_socket_wake (self);
  return NATS_OK;
}

static natsStatus
detach (void *data)
{
  nats_socket_unref (data);
  return NATS_OK;
}

/* A subject that is not permitted is all that is told here alone; the other
 * errors end the connection. */
static void
refused (natsConnection   *connection,
         natsSubscription *subscription,
         natsStatus        status,
         void             *closure)
{
  NatsSocket *self = closure;
  const char *text = nats_GetLastError (NULL);

  if (status != NATS_NOT_PERMITTED)
    return;
  g_async_queue_push (self->refusals, g_strdup (text != NULL ? text : ""));
  nats_socket_wake (self);
}

/* The last that is called, after all that was refused. */
static void
closed (natsConnection *connection,
        void           *closure)
{
  NatsSocket *self = closure;

  g_async_queue_push (self->refusals, g_strdup (NATS_SOCKET_CLOSED));
  nats_socket_wake (self);
  nats_socket_unref (self);
}

natsStatus
nats_socket_apply (NatsSocket  *self,
                   natsOptions *options)
{
  natsStatus status = natsOptions_SetEventLoop (options, self, attach, want_read, want_write, detach);

  if (status == NATS_OK)
    status = natsOptions_SetErrorHandler (options, refused, self);
  if (status == NATS_OK)
    status = natsOptions_SetClosedCB (options, closed, self);
  return status;
}
