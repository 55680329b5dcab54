/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * driver=replication: a disk that two hosts keep equal.
 *
 * This file is the node: options, children, permissions, and the dispatch of
 * each request to whoever looks after it in the present role.
 *
 *   no pair      straight to the disk below; noted while a former peer's disk
 *                is of interest (colo-track.c)
 *   primary      to the peer's export, then to the disk (colo-forward.c)
 *   secondary    to the buffer that hides the primary's writes until a
 *                checkpoint (colo-buffer.c)
 *
 * The session (migration/colo-*.c) tells the role and the cuts through the
 * register (block/colo.h). Rules: DESIGN sections 3 and 6, docs/disk.md.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "replication-int.h"

#define DEFAULT_BUFFER_BYTES (256 * MiB)
#define DEFAULT_LIMIT_MS 5000
#define DEFAULT_MERGE_SPEED (64 * MiB)

static QemuOptsList replication_opts = {
    .name = "replication",
    .head = QTAILQ_HEAD_INITIALIZER(replication_opts.head),
    .desc = {
        { .name = "mode", .type = QEMU_OPT_STRING },
        { .name = "top-id", .type = QEMU_OPT_STRING },
        { .name = "buffer-limit", .type = QEMU_OPT_SIZE },
        { .name = "spill-dir", .type = QEMU_OPT_STRING },
        { .name = "merge-speed", .type = QEMU_OPT_SIZE },
        { .name = "link-limit", .type = QEMU_OPT_NUMBER },
        { .name = "shared", .type = QEMU_OPT_BOOL },
        { .name = "state-file", .type = QEMU_OPT_STRING },
        { /* end of list */ }
    },
};

static const char *const strong_opts[] = {
    "mode", "top-id", "shared", NULL
};

/* ------------------------------------------------------------- requests */

static bool is_buffered(BDRVReplicationState *s)
{
    return s->buffer && colo_buffer_is_active(s->buffer);
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_preadv_part(BlockDriverState *bs, int64_t offset,
                           int64_t bytes, QEMUIOVector *qiov,
                           size_t qiov_offset, BdrvRequestFlags flags)
{
    BDRVReplicationState *s = bs->opaque;

    if (s->is_forwarder) {
        return -EIO;
    }
    if (is_buffered(s)) {
        return colo_buffer_co_preadv(s->buffer, offset, bytes, qiov,
                                     qiov_offset);
    }
    return bdrv_co_preadv_part(s->parent, offset, bytes, qiov, qiov_offset,
                               flags);
}

/*
 * The peer first. A forward that is broken has been reported; the guest is
 * served from the local disk, and what it writes counts as a difference. A
 * secondary's guest has no peer to write to before it takes over.
 */
static bool coroutine_fn GRAPH_RDLOCK
send_first(BDRVReplicationState *s, ColoForwardOp op, int64_t offset,
           int64_t bytes, QEMUIOVector *qiov, size_t qiov_offset,
           BdrvRequestFlags flags)
{
    if (s->role == REPLICATION_ROLE_SECONDARY) {
        return true;
    }
    if (s->track && op != COLO_FORWARD_FLUSH) {
        colo_track_note(s->track, offset, bytes);
    }
    return !s->forward ||
           colo_forward_co(s->forward, op, offset, bytes, qiov, qiov_offset,
                           flags);
}

/* A forwarder outside a pair must not pretend to have stored anything. */
static int forwarder_result(BDRVReplicationState *s)
{
    return s->role == REPLICATION_ROLE_PRIMARY ? 0 : -EIO;
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_pwritev_part(BlockDriverState *bs, int64_t offset,
                            int64_t bytes, QEMUIOVector *qiov,
                            size_t qiov_offset, BdrvRequestFlags flags)
{
    BDRVReplicationState *s = bs->opaque;

    send_first(s, COLO_FORWARD_WRITE, offset, bytes, qiov, qiov_offset,
               flags);
    if (is_buffered(s)) {
        return colo_buffer_co_pwritev(s->buffer, offset, bytes, qiov,
                                      qiov_offset, flags);
    }
    if (s->is_forwarder) {
        return forwarder_result(s);
    }
    return bdrv_co_pwritev_part(s->parent, offset, bytes, qiov, qiov_offset,
                                flags);
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                             int64_t bytes, BdrvRequestFlags flags)
{
    BDRVReplicationState *s = bs->opaque;

    send_first(s, COLO_FORWARD_ZEROES, offset, bytes, NULL, 0, flags);
    if (is_buffered(s)) {
        return colo_buffer_co_pwrite_zeroes(s->buffer, offset, bytes, flags);
    }
    if (s->is_forwarder) {
        return forwarder_result(s);
    }
    return bdrv_co_pwrite_zeroes(s->parent, offset, bytes, flags);
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    BDRVReplicationState *s = bs->opaque;

    send_first(s, COLO_FORWARD_DISCARD, offset, bytes, NULL, 0, 0);
    if (is_buffered(s)) {
        return colo_buffer_co_pdiscard(s->buffer, offset, bytes);
    }
    if (s->is_forwarder) {
        return forwarder_result(s);
    }
    return bdrv_co_pdiscard(s->parent, offset, bytes);
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_flush(BlockDriverState *bs)
{
    BDRVReplicationState *s = bs->opaque;

    send_first(s, COLO_FORWARD_FLUSH, 0, 0, NULL, 0, 0);
    if (is_buffered(s)) {
        return colo_buffer_co_flush(s->buffer);
    }
    if (s->is_forwarder) {
        return 0;
    }
    return bdrv_co_flush(s->parent->bs);
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_block_status(BlockDriverState *bs, bool want_zero,
                            int64_t offset, int64_t bytes, int64_t *pnum,
                            int64_t *map, BlockDriverState **file)
{
    BDRVReplicationState *s = bs->opaque;

    if (s->is_forwarder) {
        *pnum = bytes;
        return BDRV_BLOCK_DATA;
    }
    if (is_buffered(s)) {
        return colo_buffer_co_block_status(s->buffer, want_zero, offset,
                                           bytes, pnum, map, file);
    }
    *pnum = bytes;
    *map = offset;
    *file = s->parent->bs;
    return BDRV_BLOCK_RAW | BDRV_BLOCK_OFFSET_VALID;
}

static int64_t coroutine_fn GRAPH_RDLOCK
replication_co_getlength(BlockDriverState *bs)
{
    BDRVReplicationState *s = bs->opaque;

    return bdrv_co_getlength(s->is_forwarder ? bs->file->bs
                                             : s->parent->bs);
}

/*
 * Both sides must have one size, and the wire has no word for a new one, so
 * a replicated disk keeps its size.
 */
static int coroutine_fn GRAPH_RDLOCK
replication_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                        PreallocMode prealloc, BdrvRequestFlags flags,
                        Error **errp)
{
    BDRVReplicationState *s = bs->opaque;

    if (s->role != REPLICATION_ROLE_NONE || s->target) {
        error_setg(errp, "'%s' is replicated: its size cannot be changed "
                   "while COLO protects the guest", bs->node_name);
        return -EBUSY;
    }
    if (s->is_forwarder) {
        error_setg(errp, "'%s' only forwards writes", bs->node_name);
        return -ENOTSUP;
    }
    return bdrv_co_truncate(s->parent, offset, exact, prealloc, flags, errp);
}

static void replication_child_perm(BlockDriverState *bs, BdrvChild *c,
                                   BdrvChildRole role,
                                   BlockReopenQueue *reopen_queue,
                                   uint64_t perm, uint64_t shared,
                                   uint64_t *nperm, uint64_t *nshared)
{
    BDRVReplicationState *s = bs->opaque;
    bool may = (bs->open_flags & (BDRV_O_INACTIVE | BDRV_O_RDWR)) ==
               BDRV_O_RDWR;
    /* Nobody uses a node that is just being put above a disk in use. */
    bool wants = (perm & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED)) ||
                 s->role != REPLICATION_ROLE_NONE || is_buffered(s) ||
                 c == s->target;

    *nperm = BLK_PERM_CONSISTENT_READ;
    if (may && wants && !(s->top_id && c == bs->file)) {
        *nperm |= BLK_PERM_WRITE;
    }
    *nperm |= perm & BLK_PERM_RESIZE;
    *nshared = BLK_PERM_ALL & ~BLK_PERM_RESIZE;
    if (s->buffer && c == s->parent) {
        colo_buffer_perm(s->buffer, nperm, nshared);
    }
}

static void replication_drain_begin(BlockDriverState *bs)
{
    BDRVReplicationState *s = bs->opaque;

    if (s->buffer) {
        colo_buffer_drained_begin(s->buffer);
    }
}

static void replication_drain_end(BlockDriverState *bs)
{
    BDRVReplicationState *s = bs->opaque;

    if (s->buffer) {
        colo_buffer_drained_end(s->buffer);
    }
}

/* -------------------------------------------------------------- session */

static BDRVReplicationState *part_state(ColoDiskPart *part)
{
    return container_of(part, BDRVReplicationState, part);
}

static bool begin_primary(BDRVReplicationState *s, Error **errp)
{
    BlockDriverState *bs = s->bs;

    if (s->is_forwarder) {
        bdrv_drained_begin(bs);
        s->forward = colo_forward_new(bs->file, s->limit_ms);
        s->role = REPLICATION_ROLE_PRIMARY;
        bdrv_drained_end(bs);
        return true;
    }
    if (!s->target) {
        /* A former secondary below a quorum, or a disk nobody writes. */
        if (s->has_mode || bdrv_is_read_only(bs)) {
            return true;
        }
        error_setg(errp, "Disk '%s' has no copy at the secondary",
                   bs->node_name);
        error_append_hint(errp, "Give it one with colo-disk-attach.\n");
        return false;
    }
    if (!s->in_sync) {
        error_setg(errp, "The copy of disk '%s' at the secondary is not "
                   "complete yet", bs->node_name);
        error_append_hint(errp, "Wait until query-colo says in-sync for "
                          "this disk, then migrate.\n");
        return false;
    }
    if (!colo_forward_check(s->forward, errp)) {
        return false;
    }
    s->role = REPLICATION_ROLE_PRIMARY;
    return true;
}

static bool begin_secondary(BDRVReplicationState *s, Error **errp)
{
    if (s->is_forwarder) {
        error_setg(errp, "'%s' is mode=primary, but this side is the "
                   "secondary", s->bs->node_name);
        return false;
    }
    if (bdrv_is_read_only(s->bs)) {
        return true;
    }
    if (!colo_buffer_begin(s->buffer, s->parent, errp)) {
        return false;
    }
    s->role = REPLICATION_ROLE_SECONDARY;
    return true;
}

static bool part_begin(ColoDiskPart *part, bool primary, const char *session,
                       Error **errp)
{
    BDRVReplicationState *s = part_state(part);

    if (s->role != REPLICATION_ROLE_NONE) {
        error_setg(errp, "Disk '%s' is part of a pair already",
                   s->bs->node_name);
        return false;
    }
    g_clear_pointer(&s->error, g_free);
    return primary ? begin_primary(s, errp) : begin_secondary(s, errp);
}

static bool part_check(ColoDiskPart *part, Error **errp)
{
    BDRVReplicationState *s = part_state(part);

    switch (s->role) {
    case REPLICATION_ROLE_PRIMARY:
        return colo_forward_check(s->forward, errp);
    case REPLICATION_ROLE_SECONDARY:
        return colo_buffer_check(s->buffer, errp);
    default:
        return true;
    }
}

static void part_cut(ColoDiskPart *part, uint64_t epoch, bool durable)
{
    BDRVReplicationState *s = part_state(part);

    if (s->role == REPLICATION_ROLE_SECONDARY) {
        colo_buffer_cut(s->buffer);
    }
    if (s->role != REPLICATION_ROLE_NONE && s->track && durable) {
        colo_track_mark(s->track);
    }
}

static void part_enter(ColoDiskPart *part, uint64_t epoch)
{
    BDRVReplicationState *s = part_state(part);

    if (s->role == REPLICATION_ROLE_SECONDARY) {
        colo_buffer_enter(s->buffer);
    }
}

static void part_roll_back(ColoDiskPart *part)
{
    BDRVReplicationState *s = part_state(part);

    if (s->role == REPLICATION_ROLE_SECONDARY) {
        colo_buffer_roll_back(s->buffer);
    }
}

static bool part_is_durable(ColoDiskPart *part)
{
    BDRVReplicationState *s = part_state(part);

    return !s->track || colo_track_is_clean(s->track);
}

static void note_difference(void *opaque, int64_t offset, int64_t bytes)
{
    BDRVReplicationState *s = opaque;

    colo_track_note(s->track, offset, bytes);
}

static void end_primary(BDRVReplicationState *s)
{
    Error *err = NULL;

    if (!colo_forward_check(s->forward, &err)) {
        g_free(s->error);
        s->error = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    if (!s->is_forwarder) {
        replication_detach(s);
        return;
    }
    bdrv_drained_begin(s->bs);
    g_clear_pointer(&s->forward, colo_forward_free);
    bdrv_drained_end(s->bs);
}

static bool part_end(ColoDiskPart *part, bool survivor, Error **errp)
{
    BDRVReplicationState *s = part_state(part);
    ReplicationRole was = s->role;

    s->role = REPLICATION_ROLE_NONE;
    if (was == REPLICATION_ROLE_PRIMARY) {
        end_primary(s);
    } else if (was == REPLICATION_ROLE_SECONDARY &&
               !colo_buffer_end(s->buffer, survivor, note_difference, NULL,
                                s, errp)) {
        s->role = was;
        return false;
    }
    return true;
}

static ColoDiskInfo *part_info(ColoDiskPart *part)
{
    BDRVReplicationState *s = part_state(part);
    ColoDiskInfo *info = g_new0(ColoDiskInfo, 1);

    info->node = g_strdup(s->bs->node_name);
    info->has_role = s->role != REPLICATION_ROLE_NONE;
    info->role = s->role == REPLICATION_ROLE_SECONDARY
                 ? REPLICATION_MODE_SECONDARY : REPLICATION_MODE_PRIMARY;
    if (s->buffer && (info->has_role || is_buffered(s))) {
        info->buffer = colo_buffer_info(s->buffer);
    }
    if (s->forward) {
        info->forward = colo_forward_info(s->forward,
                                          s->in_sync || s->is_forwarder);
    }
    info->differs = s->track ? colo_track_bytes(s->track) : 0;
    info->error = g_strdup(s->error);
    return info;
}

static const ColoDiskOps part_ops = {
    .begin = part_begin,
    .check = part_check,
    .cut = part_cut,
    .enter = part_enter,
    .roll_back = part_roll_back,
    .is_durable = part_is_durable,
    .end = part_end,
    .info = part_info,
};

/* ------------------------------------------------------ attach, detach */

bool replication_attach(BDRVReplicationState *s, BlockDriverState *target,
                        Error **errp)
{
    BlockDriverState *bs = s->bs;

    GLOBAL_STATE_CODE();
    if (s->target) {
        error_setg(errp, "Disk '%s' has a copy already", bs->node_name);
        return false;
    }
    bdrv_drained_begin(bs);
    bdrv_graph_wrlock();
    bdrv_ref(target);
    s->target = bdrv_attach_child(bs, target, "target", &child_of_bds,
                                  BDRV_CHILD_DATA, errp);
    bdrv_graph_wrunlock();
    if (s->target) {
        s->forward = colo_forward_new(s->target, s->limit_ms);
        s->in_sync = false;
    }
    bdrv_drained_end(bs);
    return s->target;
}

void replication_detach(BDRVReplicationState *s)
{
    GLOBAL_STATE_CODE();
    if (!s->target) {
        return;
    }
    bdrv_drained_begin(s->bs);
    g_clear_pointer(&s->forward, colo_forward_free);
    s->in_sync = false;
    bdrv_graph_wrlock();
    bdrv_unref_child(s->bs, s->target);
    s->target = NULL;
    bdrv_graph_wrunlock();
    bdrv_drained_end(s->bs);
}

BDRVReplicationState *replication_find(const char *node_name, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(node_name, node_name, errp);
    BDRVReplicationState *s;

    if (!bs) {
        return NULL;
    }
    s = bs->opaque;
    if (!bs->drv || strcmp(bs->drv->format_name, "replication") ||
        s->is_forwarder) {
        error_setg(errp, "'%s' is no replication node above a disk",
                   node_name);
        return NULL;
    }
    return s;
}

/* ---------------------------------------------------------- open, close */

static bool take_options(BDRVReplicationState *s, QDict *options,
                         Error **errp)
{
    QemuOpts *opts = qemu_opts_create(&replication_opts, NULL, 0,
                                      &error_abort);
    const char *mode;
    bool ok = false;

    if (!qemu_opts_absorb_qdict(opts, options, errp)) {
        goto out;
    }
    mode = qemu_opt_get(opts, "mode");
    s->has_mode = mode;
    s->is_forwarder = mode && !strcmp(mode, "primary");
    s->top_id = g_strdup(qemu_opt_get(opts, "top-id"));
    if (mode && !s->is_forwarder && strcmp(mode, "secondary")) {
        error_setg(errp, "'mode' is 'primary' or 'secondary', not '%s'; "
                   "without it a disk can be both", mode);
        goto out;
    }
    if (s->top_id && (!mode || s->is_forwarder)) {
        error_setg(errp, "'top-id' goes with mode=secondary only");
        goto out;
    }
    s->spill_dir = g_strdup(qemu_opt_get(opts, "spill-dir"));
    s->state_file = g_strdup(qemu_opt_get(opts, "state-file"));
    s->limit_ms = qemu_opt_get_number(opts, "link-limit", DEFAULT_LIMIT_MS);
    s->options = (ColoBufferOptions) {
        .limit_bytes = qemu_opt_get_size(opts, "buffer-limit",
                                         DEFAULT_BUFFER_BYTES),
        .spill_dir = s->spill_dir,
        .merge_speed = qemu_opt_get_size(opts, "merge-speed",
                                         DEFAULT_MERGE_SPEED),
        .shared = qemu_opt_get_bool(opts, "shared", false),
    };
    if (s->options.limit_bytes < MiB) {
        error_setg(errp, "'buffer-limit' must be 1M at least");
        goto out;
    }
    ok = true;
out:
    qemu_opts_del(opts);
    return ok;
}

/*
 * The older form: file is the active image, over the hidden one, over the
 * disk. Both images take part no more; the disk is what counts.
 */
static bool find_parent_below_images(BDRVReplicationState *s, Error **errp)
{
    BlockDriverState *bs = s->bs;
    BlockDriverState *below = NULL;

    WITH_GRAPH_RDLOCK_GUARD() {
        BdrvChild *hidden = bs->file->bs->backing;

        if (hidden && hidden->bs->backing) {
            below = hidden->bs->backing->bs;
        }
    }
    if (!below) {
        error_setg(errp, "With top-id the disk is expected below an active "
                   "and a hidden image: file=active, whose backing is "
                   "hidden, whose backing is the disk");
        error_append_hint(errp, "Without top-id, file=DISK is enough.\n");
        return false;
    }
    if (bdrv_is_read_only(below)) {
        error_setg(errp, "Disk '%s' is read-only: define it by itself and "
                   "name it as the hidden image's backing", below->node_name);
        return false;
    }
    bdrv_graph_wrlock();
    bdrv_ref(below);
    s->parent = bdrv_attach_child(bs, below, "parent", &child_of_bds,
                                  BDRV_CHILD_DATA, errp);
    bdrv_graph_wrunlock();
    return s->parent;
}

static bool open_disk(BDRVReplicationState *s, Error **errp)
{
    BlockDriverState *bs = s->bs;
    int64_t bytes;

    if (!s->top_id) {
        s->parent = bs->file;
    } else if (!find_parent_below_images(s, errp)) {
        return false;
    }
    bytes = bdrv_getlength(s->parent->bs);
    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Cannot tell the size of '%s'",
                         s->parent->bs->node_name);
        return false;
    }
    s->track = colo_track_new(bytes);
    s->buffer = colo_buffer_new(bs, &s->options);
    colo_buffer_on_peer_write(s->buffer, note_difference, s);
    bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED | BDRV_REQ_FUA;
    bs->supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED | BDRV_REQ_FUA |
                               BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    return true;
}

static int replication_open(BlockDriverState *bs, QDict *options, int flags,
                            Error **errp)
{
    BDRVReplicationState *s = bs->opaque;
    int ret;

    s->bs = bs;
    s->part.ops = &part_ops;
    if (!take_options(s, options, errp)) {
        ret = -EINVAL;
        goto fail;
    }
    ret = bdrv_open_file_child(NULL, options, "file", bs, errp);
    if (ret < 0) {
        goto fail;
    }
    if (!s->is_forwarder && !open_disk(s, errp)) {
        ret = -EINVAL;
        goto fail;
    }
    colo_disks_add(&s->part);
    return 0;

fail:
    g_free(s->top_id);
    g_free(s->spill_dir);
    g_free(s->state_file);
    return ret;
}

static void replication_close(BlockDriverState *bs)
{
    BDRVReplicationState *s = bs->opaque;

    part_end(&s->part, false, NULL);
    replication_detach(s);
    colo_disks_remove(&s->part);
    colo_buffer_free(s->buffer);
    colo_forward_free(s->forward);
    if (s->track) {
        colo_track_free(s->track);
    }
    g_free(s->top_id);
    g_free(s->spill_dir);
    g_free(s->state_file);
    g_free(s->error);
}

static BlockDriver bdrv_replication = {
    .format_name = "replication",
    .instance_size = sizeof(BDRVReplicationState),
    .bdrv_open = replication_open,
    .bdrv_close = replication_close,
    .bdrv_child_perm = replication_child_perm,
    .bdrv_drain_begin = replication_drain_begin,
    .bdrv_drain_end = replication_drain_end,
    .bdrv_co_getlength = replication_co_getlength,
    .bdrv_co_truncate = replication_co_truncate,
    .bdrv_co_preadv_part = replication_co_preadv_part,
    .bdrv_co_pwritev_part = replication_co_pwritev_part,
    .bdrv_co_pwrite_zeroes = replication_co_pwrite_zeroes,
    .bdrv_co_pdiscard = replication_co_pdiscard,
    .bdrv_co_flush = replication_co_flush,
    .bdrv_co_block_status = replication_co_block_status,
    .is_filter = true,
    .strong_runtime_opts = strong_opts,
};

static void bdrv_replication_init(void)
{
    bdrv_register(&bdrv_replication);
}

block_init(bdrv_replication_init);
