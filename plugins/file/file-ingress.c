/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <libpeas/peas.h>
#include <signal.h>

#include "file-line.h"
#include "file-log.h"

/* One line of JSON for each event, one write for each batch. */

/* A buffer that one large batch made larger than this is not kept. */
#define MAX_BUFFER (1024 * 1024)

#define FILE_TYPE_INGRESS (file_ingress_get_type ())

G_DECLARE_FINAL_TYPE (FileIngress, file_ingress, FILE, INGRESS, GObject)

struct _FileIngress
{
  GObject    parent_instance;

  FileLog    log;
  GString   *buffer;
  GArray    *poison;   /* indices of the events that are not in the buffer */
};

/* Past a limit on file sizes a write is to fail, and not to end the process.
 * This is the route's own thread. */
static void
block_file_size_signal (void)
{
  sigset_t set;

  sigemptyset (&set);
  sigaddset (&set, SIGXFSZ);
  pthread_sigmask (SIG_BLOCK, &set, NULL);
}

static gboolean
file_ingress_open (EvbusIngress  *ingress,
                   EvbusContext  *ctx,
                   GCancellable  *cancellable,
                   GError       **error)
{
  FileIngress *self = FILE_INGRESS (ingress);

  block_file_size_signal ();

  file_log_clear (&self->log);
  file_log_init (&self->log, evbus_context_get_string (ctx, "path"));
  self->log.sync = g_strcmp0 (evbus_context_get_string (ctx, "sync"), "batch") == 0;
  self->log.rotate_size = evbus_context_get_int (ctx, "rotate_size");
  self->log.rotate_age = evbus_context_get_int (ctx, "rotate_age");
  self->log.keep = evbus_context_get_int (ctx, "keep");

  return file_log_open (&self->log, cancellable, error);
}

static void
format_batch (FileIngress *self,
              EvbusBatch  *batch)
{
  guint n_events = evbus_batch_get_n_events (batch);
  guint i;

  g_string_truncate (self->buffer, 0);
  g_array_set_size (self->poison, 0);

  for (i = 0; i < n_events; i++)
    {
      g_autoptr(GError) error = NULL;

      if (!file_line_append (self->buffer, evbus_batch_get_event (batch, i), &error))
        {
          /* No retry will make valid JSON of it. */
          evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, error->message);
          g_array_append_val (self->poison, i);
        }
    }
}

static void
confirm_written (FileIngress *self,
                 EvbusBatch  *batch)
{
  guint n_events = evbus_batch_get_n_events (batch);
  guint next_poison = 0;
  guint i;

  if (self->poison->len == 0)
    {
      evbus_batch_confirm_all (batch);
      return;
    }

  for (i = 0; i < n_events; i++)
    {
      if (next_poison < self->poison->len &&
          g_array_index (self->poison, guint, next_poison) == i)
        next_poison++;
      else
        evbus_batch_confirm (batch, i);
    }
}

static gboolean
file_ingress_publish (EvbusIngress  *ingress,
                      EvbusContext  *ctx,
                      EvbusBatch    *batch,
                      GCancellable  *cancellable,
                      GError       **error)
{
  FileIngress *self = FILE_INGRESS (ingress);
  gboolean done;

  format_batch (self, batch);
  done = self->buffer->len == 0 ||
         file_log_append (&self->log, self->buffer->str, self->buffer->len, cancellable, error);
  if (done)
    confirm_written (self, batch);

  if (self->buffer->allocated_len > MAX_BUFFER)
    {
      g_string_free (self->buffer, TRUE);
      self->buffer = g_string_new (NULL);
    }

  return done;
}

static gboolean
file_ingress_close (EvbusIngress  *ingress,
                    EvbusContext  *ctx,
                    GError       **error)
{
  file_log_clear (&FILE_INGRESS (ingress)->log);
  return TRUE;
}

static void
file_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = file_ingress_open;
  iface->publish = file_ingress_publish;
  iface->close = file_ingress_close;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (FileIngress, file_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, file_ingress_iface_init))

static void
file_ingress_finalize (GObject *object)
{
  FileIngress *self = FILE_INGRESS (object);

  file_log_clear (&self->log);
  g_string_free (self->buffer, TRUE);
  g_array_unref (self->poison);

  G_OBJECT_CLASS (file_ingress_parent_class)->finalize (object);
}

static void
file_ingress_class_init (FileIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = file_ingress_finalize;
}

static void
file_ingress_init (FileIngress *self)
{
  self->log.fd = -1;
  self->buffer = g_string_new (NULL);
  self->poison = g_array_new (FALSE, FALSE, sizeof (guint));
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, FILE_TYPE_INGRESS);
}
