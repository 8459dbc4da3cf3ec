/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Where something stands. file NULL: it was made in code. */
typedef struct {
  GRefString *file;
  guint       line;    /* from 1 */
  guint       column;  /* from 1, in characters */
} EvbusPlace;

/* Gathers all problems of a configuration, so that none hides another. */
typedef struct {
  GPtrArray *errors;    /* one line each */
  GPtrArray *warnings;
  char      *subject;   /* "file profile 'orders'", set before each line; or NULL */
  guint      left_out;  /* errors past the bound */
} EvbusReport;

EvbusReport *evbus_report_new         (void);
void         evbus_report_free        (EvbusReport      *self);
void         evbus_report_set_subject (EvbusReport      *self,
                                       const char       *format,
                                       ...) G_GNUC_PRINTF (2, 3);
void         evbus_report_error       (EvbusReport      *self,
                                       const EvbusPlace *place,
                                       const char       *format,
                                       ...) G_GNUC_PRINTF (3, 4);
void         evbus_report_warning     (EvbusReport      *self,
                                       const EvbusPlace *place,
                                       const char       *format,
                                       ...) G_GNUC_PRINTF (3, 4);

/* FALSE with EVBUS_ERROR_INVALID_CONFIG and all lines if there was an error. */
gboolean     evbus_report_finish      (EvbusReport      *self,
                                       GError          **error);

/* "profiles.yaml:12:7", or NULL for what was made in code. */
char        *evbus_place_to_string    (const EvbusPlace *place);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusReport, evbus_report_free)

G_END_DECLS
