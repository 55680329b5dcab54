/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who moves next: two senders, the client, checkpoints and the clock.
 *
 * The primary's frames reach the comparer as they are sent, those of the
 * secondary through a pipe that also carries its markers. Both may be
 * overtaken a little on the way, but never over a cut, and a flow that the
 * comparer does not know yet is not shuffled: guests send in order.
 *
 * A checkpoint has the steps of the real one: the cut at the primary, later
 * the load at the secondary, which makes it what the primary was at the cut,
 * its marker in the pipe, and the release. It can fail in between: then the
 * primary goes on alone, in mode PASS, until the next secondary is there.
 *
 * At the end either the secondary catches up and everything has to leave by
 * itself, or a last checkpoint or PASS has to let it go.
 */
#include "streams.h"

enum { LATE_FRAMES = 4, STEPS_LEAST = 30, STEPS_MOST = 260,
       TICKS_MOST = 1000, IDLE_TURNS_MOST = 10 };

typedef struct PipeEntry {
    ColoNetFrame *frame;        /* NULL: a marker, or a gap with epoch 0 */
    uint64_t epoch;
} PipeEntry;

typedef struct World {
    uint64_t random;
    StreamPlan plan;
    StreamRig rig;
    int64_t now_us;
    Sender side[SIDES];
    Sender snapshot;            /* the primary at the last cut */
    ColoNetFrame *late[SIDES][LATE_FRAMES];
    unsigned late_flow[SIDES][LATE_FRAMES];
    GQueue pipe;                /* of PipeEntry */
    uint32_t client_sent[FLOWS_MAX];
    uint64_t epoch;             /* of the last cut */
    bool checkpointing, loaded; /* between cut and release */
    bool cut_untold;            /* the comparer has not heard of the cut */
    bool alone;
    unsigned speed[SIDES], drain;   /* weights: moves, frames off the pipe */
    unsigned shuffle, gaps, epochs; /* one in that many; 0: never */
    unsigned patience_us;
    bool good;
    StreamCount *count;
} World;

static uint32_t dice(World *w, uint32_t sides)
{
    return net_below(&w->random, sides);
}

static bool chance(World *w, unsigned one_in)
{
    return one_in && dice(w, one_in) == 0;
}

static bool call(World *w, CallType type, uint64_t value, ColoNetFrame *f)
{
    w->count->calls++;
    w->count->frames += f != NULL;
    w->good = stream_call(&w->rig, type, w->now_us, value, f);
    return w->good;
}

/* ------------------------------------------------------------ frames' ways */

static void push(World *w, ColoNetFrame *f, uint64_t epoch)
{
    PipeEntry *e = g_new(PipeEntry, 1);

    e->frame = f;
    e->epoch = epoch;
    g_queue_push_tail(&w->pipe, e);
}

static void hand_over(World *w, unsigned side, ColoNetFrame *f)
{
    f->flags = 0;
    f->next = NULL;
    if (side == S) {
        push(w, f, 0);
    } else if (w->good) {
        call(w, CALL_PRIMARY, 0, f);
    } else {
        colo_net_frame_free(f);
    }
}

/*
 * GCC 12.2 takes this for a function without effects and drops calls of it at
 * -O1 and -O2 (not with -fno-ipa-modref -fno-ipa-pure-const).  Frames then
 * come out of order where the comparer was promised that they would not.
 */
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((noipa))
#endif
static void hand_over_late(World *w, unsigned side, int flow)
{
    unsigned i;

    for (i = 0; i < LATE_FRAMES; i++) {
        ColoNetFrame *f = w->late[side][i];

        if (f && (flow < 0 || w->late_flow[side][i] == (unsigned)flow)) {
            w->late[side][i] = NULL;
            hand_over(w, side, f);
        }
    }
}

static void drop_late(World *w, unsigned side)
{
    unsigned i;

    for (i = 0; i < LATE_FRAMES; i++) {
        g_clear_pointer(&w->late[side][i], colo_net_frame_free);
    }
}

static void on_its_way(World *w, unsigned side, unsigned flow,
                       ColoNetFrame *f)
{
    unsigned slot = dice(w, LATE_FRAMES);

    if (f->flags & SEND_IN_ORDER || !oracle_known(w->rig.oracle, flow)) {
        hand_over_late(w, side, flow);
        hand_over(w, side, f);
    } else if (chance(w, w->shuffle) && !w->late[side][slot]) {
        w->late[side][slot] = f;
        w->late_flow[side][slot] = flow;
    } else {
        hand_over(w, side, f);
    }
    if (chance(w, 3) && w->late[side][slot]) {
        f = w->late[side][slot];
        w->late[side][slot] = NULL;
        hand_over(w, side, f);
    }
}

static bool say(World *w, unsigned side, unsigned flow, SendWhat what)
{
    const StreamFlow *f = &w->plan.flow[flow];
    bool begins = f->predecessor >= 0 && w->side[side].flow[flow].next == 0;
    ColoNetFrame *frame, *next;

    if (begins && side == P) {
        hand_over_late(w, P, f->predecessor);
        if (!w->good || !oracle_nothing_held(w->rig.oracle, f->predecessor)) {
            return false;
        }
    }
    frame = sender_send(&w->side[side], flow, what);
    if (frame && begins) {
        hand_over_late(w, side, f->predecessor);
    }
    for (next = frame; next; frame = next) {
        next = frame->next;
        on_its_way(w, side, flow, frame);
        if (!next) {
            return true;
        }
    }
    return false;
}

static void sender_move(World *w, unsigned side)
{
    static const SendWhat what[] = {
        SEND_NEW, SEND_NEW, SEND_NEW, SEND_NEW, SEND_NEW, SEND_NEW,
        SEND_AGAIN, SEND_ACK, SEND_ACK, SEND_PROBE,
    };
    SendWhat now;

    if (side == S ? w->alone : w->cut_untold) {
        return;
    }
    now = what[dice(w, G_N_ELEMENTS(what))];
    say(w, side, dice(w, w->plan.flows), now);
}

static void pipe_move(World *w)
{
    PipeEntry *e = g_queue_pop_head(&w->pipe);

    if (!e) {
        return;
    }
    if (!e->frame) {
        call(w, CALL_EPOCH, e->epoch, NULL);
    } else if (chance(w, w->gaps)) {
        colo_net_frame_free(e->frame);
        call(w, CALL_GAP, 0, NULL);
    } else {
        call(w, CALL_SECONDARY, 0, e->frame);
    }
    g_free(e);
}

static void empty_pipe(World *w)
{
    PipeEntry *e;

    while ((e = g_queue_pop_head(&w->pipe))) {
        colo_net_frame_free(e->frame);
        g_free(e);
    }
}

/* -------------------------------------------------------------- the client */

static void client_send(World *w, unsigned flow)
{
    uint32_t limit = oracle_client_acked(w->rig.oracle, flow) + 3000;
    uint32_t *sent = &w->client_sent[flow];

    if (limit > *sent) {
        *sent += dice(w, limit - *sent + 1);
    }
}

/* One of the guests sees some of what the client has sent. */
static void client_reach(World *w, unsigned side, unsigned flow, bool all)
{
    SenderFlow *sf = &w->side[side].flow[flow];
    uint32_t has = oracle_client_has(w->rig.oracle, flow);
    uint32_t open = w->client_sent[flow] - sf->received;

    if (stream_is_tcp(&w->plan.flow[flow])) {
        sf->acked = MAX(sf->acked, MIN(has, sf->next));
        if (sf->acked > 0) {
            sf->received += all ? open : dice(w, open + 1);
        }
    }
}

static void client_move(World *w)
{
    unsigned flow = dice(w, w->plan.flows);
    unsigned side = dice(w, 2);

    client_send(w, flow);
    if (side == P || !w->alone) {
        client_reach(w, side, flow, chance(w, 2));
    }
}

/* --------------------------------------------------------------- the clock */

static void wait_for(World *w, int64_t delay_us)
{
    int64_t until_us = w->now_us + delay_us;
    unsigned turns = 0;

    while (w->good) {
        int64_t due_us = colo_compare_deadline_us(w->rig.compare);

        if (due_us > until_us) {
            break;
        }
        if (++turns > TICKS_MOST) {
            oracle_fail(w->rig.oracle, "clock", "a tick stays due");
            w->good = false;
            return;
        }
        w->now_us = MAX(w->now_us, due_us);
        call(w, CALL_TICK, 0, NULL);
    }
    w->now_us = until_us;
}

static void clock_move(World *w)
{
    if (chance(w, 40)) {
        wait_for(w, dice(w, w->patience_us));
    } else {
        wait_for(w, dice(w, 400));
    }
}

/* ------------------------------------------------------------- checkpoints */

/* What the primary sent before the cut comes before it. */
static void tell_cut(World *w)
{
    hand_over_late(w, P, -1);
    w->cut_untold = false;
    if (w->good) {
        call(w, CALL_CUT, w->epoch, NULL);
    }
}

/* The primary's way to the comparer may be longer than all others. */
static void cut(World *w)
{
    w->snapshot = w->side[P];
    w->checkpointing = true;
    w->loaded = false;
    w->epoch++;
    w->cut_untold = true;
    if (!chance(w, 6)) {
        tell_cut(w);
    }
}

static void load(World *w)
{
    if (chance(w, 2)) {
        hand_over_late(w, S, -1);
    }
    drop_late(w, S);
    sender_become(&w->side[S], &w->snapshot);
    push(w, NULL, w->epoch);
    w->loaded = true;
    w->alone = false;
}

static void release(World *w)
{
    w->checkpointing = false;
    w->count->checkpoints++;
    call(w, CALL_RELEASE, w->epoch, NULL);
}

static void go_alone(World *w)
{
    drop_late(w, S);
    empty_pipe(w);
    w->checkpointing = w->cut_untold = false;
    w->alone = true;
    call(w, CALL_MODE, COLO_COMPARE_PASS, NULL);
}

static void checkpoint_move(World *w)
{
    if (w->cut_untold && (!w->checkpointing || chance(w, 3))) {
        tell_cut(w);
    } else if (w->alone && !w->checkpointing) {
        if (call(w, CALL_MODE, w->plan.mode, NULL)) {
            cut(w);
        }
    } else if (!w->checkpointing) {
        cut(w);
    } else if (!w->loaded && chance(w, 8)) {
        go_alone(w);
    } else if (!w->loaded && !w->cut_untold && chance(w, 10)) {
        cut(w);                 /* the one before has failed */
    } else if (!w->loaded) {
        load(w);
    } else {
        release(w);
    }
}

static void finish_checkpoint(World *w)
{
    while (w->good && (w->checkpointing || w->alone || w->cut_untold)) {
        checkpoint_move(w);
    }
}

static void mode_move(World *w)
{
    if (!w->alone) {
        call(w, CALL_MODE, chance(w, 2) ? COLO_COMPARE_BUFFER
                                        : COLO_COMPARE_MATCH, NULL);
    }
}

/* ----------------------------------------------------------------- the end */

static void empty_ways(World *w)
{
    hand_over_late(w, P, -1);
    hand_over_late(w, S, -1);
    while (w->good && w->pipe.length) {
        pipe_move(w);
    }
}

static bool in_step(const World *w)
{
    unsigned i;

    for (i = 0; i < w->plan.flows; i++) {
        const SenderFlow *p = &w->side[P].flow[i];
        const SenderFlow *s = &w->side[S].flow[i];

        if (p->next > s->next || p->received != s->received ||
            p->reset > s->reset || !oracle_nothing_held(w->rig.oracle, i)) {
            return false;
        }
    }
    return true;
}

/*
 * The secondary says what the primary has said, and acknowledges what it has,
 * while the client answers. Nothing may be left over, whatever windows and
 * Nagle's rule allow, except what a timeout excuses: then a checkpoint helps.
 */
static void catch_up_once(World *w)
{
    unsigned flow;

    for (flow = 0; flow < w->plan.flows && w->good; flow++) {
        SenderFlow *p = &w->side[P].flow[flow];
        SenderFlow *s = &w->side[S].flow[flow];

        s->received = MAX(s->received, p->received);
        p->received = s->received;
        while (w->good && (s->next < p->next || p->reset > s->reset) &&
               say(w, S, flow, SEND_NEW)) {
        }
        say(w, S, flow, SEND_ACK);
        if (w->good) {
            say(w, P, flow, SEND_ACK);
        }
        empty_ways(w);
        client_reach(w, P, flow, true);
        client_reach(w, S, flow, true);
    }
}

static uint64_t client_bytes(const World *w)
{
    uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < w->plan.flows; i++) {
        sum += oracle_client_has(w->rig.oracle, i) +
            oracle_client_acked(w->rig.oracle, i);
    }
    return sum;
}

static bool catch_up(World *w)
{
    unsigned idle = 0;

    w->shuffle = 0;
    w->gaps = 0;
    empty_ways(w);
    while (w->good && !in_step(w) && idle < IDLE_TURNS_MOST) {
        uint64_t bytes = client_bytes(w);

        catch_up_once(w);
        wait_for(w, w->plan.limits.split_us);
        idle = client_bytes(w) > bytes ? 0 : idle + 1;
    }
    return in_step(w);
}

static void end(World *w)
{
    bool twisted = w->side[S].twisted;

    if (chance(w, 2)) {
        finish_checkpoint(w);
        if (w->good && !twisted && oracle_lively(w->rig.oracle)) {
            w->count->drained += catch_up(w);
        }
    }
    if (w->good && chance(w, 3)) {
        hand_over_late(w, P, -1);
        if (w->good) {
            go_alone(w);
        }
    } else if (w->good) {
        finish_checkpoint(w);
        if (w->good) {
            cut(w);
            finish_checkpoint(w);
        }
        empty_ways(w);
    }
}

/* ----------------------------------------------------------------- one run */

static void begin(World *w)
{
    if (chance(w, 6)) {
        unsigned steps = dice(w, 60);

        w->alone = true;
        while (w->good && steps--) {
            sender_move(w, P);
            client_move(w);
            clock_move(w);
        }
        hand_over_late(w, P, -1);
        if (w->good && chance(w, 2)) {
            /* a secondary that is equal without a checkpoint */
            w->alone = false;
            sender_become(&w->side[S], &w->side[P]);
        }
    }
    if (w->good && !w->alone) {
        call(w, CALL_MODE, w->plan.mode, NULL);
    }
}

static void step(World *w)
{
    unsigned p = w->speed[P], s = w->speed[S], d = w->drain;
    unsigned at = dice(w, p + s + d + 8);

    if (at < p) {
        sender_move(w, P);
    } else if (at < p + s) {
        sender_move(w, S);
    } else if (at < p + s + d) {
        pipe_move(w);
    } else if (at < p + s + d + 4) {
        client_move(w);
    } else if (at < p + s + d + 7) {
        clock_move(w);
    } else if (w->checkpointing || w->cut_untold || w->alone ||
               chance(w, w->epochs)) {
        checkpoint_move(w);
    } else if (chance(w, 60)) {
        mode_move(w);
    }
}

static void world_init(World *w, uint64_t seed, Breakage b, bool trace)
{
    unsigned side;

    memset(w, 0, sizeof(*w));
    w->random = seed * 0x9e3779b97f4a7c15ull + 1;
    w->good = true;
    w->now_us = 1000000;
    stream_plan_make(&w->plan, false, &w->random);
    for (side = 0; side < SIDES; side++) {
        sender_init(&w->side[side], &w->plan, side, &w->random);
        w->speed[side] = 1 + dice(w, 12);
    }
    w->drain = 1 + dice(w, 20);
    w->shuffle = dice(w, 2) ? 0 : 2 + dice(w, 6);
    w->gaps = dice(w, 10) ? 0 : 30;
    w->epochs = dice(w, 5) ? 1 + dice(w, 12) : 0;
    w->patience_us = dice(w, 3) ? 20000 : 5000000;
    stream_rig_init(&w->rig, &w->plan, b);
    w->rig.trace = trace;
}

/* Owns the frames of the log; replays copy them. */
static void call_clear(gpointer data)
{
    colo_net_frame_free(((Call *)data)->frame);
}

static void world_destroy(World *w)
{
    drop_late(w, P);
    drop_late(w, S);
    empty_pipe(w);
    g_clear_pointer(&w->rig.log, g_array_unref);
    stream_rig_destroy(&w->rig);
    stream_plan_free(&w->plan);
}

static void judge(World *w, uint64_t seed, bool quiet)
{
    const char *property = oracle_broken(w->rig.oracle);

    if (property && !quiet) {
        printf("# seed %" PRIu64 " breaks \"%s\": %s\n", seed, property,
               oracle_detail(w->rig.oracle));
        stream_minimize(&w->plan, w->rig.log, w->rig.breakage, property);
    }
}

bool stream_run(uint64_t seed, Breakage b, bool trace, bool quiet,
                StreamCount *count, char *property, size_t property_bytes)
{
    World *w = g_new(World, 1);
    unsigned steps;
    bool good;

    world_init(w, seed, b, trace);
    w->count = count;
    if (!quiet) {
        w->rig.log = g_array_new(false, false, sizeof(Call));
        g_array_set_clear_func(w->rig.log, call_clear);
    }
    begin(w);
    steps = STEPS_LEAST + dice(w, STEPS_MOST - STEPS_LEAST);
    while (w->good && steps--) {
        step(w);
    }
    if (w->good) {
        end(w);
    }
    good = w->good;
    count->runs++;
    count->twisted += w->plan.twist != TWIST_NONE;
    g_strlcpy(property, good ? "" : oracle_broken(w->rig.oracle),
              property_bytes);
    judge(w, seed, quiet);
    world_destroy(w);
    g_free(w);
    return good;
}
