/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the store of one disk, and the generations that fill it.
 *
 * Chunks are numbered in the order in which they come into being, over all
 * generations, and each generation keeps its own in a table. Only the newest
 * one takes chunks, so each has one range of numbers, the ranges follow each
 * other, and two generations become one by putting their tables together:
 * positions stay what they are. Room is given away from the front to the
 * back, so requests that follow each other lie beside each other.
 *
 * A generation goes as a whole, and that must not take time. Before that only
 * whole chunks of memory are used again, when all that was given away of them
 * has been given back. Memory is counted per generation. A slot of the spill
 * file carries the number of the generation that took it, and generations go
 * in the order in which they came: a slot is free when its number is less
 * than the one of the oldest generation. So nothing has to be done to a slot
 * to free it, and the lowest free one is found by a scan that starts anew
 * when a generation goes; between two of these it passes each slot once.
 */
#include "disk-store.h"

void colo_store_init(ColoStore *s, uint64_t memory_bytes)
{
    *s = (ColoStore) {
        .memory_max_count = memory_bytes / COLO_DISK_CHUNK_BYTES +
                            (memory_bytes % COLO_DISK_CHUNK_BYTES != 0),
        .slots = g_array_new(false, false, sizeof(uint64_t)),
    };
}

void colo_store_destroy(ColoStore *s)
{
    g_assert(s->count == 0);
    g_array_unref(s->slots);
}

/* --------------------------------------------------------- generations */

static ColoGeneration *newest(const ColoStore *s)
{
    g_assert(s->count > 0);
    return s->generations[s->count - 1];
}

void colo_store_open(ColoStore *s)
{
    ColoGeneration *g = g_new0(ColoGeneration, 1);

    g_assert(s->count < COLO_GENERATIONS_MAX);
    g->own = colo_extents_new();
    g->undo = colo_extents_new();
    g->chunks = g_array_new(false, true, sizeof(ColoDiskChunk));
    g->unused = g_array_new(false, false, sizeof(guint));
    g->first = s->next_chunk;
    g->number = s->next_number++;
    s->generations[s->count++] = g;
}

void colo_generation_free(ColoGeneration *g, GDestroyNotify free_data)
{
    guint i;

    for (i = 0; i < g->chunks->len; i++) {
        void *data = g_array_index(g->chunks, ColoDiskChunk, i).data;

        if (data) {
            free_data(data);
        }
    }
    g_array_unref(g->chunks);
    g_array_unref(g->unused);
    colo_extents_free(g->own);
    colo_extents_free(g->undo);
    g_free(g);
}

/* What the newer one saved, where the older one has nothing. */
static void join_undo(ColoGeneration *older, const ColoExtents *undo)
{
    ColoExtent e, other;
    uint64_t offset = 0, hole;

    while (colo_extents_next(undo, offset, &e)) {
        offset = e.offset + e.size;
        while (e.size > 0) {
            bool covered;

            hole = e.size;
            covered = colo_extents_at(older->own, e.offset, hole, &other,
                                      &hole) ||
                      colo_extents_at(older->undo, e.offset, hole, &other,
                                      &hole);
            if (covered) {
                hole = other.size;
            } else {
                other = (ColoExtent) { e.offset, hole, e.where };
                colo_extents_add(older->undo, &other);
            }
            e.offset += hole;
            e.where += hole;
            e.size -= hole;
        }
    }
}

void colo_store_join(ColoStore *s)
{
    ColoGeneration *older = s->generations[0], *newer = s->generations[1];

    g_assert(s->count == 2);
    g_assert(colo_extents_count(newer->own) == 0);
    g_assert(newer->first == older->first + older->chunks->len);
    join_undo(older, newer->undo);
    if (newer->chunks->len > 0) {
        older->next = (uint64_t)older->chunks->len * COLO_DISK_CHUNK_BYTES +
                      newer->next;
        g_array_append_vals(older->chunks, newer->chunks->data,
                            newer->chunks->len);
        g_array_set_size(newer->chunks, 0);
    }
    older->memory_count += newer->memory_count;
    older->spilled_count += newer->spilled_count;
    s->generations[--s->count] = NULL;
    colo_generation_free(newer, NULL);
}

ColoGeneration *colo_store_drop(ColoStore *s)
{
    ColoGeneration *g = s->generations[0];

    g_assert(s->count > 0);
    s->generations[0] = s->generations[1];
    s->generations[1] = NULL;
    s->count--;
    s->slots_taken = 0;
    if (s->count == 0 || s->generations[0]->spilled_count == 0) {
        g_array_set_size(s->slots, 0);
    }
    return g;
}

/* -------------------------------------------------------------- chunks */

static uint64_t take_slot(ColoStore *s, uint64_t number)
{
    uint64_t oldest = s->generations[0]->number;

    while (s->slots_taken < s->slots->len) {
        uint64_t *owner = &g_array_index(s->slots, uint64_t, s->slots_taken);

        s->slots_taken++;
        if (*owner < oldest) {
            *owner = number;
            return s->slots_taken - 1;
        }
    }
    g_array_append_val(s->slots, number);
    return s->slots_taken++;
}

static uint64_t memory_count(const ColoStore *s)
{
    uint64_t count = 0;
    unsigned i;

    for (i = 0; i < s->count; i++) {
        count += s->generations[i]->memory_count;
    }
    return count;
}

/* The index of a chunk that nobody uses. */
static guint new_chunk(ColoStore *s, ColoGeneration *g)
{
    ColoDiskChunk chunk = { .data = NULL };

    if (g->unused->len > 0) {
        guint index = g_array_index(g->unused, guint, g->unused->len - 1);

        g_array_set_size(g->unused, g->unused->len - 1);
        return index;
    }

    if (memory_count(s) < s->memory_max_count) {
        g->memory_count++;
    } else {
        chunk.spilled = true;
        chunk.slot = take_slot(s, g->number);
        g->spilled_count++;
    }
    g_array_append_val(g->chunks, chunk);
    s->next_chunk++;
    return g->chunks->len - 1;
}

uint64_t colo_store_in_chunk(uint64_t where, uint64_t size)
{
    return MIN(size, COLO_DISK_CHUNK_BYTES - where % COLO_DISK_CHUNK_BYTES);
}

uint64_t colo_store_take(ColoStore *s, uint64_t size, uint64_t *got)
{
    ColoGeneration *g = newest(s);
    uint64_t where;

    if (g->next % COLO_DISK_CHUNK_BYTES == 0) {
        g->next = (uint64_t)new_chunk(s, g) * COLO_DISK_CHUNK_BYTES;
    }
    where = g->first * COLO_DISK_CHUNK_BYTES + g->next;
    *got = colo_store_in_chunk(where, size);
    colo_store_chunk(s, where)->taken_bytes += *got;
    g->next += *got;
    return where;
}

static ColoGeneration *generation_of(const ColoStore *s, uint64_t number)
{
    unsigned i;

    for (i = 0; i < s->count; i++) {
        ColoGeneration *g = s->generations[i];

        if (number >= g->first && number - g->first < g->chunks->len) {
            return g;
        }
    }
    g_assert_not_reached();
}

ColoDiskChunk *colo_store_chunk(const ColoStore *s, uint64_t where)
{
    uint64_t number = where / COLO_DISK_CHUNK_BYTES;
    const ColoGeneration *g = generation_of(s, number);

    return &g_array_index(g->chunks, ColoDiskChunk, number - g->first);
}

void colo_store_give_back(ColoStore *s, uint64_t where, uint64_t size)
{
    uint64_t number = where / COLO_DISK_CHUNK_BYTES;
    ColoGeneration *g = generation_of(s, number);
    ColoDiskChunk *chunk = colo_store_chunk(s, where);
    guint index = number - g->first;

    g_assert(size <= chunk->taken_bytes &&
             size == colo_store_in_chunk(where, size));
    chunk->taken_bytes -= size;
    if (chunk->taken_bytes > 0 || chunk->spilled) {
        return;
    }
    if (g->next / COLO_DISK_CHUNK_BYTES == index) {
        /* The one that room was taken from is begun anew. */
        g->next = (uint64_t)index * COLO_DISK_CHUNK_BYTES;
    }
    g_array_append_val(g->unused, index);
}
