/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HELLO, READY and STATE: block tables, identity, version negotiation.
 */
#include "wire-test.h"

enum { KEY_AT = 8, BUILD_AT = KEY_AT + COLO_KEY_BYTES };

static ColoBlockInfo block(const char *name, uint64_t used_bytes,
                           uint32_t page_bytes)
{
    ColoBlockInfo b = { .used_bytes = used_bytes, .page_bytes = page_bytes };

    g_strlcpy(b.name, name, sizeof(b.name));
    return b;
}

static ColoBlockInfo *many_blocks(uint32_t count)
{
    ColoBlockInfo *blocks = g_new0(ColoBlockInfo, count);
    uint32_t i;

    for (i = 0; i < count; i++) {
        blocks[i].used_bytes = i * 4096ull;
        blocks[i].page_bytes = 4096;
        memset(blocks[i].name, 'x', COLO_NAME_MAX_BYTES);
        memcpy(blocks[i].name, &(char[4]) { 'a' + i % 16, 'a' + i / 16 % 16,
                                            'a' + i / 256, '.' }, 4);
    }
    return blocks;
}

static void assert_same_blocks(const ColoBlockInfo *a, const ColoBlockInfo *b,
                               uint32_t count)
{
    uint32_t i;

    for (i = 0; i < count; i++) {
        g_assert_cmpstr(a[i].name, ==, b[i].name);
        g_assert_cmpuint(a[i].used_bytes, ==, b[i].used_bytes);
        g_assert_cmpuint(a[i].page_bytes, ==, b[i].page_bytes);
    }
}

static ColoWireError decode_blocks(const uint8_t *in, size_t size)
{
    ColoBlockInfo *blocks = (void *)1;
    uint32_t count = 99;
    ColoWireError error = colo_wire_get_blocks(in, size, &blocks, &count);

    if (error != COLO_WIRE_OK) {
        g_assert_null(blocks);
        g_assert_cmpuint(count, ==, 0);
    }
    g_free(blocks);
    return error;
}

static ColoWireError decode_hello(const uint8_t *in, size_t size)
{
    ColoHello h;
    ColoWireError error;

    memset(&h, 0xff, sizeof(h));
    error = colo_wire_get_hello(in, size, &h);
    if (error != COLO_WIRE_OK) {
        g_assert_null(h.blocks);
        g_assert_cmpuint(h.block_count, ==, 0);
    }
    colo_hello_clear(&h);
    return error;
}

/* ------------------------------------------------------------- tables */

static void test_blocks_round_trip(void)
{
    static const uint32_t counts[] = { 1, 2, 17, COLO_BLOCKS_MAX };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(counts); i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        g_autofree ColoBlockInfo *blocks = many_blocks(counts[i]);
        g_autofree ColoBlockInfo *back = NULL;
        uint32_t count;

        colo_wire_put_blocks(bytes, blocks, counts[i]);
        g_assert_cmpuint(bytes->len, <=,
                         colo_wire_max_length(COLO_MSG_STATE));
        assert_wire(colo_wire_get_blocks(bytes->data, bytes->len, &back,
                                         &count), COLO_WIRE_OK);
        g_assert_cmpuint(count, ==, counts[i]);
        assert_same_blocks(back, blocks, count);
    }
}

static void test_blocks_bytes(void)
{
    static const uint8_t expected[] = {
        0, 0, 0, 1, 6, 'p', 'c', '.', 'r', 'a', 'm',
        0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0x10, 0,
    };
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    const ColoBlockInfo b = block("pc.ram", 256 << 20, 4096);

    colo_wire_put_blocks(bytes, &b, 1);
    g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
    assert_exact_size(decode_blocks, bytes);
}

static void test_block_values(void)
{
    static const struct {
        const char *name;
        uint64_t used_bytes;
        uint32_t page_bytes;
        ColoWireError error;
    } cases[] = {
        { "vga.vram", 0, 4096, COLO_WIRE_OK },
        { "vga.vram", 16 << 20, 4096, COLO_WIRE_OK },
        { "\xc3\xa9", 4096, 4096, COLO_WIRE_OK },
        { "a", COLO_PAGE_MIN_BYTES, COLO_PAGE_MIN_BYTES, COLO_WIRE_OK },
        { "a", COLO_PAGE_MAX_BYTES, COLO_PAGE_MAX_BYTES, COLO_WIRE_OK },
        { "a", COLO_BLOCK_MAX_BYTES, 4096, COLO_WIRE_OK },
        { "a", COLO_BLOCK_MAX_BYTES + 4096, 4096, COLO_WIRE_BAD_VALUE },
        { "a", UINT64_MAX - 4095, 4096, COLO_WIRE_BAD_VALUE },
        { "a", 4097, 4096, COLO_WIRE_BAD_VALUE },
        { "a", 4095, 4096, COLO_WIRE_BAD_VALUE },
        { "a", 0, 0, COLO_WIRE_BAD_VALUE },
        { "a", 0, COLO_PAGE_MIN_BYTES / 2, COLO_WIRE_BAD_VALUE },
        { "a", 0, COLO_PAGE_MAX_BYTES * 2, COLO_WIRE_BAD_VALUE },
        { "a", 0, 4096 + 1024, COLO_WIRE_BAD_VALUE },
        { "a", 0, UINT32_MAX, COLO_WIRE_BAD_VALUE },
        { "", 4096, 4096, COLO_WIRE_BAD_STRING },
        { "a\nb", 4096, 4096, COLO_WIRE_BAD_STRING },
        { "a\x7f", 4096, 4096, COLO_WIRE_BAD_STRING },
        { "\xc3", 4096, 4096, COLO_WIRE_BAD_STRING },
        { "\xff", 4096, 4096, COLO_WIRE_BAD_STRING },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        ColoBlockInfo b = block(cases[i].name, cases[i].used_bytes,
                                cases[i].page_bytes);

        colo_wire_put_blocks(bytes, &b, 1);
        assert_wire(decode_copy(decode_blocks, bytes->data, bytes->len),
                    cases[i].error);
    }
}

static void test_block_pairs(void)
{
    const struct {
        ColoBlockInfo two[2];
        ColoWireError error;
    } cases[] = {
        { { block("a", 0, 4096), block("b", 0, 4096) }, COLO_WIRE_OK },
        { { block("a", 0, 4096), block("aa", 0, 4096) }, COLO_WIRE_OK },
        { { block("a", 0, 4096), block("a", 0, 4096) }, COLO_WIRE_BAD_VALUE },
        { { block("a", 0, 4096), block("b", 0, 8192) }, COLO_WIRE_BAD_VALUE },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();

        colo_wire_put_blocks(bytes, cases[i].two, 2);
        assert_wire(decode_copy(decode_blocks, bytes->data, bytes->len),
                    cases[i].error);
    }
}

/* A count is bounded before memory is taken for it. */
static void test_block_count(void)
{
    static const struct {
        uint32_t count;
        ColoWireError error;
    } cases[] = {
        { 0, COLO_WIRE_BAD_COUNT },
        { COLO_BLOCKS_MAX, COLO_WIRE_BAD_LENGTH },
        { COLO_BLOCKS_MAX + 1, COLO_WIRE_BAD_COUNT },
        { UINT32_MAX, COLO_WIRE_BAD_COUNT },
    };
    uint8_t bytes[4];
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        store_be(bytes, cases[i].count, 4);
        assert_wire(decode_copy(decode_blocks, bytes, sizeof(bytes)),
                    cases[i].error);
    }
}

static void test_nul_in_name(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    const ColoBlockInfo b = block("abc", 4096, 4096);

    colo_wire_put_blocks(bytes, &b, 1);
    bytes->data[4 + 1 + 1] = 0;
    assert_wire(decode_copy(decode_blocks, bytes->data, bytes->len),
                COLO_WIRE_BAD_STRING);
}

static void test_too_many_blocks_is_a_bug(void)
{
    if (g_test_subprocess()) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        g_autofree ColoBlockInfo *b = many_blocks(COLO_BLOCKS_MAX + 1);

        colo_wire_put_blocks(bytes, b, COLO_BLOCKS_MAX + 1);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*block_count <= COLO_BLOCKS_MAX*");
}

/* -------------------------------------------------------------- hello */

static ColoHello hello_example(ColoBlockInfo *blocks, uint32_t block_count)
{
    ColoHello h = {
        .min_version = 1, .max_version = 3, .features = 0x80000001,
        .build = "10.0.13 (Debian 1:10.0.13+ds-1)", .machine = "pc-q35-10.0",
        .blocks = blocks, .block_count = block_count,
    };
    unsigned i;

    for (i = 0; i < COLO_KEY_BYTES; i++) {
        h.key[i] = i * 7;
    }
    return h;
}

static void check_hello_round_trip(const ColoHello *h)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    ColoHello back;

    colo_wire_put_hello(bytes, h);
    g_assert_cmpuint(bytes->len, <=, colo_wire_max_length(COLO_MSG_HELLO));
    assert_wire(colo_wire_get_hello(bytes->data, bytes->len, &back),
                COLO_WIRE_OK);
    g_assert_cmpuint(back.min_version, ==, h->min_version);
    g_assert_cmpuint(back.max_version, ==, h->max_version);
    g_assert_cmphex(back.features, ==, h->features);
    g_assert_cmpmem(back.key, COLO_KEY_BYTES, h->key, COLO_KEY_BYTES);
    g_assert_cmpstr(back.build, ==, h->build);
    g_assert_cmpstr(back.machine, ==, h->machine);
    g_assert_cmpuint(back.block_count, ==, h->block_count);
    assert_same_blocks(back.blocks, h->blocks, h->block_count);
    colo_hello_clear(&back);
    g_assert_null(back.blocks);
    colo_hello_clear(&back);
}

static void test_hello_round_trip(void)
{
    static const uint32_t counts[] = { 0, 1, 5, COLO_BLOCKS_MAX };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(counts); i++) {
        g_autofree ColoBlockInfo *blocks = many_blocks(counts[i]);
        ColoHello h = hello_example(blocks, counts[i]);

        check_hello_round_trip(&h);
        h.build[0] = h.machine[0] = '\0';
        check_hello_round_trip(&h);
        memset(h.build, 'b', COLO_NAME_MAX_BYTES);
        memset(h.machine, 'm', COLO_NAME_MAX_BYTES);
        h.build[COLO_NAME_MAX_BYTES] = h.machine[COLO_NAME_MAX_BYTES] = '\0';
        check_hello_round_trip(&h);
    }
}

/* The largest HELLO is as large as the bound says: the bound is tight. */
static void test_hello_max_length(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autofree ColoBlockInfo *blocks = many_blocks(COLO_BLOCKS_MAX);
    ColoHello h = hello_example(blocks, COLO_BLOCKS_MAX);

    memset(h.build, 'b', COLO_NAME_MAX_BYTES);
    memset(h.machine, 'm', COLO_NAME_MAX_BYTES);
    colo_wire_put_hello(bytes, &h);
    g_assert_cmpuint(bytes->len, ==, colo_wire_max_length(COLO_MSG_HELLO));
}

static void test_hello_sizes(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    ColoBlockInfo blocks[2] = { block("pc.ram", 8192, 4096),
                                block("pc.rom", 4096, 4096) };
    const ColoHello h = hello_example(blocks, 2);

    colo_wire_put_hello(bytes, &h);
    assert_exact_size(decode_hello, bytes);
}

static void test_hello_values(void)
{
    static const struct {
        unsigned at, bytes;
        uint64_t value;
        ColoWireError error;
    } cases[] = {
        { 0, 2, 0, COLO_WIRE_BAD_VALUE },
        { 0, 2, 3, COLO_WIRE_OK },
        { 0, 2, 4, COLO_WIRE_BAD_VALUE },
        { 2, 2, 0, COLO_WIRE_BAD_VALUE },
        { 2, 2, 0xffff, COLO_WIRE_OK },
        { 4, 4, UINT32_MAX, COLO_WIRE_OK },
        { KEY_AT, 8, 0, COLO_WIRE_OK },
        { BUILD_AT, 1, 255, COLO_WIRE_BAD_LENGTH },
        { BUILD_AT + 1, 1, 0, COLO_WIRE_BAD_STRING },
        { BUILD_AT + 1, 1, 0x1b, COLO_WIRE_BAD_STRING },
        { BUILD_AT + 1, 1, 0x80, COLO_WIRE_BAD_STRING },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        const ColoHello h = hello_example(NULL, 0);

        colo_wire_put_hello(bytes, &h);
        store_be(bytes->data + cases[i].at, cases[i].value, cases[i].bytes);
        assert_wire(decode_copy(decode_hello, bytes->data, bytes->len),
                    cases[i].error);
    }
}

static void test_negotiate(void)
{
    static const struct {
        uint16_t our_min, our_max, their_min, their_max;
        uint32_t ours, theirs;
        bool agreed;
        uint16_t version;
        uint32_t features;
    } cases[] = {
        { 1, 1, 1, 1, 1, 1, true, 1, 1 },
        { 1, 1, 1, 5, 1, 0, true, 1, 0 },
        { 1, 5, 1, 1, 0, 1, true, 1, 0 },
        { 2, 4, 3, 9, 7, 0xe, true, 4, 6 },
        { 3, 9, 2, 4, 7, 0xe, true, 4, 6 },
        { 1, 1, 2, 2, 1, 1, false, 0, 0 },
        { 2, 2, 1, 1, 1, 1, false, 0, 0 },
        { 1, 0xffff, 0xffff, 0xffff, 1, 1, true, 0xffff, 1 },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        const ColoHello a = { .min_version = cases[i].our_min,
                              .max_version = cases[i].our_max,
                              .features = cases[i].ours };
        const ColoHello b = { .min_version = cases[i].their_min,
                              .max_version = cases[i].their_max,
                              .features = cases[i].theirs };
        uint16_t version = 0;
        uint32_t features = 0;

        g_assert_cmpint(colo_wire_negotiate(&a, &b, &version, &features), ==,
                        cases[i].agreed);
        g_assert_cmpuint(version, ==, cases[i].version);
        g_assert_cmphex(features, ==, cases[i].features);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wire/blocks/round-trip", test_blocks_round_trip);
    g_test_add_func("/wire/blocks/bytes", test_blocks_bytes);
    g_test_add_func("/wire/blocks/values", test_block_values);
    g_test_add_func("/wire/blocks/pairs", test_block_pairs);
    g_test_add_func("/wire/blocks/count", test_block_count);
    g_test_add_func("/wire/blocks/nul", test_nul_in_name);
    g_test_add_func("/wire/blocks/bug", test_too_many_blocks_is_a_bug);
    g_test_add_func("/wire/hello/round-trip", test_hello_round_trip);
    g_test_add_func("/wire/hello/max-length", test_hello_max_length);
    g_test_add_func("/wire/hello/sizes", test_hello_sizes);
    g_test_add_func("/wire/hello/values", test_hello_values);
    g_test_add_func("/wire/hello/negotiate", test_negotiate);
    return g_test_run();
}
