/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * When one side of a pair may go on by itself: all that may be known of both.
 */
#include <glib.h>
#include "guard.h"

enum { NOW_MS = 100000 };

typedef struct Row {
    const char *name;
    const char *state;          /* of the survivor */
    const char *cause;
    int64_t said_ms;
    ColoGuardSide other;
    ColoGuardAdvice advice;
} Row;

#define CUT "lost", "peer-closed", NOW_MS
#define SILENT "lost", "peer-silent", NOW_MS
#define KEEP COLO_GUARD_KEEP_STILL
#define GO COLO_GUARD_GO_ON
#define ASK COLO_GUARD_ASK_USER

static const Row rows[] = {
    { "both-well", "protected", "none", NOW_MS, {}, KEEP },
    { "dead-not-noticed", "protected", "none", NOW_MS,
      { .is_dead = true, .broken_ms = NOW_MS }, KEEP },
    { "silence", SILENT, {}, KEEP },
    { "cut", CUT, {}, KEEP },
    { "crash-told", CUT, { .is_dead = true }, GO },
    { "crash-told-of-silent", SILENT, { .is_dead = true }, GO },
    { "ended-told", CUT, { .was_ended = true }, ASK },
    { "goodbye", "lost", "peer-quit", NOW_MS, {}, ASK },
    { "goodbye-and-gone", "lost", "peer-quit", NOW_MS,
      { .broken_ms = NOW_MS, .is_dead = true }, ASK },
    { "power-off", "lost", "guest-shutdown", NOW_MS,
      { .broken_ms = NOW_MS }, ASK },
    { "seen-dead", CUT, { .broken_ms = NOW_MS + 5 }, GO },
    { "seen-dead-first", CUT, { .broken_ms = NOW_MS - 5 }, GO },
    { "seen-dead-as-last",
      CUT, { .broken_ms = NOW_MS + COLO_GUARD_SAME_TIME_MS }, GO },
    { "seen-dead-too-late",
      CUT, { .broken_ms = NOW_MS + COLO_GUARD_SAME_TIME_MS + 1 }, KEEP },
    { "cut-long-after",
      CUT, { .broken_ms = NOW_MS - COLO_GUARD_SAME_TIME_MS - 1 }, KEEP },
    { "cut-before-we-listened", "lost", "peer-closed", 0,
      { .broken_ms = NOW_MS }, KEEP },
    { "seen-dead-of-silent", SILENT, { .broken_ms = NOW_MS }, KEEP },
    { "seen-dead-but-ended", CUT,
      { .broken_ms = NOW_MS, .was_ended = true }, ASK },
    { "went-on", SILENT, { .has_gone_on = true, .is_dead = true }, KEEP },
    { "alone", "alone", "none", NOW_MS, { .is_dead = true }, KEEP },
    { "cannot", "dead", "refused", NOW_MS, { .is_dead = true }, KEEP },
};

static void test_row(gconstpointer opaque)
{
    const Row *row = opaque;
    ColoGuardSide survivor = {};

    colo_guard_note(&survivor, row->state, row->cause, row->said_ms);
    g_assert_cmpint(colo_guard_advise(&survivor, &row->other), ==,
                    row->advice);
}

/* Asked again, it says the same; that is not when it lost its peer. */
static void test_first_word(void)
{
    const ColoGuardSide other = { .broken_ms = NOW_MS };
    ColoGuardSide side = {};

    colo_guard_note(&side, CUT);
    colo_guard_note(&side, "lost", "peer-closed", NOW_MS + 60000);
    g_assert_cmpint(colo_guard_advise(&side, &other), ==, GO);
    colo_guard_note(&side, "lost", "peer-closed", 0);
    g_assert_cmpint(colo_guard_advise(&side, &other), ==, GO);

    /* A new pair forgets what was with the last one. */
    colo_guard_note(&side, "protected", "none", NOW_MS + 70000);
    colo_guard_note(&side, "lost", "peer-closed", NOW_MS + 80000);
    g_assert_cmpint(colo_guard_advise(&side, &other), ==, KEEP);
}

static void test_whole(void)
{
    g_assert_true(colo_guard_is_whole("protected"));
    g_assert_true(colo_guard_is_whole("connecting"));
    g_assert_false(colo_guard_is_whole("lost"));
    g_assert_false(colo_guard_is_whole("off"));
    g_assert_false(colo_guard_is_whole(NULL));
}

int main(int argc, char **argv)
{
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strconcat("/tool/guard/", rows[i].name,
                                            NULL);

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/tool/guard/first-word", test_first_word);
    g_test_add_func("/tool/guard/whole", test_whole);
    return g_test_run();
}
