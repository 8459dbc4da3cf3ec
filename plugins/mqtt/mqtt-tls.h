/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <openssl/ssl.h>

#include "mqtt-options.h"

G_BEGIN_DECLS

/* What is learned of one connection's handshake. */
typedef struct {
  long     verify_error;   /* of the server's certificate, X509_V_OK if there was none */
  gboolean wanted;         /* the server has asked for a certificate, and there is none */
  int      reason;         /* OpenSSL's last one */
} MqttTls;

SSL_CTX *mqtt_tls_new      (const MqttOptions  *options,
                            MqttTls            *found,
                            GError            **error);
void     mqtt_tls_take_log (MqttTls            *self,
                            const char         *text);
gboolean mqtt_tls_explain  (const MqttTls      *self,
                            const MqttOptions  *options,
                            GError            **error);

G_END_DECLS
