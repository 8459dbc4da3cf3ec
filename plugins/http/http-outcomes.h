/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <curl/curl.h>
#include <evbus/evbus.h>

G_BEGIN_DECLS

/* What each status means for the events of a request: by a table, and by what the profile
 * says of it in 'responses'. */
typedef struct _HttpOutcomes HttpOutcomes;

/* What has come back of a request. */
typedef struct {
  CURLcode    code;
  const char *message;    /* libcurl's, of the code; may be "" */
  glong       status;     /* 0: none has come */
  glong       proxy;      /* what a proxy has answered before; 0: nothing */
  const char *location;   /* where a redirect leads to; or NULL */
  const char *text;       /* the beginning of the body */
} HttpAnswer;

typedef struct {
  gboolean      delivered;
  EvbusOutcome  outcome;   /* if it is not */
  char         *reason;    /* the same */
} HttpVerdict;

HttpOutcomes *http_outcomes_new   (EvbusContext      *ctx,
                                   gboolean           fixed_url,
                                   gboolean           own_type,
                                   GError           **error);
void          http_outcomes_free  (HttpOutcomes      *self);
void          http_outcomes_judge (HttpOutcomes      *self,
                                   const char        *place,
                                   EvbusContext      *ctx,
                                   const HttpAnswer  *answer,
                                   HttpVerdict       *verdict);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (HttpOutcomes, http_outcomes_free)

G_END_DECLS
