/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: after a takeover own and undo move into the parent.
 *
 * A coroutine of the main loop, whatever thread the disk is in: requests may
 * come from any, and there it need not move when the disk does. It copies up
 * to MERGE_BYTES at a time, then sleeps as long as the speed demands. While
 * the node is drained it does nothing, so it is no obstacle to changes of the
 * graph.
 *
 * A piece that cannot be written stays in the maps, where the guest finds it;
 * the others are merged, then it is tried again, for as long as it takes: the
 * usual cause is a full file system below, and that can be helped. What
 * happened is told once.
 *
 * When the node is closed, what is left is merged at once: the guest has been
 * told that it is kept.
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qemu/error-report.h"
#include "qemu/memalign.h"
#include "colo-buffer-int.h"
#include "trace.h"

#define MERGE_BYTES (1024 * 1024)
#define ZEROES_BYTES (8 * 1024 * 1024)
#define ZEROES_COST 4096       /* bytes, to the speed */
#define PLACES_MAX 32
#define SLICE_NS (100 * SCALE_MS)
#define RETRY_NS (1000 * SCALE_MS)

typedef struct MergeRound {
    uint64_t offset;           /* bytes, on the disk */
    uint64_t bytes;
    ColoPiece pieces[PLACES_MAX];
    ColoPlace places[PLACES_MAX];
    unsigned count;
    bool is_zero;              /* one piece of zeroes */
    BlockReq req;
} MergeRound;

/* -------------------------------------------------------------- one round */

/* Take one more piece, if it is next to those before. Lock held. */
static bool collect_more(ColoBuffer *b, MergeRound *r)
{
    ColoPiece *piece = &r->pieces[r->count];
    uint64_t end = r->offset + r->bytes;

    if (r->is_zero || r->count == PLACES_MAX || r->bytes >= MERGE_BYTES ||
        !colo_disk_merge_at(b->disk, end, MERGE_BYTES - r->bytes, piece) ||
        piece->is_zero || piece->offset != end) {
        return false;
    }
    colo_memory_find(b, piece, &r->places[r->count++]);
    r->bytes += piece->size;
    return true;
}

/* Adjacent pieces at @from or later. False: all is merged. Lock held. */
static bool collect(ColoBuffer *b, uint64_t from, MergeRound *r)
{
    ColoPiece *first = &r->pieces[0];

    if (!colo_disk_merge_at(b->disk, from, ZEROES_BYTES, first)) {
        return false;
    }
    colo_memory_find(b, first, &r->places[0]);
    r->count = 1;
    r->offset = first->offset;
    r->bytes = first->size;
    r->is_zero = first->is_zero;
    while (collect_more(b, r)) {
    }
    return true;
}

/* As collect(), and nobody writes there. Lock held, dropped meanwhile. */
static bool coroutine_fn begin_round(ColoBuffer *b, uint64_t from,
                                     MergeRound *r)
{
    BlockReq *other;

    while (collect(b, from, r)) {
        other = reqlist_find_conflict(&b->writers, r->offset, r->bytes);
        if (!other) {
            reqlist_init_req(&b->writers, &r->req, r->offset, r->bytes);
            return true;
        }
        qemu_co_queue_wait(&other->wait_queue, &b->lock);
    }
    return false;
}

static int coroutine_fn GRAPH_RDLOCK copy_data(ColoBuffer *b,
                                               const MergeRound *r)
{
    uint8_t *buf = qemu_try_blockalign(b->parent->bs, r->bytes);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, r->bytes);
    unsigned i;
    int ret = 0;

    if (!buf) {
        return -ENOMEM;
    }
    for (i = 0; i < r->count && ret >= 0; i++) {
        ret = colo_place_get(b, &r->places[i], &qiov, 0, r->offset);
    }
    if (ret >= 0) {
        ret = bdrv_co_pwritev(b->parent, r->offset, r->bytes, &qiov, 0);
    }
    qemu_vfree(buf);
    return ret < 0 ? ret : 0;
}

static int coroutine_fn GRAPH_RDLOCK copy_round(ColoBuffer *b,
                                                const MergeRound *r)
{
    return r->is_zero ? bdrv_co_pwrite_zeroes(b->parent, r->offset, r->bytes,
                                              BDRV_REQ_MAY_UNMAP)
                      : copy_data(b, r);
}

/* Lock held. */
static void coroutine_fn end_round(ColoBuffer *b, MergeRound *r, bool ok)
{
    unsigned i;

    for (i = 0; i < r->count && ok; i++) {
        colo_disk_merged(b->disk, &r->pieces[i]);
    }
    reqlist_remove_req(&r->req);
}

/* 1: merged @r; 0: all is merged; else -errno. */
static int coroutine_fn merge_round(ColoBuffer *b, uint64_t from,
                                    MergeRound *r)
{
    int ret;

    qemu_mutex_lock(&b->lock);
    if (!begin_round(b, from, r)) {
        qemu_mutex_unlock(&b->lock);
        return 0;
    }
    qemu_mutex_unlock(&b->lock);
    bdrv_graph_co_rdlock();
    ret = copy_round(b, r);
    bdrv_graph_co_rdunlock();
    qemu_mutex_lock(&b->lock);
    end_round(b, r, ret == 0);
    qemu_mutex_unlock(&b->lock);
    trace_colo_disk_merge(b->bs->node_name, r->offset, r->bytes, ret);
    return ret < 0 ? ret : 1;
}

/* ------------------------------------------------------------------ all */

static bool coroutine_fn may_go_on(ColoBuffer *b)
{
    ColoMerge *m = &b->merge;

    while (b->quiesce_count > 0 && !m->hurry) {
        m->paused = true;
        qemu_coroutine_yield();
    }
    return !(m->hurry && m->has_failed);
}

static void coroutine_fn sleep_ns(ColoMerge *m, int64_t ns)
{
    if (ns > 0 && !m->hurry) {
        qemu_co_sleep_ns_wakeable(&m->sleep, QEMU_CLOCK_REALTIME, ns);
    }
}

static void tell(ColoMerge *m, int ret)
{
    if (m->fn) {
        m->ret = ret;
        m->is_news = true;
        qemu_bh_schedule(m->told_bh);
    }
}

static void told_bh(void *opaque)
{
    ColoMerge *m = opaque;

    m->is_news = false;
    m->fn(m->opaque, m->ret);
}

/* Wait for those who may still look at the store. Lock held. */
static void coroutine_fn wait_for_all(ColoBuffer *b)
{
    BlockReq *req;

    while ((req = QLIST_FIRST(&b->readers) ?: QLIST_FIRST(&b->writers))) {
        qemu_co_queue_wait(&req->wait_queue, &b->lock);
    }
}

/* All is in the parent; 0 or -errno. */
static int coroutine_fn finish(ColoBuffer *b)
{
    ColoDropped *dropped;
    int ret;

    bdrv_graph_co_rdlock();
    ret = bdrv_co_flush(b->parent->bs);
    bdrv_graph_co_rdunlock();
    if (ret < 0) {
        return ret;
    }
    qatomic_set(&b->active, false);
    qemu_mutex_lock(&b->lock);
    wait_for_all(b);
    dropped = colo_disk_leftover(b->disk);
    qemu_mutex_unlock(&b->lock);
    colo_memory_release(b, dropped, true);
    return 0;
}

static bool has_work(ColoBuffer *b)
{
    QEMU_LOCK_GUARD(&b->lock);
    return colo_disk_stage(b->disk) == COLO_DISK_MERGING;
}

static void coroutine_fn merge_co(void *opaque)
{
    ColoBuffer *b = opaque;
    ColoMerge *m = &b->merge;
    MergeRound r = { .bytes = 0 };
    bool is_copied = !has_work(b);
    int ret = 1;

    while (ret != 0 && may_go_on(b)) {
        bdrv_inc_in_flight(b->bs);
        ret = is_copied ? 0 : merge_round(b, r.offset + r.bytes, &r);
        if (ret == 0) {
            is_copied = true;
            ret = finish(b);
        }
        bdrv_dec_in_flight(b->bs);
        if (ret > 0) {
            sleep_ns(m, ratelimit_calculate_delay(&m->limit,
                                                  r.is_zero ? ZEROES_COST
                                                            : r.bytes));
        } else if (ret < 0) {
            if (!m->has_failed) {
                tell(m, ret);
            }
            m->has_failed = true;
            sleep_ns(m, RETRY_NS);
        }
    }
    if (ret == 0) {
        tell(m, 0);
    }
    m->co = NULL;
    aio_wait_kick();
}

static void resume(ColoMerge *m)
{
    if (m->paused) {
        m->paused = false;
        /* Not at once: the graph may be in the middle of a change. */
        aio_co_schedule(qemu_get_aio_context(), m->co);
    }
}

void colo_buffer_drained_begin(ColoBuffer *b)
{
    GLOBAL_STATE_CODE();
    b->quiesce_count++;
}

void colo_buffer_drained_end(ColoBuffer *b)
{
    GLOBAL_STATE_CODE();
    if (--b->quiesce_count == 0) {
        resume(&b->merge);
    }
}

void colo_merge_init(ColoBuffer *b)
{
    ColoMerge *m = &b->merge;

    ratelimit_init(&m->limit);
    ratelimit_set_speed(&m->limit, b->options.merge_speed, SLICE_NS);
    m->told_bh = aio_bh_new(qemu_get_aio_context(), told_bh, m);
}

void colo_merge_start(ColoBuffer *b, void (*merged)(void *opaque, int ret),
                      void *opaque)
{
    ColoMerge *m = &b->merge;

    GLOBAL_STATE_CODE();
    m->fn = merged;
    m->opaque = opaque;
    m->co = qemu_coroutine_create(merge_co, b);
    aio_co_schedule(qemu_get_aio_context(), m->co);
}

void colo_merge_destroy(ColoBuffer *b)
{
    ColoMerge *m = &b->merge;

    GLOBAL_STATE_CODE();
    m->hurry = true;
    m->has_failed = false;
    resume(m);
    qemu_co_sleep_wake(&m->sleep);
    AIO_WAIT_WHILE_UNLOCKED(NULL, m->co);
    if (has_work(b)) {
        error_report("Disk '%s' could not be merged: it is of use to a resync "
                     "only", b->bs->node_name);
    }
    if (m->is_news) {
        told_bh(m);
    }
    qemu_bh_delete(m->told_bh);
    ratelimit_destroy(&m->limit);
}
