/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Numbers as JSON has them, whatever the locale. Each function writes at most
 * EVBUS_NUMBER_SIZE bytes, the zero byte at the end included, and returns the
 * length without it. */

#include "evbus-number-private.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Below, multiplying a double by a power of ten, rounding, and dividing again
 * cannot miss: the product's error stays under one half. */
#define EXACT_DECIMAL ((double) (G_GUINT64_CONSTANT (1) << 51))

/* Smaller numbers are written with an exponent. */
#define SMALLEST_PLAIN 1e-4

static const double powers_of_ten[] = {
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
  1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
};

static const char digit_pairs[201] =
  "00010203040506070809" "10111213141516171819" "20212223242526272829"
  "30313233343536373839" "40414243444546474849" "50515253545556575859"
  "60616263646566676869" "70717273747576777879" "80818283848586878889"
  "90919293949596979899";

gsize
evbus_number_from_uint64 (char    *text,
                          guint64  value)
{
  char digits[20];
  char *p = digits + sizeof digits;
  gsize length;

  while (value >= 100)
    {
      p -= 2;
      memcpy (p, digit_pairs + value % 100 * 2, 2);
      value /= 100;
    }
  if (value >= 10)
    {
      p -= 2;
      memcpy (p, digit_pairs + value * 2, 2);
    }
  else
    {
      *--p = '0' + value;
    }

  length = digits + sizeof digits - p;
  memcpy (text, p, length);
  text[length] = '\0';
  return length;
}

gsize
evbus_number_from_int64 (char   *text,
                         gint64  value)
{
  if (value >= 0)
    return evbus_number_from_uint64 (text, value);

  *text = '-';
  return 1 + evbus_number_from_uint64 (text + 1, - (guint64) value);
}

/* mantissa / 10^decimals, with at least one digit on each side of the point. */
static gsize
write_decimal (char    *text,
               guint64  mantissa,
               guint    decimals)
{
  gsize length = evbus_number_from_uint64 (text, mantissa);
  gsize missing;

  if (length <= decimals)
    {
      missing = decimals + 1 - length;
      memmove (text + missing, text, length);
      memset (text, '0', missing);
      length += missing;
    }
  memmove (text + length - decimals + 1, text + length - decimals, decimals);
  text[length - decimals] = '.';
  text[length + 1] = '\0';
  return length + 1;
}

/* Most doubles that people put are short decimals. Mantissa and power of ten
 * are exact, so their quotient is rounded once, as the reader of the text
 * rounds: if it is the value, the text is right, and the first found is the
 * shortest. Returns 0 where there is none. */
static gsize
write_short_decimal (char   *text,
                     double  value)
{
  guint64 mantissa;
  double scaled;
  guint i;

  for (i = 1; i < G_N_ELEMENTS (powers_of_ten); i++)
    {
      scaled = value * powers_of_ten[i];
      if (scaled >= EXACT_DECIMAL)
        return 0;
      mantissa = (guint64) (scaled + 0.5);
      if ((double) mantissa / powers_of_ten[i] == value)
        return write_decimal (text, mantissa, i);
    }
  return 0;
}

static gboolean
reads_back (const char *text,
            double      value)
{
  return g_ascii_strtod (text, NULL) == value;
}

/* Above a power of two doubles lie twice as far apart as below, so the nearest
 * text of 16 digits may be just too far below when the next one up would do. */
static gboolean
write_next_up (char   *text,
               double  value)
{
  char *last;
  int exponent;

  if (frexp (value, &exponent) != 0.5)
    return FALSE;
  g_ascii_formatd (text, EVBUS_NUMBER_SIZE, "%.15e", value);
  last = strchr (text, 'e') - 1;
  if (*last == '9')
    return FALSE;
  ++*last;
  return reads_back (text, value);
}

static gsize
write_long_decimal (char   *text,
                    double  value)
{
  /* Denormal numbers have less than 15 digits to them. */
  int precision = value < DBL_MIN ? 1 : 15;
  char format[8];
  gsize length;

  for (; precision <= 17; precision++)
    {
      if (precision == 17 && write_next_up (text, value))
        break;
      g_snprintf (format, sizeof format, "%%.%dg", precision);
      g_ascii_formatd (text, EVBUS_NUMBER_SIZE, format, value);
      if (reads_back (text, value))
        break;
    }

  /* Without a point or an exponent a reader would take it for an integer. */
  length = strlen (text);
  if (strpbrk (text, ".e") == NULL)
    {
      memcpy (text + length, ".0", 3);
      length += 2;
    }
  return length;
}

/* The shortest text that reads back as value, which is finite. */
gsize
evbus_number_from_double (char   *text,
                          double  value)
{
  gsize sign = 0;
  gsize length;

  if (signbit (value))
    {
      *text++ = '-';
      value = -value;
      sign = 1;
    }

  if (value < EXACT_DECIMAL && value == (double) (guint64) value)
    return sign + write_decimal (text, (guint64) value * 10, 1);

  length = value >= SMALLEST_PLAIN && value < EXACT_DECIMAL ? write_short_decimal (text, value) : 0;
  if (length == 0)
    length = write_long_decimal (text, value);
  return sign + length;
}
