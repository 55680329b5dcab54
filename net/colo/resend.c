/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: what its guest has said and no client has confirmed.
 *
 * Each segment that is kept is on two lists, of its flow and of all, both in
 * the order in which the guest spoke. Acknowledgements take from the front of
 * the first, want of room from the front of the one that is too long. Flows
 * are on a third list by when their guest spoke last, so that the silent ones
 * are found at its front. Nothing is ever searched.
 */
#include <string.h>
#include "colo/resend.h"
#include "tcp-key.h"

/* A pure acknowledgement has headers only; padding may be a guest's joke. */
enum { WORD_MAX_BYTES = 256 };
/* Of a clock of timestamps, whose ticks are 1 ms to 1 s (RFC 7323 5.4). */
enum {
    CLOCK_AHEAD_MAX = 1 << 20, /* an echo of a later time is nonsense */
    /* The primary has said more since the newest echo that we know. */
    CLOCK_SLACK = 500,
};

typedef struct Flow {
    ColoTcpKey key;
    GQueue kept;               /* Kept, oldest first */
    uint64_t bytes;            /* of these */
    ColoNetFrame *word;        /* or NULL */
    bool word_is_rst;
    bool own_numbers;          /* .next and .clock: only a SYN was said */
    bool has_acked, has_heard, has_echo, has_ack, has_clock;
    bool has_floor;            /* taken: it only settles */
    uint32_t acked;            /* by the client */
    uint32_t heard;            /* behind what the guest has of the client */
    uint32_t echo;             /* newest of our timestamps the client has */
    uint32_t next;             /* behind what the guest has said */
    uint32_t ack, clock;       /* its newest */
    uint32_t floor;            /* of what its clock may say */
    uint16_t window;
    int64_t last_us;
    GList link;                /* in .flows_by_age; .data is the flow */
} Flow;

typedef struct Kept {
    ColoNetFrame *frame;
    Flow *flow;
    uint32_t end;              /* number behind it */
    GList in_flow, in_all;     /* .data is this */
} Kept;

struct ColoResend {
    ColoResendLimits limits;
    GHashTable *flows;         /* by .key of Flow */
    GQueue flows_by_age;
    GQueue kept;               /* of all flows, oldest first */
    ColoResendStats stats;
};

/* --------------------------------------------------------------- keeping */

static uint64_t cost(const ColoNetFrame *f)
{
    return sizeof(Kept) + sizeof(*f) + f->vnet_bytes + f->size;
}

/* The frame is the caller's. */
static ColoNetFrame *let_go(ColoResend *r, Kept *k)
{
    ColoNetFrame *f = k->frame;

    g_queue_unlink(&k->flow->kept, &k->in_flow);
    g_queue_unlink(&r->kept, &k->in_all);
    k->flow->bytes -= cost(f);
    r->stats.kept_bytes -= cost(f);
    r->stats.kept_frames--;
    g_free(k);
    return f;
}

static void drop(ColoResend *r, Kept *k)
{
    colo_net_frame_free(let_go(r, k));
}

static void drop_all(ColoResend *r, Flow *flow)
{
    while (flow->kept.head) {
        drop(r, flow->kept.head->data);
    }
}

static void set_word(Flow *flow, ColoNetFrame *f, bool is_rst)
{
    colo_net_frame_free(flow->word);
    if (f && f->size > WORD_MAX_BYTES) {
        colo_net_frame_free(f);
        f = NULL;
    }
    flow->word = f;
    flow->word_is_rst = is_rst;
}

static void make_room(ColoResend *r, Flow *flow)
{
    while (flow->bytes > r->limits.flow_bytes_max) {
        r->stats.dropped_frames++;
        drop(r, flow->kept.head->data);
    }
    while (r->stats.kept_bytes > r->limits.bytes_max) {
        r->stats.dropped_frames++;
        drop(r, r->kept.head->data);
    }
}

static void keep(ColoResend *r, Flow *flow, ColoNetFrame *f, uint32_t end)
{
    Kept *k = g_new(Kept, 1);

    *k = (Kept) {
        .frame = f, .flow = flow, .end = end,
        .in_flow.data = k, .in_all.data = k,
    };
    g_queue_push_tail_link(&flow->kept, &k->in_flow);
    g_queue_push_tail_link(&r->kept, &k->in_all);
    flow->bytes += cost(f);
    r->stats.kept_bytes += cost(f);
    r->stats.kept_frames++;
    make_room(r, flow);
}

/* ----------------------------------------------------------------- flows */

static void free_flow(gpointer opaque)
{
    Flow *flow = opaque;

    colo_net_frame_free(flow->word);
    g_free(flow);
}

static void forget(ColoResend *r, Flow *flow)
{
    drop_all(r, flow);
    g_queue_unlink(&r->flows_by_age, &flow->link);
    g_hash_table_remove(r->flows, &flow->key);
}

static Flow *oldest_flow(const ColoResend *r)
{
    return g_queue_peek_head((GQueue *)&r->flows_by_age);
}

static Flow *add_flow(ColoResend *r, const ColoTcpKey *key)
{
    Flow *flow;

    if (g_hash_table_size(r->flows) >= r->limits.flows_max) {
        flow = oldest_flow(r);
        r->stats.dropped_frames += flow->kept.length;
        forget(r, flow);
    }
    flow = g_new0(Flow, 1);
    flow->key = *key;
    flow->own_numbers = true;
    flow->link.data = flow;
    g_hash_table_insert(r->flows, &flow->key, flow);
    g_queue_push_tail_link(&r->flows_by_age, &flow->link);
    return flow;
}

static Flow *flow_of_guest(ColoResend *r, const ColoPacket *p,
                           int64_t now_us)
{
    ColoTcpKey key = colo_tcp_key(p, true);
    Flow *flow = g_hash_table_lookup(r->flows, &key);

    if (flow && p->tcp_flags & COLO_TCP_SYN) {
        forget(r, flow);        /* a new connection, or all of it again */
        flow = NULL;
    }
    if (!flow) {
        flow = add_flow(r, &key);
    } else {
        g_queue_unlink(&r->flows_by_age, &flow->link);
        g_queue_push_tail_link(&r->flows_by_age, &flow->link);
    }
    flow->last_us = now_us;
    return flow;
}

ColoResend *colo_resend_new(const ColoResendLimits *limits)
{
    ColoResend *r = g_new0(ColoResend, 1);

    r->limits = limits ? *limits : (ColoResendLimits) {
        .bytes_max = COLO_RESEND_BYTES_MAX,
        .flow_bytes_max = COLO_RESEND_FLOW_BYTES_MAX,
        .flows_max = COLO_RESEND_FLOWS_MAX,
    };
    r->flows = colo_tcp_key_table(free_flow);
    g_queue_init(&r->flows_by_age);
    g_queue_init(&r->kept);
    return r;
}

void colo_resend_reset(ColoResend *r)
{
    Flow *flow;

    while ((flow = oldest_flow(r))) {
        forget(r, flow);
    }
}

void colo_resend_free(ColoResend *r)
{
    if (r) {
        colo_resend_reset(r);
        g_hash_table_destroy(r->flows);
        g_free(r);
    }
}

void colo_resend_tick(ColoResend *r, int64_t now_us)
{
    Flow *flow;

    while ((flow = oldest_flow(r)) && now_us - flow->last_us >=
           (flow->has_floor ? COLO_RESEND_SETTLE_MAX_US
                            : COLO_RESEND_FLOW_MAX_US)) {
        forget(r, flow);
    }
}

void colo_resend_get_stats(const ColoResend *r, ColoResendStats *out)
{
    *out = r->stats;
    out->flows = g_hash_table_size(r->flows);
}

/* ---------------------------------------------------- both ends speaking */

/* Behind what @p takes of the numbers. */
static uint32_t end_of(const ColoPacket *p)
{
    return p->tcp_seq + p->payload_bytes + !!(p->tcp_flags & COLO_TCP_SYN) +
           !!(p->tcp_flags & COLO_TCP_FIN);
}

static void advance(uint32_t *number, bool *known, uint32_t to)
{
    if (!*known || colo_seq_before(*number, to)) {
        *number = to;
        *known = true;
    }
}

/* Numbers of a SYN may be the guest's own, and are not to be compared. */
static void note_said(Flow *flow, const uint8_t *eth, const ColoPacket *p)
{
    uint32_t end = end_of(p);

    if (flow->own_numbers || colo_seq_before(flow->next, end)) {
        flow->next = end;
    }
    flow->has_clock = flow->has_clock && !flow->own_numbers;
    flow->own_numbers = p->tcp_flags & COLO_TCP_SYN;
    if (p->has_timestamp) {
        advance(&flow->clock, &flow->has_clock,
                colo_packet_timestamp(eth, p, 0));
    }
    if (p->tcp_flags & COLO_TCP_ACK) {
        advance(&flow->ack, &flow->has_ack, p->tcp_ack);
        advance(&flow->heard, &flow->has_heard, p->tcp_ack);
        flow->window = p->tcp_window;
    }
}

/* Acknowledged already, or here already? */
static bool is_repeated(const Flow *flow, uint32_t end)
{
    const Kept *last = flow->kept.tail ? flow->kept.tail->data : NULL;

    return (last && !colo_seq_before(last->end, end)) ||
           (flow->has_acked && !colo_seq_before(flow->acked, end));
}

void colo_resend_egress(ColoResend *r, ColoNetFrame *f, const ColoPacket *p,
                        int64_t now_us)
{
    uint32_t end = end_of(p);
    Flow *flow;

    if (p->kind != COLO_PACKET_TCP) {
        colo_net_frame_free(f);
        return;
    }
    flow = flow_of_guest(r, p, now_us);
    if (p->tcp_flags & COLO_TCP_RST) {
        drop_all(r, flow);
        set_word(flow, f, true);
        return;
    }
    if (flow->own_numbers && !(p->tcp_flags & COLO_TCP_SYN)) {
        drop_all(r, flow);      /* who goes on was answered */
    }
    note_said(flow, colo_net_frame_eth(f), p);
    if (end == p->tcp_seq) {
        set_word(flow, f, false);
    } else if (is_repeated(flow, end)) {
        colo_net_frame_free(f);
    } else {
        keep(r, flow, f, end);
    }
}

static void acknowledge(ColoResend *r, Flow *flow, uint32_t ack)
{
    Kept *k;

    if (flow->own_numbers) {
        drop_all(r, flow);      /* a SYN, and what was said with it */
        return;
    }
    if (!colo_seq_before(flow->next, ack)) {
        advance(&flow->acked, &flow->has_acked, ack);
    }
    while ((k = g_queue_peek_head(&flow->kept)) &&
           !colo_seq_before(ack, k->end)) {
        drop(r, k);
    }
}

/* 0 is what those say who do not echo. */
static void note_echo(Flow *flow, uint32_t echo)
{
    if (echo) {
        advance(&flow->echo, &flow->has_echo, echo);
    }
}

void colo_resend_ingress(ColoResend *r, const uint8_t *eth,
                         const ColoPacket *p)
{
    const unsigned asks = COLO_TCP_SYN | COLO_TCP_ACK;
    ColoTcpKey key;
    Flow *flow;

    if (p->kind != COLO_PACKET_TCP || g_hash_table_size(r->flows) == 0 ||
        (p->tcp_flags & asks) == COLO_TCP_SYN) {
        return;                 /* what the guest says to a SYN counts */
    }
    key = colo_tcp_key(p, false);
    flow = g_hash_table_lookup(r->flows, &key);
    if (!flow) {
        return;
    }
    if (p->tcp_flags & COLO_TCP_RST) {
        drop_all(r, flow);
        set_word(flow, NULL, false);
        return;
    }
    advance(&flow->heard, &flow->has_heard, end_of(p));
    if (p->tcp_flags & COLO_TCP_ACK) {
        acknowledge(r, flow, p->tcp_ack);
        if (p->has_timestamp) {
            note_echo(flow, colo_packet_timestamp(eth, p, 1));
        }
    }
}

bool colo_resend_is_news(const ColoResend *r, const ColoPacket *p)
{
    ColoTcpKey key = colo_tcp_key(p, false);
    const Flow *flow = g_hash_table_lookup(r->flows, &key);
    uint32_t end = end_of(p);

    if (!flow || p->tcp_flags & (COLO_TCP_SYN | COLO_TCP_RST)) {
        return true;
    }
    if (end != p->tcp_seq) {
        return !flow->has_heard || colo_seq_before(flow->heard, end);
    }
    return !flow->has_acked || !colo_seq_before(p->tcp_ack, flow->acked);
}

/* ---------------------------------------------------------- sending again */

/* A time that its client takes, whatever the primary has said to it. */
static void set_floor(Flow *flow)
{
    uint32_t ahead = flow->echo - flow->clock;

    if (!flow->has_clock || flow->own_numbers) {
        return;
    }
    flow->has_floor = true;
    flow->floor = flow->clock + CLOCK_SLACK;
    if (flow->has_echo && ahead <= CLOCK_AHEAD_MAX) {
        flow->floor += ahead;
    }
}

static bool raise_clock(const Flow *flow, uint8_t *eth, ColoPacket *p)
{
    if (!flow->has_floor || !p->has_timestamp ||
        p->tcp_flags & COLO_TCP_SYN ||
        !colo_seq_before(colo_packet_timestamp(eth, p, 0), flow->floor)) {
        return false;
    }
    colo_packet_set_timestamp(eth, p, 0, flow->floor);
    return true;
}

/* As the guest would say it now. */
static void renew(const Flow *flow, ColoNetFrame *f, bool pure)
{
    uint8_t *eth = colo_net_frame_eth(f);
    ColoPacket p;

    colo_packet_parse_frame(f, &p);
    raise_clock(flow, eth, &p);
    if (pure && p.tcp_seq != flow->next) {
        colo_packet_set_seq(eth, &p, flow->next);
    }
    if (p.tcp_flags & COLO_TCP_ACK && p.tcp_ack != flow->ack) {
        colo_packet_set_ack(eth, &p, flow->ack);
        colo_packet_drop_sack(eth, &p);
    }
    if (!(p.tcp_flags & COLO_TCP_SYN) && p.tcp_window != flow->window) {
        colo_packet_set_window(eth, &p, flow->window);
    }
}

typedef struct List {
    ColoNetFrame *first, **end;
} List;

static void append(List *list, ColoNetFrame *f)
{
    f->next = NULL;
    *list->end = f;
    list->end = &f->next;
}

/* Of those flows which nothing else was sent of. */
static void take_words(ColoResend *r, List *list, int64_t now_us)
{
    GList *at;

    for (at = r->flows_by_age.head; at; at = at->next) {
        Flow *flow = at->data;

        if (flow->word &&
            now_us - flow->last_us < COLO_RESEND_WORD_MAX_US) {
            if (!flow->word_is_rst) {
                renew(flow, flow->word, true);
            }
            append(list, g_steal_pointer(&flow->word));
        }
    }
}

static void begin_settling(ColoResend *r)
{
    GList *at;

    for (at = r->flows_by_age.head; at; at = at->next) {
        set_floor(at->data);
    }
}

/* Only flows are left whose clock has a floor. */
static void settle_down(ColoResend *r, int64_t now_us)
{
    GList *at, *next;

    for (at = r->flows_by_age.head; at; at = next) {
        Flow *flow = at->data;

        next = at->next;
        set_word(flow, NULL, false);
        flow->last_us = now_us;
        if (!flow->has_floor) {
            forget(r, flow);
        }
    }
}

ColoNetFrame *colo_resend_take(ColoResend *r, int64_t now_us)
{
    List list = { .end = &list.first };
    Kept *k;

    begin_settling(r);
    while ((k = g_queue_peek_head(&r->kept))) {
        Flow *flow = k->flow;

        renew(flow, k->frame, false);
        set_word(flow, NULL, false);    /* this says it, too */
        append(&list, let_go(r, k));
    }
    take_words(r, &list, now_us);
    settle_down(r, now_us);
    return list.first;
}

bool colo_resend_settle(ColoResend *r, uint8_t *eth, ColoPacket *p)
{
    ColoTcpKey key;
    Flow *flow;

    if (p->kind != COLO_PACKET_TCP || g_hash_table_size(r->flows) == 0) {
        return false;
    }
    key = colo_tcp_key(p, true);
    flow = g_hash_table_lookup(r->flows, &key);
    if (!flow) {
        return false;
    }
    if (raise_clock(flow, eth, p)) {
        return true;
    }
    forget(r, flow);
    return false;
}
