/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <gio/gio.h>
#include <evbus/evbus-version-macros.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_LEDGER (evbus_ledger_get_type ())

typedef struct _EvbusLedger EvbusLedger;

struct _EvbusLedger
{
  guint64 accepted;
  guint64 delivered;
  guint64 dead;
  guint64 expired;
  guint64 dropped;
  guint64 queued;

  /* Beside the balance. */
  guint64 retried;
  guint64 unrouted;
  guint64 duplicates;
  guint64 repeated;

  /*< private >*/
  guint64 padding[2];
};

EVBUS_AVAILABLE_IN_1_0
GType        evbus_ledger_get_type (void) G_GNUC_CONST;

EVBUS_AVAILABLE_IN_1_0
EvbusLedger *evbus_ledger_copy     (const EvbusLedger *self);
EVBUS_AVAILABLE_IN_1_0
void         evbus_ledger_free     (EvbusLedger       *self);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_ledger_balances (const EvbusLedger *self);
EVBUS_AVAILABLE_IN_1_0
void         evbus_ledger_add      (EvbusLedger       *self,
                                    const EvbusLedger *other);
EVBUS_AVAILABLE_IN_1_0
GVariant    *evbus_ledger_to_variant (const EvbusLedger *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusLedger, evbus_ledger_free)

G_END_DECLS
