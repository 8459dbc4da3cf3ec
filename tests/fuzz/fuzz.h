/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <stddef.h>
#include <stdint.h>

/* What each fuzz target is. libFuzzer brings a main() of its own; without it,
 * driver.c runs the target over the files of its corpus. */
int LLVMFuzzerTestOneInput (const uint8_t *data,
                            size_t         size);
