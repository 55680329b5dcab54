/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO wire format: RAM block tables, HELLO and READY.
 *
 *   table   u32 count, then for each block: u8 name_bytes, name,
 *           u64 used_bytes, u32 page_bytes
 *   hello   u16 min_version, u16 max_version, u32 features,
 *           u8 key[COLO_KEY_BYTES], u8 n, build[n], u8 n, machine[n], table
 *
 * What a decoded table promises: names are not empty and differ from each
 * other, all blocks have the same power of two as page size, sizes are whole
 * pages. STATE must list at least one block; READY may leave its table out.
 */
#include "colo/wire.h"
#include "wire-bytes.h"

static void put_name(GByteArray *out, const char *name)
{
    size_t size = strnlen(name, COLO_NAME_MAX_BYTES);

    colo_put_u8(out, size);
    g_byte_array_append(out, (const uint8_t *)name, size);
}

static void get_name(ColoReader *r, char name[COLO_NAME_MAX_BYTES + 1])
{
    colo_get_text(r, colo_get_u8(r), name);
}

/* -------------------------------------------------------------- table */

void colo_wire_put_blocks(GByteArray *out, const ColoBlockInfo *blocks,
                          uint32_t block_count)
{
    uint32_t i;

    g_assert(block_count <= COLO_BLOCKS_MAX);
    colo_put_u32(out, block_count);
    for (i = 0; i < block_count; i++) {
        put_name(out, blocks[i].name);
        colo_put_u64(out, blocks[i].used_bytes);
        colo_put_u32(out, blocks[i].page_bytes);
    }
}

static bool page_size_is_valid(uint32_t page_bytes)
{
    return page_bytes >= COLO_PAGE_MIN_BYTES &&
           page_bytes <= COLO_PAGE_MAX_BYTES &&
           (page_bytes & (page_bytes - 1)) == 0;
}

static ColoWireError check_block(const ColoBlockInfo *b,
                                 const ColoBlockInfo *first)
{
    if (!b->name[0]) {
        return COLO_WIRE_BAD_STRING;
    }
    if (!page_size_is_valid(b->page_bytes) ||
        b->page_bytes != first->page_bytes ||
        b->used_bytes % b->page_bytes ||
        b->used_bytes > COLO_BLOCK_MAX_BYTES) {
        return COLO_WIRE_BAD_VALUE;
    }
    return COLO_WIRE_OK;
}

static void get_block(ColoReader *r, ColoBlockInfo *b,
                      const ColoBlockInfo *first, GHashTable *names)
{
    ColoWireError error;

    get_name(r, b->name);
    b->used_bytes = colo_get_u64(r);
    b->page_bytes = colo_get_u32(r);
    if (r->error != COLO_WIRE_OK) {
        return;
    }
    error = check_block(b, first);
    if (error == COLO_WIRE_OK && !g_hash_table_add(names, b->name)) {
        error = COLO_WIRE_BAD_VALUE;
    }
    if (error != COLO_WIRE_OK) {
        colo_reader_fail(r, error);
    }
}

/* Leaves *@blocks NULL when there are none or when the reader fails. */
static void get_table(ColoReader *r, ColoBlockInfo **blocks,
                      uint32_t *block_count)
{
    uint32_t count = colo_get_u32(r);
    uint32_t i;
    GHashTable *names;

    *blocks = NULL;
    *block_count = 0;
    if (count > COLO_BLOCKS_MAX) {
        colo_reader_fail(r, COLO_WIRE_BAD_COUNT);
    }
    if (r->error != COLO_WIRE_OK || count == 0) {
        return;
    }
    *blocks = g_new0(ColoBlockInfo, count);
    names = g_hash_table_new(g_str_hash, g_str_equal);
    for (i = 0; i < count && r->error == COLO_WIRE_OK; i++) {
        get_block(r, &(*blocks)[i], *blocks, names);
    }
    g_hash_table_destroy(names);
    if (r->error == COLO_WIRE_OK) {
        *block_count = count;
    } else {
        g_clear_pointer(blocks, g_free);
    }
}

ColoWireError colo_wire_get_blocks(const uint8_t *in, size_t size,
                                   ColoBlockInfo **blocks,
                                   uint32_t *block_count)
{
    ColoReader r = colo_reader(in, size);
    ColoWireError error;

    get_table(&r, blocks, block_count);
    if (r.error == COLO_WIRE_OK && *block_count == 0) {
        colo_reader_fail(&r, COLO_WIRE_BAD_COUNT);
    }
    error = colo_reader_finish(&r);
    if (error != COLO_WIRE_OK) {
        g_clear_pointer(blocks, g_free);
        *block_count = 0;
    }
    return error;
}

/* -------------------------------------------------------------- hello */

void colo_hello_clear(ColoHello *h)
{
    g_free(h->blocks);
    memset(h, 0, sizeof(*h));
}

void colo_wire_put_hello(GByteArray *out, const ColoHello *h)
{
    colo_put_u16(out, h->min_version);
    colo_put_u16(out, h->max_version);
    colo_put_u32(out, h->features);
    g_byte_array_append(out, h->key, sizeof(h->key));
    put_name(out, h->build);
    put_name(out, h->machine);
    colo_wire_put_blocks(out, h->blocks, h->block_count);
}

ColoWireError colo_wire_get_hello(const uint8_t *in, size_t size,
                                  ColoHello *h)
{
    ColoReader r = colo_reader(in, size);
    const uint8_t *key;
    ColoWireError error;

    memset(h, 0, sizeof(*h));
    h->min_version = colo_get_u16(&r);
    h->max_version = colo_get_u16(&r);
    h->features = colo_get_u32(&r);
    key = colo_reader_take(&r, sizeof(h->key));
    if (key) {
        memcpy(h->key, key, sizeof(h->key));
    }
    get_name(&r, h->build);
    get_name(&r, h->machine);
    if (r.error == COLO_WIRE_OK &&
        (h->min_version == 0 || h->min_version > h->max_version)) {
        colo_reader_fail(&r, COLO_WIRE_BAD_VALUE);
    }
    get_table(&r, &h->blocks, &h->block_count);
    error = colo_reader_finish(&r);
    if (error != COLO_WIRE_OK) {
        colo_hello_clear(h);
    }
    return error;
}

bool colo_wire_negotiate(const ColoHello *ours, const ColoHello *theirs,
                         uint16_t *version, uint32_t *features)
{
    uint16_t newest = MIN(ours->max_version, theirs->max_version);

    if (newest < MAX(ours->min_version, theirs->min_version)) {
        return false;
    }
    *version = newest;
    *features = ours->features & theirs->features;
    return true;
}
