/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page hashes: same on both sides, different for each bit and each key;
 * the running checksum does not depend on how the bytes are cut.
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
    g_test_add_func("/checksum/value", test_checksum_value);
    g_test_add_func("/checksum/cuts", test_checksum_cuts);
    return g_test_run();
}
