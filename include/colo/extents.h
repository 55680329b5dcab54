/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: runs of bytes of a disk, and where their contents are kept.
 *
 * An interval map. Its extents do not overlap; an extent says that the @size
 * bytes of the disk at @offset are kept at position @where of some store (see
 * colo/disk.h). Two extents that touch on the disk and in the store are one.
 * The map holds numbers only, never data. One owner at a time.
 */
#ifndef COLO_EXTENTS_H
#define COLO_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ColoExtents ColoExtents;

typedef struct ColoExtent {
    uint64_t offset;           /* bytes, on the disk */
    uint64_t size;             /* bytes, > 0 */
    uint64_t where;            /* position of the first byte in the store */
} ColoExtent;

ColoExtents *colo_extents_new(void);
/* Takes time with the number of extents; any thread that owns @m. */
void colo_extents_free(ColoExtents *m);

uint64_t colo_extents_count(const ColoExtents *m);
/* Bytes of the disk that the map covers. */
uint64_t colo_extents_bytes(const ColoExtents *m);

/*
 * The first extent that has a byte at or after @offset, cut so that it begins
 * at @offset or later. False: there is none. O(log n).
 */
bool colo_extents_next(const ColoExtents *m, uint64_t offset,
                       ColoExtent *found);

/*
 * What lies at @offset, at most @size bytes on: true and an extent that
 * begins there, cut to @size; or false and, in *@hole, how many of these
 * bytes the map does not cover from @offset on (1 .. @size). @size > 0.
 */
bool colo_extents_at(const ColoExtents *m, uint64_t offset, uint64_t size,
                     ColoExtent *found, uint64_t *hole);

/* Cover a hole. Nothing of it may be covered yet; offset + size <= 2^63. */
void colo_extents_add(ColoExtents *m, const ColoExtent *e);

/* Uncover; splits what it cuts. The store keeps its bytes. */
void colo_extents_remove(ColoExtents *m, uint64_t offset, uint64_t size);

#endif
