/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-compare: the working part of one object; see the header for threads.
 *
 * All decisions are the core's (colo/compare.h). After each thing that
 * happens settle_locked() carries out what the core has to say: frames that
 * may leave, a checkpoint it asks for, the time when it wants to be called.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/aio-wait.h"
#include "migration/colo.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "net/colo-compare-unit.h"
#include "trace.h"

static GSList *units;          /* BQL */

static int64_t now_us(void)
{
    return qemu_clock_get_us(QEMU_CLOCK_REALTIME);
}

/* --------------------------------------------------------- what is due */

static const char xen_ask[] = "DO_CHECKPOINT";

static void notify_xen(CompareUnit *u, const char *text)
{
    struct iovec iov = {
        .iov_base = (void *)text, .iov_len = strlen(text),
    };

    colo_link_send_iov(u->notify, &iov, 1, 0);
}

/*
 * Chardev form: the cut has been made, and its marker is on its way here. It
 * serves all that is asked for until it comes.
 */
static bool is_served(const CompareUnit *u)
{
    return u->cut_epoch > colo_compare_epoch(u->core);
}

/* No twin can come: a checkpoint is the only way out for what is held. */
static void ask_unconnected_locked(CompareUnit *u)
{
    ColoCompareStats st;

    if (u->secondary_open || u->passing || u->standalone || is_served(u)) {
        return;
    }
    colo_compare_get_stats(u->core, &st);
    if (st.held_frames) {
        colo_net_ask(COLO_REASON_TIMEOUT);
    }
}

static void ask_locked(CompareUnit *u)
{
    ColoDifference d;
    ColoReason reason;

    while (colo_compare_take_difference(u->core, &d)) {
        g_autoptr(GString) p = qemu_hexdump_line(NULL, d.primary,
                                                 d.primary_count, 0, 0);
        g_autoptr(GString) s = qemu_hexdump_line(NULL, d.secondary,
                                                 d.secondary_count, 0, 0);

        trace_colo_compare_difference(u->name, d.flow,
                                      colo_verdict_name(d.verdict),
                                      d.offset, p->str, s->str);
    }
    while ((reason = colo_compare_take_ask(u->core)) != COLO_REASON_NONE) {
        if (u->notify) {
            notify_xen(u, xen_ask);
        } else if (!is_served(u)) {
            colo_net_ask(reason);
        }
    }
}

static void arm_locked(CompareUnit *u)
{
    int64_t due_us = MIN(colo_compare_deadline_us(u->core),
                         u->patience.due_us);

    if (due_us < u->armed_us) {
        u->armed_us = due_us;
        timer_mod(u->timer, due_us);
    }
}

/* The chardev form; what outdev does not take waits in @ready. */
static void send_ready_locked(CompareUnit *u)
{
    ColoLinkResult r = COLO_LINK_OK;

    while (u->ready && r != COLO_LINK_FULL) {
        ColoNetFrame *f = u->ready;

        r = colo_link_put(u->out, f);
        if (r == COLO_LINK_FULL) {
            break;
        }
        u->lost_frames += r == COLO_LINK_CLOSED;
        u->ready = f->next;
        colo_net_frame_free(f);
    }
    if (!u->ready) {
        u->ready_end = &u->ready;
    }
    colo_link_flush(u->out);
}

static ColoPatienceHeld held_locked(CompareUnit *u)
{
    ColoCompareStats st;

    colo_compare_get_stats(u->core, &st);
    return (ColoPatienceHeld) {
        .primary = st.held_bytes, .secondary = st.secondary_held_bytes,
    };
}

/* Wake the worker for the secondary when so much is there. */
static void gather_locked(CompareUnit *u)
{
    colo_patience_look(&u->patience, held_locked(u));
    if (u->secondary) {
        colo_link_gather(u->secondary, u->patience.bytes);
    }
}

static void settle_locked(CompareUnit *u)
{
    *u->ready_end = colo_compare_take_output(u->core);
    while (*u->ready_end) {
        u->ready_end = &(*u->ready_end)->next;
    }
    if (u->out) {
        send_ready_locked(u);
    }
    ask_locked(u);
    ask_unconnected_locked(u);
    gather_locked(u);
    arm_locked(u);
}

static void pace(CompareUnit *u)
{
    bool full;

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        full = colo_compare_full(u->core) || (u->out && u->ready);
    }
    if (u->primary) {
        colo_link_pause(u->primary, full);
    } else if (full) {
        colo_net_throttle();
    }
}

/* Direct form: frames go on in the main thread. */
static void deliver(CompareUnit *u)
{
    ColoNetFrame *list;

    g_assert(bql_locked());
    WITH_QEMU_LOCK_GUARD(&u->lock) {
        list = u->ready;
        u->ready = NULL;
        u->ready_end = &u->ready;
    }
    while (list) {
        ColoNetFrame *next = list->next;

        if (u->filter) {
            compare_filter_pass(u->filter, list);
        }
        colo_net_frame_free(list);
        list = next;
    }
}

static void deliver_bh(void *opaque)
{
    deliver(opaque);
}

static void deliver_soon(CompareUnit *u)
{
    bool some;

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        some = u->ready != NULL;
    }
    if (some && u->deliver_bh) {
        qemu_bh_schedule(u->deliver_bh);
    }
}

static void pace_bh(void *opaque)
{
    pace(opaque);
}

static void worker_tick(void *opaque)
{
    CompareUnit *u = opaque;

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        u->armed_us = INT64_MAX;
        colo_compare_tick(u->core, now_us());
        colo_patience_tick(&u->patience, now_us());
        settle_locked(u);
    }
    deliver_soon(u);
    pace(u);
}

/* --------------------------------------------------- the worker's links */

/* One lock and one look at the clock for all frames of a piece. */
static void input_begin(void *opaque)
{
    CompareUnit *u = opaque;

    qemu_mutex_lock(&u->lock);
    u->input_us = now_us();
}

static void primary_item(void *opaque, ColoFramerItem *item)
{
    CompareUnit *u = opaque;

    if (item->frame) {
        colo_compare_primary(u->core, item->frame, u->input_us);
    } else if (item->marker == COLO_MARKER_EPOCH) {
        colo_compare_cut(u->core, item->epoch, u->input_us);
    }
}

static void secondary_item(void *opaque, ColoFramerItem *item)
{
    CompareUnit *u = opaque;

    if (item->frame) {
        colo_compare_secondary(u->core, item->frame, u->input_us);
    } else if (item->marker == COLO_MARKER_EPOCH) {
        colo_compare_secondary_epoch(u->core, item->epoch, u->input_us);
    } else {
        colo_compare_secondary_gap(u->core);
    }
}

static void primary_batch(void *opaque)
{
    CompareUnit *u = opaque;

    settle_locked(u);
    qemu_mutex_unlock(&u->lock);
    deliver_soon(u);
    pace(u);
}

static void secondary_batch(void *opaque)
{
    CompareUnit *u = opaque;

    qemu_mutex_unlock(&u->lock);
}

static void secondary_read(void *opaque, size_t bytes)
{
    CompareUnit *u = opaque;

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        colo_patience_read(&u->patience, bytes, held_locked(u), u->input_us);
        u->armed_us = INT64_MAX;    /* it may be later than it was */
        settle_locked(u);
    }
    deliver_soon(u);
    pace(u);
}

static void out_drained(void *opaque)
{
    CompareUnit *u = opaque;

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        settle_locked(u);
    }
    pace(u);
}

static void mark_mirror(CompareUnit *u)
{
    if (u->mirror && colo_net_role() == COLO_NET_PRIMARY) {
        colo_link_put_epoch(u->mirror, colo_net_epoch());
        colo_link_flush(u->mirror);
    }
}

/* The role and the epoch are the main thread's. */
static void mark_bh(void *opaque)
{
    mark_mirror(opaque);
}

static void secondary_opened(void *opaque)
{
    CompareUnit *u = opaque;

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        u->secondary_open = true;
        colo_patience_init(&u->patience);
    }
    if (u->mirror == u->secondary) {
        qemu_bh_schedule(u->mark_bh);
    }
}

static void secondary_closed(void *opaque)
{
    CompareUnit *u = opaque;

    QEMU_LOCK_GUARD(&u->lock);
    u->secondary_open = false;
    colo_compare_secondary_gap(u->core);
    settle_locked(u);           /* ask at once */
}

static void mirror_opened(void *opaque)
{
    mark_mirror(opaque);
}

/* A frame from Xen's toolstack is a word. */
static bool says(const ColoNetFrame *f, const char *word)
{
    return f->size == strlen(word) && memcmp(f->data, word, f->size) == 0;
}

/* Xen has made both guests equal. */
static void xen_checkpoint(CompareUnit *u)
{
    WITH_QEMU_LOCK_GUARD(&u->lock) {
        u->xen_epoch++;
        colo_compare_cut(u->core, u->xen_epoch, now_us());
        colo_compare_release(u->core, u->xen_epoch, now_us());
        colo_compare_secondary_epoch(u->core, u->xen_epoch, now_us());
        settle_locked(u);
    }
    deliver_soon(u);
    pace(u);
}

static void notify_item(void *opaque, ColoFramerItem *item)
{
    CompareUnit *u = opaque;
    ColoNetFrame *f = item->frame;

    if (!f) {
        return;
    }
    if (says(f, "COLO_USERSPACE_PROXY_INIT")) {
        notify_xen(u, "COLO_COMPARE_GET_XEN_INIT");
    } else if (says(f, "COLO_CHECKPOINT")) {
        xen_checkpoint(u);
    } else {
        error_report("%s: notify_dev brought an unknown word of %u bytes",
                     u->name, f->size);
    }
    colo_net_frame_free(f);
}

static const ColoLinkOps primary_ops = {
    .begin = input_begin,
    .item = primary_item,
    .batch = primary_batch,
};

static const ColoLinkOps secondary_ops = {
    .begin = input_begin,
    .item = secondary_item,
    .batch = secondary_batch,
    .read = secondary_read,
    .opened = secondary_opened,
    .closed = secondary_closed,
};

static const ColoLinkOps out_ops = {
    .drained = out_drained,
};

static const ColoLinkOps mirror_ops = {
    .opened = mirror_opened,
};

static const ColoLinkOps notify_ops = {
    .item = notify_item,
};

/* --------------------------------------------------------- direct form */

bool compare_unit_from_guest(CompareUnit *u, const struct iovec *iov,
                             int iovcnt, uint32_t vnet_bytes)
{
    size_t size = iov_size(iov, iovcnt);
    ColoNetFrame *f;

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        if ((u->passing && !u->ready) || size <= vnet_bytes) {
            return false;
        }
        f = colo_net_frame_new(vnet_bytes, size - vnet_bytes);
        iov_to_buf(iov, iovcnt, 0, f->data, size);
        colo_compare_primary(u->core, f, now_us());
        settle_locked(u);
    }
    deliver(u);
    pace(u);
    return true;
}

void compare_unit_to_guest(CompareUnit *u, const struct iovec *iov,
                           int iovcnt, uint32_t vnet_bytes)
{
    ColoLinkResult r;

    if (colo_net_role() != COLO_NET_PRIMARY) {
        return;
    }
    r = colo_link_send_iov(u->mirror, iov, iovcnt,
                           u->vnet_hdr ? vnet_bytes : 0);
    if (r == COLO_LINK_OK) {
        u->mirrored_frames++;
        u->mirrored_bytes += iov_size(iov, iovcnt);
        return;
    }
    u->unmirrored_frames++;
    if (!u->mirror_gap) {
        u->mirror_gap = true;
        colo_net_ask(COLO_REASON_QUEUE_FULL);
    }
}

static void send_again(const uint8_t *data, size_t size, void *opaque)
{
    CompareUnit *u = opaque;
    struct iovec iov = { .iov_base = (void *)data, .iov_len = size };

    colo_link_send_iov(u->mirror, &iov, 1,
                       u->vnet_hdr ? qemu_get_vnet_hdr_len(
                           qemu_find_netdev(u->netdev)) : 0);
}

/* --------------------------------------------------------------- pair */

static void set_mode_locked(CompareUnit *u, ColoCompareMode mode)
{
    u->passing = mode == COLO_COMPARE_PASS;
    u->cut_epoch = u->passing ? 0 : u->cut_epoch;
    colo_compare_set_mode(u->core, mode, now_us());
}

static void settle(CompareUnit *u)
{
    WITH_QEMU_LOCK_GUARD(&u->lock) {
        settle_locked(u);
    }
    if (u->netdev) {
        deliver(u);
    }
    qemu_bh_schedule(u->pace_bh);
}

static void part_cut(ColoNetPart *part, uint64_t epoch)
{
    CompareUnit *u = container_of(part, CompareUnit, part);

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        u->cut_epoch = epoch;
        if (u->netdev) {
            colo_compare_cut(u->core, epoch, now_us());
        }
    }
    if (!u->netdev) {
        return;                /* its marker comes with the frames */
    }
    u->mirror_gap = false;
    mark_mirror(u);
    if (u->filter) {
        compare_filter_undelivered(u->filter, send_again, u);
    }
    settle(u);
}

static void part_release(ColoNetPart *part, uint64_t epoch)
{
    CompareUnit *u = container_of(part, CompareUnit, part);

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        colo_compare_release(u->core, epoch, now_us());
    }
    settle(u);
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
    settle(u);
}

static void unit_free(CompareUnit *u);

static void free_bh(void *opaque)
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
                colo_compare_release(u->core, UINT64_MAX, now_us());
            }
        }
        settle(u);
    }
    if (u->orphan) {
        aio_bh_schedule_oneshot(qemu_get_aio_context(), free_bh, u);
    }
}

static ColoNicInfo *part_info(ColoNetPart *part)
{
    return compare_unit_info(container_of(part, CompareUnit, part));
}

static const ColoNetPartOps part_ops = {
    .begin = part_begin,
    .cut = part_cut,
    .release = part_release,
    .buffer = part_buffer,
    .end = part_end,
    .info = part_info,
};

/* ------------------------------------------------------------- settings */

CompareUnit *compare_unit_find(const char *name)
{
    for (GSList *l = units; l; l = l->next) {
        CompareUnit *u = l->data;

        if (!u->orphan && g_str_equal(u->name, name)) {
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
    settle(u);
}

void compare_unit_set_rules(CompareUnit *u)
{
    WITH_QEMU_LOCK_GUARD(&u->lock) {
        colo_compare_set_rules(u->core, (const ColoRule *)u->rules->data,
                               u->rules->len, now_us());
    }
    settle(u);
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
    u->pace_bh = aio_bh_new(u->aio, pace_bh, u);
    u->timer = aio_timer_new(u->aio, QEMU_CLOCK_REALTIME, SCALE_US,
                             worker_tick, u);
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
                             &primary_ops, errp);
    u->secondary = u->primary
        ? worker_link(u, "secondary_in", c->secondary_in, c->vnet_hdr,
                      &secondary_ops, errp) : NULL;
    u->out = u->secondary
        ? worker_link(u, "outdev", c->outdev, c->vnet_hdr, &out_ops, errp)
        : NULL;
    return u->out != NULL;
}

static bool open_direct(CompareUnit *u, const CompareConfig *c, Error **errp)
{
    u->netdev = g_strdup(c->netdev);
    u->deliver_bh = qemu_bh_new(deliver_bh, u);
    u->mark_bh = qemu_bh_new(mark_bh, u);
    u->secondary = worker_link(u, c->secondary ? "secondary" : "secondary_in",
                               c->secondary ?: c->secondary_in, u->vnet_hdr,
                               &secondary_ops, errp);
    if (!u->secondary) {
        return false;
    }
    u->mirror = c->secondary
        ? u->secondary
        : colo_link_new("mirrordev", c->mirrordev, u->vnet_hdr, NULL, NULL,
                        &mirror_ops, u, errp);
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
    u->armed_us = INT64_MAX;
    u->ready_end = &u->ready;
    u->rules = g_array_new(false, false, sizeof(ColoRule));
    u->core = colo_compare_new(&c->limits);
    colo_patience_init(&u->patience);
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
                                &notify_ops, errp);
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

static void stop_worker(void *opaque)
{
    CompareUnit *u = opaque;

    timer_del(u->timer);
    qemu_bh_delete(u->pace_bh);
}

static void close_links(CompareUnit *u)
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
    if (u->timer) {
        aio_wait_bh_oneshot(u->aio, stop_worker, u);
        timer_free(u->timer);
    }
    g_clear_pointer(&u->deliver_bh, qemu_bh_delete);
    g_clear_pointer(&u->mark_bh, qemu_bh_delete);
    if (u->own_iothread) {
        iothread_destroy(u->iothread);
    } else if (u->iothread) {
        object_unref(OBJECT(u->iothread));
    }
    colo_net_frame_free_list(u->ready);
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
        u->orphan = true;
    } else if (u) {
        unit_free(u);
    }
}
