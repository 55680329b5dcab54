/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: what goes wrong, and when.
 *
 * A schedule has up to three faults. Each strikes before a given step of the
 * world, or before a given action of one side, which is after the action
 * before it. What a side must survive is noted at the moment the other one
 * is gone: a second fault excuses.
 */
#include "sim.h"

static const char *const names[SIM_FAULT__MAX] = {
    [SIM_FAULT_CRASH_P] = "crash-p",
    [SIM_FAULT_CRASH_S] = "crash-s",
    [SIM_FAULT_CUT] = "cut",
    [SIM_FAULT_RESET] = "reset",
    [SIM_FAULT_STALL_PS] = "stall-ps",
    [SIM_FAULT_STALL_SP] = "stall-sp",
    [SIM_FAULT_FREEZE_P] = "freeze-p",
    [SIM_FAULT_FREEZE_S] = "freeze-s",
    [SIM_FAULT_DUPLICATE_PS] = "duplicate-ps",
    [SIM_FAULT_DUPLICATE_SP] = "duplicate-sp",
    [SIM_FAULT_GARBAGE_PS] = "garbage-ps",
    [SIM_FAULT_GARBAGE_SP] = "garbage-sp",
    [SIM_FAULT_FLIP] = "flip",
    [SIM_FAULT_APPLY_FAILS] = "apply-fails",
    [SIM_FAULT_APPLY_BREAKS] = "apply-breaks",
    [SIM_FAULT_CAPTURE_FAILS] = "capture-fails",
    [SIM_FAULT_COLLECT_FAILS] = "collect-fails",
    [SIM_FAULT_BEGIN_P_FAILS] = "begin-p-fails",
    [SIM_FAULT_BEGIN_S_FAILS] = "begin-s-fails",
    [SIM_FAULT_QUIT_P] = "quit-p",
    [SIM_FAULT_QUIT_S] = "quit-s",
    [SIM_FAULT_GUEST_GONE] = "guest-gone",
    [SIM_FAULT_LIMIT_STAGING] = "limit-staging",
    [SIM_FAULT_LIMITS_P] = "limits-p",
    [SIM_FAULT_LIMITS_S] = "limits-s",
};

const char *sim_fault_name(SimFaultType type)
{
    return names[type];
}

static void plan_one(SimWorld *w, SimFault *f)
{
    /* what kills comes more often than what annoys */
    static const SimFaultType common[] = {
        SIM_FAULT_CRASH_P, SIM_FAULT_CRASH_S, SIM_FAULT_CUT,
        SIM_FAULT_RESET, SIM_FAULT_APPLY_FAILS,
    };

    f->type = sim_chance(w, 2) ? common[sim_pick(w, G_N_ELEMENTS(common))]
                               : sim_pick(w, SIM_FAULT__MAX);
    f->trigger = sim_pick(w, 3);
    f->at = f->trigger == SIM_AT_STEP ? sim_pick(w, w->horizon)
                                      : sim_pick(w, 150);
    f->detail = sim_rand(w);
    /* these strike while the protection begins, if at all */
    if (f->type == SIM_FAULT_BEGIN_P_FAILS ||
        f->type == SIM_FAULT_BEGIN_S_FAILS) {
        f->trigger = SIM_AT_STEP;
        f->at = 0;
    }
}

void sim_faults_plan(SimWorld *w)
{
    bool only_limits = sim_chance(w, 16);   /* must not end anything */

    w->fault_count = sim_pick(w, SIM_FAULTS_MAX + 1);
    if (only_limits) {
        w->haste = 0;
        w->quiet = sim_chance(w, 2);
    }
    for (unsigned i = 0; i < w->fault_count; i++) {
        plan_one(w, &w->faults[i]);
        if (only_limits) {
            w->faults[i].type = sim_chance(w, 2) ? SIM_FAULT_LIMITS_P
                                                 : SIM_FAULT_LIMITS_S;
            w->faults[i].trigger = SIM_AT_STEP;
            w->faults[i].at = sim_pick(w, w->horizon);
        }
    }
}

void sim_order(SimNode *n, ColoEventType type)
{
    if (n->alive && n->order_count < G_N_ELEMENTS(n->orders)) {
        n->orders[n->order_count++] = (ColoEvent) { .type = type };
    }
}

static void die(SimNode *n)
{
    n->alive = false;
    n->frozen = false;
    n->guest_runs = false;
    n->acts.count = 0;
    n->order_count = 0;
}

/* From now on the secondary is the only hope. */
void sim_p_is_gone(SimWorld *w)
{
    w->must_survive_p = false;
    w->must_survive_s = sim_s_can_serve(w) && !w->p.parted &&
                        w->s.node.result != SIM_RESULT_BROKEN &&
                        !w->s_quits && !w->guest_gone &&
                        w->p.machine.state != COLO_P_ALONE;
}

static void s_is_gone(SimWorld *w)
{
    w->must_survive_s = false;
    w->must_survive_p = sim_p_can_serve(w) && !w->p_quits &&
                        !w->guest_gone;
}

void sim_kill_p(SimWorld *w, bool silently)
{
    if (!w->p.node.alive) {
        return;
    }
    sim_trace(w, "P dies%s", silently ? " silently" : "");
    die(&w->p.node);
    sim_p_is_gone(w);
    sim_channel_died(w, true, silently);
}

void sim_kill_s(SimWorld *w, bool silently)
{
    if (!w->s.node.alive) {
        return;
    }
    sim_trace(w, "S dies%s", silently ? " silently" : "");
    die(&w->s.node);
    s_is_gone(w);
    sim_channel_died(w, false, silently);
}

static void freeze(SimWorld *w, bool primary, unsigned detail)
{
    SimNode *n = primary ? &w->p.node : &w->s.node;
    bool for_good = detail % 2 && !w->frozen_for_good;

    if (!n->alive) {
        return;
    }
    n->frozen = true;
    n->frozen_until_ms = for_good ? INT64_MAX
                                  : w->now_ms + 1 + detail / 2 % 150;
    if (for_good) {
        w->frozen_for_good = true;
        if (primary) {
            sim_p_is_gone(w);
        } else {
            s_is_gone(w);
        }
    }
}

static void stall(SimWorld *w, SimLane *lane, unsigned detail)
{
    lane->stalled_until_ms = w->now_ms + 1 + detail % 150;
}

static void strike_local(SimWorld *w, const SimFault *f)
{
    w->apply_at = f->detail % 12;
    switch (f->type) {
    case SIM_FAULT_APPLY_FAILS:
        w->apply_fails = true;
        break;
    case SIM_FAULT_APPLY_BREAKS:
        w->apply_breaks = true;
        break;
    case SIM_FAULT_CAPTURE_FAILS:
        w->capture_fails = true;
        break;
    case SIM_FAULT_COLLECT_FAILS:
        w->collect_fails = true;
        break;
    case SIM_FAULT_BEGIN_P_FAILS:
        w->begin_p_fails = true;
        break;
    case SIM_FAULT_BEGIN_S_FAILS:
        w->begin_s_fails = true;
        break;
    case SIM_FAULT_LIMIT_STAGING:
        w->s.next_limit = f->detail % SIM_PAGES;
        break;
    default:
        g_assert_not_reached();
    }
}

static void strike_order(SimWorld *w, SimFaultType type)
{
    if (type == SIM_FAULT_GUEST_GONE) {
        sim_order(&w->p.node, COLO_EV_GUEST_GONE);
        w->guest_gone = true;
        w->p.node.guest_runs = false;
        w->must_survive_p = w->must_survive_s = false;
    } else {
        sim_order(type == SIM_FAULT_QUIT_P ? &w->p.node : &w->s.node,
                  COLO_EV_QUIT);
        if (type == SIM_FAULT_QUIT_S) {
            w->s_quits = true;
            w->must_survive_s = false;
        } else {
            w->p_quits = true;
            w->must_survive_p = false;
        }
    }
}

static void set_limits(SimWorld *w, bool primary, unsigned detail)
{
    ColoLimits limits = w->p.machine.limits;

    /* tight or wide, so that one often follows the other */
    limits.step_limit_ms = (detail & 1 ? 30 : 130) + detail / 2 % 32;
    limits.heartbeat_ms = 5 + detail / 128 % 128;
    limits.checkpoint_delay_ms = 20 + detail / 16384 % 512;
    if (detail & (1u << 30)) {
        limits.hybrid_enter_count = 0;
    }
    if (primary) {
        colo_primary_set_limits(&w->p.machine, &limits, w->now_ms);
        w->p.node.heard_ms = w->now_ms;
    } else {
        colo_secondary_set_limits(&w->s.machine, &limits);
        w->s.node.heard_ms = w->now_ms;
    }
}

static void strike_channel(SimWorld *w, const SimFault *f)
{
    switch (f->type) {
    case SIM_FAULT_CUT:
        w->link_cut = true;
        break;
    case SIM_FAULT_RESET:
        sim_channel_reset(w);
        break;
    case SIM_FAULT_STALL_PS:
        stall(w, &w->lane_ps, f->detail);
        break;
    case SIM_FAULT_STALL_SP:
        stall(w, &w->lane_sp, f->detail);
        break;
    case SIM_FAULT_DUPLICATE_PS:
        w->lane_ps.duplicate_next = true;
        break;
    case SIM_FAULT_DUPLICATE_SP:
        w->lane_sp.duplicate_next = true;
        break;
    case SIM_FAULT_GARBAGE_PS:
        w->lane_ps.garble_next = true;
        break;
    case SIM_FAULT_GARBAGE_SP:
        w->lane_sp.garble_next = true;
        break;
    case SIM_FAULT_FLIP:
        w->lane_ps.flip_next = true;
        break;
    default:
        strike_local(w, f);
    }
}

static void strike(SimWorld *w, SimFault *f)
{
    f->done = true;
    w->coverage->fault[f->type]++;
    sim_trace(w, "FAULT %s", names[f->type]);
    switch (f->type) {
    case SIM_FAULT_CRASH_P:
        w->hasty = f->detail % 3 == 0;
        sim_kill_p(w, f->detail % 2);
        break;
    case SIM_FAULT_CRASH_S:
        w->hasty = f->detail % 3 == 0;
        sim_kill_s(w, f->detail % 2);
        break;
    case SIM_FAULT_FREEZE_P:
    case SIM_FAULT_FREEZE_S:
        freeze(w, f->type == SIM_FAULT_FREEZE_P, f->detail);
        break;
    case SIM_FAULT_LIMITS_P:
    case SIM_FAULT_LIMITS_S:
        set_limits(w, f->type == SIM_FAULT_LIMITS_P, f->detail);
        break;
    case SIM_FAULT_QUIT_P:
    case SIM_FAULT_QUIT_S:
    case SIM_FAULT_GUEST_GONE:
        strike_order(w, f->type);
        break;
    default:
        strike_channel(w, f);
    }
}

void sim_faults_strike(SimWorld *w)
{
    for (unsigned i = 0; i < w->fault_count; i++) {
        SimFault *f = &w->faults[i];
        unsigned count = f->trigger == SIM_AT_STEP ? w->step
                       : f->trigger == SIM_AT_P_ACTION
                         ? w->p.node.actions_done : w->s.node.actions_done;

        if (!f->done && count >= f->at) {
            strike(w, f);
        }
    }
}
