/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `put KEY -`: an event for each line of the standard input. */

#include "evbusctl.h"
#include "evbusctl-bus.h"
#include "evbusctl-output.h"
#include "evbusctl-sender.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHUNK           (64u * 1024u)
#define TICK_MS         200u

typedef struct {
  gboolean gvariant;

  EvbusctlSender *sender;
  GMainLoop *loop;

  GByteArray *input;     /* what was read */
  gsize taken;           /* how much of it is done with */
  gsize scanned;         /* how much of it after that has no line's end */
  gboolean skipping;     /* up to the end of a line that was refused for its length */
  guint64 line;
  guint read_source;
  gboolean closed;       /* nothing more is read: the end, or a reason to give up */

  gint64 started;
  int status;            /* of what ended it, if not the input's end */
} Stream;

static void fill_window (Stream *self);

/* Takes no more lines; what was taken is still put. */
static void
stream_close (Stream *self,
              int     status)
{
  g_clear_handle_id (&self->read_source, g_source_remove);
  self->closed = TRUE;
  if (self->status == EVBUSCTL_OK)
    self->status = status;
}

/* No more lines where there is no use in them. */
static void
close_if_given_up (Stream *self)
{
  int status = evbusctl_sender_get_tally (self->sender).status;

  if (status != EVBUSCTL_OK)
    stream_close (self, status);
}

static void
on_progressed (gpointer sender,
               gpointer user_data)
{
  close_if_given_up (user_data);
  fill_window (user_data);
}

static void
take_line (Stream     *self,
           const char *text,
           gsize       length)
{
  g_auto(EvbusctlBody) body = { NULL };
  GError *error = NULL;

  self->line++;
  while (length > 0 && g_ascii_isspace (text[length - 1]))
    length--;
  while (length > 0 && g_ascii_isspace (*text))
    {
      text++;
      length--;
    }
  if (length == 0)
    return;

  evbusctl_body_parse (&body, text, length, self->gvariant, &error);
  evbusctl_sender_add (self->sender, self->line, &body, error);
}

/* Not for each line, which would move what stands behind it. */
static void
drop_taken (Stream *self)
{
  g_byte_array_remove_range (self->input, 0, self->taken);
  self->taken = 0;
}

static void
drop_scanned (Stream *self)
{
  self->taken += self->scanned;
  self->scanned = 0;
  drop_taken (self);
}

/* What has no end yet is too long already: the rest of it is not kept. */
static void
refuse_long_line (Stream *self)
{
  EvbusctlBody none = { NULL };

  self->line++;
  self->skipping = TRUE;
  drop_scanned (self);
  evbusctl_sender_add (self->sender, self->line, &none,
                       g_error_new (EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE, "longer than the %u MiB that D-Bus can carry",
                                    EVBUSCTL_MAX_BODY / 1024 / 1024));
}

/* Takes one line out of what was read. FALSE: there is no whole one. */
static gboolean
take_next (Stream *self,
           gboolean at_end)
{
  const char *text = (const char *) self->input->data + self->taken;
  gsize size = self->input->len - self->taken;
  const char *end = NULL;
  gsize length;

  if (size > self->scanned)
    end = memchr (text + self->scanned, '\n', size - self->scanned);

  if (end == NULL)
    {
      self->scanned = size;
      if (!at_end || size == 0)
        return FALSE;
      end = text + size;
    }

  length = end - text;
  if (!self->skipping)
    take_line (self, text, length);
  self->skipping = FALSE;
  self->taken += MIN (length + 1, size);
  self->scanned = 0;

  return TRUE;
}

static gboolean
on_readable (int          fd,
             GIOCondition condition,
             gpointer     user_data)
{
  Stream *self = user_data;
  guint8 buffer[CHUNK];
  gssize n;

  n = read (fd, buffer, sizeof buffer);
  if (n < 0 && (errno == EINTR || errno == EAGAIN))
    return G_SOURCE_CONTINUE;

  self->read_source = 0;
  if (n < 0)
    {
      evbusctl_error ("cannot read the input: %s", g_strerror (errno));
      stream_close (self, EVBUSCTL_FAILED);
    }
  else if (n == 0)
    {
      while (take_next (self, TRUE))
        ;
      stream_close (self, EVBUSCTL_OK);
    }
  else
    {
      drop_taken (self);
      g_byte_array_append (self->input, buffer, n);
    }

  fill_window (self);

  return G_SOURCE_REMOVE;
}

static void
fill_window (Stream *self)
{
  while (!self->closed && !evbusctl_sender_is_full (self->sender) && take_next (self, FALSE))
    ;

  if (!self->closed && self->skipping)
    drop_scanned (self);
  else if (!self->closed && self->scanned > EVBUSCTL_MAX_BODY)
    refuse_long_line (self);

  if (self->closed && evbusctl_sender_is_idle (self->sender))
    g_main_loop_quit (self->loop);
  else if (!self->closed && !evbusctl_sender_is_full (self->sender) && self->read_source == 0)
    self->read_source = g_unix_fd_add (STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, self);
}

static gboolean
on_tick (gpointer user_data)
{
  Stream *self = user_data;

  fflush (stdout);
  if (evbusctl_progress_wanted ())
    evbusctl_progress (evbusctl_sender_get_tally (self->sender).n_put, self->started);

  evbusctl_sender_check_silence (self->sender);
  close_if_given_up (self);

  return G_SOURCE_CONTINUE;
}

/* A second signal, while the answers are waited for, is not handled any more
 * and ends the process at once. */
static gboolean
on_signal (gpointer user_data)
{
  Stream *self = user_data;

  stream_close (self, EVBUSCTL_INTERRUPTED);
  fill_window (self);

  return G_SOURCE_REMOVE;
}

static int
stream_result (Stream *self)
{
  EvbusctlTally tally = evbusctl_sender_get_tally (self->sender);

  evbusctl_progress_clear ();

  if (tally.n_unseen > 0)
    evbusctl_error ("%" G_GUINT64_FORMAT " more refusals are not shown", tally.n_unseen);

  if (tally.n_refused > 0 || self->status != EVBUSCTL_OK)
    {
      g_autofree char *unanswered = NULL;

      if (tally.n_unanswered > 0)
        unanswered = g_strdup_printf (", %" G_GUINT64_FORMAT " without an answer", tally.n_unanswered);
      evbusctl_error ("%" G_GUINT64_FORMAT " events put, %" G_GUINT64_FORMAT " refused%s, of %"
                      G_GUINT64_FORMAT " lines read", tally.n_put, tally.n_refused,
                      unanswered != NULL ? unanswered : "", self->line);
    }
  else if (evbusctl_progress_wanted ())
    fprintf (stderr, "%" G_GUINT64_FORMAT " events put\n", tally.n_put);

  if (self->status != EVBUSCTL_OK)
    return self->status;

  return tally.n_refused > 0 ? EVBUSCTL_FAILED : EVBUSCTL_OK;
}

int
evbusctl_put_stream (const char *routing_key,
                     const char *profile,
                     gboolean    gvariant)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(EvbusctlSender) sender = NULL;
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr(GByteArray) input = g_byte_array_new ();
  g_autoptr(GError) error = NULL;
  Stream self = { gvariant, NULL, loop, input };

  bus = evbusctl_bus_open (&error);
  if (bus == NULL)
    return evbusctl_bus_report (error);

  sender = evbusctl_sender_new (bus, routing_key, profile, on_progressed, &self);
  self.sender = sender;
  self.started = g_get_monotonic_time ();
  g_unix_signal_add (SIGINT, on_signal, &self);
  g_unix_signal_add (SIGTERM, on_signal, &self);
  g_timeout_add (TICK_MS, on_tick, &self);

  fill_window (&self);
  if (!self.closed)
    g_main_loop_run (loop);

  return stream_result (&self);
}
