/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a survivor sends again: rows of what the two ends have said, and what
 * has to come out, in order and in numbers. Segments are those of the tests of
 * the rewriter; each that comes out is read with its checksums.
 */
#include "rewrite-test.h"
#include "colo/resend.h"

enum { ACK = NET_ACK, SYN = NET_SYN, FIN = NET_FIN, RST = NET_RST,
       PSH = NET_PSH };

enum { SLACK = 500 };          /* of the survivor's clock */

static ColoResend *kept_by;    /* of the lane in use */

static void says(Lane *l, Seg s)
{
    ColoNetFrame *f = lane_frame(l, true, &s);
    ColoPacket p;

    colo_packet_parse_frame(f, &p);
    colo_resend_egress(kept_by, f, &p, l->now_us);
}

static void hears(Lane *l, Seg s)
{
    ColoNetFrame *f = lane_frame(l, false, &s);
    ColoPacket p;

    colo_packet_parse_frame(f, &p);
    colo_resend_ingress(kept_by, colo_net_frame_eth(f), &p);
    colo_net_frame_free(f);
}

static bool is_news(Lane *l, Seg s)
{
    ColoNetFrame *f = lane_frame(l, false, &s);
    ColoPacket p;
    bool news;

    colo_packet_parse_frame(f, &p);
    news = colo_resend_is_news(kept_by, &p);
    colo_net_frame_free(f);
    return news;
}

static ColoResendStats stats_of(void)
{
    ColoResendStats stats;

    colo_resend_get_stats(kept_by, &stats);
    return stats;
}

static Lane begin(const ColoResendLimits *limits)
{
    Lane l = lane_of(NULL, 40000);

    kept_by = colo_resend_new(limits);
    return l;
}

static void end(void)
{
    colo_resend_free(kept_by);
}

/* Exactly @expected comes out, and then nothing is left. */
static void check_again(Lane *l, const Seg *expected, unsigned count)
{
    ColoNetFrame *f = colo_resend_take(kept_by, l->now_us), *next;
    ColoResendStats stats;
    unsigned i;

    for (i = 0; f; f = next, i++) {
        Seg out = lane_read(f);

        g_assert_cmpuint(i, <, count);
        lane_check(&out, &expected[i]);
        next = f->next;
        colo_net_frame_free(f);
    }
    g_assert_cmpuint(i, ==, count);
    stats = stats_of();
    g_assert_cmpuint(stats.kept_frames, ==, 0);
    g_assert_cmpuint(stats.kept_bytes, ==, 0);
    g_assert_null(colo_resend_take(kept_by, l->now_us));
}

/* --------------------------------------------------- whole conversations */

typedef struct Step {
    char who;                  /* 'g'uest, 'c'lient, 0: the end */
    Seg seg;
} Step;

typedef struct Row {
    const char *name;
    Step steps[10];
    Seg again[6];              /* the end: no flags */
} Row;

#define G(...) { 'g', { __VA_ARGS__ } }
#define C(...) { 'c', { __VA_ARGS__ } }

static const Row rows[] = {
    { "nothing", { { 0 } }, { { 0 } } },
    { "an-answer",
      { C(.seq = 10, .ack = 100, .flags = ACK | PSH, .data_bytes = 5),
        G(.seq = 100, .ack = 15, .flags = ACK | PSH, .data_bytes = 30) },
      { { .seq = 100, .ack = 15, .flags = ACK | PSH, .data_bytes = 30 } } },
    { "acknowledged",
      { G(.seq = 100, .ack = 15, .flags = ACK | PSH, .data_bytes = 30),
        C(.seq = 15, .ack = 130, .flags = ACK) },
      { { 0 } } },
    { "acknowledged-in-part",
      { G(.seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30),
        G(.seq = 130, .ack = 15, .flags = ACK, .data_bytes = 30),
        G(.seq = 160, .ack = 15, .flags = ACK, .data_bytes = 7),
        C(.seq = 15, .ack = 140, .flags = ACK) },
      { { .seq = 130, .ack = 15, .flags = ACK, .data_bytes = 30 },
        { .seq = 160, .ack = 15, .flags = ACK, .data_bytes = 7 } } },
    { "acknowledged-across-the-wrap",
      { G(.seq = 0xfffffff0, .ack = 15, .flags = ACK, .data_bytes = 30),
        G(.seq = 14, .ack = 15, .flags = ACK, .data_bytes = 30),
        C(.seq = 15, .ack = 14, .flags = ACK) },
      { { .seq = 14, .ack = 15, .flags = ACK, .data_bytes = 30 } } },
    { "repeated-by-the-guest",
      { G(.seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30),
        G(.seq = 130, .ack = 15, .flags = ACK, .data_bytes = 10),
        G(.seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30),
        G(.seq = 120, .ack = 15, .flags = ACK, .data_bytes = 25) },
      { { .seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30 },
        { .seq = 130, .ack = 15, .flags = ACK, .data_bytes = 10 },
        { .seq = 120, .ack = 15, .flags = ACK, .data_bytes = 25 } } },
    { "repeated-though-acknowledged",
      { G(.seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30),
        C(.seq = 15, .ack = 130, .flags = ACK),
        G(.seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30) },
      { { 0 } } },
    { "its-newest-acknowledgement",
      { G(.seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30,
          .sack = { 20, 25 }),
        G(.seq = 130, .ack = 25, .flags = ACK) },
      { { .seq = 100, .ack = 25, .flags = ACK, .data_bytes = 30 } } },
    { "an-upload-waits-for-one",
      { C(.seq = 15, .ack = 100, .flags = ACK, .data_bytes = 900),
        G(.seq = 100, .ack = 500, .flags = ACK),
        G(.seq = 100, .ack = 915, .flags = ACK, .sack = { 920, 930 }) },
      { { .seq = 100, .ack = 915, .flags = ACK, .sack = { 920, 930 } } } },
    { "an-acknowledgement-not-older-than-data",
      { G(.seq = 100, .ack = 15, .flags = ACK),
        G(.seq = 100, .ack = 45, .flags = ACK, .data_bytes = 30),
        C(.seq = 45, .ack = 130, .flags = ACK) },
      { { .seq = 130, .ack = 45, .flags = ACK } } },
    { "the-end",
      { G(.seq = 100, .ack = 15, .flags = ACK | FIN, .data_bytes = 30),
        C(.seq = 15, .ack = 130, .flags = ACK) },
      { { .seq = 100, .ack = 15, .flags = ACK | FIN, .data_bytes = 30 } } },
    { "the-end-is-confirmed",
      { G(.seq = 100, .ack = 15, .flags = ACK | FIN, .data_bytes = 30),
        C(.seq = 15, .ack = 131, .flags = ACK) },
      { { 0 } } },
    { "a-refusal",
      { C(.seq = 15, .flags = SYN),
        G(.seq = 0, .ack = 16, .flags = ACK | RST) },
      { { .seq = 0, .ack = 16, .flags = ACK | RST } } },
    { "a-break-by-the-guest",
      { G(.seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30),
        G(.seq = 130, .ack = 15, .flags = ACK | RST) },
      { { .seq = 130, .ack = 15, .flags = ACK | RST } } },
    { "a-break-by-the-client",
      { G(.seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30),
        G(.seq = 130, .ack = 15, .flags = ACK),
        C(.seq = 15, .ack = 100, .flags = ACK | RST) },
      { { 0 } } },
    { "a-syn-ack-with-its-own-number",
      { C(.seq = 15, .flags = SYN),
        G(.seq = 7000, .ack = 16, .flags = SYN | ACK) },
      { { .seq = 7000, .ack = 16, .flags = SYN | ACK } } },
    { "a-handshake-with-other-numbers",
      { G(.seq = 7000, .ack = 16, .flags = SYN | ACK, .tsval = 900000,
          .tsecr = 5),
        C(.seq = 16, .ack = 101, .flags = ACK, .tsval = 5, .tsecr = 50),
        G(.seq = 101, .ack = 20, .flags = ACK, .tsval = 60, .tsecr = 5,
          .data_bytes = 3) },
      { { .seq = 101, .ack = 20, .flags = ACK, .tsval = 60 + SLACK,
          .tsecr = 5, .data_bytes = 3 } } },
    { "a-word-after-a-handshake-with-other-numbers",
      { G(.seq = 7000, .ack = 16, .flags = SYN | ACK, .tsval = 900000,
          .tsecr = 5),
        C(.seq = 16, .ack = 101, .flags = ACK, .tsval = 5, .tsecr = 50,
          .data_bytes = 4),
        G(.seq = 101, .ack = 20, .flags = ACK, .tsval = 60, .tsecr = 5) },
      { { .seq = 101, .ack = 20, .flags = ACK, .tsval = 60 + SLACK,
          .tsecr = 5 } } },
    { "the-guest-opens",
      { G(.seq = 7000, .flags = SYN),
        C(.seq = 40, .ack = 101, .flags = SYN | ACK),
        G(.seq = 101, .ack = 41, .flags = ACK),
        G(.seq = 101, .ack = 41, .flags = ACK, .data_bytes = 3),
        C(.seq = 41, .ack = 101, .flags = ACK) },
      { { .seq = 101, .ack = 41, .flags = ACK, .data_bytes = 3 } } },
    { "the-guest-opens-with-other-numbers-far-ahead",
      { G(.seq = 101, .flags = SYN),
        C(.seq = 40, .ack = 0x90000000, .flags = SYN | ACK),
        G(.seq = 0x90000000, .ack = 41, .flags = ACK, .data_bytes = 3),
        C(.seq = 41, .ack = 0x90000003, .flags = ACK),
        G(.seq = 0x90000003, .ack = 41, .flags = ACK, .data_bytes = 4) },
      { { .seq = 0x90000003, .ack = 41, .flags = ACK, .data_bytes = 4 } } },
    { "ports-used-again",
      { G(.seq = 100, .ack = 15, .flags = ACK | FIN, .data_bytes = 30),
        C(.seq = 90, .flags = SYN),
        G(.seq = 50, .ack = 91, .flags = SYN | ACK) },
      { { .seq = 50, .ack = 91, .flags = SYN | ACK } } },
    { "a-clock-behind-what-the-client-knows",
      { G(.seq = 100, .ack = 15, .flags = ACK, .tsval = 70, .tsecr = 5,
          .data_bytes = 30),
        C(.seq = 15, .ack = 100, .flags = ACK, .tsval = 6, .tsecr = 85) },
      { { .seq = 100, .ack = 15, .flags = ACK, .tsval = 85 + SLACK,
          .tsecr = 5, .data_bytes = 30 } } },
    { "a-clock-no-older-than-the-guest-s-last",
      { G(.seq = 100, .ack = 15, .flags = ACK, .tsval = 70, .tsecr = 5,
          .data_bytes = 30),
        G(.seq = 130, .ack = 15, .flags = ACK, .tsval = 90, .tsecr = 5),
        C(.seq = 15, .ack = 100, .flags = ACK, .tsval = 6, .tsecr = 85) },
      { { .seq = 100, .ack = 15, .flags = ACK, .tsval = 90 + SLACK,
          .tsecr = 5, .data_bytes = 30 } } },
    { "a-clock-that-makes-no-sense",
      { G(.seq = 100, .ack = 15, .flags = ACK, .tsval = 70, .tsecr = 5,
          .data_bytes = 30),
        C(.seq = 15, .ack = 100, .flags = ACK, .tsval = 6,
          .tsecr = 0x40000000) },
      { { .seq = 100, .ack = 15, .flags = ACK, .tsval = 70 + SLACK,
          .tsecr = 5, .data_bytes = 30 } } },
};

static void test_row(gconstpointer opaque)
{
    const Row *row = opaque;
    Lane l = begin(NULL);
    unsigned i, count = 0;

    for (i = 0; i < G_N_ELEMENTS(row->steps) && row->steps[i].who; i++) {
        l.now_us++;
        if (row->steps[i].who == 'g') {
            says(&l, row->steps[i].seg);
        } else {
            hears(&l, row->steps[i].seg);
        }
    }
    while (count < G_N_ELEMENTS(row->again) && row->again[count].flags) {
        count++;
    }
    check_again(&l, row->again, count);
    end();
}

/* ------------------------------------------------------------ many flows */

static void test_flows(void)
{
    Lane a = begin(NULL), b = lane_of(NULL, 40001);
    const Seg one = SEG(.seq = 100, .ack = 15, .flags = ACK,
                        .data_bytes = 30);
    const Seg two = SEG(.seq = 700, .ack = 15, .flags = ACK,
                        .data_bytes = 9);
    const Seg last = SEG(.seq = 130, .ack = 15, .flags = ACK,
                         .data_bytes = 1);
    const Seg all[] = { one, two, last };

    says(&a, one);
    says(&b, two);
    says(&a, last);
    b.path.tag_count = 1;
    hears(&b, SEG(.seq = 15, .ack = 709, .flags = ACK));
    g_assert_cmpuint(stats_of().flows, ==, 2);
    g_assert_cmpuint(stats_of().kept_frames, ==, 3);
    check_again(&a, all, 3);
    end();
}

static void test_other_protocols(void)
{
    Lane l = begin(NULL);
    uint8_t udp[20] = { 0 }, tcp[40] = { [12] = 0x50, [13] = ACK };
    ColoNetFrame *frames[] = {
        net_make_ip(&l.path, &l.manner, NET_PROTO_UDP, udp, sizeof(udp)),
        net_make_ip(&l.path, &l.manner, NET_PROTO_ICMP, udp, sizeof(udp)),
        net_make_raw(&l.path, &l.manner, NET_ETHERTYPE_ARP, udp, 8),
        net_make_part(&l.path, &l.manner, NET_PROTO_TCP,
                      (NetPart) { 0, true }, tcp, sizeof(tcp)),
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(frames); i++) {
        ColoPacket p;

        colo_packet_parse_frame(frames[i], &p);
        colo_resend_ingress(kept_by, colo_net_frame_eth(frames[i]), &p);
        colo_resend_egress(kept_by, frames[i], &p, 1);
    }
    g_assert_cmpuint(stats_of().flows, ==, 0);
    check_again(&l, NULL, 0);
    end();
}

static void test_checkpoint(void)
{
    Lane l = begin(NULL);
    const Seg after = SEG(.seq = 100, .ack = 15, .flags = ACK,
                          .data_bytes = 2);

    says(&l, SEG(.seq = 100, .ack = 15, .flags = ACK, .data_bytes = 30));
    colo_resend_reset(kept_by);
    g_assert_cmpuint(stats_of().kept_bytes, ==, 0);
    g_assert_cmpuint(stats_of().flows, ==, 0);
    says(&l, after);
    check_again(&l, &after, 1);
    end();
}

/* --------------------------------------------------------------- manners */

static void test_manners(void)
{
    static const struct {
        NetPath path;
        NetManner manner;
        uint32_t bytes;
    } made[] = {
        { { .family = 6 }, { .pad = true }, 3 },
        { { .family = 4, .tag_count = 2, .tags = { 7, 8 } }, { 0 }, 99 },
        { { .family = 4 }, { .vnet_bytes = 12, .partial_csum = true }, 1001 },
        { { .family = 4 },
          { .vnet_bytes = 12, .partial_csum = true, .gso_size = 1400 },
          60000 },
        { { .family = 6 },
          { .vnet_bytes = 20, .partial_csum = true, .gso_size = 1400 },
          60001 },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(made); i++) {
        Lane l = begin(NULL);
        Seg out[] = {
            SEG(.seq = 100, .ack = 25, .flags = ACK, .tsval = 85 + SLACK,
                .tsecr = 5, .data_bytes = made[i].bytes),
        };

        l.path = made[i].path;
        l.path.src[0] = 10;
        l.path.dst[0] = 11;
        l.manner = made[i].manner;
        says(&l, SEG(.seq = 100, .ack = 15, .flags = ACK, .tsval = 70,
                     .tsecr = 5, .data_bytes = made[i].bytes));
        says(&l, SEG(.seq = 100 + made[i].bytes, .ack = 25, .flags = ACK,
                     .tsval = 71, .tsecr = 5));
        hears(&l, SEG(.seq = 25, .ack = 100, .flags = ACK, .tsval = 6,
                      .tsecr = 85));
        check_again(&l, out, 1);
        end();
    }
}

/* ---------------------------------------------------------------- bounds */

/* So many frames of 1000 bytes by one flow; what is left begins behind. */
static void check_newest_left(Lane *l, uint32_t said)
{
    uint32_t left = said - stats_of().dropped_frames, i;
    g_autofree Seg *newest = g_new(Seg, left);

    g_assert_cmpuint(stats_of().kept_frames, ==, left);
    for (i = 0; i < left; i++) {
        newest[i] = SEG(.seq = 1000 * (said - left + i), .ack = 15,
                        .flags = ACK, .data_bytes = 1000);
    }
    check_again(l, newest, left);
}

static void test_flow_bound(void)
{
    const ColoResendLimits limits = {
        .bytes_max = 1 << 20, .flow_bytes_max = 10000, .flows_max = 10,
    };
    Lane l = begin(&limits);
    uint32_t i;

    for (i = 0; i < 30; i++) {
        says(&l, SEG(.seq = 1000 * i, .ack = 15, .flags = ACK,
                     .data_bytes = 1000));
        g_assert_cmpuint(stats_of().kept_bytes, <=, 10000);
    }
    g_assert_cmpuint(stats_of().kept_frames, >=, 8);
    check_newest_left(&l, 30);
    end();
}

static void test_bound_of_all(void)
{
    const ColoResendLimits limits = {
        .bytes_max = 10000, .flow_bytes_max = 9000, .flows_max = 10,
    };
    Lane old = begin(&limits), l = lane_of(NULL, 40001);
    uint32_t i;

    says(&old, SEG(.seq = 5, .ack = 15, .flags = ACK, .data_bytes = 4000));
    for (i = 0; i < 7; i++) {
        says(&l, SEG(.seq = 1000 * i, .ack = 15, .flags = ACK,
                     .data_bytes = 1000));
        g_assert_cmpuint(stats_of().kept_bytes, <=, 10000);
    }
    /* the oldest of all went, not that of the flow which is longest */
    g_assert_cmpuint(stats_of().dropped_frames, ==, 1);
    g_assert_cmpuint(stats_of().kept_frames, ==, 7);
    /* one that is larger than all there may be */
    says(&l, SEG(.seq = 7000, .ack = 15, .flags = ACK, .data_bytes = 12000));
    g_assert_cmpuint(stats_of().kept_frames, ==, 0);
    check_again(&l, NULL, 0);
    end();
}

static void test_flows_bound(void)
{
    const ColoResendLimits limits = {
        .bytes_max = 1 << 20, .flow_bytes_max = 1 << 20, .flows_max = 3,
    };
    Lane l = begin(&limits);
    const Seg s = SEG(.seq = 5, .ack = 15, .flags = ACK, .data_bytes = 4);
    const Seg all[] = { s, s, s };
    uint32_t i;

    for (i = 0; i < 3; i++) {
        l.path.dst_port = 100 + i;
        says(&l, s);
    }
    l.path.dst_port = 100;
    says(&l, SEG(.seq = 9, .ack = 15, .flags = ACK));
    l.path.dst_port = 200;
    says(&l, s);               /* takes the place of that of port 101 */
    g_assert_cmpuint(stats_of().flows, ==, 3);
    g_assert_cmpuint(stats_of().dropped_frames, ==, 1);
    l.path.dst_port = 101;
    g_assert_true(is_news(&l, SEG(.seq = 10, .ack = 9, .flags = ACK,
                                  .data_bytes = 5)));
    l.path.dst_port = 100;
    g_assert_false(is_news(&l, SEG(.seq = 10, .ack = 9, .flags = ACK,
                                   .data_bytes = 5)));
    check_again(&l, all, 3);
    end();
}

static void test_ages(void)
{
    Lane l = begin(NULL), other = lane_of(NULL, 40001);
    const Seg data = SEG(.seq = 5, .ack = 15, .flags = ACK, .data_bytes = 4);

    says(&l, SEG(.seq = 5, .ack = 15, .flags = ACK));
    says(&other, data);
    l.now_us += COLO_RESEND_WORD_MAX_US;
    colo_resend_tick(kept_by, l.now_us);
    check_again(&l, &data, 1); /* the word is too old, the answer is not */
    says(&other, data);
    colo_resend_tick(kept_by, COLO_RESEND_FLOW_MAX_US - 1);
    g_assert_cmpuint(stats_of().flows, ==, 1);
    colo_resend_tick(kept_by, COLO_RESEND_FLOW_MAX_US);
    g_assert_cmpuint(stats_of().flows, ==, 0);
    g_assert_cmpuint(stats_of().kept_bytes, ==, 0);
    end();
}

/* A frame that calls itself an acknowledgement and is all padding. */
static void test_padded_word(void)
{
    Lane l = begin(NULL);
    Seg s = SEG(.seq = 5, .ack = 15, .flags = ACK);
    ColoNetFrame *small = lane_frame(&l, true, &s);
    ColoNetFrame *f = colo_net_frame_new(0, 60000);
    ColoPacket p;

    memset(f->data, 0, f->size);
    memcpy(f->data, small->data, small->size);
    colo_packet_parse_frame(f, &p);
    colo_resend_egress(kept_by, f, &p, 0);
    check_again(&l, NULL, 0);
    colo_net_frame_free(small);
    end();
}

/* -------------------------------------------------- what came another way */

static void test_news(void)
{
    Lane l = begin(NULL);
    const Seg data = SEG(.seq = 10, .ack = 100, .flags = ACK,
                         .data_bytes = 5);

    g_assert_true(is_news(&l, data));           /* not known */
    says(&l, SEG(.seq = 100, .ack = 10, .flags = ACK, .data_bytes = 30));
    g_assert_true(is_news(&l, data));
    hears(&l, data);
    g_assert_false(is_news(&l, data));
    g_assert_true(is_news(&l, SEG(.seq = 12, .ack = 100, .flags = ACK,
                                  .data_bytes = 5)));
    g_assert_true(is_news(&l, SEG(.seq = 15, .ack = 130,
                                  .flags = ACK | FIN)));
    g_assert_true(is_news(&l, SEG(.seq = 15, .ack = 130, .flags = ACK)));
    hears(&l, SEG(.seq = 15, .ack = 130, .flags = ACK));
    g_assert_false(is_news(&l, SEG(.seq = 15, .ack = 129, .flags = ACK)));
    g_assert_true(is_news(&l, SEG(.seq = 10, .flags = RST)));
    g_assert_true(is_news(&l, SEG(.seq = 10, .flags = SYN)));
    end();
}

/* What the guest has acknowledged it has got, whoever brought it. */
static void test_news_by_the_guest(void)
{
    Lane l = begin(NULL);

    says(&l, SEG(.seq = 100, .ack = 15, .flags = ACK));
    g_assert_false(is_news(&l, SEG(.seq = 10, .ack = 100, .flags = ACK,
                                   .data_bytes = 5)));
    g_assert_true(is_news(&l, SEG(.seq = 10, .ack = 100, .flags = ACK,
                                  .data_bytes = 6)));
    end();
}

/* ------------------------------------------------------ a clock that lags */

static void check_settled(Lane *l, uint32_t tsval, uint32_t expected)
{
    Seg s = SEG(.seq = 130, .ack = 25, .flags = ACK, .tsval = tsval,
                .tsecr = 6);
    ColoNetFrame *f = lane_frame(l, true, &s);
    ColoPacket p;
    bool changed;

    colo_packet_parse_frame(f, &p);
    changed = colo_resend_settle(kept_by, colo_net_frame_eth(f), &p);
    g_assert_cmpint(changed, ==, tsval != expected);
    s = lane_read(f);
    g_assert_cmpuint(s.tsval, ==, expected);
    colo_net_frame_free(f);
}

static void test_settle(void)
{
    Lane l = begin(NULL), plain = lane_of(NULL, 40001);
    const Seg said = SEG(.seq = 100, .ack = 15, .flags = ACK, .tsval = 70,
                         .tsecr = 5, .data_bytes = 30);

    says(&l, said);
    says(&plain, SEG(.seq = 100, .ack = 15, .flags = ACK));
    hears(&l, SEG(.seq = 15, .ack = 130, .flags = ACK, .tsval = 6,
                  .tsecr = 85));
    l.now_us += COLO_RESEND_WORD_MAX_US;
    check_again(&l, NULL, 0);
    g_assert_cmpuint(stats_of().flows, ==, 1);
    colo_resend_tick(kept_by, l.now_us + COLO_RESEND_FLOW_MAX_US);
    check_settled(&plain, 60, 60);
    check_settled(&l, 72, 85 + SLACK);
    check_settled(&l, 84 + SLACK, 85 + SLACK);
    check_settled(&l, 85 + SLACK, 85 + SLACK);
    g_assert_cmpuint(stats_of().flows, ==, 0);
    check_settled(&l, 50, 50);
    end();
}

/* A flow that nobody speaks in is not remembered for ever. */
static void test_settle_silent(void)
{
    Lane l = begin(NULL);

    says(&l, SEG(.seq = 100, .ack = 15, .flags = ACK, .tsval = 70));
    colo_net_frame_free(colo_resend_take(kept_by, 5));
    colo_resend_tick(kept_by, 5 + COLO_RESEND_SETTLE_MAX_US - 1);
    g_assert_cmpuint(stats_of().flows, ==, 1);
    colo_resend_tick(kept_by, 5 + COLO_RESEND_SETTLE_MAX_US);
    g_assert_cmpuint(stats_of().flows, ==, 0);
    end();
}

static void register_rows(void)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strdup_printf("/resend/row/%s",
                                                rows[i].name);

        g_test_add_data_func(path, &rows[i], test_row);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    register_rows();
    g_test_add_func("/resend/flows", test_flows);
    g_test_add_func("/resend/other-protocols", test_other_protocols);
    g_test_add_func("/resend/checkpoint", test_checkpoint);
    g_test_add_func("/resend/manners", test_manners);
    g_test_add_func("/resend/bound/flow", test_flow_bound);
    g_test_add_func("/resend/bound/all", test_bound_of_all);
    g_test_add_func("/resend/bound/flows", test_flows_bound);
    g_test_add_func("/resend/bound/ages", test_ages);
    g_test_add_func("/resend/bound/padded-word", test_padded_word);
    g_test_add_func("/resend/news", test_news);
    g_test_add_func("/resend/news-by-the-guest", test_news_by_the_guest);
    g_test_add_func("/resend/settle", test_settle);
    g_test_add_func("/resend/settle-silent", test_settle_silent);
    return g_test_run();
}
