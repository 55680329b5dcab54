/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * driver=replication: one disk's part in a session.
 *
 * What the register (block/colo.h) passes on: a pair begins, a cut, an epoch
 * is entered, the pair ends. Here the role of the node changes and nowhere
 * else.
 *
 * The label is written when the first epoch is entered, not when the pair
 * begins: until then a failure takes everything back, and the old label,
 * which says less, is right for either side.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "system/block-backend.h"
#include "replication-int.h"

static BDRVReplicationState *part_state(ColoDiskPart *part)
{
    return container_of(part, BDRVReplicationState, part);
}

void replication_set_error(BDRVReplicationState *s, Error *err)
{
    g_free(s->error);
    s->error = g_strdup(error_get_pretty(err));
    error_free(err);
}

static void set_label(BDRVReplicationState *s, ColoLabelState state)
{
    Error *err = NULL;

    if (!colo_label_set(s->label, s->session,
                        s->role == REPLICATION_ROLE_PRIMARY, state, &err)) {
        error_report_err(error_copy(err));
        replication_set_error(s, err);
    }
}

/* ---------------------------------------------------------------- begin */

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
    if (!colo_label_is_stored(s->label)) {
        warn_report("Disk '%s' has no state file (option 'state-file'): a "
                    "crash of this host during the merge after a takeover "
                    "would go unnoticed", s->bs->node_name);
    }
    s->role = REPLICATION_ROLE_SECONDARY;
    return true;
}

static bool part_begin(ColoDiskPart *part, bool primary, const char *session,
                       Error **errp)
{
    BDRVReplicationState *s = part_state(part);
    bool ok;

    if (s->role != REPLICATION_ROLE_NONE) {
        error_setg(errp, "Disk '%s' is part of a pair already",
                   s->bs->node_name);
        return false;
    }
    ok = primary ? replication_primary_begin(s, errp)
                 : begin_secondary(s, errp);
    if (ok && s->role != REPLICATION_ROLE_NONE) {
        g_clear_pointer(&s->error, g_free);
        g_free(s->session);
        s->session = g_strdup(session);
        s->is_labelled = false;
        if (s->track) {
            colo_track_reset(s->track);
        }
    }
    return ok;
}

/* ----------------------------------------------------------- checkpoints */

static bool part_check(ColoDiskPart *part, Error **errp)
{
    BDRVReplicationState *s = part_state(part);

    switch (s->role) {
    case REPLICATION_ROLE_PRIMARY:
        return replication_primary_check(s, errp);
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
        s->is_flushed = false;
    }
}

/*
 * Not a primary whose own merge still goes on, and which must not be taken
 * for good after a crash. The label of a shared disk is the secondary's.
 */
static bool may_label(BDRVReplicationState *s)
{
    return s->role == REPLICATION_ROLE_SECONDARY ||
           (!s->is_forwarder && !s->options.shared &&
            !colo_buffer_is_active(s->buffer));
}

static void part_enter(ColoDiskPart *part, uint64_t epoch)
{
    BDRVReplicationState *s = part_state(part);

    if (s->role == REPLICATION_ROLE_NONE) {
        return;
    }
    if (!s->is_labelled && may_label(s)) {
        set_label(s, COLO_LABEL_PROTECTED);
        s->is_labelled = true;
    }
    if (s->role == REPLICATION_ROLE_SECONDARY) {
        colo_buffer_enter(s->buffer);
    } else {
        replication_primary_enter(s);
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

    return s->role != REPLICATION_ROLE_PRIMARY ||
           replication_primary_is_durable(s);
}

/* --------------------------------------------------------------- offers */

static ColoOffered part_offered(ColoDiskPart *part, const ColoOffer *offer)
{
    BDRVReplicationState *s = part_state(part);

    return s->role == REPLICATION_ROLE_SECONDARY
           ? colo_accept_offer(s->buffer, offer) : COLO_OFFERED_DECLINE;
}

static void part_decline(ColoDiskPart *part)
{
    BDRVReplicationState *s = part_state(part);

    if (s->buffer) {
        colo_accept_decline(s->buffer);
    }
}

static BlockDriverState *part_node(ColoDiskPart *part)
{
    return part_state(part)->bs;
}

/* ------------------------------------------------------------------- end */

static void note_difference(void *opaque, int64_t offset, int64_t bytes)
{
    BDRVReplicationState *s = opaque;

    colo_track_note(s->track, offset, bytes);
}

/* All is on the disk, or something cannot be put there yet. */
static void on_merged(void *opaque, int ret)
{
    BDRVReplicationState *s = opaque;
    Error *err = NULL;

    if (ret < 0) {
        error_setg_errno(&err, -ret, "Disk '%s' cannot be merged; it is "
                         "tried again", s->bs->node_name);
    } else {
        g_clear_pointer(&s->error, g_free);
        colo_label_move(s->label, COLO_LABEL_ALONE, &err);
    }
    if (err) {
        error_report_err(error_copy(err));
        replication_set_error(s, err);
    }
}

static bool end_secondary(BDRVReplicationState *s, bool survivor,
                          Error **errp)
{
    if (survivor) {
        /* From here on the disk is neither side's until it is merged. */
        set_label(s, COLO_LABEL_MERGING);
    }
    s->role = REPLICATION_ROLE_NONE;
    if (colo_buffer_end(s->buffer, survivor, note_difference, on_merged, s,
                        errp)) {
        return true;           /* and @s may be gone */
    }
    s->role = REPLICATION_ROLE_SECONDARY;
    set_label(s, COLO_LABEL_PROTECTED);
    return false;
}

static bool part_end(ColoDiskPart *part, bool survivor, Error **errp)
{
    BDRVReplicationState *s = part_state(part);

    if (s->role == REPLICATION_ROLE_PRIMARY) {
        replication_primary_end(s, survivor);
    } else if (s->role == REPLICATION_ROLE_SECONDARY) {
        return end_secondary(s, survivor, errp);
    }
    return true;
}

/* ------------------------------------------------------------------ info */

static char *copy_error(BDRVReplicationState *s)
{
    Error *err = NULL;
    char *text = NULL;

    if (s->forward && (!colo_forward_check(s->forward, &err) ||
                       !replication_primary_is_even(s, &err))) {
        text = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    return text;
}

static ColoDiskInfo *part_info(ColoDiskPart *part)
{
    BDRVReplicationState *s = part_state(part);
    ColoDiskInfo *info = g_new0(ColoDiskInfo, 1);
    bool is_buffered = s->buffer && colo_buffer_is_active(s->buffer);

    info->node = g_strdup(s->bs->node_name);
    info->has_role = s->role != REPLICATION_ROLE_NONE;
    info->role = s->role == REPLICATION_ROLE_SECONDARY
                 ? REPLICATION_MODE_SECONDARY : REPLICATION_MODE_PRIMARY;
    if (is_buffered || s->role == REPLICATION_ROLE_SECONDARY) {
        info->buffer = colo_buffer_info(s->buffer);
    }
    if (s->forward) {
        info->forward = colo_forward_info(
            s->forward, s->is_forwarder ||
            (s->in_sync && replication_primary_is_even(s, NULL)));
        info->forward->copied = stat64_get(&s->copied_bytes);
    }
    info->differs = s->track ? colo_track_bytes(s->track) : 0;
    if (s->label) {
        info->state = colo_label_text(s->label);
        info->needs_resync = replication_needs_resync(s);
    }
    info->error = s->error ? g_strdup(s->error) : copy_error(s);
    return info;
}

bool replication_needs_resync(BDRVReplicationState *s)
{
    return colo_label_state(s->label) == COLO_LABEL_MERGING &&
           !colo_buffer_is_active(s->buffer);
}

static void part_shutdown(ColoDiskPart *part)
{
    BDRVReplicationState *s = part_state(part);
    BlockDriverState *bs = s->bs;

    bdrv_ref(bs);
    part_end(part, false, NULL);
    replication_detach(s);
    bdrv_unref(bs);
}

/* ----------------------------------------------------------- the register */

/* It only hands requests on: no pair, no copy, nothing left to merge. */
static bool GRAPH_RDLOCK is_idle(BlockDriverState *bs)
{
    BDRVReplicationState *s = replication_find(bs->node_name, NULL);

    return s && s->role == REPLICATION_ROLE_NONE && !s->target &&
           s->buffer && !colo_buffer_is_active(s->buffer) &&
           bdrv_is_root_node(bs);
}

bool colo_disk_is_root(BlockDriverState *bs)
{
    unsigned idle_count = 0;
    BdrvChild *c;

    GLOBAL_STATE_CODE();
    if (bdrv_is_root_node(bs)) {
        return true;
    }
    QLIST_FOREACH(c, &bs->parents, next_parent) {
        if (!c->klass->parent_is_bds) {
            return false;
        }
        if (!colo_ingress_is_unused(c->opaque)) {
            if (!is_idle(c->opaque)) {
                return false;
            }
            idle_count++;
        }
    }
    return idle_count == 1;
}

static const ColoDiskOps part_ops = {
    .begin = part_begin,
    .check = part_check,
    .cut = part_cut,
    .enter = part_enter,
    .roll_back = part_roll_back,
    .is_durable = part_is_durable,
    .offered = part_offered,
    .decline = part_decline,
    .node = part_node,
    .end = part_end,
    .shutdown = part_shutdown,
    .info = part_info,
};

void replication_session_join(BDRVReplicationState *s)
{
    s->part.ops = &part_ops;
    if (s->buffer) {
        colo_buffer_on_peer_write(s->buffer, note_difference, s);
    }
    colo_disks_add(&s->part);
}

void replication_session_leave(BDRVReplicationState *s)
{
    part_end(&s->part, false, NULL);
    colo_disks_remove(&s->part);
}
