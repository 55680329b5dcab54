/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: the scheduler.
 *
 * Each step lists the moves that are possible now, draws one by weight, does
 * it, lets the faults that are due strike and checks the invariants. The
 * clock is one of the moves: it jumps to the next time at which something
 * happens, even if somebody has work left, so slowness is explored too; but
 * never past the deadline of a machine that could be given its tick.
 */
#include <stdarg.h>
#include <string.h>
#include "sim.h"

typedef void SimMove(SimWorld *w);

enum { MOVES_MAX = 20 };

typedef struct SimMoves {
    SimMove *move[MOVES_MAX];
    unsigned weight[MOVES_MAX];
    unsigned count;
    unsigned total;
    bool tick_due;              /* the clock has to wait */
} SimMoves;

uint64_t sim_rand(SimWorld *w)
{
    w->random += 0x9E3779B97F4A7C15u;
    return sim_mix(w->random, 0);
}

unsigned sim_pick(SimWorld *w, unsigned n)
{
    return (sim_rand(w) >> 32) * n >> 32;
}

bool sim_chance(SimWorld *w, unsigned one_in)
{
    return sim_pick(w, one_in) == 0;
}

void sim_broken(SimWorld *w, const char *invariant, const char *fmt, ...)
{
    va_list ap;

    if (w->broken) {
        return;
    }
    w->broken = invariant;
    va_start(ap, fmt);
    vsnprintf(w->detail, sizeof(w->detail), fmt, ap);
    va_end(ap);
    sim_trace(w, "BROKEN %s: %s", invariant, w->detail);
}

static void add(SimMoves *m, SimMove *move, unsigned weight)
{
    g_assert(m->count < MOVES_MAX);
    m->move[m->count] = move;
    m->weight[m->count++] = weight;
    m->total += weight;
}

/* -------------------------------------------------- events of either node */

static void result_event(SimNode *n, ColoEvent *ev)
{
    static const ColoEventType types[] = {
        [SIM_RESULT_OK] = COLO_EV_LOCAL_OK,
        [SIM_RESULT_FAILED] = COLO_EV_LOCAL_FAILED,
        [SIM_RESULT_BROKEN] = COLO_EV_LOCAL_BROKEN,
        [SIM_RESULT_LOST] = COLO_EV_PEER_LOST,
    };

    *ev = (ColoEvent) { .type = types[n->result] };
    n->result = SIM_RESULT_NONE;
}

static ColoEvent next_order(SimNode *n)
{
    ColoEvent ev = n->orders[0];

    n->order_count--;
    memmove(n->orders, n->orders + 1, n->order_count * sizeof(ev));
    return ev;
}

static void p_result(SimWorld *w)
{
    ColoEvent ev;

    result_event(&w->p.node, &ev);
    sim_p_event(w, &ev);
}

static void s_result(SimWorld *w)
{
    ColoEvent ev;

    result_event(&w->s.node, &ev);
    sim_s_event(w, &ev);
}

static void p_order(SimWorld *w)
{
    ColoEvent ev = next_order(&w->p.node);

    sim_p_event(w, &ev);
}

static void s_order(SimWorld *w)
{
    ColoEvent ev = next_order(&w->s.node);

    sim_s_event(w, &ev);
}

static void p_tick(SimWorld *w)
{
    sim_p_event(w, &(ColoEvent) { .type = COLO_EV_TICK });
}

static void s_tick(SimWorld *w)
{
    sim_s_event(w, &(ColoEvent) { .type = COLO_EV_TICK });
}

static void p_want(SimWorld *w)
{
    ColoEvent ev = { .type = COLO_EV_WANT_CHECKPOINT, .reason = w->p.want };

    w->p.want = COLO_REASON_NONE;
    sim_p_event(w, &ev);
}

/* ----------------------------------------------------------- the scheduler */

static bool working(const SimNode *n)
{
    return n->act_index < n->acts.count;
}

static int64_t p_deadline(const SimWorld *w)
{
    return colo_primary_deadline(&w->p.machine);
}

static int64_t s_deadline(const SimWorld *w)
{
    return colo_secondary_deadline(&w->s.machine);
}

/* The contract lets nothing in before the result, but a machine bears it. */
static void add_interruptions(SimWorld *w, SimNode *n, bool primary,
                              SimMoves *m)
{
    ColoActionType type = n->acts.list[n->act_index].type;
    const SimFrame *f = n->closed ? NULL : sim_channel_head(w, primary);

    if (type != COLO_ACT_BEGIN && type != COLO_ACT_CAPTURE &&
        type != COLO_ACT_SEND_STATE && type != COLO_ACT_COLLECT &&
        type != COLO_ACT_APPLY) {
        return;
    }
    if (n->order_count) {
        add(m, primary ? p_order : s_order, 4);
    }
    if (f && f->kind != SIM_FRAME_MSG) {
        add(m, primary ? sim_p_receive : sim_s_receive, 4);
    }
}

/* What both nodes have in common; true if it may be given other events. */
static bool node_moves(SimWorld *w, SimNode *n, bool primary, SimMoves *m)
{
    int64_t deadline_ms = primary ? p_deadline(w) : s_deadline(w);
    bool late = w->now_ms >= deadline_ms;
    bool started = primary ? w->p.machine.state != COLO_P_OFF
                           : w->s.machine.state != COLO_S_OFF;

    if (!n->alive || n->frozen) {
        return false;
    }
    if (working(n)) {
        if (n->blocked && late) {
            add(m, primary ? p_tick : s_tick, 24);
            m->tick_due = true;
        } else if (n->busy_until_ms <= w->now_ms &&
                   !(n->blocked && sim_channel_blocked(w, primary))) {
            add(m, primary ? sim_p_execute : sim_s_execute, 32);
        }
        add_interruptions(w, n, primary, m);
        return false;
    }
    if (n->order_count) {
        add(m, primary ? p_order : s_order, 8);
    }
    if (n->result != SIM_RESULT_NONE) {
        add(m, primary ? p_result : s_result, 24);
        return false;
    }
    if (late) {
        add(m, primary ? p_tick : s_tick, 16);
        m->tick_due = true;
    }
    if (!n->closed && started && sim_channel_head(w, primary)) {
        add(m, primary ? sim_p_receive : sim_s_receive, 24);
    }
    return true;
}

static int64_t future(const SimWorld *w, int64_t at_ms)
{
    return at_ms > w->now_ms ? at_ms : INT64_MAX;
}

static int64_t node_next_ms(SimWorld *w, SimNode *n, bool primary)
{
    int64_t next_ms;

    if (!n->alive) {
        return INT64_MAX;
    }
    if (n->frozen) {
        return n->frozen_until_ms;
    }
    next_ms = future(w, primary ? p_deadline(w) : s_deadline(w));
    if (working(n)) {
        next_ms = MIN(next_ms, future(w, n->busy_until_ms));
    }
    if (!n->closed) {
        next_ms = MIN(next_ms, future(w, sim_channel_next_ms(w, primary)));
    }
    return next_ms;
}

static void thaw(SimWorld *w, SimNode *n)
{
    if (n->frozen && w->now_ms >= n->frozen_until_ms) {
        n->frozen = false;
        n->heard_ms = w->now_ms;
    }
}

static void advance(SimWorld *w)
{
    int64_t next_ms = MIN(node_next_ms(w, &w->p.node, true),
                          node_next_ms(w, &w->s.node, false));

    next_ms = MIN(next_ms, future(w, w->lane_ps.stalled_until_ms));
    next_ms = MIN(next_ms, future(w, w->lane_sp.stalled_until_ms));
    next_ms = MIN(next_ms, sim_pipe_next_ms(w, &w->mirror));
    next_ms = MIN(next_ms, sim_compare_next_ms(w));
    next_ms = MIN(next_ms, future(w, w->retry_ms));
    next_ms = MIN(next_ms, future(w, w->operator_ms));
    sim_check_waits(w);
    if (next_ms < INT64_MAX) {
        w->now_ms = next_ms;
        thaw(w, &w->p.node);
        thaw(w, &w->s.node);
    }
}

static void list_moves(SimWorld *w, SimMoves *m)
{
    bool idle;

    m->count = m->total = 0;
    m->tick_due = false;
    if (node_moves(w, &w->p.node, true, m) && w->p.want) {
        add(m, p_want, 16);
    }
    node_moves(w, &w->s.node, false, m);
    idle = m->count == 0;
    if (sim_p_guest_ready(w)) {
        add(m, sim_p_guest_move, 6);
    }
    if (sim_s_guest_ready(w)) {
        add(m, sim_s_guest_move, 6);
    }
    if (sim_compare_ready(w)) {
        add(m, sim_compare_move, 12);
    }
    if (sim_client_ready(w)) {
        add(m, sim_client_move, 6);
    }
    if (w->now_ms >= w->operator_ms) {
        add(m, sim_arbiter_look, 4);
    }
    if (!m->tick_due && (w->haste || idle)) {
        add(m, advance, MAX(w->haste, 1));
    }
}

static void one_move(SimWorld *w)
{
    SimMoves m;
    unsigned ticket;
    unsigned i = 0;

    list_moves(w, &m);
    ticket = sim_pick(w, m.total);
    while (ticket >= m.weight[i]) {
        ticket -= m.weight[i++];
    }
    m.move[i](w);
}

/* No new faults; what was asked so far and a little more must be answered. */
static void settle(SimWorld *w)
{
    w->settling = true;
    w->horizon = w->step;
    w->goal_id = MIN(w->sent_id + 3, SIM_REQUESTS - 1);
    for (unsigned i = 0; i < w->fault_count; i++) {
        w->faults[i].done = true;
    }
    w->apply_fails = w->apply_breaks = false;
    w->capture_fails = w->collect_fails = false;
    sim_trace(w, "no more faults; goal: answer %u", w->goal_id);
}

static void start(SimWorld *w, uint64_t seed, const SimOptions *options)
{
    ColoLimits limits = {
        .step_limit_ms = 50,
        .checkpoint_limit_ms = 200,
        .heartbeat_ms = 10,
        .checkpoint_delay_ms = 40,
        .min_gap_ms = 3,
    };

    /* how fast time goes by beside the work: mostly, work is done at once */
    static const unsigned hastes[] = { 0, 1, 1, 2, 4, 24 };

    memset(w, 0, sizeof(*w));
    w->seed = seed;
    w->random = sim_mix(seed, 1);
    w->trace = options->trace;
    w->coverage = options->coverage;
    w->horizon = 100 + sim_pick(w, 600);
    w->haste = hastes[sim_pick(w, G_N_ELEMENTS(hastes))];
    if (sim_chance(w, 4)) {
        limits.checkpoint_delay_ms = 400;
        w->quiet = sim_chance(w, 4);
    }
    /* a third has storms; drawn apart, so that the others stay as they were */
    if (sim_mix(seed, 12) % 3 == 0) {
        limits.mismatch_gap_ms = 5;
        limits.hybrid_enter_count = 2;
        limits.hybrid_window_ms = 60;
        limits.hybrid_interval_ms = 8;
        limits.hybrid_exit_count = 2;
    }
    colo_primary_init(&w->p.machine, &limits);
    colo_secondary_init(&w->s.machine, &limits);
    w->p.machine.breakage = w->s.machine.breakage = options->breakage;
    w->p.node.alive = w->s.node.alive = true;
    w->s.staged_limit = w->s.next_limit = SIM_PAGES;
    sim_guest_init(&w->p.node.guest, 7);
    sim_guest_init(&w->s.node.guest, 7);
    sim_order(&w->p.node, COLO_EV_START);
    sim_order(&w->s.node, COLO_EV_START);
    sim_faults_plan(w);
    if (options->only) {
        w->haste = 0;
        w->quiet = false;
        w->horizon = 2000;
        w->fault_count = 1;
        w->faults[0] = *options->only;
    }
}

bool sim_run(SimWorld *w, uint64_t seed, const SimOptions *options)
{
    start(w, seed, options);
    while (!w->broken && !sim_check_end(w)) {
        if (!w->settling) {
            sim_faults_strike(w);
            if (w->step >= w->horizon ||
                (options->only && w->faults[0].done)) {
                settle(w);
            }
        }
        one_move(w);
        w->step++;
        sim_check_step(w);
    }
    w->coverage->steps += w->step;
    return !w->broken;
}
