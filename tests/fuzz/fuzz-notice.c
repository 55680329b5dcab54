/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Payload of REFUSE, FAILED and GOODBYE. The encoder is fuzzed too: any
 * bytes whatsoever given as text must come out as text that is accepted.
 */
#include "fuzz.h"

static void check_decoder(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    ColoNotice n;

    if (colo_wire_get_notice(in, size, &n) == COLO_WIRE_OK) {
        colo_wire_put_notice(again, n.cause, n.text);
        fuzz_assert_same(again, in, size);
    }
    g_assert(memchr(n.text, 0, sizeof(n.text)));
}

static void check_encoder(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autofree char *text = g_strndup((const char *)in, size);
    ColoNotice n;

    colo_wire_put_notice(bytes, 1, text);
    g_assert(bytes->len <= colo_wire_max_length(COLO_MSG_REFUSE));
    g_assert(colo_wire_get_notice(bytes->data, bytes->len, &n) ==
             COLO_WIRE_OK);
    g_assert(n.cause == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    check_decoder(in, size);
    check_encoder(in, size);
    return 0;
}
