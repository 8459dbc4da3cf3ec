/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The C library's functions that this library stands in for: those that change
 * files, and the one by which a place is read. What they do to a file elsewhere they just do. */

/* Both names of each function are defined here. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE

#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert (sizeof (long) == 8, "offsets are passed to the kernel in one register");

/* Two names for each function: with and without large files. */
#define ALIAS(name, other) extern __typeof (name) other __attribute__((alias (#name), visibility ("default")))
#define PUBLIC __attribute__((visibility ("default")))

static int
fail (int number)
{
  errno = number;
  return -1;
}

/* ---- Names */

static int
open_at (int         dirfd,
         const char *path,
         int         flags,
         mode_t      mode)
{
  char relative[PATH_MAX];
  struct stat found;
  bool is_new;
  int fd, error;

  if (!disk_ready () || !disk_locate (dirfd, path, relative))
    return syscall (SYS_openat, dirfd, path, flags, mode);
  disk_lock ();
  is_new = (flags & O_CREAT) != 0 && syscall (SYS_newfstatat, dirfd, path, &found, 0) != 0;
  error = is_new ? disk_enter (DISK_NAME) : 0;
  fd = error > 0 ? fail (error) : (int) syscall (SYS_openat, dirfd, path, flags, mode);
  if (fd >= 0 && fstat (fd, &found) == 0)
    {
      disk_track (fd, relative);
      if (!S_ISDIR (found.st_mode))
        disk_log (is_new ? 'c' : 'o', found.st_ino, 0, relative, strlen (relative), NULL, 0);
      if (!is_new && (flags & O_TRUNC) != 0)
        disk_log ('t', found.st_ino, 0, NULL, 0, NULL, 0);
    }
  else if (is_new)
    disk_log ('n', 0, 0, NULL, 0, NULL, 0);
  disk_unlock ();
  return fd;
}

/* The mode, which is there with these flags alone. */
#define MODE(flags) \
  ({ \
    mode_t mode_ = 0; \
    va_list arguments_; \
    if (((flags) & (O_CREAT | O_TMPFILE)) != 0) \
      { \
        va_start (arguments_, flags); \
        mode_ = va_arg (arguments_, mode_t); \
        va_end (arguments_); \
      } \
    mode_; \
  })

PUBLIC int
open (const char *path,
      int         flags,
      ...)
{
  return open_at (AT_FDCWD, path, flags, MODE (flags));
}
ALIAS (open, open64);

PUBLIC int
openat (int         dirfd,
        const char *path,
        int         flags,
        ...)
{
  return open_at (dirfd, path, flags, MODE (flags));
}
ALIAS (openat, openat64);

PUBLIC int
creat (const char *path,
       mode_t      mode)
{
  return open_at (AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}
ALIAS (creat, creat64);

/* With _FORTIFY_SOURCE. */
PUBLIC int __open_2   (const char *path, int flags);
PUBLIC int __openat_2 (int dirfd, const char *path, int flags);

int
__open_2 (const char *path,
          int         flags)
{
  return open_at (AT_FDCWD, path, flags, 0);
}
ALIAS (__open_2, __open64_2);

int
__openat_2 (int         dirfd,
            const char *path,
            int         flags)
{
  return open_at (dirfd, path, flags, 0);
}
ALIAS (__openat_2, __openat64_2);

/* One change of the names, made by the system call @number. */
static int
change_name (char        kind,
             int         dirfd,
             const char *path,
             long        number,
             long        argument)
{
  char relative[PATH_MAX];
  int error, result;

  if (!disk_ready () || !disk_locate (dirfd, path, relative))
    return syscall (number, dirfd, path, argument);
  disk_lock ();
  error = disk_enter (DISK_NAME);
  result = error > 0 ? fail (error) : (int) syscall (number, dirfd, path, argument);
  disk_log (result == 0 ? kind : 'n', 0, 0, relative, strlen (relative), NULL, 0);
  disk_unlock ();
  return result;
}

PUBLIC int
unlink (const char *path)
{
  return change_name ('u', AT_FDCWD, path, SYS_unlinkat, 0);
}

PUBLIC int
unlinkat (int         dirfd,
          const char *path,
          int         flags)
{
  return change_name ('u', dirfd, path, SYS_unlinkat, flags);
}

PUBLIC int
rmdir (const char *path)
{
  return change_name ('u', AT_FDCWD, path, SYS_unlinkat, AT_REMOVEDIR);
}

PUBLIC int
remove (const char *path)
{
  struct stat found;

  if (lstat (path, &found) != 0)
    return -1;
  return S_ISDIR (found.st_mode) ? rmdir (path) : unlink (path);
}

PUBLIC int
mkdir (const char *path,
       mode_t      mode)
{
  return change_name ('m', AT_FDCWD, path, SYS_mkdirat, mode);
}

PUBLIC int
mkdirat (int         dirfd,
         const char *path,
         mode_t      mode)
{
  return change_name ('m', dirfd, path, SYS_mkdirat, mode);
}

static int
rename_at (int           from_dirfd,
           const char   *from,
           int           to_dirfd,
           const char   *to,
           unsigned int  flags)
{
  char both[2 * PATH_MAX], target[PATH_MAX];
  size_t length = 0;
  int error, result;

  if (!disk_ready () || !disk_locate (from_dirfd, from, both) || !disk_locate (to_dirfd, to, target))
    return syscall (SYS_renameat2, from_dirfd, from, to_dirfd, to, flags);
  length = strlen (both) + 1;
  strcpy (both + length, target);
  length += strlen (target);
  disk_lock ();
  error = disk_enter (DISK_NAME);
  result = error > 0 ? fail (error) : (int) syscall (SYS_renameat2, from_dirfd, from, to_dirfd, to, flags);
  disk_log (result == 0 ? 'r' : 'n', 0, 0, both, length, NULL, 0);
  disk_unlock ();
  return result;
}

PUBLIC int
rename (const char *from,
        const char *to)
{
  return rename_at (AT_FDCWD, from, AT_FDCWD, to, 0);
}

PUBLIC int
renameat (int         from_dirfd,
          const char *from,
          int         to_dirfd,
          const char *to)
{
  return rename_at (from_dirfd, from, to_dirfd, to, 0);
}

PUBLIC int
renameat2 (int           from_dirfd,
           const char   *from,
           int           to_dirfd,
           const char   *to,
           unsigned int  flags)
{
  return rename_at (from_dirfd, from, to_dirfd, to, flags);
}

/* ---- Data */

/* How far the file reaches, with what is allocated to it beyond its end. */
static off_t
extent (const struct stat *found)
{
  return found->st_blocks * 512 > found->st_size ? found->st_blocks * 512 : found->st_size;
}

/* At @offset, or where the descriptor stands if that is negative. */
static ssize_t
write_there (int         fd,
             const void *data,
             size_t      size,
             off_t       offset)
{
  if (offset >= 0)
    return syscall (SYS_pwrite64, fd, data, size, offset);
  return syscall (SYS_write, fd, data, size);
}

static ssize_t
write_watched (int                fd,
               const struct stat *found,
               const void        *data,
               size_t             size,
               off_t              offset)
{
  bool appends = (fcntl (fd, F_GETFL) & O_APPEND) != 0;
  off_t start = appends ? found->st_size : offset >= 0 ? offset : lseek (fd, 0, SEEK_CUR);
  off_t grown = start + (off_t) size - extent (found);
  size_t missing;
  ssize_t written;
  int error;

  error = disk_enter (DISK_WRITE);
  if (error > 0)
    {
      disk_log ('n', 0, 0, NULL, 0, NULL, 0);
      return fail (error);
    }
  missing = grown > 0 ? (size_t) grown - disk_space (grown) : 0;
  if (missing >= size && size > 0)
    {
      disk_log ('n', 0, 0, NULL, 0, NULL, 0);
      return fail (ENOSPC);
    }
  size -= missing;
  if (error == DISK_TORN)
    size /= 2;
  written = write_there (fd, data, size, offset);
  disk_log (written >= 0 ? 'w' : 'n', found->st_ino, start, NULL, 0, data, written > 0 ? written : 0);
  if (error == DISK_TORN)
    disk_die ();
  return written;
}

static ssize_t
write_any (int         fd,
           const void *data,
           size_t      size,
           off_t       offset)
{
  struct stat found;
  ssize_t written;

  if (!disk_ready ())
    return write_there (fd, data, size, offset);
  disk_lock ();
  if (disk_find (fd, &found, NULL))
    written = write_watched (fd, &found, data, size, offset);
  else if (fd == STDOUT_FILENO)
    {
      written = write_there (fd, data, size, offset);
      if (written > 0)
        disk_log ('a', 0, 0, NULL, 0, data, written);
    }
  else
    {
      /* It may block, as a socket does. */
      disk_unlock ();
      return write_there (fd, data, size, offset);
    }
  disk_unlock ();
  return written;
}

PUBLIC ssize_t
write (int         fd,
       const void *data,
       size_t      size)
{
  return write_any (fd, data, size, -1);
}

PUBLIC ssize_t
pwrite (int         fd,
        const void *data,
        size_t      size,
        off_t       offset)
{
  return write_any (fd, data, size, offset);
}
ALIAS (pwrite, pwrite64);

PUBLIC ssize_t
pread (int    fd,
       void  *data,
       size_t size,
       off_t  offset)
{
  if (disk_is_bad (fd, offset, size))
    return fail (EIO);
  return syscall (SYS_pread64, fd, data, size, offset);
}
ALIAS (pread, pread64);

static ssize_t
writev_any (int                 fd,
            const struct iovec *parts,
            int                 n_parts,
            off_t               offset)
{
  struct stat found;
  ssize_t written;
  size_t size = 0;
  bool is_watched = false;
  char *whole;
  int i;

  if (disk_ready ())
    {
      disk_lock ();
      is_watched = disk_find (fd, &found, NULL);
      disk_unlock ();
    }
  if (!is_watched)
    return offset >= 0 ? syscall (SYS_pwritev, fd, parts, n_parts, offset, 0)
                       : syscall (SYS_writev, fd, parts, n_parts);
  for (i = 0; i < n_parts; i++)
    size += parts[i].iov_len;
  whole = malloc (size + 1);
  for (i = 0, size = 0; i < n_parts; size += parts[i++].iov_len)
    memcpy (whole + size, parts[i].iov_base, parts[i].iov_len);
  written = write_any (fd, whole, size, offset);
  free (whole);
  return written;
}

PUBLIC ssize_t
writev (int                 fd,
        const struct iovec *parts,
        int                 n_parts)
{
  return writev_any (fd, parts, n_parts, -1);
}

PUBLIC ssize_t
pwritev (int                 fd,
         const struct iovec *parts,
         int                 n_parts,
         off_t               offset)
{
  return writev_any (fd, parts, n_parts, offset);
}
ALIAS (pwritev, pwritev64);

/* @mode: -1 for ftruncate, else that of fallocate. */
static int
resize_there (int   fd,
              off_t size,
              int   mode,
              off_t offset,
              off_t length)
{
  if (mode < 0)
    return syscall (SYS_ftruncate, fd, size);
  return syscall (SYS_fallocate, fd, mode, offset, length);
}

static int
refuse_resize (const struct stat *found,
               int                mode,
               off_t              end)
{
  off_t grown = mode >= 0 ? end - extent (found) : 0;

  if (mode > 0 && mode != FALLOC_FL_KEEP_SIZE)
    return EOPNOTSUPP;
  return grown > 0 && disk_space (grown) < (size_t) grown ? ENOSPC : 0;
}

static int
resize (int   fd,
        off_t size,
        int   mode,
        off_t offset,
        off_t length)
{
  struct stat found;
  int error, result;

  if (!disk_ready ())
    return resize_there (fd, size, mode, offset, length);
  disk_lock ();
  if (!disk_find (fd, &found, NULL))
    {
      disk_unlock ();
      return resize_there (fd, size, mode, offset, length);
    }
  error = disk_enter (DISK_WRITE);
  if (error == DISK_TORN)
    disk_die ();
  if (error == 0)
    error = refuse_resize (&found, mode, offset + length);
  result = error > 0 ? fail (error) : resize_there (fd, size, mode, offset, length);
  if (result == 0)
    fstat (fd, &found);
  disk_log (result == 0 ? 't' : 'n', found.st_ino, found.st_size, NULL, 0, NULL, 0);
  disk_unlock ();
  return result;
}

PUBLIC int
ftruncate (int   fd,
           off_t size)
{
  return resize (fd, size, -1, 0, 0);
}
ALIAS (ftruncate, ftruncate64);

PUBLIC int
truncate (const char *path,
          off_t       size)
{
  int fd = open (path, O_WRONLY | O_CLOEXEC);
  int result = fd < 0 ? -1 : ftruncate (fd, size);

  if (fd >= 0)
    syscall (SYS_close, fd);
  return result;
}
ALIAS (truncate, truncate64);

PUBLIC int
fallocate (int   fd,
           int   mode,
           off_t offset,
           off_t length)
{
  return resize (fd, 0, mode, offset, length);
}
ALIAS (fallocate, fallocate64);

PUBLIC int
posix_fallocate (int   fd,
                 off_t offset,
                 off_t length)
{
  int saved = errno;
  int error = resize (fd, 0, 0, offset, length) == 0 ? 0 : errno;

  errno = saved;
  return error;
}
ALIAS (posix_fallocate, posix_fallocate64);

/* ---- Syncs */

static int
sync_any (int  fd,
          long number)
{
  static uint64_t n_syncs;     /* under the lock */
  const char *directory = NULL;
  struct stat found;
  uint64_t n;
  int error;

  if (!disk_ready ())
    return syscall (number, fd);
  disk_lock ();
  if (!disk_find (fd, &found, &directory))
    {
      disk_unlock ();
      return syscall (number, fd);
    }
  error = disk_enter (DISK_SYNC);
  if (disk_syncs ())
    {
      n = ++n_syncs;
      if (directory != NULL)
        disk_log ('B', 0, n, directory, strlen (directory), NULL, 0);
      else
        disk_log ('b', found.st_ino, n, NULL, 0, NULL, 0);
      /* Others may write meanwhile. */
      disk_unlock ();
      disk_lock ();
      disk_log (error > 0 ? 'f' : 'e', 0, n, NULL, 0, NULL, 0);
    }
  disk_unlock ();
  return error > 0 ? fail (error) : 0;
}

PUBLIC int
fsync (int fd)
{
  return sync_any (fd, SYS_fsync);
}

PUBLIC int
fdatasync (int fd)
{
  return sync_any (fd, SYS_fdatasync);
}
