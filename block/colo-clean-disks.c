/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: its block nodes and exports, found and taken away (colo/clean-up.h).
 *
 * Replication nodes are found by their driver. From them on the graph tells
 * the rest: below a copy are the nodes that lead to the peer; a writable NBD
 * export of the disk below a replication node is where the peer wrote to.
 *
 * Who uses a replication node uses the disk below it afterwards, except for
 * those whose link must not be moved, such as block jobs.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-block.h"
#include "qapi/qapi-commands-block-export.h"
#include "block/aio-wait.h"
#include "block/export.h"
#include "block/nbd.h"
#include "system/block-backend.h"
#include "replication-int.h"

static bool is_named(BlockDriverState *bs)
{
    return QTAILQ_IN_USE(bs, monitor_list);
}

static BlockDriverState *parent_node(BdrvChild *c)
{
    return c->klass->parent_is_bds ? c->opaque : NULL;
}

/* ----------------------------------------------------------------- users */

static char *export_at(BlockDriverState *bs)
{
    g_autoptr(BlockExportInfoList) list = qmp_query_block_exports(NULL);

    for (BlockExportInfoList *l = list; l; l = l->next) {
        if (!strcmp(l->value->node_name, bs->node_name)) {
            return g_strdup_printf("export '%s'", l->value->id);
        }
    }
    return NULL;
}

/* For people. */
static char *describe(BdrvChild *c)
{
    g_autofree char *who = parent_node(c) ? NULL : export_at(c->bs);

    if (!who) {
        who = c->klass->get_parent_desc(c);
    }
    return g_strconcat(who, " uses it", NULL);
}

/* One but @ours and the resync of @s (may be NULL). */
static char *GRAPH_RDLOCK other_user(BlockDriverState *bs,
                                     const BdrvChild *ours,
                                     BDRVReplicationState *s)
{
    BdrvChild *c;

    QLIST_FOREACH(c, &bs->parents, next_parent) {
        if (c != ours && !(s && s->job && c->opaque == s->job)) {
            return describe(c);
        }
    }
    return NULL;
}

/* One who would not follow to the disk below. */
static char *GRAPH_RDLOCK fixed_user(BDRVReplicationState *s)
{
    Error *err = NULL;
    BdrvChild *c;

    QLIST_FOREACH(c, &s->bs->parents, next_parent) {
        if ((c->klass->stay_at_node || c->frozen) &&
            !(s->job && c->opaque == s->job)) {
            return describe(c);
        }
    }
    /* With a copy it is we who block. */
    if (!s->blocked &&
        bdrv_op_is_blocked(s->bs, BLOCK_OP_TYPE_REPLACE, &err)) {
        char *why = g_strdup(error_get_pretty(err));

        error_free(err);
        return why;
    }
    return NULL;
}

/* ----------------------------------------------------------------- nodes */

/* With what is below it and used by nothing else. */
static void GRAPH_RDLOCK add_node(GPtrArray *list, BlockDriverState *bs,
                                  ColoCleanPart *owner, char *user)
{
    ColoCleanPart *part = colo_clean_add(list, COLO_CLEAN_NODE,
                                         bs->node_name);
    BdrvChild *c;

    part->user = user;
    if (owner) {
        colo_clean_add_owner(part, owner);
    }
    QLIST_FOREACH(c, &bs->children, next) {
        g_autofree char *other = other_user(c->bs, c, NULL);

        if (is_named(c->bs) && !other) {
            add_node(list, c->bs, part, NULL);
        }
    }
}

static void GRAPH_RDLOCK add_copy(GPtrArray *list, BDRVReplicationState *s)
{
    ColoCleanPart *part = colo_clean_add(list, COLO_CLEAN_COPY,
                                         s->bs->node_name);
    BlockDriverState *target = s->target->bs;

    if (is_named(target)) {
        add_node(list, target, part, other_user(target, s->target, s));
    }
}

static void GRAPH_RDLOCK add_disk(GPtrArray *list, BDRVReplicationState *s)
{
    ColoCleanPart *part = colo_clean_add(list, COLO_CLEAN_DISK,
                                         s->bs->node_name);

    part->in_pair = s->role != REPLICATION_ROLE_NONE;
    part->is_merging = colo_buffer_is_active(s->buffer);
    part->user = fixed_user(s);
    if (s->target) {
        add_copy(list, s);
    }
}

/* The quorum that @bs is a child of, or NULL. */
static BdrvChild *GRAPH_RDLOCK find_quorum(BlockDriverState *bs)
{
    BdrvChild *c;

    QLIST_FOREACH(c, &bs->parents, next_parent) {
        BlockDriverState *above = parent_node(c);

        if (above && above->drv &&
            !strcmp(above->drv->format_name, "quorum")) {
            return c;
        }
    }
    return NULL;
}

static void GRAPH_RDLOCK add_forwarder(GPtrArray *list,
                                       BDRVReplicationState *s)
{
    BlockDriverState *below = s->bs->file->bs;
    g_autofree char *other = other_user(below, s->bs->file, NULL);
    ColoCleanPart *part = colo_clean_add(list, COLO_CLEAN_FORWARDER,
                                         s->bs->node_name);

    part->in_pair = s->role != REPLICATION_ROLE_NONE;
    part->user = other_user(s->bs, find_quorum(s->bs), NULL);
    if (is_named(below) && !other) {
        add_node(list, below, part, NULL);
    }
}

/* The disk that had it as its copy last, or NULL. */
static BDRVReplicationState *disk_of_copy(const char *name)
{
    BDRVReplicationState *s = replication_next(NULL);

    while (s && g_strcmp0(s->copy_name, name)) {
        s = replication_next(s);
    }
    return s;
}

/* It led to the peer, or should have, and nothing uses it any more. */
static bool GRAPH_RDLOCK is_left(BlockDriverState *bs)
{
    return QLIST_EMPTY(&bs->parents) && !replication_of(bs) &&
           (colo_clean_is_own_name(bs->node_name) ||
            disk_of_copy(bs->node_name));
}

static void find_nodes(GPtrArray *list)
{
    BDRVReplicationState *s = NULL;
    BlockDriverState *bs;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    while ((s = replication_next(s))) {
        if (s->is_forwarder) {
            add_forwarder(list, s);
        } else {
            add_disk(list, s);
        }
    }
    for (bs = bdrv_next_monitor_owned(NULL); bs;
         bs = bdrv_next_monitor_owned(bs)) {
        if (is_left(bs)) {
            add_node(list, bs, NULL, NULL);
        }
    }
}

/* --------------------------------------------------------------- exports */

static bool is_disk_of_peer(BlockDriverState *exported)
{
    BDRVReplicationState *s = NULL;

    while ((s = replication_next(s))) {
        if (!s->is_forwarder &&
            (exported == s->parent->bs ||
             exported == colo_ingress_above(s->parent->bs))) {
            return true;
        }
    }
    return false;
}

static bool is_for_peer(const char *id)
{
    BlockExport *exp = blk_exp_find(id);
    uint64_t perm, shared;

    blk_get_perm(exp->blk, &perm, &shared);
    return (perm & BLK_PERM_WRITE) && is_disk_of_peer(blk_bs(exp->blk));
}

static void find_exports(GPtrArray *list)
{
    g_autoptr(BlockExportInfoList) exports = qmp_query_block_exports(NULL);
    g_autofree char *user = NULL;
    unsigned others = list->len;

    for (BlockExportInfoList *l = exports; l; l = l->next) {
        const BlockExportInfo *e = l->value;

        if (e->type != BLOCK_EXPORT_TYPE_NBD || e->shutting_down) {
            continue;
        }
        if (is_for_peer(e->id)) {
            colo_clean_add(list, COLO_CLEAN_EXPORT, e->id);
        } else if (!user) {
            user = g_strdup_printf("export '%s' uses it", e->id);
        }
    }
    if (list->len > others && nbd_server_is_running()) {
        ColoCleanPart *part = colo_clean_add(list, COLO_CLEAN_SERVER,
                                             "nbd-server");

        part->user = g_steal_pointer(&user);
    }
}

void colo_clean_find_disks(GPtrArray *list)
{
    GLOBAL_STATE_CODE();
    find_exports(list);
    find_nodes(list);
}

/* ----------------------------------------------------------- taking away */

/* Its clients are cut off, whatever they wait for. */
static void take_export(const char *id)
{
    BlockExport *exp = blk_exp_find(id);

    if (exp) {
        blk_exp_request_shutdown(exp);
    }
    AIO_WAIT_WHILE_UNLOCKED(NULL, blk_exp_find(id) != NULL);
}

static bool leave_quorum(BlockDriverState *bs, Error **errp)
{
    ERRP_GUARD();
    BdrvChild *c;

    bdrv_graph_wrlock();
    c = find_quorum(bs);
    if (c) {
        bdrv_del_child(c->opaque, c, errp);
    }
    bdrv_graph_wrunlock();
    return !*errp;
}

static void take_forwarder(const char *name, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(name);

    if (bs && leave_quorum(bs, errp)) {
        qmp_blockdev_del(name, errp);
    }
}

static void take_copy(const char *name)
{
    BDRVReplicationState *s = replication_find(name, NULL);

    if (s) {
        replication_detach(s);
    }
}

/* Another node may get its name. */
static void take_node(const char *name, Error **errp)
{
    BDRVReplicationState *s = disk_of_copy(name);

    if (s) {
        g_clear_pointer(&s->copy_name, g_free);
    }
    qmp_blockdev_del(name, errp);
}

void colo_clean_take_disk(const ColoCleanPart *part, Error **errp)
{
    BDRVReplicationState *s;

    GLOBAL_STATE_CODE();
    switch (part->kind) {
    case COLO_CLEAN_FORWARDER:
        take_forwarder(part->name, errp);
        break;
    case COLO_CLEAN_EXPORT:
        take_export(part->name);
        break;
    case COLO_CLEAN_SERVER:
        qmp_nbd_server_stop(errp);
        break;
    case COLO_CLEAN_COPY:
        take_copy(part->name);
        break;
    case COLO_CLEAN_DISK:
        s = replication_find(part->name, errp);
        if (s) {
            replication_take_out(s, errp);
        }
        break;
    case COLO_CLEAN_NODE:
        take_node(part->name, errp);
        break;
    default:
        g_assert_not_reached();
    }
}
