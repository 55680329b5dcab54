/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store of the world: memory and a spill file as the core distributes
 * them, and what the oracle knows of each chunk. Room is filled with junk when
 * it is given away, given back and dropped, so that a read of either is seen.
 * The memory of chunks is kept from world to world: most of it is never
 * touched, and to get it anew each time takes longer than all the rest.
 */
#include <stddef.h>
#include <string.h>
#include "disk-world-int.h"

enum { JUNK_NEW = 0xa5, JUNK_DROPPED = 0x5a };

/* ----------------------------------------------------- memory of chunks */

typedef struct Buffer Buffer;
struct Buffer {
    Buffer *next;              /* that nobody has */
    bool is_taken;
    Cell cells[CHUNK];
};

static Buffer *spare_buffers;
static unsigned taken_count;

Cell *cells_take(void)
{
    Buffer *b = spare_buffers;

    if (b) {
        spare_buffers = b->next;
    } else {
        b = g_malloc(sizeof(*b));
    }
    b->is_taken = true;
    taken_count++;
    return b->cells;
}

void cells_give(void *cells)
{
    Buffer *b = (Buffer *)((char *)cells - offsetof(Buffer, cells));

    g_assert(b->is_taken);
    b->is_taken = false;
    b->next = spare_buffers;
    spare_buffers = b;
    taken_count--;
}

bool cells_are_back(void)
{
    return taken_count == 0;
}

/* ----------------------------------------------------- what is in where */

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

static Cell *slot_cells(DiskWorld *w, uint64_t slot)
{
    while (w->slots->len <= slot) {
        g_ptr_array_add(w->slots, cells_take());
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

static bool is_empty(const Known *k)
{
    return !k->spilled && k->taken == 0;
}

/* Nothing new while there is room. */
static void check_no_empty(DiskWorld *w)
{
    const GArray *chunks = newest_epoch(w)->chunks;
    guint i;

    for (i = 0; i < chunks->len; i++) {
        world_must(w, !is_empty(&g_array_index(chunks, Known, i)), "reuse");
    }
}

/* A chunk that was not there before. */
static void add_known(DiskWorld *w, uint64_t number)
{
    ColoDiskChunk c = core_chunk(w, number * CHUNK);
    GArray *chunks = newest_epoch(w)->chunks;
    Known k = { .number = number, .slot = c.slot, .spilled = c.spilled };
    bool is_full = memory_chunks(w) >= w->memory_max;

    check_no_empty(w);
    world_must(w, c.spilled == is_full, "memory");
    world_must(w, c.data == NULL, "chunk");
    if (c.spilled) {
        check_slot(w, c.slot);
        k.cells = slot_cells(w, c.slot);
        w->count->spilled++;
    } else {
        k.cells = cells_take();
        colo_disk_chunk(w->disk, number * CHUNK)->data = k.cells;
    }
    g_array_append_val(chunks, k);
}

/*
 * New room comes from the chunk that is being filled, up to its end; then from
 * one in which nothing lies.
 */
static void take_room(DiskWorld *w, Known *k, uint32_t from, uint32_t size)
{
    Epoch *e = newest_epoch(w);
    const Known *filling = known_of(e, e->filling);

    world_must(w, k == known_of(e, k->number) && from == k->used, "fill");
    if (k != filling) {
        world_must(w, !filling || filling->used == CHUNK ||
                      is_empty(filling), "fill");
        world_must(w, k->taken == 0, "reuse");
    }
    e->filling = k->number;
    k->used = from + size;
    k->taken += size;
    /* no more than what the disk could read back */
    memset(k->cells + grains_in(w, from), JUNK_NEW,
           grains_in(w, MIN(size, w->bytes)) * sizeof(Cell));
}

/*
 * Room is new when nothing covers the bytes; it must not be anybody's then.
 * Otherwise it is that of the undo.
 */
void world_note(DiskWorld *w, const ColoPiece *p, bool is_fresh)
{
    uint32_t from = p->where % CHUNK;
    Known *k = find_known(w, p->where / CHUNK);

    world_must(w, from + p->size <= CHUNK && from % w->grain == 0, "piece");
    if (w->failed) {
        return;
    }
    if (!k) {
        add_known(w, p->where / CHUNK);
        k = find_known(w, p->where / CHUNK);
    } else if (is_fresh && from == 0) {
        world_must(w, is_empty(k), "reuse");
        w->count->again++;
    }
    if (is_fresh) {
        take_room(w, k, from, p->size);
    } else {
        world_must(w, from + p->size <= k->used, "place");
    }
}

void world_back(DiskWorld *w, const ColoPiece *p)
{
    uint32_t from = p->where % CHUNK;
    Known *k = find_known(w, p->where / CHUNK);

    world_must(w, k && p->size <= k->taken && from + p->size <= k->used,
               "reuse");
    if (w->failed) {
        return;
    }
    memset(k->cells + grains_in(w, from), JUNK_DROPPED,
           grains_in(w, MIN(p->size, w->bytes)) * sizeof(Cell));
    k->taken -= p->size;
    if (is_empty(k)) {
        k->used = 0;
    }
}

Cell *world_place(DiskWorld *w, uint64_t where, uint64_t size)
{
    const Known *k = find_known(w, where / CHUNK);
    ColoDiskChunk c = core_chunk(w, where);

    world_must(w, where % CHUNK + size <= CHUNK && where % w->grain == 0,
               "piece");
    world_must(w, k && k->spilled == c.spilled, "chunk");
    if (w->failed) {
        return NULL;
    }
    world_must(w, k->spilled ? k->slot == c.slot : k->cells == c.data,
               "chunk");
    return k->cells + grains_in(w, where % CHUNK);
}

/* -------------------------------------------------------------- epochs */

void epoch_init(const DiskWorld *w, Epoch *e)
{
    e->view = g_new(Cell, grains(w));
    e->covered = g_new0(uint8_t, COVERED_BYTES);
    e->chunks = g_array_new(false, false, sizeof(Known));
}

void epoch_destroy(Epoch *e)
{
    g_free(e->view);
    g_free(e->covered);
    g_array_unref(e->chunks);
}

void epoch_open(DiskWorld *w)
{
    Epoch *e = &w->epochs[w->epoch_count++];

    memcpy(e->view, w->image, grains(w) * sizeof(Cell));
    memset(e->covered, BY_NONE, grains(w));
    g_array_set_size(e->chunks, 0);
    e->filling = NO_CHUNK;
}

void epoch_drop(DiskWorld *w)
{
    const Epoch oldest = w->epochs[0];
    guint i;

    for (i = 0; i < oldest.chunks->len; i++) {
        const Known *k = &g_array_index(oldest.chunks, Known, i);
        uint32_t used = grains_in(w, k->used);
        uint32_t count = MIN(used, 2 * grains(w));

        memset(k->cells + used - count, JUNK_DROPPED, count * sizeof(Cell));
    }
    w->epochs[0] = w->epochs[1];
    w->epochs[1] = oldest;
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
    if (newer->filling != NO_CHUNK) {
        older->filling = newer->filling;
    }
    g_array_append_vals(older->chunks, newer->chunks->data,
                        newer->chunks->len);
    w->epoch_count--;
}
