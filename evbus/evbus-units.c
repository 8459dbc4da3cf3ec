/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <math.h>
#include <string.h>

#include "evbus-units-private.h"

#define MAX_EXACT ((gint64) 1 << 53)

typedef struct {
  const char *suffix;
  gint64      factor;
} Unit;

/* From the greatest to the smallest, for the formatter. */
static const Unit duration_units[] = {
  { "d", 24 * 60 * 60 * G_GINT64_CONSTANT (1000000) },
  { "h", 60 * 60 * G_GINT64_CONSTANT (1000000) },
  { "m", 60 * G_GINT64_CONSTANT (1000000) },
  { "s", 1000000 },
  { "ms", 1000 },
  { "us", 1 },
  { NULL, },
};

static const Unit size_units[] = {
  { "GiB", 1024 * 1024 * 1024 },
  { "MiB", 1024 * 1024 },
  { "KiB", 1024 },
  { "", 1 },
  { NULL, },
};

static const Unit *
find_unit (const Unit *units,
           const char *suffix)
{
  for (; units->suffix != NULL; units++)
    if (strcmp (units->suffix, suffix) == 0)
      return units;
  return NULL;
}

static gboolean
scale (double  number,
       gint64  factor,
       gint64 *result)
{
  double scaled = number * factor;

  if (!isfinite (scaled) || scaled < 0 || scaled > MAX_EXACT)
    return FALSE;
  *result = llround (scaled);
  return TRUE;
}

static gboolean
parse_with_units (const char *text,
                  const Unit *units,
                  const char *bare,
                  gint64     *result)
{
  const char *end = text + strspn (text, "0123456789.");
  const Unit *unit;
  char *number_end;
  double number;

  /* strtod() would also read signs, exponents, "inf" and hexadecimal. */
  if (end == text)
    return FALSE;
  number = g_ascii_strtod (text, &number_end);
  if (number_end != end && g_ascii_tolower (*end) != 'e')
    return FALSE;

  while (*end == ' ')
    end++;
  unit = find_unit (units, *end != '\0' ? end : bare);
  return unit != NULL && scale (number, unit->factor, result);
}

gboolean
evbus_parse_duration (const char *text,
                      gint64     *microseconds)
{
  g_return_val_if_fail (text != NULL, FALSE);

  return parse_with_units (text, duration_units, "s", microseconds);
}

gboolean
evbus_parse_size (const char *text,
                  gint64     *bytes)
{
  g_return_val_if_fail (text != NULL, FALSE);

  return parse_with_units (text, size_units, "", bytes);
}

gboolean
evbus_duration_from_seconds (double  seconds,
                             gint64 *microseconds)
{
  return scale (seconds, G_USEC_PER_SEC, microseconds);
}

static char *
format_with_units (gint64      value,
                   const Unit *units)
{
  while (units->factor > 1 && (value == 0 || value % units->factor != 0))
    units++;
  return g_strdup_printf ("%" G_GINT64_FORMAT "%s", value / units->factor, units->suffix);
}

char *
evbus_format_duration (gint64 microseconds)
{
  return microseconds == 0 ? g_strdup ("0") : format_with_units (microseconds, duration_units);
}

char *
evbus_format_size (gint64 bytes)
{
  return format_with_units (bytes, size_units);
}
