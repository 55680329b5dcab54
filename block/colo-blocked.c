/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: operations that must not be done to a disk while it is replicated.
 *
 * A node with a blocker must not be deleted, so each is referenced too.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/block-global-state.h"
#include "block/block_int.h"
#include "colo-blocked.h"

struct ColoBlocked {
    Error *reason;
    GPtrArray *nodes;
};

static void GRAPH_RDLOCK add_with_parents(GPtrArray *nodes,
                                          BlockDriverState *bs)
{
    BdrvChild *c;

    if (g_ptr_array_find(nodes, bs, NULL)) {
        return;
    }
    g_ptr_array_add(nodes, bs);
    QLIST_FOREACH(c, &bs->parents, next_parent) {
        if (c->klass->parent_is_bds) {
            add_with_parents(nodes, c->opaque);
        }
    }
}

static void GRAPH_RDLOCK add_with_children(GPtrArray *nodes,
                                           BlockDriverState *bs)
{
    BdrvChild *c;

    if (g_ptr_array_find(nodes, bs, NULL)) {
        return;
    }
    g_ptr_array_add(nodes, bs);
    QLIST_FOREACH(c, &bs->children, next) {
        add_with_children(nodes, c->bs);
    }
}

ColoBlocked *colo_blocked_new(BlockDriverState *bs, BlockDriverState *copy,
                              Error *reason)
{
    ColoBlocked *blocked = g_new0(ColoBlocked, 1);
    guint i;

    GLOBAL_STATE_CODE();
    blocked->reason = reason;
    blocked->nodes = g_ptr_array_new();
    bdrv_graph_rdlock_main_loop();
    add_with_parents(blocked->nodes, bs);
    if (copy) {
        add_with_children(blocked->nodes, copy);
    }
    bdrv_graph_rdunlock_main_loop();
    for (i = 0; i < blocked->nodes->len; i++) {
        BlockDriverState *node = g_ptr_array_index(blocked->nodes, i);

        bdrv_ref(node);
        bdrv_op_block_all(node, reason);
    }
    return blocked;
}

void colo_blocked_free(ColoBlocked *blocked)
{
    guint i;

    GLOBAL_STATE_CODE();
    if (!blocked) {
        return;
    }
    for (i = 0; i < blocked->nodes->len; i++) {
        BlockDriverState *node = g_ptr_array_index(blocked->nodes, i);

        bdrv_op_unblock_all(node, blocked->reason);
        bdrv_unref(node);
    }
    g_ptr_array_unref(blocked->nodes);
    error_free(blocked->reason);
    g_free(blocked);
}
