/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes to TCP frames: each is checked against checksums computed anew
 * over all bytes, and against a copy of the frame for bytes that had to stay.
 */
#include "packet-test.h"

#define TIMESTAMP "\10\12\200\0\0\1\377\376\375\374"
#define SACK "\5\22\0\0\0\1\377\377\377\377\200\0\0\0\177\1\2\3"
#define OPTIONS(text) .options = text, .option_bytes = sizeof(text) - 1
#define ROUTING "\6\2\4\1\0\0\0\0\x20\1\x0d\270\0\0\0\0\0\0\0\0\0\0\0\x99"

/* Options at even and odd places, behind headers of every kind. */
static const PacketPlan plans[] = {
    { 4, 0, .proto = TEST_TCP },
    { 4, 0, .proto = TEST_TCP, .data_bytes = 1 },
    { 4, 0, .proto = TEST_TCP, .data_bytes = 6, .padding_bytes = 0 },
    { 4, 0, .proto = TEST_TCP, .data_bytes = 1448,
      OPTIONS("\1\1" TIMESTAMP) },
    { 4, 1, .proto = TEST_TCP, .data_bytes = 7, .padding_bytes = 9,
      OPTIONS("\1" TIMESTAMP "\1"), .tcp_flags = 0xff },
    { 4, 2, .proto = TEST_TCP, .data_bytes = 33,
      .middle = "\224\4\0\0", .middle_bytes = 4,
      OPTIONS("\1\1" TIMESTAMP "\1" SACK "\1") },
    { 6, 0, .proto = TEST_TCP, .data_bytes = 1428,
      OPTIONS("\1\1" TIMESTAMP "\1\1" SACK) },
    { 6, 1, .proto = TEST_TCP, .data_bytes = 255, .padding_bytes = 3,
      OPTIONS("\1" TIMESTAMP SACK "\1\1\1"), .tcp_flags = 0x19 },
    { 6, 0, .proto = TEST_TCP, .data_bytes = 12, .middle_proto = 60,
      .middle = "\6\0\1\4\0\0\0\0", .middle_bytes = 8,
      OPTIONS(TIMESTAMP "\1\1"), .tcp_flags = COLO_TCP_ACK | COLO_TCP_FIN },
};

static uint32_t full_sum(const uint8_t *eth, const ColoPacket *p)
{
    return reference_l4_sum(eth, p->family, p->l3, p->l4, TEST_TCP,
                            p->l3 + p->l3_bytes);
}

static uint32_t partial_sum(const uint8_t *eth, const ColoPacket *p)
{
    return reference_pseudo(eth, p->family, p->l3, TEST_TCP,
                            p->l3 + p->l3_bytes - p->l4);
}

static void assert_csums(const uint8_t *eth, const ColoPacket *p)
{
    if (p->needs_csum) {
        g_assert_cmphex(test_get16(eth + p->l4 + 16), ==,
                        partial_sum(eth, p));
    } else {
        g_assert_cmphex(full_sum(eth, p), ==, 0xffff);
        g_assert_cmphex(test_get16(eth + p->l4 + 16), !=, 0xffff);
    }
    if (p->family == 4) {
        g_assert_cmphex(reference_sum(0, eth + p->l3, p->l4 - p->l3), ==,
                        0xffff);
    }
}

/* The view says what a fresh look at the frame says. */
static void assert_view_fresh(const ColoNetFrame *f, const ColoPacket *p)
{
    ColoPacket again;

    assert_reject(colo_packet_parse_frame(f, &again), COLO_REJECT_NONE);
    assert_view_inside(&again, f->size);
    g_assert_cmpmem(p, sizeof(*p), &again, sizeof(again));
}

/* A frame whose checksum is left to the device, if there is a vnet header. */
static ColoNetFrame *make_frame(const PacketPlan *plan, unsigned vnet_bytes,
                                uint8_t gso_type, uint16_t gso_size)
{
    const VnetPlan v = {
        .flags = TEST_VNET_CSUM, .gso_type = gso_type,
        .header_bytes = gso_type ? plan_data(plan) : 0,
        .gso_size = gso_size, .csum_start = plan_l4(plan), .csum_offset = 16,
    };
    ColoNetFrame *f = plan_frame(plan, vnet_bytes, &v);
    uint8_t *eth = colo_net_frame_eth(f);

    if (vnet_bytes) {
        test_put16(eth + plan_l4(plan) + 16,
                   reference_pseudo(eth, plan->family, plan_l3(plan),
                                    TEST_TCP, plan_end(plan) - plan_l4(plan)));
    }
    return f;
}

static ColoNetFrame *copy_frame(const ColoNetFrame *f)
{
    return colo_net_frame_copy(f->data, f->size + f->vnet_bytes,
                               f->vnet_bytes);
}

/* ------------------------------------------------------------------ fields */

enum { SEQ, ACK, WINDOW, TSVAL, TSECR, FIELDS };

/* Where field @which is; 0 if the frame has none. */
static unsigned place_of(unsigned which, const ColoPacket *p)
{
    const unsigned places[FIELDS] = {
        p->l4 + 4, p->l4 + 8, p->l4 + 14, p->tcp_timestamp,
        p->has_timestamp ? p->tcp_timestamp + 4 : 0
    };

    return places[which];
}

static void set_field(unsigned which, uint8_t *eth, ColoPacket *p,
                      uint32_t value)
{
    switch (which) {
    case SEQ:
        colo_packet_set_seq(eth, p, value);
        break;
    case ACK:
        colo_packet_set_ack(eth, p, value);
        break;
    case WINDOW:
        colo_packet_set_window(eth, p, value);
        break;
    default:
        colo_packet_set_timestamp(eth, p, which - TSVAL, value);
        g_assert_cmphex(colo_packet_timestamp(eth, p, which - TSVAL), ==,
                        value);
        break;
    }
}

static void check_field(ColoNetFrame *f, unsigned which, uint32_t value)
{
    g_autoptr(ColoNetFrame) expected = copy_frame(f);
    uint8_t *eth = colo_net_frame_eth(f);
    uint8_t *plain = colo_net_frame_eth(expected);
    ColoPacket p;
    unsigned at;

    colo_packet_parse_frame(f, &p);
    at = place_of(which, &p);
    if (at == 0) {
        return;
    }
    set_field(which, eth, &p, value);
    if (which == WINDOW) {
        test_put16(plain + at, value);
    } else {
        test_put32(plain + at, value);
    }
    if (!p.needs_csum) {
        memcpy(plain + p.l4 + 16, eth + p.l4 + 16, 2);
    }
    g_assert_cmpmem(f->data, f->vnet_bytes + f->size, expected->data,
                    expected->vnet_bytes + expected->size);
    assert_csums(eth, &p);
    assert_view_fresh(f, &p);
}

/* Values which carry, which do not, and which sum up to nothing. */
static void test_fields(void)
{
    static const uint32_t values[] = {
        0, 1, 0xffff, 0x10000, 0xffff0000, 0xffffffff, 0x7fffffff,
        0x80000000, 0x00ff00ff, 0xff00ff00, 0x12345678, 0xfffffff0,
    };
    unsigned i, k, which, vnet_bytes;

    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        for (vnet_bytes = 0; vnet_bytes <= 10; vnet_bytes += 10) {
            g_autoptr(ColoNetFrame) f = make_frame(&plans[i], vnet_bytes, 0,
                                                   0);

            for (k = 0; k < G_N_ELEMENTS(values) * FIELDS; k++) {
                which = k % FIELDS;
                check_field(f, which, values[k / FIELDS]);
            }
        }
    }
}

static void test_fields_at_random(void)
{
    unsigned i, k, vnet_bytes;

    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        for (vnet_bytes = 0; vnet_bytes <= 12; vnet_bytes += 12) {
            g_autoptr(ColoNetFrame) f = make_frame(&plans[i], vnet_bytes, 0,
                                                   0);

            for (k = 0; k < 500; k++) {
                check_field(f, g_test_rand_int_range(0, FIELDS),
                            g_test_rand_int());
            }
        }
    }
}

/* A frame that was wrong when the guest sent it is wrong by as much. */
static void test_wrong_stays_wrong(void)
{
    unsigned i, which;

    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        for (which = 0; which < FIELDS; which++) {
            g_autoptr(ColoNetFrame) f = make_frame(&plans[i], 0, 0, 0);
            uint8_t *eth = colo_net_frame_eth(f);
            uint32_t wrong;
            ColoPacket p;

            colo_packet_parse_frame(f, &p);
            eth[p.l4 + 17] ^= 0x40;
            wrong = full_sum(eth, &p);
            g_assert_cmphex(wrong, !=, 0xffff);
            if (place_of(which, &p)) {
                set_field(which, eth, &p, 0xdecade00 + i);
                g_assert_cmphex(full_sum(eth, &p), ==, wrong);
            }
        }
    }
}

static void check_sack(const PacketPlan *plan, unsigned vnet_bytes,
                       uint32_t delta)
{
    g_autoptr(ColoNetFrame) f = make_frame(plan, vnet_bytes, 0, 0);
    g_autoptr(ColoNetFrame) before = copy_frame(f);
    uint8_t *eth = colo_net_frame_eth(f);
    uint8_t *plain = colo_net_frame_eth(before);
    ColoPacket p;
    unsigned i;

    colo_packet_parse_frame(f, &p);
    colo_packet_shift_sack(eth, &p, delta);
    assert_csums(eth, &p);
    assert_view_fresh(f, &p);
    for (i = 0; i < 2u * p.tcp_sack_count; i++) {
        uint8_t *edge = plain + p.tcp_sack + 4 * i;

        test_put32(edge, test_get32(edge) + delta);
    }
    memcpy(plain + p.l4 + 16, eth + p.l4 + 16, 2);
    g_assert_cmpmem(eth, f->size, plain, before->size);
}

static void test_sack(void)
{
    static const uint32_t deltas[] = { 0, 1, 0xffffffff, 0x80000000, 0xff,
                                       0x10000, 0xfedcba98 };
    unsigned i, k, found = 0;

    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        ColoPacket p;
        g_autoptr(ColoNetFrame) f = make_frame(&plans[i], 0, 0, 0);

        colo_packet_parse_frame(f, &p);
        found += p.tcp_sack_count;
        for (k = 0; k < G_N_ELEMENTS(deltas); k++) {
            check_sack(&plans[i], 0, deltas[k]);
            check_sack(&plans[i], 20, deltas[k]);
        }
    }
    g_assert_cmpuint(found, ==, 6);
}

/* ---------------------------------------------------------------- trimming */

/* What @out has to be: @f cut to @keep, with these numbers. */
static void check_trimmed(const ColoNetFrame *f, const ColoPacket *p,
                          uint32_t keep, uint32_t seq, uint32_t ack,
                          int32_t window)
{
    uint32_t kept = MIN(keep, p->payload_bytes);
    bool dropped = kept < p->payload_bytes;
    unsigned gone = dropped ? COLO_TCP_FIN | COLO_TCP_PSH : 0;
    g_autoptr(ColoNetFrame) before = copy_frame(f);
    g_autoptr(ColoNetFrame) out = colo_packet_trimmed(f, p, keep, seq, ack,
                                                      window);
    const uint8_t *eth = colo_net_frame_eth(out);
    const uint8_t *old = f->data + f->vnet_bytes;
    ColoPacket q;

    g_assert_cmpuint(out->size, ==, p->payload + kept);
    g_assert_cmpuint(out->vnet_bytes, ==, f->vnet_bytes);
    g_assert(out->next == NULL && out->flags == 0);
    assert_reject(colo_packet_parse_frame(out, &q), COLO_REJECT_NONE);
    assert_view_inside(&q, out->size);
    assert_kind(q.kind, COLO_PACKET_TCP);
    g_assert_cmpuint(q.payload_bytes, ==, kept);
    g_assert_cmphex(q.tcp_seq, ==, seq);
    g_assert_cmphex(q.tcp_ack, ==, ack);
    g_assert_cmphex(q.tcp_window, ==, window < 0 ? p->tcp_window : window);
    g_assert_cmphex(q.tcp_flags, ==, p->tcp_flags & ~gone);
    g_assert(q.needs_csum == p->needs_csum);
    assert_csums(eth, &q);
    /* all else is the same, and the frame that it was made of as well */
    g_assert_cmpmem(eth, p->l3, old, p->l3);
    g_assert_cmpmem(eth + p->l4 + 18, p->payload + kept - p->l4 - 18,
                    old + p->l4 + 18, p->payload + kept - p->l4 - 18);
    g_assert_cmpmem(f->data, f->vnet_bytes + f->size, before->data,
                    before->vnet_bytes + before->size);
}

static void test_trimmed(void)
{
    static const unsigned vnet_sizes[] = { 0, 10, 12, 20 };
    unsigned i, k;

    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        for (k = 0; k < G_N_ELEMENTS(vnet_sizes); k++) {
            g_autoptr(ColoNetFrame) f = make_frame(&plans[i], vnet_sizes[k],
                                                   0, 0);
            ColoPacket p;
            uint32_t keep;

            colo_packet_parse_frame(f, &p);
            for (keep = 0; keep <= p.payload_bytes + 2;
                 keep += 1 + keep / 9) {
                check_trimmed(f, &p, keep, p.tcp_seq, p.tcp_ack, -1);
                check_trimmed(f, &p, keep, keep * 0x9e3779b9u, ~p.tcp_ack,
                              keep & 0xffff);
            }
            check_trimmed(f, &p, UINT32_MAX, 0, 0xffffffff, 0xffff);
            check_trimmed(f, &p, p.payload_bytes, 0, 0, 0);
        }
    }
}

/* ---------------------------------------------------- parts of a segment */

static void check_part(const ColoNetFrame *f, const ColoPacket *p,
                       uint32_t from, uint32_t keep, uint8_t flags)
{
    uint32_t first = MIN(from, p->payload_bytes);
    uint32_t kept = MIN(keep, p->payload_bytes - first);
    g_autoptr(ColoNetFrame) before = copy_frame(f);
    g_autoptr(ColoNetFrame) out = colo_packet_part(f, p, from, keep, flags,
                                                   p->tcp_seq + from, 77, -1);
    const uint8_t *eth = colo_net_frame_eth(out);
    const uint8_t *old = f->data + f->vnet_bytes;
    ColoPacket q;

    assert_reject(colo_packet_parse_frame(out, &q), COLO_REJECT_NONE);
    assert_view_inside(&q, out->size);
    g_assert_cmpuint(out->size, ==, p->payload + kept);
    g_assert_cmpmem(eth + q.payload, q.payload_bytes,
                    old + p->payload + first, kept);
    g_assert_cmpmem(eth + p->l4 + 18, p->tcp_header_bytes - 18,
                    old + p->l4 + 18, p->tcp_header_bytes - 18);
    g_assert_cmphex(q.tcp_flags, ==, flags);
    g_assert_cmphex(eth[p->l4 + 12], ==, old[p->l4 + 12]);
    g_assert_cmphex(q.tcp_seq, ==, p->tcp_seq + from);
    g_assert_cmphex(q.tcp_ack, ==, 77);
    g_assert_cmphex(q.tcp_window, ==, p->tcp_window);
    g_assert(q.needs_csum == p->needs_csum);
    g_assert(q.gso == (p->gso && kept > p->gso_size));
    assert_csums(eth, &q);
    g_assert_cmpmem(f->data, f->vnet_bytes + f->size, before->data,
                    before->vnet_bytes + before->size);
}

/* From the middle, too: at odd places, of odd lengths, to the end. */
static void test_part(void)
{
    static const uint32_t places[] = { 0, 1, 2, 3, 6, 7, 32, 33, 254, 1427,
                                       1448, UINT32_MAX };
    static const uint8_t flags[] = { 0, COLO_TCP_ACK, 0xff };
    unsigned i, k, vnet_bytes;

    for (i = 0; i < G_N_ELEMENTS(plans); i++) {
        for (vnet_bytes = 0; vnet_bytes <= 12; vnet_bytes += 12) {
            unsigned gso_type = plans[i].family == 4 ? TEST_GSO_TCP4
                                                     : TEST_GSO_TCP6;
            g_autoptr(ColoNetFrame) f = make_frame(&plans[i], vnet_bytes,
                                                   gso_type, 100);
            ColoPacket p;

            colo_packet_parse_frame(f, &p);
            for (k = 0; k < G_N_ELEMENTS(places) * G_N_ELEMENTS(places);
                 k++) {
                check_part(f, &p, places[k % G_N_ELEMENTS(places)],
                           places[k / G_N_ELEMENTS(places)], flags[k % 3]);
            }
        }
    }
}

/* A vnet header of a length that nobody knows goes along as it is. */
static void test_trimmed_unknown_vnet(void)
{
    const VnetPlan v = { 0, TEST_GSO_TCP4, 1, 2, 3, 4 };
    g_autoptr(ColoNetFrame) f = plan_frame(&plans[3], 24, &v);
    g_autoptr(ColoNetFrame) out = NULL;
    ColoPacket p;

    colo_packet_parse_frame(f, &p);
    check_trimmed(f, &p, 10, 1, 2, 3);
    out = colo_packet_trimmed(f, &p, 10, 1, 2, 3);
    g_assert_cmpmem(out->data, out->vnet_bytes, f->data, f->vnet_bytes);
}

static void check_trimmed_gso(const PacketPlan *plan, unsigned vnet_bytes,
                              uint16_t gso_size, uint32_t keep)
{
    uint8_t type = plan->family == 4 ? TEST_GSO_TCP4 : TEST_GSO_TCP6;
    bool several = keep > gso_size;
    g_autoptr(ColoNetFrame) f = make_frame(plan, vnet_bytes, type, gso_size);
    g_autoptr(ColoNetFrame) out = NULL;
    const VnetPlan expected = {
        TEST_VNET_CSUM, several ? type : 0, several ? plan_data(plan) : 0,
        several ? gso_size : 0, plan_l4(plan), 16,
    };
    uint8_t vnet[20];
    ColoPacket p, q;

    f->data[2] = f->data[3] = 0xff;     /* a hint that is longer than all */
    assert_reject(colo_packet_parse_frame(f, &p), COLO_REJECT_NONE);
    g_assert(p.gso && p.needs_csum);
    check_trimmed(f, &p, keep, 7, 8, 9);
    out = colo_packet_trimmed(f, &p, keep, 7, 8, 9);
    colo_packet_parse_frame(out, &q);
    g_assert(q.gso == several);
    vnet_put(vnet, vnet_bytes, &expected);
    g_assert_cmpmem(out->data, vnet_bytes, vnet, vnet_bytes);
}

static void test_trimmed_gso(void)
{
    static const PacketPlan bulk[] = {
        { 4, 0, .proto = TEST_TCP, .data_bytes = 65160,
          OPTIONS("\1\1" TIMESTAMP) },
        { 6, 1, .proto = TEST_TCP, .data_bytes = 64983, .tcp_flags = 0x19,
          OPTIONS("\1\1" TIMESTAMP "\1" SACK "\1") },
    };
    static const uint32_t keeps[] = { 0, 1, 1427, 1428, 1429, 2856, 2857,
                                      40001, 64982 };
    static const unsigned vnet_sizes[] = { 10, 12, 20 };
    unsigned i, k, n;

    for (i = 0; i < G_N_ELEMENTS(bulk); i++) {
        for (k = 0; k < G_N_ELEMENTS(keeps); k++) {
            for (n = 0; n < G_N_ELEMENTS(vnet_sizes); n++) {
                check_trimmed_gso(&bulk[i], vnet_sizes[n], 1428, keeps[k]);
            }
        }
    }
}

/* An IPv4 length of 0 stands for all of a frame only while it is GSO. */
static void check_trimmed_big(uint32_t data_bytes, uint32_t keep,
                              uint32_t expected)
{
    const PacketPlan plan = { 4, 0, .proto = TEST_TCP,
                              .data_bytes = data_bytes };
    g_autoptr(ColoNetFrame) f = make_frame(&plan, 12, TEST_GSO_TCP4, 1448);
    g_autoptr(ColoNetFrame) out = NULL;
    uint8_t *ip = colo_net_frame_eth(f) + plan_l3(&plan);
    ColoPacket p;

    test_put16(ip + 2, 0);
    test_put16(ip + 10, 0);
    test_put16(ip + 10, ~reference_sum(0, ip, 20));
    assert_reject(colo_packet_parse_frame(f, &p), COLO_REJECT_NONE);
    check_trimmed(f, &p, keep, 1, 2, 3);
    out = colo_packet_trimmed(f, &p, keep, 1, 2, 3);
    g_assert_cmpuint(test_get16(colo_net_frame_eth(out) + p.l3 + 2), ==,
                     expected);
}

static void test_trimmed_big(void)
{
    check_trimmed_big(66001, 66001, 0);
    check_trimmed_big(66001, 66000, 0);
    check_trimmed_big(66001, 65496, 0);
    check_trimmed_big(66001, 65495, 65535);
    check_trimmed_big(66001, 3000, 3040);
    check_trimmed_big(66001, 9, 49);
    check_trimmed_big(1448, 1448, 1488);
    check_trimmed_big(1448, 1447, 1487);
}

/*
 * Behind a routing header with a hop left, the checksum is over the last
 * destination, which is not the one in the IP header.
 */
static void test_source_route(void)
{
    static const PacketPlan plan = {
        6, 0, .proto = TEST_TCP, .data_bytes = 99, .middle_proto = 43,
        .middle = ROUTING, .middle_bytes = 24,
    };
    g_autoptr(ColoNetFrame) f = plan_frame(&plan, 0, NULL);
    uint8_t *eth = colo_net_frame_eth(f);
    g_autoptr(ColoNetFrame) out = NULL;
    uint8_t hop[16];
    ColoPacket p;

    /* made for this destination; sent to another one first */
    memcpy(hop, eth + plan_l3(&plan) + 24, sizeof(hop));
    eth[plan_l3(&plan) + 39] ^= 0x55;
    colo_packet_parse_frame(f, &p);
    assert_kind(p.kind, COLO_PACKET_TCP);
    colo_packet_set_seq(eth, &p, 0x01020304);
    out = colo_packet_trimmed(f, &p, 50, 5, 6, 7);
    memcpy(eth + plan_l3(&plan) + 24, hop, sizeof(hop));
    assert_csums(eth, &p);
    eth = colo_net_frame_eth(out);
    memcpy(eth + plan_l3(&plan) + 24, hop, sizeof(hop));
    colo_packet_parse_frame(out, &p);
    g_assert_cmpuint(p.payload_bytes, ==, 50);
    assert_csums(eth, &p);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/packet-edit/fields", test_fields);
    g_test_add_func("/packet-edit/fields-at-random", test_fields_at_random);
    g_test_add_func("/packet-edit/wrong-stays-wrong", test_wrong_stays_wrong);
    g_test_add_func("/packet-edit/sack", test_sack);
    g_test_add_func("/packet-edit/trimmed", test_trimmed);
    g_test_add_func("/packet-edit/part", test_part);
    g_test_add_func("/packet-edit/trimmed-unknown-vnet",
                    test_trimmed_unknown_vnet);
    g_test_add_func("/packet-edit/trimmed-gso", test_trimmed_gso);
    g_test_add_func("/packet-edit/trimmed-big", test_trimmed_big);
    g_test_add_func("/packet-edit/source-route", test_source_route);
    return g_test_run();
}
