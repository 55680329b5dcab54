/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a checkpoint is due, coalescing of requests, and when hashes pay.
 */
#include <glib.h>
#include "colo/policy.h"

enum { START_MS = 1000, DELAY_MS = 500, GAP_MS = 50 };

static ColoPolicy policy(void)
{
    const ColoLimits limits = { .checkpoint_delay_ms = DELAY_MS,
                                .min_gap_ms = GAP_MS };
    ColoPolicy p;

    colo_policy_init(&p, &limits, START_MS);
    return p;
}

static void test_periodic(void)
{
    ColoPolicy p = policy();

    g_assert_cmpint(colo_policy_due_ms(&p), ==, START_MS + DELAY_MS);
    g_assert_cmpint(colo_policy_poll(&p, START_MS + DELAY_MS - 1), ==,
                    COLO_REASON_NONE);
    g_assert_cmpint(colo_policy_poll(&p, START_MS + DELAY_MS), ==,
                    COLO_REASON_PERIODIC);
    g_assert_cmpint(colo_policy_poll(&p, INT64_MAX), ==,
                    COLO_REASON_PERIODIC);
}

/* No limit but these two, asked for by somebody who does not wait. */
static void test_due_times(void)
{
    static const struct {
        uint32_t delay_ms, min_gap_ms;
        bool pending;
        int64_t due_ms;
    } cases[] = {
        { 0, 0, false, START_MS }, { 0, 0, true, START_MS },
        { 500, 50, false, START_MS + 500 }, { 500, 50, true, START_MS + 50 },
        { 50, 500, false, START_MS + 500 }, { 50, 500, true, START_MS + 500 },
        { UINT32_MAX, 0, false, START_MS + (int64_t)UINT32_MAX },
        { 0, UINT32_MAX, true, START_MS + (int64_t)UINT32_MAX },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        const ColoLimits limits = {
            .checkpoint_delay_ms = cases[i].delay_ms,
            .min_gap_ms = cases[i].min_gap_ms,
            .mismatch_gap_ms = 300,
        };
        ColoPolicy p;

        colo_policy_init(&p, &limits, START_MS);
        if (cases[i].pending) {
            colo_policy_ask(&p, COLO_REASON_USER);
        }
        g_assert_cmpint(colo_policy_due_ms(&p), ==, cases[i].due_ms);
        g_assert_cmpint(colo_policy_poll(&p, cases[i].due_ms - 1), ==,
                        COLO_REASON_NONE);
        g_assert_cmpint(colo_policy_poll(&p, cases[i].due_ms), ==,
                        cases[i].pending ? COLO_REASON_USER
                                         : COLO_REASON_PERIODIC);
    }
}

static void test_set(void)
{
    const ColoLimits other = { .checkpoint_delay_ms = 9000,
                               .min_gap_ms = 90 };
    ColoPolicy p = policy();

    colo_policy_ask(&p, COLO_REASON_TIMEOUT);
    colo_policy_set(&p, &other);
    g_assert_cmpint(colo_policy_due_ms(&p), ==, START_MS + 90);
    g_assert_cmpuint(p.asked[COLO_REASON_TIMEOUT], ==, 1);
    colo_policy_cut(&p, START_MS + 90);
    g_assert_cmpint(colo_policy_due_ms(&p), ==, START_MS + 9000);
}

/* The first reason names the checkpoint; every request is counted. */
static void test_coalesce(void)
{
    ColoPolicy p = policy();
    unsigned i;

    colo_policy_ask(&p, COLO_REASON_MISMATCH);
    for (i = 0; i < 1000; i++) {
        colo_policy_ask(&p, COLO_REASON_QUEUE_FULL);
    }
    g_assert_cmpint(colo_policy_poll(&p, START_MS + GAP_MS), ==,
                    COLO_REASON_MISMATCH);
    colo_policy_begin(&p, COLO_REASON_MISMATCH);
    colo_policy_ask(&p, COLO_REASON_USER);
    colo_policy_cut(&p, 1990);
    colo_policy_end(&p, 2000);
    g_assert_cmpint(colo_policy_poll(&p, 2000 + DELAY_MS - 1), ==,
                    COLO_REASON_NONE);
    g_assert_cmpuint(p.asked[COLO_REASON_MISMATCH], ==, 1);
    g_assert_cmpuint(p.asked[COLO_REASON_QUEUE_FULL], ==, 1000);
    g_assert_cmpuint(p.asked[COLO_REASON_USER], ==, 1);
    g_assert_cmpuint(p.taken[COLO_REASON_MISMATCH], ==, 1);
    g_assert_cmpuint(p.taken[COLO_REASON_QUEUE_FULL], ==, 0);
}

/* What is asked after the cut is not served by this checkpoint. */
static void test_ask_after_cut(void)
{
    ColoPolicy p = policy();

    colo_policy_begin(&p, COLO_REASON_PERIODIC);
    colo_policy_cut(&p, 2990);
    colo_policy_ask(&p, COLO_REASON_DEVICE);
    colo_policy_end(&p, 3000);
    g_assert_cmpint(colo_policy_due_ms(&p), ==, 3000 + GAP_MS);
    g_assert_cmpint(colo_policy_poll(&p, 3000 + GAP_MS - 1), ==,
                    COLO_REASON_NONE);
    g_assert_cmpint(colo_policy_poll(&p, 3000 + GAP_MS), ==,
                    COLO_REASON_DEVICE);
    g_assert_cmpuint(p.taken[COLO_REASON_PERIODIC], ==, 1);
}

/* A storm of requests: the guest always gets its gap. */
static void test_storm(void)
{
    ColoPolicy p = policy();
    int64_t now_ms, ended_ms = START_MS;
    unsigned taken = 0;

    for (now_ms = START_MS; now_ms < START_MS + 10000; now_ms++) {
        ColoReason r;

        colo_policy_ask(&p, COLO_REASON_MISMATCH);
        r = colo_policy_poll(&p, now_ms);
        if (r == COLO_REASON_NONE) {
            continue;
        }
        g_assert_cmpint(now_ms - ended_ms, >=, GAP_MS);
        colo_policy_begin(&p, r);
        colo_policy_cut(&p, now_ms);
        now_ms += 20;
        colo_policy_end(&p, now_ms);
        ended_ms = now_ms;
        taken++;
    }
    g_assert_cmpuint(taken, >=, 10000 / (GAP_MS + 21));
    g_assert_cmpuint(p.taken[COLO_REASON_MISMATCH], ==, taken);
}

/* ---------------------------------------------------------- storm control */

enum { NET_GAP_MS = 20, WINDOW_MS = 1000, ENTER = 4, INTERVAL_MS = 40,
       LEAVE = 3, MIN_MS = 5 };

static const ColoLimits stormy = {
    .checkpoint_delay_ms = DELAY_MS, .min_gap_ms = MIN_MS,
    .mismatch_gap_ms = NET_GAP_MS, .hybrid_enter_count = ENTER,
    .hybrid_window_ms = WINDOW_MS, .hybrid_interval_ms = INTERVAL_MS,
    .hybrid_exit_count = LEAVE,
};

static int64_t due_after(const ColoLimits *limits, bool hybrid,
                         ColoReason first, ColoReason second)
{
    ColoPolicy p;

    colo_policy_init(&p, limits, START_MS);
    p.hybrid = hybrid;
    if (first) {
        colo_policy_ask(&p, first);
    }
    if (second) {
        colo_policy_ask(&p, second);
    }
    return colo_policy_due_ms(&p) - START_MS;
}

/* Who waits for what; the least patient one decides. */
static void test_gap_by_reason(void)
{
    static const struct {
        ColoReason first, second;
        int64_t due_ms, hybrid_due_ms;
    } cases[] = {
        { COLO_REASON_NONE, COLO_REASON_NONE, DELAY_MS, INTERVAL_MS },
        { COLO_REASON_MISMATCH, COLO_REASON_NONE, NET_GAP_MS, INTERVAL_MS },
        { COLO_REASON_TIMEOUT, COLO_REASON_NONE, NET_GAP_MS, INTERVAL_MS },
        { COLO_REASON_QUEUE_FULL, COLO_REASON_NONE, NET_GAP_MS, NET_GAP_MS },
        { COLO_REASON_MISMATCH, COLO_REASON_QUEUE_FULL, NET_GAP_MS,
          NET_GAP_MS },
        { COLO_REASON_USER, COLO_REASON_NONE, MIN_MS, MIN_MS },
        { COLO_REASON_DEVICE, COLO_REASON_NONE, MIN_MS, MIN_MS },
        { COLO_REASON_MISMATCH, COLO_REASON_USER, MIN_MS, MIN_MS },
        { COLO_REASON_QUEUE_FULL, COLO_REASON_DEVICE, MIN_MS, MIN_MS },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpint(due_after(&stormy, false, cases[i].first,
                                  cases[i].second), ==, cases[i].due_ms);
        g_assert_cmpint(due_after(&stormy, true, cases[i].first,
                                  cases[i].second), ==,
                        cases[i].hybrid_due_ms);
    }
}

/* No gap makes anything later than it would be without a request. */
static void test_gap_bounds(void)
{
    ColoLimits l = stormy;

    l.checkpoint_delay_ms = 10;
    g_assert_cmpint(due_after(&l, false, COLO_REASON_MISMATCH, 0), ==, 10);
    g_assert_cmpint(due_after(&l, true, COLO_REASON_MISMATCH, 0), ==, 10);
    l.min_gap_ms = 70;
    g_assert_cmpint(due_after(&l, false, COLO_REASON_MISMATCH, 0), ==, 70);
    g_assert_cmpint(due_after(&l, true, COLO_REASON_NONE, 0), ==, 70);
    g_assert_cmpint(due_after(&l, true, COLO_REASON_USER, 0), ==, 70);
}

/* One epoch: from here to a cut at @cut_ms, with or without a request. */
static void epoch(ColoPolicy *p, ColoReason reason, int64_t cut_ms)
{
    if (reason) {
        colo_policy_ask(p, reason);
    }
    colo_policy_begin(p, reason ? reason : COLO_REASON_PERIODIC);
    colo_policy_cut(p, cut_ms);
    colo_policy_end(p, cut_ms + 1);
}

static ColoPolicy policy_in_hybrid(int64_t now_ms)
{
    ColoPolicy p;
    unsigned i;

    colo_policy_init(&p, &stormy, START_MS);
    for (i = 0; i < ENTER; i++) {
        g_assert_false(p.hybrid);
        epoch(&p, i % 2 ? COLO_REASON_TIMEOUT : COLO_REASON_MISMATCH,
              now_ms - (ENTER - 1 - i) * 10);
    }
    g_assert_true(p.hybrid);
    g_assert_cmpint(p.hybrid_since_ms, ==, now_ms);
    return p;
}

static void test_hybrid_cycle(void)
{
    ColoPolicy p = policy_in_hybrid(2000);
    unsigned i;

    g_assert_cmpuint(p.hybrid_entered_count, ==, 1);
    g_assert_cmpuint(p.diverged_count, ==, ENTER);
    g_assert_cmpint(colo_policy_poll(&p, 2001 + INTERVAL_MS), ==,
                    COLO_REASON_PERIODIC);
    colo_policy_ask(&p, COLO_REASON_MISMATCH);
    g_assert_cmpint(colo_policy_poll(&p, 2000 + INTERVAL_MS), ==,
                    COLO_REASON_NONE);
    g_assert_cmpint(colo_policy_poll(&p, 2001 + INTERVAL_MS), ==,
                    COLO_REASON_MISMATCH);
    /* clean epochs in a row; one that is not begins the count anew */
    for (i = 0; i < LEAVE - 1; i++) {
        epoch(&p, COLO_REASON_NONE, 3000 + i);
    }
    g_assert_true(p.hybrid);
    epoch(&p, COLO_REASON_TIMEOUT, 4000);
    for (i = 0; i < LEAVE; i++) {
        g_assert_true(p.hybrid);
        epoch(&p, i % 2 ? COLO_REASON_USER : COLO_REASON_QUEUE_FULL,
              5000 + i);
    }
    g_assert_false(p.hybrid);
    g_assert_cmpint(colo_policy_due_ms(&p), ==, p.last_end_ms + DELAY_MS);
}

/* Having left, it takes a whole new storm to enter. */
static void test_hybrid_again(void)
{
    ColoPolicy p = policy_in_hybrid(2000);
    unsigned i;

    for (i = 0; i < 2 * COLO_HYBRID_ENTER_COUNT_MAX; i++) {
        epoch(&p, COLO_REASON_MISMATCH, 2001 + i);
    }
    for (i = 0; i < LEAVE; i++) {
        epoch(&p, COLO_REASON_NONE, 2200 + i);
    }
    for (i = 0; i < ENTER; i++) {
        g_assert_false(p.hybrid);
        epoch(&p, COLO_REASON_MISMATCH, 2300 + i);
    }
    g_assert_true(p.hybrid);
    g_assert_cmpuint(p.hybrid_entered_count, ==, 2);
    colo_policy_stop(&p);
    g_assert_false(p.hybrid);
}

/* The window holds the first and the last of the cuts that count. */
static void test_hybrid_window(void)
{
    static const struct {
        int64_t apart_ms;
        bool enters;
    } cases[] = {
        { WINDOW_MS / (ENTER - 1), true },
        { WINDOW_MS / (ENTER - 1) + 1, false },
    };
    unsigned i, n;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        ColoPolicy p;

        colo_policy_init(&p, &stormy, START_MS);
        for (n = 0; n < 3 * COLO_HYBRID_ENTER_COUNT_MAX && !p.hybrid; n++) {
            epoch(&p, COLO_REASON_MISMATCH,
                  START_MS + n * cases[i].apart_ms);
            epoch(&p, COLO_REASON_NONE, START_MS + n * cases[i].apart_ms + 1);
        }
        g_assert_cmpint(p.hybrid, ==, cases[i].enters);
        g_assert_cmpuint(n, ==, cases[i].enters
                                ? ENTER : 3 * COLO_HYBRID_ENTER_COUNT_MAX);
    }
}

/* Volume, users, devices and the clock are no divergence. */
static void test_hybrid_reasons(void)
{
    ColoReason reason;

    for (reason = COLO_REASON_NONE; reason < COLO_REASON__MAX; reason++) {
        bool counts = reason == COLO_REASON_MISMATCH ||
                      reason == COLO_REASON_TIMEOUT;
        ColoPolicy p;
        unsigned i;

        colo_policy_init(&p, &stormy, START_MS);
        for (i = 0; i < ENTER; i++) {
            epoch(&p, reason, START_MS + i);
        }
        g_assert_cmpint(p.hybrid, ==, counts);
        g_assert_cmpuint(p.diverged_count, ==, counts ? ENTER : 0);
    }
}

static void test_hybrid_counts(void)
{
    static const struct {
        uint32_t enter_count;
        unsigned epochs;       /* until it begins; 0: never */
    } cases[] = {
        { 0, 0 }, { 1, 1 }, { 2, 2 },
        { COLO_HYBRID_ENTER_COUNT_MAX, COLO_HYBRID_ENTER_COUNT_MAX },
        { COLO_HYBRID_ENTER_COUNT_MAX + 1, COLO_HYBRID_ENTER_COUNT_MAX },
        { UINT32_MAX, COLO_HYBRID_ENTER_COUNT_MAX },
    };
    unsigned i, n;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        ColoLimits l = stormy;
        ColoPolicy p;

        l.hybrid_enter_count = cases[i].enter_count;
        colo_policy_init(&p, &l, START_MS);
        for (n = 0; n < 300 && !p.hybrid; n++) {
            epoch(&p, COLO_REASON_MISMATCH, START_MS + n);
        }
        g_assert_cmpuint(p.hybrid ? n : 0, ==, cases[i].epochs);
    }
}

/* Switched off: output is still held, so the interval stays till the cut. */
static void test_hybrid_off(void)
{
    ColoPolicy p = policy_in_hybrid(2000);
    ColoLimits off = stormy;

    off.hybrid_enter_count = 0;
    colo_policy_set(&p, &off);
    g_assert_true(p.hybrid);
    g_assert_cmpint(colo_policy_due_ms(&p), ==, 2001 + INTERVAL_MS);
    epoch(&p, COLO_REASON_MISMATCH, 2050);
    g_assert_false(p.hybrid);
    epoch(&p, COLO_REASON_MISMATCH, 2060);
    g_assert_false(p.hybrid);
}

static void test_reason_names(void)
{
    static const char *const names[] = {
        "none", "periodic", "mismatch", "timeout", "queue-full", "user",
        "device",
    };
    int r;

    g_assert_cmpuint(G_N_ELEMENTS(names), ==, COLO_REASON__MAX);
    for (r = 0; r < COLO_REASON__MAX; r++) {
        g_assert_cmpstr(colo_reason_name(r), ==, names[r]);
    }
    g_assert_cmpstr(colo_reason_name(COLO_REASON__MAX), ==, "unknown");
    g_assert_cmpstr(colo_reason_name((ColoReason)-1), ==, "unknown");
}

static void test_bad_reason_is_a_bug(gconstpointer reason)
{
    if (g_test_subprocess()) {
        ColoPolicy p = policy();

        colo_policy_ask(&p, GPOINTER_TO_INT(reason));
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*reason > COLO_REASON_NONE*");
}

/* -------------------------------------------------------------- hashes */

/* Checkpoints with hashes among @rounds when @permille pages are equal. */
static unsigned hash_rounds(ColoHashPolicy *h, unsigned rounds,
                            unsigned permille)
{
    unsigned used = 0;

    while (rounds-- > 0) {
        if (colo_hash_policy_choose(h)) {
            colo_hash_policy_learn(h, permille, 1000);
            used++;
        }
        g_assert_cmpuint(h->equal_permille, <=, 1000);
    }
    return used;
}

static void test_hash_pays(void)
{
    ColoHashPolicy h;

    colo_hash_policy_init(&h);
    g_assert_true(colo_hash_policy_choose(&h));
    g_assert_cmpuint(hash_rounds(&h, 100, 900), ==, 100);
    g_assert_cmpuint(h.equal_permille, >, 800);
    g_assert_cmpuint(h.used_count, ==, 101);
    g_assert_cmpuint(h.unused_count, ==, 0);
}

/* Does not pay: probed now and then, at bounded cost. */
static void test_hash_probe(void)
{
    ColoHashPolicy h;
    unsigned used;

    colo_hash_policy_init(&h);
    hash_rounds(&h, 100, 0);
    used = hash_rounds(&h, 1700, 0);
    g_assert_cmpuint(used, ==, 100);
    g_assert_cmpuint(h.used_count + h.unused_count, ==, 1800);
}

/* It begins to pay: found within a few probes, then used throughout. */
static void test_hash_recovers(void)
{
    ColoHashPolicy h;

    colo_hash_policy_init(&h);
    hash_rounds(&h, 200, 0);
    hash_rounds(&h, 50, 1000);
    g_assert_cmpuint(hash_rounds(&h, 100, 1000), ==, 100);
    g_assert_cmpuint(hash_rounds(&h, 100, 0), <=, 12);
}

static void test_hash_learn_bounds(void)
{
    ColoHashPolicy h;
    uint32_t before;
    unsigned i;

    colo_hash_policy_init(&h);
    before = h.equal_permille;
    colo_hash_policy_learn(&h, 0, 0);
    g_assert_cmpuint(h.equal_permille, ==, before);
    for (i = 0; i < 40; i++) {
        colo_hash_policy_learn(&h, UINT64_MAX, UINT64_MAX);
    }
    g_assert_cmpuint(h.equal_permille, >=, 990);
    g_assert_cmpuint(h.equal_permille, <=, 1000);
    for (i = 0; i < 40; i++) {
        colo_hash_policy_learn(&h, 0, UINT64_MAX);
    }
    g_assert_cmpuint(h.equal_permille, <=, 10);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/policy/periodic", test_periodic);
    g_test_add_func("/policy/due", test_due_times);
    g_test_add_func("/policy/set", test_set);
    g_test_add_func("/policy/coalesce", test_coalesce);
    g_test_add_func("/policy/after-cut", test_ask_after_cut);
    g_test_add_func("/policy/storm", test_storm);
    g_test_add_func("/policy/gap/reasons", test_gap_by_reason);
    g_test_add_func("/policy/gap/bounds", test_gap_bounds);
    g_test_add_func("/policy/hybrid/cycle", test_hybrid_cycle);
    g_test_add_func("/policy/hybrid/again", test_hybrid_again);
    g_test_add_func("/policy/hybrid/window", test_hybrid_window);
    g_test_add_func("/policy/hybrid/reasons", test_hybrid_reasons);
    g_test_add_func("/policy/hybrid/counts", test_hybrid_counts);
    g_test_add_func("/policy/hybrid/off", test_hybrid_off);
    g_test_add_func("/policy/names", test_reason_names);
    g_test_add_data_func("/policy/bug/none",
                         GINT_TO_POINTER(COLO_REASON_NONE),
                         test_bad_reason_is_a_bug);
    g_test_add_data_func("/policy/bug/max",
                         GINT_TO_POINTER(COLO_REASON__MAX),
                         test_bad_reason_is_a_bug);
    g_test_add_func("/hash-policy/pays", test_hash_pays);
    g_test_add_func("/hash-policy/probe", test_hash_probe);
    g_test_add_func("/hash-policy/recovers", test_hash_recovers);
    g_test_add_func("/hash-policy/learn", test_hash_learn_bounds);
    return g_test_run();
}
