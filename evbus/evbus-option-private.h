/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-node-private.h"
#include "evbus-provider.h"

G_BEGIN_DECLS

typedef enum {
  EVBUS_OPTION_STRING,
  EVBUS_OPTION_URI,
  EVBUS_OPTION_BOOLEAN,
  EVBUS_OPTION_INTEGER,
  EVBUS_OPTION_NUMBER,
  EVBUS_OPTION_DURATION,
  EVBUS_OPTION_SIZE,
  EVBUS_OPTION_MAPPING,
  EVBUS_OPTION_LIST,
  EVBUS_OPTION_ANY,
} EvbusOptionKind;

/* Written once, while it is made. */
struct _EvbusOption
{
  GObject           parent_instance;

  char             *name;
  char             *help;
  EvbusOptionKind   kind;
  char            **choices;   /* or NULL */
  double            min;       /* -INFINITY: none */
  double            max;       /* INFINITY: none */
  GVariant         *fallback;
  GVariant         *shown;     /* the fallback, as a person writes it */
  gboolean          required;
  gboolean          secret;
  gboolean          inlined;       /* a secret that may stand in the file without a warning */
  gboolean          ignored;   /* taken for the sake of files that have it, with a warning */
  gboolean          refused;   /* an error that says why, rather than that nobody knows the key */
  gboolean          template;  /* each text in it is an EvbusTemplate */
  gboolean          within_publish;   /* a duration that the end of a publish cuts short */
};

/* An option of the library's own. Numbers as the option's value has them:
 * microseconds, bytes; @fallback of a string with choices is an index. */
typedef struct {
  const char      *name;
  EvbusOptionKind  kind;
  gint64           fallback;
  gint64           min;
  gint64           max;
  const char      *choices;   /* "a;b", or NULL */
  const char      *help;
} EvbusOptionDef;

EvbusOption *evbus_option_new_from_def      (const EvbusOptionDef  *def);

/* From the group "Option NAME" of a .plugin file. */
#define EVBUS_OPTION_GROUP "Option "
EvbusOption *evbus_option_new_from_key_file (GKeyFile              *file,
                                             const char            *group,
                                             GError               **error);

gboolean     evbus_option_kind_from_name    (const char            *name,
                                             EvbusOptionKind       *kind);
gboolean     evbus_option_has_range         (EvbusOption           *self);

/* In the form that a plugin gets it: x for integers, durations (microseconds)
 * and sizes. */
void         evbus_option_set_fallback      (EvbusOption           *self,
                                             GVariant              *value);

/* The value that @node gives, in that form, as a full reference; NULL after an
 * error that went into @report. @node is not null. */
GVariant    *evbus_option_check             (EvbusOption           *self,
                                             const EvbusNode       *node,
                                             EvbusReport           *report);

G_END_DECLS
