/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the primary's side of one disk: what its guest writes is sent to the
 * secondary's disk as well.
 *
 * The secondary gets it first: a request goes to the local disk when the
 * secondary has acknowledged it. So whatever the local disk holds, the
 * secondary knows of, and a primary that died comes back with a disk that
 * differs in known places only. A large write is offered first
 * (colo/offer.h); accepted, it counts as sent.
 *
 * An error or a peer silent for longer than the limit is final: the forward is
 * broken, the guest's request is completed locally, and the session is told
 * (colo_disks_failed()), so that no checkpoint is taken that such a write would
 * be missing from.
 */
#ifndef BLOCK_COLO_FORWARD_H
#define BLOCK_COLO_FORWARD_H

#include "block/block_int.h"
#include "qapi/qapi-types-colo-disk.h"

typedef struct ColoForward ColoForward;

/*
 * @target: the child through which the peer's disk is written. @number: of
 * the disk (block/colo.h), for as long as it may change; NULL: nothing is
 * offered, everything is sent.
 */
ColoForward *colo_forward_new(BdrvChild *target, uint32_t limit_ms,
                              const uint64_t *number);
/* Drained. Main thread. NULL is ignored. */
void colo_forward_free(ColoForward *f);

/* Broken? Then why. Any thread. */
bool colo_forward_check(ColoForward *f, Error **errp);
/* Break it from outside, e.g. because its node is going away. */
void colo_forward_break(ColoForward *f, int ret, const char *what);

typedef enum ColoForwardOp {
    COLO_FORWARD_WRITE,
    COLO_FORWARD_ZEROES,
    COLO_FORWARD_DISCARD,
    COLO_FORWARD_FLUSH,
} ColoForwardOp;

/*
 * One request, sent and acknowledged; @qiov for WRITE only. False: broken,
 * now or before; what the guest asked has to be done locally and counts as
 * a difference.
 */
bool coroutine_fn GRAPH_RDLOCK
colo_forward_co(ColoForward *f, ColoForwardOp op, int64_t offset,
                int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset,
                BdrvRequestFlags flags);

/*
 * Is the peer's disk known to read as zeroes at @offset? *@run: how many of
 * @bytes the answer is for, > 0. Under the same limit as a request. False if
 * not, or not known, or broken.
 */
bool coroutine_fn GRAPH_RDLOCK
colo_forward_is_zero_co(ColoForward *f, int64_t offset, int64_t bytes,
                        int64_t *run);

/*
 * The guest's write has ended, here as well; the guest asks for a flush. True:
 * it is expected to (colo/rhythm.h).
 */
bool colo_forward_wrote(ColoForward *f, uint64_t bytes);
void colo_forward_asked_to_flush(ColoForward *f);

/* Bytes sent since the last call of this function. */
uint64_t colo_forward_take_bytes(ColoForward *f);
ColoDiskForwardInfo *colo_forward_info(ColoForward *f, bool in_sync);

#endif
