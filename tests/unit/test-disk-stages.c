/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the stages of the secondary's disk: every call in every
 * stage. What a stage allows leads to the stage that the table says; what it
 * does not ends the program, which a forked child shows.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "disk-test.h"

/* ---------------------------------------------------- one of each stage */

static ColoDisk *make(ColoDiskStage stage)
{
    ColoDisk *d = colo_disk_new(CHUNK);

    if (stage != COLO_DISK_OFF) {
        colo_disk_begin(d);
        if (stage != COLO_DISK_ALONE) {
            own_write(d, 0, 100);
        }
    }
    switch (stage) {
    case COLO_DISK_CUT:
        colo_disk_cut(d);
        break;
    case COLO_DISK_MERGING:
    case COLO_DISK_ALONE:
        colo_disk_take_over(d);
        break;
    case COLO_DISK_BROKEN:
        colo_disk_break(d);
        break;
    default:
        break;
    }
    g_assert_cmpint(colo_disk_stage(d), ==, stage);
    return d;
}

/* ------------------------------------------------------ one of each call */

static const ColoPiece old_piece = { .offset = 10, .size = 10,
                                     .in_store = true, .where = 10 };
static const ColoPiece saved_piece = { .offset = 500, .size = 10,
                                       .in_store = true, .where = 200 };

static const ColoPiece own_piece = { .size = 100, .in_store = true };

static void do_enter(ColoDisk *d)
{
    colo_dropped_free(colo_disk_enter(d), g_free);
}

static void do_leftover(ColoDisk *d)
{
    colo_dropped_free(colo_disk_leftover(d), g_free);
}

static void do_read(ColoDisk *d)
{
    read_piece(d, 0, 1000);
}

static void do_own_at(ColoDisk *d)
{
    ColoPiece p;

    colo_disk_own_at(d, 10, 10, &p);
}

static void do_settled(ColoDisk *d)
{
    colo_disk_settled(d, 10, 10);
}

static void do_reuse(ColoDisk *d)
{
    colo_disk_reuse(d, &own_piece);
}

static void do_write_at(ColoDisk *d)
{
    ColoPiece p;

    colo_disk_write_at(d, 10, 10, &p);
}

static void do_write_zero_at(ColoDisk *d)
{
    ColoPiece p;

    colo_disk_write_zero_at(d, 10, 10, &p);
}

static void do_wrote(ColoDisk *d)
{
    colo_disk_wrote(d, &old_piece);
}

static void do_undo_at(ColoDisk *d)
{
    ColoPiece p;

    if (colo_disk_undo_at(d, 10, 10, &p)) {
        colo_disk_abandon(d, &p);
    }
}

static void do_undo_gap(ColoDisk *d)
{
    uint64_t offset, size;

    colo_disk_undo_gap(d, 10, 10, &offset, &size);
}

static void do_saved_zero(ColoDisk *d)
{
    colo_disk_saved_zero(d, 500, 10);
}

static void do_saved(ColoDisk *d)
{
    colo_disk_saved(d, &saved_piece);
}

static void do_abandon(ColoDisk *d)
{
    colo_disk_abandon(d, &old_piece);
}

static void do_merge_at(ColoDisk *d)
{
    ColoPiece p;

    g_assert_true(colo_disk_merge_at(d, 0, 1000, &p));
}

static void do_merged(ColoDisk *d)
{
    colo_disk_merged(d, &old_piece);
}

static void do_chunk(ColoDisk *d)
{
    colo_disk_chunk(d, 0);
}

static void do_counts(ColoDisk *d)
{
    counts_of(d);
}

static void count_run(uint64_t offset G_GNUC_UNUSED,
                      uint64_t size G_GNUC_UNUSED, void *opaque)
{
    ++*(unsigned *)opaque;
}

static void do_foreach(ColoDisk *d)
{
    unsigned count = 0;

    colo_disk_foreach(d, count_run, &count);
}

/* ---------------------------------------------------------- the table */

/* To which stage a call leads, in the order of the enum; - forbidden. */
static const struct {
    const char *name;
    void (*call)(ColoDisk *d);
    const char *leads_to;
} calls[] = {
    /*                                   OFF RUNNING CUT MERGING ALONE BROKEN */
    { "begin",     colo_disk_begin,     "R - - - - -" },
    { "cut",       colo_disk_cut,       "- C - - - -" },
    { "enter",     do_enter,            "- - R - - -" },
    { "roll-back", colo_disk_roll_back, "- - R - - -" },
    { "take-over", colo_disk_take_over, "- M - - - -" },
    { "leftover",  do_leftover,         "- - - - A -" },
    { "stop",      stop,                "O O O O O O" },
    { "break",     colo_disk_break,     "O B B M A B" },
    { "read-at",   do_read,             "O R C M A B" },
    { "own-at",    do_own_at,           "- R - - - -" },
    { "settled",   do_settled,          "- R - - - -" },
    { "reuse",     do_reuse,            "- R C - - -" },
    { "write-at",  do_write_at,         "O R - M A -" },
    { "write-zero-at", do_write_zero_at, "O R - M A -" },
    { "wrote",     do_wrote,            "O R - M A B" },
    { "undo-at",   do_undo_at,          "- R C - - -" },
    { "undo-gap",  do_undo_gap,         "- R C - - -" },
    { "saved-zero", do_saved_zero,      "- R C - - B" },
    { "saved",     do_saved,            "- R C - - B" },
    { "abandon",   do_abandon,          "O R C M A B" },
    { "merge-at",  do_merge_at,         "- - - M - -" },
    { "merged",    do_merged,           "- - - M - -" },
    { "chunk",     do_chunk,            "- R C M - B" },
    { "counts",    do_counts,           "O R C M A B" },
    { "foreach",   do_foreach,          "O R C M A B" },
};

static const char initials[] = "ORCMAB";
G_STATIC_ASSERT(sizeof(initials) == COLO_DISK__MAX + 1);

static void child(ColoDiskStage stage, void (*call)(ColoDisk *d))
{
    const struct rlimit none = { 0, 0 };
    int null = open("/dev/null", O_WRONLY);
    ColoDisk *d = make(stage);

    setrlimit(RLIMIT_CORE, &none);
    dup2(null, 1);
    dup2(null, 2);
    call(d);
    _exit(0);
}

static bool aborts(ColoDiskStage stage, void (*call)(ColoDisk *d))
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        child(stage, call);
    }
    g_assert(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_stage(const void *data)
{
    ColoDiskStage stage = GPOINTER_TO_UINT(data);
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(calls); i++) {
        char to = calls[i].leads_to[2 * stage];

        g_test_message("%s", calls[i].name);
        if (to == '-') {
            g_assert_true(aborts(stage, calls[i].call));
        } else {
            ColoDisk *d = make(stage);

            calls[i].call(d);
            g_assert_cmpint(initials[colo_disk_stage(d)], ==, to);
            colo_disk_free(d, g_free);
        }
    }
}

/* -------------------------------------------------- what comes between */

static ColoPiece begin_write(ColoDisk *d)
{
    ColoPiece p;

    colo_disk_write_at(d, 300, 100, &p);
    g_assert_true(p.is_new);
    return p;
}

static void cut_under_a_write(ColoDisk *d)
{
    begin_write(d);
    colo_disk_cut(d);
}

static void enter_under_a_save(ColoDisk *d)
{
    ColoPiece p;

    g_assert_true(colo_disk_undo_at(d, 10, 10, &p));
    colo_disk_enter(d);
}

static void enter_twice(ColoDisk *d)
{
    ColoPiece p = begin_write(d);

    colo_disk_wrote(d, &p);
    colo_disk_wrote(d, &p);
}

static void save_under_own(ColoDisk *d)
{
    const ColoPiece over = { .offset = 99, .size = 10, .in_store = true,
                             .where = 200 };

    colo_disk_saved(d, &over);
}

static void read_nothing(ColoDisk *d)
{
    ColoPiece p;

    colo_disk_read_at(d, 10, 0, &p);
}

static void read_past_all(ColoDisk *d)
{
    ColoPiece p;

    colo_disk_read_at(d, 1ull << 63, 1, &p);
}

static void own_nothing(ColoDisk *d)
{
    ColoPiece p;

    colo_disk_own_at(d, 10, 0, &p);
}

static void own_past_all(ColoDisk *d)
{
    ColoPiece p;

    colo_disk_own_at(d, 1ull << 63, 1, &p);
}

static void settle_nothing(ColoDisk *d)
{
    colo_disk_settled(d, 10, 0);
}

static void settle_past_all(ColoDisk *d)
{
    colo_disk_settled(d, 1ull << 63, 1);
}

static void reuse_twice(ColoDisk *d)
{
    do_reuse(d);
    do_reuse(d);
}

static void reuse_more_than_taken(ColoDisk *d)
{
    const ColoPiece more = { .size = 101, .in_store = true };

    colo_disk_reuse(d, &more);
}

static void reuse_of_two_chunks(ColoDisk *d)
{
    ColoPiece p = { .offset = 1000, .size = 100, .in_store = true,
                    .where = CHUNK - 50 };

    own_write(d, 1000, CHUNK);
    colo_disk_reuse(d, &p);
}

static void reuse_of_the_dropped(ColoDisk *d)
{
    colo_disk_cut(d);
    do_enter(d);
    do_reuse(d);
}

static void unknown_position(ColoDisk *d)
{
    colo_disk_chunk(d, CHUNK);
}

static void test_bugs(void)
{
    g_assert_true(aborts(COLO_DISK_RUNNING, cut_under_a_write));
    g_assert_true(aborts(COLO_DISK_CUT, enter_under_a_save));
    g_assert_true(aborts(COLO_DISK_RUNNING, enter_twice));
    g_assert_true(aborts(COLO_DISK_RUNNING, save_under_own));
    g_assert_true(aborts(COLO_DISK_RUNNING, read_nothing));
    g_assert_true(aborts(COLO_DISK_RUNNING, read_past_all));
    g_assert_true(aborts(COLO_DISK_RUNNING, own_nothing));
    g_assert_true(aborts(COLO_DISK_RUNNING, own_past_all));
    g_assert_true(aborts(COLO_DISK_RUNNING, settle_nothing));
    g_assert_true(aborts(COLO_DISK_RUNNING, settle_past_all));
    g_assert_true(aborts(COLO_DISK_RUNNING, reuse_twice));
    g_assert_true(aborts(COLO_DISK_RUNNING, reuse_more_than_taken));
    g_assert_true(aborts(COLO_DISK_RUNNING, reuse_of_two_chunks));
    g_assert_true(aborts(COLO_DISK_RUNNING, reuse_of_the_dropped));
    g_assert_true(aborts(COLO_DISK_RUNNING, unknown_position));
}

/* Requests on their way when the disk breaks end as if nothing had been. */
static void test_break_under_requests(void)
{
    ColoDisk *d = make(COLO_DISK_RUNNING);
    ColoPiece p = begin_write(d), saved, lost;

    g_assert_true(colo_disk_undo_at(d, 1000, 50, &saved));
    g_assert_true(colo_disk_undo_at(d, 2000, 50, &lost));
    colo_disk_break(d);
    colo_disk_break(d);
    colo_disk_wrote(d, &p);
    colo_disk_saved(d, &saved);
    colo_disk_abandon(d, &lost);
    assert_in_store(d, 0, 100, 0);
    assert_in_store(d, 300, 100, p.where);
    assert_in_store(d, 1000, 50, saved.where);
    assert_on_parent(d, 2000, 50);
    stop(d);
    assert_on_parent(d, 0, 10000);
    colo_disk_free(d, g_free);
}

static void test_break_between_cut_and_load(void)
{
    ColoDisk *d = make(COLO_DISK_CUT);
    ColoPiece p;

    g_assert_true(colo_disk_undo_at(d, 50, 100, &p));
    colo_disk_break(d);
    colo_disk_saved(d, &p);
    assert_in_store(d, 0, 100, 0);
    assert_in_store(d, 100, 50, p.where + 50);
    stop(d);
    colo_disk_free(d, g_free);
}

/* A pair may be made, ended and made again as often as it likes. */
static void test_again(void)
{
    ColoDisk *d = colo_disk_new(CHUNK);
    int i;

    for (i = 0; i < 3; i++) {
        g_assert_null(colo_disk_stop(d));
        colo_disk_begin(d);
        own_write(d, i, 2 * CHUNK);
        g_assert_cmpuint(counts_of(d).memory, ==, CHUNK);
        g_assert_cmpuint(counts_of(d).spilled, ==, CHUNK);
        g_assert_cmpuint(counts_of(d).spill_end, ==, CHUNK);
        stop(d);
        g_assert_cmpuint(counts_of(d).memory, ==, 0);
        g_assert_cmpuint(counts_of(d).spill_end, ==, 0);
    }
    colo_disk_free(d, g_free);
}

static void test_names(void)
{
    static const char *const names[COLO_DISK__MAX] = {
        "off", "running", "cut", "merging", "alone", "broken",
    };
    unsigned i;

    for (i = 0; i < COLO_DISK__MAX; i++) {
        g_assert_cmpstr(colo_disk_stage_name(i), ==, names[i]);
    }
}

int main(int argc, char **argv)
{
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < COLO_DISK__MAX; i++) {
        g_autofree char *path = g_strdup_printf("/disk-stages/%s",
                                                colo_disk_stage_name(i));

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_stage);
    }
    g_test_add_func("/disk-stages/bugs", test_bugs);
    g_test_add_func("/disk-stages/break-under-requests",
                    test_break_under_requests);
    g_test_add_func("/disk-stages/break-between-cut-and-load",
                    test_break_between_cut_and_load);
    g_test_add_func("/disk-stages/again", test_again);
    g_test_add_func("/disk-stages/names", test_names);
    return g_test_run();
}
