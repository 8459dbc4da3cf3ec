/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The log: records of a fixed head, a path and data. tests/integration/disk.py reads it.
 *
 *   o opened      path, file                 c created     path, file
 *   m mkdir       path                       u unlink, rmdir  path
 *   r rename      path = old NUL new         n it failed
 *   w write       file, offset, data         t new size    file, size
 *   b sync begins file, number               B of a folder path, number
 *   e it ended    number                     f it failed   number
 *   a answer      data
 *
 * Each record of cmurnwtbB is one operation as EVBUS_DISK_FAULT counts them. */

#include "disk.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct head
{
  char     kind;
  char     padding[3];
  uint32_t path_size;
  uint64_t file;
  uint64_t number;
  uint64_t size;
};

static int log_fd = -1;

void
disk_log_open (const char *path)
{
  log_fd = syscall (SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

void
disk_log (char        kind,
          uint64_t    file,
          uint64_t    number,
          const char *path,
          size_t      path_size,
          const void *data,
          size_t      size)
{
  struct head head = { .kind = kind, .path_size = path_size, .file = file, .number = number, .size = size };
  struct iovec parts[] = {
    { &head, sizeof head },
    { (void *) path, path_size },
    { (void *) data, size },
  };

  if (log_fd >= 0 &&
      syscall (SYS_writev, log_fd, parts, 3) != (long) (sizeof head + path_size + size))
    disk_die ();      /* a log with a hole would accuse the program */
}
