/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo agent on two model hosts: it takes over when the peer's process has
 * died by itself and libvirt says so, and in no other case.
 */
#include <string.h>
#include <glib/gstdio.h>
#include "command.h"
#include "error.h"
#include "fake-host.h"
#include "fake-qemu.h"
#include "live.h"

enum { IDLE = 150 };

static const ColoOptions protect = {
    .domain = (char *)"vm", .from = (char *)"test:a", .to = (char *)"test:b",
    .port = 49800, .interval_ms = -1, .timeout_s = -1, .quiet = true,
};
static const ColoOptions at_a = { .from = (char *)"test:a", .quiet = true };
static const ColoOptions at_b = { .from = (char *)"test:b", .quiet = true };

static void begin(FakeWorld *w)
{
    g_autoptr(JsonNode) result = NULL;
    g_autoptr(GError) error = NULL;

    fake_world_init(w, fake_domain_xml);
    g_assert_true(colo_protect(&protect, &result, &error));
    w->idle_left = IDLE;
}

/* Until nothing happens any more, which is the end of the connection. */
static void run_agent(const ColoOptions *o)
{
    g_autoptr(JsonNode) result = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_false(colo_agent(o, &result, &error));
    g_assert_cmpint(colo_error_exit(error), ==, COLO_EXIT_CONNECT);
}

static void post_lost(FakeWorld *w, unsigned host, const char *cause)
{
    g_autofree char *data = g_strdup_printf(
        "{\"state\":\"lost\",\"cause\":\"%s\"}", cause);

    fake_world_post(w, host, COLO_EVENT_MONITOR, "COLO_STATUS", data, false);
}

static void post_stopped(FakeWorld *w, unsigned host, bool is_crash)
{
    fake_world_post(w, host, COLO_EVENT_STOPPED, NULL, NULL, is_crash);
}

/* The agent of the secondary leaves it as it is. Clears @w. */
static void expect_still(FakeWorld *w)
{
    run_agent(&at_b);
    g_assert_cmpstr(w->hosts[1]->phase, ==, "lost");
    fake_world_clear(w);
}

static void test_crash(void)
{
    unsigned order;

    for (order = 0; order < 3; order++) {
        FakeWorld w;

        begin(&w);
        fake_qemu_end(w.hosts[0], true);
        if (order == 1) {
            post_stopped(&w, 0, true);
        }
        post_lost(&w, 1, "peer-closed");
        if (order == 0) {
            post_stopped(&w, 0, true);
        }
        run_agent(&at_b);
        g_assert_cmpstr(w.hosts[1]->phase, ==, "alone");
        g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"survivor\""));
        g_assert_true(w.hosts[1]->is_persistent);
        fake_world_clear(&w);
    }
}

/* It was lost before the agent began. */
static void test_late(void)
{
    FakeWorld w;

    begin(&w);
    fake_qemu_end(w.hosts[0], true);
    run_agent(&at_b);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "alone");
    fake_world_clear(&w);
}

/* What is refused is tried again, by the same agent or by the next one. */
static void test_refused(void)
{
    static const char *const commands[] = {
        "x-colo-lost-heartbeat", "colo-clean-up", "query-status",
    };
    unsigned i;

    for (i = 0; i < 2 * G_N_ELEMENTS(commands); i++) {
        bool is_next = i % 2;
        FakeWorld w;

        begin(&w);
        fake_qemu_end(w.hosts[0], true);
        w.hosts[1]->refused = commands[i / 2];
        w.hosts[1]->refused_left = is_next ? 1000 : 2;
        run_agent(&at_b);
        if (is_next) {
            g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"secondary\""));
            w.hosts[1]->refused_left = 0;
            w.idle_left = IDLE;
            run_agent(&at_b);
        }
        g_assert_cmpstr(w.hosts[1]->phase, ==, "alone");
        g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_RUNNING);
        g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"survivor\""));
        g_assert_nonnull(strstr(w.hosts[0]->pair, "role=\"stale\""));
        fake_world_clear(&w);
    }
}

static void close_once(FakeWorld *w)
{
    w->hosts[1]->on_settling = NULL;
    fake_world_post(w, 1, COLO_EVENT_CLOSED, NULL, NULL, false);
}

/* What happens while one domain is tidied up may be about another one. */
static void test_event_while_tidying(void)
{
    FakeWorld w;

    begin(&w);
    fake_qemu_end(w.hosts[0], true);
    w.hosts[1]->settling_left = 5;
    w.hosts[1]->on_settling = close_once;
    run_agent(&at_b);
    g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"survivor\""));
    g_assert_cmpuint(w.idle_left, >, IDLE / 2);
    fake_world_clear(&w);
}

static void test_secondary_crash(void)
{
    FakeWorld w;

    begin(&w);
    fake_qemu_end(w.hosts[1], true);
    post_lost(&w, 0, "peer-closed");
    run_agent(&at_a);
    g_assert_cmpstr(w.hosts[0]->phase, ==, "alone");
    g_assert_false(g_hash_table_contains(w.hosts[0]->things,
                                         "object colo-compare0"));
    fake_world_clear(&w);
}

static void test_ended_on_purpose(void)
{
    FakeWorld w;

    begin(&w);
    fake_qemu_end(w.hosts[0], false);
    post_lost(&w, 1, "peer-quit");
    post_stopped(&w, 0, false);
    expect_still(&w);
}

/* Nobody told the secondary why; libvirt knows. */
static void test_destroyed_behind_a_cut_link(void)
{
    FakeWorld w;

    begin(&w);
    w.hosts[0]->state = COLO_DOM_OFF;
    w.hosts[1]->phase = "lost";
    w.hosts[1]->cause = "peer-silent";
    post_lost(&w, 1, "peer-silent");
    post_stopped(&w, 0, false);
    expect_still(&w);
}

static void test_peer_lives(void)
{
    FakeWorld w;

    begin(&w);
    w.hosts[1]->phase = "lost";
    w.hosts[1]->cause = "peer-silent";
    post_lost(&w, 1, "peer-silent");
    expect_still(&w);
}

static ColoHost *open_b_only(const char *uri, GError **error)
{
    if (!g_strcmp0(uri, "test:b")) {
        return fake_open(uri, error);
    }
    colo_error_set(error, COLO_EXIT_CONNECT, "no route to host");
    return NULL;
}

/* Silence proves nothing. */
static void test_host_out_of_reach(void)
{
    FakeWorld w;

    begin(&w);
    fake_qemu_end(w.hosts[0], true);
    post_lost(&w, 1, "peer-closed");
    colo_open = open_b_only;
    run_agent(&at_b);
    colo_open = fake_open;
    g_assert_cmpstr(w.hosts[1]->phase, ==, "lost");
    fake_world_clear(&w);
}

/* ------------------------------------ the agent beside the one that dies */

/* What the agent at A sees of the end of A; the secondary is B. */
static bool clears_up;
static bool libvirt_tells, libvirt_says_crash;
static const char *cause_at_b;

static void end_a(FakeWorld *w)
{
    g_assert_true(w->hosts[0]->is_process_watched);
    fake_qemu_end(w->hosts[0], true);
    w->hosts[0]->state = COLO_DOM_RUNNING;
    w->hosts[0]->is_dead_unseen = true;
    w->hosts[1]->cause = cause_at_b;
    fake_world_post(w, 0, COLO_EVENT_ENDED, NULL, NULL, !clears_up);
    post_lost(w, 1, cause_at_b);
    if (libvirt_tells) {
        w->hosts[0]->state = COLO_DOM_OFF;
        w->hosts[0]->is_dead_unseen = false;
        post_stopped(w, 0, libvirt_says_crash);
    }
}

static void run_at_a(FakeWorld *w, void (*happens)(FakeWorld *w))
{
    begin(w);
    w->half_way = happens;
    run_agent(&at_a);
}

/* B goes on at once, and is tidied up when A's libvirt knows, too. */
static void test_own_process(void)
{
    FakeWorld w;

    clears_up = libvirt_tells = false;
    cause_at_b = "peer-closed";
    run_at_a(&w, end_a);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "alone");
    g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"secondary\""));
    fake_world_clear(&w);

    libvirt_tells = libvirt_says_crash = true;
    run_at_a(&w, end_a);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "alone");
    g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"survivor\""));
    g_assert_true(w.hosts[1]->is_persistent);
    g_assert_nonnull(strstr(w.hosts[0]->pair, "role=\"stale\""));
    fake_world_clear(&w);
}

/* Told to end, it clears up; B's connection may be closed all the same. */
static void test_own_process_was_ended(void)
{
    static const char *const causes[] = {
        "peer-quit", "peer-closed", "peer-silent", "guest-shutdown",
    };
    unsigned i;

    for (i = 0; i < 2 * G_N_ELEMENTS(causes); i++) {
        FakeWorld w;

        cause_at_b = causes[i / 2];
        clears_up = true;
        libvirt_tells = i % 2;
        libvirt_says_crash = false;
        run_at_a(&w, end_a);
        g_assert_cmpstr(w.hosts[1]->phase, ==, "lost");
        fake_world_clear(&w);
    }
}

/* Killed: a user's last means against one that hangs. libvirt tells. */
static void test_own_process_hung(void)
{
    unsigned is_crash;

    for (is_crash = 0; is_crash < 2; is_crash++) {
        FakeWorld w;

        cause_at_b = "peer-silent";
        clears_up = false;
        libvirt_tells = true;
        libvirt_says_crash = is_crash;
        run_at_a(&w, end_a);
        g_assert_cmpstr(w.hosts[1]->phase, ==, is_crash ? "alone" : "lost");
        fake_world_clear(&w);
    }
}

/* An agent that sees no process waits for libvirt, and then acts, too. */
static void end_a_remote(FakeWorld *w)
{
    fake_qemu_end(w->hosts[0], true);
    post_lost(w, 1, "peer-closed");
    post_stopped(w, 0, true);
}

static void test_own_process_remote(void)
{
    FakeWorld w;

    begin(&w);
    w.hosts[0]->is_remote = true;
    w.half_way = end_a_remote;
    run_agent(&at_a);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "alone");
    fake_world_clear(&w);
}

/* The pair fell apart, A goes on after a user's word, and dies later. */
static void part_and_end_a(FakeWorld *w)
{
    FakeHost *a = w->hosts[0];

    a->phase = "alone";
    w->hosts[1]->phase = "lost";
    w->hosts[1]->cause = "peer-silent";
    post_lost(w, 1, "peer-silent");
    fake_world_post(w, 0, COLO_EVENT_MONITOR, "COLO_STATUS",
                    "{\"state\":\"alone\"}", false);
    a->state = COLO_DOM_OFF;
    a->is_crashed = true;
    post_stopped(w, 0, true);
}

static void test_went_on_before(void)
{
    const ColoOptions *const agents[] = { &at_a, &at_b };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(agents); i++) {
        FakeWorld w;

        begin(&w);
        w.half_way = part_and_end_a;
        run_agent(agents[i]);
        g_assert_cmpstr(w.hosts[1]->phase, ==, "lost");
        fake_world_clear(&w);
    }
}

int main(int argc, char **argv)
{
    g_autofree char *directory = g_dir_make_tmp("colo-test-XXXXXX", NULL);
    int result;

    g_setenv("COLO_STATE_DIR", directory, TRUE);
    colo_now_ms = fake_now_ms;
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tool/agent/crash", test_crash);
    g_test_add_func("/tool/agent/late", test_late);
    g_test_add_func("/tool/agent/refused", test_refused);
    g_test_add_func("/tool/agent/event-while-tidying",
                    test_event_while_tidying);
    g_test_add_func("/tool/agent/secondary-crash", test_secondary_crash);
    g_test_add_func("/tool/agent/on-purpose", test_ended_on_purpose);
    g_test_add_func("/tool/agent/cut-link", test_destroyed_behind_a_cut_link);
    g_test_add_func("/tool/agent/peer-lives", test_peer_lives);
    g_test_add_func("/tool/agent/no-host", test_host_out_of_reach);
    g_test_add_func("/tool/agent/own-process", test_own_process);
    g_test_add_func("/tool/agent/own-process/ended",
                    test_own_process_was_ended);
    g_test_add_func("/tool/agent/own-process/hung", test_own_process_hung);
    g_test_add_func("/tool/agent/own-process/remote",
                    test_own_process_remote);
    g_test_add_func("/tool/agent/went-on-before", test_went_on_before);
    result = g_test_run();
    g_rmdir(directory);
    return result;
}
