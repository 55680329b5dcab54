/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: the invariants.
 *
 *   explained         every answer that the client saw is in the memory, and
 *                     every acknowledged write on the disk, of each side that
 *                     may become the survivor
 *   one-active        never two that serve, or that may do so by themselves
 *   half-applied      no guest runs, or survives, inside a transaction; what
 *                     was applied is what was cut, what was rolled back is
 *                     what was there before
 *   order             an output leaves at most once, in order, and before
 *                     the guest runs in the next epoch
 *   net-mode          output is buffered exactly in epochs of hybrid mode,
 *                     and then a checkpoint comes within its interval
 *   no-timer          who waits for the peer has an armed timer
 *   wait-limit        no wait is longer than its limit
 *   bounds            queues and staging stay within theirs
 *   guest-state       a guest runs exactly in the states that allow it
 *   reentered         a local action that changes a guest is not interrupted
 *   leftovers         whoever is out of the protection has closed the channel;
 *                     nothing stays staged
 *   torn-frame        nothing is sent behind a frame that was given up
 *   send-after-close, wrong-side, exit-event: what machine.h promises
 *   spurious          a pair that nobody disturbs stays a pair
 *   survivor          whoever has to survive does, and the client goes on
 */
#include "sim.h"

/* ---------------------------------------------------- what would survive */

/* May the secondary be promoted, now or later? */
bool sim_s_claims(const SimWorld *w)
{
    ColoSecondaryState state = w->s.machine.state;

    return w->s.node.alive && state >= COLO_S_RUNNING &&
           state <= COLO_S_LOST;
}

/* A word of the secondary: of its own epoch, or as it will be once applied. */
static uint64_t s_reply(const SimSecondarySide *s, unsigned id, bool incoming)
{
    unsigned word;
    unsigned page = sim_reply_page(id, &word);
    bool exchanged = s->swapped & (1u << page);
    bool staged = s->staged_mask & (1u << page);

    if (staged && incoming != exchanged) {
        return s->staged[page][word];
    }
    return s->node.guest.page[page][word];
}

static void check_s_explains(SimWorld *w, unsigned id, uint64_t content)
{
    const SimSecondarySide *s = &w->s;
    bool applying = s->machine.state == COLO_S_APPLYING &&
                    s->node.result == SIM_RESULT_NONE;

    if (s_reply(s, id, false) != content ||
        (applying && s_reply(s, id, true) != content)) {
        sim_broken(w, "explained", "the secondary (%s) knows nothing of "
                   "answer %u", colo_secondary_state_name(s->machine.state),
                   id);
    }
    if (!applying && sim_is_write(id) &&
        sim_s_disk(s, sim_key_of(id)) < id) {
        sim_broken(w, "explained", "write %u is not on the secondary's disk",
                   id);
    }
}

void sim_check_release(SimWorld *w, const SimHeld *h)
{
    if (h->serial <= w->p.released_serial) {
        sim_broken(w, "order", "output %" PRIu64 " after %" PRIu64,
                   h->serial, w->p.released_serial);
    }
    if (w->s.taken_over) {
        sim_broken(w, "one-active", "the primary releases output after the "
                   "secondary took over");
    }
    if (sim_s_claims(w)) {
        check_s_explains(w, h->id, h->content);
    }
}

void sim_check_reply(SimWorld *w, unsigned id, uint64_t content)
{
    if (w->seen_flag[id] && w->seen[id] != content) {
        sim_broken(w, "explained", "the client gets two answers to %u", id);
    }
}

void sim_check_applied(SimWorld *w, uint64_t cut_hash)
{
    if (sim_guest_hash(&w->s.node.guest) != cut_hash) {
        sim_broken(w, "half-applied", "applied state is not the cut's");
    }
    for (unsigned id = 1; id < SIM_REQUESTS; id++) {
        if (w->seen_flag[id]) {
            check_s_explains(w, id, w->seen[id]);
        }
    }
}

void sim_check_rolled_back(SimWorld *w)
{
    if (sim_guest_hash(&w->s.node.guest) != w->s.before_hash) {
        sim_broken(w, "half-applied", "rolled back to another state");
    }
}

void sim_check_survivor_p(SimWorld *w)
{
    SimPrimarySide *p = &w->p;

    if (w->s.taken_over || (!p->failovers && sim_s_claims(w))) {
        sim_broken(w, "one-active", "the primary goes on beside the "
                   "secondary (%s)",
                   colo_secondary_state_name(w->s.machine.state));
    }
    for (unsigned id = 1; id < SIM_REQUESTS; id++) {
        if (w->seen_flag[id] &&
            (*sim_reply_slot(&p->node.guest, id) != w->seen[id] ||
             (sim_is_write(id) && p->disk[sim_key_of(id)] < id))) {
            sim_broken(w, "explained", "the primary knows nothing of "
                       "answer %u", id);
        }
    }
}

void sim_check_survivor_s(SimWorld *w)
{
    SimSecondarySide *s = &w->s;

    if (w->p.released_all || (w->p.node.alive && !s->failovers)) {
        sim_broken(w, "one-active", "the secondary takes over beside the "
                   "primary");
    }
    if (s->swapped || s->device_swapped ||
        !sim_guest_whole(&s->node.guest)) {
        sim_broken(w, "half-applied", "promoted inside a transaction");
    }
    for (unsigned id = 1; id < SIM_REQUESTS; id++) {
        if (w->seen_flag[id]) {
            check_s_explains(w, id, w->seen[id]);
        }
    }
}

/* ------------------------------------------------------- after every move */

static void check_claims(SimWorld *w)
{
    if (w->p.released_all && !w->p.failovers && sim_s_claims(w)) {
        sim_broken(w, "one-active", "the primary went on by itself, the "
                   "secondary (%s) may be promoted",
                   colo_secondary_state_name(w->s.machine.state));
    }
    if (w->s.taken_over && !w->s.failovers) {
        sim_broken(w, "one-active", "the secondary promoted itself");
    }
}

static bool p_waits(ColoPrimaryState state)
{
    return state == COLO_P_HELLO || state == COLO_P_RUNNING ||
           state == COLO_P_REQUESTED || state == COLO_P_SENT ||
           state == COLO_P_COMMITTING || state == COLO_P_PARTING;
}

static bool s_waits(ColoSecondaryState state)
{
    return state == COLO_S_WAITING || state == COLO_S_READY ||
           state == COLO_S_RUNNING || state == COLO_S_RECEIVING ||
           state == COLO_S_FAILING;
}

static void check_timers(SimWorld *w)
{
    if (w->p.node.alive && p_waits(w->p.machine.state) &&
        colo_primary_deadline(&w->p.machine) == INT64_MAX) {
        sim_broken(w, "no-timer", "P %s waits for ever",
                   colo_primary_state_name(w->p.machine.state));
    }
    if (w->s.node.alive && s_waits(w->s.machine.state) &&
        colo_secondary_deadline(&w->s.machine) == INT64_MAX) {
        sim_broken(w, "no-timer", "S %s waits for ever",
                   colo_secondary_state_name(w->s.machine.state));
    }
}

bool sim_idle(const SimNode *n)
{
    return n->alive && !n->frozen && n->result == SIM_RESULT_NONE &&
           n->act_index >= n->acts.count;
}

#define P(name) (1u << COLO_P_##name)
#define S(name) (1u << COLO_S_##name)

/* What has to be so when all actions of the last step are done. */
static void check_idle_p(SimWorld *w)
{
    const unsigned runs = P(RUNNING) | P(REQUESTED) | P(PARTING) | P(LOST) |
                          P(ALONE);
    const unsigned closed = P(LOST) | P(ALONE) | P(ENDED);
    unsigned state = 1u << w->p.machine.state;

    if (!w->guest_gone && !(state & P(ENDED)) &&
        w->p.node.guest_runs != !!(state & runs)) {
        sim_broken(w, "guest-state", "P's guest %s in %s",
                   w->p.node.guest_runs ? "runs" : "is stopped",
                   colo_primary_state_name(w->p.machine.state));
    }
    if ((state & closed) && !w->p.node.closed) {
        sim_broken(w, "leftovers", "P's channel is open in %s",
                   colo_primary_state_name(w->p.machine.state));
    }
}

/* In an epoch, the network does what the policy counts on. */
static void check_net_mode(SimWorld *w)
{
    const ColoPrimary *p = &w->p.machine;
    const ColoLimits *l = &p->limits;
    int64_t interval_ms = MAX(l->hybrid_interval_ms, l->min_gap_ms);

    if (p->state != COLO_P_RUNNING) {
        return;
    }
    if (w->p.buffering != p->policy.hybrid) {
        sim_broken(w, "net-mode", "%s, but hybrid mode is %s",
                   w->p.buffering ? "buffered" : "matched",
                   p->policy.hybrid ? "on" : "off");
    }
    if (w->p.buffering && !p->breakage &&
        colo_primary_deadline(p) > p->policy.last_end_ms + interval_ms) {
        sim_broken(w, "net-mode", "buffered without end");
    }
}

static void check_idle_s(SimWorld *w)
{
    const unsigned runs = S(RUNNING) | S(TAKEN_OVER);
    const unsigned closed = S(LOST) | S(TAKEN_OVER) | S(DEAD);
    unsigned state = 1u << w->s.machine.state;

    if (w->s.node.guest_runs != !!(state & runs)) {
        sim_broken(w, "guest-state", "S's guest %s in %s",
                   w->s.node.guest_runs ? "runs" : "is stopped",
                   colo_secondary_state_name(w->s.machine.state));
    }
    if ((state & closed) && !w->s.node.closed) {
        sim_broken(w, "leftovers", "S's channel is open in %s",
                   colo_secondary_state_name(w->s.machine.state));
    }
    if (w->s.staged_mask && !(state & S(RECEIVING))) {
        sim_broken(w, "leftovers", "staged state is kept in %s",
                   colo_secondary_state_name(w->s.machine.state));
    }
}

/* A pair that works at once, with nothing but new limits. */
static bool undisturbed(const SimWorld *w)
{
    for (unsigned i = 0; i < w->fault_count; i++) {
        if (w->faults[i].type != SIM_FAULT_LIMITS_P &&
            w->faults[i].type != SIM_FAULT_LIMITS_S) {
            return false;
        }
    }
    return !w->haste;
}

/* Faults that a prompt pair ends by talking, without an operator. */
static bool talks_it_over(const SimWorld *w)
{
    if (w->haste || w->fault_count != 1) {
        return false;
    }
    switch (w->faults[0].type) {
    case SIM_FAULT_FLIP:
    case SIM_FAULT_APPLY_FAILS:
    case SIM_FAULT_APPLY_BREAKS:
    case SIM_FAULT_CAPTURE_FAILS:
    case SIM_FAULT_COLLECT_FAILS:
    case SIM_FAULT_BEGIN_P_FAILS:
    case SIM_FAULT_BEGIN_S_FAILS:
    case SIM_FAULT_LIMIT_STAGING:
        return true;
    default:
        return false;
    }
}

void sim_check_step(SimWorld *w)
{
    check_claims(w);
    check_timers(w);
    if (sim_idle(&w->p.node)) {
        check_idle_p(w);
        check_net_mode(w);
    }
    if (sim_idle(&w->s.node)) {
        check_idle_s(w);
    }
    if (w->p.machine.state == COLO_P_LOST && talks_it_over(w)) {
        sim_broken(w, "spurious", "an operator is needed after %s",
                   sim_fault_name(w->faults[0].type));
    }
    if (w->p.node.exit_events > 2 || w->s.node.exit_events > 2) {
        sim_broken(w, "exit-event", "COLO_EXIT more than twice");
    }
    if ((w->p.node.exit_events || w->s.node.exit_events) &&
        undisturbed(w)) {
        sim_broken(w, "spurious", "the protection ended: P %s, S %s",
                   colo_primary_state_name(w->p.machine.state),
                   colo_secondary_state_name(w->s.machine.state));
    }
    if (w->s.staged_count > w->s.staged_limit + SIM_BATCH_PAGES) {
        sim_broken(w, "bounds", "%u pages staged", w->s.staged_count);
    }
}

/* Whoever is idle has had its tick; so no wait can be over its limit. */
void sim_check_waits(SimWorld *w)
{
    const ColoPrimary *p = &w->p.machine;
    const ColoSecondary *s = &w->s.machine;

    if (sim_idle(&w->p.node) && p_waits(p->state)) {
        if (w->now_ms - w->p.node.heard_ms > p->limits.step_limit_ms) {
            sim_broken(w, "wait-limit", "P %s waits too long",
                       colo_primary_state_name(p->state));
        }
        if (p->state >= COLO_P_REQUESTED && p->state <= COLO_P_COMMITTING &&
            w->now_ms - w->p.request_ms > p->limits.checkpoint_limit_ms) {
            sim_broken(w, "wait-limit", "P's checkpoint takes too long");
        }
    }
    if (sim_idle(&w->s.node) && s_waits(s->state) &&
        w->now_ms - w->s.node.heard_ms > s->limits.step_limit_ms) {
        sim_broken(w, "wait-limit", "S %s waits too long",
                   colo_secondary_state_name(s->state));
    }
}

/* ----------------------------------------------------------------- the end */

bool sim_p_can_serve(const SimWorld *w)
{
    const SimNode *n = &w->p.node;

    return n->alive && !(n->frozen && n->frozen_until_ms == INT64_MAX) &&
           w->p.machine.state != COLO_P_ENDED;
}

bool sim_s_can_serve(const SimWorld *w)
{
    const SimNode *n = &w->s.node;

    return n->alive && !(n->frozen && n->frozen_until_ms == INT64_MAX) &&
           (w->s.machine.state == COLO_S_TAKEN_OVER || sim_s_claims(w));
}

static void judge_lost(SimWorld *w)
{
    if (w->must_survive_s) {
        sim_broken(w, "survivor", "the secondary had to survive and is %s",
                   colo_secondary_state_name(w->s.machine.state));
    } else if (w->must_survive_p) {
        sim_broken(w, "survivor", "the primary had to survive and is %s",
                   colo_primary_state_name(w->p.machine.state));
    }
    w->coverage->lost_excused++;
}

bool sim_check_end(SimWorld *w)
{
    enum { SETTLE_STEPS = 20000, GUEST_OFF_STEPS = 400 };
    unsigned since = w->step - w->horizon;

    if (!w->settling) {
        return false;
    }
    if (w->guest_gone) {
        return since > GUEST_OFF_STEPS;
    }
    if (w->acked_id >= w->goal_id) {
        return true;
    }
    if (!sim_p_can_serve(w) && !sim_s_can_serve(w)) {
        judge_lost(w);
        return true;
    }
    if (since > SETTLE_STEPS) {
        sim_broken(w, "survivor", "the client gets no answer: P %s, S %s",
                   colo_primary_state_name(w->p.machine.state),
                   colo_secondary_state_name(w->s.machine.state));
    }
    return false;
}
