/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bench-ingress.h"

#include <nats/nats.h>
#include <stdlib.h>

typedef struct
{
  natsConnection *connection;
  char           *stream;
  char           *subject;
  guint           number;      /* of the last message */
} Connection;

static void
close_nats (gpointer data)
{
  Connection *self = data;

  natsConnection_Destroy (self->connection);
  g_free (self->stream);
  g_free (self->subject);
  g_free (self);
}

static gboolean
check (natsStatus   status,
       GError     **error)
{
  if (status == NATS_OK)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "nats: %s", natsStatus_GetText (status));
  return FALSE;
}

static gpointer
open_nats (const char  *destination,
           GError     **error)
{
  Connection *self = g_new0 (Connection, 1);
  g_autofree char *url = g_strdup_printf ("nats://127.0.0.1:%s", g_getenv ("BENCH_PORT"));
  natsOptions *options = NULL;
  natsStatus status = natsOptions_Create (&options);

  self->stream = g_strdup (destination);
  self->subject = g_strconcat (destination, ".order.created", NULL);
  if (status == NATS_OK)
    status = natsOptions_SetURL (options, url);
  if (status == NATS_OK)
    status = natsOptions_SetUserInfo (options, g_getenv ("BENCH_USER"), g_getenv ("BENCH_PASSWORD"));
  if (status == NATS_OK)
    status = natsConnection_Connect (&self->connection, options);
  natsOptions_Destroy (options);
  if (check (status, error))
    return self;
  close_nats (self);
  return NULL;
}

/* The same message as the ingress sends, with an id that no other has. */
static natsStatus
publish (Connection *self,
         jsCtx      *stream,
         const char *body,
         gsize       size)
{
  char id[40];
  const char * const headers[][2] = {
    { "evbus-id", id },
    { "evbus-routing-key", "order.created" },
    { "evbus-profile", "default" },
    { "evbus-time", "2026-11-23T18:58:41.802852Z" },
    { "Content-Type", "application/octet-stream" },
    { "Nats-Expected-Stream", self->stream },
    { "Nats-Msg-Id", id },
  };
  natsMsg *msg = NULL;
  natsStatus status;

  g_snprintf (id, sizeof id, "01a2183b-747c-72d4-b30d-9991%08x", ++self->number);
  status = natsMsg_Create (&msg, self->subject, NULL, body, size);
  for (guint i = 0; i < G_N_ELEMENTS (headers) && status == NATS_OK; i++)
    status = natsMsgHeader_Set (msg, headers[i][0], headers[i][1]);
  if (status == NATS_OK)
    status = js_PublishMsgAsync (stream, &msg, NULL);
  natsMsg_Destroy (msg);
  return status;
}

/* Its own asynchronous publishing, which waits where more than the window is pending. */
static gboolean
send_nats (gpointer   connection,
           guint      n,
           gsize      size,
           guint      window,
           GError   **error)
{
  Connection *self = connection;
  g_autofree char *body = g_strnfill (size, 'x');
  jsOptions options;
  jsCtx *stream = NULL;
  natsMsgList refused = { NULL, 0 };
  natsStatus status = jsOptions_Init (&options);

  options.PublishAsync.MaxPending = window;
  if (status == NATS_OK)
    status = natsConnection_JetStream (&stream, self->connection, &options);
  for (guint i = 0; i < n && status == NATS_OK; i++)
    status = publish (self, stream, body, size);
  if (status == NATS_OK)
    status = js_PublishAsyncComplete (stream, NULL);
  if (status == NATS_OK && js_PublishAsyncGetPendingList (&refused, stream) == NATS_OK && refused.Count > 0)
    status = NATS_ERR;
  natsMsgList_Destroy (&refused);
  jsCtx_Destroy (stream);
  return check (status, error);
}

const BenchLibrary bench_library = { open_nats, send_nats, close_nats };
