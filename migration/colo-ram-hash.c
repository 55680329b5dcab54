/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: one digest over all of guest RAM, for tests that compare the two
 * sides at the same cut.
 *
 * ROM and RAM blocks count alike, in the order of the table, each with its
 * name and its used length.
 */
#include "qemu/osdep.h"
#include <xxhash.h>
#include "colo-ram.h"

char *colo_ram_digest(ColoRam *ram)
{
    g_autofree ColoBlockInfo *table = colo_ram_table(ram);
    XXH3_state_t *state = XXH3_createState();
    XXH128_hash_t h;

    XXH3_128bits_reset(state);
    for (uint32_t i = 0; i < colo_ram_block_count(ram); i++) {
        XXH3_128bits_update(state, table[i].name, strlen(table[i].name));
        XXH3_128bits_update(state, &table[i].used_bytes,
                            sizeof(table[i].used_bytes));
        XXH3_128bits_update(state, colo_ram_page_at(ram, i, 0),
                            table[i].used_bytes);
    }
    h = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    return g_strdup_printf("%016" PRIx64 "%016" PRIx64,
                           (uint64_t)h.high64, (uint64_t)h.low64);
}
