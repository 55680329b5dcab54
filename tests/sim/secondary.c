/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: how the secondary's events come in and its actions are
 * done.
 *
 * The apply is a real transaction over the toy memory: staged pages are
 * exchanged with the guest's one by one, so that the staging area is the undo
 * log, then the device, then disk and network in one go. It can fail at any
 * part, and then takes as many parts to undo; the undo can break.
 */
#include <string.h>
#include "sim.h"

void sim_s_event(SimWorld *w, const ColoEvent *ev)
{
    SimSecondarySide *s = &w->s;
    ColoSecondaryState before = s->machine.state;
    SimNode *n = &s->node;
    ColoActions acts;

    s->refused |= ev->type == COLO_EV_FAILOVER && before < COLO_S_RUNNING;
    if (s->machine.limits_changed) {
        n->heard_ms = w->now_ms;
    }
    colo_secondary_step(&s->machine, ev, w->now_ms, &acts);
    sim_trace(w, "S %s <- %s%s%s: %s, %u actions",
              colo_secondary_state_name(before), colo_event_name(ev->type),
              ev->type == COLO_EV_MESSAGE ? " " : "",
              ev->type == COLO_EV_MESSAGE ? colo_msg_name(ev->msg) : "",
              colo_secondary_state_name(s->machine.state), acts.count);
    if (ev->type == COLO_EV_MESSAGE || s->machine.state != before) {
        n->heard_ms = w->now_ms;
    }
    if (s->machine.state == before && !acts.count) {
        return;                 /* what is in progress goes on */
    }
    if (n->act_index < n->acts.count && before != COLO_S_COLLECTING) {
        sim_broken(w, "reentered", "S gets actions inside %s",
                   colo_secondary_state_name(before));
    }
    n->torn |= n->blocked;
    n->acts = acts;
    n->act_index = 0;
    n->part = 0;
    n->blocked = false;
    n->result = SIM_RESULT_NONE;
    n->busy_until_ms = w->now_ms;
    w->coverage->s_state[s->machine.state]++;
}

/* --------------------------------------------------------------- receiving */

static void stage_reset(SimSecondarySide *s)
{
    s->staged_mask = 0;
    s->staged_count = 0;
    s->staged_checksum = 0;
    s->staged_device_rev = 0;
    s->staged_limit = s->next_limit;
}

/* False when the staging area is full. */
static bool stage_pages(SimSecondarySide *s, const SimFrame *f)
{
    unsigned slot = 0;

    for (uint32_t left = f->mask; left; left &= left - 1) {
        unsigned page = __builtin_ctz(left);

        for (unsigned i = 0; i < SIM_PAGE_WORDS; i++) {
            s->staged[page][i] = f->data[slot][i];
            s->staged_checksum = sim_mix(s->staged_checksum,
                                         f->data[slot][i]);
        }
        s->staged_mask |= 1u << page;
        s->staged_count++;
        slot++;
    }
    return s->staged_count <= s->staged_limit;
}

static bool verified(const SimSecondarySide *s, const SimFrame *end)
{
    return end->page_count == s->staged_count &&
           end->checksum == s->staged_checksum &&
           end->device_rev == s->staged_device_rev;
}

static void look_at_state(SimSecondarySide *s, const SimFrame *f,
                          ColoEvent *ev)
{
    if (s->machine.state != COLO_S_RECEIVING ||
        f->epoch != s->machine.pending_epoch) {
        return;
    }
    if (f->msg == COLO_MSG_PAGES && !stage_pages(s, f)) {
        ev->type = COLO_EV_STATE_BAD;
    } else if (f->msg == COLO_MSG_DEVICE) {
        s->staged_device_rev = f->device_rev;
    } else if (f->msg == COLO_MSG_END && !verified(s, f)) {
        ev->type = COLO_EV_STATE_BAD;
    }
}

void sim_s_receive(SimWorld *w)
{
    const SimFrame *f = sim_channel_head(w, false);
    ColoEvent ev = { .type = COLO_EV_MESSAGE };

    ev.msg = f->msg;
    ev.epoch = f->epoch;
    ev.arg = f->arg;
    if (f->kind != SIM_FRAME_MSG) {
        ev.type = COLO_EV_PEER_LOST;
        ev.cause = f->kind == SIM_FRAME_EOF ? COLO_CAUSE_PEER_CLOSED
                                            : COLO_CAUSE_GARBAGE;
    } else {
        look_at_state(&w->s, f, &ev);
    }
    sim_channel_pop(w, false);
    sim_s_event(w, &ev);
}

/* ---------------------------------------------------------- local actions */

static void finish(SimNode *n, SimResult result)
{
    n->act_index++;
    n->result = result;
}

static void begin(SimWorld *w)
{
    SimResult result = w->begin_s_fails ? SIM_RESULT_FAILED : SIM_RESULT_OK;

    w->begin_s_fails = false;
    finish(&w->s.node, result);
}

static void collect(SimWorld *w, uint64_t epoch)
{
    SimSecondarySide *s = &w->s;
    SimNode *n = &s->node;
    uint32_t half = 0xFFFu << (n->part ? 12 : 0);
    SimFrame f = { .msg = COLO_MSG_DIRTY, .epoch = epoch };

    if (n->guest_runs) {
        sim_broken(w, "guest-state", "collect of a running guest");
    }
    if (w->collect_fails) {
        w->collect_fails = n->blocked = false;
        finish(n, SIM_RESULT_FAILED);
        return;
    }
    if (sim_channel_blocked(w, false) && sim_chance(w, 2)) {
        n->blocked = true;
        return;
    }
    n->blocked = false;
    colo_secondary_progress(&s->machine, w->now_ms);
    n->heard_ms = w->now_ms;
    f.mask = n->guest.dirty & half;
    sim_channel_send(w, false, &f);
    if (n->part++ == 1) {
        stage_reset(s);
        finish(n, SIM_RESULT_OK);
    }
}

static void swap_page(SimSecondarySide *s, unsigned page)
{
    for (unsigned i = 0; i < SIM_PAGE_WORDS; i++) {
        uint64_t staged = s->staged[page][i];

        s->staged[page][i] = s->node.guest.page[page][i];
        s->node.guest.page[page][i] = staged;
    }
    s->swapped ^= 1u << page;
}

/* What cannot fail comes last: disk, mirror, end of the transaction. */
static void commit(SimWorld *w, uint64_t epoch)
{
    SimSecondarySide *s = &w->s;
    unsigned kept = 0;

    for (unsigned i = 0; i < s->write_count; i++) {
        if (s->writes[i].epoch < epoch) {
            s->base[s->writes[i].key] = s->writes[i].id;
        } else {
            s->writes[kept++] = s->writes[i];
        }
    }
    s->write_count = kept;
    memset(s->own, 0, sizeof(s->own));
    s->node.guest.dirty = 0;
    s->swapped = 0;
    s->device_swapped = false;
    stage_reset(s);
    sim_mirror_loaded(w, epoch);
    sim_check_applied(w, w->p.cut_hash);
    finish(&s->node, SIM_RESULT_OK);
}

static void roll_back(SimWorld *w)
{
    SimSecondarySide *s = &w->s;

    if (w->apply_breaks && sim_chance(w, 2)) {
        w->apply_breaks = false;
        w->must_survive_s = false;
        finish(&s->node, SIM_RESULT_BROKEN);
    } else if (s->device_swapped) {
        s->node.guest.device_rev = s->undo_device_rev;
        s->device_swapped = false;
    } else if (s->swapped) {
        swap_page(s, __builtin_ctz(s->swapped));
    } else {
        s->rolling_back = false;
        w->coverage->rollbacks++;
        sim_check_rolled_back(w);
        finish(&s->node, SIM_RESULT_FAILED);
    }
}

static void apply(SimWorld *w, uint64_t epoch)
{
    SimSecondarySide *s = &w->s;
    SimNode *n = &s->node;
    uint32_t left = s->staged_mask & ~s->swapped;

    if (n->part++ == 0) {
        s->before_hash = sim_guest_hash(&n->guest);
        s->undo_device_rev = n->guest.device_rev;
        s->swapped = 0;
        s->device_swapped = s->rolling_back = false;
    }
    n->busy_until_ms = w->now_ms + (sim_chance(w, 6) ? 1 : 0);
    if (s->rolling_back) {
        roll_back(w);
    } else if ((w->apply_fails || w->apply_breaks) &&
               (n->part > w->apply_at || s->device_swapped)) {
        sim_trace(w, "S apply fails at part %u", n->part);
        w->apply_fails = false;
        s->rolling_back = true;
    } else if (left) {
        swap_page(s, __builtin_ctz(left));
    } else if (!s->device_swapped) {
        n->guest.device_rev = s->staged_device_rev;
        s->device_swapped = true;
    } else {
        commit(w, epoch);
    }
}

/* ------------------------------------------------------------- the others */

uint64_t sim_s_disk(const SimSecondarySide *s, unsigned key)
{
    return s->own[key] ? s->own[key] : s->base[key];
}

static void discard(SimWorld *w)
{
    if (w->s.swapped && w->s.machine.state != COLO_S_DEAD) {
        sim_broken(w, "half-applied", "undo log thrown away in use");
    }
    stage_reset(&w->s);
}

static void execute_plain(SimWorld *w, const ColoAction *a)
{
    SimSecondarySide *s = &w->s;
    SimFrame f = { .msg = a->msg, .epoch = a->epoch, .arg = a->arg };

    switch (a->type) {
    case COLO_ACT_SEND:
        sim_channel_send(w, false, &f);
        break;
    case COLO_ACT_GUEST_STOP:
        s->node.guest_runs = false;
        break;
    case COLO_ACT_GUEST_RUN:
        if (s->swapped || s->device_swapped) {
            sim_broken(w, "half-applied", "guest runs inside a transaction");
        }
        s->node.guest_runs = true;
        break;
    case COLO_ACT_DISCARD:
        discard(w);
        break;
    case COLO_ACT_TAKE_OVER:
        sim_check_survivor_s(w);
        s->taken_over = true;
        s->write_count = 0;
        w->coverage->takeovers++;
        break;
    case COLO_ACT_CLOSE:
        sim_channel_close(w, false);
        break;
    case COLO_ACT_STATUS:
        s->node.reported = s->machine.state;
        s->node.reported_ms = w->now_ms;
        break;
    case COLO_ACT_EXIT_EVENT:
        s->node.exit_events++;
        w->coverage->cause[a->cause]++;
        break;
    case COLO_ACT_GUEST_SHUTDOWN:
        s->shut_down = true;
        break;
    default:
        sim_broken(w, "wrong-side", "S is told to %s",
                   colo_action_name(a->type));
    }
}

void sim_s_execute(SimWorld *w)
{
    SimNode *n = &w->s.node;
    const ColoAction *a = &n->acts.list[n->act_index];

    if (!n->blocked && n->part == 0) {
        sim_trace(w, "S does %s %s", colo_action_name(a->type),
                  a->type == COLO_ACT_SEND ? colo_msg_name(a->msg) : "");
        w->coverage->action[a->type]++;
    }
    n->actions_done++;
    switch (a->type) {
    case COLO_ACT_BEGIN:
        begin(w);
        break;
    case COLO_ACT_COLLECT:
        collect(w, a->epoch);
        break;
    case COLO_ACT_APPLY:
        apply(w, a->epoch);
        break;
    default:
        n->act_index++;
        execute_plain(w, a);
    }
}
