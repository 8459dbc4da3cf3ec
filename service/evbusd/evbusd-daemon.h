/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* What the command line says. */
typedef struct {
  GBusType    bus;
  const char *address;   /* NULL: that of @bus */
  const char *config;    /* NULL: look for one */
  const char *spool;     /* NULL: what the configuration says, else where state belongs */
  gboolean    no_spool;
} EvbusdOptions;

int evbusd_daemon_run (const EvbusdOptions *options);

G_END_DECLS
