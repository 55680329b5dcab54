/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rewriter's table between hostile guests and clients.
 *
 * The input is a list of steps. A made step is six bytes that become a TCP
 * segment with its numbers taken from a few neighbourhoods, so that handshakes
 * come about; a raw step is a length and any bytes as a frame; a control step
 * is a checkpoint, a failover, time, or a journey to another table.
 *
 * After each frame: it differs exactly if that was said, only in numbers that
 * a translation may touch, and its checksum is as right or wrong as before.
 * What the guest said and the client repeats (acknowledgement, timestamp,
 * SACK) comes back in the guest's own numbers.
 *
 * All of it is also heard by what a survivor sends again (colo/resend.h), whose
 * bounds have to hold, and from which only segments come that were kept, as
 * right as they were.
 */
#include "../net/frames.h"
#include "colo/early.h"
#include "colo/resend.h"
#include "colo/rewrite.h"
#include "fuzz.h"

enum { FLOWS_MAX = 6, LINGER_US = 500, MADE_BYTES = 6 };

typedef enum StepKind {
    STEP_MADE_OUT, STEP_MADE_IN, STEP_RAW_OUT, STEP_RAW_IN, STEP_CONTROL,
    STEP__MAX
} StepKind;

typedef struct Fuzz {
    const uint8_t *in;
    size_t left;
    ColoRewrite *r;
    ColoResend *resend;
    ColoEarly *early;
    int64_t now_us;
    bool learning;
} Fuzz;

static const ColoResendLimits resend_limits = {
    .bytes_max = 3000, .flow_bytes_max = 1500, .flows_max = 4,
};

/* --------------------------------------------------------------- oracles */

/* The sum which a checksum makes 0xffff: one that may stand for it. */
static uint32_t tcp_sum(const uint8_t *eth, const ColoPacket *p)
{
    const uint8_t *at = eth + p->l4;
    size_t size = p->l3 + p->l3_bytes - p->l4, i;
    uint64_t sum = 0;

    for (i = 0; i < size; i++) {
        sum += i % 2 ? at[i] : at[i] << 8;
    }
    return sum % 0xffff;
}

/* May the byte at @at be another one? */
static bool may_change(const ColoPacket *p, bool egress, size_t at)
{
    size_t number = p->l4 + (egress ? 4 : 8);
    size_t clock = p->tcp_timestamp + (egress ? 0 : 4);
    size_t sack_bytes = egress ? 0 : p->tcp_sack_count * 8;

    return (at >= number && at < number + 4) ||
           (at >= p->l4 + 16u && at < p->l4 + 18u && !p->needs_csum) ||
           (p->has_timestamp && at >= clock && at < clock + 4) ||
           (at >= p->tcp_sack && at < p->tcp_sack + sack_bytes);
}

static void check_bytes(const uint8_t *before, const uint8_t *after,
                        size_t size, const ColoPacket *p, bool egress)
{
    size_t i;

    for (i = 0; i < size; i++) {
        g_assert(before[i] == after[i] || may_change(p, egress, i));
    }
}

/* Through the table; @was and @is are the views before and after. */
static bool pass(Fuzz *z, ColoNetFrame *f, bool egress, ColoPacket *was,
                 ColoPacket *is)
{
    size_t size = f->vnet_bytes + f->size;
    g_autofree uint8_t *before = g_malloc(size + 1);
    uint8_t *eth = colo_net_frame_eth(f);
    ColoPacket told;
    bool changed;

    memcpy(before, f->data, size);
    colo_packet_parse_frame(f, was);
    told = *was;
    changed = egress ? colo_rewrite_egress(z->r, f, &told, z->now_us)
                     : colo_rewrite_ingress(z->r, f, &told, z->now_us);
    g_assert(changed == (memcmp(before, f->data, size) != 0));
    colo_packet_parse_frame(f, is);
    g_assert(is->tcp_seq == told.tcp_seq && is->tcp_ack == told.tcp_ack);
    g_assert(is->kind == was->kind);
    if (changed) {
        g_assert(was->kind == COLO_PACKET_TCP);
        g_assert(memcmp(before, f->data, f->vnet_bytes) == 0);
        check_bytes(before + f->vnet_bytes, eth, f->size, was, egress);
        g_assert(was->needs_csum || tcp_sum(eth, is) ==
                 tcp_sum(before + f->vnet_bytes, was));
    }
    return changed;
}

static ColoNetFrame *copy_frame(const ColoNetFrame *f)
{
    return colo_net_frame_copy(f->data, f->vnet_bytes + f->size,
                               f->vnet_bytes);
}

static void check_resend(const Fuzz *z)
{
    ColoResendStats stats;

    colo_resend_get_stats(z->resend, &stats);
    g_assert(stats.kept_bytes <= resend_limits.bytes_max);
    g_assert(stats.flows <= resend_limits.flows_max);
    g_assert((stats.kept_frames == 0) == (stats.kept_bytes == 0));
    g_assert(colo_early_bytes(z->early) <= COLO_EARLY_BYTES_MAX);
}

/* .flags: a second opinion found it well made. */
static void hear(Fuzz *z, ColoNetFrame *f, bool egress)
{
    ColoNetFrame *copy = copy_frame(f);
    ColoPacket p;
    NetView v;

    copy->flags = net_read(copy, &v) == NULL;
    colo_packet_parse_frame(copy, &p);
    if (egress) {
        colo_resend_egress(z->resend, copy, &p, z->now_us);
    } else {
        colo_resend_ingress(z->resend, colo_net_frame_eth(copy), &p);
        colo_early_add(z->early, copy, z->now_us);
    }
    check_resend(z);
}

static void check_taken(ColoNetFrame *f)
{
    ColoPacket p;
    NetView v;

    for (; f; f = f->next) {
        colo_packet_parse_frame(f, &p);
        g_assert(p.kind == COLO_PACKET_TCP);
        g_assert(!f->flags || net_read(f, &v) == NULL);
    }
}

static void take_over(Fuzz *z)
{
    ColoNetFrame *f = colo_early_take(z->early, z->now_us), *at;
    ColoPacket p;

    check_taken(f);
    for (at = f; at; at = at->next) {
        colo_packet_parse_frame(at, &p);
        if (colo_resend_is_news(z->resend, &p)) {
            colo_resend_ingress(z->resend, colo_net_frame_eth(at), &p);
        }
    }
    colo_net_frame_free_list(f);
    f = colo_resend_take(z->resend, z->now_us);
    check_taken(f);
    for (at = f; at; at = at->next) {
        colo_packet_parse_frame(at, &p);
        colo_resend_settle(z->resend, colo_net_frame_eth(at), &p);
        g_assert(!at->flags || net_read(at, &(NetView) { 0 }) == NULL);
    }
    colo_net_frame_free_list(f);
    check_resend(z);
}

static void swap_bytes(uint8_t *a, uint8_t *b, size_t size)
{
    while (size-- > 0) {
        uint8_t byte = a[size];

        a[size] = b[size];
        b[size] = byte;
    }
}

/* The client acknowledges what it got, and repeats the guest's clock. */
static void make_answer(ColoNetFrame *f, const ColoPacket *p)
{
    uint8_t *eth = colo_net_frame_eth(f), *tcp = eth + p->l4;
    uint8_t *src = eth + p->l3 + (p->family == 4 ? 12 : 8);
    size_t bytes = p->family == 4 ? 4 : 16;
    unsigned edge;

    swap_bytes(src, src + bytes, bytes);
    swap_bytes(tcp, tcp + 2, 2);
    tcp[13] = COLO_TCP_ACK;
    net_put32(tcp + 8, p->tcp_seq);
    if (p->has_timestamp) {
        memcpy(eth + p->tcp_timestamp + 4, eth + p->tcp_timestamp, 4);
    }
    for (edge = 0; edge < 2u * p->tcp_sack_count; edge++) {
        net_put32(eth + p->tcp_sack + 4 * edge, p->tcp_seq + edge);
    }
}

static void check_answer(Fuzz *z, ColoNetFrame *f, const ColoPacket *said,
                         uint32_t said_tsval, const ColoPacket *heard)
{
    const uint8_t *eth = colo_net_frame_eth(f);
    ColoPacket was, is;
    unsigned edge;

    make_answer(f, heard);
    pass(z, f, false, &was, &is);
    g_assert(is.kind == COLO_PACKET_TCP);
    g_assert(is.tcp_ack == said->tcp_seq);
    for (edge = 0; edge < 2u * is.tcp_sack_count; edge++) {
        g_assert(net_get32(eth + is.tcp_sack + 4 * edge) ==
                 said->tcp_seq + edge);
    }
    if (is.has_timestamp) {
        g_assert(colo_packet_timestamp(eth, &is, 1) == said_tsval);
    }
}

/* @made: a good frame, which has to stay one for a second opinion. */
static void pass_and_answer(Fuzz *z, ColoNetFrame *f, bool egress, bool made)
{
    ColoPacket was, is;
    uint32_t tsval = 0;
    NetView v;
    bool changed;

    z->now_us++;
    colo_packet_parse_frame(f, &was);
    if (was.has_timestamp) {
        tsval = colo_packet_timestamp(colo_net_frame_eth(f), &was, 0);
    }
    if (!egress) {
        hear(z, f, false);
    }
    changed = pass(z, f, egress, &was, &is);
    if (egress) {
        hear(z, f, true);
    }
    g_assert(!made || net_read(f, &v) == NULL);
    /* a refusal with number 0 is not of the flow's numbers */
    if (changed && egress && was.tcp_seq != 0) {
        check_answer(z, f, &was, tsval, &is);
    }
    colo_net_frame_free(f);
}

/* ----------------------------------------------------------------- frames */

static uint32_t near(uint8_t code)
{
    static const uint32_t bases[8] = {
        0, 50, 100, 500, 0xfffffff0, 0x7ffffff0, 65535, 0xfffffffe,
    };

    return bases[code >> 5] + (code & 31);
}

static NetPath path_of(unsigned flow, bool egress)
{
    NetPath path = {
        .family = flow & 1 ? 6 : 4, .tag_count = flow >> 1 & 1,
        .tags = { flow & 2 ? 7 : 0 },
        .src_port = egress ? 80 : 1000 + (flow >> 2),
        .dst_port = egress ? 1000 + (flow >> 2) : 80,
    };

    path.src[0] = egress ? 1 : 2;
    path.dst[0] = egress ? 2 : 1;
    return path;
}

/* Clock and SACK, each at a place of its own. */
static void put_options(NetTcp *tcp, const uint8_t *codes)
{
    static const uint8_t clock[4] = { 1, 1, 8, 10 };
    static const uint8_t sack[4] = { 1, 1, 5, 10 };

    memcpy(tcp->options, clock, 4);
    net_put32(tcp->options + 4, near(codes[0]));
    net_put32(tcp->options + 8, near(codes[1]));
    memcpy(tcp->options + 12, sack, 4);
    net_put32(tcp->options + 16, near(codes[2]));
    net_put32(tcp->options + 20, near(codes[2]) + 9);
    tcp->option_bytes = 24;
}

static void step_made(Fuzz *z, uint8_t op, bool egress)
{
    NetPath path = path_of(op >> 3 & 7, egress);
    bool vnet = op & 0x40;
    NetManner manner = { .vnet_bytes = vnet ? 12 : 0, .partial_csum = vnet };
    NetTcp tcp = {
        .flags = z->in[0] & 0x1f, .seq = near(z->in[1]),
        .ack = near(z->in[2]), .data = z->in,
        .data_bytes = MIN(z->in[0] >> 5, MADE_BYTES),
    };

    if (op & 0x80) {
        put_options(&tcp, z->in + 3);
    }
    pass_and_answer(z, net_make_tcp(&path, &manner, &tcp), egress, true);
    z->in += MADE_BYTES;
    z->left -= MADE_BYTES;
}

static void step_raw(Fuzz *z, uint8_t op, bool egress)
{
    static const uint8_t vnets[4] = { 0, 10, 12, 20 };
    size_t size = net_get16(z->in), vnet_bytes = vnets[op >> 3 & 3];

    z->in += 2;
    z->left -= 2;
    size = MIN(size, z->left);
    if (size >= vnet_bytes) {
        pass_and_answer(z, colo_net_frame_copy(z->in, size, vnet_bytes),
                        egress, false);
    }
    z->in += size;
    z->left -= size;
}

/* ---------------------------------------------------------------- control */

/* What another side would make of it, and what it would tell the next. */
static void travel(Fuzz *z)
{
    uint32_t count = colo_rewrite_export_count(z->r), again = FLOWS_MAX;
    ColoRewriteFlow flows[FLOWS_MAX], copy[FLOWS_MAX];
    ColoRewriteStats stats;

    g_assert(count <= FLOWS_MAX);
    colo_rewrite_export(z->r, flows, &count);
    g_assert(count == colo_rewrite_export_count(z->r));
    colo_rewrite_free(z->r);
    z->r = colo_rewrite_new(FLOWS_MAX, LINGER_US);
    colo_rewrite_set_learning(z->r, z->learning);
    g_assert(colo_rewrite_import(z->r, flows, count, z->now_us));
    colo_rewrite_export(z->r, copy, &again);
    g_assert(again == count);
    colo_rewrite_get_stats(z->r, &stats);
    g_assert(stats.flows == count);
}

/* Bytes as the table of a peer: taken or refused, but never half. */
static void import_any(Fuzz *z)
{
    ColoRewriteFlow flows[FLOWS_MAX + 1] = { 0 };
    uint32_t had = colo_rewrite_export_count(z->r);
    uint32_t count = 0;
    size_t size = MIN(z->left, sizeof(flows));

    while ((count + 1) * sizeof(flows[0]) <= size) {
        ColoRewriteFlow *flow = &flows[count];
        const uint8_t *at = z->in + count * sizeof(*flow);

        flow->family = at[0];
        flow->tag_count = at[1];
        flow->ended = at[2] & 1;
        flow->tags[0] = at[3];
        flow->tags[1] = at[4];
        flow->guest_port = at[5];
        flow->seq_delta = at[6];
        flow->ts_delta = at[7];
        memcpy(flow->guest, at + 8, 16);
        memcpy(flow->client, at + 24, 16);
        count++;
    }
    z->in += size;
    z->left -= size;
    if (colo_rewrite_import(z->r, flows, count, z->now_us)) {
        had = count;
    }
    g_assert(colo_rewrite_export_count(z->r) == had);
}

static void step_control(Fuzz *z, uint8_t op)
{
    switch (op >> 3) {
    case 0:
        colo_rewrite_reset(z->r);
        break;
    case 1:
        z->learning = false;
        colo_rewrite_survive(z->r);
        break;
    case 2:
    case 3:
        z->learning = op >> 3 & 1;
        colo_rewrite_set_learning(z->r, z->learning);
        break;
    case 4:
        z->now_us += LINGER_US;
        colo_rewrite_tick(z->r, z->now_us);
        break;
    case 5:
        travel(z);
        break;
    case 6:
        import_any(z);
        break;
    case 7:
        take_over(z);
        break;
    case 8:
        colo_resend_reset(z->resend);
        break;
    case 9:
        z->now_us += COLO_RESEND_FLOW_MAX_US;
        colo_resend_tick(z->resend, z->now_us);
        colo_early_tick(z->early, z->now_us);
        break;
    default:
        z->now_us += op;
        colo_rewrite_tick(z->r, z->now_us);
    }
}

static bool step(Fuzz *z)
{
    uint8_t op;

    if (z->left < 1 + MADE_BYTES) {
        return false;
    }
    op = *z->in++;
    z->left--;
    switch (op % 8 % STEP__MAX) {
    case STEP_MADE_OUT:
        step_made(z, op, true);
        break;
    case STEP_MADE_IN:
        step_made(z, op, false);
        break;
    case STEP_RAW_OUT:
        step_raw(z, op, true);
        break;
    case STEP_RAW_IN:
        step_raw(z, op, false);
        break;
    default:
        step_control(z, op);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    Fuzz z = {
        .in = in, .left = size, .learning = true,
        .r = colo_rewrite_new(FLOWS_MAX, LINGER_US),
        .resend = colo_resend_new(&resend_limits),
        .early = colo_early_new(),
    };
    ColoRewriteStats stats;

    colo_rewrite_set_learning(z.r, true);
    while (step(&z)) {
        colo_rewrite_get_stats(z.r, &stats);
        g_assert(stats.flows <= FLOWS_MAX);
        g_assert(colo_rewrite_export_count(z.r) <= stats.flows);
        g_assert(stats.rewritten_frames <=
                 stats.egress_frames + stats.ingress_frames);
    }
    colo_rewrite_free(z.r);
    colo_resend_free(z.resend);
    colo_early_free(z.early);
    return 0;
}
