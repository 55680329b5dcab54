/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a sender says it: one guest's TCP, as far as the wire shows it.
 *
 * Segments have random bounds inside what is said and what the client has
 * confirmed; everything that does not count is drawn anew for each frame.
 * Congestion and receive windows are one number per flow, different on the
 * two sides, and Nagle's rule is there: either can keep a sender from going
 * on before the client has confirmed what it has.
 */
#include "streams.h"

void sender_init(Sender *s, const StreamPlan *plan, unsigned side,
                 uint64_t *random)
{
    static const uint16_t mss[] = { 1448, 1220, 536, 100, 33 };
    unsigned i;

    memset(s, 0, sizeof(*s));
    s->plan = plan;
    s->side = side;
    s->random = net_random(random);
    s->mss = mss[net_below(random, G_N_ELEMENTS(mss))];
    s->gso = plan->vnet_bytes && net_below(random, 2);
    s->nagle = net_below(random, 3) == 0;
    s->twisted = side == S && plan->twist != TWIST_NONE;
    s->clock = net_random(random);
    for (i = 0; i < plan->flows; i++) {
        const StreamFlow *f = &plan->flow[i];

        s->flow[i].next = f->start;
        s->flow[i].acked = f->start;
        s->flow[i].window = 50 + net_below(random, 20000);
    }
}

void sender_become(Sender *s, const Sender *model)
{
    unsigned i;

    s->twisted = s->twisted && model->flow[s->plan->twist_flow].next <=
        s->plan->twist_at && !model->flow[s->plan->twist_flow].reset;
    for (i = 0; i < s->plan->flows; i++) {
        uint32_t window = s->flow[i].window;

        s->flow[i] = model->flow[i];
        s->flow[i].window = window;
        s->flow[i].own_isn = false;
    }
}

static const StreamScript *script_of(const Sender *s, unsigned flow)
{
    bool twisted = s->twisted && flow == s->plan->twist_flow;

    return &s->plan->flow[flow].script[twisted ? S : P];
}

bool sender_done_with(const Sender *s, unsigned flow)
{
    const SenderFlow *sf = &s->flow[flow];
    const StreamScript *script = script_of(s, flow);

    return sf->over || sf->reset ||
        (script->end != END_RST && sf->next == script->size);
}

static void draw_manner(Sender *s, NetManner *m)
{
    memset(m, 0, sizeof(*m));
    m->ip_id = s->ip_id += 1 + net_below(&s->random, 3);
    m->ttl = 60 + net_below(&s->random, 5);
    m->tos = net_below(&s->random, 4);
    m->pad = net_below(&s->random, 2);
    m->vnet_bytes = s->plan->vnet_bytes;
    m->partial_csum = m->vnet_bytes && net_below(&s->random, 2);
}

/* --------------------------------------------------------------------- TCP */

static void add_timestamps(Sender *s, NetTcp *tcp)
{
    uint8_t *p = tcp->options + tcp->option_bytes;

    p[0] = p[1] = 1;
    p[2] = 8;
    p[3] = 10;
    net_put32(p + 4, s->clock += net_below(&s->random, 9));
    net_put32(p + 8, net_random(&s->random));
    tcp->option_bytes += 12;
}

static void add_sack(Sender *s, NetTcp *tcp)
{
    uint8_t *p = tcp->options + tcp->option_bytes;
    unsigned i, blocks = 1 + net_below(&s->random, 2);

    p[0] = p[1] = 1;
    p[2] = 5;
    p[3] = 2 + 8 * blocks;
    for (i = 0; i < 2 * blocks; i++) {
        net_put32(p + 4 + 4 * i, net_random(&s->random));
    }
    tcp->option_bytes += 4 + 8 * blocks;
}

static void add_syn_options(const StreamFlow *f, uint16_t mss, NetTcp *tcp)
{
    uint8_t *p = tcp->options;

    p[0] = 2;
    p[1] = 4;
    net_put16(p + 2, mss);
    p[4] = 4;
    p[5] = 2;
    p[6] = 1;
    p[7] = 1;
    p[8] = 1;
    p[9] = 3;
    p[10] = 3;
    p[11] = f->wscale;
    tcp->option_bytes = 12;
}

static ColoNetFrame *make_segment(Sender *s, unsigned flow, NetTcp *tcp)
{
    const StreamFlow *f = &s->plan->flow[flow];
    NetManner m;

    draw_manner(s, &m);
    if (f->timestamps) {
        add_timestamps(s, tcp);
    }
    if (!(tcp->flags & (NET_SYN | NET_RST)) &&
        net_below(&s->random, 12) == 0) {
        add_sack(s, tcp);
    }
    if (tcp->data_bytes > s->mss) {
        m.gso_size = s->mss;
        m.partial_csum = true;
    }
    tcp->window = net_random(&s->random);
    if (!(tcp->flags & NET_SYN) || !f->active_open) {
        tcp->flags |= tcp->flags & NET_RST && f->wscale & 1 ? 0 : NET_ACK;
        tcp->ack = f->client_isn + s->flow[flow].received;
    }
    return net_make_tcp(&f->path, &m, tcp);
}

static ColoNetFrame *say_syn(Sender *s, unsigned flow)
{
    const StreamFlow *f = &s->plan->flow[flow];
    SenderFlow *sf = &s->flow[flow];
    NetTcp tcp = { .flags = NET_SYN };
    ColoNetFrame *frame;

    if (sf->next == 0) {
        sf->own_isn = s->side == S;
        sf->next = 1;
        if (f->predecessor >= 0) {
            s->flow[f->predecessor].over = true;
        }
    }
    tcp.seq = f->isn[sf->own_isn ? S : P];
    add_syn_options(f, script_of(s, flow)->syn_mss, &tcp);
    frame = make_segment(s, flow, &tcp);
    frame->flags = SEND_IN_ORDER;
    return frame;
}

static ColoNetFrame *say_rst(Sender *s, unsigned flow)
{
    const StreamFlow *f = &s->plan->flow[flow];
    NetTcp tcp = { .flags = NET_RST, .seq = f->isn[P] + s->flow[flow].next };
    ColoNetFrame *frame;

    s->flow[flow].reset = true;
    frame = make_segment(s, flow, &tcp);
    frame->flags = SEND_IN_ORDER;
    return frame;
}

/* Symbols [from, to): bytes, and perhaps FIN behind them. */
static ColoNetFrame *say_symbols(Sender *s, unsigned flow, uint32_t from,
                                 uint32_t to)
{
    const StreamFlow *f = &s->plan->flow[flow];
    const StreamScript *script = script_of(s, flow);
    g_autofree uint8_t *bytes = g_malloc(to - from + 1);
    NetTcp tcp = { .seq = f->isn[P] + from, .data = bytes };
    uint32_t i;

    for (i = from; i < to; i++) {
        if (script->symbols[i] == SYMBOL_FIN) {
            tcp.flags |= NET_FIN;
        } else {
            bytes[tcp.data_bytes++] = script->symbols[i];
        }
    }
    if (tcp.data_bytes && net_below(&s->random, 2)) {
        tcp.flags |= NET_PSH;
    }
    return make_segment(s, flow, &tcp);
}

/* As many as one frame takes, often fewer. */
static uint32_t draw_length(Sender *s, uint32_t most)
{
    uint32_t frame = s->mss;

    if (s->gso && net_below(&s->random, 2)) {
        frame = s->mss * (2 + net_below(&s->random, 44));
        frame = MIN(60000, frame);
    }
    if (net_below(&s->random, 3) == 0) {
        frame = 1 + net_below(&s->random, frame);
    }
    return MIN(most, frame);
}

static bool may_begin(const Sender *s, unsigned flow)
{
    int before = s->plan->flow[flow].predecessor;
    const SenderFlow *old = &s->flow[MAX(before, 0)];

    return before < 0 || old->reset ||
        (sender_done_with(s, before) && old->acked == old->next);
}

static ColoNetFrame *say_new(Sender *s, unsigned flow)
{
    const StreamFlow *f = &s->plan->flow[flow];
    const StreamScript *script = script_of(s, flow);
    SenderFlow *sf = &s->flow[flow];
    uint32_t from = sf->next, end, count;

    if (f->has_syn && sf->next == 0) {
        return may_begin(s, flow) ? say_syn(s, flow) : NULL;
    }
    if ((f->has_syn && sf->acked == 0) || sf->reset) {
        return NULL;
    }
    if (script->end == END_RST && sf->next >= script->size) {
        return say_rst(s, flow);
    }
    end = MIN(script->size, sf->acked + sf->window);
    if (end <= from) {
        return NULL;
    }
    count = draw_length(s, end - from);
    if (s->nagle && count < s->mss && sf->acked < from &&
        from + count < script->size) {
        return NULL;
    }
    sf->next += count;
    return say_symbols(s, flow, from, sf->next);
}

static ColoNetFrame *say_again(Sender *s, unsigned flow)
{
    const StreamFlow *f = &s->plan->flow[flow];
    SenderFlow *sf = &s->flow[flow];
    uint32_t from;

    if (sf->reset) {
        return net_below(&s->random, 8) ? NULL : say_rst(s, flow);
    }
    if (sf->next == 0 || sf->acked == sf->next) {
        return NULL;
    }
    if (f->has_syn && sf->acked == 0) {
        return say_syn(s, flow);
    }
    from = sf->acked;
    if (net_below(&s->random, 2)) {
        from += net_below(&s->random, sf->next - from);
    }
    return say_symbols(s, flow, from,
                       from + draw_length(s, sf->next - from));
}

static ColoNetFrame *say_nothing_new(Sender *s, unsigned flow, SendWhat what)
{
    const StreamFlow *f = &s->plan->flow[flow];
    SenderFlow *sf = &s->flow[flow];
    NetTcp tcp = { .flags = NET_ACK };

    if (sf->reset || (f->has_syn && sf->acked == 0)) {
        return NULL;
    }
    tcp.seq = f->isn[P] + (what == SEND_ACK ? sf->next : sf->acked - 1);
    return make_segment(s, flow, &tcp);
}

/* --------------------------------------------------------------- datagrams */

static uint8_t *datagram_bytes(const StreamFlow *f, const StreamScript *script,
                               uint32_t index, uint32_t *size)
{
    uint32_t from = script->first[index], i;
    uint8_t *body;

    *size = script->first[index + 1] - from;
    body = g_malloc(*size);
    for (i = 0; i < *size; i++) {
        body[i] = script->symbols[from + i];
    }
    if (f->proto) {
        net_fill_csum(&f->path, f->proto, body, *size);
    }
    return body;
}

static void shuffle(Sender *s, ColoNetFrame **part, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        unsigned other = i + net_below(&s->random, count - i);
        ColoNetFrame *f = part[i];

        part[i] = part[other];
        part[other] = f;
    }
}

static ColoNetFrame *say_parts(Sender *s, const StreamFlow *f, uint8_t *body,
                               uint32_t size)
{
    uint32_t unit = (8 + net_below(&s->random, 150)) * 8, at;
    ColoNetFrame *part[64];
    unsigned count = 0, i;
    NetManner m;

    draw_manner(s, &m);
    m.partial_csum = false;
    if (s->plan->shuffled_parts) {
        unit = 512;                 /* or they would never be alike */
    }
    while (size % unit == 1) {
        unit += 8;                  /* too little to be known by */
    }
    for (at = 0; at < size; at += unit) {
        NetPart where = { at, at + unit < size };

        part[count++] = net_make_part(&f->path, &m, f->proto, where, body,
                                      MIN(unit, size - at));
    }
    if (s->plan->shuffled_parts) {
        shuffle(s, part, count);
    }
    for (i = 0; i < count; i++) {
        part[i]->next = i + 1 < count ? part[i + 1] : NULL;
        part[i]->flags = SEND_IN_ORDER;
    }
    return part[0];
}

static ColoNetFrame *say_bytes(Sender *s, const StreamFlow *f, uint8_t *body,
                               uint32_t size)
{
    ColoNetFrame *frame;
    NetManner m;

    if (f->proto == NET_PROTO_UDP &&
        size > (s->plan->shuffled_parts ? 100 : 200) &&
        (s->plan->shuffled_parts || net_below(&s->random, 2))) {
        return say_parts(s, f, body, size);
    }
    draw_manner(s, &m);
    if (!f->proto) {
        /* padding counts where nobody knows that it is some */
        m.pad = m.pad && f->ethertype == NET_ETHERTYPE_ARP;
        frame = net_make_raw(&f->path, &m, f->ethertype, body, size);
    } else {
        frame = net_make_ip(&f->path, &m, f->proto, body, size);
    }
    frame->flags = SEND_IN_ORDER;
    return frame;
}

static ColoNetFrame *say_datagram(Sender *s, unsigned flow)
{
    const StreamFlow *f = &s->plan->flow[flow];
    const StreamScript *script = script_of(s, flow);
    SenderFlow *sf = &s->flow[flow];
    bool here = s->twisted && flow == s->plan->twist_flow &&
        sf->next == s->plan->twist_at;
    g_autofree uint8_t *body = NULL;
    uint32_t size;

    if (here && s->plan->twist == TWIST_MISSING) {
        sf->next++;
    }
    if (sf->next >= script->count) {
        return NULL;
    }
    body = datagram_bytes(f, script, sf->next, &size);
    if (here && s->plan->twist == TWIST_EXTRA && !sf->extra_said) {
        sf->extra_said = true;
        body[f->proto ? size - 1 : 13] ^= 0x33;
        net_fill_csum(&f->path, f->proto, body, size);
    } else {
        sf->next++;
    }
    return say_bytes(s, f, body, size);
}

ColoNetFrame *sender_send(Sender *s, unsigned flow, SendWhat what)
{
    const StreamFlow *f = &s->plan->flow[flow];

    if (s->flow[flow].over) {
        return NULL;
    }
    if (!stream_is_tcp(f)) {
        return what == SEND_NEW ? say_datagram(s, flow) : NULL;
    }
    switch (what) {
    case SEND_NEW:
        return say_new(s, flow);
    case SEND_AGAIN:
        return say_again(s, flow);
    default:
        return f->has_syn && s->flow[flow].next == 0 ? NULL
            : say_nothing_new(s, flow, what);
    }
}
