/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame parser where it is intricate: fragments, chains of extension
 * headers, TCP options, and what a vnet header may say of a frame.
 */
#include "packet-test.h"

static ColoReject parse(const GByteArray *a, ColoPacket *p)
{
    return parse_exact(a->data, a->len, NULL, 0, p);
}

/* --------------------------------------------------------------- fragments */

static const struct {
    uint32_t offset;
    bool more;
    unsigned bytes;
    ColoReject reject;
} parts[] = {
    { 0, true, 8, COLO_REJECT_NONE },
    { 0, true, 1480, COLO_REJECT_NONE },
    { 1480, true, 1480, COLO_REJECT_NONE },
    { 8, false, 1, COLO_REJECT_NONE },
    { 65528, false, 7, COLO_REJECT_NONE },
    { 65520, true, 8, COLO_REJECT_NONE },
    { 0, true, 0, COLO_REJECT_FRAGMENT },
    { 0, true, 9, COLO_REJECT_FRAGMENT },
    { 64, true, 12, COLO_REJECT_FRAGMENT },
    { 64, false, 0, COLO_REJECT_FRAGMENT },
    { 65528, false, 8, COLO_REJECT_FRAGMENT },
    { 65528, true, 8, COLO_REJECT_FRAGMENT },
    { 65528, true, 1480, COLO_REJECT_FRAGMENT },
};

static void check_part(const ColoPacket *p, unsigned i, unsigned l4)
{
    assert_reject(p->reject, parts[i].reject);
    if (parts[i].reject == COLO_REJECT_NONE) {
        assert_kind(p->kind, COLO_PACKET_FRAGMENT);
        g_assert_cmpuint(p->fragment_offset, ==, parts[i].offset);
        g_assert(p->fragment_more == parts[i].more);
        g_assert_cmpuint(p->l4, ==, l4);
        g_assert_cmpuint(p->payload, ==, l4);
        g_assert_cmpuint(p->payload_bytes, ==, parts[i].bytes);
        g_assert_cmpuint(p->ip_proto, ==, TEST_SCTP);
        g_assert(p->src_port == 0 && p->tcp_seq == 0);
    } else {
        g_assert(p->fragment_offset == 0 && p->fragment_id == 0);
        g_assert_cmpuint(p->ip_proto, ==, TEST_SCTP);
    }
}

static void test_fragments_ip4(void)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(parts); i++) {
        const PacketPlan plan = { 4, 1, .proto = TEST_SCTP,
                                  .data_bytes = parts[i].bytes,
                                  .padding_bytes = 5 };
        g_autoptr(GByteArray) a = plan_make(&plan);
        ColoPacket p;

        /* "do not fragment" is set as well; it does not matter */
        test_put16(a->data + plan_l3(&plan) + 6, 0x4000 |
                   (parts[i].more ? 0x2000 : 0) | parts[i].offset / 8);
        parse(a, &p);
        check_part(&p, i, plan_l4(&plan));
        g_assert_cmphex(p.fragment_id, ==, p.reject ? 0 : 0x1234);
    }
}

static void test_fragments_ip6(void)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(parts); i++) {
        /* destination options, then the fragment header */
        uint8_t middle[16] = { 44, 0, 1, 4, 0, 0, 0, 0, TEST_SCTP, 0xff };
        const PacketPlan plan = {
            6, 0, .proto = TEST_SCTP, .middle_proto = 60, .middle = middle,
            .middle_bytes = sizeof(middle), .data_bytes = parts[i].bytes,
            .padding_bytes = 5
        };
        g_autoptr(GByteArray) a = NULL;
        ColoPacket p;

        /* the reserved bits beside "more" do not matter */
        test_put16(middle + 10, parts[i].offset | 6 | parts[i].more);
        test_put32(middle + 12, 0xfeedbeef);
        a = plan_make(&plan);
        parse(a, &p);
        check_part(&p, i, plan_l4(&plan));
        g_assert_cmphex(p.fragment_id, ==, p.reject ? 0 : 0xfeedbeef);
    }
}

/* ---------------------------------------------------------- chains (IPv6) */

static void test_chain_depth(void)
{
    static const uint8_t kinds[] = { 0, 60, 43, 44 };
    uint8_t middle[12 * 8];
    unsigned count, i;

    for (count = 0; count <= 12; count++) {
        const PacketPlan plan = {
            6, 0, .proto = TEST_UDP, .middle_proto = kinds[0],
            .middle = middle, .middle_bytes = 8 * count, .data_bytes = 3
        };
        g_autoptr(GByteArray) a = NULL;
        ColoPacket p;

        memset(middle, 0, sizeof(middle));
        for (i = 0; i < count; i++) {
            middle[8 * i] = i + 1 < count ? kinds[(i + 1) % 4] : TEST_UDP;
        }
        a = plan_make(&plan);
        parse(a, &p);
        if (count <= 8) {
            assert_kind(p.kind, COLO_PACKET_UDP);
            g_assert_cmpuint(p.l4, ==, plan_l4(&plan));
            g_assert_cmpuint(p.payload_bytes, ==, 3);
        } else {
            assert_reject(p.reject, COLO_REJECT_IP_OPTION);
            g_assert_cmpuint(p.family, ==, 6);
        }
    }
}

/* Each header as long as it can be: the offsets still fit their fields. */
static void test_chain_longest(void)
{
    g_autofree uint8_t *middle = g_malloc0(8 * 2048);
    const PacketPlan plan = {
        6, 2, .proto = TEST_TCP, .middle_proto = 60, .middle = middle,
        .middle_bytes = 8 * 2048, .data_bytes = 40000
    };
    g_autoptr(GByteArray) a = NULL;
    ColoPacket p;
    unsigned i;

    for (i = 0; i < 8; i++) {
        middle[2048 * i] = i < 7 ? 60 : TEST_TCP;
        middle[2048 * i + 1] = 255;
    }
    a = plan_make(&plan);
    assert_reject(parse(a, &p), COLO_REJECT_NONE);
    assert_kind(p.kind, COLO_PACKET_TCP);
    g_assert_cmpuint(p.l4, ==, plan_l4(&plan));
    g_assert_cmpuint(p.payload_bytes, ==, 40000);
}

/* RFC 6946: a fragment header around a whole packet. */
static void test_atomic_fragment(void)
{
    const PacketPlan plan = {
        6, 0, .proto = TEST_TCP, .middle_proto = 44,
        .middle = "\6\0\0\0\1\2\3\4", .middle_bytes = 8, .data_bytes = 10
    };
    g_autoptr(GByteArray) a = plan_make(&plan);
    ColoPacket p;

    assert_reject(parse(a, &p), COLO_REJECT_NONE);
    assert_kind(p.kind, COLO_PACKET_TCP);
    g_assert_cmpuint(p.payload_bytes, ==, 10);
    g_assert(p.fragment_id == 0 && !p.fragment_more);
}

/* ------------------------------------------------------------- TCP options */

#define TEXT(text) text, sizeof(text) - 1
#define TS "\10\12ABCDEFGH"
#define SACK1 "\5\12abcdefgh"
#define SACK2 "\5\22abcdefghABCDEFGH"

/* Offsets are from the first option; the value's, 0 if not to be found. */
static const struct {
    const char *bytes;
    unsigned size, timestamp, sack, sack_count;
} options[] = {
    { TEXT(""), 0, 0, 0 },
    { TEXT("\1\1" TS), 4, 0, 0 },
    { TEXT(TS "\0\0"), 2, 0, 0 },
    { TEXT("\1" TS "\1"), 3, 0, 0 },
    { TEXT("\2\4\5\264\4\2" TS "\1\3\3\7"), 8, 0, 0 },
    { TEXT("\1\1" SACK1), 0, 4, 1 },
    { TEXT("\1" SACK2 "\1"), 0, 3, 2 },
    { TEXT("\1\1" TS "\1\1" SACK2), 4, 16, 2 },
    { TEXT("\1\1" TS SACK2 "\0\0"), 4, 14, 2 },
    { TEXT("\1\1" TS "\1" SACK2 "\1"), 4, 15, 2 },
    { TEXT(SACK2 "\1\1" TS "\1\1"), 22, 2, 2 },
    { TEXT("\1\1\5\42abcdefghijklmnopqrstuvwxyzabcdef"), 0, 4, 4 },
    /* nothing behind the end counts */
    { TEXT("\0\1" TS), 0, 0, 0 },
    { TEXT("\1\0\1\1" TS "\1\1"), 0, 0, 0 },
    /* of two the last */
    { TEXT("\1\1" TS "\1\1" TS), 16, 0, 0 },
    { TEXT(TS "\1\1\1\1" TS), 16, 0, 0 },
    { TEXT("\1\1" SACK1 "\1\1" SACK1), 0, 16, 1 },
    /* of another length than theirs: not these options */
    { TEXT("\10\4AB" "\10\14ABCDEFGHIJ"), 0, 0, 0 },
    { TEXT("\10\11ABCDEFG" "\1\1\1"), 0, 0, 0 },
    { TEXT("\5\2\1\1"), 0, 0, 0 },
    { TEXT("\5\11abcdefg\1\1\1"), 0, 0, 0 },
    { TEXT("\5\13abcdefghi\1"), 0, 0, 0 },
    { TEXT("\5\2\1\1" TS "\1\1"), 6, 0, 0 },
    /* lengths that make no sense end the search, what was found stays */
    { TEXT("\10\0ABCDEFGH\1\1"), 0, 0, 0 },
    { TEXT("\10\1ABCDEFGH\1\1"), 0, 0, 0 },
    { TEXT("\376\0\1\1" TS "\1\1"), 0, 0, 0 },
    { TEXT("\376\1\1\1" TS "\1\1"), 0, 0, 0 },
    { TEXT("\376\377\1\1" TS "\1\1"), 0, 0, 0 },
    { TEXT("\1\1\10\13ABCDEFGH"), 0, 0, 0 },
    { TEXT("\1\1\1\1\1\1\1\10"), 0, 0, 0 },
    { TEXT("\1\1\1\1\1\1\10\12"), 0, 0, 0 },
    { TEXT("\1\1\10\12"), 0, 0, 0 },
    { TEXT("\1\1\10\12ABCD"), 0, 0, 0 },
    { TEXT("\1\1" TS "\5\32abcdefghABCDEFGHABCDE\0"), 4, 0, 0 },
    { TEXT("\1\1" TS "\1\1\5\1"), 4, 0, 0 },
    { TEXT("\1\1" TS "\1\1\1\5"), 4, 0, 0 },
    { TEXT("\1\1" TS "\376\4\1\1" "\1\1" SACK1), 4, 20, 1 },
};

static void test_options(void)
{
    unsigned family, i;

    for (i = 0; i < G_N_ELEMENTS(options); i++) {
        for (family = 4; family <= 6; family += 2) {
            const PacketPlan plan = {
                family, 1, .proto = TEST_TCP, .options = options[i].bytes,
                .option_bytes = options[i].size,
            };
            g_autoptr(GByteArray) a = plan_make(&plan);
            unsigned first = plan_l4(&plan) + 20;
            ColoPacket p;

            g_test_message("case %u", i);
            g_assert_cmpuint(options[i].size % 4, ==, 0);
            assert_reject(parse(a, &p), COLO_REJECT_NONE);
            assert_kind(p.kind, COLO_PACKET_TCP);
            g_assert_cmpuint(p.tcp_timestamp, ==, options[i].timestamp ?
                             first + options[i].timestamp : 0);
            g_assert_cmpuint(p.tcp_sack, ==, options[i].sack ?
                             first + options[i].sack : 0);
            g_assert_cmpuint(p.tcp_sack_count, ==, options[i].sack_count);
        }
    }
}

/* -------------------------------------------------------------------- vnet */

static const PacketPlan tcp4 = { 4, 0, .proto = TEST_TCP, .data_bytes = 4000 };
static const PacketPlan tcp6 = { 6, 1, .proto = TEST_TCP, .data_bytes = 4000 };
static const PacketPlan udp4 = { 4, 0, .proto = TEST_UDP, .data_bytes = 4000 };
static const PacketPlan udp6 = { 6, 0, .proto = TEST_UDP, .data_bytes = 4000 };
static const PacketPlan full6 = { 6, 0, .proto = TEST_TCP,
                                  .data_bytes = 65515 };
static const PacketPlan icmp4 = { 4, 0, .proto = TEST_ICMP,
                                  .data_bytes = 100 };
static const PacketPlan sctp6 = { 6, 0, .proto = TEST_SCTP,
                                  .data_bytes = 100 };

enum { CSUM = TEST_VNET_CSUM, ECN = 0x80, REJECTED = -1, PLAIN = 0,
       PARTIAL = 1, GSO = 2 };

/* csum_start counts from where TCP or UDP begins. */
static const struct {
    const PacketPlan *plan;
    VnetPlan vnet;
    int expected;
} promises[] = {
    { &tcp4, { 0, 0, 0, 0, 0, 0 }, PLAIN },
    { &tcp4, { CSUM, 0, 0, 0, 0, 16 }, PARTIAL },
    { &tcp6, { CSUM, 0, 0, 0, 0, 16 }, PARTIAL },
    { &udp4, { CSUM, 0, 0, 0, 0, 6 }, PARTIAL },
    { &udp6, { CSUM, 0, 0, 0, 0, 6 }, PARTIAL },
    { &icmp4, { CSUM, 0, 0, 0, 0, 2 }, PARTIAL },
    { &sctp6, { CSUM, 0, 0, 0, 0, 8 }, PARTIAL },
    /* the last byte of the frame, and one more */
    { &icmp4, { CSUM, 0, 0, 0, 0, 106 }, PARTIAL },
    { &icmp4, { CSUM, 0, 0, 0, 0, 107 }, REJECTED },
    { &icmp4, { CSUM, 0, 0, 0, 107, 0 }, REJECTED },
    { &icmp4, { CSUM, 0, 0, 0, 0, 0xffff }, REJECTED },
    { &icmp4, { CSUM, 0, 0, 0, 0xffff - 34, 0xffff }, REJECTED },
    { &tcp4, { CSUM, 0, 0, 0, 0, 6 }, REJECTED },
    { &tcp4, { CSUM, 0, 0, 0, 0, 0 }, REJECTED },
    { &tcp4, { CSUM, 0, 0, 0, 20, 16 }, REJECTED },
    { &tcp4, { CSUM, 0, 0, 0, (uint16_t)-20, 16 }, REJECTED },
    { &udp4, { CSUM, 0, 0, 0, 0, 16 }, REJECTED },
    { &udp4, { CSUM, 0, 0, 0, (uint16_t)-2, 6 }, REJECTED },
    /* a tunnel: the partial checksum is one of the payload */
    { &udp4, { CSUM, 0, 0, 0, 58, 16 }, PLAIN },
    { &sctp6, { CSUM, 0, 0, 0, 28, 16 }, PLAIN },
    /* without the flag the offsets say nothing */
    { &tcp4, { 0, 0, 0, 0, 0xff00, 0xffff }, PLAIN },
    { &tcp4, { 2, 0, 0, 0, 0xff00, 0xffff }, PLAIN },
    /* segments; a header length is only a hint */
    { &tcp4, { CSUM, TEST_GSO_TCP4, 0, 1448, 0, 16 }, PARTIAL | GSO },
    { &tcp4, { CSUM, TEST_GSO_TCP4, 0xffff, 1, 0, 16 }, PARTIAL | GSO },
    { &tcp4, { CSUM, TEST_GSO_TCP4 | ECN, 0, 1448, 0, 16 }, PARTIAL | GSO },
    { &tcp6, { CSUM, TEST_GSO_TCP6, 0, 1428, 0, 16 }, PARTIAL | GSO },
    { &tcp6, { CSUM, TEST_GSO_TCP6 | ECN, 0, 1428, 0, 16 }, PARTIAL | GSO },
    { &udp4, { CSUM, TEST_GSO_UDP_L4, 0, 1200, 0, 6 }, PARTIAL | GSO },
    { &udp6, { CSUM, TEST_GSO_UDP_L4, 0, 1200, 0, 6 }, PARTIAL | GSO },
    { &tcp4, { 0, TEST_GSO_TCP4, 0, 1448, 0, 0 }, GSO },
    /* a single one: only just */
    { &tcp4, { CSUM, TEST_GSO_TCP4, 0, 3999, 0, 16 }, PARTIAL | GSO },
    { &tcp4, { CSUM, TEST_GSO_TCP4, 0, 4000, 0, 16 }, PARTIAL },
    { &tcp4, { CSUM, TEST_GSO_TCP4, 0, 0xffff, 0, 16 }, PARTIAL },
    { &full6, { CSUM, TEST_GSO_TCP6, 0, 0xffff, 0, 16 }, PARTIAL },
    { &full6, { CSUM, TEST_GSO_TCP6, 0, 65514, 0, 16 }, PARTIAL | GSO },
    /* fragments of one datagram are not datagrams */
    { &udp4, { CSUM, TEST_GSO_UDP, 0, 1200, 0, 6 }, PARTIAL },
    { &udp6, { CSUM, TEST_GSO_UDP, 0, 1200, 0, 6 }, PARTIAL },
    { &tcp4, { CSUM, TEST_GSO_TCP4, 0, 0, 0, 16 }, REJECTED },
    { &tcp4, { CSUM, TEST_GSO_TCP6, 0, 1448, 0, 16 }, REJECTED },
    { &tcp6, { CSUM, TEST_GSO_TCP4, 0, 1448, 0, 16 }, REJECTED },
    { &tcp4, { CSUM, TEST_GSO_UDP, 0, 1448, 0, 16 }, REJECTED },
    { &tcp4, { CSUM, TEST_GSO_UDP_L4, 0, 1448, 0, 16 }, REJECTED },
    { &udp4, { CSUM, TEST_GSO_TCP4, 0, 1448, 0, 6 }, REJECTED },
    { &udp4, { CSUM, TEST_GSO_UDP_L4 | ECN, 0, 1448, 0, 6 }, REJECTED },
    { &icmp4, { 0, TEST_GSO_TCP4, 0, 50, 0, 0 }, REJECTED },
    { &tcp4, { CSUM, 2, 0, 1448, 0, 16 }, REJECTED },
    { &tcp4, { CSUM, ECN, 0, 1448, 0, 16 }, REJECTED },
    { &tcp4, { CSUM, 0x21, 0, 1448, 0, 16 }, REJECTED },
    { &tcp4, { CSUM, 0xff, 0, 1448, 0, 16 }, REJECTED },
};

static void check_promise(unsigned i, unsigned vnet_bytes)
{
    const PacketPlan *plan = promises[i].plan;
    VnetPlan v = promises[i].vnet;
    g_autoptr(GByteArray) a = plan_make(plan);
    int expected = promises[i].expected;
    uint8_t vnet[32];
    ColoPacket p;

    v.csum_start += plan_l4(plan);
    vnet_put(vnet, vnet_bytes, &v);
    g_test_message("case %u, %u bytes", i, vnet_bytes);
    if (vnet_bytes != 10 && vnet_bytes != 12 && vnet_bytes != 20) {
        expected = PLAIN;
    }
    parse_exact(a->data, a->len, vnet, vnet_bytes, &p);
    if (expected == REJECTED) {
        assert_reject(p.reject, COLO_REJECT_VNET);
        g_assert(p.family == plan->family && p.l4 == 0);
        return;
    }
    assert_reject(p.reject, COLO_REJECT_NONE);
    g_assert_cmpuint(p.l4, ==, plan_l4(plan));
    g_assert(p.needs_csum == !!(expected & PARTIAL));
    g_assert(p.gso == !!(expected & GSO));
    g_assert_cmpuint(p.gso_size, ==, expected & GSO ? v.gso_size : 0);
}

static void test_vnet(void)
{
    static const unsigned sizes[] = { 10, 12, 20, 11, 16, 24 };
    unsigned i, k;

    for (i = 0; i < G_N_ELEMENTS(promises); i++) {
        for (k = 0; k < G_N_ELEMENTS(sizes); k++) {
            check_promise(i, sizes[k]);
        }
    }
}

/* Nothing is known of these, so only the frame bounds a checksum. */
static void test_vnet_opaque(void)
{
    static const struct {
        VnetPlan vnet;
        ColoReject reject;
    } cases[] = {
        { { CSUM, 0, 0, 0, 10, 2 }, COLO_REJECT_NONE },
        { { CSUM, 0, 0, 0, 0, 0 }, COLO_REJECT_NONE },
        { { CSUM, 0, 0, 0, 58, 0 }, COLO_REJECT_NONE },
        { { CSUM, 0, 0, 0, 58, 1 }, COLO_REJECT_VNET },
        { { 0, TEST_GSO_TCP4, 0, 5, 0, 0 }, COLO_REJECT_VNET },
        { { 0, TEST_GSO_UDP, 0, 5, 0, 0 }, COLO_REJECT_VNET },
    };
    static const uint16_t ethertypes[] = { 0x8847, 0x806, 0x800 };
    unsigned i, k;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (k = 0; k < G_N_ELEMENTS(ethertypes); k++) {
            const PacketPlan plan = { 4, 0, .proto = TEST_SCTP,
                                      .data_bytes = 26 };
            g_autoptr(GByteArray) a = plan_make(&plan);
            uint8_t vnet[12];
            ColoPacket p;

            test_put16(a->data + 12, ethertypes[k]);
            test_put16(a->data + 18, ethertypes[k] == 0x806 ? 0x604 : 0x1234);
            test_put16(a->data + 20, 0x2000);
            if (ethertypes[k] == 0x800) {
                test_put16(a->data + 16, 44);   /* 24 bytes: a fragment */
            }
            vnet_put(vnet, sizeof(vnet), &cases[i].vnet);
            assert_reject(parse_exact(a->data, a->len, vnet, sizeof(vnet),
                                      &p), cases[i].reject);
            g_assert(!p.needs_csum && !p.gso);
        }
    }
}

/* What the frame itself is rejected for is what is told. */
static void test_vnet_of_rejected(void)
{
    const VnetPlan v = { CSUM, TEST_GSO_TCP4, 0, 0, 0xffff, 0xffff };
    g_autoptr(GByteArray) a = plan_make(&tcp4);
    uint8_t vnet[10];
    ColoPacket p;

    vnet_put(vnet, sizeof(vnet), &v);
    assert_reject(parse_exact(a->data, a->len - 1, vnet, sizeof(vnet), &p),
                  COLO_REJECT_IP_LENGTH);
}

/* IPv4 length 0: all of the frame, if it is one for TCP segmentation. */
static void test_big_tcp(void)
{
    static const struct {
        uint8_t gso_type;
        uint8_t proto;
        unsigned data_bytes, gso_size;
        ColoReject reject;
    } cases[] = {
        { TEST_GSO_TCP4, TEST_TCP, 65540, 1448, COLO_REJECT_NONE },
        { TEST_GSO_TCP4 | ECN, TEST_TCP, 65540, 1448, COLO_REJECT_NONE },
        { TEST_GSO_TCP4, TEST_TCP, 2000, 1448, COLO_REJECT_NONE },
        { TEST_GSO_TCP4, TEST_UDP, 65540, 1448, COLO_REJECT_IP_HEADER },
        { TEST_GSO_TCP6, TEST_TCP, 65540, 1448, COLO_REJECT_IP_HEADER },
        { TEST_GSO_UDP_L4, TEST_TCP, 65540, 1448, COLO_REJECT_IP_HEADER },
        { 0, TEST_TCP, 65540, 1448, COLO_REJECT_IP_HEADER },
        /* its segments would be too long for IP */
        { TEST_GSO_TCP4, TEST_TCP, 65540, 65495, COLO_REJECT_NONE },
        { TEST_GSO_TCP4, TEST_TCP, 65540, 65496, COLO_REJECT_VNET },
        { TEST_GSO_TCP4, TEST_TCP, 65496, 65535, COLO_REJECT_VNET },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        const PacketPlan plan = { 4, 1, .proto = cases[i].proto,
                                  .data_bytes = cases[i].data_bytes };
        const VnetPlan v = { CSUM, cases[i].gso_type, 0, cases[i].gso_size,
                             plan_l4(&plan), 16 };
        g_autoptr(ColoNetFrame) f = plan_frame(&plan, 12, &v);
        ColoPacket p;

        test_put16(colo_net_frame_eth(f) + plan_l3(&plan) + 2, 0);
        assert_reject(colo_packet_parse_frame(f, &p), cases[i].reject);
        assert_view_inside(&p, f->size);
        g_assert(p.gso == (cases[i].reject == COLO_REJECT_NONE));
        g_assert_cmpuint(p.payload_bytes, ==,
                         p.gso ? cases[i].data_bytes : 0);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/packet-parts/fragments-ip4", test_fragments_ip4);
    g_test_add_func("/packet-parts/fragments-ip6", test_fragments_ip6);
    g_test_add_func("/packet-parts/chain-depth", test_chain_depth);
    g_test_add_func("/packet-parts/chain-longest", test_chain_longest);
    g_test_add_func("/packet-parts/atomic-fragment", test_atomic_fragment);
    g_test_add_func("/packet-parts/options", test_options);
    g_test_add_func("/packet-parts/vnet", test_vnet);
    g_test_add_func("/packet-parts/vnet-opaque", test_vnet_opaque);
    g_test_add_func("/packet-parts/vnet-of-rejected", test_vnet_of_rejected);
    g_test_add_func("/packet-parts/big-tcp", test_big_tcp);
    return g_test_run();
}
