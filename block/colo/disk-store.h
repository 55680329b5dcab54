/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the store of one disk, and the generations that fill it.
 *
 * Private to block/colo. One owner at a time.
 */
#ifndef COLO_DISK_STORE_H
#define COLO_DISK_STORE_H

#include <glib.h>
#include "colo/disk.h"

enum { COLO_GENERATIONS_MAX = 2 };

typedef struct ColoGeneration {
    ColoExtents *own;          /* nothing that undo has as well */
    ColoExtents *undo;
    GArray *chunks;            /* of ColoDiskChunk */
    GArray *unused;            /* of guint: indices of chunks given back */
    uint64_t first;            /* number of the first of them */
    uint64_t next;             /* where the next room is, from the first chunk
                                * on; at a chunk's end: nowhere yet */
    uint64_t number;           /* rises with each generation */
    uint64_t memory_count;     /* chunks */
    uint64_t spilled_count;
} ColoGeneration;

typedef struct ColoStore {
    /* The oldest first; only the last one is given room. */
    ColoGeneration *generations[COLO_GENERATIONS_MAX];
    unsigned count;
    uint64_t next_number;      /* of a generation */
    uint64_t next_chunk;       /* number of the next chunk */
    uint64_t memory_max_count; /* chunks */
    GArray *slots;             /* of uint64_t: the generation that took it */
    uint64_t slots_taken;      /* none before this one is free */
} ColoStore;

void colo_store_init(ColoStore *s, uint64_t memory_bytes);
/* Of a store without generations. */
void colo_store_destroy(ColoStore *s);

/* A new generation, empty, the newest from now on. */
void colo_store_open(ColoStore *s);
/* The newest generation becomes a part of the one before it. O(n). */
void colo_store_join(ColoStore *s);
/* The oldest generation no longer counts; its room is free. O(1). */
ColoGeneration *colo_store_drop(ColoStore *s);
void colo_generation_free(ColoGeneration *g, GDestroyNotify free_data);

/*
 * Room for at most @size bytes (> 0) in the newest generation: its position,
 * and in *@got how much of it lies there, in one chunk.
 */
uint64_t colo_store_take(ColoStore *s, uint64_t size, uint64_t *got);
/* It is not needed any more. In one chunk; of any generation. */
void colo_store_give_back(ColoStore *s, uint64_t where, uint64_t size);
/* How many of @size bytes at position @where lie in one chunk. */
uint64_t colo_store_in_chunk(uint64_t where, uint64_t size);
ColoDiskChunk *colo_store_chunk(const ColoStore *s, uint64_t where);

#endif
