/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the staging area of one checkpoint, and its undo log.
 *
 * Pages arrive in frames and wait here, in chunks of one frame each, until
 * all of the checkpoint is there and verified. Applying exchanges them with
 * guest memory: what the guest had is then in the stage, and exchanging once
 * more, backwards, restores it. So there is never a second copy of guest
 * RAM, only of what a checkpoint changes.
 *
 * Buffers are the memory that counts. They come in few sizes. Fresh memory
 * costs more than the copy that fills it, so what recent checkpoints needed
 * is kept for the next; the rest goes back to the system at once, whatever
 * malloc does with the addresses. No huge pages: mostly faster, they stall
 * for a third of a second when the host has to compact memory for them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "colo/pages.h"

enum {
    /* Fewest pages that a buffer has room for; then doubled. */
    BUFFER_MIN_PAGES = 64,
    /* Alignment of buffers: no less than any host's page. */
    BUFFER_ALIGN_BYTES = 64 * 1024,
    BOUNCE_BYTES = 4096,
};

typedef struct ColoBuffer {
    uint8_t *data;
    uint64_t size_bytes;
} ColoBuffer;

static ColoBuffer *buffer_new(uint64_t size_bytes)
{
    ColoBuffer *b;
    void *data;

    if (posix_memalign(&data, BUFFER_ALIGN_BYTES, size_bytes)) {
        return NULL;
    }
    b = g_new(ColoBuffer, 1);
    b->data = data;
    b->size_bytes = size_bytes;
    return b;
}

static void buffer_free(ColoBuffer *b)
{
    /* a hint: if it fails the memory is freed nevertheless */
    (void)madvise(b->data, b->size_bytes, MADV_DONTNEED);
    free(b->data);
    g_free(b);
}

static void chunk_free(ColoChunk *c)
{
    g_free(c->runs);
    g_free(c);
}

void colo_stage_init(ColoStage *s, uint32_t page_bytes, uint64_t limit_bytes)
{
    g_assert(page_bytes >= COLO_PAGE_MIN_BYTES &&
             page_bytes <= COLO_PAGE_MAX_BYTES &&
             (page_bytes & (page_bytes - 1)) == 0);
    *s = (ColoStage) {
        .page_bytes = page_bytes,
        .limit_bytes = limit_bytes,
        .chunks = g_ptr_array_new(),
        .spare = g_ptr_array_new(),
    };
}

/* -------------------------------------------------------------- memory */

static uint64_t buffer_size_for(const ColoStage *s, uint64_t page_count)
{
    uint64_t pages = BUFFER_MIN_PAGES;

    while (pages < page_count) {
        pages *= 2;
    }
    return pages * s->page_bytes;
}

/* The smallest spare buffer with room for @size_bytes, or NULL. */
static ColoBuffer *spare_take(ColoStage *s, uint64_t size_bytes)
{
    ColoBuffer *best = NULL;
    guint best_index = 0;
    guint i;

    for (i = 0; i < s->spare->len; i++) {
        ColoBuffer *b = g_ptr_array_index(s->spare, i);

        if (b->size_bytes >= size_bytes &&
            (!best || b->size_bytes < best->size_bytes)) {
            best = b;
            best_index = i;
        }
    }
    if (best) {
        g_ptr_array_remove_index_fast(s->spare, best_index);
    }
    return best;
}

static ColoBuffer *buffer_get(ColoStage *s, uint64_t page_count)
{
    uint64_t size_bytes = buffer_size_for(s, page_count);
    ColoBuffer *b = spare_take(s, size_bytes);

    if (!b) {
        b = buffer_new(size_bytes);
        if (!b) {
            return NULL;
        }
        s->held_bytes += size_bytes;
        s->peak_bytes = MAX(s->peak_bytes, s->held_bytes);
    }
    return b;
}

ColoChunk *colo_stage_add(ColoStage *s, const ColoRun *runs,
                          uint32_t run_count, uint64_t page_count)
{
    uint64_t size_bytes = page_count * s->page_bytes;
    ColoBuffer *b;
    ColoChunk *c;

    g_assert(page_count > 0 && page_count <= COLO_PAGES_PER_FRAME_MAX);
    if (s->limit_bytes && (s->used_bytes > s->limit_bytes ||
                           size_bytes > s->limit_bytes - s->used_bytes)) {
        return NULL;
    }
    b = buffer_get(s, page_count);
    if (!b) {
        return NULL;
    }
    c = g_new(ColoChunk, 1);
    *c = (ColoChunk) {
        .runs = g_new(ColoRun, run_count),
        .run_count = run_count,
        .page_count = page_count,
        .data = b->data,
        .buffer = b,
    };
    memcpy(c->runs, runs, run_count * sizeof(*runs));
    g_ptr_array_add(s->chunks, c);
    s->used_bytes += size_bytes;
    return c;
}

static uint64_t spare_bytes(const ColoStage *s)
{
    uint64_t bytes = 0;
    guint i;

    for (i = 0; i < s->spare->len; i++) {
        const ColoBuffer *b = g_ptr_array_index(s->spare, i);

        bytes += b->size_bytes;
    }
    return bytes;
}

/* Chunks become spare buffers, as far as @keep_bytes goes. */
static void stage_empty(ColoStage *s, uint64_t keep_bytes)
{
    uint64_t kept = 0;
    guint i;

    for (i = 0; i < s->chunks->len; i++) {
        ColoChunk *c = g_ptr_array_index(s->chunks, i);

        g_ptr_array_add(s->spare, c->buffer);
        chunk_free(c);
    }
    g_ptr_array_set_size(s->chunks, 0);
    s->used_bytes = 0;
    for (i = s->spare->len; i > 0; i--) {
        ColoBuffer *b = g_ptr_array_index(s->spare, i - 1);

        if (kept + b->size_bytes <= keep_bytes) {
            kept += b->size_bytes;
        } else {
            s->held_bytes -= b->size_bytes;
            buffer_free(b);
            g_ptr_array_remove_index_fast(s->spare, i - 1);
        }
    }
}

/* A need that is gone is forgotten by a quarter with each checkpoint. */
void colo_stage_reset(ColoStage *s)
{
    uint64_t needed_bytes = s->held_bytes - spare_bytes(s);

    s->keep_bytes = MAX(needed_bytes, s->keep_bytes - s->keep_bytes / 4);
    s->keep_bytes = MAX(s->keep_bytes, COLO_STAGE_KEEP_BYTES);
    stage_empty(s, s->keep_bytes);
}

void colo_stage_destroy(ColoStage *s)
{
    if (s->chunks) {
        stage_empty(s, 0);
        g_ptr_array_free(s->chunks, true);
        g_ptr_array_free(s->spare, true);
    }
    memset(s, 0, sizeof(*s));
}

/* ---------------------------------------------------------------- swap */

static void swap_bytes(uint8_t *a, uint8_t *b, size_t size)
{
    uint8_t bounce[BOUNCE_BYTES];

    while (size > 0) {
        size_t part = MIN(size, sizeof(bounce));

        memcpy(bounce, a, part);
        memcpy(a, b, part);
        memcpy(b, bounce, part);
        a += part;
        b += part;
        size -= part;
    }
}

typedef struct ColoSwap {
    ColoPageAt page_at;
    ColoTouched touched;
    void *opaque;
    uint32_t page_bytes;
} ColoSwap;

static void swap_run(const ColoSwap *w, const ColoRun *run, uint8_t *data)
{
    uint32_t i;

    for (i = 0; i < run->count; i++, data += w->page_bytes) {
        swap_bytes(w->page_at(w->opaque, run->block, run->first + i), data,
                   w->page_bytes);
    }
    if (w->touched) {
        w->touched(w->opaque, run);
    }
}

/* Runs of one frame do not overlap: their order does not matter. */
static void swap_chunk(const ColoSwap *w, const ColoChunk *c)
{
    uint8_t *data = c->data;
    uint32_t i;

    for (i = 0; i < c->run_count; i++) {
        swap_run(w, &c->runs[i], data);
        data += (uint64_t)c->runs[i].count * w->page_bytes;
    }
}

void colo_stage_swap(ColoStage *s, bool undo, ColoPageAt page_at,
                     ColoTouched touched, void *opaque)
{
    const ColoSwap w = { page_at, touched, opaque, s->page_bytes };
    guint count = s->chunks->len;
    guint i;

    for (i = 0; i < count; i++) {
        swap_chunk(&w, g_ptr_array_index(s->chunks,
                                         undo ? count - 1 - i : i));
    }
}
