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
#include "compare-tcp.h"

enum {
    SPLIT_SEGMENTS = 2,        /* of a GSO frame, proven: go on at once */
    REPETITION_MAX_BYTES = 1 << 30,     /* the largest window, RFC 7323 */
};

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

static ColoItem *find_secondary(ColoCompare *c, const ColoFlow *flow)
{
    ColoLive *live = flow->live;
    ColoItem *item;

    while (live && (item = live->secondary)) {
        if (after(item->end, flow->tcp.cmp)) {
            return after(item->start, flow->tcp.cmp) ? NULL : item;
        }
        colo_item_free(c, colo_queue_take(&live->secondary,
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

/*
 * What has to be the same at both sides: the place in the stream. An answer to
 * a SYN has none (RFC 9293 3.5.2), and so has number 0; it is that to this
 * very SYN by what it acknowledges. But 0 may be where a stream has come to.
 */
static bool answers_syn(const ColoTcpFlow *t, uint32_t seq, bool has_ack)
{
    return seq == 0 && has_ack && !(t->p_end_known && t->p_end == 0);
}

static bool is_answer(const ColoTcpFlow *t, const ColoItem *item)
{
    return answers_syn(t, item->view.tcp_seq, has(item, COLO_TCP_ACK));
}

static uint32_t rst_place(const ColoTcpFlow *t, const ColoItem *item)
{
    return is_answer(t, item) ? item->view.tcp_ack : item->view.tcp_seq;
}

static uint32_t s_rst_place(const ColoTcpFlow *t, const ColoLive *live)
{
    return answers_syn(t, live->s_rst_seq, live->s_rst_has_ack)
           ? live->s_rst_ack : live->s_rst_seq;
}

static bool rst_agrees(ColoCompare *c, ColoFlow *flow, const ColoItem *item)
{
    const ColoLive *live = flow->live;

    if (!live->s_rst || !ack_possible(&flow->tcp, item)) {
        return false;
    }
    if (s_rst_place(&flow->tcp, live) != rst_place(&flow->tcp, item)) {
        colo_diverge(c, flow, COLO_VERDICT_RST, item->view.tcp_seq, NULL, 0,
                     NULL, 0);
        return false;
    }
    return !flow->tcp.cmp_known || is_answer(&flow->tcp, item) ||
           !after(item->start, flow->tcp.cmp);
}

static void lower_rst_ack(ColoCompare *c, const ColoFlow *flow,
                          ColoItem *item)
{
    if (!colo_keeps_all(c) && has(item, COLO_TCP_ACK) &&
        !is_answer(&flow->tcp, item) &&
        after(item->view.tcp_ack, flow->tcp.s_ack)) {
        colo_packet_set_ack(eth_of(item), &item->view, flow->tcp.s_ack);
        c->stats.made_frames++;
    }
}

/* Both sides have reset it: nothing else of it counts any more. */
static void leave_rst(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    uint32_t place = rst_place(&flow->tcp, item);

    lower_rst_ack(c, flow, item);
    colo_item_release(c, item);
    flow->live->s_rst = false;
    colo_tcp_drop_acks(c, flow);
    flow->tcp = (ColoTcpFlow) {
        .p_rst = place,
        .p_rst_known = true,
        .rst_agreed = true,
        .p_ack = flow->tcp.p_ack,
        .s_ack = flow->tcp.s_ack,
        .p_ack_known = flow->tcp.p_ack_known,
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
                colo_tcp_leave(c, flow, item);
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

/* Is something of it proven that has not left? */
static bool has_part(const ColoFlow *flow, const ColoItem *item)
{
    const ColoTcpFlow *t = &flow->tcp;

    return covers(item, t->cmp) && after(t->cmp, item->left) &&
           !has(item, COLO_TCP_SYN) && !is_too_early(t, item);
}

/*
 * The next one behind @item, or the first. There may be several: segments
 * overlap where the primary has repeated what it had sent in smaller ones.
 */
static ColoItem *next_part(const ColoFlow *flow, ColoItem *item)
{
    const ColoLive *live = flow->live;

    item = item ? item->next : live->primary;
    while (item && !has_part(flow, item)) {
        if (!live->reordered && after(item->start, flow->tcp.cmp)) {
            return NULL;
        }
        item = item->next;
    }
    return item;
}

static void emit_parts(ColoCompare *c, ColoFlow *flow)
{
    ColoItem *item = NULL;

    while ((item = next_part(flow, item))) {
        colo_tcp_emit_part(c, flow, item);
    }
}

static bool is_large_part(const ColoFlow *flow, const ColoItem *item)
{
    return item->view.gso && flow->tcp.cmp - item->left >=
           SPLIT_SEGMENTS * (uint32_t)item->view.gso_size;
}

static void watch_parts(ColoCompare *c, ColoFlow *flow)
{
    ColoItem *item = is_placed(flow) && !colo_keeps_all(c)
                     ? next_part(flow, NULL) : NULL;
    ColoLive *live = flow->live;

    if (!item) {
        live->split_us = 0;
    } else if (is_large_part(flow, item)) {
        emit_parts(c, flow);
        live->split_us = 0;
    } else if (!live->split_us) {
        live->split_us = c->now_us + c->limits.split_us;
        c->split_due_us = MIN(c->split_due_us, live->split_us);
    }
}

void colo_tcp_split(ColoCompare *c, ColoFlow *flow)
{
    flow->live->split_us = 0;
    if (is_placed(flow) && !flow->diverged) {
        emit_parts(c, flow);
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
               (s = find_secondary(c, flow)) && compare_pieces(c, flow, p, s)) {
            continue;
        }
        find_secondary(c, flow);  /* drop what is compared */
    }
    if (!flow->diverged) {
        leave_proven(c, flow);
    }
    if (!flow->diverged) {
        colo_tcp_emit_ack(c, flow);
        watch_parts(c, flow);
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
        colo_item_free(c, s);
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
        colo_item_free(c, s);
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

static void drop_secondary(ColoCompare *c, ColoLive *live)
{
    ColoItem *item;

    while ((item = colo_queue_take(&live->secondary,
                                   &live->secondary_end))) {
        colo_item_free(c, item);
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
    drop_secondary(c, colo_flow_live(c, flow));
    hold(c, flow, item);
    match_syn(c, flow);
}

static void primary_syn(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;
    bool again = t->isn_known && t->isn == item->start;

    if (!again && !flow->diverged) {
        colo_tcp_drop_acks(c, flow);
    }
    if (again && flow->diverged) {
        hold(c, flow, item);
    } else if (again && t->syn_waits) {
        colo_item_merge(c, item);
    } else if (again && t->cmp_known && !after(item->end, t->cmp) &&
               ack_possible(t, item)) {
        colo_tcp_leave(c, flow, item);
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
        colo_item_free(c, item);
        return;
    }
    live = colo_flow_live(c, flow);
    colo_item_free(c, live->s_syn);
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
        colo_tcp_keep_ack(c, flow, item);
        return;
    }
    if (t->cmp_known && after(item->start, t->cmp) && !colo_keeps_all(c)) {
        colo_packet_set_seq(eth_of(item), &item->view, t->cmp);
        c->stats.made_frames++;
    }
    colo_tcp_set_left_ack(c, flow, item);
    colo_tcp_finish(flow, eth_of(item), &item->view);
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

    const ColoItem *twin = held_twin(flow, item);

    if (twin && rst_place(t, twin) == rst_place(t, item)) {
        colo_item_merge(c, item);
    } else if (t->rst_agreed && t->p_rst == rst_place(t, item) &&
               !flow->diverged) {
        lower_rst_ack(c, flow, item);
        colo_item_release(c, item);
    } else {
        t->p_rst = rst_place(t, item);
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
        colo_tcp_leave(c, flow, item);
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
    bool has_place;
    uint32_t end;

    find_place(item);
    if (has(item, COLO_TCP_SYN)) {
        primary_syn(c, flow, item);
        return;
    }
    end = item->end;
    has_place = !has(item, COLO_TCP_RST) || !is_answer(t, item);
    if (has(item, COLO_TCP_ACK)) {
        raise_to(&t->p_ack, &t->p_ack_known, item->view.tcp_ack);
        if (t->p_ack == item->view.tcp_ack && !has(item, COLO_TCP_RST)) {
            t->p_window = item->view.tcp_window;
        }
    }
    find_begin(t, item);
    segment(c, flow, item);
    if (has_place) {
        raise_to(&t->p_end, &t->p_end_known, end);
    }
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
        colo_item_free(c, item);  /* of the connection before */
        return;
    }
    colo_tcp_repeat_ack(c, flow, item, take_s_ack(flow, item));
    if (has(item, COLO_TCP_RST) && t->rst_agreed &&
        t->p_rst == rst_place(t, item)) {
        colo_item_free(c, item);  /* once more */
    } else if (has(item, COLO_TCP_RST)) {
        colo_flow_live(c, flow)->s_rst = true;
        flow->live->s_rst_seq = item->view.tcp_seq;
        flow->live->s_rst_ack = item->view.tcp_ack;
        flow->live->s_rst_has_ack = has(item, COLO_TCP_ACK);
        colo_item_free(c, item);
    } else if (item->start == item->end ||
               (t->cmp_known && !after(item->end, t->cmp))) {
        colo_item_free(c, item);
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
