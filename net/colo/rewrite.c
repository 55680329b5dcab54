/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: the client's TCP connections are the primary's.
 *
 * A flow is made by a SYN of the guest and is in one of three states:
 *
 *   SYN_SENT   the guest opens; the client's SYN-ACK or its refusal tells the
 *              difference. A bare ACK does not: a peer that still has an old
 *              connection answers with one (RFC 9293 3.10.7), and the guest
 *              has to see it as it is. For a survivor it does: that old
 *              connection is most likely what the primary's SYN has opened,
 *              and the guest would break it
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
 * A flow has ended with FIN from both ends or RST. An RST which the guest did
 * not believe is taken back by the next thing that the guest says.
 *
 * Fragments are left alone: a segment whose header and payload are in
 * different frames has a checksum that cannot be verified here.
 */
#include "rewrite-int.h"

/* A SYN-ACK offers an unscaled window: so much may be sent before its sender
 * says anything else (RFC 7323 2.2). */
enum { FIRST_WINDOW_BYTES = 65535 };

/* ------------------------------------------------------------ handshakes */

static bool is_syn(const ColoPacket *p)
{
    return (p->tcp_flags & (COLO_TCP_SYN | COLO_TCP_RST)) == COLO_TCP_SYN;
}

static void begin_handshake(Flow *flow, const uint8_t *eth,
                            const ColoPacket *p)
{
    flow->state = FLOW_SYN_SENT;
    flow->isn_known = true;
    flow->isn = p->tcp_seq;
    flow->has_timestamp = p->has_timestamp;
    if (p->has_timestamp) {
        flow->syn_tsval = colo_packet_timestamp(eth, p, 0);
    }
}

/* The guest's SYN, with or without ACK. NULL: nothing to do with it. */
static Flow *guest_syn(ColoRewrite *r, Flow *flow, const ColoTcpKey *key,
                       const uint8_t *eth, const ColoPacket *p)
{
    if (flow && !(flow->isn_known && flow->isn == p->tcp_seq)) {
        colo_rewrite_drop(r, flow);
        flow = NULL;
    }
    if (!flow && r->learning) {
        flow = colo_rewrite_add(r, key);
        if (flow) {
            begin_handshake(flow, eth, p);
        }
    }
    if (!flow) {
        return NULL;
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
static bool answers(const ColoRewrite *r, const Flow *flow,
                    const ColoPacket *p)
{
    uint32_t seq = p->tcp_seq + (is_syn(p) ? 1 : 0);

    if (!(p->tcp_flags & COLO_TCP_ACK)) {
        return false;
    }
    if (flow->state == FLOW_SYN_SENT) {
        return !r->learning || p->tcp_flags & (COLO_TCP_SYN | COLO_TCP_RST);
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

bool colo_rewrite_egress(ColoRewrite *r, ColoNetFrame *f, ColoPacket *p,
                         int64_t now_us)
{
    uint8_t *eth = colo_net_frame_eth(f);
    ColoTcpKey key;
    Flow *flow;
    bool changed;

    if (p->kind != COLO_PACKET_TCP) {
        return false;
    }
    r->stats.egress_frames++;
    key = colo_tcp_key(p, true);
    flow = colo_rewrite_find(r, &key);
    if (is_syn(p)) {
        flow = guest_syn(r, flow, &key, eth, p);
    }
    if (!flow) {
        return false;
    }
    note_end(flow, p, true);
    colo_rewrite_touch(r, flow, now_us);
    changed = flow->state == FLOW_LEARNED && change_egress(flow, eth, p);
    r->stats.rewritten_frames += changed;
    return changed;
}

bool colo_rewrite_ingress(ColoRewrite *r, ColoNetFrame *f, ColoPacket *p,
                          int64_t now_us)
{
    uint8_t *eth = colo_net_frame_eth(f);
    ColoTcpKey key;
    Flow *flow;
    bool changed;

    if (p->kind != COLO_PACKET_TCP) {
        return false;
    }
    r->stats.ingress_frames++;
    key = colo_tcp_key(p, false);
    flow = colo_rewrite_find(r, &key);
    if (!flow) {
        return false;
    }
    if (flow->state != FLOW_LEARNED && answers(r, flow, p)) {
        learn(r, flow, eth, p);
        if (!r->learning && !flow_has_difference(flow)) {
            colo_rewrite_drop(r, flow);
            return false;
        }
    }
    note_end(flow, p, false);
    colo_rewrite_touch(r, flow, now_us);
    changed = flow->state == FLOW_LEARNED && change_ingress(flow, eth, p);
    r->stats.rewritten_frames += changed;
    return changed;
}
