/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A system that has no thread left. In a file of its own: whoever links it has
 * its pthread_create() instead of the C library's. */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

#include "evbus-test.h"

typedef int (* PthreadCreate) (pthread_t             *thread,
                               const pthread_attr_t  *attributes,
                               void                *(*start) (void *),
                               void                  *data);

static gint to_refuse;         /* atomic */
static gint n_refused;         /* atomic */

void
evbus_test_refuse_threads (gint n)
{
  g_atomic_int_set (&to_refuse, n);
}

gint
evbus_test_count_refused_threads (void)
{
  return g_atomic_int_get (&n_refused);
}

static gboolean
is_refused (void)
{
  gint n = g_atomic_int_get (&to_refuse);

  while (n > 0 && !g_atomic_int_compare_and_exchange (&to_refuse, n, n - 1))
    n = g_atomic_int_get (&to_refuse);
  if (n > 0)
    g_atomic_int_inc (&n_refused);
  return n > 0;
}

EVBUS_TEST_EXPORT int
pthread_create (pthread_t             *thread,
                const pthread_attr_t  *attributes,
                void                *(*start) (void *),
                void                  *data)
{
  PthreadCreate create = (PthreadCreate) dlsym (RTLD_NEXT, "pthread_create");

  return is_refused () ? EAGAIN : create (thread, attributes, start, data);
}
