/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the files of the driver share: see spool-driver.c. */

#pragma once

#include "evbus-spool-private.h"
#include "evbus-error.h"

#define N_ROUTES 3

typedef enum {
  MUTANT_NONE,
  MUTANT_ANSWER_FIRST,
  MUTANT_SETTLE_FIRST,
} Mutant;

typedef struct {
  EvbusSpoolRoute  *route;
  EvbusSpoolReader *reader;
  GPtrArray        *hand;      /* EvbusEvent: read and not settled */
  char              name;
} Route;

typedef struct {
  EvbusSpool *spool;
  Route       routes[N_ROUTES];
  GRand      *rand;
  GString    *out;
  Mutant      mutant;
  guint       mask;            /* of the routes that an event is for, all of them large; 0: at random, as their sizes are */
} Driver;

/* A line, which becomes known with the next flush. */
void     driver_say       (Driver     *self,
                           const char *format,
                           ...) G_GNUC_PRINTF (2, 3);
void     driver_flush     (Driver     *self);
gboolean driver_chance    (Driver     *self,
                           int         percent);
/* Settles so much of what the route has in its hand. */
void     driver_deliver   (Driver     *self,
                           Route      *route,
                           int         percent);

/* ---- spool-puts.c */

/* Whether the event is as it was put. */
void     driver_check_event (EvbusEvent *event);
/* Returns whether it is stored. */
gboolean driver_put_group (Driver     *self);

/* ---- spool-phases.c */

/* The other name of the last route: phase "name". */
#define OTHER_KEY "c-named"

void     driver_fill      (Driver     *self,
                           int         n_groups);
void     driver_run_phase (Driver     *self,
                           const char *name);
