/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: a replication node above a disk that is in use, and away again.
 *
 * Protection begins with a VM that knows nothing of it. These two commands
 * change the graph below a running device; every user of the disk follows.
 * The block layer replaces the node with all requests drained, so the guest
 * sees one slow request at most.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colo-disk.h"
#include "qobject/qdict.h"
#include "block/block_int.h"
#include "system/block-backend.h"
#include "replication-int.h"

static void put_size(QDict *to, const char *name, bool has, uint64_t value)
{
    if (has) {
        qdict_put_int(to, name, value);
    }
}

static void put_text(QDict *to, const char *name, const char *value)
{
    if (value) {
        qdict_put_str(to, name, value);
    }
}

void qmp_colo_disk_insert(const char *node, const char *node_name,
                          bool has_buffer_limit, uint64_t buffer_limit,
                          const char *spill_dir,
                          bool has_merge_speed, uint64_t merge_speed,
                          bool has_link_limit, uint32_t link_limit,
                          bool has_shared, bool shared,
                          const char *state_file, Error **errp)
{
    BlockDriverState *below = bdrv_lookup_bs(node, node, errp);
    BlockDriverState *bs;
    QDict *options;

    if (!below) {
        return;
    }
    if (bdrv_op_is_blocked(below, BLOCK_OP_TYPE_REPLACE, errp)) {
        return;
    }
    options = qdict_new();
    qdict_put_str(options, "driver", "replication");
    qdict_put_str(options, "node-name", node_name);
    qdict_put_str(options, "file", below->node_name);
    put_size(options, "buffer-limit", has_buffer_limit, buffer_limit);
    put_size(options, "merge-speed", has_merge_speed, merge_speed);
    put_size(options, "link-limit", has_link_limit, link_limit);
    put_text(options, "spill-dir", spill_dir);
    put_text(options, "state-file", state_file);
    if (has_shared) {
        qdict_put_bool(options, "shared", shared);
    }
    bs = bdrv_insert_node(below, options,
                          bdrv_is_read_only(below) ? 0 : BDRV_O_RDWR, errp);
    if (bs) {
        bdrv_set_monitor_owned(bs);
    }
}

/*
 * Whoever uses the node uses the disk, past the images that may lie between
 * the two: nothing was written to these.
 */
static bool hand_over(BDRVReplicationState *s, Error **errp)
{
    BlockDriverState *below = s->parent->bs;
    int ret;

    bdrv_drained_begin(below);
    bdrv_graph_wrlock();
    ret = bdrv_replace_node(s->bs, below, errp);
    bdrv_graph_wrunlock();
    bdrv_drained_end(below);
    return ret >= 0;
}

void replication_take_out(BDRVReplicationState *s, Error **errp)
{
    BlockDriverState *bs = s->bs;
    g_autofree char *node = g_strdup(bs->node_name);
    bool is_fenced, ok;

    if (bdrv_op_is_blocked(bs, BLOCK_OP_TYPE_REPLACE, errp)) {
        return;
    }
    bdrv_ref(bs);
    /* A survivor's fence would keep out those who use the node now. */
    is_fenced = colo_buffer_set_fence(s->buffer, false);
    ok = hand_over(s, errp);
    if (!ok) {
        colo_buffer_set_fence(s->buffer, is_fenced);
    }
    bdrv_unref(bs);
    /* One that only its users had, is gone with them. */
    if (ok && bdrv_find_node(node)) {
        qmp_blockdev_del(node, errp);
    }
}

void qmp_colo_disk_remove(const char *node, Error **errp)
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
    if (s->target) {
        error_setg(errp, "Disk '%s' has a copy attached", node);
        error_append_hint(errp, "Take it away with colo-disk-detach.\n");
        return;
    }
    if (colo_buffer_is_active(s->buffer)) {
        error_setg(errp, "Disk '%s' is still being merged; query-colo shows "
                   "how much is left", node);
        return;
    }
    replication_take_out(s, errp);
}
