/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Helpers of the wire format's tests: errors compared by name, and inputs
 * in heap blocks of their exact size, so that a sanitizer sees each byte
 * read past the end.
 */
#ifndef COLO_WIRE_TEST_H
#define COLO_WIRE_TEST_H

#include <string.h>
#include <glib.h>
#include "colo/wire.h"

#define assert_wire(error, expected)                                        \
    g_assert_cmpstr(colo_wire_strerror(error), ==,                          \
                    colo_wire_strerror(expected))

typedef ColoWireError (*WireDecode)(const uint8_t *in, size_t size);

static inline ColoWireError decode_copy(WireDecode decode, const void *in,
                                        size_t size)
{
    uint8_t *copy = g_malloc(size + 1);
    uint8_t *exact = g_memdup2(in, size);
    ColoWireError a, b;

    /* the byte behind the payload must not matter */
    memcpy(copy, in, size);
    copy[size] = 0xa5;
    a = decode(copy, size);
    b = decode(exact, size);
    g_assert_cmpint(a, ==, b);
    g_free(copy);
    g_free(exact);
    return a;
}

/* A good payload: cut anywhere it is too short, with one byte more too long. */
static inline void assert_exact_size(WireDecode decode, const GByteArray *good)
{
    g_autoptr(GByteArray) longer = g_byte_array_new();
    size_t size;

    assert_wire(decode_copy(decode, good->data, good->len), COLO_WIRE_OK);
    for (size = 0; size < good->len; size++) {
        assert_wire(decode_copy(decode, good->data, size),
                    COLO_WIRE_BAD_LENGTH);
    }
    g_byte_array_append(longer, good->data, good->len);
    g_byte_array_append(longer, (const uint8_t *)"", 1);
    assert_wire(decode_copy(decode, longer->data, longer->len),
                COLO_WIRE_TRAILING);
}

static inline void store_be(uint8_t *at, uint64_t value, unsigned bytes)
{
    while (bytes-- > 0) {
        at[bytes] = value;
        value >>= 8;
    }
}

#endif
