/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a person has to know of the spool: how it was found, and what has become of it
 * since. What is worse hides what is better. */

#include "evbus-spool-store-private.h"

/**
 * EvbusSpoolCondition:
 * @EVBUS_SPOOL_CONDITION_NONE: there is no spool, or it is not opened yet
 * @EVBUS_SPOOL_CONDITION_OPENING: it is being opened, and recovered if it must be
 * @EVBUS_SPOOL_CONDITION_INTACT: it is sound
 * @EVBUS_SPOOL_CONDITION_MIGRATED: it was written by an older version, and brought to
 *   the present format at the start
 * @EVBUS_SPOOL_CONDITION_RECOVERED: at the start it was damaged, or something else was
 *   in its place: that is set aside, and what could be read is taken over
 * @EVBUS_SPOOL_CONDITION_DAMAGED: damage was found since; the next start recovers
 * @EVBUS_SPOOL_CONDITION_FULL: its disk is full: puts fail, delivery goes on, and puts
 *   work again when there is space
 * @EVBUS_SPOOL_CONDITION_FAILED: it could not be opened; or, the last time that was tried, not be written to, its
 *   log not be moved into the database, or not all of it be read when it was looked at for damage
 *
 * How a broker's spool is. All but the last three stay as they were found at the start.
 *
 * Since: 1.0
 */

/* Of each: what a failure means for whoever uses the spool, and that it is over. */
static const struct {
  const char *meaning;
  const char *over;
} tasks[EVBUS_SPOOL_N_TASKS] = {
  [EVBUS_SPOOL_WRITE] = { "", "it can be written to again" },
  [EVBUS_SPOOL_MOVE_LOG] = { "; puts and delivery go on, and the log grows until it can be moved",
                             "what was committed is moved into the database again" },
  [EVBUS_SPOOL_LOOK] = { "; it is not looked at for damage until it can be read, which is tried once a minute",
                         "it can be read again, and is looked at for damage" },
};

/* What the spool has that nobody can be given, as it is in doubt whose it is. */
static guint
count_doubtful_locked (EvbusSpool *self)
{
  guint n = 0;

  for (guint i = 0; i < self->routes->len; i++)
    {
      EvbusSpoolRoute *route = self->routes->pdata[i];

      n += route->now.doubtful && route->now.ledger.queued + route->now.ledger.dead > 0;
    }
  return n;
}

static char *
make_note_locked (EvbusSpool *self)
{
  guint n = count_doubtful_locked (self);

  if (n == 0)
    return g_strdup (self->note);
  return g_strdup_printf ("%s%sit is in doubt which entries of the configuration %u of its orphans belong to; name them "
                          "(evbusctl name-orphan), and those entries the same",
                          self->note != NULL ? self->note : "", self->note != NULL ? "; " : "", n);
}

/* The first of the tasks from @first on that fails. NULL: none, or damage explains it. */
static char *
make_failure_locked (EvbusSpool     *self,
                     EvbusSpoolTask  first,
                     EvbusSpoolTask  end)
{
  for (guint i = first; i < end && self->found == NULL; i++)
    {
      if (self->failed[i] != NULL)
        return g_strdup_printf ("%s; what is wrong with that disk, the log of the system may say", self->failed[i]);
    }
  return NULL;
}

/* What puts meet comes first. */
static EvbusSpoolCondition
get_locked (EvbusSpool  *self,
            char       **note)
{
  if ((*note = make_failure_locked (self, EVBUS_SPOOL_WRITE, EVBUS_SPOOL_WRITE + 1)) != NULL)
    return EVBUS_SPOOL_CONDITION_FAILED;
  if (self->shows_full)
    {
      *note = g_strdup_printf ("%s: the disk is full: puts fail until there is space; delivery goes on; delete "
                               "something else there, or forget routes and drop dead letters", self->path);
      return EVBUS_SPOOL_CONDITION_FULL;
    }
  if (self->found != NULL)
    {
      *note = g_strdup (self->found);
      return EVBUS_SPOOL_CONDITION_DAMAGED;
    }
  if ((*note = make_failure_locked (self, EVBUS_SPOOL_WRITE + 1, EVBUS_SPOOL_N_TASKS)) != NULL)
    return EVBUS_SPOOL_CONDITION_FAILED;
  *note = make_note_locked (self);
  return self->condition;
}

EvbusSpoolCondition
evbus_spool_get_condition (EvbusSpool  *self,
                           char       **note)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);
  g_autofree char *text = NULL;
  EvbusSpoolCondition condition = get_locked (self, &text);

  if (note != NULL)
    *note = g_steal_pointer (&text);
  return condition;
}

void
evbus_spool_watch (EvbusSpool      *self,
                   EvbusSpoolWatch  func,
                   gpointer         data,
                   GDestroyNotify   free_data)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  self->watch = func;
  self->watch_data = data;
  self->watch_free = free_data;
}

/* Before it shows: whoever sees it finds it in the log. */
static void
say (EvbusSpool     *self,
     GLogLevelFlags  level,
     const char     *what)
{
  g_log_structured (G_LOG_DOMAIN, level,
                    "EVBUS_SPOOL", self->directory,
                    "MESSAGE", "spool %s: %s", self->directory, what);
}

void
evbus_spool_tell (EvbusSpool *self)
{
  EvbusSpoolWatch watch;

  g_mutex_lock (&self->lock);
  watch = self->watch;   /* set once */
  g_mutex_unlock (&self->lock);
  if (watch != NULL)
    watch (self->watch_data);
}

void
evbus_spool_set_found (EvbusSpool *self,
                       const char *what)
{
  char *note;

  if (!g_atomic_int_compare_and_exchange (&self->said_found, FALSE, TRUE))
    return;
  note = g_strdup_printf ("%s: %s; the next start recovers what can be read", self->path, what);
  say (self, G_LOG_LEVEL_WARNING, note);
  g_mutex_lock (&self->lock);
  self->found = note;
  g_mutex_unlock (&self->lock);
  evbus_spool_tell (self);
}

void
evbus_spool_set_failed (EvbusSpool     *self,
                        EvbusSpoolTask  task,
                        const GError   *error)
{
  g_autofree char *message = error != NULL ? g_strconcat (error->message, tasks[task].meaning, NULL) : NULL;
  gboolean same, explained;

  g_mutex_lock (&self->lock);
  same = g_strcmp0 (self->failed[task], message) == 0;
  /* Damage that was found explains it, and what to do is said. */
  explained = error != NULL && self->found != NULL;
  g_mutex_unlock (&self->lock);
  if (same || explained)
    return;

  if (error != NULL)
    say (self, G_LOG_LEVEL_WARNING, message);
  else
    say (self, G_LOG_LEVEL_MESSAGE, tasks[task].over);
  g_mutex_lock (&self->lock);
  g_free (self->failed[task]);
  self->failed[task] = g_steal_pointer (&message);
  g_mutex_unlock (&self->lock);
  evbus_spool_tell (self);
}

void
evbus_spool_set_full (EvbusSpool *self,
                      gboolean    full)
{
  self->full = full;
  if (self->shows_full == full)
    return;

  if (full)
    say (self, G_LOG_LEVEL_WARNING, "the disk is full: puts fail until there is space; delivery goes on");
  else
    say (self, G_LOG_LEVEL_MESSAGE, "there is space again, and puts work");
  g_mutex_lock (&self->lock);
  self->shows_full = full;
  g_mutex_unlock (&self->lock);
  evbus_spool_tell (self);
}
