/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the secondary's side of one disk, over the life of a pair.
 *
 * begin() spans the net: the ingress above the parent, rights and operations
 * withheld from others, then the core is started. The stages follow what the
 * session says. end() lets the core decide what is left to do, and takes the
 * net down: at once if this side does not survive; else the ingress stays,
 * as a fence against a primary that is not as dead as it seems, and what the
 * guest has not on its disk yet is merged.
 *
 * Changing the stage needs that no piece is on its way. The guest is stopped
 * by then, so draining the node costs next to nothing; the peer may well be
 * writing, and waits at the gate meanwhile.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/aio-wait.h"
#include "block/colo.h"
#include "colo-buffer-int.h"
#include "trace.h"

/* -------------------------------------------------------------- requests */

bool colo_buffer_is_active(ColoBuffer *b)
{
    return qatomic_read(&b->active);
}

void coroutine_fn colo_buffer_take_turn(ColoBuffer *b, BlockReqList *list,
                                        BlockReq *req, uint64_t offset,
                                        uint64_t bytes)
{
    BlockReq *other;

    while ((other = reqlist_find_conflict(list, offset, bytes))) {
        qemu_co_queue_wait(&other->wait_queue, &b->lock);
    }
    reqlist_init_req(list, req, offset, bytes);
}

void colo_buffer_break(ColoBuffer *b, const char *what, int ret)
{
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        if (!b->cause) {
            b->cause = g_strdup_printf("could not %s: %s", what,
                                       strerror(-ret));
        }
        trace_colo_disk_broken(b->bs->node_name, b->cause);
        colo_disk_break(b->disk);
    }
    colo_disks_failed();
}

/* ---------------------------------------------------------------- stages */

/* Until open_gate() no piece is on its way. */
static void close_gate(ColoBuffer *b)
{
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        b->gate_closed = true;
    }
    bdrv_drained_begin(b->bs);
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&b->saving_count) > 0);
}

static void trace_stage(ColoBuffer *b)
{
    ColoDiskCounts c;

    colo_disk_counts(b->disk, &c);
    trace_colo_disk_stage(b->bs->node_name,
                          colo_disk_stage_name(colo_disk_stage(b->disk)),
                          c.own, c.undo, c.memory, c.spilled);
}

static void open_gate(ColoBuffer *b)
{
    bdrv_drained_end(b->bs);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        trace_stage(b);
        b->gate_closed = false;
        qemu_co_enter_all(&b->gate_queue, &b->lock);
    }
}

static ColoDiskStage stage_of(ColoBuffer *b)
{
    QEMU_LOCK_GUARD(&b->lock);
    return colo_disk_stage(b->disk);
}

/* What its own guest wrote is there. */
static bool is_sound(ColoBuffer *b, Error **errp)
{
    QEMU_LOCK_GUARD(&b->lock);
    if (colo_disk_stage(b->disk) == COLO_DISK_BROKEN) {
        error_setg(errp, "Disk '%s' of the secondary %s", b->bs->node_name,
                   b->cause);
        return false;
    }
    return true;
}

bool colo_buffer_check(ColoBuffer *b, Error **errp)
{
    int ret;

    GLOBAL_STATE_CODE();
    if (!is_sound(b, errp)) {
        return false;
    }
    QEMU_LOCK_GUARD(&b->lock);
    ret = colo_late_error_locked(b);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Disk '%s' of the secondary could not "
                         "write what the primary wrote", b->bs->node_name);
        return false;
    }
    return true;
}

void colo_buffer_cut(ColoBuffer *b)
{
    GLOBAL_STATE_CODE();
    close_gate(b);
    /* What the primary wrote before its cut is what a new epoch begins with. */
    colo_late_settle(b);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        if (colo_disk_stage(b->disk) == COLO_DISK_RUNNING) {
            colo_disk_cut(b->disk);
        }
    }
    open_gate(b);
}

void colo_buffer_enter(ColoBuffer *b)
{
    ColoDropped *dropped = NULL;

    GLOBAL_STATE_CODE();
    close_gate(b);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        if (colo_disk_stage(b->disk) == COLO_DISK_CUT) {
            dropped = colo_disk_enter(b->disk);
        }
    }
    open_gate(b);
    if (dropped) {
        colo_memory_release(b, dropped, false);
    }
}

void colo_buffer_roll_back(ColoBuffer *b)
{
    GLOBAL_STATE_CODE();
    close_gate(b);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        if (colo_disk_stage(b->disk) == COLO_DISK_CUT) {
            colo_disk_roll_back(b->disk);
        }
    }
    open_gate(b);
}

/* ----------------------------------------------------------------- begin */

void colo_buffer_perm(ColoBuffer *b, uint64_t *perm, uint64_t *shared)
{
    if (b->paired && b->options.shared) {
        *perm &= ~BLK_PERM_WRITE;
    } else if (b->paired || b->fenced) {
        *perm |= BLK_PERM_WRITE;
        *shared &= ~BLK_PERM_WRITE;
    }
}

static bool refresh_perm(ColoBuffer *b, Error **errp)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    return bdrv_child_refresh_perms(b->bs, b->parent, errp) >= 0;
}

static void block_operations(ColoBuffer *b)
{
    Error *reason = NULL;

    error_setg(&reason, "disk '%s' is replicated; end the protection of the "
               "guest first", b->bs->node_name);
    b->blocked = colo_blocked_new(b->parent->bs, NULL, reason);
}

static void unblock_operations(ColoBuffer *b)
{
    colo_blocked_free(g_steal_pointer(&b->blocked));
}

/*
 * Another process changes a shared image behind the back of this one, which
 * is all right unless the format keeps tables of where what is.
 */
static bool can_share(ColoBuffer *b, Error **errp)
{
    BlockDriverState *bs = b->parent->bs;
    BlockDriver *drv = bs->drv;

    if (drv->is_format && strcmp(drv->format_name, "raw") &&
        strcmp(drv->format_name, "luks")) {
        error_setg(errp, "Disk '%s' is a %s image, which two hosts cannot "
                   "use at once: a shared disk has to be raw",
                   bs->node_name, drv->format_name);
        return false;
    }
    return true;
}

/* A job would go on writing to one of two disks that are equal now. */
static bool is_idle(ColoBuffer *b, Error **errp)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    return !bdrv_op_is_blocked(b->bs, BLOCK_OP_TYPE_BACKUP_TARGET, errp) &&
           !bdrv_op_is_blocked(b->parent->bs, BLOCK_OP_TYPE_BACKUP_TARGET,
                               errp);
}

static bool insert(ColoBuffer *b, Error **errp)
{
    if (!colo_ingress_insert(b, errp)) {
        return false;
    }
    b->paired = true;
    if (!refresh_perm(b, errp)) {
        b->paired = false;
        colo_ingress_remove(b);
        return false;
    }
    return true;
}

bool colo_buffer_begin(ColoBuffer *b, BdrvChild *parent, Error **errp)
{
    int fd;

    GLOBAL_STATE_CODE();
    b->parent = parent;
    if (stage_of(b) != COLO_DISK_OFF) {
        error_setg(errp, "The guest of disk '%s' runs here already",
                   b->bs->node_name);
        return false;
    }
    if (!is_idle(b, errp) || (b->options.shared && !can_share(b, errp))) {
        return false;
    }
    fd = colo_spill_open(b->spill_dir, errp);
    if (fd < 0) {
        return false;
    }
    if (!insert(b, errp)) {
        close(fd);
        return false;
    }
    block_operations(b);
    close_gate(b);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        b->spill_fd = fd;
        b->memory_peak = 0;
        g_clear_pointer(&b->cause, g_free);
        colo_disk_begin(b->disk);
    }
    colo_late_reset(b);
    qatomic_set(&b->active, true);
    open_gate(b);
    return true;
}

/* ------------------------------------------------------------------- end */

typedef struct Report {
    void (*fn)(void *opaque, int64_t offset, int64_t bytes);
    void *opaque;
} Report;

static void report_run(uint64_t offset, uint64_t size, void *opaque)
{
    Report *r = opaque;

    r->fn(r->opaque, offset, size);
}

/* Everything the core has is dropped, at any stage. */
static void stop(ColoBuffer *b)
{
    ColoDropped *dropped;

    close_gate(b);
    colo_accept_decline(b);
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&b->peer_count) > 0);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        dropped = colo_disk_stop(b->disk);
    }
    qatomic_set(&b->active, false);
    open_gate(b);
    colo_late_forget(b);
    colo_memory_release(b, dropped, true);
}

/* What begin() did to others, taken back. */
static void release_others(ColoBuffer *b)
{
    Error *err = NULL;

    unblock_operations(b);
    b->paired = false;
    if (!refresh_perm(b, &err)) {
        error_free(err);
    }
    colo_ingress_remove(b);
}

static void give_up(ColoBuffer *b)
{
    stop(b);
    release_others(b);
}

/* At last nobody but this side's guest writes to the parent. */
static bool fence(ColoBuffer *b, Error **errp)
{
    b->paired = false;
    b->fenced = true;
    if (!refresh_perm(b, errp)) {
        b->paired = true;
        b->fenced = false;
        return false;
    }
    return true;
}

bool colo_buffer_set_fence(ColoBuffer *b, bool fenced)
{
    bool was_fenced = b->fenced;

    GLOBAL_STATE_CODE();
    b->fenced = fenced;
    return was_fenced;
}

static bool take_over(ColoBuffer *b, const Report *report, Error **errp)
{
    bool ok;

    close_gate(b);
    colo_accept_decline(b);
    AIO_WAIT_WHILE_UNLOCKED(NULL, qatomic_read(&b->peer_count) > 0);
    ok = is_sound(b, errp) && fence(b, errp);
    if (ok) {
        QEMU_LOCK_GUARD(&b->lock);
        if (colo_disk_stage(b->disk) == COLO_DISK_CUT) {
            colo_disk_roll_back(b->disk);
        }
        colo_disk_foreach(b->disk, report_run, (void *)report);
        colo_disk_take_over(b->disk);
    }
    open_gate(b);
    if (ok) {
        colo_late_forget(b);
    }
    return ok;
}

bool colo_buffer_end(ColoBuffer *b, bool survivor,
                     void (*differs)(void *opaque, int64_t offset,
                                     int64_t bytes),
                     void (*merged)(void *opaque, int ret),
                     void *opaque, Error **errp)
{
    const Report report = { differs, opaque };
    BlockDriverState *bs = b->bs;
    bool ok = true;

    GLOBAL_STATE_CODE();
    if (!b->paired) {
        return true;
    }
    bdrv_ref(bs);
    if (!survivor) {
        give_up(b);
    } else if (take_over(b, &report, errp)) {
        unblock_operations(b);
        colo_merge_start(b, merged, opaque);
    } else {
        ok = false;
    }
    bdrv_unref(bs);            /* and @b, if nobody else wants the node */
    return ok;
}

/* ------------------------------------------------------------------ info */

ColoDiskBufferInfo *colo_buffer_info(ColoBuffer *b)
{
    ColoDiskBufferInfo *info = g_new0(ColoDiskBufferInfo, 1);
    ColoDiskCounts counts;

    QEMU_LOCK_GUARD(&b->lock);
    colo_disk_counts(b->disk, &counts);
    info->stage = g_strdup(colo_disk_stage_name(colo_disk_stage(b->disk)));
    info->own = counts.own;
    info->undo = counts.undo;
    info->memory = counts.memory;
    info->memory_peak = b->memory_peak;
    info->spilled = counts.spilled;
    info->merge_left = counts.merge_left;
    return info;
}

void colo_buffer_on_peer_write(ColoBuffer *b,
                               void (*fn)(void *opaque, int64_t offset,
                                          int64_t bytes),
                               void *opaque)
{
    GLOBAL_STATE_CODE();
    b->peer_write = fn;
    b->peer_opaque = opaque;
}

/* -------------------------------------------------------------- new, free */

ColoBuffer *colo_buffer_new(BlockDriverState *bs,
                            const ColoBufferOptions *options)
{
    ColoBuffer *b = g_new0(ColoBuffer, 1);

    GLOBAL_STATE_CODE();
    b->bs = bs;
    b->options = *options;
    b->spill_dir = g_strdup(options->spill_dir);
    b->options.spill_dir = b->spill_dir;
    b->spill_fd = -1;
    qemu_mutex_init(&b->lock);
    qemu_co_mutex_init(&b->spill_open);
    qemu_co_queue_init(&b->gate_queue);
    QLIST_INIT(&b->writers);
    QLIST_INIT(&b->peers);
    QLIST_INIT(&b->readers);
    colo_memory_init(b);
    colo_late_init(b);
    colo_accept_init(b);
    b->disk = colo_disk_new(options->limit_bytes - colo_late_bytes_max(b));
    colo_merge_init(b);
    return b;
}

void colo_buffer_free(ColoBuffer *b)
{
    if (!b) {
        return;
    }
    GLOBAL_STATE_CODE();
    colo_merge_destroy(b);
    if (b->paired) {
        give_up(b);
    } else if (b->ingress) {
        stop(b);
        colo_ingress_fence(b);
    }
    colo_late_destroy(b);
    colo_accept_destroy(b);
    colo_memory_destroy(b);
    colo_disk_free(b->disk, NULL);
    g_free(b->cause);
    g_free(b->spill_dir);
    qemu_mutex_destroy(&b->lock);
    g_free(b);
}
