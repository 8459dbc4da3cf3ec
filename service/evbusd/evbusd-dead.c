/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* org.evbus1.Manager: dead letters and orphaned routes. Each call is answered once
 * the broker has done its part; meanwhile it keeps its invocation. */

#include "evbusd-dead.h"

#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <gio/gunixoutputstream.h>
#include <glib-unix.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evbusd-watch.h"

/* Between two signals of a progress. */
#define PROGRESS_US (G_USEC_PER_SEC / 5)

/* Each has a thread, and up to a page of letters, for as long as its reader likes. */
#define MAX_EXPORTS 8u
#define MAX_EXPORTS_OF_CALLER 2u

struct _EvbusdDead
{
  EvbusBroker *broker;
  GPtrArray   *works;      /* Work; borrowed */
};

/* A reason may quote what a server said; D-Bus wants UTF-8. */
static void
return_error (GDBusMethodInvocation *invocation,
              GError                *error)
{
  g_autofree char *text = g_utf8_make_valid (error->message, -1);

  g_dbus_method_invocation_return_error_literal (invocation, error->domain, error->code, text);
  g_error_free (error);
}

static const char *
name_or_null (const char *name)
{
  return *name != '\0' ? name : NULL;
}

/* @event: nullable, as in all of these. */
static GVariant *
attributes_of (EvbusEvent *event)
{
  GVariant *attributes = event != NULL ? evbus_event_get_attributes (event) : NULL;

  return attributes != NULL ? attributes : g_variant_new ("a{ss}", NULL);
}

static GBytes *
body_of (EvbusEvent *event)
{
  return event != NULL ? evbus_event_get_body (event) : g_bytes_new (NULL, 0);
}

static void
add_text (GVariantBuilder *builder,
          EvbusEvent      *event,
          const char    *(*get) (EvbusEvent *event))
{
  g_variant_builder_add (builder, "s", event != NULL ? get (event) : "");
}

static void
add_letter (GVariantBuilder *builder,
            EvbusDeadLetter *letter,
            gboolean         with_body)
{
  EvbusEvent *event = evbus_dead_letter_get_event (letter);
  g_autoptr (GBytes) body = body_of (event);

  g_variant_builder_open (builder, G_VARIANT_TYPE (with_body ? "(xsxssxsssa{ss}ay)" : "(xsxssxssst)"));
  g_variant_builder_add (builder, "x", evbus_dead_letter_get_number (letter));
  g_variant_builder_add (builder, "s", evbus_dead_letter_get_route (letter));
  g_variant_builder_add (builder, "x", evbus_dead_letter_get_time (letter));
  g_variant_builder_add (builder, "s", evbus_dead_letter_get_reason (letter));
  add_text (builder, event, evbus_event_get_id);
  g_variant_builder_add (builder, "x", event != NULL ? evbus_event_get_time (event) : 0);
  add_text (builder, event, evbus_event_get_routing_key);
  add_text (builder, event, evbus_event_get_profile);
  add_text (builder, event, evbus_event_get_content_type);
  if (with_body)
    {
      g_variant_builder_add_value (builder, attributes_of (event));
      g_variant_builder_add_value (builder, g_variant_new_from_bytes (G_VARIANT_TYPE_BYTESTRING, body, TRUE));
    }
  else
    {
      g_variant_builder_add (builder, "t", (guint64) g_bytes_get_size (body));
    }
  g_variant_builder_close (builder);
}

static void
answer_list (GObject      *broker,
             GAsyncResult *result,
             gpointer      data)
{
  GDBusMethodInvocation *invocation = data;
  gboolean with_body = g_str_equal (g_dbus_method_invocation_get_method_name (invocation), "ReadDead");
  g_autoptr (GPtrArray) letters = NULL;
  GVariantBuilder builder;
  GError *error = NULL;

  letters = evbus_broker_list_dead_finish (EVBUS_BROKER (broker), result, &error);
  if (letters == NULL)
    {
      return_error (invocation, error);
      return;
    }

  g_variant_builder_init (&builder, G_VARIANT_TYPE (with_body ? "a(xsxssxsssa{ss}ay)" : "a(xsxssxssst)"));
  for (guint i = 0; i < letters->len; i++)
    add_letter (&builder, letters->pdata[i], with_body);
  g_dbus_method_invocation_return_value (invocation, g_variant_new ("(@*)", g_variant_builder_end (&builder)));
}

static gboolean
on_list (gpointer               skeleton,
         GDBusMethodInvocation *invocation,
         const char            *route,
         gint64                 after,
         guint                  max,
         EvbusdDead            *self)
{
  evbus_broker_list_dead_async (self->broker, name_or_null (route), after, max, NULL, answer_list, invocation);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

/* Work that a caller has under way. One reference is the answer's, and one that of
 * the progress, of which there may be some to tell still when the answer was given. */
typedef struct {
  EvbusdDead            *dead;
  GDBusMethodInvocation *invocation;  /* NULL: it is answered */
  GCancellable          *cancellable;
  EvbusdWatch           *watch;       /* of an export's caller; else NULL */
  gint64                 told;        /* monotonic: when it was told of the progress; 0: never */
} Work;

static const char *
get_caller (Work *work)
{
  return g_dbus_method_invocation_get_sender (work->invocation);
}

static void
tell_progress (Work    *work,
               guint64  done,
               guint64  total)
{
  g_dbus_connection_emit_signal (g_dbus_method_invocation_get_connection (work->invocation), get_caller (work),
                                 g_dbus_method_invocation_get_object_path (work->invocation),
                                 g_dbus_method_invocation_get_interface_name (work->invocation), "DeadProgress",
                                 g_variant_new ("(tt)", done, total), NULL);
}

static void
on_progress (goffset  done,
             goffset  total,
             gpointer data)
{
  Work *work = data;
  gint64 now = g_get_monotonic_time ();

  if (work->invocation == NULL || (work->told != 0 && now < work->told + PROGRESS_US))
    return;

  work->told = now;
  tell_progress (work, done, total);
}

static Work *
work_new (EvbusdDead            *self,
          GDBusMethodInvocation *invocation)
{
  Work *work = g_rc_box_new0 (Work);

  work->dead = self;
  work->invocation = invocation;
  work->cancellable = g_cancellable_new ();
  g_ptr_array_add (self->works, work);
  return work;
}

/* Answers the call. Takes @error, with which the answer cannot say how many were done. */
static void
work_end (Work    *work,
          guint64  count,
          GError  *error)
{
  if (error == NULL || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    {
      g_dbus_method_invocation_return_value (work->invocation, g_variant_new ("(t)", count));
      g_clear_error (&error);
    }
  else
    {
      tell_progress (work, count, count);
      return_error (work->invocation, error);
    }

  g_ptr_array_remove_fast (work->dead->works, work);
  g_clear_pointer (&work->watch, evbusd_watch_free);
  g_object_unref (work->cancellable);
  work->invocation = NULL;
  g_rc_box_release (work);
}

static void
answer_replay (GObject      *broker,
               GAsyncResult *result,
               gpointer      data)
{
  GError *error = NULL;
  guint64 count;

  evbus_broker_replay_dead_finish (EVBUS_BROKER (broker), result, &count, &error);
  work_end (data, count, error);
}

static gboolean
on_replay (gpointer               skeleton,
           GDBusMethodInvocation *invocation,
           const char            *route,
           GVariant              *numbers,
           const char            *profile,
           EvbusdDead            *self)
{
  gsize n;
  const gint64 *values = g_variant_get_fixed_array (numbers, &n, sizeof (gint64));
  Work *work = work_new (self, invocation);

  evbus_broker_replay_dead_async (self->broker, name_or_null (route), values, n, name_or_null (profile),
                                  on_progress, g_rc_box_acquire (work), g_rc_box_release, work->cancellable, answer_replay, work);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static void
answer_drop (GObject      *broker,
             GAsyncResult *result,
             gpointer      data)
{
  GError *error = NULL;
  guint64 count;

  evbus_broker_drop_dead_finish (EVBUS_BROKER (broker), result, &count, &error);
  work_end (data, count, error);
}

static gboolean
on_drop (gpointer               skeleton,
         GDBusMethodInvocation *invocation,
         const char            *route,
         GVariant              *numbers,
         EvbusdDead            *self)
{
  gsize n;
  const gint64 *values = g_variant_get_fixed_array (numbers, &n, sizeof (gint64));
  Work *work = work_new (self, invocation);

  evbus_broker_drop_dead_async (self->broker, name_or_null (route), values, n,
                                on_progress, g_rc_box_acquire (work), g_rc_box_release, work->cancellable, answer_drop, work);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

/* Whether one more may begin. */
static gboolean
check_exports (EvbusdDead  *self,
               const char  *caller,
               GError     **error)
{
  guint n = 0;
  guint n_of_caller = 0;

  for (guint i = 0; i < self->works->len; i++)
    {
      Work *work = self->works->pdata[i];

      n += work->watch != NULL;
      n_of_caller += work->watch != NULL && g_str_equal (get_caller (work), caller);
    }
  if (n_of_caller >= MAX_EXPORTS_OF_CALLER)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BUSY,
                 "this caller has %u exports of dead letters under way, which are all that a caller may have: read them to "
                 "their end, or end them with CancelDead", n_of_caller);
  else if (n >= MAX_EXPORTS)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BUSY,
                 "all callers together have %u exports of dead letters under way, which are all that there may be: try again "
                 "when one of them has been read to its end, or its caller has ended it or left", n);
  else
    return TRUE;
  return FALSE;
}

/* Anything but a pipe could keep a thread that writes to it, for ever; and one that is open for reading, too, would never
 * be without a reader. */
static gboolean
check_lines (int      fd,
             GError **error)
{
  struct stat info;

  if (fstat (fd, &info) == 0 && S_ISFIFO (info.st_mode) && (fcntl (fd, F_GETFL) & O_ACCMODE) == O_WRONLY)
    return TRUE;

  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                       "the lines are written to a pipe; give the end of it that is written to, open for writing alone");
  return FALSE;
}

/* Opened anew it is non-blocking whatever others do with theirs, and theirs stays as it is. That of another
 * user, such as root's on the system bus, cannot be; nor a named one that nobody reads, whose error comes with the first line. */
static int
reopen_lines (int fd)
{
  g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d", fd);
  int own = open (path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

  if (own < 0)
    {
      g_unix_set_fd_nonblocking (fd, TRUE, NULL);
      return fd;
    }
  close (fd);
  return own;
}

/* A reader that is gone is an error: GSocket, and so GDBus, has SIGPIPE ignored. */
static GOutputStream *
open_lines (GDBusMethodInvocation  *invocation,
            gint32                  handle,
            GError                **error)
{
  GUnixFDList *list = g_dbus_message_get_unix_fd_list (g_dbus_method_invocation_get_message (invocation));
  int fd;

  if (list == NULL || handle < 0 || handle >= g_unix_fd_list_get_length (list))
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                           "the message has no file descriptor to write the lines to");
      return NULL;
    }

  fd = g_unix_fd_list_get (list, handle, error);
  if (fd < 0)
    return NULL;
  if (check_lines (fd, error))
    return g_unix_output_stream_new (reopen_lines (fd), TRUE);
  close (fd);
  return NULL;
}

static void
on_gone (gpointer data)
{
  Work *work = data;

  g_cancellable_cancel (work->cancellable);
}

static void
answer_export (GObject      *broker,
               GAsyncResult *result,
               gpointer      data)
{
  GError *error = NULL;
  guint64 count;

  evbus_broker_export_dead_finish (EVBUS_BROKER (broker), result, &count, &error);
  /* Those of the pipe have no name on the bus. */
  if (error != NULL && error->domain == G_IO_ERROR && error->code != G_IO_ERROR_CANCELLED)
    {
      error->domain = EVBUS_ERROR;
      error->code = EVBUS_ERROR_FAILED;
      g_prefix_error (&error, "not all lines were written, but %" G_GUINT64_FORMAT ": ", count);
    }
  work_end (data, count, error);
}

static gboolean
on_export (gpointer               skeleton,
           GDBusMethodInvocation *invocation,
           const char            *route,
           GVariant              *numbers,
           GVariant              *lines,
           EvbusdDead            *self)
{
  const char *caller = g_dbus_method_invocation_get_sender (invocation);
  g_autoptr (GOutputStream) stream = NULL;
  GError *error = NULL;
  gsize n;
  const gint64 *values = g_variant_get_fixed_array (numbers, &n, sizeof (gint64));
  Work *work;

  if (!check_exports (self, caller, &error) ||
      (stream = open_lines (invocation, g_variant_get_handle (lines), &error)) == NULL)
    {
      return_error (invocation, error);
      return G_DBUS_METHOD_INVOCATION_HANDLED;
    }

  work = work_new (self, invocation);
  work->watch = evbusd_watch_new (g_dbus_method_invocation_get_connection (invocation), caller, on_gone, work);
  evbus_broker_export_dead_async (self->broker, name_or_null (route), values, n, stream,
                                  on_progress, g_rc_box_acquire (work), g_rc_box_release, work->cancellable, answer_export, work);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static gboolean
on_cancel (gpointer               skeleton,
           GDBusMethodInvocation *invocation,
           EvbusdDead            *self)
{
  for (guint i = 0; i < self->works->len; i++)
    {
      Work *work = self->works->pdata[i];

      if (g_str_equal (get_caller (work), g_dbus_method_invocation_get_sender (invocation)))
        g_cancellable_cancel (work->cancellable);
    }

  g_dbus_method_invocation_return_value (invocation, NULL);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static void
answer_forget (GObject      *broker,
               GAsyncResult *result,
               gpointer      data)
{
  GError *error = NULL;
  guint64 count;

  evbus_broker_forget_route_finish (EVBUS_BROKER (broker), result, &count, &error);
  work_end (data, count, error);
}

static gboolean
on_forget (gpointer               skeleton,
           GDBusMethodInvocation *invocation,
           const char            *route,
           EvbusdDead            *self)
{
  Work *work = work_new (self, invocation);

  evbus_broker_forget_route_async (self->broker, route, on_progress, g_rc_box_acquire (work), g_rc_box_release,
                                   work->cancellable, answer_forget, work);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static void
answer_name (GObject      *broker,
             GAsyncResult *result,
             gpointer      data)
{
  GError *error = NULL;

  if (evbus_broker_name_orphan_finish (EVBUS_BROKER (broker), result, &error))
    g_dbus_method_invocation_return_value (data, NULL);
  else
    return_error (data, error);
}

static gboolean
on_name (gpointer               skeleton,
         GDBusMethodInvocation *invocation,
         const char            *orphan,
         const char            *name,
         EvbusdDead            *self)
{
  evbus_broker_name_orphan_async (self->broker, orphan, name, NULL, answer_name, invocation);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

EvbusdDead *
evbusd_dead_new (gpointer     manager,
                 EvbusBroker *broker)
{
  const struct {
    const char *signal;
    GCallback   handler;
  } handlers[] = {
    { "handle-list-dead", G_CALLBACK (on_list) },
    { "handle-read-dead", G_CALLBACK (on_list) },
    { "handle-replay-dead", G_CALLBACK (on_replay) },
    { "handle-drop-dead", G_CALLBACK (on_drop) },
    { "handle-export-dead", G_CALLBACK (on_export) },
    { "handle-cancel-dead", G_CALLBACK (on_cancel) },
    { "handle-forget-route", G_CALLBACK (on_forget) },
    { "handle-name-orphan", G_CALLBACK (on_name) },
  };
  EvbusdDead *self = g_new0 (EvbusdDead, 1);

  self->broker = broker;
  self->works = g_ptr_array_new ();
  for (guint i = 0; i < G_N_ELEMENTS (handlers); i++)
    g_signal_connect (manager, handlers[i].signal, handlers[i].handler, self);
  return self;
}

void
evbusd_dead_free (EvbusdDead *self)
{
  g_ptr_array_unref (self->works);
  g_free (self);
}
