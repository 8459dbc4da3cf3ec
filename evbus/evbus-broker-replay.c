/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters that are put anew under another profile: a page of them is read,
 * they are put, and those that are in the spool are dropped; then the next. All but
 * the reading is done in the caller's main context. */

#include "evbus-dead-work-private.h"

#include <string.h>

#include "evbus-error.h"

typedef struct {
  GTask     *task;
  char      *profile;
  GPtrArray *letters;    /* EvbusSpoolDead: the page */
  GArray    *stored;     /* gint64: numbers of those that are in the spool by now */
  guint      n_waiting;  /* puts of the page that were not answered */
  GError    *error;      /* the first of a put */
} Anew;

typedef struct {
  Anew   *anew;
  gint64  number;
} Letter;

static void read_page (Anew *self);

static void
anew_free (Anew *self)
{
  g_object_unref (self->task);
  g_free (self->profile);
  g_clear_pointer (&self->letters, g_ptr_array_unref);
  g_array_unref (self->stored);
  g_clear_error (&self->error);
  g_free (self);
}

/* Takes over @self and @error. */
static void
fail (Anew   *self,
      GError *error)
{
  g_task_return_error (self->task, error);
  anew_free (self);
}

static void
on_dropped (GObject      *source,
            GAsyncResult *result,
            gpointer      data)
{
  Anew *self = data;
  EvbusDeadWork *work = g_task_get_task_data (self->task);
  guint64 n_dropped = 0;
  GError *error = NULL;

  evbus_broker_drop_dead_finish (EVBUS_BROKER (source), result, &n_dropped, &error);
  work->n_done += n_dropped;
  evbus_dead_work_report (self->task);
  if (self->error != NULL)
    {
      g_clear_error (&error);
      error = g_steal_pointer (&self->error);
    }
  if (error != NULL)
    fail (self, error);
  else
    read_page (self);
}

static void
end_page (Anew *self)
{
  EvbusBroker *broker = g_task_get_source_object (self->task);

  /* Not to be cancelled: these are in the spool, and must not be twice. */
  evbus_broker_drop_dead_async (broker, NULL, (gint64 *) (gpointer) self->stored->data, self->stored->len,
                                NULL, NULL, NULL, NULL, on_dropped, self);
}

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      data)
{
  Letter *letter = data;
  Anew *self = letter->anew;
  g_autofree char *id = NULL;
  GError *error = NULL;

  id = g_task_propagate_pointer (G_TASK (result), &error);
  if (id != NULL)
    g_array_append_val (self->stored, letter->number);
  else if (self->error == NULL)
    self->error = error;
  else
    g_error_free (error);
  g_free (letter);
  if (--self->n_waiting == 0)
    end_page (self);
}

static void
put_letter (Anew           *self,
            EvbusSpoolDead *dead)
{
  g_autoptr(GBytes) body = evbus_event_get_body (dead->event);
  const EvbusEventInit init = {
    .id = dead->event->id,
    .routing_key = dead->event->routing_key,
    .routing_key_length = strlen (dead->event->routing_key),
    .profile = self->profile,
    .profile_length = strlen (self->profile),
    .content_type = dead->event->content_type,
    .bytes = body,
    .attributes = dead->event->attributes,
    .max_age = dead->event->max_age,
    .time = dead->event->time,
    .hops = dead->event->hops,
  };
  EvbusEvent *event = evbus_event_new (&init);
  Letter *letter = g_new (Letter, 1);

  event->known_id = FALSE;   /* no producer waits for its answer, or asks again */
  letter->anew = self;
  letter->number = dead->number;
  evbus_broker_put_event_async (g_task_get_source_object (self->task), event,
                                g_task_get_cancellable (self->task), on_put, letter);
}

/* On a thread of GTask's. */
static void
run_read (GTask        *task,
          gpointer      source,
          gpointer      data,
          GCancellable *cancellable)
{
  GError *error = NULL;
  GPtrArray *found = evbus_dead_work_read (data, &error);

  if (found != NULL)
    g_task_return_pointer (task, found, (GDestroyNotify) g_ptr_array_unref);
  else
    g_task_return_error (task, error);
}

static void
on_page (GObject      *source,
         GAsyncResult *result,
         gpointer      data)
{
  Anew *self = data;
  EvbusDeadWork *work = g_task_get_task_data (self->task);
  GError *error = NULL;

  g_clear_pointer (&self->letters, g_ptr_array_unref);
  self->letters = g_task_propagate_pointer (G_TASK (result), &error);
  if (self->letters == NULL)
    {
      fail (self, error);
      return;
    }
  if (self->letters->len == 0 && evbus_dead_work_has_read (work))
    {
      evbus_dead_work_return (self->task);
      anew_free (self);
      return;
    }

  /* What is damaged stays. */
  for (guint i = self->letters->len; i > 0; i--)
    {
      if (((EvbusSpoolDead *) self->letters->pdata[i - 1])->event == NULL)
        g_ptr_array_remove_index (self->letters, i - 1);
    }
  g_array_set_size (self->stored, 0);
  self->n_waiting = self->letters->len;
  for (guint i = 0; i < self->letters->len; i++)
    put_letter (self, self->letters->pdata[i]);
  if (self->letters->len == 0)
    read_page (self);
}

static void
read_page (Anew *self)
{
  GCancellable *cancellable = g_task_get_cancellable (self->task);
  g_autoptr(GTask) reading = NULL;
  GError *error = NULL;

  if (g_cancellable_set_error_if_cancelled (cancellable, &error))
    {
      fail (self, error);
      return;
    }

  reading = g_task_new (g_task_get_source_object (self->task), NULL, on_page, self);
  g_task_set_source_tag (reading, read_page);
  /* It lives as long as the other task. */
  g_task_set_task_data (reading, g_task_get_task_data (self->task), NULL);
  g_task_run_in_thread (reading, run_read);
}

void
evbus_broker_put_anew (GTask      *task,
                       const char *profile)
{
  GError *error = NULL;
  Anew *self;

  profile = evbus_broker_check_profile (profile, &error);
  if (profile == NULL)
    {
      g_task_return_error (task, error);
      return;
    }

  self = g_new0 (Anew, 1);
  self->task = g_object_ref (task);
  self->profile = g_strdup (profile);
  self->stored = g_array_new (FALSE, FALSE, sizeof (gint64));
  read_page (self);
}
