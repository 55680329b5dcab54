/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Payload of ANSWER. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    ColoAnswer value;

    if (colo_wire_get_answer(in, size, &value) == COLO_WIRE_OK) {
        colo_wire_put_answer(again, &value);
        fuzz_assert_same(again, in, size);
    }
    return 0;
}
