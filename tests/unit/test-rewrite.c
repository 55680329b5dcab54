/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rewriting TCP numbers: every way to open a connection, every kind of frame
 * it may come in, and what must not be touched. The table is another test's.
 */
#include "rewrite-test.h"

enum { ACK = NET_ACK, SYN = NET_SYN, FIN = NET_FIN, RST = NET_RST,
       PSH = NET_PSH };

/* -------------------------------------------------- whole conversations */

/* Initial numbers and clocks: of the primary's guest, ours, the client's. */
typedef struct Numbers {
    uint32_t p, s, c;
    uint32_t p_ts, s_ts, c_ts;
} Numbers;

static const Numbers numbers[] = {
    { 1000, 5000, 70000, 100, 300, 9000 },
    { 5000, 1000, 70000, 300, 100, 9000 },
    { UINT32_MAX, 1000, UINT32_MAX, UINT32_MAX - 3, 77, 1 },
    { 3, UINT32_MAX - 1, 0xfffffff0, 5, UINT32_MAX - 5, UINT32_MAX - 1 },
    { 0x80000000, 0, 0x7fffffff, 0x80000000, 1, 0x7ffffff0 },
    { 0x7fffffff, 0xffffffff, 5, 1, 0x80000001, 10 },
    { 4242, 4242, 1, 50, 60, 10 },          /* only the clocks differ */
    { 4242, 4243, 1, 50, 50, 10 },          /* only the numbers do */
};

static void open_inbound(Lane *l, const Numbers *n)
{
    lane_in_same(l, SEG(.seq = n->c, .flags = SYN, .tsval = n->c_ts));
    lane_out_same(l, SEG(.seq = n->s, .ack = n->c + 1, .flags = SYN | ACK,
                         .tsval = n->s_ts, .tsecr = n->c_ts));
    lane_in(l, SEG(.seq = n->c + 1, .ack = n->p + 1, .flags = ACK,
                   .tsval = n->c_ts + 1, .tsecr = n->p_ts),
            SEG(.seq = n->c + 1, .ack = n->s + 1, .flags = ACK,
                .tsval = n->c_ts + 1, .tsecr = n->s_ts));
}

static void open_outbound(Lane *l, const Numbers *n)
{
    lane_out_same(l, SEG(.seq = n->s, .flags = SYN, .tsval = n->s_ts));
    lane_in(l, SEG(.seq = n->c, .ack = n->p + 1, .flags = SYN | ACK,
                   .tsval = n->c_ts, .tsecr = n->p_ts),
            SEG(.seq = n->c, .ack = n->s + 1, .flags = SYN | ACK,
                .tsval = n->c_ts, .tsecr = n->s_ts));
    lane_out(l, SEG(.seq = n->s + 1, .ack = n->c + 1, .flags = ACK,
                    .tsval = n->s_ts + 1, .tsecr = n->c_ts),
             SEG(.seq = n->p + 1, .ack = n->c + 1, .flags = ACK,
                 .tsval = n->p_ts + 1, .tsecr = n->c_ts));
}

/* RFC 9293 3.5: both open, each answers the other's SYN with SYN-ACK. */
static void open_crossing(Lane *l, const Numbers *n)
{
    lane_out_same(l, SEG(.seq = n->s, .flags = SYN, .tsval = n->s_ts));
    lane_in_same(l, SEG(.seq = n->c, .flags = SYN, .tsval = n->c_ts));
    lane_out_same(l, SEG(.seq = n->s, .ack = n->c + 1, .flags = SYN | ACK,
                         .tsval = n->s_ts + 2, .tsecr = n->c_ts));
    lane_in(l, SEG(.seq = n->c, .ack = n->p + 1, .flags = SYN | ACK,
                   .tsval = n->c_ts, .tsecr = n->p_ts),
            SEG(.seq = n->c, .ack = n->s + 1, .flags = SYN | ACK,
                .tsval = n->c_ts, .tsecr = n->s_ts));
}

/* Data both ways, losses told by SACK, and both ends close. */
static void talk(Lane *l, const Numbers *n, uint32_t bytes)
{
    lane_out(l, SEG(.seq = n->s + 1, .ack = n->c + 1, .flags = ACK | PSH,
                    .tsval = n->s_ts + 9, .tsecr = n->c_ts,
                    .data_bytes = bytes),
             SEG(.seq = n->p + 1, .ack = n->c + 1, .flags = ACK | PSH,
                 .tsval = n->p_ts + 9, .tsecr = n->c_ts,
                 .data_bytes = bytes));
    lane_in(l, SEG(.seq = n->c + 1, .ack = n->p + 1, .flags = ACK,
                   .tsval = n->c_ts + 3, .tsecr = n->p_ts + 9,
                   .sack = { n->p + 50, n->p + 99, n->p + 9, n->p + 11 },
                   .data_bytes = 3),
            SEG(.seq = n->c + 1, .ack = n->s + 1, .flags = ACK,
                .tsval = n->c_ts + 3, .tsecr = n->s_ts + 9,
                .sack = { n->s + 50, n->s + 99, n->s + 9, n->s + 11 },
                .data_bytes = 3));
    lane_out(l, SEG(.seq = n->s + 1 + bytes, .ack = n->c + 4,
                    .flags = ACK | FIN, .sack = { n->c + 2, n->c + 4 }),
             SEG(.seq = n->p + 1 + bytes, .ack = n->c + 4,
                 .flags = ACK | FIN, .sack = { n->c + 2, n->c + 4 }));
    lane_in(l, SEG(.seq = n->c + 4, .ack = n->p + 2 + bytes,
                   .flags = ACK | FIN),
            SEG(.seq = n->c + 4, .ack = n->s + 2 + bytes,
                .flags = ACK | FIN));
    lane_out(l, SEG(.seq = n->s + 2 + bytes, .ack = n->c + 5, .flags = ACK),
             SEG(.seq = n->p + 2 + bytes, .ack = n->c + 5, .flags = ACK));
}

static const struct {
    const char *name;
    NetPath path;              /* without addresses and ports */
    NetManner manner;
    uint32_t bytes;            /* of the guest's data segment */
} manners[] = {
    { "ipv4", { .family = 4 }, { .pad = true }, 3 },
    { "ipv4-options", { .family = 4, .ip_options = true }, { .tos = 3 }, 99 },
    { "ipv6", { .family = 6 }, { .pad = true }, 3 },
    { "ipv6-extension", { .family = 6, .ip_options = true }, { .tos = 0 },
      100 },
    { "vlan", { .family = 4, .tag_count = 1, .tags = { 7 } },
      { .pad = true }, 1 },
    { "qinq", { .family = 6, .tag_count = 2, .tags = { 7, 8 } },
      { .pad = true }, 1 },
    { "vnet", { .family = 4 }, { .vnet_bytes = 10 }, 1000 },
    { "vnet-partial", { .family = 4 },
      { .vnet_bytes = 12, .partial_csum = true }, 1001 },
    { "vnet-gso", { .family = 4 },
      { .vnet_bytes = 12, .partial_csum = true, .gso_size = 1400 }, 60000 },
    { "vnet-gso-ipv6", { .family = 6, .tag_count = 1, .tags = { 4094 } },
      { .vnet_bytes = 20, .partial_csum = true, .gso_size = 1400 }, 60001 },
};

typedef void Opener(Lane *l, const Numbers *n);

static Opener *const openers[] = { open_inbound, open_outbound,
                                   open_crossing };

static void test_conversations(gconstpointer opener)
{
    unsigned i, k;

    for (i = 0; i < G_N_ELEMENTS(manners); i++) {
        for (k = 0; k < G_N_ELEMENTS(numbers); k++) {
            Lane l = lane_new();
            NetPath path = manners[i].path;

            memset(path.src, 0x11, path.family == 4 ? 4 : 16);
            memset(path.dst, 0x22, path.family == 4 ? 4 : 16);
            path.src_port = 80;
            path.dst_port = 40000;
            l.path = path;
            l.manner = manners[i].manner;
            openers[GPOINTER_TO_UINT(opener)](&l, &numbers[k]);
            talk(&l, &numbers[k], manners[i].bytes);
            g_assert_cmpuint(lane_stats(&l).learned_flows, ==, 1);
            g_assert_cmpuint(lane_stats(&l).flows, ==, 1);
            colo_rewrite_free(l.r);
        }
    }
}

/* ------------------------------------------------------------- handshakes */

/* The difference is the first SYN's, however often it is repeated. */
static void test_repeated_syn(void)
{
    Lane l = lane_new();

    lane_out_same(&l, SEG(.seq = 50, .flags = SYN, .tsval = 1000));
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN, .tsval = 2000));
    lane_in(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK, .tsval = 7,
                    .tsecr = 1300),
            SEG(.seq = 9, .ack = 51, .flags = SYN | ACK, .tsval = 7,
                .tsecr = 1000));
    colo_rewrite_free(l.r);
}

/* Once learned, the guest's SYN is translated as well: both kinds. */
static void test_syn_after_learning(void)
{
    Lane l = lane_new();

    lane_accept(&l, 100, 50);
    lane_out(&l, SEG(.seq = 50, .ack = 501, .flags = SYN | ACK),
             SEG(.seq = 100, .ack = 501, .flags = SYN | ACK));
    lane_in(&l, SEG(.seq = 501, .ack = 101, .flags = ACK),
            SEG(.seq = 501, .ack = 51, .flags = ACK));
    g_assert_cmpuint(lane_stats(&l).learned_flows, ==, 1);
    colo_rewrite_free(l.r);
}

/* Segments that do not belong behind our SYN-ACK tell nothing. */
static void test_answer_must_fit(void)
{
    static const struct {
        uint32_t seq;
        uint8_t flags;
        bool tells;
    } cases[] = {
        { 501, ACK, true }, { 501, ACK | FIN, true }, { 501, ACK | RST, true },
        { 501 + 65535, ACK, true }, { 501 + 65536, ACK, false },
        { 500, ACK, false }, { 500, SYN | ACK, true }, { 501, RST, false },
        { 500, SYN, false }, { 501, FIN, false }, { 0, ACK, false },
        { 0x80000000, ACK, false },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        Lane l = lane_new();
        uint32_t ack = cases[i].flags & ACK ? 101 : 0;
        uint32_t told = cases[i].tells ? 51 : ack;

        lane_out_same(&l, SEG(.seq = 50, .ack = 501, .flags = SYN | ACK));
        lane_in(&l, SEG(.seq = cases[i].seq, .ack = ack,
                        .flags = cases[i].flags),
                SEG(.seq = cases[i].seq, .ack = told,
                    .flags = cases[i].flags));
        g_assert_cmpuint(lane_stats(&l).learned_flows, ==, cases[i].tells);
        colo_rewrite_free(l.r);
    }
}

/* The guest has to see the ACK of an old connection as it is, to reset it. */
static void test_half_open_peer(void)
{
    Lane l = lane_new();

    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    lane_in_same(&l, SEG(.seq = 7777, .ack = 3333, .flags = ACK));
    lane_out_same(&l, SEG(.seq = 3333, .flags = RST));
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    lane_in(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK),
            SEG(.seq = 9, .ack = 51, .flags = SYN | ACK));
    colo_rewrite_free(l.r);
}

/* A refusal counts for the guest only with the acknowledgement of its SYN. */
static void test_refused(void)
{
    Lane l = lane_new();

    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    lane_in(&l, SEG(.ack = 101, .flags = RST | ACK),
            SEG(.ack = 51, .flags = RST | ACK));
    colo_rewrite_tick(l.r, l.now_us + LINGER_US);
    g_assert_cmpuint(lane_stats(&l).flows, ==, 0);
    colo_rewrite_free(l.r);
}

/* RFC 7413: data in the SYN is acknowledged with it, if it comes along. */
static void test_fast_open(void)
{
    Lane l = lane_new();

    lane_out_same(&l, SEG(.seq = 50, .flags = SYN, .data_bytes = 20));
    lane_in(&l, SEG(.seq = 9, .ack = 121, .flags = SYN | ACK),
            SEG(.seq = 9, .ack = 71, .flags = SYN | ACK));
    colo_rewrite_reset(l.r);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN, .data_bytes = 20));
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    lane_in(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK),
            SEG(.seq = 9, .ack = 51, .flags = SYN | ACK));
    colo_rewrite_free(l.r);
}

/* An echo of 0 is none; a clock of one side only is not to be compared. */
static void test_no_echo(void)
{
    Lane l = lane_new();

    lane_out_same(&l, SEG(.seq = 50, .flags = SYN, .tsval = 7));
    lane_in(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK, .tsval = 1),
            SEG(.seq = 9, .ack = 51, .flags = SYN | ACK, .tsval = 1));
    lane_out(&l, SEG(.seq = 51, .ack = 10, .flags = ACK, .tsval = 8),
             SEG(.seq = 101, .ack = 10, .flags = ACK, .tsval = 8));
    colo_rewrite_reset(l.r);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    lane_in(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK, .tsval = 1,
                    .tsecr = 5),
            SEG(.seq = 9, .ack = 51, .flags = SYN | ACK, .tsval = 1,
                .tsecr = 5));
    colo_rewrite_free(l.r);
}

/* The same ports again: from the guest's new SYN on, nothing old counts. */
static void test_port_reuse(void)
{
    Lane l = lane_new();

    lane_accept(&l, 100, 50);
    lane_in_same(&l, SEG(.seq = 9000, .flags = SYN));
    lane_out(&l, SEG(.seq = 60, .ack = 501, .flags = ACK),
             SEG(.seq = 110, .ack = 501, .flags = ACK));
    lane_out_same(&l, SEG(.seq = 70, .ack = 9001, .flags = SYN | ACK));
    lane_in_same(&l, SEG(.seq = 600, .ack = 111, .flags = ACK));
    lane_in(&l, SEG(.seq = 9001, .ack = 1001, .flags = ACK),
            SEG(.seq = 9001, .ack = 71, .flags = ACK));
    lane_out(&l, SEG(.seq = 71, .ack = 9001, .flags = ACK),
             SEG(.seq = 1001, .ack = 9001, .flags = ACK));
    g_assert_cmpuint(lane_stats(&l).learned_flows, ==, 2);
    g_assert_cmpuint(lane_stats(&l).flows, ==, 1);
    colo_rewrite_free(l.r);
}

/* ----------------------------------------------------- what is left alone */

static void test_resets(void)
{
    Lane l = lane_new();

    lane_accept(&l, 100, 50);
    /* without ACK: of the client nothing is ours, of the guest it is */
    lane_in_same(&l, SEG(.seq = 501, .flags = RST));
    lane_out(&l, SEG(.seq = 61, .flags = RST),
             SEG(.seq = 111, .flags = RST));
    lane_in(&l, SEG(.seq = 501, .ack = 111, .flags = RST | ACK),
            SEG(.seq = 501, .ack = 61, .flags = RST | ACK));
    /* a refusal of what had no ACK: number 0 is no number of the flow */
    lane_out_same(&l, SEG(.seq = 0, .ack = 601, .flags = RST | ACK));
    lane_out(&l, SEG(.seq = 0, .ack = 601, .flags = ACK),
             SEG(.seq = 50, .ack = 601, .flags = ACK));
    colo_rewrite_free(l.r);
}

/* SYN with RST is no SYN: it opens nothing and begins nothing anew. */
static void test_syn_with_reset(void)
{
    Lane l = lane_new();

    lane_out_same(&l, SEG(.seq = 70, .flags = SYN | RST));
    g_assert_cmpuint(lane_stats(&l).flows, ==, 0);
    lane_accept(&l, 100, 50);
    lane_out(&l, SEG(.seq = 70, .flags = SYN | RST),
             SEG(.seq = 120, .flags = SYN | RST));
    colo_rewrite_free(l.r);
}

/* The same ends in another VLAN, of another family, with another port. */
static void test_other_flows(void)
{
    const Seg s = SEG(.seq = 501, .ack = 101, .flags = ACK);
    Lane l = lane_new(), other;

    lane_accept(&l, 100, 50);
    other = l;
    other.path.tag_count = 1;
    lane_in_same(&other, s);
    other = l;
    other.path.family = 6;
    lane_in_same(&other, s);
    other = l;
    other.path.dst_port++;
    lane_in_same(&other, s);
    other = l;
    other.path.src_port++;
    lane_in_same(&other, s);
    other = l;
    other.path.dst[3]++;
    lane_in_same(&other, s);
    g_assert_cmpuint(lane_stats(&l).rewritten_frames, ==, 1);
    l.path.tag_count = 2;
    l.path.tags[0] = 3;
    l.path.tags[1] = 4;
    lane_accept(&l, 100, 50);
    other = l;
    other.path.tags[0] = 4;
    lane_in_same(&other, s);
    other.path.tags[0] = 3;
    other.path.tags[1] = 3;
    lane_in_same(&other, s);
    g_assert_cmpuint(lane_stats(&l).rewritten_frames, ==, 2);
    colo_rewrite_free(l.r);
}

static void pass_same(Lane *l, ColoNetFrame *f)
{
    g_autofree uint8_t *before = g_malloc(f->size);
    ColoPacket p;

    memcpy(before, colo_net_frame_eth(f), f->size);
    colo_packet_parse_frame(f, &p);
    g_assert_false(colo_rewrite_egress(l->r, f, &p, 1));
    g_assert_false(colo_rewrite_ingress(l->r, f, &p, 1));
    g_assert_cmpmem(before, f->size, colo_net_frame_eth(f), f->size);
    colo_net_frame_free(f);
}

static void test_no_tcp(void)
{
    Lane l = lane_new();
    uint8_t udp[20] = { 0 }, tcp[40] = { 0 };
    ColoRewriteStats before;

    lane_accept(&l, 100, 50);
    before = lane_stats(&l);
    net_put16(udp, 80);
    net_put16(udp + 2, 40000);
    net_put16(udp + 4, sizeof(udp));
    pass_same(&l, net_make_ip(&l.path, &l.manner, NET_PROTO_UDP, udp,
                              sizeof(udp)));
    pass_same(&l, net_make_raw(&l.path, &l.manner, NET_ETHERTYPE_ARP, udp,
                               sizeof(udp)));
    pass_same(&l, net_make_raw(&l.path, &l.manner, 0x0800, tcp, 0));
    /* the first part of a datagram, with a whole TCP header in it */
    net_put16(tcp, 80);
    net_put16(tcp + 2, 40000);
    tcp[12] = 0x50;
    tcp[13] = ACK;
    pass_same(&l, net_make_part(&l.path, &l.manner, NET_PROTO_TCP,
                                (NetPart) { 0, true }, tcp, 32));
    g_assert_cmpuint(lane_stats(&l).egress_frames, ==, before.egress_frames);
    g_assert_cmpuint(lane_stats(&l).ingress_frames, ==,
                     before.ingress_frames);
    colo_rewrite_free(l.r);
}

static void test_stats(void)
{
    Lane l = lane_new();
    ColoRewriteStats stats;

    lane_accept(&l, 100, 50);
    lane_out(&l, SEG(.seq = 51, .ack = 501, .flags = ACK),
             SEG(.seq = 101, .ack = 501, .flags = ACK));
    stats = lane_stats(&l);
    g_assert_cmpuint(stats.egress_frames, ==, 2);
    g_assert_cmpuint(stats.ingress_frames, ==, 2);
    g_assert_cmpuint(stats.rewritten_frames, ==, 2);
    g_assert_cmpuint(stats.learned_flows, ==, 1);
    g_assert_cmpuint(stats.refused_flows, ==, 0);
    g_assert_cmpuint(stats.evicted_flows, ==, 0);
    g_assert_cmpuint(stats.flows, ==, 1);
    colo_rewrite_free(l.r);
    colo_rewrite_free(NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/rewrite/inbound", GUINT_TO_POINTER(0),
                         test_conversations);
    g_test_add_data_func("/rewrite/outbound", GUINT_TO_POINTER(1),
                         test_conversations);
    g_test_add_data_func("/rewrite/crossing", GUINT_TO_POINTER(2),
                         test_conversations);
    g_test_add_func("/rewrite/syn/repeated", test_repeated_syn);
    g_test_add_func("/rewrite/syn/after-learning", test_syn_after_learning);
    g_test_add_func("/rewrite/answer-must-fit", test_answer_must_fit);
    g_test_add_func("/rewrite/half-open-peer", test_half_open_peer);
    g_test_add_func("/rewrite/refused", test_refused);
    g_test_add_func("/rewrite/fast-open", test_fast_open);
    g_test_add_func("/rewrite/no-echo", test_no_echo);
    g_test_add_func("/rewrite/port-reuse", test_port_reuse);
    g_test_add_func("/rewrite/resets", test_resets);
    g_test_add_func("/rewrite/syn/with-reset", test_syn_with_reset);
    g_test_add_func("/rewrite/other-flows", test_other_flows);
    g_test_add_func("/rewrite/no-tcp", test_no_tcp);
    g_test_add_func("/rewrite/stats", test_stats);
    return g_test_run();
}
