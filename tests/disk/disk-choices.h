/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Choices of a world: from a seed, written down if wanted, or from bytes.
 * What was written down makes the same choices when read.
 */
#ifndef COLO_DISK_CHOICES_H
#define COLO_DISK_CHOICES_H

#include "disk-world.h"

typedef struct SeededChoices {
    Choices choices;
    uint64_t state;
    GByteArray *record;        /* NULL: not written down */
} SeededChoices;

typedef struct ByteChoices {
    Choices choices;
    const uint8_t *at;
    size_t left;               /* 0: every further choice is 0 */
} ByteChoices;

void seeded_choices_init(SeededChoices *s, uint64_t seed, GByteArray *record);
void byte_choices_init(ByteChoices *b, const uint8_t *in, size_t size);

#endif
