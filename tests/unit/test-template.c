/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Texts of a profile with places for what an event brings along. */

#include "evbus-error.h"
#include "evbus-event-private.h"
#include "evbus-template.h"

static EvbusEvent *
new_event (void)
{
  const EvbusEventInit init = {
    .id = "the-id",
    .routing_key = "order.created",
    .routing_key_length = 13,
    .profile = "shop",
    .profile_length = 4,
    .content_type = "application/json",
    .data = (const guint8 *) "1",
    .size = 1,
  };

  return evbus_event_new (&init);
}

static void
test_expand (void)
{
  static const struct {
    const char *text;
    const char *expanded;
    gboolean    fixed;
  } cases[] = {
    { "", "", TRUE },
    { "orders", "orders", TRUE },
    { "{routing_key}", "order.created", FALSE },
    { "a/{profile}/{routing_key}/{id}/b", "a/shop/order.created/the-id/b", FALSE },
    { "{id}{id}", "the-idthe-id", FALSE },
    { "{{routing_key}}", "{routing_key}", TRUE },
    { "{{{id}}}", "{the-id}", FALSE },
    { "a}b", "a}b", TRUE },
    { "ä{profile}ö", "äshopö", FALSE },
  };
  g_autoptr(EvbusEvent) event = new_event ();

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) error = NULL;
      g_autoptr(EvbusTemplate) template = evbus_template_new (cases[i].text, &error);
      g_autofree char *expanded = NULL;

      g_assert_no_error (error);
      expanded = evbus_template_expand (template, event);
      g_assert_cmpstr (expanded, ==, cases[i].expanded);
      g_assert_cmpint (evbus_template_is_fixed (template), ==, cases[i].fixed);
    }
}

static void
test_append (void)
{
  g_autoptr(EvbusEvent) event = new_event ();
  g_autoptr(EvbusTemplate) template = evbus_template_new ("-{id}", NULL);
  g_autoptr(EvbusTemplate) other = evbus_template_ref (template);
  g_autoptr(GString) string = g_string_new ("x");

  evbus_template_append (other, event, string);
  g_assert_cmpstr (string->str, ==, "x-the-id");
}

/* Nothing that an event brings along is part of the syntax of a URL. */
static void
test_append_escaped (void)
{
  const EvbusEventInit init = {
    .id = "a b",
    .routing_key = "../x?y=1#z\r\nHost: ü%",
    .routing_key_length = 21,
    .profile = "A-z_0.9~",
    .profile_length = 8,
    .content_type = "application/json",
    .data = (const guint8 *) "1",
    .size = 1,
  };
  g_autoptr(EvbusEvent) event = evbus_event_new (&init);
  g_autoptr(EvbusTemplate) template = evbus_template_new ("http://h/?{routing_key}/{profile}/{id}", NULL);
  g_autoptr(EvbusTemplate) fixed = evbus_template_new ("http://h/a b", NULL);
  g_autoptr(GString) string = g_string_new (NULL);

  evbus_template_append_escaped (template, event, string);
  g_assert_cmpstr (string->str, ==, "http://h/?..%2Fx%3Fy%3D1%23z%0D%0AHost%3A%20%C3%BC%25/A-z_0.9~/a%20b");
  g_string_truncate (string, 0);
  evbus_template_append_escaped (fixed, NULL, string);
  g_assert_cmpstr (string->str, ==, "http://h/a b");
}

/* It is the same for all events, and for none. */
static void
test_no_event (void)
{
  g_autoptr(EvbusTemplate) template = evbus_template_new ("a{{b}}", NULL);
  g_autofree char *expanded = evbus_template_expand (template, NULL);

  g_assert_cmpstr (expanded, ==, "a{b}");
}

static void
test_mistakes (void)
{
  static const struct {
    const char *text;
    const char *pattern;
  } cases[] = {
    { "a{routing_kye}", "there is no {routing_kye}; did you mean 'routing_key'?*" },
    { "{}", "there is no {};*" },
    { "{body}", "there is no {body};*" },
    { "a{id", "*never closed*" },
    { "{", "*never closed*" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) error = NULL;

      g_assert_null (evbus_template_new (cases[i].text, &error));
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT);
      g_assert_true (g_pattern_match_simple (cases[i].pattern, error->message));
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/template/expand", test_expand);
  g_test_add_func ("/template/append", test_append);
  g_test_add_func ("/template/append-escaped", test_append_escaped);
  g_test_add_func ("/template/no-event", test_no_event);
  g_test_add_func ("/template/mistakes", test_mistakes);

  return g_test_run ();
}
