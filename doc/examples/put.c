/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <evbus/evbus.h>

static void
stopped (GObject      *broker,
         GAsyncResult *result,
         gpointer      loop)
{
  evbus_broker_stop_finish (EVBUS_BROKER (broker), result, NULL);
  g_main_loop_quit (loop);
}

int
main (int    argc,
      char **argv)
{
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr(EvbusBroker) broker = evbus_broker_new ();
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  if (evbus_broker_load_profiles (broker, argc > 1 ? argv[1] : "profiles.yaml", &error) &&
      evbus_broker_start (broker, &error))
    id = evbus_producer_put_nowait (EVBUS_PRODUCER (broker), "order.created",
                                    g_variant_new_parsed ("{'id': <42>}"), "default", &error);
  if (!id)
    {
      g_printerr ("%s\n", error->message);
      return 1;
    }
  g_print ("%s\n", id);

  /* Lets the routes deliver what they hold. */
  evbus_broker_stop_async (broker, NULL, stopped, loop);
  g_main_loop_run (loop);
  return 0;
}
