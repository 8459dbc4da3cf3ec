/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "http-options.h"

G_BEGIN_DECLS

/* The headers of one request, as libcurl has them: a list whose lines lie in one buffer that
 * is kept from request to request. */
typedef struct {
  GString *text;     /* the lines, each ended by a NUL */
  GArray  *starts;   /* gsize: where each begins */
  GArray  *nodes;    /* struct curl_slist */
  GString *line;     /* scratch */
} HttpHeaders;

gboolean           http_headers_is_name   (const char   *name);
gboolean           http_headers_is_value  (const char   *value);

void               http_headers_init      (HttpHeaders  *self);
void               http_headers_clear     (HttpHeaders  *self);
struct curl_slist *http_headers_for_event (HttpHeaders  *self,
                                           HttpOptions  *options,
                                           EvbusEvent   *event);
struct curl_slist *http_headers_for_batch (HttpHeaders  *self,
                                           HttpOptions  *options,
                                           const char   *key);

G_END_DECLS
