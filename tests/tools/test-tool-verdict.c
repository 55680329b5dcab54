/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both sides say, and the one answer that comes of it. And the journal
 * of a command as text.
 */
#include <string.h>
#include <glib/gstdio.h>
#include "command.h"
#include "error.h"
#include "fake-host.h"
#include "fake-qemu.h"
#include "side.h"
#include "undo.h"
#include "verdict.h"

/* A side in one word: role, then state of COLO, or why it cannot be seen. */
static void fill(ColoSide *side, const char *text)
{
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    bool is_primary = !strcmp(words[0], "primary");

    *side = (ColoSide) {
        .reach = COLO_REACH_FINE, .state = COLO_DOM_RUNNING,
        .copy_percent = -1, .sync_percent = -1,
        .uri = g_strdup(is_primary ? "test:p" : "test:s"),
    };
    if (colo_role_parse(words[0]) != COLO_ROLE_NONE) {
        side->pair = colo_pair_new(colo_role_parse(words[0]));
        side->pair->peer = g_strdup(is_primary ? "test:s" : "test:p");
    }
    if (!strcmp(words[1], "no-host")) {
        side->reach = COLO_REACH_NO_HOST;
        side->state = COLO_DOM_ABSENT;
    } else if (!strcmp(words[1], "dead")) {
        side->reach = COLO_REACH_NO_DOMAIN;
        side->state = COLO_DOM_OFF;
    } else if (!strcmp(words[1], "silent")) {
        side->reach = COLO_REACH_SILENT;
    } else {
        g_autofree char *json = g_strdup_printf(
            "{\"role\":\"%s\",\"state\":\"%s\",\"reason\":\"why\","
            "\"nics\":[{\"compare\":{\"connected\":true}}]}",
            strcmp(words[0], "survivor") ? words[0] : "primary", words[1]);
        g_autoptr(JsonNode) node = colo_json_parse(json, NULL);

        side->report = colo_report_parse(node);
    }
    if (words[2] && !strcmp(words[2], "paused")) {
        side->is_guest_paused = true;
    } else if (words[2] && !strcmp(words[2], "copies")) {
        side->copy_percent = 42;
    } else if (words[2] && !strcmp(words[2], "syncs")) {
        side->sync_percent = 7;
    } else if (words[2] && !strcmp(words[2], "changed")) {
        side->change = g_strdup("disk vdc is not replicated");
    }
}

static const struct {
    const char *here, *peer, *text, *remedy;
} cases[] = {
    { "primary protected", "secondary protected", "Protected", NULL },
    { "secondary protected", "primary protected", "Protected", NULL },
    { "primary checkpoint", "secondary protected", "Protected", NULL },
    { "primary protected", "secondary no-host", "Protected", NULL },
    { "secondary protected", "primary no-host", "Protected", NULL },
    { "primary protected paused", "secondary protected",
      "Protected (Paused by user)", "virsh -c test:p resume vm" },
    { "primary protected changed", "secondary protected",
      "Not protected (Unsupported change)", "colo unprotect vm -c test:p" },
    { "primary connecting", "secondary connecting",
      "Not protected (Starting)", "Wait" },
    { "primary off copies", "secondary off", "Not protected (Starting 42 %)",
      "Wait" },
    { "primary off syncs", "secondary off", "Not protected (Resyncing 7 %)",
      "Wait" },
    { "primary off", "secondary off", "Not protected (Interrupted)",
      "colo repair vm" },
    { "secondary lost", "primary dead", "Not protected (Primary lost)",
      "colo failover vm -c test:s." },
    { "secondary lost", "primary no-host", "Not protected (Primary lost)",
      "--force" },
    { "primary lost", "secondary dead", "Not protected (Secondary lost)",
      "colo failover vm -c test:p;" },
    { "primary lost", "secondary no-host", "Not protected (Secondary lost)",
      "--force" },
    { "primary lost", "secondary lost", "Not protected (Link lost)",
      "colo failover vm -c test:p" },
    { "secondary lost", "primary lost", "Not protected (Link lost)",
      "colo failover vm -c test:p" },
    { "primary alone", "secondary dead", "Not protected (Secondary lost)",
      "colo protect vm --from test:p --to test:s" },
    { "primary alone", "secondary failing",
      "Not protected (Secondary broken)", "colo unprotect vm" },
    { "survivor alone", "none dead", "Not protected (Running alone)",
      "colo protect vm --from" },
    { "secondary alone", "primary dead", "Not protected (Running alone)",
      "colo failover vm -c test:s;" },
    { "primary dead", "secondary alone", "Not protected (Running alone)",
      "colo failover vm -c test:s;" },
    { "primary silent", "secondary alone", "Not protected (Running alone)",
      "colo failover vm -c test:s;" },
    { "primary dead", "survivor alone", "Not protected (Running alone)",
      "colo protect vm --from" },
    { "secondary lost", "primary silent", "Not protected (Primary lost)",
      "--force" },
    { "none off", "none dead", "Not protected (Never protected)",
      "--to URI" },
    { "none alone", "none dead", "Not protected (Never protected)",
      "--to URI" },
    { "primary silent", "secondary protected", "Protected", NULL },
    { "primary silent", "secondary no-host", "Not protected (No answer)",
      "colo logs vm" },
    { "primary dead", "secondary dead", "Not protected (Shut off)",
      "virsh -c test:p start vm" },
    { "stale dead", "survivor alone", "Not protected (Old disks)",
      "colo protect vm --from" },
};

static void test_verdicts(void)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(ColoSide) here = {};
        g_auto(ColoSide) peer = {};
        g_auto(ColoVerdict) verdict = {};
        g_autofree char *text = NULL;

        g_test_message("%s | %s", cases[i].here, cases[i].peer);
        fill(&here, cases[i].here);
        fill(&peer, cases[i].peer);
        colo_verdict(&verdict, "vm", &here, &peer);
        text = colo_verdict_text(&verdict);
        g_assert_cmpstr(text, ==, cases[i].text);
        g_assert_true(verdict.is_protected ==
                      g_str_has_prefix(text, "Protected"));
        g_assert_true(!verdict.remedy == !cases[i].remedy);
        if (cases[i].remedy) {
            g_test_message("%s", verdict.remedy);
            g_assert_nonnull(strstr(verdict.remedy, cases[i].remedy));
            g_assert_null(strstr(verdict.remedy, "DOMAIN"));
        }
    }
}

/* Each word is reached by some row above, or it is of no use. */
static void test_each_word_is_reached(void)
{
    unsigned word, i;

    for (word = COLO_WORD_PAUSED; word < COLO_WORD__MAX; word++) {
        bool is_reached = false;

        for (i = 0; i < G_N_ELEMENTS(cases); i++) {
            is_reached |= strstr(cases[i].text, colo_word_text(word)) != NULL;
        }
        g_test_message("%s", colo_word_text(word));
        g_assert_true(is_reached);
    }
}

/* libvirt calls a process that has died alive for some time. */
static void test_dying_primary(void)
{
    static const ColoOptions protect = {
        .domain = (char *)"vm", .from = (char *)"test:a",
        .to = (char *)"test:b", .port = 49800, .interval_ms = -1,
        .timeout_s = -1, .quiet = true,
    };
    const char *const uris[] = { "test:a", "test:b" };
    g_autoptr(JsonNode) result = NULL;
    FakeWorld w;
    unsigned i;

    fake_world_init(&w, fake_domain_xml);
    g_assert_true(colo_protect(&protect, &result, NULL));
    fake_qemu_end(w.hosts[0], true);
    w.hosts[0]->state = COLO_DOM_RUNNING;
    w.hosts[0]->is_dead_unseen = true;
    for (i = 0; i < G_N_ELEMENTS(uris); i++) {
        g_autoptr(ColoView) view = colo_view_new(uris[i], NULL, "vm", 10000,
                                                 NULL);

        g_assert_cmpint(view->verdict.word, ==, COLO_WORD_PRIMARY_LOST);
    }
    fake_world_clear(&w);
}

static void test_change(void)
{
    static const char xml[] =
        "<domain><name>vm</name><devices>"
        "<disk type='file'><source file='/a'/><target dev='vda'/></disk>"
        "<disk type='file'><source file='/b'/><target dev='vdb'/></disk>"
        "<interface type='bridge'/></devices></domain>";
    g_autoptr(ColoDomain) domain = colo_domain_parse(xml, NULL);
    g_autoptr(ColoPair) pair = colo_pair_new(COLO_ROLE_PRIMARY);
    g_autofree char *disk = NULL;
    g_autofree char *nic = NULL;

    colo_pair_add_disk(pair, "vda", NULL, false);
    disk = colo_side_change(domain, pair);
    g_assert_cmpstr(disk, ==, "disk vdb is not replicated");
    colo_pair_add_disk(pair, "vdb", NULL, false);
    nic = colo_side_change(domain, pair);
    g_assert_cmpstr(nic, ==, "1 of 1 network cards are not compared");
    pair->nic_count = 1;
    g_assert_null(colo_side_change(domain, pair));
}

static void test_report(void)
{
    g_autoptr(JsonNode) node = colo_json_parse(
        "{\"role\":\"primary\",\"state\":\"protected\",\"epoch\":9,"
        "\"checkpoints-total\":8,\"checkpoints\":{\"periodic\":5,"
        "\"queue-full\":3},\"timings\":[{\"name\":\"stop\",\"last-us\":1},"
        "{\"name\":\"pause\",\"last-us\":7,\"mean-us\":8,\"max-us\":9}],"
        "\"pages\":{\"dirty\":11},\"hybrid\":{\"active\":true},"
        "\"nics\":[{\"compare\":{\"connected\":true,\"held-frames\":2,"
        "\"longest-hold-us\":5}},{\"compare\":{\"connected\":false,"
        "\"held-frames\":3,\"longest-hold-us\":4}}],"
        "\"disks\":[{\"forward\":{\"in-sync\":false},\"differs\":10},"
        "{\"buffer\":{\"merge-left\":20},\"differs\":1}]}", NULL);
    g_autoptr(ColoReport) r = colo_report_parse(node);

    g_assert_cmpint(r->phase, ==, COLO_PHASE_PROTECTED);
    g_assert_true(r->is_primary && !r->is_secondary && r->is_hybrid);
    g_assert_cmpuint(r->epoch, ==, 9);
    g_assert_cmpuint(r->reason_counts[0], ==, 5);
    g_assert_cmpuint(r->reason_counts[3], ==, 3);
    g_assert_cmpuint(r->pause_last_us, ==, 7);
    g_assert_cmpuint(r->pause_max_us, ==, 9);
    g_assert_cmpuint(r->dirty_pages, ==, 11);
    g_assert_cmpuint(r->held_frames, ==, 5);
    g_assert_cmpuint(r->longest_hold_us, ==, 5);
    g_assert_false(r->is_net_connected);
    g_assert_false(r->is_disk_in_sync);
    g_assert_cmpuint(r->differs_bytes, ==, 11);
    g_assert_cmpuint(r->merge_left_bytes, ==, 20);
}

/* ------------------------------------------------------------- journal */

static void test_journal(void)
{
    g_autoptr(ColoJournal) journal = colo_journal_new(
        "protect", "vm \"1\"", "u", NULL, "qemu+ssh://b/system");
    g_autoptr(ColoUndo) undo = colo_undo_new(COLO_UNDO_VOLUME, true,
                                             "/a\n\"b\"");
    g_autofree char *head = NULL;
    g_autofree char *line = NULL;
    g_autofree char *text = NULL;
    g_autofree char *torn = NULL;
    g_autoptr(ColoJournal) back = NULL;
    g_autoptr(ColoJournal) half = NULL;
    const ColoUndo *read;

    undo->data = colo_json("i:x", (int64_t)5, NULL);
    journal->pid = 77;
    journal->session = g_strdup("s1");
    head = colo_journal_head(journal);
    line = colo_journal_line(undo);
    g_assert_true(strchr(line, '\n') == line + strlen(line) - 1);
    text = g_strconcat(head, line, line, NULL);
    back = colo_journal_parse(text, NULL);
    g_assert_cmpstr(back->domain, ==, "vm \"1\"");
    g_assert_cmpstr(back->to, ==, "qemu+ssh://b/system");
    g_assert_null(back->from);
    g_assert_cmpint(back->pid, ==, 77);
    g_assert_cmpstr(back->session, ==, "s1");
    g_assert_cmpuint(back->undos->len, ==, 2);
    read = g_ptr_array_index(back->undos, 1);
    g_assert_cmpint(read->kind, ==, COLO_UNDO_VOLUME);
    g_assert_true(read->at_peer);
    g_assert_cmpstr(read->text, ==, "/a\n\"b\"");
    g_assert_cmpint(colo_json_int(read->data, "x"), ==, 5);
    torn = g_strndup(text, strlen(text) - 4);
    half = colo_journal_parse(torn, NULL);
    g_assert_cmpuint(half->undos->len, ==, 1);
}

static void test_bad_journal(void)
{
    static const char *const bad[] = {
        "", "\n", "{}\n", "x\n", "{\"command\":\"c\",\"domain\":\"d\"}\n",
        "{\"command\":\"c\",\"domain\":\"d\",\"uuid\":\"u\"}\n{}\n",
        ("{\"command\":\"c\",\"domain\":\"d\",\"uuid\":\"u\"}\n"
         "{\"undo\":\"everything\"}\n"),
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(colo_journal_parse(bad[i], &error));
        g_assert_nonnull(error);
    }
}

static void test_undo_texts(void)
{
    unsigned kind;

    for (kind = 0; kind < COLO_UNDO__MAX; kind++) {
        g_autoptr(ColoUndo) undo = colo_undo_new(kind, false, "thing");
        g_autoptr(JsonNode) node = colo_undo_to_json(undo);
        g_autoptr(ColoUndo) back = colo_undo_from_json(node, NULL);
        g_autofree char *text = colo_undo_text(back);

        g_assert_cmpint(back->kind, ==, kind);
        g_assert_true(*text);
        g_assert_null(strchr(text, '%'));
    }
}

int main(int argc, char **argv)
{
    g_autofree char *directory = g_dir_make_tmp("colo-test-XXXXXX", NULL);
    int result;

    g_setenv("COLO_STATE_DIR", directory, TRUE);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tool/verdict", test_verdicts);
    g_test_add_func("/tool/verdict/words", test_each_word_is_reached);
    g_test_add_func("/tool/verdict/dying-primary", test_dying_primary);
    g_test_add_func("/tool/verdict/change", test_change);
    g_test_add_func("/tool/report", test_report);
    g_test_add_func("/tool/journal", test_journal);
    g_test_add_func("/tool/journal/bad", test_bad_journal);
    g_test_add_func("/tool/undo/texts", test_undo_texts);
    result = g_test_run();
    g_rmdir(directory);
    return result;
}
