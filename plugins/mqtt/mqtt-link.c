/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "mqtt-link.h"

#include <errno.h>
#include <mqtt_protocol.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "mqtt-errors.h"

/* A ping is due after the keepalive, and the server waits for half of that more. */
#define TICKS_PER_KEEPALIVE 3

/* ---- what libmosquitto calls ---- */

static void
keep_reason (MqttLink                 *self,
             const mosquitto_property *properties)
{
  char *text = NULL;

  mosquitto_property_read_string (properties, MQTT_PROP_REASON_STRING, &text, FALSE);
  if (text == NULL)
    return;
  g_free (self->reason);
  self->reason = g_strdup (text);
  free (text);
}

static void
on_connect (struct mosquitto         *client,
            void                     *data,
            int                       code,
            int                       flags,
            const mosquitto_property *properties)
{
  MqttLink *self = data;
  uint16_t value;

  self->answered = TRUE;
  self->connack = code;
  keep_reason (self, properties);
  if (mosquitto_property_read_int16 (properties, MQTT_PROP_RECEIVE_MAXIMUM, &value, FALSE) != NULL)
    self->max_inflight = CLAMP (value, 1, self->max_inflight);
  if (mosquitto_property_read_int16 (properties, MQTT_PROP_SERVER_KEEP_ALIVE, &value, FALSE) != NULL)
    self->server_keepalive = value;
}

static void
on_disconnect (struct mosquitto         *client,
               void                     *data,
               int                       code,
               const mosquitto_property *properties)
{
  MqttLink *self = data;

  if (code >= MQTT_REFUSED)
    self->code = code;
  self->is_silent = code == MOSQ_ERR_KEEPALIVE;
  keep_reason (self, properties);
}

static void
on_settled (struct mosquitto         *client,
            void                     *data,
            int                       mid,
            int                       code,
            const mosquitto_property *properties)
{
  MqttLink *self = data;
  char *reason = NULL;

  if (self->settled == NULL)
    return;
  if (code >= MQTT_REFUSED)
    mosquitto_property_read_string (properties, MQTT_PROP_REASON_STRING, &reason, FALSE);
  self->settled (mid, code, reason, self->settled_data);
  free (reason);
}

static void
on_log (struct mosquitto *client,
        void             *data,
        int               level,
        const char       *text)
{
  MqttLink *self = data;

  if (level == MOSQ_LOG_ERR)
    mqtt_tls_take_log (&self->tls, text);
}

/* ---- beginning and end ---- */

static int
set_options (MqttLink *self)
{
  const MqttOptions *options = self->options;
  int status = mosquitto_int_option (self->client, MOSQ_OPT_PROTOCOL_VERSION,
                                     options->v5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);

  if (status == MOSQ_ERR_SUCCESS)
    status = mosquitto_int_option (self->client, MOSQ_OPT_TCP_NODELAY, 1);
  /* The window is ours: what waited in the library would only be in its way. */
  if (status == MOSQ_ERR_SUCCESS)
    status = mosquitto_int_option (self->client, MOSQ_OPT_SEND_MAXIMUM, G_MAXUINT16);
  if (status == MOSQ_ERR_SUCCESS && (options->username != NULL || options->password != NULL))
    status = mosquitto_username_pw_set (self->client, options->username, options->password);
  return status;
}

static gboolean
set_will (MqttLink  *self,
          GError   **error)
{
  const MqttOptions *options = self->options;
  const char *payload = options->will_payload != NULL ? options->will_payload : "";

  if (options->will_topic == NULL ||
      mosquitto_will_set (self->client, options->will_topic, strlen (payload), payload,
                          options->will_qos, options->will_retain) == MOSQ_ERR_SUCCESS)
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: 'will.topic': '%s' cannot be a topic to publish to",
               options->place, options->will_topic);
  return FALSE;
}

static gboolean
set_tls (MqttLink  *self,
         GError   **error)
{
  SSL_CTX *context;

  if (!self->options->tls)
    return TRUE;
  context = mqtt_tls_new (self->options, &self->tls, error);
  if (context == NULL)
    return FALSE;
  mosquitto_int_option (self->client, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
  mosquitto_void_option (self->client, MOSQ_OPT_SSL_CTX, context);
  SSL_CTX_free (context);
  return TRUE;
}

/* libmosquitto and OpenSSL write to a socket as to a file. */
static void
ignore_sigpipe (void)
{
  sigset_t signals;

  sigemptyset (&signals);
  sigaddset (&signals, SIGPIPE);
  pthread_sigmask (SIG_BLOCK, &signals, NULL);
}

/* Not connected yet: see mqtt_connect(). */
MqttLink *
mqtt_link_new (const MqttOptions  *options,
               GError            **error)
{
  g_autoptr(MqttLink) self = g_new0 (MqttLink, 1);
  int status;

  ignore_sigpipe ();
  self->options = options;
  self->max_inflight = options->max_inflight;
  self->server_keepalive = options->keepalive;
  self->client = mosquitto_new (options->client_id, options->clean_session, self);
  status = self->client != NULL ? set_options (self) : errno == ENOMEM ? MOSQ_ERR_NOMEM : MOSQ_ERR_INVAL;
  if (status != MOSQ_ERR_SUCCESS)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: 'client_id', 'username' or 'password' cannot be used: %s",
                   options->place, mosquitto_strerror (status));
      return NULL;
    }
  if (!set_will (self, error) || !set_tls (self, error))
    return NULL;

  mosquitto_connect_v5_callback_set (self->client, on_connect);
  mosquitto_disconnect_v5_callback_set (self->client, on_disconnect);
  mosquitto_publish_v5_callback_set (self->client, on_settled);
  mosquitto_log_callback_set (self->client, on_log);
  return g_steal_pointer (&self);
}

void
mqtt_link_free (MqttLink *self)
{
  if (self->source != NULL)
    {
      g_source_destroy (self->source);
      g_source_unref (self->source);
    }
  g_clear_pointer (&self->client, mosquitto_destroy);
  g_free (self->reason);
  g_free (self);
}

/* With a farewell, so that there is no will. */
void
mqtt_link_close (MqttLink *self)
{
  if (mqtt_link_is_open (self))
    mosquitto_disconnect (self->client);
  mqtt_link_free (self);
}

gboolean
mqtt_link_is_open (MqttLink *self)
{
  return mosquitto_socket (self->client) >= 0;
}

/* ---- errors ---- */

static const char *
describe_loss (MqttLink *self,
               int       status)
{
  if (self->is_silent)
    return "nothing came from the server for too long";
  if (self->system_error != 0)
    return g_strerror (self->system_error);
  if (status != MOSQ_ERR_SUCCESS && status != MOSQ_ERR_ERRNO && status != MOSQ_ERR_NO_CONN)
    return mosquitto_strerror (status);
  return "the connection was lost";
}

/* That a server wanted a certificate of the client and did not get one need not be why. */
static const char *
get_advice (MqttLink *self)
{
  return self->tls.wanted && !self->answered ?
         "; the server may want a certificate of the client: give one by 'tls.cert_file' and 'tls.key_file'" : "";
}

/* @status: of libmosquitto. */
gboolean
mqtt_link_set_lost (MqttLink  *self,
                    int        status,
                    GError   **error)
{
  const MqttOptions *options = self->options;

  if (self->answered && self->connack != CONNACK_ACCEPTED)
    mqtt_errors_set_connack (options, self->connack, self->reason, error);
  else if (self->code >= MQTT_REFUSED)
    mqtt_errors_set_code (options, self->code, self->reason, error);
  else if (!options->tls || !mqtt_tls_explain (&self->tls, options, error))
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: %s%s", options->place, describe_loss (self, status),
                 get_advice (self));
  return FALSE;
}

/* ---- reading and writing ---- */

static int
serve (MqttLink     *self,
       GIOCondition  condition)
{
  int status = MOSQ_ERR_SUCCESS;

  errno = 0;
  if (condition & (G_IO_IN | G_IO_HUP | G_IO_ERR))
    status = mosquitto_loop_read (self->client, 1);
  if (status == MOSQ_ERR_SUCCESS && mqtt_link_is_open (self) && mosquitto_want_write (self->client))
    status = mosquitto_loop_write (self->client, 1);
  if (status == MOSQ_ERR_SUCCESS && mqtt_link_is_open (self))
    status = mosquitto_loop_misc (self->client);
  if (status == MOSQ_ERR_ERRNO && errno != EPROTO)
    self->system_error = errno;
  return status;
}

/* The library leaves it to TLS to tell that there is no connection, and TLS to the library. */
static gboolean
has_failed (MqttLink     *self,
            GIOCondition  condition)
{
  return !self->answered && (condition & (G_IO_HUP | G_IO_ERR)) != 0;
}

static void
look_for_error (MqttLink *self)
{
  int value = 0;
  socklen_t size = sizeof value;

  if (getsockopt (mosquitto_socket (self->client), SOL_SOCKET, SO_ERROR, &value, &size) == 0 && value != 0)
    self->system_error = value;
}

/* Reads and writes what can be, after it has waited for that for at most @timeout
 * milliseconds. @wake: of the cancellable, or NULL. */
gboolean
mqtt_link_pump (MqttLink       *self,
                int             timeout,
                const GPollFD  *wake,
                GError        **error)
{
  GPollFD fds[2] = { { mosquitto_socket (self->client), G_IO_IN, 0 } };
  int status;

  if (fds[0].fd < 0)
    return mqtt_link_set_lost (self, MOSQ_ERR_NO_CONN, error);
  if (mosquitto_want_write (self->client))
    fds[0].events |= G_IO_OUT;
  if (wake != NULL)
    fds[1] = *wake;
  g_poll (fds, wake != NULL ? 2 : 1, timeout);

  if (fds[1].revents != 0)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: the server has not answered yet", self->options->place);
      return FALSE;
    }
  if (has_failed (self, fds[0].revents))
    look_for_error (self);
  status = serve (self, fds[0].revents);
  if (status == MOSQ_ERR_SUCCESS && mqtt_link_is_open (self) && !has_failed (self, fds[0].revents))
    return TRUE;
  return mqtt_link_set_lost (self, status, error);
}

/* Many small messages make few packets. What is corked waits for more. */
void
mqtt_link_cork (MqttLink *self,
                gboolean  corked)
{
  setsockopt (mosquitto_socket (self->client), IPPROTO_TCP, TCP_CORK, &corked, sizeof corked);
}

/* ---- between two calls ---- */

typedef struct {
  GSource   source;
  MqttLink *link;
  gpointer  tag;     /* of the connection */
} LinkSource;

static void
prepare_next (LinkSource *self)
{
  GIOCondition condition = G_IO_IN | (mosquitto_want_write (self->link->client) ? G_IO_OUT : 0);
  guint keepalive = self->link->server_keepalive;

  g_source_modify_unix_fd (&self->source, self->tag, condition);
  if (keepalive > 0)
    g_source_set_ready_time (&self->source,
                             g_get_monotonic_time () + keepalive * G_USEC_PER_SEC / TICKS_PER_KEEPALIVE);
}

/* The next publish connects again. */
static gboolean
dispatch (GSource     *source,
          GSourceFunc  callback,
          gpointer     data)
{
  LinkSource *self = (LinkSource *) source;
  g_autoptr(GError) error = NULL;

  if (!mqtt_link_pump (self->link, 0, NULL, &error))
    {
      g_info ("%s", error->message);
      return G_SOURCE_REMOVE;
    }
  prepare_next (self);
  return G_SOURCE_CONTINUE;
}

static GSourceFuncs source_funcs = { .dispatch = dispatch };

void
mqtt_link_watch (MqttLink *self)
{
  LinkSource *source = (LinkSource *) g_source_new (&source_funcs, sizeof (LinkSource));

  source->link = self;
  source->tag = g_source_add_unix_fd (&source->source, mosquitto_socket (self->client), G_IO_IN);
  self->source = &source->source;
  prepare_next (source);
  g_source_attach (self->source, g_main_context_get_thread_default ());
}
