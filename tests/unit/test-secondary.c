/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The secondary's machine: scripts for each way through it, and every state
 * with every event for what must hold always. Names and remedies as well.
 */
#include <string.h>
#include "machine-text.h"

static const ColoLimits limits = {
    .step_limit_ms = 100,
    .checkpoint_limit_ms = 350,
    .heartbeat_ms = 20,
    .checkpoint_delay_ms = 1000,
};

static void run_script(ColoSecondary *s, const ScriptStep *steps,
                       unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        ColoActions acts;
        g_autofree char *text = NULL;

        colo_secondary_step(s, &steps[i].event, steps[i].at_ms, &acts);
        check_list(&acts);
        text = text_actions(&acts);
        g_test_message("%u: %s -> %s: %s", i,
                       colo_event_name(steps[i].event.type),
                       colo_secondary_state_name(s->state), text);
        g_assert_cmpstr(text, ==, steps[i].actions);
        g_assert_cmpstr(colo_secondary_state_name(s->state), ==,
                        colo_secondary_state_name(steps[i].state));
    }
}

#define RUN(s, ...)                                                \
    do {                                                           \
        const ScriptStep steps[] = { __VA_ARGS__ };                \
        run_script(s, steps, G_N_ELEMENTS(steps));                 \
    } while (0)

static void protect(ColoSecondary *s)
{
    colo_secondary_init(s, &limits);
    RUN(s,
        { 10, EV(START), COLO_S_WAITING, "status" },
        { 20, MSG(HELLO, 0), COLO_S_BEGINNING, "begin" },
        { 30, EV(LOCAL_OK), COLO_S_READY, "READY" },
        { 40, MSG(START, 1), COLO_S_RUNNING, "guest-run status" });
}

static void checkpoint_to_applying(ColoSecondary *s)
{
    protect(s);
    RUN(s,
        { 50, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 51, EV(LOCAL_OK), COLO_S_RECEIVING, "REPLY(2)" },
        { 52, MSG(STATE, 2), COLO_S_RECEIVING, "" },
        { 53, MSG(PAGES, 2), COLO_S_RECEIVING, "" },
        { 54, MSG(DEVICE, 2), COLO_S_RECEIVING, "" },
        { 55, MSG(END, 2), COLO_S_APPLYING, "RECEIVED(2) apply(2)" });
}

static void test_cycle(void)
{
    ColoSecondary s;

    checkpoint_to_applying(&s);
    g_assert_cmpuint(s.epoch, ==, 1);
    RUN(&s, { 60, EV(LOCAL_OK), COLO_S_RUNNING, "LOADED(2) guest-run" });
    g_assert_cmpuint(s.epoch, ==, 2);
}

static void test_heartbeat(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s, { 60, MSG(PING, 0), COLO_S_RUNNING, "PONG" });
    g_assert_cmpint(colo_secondary_deadline(&s), ==, 110);
    /* nothing for half of the limit: ask once, then give up */
    RUN(&s, { 110, EV(TICK), COLO_S_RUNNING, "PING" });
    g_assert_cmpint(colo_secondary_deadline(&s), ==, 160);
    RUN(&s,
        { 130, EV(TICK), COLO_S_RUNNING, "" },
        { 140, MSG(PONG, 0), COLO_S_RUNNING, "" },
        { 190, EV(TICK), COLO_S_RUNNING, "PING" },
        { 240, EV(TICK), COLO_S_LOST,
          "guest-stop close exit-event(peer-silent) status" });
    g_assert_cmpint(colo_secondary_deadline(&s), ==, INT64_MAX);
}

static void test_limits_of_waits(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s,
        { 50, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 51, EV(LOCAL_OK), COLO_S_RECEIVING, "REPLY(2)" });
    g_assert_cmpint(colo_secondary_deadline(&s), ==, 151);
    colo_secondary_progress(&s, 140);
    g_assert_cmpint(colo_secondary_deadline(&s), ==, 240);
    colo_secondary_progress(&s, 239);
    RUN(&s, { 300, MSG(PAGES, 2), COLO_S_RECEIVING, "" });
    g_assert_cmpint(colo_secondary_deadline(&s), ==, 400);
    RUN(&s,
        { 399, EV(TICK), COLO_S_RECEIVING, "" },
        { 400, EV(TICK), COLO_S_LOST,
          "discard close exit-event(peer-slow) status" });
}

/* The primary's heartbeat may be longer than the new limit: ask, not judge. */
static void test_set_limits(void)
{
    ColoLimits tight = limits;
    ColoSecondary s;

    protect(&s);
    tight.step_limit_ms = 10;
    colo_secondary_set_limits(&s, &tight);
    RUN(&s, { 90, EV(TICK), COLO_S_RUNNING, "" });
    g_assert_cmpint(colo_secondary_deadline(&s), ==, 95);
    RUN(&s,
        { 95, EV(TICK), COLO_S_RUNNING, "PING" },
        { 96, MSG(PONG, 0), COLO_S_RUNNING, "" },
        { 101, EV(TICK), COLO_S_RUNNING, "PING" },
        { 106, EV(TICK), COLO_S_LOST,
          "guest-stop close exit-event(peer-silent) status" });
}

static void test_lost_then_failover(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s,
        { 50, LOST_BY(PEER_CLOSED), COLO_S_LOST,
          "guest-stop close exit-event(peer-closed) status" },
        { 51, EV(TICK), COLO_S_LOST, "" },
        { 60, EV(FAILOVER), COLO_S_TAKEN_OVER,
          "take-over guest-run exit-event(requested) status" },
        { 61, EV(QUIT), COLO_S_TAKEN_OVER, "" });
    g_assert_cmpint(s.cause, ==, COLO_CAUSE_PEER_CLOSED);
}

static void test_failover_at_once(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s, { 50, EV(FAILOVER), COLO_S_TAKEN_OVER,
              "guest-stop close take-over guest-run exit-event(requested) "
              "status" });
    protect(&s);
    RUN(&s,
        { 50, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 51, EV(LOCAL_OK), COLO_S_RECEIVING, "REPLY(2)" },
        { 52, EV(FAILOVER), COLO_S_TAKEN_OVER,
          "discard close take-over guest-run exit-event(requested) "
          "status" });
    g_assert_cmpuint(s.epoch, ==, 1);
}

/* DESIGN section 3: asked while it applies, after the end of the apply. */
static void test_failover_in_apply(void)
{
    ColoSecondary s;

    checkpoint_to_applying(&s);
    RUN(&s,
        { 56, EV(FAILOVER), COLO_S_APPLYING, "" },
        { 60, EV(LOCAL_OK), COLO_S_TAKEN_OVER,
          "discard close take-over guest-run exit-event(requested) "
          "status" });
    g_assert_cmpuint(s.epoch, ==, 2);

    checkpoint_to_applying(&s);
    RUN(&s,
        { 56, EV(FAILOVER), COLO_S_APPLYING, "" },
        { 60, EV(LOCAL_FAILED), COLO_S_TAKEN_OVER,
          "discard close take-over guest-run exit-event(requested) "
          "status" });
    g_assert_cmpuint(s.epoch, ==, 1);

    checkpoint_to_applying(&s);
    RUN(&s,
        { 56, EV(FAILOVER), COLO_S_APPLYING, "" },
        { 60, EV(LOCAL_BROKEN), COLO_S_DEAD,
          "FAILED(2,apply-broken) discard close exit-event(apply-broken) "
          "status" },
        { 61, EV(FAILOVER), COLO_S_DEAD, "" });
}

static void test_lost_in_apply(void)
{
    ColoSecondary s;

    checkpoint_to_applying(&s);
    RUN(&s,
        { 56, LOST_BY(PEER_CLOSED), COLO_S_APPLYING, "" },
        { 60, EV(LOCAL_OK), COLO_S_LOST,
          "discard close exit-event(peer-closed) status" });
    g_assert_cmpuint(s.epoch, ==, 2);

    checkpoint_to_applying(&s);
    RUN(&s,
        { 56, LOST_BY(GARBAGE), COLO_S_APPLYING, "" },
        { 57, EV(FAILOVER), COLO_S_APPLYING, "" },
        { 60, EV(LOCAL_FAILED), COLO_S_TAKEN_OVER,
          "discard close take-over guest-run exit-event(requested) "
          "status" });
    g_assert_cmpuint(s.epoch, ==, 1);

    checkpoint_to_applying(&s);
    RUN(&s,
        { 56, LOST_BY(PEER_CLOSED), COLO_S_APPLYING, "" },
        { 60, EV(LOCAL_BROKEN), COLO_S_DEAD,
          "discard close exit-event(apply-broken) status" });
}

/* Found by the simulator: the limit came before the result. */
static void test_failover_in_collect(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s,
        { 50, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 60, EV(FAILOVER), COLO_S_COLLECTING, "" },
        { 61, EV(TICK), COLO_S_COLLECTING, "" },
        { 150, EV(TICK), COLO_S_TAKEN_OVER,
          "discard close take-over guest-run exit-event(requested) "
          "status" },
        { 151, EV(LOCAL_OK), COLO_S_TAKEN_OVER, "" });

    protect(&s);
    RUN(&s,
        { 50, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 60, LOST_BY(PEER_CLOSED), COLO_S_LOST,
          "discard close exit-event(peer-closed) status" });
}

static void test_failing(void)
{
    ColoSecondary s;

    checkpoint_to_applying(&s);
    RUN(&s,
        { 60, EV(LOCAL_FAILED), COLO_S_FAILING,
          "discard FAILED(2,apply-failed) status" },
        { 61, MSG(PING, 0), COLO_S_FAILING, "" },
        { 62, MSG_CAUSE(GOODBYE, 0, APPLY_FAILED), COLO_S_DEAD,
          "GOODBYE(apply-failed) close exit-event(apply-failed) status" });

    /* the primary may have died: still promotable */
    checkpoint_to_applying(&s);
    RUN(&s,
        { 60, EV(LOCAL_FAILED), COLO_S_FAILING,
          "discard FAILED(2,apply-failed) status" },
        { 160, EV(TICK), COLO_S_LOST,
          "close exit-event(apply-failed) status" },
        { 161, EV(FAILOVER), COLO_S_TAKEN_OVER,
          "take-over guest-run exit-event(requested) status" });

    /* the primary quit without releasing anything: ditto */
    checkpoint_to_applying(&s);
    RUN(&s,
        { 60, EV(LOCAL_FAILED), COLO_S_FAILING,
          "discard FAILED(2,apply-failed) status" },
        { 61, MSG_CAUSE(GOODBYE, 0, PEER_QUIT), COLO_S_LOST,
          "close exit-event(apply-failed) status" });
}

static void test_state_bad(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s,
        { 50, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 51, EV(LOCAL_OK), COLO_S_RECEIVING, "REPLY(2)" },
        { 52, MSG(STATE, 2), COLO_S_RECEIVING, "" },
        { 53, EV(STATE_BAD), COLO_S_FAILING,
          "discard FAILED(2,garbage) status" },
        /* the rest of it is on its way */
        { 54, MSG(PAGES, 2), COLO_S_FAILING, "" },
        { 55, MSG(DEVICE, 2), COLO_S_FAILING, "" },
        { 56, MSG(END, 2), COLO_S_FAILING, "" },
        { 57, MSG_CAUSE(GOODBYE, 0, APPLY_FAILED), COLO_S_DEAD,
          "GOODBYE(apply-failed) close exit-event(garbage) status" });
}

static void test_collect_fails(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s,
        { 50, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 51, EV(LOCAL_FAILED), COLO_S_FAILING,
          "discard FAILED(2,local) status" });
}

static void test_before_start(void)
{
    ColoSecondary s;

    colo_secondary_init(&s, &limits);
    RUN(&s,
        { 10, EV(START), COLO_S_WAITING, "status" },
        { 20, MSG(HELLO, 0), COLO_S_BEGINNING, "begin" },
        { 30, EV(LOCAL_FAILED), COLO_S_DEAD,
          "REFUSE(local) close exit-event(local) status" });

    colo_secondary_init(&s, &limits);
    RUN(&s,
        { 10, EV(START), COLO_S_WAITING, "status" },
        { 20, MSG(HELLO, 0), COLO_S_BEGINNING, "begin" },
        { 30, EV(LOCAL_OK), COLO_S_READY, "READY" },
        { 31, EV(FAILOVER), COLO_S_READY, "" },
        { 130, EV(TICK), COLO_S_DEAD,
          "close exit-event(peer-silent) status" },
        { 131, EV(FAILOVER), COLO_S_DEAD, "" });
}

static void test_goodbye(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s, { 50, MSG_CAUSE(GOODBYE, 0, GUEST_SHUTDOWN), COLO_S_DEAD,
              "GOODBYE(guest-shutdown) guest-stop close guest-shutdown "
              "exit-event(guest-shutdown) status" });
    protect(&s);
    RUN(&s, { 50, MSG_CAUSE(GOODBYE, 0, LOCAL), COLO_S_DEAD,
              "GOODBYE(local) guest-stop close exit-event(peer-alone) "
              "status" });
    protect(&s);
    RUN(&s, { 50, MSG_CAUSE(GOODBYE, 0, PEER_QUIT), COLO_S_LOST,
              "guest-stop close exit-event(peer-quit) status" });
}

static void test_quit(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s, { 50, EV(QUIT), COLO_S_DEAD,
              "GOODBYE(peer-quit) guest-stop close status" });
    checkpoint_to_applying(&s);
    RUN(&s,
        { 56, EV(QUIT), COLO_S_APPLYING, "" },
        { 60, EV(LOCAL_OK), COLO_S_DEAD,
          "GOODBYE(peer-quit) discard close status" });
}

/* Found by the simulator: nothing may follow half a frame. */
static void test_torn_frame(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s,
        { 50, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 60, EV(QUIT), COLO_S_COLLECTING, "" },
        { 150, EV(TICK), COLO_S_DEAD, "discard close status" });
    protect(&s);
    RUN(&s,
        { 50, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 60, MSG_CAUSE(GOODBYE, 0, REQUESTED), COLO_S_COLLECTING, "" },
        { 61, LOST_BY(PEER_CLOSED), COLO_S_DEAD,
          "discard close exit-event(peer-alone) status" });
}

/* Offers come while both guests run, and never behind a REQUEST. */
static void test_offers(void)
{
    ColoSecondary s;

    protect(&s);
    RUN(&s,
        { 45, MSG(OFFER, 0), COLO_S_RUNNING, "" },
        { 60, MSG(OFFER, 1), COLO_S_RUNNING, "" });
    /* a sign of life like any other */
    g_assert_cmpint(colo_secondary_deadline(&s), ==, 110);
    RUN(&s,
        { 70, MSG(REQUEST, 2), COLO_S_COLLECTING, "guest-stop collect(2)" },
        { 71, MSG(OFFER, 0), COLO_S_COLLECTING, "" },
        { 72, EV(LOCAL_OK), COLO_S_LOST,
          "discard close exit-event(protocol) status" });
    checkpoint_to_applying(&s);
    RUN(&s,
        { 56, EV(LOCAL_OK), COLO_S_RUNNING, "LOADED(2) guest-run" },
        { 57, MSG(OFFER, 0), COLO_S_RUNNING, "" });
}

/* ------------------------------------- every state with every event */

static void put_in(ColoSecondary *s, ColoSecondaryState state,
                   unsigned pending)
{
    colo_secondary_init(s, &limits);
    s->state = state;
    s->epoch = state >= COLO_S_RUNNING ? 7 : 0;
    s->pending_epoch = state >= COLO_S_COLLECTING ? 8 : 0;
    s->rx_ms = s->tx_ms = s->started_ms = 1000;
    s->failover_pending = pending & 1;
    s->quit_pending = pending & 2;
    s->lost_pending = pending & 4;
    s->goodbye_pending = (pending & 8) && !s->lost_pending;
    if (pending & 12) {
        s->pending_cause = COLO_CAUSE_PEER_CLOSED;
    }
}

static bool is_final(ColoSecondaryState state)
{
    return state == COLO_S_TAKEN_OVER || state == COLO_S_DEAD;
}

static bool is_local(ColoSecondaryState state)
{
    return state == COLO_S_BEGINNING || state == COLO_S_COLLECTING ||
           state == COLO_S_APPLYING;
}

static bool is_claimed(ColoSecondaryState state)
{
    return state >= COLO_S_RUNNING && state <= COLO_S_LOST;
}

static void check_step(ColoSecondaryState before, unsigned pending,
                       const ColoSecondary *s, const ColoEvent *ev,
                       const ColoActions *acts)
{
    bool promoted = s->state == COLO_S_TAKEN_OVER &&
                    before != COLO_S_TAKEN_OVER;
    bool open = before != COLO_S_OFF && before != COLO_S_LOST &&
                !is_final(before);

    check_list(acts);
    g_assert_true(!is_final(before) ||
                  (s->state == before && acts->count == 0));
    g_assert_true(open || !actions_count(acts, COLO_ACT_SEND));
    g_assert_cmpuint(actions_count(acts, COLO_ACT_TAKE_OVER), ==, promoted);
    if (promoted) {
        g_assert_true(is_claimed(before));
        g_assert_true(ev->type == COLO_EV_FAILOVER || (pending & 1));
    }
    if (before == COLO_S_APPLYING && s->state != before) {
        g_assert_true(ev->type == COLO_EV_LOCAL_OK ||
                      ev->type == COLO_EV_LOCAL_FAILED ||
                      ev->type == COLO_EV_LOCAL_BROKEN);
    }
    g_assert_true(!actions_count(acts, COLO_ACT_APPLY) ||
                  (ev->type == COLO_EV_MESSAGE && ev->msg == COLO_MSG_END));
    if (s->state != before && open &&
        (is_final(s->state) || s->state == COLO_S_LOST)) {
        g_assert_cmpuint(actions_count(acts, COLO_ACT_CLOSE), ==, 1);
        g_assert_cmpuint(actions_count(acts, COLO_ACT_STATUS), ==, 1);
    }
    if (before == COLO_S_RUNNING && s->state != before) {
        g_assert_cmpuint(actions_count(acts, COLO_ACT_GUEST_STOP), ==, 1);
    }
}

static void check_deadline(const ColoSecondary *s)
{
    bool waits = s->state != COLO_S_OFF && s->state != COLO_S_LOST &&
                 s->state != COLO_S_BEGINNING &&
                 s->state != COLO_S_APPLYING && !is_final(s->state);

    g_assert_cmpint(colo_secondary_deadline(s) != INT64_MAX, ==, waits);
}

static void try_event(ColoSecondaryState state, unsigned pending,
                      const ColoEvent *ev, int64_t now_ms)
{
    ColoSecondary s;
    ColoActions acts;

    put_in(&s, state, pending);
    colo_secondary_step(&s, ev, now_ms, &acts);
    check_step(state, pending, &s, ev, &acts);
    check_deadline(&s);
}

static void test_every_event(void)
{
    for (int state = 0; state < COLO_S__MAX; state++) {
        unsigned pendings = is_local(state) ? 16 : 1;

        for (unsigned pending = 0; pending < pendings; pending++) {
            for (int type = 0; type < COLO_EV__MAX; type++) {
                ColoEvent ev = { .type = type };

                if (type != COLO_EV_MESSAGE) {
                    try_event(state, pending, &ev, 1001);
                    try_event(state, pending, &ev, 1000000);
                }
            }
        }
    }
}

static bool in_turn(ColoSecondaryState state, ColoMsgType msg,
                    uint64_t epoch)
{
    switch (msg) {
    case COLO_MSG_PING:
    case COLO_MSG_PONG:
    case COLO_MSG_GOODBYE:
        return true;
    case COLO_MSG_HELLO:
        return state == COLO_S_WAITING && epoch == 0;
    case COLO_MSG_START:
        return state == COLO_S_READY && epoch == 1;
    case COLO_MSG_REQUEST:
        return state == COLO_S_RUNNING && epoch == 8;
    case COLO_MSG_OFFER:
        return state == COLO_S_RUNNING;
    case COLO_MSG_STATE:
    case COLO_MSG_PAGES:
    case COLO_MSG_DEVICE:
    case COLO_MSG_END:
        return epoch == 8 && (state == COLO_S_RECEIVING ||
                              state == COLO_S_FAILING);
    default:
        return false;
    }
}

static void check_out_of_turn(ColoSecondaryState state, const ColoEvent *ev)
{
    ColoSecondary s;
    ColoActions acts;

    put_in(&s, state, 0);
    s.cause = COLO_CAUSE_PROTOCOL;      /* FAILING keeps its own */
    colo_secondary_step(&s, ev, 1001, &acts);
    if (is_local(state)) {
        g_assert_cmpint(s.state, ==, state);
        g_assert_true(s.lost_pending);
        g_assert_cmpint(s.pending_cause, ==, COLO_CAUSE_PROTOCOL);
    } else {
        g_assert_cmpint(s.state, ==,
                        is_claimed(state) ? COLO_S_LOST : COLO_S_DEAD);
        g_assert_cmpint(s.cause, ==, COLO_CAUSE_PROTOCOL);
    }
}

static void test_every_message(void)
{
    for (int state = 0; state < COLO_S__MAX; state++) {
        for (int msg = 0; msg < COLO_MSG__MAX + 2; msg++) {
            for (uint64_t epoch = 0; epoch < 12; epoch++) {
                for (uint32_t arg = 0; arg < COLO_CAUSE__MAX + 2; arg++) {
                    ColoEvent ev = {
                        .type = COLO_EV_MESSAGE, .msg = msg,
                        .epoch = epoch, .arg = arg,
                    };

                    try_event(state, 0, &ev, 1001);
                    if (state != COLO_S_OFF && state < COLO_S_LOST &&
                        !in_turn(state, msg, epoch)) {
                        check_out_of_turn(state, &ev);
                    }
                }
            }
        }
    }
}

/* ------------------------------------------------------------- names */

static void test_names(void)
{
    for (int i = 0; i < COLO_P__MAX; i++) {
        g_assert_cmpstr(colo_primary_state_name(i), !=, "unknown");
    }
    for (int i = 0; i < COLO_S__MAX; i++) {
        g_assert_cmpstr(colo_secondary_state_name(i), !=, "unknown");
    }
    for (int i = 0; i < COLO_EV__MAX; i++) {
        g_assert_cmpstr(colo_event_name(i), !=, "unknown");
    }
    for (int i = 0; i < COLO_ACT__MAX; i++) {
        g_assert_cmpstr(colo_action_name(i), !=, "unknown");
    }
    for (int i = 0; i < COLO_CAUSE__MAX; i++) {
        g_assert_cmpstr(colo_cause_name(i), !=, "unknown");
    }
    for (int i = 0; i < COLO_NET__MAX; i++) {
        g_assert_cmpstr(colo_net_mode_name(i), !=, "unknown");
    }
    g_assert_cmpstr(colo_net_mode_name(COLO_NET__MAX), ==, "unknown");
    g_assert_cmpstr(colo_primary_state_name(COLO_P__MAX), ==, "unknown");
    g_assert_cmpstr(colo_cause_name(COLO_CAUSE__MAX), ==, "unknown");
}

static void test_remedies(void)
{
    g_assert_cmpstr(colo_cause_remedy(COLO_CAUSE_NONE, true, true), ==, "");
    g_assert_cmpstr(colo_cause_remedy(COLO_CAUSE__MAX, true, true), ==, "");
    for (int cause = COLO_CAUSE_NONE + 1; cause < COLO_CAUSE__MAX; cause++) {
        for (int i = 0; i < 4; i++) {
            const char *text = colo_cause_remedy(cause, i & 1, i & 2);

            g_assert_cmpuint(strlen(text), >, 20);
            g_assert_cmpint(text[strlen(text) - 1], ==, '.');
            g_assert_cmpint(!!strstr(text, "x-colo-lost-heartbeat"), ==,
                            !(i & 2));
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/secondary/cycle", test_cycle);
    g_test_add_func("/secondary/heartbeat", test_heartbeat);
    g_test_add_func("/secondary/limits-of-waits", test_limits_of_waits);
    g_test_add_func("/secondary/set-limits", test_set_limits);
    g_test_add_func("/secondary/lost-then-failover",
                    test_lost_then_failover);
    g_test_add_func("/secondary/failover-at-once", test_failover_at_once);
    g_test_add_func("/secondary/failover-in-apply", test_failover_in_apply);
    g_test_add_func("/secondary/lost-in-apply", test_lost_in_apply);
    g_test_add_func("/secondary/failover-in-collect",
                    test_failover_in_collect);
    g_test_add_func("/secondary/failing", test_failing);
    g_test_add_func("/secondary/state-bad", test_state_bad);
    g_test_add_func("/secondary/collect-fails", test_collect_fails);
    g_test_add_func("/secondary/before-start", test_before_start);
    g_test_add_func("/secondary/goodbye", test_goodbye);
    g_test_add_func("/secondary/quit", test_quit);
    g_test_add_func("/secondary/torn-frame", test_torn_frame);
    g_test_add_func("/secondary/offers", test_offers);
    g_test_add_func("/secondary/every-event", test_every_event);
    g_test_add_func("/secondary/every-message", test_every_message);
    g_test_add_func("/names/all", test_names);
    g_test_add_func("/names/remedies", test_remedies);
    return g_test_run();
}
