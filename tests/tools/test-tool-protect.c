/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo protect, and what follows, on two model hosts: each call that can fail
 * fails once, and everything has to be as before; and each call is once the
 * last one before the program dies, and `colo repair` has to do the same.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "cancel.h"
#include "command.h"
#include "error.h"
#include "fake-host.h"
#include "fake-qemu.h"
#include "journal-file.h"
#include "live.h"

static const ColoOptions options = {
    .domain = (char *)"vm", .from = (char *)"test:a", .to = (char *)"test:b",
    .port = 49800, .interval_ms = -1, .timeout_s = -1, .step_limit_ms = -1,
    .checkpoint_limit_ms = -1, .heartbeat_ms = -1, .min_gap_ms = -1,
    .mismatch_gap_ms = -1, .quiet = true,
};

static const ColoOptions at_b = {
    .domain = (char *)"vm", .from = (char *)"test:b", .port = 49800,
    .interval_ms = -1, .quiet = true,
};

static bool run(ColoCommandFn *command, const ColoOptions *o, ColoExit exit)
{
    g_autoptr(JsonNode) result = NULL;
    g_autoptr(GError) error = NULL;
    bool ok = command(o, &result, &error);

    g_assert_true(ok == !error);
    if (colo_error_exit(error) != exit) {
        g_test_message("%s", error ? error->message : "no error");
    }
    g_assert_cmpint(colo_error_exit(error), ==, exit);
    return ok;
}

static unsigned journal_count(void)
{
    g_autoptr(GPtrArray) uuids = colo_journal_file_list();

    return uuids->len;
}

static void forget_journal(void)
{
    g_autoptr(ColoJournalFile) file = colo_journal_file_open(FAKE_UUID, NULL);

    if (file) {
        colo_journal_file_finish(file);
    }
}

static void replace_role(char **pair, const char *role, const char *by)
{
    g_auto(GStrv) parts = g_strsplit(*pair, role, 2);

    g_free(*pair);
    *pair = g_strjoinv(by, parts);
}

static void assert_same(const FakeWorld *w, const char *before,
                        unsigned call)
{
    g_autofree char *after = fake_world_text(w);

    if (strcmp(before, after)) {
        g_test_message("call %u: %s", call, w->failed);
    }
    g_assert_cmpstr(after, ==, before);
}

static void test_protect(void)
{
    FakeWorld w;
    g_autofree char *text = NULL;

    fake_world_init(&w, fake_domain_xml);
    json_object_set_int_member(w.hosts[0]->parameters, "step-limit", 1500);
    run(colo_protect, &options, COLO_EXIT_DONE);
    text = fake_world_text(&w);
    g_assert_cmpint(json_object_get_int_member(w.hosts[1]->parameters,
                                               "step-limit"), ==, 1500);
    g_assert_cmpstr(w.hosts[0]->phase, ==, "protected");
    g_assert_cmpstr(w.hosts[1]->phase, ==, "protected");
    g_assert_false(w.hosts[0]->is_autostarted);
    g_assert_nonnull(strstr(w.hosts[0]->pair, "role=\"primary\""));
    g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"secondary\""));
    g_assert_nonnull(strstr(w.hosts[1]->pair, "autostart=\"yes\""));
    g_assert_true(g_hash_table_contains(w.hosts[1]->volumes,
                                        "/images/vda.img"));
    /* The copy is quick to end; afterwards the user's own limit counts. */
    g_assert_cmpint(json_object_get_int_member(w.hosts[0]->parameters,
                                               "downtime-limit"), ==, 300);
    g_assert_false(json_object_get_boolean_member(w.hosts[0]->parameters,
                                                  "checkpoint-events"));
    g_assert_cmpuint(journal_count(), ==, 0);
    fake_world_clear(&w);
}

/* Until a run needs fewer calls than it would take to fail. */
static void test_each_failure(void)
{
    unsigned call;

    for (call = 1;; call++) {
        g_autoptr(JsonNode) result = NULL;
        g_autoptr(GError) error = NULL;
        g_autofree char *before = NULL;
        FakeWorld w;
        bool ok;

        fake_world_init(&w, fake_domain_xml);
        before = fake_world_text(&w);
        w.fail_at = call;
        ok = colo_protect(&options, &result, &error);
        if (!ok) {
            g_assert_nonnull(strstr(error->message, "\n"));
            assert_same(&w, before, call);
        } else {
            g_assert_cmpstr(w.hosts[1]->phase, ==, "protected");
        }
        g_assert_cmpuint(journal_count(), ==, 0);
        ok = ok && !w.failed;
        fake_world_clear(&w);
        if (ok) {
            break;
        }
    }
    g_assert_cmpuint(call, >, 80);
}

static void test_each_death(void)
{
    unsigned call;
    unsigned repair_count = 0;

    for (call = 1;; call++) {
        g_autoptr(JsonNode) result = NULL;
        g_autofree char *before = NULL;
        FakeWorld w;
        bool ok;

        fake_world_init(&w, fake_domain_xml);
        before = fake_world_text(&w);
        w.fail_at = call;
        w.is_dead_from_then = true;
        ok = colo_protect(&options, &result, NULL);
        w.fail_at = 0;
        if (!ok && journal_count()) {
            run(colo_protect, &options, COLO_EXIT_HALF_DONE);
            run(colo_repair, &options, COLO_EXIT_DONE);
            repair_count++;
        }
        if (!ok) {
            assert_same(&w, before, call);
        }
        g_assert_cmpuint(journal_count(), ==, 0);
        fake_world_clear(&w);
        if (ok) {
            break;
        }
    }
    g_assert_cmpuint(repair_count, >, 50);
}

/* A repair that fails at that call. True: there was no such call. */
static bool fail_repair(unsigned death, unsigned call)
{
    g_autoptr(JsonNode) result = NULL;
    g_autofree char *before = NULL;
    FakeWorld w;
    bool ok, is_over;

    fake_world_init(&w, fake_domain_xml);
    before = fake_world_text(&w);
    w.fail_at = death;
    w.is_dead_from_then = true;
    colo_protect(&options, &result, NULL);
    w.is_dead_from_then = false;
    w.fail_at = w.call_count + call;
    ok = colo_repair(&options, &result, NULL);
    is_over = w.call_count < w.fail_at;
    w.fail_at = 0;
    g_assert_true(ok == !journal_count());
    if (!ok) {
        run(colo_repair, &options, COLO_EXIT_DONE);
    }
    assert_same(&w, before, call);
    fake_world_clear(&w);
    return is_over;
}

/* libvirt is restarted meanwhile: what it does not tell is not taken as no. */
static void test_each_failure_of_repair(void)
{
    unsigned death, call;

    for (death = 20; death < 105; death += 16) {
        for (call = 1; !fail_repair(death, call); call++) {
            /* the next one */
        }
    }
}

/* The primary dies: what the secondary needs to go on is left to it. */
static void test_each_crash(void)
{
    unsigned call;
    unsigned survivor_count = 0;

    for (call = 1;; call++) {
        g_autoptr(JsonNode) result = NULL;
        FakeWorld w;
        bool ok;

        fake_world_init(&w, fake_domain_xml);
        w.crash_at = call;
        ok = colo_protect(&options, &result, NULL);
        if (!g_strcmp0(w.hosts[1]->phase, "lost")) {
            g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_PAUSED);
            g_assert_cmpuint(g_hash_table_size(w.hosts[1]->volumes), ==, 2);
            g_assert_nonnull(strstr(w.hosts[0]->pair, "role=\"primary\""));
            run(colo_failover, &at_b, COLO_EXIT_DONE);
            g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_RUNNING);
            survivor_count++;
        }
        forget_journal();
        fake_world_clear(&w);
        if (ok && w.call_count < call) {
            break;
        }
    }
    g_assert_cmpuint(survivor_count, >, 3);
}

static void test_unprotect(void)
{
    g_autofree char *before = NULL;
    FakeWorld w;

    fake_world_init(&w, fake_domain_xml);
    before = fake_world_text(&w);
    run(colo_protect, &options, COLO_EXIT_DONE);
    run(colo_unprotect, &options, COLO_EXIT_DONE);
    /* The images there stay: they may be of use the next time. */
    g_hash_table_remove_all(w.hosts[1]->volumes);
    assert_same(&w, before, 0);
    fake_world_clear(&w);
}

/* Limits that were changed meanwhile are as before, too. */
static void test_unprotect_limits(void)
{
    ColoOptions set = options;
    g_autofree char *before = NULL;
    FakeWorld w;

    set.step_limit_ms = 1500;
    set.checkpoint_limit_ms = set.heartbeat_ms = -1;
    set.min_gap_ms = set.mismatch_gap_ms = -1;
    set.interval_ms = 77;
    fake_world_init(&w, fake_domain_xml);
    before = fake_world_text(&w);
    run(colo_protect, &options, COLO_EXIT_DONE);
    run(colo_set, &set, COLO_EXIT_DONE);
    g_assert_cmpint(json_object_get_int_member(w.hosts[0]->parameters,
                                               "step-limit"), ==, 1500);
    run(colo_unprotect, &options, COLO_EXIT_DONE);
    g_hash_table_remove_all(w.hosts[1]->volumes);
    assert_same(&w, before, 0);
    fake_world_clear(&w);
}

/* A survivor that is protected again, too. */
static void test_unprotect_survivor_limits(void)
{
    g_autofree char *before = NULL;
    FakeWorld w;

    fake_world_init(&w, fake_domain_xml);
    before = fake_world_text(&w);
    run(colo_protect, &options, COLO_EXIT_DONE);
    fake_qemu_end(w.hosts[1], true);
    run(colo_failover, &options, COLO_EXIT_DONE);
    run(colo_protect, &options, COLO_EXIT_DONE);
    run(colo_unprotect, &options, COLO_EXIT_DONE);
    g_hash_table_remove_all(w.hosts[1]->volumes);
    assert_same(&w, before, 0);
    fake_world_clear(&w);
}

/* The first host's QEMU dies at that call. True: there was no such call. */
static bool unprotect_crash(unsigned call, bool is_unseen,
                            unsigned *survivor_count, unsigned *lost_count)
{
    g_autoptr(JsonNode) result = NULL;
    FakeWorld w;
    bool is_over;

    fake_world_init(&w, fake_domain_xml);
    run(colo_protect, &options, COLO_EXIT_DONE);
    w.crash_at = w.call_count + call;
    w.is_crash_unseen = is_unseen;
    colo_unprotect(&options, &result, NULL);
    is_over = w.call_count < w.crash_at;
    if (w.is_lost_then && w.hosts[1]->state == COLO_DOM_ABSENT) {
        ++*lost_count;
    } else if (w.is_lost_then) {
        g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"secondary\""));
        w.hosts[0]->state = COLO_DOM_OFF;
        run(colo_failover, &at_b, COLO_EXIT_DONE);
        ++*survivor_count;
    }
    fake_world_clear(&w);
    return is_over;
}

/*
 * Whenever the primary dies, and whatever its libvirt thinks, the secondary
 * is not ended too; but for the one that dies as it is.
 */
static void test_unprotect_crash(void)
{
    unsigned is_unseen;

    for (is_unseen = 0; is_unseen < 2; is_unseen++) {
        unsigned survivor_count = 0;
        unsigned lost_count = 0;
        unsigned call = 1;

        while (!unprotect_crash(call, is_unseen, &survivor_count,
                                &lost_count)) {
            call++;
        }
        g_test_message("%u survivors, %u lost", survivor_count, lost_count);
        g_assert_cmpuint(survivor_count, >, 8);
        g_assert_cmpuint(lost_count, <=, 1);
    }
}

/* An unprotect that was killed has had libvirt end the secondary. */
static void test_unprotect_end(void)
{
    unsigned call;
    bool is_over = false;

    for (call = 1; !is_over; call++) {
        FakeWorld w;

        fake_world_init(&w, fake_domain_xml);
        run(colo_protect, &options, COLO_EXIT_DONE);
        w.end_at = w.call_count + call;
        run(colo_unprotect, &options, COLO_EXIT_DONE);
        is_over = w.call_count < w.end_at;
        g_assert_cmpint(w.hosts[0]->state, ==, COLO_DOM_RUNNING);
        g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_ABSENT);
        g_assert_null(w.hosts[0]->pair);
        fake_world_clear(&w);
    }
    g_assert_cmpuint(call, >, 20);
}

/* One that was saved and restored since does not know of COLO any more. */
static void test_unprotect_spares_the_survivor(void)
{
    FakeWorld w;

    fake_world_init(&w, fake_domain_xml);
    run(colo_protect, &options, COLO_EXIT_DONE);
    fake_qemu_end(w.hosts[0], true);
    run(colo_failover, &at_b, COLO_EXIT_DONE);
    fake_qemu_start(w.hosts[1], COLO_DOM_RUNNING);
    /* The first host was off when this was decided. */
    g_clear_pointer(&w.hosts[0]->pair, g_free);
    w.hosts[0]->pair = g_strdup(w.hosts[1]->pair);
    replace_role(&w.hosts[0]->pair, "survivor", "primary");
    fake_qemu_start(w.hosts[0], COLO_DOM_RUNNING);
    run(colo_unprotect, &options, COLO_EXIT_HALF_DONE);
    g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_RUNNING);
    g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"survivor\""));
    fake_world_clear(&w);
}

static void test_port_taken(void)
{
    FakeWorld w;

    fake_world_init(&w, fake_domain_xml);
    g_hash_table_insert(w.hosts[1]->taken_ports, g_strdup("49800"),
                        g_strdup("somebody"));
    g_hash_table_insert(w.hosts[0]->taken_ports, g_strdup("49801"),
                        g_strdup("somebody"));
    run(colo_protect, &options, COLO_EXIT_DONE);
    g_assert_true(g_hash_table_contains(w.hosts[1]->taken_ports, "49802"));
    g_assert_nonnull(strstr(w.hosts[0]->pair, "disk-port=\"49801\""));
    fake_world_clear(&w);
}

static void test_refused(void)
{
    g_autofree char *before = NULL;
    FakeWorld w;

    fake_world_init(&w, fake_domain_xml);
    before = fake_world_text(&w);
    g_free(w.hosts[1]->version);
    w.hosts[1]->version = g_strdup("10.0.2");
    run(colo_protect, &options, COLO_EXIT_CHECK);
    assert_same(&w, before, 0);
    g_hash_table_insert(w.hosts[1]->volumes, g_strdup("/images/vda.img"),
                        g_strdup("4711"));
    run(colo_protect, &options, COLO_EXIT_CHECK);
    fake_world_clear(&w);
}

/* How often a remedy of the checks has the word. */
static unsigned count_remedies(const ColoOptions *o, ColoExit exit,
                               const char *word)
{
    g_autoptr(JsonNode) result = NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    g_auto(GStrv) parts = NULL;

    colo_protect(o, &result, &error);
    g_assert_cmpint(colo_error_exit(error), ==, exit);
    text = json_to_string(result, FALSE);
    parts = g_strsplit(text, word, -1);
    return g_strv_length(parts) - 1;
}

static void test_check_without_storage(void)
{
    FakeWorld w;

    fake_world_init(&w, fake_domain_xml);
    g_assert_cmpuint(count_remedies(&options, COLO_EXIT_DONE,
                                    "storage driver"), ==, 0);
    fake_world_clear(&w);
    fake_world_init(&w, fake_domain_xml);
    w.hosts[1]->has_storage = false;
    g_assert_cmpuint(count_remedies(&options, COLO_EXIT_CHECK,
                                    "install libvirt's storage driver"),
                     >=, 2);
    g_assert_cmpuint(count_remedies(&options, COLO_EXIT_CHECK,
                                    "make the directory"), ==, 0);
    fake_world_clear(&w);
}

static void test_check_changes_nothing(void)
{
    ColoOptions check = options;
    g_autofree char *before = NULL;
    FakeWorld w;

    check.check = true;
    fake_world_init(&w, fake_domain_xml);
    before = fake_world_text(&w);
    run(colo_protect, &check, COLO_EXIT_DONE);
    assert_same(&w, before, 0);
    fake_world_clear(&w);
}

/* -------------------------------------------------------- failing over */

static void test_failover_after_crash(void)
{
    FakeWorld w;

    fake_world_init(&w, fake_domain_xml);
    run(colo_protect, &options, COLO_EXIT_DONE);
    fake_qemu_end(w.hosts[0], true);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "lost");
    run(colo_failover, &at_b, COLO_EXIT_DONE);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "alone");
    g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_RUNNING);
    g_assert_true(w.hosts[1]->is_persistent);
    g_assert_true(w.hosts[1]->is_autostarted);
    g_assert_false(w.hosts[1]->has_x_colo);
    g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"survivor\""));
    g_assert_nonnull(strstr(w.hosts[0]->pair, "role=\"stale\""));
    g_assert_false(w.hosts[0]->is_autostarted);
    fake_world_clear(&w);
}

/* Killed at any call it is given again. */
static void test_failover_each_death(void)
{
    unsigned call;
    bool is_over = false;

    for (call = 1; !is_over; call++) {
        g_autoptr(JsonNode) result = NULL;
        FakeWorld w;

        fake_world_init(&w, fake_domain_xml);
        run(colo_protect, &options, COLO_EXIT_DONE);
        fake_qemu_end(w.hosts[0], true);
        w.fail_at = w.call_count + call;
        w.is_dead_from_then = true;
        is_over = colo_failover(&at_b, &result, NULL);
        w.fail_at = 0;
        g_test_message("%u: %s", call, w.failed);
        run(colo_failover, &at_b, COLO_EXIT_DONE);
        g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_RUNNING);
        g_assert_true(w.hosts[1]->is_persistent);
        g_assert_nonnull(strstr(w.hosts[1]->pair, "role=\"survivor\""));
        g_assert_nonnull(strstr(w.hosts[0]->pair, "role=\"stale\""));
        fake_world_clear(&w);
    }
    g_assert_cmpuint(call, >, 20);
}

static void test_failover_refused(void)
{
    ColoOptions forced = at_b;
    FakeWorld w;

    forced.force = true;
    fake_world_init(&w, fake_domain_xml);
    run(colo_protect, &options, COLO_EXIT_DONE);
    /* Both live. */
    run(colo_failover, &at_b, COLO_EXIT_UNSAFE);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "protected");
    fake_qemu_end(w.hosts[0], true);
    /* Here is opened first, then its state, its metadata, then there. */
    w.fail_at = w.call_count + 4;
    run(colo_failover, &at_b, COLO_EXIT_UNSAFE);
    g_assert_cmpstr(w.failed, ==, "open at a");
    g_assert_cmpstr(w.hosts[1]->phase, ==, "lost");
    w.fail_at = w.call_count + 4;
    run(colo_failover, &forced, COLO_EXIT_DONE);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "alone");
    fake_world_clear(&w);
}

static void test_failover_at_primary(void)
{
    FakeWorld w;

    fake_world_init(&w, fake_domain_xml);
    run(colo_protect, &options, COLO_EXIT_DONE);
    fake_qemu_end(w.hosts[1], true);
    g_assert_cmpstr(w.hosts[0]->phase, ==, "lost");
    run(colo_failover, &options, COLO_EXIT_DONE);
    g_assert_cmpstr(w.hosts[0]->phase, ==, "alone");
    g_assert_true(w.hosts[0]->is_autostarted);
    g_assert_false(g_hash_table_contains(w.hosts[0]->things,
                                         "object colo-compare0"));
    /* What differs from now on is still noted. */
    g_assert_true(g_hash_table_contains(w.hosts[0]->things,
                                        "node colo-vda"));
    run(colo_protect, &options, COLO_EXIT_DONE);
    g_assert_cmpstr(w.hosts[0]->phase, ==, "protected");
    fake_world_clear(&w);
}

/* It can be given again when QEMU refuses it for now. */
static void test_unprotect_while_merging(void)
{
    ColoOptions planned = options;
    ColoOptions at_b = options;
    FakeWorld w;

    planned.planned = true;
    at_b.from = (char *)"test:b";
    at_b.to = NULL;
    fake_world_init(&w, fake_domain_xml);
    run(colo_protect, &options, COLO_EXIT_DONE);
    run(colo_failover, &planned, COLO_EXIT_DONE);
    w.hosts[1]->is_merging = true;
    run(colo_unprotect, &at_b, COLO_EXIT_HALF_DONE);
    g_assert_nonnull(w.hosts[1]->pair);
    w.hosts[1]->is_merging = false;
    run(colo_unprotect, &at_b, COLO_EXIT_DONE);
    g_assert_null(w.hosts[1]->pair);
    g_assert_cmpint(g_hash_table_size(w.hosts[1]->things), ==, 0);
    g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_RUNNING);
    fake_world_clear(&w);
}

static void test_planned(void)
{
    ColoOptions planned = options;
    FakeWorld w;

    planned.planned = true;
    fake_world_init(&w, fake_domain_xml);
    run(colo_protect, &options, COLO_EXIT_DONE);
    run(colo_failover, &planned, COLO_EXIT_DONE);
    g_assert_cmpint(w.hosts[0]->state, ==, COLO_DOM_OFF);
    g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_RUNNING);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "alone");
    fake_world_clear(&w);
}

/* Its order to quit is lost, and the link falls silent. */
static void fall_silent(FakeWorld *w)
{
    w->hosts[1]->phase = "lost";
    w->hosts[1]->cause = "peer-silent";
    w->hosts[0]->phase = "lost";
}

static void test_planned_silent(void)
{
    int64_t (*clock)(void) = colo_now_ms;
    ColoOptions planned = options;
    FakeWorld w;

    planned.planned = true;
    fake_world_init(&w, fake_domain_xml);
    run(colo_protect, &options, COLO_EXIT_DONE);
    w.hosts[0]->refused = "quit";
    w.hosts[0]->refused_left = 1;
    w.hosts[0]->on_refusal = fall_silent;
    colo_now_ms = fake_now_ms;
    run(colo_failover, &planned, COLO_EXIT_FAILED);
    colo_now_ms = clock;
    g_assert_cmpint(w.hosts[0]->state, ==, COLO_DOM_RUNNING);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "lost");
    /* Gone by another way, as far as its libvirt knows. */
    w.hosts[0]->state = COLO_DOM_OFF;
    run(colo_failover, &at_b, COLO_EXIT_DONE);
    fake_world_clear(&w);
}

/* What a `colo protect` leaves that is killed late. @session: of the pair. */
static void leave_journal(const char *session)
{
    ColoJournalFile *file;
    ColoJournal *journal = colo_journal_new("protect", "vm", FAKE_UUID,
                                            "test:a", "test:b");

    journal->session = g_strdup(session);
    file = colo_journal_file_begin(journal, NULL);
    colo_journal_file_add(file, colo_undo_new(COLO_UNDO_PAIR, false, NULL),
                          NULL);
    colo_journal_file_add(file, colo_undo_new(COLO_UNDO_VOLUME, true,
                                              "/images/vda.img"), NULL);
    colo_journal_file_add(file, colo_undo_new(COLO_UNDO_DOMAIN, true, NULL),
                          NULL);
    colo_journal_file_add(file, colo_undo_new(COLO_UNDO_PROTECTION, false,
                                              NULL), NULL);
    colo_journal_file_free(file);
}

/* Whatever repair is told to undo: not a guest that went on over there. */
static void test_repair_spares_the_survivor(void)
{
    g_autoptr(ColoPair) pair = NULL;
    FakeWorld w;

    fake_world_init(&w, fake_domain_xml);
    run(colo_protect, &options, COLO_EXIT_DONE);
    leave_journal(NULL);
    fake_qemu_end(w.hosts[0], true);
    run(colo_repair, &options, COLO_EXIT_HALF_DONE);
    g_assert_cmpstr(w.hosts[1]->phase, ==, "lost");
    run(colo_failover, &at_b, COLO_EXIT_DONE);
    run(colo_repair, &options, COLO_EXIT_HALF_DONE);
    g_assert_cmpint(w.hosts[1]->state, ==, COLO_DOM_RUNNING);
    /* Switched off by its user it still is the guest. */
    fake_qemu_end(w.hosts[1], false);
    run(colo_repair, &options, COLO_EXIT_HALF_DONE);
    g_assert_true(g_hash_table_contains(w.hosts[1]->volumes,
                                        "/images/vda.img"));
    g_assert_nonnull(strstr(w.hosts[0]->pair, "role=\"stale\""));
    forget_journal();
    /* A journal that names this very session knows that all is done. */
    pair = colo_pair_parse(w.hosts[1]->pair, NULL);
    leave_journal("another");
    run(colo_repair, &options, COLO_EXIT_HALF_DONE);
    forget_journal();
    leave_journal(pair->session);
    run(colo_repair, &options, COLO_EXIT_DONE);
    g_assert_null(colo_journal_file_open(FAKE_UUID, NULL));
    g_assert_true(g_hash_table_contains(w.hosts[1]->volumes,
                                        "/images/vda.img"));
    fake_world_clear(&w);
}

/* In a process of its own, since the wish to end lasts for ever. */
static void test_interrupted(void)
{
    FakeWorld w;
    g_autofree char *before = NULL;
    int status;
    pid_t child;

    fake_world_init(&w, fake_domain_xml);
    before = fake_world_text(&w);
    child = fork();
    if (!child) {
        g_autoptr(GError) error = NULL;
        g_autoptr(JsonNode) result = NULL;
        g_autofree char *after = NULL;

        colo_cancel_setup();
        raise(SIGINT);
        colo_protect(&options, &result, &error);
        after = fake_world_text(&w);
        _exit(strcmp(before, after) ? 99 : colo_error_exit(error));
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, COLO_EXIT_INTERRUPTED);
    fake_world_clear(&w);
}

/* Each of thousands of journal lines is synced: in memory if possible. */
static char *make_directory(void)
{
    char *directory = g_strdup("/dev/shm/colo-test-XXXXXX");

    if (!g_mkdtemp(directory)) {
        g_free(directory);
        directory = g_dir_make_tmp("colo-test-XXXXXX", NULL);
    }
    return directory;
}

int main(int argc, char **argv)
{
    g_autofree char *directory = make_directory();
    int result;

    g_setenv("COLO_STATE_DIR", directory, TRUE);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tool/protect", test_protect);
    g_test_add_func("/tool/protect/each-failure", test_each_failure);
    g_test_add_func("/tool/protect/each-death", test_each_death);
    g_test_add_func("/tool/protect/each-crash", test_each_crash);
    g_test_add_func("/tool/protect/port-taken", test_port_taken);
    g_test_add_func("/tool/protect/refused", test_refused);
    g_test_add_func("/tool/protect/check", test_check_changes_nothing);
    g_test_add_func("/tool/protect/check-without-storage",
                    test_check_without_storage);
    g_test_add_func("/tool/protect/interrupted", test_interrupted);
    g_test_add_func("/tool/unprotect", test_unprotect);
    g_test_add_func("/tool/unprotect/limits", test_unprotect_limits);
    g_test_add_func("/tool/unprotect/survivor-limits",
                    test_unprotect_survivor_limits);
    g_test_add_func("/tool/unprotect/crash", test_unprotect_crash);
    g_test_add_func("/tool/unprotect/end", test_unprotect_end);
    g_test_add_func("/tool/unprotect/survivor",
                    test_unprotect_spares_the_survivor);
    g_test_add_func("/tool/unprotect/merging", test_unprotect_while_merging);
    g_test_add_func("/tool/failover/crash", test_failover_after_crash);
    g_test_add_func("/tool/failover/each-death", test_failover_each_death);
    g_test_add_func("/tool/failover/refused", test_failover_refused);
    g_test_add_func("/tool/failover/primary", test_failover_at_primary);
    g_test_add_func("/tool/failover/planned", test_planned);
    g_test_add_func("/tool/failover/planned/silent", test_planned_silent);
    g_test_add_func("/tool/repair/each-failure",
                    test_each_failure_of_repair);
    g_test_add_func("/tool/repair/survivor",
                    test_repair_spares_the_survivor);
    result = g_test_run();
    g_rmdir(directory);
    return result;
}
