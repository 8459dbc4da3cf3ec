/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bench-ingress.h"

#include <curl/curl.h>

/* A request under way has a connection of its own, so a window is of fewer of them than of
 * messages on one connection. */
#define MESSAGES_A_CONNECTION 16

typedef struct
{
  CURLM             *multi;
  GPtrArray         *easies;
  struct curl_slist *headers;
  char              *url;
} Client;

static void
close_http (gpointer data)
{
  Client *self = data;

  g_ptr_array_unref (self->easies);
  curl_multi_cleanup (self->multi);
  curl_slist_free_all (self->headers);
  g_free (self->url);
  g_free (self);
}

/* The same headers as the ingress sends. */
static gpointer
open_http (const char  *destination,
           GError     **error)
{
  static const char * const lines[] = {
    "evbus-id: 01a2183b-747c-72d4-b30d-99913151f050",
    "evbus-routing-key: order.created",
    "evbus-profile: default",
    "evbus-time: 2026-11-23T18:58:41.802852Z",
    "Content-Type: application/octet-stream",
    "Idempotency-Key: 01a2183b-747c-72d4-b30d-99913151f050",
    "Expect:",
  };
  Client *self = g_new0 (Client, 1);

  self->url = g_strdup_printf ("http://127.0.0.1:%s/answer/", g_getenv ("BENCH_PORT"));
  self->easies = g_ptr_array_new_with_free_func (curl_easy_cleanup);
  self->multi = curl_multi_init ();
  for (guint i = 0; i < G_N_ELEMENTS (lines); i++)
    self->headers = curl_slist_append (self->headers, lines[i]);
  return self;
}

static size_t
drop (char   *data,
      size_t  size,
      size_t  n,
      void   *user_data)
{
  return size * n;
}

static void
add_easy (Client *self)
{
  CURL *easy = curl_easy_init ();

  curl_easy_setopt (easy, CURLOPT_URL, self->url);
  curl_easy_setopt (easy, CURLOPT_HTTPHEADER, self->headers);
  curl_easy_setopt (easy, CURLOPT_POST, 1L);
  curl_easy_setopt (easy, CURLOPT_USERNAME, g_getenv ("BENCH_USER"));
  curl_easy_setopt (easy, CURLOPT_PASSWORD, g_getenv ("BENCH_PASSWORD"));
  curl_easy_setopt (easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt (easy, CURLOPT_PROXY, "");
  curl_easy_setopt (easy, CURLOPT_WRITEFUNCTION, drop);
  g_ptr_array_add (self->easies, easy);
}

/* Returns how many have been answered, 0 with @error set for another answer than 204. */
static guint
take_answers (Client  *self,
              guint   *n_left,
              GError **error)
{
  guint n = 0;
  CURLMsg *message;
  int n_queued;

  while ((message = curl_multi_info_read (self->multi, &n_queued)) != NULL)
    {
      CURL *easy = message->easy_handle;
      CURLcode code = message->data.result;
      glong status = 0;

      curl_easy_getinfo (easy, CURLINFO_RESPONSE_CODE, &status);
      if (code != CURLE_OK || status != 204)
        {
          g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "http: %ld, %s", status, curl_easy_strerror (code));
          return 0;
        }
      curl_multi_remove_handle (self->multi, easy);
      n++;
      if (*n_left > 0)
        {
          (*n_left)--;
          curl_multi_add_handle (self->multi, easy);
        }
    }
  return n;
}

static gboolean
send_http (gpointer   connection,
           guint      n,
           gsize      size,
           guint      window,
           GError   **error)
{
  Client *self = connection;
  guint width = MIN (n, window / MESSAGES_A_CONNECTION);
  guint n_left = n - width;
  g_autofree char *body = g_strnfill (size, 'x');
  g_autoptr (GError) failure = NULL;

  curl_multi_setopt (self->multi, CURLMOPT_MAXCONNECTS, (glong) width);
  while (self->easies->len < width)
    add_easy (self);
  for (guint i = 0; i < width; i++)
    {
      curl_easy_setopt (self->easies->pdata[i], CURLOPT_POSTFIELDSIZE, (glong) size);
      curl_easy_setopt (self->easies->pdata[i], CURLOPT_POSTFIELDS, body);
      curl_multi_add_handle (self->multi, self->easies->pdata[i]);
    }

  for (guint taken = 0; taken < n && failure == NULL;)
    {
      guint some;
      int running;

      curl_multi_perform (self->multi, &running);
      some = take_answers (self, &n_left, &failure);
      taken += some;
      if (some == 0 && failure == NULL)
        curl_multi_poll (self->multi, NULL, 0, 1000, NULL);
    }
  if (failure == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}

const BenchLibrary bench_library = { open_http, send_http, close_http };
