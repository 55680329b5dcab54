/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of a world around the disk; see disk-world.h.
 */
#ifndef COLO_DISK_WORLD_INT_H
#define COLO_DISK_WORLD_INT_H

#include "disk-world.h"

/*
 * All requests, and so all pieces, are of whole grains; what a grain holds is
 * one cell, however many bytes it has. So a look at everything is cheap, and
 * two contents are as good as never the same.
 */
typedef uint16_t Cell;

/* What covers a grain, and whether it has no room, as it is zero: bits. */
enum { BY_NONE = 0, BY_OWN = 1, BY_UNDO = 2, NO_ROOM = 4 };

/* A chunk as it was when it was first seen. */
typedef struct Known {
    uint64_t number, slot;
    bool spilled;
    Cell *cells;
    uint32_t used;             /* bytes given away */
} Known;

typedef struct Epoch {
    Cell *view;                /* what its guest must see */
    uint8_t *covered;          /* BY_ of each grain, then BY_NONE */
    GArray *chunks;            /* of Known */
} Epoch;

/* A piece whose request is on its way. */
typedef struct Late {
    ColoPiece piece;
    bool own;
    bool is_put;               /* its data is in its place */
    uint32_t noise;            /* of its first grain */
} Late;

struct DiskWorld {
    Choices *choices;
    Breakage breakage;
    bool trace;
    WorldCount *count;
    const char *failed;        /* the first property that did not hold */

    ColoDisk *disk;
    uint32_t bytes;            /* of the disk */
    uint32_t unit;             /* of requests */
    uint32_t grain;            /* what the oracle tells apart */
    uint64_t memory_max;       /* chunks */
    uint32_t patience;         /* how long an epoch lasts */
    Cell *parent;
    GPtrArray *slots;          /* the spill file */
    GArray *late;              /* of Late */
    GPtrArray *dropped;        /* of ColoDropped, not yet freed */
    const Cell *noise;         /* contents of writes, and zeroes */

    /* what the oracle says */
    ColoDiskStage stage;
    Cell *image;               /* what the parent must have */
    Epoch epochs[2];           /* the first @epoch_count are open */
    unsigned epoch_count;
};

static inline uint32_t choose(DiskWorld *w, uint32_t n)
{
    return w->choices->below(w->choices, n);
}

static inline Epoch *newest_epoch(DiskWorld *w)
{
    return &w->epochs[w->epoch_count - 1];
}

static inline uint32_t grains_in(const DiskWorld *w, uint64_t bytes)
{
    return bytes / w->grain;
}

static inline uint32_t grains(const DiskWorld *w)
{
    return grains_in(w, w->bytes);
}

/* Has the beginning of @p room in the newest epoch? */
static inline bool has_room(DiskWorld *w, const ColoPiece *p)
{
    uint8_t by = newest_epoch(w)->covered[grains_in(w, p->offset)];

    return by != BY_NONE && !(by & NO_ROOM);
}

/* Remember the first property that does not hold. */
void world_must(DiskWorld *w, bool good, const char *property);

/*
 * Contents are named by where they begin in the noise. Behind all that
 * random numbers begin lie zeroes, for the largest disk.
 */
enum {
    GRAINS_MAX = 6000,
    NOISE_BEGINS = 65536,
    ZEROES = NOISE_BEGINS + GRAINS_MAX,
    NOISE_CELLS = ZEROES + GRAINS_MAX,
    COVERED_BYTES = GRAINS_MAX + sizeof(uint64_t) - 1,
};

/* ------------------------------------------------------------ the store */

/* A piece of @size bytes has been given at @where: new room, or old. */
void world_note(DiskWorld *w, const ColoPiece *p, bool is_fresh);
/* The @size bytes at @where; NULL: there is no such chunk. */
Cell *world_place(DiskWorld *w, uint64_t where, uint64_t size);
/* Room for the cells of a chunk, whatever it held; given back with @give. */
Cell *cells_take(void);
void cells_give(void *cells);
/* All that was taken has been given back. */
bool cells_are_back(void);
void epoch_init(const DiskWorld *w, Epoch *e);
void epoch_destroy(Epoch *e);
void epoch_open(DiskWorld *w);
void epoch_drop(DiskWorld *w);
void epoch_join(DiskWorld *w);

/* ------------------------------------------------------------- requests */

void world_read(DiskWorld *w, uint32_t offset, uint32_t size);
void world_own(DiskWorld *w, uint32_t offset, uint32_t size);
void world_own_zeroes(DiskWorld *w, uint32_t offset, uint32_t size);
void world_peer(DiskWorld *w, uint32_t offset, uint32_t size);
void world_waste(DiskWorld *w, uint32_t size);
void world_merge(DiskWorld *w, uint32_t offset, uint32_t size_max);
/* End those on their way that overlap, or any. */
void world_settle(DiskWorld *w, uint32_t offset, uint32_t size);

/* Everything at once. */
void world_check(DiskWorld *w);
/* Is any of its grains covered? */
bool epoch_covers(const DiskWorld *w, const Epoch *e);

/* --------------------------- the core, or what a breakage makes of it */

bool broken_now(DiskWorld *w, Breakage b);
void core_read_at(DiskWorld *w, uint64_t offset, uint64_t size, ColoPiece *p);
void core_write_at(DiskWorld *w, uint64_t offset, uint64_t size,
                   ColoPiece *p);
void core_write_zero_at(DiskWorld *w, uint64_t offset, uint64_t size,
                        ColoPiece *p);
void core_wrote(DiskWorld *w, const ColoPiece *p);
bool core_undo_at(DiskWorld *w, uint64_t offset, uint64_t size, ColoPiece *p);
bool core_merge_at(DiskWorld *w, uint64_t offset, uint64_t size_max,
                   ColoPiece *p);
ColoDiskChunk core_chunk(DiskWorld *w, uint64_t where);
void core_enter(DiskWorld *w);
void core_roll_back(DiskWorld *w);
void core_counts(DiskWorld *w, ColoDiskCounts *counts);
void core_foreach(DiskWorld *w,
                  void (*fn)(uint64_t offset, uint64_t size, void *opaque),
                  void *opaque);

#endif
