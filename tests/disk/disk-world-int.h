/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inside of a world around the disk; see disk-world.h.
 */
#ifndef COLO_DISK_WORLD_INT_H
#define COLO_DISK_WORLD_INT_H

#include <string.h>
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
    uint32_t used;             /* bytes given away, from the front on */
    uint32_t taken;            /* of these, not given back */
} Known;

typedef struct Epoch {
    Cell *view;                /* what its guest must see */
    uint8_t *covered;          /* BY_ of each grain, then BY_NONE */
    GArray *chunks;            /* of Known */
    uint64_t filling;          /* number of the one that gives room, or
                                * NO_CHUNK */
} Epoch;

/* A piece whose request is on its way. */
typedef struct Late {
    ColoPiece piece;
    bool own;
    bool is_put;               /* its data is in its place */
    uint32_t noise;            /* of its first grain */
} Late;

/* A write of the peer that the guest has made as well, on its way. */
typedef struct Twin {
    uint64_t offset, size;
    GArray *pieces;            /* of ColoPiece: where the guest's data lies */
    bool is_written, is_settled;
} Twin;

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
    GArray *twins;             /* of Twin */
    GArray *readers;           /* of ColoPiece: looked for, not yet read */
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

/* @size bytes of the disk from @offset on, in an array of its grains. */
static inline void copy(const DiskWorld *w, Cell *disk, uint64_t offset,
                        const Cell *from, uint64_t size)
{
    memcpy(disk + grains_in(w, offset), from,
           grains_in(w, size) * sizeof(Cell));
}

static inline bool equal(const DiskWorld *w, const Cell *a, const Cell *b,
                         uint64_t size)
{
    return memcmp(a, b, grains_in(w, size) * sizeof(Cell)) == 0;
}

static inline const Cell *noise_of(const DiskWorld *w, uint32_t noise)
{
    return w->noise + noise;
}

static inline bool overlap(uint64_t offset, uint64_t size,
                           uint64_t other_offset, uint64_t other_size)
{
    return offset < other_offset + other_size &&
           other_offset < offset + size;
}

static inline void cover(DiskWorld *w, const ColoPiece *p, uint8_t by)
{
    memset(newest_epoch(w)->covered + grains_in(w, p->offset), by,
           grains_in(w, p->size));
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

#define NO_CHUNK UINT64_MAX

/* ------------------------------------------------------------ the store */

/* A piece of @size bytes has been given at @where: new room, or old. */
void world_note(DiskWorld *w, const ColoPiece *p, bool is_fresh);
/* What lies at @p is given back: junk from now on. */
void world_back(DiskWorld *w, const ColoPiece *p);
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

void world_check_piece(DiskWorld *w, const ColoPiece *p, uint64_t offset,
                       uint64_t size);
/* The data of a piece, wherever it is; NULL: there is no such chunk. */
const Cell *world_data(DiskWorld *w, const ColoPiece *p);
/* It must be what the guest must see. */
void world_see(DiskWorld *w, const ColoPiece *p);
void world_read(DiskWorld *w, uint32_t offset, uint32_t size);
/* A piece of what the guest wrote itself; it must be so to its end. */
void world_check_own(DiskWorld *w, const ColoPiece *p);
/* Which of it the guest wrote itself. RUNNING. */
void world_look_own(DiskWorld *w, uint32_t offset, uint32_t size);
void world_own(DiskWorld *w, uint32_t offset, uint32_t size);
void world_own_zeroes(DiskWorld *w, uint32_t offset, uint32_t size);
void world_peer(DiskWorld *w, uint32_t offset, uint32_t size);
void world_waste(DiskWorld *w, uint32_t size);
void world_merge(DiskWorld *w, uint32_t offset, uint32_t size_max);
/* End those on their way that overlap, or any: of writes; of all. */
void world_settle_late(DiskWorld *w, uint32_t offset, uint32_t size);
void world_settle(DiskWorld *w, uint32_t offset, uint32_t size);

/* ----------------------------------------------------- what is done twice */

/* The peer writes what the guest wrote, as far as it did. RUNNING. */
void world_twin(DiskWorld *w, uint32_t offset, uint32_t size);
/* The same behind the end of the disk, from beginning to end. */
void world_churn(DiskWorld *w, uint32_t size);
/* The guest looks where its data lies, and reads it later. RUNNING. */
void world_reader(DiskWorld *w, uint32_t offset, uint32_t size);
/* One of those on their way goes a step further. */
void world_go_on(DiskWorld *w);
void world_settle_twins(DiskWorld *w, uint32_t offset, uint32_t size);
void world_settle_readers(DiskWorld *w, uint32_t offset, uint32_t size);
/* Everything ends, except that some twins may take too long. */
void world_quiesce(DiskWorld *w, bool may_take_long);

/* Everything at once. */
void world_check(DiskWorld *w);
/* Is any of its grains covered? */
bool epoch_covers(const DiskWorld *w, const Epoch *e);

/* --------------------------- the core, or what a breakage makes of it */

bool broken_now(DiskWorld *w, Breakage b);
void core_read_at(DiskWorld *w, uint64_t offset, uint64_t size, ColoPiece *p);
bool core_own_at(DiskWorld *w, uint64_t offset, uint64_t size, ColoPiece *p);
void core_write_at(DiskWorld *w, uint64_t offset, uint64_t size,
                   ColoPiece *p);
void core_write_zero_at(DiskWorld *w, uint64_t offset, uint64_t size,
                        ColoPiece *p);
void core_wrote(DiskWorld *w, const ColoPiece *p);
void core_settled(DiskWorld *w, uint64_t offset, uint64_t size);
void core_reuse(DiskWorld *w, const ColoPiece *p);
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
