/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: writes that are offered by their hash instead of being sent, as the
 * two ends in block/ see it; the session's side is in block/colo.h.
 */
#ifndef BLOCK_COLO_OFFER_H
#define BLOCK_COLO_OFFER_H

#include "block/block_int.h"
#include "block/colo.h"

/*
 * Primary: offer a write to @disk, and wait for the answer. 1: accepted, which
 * stands for sent and acknowledged. 0: declined, it has to be sent. -EAGAIN:
 * so it has, since there is nobody to answer. Else what @owner gave up with.
 * Any AioContext.
 */
int coroutine_fn colo_offer_co(const void *owner, uint64_t disk,
                               int64_t offset, int64_t bytes,
                               QEMUIOVector *qiov, size_t qiov_offset);
/* All of @owner's that wait end with @ret. Any thread. */
void colo_offers_give_up(const void *owner, int ret);

/* All disks get the number of the guest's device that @number finds. */
void colo_disks_number(uint64_t (*number)(BlockDriverState *bs));

/* Secondary: the hash of all of @qiov, as in an offer. */
void colo_offer_hash(const QEMUIOVector *qiov, uint8_t out[COLO_HASH_BYTES]);
/* The answer to an offer that had to wait. Any thread. */
void colo_offer_answer(uint64_t id, bool is_accepted);

#endif
