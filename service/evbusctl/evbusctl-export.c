/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `dead show` and `dead export`: the service writes the lines into a pipe, from which they are
 * passed on. Where standard output takes nothing, so the service waits. */

#include "evbusctl-export.h"

#include "evbusctl-output.h"

#include <errno.h>
#include <gio/gunixfdlist.h>
#include <glib-unix.h>
#include <stdio.h>
#include <unistd.h>

/* What a pipe holds. */
#define CHUNK_BYTES (64 * 1024)

typedef struct {
  GMainLoop *loop;
  int        lines;      /* the end that is read; -1: it was read to its end */
  gboolean   answered;
  GVariant  *reply;
  GError    *error;
} Export;

static void
quit_when_done (Export *self)
{
  if (self->answered && self->lines < 0)
    g_main_loop_quit (self->loop);
}

/* Standard output may be the terminal, too. */
static void
on_progress (GDBusConnection *connection,
             const char      *sender,
             const char      *path,
             const char      *interface,
             const char      *signal,
             GVariant        *parameters,
             gpointer         data)
{
  guint64 n_done;
  guint64 n_total;

  if (!evbusctl_progress_wanted () || isatty (STDOUT_FILENO) ||
      !g_variant_is_of_type (parameters, G_VARIANT_TYPE ("(tt)")))
    return;

  g_variant_get (parameters, "(tt)", &n_done, &n_total);
  evbusctl_progress_of (n_done, MAX (n_done, n_total));
}

static void
on_answer (GObject      *connection,
           GAsyncResult *result,
           gpointer      data)
{
  Export *self = data;

  self->reply = g_dbus_connection_call_with_unix_fd_list_finish (G_DBUS_CONNECTION (connection), NULL, result,
                                                                 &self->error);
  self->answered = TRUE;
  quit_when_done (self);
}

/* Who reads no further has the service end its work. */
static gboolean
on_lines (int          fd,
          GIOCondition condition,
          gpointer     data)
{
  Export *self = data;
  char chunk[CHUNK_BYTES];
  ssize_t size = read (fd, chunk, sizeof chunk);

  if (size < 0 && errno == EINTR)
    return G_SOURCE_CONTINUE;
  if (size > 0 && evbusctl_write (chunk, size))
    return G_SOURCE_CONTINUE;

  close (self->lines);
  self->lines = -1;
  quit_when_done (self);
  return G_SOURCE_REMOVE;
}

static void
call (Export      *self,
      EvbusctlBus *bus,
      const char  *route,
      GArray      *numbers,
      int          lines)
{
  g_autoptr(GUnixFDList) list = g_unix_fd_list_new_from_array (&lines, 1);

  g_dbus_connection_call_with_unix_fd_list (evbusctl_bus_get_connection (bus), EVBUSCTL_BUS_NAME,
                                            EVBUSCTL_OBJECT_PATH, EVBUSCTL_BUS_NAME ".Manager", "ExportDead",
                                            g_variant_new ("(s@axh)", route != NULL ? route : "",
                                                           g_variant_new_fixed_array (G_VARIANT_TYPE_INT64, numbers->data,
                                                                                      numbers->len, sizeof (gint64)), 0),
                                            G_VARIANT_TYPE ("(t)"), G_DBUS_CALL_FLAGS_NO_AUTO_START, G_MAXINT,
                                            list, NULL, on_answer, self);
}

gboolean
evbusctl_export (EvbusctlBus  *bus,
                 const char   *route,
                 GArray       *numbers,
                 GError      **error)
{
  GDBusConnection *connection = evbusctl_bus_get_connection (bus);
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Export self = { .loop = loop };
  guint subscription;
  int ends[2];

  if (!g_unix_open_pipe (ends, FD_CLOEXEC, error))
    return FALSE;

  self.lines = ends[0];
  g_unix_fd_add (self.lines, G_IO_IN | G_IO_HUP | G_IO_ERR, on_lines, &self);
  subscription = g_dbus_connection_signal_subscribe (connection, EVBUSCTL_BUS_NAME, EVBUSCTL_BUS_NAME ".Manager",
                                                     "DeadProgress", EVBUSCTL_OBJECT_PATH, NULL,
                                                     G_DBUS_SIGNAL_FLAGS_NO_MATCH_RULE, on_progress, &self, NULL);
  call (&self, bus, route, numbers, ends[1]);
  g_main_loop_run (loop);
  g_dbus_connection_signal_unsubscribe (connection, subscription);
  evbusctl_progress_clear ();
  g_clear_pointer (&self.reply, g_variant_unref);

  /* That the service has no reader any more is nothing to tell, then. */
  if (self.error == NULL || ferror (stdout))
    {
      g_clear_error (&self.error);
      return TRUE;
    }
  g_propagate_error (error, self.error);
  return FALSE;
}
