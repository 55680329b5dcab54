/* SPDX-License-Identifier: GPL-2.0-or-later */
/* colo-compare: a unit is made, is part of a pair, and ends. */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "net/colo-compare-work.h"

static GSList *units;          /* BQL */

/* --------------------------------------------------------------- pair */

static void set_mode_locked(CompareUnit *u, ColoCompareMode mode)
{
    u->passing = mode == COLO_COMPARE_PASS;
    u->cut_epoch = u->passing ? 0 : u->cut_epoch;
    colo_compare_set_mode(u->core, mode, compare_now_us());
}

static void part_cut(ColoNetPart *part, uint64_t epoch)
{
    CompareUnit *u = container_of(part, CompareUnit, part);

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        u->cut_epoch = epoch;
        if (u->netdev) {
            colo_compare_cut(u->core, epoch, compare_now_us());
        }
    }
    if (!u->netdev) {
        return;                /* its marker comes with the frames */
    }
    u->mirror_gap = false;
    compare_mark_mirror(u);
    if (u->filter) {
        compare_filter_undelivered(u->filter, compare_send_again, u);
    }
    compare_settle(u);
}

static void part_release(ColoNetPart *part, uint64_t epoch)
{
    CompareUnit *u = container_of(part, CompareUnit, part);

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        colo_compare_release(u->core, epoch, compare_now_us());
    }
    compare_settle(u);
}

static void part_begin(ColoNetPart *part)
{
    CompareUnit *u = container_of(part, CompareUnit, part);

    if (colo_net_role() != COLO_NET_PRIMARY) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&u->lock) {
        set_mode_locked(u, colo_net_buffering() ? COLO_COMPARE_BUFFER
                                                : COLO_COMPARE_MATCH);
    }
    part_cut(part, colo_net_epoch());
    part_release(part, colo_net_epoch());
}

static void part_buffer(ColoNetPart *part, bool on)
{
    CompareUnit *u = container_of(part, CompareUnit, part);

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        set_mode_locked(u, on ? COLO_COMPARE_BUFFER : COLO_COMPARE_MATCH);
    }
    compare_settle(u);
}

static void unit_free(CompareUnit *u);

static void free_orphan(void *opaque)
{
    unit_free(opaque);
}

static void part_end(ColoNetPart *part, bool survivor)
{
    CompareUnit *u = container_of(part, CompareUnit, part);

    if (survivor && colo_net_role() == COLO_NET_PRIMARY) {
        WITH_QEMU_LOCK_GUARD(&u->lock) {
            set_mode_locked(u, u->standalone ? COLO_COMPARE_MATCH
                                             : COLO_COMPARE_PASS);
            if (u->standalone) {
                colo_compare_release(u->core, UINT64_MAX, compare_now_us());
            }
        }
        compare_settle(u);
    }
    if (u->orphan_bh) {
        qemu_bh_schedule(u->orphan_bh);
    }
}

static ColoNicInfo *part_info(ColoNetPart *part)
{
    return compare_unit_info(container_of(part, CompareUnit, part));
}

static void close_links(CompareUnit *u)
{
    colo_link_close(u->mirror);
    colo_link_close(u->primary);
    colo_link_close(u->secondary);
    colo_link_close(u->out);
    colo_link_close(u->notify);
}

static void part_shutdown(ColoNetPart *part)
{
    CompareUnit *u = container_of(part, CompareUnit, part);

    if (u->orphan_bh) {
        /* Closing a link polls, and that would free what is being closed. */
        qemu_bh_cancel(u->orphan_bh);
    }
    close_links(u);
}

static const ColoNetPartOps part_ops = {
    .begin = part_begin,
    .cut = part_cut,
    .release = part_release,
    .buffer = part_buffer,
    .end = part_end,
    .info = part_info,
    .shutdown = part_shutdown,
};

/* ------------------------------------------------------------- settings */

CompareUnit *compare_unit_find(const char *name)
{
    for (GSList *l = units; l; l = l->next) {
        CompareUnit *u = l->data;

        if (!u->orphan_bh && g_str_equal(u->name, name)) {
            return u;
        }
    }
    return NULL;
}

void compare_unit_set_limits(CompareUnit *u, const ColoCompareLimits *l)
{
    WITH_QEMU_LOCK_GUARD(&u->lock) {
        colo_compare_set_limits(u->core, l);
    }
    compare_settle(u);
}

void compare_unit_set_rules(CompareUnit *u)
{
    WITH_QEMU_LOCK_GUARD(&u->lock) {
        colo_compare_set_rules(u->core, (const ColoRule *)u->rules->data,
                               u->rules->len, compare_now_us());
    }
    compare_settle(u);
}

/* ------------------------------------------------------ making, ending */

static bool find_iothread(CompareUnit *u, const char *id, Error **errp)
{
    if (id) {
        u->iothread = iothread_by_id(id);
        if (!u->iothread) {
            error_setg(errp, "'iothread': there is no iothread '%s'", id);
            return false;
        }
        object_ref(OBJECT(u->iothread));
    } else {
        g_autofree char *own = g_strdup_printf("colo-%s", u->name);

        u->iothread = iothread_create(own, errp);
        if (!u->iothread) {
            return false;
        }
        u->own_iothread = true;
    }
    u->aio = iothread_get_aio_context(u->iothread);
    compare_work_begin(u);
    return true;
}

static ColoLink *worker_link(CompareUnit *u, const char *property,
                             const char *chardev, bool vnet,
                             const ColoLinkOps *ops, Error **errp)
{
    return colo_link_new(property, chardev, vnet,
                         iothread_get_g_main_context(u->iothread), u->aio,
                         ops, u, errp);
}

static bool open_chardevs(CompareUnit *u, const CompareConfig *c,
                          Error **errp)
{
    u->primary = worker_link(u, "primary_in", c->primary_in, c->vnet_hdr,
                             &compare_primary_ops, errp);
    u->secondary = u->primary
        ? worker_link(u, "secondary_in", c->secondary_in, c->vnet_hdr,
                      &compare_secondary_ops, errp) : NULL;
    u->out = u->secondary
        ? worker_link(u, "outdev", c->outdev, c->vnet_hdr, &compare_out_ops,
                      errp)
        : NULL;
    return u->out != NULL;
}

static bool open_direct(CompareUnit *u, const CompareConfig *c, Error **errp)
{
    u->netdev = g_strdup(c->netdev);
    u->secondary = worker_link(u, c->secondary ? "secondary" : "secondary_in",
                               c->secondary ?: c->secondary_in, u->vnet_hdr,
                               &compare_secondary_ops, errp);
    if (!u->secondary) {
        return false;
    }
    u->mirror = c->secondary
        ? u->secondary
        : colo_link_new("mirrordev", c->mirrordev, u->vnet_hdr, NULL, NULL,
                        &compare_mirror_ops, u, errp);
    if (!u->mirror) {
        return false;
    }
    u->filter = compare_filter_new(u, errp);
    return u->filter != NULL;
}

static void start_links(CompareUnit *u)
{
    ColoLink *links[] = { u->out, u->notify, u->primary, u->secondary,
                          u->mirror != u->secondary ? u->mirror : NULL };

    for (int i = 0; i < ARRAY_SIZE(links); i++) {
        if (links[i]) {
            colo_link_start(links[i]);
        }
    }
}

CompareUnit *compare_unit_new(const char *name, const CompareConfig *c,
                              Error **errp)
{
    CompareUnit *u = g_new0(CompareUnit, 1);

    u->name = g_strdup(name);
    /* One connection of the direct form tells about each frame itself. */
    u->vnet_hdr = c->vnet_hdr || c->secondary;
    u->standalone = c->standalone || c->notify_dev;
    u->rules = g_array_new(false, false, sizeof(ColoRule));
    u->core = colo_compare_new(&c->limits);
    qemu_mutex_init(&u->lock);
    set_mode_locked(u, u->standalone ? COLO_COMPARE_MATCH
                                     : COLO_COMPARE_PASS);
    if (!find_iothread(u, c->iothread, errp) ||
        !(c->netdev ? open_direct(u, c, errp) : open_chardevs(u, c, errp))) {
        unit_free(u);
        return NULL;
    }
    if (c->notify_dev) {
        u->notify = worker_link(u, "notify_dev", c->notify_dev, false,
                                &compare_notify_ops, errp);
        if (!u->notify) {
            unit_free(u);
            return NULL;
        }
    }
    u->part.ops = &part_ops;
    u->part.name = u->name;
    units = g_slist_prepend(units, u);
    colo_net_add(&u->part);
    start_links(u);
    return u;
}

static void free_links(CompareUnit *u)
{
    if (u->mirror == u->secondary) {
        u->mirror = NULL;
    }
    g_clear_pointer(&u->mirror, colo_link_free);
    g_clear_pointer(&u->primary, colo_link_free);
    g_clear_pointer(&u->secondary, colo_link_free);
    g_clear_pointer(&u->out, colo_link_free);
    g_clear_pointer(&u->notify, colo_link_free);
}

static void unit_free(CompareUnit *u)
{
    if (g_slist_find(units, u)) {
        units = g_slist_remove(units, u);
        colo_net_remove(&u->part);
    }
    g_clear_pointer(&u->filter, compare_filter_free);
    close_links(u);
    compare_work_end(u);        /* until here the worker uses links */
    free_links(u);
    g_clear_pointer(&u->orphan_bh, qemu_bh_delete);
    if (u->own_iothread) {
        iothread_destroy(u->iothread);
    } else if (u->iothread) {
        object_unref(OBJECT(u->iothread));
    }
    colo_compare_free(u->core);
    g_array_unref(u->rules);
    qemu_mutex_destroy(&u->lock);
    g_free(u->netdev);
    g_free(u->name);
    g_free(u);
}

/* While a pair exists what is held may neither leave nor get lost. */
void compare_unit_unref(CompareUnit *u)
{
    if (u && colo_net_role() == COLO_NET_PRIMARY) {
        u->orphan_bh = qemu_bh_new(free_orphan, u);
    } else if (u) {
        unit_free(u);
    }
}
