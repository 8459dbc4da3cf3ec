/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <glib/gstdio.h>
#include <string.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-profiles-private.h"

static EvbusProfiles *
load (const char *name)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "unit", "profiles", name, NULL);
  EvbusProfiles *profiles = evbus_profiles_new_for_path (path, &error);

  g_assert_no_error (error);
  return profiles;
}

static EvbusProfiles *
parse (const char *text)
{
  g_autoptr(GError) error = NULL;
  EvbusProfiles *profiles = evbus_profiles_new_for_data (text, -1, "p.yaml", &error);

  g_assert_no_error (error);
  return profiles;
}

static EvbusRouteSpec *
get_spec (EvbusProfiles *profiles,
          guint          index)
{
  GPtrArray *specs = evbus_profiles_get_specs (profiles);

  g_assert_cmpuint (index, <, specs->len);
  return g_ptr_array_index (specs, index);
}

static void
assert_data (EvbusRouteSpec *spec,
             const char     *expected)
{
  g_autoptr(GVariant) wanted = g_variant_new_parsed (expected);
  g_autofree char *a = g_variant_print (spec->data, TRUE);
  g_autofree char *b = g_variant_print (wanted, TRUE);

  g_assert_cmpstr (a, ==, b);
}

#define AMQP_REST "'heartbeat': <int64 60000000>"

static void
test_shapes (void)
{
  static const struct {
    const char *file;
    guint       index;
    guint       n_routes;
    const char *provider;
    const char *profile;
    const char *plugin;
    guint       line;
    const char *data;
  } cases[] = {
    { "pika.yaml", 0, 1, "amqp", "default", "glob", 3,
      "{'connection': <{'host': <'localhost'>, 'port': <int64 5672>, 'login': <'guest'>, 'password': <'guest'>, " AMQP_REST "}>}" },
    { "kafka.yaml", 0, 1, "kafka", "default", "glob", 3,
      "{'connection': <{'bootstrap_servers': <[<'localhost:9092'>]>, 'client_id': <'my-app'>}>, "
      "'topics': <[<'topic1'>, <'topic2'>]>, 'acks': <'all'>}" },
    { "list.yaml", 0, 4, "amqp", "orders-*", "glob", 5,
      "{'connection': <{'host': <'localhost'>, 'port': <int64 5672>, 'login': <'guest'>, "
      "'password': <{'env': <'AMQP_PASSWORD'>}>, " AMQP_REST "}>, 'routing_key': <'orders'>}" },
    { "list.yaml", 1, 4, "amqp", "orders-*", "glob", 8,
      "{'connection': <{'host': <'other.example'>, 'port': <int64 5672>, 'login': <'guest'>, " AMQP_REST "}>}" },
    { "list.yaml", 2, 4, "amqp", "default", "glob", 9,
      "{'connection': <{'host': <'localhost'>, 'port': <int64 5672>, 'login': <'guest'>, " AMQP_REST "}>}" },
    { "list.yaml", 3, 4, "amqp", "audit", "glob", 11,
      "{'connection': <{'host': <'localhost'>, 'port': <int64 5672>, 'login': <'guest'>, " AMQP_REST "}>}" },
    { "regex.yaml", 0, 1, "kafka", "orders-(eu|us)", "regex", 3,
      "{'connection': <{'bootstrap_servers': <[<'localhost:9092'>]>}>, 'topics': <[<'orders'>]>, 'acks': <'all'>}" },
    { "anchors.yaml", 1, 3, "amqp", "audit", "glob", 7,
      "{'connection': <{'host': <'broker.example'>, 'port': <int64 5672>, 'login': <'007'>, " AMQP_REST "}>, 'routing_key': <'audit'>}" },
    { "anchors.yaml", 2, 3, "amqp", "copy", "glob", 10,
      "{'connection': <{'host': <'broker.example'>, 'port': <int64 5673>, 'login': <'007'>, " AMQP_REST "}>}" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusProfiles) profiles = load (cases[i].file);
      EvbusRouteSpec *spec = get_spec (profiles, cases[i].index);
      g_autofree char *place = g_strdup_printf ("/profiles/%s:%u:", cases[i].file, cases[i].line);

      g_assert_cmpuint (evbus_profiles_get_n_routes (profiles), ==, cases[i].n_routes);
      g_assert_cmpstr (spec->provider, ==, cases[i].provider);
      g_assert_cmpstr (spec->profile, ==, cases[i].profile);
      g_assert_cmpstr (evbus_matcher_get_plugin (spec->matcher), ==, cases[i].plugin);
      g_assert_nonnull (strstr (spec->where, place));
      g_assert_nonnull (spec->info);
      g_assert_null (spec->missing);
      assert_data (spec, cases[i].data);
    }
}

static void
test_json (void)
{
  g_autoptr(EvbusProfiles) profiles = load ("example.json");
  const EvbusSettings *settings = evbus_profiles_get_settings (profiles);

  g_assert_cmpstr (settings->serializer, ==, "json");
  g_assert_cmpuint (settings->stop_timeout, ==, 20000);
  g_assert_cmpuint (get_spec (profiles, 0)->delivery.batch_events, ==, 100);
}

static void
test_folder (void)
{
  g_autoptr(EvbusProfiles) profiles = load ("folder");
  static const char * const plugins[] = { "regex", "glob", "glob" };

  g_assert_cmpuint (evbus_profiles_get_n_routes (profiles), ==, 3);
  for (guint i = 0; i < 3; i++)
    g_assert_cmpstr (evbus_matcher_get_plugin (get_spec (profiles, i)->matcher), ==, plugins[i]);
  g_assert_nonnull (strstr (get_spec (profiles, 1)->where, "folder/20-second.yml:3:3"));
  g_assert_true (evbus_profiles_get_settings (profiles)->reject_unrouted);
}

static void
test_defaults (void)
{
  g_autoptr(EvbusProfiles) profiles = parse ("kafka: {default: {topics: [a]}}");
  const EvbusSettings *settings = evbus_profiles_get_settings (profiles);
  const EvbusDelivery *delivery = &get_spec (profiles, 0)->delivery;

  g_assert_null (settings->serializer);
  g_assert_false (settings->reject_unrouted);
  g_assert_cmpuint (settings->queue_events, ==, EVBUS_DEFAULT_QUEUE_EVENTS);
  g_assert_cmpuint (settings->queue_bytes, ==, EVBUS_DEFAULT_QUEUE_BYTES);
  g_assert_cmpuint (settings->event_bytes, ==, EVBUS_DEFAULT_EVENT_BYTES);
  g_assert_cmpuint (settings->stop_timeout, ==, EVBUS_DEFAULT_STOP_MS);
  g_assert_cmpuint (delivery->batch_events, ==, EVBUS_DEFAULT_BATCH_EVENTS);
  g_assert_cmpuint (delivery->batch_bytes, ==, EVBUS_DEFAULT_BATCH_BYTES);
  g_assert_cmpint (delivery->linger, ==, EVBUS_DEFAULT_LINGER_US);
  g_assert_cmpuint (delivery->in_flight, ==, 0);
  g_assert_cmpuint (delivery->window_events, ==, EVBUS_DEFAULT_WINDOW_EVENTS);
  g_assert_cmpuint (delivery->window_bytes, ==, EVBUS_DEFAULT_WINDOW_BYTES);
  g_assert_cmpint (delivery->timeout, ==, EVBUS_DEFAULT_TIMEOUT_US);
  g_assert_cmpint (delivery->retry_min, ==, EVBUS_DEFAULT_RETRY_MIN_US);
  g_assert_cmpint (delivery->retry_max, ==, EVBUS_DEFAULT_RETRY_MAX_US);
  g_assert_cmpint (delivery->max_age, ==, EVBUS_DEFAULT_MAX_AGE_US);
  g_assert_cmpint (delivery->overflow, ==, EVBUS_OVERFLOW_DROP_OLDEST);
}

static void
test_delivery (void)
{
  g_autoptr(EvbusProfiles) profiles = parse (
    "evbus: {reject_unrouted: yes, queue: {events: 10, bytes: 1MiB}, event_bytes: 2048, stop_timeout: 1.5}\n"
    "kafka:\n"
    "  default:\n"
    "    topics: [a]\n"
    "    delivery: {batch: {events: 7, bytes: 64KiB, linger: 5ms}, in_flight: 1, window: {events: 9, bytes: 1MiB},\n"
    "               timeout: 2, retry: {min: 10ms, max: 1m}, max_age: 12h, overflow: block}\n");
  const EvbusSettings *settings = evbus_profiles_get_settings (profiles);
  const EvbusDelivery *delivery = &get_spec (profiles, 0)->delivery;

  g_assert_true (settings->reject_unrouted);
  g_assert_cmpuint (settings->queue_events, ==, 10);
  g_assert_cmpuint (settings->queue_bytes, ==, 1024 * 1024);
  g_assert_cmpuint (settings->event_bytes, ==, 2048);
  g_assert_cmpuint (settings->stop_timeout, ==, 1500);
  g_assert_cmpuint (delivery->batch_events, ==, 7);
  g_assert_cmpuint (delivery->batch_bytes, ==, 65536);
  g_assert_cmpint (delivery->linger, ==, 5000);
  g_assert_cmpuint (delivery->in_flight, ==, 1);
  g_assert_cmpuint (delivery->window_events, ==, 9);
  g_assert_cmpuint (delivery->window_bytes, ==, 1024 * 1024);
  g_assert_cmpint (delivery->timeout, ==, 2000000);
  g_assert_cmpint (delivery->retry_min, ==, 10000);
  g_assert_cmpint (delivery->retry_max, ==, 60000000);
  g_assert_cmpint (delivery->max_age, ==, 12 * 3600 * G_GINT64_CONSTANT (1000000));
  g_assert_cmpint (delivery->overflow, ==, EVBUS_OVERFLOW_BLOCK);
  /* How a route delivers is no business of the plugin. */
  g_assert_false (g_variant_lookup (get_spec (profiles, 0)->data, "delivery", "v", NULL));
}

static void
test_values (void)
{
  static const struct {
    const char *yaml;
    const char *data;
  } cases[] = {
    { "text: 12345", "'text': <'12345'>" },
    { "text: 0x1F", "'text': <'0x1F'>" },
    { "text: 1.10", "'text': <'1.10'>" },
    { "text: 12:30", "'text': <'12:30'>" },
    { "text: 'yes'", "'text': <'yes'>" },
    { "text: ''", "'text': <''>" },
    { "text: !!str yes", "'text': <'yes'>" },
    { "text: |\n   two\n   lines\n", "'text': <'two\\nlines\\n'>" },
    { "count: 0x1F", "'count': <int64 31>" },
    { "count: 010", "'count': <int64 8>" },
    { "count: 0o10", "'count': <int64 8>" },
    { "count: 1_000", "'count': <int64 1000>" },
    { "count: -5", "'count': <int64 -5>" },
    { "flag: off", "'flag': <false>" },
    { "flag: Yes", "'flag': <true>" },
    { "ratio: 1", "'ratio': <1.0>" },
    { "ratio: .25", "'ratio': <0.25>" },
    { "ratio: 1e-2", "'ratio': <0.01>" },
    { "age: 250ms", "'age': <int64 250000>" },
    { "age: 2.5", "'age': <int64 2500000>" },
    { "room: 2048", "'room': <int64 2048>" },
    { "table: {a: 1, b: [x, 1.5, yes, null, {c: }]}", "'table': <{'a': <int64 1>, 'b': <[<'x'>, <1.5>, <true>, <@a{sv} {}>]>}>" },
    { "names: []", "'names': <@av []>" },
    { "origin: urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", "'origin': <'urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66'>" },
    { "origin: 'https://example.com:8080/a%20b?c=d#e'", "'origin': <'https://example.com:8080/a%20b?c=d#e'>" },
    { "origin: ./a:b", "'origin': <'./a:b'>" },
    { "origin: 5", "'origin': <'5'>" },
    { "whatever: ~", NULL },
    { "whatever: 99999999999999999999", "'whatever': <1e+20>" },
    { "whatever: 2020-01-01", "'whatever': <'2020-01-01'>" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *yaml = g_strdup_printf ("shape:\n default:\n  %s", cases[i].yaml);
      g_autoptr(EvbusProfiles) profiles = parse (yaml);
      GVariant *data = get_spec (profiles, 0)->data;
      g_autofree char *key = g_strndup (cases[i].yaml, strcspn (cases[i].yaml, ":"));
      g_autoptr(GVariant) value = g_variant_lookup_value (data, key, NULL);
      g_autofree char *text = value != NULL ? g_variant_print (value, TRUE) : NULL;
      g_autofree char *shown = value != NULL ? g_strdup_printf ("'%s': <%s>", key, text) : NULL;

      g_assert_cmpstr (shown, ==, cases[i].data);
    }
}

#define NO_ROUTE "names no route; a configuration has at least one profile under a provider, as in 'internal: {default: }'"

static const struct {
  const char *yaml;
  const char *message;
} bad[] = {
  { "", "p.yaml:1:1: is empty; a configuration names at least one provider, as in \"internal: {default: }\"" },
  { "# nothing\n---\n", "p.yaml:1:1: is empty; a configuration names at least one provider, as in \"internal: {default: }\"" },
  { "text", "p.yaml:1:1: a configuration is a mapping of providers, as in 'internal: {default: }'" },
  { "- a", "p.yaml:1:1: a configuration is a mapping of providers, as in 'internal: {default: }'" },
  { "kafka: [1, 2", "p.yaml:2:1: not YAML: did not find expected ',' or ']' while parsing a flow sequence that began in line 1" },
  { "{\"kafka\": {\"a\": {\"topics\": [\"x", "p.yaml:1:31: not YAML: found unexpected end of stream while scanning a quoted scalar that began in line 1" },
  { "kafka:\n\tdefault:", "p.yaml:2:1: not YAML: found character that cannot start any token while scanning for the next token that began in line 2; YAML is indented with spaces, not with tabs" },
  { "kafka:\n  *: {}", "p.yaml:2:4: not YAML: did not find expected alphabetic or numeric character while scanning an alias that began in line 2; a text that begins with * needs quotes" },
  { "kafka: *k", "p.yaml:1:8: the alias names nothing that stands complete before it; a text that begins with * needs quotes\n"
    "p.yaml:1:8: 'kafka' must hold profiles (a mapping, or a list), as in 'kafka: {default: }'" },
  { "kafka: {a: &x {topics: [*x]}}", "p.yaml:1:25: the alias names nothing that stands complete before it; a text that begins with * needs quotes" },
  { "kafka: {a: {topics: [x]}}\n---\nkafka: {}", "p.yaml:2:1: a second document; a configuration is one" },
  { "kafka: {\"\xe9\": }", "p.yaml:1:10: not UTF-8 text: the byte 0xe9" },
  { "kafka:\n  é: \x01", "p.yaml:2:6: not YAML: control characters are not allowed" },
  { "\xff\xfe", "p.yaml:1:1: not UTF-8 text: the byte 0xff" },
  { "kafka: {\"a\\0b\": {topics: [x]}}", "p.yaml:1:9: a text must not hold a NUL character" },
  { "kafka: !secret x", "p.yaml:1:8: unknown tag; a text that begins with ! needs quotes\n"
    "p.yaml:1:8: 'kafka' must hold profiles (a mapping, or a list), as in 'kafka: {default: }'" },
  { "kafka: {a: {topics: [x], acks: !!int all}}", "p.yaml:1:32: the value is not what its tag '!!int' says" },
  { "kafka: {a: {topics: [x], topics: [y]}}", "p.yaml:1:26: the key 'topics' stands twice; first at p.yaml:1:13" },
  { "kafka: {a: {topics: [x], key: '{idd}', headers: {a: '{profile}', b: ['{']}}}",
    "p.yaml:1:31: kafka profile 'a': 'key': there is no {idd}; did you mean 'id'?; there are {routing_key}, {profile} and "
    "{id}, and {{ for a brace\n"
    "p.yaml:1:70: kafka profile 'a': 'headers': a '{' is never closed; write {{ for a brace" },
  { "kafka: {a: {topics: [x], topics: y}}", "p.yaml:1:26: the key 'topics' stands twice; first at p.yaml:1:13\n"
    "p.yaml:1:34: kafka profile 'a': 'topics' must be a list, not the text 'y'; put it into brackets: [ ]" },
  { "kafka:\n  a: {topics: [x]}\n  a: {zzz: 1}", "p.yaml:3:3: the key 'a' stands twice; first at p.yaml:2:3\n"
    "p.yaml:3:7: kafka profile 'a': unknown key 'zzz'; the keys are connection, topics, acks, headers, key, delivery\n"
    "p.yaml:3:3: kafka profile 'a': 'topics' is required: Where each event goes" },
  { "evbus: {}\nevbus: {x: 1}\nmatch_plugin: glob\nmatch_plugin: no\n",
    "p.yaml:2:1: the key 'evbus' stands twice; first at p.yaml:1:1\n"
    "p.yaml:4:1: the key 'match_plugin' stands twice; first at p.yaml:3:1\n"
    "p.yaml:2:9: evbus: unknown key 'x'; the keys are serializer, reject_unrouted, queue, event_bytes, stop_timeout, spool\n"
    "p.yaml:4:15: 'match_plugin' must be glob or regex" },
  { "kafka:\n  a: {topics: [x]}\n  a: {topics: [x]}", "p.yaml:3:3: the key 'a' stands twice; first at p.yaml:2:3" },
  { "kafka: {[a]: {topics: [x]}}", "p.yaml:1:9: a key must be a text, not a list" },
  { "match_plugin: globb\nkafka:", "p.yaml:1:15: unknown match_plugin 'globb'; did you mean 'glob'?" },
  { "match_plugin: [glob]\nkafka:", "p.yaml:1:15: 'match_plugin' must be glob or regex" },
  { "match_plugn: glob\nkafka:", "p.yaml:1:1: unknown key 'match_plugn'; did you mean 'match_plugin'?" },
  { "kafak: {default: , other: }", "p.yaml:1:1: unknown provider 'kafak'; did you mean 'kafka'?" },
  { "kafka: topics", "p.yaml:1:8: 'kafka' must hold profiles (a mapping, or a list), as in 'kafka: {default: }'" },
  { "pika:\n- default", "p.yaml:2:3: a list item is a profile and its data: '- default:'" },
  { "pika:\n-", "p.yaml:2:2: a list item is a profile and its data, as in '- default:'" },
  { "pika:\n- []", "p.yaml:2:3: a list item is a profile and its data, as in '- default:'" },
  { "pika:\n- a:\n  connection: {}", "p.yaml:3:3: 'connection' stands beside the profile 'a' in one list item; "
    "indent it further if it belongs to the profile, or begin a new item with '-'" },
  { "pika:\n- a: {y: 1}\n  b: {}", "p.yaml:2:7: pika profile 'a': unknown key 'y'; the keys are connection, routing_key, delivery\n"
    "p.yaml:3:3: 'b' stands beside the profile 'a' in one list item; "
    "indent it further if it belongs to the profile, or begin a new item with '-'" },
  { "nosuch:\n  - a", "*p.yaml:2:5: a list item is a profile and its data: '- a:'\np.yaml:1:1: *'nosuch'*" },
  { "shape:\n  a: {delivery: {name: x}}\n  b: {delivery: {name: y}}\n  c: {delivery: {name: x}}\nkafka: [d: {topics: [x], delivery: {name: x}}]",
    "p.yaml:4:3: shape profile 'c': another route is named 'x' too, first at p.yaml:2:3; give each a name of its own\n"
    "p.yaml:5:9: kafka profile 'd': another route is named 'x' too, first at p.yaml:2:3; give each a name of its own" },
  { "kafka: {default: [a]}", "p.yaml:1:18: kafka profile 'default': the data of a profile must be a mapping, or nothing, not a list" },
  { "kafka: {default: }", "p.yaml:1:9: kafka profile 'default': 'topics' is required: Where each event goes" },
  { "kafka:\n  orders:\n    topics: [x]\n    topic_: x", "p.yaml:4:5: kafka profile 'orders': unknown key 'topic_'; did you mean 'topics'?" },
  { "kafka: {a: {topics: [x], zzz: 1}}", "p.yaml:1:26: kafka profile 'a': unknown key 'zzz'; the keys are connection, topics, acks, headers, key, delivery" },
  { "kafka: {a: {topics: x}}", "p.yaml:1:21: kafka profile 'a': 'topics' must be a list, not the text 'x'; put it into brackets: [ ]" },
  { "kafka: {a: {topics: [x], acks: al}}", "p.yaml:1:32: kafka profile 'a': 'acks' must be one of all, leader, none, not the text 'al'; did you mean 'all'?" },
  { "kafka: {a: {topics: [x], acks: 1}}", "p.yaml:1:32: kafka profile 'a': 'acks' must be one of all, leader, none, not the integer '1'" },
  { "pika: {a: {host: x}}", "p.yaml:1:12: pika profile 'a': unknown key 'host'; 'host' is a key of the mapping 'connection'" },
  { "pika: {a: {connection.host: x}}", "p.yaml:1:12: pika profile 'a': unknown key 'connection.host'; 'host' is a key of the mapping 'connection'" },
  { "pika: {a: {connection: x}}", "p.yaml:1:24: pika profile 'a': 'connection' must be a mapping, not the text 'x'" },
  { "pika: {a: {connection: {hst: x}}}", "p.yaml:1:25: pika profile 'a': unknown key 'connection.hst'; did you mean 'connection.host'?" },
  { "pika: {a: {connection: {port: 70000}}}", "p.yaml:1:31: pika profile 'a': 'connection.port' must be between 1 and 65535, not 70000" },
  { "pika: {a: {connection: {port: '5672'}}}", "p.yaml:1:31: pika profile 'a': 'connection.port' must be an integer, not the text '5672'; leave out the quotes" },
  { "pika: {a: {connection: {host: no}}}", "p.yaml:1:31: pika profile 'a': 'connection.host' must be a text, not the boolean 'no'; put it into quotes if the text is meant" },
  { "pika: {a: {connection: {heartbeat: soon}}}", "p.yaml:1:36: pika profile 'a': 'connection.heartbeat' must be a duration (seconds, or as in 500ms, 30s, 5m, 12h, 7d), not the text 'soon'" },
  { "pika: {a: {connection: {heartbeat: 1ms}}}", "p.yaml:1:36: pika profile 'a': 'connection.heartbeat' must be between 1s and 1h, not 1ms" },
  { "pika: {a: {connection: {password: [hunter2]}}}", "p.yaml:1:35: pika profile 'a': 'connection.password' must be a text, not a list" },
  { "pika: {a: {connection: {password: {fil: /x}}}}", "p.yaml:1:36: pika profile 'a': 'connection.password' refers to a secret by 'file', 'env', 'credential' or 'keyring'; did you mean 'file'?" },
  { "pika: {a: {connection: {password: {}}}}", "p.yaml:1:35: pika profile 'a': 'connection.password' refers to a secret by one key: {file: PATH}, {env: NAME}, {credential: NAME} or {keyring: {ATTRIBUTE: VALUE}}" },
  { "pika: {a: {connection: {password: {keyring: x}}}}", "p.yaml:1:45: pika profile 'a': 'connection.password.keyring' must be the attributes that the secret is stored under, as in {keyring: {service: shop, user: evbus}}" },
  { "pika: {a: {connection: {password: {keyring: {}}}}}", "p.yaml:1:45: pika profile 'a': 'connection.password.keyring' must be the attributes that the secret is stored under, as in {keyring: {service: shop, user: evbus}}" },
  { "pika: {a: {connection: {password: {keyring: {port: 5672}}}}}", "p.yaml:1:52: pika profile 'a': 'connection.password.keyring.port' must be a text; put it into quotes" },
  { "pika: {a: {connection: {password: {keyring: {port: []}}}}}", "p.yaml:1:52: pika profile 'a': 'connection.password.keyring.port' must be a text" },
  { "pika: {a: {connection: {password: {file: x}}}}", "p.yaml:1:42: pika profile 'a': 'connection.password.file' must be an absolute path, not 'x'" },
  { "pika: {a: {connection: {password: {credential: ../x}}}}", "p.yaml:1:48: pika profile 'a': 'connection.password.credential' must be the name of a credential, without a path, not '../x'" },
  { "pika: {a: {connection: {password: {env: ''}}}}", "p.yaml:1:41: pika profile 'a': 'connection.password.env' must not be empty, not ''" },
  { "shape: {a: {headers: {Authorization: {env: [x]}}}}", "p.yaml:1:44: shape profile 'a': 'headers.Authorization.env' must be a text" },
  { "shape: {a: {origin: ''}}", "p.yaml:1:21: shape profile 'a': 'origin' must be a URI or a reference to one, as in https://example.com/shop or /shop, not the text ''" },
  { "shape: {a: {origin: my shop}}", "p.yaml:1:21: shape profile 'a': 'origin' must be a URI or a reference to one, as in https://example.com/shop or /shop, not the text 'my shop'" },
  { "shape: {a: {origin: '%zz'}}", "p.yaml:1:21: shape profile 'a': 'origin' must be a URI or a reference to one, as in https://example.com/shop or /shop, not the text '%zz'" },
  { "shape: {a: {origin: '1a:b'}}", "p.yaml:1:21: shape profile 'a': 'origin' must be a URI or a reference to one, as in https://example.com/shop or /shop, not the text '1a:b'" },
  { "shape: {a: {origin: é}}", "p.yaml:1:21: shape profile 'a': 'origin' must be a URI or a reference to one, as in https://example.com/shop or /shop, not the text 'é'" },
  { "shape: {a: {origin: [a]}}", "p.yaml:1:21: shape profile 'a': 'origin' must be a URI or a reference to one, as in https://example.com/shop or /shop, not a list" },
  { "shape: {a: {origin: yes}}", "p.yaml:1:21: shape profile 'a': 'origin' must be a URI or a reference to one, as in https://example.com/shop or /shop, not the boolean 'yes'" },
  { "shape: {a: {flag: 1}}", "p.yaml:1:19: shape profile 'a': 'flag' must be true or false, not the integer '1'" },
  { "shape: {a: {count: 1.5}}", "p.yaml:1:20: shape profile 'a': 'count' must be an integer, not the number '1.5'" },
  { "shape: {a: {count: 99999999999999999999}}", "p.yaml:1:20: shape profile 'a': 'count' must be an integer, not the number '99999999999999999999'" },
  { "shape: {a: {count: -6}}", "p.yaml:1:20: shape profile 'a': 'count' must be at least -5, not -6" },
  { "shape: {a: {ratio: .nan}}", "p.yaml:1:20: shape profile 'a': 'ratio' must be a number, not the number '.nan'" },
  { "shape: {a: {age: -1}}", "p.yaml:1:18: shape profile 'a': 'age' must be a duration (seconds, or as in 500ms, 30s, 5m, 12h, 7d), not the integer '-1'" },
  { "shape: {a: {room: 5MB}}", "p.yaml:1:19: shape profile 'a': 'room' must be a size (bytes, or as in 64KiB, 16MiB, 1GiB), not the text '5MB'" },
  { "shape: {a: {table: []}}", "p.yaml:1:20: shape profile 'a': 'table' must be a mapping, not a list" },
  { "shape: {a: {delivery: {retry: {min: 5m, max: 10s}}}}", "p.yaml:1:9: shape profile 'a': 'delivery.retry.min' (5m) is longer than 'delivery.retry.max' (10s)" },
  { "shape: {a: {delivery: {overflw: block}}}", "p.yaml:1:24: shape profile 'a': unknown key 'delivery.overflw'; did you mean 'delivery.overflow'?" },
  { "shape: {a: {delivery: {batch: 0}}}", "p.yaml:1:31: shape profile 'a': 'delivery.batch.events' must be between 1 and 65536, not 0" },
  { "shape: {a: {delivery: {batch: all}}}", "p.yaml:1:31: shape profile 'a': 'delivery.batch' must be a mapping, not the text 'all'" },
  { "shape: {a: {delivery: {overflow: drop_oldst}}}", "p.yaml:1:34: shape profile 'a': 'delivery.overflow' must be one of drop_oldest, drop_newest, reject, block, not the text 'drop_oldst'; did you mean 'drop_oldest'?" },
  { "nosuch: {a: {delivery: {timout: 5}}}",
    "*p.yaml:1:25: nosuch profile 'a': unknown key 'delivery.timout'; did you mean 'delivery.timeout'?\np.yaml:1:1: *'nosuch'*" },
  { "shape: {a: {delivery: {overflow: drop_old}}}", "p.yaml:1:34: shape profile 'a': 'delivery.overflow' must be one of drop_oldest, drop_newest, reject, block, not the text 'drop_old'; did you mean 'drop_oldest'?" },
  { "evbus: {serializer: jsn}\nkafka: {a: {topics: [x]}}", "p.yaml:1:21: evbus: no serializer is called 'jsn'; there are json, gvariant, msgpack, str; did you mean 'json'?" },
  { "{}", "p.yaml:1:1: " NO_ROUTE },
  { "\n match_plugin: glob", "p.yaml:2:2: " NO_ROUTE },
  { "evbus: {}", "p.yaml:1:1: " NO_ROUTE },
  { "kafka: {}\npika:\nredis: []", "p.yaml:1:1: " NO_ROUTE },
  /* With a mistake beside them, those that are missing are told too. */
  { "evbus: {x: 1}\nredis:\n  default: {url: x}\n",
    "*p.yaml:1:9: evbus: unknown key 'x'*\np.yaml:3:3: redis profile 'default': the provider 'redis' (*) is known, but its plugin is not installed; searched in /*" },
  { "evbus: x", "p.yaml:1:8: 'evbus' must be a mapping of settings" },
  { "evbus: {serialiser: json}", "p.yaml:1:9: evbus: unknown key 'serialiser'; did you mean 'serializer'?" },
  { "evbus: {queue: {events: 0}}", "p.yaml:1:25: evbus: 'queue.events' must be between 1 and 16777216, not 0" },
  { "match_plugin: regex\nkafka: {'a(b': {topics: [x]}}", "*p.yaml:2:9: kafka profile 'a(b': the pattern 'a(b' is not a regular expression: *" },
  /* All of them, not only the first. */
  { "evbus: {x: 1}\npika:\n  a: {y: 1, z: 2}\nkafka:\n  b:\n",
    "p.yaml:1:9: evbus: unknown key 'x'; the keys are serializer, reject_unrouted, queue, event_bytes, stop_timeout, spool\n"
    "p.yaml:3:7: pika profile 'a': unknown key 'y'; the keys are connection, routing_key, delivery\n"
    "p.yaml:3:13: pika profile 'a': unknown key 'z'; the keys are connection, routing_key, delivery\n"
    "p.yaml:5:3: kafka profile 'b': 'topics' is required: Where each event goes" },
};

static void
test_bad (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *yaml = g_strescape (bad[i].yaml, NULL);

      g_test_message ("%s", yaml);
      g_assert_null (evbus_profiles_new_for_data (bad[i].yaml, -1, "p.yaml", &error));
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG);
      /* What PCRE2 says is not ours to fix. */
      if (bad[i].message[0] == '*')
        g_assert_true (g_pattern_match_simple (bad[i].message, error->message));
      else if (!g_str_equal (error->message, bad[i].message))
        {
          g_test_message ("said   %s", error->message);
          g_test_message ("wanted %s", bad[i].message);
          g_test_fail ();
        }
    }
}

static void
assert_refused (const char *text,
                const char *message)
{
  g_autoptr(GError) error = NULL;

  /* One whose work were not bounded would run into the test's timeout. */
  g_assert_null (evbus_profiles_new_for_data (text, -1, "p.yaml", &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG);
  g_assert_cmpstr (error->message, ==, message);
}

static void
test_bombs (void)
{
  g_autoptr(GString) aliases = g_string_new ("a: &a [x,x,x,x,x,x,x,x,x]\n");
  g_autoptr(GString) merges = g_string_new ("a: &a {k0: 1}\n");
  g_autofree char *brackets = g_strnfill (200000, '[');
  g_autofree char *flow = g_strconcat ("a: ", brackets, NULL);
  g_autoptr(GString) block = g_string_new (NULL);
  g_autofree char *large = g_strnfill (5 * 1024 * 1024, '#');

  for (char c = 'b'; c < 'z'; c++)
    {
      g_string_append_printf (aliases, "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c,
                              c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1);
      g_string_append_printf (merges, "%c: &%c {x%c: *%c, y%c: *%c, <<: *%c}\n", c, c, c, c - 1, c, c - 1, c - 1);
    }
  for (guint i = 0; i < 200; i++)
    g_string_append_printf (block, "%*sa:\n", i, "");

  assert_refused (aliases->str, "p.yaml:6:8: more than 100000 values, counting each use of an alias");
  assert_refused (flow, "p.yaml:1:67: nested deeper than 64");
  assert_refused (block->str, "p.yaml:65:65: nested deeper than 64");
  assert_refused (large, "p.yaml: larger than 4194304 bytes");

  {
    g_autoptr(GError) error = NULL;

    g_assert_null (evbus_profiles_new_for_data (merges->str, -1, "p.yaml", &error));
    g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG);
    g_assert_true (g_str_has_suffix (error->message, "more than 100000 values, counting each use of an alias"));
  }
}

static void
test_too_many (void)
{
  g_autoptr(GString) routes = g_string_new ("shape:\n");
  g_autoptr(GString) errors = g_string_new ("shape:\n");
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) lines = NULL;

  for (guint i = 0; i < 1030; i++)
    g_string_append_printf (routes, "  p%u:\n", i);
  assert_refused (routes->str, "p.yaml:1026:3: more than 1024 profiles");

  for (guint i = 0; i < 300; i++)
    g_string_append_printf (errors, "  p%u: {zzz: 1}\n", i);
  g_assert_null (evbus_profiles_new_for_data (errors->str, -1, "p.yaml", &error));
  lines = g_strsplit (error->message, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), ==, 201);
  g_assert_cmpstr (lines[200], ==, "and 100 more problems");
}

/* What is at most a pity. */
static void
test_missing_and_warnings (void)
{
  g_autoptr(EvbusProfiles) profiles = parse (
    "redis:\n"
    "  default: {url: 'redis://x', delivery: {batch: 5}}\n"
    "carrier-pigeon:\n"
    "  coop: {delivry: 1}\n"
    "kafka:\n"
    "pika:\n"
    "  default: {connection: {password: hunter2}}\n"
    "shape:\n"
    "  default: {headers: {X-Api-Token: hunter2, Content-Type: text/plain, Authorization: {env: TOKEN}}}\n"
    "  pem: {headers: {ssl.key.pem: '-----BEGIN PRIVATE KEY----- x', ssl.certificate.pem: '-----BEGIN CERTIFICATE----- x'}}\n"
    "  keys: {headers: {X-Api-Key: hunter2}}\n");
  const char * const *missing = evbus_profiles_get_missing (profiles);
  const char * const *warnings = evbus_profiles_get_warnings (profiles);
  static const char * const expected[] = {
    "p.yaml:4:10: carrier-pigeon profile 'coop': the key 'delivry' is passed on as it is; did you mean 'delivery'?",
    "p.yaml:5:1: no profile under 'kafka', so it gets no events",
    "p.yaml:7:36: pika profile 'default': the secret 'connection.password' stands in the file; "
    "better refer to it: {file: PATH}, {env: NAME}, {credential: NAME} or {keyring: {ATTRIBUTE: VALUE}}",
    "p.yaml:9:36: shape profile 'default': the secret 'headers.X-Api-Token' stands in the file; "
    "better refer to it: {file: PATH}, {env: NAME}, {credential: NAME} or {keyring: {ATTRIBUTE: VALUE}}",
    "p.yaml:10:32: shape profile 'pem': the secret 'headers.ssl.key.pem' stands in the file; "
    "better refer to it: {file: PATH}, {env: NAME}, {credential: NAME} or {keyring: {ATTRIBUTE: VALUE}}",
    "p.yaml:11:31: shape profile 'keys': the secret 'headers.X-Api-Key' stands in the file; "
    "better refer to it: {file: PATH}, {env: NAME}, {credential: NAME} or {keyring: {ATTRIBUTE: VALUE}}",
    NULL
  };

  g_assert_cmpuint (evbus_profiles_get_n_routes (profiles), ==, 6);
  g_assert_true (g_str_has_prefix (missing[0], "p.yaml:2:3: redis profile 'default': the provider 'redis' "
                                               "(Redis streams) is known, but its plugin is not installed; searched in /"));
  g_assert_true (g_str_has_prefix (missing[1], "p.yaml:4:3: carrier-pigeon profile 'coop': there is no plugin for the "
                                               "provider 'carrier-pigeon'; searched in /"));
  g_assert_null (missing[2]);
  g_assert_cmpstrv (warnings, expected);

  g_assert_null (get_spec (profiles, 0)->info);
  g_assert_nonnull (get_spec (profiles, 0)->missing);
  g_assert_cmpuint (get_spec (profiles, 0)->delivery.batch_events, ==, 5);
  assert_data (get_spec (profiles, 0), "{'url': <'redis://x'>}");
}

static void
test_paths (void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp ("evbus-profiles-XXXXXX", &error);
  g_autofree char *nothing = g_build_filename (folder, "none.yaml", NULL);
  g_autofree char *one = g_build_filename (folder, "1.yaml", NULL);
  g_autofree char *two = g_build_filename (folder, "2.yaml", NULL);
  g_autofree char *inner = g_build_filename (folder, "3.yaml", NULL);
  g_autofree char *expected = NULL;

  g_assert_no_error (error);
  g_assert_null (evbus_profiles_new_for_path (nothing, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG);
  g_assert_true (g_str_has_prefix (error->message, nothing));
  g_assert_nonnull (strstr (error->message, "No such file or directory"));
  g_clear_error (&error);

  g_assert_null (evbus_profiles_new_for_path (folder, &error));
  expected = g_strdup_printf ("%s: the folder holds no *.yaml, *.yml or *.json", folder);
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG);
  g_assert_cmpstr (error->message, ==, expected);
  g_clear_error (&error);
  g_free (expected);

  /* The errors of all files, the second settings, and a folder that is named like a file. */
  g_assert_true (g_file_set_contents (one, "evbus: {zzz: 1}\nkafka: {a: }\n", -1, NULL));
  g_assert_true (g_file_set_contents (two, "evbus: {}\nkafka: {b: [\n", -1, NULL));
  g_assert_cmpint (g_mkdir (inner, 0700), ==, 0);
  g_assert_null (evbus_profiles_new_for_path (folder, &error));
  expected = g_strdup_printf ("%s:1:9: evbus: unknown key 'zzz'; the keys are serializer, reject_unrouted, queue, event_bytes, stop_timeout, spool\n"
                              "%s:2:9: kafka profile 'a': 'topics' is required: Where each event goes\n"
                              "%s:3:1: not YAML: did not find expected node content while parsing a flow node that began in line 3\n"
                              "%s: neither a file nor a folder of files; write the configuration to a file", one, one, two, inner);
  g_assert_cmpstr (error->message, ==, expected);
  g_clear_error (&error);
  g_free (expected);

  g_assert_true (g_file_set_contents (two, "evbus: {}\n", -1, NULL));
  g_assert_cmpint (g_rmdir (inner), ==, 0);
  g_assert_true (g_file_set_contents (one, "evbus: {}\n", -1, NULL));
  g_assert_null (evbus_profiles_new_for_path (folder, &error));
  expected = g_strdup_printf ("%s:1:1: the key 'evbus' stands in two files; first at %s:1:1", two, one);
  g_assert_cmpstr (error->message, ==, expected);

  g_remove (one);
  g_remove (two);
  g_rmdir (folder);
}

int
main (int   argc,
      char *argv[])
{
  g_autofree char *good = NULL;
  g_autofree char *known = NULL;
  g_autofree char *path = NULL;

  g_test_init (&argc, &argv, NULL);
  good = g_test_build_filename (G_TEST_DIST, "unit", "providers", "good", NULL);
  known = g_test_build_filename (G_TEST_DIST, "unit", "providers", "known", NULL);
  path = g_strjoin (":", good, known, NULL);
  g_setenv ("EVBUS_PLUGIN_PATH", path, TRUE);

  g_test_add_func ("/profiles/shapes", test_shapes);
  g_test_add_func ("/profiles/json", test_json);
  g_test_add_func ("/profiles/folder", test_folder);
  g_test_add_func ("/profiles/defaults", test_defaults);
  g_test_add_func ("/profiles/delivery", test_delivery);
  g_test_add_func ("/profiles/values", test_values);
  g_test_add_func ("/profiles/bad", test_bad);
  g_test_add_func ("/profiles/bombs", test_bombs);
  g_test_add_func ("/profiles/too-many", test_too_many);
  g_test_add_func ("/profiles/missing-and-warnings", test_missing_and_warnings);
  g_test_add_func ("/profiles/paths", test_paths);

  return g_test_run ();
}
