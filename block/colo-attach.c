/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: colo-disk-attach and colo-disk-detach.
 *
 * All that can be wrong with a copy is found here, before anything changes,
 * and said in words that tell what to do.
 *
 * An incremental copy rests on two promises. This disk's own track lacks
 * nothing that differs since the session which its label names; and the other
 * disk's label says that it was not written without this side's knowledge
 * since then. Any other pair of labels needs a full copy.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colo-disk.h"
#include "block/blockjob.h"
#include "replication-int.h"

static bool may_attach(BDRVReplicationState *s, Error **errp)
{
    const char *node = s->bs->node_name;

    if (s->role != REPLICATION_ROLE_NONE) {
        error_setg(errp, "Disk '%s' is in use by a protected guest", node);
        return false;
    }
    if (s->target) {
        error_setg(errp, "Disk '%s' has a copy already, through node '%s'",
                   node, s->target->bs->node_name);
        error_append_hint(errp, "Take it away with colo-disk-detach.\n");
        return false;
    }
    if (bdrv_is_read_only(s->bs) || (s->bs->open_flags & BDRV_O_INACTIVE)) {
        error_setg(errp, "Disk '%s' is not writable here", node);
        return false;
    }
    return !bdrv_op_is_blocked(s->bs, BLOCK_OP_TYPE_MIRROR_SOURCE, errp);
}

static bool check_sizes(BDRVReplicationState *s, BlockDriverState *target,
                        Error **errp)
{
    int64_t here = bdrv_getlength(s->bs);
    int64_t there = bdrv_getlength(target);

    if (here < 0 || there < 0) {
        error_setg_errno(errp, -MIN(here, there),
                         "Cannot tell the size of '%s'",
                         here < 0 ? s->bs->node_name : target->node_name);
        return false;
    }
    if (here != there) {
        error_setg(errp, "Disk '%s' has %" PRId64 " bytes, its copy '%s' has "
                   "%" PRId64, s->bs->node_name, here, target->node_name,
                   there);
        error_append_hint(errp, "Both need the same size.\n");
        return false;
    }
    return true;
}

static bool GRAPH_RDLOCK is_in_tree(BlockDriverState *root,
                                    BlockDriverState *bs)
{
    BdrvChild *child;

    if (root == bs) {
        return true;
    }
    QLIST_FOREACH(child, &root->children, next) {
        if (is_in_tree(child->bs, bs)) {
            return true;
        }
    }
    return false;
}

static bool is_related(BlockDriverState *a, BlockDriverState *b)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();
    return is_in_tree(a, b) || is_in_tree(b, a);
}

static BlockDriverState *find_target(BDRVReplicationState *s,
                                     const char *name, Error **errp)
{
    BlockDriverState *target = bdrv_lookup_bs(name, name, errp);

    if (!target) {
        return NULL;
    }
    if (is_related(s->bs, target)) {
        error_setg(errp, "Node '%s' is part of disk '%s' itself", name,
                   s->bs->node_name);
        return NULL;
    }
    if (bdrv_is_read_only(target)) {
        error_setg(errp, "Node '%s' is read-only", name);
        error_append_hint(errp, "Export the secondary's disk writable.\n");
        return NULL;
    }
    if (bdrv_op_is_blocked(target, BLOCK_OP_TYPE_MIRROR_TARGET, errp) ||
        !check_sizes(s, target, errp)) {
        return NULL;
    }
    return target;
}

/* Do both disks go back to one session, and is all since then known? */
static bool check_base(BDRVReplicationState *s, const char *base,
                       Error **errp)
{
    g_autofree char *theirs = NULL;
    g_autofree char *ours = colo_label_session(s->label);
    ColoLabelState state;

    if (!base) {
        error_setg(errp, "sync=incremental needs base: the state of the "
                   "disk that query-colo of the returning side shows");
        return false;
    }
    if (!colo_label_parse(base, &theirs, &state, errp)) {
        return false;
    }
    if (!ours || strcmp(ours, theirs)) {
        error_setg(errp, "Disk '%s' and its copy were last equal in "
                   "different protections (%s here, %s there)",
                   s->bs->node_name, ours ?: "none", theirs);
    } else if (state != COLO_LABEL_PROTECTED) {
        error_setg(errp, "The copy of disk '%s' was written after the two "
                   "parted; this side does not know where", s->bs->node_name);
    } else {
        return true;
    }
    error_append_hint(errp, "Copy it whole, with sync=full.\n");
    return false;
}

static bool check_sync(BDRVReplicationState *s, ColoDiskSync sync,
                       const char *base, Error **errp)
{
    if (s->options.shared && sync != COLO_DISK_SYNC_NONE) {
        error_setg(errp, "Both sides share disk '%s': there is nothing to "
                   "copy, use sync=none", s->bs->node_name);
        return false;
    }
    if (sync == COLO_DISK_SYNC_INCREMENTAL) {
        return check_base(s, base, errp);
    }
    if (base) {
        error_setg(errp, "base goes with sync=incremental only");
        return false;
    }
    return true;
}

void qmp_colo_disk_attach(const char *node, const char *target, bool has_sync,
                          ColoDiskSync sync, const char *base,
                          bool has_speed, int64_t speed, const char *id,
                          bool has_auto_dismiss, bool auto_dismiss,
                          Error **errp)
{
    BDRVReplicationState *s = replication_find(node, errp);
    BlockDriverState *bs;

    if (!s || !may_attach(s, errp)) {
        return;
    }
    if (!has_sync) {
        sync = s->options.shared ? COLO_DISK_SYNC_NONE : COLO_DISK_SYNC_FULL;
    }
    bs = find_target(s, target, errp);
    if (!bs || !check_sync(s, sync, base, errp) ||
        !replication_attach(s, bs, errp)) {
        return;
    }
    g_clear_pointer(&s->error, g_free);
    if (sync == COLO_DISK_SYNC_NONE) {
        s->in_sync = true;
    } else if (!replication_resync(s, id ?: s->bs->node_name,
                                   sync == COLO_DISK_SYNC_FULL,
                                   has_speed ? speed : 0,
                                   !has_auto_dismiss || auto_dismiss,
                                   errp)) {
        replication_detach(s);
    }
}

void qmp_colo_disk_detach(const char *node, Error **errp)
{
    BDRVReplicationState *s = replication_find(node, errp);

    if (!s) {
        return;
    }
    if (s->role != REPLICATION_ROLE_NONE) {
        error_setg(errp, "Disk '%s' is in use by a protected guest", node);
        error_append_hint(errp, "End the protection first.\n");
        return;
    }
    if (!s->target) {
        error_setg(errp, "Disk '%s' has no copy", node);
        return;
    }
    replication_detach(s);
}
