/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Payload of END. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    ColoEnd value;

    if (colo_wire_get_end(in, size, &value) == COLO_WIRE_OK) {
        colo_wire_put_end(again, &value);
        fuzz_assert_same(again, in, size);
    }
    return 0;
}
