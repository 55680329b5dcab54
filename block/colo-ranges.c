/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: requests that overlap, one after the other.
 *
 * The list of the ranges that are held. It is as long as the guest has
 * requests in flight, some tens, so it is searched from end to end.
 */
#include "qemu/osdep.h"
#include "colo-ranges.h"

void colo_ranges_init(ColoRanges *r)
{
    qemu_co_mutex_init(&r->lock);
    QLIST_INIT(&r->held);
}

void coroutine_fn colo_ranges_lock(ColoRanges *r, ColoRange *range,
                                   int64_t offset, int64_t bytes)
{
    qemu_co_mutex_lock(&r->lock);
    reqlist_wait_all(&r->held, offset, bytes, &r->lock);
    reqlist_init_req(&r->held, range, offset, bytes);
    qemu_co_mutex_unlock(&r->lock);
}

void coroutine_fn colo_ranges_unlock(ColoRanges *r, ColoRange *range)
{
    qemu_co_mutex_lock(&r->lock);
    reqlist_remove_req(range);
    qemu_co_mutex_unlock(&r->lock);
}
