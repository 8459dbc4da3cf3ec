/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbusctl.h"
#include "evbusctl-bus.h"

G_BEGIN_DECLS

typedef struct {
  const char *routing_key;
  GVariant   *body;
  const char *profile;
  GVariant   *options;    /* a{sv} or NULL */
  int         seconds;    /* 0: as long as it takes */
  gboolean    timed;      /* says of each route how long it took */
} EvbusctlFollow;

/* Puts the event and shows what becomes of it at each of its routes. Returns the exit
 * code. */
int evbusctl_follow (EvbusctlBus          *bus,
                     const EvbusctlFollow *event);

G_END_DECLS
