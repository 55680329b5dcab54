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
    XXH128_canonical_t out;
    GString *hex = g_string_new(NULL);

    XXH3_128bits_reset(state);
    for (uint32_t i = 0; i < colo_ram_block_count(ram); i++) {
        XXH3_128bits_update(state, table[i].name, strlen(table[i].name));
        XXH3_128bits_update(state, &table[i].used_bytes,
                            sizeof(table[i].used_bytes));
        XXH3_128bits_update(state, colo_ram_page_at(ram, i, 0),
                            table[i].used_bytes);
    }
    XXH128_canonicalFromHash(&out, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    for (size_t i = 0; i < sizeof(out.digest); i++) {
        g_string_append_printf(hex, "%02x", out.digest[i]);
    }
    return g_string_free(hex, false);
}
