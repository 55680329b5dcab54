/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Payload of REQUEST. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    uint32_t value;

    if (colo_wire_get_request(in, size, &value) == COLO_WIRE_OK) {
        colo_wire_put_request(again, value);
        fuzz_assert_same(again, in, size);
    }
    return 0;
}
