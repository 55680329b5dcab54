/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: what the two halves of comparing TCP share: compare-tcp.c finds what
 * both guests have sent, compare-tcp-leave.c makes of it what leaves.
 */
#ifndef COLO_COMPARE_TCP_H
#define COLO_COMPARE_TCP_H

#include "compare-int.h"

static inline bool after(uint32_t a, uint32_t b)
{
    return colo_seq_diff(a, b) > 0;
}

static inline uint32_t earlier(uint32_t a, uint32_t b)
{
    return after(a, b) ? b : a;
}

static inline void raise_to(uint32_t *value, bool *known, uint32_t to)
{
    if (!*known || after(to, *value)) {
        *value = to;
        *known = true;
    }
}

static inline bool has(const ColoItem *item, uint8_t flag)
{
    return item->view.tcp_flags & flag;
}

static inline uint8_t *eth_of(const ColoItem *item)
{
    return colo_net_frame_eth(item->frames);
}

/* Where the first byte of its data is in the stream. */
static inline uint32_t data_start(const ColoItem *item)
{
    return item->start + !!has(item, COLO_TCP_SYN);
}

static inline void find_place(ColoItem *item)
{
    const ColoPacket *v = &item->view;

    item->start = item->left = v->tcp_seq;
    item->end = v->tcp_seq + !!has(item, COLO_TCP_SYN) + v->payload_bytes +
                !!has(item, COLO_TCP_FIN);
}

static inline ColoItem *tail(ColoItem **queue, ColoItem **end)
{
    return end == queue ? NULL
           : (ColoItem *)((char *)end - offsetof(ColoItem, next));
}

static inline bool is_pure_ack(const ColoItem *item)
{
    return item->start == item->end && has(item, COLO_TCP_ACK) &&
           !has(item, COLO_TCP_RST);
}

/* May its acknowledgement leave, if need be lowered? */
static inline bool ack_possible(const ColoTcpFlow *t, const ColoItem *item)
{
    return !has(item, COLO_TCP_ACK) || t->s_ack_known;
}

/* ------------------------------------------------ compare-tcp-leave.c */

/* What it acknowledges leaves now. */
void colo_tcp_set_left_ack(ColoCompare *c, ColoFlow *flow,
                           const ColoItem *item);
void colo_tcp_finish(ColoFlow *flow, uint8_t *eth, ColoPacket *view);
void colo_tcp_keep_ack(ColoCompare *c, ColoFlow *flow, ColoItem *item);
void colo_tcp_drop_acks(ColoCompare *c, ColoFlow *flow);
void colo_tcp_repeat_ack(ColoCompare *c, ColoFlow *flow, ColoItem *item,
                         bool repeated);
void colo_tcp_leave(ColoCompare *c, ColoFlow *flow, ColoItem *item);
void colo_tcp_emit_ack(ColoCompare *c, ColoFlow *flow);
void colo_tcp_emit_part(ColoCompare *c, ColoFlow *flow, ColoItem *item);

#endif
