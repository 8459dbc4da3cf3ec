/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What kafka's plugin asks of librdkafka, looked at where it asks: retries and queues of the
 * library that outlive ours would be seen nowhere else. And what it makes of each code. */

#include <dlfcn.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "../../../plugins/kafka/kafka-errors.h"
#include "evbus-test.h"

static const char * const properties[] = {
  "queue.buffering.max.kbytes", "message.timeout.ms", "enable.idempotence", "acks", NULL,
};

/* Of the plugin's last producer. */
static struct {
  char       *values[G_N_ELEMENTS (properties)];
  rd_kafka_t *rk;
  gint        n_purged;
  gint        n_left;       /* messages it had when it was purged */
  gint        flags;
} seen;

/* ---- in front of the library ---- */

__attribute__ ((visibility ("default"))) rd_kafka_t *
rd_kafka_new (rd_kafka_type_t  type,
              rd_kafka_conf_t *conf,
              char            *text,
              size_t           size)
{
  rd_kafka_t *(* next) (rd_kafka_type_t, rd_kafka_conf_t *, char *, size_t) = dlsym (RTLD_NEXT, "rd_kafka_new");
  rd_kafka_t *rk;

  for (guint i = 0; properties[i] != NULL; i++)
    {
      char value[64];
      size_t length = sizeof value;

      gboolean known = rd_kafka_conf_get (conf, properties[i], value, &length) == RD_KAFKA_CONF_OK;

      g_free (seen.values[i]);
      seen.values[i] = g_strdup (known ? value : "not set");
    }
  rk = next (type, conf, text, size);
  g_atomic_pointer_set (&seen.rk, rk);
  return rk;
}

__attribute__ ((visibility ("default"))) rd_kafka_resp_err_t
rd_kafka_purge (rd_kafka_t *rk,
                int         flags)
{
  rd_kafka_resp_err_t (* next) (rd_kafka_t *, int) = dlsym (RTLD_NEXT, "rd_kafka_purge");

  if (rk == g_atomic_pointer_get (&seen.rk))
    {
      g_atomic_int_set (&seen.n_left, rd_kafka_outq_len (rk));
      g_atomic_int_set (&seen.flags, flags);
      g_atomic_int_inc (&seen.n_purged);
    }
  return next (rk, flags);
}

/* ---- what it is asked for ---- */

/* It takes a second to end, so that all tests have the same one. */
static rd_kafka_mock_cluster_t *cluster;

/* @connection, @others: more options, each after a comma. */
static EvbusRoute *
start (EvbusBroker *broker,
       const char  *topic,
       const char  *connection,
       const char  *others)
{
  g_autofree char *data = g_strdup_printf ("{'connection': <{'bootstrap_servers': <'%s'>%s}>, 'topic': <'%s'>%s}",
                                           rd_kafka_mock_cluster_bootstraps (cluster), connection, topic, others);
  EvbusRoute *route = evbus_test_add_route (broker, "kafka", "*", data);

  seen.rk = NULL;
  seen.n_purged = 0;
  evbus_test_start (broker);
  return route;
}

/* Its own are 1 GiB, and five minutes. */
static void
test_limits (void)
{
  static const struct {
    const char *connection;
    const char *others;
    const char *expected;    /* in the order of the properties */
  } cases[] = {
    { "", "", "65536 24000 true -1" },
    { ", 'max_request_size': <'100MiB'>", ", 'delivery': <{'timeout': <'2s'>}>", "204800 1600 true -1" },
    { "", ", 'delivery': <{'timeout': <'10s'>}>, 'rdkafka': <{'queue.buffering.max.kbytes': <1000>, "
      "'message.timeout.ms': <10000>}>", "1000 10000 true -1" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
      g_autoptr(EvbusRoute) route = start (broker, "numbers", cases[i].connection, cases[i].others);
      g_autofree char *values = NULL;

      evbus_test_put_numbers (broker, "default", 0, 1);
      evbus_test_wait_ledger (route, "delivered=1");
      values = g_strjoinv (" ", seen.values);
      g_assert_cmpstr (values, ==, cases[i].expected);
      evbus_test_stop (broker);
      evbus_test_assert_ledger (route, "accepted=1 delivered=1");
    }
}

/* What it still has when the route ends it is thrown away. */
static void
test_purge (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = start (broker, "headless", "", "");

  evbus_test_put_numbers (broker, "default", 0, 10);
  evbus_test_wait_until (g_atomic_pointer_get (&seen.rk) != NULL && rd_kafka_outq_len (seen.rk) == 10);
  g_assert_cmpint (seen.n_purged, ==, 0);
  evbus_test_stop_leaving (broker);
  g_assert_cmpint (seen.n_purged, ==, 1);
  g_assert_cmpint (seen.n_left, ==, 10);
  g_assert_cmpint (seen.flags, ==, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
  evbus_test_assert_ledger (route, "accepted=10 dropped=10");
}

/* ---- codes ---- */

static const struct {
  rd_kafka_resp_err_t code;
  EvbusOutcome        fixed;   /* where the topic is the profile's … */
  EvbusOutcome        own;     /* … and where it is the event's */
} outcomes[] = {
#define CODE(name, fixed, own) { RD_KAFKA_RESP_ERR_ ## name, EVBUS_OUTCOME_ ## fixed, EVBUS_OUTCOME_ ## own }
  CODE (_AUTHENTICATION, BROKEN, BROKEN),
  CODE (SASL_AUTHENTICATION_FAILED, BROKEN, BROKEN),
  CODE (UNSUPPORTED_SASL_MECHANISM, BROKEN, BROKEN),
  CODE (ILLEGAL_SASL_STATE, BROKEN, BROKEN),
  CODE (SECURITY_DISABLED, BROKEN, BROKEN),
  CODE (_SSL, BROKEN, BROKEN),
  CODE (CLUSTER_AUTHORIZATION_FAILED, BROKEN, BROKEN),
  CODE (_UNSUPPORTED_FEATURE, BROKEN, BROKEN),
  CODE (UNSUPPORTED_VERSION, BROKEN, BROKEN),
  CODE (UNSUPPORTED_FOR_MESSAGE_FORMAT, BROKEN, BROKEN),
  CODE (UNSUPPORTED_COMPRESSION_TYPE, BROKEN, BROKEN),
  CODE (INVALID_REQUIRED_ACKS, BROKEN, BROKEN),
  CODE (_UNKNOWN_TOPIC, BROKEN, POISON),
  CODE (UNKNOWN_TOPIC_OR_PART, BROKEN, POISON),
  CODE (TOPIC_EXCEPTION, BROKEN, POISON),
  CODE (TOPIC_AUTHORIZATION_FAILED, BROKEN, POISON),
  CODE (_UNKNOWN_PARTITION, BROKEN, POISON),
  CODE (MSG_SIZE_TOO_LARGE, POISON, POISON),
  CODE (RECORD_LIST_TOO_LARGE, POISON, POISON),
  CODE (INVALID_MSG_SIZE, POISON, POISON),
  CODE (INVALID_RECORD, POISON, POISON),
  CODE (INVALID_TIMESTAMP, POISON, POISON),
#undef CODE
};

/* What is not among these passes. */
static EvbusOutcome
find_outcome (rd_kafka_resp_err_t code,
              gboolean            fixed)
{
  for (guint i = 0; i < G_N_ELEMENTS (outcomes); i++)
    if (outcomes[i].code == code)
      return fixed ? outcomes[i].fixed : outcomes[i].own;
  return EVBUS_OUTCOME_TRANSIENT;
}

/* Each that the library knows, from brokers and of its own. */
static void
test_codes (void)
{
  const struct rd_kafka_err_desc *codes;
  size_t n;
  guint n_found = 0;

  rd_kafka_get_err_descs (&codes, &n);
  for (size_t i = 0; i < n; i++)
    {
      n_found += find_outcome (codes[i].code, TRUE) != EVBUS_OUTCOME_TRANSIENT;
      for (int fixed = FALSE; fixed <= TRUE; fixed++)
        {
          const char *way_out = NULL;
          EvbusOutcome outcome = kafka_errors_get_outcome (codes[i].code, fixed, &way_out);

          g_test_message ("%s, %d", codes[i].name != NULL ? codes[i].name : "?", fixed);
          g_assert_cmpint (outcome, ==, find_outcome (codes[i].code, fixed));
          /* A person has to do something about it. */
          g_assert_true (outcome == EVBUS_OUTCOME_TRANSIENT || way_out != NULL);
        }
    }
  g_assert_cmpuint (n_found, ==, G_N_ELEMENTS (outcomes));
}

static void
test_corrections (void)
{
  static const struct {
    rd_kafka_resp_err_t code;
    const char         *text;
    rd_kafka_resp_err_t corrected;
  } cases[] = {
    { RD_KAFKA_RESP_ERR__TRANSPORT, "SSL alert number 42", RD_KAFKA_RESP_ERR__SSL },
    { RD_KAFKA_RESP_ERR__TRANSPORT, "ssl: SSL alert number 116: required", RD_KAFKA_RESP_ERR__SSL },
    { RD_KAFKA_RESP_ERR__TRANSPORT, "SSL alert number 80", RD_KAFKA_RESP_ERR__TRANSPORT },
    { RD_KAFKA_RESP_ERR__TRANSPORT, "Connection refused", RD_KAFKA_RESP_ERR__TRANSPORT },
    { RD_KAFKA_RESP_ERR__SSL, "unexpected eof while reading", RD_KAFKA_RESP_ERR__TRANSPORT },
    { RD_KAFKA_RESP_ERR__SSL, "certificate verify failed", RD_KAFKA_RESP_ERR__SSL },
    { RD_KAFKA_RESP_ERR__AUTHENTICATION, "SSL alert number 42", RD_KAFKA_RESP_ERR__AUTHENTICATION },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    g_assert_cmpint (kafka_errors_correct (cases[i].code, cases[i].text), ==, cases[i].corrected);
}

int
main (int    argc,
      char **argv)
{
  rd_kafka_t *rk;
  int result;

  evbus_test_init (&argc, &argv);
  rk = rd_kafka_new (RD_KAFKA_PRODUCER, rd_kafka_conf_new (), NULL, 0);
  cluster = rd_kafka_mock_cluster_new (rk, 1);
  rd_kafka_mock_topic_create (cluster, "numbers", 1, 1);
  rd_kafka_mock_topic_create (cluster, "headless", 1, 1);
  rd_kafka_mock_partition_set_leader (cluster, "headless", 0, -1);

  g_test_add_func ("/kafka-library/limits", test_limits);
  g_test_add_func ("/kafka-library/purge", test_purge);
  g_test_add_func ("/kafka-library/codes", test_codes);
  g_test_add_func ("/kafka-library/corrections", test_corrections);
  result = g_test_run ();

  rd_kafka_mock_cluster_destroy (cluster);
  rd_kafka_destroy (rk);
  for (guint i = 0; properties[i] != NULL; i++)
    g_free (seen.values[i]);
  return result;
}
