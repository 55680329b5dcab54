/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: what lies between the two hosts.
 *
 * A lane is one direction of the checkpoint channel: frames arrive in order,
 * each after a delay, none while the lane is stalled. The end of the channel
 * travels as a frame of its own. Sending to an end that has closed may come
 * back as a reset, which destroys what was not read yet (as TCP does).
 * A pipe is the same for mirrored requests and answers to compare.
 */
#include "sim.h"

static SimLane *lane_from(SimWorld *w, bool from_p)
{
    return from_p ? &w->lane_ps : &w->lane_sp;
}

static int64_t delay_ms(SimWorld *w)
{
    return sim_chance(w, 4) ? sim_pick(w, 4) : 0;
}

static void push(SimWorld *w, SimLane *lane, const SimFrame *f)
{
    SimFrame *slot;

    if (lane->count == SIM_CHANNEL_FRAMES) {
        sim_broken(w, "bounds", "channel holds more than %u frames",
                   SIM_CHANNEL_FRAMES);
        return;
    }
    slot = &lane->ring[(lane->head + lane->count) % SIM_CHANNEL_FRAMES];
    *slot = *f;
    slot->arrival_ms = MAX(lane->last_arrival_ms, w->now_ms + delay_ms(w));
    lane->last_arrival_ms = slot->arrival_ms;
    lane->count++;
}

static void push_eof(SimWorld *w, SimLane *lane)
{
    SimFrame eof = { .kind = SIM_FRAME_EOF };

    push(w, lane, &eof);
}

/* The far end is closed: our kernel is told so, and drops our input. */
static void bounce(SimWorld *w, bool from_p)
{
    SimLane *back = lane_from(w, !from_p);

    if (sim_chance(w, 2)) {
        sim_trace(w, "reset reaches %s", from_p ? "P" : "S");
        back->count = 0;
        push_eof(w, back);
    }
}

void sim_channel_send(SimWorld *w, bool from_p, const SimFrame *f)
{
    SimNode *me = from_p ? &w->p.node : &w->s.node;
    SimLane *lane = lane_from(w, from_p);
    SimFrame copy = *f;

    if (me->closed) {
        sim_broken(w, "send-after-close", "%s sends %d after CLOSE",
                   from_p ? "P" : "S", f->msg);
        return;
    }
    if (me->torn) {
        sim_broken(w, "torn-frame", "%s sends %d behind half a frame",
                   from_p ? "P" : "S", f->msg);
        return;
    }
    if (w->link_cut) {
        return;
    }
    if (me->peer_closed) {
        bounce(w, from_p);
        return;
    }
    if (lane->garble_next) {
        lane->garble_next = false;
        copy.kind = SIM_FRAME_GARBAGE;
    }
    if (lane->flip_next && copy.msg == COLO_MSG_PAGES) {
        lane->flip_next = false;
        copy.data[0][1] ^= 0x100;
    }
    push(w, lane, &copy);
    if (lane->duplicate_next) {
        lane->duplicate_next = false;
        push(w, lane, &copy);
    }
}

static SimLane *lane_to(SimWorld *w, bool to_p)
{
    return lane_from(w, !to_p);
}

const SimFrame *sim_channel_head(SimWorld *w, bool to_p)
{
    SimLane *lane = lane_to(w, to_p);
    SimFrame *f = &lane->ring[lane->head];

    if (!lane->count || f->arrival_ms > w->now_ms ||
        lane->stalled_until_ms > w->now_ms) {
        return NULL;
    }
    return f;
}

void sim_channel_pop(SimWorld *w, bool to_p)
{
    SimLane *lane = lane_to(w, to_p);

    lane->head = (lane->head + 1) % SIM_CHANNEL_FRAMES;
    lane->count--;
}

int64_t sim_channel_next_ms(const SimWorld *w, bool to_p)
{
    const SimLane *lane = to_p ? &w->lane_sp : &w->lane_ps;

    if (!lane->count) {
        return INT64_MAX;
    }
    return MAX(lane->ring[lane->head].arrival_ms, lane->stalled_until_ms);
}

/* Would a sender find its buffer full sooner or later? */
bool sim_channel_blocked(const SimWorld *w, bool from_p)
{
    const SimLane *lane = from_p ? &w->lane_ps : &w->lane_sp;
    const SimNode *peer = from_p ? &w->s.node : &w->p.node;

    return w->link_cut || lane->stalled_until_ms > w->now_ms ||
           (peer->alive && peer->frozen);
}

void sim_channel_close(SimWorld *w, bool from_p)
{
    SimNode *me = from_p ? &w->p.node : &w->s.node;
    SimNode *peer = from_p ? &w->s.node : &w->p.node;

    if (me->closed) {
        return;
    }
    me->closed = true;
    lane_from(w, !from_p)->count = 0;
    if (!w->link_cut && !peer->closed) {
        peer->peer_closed = true;
        push_eof(w, lane_from(w, from_p));
    }
}

void sim_channel_reset(SimWorld *w)
{
    for (int from_p = 0; from_p < 2; from_p++) {
        SimNode *peer = from_p ? &w->s.node : &w->p.node;
        SimLane *lane = lane_from(w, from_p);

        if (lane->count) {
            lane->count = sim_pick(w, lane->count + 1);
        }
        if (!peer->closed && !w->link_cut) {
            peer->peer_closed = true;
            push_eof(w, lane);
        }
    }
}

void sim_channel_died(SimWorld *w, bool p_died, bool silently)
{
    SimNode *me = p_died ? &w->p.node : &w->s.node;
    SimNode *peer = p_died ? &w->s.node : &w->p.node;
    SimLane *lane = lane_from(w, p_died);

    /* what had not left the host yet is gone; a closed channel is drained */
    if (lane->count && (silently || !me->closed)) {
        lane->count = sim_pick(w, lane->count + 1);
    }
    if (silently) {
        w->link_cut = true;
    } else if (!me->closed && !peer->closed && !w->link_cut) {
        peer->peer_closed = true;
        push_eof(w, lane);
    }
}

/* ------------------------------------------------------------------ pipes */

void sim_pipe_push(SimWorld *w, SimPipe *pipe, SimItem item)
{
    if (w->link_cut) {
        return;
    }
    if (pipe->count == SIM_PIPE_ITEMS) {
        sim_broken(w, "bounds", "pipe holds more than %u items",
                   SIM_PIPE_ITEMS);
        return;
    }
    item.arrival_ms = MAX(pipe->last_arrival_ms, w->now_ms + delay_ms(w));
    pipe->last_arrival_ms = item.arrival_ms;
    pipe->ring[(pipe->head + pipe->count) % SIM_PIPE_ITEMS] = item;
    pipe->count++;
}

SimItem *sim_pipe_head(SimWorld *w, SimPipe *pipe)
{
    SimItem *item = &pipe->ring[pipe->head];

    return pipe->count && item->arrival_ms <= w->now_ms ? item : NULL;
}

void sim_pipe_pop(SimPipe *pipe)
{
    pipe->head = (pipe->head + 1) % SIM_PIPE_ITEMS;
    pipe->count--;
}

int64_t sim_pipe_next_ms(const SimWorld *w, const SimPipe *pipe)
{
    int64_t at_ms;

    if (!pipe->count) {
        return INT64_MAX;
    }
    at_ms = pipe->ring[pipe->head].arrival_ms;
    return at_ms > w->now_ms ? at_ms : INT64_MAX;
}
