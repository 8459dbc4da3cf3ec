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

static int refused;            /* atomic */

void
evbus_test_refuse_threads (gboolean refuse)
{
  g_atomic_int_set (&refused, refuse);
}

EVBUS_TEST_EXPORT int
pthread_create (pthread_t             *thread,
                const pthread_attr_t  *attributes,
                void                *(*start) (void *),
                void                  *data)
{
  PthreadCreate create = (PthreadCreate) dlsym (RTLD_NEXT, "pthread_create");

  return g_atomic_int_get (&refused) ? EAGAIN : create (thread, attributes, start, data);
}
