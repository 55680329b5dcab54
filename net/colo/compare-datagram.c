/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: everything but TCP is compared datagram by datagram.
 *
 * Within a flow the n-th of the primary is compared with the n-th of the
 * secondary: the Ethernet addresses, and all from the transport header on.
 * IP id, TTL, TOS and header checksum are left out that way. A checksum of
 * UDP or ICMP that is partial is not compared; a full one covers what is
 * compared anyway. What is not understood is compared as bytes, all of them.
 */
#include "compare-int.h"

enum { ETH_ADDRESSES_BYTES = 12, UDP_SUM = 6, ICMP_SUM = 2, SUM_BYTES = 2 };
enum { PROTO_ICMP = 1, PROTO_UDP = 17, PROTO_ICMP6 = 58 };
enum { NO_SUM = INT32_MAX };   /* far from any place, on either side */

/* The bytes of one of an item's frames that count. */
typedef struct Body {
    const uint8_t *data;
    uint32_t bytes;
} Body;

static Body body_of(const ColoItem *item, const ColoNetFrame *f)
{
    const uint8_t *eth = f->data + f->vnet_bytes;
    ColoPacket p = item->view;

    if (f != item->frames) {
        colo_packet_parse_frame(f, &p);
    }
    if (p.kind == COLO_PACKET_OPAQUE) {
        return (Body) { eth, f->size };
    }
    return (Body) { eth + p.l4, p.payload + p.payload_bytes - p.l4 };
}

static uint32_t total_bytes(const ColoItem *item)
{
    uint32_t total = 0;

    for (const ColoNetFrame *f = item->frames; f; f = f->next) {
        total += body_of(item, f).bytes;
    }
    return total;
}

/* Where a partial checksum is in the body; NO_SUM: nowhere. */
static uint32_t partial_sum_at(const ColoItem *p, const ColoItem *s)
{
    if (!p->view.needs_csum && !s->view.needs_csum) {
        return NO_SUM;
    }
    return p->view.ip_proto == PROTO_UDP ? UDP_SUM
           : p->view.ip_proto == PROTO_ICMP ||
             p->view.ip_proto == PROTO_ICMP6 ? ICMP_SUM : NO_SUM;
}

/* First place that differs, or @bytes. */
static uint32_t differs_at(const uint8_t *a, const uint8_t *b, uint32_t bytes,
                           uint32_t base, uint32_t sum_at)
{
    if (memcmp(a, b, bytes) == 0) {
        return bytes;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        bool in_sum = base + i - sum_at < SUM_BYTES;

        if (a[i] != b[i] && !in_sum) {
            return i;
        }
    }
    return bytes;
}

/* Compare bodies that may be cut into frames in different ways. */
static bool same_bodies(ColoCompare *c, ColoFlow *flow, const ColoItem *p,
                        const ColoItem *s)
{
    const ColoNetFrame *pf = p->frames, *sf = s->frames;
    uint32_t sum_at = partial_sum_at(p, s);
    Body pb = body_of(p, pf), sb = body_of(s, sf);
    uint32_t base = 0;

    while (pf && sf) {
        uint32_t bytes = MIN(pb.bytes, sb.bytes);
        uint32_t at = differs_at(pb.data, sb.data, bytes, base, sum_at);

        if (at < bytes) {
            colo_diverge(c, flow, COLO_VERDICT_PAYLOAD, base + at,
                         pb.data + at, bytes - at, sb.data + at, bytes - at);
            return false;
        }
        base += bytes;
        pb = (Body) { pb.data + bytes, pb.bytes - bytes };
        sb = (Body) { sb.data + bytes, sb.bytes - bytes };
        if (pb.bytes == 0 && (pf = pf->next)) {
            pb = body_of(p, pf);
        }
        if (sb.bytes == 0 && (sf = sf->next)) {
            sb = body_of(s, sf);
        }
    }
    return true;
}

static bool same_addresses(const ColoItem *p, const ColoItem *s)
{
    const ColoNetFrame *pf = p->frames, *sf = s->frames;

    return pf->size < ETH_ADDRESSES_BYTES || sf->size < ETH_ADDRESSES_BYTES ||
           memcmp(pf->data + pf->vnet_bytes, sf->data + sf->vnet_bytes,
                  ETH_ADDRESSES_BYTES) == 0;
}

/* A lone fragment has to be the same piece of its datagram. */
static bool same_piece(const ColoItem *p, const ColoItem *s)
{
    return p->count != 1 || s->count != 1 ||
           (p->view.kind == s->view.kind &&
            p->view.fragment_offset == s->view.fragment_offset &&
            p->view.fragment_more == s->view.fragment_more);
}

static bool same(ColoCompare *c, ColoFlow *flow, const ColoItem *p,
                 const ColoItem *s)
{
    uint32_t p_bytes = total_bytes(p), s_bytes = total_bytes(s);
    Body pb = body_of(p, p->frames), sb = body_of(s, s->frames);

    if (p_bytes != s_bytes) {
        colo_diverge(c, flow, COLO_VERDICT_LENGTH, MIN(p_bytes, s_bytes),
                     pb.data, pb.bytes, sb.data, sb.bytes);
        return false;
    }
    if (!same_addresses(p, s) || !same_piece(p, s)) {
        colo_diverge(c, flow, COLO_VERDICT_HEADER, 0,
                     p->frames->data + p->frames->vnet_bytes,
                     p->frames->size,
                     s->frames->data + s->frames->vnet_bytes,
                     s->frames->size);
        return false;
    }
    return same_bodies(c, flow, p, s);
}

static void progress(ColoCompare *c, ColoFlow *flow)
{
    ColoLive *live = flow->live;

    colo_flow_after_gap(c, flow);
    while (live && !flow->diverged && live->primary && live->secondary) {
        ColoItem *s = colo_queue_take(&live->secondary,
                                      &live->secondary_end);

        live->secondary_count--;
        if (same(c, flow, live->primary, s)) {
            live->primary_count--;
            colo_item_release(c, colo_queue_take(&live->primary,
                                                 &live->primary_end));
        }
        colo_item_free(c, s);
    }
    colo_live_done(c, flow);
}

static void datagram_primary(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoLive *live = colo_flow_live(c, flow);

    colo_queue_push(&live->primary_end, item);
    live->primary_count++;
    progress(c, flow);
}

static void datagram_secondary(ColoCompare *c, ColoFlow *flow,
                               ColoItem *item)
{
    ColoLive *live = colo_flow_live(c, flow);

    colo_queue_push(&live->secondary_end, item);
    live->secondary_count++;
    progress(c, flow);
}

const ColoFlowOps colo_datagram_ops = {
    .primary = datagram_primary,
    .secondary = datagram_secondary,
};
