/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-delivery-private.h"
#include "evbus-limits-private.h"
#include "evbus-schema-private.h"
#include "evbus-units-private.h"

#define HOUR (60 * 60 * (gint64) G_USEC_PER_SEC)
#define GIB  ((gint64) 1024 * 1024 * 1024)

typedef enum {
  FIELD_UINT,
  FIELD_SIZE,
  FIELD_INT64,
  FIELD_MILLISECONDS,
  FIELD_BOOLEAN,
  FIELD_CHOICE,
  FIELD_TEXT,
} FieldType;

typedef struct {
  EvbusOptionDef option;
  FieldType      type;
  gsize          offset;
} Field;

#define DELIVERY(type, member) type, G_STRUCT_OFFSET (EvbusDelivery, member)
#define SETTING(type, member)  type, G_STRUCT_OFFSET (EvbusSettings, member)

/* The choices of overflow stand in the order of EvbusOverflow. */
static const Field delivery_fields[] = {
  { { "delivery.batch.events", EVBUS_OPTION_INTEGER, EVBUS_DEFAULT_BATCH_EVENTS, 1, 65536, NULL,
      "Events handed to the plugin at once, at most" }, DELIVERY (FIELD_UINT, batch_events) },
  { { "delivery.batch.bytes", EVBUS_OPTION_SIZE, EVBUS_DEFAULT_BATCH_BYTES, 1024, GIB, NULL,
      "Their bytes together, at most; one event always goes" }, DELIVERY (FIELD_SIZE, batch_bytes) },
  { { "delivery.batch.linger", EVBUS_OPTION_DURATION, EVBUS_DEFAULT_LINGER_US, 0, HOUR, NULL,
      "How long an event may wait for more to fill the batch" }, DELIVERY (FIELD_INT64, linger) },
  { { "delivery.in_flight", EVBUS_OPTION_INTEGER, 0, 0, 65536, NULL,
      "Events not yet confirmed, at most, also of several batches; 0: as many as a batch has, 1: strict order" }, DELIVERY (FIELD_UINT, in_flight) },
  { { "delivery.window.events", EVBUS_OPTION_INTEGER, EVBUS_DEFAULT_WINDOW_EVENTS, 1, 1 << 24, NULL,
      "Events that may wait for this route" }, DELIVERY (FIELD_UINT, window_events) },
  { { "delivery.window.bytes", EVBUS_OPTION_SIZE, EVBUS_DEFAULT_WINDOW_BYTES, 1024, 1024 * GIB, NULL,
      "Their bytes together" }, DELIVERY (FIELD_SIZE, window_bytes) },
  { { "delivery.timeout", EVBUS_OPTION_DURATION, EVBUS_DEFAULT_TIMEOUT_US, 1000, 24 * HOUR, NULL,
      "How long one publish may take before it is cancelled" }, DELIVERY (FIELD_INT64, timeout) },
  { { "delivery.retry.min", EVBUS_OPTION_DURATION, EVBUS_DEFAULT_RETRY_MIN_US, 1000, 24 * HOUR, NULL,
      "The first wait after a failure that may pass; it doubles each time, with jitter" }, DELIVERY (FIELD_INT64, retry_min) },
  { { "delivery.retry.max", EVBUS_OPTION_DURATION, EVBUS_DEFAULT_RETRY_MAX_US, 1000, 24 * HOUR, NULL,
      "The longest wait between two tries" }, DELIVERY (FIELD_INT64, retry_max) },
  { { "delivery.max_age", EVBUS_OPTION_DURATION, EVBUS_DEFAULT_MAX_AGE_US, 1000, 3650 * 24 * HOUR, NULL,
      "The age at which an event is given up" }, DELIVERY (FIELD_INT64, max_age) },
  { { "delivery.overflow", EVBUS_OPTION_STRING, EVBUS_OVERFLOW_DROP_OLDEST, 0, 0,
      "drop_oldest;drop_newest;reject;block",
      "What happens to an event when the window is full" }, DELIVERY (FIELD_CHOICE, overflow) },
  { { "delivery.name", EVBUS_OPTION_STRING, 0, 0, 0, NULL,
      "The route's own name, by which the spool knows it; without it, provider and pattern" }, DELIVERY (FIELD_TEXT, name) },
  { { "delivery.spool.bytes", EVBUS_OPTION_SIZE, EVBUS_DEFAULT_SPOOL_BYTES, 1024, 1024 * GIB, NULL,
      "Its queued events and dead letters in the spool; beyond it its own oldest expire, dead letters first" }, DELIVERY (FIELD_SIZE, spool_bytes) },
  { { "delivery.dead_letters", EVBUS_OPTION_BOOLEAN, TRUE, 0, 0, NULL,
      "Keep what is given up, with the reason, where there is a spool" }, DELIVERY (FIELD_BOOLEAN, dead_letters) },
};

static const Field settings_fields[] = {
  { { "serializer", EVBUS_OPTION_STRING, 0, 0, 0, NULL,
      "How bodies are written: json, gvariant, msgpack, str, or the name of one that a plugin has; without it, json" }, SETTING (FIELD_TEXT, serializer) },
  { { "reject_unrouted", EVBUS_OPTION_BOOLEAN, FALSE, 0, 0, NULL,
      "Refuse an event that no route wants, instead of counting it" }, SETTING (FIELD_BOOLEAN, reject_unrouted) },
  { { "queue.events", EVBUS_OPTION_INTEGER, EVBUS_DEFAULT_QUEUE_EVENTS, 1, 1 << 24, NULL,
      "Events between put and the routes" }, SETTING (FIELD_UINT, queue_events) },
  { { "queue.bytes", EVBUS_OPTION_SIZE, EVBUS_DEFAULT_QUEUE_BYTES, 1024, 1024 * GIB, NULL,
      "Their bytes together" }, SETTING (FIELD_SIZE, queue_bytes) },
  { { "event_bytes", EVBUS_OPTION_SIZE, EVBUS_DEFAULT_EVENT_BYTES, 1024, 64 * 1024 * 1024, NULL,
      "Routing key, profile and body of one event, at most" }, SETTING (FIELD_SIZE, event_bytes) },
  { { "stop_timeout", EVBUS_OPTION_DURATION, EVBUS_DEFAULT_STOP_MS * (gint64) 1000, 0, 24 * HOUR, NULL,
      "How long stopping waits for what is still to be delivered" }, SETTING (FIELD_MILLISECONDS, stop_timeout) },
  { { "spool.directory", EVBUS_OPTION_STRING, 0, 0, 0, NULL,
      "The folder of the spool, or none: memory only; without it, what the program chose" }, SETTING (FIELD_TEXT, spool_directory) },
  { { "spool.bytes", EVBUS_OPTION_SIZE, EVBUS_DEFAULT_SPOOL_BYTES, 1024 * 1024, 1024 * GIB, NULL,
      "Events and dead letters in the spool; beyond it the route that can lose the most of them loses its oldest" }, SETTING (FIELD_SIZE, spool_bytes) },
  { { "spool.max_age", EVBUS_OPTION_DURATION, 0, 0, 3650 * 24 * HOUR, NULL,
      "The age at which all in the spool expires: what orphaned routes have, and dead letters; 0: none" }, SETTING (FIELD_INT64, spool_max_age) },
};

static GPtrArray *
make_options (const Field *fields,
              guint        n_fields)
{
  GPtrArray *options = g_ptr_array_new_with_free_func (g_object_unref);

  for (guint i = 0; i < n_fields; i++)
    g_ptr_array_add (options, evbus_option_new_from_def (&fields[i].option));
  return options;
}

GPtrArray *
evbus_delivery_get_options (void)
{
  static gsize once = 0;
  static GPtrArray *options;

  if (g_once_init_enter (&once))
    {
      options = make_options (delivery_fields, G_N_ELEMENTS (delivery_fields));
      g_once_init_leave (&once, 1);
    }
  return options;
}

GPtrArray *
evbus_settings_get_options (void)
{
  static gsize once = 0;
  static GPtrArray *options;

  if (g_once_init_enter (&once))
    {
      options = make_options (settings_fields, G_N_ELEMENTS (settings_fields));
      g_once_init_leave (&once, 1);
    }
  return options;
}

static guint
choice_index (const char *choices,
              const char *choice)
{
  g_auto(GStrv) all = g_strsplit (choices, ";", -1);
  guint i = 0;

  while (all[i] != NULL && !g_str_equal (all[i], choice))
    i++;
  return i;
}

static void
store_field (const Field *field,
             GVariant    *value,
             gpointer     target)
{
  gpointer member = (char *) target + field->offset;

  switch (field->type)
    {
    case FIELD_UINT:
      *(guint *) member = g_variant_get_int64 (value);
      break;
    case FIELD_SIZE:
      *(gsize *) member = g_variant_get_int64 (value);
      break;
    case FIELD_INT64:
      *(gint64 *) member = g_variant_get_int64 (value);
      break;
    case FIELD_MILLISECONDS:
      *(guint *) member = g_variant_get_int64 (value) / 1000;
      break;
    case FIELD_BOOLEAN:
      *(gboolean *) member = g_variant_get_boolean (value);
      break;
    case FIELD_CHOICE:
      *(EvbusOverflow *) member = choice_index (field->option.choices, g_variant_get_string (value, NULL));
      break;
    case FIELD_TEXT:
      g_free (*(char **) member);
      *(char **) member = g_variant_dup_string (value, NULL);
      break;
    default:
      g_return_if_reached ();
    }
}

static void
read_fields (const Field *fields,
             guint        n_fields,
             GVariant    *data,
             gpointer     target)
{
  for (guint i = 0; i < n_fields; i++)
    {
      g_autoptr(GVariant) value = evbus_schema_lookup (data, fields[i].option.name);

      /* What was wrong is not there; then the report has an error. */
      if (value != NULL)
        store_field (&fields[i], value, target);
    }
}

void
evbus_delivery_expand (EvbusNode *profile)
{
  EvbusNode *delivery;

  if (profile->kind != EVBUS_NODE_MAPPING)
    return;
  delivery = evbus_node_lookup (profile, "delivery");
  if (delivery == NULL || delivery->kind != EVBUS_NODE_MAPPING)
    return;

  for (guint i = 0; i < delivery->keys->len; i++)
    {
      EvbusNode *key = g_ptr_array_index (delivery->keys, i);
      EvbusNode **value = (EvbusNode **) &g_ptr_array_index (delivery->values, i);
      EvbusNode *batch;

      if (!g_str_equal (key->text, "batch") || (*value)->kind != EVBUS_NODE_INTEGER)
        continue;
      batch = evbus_node_new_container (&(*value)->place, EVBUS_NODE_MAPPING);
      evbus_node_append (batch, evbus_node_new_scalar (&(*value)->place, "events", FALSE), *value);
      *value = batch;
    }
}

/* What the route's thread has in hand cannot be dropped. If that were all of
 * the window, the oldest would be kept and the newest would go. */
static void
leave_room_for_newest (EvbusDelivery *delivery)
{
  if (delivery->overflow != EVBUS_OVERFLOW_DROP_OLDEST)
    return;

  delivery->batch_events = MIN (delivery->batch_events, MAX (delivery->window_events / 2, 1));
  delivery->in_flight = MIN (delivery->in_flight, MAX (delivery->window_events / 2, 1));
  delivery->batch_bytes = MIN (delivery->batch_bytes, delivery->window_bytes / 2);
}

void
evbus_delivery_read (GVariant         *data,
                     const EvbusPlace *place,
                     EvbusDelivery    *delivery,
                     EvbusReport      *report)
{
  read_fields (delivery_fields, G_N_ELEMENTS (delivery_fields), data, delivery);
  leave_room_for_newest (delivery);

  if (delivery->retry_max > 0 && delivery->retry_min > delivery->retry_max)
    {
      g_autofree char *min = evbus_format_duration (delivery->retry_min);
      g_autofree char *max = evbus_format_duration (delivery->retry_max);

      evbus_report_error (report, place, "'delivery.retry.min' (%s) is longer than 'delivery.retry.max' (%s)",
                          min, max);
    }
}

void
evbus_settings_read (GVariant      *data,
                     EvbusSettings *settings)
{
  read_fields (settings_fields, G_N_ELEMENTS (settings_fields), data, settings);
}
