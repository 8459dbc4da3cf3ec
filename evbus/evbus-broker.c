/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-broker-private.h"

#include "evbus-enum-types.h"
#include "evbus-error.h"
#include "evbus-limits-private.h"

/**
 * EvbusBroker:
 *
 * Takes events and hands each one to every route whose pattern matches its
 * profile.
 *
 * A broker is an [iface@Producer]: events are put by its functions. They can
 * be put before [method@Broker.start], and are delivered from then on.
 *
 * All functions can be called from any thread. Signals, property notifications
 * and changes of the list of routes happen in the main context that was the
 * thread-default one when the broker was made. The last reference can be
 * dropped on any thread, also without a stop: the broker's threads then end by
 * themselves, and what they had not delivered is dropped.
 *
 * ```c
 * g_autoptr(EvbusBroker) broker = evbus_broker_new ();
 * g_autoptr(GError) error = NULL;
 *
 * if (!evbus_broker_load_profiles (broker, "profiles.yaml", &error) ||
 *     !evbus_broker_start (broker, &error))
 *   g_error ("%s", error->message);
 *
 * id = evbus_producer_put_nowait (EVBUS_PRODUCER (broker), "order.created",
 *                                 g_variant_new ("{'id': <42>}"), NULL, &error);
 * ```
 *
 * Since: 1.0
 */

enum {
  SIGNAL_EVENT_FAILED,
  SIGNAL_ROUTE_STATE_CHANGED,
  N_SIGNALS
};

static GParamSpec *properties[EVBUS_BROKER_N_PROPS];
static guint signals[N_SIGNALS];

G_DEFINE_FINAL_TYPE_WITH_CODE (EvbusBroker, evbus_broker, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_PRODUCER, evbus_broker_producer_init))

static void
emit_event_failed (GObject    *object,
                   EvbusRoute *route,
                   EvbusEvent *event,
                   const char *reason,
                   guint64     missed)
{
  g_signal_emit (object, signals[SIGNAL_EVENT_FAILED], 0, route, event, reason, missed);
}

static void
emit_state_changed (GObject         *object,
                    EvbusRoute      *route,
                    EvbusRouteState  state,
                    const char      *reason)
{
  g_signal_emit (object, signals[SIGNAL_ROUTE_STATE_CHANGED], 0, route, state, reason);
}

/* The properties in @changes, a bit each. */
static void
emit_changed (GObject *object,
              guint    changes)
{
  if (changes & 1u)
    evbus_broker_tell_followers (EVBUS_BROKER (object));
  if (changes & 1u << EVBUS_BROKER_PROP_ROUTES)
    evbus_broker_sync_model (EVBUS_BROKER (object));

  for (guint i = 1; i < EVBUS_BROKER_N_PROPS; i++)
    {
      /* The list stays the same object. */
      if ((changes & 1u << i) && i != EVBUS_BROKER_PROP_ROUTES)
        g_object_notify_by_pspec (object, properties[i]);
    }
}

static void
emit_figures_moved (GObject *object)
{
  g_object_notify_by_pspec (object, properties[EVBUS_BROKER_PROP_LEDGER]);
}

void
evbus_broker_notify (EvbusBroker *self,
                     guint        property)
{
  evbus_notifier_changed (self->notifier, 1u << property);
}

void
evbus_broker_routes_changed (EvbusBroker *self)
{
  evbus_broker_notify (self, EVBUS_BROKER_PROP_ROUTES);
}

static const EvbusNotifierFuncs notifier_funcs = {
  .event_failed = emit_event_failed,
  .state_changed = emit_state_changed,
  .changed = emit_changed,
  .figures_moved = emit_figures_moved,
};

static void
evbus_broker_finalize (GObject *object)
{
  EvbusBroker *self = EVBUS_BROKER (object);

  evbus_notifier_close (self->notifier);
  evbus_queue_close (self->queue);
  if (!self->stopped)
    evbus_listener_abort (self->listener);

  g_object_unref (self->model);
  g_ptr_array_unref (self->routes);
  evbus_notifier_unref (self->notifier);
  evbus_listener_unref (self->listener);
  g_mutex_clear (&self->lock);
  g_mutex_clear (&self->reload_lock);
  g_clear_pointer (&self->spooler, evbus_spooler_unref);
  g_clear_pointer (&self->spool, evbus_spool_unref);
  g_clear_pointer (&self->opened_spool, evbus_spool_unref);
  g_free (self->spool_directory);
  g_free (self->profiles_spool);
  g_free (self->spool_note);

  G_OBJECT_CLASS (evbus_broker_parent_class)->finalize (object);
}

static void
evbus_broker_get_property (GObject    *object,
                           guint       property,
                           GValue     *value,
                           GParamSpec *pspec)
{
  EvbusBroker *self = EVBUS_BROKER (object);
  EvbusLedger ledger;

  switch (property)
    {
    case EVBUS_BROKER_PROP_LEDGER:
      evbus_broker_get_ledger (self, &ledger);
      g_value_set_boxed (value, &ledger);
      break;
    case EVBUS_BROKER_PROP_REJECT_UNROUTED:
      g_value_set_boolean (value, evbus_broker_get_reject_unrouted (self));
      break;
    case EVBUS_BROKER_PROP_ROUTES:
      g_value_set_object (value, self->model);
      break;
    case EVBUS_BROKER_PROP_SERIALIZER:
      g_value_set_string (value, evbus_broker_get_serializer (self));
      break;
    case EVBUS_BROKER_PROP_SPOOL_CONDITION:
      g_value_set_enum (value, evbus_broker_get_spool_condition (self));
      break;
    case EVBUS_BROKER_PROP_SPOOL_DIRECTORY:
      g_value_take_string (value, evbus_broker_dup_spool_directory (self));
      break;
    case EVBUS_BROKER_PROP_SPOOL_NOTE:
      g_value_take_string (value, evbus_broker_dup_spool_note (self));
      break;
    case EVBUS_BROKER_PROP_STOP_TIMEOUT:
      g_value_set_uint (value, evbus_broker_get_stop_timeout (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property, pspec);
    }
}

static void
evbus_broker_set_property (GObject      *object,
                           guint         property,
                           const GValue *value,
                           GParamSpec   *pspec)
{
  EvbusBroker *self = EVBUS_BROKER (object);

  switch (property)
    {
    case EVBUS_BROKER_PROP_REJECT_UNROUTED:
      evbus_broker_set_reject_unrouted (self, g_value_get_boolean (value));
      break;
    case EVBUS_BROKER_PROP_SPOOL_DIRECTORY:
      evbus_broker_set_spool_directory (self, g_value_get_string (value));
      break;
    case EVBUS_BROKER_PROP_STOP_TIMEOUT:
      evbus_broker_set_stop_timeout (self, g_value_get_uint (value));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, property, pspec);
    }
}

static void
install_signals (GObjectClass *object_class)
{
  /**
   * EvbusBroker::event-failed:
   * @self: the broker
   * @route: the route that gave the event up
   * @event: the event
   * @reason: why, for a person
   * @missed: how many such signals were left out before this one, because
   *   more than 1,024 were pending
   *
   * An event will not be delivered by a route: the destination will never take
   * it, it grew too old, or it was dropped.
   *
   * Since: 1.0
   */
  signals[SIGNAL_EVENT_FAILED] =
    g_signal_new ("event-failed", EVBUS_TYPE_BROKER, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                  NULL, G_TYPE_NONE, 4,
                  EVBUS_TYPE_ROUTE, EVBUS_TYPE_EVENT, G_TYPE_STRING, G_TYPE_UINT64);

  /**
   * EvbusBroker::route-state-changed:
   * @self: the broker
   * @route: the route
   * @state: its new state
   * @reason: (nullable): why, for a person
   *
   * A route's state or its reason has changed.
   *
   * Since: 1.0
   */
  signals[SIGNAL_ROUTE_STATE_CHANGED] =
    g_signal_new ("route-state-changed", EVBUS_TYPE_BROKER, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                  NULL, G_TYPE_NONE, 3,
                  EVBUS_TYPE_ROUTE, EVBUS_TYPE_ROUTE_STATE, G_TYPE_STRING);
}

static void
install_settings (GParamFlags writable)
{
  /**
   * EvbusBroker:reject-unrouted: (getter get_reject_unrouted) (setter set_reject_unrouted)
   *
   * Whether a put that no route matches is refused with
   * %EVBUS_ERROR_UNROUTED, instead of being accepted and counted.
   *
   * Since: 1.0
   */
  properties[EVBUS_BROKER_PROP_REJECT_UNROUTED] =
    g_param_spec_boolean ("reject-unrouted", NULL, NULL, FALSE, writable);
  /**
   * EvbusBroker:spool-directory: (getter dup_spool_directory) (setter set_spool_directory)
   *
   * The folder in which the broker keeps accepted events until they are
   * delivered, so that they outlive a crash, or %NULL (the default) for memory
   * only. To be set before the start, which opens it.
   *
   * With a spool a put is answered once the event is on disk
   * ([method@Producer.put_nowait] at once), a route that falls behind costs disk
   * instead of memory, and what a stop leaves is kept for the next start.
   *
   * Since: 1.0
   */
  properties[EVBUS_BROKER_PROP_SPOOL_DIRECTORY] =
    g_param_spec_string ("spool-directory", NULL, NULL, NULL, writable);
  /**
   * EvbusBroker:stop-timeout: (getter get_stop_timeout) (setter set_stop_timeout)
   *
   * How many milliseconds [method@Broker.stop_async] gives the routes to
   * deliver what they have.
   *
   * Since: 1.0
   */
  properties[EVBUS_BROKER_PROP_STOP_TIMEOUT] =
    g_param_spec_uint ("stop-timeout", NULL, NULL, 0, G_MAXUINT, EVBUS_DEFAULT_STOP_MS, writable);
}

static void
install_properties (GObjectClass *object_class)
{
  const GParamFlags readable = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY;

  /**
   * EvbusBroker:ledger:
   *
   * The sums over all routes, as [method@Broker.get_ledger] gives them; notified
   * at most four times a second.
   *
   * Since: 1.0
   */
  properties[EVBUS_BROKER_PROP_LEDGER] =
    g_param_spec_boxed ("ledger", NULL, NULL, EVBUS_TYPE_LEDGER, readable);
  /**
   * EvbusBroker:routes: (getter get_routes)
   *
   * The routes, a list of [class@Route].
   *
   * Since: 1.0
   */
  properties[EVBUS_BROKER_PROP_ROUTES] =
    g_param_spec_object ("routes", NULL, NULL, G_TYPE_LIST_MODEL, readable);
  /**
   * EvbusBroker:serializer: (getter get_serializer)
   *
   * The name of the serializer of bodies.
   *
   * Since: 1.0
   */
  properties[EVBUS_BROKER_PROP_SERIALIZER] =
    g_param_spec_string ("serializer", NULL, NULL, "json", readable);
  /**
   * EvbusBroker:spool-condition: (getter get_spool_condition)
   *
   * How the spool is.
   *
   * Since: 1.0
   */
  properties[EVBUS_BROKER_PROP_SPOOL_CONDITION] =
    g_param_spec_enum ("spool-condition", NULL, NULL, EVBUS_TYPE_SPOOL_CONDITION,
                       EVBUS_SPOOL_CONDITION_NONE, readable);
  /**
   * EvbusBroker:spool-note: (getter dup_spool_note)
   *
   * What there is to say about the [property@Broker:spool-condition], for a person,
   * such as under which name a damaged file was set aside and how much of it was
   * taken over; %NULL if there is nothing.
   *
   * Since: 1.0
   */
  properties[EVBUS_BROKER_PROP_SPOOL_NOTE] =
    g_param_spec_string ("spool-note", NULL, NULL, NULL, readable);
  install_settings (readable | G_PARAM_WRITABLE);

  g_object_class_install_properties (object_class, EVBUS_BROKER_N_PROPS, properties);
}

static void
evbus_broker_class_init (EvbusBrokerClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->finalize = evbus_broker_finalize;
  object_class->get_property = evbus_broker_get_property;
  object_class->set_property = evbus_broker_set_property;

  install_properties (object_class);
  install_signals (object_class);
  evbus_broker_install_follow (klass);
}

static void
evbus_broker_init (EvbusBroker *self)
{
  g_mutex_init (&self->lock);
  g_mutex_init (&self->reload_lock);
  self->listener = evbus_listener_new ();
  self->queue = evbus_listener_get_queue (self->listener);
  self->notifier = evbus_notifier_new (G_OBJECT (self), &notifier_funcs);
  self->queue->notifier = evbus_notifier_ref (self->notifier);
  self->stop_timeout = EVBUS_DEFAULT_STOP_MS;
  self->model = g_list_store_new (EVBUS_TYPE_ROUTE);
  self->routes = g_ptr_array_new_with_free_func (g_object_unref);
  evbus_broker_set_serializer (self, "json", NULL);
  self->event_bytes = EVBUS_DEFAULT_EVENT_BYTES;
  self->spool_bytes = EVBUS_DEFAULT_SPOOL_BYTES;
  self->generation = 1;
}

/**
 * evbus_broker_new:
 *
 * Makes a broker without routes, not started.
 *
 * Returns: (transfer full): the broker
 *
 * Since: 1.0
 */
EvbusBroker *
evbus_broker_new (void)
{
  return g_object_new (EVBUS_TYPE_BROKER, NULL);
}

/**
 * evbus_broker_get_stop_timeout: (get-property stop-timeout)
 * @self: a broker
 *
 * See [property@Broker:stop-timeout].
 *
 * Returns: milliseconds
 *
 * Since: 1.0
 */
guint
evbus_broker_get_stop_timeout (EvbusBroker *self)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), 0);

  return g_atomic_int_get (&self->stop_timeout);
}

/**
 * evbus_broker_set_stop_timeout: (set-property stop-timeout)
 * @self: a broker
 * @milliseconds: how long a stop may take to deliver the rest
 *
 * See [property@Broker:stop-timeout].
 *
 * Since: 1.0
 */
void
evbus_broker_set_stop_timeout (EvbusBroker *self,
                               guint        milliseconds)
{
  g_return_if_fail (EVBUS_IS_BROKER (self));

  if ((guint) g_atomic_int_exchange (&self->stop_timeout, milliseconds) != milliseconds)
    evbus_broker_notify (self, EVBUS_BROKER_PROP_STOP_TIMEOUT);
}

/**
 * evbus_broker_get_reject_unrouted: (get-property reject-unrouted)
 * @self: a broker
 *
 * See [property@Broker:reject-unrouted].
 *
 * Returns: %TRUE if such events are refused
 *
 * Since: 1.0
 */
gboolean
evbus_broker_get_reject_unrouted (EvbusBroker *self)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);

  return g_atomic_int_get (&self->reject_unrouted);
}

/**
 * evbus_broker_set_reject_unrouted: (set-property reject-unrouted)
 * @self: a broker
 * @reject_unrouted: whether to refuse events that match no route
 *
 * See [property@Broker:reject-unrouted].
 *
 * Since: 1.0
 */
void
evbus_broker_set_reject_unrouted (EvbusBroker *self,
                                  gboolean     reject_unrouted)
{
  gboolean changed;

  g_return_if_fail (EVBUS_IS_BROKER (self));

  reject_unrouted = !!reject_unrouted;
  /* Both the same way, whoever else is doing so. */
  g_mutex_lock (&self->lock);
  evbus_queue_set_reject_unrouted (self->queue, reject_unrouted);
  changed = g_atomic_int_exchange (&self->reject_unrouted, reject_unrouted) != reject_unrouted;
  g_mutex_unlock (&self->lock);

  if (changed)
    evbus_broker_notify (self, EVBUS_BROKER_PROP_REJECT_UNROUTED);
}

/**
 * evbus_broker_get_serializer: (get-property serializer)
 * @self: a broker
 *
 * The name of the serializer of bodies; "json" unless it was changed.
 *
 * Returns: (transfer none): the name
 *
 * Since: 1.0
 */
const char *
evbus_broker_get_serializer (EvbusBroker *self)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), NULL);

  return g_atomic_pointer_get (&self->serializer_name);
}

/**
 * evbus_broker_set_serializer:
 * @self: a broker
 * @name: "json", "gvariant", "msgpack", "str", or the name of one that was
 *   registered or that a plugin has
 * @error: return location for a #GError
 *
 * Chooses how bodies are serialised from now on.
 *
 * Errors: %EVBUS_ERROR_NOT_FOUND if there is no such serializer, %EVBUS_ERROR_PLUGIN if
 * its plugin does not load.
 *
 * Returns: %TRUE if there is
 *
 * Since: 1.0
 */
gboolean
evbus_broker_set_serializer (EvbusBroker  *self,
                             const char   *name,
                             GError      **error)
{
  EvbusSerializer *serializer;
  gboolean changed;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (name != NULL, FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  serializer = evbus_serializer_lookup (name, error);
  if (serializer == NULL)
    return FALSE;

  g_mutex_lock (&self->lock);
  g_atomic_pointer_set (&self->serializer_name, g_intern_string (name));
  changed = g_atomic_pointer_exchange (&self->serializer, serializer) != serializer;
  g_mutex_unlock (&self->lock);

  if (changed)
    evbus_broker_notify (self, EVBUS_BROKER_PROP_SERIALIZER);

  /* The library keeps a reference of each, so none is kept here. */
  g_object_unref (serializer);
  return TRUE;
}
