/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Keeps the process small: a burst of events must not leave its memory behind,
 * and what was in it must not reach a disk. */

#include "evbusd-memory.h"

#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Every thread would get a heap of its own, each with its own holes. */
#define ARENAS 2
#define LARGE_BYTES (256 * 1024)

/* How long (seconds) nothing must have moved before memory is given back. */
#define IDLE_SECONDS 1

static guint idle_timeout;

/* GLib before 2.76 has an allocator of its own for small blocks, and keeps for
 * ever what a burst made it take: 7 MiB after a million events, 1 MiB without.
 * It decides before main() whether it is used, so that has to run once more. */
void
evbusd_memory_avoid_slices (char **argv)
{
  g_autofree char *program = NULL;

  if (glib_check_version (2, 76, 0) == NULL || g_getenv ("G_SLICE") != NULL)
    return;

  program = g_file_read_link ("/proc/self/exe", NULL);
  g_setenv ("G_SLICE", "always-malloc", TRUE);
  if (program != NULL)
    execv (program, argv);
}

void
evbusd_memory_init (void)
{
  /* Set, so that glibc does not raise them as it sees larger blocks freed. */
  mallopt (M_ARENA_MAX, ARENAS);
  mallopt (M_MMAP_THRESHOLD, LARGE_BYTES);
  mallopt (M_TRIM_THRESHOLD, LARGE_BYTES);

  /* Events and the routes' secrets are in this memory: no core dump, and no
   * other process of the user may look into it. A sanitizer has to, at the end. */
#ifndef __SANITIZE_ADDRESS__
  prctl (PR_SET_DUMPABLE, 0);
#endif
}

static gboolean
on_idle (gpointer user_data)
{
  idle_timeout = 0;
  malloc_trim (0);
  return G_SOURCE_REMOVE;
}

/* Routes announce new figures a few times a second while events move, and
 * not at all while none does: then this process sleeps. */
static void
on_figures (EvbusRoute *route)
{
  if (idle_timeout != 0)
    g_source_remove (idle_timeout);

  idle_timeout = g_timeout_add_seconds (IDLE_SECONDS, on_idle, NULL);
}

static void
on_routes_changed (GListModel *routes,
                   guint       position,
                   guint       removed,
                   guint       added)
{
  for (guint i = 0; i < added; i++)
    {
      g_autoptr (EvbusRoute) route = g_list_model_get_item (routes, position + i);

      g_signal_connect (route, "notify::accepted", G_CALLBACK (on_figures), NULL);
      g_signal_connect (route, "notify::delivered", G_CALLBACK (on_figures), NULL);
    }
}

/* Gives freed memory back once the routes have come to rest. */
void
evbusd_memory_watch (GListModel *routes)
{
  g_signal_connect (routes, "items-changed", G_CALLBACK (on_routes_changed), NULL);
  on_routes_changed (routes, 0, 0, g_list_model_get_n_items (routes));
}
