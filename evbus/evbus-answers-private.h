/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-put-private.h"

G_BEGIN_DECLS

/* The answers to many puts at once: one wake-up for each main context, instead of
 * one for each put. Of one thread. */
typedef struct _EvbusAnswers EvbusAnswers;

EvbusAnswers *evbus_answers_new  (void);
void          evbus_answers_add  (EvbusAnswers *self,
                                  EvbusPut     *put);

/* Frees @self. @error: NULL if they were accepted. */
void          evbus_answers_send (EvbusAnswers *self,
                                  const GError *error);

G_END_DECLS
