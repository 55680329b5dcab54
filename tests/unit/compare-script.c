/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs the scripts of the comparer's tests; see compare-script.h. */
#include <stdlib.h>
#include "compare-script.h"

enum { P, S, SIDES };
enum {
    WINDOW = 512, MSS = 1460, INCARNATION_STEP = 100000000,
    PLACES_MAX = 1000000, DATA_MAX = 70000,
};

/* How one script is run. */
typedef struct Manner {
    uint8_t family, tag_count;
    uint16_t vnet_bytes;
    uint32_t isn, client_isn;
} Manner;

static const Manner manners[] = {
    { 4, 0, 12, 1000, 5000 },
    { 6, 1, 10, 0xffffffd0, 0xfffffffb },   /* wrap inside of what is sent */
    { 4, 2, 20, 0x7fffffd0, 0x7ffffffb },
    { 6, 0, 0, 0, 0 },
};

typedef struct Run {
    const Manner *manner;
    ColoCompare *compare;
    int64_t now_us;
    uint16_t ip_id[SIDES];
} Run;

/* What the words of a frame say. */
typedef struct Words {
    uint8_t flags;
    uint32_t place, bytes;
    uint32_t ack, time, window, gso_size, mss, wrong;
    unsigned flow, incarnation, content, longer;
    int part;                   /* of a datagram; -1: whole */
    bool zero, translated, no_scale, other_address, partial_csum, other_header;
} Words;

void script_limits(ColoCompareLimits *l)
{
    *l = (ColoCompareLimits) {
        .hold_us = 1000000, .split_us = 1000, .flow_idle_us = 10000000,
        .closed_idle_us = 2000000, .flows = 4, .queue_frames = 8,
        .held_bytes = 16384,
    };
}

/* ---------------------------------------------------------------- frames */

/* Words that say that something is so. */
static void read_mark(Words *w, const char *word)
{
    switch (word[0]) {
    case 'd':
        w->other_address = true;
        break;
    case 'c':
        w->partial_csum = true;
        break;
    case 'y':
        w->other_header = true;
        break;
    case 'o':
        w->no_scale = true;
        break;
    default:
        g_error("no such word: %s", word);
    }
}

static void read_word(Words *w, const char *word)
{
    uint32_t number = strtoul(word + 1, NULL, 10);

    switch (word[0]) {
    case '0' ... '9':
        w->place = strtoul(word, NULL, 10);
        w->bytes = strtoul(strchr(word, '+') + 1, NULL, 10);
        break;
    case '+':
        w->bytes = number;
        break;
    case 'S':
        w->flags |= NET_SYN;
        w->place = -1;
        break;
    case 'z':
        w->zero = true;
        break;
    case 'T':
        w->translated = true;
        break;
    case 'F':
        w->flags |= NET_FIN;
        break;
    case 'R':
        w->flags |= NET_RST;
        break;
    case 'n':
        w->flags &= ~NET_ACK;
        break;
    case 'a':
        w->ack = number;
        break;
    case 't':
        w->time = number;
        break;
    case 'w':
        w->window = number;
        break;
    case 'g':
        w->gso_size = number;
        break;
    case 'x':
        w->wrong = number;
        break;
    case 'm':
        w->mss = number;
        break;
    case '#':
        w->flow = number;
        break;
    case 'i':
        w->incarnation = number;
        break;
    case 'l':
        w->longer = number;
        break;
    default:
        read_mark(w, word);
    }
}

static Words read_words(char **words)
{
    Words w = {
        .flags = NET_ACK, .window = WINDOW, .mss = MSS, .wrong = -1,
        .part = -1,
    };

    for (; *words; words++) {
        read_word(&w, *words);
    }
    return w;
}

static NetPath path_of(const Run *run, unsigned flow)
{
    const Manner *m = run->manner;
    NetPath path = {
        .family = m->family, .tag_count = m->tag_count, .tags = { 7, 9 },
        .src_port = 80, .dst_port = 4711 + flow,
    };

    if (m->family == 4) {
        memcpy(path.src, "\x0a\x00\x07\x02", 4);
        memcpy(path.dst, "\x0a\x00\x07\x01", 4);
    } else {
        path.src[0] = path.dst[0] = 0xfd;
        path.src[15] = 2;
        path.dst[15] = 1;
    }
    return path;
}

static NetManner manner_of(Run *run, unsigned side, const Words *w)
{
    return (NetManner) {
        .ip_id = (side ? 7777 : 100) + run->ip_id[side]++,
        .ttl = w->other_header ? 63 : 64,
        .tos = w->other_header ? 8 : 0,
        .pad = side == S,
        .vnet_bytes = run->manner->vnet_bytes,
        .gso_size = w->gso_size,
        .partial_csum = w->partial_csum || w->gso_size,
    };
}

static uint8_t content(unsigned flow, uint32_t place)
{
    return (place * 37 + (place >> 8) * 11 + flow * 101) & 0xff;
}

static uint32_t isn_of(const Run *run, unsigned incarnation)
{
    return run->manner->isn + incarnation * INCARNATION_STEP;
}

static void fill_options(NetTcp *tcp, const Words *w)
{
    uint8_t *o = tcp->options;

    if (w->flags & NET_SYN) {
        memcpy(o, "\x02\x04\x00\x00\x01\x03\x03\x07", 8);
        net_put16(o + 2, w->mss);
        o += w->no_scale ? 4 : 8;
    }
    if (w->time) {
        memcpy(o, "\x01\x01\x08\x0a", 4);
        net_put32(o + 4, w->time);
        net_put32(o + 8, 99);
        o += 12;
    }
    tcp->option_bytes = o - tcp->options;
}

static ColoNetFrame *make_segment(Run *run, unsigned side, const Words *w)
{
    static uint8_t data[DATA_MAX];
    bool syn = w->flags & NET_SYN;
    NetPath path = path_of(run, w->flow);
    NetManner manner = manner_of(run, side, w);
    uint32_t first = syn ? 0 : w->place, i;
    NetTcp tcp = {
        .flags = w->flags, .window = w->window,
        .seq = isn_of(run, w->incarnation) + 1 + w->place,
        .ack = run->manner->client_isn + w->ack,
        .data = data, .data_bytes = w->bytes,
    };

    if (w->zero) {
        tcp.seq = 0;
    }
    if (side == S && syn && !w->translated) {
        tcp.seq += 0x12345678;
    }
    for (i = 0; i < w->bytes; i++) {
        data[i] = content(w->flow, first + i);
    }
    if (w->wrong - first < w->bytes) {
        data[w->wrong - first] ^= 0x40;
    }
    fill_options(&tcp, w);
    return net_make_tcp(&path, &manner, &tcp);
}

/* ------------------------------------------------------------- datagrams */

enum { BODY_BYTES = 60, PART_BYTES = 16, NUMBER_AT = 20 };

static const struct {
    char letter;
    uint8_t proto;              /* 0: no IP */
    uint16_t ethertype;
} kinds[] = {
    { 'u', NET_PROTO_UDP, 0 }, { 'i', NET_PROTO_ICMP, 0 },
    { 'k', NET_PROTO_SCTP, 0 }, { 'r', 0, NET_ETHERTYPE_ARP },
    { 'o', 0, 0x88b5 }, { 'h', 0, 0x0800 },
};

static unsigned kind_of(char letter)
{
    unsigned i = 0;

    while (kinds[i].letter != letter) {
        i++;
        g_assert_cmpuint(i, <, G_N_ELEMENTS(kinds));
    }
    return i;
}

static uint8_t proto_of(const Run *run, unsigned kind)
{
    return kinds[kind].proto == NET_PROTO_ICMP && run->manner->family == 6
           ? NET_PROTO_ICMP6 : kinds[kind].proto;
}

/* The number is where every kind of packet has bytes of its own. */
static size_t fill_body(const Run *run, unsigned kind, const Words *w,
                        const NetPath *path, uint8_t *body)
{
    size_t size = BODY_BYTES + w->longer;
    uint8_t proto = proto_of(run, kind);

    memset(body, 0x5a, size);
    if (proto == NET_PROTO_UDP || proto == NET_PROTO_SCTP) {
        net_put16(body, path->src_port);
        net_put16(body + 2, path->dst_port);
        net_put16(body + 4, size);
    } else if (proto) {
        net_put16(body, proto == NET_PROTO_ICMP6 ? 129 << 8 : 0);
        net_put16(body + 4, 40 + w->flow);
    } else if (kinds[kind].ethertype == NET_ETHERTYPE_ARP) {
        memcpy(body, "\x00\x01\x08\x00\x06\x04\x00\x02", 8);
        size = 28;
    }
    body[NUMBER_AT] = w->content;
    if (w->wrong < size) {
        body[w->wrong] ^= 0x40;
    }
    if (proto) {
        net_fill_csum(path, proto, body, size);
    }
    return size;
}

static ColoNetFrame *make_datagram(Run *run, unsigned side, char **words)
{
    unsigned kind = kind_of(words[0][0]);
    const char *slash = strchr(words[0], '/');
    Words w = read_words(words + 1);
    NetPath path = path_of(run, w.flow);
    NetManner manner = manner_of(run, side, &w);
    uint8_t body[1500], proto = proto_of(run, kind);
    ColoNetFrame *f;
    size_t size;

    w.content = strtoul(words[0] + 1, NULL, 10);
    size = fill_body(run, kind, &w, &path, body);
    if (!proto) {
        f = net_make_raw(&path, &manner, kinds[kind].ethertype, body, size);
    } else if (slash) {
        unsigned part = atoi(slash + 1);
        uint32_t offset = part * PART_BYTES;

        manner.ip_id = (side ? 500 : 0) + w.content;
        f = net_make_part(&path, &manner, proto,
                          (NetPart) { offset, part < 3 }, body,
                          part < 3 ? PART_BYTES : size - offset);
    } else {
        f = net_make_ip(&path, &manner, proto, body, size);
    }
    if (w.other_address) {
        colo_net_frame_eth(f)[3] ^= 1;
    }
    return f;
}

static ColoNetFrame *make_frame(Run *run, unsigned side, char **words)
{
    Words w;

    if (strchr("uikroh", words[0][0])) {
        return make_datagram(run, side, words);
    }
    w = read_words(words);
    return make_segment(run, side, &w);
}

/* --------------------------------------------------------- what has left */

static void say_tcp(const Run *run, const NetView *v, GString *out)
{
    const uint8_t *time = net_tcp_option(v, 8, 10);
    unsigned incarnation = 0, flow = v->dst_port - 4711;
    uint32_t place = v->seq - isn_of(run, 0) - 1, first, i;

    while (place + 10 > PLACES_MAX && v->seq != 0) {
        place -= INCARNATION_STEP;
        g_assert_cmpuint(++incarnation, <, 4);
    }
    if (v->seq == 0 && v->flags & NET_RST) {
        g_string_append(out, " z");
    } else if (v->flags & NET_SYN) {
        g_assert_cmpuint(place, ==, UINT32_MAX);
        g_string_append(out, " S");
        if (v->data_bytes) {
            g_string_append_printf(out, " +%u", v->data_bytes);
        }
    } else {
        g_string_append_printf(out, " %u+%u", place, v->data_bytes);
    }
    first = v->flags & NET_SYN ? 0 : place;
    for (i = 0; i < v->data_bytes; i++) {
        if (v->data[i] != content(flow, first + i)) {
            g_string_append_printf(out, " x%u", first + i);
        }
    }
    g_string_append(out, v->flags & NET_FIN ? " F" : "");
    g_string_append(out, v->flags & NET_RST ? " R" : "");
    if (!(v->flags & NET_ACK)) {
        g_string_append(out, " n");
    } else if (v->ack != run->manner->client_isn) {
        g_string_append_printf(out, " a%u", v->ack - run->manner->client_isn);
    }
    if (time) {
        g_string_append_printf(out, " t%u", net_get32(time));
    }
    if (v->window != WINDOW) {
        g_string_append_printf(out, " w%u", v->window);
    }
    if (v->gso_size) {
        g_string_append_printf(out, " g%u", v->gso_size);
    }
    if (flow) {
        g_string_append_printf(out, " #%u", flow);
    }
    if (incarnation) {
        g_string_append_printf(out, " i%u", incarnation);
    }
}

static void say_datagram(const NetView *v, GString *out)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (kinds[i].proto ? kinds[i].proto == v->proto ||
            (v->proto == NET_PROTO_ICMP6 && kinds[i].letter == 'i')
            : kinds[i].ethertype == v->ethertype && !v->family) {
            break;
        }
    }
    g_assert_cmpuint(i, <, G_N_ELEMENTS(kinds));
    g_string_append_printf(out, " %c", kinds[i].letter);
    if (!v->fragment) {
        g_string_append_printf(out, "%u", v->body[NUMBER_AT]);
    } else {
        g_string_append_printf(out, "%u/%u", v->ip_id & 0xff,
                               v->part.offset / PART_BYTES);
    }
}

static void say_output(Run *run, GString *out)
{
    ColoNetFrame *f = colo_compare_take_output(run->compare), *next;
    const char *mark = " >";

    for (; f; f = next) {
        NetView v;
        const char *bad = net_read(f, &v);

        next = f->next;
        g_string_append(out, mark);
        if (bad && v.ethertype == 0x0800 && v.body[0] == 0x5a) {
            g_string_append_printf(out, " h%u", v.body[NUMBER_AT]);
        } else {
            g_assert_cmpstr(bad, ==, NULL);
            if (v.proto == NET_PROTO_TCP && v.family) {
                say_tcp(run, &v, out);
            } else {
                say_datagram(&v, out);
            }
        }
        mark = ",";
        colo_net_frame_free(f);
    }
}

static void say_asks(Run *run, GString *out)
{
    const char *mark = " !";
    ColoReason ask;

    while ((ask = colo_compare_take_ask(run->compare)) != COLO_REASON_NONE) {
        ColoDifference d;

        g_string_append_printf(out, "%s %s", mark, colo_reason_name(ask));
        if (ask == COLO_REASON_MISMATCH) {
            g_assert_true(colo_compare_take_difference(run->compare, &d));
            g_assert_cmpuint(colo_verdict_reason(d.verdict), ==, ask);
            g_string_append_printf(out, " %s", colo_verdict_name(d.verdict));
        }
        mark = ",";
    }
}

/* --------------------------------------------------------------- actions */

static void set_rule(Run *run, const char *what)
{
    ColoRule rule = { .name = "rule", .kind = COLO_RULE_ANY_KIND };
    ColoPacketKind k;

    for (k = 0; k < COLO_PACKET__MAX; k++) {
        if (strcmp(what, colo_packet_kind_name(k)) == 0) {
            rule.kind = k;
        }
    }
    colo_compare_set_rules(run->compare, &rule, strcmp(what, "none") != 0,
                           run->now_us);
}

static ColoCompareMode mode_of(const char *name)
{
    return strcmp(name, "pass") == 0 ? COLO_COMPARE_PASS
           : strcmp(name, "buffer") == 0 ? COLO_COMPARE_BUFFER
           : COLO_COMPARE_MATCH;
}

static uint64_t *counter(ColoCompareStats *st, const char *name)
{
    const struct { const char *name; uint64_t *value; } all[] = {
        { "held", &st->held_frames }, { "flows", &st->flows },
        { "merged", &st->merged_frames }, { "made", &st->made_frames },
        { "stale", &st->stale_frames }, { "matched", &st->matched_frames },
        { "passed", &st->passed_frames },
        { "checkpointed", &st->checkpoint_frames },
        { "waiting", &st->secondary_held_frames },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(all); i++) {
        if (strcmp(all[i].name, name) == 0) {
            return all[i].value;
        }
    }
    g_error("no such action: %s", name);
}

static void check_state(const Run *run, char **words)
{
    ColoCompareStats st;

    if (strcmp(words[0], "full") == 0) {
        g_assert_cmpstr(colo_compare_full(run->compare) ? "yes" : "no", ==,
                        words[1]);
        return;
    }
    st = *colo_compare_stats(run->compare);
    g_assert_cmpuint(*counter(&st, words[0]), ==, atoi(words[1]));
}

static bool act_on_time(Run *run, char **words)
{
    const char *verb = words[0];
    uint64_t n = words[1] ? strtoull(words[1], NULL, 10) : 0;

    if (strcmp(verb, "cut") == 0) {
        colo_compare_cut(run->compare, n, run->now_us);
    } else if (strcmp(verb, "release") == 0) {
        n = strcmp(words[1], "max") == 0 ? UINT64_MAX : n;
        colo_compare_release(run->compare, n, run->now_us);
    } else if (strcmp(verb, "epoch") == 0) {
        colo_compare_secondary_epoch(run->compare, n, run->now_us);
    } else if (strcmp(verb, "gap") == 0) {
        colo_compare_secondary_gap(run->compare);
    } else if (strcmp(verb, "tick") == 0) {
        run->now_us += n;
        colo_compare_tick(run->compare, run->now_us);
    } else if (strcmp(verb, "mode") == 0) {
        colo_compare_set_mode(run->compare, mode_of(words[1]), run->now_us);
    } else {
        return false;
    }
    return true;
}

static void act(Run *run, char **words)
{
    if (strcmp(words[0], "p") == 0) {
        colo_compare_primary(run->compare, make_frame(run, P, words + 1),
                             run->now_us);
    } else if (strcmp(words[0], "s") == 0) {
        colo_compare_secondary(run->compare, make_frame(run, S, words + 1),
                               run->now_us);
    } else if (strcmp(words[0], "rule") == 0) {
        set_rule(run, words[1]);
    } else if (!act_on_time(run, words)) {
        check_state(run, words);
    }
}

static void run_step(Run *run, char *step)
{
    g_autofree char *expected = g_strdup(step);
    g_autoptr(GString) got = NULL;
    g_auto(GStrv) words = NULL;
    int64_t due_us = colo_compare_deadline_us(run->compare);

    step[strcspn(step, ">!")] = '\0';
    got = g_string_new(g_strstrip(step));
    words = g_strsplit(step, " ", -1);
    act(run, words);
    say_output(run, got);
    say_asks(run, got);
    g_assert_cmpstr(got->str, ==, expected);
    /* whoever only calls when told to would have missed it */
    if (strcmp(words[0], "tick") == 0 && got->len > strlen(step)) {
        g_assert_cmpint(due_us, <=, run->now_us);
    }
}

static void run_script(const Script *script, const Manner *manner)
{
    Run run = { .manner = manner, .now_us = 5000000 };
    g_auto(GStrv) steps = g_strsplit(script->text, ";", -1);
    ColoCompareLimits limits;
    unsigned i;

    script_limits(&limits);
    run.compare = colo_compare_new(&limits);
    colo_compare_set_mode(run.compare, COLO_COMPARE_MATCH, run.now_us);
    for (i = 0; steps[i]; i++) {
        run_step(&run, g_strstrip(steps[i]));
    }
    colo_compare_free(run.compare);
}

static void test_script(gconstpointer data)
{
    const Script *script = data;
    bool offload = strstr(script->text, " g") || strstr(script->text, " c;");
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(manners); i++) {
        if (manners[i].vnet_bytes || !offload) {
            run_script(script, &manners[i]);
        }
    }
}

void script_add(const char *path, const Script *scripts, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("%s/%s", path,
                                                scripts[i].name);

        g_test_add_data_func(name, &scripts[i], test_script);
    }
}
