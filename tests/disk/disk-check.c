/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The look at everything at once.
 */
#include <string.h>
#include "disk-world-int.h"

/*
 * Grains are looked at in words: this is what takes most time in a world. Of
 * each byte of a word, its lowest bit.
 */
#define LOWEST 0x0101010101010101ull

static uint64_t word_at(const uint8_t *bytes, uint32_t i)
{
    uint64_t word;

    memcpy(&word, bytes + i, sizeof(word));
    return word;
}

/* Which grains from @i on are covered. */
static uint64_t covered_at(const Epoch *e, uint32_t i)
{
    uint64_t by = word_at(e->covered, i);

    return (by | by >> 1 | by >> 2) & LOWEST;
}

typedef struct Told {
    uint8_t marks[COVERED_BYTES];
    uint32_t grain, count;
} Told;

/* Runs may overlap; what no epoch covers, no run has. */
static void mark_run(uint64_t offset, uint64_t size, void *opaque)
{
    Told *told = opaque;

    g_assert(offset + size <= (uint64_t)told->grain * told->count);
    memset(told->marks + offset / told->grain, 1, size / told->grain);
}

static void check_runs(DiskWorld *w)
{
    Told told = { .grain = w->grain, .count = grains(w) };
    uint64_t wrong = 0;
    uint32_t e, i;

    core_foreach(w, mark_run, &told);
    for (i = 0; i < told.count; i += sizeof(uint64_t)) {
        uint64_t covered = 0;

        for (e = 0; e < w->epoch_count; e++) {
            covered |= covered_at(&w->epochs[e], i);
        }
        wrong |= word_at(told.marks, i) ^ covered;
    }
    world_must(w, wrong == 0, "runs");
}

static uint32_t count_by(const DiskWorld *w, const Epoch *e, uint8_t by)
{
    uint32_t count = 0, i;

    for (i = 0; i < grains(w); i += sizeof(uint64_t)) {
        uint64_t is_by = (word_at(e->covered, i) & LOWEST * by) / by;

        /* the highest byte of the product is the sum of all bytes */
        count += is_by * LOWEST >> 56;
    }
    return count;
}

bool epoch_covers(const DiskWorld *w, const Epoch *e)
{
    return count_by(w, e, BY_OWN) + count_by(w, e, BY_UNDO) > 0;
}

static void expected_counts(DiskWorld *w, ColoDiskCounts *c)
{
    uint32_t e, i;

    memset(c, 0, sizeof(*c));
    for (e = 0; e < w->epoch_count; e++) {
        const Epoch *epoch = &w->epochs[e];

        c->own += (uint64_t)count_by(w, epoch, BY_OWN) * w->grain;
        c->undo += (uint64_t)count_by(w, epoch, BY_UNDO) * w->grain;
        for (i = 0; i < epoch->chunks->len; i++) {
            const Known *k = &g_array_index(epoch->chunks, Known, i);

            *(k->spilled ? &c->spilled : &c->memory) += CHUNK;
            if (k->spilled) {
                c->spill_end = MAX(c->spill_end, (k->slot + 1) * CHUNK);
            }
        }
    }
    c->merge_left = w->stage == COLO_DISK_MERGING ? c->own + c->undo : 0;
}

static void check_counts(DiskWorld *w)
{
    ColoDiskCounts c, expected;

    core_counts(w, &c);
    expected_counts(w, &expected);
    world_must(w, c.own == expected.own && c.undo == expected.undo &&
                  c.memory == expected.memory &&
                  c.spilled == expected.spilled &&
                  c.merge_left == expected.merge_left &&
                  c.spill_end >= expected.spill_end &&
                  (c.spilled > 0 || c.spill_end == 0), "counts");
}

void world_check(DiskWorld *w)
{
    world_must(w, memcmp(w->parent, w->image, grains(w) * sizeof(Cell)) == 0,
               "parent");
    world_read(w, 0, w->bytes);
    world_must(w, colo_disk_stage(w->disk) == w->stage, "stage");
    if (!w->failed) {
        check_counts(w);
        check_runs(w);
    }
}
