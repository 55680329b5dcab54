/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every call of the comparer goes through here: it is written down, told to
 * the oracle, made, and what comes of it is judged.
 *
 * A log can be replayed. If a property breaks, calls are left out by halves,
 * quarters and so on, as long as the same property still breaks, and the few
 * that remain are printed.
 *
 * The breakages spoil the comparer's answers, or what it is told, in ways in
 * which a wrong comparer would be wrong: the oracle has to see each.
 */
#include "streams.h"

/* ------------------------------------------------------------------- print */

static void print_frame(const StreamPlan *plan, ColoNetFrame *f)
{
    NetView v;
    const char *bad = net_read(f, &v);
    const StreamFlow *flow = bad ? NULL : stream_find(plan, &v);

    if (!flow) {
        printf("%s", bad ? bad : "unknown");
    } else if (!stream_is_tcp(flow)) {
        printf("flow %d datagram, %u bytes at %u%s",
               (int)(flow - plan->flow), v.body_bytes, v.part.offset,
               v.part.more ? ", more" : "");
    } else {
        printf("flow %d %s%s%s%s %u +%u ack %d", (int)(flow - plan->flow),
               v.flags & NET_SYN ? "SYN" : "", v.flags & NET_FIN ? "FIN" : "",
               v.flags & NET_RST ? "RST" : "", v.flags & NET_ACK ? "." : "",
               v.flags & NET_SYN ? 0 : v.seq - flow->isn[P], v.data_bytes,
               v.flags & NET_ACK ? (int)(v.ack - flow->client_isn) : -1);
    }
    printf(", %u bytes\n", f->size);
}

static void print_call(const StreamPlan *plan, const Call *call)
{
    static const char *const names[] = {
        "primary   ", "secondary ", "cut", "release", "secondary_epoch",
        "secondary_gap", "set_mode", "tick",
    };

    printf("# %8" PRId64 "us %s ", call->now_us, names[call->type]);
    if (call->frame) {
        print_frame(plan, call->frame);
    } else {
        printf("%" PRIu64 "\n", call->value);
    }
}

static void print_flow(const StreamFlow *f, unsigned index)
{
    const StreamScript *p = &f->script[P];

    printf("# flow %u: %s IPv%u, ports %u %u", index,
           stream_is_tcp(f) ? "TCP" : "datagrams", f->path.family,
           f->path.src_port, f->path.dst_port);
    if (stream_is_tcp(f)) {
        printf(", isn %u/%u, from symbol %u of %u%s%s", f->isn[P], f->isn[S],
               f->start, p->size, p->end == END_FIN ? ", ends by FIN" : "",
               p->end == END_RST ? ", ends by RST" : "");
    } else {
        printf(", proto %u/%04x, %u of them", f->proto, f->ethertype,
               p->count);
    }
    printf("%s%s\n", f->passes ? ", passes by a rule" : "",
           f->predecessor >= 0 ? ", uses ports again" : "");
}

static void print_plan(const StreamPlan *plan)
{
    static const char *const twists[] = {
        "none", "byte", "FIN", "RST", "SYN", "length", "missing", "extra",
    };
    unsigned i;

    for (i = 0; i < plan->flows; i++) {
        print_flow(&plan->flow[i], i);
    }
    if (plan->twist) {
        printf("# twist: %s at %u of flow %u\n", twists[plan->twist],
               plan->twist_at, plan->twist_flow);
    }
}

/* ------------------------------------------------------------------ set-up */

static void set_rules(StreamRig *rig)
{
    ColoRule rules[FLOWS_MAX];
    unsigned i, count = 0;

    for (i = 0; i < rig->plan->flows; i++) {
        const StreamFlow *f = &rig->plan->flow[i];
        ColoRule *r = &rules[count];

        if (!f->passes) {
            continue;
        }
        count++;
        memset(r, 0, sizeof(*r));
        g_snprintf(r->name, sizeof(r->name), "flow-%u", i);
        r->kind = COLO_RULE_ANY_KIND;
        r->family = f->path.family;
        r->prefix_bits = f->path.family == 4 ? 32 : 128;
        memcpy(r->prefix, f->path.dst, 16);
    }
    colo_compare_set_rules(rig->compare, rules, count, 0);
}

static void init_rig(StreamRig *rig, const StreamPlan *plan, Breakage b,
                     bool part)
{
    memset(rig, 0, sizeof(*rig));
    rig->plan = plan;
    rig->breakage = b;
    rig->random = 1;
    rig->compare = colo_compare_new(&plan->limits);
    rig->oracle = oracle_new(plan, part);
    set_rules(rig);
}

void stream_rig_init(StreamRig *rig, const StreamPlan *plan, Breakage b)
{
    init_rig(rig, plan, b, false);
}


static ColoNetFrame *copy_frame(const ColoNetFrame *f)
{
    return colo_net_frame_copy(f->data, f->vnet_bytes + f->size,
                               f->vnet_bytes);
}

static void log_call(StreamRig *rig, const Call *call)
{
    Call own = *call;

    if (own.frame) {
        own.frame = copy_frame(own.frame);
    }
    g_array_append_val(rig->log, own);
}

void stream_rig_destroy(StreamRig *rig)
{
    colo_compare_free(rig->compare);
    oracle_free(rig->oracle);
    colo_net_frame_free_list(rig->kept);
}

/* ---------------------------------------------------------------- breakage */

static void append(ColoNetFrame **list, ColoNetFrame *f)
{
    while (*list) {
        list = &(*list)->next;
    }
    *list = f;
}

static void raise_ack(StreamRig *rig, ColoNetFrame *f)
{
    ColoPacket p;
    NetView v;

    if (!net_read(f, &v) && v.proto == NET_PROTO_TCP && v.flags & NET_ACK &&
        !colo_packet_parse_frame(f, &p)) {
        const StreamFlow *flow = stream_find(rig->plan, &v);

        /* what the client has sent, not what a guest has confirmed */
        colo_packet_set_ack(colo_net_frame_eth(f), &p, v.ack + 1 +
                            (flow ? flow->wscale : 0));
    }
}

static ColoNetFrame *spoil_output(StreamRig *rig, ColoNetFrame *out)
{
    ColoNetFrame *first = out, *kept = rig->kept;
    unsigned dice = net_below(&rig->random, 4);

    switch (rig->breakage) {
    case BREAK_DROP:
        if (out && dice == 0) {
            out = out->next;
            colo_net_frame_free(first);
        }
        break;
    case BREAK_TWICE:
        if (out && dice == 0) {
            append(&out, copy_frame(out));
        }
        break;
    case BREAK_SWAP:
        if (out && out->next) {
            out = out->next;
            first->next = out->next;
            out->next = first;
        }
        break;
    case BREAK_ACK:
        if (out) {
            raise_ack(rig, out);
        }
        break;
    case BREAK_BYTE:
        if (out && dice == 0) {
            out->data[out->vnet_bytes + out->size - 1] ^= 1;
        }
        break;
    case BREAK_LATE:
        rig->kept = out;
        return kept;
    default:
        break;
    }
    return out;
}

static ColoReason spoil_ask(StreamRig *rig, ColoReason ask)
{
    if (rig->breakage == BREAK_MUTE) {
        return COLO_REASON_NONE;
    }
    if (rig->breakage == BREAK_FALSE_ASK && ask == COLO_REASON_NONE &&
        net_below(&rig->random, 50) == 0) {
        return COLO_REASON_MISMATCH;
    }
    return ask;
}

/* ------------------------------------------------------------------- calls */

static void make_call(StreamRig *rig, const Call *call, ColoNetFrame *frame)
{
    ColoCompare *c = rig->compare;
    int64_t now_us = call->now_us;

    switch (call->type) {
    case CALL_PRIMARY:
        if (rig->breakage == BREAK_BELIEVE) {
            colo_compare_secondary(c, copy_frame(frame), now_us);
        }
        colo_compare_primary(c, frame, now_us);
        rig->fed++;
        break;
    case CALL_SECONDARY:
        colo_compare_secondary(c, frame, now_us);
        break;
    case CALL_CUT:
        colo_compare_cut(c, call->value, now_us);
        if (rig->breakage == BREAK_HASTY) {
            colo_compare_release(c, call->value, now_us);
        }
        break;
    case CALL_RELEASE:
        colo_compare_release(c, call->value, now_us);
        break;
    case CALL_EPOCH:
        colo_compare_secondary_epoch(c, call->value, now_us);
        break;
    case CALL_GAP:
        colo_compare_secondary_gap(c);
        break;
    case CALL_MODE:
        colo_compare_set_mode(c, call->value, now_us);
        break;
    case CALL_TICK:
        if (rig->breakage != BREAK_NO_TIMER) {
            colo_compare_tick(c, now_us);
        }
    }
}

static void take_output(StreamRig *rig, const Call *call)
{
    ColoNetFrame *out = colo_compare_take_output(rig->compare);
    ColoNetFrame *f, *next;

    for (f = out; f; f = f->next) {
        rig->left++;
    }
    if (rig->breakage == BREAK_EARLY && call->type == CALL_PRIMARY &&
        net_below(&rig->random, 10) == 0) {
        append(&out, copy_frame(call->frame));
    }
    for (f = spoil_output(rig, out); f; f = next) {
        next = f->next;
        if (rig->trace) {
            printf("#                left ");
            print_frame(rig->plan, f);
        }
        if (!rig->foreign || !rig->foreign(rig->opaque, f, true)) {
            oracle_output(rig->oracle, f);
        }
        colo_net_frame_free(f);
    }
}

static void take_asks(StreamRig *rig)
{
    unsigned count = 0;
    ColoDifference d;
    ColoReason ask;

    do {
        bool told = colo_compare_take_difference(rig->compare, &d);

        ask = spoil_ask(rig, colo_compare_take_ask(rig->compare));
        if (ask != COLO_REASON_NONE) {
            if (rig->trace) {
                printf("#                asks for a checkpoint: %s, %s %s\n",
                       colo_reason_name(ask),
                       told ? colo_verdict_name(d.verdict) : "",
                       told ? d.flow : "");
            }
            oracle_ask(rig->oracle, ask, told ? d.verdict : 0);
        }
    } while (ask != COLO_REASON_NONE && ++count < 10);
}

static void look_at_table(StreamRig *rig)
{
    ColoCompareStats s;

    s = *colo_compare_stats(rig->compare);
    if (s.verdicts[COLO_VERDICT_FLOWS] > rig->full_count) {
        rig->full_count = s.verdicts[COLO_VERDICT_FLOWS];
        oracle_table_full(rig->oracle);
    }
}

/* The counters have to add up after every call. */
static const char *stats_problem(const StreamRig *rig)
{
    ColoCompareStats s;

    s = *colo_compare_stats(rig->compare);
    if (s.primary_frames != rig->fed || s.released_frames != rig->left) {
        return "frames in or out";
    }
    if ((s.held_frames == 0 && s.held_bytes) ||
        s.held_frames > s.held_peak_frames) {
        return "held";
    }
    return NULL;
}

bool stream_call(StreamRig *rig, CallType type, int64_t now_us,
                 uint64_t value, ColoNetFrame *frame)
{
    Call call = { type, now_us, value, frame ? copy_frame(frame) : NULL };
    const char *bad;

    if (rig->log) {
        log_call(rig, &call);
    }
    if (rig->trace) {
        print_call(rig->plan, &call);
    }
    if (!frame || !rig->foreign || !rig->foreign(rig->opaque, frame, false)) {
        oracle_before(rig->oracle, &call);
    }
    make_call(rig, &call, frame);
    take_output(rig, &call);
    take_asks(rig);
    look_at_table(rig);
    oracle_after(rig->oracle);
    colo_net_frame_free(call.frame);
    bad = stats_problem(rig);
    if (bad) {
        oracle_fail(rig->oracle, "counters", bad);
    }
    return !oracle_broken(rig->oracle);
}

/* ------------------------------------------------------------------ replay */

static bool replay(const StreamPlan *plan, GArray *log, Breakage b,
                   const char *property, bool trace)
{
    StreamRig rig;
    bool same = false;
    guint i;

    init_rig(&rig, plan, b, true);
    rig.trace = trace;
    for (i = 0; i < log->len; i++) {
        const Call *call = &g_array_index(log, Call, i);

        if (!stream_call(&rig, call->type, call->now_us, call->value,
                         call->frame ? copy_frame(call->frame) : NULL)) {
            same = strcmp(oracle_broken(rig.oracle), property) == 0;
            break;
        }
    }
    if (trace && oracle_broken(rig.oracle)) {
        printf("# breaks \"%s\": %s\n", oracle_broken(rig.oracle),
               oracle_detail(rig.oracle));
    }
    stream_rig_destroy(&rig);
    return same;
}

/* Without these the rest would be of another story. */
static bool is_needed(const Call *call)
{
    NetView v;

    return call->type == CALL_MODE ||
        (call->frame && !net_read(call->frame, &v) &&
         v.proto == NET_PROTO_TCP && v.flags & NET_SYN);
}

static GArray *without(const GArray *log, guint at, guint count)
{
    GArray *less = g_array_new(false, false, sizeof(Call));
    guint i;

    for (i = 0; i < log->len; i++) {
        const Call *call = &g_array_index(log, Call, i);

        if (i < at || i >= at + count || is_needed(call)) {
            g_array_append_val(less, *call);
        }
    }
    return less;
}

void stream_minimize(const StreamPlan *plan, GArray *log, Breakage b,
                     const char *property)
{
    GArray *best = without(log, log->len, 0);
    guint chunk, at;

    for (chunk = MAX(best->len / 2, 1); chunk > 0; chunk /= 2) {
        for (at = 0; at < best->len;) {
            GArray *less = without(best, at, chunk);

            if (less->len < best->len &&
                replay(plan, less, b, property, false)) {
                g_array_unref(best);
                best = less;
            } else {
                g_array_unref(less);
                at += chunk;
            }
        }
    }
    print_plan(plan);
    replay(plan, best, b, property, true);
    printf("# %u of %u calls show it\n", best->len, log->len);
    g_array_unref(best);
}
