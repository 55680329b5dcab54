/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The primary's machine: scripts for each way through it, and every state
 * with every event for what must hold always.
 */
#include "machine-text.h"

static const ColoLimits limits = {
    .step_limit_ms = 100,
    .checkpoint_limit_ms = 350,
    .heartbeat_ms = 20,
    .checkpoint_delay_ms = 1000,
    .min_gap_ms = 5,
};

static void run_script(ColoPrimary *p, const ScriptStep *steps,
                       unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        ColoActions acts;
        g_autofree char *text = NULL;

        colo_primary_step(p, &steps[i].event, steps[i].at_ms, &acts);
        check_list(&acts);
        text = text_actions(&acts);
        g_test_message("%u: %s -> %s: %s", i,
                       colo_event_name(steps[i].event.type),
                       colo_primary_state_name(p->state), text);
        g_assert_cmpstr(text, ==, steps[i].actions);
        g_assert_cmpstr(colo_primary_state_name(p->state), ==,
                        colo_primary_state_name(steps[i].state));
    }
}

#define RUN(p, ...)                                                \
    do {                                                           \
        const ScriptStep steps[] = { __VA_ARGS__ };                \
        run_script(p, steps, G_N_ELEMENTS(steps));                 \
    } while (0)

static void protect(ColoPrimary *p)
{
    colo_primary_init(p, &limits);
    RUN(p,
        { 10, EV(START), COLO_P_HELLO, "HELLO status" },
        { 20, MSG(READY, 0), COLO_P_BEGINNING, "begin" },
        { 30, EV(LOCAL_OK), COLO_P_RUNNING, "START(1) guest-run status" });
}

/* Up to the state in which the secondary applies checkpoint 2. */
static void checkpoint_to_committing(ColoPrimary *p)
{
    protect(p);
    RUN(p,
        { 40, WANT(MISMATCH), COLO_P_REQUESTED, "REQUEST(2,mismatch)" },
        { 41, MSG(DIRTY, 2), COLO_P_REQUESTED, "" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" },
        { 43, EV(LOCAL_OK), COLO_P_SENDING, "send-state(2)" },
        { 44, EV(LOCAL_OK), COLO_P_SENT, "" },
        { 45, MSG(RECEIVED, 2), COLO_P_COMMITTING, "" });
}

static void test_cycle(void)
{
    ColoPrimary p;

    checkpoint_to_committing(&p);
    RUN(&p, { 46, MSG(LOADED, 2), COLO_P_RUNNING,
              "release-output(2) guest-run" });
    g_assert_cmpuint(p.epoch, ==, 2);
    g_assert_cmpuint(p.policy.taken[COLO_REASON_MISMATCH], ==, 1);
    g_assert_cmpint(p.cause, ==, COLO_CAUSE_NONE);
}

static void test_policy(void)
{
    ColoPrimary p;

    checkpoint_to_committing(&p);
    /* asked after the cut: next checkpoint, not before the gap */
    RUN(&p,
        { 46, WANT(USER), COLO_P_COMMITTING, "" },
        { 50, MSG(LOADED, 2), COLO_P_RUNNING, "release-output(2) guest-run" },
        { 51, WANT(TIMEOUT), COLO_P_RUNNING, "" });
    g_assert_cmpint(colo_primary_deadline(&p), ==, 55);
    RUN(&p, { 55, EV(TICK), COLO_P_REQUESTED, "REQUEST(3,user)" });

    /* asked before the cut: served by the one in progress */
    protect(&p);
    RUN(&p,
        { 40, WANT(MISMATCH), COLO_P_REQUESTED, "REQUEST(2,mismatch)" },
        { 41, WANT(TIMEOUT), COLO_P_REQUESTED, "" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" },
        { 42, WANT(QUEUE_FULL), COLO_P_CAPTURING, "" },
        { 43, EV(LOCAL_OK), COLO_P_SENDING, "send-state(2)" });
    g_assert_false(p.policy.pending);
}

/* One checkpoint of 6 ms; @loaded: what LOADED makes the primary do. */
static void checkpoint(ColoPrimary *p, int64_t at_ms, ColoEvent begin,
                       const char *request, const char *loaded)
{
    uint64_t next = p->epoch + 1;
    g_autofree char *cut = g_strdup_printf("guest-stop capture(%u)",
                                           (unsigned)next);
    g_autofree char *send = g_strdup_printf("send-state(%u)",
                                            (unsigned)next);

    RUN(p,
        { at_ms, begin, COLO_P_REQUESTED, request },
        { at_ms + 1, MSG(REPLY, next), COLO_P_CAPTURING, cut },
        { at_ms + 2, EV(LOCAL_OK), COLO_P_SENDING, send },
        { at_ms + 3, EV(LOCAL_OK), COLO_P_SENT, "" },
        { at_ms + 4, MSG(RECEIVED, next), COLO_P_COMMITTING, "" },
        { at_ms + 6, MSG(LOADED, next), COLO_P_RUNNING, loaded });
}

static void protect_in_storm(ColoPrimary *p)
{
    const ColoEvent differs = WANT(MISMATCH);
    ColoLimits stormy = limits;

    protect(p);
    stormy.mismatch_gap_ms = 10;
    stormy.hybrid_enter_count = 2;
    stormy.hybrid_window_ms = 100;
    stormy.hybrid_interval_ms = 15;
    stormy.hybrid_exit_count = 2;
    colo_primary_set_limits(p, &stormy, 30);
    RUN(p, { 34, WANT(QUEUE_FULL), COLO_P_RUNNING, "" });
    g_assert_cmpint(colo_primary_deadline(p), ==, 40);
    checkpoint(p, 40, differs, "REQUEST(2,queue-full)",
               "release-output(2) guest-run");
    checkpoint(p, 60, differs, "REQUEST(3,mismatch)",
               "release-output(3) net-mode(buffer) guest-run");
    g_assert_true(p->policy.hybrid);
}

/* Told when a storm begins and when it is over, and at no other time. */
static void test_hybrid(void)
{
    const ColoEvent tick = EV(TICK);
    ColoPrimary p;

    protect_in_storm(&p);
    g_assert_cmpint(colo_primary_deadline(&p), ==, 81);
    RUN(&p, { 70, WANT(MISMATCH), COLO_P_RUNNING, "" });
    g_assert_cmpint(colo_primary_deadline(&p), ==, 81);
    checkpoint(&p, 81, tick, "REQUEST(4,mismatch)",
               "release-output(4) guest-run");
    checkpoint(&p, 102, tick, "REQUEST(5,periodic)",
               "release-output(5) guest-run");
    checkpoint(&p, 123, tick, "REQUEST(6,periodic)",
               "release-output(6) net-mode(match) guest-run");
    g_assert_false(p.policy.hybrid);
    g_assert_cmpint(p.net_mode, ==, COLO_NET_MATCH);
    RUN(&p, { 140, WANT(USER), COLO_P_REQUESTED, "REQUEST(7,user)" });
}

/* A survivor is in no mode; one that was lost still holds everything. */
static void test_hybrid_ends_with_protection(void)
{
    ColoPrimary p;

    protect_in_storm(&p);
    RUN(&p, { 70, LOST_BY(PEER_CLOSED), COLO_P_LOST,
              "close exit-event(peer-closed) status" });
    g_assert_true(p.policy.hybrid);
    RUN(&p, { 90, EV(FAILOVER), COLO_P_ALONE,
              "release-all go-alone guest-run exit-event(requested) "
              "status" });
    g_assert_false(p.policy.hybrid);
}

static void test_heartbeat(void)
{
    ColoPrimary p;

    protect(&p);
    g_assert_cmpint(colo_primary_deadline(&p), ==, 50);
    RUN(&p,
        { 49, EV(TICK), COLO_P_RUNNING, "" },
        { 50, EV(TICK), COLO_P_RUNNING, "PING" });
    g_assert_cmpint(colo_primary_deadline(&p), ==, 70);
    RUN(&p,
        { 52, MSG(PONG, 0), COLO_P_RUNNING, "" },
        { 70, EV(TICK), COLO_P_RUNNING, "PING" },
        { 80, MSG(PING, 0), COLO_P_RUNNING, "PONG" },
        { 100, EV(TICK), COLO_P_RUNNING, "PING" },
        { 179, EV(TICK), COLO_P_RUNNING, "PING" },
        { 180, EV(TICK), COLO_P_LOST,
          "close exit-event(peer-silent) status" });
    g_assert_cmpint(colo_primary_deadline(&p), ==, INT64_MAX);
}

/* A heartbeat longer than the step limit allows would be no heartbeat. */
static void test_heartbeat_bounded(void)
{
    ColoLimits slow = limits;
    ColoPrimary p;

    protect(&p);
    slow.heartbeat_ms = 100000;
    colo_primary_set_limits(&p, &slow, 30);
    g_assert_cmpint(colo_primary_deadline(&p), ==, 80);
}

static void test_set_limits(void)
{
    ColoLimits tight = limits;
    ColoPrimary p;

    checkpoint_to_committing(&p);
    tight.step_limit_ms = 10;
    colo_primary_set_limits(&p, &tight, 90);
    RUN(&p,
        { 90, EV(TICK), COLO_P_COMMITTING, "" },
        { 100, EV(TICK), COLO_P_LOST,
          "guest-run close exit-event(peer-silent) status" });
}

static void test_limits_of_waits(void)
{
    ColoPrimary p;

    checkpoint_to_committing(&p);
    g_assert_cmpint(colo_primary_deadline(&p), ==, 145);
    /* a peer that is alive but does not get done */
    for (int64_t at_ms = 60; at_ms < 390; at_ms += 50) {
        RUN(&p, { at_ms, MSG(PONG, 0), COLO_P_COMMITTING, "" },
                { at_ms, EV(TICK), COLO_P_COMMITTING, "" });
    }
    g_assert_cmpint(colo_primary_deadline(&p), ==, 390);
    RUN(&p, { 390, EV(TICK), COLO_P_LOST,
              "guest-run close exit-event(peer-slow) status" });
}

static void test_sending_limits(void)
{
    ColoPrimary p;

    protect(&p);
    RUN(&p,
        { 40, WANT(USER), COLO_P_REQUESTED, "REQUEST(2,user)" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" });
    g_assert_cmpint(colo_primary_deadline(&p), ==, INT64_MAX);
    RUN(&p, { 43, EV(LOCAL_OK), COLO_P_SENDING, "send-state(2)" });
    g_assert_cmpint(colo_primary_deadline(&p), ==, 143);
    colo_primary_progress(&p, 140);
    g_assert_cmpint(colo_primary_deadline(&p), ==, 240);
    RUN(&p,
        { 143, EV(TICK), COLO_P_SENDING, "" },
        { 240, EV(TICK), COLO_P_LOST,
          "guest-run close exit-event(peer-silent) status" },
        /* the result that comes late says nothing */
        { 241, EV(LOCAL_OK), COLO_P_LOST, "" });
}

static void test_lost_then_failover(void)
{
    ColoPrimary p;

    checkpoint_to_committing(&p);
    RUN(&p,
        { 50, LOST_BY(PEER_CLOSED), COLO_P_LOST,
          "guest-run close exit-event(peer-closed) status" },
        { 60, EV(TICK), COLO_P_LOST, "" },
        { 61, WANT(USER), COLO_P_LOST, "" },
        { 62, MSG(LOADED, 2), COLO_P_LOST, "" },
        { 70, EV(FAILOVER), COLO_P_ALONE,
          "release-all go-alone guest-run exit-event(requested) status" },
        { 71, EV(FAILOVER), COLO_P_ALONE, "" },
        { 72, EV(QUIT), COLO_P_ALONE, "" });
    g_assert_cmpint(p.cause, ==, COLO_CAUSE_PEER_CLOSED);
}

static void test_failover_healthy(void)
{
    ColoPrimary p;

    protect(&p);
    RUN(&p, { 40, EV(FAILOVER), COLO_P_ALONE,
              "release-all go-alone guest-run GOODBYE(requested) close "
              "exit-event(requested) status" });
}

static void test_failed_parts(void)
{
    ColoPrimary p;

    checkpoint_to_committing(&p);
    RUN(&p, { 50, MSG_CAUSE(FAILED, 2, APPLY_FAILED), COLO_P_PARTING,
              "GOODBYE(apply-failed) guest-run status" });
    g_assert_cmpint(colo_primary_deadline(&p), ==, 150);
    RUN(&p,
        { 51, MSG(PONG, 0), COLO_P_PARTING, "" },
        { 52, MSG_CAUSE(GOODBYE, 0, APPLY_FAILED), COLO_P_ALONE,
          "release-all go-alone guest-run close exit-event(apply-failed) "
          "status" });

    /* no confirmation: nobody knows what the secondary will do */
    checkpoint_to_committing(&p);
    RUN(&p,
        { 50, MSG_CAUSE(FAILED, 2, LOCAL), COLO_P_PARTING,
          "GOODBYE(apply-failed) guest-run status" },
        { 150, EV(TICK), COLO_P_LOST,
          "close exit-event(apply-failed) status" });

    /* a secondary without a whole state claims nothing */
    checkpoint_to_committing(&p);
    RUN(&p, { 50, MSG_CAUSE(FAILED, 2, APPLY_BROKEN), COLO_P_ALONE,
              "release-all go-alone guest-run close "
              "exit-event(apply-broken) status" });
}

static void test_before_start(void)
{
    ColoPrimary p;

    colo_primary_init(&p, &limits);
    RUN(&p,
        { 10, EV(START), COLO_P_HELLO, "HELLO status" },
        { 110, EV(TICK), COLO_P_ALONE,
          "release-all go-alone guest-run close exit-event(peer-silent) "
          "status" });

    colo_primary_init(&p, &limits);
    RUN(&p,
        { 10, EV(START), COLO_P_HELLO, "HELLO status" },
        { 11, MSG_CAUSE(REFUSE, 0, LOCAL), COLO_P_ALONE,
          "release-all go-alone guest-run close exit-event(refused) "
          "status" });

    colo_primary_init(&p, &limits);
    RUN(&p,
        { 10, EV(START), COLO_P_HELLO, "HELLO status" },
        { 11, MSG(READY, 0), COLO_P_BEGINNING, "begin" },
        { 12, EV(LOCAL_FAILED), COLO_P_ALONE,
          "release-all go-alone guest-run GOODBYE(local) close "
          "exit-event(local) status" });
}

static void test_capture_fails(void)
{
    ColoPrimary p;

    protect(&p);
    RUN(&p,
        { 40, WANT(DEVICE), COLO_P_REQUESTED, "REQUEST(2,device)" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" },
        { 43, EV(LOCAL_FAILED), COLO_P_PARTING,
          "GOODBYE(local) guest-run status" },
        { 44, LOST_BY(PEER_CLOSED), COLO_P_LOST,
          "close exit-event(local) status" });
}

static void test_guest_gone(void)
{
    ColoPrimary p;

    protect(&p);
    RUN(&p,
        { 40, EV(GUEST_GONE), COLO_P_PARTING,
          "GOODBYE(guest-shutdown) status" },
        { 41, MSG(DIRTY, 2), COLO_P_PARTING, "" },
        { 42, MSG_CAUSE(GOODBYE, 0, GUEST_SHUTDOWN), COLO_P_ALONE,
          "release-all go-alone guest-run close "
          "exit-event(guest-shutdown) status" });
}

static void test_quit(void)
{
    ColoPrimary p;

    protect(&p);
    RUN(&p, { 40, EV(QUIT), COLO_P_ENDED,
              "GOODBYE(peer-quit) close status" });
    checkpoint_to_committing(&p);
    RUN(&p,
        { 50, LOST_BY(GARBAGE), COLO_P_LOST,
          "guest-run close exit-event(garbage) status" },
        { 51, EV(QUIT), COLO_P_ENDED, "status" });
    checkpoint_to_committing(&p);
    RUN(&p, { 50, MSG_CAUSE(GOODBYE, 0, PEER_QUIT), COLO_P_ALONE,
              "release-all go-alone guest-run close exit-event(peer-quit) "
              "status" });
}

/* Orders and losses inside a local action come out at its result. */
static void test_remembered(void)
{
    ColoPrimary p;

    protect(&p);
    RUN(&p,
        { 40, WANT(USER), COLO_P_REQUESTED, "REQUEST(2,user)" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" },
        { 43, EV(FAILOVER), COLO_P_CAPTURING, "" },
        { 44, EV(LOCAL_OK), COLO_P_ALONE,
          "release-all go-alone guest-run GOODBYE(requested) close "
          "exit-event(requested) status" });

    protect(&p);
    RUN(&p,
        { 40, WANT(USER), COLO_P_REQUESTED, "REQUEST(2,user)" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" },
        { 43, LOST_BY(PEER_CLOSED), COLO_P_CAPTURING, "" },
        { 44, EV(LOCAL_OK), COLO_P_LOST,
          "guest-run close exit-event(peer-closed) status" });

    protect(&p);
    RUN(&p,
        { 40, WANT(USER), COLO_P_REQUESTED, "REQUEST(2,user)" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" },
        { 43, EV(LOCAL_OK), COLO_P_SENDING, "send-state(2)" },
        { 44, EV(FAILOVER), COLO_P_SENDING, "" },
        { 45, LOST_BY(PEER_CLOSED), COLO_P_ALONE,
          "release-all go-alone guest-run close exit-event(requested) "
          "status" });

    protect(&p);
    RUN(&p,
        { 40, WANT(USER), COLO_P_REQUESTED, "REQUEST(2,user)" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" },
        { 43, EV(LOCAL_OK), COLO_P_SENDING, "send-state(2)" },
        { 44, MSG_CAUSE(FAILED, 2, GARBAGE), COLO_P_SENDING, "" },
        { 45, EV(LOCAL_OK), COLO_P_PARTING,
          "GOODBYE(apply-failed) guest-run status" });
}

/* Answers to offers come until the REPLY, and while parting. */
static void test_answers(void)
{
    ColoPrimary p;

    protect(&p);
    RUN(&p,
        { 35, MSG(ANSWER, 0), COLO_P_RUNNING, "" },
        { 36, MSG(ANSWER, 1), COLO_P_RUNNING, "" },
        { 40, WANT(USER), COLO_P_REQUESTED, "REQUEST(2,user)" },
        { 60, MSG(ANSWER, 0), COLO_P_REQUESTED, "" });
    g_assert_cmpint(colo_primary_deadline(&p), ==, 160);
    RUN(&p,
        { 61, EV(GUEST_GONE), COLO_P_PARTING,
          "GOODBYE(guest-shutdown) status" },
        { 62, MSG(ANSWER, 0), COLO_P_PARTING, "" });
}

/* The writes of a guest that stands are no longer waiting for answers. */
static void test_answer_after_reply(void)
{
    ColoPrimary p;

    protect(&p);
    RUN(&p,
        { 40, WANT(USER), COLO_P_REQUESTED, "REQUEST(2,user)" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" },
        { 43, MSG(ANSWER, 0), COLO_P_CAPTURING, "" },
        { 44, EV(LOCAL_OK), COLO_P_LOST,
          "guest-run close exit-event(protocol) status" });
    checkpoint_to_committing(&p);
    RUN(&p, { 46, MSG(ANSWER, 0), COLO_P_LOST,
              "guest-run close exit-event(protocol) status" });
}

static void sending(ColoPrimary *p)
{
    protect(p);
    RUN(p,
        { 40, WANT(USER), COLO_P_REQUESTED, "REQUEST(2,user)" },
        { 42, MSG(REPLY, 2), COLO_P_CAPTURING, "guest-stop capture(2)" },
        { 43, EV(LOCAL_OK), COLO_P_SENDING, "send-state(2)" });
}

/* Found by the simulator: nothing may follow half a frame. */
static void test_torn_frame(void)
{
    ColoPrimary p;

    sending(&p);
    RUN(&p,
        { 50, EV(FAILOVER), COLO_P_SENDING, "" },
        { 143, EV(TICK), COLO_P_ALONE,
          "release-all go-alone guest-run close exit-event(requested) "
          "status" });
    sending(&p);
    RUN(&p,
        { 50, EV(QUIT), COLO_P_SENDING, "" },
        { 143, EV(TICK), COLO_P_ENDED, "close status" });
    sending(&p);
    RUN(&p,
        { 50, EV(GUEST_GONE), COLO_P_SENDING, "" },
        { 143, EV(TICK), COLO_P_LOST,
          "guest-run close exit-event(peer-silent) status" });
    sending(&p);
    RUN(&p,
        { 50, MSG_CAUSE(FAILED, 2, GARBAGE), COLO_P_SENDING, "" },
        { 150, EV(TICK), COLO_P_LOST,
          "guest-run close exit-event(apply-failed) status" });
    sending(&p);
    RUN(&p,
        { 50, MSG_CAUSE(GOODBYE, 0, PEER_QUIT), COLO_P_SENDING, "" },
        { 51, LOST_BY(PEER_CLOSED), COLO_P_ALONE,
          "release-all go-alone guest-run close exit-event(peer-quit) "
          "status" });
}

/* ------------------------------------- every state with every event */

static void put_in(ColoPrimary *p, ColoPrimaryState state, unsigned pending)
{
    colo_primary_init(p, &limits);
    p->state = state;
    p->epoch = state >= COLO_P_RUNNING ? 7 : 0;
    p->rx_ms = p->tx_ms = p->started_ms = 1000;
    colo_policy_end(&p->policy, 1000);
    p->policy.hybrid = true;    /* so that LOADED has to say it */
    p->failover_pending = pending & 1;
    p->quit_pending = pending & 2;
    p->gone_pending = pending & 4;
    if (pending & 8) {
        p->channel_lost = true;
        p->pending_cause = COLO_CAUSE_PEER_CLOSED;
    }
}

static bool is_final(ColoPrimaryState state)
{
    return state == COLO_P_ALONE || state == COLO_P_ENDED;
}

static bool is_local(ColoPrimaryState state)
{
    return state == COLO_P_BEGINNING || state == COLO_P_CAPTURING ||
           state == COLO_P_SENDING;
}

static void check_step(ColoPrimaryState before, const ColoPrimary *p,
                       const ColoEvent *ev, const ColoActions *acts)
{
    bool alone = p->state == COLO_P_ALONE && before != COLO_P_ALONE;
    bool open = before != COLO_P_OFF && before != COLO_P_LOST &&
                !is_final(before);

    check_list(acts);
    g_assert_true(!is_final(before) ||
                  (p->state == before && acts->count == 0));
    g_assert_true(open || before == COLO_P_OFF ||
                  !actions_count(acts, COLO_ACT_SEND));
    g_assert_cmpuint(actions_count(acts, COLO_ACT_RELEASE_ALL), ==, alone);
    g_assert_cmpuint(actions_count(acts, COLO_ACT_GO_ALONE), ==, alone);
    g_assert_cmpuint(actions_count(acts, COLO_ACT_RELEASE_OUTPUT), ==,
                     before == COLO_P_COMMITTING &&
                     p->state == COLO_P_RUNNING);
    g_assert_cmpuint(actions_count(acts, COLO_ACT_NET_MODE), ==,
                     actions_count(acts, COLO_ACT_RELEASE_OUTPUT));
    if (p->state == COLO_P_LOST && before != COLO_P_LOST) {
        g_assert_cmpuint(actions_count(acts, COLO_ACT_EXIT_EVENT), ==, 1);
    }
    if (p->state != before && open &&
        (is_final(p->state) || p->state == COLO_P_LOST)) {
        g_assert_cmpuint(actions_count(acts, COLO_ACT_CLOSE), ==, 1);
        g_assert_cmpuint(actions_count(acts, COLO_ACT_STATUS), ==, 1);
    }
    /* a local action in flight is not doubled, only a result starts one */
    if (is_local(before) && acts->count &&
        action_is_local(acts->list[acts->count - 1].type)) {
        g_assert_cmpint(ev->type, ==, COLO_EV_LOCAL_OK);
    }
}

static void check_deadline(const ColoPrimary *p)
{
    bool waits = p->state != COLO_P_OFF && p->state != COLO_P_LOST &&
                 p->state != COLO_P_BEGINNING &&
                 p->state != COLO_P_CAPTURING && !is_final(p->state);

    g_assert_cmpint(colo_primary_deadline(p) != INT64_MAX, ==, waits);
}

static void try_event(ColoPrimaryState state, unsigned pending,
                      const ColoEvent *ev, int64_t now_ms)
{
    ColoPrimary p;
    ColoActions acts;

    put_in(&p, state, pending);
    colo_primary_step(&p, ev, now_ms, &acts);
    check_step(state, &p, ev, &acts);
    check_deadline(&p);
}

static void test_every_event(void)
{
    for (int state = 0; state < COLO_P__MAX; state++) {
        unsigned pendings = is_local(state) ? 16 : 1;

        for (unsigned pending = 0; pending < pendings; pending++) {
            for (int type = 0; type < COLO_EV__MAX; type++) {
                ColoEvent ev = {
                    .type = type, .reason = COLO_REASON_USER,
                };

                if (type != COLO_EV_MESSAGE) {
                    try_event(state, pending, &ev, 1001);
                    try_event(state, pending, &ev, 1000000);
                }
            }
        }
    }
}

static void test_every_message(void)
{
    for (int state = 0; state < COLO_P__MAX; state++) {
        for (int msg = 0; msg < COLO_MSG__MAX + 2; msg++) {
            for (uint64_t epoch = 0; epoch < 10; epoch++) {
                for (uint32_t arg = 0; arg < COLO_CAUSE__MAX + 2; arg++) {
                    ColoEvent ev = {
                        .type = COLO_EV_MESSAGE, .msg = msg,
                        .epoch = epoch, .arg = arg,
                    };

                    try_event(state, 0, &ev, 1001);
                }
            }
        }
    }
}

/* The frames that a state takes; all others are out of turn. */
static bool in_turn(ColoPrimaryState state, ColoMsgType msg, uint64_t epoch)
{
    switch (msg) {
    case COLO_MSG_PING:
    case COLO_MSG_PONG:
    case COLO_MSG_GOODBYE:
        return true;
    case COLO_MSG_READY:
    case COLO_MSG_REFUSE:
        return state == COLO_P_HELLO && epoch == 0;
    case COLO_MSG_DIRTY:
    case COLO_MSG_REPLY:
        return epoch == 8 && (state == COLO_P_REQUESTED ||
                              state == COLO_P_PARTING);
    case COLO_MSG_RECEIVED:
        return epoch == 8 && (state == COLO_P_SENT ||
                              state == COLO_P_PARTING);
    case COLO_MSG_LOADED:
        return epoch == 8 && (state == COLO_P_COMMITTING ||
                              state == COLO_P_PARTING);
    case COLO_MSG_ANSWER:
        return state == COLO_P_RUNNING || state == COLO_P_REQUESTED ||
               state == COLO_P_PARTING;
    case COLO_MSG_FAILED:
        return epoch == 8 && state >= COLO_P_REQUESTED &&
               state <= COLO_P_PARTING;
    default:
        return false;
    }
}

static void check_out_of_turn(ColoPrimaryState state, ColoMsgType msg,
                              uint64_t epoch)
{
    ColoEvent ev = { .type = COLO_EV_MESSAGE, .msg = msg, .epoch = epoch };
    bool claim = state >= COLO_P_RUNNING;
    ColoPrimary p;
    ColoActions acts;

    put_in(&p, state, 0);
    p.cause = COLO_CAUSE_PROTOCOL;      /* PARTING keeps its own */
    colo_primary_step(&p, &ev, 1001, &acts);
    if (is_local(state)) {
        g_assert_cmpint(p.state, ==, state);
        g_assert_cmpint(p.pending_cause, ==, COLO_CAUSE_PROTOCOL);
        g_assert_cmpint(p.peer_pending, ==, COLO_MSG_INVALID);
    } else {
        g_assert_cmpint(p.state, ==, claim ? COLO_P_LOST : COLO_P_ALONE);
        g_assert_cmpint(p.cause, ==, COLO_CAUSE_PROTOCOL);
    }
}

static void test_out_of_turn(void)
{
    for (int state = COLO_P_HELLO; state <= COLO_P_PARTING; state++) {
        for (int msg = 0; msg < COLO_MSG__MAX; msg++) {
            for (uint64_t epoch = 0; epoch < 12; epoch++) {
                if (!in_turn(state, msg, epoch)) {
                    check_out_of_turn(state, msg, epoch);
                }
            }
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/primary/cycle", test_cycle);
    g_test_add_func("/primary/policy", test_policy);
    g_test_add_func("/primary/hybrid", test_hybrid);
    g_test_add_func("/primary/hybrid-ends", test_hybrid_ends_with_protection);
    g_test_add_func("/primary/heartbeat", test_heartbeat);
    g_test_add_func("/primary/heartbeat-bounded", test_heartbeat_bounded);
    g_test_add_func("/primary/set-limits", test_set_limits);
    g_test_add_func("/primary/limits-of-waits", test_limits_of_waits);
    g_test_add_func("/primary/sending-limits", test_sending_limits);
    g_test_add_func("/primary/lost-then-failover", test_lost_then_failover);
    g_test_add_func("/primary/failover-healthy", test_failover_healthy);
    g_test_add_func("/primary/failed-parts", test_failed_parts);
    g_test_add_func("/primary/before-start", test_before_start);
    g_test_add_func("/primary/capture-fails", test_capture_fails);
    g_test_add_func("/primary/guest-gone", test_guest_gone);
    g_test_add_func("/primary/quit", test_quit);
    g_test_add_func("/primary/remembered", test_remembered);
    g_test_add_func("/primary/answers", test_answers);
    g_test_add_func("/primary/answer-after-reply", test_answer_after_reply);
    g_test_add_func("/primary/torn-frame", test_torn_frame);
    g_test_add_func("/primary/every-event", test_every_event);
    g_test_add_func("/primary/every-message", test_every_message);
    g_test_add_func("/primary/out-of-turn", test_out_of_turn);
    return g_test_run();
}
