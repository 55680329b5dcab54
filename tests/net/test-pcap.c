/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a real guest sent, replayed: data/conversation.pcap through the
 * comparer as the primary's output, and a copy of it that a second guest
 * could have sent as the secondary's.
 *
 * The copy says the same streams in other segments, with other sequence
 * numbers in its SYN, other IP identifications, and earlier or later. Then all
 * that was recorded has to leave without a checkpoint. With one byte of the
 * copy changed, a checkpoint has to be asked for, and the byte stays until its
 * release. Without any copy nothing leaves before.
 */
#include <stdio.h>
#include "colo/compare.h"
#include "frames.h"

enum {
    STREAM_BYTES = 65536,       /* of one connection in the capture */
    PCAP_HEAD_BYTES = 24, PCAP_RECORD_BYTES = 16,
    COPY_SEGMENT_BYTES = 900,
    NO_CHANGE = -1,
};

typedef struct Stream {
    NetPath path;
    uint32_t isn, own_isn;
    uint8_t bytes[STREAM_BYTES];
    uint8_t left[STREAM_BYTES];
    uint32_t end;               /* bytes said so far; isn + 1 is byte 0 */
    uint32_t total;
    uint32_t ack;               /* its last */
    bool syn_left, fin, fin_left, rst;
    uint32_t said;              /* by the copy */
    bool fin_said;
} Stream;

typedef struct Replay {
    GPtrArray *frames;          /* of the guest, as recorded */
    GArray *times_us;
    GHashTable *streams;        /* ends -> Stream */
    ColoCompare *compare;
    GQueue copy;                /* frames of the secondary on their way */
    uint64_t random;
    int64_t now_us;
    unsigned asks[COLO_REASON__MAX];
    GPtrArray *left;            /* what is not TCP, as it left */
    int64_t change_at;          /* byte of all streams, counted through */
    int64_t counted;
    Stream *changed;
    uint32_t changed_byte;
} Replay;

/* ----------------------------------------------------------------- capture */

static uint32_t little(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void load(Replay *r, const char *path)
{
    static const uint8_t guest[6] = { 0x52, 0x54, 0, 0, 0, 1 };
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    const uint8_t *p, *end;
    gsize size;

    if (!g_file_get_contents(path, &text, &size, &error)) {
        g_error("%s", error->message);
    }
    p = (const uint8_t *)text;
    end = p + size;
    g_assert(size > PCAP_HEAD_BYTES && little(p) == 0xa1b2c3d4 &&
             little(p + 20) == 1);
    for (p += PCAP_HEAD_BYTES; end - p >= PCAP_RECORD_BYTES;) {
        int64_t time_us = little(p) * 1000000ll + little(p + 4);
        uint32_t bytes = little(p + 8);

        p += PCAP_RECORD_BYTES;
        g_assert(bytes >= 14 && bytes <= end - p);
        if (memcmp(p + 6, guest, sizeof(guest)) == 0) {
            g_ptr_array_add(r->frames, colo_net_frame_copy(p, bytes, 0));
            g_array_append_val(r->times_us, time_us);
        }
        p += bytes;
    }
    g_assert(p == end && r->frames->len > 50);
}

/* ----------------------------------------------------------------- streams */

static Stream *stream_of(Replay *r, const NetView *v)
{
    g_autofree char *key = g_strdup_printf("%u %u %u", v->family, v->src_port,
                                           v->dst_port);
    Stream *s = g_hash_table_lookup(r->streams, key);

    if (!s) {
        s = g_new0(Stream, 1);
        s->path.family = v->family;
        memcpy(s->path.src, v->src, 16);
        memcpy(s->path.dst, v->dst, 16);
        s->path.src_port = v->src_port;
        s->path.dst_port = v->dst_port;
        s->isn = v->seq;
        s->own_isn = net_random(&r->random);
        g_hash_table_insert(r->streams, g_steal_pointer(&key), s);
    }
    return s;
}

static void learn(Replay *r, const NetView *v)
{
    Stream *s = stream_of(r, v);
    uint32_t at = v->seq - (s->isn + 1);

    if (v->data_bytes) {
        g_assert(at + v->data_bytes < STREAM_BYTES);
        memcpy(s->bytes + at, v->data, v->data_bytes);
        s->end = MAX(s->end, at + v->data_bytes);
    }
    s->fin = s->fin || v->flags & NET_FIN;
    s->rst = s->rst || v->flags & NET_RST;
    s->ack = v->ack;
}

/* ---------------------------------------------------------------- the copy */

static ColoNetFrame *copy_segment(Replay *r, Stream *s, const NetView *v,
                                  uint32_t count, bool fin)
{
    NetManner m = { .ip_id = net_random(&r->random), .ttl = 63, .pad = true };
    g_autofree uint8_t *data = g_memdup2(s->bytes + s->said, count + 1);
    NetTcp tcp = {
        .seq = s->isn + 1 + s->said, .ack = v->ack, .window = 5000,
        .flags = NET_ACK | (fin ? NET_FIN : 0), .data = data,
        .data_bytes = count,
    };

    if (r->change_at >= r->counted && r->change_at < r->counted + count) {
        uint32_t place = r->change_at - r->counted;

        data[place] ^= 0x20;
        r->changed = s;
        r->changed_byte = s->said + place;
    }
    r->counted += count;
    s->said += count;
    return net_make_tcp(&s->path, &m, &tcp);
}

/* What the primary has said up to now, or only a part of it. */
static void copy_data(Replay *r, Stream *s, const NetView *v, bool all)
{
    do {
        uint32_t open = s->end - s->said;
        uint32_t most = 1 + net_below(&r->random, COPY_SEGMENT_BYTES);
        uint32_t count = MIN(open, most);
        bool fin = s->fin && count == open && !s->fin_said;

        s->fin_said = s->fin_said || fin;
        g_queue_push_tail(&r->copy, copy_segment(r, s, v, count, fin));
    } while (s->said < s->end && (all || net_below(&r->random, 4)));
}

static void copy_syn(Replay *r, Stream *s, const ColoNetFrame *f)
{
    ColoNetFrame *own = colo_net_frame_copy(f->data, f->size, 0);
    ColoPacket p;

    g_assert(colo_packet_parse_frame(own, &p) == COLO_REJECT_NONE);
    colo_packet_set_seq(own->data, &p, s->own_isn);
    g_queue_push_tail(&r->copy, own);
}

/* Another identification: every frame, so that trains stay together. */
static void copy_other(Replay *r, const ColoNetFrame *f, const NetView *v)
{
    ColoNetFrame *own = colo_net_frame_copy(f->data, f->size, 0);
    uint8_t *ip = own->data + 14;

    if (v->family == 4) {
        uint32_t sum = 0;
        unsigned i;

        net_put16(ip + 4, v->ip_id + 77);
        net_put16(ip + 10, 0);
        for (i = 0; i < (ip[0] & 15u) * 4; i += 2) {
            sum += net_get16(ip + i);
        }
        sum = (sum & 0xffff) + (sum >> 16);
        net_put16(ip + 10, ~(sum + (sum >> 16)));
    }
    g_queue_push_tail(&r->copy, own);
}

static void copy_frame(Replay *r, const ColoNetFrame *f, const NetView *v)
{
    if (v->proto != NET_PROTO_TCP || v->fragment) {
        copy_other(r, f, v);
    } else if (v->flags & NET_SYN) {
        copy_syn(r, stream_of(r, v), f);
    } else if (v->flags & NET_RST) {
        if (stream_of(r, v)->said < stream_of(r, v)->end) {
            copy_data(r, stream_of(r, v), v, true);
        }
        copy_other(r, f, v);
    } else {
        copy_data(r, stream_of(r, v), v, false);
    }
}

/* --------------------------------------------------------------- what left */

static void take_tcp(Replay *r, const NetView *v)
{
    Stream *s = stream_of(r, v);
    uint32_t at = v->seq - (s->isn + 1), i;

    s->syn_left = s->syn_left || v->flags & NET_SYN;
    for (i = 0; i < v->data_bytes; i++) {
        g_assert(at + i < s->end && v->data[i] == s->bytes[at + i]);
        s->left[at + i] = 1;
    }
    s->fin_left = s->fin_left || v->flags & NET_FIN;
}

static unsigned take_output(Replay *r)
{
    ColoNetFrame *f = colo_compare_take_output(r->compare), *next;
    ColoReason ask;
    unsigned count = 0;
    NetView v;

    for (; f; f = next, count++) {
        next = f->next;
        f->next = NULL;
        g_assert(net_read(f, &v) == NULL);
        if (v.proto == NET_PROTO_TCP) {
            take_tcp(r, &v);
            colo_net_frame_free(f);
        } else {
            g_ptr_array_add(r->left, f);
        }
    }
    while ((ask = colo_compare_take_ask(r->compare)) != COLO_REASON_NONE) {
        ColoDifference d;

        r->asks[ask]++;
        if (colo_compare_take_difference(r->compare, &d)) {
            g_test_message("asked: %s, %s", colo_verdict_name(d.verdict),
                           d.flow);
        }
    }
    return count;
}

/* ----------------------------------------------------------------- replays */

static void secondary_says(Replay *r, guint leave)
{
    while (r->copy.length > leave) {
        colo_compare_secondary(r->compare, g_queue_pop_head(&r->copy),
                               r->now_us);
        take_output(r);
    }
}

static void primary_says(Replay *r, const ColoNetFrame *f)
{
    colo_compare_primary(r->compare, colo_net_frame_copy(f->data, f->size, 0),
                         r->now_us);
    take_output(r);
}

static void tick_until(Replay *r, int64_t until_us)
{
    int64_t due_us;

    while ((due_us = colo_compare_deadline_us(r->compare)) <= until_us) {
        r->now_us = MAX(r->now_us, due_us);
        colo_compare_tick(r->compare, r->now_us);
        take_output(r);
    }
    r->now_us = MAX(r->now_us, until_us);
}

static void finish_copies(Replay *r)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, r->streams);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Stream *s = value;
        NetView v = { .ack = s->ack };

        if (!s->rst) {
            copy_data(r, s, &v, true);
        }
    }
    secondary_says(r, 0);
}

static void replay(Replay *r, bool with_copy)
{
    guint i;

    for (i = 0; i < r->frames->len; i++) {
        ColoNetFrame *f = r->frames->pdata[i];
        bool first = with_copy && net_below(&r->random, 2);
        NetView v;

        g_assert(net_read(f, &v) == NULL);
        tick_until(r, g_array_index(r->times_us, int64_t, i));
        if (v.proto == NET_PROTO_TCP) {
            learn(r, &v);
        }
        if (with_copy) {
            copy_frame(r, f, &v);
        }
        if (first) {
            secondary_says(r, net_below(&r->random, 3));
        }
        primary_says(r, f);
        if (with_copy && !first) {
            secondary_says(r, net_below(&r->random, 6));
        }
    }
    if (with_copy) {
        finish_copies(r);
    }
}

static void setup(Replay *r, uint64_t seed, const char *path)
{
    ColoCompareLimits limits;

    memset(r, 0, sizeof(*r));
    r->random = seed;
    r->change_at = NO_CHANGE;
    r->frames = g_ptr_array_new_with_free_func(
        (GDestroyNotify)colo_net_frame_free);
    r->left = g_ptr_array_new_with_free_func(
        (GDestroyNotify)colo_net_frame_free);
    r->times_us = g_array_new(false, false, sizeof(int64_t));
    r->streams = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                       g_free);
    load(r, path);
    r->now_us = g_array_index(r->times_us, int64_t, 0);
    colo_compare_limits_init(&limits);
    r->compare = colo_compare_new(&limits);
    colo_compare_set_mode(r->compare, COLO_COMPARE_MATCH, r->now_us);
}

static void teardown(Replay *r)
{
    ColoNetFrame *f;

    while ((f = g_queue_pop_head(&r->copy))) {
        colo_net_frame_free(f);
    }
    colo_compare_free(r->compare);
    g_ptr_array_unref(r->frames);
    g_ptr_array_unref(r->left);
    g_array_unref(r->times_us);
    g_hash_table_unref(r->streams);
}

/* ------------------------------------------------------------------ checks */

static void check_streams_left(Replay *r)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, r->streams);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Stream *s = value;

        g_assert(s->fin == s->fin_left);
        g_assert(!memchr(s->left, 0, s->end));
    }
}

static void check_others_left(const Replay *r)
{
    guint i, k = 0;

    for (i = 0; i < r->frames->len; i++) {
        ColoNetFrame *f = r->frames->pdata[i];
        NetView v;

        g_assert(net_read(f, &v) == NULL);
        if (v.proto != NET_PROTO_TCP) {
            const ColoNetFrame *left = r->left->pdata[k++];

            g_assert(left->size == f->size &&
                     memcmp(left->data, f->data, f->size) == 0);
        }
    }
    g_assert(k == r->left->len);
}

static void test_equal(gconstpointer path)
{
    uint64_t seed;

    for (seed = 1; seed <= 50; seed++) {
        ColoCompareStats stats;
        Replay r;

        setup(&r, seed, path);
        replay(&r, true);
        tick_until(&r, r.now_us + 100000);
        stats = *colo_compare_stats(r.compare);
        g_assert_cmpuint(stats.asked_checkpoints, ==, 0);
        g_assert_cmpuint(stats.held_frames, ==, 0);
        check_streams_left(&r);
        g_assert_cmpuint(r.left->len, >, 10);
        teardown(&r);
    }
}

static void test_changed(gconstpointer path)
{
    uint64_t seed;
    unsigned noticed = 0;

    for (seed = 1; seed <= 100; seed++) {
        Replay r;

        setup(&r, seed, path);
        r.change_at = net_below(&r.random, 30000);
        replay(&r, true);
        if (r.changed) {
            noticed++;
            g_assert_cmpuint(r.asks[COLO_REASON_MISMATCH], ==, 1);
            g_assert(!r.changed->left[r.changed_byte]);
        }
        colo_compare_cut(r.compare, 1, r.now_us);
        g_assert_cmpuint(take_output(&r), ==, 0);
        colo_compare_release(r.compare, 1, r.now_us);
        take_output(&r);
        check_streams_left(&r);
        teardown(&r);
    }
    g_assert_cmpuint(noticed, >, 90);
}

static void test_alone(gconstpointer path)
{
    ColoNetFrame *out, *f;
    guint i = 0;
    Replay r;

    setup(&r, 1, path);
    replay(&r, false);
    g_assert_cmpuint(r.left->len, ==, 0);
    colo_compare_cut(r.compare, 1, r.now_us);
    colo_compare_release(r.compare, 1, r.now_us);
    out = colo_compare_take_output(r.compare);
    for (f = out; f; f = f->next, i++) {
        /* repetitions and acknowledgements may have been merged */
        while (i < r.frames->len) {
            const ColoNetFrame *said = r.frames->pdata[i];

            if (said->size == f->size &&
                memcmp(said->data, f->data, f->size) == 0) {
                break;
            }
            i++;
        }
        g_assert_cmpuint(i, <, r.frames->len);
    }
    colo_net_frame_free_list(out);
    teardown(&r);

    setup(&r, 1, path);
    replay(&r, false);
    colo_compare_cut(r.compare, 1, r.now_us);
    colo_compare_release(r.compare, 1, r.now_us);
    take_output(&r);
    check_streams_left(&r);
    check_others_left(&r);
    teardown(&r);
}

int main(int argc, char **argv)
{
    const char *path;

    g_test_init(&argc, &argv, NULL);
    path = argc > 1 ? argv[1] : NULL;
    if (!path) {
        fprintf(stderr, "usage: %s CAPTURE\n", argv[0]);
        return 2;
    }
    g_test_add_data_func("/pcap/equal", path, test_equal);
    g_test_add_data_func("/pcap/changed", path, test_changed);
    g_test_add_data_func("/pcap/alone", path, test_alone);
    return g_test_run();
}
