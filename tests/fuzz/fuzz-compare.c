/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The comparer between two guests and a peer that call it in any order.
 *
 * The first bytes choose a plan of flows; what follows is a list of steps. A
 * made step is a part of what a flow's guest says, from either side, right or
 * changed; a raw step is any bytes as a frame; a control step is a cut, a
 * release, a marker, a gap, a mode, time, other limits or rules, with any
 * number, in any order.
 *
 * The oracle of tests/net judges made frames: output commit, nothing between
 * a cut and its release, every datagram once and in order, nothing lost. Raw
 * frames leave once and unchanged (TCP may be cut), and only if the other
 * side said the same in the same epoch, or by a release. At the end PASS lets
 * everything go: what went in has come out.
 *
 * FUZZ_TRACE in the environment: print what happens.
 */
#include "../net/streams.h"
#include "fuzz.h"

enum { STEPS_MOST = 400, RAW_MARK = 0xff, RAW_MARK_AT = 11 };

typedef enum StepKind {
    STEP_NEW_P, STEP_NEW_S, STEP_AGAIN_P, STEP_AGAIN_S, STEP_ACK_P,
    STEP_ACK_S, STEP_END, STEP_CUT, STEP_RELEASE, STEP_EPOCH, STEP_MODE,
    STEP_TICK, STEP_RAW_P, STEP_RAW_S, STEP_ODD, STEP_CHECKPOINT, STEP__MAX
} StepKind;

typedef struct Raw {
    ColoNetFrame *frame;
    uint64_t epoch;
    bool gone;
} Raw;

typedef struct Fuzz {
    const uint8_t *in;
    size_t left;
    StreamPlan plan;
    StreamRig rig;
    int64_t now_us;
    uint16_t ip_id;
    uint64_t number;            /* the highest that a call has told */
    ColoCompareMode mode;
    uint32_t next[SIDES][FLOWS_MAX];
    GArray *raw[SIDES];
} Fuzz;

static uint8_t take(Fuzz *z)
{
    if (z->left == 0) {
        return 0;
    }
    z->left--;
    return *z->in++;
}

static void call(Fuzz *z, CallType type, uint64_t value, ColoNetFrame *f)
{
    if (!stream_call(&z->rig, type, z->now_us, value, f)) {
        fprintf(stderr, "breaks \"%s\": %s\n", oracle_broken(z->rig.oracle),
                oracle_detail(z->rig.oracle));
        g_assert_not_reached();
    }
}

static void say(Fuzz *z, unsigned side, ColoNetFrame *f)
{
    call(z, side == P ? CALL_PRIMARY : CALL_SECONDARY, 0, f);
}

/* -------------------------------------------------------------- made steps */

static NetManner manner_of(Fuzz *z)
{
    return (NetManner) {
        .ip_id = z->ip_id++, .ttl = 64, .vnet_bytes = z->plan.vnet_bytes,
    };
}

/* Symbols [from, to) of a TCP flow; @change is xored into the last byte. */
static void say_symbols(Fuzz *z, unsigned side, const StreamFlow *f,
                        uint32_t from, uint32_t to, uint8_t change)
{
    const StreamScript *s = &f->script[P];
    NetManner m = manner_of(z);
    uint8_t bytes[256];
    NetTcp tcp = {
        .flags = NET_ACK, .seq = f->isn[P] + from, .data = bytes,
        .ack = f->client_isn + take(z), .window = 1000,
    };
    uint32_t i;

    for (i = from; i < to; i++) {
        if (s->symbols[i] == SYMBOL_SYN) {
            static const uint8_t mss[4] = { 2, 4, 1460 >> 8, 1460 & 0xff };

            tcp.flags |= NET_SYN;
            tcp.seq = f->isn[side];
            memcpy(tcp.options, mss, sizeof(mss));
            tcp.option_bytes = sizeof(mss);
        } else if (s->symbols[i] == SYMBOL_FIN) {
            tcp.flags |= NET_FIN;
        } else {
            bytes[tcp.data_bytes++] = s->symbols[i];
        }
    }
    if (tcp.data_bytes && side == S) {
        bytes[tcp.data_bytes - 1] ^= change;
    }
    say(z, side, net_make_tcp(&f->path, &m, &tcp));
}

static void say_datagram(Fuzz *z, unsigned side, const StreamFlow *f,
                         uint32_t index, uint8_t how)
{
    const StreamScript *s = &f->script[P];
    uint32_t from = s->first[index], size = s->first[index + 1] - from, i, at;
    g_autofree uint8_t *body = g_malloc(size);
    NetManner m = manner_of(z);
    uint32_t unit = 256;

    for (i = 0; i < size; i++) {
        body[i] = s->symbols[from + i];
    }
    if (side == S && how & 1) {
        body[size - 1] ^= how;
    }
    if (!f->proto) {
        say(z, side, net_make_raw(&f->path, &m, f->ethertype, body, size));
        return;
    }
    net_fill_csum(&f->path, f->proto, body, size);
    while (size % unit == 1) {
        unit += 8;
    }
    if (f->proto != NET_PROTO_UDP || how & 2) {
        unit = 65528;
    }
    for (at = 0; at < size; at += unit) {
        NetPart part = { at, at + unit < size };

        say(z, side, net_make_part(&f->path, &m, f->proto, part, body,
                                   MIN(unit, size - at)));
    }
}

/* The next of what this side says; @skip leaves something out. */
static void step_new(Fuzz *z, unsigned side)
{
    unsigned flow = take(z) % z->plan.flows;
    const StreamFlow *f = &z->plan.flow[flow];
    const StreamScript *s = &f->script[P];
    uint32_t *next = &z->next[side][flow], from = *next;
    uint8_t how = take(z);

    if (!stream_is_tcp(f)) {
        if (from < s->count) {
            ++*next;
            say_datagram(z, side, f, from, how & 0x80 ? how : how & 2);
        }
        return;
    }
    *next = MIN(s->size, from == 0 ? 1 : from + 1 + (how & 0x7f));
    if (*next > from) {
        say_symbols(z, side, f, from, *next, how & 0x80 ? how : 0);
    }
}

/* Anything of it again, or too early. A primary begins with its SYN, and
 * says no datagram twice. */
static void step_again(Fuzz *z, unsigned side)
{
    unsigned flow = take(z) % z->plan.flows;
    const StreamFlow *f = &z->plan.flow[flow];
    const StreamScript *s = &f->script[P];
    uint32_t where = take(z) << 4, count = take(z);

    if (!stream_is_tcp(f)) {
        if (side == S) {
            say_datagram(z, side, f, where % s->count, count);
        }
    } else if (side == S || z->next[P][flow] > 0) {
        uint32_t from = where % s->size;

        if (side == P && from == 0 && z->next[P][flow] > 1) {
            from = 1;           /* its SYN has been answered */
        }
        say_symbols(z, side, f, from, from == 0 ? 1
                    : MIN(s->size, from + count), 0);
    }
}

static void step_ack(Fuzz *z, unsigned side)
{
    unsigned flow = take(z) % z->plan.flows;
    const StreamFlow *f = &z->plan.flow[flow];
    uint32_t at = z->next[side][flow];

    if (stream_is_tcp(f) && (side == S || at > 0)) {
        say_symbols(z, side, f, at, at, 0);
    }
}

static void step_end(Fuzz *z)
{
    unsigned flow = take(z) % z->plan.flows, side = take(z) % 2;
    const StreamFlow *f = &z->plan.flow[flow];
    NetManner m = manner_of(z);
    NetTcp tcp = { .flags = NET_RST | NET_ACK, .ack = f->client_isn };

    if (!stream_is_tcp(f) || z->next[P][flow] == 0) {
        return;
    }
    tcp.seq = f->isn[P] + f->script[P].size + (side == S ? take(z) % 2 : 0);
    say(z, side, net_make_tcp(&f->path, &m, &tcp));
}

/* --------------------------------------------------------------- raw steps */

static void raw_clear(gpointer data)
{
    colo_net_frame_free(((Raw *)data)->frame);
}

static bool is_raw(ColoNetFrame *f)
{
    return f->size <= RAW_MARK_AT ||
        colo_net_frame_eth(f)[RAW_MARK_AT] == RAW_MARK;
}

static bool same_payload(const Raw *a, const Raw *b)
{
    ColoPacket p, q;

    colo_packet_parse_frame(a->frame, &p);
    colo_packet_parse_frame(b->frame, &q);
    if (p.kind != q.kind || a->epoch != b->epoch) {
        return false;
    }
    if (p.kind == COLO_PACKET_OPAQUE) {
        return a->frame->size == b->frame->size &&
            memcmp(colo_net_frame_eth(a->frame), colo_net_frame_eth(b->frame),
                   a->frame->size) == 0;
    }
    return p.payload_bytes == q.payload_bytes &&
        memcmp(colo_net_frame_eth(a->frame) + p.payload,
               colo_net_frame_eth(b->frame) + q.payload,
               p.payload_bytes) == 0;
}

static bool said_by_secondary(const Fuzz *z, const Raw *raw)
{
    guint i;

    for (i = 0; i < z->raw[S]->len; i++) {
        if (same_payload(raw, &g_array_index(z->raw[S], Raw, i))) {
            return true;
        }
    }
    return false;
}

static Raw *find_raw(const Fuzz *z, const ColoNetFrame *f)
{
    guint i;

    for (i = 0; i < z->raw[P]->len; i++) {
        Raw *raw = &g_array_index(z->raw[P], Raw, i);

        if (!raw->gone && raw->frame->size == f->size &&
            raw->frame->vnet_bytes == f->vnet_bytes &&
            memcmp(raw->frame->data, f->data,
                   f->vnet_bytes + f->size) == 0) {
            return raw;
        }
    }
    return NULL;
}

static void check_raw(Fuzz *z, ColoNetFrame *f)
{
    Raw *raw = find_raw(z, f);
    ColoPacket p;

    colo_packet_parse_frame(f, &p);
    if (raw) {
        raw->gone = true;
    }
    if (p.kind == COLO_PACKET_TCP || p.kind == COLO_PACKET_FRAGMENT) {
        g_assert(raw || p.kind == COLO_PACKET_TCP);
        return;
    }
    g_assert(raw);
    if (z->mode == COLO_COMPARE_PASS ||
        raw->epoch < oracle_released(z->rig.oracle)) {
        return;
    }
    g_assert(z->mode == COLO_COMPARE_MATCH && said_by_secondary(z, raw));
}

static bool foreign(void *opaque, ColoNetFrame *f, bool out)
{
    Fuzz *z = opaque;

    if (!is_raw(f)) {
        return false;
    }
    if (out) {
        check_raw(z, f);
    }
    return true;
}

static void step_raw(Fuzz *z, unsigned side)
{
    size_t size = take(z) << 2;
    Raw raw = { .epoch = oracle_epoch(z->rig.oracle, side) };
    ColoNetFrame *f;

    size = MIN(size, z->left);
    if (size < z->plan.vnet_bytes) {
        return;
    }
    f = colo_net_frame_copy(z->in, size, z->plan.vnet_bytes);
    z->in += size;
    z->left -= size;
    if (f->size > RAW_MARK_AT) {
        colo_net_frame_eth(f)[RAW_MARK_AT] = RAW_MARK;
    }
    raw.frame = colo_net_frame_copy(f->data, size, f->vnet_bytes);
    g_array_append_val(z->raw[side], raw);
    say(z, side, f);
}

/* ----------------------------------------------------------------- control */

static void do_cut(Fuzz *z, uint64_t epoch)
{
    z->number = MAX(z->number, epoch);
    call(z, CALL_CUT, epoch, NULL);
}

static void do_release(Fuzz *z, uint64_t epoch)
{
    call(z, CALL_RELEASE, epoch, NULL);
}

static void do_epoch(Fuzz *z, uint64_t epoch)
{
    call(z, CALL_EPOCH, epoch, NULL);
}

/* What S says from here on it says as the primary was at the cut. */
static void do_checkpoint(Fuzz *z)
{
    do_cut(z, z->number + 1);
    memcpy(z->next[S], z->next[P], sizeof(z->next[S]));
    do_epoch(z, z->number);
    do_release(z, z->number);
}

static void do_mode(Fuzz *z, ColoCompareMode mode)
{
    z->mode = mode;
    call(z, CALL_MODE, mode, NULL);
}

static void step_odd(Fuzz *z)
{
    uint8_t what = take(z);
    ColoCompareLimits l = z->plan.limits;

    switch (what % 3) {
    case 0:
        call(z, CALL_GAP, 0, NULL);
        break;
    case 1:
        l.queue_frames = 1 + what / 8;
        l.held_bytes = 1 + what * 8;
        l.flows = 1 + what % 8;
        colo_compare_set_limits(z->rig.compare, &l);
        break;
    default:
        colo_compare_set_limits(z->rig.compare, &l);
    }
}

static void step_tick(Fuzz *z)
{
    int64_t due_us = colo_compare_deadline_us(z->rig.compare);
    uint8_t what = take(z);

    z->now_us += what & 1 ? what * 50 : 0;
    if (what & 2 && due_us != INT64_MAX) {
        z->now_us = MAX(z->now_us, due_us);
    }
    call(z, CALL_TICK, 0, NULL);
    due_us = colo_compare_deadline_us(z->rig.compare);
    g_assert(due_us > z->now_us);
}

static void step_control(Fuzz *z, StepKind kind)
{
    uint8_t what;

    switch (kind) {
    case STEP_CUT:
        do_cut(z, z->number + take(z) % 3);
        break;
    case STEP_RELEASE:
        what = take(z);
        do_release(z, what == 255 ? UINT64_MAX : z->number + what % 2);
        break;
    case STEP_EPOCH:
        do_epoch(z, z->number + take(z) % 2);
        break;
    case STEP_MODE:
        do_mode(z, take(z) % 3);
        break;
    case STEP_TICK:
        step_tick(z);
        break;
    case STEP_CHECKPOINT:
        do_checkpoint(z);
        break;
    default:
        step_odd(z);
    }
}

static void step(Fuzz *z)
{
    StepKind kind = take(z) % STEP__MAX;

    switch (kind) {
    case STEP_NEW_P:
    case STEP_NEW_S:
        step_new(z, kind == STEP_NEW_S);
        break;
    case STEP_AGAIN_P:
    case STEP_AGAIN_S:
        step_again(z, kind == STEP_AGAIN_S);
        break;
    case STEP_ACK_P:
    case STEP_ACK_S:
        step_ack(z, kind == STEP_ACK_S);
        break;
    case STEP_END:
        step_end(z);
        break;
    case STEP_RAW_P:
    case STEP_RAW_S:
        step_raw(z, kind == STEP_RAW_S);
        break;
    default:
        step_control(z, kind);
    }
}

/* --------------------------------------------------------------- the whole */

static void init(Fuzz *z, const uint8_t *in, size_t size)
{
    uint64_t random;
    unsigned side;

    memset(z, 0, sizeof(*z));
    z->in = in;
    z->left = size;
    random = take(z);
    stream_plan_make(&z->plan, true, &random);
    z->plan.shuffled_parts = false;
    z->now_us = 1;
    for (side = 0; side < SIDES; side++) {
        z->raw[side] = g_array_new(false, false, sizeof(Raw));
        g_array_set_clear_func(z->raw[side], raw_clear);
    }
    stream_rig_init(&z->rig, &z->plan, BREAK_NOTHING);
    z->rig.foreign = foreign;
    z->rig.trace = g_getenv("FUZZ_TRACE") != NULL;
    z->rig.opaque = z;
    do_mode(z, COLO_COMPARE_MATCH);
}

/* Nothing may be left over. */
static void finish(Fuzz *z)
{
    ColoCompareStats stats;
    guint i;

    do_mode(z, COLO_COMPARE_PASS);
    stats = *colo_compare_stats(z->rig.compare);
    g_assert(stats.held_frames == 0 && stats.held_bytes == 0);
    g_assert(stats.matched_frames + stats.checkpoint_frames +
             stats.passed_frames + stats.merged_frames ==
             stats.primary_frames);
    for (i = 0; i < z->raw[P]->len; i++) {
        const Raw *raw = &g_array_index(z->raw[P], Raw, i);
        ColoPacket p;

        colo_packet_parse_frame(raw->frame, &p);
        g_assert(raw->gone || p.kind == COLO_PACKET_TCP);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    unsigned steps = 0, side;
    Fuzz z;

    init(&z, in, size);
    while (z.left > 0 && steps++ < STEPS_MOST) {
        z.now_us++;
        step(&z);
    }
    finish(&z);
    stream_rig_destroy(&z.rig);
    stream_plan_free(&z.plan);
    for (side = 0; side < SIDES; side++) {
        g_array_unref(z.raw[side]);
    }
    return 0;
}
