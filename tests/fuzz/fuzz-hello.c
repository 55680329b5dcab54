/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Payload of HELLO and READY, and the negotiation that follows it. */
#include "fuzz.h"

static void check_negotiation(const ColoHello *theirs)
{
    const ColoHello ours = {
        .min_version = COLO_WIRE_VERSION, .max_version = COLO_WIRE_VERSION,
        .features = COLO_FEATURES_ALL,
    };
    uint16_t version = 0, again = 0;
    uint32_t features = 0;

    g_assert(colo_wire_negotiate(&ours, theirs, &version, &features) ==
             colo_wire_negotiate(theirs, &ours, &again, &features));
    g_assert(version == again && !(features & ~COLO_FEATURES_ALL));
    g_assert(version == 0 || (version >= theirs->min_version &&
                              version <= theirs->max_version));
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    ColoHello h;

    if (colo_wire_get_hello(in, size, &h) == COLO_WIRE_OK) {
        colo_wire_put_hello(again, &h);
        fuzz_assert_same(again, in, size);
        check_negotiation(&h);
    }
    colo_hello_clear(&h);
    return 0;
}
