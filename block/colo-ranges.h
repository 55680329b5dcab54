/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: requests that overlap, one after the other.
 *
 * Two disks must see overlapping writes in one order, and a copy of a block
 * must not come after a newer write of it. Whoever holds a range is alone on
 * every byte of it; ranges that do not overlap do not meet. Any AioContext.
 */
#ifndef BLOCK_COLO_RANGES_H
#define BLOCK_COLO_RANGES_H

#include "block/reqlist.h"

typedef struct ColoRanges {
    CoMutex lock;
    BlockReqList held;
} ColoRanges;

/* Lives as long as the range is held, on the stack of the request. */
typedef BlockReq ColoRange;

void colo_ranges_init(ColoRanges *r);
/* @bytes > 0. */
void coroutine_fn colo_ranges_lock(ColoRanges *r, ColoRange *range,
                                   int64_t offset, int64_t bytes);
void coroutine_fn colo_ranges_unlock(ColoRanges *r, ColoRange *range);

#endif
