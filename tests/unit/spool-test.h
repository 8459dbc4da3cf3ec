/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the tests of the spool share: a folder of its own, events to be stored and
 * what is read back. */

#pragma once

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "evbus-error.h"
#include "evbus-spool-private.h"

typedef struct {
  char *directory;
  EvbusSpool *spool;
} Fixture;

/* For g_log_set_writer_func(), where warnings are what is expected. */
static inline GLogWriterOutput
spool_test_be_silent (GLogLevelFlags   level,
                      const GLogField *fields,
                      gsize            n_fields,
                      gpointer         data)
{
  return level & G_LOG_LEVEL_ERROR ? g_log_writer_default (level, fields, n_fields, data) : G_LOG_WRITER_HANDLED;
}

static inline void
spool_test_remove (const char *directory)
{
  GDir *dir = g_dir_open (directory, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (directory, name, NULL);

      g_assert_cmpint (g_remove (path), ==, 0);
    }
  g_clear_pointer (&dir, g_dir_close);
  g_rmdir (directory);
}

static inline void
spool_test_open (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;

  fixture->spool = evbus_spool_open (fixture->directory, &error);
  g_assert_no_error (error);
  g_assert_nonnull (fixture->spool);
}

static inline void
spool_test_reopen (Fixture *fixture)
{
  evbus_spool_unref (fixture->spool);
  spool_test_open (fixture);
}

static inline void
spool_test_set_up (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  fixture->directory = g_dir_make_tmp ("evbus-spool-XXXXXX", &error);
  g_assert_no_error (error);
  spool_test_open (fixture);
}

static inline guint
spool_test_count_routes (EvbusSpool *spool)
{
  g_autoptr(GPtrArray) routes = evbus_spool_list_routes (spool);

  return routes->len;
}

static inline EvbusSpoolRoute *
spool_test_get_route (EvbusSpool *spool,
                      guint       index)
{
  g_autoptr(GPtrArray) routes = evbus_spool_list_routes (spool);

  g_assert_cmpuint (index, <, routes->len);
  return routes->pdata[index];
}

static inline void
spool_test_check_ledgers (EvbusSpool *spool)
{
  g_autoptr(GPtrArray) routes = evbus_spool_list_routes (spool);

  for (guint i = 0; i < routes->len; i++)
    {
      EvbusLedger ledger;

      evbus_spool_route_get_ledger (routes->pdata[i], &ledger, NULL);
      g_assert_true (evbus_ledger_balances (&ledger));
    }
}

/* The ledgers balance, and are the same when they are read back. */
static inline void
spool_test_tear_down (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GArray) before = g_array_new (FALSE, FALSE, sizeof (EvbusLedger));
  g_autoptr(GPtrArray) routes = evbus_spool_list_routes (fixture->spool);

  spool_test_check_ledgers (fixture->spool);
  g_array_set_size (before, routes->len);
  for (guint i = 0; i < routes->len; i++)
    evbus_spool_route_get_ledger (routes->pdata[i], &g_array_index (before, EvbusLedger, i), NULL);

  spool_test_reopen (fixture);
  g_ptr_array_unref (routes);
  routes = evbus_spool_list_routes (fixture->spool);
  g_assert_cmpuint (routes->len, ==, before->len);
  for (guint i = 0; i < routes->len; i++)
    {
      EvbusLedger after;

      evbus_spool_route_get_ledger (routes->pdata[i], &after, NULL);
      g_assert_cmpmem (&after, sizeof after, &g_array_index (before, EvbusLedger, i), sizeof after);
    }

  evbus_spool_unref (fixture->spool);
  spool_test_remove (fixture->directory);
  g_free (fixture->directory);
}

/* A log writer for tests of damage, which is warned of, also by the look in the background. */
static inline GLogWriterOutput
spool_test_write_log (GLogLevelFlags   level,
                      const GLogField *fields,
                      gsize            n_fields,
                      gpointer         data)
{
  return (level & G_LOG_LEVEL_WARNING) != 0 ? G_LOG_WRITER_HANDLED
                                            : g_log_writer_default (level, fields, n_fields, data);
}

/* An event whose body says which one it is. */
static inline EvbusEvent *
spool_test_event (const char *body,
                  gsize       padding)
{
  g_autofree char *text = g_strdup_printf ("%s %*s", body, (int) padding, "");
  EvbusEventInit init = {
    .routing_key = "key", .routing_key_length = 3,
    .profile = "default", .profile_length = 7,
    .content_type = "text/plain",
    .data = (const guint8 *) text, .size = strlen (text),
  };

  return evbus_event_new (&init);
}

/* Begins, appends events number @first to @last of @padding more bytes; says their
 * sequence numbers. */
static inline void
spool_test_append (EvbusSpool       *spool,
                   EvbusSpoolRoute **routes,
                   guint             n_routes,
                   guint             first,
                   guint             last,
                   gsize             padding,
                   gint64           *seqs)
{
  evbus_spool_begin (spool);
  for (guint i = first; i <= last; i++)
    {
      g_autofree char *body = g_strdup_printf ("%u", i);
      g_autoptr(EvbusEvent) event = spool_test_event (body, padding);

      evbus_spool_append (spool, event, routes, n_routes, FALSE);
      if (seqs != NULL)
        seqs[i - first] = event->seq;
    }
}

static inline void
spool_test_put (EvbusSpool       *spool,
                EvbusSpoolRoute **routes,
                guint             n_routes,
                guint             first,
                guint             last,
                gint64           *seqs)
{
  g_autoptr(GError) error = NULL;

  spool_test_append (spool, routes, n_routes, first, last, 0, seqs);
  evbus_spool_commit (spool, &error);
  g_assert_no_error (error);
}

static inline guint
spool_test_number (EvbusEvent *event)
{
  return (guint) g_ascii_strtoull ((const char *) event->data, NULL, 10);
}

/* Reads on until there is nothing more; "1 2 3". */
static inline char *
spool_test_drain (EvbusSpoolReader *reader,
                  guint             batch)
{
  GString *numbers = g_string_new (NULL);
  guint n_events;

  do
    {
      g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
      g_autoptr(GError) error = NULL;
      guint n_damaged = 0;

      evbus_spool_reader_read (reader, batch, G_MAXSIZE, events, &n_damaged, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (n_damaged, ==, 0);
      n_events = events->len;
      for (guint i = 0; i < n_events; i++)
        g_string_append_printf (numbers, "%s%u", numbers->len > 0 ? " " : "", spool_test_number (events->pdata[i]));
    }
  while (n_events > 0);
  return g_string_free (numbers, FALSE);
}

/* All that a new reader of the route finds. */
static inline char *
spool_test_backlog (EvbusSpool      *spool,
                    EvbusSpoolRoute *route)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (spool, route, &error);

  g_assert_no_error (error);
  return spool_test_drain (reader, 7);
}

#define spool_test_assert_backlog(spool, route, expected) \
  G_STMT_START { \
    g_autofree char *found_ = spool_test_backlog (spool, route); \
    g_assert_cmpstr (found_, ==, expected); \
  } G_STMT_END

/* All up to @position is delivered, but for @pending. */
static inline void
spool_test_deliver (EvbusSpool      *spool,
                    EvbusSpoolRoute *route,
                    guint64          n,
                    gint64           position,
                    const gint64    *pending,
                    guint            n_pending)
{
  EvbusLedger change = { .delivered = n };

  evbus_spool_settle (spool, route, position, pending, n_pending, &change, 0, NULL, 0);
}

/* "accepted delivered dead expired dropped queued" */
static inline char *
spool_test_ledger (EvbusSpoolRoute *route)
{
  EvbusLedger l;

  evbus_spool_route_get_ledger (route, &l, NULL);
  return g_strdup_printf ("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
                          " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
                          l.accepted, l.delivered, l.dead, l.expired, l.dropped, l.queued);
}

#define spool_test_assert_ledger(route, expected) \
  G_STMT_START { \
    g_autofree char *found_ = spool_test_ledger (route); \
    g_assert_cmpstr (found_, ==, expected); \
  } G_STMT_END

static inline guint64
spool_test_weight (EvbusSpoolRoute *route)
{
  EvbusLedger ledger;
  guint64 weight;

  evbus_spool_route_get_ledger (route, &ledger, &weight);
  return weight;
}

/* What the route has queued weighs as much as it says. */
static inline void
spool_test_assert_weight (EvbusSpool      *spool,
                          EvbusSpoolRoute *route)
{
  g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (spool, route, NULL);
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  guint64 weight = 0;
  guint n_damaged = 0;

  g_assert_true (evbus_spool_reader_read (reader, G_MAXUINT, G_MAXSIZE, events, &n_damaged, NULL));
  g_assert_cmpuint (n_damaged, ==, 0);
  for (guint i = 0; i < events->len; i++)
    weight += ((EvbusEvent *) events->pdata[i])->weight;
  g_assert_cmpuint (spool_test_weight (route), ==, weight);
}
