/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-report-private.h"

G_BEGIN_DECLS

/* @data is wiped afterwards: there may be secrets in it. */
typedef void (*EvbusProfileFilesFunc) (gpointer    user_data,
                                       const char *data,
                                       gsize       length,
                                       const char *name);

/* Hands each file of a configuration over: the one at @path, or those in that folder
 * in the order of their names. What cannot be read is reported. */
void evbus_profile_files_read (const char            *path,
                               EvbusReport           *report,
                               EvbusProfileFilesFunc  take,
                               gpointer               user_data);

G_END_DECLS
