/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Serializers that are not evbus's own: of a program, and of a plugin. */

#include "evbus-test.h"

#include <string.h>

/* Behaves as it is told. */
typedef struct {
  const char *content_type;
  const char *bytes;           /* NULL: fails */
  gboolean    silent;          /* without an error */
} Behaviour;

#define TEST_TYPE_SERIALIZER (test_serializer_get_type ())
G_DECLARE_FINAL_TYPE (TestSerializer, test_serializer, TEST, SERIALIZER, GObject)

struct _TestSerializer
{
  GObject parent_instance;
  Behaviour behaviour;
};

static const char *
test_get_content_type (EvbusSerializer *serializer)
{
  return TEST_SERIALIZER (serializer)->behaviour.content_type;
}

static GBytes *
test_to_bytes (EvbusSerializer  *serializer,
               GVariant         *body,
               GError          **error)
{
  const Behaviour *behaviour = &TEST_SERIALIZER (serializer)->behaviour;

  if (behaviour->bytes != NULL)
    return g_bytes_new (behaviour->bytes, strlen (behaviour->bytes));
  if (!behaviour->silent)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY, "not this one");
  return NULL;
}

static void
test_serializer_iface_init (EvbusSerializerInterface *iface)
{
  iface->get_content_type = test_get_content_type;
  iface->to_bytes = test_to_bytes;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (TestSerializer, test_serializer, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_SERIALIZER, test_serializer_iface_init))

static void
test_serializer_class_init (TestSerializerClass *klass)
{
}

static void
test_serializer_init (TestSerializer *self)
{
}

static gboolean
add (const char       *name,
     const Behaviour  *behaviour,
     GError          **error)
{
  g_autoptr(TestSerializer) serializer = g_object_new (TEST_TYPE_SERIALIZER, NULL);

  serializer->behaviour = *behaviour;
  return evbus_serializer_register (name, EVBUS_SERIALIZER (serializer), error);
}

/* What comes of a body that is put into a broker with that serializer. */
static void
assert_written (const char *name,
                const char *content_type,
                const char *text)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_route (broker, "internal", "*", NULL);
  g_autoptr(EvbusEvent) event = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *yaml = g_strdup_printf ("evbus: {serializer: %s}\ninternal: {'*': {}}", name);
  g_autofree char *id = NULL;
  g_autoptr(GBytes) body = NULL;

  evbus_test_apply (broker, yaml);
  evbus_test_start (broker);
  id = evbus_producer_put_nowait (EVBUS_PRODUCER (broker), "k", g_variant_new_string ("hello"), NULL, &error);
  g_assert_no_error (error);
  event = evbus_mailbox_get (evbus_route_get_mailbox (route), NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_event_get_content_type (event), ==, content_type);
  body = evbus_event_get_body (event);
  g_assert_cmpmem (g_bytes_get_data (body, NULL), g_bytes_get_size (body), text, strlen (text));
  evbus_test_wait_ledger (route, "accepted=1 delivered=1");
  evbus_test_stop (broker);
}

static void
test_registered (void)
{
  static const Behaviour behaviour = { "text/x-always", "always the same" };
  g_autoptr(GError) error = NULL;

  g_assert_true (add ("always", &behaviour, &error));
  g_assert_no_error (error);
  assert_written ("always", "text/x-always", "always the same");
}

/* The plugin is found by its file, and loaded when somebody asks for it. */
static void
test_plugin (void)
{
  g_autoptr(GError) error = NULL;

  g_assert_null (evbus_serializer_lookup ("shuot", &error));
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "json, .*, shout.*; did you mean 'shout'");
  assert_written ("shout", "text/x-shout", "'HELLO'");
}

static const struct {
  const char *name;
  const char *content_type;
  EvbusError  code;
  const char *says;
} refused[] = {
  { "json", "text/plain", EVBUS_ERROR_EXISTS, "json.*evbus itself" },
  { "taken", "text/plain", EVBUS_ERROR_EXISTS, "'taken' already" },
  { "", "text/plain", EVBUS_ERROR_INVALID_ARGUMENT, "1 to 255" },
  { "a b", "text/plain", EVBUS_ERROR_INVALID_ARGUMENT, "'a b'" },
  { "no-type", NULL, EVBUS_ERROR_INVALID_ARGUMENT, "content" },
  { "bad-type", "a\nb", EVBUS_ERROR_INVALID_ARGUMENT, "content" },
};

static void
test_refused (void)
{
  static const Behaviour taken = { "text/plain", "" };

  g_assert_true (add ("taken", &taken, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (refused); i++)
    {
      Behaviour behaviour = { refused[i].content_type, "" };
      g_autoptr(GError) error = NULL;

      g_assert_false (add (refused[i].name, &behaviour, &error));
      evbus_test_assert_error (error, refused[i].code, refused[i].says);
    }
}

/* The put that it fails for is refused, and says so. */
static void
test_failing (void)
{
  static const Behaviour behaviours[] = { { "text/plain" }, { "text/plain", NULL, TRUE } };
  static const char *names[] = { "fails", "fails-silently" };
  static const char *says[] = { "not this one", "TestSerializer failed without saying why" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
      g_autoptr(GError) error = NULL;

      g_assert_true (add (names[i], &behaviours[i], NULL));
      g_assert_true (evbus_broker_set_serializer (broker, names[i], NULL));
      g_assert_null (evbus_producer_put_nowait (EVBUS_PRODUCER (broker), "k", g_variant_new_string (""), NULL, &error));
      evbus_test_assert_error (error, EVBUS_ERROR_INVALID_BODY, says[i]);
      evbus_test_stop (broker);
    }
}

/* What evbus's own refuse never gets to any other. */
static void
test_checked (void)
{
  static const Behaviour behaviour = { "text/plain", "" };
  g_autoptr(EvbusSerializer) serializer = NULL;
  g_autoptr(GError) error = NULL;

  g_assert_true (add ("checked", &behaviour, NULL));
  serializer = evbus_serializer_lookup ("checked", NULL);
  g_assert_null (evbus_serializer_to_bytes (serializer, g_variant_new_handle (0), &error));
  evbus_test_assert_error (error, EVBUS_ERROR_INVALID_BODY, "handle");
}

/* Last, as it leaves no room. */
static void
test_bound (void)
{
  static const Behaviour behaviour = { "text/plain", "" };
  g_autoptr(GError) error = NULL;
  guint n = 0;

  for (gboolean added = TRUE; added; n += added)
    {
      g_autofree char *name = g_strdup_printf ("n%u", n);

      added = add (name, &behaviour, &error);
    }
  g_assert_cmpuint (n, <=, 64);
  evbus_test_assert_error (error, EVBUS_ERROR_FAILED, "64 serializers");
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);

  g_test_add_func ("/serializer-registry/registered", test_registered);
  g_test_add_func ("/serializer-registry/plugin", test_plugin);
  g_test_add_func ("/serializer-registry/refused", test_refused);
  g_test_add_func ("/serializer-registry/failing", test_failing);
  g_test_add_func ("/serializer-registry/checked", test_checked);
  g_test_add_func ("/serializer-registry/bound", test_bound);

  return g_test_run ();
}
