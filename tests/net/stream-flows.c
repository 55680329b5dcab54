/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is said: flows, their symbols and datagrams, and the twist. */
#include "streams.h"

enum {
    SAFE_DISTANCE = 1 << 22,    /* between incarnations, in sequence numbers */
};

/* ------------------------------------------------------------------- paths */

static void make_path(NetPath *path, unsigned index, uint64_t *random)
{
    unsigned bytes;

    memset(path, 0, sizeof(*path));
    path->family = net_below(random, 2) ? 4 : 6;
    path->tag_count = net_below(random, 3) ? 0 : 1 + net_below(random, 2);
    path->tags[0] = 7;
    path->tags[1] = 100;
    path->ip_options = net_below(random, 6) == 0;
    bytes = path->family == 4 ? 4 : 16;
    path->src[0] = path->dst[0] = path->family == 4 ? 10 : 0xfd;
    path->src[bytes - 1] = 2;
    path->dst[bytes - 1] = 1;
    path->dst[bytes - 2] = index;
    path->src_port = 80;
    path->dst_port = 40000 + index;
}

/* --------------------------------------------------------------------- TCP */

static void fill_symbols(StreamScript *s, bool has_syn, uint64_t *random)
{
    uint32_t i;

    s->symbols = g_new(uint16_t, s->size + 1);
    for (i = 0; i < s->size; i++) {
        s->symbols[i] = net_random(random) & 0xff;
    }
    if (has_syn) {
        s->symbols[0] = SYMBOL_SYN;
    }
    if (s->end == END_FIN) {
        s->symbols[s->size - 1] = SYMBOL_FIN;
    }
}

static uint32_t random_size(uint64_t *random)
{
    switch (net_below(random, 8)) {
    case 0:
        return 0;
    case 1:
        return 1 + net_below(random, 10);
    case 2:
        return net_below(random, 16) ? 3000 : 3000 + net_below(random, 120000);
    default:
        return 1 + net_below(random, 4000);
    }
}

static void make_tcp(StreamFlow *f, bool plain, uint64_t *random)
{
    StreamScript *s = &f->script[P];

    f->proto = NET_PROTO_TCP;
    f->has_syn = plain || net_below(random, 3) > 0;
    f->active_open = net_below(random, 2);
    f->timestamps = net_below(random, 2);
    f->wscale = net_below(random, 10);
    f->isn[P] = net_below(random, 3) ? net_random(random)
                                     : 0u - net_below(random, 3000);
    f->isn[S] = net_random(random);
    f->client_isn = net_below(random, 3) ? net_random(random)
                                         : 0u - net_below(random, 3000);
    f->start = f->has_syn ? 0 : 600;
    s->end = net_below(random, 4) ? END_FIN : net_below(random, 2);
    s->end = net_below(random, 5) ? s->end : END_RST;
    s->syn_mss = 1460;
    s->size = f->start + f->has_syn + random_size(random) +
        (s->end == END_FIN);
    fill_symbols(s, f->has_syn, random);
}

/* The same ports once more. */
static void make_successor(StreamPlan *plan, unsigned index, unsigned before,
                           uint64_t *random)
{
    StreamFlow *old = &plan->flow[before], *f = &plan->flow[index];

    make_tcp(f, false, random);
    f->path = old->path;
    g_free(f->script[P].symbols);
    f->has_syn = true;
    f->start = 0;
    f->isn[P] = old->isn[P] + SAFE_DISTANCE +
        net_below(random, UINT32_MAX - 2u * SAFE_DISTANCE);
    f->script[P].size = 1 + random_size(random) +
        (f->script[P].end == END_FIN);
    fill_symbols(&f->script[P], true, random);
    f->predecessor = before;
    old->successor = index;
}

/* --------------------------------------------------------------- datagrams */

static const struct {
    uint8_t proto;
    uint16_t ethertype;
    uint16_t header_bytes, least_bytes, most_bytes;
} kinds[] = {
    { NET_PROTO_UDP, 0, 8, 16, 3000 },
    { NET_PROTO_ICMP, 0, 8, 16, 600 },
    { NET_PROTO_SCTP, 0, 12, 20, 600 },
    { 0, NET_ETHERTYPE_ARP, 8, 28, 28 },
    { 0, 0x88cc, 0, 46, 600 },          /* and whatever else is not IP */
};

static void put_header(const StreamFlow *f, uint16_t *to, uint32_t size)
{
    uint8_t head[12] = { 0 };
    unsigned i, bytes = 8;

    switch (f->proto) {
    case NET_PROTO_UDP:
        net_put16(head, f->path.src_port);
        net_put16(head + 2, f->path.dst_port);
        net_put16(head + 4, size);
        break;
    case NET_PROTO_ICMP:
    case NET_PROTO_ICMP6:
        head[0] = f->path.dst_port % 3 == 0 ? 3
            : f->proto == NET_PROTO_ICMP ? 0 : 129;
        net_put16(head + 4, f->path.dst_port);
        break;
    case NET_PROTO_SCTP:
        net_put16(head, f->path.src_port);
        net_put16(head + 2, f->path.dst_port);
        bytes = 12;
        break;
    default:
        net_put16(head, 1);
        net_put16(head + 2, 0x0800);
        net_put16(head + 4, 6 << 8 | 4);
        net_put16(head + 6, 1 + (f->path.dst_port & 15));
        bytes = f->ethertype == NET_ETHERTYPE_ARP ? 8 : 0;
    }
    for (i = 0; i < bytes; i++) {
        to[i] = head[i];
    }
    for (i = 0; f->ethertype == NET_ETHERTYPE_ARP && i < 4; i++) {
        to[14 + i] = to[24 + i] = 10;       /* who, and about whom */
    }
}

/* Every eight bytes say of which datagram they are: a fragment is known. */
static void make_datagram(StreamFlow *f, StreamScript *s, uint32_t index,
                          uint64_t *random)
{
    uint32_t from = s->first[index], size = s->first[index + 1] - from;
    uint32_t i;

    for (i = 0; i < size; i++) {
        unsigned place = i % 8;

        s->symbols[from + i] = place == 0 ? index >> 8
            : place == 1 ? index & 0xff
            : net_random(random) & 0xff;
    }
    put_header(f, s->symbols + from, size);
}

static void make_datagrams(StreamFlow *f, uint64_t *random)
{
    unsigned kind = net_below(random, 3) ? 0
        : net_below(random, G_N_ELEMENTS(kinds));
    StreamScript *s = &f->script[P];
    uint32_t i;

    f->proto = kinds[kind].proto;
    f->ethertype = kinds[kind].ethertype;
    if (f->ethertype == 0x88cc) {
        f->ethertype += f->path.dst_port;   /* flows are told by it */
    }
    if (f->proto == NET_PROTO_ICMP && f->path.family == 6) {
        f->proto = NET_PROTO_ICMP6;
    }
    s->count = 1 + net_below(random, 25);
    s->first = g_new(uint32_t, s->count + 1);
    s->first[0] = 0;
    for (i = 0; i < s->count; i++) {
        uint32_t most = net_below(random, 4) ? 200 : kinds[kind].most_bytes;

        most = MAX(most, kinds[kind].least_bytes);
        most = MIN(most, kinds[kind].most_bytes);
        s->first[i + 1] = s->first[i] + kinds[kind].least_bytes +
            net_below(random, most - kinds[kind].least_bytes + 1);
    }
    s->size = s->first[s->count];
    s->symbols = g_new(uint16_t, s->size + 1);
    for (i = 0; i < s->count; i++) {
        make_datagram(f, s, i, random);
    }
}

void stream_blank_csum(const StreamFlow *f, uint8_t *body, size_t size)
{
    size_t place = f->proto == NET_PROTO_UDP ? 6 : 2;

    if ((f->proto == NET_PROTO_UDP || f->proto == NET_PROTO_ICMP ||
         f->proto == NET_PROTO_ICMP6) && size >= place + 2) {
        body[place] = body[place + 1] = 0;
    }
}

/* --------------------------------------------------------------- the twist */

static void copy_script(StreamScript *to, const StreamScript *from)
{
    *to = *from;
    to->symbols = g_new(uint16_t, from->size + 1);
    memcpy(to->symbols, from->symbols, from->size * sizeof(uint16_t));
    if (from->first) {
        to->first = g_memdup2(from->first,
                              (from->count + 1) * sizeof(uint32_t));
    }
}

/* FIN, or the place where RST comes, at another symbol; the byte behind
 * that is new differs from all: it is not there on the other side. */
static void move_end(StreamFlow *f, uint64_t *random, uint32_t *at)
{
    StreamScript *s = &f->script[S];
    uint32_t least = f->start + f->has_syn;
    uint32_t end = s->size - (s->end == END_FIN);
    uint32_t place = end + 1;

    if (end > least && net_below(random, 3)) {
        place = least + net_below(random, end - least);
    }
    s->symbols = g_renew(uint16_t, s->symbols, MAX(place, end) + 2);
    if (place > end) {
        s->symbols[end] = 0x5a;
    }
    s->size = place;
    if (s->end == END_FIN) {
        s->symbols[s->size++] = SYMBOL_FIN;
    }
    *at = MIN(place, end);
}

static TwistKind twist_tcp(StreamFlow *f, uint64_t *random, uint32_t *at)
{
    StreamScript *s = &f->script[S];
    uint32_t least = f->start + f->has_syn;
    uint32_t end = s->size - (s->end == END_FIN);

    *at = 0;
    if (f->has_syn && net_below(random, 6) == 0) {
        s->syn_mss = 1400;
        return TWIST_SYN;
    }
    if (s->end != END_OPEN && net_below(random, 3) == 0) {
        move_end(f, random, at);
        return s->end == END_FIN ? TWIST_FIN : TWIST_RST;
    }
    if (end == least) {
        return TWIST_NONE;
    }
    *at = least + net_below(random, end - least);
    s->symbols[*at] ^= 1 + net_below(random, 255);
    return TWIST_BYTE;
}

/* A byte more or less at the end of datagram *@at. */
static TwistKind twist_length(const StreamFlow *f, StreamScript *s,
                              uint32_t at)
{
    uint32_t i;

    memmove(s->symbols + s->first[at + 1] - 1, s->symbols + s->first[at + 1],
            (s->size - s->first[at + 1]) * sizeof(uint16_t));
    for (i = at + 1; i <= s->count; i++) {
        s->first[i]--;
    }
    s->size--;
    put_header(f, s->symbols + s->first[at], s->first[at + 1] - s->first[at]);
    return TWIST_LENGTH;
}

static TwistKind twist_datagram(StreamFlow *f, uint64_t *random, uint32_t *at)
{
    StreamScript *s = &f->script[S];
    uint32_t size, least = f->proto == NET_PROTO_SCTP ? 14 : 10;

    *at = net_below(random, s->count);
    size = s->first[*at + 1] - s->first[*at];
    switch (net_below(random, 5)) {
    case 0:
        return TWIST_MISSING;
    case 1:
        return TWIST_EXTRA;
    case 2:
        if (f->ethertype != NET_ETHERTYPE_ARP && size > least + 2) {
            return twist_length(f, s, *at);
        }
        /* fall through */
    default:
        /* addresses in ARP make another flow */
        size = f->ethertype == NET_ETHERTYPE_ARP ? 14 : size;
        s->symbols[s->first[*at] + least + net_below(random, size - least)] ^=
            1 + net_below(random, 255);
        return TWIST_BYTE;
    }
}

static void make_twist(StreamPlan *plan, uint64_t *random)
{
    StreamFlow *f;

    plan->twist_flow = net_below(random, plan->flows);
    f = &plan->flow[plan->twist_flow];
    if (f->passes || f->successor >= 0 || net_below(random, 5) < 3) {
        return;
    }
    if (stream_is_tcp(f)) {
        plan->twist = twist_tcp(f, random, &plan->twist_at);
    } else {
        plan->twist = twist_datagram(f, random, &plan->twist_at);
    }
}

/* ---------------------------------------------------------------- the plan */

static void make_limits(StreamPlan *plan, uint64_t *random)
{
    ColoCompareLimits *l = &plan->limits;

    colo_compare_limits_init(l);
    l->hold_us = net_below(random, 2) ? 3000000 : 60000;
    plan->tight = net_below(random, 10) == 0;
    if (plan->tight) {
        l->queue_frames = 2 + net_below(random, 20);
        l->held_bytes = 500 + net_below(random, 20000);
        l->flows = 1 + net_below(random, 6);
    }
    if (net_below(random, 10) == 0) {
        l->flow_idle_us = 100000;
        l->closed_idle_us = 20000;
    }
}

static void make_flow(StreamPlan *plan, unsigned i, uint64_t *random)
{
    StreamFlow *f = &plan->flow[i];
    unsigned before = i ? net_below(random, i) : 0;

    memset(f, 0, sizeof(*f));
    f->successor = f->predecessor = -1;
    if (i > 0 && !plan->plain && stream_is_tcp(&plan->flow[before]) &&
        plan->flow[before].successor < 0 && !plan->flow[before].passes &&
        plan->flow[before].script[P].end != END_OPEN &&
        net_below(random, 2)) {
        make_successor(plan, i, before, random);
        return;
    }
    make_path(&f->path, i, random);
    if (net_below(random, 3)) {
        make_tcp(f, plan->plain, random);
    } else {
        make_datagrams(f, random);
    }
    f->passes = f->proto && net_below(random, 12) == 0;
}

void stream_plan_make(StreamPlan *plan, bool plain, uint64_t *random)
{
    static const uint16_t vnet[] = { 0, 10, 12, 20 };
    unsigned i;

    memset(plan, 0, sizeof(*plan));
    plan->plain = plain;
    plan->flows = 1 + net_below(random, net_below(random, 2) ? 2 : FLOWS_MAX);
    plan->vnet_bytes = vnet[net_below(random, G_N_ELEMENTS(vnet))];
    for (i = 0; i < plan->flows; i++) {
        make_flow(plan, i, random);
    }
    for (i = 0; i < plan->flows; i++) {
        copy_script(&plan->flow[i].script[S], &plan->flow[i].script[P]);
    }
    if (!plain) {
        make_twist(plan, random);
    }
    make_limits(plan, random);
    plan->shuffled_parts = net_below(random, 12) == 0;
    plan->mode = net_below(random, 14) ? COLO_COMPARE_MATCH
                                       : COLO_COMPARE_BUFFER;
}

void stream_plan_free(StreamPlan *plan)
{
    unsigned i, side;

    for (i = 0; i < plan->flows; i++) {
        for (side = 0; side < SIDES; side++) {
            g_free(plan->flow[i].script[side].symbols);
            g_free(plan->flow[i].script[side].first);
        }
    }
}

/* ----------------------------------------------------------------- finding */

static bool same_ends(const StreamFlow *f, const NetView *v)
{
    const NetPath *path = &f->path;

    if (path->tag_count != v->tag_count ||
        memcmp(path->tags, v->tags, 2 * path->tag_count) != 0) {
        return false;
    }
    if (f->ethertype == NET_ETHERTYPE_ARP) {
        return v->ethertype == f->ethertype &&
            v->body[7] == f->script[P].symbols[7];
    }
    if (!f->proto) {
        return v->ethertype == f->ethertype;
    }
    return v->proto == f->proto && v->family == path->family &&
        memcmp(v->src, path->src, 16) == 0 &&
        memcmp(v->dst, path->dst, 16) == 0;
}

static bool same_incarnation(const StreamFlow *f, const NetView *v)
{
    if (v->flags & NET_SYN) {
        return v->seq == f->isn[P] || v->seq == f->isn[S];
    }
    return v->seq - f->isn[P] + 1 <= f->script[P].size + 64;
}

const StreamFlow *stream_find(const StreamPlan *plan, const NetView *v)
{
    unsigned i;

    for (i = 0; i < plan->flows; i++) {
        const StreamFlow *f = &plan->flow[i];

        if (same_ends(f, v) && (!stream_is_tcp(f) || same_incarnation(f, v))) {
            return f;
        }
    }
    return NULL;
}
