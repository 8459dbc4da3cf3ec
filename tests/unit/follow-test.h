/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the tests of followed events share: a broker with two routes, `hook 'a*'` and
 * `hook '*b'`, so that the profile "ab" goes to both; puts that are under way; and what
 * was told of them. */

#pragma once

#include "evbus-test.h"

#include <glib/gstdio.h>
#include <string.h>

typedef struct {
  char *directory;             /* NULL: memory only */
  EvbusTestHook *a;
  EvbusTestHook *b;
  EvbusBroker *broker;
  EvbusRoute *route_a;
  EvbusRoute *route_b;
  int poison;                  /* atomic: both routes refuse */
  GPtrArray *told;             /* char *: each event-settled */
} Fixture;

typedef struct {
  const char *delivery;        /* of both routes, or NULL */
  gboolean durable;
} Setup;

static inline gboolean
follow_publish (EvbusTestHook  *hook,
                EvbusContext   *ctx,
                EvbusBatch     *batch,
                GCancellable   *cancellable,
                GError        **error)
{
  Fixture *fixture = hook->user_data;

  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    {
      if (g_atomic_int_get (&fixture->poison))
        evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "it tastes bad");
      else
        evbus_test_hook_take (hook, batch, i);
    }
  return TRUE;
}

static inline void
follow_on_settled (EvbusBroker *broker,
                   const char  *follower,
                   const char  *id,
                   const char  *route,
                   EvbusFate    fate,
                   const char  *reason,
                   guint        left,
                   Fixture     *fixture)
{
  g_autoptr(GEnumClass) fates = g_type_class_ref (EVBUS_TYPE_FATE);

  g_ptr_array_add (fixture->told, g_strdup_printf ("%s: %s %s %s (%s) %u", follower, id, route != NULL ? route : "-",
                                                   g_enum_get_value (fates, fate)->value_nick,
                                                   reason != NULL ? reason : "", left));
}

static inline void
follow_make (Fixture     *fixture,
             const Setup *setup)
{
  fixture->broker = evbus_test_broker_new ();
  evbus_broker_set_spool_directory (fixture->broker, fixture->directory);
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  g_signal_connect (fixture->broker, "event-settled", G_CALLBACK (follow_on_settled), fixture);
  fixture->route_a = evbus_test_add_hook (fixture->broker, fixture->a, "a*", setup->delivery);
  fixture->route_b = evbus_test_add_hook (fixture->broker, fixture->b, "*b", setup->delivery);
}

static inline void
follow_begin (Fixture     *fixture,
              const Setup *setup)
{
  follow_make (fixture, setup);
  evbus_test_start (fixture->broker);
}

/* What is left stays in the spool, or is dropped. */
static inline void
follow_end (Fixture *fixture)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_broker_stop_finish (fixture->broker, result, NULL);
  evbus_test_assert_balance (fixture->broker);
  g_clear_object (&fixture->route_a);
  g_clear_object (&fixture->route_b);
  g_clear_object (&fixture->broker);
}

static inline void
follow_restart (Fixture     *fixture,
                const Setup *setup)
{
  follow_end (fixture);
  follow_begin (fixture, setup);
}

static inline void
follow_set_up (Fixture       *fixture,
               gconstpointer  data)
{
  const Setup *setup = data;
  g_autoptr(GError) error = NULL;

  if (setup->durable)
    fixture->directory = g_dir_make_tmp ("evbus-follow-XXXXXX", &error);
  g_assert_no_error (error);
  fixture->told = g_ptr_array_new_with_free_func (g_free);
  fixture->a = evbus_test_hook_new ("a");
  fixture->b = evbus_test_hook_new ("b");
  fixture->a->publish = fixture->b->publish = follow_publish;
  fixture->a->user_data = fixture->b->user_data = fixture;
  follow_begin (fixture, setup);
}

static inline void
follow_tear_down (Fixture       *fixture,
                  gconstpointer  data)
{
  evbus_test_hook_release (fixture->a);
  evbus_test_hook_release (fixture->b);
  if (fixture->broker != NULL)
    follow_end (fixture);
  if (fixture->directory != NULL)
    {
      g_autoptr(GDir) dir = g_dir_open (fixture->directory, 0, NULL);
      const char *name;

      while ((name = g_dir_read_name (dir)) != NULL)
        {
          g_autofree char *file = g_build_filename (fixture->directory, name, NULL);

          g_assert_cmpint (g_unlink (file), ==, 0);
        }
      g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
    }
  g_free (fixture->directory);
  g_ptr_array_unref (fixture->told);
  evbus_test_hook_free (fixture->a);
  evbus_test_hook_free (fixture->b);
}

/* A put that is under way; @options: GVariant text. */
static inline void
follow_put (Fixture       *fixture,
            const char    *profile,
            const char    *options,
            GCancellable  *cancellable,
            GAsyncResult **result)
{
  g_autoptr(GVariant) dict = g_variant_parse (G_VARIANT_TYPE_VARDICT, options, NULL, NULL, NULL);

  g_assert_nonnull (dict);
  evbus_producer_put_with_options_async (EVBUS_PRODUCER (fixture->broker), "k", g_variant_new_uint32 (7), profile, dict,
                                         cancellable, result != NULL ? evbus_test_store_result : NULL, result);
}

static inline char *
follow_finish (Fixture       *fixture,
               GAsyncResult **result,
               GError       **error)
{
  char *id;

  evbus_test_wait_until (*result != NULL);
  id = evbus_producer_put_with_options_finish (EVBUS_PRODUCER (fixture->broker), *result, error);
  g_clear_object (result);
  return id;
}

static inline void
follow_assert_delivered (Fixture       *fixture,
                         GAsyncResult **result,
                         const char    *expected)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *id = follow_finish (fixture, result, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (id, ==, expected);
}

/* @says: a regular expression. */
static inline void
follow_assert_failed (Fixture       *fixture,
                      GAsyncResult **result,
                      int            code,
                      const char    *says)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *id = follow_finish (fixture, result, &error);

  g_assert_null (id);
  evbus_test_assert_error (error, code, says);
}

/* The put @result waits, although everything that can be done is. */
static inline void
follow_assert_waits (GAsyncResult **result)
{
  evbus_test_iterate ();
  g_assert_null (*result);
}

static inline gboolean
follow_was_told (Fixture    *fixture,
                 const char *line)
{
  return g_ptr_array_find_with_equal_func (fixture->told, line, g_str_equal, NULL);
}

static inline void
follow_wait_held (EvbusTestHook *hook)
{
  evbus_test_wait_until (evbus_test_hook_read (hook, &hook->n_waiting) == 1);
}

/* Those of a. How many: none before they are written, which is soon. */
static inline guint64
follow_drop_letters (Fixture *fixture)
{
  g_autoptr(GAsyncResult) dropped = NULL;
  g_autoptr(GError) error = NULL;
  guint64 n = 0;

  evbus_broker_drop_dead_async (fixture->broker, "hook 'a*'", NULL, 0, NULL, NULL, NULL, NULL,
                                evbus_test_store_result, &dropped);
  evbus_test_wait_until (dropped != NULL);
  evbus_broker_drop_dead_finish (fixture->broker, dropped, &n, &error);
  g_assert_no_error (error);
  return n;
}

static inline void
follow_drop_letter (Fixture *fixture)
{
  guint64 n = 0;

  evbus_test_wait_until ((n = follow_drop_letters (fixture)) > 0);
  g_assert_cmpuint (n, ==, 1);
}

/* Whether a put that waits for @id by now knows who has the event. */
static inline gboolean
follow_is_looked_up (Fixture    *fixture,
                     const char *id)
{
  g_autofree char *options = g_strdup_printf ("{'id': <'%s'>, 'wait': <'delivered'>, 'timeout': <uint32 5>}", id);
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  follow_put (fixture, "ab", options, NULL, &result);
  g_assert_null (follow_finish (fixture, &result, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_TIMED_OUT);
  return strstr (error->message, "has it still") != NULL;
}

/* The put @result waits: its event was looked up in the spool, and a route has it still. */
static inline void
follow_assert_found (Fixture       *fixture,
                     GAsyncResult **result,
                     const char    *id)
{
  evbus_test_wait_until (follow_is_looked_up (fixture, id));
  g_assert_null (*result);
}
