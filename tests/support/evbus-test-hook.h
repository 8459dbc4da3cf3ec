/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Destinations that a test writes itself: a route `hook → PROFILE → {name: NAME}`
 * calls the hook of that name. */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

typedef struct _EvbusTestHook EvbusTestHook;

/* Called on the route's thread, after the gate; NULL confirms everything. What
 * it confirms it adds with evbus_test_hook_take (). */
typedef gboolean (* EvbusTestPublish) (EvbusTestHook  *hook,
                                       EvbusContext   *ctx,
                                       EvbusBatch     *batch,
                                       GCancellable   *cancellable,
                                       GError        **error);
typedef gboolean (* EvbusTestOpen)    (EvbusTestHook  *hook,
                                       EvbusContext   *ctx,
                                       GCancellable   *cancellable,
                                       GError        **error);
typedef void     (* EvbusTestClose)   (EvbusTestHook  *hook,
                                       EvbusContext   *ctx);

struct _EvbusTestHook
{
  gatomicrefcount ref_count;
  char *name;

  EvbusTestOpen open;          /* these four before the broker starts */
  EvbusTestPublish publish;
  EvbusTestClose close;
  gpointer user_data;

  GMutex lock;
  GCond changed;
  GPtrArray *events;           /* what was taken, in order */
  gboolean held;               /* publish waits for the release … */
  guint n_passes;              /* publishes that may pass it even so */
  gboolean deaf;               /* … also when it is cancelled */
  guint n_waiting;             /* publishes at the gate */
  guint n_open;
  guint n_close;
  guint n_publish;
  guint largest_batch;
  guint n_running;             /* functions being run now */
  guint n_overlaps;            /* calls that found another running */
  guint n_cancelled;           /* publishes whose cancellable fired at the gate */
  GThread *thread;             /* of the open */
  GMainContext *context;       /* thread-default in open; not referenced */
  guint n_strays;              /* calls on another thread or in another context */
};

EvbusTestHook *evbus_test_hook_new    (const char     *name);
void           evbus_test_hook_free   (EvbusTestHook  *self);

/* The gate. While it is held, publishes wait at it. */
void           evbus_test_hook_hold    (EvbusTestHook *self);
void           evbus_test_hook_release (EvbusTestHook *self);
/* One publish passes, the gate stays. */
void           evbus_test_hook_let_pass (EvbusTestHook *self);

/* Adds the event at @index to the events, and confirms it. */
void           evbus_test_hook_take    (EvbusTestHook *self,
                                        EvbusBatch    *batch,
                                        guint          index);

guint          evbus_test_hook_length  (EvbusTestHook *self);
EvbusEvent    *evbus_test_hook_peek    (EvbusTestHook *self,
                                        guint          index);
/* (transfer full): all events so far, which the hook forgets. */
GPtrArray     *evbus_test_hook_steal   (EvbusTestHook *self);
/* Reads one of the counters above under the lock. */
guint          evbus_test_hook_read    (EvbusTestHook *self,
                                        const guint   *counter);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusTestHook, evbus_test_hook_free)

/* The ingress objects of all hooks: their constructor waits while it is held. */
void           evbus_test_ingress_hold      (void);
void           evbus_test_ingress_release   (void);
/* Constructors that wait; objects that were made and are not freed. */
guint          evbus_test_ingress_n_waiting (void);
guint          evbus_test_ingress_n_alive   (void);

/* For the plugin. */
#define EVBUS_TEST_EXPORT __attribute__((visibility ("default")))

EVBUS_TEST_EXPORT
void     evbus_test_ingress_made  (void);
EVBUS_TEST_EXPORT
void     evbus_test_ingress_freed (void);
EVBUS_TEST_EXPORT
gboolean evbus_test_hook_open    (EvbusIngress  *ingress,
                                  EvbusContext  *ctx,
                                  GCancellable  *cancellable,
                                  GError       **error);
EVBUS_TEST_EXPORT
gboolean evbus_test_hook_publish (EvbusIngress  *ingress,
                                  EvbusContext  *ctx,
                                  EvbusBatch    *batch,
                                  GCancellable  *cancellable,
                                  GError       **error);
EVBUS_TEST_EXPORT
gboolean evbus_test_hook_close   (EvbusIngress  *ingress,
                                  EvbusContext  *ctx,
                                  GError       **error);

G_END_DECLS
