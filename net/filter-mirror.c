/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * filter-mirror and filter-redirector: frames of a NIC to and from a chardev.
 *
 * A mirror copies what passes to its outdev. A redirector takes what passes
 * away to its outdev, and puts what its indev brings in the place. They are
 * useful without COLO, and behave as such while there is no pair.
 *
 * In a pair their streams carry the epochs (net/colo.h):
 *
 *   primary    every outdev gets a marker at each cut. The mirror then sends
 *              once more what has passed it but not yet reached the guest,
 *              since that is not in the guest's state.
 *   secondary  an indev is gated (colo/gate.h); what the secondary's own
 *              network brings is not for its guest; an outdev gets a marker
 *              at each epoch the guest enters.
 *
 * A slow or missing receiver never stalls this thread. What the secondary
 * misses makes its guest differ, and a checkpoint mends that; so a mirror
 * that had to leave something out asks for one. Output of the primary's
 * guest is never let past a redirector whose outdev has no reader: it is
 * lost there as on a wire that is cut, and not acknowledged to anyone.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qom/object.h"
#include "qom/object_interfaces.h"
#include "migration/colo.h"
#include "net/colo.h"
#include "net/filter.h"
#include "net/net.h"
#include "net/queue.h"
#include "system/runstate.h"
#include "colo/gate.h"
#include "net/colo-link.h"
#include "trace.h"

#define TYPE_FILTER_MIRROR "filter-mirror"
#define TYPE_FILTER_REDIRECTOR "filter-redirector"

/* Instances of both types. */
typedef struct MirrorState {
    NetFilterState parent_obj;
    char *indev;
    char *outdev;
    bool vnet_hdr;
    ColoLink *in;
    ColoLink *out;
    ColoGate gate;
    ColoNetPart part;
    bool registered;
    bool gap;                  /* something was left out since the last cut */
    bool warned;
} MirrorState;

#define MIRROR(obj) ((MirrorState *)(obj))

static bool is_redirector(const MirrorState *s)
{
    return object_dynamic_cast(OBJECT(s), TYPE_FILTER_REDIRECTOR) != NULL;
}

/* -------------------------------------------------------------- out */

static uint32_t vnet_bytes(MirrorState *s)
{
    uint32_t bytes = s->parent_obj.netdev->vnet_hdr_len;

    if (s->vnet_hdr) {
        return bytes;
    }
    if (bytes && !s->warned && colo_net_role() != COLO_NET_NONE) {
        s->warned = true;
        warn_report("%s: frames of netdev '%s' begin with a vnet header; set "
                    "vnet_hdr_support=on on all filters and on colo-compare, "
                    "at both sides", s->part.name, s->parent_obj.netdev_id);
    }
    return 0;
}

/* The secondary missed something: only a checkpoint mends that. */
static void left_out(MirrorState *s)
{
    if (colo_net_role() == COLO_NET_PRIMARY && !is_redirector(s) &&
        !s->gap) {
        s->gap = true;
        colo_net_ask(COLO_REASON_QUEUE_FULL);
    }
}

static void send_out(MirrorState *s, const struct iovec *iov, int iovcnt)
{
    ColoLinkResult r = colo_link_send_iov(s->out, iov, iovcnt,
                                          vnet_bytes(s));

    if (colo_net_role() == COLO_NET_SECONDARY) {
        colo_link_note_gap(s->out, r, colo_net_epoch());
    }
    if (r != COLO_LINK_OK) {
        trace_colo_filter_left_out(s->part.name, r == COLO_LINK_FULL);
        left_out(s);
    }
}

static void mark_out(MirrorState *s)
{
    if (s->out && colo_net_role() != COLO_NET_NONE) {
        colo_link_put_epoch(s->out, colo_net_epoch());
        colo_link_flush(s->out);
    }
}

static void out_opened(void *opaque)
{
    mark_out(opaque);
}

static void out_closed(void *opaque)
{
    left_out(opaque);
}

/* -------------------------------------------------------------- in */

/* A guest whose state has not come yet has a card as after a reset. */
static void bad_vnet(MirrorState *s, uint32_t bytes)
{
    if (!s->warned && !runstate_check(RUN_STATE_INMIGRATE)) {
        s->warned = true;
        warn_report("%s: chardev '%s' brings frames with vnet headers of %u "
                    "bytes, and those of netdev '%s' have %d: dropped; the "
                    "network cards of both sides must be alike",
                    s->part.name, s->indev, bytes, s->parent_obj.netdev_id,
                    s->parent_obj.netdev->vnet_hdr_len);
    }
}

static void inject(MirrorState *s, ColoNetFrame *f)
{
    NetFilterState *nf = &s->parent_obj;
    struct iovec iov = {
        .iov_base = f->data,
        .iov_len = f->vnet_bytes + f->size,
    };

    if (s->vnet_hdr && f->vnet_bytes != nf->netdev->vnet_hdr_len) {
        bad_vnet(s, f->vnet_bytes);
        return;
    }

    if (nf->direction != NET_FILTER_DIRECTION_RX) {
        qemu_netfilter_pass_to_next(nf->netdev, 0, &iov, 1, nf);
    }
    if (nf->direction != NET_FILTER_DIRECTION_TX && nf->netdev->peer) {
        qemu_netfilter_pass_to_next(nf->netdev->peer, 0, &iov, 1, nf);
    }
}

static void deliver(MirrorState *s)
{
    ColoNetFrame *f = colo_gate_take(&s->gate);

    while (f) {
        ColoNetFrame *next = f->next;

        if (s->parent_obj.on) {
            inject(s, f);
        }
        colo_net_frame_free(f);
        f = next;
    }
    colo_link_pause(s->in, s->gate.parked_bytes > COLO_LINK_LIMIT_BYTES);
}

static void in_item(void *opaque, ColoFramerItem *item)
{
    MirrorState *s = opaque;

    if (item->frame) {
        colo_gate_frame(&s->gate, item->frame);
    } else if (item->marker == COLO_MARKER_EPOCH) {
        colo_gate_marker(&s->gate, item->epoch);
    }
}

static void in_batch(void *opaque)
{
    deliver(opaque);
}

static void in_restart(void *opaque)
{
    MirrorState *s = opaque;

    colo_gate_restart(&s->gate);
}

static const ColoLinkOps out_ops = {
    .opened = out_opened,
    .closed = out_closed,
};

static const ColoLinkOps in_ops = {
    .item = in_item,
    .batch = in_batch,
    .opened = in_restart,
};

/* --------------------------------------------------------- the pair */

static void part_begin(ColoNetPart *part)
{
    MirrorState *s = container_of(part, MirrorState, part);

    s->gap = false;
    if (s->in && colo_net_role() == COLO_NET_SECONDARY) {
        colo_gate_close(&s->gate);
    }
    if (colo_net_role() == COLO_NET_PRIMARY) {
        mark_out(s);
    }
}

static void send_again(const uint8_t *data, size_t size, void *opaque)
{
    struct iovec iov = { .iov_base = (void *)data, .iov_len = size };

    send_out(opaque, &iov, 1);
}

static void part_cut(ColoNetPart *part, uint64_t epoch)
{
    MirrorState *s = container_of(part, MirrorState, part);
    NetClientState *nc = s->parent_obj.netdev;

    s->gap = false;
    mark_out(s);
    if (s->out && !is_redirector(s) && nc->peer) {
        qemu_net_queue_foreach(nc->peer->incoming_queue, nc, send_again, s);
    }
}

static void part_enter(ColoNetPart *part, uint64_t epoch)
{
    MirrorState *s = container_of(part, MirrorState, part);

    mark_out(s);
    if (s->in) {
        qemu_purge_queued_packets(s->parent_obj.netdev);
        colo_gate_enter(&s->gate, epoch);
        deliver(s);
    }
}

/* A survivor of the secondary's kind goes on without its redirectors. */
static void part_end(ColoNetPart *part, bool survivor)
{
    MirrorState *s = container_of(part, MirrorState, part);

    if (colo_net_role() != COLO_NET_SECONDARY || !survivor) {
        return;
    }
    if (s->in) {
        colo_gate_open(&s->gate);
        deliver(s);
    }
    if (is_redirector(s)) {
        object_property_set_str(OBJECT(s), "status", "off", &error_abort);
    }
}

static const ColoNetPartOps part_ops = {
    .begin = part_begin,
    .cut = part_cut,
    .enter = part_enter,
    .end = part_end,
};

/* ----------------------------------------------------- the filters */

static ssize_t mirror_receive_iov(NetFilterState *nf, NetClientState *sender,
                                  unsigned flags, const struct iovec *iov,
                                  int iovcnt, NetPacketSent *sent_cb)
{
    send_out(MIRROR(nf), iov, iovcnt);
    return 0;
}

/* The secondary's guest hears the mirror only. */
static bool is_shut(MirrorState *s, NetClientState *sender)
{
    return s->in && sender == s->parent_obj.netdev &&
           (colo_net_role() == COLO_NET_SECONDARY ||
            runstate_check(RUN_STATE_INMIGRATE));
}

static ssize_t redirector_receive_iov(NetFilterState *nf,
                                      NetClientState *sender, unsigned flags,
                                      const struct iovec *iov, int iovcnt,
                                      NetPacketSent *sent_cb)
{
    MirrorState *s = MIRROR(nf);

    if (!s->out && is_shut(s, sender)) {
        colo_net_early(sender, iov, iovcnt);
        return iov_size(iov, iovcnt);
    } else if (!s->out) {
        return 0;
    }
    if (colo_net_role() == COLO_NET_NONE && !colo_link_is_open(s->out)) {
        return 0;
    }
    send_out(s, iov, iovcnt);
    return iov_size(iov, iovcnt);
}

/* COLO speaks to its parts through net/colo.h. */
static void no_event(NetFilterState *nf, int event, Error **errp)
{
}

static bool open_links(MirrorState *s, Error **errp)
{
    if (s->outdev) {
        s->out = colo_link_new("outdev", s->outdev, s->vnet_hdr, NULL, NULL,
                               &out_ops, s, errp);
        if (!s->out) {
            return false;
        }
    }
    if (s->indev) {
        s->in = colo_link_new("indev", s->indev, s->vnet_hdr, NULL, NULL,
                              &in_ops, s, errp);
        if (!s->in) {
            return false;
        }
    }
    return true;
}

static void setup(MirrorState *s, Error **errp)
{
    if (!open_links(s, errp)) {
        return;
    }
    s->part.ops = &part_ops;
    s->part.name = object_get_canonical_path_component(OBJECT(s));
    s->registered = true;
    colo_net_add(&s->part);
    if (s->out) {
        colo_link_start(s->out);
    }
    if (s->in) {
        colo_link_start(s->in);
    }
}

static void mirror_setup(NetFilterState *nf, Error **errp)
{
    MirrorState *s = MIRROR(nf);

    if (!s->outdev) {
        error_setg(errp, "filter-mirror needs 'outdev', the chardev that "
                   "gets the copies");
        return;
    }
    setup(s, errp);
}

static void redirector_setup(NetFilterState *nf, Error **errp)
{
    MirrorState *s = MIRROR(nf);

    if (!s->indev && !s->outdev) {
        error_setg(errp, "filter-redirector needs 'indev', 'outdev' or both");
    } else if (g_strcmp0(s->indev, s->outdev) == 0) {
        error_setg(errp, "'indev' and 'outdev' cannot both be chardev '%s'",
                   s->indev);
    } else {
        setup(s, errp);
    }
}

static void cleanup(NetFilterState *nf)
{
    MirrorState *s = MIRROR(nf);

    /*
     * Nothing may get past where this stood until it is decided. While it
     * may not be removed its netdev goes, and nothing gets past that.
     */
    if (s->out && is_redirector(s) && colo_net_role() == COLO_NET_PRIMARY &&
        colo_net_may_remove()) {
        colo_net_hold_guest();
    }
    if (s->registered) {
        colo_net_remove(&s->part);
        s->registered = false;
    }
    g_clear_pointer(&s->in, colo_link_free);
    g_clear_pointer(&s->out, colo_link_free);
}

static bool can_be_deleted(UserCreatable *uc)
{
    return colo_net_may_remove();
}

/* ------------------------------------------------------ properties */

static char *get_indev(Object *obj, Error **errp)
{
    return g_strdup(MIRROR(obj)->indev);
}

static bool may_change(Object *obj, const char *property, Error **errp)
{
    if (MIRROR(obj)->registered) {
        error_setg(errp, "'%s' cannot change any more; make the object anew",
                   property);
        return false;
    }
    return true;
}

static void set_indev(Object *obj, const char *value, Error **errp)
{
    if (may_change(obj, "indev", errp)) {
        g_free(MIRROR(obj)->indev);
        MIRROR(obj)->indev = g_strdup(value);
    }
}

static char *get_outdev(Object *obj, Error **errp)
{
    return g_strdup(MIRROR(obj)->outdev);
}

static void set_outdev(Object *obj, const char *value, Error **errp)
{
    if (may_change(obj, "outdev", errp)) {
        g_free(MIRROR(obj)->outdev);
        MIRROR(obj)->outdev = g_strdup(value);
    }
}

static bool get_vnet_hdr(Object *obj, Error **errp)
{
    return MIRROR(obj)->vnet_hdr;
}

static void set_vnet_hdr(Object *obj, bool value, Error **errp)
{
    if (may_change(obj, "vnet_hdr_support", errp)) {
        MIRROR(obj)->vnet_hdr = value;
    }
}

static void filter_init(Object *obj)
{
    colo_gate_init(&MIRROR(obj)->gate);
}

static void filter_finalize(Object *obj)
{
    MirrorState *s = MIRROR(obj);

    colo_gate_destroy(&s->gate);
    g_free(s->indev);
    g_free(s->outdev);
}

static void common_class_init(ObjectClass *oc)
{
    NetFilterClass *nfc = NETFILTER_CLASS(oc);

    USER_CREATABLE_CLASS(oc)->can_be_deleted = can_be_deleted;
    nfc->cleanup = cleanup;
    nfc->handle_event = no_event;
    object_class_property_add_str(oc, "outdev", get_outdev, set_outdev);
    object_class_property_add_bool(oc, "vnet_hdr_support", get_vnet_hdr,
                                   set_vnet_hdr);
}

static void mirror_class_init(ObjectClass *oc, void *data)
{
    common_class_init(oc);
    NETFILTER_CLASS(oc)->setup = mirror_setup;
    NETFILTER_CLASS(oc)->receive_iov = mirror_receive_iov;
}

static void redirector_class_init(ObjectClass *oc, void *data)
{
    common_class_init(oc);
    NETFILTER_CLASS(oc)->setup = redirector_setup;
    NETFILTER_CLASS(oc)->receive_iov = redirector_receive_iov;
    object_class_property_add_str(oc, "indev", get_indev, set_indev);
}

static const TypeInfo filter_types[] = {
    {
        .name = TYPE_FILTER_MIRROR,
        .parent = TYPE_NETFILTER,
        .class_init = mirror_class_init,
        .instance_size = sizeof(MirrorState),
        .instance_init = filter_init,
        .instance_finalize = filter_finalize,
    },
    {
        .name = TYPE_FILTER_REDIRECTOR,
        .parent = TYPE_NETFILTER,
        .class_init = redirector_class_init,
        .instance_size = sizeof(MirrorState),
        .instance_init = filter_init,
        .instance_finalize = filter_finalize,
    },
};

DEFINE_TYPES(filter_types)
