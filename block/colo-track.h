/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: where a disk may differ from its peer's.
 *
 * Two bitmaps. `base` holds what was written since the last moment at which
 * both disks were equal and both had it on stable storage; `recent` what was
 * written since the last cut. At a cut of which both sides learn that all
 * before the one preceding it is durable, recent becomes base; otherwise it
 * is added to base. A loss of power may take back what was not durable, on
 * either side, so nothing less than both may be left out of a resync.
 *
 * Persistent, if the image format keeps bitmaps (qcow2): stored when the node
 * is closed; what a crash leaves behind is known to be incomplete and is not
 * used.
 */
#ifndef BLOCK_COLO_TRACK_H
#define BLOCK_COLO_TRACK_H

#include "block/block_int.h"

typedef struct ColoTrack ColoTrack;

/* @bytes: size of the disk. Nothing differs. */
ColoTrack *colo_track_new(int64_t bytes);
void colo_track_free(ColoTrack *t);

/* The two are equal and durable: forget all. BQL. */
void colo_track_reset(ColoTrack *t);
/* All may differ. */
void colo_track_set_all(ColoTrack *t);
/* Written, or going to be. Any thread. */
void colo_track_note(ColoTrack *t, int64_t offset, int64_t bytes);
/* A cut; see the top. */
void colo_track_cut(ColoTrack *t, bool durable);
/* Written since the last reset, or durable cut. Any thread. */
bool colo_track_is_clean(ColoTrack *t);
uint64_t colo_track_bytes(ColoTrack *t);

/*
 * The next run that differs at or after @offset, at most @bytes_max long;
 * false: none. What clear() is given is no longer said to differ.
 */
bool colo_track_next(ColoTrack *t, int64_t offset, int64_t bytes_max,
                     int64_t *run_offset, int64_t *run_bytes);
void colo_track_clear(ColoTrack *t, int64_t offset, int64_t bytes);

#endif
