/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * filter-rewriter: TCP connections of the secondary are the primary's.
 *
 * The translation is colo/rewrite.h; this is the filter around it. It learns
 * while this QEMU is the secondary of a pair, translates as long as it knows
 * connections that need it, and costs nothing when there are none.
 *
 * With `primary=CHARDEV` it is the whole secondary's half of one NIC: client
 * frames that the primary mirrors come from that chardev, and the guest's
 * answers go there, over one connection with a colo-compare of the direct
 * form at its other end. Without it, redirectors do that part.
 *
 * When the primary is lost no client has to wait for a timer of TCP: what the
 * guest has said and nobody has acknowledged goes out again (colo/resend.h),
 * and what clients sent to this side before it took over is given to the
 * guest (colo/early.h). In front of redirectors such frames do not get here;
 * those hand them over by colo_net_early().
 *
 * What it knows is part of the state of the machine: a survivor that is
 * protected anew still translates its old connections, and its new secondary
 * must go on doing so. It travels with the device state, and only if there
 * is something to tell.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/iov.h"
#include "hw/vmstate-if.h"
#include "migration/vmstate.h"
#include "net/colo.h"
#include "net/filter.h"
#include "net/net.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qom/object.h"
#include "qom/object_interfaces.h"
#include "system/runstate.h"
#include "colo/early.h"
#include "colo/gate.h"
#include "colo/resend.h"
#include "colo/rewrite.h"
#include "net/colo-link.h"
#include "trace.h"

#define TYPE_FILTER_REWRITER "filter-rewriter"
OBJECT_DECLARE_SIMPLE_TYPE(RewriterState, FILTER_REWRITER)

enum {
    FLOWS_MAX = 65536, LINGER_MS = 60000, TICK_MS = 1000,
    NETDEV_ID_MAX_BYTES = 200, /* a name of a section has 255 */
};

struct RewriterState {
    NetFilterState parent_obj;
    bool vnet_hdr;
    char *primary;
    ColoLink *link;
    ColoGate gate;
    ColoRewrite *rewrite;
    ColoResend *resend;
    ColoEarly *early;
    uint64_t resent_frames, early_frames;
    ColoNetPart part;
    QEMUBH *register_bh;
    bool registered;
    bool warned;
    bool busy;                 /* there may be something to translate */
    QEMUTimer *timer;
    /* vmstate only */
    int32_t flow_count;
    ColoRewriteFlow *flows;
};

static int64_t now_us(void)
{
    return qemu_clock_get_us(QEMU_CLOCK_REALTIME);
}

/* ------------------------------------------------------- translation */

static bool in_lockstep(void)
{
    return colo_net_role() == COLO_NET_SECONDARY;
}

static ColoNetFrame *copy_iov(RewriterState *s, const struct iovec *iov,
                              int iovcnt)
{
    size_t size = iov_size(iov, iovcnt);
    uint32_t vnet_bytes = s->parent_obj.netdev->vnet_hdr_len;
    ColoNetFrame *f;

    if (size <= vnet_bytes || size > COLO_PACKET_MAX_BYTES) {
        return NULL;
    }
    f = colo_net_frame_new(vnet_bytes, size - vnet_bytes);
    iov_to_buf(iov, iovcnt, 0, f->data, size);
    return f;
}

/* The guest says @f; @p becomes its view. True if it is changed. */
static bool translate_egress(RewriterState *s, ColoNetFrame *f, ColoPacket *p)
{
    bool changed;

    colo_packet_parse_frame(f, p);
    changed = colo_rewrite_egress(s->rewrite, f, p, now_us());
    if (!in_lockstep() &&
        colo_resend_settle(s->resend, colo_net_frame_eth(f), p)) {
        changed = true;
    }
    return changed;
}

/* The guest gets @f. */
static bool translate_ingress(RewriterState *s, ColoNetFrame *f)
{
    ColoPacket p;

    colo_packet_parse_frame(f, &p);
    colo_resend_ingress(s->resend, colo_net_frame_eth(f), &p);
    return colo_rewrite_ingress(s->rewrite, f, &p, now_us());
}

/* The guest's, after it went its way. */
static void keep(RewriterState *s, ColoNetFrame *f, const ColoPacket *p)
{
    if (in_lockstep()) {
        colo_early_learn(s->early, colo_net_frame_eth(f), f->size);
        colo_resend_egress(s->resend, f, p, now_us());
    } else {
        colo_net_frame_free(f);
    }
}

static void pass_on(RewriterState *s, NetClientState *sender,
                    ColoNetFrame *f)
{
    struct iovec iov = {
        .iov_base = f->data,
        .iov_len = f->vnet_bytes + f->size,
    };

    qemu_netfilter_pass_to_next(sender, 0, &iov, 1, &s->parent_obj);
}

static void tick(void *opaque)
{
    RewriterState *s = opaque;
    ColoRewriteStats stats;
    ColoResendStats resend;

    colo_rewrite_tick(s->rewrite, now_us());
    colo_resend_tick(s->resend, now_us());
    colo_early_tick(s->early, now_us());
    colo_rewrite_get_stats(s->rewrite, &stats);
    colo_resend_get_stats(s->resend, &resend);
    s->busy = stats.flows > 0 || resend.flows > 0 || in_lockstep();
    if (s->busy) {
        timer_mod(s->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                            TICK_MS);
    }
}

/* ------------------------------------------- the line to the primary */

static void mark(RewriterState *s)
{
    if (s->link && in_lockstep()) {
        colo_link_put_epoch(s->link, colo_net_epoch());
        colo_link_flush(s->link);
    }
}

static void deliver(RewriterState *s)
{
    ColoNetFrame *f = colo_gate_take(&s->gate);

    while (f) {
        ColoNetFrame *next = f->next;

        if (f->vnet_bytes == s->parent_obj.netdev->vnet_hdr_len) {
            translate_ingress(s, f);
            pass_on(s, s->parent_obj.netdev, f);
        } else if (!s->warned && !runstate_check(RUN_STATE_INMIGRATE)) {
            s->warned = true;
            warn_report("%s: frames with vnet headers of %u bytes come for "
                        "netdev '%s', whose have %d: dropped; the network "
                        "cards of both sides must be alike", s->part.name,
                        f->vnet_bytes, s->parent_obj.netdev_id,
                        s->parent_obj.netdev->vnet_hdr_len);
        }
        colo_net_frame_free(f);
        f = next;
    }
    colo_link_pause(s->link, s->gate.parked_bytes > COLO_LINK_LIMIT_BYTES);
}

static void link_item(void *opaque, ColoFramerItem *item)
{
    RewriterState *s = opaque;

    if (item->frame && in_lockstep()) {
        colo_gate_frame(&s->gate, item->frame);
    } else if (item->frame) {
        colo_net_frame_free(item->frame);
    } else if (item->marker == COLO_MARKER_EPOCH) {
        colo_gate_marker(&s->gate, item->epoch);
    }
}

static void link_batch(void *opaque)
{
    deliver(opaque);
}

static void link_opened(void *opaque)
{
    RewriterState *s = opaque;

    colo_gate_restart(&s->gate);
    mark(s);
}

static const ColoLinkOps link_ops = {
    .item = link_item,
    .batch = link_batch,
    .opened = link_opened,
};

/* --------------------------------------------------------- the pair */

static void part_begin(ColoNetPart *part)
{
    RewriterState *s = container_of(part, RewriterState, part);

    if (!in_lockstep()) {
        return;
    }
    colo_rewrite_set_learning(s->rewrite, true);
    colo_resend_reset(s->resend);
    colo_gate_close(&s->gate);
    tick(s);
}

static void part_enter(ColoNetPart *part, uint64_t epoch)
{
    RewriterState *s = container_of(part, RewriterState, part);

    mark(s);
    colo_resend_reset(s->resend);
    if (s->link) {
        qemu_purge_queued_packets(s->parent_obj.netdev);
        colo_gate_enter(&s->gate, epoch);
        deliver(s);
    }
}

static void part_before_load(ColoNetPart *part)
{
    RewriterState *s = container_of(part, RewriterState, part);

    colo_rewrite_reset(s->rewrite);
}

static void part_end(ColoNetPart *part, bool survivor)
{
    RewriterState *s = container_of(part, RewriterState, part);

    if (!in_lockstep()) {
        return;
    }
    colo_rewrite_survive(s->rewrite);
    colo_gate_open(&s->gate);
    if (s->link && survivor) {
        deliver(s);
    }
    if (!survivor) {
        colo_resend_reset(s->resend);
    }
}

/* Something came to this side's own network. */
static void part_early(ColoNetPart *part, NetClientState *netdev,
                       const struct iovec *iov, int iovcnt)
{
    RewriterState *s = container_of(part, RewriterState, part);
    uint8_t to[COLO_MAC_BYTES];
    size_t size;
    ColoNetFrame *f;

    if (!in_lockstep() || netdev != s->parent_obj.netdev) {
        return;
    }
    size = iov_to_buf(iov, iovcnt, netdev->vnet_hdr_len, to, sizeof(to));
    if (!colo_early_wants(s->early, to, size)) {
        return;
    }
    f = copy_iov(s, iov, iovcnt);
    if (f) {
        colo_early_add(s->early, f, now_us());
    }
}

static void give_early(RewriterState *s)
{
    ColoNetFrame *f = colo_early_take(s->early, now_us()), *next;
    ColoPacket p;

    for (; f; f = next) {
        next = f->next;
        colo_packet_parse_frame(f, &p);
        if (colo_resend_is_news(s->resend, &p)) {
            translate_ingress(s, f);
            pass_on(s, s->parent_obj.netdev, f);
            s->early_frames++;
        }
        colo_net_frame_free(f);
    }
}

static void send_again(RewriterState *s)
{
    ColoNetFrame *f = colo_resend_take(s->resend, now_us()), *next;

    for (; f; f = next) {
        next = f->next;
        pass_on(s, s->parent_obj.netdev->peer, f);
        s->resent_frames++;
        colo_net_frame_free(f);
    }
}

/* What came early may say what need not be sent again. */
static void part_alone(ColoNetPart *part)
{
    RewriterState *s = container_of(part, RewriterState, part);
    uint64_t early = s->early_frames, resent = s->resent_frames;

    give_early(s);
    send_again(s);
    trace_colo_rewriter_alone(s->part.name, s->resent_frames - resent,
                              s->early_frames - early);
}

static ColoNicInfo *part_info(ColoNetPart *part)
{
    RewriterState *s = container_of(part, RewriterState, part);
    ColoNicInfo *info = g_new0(ColoNicInfo, 1);
    ColoRewriteStats stats;
    ColoResendStats resend;

    colo_rewrite_get_stats(s->rewrite, &stats);
    colo_resend_get_stats(s->resend, &resend);
    info->id = g_strdup(s->part.name);
    info->netdev = g_strdup(s->parent_obj.netdev_id);
    info->rewriter = g_new0(ColoRewriterInfo, 1);
    info->rewriter->flows = stats.flows;
    info->rewriter->learned = stats.learned_flows;
    info->rewriter->refused = stats.refused_flows;
    info->rewriter->rewritten_frames = stats.rewritten_frames;
    info->rewriter->kept_frames = resend.kept_frames;
    info->rewriter->kept_bytes = resend.kept_bytes;
    info->rewriter->unkept_frames = resend.dropped_frames;
    info->rewriter->resent_frames = s->resent_frames;
    info->rewriter->early_frames = s->early_frames;
    info->rewriter->settling = in_lockstep() ? 0 : resend.flows;
    return info;
}

static const ColoNetPartOps part_ops = {
    .begin = part_begin,
    .enter = part_enter,
    .before_load = part_before_load,
    .end = part_end,
    .early = part_early,
    .alone = part_alone,
    .info = part_info,
};

/* -------------------------------------------------------- the filter */

static void answer(RewriterState *s, const struct iovec *iov, int iovcnt)
{
    ColoLinkResult r = colo_link_send_iov(s->link, iov, iovcnt,
                                          s->parent_obj.netdev->vnet_hdr_len);

    if (in_lockstep()) {
        colo_link_note_gap(s->link, r, colo_net_epoch());
    }
}

static bool is_standby(RewriterState *s)
{
    return s->link && (in_lockstep() || runstate_check(RUN_STATE_INMIGRATE));
}

static ssize_t from_client(RewriterState *s, NetClientState *sender,
                           const struct iovec *iov, int iovcnt)
{
    ColoNetFrame *f;

    if (is_standby(s)) {
        part_early(&s->part, sender, iov, iovcnt);
        return iov_size(iov, iovcnt);
    }
    f = s->busy ? copy_iov(s, iov, iovcnt) : NULL;
    if (f && translate_ingress(s, f)) {
        pass_on(s, sender, f);
        colo_net_frame_free(f);
        return iov_size(iov, iovcnt);
    }
    colo_net_frame_free(f);
    return 0;
}

static ssize_t from_guest(RewriterState *s, NetClientState *sender,
                          const struct iovec *iov, int iovcnt)
{
    ColoNetFrame *f = s->busy ? copy_iov(s, iov, iovcnt) : NULL;
    bool standby = is_standby(s);
    bool changed = false;
    ColoPacket p;

    if (f) {
        changed = translate_egress(s, f, &p);
    }
    if (standby && changed) {
        struct iovec one = {
            .iov_base = f->data, .iov_len = f->vnet_bytes + f->size,
        };

        answer(s, &one, 1);
    } else if (standby) {
        answer(s, iov, iovcnt);
    } else if (changed) {
        pass_on(s, sender, f);
    }
    if (f) {
        keep(s, f, &p);
    }
    return standby || changed ? iov_size(iov, iovcnt) : 0;
}

static ssize_t receive_iov(NetFilterState *nf, NetClientState *sender,
                           unsigned flags, const struct iovec *iov,
                           int iovcnt, NetPacketSent *sent_cb)
{
    RewriterState *s = FILTER_REWRITER(nf);

    return sender == nf->netdev ? from_client(s, sender, iov, iovcnt)
                                : from_guest(s, sender, iov, iovcnt);
}

/* ------------------------------------------------------------- state */

static const VMStateDescription vmstate_flow = {
    .name = "filter-rewriter/flow",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT8(family, ColoRewriteFlow),
        VMSTATE_UINT8(tag_count, ColoRewriteFlow),
        VMSTATE_UINT16_ARRAY(tags, ColoRewriteFlow, 2),
        VMSTATE_UINT8_ARRAY(guest, ColoRewriteFlow, 16),
        VMSTATE_UINT8_ARRAY(client, ColoRewriteFlow, 16),
        VMSTATE_UINT16(guest_port, ColoRewriteFlow),
        VMSTATE_UINT16(client_port, ColoRewriteFlow),
        VMSTATE_UINT32(seq_delta, ColoRewriteFlow),
        VMSTATE_UINT32(ts_delta, ColoRewriteFlow),
        VMSTATE_BOOL(ended, ColoRewriteFlow),
        VMSTATE_END_OF_LIST()
    }
};

static bool state_needed(void *opaque)
{
    RewriterState *s = opaque;

    return colo_rewrite_export_count(s->rewrite) > 0;
}

static int state_pre_save(void *opaque)
{
    RewriterState *s = opaque;

    uint32_t count = colo_rewrite_export_count(s->rewrite);

    s->flows = g_new0(ColoRewriteFlow, count);
    colo_rewrite_export(s->rewrite, s->flows, &count);
    s->flow_count = count;
    return 0;
}

static int state_post_save(void *opaque)
{
    RewriterState *s = opaque;

    g_clear_pointer(&s->flows, g_free);
    s->flow_count = 0;
    return 0;
}

static int state_pre_load(void *opaque)
{
    return state_post_save(opaque);
}

static int state_post_load(void *opaque, int version_id)
{
    RewriterState *s = opaque;
    bool ok = colo_rewrite_import(s->rewrite, s->flows, s->flow_count,
                                  now_us());

    if (!ok) {
        error_report("%s: the connections to be translated make no sense",
                     s->part.name);
    }
    s->busy = true;
    state_post_save(s);
    return ok ? 0 : -EINVAL;
}

static bool count_in_range(void *opaque, int version_id)
{
    RewriterState *s = opaque;

    return s->flow_count >= 0 && s->flow_count <= FLOWS_MAX;
}

static const VMStateDescription vmstate_rewriter = {
    .name = "filter-rewriter",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = state_needed,
    .pre_save = state_pre_save,
    .post_save = state_post_save,
    .pre_load = state_pre_load,
    .post_load = state_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_INT32(flow_count, RewriterState),
        VMSTATE_VALIDATE("number of connections", count_in_range),
        VMSTATE_STRUCT_VARRAY_ALLOC(flows, RewriterState, flow_count, 1,
                                    vmstate_flow, ColoRewriteFlow),
        VMSTATE_END_OF_LIST()
    }
};

/* One per NIC, whatever the objects are called at either side. */
static char *state_id(VMStateIf *obj)
{
    return g_strdup(NETFILTER(obj)->netdev_id);
}

/* ----------------------------------------------------- making, ending */

static void no_event(NetFilterState *nf, int event, Error **errp)
{
}

/*
 * Behind all else that has a state, so that a side without a rewriter numbers
 * its sections in the same way. Long before an incoming state gets there.
 */
static void register_state(void *opaque)
{
    RewriterState *s = opaque;

    vmstate_register_any(VMSTATE_IF(s), &vmstate_rewriter, s);
}

static bool has_another(NetFilterState *nf)
{
    NetFilterState *other;

    QTAILQ_FOREACH(other, &nf->netdev->filters, next) {
        if (object_dynamic_cast(OBJECT(other), TYPE_FILTER_REWRITER)) {
            return true;
        }
    }
    return false;
}

static void setup(NetFilterState *nf, Error **errp)
{
    RewriterState *s = FILTER_REWRITER(nf);

    if (strlen(nf->netdev_id) > NETDEV_ID_MAX_BYTES) {
        error_setg(errp, "netdev '%s': its name is too long to be part of "
                   "a machine state", nf->netdev_id);
        return;
    }
    if (has_another(nf)) {
        error_setg(errp, "netdev '%s' has a filter-rewriter already",
                   nf->netdev_id);
        return;
    }
    if (s->primary) {
        if (nf->direction != NET_FILTER_DIRECTION_ALL) {
            error_setg(errp, "'primary' needs queue=all");
            return;
        }
        s->link = colo_link_new("primary", s->primary, true, NULL, NULL,
                                &link_ops, s, errp);
        if (!s->link) {
            return;
        }
    }
    s->register_bh = qemu_bh_new(register_state, s);
    qemu_bh_schedule(s->register_bh);
    s->part.ops = &part_ops;
    s->part.name = object_get_canonical_path_component(OBJECT(s));
    s->registered = true;
    colo_net_add(&s->part);
    if (s->link) {
        colo_link_start(s->link);
    }
}

static void cleanup(NetFilterState *nf)
{
    RewriterState *s = FILTER_REWRITER(nf);

    if (s->registered) {
        g_clear_pointer(&s->register_bh, qemu_bh_delete);
        vmstate_unregister(VMSTATE_IF(s), &vmstate_rewriter, s);
        colo_net_remove(&s->part);
        s->registered = false;
    }
    timer_del(s->timer);
    g_clear_pointer(&s->link, colo_link_free);
}

static bool can_be_deleted(UserCreatable *uc)
{
    return colo_net_may_remove();
}

static char *get_primary(Object *obj, Error **errp)
{
    return g_strdup(FILTER_REWRITER(obj)->primary);
}

static bool may_change(Object *obj, const char *property, Error **errp)
{
    if (FILTER_REWRITER(obj)->registered) {
        error_setg(errp, "'%s' cannot change any more; make the object anew",
                   property);
        return false;
    }
    return true;
}

static void set_primary(Object *obj, const char *value, Error **errp)
{
    if (may_change(obj, "primary", errp)) {
        g_free(FILTER_REWRITER(obj)->primary);
        FILTER_REWRITER(obj)->primary = g_strdup(value);
    }
}

static bool get_vnet_hdr(Object *obj, Error **errp)
{
    return FILTER_REWRITER(obj)->vnet_hdr;
}

static void set_vnet_hdr(Object *obj, bool value, Error **errp)
{
    if (may_change(obj, "vnet_hdr_support", errp)) {
        FILTER_REWRITER(obj)->vnet_hdr = value;
    }
}

static void rewriter_init(Object *obj)
{
    RewriterState *s = FILTER_REWRITER(obj);

    colo_gate_init(&s->gate);
    s->rewrite = colo_rewrite_new(FLOWS_MAX, LINGER_MS * 1000ll);
    s->resend = colo_resend_new(NULL);
    s->early = colo_early_new();
    s->timer = timer_new_ms(QEMU_CLOCK_REALTIME, tick, s);
}

static void rewriter_finalize(Object *obj)
{
    RewriterState *s = FILTER_REWRITER(obj);

    cleanup(NETFILTER(obj));
    timer_free(s->timer);
    colo_gate_destroy(&s->gate);
    colo_rewrite_free(s->rewrite);
    colo_resend_free(s->resend);
    colo_early_free(s->early);
    g_free(s->primary);
}

static void rewriter_class_init(ObjectClass *oc, void *data)
{
    NetFilterClass *nfc = NETFILTER_CLASS(oc);

    USER_CREATABLE_CLASS(oc)->can_be_deleted = can_be_deleted;
    VMSTATE_IF_CLASS(oc)->get_id = state_id;
    nfc->setup = setup;
    nfc->receive_iov = receive_iov;
    nfc->handle_event = no_event;
    object_class_property_add_str(oc, "primary", get_primary, set_primary);
    object_class_property_add_bool(oc, "vnet_hdr_support", get_vnet_hdr,
                                   set_vnet_hdr);
}

static const TypeInfo rewriter_type = {
    .name = TYPE_FILTER_REWRITER,
    .parent = TYPE_NETFILTER,
    .class_init = rewriter_class_init,
    .instance_size = sizeof(RewriterState),
    .instance_init = rewriter_init,
    .instance_finalize = rewriter_finalize,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_VMSTATE_IF },
        { }
    },
};

static void register_types(void)
{
    type_register_static(&rewriter_type);
}

type_init(register_types)
