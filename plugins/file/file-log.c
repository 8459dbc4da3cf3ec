/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "file-log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_START   "{\"id\":"   /* of each line that we write */
#define LOCK_POLL_MS 2

void
file_log_init (FileLog    *self,
               const char *path)
{
  memset (self, 0, sizeof *self);
  self->fd = -1;
  self->path = g_canonicalize_filename (path, NULL);
}

static void
close_file (FileLog *self)
{
  if (self->fd >= 0)
    close (self->fd);
  self->fd = -1;
}

void
file_log_clear (FileLog *self)
{
  close_file (self);
  g_clear_pointer (&self->path, g_free);
}

/* What only a person can mend. */
static const struct {
  int         code;
  const char *advice;
} broken[] = {
  { ENOENT, "its folder must exist; evbus makes no folders" },
  { ENOTDIR, "a part of the path is not a folder" },
  { ELOOP, "it is a symbolic link; name the file itself" },
  { EISDIR, "name a file in that folder" },
  { ENXIO, "only a regular file will do" },
  { ENODEV, "only a regular file will do" },
  { EACCES, "the user of this process needs write permission" },
  { EPERM, "the user of this process needs write permission" },
  { EROFS, "choose a place that can be written to" },
  { ENAMETOOLONG, "choose a shorter name" },
};

static gboolean
set_error (FileLog     *self,
           const char  *what,
           int          code,
           GError     **error)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (broken); i++)
    {
      if (broken[i].code == code)
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "Cannot %s %s: %s; %s",
                       what, self->path, g_strerror (code), broken[i].advice);
          return FALSE;
        }
    }

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "Cannot %s %s: %s",
               what, self->path, g_strerror (code));
  return FALSE;
}

/* Two routes, or two processes, may write to the same file: what one of them
 * cuts off must be its own. A file system without locks is trusted to have no
 * second writer. */
static gboolean
lock_file (FileLog       *self,
           GCancellable  *cancellable,
           GError       **error)
{
  while (flock (self->fd, LOCK_EX | LOCK_NB) < 0)
    {
      if (errno == ENOLCK || errno == EOPNOTSUPP)
        return TRUE;

      if (errno != EWOULDBLOCK && errno != EINTR)
        return set_error (self, "lock", errno, error);

      if (g_cancellable_is_cancelled (cancellable))
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT,
                       "Cannot lock %s: somebody else keeps it locked", self->path);
          return FALSE;
        }

      g_usleep (LOCK_POLL_MS * 1000);
    }

  return TRUE;
}

static void
unlock_file (FileLog *self)
{
  if (self->fd >= 0)
    flock (self->fd, LOCK_UN);
}

/* A rename or a new file is only there after a power failure once its folder
 * is written. */
static gboolean
sync_folder (FileLog  *self,
             GError  **error)
{
  g_autofree char *folder = g_path_get_dirname (self->path);
  gboolean done;
  int fd;

  if (!self->sync)
    return TRUE;

  fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return set_error (self, "write the folder of", errno, error);

  done = fsync (fd) == 0 || errno == EINVAL;
  if (!done)
    set_error (self, "write the folder of", errno, error);
  close (fd);

  return done;
}

static gboolean
open_file (FileLog  *self,
           GError  **error)
{
  struct stat st;

  /* O_NONBLOCK: or a FIFO would block us. */
  self->fd = open (self->path,
                   O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
                   0600);
  if (self->fd < 0)
    return set_error (self, "open", errno, error);

  if (fstat (self->fd, &st) < 0 || !S_ISREG (st.st_mode))
    {
      close_file (self);
      return set_error (self, "open", ENODEV, error);
    }

  return sync_folder (self, error);
}

/* Moved away by logrotate, or removed. */
static gboolean
is_current (FileLog     *self,
            struct stat *st)
{
  struct stat named;

  return fstat (self->fd, st) == 0 &&
         lstat (self->path, &named) == 0 &&
         named.st_dev == st->st_dev && named.st_ino == st->st_ino;
}

static gboolean
read_fully (int     fd,
            char   *buffer,
            gsize   size,
            goffset at)
{
  while (size > 0)
    {
      gssize n = pread (fd, buffer, size, at);

      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return FALSE;

      buffer += n;
      at += n;
      size -= n;
    }

  return TRUE;
}

/* Returns: where the last line begins, or -1 if the file cannot be read. */
static goffset
find_last_line (FileLog *self,
                goffset  end)
{
  char buffer[4096];

  while (end > 0)
    {
      gsize size = MIN (end, (goffset) sizeof buffer);
      const char *newline;

      if (!read_fully (self->fd, buffer, size, end - size))
        return -1;

      newline = memrchr (buffer, '\n', size);
      if (newline != NULL)
        return end - size + (newline - buffer) + 1;

      end -= size;
    }

  return 0;
}

/* Whether a line lacks nothing but its end. One that cannot be read is not
 * ours to judge. */
static gboolean
is_whole_line (FileLog *self,
               goffset  start,
               goffset  end)
{
  gsize size = end - start;
  g_autofree guint8 *line = NULL;
  guint8 last;

  /* Nearly all that is torn is seen by that, however long it is. */
  if (!read_fully (self->fd, (char *) &last, 1, end - 1) ||
      last == '\0' || strchr ("} \t\r", last) == NULL)
    return FALSE;

  line = g_try_malloc (size);
  return line == NULL || !read_fully (self->fd, (char *) line, size, start) ||
         evbus_json_validate (line, size, NULL);
}

/* Whether the bytes from @start look like a line of ours that was torn: they
 * begin like one, or are what a file system leaves after a power failure. */
static gboolean
is_torn_line (FileLog *self,
              goffset  start,
              goffset  end)
{
  char head[sizeof LINE_START - 1];
  gsize size = MIN (end - start, (goffset) sizeof head);

  return read_fully (self->fd, head, size, start) &&
         (memcmp (head, LINE_START, size) == 0 || head[0] == '\0') &&
         !is_whole_line (self, start, end);
}

/* With the lock. The event of a torn line was never confirmed and comes again,
 * so the line goes: whoever tore it, what we append must not become a part of it.
 * A file that we did not write loses nothing. */
static gboolean
repair (FileLog      *self,
        struct stat  *st,
        GError      **error)
{
  goffset start;
  char last;

  if (st->st_size == 0)
    return TRUE;
  if (!read_fully (self->fd, &last, 1, st->st_size - 1))
    return set_error (self, "read", errno, error);
  if (last == '\n')
    return TRUE;

  start = find_last_line (self, st->st_size);
  if (start < 0)
    return set_error (self, "read", errno, error);

  if (!is_torn_line (self, start, st->st_size))
    {
      if (write (self->fd, "\n", 1) != 1)
        return set_error (self, "end the last line of", errno, error);
      st->st_size++;
      return TRUE;
    }

  if (ftruncate (self->fd, start) < 0)
    return set_error (self, "cut the torn last line off", errno, error);

  g_message ("%s: cut off a torn last line of %" G_GOFFSET_FORMAT " bytes",
             self->path, (goffset) st->st_size - start);
  st->st_size = start;
  return TRUE;
}

/* Opens the file if it is not open or not there any more, locks it, and repairs
 * its last line. */
static gboolean
acquire (FileLog       *self,
         struct stat   *st,
         GCancellable  *cancellable,
         GError       **error)
{
  for (;;)
    {
      if (self->fd < 0 && !open_file (self, error))
        return FALSE;
      if (!lock_file (self, cancellable, error))
        return FALSE;
      if (is_current (self, st))
        {
          if (repair (self, st, error))
            return TRUE;

          close_file (self);
          return FALSE;
        }

      close_file (self);
    }
}

static gint64
get_age (FileLog *self)
{
  struct statx stx;

  if (statx (self->fd, "", AT_EMPTY_PATH, STATX_BTIME | STATX_MTIME, &stx) < 0)
    return 0;

  if ((stx.stx_mask & STATX_BTIME) == 0)
    stx.stx_btime = stx.stx_mtime;

  return g_get_real_time () -
         (stx.stx_btime.tv_sec * G_USEC_PER_SEC + stx.stx_btime.tv_nsec / 1000);
}

static gboolean
must_rotate (FileLog *self,
             goffset  size,
             gsize    more)
{
  if (size == 0)
    return FALSE;

  return (self->rotate_size > 0 && (guint64) size + more > self->rotate_size) ||
         (self->rotate_age > 0 && get_age (self) >= self->rotate_age);
}

static char *
rotated_name (FileLog *self,
              guint    number)
{
  return number == 0 ? g_strdup (self->path) : g_strdup_printf ("%s.%u", self->path, number);
}

/* There are such after `keep` was lowered. */
static void
delete_beyond_keep (FileLog *self)
{
  for (guint n = self->keep + 1;; n++)
    {
      g_autofree char *name = rotated_name (self, n);

      if (unlink (name) < 0)
        return;
    }
}

/* PATH becomes PATH.1, that PATH.2, and so on up to the first gap. */
static gboolean
rotate (FileLog  *self,
        GError  **error)
{
  struct stat st;
  guint n;

  for (n = 1; n < self->keep; n++)
    {
      g_autofree char *name = rotated_name (self, n);

      if (lstat (name, &st) < 0)
        break;
    }

  for (; n > 0; n--)
    {
      g_autofree char *from = rotated_name (self, n - 1);
      g_autofree char *to = rotated_name (self, n);

      if (rename (from, to) < 0)
        return set_error (self, "rotate", errno, error);
    }

  delete_beyond_keep (self);
  return sync_folder (self, error);
}

static gboolean
write_fully (int         fd,
             const char *data,
             gsize       size)
{
  while (size > 0)
    {
      gssize n = write (fd, data, size);

      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        return FALSE;

      data += n;
      size -= n;
    }

  return TRUE;
}

/* With the lock: either all of the lines are in the file, or none. */
static gboolean
append_locked (FileLog     *self,
               goffset      end,
               const char  *lines,
               gsize        size,
               GError     **error)
{
  int code;

  if (write_fully (self->fd, lines, size) &&
      (!self->sync || fdatasync (self->fd) == 0))
    return TRUE;

  code = errno;
  /* If even that fails, the next to append repairs it. */
  if (ftruncate (self->fd, end) < 0)
    close_file (self);

  return set_error (self, "append to", code, error);
}

/* Makes the file if there is none. */
gboolean
file_log_open (FileLog       *self,
               GCancellable  *cancellable,
               GError       **error)
{
  struct stat st;

  close_file (self);
  if (!acquire (self, &st, cancellable, error))
    return FALSE;

  unlock_file (self);
  return TRUE;
}

gboolean
file_log_append (FileLog       *self,
                 const char    *lines,
                 gsize          size,
                 GCancellable  *cancellable,
                 GError       **error)
{
  struct stat st;
  gboolean done;

  if (!acquire (self, &st, cancellable, error))
    return FALSE;

  if (must_rotate (self, st.st_size, size))
    {
      done = rotate (self, error);
      close_file (self);
      if (!done || !acquire (self, &st, cancellable, error))
        return FALSE;
    }

  done = append_locked (self, st.st_size, lines, size, error);
  unlock_file (self);

  return done;
}
