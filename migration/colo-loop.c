/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the loop that drives a state machine, on either side.
 *
 * It waits for a frame, a kick, or the machine's deadline, turns each into an
 * event and has the actions executed in the order given. A send that fails
 * in the middle of a list does not cut the list short: the rest is executed,
 * the result of a local action is delivered, and then the machine learns that
 * its peer is lost.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "colo-loop.h"
#include "trace.h"

/* Execute @acts; returns the result event of a local action, if any. */
static ColoEvent execute_list(const ColoSide *side, const ColoActions *acts,
                              ColoIo *io)
{
    ColoEvent result = { .type = COLO_EV__MAX };
    Error *err = NULL;

    *io = COLO_IO_OK;
    for (unsigned i = 0; i < acts->count; i++) {
        const ColoAction *a = &acts->list[i];
        ColoIo this_io = COLO_IO_OK;
        Error *this_err = NULL;

        trace_colo_action(side->name, side->state_name(),
                          colo_action_name(a->type), colo_msg_name(a->msg),
                          a->epoch);
        result.type = side->execute(a, &this_io, &this_err);
        if (*io == COLO_IO_OK) {
            *io = this_io;
        }
        error_propagate(&err, this_err);
    }
    colo_session_set_detail_err(err);
    return result;
}

/*
 * Sending has failed. What the peer said before it closed may still be there
 * to read, and a word of farewell tells more than a closed channel.
 */
static ColoEvent last_words(const ColoSide *side, ColoIo io)
{
    ColoEvent lost = { .type = COLO_EV_PEER_LOST,
                       .cause = colo_io_cause(io) };

    colo_drop_bql();
    while (io == COLO_IO_CLOSED) {
        ColoEvent ev = { .type = COLO_EV_MESSAGE };
        ColoFrame f;

        if (colo_channel_next(colo_session.channel, &f, colo_now_ms(),
                              NULL) != COLO_IO_OK ||
            side->take_frame(&f, &ev, NULL) != COLO_IO_OK) {
            break;
        }
        if (f.type == COLO_MSG_GOODBYE || f.type == COLO_MSG_FAILED ||
            f.type == COLO_MSG_REFUSE) {
            ev.msg = f.type;
            ev.epoch = f.epoch;
            return ev;
        }
    }
    return lost;
}

void colo_side_feed(const ColoSide *side, ColoEvent ev)
{
    while (ev.type != COLO_EV__MAX) {
        ColoActions acts;
        ColoIo io;

        trace_colo_event(side->name, side->state_name(),
                         colo_event_name(ev.type), colo_msg_name(ev.msg),
                         ev.epoch);
        side->step(&ev, colo_now_ms(), &acts);
        colo_session_note_step();
        ev = execute_list(side, &acts, &io);
        if (io != COLO_IO_OK) {
            if (ev.type != COLO_EV__MAX) {
                colo_side_feed(side, ev);
            }
            ev = last_words(side, io);
        }
    }
    colo_drop_bql();
    colo_session_publish(false);
}

static void receive(const ColoSide *side)
{
    ColoChannel *ch = colo_session.channel;
    ColoEvent ev = { .type = COLO_EV_MESSAGE };
    Error *err = NULL;
    ColoFrame f;
    ColoIo io;

    side->set_channel_limits(ch);
    io = colo_channel_next(ch, &f, side->deadline_ms(), &err);
    if (io == COLO_IO_SILENT) {
        colo_side_feed(side, (ColoEvent) { .type = COLO_EV_TICK });
        return;
    }
    if (io == COLO_IO_OK) {
        ev.msg = f.type;
        ev.epoch = f.epoch;
        io = side->take_frame(&f, &ev, &err);
    }
    if (io == COLO_IO_KICKED) {
        error_free(err);
        return;         /* a failover or a quit, and the frame is of no use */
    }
    if (io == COLO_IO_OK) {
        colo_side_feed(side, ev);
        if (side->frame_done) {
            side->frame_done(&f);
        }
        /* A peer that talks all the time does not put off the deadline. */
        if (!side->is_final() && colo_now_ms() >= side->deadline_ms()) {
            colo_side_feed(side, (ColoEvent) { .type = COLO_EV_TICK });
        }
        return;
    }
    colo_session_set_detail_err(err);
    if (io == COLO_IO_GARBAGE && side->garbage) {
        side->garbage();
    }
    colo_side_feed(side, (ColoEvent) { .type = COLO_EV_PEER_LOST,
                                       .cause = colo_io_cause(io) });
}

static void answer_asks(const ColoSide *side)
{
    ColoAsks asks = colo_session_take_asks();

    if (asks.limits) {
        ColoLimits limits = colo_limits_now();

        side->set_limits(&limits);
    }
    for (ColoReason r = COLO_REASON_NONE + 1; r < COLO_REASON__MAX; r++) {
        if (asks.reasons & (1u << r)) {
            colo_side_feed(side, (ColoEvent) {
                .type = COLO_EV_WANT_CHECKPOINT, .reason = r });
        }
    }
    if (asks.guest_gone) {
        colo_side_feed(side, (ColoEvent) { .type = COLO_EV_GUEST_GONE });
    }
    if (asks.failover) {
        colo_side_feed(side, (ColoEvent) { .type = COLO_EV_FAILOVER });
    }
    if (asks.quit) {
        colo_session.quitting = true;
        colo_side_feed(side, (ColoEvent) { .type = COLO_EV_QUIT });
    }
}

/* True: something was, and a kick may have come meanwhile. */
static bool send_waiting(const ColoSide *side)
{
    uint32_t sent_before = colo_session.channel->tx_sequence;
    Error *err = NULL;
    ColoIo io = side->send_waiting(&err);

    if (io != COLO_IO_OK) {
        colo_session_set_detail_err(err);
        colo_side_feed(side, last_words(side, io));
    }
    return colo_session.channel->tx_sequence != sent_before;
}

void colo_side_run(const ColoSide *side)
{
    colo_side_feed(side, (ColoEvent) { .type = COLO_EV_START });
    while (!side->is_final()) {
        answer_asks(side);
        if (side->is_lost()) {
            colo_channel_wait_kick(colo_session.channel);
        } else if (!side->is_final() && !send_waiting(side)) {
            receive(side);
        }
    }
}
