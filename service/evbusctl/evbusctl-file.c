/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusctl.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Returns: (transfer full): what is in it, or somewhat more than @max bytes where there are
 * more. Not g_file_get_contents(): the file may be a pipe or a device, and endless. */
GByteArray *
evbusctl_read_file (const char  *path,
                    gsize        max,
                    GError     **error)
{
  g_autoptr(GByteArray) content = g_byte_array_new ();
  guint8 buffer[64 * 1024];
  gssize n = 1;
  int fd;
  int code;

  fd = open (path, O_RDONLY | O_CLOEXEC);
  while (fd >= 0 && n > 0 && content->len <= max)
    {
      n = read (fd, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR)
        n = 1;
      else if (n > 0)
        g_byte_array_append (content, buffer, n);
    }

  code = errno;
  if (fd >= 0)
    close (fd);

  if (fd < 0 || n < 0)
    {
      g_set_error (error, G_FILE_ERROR, g_file_error_from_errno (code),
                   "cannot read %s: %s", path, g_strerror (code));
      return NULL;
    }

  return g_steal_pointer (&content);
}
