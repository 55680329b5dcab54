/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: the client's TCP connections are the primary's.
 *
 * One table of flows, by VLAN, addresses and ports. A flow is made by a SYN of
 * the guest and is in one of three states:
 *
 *   SYN_SENT   the guest opens; the client's SYN-ACK or its refusal tells the
 *              difference. A bare ACK does not: a peer that still has an old
 *              connection answers with one (RFC 9293 3.10.7), and the guest
 *              has to see it as it is
 *   ANSWERED   the guest has sent SYN-ACK; any segment of the client which
 *              fits behind that SYN-ACK tells the difference
 *   LEARNED    .seq_delta and .ts_delta are known, everything is translated,
 *              also what the guest repeats of its SYN
 *
 * In lockstep the client hears of a connection only after both guests have
 * answered, so the guest's SYN is always here before the client's answer.
 *
 * Timestamps: the difference comes from the first SYN that the guest sent,
 * however often it repeats it. Should the client echo a later one of the
 * primary's, the difference is too large rather than too small, and that is
 * the harmless side: after a failover the client's clock of us (RFC 7323 5)
 * jumps ahead, never back.
 *
 * Half-open and ended flows are on a list in the order of their last frame;
 * they are forgotten after linger_us, or sooner for want of room. Live flows
 * are never forgotten but by reset(). An RST which the guest did not believe
 * is taken back by the next thing that the guest says.
 *
 * Fragments are left alone: a segment whose header and payload are in
 * different frames has a checksum that cannot be verified here.
 */
#include <string.h>
#include <glib.h>
#include <xxhash.h>
#include "colo/rewrite.h"

enum {
    /* A SYN-ACK offers an unscaled window: so much may be sent before its
     * sender says anything else (RFC 7323 2.2). */
    FIRST_WINDOW_BYTES = 65535,
    VLAN_ID_MAX = 4095,
};

typedef enum FlowState {
    FLOW_SYN_SENT,
    FLOW_ANSWERED,
    FLOW_LEARNED,
} FlowState;

/* Compared as bytes: no padding, unused parts are 0. */
typedef struct FlowKey {
    uint8_t family, tag_count;
    uint16_t tags[2];
    uint16_t guest_port, client_port;
    uint8_t guest[16], client[16];
} FlowKey;

G_STATIC_ASSERT(sizeof(FlowKey) == 42);

typedef struct Flow {
    FlowKey key;
    uint8_t state;             /* FlowState */
    bool isn_known;            /* not if imported */
    bool has_timestamp;        /* the guest's SYN had one */
    bool guest_fin, client_fin, rst;
    bool listed;               /* link is in .passing */
    uint32_t isn;              /* the guest's own */
    uint32_t syn_end;          /* what acknowledges its SYN, own numbers */
    uint32_t syn_tsval;
    uint32_t client_next;      /* ANSWERED: next that the guest expects */
    uint32_t seq_delta;        /* client's view minus guest's */
    uint32_t ts_delta;
    int64_t last_us;
    GList link;                /* .data is the flow */
} Flow;

struct ColoRewrite {
    GHashTable *flows;         /* FlowKey in Flow -> Flow */
    GQueue passing;            /* half-open and ended, oldest first */
    uint32_t flows_max;
    int64_t linger_us;
    bool learning;
    ColoRewriteStats stats;
};

/* ------------------------------------------------------------- the table */

static guint key_hash(gconstpointer key)
{
    return XXH3_64bits(key, sizeof(FlowKey));
}

static gboolean key_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(FlowKey)) == 0;
}

ColoRewrite *colo_rewrite_new(uint32_t flows_max, int64_t linger_us)
{
    ColoRewrite *r = g_new0(ColoRewrite, 1);

    r->flows = g_hash_table_new_full(key_hash, key_equal, NULL, g_free);
    g_queue_init(&r->passing);
    r->flows_max = flows_max;
    r->linger_us = linger_us;
    return r;
}

void colo_rewrite_free(ColoRewrite *r)
{
    if (r) {
        g_hash_table_destroy(r->flows);
        g_free(r);
    }
}

static FlowKey packet_key(const ColoPacket *p, bool egress)
{
    FlowKey key = {
        .family = p->family,
        .tag_count = p->tag_count,
        .guest_port = egress ? p->src_port : p->dst_port,
        .client_port = egress ? p->dst_port : p->src_port,
    };

    memcpy(key.tags, p->tags, p->tag_count * sizeof(key.tags[0]));
    memcpy(key.guest, egress ? p->src : p->dst, sizeof(key.guest));
    memcpy(key.client, egress ? p->dst : p->src, sizeof(key.client));
    return key;
}

static bool has_difference(const Flow *flow)
{
    return flow->seq_delta != 0 || flow->ts_delta != 0;
}

static bool has_ended(const Flow *flow)
{
    return flow->rst || (flow->guest_fin && flow->client_fin);
}

static void unlist(ColoRewrite *r, Flow *flow)
{
    if (flow->listed) {
        g_queue_unlink(&r->passing, &flow->link);
        flow->listed = false;
    }
}

static void drop(ColoRewrite *r, Flow *flow)
{
    unlist(r, flow);
    g_hash_table_remove(r->flows, &flow->key);
}

/* After each frame: the flow's place in the list, or that it has none. */
static void touch(ColoRewrite *r, Flow *flow, int64_t now_us)
{
    unlist(r, flow);
    flow->last_us = now_us;
    if (flow->state != FLOW_LEARNED || has_ended(flow)) {
        flow->link.data = flow;
        g_queue_push_tail_link(&r->passing, &flow->link);
        flow->listed = true;
    }
}

/* NULL: no room, and nothing that could make some. */
static Flow *add(ColoRewrite *r, const FlowKey *key)
{
    Flow *flow;

    if (g_hash_table_size(r->flows) >= r->flows_max) {
        Flow *oldest = g_queue_peek_head(&r->passing);

        if (!oldest) {
            r->stats.refused_flows++;
            return NULL;
        }
        r->stats.evicted_flows++;
        drop(r, oldest);
    }
    flow = g_new0(Flow, 1);
    flow->key = *key;
    g_hash_table_insert(r->flows, &flow->key, flow);
    return flow;
}

void colo_rewrite_reset(ColoRewrite *r)
{
    g_queue_init(&r->passing);
    g_hash_table_remove_all(r->flows);
}

void colo_rewrite_tick(ColoRewrite *r, int64_t now_us)
{
    Flow *oldest;

    while ((oldest = g_queue_peek_head(&r->passing)) &&
           now_us - oldest->last_us >= r->linger_us) {
        drop(r, oldest);
    }
}

void colo_rewrite_set_learning(ColoRewrite *r, bool on)
{
    r->learning = on;
}

void colo_rewrite_survive(ColoRewrite *r)
{
    GHashTableIter iter;
    gpointer value;

    r->learning = false;
    g_hash_table_iter_init(&iter, r->flows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Flow *flow = value;

        if (flow->state == FLOW_LEARNED && !has_difference(flow)) {
            unlist(r, flow);
            g_hash_table_iter_remove(&iter);
        }
    }
}

void colo_rewrite_get_stats(const ColoRewrite *r, ColoRewriteStats *out)
{
    *out = r->stats;
    out->flows = g_hash_table_size(r->flows);
}

/* ------------------------------------------------------------ handshakes */

static bool is_syn(const ColoPacket *p)
{
    return (p->tcp_flags & (COLO_TCP_SYN | COLO_TCP_RST)) == COLO_TCP_SYN;
}

static void begin_handshake(ColoRewrite *r, Flow *flow, const uint8_t *eth,
                            const ColoPacket *p)
{
    const FlowKey key = flow->key;

    unlist(r, flow);
    *flow = (Flow) {
        .key = key, .state = FLOW_SYN_SENT,
        .isn_known = true, .isn = p->tcp_seq,
        .has_timestamp = p->has_timestamp,
    };
    if (p->has_timestamp) {
        flow->syn_tsval = colo_packet_timestamp(eth, p, 0);
    }
}

/* The guest's SYN, with or without ACK. NULL: nothing to do with it. */
static Flow *guest_syn(ColoRewrite *r, Flow *flow, const FlowKey *key,
                       const uint8_t *eth, const ColoPacket *p)
{
    bool again = flow && flow->isn_known && flow->isn == p->tcp_seq;

    if (!again) {
        if (!r->learning) {
            if (flow) {
                drop(r, flow);
            }
            return NULL;
        }
        flow = flow ? flow : add(r, key);
        if (!flow) {
            return NULL;
        }
        begin_handshake(r, flow, eth, p);
    }
    /* Data inside a SYN (RFC 7413) is acknowledged with it; what is repeated
     * comes without. */
    flow->syn_end = p->tcp_seq + 1 + p->payload_bytes;
    if (flow->state != FLOW_LEARNED && (p->tcp_flags & COLO_TCP_ACK)) {
        flow->state = FLOW_ANSWERED;
        flow->client_next = p->tcp_ack;
    }
    return flow;
}

/* Can this segment of the client be an answer to the guest's SYN? */
static bool answers(const Flow *flow, const ColoPacket *p)
{
    uint32_t seq = p->tcp_seq + (is_syn(p) ? 1 : 0);

    if (!(p->tcp_flags & COLO_TCP_ACK)) {
        return false;
    }
    if (flow->state == FLOW_SYN_SENT) {
        return p->tcp_flags & (COLO_TCP_SYN | COLO_TCP_RST);
    }
    return seq - flow->client_next <= FIRST_WINDOW_BYTES;
}

static void learn(ColoRewrite *r, Flow *flow, const uint8_t *eth,
                  const ColoPacket *p)
{
    uint32_t tsecr;

    flow->state = FLOW_LEARNED;
    flow->seq_delta = p->tcp_ack - flow->syn_end;
    if (flow->has_timestamp && p->has_timestamp) {
        tsecr = colo_packet_timestamp(eth, p, 1);
        /* 0 is what those say who do not echo */
        flow->ts_delta = tsecr ? tsecr - flow->syn_tsval : 0;
    }
    r->stats.learned_flows++;
}

static void note_end(Flow *flow, const ColoPacket *p, bool egress)
{
    if (p->tcp_flags & COLO_TCP_RST) {
        flow->rst = true;
        return;
    }
    if (p->tcp_flags & COLO_TCP_FIN) {
        *(egress ? &flow->guest_fin : &flow->client_fin) = true;
    }
    if (egress) {
        flow->rst = false;
    }
}

/* ----------------------------------------------------------- translation */

static bool change_egress(const Flow *flow, uint8_t *eth, ColoPacket *p)
{
    const unsigned refusal = COLO_TCP_RST | COLO_TCP_ACK;
    bool changed = false;

    /* A refusal of what had no ACK has number 0 (RFC 9293 3.10.7). */
    if (flow->seq_delta &&
        (p->tcp_seq != 0 || (p->tcp_flags & refusal) != refusal)) {
        colo_packet_set_seq(eth, p, p->tcp_seq + flow->seq_delta);
        changed = true;
    }
    if (flow->ts_delta && p->has_timestamp) {
        colo_packet_set_timestamp(eth, p, 0, colo_packet_timestamp(eth, p, 0)
                                             + flow->ts_delta);
        changed = true;
    }
    return changed;
}

/* Without ACK a segment says nothing about the guest's numbers. */
static bool change_ingress(const Flow *flow, uint8_t *eth, ColoPacket *p)
{
    bool changed = false;

    if (!(p->tcp_flags & COLO_TCP_ACK)) {
        return false;
    }
    if (flow->seq_delta) {
        colo_packet_set_ack(eth, p, p->tcp_ack - flow->seq_delta);
        colo_packet_shift_sack(eth, p, -flow->seq_delta);
        changed = true;
    }
    if (flow->ts_delta && p->has_timestamp) {
        colo_packet_set_timestamp(eth, p, 1, colo_packet_timestamp(eth, p, 1)
                                             - flow->ts_delta);
        changed = true;
    }
    return changed;
}

bool colo_rewrite_egress(ColoRewrite *r, ColoNetFrame *f, int64_t now_us)
{
    uint8_t *eth = colo_net_frame_eth(f);
    ColoPacket p;
    FlowKey key;
    Flow *flow;
    bool changed;

    colo_packet_parse_frame(f, &p);
    if (p.kind != COLO_PACKET_TCP) {
        return false;
    }
    r->stats.egress_frames++;
    key = packet_key(&p, true);
    flow = g_hash_table_lookup(r->flows, &key);
    if (is_syn(&p)) {
        flow = guest_syn(r, flow, &key, eth, &p);
    }
    if (!flow) {
        return false;
    }
    note_end(flow, &p, true);
    touch(r, flow, now_us);
    changed = flow->state == FLOW_LEARNED && change_egress(flow, eth, &p);
    r->stats.rewritten_frames += changed;
    return changed;
}

bool colo_rewrite_ingress(ColoRewrite *r, ColoNetFrame *f, int64_t now_us)
{
    uint8_t *eth = colo_net_frame_eth(f);
    ColoPacket p;
    FlowKey key;
    Flow *flow;
    bool changed;

    colo_packet_parse_frame(f, &p);
    if (p.kind != COLO_PACKET_TCP) {
        return false;
    }
    r->stats.ingress_frames++;
    key = packet_key(&p, false);
    flow = g_hash_table_lookup(r->flows, &key);
    if (!flow) {
        return false;
    }
    if (flow->state != FLOW_LEARNED && answers(flow, &p)) {
        learn(r, flow, eth, &p);
        if (!r->learning && !has_difference(flow)) {
            drop(r, flow);
            return false;
        }
    }
    note_end(flow, &p, false);
    touch(r, flow, now_us);
    changed = flow->state == FLOW_LEARNED && change_ingress(flow, eth, &p);
    r->stats.rewritten_frames += changed;
    return changed;
}

/* ----------------------------------------------- travel with a checkpoint */

uint32_t colo_rewrite_export_count(const ColoRewrite *r)
{
    GHashTableIter iter;
    gpointer value;
    uint32_t count = 0;

    g_hash_table_iter_init(&iter, r->flows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        count += has_difference(value);
    }
    return count;
}

static void export_one(const Flow *flow, ColoRewriteFlow *out)
{
    *out = (ColoRewriteFlow) {
        .family = flow->key.family,
        .tag_count = flow->key.tag_count,
        .ended = has_ended(flow),
        .guest_port = flow->key.guest_port,
        .client_port = flow->key.client_port,
        .seq_delta = flow->seq_delta,
        .ts_delta = flow->ts_delta,
    };
    memcpy(out->tags, flow->key.tags, sizeof(out->tags));
    memcpy(out->guest, flow->key.guest, sizeof(out->guest));
    memcpy(out->client, flow->key.client, sizeof(out->client));
}

void colo_rewrite_export(const ColoRewrite *r, ColoRewriteFlow *out,
                         uint32_t *count)
{
    GHashTableIter iter;
    gpointer value;
    uint32_t done = 0;

    g_hash_table_iter_init(&iter, r->flows);
    while (done < *count && g_hash_table_iter_next(&iter, NULL, &value)) {
        if (has_difference(value)) {
            export_one(value, &out[done++]);
        }
    }
    *count = done;
}

static bool tags_fit(const ColoRewriteFlow *in)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(in->tags); i++) {
        if (in->tags[i] > (i < in->tag_count ? VLAN_ID_MAX : 0)) {
            return false;
        }
    }
    return in->tag_count <= G_N_ELEMENTS(in->tags);
}

static bool address_fits(unsigned family, const uint8_t address[16])
{
    static const uint8_t zero[12];

    return family == 6 ||
           (family == 4 && memcmp(address + 4, zero, sizeof(zero)) == 0);
}

static Flow *import_one(const ColoRewriteFlow *in)
{
    Flow *flow;

    if (!tags_fit(in) || !address_fits(in->family, in->guest) ||
        !address_fits(in->family, in->client) ||
        (in->seq_delta == 0 && in->ts_delta == 0)) {
        return NULL;
    }
    flow = g_new0(Flow, 1);
    flow->state = FLOW_LEARNED;
    flow->guest_fin = flow->client_fin = in->ended;
    flow->seq_delta = in->seq_delta;
    flow->ts_delta = in->ts_delta;
    flow->key.family = in->family;
    flow->key.tag_count = in->tag_count;
    flow->key.guest_port = in->guest_port;
    flow->key.client_port = in->client_port;
    memcpy(flow->key.tags, in->tags, sizeof(in->tags));
    memcpy(flow->key.guest, in->guest, sizeof(in->guest));
    memcpy(flow->key.client, in->client, sizeof(in->client));
    return flow;
}

bool colo_rewrite_import(ColoRewrite *r, const ColoRewriteFlow *in,
                         uint32_t count, int64_t now_us)
{
    GHashTable *flows;
    GHashTableIter iter;
    gpointer value;
    uint32_t i;

    if (count > r->flows_max) {
        return false;
    }
    flows = g_hash_table_new_full(key_hash, key_equal, NULL, g_free);
    for (i = 0; i < count; i++) {
        Flow *flow = import_one(&in[i]);

        if (!flow || !g_hash_table_replace(flows, &flow->key, flow)) {
            g_hash_table_destroy(flows);
            return false;
        }
    }
    colo_rewrite_reset(r);
    g_hash_table_destroy(r->flows);
    r->flows = flows;
    g_hash_table_iter_init(&iter, flows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        touch(r, value, now_us);
    }
    return true;
}
