/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzz targets share.
 *
 * Every decoder of the wire format accepts exactly one encoding of a value,
 * so the property that each target checks is strong: whatever a decoder
 * accepts, the encoder writes again byte for byte.
 */
#ifndef COLO_FUZZ_H
#define COLO_FUZZ_H

#include <string.h>
#include <glib.h>
#include "colo/wire.h"

/* The entry that libFuzzer, or standalone.c, calls with each input. */
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size);

static inline void fuzz_assert_same(const GByteArray *again,
                                    const uint8_t *in, size_t size)
{
    g_assert(again->len == size);
    g_assert(size == 0 || memcmp(again->data, in, size) == 0);
}

#endif
