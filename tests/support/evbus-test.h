/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the tests of the library share: conditions with a deadline, brokers and
 * routes in a line, the ledger. */

#pragma once

#include <evbus/evbus.h>

#include "evbus-test-hook.h"

G_BEGIN_DECLS

/* Instead of g_test_init (): finds the test plugins, keeps the logs. */
void         evbus_test_init          (int           *argc,
                                       char        ***argv);

/* Iterates the thread-default main context until @condition holds, and fails
 * the test at the deadline, naming it. */
#define evbus_test_wait_until(condition) \
  G_STMT_START { \
    gint64 evbus_test_deadline = g_get_monotonic_time () + EVBUS_TEST_DEADLINE; \
    while (!(condition)) \
      evbus_test_wait_step (evbus_test_deadline, #condition, __FILE__, __LINE__); \
  } G_STMT_END
#define EVBUS_TEST_DEADLINE (60 * G_USEC_PER_SEC)
void         evbus_test_wait_step     (gint64         deadline,
                                       const char    *condition,
                                       const char    *file,
                                       int            line);
/* For a test of an age, of which nothing but the clock tells: waits until @microseconds have passed. */
void         evbus_test_grow_older    (gint64         microseconds);
/* Dispatches what is ready in the thread-default main context. */
void         evbus_test_iterate       (void);

EvbusBroker *evbus_test_broker_new    (void);
/* @data: GVariant text of type a{sv}, or NULL. */
EvbusRoute  *evbus_test_add_route     (EvbusBroker   *broker,
                                       const char    *provider,
                                       const char    *profile,
                                       const char    *data);
/* The same for a hook, with @delivery as GVariant text a{sv}, or NULL. */
EvbusRoute  *evbus_test_add_hook      (EvbusBroker   *broker,
                                       EvbusTestHook *hook,
                                       const char    *profile,
                                       const char    *delivery);
void         evbus_test_apply         (EvbusBroker   *broker,
                                       const char    *yaml);
void         evbus_test_start         (EvbusBroker   *broker);
/* Stops, and asserts that nothing was left over and every ledger balances. Also
 * for what was stopped already, where it asserts the same answer once more. */
void         evbus_test_stop          (EvbusBroker   *broker);
/* For who calls stop_async: asserts that the answer is that of the first stop,
 * and that an error is that of what is left over. */
gboolean     evbus_test_stop_finish   (EvbusBroker   *broker,
                                       GAsyncResult  *result,
                                       GError       **error);
/* The same where some events cannot be delivered, within 4 s. */
void         evbus_test_stop_anyhow   (EvbusBroker   *broker);
/* The same where something is left over, which is dropped. */
void         evbus_test_stop_leaving  (EvbusBroker   *broker);

/* put_nowait of bytes that must be accepted; returns the id. */
char        *evbus_test_put           (EvbusBroker   *broker,
                                       const char    *routing_key,
                                       const char    *text,
                                       const char    *profile);
/* The same @n times, the text being the number from @first on. */
void         evbus_test_put_numbers   (EvbusBroker   *broker,
                                       const char    *profile,
                                       guint          first,
                                       guint          n);
/* put_with_options_async and its finish. */
char        *evbus_test_put_options   (EvbusBroker   *broker,
                                       const char    *routing_key,
                                       GVariant      *body,
                                       const char    *profile,
                                       const char    *options,
                                       GCancellable  *cancellable,
                                       GError       **error);
char       **evbus_test_put_many      (EvbusBroker   *broker,
                                       GVariant      *events,
                                       GError       **error);
/* For async calls: *user_data (a GAsyncResult **) becomes the result. */
void         evbus_test_store_result  (GObject       *source,
                                       GAsyncResult  *result,
                                       gpointer       user_data);

/* The system refuses the process its next @n threads. */
void         evbus_test_refuse_threads (gint           n);
/* How many it has refused. */
gint         evbus_test_count_refused_threads (void);

/* The text of an event's body as a number. */
guint        evbus_test_event_number  (EvbusEvent    *event);

/* @expected: "accepted=3 delivered=2 queued=1"; what is not named is 0, but
 * `retried`, `unrouted`, `duplicates` and `repeated` count only where they are named. */
#define evbus_test_assert_ledger(route, expected) \
  evbus_test_check_ledger ((route), (expected), __FILE__, __LINE__)
void         evbus_test_check_ledger  (gpointer       route_or_broker,
                                       const char    *expected,
                                       const char    *file,
                                       int            line);
/* Waits until the named figures stand so. */
#define evbus_test_wait_ledger(route, expected) \
  G_STMT_START { \
    gint64 evbus_test_deadline = g_get_monotonic_time () + EVBUS_TEST_DEADLINE; \
    while (!evbus_test_ledger_is ((route), (expected))) \
      { \
        if (g_get_monotonic_time () > evbus_test_deadline) \
          evbus_test_check_ledger ((route), (expected), __FILE__, __LINE__); \
        evbus_test_wait_step (evbus_test_deadline + G_USEC_PER_SEC, \
                              "ledger " expected, __FILE__, __LINE__); \
      } \
  } G_STMT_END
gboolean     evbus_test_ledger_is     (gpointer       route_or_broker,
                                       const char    *expected);
/* Every route's ledger balances, and the broker's is their sum and that of the
 * routes that were removed; while no event moves. */
void         evbus_test_assert_balance (EvbusBroker  *broker);
guint64      evbus_test_figure        (gpointer       route_or_broker,
                                       const char    *name);

/* Logs since evbus_test_init () or the last clear: those whose message and
 * EVBUS_PROFILE / EVBUS_ROUTE fields match the globs (NULL: any). */
guint        evbus_test_count_logs    (GLogLevelFlags level,
                                       const char    *message,
                                       const char    *field,
                                       const char    *value);
void         evbus_test_clear_logs    (void);

#define evbus_test_assert_error(err, code, fragment) \
  G_STMT_START { \
    g_assert_error ((err), EVBUS_ERROR, (int) (code)); \
    evbus_test_assert_says ((err)->message, (fragment)); \
  } G_STMT_END
/* @fragment: a case-insensitive regular expression. */
void         evbus_test_assert_says   (const char    *message,
                                       const char    *fragment);
/* Waits until the route is in @state for a reason that says @fragment (NULL: for none): one look at both. */
#define evbus_test_wait_status(route, state, fragment) \
  evbus_test_wait_until (evbus_test_status_is ((route), (state), (fragment)))
gboolean     evbus_test_status_is     (EvbusRoute      *route,
                                       EvbusRouteState  state,
                                       const char      *fragment);

G_END_DECLS
