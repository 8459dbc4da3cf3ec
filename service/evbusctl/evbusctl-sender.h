/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbusctl.h"
#include "evbusctl-bus.h"

G_BEGIN_DECLS

/* The events of `put KEY -` on their way to the service, in the order of their
 * lines. */

typedef struct _EvbusctlSender EvbusctlSender;

typedef struct {
  guint64 n_put;
  guint64 n_refused;
  guint64 n_unanswered;  /* put or not: nobody knows */
  guint64 n_unseen;      /* refusals that were not shown one by one */
  int     status;        /* EVBUSCTL_OK: there is no reason to give up */
} EvbusctlTally;

EvbusctlSender *evbusctl_sender_new          (EvbusctlBus          *bus,
                                              const char           *routing_key,
                                              const char           *profile,
                                              GFunc                 progressed,
                                              gpointer              user_data);
void            evbusctl_sender_free         (EvbusctlSender       *self);

void            evbusctl_sender_add          (EvbusctlSender       *self,
                                              guint64               line,
                                              EvbusctlBody         *body,
                                              GError               *error);
gboolean        evbusctl_sender_is_full      (EvbusctlSender       *self);
gboolean        evbusctl_sender_is_idle      (EvbusctlSender       *self);
void            evbusctl_sender_check_silence (EvbusctlSender      *self);
EvbusctlTally   evbusctl_sender_get_tally    (EvbusctlSender       *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusctlSender, evbusctl_sender_free)

G_END_DECLS
