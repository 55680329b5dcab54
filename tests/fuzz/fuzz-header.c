/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame header. Chance never meets a checksum, so each input is tried
 * as it is and once more with magic and checksum made right.
 */
#include <xxhash.h>
#include "fuzz.h"

static void check_header(const uint8_t *in)
{
    uint8_t again[COLO_WIRE_HEADER_BYTES];
    ColoFrame f;
    ColoWireError error = colo_wire_get_header(in, &f);

    g_assert(colo_wire_strerror(error) && colo_msg_name(f.type));
    if (error == COLO_WIRE_OK) {
        g_assert(f.version == COLO_WIRE_VERSION);
        g_assert(f.type > COLO_MSG_INVALID && f.type < COLO_MSG__MAX);
        g_assert(f.length <= colo_wire_max_length(f.type));
    }
    if (error != COLO_WIRE_BAD_MAGIC && error != COLO_WIRE_BAD_CHECK) {
        colo_wire_put_header(again, &f);
        g_assert(memcmp(in, again, sizeof(again)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    uint8_t fixed[COLO_WIRE_HEADER_BYTES];
    uint32_t magic = GUINT32_TO_BE(COLO_WIRE_MAGIC), check;

    if (size < sizeof(fixed)) {
        return 0;
    }
    check_header(in);
    memcpy(fixed, in, sizeof(fixed));
    memcpy(fixed, &magic, 4);
    check = GUINT32_TO_BE(XXH32(fixed, 28, COLO_WIRE_MAGIC));
    memcpy(fixed + 28, &check, 4);
    check_header(fixed);
    return 0;
}
