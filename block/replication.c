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
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "replication-int.h"

#define DEFAULT_BUFFER_BYTES (256 * MiB)
#define DEFAULT_LIMIT_MS 2000
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
        { .name = "ignore-state", .type = QEMU_OPT_BOOL },
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

int coroutine_fn GRAPH_RDLOCK
replication_read_co(BDRVReplicationState *s, int64_t offset, int64_t bytes,
                    QEMUIOVector *qiov, size_t qiov_offset,
                    BdrvRequestFlags flags)
{
    if (is_buffered(s)) {
        return colo_buffer_co_preadv(s->buffer, offset, bytes, qiov,
                                     qiov_offset);
    }
    return bdrv_co_preadv_part(s->parent, offset, bytes, qiov, qiov_offset,
                               flags);
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_preadv_part(BlockDriverState *bs, int64_t offset,
                           int64_t bytes, QEMUIOVector *qiov,
                           size_t qiov_offset, BdrvRequestFlags flags)
{
    BDRVReplicationState *s = bs->opaque;

    return s->is_forwarder ? -EIO
           : replication_read_co(s, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn GRAPH_RDLOCK
write_buffered_co(BDRVReplicationState *s, const ReplicationWrite *w)
{
    switch (w->op) {
    case COLO_FORWARD_WRITE:
        return colo_buffer_co_pwritev(s->buffer, w->offset, w->bytes, w->qiov,
                                      w->qiov_offset, w->flags);
    case COLO_FORWARD_ZEROES:
        return colo_buffer_co_pwrite_zeroes(s->buffer, w->offset, w->bytes,
                                            w->flags);
    case COLO_FORWARD_DISCARD:
        return colo_buffer_co_pdiscard(s->buffer, w->offset, w->bytes);
    default:
        g_assert_not_reached();
    }
}

static int coroutine_fn GRAPH_RDLOCK
write_parent_co(BDRVReplicationState *s, const ReplicationWrite *w)
{
    switch (w->op) {
    case COLO_FORWARD_WRITE:
        return bdrv_co_pwritev_part(s->parent, w->offset, w->bytes, w->qiov,
                                    w->qiov_offset, w->flags);
    case COLO_FORWARD_ZEROES:
        return bdrv_co_pwrite_zeroes(s->parent, w->offset, w->bytes,
                                     w->flags);
    case COLO_FORWARD_DISCARD:
        return bdrv_co_pdiscard(s->parent, w->offset, w->bytes);
    default:
        g_assert_not_reached();
    }
}

int coroutine_fn GRAPH_RDLOCK
replication_write_here_co(BDRVReplicationState *s, const ReplicationWrite *w)
{
    if (s->is_forwarder) {
        /* Outside a pair it must not pretend to have stored anything. */
        return s->role == REPLICATION_ROLE_PRIMARY ? 0 : -EIO;
    }
    return is_buffered(s) ? write_buffered_co(s, w) : write_parent_co(s, w);
}

int coroutine_fn GRAPH_RDLOCK
replication_flush_here_co(BDRVReplicationState *s)
{
    if (s->is_forwarder) {
        return 0;
    }
    return is_buffered(s) ? colo_buffer_co_flush(s->buffer)
                          : bdrv_co_flush(s->parent->bs);
}

/* A secondary's guest has no peer to write to before it takes over. */
static bool is_secondary(BDRVReplicationState *s)
{
    return s->role == REPLICATION_ROLE_SECONDARY;
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_pwritev_part(BlockDriverState *bs, int64_t offset,
                            int64_t bytes, QEMUIOVector *qiov,
                            size_t qiov_offset, BdrvRequestFlags flags)
{
    BDRVReplicationState *s = bs->opaque;
    ReplicationWrite w = {
        .op = COLO_FORWARD_WRITE, .offset = offset, .bytes = bytes,
        .qiov = qiov, .qiov_offset = qiov_offset, .flags = flags,
    };

    return is_secondary(s) ? replication_write_here_co(s, &w)
                           : replication_primary_write_co(s, &w);
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                             int64_t bytes, BdrvRequestFlags flags)
{
    BDRVReplicationState *s = bs->opaque;
    ReplicationWrite w = {
        .op = COLO_FORWARD_ZEROES, .offset = offset, .bytes = bytes,
        .flags = flags,
    };

    return is_secondary(s) ? replication_write_here_co(s, &w)
                           : replication_primary_write_co(s, &w);
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    BDRVReplicationState *s = bs->opaque;
    ReplicationWrite w = {
        .op = COLO_FORWARD_DISCARD, .offset = offset, .bytes = bytes,
    };

    return is_secondary(s) ? replication_write_here_co(s, &w)
                           : replication_primary_write_co(s, &w);
}

static int coroutine_fn GRAPH_RDLOCK
replication_co_flush(BlockDriverState *bs)
{
    BDRVReplicationState *s = bs->opaque;

    return is_secondary(s) ? colo_buffer_co_flush(s->buffer)
                           : replication_primary_flush_co(s);
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
    int ret;

    if (s->role != REPLICATION_ROLE_NONE || s->target) {
        error_setg(errp, "'%s' is replicated: its size cannot be changed "
                   "while COLO protects the guest", bs->node_name);
        return -EBUSY;
    }
    if (s->is_forwarder) {
        error_setg(errp, "'%s' only forwards writes", bs->node_name);
        return -ENOTSUP;
    }
    ret = bdrv_co_truncate(s->parent, offset, exact, prealloc, flags, errp);
    if (ret >= 0) {
        int64_t bytes = bdrv_co_getlength(s->parent->bs);

        if (bytes >= 0) {
            colo_track_resize(s->track, bytes);
        }
    }
    return ret;
}

/* Somebody goes back to an internal snapshot of the disk. */
static int replication_snapshot_goto(BlockDriverState *bs,
                                     const char *snapshot_id)
{
    BDRVReplicationState *s = bs->opaque;
    int ret;

    if (s->is_forwarder) {
        return -ENOTSUP;
    }
    if (s->role != REPLICATION_ROLE_NONE || s->target || is_buffered(s) ||
        !colo_label_move(s->label, COLO_LABEL_ALONE, NULL)) {
        return -EBUSY;
    }
    ret = bdrv_snapshot_goto(s->parent->bs, snapshot_id, NULL);
    colo_track_set_all(s->track);
    return ret;
}

static void
replication_child_perm(BlockDriverState *bs, BdrvChild *c, BdrvChildRole role,
                       BlockReopenQueue *queue, uint64_t perm,
                       uint64_t shared, uint64_t *nperm, uint64_t *nshared)
{
    BDRVReplicationState *s = bs->opaque;
    bool is_target = c && !strcmp(c->name, REPLICATION_TARGET);
    bool may = (bs->open_flags & (BDRV_O_INACTIVE | BDRV_O_RDWR)) ==
               BDRV_O_RDWR;
    /* Nobody uses a node that is just being put above a disk in use. */
    bool wants = (perm & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED)) ||
                 s->role != REPLICATION_ROLE_NONE || is_buffered(s) ||
                 is_target;

    *nperm = BLK_PERM_CONSISTENT_READ;
    if (may && wants && !(s->top_id && c == bs->file)) {
        *nperm |= BLK_PERM_WRITE;
    }
    *nperm |= perm & BLK_PERM_RESIZE;
    *nshared = BLK_PERM_ALL & ~BLK_PERM_RESIZE;
    /* What goes past this node, the copy would lack. */
    if (is_target || (s->target && c == s->parent)) {
        *nshared &= ~BLK_PERM_WRITE;
    }
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

BDRVReplicationState *replication_of(BlockDriverState *bs)
{
    return bs->drv && !strcmp(bs->drv->format_name, "replication")
           ? bs->opaque : NULL;
}

BDRVReplicationState *replication_next(BDRVReplicationState *s)
{
    BlockDriverState *bs = s ? s->bs : NULL;

    GLOBAL_STATE_CODE();
    do {
        bs = bdrv_next_node(bs);
    } while (bs && !replication_of(bs));
    return bs ? bs->opaque : NULL;
}

BDRVReplicationState *replication_find(const char *node_name, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(node_name, node_name, errp);
    BDRVReplicationState *s;

    if (!bs) {
        return NULL;
    }
    s = replication_of(bs);
    if (!s || s->is_forwarder) {
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
    s->ignore_state = qemu_opt_get_bool(opts, "ignore-state", false);
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

/* The node that has the bytes, if it is a file or a device of this host. */
static BlockDriverState *find_file(BDRVReplicationState *s)
{
    BlockDriverState *bs;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    bs = s->parent->bs;
    while (bs && !bs->drv->protocol_name) {
        bs = bdrv_primary_bs(bs);
    }
    return bs && (!strcmp(bs->drv->format_name, "file") ||
                  !strcmp(bs->drv->format_name, "host_device")) ? bs : NULL;
}

/* Beside the image, if that is an ordinary file. */
static char *default_state_file(BDRVReplicationState *s)
{
    BlockDriverState *bs = find_file(s);
    struct stat st;

    if (!bs || strstart(bs->exact_filename, "/dev/", NULL) ||
        stat(bs->exact_filename, &st) < 0 || !S_ISREG(st.st_mode)) {
        return NULL;
    }
    return g_strdup_printf("%s.colo", bs->exact_filename);
}

/* Another host does not know what lies in the cache of this one. */
static void warn_of_cache(BDRVReplicationState *s)
{
    BlockDriverState *bs = find_file(s);

    if (s->options.shared && bs && !(bs->open_flags & BDRV_O_NOCACHE)) {
        warn_report("Disk '%s' is shared and node '%s' has no "
                    "cache.direct=on: all is well only while both sides run "
                    "on one host", s->bs->node_name, bs->node_name);
    }
}

/* A guest must not run from a disk that was left in the middle of a merge. */
static bool open_label(BDRVReplicationState *s, int flags, Error **errp)
{
    if (!s->state_file) {
        s->state_file = default_state_file(s);
    }
    s->label = colo_label_open(s->state_file, errp);
    if (!s->label) {
        return false;
    }
    if (s->ignore_state) {
        return colo_label_forget(s->label, errp);
    }
    if (colo_label_state(s->label) == COLO_LABEL_MERGING &&
        (flags & (BDRV_O_RDWR | BDRV_O_INACTIVE)) == BDRV_O_RDWR) {
        error_setg(errp, "Disk '%s' was left in the middle of a merge: it "
                   "holds parts of two hosts' data", s->parent->bs->node_name);
        error_append_hint(errp, "Make it a secondary's disk (-incoming) and "
                          "have it copied with colo-disk-attach, sync=full, "
                          "or use it as it is with ignore-state=on.\n");
        return false;
    }
    return true;
}

static bool open_disk(BDRVReplicationState *s, int flags, Error **errp)
{
    BlockDriverState *bs = s->bs;
    g_autofree char *session = NULL;
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
    if (!open_label(s, flags, errp)) {
        return false;
    }
    warn_of_cache(s);
    s->track = colo_track_new(bytes);
    session = colo_label_session(s->label);
    if (session) {
        colo_track_load(s->track, s->parent->bs, session);
    }
    s->buffer = colo_buffer_new(bs, &s->options);
    bs->supported_write_flags = BDRV_REQ_WRITE_UNCHANGED | BDRV_REQ_FUA;
    bs->supported_zero_flags = BDRV_REQ_WRITE_UNCHANGED | BDRV_REQ_FUA |
                               BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK;
    return true;
}

static void free_state(BDRVReplicationState *s)
{
    colo_buffer_free(s->buffer);
    colo_forward_free(s->forward);
    colo_track_free(s->track);
    colo_label_free(s->label);
    g_free(s->top_id);
    g_free(s->spill_dir);
    g_free(s->state_file);
    g_free(s->session);
    g_free(s->copy_name);
    g_free(s->error);
}

static int replication_open(BlockDriverState *bs, QDict *options, int flags,
                            Error **errp)
{
    BDRVReplicationState *s = bs->opaque;
    int ret;

    s->bs = bs;
    colo_ranges_init(&s->ranges);
    if (!take_options(s, options, errp)) {
        ret = -EINVAL;
        goto fail;
    }
    ret = bdrv_open_file_child(NULL, options, "file", bs, errp);
    if (ret < 0) {
        goto fail;
    }
    if (!s->is_forwarder && !open_disk(s, flags, errp)) {
        ret = -EINVAL;
        goto fail;
    }
    replication_session_join(s);
    return 0;

fail:
    free_state(s);
    return ret;
}

static void replication_close(BlockDriverState *bs)
{
    BDRVReplicationState *s = bs->opaque;
    g_autofree char *session = NULL;

    replication_session_leave(s);
    replication_detach(s);
    if (s->label) {
        session = colo_label_session(s->label);
    }
    if (session) {
        colo_track_store(s->track, s->parent->bs, session);
    }
    free_state(s);
}

static BlockDriver bdrv_replication = {
    .bdrv_child_perm = replication_child_perm,
    .bdrv_close = replication_close,
    .bdrv_co_block_status = replication_co_block_status,
    .bdrv_co_flush = replication_co_flush,
    .bdrv_co_getlength = replication_co_getlength,
    .bdrv_co_pdiscard = replication_co_pdiscard,
    .bdrv_co_preadv_part = replication_co_preadv_part,
    .bdrv_co_pwrite_zeroes = replication_co_pwrite_zeroes,
    .bdrv_co_pwritev_part = replication_co_pwritev_part,
    .bdrv_co_truncate = replication_co_truncate,
    .bdrv_drain_begin = replication_drain_begin,
    .bdrv_drain_end = replication_drain_end,
    .bdrv_open = replication_open,
    .bdrv_snapshot_goto = replication_snapshot_goto,
    .format_name = "replication",
    .instance_size = sizeof(BDRVReplicationState),
    .is_filter = true,
    .strong_runtime_opts = strong_opts,
};

static void bdrv_replication_init(void)
{
    bdrv_register(&bdrv_replication);
}

block_init(bdrv_replication_init);
