/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: keyed page hashes, and the running checksum of a checkpoint.
 *
 * Two pages with equal hashes are taken to be equal and are not sent, so a
 * guest must not be able to make two that collide. XXH3 alone is no
 * protection; the secret that both ends derive from the random key of the
 * session is what a guest cannot know. All values are in canonical
 * (big-endian) form and mean the same on every host.
 */
#include <string.h>
#include <xxhash.h>
#include "colo/pages.h"

void colo_hash_key_init(ColoHashKey *k, const uint8_t key[COLO_KEY_BYTES])
{
    uint8_t input[COLO_KEY_BYTES + 1];
    XXH128_canonical_t part;
    size_t at;

    /* Not XXH3_generateSecret(): the stable interface lacks it. */
    G_STATIC_ASSERT(sizeof(k->secret) % sizeof(part.digest) == 0);
    memcpy(input, key, COLO_KEY_BYTES);
    for (at = 0; at < sizeof(k->secret); at += sizeof(part.digest)) {
        input[COLO_KEY_BYTES] = at / sizeof(part.digest);
        XXH128_canonicalFromHash(&part, XXH3_128bits(input, sizeof(input)));
        memcpy(k->secret + at, part.digest, sizeof(part.digest));
    }
}

static void put_hash(XXH128_hash_t hash, uint8_t out[COLO_HASH_BYTES])
{
    XXH128_canonical_t value;

    G_STATIC_ASSERT(sizeof(value.digest) == COLO_HASH_BYTES);
    XXH128_canonicalFromHash(&value, hash);
    memcpy(out, value.digest, COLO_HASH_BYTES);
}

void colo_page_hash(const ColoHashKey *k, const void *page, size_t size,
                    uint8_t out[COLO_HASH_BYTES])
{
    put_hash(XXH3_128bits_withSecret(page, size, k->secret,
                                     sizeof(k->secret)), out);
}

struct ColoPieceHash {
    XXH3_state_t *state;
};

/* @k is read until the end. */
ColoPieceHash *colo_piece_hash_new(const ColoHashKey *k)
{
    ColoPieceHash *h = g_new(ColoPieceHash, 1);

    h->state = XXH3_createState();
    g_assert(h->state);
    XXH3_128bits_reset_withSecret(h->state, k->secret, sizeof(k->secret));
    return h;
}

void colo_piece_hash_add(ColoPieceHash *h, const void *data, size_t size)
{
    if (size > 0) {
        XXH3_128bits_update(h->state, data, size);
    }
}

void colo_piece_hash_free(ColoPieceHash *h, uint8_t out[COLO_HASH_BYTES])
{
    put_hash(XXH3_128bits_digest(h->state), out);
    XXH3_freeState(h->state);
    g_free(h);
}

/* ------------------------------------------------------------ checksum */

struct ColoChecksum {
    XXH3_state_t *state;
};

ColoChecksum *colo_checksum_new(void)
{
    ColoChecksum *c = g_new(ColoChecksum, 1);

    c->state = XXH3_createState();
    g_assert(c->state);
    colo_checksum_reset(c);
    return c;
}

void colo_checksum_reset(ColoChecksum *c)
{
    XXH3_64bits_reset(c->state);
}

void colo_checksum_add(ColoChecksum *c, const void *data, size_t size)
{
    /* the library calls "nothing" an error when it is NULL */
    if (size > 0) {
        XXH3_64bits_update(c->state, data, size);
    }
}

uint64_t colo_checksum_value(const ColoChecksum *c)
{
    return XXH3_64bits_digest(c->state);
}

void colo_checksum_free(ColoChecksum *c)
{
    if (c) {
        XXH3_freeState(c->state);
        g_free(c);
    }
}
