/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Payload of STATE: the table of RAM blocks, and what it promises. */
#include "fuzz.h"

static void check_promises(const ColoBlockInfo *blocks, uint32_t count)
{
    uint32_t i;

    g_assert(count > 0 && count <= COLO_BLOCKS_MAX);
    for (i = 0; i < count; i++) {
        const ColoBlockInfo *b = &blocks[i];

        g_assert(b->name[0] && memchr(b->name, 0, sizeof(b->name)));
        g_assert(b->page_bytes == blocks[0].page_bytes);
        g_assert(b->page_bytes && b->used_bytes % b->page_bytes == 0);
        g_assert(b->used_bytes <= COLO_BLOCK_MAX_BYTES);
        g_assert(i == 0 || strcmp(b->name, b[-1].name) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autofree ColoBlockInfo *blocks = NULL;
    uint32_t count;

    if (colo_wire_get_blocks(in, size, &blocks, &count) == COLO_WIRE_OK) {
        check_promises(blocks, count);
        colo_wire_put_blocks(again, blocks, count);
        fuzz_assert_same(again, in, size);
    } else {
        g_assert(!blocks && count == 0);
    }
    return 0;
}
