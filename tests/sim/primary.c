/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: how the primary's events come in and its actions are done.
 *
 * One call of sim_p_execute() is one action, or one part of a local action,
 * so that the world can go on, and fail, between any two of them.
 */
#include "sim.h"

static void note_actions(SimWorld *w, SimNode *n)
{
    n->act_index = 0;
    n->part = 0;
    n->blocked = false;
    n->result = SIM_RESULT_NONE;
    n->busy_until_ms = w->now_ms;
}

void sim_p_event(SimWorld *w, const ColoEvent *ev)
{
    SimPrimarySide *p = &w->p;
    ColoPrimaryState before = p->machine.state;
    SimNode *n = &p->node;
    ColoActions acts;

    colo_primary_step(&p->machine, ev, w->now_ms, &acts);
    sim_trace(w, "P %s <- %s%s%s: %s, %u actions",
              colo_primary_state_name(before), colo_event_name(ev->type),
              ev->type == COLO_EV_MESSAGE ? " " : "",
              ev->type == COLO_EV_MESSAGE ? colo_msg_name(ev->msg) : "",
              colo_primary_state_name(p->machine.state), acts.count);
    if (ev->type == COLO_EV_MESSAGE || p->machine.state != before) {
        n->heard_ms = w->now_ms;
    }
    if (p->machine.state == before && !acts.count) {
        return;                 /* what is in progress goes on */
    }
    if (n->act_index < n->acts.count && before != COLO_P_SENDING) {
        sim_broken(w, "reentered", "P gets actions inside %s",
                   colo_primary_state_name(before));
    }
    if (p->machine.state == COLO_P_PARTING) {
        p->parted = true;
    } else if (p->machine.state == COLO_P_ENDED && before != COLO_P_ENDED) {
        sim_p_is_gone(w);
    }
    n->torn |= n->blocked;
    n->acts = acts;
    note_actions(w, n);
    w->coverage->p_state[p->machine.state]++;
}

void sim_p_receive(SimWorld *w)
{
    SimPrimarySide *p = &w->p;
    const SimFrame *f = sim_channel_head(w, true);
    ColoEvent ev = { .type = COLO_EV_MESSAGE };

    ev.msg = f->msg;
    ev.epoch = f->epoch;
    ev.arg = f->arg;
    if (f->kind != SIM_FRAME_MSG) {
        ev.type = COLO_EV_PEER_LOST;
        ev.cause = f->kind == SIM_FRAME_EOF ? COLO_CAUSE_PEER_CLOSED
                                            : COLO_CAUSE_GARBAGE;
    } else if (f->msg == COLO_MSG_DIRTY) {
        p->peer_dirty |= f->mask;
    }
    sim_channel_pop(w, true);
    sim_p_event(w, &ev);
}

/* ---------------------------------------------------------- local actions */

static void finish(SimNode *n, SimResult result)
{
    n->act_index++;
    n->result = result;
}

static void capture(SimWorld *w, uint64_t epoch)
{
    SimPrimarySide *p = &w->p;
    SimGuest *g = &p->node.guest;

    if (p->node.guest_runs) {
        sim_broken(w, "guest-state", "capture of a running guest");
    }
    if (w->capture_fails || p->disk_failed ||
        (w->s.node.frozen && sim_chance(w, 2))) {
        w->capture_fails = false;
        finish(&p->node, SIM_RESULT_FAILED);
        return;
    }
    p->cut_epoch = epoch;
    p->cut_hash = sim_guest_hash(g);
    p->send_mask = g->dirty | p->peer_dirty;
    p->send_checksum = 0;
    p->send_count = 0;
    g->dirty = 0;
    sim_pipe_push(w, &w->mirror, (SimItem) { .epoch = epoch });
    finish(&p->node, SIM_RESULT_OK);
}

/* Up to SIM_BATCH_PAGES of what is left to send. */
static void send_pages(SimWorld *w, uint64_t epoch)
{
    SimPrimarySide *p = &w->p;
    SimFrame f = { .msg = COLO_MSG_PAGES, .epoch = epoch };
    unsigned count = 0;

    while (p->send_mask && count < SIM_BATCH_PAGES) {
        unsigned page = __builtin_ctz(p->send_mask);

        for (unsigned i = 0; i < SIM_PAGE_WORDS; i++) {
            f.data[count][i] = p->node.guest.page[page][i];
            p->send_checksum = sim_mix(p->send_checksum, f.data[count][i]);
        }
        f.mask |= 1u << page;
        p->send_mask &= ~(1u << page);
        p->send_count++;
        count++;
    }
    sim_channel_send(w, true, &f);
}

static void send_simple(SimWorld *w, ColoMsgType msg, uint64_t epoch)
{
    SimFrame f = {
        .msg = msg, .epoch = epoch,
        .device_rev = w->p.node.guest.device_rev,
        .page_count = w->p.send_count, .checksum = w->p.send_checksum,
    };

    sim_channel_send(w, true, &f);
}

static void send_state(SimWorld *w, uint64_t epoch)
{
    SimNode *n = &w->p.node;

    if (sim_channel_blocked(w, true) && sim_chance(w, 2)) {
        n->blocked = true;
        return;
    }
    n->blocked = false;
    if (n->peer_closed) {
        finish(n, SIM_RESULT_LOST);
        return;
    }
    colo_primary_progress(&w->p.machine, w->now_ms);
    n->heard_ms = w->now_ms;
    n->busy_until_ms = w->now_ms + (sim_chance(w, 4) ? 1 : 0);
    if (n->part == 0) {
        n->part = 1;
        send_simple(w, COLO_MSG_STATE, epoch);
    } else if (w->p.send_mask) {
        send_pages(w, epoch);
    } else if (n->part == 1) {
        n->part = 2;
        send_simple(w, COLO_MSG_DEVICE, epoch);
    } else {
        send_simple(w, COLO_MSG_END, epoch);
        finish(n, SIM_RESULT_OK);
    }
}

static void begin(SimWorld *w)
{
    SimResult result = w->begin_p_fails ? SIM_RESULT_FAILED : SIM_RESULT_OK;

    w->begin_p_fails = false;
    w->p.cut_epoch = 1;
    finish(&w->p.node, result);
}

/* ------------------------------------------------------------- the others */

static void send(SimWorld *w, const ColoAction *a)
{
    SimFrame f = { .msg = a->msg, .epoch = a->epoch, .arg = a->arg };

    if (a->msg == COLO_MSG_REQUEST) {
        w->p.peer_dirty = 0;
        w->p.request_ms = w->now_ms;
    }
    sim_channel_send(w, true, &f);
}

/* Nothing of the epoch that begins may have been produced, or be let go. */
static void net_mode(SimWorld *w, ColoNetMode mode)
{
    SimPrimarySide *p = &w->p;
    bool buffer = mode == COLO_NET_BUFFER;

    if (p->node.guest_runs || p->held_count) {
        sim_broken(w, "net-mode", "changed to %s inside an epoch",
                   colo_net_mode_name(mode));
    }
    if (p->buffering == buffer) {
        sim_broken(w, "net-mode", "changed to %s, which it was",
                   colo_net_mode_name(mode));
    }
    p->buffering = buffer;
    w->coverage->storms += buffer;
    w->coverage->calms += !buffer;
}

static void execute_plain(SimWorld *w, const ColoAction *a)
{
    SimPrimarySide *p = &w->p;

    switch (a->type) {
    case COLO_ACT_SEND:
        send(w, a);
        break;
    case COLO_ACT_GUEST_STOP:
        p->node.guest_runs = false;
        break;
    case COLO_ACT_GUEST_RUN:
        if (p->machine.state == COLO_P_RUNNING && p->held_count &&
            p->held[0].epoch < p->machine.epoch) {
            sim_broken(w, "order", "the guest runs before its output of the "
                       "last epoch was released");
        }
        p->node.guest_runs = !w->guest_gone;
        break;
    case COLO_ACT_RELEASE_OUTPUT:
        w->coverage->checkpoints++;
        sim_release_before(w, a->epoch);
        break;
    case COLO_ACT_NET_MODE:
        net_mode(w, a->arg);
        break;
    case COLO_ACT_RELEASE_ALL:
        sim_check_survivor_p(w);
        sim_release_all(w);
        break;
    case COLO_ACT_GO_ALONE:
        p->alone = true;
        w->coverage->primaries_alone++;
        break;
    case COLO_ACT_CLOSE:
        sim_channel_close(w, true);
        break;
    case COLO_ACT_STATUS:
        p->node.reported = p->machine.state;
        p->node.reported_ms = w->now_ms;
        break;
    case COLO_ACT_EXIT_EVENT:
        p->node.exit_events++;
        w->coverage->cause[a->cause]++;
        break;
    default:
        sim_broken(w, "wrong-side", "P is told to %s",
                   colo_action_name(a->type));
    }
}

void sim_p_execute(SimWorld *w)
{
    SimNode *n = &w->p.node;
    const ColoAction *a = &n->acts.list[n->act_index];

    if (!n->blocked && n->part == 0) {
        sim_trace(w, "P does %s %s", colo_action_name(a->type),
                  a->type == COLO_ACT_SEND ? colo_msg_name(a->msg) : "");
        w->coverage->action[a->type]++;
    }
    n->actions_done++;
    switch (a->type) {
    case COLO_ACT_BEGIN:
        begin(w);
        break;
    case COLO_ACT_CAPTURE:
        capture(w, a->epoch);
        break;
    case COLO_ACT_SEND_STATE:
        send_state(w, a->epoch);
        break;
    default:
        n->act_index++;
        execute_plain(w, a);
    }
}
