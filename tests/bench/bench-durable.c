/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * put_bytes_async() of 200 bytes into a broker with a spool until it is answered,
 * which is after the commit, with one internal route that is drained; against a
 * file that the bodies are appended to, one write and one fdatasync() for as
 * many of them as our side reached in its round before. Once with 1024 puts in flight,
 * once with one.
 */

#include "bench-flight.h"
#include "bench.h"

#include <evbus/evbus.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BODY_SIZE 200
#define N_MANY 100000
#define N_ALONE 1000
#define IN_FLIGHT 1024

#define ROUTE_DATA "{'delivery': <{'window': <{'events': <int64 65536>, 'bytes': <'64MiB'>}>}>}"

typedef struct
{
  char         *folder;
  EvbusBroker  *broker;
  EvbusRoute   *route;
  GCancellable *stopping;
  GThread      *consumer;
  GBytes       *body;
  guint         n_events;
  guint         in_flight;

  double        group;       /* events a sync, of our last round */
} Durable;

static int n_syncs;          /* atomic; of commits, see fdatasync() below */

/* SQLite's, in place of the C library's, to count them. Those of the thread that
 * makes checkpoints are none of a commit. */
int
fdatasync (int fd)
{
  char thread[16] = "";

  prctl (PR_GET_NAME, thread);
  if (!g_str_equal (thread, "evbus-spool"))
    g_atomic_int_inc (&n_syncs);
  return (int) syscall (SYS_fdatasync, fd);
}

static gpointer
drain (gpointer data)
{
  Durable *self = data;
  EvbusMailbox *mailbox = evbus_route_get_mailbox (self->route);
  g_autoptr (EvbusEvent) event = NULL;

  while ((event = evbus_mailbox_get (mailbox, NULL, self->stopping, NULL)) != NULL)
    {
      g_autoptr (GPtrArray) more = evbus_mailbox_try_get_many (mailbox, NULL, 1024);

      g_clear_pointer (&event, evbus_event_unref);
    }
  return NULL;
}

static gboolean
run_ours (gpointer   data,
          double    *value,
          GError   **error)
{
  Durable *self = data;
  int syncs = g_atomic_int_get (&n_syncs);
  EvbusLedger before;
  gint64 start;

  evbus_broker_get_ledger (self->broker, &before);
  start = g_get_monotonic_time ();
  if (!bench_flight_put (self->broker, self->body, self->n_events, self->in_flight, error))
    return FALSE;
  *value = bench_per_second (self->n_events, start, g_get_monotonic_time ());

  syncs = g_atomic_int_get (&n_syncs) - syncs;
  self->group = (double) self->n_events / MAX (syncs, 1);
  g_debug ("%.1f events a sync", self->group);
  if (syncs == 0)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "nothing was synced");
      return FALSE;
    }
  return bench_flight_check (self->broker, &before, self->n_events, error);
}

static gboolean
append_all (int       fd,
            Durable  *self,
            guint     group,
            GError  **error)
{
  gsize size = (gsize) group * BODY_SIZE;
  g_autofree char *bodies = g_malloc (size);
  guint i;

  memset (bodies, 'x', size);
  for (i = 0; i < self->n_events; i += group)
    {
      if (write (fd, bodies, size) != (gssize) size || syscall (SYS_fdatasync, fd) != 0)
        {
          g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "append: %s", g_strerror (errno));
          return FALSE;
        }
    }
  return TRUE;
}

static gboolean
run_limit (gpointer   data,
           double    *value,
           GError   **error)
{
  Durable *self = data;
  g_autofree char *path = g_build_filename (self->folder, "append", NULL);
  guint group = MAX ((guint) (self->group + 0.5), 1);
  int fd = g_open (path, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  gint64 start = g_get_monotonic_time ();
  gboolean done = fd >= 0 && append_all (fd, self, group, error);

  *value = bench_per_second ((self->n_events + group - 1) / group * group, start, g_get_monotonic_time ());
  if (fd >= 0)
    close (fd);
  return done;
}

static gboolean
begin (Durable  *self,
       GError  **error)
{
  g_autoptr (GVariant) data = g_variant_parse (G_VARIANT_TYPE_VARDICT, ROUTE_DATA, NULL, NULL, error);
  g_autofree char *here = g_get_current_dir ();

  /* /tmp may be memory, the build folder hardly. */
  self->folder = g_build_filename (here, "bench-durable-XXXXXX", NULL);
  if (data == NULL || g_mkdtemp (self->folder) == NULL)
    return FALSE;
  self->broker = evbus_broker_new ();
  evbus_broker_set_spool_directory (self->broker, self->folder);
  self->route = evbus_broker_add_route (self->broker, "internal", "*", data, error);
  if (self->route == NULL || !evbus_broker_start (self->broker, error))
    return FALSE;
  self->stopping = g_cancellable_new ();
  self->consumer = g_thread_new ("consumer", drain, self);
  return TRUE;
}

static void
end (Durable *self)
{
  bench_flight_stop (self->broker);
  g_cancellable_cancel (self->stopping);
  g_thread_join (self->consumer);
  g_object_unref (self->route);
  g_object_unref (self->broker);
  g_object_unref (self->stopping);
  bench_remove_folder (self->folder);
  g_free (self->folder);
}

static void
bench_durable (const char *name,
               guint       in_flight,
               guint       n_events,
               double      target)
{
  char body[BODY_SIZE];
  g_autoptr (GError) error = NULL;
  Durable self = { .in_flight = in_flight, .n_events = bench_scale (n_events), .group = in_flight };
  Bench bench = {
    .name = name,
    .unit = "events/s",
    .target = target,
    .ours = run_ours,
    .limit = run_limit,
    .data = &self,
  };

  memset (body, 'x', sizeof body);
  self.body = g_bytes_new (body, sizeof body);
  if (!begin (&self, &error))
    {
      bench_fail (name, "ours", error != NULL ? error->message : g_strerror (errno));
      exit (EXIT_FAILURE);
    }
  bench_run (&bench);
  g_print ("# %s: %.1f events a sync in the last round\n", name, self.group);
  end (&self);
  g_bytes_unref (self.body);
}

int
main (int    argc,
      char **argv)
{
  bench_init (&argc, &argv);
  bench_durable ("durable-put", IN_FLIGHT, N_MANY, 0.25);
  bench_durable ("durable-put-1", 1, N_ALONE, 0.5);
  return bench_finish ();
}
