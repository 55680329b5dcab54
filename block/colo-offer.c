/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: writes that are offered by their hash instead of being sent.
 *
 * Between the disks and the session, which carries offers and answers over its
 * own channel, in its own thread:
 *
 *   P  a write waits here as PENDING; the session takes it (next) and, when
 *      its answer comes (answered), wakes it
 *   S  the session brings an offer to the disk with that number
 *      (colo_disks_offered); answers that could not be given at once wait here
 *      for the session
 *
 * No offer may be open when the guest is stopped for a checkpoint, since a stop
 * waits for the guest's writes. So the primary makes none from the moment on
 * in which it decides for a checkpoint, and sends its REQUEST when the last one
 * is answered.
 *
 * A write that was declined is sent, at any time later. An offer must then not
 * be accepted any more: it could overtake a newer write of the same place. In a
 * session that goes on only its answer ends the wait. Where it ends without one
 * the secondary may still accept; no cut follows, and both sides have the place
 * among those where the disks differ.
 */
#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "system/block-backend.h"
#include "colo-offer.h"

typedef struct Pending {
    ColoOffer offer;
    const void *owner;
    Coroutine *co;
    bool is_sent;
    int result;                /* of colo_offer_co() */
    QTAILQ_ENTRY(Pending) next;
} Pending;

static const ColoOfferOps *ops;    /* main thread, no request; see begin() */

static QemuMutex lock;             /* what follows */
static bool is_allowed;
static uint64_t next_id;
static QTAILQ_HEAD(, Pending) pending = QTAILQ_HEAD_INITIALIZER(pending);
static GArray *answers;            /* ColoAnswer */

static void __attribute__((constructor)) offers_setup(void)
{
    qemu_mutex_init(&lock);
    answers = g_array_new(false, false, sizeof(ColoAnswer));
}

/* --------------------------------------------------------------- primary */

void colo_offer_hash(const QEMUIOVector *qiov, uint8_t out[COLO_HASH_BYTES])
{
    ops->hash(qiov->iov, qiov->niov, out);
}

static void hash_part(QEMUIOVector *qiov, size_t qiov_offset, size_t bytes,
                      uint8_t out[COLO_HASH_BYTES])
{
    QEMUIOVector part;

    qemu_iovec_init_slice(&part, qiov, qiov_offset, bytes);
    colo_offer_hash(&part, out);
    qemu_iovec_destroy(&part);
}

/* False: nobody can be asked now. */
static bool put(Pending *p)
{
    QEMU_LOCK_GUARD(&lock);
    if (!is_allowed) {
        return false;
    }
    p->offer.id = next_id++;
    QTAILQ_INSERT_TAIL(&pending, p, next);
    return true;
}

static bool may_offer(void)
{
    QEMU_LOCK_GUARD(&lock);
    return is_allowed;
}

int coroutine_fn colo_offer_co(const void *owner, uint64_t disk,
                               int64_t offset, int64_t bytes,
                               QEMUIOVector *qiov, size_t qiov_offset)
{
    Pending p = {
        .offer = { .disk = disk, .offset = offset, .bytes = bytes },
        .owner = owner,
        .co = qemu_coroutine_self(),
    };

    if (!may_offer()) {
        return -EAGAIN;
    }
    hash_part(qiov, qiov_offset, bytes, p.offer.hash);
    if (!put(&p)) {
        return -EAGAIN;
    }
    ops->kick();
    qemu_coroutine_yield();
    return p.result;
}

/* Lock held; @p is gone once its coroutine is awake. */
static void end_locked(Pending *p, int result)
{
    p->result = result;
    QTAILQ_REMOVE(&pending, p, next);
    aio_co_schedule(qemu_coroutine_get_aio_context(p->co), p->co);
}

/* @owner NULL: all. */
void colo_offers_give_up(const void *owner, int ret)
{
    Pending *p, *next;

    QEMU_LOCK_GUARD(&lock);
    QTAILQ_FOREACH_SAFE(p, &pending, next, next) {
        if (!owner || p->owner == owner) {
            end_locked(p, ret);
        }
    }
}

void colo_offers_lost(int ret)
{
    colo_offers_give_up(NULL, ret);
}

bool colo_offers_next(ColoOffer *offer)
{
    Pending *p;

    QEMU_LOCK_GUARD(&lock);
    QTAILQ_FOREACH(p, &pending, next) {
        if (!p->is_sent) {
            p->is_sent = true;
            *offer = p->offer;
            return true;
        }
    }
    return false;
}

void colo_offers_answered(const ColoAnswer *answer)
{
    Pending *p;

    QEMU_LOCK_GUARD(&lock);
    QTAILQ_FOREACH(p, &pending, next) {
        if (p->is_sent && p->offer.id == answer->id) {
            end_locked(p, answer->is_accepted);
            return;
        }
    }
}

/* There will be no answer. */
static void take_back_locked(bool are_sent)
{
    Pending *p, *next;

    QTAILQ_FOREACH_SAFE(p, &pending, next, next) {
        if (!p->is_sent || are_sent) {
            end_locked(p, -EAGAIN);
        }
    }
}

void colo_offers_allow(ColoOffersWhen when)
{
    QEMU_LOCK_GUARD(&lock);
    is_allowed = when == COLO_OFFERS_NOW;
    if (!is_allowed) {
        take_back_locked(when == COLO_OFFERS_NEVER);
    }
}

bool colo_offers_are_open(void)
{
    QEMU_LOCK_GUARD(&lock);
    return !QTAILQ_EMPTY(&pending);
}

/* ------------------------------------------------------------- secondary */

void colo_offer_answer(uint64_t id, bool is_accepted)
{
    const ColoAnswer answer = { id, is_accepted };

    WITH_QEMU_LOCK_GUARD(&lock) {
        g_array_append_val(answers, answer);
    }
    ops->kick();
}

bool colo_offers_next_answer(ColoAnswer *answer)
{
    QEMU_LOCK_GUARD(&lock);
    if (answers->len == 0) {
        return false;
    }
    *answer = g_array_index(answers, ColoAnswer, 0);
    g_array_remove_index(answers, 0);
    return true;
}

/* ----------------------------------------------------------------- begin */

/* Also through a quorum, and below an image. */
static bool GRAPH_RDLOCK is_below(BlockDriverState *top, BlockDriverState *bs)
{
    BdrvChild *c;

    if (top == bs) {
        return true;
    }
    QLIST_FOREACH(c, &top->children, next) {
        if (is_below(c->bs, bs)) {
            return true;
        }
    }
    return false;
}

static uint64_t number_of(BlockDriverState *bs)
{
    BlockBackend *blk = NULL;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    while ((blk = blk_all_next(blk))) {
        DeviceState *dev = blk_get_attached_dev(blk);

        if (dev && blk_bs(blk) && is_below(blk_bs(blk), bs)) {
            return ops->number(dev);
        }
    }
    return 0;
}

void colo_offers_begin(const ColoOfferOps *o, bool can_offer)
{
    GLOBAL_STATE_CODE();
    ops = o;
    WITH_QEMU_LOCK_GUARD(&lock) {
        is_allowed = false;
        next_id = 0;
        g_array_set_size(answers, 0);
    }
    if (can_offer) {
        colo_disks_number(number_of);
    }
}
