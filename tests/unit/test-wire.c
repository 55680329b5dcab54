/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame header: bytes as documented, round trips, every error by name.
 */
#include <xxhash.h>
#include "wire-test.h"

static const ColoFrame frame_of_hello = {
    .version = 1, .type = COLO_MSG_HELLO, .length = 64,
};

/* A header with one field replaced and the check made right again. */
static void header_with(uint8_t *out, unsigned at, uint64_t value,
                        unsigned bytes)
{
    colo_wire_put_header(out, &frame_of_hello);
    store_be(out + at, value, bytes);
    store_be(out + 28, XXH32(out, 28, COLO_WIRE_MAGIC), 4);
}

static void test_header_bytes(void)
{
    static const uint8_t expected[28] = {
        'C', 'O', 'L', 'O', 0, 1, 0, 6,
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
        0xa1, 0xa2, 0xa3, 0xa4, 0, 0, 0, 1, 0, 0, 0x10, 0,
    };
    const ColoFrame f = {
        .version = 1, .type = COLO_MSG_DIRTY, .epoch = 0x0102030405060708ull,
        .sequence = 0xa1a2a3a4, .flags = COLO_DIRTY_HAS_HASHES,
        .length = 0x1000,
    };
    uint8_t out[COLO_WIRE_HEADER_BYTES], check[4];

    colo_wire_put_header(out, &f);
    g_assert_cmpmem(out, 28, expected, 28);
    store_be(check, XXH32(expected, 28, 0x434f4c4f), 4);
    g_assert_cmpmem(out + 28, 4, check, 4);
}

static const struct {
    const char *name;
    uint32_t flags;
    uint32_t max_length;
} known[COLO_MSG__MAX] = {
    [COLO_MSG_HELLO] = { "HELLO", 0, 274988 },
    [COLO_MSG_READY] = { "READY", 0, 274988 },
    [COLO_MSG_REFUSE] = { "REFUSE", 0, 1029 },
    [COLO_MSG_START] = { "START", 0, 4 },
    [COLO_MSG_REQUEST] = { "REQUEST", 3, 4 },
    [COLO_MSG_DIRTY] = { "DIRTY", 1, 589828 },
    [COLO_MSG_REPLY] = { "REPLY", 0, 12 },
    [COLO_MSG_STATE] = { "STATE", 1, 274436 },
    [COLO_MSG_PAGES] = { "PAGES", 0, 33562628 },
    [COLO_MSG_DEVICE] = { "DEVICE", 0, 4194304 },
    [COLO_MSG_END] = { "END", 0, 28 },
    [COLO_MSG_RECEIVED] = { "RECEIVED", 0, 0 },
    [COLO_MSG_LOADED] = { "LOADED", 0, 0 },
    [COLO_MSG_FAILED] = { "FAILED", 0, 1029 },
    [COLO_MSG_PING] = { "PING", 0, 0 },
    [COLO_MSG_PONG] = { "PONG", 0, 0 },
    [COLO_MSG_GOODBYE] = { "GOODBYE", 0, 1029 },
    [COLO_MSG_OFFER] = { "OFFER", 0, 44 },
    [COLO_MSG_ANSWER] = { "ANSWER", 0, 12 },
};

static void assert_same_frame(const ColoFrame *a, const ColoFrame *b)
{
    g_assert_cmpuint(a->version, ==, b->version);
    g_assert_cmpint(a->type, ==, b->type);
    g_assert_cmpuint(a->epoch, ==, b->epoch);
    g_assert_cmpuint(a->sequence, ==, b->sequence);
    g_assert_cmphex(a->flags, ==, b->flags);
    g_assert_cmpuint(a->length, ==, b->length);
}

static void test_header_round_trip(void)
{
    static const uint64_t epochs[] = { 0, 1, UINT32_MAX, UINT64_MAX };
    unsigned t, e;

    for (t = COLO_MSG_HELLO; t < COLO_MSG__MAX; t++) {
        for (e = 0; e < G_N_ELEMENTS(epochs); e++) {
            const ColoFrame f = { 1, t, epochs[e], UINT32_MAX - e,
                                  known[t].flags, known[t].max_length };
            uint8_t bytes[COLO_WIRE_HEADER_BYTES];
            ColoFrame back;

            colo_wire_put_header(bytes, &f);
            assert_wire(colo_wire_get_header(bytes, &back), COLO_WIRE_OK);
            assert_same_frame(&f, &back);
        }
    }
}

static void test_bounds_by_type(void)
{
    unsigned t, bit;

    for (t = COLO_MSG_HELLO; t < COLO_MSG__MAX; t++) {
        uint8_t bytes[COLO_WIRE_HEADER_BYTES];
        ColoFrame f = { .version = 1, .type = t }, back;

        g_assert_cmpstr(colo_msg_name(t), ==, known[t].name);
        g_assert_cmpuint(colo_wire_max_length(t), ==, known[t].max_length);
        f.length = known[t].max_length + 1;
        colo_wire_put_header(bytes, &f);
        assert_wire(colo_wire_get_header(bytes, &back), COLO_WIRE_BAD_LENGTH);
        f.length = 0;
        for (bit = 0; bit < 32; bit++) {
            f.flags = 1u << bit;
            colo_wire_put_header(bytes, &f);
            assert_wire(colo_wire_get_header(bytes, &back),
                        f.flags & known[t].flags ? COLO_WIRE_OK
                                                 : COLO_WIRE_BAD_FLAGS);
        }
    }
    g_assert_cmpuint(colo_wire_max_length(COLO_MSG_INVALID), ==, 0);
    g_assert_cmpuint(colo_wire_max_length(COLO_MSG__MAX), ==, 0);
    g_assert_cmpstr(colo_msg_name(COLO_MSG_INVALID), ==, "INVALID");
    g_assert_cmpstr(colo_msg_name(COLO_MSG__MAX), ==, "INVALID");
    g_assert_cmpstr(colo_msg_name((ColoMsgType)-1), ==, "INVALID");
}

static void test_header_errors(void)
{
    static const struct {
        unsigned at, bytes;
        uint64_t value;
        ColoWireError error;
    } cases[] = {
        { 0, 4, COLO_WIRE_MAGIC, COLO_WIRE_OK },
        { 0, 4, 0, COLO_WIRE_BAD_MAGIC },
        { 0, 4, 0x4f4c4f43, COLO_WIRE_BAD_MAGIC },
        { 4, 2, 0, COLO_WIRE_BAD_VERSION },
        { 4, 2, 2, COLO_WIRE_BAD_VERSION },
        { 4, 2, 0xffff, COLO_WIRE_BAD_VERSION },
        { 6, 2, COLO_MSG_INVALID, COLO_WIRE_BAD_TYPE },
        { 6, 2, COLO_MSG__MAX, COLO_WIRE_BAD_TYPE },
        { 6, 2, 0xffff, COLO_WIRE_BAD_TYPE },
        { 20, 4, 1, COLO_WIRE_BAD_FLAGS },
        { 20, 4, 1u << 31, COLO_WIRE_BAD_FLAGS },
        { 24, 4, 274988, COLO_WIRE_OK },
        { 24, 4, 274989, COLO_WIRE_BAD_LENGTH },
        { 24, 4, UINT32_MAX, COLO_WIRE_BAD_LENGTH },
    };
    uint8_t bytes[COLO_WIRE_HEADER_BYTES];
    ColoFrame f;
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        header_with(bytes, cases[i].at, cases[i].value, cases[i].bytes);
        assert_wire(colo_wire_get_header(bytes, &f), cases[i].error);
    }
}

/* A peer of another version can be named, whatever else it means. */
static void test_other_version_is_told(void)
{
    uint8_t bytes[COLO_WIRE_HEADER_BYTES];
    const ColoFrame f = { 7, 999, 3, 4, 0xff, UINT32_MAX };
    ColoFrame back;

    colo_wire_put_header(bytes, &f);
    assert_wire(colo_wire_get_header(bytes, &back), COLO_WIRE_BAD_VERSION);
    assert_same_frame(&f, &back);
}

static void test_damage_is_noticed(void)
{
    uint8_t bytes[COLO_WIRE_HEADER_BYTES];
    ColoFrame f;
    unsigned bit;

    for (bit = 0; bit < 8 * COLO_WIRE_HEADER_BYTES; bit++) {
        colo_wire_put_header(bytes, &frame_of_hello);
        bytes[bit / 8] ^= 1 << bit % 8;
        assert_wire(colo_wire_get_header(bytes, &f),
                    bit < 32 ? COLO_WIRE_BAD_MAGIC : COLO_WIRE_BAD_CHECK);
        g_assert_cmpint(f.type, ==, COLO_MSG_INVALID);
    }
}

static void test_error_names(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    int e;

    for (e = COLO_WIRE_OK; e <= COLO_WIRE_TRAILING; e++) {
        g_assert_true(g_hash_table_add(seen, (void *)colo_wire_strerror(e)));
    }
    g_assert_true(g_hash_table_add(seen, (void *)colo_wire_strerror(e)));
    g_assert_cmpstr(colo_wire_strerror(e), ==, "unknown error");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wire/header/bytes", test_header_bytes);
    g_test_add_func("/wire/header/round-trip", test_header_round_trip);
    g_test_add_func("/wire/header/bounds", test_bounds_by_type);
    g_test_add_func("/wire/header/errors", test_header_errors);
    g_test_add_func("/wire/header/version", test_other_version_is_told);
    g_test_add_func("/wire/header/damage", test_damage_is_noticed);
    g_test_add_func("/wire/error-names", test_error_names);
    return g_test_run();
}
