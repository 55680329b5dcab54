/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page hashes: same on both sides, different for each bit and each key;
 * neither the hash of pieces nor the running checksum depends on how the
 * bytes are cut.
 */
#include <string.h>
#include <xxhash.h>
#include "colo/pages.h"

static ColoHashKey key_of(uint8_t fill)
{
    uint8_t key[COLO_KEY_BYTES];
    ColoHashKey k;

    memset(key, fill, sizeof(key));
    colo_hash_key_init(&k, key);
    return k;
}

/* Written down once: both ends of any two hosts must get these. */
static void test_known_values(void)
{
    static const uint8_t secret_head[16] = {
        0xd5, 0xb6, 0xcb, 0xbf, 0x2b, 0xf5, 0x1a, 0xeb,
        0x8b, 0xbc, 0x78, 0x29, 0xf5, 0x14, 0x87, 0x69,
    };
    static const uint8_t page_hash[COLO_HASH_BYTES] = {
        0x52, 0x92, 0xa4, 0x1f, 0xc6, 0xc7, 0xd9, 0xce,
        0x25, 0x42, 0x9e, 0x54, 0xdf, 0xdf, 0xe2, 0x9a,
    };
    const ColoHashKey k = key_of(7);
    uint8_t page[4096], hash[COLO_HASH_BYTES];

    memset(page, 0x5a, sizeof(page));
    colo_page_hash(&k, page, sizeof(page), hash);
    g_assert_cmpmem(k.secret, 16, secret_head, 16);
    g_assert_cmpmem(hash, sizeof(hash), page_hash, sizeof(page_hash));
}

static void test_secret(void)
{
    const ColoHashKey a = key_of(0), b = key_of(0), c = key_of(1);
    unsigned i, j;

    g_assert_cmpmem(a.secret, sizeof(a.secret), b.secret, sizeof(b.secret));
    for (i = 0; i < sizeof(a.secret); i += 16) {
        g_assert_true(memcmp(a.secret + i, c.secret + i, 16) != 0);
        for (j = 0; j < i; j += 16) {
            g_assert_true(memcmp(a.secret + i, a.secret + j, 16) != 0);
        }
    }
}

/* Each bit of the session key matters. */
static void test_key_bits(void)
{
    uint8_t key[COLO_KEY_BYTES] = { 0 };
    static const uint8_t page[1024];
    uint8_t plain[COLO_HASH_BYTES], other[COLO_HASH_BYTES];
    ColoHashKey k;
    unsigned bit;

    colo_hash_key_init(&k, key);
    colo_page_hash(&k, page, sizeof(page), plain);
    for (bit = 0; bit < 8 * COLO_KEY_BYTES; bit++) {
        key[bit / 8] ^= 1 << bit % 8;
        colo_hash_key_init(&k, key);
        colo_page_hash(&k, page, sizeof(page), other);
        g_assert_true(memcmp(plain, other, sizeof(plain)) != 0);
        key[bit / 8] ^= 1 << bit % 8;
    }
}

/* Each bit of a page matters, whatever its size and alignment. */
static void test_page_bits(void)
{
    static const size_t sizes[] = { 1024, 4096, 65536 };
    const ColoHashKey k = key_of(3);
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree uint8_t *page = g_malloc0(sizes[i] + 1);
        uint8_t plain[COLO_HASH_BYTES], other[COLO_HASH_BYTES];
        size_t at;

        colo_page_hash(&k, page, sizes[i], plain);
        colo_page_hash(&k, page + 1, sizes[i], other);
        g_assert_cmpmem(plain, sizeof(plain), other, sizeof(other));
        for (at = 0; at < sizes[i]; at += at < sizes[i] - 64 ? 61 : 1) {
            page[at] = 1 << at % 8;
            colo_page_hash(&k, page, sizes[i], other);
            g_assert_true(memcmp(plain, other, sizeof(plain)) != 0);
            page[at] = 0;
        }
    }
}

/* -------------------------------------------------------------- pieces */

/* Of pieces up to @piece_max bytes; some are empty. */
static void hash_pieces(const ColoHashKey *k, const uint8_t *data, size_t size,
                        GRand *rand, int piece_max,
                        uint8_t out[COLO_HASH_BYTES])
{
    ColoPieceHash *h = colo_piece_hash_new(k);
    size_t at = 0;

    while (at < size) {
        size_t part = g_rand_int_range(rand, 0, piece_max + 1);

        part = MIN(part, size - at);
        colo_piece_hash_add(h, data + at, part);
        at += part;
    }
    colo_piece_hash_add(h, NULL, 0);
    colo_piece_hash_free(h, out);
}

static void test_pieces(void)
{
    static const int piece_max[] = { 1, 3, 64, 1000, 20000, 1 << 20 };
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);
    g_autofree uint8_t *data = g_malloc(1 << 17);
    const ColoHashKey k = key_of(9), other = key_of(10);
    unsigned round, i;

    for (i = 0; i < 1 << 17; i++) {
        data[i] = g_rand_int(rand);
    }
    for (round = 0; round < 520; round++) {
        uint8_t whole[COLO_HASH_BYTES], cut[COLO_HASH_BYTES];
        size_t size = round;

        if (round >= 500) {
            size = g_rand_int_range(rand, 1, 1 << 17);
        }
        colo_page_hash(&k, data, size, whole);
        for (i = 0; i < G_N_ELEMENTS(piece_max); i++) {
            hash_pieces(&k, data, size, rand, piece_max[i], cut);
            g_assert_cmpmem(cut, sizeof(cut), whole, sizeof(whole));
        }
        hash_pieces(&other, data, size, rand, 1000, cut);
        g_assert_true(memcmp(cut, whole, sizeof(cut)) != 0);
    }
}

/* Two at a time: neither sees what the other is given. */
static void test_pieces_together(void)
{
    static const uint8_t data[3000] = { [0] = 1, [2999] = 2 };
    const ColoHashKey k = key_of(1);
    ColoPieceHash *a = colo_piece_hash_new(&k), *b = colo_piece_hash_new(&k);
    uint8_t hash[COLO_HASH_BYTES], expected[COLO_HASH_BYTES];

    colo_piece_hash_add(a, data, 1000);
    colo_piece_hash_add(b, data + 2000, 1000);
    colo_piece_hash_add(a, data + 1000, 1000);
    colo_piece_hash_free(b, hash);
    colo_page_hash(&k, data + 2000, 1000, expected);
    g_assert_cmpmem(hash, sizeof(hash), expected, sizeof(expected));
    colo_piece_hash_free(a, hash);
    colo_page_hash(&k, data, 2000, expected);
    g_assert_cmpmem(hash, sizeof(hash), expected, sizeof(expected));
}

/* ------------------------------------------------------------ checksum */

static void test_checksum_value(void)
{
    g_autoptr(ColoChecksum) c = colo_checksum_new();
    static uint8_t data[10000];
    size_t i;

    g_assert_cmphex(colo_checksum_value(c), ==, XXH3_64bits("", 0));
    for (i = 0; i < sizeof(data); i++) {
        data[i] = i * 31 >> 3;
    }
    colo_checksum_add(c, data, sizeof(data));
    g_assert_cmphex(colo_checksum_value(c), ==,
                    XXH3_64bits(data, sizeof(data)));
    g_assert_cmphex(colo_checksum_value(c), ==,
                    XXH3_64bits(data, sizeof(data)));
    colo_checksum_reset(c);
    g_assert_cmphex(colo_checksum_value(c), ==, XXH3_64bits("", 0));
    colo_checksum_free(NULL);
}

static void test_checksum_cuts(void)
{
    g_autoptr(ColoChecksum) c = colo_checksum_new();
    g_autoptr(GRand) rand = g_rand_new_with_seed(4);
    static uint8_t data[5000];
    unsigned round;

    for (round = 0; round < 200; round++) {
        size_t at = 0;

        data[round] ^= 0x11;
        colo_checksum_reset(c);
        while (at < sizeof(data)) {
            size_t part = g_rand_int_range(rand, 0, 700);

            part = MIN(part, sizeof(data) - at);
            colo_checksum_add(c, data + at, part);
            colo_checksum_add(c, NULL, 0);
            at += part;
        }
        g_assert_cmphex(colo_checksum_value(c), ==,
                        XXH3_64bits(data, sizeof(data)));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hash/known-values", test_known_values);
    g_test_add_func("/hash/secret", test_secret);
    g_test_add_func("/hash/key-bits", test_key_bits);
    g_test_add_func("/hash/page-bits", test_page_bits);
    g_test_add_func("/hash/pieces", test_pieces);
    g_test_add_func("/hash/pieces-together", test_pieces_together);
    g_test_add_func("/checksum/value", test_checksum_value);
    g_test_add_func("/checksum/cuts", test_checksum_cuts);
    return g_test_run();
}
