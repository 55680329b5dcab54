/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the way of the peer's writes to the secondary's disk.
 *
 *     NBD export ---> ingress --.
 *                               v
 *     guest ----> replication ---> parent
 *
 * While a pair exists whoever may write to the parent goes through a filter
 * of ours, which saves what is about to be overwritten (colo-peer-io.c). It is
 * put in by moving
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
#include "colo-buffer-int.h"

typedef struct ColoIngress {
    ColoBuffer *buffer;        /* NULL: nothing passes any more */
} ColoIngress;

/* -------------------------------------------------------------- requests */

/* What stands between the peer and the disk, or NULL: it must not pass. */
static ColoBuffer *buffer_of(BlockDriverState *bs)
{
    ColoIngress *ingress = bs->opaque;

    return qatomic_read(&ingress->buffer);
}

static int coroutine_fn GRAPH_RDLOCK
ingress_co_preadv_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                       QEMUIOVector *qiov, size_t qiov_offset,
                       BdrvRequestFlags flags)
{
    ColoBuffer *b = buffer_of(bs);

    if (b) {
        /* A reader sees what was acknowledged; what failed, is as it is. */
        colo_late_wait(b);
    }
    return bdrv_co_preadv_part(bs->file, offset, bytes, qiov, qiov_offset,
                               flags);
}

static int coroutine_fn GRAPH_RDLOCK
ingress_co_pwritev_part(BlockDriverState *bs, int64_t offset, int64_t bytes,
                        QEMUIOVector *qiov, size_t qiov_offset,
                        BdrvRequestFlags flags)
{
    const ColoPeerData data = {
        offset, bytes, qiov, qiov_offset, flags,
    };
    ColoPeerWrite w = { .offset = offset, .bytes = bytes };
    ColoBuffer *b = buffer_of(bs);
    int ret;

    if (bytes == 0) {
        return 0;
    }
    if (b && colo_late_write(b, bs, &data, &ret)) {
        return ret;
    }
    ret = b ? colo_peer_begin(b, &w) : -EIO;
    if (ret < 0) {
        return ret;
    }
    if (!b->options.shared) {
        ret = bdrv_co_pwritev_part(b->parent, offset, bytes, qiov,
                                   qiov_offset, flags);
    }
    colo_peer_end(b, &w);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
ingress_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                         BdrvRequestFlags flags)
{
    ColoPeerWrite w = { .offset = offset, .bytes = bytes };
    ColoBuffer *b = buffer_of(bs);
    int ret = b ? colo_peer_begin(b, &w) : -EIO;

    if (ret < 0) {
        return ret;
    }
    if (!b->options.shared) {
        ret = bdrv_co_pwrite_zeroes(b->parent, offset, bytes, flags);
    }
    colo_peer_end(b, &w);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
ingress_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    ColoPeerWrite w = { .offset = offset, .bytes = bytes };
    ColoBuffer *b = buffer_of(bs);
    int ret = b ? colo_peer_begin(b, &w) : -EIO;

    if (ret < 0) {
        return ret;
    }
    if (!b->options.shared) {
        ret = bdrv_co_pdiscard(b->parent, offset, bytes);
    }
    colo_peer_end(b, &w);
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK ingress_co_flush(BlockDriverState *bs)
{
    ColoBuffer *b = buffer_of(bs);
    int ret = b ? colo_late_flush(b) : 0;

    if (ret < 0) {
        return ret;
    }
    /*
     * Also when nobody may write any more: QEMU flushes all nodes when it
     * stops the guest, and what passed here is on the disk.
     */
    return b && b->options.shared ? 0 : bdrv_co_flush(bs->file->bs);
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

static void
ingress_child_perm(BlockDriverState *bs, BdrvChild *c, BdrvChildRole role,
                   BlockReopenQueue *queue, uint64_t perm, uint64_t shared,
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

    bs = bdrv_new_open_driver(&colo_ingress, NULL,
                              BDRV_O_RDWR | BDRV_O_UNMAP, errp);
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

bool colo_ingress_is_unused(BlockDriverState *bs)
{
    GLOBAL_STATE_CODE();
    return bs->drv == &colo_ingress && QLIST_EMPTY(&bs->parents);
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
