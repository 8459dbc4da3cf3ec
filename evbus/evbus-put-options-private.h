/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* When a put is answered. */
typedef enum {
  EVBUS_WAIT_DEFAULT,       /* durable where there is a spool, else accepted */
  EVBUS_WAIT_ACCEPTED,
  EVBUS_WAIT_DURABLE,
  EVBUS_WAIT_DELIVERED,
} EvbusWait;

/* The options of evbus_producer_put_with_options_async(). */
typedef struct {
  const char *id;
  const char *content_type;
  GVariant   *attributes;
  guint64     max_age;      /* milliseconds */
  guint       timeout;      /* milliseconds; G_MAXUINT: none */
  EvbusWait   wait;
  const char *follower;     /* or NULL */
  gboolean    to_be_routed; /* without a route it is refused; no option of a producer's */
} EvbusPutOptions;

#define EVBUS_PUT_NO_OPTIONS { .timeout = G_MAXUINT }

/* Reads @dict, which should be a{sv}. @values keeps alive what @self then
 * points to. */
gboolean evbus_put_options_read       (EvbusPutOptions  *self,
                                       GVariant         *dict,
                                       GPtrArray        *values,
                                       GError          **error);

gboolean evbus_put_check_content_type (const char       *content_type,
                                       GError          **error);

G_END_DECLS
