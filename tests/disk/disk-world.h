/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A world around the core of the secondary's disk, for property tests.
 *
 * The world stands in for the glue: it has a parent image, memory and a spill
 * file, and really moves each byte to where the core says. Beside it an oracle
 * keeps in plain arrays what the guest of each epoch must see, what must lie
 * on the parent, and which byte is covered by what. The disk is small, so
 * that all requests of a run overlap; writes that are given up waste room, so
 * that even a small disk meets the ends of chunks and the spill file.
 *
 * Requests may stay on their way while others go on, as long as they do not
 * overlap; a change of the stage waits for them, except when the disk breaks.
 * A write of the peer that the guest has made as well may even outlast a cut
 * and a roll-back, and a read whose data has been looked for may read it at
 * any time until its room is given back.
 *
 * What a run does is decided by choices, from a seeded generator or from the
 * bytes of a fuzzer. The properties, by the names that a failure has:
 *
 *   guest-view     a read gives what the guest of this epoch must see
 *   parent         the parent has what it must have
 *   stage          the stage is the one expected
 *   piece          a piece lies in its request, and in a chunk
 *   chunk          a chunk stays what and where it was
 *   slots          a new slot is the lowest that nobody uses
 *   memory         memory is used up to its limit, and no further
 *   fill           room is given away from front to back
 *   reuse          memory in which nothing lies is used again, before more is
 *                  taken, and nothing else is
 *   place          what has room already is written there
 *   own            what the guest wrote is told, and nothing else
 *   counts         the counters count what the oracle counts
 *   runs           the runs cover what the oracle has covered
 *
 * With a breakage, something between core and world is wrong, and one of the
 * properties has to find it.
 */
#ifndef COLO_DISK_WORLD_H
#define COLO_DISK_WORLD_H

#include <glib.h>
#include "colo/disk.h"

enum { CHUNK = COLO_DISK_CHUNK_BYTES };

typedef enum Breakage {
    BREAK_NOTHING,
    BREAK_SKIP_UNDO,           /* something is not saved */
    BREAK_OLDER_COVERS,        /* not saved, as the older epoch has it */
    BREAK_LOSE_OWN,            /* an own write is not entered */
    BREAK_OWN_TO_PARENT,       /* an own write goes to the parent */
    BREAK_WRONG_PLACE,         /* a read looks one byte beside */
    BREAK_ZEROES,              /* zeroes are read from the parent */
    BREAK_OLD_GUEST,           /* a load that failed counts as loaded */
    BREAK_NO_DROP,             /* a load drops nothing */
    BREAK_MERGE_SKIP,          /* a piece is not copied, and merged */
    BREAK_MERGE_OVER,          /* the merge does not hear of a write */
    BREAK_MERGE_SHORT,         /* the merge ends early */
    BREAK_SLOT_TWICE,          /* a slot is given to two */
    BREAK_NO_LIMIT,            /* a chunk lies in memory that is not free */
    BREAK_COUNT,               /* a byte is not counted */
    BREAK_RUN,                 /* a run is not told */
    BREAK_UNDO_AS_OWN,         /* what was saved is told as written */
    BREAK_OWN_UNTOLD,          /* what was written is not told */
    BREAK_SETTLED_UNWRITTEN,   /* a twin is settled, not on the parent */
    BREAK_UNSETTLED,           /* the maps are not told of a twin */
    BREAK_SETTLED_BESIDE,      /* what lies behind it is settled as well */
    BREAK_REUSE_EARLY,         /* room is given back under readers */
    BREAK_REUSE_NEVER,         /* room is not given back */
    BREAK_REUSE_ALL,           /* a chunk goes with the first piece of it */
    BREAK_REUSE_SPILLED,       /* a slot is used again */
    BREAK__MAX
} Breakage;

typedef struct Choices Choices;
struct Choices {
    /* A number below @n (> 0). */
    uint32_t (*below)(Choices *c, uint32_t n);
};

/* How often things have happened, over many worlds. */
typedef struct WorldCount {
    uint64_t steps, bytes;
    uint64_t zeroes;           /* pieces kept without their bytes */
    uint64_t enters, roll_backs, merges, breaks, spilled, late, given_up;
    uint64_t twins, outlasted; /* begun; a change of the stage */
    uint64_t again;            /* chunks used again */
} WorldCount;

typedef struct DiskWorld DiskWorld;

DiskWorld *disk_world_new(Choices *choices, Breakage breakage, bool trace,
                          WorldCount *count);
void disk_world_free(DiskWorld *w);
/* False: a property does not hold; disk_world_failed() is its name. */
bool disk_world_step(DiskWorld *w);
const char *disk_world_failed(const DiskWorld *w);

#endif
