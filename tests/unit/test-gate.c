/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the secondary's gate: each client frame reaches the guest of
 * the right epoch, once.
 *
 * A scenario is a string of steps, so that it reads like the stream:
 *   mN  marker of epoch N        eN  the guest enters epoch N
 *   a-z a frame of that name     C   the gate closes     O  it opens
 *   R   a new connection
 * and the expectation is what is delivered, in order.
 */
#include <glib.h>
#include "colo/gate.h"

static void deliver(ColoGate *g, GString *out)
{
    ColoNetFrame *f = colo_gate_take(g);

    while (f) {
        ColoNetFrame *next = f->next;

        g_string_append_c(out, f->data[0]);
        colo_net_frame_free(f);
        f = next;
    }
}

static char *play(const char *steps)
{
    GString *out = g_string_new("");
    ColoGate g;

    colo_gate_init(&g);
    for (const char *p = steps; *p; p++) {
        if (*p == 'C') {
            colo_gate_close(&g);
        } else if (*p == 'O') {
            colo_gate_open(&g);
        } else if (*p == 'R') {
            colo_gate_restart(&g);
        } else if (p[0] == 'm' && g_ascii_isdigit(p[1])) {
            colo_gate_marker(&g, *++p - '0');
        } else if (p[0] == 'e' && g_ascii_isdigit(p[1])) {
            colo_gate_enter(&g, *++p - '0');
        } else if (*p != ' ') {
            colo_gate_frame(&g, colo_net_frame_copy(p, 1, 0));
        }
        deliver(&g, out);
    }
    g_assert_cmpuint(g.parked_count == 0, ==, g.parked == NULL);
    g_assert_cmpuint(g.delivered_count, ==, out->len);
    colo_gate_destroy(&g);
    return g_string_free(out, false);
}

typedef struct Scenario {
    const char *name, *steps, *delivered;
} Scenario;

static const Scenario scenarios[] = {
    { "open", "a b c", "abc" },
    { "open-needs-no-marker", "m3 a R b", "ab" },
    { "closed-without-marker", "C a b e1 c", "" },
    { "before-the-first-cut", "C a m1 b e1 c", "bc" },
    { "enter-before-marker", "C e1 a m1 b", "b" },
    { "in-lockstep", "C m1 e1 a b c", "abc" },
    { "behind-the-cut-waits", "C m1 e1 a m2 b c", "a" },
    { "behind-the-cut-comes", "C m1 e1 a m2 b c e2 d", "abcd" },
    { "before-the-cut-is-state", "C m1 e1 m2 a m3 b e3 c", "bc" },
    { "two-cuts-ahead", "C m1 e1 m2 a m3 b e2 c e3", "abc" },
    { "late-for-its-epoch", "C m1 e2 a m2 b", "b" },
    { "reconnect", "C m1 e1 a R b m1 c", "ac" },
    { "failover-in-lockstep", "C m1 e1 a O b", "ab" },
    { "failover-with-parked", "C m1 e1 a m2 b O c", "abc" },
    { "failover-with-two-parked", "C m1 e1 m2 a m3 b O m4 c", "abc" },
    { "closed-anew", "C m1 e1 a O b C c m1 e1 d", "abd" },
};

static void test_scenario(const void *data)
{
    const Scenario *s = data;
    g_autofree char *delivered = play(s->steps);

    g_assert_cmpstr(delivered, ==, s->delivered);
}

/* Frames ready but not taken are of the guest that is replaced. */
static void test_not_taken(void)
{
    ColoGate g;

    colo_gate_init(&g);
    colo_gate_close(&g);
    colo_gate_marker(&g, 1);
    colo_gate_enter(&g, 1);
    colo_gate_frame(&g, colo_net_frame_copy("a", 1, 0));
    colo_gate_enter(&g, 2);
    g_assert_null(colo_gate_take(&g));
    g_assert_cmpuint(g.dropped_count, ==, 1);
    colo_gate_destroy(&g);
}

static void test_parked_bytes(void)
{
    ColoGate g;

    colo_gate_init(&g);
    colo_gate_close(&g);
    colo_gate_marker(&g, 2);
    colo_gate_enter(&g, 1);
    for (int i = 0; i < 1000; i++) {
        colo_gate_frame(&g, colo_net_frame_copy("0123456789", 10, 0));
    }
    g_assert_cmpuint(g.parked_count, ==, 1000);
    g_assert_cmpuint(g.parked_bytes, ==, 10000);
    colo_gate_enter(&g, 3);
    g_assert_cmpuint(g.parked_bytes, ==, 0);
    g_assert_cmpuint(g.dropped_count, ==, 1000);
    g_assert_null(colo_gate_take(&g));
    colo_gate_destroy(&g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/gate/%s",
                                                scenarios[i].name);

        g_test_add_data_func(path, &scenarios[i], test_scenario);
    }
    g_test_add_func("/gate/not-taken", test_not_taken);
    g_test_add_func("/gate/parked-bytes", test_parked_bytes);
    return g_test_run();
}
