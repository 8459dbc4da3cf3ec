/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "http-body.h"
#include "http-headers.h"

G_BEGIN_DECLS

typedef enum {
  HTTP_FATE_SETTLED,       /* there is none, or its events are not sent again */
  HTTP_FATE_OPEN,          /* they are, should nothing else come of it */
  HTTP_FATE_REFUSED,       /* one of its events is poison, and nobody knows which */
} HttpFate;

/* One request at a time, and its answer. */
typedef struct {
  CURL        *easy;
  GArray      *indexes;    /* guint: of its events */
  HttpFate     fate;
  gboolean     running;    /* libcurl is at it */
  gboolean     sent;       /* some of it has gone out, or may have */
  HttpHeaders  headers;
  GString     *url;
  GString     *body;
  GString     *text;       /* the beginning of the answer's body */
  gsize        received;
  char         message[CURL_ERROR_SIZE];
} HttpTransfer;

HttpTransfer *http_transfer_new        (HttpOptions   *options,
                                        EvbusContext  *ctx,
                                        GError       **error);
void          http_transfer_free       (HttpTransfer  *self);
gboolean      http_transfer_set_event  (HttpTransfer  *self,
                                        HttpOptions   *options,
                                        HttpWriter    *writer,
                                        EvbusBatch    *batch,
                                        guint          index,
                                        char         **reason);
gboolean      http_transfer_set_batch  (HttpTransfer  *self,
                                        HttpOptions   *options,
                                        HttpWriter    *writer,
                                        EvbusBatch    *batch,
                                        guint          first,
                                        guint          n,
                                        GError       **error);
void          http_transfer_get_answer (HttpTransfer  *self,
                                        CURLcode       code,
                                        HttpAnswer    *answer);
gint64        http_transfer_get_delay  (HttpTransfer  *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (HttpTransfer, http_transfer_free)

G_END_DECLS
