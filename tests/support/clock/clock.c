/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A clock that a test sets, for one program: a library to be preloaded. It knows no
 * GLib: it stands below it.
 *
 *   EVBUS_CLOCK_FILE   16 bytes, which may change at any time: two numbers (int64) of
 *                      microseconds, which are added to the time of day, and to the
 *                      time since boot (CLOCK_BOOTTIME)
 *   EVBUS_CLOCK_BOOT   a file that is read in the place of the kernel's boot_id
 *
 * CLOCK_MONOTONIC is as it is: it waits for nobody. tests/integration/clock.py sets it all. */

#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility ("default")))
#define SECOND INT64_C (1000000)     /* us */

enum { OF_DAY, SINCE_BOOT, N_OFFSETS };

static pthread_once_t         once = PTHREAD_ONCE_INIT;
static const _Atomic int64_t *offsets;     /* mapped: the test writes them */

static void
set_up (void)
{
  const char *path = getenv ("EVBUS_CLOCK_FILE");
  long fd = path != NULL ? syscall (SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
  void *mapped = fd >= 0 ? mmap (NULL, N_OFFSETS * sizeof *offsets, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;

  if (mapped == MAP_FAILED)
    {
      dprintf (2, "clock: EVBUS_CLOCK_FILE cannot be read: %s\n", path != NULL ? path : "");
      _exit (120);
    }
  syscall (SYS_close, fd);
  offsets = mapped;
}

static int64_t
offset_of (clockid_t clock)
{
  pthread_once (&once, set_up);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
    return offsets[OF_DAY];
  return clock == CLOCK_BOOTTIME ? offsets[SINCE_BOOT] : 0;
}

PUBLIC int
clock_gettime (clockid_t        clock,
               struct timespec *now)
{
  int result = syscall (SYS_clock_gettime, clock, now);
  int64_t us;

  if (result == 0)
    {
      us = now->tv_sec * SECOND + now->tv_nsec / 1000 + offset_of (clock);
      now->tv_sec = us / SECOND;
      now->tv_nsec = us % SECOND * 1000 + now->tv_nsec % 1000;
    }
  return result;
}

PUBLIC int
gettimeofday (struct timeval *now,
              void           *zone)
{
  struct timespec precise;

  (void) zone;
  clock_gettime (CLOCK_REALTIME, &precise);
  now->tv_sec = precise.tv_sec;
  now->tv_usec = precise.tv_nsec / 1000;
  return 0;
}

PUBLIC time_t
time (time_t *now)
{
  struct timespec precise;

  clock_gettime (CLOCK_REALTIME, &precise);
  if (now != NULL)
    *now = precise.tv_sec;
  return precise.tv_sec;
}

PUBLIC int
open (const char *path,
      int         flags,
      ...)
{
  const char *boot = getenv ("EVBUS_CLOCK_BOOT");
  mode_t mode = 0;
  va_list arguments;

  if ((flags & (O_CREAT | O_TMPFILE)) != 0)
    {
      va_start (arguments, flags);
      mode = va_arg (arguments, mode_t);
      va_end (arguments);
    }
  if (boot != NULL && strcmp (path, "/proc/sys/kernel/random/boot_id") == 0)
    path = boot;
  return syscall (SYS_openat, AT_FDCWD, path, flags, mode);
}
extern __typeof (open) open64 __attribute__((alias ("open"), visibility ("default")));
