/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-clock-private.h"

#include <string.h>
#include <time.h>

#include "evbus-limits-private.h"

static EvbusClockMark faked;

static gint64
get_wall_time (void)
{
  return faked.boot != 0 ? faked.wall_time : g_get_real_time ();
}

/* 1 where the kernel does not say. */
static gint64
get_boot (void)
{
  static gsize boot = 0;

  if (faked.boot != 0)
    return faked.boot;

  if (g_once_init_enter (&boot))
    {
      g_autofree char *text = NULL;
      g_autofree char *half = NULL;
      guint64 value = 0;

      if (g_file_get_contents ("/proc/sys/kernel/random/boot_id", &text, NULL, NULL) && strlen (text) >= 18)
        {
          half = g_strdup_printf ("%.8s%.4s%.4s", text, text + 9, text + 14);
          value = g_ascii_strtoull (half, NULL, 16);
        }
      g_once_init_leave (&boot, (gsize) MAX (value, 1));
    }
  return (gint64) boot;
}

gint64
evbus_clock_get_boot_time (void)
{
  struct timespec now;

  if (faked.boot != 0)
    return faked.boot_time;

  clock_gettime (CLOCK_BOOTTIME, &now);
  return now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

gint64
evbus_clock_to_monotonic (gint64 boot_time)
{
  return MAX (0, boot_time - evbus_clock_get_boot_time () + g_get_monotonic_time ());
}

gint64
evbus_clock_begin (void)
{
  return MAX (0, get_wall_time ()) - evbus_clock_get_boot_time ();
}

gint64
evbus_clock_resume (const EvbusClockMark *mark)
{
  gint64 boot_time = evbus_clock_get_boot_time ();

  if (mark->boot == get_boot () && mark->boot_time <= boot_time)
    return mark->steady_time - mark->boot_time;

  /* The machine runs since @boot_time; it was off before. */
  return mark->steady_time + CLAMP (get_wall_time () - boot_time - mark->wall_time, 0, EVBUS_MAX_OFF_US);
}

void
evbus_clock_mark (gint64          ahead,
                  EvbusClockMark *mark)
{
  mark->boot = get_boot ();
  mark->boot_time = evbus_clock_get_boot_time ();
  mark->wall_time = get_wall_time ();
  mark->steady_time = ahead + mark->boot_time;
}

void
evbus_clock_fake (const EvbusClockMark *mark)
{
  faked = mark != NULL ? *mark : (EvbusClockMark) { 0 };
}
