/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Who waits for what SQLite does on this thread, and may not want to any longer. An
 * older format that is migrated and the log that a crash has left can take long, within
 * one call of SQLite. It asks here, between its own steps and with each MiB of the log. */

#include "evbus-sql-private.h"

/* SQLite's own steps between two questions: some tens of a millisecond. */
#define STEPS 10000

/* Of some 4 KiB. */
#define READS 256

static GPrivate patience;

void
evbus_sql_set_patience (EvbusSqlPatience *of_thread)
{
  g_private_set (&patience, of_thread);
}

static gboolean
goes_on (EvbusSqlPatience *self)
{
  return self == NULL || self->goes_on (self->data);
}

gboolean
evbus_sql_may_read (void)
{
  EvbusSqlPatience *self = g_private_get (&patience);

  return self == NULL || ++self->n_reads % READS != 0 || goes_on (self);
}

static int
on_steps (gpointer nothing)
{
  return goes_on (g_private_get (&patience)) ? 0 : 1;
}

/* It stays with the connection, also once nobody waits. */
void
evbus_sql_ask_patience (sqlite3 *db)
{
  if (g_private_get (&patience) != NULL)
    sqlite3_progress_handler (db, STEPS, on_steps, NULL);
}
