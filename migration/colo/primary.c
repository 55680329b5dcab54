/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the primary's checkpoint and failover machine.
 *
 * Problem: the primary must give its output away only when the secondary can
 * explain it, must never wait for ever, and must stay harmless when it cannot
 * know whether the secondary goes on.
 *
 * Structure: state_info[] says what is true in each state, event_table[] and
 * message_table[] name the handler of each (state, event) and (state, frame),
 * set_state() is the only writer of .state. A handler appends actions to the
 * step and moves the state, nothing else.
 *
 * Ways out of the protection, all at the end of this file's first half:
 *   go_alone()  the secondary has no claim: release everything, go on
 *   part()      it may still have one: GOODBYE first, alone when confirmed
 *   lose()      nobody knows: output stays held until the operator decides
 *   quit()      this QEMU leaves
 *
 * During a local action the operator's events are remembered and answered at
 * its result (settle()); the result itself is then of no interest, as nothing
 * that a local action of the primary does outlives the end of protection.
 */
#include "machine-internal.h"

typedef void PrimaryHandler(ColoPrimary *p, ColoStep *c);

#define S(name) (1u << COLO_P_##name)
#define ENDS (S(PARTING) | S(LOST) | S(ALONE) | S(ENDED))

static const struct {
    bool local;         /* a local action is in progress */
    bool stopped;       /* the checkpoint holds the guest */
    bool open;          /* the channel has not been given ACT_CLOSE */
    bool claim;         /* the secondary may claim the guest */
    unsigned next;      /* states that may follow */
} state_info[COLO_P__MAX] = {
    [COLO_P_OFF] = { .next = S(HELLO) | S(ENDED) },
    [COLO_P_HELLO] = { .open = true, .stopped = true,
                       .next = S(BEGINNING) | S(ALONE) | S(ENDED) },
    [COLO_P_BEGINNING] = { .open = true, .local = true, .stopped = true,
                           .next = S(RUNNING) | S(ALONE) | S(ENDED) },
    [COLO_P_RUNNING] = { .open = true, .claim = true,
                         .next = S(REQUESTED) | ENDS },
    [COLO_P_REQUESTED] = { .open = true, .claim = true,
                           .next = S(CAPTURING) | ENDS },
    [COLO_P_CAPTURING] = { .open = true, .claim = true, .local = true,
                           .stopped = true, .next = S(SENDING) | ENDS },
    [COLO_P_SENDING] = { .open = true, .claim = true, .local = true,
                         .stopped = true, .next = S(SENT) | ENDS },
    [COLO_P_SENT] = { .open = true, .claim = true, .stopped = true,
                      .next = S(COMMITTING) | ENDS },
    [COLO_P_COMMITTING] = { .open = true, .claim = true, .stopped = true,
                            .next = S(RUNNING) | ENDS },
    [COLO_P_PARTING] = { .open = true, .claim = true,
                         .next = S(LOST) | S(ALONE) | S(ENDED) },
    [COLO_P_LOST] = { .claim = true, .next = S(ALONE) | S(ENDED) },
    [COLO_P_ALONE] = { .next = 0 },
    [COLO_P_ENDED] = { .next = 0 },
};

static void set_state(ColoPrimary *p, ColoPrimaryState to)
{
    g_assert(state_info[p->state].next & (1u << to));
    p->state = to;
}

/* A wait for the peer begins or goes on from here. */
static void wait_in(ColoPrimary *p, ColoStep *c, ColoPrimaryState to)
{
    set_state(p, to);
    p->rx_ms = c->now_ms;
}

static void say(ColoPrimary *p, ColoStep *c, ColoMsgType msg,
                uint64_t epoch, uint32_t arg)
{
    g_assert(state_info[p->state].open);
    colo_act_send(c, msg, epoch, arg);
    p->tx_ms = c->now_ms;
}

/* ------------------------------------------------- ways out of protection */

static void survive(ColoPrimary *p, ColoStep *c)
{
    colo_policy_stop(&p->policy);
    colo_act(c, COLO_ACT_RELEASE_ALL);
    colo_act(c, COLO_ACT_GO_ALONE);
    colo_act(c, COLO_ACT_GUEST_RUN);
}

/* The secondary has no claim, or the operator says so. */
static void go_alone(ColoPrimary *p, ColoStep *c, ColoCause cause,
                     bool say_goodbye)
{
    survive(p, c);
    if (say_goodbye) {
        say(p, c, COLO_MSG_GOODBYE, 0, cause);
    }
    colo_act(c, COLO_ACT_CLOSE);
    colo_act_exit(c, cause);
    colo_act(c, COLO_ACT_STATUS);
    p->cause = cause;
    set_state(p, COLO_P_ALONE);
}

static void failover_lost(ColoPrimary *p, ColoStep *c)
{
    survive(p, c);
    colo_act_exit(c, COLO_CAUSE_REQUESTED);
    colo_act(c, COLO_ACT_STATUS);
    set_state(p, COLO_P_ALONE);
}

/* Leave the cycle of checkpoints, whatever the phase. */
static void abandon_checkpoint(ColoPrimary *p, ColoStep *c)
{
    if (state_info[p->state].stopped) {
        colo_act(c, COLO_ACT_GUEST_RUN);
    }
    colo_policy_end(&p->policy, c->now_ms);
    p->reason = COLO_REASON_NONE;
}

static void lose(ColoPrimary *p, ColoStep *c, ColoCause cause)
{
    if (!state_info[p->state].claim) {
        go_alone(p, c, cause, false);
        return;
    }
    abandon_checkpoint(p, c);
    if (p->state != COLO_P_PARTING) {
        p->cause = cause;
    }
    colo_act(c, COLO_ACT_CLOSE);
    colo_act_exit(c, p->cause);
    colo_act(c, COLO_ACT_STATUS);
    set_state(p, COLO_P_LOST);
    if (p->breakage & COLO_BREAK_SELF_PROMOTE) {
        failover_lost(p, c);
    }
}

static void part(ColoPrimary *p, ColoStep *c, ColoCause cause)
{
    if (!state_info[p->state].claim) {
        go_alone(p, c, cause, !p->channel_lost);
        return;
    }
    if (p->channel_lost) {
        lose(p, c, cause);
        return;
    }
    say(p, c, COLO_MSG_GOODBYE, 0, cause);
    abandon_checkpoint(p, c);
    colo_act(c, COLO_ACT_STATUS);
    p->cause = cause;
    wait_in(p, c, COLO_P_PARTING);
}

static void quit(ColoPrimary *p, ColoStep *c)
{
    if (state_info[p->state].open) {
        if (p->state != COLO_P_PARTING && !p->channel_lost) {
            say(p, c, COLO_MSG_GOODBYE, 0, COLO_CAUSE_PEER_QUIT);
        }
        colo_act(c, COLO_ACT_CLOSE);
    }
    colo_act(c, COLO_ACT_STATUS);
    set_state(p, COLO_P_ENDED);
}

static void peer_failed(ColoPrimary *p, ColoStep *c, uint32_t arg)
{
    if (arg == COLO_CAUSE_APPLY_BROKEN) {
        go_alone(p, c, COLO_CAUSE_APPLY_BROKEN, false);
    } else {
        part(p, c, COLO_CAUSE_APPLY_FAILED);
    }
}

static void peer_goodbye(ColoPrimary *p, ColoStep *c, uint32_t arg)
{
    ColoCause cause = p->state == COLO_P_PARTING ? p->cause
                    : arg == COLO_CAUSE_PEER_QUIT ? COLO_CAUSE_PEER_QUIT
                                                  : COLO_CAUSE_PEER_CLOSED;

    go_alone(p, c, cause, false);
}

/* ------------------------------------------------- during a local action */

static void later_failover(ColoPrimary *p, ColoStep *c G_GNUC_UNUSED)
{
    p->failover_pending = true;
}

static void later_quit(ColoPrimary *p, ColoStep *c G_GNUC_UNUSED)
{
    p->quit_pending = true;
}

static void later_gone(ColoPrimary *p, ColoStep *c G_GNUC_UNUSED)
{
    p->gone_pending = true;
}

/* The channel cannot be used any more; whatever the peer said last stands. */
static void note_lost(ColoPrimary *p, ColoCause cause)
{
    p->channel_lost = true;
    if (p->pending_cause == COLO_CAUSE_NONE) {
        p->pending_cause = cause;
    }
}

static void later_lost(ColoPrimary *p, ColoStep *c)
{
    note_lost(p, colo_step_lost_cause(c));
}

/* A frame that ends it all, read while a local action was in progress. */
static void later_peer(ColoPrimary *p, ColoStep *c)
{
    if (p->pending_cause == COLO_CAUSE_NONE) {
        p->peer_pending = c->ev->msg;
        p->pending_cause = c->ev->arg > COLO_CAUSE_NONE &&
                           c->ev->arg < COLO_CAUSE__MAX
                           ? (ColoCause)c->ev->arg : COLO_CAUSE_PEER_CLOSED;
    }
}

static void settle_peer(ColoPrimary *p, ColoStep *c)
{
    ColoCause cause = p->pending_cause;

    if (p->peer_pending == COLO_MSG_FAILED) {
        peer_failed(p, c, cause);
    } else if (p->peer_pending == COLO_MSG_GOODBYE) {
        peer_goodbye(p, c, cause);
    } else {
        lose(p, c, cause);
    }
}

/* True if something remembered ended the protection instead. */
static bool settle(ColoPrimary *p, ColoStep *c)
{
    if (p->quit_pending) {
        quit(p, c);
    } else if (p->failover_pending) {
        go_alone(p, c, COLO_CAUSE_REQUESTED, !p->channel_lost);
    } else if (p->pending_cause != COLO_CAUSE_NONE) {
        settle_peer(p, c);
    } else if (p->gone_pending) {
        part(p, c, COLO_CAUSE_GUEST_SHUTDOWN);
    } else {
        return false;
    }
    p->quit_pending = p->failover_pending = p->gone_pending = false;
    p->peer_pending = COLO_MSG_INVALID;
    p->pending_cause = COLO_CAUSE_NONE;
    return true;
}

/* -------------------------------------------------- the checkpoint cycle */

static void off_start(ColoPrimary *p, ColoStep *c)
{
    wait_in(p, c, COLO_P_HELLO);
    say(p, c, COLO_MSG_HELLO, 0, 0);
    colo_act(c, COLO_ACT_STATUS);
}

static void hello_ready(ColoPrimary *p, ColoStep *c)
{
    set_state(p, COLO_P_BEGINNING);
    colo_act(c, COLO_ACT_BEGIN);
}

static void begin_ok(ColoPrimary *p, ColoStep *c)
{
    if (settle(p, c)) {
        return;
    }
    p->epoch = 1;
    say(p, c, COLO_MSG_START, p->epoch, 0);
    colo_policy_end(&p->policy, c->now_ms);
    wait_in(p, c, COLO_P_RUNNING);
    colo_act(c, COLO_ACT_GUEST_RUN);
    colo_act(c, COLO_ACT_STATUS);
}

static void local_failed(ColoPrimary *p, ColoStep *c)
{
    if (!settle(p, c)) {
        part(p, c, COLO_CAUSE_LOCAL);
    }
}

static void maybe_request(ColoPrimary *p, ColoStep *c)
{
    ColoReason reason = colo_policy_poll(&p->policy, c->now_ms);

    if (reason == COLO_REASON_NONE) {
        return;
    }
    colo_policy_begin(&p->policy, reason);
    p->reason = reason;
    p->started_ms = c->now_ms;
    say(p, c, COLO_MSG_REQUEST, p->epoch + 1, reason);
    wait_in(p, c, COLO_P_REQUESTED);
}

static void ask(ColoPrimary *p, ColoStep *c)
{
    colo_policy_ask(&p->policy, c->ev->reason);
}

static void running_want(ColoPrimary *p, ColoStep *c)
{
    ask(p, c);
    maybe_request(p, c);
}

static int64_t ping_due_ms(const ColoPrimary *p)
{
    return p->tx_ms + colo_min_ms(p->limits.heartbeat_ms,
                                  p->limits.step_limit_ms / 2);
}

static int64_t silence_due_ms(const ColoPrimary *p)
{
    return p->rx_ms + p->limits.step_limit_ms;
}

static int64_t checkpoint_due_ms(const ColoPrimary *p)
{
    return p->started_ms + p->limits.checkpoint_limit_ms;
}

static void running_tick(ColoPrimary *p, ColoStep *c)
{
    if (c->now_ms >= silence_due_ms(p)) {
        lose(p, c, COLO_CAUSE_PEER_SILENT);
        return;
    }
    maybe_request(p, c);
    if (p->state == COLO_P_RUNNING && c->now_ms >= ping_due_ms(p)) {
        say(p, c, COLO_MSG_PING, 0, 0);
    }
}

static void wait_tick(ColoPrimary *p, ColoStep *c)
{
    if (c->now_ms >= silence_due_ms(p)) {
        lose(p, c, COLO_CAUSE_PEER_SILENT);
    }
}

static void checkpoint_tick(ColoPrimary *p, ColoStep *c)
{
    if (c->now_ms >= checkpoint_due_ms(p)) {
        lose(p, c, COLO_CAUSE_PEER_SLOW);
    } else {
        wait_tick(p, c);
    }
}

/*
 * The limit cuts the sending off, maybe inside a frame: nothing more may be
 * sent, and the result will not come or not count.
 */
static void sending_tick(ColoPrimary *p, ColoStep *c)
{
    ColoCause cause = c->now_ms >= checkpoint_due_ms(p)
                      ? COLO_CAUSE_PEER_SLOW
                      : c->now_ms >= silence_due_ms(p)
                      ? COLO_CAUSE_PEER_SILENT : COLO_CAUSE_NONE;

    if (cause != COLO_CAUSE_NONE) {
        note_lost(p, cause);
        settle(p, c);
    }
}

static void sending_lost(ColoPrimary *p, ColoStep *c)
{
    later_lost(p, c);
    settle(p, c);
}

static void requested_reply(ColoPrimary *p, ColoStep *c)
{
    set_state(p, COLO_P_CAPTURING);
    colo_act(c, COLO_ACT_GUEST_STOP);
    colo_act_epoch(c, COLO_ACT_CAPTURE, p->epoch + 1);
}

static void capture_ok(ColoPrimary *p, ColoStep *c)
{
    if (settle(p, c)) {
        return;
    }
    colo_policy_cut(&p->policy, c->now_ms);
    wait_in(p, c, COLO_P_SENDING);
    colo_act_epoch(c, COLO_ACT_SEND_STATE, p->epoch + 1);
}

static void sending_ok(ColoPrimary *p, ColoStep *c)
{
    p->tx_ms = c->now_ms;
    if (!settle(p, c)) {
        wait_in(p, c, COLO_P_SENT);
    }
}

static void sent_received(ColoPrimary *p, ColoStep *c)
{
    if (p->breakage & COLO_BREAK_EARLY_RELEASE) {
        colo_act_epoch(c, COLO_ACT_RELEASE_OUTPUT, p->epoch + 1);
    }
    wait_in(p, c, COLO_P_COMMITTING);
}

/*
 * Between two epochs nothing is held, so that neither direction of the change
 * concerns output that somebody waits for.
 */
static void follow_hybrid(ColoPrimary *p, ColoStep *c)
{
    ColoNetMode mode = p->policy.hybrid ? COLO_NET_BUFFER : COLO_NET_MATCH;

    if (p->net_mode != mode) {
        p->net_mode = mode;
        colo_act(c, COLO_ACT_NET_MODE)->arg = mode;
    }
}

static void committing_loaded(ColoPrimary *p, ColoStep *c)
{
    p->epoch++;
    p->reason = COLO_REASON_NONE;
    colo_policy_end(&p->policy, c->now_ms);
    colo_act_epoch(c, COLO_ACT_RELEASE_OUTPUT, p->epoch);
    follow_hybrid(p, c);
    colo_act(c, COLO_ACT_GUEST_RUN);
    wait_in(p, c, COLO_P_RUNNING);
}

/* ------------------------------------------------- frames in many states */

/* Nothing to do; that it came has been noted. */
static void msg_noted(ColoPrimary *p G_GNUC_UNUSED,
                      ColoStep *c G_GNUC_UNUSED)
{
}

static void msg_ping(ColoPrimary *p, ColoStep *c)
{
    say(p, c, COLO_MSG_PONG, 0, 0);
}

static void msg_refuse(ColoPrimary *p, ColoStep *c)
{
    go_alone(p, c, COLO_CAUSE_REFUSED, false);
}

static void msg_failed(ColoPrimary *p, ColoStep *c)
{
    peer_failed(p, c, c->ev->arg);
}

static void msg_goodbye(ColoPrimary *p, ColoStep *c)
{
    peer_goodbye(p, c, c->ev->arg);
}

static PrimaryHandler *const message_table[COLO_P__MAX][COLO_MSG__MAX] = {
#define ALWAYS_OK                        \
    [COLO_MSG_PONG] = msg_noted,         \
    [COLO_MSG_PING] = msg_ping,          \
    [COLO_MSG_GOODBYE] = msg_goodbye
#define WHILE_LOCAL                      \
    [COLO_MSG_PONG] = msg_noted,         \
    [COLO_MSG_PING] = msg_ping,          \
    [COLO_MSG_GOODBYE] = later_peer
    [COLO_P_HELLO] = {
        ALWAYS_OK,
        [COLO_MSG_READY] = hello_ready,
        [COLO_MSG_REFUSE] = msg_refuse,
    },
    [COLO_P_BEGINNING] = { WHILE_LOCAL },
    [COLO_P_RUNNING] = { ALWAYS_OK, [COLO_MSG_ANSWER] = msg_noted },
    [COLO_P_REQUESTED] = {
        ALWAYS_OK,
        /* What is offered is answered before the REPLY: the guest cannot be
         * stopped while one of its writes waits. */
        [COLO_MSG_ANSWER] = msg_noted,
        [COLO_MSG_DIRTY] = msg_noted,
        [COLO_MSG_REPLY] = requested_reply,
        [COLO_MSG_FAILED] = msg_failed,
    },
    [COLO_P_CAPTURING] = { WHILE_LOCAL, [COLO_MSG_FAILED] = later_peer },
    [COLO_P_SENDING] = { WHILE_LOCAL, [COLO_MSG_FAILED] = later_peer },
    [COLO_P_SENT] = {
        ALWAYS_OK,
        [COLO_MSG_RECEIVED] = sent_received,
        [COLO_MSG_FAILED] = msg_failed,
    },
    [COLO_P_COMMITTING] = {
        ALWAYS_OK,
        [COLO_MSG_LOADED] = committing_loaded,
        [COLO_MSG_FAILED] = msg_failed,
    },
    /* Whatever was under way when our GOODBYE went out. */
    [COLO_P_PARTING] = {
        [COLO_MSG_ANSWER] = msg_noted,
        [COLO_MSG_PONG] = msg_noted,
        [COLO_MSG_PING] = msg_noted,
        [COLO_MSG_DIRTY] = msg_noted,
        [COLO_MSG_REPLY] = msg_noted,
        [COLO_MSG_RECEIVED] = msg_noted,
        [COLO_MSG_LOADED] = msg_noted,
        [COLO_MSG_FAILED] = msg_noted,
        [COLO_MSG_GOODBYE] = msg_goodbye,
    },
#undef ALWAYS_OK
#undef WHILE_LOCAL
};

static bool epoch_fits(const ColoPrimary *p, const ColoEvent *ev)
{
    switch (ev->msg) {
    case COLO_MSG_READY:
    case COLO_MSG_REFUSE:
        return ev->epoch == 0;
    case COLO_MSG_DIRTY:
    case COLO_MSG_REPLY:
    case COLO_MSG_RECEIVED:
    case COLO_MSG_LOADED:
    case COLO_MSG_FAILED:
        return ev->epoch == p->epoch + 1;
    default:
        return true;
    }
}

static void on_message(ColoPrimary *p, ColoStep *c)
{
    PrimaryHandler *handler = c->ev->msg < COLO_MSG__MAX
                              ? message_table[p->state][c->ev->msg] : NULL;

    if (handler && epoch_fits(p, c->ev)) {
        p->rx_ms = c->now_ms;
        handler(p, c);
    } else if (state_info[p->state].local) {
        note_lost(p, COLO_CAUSE_PROTOCOL);
    } else {
        lose(p, c, COLO_CAUSE_PROTOCOL);
    }
}

/* ------------------------------------------------------- the event table */

static void on_lost(ColoPrimary *p, ColoStep *c)
{
    lose(p, c, colo_step_lost_cause(c));
}

static void on_failover(ColoPrimary *p, ColoStep *c)
{
    go_alone(p, c, COLO_CAUSE_REQUESTED, p->state != COLO_P_PARTING);
}

static void on_gone(ColoPrimary *p, ColoStep *c)
{
    part(p, c, COLO_CAUSE_GUEST_SHUTDOWN);
}

static PrimaryHandler *const event_table[COLO_P__MAX][COLO_EV__MAX] = {
/* A state that waits for the peer. */
#define WAITING                          \
    [COLO_EV_MESSAGE] = on_message,      \
    [COLO_EV_PEER_LOST] = on_lost,       \
    [COLO_EV_FAILOVER] = on_failover,    \
    [COLO_EV_QUIT] = quit,               \
    [COLO_EV_GUEST_GONE] = on_gone
#define LOCAL                            \
    [COLO_EV_MESSAGE] = on_message,      \
    [COLO_EV_WANT_CHECKPOINT] = ask,     \
    [COLO_EV_LOCAL_FAILED] = local_failed, \
    [COLO_EV_LOCAL_BROKEN] = local_failed, \
    [COLO_EV_FAILOVER] = later_failover, \
    [COLO_EV_QUIT] = later_quit,         \
    [COLO_EV_GUEST_GONE] = later_gone
    [COLO_P_OFF] = {
        [COLO_EV_START] = off_start,
        [COLO_EV_QUIT] = quit,
    },
    [COLO_P_HELLO] = {
        WAITING,
        [COLO_EV_WANT_CHECKPOINT] = ask,
        [COLO_EV_TICK] = wait_tick,
    },
    [COLO_P_BEGINNING] = {
        LOCAL,
        [COLO_EV_LOCAL_OK] = begin_ok,
        [COLO_EV_PEER_LOST] = later_lost,
    },
    [COLO_P_RUNNING] = {
        WAITING,
        [COLO_EV_WANT_CHECKPOINT] = running_want,
        [COLO_EV_TICK] = running_tick,
    },
    [COLO_P_REQUESTED] = {
        WAITING,
        [COLO_EV_WANT_CHECKPOINT] = ask,
        [COLO_EV_TICK] = checkpoint_tick,
    },
    [COLO_P_CAPTURING] = {
        LOCAL,
        [COLO_EV_LOCAL_OK] = capture_ok,
        [COLO_EV_PEER_LOST] = later_lost,
    },
    [COLO_P_SENDING] = {
        LOCAL,
        [COLO_EV_LOCAL_OK] = sending_ok,
        [COLO_EV_TICK] = sending_tick,
        [COLO_EV_PEER_LOST] = sending_lost,
    },
    [COLO_P_SENT] = {
        WAITING,
        [COLO_EV_WANT_CHECKPOINT] = ask,
        [COLO_EV_TICK] = checkpoint_tick,
    },
    [COLO_P_COMMITTING] = {
        WAITING,
        [COLO_EV_WANT_CHECKPOINT] = ask,
        [COLO_EV_TICK] = checkpoint_tick,
    },
    /* A guest that ends now changes nothing. */
    [COLO_P_PARTING] = {
        [COLO_EV_MESSAGE] = on_message,
        [COLO_EV_PEER_LOST] = on_lost,
        [COLO_EV_FAILOVER] = on_failover,
        [COLO_EV_QUIT] = quit,
        [COLO_EV_TICK] = wait_tick,
    },
    [COLO_P_LOST] = {
        [COLO_EV_FAILOVER] = failover_lost,
        [COLO_EV_QUIT] = quit,
    },
#undef WAITING
#undef LOCAL
};

void colo_primary_step(ColoPrimary *p, const ColoEvent *ev, int64_t now_ms,
                       ColoActions *out)
{
    ColoStep c = { .ev = ev, .now_ms = now_ms, .out = out };
    PrimaryHandler *handler;

    g_assert(p->state < COLO_P__MAX && ev->type < COLO_EV__MAX);
    out->count = 0;
    handler = event_table[p->state][ev->type];
    if (handler) {
        handler(p, &c);
    }
}

/* ------------------------------------------------------- time and limits */

int64_t colo_primary_deadline(const ColoPrimary *p)
{
    if (p->breakage & COLO_BREAK_NO_TIMEOUT) {
        return INT64_MAX;
    }
    switch (p->state) {
    case COLO_P_HELLO:
    case COLO_P_PARTING:
        return silence_due_ms(p);
    case COLO_P_RUNNING:
        return colo_min_ms(silence_due_ms(p),
                           colo_min_ms(ping_due_ms(p),
                                       colo_policy_due_ms(&p->policy)));
    case COLO_P_REQUESTED:
    case COLO_P_SENDING:
    case COLO_P_SENT:
    case COLO_P_COMMITTING:
        return colo_min_ms(silence_due_ms(p), checkpoint_due_ms(p));
    default:
        return INT64_MAX;
    }
}

void colo_primary_progress(ColoPrimary *p, int64_t now_ms)
{
    if (p->state == COLO_P_SENDING || p->state == COLO_P_SENT ||
        p->state == COLO_P_REQUESTED) {
        p->rx_ms = now_ms;
    }
}

void colo_primary_init(ColoPrimary *p, const ColoLimits *limits)
{
    *p = (ColoPrimary) { .state = COLO_P_OFF, .limits = *limits };
    colo_policy_init(&p->policy, limits, 0);
}

/* A shorter limit counts from now on: it must not condemn the past. */
void colo_primary_set_limits(ColoPrimary *p, const ColoLimits *limits,
                             int64_t now_ms)
{
    p->limits = *limits;
    p->rx_ms = now_ms;
    colo_policy_set(&p->policy, limits);
}
