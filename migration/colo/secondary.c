/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the secondary's checkpoint and failover machine.
 *
 * Problem: whenever the primary dies, the secondary's guest must be in one
 * whole state: that of its own epoch, or that of a checkpoint which arrived
 * complete. And it must never go on beside a living primary.
 *
 * Structure: as in primary.c: state_info[], event_table[], message_table[],
 * one setter.
 *
 * Claim: a secondary may be promoted in all states from START(1) until it has
 * confirmed a GOODBYE, has quit, or is broken. Saying FAILED does not end the
 * claim: the primary may be dead already. Promotion itself is the operator's
 * word alone (EV_FAILOVER).
 *
 * APPLYING is the one state whose local action changes the guest: a failover,
 * a lost peer and a quit wait for its result.
 */
#include "machine-internal.h"

typedef void SecondaryHandler(ColoSecondary *s, ColoStep *c);

#define S(name) (1u << COLO_S_##name)
#define ENDS (S(LOST) | S(TAKEN_OVER) | S(DEAD))

static const struct {
    bool local;         /* a local action is in progress */
    bool running;       /* the guest runs */
    bool staged;        /* there may be staged state */
    bool claim;         /* may be promoted */
    unsigned next;      /* states that may follow */
} state_info[COLO_S__MAX] = {
    [COLO_S_OFF] = { .next = S(WAITING) | S(DEAD) },
    [COLO_S_WAITING] = { .next = S(BEGINNING) | S(DEAD) },
    [COLO_S_BEGINNING] = { .local = true, .next = S(READY) | S(DEAD) },
    [COLO_S_READY] = { .next = S(RUNNING) | S(DEAD) },
    [COLO_S_RUNNING] = { .running = true, .claim = true,
                         .next = S(COLLECTING) | ENDS },
    [COLO_S_COLLECTING] = { .local = true, .claim = true, .staged = true,
                            .next = S(RECEIVING) | S(FAILING) | ENDS },
    [COLO_S_RECEIVING] = { .claim = true, .staged = true,
                           .next = S(APPLYING) | S(FAILING) | ENDS },
    [COLO_S_APPLYING] = { .local = true, .claim = true, .staged = true,
                          .next = S(RUNNING) | S(FAILING) | ENDS },
    [COLO_S_FAILING] = { .claim = true, .next = ENDS },
    [COLO_S_LOST] = { .claim = true, .next = S(TAKEN_OVER) | S(DEAD) },
    [COLO_S_TAKEN_OVER] = { .next = 0 },
    [COLO_S_DEAD] = { .next = 0 },
};

static void set_state(ColoSecondary *s, ColoSecondaryState to)
{
    g_assert(state_info[s->state].next & (1u << to));
    s->state = to;
}

/* A wait for the peer begins here. */
static void wait_in(ColoSecondary *s, ColoStep *c, ColoSecondaryState to)
{
    set_state(s, to);
    s->rx_ms = c->now_ms;
}

static void say(ColoSecondary *s, ColoStep *c, ColoMsgType msg,
                uint64_t epoch, uint32_t arg)
{
    colo_act_send(c, msg, epoch, arg);
    s->tx_ms = c->now_ms;
}

/* ------------------------------------------------- ways out of protection */

/* The guest stands still in its own epoch, nothing half received is left. */
static void settle_guest(ColoSecondary *s, ColoStep *c)
{
    if (state_info[s->state].running) {
        colo_act(c, COLO_ACT_GUEST_STOP);
    }
    if (state_info[s->state].staged) {
        colo_act(c, COLO_ACT_DISCARD);
    }
}

static void end_with(ColoSecondary *s, ColoStep *c, ColoSecondaryState to,
                     ColoCause exit_cause)
{
    colo_act_exit(c, exit_cause);
    colo_act(c, COLO_ACT_STATUS);
    set_state(s, to);
}

static void die(ColoSecondary *s, ColoStep *c, ColoCause cause)
{
    settle_guest(s, c);
    if (s->state != COLO_S_LOST) {
        colo_act(c, COLO_ACT_CLOSE);
    }
    s->cause = cause;
    end_with(s, c, COLO_S_DEAD, cause);
}

static void promote(ColoSecondary *s, ColoStep *c)
{
    settle_guest(s, c);
    if (s->state != COLO_S_LOST) {
        colo_act(c, COLO_ACT_CLOSE);
        s->cause = COLO_CAUSE_REQUESTED;
    }
    colo_act(c, COLO_ACT_TAKE_OVER);
    colo_act(c, COLO_ACT_GUEST_RUN);
    end_with(s, c, COLO_S_TAKEN_OVER, COLO_CAUSE_REQUESTED);
}

static void lose(ColoSecondary *s, ColoStep *c, ColoCause cause)
{
    if (!state_info[s->state].claim) {
        die(s, c, cause);
        return;
    }
    settle_guest(s, c);
    colo_act(c, COLO_ACT_CLOSE);
    if (s->state != COLO_S_FAILING) {
        s->cause = cause;
    }
    end_with(s, c, COLO_S_LOST, s->cause);
    if (s->breakage & COLO_BREAK_SELF_PROMOTE) {
        promote(s, c);
    }
}

static void quit(ColoSecondary *s, ColoStep *c)
{
    if (s->state != COLO_S_OFF && s->state != COLO_S_LOST) {
        if (!s->lost_pending) {
            say(s, c, COLO_MSG_GOODBYE, 0, COLO_CAUSE_PEER_QUIT);
        }
        settle_guest(s, c);
        colo_act(c, COLO_ACT_CLOSE);
    }
    colo_act(c, COLO_ACT_STATUS);
    set_state(s, COLO_S_DEAD);
}

/* The checkpoint cannot be taken, this side is whole in its own epoch. */
static void refuse_checkpoint(ColoSecondary *s, ColoStep *c, ColoCause cause)
{
    colo_act(c, COLO_ACT_DISCARD);
    say(s, c, COLO_MSG_FAILED, s->pending_epoch, cause);
    colo_act(c, COLO_ACT_STATUS);
    s->cause = cause;
    wait_in(s, c, COLO_S_FAILING);
}

/* The primary says that it ends; see "Claim" above. */
static void goodbye(ColoSecondary *s, ColoStep *c, ColoCause cause)
{
    if (cause == COLO_CAUSE_PEER_QUIT) {
        lose(s, c, COLO_CAUSE_PEER_QUIT);
        return;
    }
    if (!s->lost_pending) {
        say(s, c, COLO_MSG_GOODBYE, 0, cause);
    }
    if (cause == COLO_CAUSE_GUEST_SHUTDOWN) {
        settle_guest(s, c);
        colo_act(c, COLO_ACT_CLOSE);
        colo_act(c, COLO_ACT_GUEST_SHUTDOWN);
        s->cause = cause;
        end_with(s, c, COLO_S_DEAD, cause);
    } else {
        die(s, c, s->state == COLO_S_FAILING ? s->cause
                                             : COLO_CAUSE_PEER_ALONE);
    }
}

/* ------------------------------------------------- during a local action */

static void later_failover(ColoSecondary *s, ColoStep *c G_GNUC_UNUSED)
{
    s->failover_pending = true;
}

static void later_quit(ColoSecondary *s, ColoStep *c G_GNUC_UNUSED)
{
    s->quit_pending = true;
}

/* The channel cannot be used any more; a GOODBYE before it stands. */
static void note_lost(ColoSecondary *s, ColoCause cause)
{
    if (!s->lost_pending && !s->goodbye_pending) {
        s->pending_cause = cause;
    }
    s->lost_pending = true;
}

static void later_lost(ColoSecondary *s, ColoStep *c)
{
    note_lost(s, colo_step_lost_cause(c));
}

static void later_goodbye(ColoSecondary *s, ColoStep *c)
{
    if (!s->lost_pending && !s->goodbye_pending) {
        s->goodbye_pending = true;
        s->pending_cause = c->ev->arg;
    }
}

/* True if something remembered comes first, now that the guest is whole. */
static bool settle(ColoSecondary *s, ColoStep *c)
{
    if (s->quit_pending) {
        quit(s, c);
    } else if (s->failover_pending && state_info[s->state].claim) {
        promote(s, c);
    } else if (s->goodbye_pending) {
        goodbye(s, c, s->pending_cause);
    } else if (s->lost_pending) {
        lose(s, c, s->pending_cause);
    } else {
        return false;
    }
    s->quit_pending = s->failover_pending = false;
    s->goodbye_pending = s->lost_pending = false;
    s->pending_cause = COLO_CAUSE_NONE;
    return true;
}

/* -------------------------------------------------- the checkpoint cycle */

static void off_start(ColoSecondary *s, ColoStep *c)
{
    wait_in(s, c, COLO_S_WAITING);
    colo_act(c, COLO_ACT_STATUS);
}

static void waiting_hello(ColoSecondary *s, ColoStep *c)
{
    set_state(s, COLO_S_BEGINNING);
    colo_act(c, COLO_ACT_BEGIN);
}

static void begin_ok(ColoSecondary *s, ColoStep *c)
{
    if (!settle(s, c)) {
        say(s, c, COLO_MSG_READY, 0, 0);
        wait_in(s, c, COLO_S_READY);
    }
}

static void begin_failed(ColoSecondary *s, ColoStep *c)
{
    if (!settle(s, c)) {
        say(s, c, COLO_MSG_REFUSE, 0, COLO_CAUSE_LOCAL);
        die(s, c, COLO_CAUSE_LOCAL);
    }
}

static void ready_start(ColoSecondary *s, ColoStep *c)
{
    s->epoch = c->ev->epoch;
    wait_in(s, c, COLO_S_RUNNING);
    colo_act(c, COLO_ACT_GUEST_RUN);
    colo_act(c, COLO_ACT_STATUS);
}

static void running_request(ColoSecondary *s, ColoStep *c)
{
    s->pending_epoch = s->epoch + 1;
    s->started_ms = c->now_ms;
    colo_act(c, COLO_ACT_GUEST_STOP);
    colo_act_epoch(c, COLO_ACT_COLLECT, s->pending_epoch);
    wait_in(s, c, COLO_S_COLLECTING);
}

static void collect_ok(ColoSecondary *s, ColoStep *c)
{
    if (!settle(s, c)) {
        say(s, c, COLO_MSG_REPLY, s->pending_epoch, 0);
        wait_in(s, c, COLO_S_RECEIVING);
    }
}

static void collect_failed(ColoSecondary *s, ColoStep *c)
{
    if (!settle(s, c)) {
        refuse_checkpoint(s, c, COLO_CAUSE_LOCAL);
    }
}

/* Sending DIRTY hit the channel's end: no result will follow. */
static void collect_lost(ColoSecondary *s, ColoStep *c)
{
    later_lost(s, c);
    settle(s, c);
}

static void receiving_end(ColoSecondary *s, ColoStep *c)
{
    say(s, c, COLO_MSG_RECEIVED, s->pending_epoch, 0);
    colo_act_epoch(c, COLO_ACT_APPLY, s->pending_epoch);
    set_state(s, COLO_S_APPLYING);
}

static void receiving_bad(ColoSecondary *s, ColoStep *c)
{
    if (s->breakage & COLO_BREAK_APPLY_UNVERIFIED) {
        receiving_end(s, c);
        return;
    }
    refuse_checkpoint(s, c, COLO_CAUSE_GARBAGE);
}

static void apply_ok(ColoSecondary *s, ColoStep *c)
{
    s->epoch = s->pending_epoch;
    if (!settle(s, c)) {
        say(s, c, COLO_MSG_LOADED, s->epoch, 0);
        colo_act(c, COLO_ACT_GUEST_RUN);
        wait_in(s, c, COLO_S_RUNNING);
    }
}

static void apply_failed(ColoSecondary *s, ColoStep *c)
{
    if (s->breakage & COLO_BREAK_NO_ROLLBACK) {
        colo_act(c, COLO_ACT_DISCARD);
        apply_ok(s, c);
    } else if (!settle(s, c)) {
        refuse_checkpoint(s, c, COLO_CAUSE_APPLY_FAILED);
    }
}

/* Neither state is whole: nobody may ever run this guest. */
static void apply_broken(ColoSecondary *s, ColoStep *c)
{
    if (!s->lost_pending) {
        say(s, c, COLO_MSG_FAILED, s->pending_epoch,
             COLO_CAUSE_APPLY_BROKEN);
    }
    die(s, c, COLO_CAUSE_APPLY_BROKEN);
}

/* ------------------------------------------------------- time and limits */

static int64_t silence_due_ms(const ColoSecondary *s)
{
    return s->rx_ms + s->limits.step_limit_ms;
}

static int64_t checkpoint_due_ms(const ColoSecondary *s)
{
    return s->started_ms + s->limits.checkpoint_limit_ms;
}

/*
 * The primary sends something every heartbeat, by its own limits. Where ours
 * is shorter we ask once before we call it silent.
 */
static int64_t ping_due_ms(const ColoSecondary *s)
{
    int64_t due_ms = s->rx_ms + s->limits.step_limit_ms / 2;

    return s->tx_ms < due_ms ? due_ms : INT64_MAX;
}

static void wait_tick(ColoSecondary *s, ColoStep *c)
{
    if (c->now_ms >= silence_due_ms(s)) {
        lose(s, c, COLO_CAUSE_PEER_SILENT);
    }
}

static void running_tick(ColoSecondary *s, ColoStep *c)
{
    wait_tick(s, c);
    if (s->state == COLO_S_RUNNING && c->now_ms >= ping_due_ms(s)) {
        say(s, c, COLO_MSG_PING, 0, 0);
    }
}

static void receiving_tick(ColoSecondary *s, ColoStep *c)
{
    if (c->now_ms >= checkpoint_due_ms(s)) {
        lose(s, c, COLO_CAUSE_PEER_SLOW);
    } else {
        wait_tick(s, c);
    }
}

/*
 * The limit cuts the sending of DIRTY off, maybe inside a frame: nothing
 * more may be sent, and the result will not come or not count.
 */
static void collecting_tick(ColoSecondary *s, ColoStep *c)
{
    ColoCause cause = c->now_ms >= checkpoint_due_ms(s)
                      ? COLO_CAUSE_PEER_SLOW
                      : c->now_ms >= silence_due_ms(s)
                      ? COLO_CAUSE_PEER_SILENT : COLO_CAUSE_NONE;

    if (cause != COLO_CAUSE_NONE) {
        note_lost(s, cause);
        settle(s, c);
    }
}

/* ------------------------------------------------------------- frames */

/* Nothing to do; that it came has been noted. */
static void msg_noted(ColoSecondary *s G_GNUC_UNUSED,
                      ColoStep *c G_GNUC_UNUSED)
{
}

static void msg_ping(ColoSecondary *s, ColoStep *c)
{
    say(s, c, COLO_MSG_PONG, 0, 0);
}

static void msg_goodbye(ColoSecondary *s, ColoStep *c)
{
    goodbye(s, c, c->ev->arg);
}

static SecondaryHandler *const message_table[COLO_S__MAX][COLO_MSG__MAX] = {
#define ALWAYS_OK                        \
    [COLO_MSG_PING] = msg_ping,          \
    [COLO_MSG_PONG] = msg_noted,         \
    [COLO_MSG_GOODBYE] = msg_goodbye
#define WHILE_LOCAL                      \
    [COLO_MSG_PING] = msg_ping,          \
    [COLO_MSG_PONG] = msg_noted,         \
    [COLO_MSG_GOODBYE] = later_goodbye
    [COLO_S_WAITING] = { ALWAYS_OK, [COLO_MSG_HELLO] = waiting_hello },
    [COLO_S_BEGINNING] = { WHILE_LOCAL },
    [COLO_S_READY] = { ALWAYS_OK, [COLO_MSG_START] = ready_start },
    [COLO_S_RUNNING] = {
        ALWAYS_OK,
        [COLO_MSG_OFFER] = msg_noted,
        [COLO_MSG_REQUEST] = running_request,
    },
    [COLO_S_COLLECTING] = { WHILE_LOCAL },
    [COLO_S_RECEIVING] = {
        ALWAYS_OK,
        [COLO_MSG_STATE] = msg_noted,
        [COLO_MSG_PAGES] = msg_noted,
        [COLO_MSG_DEVICE] = msg_noted,
        [COLO_MSG_END] = receiving_end,
    },
    [COLO_S_APPLYING] = { WHILE_LOCAL },
    /* The rest of the refused checkpoint is under way. */
    [COLO_S_FAILING] = {
        [COLO_MSG_PING] = msg_noted,
        [COLO_MSG_PONG] = msg_noted,
        [COLO_MSG_STATE] = msg_noted,
        [COLO_MSG_PAGES] = msg_noted,
        [COLO_MSG_DEVICE] = msg_noted,
        [COLO_MSG_END] = msg_noted,
        [COLO_MSG_GOODBYE] = msg_goodbye,
    },
#undef ALWAYS_OK
#undef WHILE_LOCAL
};

static bool epoch_fits(const ColoSecondary *s, const ColoEvent *ev)
{
    switch (ev->msg) {
    case COLO_MSG_HELLO:
        return ev->epoch == 0;
    case COLO_MSG_START:
        return ev->epoch == 1;
    case COLO_MSG_REQUEST:
        return ev->epoch == s->epoch + 1;
    case COLO_MSG_STATE:
    case COLO_MSG_PAGES:
    case COLO_MSG_DEVICE:
    case COLO_MSG_END:
        return ev->epoch == s->pending_epoch;
    default:
        return true;
    }
}

static void on_message(ColoSecondary *s, ColoStep *c)
{
    SecondaryHandler *handler = c->ev->msg < COLO_MSG__MAX
                                ? message_table[s->state][c->ev->msg] : NULL;

    if (handler && epoch_fits(s, c->ev)) {
        s->rx_ms = c->now_ms;
        handler(s, c);
    } else if (state_info[s->state].local) {
        note_lost(s, COLO_CAUSE_PROTOCOL);
    } else {
        lose(s, c, COLO_CAUSE_PROTOCOL);
    }
}

/* ------------------------------------------------------- the event table */

static void on_lost(ColoSecondary *s, ColoStep *c)
{
    lose(s, c, colo_step_lost_cause(c));
}

static SecondaryHandler *const event_table[COLO_S__MAX][COLO_EV__MAX] = {
#define WAITING                          \
    [COLO_EV_MESSAGE] = on_message,      \
    [COLO_EV_PEER_LOST] = on_lost,       \
    [COLO_EV_QUIT] = quit
#define LOCAL                            \
    [COLO_EV_MESSAGE] = on_message,      \
    [COLO_EV_FAILOVER] = later_failover, \
    [COLO_EV_QUIT] = later_quit
    [COLO_S_OFF] = { [COLO_EV_START] = off_start, [COLO_EV_QUIT] = quit },
    [COLO_S_WAITING] = { WAITING, [COLO_EV_TICK] = wait_tick },
    [COLO_S_BEGINNING] = {
        [COLO_EV_MESSAGE] = on_message,
        [COLO_EV_QUIT] = later_quit,
        [COLO_EV_PEER_LOST] = later_lost,
        [COLO_EV_LOCAL_OK] = begin_ok,
        [COLO_EV_LOCAL_FAILED] = begin_failed,
        [COLO_EV_LOCAL_BROKEN] = begin_failed,
    },
    [COLO_S_READY] = { WAITING, [COLO_EV_TICK] = wait_tick },
    [COLO_S_RUNNING] = {
        WAITING,
        [COLO_EV_FAILOVER] = promote,
        [COLO_EV_TICK] = running_tick,
    },
    [COLO_S_COLLECTING] = {
        LOCAL,
        [COLO_EV_PEER_LOST] = collect_lost,
        [COLO_EV_LOCAL_OK] = collect_ok,
        [COLO_EV_LOCAL_FAILED] = collect_failed,
        [COLO_EV_LOCAL_BROKEN] = collect_failed,
        [COLO_EV_TICK] = collecting_tick,
    },
    [COLO_S_RECEIVING] = {
        WAITING,
        [COLO_EV_FAILOVER] = promote,
        [COLO_EV_STATE_BAD] = receiving_bad,
        [COLO_EV_TICK] = receiving_tick,
    },
    [COLO_S_APPLYING] = {
        LOCAL,
        [COLO_EV_PEER_LOST] = later_lost,
        [COLO_EV_LOCAL_OK] = apply_ok,
        [COLO_EV_LOCAL_FAILED] = apply_failed,
        [COLO_EV_LOCAL_BROKEN] = apply_broken,
    },
    [COLO_S_FAILING] = {
        WAITING,
        [COLO_EV_FAILOVER] = promote,
        [COLO_EV_TICK] = wait_tick,
    },
    [COLO_S_LOST] = {
        [COLO_EV_FAILOVER] = promote,
        [COLO_EV_QUIT] = quit,
    },
#undef WAITING
#undef LOCAL
};

void colo_secondary_step(ColoSecondary *s, const ColoEvent *ev,
                         int64_t now_ms, ColoActions *out)
{
    ColoStep c = { .ev = ev, .now_ms = now_ms, .out = out };
    SecondaryHandler *handler;

    g_assert(s->state < COLO_S__MAX && ev->type < COLO_EV__MAX);
    out->count = 0;
    if (s->limits_changed) {
        s->limits_changed = false;
        s->rx_ms = now_ms;
    }
    handler = event_table[s->state][ev->type];
    if (handler) {
        handler(s, &c);
    }
}

int64_t colo_secondary_deadline(const ColoSecondary *s)
{
    if (s->breakage & COLO_BREAK_NO_TIMEOUT) {
        return INT64_MAX;
    }
    switch (s->state) {
    case COLO_S_WAITING:
    case COLO_S_READY:
    case COLO_S_FAILING:
        return silence_due_ms(s);
    case COLO_S_RUNNING:
        return colo_min_ms(silence_due_ms(s), ping_due_ms(s));
    case COLO_S_COLLECTING:
    case COLO_S_RECEIVING:
        return colo_min_ms(silence_due_ms(s), checkpoint_due_ms(s));
    default:
        return INT64_MAX;
    }
}

void colo_secondary_progress(ColoSecondary *s, int64_t now_ms)
{
    if (s->state == COLO_S_COLLECTING || s->state == COLO_S_RECEIVING ||
        s->state == COLO_S_FAILING) {
        s->rx_ms = now_ms;
    }
}

void colo_secondary_init(ColoSecondary *s, const ColoLimits *limits)
{
    *s = (ColoSecondary) { .state = COLO_S_OFF, .limits = *limits };
}

/* A shorter limit counts from now on: it must not condemn the past. */
void colo_secondary_set_limits(ColoSecondary *s, const ColoLimits *limits)
{
    s->limits = *limits;
    s->limits_changed = true;
}
