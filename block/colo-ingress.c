/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the way of the peer's writes to the secondary's disk.
 *
 *     NBD export ---> ingress --.
 *                               v
 *     guest ----> replication ---> parent
 *
 * While a pair exists whoever may write to the parent goes through a filter
 * of ours, which saves what is about to be overwritten. It is put in by moving
 * the links of these users, one by one: that of the replication node itself
 * must stay where it is, and bdrv_append() knows no exception.
 *
 * That nobody goes round it is left to the permissions: the replication node
 * does not share the right to write to the parent (colo_buffer_perm()). The
 * ingress needs none, since it writes through the replication node's link. A
 * new export of the parent's node is led to the ingress by
 * colo_ingress_above(); any other new writer is refused.
 *
 * After a takeover the ingress refuses: what a dead primary sent and the
 * network still delivers must not reach a disk that has gone on without it.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/aio-wait.h"
#include "block/colo.h"
#include "qemu/error-report.h"
#include "qemu/memalign.h"
#include "qemu/range.h"
#include "colo-buffer-int.h"

#define PLACES_MAX 16
/* From here on it pays to ask whether the parent reads as zeroes. */
#define STATUS_MIN_BYTES (32 * 1024)

typedef struct ColoIngress {
    ColoBuffer *buffer;        /* NULL: nothing passes any more */
} ColoIngress;

/* ------------------------------------------------------------------ turn */

typedef struct PeerWrite {
    ColoBuffer *b;
    BlockReq req;
    uint64_t offset;           /* bytes, on the disk */
    uint64_t bytes;
} PeerWrite;

/* Does the peer's disk still come before this one's guest? Lock held. */
static bool peer_may_write(ColoBuffer *b)
{
    switch (colo_disk_stage(b->disk)) {
    case COLO_DISK_OFF:
    case COLO_DISK_RUNNING:
    case COLO_DISK_CUT:
        return true;
    default:
        return false;
    }
}

static int coroutine_fn peer_begin(ColoIngress *ingress, PeerWrite *w)
{
    ColoBuffer *b = qatomic_read(&ingress->buffer);

    w->b = b;
    if (!b) {
        return -EIO;
    }
    QEMU_LOCK_GUARD(&b->lock);
    while (b->gate_closed) {
        qemu_co_queue_wait(&b->gate_queue, &b->lock);
    }
    if (!peer_may_write(b)) {
        return -EIO;
    }
    qatomic_set(&b->peer_count, b->peer_count + 1);
    qatomic_set(&b->saving_count, b->saving_count + 1);
    colo_buffer_take_turn(b, &b->peers, &w->req, w->offset, w->bytes);
    return 0;
}

static void coroutine_fn peer_end(PeerWrite *w)
{
    ColoBuffer *b = w->b;

    WITH_QEMU_LOCK_GUARD(&b->lock) {
        reqlist_remove_req(&w->req);
        qatomic_set(&b->peer_count, b->peer_count - 1);
    }
    aio_wait_kick();
}

/* ------------------------------------------------------------------ undo */

typedef struct SaveRound {
    ColoPiece pieces[PLACES_MAX];
    ColoPlace places[PLACES_MAX];
    unsigned count;
} SaveRound;

/* The next pieces to be saved. Lock held. */
static int coroutine_fn take_pieces(ColoBuffer *b, uint64_t offset,
                                    uint64_t end, SaveRound *r)
{
    int ret = 0;

    r->count = 0;
    while (ret == 0 && r->count < PLACES_MAX && offset < end &&
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

/* Wait for those who looked at the maps before. Lock held. */
static void coroutine_fn wait_for_readers(ColoBuffer *b, const PeerWrite *w)
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

static bool keeps_undo(ColoBuffer *b)
{
    return colo_disk_stage(b->disk) == COLO_DISK_RUNNING ||
           colo_disk_stage(b->disk) == COLO_DISK_CUT;
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

    while (ret == 0 && offset < end &&
           colo_disk_undo_gap(b->disk, offset, end - offset, &offset,
                              &bytes)) {
        bool is_zero = reads_as_zero(b, offset, &bytes);

        if (!keeps_undo(b)) {
            return -EIO;
        }
        if (is_zero) {
            colo_disk_saved_zero(b->disk, offset, bytes);
        } else {
            ret = save_data(b, offset, offset + bytes);
        }
        offset += bytes;
    }
    return ret;
}

/* Afterwards the parent may be written. */
static int coroutine_fn GRAPH_RDLOCK save_undo(PeerWrite *w)
{
    ColoBuffer *b = w->b;
    BlockReq req;
    int ret = 0;

    qemu_mutex_lock(&b->lock);
    colo_buffer_take_turn(b, &b->writers, &req, w->offset, w->bytes);
    if (keeps_undo(b)) {
        ret = save_gaps(b, w->offset, w->offset + w->bytes);
    } else if (!peer_may_write(b)) {
        ret = -EIO;
    }
    reqlist_remove_req(&req);
    qatomic_set(&b->saving_count, b->saving_count - 1);
    if (ret == 0) {
        wait_for_readers(b, w);
    }
    qemu_mutex_unlock(&b->lock);
    aio_wait_kick();
    return ret;
}

/* 0: the parent may be written, and peer_end() has to follow. */
static int coroutine_fn GRAPH_RDLOCK peer_prepare(BlockDriverState *bs,
                                                  PeerWrite *w)
{
    int ret = peer_begin(bs->opaque, w);

    if (ret < 0) {
        return ret;
    }
    if (w->b->peer_write) {
        w->b->peer_write(w->b->peer_opaque, w->offset, w->bytes);
    }
    ret = save_undo(w);
    if (ret < 0) {
        peer_end(w);
    }
    return ret;
}

/* -------------------------------------------------------------- requests */

static int coroutine_fn GRAPH_RDLOCK
ingress_co_preadv_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                       QEMUIOVector *qiov, size_t qiov_offset,
                       BdrvRequestFlags flags)
{
    return bdrv_co_preadv_part(bs->file, offset, bytes, qiov, qiov_offset,
                               flags);
}

static int coroutine_fn GRAPH_RDLOCK
ingress_co_pwritev_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                        QEMUIOVector *qiov, size_t qiov_offset,
                        BdrvRequestFlags flags)
{
    PeerWrite w = { .offset = offset, .bytes = bytes };
    int ret;

    if (bytes == 0) {
        return 0;
    }
    ret = peer_prepare(bs, &w);
    if (ret < 0) {
        return ret;
    }
    if (!w.b->options.shared) {
        ret = bdrv_co_pwritev_part(w.b->parent, offset, bytes, qiov,
                                   qiov_offset, flags);
    }
    peer_end(&w);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
ingress_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                         BdrvRequestFlags flags)
{
    PeerWrite w = { .offset = offset, .bytes = bytes };
    int ret = peer_prepare(bs, &w);

    if (ret < 0) {
        return ret;
    }
    if (!w.b->options.shared) {
        ret = bdrv_co_pwrite_zeroes(w.b->parent, offset, bytes, flags);
    }
    peer_end(&w);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
ingress_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    PeerWrite w = { .offset = offset, .bytes = bytes };
    int ret = peer_prepare(bs, &w);

    if (ret < 0) {
        return ret;
    }
    if (!w.b->options.shared) {
        ret = bdrv_co_pdiscard(w.b->parent, offset, bytes);
    }
    peer_end(&w);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK ingress_co_flush(BlockDriverState *bs)
{
    ColoIngress *ingress = bs->opaque;
    ColoBuffer *b = qatomic_read(&ingress->buffer);

    if (!b) {
        return -EIO;
    }
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        if (!peer_may_write(b)) {
            return -EIO;
        }
    }
    return b->options.shared ? 0 : bdrv_co_flush(b->parent->bs);
}

static int coroutine_fn GRAPH_RDLOCK
ingress_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                    PreallocMode prealloc, BdrvRequestFlags flags,
                    Error **errp)
{
    error_setg(errp, "'%s' is replicated: its size cannot be changed",
               bs->file->bs->node_name);
    return -EBUSY;
}

static void ingress_child_perm(BlockDriverState *bs, BdrvChild *c,
                               BdrvChildRole role,
                               BlockReopenQueue *reopen_queue,
                               uint64_t perm, uint64_t shared,
                               uint64_t *nperm, uint64_t *nshared)
{
    *nperm = BLK_PERM_CONSISTENT_READ;
    *nshared = BLK_PERM_ALL;
}

/* Not registered: nobody but us makes one. */
static BlockDriver colo_ingress = {
    .format_name = "colo-ingress",
    .instance_size = sizeof(ColoIngress),
    .bdrv_child_perm = ingress_child_perm,
    .bdrv_co_preadv_part = ingress_co_preadv_part,
    .bdrv_co_pwritev_part = ingress_co_pwritev_part,
    .bdrv_co_pwrite_zeroes = ingress_co_pwrite_zeroes,
    .bdrv_co_pdiscard = ingress_co_pdiscard,
    .bdrv_co_flush = ingress_co_flush,
    .bdrv_co_truncate = ingress_co_truncate,
    .is_filter = true,
};

/* ----------------------------------------------------------------- graph */

BlockDriverState *colo_ingress_above(BlockDriverState *bs)
{
    BdrvChild *c;

    GLOBAL_STATE_CODE();
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    QLIST_FOREACH(c, &bs->parents, next_parent) {
        if (c->klass->parent_is_bds) {
            BlockDriverState *above = c->opaque;

            if (above->drv == &colo_ingress) {
                return above;
            }
        }
    }
    return bs;
}

/* Without users yet, above the parent. */
static BlockDriverState *make_node(ColoBuffer *b, Error **errp)
{
    BlockDriverState *below = b->parent->bs;
    BlockDriverState *bs;
    ColoIngress *ingress;
    BdrvChild *c = NULL;

    bs = bdrv_new_open_driver(&colo_ingress, NULL, BDRV_O_RDWR, errp);
    if (!bs) {
        return NULL;
    }
    ingress = bs->opaque;
    ingress->buffer = b;
    bs->implicit = true;
    bs->total_sectors = below->total_sectors;
    bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED | BDRV_REQ_FUA;
    bs->supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED | BDRV_REQ_FUA |
                               BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    /* Else the parent would be moved to where the new node is. */
    if (bdrv_try_change_aio_context(bs, bdrv_get_aio_context(below), NULL,
                                    errp) == 0) {
        bdrv_graph_wrlock();
        bdrv_ref(below);
        c = bdrv_attach_child(bs, below, "file", &child_of_bds,
                              BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp);
        bdrv_graph_wrunlock();
    }
    if (!c) {
        bdrv_unref(bs);
        return NULL;
    }
    return bs;
}

/*
 * A link to the parent that has to be moved: of somebody outside of the graph
 * (an export, a device, a name), or of a node that writes.
 */
static BdrvChild *find_user(ColoBuffer *b, BlockDriverState *ingress)
{
    BdrvChild *c;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    QLIST_FOREACH(c, &b->parent->bs->parents, next_parent) {
        bool writes = c->perm & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED);

        if (c != b->parent && c != ingress->file &&
            !c->klass->stay_at_node && (writes || !c->klass->parent_is_bds)) {
            return c;
        }
    }
    return NULL;
}

static bool move_users(ColoBuffer *b, BlockDriverState *ingress,
                       Error **errp)
{
    BdrvChild *c;

    while ((c = find_user(b, ingress))) {
        if (c->frozen) {
            error_setg(errp, "Disk '%s' is in use by a block job",
                       b->parent->bs->node_name);
            return false;
        }
        if (bdrv_replace_child_bs(c, ingress, errp) < 0) {
            return false;
        }
    }
    return true;
}

bool colo_ingress_insert(ColoBuffer *b, Error **errp)
{
    GLOBAL_STATE_CODE();
    b->ingress = make_node(b, errp);
    if (!b->ingress) {
        return false;
    }
    if (!move_users(b, b->ingress, errp)) {
        colo_ingress_remove(b);
        return false;
    }
    return true;
}

void colo_ingress_remove(ColoBuffer *b)
{
    Error *err = NULL;

    GLOBAL_STATE_CODE();
    if (bdrv_drop_filter(b->ingress, &err) < 0) {
        /* Somebody has taken rights that its users want; they lose theirs. */
        warn_reportf_err(err, "Writers of disk '%s' stay locked out: ",
                         b->parent->bs->node_name);
    }
    colo_ingress_fence(b);
}

void colo_ingress_fence(ColoBuffer *b)
{
    BlockDriverState *bs = g_steal_pointer(&b->ingress);
    ColoIngress *ingress = bs->opaque;

    GLOBAL_STATE_CODE();
    qatomic_set(&ingress->buffer, NULL);
    /* Those who have seen the pointer are in flight. */
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&bs->in_flight) > 0);
    bdrv_unref(bs);
}
