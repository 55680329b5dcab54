/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small TCP with an application; see minitcp.h. */
#include "minitcp.h"

enum {
    WINDOW = 8192,
    ACK_DELAY_US = 4000,
    SEGMENTS_IN_FLIGHT = 3,
    CLOCK_SLACK_MS = 1000,      /* a secondary may lag behind */
};

static void complain(MiniTcp *t, const char *what)
{
    if (!t->complaint) {
        t->complaint = what;
    }
}

static int32_t diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}

const char *mini_state_name(const MiniTcp *t)
{
    static const char *const names[] = {
        "closed", "listen", "syn-sent", "syn-received", "open",
    };

    return names[t->state];
}

/* ------------------------------------------------------------- application */

static void app_write(MiniTcp *t, const uint8_t *from, unsigned bytes,
                      uint8_t salt)
{
    unsigned i;

    g_assert(t->out_bytes + bytes <= MINI_STREAM_BYTES);
    for (i = 0; i < bytes; i++) {
        uint8_t of = from ? from[i % MINI_REQUEST_BYTES] : 17;

        t->out[t->out_bytes++] = of * 5 + i * 3 + salt;
    }
}

static void app_ask(MiniTcp *t)
{
    uint32_t ready = t->in_bytes - t->used_bytes;

    if (t->requests == 0) {
        app_write(t, NULL, MINI_REQUEST_BYTES, 1);
        t->requests = 1;
    } else if (ready >= MINI_REPLY_BYTES && t->requests < MINI_REQUESTS) {
        app_write(t, t->in + t->used_bytes, MINI_REQUEST_BYTES, 2);
        t->used_bytes += MINI_REPLY_BYTES;
        t->requests++;
    } else if (ready >= MINI_REPLY_BYTES) {
        t->used_bytes += MINI_REPLY_BYTES;
        t->closing = true;
    }
}

static void app_answer(MiniTcp *t)
{
    while (t->in_bytes - t->used_bytes >= MINI_REQUEST_BYTES) {
        app_write(t, t->in + t->used_bytes, MINI_REPLY_BYTES, 3);
        t->used_bytes += MINI_REQUEST_BYTES;
    }
    t->closing = t->closing || t->peer_closed;
}

/* ----------------------------------------------------------------- sending */

static uint32_t clock_of(const MiniTcp *t, int64_t now_us)
{
    return t->ts_offset + now_us / 1000;
}

static void put_options(const MiniTcp *t, NetTcp *tcp, int64_t now_us)
{
    uint8_t *p = tcp->options;

    if (tcp->flags & NET_SYN) {
        static const uint8_t fixed[] = { 2, 4, 5, 180, 4, 2, 1, 1 };

        memcpy(p, fixed, sizeof(fixed));
        tcp->option_bytes = sizeof(fixed);
        p += sizeof(fixed);
    }
    if (t->timestamps) {
        p[0] = p[1] = 1;
        p[2] = 8;
        p[3] = 10;
        net_put32(p + 4, clock_of(t, now_us));
        net_put32(p + 8, tcp->flags & NET_ACK ? t->ts_recent : 0);
        tcp->option_bytes += 12;
    }
}

/* The first block beyond the hole. */
static void put_sack(const MiniTcp *t, NetTcp *tcp)
{
    uint8_t *p = tcp->options + tcp->option_bytes;
    uint32_t from = t->in_bytes, to;

    while (from < MINI_STREAM_BYTES && !t->have[from]) {
        from++;
    }
    for (to = from; to < MINI_STREAM_BYTES && t->have[to]; to++) {
    }
    if (to == from || tcp->flags & NET_SYN) {
        return;
    }
    p[0] = p[1] = 1;
    p[2] = 5;
    p[3] = 10;
    net_put32(p + 4, t->irs + 1 + from);
    net_put32(p + 8, t->irs + 1 + to);
    tcp->option_bytes += 12;
}

static void send_segment(MiniTcp *t, GQueue *out, uint32_t seq, uint8_t flags,
                         const uint8_t *data, uint32_t bytes, int64_t now_us)
{
    NetManner m = {
        .ip_id = net_random(&t->random), .ttl = 64,
        .vnet_bytes = t->vnet_bytes, .partial_csum = t->partial_csum,
    };
    NetTcp tcp = {
        .seq = seq, .flags = flags, .window = WINDOW, .data = data,
        .data_bytes = bytes,
        .ack = t->irs + 1 + t->in_bytes + t->peer_closed,
    };

    put_options(t, &tcp, now_us);
    if (t->sack) {
        put_sack(t, &tcp);
    }
    if (flags & NET_ACK) {
        t->must_ack = false;
        t->owed = 0;
    }
    g_queue_push_tail(out, net_make_tcp(&t->path, &m, &tcp));
}

static void send_syn(MiniTcp *t, GQueue *out, int64_t now_us)
{
    uint8_t ack = t->state == MINI_SYN_RECEIVED ? NET_ACK : 0;

    send_segment(t, out, t->iss, NET_SYN | ack, NULL, 0, now_us);
    t->next = t->most = t->iss + 1;
    t->rto_at_us = now_us + MINI_RTO_US;
}

void mini_connect(MiniTcp *t, GQueue *out, int64_t now_us)
{
    t->una = t->iss;
    t->state = MINI_SYN_SENT;
    send_syn(t, out, now_us);
}

static uint32_t out_end(const MiniTcp *t)
{
    return t->iss + 1 + t->out_bytes + t->closing;
}

static void send_next(MiniTcp *t, GQueue *out, int64_t now_us)
{
    uint32_t at = t->next - t->iss - 1;
    uint32_t bytes = at < t->out_bytes ? MIN(t->out_bytes - at, t->mss) : 0;
    uint8_t flags = NET_ACK;

    if (t->closing && at + bytes == t->out_bytes) {
        flags |= NET_FIN;
    }
    send_segment(t, out, t->next, flags, t->out + MIN(at, t->out_bytes),
                 bytes, now_us);
    t->next += bytes + (flags & NET_FIN ? 1 : 0);
    if (diff(t->next, t->most) > 0) {
        t->most = t->next;
    }
    t->rto_at_us = now_us + MINI_RTO_US;
}

static void output(MiniTcp *t, GQueue *out, int64_t now_us)
{
    while (t->state == MINI_OPEN && diff(out_end(t), t->next) > 0 &&
           diff(t->next, t->una) < SEGMENTS_IN_FLIGHT * t->mss) {
        send_next(t, out, now_us);
    }
    if (t->must_ack || (t->owed && (t->owed >= t->delay_ack ||
                                    now_us >= t->ack_at_us))) {
        send_segment(t, out, t->next, NET_ACK, NULL, 0, now_us);
    }
}

static void retransmit(MiniTcp *t, GQueue *out, int64_t now_us)
{
    if (t->una == t->most || now_us < t->rto_at_us) {
        return;
    }
    t->timeouts++;
    if (t->state == MINI_SYN_SENT || t->state == MINI_SYN_RECEIVED) {
        send_syn(t, out, now_us);
    } else if (t->state == MINI_OPEN) {
        t->next = t->una;
        send_next(t, out, now_us);
    }
}

void mini_poll(MiniTcp *t, GQueue *out, int64_t now_us)
{
    if (t->state == MINI_OPEN) {
        if (t->asker) {
            app_ask(t);
        } else {
            app_answer(t);
        }
    }
    retransmit(t, out, now_us);
    output(t, out, now_us);
}

/* --------------------------------------------------------------- receiving */

static void reset_of(MiniTcp *t, const NetView *v, GQueue *out,
                     int64_t now_us)
{
    send_segment(t, out, v->flags & NET_ACK ? v->ack : 0, NET_RST, NULL, 0,
                 now_us);
}

static void answer_syn(MiniTcp *t, const NetView *v, GQueue *out,
                       int64_t now_us)
{
    if (!(v->flags & NET_SYN) || v->flags & (NET_ACK | NET_RST)) {
        return;
    }
    t->irs = v->seq;
    t->una = t->iss;
    t->state = MINI_SYN_RECEIVED;
    send_syn(t, out, now_us);
}

static void input_syn_sent(MiniTcp *t, const NetView *v, GQueue *out,
                           int64_t now_us)
{
    if (v->flags & NET_ACK && v->ack != t->iss + 1) {
        if (v->flags & NET_SYN) {
            complain(t, "SYN-ACK of another connection");
        }
        if (!(v->flags & NET_RST)) {
            reset_of(t, v, out, now_us);
        }
        return;
    }
    if (v->flags & NET_RST) {
        complain(t, "refused");
    }
    if ((v->flags & (NET_SYN | NET_ACK)) != (NET_SYN | NET_ACK)) {
        return;
    }
    t->irs = v->seq;
    t->una = v->ack;
    t->state = MINI_OPEN;
    t->must_ack = true;
}

/* RFC 7323 5.3; true: the segment is too old. */
static bool paws(MiniTcp *t, const NetView *v, int64_t now_us)
{
    const uint8_t *ts = net_tcp_option(v, 8, 10);

    if (!t->timestamps) {
        return false;
    }
    if (!ts) {
        complain(t, "timestamps are gone");
        return false;
    }
    if (v->flags & NET_ACK &&
        diff(net_get32(ts + 4), clock_of(t, now_us)) > CLOCK_SLACK_MS) {
        complain(t, "an echo of a timestamp from the future");
    }
    if (diff(net_get32(ts), t->ts_recent) < 0 && t->ts_recent) {
        return true;
    }
    t->ts_recent = net_get32(ts);
    return false;
}

static void check_sack(MiniTcp *t, const NetView *v)
{
    const uint8_t *sack = net_tcp_option(v, 5, 10);

    if (sack && (diff(net_get32(sack), t->una) < 0 ||
                 diff(net_get32(sack + 4), t->most) > 0)) {
        complain(t, "SACK of what was never sent");
    }
}

/* False: drop the segment. */
static bool take_ack(MiniTcp *t, const NetView *v)
{
    if (!(v->flags & NET_ACK)) {
        return false;
    }
    if (diff(v->ack, t->most) > 0) {
        complain(t, "an acknowledgement of what was never sent");
        t->must_ack = true;
        return false;
    }
    if (diff(v->ack, t->una) < -2 * WINDOW) {
        complain(t, "an acknowledgement from far behind");
        return false;
    }
    if (diff(v->ack, t->una) > 0) {
        t->una = v->ack;
        if (diff(t->next, t->una) < 0) {
            t->next = t->una;
        }
    }
    if (t->state == MINI_SYN_RECEIVED && t->una == t->iss + 1) {
        t->state = MINI_OPEN;
    }
    check_sack(t, v);
    return t->state == MINI_OPEN;
}

static void take_data(MiniTcp *t, const NetView *v)
{
    uint32_t at = v->seq - (t->irs + 1), i;

    for (i = 0; i < v->data_bytes; i++, at++) {
        if (at >= t->in_bytes && at < MINI_STREAM_BYTES) {
            t->in[at] = v->data[i];
            t->have[at] = 1;
        }
    }
    while (t->in_bytes < MINI_STREAM_BYTES && t->have[t->in_bytes]) {
        t->in_bytes++;
    }
    if (v->flags & NET_FIN) {
        t->peer_fin = true;
        t->peer_end = v->seq + v->data_bytes - (t->irs + 1);
    }
    t->peer_closed = t->peer_fin && t->in_bytes == t->peer_end;
}

static void input_open(MiniTcp *t, const NetView *v, GQueue *out,
                       int64_t now_us)
{
    uint32_t due = t->irs + 1 + t->in_bytes + t->peer_closed;
    int32_t ahead = diff(v->seq, due);
    bool length = v->data_bytes || v->flags & (NET_FIN | NET_SYN);

    if (v->flags & NET_SYN && v->seq == t->irs &&
        t->state == MINI_SYN_RECEIVED) {
        send_syn(t, out, now_us);       /* ours was lost */
        return;
    }
    if (ahead < -WINDOW || ahead > WINDOW) {
        /* RFC 9293 3.10.7: a number outside the window is answered */
        if (!(v->flags & (NET_SYN | NET_RST))) {
            complain(t, "a sequence number outside the window");
        }
        t->must_ack = !(v->flags & NET_RST);
        return;
    }
    if (v->flags & NET_RST) {
        if (t->passive && t->state == MINI_SYN_RECEIVED) {
            t->state = MINI_LISTEN;     /* nobody has seen it yet */
        } else {
            complain(t, "reset");
        }
        return;
    }
    if (v->flags & NET_SYN || paws(t, v, now_us)) {
        t->must_ack = true;
        return;
    }
    if (take_ack(t, v) && length) {
        take_data(t, v);
        t->must_ack = t->must_ack || ahead != 0 || v->flags & NET_FIN;
        t->ack_at_us = t->owed ? t->ack_at_us : now_us + ACK_DELAY_US;
        t->owed++;
    }
}

static void note_timestamp(MiniTcp *t, const NetView *v)
{
    const uint8_t *ts = net_tcp_option(v, 8, 10);

    if (ts && t->timestamps && v->flags & NET_SYN) {
        t->ts_recent = net_get32(ts);
    }
}

void mini_input(MiniTcp *t, const NetView *v, GQueue *out, int64_t now_us)
{
    switch (t->state) {
    case MINI_CLOSED:
        break;
    case MINI_LISTEN:
        note_timestamp(t, v);
        answer_syn(t, v, out, now_us);
        break;
    case MINI_SYN_SENT:
        if (v->flags & NET_ACK && v->ack == t->iss + 1) {
            note_timestamp(t, v);
        }
        input_syn_sent(t, v, out, now_us);
        break;
    default:
        input_open(t, v, out, now_us);
        break;
    }
    mini_poll(t, out, now_us);
}

bool mini_done(const MiniTcp *t)
{
    return t->state == MINI_OPEN && t->closing && t->peer_closed &&
        t->una == out_end(t);
}
