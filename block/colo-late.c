/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the peer's writes go on by themselves once they are here.
 *
 * The primary's guest waits until its write is at both sides. "At the
 * secondary" means: this process has it, and has noted its place. What is left
 * to do - save what it overwrites, write it to the parent - nobody has to wait
 * for before the next flush or the next cut:
 *   - if the secondary dies, the primary has the write;
 *   - if the primary dies, this process goes on and carries it out;
 *   - if both lose power, it is as with any write that was not flushed.
 * So the write is copied, acknowledged and done later ("late"). It keeps its
 * turn among the peer's writes, so one that overlaps it waits, and it counts
 * as a request in flight, so whoever drains waits.
 *
 * A late write that fails can no longer be refused. It is kept in mind
 * instead: everything that the peer asks for from then on fails, so the
 * primary parts from this side, and no cut is entered. This side's guest is
 * not concerned: what it sees does not contain the write anyway.
 *
 * A write that this side's guest has made as well (colo-accept.c) is late from
 * the beginning, and its data is the guest's, which nobody changes until it is
 * on the parent.
 *
 * Where a flush is expected (colo/rhythm.h), it begins with the end of a write
 * and is done, or under way, when the peer asks for it.
 *
 * Memory is bounded; beyond the bound, and for writes that are to be durable
 * at once, the peer waits. So it does where requests run in an iothread: a late
 * write takes the graph's lock by itself, while a flush that has it waits for
 * the write. In the main thread no writer of the graph comes in between.
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "colo-buffer-int.h"
#include "trace.h"

enum {
    BLOCK_BYTES = 256 * KiB,
    /* The part of the buffer's limit that may be late writes. */
    LIMIT_SHARE = 32,
    LIMIT_BYTES_MAX = 8 * MiB,  /* also of the guest's own */
    /* What a cut waits for a disk; as long as the peer would for the link. */
    SETTLE_LIMIT_MS = 2000,
};

typedef struct LateWrite {
    ColoBuffer *b;
    BlockDriverState *ingress;
    ColoPeerWrite w;
    BdrvRequestFlags flags;
    QEMUIOVector qiov;
    ColoOwnWrite *own;         /* instead of @qiov: this side's guest's */
    bool is_to_flush;          /* afterwards, before the peer asks for it */
    uint64_t seq;
    QTAILQ_ENTRY(LateWrite) next;
} LateWrite;

struct ColoLate {
    QTAILQ_HEAD(, LateWrite) writes;   /* the oldest first */
    uint64_t next_seq;
    CoQueue waiters;
    GPtrArray *blocks;         /* idle ones */
    unsigned blocks_count;     /* idle or in use */
    unsigned blocks_max_count;
    unsigned count;            /* of writes; also read atomically */
    uint64_t own_bytes;        /* of those that are the guest's own */
    ColoRhythm rhythm;         /* of the peer's late writes and flushes */
    int ret;                   /* of the first that failed */
};

/* ---------------------------------------------------------------- memory */

/* NULL: there are enough under way. */
static void *take_block_locked(ColoBuffer *b)
{
    ColoLate *late = b->late;
    void *block;

    if (late->blocks->len > 0) {
        return g_ptr_array_steal_index_fast(late->blocks,
                                            late->blocks->len - 1);
    }
    if (late->blocks_count == late->blocks_max_count) {
        return NULL;
    }
    block = qemu_try_blockalign(b->parent->bs, BLOCK_BYTES);
    late->blocks_count += block != NULL;
    return block;
}

static void give_back_locked(LateWrite *l)
{
    int i;

    for (i = 0; i < l->qiov.niov; i++) {
        g_ptr_array_add(l->b->late->blocks, l->qiov.iov[i].iov_base);
    }
    qemu_iovec_destroy(&l->qiov);
}

/* Room for all of it, or none. */
static bool take_room(LateWrite *l)
{
    ColoBuffer *b = l->b;
    uint64_t left = l->w.bytes;

    qemu_iovec_init(&l->qiov, DIV_ROUND_UP(left, BLOCK_BYTES));
    QEMU_LOCK_GUARD(&b->lock);
    while (left > 0) {
        uint64_t part = MIN(left, BLOCK_BYTES);
        void *block = b->late->ret ? NULL : take_block_locked(b);

        if (!block) {
            give_back_locked(l);
            return false;
        }
        qemu_iovec_add(&l->qiov, block, part);
        left -= part;
    }
    return true;
}

/* ---------------------------------------------------------------- writes */

static LateWrite *late_new(ColoBuffer *b, BlockDriverState *ingress,
                           const ColoPeerData *data)
{
    LateWrite *l;

    if ((data->flags & BDRV_REQ_FUA) || b->options.shared ||
        qemu_get_current_aio_context() != qemu_get_aio_context() ||
        data->bytes > (uint64_t)b->late->blocks_max_count * BLOCK_BYTES) {
        return NULL;
    }
    l = g_new0(LateWrite, 1);
    l->b = b;
    l->ingress = ingress;
    l->w.offset = data->offset;
    l->w.bytes = data->bytes;
    l->flags = data->flags & ~BDRV_REQ_REGISTERED_BUF;
    if (!take_room(l)) {
        g_free(l);
        return NULL;
    }
    return l;
}

static void late_free(LateWrite *l)
{
    WITH_QEMU_LOCK_GUARD(&l->b->lock) {
        give_back_locked(l);
    }
    g_free(l);
}

static void coroutine_fn late_done(LateWrite *l, int ret)
{
    ColoBuffer *b = l->b;
    ColoLate *late = b->late;
    BlockDriverState *ingress = l->ingress;

    WITH_QEMU_LOCK_GUARD(&b->lock) {
        if (ret < 0 && !late->ret) {
            late->ret = ret;
        }
        QTAILQ_REMOVE(&late->writes, l, next);
        qatomic_set(&late->count, late->count - 1);
        qemu_co_enter_all(&late->waiters, &b->lock);
    }
    g_free(l);
    aio_wait_kick();
    bdrv_dec_in_flight(ingress);
}

/*
 * What the guest wrote is on the parent, so the store need not have it. Its
 * room is used again when nobody reads it there any more. Lock held.
 */
static void coroutine_fn settle_own(ColoBuffer *b, const LateWrite *l)
{
    guint i;

    if (colo_disk_stage(b->disk) != COLO_DISK_RUNNING) {
        return;                /* it took too long; see colo_late_settle() */
    }
    colo_disk_settled(b->disk, l->w.offset, l->w.bytes);
    colo_peer_wait_for_readers(b, &l->w);
    for (i = 0; i < l->own->pieces->len &&
                colo_disk_stage(b->disk) == COLO_DISK_RUNNING; i++) {
        colo_disk_reuse(b->disk, &g_array_index(l->own->pieces, ColoPiece,
                                                i));
    }
}

static int coroutine_fn GRAPH_RDLOCK write_own_co(LateWrite *l)
{
    ColoBuffer *b = l->b;
    int ret;

    WITH_QEMU_LOCK_GUARD(&b->lock) {
        colo_peer_wait_for_readers(b, &l->w);
    }
    ret = bdrv_co_pwritev(b->parent, l->w.offset, l->w.bytes, &l->own->qiov,
                          0);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        if (ret >= 0) {
            settle_own(b, l);
        }
        reqlist_remove_req(&l->own->turn);
        b->late->own_bytes -= l->own->bytes;
        colo_accept_notice(b, l->w.offset, l->w.bytes);
    }
    colo_peer_end(b, &l->w);
    colo_own_write_free(l->own);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK write_sent_co(LateWrite *l)
{
    ColoBuffer *b = l->b;
    int ret = colo_peer_save(b, &l->w);

    if (ret >= 0) {
        ret = bdrv_co_pwritev(b->parent, l->w.offset, l->w.bytes, &l->qiov,
                              l->flags);
        colo_peer_end(b, &l->w);
    }
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        give_back_locked(l);
    }
    return ret;
}

static void coroutine_fn late_co(void *opaque)
{
    LateWrite *l = opaque;
    ColoBuffer *b = l->b;
    int ret;

    WITH_GRAPH_RDLOCK_GUARD() {
        ret = l->own ? write_own_co(l) : write_sent_co(l);
        if (ret >= 0 && l->is_to_flush) {
            ret = bdrv_co_flush(b->parent->bs);
        }
    }
    late_done(l, ret);
}

static void enlist_locked(LateWrite *l)
{
    ColoLate *late = l->b->late;

    bdrv_inc_in_flight(l->ingress);
    l->is_to_flush = colo_rhythm_write(&late->rhythm, l->w.bytes);
    l->seq = late->next_seq++;
    QTAILQ_INSERT_TAIL(&late->writes, l, next);
    qatomic_set(&late->count, late->count + 1);
}

static void coroutine_fn late_start(LateWrite *l)
{
    WITH_QEMU_LOCK_GUARD(&l->b->lock) {
        enlist_locked(l);
    }
    qemu_coroutine_enter(qemu_coroutine_create(late_co, l));
}

bool coroutine_fn colo_late_write(ColoBuffer *b, BlockDriverState *ingress,
                                  const ColoPeerData *data, int *ret)
{
    LateWrite *l = late_new(b, ingress, data);
    int i;
    size_t at = data->qiov_offset;

    if (!l) {
        return false;
    }
    *ret = colo_peer_enter(b, &l->w);
    if (*ret < 0) {
        late_free(l);
        return true;
    }
    for (i = 0; i < l->qiov.niov; i++) {
        const struct iovec *part = &l->qiov.iov[i];

        qemu_iovec_to_buf(data->qiov, at, part->iov_base, part->iov_len);
        at += part->iov_len;
    }
    late_start(l);
    return true;
}

bool colo_late_has_room(const ColoBuffer *b, uint64_t bytes)
{
    return b->late->own_bytes == 0 ||
           b->late->own_bytes + bytes <= LIMIT_BYTES_MAX;
}

void colo_late_own_locked(ColoBuffer *b, ColoOwnWrite *own)
{
    LateWrite *l = g_new0(LateWrite, 1);

    l->b = b;
    l->ingress = b->ingress;
    l->own = own;
    l->w.offset = own->offset;
    l->w.bytes = own->bytes;
    reqlist_init_req(&b->writers, &own->turn, own->offset, own->bytes);
    b->late->own_bytes += own->bytes;
    colo_peer_enter_own(b, &l->w);
    enlist_locked(l);
    aio_co_schedule(qemu_get_aio_context(), qemu_coroutine_create(late_co, l));
}

int coroutine_fn colo_late_wait(ColoBuffer *b)
{
    ColoLate *late = b->late;
    uint64_t end;

    QEMU_LOCK_GUARD(&b->lock);
    end = late->next_seq;
    while (!QTAILQ_EMPTY(&late->writes) &&
           QTAILQ_FIRST(&late->writes)->seq < end) {
        qemu_co_queue_wait(&late->waiters, &b->lock);
    }
    return late->ret ? -EIO : 0;
}

int coroutine_fn colo_late_flush(ColoBuffer *b)
{
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        colo_rhythm_flush(&b->late->rhythm);
    }
    return colo_late_wait(b);
}

/* None is under way any more. */
static void drain(ColoBuffer *b)
{
    GLOBAL_STATE_CODE();
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&b->late->count) > 0);
}

static void on_timer(void *opaque)
{
    *(bool *)opaque = true;
    aio_wait_kick();
}

void colo_late_settle(ColoBuffer *b)
{
    bool is_over = false;
    QEMUTimer *timer;

    GLOBAL_STATE_CODE();
    if (!qatomic_read(&b->late->count)) {
        return;
    }
    timer = aio_timer_new(qemu_get_aio_context(), QEMU_CLOCK_REALTIME,
                          SCALE_MS, on_timer, &is_over);
    timer_mod(timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                     SETTLE_LIMIT_MS);
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&b->late->count) > 0 &&
                                  !is_over);
    timer_free(timer);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        if (b->late->count > 0 && !b->late->ret) {
            b->late->ret = -ETIMEDOUT;
        }
    }
}

int colo_late_error_locked(const ColoBuffer *b)
{
    return b->late->ret;
}

/* ------------------------------------------------------------------ life */

void colo_late_reset(ColoBuffer *b)
{
    QEMU_LOCK_GUARD(&b->lock);
    b->late->ret = 0;
}

uint64_t colo_late_bytes_max(const ColoBuffer *b)
{
    return (uint64_t)b->late->blocks_max_count * BLOCK_BYTES;
}

/* Memory that the next peer may or may not need. */
void colo_late_forget(ColoBuffer *b)
{
    drain(b);
    QEMU_LOCK_GUARD(&b->lock);
    b->late->blocks_count -= b->late->blocks->len;
    g_ptr_array_set_size(b->late->blocks, 0);
}

void colo_late_init(ColoBuffer *b)
{
    uint64_t bytes = MIN(b->options.limit_bytes / LIMIT_SHARE,
                         LIMIT_BYTES_MAX);

    b->late = g_new0(ColoLate, 1);
    b->late->blocks = g_ptr_array_new_with_free_func(qemu_vfree);
    b->late->blocks_max_count = bytes / BLOCK_BYTES;
    QTAILQ_INIT(&b->late->writes);
    qemu_co_queue_init(&b->late->waiters);
}

void colo_late_destroy(ColoBuffer *b)
{
    drain(b);
    g_ptr_array_unref(b->late->blocks);
    g_free(b->late);
}
