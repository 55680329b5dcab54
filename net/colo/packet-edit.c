/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: changing a parsed TCP frame.
 *
 * Checksums are never made anew but follow the change (RFC 1624): a right
 * one stays right without a look at the payload, and a frame that was wrong
 * when the guest sent it does not become a good one here. That also spares
 * the pseudo header, whose destination is another one behind an IPv6 routing
 * header.
 *
 * A 16 bit sum over bytes which begin at an odd place of the segment is the
 * sum from an even place with its two bytes swapped (RFC 1071): options need
 * not be aligned.
 */
#include "packet-internal.h"

enum { TCP_SEQ = 4, TCP_ACK = 8, TCP_FLAGS = 13, TCP_WINDOW = 14 };

/* ------------------------------------------- one's complement arithmetic */

static uint32_t fold(uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint32_t sum_bytes(const uint8_t *bytes, size_t size)
{
    uint64_t sum = 0;
    size_t i;

    for (i = 0; i + 1 < size; i += 2) {
        sum += colo_get_be16(bytes + i);
    }
    if (i < size) {
        sum += bytes[i] << 8;
    }
    return fold(sum);
}

/* What takes the sum of @old to that of @new; both at an even place. */
static uint32_t sum_change(uint32_t old, uint32_t new)
{
    return fold((uint64_t)fold((uint32_t)~old) + fold(new));
}

static uint32_t sum_at(const ColoPacket *p, uint32_t at, uint32_t sum)
{
    return (at - p->l4) & 1 ? GUINT16_SWAP_LE_BE(sum) : sum;
}

static void change_csum(uint8_t *csum, uint32_t change)
{
    uint16_t sum = ~colo_get_be16(csum);

    colo_set_be16(csum, ~fold((uint64_t)sum + change));
}

/* ----------------------------------------------------------------- fields */

/* The bytes at @at were @old and are @new. */
static void follow(uint8_t *eth, const ColoPacket *p, uint32_t at,
                   uint32_t old, uint32_t new)
{
    if (!p->needs_csum) {
        change_csum(eth + p->l4 + COLO_TCP_CSUM,
                    sum_at(p, at, sum_change(old, new)));
    }
}

static void put32(uint8_t *eth, const ColoPacket *p, uint32_t at,
                  uint32_t value)
{
    follow(eth, p, at, colo_get_be32(eth + at), value);
    colo_set_be32(eth + at, value);
}

static void put16(uint8_t *eth, const ColoPacket *p, uint32_t at,
                  uint16_t value)
{
    follow(eth, p, at, colo_get_be16(eth + at), value);
    colo_set_be16(eth + at, value);
}

void colo_packet_set_seq(uint8_t *eth, ColoPacket *p, uint32_t seq)
{
    put32(eth, p, p->l4 + TCP_SEQ, seq);
    p->tcp_seq = seq;
}

void colo_packet_set_ack(uint8_t *eth, ColoPacket *p, uint32_t ack)
{
    put32(eth, p, p->l4 + TCP_ACK, ack);
    p->tcp_ack = ack;
}

void colo_packet_set_window(uint8_t *eth, ColoPacket *p, uint16_t window)
{
    put16(eth, p, p->l4 + TCP_WINDOW, window);
    p->tcp_window = window;
}

void colo_packet_set_timestamp(uint8_t *eth, ColoPacket *p, int which,
                               uint32_t value)
{
    put32(eth, p, p->tcp_timestamp + 4 * which, value);
}

uint32_t colo_packet_timestamp(const uint8_t *eth, const ColoPacket *p,
                               int which)
{
    return colo_get_be32(eth + p->tcp_timestamp + 4 * which);
}

void colo_packet_drop_sack(uint8_t *eth, ColoPacket *p)
{
    enum { HEAD_BYTES = 2, BLOCK_BYTES = 8, TWO_NOPS = 0x0101 };
    uint32_t end = p->tcp_sack + BLOCK_BYTES * p->tcp_sack_count;

    if (!p->tcp_sack) {
        return;
    }
    for (uint32_t at = p->tcp_sack - HEAD_BYTES; at < end; at += 2) {
        put16(eth, p, at, TWO_NOPS);
    }
    p->tcp_sack = 0;
    p->tcp_sack_count = 0;
}

void colo_packet_shift_sack(uint8_t *eth, const ColoPacket *p,
                            uint32_t delta)
{
    unsigned edge;

    for (edge = 0; edge < 2u * p->tcp_sack_count; edge++) {
        uint32_t at = p->tcp_sack + 4 * edge;

        put32(eth, p, at, colo_get_be32(eth + at) + delta);
    }
}

/* --------------------------------------------------------------- trimming */

/* Also when nothing is dropped: a frame of no segments needs its length. */
static void trim_ip(uint8_t *eth, const ColoPacket *p, uint32_t l3_bytes)
{
    uint8_t *length = eth + p->l3 + (p->family == 4 ? 2 : 4);
    uint16_t old = colo_get_be16(length), new;

    if (p->family == 6) {
        new = l3_bytes - COLO_IP6_HEADER_BYTES;
    } else {
        new = l3_bytes > COLO_IP_MAX_BYTES ? 0 : l3_bytes;
        change_csum(eth + p->l3 + 10, sum_change(old, new));
    }
    colo_set_be16(length, new);
}

/* A partial sum is not inverted, and covers the length but no payload. */
static void trim_csum(uint8_t *eth, const ColoPacket *p,
                      const uint8_t *payload, uint32_t from, uint32_t kept)
{
    uint8_t *csum = eth + p->l4 + COLO_TCP_CSUM;
    uint32_t bytes = colo_packet_l4_bytes(p);
    uint32_t change = sum_change(bytes, bytes - p->payload_bytes + kept);

    if (p->needs_csum) {
        colo_set_be16(csum, fold(colo_get_be16(csum) + change));
    } else {
        uint32_t old = sum_bytes(payload, p->payload_bytes);
        uint32_t new = sum_bytes(payload + from, kept);

        change_csum(csum, change + sum_at(p, p->payload,
                                          sum_change(old, new)));
    }
}

static void trim_vnet(uint8_t *vnet, const ColoPacket *p, uint32_t keep)
{
    bool gso = p->gso && keep > p->gso_size;

    if (!gso) {
        vnet[COLO_VNET_GSO_TYPE] = 0;
        colo_set_le16(vnet + COLO_VNET_GSO_SIZE, 0);
    }
    /* A receiver may refuse a hint that is longer than the frame. */
    colo_set_le16(vnet + COLO_VNET_HEADER_BYTES, gso ? p->payload : 0);
}

ColoNetFrame *colo_packet_part(const ColoNetFrame *f, const ColoPacket *p,
                               uint32_t from, uint32_t keep, uint8_t flags,
                               uint32_t seq, uint32_t ack, int32_t window)
{
    uint32_t first = MIN(from, p->payload_bytes);
    uint32_t kept = MIN(keep, p->payload_bytes - first);
    const uint8_t *payload = f->data + f->vnet_bytes + p->payload;
    ColoNetFrame *out = colo_net_frame_new(f->vnet_bytes, p->payload + kept);
    uint8_t *eth = colo_net_frame_eth(out);
    uint32_t at = p->l4 + TCP_FLAGS - 1;
    ColoPacket changed = *p;

    memcpy(out->data, f->data, f->vnet_bytes + p->payload);
    memcpy(eth + p->payload, payload + first, kept);
    trim_ip(eth, p, p->l3_bytes - p->payload_bytes + kept);
    if (kept < p->payload_bytes) {
        trim_csum(eth, p, payload, first, kept);
    }
    put16(eth, p, at, (colo_get_be16(eth + at) & 0xff00) | flags);
    if (colo_vnet_is_known(f->vnet_bytes)) {
        trim_vnet(out->data, p, kept);
    }
    colo_packet_set_seq(eth, &changed, seq);
    colo_packet_set_ack(eth, &changed, ack);
    if (window >= 0) {
        colo_packet_set_window(eth, &changed, window);
    }
    return out;
}

ColoNetFrame *colo_packet_trimmed(const ColoNetFrame *f, const ColoPacket *p,
                                  uint32_t keep, uint32_t seq, uint32_t ack,
                                  int32_t window)
{
    uint8_t flags = f->data[f->vnet_bytes + p->l4 + TCP_FLAGS];

    if (keep < p->payload_bytes) {
        flags &= ~(COLO_TCP_FIN | COLO_TCP_PSH);
    }
    return colo_packet_part(f, p, 0, keep, flags, seq, ack, window);
}
