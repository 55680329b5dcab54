/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Property tests of the secondary's disk in random worlds; see disk-world.h.
 *
 *   test-disk-world                  some hundred worlds, and the breakages
 *   test-disk-world --runs N         that many; --base SEED: from there on
 *   test-disk-world --seed N         one, with its whole trace
 *   test-disk-world --self-test      only the breakages: each must be caught
 *   test-disk-world --break NAME --seed N       one such run
 *   test-disk-world --seed N --steps N --record FILE
 *                                    its choices, as an input of fuzz-disk
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "disk-choices.h"

enum { RUNS_DEFAULT = 600, STEPS_DEFAULT = 2000, BREAK_RUNS = 100 };

static const struct {
    const char *name;
    const char *caught_by[4];
} breakages[BREAK__MAX] = {
    [BREAK_SKIP_UNDO] = { "skipped-undo", { "guest-view", "counts",
                                           "place" } },
    [BREAK_OLDER_COVERS] = { "undo-of-older", { "guest-view", "counts",
                                                "place" } },
    [BREAK_LOSE_OWN] = { "lost-own", { "guest-view", "counts", "place",
                                       "own" } },
    [BREAK_OWN_TO_PARENT] = { "own-to-parent", { "parent", "place",
                                                 "guest-view", "own" } },
    [BREAK_WRONG_PLACE] = { "wrong-place", { "guest-view" } },
    [BREAK_ZEROES] = { "zeroes-of-parent", { "guest-view" } },
    [BREAK_OLD_GUEST] = { "loaded-anyway", { "guest-view", "counts",
                                             "own" } },
    [BREAK_NO_DROP] = { "nothing-dropped", { "guest-view", "chunk",
                                             "own" } },
    [BREAK_MERGE_SKIP] = { "piece-not-merged", { "guest-view", "parent" } },
    [BREAK_MERGE_OVER] = { "merged-over", { "guest-view", "parent" } },
    [BREAK_MERGE_SHORT] = { "short-merge", { "parent", "stage" } },
    [BREAK_SLOT_TWICE] = { "slot-twice", { "slots" } },
    [BREAK_NO_LIMIT] = { "no-limit", { "memory" } },
    [BREAK_COUNT] = { "byte-not-counted", { "counts" } },
    [BREAK_RUN] = { "run-not-told", { "runs" } },
    [BREAK_UNDO_AS_OWN] = { "undo-as-own", { "own" } },
    [BREAK_OWN_UNTOLD] = { "own-not-told", { "own" } },
    [BREAK_SETTLED_UNWRITTEN] = { "settled-unwritten", { "guest-view",
                                                         "parent" } },
    [BREAK_UNSETTLED] = { "unsettled", { "guest-view", "counts", "own",
                                         "place" } },
    [BREAK_SETTLED_BESIDE] = { "settled-beside", { "guest-view", "counts",
                                                   "own", "place" } },
    [BREAK_REUSE_EARLY] = { "reused-early", { "guest-view" } },
    [BREAK_REUSE_NEVER] = { "never-reused", { "reuse", "fill" } },
    [BREAK_REUSE_ALL] = { "all-reused", { "reuse", "fill" } },
    [BREAK_REUSE_SPILLED] = { "spilled-reused", { "reuse", "fill" } },
};

typedef struct Run {
    uint64_t seed;
    uint32_t steps;
    Breakage breakage;
    bool trace;
    GByteArray *record;
} Run;

static unsigned tests_run;
static unsigned tests_failed;

static void tap(bool ok, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static void tap(bool ok, const char *fmt, ...)
{
    va_list ap;

    tests_run++;
    tests_failed += !ok;
    printf("%sok %u - ", ok ? "" : "not ", tests_run);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

/* The property that does not hold, or NULL. */
static const char *run(const Run *r, WorldCount *count)
{
    SeededChoices choices;
    DiskWorld *w;
    const char *failed;
    uint32_t i;

    seeded_choices_init(&choices, r->seed, r->record);
    w = disk_world_new(&choices.choices, r->breakage, r->trace, count);
    for (i = 0; i < r->steps && disk_world_step(w); i++) {
        continue;
    }
    failed = disk_world_failed(w);
    if (failed && (r->trace || r->breakage == BREAK_NOTHING)) {
        printf("# seed %" PRIu64 ", step %u: \"%s\" does not hold\n", r->seed,
               i, failed);
    }
    disk_world_free(w);
    return failed;
}

static void run_many(uint64_t base, int runs, uint32_t steps)
{
    WorldCount c = { 0 };
    unsigned failed = 0;
    int i;

    printf("# seeds %" PRIu64 " to %" PRIu64 "\n", base, base + runs - 1);
    for (i = 0; i < runs && failed < 3; i++) {
        const Run r = { .seed = base + i, .steps = steps };

        failed += run(&r, &c) != NULL;
        fflush(stdout);
    }
    tap(!failed, "%d worlds keep all properties", runs);
    printf("# %" PRIu64 " steps, %" PRIu64 " bytes written, %" PRIu64
           " loads, %" PRIu64 " roll-backs, %" PRIu64 " merges, %" PRIu64
           " breaks, %" PRIu64 " chunks spilled, %" PRIu64 " times zeroes, %"
           PRIu64 " requests held, %" PRIu64 " given up, %" PRIu64
           " twins, %" PRIu64 " outlasted a stage, %" PRIu64
           " chunks used again\n", c.steps, c.bytes, c.enters, c.roll_backs,
           c.merges, c.breaks, c.spilled, c.zeroes, c.late, c.given_up,
           c.twins, c.outlasted, c.again);
    /* a world that never gets there is mute */
    tap(c.steps < 100000 ||
        (c.enters > c.steps / 200 && c.roll_backs > c.steps / 400 &&
         c.merges > c.steps / 1000 && c.breaks > c.steps / 1000 &&
         c.spilled > c.steps / 200 && c.zeroes > c.steps / 50 &&
         c.late > c.steps / 100 && c.given_up > c.steps / 500 &&
         c.twins > c.steps / 50 && c.outlasted > c.steps / 1000 &&
         c.again > c.steps / 500),
        "every stage and the spill file have been there");
}

static bool caught(Breakage b, uint64_t base)
{
    WorldCount count = { 0 };
    unsigned i, k;

    for (i = 0; i < BREAK_RUNS; i++) {
        const Run r = { .seed = base + i, .steps = 300, .breakage = b };
        const char *failed = run(&r, &count);

        for (k = 0; failed && k < G_N_ELEMENTS(breakages[b].caught_by); k++) {
            if (g_strcmp0(breakages[b].caught_by[k], failed) == 0) {
                printf("# seed %" PRIu64 ": \"%s\"\n", r.seed, failed);
                return true;
            }
        }
        if (failed) {
            printf("# seed %" PRIu64 ": \"%s\", which says nothing of it\n",
                   r.seed, failed);
            return false;
        }
    }
    printf("# not noticed in %d worlds\n", BREAK_RUNS);
    return false;
}

static void self_test(void)
{
    unsigned b;

    for (b = BREAK_NOTHING + 1; b < BREAK__MAX; b++) {
        tap(caught(b, 1), "a disk with %s is caught", breakages[b].name);
    }
}

static void run_one(Run *r, const char *file)
{
    g_autoptr(GByteArray) record = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    WorldCount count = { 0 };

    r->record = file ? record : NULL;
    tap(!run(r, &count), "seed %" PRIu64 " keeps all properties", r->seed);
    if (file && !g_file_set_contents(file, (const char *)record->data,
                                     record->len, &error)) {
        fprintf(stderr, "%s\n", error->message);
        exit(2);
    }
}

static int find_breakage(const char *name)
{
    unsigned b;

    for (b = BREAK_NOTHING + 1; b < BREAK__MAX; b++) {
        if (strcmp(breakages[b].name, name) == 0) {
            return b;
        }
    }
    fprintf(stderr, "unknown breakage '%s'\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    gint64 seed = -1, base = 1;
    int runs = RUNS_DEFAULT, steps = STEPS_DEFAULT;
    gboolean only_self = false, terse = false;
    g_autofree char *name = NULL, *file = NULL;
    const GOptionEntry options[] = {
        { "runs", 0, 0, G_OPTION_ARG_INT, &runs, "worlds", "N" },
        { "steps", 0, 0, G_OPTION_ARG_INT, &steps, "of each world", "N" },
        { "base", 0, 0, G_OPTION_ARG_INT64, &base, "first seed", "SEED" },
        { "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "only this one", "SEED" },
        { "terse", 0, 0, G_OPTION_ARG_NONE, &terse, "no trace of it", NULL },
        { "break", 0, 0, G_OPTION_ARG_STRING, &name, "spoil it", "NAME" },
        { "record", 0, 0, G_OPTION_ARG_FILENAME, &file, "for the fuzzer",
          "FILE" },
        { "self-test", 0, 0, G_OPTION_ARG_NONE, &only_self, "breakages",
          NULL },
        { 0 }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    if (seed >= 0) {
        Run r = { .seed = seed, .steps = steps, .trace = !terse,
                  .breakage = name ? find_breakage(name) : BREAK_NOTHING };

        run_one(&r, file);
    } else {
        if (!only_self) {
            run_many(base, runs, steps);
        }
        self_test();
    }
    printf("1..%u\n", tests_run);
    return tests_failed != 0;
}
