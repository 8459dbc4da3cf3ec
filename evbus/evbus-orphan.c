/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-orphan-private.h"

#include "evbus-claim-private.h"

/**
 * EvbusOrphan:
 *
 * A route that is in no configuration any more and still has a place in the spool,
 * as [method@Broker.list_orphans] found it. It goes on where it was if it comes back,
 * or a route comes with the name that [method@Broker.name_orphan_async] has given it,
 * until [method@Broker.forget_route_async]. Immutable.
 *
 * Since: 1.0
 */

struct _EvbusOrphan
{
  GObject     parent_instance;

  char       *key;
  char       *name;
  EvbusLedger ledger;
};

G_DEFINE_FINAL_TYPE (EvbusOrphan, evbus_orphan, G_TYPE_OBJECT)

static void
evbus_orphan_finalize (GObject *object)
{
  EvbusOrphan *self = EVBUS_ORPHAN (object);

  g_free (self->key);
  g_free (self->name);

  G_OBJECT_CLASS (evbus_orphan_parent_class)->finalize (object);
}

static void
evbus_orphan_class_init (EvbusOrphanClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = evbus_orphan_finalize;
}

static void
evbus_orphan_init (EvbusOrphan *self)
{
}

EvbusOrphan *
evbus_orphan_new (EvbusSpoolRoute *route)
{
  EvbusOrphan *self = g_object_new (EVBUS_TYPE_ORPHAN, NULL);

  self->key = evbus_spool_route_dup_key (route);
  self->name = evbus_claim_describe (self->key);
  evbus_spool_route_get_ledger (route, &self->ledger, NULL);
  return self;
}

/**
 * evbus_orphan_get_name:
 * @self: an orphan
 *
 * What a person calls it: its name, or else "PROVIDER 'PATTERN'".
 *
 * Returns: (transfer none): the name
 *
 * Since: 1.0
 */
const char *
evbus_orphan_get_name (EvbusOrphan *self)
{
  g_return_val_if_fail (EVBUS_IS_ORPHAN (self), NULL);

  return self->name;
}

/**
 * evbus_orphan_get_key:
 * @self: an orphan
 *
 * What it is stored by, which no other route has.
 *
 * Returns: (transfer none): the key
 *
 * Since: 1.0
 */
const char *
evbus_orphan_get_key (EvbusOrphan *self)
{
  g_return_val_if_fail (EVBUS_IS_ORPHAN (self), NULL);

  return self->key;
}

/**
 * evbus_orphan_get_ledger:
 * @self: an orphan
 * @ledger: (out caller-allocates): where to put the counts
 *
 * What became of its events, when it was listed.
 *
 * Since: 1.0
 */
void
evbus_orphan_get_ledger (EvbusOrphan *self,
                         EvbusLedger *ledger)
{
  g_return_if_fail (EVBUS_IS_ORPHAN (self));
  g_return_if_fail (ledger != NULL);

  *ledger = self->ledger;
}
