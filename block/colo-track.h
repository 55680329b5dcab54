/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: where a disk may differ from its peer's.
 *
 * Two maps and a mark. A mark is a cut that both sides know of and at which
 * both know that all that was written before the mark preceding it is on
 * stable storage on both. `recent` holds what was written since the last
 * mark, `base` what was written between the last two; so a new mark drops
 * base, and recent becomes base. A loss of power may take back what is not
 * durable, on either side, and a mark may fail to reach the secondary;
 * nothing less than both maps may be left out of a resync.
 *
 * Persistent, if the image format keeps bitmaps (qcow2): stored when the node
 * is closed; what a crash leaves behind is known to be incomplete and is not
 * used.
 */
#ifndef BLOCK_COLO_TRACK_H
#define BLOCK_COLO_TRACK_H

#include "block/block-common.h"

typedef struct ColoTrack ColoTrack;

/* @bytes: size of the disk. Nothing differs. */
ColoTrack *colo_track_new(int64_t bytes);
/* NULL is ignored. */
void colo_track_free(ColoTrack *t);
/* Bytes that one bit stands for; a power of two. */
uint32_t colo_track_grain_bytes(const ColoTrack *t);

/* All functions below: any thread. */

/* The two disks are equal and durable: forget all. */
void colo_track_reset(ColoTrack *t);
/* All may differ. */
void colo_track_set_all(ColoTrack *t);
/* The disk has a new size; what is new differs. */
void colo_track_resize(ColoTrack *t, int64_t bytes);
/* Written, or going to be. */
void colo_track_note(ColoTrack *t, int64_t offset, int64_t bytes);
/* A mark; see the top. */
void colo_track_mark(ColoTrack *t);
/* A mark that no peer knows of: nothing is dropped, recent joins base. */
void colo_track_fold(ColoTrack *t);
/* Nothing differs, even without power? */
bool colo_track_is_clean(ColoTrack *t);
/* Size of both maps together. */
uint64_t colo_track_bytes(ColoTrack *t);
/*
 * The next run of base (all, after a fold) at or after @offset, at most
 * @bytes_max long; false: there is none.
 */
bool colo_track_next(ColoTrack *t, int64_t offset, int64_t bytes_max,
                     int64_t *run_offset, int64_t *run_bytes);

/* ----------------------------------------------- main thread, node idle */

/*
 * Take over what store() left in @bs for @session; if there is nothing, all
 * may differ. The image has no such map afterwards.
 */
void colo_track_load(ColoTrack *t, BlockDriverState *bs, const char *session);
/* Leave it there, if the image can keep it. */
void colo_track_store(ColoTrack *t, BlockDriverState *bs, const char *session);

#endif
