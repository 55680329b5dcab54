/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rewriter and comparer together: a client's connections outlive the primary,
 * wherever in their life it dies and wherever a checkpoint falls.
 *
 *      client --- to_guest --> mirror point --> guest P --> comparer --+
 *        ^                          |                          ^       |
 *        |                        mirror                     egress    |
 *        |                          v                          |       |
 *        |                      rewriter --> guest S --> rewriter      |
 *        +------------------------- to_client -------------------------+
 *
 * Both guests have their own initial sequence numbers, timestamp clocks,
 * segment sizes and habits of acknowledging. One move of the world takes one
 * frame one hop, or lets some time pass; every move is a place. A case is a
 * setting, a seed for the order of moves, the place of a checkpoint's cut and
 * the place where the primary dies; all places are tried. In the end every
 * connection has to have carried the right bytes both ways and to be closed in
 * good order, and nobody may have seen a number that is not acceptable.
 *
 * The secondary takes over some moves after the death; until then its guest's
 * segments reach nobody, and what the client sends comes to its own network.
 * From then on, where nothing gets lost and no checkpoint was under way, no
 * timer of TCP may pass at either end: all that is needed has been sent again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "colo/compare.h"
#include "colo/early.h"
#include "colo/resend.h"
#include "colo/rewrite.h"
#include "minitcp.h"

enum { CONNECTIONS = 2, PLACES_MOST = 6000, NEVER = PLACES_MOST + 1 };

typedef struct Setting {
    const char *name;
    uint8_t family, tag_count;
    bool guest_opens, timestamps, lossy;
    uint16_t vnet_bytes;
    unsigned speed[4];          /* mirror, egress, client, clock */
} Setting;

static const Setting settings[] = {
    { "v4", 4, 0, false, true, false, 0, { 4, 4, 4, 1 } },
    { "v4-vlan", 4, 1, false, true, false, 12, { 2, 4, 6, 1 } },
    { "v4-guest-opens", 4, 0, true, true, false, 10, { 4, 4, 4, 1 } },
    { "v4-lossy", 4, 0, false, true, true, 0, { 4, 4, 4, 2 } },
    { "v4-slow-secondary", 4, 0, false, false, false, 0, { 1, 2, 6, 2 } },
    { "v6", 6, 0, false, true, false, 12, { 4, 4, 4, 1 } },
    { "v6-guest-opens", 6, 0, true, false, false, 0, { 4, 2, 4, 1 } },
    { "v6-qinq-lossy", 6, 2, false, true, true, 12, { 6, 6, 4, 2 } },
    { "v6-guest-opens-lossy", 6, 0, true, true, true, 0, { 3, 3, 4, 2 } },
};

typedef struct Guest {
    MiniTcp tcp[CONNECTIONS];
} Guest;

typedef struct World {
    const Setting *set;
    uint64_t random, guest_random;
    unsigned place, cut_place, kill_place;
    int64_t now_us;
    bool trace;
    ColoCompare *compare;
    ColoRewrite *rewrite;
    ColoResend *resend;
    ColoEarly *early;
    Guest p, s, snapshot, client;
    bool p_dead, alone, loading, in_epoch_1, released;
    bool prompt;                /* no timer of TCP may pass any more */
    unsigned load_delay, release_delay, alone_delay;     /* moves */
    GQueue to_guest, mirror, egress, to_client;
    const char *problem;
} World;

/* In the queues between the two sides: the marker of the checkpoint. */
static ColoNetFrame marker;

static void note(World *w, const char *what, ColoNetFrame *f)
{
    NetView v;

    if (!w->trace) {
        return;
    }
    printf("# %4u %7" PRId64 "us %-22s", w->place, w->now_us, what);
    if (f && f != &marker && !net_read(f, &v)) {
        printf(" %u>%u %s%s%s%s seq %u +%u ack %u", v.src_port, v.dst_port,
               v.flags & NET_SYN ? "SYN" : "", v.flags & NET_FIN ? "FIN" : "",
               v.flags & NET_RST ? "RST" : "", v.flags & NET_ACK ? "." : "",
               v.seq, v.data_bytes, v.ack);
    }
    putchar('\n');
}

static void drop_all(GQueue *q)
{
    ColoNetFrame *f;

    while ((f = g_queue_pop_head(q))) {
        if (f != &marker) {
            colo_net_frame_free(f);
        }
    }
}

static ColoNetFrame *copy_frame(const ColoNetFrame *f)
{
    return colo_net_frame_copy(f->data, f->vnet_bytes + f->size,
                               f->vnet_bytes);
}

/* ------------------------------------------------------------------ set-up */

static void init_endpoint(World *w, MiniTcp *t, unsigned index, bool guest)
{
    const Setting *set = w->set;
    unsigned last = set->family == 4 ? 3 : 15;
    uint8_t *guest_address = guest ? t->path.src : t->path.dst;
    uint8_t *client_address = guest ? t->path.dst : t->path.src;

    memset(t, 0, sizeof(*t));
    t->path.family = set->family;
    t->path.tag_count = set->tag_count;
    t->path.tags[0] = 10;
    t->path.tags[1] = 20;
    guest_address[0] = client_address[0] = set->family == 4 ? 10 : 0xfd;
    guest_address[last] = 2;
    client_address[last] = 1;
    t->path.src_port = guest ? 80 : 40000 + index;
    t->path.dst_port = guest ? 40000 + index : 80;
    t->timestamps = set->timestamps;
    t->sack = true;
    t->passive = guest != set->guest_opens;
    t->asker = !t->passive;
    t->state = t->passive ? MINI_LISTEN : MINI_CLOSED;
    t->mss = 26;
    t->delay_ack = 1;
    t->vnet_bytes = set->vnet_bytes;
    t->partial_csum = set->vnet_bytes && index == 0;
    t->random = net_random(&w->random);
    t->iss = net_below(&w->random, 2) ? net_random(&w->random)
                                      : 0u - net_below(&w->random, 60);
    t->ts_offset = net_random(&w->random);
}

/* Of its own: what a secondary decides for itself. */
static void init_secondary(World *w)
{
    unsigned i;

    w->s = w->p;
    for (i = 0; i < CONNECTIONS; i++) {
        MiniTcp *t = &w->s.tcp[i];

        t->iss = net_random(&w->random);
        t->ts_offset = net_random(&w->random);
        t->mss = 19;
        t->delay_ack = 2;
    }
}

static void init_world(World *w, const Setting *set, uint64_t seed)
{
    ColoCompareLimits limits;
    unsigned i;

    memset(w, 0, sizeof(*w));
    w->set = set;
    w->random = seed * 77 + 5;
    w->now_us = 1000000;
    w->cut_place = w->kill_place = NEVER;
    colo_compare_limits_init(&limits);
    w->compare = colo_compare_new(&limits);
    colo_compare_set_mode(w->compare, COLO_COMPARE_MATCH, w->now_us);
    w->rewrite = colo_rewrite_new(1000, 60000000);
    colo_rewrite_set_learning(w->rewrite, true);
    w->resend = colo_resend_new(NULL);
    w->early = colo_early_new();
    for (i = 0; i < CONNECTIONS; i++) {
        init_endpoint(w, &w->p.tcp[i], i, true);
        init_endpoint(w, &w->client.tcp[i], i, false);
    }
    init_secondary(w);
    w->load_delay = net_below(&w->random, 6);
    w->release_delay = w->load_delay + net_below(&w->random, 6);
    w->alone_delay = net_below(&w->random, 12);
}

static void destroy_world(World *w)
{
    drop_all(&w->to_guest);
    drop_all(&w->mirror);
    drop_all(&w->egress);
    drop_all(&w->to_client);
    g_clear_pointer(&w->compare, colo_compare_free);
    colo_rewrite_free(w->rewrite);
    colo_resend_free(w->resend);
    colo_early_free(w->early);
}

/* ------------------------------------------------------------ frames' ways */

static bool lost(World *w)
{
    return w->set->lossy && net_below(&w->random, 12) == 0;
}

static void to_client(World *w, ColoNetFrame *f)
{
    note(w, "-> client", f);
    if (lost(w)) {
        colo_net_frame_free(f);
    } else {
        g_queue_push_tail(&w->to_client, f);
    }
}

static void drain_compare(World *w)
{
    ColoNetFrame *f = colo_compare_take_output(w->compare), *next;
    ColoDifference d;
    ColoReason ask;

    for (; f; f = next) {
        next = f->next;
        f->next = NULL;
        to_client(w, f);
    }
    while ((ask = colo_compare_take_ask(w->compare)) != COLO_REASON_NONE) {
        if (ask == COLO_REASON_MISMATCH && !w->problem) {
            w->problem = "equal guests were said to differ";
            if (w->trace && colo_compare_take_difference(w->compare, &d)) {
                printf("# %s %s\n", colo_verdict_name(d.verdict), d.flow);
            }
        }
    }
}

static void primary_says(World *w, GQueue *out)
{
    ColoNetFrame *f;

    while ((f = g_queue_pop_head(out))) {
        note(w, "P says", f);
        colo_compare_primary(w->compare, f, w->now_us);
        drain_compare(w);
    }
}

static void secondary_says(World *w, GQueue *out)
{
    ColoNetFrame *f;
    ColoPacket p;

    while ((f = g_queue_pop_head(out))) {
        note(w, "S says", f);
        colo_packet_parse_frame(f, &p);
        colo_rewrite_egress(w->rewrite, f, &p, w->now_us);
        if (w->alone) {
            colo_resend_settle(w->resend, colo_net_frame_eth(f), &p);
            to_client(w, f);
            continue;
        }
        note(w, "S egress", f);
        colo_early_learn(w->early, colo_net_frame_eth(f), f->size);
        if (!w->p_dead) {
            g_queue_push_tail(&w->egress, copy_frame(f));
        }
        colo_resend_egress(w->resend, f, &p, w->now_us);
    }
}

static void client_says(World *w, GQueue *out)
{
    ColoNetFrame *f;

    while ((f = g_queue_pop_head(out))) {
        note(w, "client says", f);
        if (lost(w)) {
            colo_net_frame_free(f);
        } else {
            g_queue_push_tail(&w->to_guest, f);
        }
    }
}

static void receive(World *w, Guest *g, ColoNetFrame *f, GQueue *out)
{
    NetView v;
    const char *bad = net_read(f, &v);
    unsigned i;

    if (bad && !w->problem) {
        w->problem = bad;
    }
    for (i = 0; i < CONNECTIONS && !bad; i++) {
        if (g->tcp[i].path.src_port == v.dst_port &&
            g->tcp[i].path.dst_port == v.src_port) {
            mini_input(&g->tcp[i], &v, out, w->now_us);
        }
    }
}

/* The client's next frame comes to the host of whoever is alive. */
static void arrive_move(World *w)
{
    ColoNetFrame *f = g_queue_pop_head(&w->to_guest);
    GQueue out = G_QUEUE_INIT;

    if (!f) {
        return;
    }
    note(w, "client's arrives", f);
    if (w->p_dead && !w->alone) {
        colo_early_add(w->early, f, w->now_us);
        return;
    }
    g_queue_push_tail(&w->mirror, copy_frame(f));
    if (!w->p_dead) {
        receive(w, &w->p, f, &out);
        primary_says(w, &out);
    }
    colo_net_frame_free(f);
}

static void secondary_hears(World *w, ColoNetFrame *f, GQueue *out)
{
    ColoPacket p;

    colo_packet_parse_frame(f, &p);
    colo_resend_ingress(w->resend, colo_net_frame_eth(f), &p);
    colo_rewrite_ingress(w->rewrite, f, &p, w->now_us);
    note(w, "S receives", f);
    receive(w, &w->s, f, out);
    colo_net_frame_free(f);
}

static void mirror_move(World *w)
{
    ColoNetFrame *f = g_queue_peek_head(&w->mirror);
    GQueue out = G_QUEUE_INIT;

    if (!f || f == &marker) {
        return;                 /* the rest waits until state 1 is loaded */
    }
    g_queue_pop_head(&w->mirror);
    secondary_hears(w, f, &out);
    secondary_says(w, &out);
}

static void egress_move(World *w)
{
    ColoNetFrame *f = g_queue_pop_head(&w->egress);

    if (f == &marker) {
        colo_compare_secondary_epoch(w->compare, 1, w->now_us);
    } else if (f) {
        colo_compare_secondary(w->compare, f, w->now_us);
    }
    if (f) {
        drain_compare(w);
    }
}

static void client_move(World *w)
{
    ColoNetFrame *f = g_queue_pop_head(&w->to_client);
    GQueue out = G_QUEUE_INIT;

    if (f) {
        receive(w, &w->client, f, &out);
        colo_net_frame_free(f);
        client_says(w, &out);
    }
}

static void poll_guest(World *w, Guest *g, GQueue *out)
{
    unsigned i;

    for (i = 0; i < CONNECTIONS; i++) {
        mini_poll(&g->tcp[i], out, w->now_us);
    }
}

static void clock_move(World *w)
{
    GQueue out = G_QUEUE_INIT;

    w->now_us += 1000;
    poll_guest(w, &w->client, &out);
    client_says(w, &out);
    if (!w->p_dead) {
        poll_guest(w, &w->p, &out);
        primary_says(w, &out);
        if (colo_compare_deadline_us(w->compare) <= w->now_us) {
            colo_compare_tick(w->compare, w->now_us);
            drain_compare(w);
        }
    }
    poll_guest(w, &w->s, &out);
    secondary_says(w, &out);
}

/* ---------------------------------------------------- checkpoint and death */

static void cut(World *w)
{
    note(w, "CUT", NULL);
    w->snapshot = w->p;
    w->loading = true;
    colo_compare_cut(w->compare, 1, w->now_us);
    g_queue_push_tail(&w->mirror, &marker);
}

static void load(World *w)
{
    ColoNetFrame *f;

    note(w, "LOAD", NULL);
    while ((f = g_queue_pop_head(&w->mirror)) != &marker) {
        colo_net_frame_free(f);     /* part of state 1 */
    }
    w->s = w->snapshot;
    colo_rewrite_reset(w->rewrite);
    colo_resend_reset(w->resend);
    g_queue_push_tail(&w->egress, &marker);
    w->loading = false;
    w->in_epoch_1 = true;
}

static void release(World *w)
{
    note(w, "RELEASE", NULL);
    w->released = true;
    colo_compare_release(w->compare, 1, w->now_us);
    drain_compare(w);
}

static void kill_primary(World *w)
{
    note(w, "KILL", NULL);
    w->p_dead = true;
    g_queue_remove(&w->mirror, &marker);
    drop_all(&w->egress);
    g_clear_pointer(&w->compare, colo_compare_free);
}

/* Timers are long for what is left to do; from now on they count. */
static void start_timers(World *w)
{
    unsigned i;

    w->prompt = true;
    for (i = 0; i < CONNECTIONS; i++) {
        w->s.tcp[i].timeouts = w->client.tcp[i].timeouts = 0;
        w->s.tcp[i].rto_at_us = w->now_us + MINI_RTO_US;
        w->client.tcp[i].rto_at_us = w->now_us + MINI_RTO_US;
    }
}

/* The guest speaks only after the network has gone its ways. */
static void take_over(World *w)
{
    ColoNetFrame *f, *next;
    GQueue out = G_QUEUE_INIT;
    ColoPacket p;

    note(w, "TAKE OVER", NULL);
    w->alone = true;
    colo_rewrite_survive(w->rewrite);
    for (f = colo_early_take(w->early, w->now_us); f; f = next) {
        next = f->next;
        colo_packet_parse_frame(f, &p);
        if (colo_resend_is_news(w->resend, &p)) {
            secondary_hears(w, f, &out);
        } else {
            colo_net_frame_free(f);
        }
    }
    for (f = colo_resend_take(w->resend, w->now_us); f; f = next) {
        next = f->next;
        to_client(w, f);
    }
    secondary_says(w, &out);
    if (!w->set->lossy && !w->loading && w->in_epoch_1 == w->released) {
        start_timers(w);
    }
}

static void checkpoint_moves(World *w)
{
    if (w->p_dead && !w->alone &&
        w->place >= w->kill_place + w->alone_delay) {
        take_over(w);
    }
    if (w->p_dead) {
        return;
    }
    if (w->place == w->cut_place) {
        cut(w);
    }
    if (w->loading && w->place == w->cut_place + w->load_delay) {
        load(w);
    }
    if (w->in_epoch_1 && w->place == w->cut_place + w->release_delay) {
        release(w);
    }
    if (w->place == w->kill_place) {
        kill_primary(w);
    }
}

/* ---------------------------------------------------------------- one case */

/* Nothing waits but for a clock. */
static void prompt_move(World *w)
{
    if (w->mirror.head) {
        mirror_move(w);
    } else if (w->to_guest.head) {
        arrive_move(w);
    } else if (w->to_client.head) {
        client_move(w);
    } else {
        clock_move(w);
    }
}

static const char *timeout_of(const World *w)
{
    unsigned i;

    for (i = 0; i < CONNECTIONS && w->prompt; i++) {
        if (w->client.tcp[i].timeouts) {
            return "the client waited for its timer";
        }
        if (w->s.tcp[i].timeouts) {
            return "the survivor waited for its timer";
        }
    }
    return NULL;
}

static void random_move(World *w)
{
    const unsigned *speed = w->set->speed;
    unsigned at = net_below(&w->random, 4 + speed[0] + speed[1] + speed[2] +
                            speed[3]);

    if (at < speed[0]) {
        mirror_move(w);
    } else if (at < speed[0] + speed[1]) {
        egress_move(w);
    } else if (at < speed[0] + speed[1] + speed[2]) {
        client_move(w);
    } else if (at < speed[0] + speed[1] + speed[2] + speed[3]) {
        clock_move(w);
    } else {
        arrive_move(w);
    }
}

static const char *complaint_of(const Guest *g)
{
    unsigned i;

    for (i = 0; i < CONNECTIONS; i++) {
        if (g->tcp[i].complaint) {
            return g->tcp[i].complaint;
        }
    }
    return NULL;
}

static bool all_done(const Guest *g)
{
    return mini_done(&g->tcp[0]) && mini_done(&g->tcp[1]);
}

/* Both ends have the same two streams, and the answers fit the requests:
 * the asker went on only with each whole reply. */
static const char *check_streams(const World *w)
{
    const Guest *g = w->p_dead ? &w->s : &w->p;
    unsigned i;

    for (i = 0; i < CONNECTIONS; i++) {
        const MiniTcp *a = &g->tcp[i], *b = &w->client.tcp[i];

        if (a->out_bytes != b->in_bytes || b->out_bytes != a->in_bytes ||
            memcmp(a->out, b->in, a->out_bytes) != 0 ||
            memcmp(b->out, a->in, b->out_bytes) != 0) {
            return "the streams of the two ends differ";
        }
        if ((a->asker ? a : b)->requests != MINI_REQUESTS) {
            return "not every request was made";
        }
    }
    return NULL;
}

static bool settled(const World *w)
{
    return all_done(&w->client) && all_done(w->p_dead ? &w->s : &w->p);
}

static void open_connections(World *w)
{
    Guest *g = w->set->guest_opens ? &w->p : &w->client;
    GQueue out = G_QUEUE_INIT;
    unsigned i;

    for (i = 0; i < CONNECTIONS; i++) {
        mini_connect(&g->tcp[i], &out, w->now_us);
        if (w->set->guest_opens) {
            primary_says(w, &out);
            mini_connect(&w->s.tcp[i], &out, w->now_us);
            secondary_says(w, &out);
        } else {
            client_says(w, &out);
        }
    }
}

/* NULL: all is well. @places: how many moves it took. */
static const char *run_case(const Setting *set, uint64_t seed, unsigned cut_at,
                            unsigned kill_at, bool trace, unsigned *places)
{
    g_autofree World *w = g_new(World, 1);
    const char *problem;

    init_world(w, set, seed);
    w->cut_place = cut_at;
    w->kill_place = kill_at;
    w->trace = trace;
    open_connections(w);
    while (!w->problem && !settled(w) && w->place < PLACES_MOST) {
        checkpoint_moves(w);
        if (w->prompt) {
            prompt_move(w);
        } else {
            random_move(w);
        }
        w->place++;
        if (!w->problem) {
            w->problem = timeout_of(w);
        }
        if (!w->problem) {
            w->problem = complaint_of(&w->client);
        }
        if (!w->problem) {
            w->problem = complaint_of(&w->s);
        }
        if (!w->problem && !w->p_dead) {
            w->problem = complaint_of(&w->p);
        }
    }
    problem = w->problem ? w->problem
        : !settled(w) ? "a connection hangs" : check_streams(w);
    if (trace && problem) {
        printf("# client %s %s, P %s %s, S %s %s\n",
               mini_state_name(&w->client.tcp[0]),
               mini_state_name(&w->client.tcp[1]),
               mini_state_name(&w->p.tcp[0]), mini_state_name(&w->p.tcp[1]),
               mini_state_name(&w->s.tcp[0]), mini_state_name(&w->s.tcp[1]));
    }
    *places = w->place;
    destroy_world(w);
    return problem;
}

/* ------------------------------------------------------------------- tests */

static unsigned tests_run, tests_failed;

static bool report(const Setting *set, uint64_t seed, unsigned cut_at,
                   unsigned kill_at, const char *problem)
{
    unsigned places;

    printf("# %s, seed %" PRIu64 ", cut at %u, death at %u: %s\n", set->name,
           seed, cut_at, kill_at, problem);
    run_case(set, seed, cut_at, kill_at, true, &places);
    return false;
}

static bool try_case(const Setting *set, uint64_t seed, unsigned cut_at,
                     unsigned kill_at, unsigned *count)
{
    unsigned places;
    const char *problem = run_case(set, seed, cut_at, kill_at, false, &places);

    (*count)++;
    return problem ? report(set, seed, cut_at, kill_at, problem) : true;
}

/*
 * Deaths at every place without a checkpoint; checkpoints at every place with
 * deaths at each of the next @near places and at some after them.
 */
static bool try_places(const Setting *set, uint64_t seed, unsigned near,
                       unsigned stride, unsigned *count)
{
    const char *problem;
    unsigned places, i, j, ignored;

    problem = run_case(set, seed, NEVER, NEVER, false, &places);
    if (problem) {
        return report(set, seed, NEVER, NEVER, problem);
    }
    for (i = 0; i < places; i++) {
        if (!try_case(set, seed, NEVER, i, count)) {
            return false;
        }
    }
    for (i = 0; i < places; i++) {
        problem = run_case(set, seed, i, NEVER, false, &ignored);
        if (problem) {
            return report(set, seed, i, NEVER, problem);
        }
        for (j = i; j < places; j += j < i + near ? 1 : stride + places / 8) {
            if (!try_case(set, seed, i, j, count)) {
                return false;
            }
        }
    }
    return true;
}

static void tap(bool ok, const Setting *set, unsigned count)
{
    tests_run++;
    tests_failed += !ok;
    printf("%sok %u - %s: the client outlives the primary in %u cases\n",
           ok ? "" : "not ", tests_run, set->name, count);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    gint64 base = 1;
    int seeds = 1, near = 3, stride = 23;
    const GOptionEntry options[] = {
        { "base", 0, 0, G_OPTION_ARG_INT64, &base, "first seed", "SEED" },
        { "seeds", 0, 0, G_OPTION_ARG_INT, &seeds, "so many", "N" },
        { "near", 0, 0, G_OPTION_ARG_INT, &near,
          "deaths at each of N places behind the cut", "N" },
        { "stride", 0, 0, G_OPTION_ARG_INT, &stride,
          "and no more than N places apart after these, in short runs", "N" },
        { 0 }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    unsigned i;

    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    for (i = 0; i < G_N_ELEMENTS(settings); i++) {
        unsigned count = 0;
        bool ok = true;
        int k;

        for (k = 0; k < seeds && ok; k++) {
            ok = try_places(&settings[i], base + k, near, MAX(stride, 1),
                            &count);
        }
        tap(ok, &settings[i], count);
    }
    printf("1..%u\n", tests_run);
    return tests_failed != 0;
}
