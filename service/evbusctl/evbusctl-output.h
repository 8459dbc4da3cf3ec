/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef enum {
  EVBUSCTL_PLAIN,
  EVBUSCTL_BOLD,
  EVBUSCTL_GOOD,
  EVBUSCTL_WAIT,
  EVBUSCTL_BAD,
} EvbusctlStyle;

typedef struct {
  const char *title;
  gboolean    right;
} EvbusctlColumn;

typedef struct _EvbusctlTable EvbusctlTable;

void           evbusctl_error        (const char           *format,
                                      ...) G_GNUC_PRINTF (1, 2);
GLogWriterOutput
               evbusctl_log_writer   (GLogLevelFlags        level,
                                      const GLogField      *fields,
                                      gsize                 n_fields,
                                      gpointer              user_data);
void           evbusctl_print        (EvbusctlStyle         style,
                                      const char           *format,
                                      ...) G_GNUC_PRINTF (2, 3);
void           evbusctl_print_text   (guint                 indent,
                                      const char           *text);
gboolean       evbusctl_print_json   (GVariant             *value,
                                      GError              **error);
gboolean       evbusctl_write        (const char           *data,
                                      gsize                 size);
int            evbusctl_close_stdout (int                   status);

char          *evbusctl_printable    (const char           *text);
char          *evbusctl_format_span  (gint64                microseconds);

EvbusctlTable *evbusctl_table_new    (const EvbusctlColumn *columns,
                                      guint                 n_columns);
void           evbusctl_table_cell   (EvbusctlTable        *self,
                                      EvbusctlStyle         style,
                                      const char           *text);
void           evbusctl_table_note   (EvbusctlTable        *self,
                                      const char           *text);
void           evbusctl_table_print  (EvbusctlTable        *self);
void           evbusctl_table_free   (EvbusctlTable        *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusctlTable, evbusctl_table_free)

gboolean       evbusctl_progress_wanted (void);
void           evbusctl_progress        (guint64            n_events,
                                         gint64             since);
void           evbusctl_progress_of     (guint64            n_done,
                                         guint64            n_total);
void           evbusctl_progress_clear  (void);

G_END_DECLS
