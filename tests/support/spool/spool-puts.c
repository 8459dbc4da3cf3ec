/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The events of the driver, and how they are put. */

#include "spool-driver.h"

#include <string.h>

/* ---- Events whose body follows from their routing key */

static gboolean
is_large (guint number)
{
  return number % 10 == 0;
}

static void
fill_body (const char *routing_key,
           GByteArray *body)
{
  guint number = g_str_hash (routing_key);
  /* Most are small; some have a page or more of their own. */
  guint size = is_large (number) ? number % 20000 : number % 400;

  g_byte_array_set_size (body, size);
  if (size > 0)
    memset (body->data, 'a' + number % 26, size);
}

static char *
make_routing_key (Driver *self)
{
  char *routing_key = NULL;

  do
    {
      g_free (routing_key);
      routing_key = g_strdup_printf ("key.%u", g_rand_int (self->rand));
    }
  while (self->mask != 0 && !is_large (g_str_hash (routing_key)));
  return routing_key;
}

static EvbusEvent *
make_event (Driver   *self,
            gboolean *known)
{
  g_autofree char *routing_key = make_routing_key (self);
  g_autofree char *id = NULL;
  g_autoptr (GByteArray) body = g_byte_array_new ();
  EvbusEventInit init = {
    .routing_key = routing_key,
    .routing_key_length = strlen (routing_key),
    .profile = "default",
    .profile_length = strlen ("default"),
    .content_type = "application/octet-stream",
  };

  *known = driver_chance (self, 20);
  if (*known)
    init.id = id = g_strdup_printf ("given-%08x%08x", g_rand_int (self->rand), g_rand_int (self->rand));
  fill_body (routing_key, body);
  init.data = body->data;
  init.size = body->len;
  return evbus_event_new (&init);
}

void
driver_check_event (EvbusEvent *event)
{
  g_autoptr (GByteArray) body = g_byte_array_new ();

  fill_body (event->routing_key, body);
  if (body->len != event->size || memcmp (body->data, event->data, event->size) != 0)
    g_error ("The event %s has the body of another one", event->id);
}

/* ---- Putting */

typedef struct {
  EvbusEvent *event;
  char        routes[N_ROUTES + 1];
  gboolean    known;
} Put;

static void
say_puts (Driver     *self,
          GArray     *puts,
          const char *what)
{
  guint i;

  for (i = 0; i < puts->len; i++)
    {
      Put *put = &g_array_index (puts, Put, i);

      if (what != NULL)
        driver_say (self, "%s %s", what, put->event->id);
      else
        driver_say (self, "stored %" G_GINT64_FORMAT " %s %s", put->event->seq, put->event->id, put->routes);
      if (what == NULL && put->known)
        driver_say (self, "told %s", put->event->id);
    }
}

static void
append_one (Driver *self,
            GArray *puts)
{
  EvbusSpoolRoute *routes[N_ROUTES];
  guint mask = self->mask != 0 ? self->mask : (guint) g_rand_int_range (self->rand, 1, 1 << N_ROUTES);
  guint n = 0;
  Put put = { 0 };
  guint i;

  put.event = make_event (self, &put.known);
  for (i = 0; i < N_ROUTES; i++)
    if (mask & (1 << i))
      {
        put.routes[n] = self->routes[i].name;
        routes[n++] = self->routes[i].route;
      }
  evbus_spool_append (self->spool, put.event, routes, n, put.known);
  g_array_append_val (puts, put);
}

static void
clear_put (gpointer put)
{
  evbus_event_unref (((Put *) put)->event);
}

gboolean
driver_put_group (Driver *self)
{
  g_autoptr (GArray) puts = g_array_new (FALSE, FALSE, sizeof (Put));
  g_autoptr (GError) error = NULL;
  guint n = g_rand_int_range (self->rand, 1, 12);

  g_array_set_clear_func (puts, clear_put);
  evbus_spool_begin (self->spool);
  while (n-- > 0)
    append_one (self, puts);
  if (self->mutant == MUTANT_ANSWER_FIRST)
    {
      say_puts (self, puts, NULL);
      driver_flush (self);
    }
  if (evbus_spool_commit (self->spool, &error))
    {
      if (self->mutant != MUTANT_ANSWER_FIRST)
        say_puts (self, puts, NULL);
      driver_say (self, "settled");
    }
  else if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL))
    {
      say_puts (self, puts, "refused");
      driver_say (self, "settled");
    }
  else
    {
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
      say_puts (self, puts, "unknown");
    }
  driver_flush (self);
  return error == NULL;
}
