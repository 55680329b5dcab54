/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When a checkpoint is due, coalescing of requests, and when hashes pay.
 */
#include <glib.h>
#include "colo/policy.h"

enum { START_MS = 1000, DELAY_MS = 500, GAP_MS = 50 };

static ColoPolicy policy(void)
{
    ColoPolicy p;

    colo_policy_init(&p, DELAY_MS, GAP_MS, START_MS);
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
        ColoPolicy p;

        colo_policy_init(&p, cases[i].delay_ms, cases[i].min_gap_ms,
                         START_MS);
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
    ColoPolicy p = policy();

    colo_policy_ask(&p, COLO_REASON_TIMEOUT);
    colo_policy_set(&p, 9000, 90);
    g_assert_cmpint(colo_policy_due_ms(&p), ==, START_MS + 90);
    g_assert_cmpuint(p.asked[COLO_REASON_TIMEOUT], ==, 1);
    colo_policy_cut(&p);
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
    colo_policy_cut(&p);
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
    colo_policy_cut(&p);
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
        colo_policy_cut(&p);
        now_ms += 20;
        colo_policy_end(&p, now_ms);
        ended_ms = now_ms;
        taken++;
    }
    g_assert_cmpuint(taken, >=, 10000 / (GAP_MS + 21));
    g_assert_cmpuint(p.taken[COLO_REASON_MISMATCH], ==, taken);
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
