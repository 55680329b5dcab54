/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: command line and TAP.
 *
 *   colo-sim                      100,000 schedules, regressions, breakages
 *   colo-sim --schedules N        that many; --base N: from that seed on
 *   colo-sim --seed N             one schedule with its whole trace
 *   colo-sim --break NAME         run with a rule broken, until it is noticed
 *   colo-sim --break NAME --seed N  the trace of such a schedule
 */
#include <stdlib.h>
#include <string.h>
#include "sim.h"

enum {
    SCHEDULES_DEFAULT = 100000,
    BREAK_SCHEDULES = 20000,    /* within which a broken rule must show */
};

typedef struct Breakage {
    const char *name;
    unsigned bit;
    const char *caught_by;      /* the invariant that has to notice */
} Breakage;

static const Breakage breakages[] = {
    { "early-release", COLO_BREAK_EARLY_RELEASE, "explained" },
    { "apply-unverified", COLO_BREAK_APPLY_UNVERIFIED, "half-applied" },
    { "no-rollback", COLO_BREAK_NO_ROLLBACK, "explained" },
    { "no-timeout", COLO_BREAK_NO_TIMEOUT, "no-timer" },
    { "self-promote", COLO_BREAK_SELF_PROMOTE, "one-active" },
};

/*
 * Schedules that found a mistake. A seed means this only as long as nothing
 * here draws differently; the unit tests of the machines hold the same cases
 * for good.
 */
static const struct {
    uint64_t seed;
    const char *name;
} regressions[] = {
    { 84, "no release on FAILED before the secondary has confirmed" },
    { 41, "no release after a failed capture before it has confirmed" },
    { 1083, "a failover asked while collecting outlives the step limit" },
    { 1569, "no GOODBYE behind a torn frame, failover" },
    { 48494, "no GOODBYE behind a torn frame, quit" },
    { 29079, "a shorter limit does not condemn the secondary's past" },
};

static unsigned tests_run;
static unsigned tests_failed;

static bool tap(bool ok, const char *fmt, ...)
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
    return ok;
}

static void report(const SimWorld *w, const char *program)
{
    printf("# seed %" PRIu64 " breaks \"%s\" at step %u: %s\n", w->seed,
           w->broken, w->step, w->detail);
    printf("# replay: %s --seed %" PRIu64 "\n", program, w->seed);
}

static void run_schedules(SimWorld *w, uint64_t base, uint64_t count,
                          SimCoverage *coverage, const char *program)
{
    SimOptions options = { .coverage = coverage };
    uint64_t failed = 0;

    printf("# seeds %" PRIu64 " to %" PRIu64 "\n", base, base + count - 1);
    for (uint64_t i = 0; i < count && failed < 5; i++) {
        if (!sim_run(w, base + i, &options)) {
            failed++;
            report(w, program);
        }
    }
    tap(!failed, "%" PRIu64 " schedules keep all invariants", count);
}

/* Not left to chance: before, and so after, each of the first actions. */
static void run_every_action(SimWorld *w, SimCoverage *coverage)
{
    static const SimFaultType types[] = {
        SIM_FAULT_CRASH_P, SIM_FAULT_CRASH_S, SIM_FAULT_CUT,
        SIM_FAULT_RESET, SIM_FAULT_FREEZE_P, SIM_FAULT_FREEZE_S,
        SIM_FAULT_QUIT_P, SIM_FAULT_QUIT_S, SIM_FAULT_GUEST_GONE,
    };
    enum { ACTIONS = 120, SEEDS = 4 };
    unsigned last = G_N_ELEMENTS(types) * 2 * ACTIONS * SEEDS;
    unsigned count = 0;
    unsigned failed = 0;

    for (unsigned i = 0; i < last && failed < 5; i++) {
        SimFault f = {
            .type = types[i % G_N_ELEMENTS(types)],
            .trigger = i / G_N_ELEMENTS(types) % 2 ? SIM_AT_P_ACTION
                                                   : SIM_AT_S_ACTION,
            .at = i / G_N_ELEMENTS(types) / 2 % ACTIONS,
            .detail = i,
        };
        SimOptions options = { .coverage = coverage, .only = &f };

        if (!sim_run(w, 1 + i * SEEDS / last, &options)) {
            printf("# %s before action %u of %s, seed %" PRIu64 ": %s: %s\n",
                   sim_fault_name(f.type), f.at,
                   f.trigger == SIM_AT_P_ACTION ? "P" : "S", w->seed,
                   w->broken, w->detail);
            failed++;
        }
        count += w->faults[0].done;
    }
    tap(!failed && count > 8000, "%u faults, before each action of either side",
        count);
}

static void print_coverage(const SimCoverage *c)
{
    printf("# %" PRIu64 " steps, %" PRIu64 " checkpoints, %" PRIu64
           " answers seen by clients\n", c->steps, c->checkpoints, c->served);
    printf("# released: %" PRIu64 " compared, %" PRIu64 " at a checkpoint\n",
           c->released_compared, c->released_committed);
    printf("# hybrid mode: began %" PRIu64 " times, ended %" PRIu64
           " times\n", c->storms, c->calms);
    printf("# %" PRIu64 " takeovers, %" PRIu64 " primaries alone, %" PRIu64
           " rollbacks, %" PRIu64 " services lost to double faults\n",
           c->takeovers, c->primaries_alone, c->rollbacks, c->lost_excused);
}

/* Nothing may have been left out: a simulator that never gets there is mute. */
static unsigned count_zero(const uint64_t *values, unsigned from, unsigned to,
                           const char *what)
{
    unsigned zero = 0;

    for (unsigned i = from; i < to; i++) {
        if (!values[i]) {
            printf("# never reached: %s %u\n", what, i);
            zero++;
        }
    }
    return zero;
}

static void check_coverage(const SimCoverage *c)
{
    unsigned zero = 0;

    zero += count_zero(c->p_state, COLO_P_HELLO, COLO_P__MAX, "primary state");
    zero += count_zero(c->s_state, COLO_S_WAITING, COLO_S__MAX,
                       "secondary state");
    zero += count_zero(c->action, 0, COLO_ACT__MAX, "action");
    zero += count_zero(c->fault, 0, SIM_FAULT__MAX, "fault");
    zero += count_zero(c->cause, COLO_CAUSE_PEER_CLOSED, COLO_CAUSE__MAX,
                       "cause");
    tap(!zero && c->takeovers && c->primaries_alone && c->rollbacks &&
        c->released_compared && c->released_committed &&
        c->storms && c->calms,
        "every state, action, fault and cause was reached");
}

static bool run_breakage(SimWorld *w, const Breakage *b, uint64_t base)
{
    SimCoverage ignored = { 0 };
    SimOptions options = { .breakage = b->bit, .coverage = &ignored };

    for (uint64_t i = 0; i < BREAK_SCHEDULES; i++) {
        if (!sim_run(w, base + i, &options)) {
            printf("# seed %" PRIu64 ": %s: %s\n", w->seed, w->broken,
                   w->detail);
            return !strcmp(w->broken, b->caught_by);
        }
    }
    printf("# not noticed in %d schedules\n", BREAK_SCHEDULES);
    return false;
}

static const Breakage *find_breakage(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(breakages); i++) {
        if (!strcmp(breakages[i].name, name)) {
            return &breakages[i];
        }
    }
    fprintf(stderr, "unknown rule '%s'; one of:", name);
    for (unsigned i = 0; i < G_N_ELEMENTS(breakages); i++) {
        fprintf(stderr, " %s", breakages[i].name);
    }
    fputc('\n', stderr);
    exit(2);
}

static int replay(SimWorld *w, uint64_t seed, const Breakage *b)
{
    SimCoverage ignored = { 0 };
    SimOptions options = {
        .trace = true, .coverage = &ignored, .breakage = b ? b->bit : 0,
    };

    tap(sim_run(w, seed, &options), "seed %" PRIu64 " keeps all invariants",
        seed);
    printf("1..%u\n", tests_run);
    return tests_failed != 0;
}

static void run_all(SimWorld *w, uint64_t base, uint64_t count,
                    const char *program)
{
    SimCoverage coverage = { 0 };
    SimOptions options = { .coverage = &coverage };

    for (unsigned i = 0; i < G_N_ELEMENTS(regressions); i++) {
        if (!tap(sim_run(w, regressions[i].seed, &options),
                 "regression: %s", regressions[i].name)) {
            report(w, program);
        }
    }
    run_schedules(w, base, count, &coverage, program);
    run_every_action(w, &coverage);
    print_coverage(&coverage);
    if (count >= 10000) {
        check_coverage(&coverage);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(breakages); i++) {
        const Breakage *b = &breakages[i];

        tap(run_breakage(w, b, base), "breaking %s is caught by \"%s\"",
            b->name, b->caught_by);
    }
}

int main(int argc, char **argv)
{
    static SimWorld world;
    uint64_t base = 1;
    uint64_t count = SCHEDULES_DEFAULT;
    const char *seed = NULL;
    const Breakage *b = NULL;

    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && !strcmp(argv[i], "--schedules")) {
            count = strtoull(argv[++i], NULL, 0);
        } else if (i + 1 < argc && !strcmp(argv[i], "--base")) {
            base = strtoull(argv[++i], NULL, 0);
        } else if (i + 1 < argc && !strcmp(argv[i], "--seed")) {
            seed = argv[++i];
        } else if (i + 1 < argc && !strcmp(argv[i], "--break")) {
            b = find_breakage(argv[++i]);
        } else {
            fprintf(stderr, "usage: %s [--schedules N] [--base N] "
                    "[--seed N] [--break RULE]\n", argv[0]);
            return 2;
        }
    }
    if (seed) {
        return replay(&world, strtoull(seed, NULL, 0), b);
    }
    if (b) {
        tap(run_breakage(&world, b, base), "breaking %s is caught by \"%s\"",
            b->name, b->caught_by);
    } else {
        run_all(&world, base, count, argv[0]);
    }
    printf("1..%u\n", tests_run);
    printf("# %u passed, %u failed\n", tests_run - tests_failed,
           tests_failed);
    return tests_failed != 0;
}
