/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <libpeas/peas.h>
#include <string.h>

#include "redis-command.h"
#include "redis-connection.h"
#include "redis-errors.h"

/* Events as entries of Redis streams; or on channels, or in lists. */

/* The server is at work on this much while the next is made. */
#define CHUNK (16 * 1024)

#define REDIS_TYPE_INGRESS (redis_ingress_get_type ())

G_DECLARE_FINAL_TYPE (RedisIngress, redis_ingress, REDIS, INGRESS, GObject)

struct _RedisIngress
{
  GObject          parent_instance;

  RedisOptions    *options;
  RedisConnection *connection;   /* NULL: the next publish makes one */
  RedisWriter      writer;
  GArray          *sent;         /* guint: the events of the batch that were sent … */
  guint            n_read;       /* … and for how many of them there was a reply */
};

/* ---- open ---- */

/* Says who we are, and asks whether the server would have us. */
static guint
append_greeting (RedisIngress *self,
                 EvbusContext *ctx)
{
  const char *username = evbus_context_get_string (ctx, "username");
  const char *password = evbus_context_get_string (ctx, "password");
  g_autofree char *name = evbus_context_dup_client_id (ctx);
  g_autofree char *db = g_strdup_printf ("%" G_GINT64_FORMAT, evbus_context_get_int (ctx, "db"));
  guint n = 2;

  /* There are users without a password; to leave AUTH out would be to be another one. */
  if (username != NULL)
    redis_writer_append_command (&self->writer, (const char *[]) { "AUTH", username, password != NULL ? password : "", NULL });
  else if (password != NULL)
    redis_writer_append_command (&self->writer, (const char *[]) { "AUTH", password, NULL });
  n += username != NULL || password != NULL;

  if (!g_str_equal (db, "0"))
    {
      redis_writer_append_command (&self->writer, (const char *[]) { "SELECT", db, NULL });
      n++;
    }

  redis_writer_append_command (&self->writer, (const char *[]) { "CLIENT", "SETNAME", name, NULL });
  redis_writer_append_command (&self->writer, (const char *[]) { "PING", NULL });
  return n;
}

/* A user who may not use SETNAME or PING may still be allowed to write. */
static gboolean
is_refusal (const redisReply *reply,
            gboolean          optional)
{
  return reply->type == REDIS_REPLY_ERROR &&
         !(optional && (g_str_has_prefix (reply->str, "NOPERM ") || g_str_has_prefix (reply->str, "ERR ")));
}

/* A server that does not know AUTH says what it was sent: not more of it is told than the command,
 * and nothing from the password on. */
static void
hide_password (char       *reply,
               const char *password)
{
  const char * const starts[] = { ", with args beginning", password };

  for (guint i = 0; i < G_N_ELEMENTS (starts); i++)
    {
      char *found = starts[i] != NULL && *starts[i] != '\0' ? strstr (reply, starts[i]) : NULL;

      if (found != NULL)
        *found = '\0';
    }
}

static gboolean
greet (RedisIngress  *self,
       EvbusContext  *ctx,
       GCancellable  *cancellable,
       GError       **error)
{
  g_autoptr(GError) cause = NULL;
  guint n;
  gboolean written;

  g_string_truncate (self->writer.out, 0);
  n = append_greeting (self, ctx);
  written = redis_connection_write (self->connection, self->writer.out, cancellable, &cause);
  /* The password was in it. */
  explicit_bzero (self->writer.out->str, self->writer.out->len);

  for (guint i = 0; written && i < n; i++)
    {
      g_autoptr(redisReply) reply = redis_connection_read (self->connection, cancellable, &cause);

      if (reply == NULL)
        break;
      if (is_refusal (reply, i + 2 >= n))
        {
          hide_password (reply->str, evbus_context_get_string (ctx, "password"));
          redis_set_reply_error (self->options, reply->str, error);
          return FALSE;
        }
    }

  if (cause == NULL)
    return TRUE;
  redis_set_connect_error (self->options, cause, FALSE, error);
  return FALSE;
}

static gboolean
connect_to_server (RedisIngress  *self,
                   EvbusContext  *ctx,
                   GCancellable  *cancellable,
                   GError       **error)
{
  g_autoptr(GError) cause = NULL;

  g_clear_pointer (&self->connection, redis_connection_free);
  self->connection = redis_connection_new (self->options, ctx, cancellable, &cause);
  if (self->connection == NULL)
    {
      redis_set_connect_error (self->options, cause, FALSE, error);
      return FALSE;
    }

  if (greet (self, ctx, cancellable, error))
    return TRUE;
  g_clear_pointer (&self->connection, redis_connection_free);
  return FALSE;
}

static gboolean
redis_ingress_open (EvbusIngress  *ingress,
                    EvbusContext  *ctx,
                    GCancellable  *cancellable,
                    GError       **error)
{
  RedisIngress *self = REDIS_INGRESS (ingress);

  g_clear_pointer (&self->connection, redis_connection_free);
  g_clear_pointer (&self->options, redis_options_free);
  self->options = redis_options_new (ctx);
  if (evbus_context_get_string (ctx, "password") != NULL && !self->options->tls)
    evbus_context_warn_unencrypted (ctx, self->options->unix_socket != NULL ? "" : self->options->host);
  if (self->options->tls && !self->options->verify)
    evbus_context_warn_unverified (ctx, self->options->host);

  return connect_to_server (self, ctx, cancellable, error);
}

/* ---- publish ---- */

static gboolean
flush (RedisIngress  *self,
       GCancellable  *cancellable,
       GError       **error)
{
  gboolean done = self->writer.out->len == 0 ||
                  redis_connection_write (self->connection, self->writer.out, cancellable, error);

  g_string_truncate (self->writer.out, 0);
  return done;
}

/* From the event @first on. On error too, what was sent may have been executed, and have its
 * reply. */
static gboolean
send_events (RedisIngress  *self,
             EvbusBatch    *batch,
             guint          first,
             GCancellable  *cancellable,
             GError       **error)
{
  guint n_events = evbus_batch_get_n_events (batch);

  g_string_truncate (self->writer.out, 0);
  for (guint i = first; i < n_events; i++)
    {
      g_autoptr(GError) mistake = NULL;

      if (!redis_writer_append_event (&self->writer, self->options, evbus_batch_get_event (batch, i), &mistake))
        {
          evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, mistake->message);
          continue;
        }
      g_array_append_val (self->sent, i);
      if (self->writer.out->len >= CHUNK && !flush (self, cancellable, error))
        return FALSE;
    }

  return flush (self, cancellable, error);
}

/* Returns whether the connection is of further use. */
static gboolean
mark (RedisIngress     *self,
      EvbusBatch       *batch,
      guint             index,
      const redisReply *reply)
{
  g_autofree char *message = NULL;
  const char *advice;
  EvbusOutcome outcome;

  if (reply->type != REDIS_REPLY_ERROR)
    {
      evbus_batch_confirm (batch, index);
      return TRUE;
    }

  outcome = redis_reply_get_outcome (self->options, reply->str, &advice);
  message = g_strdup_printf ("%s: %s: %s", self->options->place, reply->str, advice);
  evbus_batch_fail (batch, index, outcome, message);
  return outcome == EVBUS_OUTCOME_POISON;
}

/* Until there are events to send, if @more may be. */
static gboolean
read_replies (RedisIngress  *self,
              EvbusBatch    *batch,
              gboolean       more,
              gboolean      *keep,
              GCancellable  *cancellable,
              GError       **error)
{
  while ((!more || evbus_batch_extend (batch) == 0) && self->n_read < self->sent->len)
    {
      g_autoptr(redisReply) reply = redis_connection_read (self->connection, cancellable, error);

      if (reply == NULL)
        return FALSE;
      if (!mark (self, batch, g_array_index (self->sent, guint, self->n_read++), reply))
        *keep = FALSE;
    }
  return TRUE;
}

static gboolean
redis_ingress_publish (EvbusIngress  *ingress,
                       EvbusContext  *ctx,
                       EvbusBatch    *batch,
                       GCancellable  *cancellable,
                       GError       **error)
{
  RedisIngress *self = REDIS_INGRESS (ingress);
  g_autoptr(GError) write_error = NULL;
  g_autoptr(GError) read_error = NULL;
  guint n_sent = 0;
  gboolean keep = TRUE;
  gboolean done = TRUE;

  if ((self->connection == NULL || !redis_connection_is_open (self->connection)) &&
      !connect_to_server (self, ctx, cancellable, error))
    return FALSE;

  g_array_set_size (self->sent, 0);
  self->n_read = 0;
  while (done && n_sent < evbus_batch_get_n_events (batch))
    {
      guint first = n_sent;

      n_sent = evbus_batch_get_n_events (batch);
      /* A server that refuses a command says so before it hangs up. */
      done = send_events (self, batch, first, cancellable, &write_error);
      done = read_replies (self, batch, done, &keep, cancellable, &read_error) && done;
    }
  if (!done)
    redis_set_connect_error (self->options, read_error != NULL ? read_error : write_error, TRUE, error);

  /* After a failover, or with another password, a new connection may do better. */
  if (!done || !keep)
    g_clear_pointer (&self->connection, redis_connection_free);
  redis_writer_trim (&self->writer);
  return done;
}

static gboolean
redis_ingress_close (EvbusIngress  *ingress,
                     EvbusContext  *ctx,
                     GError       **error)
{
  g_clear_pointer (&REDIS_INGRESS (ingress)->connection, redis_connection_free);
  return TRUE;
}

static void
redis_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = redis_ingress_open;
  iface->publish = redis_ingress_publish;
  iface->close = redis_ingress_close;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (RedisIngress, redis_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, redis_ingress_iface_init))

static void
redis_ingress_finalize (GObject *object)
{
  RedisIngress *self = REDIS_INGRESS (object);

  g_clear_pointer (&self->connection, redis_connection_free);
  g_clear_pointer (&self->options, redis_options_free);
  redis_writer_clear (&self->writer);
  g_array_unref (self->sent);

  G_OBJECT_CLASS (redis_ingress_parent_class)->finalize (object);
}

static void
redis_ingress_class_init (RedisIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = redis_ingress_finalize;
}

static void
redis_ingress_init (RedisIngress *self)
{
  redis_writer_init (&self->writer);
  self->sent = g_array_new (FALSE, FALSE, sizeof (guint));
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, REDIS_TYPE_INGRESS);
}
