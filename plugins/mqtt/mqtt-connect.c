/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* libmosquitto looks names up in a call that nothing cuts short. So it is given
 * addresses; of these nothing in it waits. */

#include "mqtt-connect.h"

#include <errno.h>
#include <mqtt_protocol.h>

static GList *
look_up (const MqttOptions  *options,
         GCancellable       *cancellable,
         GError            **error)
{
  g_autoptr(GResolver) resolver = g_resolver_get_default ();
  g_autoptr(GError) cause = NULL;
  GList *addresses = g_resolver_lookup_by_name (resolver, options->host, cancellable, &cause);

  if (addresses == NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: %s", options->place, cause->message);
  return addresses;
}

static gboolean
start (MqttLink      *self,
       GInetAddress  *address,
       GError       **error)
{
  g_autofree char *text = g_inet_address_to_string (address);
  int status;

  errno = 0;
  status = mosquitto_connect_async (self->client, text, self->options->port, self->options->keepalive);
  if (status == MOSQ_ERR_SUCCESS)
    return TRUE;
  if (status == MOSQ_ERR_ERRNO)
    self->system_error = errno;
  return mqtt_link_set_lost (self, status, error);
}

static gboolean
wait_for_answer (MqttLink       *self,
                 gint64          deadline,
                 const GPollFD  *wake,
                 GError        **error)
{
  while (!self->answered)
    {
      gint64 left = deadline - g_get_monotonic_time ();

      if (left <= 0)
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: the server does not answer in time; raise "
                       "'connect_timeout' if it may be as slow as that", self->options->place);
          return FALSE;
        }
      if (!mqtt_link_pump (self, left / 1000 + 1, wake, error))
        return FALSE;
    }
  return self->connack == CONNACK_ACCEPTED || mqtt_link_set_lost (self, MOSQ_ERR_CONN_REFUSED, error);
}

static MqttLink *
connect_to (const MqttOptions  *options,
            GInetAddress       *address,
            gint64              timeout,
            const GPollFD      *wake,
            GError            **error)
{
  g_autoptr(MqttLink) self = mqtt_link_new (options, error);

  if (self == NULL || !start (self, address, error) ||
      !wait_for_answer (self, g_get_monotonic_time () + timeout, wake, error))
    return NULL;
  mqtt_link_watch (self);
  return g_steal_pointer (&self);
}

/* Each of the addresses has its share of the time. */
MqttLink *
mqtt_connect (const MqttOptions  *options,
              GCancellable       *cancellable,
              GError            **error)
{
  GList *addresses = look_up (options, cancellable, error);
  gint64 timeout = options->connect_timeout / MAX (g_list_length (addresses), 1);
  GPollFD wake = { .fd = -1 };
  gboolean woken = g_cancellable_make_pollfd (cancellable, &wake);
  MqttLink *self = NULL;

  for (GList *l = addresses; l != NULL && self == NULL && !g_cancellable_is_cancelled (cancellable); l = l->next)
    {
      g_clear_error (error);
      self = connect_to (options, l->data, timeout, &wake, error);
    }
  if (self == NULL && error != NULL && *error == NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: given up before it was connected", options->place);
  if (woken)
    g_cancellable_release_fd (cancellable);
  g_resolver_free_addresses (addresses);
  return self;
}
