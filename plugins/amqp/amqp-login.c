/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "amqp-login.h"

#include <amqp_tcp_socket.h>
#include <string.h>
#include <sys/time.h>

#include "amqp-errors.h"
#include "amqp-tls.h"

/* So many threads may look for a server at a time, those that nobody waits for counted in. */
#define MAX_OPENING 64

static int n_opening;   /* atomic */

/* Looking up a name and the handshake of TLS cannot be broken off. They have a
 * thread, which is left to its timeout when nobody waits for it any more. It is none of GLib's
 * pool: that has few, which dead servers would keep from everybody. */
typedef struct {
  gatomicrefcount          ref_count;
  GMutex                   lock;
  GCond                    changed;
  gboolean                 done;      /* lock */

  /* The thread's until it is done, then the route's. */
  amqp_connection_state_t  state;     /* NULL once it is the link's */
  amqp_socket_t           *socket;
  char                    *host;
  int                      port;
  struct timeval           timeout;
  gboolean                 tls;
  gboolean                 refused;   /* the client's certificate */
  gboolean                 wanted;    /* one, and there is none */
  int                      status;
} Opening;

static void
opening_unref (Opening *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;
  g_clear_pointer (&self->state, amqp_destroy_connection);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->changed);
  g_free (self->host);
  g_free (self);
}

static gpointer
open_socket (gpointer data)
{
  Opening *self = data;

  self->status = amqp_socket_open_noblock (self->socket, self->host, self->port, &self->timeout);
  self->refused = self->status != AMQP_STATUS_OK && self->tls && amqp_tls_certificate_refused ();
  self->wanted = self->tls && amqp_tls_certificate_wanted (self->state);
  g_mutex_lock (&self->lock);
  self->done = TRUE;
  g_cond_signal (&self->changed);
  g_mutex_unlock (&self->lock);
  g_atomic_int_add (&n_opening, -1);
  opening_unref (self);
  return NULL;
}

static void
on_cancelled (GCancellable *cancellable,
              Opening      *self)
{
  g_mutex_lock (&self->lock);
  g_cond_signal (&self->changed);
  g_mutex_unlock (&self->lock);
}

/* FALSE: it was cancelled. */
static gboolean
wait_until_done (Opening      *self,
                 GCancellable *cancellable)
{
  gulong handler = cancellable != NULL ? g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), self, NULL) : 0;
  gboolean done;

  g_mutex_lock (&self->lock);
  while (!self->done && !g_cancellable_is_cancelled (cancellable))
    g_cond_wait (&self->changed, &self->lock);
  done = self->done;
  g_mutex_unlock (&self->lock);

  g_cancellable_disconnect (cancellable, handler);
  return done;
}

static GThread *
start_thread (AmqpLink  *link,
              Opening   *self,
              GError   **error)
{
  g_autoptr(GError) local_error = NULL;
  GThread *thread = NULL;

  if (g_atomic_int_add (&n_opening, 1) < MAX_OPENING)
    {
      g_atomic_ref_count_inc (&self->ref_count);
      thread = g_thread_try_new ("amqp-open", open_socket, self, &local_error);
      if (thread != NULL)
        return thread;
      opening_unref (self);
    }
  g_atomic_int_add (&n_opening, -1);
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: %s", link->options->name,
               local_error != NULL ? local_error->message : "too many connections wait for an answer already");
  return NULL;
}

static gboolean
open_socket_in_thread (AmqpLink       *self,
                       Opening        *opening,
                       GCancellable   *cancellable,
                       GError        **error)
{
  GThread *thread = start_thread (self, opening, error);

  if (thread == NULL)
    return FALSE;
  if (!wait_until_done (opening, cancellable))
    {
      g_thread_unref (thread);
      return amqp_link_set_cancelled (self, error);
    }
  g_thread_join (thread);
  if (opening->refused)
    return amqp_errors_set_refused (self->options, error);
  if (opening->status != AMQP_STATUS_OK)
    return amqp_errors_set_lost (self->options, opening->status, opening->wanted, error);

  self->state = g_steal_pointer (&opening->state);
  self->fd = amqp_get_sockfd (self->state);
  return TRUE;
}

static struct timeval
to_timeval (gint64 microseconds)
{
  return (struct timeval) { microseconds / G_USEC_PER_SEC, microseconds % G_USEC_PER_SEC };
}

gboolean
amqp_login_connect (AmqpLink      *self,
                GCancellable  *cancellable,
                GError       **error)
{
  struct timeval timeout = to_timeval (self->options->timeout);
  Opening *opening = g_new0 (Opening, 1);
  gboolean done = FALSE;

  g_atomic_ref_count_init (&opening->ref_count);
  g_mutex_init (&opening->lock);
  g_cond_init (&opening->changed);
  opening->state = amqp_new_connection ();
  opening->host = g_strdup (self->options->host);
  opening->port = self->options->port;
  opening->tls = self->options->tls;
  opening->timeout = timeout;
  amqp_set_handshake_timeout (opening->state, &timeout);
  amqp_set_rpc_timeout (opening->state, &timeout);
  opening->socket = self->options->tls ? amqp_tls_socket_new (self->options, opening->state, error)
                                       : amqp_tcp_socket_new (opening->state);
  if (opening->socket != NULL)
    done = open_socket_in_thread (self, opening, cancellable, error);
  opening_unref (opening);
  return done;
}

static void
add_property (GArray     *properties,
              const char *name,
              GVariant   *value)
{
  amqp_table_entry_t entry = { .key = amqp_cstring_bytes (name) };

  if (!amqp_options_convert (value, &entry.value))
    {
      entry.value.kind = AMQP_FIELD_KIND_UTF8;
      entry.value.value.bytes = amqp_cstring_bytes (g_variant_get_string (value, NULL));
    }
  g_array_append_val (properties, entry);
}

/* Without these the server would not tell that it is full, nor that it lost a
 * message. */
static const char * const capabilities[] = { "connection.blocked", "basic.nack", "publisher_confirms" };

static void
add_capabilities (GArray             *properties,
                  amqp_table_entry_t *entries)
{
  amqp_table_entry_t entry = { .key = amqp_cstring_bytes ("capabilities"), .value.kind = AMQP_FIELD_KIND_TABLE };

  for (guint i = 0; i < G_N_ELEMENTS (capabilities); i++)
    {
      entries[i].key = amqp_cstring_bytes (capabilities[i]);
      entries[i].value.kind = AMQP_FIELD_KIND_BOOLEAN;
      entries[i].value.value.boolean = TRUE;
    }
  entry.value.value.table.num_entries = G_N_ELEMENTS (capabilities);
  entry.value.value.table.entries = entries;
  g_array_append_val (properties, entry);
}

/* The texts are @own's and the options'. */
static GArray *
make_properties (AmqpLink *self,
                 GVariant *own)
{
  GArray *properties = g_array_new (FALSE, TRUE, sizeof (amqp_table_entry_t));
  GVariant *given = self->options->client_properties;
  GVariantIter iter;
  const char *name;
  GVariant *value;

  g_variant_iter_init (&iter, own);
  while (g_variant_iter_loop (&iter, "{&sv}", &name, &value))
    {
      g_autoptr(GVariant) other = given != NULL ? g_variant_lookup_value (given, name, NULL) : NULL;

      if (other == NULL)
        add_property (properties, name, value);
    }
  if (given == NULL)
    return properties;

  g_variant_iter_init (&iter, given);
  while (g_variant_iter_loop (&iter, "{&sv}", &name, &value))
    add_property (properties, name, value);
  return properties;
}

gboolean
amqp_login_authenticate (AmqpLink  *self,
                         GError   **error)
{
  const AmqpOptions *options = self->options;
  g_autoptr(GVariant) own = g_variant_ref_sink (g_variant_new_parsed ("{'product': <'evbus'>, 'connection_name': <%s>}",
                                                                      options->client_id));
  g_autoptr(GArray) properties = NULL;
  amqp_table_entry_t entries[G_N_ELEMENTS (capabilities)];
  amqp_table_t table;
  amqp_rpc_reply_t answer;

  /* In serialised form its texts do not move. */
  g_variant_get_data (own);
  properties = make_properties (self, own);
  add_capabilities (properties, entries);
  table.num_entries = properties->len;
  table.entries = (amqp_table_entry_t *) (gpointer) properties->data;
  answer = amqp_login_with_properties (self->state, options->vhost, AMQP_LINK_CHANNEL, AMQP_DEFAULT_FRAME_SIZE,
                                       options->heartbeat, &table, AMQP_SASL_METHOD_PLAIN,
                                       options->login, options->password);
  /* By TLS 1.3 a server may refuse the client's certificate when all seemed to be well. */
  if (answer.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && options->tls)
    return amqp_tls_certificate_refused () ? amqp_errors_set_refused (options, error)
                                           : amqp_errors_set_lost (options, answer.library_error,
                                                                   amqp_tls_certificate_wanted (self->state), error);
  return answer.reply_type == AMQP_RESPONSE_NORMAL || amqp_errors_set_answer (options, answer, error);
}

gboolean
amqp_login_open_channel (AmqpLink  *self,
                         GError   **error)
{
  const AmqpOptions *options = self->options;
  amqp_rpc_reply_t answer;

  amqp_channel_open (self->state, AMQP_LINK_CHANNEL);
  answer = amqp_get_rpc_reply (self->state);
  if (answer.reply_type == AMQP_RESPONSE_NORMAL && options->exchange_type != NULL)
    {
      g_autofree char *exchange = evbus_template_expand (options->exchange, NULL);

      amqp_exchange_declare (self->state, AMQP_LINK_CHANNEL, amqp_cstring_bytes (exchange),
                             amqp_cstring_bytes (options->exchange_type), FALSE, TRUE, FALSE, FALSE, amqp_empty_table);
      answer = amqp_get_rpc_reply (self->state);
    }
  if (answer.reply_type == AMQP_RESPONSE_NORMAL)
    {
      amqp_confirm_select (self->state, AMQP_LINK_CHANNEL);
      answer = amqp_get_rpc_reply (self->state);
    }
  if (answer.reply_type != AMQP_RESPONSE_NORMAL)
    return amqp_errors_set_answer (options, answer, error);

  self->channel = TRUE;
  self->last_tag = 0;
  return TRUE;
}
