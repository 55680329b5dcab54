/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Choices of a world: from a seed, written down if wanted, or from bytes.
 */
#include "disk-choices.h"

/* Bytes that a choice of @n takes, the highest first. */
static unsigned bytes_of(uint32_t n)
{
    return n <= 1u << 8 ? 1 : n <= 1u << 16 ? 2 : 3;
}

static uint32_t seeded_below(Choices *c, uint32_t n)
{
    SeededChoices *s = (SeededChoices *)c;
    uint32_t value;

    g_assert(n > 0 && n <= 1u << 24);
    s->state ^= s->state >> 12;
    s->state ^= s->state << 25;
    s->state ^= s->state >> 27;
    value = (s->state * 0x2545f4914f6cdd1dull >> 32) % n;
    if (s->record) {
        unsigned i = bytes_of(n);

        while (i-- > 0) {
            const uint8_t byte = value >> 8 * i;

            g_byte_array_append(s->record, &byte, 1);
        }
    }
    return value;
}

void seeded_choices_init(SeededChoices *s, uint64_t seed, GByteArray *record)
{
    *s = (SeededChoices) {
        .choices.below = seeded_below,
        /* neighbouring seeds far apart, and never 0 */
        .state = (seed + 1) * 0x9e3779b97f4a7c15ull | 1,
        .record = record,
    };
}

static uint32_t byte_below(Choices *c, uint32_t n)
{
    ByteChoices *b = (ByteChoices *)c;
    uint32_t value = 0;
    unsigned i;

    g_assert(n > 0 && n <= 1u << 24);
    for (i = bytes_of(n); i > 0 && b->left > 0; i--) {
        value = value << 8 | *b->at++;
        b->left--;
    }
    return value % n;
}

void byte_choices_init(ByteChoices *b, const uint8_t *in, size_t size)
{
    *b = (ByteChoices) {
        .choices.below = byte_below, .at = in, .left = size,
    };
}
