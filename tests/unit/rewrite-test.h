/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the rewriter share: segments in, segments out.
 *
 * A segment is made by a second opinion (tests/net/frames.h), goes through the
 * rewriter, and is read again with its checksums. But for the numbers that a
 * translation may touch, every byte has to be as it was.
 */
#ifndef REWRITE_TEST_H
#define REWRITE_TEST_H

#include "../net/frames.h"
#include "colo/rewrite.h"

enum { LINGER_US = 1000, FLOWS_MAX = 64 };

/* The numbers of one segment; options that are 0 are left out. */
typedef struct Seg {
    uint32_t seq, ack;
    uint8_t flags;
    uint32_t tsval, tsecr;
    uint32_t sack[6];           /* edges */
    uint32_t data_bytes;
} Seg;

/* One connection: .path is that of the guest's frames. */
typedef struct Lane {
    ColoRewrite *r;
    NetPath path;
    NetManner manner;
    int64_t now_us;
} Lane;

#define SEG(...) ((Seg) { __VA_ARGS__ })

static inline Lane lane_of(ColoRewrite *r, uint16_t client_port)
{
    return (Lane) {
        .r = r,
        .path = { .family = 4, .src = { 192, 0, 2, 1 },
                  .dst = { 192, 0, 2, 99 }, .src_port = 80,
                  .dst_port = client_port },
        .manner = { .ttl = 64 },
    };
}

static inline Lane lane_new(void)
{
    Lane lane = lane_of(colo_rewrite_new(FLOWS_MAX, LINGER_US), 40000);

    colo_rewrite_set_learning(lane.r, true);
    return lane;
}

static inline NetPath lane_back(const NetPath *path)
{
    NetPath back = *path;

    memcpy(back.src, path->dst, sizeof(back.src));
    memcpy(back.dst, path->src, sizeof(back.dst));
    back.src_port = path->dst_port;
    back.dst_port = path->src_port;
    return back;
}

/* The odd place of SACK is on purpose: its sums have their bytes swapped. */
static inline void lane_options(NetTcp *tcp, const Seg *s)
{
    unsigned edges = 0, i;
    uint8_t *p = tcp->options;

    while (edges < G_N_ELEMENTS(s->sack) && s->sack[edges]) {
        edges += 2;
    }
    edges = MIN(edges, s->tsval ? 4 : 6);
    if (s->tsval) {
        *p++ = 8;
        *p++ = 10;
        net_put32(p, s->tsval);
        net_put32(p + 4, s->tsecr);
        p += 8;
    }
    if (edges) {
        *p++ = 1;
        *p++ = 5;
        *p++ = 2 + 4 * edges;
        for (i = 0; i < edges; i++, p += 4) {
            net_put32(p, s->sack[i]);
        }
    }
    while ((p - tcp->options) % 4) {
        *p++ = 1;
    }
    tcp->option_bytes = p - tcp->options;
}

static inline ColoNetFrame *lane_frame(const Lane *lane, bool egress,
                                       const Seg *s)
{
    NetPath path = egress ? lane->path : lane_back(&lane->path);
    g_autofree uint8_t *data = g_malloc(MAX(s->data_bytes, 1));
    NetTcp tcp = {
        .seq = s->seq, .ack = s->ack, .flags = s->flags, .window = 1000,
        .data = data, .data_bytes = s->data_bytes,
    };
    uint32_t i;

    for (i = 0; i < s->data_bytes; i++) {
        data[i] = i * 7 + s->flags;
    }
    lane_options(&tcp, s);
    return net_make_tcp(&path, &lane->manner, &tcp);
}

static inline Seg lane_read(ColoNetFrame *f)
{
    const uint8_t *option;
    const char *bad;
    NetView v;
    Seg s;
    unsigned i;

    bad = net_read(f, &v);
    g_assert_cmpstr(bad, ==, NULL);
    g_assert_cmpuint(v.proto, ==, NET_PROTO_TCP);
    s = SEG(.seq = v.seq, .ack = v.ack, .flags = v.flags,
            .data_bytes = v.data_bytes);
    option = net_tcp_option(&v, 8, 10);
    if (option) {
        s.tsval = net_get32(option);
        s.tsecr = net_get32(option + 4);
    }
    for (i = 2; i <= 6; i += 2) {
        option = net_tcp_option(&v, 5, 2 + 4 * i);
        if (option) {
            unsigned edge;

            for (edge = 0; edge < i; edge++) {
                s.sack[edge] = net_get32(option + 4 * edge);
            }
        }
    }
    return s;
}

/* Through the rewriter; the frame differs in nothing that Seg does not have. */
static inline Seg lane_pass(Lane *lane, bool egress, const Seg *in)
{
    ColoNetFrame *f = lane_frame(lane, egress, in);
    ColoNetFrame *before = colo_net_frame_copy(f->data,
                                               f->vnet_bytes + f->size,
                                               f->vnet_bytes);
    ColoNetFrame *again;
    bool changed, differs;
    ColoPacket p;
    Seg out;

    lane->now_us++;
    colo_packet_parse_frame(f, &p);
    changed = egress ? colo_rewrite_egress(lane->r, f, &p, lane->now_us)
                     : colo_rewrite_ingress(lane->r, f, &p, lane->now_us);
    differs = memcmp(before->data, f->data, f->vnet_bytes + f->size) != 0;
    g_assert_cmpint(changed, ==, differs);
    out = lane_read(f);
    again = lane_frame(lane, egress, &out);
    g_assert_cmpmem(f->data, f->vnet_bytes + f->size, again->data,
                    again->vnet_bytes + again->size);
    colo_net_frame_free(before);
    colo_net_frame_free(again);
    colo_net_frame_free(f);
    return out;
}

static inline void lane_check(const Seg *out, const Seg *expected)
{
    unsigned i;

    g_assert_cmphex(out->seq, ==, expected->seq);
    g_assert_cmphex(out->ack, ==, expected->ack);
    g_assert_cmphex(out->flags, ==, expected->flags);
    g_assert_cmphex(out->tsval, ==, expected->tsval);
    g_assert_cmphex(out->tsecr, ==, expected->tsecr);
    for (i = 0; i < G_N_ELEMENTS(out->sack); i++) {
        g_assert_cmphex(out->sack[i], ==, expected->sack[i]);
    }
    g_assert_cmpuint(out->data_bytes, ==, expected->data_bytes);
}

/* The guest sends @guest; its client gets @client. */
static inline void lane_out(Lane *lane, Seg guest, Seg client)
{
    Seg out = lane_pass(lane, true, &guest);

    lane_check(&out, &client);
}

/* The client sends @client; the guest gets @guest. */
static inline void lane_in(Lane *lane, Seg client, Seg guest)
{
    Seg out = lane_pass(lane, false, &client);

    lane_check(&out, &guest);
}

/* As it is. */
static inline void lane_out_same(Lane *lane, Seg s)
{
    lane_out(lane, s, s);
}

static inline void lane_in_same(Lane *lane, Seg s)
{
    lane_in(lane, s, s);
}

static inline ColoRewriteStats lane_stats(const Lane *lane)
{
    ColoRewriteStats stats;

    colo_rewrite_get_stats(lane->r, &stats);
    return stats;
}

/* A connection from the client, with these two initial numbers. */
static inline void lane_accept(Lane *lane, uint32_t primary, uint32_t own)
{
    lane_in_same(lane, SEG(.seq = 500, .flags = NET_SYN));
    lane_out_same(lane, SEG(.seq = own, .ack = 501,
                            .flags = NET_SYN | NET_ACK));
    lane_in(lane, SEG(.seq = 501, .ack = primary + 1, .flags = NET_ACK),
            SEG(.seq = 501, .ack = own + 1, .flags = NET_ACK));
}

#endif
