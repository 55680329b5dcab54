/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Payload of OFFER. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    ColoOffer value;

    if (colo_wire_get_offer(in, size, &value) == COLO_WIRE_OK) {
        g_assert(value.offset + value.bytes <= INT64_MAX);
        colo_wire_put_offer(again, &value);
        fuzz_assert_same(again, in, size);
    }
    return 0;
}
