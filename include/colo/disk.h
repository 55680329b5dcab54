/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: one disk of the secondary: which bytes its guest sees, and where.
 *
 * The disk under the secondary (its "parent") receives what the primary's
 * guest writes, as it writes it. The secondary's guest must not see that
 * before a checkpoint makes it the primary's twin, and must see what it wrote
 * itself. So two maps stand between the guest and the parent:
 *
 *     own     what this guest wrote since the last cut
 *     undo    what lay on the parent before the primary's writes since then
 *
 * and the guest reads own, else undo, else the parent. What own has, undo does
 * not have: an own write takes over the room of the undo that it covers, so
 * that the place holds the newer data only. A checkpoint drops
 * both: what is on the parent is then the primary's disk at the cut. Between
 * the disk cut and the end of the load there are two generations: the older
 * is what the guest goes back to when the load fails, the newer one collects
 * the undo of what the primary writes after its cut.
 *
 * Contents lie in a store: chunks of COLO_DISK_CHUNK_BYTES, in memory up to a
 * limit, then in slots of a spill file. A chunk belongs to the generation
 * that filled it and goes with it; one of memory is filled anew when nothing
 * lies in it any more. This module decides and counts; it moves
 * no data. A "position" is chunk number * COLO_DISK_CHUNK_BYTES + offset.
 *
 * Order in which the caller does things, per request, with overlapping
 * requests kept apart by the caller:
 *   read        read_at() until the request is covered; read from there.
 *   own write   write_at() for the next piece; put the data there; if the
 *               piece is new, wrote() enters it. To the parent: once the data
 *               is on it, wrote() takes it out of the maps.
 *   twin write  own_at() until the request is covered: what the guest wrote and
 *               the peer as well. Write it to the parent; then settled(). When
 *               those who looked before that have read, reuse() each piece.
 *   peer write  undo_at() for the next piece that must be saved; read it from
 *               the parent, put it into the store, saved() enters it. Then
 *               write to the parent.
 *   merge       merge_at(); copy from the store to the parent; merged().
 * A piece given by write_at() or undo_at() and not entered (an error) is
 * given up with abandon(): its bytes stay unused until the generation goes.
 * A twin write needs no end: what its stage does not allow any more is left
 * out, and the place stays the guest's own or its room unused. After a
 * roll_back() it may go on, after an enter() not: its pieces are gone. A cut
 * that came before the write to the parent lacks it and must not be entered.
 * Every new piece is entered or given up before the stage changes, except by
 * break(), so the caller drains first; a piece on its way when the disk breaks
 * is entered or given up as if nothing had been.
 *
 * Which stage allows what is one table in block/colo/disk.c. The functions
 * assert it: a wrong call is a bug of the glue, not bad input. O(log n) each
 * unless said otherwise; not thread-safe.
 */
#ifndef COLO_DISK_H
#define COLO_DISK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "colo/extents.h"

#define COLO_DISK_CHUNK_BYTES (256u * 1024)

/*
 *  stage      meaning                                guest writes   peer
 *  OFF        no pair; a plain filter                parent         parent
 *  RUNNING    lockstep, one generation               own            undo
 *  CUT        cut taken, load not ended: two         none (stopped) undo of
 *             generations                                           the newer
 *  MERGING    took over: own and undo move into      parent, out    refused
 *             the parent while the guest runs        of the maps
 *  ALONE      took over and merged: a plain filter   parent         refused
 *  BROKEN     own data could not be kept: this       refused        refused
 *             side must not take over
 */
typedef enum ColoDiskStage {
    COLO_DISK_OFF,
    COLO_DISK_RUNNING,
    COLO_DISK_CUT,
    COLO_DISK_MERGING,
    COLO_DISK_ALONE,
    COLO_DISK_BROKEN,
    COLO_DISK__MAX
} ColoDiskStage;

const char *colo_disk_stage_name(ColoDiskStage stage);

typedef struct ColoDisk ColoDisk;

/* A chunk of the store: memory, or a slot of the spill file. */
typedef struct ColoDiskChunk {
    void *data;                /* the glue's: memory of a chunk; NULL: none
                                * yet, or spilled */
    uint32_t taken_bytes;      /* given away and not back */
    uint64_t slot;             /* slot of the spill file, if spilled */
    bool spilled;
} ColoDiskChunk;

/* What a generation leaves behind; the glue frees it at leisure. */
typedef struct ColoDropped ColoDropped;

/* One piece of a request. */
typedef struct ColoPiece {
    uint64_t offset;           /* bytes, on the disk */
    uint64_t size;             /* bytes, > 0; never crosses a chunk's end when
                                * it lies in the store */
    bool in_store;             /* kept at .where */
    bool is_zero;              /* zeroes, kept without their bytes; neither
                                * this nor in_store: on the parent */
    bool is_new;               /* write_at, undo_at: the map does not know it
                                * yet */
    uint64_t where;            /* in_store: its position */
} ColoPiece;

/* @memory_bytes: limit of chunks in memory, rounded up to whole chunks. */
ColoDisk *colo_disk_new(uint64_t memory_bytes);
/* Memory of chunks is given to @free_data. */
void colo_disk_free(ColoDisk *d, GDestroyNotify free_data);

ColoDiskStage colo_disk_stage(const ColoDisk *d);

/* ------------------------------------------------------------- stages */

/* OFF -> RUNNING. */
void colo_disk_begin(ColoDisk *d);
/* RUNNING -> CUT: what the primary writes from here on is a new epoch's. */
void colo_disk_cut(ColoDisk *d);
/* CUT -> RUNNING: loaded; the older generation is dropped, in O(1). */
ColoDropped *colo_disk_enter(ColoDisk *d);
/* CUT -> RUNNING: not loaded; both generations are one again. O(n). */
void colo_disk_roll_back(ColoDisk *d);
/* RUNNING -> MERGING, or -> ALONE when there is nothing to merge. */
void colo_disk_take_over(ColoDisk *d);
/* ALONE: the store, which the merge has emptied; NULL: it is gone already. */
ColoDropped *colo_disk_leftover(ColoDisk *d);
/*
 * Any -> OFF, everything is dropped: the parent is the primary's disk. The
 * end of a protection, of a node, or of a merge that the peer overwrites.
 */
ColoDropped *colo_disk_stop(ColoDisk *d);
/* RUNNING or CUT -> BROKEN; nothing in any other stage. */
void colo_disk_break(ColoDisk *d);

/* Free what was dropped; O(n), any thread. NULL, nothing, is ignored. */
void colo_dropped_free(ColoDropped *dropped, GDestroyNotify free_data);

/* ------------------------------------------------------------ requests */

/* First piece of the read @offset, @size (> 0). */
void colo_disk_read_at(const ColoDisk *d, uint64_t offset, uint64_t size,
                       ColoPiece *piece);
/*
 * First piece of @offset, @size (> 0) if the guest itself has written there
 * since the last cut; false: it has not. RUNNING.
 */
bool colo_disk_own_at(const ColoDisk *d, uint64_t offset, uint64_t size,
                      ColoPiece *piece);
/*
 * The parent has these bytes now as the guest has written them: the maps need
 * not. Where they lay in the store they stay for those who still read them
 * there, until reuse(). RUNNING.
 */
void colo_disk_settled(ColoDisk *d, uint64_t offset, uint64_t size);
/*
 * @piece, of own_at() and settled(), is not read in the store any more: once,
 * while its generation is there. RUNNING, CUT.
 */
void colo_disk_reuse(ColoDisk *d, const ColoPiece *piece);
/*
 * First piece of a write by the guest. Stages OFF, MERGING, ALONE: on the
 * parent, whole. RUNNING: in the store; what a map has there is overwritten
 * in place. Stage and place may change while the caller waits: ask anew for
 * each piece.
 */
void colo_disk_write_at(ColoDisk *d, uint64_t offset, uint64_t size,
                        ColoPiece *piece);
/*
 * The same for a write of zeroes (or a discard). A piece in the store holds
 * other data and has to be overwritten with zeroes there.
 */
void colo_disk_write_zero_at(ColoDisk *d, uint64_t offset, uint64_t size,
                             ColoPiece *piece);
/* Its data is where the piece says. */
void colo_disk_wrote(ColoDisk *d, const ColoPiece *piece);
/*
 * First piece that has to be saved before the peer may write @offset, @size.
 * False: nothing (more) has to be. RUNNING, CUT.
 */
bool colo_disk_undo_at(ColoDisk *d, uint64_t offset, uint64_t size,
                       ColoPiece *piece);
void colo_disk_saved(ColoDisk *d, const ColoPiece *piece);
/*
 * Only look: which bytes undo_at() would give a place to. And, where the
 * parent is known to read as zeroes there, save that without bytes.
 */
bool colo_disk_undo_gap(const ColoDisk *d, uint64_t offset, uint64_t size,
                        uint64_t *gap_offset, uint64_t *gap_size);
void colo_disk_saved_zero(ColoDisk *d, uint64_t offset, uint64_t size);
void colo_disk_abandon(ColoDisk *d, const ColoPiece *piece);

/* ------------------------------------------------------------- merging */

/*
 * The next piece to copy to the parent, at or after @offset and from the
 * beginning again when there is none, at most @size_max bytes. False: all is
 * merged; the stage is ALONE then. MERGING.
 */
bool colo_disk_merge_at(ColoDisk *d, uint64_t offset, uint64_t size_max,
                        ColoPiece *piece);
/* It is on the parent. */
void colo_disk_merged(ColoDisk *d, const ColoPiece *piece);

/* ------------------------------------------------------------ the store */

/*
 * The chunk of position @where. The glue sets .data the first time it writes
 * there; valid until the next write_at, undo_at or stage change.
 */
ColoDiskChunk *colo_disk_chunk(ColoDisk *d, uint64_t where);

/* All of it in bytes, of all generations. */
typedef struct ColoDiskCounts {
    uint64_t own;              /* covered by own */
    uint64_t undo;             /* covered by undo */
    uint64_t memory;           /* chunks in memory; never above the limit */
    uint64_t spilled;          /* chunks in the spill file */
    uint64_t spill_end;        /* size the spill file needs at least */
    uint64_t merge_left;       /* MERGING: still to be copied */
} ColoDiskCounts;

void colo_disk_counts(const ColoDisk *d, ColoDiskCounts *counts);

/*
 * Where this disk may differ from its peer's through own and undo, oldest
 * epoch that is not loaded first: calls @fn for each run, ascending within a
 * map, runs of different maps may overlap. For the map of the resync.
 */
void colo_disk_foreach(const ColoDisk *d,
                       void (*fn)(uint64_t offset, uint64_t size,
                                  void *opaque),
                       void *opaque);

#endif
