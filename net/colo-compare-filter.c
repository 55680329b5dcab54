/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-compare, direct form: its place in the path of a NIC's frames.
 *
 * An internal filter at the head of the netdev's list, so nearest to the
 * network: what it sees are the frames as clients know them, translated by a
 * filter-rewriter of an earlier failover if there is one. Being a filter it
 * inherits the checks of any: vhost and multiqueue are refused.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "net/filter.h"
#include "net/queue.h"
#include "qom/object.h"
#include "qom/object_interfaces.h"
#include "net/colo-compare-unit.h"

#define TYPE_COMPARE_FILTER "colo-compare-filter"
OBJECT_DECLARE_SIMPLE_TYPE(CompareFilter, COMPARE_FILTER)

struct CompareFilter {
    NetFilterState parent_obj;
    CompareUnit *unit;
};

static ssize_t receive_iov(NetFilterState *nf, NetClientState *sender,
                           unsigned flags, const struct iovec *iov,
                           int iovcnt, NetPacketSent *sent_cb)
{
    CompareUnit *u = COMPARE_FILTER(nf)->unit;
    uint32_t vnet_bytes = nf->netdev->vnet_hdr_len;

    if (!u) {
        return 0;
    }
    if (sender == nf->netdev) {
        compare_unit_to_guest(u, iov, iovcnt, vnet_bytes);
        return 0;
    }
    return compare_unit_from_guest(u, iov, iovcnt, vnet_bytes)
           ? iov_size(iov, iovcnt) : 0;
}

static void no_event(NetFilterState *nf, int event, Error **errp)
{
}

/* The netdev is deleted: it takes its filters along. */
static void cleanup(NetFilterState *nf)
{
    if (COMPARE_FILTER(nf)->unit) {
        COMPARE_FILTER(nf)->unit->filter = NULL;
    }
}

void compare_filter_pass(Object *filter, const ColoNetFrame *f)
{
    NetFilterState *nf = NETFILTER(filter);
    struct iovec iov = {
        .iov_base = (void *)f->data,
        .iov_len = f->vnet_bytes + f->size,
    };

    if (nf->netdev->peer) {
        qemu_netfilter_pass_to_next(nf->netdev->peer, 0, &iov, 1, nf);
    }
}

void compare_filter_undelivered(Object *filter,
                                void (*fn)(const uint8_t *, size_t, void *),
                                void *opaque)
{
    NetClientState *nc = NETFILTER(filter)->netdev;

    if (nc->peer) {
        qemu_net_queue_foreach(nc->peer->incoming_queue, nc, fn, opaque);
    }
}

static bool has_another(const char *netdev)
{
    NetClientState *nc = qemu_find_netdev(netdev);
    NetFilterState *nf;

    if (nc) {
        QTAILQ_FOREACH(nf, &nc->filters, next) {
            if (object_dynamic_cast(OBJECT(nf), TYPE_COMPARE_FILTER)) {
                return true;
            }
        }
    }
    return false;
}

Object *compare_filter_new(CompareUnit *u, Error **errp)
{
    Object *obj;

    if (has_another(u->netdev)) {
        error_setg(errp, "netdev '%s' has a colo-compare already", u->netdev);
        return NULL;
    }
    obj = object_new(TYPE_COMPARE_FILTER);

    object_property_add_child(object_get_internal_root(),
                              TYPE_COMPARE_FILTER "[*]", obj);
    object_unref(obj);
    if (!object_property_set_str(obj, "netdev", u->netdev, errp) ||
        !object_property_set_str(obj, "queue", "all", errp) ||
        !object_property_set_str(obj, "position", "head", errp) ||
        !user_creatable_complete(USER_CREATABLE(obj), errp)) {
        object_unparent(obj);
        return NULL;
    }
    COMPARE_FILTER(obj)->unit = u;
    return obj;
}

void compare_filter_free(Object *filter)
{
    COMPARE_FILTER(filter)->unit = NULL;
    object_unparent(filter);
}

static void filter_class_init(ObjectClass *oc, void *data)
{
    NetFilterClass *nfc = NETFILTER_CLASS(oc);

    nfc->receive_iov = receive_iov;
    nfc->cleanup = cleanup;
    nfc->handle_event = no_event;
}

static const TypeInfo filter_type = {
    .name = TYPE_COMPARE_FILTER,
    .parent = TYPE_NETFILTER,
    .class_init = filter_class_init,
    .instance_size = sizeof(CompareFilter),
};

static void register_types(void)
{
    type_register_static(&filter_type);
}

type_init(register_types)
