/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A disk that can be cut off, full or broken, for one folder of a program: a
 * library to be preloaded. It knows no GLib: it stands below it.
 *
 *   EVBUS_DISK_FOLDER   the folder; what is below it is watched. Must be there.
 *   EVBUS_DISK_LOG      a file outside of it; every operation is appended, with
 *                       its data (tests/integration/disk.py replays it, and makes the folder as a
 *                       cut of the power could have left it)
 *   EVBUS_DISK_FAULT    KIND@N or KIND@N:CLASS, at the N-th operation of the class:
 *                         kill    SIGKILL before it
 *                         torn    SIGKILL after half of it, if it is a write
 *                         eio     it fails with EIO
 *                         thin    it fails with ENOSPC, as a sync does where space is given late
 *                         enospc  from here on no more space than is used now
 *                       CLASS: write (also truncate, allocate), sync, name
 *                       (create, rename, unlink, mkdir); without it, any
 *   EVBUS_DISK_SWITCH   a file: eio and thin go on, and enospc lasts, while it is there.
 *                       Without it eio and thin strike once, enospc for good
 *   EVBUS_DISK_BAD      INODE:OFFSET, a bad sector: to read it at a place fails with EIO
 *   EVBUS_DISK_NO_SYNC  fsync says yes and does nothing
 *
 * A sync that succeeds is only noted in the log: a killed process loses nothing
 * of the page cache. So the tests are fast. What the program writes to its
 * standard output goes into the log too: those are its answers. */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

typedef enum {
  DISK_WRITE,
  DISK_SYNC,
  DISK_NAME,
} DiskClass;

/* What disk_enter() says beside errno's numbers. */
enum {
  DISK_GO   = 0,
  DISK_TORN = -1,
};

/* disk.c: the state; all under the lock but disk_ready(). */
bool        disk_ready      (void);
void        disk_lock       (void);
void        disk_unlock     (void);
/* The path below the folder ("" for the folder itself), in @relative (PATH_MAX);
 * false: it is elsewhere. */
bool        disk_locate     (int         dirfd,
                             const char *path,
                             char       *relative);
void        disk_track      (int         fd,
                             const char *relative);
/* The file behind @fd, if it is watched. @directory: its path, if it is one. */
bool        disk_find       (int          fd,
                             struct stat *found,
                             const char **directory);
/* Before each operation: 0, DISK_TORN or an errno. May not return. */
int         disk_enter      (DiskClass   class);
void        disk_die        (void) __attribute__((noreturn));
/* How many bytes more there are, at most @wanted. */
size_t      disk_space      (size_t      wanted);
bool        disk_syncs      (void);
/* Whether a bad sector is among those; not under the lock. */
bool        disk_is_bad     (int         fd,
                             off_t       offset,
                             size_t      size);

/* disk-log.c: one record. */
void        disk_log_open   (const char *path);
void        disk_log        (char        kind,
                             uint64_t    file,
                             uint64_t    number,
                             const char *path,
                             size_t      path_size,
                             const void *data,
                             size_t      size);
