/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The system has no more threads while a route to Kafka ends: it ends nevertheless. */

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "evbus-test.h"

static void
test_close (void)
{
  rd_kafka_t *rk = rd_kafka_new (RD_KAFKA_PRODUCER, rd_kafka_conf_new (), NULL, 0);
  rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new (rk, 1);
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autofree char *data = g_strdup_printf ("{'connection': <{'bootstrap_servers': <'%s'>}>, 'topic': <'numbers'>}",
                                           rd_kafka_mock_cluster_bootstraps (cluster));
  g_autoptr(EvbusRoute) route = evbus_test_add_route (broker, "kafka", "*", data);

  rd_kafka_mock_topic_create (cluster, "numbers", 1, 1);
  evbus_test_start (broker);
  evbus_test_put_numbers (broker, "default", 0, 10);
  evbus_test_wait_ledger (route, "delivered=10");

  /* GLib's own thread, which it makes with the first task, is not what is meant. */
  g_type_ensure (G_TYPE_TASK);
  evbus_test_refuse_threads (G_MAXINT);
  evbus_test_stop_anyhow (broker);
  g_assert_cmpint (evbus_test_count_refused_threads (), >, 0);
  evbus_test_refuse_threads (0);
  evbus_test_assert_ledger (route, "accepted=10 delivered=10");

  rd_kafka_mock_cluster_destroy (cluster);
  rd_kafka_destroy (rk);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);
  g_test_add_func ("/kafka-no-thread/close", test_close);
  return g_test_run ();
}
