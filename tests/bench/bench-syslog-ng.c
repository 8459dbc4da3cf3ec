/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bench-syslog-ng.h"

#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

#include "bench.h"

#define LINES_A_WRITE 64
#define TIMEOUT (60 * G_TIME_SPAN_SECOND)

#define SYSLOG_NG "/usr/sbin/syslog-ng"

/* Windows and buffers large enough not to hold it up, and as many lines at once as there are. Who
 * wrote a line is not looked up. */
#define CONF \
  "@version: 3.38\n" \
  "options { log-fifo-size(100000); };\n" \
  "source lines {\n" \
  "  unix-stream('%s' flags(no-parse) max-connections(1) log-iw-size(100000) log-fetch-limit(1000) so-passcred(no));\n" \
  "};\n" \
  "destination server { %s; };\n" \
  "log { source(lines); destination(server); flags(flow-control); };\n"

struct _BenchSyslogNg
{
  char               folder[sizeof "bench-syslog-ng-XXXXXX"];   /* relative: the path of a socket has to be short */
  GSubprocess       *process;
  GSocketConnection *lines;
};

/* It is ready once it listens. */
static gboolean
connect_to (BenchSyslogNg  *self,
            const char     *socket,
            GError        **error)
{
  g_autoptr (GSocketAddress) address = g_unix_socket_address_new (socket);
  g_autoptr (GSocketClient) client = g_socket_client_new ();
  gint64 deadline = g_get_monotonic_time () + TIMEOUT;

  while ((self->lines = g_socket_client_connect (client, G_SOCKET_CONNECTABLE (address), NULL, error)) == NULL &&
         g_subprocess_get_identifier (self->process) != NULL && g_get_monotonic_time () < deadline)
    {
      g_clear_error (error);
      g_usleep (10 * 1000);   /* poll, with the deadline above */
    }
  if (self->lines == NULL)
    g_prefix_error (error, "%s does not listen; what it says of that is above: ", SYSLOG_NG);
  return self->lines != NULL;
}

static gboolean
start (BenchSyslogNg  *self,
       const char     *destination,
       GError        **error)
{
  g_autofree char *socket = g_build_filename (self->folder, "socket", NULL);
  g_autofree char *folder = g_canonicalize_filename (self->folder, NULL);
  g_autofree char *conf = g_build_filename (folder, "conf", NULL);
  g_autofree char *persist = g_build_filename (folder, "persist", NULL);
  g_autofree char *pid = g_build_filename (folder, "pid", NULL);
  g_autofree char *control = g_build_filename (folder, "control", NULL);
  g_autofree char *text = g_strdup_printf (CONF, socket, destination);

  if (!g_file_set_contents (conf, text, -1, error))
    return FALSE;
  self->process = g_subprocess_new (G_SUBPROCESS_FLAGS_NONE, error, SYSLOG_NG, "--foreground", "--no-caps",
                                    "--cfgfile", conf, "--persist-file", persist, "--pidfile", pid,
                                    "--control", control, NULL);
  return self->process != NULL && connect_to (self, socket, error);
}

BenchSyslogNg *
bench_syslog_ng_start (const char  *destination,
                       GError     **error)
{
  BenchSyslogNg *self = g_new0 (BenchSyslogNg, 1);

  strcpy (self->folder, "bench-syslog-ng-XXXXXX");
  if (g_mkdtemp (self->folder) == NULL)
    g_error ("%s: %s", self->folder, g_strerror (errno));
  if (start (self, destination, error))
    return self;
  bench_syslog_ng_stop (self);
  return NULL;
}

gboolean
bench_syslog_ng_write (BenchSyslogNg  *self,
                       guint           n_lines,
                       gsize           size,
                       GError        **error)
{
  GOutputStream *out = g_io_stream_get_output_stream (G_IO_STREAM (self->lines));
  g_autofree char *lines = g_strnfill (LINES_A_WRITE * (size + 1), 'x');
  guint n;

  for (guint i = 1; i <= LINES_A_WRITE; i++)
    lines[i * (size + 1) - 1] = '\n';
  for (; n_lines > 0; n_lines -= n)
    {
      n = MIN (n_lines, LINES_A_WRITE);
      if (!g_output_stream_write_all (out, lines, n * (size + 1), NULL, NULL, error))
        return FALSE;
    }
  return TRUE;
}

void
bench_syslog_ng_stop (BenchSyslogNg *self)
{
  g_clear_object (&self->lines);
  if (self->process != NULL)
    {
      g_subprocess_send_signal (self->process, SIGTERM);
      g_subprocess_wait (self->process, NULL, NULL);
    }
  g_clear_object (&self->process);
  bench_remove_folder (self->folder);
  g_free (self);
}
