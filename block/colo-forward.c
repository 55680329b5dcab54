/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the primary's side of one disk: what its guest writes is sent to the
 * secondary's disk as well.
 *
 * A list of the requests on their way, the oldest first, and one timer. The
 * timer runs only while there are requests, is set for the oldest one, and is
 * not touched by the ones that come and go in between: it looks again when it
 * fires. It belongs to the main thread's context, which is the one that is
 * polled while somebody waits for a drain; it uses a clock that runs while
 * the guest is stopped. When it fires far too late, this machine stood still
 * and not the peer: whoever reads the answers gets a little time to do so.
 *
 * A request that is too old is not given up: the target may still read the
 * guest's memory. Instead the connection below is cut, which makes the target
 * give it back. What has no such connection (a file on a network that hangs)
 * cannot be made to; then the guest's write takes as long as it takes, but
 * the forward is broken all the same and nothing more is sent.
 *
 * Once broken, for ever broken: the peer lacks a write, so the two differ.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-yank.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "qemu/yank.h"
#include "block/block-io.h"
#include "block/block-global-state.h"
#include "block/colo.h"
#include "colo-forward.h"
#include "colo-offer.h"
#include "colo/offer.h"
#include "colo/rhythm.h"

enum {
    LATE_PARTS = 8,            /* of the limit: the grace, and what is late */
};

typedef struct Request {
    int64_t start_ns;
    uint64_t changes_count;            /* that had ended by then */
    QTAILQ_ENTRY(Request) next;
} Request;

struct ColoForward {
    /* main thread, drained */
    BdrvChild *target;
    uint32_t limit_ms;
    const uint64_t *number;
    QEMUTimer *timer;

    /* @lock */
    QemuMutex lock;
    QTAILQ_HEAD(, Request) in_flight;  /* the oldest first */
    unsigned in_flight_count;
    bool is_armed;
    int64_t timer_ns;                  /* when it is to fire */
    char *reason;                      /* why it is broken; NULL: it is not */
    uint64_t changes_count;            /* requests but flushes, ended */
    uint64_t flushed_count;            /* of these, on the peer's medium */
    ColoRhythm rhythm;                 /* of the guest */
    ColoOfferPolicy offers;
    uint64_t request_count;
    uint64_t sent_bytes;
    uint64_t taken_bytes;              /* of these, by take_bytes() */
    uint64_t accepted_bytes;           /* of these, not sent but offered */
    uint64_t failed_count;
    int64_t longest_ns;
};

static const char *const op_names[] = {
    [COLO_FORWARD_WRITE] = "a write",
    [COLO_FORWARD_ZEROES] = "a write of zeroes",
    [COLO_FORWARD_DISCARD] = "a discard",
    [COLO_FORWARD_FLUSH] = "a flush",
};

static int64_t now_ns(void)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
}

static int64_t limit_ns(const ColoForward *f)
{
    return (int64_t)f->limit_ms * SCALE_MS;
}

/* -------------------------------------------------------------- breaking */

/* The first reason stays. True: this is it, and the session is to be told. */
static bool set_broken_locked(ColoForward *f, char *reason)
{
    if (f->reason) {
        g_free(reason);
        return false;
    }
    f->reason = reason;
    return true;
}

/* The node below @bs that talks to the peer: filters have one child only. */
static BlockDriverState * GRAPH_RDLOCK find_connection(BlockDriverState *bs)
{
    while (bs && !bs->drv->protocol_name) {
        bs = bdrv_primary_bs(bs);
    }
    return bs;
}

static void yank_node(const char *node_name)
{
    YankInstanceList list = {
        .value = BLOCKDEV_YANK_INSTANCE((char *)node_name),
    };

    /* An error says that the node has no connection that could be cut. */
    qmp_yank(&list, NULL);
}

static void yank_bh(void *opaque)
{
    g_autofree char *node_name = opaque;

    yank_node(node_name);
}

/*
 * Make the target give back what it has. The connection is cut in the thread
 * that uses it: the lock of the yank functions and the one of the NBD client
 * are taken in either order, so not while that thread is in a request.
 */
static void cut_connection(ColoForward *f)
{
    BlockDriverState *bs;
    AioContext *ctx;

    GLOBAL_STATE_CODE();
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    bs = find_connection(f->target->bs);
    if (!bs) {
        return;
    }
    ctx = bdrv_get_aio_context(bs);
    if (ctx == qemu_get_aio_context()) {
        yank_node(bs->node_name);
    } else {
        aio_bh_schedule_oneshot(ctx, yank_bh, g_strdup(bs->node_name));
    }
    bdrv_cancel_in_flight(bs);
}

static void arm_locked(ColoForward *f, int64_t at_ns)
{
    f->is_armed = true;
    f->timer_ns = at_ns;
    timer_mod(f->timer, at_ns);
}

/* When a request of @start_ns is late, for a timer that fires at @now_ns. */
static int64_t due_locked(const ColoForward *f, int64_t start_ns,
                          int64_t now_ns)
{
    int64_t due_ns = start_ns + limit_ns(f);
    int64_t grace_ns = limit_ns(f) / LATE_PARTS;

    return now_ns - f->timer_ns > grace_ns ? MAX(due_ns, now_ns + grace_ns)
                                           : due_ns;
}

static void on_timer(void *opaque)
{
    ColoForward *f = opaque;
    const Request *oldest;
    bool is_late = false, is_first = false;

    WITH_QEMU_LOCK_GUARD(&f->lock) {
        f->is_armed = false;
        oldest = QTAILQ_FIRST(&f->in_flight);
        if (oldest) {
            int64_t at_ns = now_ns();
            int64_t due_ns = due_locked(f, oldest->start_ns, at_ns);

            is_late = due_ns <= at_ns;
            arm_locked(f, is_late ? at_ns + limit_ns(f) : due_ns);
        }
        if (is_late) {
            is_first = set_broken_locked(f, g_strdup_printf(
                "Node '%s' gave no answer for %" PRIu32 " ms (link-limit)",
                f->target->bs->node_name, f->limit_ms));
        }
    }
    if (is_late) {
        colo_offers_give_up(f, -ETIMEDOUT);
        cut_connection(f);
    }
    if (is_first) {
        colo_disks_failed();
    }
}

void colo_forward_break(ColoForward *f, int ret, const char *what)
{
    const char *node = f->target->bs->node_name;
    bool is_first;

    WITH_QEMU_LOCK_GUARD(&f->lock) {
        is_first = set_broken_locked(f, g_strdup_printf("Node '%s': %s: %s",
                                                        node, what,
                                                        strerror(-ret)));
    }
    if (is_first) {
        colo_disks_failed();
    }
}

bool colo_forward_check(ColoForward *f, Error **errp)
{
    QEMU_LOCK_GUARD(&f->lock);
    if (f->reason) {
        error_setg(errp, "The secondary's disk is lost: %s", f->reason);
        return false;
    }
    return true;
}

/* -------------------------------------------------------------- requests */

/* False: broken, nothing may be sent. */
static bool request_begin(ColoForward *f, Request *r)
{
    QEMU_LOCK_GUARD(&f->lock);
    if (f->reason) {
        return false;
    }
    r->start_ns = now_ns();
    r->changes_count = f->changes_count;
    QTAILQ_INSERT_TAIL(&f->in_flight, r, next);
    f->in_flight_count++;
    if (!f->is_armed) {
        arm_locked(f, r->start_ns + limit_ns(f));
    }
    return true;
}

static void request_end(ColoForward *f, Request *r, int ret)
{
    QEMU_LOCK_GUARD(&f->lock);
    QTAILQ_REMOVE(&f->in_flight, r, next);
    f->in_flight_count--;
    f->longest_ns = MAX(f->longest_ns, now_ns() - r->start_ns);
    if (ret < 0) {
        f->failed_count++;
    }
}

/*
 * What is on the peer's medium already needs no round trip: guests flush before
 * and after a write that is to be durable.
 */
static bool is_flushed(ColoForward *f)
{
    QEMU_LOCK_GUARD(&f->lock);
    return !f->reason && f->flushed_count == f->changes_count;
}

static void note_done(ColoForward *f, ColoForwardOp op, const Request *r)
{
    QEMU_LOCK_GUARD(&f->lock);
    if (op != COLO_FORWARD_FLUSH) {
        f->changes_count++;
    } else if (f->flushed_count < r->changes_count) {
        f->flushed_count = r->changes_count;
    }
}

static int coroutine_fn GRAPH_RDLOCK
send_request(ColoForward *f, ColoForwardOp op, int64_t offset, int64_t bytes,
             QEMUIOVector *qiov, size_t qiov_offset, BdrvRequestFlags flags)
{
    switch (op) {
    case COLO_FORWARD_WRITE:
        return bdrv_co_pwritev_part(f->target, offset, bytes, qiov,
                                    qiov_offset, flags & BDRV_REQ_FUA);
    case COLO_FORWARD_ZEROES:
        /* A peer that has no fast way takes the slow one. */
        return bdrv_co_pwrite_zeroes(f->target, offset, bytes,
                                     flags & (BDRV_REQ_FUA |
                                              BDRV_REQ_MAY_UNMAP));
    case COLO_FORWARD_DISCARD:
        return bdrv_co_pdiscard(f->target, offset, bytes);
    case COLO_FORWARD_FLUSH:
        return bdrv_co_flush(f->target->bs);
    default:
        g_assert_not_reached();
    }
}

static bool is_to_offer(ColoForward *f, ColoForwardOp op, int64_t bytes,
                        BdrvRequestFlags flags)
{
    QEMU_LOCK_GUARD(&f->lock);
    return op == COLO_FORWARD_WRITE && !(flags & BDRV_REQ_FUA) &&
           f->number && *f->number && colo_offer_choose(&f->offers, bytes);
}

static void note_answer(ColoForward *f, int64_t bytes, bool is_accepted)
{
    QEMU_LOCK_GUARD(&f->lock);
    colo_offer_answered(&f->offers, is_accepted);
    f->accepted_bytes += is_accepted ? bytes : 0;
}

/* A secondary that has written the same itself need not be sent it. */
static int coroutine_fn GRAPH_RDLOCK
offer_or_send(ColoForward *f, ColoForwardOp op, int64_t offset, int64_t bytes,
              QEMUIOVector *qiov, size_t qiov_offset, BdrvRequestFlags flags)
{
    if (is_to_offer(f, op, bytes, flags)) {
        int ret = colo_offer_co(f, *f->number, offset, bytes, qiov,
                                qiov_offset);

        if (ret >= 0) {
            note_answer(f, bytes, ret > 0);
        }
        if (ret > 0 || (ret < 0 && ret != -EAGAIN)) {
            return ret;
        }
    }
    return send_request(f, op, offset, bytes, qiov, qiov_offset, flags);
}

bool coroutine_fn GRAPH_RDLOCK
colo_forward_co(ColoForward *f, ColoForwardOp op, int64_t offset,
                int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset,
                BdrvRequestFlags flags)
{
    Request r;
    int ret;

    if (op == COLO_FORWARD_FLUSH && is_flushed(f)) {
        return true;
    }
    if (!request_begin(f, &r)) {
        return false;
    }
    WITH_QEMU_LOCK_GUARD(&f->lock) {
        f->request_count++;
        f->sent_bytes += bytes;
    }
    ret = offer_or_send(f, op, offset, bytes, qiov, qiov_offset, flags);
    request_end(f, &r, ret);
    if (ret >= 0) {
        note_done(f, op, &r);
    } else {
        g_autofree char *what = op == COLO_FORWARD_FLUSH
            ? g_strdup("a flush failed")
            : g_strdup_printf("%s of %" PRId64 " bytes at offset %" PRId64
                              " failed", op_names[op], bytes, offset);

        colo_forward_break(f, ret, what);
    }
    return ret >= 0;
}

bool coroutine_fn GRAPH_RDLOCK
colo_forward_is_zero_co(ColoForward *f, int64_t offset, int64_t bytes,
                        int64_t *run)
{
    Request r;
    int ret;

    *run = bytes;
    if (!request_begin(f, &r)) {
        return false;
    }
    ret = bdrv_co_block_status_above(f->target->bs, NULL, offset, bytes, run,
                                     NULL, NULL);
    request_end(f, &r, 0);
    if (ret < 0 || *run == 0) {
        /* If this was the link, the request that follows will tell. */
        *run = bytes;
        return false;
    }
    return ret & BDRV_BLOCK_ZERO;
}

/* ---------------------------------------------------------------- rhythm */

bool colo_forward_wrote(ColoForward *f, uint64_t bytes)
{
    QEMU_LOCK_GUARD(&f->lock);
    return colo_rhythm_write(&f->rhythm, bytes);
}

void colo_forward_asked_to_flush(ColoForward *f)
{
    QEMU_LOCK_GUARD(&f->lock);
    colo_rhythm_flush(&f->rhythm);
}

/* -------------------------------------------------------------- counters */

uint64_t colo_forward_take_bytes(ColoForward *f)
{
    uint64_t bytes;

    QEMU_LOCK_GUARD(&f->lock);
    bytes = f->sent_bytes - f->taken_bytes;
    f->taken_bytes = f->sent_bytes;
    return bytes;
}

ColoDiskForwardInfo *colo_forward_info(ColoForward *f, bool in_sync)
{
    ColoDiskForwardInfo *info = g_new0(ColoDiskForwardInfo, 1);

    QEMU_LOCK_GUARD(&f->lock);
    info->target = g_strdup(f->target->bs->node_name);
    info->in_sync = in_sync && !f->reason;
    info->requests = f->request_count;
    info->bytes = f->sent_bytes;
    info->accepted = f->accepted_bytes;
    info->failed = f->failed_count;
    info->in_flight = f->in_flight_count;
    info->longest_us = f->longest_ns / SCALE_US;
    return info;
}

ColoForward *colo_forward_new(BdrvChild *target, uint32_t limit_ms,
                              const uint64_t *number)
{
    ColoForward *f = g_new0(ColoForward, 1);

    GLOBAL_STATE_CODE();
    f->target = target;
    f->limit_ms = limit_ms;
    f->number = number;
    f->changes_count = 1;       /* what was written before is not known */
    f->timer = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME,
                             SCALE_NS, on_timer, f);
    qemu_mutex_init(&f->lock);
    QTAILQ_INIT(&f->in_flight);
    return f;
}

void colo_forward_free(ColoForward *f)
{
    GLOBAL_STATE_CODE();
    if (!f) {
        return;
    }
    assert(QTAILQ_EMPTY(&f->in_flight));
    timer_free(f->timer);
    qemu_mutex_destroy(&f->lock);
    g_free(f->reason);
    g_free(f);
}
