/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A server goes through what a client sends in order; so when it answers a PING, it has had
 * all that came before. libnats tells of that answer alone by coming back from its flush, which
 * waits; and the route's thread, which reads and writes for libnats, must not. So a thread
 * of the connection waits there. It takes no right to publish or to subscribe to anything. */

#include "nats-flush.h"

/* The publish ends earlier, and the connection with it. */
#define TIMEOUT_MS (24 * 60 * 60 * 1000)

typedef enum {
  IDLE,
  WANTED,
  DONE,
  ENDED,
} State;

struct _NatsFlush
{
  natsConnection *connection;
  NatsSocket     *socket;
  GThread        *thread;

  GMutex          lock;
  GCond           changed;    /* @state */
  State           state;      /* lock */
  natsStatus      status;     /* lock */
};

static gpointer
run (gpointer data)
{
  NatsFlush *self = data;

  g_mutex_lock (&self->lock);
  while (self->state != ENDED)
    {
      natsStatus status;

      if (self->state != WANTED)
        {
          g_cond_wait (&self->changed, &self->lock);
          continue;
        }
      g_mutex_unlock (&self->lock);
      status = natsConnection_FlushTimeout (self->connection, TIMEOUT_MS);
      g_mutex_lock (&self->lock);
      self->status = status;
      if (self->state == WANTED)
        self->state = DONE;
      nats_socket_wake (self->socket);
    }
  g_mutex_unlock (&self->lock);

  nats_ReleaseThreadMemory ();
  return NULL;
}

static void
set_state (NatsFlush *self,
           State      state)
{
  g_mutex_lock (&self->lock);
  self->state = state;
  g_cond_signal (&self->changed);
  g_mutex_unlock (&self->lock);
}

NatsFlush *
nats_flush_new (natsConnection  *connection,
                NatsSocket      *socket,
                GError         **error)
{
  NatsFlush *self = g_new0 (NatsFlush, 1);

  self->connection = connection;
  self->socket = nats_socket_ref (socket);
  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  self->thread = g_thread_try_new ("nats-flush", run, self, error);
  if (self->thread == NULL)
    g_clear_pointer (&self, nats_flush_free);
  return self;
}

void
nats_flush_free (NatsFlush *self)
{
  set_state (self, ENDED);
  if (self->thread != NULL)
    g_thread_join (self->thread);
  nats_socket_unref (self->socket);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->changed);
  g_free (self);
}

void
nats_flush_begin (NatsFlush *self)
{
  set_state (self, WANTED);
}

gboolean
nats_flush_is_done (NatsFlush  *self,
                    natsStatus *status)
{
  gboolean done;

  g_mutex_lock (&self->lock);
  done = self->state == DONE;
  *status = self->status;
  g_mutex_unlock (&self->lock);
  return done;
}
