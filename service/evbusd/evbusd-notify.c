/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The notification protocol of systemd (sd_notify(3)): one datagram to the
 * socket named in the environment. It is done here, because libsystemd and the
 * six libraries for compression and cryptography that it brings add 0.9 MiB
 * resident to the 7 MiB of this program. */

#include "evbusd-notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* An "@" stands for the NUL byte of the abstract namespace. */
static gboolean
get_address (struct sockaddr_un *address,
             socklen_t          *length)
{
  const char *path = g_getenv ("NOTIFY_SOCKET");
  gsize n = path != NULL ? strlen (path) : 0;

  if (n < 2 || n >= sizeof (address->sun_path) || (path[0] != '/' && path[0] != '@'))
    return FALSE;

  memset (address, 0, sizeof (*address));
  address->sun_family = AF_UNIX;
  memcpy (address->sun_path, path, n);
  if (path[0] == '@')
    address->sun_path[0] = '\0';
  *length = offsetof (struct sockaddr_un, sun_path) + n;
  return TRUE;
}

/* Tells the service manager, if there is one. */
void
evbusd_notify (const char *state)
{
  struct sockaddr_un address;
  socklen_t length;
  int fd;

  if (!get_address (&address, &length))
    return;

  fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || sendto (fd, state, strlen (state), MSG_NOSIGNAL, (struct sockaddr *) &address, length) < 0)
    g_warning ("cannot notify the service manager at %s: %s", g_getenv ("NOTIFY_SOCKET"), g_strerror (errno));

  if (fd >= 0)
    close (fd);
}

/* How much longer (microseconds) the service manager waits, from each sign of progress on. */
#define EXTEND_US "90000000"

/* The start goes on. */
void
evbusd_notify_starting (const char *what)
{
  g_autofree char *state = g_strdup_printf ("EXTEND_TIMEOUT_USEC=" EXTEND_US "\nSTATUS=%s", what);

  evbusd_notify (state);
}

void
evbusd_notify_reloading (void)
{
  g_autofree char *state = NULL;

  state = g_strdup_printf ("RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time ());
  evbusd_notify (state);
}

/* How often (microseconds) the service manager wants to hear of this process,
 * or 0: half of the time after which it would take it for dead. */
gint64
evbusd_notify_watchdog (void)
{
  const char *interval = g_getenv ("WATCHDOG_USEC");
  const char *pid = g_getenv ("WATCHDOG_PID");
  guint64 usec = 0;
  guint64 watched;

  if (interval == NULL || !g_ascii_string_to_unsigned (interval, 10, 1, G_MAXINT64, &usec, NULL))
    return 0;

  if (pid != NULL &&
      (!g_ascii_string_to_unsigned (pid, 10, 1, G_MAXINT32, &watched, NULL) || watched != (guint64) getpid ()))
    return 0;

  return usec / 2;
}
