/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: TCP is compared as a byte stream.
 *
 * A flow has one stream, what its guest sends. SYN and FIN are places in it
 * as RFC 9293 counts them. @cmp is the place up to which both guests have
 * sent the same. Segments of the primary wait in order of arrival until @cmp
 * has passed them; segments of the secondary wait in order of the stream
 * until the primary has sent as much. How either side cuts the stream into
 * segments does not matter, nor does what it repeats.
 *
 * An acknowledgement is a promise: the client forgets what is acknowledged.
 * So none leaves that goes beyond what both guests have acknowledged. Frames
 * that say more are lowered, and the newest one is kept (@ack) to be sent
 * when the other side has caught up.
 *
 * What overtakes held data must not look younger than it: the client would
 * take the data for duplicates of long ago (PAWS, RFC 7323 section 5). So
 * timestamps of what leaves never go back, nor beyond what is still held.
 *
 * Numbers of the secondary are the primary's already (rewrite.h), but for
 * those in SYN. Acknowledgements are of the client's stream, which is one
 * and the same. All comparisons are modular, so numbers may wrap.
 */
#include "compare-int.h"

enum {
    SPLIT_SEGMENTS = 2,        /* of a GSO frame, proven: go on at once */
    REPETITION_MAX_BYTES = 1 << 30,     /* the largest window, RFC 7323 */
};

static bool after(uint32_t a, uint32_t b)
{
    return colo_seq_diff(a, b) > 0;
}

static uint32_t earlier(uint32_t a, uint32_t b)
{
    return after(a, b) ? b : a;
}

static void raise_to(uint32_t *value, bool *known, uint32_t to)
{
    if (!*known || after(to, *value)) {
        *value = to;
        *known = true;
    }
}

static bool has(const ColoItem *item, uint8_t flag)
{
    return item->view.tcp_flags & flag;
}

static uint8_t *eth_of(const ColoItem *item)
{
    return colo_net_frame_eth(item->frames);
}

/* Where the first byte of its data is in the stream. */
static uint32_t data_start(const ColoItem *item)
{
    return item->start + !!has(item, COLO_TCP_SYN);
}

static void find_place(ColoItem *item)
{
    const ColoPacket *v = &item->view;

    item->start = item->left = v->tcp_seq;
    item->end = v->tcp_seq + !!has(item, COLO_TCP_SYN) + v->payload_bytes +
                !!has(item, COLO_TCP_FIN);
}

static ColoItem *tail(ColoItem **queue, ColoItem **end)
{
    return end == queue ? NULL
           : (ColoItem *)((char *)end - offsetof(ColoItem, next));
}

/* ------------------------------------------------------------- leaving */

static void set_left_ack(ColoTcpFlow *t, const ColoItem *item)
{
    if (has(item, COLO_TCP_ACK)) {
        raise_to(&t->left_ack, &t->left_ack_known, item->view.tcp_ack);
    }
}

/* @eth is a frame with the headers of @view that leaves now. */
static void set_time(ColoFlow *flow, uint8_t *eth, ColoPacket *view)
{
    ColoTcpFlow *t = &flow->tcp;
    const ColoItem *head = flow->live ? flow->live->primary : NULL;
    uint32_t time;

    if (!view->tcp_timestamp) {
        return;
    }
    time = colo_packet_timestamp(eth, view, 0);
    if (head && head->view.tcp_timestamp) {
        time = earlier(time, colo_packet_timestamp(eth_of(head), &head->view,
                                                   0));
    }
    raise_to(&t->left_time, &t->left_time_known, time);
    colo_packet_set_timestamp(eth, view, 0, t->left_time);
}

/*
 * Nobody is invited to send more than either side has room for. Windows in
 * segments behind the SYN have one scale, since the SYNs agreed on it.
 */
static void set_window(ColoTcpFlow *t, uint8_t *eth, ColoPacket *view)
{
    if (!(view->tcp_flags & COLO_TCP_ACK) || !t->s_ack_known ||
        (view->tcp_flags & (COLO_TCP_SYN | COLO_TCP_RST))) {
        return;
    }
    if (view->tcp_window > t->s_window) {
        colo_packet_set_window(eth, view, t->s_window);
    }
    t->left_window = view->tcp_window;
}

/* A frame with the headers of @view, not held by anybody, leaves now. */
static void finish(ColoFlow *flow, uint8_t *eth, ColoPacket *view)
{
    set_time(flow, eth, view);
    set_window(&flow->tcp, eth, view);
}

/* Keep @item to be sent when its acknowledgement may leave. */
static void keep_ack(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoLive *live = colo_flow_live(c, flow);

    if (live->ack) {
        if (!after(item->view.tcp_ack, live->ack->view.tcp_ack) &&
            item->view.tcp_ack != live->ack->view.tcp_ack) {
            colo_item_merge(c, item);
            return;
        }
        /* The client waits since the first that was kept. */
        item->since_us = live->ack->since_us;
        colo_item_merge(c, live->ack);
    }
    live->ack = item;
}

static bool is_pure_ack(const ColoItem *item)
{
    return item->start == item->end && has(item, COLO_TCP_ACK) &&
           !has(item, COLO_TCP_RST);
}

/* Nobody waits for acknowledgements of a connection that is over. */
static void drop_acks(ColoCompare *c, ColoFlow *flow)
{
    ColoLive *live = flow->live;
    ColoItem **at = live ? &live->primary : NULL;

    if (live && live->ack) {
        colo_item_merge(c, g_steal_pointer(&live->ack));
    }
    while (at && *at) {
        if (is_pure_ack(*at)) {
            live->primary_count--;
            colo_item_merge(c, colo_queue_take(at, &live->primary_end));
        } else {
            at = &(*at)->next;
        }
    }
}

/* A pure acknowledgement that says what @item's frame says. */
static ColoItem *ack_of(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoNetFrame *f = colo_packet_part(item->frames, &item->view, 0, 0,
                                       COLO_TCP_ACK, item->end,
                                       item->view.tcp_ack, -1);
    ColoPacket view;
    ColoItem *made;

    colo_packet_parse_frame(f, &view);
    made = colo_item_new(c, f, &view, true);
    made->flow = flow;
    made->made = true;
    find_place(made);
    return made;
}

/* May its acknowledgement leave, if need be lowered? */
static bool ack_possible(const ColoTcpFlow *t, const ColoItem *item)
{
    return !has(item, COLO_TCP_ACK) || t->s_ack_known;
}

static void lower_ack(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;

    if (has(item, COLO_TCP_ACK) && after(item->view.tcp_ack, t->s_ack)) {
        keep_ack(c, flow, ack_of(c, flow, item));
        colo_packet_set_ack(eth_of(item), &item->view, t->s_ack);
        /* What it names beyond may be missing at the secondary. */
        colo_packet_drop_sack(eth_of(item), &item->view);
        c->stats.made_frames++;
    }
    set_left_ack(t, item);
}

/*
 * The secondary repeats its acknowledgement while the primary is ahead: it
 * has lost something, or it has room again. The client has to learn that
 * from the secondary's own words, since the primary has no reason to say it.
 */
static void repeat_ack(ColoCompare *c, ColoFlow *flow, ColoItem *item,
                       bool repeated)
{
    ColoTcpFlow *t = &flow->tcp;
    uint8_t *eth = eth_of(item);
    bool room = t->s_window > t->left_window &&
                t->p_window > t->left_window;
    bool lost = repeated && after(t->p_ack, t->s_ack);

    if (!is_pure_ack(item) || !t->p_end_known || t->syn_waits ||
        flow->diverged || colo_keeps_all(c) || !t->left_ack_known ||
        !t->p_ack_known || item->view.tcp_ack != t->left_ack ||
        !(room || lost)) {
        return;
    }
    colo_packet_set_seq(eth, &item->view,
                        earlier(item->start,
                                t->cmp_known ? t->cmp : t->p_end));
    if (item->view.tcp_window > t->p_window) {
        colo_packet_set_window(eth, &item->view, t->p_window);
    }
    finish(flow, eth, &item->view);
    colo_frame_leave(c, g_steal_pointer(&item->frames));
}

/* The places [@from, @to) of its data and, if @last, FIN as a frame. */
static ColoNetFrame *part_of(const ColoItem *item, uint32_t from, uint32_t to,
                             uint32_t ack, bool last)
{
    uint8_t flags = item->view.tcp_flags & ~COLO_TCP_SYN;

    if (!last) {
        flags &= ~(COLO_TCP_FIN | COLO_TCP_PSH);
    }
    return colo_packet_part(item->frames, &item->view,
                            from - data_start(item), to - from, flags, from,
                            ack, -1);
}

static void leave(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoNetFrame *rest;

    if (has(item, COLO_TCP_FIN)) {
        colo_flow_close(c, flow);
    }
    if (colo_keeps_all(c)) {
        colo_item_release(c, item);
        return;
    }
    lower_ack(c, flow, item);
    if (item->left != item->start && after(item->end, item->left)) {
        rest = part_of(item, item->left, item->end, item->view.tcp_ack,
                       true);
        colo_item_add_frame(c, item, rest, true);
        /* The whole frame is replaced by what has not left of it. */
        rest = item->frames->next;
        item->frames->next = NULL;
        c->stats.held_frames--;
        c->stats.held_bytes -= item->frames->size;
        colo_net_frame_free(item->frames);
        item->frames = rest;
        item->count = 1;
        c->stats.made_frames++;
    }
    finish(flow, eth_of(item), &item->view);
    colo_item_release(c, item);
}

/* The acknowledgements that both have and the client does not. */
static void emit_ack(ColoCompare *c, ColoFlow *flow)
{
    ColoTcpFlow *t = &flow->tcp;
    ColoItem *item = flow->live ? flow->live->ack : NULL;
    ColoNetFrame *made;
    ColoPacket view;
    uint32_t target, seq;

    if (!item || !t->s_ack_known || colo_keeps_all(c)) {
        return;
    }
    target = earlier(item->view.tcp_ack, t->s_ack);
    if (t->left_ack_known && !after(target, t->left_ack)) {
        if (!after(item->view.tcp_ack, t->left_ack)) {
            flow->live->ack = NULL;
            colo_item_merge(c, item);
        }
        return;
    }
    seq = t->cmp_known ? earlier(item->start, t->cmp) : item->start;
    if (target == item->view.tcp_ack) {
        flow->live->ack = NULL;
        colo_packet_set_seq(eth_of(item), &item->view, seq);
        set_left_ack(t, item);
        finish(flow, eth_of(item), &item->view);
        colo_item_release(c, item);
        return;
    }
    made = colo_packet_part(item->frames, &item->view, 0, 0, COLO_TCP_ACK,
                            seq, target, -1);
    view = item->view;
    colo_packet_drop_sack(colo_net_frame_eth(made), &view);
    finish(flow, colo_net_frame_eth(made), &view);
    colo_frame_leave(c, made);
    t->left_ack = target;
    t->left_ack_known = true;
    item->since_us = c->now_us;    /* it goes on */
}

/* ------------------------------------------------------------ comparing */

/* Is it known what is compared next? */
static bool is_placed(const ColoFlow *flow)
{
    return flow->tcp.cmp_known && !flow->tcp.syn_waits;
}

static bool covers(const ColoItem *item, uint32_t place)
{
    return !has(item, COLO_TCP_RST) && !after(item->start, place) &&
           after(item->end, place);
}

/* The primary's segment in which the stream is compared next. */
static ColoItem *find_primary(const ColoFlow *flow)
{
    const ColoLive *live = flow->live;
    ColoItem *item = live ? live->primary : NULL;

    while (item && !covers(item, flow->tcp.cmp)) {
        if (!live->reordered && after(item->start, flow->tcp.cmp)) {
            return NULL;
        }
        item = item->next;
    }
    return item;
}

static ColoItem *find_secondary(const ColoFlow *flow)
{
    ColoLive *live = flow->live;
    ColoItem *item;

    while (live && (item = live->secondary)) {
        if (after(item->end, flow->tcp.cmp)) {
            return after(item->start, flow->tcp.cmp) ? NULL : item;
        }
        colo_item_free(colo_queue_take(&live->secondary,
                                       &live->secondary_end));
        live->secondary_count--;
    }
    return NULL;
}

/* Bytes of data it has from @place on; 0: there is its FIN. */
static uint32_t data_from(const ColoItem *item, uint32_t place)
{
    return item->end - !!has(item, COLO_TCP_FIN) - place;
}

static const uint8_t *data_at(const ColoItem *item, uint32_t place)
{
    return eth_of(item) + item->view.payload + (place - data_start(item));
}

static bool compare_pieces(ColoCompare *c, ColoFlow *flow, ColoItem *p,
                           ColoItem *s)
{
    ColoTcpFlow *t = &flow->tcp;
    uint32_t p_bytes = data_from(p, t->cmp);
    uint32_t s_bytes = data_from(s, t->cmp);
    uint32_t bytes = MIN(p_bytes, s_bytes);
    const uint8_t *p_data = data_at(p, t->cmp);
    const uint8_t *s_data = data_at(s, t->cmp);
    uint32_t i = 0;

    if (p_bytes == 0 && s_bytes == 0) {
        t->cmp++;
        return true;
    }
    if (bytes == 0) {
        colo_diverge(c, flow, COLO_VERDICT_FIN, t->cmp, p_data, p_bytes,
                     s_data, s_bytes);
        return false;
    }
    if (memcmp(p_data, s_data, bytes)) {
        while (p_data[i] == s_data[i]) {
            i++;
        }
        colo_diverge(c, flow, COLO_VERDICT_PAYLOAD, t->cmp + i, p_data + i,
                     bytes - i, s_data + i, bytes - i);
        return false;
    }
    t->cmp += bytes;
    return true;
}

static bool rst_agrees(ColoCompare *c, ColoFlow *flow, const ColoItem *item)
{
    const ColoLive *live = flow->live;

    if (!live->s_rst || !ack_possible(&flow->tcp, item)) {
        return false;
    }
    if (live->s_rst_seq != item->view.tcp_seq) {
        colo_diverge(c, flow, COLO_VERDICT_RST, item->view.tcp_seq, NULL, 0,
                     NULL, 0);
        return false;
    }
    return !flow->tcp.cmp_known || !after(item->start, flow->tcp.cmp);
}

static void lower_rst_ack(ColoCompare *c, const ColoFlow *flow,
                          ColoItem *item)
{
    if (!colo_keeps_all(c) && has(item, COLO_TCP_ACK) &&
        after(item->view.tcp_ack, flow->tcp.s_ack)) {
        colo_packet_set_ack(eth_of(item), &item->view, flow->tcp.s_ack);
        c->stats.made_frames++;
    }
}

/* Both sides have reset it: nothing else of it counts any more. */
static void leave_rst(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    lower_rst_ack(c, flow, item);
    colo_item_release(c, item);
    flow->live->s_rst = false;
    drop_acks(c, flow);
    flow->tcp = (ColoTcpFlow) {
        .p_rst = flow->tcp.p_rst,
        .p_rst_known = true,
        .rst_agreed = true,
        .s_ack = flow->tcp.s_ack,
        .s_ack_known = flow->tcp.s_ack_known,
    };
    colo_flow_close(c, flow);
}

/* Not too long ago, though: that would be no repetition. */
static bool is_before(const ColoItem *item, uint32_t place)
{
    return !after(item->end, place) &&
           place - item->start < REPETITION_MAX_BYTES;
}

/* It overtook, or repeats, what nobody has compared. */
static bool is_too_early(const ColoTcpFlow *t, const ColoItem *item)
{
    return t->begin_known && after(t->begin, item->start) &&
           !(t->least_known && is_before(item, t->least));
}

static bool may_leave(const ColoFlow *flow, const ColoItem *item)
{
    const ColoTcpFlow *t = &flow->tcp;
    bool proven = t->cmp_known
                  ? is_before(item, t->cmp) && !is_too_early(t, item)
                  : t->least_known && is_before(item, t->least);

    return proven && item->end != item->start && ack_possible(t, item);
}

/* Let go what is proven, in order of arrival. */
static void leave_proven(ColoCompare *c, ColoFlow *flow)
{
    ColoLive *live = flow->live;
    ColoItem **at = &live->primary;

    while (*at && !flow->diverged) {
        ColoItem *item = *at;
        bool rst = has(item, COLO_TCP_RST);

        if (rst ? rst_agrees(c, flow, item) : may_leave(flow, item)) {
            colo_queue_take(at, &live->primary_end);
            live->primary_count--;
            if (rst) {
                leave_rst(c, flow, item);
                at = &live->primary;    /* it has dropped others */
            } else {
                leave(c, flow, item);
            }
        } else if (live->reordered) {
            at = &item->next;
        } else {
            break;
        }
    }
    if (!live->primary) {
        live->reordered = false;
    }
}

/* ----------------------------------------------------- partly proven */

static void emit_part(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;
    uint32_t ack = item->view.tcp_ack;
    ColoPacket part_view;
    ColoNetFrame *part;

    if (item->left == item->start) {
        item->left = data_start(item);
    }
    if (!after(t->cmp, item->left) || !ack_possible(t, item)) {
        return;
    }
    if (has(item, COLO_TCP_ACK)) {
        ack = earlier(ack, t->s_ack);
        raise_to(&t->left_ack, &t->left_ack_known, ack);
    }
    part = part_of(item, item->left,
                   earlier(t->cmp, item->end - !!has(item, COLO_TCP_FIN)),
                   ack, false);
    part_view = item->view;
    finish(flow, colo_net_frame_eth(part), &part_view);
    colo_frame_leave(c, part);
    item->left = t->cmp;
}

static void watch_part(ColoCompare *c, ColoFlow *flow)
{
    ColoItem *item = is_placed(flow) ? find_primary(flow) : NULL;
    ColoLive *live = flow->live;

    if (!item || !after(flow->tcp.cmp, item->left) ||
        is_too_early(&flow->tcp, item) || has(item, COLO_TCP_SYN) || colo_keeps_all(c)) {
        live->split_us = 0;
    } else if (item->view.gso && flow->tcp.cmp - item->left >=
               SPLIT_SEGMENTS * (uint32_t)item->view.gso_size) {
        emit_part(c, flow, item);
        live->split_us = 0;
    } else if (!live->split_us) {
        live->split_us = c->now_us + c->limits.split_us;
        c->split_due_us = MIN(c->split_due_us, live->split_us);
    }
}

void colo_tcp_split(ColoCompare *c, ColoFlow *flow)
{
    ColoItem *item = is_placed(flow) ? find_primary(flow) : NULL;

    flow->live->split_us = 0;
    if (item && !flow->diverged && !is_too_early(&flow->tcp, item)) {
        emit_part(c, flow, item);
    }
}

/* All that can be done now. */
static void progress(ColoCompare *c, ColoFlow *flow)
{
    ColoItem *p, *s;

    if (!flow->live) {
        return;
    }
    if (is_placed(flow)) {
        while (!flow->diverged && (p = find_primary(flow)) &&
               (s = find_secondary(flow)) && compare_pieces(c, flow, p, s)) {
            continue;
        }
        find_secondary(flow);  /* drop what is compared */
    }
    if (!flow->diverged) {
        leave_proven(c, flow);
    }
    if (!flow->diverged) {
        emit_ack(c, flow);
        watch_part(c, flow);
    }
    colo_live_done(c, flow);
}

/* ------------------------------------------------------------- the start */

/* What a SYN agrees on for good: MSS, window scale, SACK, timestamps. */
static uint64_t syn_options(const ColoItem *item)
{
    enum { END = 0, NOP = 1, MSS = 2, SCALE = 3, SACK = 4, TIMESTAMP = 8 };
    const uint8_t *h = eth_of(item) + item->view.l4;
    uint32_t at = 20, size = item->view.tcp_header_bytes;
    uint64_t found = 0;

    while (at < size && h[at] != END) {
        uint8_t length = h[at] == NOP ? 1 : at + 1 < size ? h[at + 1] : 0;

        if (length == 0 || at + length > size) {
            break;
        }
        if (h[at] == MSS && length == 4) {
            found |= 1u << 16 | h[at + 2] << 8 | h[at + 3];
        } else if (h[at] == SCALE && length == 3) {
            found |= (uint64_t)(0x100 | h[at + 2]) << 24;
        } else if (h[at] == SACK) {
            found |= 1ull << 40;
        } else if (h[at] == TIMESTAMP) {
            found |= 1ull << 41;
        }
        at += length;
    }
    return found;
}

static void tcp_secondary(ColoCompare *c, ColoFlow *flow, ColoItem *item);
static void sort_out(ColoCompare *c, ColoFlow *flow);

static void insert_secondary(ColoFlow *flow, ColoItem *item)
{
    ColoLive *live = flow->live;
    ColoItem *last = tail(&live->secondary, live->secondary_end);
    ColoItem **at = &live->secondary;

    live->secondary_count++;
    if (!last || !after(last->start, item->start)) {
        colo_queue_push(&live->secondary_end, item);
        return;
    }
    while (!after((*at)->start, item->start)) {
        at = &(*at)->next;
    }
    item->next = *at;
    *at = item;
}

/* True: it says what the one before has said. */
static bool take_s_ack(ColoFlow *flow, const ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;
    bool repeated = false;

    if (has(item, COLO_TCP_ACK) &&
        (!t->s_ack_known || !after(t->s_ack, item->view.tcp_ack))) {
        repeated = t->s_ack_known && t->s_ack == item->view.tcp_ack &&
                   t->s_window == item->view.tcp_window;
        t->s_ack = item->view.tcp_ack;
        t->s_ack_known = true;
        if (!has(item, COLO_TCP_RST)) {
            t->s_window = item->view.tcp_window;
        }
    }
    return repeated;
}

/* What the secondary sent behind a SYN that came before the primary's. */
static void replay_later(ColoCompare *c, ColoFlow *flow)
{
    ColoLive *live = flow->live;
    ColoItem *item = live->later;

    live->later = NULL;
    live->later_end = &live->later;
    while (item) {
        ColoItem *next = item->next;

        item->next = NULL;
        tcp_secondary(c, flow, item);
        item = next;
    }
}

static void match_syn(ColoCompare *c, ColoFlow *flow)
{
    enum { FLAGS = COLO_TCP_SYN | COLO_TCP_ACK };
    ColoTcpFlow *t = &flow->tcp;
    ColoLive *live = flow->live;
    ColoItem *p = live->primary, *s = live->s_syn;

    if (!t->syn_waits || !s || !p) {
        return;
    }
    live->s_syn = NULL;
    if ((p->view.tcp_flags ^ s->view.tcp_flags) & FLAGS ||
        syn_options(p) != syn_options(s)) {
        colo_diverge(c, flow, COLO_VERDICT_SYN, 0, eth_of(p) + p->view.l4,
                     p->view.tcp_header_bytes, eth_of(s) + s->view.l4,
                     s->view.tcp_header_bytes);
        colo_item_free(s);
        return;
    }
    t->syn_waits = false;
    t->cmp = t->isn + 1;
    t->cmp_known = true;
    t->s_isn = s->view.tcp_seq;
    t->s_isn_known = true;
    take_s_ack(flow, s);
    s->start = s->left = t->isn;
    s->end = t->isn + 1 + s->view.payload_bytes;
    if (s->view.payload_bytes) {
        insert_secondary(flow, s);
    } else {
        colo_item_free(s);
    }
    progress(c, flow);
    sort_out(c, flow);
    progress(c, flow);
    if (flow->live) {
        replay_later(c, flow);
    }
}

static void hold(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoLive *live = colo_flow_live(c, flow);
    ColoItem *last = tail(&live->primary, live->primary_end);

    if (last && after(last->end, item->start)) {
        live->reordered = true;
    }
    /* Until it is known where the stream begins there is no order. */
    if (!flow->tcp.cmp_known || item->start == item->end ||
        is_too_early(&flow->tcp, item)) {
        live->reordered = true;
    }
    colo_queue_push(&live->primary_end, item);
    live->primary_count++;
}

static void drop_secondary(ColoLive *live)
{
    ColoItem *item;

    while ((item = colo_queue_take(&live->secondary,
                                   &live->secondary_end))) {
        colo_item_free(item);
    }
    live->secondary_count = 0;
    live->s_rst = false;
}

/* Whatever there was, a new stream begins with this SYN. */
static void note_begin(ColoFlow *flow, const ColoItem *item)
{
    flow->tcp = (ColoTcpFlow) {
        .isn = item->start,
        .isn_known = true,
        .syn_waits = true,
        .p_end = item->end,
        .p_end_known = true,
        /* That of SYN is not scaled, and says nothing about later ones. */
        .p_window = UINT16_MAX,
        .s_window = UINT16_MAX,
    };
    if (has(item, COLO_TCP_ACK)) {
        raise_to(&flow->tcp.p_ack, &flow->tcp.p_ack_known,
                 item->view.tcp_ack);
    }
}

static void begin_stream(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    note_begin(flow, item);
    colo_flow_reopen(c, flow);
    drop_secondary(colo_flow_live(c, flow));
    hold(c, flow, item);
    match_syn(c, flow);
}

static void primary_syn(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;
    bool again = t->isn_known && t->isn == item->start;

    if (!again && !flow->diverged) {
        drop_acks(c, flow);
    }
    if (again && flow->diverged) {
        hold(c, flow, item);
    } else if (again && t->syn_waits) {
        colo_item_merge(c, item);
    } else if (again && t->cmp_known && !after(item->end, t->cmp) &&
               ack_possible(t, item)) {
        leave(c, flow, item);
    } else if (flow->diverged || (flow->live && flow->live->primary)) {
        if (!flow->diverged) {
            colo_diverge(c, flow, COLO_VERDICT_SYN, 0,
                         eth_of(item) + item->view.l4,
                         item->view.tcp_header_bytes, NULL, 0);
        }
        /* at the cut the secondary goes on from there, too */
        note_begin(flow, item);
        colo_flow_reopen(c, flow);
        hold(c, flow, item);
    } else {
        begin_stream(c, flow, item);
    }
}

static void secondary_syn(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;
    ColoLive *live;

    if (!t->syn_waits && ((t->s_isn_known && t->s_isn == item->start) ||
                          (t->isn_known && t->isn == item->start))) {
        take_s_ack(flow, item);
        colo_item_free(item);
        return;
    }
    live = colo_flow_live(c, flow);
    colo_item_free(live->s_syn);
    live->s_syn = item;
    match_syn(c, flow);
}

/*
 * Comparing begins with the first data of the primary where the begin of the
 * connection was not seen. The secondary has to say all from there on: where
 * its own first frame is proves nothing, since frames overtake each other.
 */
static void find_begin(ColoTcpFlow *t, const ColoItem *item)
{
    if (t->cmp_known || t->syn_waits || has(item, COLO_TCP_RST) ||
        item->start == item->end ||
        (t->least_known && is_before(item, t->least))) {
        return;
    }
    t->begin_known = !t->least_known || after(item->start, t->least);
    t->begin = t->cmp = t->begin_known ? item->start : t->least;
    t->cmp_known = true;
}

/* ------------------------------------------------------------- segments */

static ColoItem *held_twin(const ColoFlow *flow, const ColoItem *item)
{
    ColoItem *held = flow->live ? flow->live->primary : NULL;

    for (; held; held = held->next) {
        if (held->start == item->start && held->end == item->end &&
            held->view.tcp_flags == item->view.tcp_flags) {
            return held;
        }
    }
    return NULL;
}

/* What @item says anew is its acknowledgement. */
static void merge_repeated(ColoCompare *c, ColoItem *held, ColoItem *item)
{
    if (has(item, COLO_TCP_ACK) &&
        after(item->view.tcp_ack, held->view.tcp_ack)) {
        colo_packet_set_ack(eth_of(held), &held->view, item->view.tcp_ack);
        colo_packet_set_window(eth_of(held), &held->view,
                               item->view.tcp_window);
    }
    colo_item_merge(c, item);
}

static void pure_ack(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;

    if (!t->s_ack_known || after(item->view.tcp_ack, t->s_ack)) {
        keep_ack(c, flow, item);
        return;
    }
    if (t->cmp_known && after(item->start, t->cmp) && !colo_keeps_all(c)) {
        colo_packet_set_seq(eth_of(item), &item->view, t->cmp);
        c->stats.made_frames++;
    }
    set_left_ack(t, item);
    finish(flow, eth_of(item), &item->view);
    colo_item_release(c, item);
}

/* The SYN has its twin: sort out what has waited for that. */
static void sort_out(ColoCompare *c, ColoFlow *flow)
{
    ColoLive *live = flow->live;
    ColoItem **at = live ? &live->primary : NULL;

    while (at && *at) {
        ColoItem *item = *at;

        if (is_pure_ack(item)) {
            colo_queue_take(at, &live->primary_end);
            live->primary_count--;
            pure_ack(c, flow, item);
        } else {
            at = &item->next;
        }
    }
}

/* Guests repeat RST for whatever still comes in. */
static void primary_rst(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;

    if (held_twin(flow, item)) {
        colo_item_merge(c, item);
    } else if (t->rst_agreed && t->p_rst == item->start && !flow->diverged) {
        lower_rst_ack(c, flow, item);
        colo_item_release(c, item);
    } else {
        t->p_rst = item->start;
        t->p_rst_known = true;
        t->rst_agreed = false;
        hold(c, flow, item);
    }
}

static void segment(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;
    ColoItem *held;

    if (has(item, COLO_TCP_RST)) {
        primary_rst(c, flow, item);
    } else if (!flow->diverged && may_leave(flow, item)) {
        leave(c, flow, item);
    } else if (flow->diverged || t->syn_waits) {
        hold(c, flow, item);
    } else if (is_pure_ack(item)) {
        pure_ack(c, flow, item);
    } else if (!t->cmp_known) {
        hold(c, flow, item);
    } else if (after(item->start, t->p_end) ||
               item->start == t->p_end ||
               !(held = held_twin(flow, item))) {
        hold(c, flow, item);
    } else {
        merge_repeated(c, held, item);
    }
}

static void tcp_primary(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;
    uint32_t end;

    find_place(item);
    if (has(item, COLO_TCP_SYN)) {
        primary_syn(c, flow, item);
        return;
    }
    end = item->end;
    if (has(item, COLO_TCP_ACK)) {
        raise_to(&t->p_ack, &t->p_ack_known, item->view.tcp_ack);
        if (t->p_ack == item->view.tcp_ack && !has(item, COLO_TCP_RST)) {
            t->p_window = item->view.tcp_window;
        }
    }
    find_begin(t, item);
    segment(c, flow, item);
    raise_to(&t->p_end, &t->p_end_known, end);
    progress(c, flow);
}

static void tcp_secondary(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;

    find_place(item);
    if (has(item, COLO_TCP_SYN)) {
        secondary_syn(c, flow, item);
        return;
    }
    if (flow->live && flow->live->s_syn) {
        colo_queue_push(&flow->live->later_end, item);
        flow->live->secondary_count++;
        return;
    }
    if (t->syn_waits) {
        colo_item_free(item);  /* of the connection before */
        return;
    }
    repeat_ack(c, flow, item, take_s_ack(flow, item));
    if (has(item, COLO_TCP_RST) && t->rst_agreed) {
        colo_item_free(item);  /* once more */
    } else if (has(item, COLO_TCP_RST)) {
        colo_flow_live(c, flow)->s_rst = true;
        flow->live->s_rst_seq = item->view.tcp_seq;
        colo_item_free(item);
    } else if (item->start == item->end ||
               (t->cmp_known && !after(item->end, t->cmp))) {
        colo_item_free(item);
    } else {
        colo_flow_live(c, flow);
        insert_secondary(flow, item);
    }
    progress(c, flow);
}

/* The secondary has sent and acknowledged what the primary has. */
static void tcp_settle(ColoFlow *flow)
{
    ColoTcpFlow *t = &flow->tcp;

    if (t->p_end_known && (t->isn_known || t->cmp_known)) {
        t->cmp = t->p_end;
        t->cmp_known = true;
        t->begin_known = false;
    } else if (t->p_end_known) {
        /* Maybe it has only repeated something old, of a longer stream. */
        t->least = t->p_end;
        t->least_known = true;
    }
    t->s_ack = t->left_ack = t->p_ack;
    t->s_ack_known = t->left_ack_known = t->p_ack_known;
    t->s_window = t->left_window = t->p_window;
    t->s_isn = t->isn;
    t->s_isn_known = t->isn_known;
    t->rst_agreed = t->p_rst_known;
    t->syn_waits = false;
}

const ColoFlowOps colo_tcp_ops = {
    .primary = tcp_primary,
    .secondary = tcp_secondary,
    .settle = tcp_settle,
};
