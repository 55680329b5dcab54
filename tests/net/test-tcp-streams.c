/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Property tests of the comparer with random conversations; see streams.h.
 *
 *   test-tcp-streams                 some thousand conversations, breakages
 *   test-tcp-streams --runs N        that many; --base SEED: from there on
 *   test-tcp-streams --seed N        one, with its whole trace
 *   test-tcp-streams --self-test     only the breakages: each must be caught
 *   test-tcp-streams --break NAME --seed N   one such run
 */
#include <stdlib.h>
#include "streams.h"

enum { RUNS_DEFAULT = 3000, BREAK_RUNS = 400 };

static const struct {
    const char *name;
    const char *caught_by[3];
} breakages[BREAK__MAX] = {
    [BREAK_EARLY] = { "early-frame", { "output-commit", "quiet-cut",
                                       "once-in-order" } },
    [BREAK_DROP] = { "dropped-frame", { "loss", "liveness",
                                        "once-in-order" } },
    [BREAK_TWICE] = { "frame-twice", { "once-in-order" } },
    [BREAK_SWAP] = { "swapped-frames", { "once-in-order" } },
    [BREAK_ACK] = { "raised-ack", { "output-commit", "client-stream" } },
    [BREAK_BYTE] = { "changed-byte", { "client-stream", "well-formed",
                                       "once-in-order" } },
    [BREAK_LATE] = { "late-frame", { "liveness", "loss", "quiet-cut" } },
    [BREAK_MUTE] = { "no-ask", { "mismatch", "timeout" } },
    [BREAK_FALSE_ASK] = { "false-ask", { "no-mismatch" } },
    [BREAK_BELIEVE] = { "no-secondary", { "output-commit" } },
    [BREAK_HASTY] = { "release-at-cut", { "quiet-cut" } },
    [BREAK_NO_TIMER] = { "no-timer", { "clock", "timeout" } },
};

/* Each has broken a property once, by a fault of comparer or oracle. */
static const uint64_t kept_seeds[] = {
    14363, 20663, 25285, 69958, 88880, 91791, 107415, 153948, 200627, 208650,
    235726, 252484, 299588, 316375, 411652, 427762, 461580, 474727, 550999,
    595778, 1069334,
};

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

static void run_many(uint64_t base, int runs)
{
    StreamCount count = { 0 };
    char property[32];
    unsigned failed = 0;
    int i;

    printf("# seeds %" PRIu64 " to %" PRIu64 "\n", base, base + runs - 1);
    for (i = 0; i < runs && failed < 3; i++) {
        failed += !stream_run(base + i, BREAK_NOTHING, false, false, &count,
                              property, sizeof(property));
        fflush(stdout);
    }
    tap(!failed, "%d conversations keep all properties", runs);
    printf("# %" PRIu64 " calls, %" PRIu64 " frames, %" PRIu64 " checkpoints, "
           "%" PRIu64 " drained without one, %" PRIu64 " twisted\n",
           count.calls, count.frames, count.checkpoints, count.drained,
           count.twisted);
    /* a world that never gets there is mute */
    tap(runs < 1000 || (count.checkpoints > (unsigned)runs &&
                        count.drained > (unsigned)runs / 20 &&
                        count.twisted > (unsigned)runs / 5),
        "checkpoints, twists and quiet ends have been there");
}

static void run_kept(void)
{
    StreamCount count = { 0 };
    char property[32];
    bool good = true;
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(kept_seeds); i++) {
        good &= stream_run(kept_seeds[i], BREAK_NOTHING, false, false, &count,
                           property, sizeof(property));
    }
    tap(good, "%u kept conversations keep all properties", i);
}

static bool caught(Breakage b, uint64_t base)
{
    StreamCount count = { 0 };
    char property[32] = "";
    unsigned i;

    for (i = 0; i < BREAK_RUNS; i++) {
        if (!stream_run(base + i, b, false, true, &count, property,
                        sizeof(property))) {
            unsigned k;

            for (k = 0; k < G_N_ELEMENTS(breakages[b].caught_by); k++) {
                if (g_strcmp0(breakages[b].caught_by[k], property) == 0) {
                    printf("# seed %" PRIu64 ": \"%s\"\n", base + i, property);
                    return true;
                }
            }
            printf("# seed %" PRIu64 ": \"%s\", which says nothing of it\n",
                   base + i, property);
            return false;
        }
    }
    printf("# not noticed in %d conversations\n", BREAK_RUNS);
    return false;
}

static void self_test(uint64_t base)
{
    unsigned b;

    for (b = BREAK_NOTHING + 1; b < BREAK__MAX; b++) {
        tap(caught(b, base), "a comparer with %s is caught",
            breakages[b].name);
    }
}

static void run_one(uint64_t seed, Breakage b, bool trace)
{
    StreamCount count = { 0 };
    char property[32];
    bool good = stream_run(seed, b, trace, false, &count, property,
                           sizeof(property));

    tap(good, "seed %" PRIu64 " keeps all properties", seed);
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
    int runs = RUNS_DEFAULT, b = BREAK_NOTHING;
    gboolean only_self = false, terse = false;
    g_autofree char *name = NULL;
    const GOptionEntry options[] = {
        { "runs", 0, 0, G_OPTION_ARG_INT, &runs, "conversations", "N" },
        { "base", 0, 0, G_OPTION_ARG_INT64, &base, "first seed", "SEED" },
        { "seed", 0, 0, G_OPTION_ARG_INT64, &seed, "only this one", "SEED" },
        { "terse", 0, 0, G_OPTION_ARG_NONE, &terse, "no trace of it", NULL },
        { "break", 0, 0, G_OPTION_ARG_STRING, &name, "spoil it", "NAME" },
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
    b = name ? find_breakage(name) : BREAK_NOTHING;
    if (seed >= 0) {
        run_one(seed, b, !terse);
    } else {
        if (!only_self) {
            run_many(base, runs);
            run_kept();
        }
        self_test(1);
    }
    printf("1..%u\n", tests_run);
    return tests_failed != 0;
}
