/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <curl/curl.h>
#include <evbus/evbus.h>

#include "http-outcomes.h"

G_BEGIN_DECLS

typedef enum {
  HTTP_BATCH_EVENT,         /* a request an event */
  HTTP_BATCH_JSON_LINES,
  HTTP_BATCH_JSON_ARRAY,
  HTTP_BATCH_CLOUDEVENTS,
} HttpBatch;

typedef enum {
  HTTP_MODE_PLAIN,
  HTTP_MODE_BINARY,         /* of CloudEvents, as the next */
  HTTP_MODE_STRUCTURED,
} HttpMode;

/* What the profile says, read once; passwords stay in the context. */
typedef struct {
  EvbusTemplate     *url;          /* as libcurl is given it */
  gboolean           tls;
  char              *host;
  char              *place;        /* for messages: scheme, host and port; the rest may be secret */
  struct curl_slist *connect_to;   /* where 'tls.server_name' stands in the URL; or NULL */

  struct curl_slist *headers;      /* that every request has */
  GPtrArray         *names;        /* of those of the profile */

  HttpBatch          batch;
  HttpMode           mode;
  char              *source;       /* of CloudEvents */
  gboolean           compress;
  guint              in_flight;
  HttpOutcomes      *outcomes;
} HttpOptions;

HttpOptions *http_options_new      (EvbusContext  *ctx,
                                    GError       **error);
void         http_options_free     (HttpOptions   *self);
gboolean     http_options_has_name (HttpOptions   *self,
                                    const char    *header);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (HttpOptions, http_options_free)

G_END_DECLS
