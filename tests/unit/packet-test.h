/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames for the tests of the frame parser, made from a plan which also says
 * where everything has to be found again, and checksums computed the long
 * way, over all bytes.
 */
#ifndef COLO_PACKET_TEST_H
#define COLO_PACKET_TEST_H

#include <string.h>
#include <glib.h>
#include "colo/packet.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoNetFrame, colo_net_frame_free)

enum {
    TEST_ICMP = 1, TEST_TCP = 6, TEST_UDP = 17, TEST_ICMP6 = 58,
    TEST_SCTP = 132,
    TEST_VNET_CSUM = 1,
    TEST_GSO_TCP4 = 1, TEST_GSO_UDP = 3, TEST_GSO_TCP6 = 4,
    TEST_GSO_UDP_L4 = 5,
};

typedef struct PacketPlan {
    unsigned family;            /* 4, 6 */
    unsigned tag_count;
    uint8_t proto;
    /* IPv4 options; or IPv6 extension headers, the first of @middle_proto */
    uint8_t middle_proto;
    const void *middle;
    unsigned middle_bytes;
    const void *options;        /* of TCP */
    unsigned option_bytes;
    uint8_t tcp_flags;          /* 0: ACK */
    unsigned data_bytes;
    unsigned padding_bytes;
} PacketPlan;

static inline unsigned plan_l3(const PacketPlan *plan)
{
    return 14 + 4 * plan->tag_count;
}

static inline unsigned plan_l4(const PacketPlan *plan)
{
    return plan_l3(plan) + (plan->family == 4 ? 20 : 40) + plan->middle_bytes;
}

/* What is counted to the header of @proto; none for what we do not know. */
static inline unsigned plan_header_bytes(const PacketPlan *plan)
{
    switch (plan->proto) {
    case TEST_TCP:
        return 20 + plan->option_bytes;
    case TEST_UDP:
    case TEST_ICMP:
    case TEST_ICMP6:
        return 8;
    default:
        return 0;
    }
}

static inline unsigned plan_data(const PacketPlan *plan)
{
    return plan_l4(plan) + plan_header_bytes(plan);
}

/* Without the padding. */
static inline unsigned plan_end(const PacketPlan *plan)
{
    return plan_data(plan) + plan->data_bytes;
}

static inline void test_put16(uint8_t *p, unsigned v)
{
    p[0] = v >> 8;
    p[1] = v;
}

static inline void test_put32(uint8_t *p, uint32_t v)
{
    test_put16(p, v >> 16);
    test_put16(p + 2, v);
}

static inline unsigned test_get16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

static inline uint32_t test_get32(const uint8_t *p)
{
    return (uint32_t)test_get16(p) << 16 | test_get16(p + 2);
}

/* -------------------------------------------------------------- checksums */

static inline uint32_t reference_sum(uint32_t sum, const uint8_t *p,
                                     size_t size)
{
    size_t i;

    for (i = 0; i < size; i++) {
        sum += i & 1 ? p[i] : p[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* Of the pseudo header, addresses from the IP header at @l3. */
static inline uint32_t reference_pseudo(const uint8_t *eth, unsigned family,
                                        unsigned l3, uint8_t proto,
                                        uint32_t size)
{
    uint8_t tail[8] = { 0, 0, 0, 0, 0, 0, 0, proto };
    uint32_t sum;

    test_put32(tail, size);
    sum = family == 4 ? reference_sum(0, eth + l3 + 12, 8)
                      : reference_sum(0, eth + l3 + 8, 32);
    return reference_sum(sum, tail, sizeof(tail));
}

/* 0xffff when the checksum of @proto in [@l4, @end) is right. */
static inline uint32_t reference_l4_sum(const uint8_t *eth, unsigned family,
                                        unsigned l3, unsigned l4,
                                        uint8_t proto, unsigned end)
{
    uint32_t sum = proto == TEST_ICMP ? 0
        : reference_pseudo(eth, family, l3, proto, end - l4);

    return reference_sum(sum, eth + l4, end - l4);
}

/* ----------------------------------------------------------------- making */

static inline void plan_put_ethernet(const PacketPlan *plan, uint8_t *eth)
{
    static const uint8_t addresses[] = {
        0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x54, 0, 0xab, 0xcd, 0xef,
    };
    static const uint16_t kinds[] = { 0x8100, 0x88a8, 0x9100 };
    unsigned i;

    memcpy(eth, addresses, sizeof(addresses));
    for (i = 0; i < plan->tag_count; i++) {
        test_put16(eth + 12 + 4 * i, kinds[(plan->tag_count - 1 - i) % 3]);
        test_put16(eth + 14 + 4 * i, 0xa000 | (100 + i));
    }
    test_put16(eth + plan_l3(plan) - 2, plan->family == 4 ? 0x800 : 0x86dd);
}

static inline void plan_put_ip(const PacketPlan *plan, uint8_t *eth)
{
    uint8_t *ip = eth + plan_l3(plan);
    unsigned bytes = plan_end(plan) - plan_l3(plan), i;

    if (plan->family == 4) {
        ip[0] = 0x45 + plan->middle_bytes / 4;
        test_put16(ip + 2, bytes);
        test_put16(ip + 4, 0x1234);
        ip[8] = 64;
        ip[9] = plan->proto;
        test_put32(ip + 12, 0xc0000201);
        test_put32(ip + 16, 0xc6336402);
    } else {
        test_put32(ip, 0x60054321);
        test_put16(ip + 4, bytes - 40);
        ip[6] = plan->middle_bytes ? plan->middle_proto : plan->proto;
        ip[7] = 64;
        for (i = 8; i < 40; i++) {
            ip[i] = 0x20 + i;
        }
    }
    if (plan->middle_bytes) {
        memcpy(eth + plan_l4(plan) - plan->middle_bytes, plan->middle,
               plan->middle_bytes);
    }
    if (plan->family == 4) {
        test_put16(ip + 10, ~reference_sum(0, ip, 20 + plan->middle_bytes));
    }
}

static inline void plan_put_csum(const PacketPlan *plan, uint8_t *eth,
                                 unsigned offset)
{
    unsigned l4 = plan_l4(plan);
    uint32_t sum;

    test_put16(eth + l4 + offset, 0);
    sum = reference_l4_sum(eth, plan->family, plan_l3(plan), l4, plan->proto,
                           plan_end(plan));
    test_put16(eth + l4 + offset, ~sum);
}

static inline void plan_put_l4(const PacketPlan *plan, uint8_t *eth)
{
    uint8_t *l4 = eth + plan_l4(plan);

    switch (plan->proto) {
    case TEST_TCP:
        test_put16(l4, 0x1f90);
        test_put16(l4 + 2, 0xc001);
        test_put32(l4 + 4, 0xfffffff0);
        test_put32(l4 + 8, 0x80000001);
        l4[12] = (5 + plan->option_bytes / 4) << 4;
        l4[13] = plan->tcp_flags ? plan->tcp_flags : COLO_TCP_ACK;
        test_put16(l4 + 14, 0xfade);
        if (plan->option_bytes) {
            memcpy(l4 + 20, plan->options, plan->option_bytes);
        }
        plan_put_csum(plan, eth, 16);
        break;
    case TEST_UDP:
        test_put16(l4, 0x35);
        test_put16(l4 + 2, 0xd431);
        test_put16(l4 + 4, 8 + plan->data_bytes);
        plan_put_csum(plan, eth, 6);
        break;
    case TEST_ICMP:
    case TEST_ICMP6:
        l4[0] = plan->proto == TEST_ICMP ? 8 : 128;
        test_put32(l4 + 4, 0x77770001);
        plan_put_csum(plan, eth, 2);
        break;
    }
}

/* Freed by the caller; all checksums full and right. */
static inline GByteArray *plan_make(const PacketPlan *plan)
{
    GByteArray *a = g_byte_array_new();
    unsigned i;

    g_byte_array_set_size(a, plan_end(plan) + plan->padding_bytes);
    memset(a->data, 0, a->len);
    for (i = plan_data(plan); i < a->len; i++) {
        a->data[i] = i * 7 + (i >> 8);
    }
    plan_put_ethernet(plan, a->data);
    plan_put_ip(plan, a->data);
    plan_put_l4(plan, a->data);
    return a;
}

/* ------------------------------------------------------------------- vnet */

typedef struct VnetPlan {
    uint8_t flags, gso_type;
    uint16_t header_bytes, gso_size, csum_start, csum_offset;
} VnetPlan;

static inline void vnet_put(uint8_t *vnet, unsigned vnet_bytes,
                            const VnetPlan *v)
{
    const uint16_t words[] = { v->header_bytes, v->gso_size, v->csum_start,
                               v->csum_offset };
    unsigned i;

    memset(vnet, 0x11, vnet_bytes);     /* what the hash fields hold */
    vnet[0] = v->flags;
    vnet[1] = v->gso_type;
    for (i = 0; i < G_N_ELEMENTS(words); i++) {
        vnet[2 + 2 * i] = words[i];
        vnet[3 + 2 * i] = words[i] >> 8;
    }
}

/* The frame of @plan behind a vnet header; @v may be NULL with 0 bytes. */
static inline ColoNetFrame *plan_frame(const PacketPlan *plan,
                                       unsigned vnet_bytes, const VnetPlan *v)
{
    g_autoptr(GByteArray) a = plan_make(plan);
    ColoNetFrame *f = colo_net_frame_new(vnet_bytes, a->len);

    if (vnet_bytes) {
        vnet_put(f->data, vnet_bytes, v);
    }
    memcpy(colo_net_frame_eth(f), a->data, a->len);
    return f;
}

/* -------------------------------------------------------------- promises */

/* What the parser promises of any bytes. */
static inline void assert_view_inside(const ColoPacket *p, size_t size)
{
    uint32_t end = p->l3 + p->l3_bytes;

    g_assert(p->kind < COLO_PACKET__MAX && p->reject < COLO_REJECT__MAX);
    g_assert(p->tag_count <= 2 && p->tags[0] <= 4095 && p->tags[1] <= 4095);
    g_assert(end <= size && p->l4 <= end);
    g_assert(p->payload >= p->l4 && p->payload + p->payload_bytes <= end);
    g_assert((p->family == 4 || p->family == 6) == (p->kind > COLO_PACKET_ARP)
             || p->reject != COLO_REJECT_NONE);
    if (p->reject != COLO_REJECT_NONE) {
        g_assert(p->kind == COLO_PACKET_OPAQUE && p->payload_bytes == 0);
    }
    if (p->kind == COLO_PACKET_TCP) {
        g_assert(p->l4 + p->tcp_header_bytes == p->payload);
        g_assert(p->payload + p->payload_bytes == end);
        g_assert(p->has_timestamp == (p->tcp_timestamp != 0));
        g_assert(p->tcp_timestamp == 0 ||
                 (p->tcp_timestamp >= p->l4 + 22 &&
                  p->tcp_timestamp + 8u <= p->payload));
        g_assert((p->tcp_sack == 0) == (p->tcp_sack_count == 0));
        g_assert(p->tcp_sack == 0 ||
                 (p->tcp_sack >= p->l4 + 22 &&
                  p->tcp_sack + 8u * p->tcp_sack_count <= p->payload));
    } else {
        g_assert(p->tcp_timestamp == 0 && p->tcp_sack == 0);
    }
    g_assert(!p->gso || (p->gso_size > 0 && p->payload_bytes > p->gso_size));
}

/* Of a copy in a heap block of its exact size; vnet header or not. */
static inline ColoReject parse_exact(const void *bytes, size_t size,
                                     const void *vnet, size_t vnet_bytes,
                                     ColoPacket *p)
{
    g_autofree uint8_t *eth = g_malloc(MAX(size, 1));
    g_autofree uint8_t *header = vnet_bytes ? g_memdup2(vnet, vnet_bytes)
                                            : NULL;
    ColoReject reject;

    if (size) {
        memcpy(eth, bytes, size);
    }
    memset(p, 0xee, sizeof(*p));
    reject = colo_packet_parse(eth + (size ? 0 : 1), size, header, vnet_bytes,
                               p);
    g_assert_cmpint(reject, ==, p->reject);
    assert_view_inside(p, size);
    return reject;
}

#define assert_reject(reject, expected)                                     \
    g_assert_cmpstr(colo_reject_name(reject), ==, colo_reject_name(expected))

#define assert_kind(kind, expected)                                         \
    g_assert_cmpstr(colo_packet_kind_name(kind), ==,                        \
                    colo_packet_kind_name(expected))

#endif
