/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rewriter's table: how flows end, what a checkpoint and a failover leave
 * of it, its bound, and its way to another side.
 */
#include "rewrite-test.h"

enum { ACK = NET_ACK, SYN = NET_SYN, FIN = NET_FIN, RST = NET_RST };

static void set_port(Lane *l, uint16_t client_port)
{
    l->path.dst_port = client_port;
}

/* Is this flow translated by @delta now? */
static void check_delta(Lane *l, uint32_t delta)
{
    lane_out(l, SEG(.seq = 5000, .ack = 900, .flags = ACK),
             SEG(.seq = 5000 + delta, .ack = 900, .flags = ACK));
    lane_in(l, SEG(.seq = 900, .ack = 5000 + delta, .flags = ACK),
            SEG(.seq = 900, .ack = 5000, .flags = ACK));
}

static uint64_t flows(const Lane *l)
{
    return lane_stats(l).flows;
}

/* ------------------------------------------------------------------- ends */

static void guest_says(Lane *l, uint8_t flags)
{
    const Seg s = SEG(.seq = 60, .ack = 501, .flags = flags);

    lane_pass(l, true, &s);
}

static void client_says(Lane *l, uint8_t flags)
{
    const Seg s = SEG(.seq = 501, .ack = flags & ACK ? 101 : 0,
                      .flags = flags);

    lane_pass(l, false, &s);
}

/* Each case is one conversation after the handshake: 'g' and 'c' say ACK,
 * 'G' and 'C' FIN, '!' and '?' RST of guest and client. */
static void test_ends(void)
{
    static const struct {
        const char *talk;
        bool ends;
    } cases[] = {
        { "", false }, { "gcgc", false }, { "G", false }, { "C", false },
        { "GgcgG", false }, { "CCC", false }, { "GC", true }, { "CG", true },
        { "GcgC", true }, { "CgcgG", true }, { "CGcg", true },
        { "!", true }, { "?", true }, { "!c", true }, { "?c", true },
        { "?g", false },       /* the guest did not believe it */
        { "!g", false }, { "?g?", true }, { "GC?g", true },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        Lane l = lane_new();
        const char *at;

        lane_accept(&l, 100, 50);
        for (at = cases[i].talk; *at; at++) {
            uint8_t flags = strchr("!?", *at) ? RST
                          : strchr("GC", *at) ? FIN | ACK : ACK;

            (strchr("gG!", *at) ? guest_says : client_says)(&l, flags);
        }
        colo_rewrite_tick(l.r, l.now_us + LINGER_US - 1);
        g_assert_cmpuint(flows(&l), ==, 1);
        colo_rewrite_tick(l.r, l.now_us + LINGER_US);
        g_assert_cmpuint(flows(&l), ==, !cases[i].ends);
        colo_rewrite_free(l.r);
    }
}

/* What is still on its way is translated, and keeps the flow a while. */
static void test_linger(void)
{
    Lane l = lane_new();
    unsigned i;

    lane_accept(&l, 100, 50);
    guest_says(&l, FIN | ACK);
    client_says(&l, FIN | ACK);
    for (i = 0; i < 5; i++) {
        l.now_us += LINGER_US - 3;
        colo_rewrite_tick(l.r, l.now_us);
        check_delta(&l, 50);
    }
    l.now_us += LINGER_US;
    colo_rewrite_tick(l.r, l.now_us);
    check_delta(&l, 0);
    colo_rewrite_free(l.r);
}

/* A handshake that comes to nothing is forgotten, too; each in its time. */
static void test_half_open_lingers(void)
{
    Lane l = lane_new();
    unsigned i;

    for (i = 0; i < 10; i++) {
        set_port(&l, i);
        l.now_us = i * 100;
        lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    }
    set_port(&l, 3);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    for (i = 0; i < 9; i++) {
        colo_rewrite_tick(l.r, LINGER_US + i * 100 + 1);
        g_assert_cmpuint(flows(&l), ==, i < 3 ? 9 - i : 10 - i);
    }
    colo_rewrite_tick(l.r, LINGER_US + 902);
    g_assert_cmpuint(flows(&l), ==, 0);
    colo_rewrite_free(l.r);
}

/* ---------------------------------------------- checkpoints and failovers */

static void test_reset(void)
{
    Lane l = lane_new();

    lane_accept(&l, 100, 50);
    set_port(&l, 2);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    colo_rewrite_reset(l.r);
    g_assert_cmpuint(flows(&l), ==, 0);
    colo_rewrite_tick(l.r, INT64_MAX);
    check_delta(&l, 0);
    /* amidst a handshake: the guest's SYN is the primary's now */
    lane_in_same(&l, SEG(.seq = 9, .ack = 51, .flags = SYN | ACK));
    lane_accept(&l, 100, 100);
    check_delta(&l, 0);
    colo_rewrite_free(l.r);
}

/* One flow with a difference, one without, one in each half-open state. */
static Lane lane_of_four(void)
{
    Lane l = lane_new();

    set_port(&l, 1);
    lane_accept(&l, 100, 50);
    set_port(&l, 2);
    lane_accept(&l, 50, 50);
    set_port(&l, 3);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    set_port(&l, 4);
    lane_out_same(&l, SEG(.seq = 50, .ack = 501, .flags = SYN | ACK));
    g_assert_cmpuint(flows(&l), ==, 4);
    return l;
}

static void test_survive(void)
{
    Lane l = lane_of_four();

    set_port(&l, 9);
    lane_accept(&l, 50, 50);
    guest_says(&l, RST);       /* without a difference, and lingering */
    colo_rewrite_survive(l.r);
    g_assert_cmpuint(flows(&l), ==, 3);
    set_port(&l, 1);
    check_delta(&l, 50);
    set_port(&l, 2);
    check_delta(&l, 0);
    /* the client heard of the dead primary's SYN */
    set_port(&l, 3);
    lane_in(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK),
            SEG(.seq = 9, .ack = 51, .flags = SYN | ACK));
    check_delta(&l, 50);
    /* or it has heard only ours */
    set_port(&l, 4);
    lane_out_same(&l, SEG(.seq = 50, .ack = 501, .flags = SYN | ACK));
    lane_in_same(&l, SEG(.seq = 501, .ack = 51, .flags = ACK));
    g_assert_cmpuint(flows(&l), ==, 2);
    /* nothing new, and nothing of the old where a port is used again */
    set_port(&l, 5);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    lane_in_same(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK));
    set_port(&l, 1);
    lane_out_same(&l, SEG(.seq = 50000, .flags = SYN));
    check_delta(&l, 0);
    g_assert_cmpuint(flows(&l), ==, 1);
    colo_rewrite_tick(l.r, INT64_MAX);
    g_assert_cmpuint(flows(&l), ==, 1);
    colo_rewrite_free(l.r);
}

/* A survivor that gives up on a handshake opens its own. */
static void test_survivor_opens_anew(void)
{
    Lane l = lane_of_four();

    colo_rewrite_survive(l.r);
    set_port(&l, 3);
    lane_out_same(&l, SEG(.seq = 60, .flags = SYN));
    lane_in_same(&l, SEG(.seq = 9, .ack = 61, .flags = SYN | ACK));
    check_delta(&l, 0);
    colo_rewrite_free(l.r);
}

/* The primary's SYN has got there, the answer has not come back. */
static void test_survivor_is_challenged(void)
{
    Lane l = lane_of_four();
    const Seg challenge = SEG(.seq = 9, .ack = 101, .flags = ACK);

    set_port(&l, 3);
    lane_in_same(&l, challenge);       /* in lockstep it tells nothing */
    colo_rewrite_survive(l.r);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    lane_in(&l, challenge, SEG(.seq = 9, .ack = 51, .flags = ACK));
    lane_out(&l, SEG(.seq = 50, .flags = SYN), SEG(.seq = 100, .flags = SYN));
    lane_in(&l, SEG(.seq = 8, .ack = 101, .flags = SYN | ACK),
            SEG(.seq = 8, .ack = 51, .flags = SYN | ACK));
    check_delta(&l, 50);
    colo_rewrite_free(l.r);
}

static void test_learning_off(void)
{
    Lane l = lane_of(colo_rewrite_new(FLOWS_MAX, LINGER_US), 1);

    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    g_assert_cmpuint(flows(&l), ==, 0);
    colo_rewrite_set_learning(l.r, true);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    g_assert_cmpuint(flows(&l), ==, 1);
    colo_rewrite_set_learning(l.r, false);
    lane_in(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK),
            SEG(.seq = 9, .ack = 51, .flags = SYN | ACK));
    colo_rewrite_set_learning(l.r, true);
    check_delta(&l, 50);
    colo_rewrite_free(l.r);
}

/* ------------------------------------------------------------------ bound */

static void test_bound(void)
{
    Lane l = lane_of(colo_rewrite_new(3, LINGER_US), 1);
    unsigned port;

    colo_rewrite_set_learning(l.r, true);
    /* half-open ones make room, the oldest first */
    for (port = 1; port <= 4; port++) {
        set_port(&l, port);
        lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    }
    g_assert_cmpuint(lane_stats(&l).evicted_flows, ==, 1);
    set_port(&l, 1);
    lane_in_same(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK));
    for (port = 2; port <= 4; port++) {
        set_port(&l, port);
        lane_in(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK),
                SEG(.seq = 9, .ack = 51, .flags = SYN | ACK));
    }
    /* live ones do not */
    set_port(&l, 5);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    lane_in_same(&l, SEG(.seq = 9, .ack = 101, .flags = SYN | ACK));
    g_assert_cmpuint(lane_stats(&l).refused_flows, ==, 1);
    for (port = 2; port <= 4; port++) {
        set_port(&l, port);
        check_delta(&l, 50);
    }
    /* ended ones do */
    guest_says(&l, RST);
    set_port(&l, 5);
    lane_accept(&l, 100, 60);
    check_delta(&l, 40);
    g_assert_cmpuint(lane_stats(&l).refused_flows, ==, 1);
    g_assert_cmpuint(lane_stats(&l).evicted_flows, ==, 2);
    g_assert_cmpuint(flows(&l), ==, 3);
    colo_rewrite_free(l.r);
}

static void test_no_room_at_all(void)
{
    Lane l = lane_of(colo_rewrite_new(0, LINGER_US), 1);

    colo_rewrite_set_learning(l.r, true);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    g_assert_cmpuint(lane_stats(&l).refused_flows, ==, 1);
    colo_rewrite_free(l.r);
}

/* ------------------------------------------------------------------ travel */

static ColoRewriteFlow *export_all(const Lane *l, uint32_t *count)
{
    uint32_t room = colo_rewrite_export_count(l->r);
    ColoRewriteFlow *out = g_new0(ColoRewriteFlow, room + 1);

    *count = room + 1;
    colo_rewrite_export(l->r, out, count);
    g_assert_cmpuint(*count, ==, room);
    return out;
}

static void test_travel(void)
{
    Lane l = lane_of_four(), other = lane_new();
    g_autofree ColoRewriteFlow *list = NULL;
    uint32_t count;

    set_port(&l, 6);
    l.path.family = 6;
    l.path.tag_count = 2;
    l.path.tags[0] = 5;
    l.path.tags[1] = 4095;
    lane_accept(&l, 100, 200);
    guest_says(&l, FIN | ACK);
    client_says(&l, FIN | ACK);
    list = export_all(&l, &count);
    g_assert_cmpuint(count, ==, 2);
    lane_accept(&other, 9, 8);
    other.now_us = 50000;
    g_assert_true(colo_rewrite_import(other.r, list, count, other.now_us));
    g_assert_cmpuint(flows(&other), ==, 2);
    check_delta(&other, 0);
    set_port(&other, 1);
    check_delta(&other, 50);
    other.path = l.path;
    check_delta(&other, -100);
    /* the one that has ended goes on lingering, from its arrival on */
    g_assert_true(colo_rewrite_import(other.r, list, count, 60000));
    colo_rewrite_tick(other.r, 60000 + LINGER_US - 1);
    g_assert_cmpuint(flows(&other), ==, 2);
    colo_rewrite_tick(other.r, 60000 + LINGER_US);
    g_assert_cmpuint(flows(&other), ==, 1);
    colo_rewrite_free(l.r);
    colo_rewrite_free(other.r);
}

/* Clocks alone are a difference, and travel. */
static void test_travel_clock(void)
{
    Lane l = lane_new();
    g_autofree ColoRewriteFlow *list = NULL;
    uint32_t count;

    lane_out_same(&l, SEG(.seq = 50, .flags = SYN, .tsval = 7));
    lane_in(&l, SEG(.seq = 9, .ack = 51, .flags = SYN | ACK, .tsval = 1,
                    .tsecr = 9),
            SEG(.seq = 9, .ack = 51, .flags = SYN | ACK, .tsval = 1,
                .tsecr = 7));
    list = export_all(&l, &count);
    g_assert_cmpuint(count, ==, 1);
    g_assert_cmpuint(list[0].ts_delta, ==, 2);
    colo_rewrite_reset(l.r);
    g_assert_true(colo_rewrite_import(l.r, list, 1, 0));
    lane_out(&l, SEG(.seq = 51, .ack = 10, .flags = ACK, .tsval = 8),
             SEG(.seq = 51, .ack = 10, .flags = ACK, .tsval = 10));
    colo_rewrite_free(l.r);
}

/* Opened anew by the guest, an imported flow is learned like any other. */
static void test_imported_anew(void)
{
    const ColoRewriteFlow flow = {
        .family = 4, .guest = { 192, 0, 2, 1 }, .client = { 192, 0, 2, 99 },
        .guest_port = 80, .client_port = 40000, .seq_delta = 7,
    };
    Lane l = lane_new();

    g_assert_true(colo_rewrite_import(l.r, &flow, 1, 0));
    check_delta(&l, 7);
    lane_accept(&l, 100, 50);
    check_delta(&l, 50);
    g_assert_true(colo_rewrite_import(l.r, &flow, 1, 0));
    colo_rewrite_survive(l.r);
    lane_out_same(&l, SEG(.seq = 50, .flags = SYN));
    g_assert_cmpuint(flows(&l), ==, 0);
    /* what its first number was is not known: it was not 0 either */
    g_assert_true(colo_rewrite_import(l.r, &flow, 1, 0));
    lane_out_same(&l, SEG(.seq = 0, .flags = SYN));
    g_assert_cmpuint(flows(&l), ==, 0);
    colo_rewrite_free(l.r);
}

/* Less room than there is to export: the rest stays out. */
static void test_export_room(void)
{
    Lane l = lane_of_four();
    ColoRewriteFlow out[2] = { { .family = 99 }, { .family = 99 } };
    uint32_t count = 0;

    set_port(&l, 7);
    lane_accept(&l, 100, 50);
    colo_rewrite_export(l.r, out, &count);
    g_assert_cmpuint(count, ==, 0);
    g_assert_cmpuint(out[0].family, ==, 99);
    count = 1;
    colo_rewrite_export(l.r, out, &count);
    g_assert_cmpuint(count, ==, 1);
    g_assert_cmpuint(out[0].family, ==, 4);
    g_assert_cmpuint(out[1].family, ==, 99);
    colo_rewrite_free(l.r);
}

static void test_nonsense(void)
{
    static const ColoRewriteFlow good = { .family = 4, .seq_delta = 1 };
    const ColoRewriteFlow bad[] = {
        { .family = 0, .seq_delta = 1 }, { .family = 5, .seq_delta = 1 },
        { .family = 4 },
        { .family = 4, .seq_delta = 1, .guest = { 0, 0, 0, 0, 1 } },
        { .family = 4, .seq_delta = 1, .client = { [15] = 1 } },
        { .family = 4, .seq_delta = 1, .tag_count = 3 },
        { .family = 4, .seq_delta = 1, .tag_count = 255 },
        { .family = 4, .seq_delta = 1, .tags = { 1 } },
        { .family = 4, .seq_delta = 1, .tag_count = 1, .tags = { 1, 1 } },
        { .family = 4, .seq_delta = 1, .tag_count = 1, .tags = { 4096 } },
        good,                  /* a second time */
    };
    ColoRewriteFlow many[FLOWS_MAX + 1];
    Lane l = lane_new();
    unsigned i;

    lane_accept(&l, 100, 50);
    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        ColoRewriteFlow in[2] = { good, bad[i] };

        in[0].client_port = i < G_N_ELEMENTS(bad) - 1 ? 9 : 0;
        g_assert_false(colo_rewrite_import(l.r, in, 2, 0));
        g_assert_cmpuint(flows(&l), ==, 1);
        check_delta(&l, 50);
    }
    for (i = 0; i < G_N_ELEMENTS(many); i++) {
        many[i] = good;
        many[i].client_port = i;
    }
    g_assert_false(colo_rewrite_import(l.r, many, FLOWS_MAX + 1, 0));
    check_delta(&l, 50);
    g_assert_true(colo_rewrite_import(l.r, many, FLOWS_MAX, 0));
    g_assert_cmpuint(flows(&l), ==, FLOWS_MAX);
    g_assert_true(colo_rewrite_import(l.r, NULL, 0, 0));
    g_assert_cmpuint(flows(&l), ==, 0);
    colo_rewrite_free(l.r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rewrite-table/ends", test_ends);
    g_test_add_func("/rewrite-table/linger", test_linger);
    g_test_add_func("/rewrite-table/half-open", test_half_open_lingers);
    g_test_add_func("/rewrite-table/reset", test_reset);
    g_test_add_func("/rewrite-table/survive", test_survive);
    g_test_add_func("/rewrite-table/survivor-is-challenged",
                    test_survivor_is_challenged);
    g_test_add_func("/rewrite-table/survivor-opens",
                    test_survivor_opens_anew);
    g_test_add_func("/rewrite-table/learning-off", test_learning_off);
    g_test_add_func("/rewrite-table/bound", test_bound);
    g_test_add_func("/rewrite-table/no-room", test_no_room_at_all);
    g_test_add_func("/rewrite-table/travel", test_travel);
    g_test_add_func("/rewrite-table/travel-clock", test_travel_clock);
    g_test_add_func("/rewrite-table/imported-anew", test_imported_anew);
    g_test_add_func("/rewrite-table/export-room", test_export_room);
    g_test_add_func("/rewrite-table/nonsense", test_nonsense);
    return g_test_run();
}
