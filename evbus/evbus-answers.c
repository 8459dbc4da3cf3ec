/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-answers-private.h"

/* Those of one main context. */
typedef struct {
  GMainContext *context;   /* kept by the tasks */
  GPtrArray    *puts;
  guint         n_answered;
  GError       *error;
} Group;

struct _EvbusAnswers
{
  GPtrArray  *groups;
  GHashTable *index;   /* of those, by context */
  Group      *last;    /* mostly there is one */
};

EvbusAnswers *
evbus_answers_new (void)
{
  EvbusAnswers *self = g_new0 (EvbusAnswers, 1);

  self->groups = g_ptr_array_new ();
  self->index = g_hash_table_new (NULL, NULL);
  return self;
}

static Group *
find_group (EvbusAnswers *self,
            GMainContext *context)
{
  Group *group = g_hash_table_lookup (self->index, context);

  if (group != NULL)
    return group;

  group = g_new0 (Group, 1);
  group->context = context;
  group->puts = g_ptr_array_new ();
  g_ptr_array_add (self->groups, group);
  g_hash_table_insert (self->index, context, group);
  return group;
}

void
evbus_answers_add (EvbusAnswers *self,
                   EvbusPut     *put)
{
  GMainContext *context = g_task_get_context (put->task);

  if (self->last == NULL || self->last->context != context)
    self->last = find_group (self, context);
  g_ptr_array_add (self->last->puts, evbus_put_ref (put));
}

static void
group_free (gpointer data)
{
  Group *group = data;

  for (; group->n_answered < group->puts->len; group->n_answered++)
    evbus_put_unref (group->puts->pdata[group->n_answered]);
  g_ptr_array_unref (group->puts);
  g_clear_error (&group->error);
  g_free (group);
}

/* In the context of the tasks, which therefore call back at once. A callback that
 * runs its main context until another put is answered gets here once more. */
static gboolean
answer (gpointer data)
{
  Group *group = data;

  while (group->n_answered < group->puts->len)
    {
      g_autoptr(EvbusPut) put = group->puts->pdata[group->n_answered++];

      evbus_put_answer (put, group->error != NULL ? g_error_copy (group->error) : NULL);
    }
  return G_SOURCE_REMOVE;
}

void
evbus_answers_send (EvbusAnswers *self,
                    const GError *error)
{
  for (guint i = 0; i < self->groups->len; i++)
    {
      Group *group = self->groups->pdata[i];
      GSource *source = g_idle_source_new ();

      group->error = error != NULL ? g_error_copy (error) : NULL;
      g_source_set_static_name (source, "[evbus] answers");
      g_source_set_priority (source, G_PRIORITY_DEFAULT);
      g_source_set_can_recurse (source, TRUE);
      g_source_set_callback (source, answer, group, group_free);
      g_source_attach (source, group->context);
      g_source_unref (source);
    }
  g_hash_table_unref (self->index);
  g_ptr_array_unref (self->groups);
  g_free (self);
}
