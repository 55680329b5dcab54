/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * driver=replication: the primary's side, and a disk that stands alone.
 *
 * Each write goes this way:
 *   - it waits until no write is under way that overlaps it, so that both
 *     disks see one order (only while there is a peer);
 *   - its place is noted as one where the disks may differ;
 *   - it is sent to the peer. If it cannot be, the label of the disk says so
 *     on stable storage before anything else happens;
 *   - it goes to the local disk.
 * So a host that comes back after a crash, with its own disk ahead of the
 * peer's, does so only if its label says it.
 *
 * If the local disk fails a write or a flush, the guest is told, but the peer
 * has what this disk lacks. Nothing is forgotten of what differs from then on,
 * until there is a new copy; a pair goes on, since the better disk is the
 * peer's, and none begins.
 *
 * A flush goes to both at once; where the guest is expected to ask for one
 * (colo/rhythm.h), it begins before. The primary's own flushes, for the marks
 * of colo-track.h, run beside the guest: the first REQUEST after one has ended
 * carries the news. After two of them without a write there is nothing left
 * to flush, so an idle disk is left alone.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/timer.h"
#include "block/blockjob.h"
#include "replication-int.h"

#define FLUSH_INTERVAL_MS 5000

/* ------------------------------------------------------------- requests */

/*
 * The peer to send to. A disk that both sides share is the peer's as well;
 * the peer hears of it only to save what is overwritten.
 */
static ColoForward *find_peer(BDRVReplicationState *s)
{
    return s->options.shared && s->role != REPLICATION_ROLE_PRIMARY
           ? NULL : s->forward;
}

/* 0 if the local disk may be written. */
static int coroutine_fn GRAPH_RDLOCK
send_co(BDRVReplicationState *s, const ReplicationWrite *w)
{
    ColoForward *peer = find_peer(s);

    if (peer && colo_forward_co(peer, w->op, w->offset, w->bytes, w->qiov,
                                w->qiov_offset, w->flags)) {
        return 0;
    }
    return s->label && !s->options.shared
           ? colo_label_move_alone_co(s->label) : 0;
}

/* What the local disk said to what the peer has done. */
static int note_result(BDRVReplicationState *s, int ret)
{
    if (ret < 0 && s->forward && !s->is_forwarder) {
        qatomic_set(&s->has_failed_here, true);
    }
    return ret;
}

/*
 * The guest's own flush waits for this one, and finds nothing left to do. If
 * this one fails, that one says so: not every disk fails twice.
 */
static void coroutine_fn early_flush_co(void *opaque)
{
    BDRVReplicationState *s = opaque;
    int ret;

    qatomic_set(&s->early_flush, qemu_coroutine_self());
    WITH_GRAPH_RDLOCK_GUARD() {
        ret = bdrv_co_flush(s->bs);
    }
    if (ret < 0) {
        qatomic_set(&s->early_error, ret);
    }
    qatomic_set(&s->early_flush, NULL);
    qatomic_set(&s->is_flushing_early, false);
    bdrv_dec_in_flight(s->bs);
}

/* A write has ended at both sides. */
static void coroutine_fn flush_early(BDRVReplicationState *s,
                                     const ReplicationWrite *w)
{
    if (colo_forward_wrote(s->forward, w->qiov ? w->bytes : 0) &&
        !qatomic_xchg(&s->is_flushing_early, true)) {
        bdrv_inc_in_flight(s->bs);
        qemu_coroutine_enter(qemu_coroutine_create(early_flush_co, s));
    }
}

static int coroutine_fn GRAPH_RDLOCK
write_both_co(BDRVReplicationState *s, const ReplicationWrite *w)
{
    bool in_order = s->forward && w->bytes > 0;
    ColoRange range;
    int ret;

    if (in_order) {
        colo_ranges_lock(&s->ranges, &range, w->offset, w->bytes);
    }
    if (s->track) {
        colo_track_note(s->track, w->offset, w->bytes);
    }
    ret = send_co(s, w);
    if (!ret) {
        ret = note_result(s, replication_write_here_co(s, w));
    }
    if (in_order) {
        colo_ranges_unlock(&s->ranges, &range);
    }
    if (!ret && s->forward && !s->is_forwarder) {
        flush_early(s, w);
    }
    return ret;
}

/*
 * What a discard leaves behind may be anything, and would be different things
 * on the two disks. So it becomes zeroes on both, or if this disk has no way
 * of unmapping that leaves zeroes, nothing on both.
 */
static int coroutine_fn GRAPH_RDLOCK
discard_both_co(BDRVReplicationState *s, const ReplicationWrite *w)
{
    ReplicationWrite zeroes = *w;

    if (!bdrv_can_write_zeroes_with_unmap(s->parent->bs)) {
        return 0;
    }
    zeroes.op = COLO_FORWARD_ZEROES;
    zeroes.flags = BDRV_REQ_MAY_UNMAP;
    return write_both_co(s, &zeroes);
}

int coroutine_fn GRAPH_RDLOCK
replication_primary_write_co(BDRVReplicationState *s,
                             const ReplicationWrite *w)
{
    bool is_discard = w->op == COLO_FORWARD_DISCARD;

    return is_discard && s->forward && !s->is_forwarder
           ? discard_both_co(s, w) : write_both_co(s, w);
}

/* The peer's half of a flush, beside the local one. */
typedef struct PeerFlush {
    ColoForward *forward;
    Coroutine *waiter;
    bool is_done;
} PeerFlush;

static void coroutine_fn peer_flush_co(void *opaque)
{
    PeerFlush *p = opaque;

    /* The flush that waits for this one has the lock. */
    assume_graph_lock();
    /* A failure breaks the forward, which is all that has to be known. */
    colo_forward_co(p->forward, COLO_FORWARD_FLUSH, 0, 0, NULL, 0, 0);
    p->is_done = true;
    if (p->waiter) {
        aio_co_wake(p->waiter);
    }
}

int coroutine_fn GRAPH_RDLOCK
replication_primary_flush_co(BDRVReplicationState *s)
{
    bool is_early = qatomic_read(&s->early_flush) == qemu_coroutine_self();
    PeerFlush peer = { .forward = find_peer(s) };
    int ret;

    if (s->forward && !is_early) {
        colo_forward_asked_to_flush(s->forward);
    }
    if (peer.forward) {
        qemu_coroutine_enter(qemu_coroutine_create(peer_flush_co, &peer));
    }
    ret = note_result(s, replication_flush_here_co(s));
    if (!is_early && !ret) {
        ret = qatomic_xchg(&s->early_error, 0);
    }
    if (peer.forward && !peer.is_done) {
        peer.waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    return ret;
}

/* ----------------------------------------------------------- durability */

static void coroutine_fn flush_both_co(void *opaque)
{
    BDRVReplicationState *s = opaque;
    int ret;

    WITH_GRAPH_RDLOCK_GUARD() {
        ret = bdrv_co_flush(s->bs);
    }
    if (!ret && colo_forward_check(s->forward, NULL)) {
        qatomic_set(&s->is_flushed, true);
    }
    qatomic_set(&s->is_flushing, false);
    bdrv_dec_in_flight(s->bs);
}

/*
 * What is flushed now was written before the mark that comes next, and a cut
 * waits until it has ended.
 */
void replication_primary_enter(BDRVReplicationState *s)
{
    int64_t now_ms = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    if (s->is_forwarder || colo_track_is_clean(s->track) ||
        qatomic_read(&s->is_flushing) || qatomic_read(&s->is_flushed) ||
        now_ms < s->flushed_ms + FLUSH_INTERVAL_MS ||
        s->bs->quiesce_counter) {
        return;
    }
    s->flushed_ms = now_ms;
    qatomic_set(&s->is_flushing, true);
    bdrv_inc_in_flight(s->bs);
    aio_co_schedule(bdrv_get_aio_context(s->bs),
                    qemu_coroutine_create(flush_both_co, s));
}

bool replication_primary_is_durable(BDRVReplicationState *s)
{
    /* A forwarder does not know what the disk beside it has flushed. */
    return !s->is_forwarder && replication_primary_is_even(s, NULL) &&
           (qatomic_read(&s->is_flushed) || colo_track_is_clean(s->track));
}

/* ------------------------------------------------------------ begin, end */

/* The quorum, if there is one. */
static BlockDriverState *find_above(BlockDriverState *bs)
{
    BdrvChild *c;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    QLIST_FOREACH(c, &bs->parents, next_parent) {
        if (c->klass->parent_is_bds) {
            return c->opaque;
        }
    }
    return NULL;
}

/*
 * Scripts take a forwarder away before they say that its peer is lost, so
 * only what lies above it may be blocked. See also is_in_place().
 */
static void block_above(BDRVReplicationState *s)
{
    Error *reason = NULL;

    s->above = find_above(s->bs);
    s->below = s->bs->file->bs;
    if (s->above) {
        error_setg(&reason, "disk '%s' is replicated; end the protection of "
                   "the guest first", s->above->node_name);
        s->blocked = colo_blocked_new(s->above, NULL, reason);
    }
}

/* Does a forwarder still get what the guest writes, and send it there? */
static bool is_in_place(BDRVReplicationState *s, Error **errp)
{
    if (s->is_forwarder &&
        (find_above(s->bs) != s->above || s->bs->file->bs != s->below)) {
        error_setg(errp, "Node '%s' was moved to another place while it "
                   "replicated a disk: the secondary lacks what the guest "
                   "wrote since", s->bs->node_name);
        return false;
    }
    return true;
}

bool replication_primary_is_even(BDRVReplicationState *s, Error **errp)
{
    if (qatomic_read(&s->has_failed_here)) {
        error_setg(errp, "A write or flush of disk '%s' failed on this side, "
                   "and its copy may have what this side lacks",
                   s->bs->node_name);
        error_append_hint(errp, "Detach the copy, and attach it again.\n");
        return false;
    }
    return true;
}

bool replication_primary_check(BDRVReplicationState *s, Error **errp)
{
    return colo_forward_check(s->forward, errp) && is_in_place(s, errp);
}

static void begin_forwarder(BDRVReplicationState *s)
{
    block_above(s);
    bdrv_drained_begin(s->bs);
    s->forward = colo_forward_new(s->bs->file, s->limit_ms,
                                  &s->part.number);
    s->role = REPLICATION_ROLE_PRIMARY;
    bdrv_drained_end(s->bs);
}

static bool may_begin(BDRVReplicationState *s, Error **errp)
{
    const char *node = s->bs->node_name;

    if (!s->target) {
        error_setg(errp, "Disk '%s' has no copy at the secondary", node);
        error_append_hint(errp, "Give it one with colo-disk-attach.\n");
        return false;
    }
    if (!s->in_sync) {
        error_setg(errp, "The copy of disk '%s' at the secondary is not "
                   "complete yet", node);
        error_append_hint(errp, "Wait until query-colo says in-sync for "
                          "this disk, then migrate.\n");
        return false;
    }
    return replication_primary_is_even(s, errp) &&
           colo_forward_check(s->forward, errp);
}

bool replication_primary_begin(BDRVReplicationState *s, Error **errp)
{
    int ret;

    if (s->is_forwarder) {
        begin_forwarder(s);
        return true;
    }
    /* A disk nobody writes, or a former secondary below a quorum. */
    if (!s->target && (s->has_mode || bdrv_is_read_only(s->bs))) {
        return true;
    }
    if (!may_begin(s, errp)) {
        return false;
    }
    /* What is equal is to be equal after a loss of power as well. */
    ret = bdrv_flush(s->bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Disk '%s' cannot be flushed",
                         s->bs->node_name);
        return false;
    }
    if (!may_begin(s, errp)) {
        return false;
    }
    s->role = REPLICATION_ROLE_PRIMARY;
    s->is_flushed = false;
    return true;
}

void replication_primary_end(BDRVReplicationState *s, bool survivor)
{
    Error *err = NULL;

    if (!replication_primary_check(s, &err) ||
        !replication_primary_is_even(s, &err)) {
        replication_set_error(s, err);
    }
    s->role = REPLICATION_ROLE_NONE;
    if (s->is_forwarder) {
        bdrv_drained_begin(s->bs);
        g_clear_pointer(&s->forward, colo_forward_free);
        bdrv_drained_end(s->bs);
        colo_blocked_free(g_steal_pointer(&s->blocked));
    } else if (survivor) {
        replication_detach(s);
    }
}

/* --------------------------------------------------------- attach, detach */

static void block_operations(BDRVReplicationState *s)
{
    Error *reason = NULL;

    error_setg(&reason, "disk '%s' has a copy at a secondary; end the "
               "protection of the guest, or use colo-disk-detach",
               s->bs->node_name);
    s->blocked = colo_blocked_new(s->parent->bs, s->target->bs, reason);
}

static BdrvChild *attach_child(BDRVReplicationState *s,
                               BlockDriverState *target, Error **errp)
{
    BdrvChild *child;

    bdrv_graph_wrlock();
    bdrv_ref(target);
    child = bdrv_attach_child(s->bs, target, REPLICATION_TARGET,
                              &child_of_bds, BDRV_CHILD_DATA, errp);
    bdrv_graph_wrunlock();
    return child;
}

/* With a target, nobody else may write to the disk. */
static bool refresh_perm(BDRVReplicationState *s, Error **errp)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    return bdrv_child_refresh_perms(s->bs, s->parent, errp) >= 0;
}

static void detach_child(BDRVReplicationState *s)
{
    bdrv_drained_begin(s->bs);
    g_clear_pointer(&s->forward, colo_forward_free);
    s->in_sync = false;
    bdrv_graph_wrlock();
    bdrv_unref_child(s->bs, s->target);
    s->target = NULL;
    bdrv_graph_wrunlock();
    refresh_perm(s, NULL);
    bdrv_drained_end(s->bs);
}

bool replication_attach(BDRVReplicationState *s, BlockDriverState *target,
                        Error **errp)
{
    GLOBAL_STATE_CODE();
    assert(!s->target);
    /* What is written from now on, this disk's last peer does not know of. */
    if (colo_label_state(s->label) == COLO_LABEL_PROTECTED &&
        !s->options.shared &&
        !colo_label_move(s->label, COLO_LABEL_ALONE, errp)) {
        return false;
    }
    bdrv_drained_begin(s->bs);
    s->target = attach_child(s, target, errp);
    if (s->target && !refresh_perm(s, errp)) {
        detach_child(s);
    }
    if (s->target) {
        s->forward = colo_forward_new(s->target, s->limit_ms,
                                      s->options.shared ? NULL
                                                        : &s->part.number);
        g_free(s->copy_name);
        s->copy_name = g_strdup(target->node_name);
        s->in_sync = false;
        qatomic_set(&s->has_failed_here, false);
        block_operations(s);
    }
    bdrv_drained_end(s->bs);
    return s->target;
}

void replication_detach(BDRVReplicationState *s)
{
    BlockDriverState *bs = s->bs;

    GLOBAL_STATE_CODE();
    if (!s->target) {
        return;
    }
    bdrv_ref(bs);
    if (s->job) {
        /* This comes here again to detach. */
        job_cancel_sync(&s->job->job, true);
    }
    if (s->target) {
        detach_child(s);
        colo_blocked_free(g_steal_pointer(&s->blocked));
    }
    bdrv_unref(bs);
}
