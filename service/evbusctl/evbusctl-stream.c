/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `put KEY -`: an event for each line of the standard input.
 *
 * PutMany would be the fewest messages, but its bodies are values, without a
 * content type, and JSON does not survive being made one (see evbusctl-body.c);
 * and it accepts all of its events or none, so that one bad line would cost its
 * neighbours. So each line is a PutWithOptions of its own, with many of them
 * under way: a connection keeps its messages in order, and the service takes a
 * sender's events in the order of its calls. */

#include "evbusctl.h"
#include "evbusctl-bus.h"
#include "evbusctl-output.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_EVENTS   256u
#define WINDOW_BYTES    (8u * 1024u * 1024u)
#define CHUNK           (64u * 1024u)
#define REPORTED        20u      /* refusals shown one by one, the others counted */
#define TICK_MS         200u

typedef struct {
  const char *routing_key;
  const char *profile;
  gboolean gvariant;

  EvbusctlBus *bus;
  GMainLoop *loop;
  GCancellable *cancellable;

  GByteArray *input;     /* read and not taken yet */
  gsize scanned;         /* how much of it has no line's end */
  gboolean skipping;     /* up to the end of a line that was refused for its length */
  guint64 line;
  guint read_source;
  gboolean closed;       /* nothing more is read: the end, or a reason to give up */

  GQueue pending;        /* of Put, in the order of the lines */
  guint in_flight;
  gsize bytes;
  guint64 n_put;
  guint64 n_refused;
  guint64 n_unanswered;  /* put or not: nobody knows */
  guint64 n_bad;         /* refused for what they are; the first are shown */
  gint64 started;
  gint64 last_answer;
  int status;            /* of what ended it, if not the input's end */
} Stream;

typedef struct {
  Stream *stream;
  guint64 line;
  gsize size;
  gboolean answered;
  char *id;
  GError *error;
} Put;

static void fill_window (Stream *self);

static void
put_free (Put *put)
{
  g_free (put->id);
  g_clear_error (&put->error);
  g_free (put);
}

/* Takes no more lines; what is under way is still waited for. */
static void
stream_close (Stream *self,
              int     status)
{
  g_clear_handle_id (&self->read_source, g_source_remove);
  self->closed = TRUE;
  if (self->status == EVBUSCTL_OK)
    self->status = status;
}

/* A refusal of this one event says nothing of the next; any other reason would
 * meet every line, or wait ten seconds for each. */
static gboolean
concerns_the_event_alone (const GError *error)
{
  return g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY) ||
         g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE);
}

static gboolean
outcome_is_unknown (const GError *error)
{
  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED) ||
         g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CLOSED) ||
         g_error_matches (error, G_DBUS_ERROR, G_DBUS_ERROR_NO_REPLY);
}

static void
report_refusal (Stream *self,
                Put    *put)
{
  gboolean unknown = outcome_is_unknown (put->error);

  if (unknown)
    self->n_unanswered++;
  else
    self->n_refused++;

  if (concerns_the_event_alone (put->error))
    {
      g_dbus_error_strip_remote_error (put->error);
      if (++self->n_bad <= REPORTED)
        evbusctl_error ("line %" G_GUINT64_FORMAT ": %s", put->line, put->error->message);
    }
  else if (!self->closed || self->status == EVBUSCTL_OK)
    {
      evbusctl_error ("line %" G_GUINT64_FORMAT ": %s; no more lines are read",
                      put->line, unknown ? "without an answer" : "not put");
      stream_close (self, evbusctl_bus_report (put->error));
    }
}

/* Ids and refusals come out in the order of the lines, whatever order the
 * answers came in. */
static void
report_answers (Stream *self)
{
  while (!g_queue_is_empty (&self->pending))
    {
      Put *put = g_queue_peek_head (&self->pending);

      if (!put->answered)
        return;

      g_queue_pop_head (&self->pending);
      if (put->id != NULL)
        {
          self->n_put++;
          if (isatty (STDOUT_FILENO))
            evbusctl_progress_clear ();
          puts (put->id);
        }
      else
        {
          report_refusal (self, put);
        }

      put_free (put);
    }
}

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      user_data)
{
  Put *put = user_data;
  Stream *self = put->stream;

  put->id = evbusctl_bus_put_finish (self->bus, result, &put->error);
  put->answered = TRUE;
  self->in_flight--;
  self->bytes -= put->size;
  self->last_answer = g_get_monotonic_time ();

  report_answers (self);
  fill_window (self);
}

static Put *
add_put (Stream *self)
{
  Put *put = g_new0 (Put, 1);

  put->stream = self;
  put->line = self->line;
  g_queue_push_tail (&self->pending, put);
  return put;
}

static void
take_line (Stream     *self,
           const char *text,
           gsize       length)
{
  g_auto(EvbusctlBody) body = { NULL };
  Put *put;

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

  put = add_put (self);
  if (!evbusctl_body_parse (&body, text, length, self->gvariant, &put->error))
    {
      put->answered = TRUE;
      report_answers (self);
      return;
    }

  if (self->in_flight == 0)
    self->last_answer = g_get_monotonic_time ();
  put->size = body.size;
  self->bytes += body.size;
  self->in_flight++;
  evbusctl_bus_put_async (self->bus, self->routing_key, body.value, self->profile, body.options,
                          self->cancellable, on_put, put);
}

static void
drop_scanned (Stream *self)
{
  g_byte_array_remove_range (self->input, 0, self->scanned);
  self->scanned = 0;
}

/* What has no end yet is too long already: the rest of it is not kept. */
static void
refuse_long_line (Stream *self)
{
  Put *put;

  self->line++;
  self->skipping = TRUE;
  drop_scanned (self);

  put = add_put (self);
  put->answered = TRUE;
  g_set_error (&put->error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE, "longer than the %u MiB that D-Bus can carry",
               EVBUSCTL_MAX_BODY / 1024 / 1024);
  report_answers (self);
}

static gboolean
window_full (Stream *self)
{
  return g_queue_get_length (&self->pending) >= WINDOW_EVENTS || self->bytes >= WINDOW_BYTES;
}

/* Takes one line out of what was read. FALSE: there is no whole one. */
static gboolean
take_next (Stream *self,
           gboolean at_end)
{
  const char *text = (const char *) self->input->data;
  const char *end = NULL;
  gsize length;

  if (self->input->len > self->scanned)
    end = memchr (text + self->scanned, '\n', self->input->len - self->scanned);

  if (end == NULL)
    {
      self->scanned = self->input->len;
      if (!at_end || self->input->len == 0)
        return FALSE;
      end = text + self->input->len;
    }

  length = end - text;
  if (!self->skipping)
    take_line (self, text, length);
  self->skipping = FALSE;
  g_byte_array_remove_range (self->input, 0, MIN (length + 1, self->input->len));
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
      g_byte_array_append (self->input, buffer, n);
    }

  fill_window (self);

  return G_SOURCE_REMOVE;
}

static void
fill_window (Stream *self)
{
  while (!self->closed && !window_full (self) && take_next (self, FALSE))
    ;

  if (!self->closed && self->skipping)
    drop_scanned (self);
  else if (!self->closed && self->scanned > EVBUSCTL_MAX_BODY)
    refuse_long_line (self);

  if (self->closed && self->in_flight == 0)
    g_main_loop_quit (self->loop);
  else if (!self->closed && !window_full (self) && self->read_source == 0)
    self->read_source = g_unix_fd_add (STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, self);
}

static gboolean
on_tick (gpointer user_data)
{
  Stream *self = user_data;
  gint64 silence = g_get_monotonic_time () - self->last_answer;

  fflush (stdout);
  if (evbusctl_progress_wanted ())
    evbusctl_progress (self->n_put, self->started);

  if (self->in_flight > 0 && silence > evbusctl_bus_get_timeout () * (gint64) 1000 &&
      !g_cancellable_is_cancelled (self->cancellable))
    {
      g_autoptr(GError) error = g_error_new (G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "silence");

      stream_close (self, evbusctl_bus_report (error));
      g_cancellable_cancel (self->cancellable);
    }

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
  evbusctl_progress_clear ();

  if (self->n_bad > REPORTED)
    evbusctl_error ("%" G_GUINT64_FORMAT " more refusals are not shown", self->n_bad - REPORTED);

  if (self->n_refused > 0 || self->status != EVBUSCTL_OK)
    {
      g_autofree char *unanswered = NULL;

      if (self->n_unanswered > 0)
        unanswered = g_strdup_printf (", %" G_GUINT64_FORMAT " without an answer", self->n_unanswered);
      evbusctl_error ("%" G_GUINT64_FORMAT " events put, %" G_GUINT64_FORMAT " refused%s, of %"
                      G_GUINT64_FORMAT " lines read", self->n_put, self->n_refused,
                      unanswered != NULL ? unanswered : "", self->line);
    }
  else if (evbusctl_progress_wanted ())
    fprintf (stderr, "%" G_GUINT64_FORMAT " events put\n", self->n_put);

  if (self->status != EVBUSCTL_OK)
    return self->status;

  return self->n_refused > 0 ? EVBUSCTL_FAILED : EVBUSCTL_OK;
}

int
evbusctl_put_stream (const char *routing_key,
                     const char *profile,
                     gboolean    gvariant)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GByteArray) input = g_byte_array_new ();
  g_autoptr(GError) error = NULL;
  Stream self = { routing_key, profile, gvariant, NULL, loop, cancellable, input };

  bus = evbusctl_bus_open (&error);
  if (bus == NULL)
    return evbusctl_bus_report (error);

  self.bus = bus;
  self.started = self.last_answer = g_get_monotonic_time ();
  g_queue_init (&self.pending);
  g_unix_signal_add (SIGINT, on_signal, &self);
  g_unix_signal_add (SIGTERM, on_signal, &self);
  g_timeout_add (TICK_MS, on_tick, &self);

  fill_window (&self);
  if (!self.closed)
    g_main_loop_run (loop);

  return stream_result (&self);
}
