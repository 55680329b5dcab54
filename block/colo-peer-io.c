/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: a write of the peer, up to the moment when the parent may take it.
 *
 * What it is about to overwrite is saved for this side's guest, unless it has
 * been before, in this epoch. Where the parent reads as zeroes nothing has to
 * be read, and nothing takes room. Then the reads of the guest that may still
 * look at the old data are waited for.
 *
 * A write that cannot be undone is refused: the primary learns of it as of any
 * other failed write, and this side stays sound.
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "qemu/memalign.h"
#include "qemu/range.h"
#include "colo-buffer-int.h"
#include "trace.h"

#define PLACES_MAX 16
/* From here on it pays to ask whether the parent reads as zeroes. */
#define STATUS_MIN_BYTES (32 * 1024)

/* ------------------------------------------------------------------ turn */

/* While another waits, the guest's own data may get lost: BROKEN. */
static bool keeps_undo(ColoBuffer *b)
{
    return colo_disk_stage(b->disk) == COLO_DISK_RUNNING ||
           colo_disk_stage(b->disk) == COLO_DISK_CUT;
}

bool colo_peer_may_write(ColoBuffer *b)
{
    return colo_disk_stage(b->disk) == COLO_DISK_OFF || keeps_undo(b);
}

static int coroutine_fn take_turn(ColoBuffer *b, ColoPeerWrite *w)
{
    QEMU_LOCK_GUARD(&b->lock);
    while (b->gate_closed) {
        qemu_co_queue_wait(&b->gate_queue, &b->lock);
    }
    if (!colo_peer_may_write(b) || colo_late_error_locked(b)) {
        return -EIO;
    }
    qatomic_set(&b->peer_count, b->peer_count + 1);
    qatomic_set(&b->saving_count, b->saving_count + 1);
    colo_buffer_take_turn(b, &b->peers, &w->req, w->offset, w->bytes);
    return 0;
}

void coroutine_fn colo_peer_end(ColoBuffer *b, ColoPeerWrite *w)
{
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        reqlist_remove_req(&w->req);
        qatomic_set(&b->peer_count, b->peer_count - 1);
        colo_accept_notice(b, w->offset, w->bytes);
    }
    aio_wait_kick();
}

/* ------------------------------------------------------------------ undo */

typedef struct SaveRound {
    ColoPiece pieces[PLACES_MAX];
    ColoPlace places[PLACES_MAX];
    unsigned count;
} SaveRound;

/* The next pieces to be saved. Lock held, dropped meanwhile. */
static int coroutine_fn take_pieces(ColoBuffer *b, uint64_t offset,
                                    uint64_t end, SaveRound *r)
{
    int ret = 0;

    r->count = 0;
    while (ret == 0 && r->count < PLACES_MAX && offset < end &&
           keeps_undo(b) &&
           colo_disk_undo_at(b->disk, offset, end - offset,
                             &r->pieces[r->count])) {
        ColoPiece *piece = &r->pieces[r->count];

        ret = colo_memory_take(b, piece, &r->places[r->count]);
        offset = piece->offset + piece->size;
        r->count++;
    }
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK save_spilled(ColoBuffer *b,
                                                  const ColoPlace *place)
{
    void *buf = qemu_try_blockalign(b->parent->bs, place->size);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, buf, place->size);
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    ret = bdrv_co_preadv(b->parent, place->offset, place->size, &qiov, 0);
    if (ret >= 0) {
        ret = colo_place_put(b, place, &qiov, 0, place->offset);
    }
    qemu_vfree(buf);
    return ret;
}

/* How many places from the first on lie in memory, next to each other. */
static unsigned count_run(const ColoPlace *places, unsigned count)
{
    unsigned n = 1;

    while (n < count && places[n].data &&
           places[n - 1].offset + places[n - 1].size == places[n].offset) {
        n++;
    }
    return n;
}

/* Read straight into the store. */
static int coroutine_fn GRAPH_RDLOCK save_run(ColoBuffer *b,
                                              const ColoPlace *places,
                                              unsigned count)
{
    QEMUIOVector qiov;
    unsigned i;
    int ret;

    qemu_iovec_init(&qiov, count);
    for (i = 0; i < count; i++) {
        qemu_iovec_add(&qiov, places[i].data, places[i].size);
    }
    ret = bdrv_co_preadv(b->parent, places[0].offset, qiov.size, &qiov, 0);
    qemu_iovec_destroy(&qiov);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK save_round(ColoBuffer *b,
                                                const SaveRound *r)
{
    unsigned i = 0;
    int ret = 0;

    while (i < r->count && ret >= 0) {
        unsigned n = 1;

        if (r->places[i].data) {
            n = count_run(&r->places[i], r->count - i);
            ret = save_run(b, &r->places[i], n);
        } else {
            ret = save_spilled(b, &r->places[i]);
        }
        i += n;
    }
    return ret < 0 ? ret : 0;
}

/* Enter what was saved, or give all of it up. Lock held. */
static void close_round(ColoBuffer *b, const SaveRound *r, bool ok)
{
    unsigned i;

    for (i = 0; i < r->count; i++) {
        if (ok) {
            colo_disk_saved(b->disk, &r->pieces[i]);
        } else {
            colo_disk_abandon(b->disk, &r->pieces[i]);
        }
    }
}

void coroutine_fn colo_peer_wait_for_readers(ColoBuffer *b,
                                             const ColoPeerWrite *w)
{
    uint64_t seq = b->reader_seq;
    BlockReq *req;

again:
    QLIST_FOREACH(req, &b->readers, list) {
        if (container_of(req, ColoReader, req)->seq < seq &&
            ranges_overlap(req->offset, req->bytes, w->offset, w->bytes)) {
            qemu_co_queue_wait(&req->wait_queue, &b->lock);
            goto again;
        }
    }
}

/* Save all of a gap. Lock held, dropped meanwhile, here and below. */
static int coroutine_fn GRAPH_RDLOCK save_data(ColoBuffer *b, uint64_t offset,
                                               uint64_t end)
{
    SaveRound r;
    int ret;

    do {
        if (!keeps_undo(b)) {
            return -EIO;
        }
        ret = take_pieces(b, offset, end, &r);
        if (ret == 0 && r.count > 0) {
            qemu_mutex_unlock(&b->lock);
            ret = save_round(b, &r);
            qemu_mutex_lock(&b->lock);
        }
        close_round(b, &r, ret == 0);
    } while (ret == 0 && r.count > 0);
    return ret;
}

/* Does the parent have zeroes at @offset? *@bytes is cut to what it is of. */
static bool coroutine_fn GRAPH_RDLOCK reads_as_zero(ColoBuffer *b,
                                                    uint64_t offset,
                                                    uint64_t *bytes)
{
    int64_t count = *bytes;
    int ret = 0;

    if (*bytes >= STATUS_MIN_BYTES) {
        qemu_mutex_unlock(&b->lock);
        ret = bdrv_co_block_status_above(b->parent->bs, NULL, offset, *bytes,
                                         &count, NULL, NULL);
        qemu_mutex_lock(&b->lock);
    }
    if (ret >= 0 && count > 0) {
        *bytes = count;
    }
    return ret >= 0 && (ret & BDRV_BLOCK_ZERO);
}

static int coroutine_fn GRAPH_RDLOCK save_gaps(ColoBuffer *b, uint64_t offset,
                                               uint64_t end)
{
    uint64_t bytes;
    int ret = 0;

    while (ret == 0 && offset < end && keeps_undo(b) &&
           colo_disk_undo_gap(b->disk, offset, end - offset, &offset,
                              &bytes)) {
        bool is_zero = reads_as_zero(b, offset, &bytes);

        if (!keeps_undo(b)) {
            break;
        }
        if (is_zero) {
            colo_disk_saved_zero(b->disk, offset, bytes);
        } else {
            ret = save_data(b, offset, offset + bytes);
        }
        offset += bytes;
    }
    return ret == 0 && !keeps_undo(b) ? -EIO : ret;
}

/* Afterwards the parent may be written. */
static int coroutine_fn GRAPH_RDLOCK save_undo(ColoBuffer *b,
                                               const ColoPeerWrite *w)
{
    BlockReq req;
    int ret = 0;

    qemu_mutex_lock(&b->lock);
    colo_buffer_take_turn(b, &b->writers, &req, w->offset, w->bytes);
    if (keeps_undo(b)) {
        ret = save_gaps(b, w->offset, w->offset + w->bytes);
    } else if (!colo_peer_may_write(b)) {
        ret = -EIO;
    }
    reqlist_remove_req(&req);
    qatomic_set(&b->saving_count, b->saving_count - 1);
    if (ret == 0) {
        colo_peer_wait_for_readers(b, w);
    }
    qemu_mutex_unlock(&b->lock);
    aio_wait_kick();
    return ret;
}

void colo_peer_enter_own(ColoBuffer *b, ColoPeerWrite *w)
{
    qatomic_set(&b->peer_count, b->peer_count + 1);
    reqlist_init_req(&b->peers, &w->req, w->offset, w->bytes);
    if (b->peer_write) {
        b->peer_write(b->peer_opaque, w->offset, w->bytes);
    }
}

int coroutine_fn colo_peer_enter(ColoBuffer *b, ColoPeerWrite *w)
{
    int ret = take_turn(b, w);

    if (ret == 0 && b->peer_write) {
        b->peer_write(b->peer_opaque, w->offset, w->bytes);
    }
    return ret;
}

int coroutine_fn GRAPH_RDLOCK colo_peer_save(ColoBuffer *b, ColoPeerWrite *w)
{
    int ret = save_undo(b, w);

    trace_colo_disk_peer(b->bs->node_name, w->offset, w->bytes, ret);
    if (ret < 0) {
        colo_peer_end(b, w);
    }
    return ret;
}

int coroutine_fn GRAPH_RDLOCK colo_peer_begin(ColoBuffer *b, ColoPeerWrite *w)
{
    int ret = colo_peer_enter(b, w);

    return ret < 0 ? ret : colo_peer_save(b, w);
}
