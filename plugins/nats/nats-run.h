/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nats-publish.h"

G_BEGIN_DECLS

/* What an event waits for. */
#define NATS_RUN_ACK 'a'
#define NATS_RUN_STREAMS 's'
#define NATS_RUN_STREAM 'i'
#define NATS_RUN_MESSAGE 'm'
#define NATS_RUN_FLUSH 'f'

/* How a server begins to say what may not be published to; the subject follows. */
#define NATS_RUN_PUBLISH_TO "for Publish to \""

/* Which of the events are still without an answer. */
typedef struct {
  NatsPublish *publish;
  GString     *reply;     /* INBOX.aN */
  gsize        prefix;    /* INBOX. */
  guint        n;
  guint8      *open;      /* a byte for each event: what it waits for, or 0 */
  guint        n_open;
  guint        n_nobody;  /* of those: it reached nobody, whichever it is */
  gboolean     shared;    /* with its subject in each Nats-Msg-Id */
} NatsRun;

void        nats_run_init          (NatsRun      *run,
                                    NatsPublish  *publish);
void        nats_run_clear         (NatsRun      *run);
const char *nats_run_make_reply    (NatsRun      *run,
                                    char          kind,
                                    guint         index);
gboolean    nats_run_find_event    (NatsRun      *run,
                                    natsMsg      *reply,
                                    char         *kind,
                                    guint        *index);
void        nats_run_set_open      (NatsRun      *run,
                                    guint         index,
                                    char          kind);
void        nats_run_confirm       (NatsRun      *run,
                                    guint         index);
void        nats_run_fail          (NatsRun      *run,
                                    guint         index,
                                    EvbusOutcome  outcome,
                                    const char   *reason);
gboolean    nats_run_names_subject (const char   *text,
                                    const char   *subject);
gboolean    nats_run_refuse        (NatsRun      *run,
                                    const char   *text,
                                    GError      **error);
gboolean    nats_run_send          (NatsRun      *run,
                                    char          kind,
                                    GError      **error);

G_END_DECLS
