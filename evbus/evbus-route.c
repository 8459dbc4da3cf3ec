/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-route-private.h"

#include "evbus-enum-types.h"
#include "evbus-mailbox-private.h"
#include "evbus-source-private.h"
#include "evbus-spooler-private.h"

/**
 * EvbusRoute:
 *
 * One entry `provider → profile pattern → data` of the configuration: where
 * events whose profile matches the pattern go, and how that is going.
 *
 * A route has a thread, a window of waiting events, retries and figures of its
 * own, so that nothing it does holds up another route. The properties are
 * live; they are notified in the main context in which the broker was made,
 * the figures at most four times a second. All functions can be called from
 * any thread.
 *
 * Since: 1.0
 */

/**
 * EvbusRouteState:
 * @EVBUS_ROUTE_STATE_STOPPED: not started yet, or stopped
 * @EVBUS_ROUTE_STATE_OPENING: connecting for the first time
 * @EVBUS_ROUTE_STATE_RUNNING: all is well
 * @EVBUS_ROUTE_STATE_PAUSED: it was told to wait by [method@Route.pause]
 * @EVBUS_ROUTE_STATE_RETRYING: the last try failed; the next one comes by
 *   itself
 * @EVBUS_ROUTE_STATE_BROKEN: a person has to mend something; a try now and
 *   then finds out when that was done
 * @EVBUS_ROUTE_STATE_STUCK: the plugin was told to give up and has not
 *   returned
 * @EVBUS_ROUTE_STATE_FAILED: there is no plugin, or it does not load, or no
 *   thread can be started for the route, which is tried again
 *
 * How a route is doing. For all but the first three the reason says why:
 * [method@Route.get_status].
 *
 * Since: 1.0
 */

enum {
  PROP_NAME = 1,
  PROP_PROVIDER,
  PROP_PROFILE,
  PROP_STATE,
  PROP_REASON,
  PROP_ACCEPTED,
  PROP_DELIVERED,
  PROP_DEAD,
  PROP_EXPIRED,
  PROP_DROPPED,
  PROP_QUEUED,
  PROP_RETRIED,
  PROP_DUPLICATES,
  PROP_QUEUED_BYTES,
  N_PROPS
};

static GParamSpec *properties[N_PROPS];

static const struct {
  const char *name;
  goffset     offset;
} figures[N_PROPS] = {
  [PROP_ACCEPTED]  = { "accepted",  G_STRUCT_OFFSET (EvbusLedger, accepted) },
  [PROP_DELIVERED] = { "delivered", G_STRUCT_OFFSET (EvbusLedger, delivered) },
  [PROP_DEAD]      = { "dead",      G_STRUCT_OFFSET (EvbusLedger, dead) },
  [PROP_EXPIRED]   = { "expired",   G_STRUCT_OFFSET (EvbusLedger, expired) },
  [PROP_DROPPED]   = { "dropped",   G_STRUCT_OFFSET (EvbusLedger, dropped) },
  [PROP_QUEUED]    = { "queued",    G_STRUCT_OFFSET (EvbusLedger, queued) },
  [PROP_RETRIED]   = { "retried",   G_STRUCT_OFFSET (EvbusLedger, retried) },
  [PROP_DUPLICATES] = { "duplicates", G_STRUCT_OFFSET (EvbusLedger, duplicates) },
};

G_DEFINE_FINAL_TYPE (EvbusRoute, evbus_route, G_TYPE_OBJECT)

static void
evbus_route_finalize (GObject *object)
{
  EvbusRoute *self = EVBUS_ROUTE (object);
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

  /* Nobody can deliver these any more, and nobody hears of them: the broker
   * has gone before its routes. */
  evbus_window_drop_oldest (&self->window, 0, 0, events);
  evbus_queue_retire (self->queue, self);
  evbus_hand_clear (&self->hand);
  g_source_destroy (self->work);
  g_source_unref (self->work);
  g_main_context_unref (self->context);
  g_object_unref (self->mailbox);
  g_clear_object (&self->call);
  evbus_notifier_unref (self->notifier);
  g_clear_pointer (&self->spooler, evbus_spooler_unref);
  g_clear_pointer (&self->spool_route, evbus_spool_route_unref);
  g_clear_pointer (&self->spool, evbus_spool_unref);
  evbus_queue_unref (self->queue);
  evbus_route_spec_unref (self->spec);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->backlog_lock);
  g_free (self->label);
  g_free (self->reason);

  G_OBJECT_CLASS (evbus_route_parent_class)->finalize (object);
}

static void
evbus_route_get_property (GObject    *object,
                          guint       property,
                          GValue     *value,
                          GParamSpec *pspec)
{
  EvbusRoute *self = EVBUS_ROUTE (object);
  EvbusLedger ledger;

  switch (property)
    {
    case PROP_NAME:
      g_value_set_string (value, evbus_route_get_name (self));
      break;
    case PROP_PROVIDER:
      g_value_set_string (value, self->spec->provider);
      break;
    case PROP_PROFILE:
      g_value_set_string (value, self->spec->profile);
      break;
    case PROP_STATE:
      g_value_set_enum (value, evbus_route_get_state (self));
      break;
    case PROP_REASON:
      g_value_take_string (value, evbus_route_dup_reason (self));
      break;
    case PROP_QUEUED_BYTES:
      g_value_set_uint64 (value, evbus_route_get_queued_bytes (self));
      break;
    default:
      evbus_queue_get_ledger (self->queue, self, &ledger);
      g_value_set_uint64 (value, G_STRUCT_MEMBER (guint64, &ledger, figures[property].offset));
    }
}

static void
install_figures (GParamFlags flags)
{
  /**
   * EvbusRoute:accepted:
   *
   * See [struct@Ledger].
   *
   * Since: 1.0
   */
  /**
   * EvbusRoute:delivered:
   *
   * See [struct@Ledger].
   *
   * Since: 1.0
   */
  /**
   * EvbusRoute:dead:
   *
   * See [struct@Ledger].
   *
   * Since: 1.0
   */
  /**
   * EvbusRoute:expired:
   *
   * See [struct@Ledger].
   *
   * Since: 1.0
   */
  /**
   * EvbusRoute:dropped:
   *
   * See [struct@Ledger].
   *
   * Since: 1.0
   */
  /**
   * EvbusRoute:queued:
   *
   * See [struct@Ledger].
   *
   * Since: 1.0
   */
  /**
   * EvbusRoute:retried:
   *
   * See [struct@Ledger].
   *
   * Since: 1.0
   */
  /**
   * EvbusRoute:duplicates:
   *
   * See [struct@Ledger].
   *
   * Since: 1.0
   */
  for (guint i = PROP_ACCEPTED; i < PROP_QUEUED_BYTES; i++)
    properties[i] = g_param_spec_uint64 (figures[i].name, NULL, NULL, 0, G_MAXUINT64, 0, flags);
}

static void
evbus_route_class_init (EvbusRouteClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY;

  object_class->finalize = evbus_route_finalize;
  object_class->get_property = evbus_route_get_property;

  /**
   * EvbusRoute:name:
   *
   * What a person calls the route.
   *
   * Since: 1.0
   */
  properties[PROP_NAME] = g_param_spec_string ("name", NULL, NULL, NULL, flags);
  /**
   * EvbusRoute:provider:
   *
   * The provider's own name, such as "file", also where an alias was written.
   *
   * Since: 1.0
   */
  properties[PROP_PROVIDER] = g_param_spec_string ("provider", NULL, NULL, NULL, flags);
  /**
   * EvbusRoute:profile:
   *
   * The pattern that profile names must match, as it was written.
   *
   * Since: 1.0
   */
  properties[PROP_PROFILE] = g_param_spec_string ("profile", NULL, NULL, NULL, flags);
  /**
   * EvbusRoute:state:
   *
   * How the route is doing.
   *
   * Since: 1.0
   */
  properties[PROP_STATE] = g_param_spec_enum ("state", NULL, NULL, EVBUS_TYPE_ROUTE_STATE,
                                              EVBUS_ROUTE_STATE_STOPPED, flags);
  /**
   * EvbusRoute:reason:
   *
   * Why the route is in its state, for a person, or %NULL.
   *
   * Since: 1.0
   */
  properties[PROP_REASON] = g_param_spec_string ("reason", NULL, NULL, NULL, flags);
  install_figures (flags);
  /**
   * EvbusRoute:queued-bytes:
   *
   * How many bytes of events are queued, as budgets count them: those of their records in a
   * spool, with all that belongs to an event.
   *
   * Since: 1.0
   */
  properties[PROP_QUEUED_BYTES] = g_param_spec_uint64 ("queued-bytes", NULL, NULL, 0, G_MAXUINT64, 0, flags);

  g_object_class_install_properties (object_class, N_PROPS, properties);
}

static void
evbus_route_init (EvbusRoute *self)
{
  g_mutex_init (&self->lock);
  g_mutex_init (&self->backlog_lock);
  evbus_window_init (&self->window);
  evbus_hand_init (&self->hand);
  self->context = g_main_context_new ();
  self->mailbox = evbus_mailbox_new ();
}

EvbusRoute *
evbus_route_new (EvbusRouteSpec *spec,
                 EvbusQueue     *queue,
                 EvbusNotifier  *notifier)
{
  EvbusRoute *self = g_object_new (EVBUS_TYPE_ROUTE, NULL);

  self->spec = evbus_route_spec_ref (spec);
  self->label = g_strdup_printf ("%s '%s'", spec->provider, spec->profile);
  self->queue = evbus_queue_ref (queue);
  self->notifier = evbus_notifier_ref (notifier);
  evbus_queue_adopt (queue, self);
  self->work = evbus_source_new ("[evbus] route", NULL, NULL, NULL);
  if (spec->info == NULL)
    {
      self->state = EVBUS_ROUTE_STATE_FAILED;
      self->reason = g_strdup (spec->missing);
    }

  return self;
}

GPtrArray *
evbus_route_array_copy (GPtrArray *routes)
{
  GPtrArray *copy = g_ptr_array_new_full (routes->len, g_object_unref);

  for (guint i = 0; i < routes->len; i++)
    g_ptr_array_add (copy, g_object_ref (routes->pdata[i]));
  return copy;
}

void
evbus_route_settle (EvbusRoute        *self,
                    const EvbusLedger *outcome,
                    guint              n_events,
                    gsize              weight,
                    const EvbusLeft   *left)
{
  evbus_queue_settle (self->queue, self, outcome, n_events, weight, left);
  evbus_notifier_figures_moved (self->notifier, self);
}

void
evbus_route_give_up (EvbusRoute *self,
                     GPtrArray  *events,
                     goffset     count,
                     const char *reason)
{
  EvbusLedger outcome = { 0 };
  const EvbusLeft left = {
    .events = (EvbusEvent **) events->pdata, .n_events = events->len,
    .fate = count == G_STRUCT_OFFSET (EvbusLedger, expired) ? EVBUS_FATE_EXPIRED : EVBUS_FATE_DROPPED,
    .reason = reason,
  };
  gsize weight = 0;

  for (guint i = 0; i < events->len; i++)
    weight += ((EvbusEvent *) events->pdata[i])->weight;

  G_STRUCT_MEMBER (guint64, &outcome, count) = events->len;
  evbus_route_settle (self, &outcome, events->len, weight, &left);

  for (guint i = 0; i < events->len; i++)
    evbus_notifier_event_failed (self->notifier, self, events->pdata[i], reason);
}

void
evbus_route_leave_over (EvbusRoute *self,
                        GPtrArray  *events,
                        const char *reason)
{
  if (self->spool == NULL && events->len > 0)
    evbus_route_give_up (self, events, G_STRUCT_OFFSET (EvbusLedger, dropped), reason);
}

void
evbus_route_push (EvbusRoute *self,
                  EvbusChunk *chunk)
{
  g_autoptr(GPtrArray) dropped = NULL;
  gboolean wake;
  gboolean finished;

  g_mutex_lock (&self->lock);
  if (self->spool == NULL)
    dropped = evbus_window_push_within (&self->window, chunk, &self->spec->delivery,
                                        self->n_held, self->held_weight);
  else if (!evbus_route_defer_locked (self, chunk))
    evbus_window_push (&self->window, chunk);
  wake = !self->awake;
  self->awake = TRUE;
  finished = self->finished;
  g_mutex_unlock (&self->lock);

  if (finished)
    evbus_route_drop_window (self, "the route was stopped");
  else if (wake)
    evbus_source_wake (self->work);
  if (dropped != NULL)
    evbus_route_give_up (self, dropped, G_STRUCT_OFFSET (EvbusLedger, dropped),
                         "the route's window is full");
  /* It may be one that settles nothing for long. */
  evbus_notifier_figures_moved (self->notifier, self);
}

void
evbus_route_drop_window (EvbusRoute *self,
                         const char *reason)
{
  g_autoptr(GPtrArray) dropped = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

  g_mutex_lock (&self->lock);
  self->finished = TRUE;
  evbus_window_drop_oldest (&self->window, 0, 0, dropped);
  g_mutex_unlock (&self->lock);

  evbus_mailbox_close (self->mailbox);
  evbus_route_leave_over (self, dropped, reason);
}

void
evbus_route_notify_state (EvbusRoute *self)
{
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_STATE]);
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_REASON]);
}

void
evbus_route_notify_figures (EvbusRoute *self)
{
  g_object_freeze_notify (G_OBJECT (self));
  for (guint i = PROP_ACCEPTED; i < N_PROPS; i++)
    g_object_notify_by_pspec (G_OBJECT (self), properties[i]);
  g_object_thaw_notify (G_OBJECT (self));
}

/**
 * evbus_route_get_name: (get-property name)
 * @self: a route
 *
 * What a person calls the route: its name, from `delivery: {name: …}`, or else
 * "PROVIDER 'PATTERN'", which several may share.
 *
 * Returns: (transfer none): the name
 *
 * Since: 1.0
 */
const char *
evbus_route_get_name (EvbusRoute *self)
{
  g_return_val_if_fail (EVBUS_IS_ROUTE (self), NULL);

  return self->spec->delivery.name != NULL ? self->spec->delivery.name : self->label;
}

/**
 * evbus_route_get_provider: (get-property provider)
 * @self: a route
 *
 * The provider's own name, such as "file", also where an alias was written.
 *
 * Returns: (transfer none): the name
 *
 * Since: 1.0
 */
const char *
evbus_route_get_provider (EvbusRoute *self)
{
  g_return_val_if_fail (EVBUS_IS_ROUTE (self), NULL);

  return self->spec->provider;
}

/**
 * evbus_route_get_profile: (get-property profile)
 * @self: a route
 *
 * The pattern that profile names must match, as it was written.
 *
 * Returns: (transfer none): the pattern
 *
 * Since: 1.0
 */
const char *
evbus_route_get_profile (EvbusRoute *self)
{
  g_return_val_if_fail (EVBUS_IS_ROUTE (self), NULL);

  return self->spec->profile;
}

/**
 * evbus_route_get_ledger:
 * @self: a route
 * @ledger: (out caller-allocates): where to put the counts
 *
 * What became of the route's events: a snapshot that balances.
 *
 * Since: 1.0
 */
void
evbus_route_get_ledger (EvbusRoute  *self,
                        EvbusLedger *ledger)
{
  g_return_if_fail (EVBUS_IS_ROUTE (self));
  g_return_if_fail (ledger != NULL);

  evbus_queue_get_ledger (self->queue, self, ledger);
}

/**
 * evbus_route_get_queued_bytes: (get-property queued-bytes)
 * @self: a route
 *
 * How many bytes of events are queued, as budgets count them: those of their records in a
 * spool, with all that belongs to an event.
 *
 * Returns: the number of bytes
 *
 * Since: 1.0
 */
guint64
evbus_route_get_queued_bytes (EvbusRoute *self)
{
  g_return_val_if_fail (EVBUS_IS_ROUTE (self), 0);

  return evbus_queue_get_weight (self->queue, self);
}

/**
 * evbus_route_get_mailbox:
 * @self: a route
 *
 * Where the route's plugin hands events to consumers in this process, if it is
 * one that does, such as `internal`. It is there as long as the route, so a
 * consumer can wait before anything was put.
 *
 * Returns: (transfer none): the mailbox
 *
 * Since: 1.0
 */
EvbusMailbox *
evbus_route_get_mailbox (EvbusRoute *self)
{
  g_return_val_if_fail (EVBUS_IS_ROUTE (self), NULL);

  return self->mailbox;
}
