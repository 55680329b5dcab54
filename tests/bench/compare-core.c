/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many frames a second the comparer takes on one thread, without QEMU.
 *
 * Frames are made beforehand. A round copies a frame for the primary and one
 * for the secondary, gives both to the comparer and takes what may leave: so
 * what is measured is all that colo-compare does for a frame but I/O. The
 * figure is frames of the primary; each has its twin.
 *
 *   compare-core [SECONDS]      one line for each kind, name and figure
 */
#include <stdio.h>
#include <string.h>
#include <glib.h>
#include "colo/compare.h"

enum {
    ETH = 14, IP = 20, TCP = 20, UDP = 8, TYPE_IP4 = 0x0800,
    PROTO_TCP = 6, PROTO_UDP = 17, IDLE_FLOWS = 20000, ROUND_FRAMES = 4096,
};

typedef struct Kind {
    const char *name;
    uint8_t proto;
    uint16_t flows, payload_bytes;
} Kind;

static const Kind kinds[] = {
    { "tcp-16x512", PROTO_TCP, 16, 512 },
    { "tcp-1000x64", PROTO_TCP, 1000, 64 },
    { "udp-16x512", PROTO_UDP, 16, 512 },
};

static void put16(uint8_t *p, uint16_t value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

/* Checksums are not looked at: they cover what is compared. */
static ColoNetFrame *make_frame(const Kind *k, unsigned flow)
{
    unsigned head = k->proto == PROTO_TCP ? TCP : UDP;
    unsigned size = ETH + IP + head + k->payload_bytes;
    ColoNetFrame *f = colo_net_frame_new(0, size);
    uint8_t *p = f->data;

    memset(p, 0x55, size);
    put16(p + 12, TYPE_IP4);
    memset(p + ETH, 0, IP + head);
    p[ETH] = 0x45;
    put16(p + ETH + 2, size - ETH);
    p[ETH + 8] = 64;
    p[ETH + 9] = k->proto;
    put32(p + ETH + 12, 0x0a000702);
    put32(p + ETH + 16, 0x0a000701);
    put16(p + ETH + IP, 80);
    put16(p + ETH + IP + 2, 1024 + flow);
    if (k->proto == PROTO_TCP) {
        p[ETH + IP + 12] = TCP / 4 << 4;
        p[ETH + IP + 13] = COLO_TCP_ACK;
    } else {
        put16(p + ETH + IP + 4, head + k->payload_bytes);
    }
    return f;
}

static ColoNetFrame *copy_frame(const Kind *k, const ColoNetFrame *f,
                                uint32_t seq)
{
    ColoNetFrame *copy = colo_net_frame_copy(f->data, f->size, 0);

    if (k->proto == PROTO_TCP) {
        put32(copy->data + ETH + IP + 4, seq);
    }
    return copy;
}

static double measure(const Kind *k, double seconds)
{
    g_autofree ColoNetFrame **frames = g_new(ColoNetFrame *, k->flows);
    g_autofree uint32_t *seq = g_new0(uint32_t, k->flows);
    ColoCompareLimits limits;
    ColoCompare *c;
    uint64_t sent = 0, left = 0;
    gint64 begin_us, now_us;

    colo_compare_limits_init(&limits);
    c = colo_compare_new(&limits);
    begin_us = now_us = g_get_monotonic_time();
    colo_compare_set_mode(c, COLO_COMPARE_MATCH, now_us);
    for (unsigned i = 0; i < k->flows; i++) {
        frames[i] = make_frame(k, i);
    }
    while (now_us - begin_us < seconds * 1e6) {
        for (unsigned i = 0; i < ROUND_FRAMES; i++, sent++) {
            unsigned flow = sent % k->flows;
            ColoNetFrame *out;

            colo_compare_primary(c, copy_frame(k, frames[flow], seq[flow]),
                                 now_us);
            colo_compare_secondary(c, copy_frame(k, frames[flow], seq[flow]),
                                   now_us);
            seq[flow] += k->payload_bytes;
            out = colo_compare_take_output(c);
            left += out != NULL;
            colo_net_frame_free_list(out);
        }
        now_us = g_get_monotonic_time();
    }
    g_assert_cmpuint(left, ==, sent);
    for (unsigned i = 0; i < k->flows; i++) {
        colo_net_frame_free(frames[i]);
    }
    colo_compare_free(c);
    return sent / ((now_us - begin_us) / 1e6);
}

static uint64_t heap_bytes(void)
{
    g_autofree char *text = NULL;
    unsigned long size, resident = 0;

    if (g_file_get_contents("/proc/self/statm", &text, NULL, NULL)) {
        sscanf(text, "%lu %lu", &size, &resident);
    }
    return resident * 4096ull;
}

/* Memory of one flow that has nothing to wait for, counted from outside. */
static uint64_t idle_flow_bytes(void)
{
    const Kind k = { "idle", PROTO_TCP, 1, 64 };
    ColoCompareLimits limits;
    ColoCompare *c;
    uint64_t before;
    uint64_t bytes;

    colo_compare_limits_init(&limits);
    c = colo_compare_new(&limits);
    colo_compare_set_mode(c, COLO_COMPARE_MATCH, 1);
    before = heap_bytes();
    for (unsigned i = 0; i < IDLE_FLOWS; i++) {
        g_autofree ColoNetFrame *f = make_frame(&k, i);

        colo_compare_primary(c, copy_frame(&k, f, 0), 1);
        colo_compare_secondary(c, copy_frame(&k, f, 0), 1);
        colo_net_frame_free_list(colo_compare_take_output(c));
    }
    bytes = (heap_bytes() - before) / IDLE_FLOWS;
    colo_compare_free(c);
    return bytes;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? g_ascii_strtod(argv[1], NULL) : 2;

    g_print("idle-flow-bytes %" G_GUINT64_FORMAT "\n", idle_flow_bytes());
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_print("%s %.0f\n", kinds[i].name, measure(&kinds[i], seconds));
    }
    return 0;
}
