/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is the same for every protocol: epochs, releases, modes, bounds, rules,
 * and what is asked for. The text of each case is a story, see
 * compare-script.h.
 */
#include "compare-script.h"

static const Script epochs[] = {
    { "none", "p u1; s u1 > u1" },
    { "cut-holds-until-release", "p u1; p 0+9; cut 1; held 2; "
      "release 1 > u1, 0+9; held 0; checkpointed 2" },
    { "order-of-arrival", "p u1; p 0+9; p u2; p 9+0; p i1; cut 1; "
      "release 1 > u1, 0+9, u2, 9+0, i1" },
    { "what-was-proven-has-left", "p u1; p u2; s u1 > u1; cut 1; "
      "release 1 > u2" },
    { "nothing-leaves-in-between", "cut 1; epoch 1; p u1; s u1; held 1; "
      "release 1 > u1" },
    { "the-secondary-is-not-there-yet", "p u1; cut 1; p u2; s u1; s u2; "
      "stale 2; release 1 > u1; s u2; stale 3; epoch 1; s u2 > u2" },
    { "the-secondary-is-there-early", "epoch 1; s u2; p u1; cut 1; p u2; "
      "release 1 > u1, u2" },
    { "answers-of-two-epochs-early", "epoch 1; s u1; epoch 2; s u2; cut 1; "
      "release 1; p u1 > u1; p u2; cut 2; release 2 > u2; p u2 > u2" },
    { "answers-of-a-skipped-epoch", "epoch 1; s u1; epoch 2; s u2; cut 2; "
      "release 2; stale 1; p u2 > u2" },
    { "release-before-its-cut", "p u1; release 1; held 1; cut 1 > u1; "
      "epoch 1; p u2; s u2 > u2" },
    { "release-early-counts-once", "release 1; cut 1; p u1; cut 2; held 1; "
      "release 2 > u1" },
    { "comparison-while-a-release-is-early", "p u1; release 1; s u1 > u1; "
      "p u2; cut 1 > u2" },
    { "two-cuts-one-release", "p u1; cut 1; p u2; cut 2; release 1 > u1; "
      "held 1; release 2 > u2" },
    { "two-cuts-released-at-once", "p u1; cut 1; p u2; cut 2; p u3; "
      "release 2 > u1, u2; held 1; epoch 2; s u3 > u3" },
    { "between-two-cuts-nothing-is-compared", "cut 1; cut 2; release 1; "
      "epoch 2; p u1; s u1; held 1; release 2 > u1" },
    { "old-numbers-do-nothing", "cut 5; release 5; epoch 5; p u1; cut 5; "
      "cut 4; release 3; epoch 4; s u1 > u1" },
    { "release-of-whatever-was-cut", "p u1; cut 1; p u2; cut 2; p u3; "
      "release max > u1, u2; held 1; epoch 2; s u3 > u3" },
    { "release-of-whatever-is-no-promise", "release max; p u1; cut 1; "
      "held 1; release 1 > u1; release max; p u2; cut 2; held 1" },
    { "state-is-taken-over", "p 0+9 a5; s 0+9 a5 > 0+9 a5; p 9+9 a5; cut 1; "
      "release 1 > 9+9 a5; epoch 1; p 9+9 a5 > 9+9 a5; s 18+9 a5; "
      "p 18+9 a5 > 18+9 a5" },
    { "acks-are-taken-over", "p 0+0 a5; s 0+0 a9 > 0+0 a5; cut 1; release 1; "
      "epoch 1; p 0+0 a9; held 1; s 0+0 a9 > 0+0 a9" },
    { "the-secondary's-are-forgotten", "s u1; s u2; s 0+9; cut 1; release 1; "
      "epoch 1; p u1; p 0+9; held 2" },
    { "large-numbers", "cut 18446744073709551614; p u1; "
      "release 18446744073709551614; epoch 18446744073709551614; "
      "s u1 > u1" },
};

static const Script gaps[] = {
    { "a-stream-finds-itself", "p 0+9; s 0+9 > 0+9; gap; p 9+9; "
      "s 9+9 > 9+9" },
    { "what-is-missing-is-not-proven", "p 0+9; s 0+9 > 0+9; p 9+9; gap; "
      "s 18+9; p 18+9; held 2; cut 1; release 1 > 9+9, 18+9; epoch 1; "
      "p 27+9; s 27+9 > 27+9" },
    { "datagrams-wait-for-the-cut", "p u1; s u1 > u1; gap; "
      "p u2 ! timeout; s u2; held 1; cut 1; release 1 > u2; epoch 1; "
      "p u3; s u3 > u3" },
    { "of-what-is-held", "p u1; p 0+9; gap ! timeout; s u1; "
      "s 0+9 > 0+9; held 1" },
    { "at-an-epoch-to-come", "epoch 1; s u1; gap; p u1; s u2; cut 1; "
      "release 1 > u1; p u1 ! timeout; p u2; held 2; cut 2; "
      "release 2 > u1, u2; epoch 2; p u3; s u3 > u3" },
    { "a-begin-at-an-epoch-to-come", "epoch 1; gap; s 9+9; cut 1; "
      "release 1; p 0+9; p 9+9; held 2" },
    { "over-with-the-epoch", "gap; cut 1; release 1; epoch 1; p 0+9; "
      "s 0+9 > 0+9; p u1; s u1 > u1" },
};

static const Script modes[] = {
    { "pass", "mode pass; p u1 > u1; p 0+9 > 0+9; s u1; passed 2; held 0; "
      "flows 0" },
    { "pass-lets-go-in-order", "p u1; cut 1; p 0+9; cut 2; p u2; "
      "mode pass > u1, 0+9, u2; held 0" },
    { "pass-lets-go-what-is-not-released", "cut 1; p u1; p 0+9; "
      "mode pass > u1, 0+9" },
    { "pass-then-match", "p 0+9; s 0+9 > 0+9; mode pass; p 9+9 > 9+9; "
      "s 18+9; mode match; flows 0; p 18+9; s 18+9 > 18+9" },
    { "a-new-pair-counts-anew", "cut 57; release 57; epoch 57; mode pass; "
      "mode match; cut 1; release 1; epoch 1; p u1; s u1 > u1; p u2; cut 2; "
      "held 1; release 2 > u2" },
    { "a-marker-comes-late", "cut 57; release 57; mode pass; cut 58; "
      "mode match; p u1; cut 1; release 1 > u1; epoch 1; p u2; s u2 > u2" },
    { "a-marker-comes-early", "cut 57; release 57; epoch 56; mode pass; "
      "cut 1; epoch 1; mode match; release 1; p u1; s u1 > u1; cut 2; "
      "release 2; p u2; s u2; stale 1; epoch 2; s u2 > u2" },
    { "buffer", "mode buffer; p u1; s u1; p 0+9; s 0+9; p 0+0 a5; s 0+0 a5; "
      "held 3; matched 0; cut 1; release 1 > u1, 0+9, 0+0 a5; "
      "checkpointed 3" },
    { "buffer-still-compares", "mode buffer; p u1; s u1 x30 "
      "! mismatch payload; p 0+9; s 0+9 x5; held 2; cut 1; "
      "release 1 > u1, 0+9; epoch 1; p u2; s u2 x30 ! mismatch payload" },
    { "buffer-makes-nothing", "mode buffer; p 0+50 a20; s 0+30 a10; "
      "tick 1000; p 50+0 a30; s 30+20 a10; made 0; cut 1; "
      "release 1 > 0+50 a20, 50+0 a30" },
    { "buffer-to-match", "mode buffer; p u1; s u1; cut 1; mode match; "
      "release 1 > u1; epoch 1; p u2; s u2 > u2" },
    { "match-to-buffer", "p u1; cut 1; mode buffer; release 1 > u1; "
      "epoch 1; p u2; s u2; held 1" },
    { "nothing-is-asked-without-a-pair", "epoch 1; gap; cut 1; p u1; "
      "mode pass > u1" },
    { "same-mode", "p u1; mode match; s u1 > u1" },
};

static const Script bounds[] = {
    { "frames-of-a-flow", "p u1; p u2; p u3; p u4; p u5; p u6; p u7; p u8; "
      "p u9 ! queue-full; held 9; s u1 > u1; cut 1; "
      "release 1 > u2, u3, u4, u5, u6, u7, u8, u9" },
    { "segments-of-a-flow", "p 0+1; p 1+1; p 2+1; p 3+1; p 4+1; p 5+1; "
      "p 6+1; p 7+1; p 8+1 ! queue-full; held 9" },
    { "frames-of-the-secondary", "s u1; s u2; s u3; s u4; s u5; s u6; s u7; "
      "s u8; s u9 ! queue-full; p u1; s u1; held 1; cut 1; release 1 > u1; "
      "epoch 1; p u2; s u2 > u2" },
    { "bytes", "p 0+9000; full no; p 9000+9000 ! queue-full; full yes; "
      "p u1; held 3; s 0+9000 > 0+9000; full no" },
    { "bytes-of-the-secondary", "s 0+9000; s 0+9000 #1; waiting 2; "
      "s u1 #2 ! queue-full; waiting 2; p u1 #2; held 1; "
      "p 0+9000 > 0+9000; waiting 1; s u1 #3; p u1 #3 > u1; waiting 1; "
      "p 0+9000 #1 > 0+9000 #1; waiting 0; cut 1; release 1 > u1" },
    { "bytes-of-the-secondary-to-come", "epoch 1; s 0+9000; s 9000+9000; "
      "waiting 2; s 18000+9; waiting 2; cut 1; p 0+9000; "
      "release 1 > 0+9000 ! queue-full; waiting 1; "
      "p 9000+9000 > 9000+9000; waiting 0; p 18000+9; held 1" },
    { "the-secondary-starts-anew", "s u1; s 0+9; waiting 2; epoch 1; s u1; "
      "waiting 3; cut 1; waiting 1; mode pass; waiting 0" },
    { "bytes-that-wait-for-a-release", "cut 1; p 0+9000; "
      "p 9000+9000; full yes; epoch 1; "
      "release 1 ! queue-full; s 0+18000 > 0+9000, 9000+9000; full no" },
    { "the-cut-is-behind-what-fills", "p 0+9000; p 9000+9000 ! queue-full; "
      "full yes; release 1; full no; p 18000+9; cut 1 > 0+9000, 9000+9000, "
      "18000+9; full no" },
    { "flows", "p u1; p u1 #1; p u1 #2; p u1 #3; flows 4; "
      "p u1 #4 ! queue-full; p u1 #5; s u1 #4; s u1 > u1; p u2; s u2 > u2; "
      "held 5; cut 1; flows 0; release 1 > u1, u1, u1, u1, u1; epoch 1; "
      "p u1 #5; s u1 #5 > u1" },
    { "flows-of-the-secondary", "s u1; s u1 #1; s u1 #2; s u1 #3; "
      "s 0+9 #4 ! queue-full; p u1 > u1; p 0+9 #4; held 1; cut 1; flows 0; "
      "release 1 > 0+9 #4" },
    { "a-rule-needs-no-room", "rule udp; p 0+9; p 0+9 #1; p 0+9 #2; "
      "p 0+9 #3; p u1 > u1 ! queue-full; cut 1; p u2; cut 2 > u2; "
      "release 2 > 0+9, 0+9 #1, 0+9 #2, 0+9 #3" },
    { "room-comes-too-late", "p 0+9; s 0+9 > 0+9; p u1 #1; s u1 #1 > u1; "
      "p u1 #2; s u1 #2 > u1; p u1 #3; s u1 #3 > u1; "
      "s 0+9 #4 ! queue-full; tick 20000000; flows 0; p 0+9 #4; s 9+9 #4; "
      "p 9+9 #4; held 2" },
};

static const Script rules[] = {
    { "pass", "rule udp; p u1 > u1; s u1; p 0+9; s 0+9 > 0+9; passed 1" },
    { "what-is-held-passes", "p u1; p 0+9; p u2; rule udp > u1, u2; held 1" },
    { "gone-again", "rule tcp; p 0+9 > 0+9; s 0+9; rule none; "
      "p 9+9 ! timeout; s 18+9; p 18+9; held 2; cut 1; "
      "release 1 > 9+9, 18+9; epoch 1; p 27+9; s 27+9 > 27+9" },
    { "gone-in-an-earlier-epoch", "rule tcp; p 0+9 > 0+9; s 0+9; rule none; "
      "cut 1; release 1; epoch 1; p 9+9; s 9+9 > 9+9" },
    { "gone-again-for-datagrams", "rule udp; p u1 > u1; rule none; "
      "s u1 ! timeout; p u2; held 1; cut 1; release 1 > u2; epoch 1; p u3; "
      "s u3 > u3" },
    { "other-kind", "rule icmp; p u1; s u1 > u1" },
    { "diverged-passes", "p u1; s u1 x30 ! mismatch payload; rule udp > u1; "
      "p u2 > u2" },
    { "buffer", "mode buffer; rule udp; p u1 > u1; p 0+9; held 1" },
};

static const Script time_passes[] = {
    { "timeout", "p u1; tick 999999; tick 1 ! timeout; tick 999999; "
      "tick 1 ! timeout; s u1 > u1; tick 5000000" },
    { "timeout-of-the-next", "p u1; tick 600000; p i1; s u1 > u1; "
      "tick 999999; tick 1 ! timeout" },
    { "not-for-what-is-cut", "p u1; cut 1; tick 9000000; release 1 > u1" },
    { "idle-flows-go", "p u1; s u1 > u1; p 0+9; s 0+9 > 0+9; flows 2; "
      "tick 9000000; flows 2; tick 3000000; flows 0" },
    { "used-flows-stay", "p u1; s u1 > u1; tick 9000000; p u2; s u2 > u2; "
      "tick 9000000; flows 1" },
    { "closed-ones-go-sooner", "p 0+9 F; s 0+9 F > 0+9 F; tick 1900000; "
      "flows 1; tick 1200000; flows 0" },
    { "reset-ones-go-sooner", "p 9+0 R; s 9+0 R > 9+0 R; tick 3100000; "
      "flows 0" },
    { "holding-ones-stay", "p u1; tick 20000000 ! timeout; flows 1; "
      "s u1 > u1" },
    { "holding-ones-of-the-secondary-stay", "s u1; tick 20000000; flows 1; "
      "p u1 > u1" },
    { "diverged-ones-stay", "s u1; s u2; s u3; s u4; s u5; s u6; s u7; s u8; "
      "s u9 ! queue-full; tick 20000000; p u9; s u9; held 1" },
};

/* --------------------------------------------------- not a matter of time */

static void test_names(void)
{
    ColoVerdict v, w;

    for (v = 0; v < COLO_VERDICT__MAX; v++) {
        g_assert_cmpstr(colo_verdict_name(v), !=, "unknown");
        for (w = 0; w < v; w++) {
            g_assert_cmpstr(colo_verdict_name(v), !=, colo_verdict_name(w));
        }
    }
    g_assert_cmpstr(colo_verdict_name(COLO_VERDICT__MAX), ==, "unknown");
    g_assert_cmpint(colo_verdict_reason(COLO_VERDICT_MATCH), ==,
                    COLO_REASON_NONE);
    g_assert_cmpint(colo_verdict_reason(COLO_VERDICT_RST), ==,
                    COLO_REASON_MISMATCH);
    g_assert_cmpint(colo_verdict_reason(COLO_VERDICT_TIMEOUT), ==,
                    COLO_REASON_TIMEOUT);
    g_assert_cmpint(colo_verdict_reason(COLO_VERDICT_FLOWS), ==,
                    COLO_REASON_QUEUE_FULL);
}

static void test_limits(void)
{
    ColoCompareLimits l;

    colo_compare_limits_init(&l);
    g_assert_cmpuint(l.hold_us, ==, 3000000);
    g_assert_cmpuint(l.split_us, ==, 1000);
    g_assert_cmpuint(l.flow_idle_us, ==, 300000000);
    g_assert_cmpuint(l.closed_idle_us, ==, 10000000);
    g_assert_cmpuint(l.flows, ==, 65536);
    g_assert_cmpuint(l.queue_frames, ==, 1024);
    g_assert_cmpuint(l.held_bytes, ==, 64 << 20);
}

/* --------------------------------------------------------- what is known */

static ColoCompare *begin(void)
{
    ColoCompareLimits l;
    ColoCompare *c;

    script_limits(&l);
    c = colo_compare_new(&l);
    colo_compare_set_mode(c, COLO_COMPARE_MATCH, 0);
    return c;
}

static ColoNetFrame *udp(uint16_t dst_port, uint8_t value, size_t value_at)
{
    NetPath path = {
        .family = 4, .src = { 10, 0, 7, 2 }, .dst = { 10, 0, 7, 1 },
        .src_port = 53, .dst_port = dst_port,
    };
    NetManner manner = { .ttl = 64 };
    uint8_t body[40] = { 0, 53, dst_port >> 8, dst_port, 0, 40 };

    body[value_at] = value;
    return net_make_ip(&path, &manner, NET_PROTO_UDP, body, sizeof(body));
}

static ColoNetFrame *tcp(uint32_t place, const char *data)
{
    NetPath path = {
        .family = 6, .src = { 0xfd, [15] = 2 }, .dst = { 0xfd, [15] = 1 },
        .src_port = 80, .dst_port = 4711,
    };
    NetManner manner = { .ttl = 64 };
    NetTcp segment = {
        .seq = 5000 + place, .flags = NET_ACK,
        .data = (const uint8_t *)data, .data_bytes = strlen(data),
    };

    return net_make_tcp(&path, &manner, &segment);
}

static void test_difference_of_datagrams(void)
{
    ColoCompare *c = begin();
    ColoDifference d;

    g_assert_false(colo_compare_take_difference(c, &d));
    colo_compare_primary(c, udp(4711, 0xaa, 35), 0);
    colo_compare_secondary(c, udp(4711, 0xbb, 35), 0);
    g_assert_true(colo_compare_take_difference(c, &d));
    g_assert_false(colo_compare_take_difference(c, &d));
    g_assert_cmpint(d.verdict, ==, COLO_VERDICT_PAYLOAD);
    g_assert_cmpstr(d.flow, ==, "udp 10.0.7.2:53 -> 10.0.7.1:4711");
    /* the checksum differs first */
    g_assert_cmpuint(d.offset, >=, 6);
    g_assert_cmpuint(d.offset, <=, 7);
    g_assert_cmpuint(d.primary_count, ==, 16);
    g_assert_cmpuint(d.secondary_count, ==, 16);
    g_assert_cmpint(d.primary[0], !=, d.secondary[0]);
    colo_compare_free(c);
}

static void test_difference_of_streams(void)
{
    ColoCompare *c = begin();
    ColoDifference d;

    colo_compare_primary(c, tcp(0, "equal, one"), 0);
    colo_compare_secondary(c, tcp(0, "equal, "), 0);
    colo_compare_secondary(c, tcp(7, "two and more"), 0);
    g_assert_true(colo_compare_take_difference(c, &d));
    g_assert_cmpint(d.verdict, ==, COLO_VERDICT_PAYLOAD);
    g_assert_cmpstr(d.flow, ==, "tcp fd00::2:80 -> fd00::1:4711");
    g_assert_cmpuint(d.primary_count, ==, 3);
    g_assert_cmpmem(d.primary, 3, "one", 3);
    g_assert_cmpmem(d.secondary, 3, "two", 3);
    colo_compare_free(c);
}

static void test_stats(void)
{
    ColoCompare *c = begin();
    ColoCompareStats st;
    ColoNetFrame *f = udp(1, 7, 20);
    uint32_t size = f->size;

    colo_compare_primary(c, f, 100);
    colo_compare_primary(c, udp(1, 8, 20), 200);
    st = *colo_compare_stats(c);
    g_assert_cmpuint(st.held_frames, ==, 2);
    g_assert_cmpuint(st.held_bytes, ==, 2 * size);
    colo_compare_secondary(c, udp(1, 7, 20), 350);
    colo_compare_secondary(c, udp(1, 9, 20), 350);
    colo_net_frame_free_list(colo_compare_take_output(c));
    st = *colo_compare_stats(c);
    g_assert_cmpuint(st.primary_frames, ==, 2);
    g_assert_cmpuint(st.primary_bytes, ==, 2 * size);
    g_assert_cmpuint(st.secondary_frames, ==, 2);
    g_assert_cmpuint(st.secondary_bytes, ==, 2 * size);
    g_assert_cmpuint(st.released_frames, ==, 1);
    g_assert_cmpuint(st.released_bytes, ==, size);
    g_assert_cmpuint(st.matched_frames, ==, 1);
    g_assert_cmpuint(st.held_frames, ==, 1);
    g_assert_cmpuint(st.held_bytes, ==, size);
    g_assert_cmpuint(st.held_peak_frames, ==, 2);
    g_assert_cmpuint(st.longest_hold_us, ==, 250);
    g_assert_cmpuint(st.verdicts[COLO_VERDICT_PAYLOAD], ==, 1);
    g_assert_cmpuint(st.asked_checkpoints, ==, 1);
    g_assert_cmpuint(st.flows, ==, 1);
    g_assert_cmpuint(st.flows_peak, ==, 1);
    colo_compare_free(c);
}

static void test_rejects(void)
{
    ColoCompare *c = begin();
    ColoNetFrame *f = udp(1, 0, 20);
    ColoCompareStats st;

    colo_net_frame_eth(f)[14] = 0x55;
    colo_compare_primary(c, f, 0);
    st = *colo_compare_stats(c);
    g_assert_cmpuint(st.rejects[COLO_REJECT_IP_VERSION], ==, 1);
    colo_compare_free(c);
}

static void test_rule_counters(void)
{
    ColoRule r[2] = {
        { .name = "dns", .kind = COLO_PACKET_UDP, .has_port = true,
          .port = 53 },
        { .name = "rest", .kind = COLO_PACKET_UDP },
    };
    ColoRule swapped[2] = { r[1], r[0] };
    ColoCompare *c = begin();

    colo_compare_set_rules(c, r, 2, 0);
    colo_compare_primary(c, udp(1, 0, 20), 0);
    colo_compare_primary(c, udp(1, 0, 20), 0);
    g_assert_cmpuint(colo_compare_rule_frames(c, 0), ==, 2);
    g_assert_cmpuint(colo_compare_rule_frames(c, 1), ==, 0);
    colo_compare_set_rules(c, swapped, 2, 0);
    g_assert_cmpuint(colo_compare_rule_frames(c, 1), ==, 2);
    colo_compare_primary(c, udp(1, 0, 20), 0);
    g_assert_cmpuint(colo_compare_rule_frames(c, 0), ==, 1);
    g_assert_cmpuint(colo_compare_rule_frames(c, 2), ==, 0);
    colo_net_frame_free_list(colo_compare_take_output(c));
    colo_compare_free(c);
}

static void test_deadline(void)
{
    ColoCompare *c = begin();

    g_assert_cmpint(colo_compare_deadline_us(c), ==, INT64_MAX);
    colo_compare_primary(c, tcp(0, "0123456789"), 5000);
    g_assert_cmpint(colo_compare_deadline_us(c), <=, 5000 + 1000000);
    colo_compare_secondary(c, tcp(0, "01234"), 6000);
    g_assert_cmpint(colo_compare_deadline_us(c), ==, 7000);
    colo_compare_tick(c, 7000);
    g_assert_cmpint(colo_compare_deadline_us(c), >, 7000);
    colo_net_frame_free_list(colo_compare_take_output(c));
    colo_compare_free(c);
}

/* What is told has to cover what the flow itself takes. */
static void test_flow_bytes(void)
{
    g_assert_cmpuint(colo_compare_flow_bytes(), >, 100);
    g_assert_cmpuint(colo_compare_flow_bytes(), <=, 512);
}

static void test_free_full(void)
{
    ColoCompare *c = begin();

    colo_compare_primary(c, tcp(0, "held"), 0);
    colo_compare_primary(c, udp(1, 0, 20), 0);
    colo_compare_secondary(c, udp(2, 0, 20), 0);
    colo_compare_cut(c, 1, 0);
    colo_compare_primary(c, udp(1, 0, 20), 0);
    colo_compare_secondary_epoch(c, 2, 0);
    colo_compare_secondary(c, udp(2, 0, 20), 0);
    colo_compare_free(c);
    colo_compare_free(begin());
}

static void add_scripts(void)
{
    script_add("/compare/epochs", epochs, G_N_ELEMENTS(epochs));
    script_add("/compare/gaps", gaps, G_N_ELEMENTS(gaps));
    script_add("/compare/modes", modes, G_N_ELEMENTS(modes));
    script_add("/compare/bounds", bounds, G_N_ELEMENTS(bounds));
    script_add("/compare/rules", rules, G_N_ELEMENTS(rules));
    script_add("/compare/time", time_passes, G_N_ELEMENTS(time_passes));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_scripts();
    g_test_add_func("/compare/names", test_names);
    g_test_add_func("/compare/limits", test_limits);
    g_test_add_func("/compare/difference/datagrams",
                    test_difference_of_datagrams);
    g_test_add_func("/compare/difference/streams",
                    test_difference_of_streams);
    g_test_add_func("/compare/stats", test_stats);
    g_test_add_func("/compare/rejects", test_rejects);
    g_test_add_func("/compare/rule-counters", test_rule_counters);
    g_test_add_func("/compare/deadline", test_deadline);
    g_test_add_func("/compare/flow-bytes", test_flow_bytes);
    g_test_add_func("/compare/free-full", test_free_full);
    return g_test_run();
}
