/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-queue-private.h"
#include "evbus-route-spec-private.h"
#include "evbus-spool-private.h"

G_BEGIN_DECLS

/* Which route of the spool goes on under which entry of the configuration.
 *
 * A route is known by its name (`delivery: {name: …}`), or else by provider and
 * pattern; entries that are equal in both are told apart by a digest of their
 * settings. @taken: routes of the spool that others have (a set); @claims: (out,
 * as long as @specs). New ones are made, and changed ones renamed. @held: by
 * evbus_queue_list_held_locked(), under whose lock this is: it takes as long as there are routes.
 *
 * %EVBUS_ERROR_INVALID_CONFIG, with nothing changed, where that leaves a doubt
 * about whose backlog it is. With @doubts (nullable; char * are added, for a person) what is in
 * doubt begins anew instead, and nobody gets that backlog. */
gboolean evbus_claim_routes_locked (EvbusSpool       *spool,
                                    GHashTable       *held,
                                    GPtrArray        *specs,
                                    GHashTable       *taken,
                                    EvbusSpoolRoute **claims,
                                    GPtrArray        *doubts,
                                    GError          **error);

/* How a person calls the route of that key: by its name, or "PROVIDER 'PATTERN'". */
char    *evbus_claim_describe   (const char       *key);
/* The route of the spool that @text names, by its key or as above (transfer full). Errors:
 * %EVBUS_ERROR_NOT_FOUND; %EVBUS_ERROR_INVALID_ARGUMENT if several are called so. */
EvbusSpoolRoute *
         evbus_claim_find       (EvbusSpool       *spool,
                                 const char       *text,
                                 GError          **error);

/* Whether a route can be called so. */
gboolean evbus_claim_check_name (const char       *name,
                                 GError          **error);
/* On the listener's thread, with the broker's lock: from now on the orphan belongs to the entry of
 * that name (which was checked). Commits. Errors: %EVBUS_ERROR_INVALID_ARGUMENT if it is none;
 * %EVBUS_ERROR_EXISTS if another one is called so; those of evbus_spool_name_orphan(). */
gboolean evbus_claim_name_orphan (EvbusSpool      *spool,
                                 EvbusSpoolRoute  *orphan,
                                 const char       *name,
                                 GError          **error);

G_END_DECLS
