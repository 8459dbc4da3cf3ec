/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a run comes to seldom or never: each a phase of its own, said to begin and to end, so
 * that a test can kill it at each of its operations. */

#include "spool-driver.h"

/* Many large events for the first two routes, none for both. */
void
driver_fill (Driver *self,
             int     n_groups)
{
  int group;

  for (group = 0; group < n_groups; group++)
    {
      self->mask = 1 + group % 2;
      driver_put_group (self);
    }
  self->mask = 0;
}

static void
maintain (Driver *self)
{
  while (evbus_spool_maintain (self->spool) || evbus_spool_is_dirty (self->spool))
    ;
  driver_say (self, "settled");
}

static void
prepare_checkpoint (Driver *self)
{
  driver_put_group (self);
}

/* The log goes into the database. */
static void
checkpoint (Driver *self)
{
  evbus_spool_make_way (self->spool);
}

static void
prepare_vacuum (Driver *self)
{
  driver_deliver (self, &self->routes[0], 100);
}

/* All at once. */
static void
prepare_whole_vacuum (Driver *self)
{
  guint i;

  for (i = 0; i < N_ROUTES; i++)
    driver_deliver (self, &self->routes[i], 100);
}

static EvbusSpoolRoute *
get_last_route (Driver *self)
{
  return self->routes[N_ROUTES - 1].route;
}

static void
make_orphan (Driver *self)
{
  evbus_spool_orphan_route (self->spool, get_last_route (self));
  driver_put_group (self);
}

/* And then its events go. */
static void
forget (Driver *self)
{
  g_autoptr (GError) error = NULL;

  driver_say (self, "forgetting %c", self->routes[N_ROUTES - 1].name);
  driver_flush (self);
  if (!evbus_spool_forget_route (self->spool, get_last_route (self), &error))
    g_error ("It is not forgotten: %s", error->message);
  driver_say (self, "forgotten %c", self->routes[N_ROUTES - 1].name);
  driver_flush (self);
  maintain (self);
}

static void
name_orphan (Driver *self)
{
  g_autoptr (GError) error = NULL;

  if (!evbus_spool_name_orphan (self->spool, get_last_route (self), OTHER_KEY, &error))
    g_error ("It is not named: %s", error->message);
  driver_say (self, "named %c", self->routes[N_ROUTES - 1].name);
}

static const struct {
  const char *name;
  void      (*prepare) (Driver *self);
  void      (*run)     (Driver *self);
} phases[] = {
  { "checkpoint", prepare_checkpoint, checkpoint },
  { "vacuum", prepare_vacuum, maintain },
  { "whole-vacuum", prepare_whole_vacuum, maintain },
  { "forget", make_orphan, forget },
  { "name", make_orphan, name_orphan },
};

void
driver_run_phase (Driver     *self,
                  const char *name)
{
  guint i = 0;

  while (!g_str_equal (phases[i].name, name))
    g_assert (++i < G_N_ELEMENTS (phases));
  phases[i].prepare (self);
  driver_say (self, "began");
  driver_flush (self);
  phases[i].run (self);
  driver_say (self, "ended");
  driver_flush (self);
}
