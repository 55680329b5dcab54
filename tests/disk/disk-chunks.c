/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store of the world: memory and a spill file as the core distributes
 * them, and what the oracle knows of each chunk. Room is filled with junk when
 * it is given away and when it is dropped, so that a read of either is seen.
 */
#include <string.h>
#include "disk-world-int.h"

enum { JUNK_NEW = 0xa5, JUNK_DROPPED = 0x5a };

static Known *known_of(const Epoch *e, uint64_t number)
{
    guint i;

    /* most requests are for the newest */
    for (i = e->chunks->len; i > 0; i--) {
        Known *k = &g_array_index(e->chunks, Known, i - 1);

        if (k->number == number) {
            return k;
        }
    }
    return NULL;
}

static Known *find_known(DiskWorld *w, uint64_t number)
{
    Known *k = NULL;
    unsigned i;

    for (i = 0; i < w->epoch_count && !k; i++) {
        k = known_of(&w->epochs[i], number);
    }
    return k;
}

static bool is_slot_used(DiskWorld *w, uint64_t slot)
{
    unsigned e;
    guint i;

    for (e = 0; e < w->epoch_count; e++) {
        const GArray *chunks = w->epochs[e].chunks;

        for (i = 0; i < chunks->len; i++) {
            const Known *k = &g_array_index(chunks, Known, i);

            if (k->spilled && k->slot == slot) {
                return true;
            }
        }
    }
    return false;
}

static uint64_t memory_chunks(DiskWorld *w)
{
    uint64_t count = 0;
    unsigned e;
    guint i;

    for (e = 0; e < w->epoch_count; e++) {
        const GArray *chunks = w->epochs[e].chunks;

        for (i = 0; i < chunks->len; i++) {
            count += !g_array_index(chunks, Known, i).spilled;
        }
    }
    return count;
}

static uint8_t *slot_bytes(DiskWorld *w, uint64_t slot)
{
    while (w->slots->len <= slot) {
        g_ptr_array_add(w->slots, g_malloc(CHUNK));
    }
    return w->slots->pdata[slot];
}

static void check_slot(DiskWorld *w, uint64_t slot)
{
    ColoDiskCounts counts;
    uint64_t lower;

    world_must(w, !is_slot_used(w, slot), "slots");
    for (lower = 0; lower < slot && !w->failed; lower++) {
        world_must(w, is_slot_used(w, lower), "slots");
    }
    colo_disk_counts(w->disk, &counts);
    world_must(w, counts.spill_end / CHUNK > slot, "slots");
}

/* A chunk that was not there before. */
static void add_known(DiskWorld *w, uint64_t number)
{
    ColoDiskChunk c = core_chunk(w, number * CHUNK);
    GArray *chunks = newest_epoch(w)->chunks;
    Known k = { .number = number, .slot = c.slot, .spilled = c.spilled };
    bool is_full = memory_chunks(w) >= w->memory_max;

    if (chunks->len > 0) {
        world_must(w, g_array_index(chunks, Known, chunks->len - 1).used ==
                      CHUNK, "fill");
    }
    world_must(w, c.spilled == is_full, "memory");
    world_must(w, c.data == NULL, "chunk");
    if (c.spilled) {
        check_slot(w, c.slot);
        k.bytes = slot_bytes(w, c.slot);
        w->count->spilled++;
    } else {
        k.bytes = g_malloc(CHUNK);
        colo_disk_chunk(w->disk, number * CHUNK)->data = k.bytes;
    }
    g_array_append_val(chunks, k);
}

/*
 * Room is new when nothing covers the bytes; it must not have been anybody's
 * before. Otherwise it is that of the undo.
 */
void world_note(DiskWorld *w, const ColoPiece *p, bool is_fresh)
{
    uint32_t from = p->where % CHUNK;
    Known *k = find_known(w, p->where / CHUNK);

    world_must(w, from + p->size <= CHUNK, "piece");
    if (!k) {
        add_known(w, p->where / CHUNK);
        k = find_known(w, p->where / CHUNK);
    }
    if (is_fresh) {
        world_must(w, from == k->used, "fill");
        k->used = from + p->size;
        /* no more than what the disk could read back */
        memset(k->bytes + from, JUNK_NEW, MIN(p->size, w->bytes));
    } else {
        world_must(w, from + p->size <= k->used, "place");
    }
}

uint8_t *world_place(DiskWorld *w, uint64_t where, uint64_t size)
{
    const Known *k = find_known(w, where / CHUNK);
    ColoDiskChunk c = core_chunk(w, where);

    world_must(w, where % CHUNK + size <= CHUNK, "piece");
    world_must(w, k && k->spilled == c.spilled, "chunk");
    if (w->failed) {
        return NULL;
    }
    world_must(w, k->spilled ? k->slot == c.slot : k->bytes == c.data,
               "chunk");
    return k->bytes + where % CHUNK;
}

/* -------------------------------------------------------------- epochs */

void epoch_open(DiskWorld *w)
{
    Epoch *e = &w->epochs[w->epoch_count++];

    e->view = g_memdup2(w->image, w->bytes);
    e->covered = g_malloc0(grains(w));
    e->chunks = g_array_new(false, false, sizeof(Known));
}

static void epoch_free(Epoch *e)
{
    g_free(e->view);
    g_free(e->covered);
    g_array_unref(e->chunks);
}

void epoch_drop(DiskWorld *w)
{
    const GArray *chunks = w->epochs[0].chunks;
    guint i;

    for (i = 0; i < chunks->len; i++) {
        const Known *k = &g_array_index(chunks, Known, i);

        uint32_t count = MIN(k->used, 2 * w->bytes);

        memset(k->bytes + k->used - count, JUNK_DROPPED, count);
    }
    epoch_free(&w->epochs[0]);
    w->epochs[0] = w->epochs[1];
    w->epoch_count--;
}

void epoch_join(DiskWorld *w)
{
    Epoch *older = &w->epochs[0], *newer = &w->epochs[1];
    uint32_t i;

    for (i = 0; i < grains(w); i++) {
        if (older->covered[i] == BY_NONE) {
            older->covered[i] = newer->covered[i];
        }
    }
    g_array_append_vals(older->chunks, newer->chunks->data,
                        newer->chunks->len);
    epoch_free(newer);
    w->epoch_count--;
}
