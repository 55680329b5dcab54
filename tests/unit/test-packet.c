/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame parser: every protocol, every reason to reject, and frames cut
 * off at every byte. Fragments, extension headers, TCP options and vnet
 * headers are in test-packet-parts.c, changes in test-packet-edit.c.
 */
#include "packet-test.h"

#define TIMESTAMP "\1\1\10\12ABCDabcd"
#define SYN_OPTIONS "\2\4\5\264\4\2\10\12ABCDabcd\1\3\3\7"
#define IP4_OPTIONS "\224\4\0\0\1\1\1\0"
/* hop by hop with 8 bytes, destination options with 16, then TCP or UDP */
#define IP6_TO(proto) "\74\0\1\4\0\0\0\0" \
                      proto "\1\1\14\0\0\0\0\0\0\0\0\0\0\0\0"

#define LITERAL(text) .middle = text, .middle_bytes = sizeof(text) - 1
#define TCP_OPTIONS(text) .options = text, .option_bytes = sizeof(text) - 1

static const struct {
    PacketPlan plan;
    ColoPacketKind kind;
} plans[] = {
    { { 4, 0, .proto = TEST_TCP }, COLO_PACKET_TCP },
    { { 4, 0, .proto = TEST_TCP, .data_bytes = 700, TCP_OPTIONS(TIMESTAMP) },
      COLO_PACKET_TCP },
    { { 4, 1, .proto = TEST_TCP, .data_bytes = 5, TCP_OPTIONS(SYN_OPTIONS),
        .tcp_flags = COLO_TCP_SYN | COLO_TCP_ACK }, COLO_PACKET_TCP },
    { { 4, 2, .proto = TEST_TCP, .data_bytes = 9, LITERAL(IP4_OPTIONS),
        .tcp_flags = 0xff, TCP_OPTIONS(TIMESTAMP) }, COLO_PACKET_TCP },
    { { 4, 0, .proto = TEST_UDP }, COLO_PACKET_UDP },
    { { 4, 2, .proto = TEST_UDP, .data_bytes = 1400 }, COLO_PACKET_UDP },
    { { 4, 0, .proto = TEST_ICMP, .data_bytes = 56 }, COLO_PACKET_ICMP },
    { { 4, 0, .proto = TEST_ICMP }, COLO_PACKET_ICMP },
    { { 4, 1, .proto = TEST_SCTP, .data_bytes = 12 }, COLO_PACKET_IP },
    { { 4, 0, .proto = TEST_SCTP }, COLO_PACKET_IP },
    { { 4, 0, .proto = TEST_ICMP6, .data_bytes = 3 }, COLO_PACKET_IP },
    { { 4, 0, .proto = 51, .data_bytes = 40 }, COLO_PACKET_IP },
    { { 6, 0, .proto = TEST_TCP }, COLO_PACKET_TCP },
    { { 6, 0, .proto = TEST_TCP, .data_bytes = 1400, TCP_OPTIONS(TIMESTAMP) },
      COLO_PACKET_TCP },
    { { 6, 2, .proto = TEST_TCP, .data_bytes = 1, .middle_proto = 0,
        LITERAL(IP6_TO("\6")), TCP_OPTIONS(TIMESTAMP) }, COLO_PACKET_TCP },
    { { 6, 1, .proto = TEST_UDP, .data_bytes = 2 }, COLO_PACKET_UDP },
    { { 6, 0, .proto = TEST_UDP, .data_bytes = 100, .middle_proto = 0,
        LITERAL(IP6_TO("\21")) }, COLO_PACKET_UDP },
    { { 6, 0, .proto = TEST_ICMP6, .data_bytes = 24 }, COLO_PACKET_ICMP6 },
    { { 6, 0, .proto = TEST_ICMP6 }, COLO_PACKET_ICMP6 },
    { { 6, 0, .proto = TEST_ICMP, .data_bytes = 24 }, COLO_PACKET_IP },
    { { 6, 0, .proto = TEST_SCTP, .data_bytes = 12 }, COLO_PACKET_IP },
    /* what must not be changed or cannot be read is payload */
    { { 6, 0, .proto = 50, .data_bytes = 40 }, COLO_PACKET_IP },
    { { 6, 0, .proto = 51, .data_bytes = 40 }, COLO_PACKET_IP },
    { { 6, 0, .proto = 59 }, COLO_PACKET_IP },
};

/* ------------------------------------------------------------- good frames */

static void assert_layers(const ColoPacket *p, const PacketPlan *plan,
                          const uint8_t *eth)
{
    unsigned bytes = plan->family == 4 ? 4 : 16;
    const uint8_t *src = eth + plan_l3(plan) + (plan->family == 4 ? 12 : 8);
    static const uint8_t zero[16];
    unsigned i;

    g_assert_cmpuint(p->tag_count, ==, plan->tag_count);
    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(p->tags[i], ==, i < plan->tag_count ? 100 + i : 0);
    }
    g_assert_cmphex(p->ethertype, ==, plan->family == 4 ? 0x800 : 0x86dd);
    g_assert_cmpuint(p->family, ==, plan->family);
    g_assert_cmpuint(p->ip_proto, ==, plan->proto);
    g_assert_cmpuint(p->l3, ==, plan_l3(plan));
    g_assert_cmpuint(p->l3_bytes, ==, plan_end(plan) - plan_l3(plan));
    g_assert_cmpmem(p->src, bytes, src, bytes);
    g_assert_cmpmem(p->dst, bytes, src + bytes, bytes);
    g_assert_cmpmem(p->src + bytes, 16 - bytes, zero, 16 - bytes);
    g_assert_cmpmem(p->dst + bytes, 16 - bytes, zero, 16 - bytes);
}

static void assert_transport(const ColoPacket *p, const PacketPlan *plan)
{
    bool tcp = plan->proto == TEST_TCP, udp = plan->proto == TEST_UDP;

    g_assert_cmpuint(p->l4, ==, plan_l4(plan));
    g_assert_cmpuint(p->payload, ==, tcp || udp ? plan_data(plan)
                                                : plan_l4(plan));
    g_assert_cmpuint(p->payload + p->payload_bytes, ==, plan_end(plan));
    g_assert_cmphex(p->src_port, ==, tcp ? 0x1f90 : udp ? 0x35 : 0);
    g_assert_cmphex(p->dst_port, ==, tcp ? 0xc001 : udp ? 0xd431 : 0);
    g_assert_cmphex(p->tcp_seq, ==, tcp ? 0xfffffff0 : 0);
    g_assert_cmphex(p->tcp_ack, ==, tcp ? 0x80000001 : 0);
    g_assert_cmphex(p->tcp_window, ==, tcp ? 0xfade : 0);
    g_assert_cmphex(p->tcp_flags, ==, !tcp ? 0 : plan->tcp_flags ?
                    plan->tcp_flags : COLO_TCP_ACK);
    g_assert_cmpuint(p->tcp_header_bytes, ==,
                     tcp ? 20 + plan->option_bytes : 0);
    g_assert(p->has_timestamp == (plan->option_bytes > 0));
}

static void test_kinds(void)
{
    static const unsigned paddings[] = { 0, 1, 18, 200 };
    ColoPacket p;
    unsigned i, k;

    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        for (k = 0; k < G_N_ELEMENTS(paddings); k++) {
            PacketPlan plan = plans[i].plan;
            g_autoptr(GByteArray) a = NULL;

            plan.padding_bytes = paddings[k];
            a = plan_make(&plan);
            assert_reject(parse_exact(a->data, a->len, NULL, 0, &p),
                          COLO_REJECT_NONE);
            assert_kind(p.kind, plans[i].kind);
            assert_layers(&p, &plan, a->data);
            assert_transport(&p, &plan);
            g_assert(!p.needs_csum && !p.gso && !p.gso_size);
            g_assert(!p.fragment_more && !p.fragment_offset);
        }
    }
}

/* ---------------------------------------------------------- cut-off frames */

static ColoReject reject_when_cut(const PacketPlan *plan, unsigned size)
{
    if (size < 14) {
        return COLO_REJECT_ETH_SHORT;
    } else if (size < plan_l3(plan)) {
        return COLO_REJECT_TAG_SHORT;
    } else if (size < plan_l3(plan) + (plan->family == 4 ? 20 : 40)) {
        return COLO_REJECT_IP_SHORT;
    } else if (plan->family == 4 && size < plan_l4(plan)) {
        return COLO_REJECT_IP_SHORT;
    }
    return COLO_REJECT_IP_LENGTH;
}

static void test_cut_anywhere(void)
{
    ColoPacket p;
    unsigned i, size;

    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        g_autoptr(GByteArray) a = plan_make(&plans[i].plan);

        for (size = 0; size < a->len; size++) {
            assert_reject(parse_exact(a->data, size, NULL, 0, &p),
                          reject_when_cut(&plans[i].plan, size));
            g_assert(p.family == 0 && p.l3 == 0 && p.l3_bytes == 0);
            if (size >= plan_l3(&plans[i].plan)) {
                g_assert_cmpuint(p.tag_count, ==, plans[i].plan.tag_count);
                g_assert_cmphex(p.ethertype, !=, 0);
            }
        }
    }
}

/* The IP packet is cut off, and its header says so: the next layer fails. */
static void test_cut_inside_ip(void)
{
    ColoPacket p;
    unsigned i, bytes;

    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        const PacketPlan *plan = &plans[i].plan;
        g_autoptr(GByteArray) a = plan_make(plan);
        uint8_t *ip = a->data + plan_l3(plan);

        if (plan->middle_bytes || plan_header_bytes(plan) == 0 ||
            plans[i].kind == COLO_PACKET_IP) {
            continue;
        }
        for (bytes = 0; bytes < plan_header_bytes(plan); bytes++) {
            if (plan->family == 4) {
                test_put16(ip + 2, 20 + bytes);
            } else {
                test_put16(ip + 4, bytes);
            }
            assert_reject(parse_exact(a->data, plan_l4(plan) + bytes, NULL, 0,
                                      &p),
                          plan->proto == TEST_UDP ? COLO_REJECT_UDP_SHORT :
                          plan->proto != TEST_TCP ? COLO_REJECT_ICMP_SHORT :
                          bytes < 20 ? COLO_REJECT_TCP_SHORT
                                     : COLO_REJECT_TCP_HEADER);
            /* what IP says is still known */
            g_assert_cmpuint(p.family, ==, plan->family);
            g_assert_cmpuint(p.ip_proto, ==, plan->proto);
            g_assert_cmpuint(p.l3_bytes, ==, plan_l4(plan) + bytes - p.l3);
            g_assert(p.l4 == 0 && p.src_port == 0 && p.tcp_seq == 0);
        }
    }
}

/* ------------------------------------------------------- reasons to reject */

enum { AT_ETH, AT_L3, AT_L4 };

static const PacketPlan tcp4 = { 4, 0, .proto = TEST_TCP, .data_bytes = 40 };
static const PacketPlan tcp6 = { 6, 0, .proto = TEST_TCP, .data_bytes = 40 };
static const PacketPlan udp4 = { 4, 0, .proto = TEST_UDP, .data_bytes = 40 };
static const PacketPlan udp6 = { 6, 0, .proto = TEST_UDP, .data_bytes = 40 };
static const PacketPlan icmp4 = { 4, 0, .proto = TEST_ICMP, .data_bytes = 40 };
static const PacketPlan tags3 = { 4, 3, .proto = TEST_TCP };
static const PacketPlan tags2 = { 4, 2, .proto = TEST_TCP };
static const PacketPlan options4 = { 4, 0, .proto = TEST_TCP,
                                     LITERAL(IP4_OPTIONS) };
static const PacketPlan chain6 = { 6, 0, .proto = TEST_TCP, .middle_proto = 0,
                                   LITERAL(IP6_TO("\6")) };

/* A good frame with one change of two bytes, and perhaps cut. */
static const struct {
    const PacketPlan *plan;
    unsigned layer, offset, value, size;
    ColoReject reject;
} damages[] = {
    { &tcp4, AT_ETH, 12, 0x0800, 0, COLO_REJECT_NONE },
    { &tcp4, AT_ETH, 12, 0x0800, 13, COLO_REJECT_ETH_SHORT },
    { &tags2, AT_ETH, 12, 0x8100, 17, COLO_REJECT_TAG_SHORT },
    { &tags2, AT_ETH, 16, 0x88a8, 21, COLO_REJECT_TAG_SHORT },
    { &tags3, AT_ETH, 12, 0x8100, 0, COLO_REJECT_TAG_DEEP },
    { &tags2, AT_ETH, 20, 0x88a8, 0, COLO_REJECT_TAG_DEEP },
    { &tags2, AT_ETH, 20, 0x9100, 22, COLO_REJECT_TAG_DEEP },
    { &tcp4, AT_ETH, 12, 0x0806, 41, COLO_REJECT_ARP_SHORT },
    { &tcp4, AT_ETH, 12, 0x0806, 21, COLO_REJECT_ARP_SHORT },
    { &tcp4, AT_L3, 8, 0x4006, 33, COLO_REJECT_IP_SHORT },
    { &tcp4, AT_L3, 0, 0x5500, 0, COLO_REJECT_IP_VERSION },
    { &tcp4, AT_L3, 0, 0x6500, 0, COLO_REJECT_IP_VERSION },
    { &tcp6, AT_L3, 0, 0x4500, 0, COLO_REJECT_IP_VERSION },
    { &tcp4, AT_ETH, 12, 0x86dd, 0, COLO_REJECT_IP_VERSION },
    { &tcp4, AT_L3, 0, 0x4000, 0, COLO_REJECT_IP_HEADER },
    { &tcp4, AT_L3, 0, 0x4400, 0, COLO_REJECT_IP_HEADER },
    { &tcp4, AT_L3, 2, 0, 0, COLO_REJECT_IP_HEADER },
    { &tcp4, AT_L3, 2, 19, 0, COLO_REJECT_IP_HEADER },
    { &options4, AT_L3, 2, 27, 0, COLO_REJECT_IP_HEADER },
    { &options4, AT_L3, 2, 28, 0, COLO_REJECT_TCP_SHORT },
    { &options4, AT_L3, 8, 0x4006, 41, COLO_REJECT_IP_SHORT },
    { &tcp4, AT_L3, 2, 81, 0, COLO_REJECT_IP_LENGTH },
    { &tcp4, AT_L3, 2, 0xffff, 0, COLO_REJECT_IP_LENGTH },
    { &tcp6, AT_L3, 4, 61, 0, COLO_REJECT_IP_LENGTH },
    { &tcp6, AT_L3, 4, 0xffff, 0, COLO_REJECT_IP_LENGTH },
    { &tcp6, AT_L3, 4, 0, 0, COLO_REJECT_TCP_SHORT },
    { &tcp6, AT_L3, 6, 0x0040, 0, COLO_REJECT_IP_OPTION },
    { &chain6, AT_L3, 4, 7, 0, COLO_REJECT_IP_OPTION },
    { &chain6, AT_L3, 4, 8, 0, COLO_REJECT_IP_OPTION },
    { &chain6, AT_L3, 4, 16, 0, COLO_REJECT_IP_OPTION },
    { &chain6, AT_L3, 4, 23, 0, COLO_REJECT_IP_OPTION },
    { &chain6, AT_L3, 4, 24, 0, COLO_REJECT_TCP_SHORT },
    { &chain6, AT_L3, 48, 0x06ff, 0, COLO_REJECT_IP_OPTION },
    { &tcp4, AT_L3, 2, 39, 0, COLO_REJECT_TCP_SHORT },
    { &tcp4, AT_L4, 12, 0x4010, 0, COLO_REJECT_TCP_HEADER },
    { &tcp4, AT_L4, 12, 0x0010, 0, COLO_REJECT_TCP_HEADER },
    { &tcp4, AT_L4, 12, 0xf010, 0, COLO_REJECT_NONE },
    { &tags2, AT_L4, 12, 0x6010, 0, COLO_REJECT_TCP_HEADER },
    { &udp4, AT_L3, 2, 27, 0, COLO_REJECT_UDP_SHORT },
    { &udp4, AT_L4, 4, 0, 0, COLO_REJECT_UDP_LENGTH },
    { &udp4, AT_L4, 4, 7, 0, COLO_REJECT_UDP_LENGTH },
    { &udp4, AT_L4, 4, 49, 0, COLO_REJECT_UDP_LENGTH },
    { &udp6, AT_L4, 4, 49, 0, COLO_REJECT_UDP_LENGTH },
    { &udp4, AT_L4, 4, 8, 0, COLO_REJECT_NONE },
    { &icmp4, AT_L3, 2, 27, 0, COLO_REJECT_ICMP_SHORT },
    { &icmp4, AT_L3, 6, 0x2000, 0, COLO_REJECT_NONE },
    { &icmp4, AT_L3, 6, 0x3fff, 0, COLO_REJECT_FRAGMENT },
};

static void test_damage(void)
{
    uint32_t met = 0;
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(damages); i++) {
        const PacketPlan *plan = damages[i].plan;
        g_autoptr(GByteArray) a = plan_make(plan);
        const unsigned layers[] = { 0, plan_l3(plan), plan_l4(plan) };
        unsigned at = layers[damages[i].layer] + damages[i].offset;
        ColoPacket p;

        test_put16(a->data + at, damages[i].value);
        if (damages[i].size) {
            g_byte_array_set_size(a, damages[i].size);
        }
        g_test_message("case %u", i);
        assert_reject(parse_exact(a->data, a->len, NULL, 0, &p),
                      damages[i].reject);
        met |= 1u << p.reject;
    }
    /* every reason, but for the one that needs a vnet header */
    g_assert_cmphex(met | 1u << COLO_REJECT_VNET, ==,
                    (1u << COLO_REJECT__MAX) - 1);
}

/* A UDP length less than IP's leaves bytes behind; they are sent as well. */
static void test_udp_surplus(void)
{
    g_autoptr(GByteArray) a = plan_make(&udp4);
    ColoPacket p;

    test_put16(a->data + plan_l4(&udp4) + 4, 18);
    assert_reject(parse_exact(a->data, a->len, NULL, 0, &p),
                  COLO_REJECT_NONE);
    g_assert_cmpuint(p.payload_bytes, ==, 40);
}

/* --------------------------------------------------------- other ethertypes */

static void test_not_ip(void)
{
    /* an STP frame's length, the largest length, the smallest type, others */
    static const uint16_t types[] = { 38, 0x5dc, 0x5ff, 0x600, 0x8847,
                                      0x88cc, 0x8864, 0xffff, 0 };
    unsigned i, tags;
    ColoPacket p;

    for (tags = 0; tags <= 2; tags++) {
        for (i = 0; i < G_N_ELEMENTS(types); i++) {
            const PacketPlan plan = { 4, tags, TEST_TCP, .data_bytes = 6 };
            g_autoptr(GByteArray) a = plan_make(&plan);

            test_put16(a->data + plan_l3(&plan) - 2, types[i]);
            assert_reject(parse_exact(a->data, a->len, NULL, 0, &p),
                          COLO_REJECT_NONE);
            assert_kind(p.kind, COLO_PACKET_OPAQUE);
            g_assert_cmphex(p.ethertype, ==, types[i]);
            g_assert_cmpuint(p.tag_count, ==, tags);
            g_assert(p.l3 == 0 && p.l4 == 0 && p.payload == 0);
            /* the header alone is a frame too */
            assert_reject(parse_exact(a->data, plan_l3(&plan), NULL, 0, &p),
                          COLO_REJECT_NONE);
        }
    }
}

static void test_tag_ids(void)
{
    const PacketPlan plan = { 4, 2, .proto = TEST_TCP };
    g_autoptr(GByteArray) a = plan_make(&plan);
    ColoPacket p;

    test_put16(a->data + 14, 0xffff);
    test_put16(a->data + 18, 0xe000);   /* only a priority */
    assert_reject(parse_exact(a->data, a->len, NULL, 0, &p),
                  COLO_REJECT_NONE);
    g_assert_cmpuint(p.tag_count, ==, 2);
    g_assert_cmpuint(p.tags[0], ==, 4095);
    g_assert_cmpuint(p.tags[1], ==, 0);
    assert_kind(p.kind, COLO_PACKET_TCP);
}

static void test_arp(void)
{
    static const struct {
        uint8_t hardware_bytes, protocol_bytes;
        unsigned size, bytes;   /* 0: rejected */
    } cases[] = {
        { 6, 4, 28, 28 }, { 6, 4, 46, 28 }, { 6, 4, 27, 0 }, { 6, 4, 8, 0 },
        { 6, 4, 7, 0 }, { 6, 4, 0, 0 }, { 0, 0, 8, 8 }, { 20, 4, 56, 56 },
        { 20, 4, 55, 0 }, { 255, 255, 1028, 1028 }, { 255, 255, 1027, 0 },
    };
    unsigned i, tags;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (tags = 0; tags <= 2; tags++) {
            const PacketPlan plan = { 4, tags, TEST_SCTP,
                                      .data_bytes = 1100 };
            g_autoptr(GByteArray) a = plan_make(&plan);
            unsigned l3 = plan_l3(&plan);
            ColoPacket p;

            test_put16(a->data + l3 - 2, 0x806);
            a->data[l3 + 4] = cases[i].hardware_bytes;
            a->data[l3 + 5] = cases[i].protocol_bytes;
            assert_reject(parse_exact(a->data, l3 + cases[i].size, NULL, 0,
                                      &p),
                          cases[i].bytes ? COLO_REJECT_NONE
                                         : COLO_REJECT_ARP_SHORT);
            assert_kind(p.kind, cases[i].bytes ? COLO_PACKET_ARP
                                               : COLO_PACKET_OPAQUE);
            g_assert_cmpuint(p.payload_bytes, ==, cases[i].bytes);
            g_assert_cmpuint(p.l3_bytes, ==, cases[i].bytes);
            g_assert_cmpuint(p.l4, ==, cases[i].bytes ? l3 : 0);
            g_assert_cmpuint(p.family, ==, 0);
        }
    }
}

/* ------------------------------------------------------ names and the frame */

static void test_names(void)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    int i;

    for (i = 0; i < COLO_PACKET__MAX; i++) {
        g_assert_nonnull(colo_packet_kind_name(i));
        g_assert(g_hash_table_add(names, (char *)colo_packet_kind_name(i)));
    }
    g_hash_table_remove_all(names);
    for (i = 0; i < COLO_REJECT__MAX; i++) {
        g_assert_nonnull(colo_reject_name(i));
        g_assert(g_hash_table_add(names, (char *)colo_reject_name(i)));
    }
    g_assert_cmpstr(colo_packet_kind_name(COLO_PACKET_TCP), ==, "tcp");
    g_assert_cmpstr(colo_reject_name(COLO_REJECT_IP_LENGTH), ==, "ip-length");
    g_assert_cmpstr(colo_packet_kind_name(COLO_PACKET__MAX), ==, "unknown");
    g_assert_cmpstr(colo_reject_name(COLO_REJECT__MAX), ==, "unknown");
}

static void test_frame(void)
{
    ColoNetFrame *f = colo_net_frame_copy("hhhhhhhhhheeee", 14, 10);
    ColoNetFrame *empty = colo_net_frame_copy("", 0, 0);

    g_assert_cmpuint(f->size, ==, 4);
    g_assert_cmpuint(f->vnet_bytes, ==, 10);
    g_assert(f->flags == 0 && f->next == NULL);
    g_assert_cmpmem(colo_net_frame_eth(f), f->size, "eeee", 4);
    g_assert_cmpmem(f->data, 10, "hhhhhhhhhh", 10);
    g_assert(empty->size == 0 && empty->vnet_bytes == 0);
    f->next = empty;
    empty->next = colo_net_frame_new(12, COLO_PACKET_MAX_BYTES);
    memset(empty->next->data, 1, 12 + COLO_PACKET_MAX_BYTES);
    colo_net_frame_free_list(f);
    colo_net_frame_free_list(NULL);
    colo_net_frame_free(NULL);
}

static void test_sequence(void)
{
    g_assert_cmpint(colo_seq_diff(5, 3), ==, 2);
    g_assert_cmpint(colo_seq_diff(3, 0xfffffffe), ==, 5);
    g_assert_cmpint(colo_seq_diff(0xfffffffe, 3), ==, -5);
    g_assert(colo_seq_before(0xffffffff, 0));
    g_assert(colo_seq_before(0x7fffffff, 0x80000000));
    g_assert(!colo_seq_before(0, 0xffffffff));
    g_assert(!colo_seq_before(9, 9));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/packet/kinds", test_kinds);
    g_test_add_func("/packet/cut-anywhere", test_cut_anywhere);
    g_test_add_func("/packet/cut-inside-ip", test_cut_inside_ip);
    g_test_add_func("/packet/damage", test_damage);
    g_test_add_func("/packet/udp-surplus", test_udp_surplus);
    g_test_add_func("/packet/not-ip", test_not_ip);
    g_test_add_func("/packet/tag-ids", test_tag_ids);
    g_test_add_func("/packet/arp", test_arp);
    g_test_add_func("/packet/names", test_names);
    g_test_add_func("/packet/frame", test_frame);
    g_test_add_func("/packet/sequence", test_sequence);
    return g_test_run();
}
