/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: TCP, what leaves.
 *
 * A frame leaves with an acknowledgement, a window and a timestamp that hold
 * for both guests, whatever the primary's alone were; compare-tcp.c says why.
 * Where no frame of the primary says what both agree on, one is made.
 */
#include "compare-tcp.h"

/* ------------------------------------------------------------- leaving */

/* @ack leaves now. */
static void note_left_ack(ColoCompare *c, ColoFlow *flow, uint32_t ack)
{
    ColoTcpFlow *t = &flow->tcp;

    if (t->left_ack_known && !after(ack, t->left_ack)) {
        return;
    }
    t->left_ack = ack;
    t->left_ack_known = true;
    if (flow->live && flow->live->ack) {
        flow->live->ack_since_us = c->now_us;   /* it goes on */
    }
}

void colo_tcp_set_left_ack(ColoCompare *c, ColoFlow *flow,
                           const ColoItem *item)
{
    if (has(item, COLO_TCP_ACK)) {
        note_left_ack(c, flow, item->view.tcp_ack);
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
void colo_tcp_finish(ColoFlow *flow, uint8_t *eth, ColoPacket *view)
{
    set_time(flow, eth, view);
    set_window(&flow->tcp, eth, view);
}

/* Keep @item to be sent when its acknowledgement may leave. */
void colo_tcp_keep_ack(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoLive *live = colo_flow_live(c, flow);

    if (!live->ack) {
        live->ack_since_us = c->now_us;
    } else if (after(live->ack->view.tcp_ack, item->view.tcp_ack)) {
        colo_item_merge(c, item);
        return;
    } else {
        colo_item_merge(c, live->ack);
    }
    item->kept_ack = true;
    live->ack = item;
}

/* Nobody waits for acknowledgements of a connection that is over. */
void colo_tcp_drop_acks(ColoCompare *c, ColoFlow *flow)
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
static ColoItem *ack_of(ColoCompare *c, ColoItem *item)
{
    ColoNetFrame *f = colo_packet_part(item->frames, &item->view, 0, 0,
                                       COLO_TCP_ACK, item->end,
                                       item->view.tcp_ack, -1);
    ColoPacket view;
    ColoItem *made;

    colo_packet_parse_frame(f, &view);
    made = colo_item_new(c, f, &view, true);
    made->made = true;
    find_place(made);
    return made;
}

static void lower_ack(ColoCompare *c, ColoFlow *flow, ColoItem *item)
{
    ColoTcpFlow *t = &flow->tcp;
    ColoItem *rest = NULL;

    if (has(item, COLO_TCP_ACK) && after(item->view.tcp_ack, t->s_ack)) {
        rest = ack_of(c, item);
        colo_packet_set_ack(eth_of(item), &item->view, t->s_ack);
        /* What it names beyond may be missing at the secondary. */
        colo_packet_drop_sack(eth_of(item), &item->view);
        c->stats.made_frames++;
    }
    colo_tcp_set_left_ack(c, flow, item);
    if (rest) {
        colo_tcp_keep_ack(c, flow, rest);
    }
}

/*
 * The secondary repeats its acknowledgement while the primary is ahead: it
 * has lost something, or it has room again. The client has to learn that
 * from the secondary's own words, since the primary has no reason to say it.
 */
void colo_tcp_repeat_ack(ColoCompare *c, ColoFlow *flow, ColoItem *item,
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
    colo_tcp_finish(flow, eth, &item->view);
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

void colo_tcp_leave(ColoCompare *c, ColoFlow *flow, ColoItem *item)
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
    colo_tcp_finish(flow, eth_of(item), &item->view);
    colo_item_release(c, item);
}

/* The acknowledgements that both have and the client does not. */
void colo_tcp_emit_ack(ColoCompare *c, ColoFlow *flow)
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
        colo_tcp_set_left_ack(c, flow, item);
        colo_tcp_finish(flow, eth_of(item), &item->view);
        colo_item_release(c, item);
        return;
    }
    made = colo_packet_part(item->frames, &item->view, 0, 0, COLO_TCP_ACK,
                            seq, target, -1);
    view = item->view;
    colo_packet_drop_sack(colo_net_frame_eth(made), &view);
    colo_tcp_finish(flow, colo_net_frame_eth(made), &view);
    colo_frame_leave(c, made);
    note_left_ack(c, flow, target);
}

void colo_tcp_emit_part(ColoCompare *c, ColoFlow *flow, ColoItem *item)
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
        note_left_ack(c, flow, ack);
    }
    part = part_of(item, item->left,
                   earlier(t->cmp, item->end - !!has(item, COLO_TCP_FIN)),
                   ack, false);
    part_view = item->view;
    colo_tcp_finish(flow, colo_net_frame_eth(part), &part_view);
    colo_frame_leave(c, part);
    item->left = t->cmp;
}
