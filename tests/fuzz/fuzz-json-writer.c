/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The first byte chooses a type, the rest is the untrusted data of a body: what
 * the serializers take becomes valid JSON, and a boxed GVariant of equal value.
 */

#include <evbus/evbus.h>
#include <string.h>

#include "fuzz.h"
#include "fuzz-body.h"

static const char * const types[] = {
  "v", "a{sv}", "s", "as", "av", "(svs)", "a(svs)", "ay", "aay", "ad", "d", "t", "x", "b", "mv",
  "ams", "mm(si)", "a{dv}", "a{tv}", "a{bs}", "a{os}", "a{gs}", "a{nq}", "a{yi}", "{sv}",
  "(bynqiuxtd)", "a(ysxy)", "((s)(ys)(sy))", "()", "a()", "a(((())))", "h", "ah", "a{sa{sa{sv}}}",
  "(aiasa{ii})", "o", "g", "aaaaaai", "m()", "a{su}",
};

int
LLVMFuzzerTestOneInput (const uint8_t *data,
                        size_t         size)
{
  g_autoptr(GBytes) bytes = NULL;
  g_autoptr(GVariant) flat = NULL;
  g_autoptr(GVariant) tree = NULL;

  if (size == 0)
    return 0;

  bytes = g_bytes_new (data + 1, size - 1);
  flat = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE (types[*data % G_N_ELEMENTS (types)]),
                                                       bytes, FALSE));
  fuzz_body (flat);

  /* Of what is not in normal form this is another object, a tree. */
  tree = g_variant_get_normal_form (flat);
  fuzz_body (tree);
  return 0;
}
