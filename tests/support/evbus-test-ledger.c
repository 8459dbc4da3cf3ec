/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-test.h"

#include <stdlib.h>
#include <string.h>

static const struct {
  const char *name;
  gsize offset;
  gboolean implied;            /* 0 where it is not named */
} figures[] = {
  { "accepted", G_STRUCT_OFFSET (EvbusLedger, accepted), TRUE },
  { "delivered", G_STRUCT_OFFSET (EvbusLedger, delivered), TRUE },
  { "dead", G_STRUCT_OFFSET (EvbusLedger, dead), TRUE },
  { "expired", G_STRUCT_OFFSET (EvbusLedger, expired), TRUE },
  { "dropped", G_STRUCT_OFFSET (EvbusLedger, dropped), TRUE },
  { "queued", G_STRUCT_OFFSET (EvbusLedger, queued), TRUE },
  { "retried", G_STRUCT_OFFSET (EvbusLedger, retried), FALSE },
  { "unrouted", G_STRUCT_OFFSET (EvbusLedger, unrouted), FALSE },
  { "duplicates", G_STRUCT_OFFSET (EvbusLedger, duplicates), FALSE },
  { "repeated", G_STRUCT_OFFSET (EvbusLedger, repeated), FALSE },
};

static void
get_ledger (gpointer     route_or_broker,
            EvbusLedger *ledger)
{
  memset (ledger, 0xff, sizeof *ledger);
  if (EVBUS_IS_BROKER (route_or_broker))
    evbus_broker_get_ledger (route_or_broker, ledger);
  else
    evbus_route_get_ledger (route_or_broker, ledger);
}

static char *
describe (const EvbusLedger *ledger)
{
  GString *text = g_string_new (NULL);

  for (guint i = 0; i < G_N_ELEMENTS (figures); i++)
    g_string_append_printf (text, "%s%s=%" G_GUINT64_FORMAT, i > 0 ? " " : "", figures[i].name,
                            G_STRUCT_MEMBER (guint64, ledger, figures[i].offset));
  return g_string_free (text, FALSE);
}

/* Whether @name is among @expected, and then its value. */
static gboolean
expected_figure (char       **expected,
                 const char  *name,
                 guint64     *value)
{
  gsize length = strlen (name);

  for (guint i = 0; expected[i] != NULL; i++)
    {
      if (!g_str_has_prefix (expected[i], name) || expected[i][length] != '=')
        continue;
      *value = g_ascii_strtoull (expected[i] + length + 1, NULL, 10);
      return TRUE;
    }
  *value = 0;
  return FALSE;
}

static gboolean
ledger_is (const EvbusLedger *ledger,
           const char        *expected,
           gboolean           complete)
{
  g_auto(GStrv) words = g_strsplit (expected, " ", -1);

  for (guint i = 0; i < G_N_ELEMENTS (figures); i++)
    {
      guint64 value;
      gboolean named = expected_figure (words, figures[i].name, &value);

      if (!named && !(complete && figures[i].implied))
        continue;
      if (G_STRUCT_MEMBER (guint64, ledger, figures[i].offset) != value)
        return FALSE;
    }
  return TRUE;
}

gboolean
evbus_test_ledger_is (gpointer    route_or_broker,
                      const char *expected)
{
  EvbusLedger ledger;

  get_ledger (route_or_broker, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  return ledger_is (&ledger, expected, FALSE);
}

void
evbus_test_check_ledger (gpointer    route_or_broker,
                         const char *expected,
                         const char *file,
                         int         line)
{
  g_autofree char *text = NULL;
  EvbusLedger ledger;

  get_ledger (route_or_broker, &ledger);
  text = describe (&ledger);
  if (!evbus_ledger_balances (&ledger) ||
      ledger.accepted != ledger.delivered + ledger.dead + ledger.expired +
                         ledger.dropped + ledger.queued)
    g_error ("%s:%d: the ledger does not balance: %s", file, line, text);
  if (!ledger_is (&ledger, expected, TRUE))
    g_error ("%s:%d: the ledger is “%s”, not “%s”", file, line, text, expected);
}

guint64
evbus_test_figure (gpointer    route_or_broker,
                   const char *name)
{
  EvbusLedger ledger;

  get_ledger (route_or_broker, &ledger);
  for (guint i = 0; i < G_N_ELEMENTS (figures); i++)
    if (strcmp (figures[i].name, name) == 0)
      return G_STRUCT_MEMBER (guint64, &ledger, figures[i].offset);
  g_assert_not_reached ();
}

void
evbus_test_assert_balance (EvbusBroker *broker)
{
  GListModel *routes = evbus_broker_get_routes (broker);
  EvbusLedger total, sum = { 0, };

  get_ledger (broker, &total);
  g_assert_true (evbus_ledger_balances (&total));
  for (guint i = 0; i < g_list_model_get_n_items (routes); i++)
    {
      g_autoptr(EvbusRoute) route = g_list_model_get_item (routes, i);
      EvbusLedger ledger;

      get_ledger (route, &ledger);
      g_assert_true (evbus_ledger_balances (&ledger));
      evbus_ledger_add (&sum, &ledger);
    }
  /* What is beyond their sum is of routes that were removed, which have nothing
   * queued any more. */
  for (guint i = 0; i < G_N_ELEMENTS (figures); i++)
    {
      guint64 in_all = G_STRUCT_MEMBER (guint64, &total, figures[i].offset);
      guint64 listed = G_STRUCT_MEMBER (guint64, &sum, figures[i].offset);

      if (strcmp (figures[i].name, "queued") == 0)
        g_assert_cmpuint (in_all, ==, listed);
      else
        g_assert_cmpuint (in_all, >=, listed);
    }
}
