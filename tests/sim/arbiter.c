/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: the operator, playing the arbiter.
 *
 * Looks now and then at which process is alive and at the state that each
 * side has reported; never at the machines themselves. Chooses one survivor
 * at most once, and makes sure that the other side is dead before it orders
 * the failover. A hasty one orders it as soon as the other side has died,
 * whatever the survivor is doing.
 */
#include "sim.h"

enum {
    PATIENCE_MS = 150,          /* one side lost, the other says nothing */
};

static void choose_p(SimWorld *w)
{
    sim_kill_s(w, sim_chance(w, 2));
    w->decided = true;
    w->p.failovers++;
    sim_trace(w, "operator: failover on P");
    sim_order(&w->p.node, COLO_EV_FAILOVER);
}

static void choose_s(SimWorld *w)
{
    sim_kill_p(w, sim_chance(w, 2));
    w->decided = true;
    w->s.failovers++;
    sim_trace(w, "operator: failover on S");
    sim_order(&w->s.node, COLO_EV_FAILOVER);
}

static bool for_long(const SimWorld *w, const SimNode *n)
{
    return w->now_ms - n->reported_ms > PATIENCE_MS;
}

static void both_alive(SimWorld *w)
{
    SimNode *p = &w->p.node;
    SimNode *s = &w->s.node;

    if (p->reported == COLO_P_LOST && s->reported == COLO_S_LOST) {
        if (sim_chance(w, 2)) {
            choose_p(w);
        } else {
            choose_s(w);
        }
    } else if (p->reported == COLO_P_LOST &&
               (s->reported == COLO_S_DEAD || for_long(w, p))) {
        choose_p(w);
    } else if (s->reported == COLO_S_LOST && p->reported != COLO_P_ALONE &&
               for_long(w, s)) {
        choose_s(w);
    }
}

/* An order that came before START(1) was refused: give it again. */
static void insist(SimWorld *w)
{
    SimNode *s = &w->s.node;

    if (w->s.refused && s->reported == COLO_S_LOST && !s->order_count) {
        w->s.refused = false;
        sim_order(s, COLO_EV_FAILOVER);
    }
}

void sim_arbiter_look(SimWorld *w)
{
    SimNode *p = &w->p.node;
    SimNode *s = &w->s.node;

    w->operator_ms = w->now_ms + 10 + sim_pick(w, 20);
    if (p->alive && p->reported == COLO_P_ENDED) {
        sim_kill_p(w, false);   /* the process exits */
    }
    if (s->alive && s->reported == COLO_S_DEAD && sim_chance(w, 4)) {
        sim_kill_s(w, false);   /* of no use any more */
    }
    if (w->decided || w->guest_gone) {
        insist(w);
        return;
    }
    if (p->alive && s->alive) {
        both_alive(w);
    } else if (s->alive && (w->hasty || s->reported == COLO_S_LOST)) {
        choose_s(w);
    } else if (p->alive && (w->hasty || p->reported == COLO_P_LOST)) {
        choose_p(w);
    }
}
