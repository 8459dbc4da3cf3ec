/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-test-hook.h"

static GMutex hooks_lock;
static GHashTable *hooks;

/* A route whose broker was dropped without stop may call once more: the
 * registry's reference is not the only one. */
static void
hook_unref (EvbusTestHook *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  g_ptr_array_unref (self->events);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->changed);
  g_free (self->name);
  g_free (self);
}

static EvbusTestHook *
hook_lookup (EvbusContext  *ctx,
             GError       **error)
{
  const char *name = evbus_context_get_string (ctx, "name");
  EvbusTestHook *self;

  g_mutex_lock (&hooks_lock);
  self = hooks != NULL && name != NULL ? g_hash_table_lookup (hooks, name) : NULL;
  if (self != NULL)
    g_atomic_ref_count_inc (&self->ref_count);
  g_mutex_unlock (&hooks_lock);

  if (self == NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT,
                 "There is no hook “%s” now", name != NULL ? name : "(none)");
  return self;
}

EvbusTestHook *
evbus_test_hook_new (const char *name)
{
  EvbusTestHook *self = g_new0 (EvbusTestHook, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->name = g_strdup (name);
  self->events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);

  g_mutex_lock (&hooks_lock);
  if (hooks == NULL)
    hooks = g_hash_table_new (g_str_hash, g_str_equal);
  g_assert_false (g_hash_table_contains (hooks, name));
  g_hash_table_insert (hooks, self->name, self);
  g_mutex_unlock (&hooks_lock);
  return self;
}

void
evbus_test_hook_free (EvbusTestHook *self)
{
  g_mutex_lock (&hooks_lock);
  g_hash_table_remove (hooks, self->name);
  if (g_hash_table_size (hooks) == 0)
    g_clear_pointer (&hooks, g_hash_table_unref);
  g_mutex_unlock (&hooks_lock);

  evbus_test_hook_release (self);
  hook_unref (self);
}

void
evbus_test_hook_hold (EvbusTestHook *self)
{
  g_mutex_lock (&self->lock);
  self->held = TRUE;
  g_mutex_unlock (&self->lock);
}

void
evbus_test_hook_release (EvbusTestHook *self)
{
  g_mutex_lock (&self->lock);
  self->held = FALSE;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

void
evbus_test_hook_let_pass (EvbusTestHook *self)
{
  g_mutex_lock (&self->lock);
  self->n_passes++;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

void
evbus_test_hook_take (EvbusTestHook *self,
                      EvbusBatch    *batch,
                      guint          index)
{
  g_mutex_lock (&self->lock);
  g_ptr_array_add (self->events, evbus_event_ref (evbus_batch_get_event (batch, index)));
  g_mutex_unlock (&self->lock);
  evbus_batch_confirm (batch, index);
}

guint
evbus_test_hook_length (EvbusTestHook *self)
{
  guint length;

  g_mutex_lock (&self->lock);
  length = self->events->len;
  g_mutex_unlock (&self->lock);
  return length;
}

EvbusEvent *
evbus_test_hook_peek (EvbusTestHook *self,
                      guint          index)
{
  EvbusEvent *event;

  g_mutex_lock (&self->lock);
  g_assert_cmpuint (index, <, self->events->len);
  event = g_ptr_array_index (self->events, index);
  g_mutex_unlock (&self->lock);
  return event;
}

GPtrArray *
evbus_test_hook_steal (EvbusTestHook *self)
{
  GPtrArray *events;

  g_mutex_lock (&self->lock);
  events = self->events;
  self->events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_mutex_unlock (&self->lock);
  return events;
}

guint
evbus_test_hook_read (EvbusTestHook *self,
                      const guint   *counter)
{
  guint value;

  g_mutex_lock (&self->lock);
  value = *counter;
  g_mutex_unlock (&self->lock);
  return value;
}

static void
hook_enter_locked (EvbusTestHook *self)
{
  if (self->n_running++ > 0)
    self->n_overlaps++;
  if (self->thread != g_thread_self () ||
      self->context != g_main_context_get_thread_default ())
    self->n_strays++;
}

static void
hook_leave (EvbusTestHook *self)
{
  g_mutex_lock (&self->lock);
  self->n_running--;
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
  hook_unref (self);
}

gboolean
evbus_test_hook_open (EvbusIngress  *ingress,
                      EvbusContext  *ctx,
                      GCancellable  *cancellable,
                      GError       **error)
{
  EvbusTestHook *self = hook_lookup (ctx, error);
  gboolean opened = TRUE;

  if (self == NULL)
    return FALSE;

  g_mutex_lock (&self->lock);
  self->n_open++;
  self->thread = g_thread_self ();
  self->context = g_main_context_get_thread_default ();
  hook_enter_locked (self);
  g_mutex_unlock (&self->lock);

  if (self->open != NULL)
    opened = self->open (self, ctx, cancellable, error);
  hook_leave (self);
  return opened;
}

static void
on_cancelled (GCancellable  *cancellable,
              EvbusTestHook *self)
{
  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* FALSE: cancelled while waiting. */
static gboolean
hook_pass_gate (EvbusTestHook *self,
                GCancellable  *cancellable)
{
  gulong handler = 0;
  gboolean passed;

  if (cancellable != NULL)
    handler = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), self, NULL);

  g_mutex_lock (&self->lock);
  self->n_waiting++;
  g_cond_broadcast (&self->changed);
  while (self->held && self->n_passes == 0 && (self->deaf || !g_cancellable_is_cancelled (cancellable)))
    g_cond_wait (&self->changed, &self->lock);
  self->n_waiting--;
  passed = !self->held || self->n_passes > 0;
  if (self->held && self->n_passes > 0)
    self->n_passes--;
  if (g_cancellable_is_cancelled (cancellable))
    self->n_cancelled++;
  g_mutex_unlock (&self->lock);

  g_cancellable_disconnect (cancellable, handler);
  return passed;
}

gboolean
evbus_test_hook_publish (EvbusIngress  *ingress,
                         EvbusContext  *ctx,
                         EvbusBatch    *batch,
                         GCancellable  *cancellable,
                         GError       **error)
{
  EvbusTestHook *self = hook_lookup (ctx, error);
  gboolean published = TRUE;
  guint n_events = evbus_batch_get_n_events (batch);

  if (self == NULL)
    return FALSE;

  g_mutex_lock (&self->lock);
  self->n_publish++;
  self->largest_batch = MAX (self->largest_batch, n_events);
  hook_enter_locked (self);
  g_mutex_unlock (&self->lock);

  if (!hook_pass_gate (self, cancellable))
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "Cancelled at the gate");
      published = FALSE;
    }
  else if (self->publish != NULL)
    published = self->publish (self, ctx, batch, cancellable, error);
  else
    for (guint i = 0; i < n_events; i++)
      evbus_test_hook_take (self, batch, i);

  hook_leave (self);
  return published;
}

gboolean
evbus_test_hook_close (EvbusIngress  *ingress,
                       EvbusContext  *ctx,
                       GError       **error)
{
  EvbusTestHook *self = hook_lookup (ctx, NULL);

  if (self == NULL)
    return TRUE;

  g_mutex_lock (&self->lock);
  self->n_close++;
  hook_enter_locked (self);
  g_mutex_unlock (&self->lock);

  if (self->close != NULL)
    self->close (self, ctx);
  hook_leave (self);
  return TRUE;
}

static GMutex ingress_lock;
static GCond ingress_changed;
static gboolean ingress_held;
static guint n_ingress_waiting, n_ingress_alive;

void
evbus_test_ingress_hold (void)
{
  g_mutex_lock (&ingress_lock);
  ingress_held = TRUE;
  g_mutex_unlock (&ingress_lock);
}

void
evbus_test_ingress_release (void)
{
  g_mutex_lock (&ingress_lock);
  ingress_held = FALSE;
  g_cond_broadcast (&ingress_changed);
  g_mutex_unlock (&ingress_lock);
}

static guint
read_ingress_counter (const guint *counter)
{
  guint value;

  g_mutex_lock (&ingress_lock);
  value = *counter;
  g_mutex_unlock (&ingress_lock);
  return value;
}

guint
evbus_test_ingress_n_waiting (void)
{
  return read_ingress_counter (&n_ingress_waiting);
}

guint
evbus_test_ingress_n_alive (void)
{
  return read_ingress_counter (&n_ingress_alive);
}

void
evbus_test_ingress_made (void)
{
  g_mutex_lock (&ingress_lock);
  n_ingress_alive++;
  n_ingress_waiting++;
  while (ingress_held)
    g_cond_wait (&ingress_changed, &ingress_lock);
  n_ingress_waiting--;
  g_mutex_unlock (&ingress_lock);
}

void
evbus_test_ingress_freed (void)
{
  g_mutex_lock (&ingress_lock);
  n_ingress_alive--;
  g_mutex_unlock (&ingress_lock);
}
