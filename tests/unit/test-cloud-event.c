/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Events as CloudEvents 1.0: attributes, and the JSON format. */

#include <string.h>

#include "evbus-cloud-event.h"
#include "evbus-error.h"
#include "evbus-event-private.h"
#include "evbus-json.h"

#define TIME G_GINT64_CONSTANT (1522774291123456)   /* 2018-04-03T16:51:31.123456Z */

static EvbusEvent *
new_event (const char *content_type,
           const char *body,
           const char *attributes)
{
  EvbusEventInit init = {
    .id = "A234-1234-1234",
    .routing_key = "com.example.someevent",
    .routing_key_length = 21,
    .profile = "default",
    .profile_length = 7,
    .content_type = content_type,
    .data = (const guint8 *) body,
    .size = strlen (body),
  };
  EvbusEvent *event;

  if (attributes != NULL)
    init.attributes = g_variant_new_parsed (attributes);
  event = evbus_event_new (&init);
  event->time = TIME;
  return event;
}

static char *
to_json (EvbusEvent *event)
{
  g_autoptr(GString) string = g_string_new ("before ");
  g_autoptr(GError) error = NULL;

  g_assert_true (evbus_cloud_event_append_json (event, "/mycontext", string, &error));
  g_assert_no_error (error);
  g_assert_true (g_str_has_prefix (string->str, "before {"));
  g_assert_true (evbus_json_validate ((const guint8 *) string->str + 7, string->len - 7, &error));
  g_assert_no_error (error);
  return g_strdup (string->str + 7);
}

static void
test_json (void)
{
  static const struct {
    const char *content_type;
    const char *body;
    const char *attributes;
    const char *json;
  } cases[] = {
    { "application/json", "{\"a\": [1, 2]}", NULL,
      "{\"specversion\":\"1.0\",\"id\":\"A234-1234-1234\",\"source\":\"/mycontext\",\"type\":\"com.example.someevent\","
      "\"time\":\"2018-04-03T16:51:31.123456Z\",\"datacontenttype\":\"application/json\",\"data\":{\"a\":[1,2]}}" },
    { "application/vnd.shop+json; charset=utf-8", "true", "{'subject': '123', 'source': '//shop', 'type': 'sold'}",
      "{\"specversion\":\"1.0\",\"id\":\"A234-1234-1234\",\"source\":\"//shop\",\"type\":\"sold\","
      "\"time\":\"2018-04-03T16:51:31.123456Z\",\"subject\":\"123\","
      "\"datacontenttype\":\"application/vnd.shop+json; charset=utf-8\",\"data\":true}" },
    { "text/plain", "hello", "{'traceparent': '00-4bf9-00f0-01', 'id': 'forged', 'x-shop': '1', 'Upper': '1', 'data': 'x', "
      "'empty': '', 'specversion': '2', 'abcdefghijklmnopqrstu': 'long'}",
      "{\"specversion\":\"1.0\",\"id\":\"A234-1234-1234\",\"source\":\"/mycontext\",\"type\":\"com.example.someevent\","
      "\"time\":\"2018-04-03T16:51:31.123456Z\",\"traceparent\":\"00-4bf9-00f0-01\","
      "\"datacontenttype\":\"text/plain\",\"data_base64\":\"aGVsbG8=\"}" },
    { "application/octet-stream", "", NULL,
      "{\"specversion\":\"1.0\",\"id\":\"A234-1234-1234\",\"source\":\"/mycontext\",\"type\":\"com.example.someevent\","
      "\"time\":\"2018-04-03T16:51:31.123456Z\",\"datacontenttype\":\"application/octet-stream\",\"data_base64\":\"\"}" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusEvent) event = new_event (cases[i].content_type, cases[i].body, cases[i].attributes);
      g_autofree char *json = to_json (event);

      g_assert_cmpstr (json, ==, cases[i].json);
    }
}

static void
find_value (const char *name,
            const char *value,
            gpointer    user_data)
{
  gpointer *wanted = user_data;

  if (strcmp (name, wanted[0]) == 0)
    wanted[1] = g_strdup (value);
}

/* The value with which the attribute @name goes out of an event that has @value there. */
static char *
send_attribute (const char *name,
                const char *value)
{
  g_autofree char *attributes = g_strdup_printf ("{'%s': '%s'}", name, value);
  g_autoptr(EvbusEvent) event = new_event ("text/plain", "x", attributes);
  gpointer wanted[] = { (gpointer) name, NULL };

  evbus_cloud_event_foreach (event, "/mycontext", find_value, wanted);
  return wanted[1];
}

/* RFC 3986: what is no URI is no attribute of that type. */
static void
test_uris (void)
{
  static const char * const uris[] = {
    "https://github.com/cloudevents", "mailto:cncf-wg-serverless@lists.cncf.io", "urn:uuid:6e8bc430", "a:", "a+1.-:x",
    "https://u:p@[::1]:80/a;b=c/%20?q=1#f", "https://example.com/a%FF?b/c?d#e/f?g", "http:///a", "file:/a:b",
  };
  static const char * const references[] = {
    "/sensors/tn-1234567/alerts", "cloudevents/spec/pull/123", "1-555-123-4567", "//shop", "?a", "#a", "./1:a", "a/b:c",
    "/a%2Fb", "@",
  };
  static const char * const neither[] = {
    "", "my shop", "sh\303\266p", "/a[1]", "/a%", "/a%2", "/a%zz", "1:a", ":a", "/a#b#c", "a\\tb", "<a>", "a|b", "/a?b=`c`",
    "https://exa mple.com", "https://example.com:port/", "http://[::1/", "http://a[b@c/", "/a?[", "/a#]", "https://a/^",
  };
  static const struct {
    const char * const *values;
    guint               n;
    gboolean            reference;
    gboolean            uri;
  } cases[] = {
    { uris, G_N_ELEMENTS (uris), TRUE, TRUE },
    { references, G_N_ELEMENTS (references), TRUE, FALSE },
    { neither, G_N_ELEMENTS (neither), FALSE, FALSE },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    for (guint k = 0; k < cases[i].n; k++)
      {
        const char *value = cases[i].values[k];
        g_autofree char *source = send_attribute ("source", value);
        g_autofree char *schema = send_attribute ("dataschema", value);

        g_test_message ("%s", value);
        g_assert_cmpstr (source, ==, cases[i].reference ? value : "/mycontext");
        g_assert_cmpstr (schema, ==, cases[i].uri ? value : NULL);
      }
}

static void
collect (const char *name,
         const char *value,
         gpointer    user_data)
{
  g_string_append_printf (user_data, "%s=%s;", name, value);
}

static void
test_trace (void)
{
  static const struct {
    const char *attributes;
    const char *trace;
  } cases[] = {
    { NULL, "" },
    { "{'subject': 'x', 'xtraceparent': '1'}", "" },
    { "{'tracestate': 'a=1', 'subject': 'x', 'traceparent': '00-1'}", "traceparent=00-1;tracestate=a=1;" },
    { "{'traceparent': '', 'tracestate': ''}", "" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusEvent) event = new_event ("text/plain", "x", cases[i].attributes);
      g_autoptr(GString) trace = g_string_new (NULL);

      evbus_cloud_event_foreach_trace (event, collect, trace);
      g_assert_cmpstr (trace->str, ==, cases[i].trace);
    }
}

static void
test_no_json (void)
{
  g_autoptr(EvbusEvent) event = new_event ("application/json", "{\"a\"", NULL);
  g_autoptr(GString) string = g_string_new ("before");
  g_autoptr(GError) error = NULL;

  g_assert_false (evbus_cloud_event_append_json (event, "/mycontext", string, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY);
  g_assert_cmpstr (string->str, ==, "before");
}

static void
test_time (void)
{
  static const struct {
    gint64      time;
    const char *text;
  } cases[] = {
    { 0, "1970-01-01T00:00:00.000000Z" },
    { -1, "1969-12-31T23:59:59.999999Z" },
    { TIME, "2018-04-03T16:51:31.123456Z" },
    { G_GINT64_CONSTANT (951782399000001), "2000-02-28T23:59:59.000001Z" },
    { G_GINT64_CONSTANT (951868799999999), "2000-02-29T23:59:59.999999Z" },
    { G_GINT64_CONSTANT (4107542400000000), "2100-03-01T00:00:00.000000Z" },
    { G_MAXINT64, "9999-12-31T23:59:59.999999Z" },
    { G_MININT64, "0001-01-01T00:00:00.000000Z" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusEvent) event = new_event ("text/plain", "x", NULL);
      g_autoptr(GString) string = g_string_new (NULL);

      event->time = cases[i].time;
      evbus_event_append_time (event, string);
      g_assert_cmpstr (string->str, ==, cases[i].text);
    }
}

static void
test_is_json (void)
{
  static const struct {
    const char *content_type;
    gboolean    json;
  } cases[] = {
    { "application/json", TRUE },
    { "Application/JSON", TRUE },
    { "application/json; charset=utf-8", TRUE },
    { "application/json ;x", TRUE },
    { "application/ld+json", TRUE },
    { "application/x+JSON;v=1", TRUE },
    { "+json", FALSE },
    { "application/jsonx", FALSE },
    { "text/json", FALSE },
    { "text/plain; application/json", FALSE },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusEvent) event = new_event (cases[i].content_type, "1", NULL);

      g_assert_cmpint (evbus_event_is_json (event), ==, cases[i].json);
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/cloud-event/json", test_json);
  g_test_add_func ("/cloud-event/uris", test_uris);
  g_test_add_func ("/cloud-event/trace", test_trace);
  g_test_add_func ("/cloud-event/no-json", test_no_json);
  g_test_add_func ("/cloud-event/time", test_time);
  g_test_add_func ("/cloud-event/is-json", test_is_json);

  return g_test_run ();
}
