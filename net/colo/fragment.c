/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: fragments of a datagram are compared as the datagram.
 *
 * The two guests number their datagrams differently and may interleave them
 * differently, so fragments are put together by side first. Guests send the
 * fragments of a datagram in order; whole datagrams are found by that alone:
 * a train begins at offset 0, each fragment goes on where the one before
 * ended, the last has no successor. The ports in its first fragment name the
 * flow. Fragments of any other kind are compared one by one, by addresses and
 * protocol; if the two sides then differ it costs a checkpoint, no more.
 *
 * Nothing is copied: the frames of a train become one item.
 */
#include "compare-int.h"

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ICMP6 = 58,
       HEADER_BYTES = 8 };

static void lone_key(const ColoNetFrame *f, const ColoPacket *p,
                     ColoFlowKey *key)
{
    colo_flow_key(p, f->data + f->vnet_bytes, key);
}

/*
 * The flow of a datagram, from its first fragment: that of datagrams which
 * are not in fragments. But TCP stays apart: its frames are one by one.
 */
static void datagram_key(ColoItem *item, ColoFlowKey *key)
{
    static const uint8_t kinds[] = {
        [PROTO_ICMP] = COLO_PACKET_ICMP,
        [PROTO_TCP] = COLO_PACKET_FRAGMENT,
        [PROTO_UDP] = COLO_PACKET_UDP,
        [PROTO_ICMP6] = COLO_PACKET_ICMP6,
    };
    ColoPacket *p = &item->view;    /* rules look at it, too */
    const uint8_t *h = colo_net_frame_eth(item->frames) + p->l4;

    if (p->payload_bytes < HEADER_BYTES) {
        return;
    }
    p->kind = p->ip_proto < sizeof(kinds) ? kinds[p->ip_proto] : 0;
    if (p->kind == COLO_PACKET_OPAQUE) {
        p->kind = COLO_PACKET_IP;
    }
    if (p->kind == COLO_PACKET_UDP) {
        p->src_port = h[0] << 8 | h[1];
        p->dst_port = h[2] << 8 | h[3];
    }
    lone_key(item->frames, p, key);
}

static ColoTrain *find_train(ColoTrain *trains, const ColoFlowKey *key,
                             uint32_t id)
{
    for (int i = 0; i < COLO_TRAINS_MAX; i++) {
        if (trains[i].item && trains[i].id == id &&
            memcmp(&trains[i].key, key, sizeof(*key)) == 0) {
            return &trains[i];
        }
    }
    return NULL;
}

static ColoTrain *free_train(ColoTrain *trains)
{
    for (int i = 0; i < COLO_TRAINS_MAX; i++) {
        if (!trains[i].item) {
            return &trains[i];
        }
    }
    return NULL;
}

static void begin_train(ColoCompare *c, ColoNetFrame *f, const ColoPacket *p,
                        bool primary, const ColoFlowKey *key)
{
    ColoTrain *train = free_train(c->trains[!primary]);
    ColoItem *item = colo_item_new(c, f, p, primary);

    if (!train) {
        /* Of the primary: held until the cut that this asks for. */
        colo_ask(c, COLO_VERDICT_FRAGMENTS);
        if (!primary) {
            colo_item_free(c, item);
        }
        return;
    }
    *train = (ColoTrain) {
        .key = *key,
        .id = p->fragment_id,
        .next_offset = p->payload_bytes,
        .item = item,
    };
}

ColoItem *colo_fragment(ColoCompare *c, ColoNetFrame *f, const ColoPacket *p,
                        bool primary, ColoFlowKey *key)
{
    ColoTrain *train;
    ColoItem *item;

    lone_key(f, p, key);
    train = find_train(c->trains[!primary], key, p->fragment_id);
    if (!train && p->fragment_offset == 0 && p->fragment_more) {
        begin_train(c, f, p, primary, key);
        return NULL;
    }
    if (!train || p->fragment_offset != train->next_offset) {
        return colo_item_new(c, f, p, primary);
    }
    item = train->item;
    colo_item_add_frame(c, item, f, primary);
    train->next_offset += p->payload_bytes;
    if (p->fragment_more) {
        return NULL;
    }
    train->item = NULL;
    datagram_key(item, key);
    return item;
}

void colo_trains_clear(ColoCompare *c)
{
    for (int i = 0; i < COLO_TRAINS_MAX; i++) {
        c->trains[0][i].item = NULL;
        colo_item_free(c, g_steal_pointer(&c->trains[1][i].item));
    }
}
