/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-compare: frames on their way through a unit; see colo-compare-unit.h
 * for threads.
 *
 * All decisions are the core's (colo/compare.h). After each thing that
 * happens settle_locked() carries out what the core has to say: frames that
 * may leave, a checkpoint it asks for, the time when it wants to be called.
 *
 * Direct form: the guest's frames come in the main thread and leave in it. So
 * it listens to the secondary as well, and an answer is out without a change
 * of threads. Only bulk is the worker's, where there is a processor for it;
 * with a single one two threads would only be in each other's way.
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "migration/colo.h"
#include "qemu/bitmap.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "net/colo-compare-work.h"
#include "trace.h"

int64_t compare_now_us(void)
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
    if (u->secondary_open || u->passing || u->standalone || is_served(u)) {
        return;
    }
    if (colo_compare_stats(u->core)->held_frames) {
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
    const ColoCompareStats *st = colo_compare_stats(u->core);

    return (ColoPatienceHeld) {
        .primary = st->held_bytes, .secondary = st->secondary_held_bytes,
    };
}

static ColoLinkEar ear_locked(const CompareUnit *u)
{
    return u->netdev && !(u->patience.bulk && u->many_cpus) ? COLO_LINK_MAIN
                                                            : COLO_LINK_OWN;
}

/* Somebody is to read the secondary when so much is there. */
static void gather_locked(CompareUnit *u)
{
    colo_patience_look(&u->patience, held_locked(u));
    if (u->secondary) {
        colo_link_listen(u->secondary, ear_locked(u), u->patience.bytes);
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
    if (!u->netdev) {
        return;
    }
    if (bql_locked()) {
        deliver(u);
        return;
    }
    QEMU_LOCK_GUARD(&u->lock);
    if (u->ready) {
        qemu_bh_schedule(u->deliver_bh);
    }
}

static void pace_bh(void *opaque)
{
    pace(opaque);
}

/*
 * Direct form: where the main loop has been kept busy, a twin may be there that
 * nobody has read.
 */
static void read_before_judging(CompareUnit *u)
{
    bool due;

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        due = compare_now_us() >= colo_compare_deadline_us(u->core);
    }
    if (due && u->netdev) {
        colo_link_read(u->secondary);
    }
}

static void worker_tick(void *opaque)
{
    CompareUnit *u = opaque;

    read_before_judging(u);
    WITH_QEMU_LOCK_GUARD(&u->lock) {
        u->armed_us = INT64_MAX;
        colo_compare_tick(u->core, compare_now_us());
        colo_patience_tick(&u->patience, compare_now_us());
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
    u->input_us = compare_now_us();
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

void compare_mark_mirror(CompareUnit *u)
{
    if (u->mirror && colo_net_role() == COLO_NET_PRIMARY) {
        colo_link_put_epoch(u->mirror, colo_net_epoch());
        colo_link_flush(u->mirror);
    }
}

/* The role and the epoch are the main thread's. */
static void mark_bh(void *opaque)
{
    compare_mark_mirror(opaque);
}

/* Taken together. Unknown: yes. */
static bool have_many_cpus(QemuThread *a, QemuThread *b)
{
    g_autofree unsigned long *cpus = NULL, *more = NULL;
    unsigned long cpus_bits, more_bits;

    if (qemu_thread_get_affinity(a, &cpus, &cpus_bits) ||
        qemu_thread_get_affinity(b, &more, &more_bits) ||
        cpus_bits != more_bits) {
        return true;
    }
    bitmap_or(cpus, cpus, more, cpus_bits);
    return bitmap_count_one(cpus, cpus_bits) > 1;
}

static void secondary_opened(void *opaque)
{
    CompareUnit *u = opaque;
    bool many_cpus = have_many_cpus(&u->main_thread, &u->iothread->thread);

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        u->secondary_open = true;
        u->many_cpus = many_cpus;
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
    compare_mark_mirror(opaque);
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
        colo_compare_cut(u->core, u->xen_epoch, compare_now_us());
        colo_compare_release(u->core, u->xen_epoch, compare_now_us());
        colo_compare_secondary_epoch(u->core, u->xen_epoch, compare_now_us());
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

const ColoLinkOps compare_primary_ops = {
    .begin = input_begin,
    .item = primary_item,
    .batch = primary_batch,
};

const ColoLinkOps compare_secondary_ops = {
    .begin = input_begin,
    .item = secondary_item,
    .batch = secondary_batch,
    .read = secondary_read,
    .opened = secondary_opened,
    .closed = secondary_closed,
};

const ColoLinkOps compare_out_ops = {
    .drained = out_drained,
};

const ColoLinkOps compare_mirror_ops = {
    .opened = mirror_opened,
};

const ColoLinkOps compare_notify_ops = {
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
        colo_compare_primary(u->core, f, compare_now_us());
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

void compare_send_again(const uint8_t *data, size_t size, void *opaque)
{
    CompareUnit *u = opaque;
    struct iovec iov = { .iov_base = (void *)data, .iov_len = size };

    colo_link_send_iov(u->mirror, &iov, 1,
                       u->vnet_hdr ? qemu_get_vnet_hdr_len(
                           qemu_find_netdev(u->netdev)) : 0);
}

/* ------------------------------------------------------ begin and end */

void compare_settle(CompareUnit *u)
{
    WITH_QEMU_LOCK_GUARD(&u->lock) {
        settle_locked(u);
    }
    if (u->netdev) {
        deliver(u);
    }
    qemu_bh_schedule(u->pace_bh);
}

void compare_work_begin(CompareUnit *u)
{
    qemu_thread_get_self(&u->main_thread);
    u->armed_us = INT64_MAX;
    u->ready_end = &u->ready;
    colo_patience_init(&u->patience);
    u->pace_bh = aio_bh_new(u->aio, pace_bh, u);
    u->timer = aio_timer_new(u->aio, QEMU_CLOCK_REALTIME, SCALE_US,
                             worker_tick, u);
    u->deliver_bh = qemu_bh_new(deliver_bh, u);
    u->mark_bh = qemu_bh_new(mark_bh, u);
}

static void stop_worker(void *opaque)
{
    CompareUnit *u = opaque;

    timer_del(u->timer);
    qemu_bh_delete(u->pace_bh);
}

void compare_work_end(CompareUnit *u)
{
    if (u->timer) {
        aio_wait_bh_oneshot(u->aio, stop_worker, u);
        timer_free(u->timer);
        qemu_bh_delete(u->deliver_bh);
        qemu_bh_delete(u->mark_bh);
    }
    colo_net_frame_free_list(u->ready);
}
