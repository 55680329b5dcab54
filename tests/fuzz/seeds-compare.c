/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first inputs of fuzz-compare: conversations that run well, with a
 * checkpoint, with a difference, and frames of the parser's seeds.
 */
#include "../net/frames.h"
#include "seeds.h"

/* As fuzz-compare.c reads them. */
enum {
    NEW_P, NEW_S, AGAIN_P, AGAIN_S, ACK_P, ACK_S, END, CUT, RELEASE, EPOCH,
    MODE, TICK, RAW_P, RAW_S, ODD, CHECKPOINT,
};

static void put(GByteArray *a, uint8_t kind, uint8_t one, uint8_t two,
                uint8_t three)
{
    const uint8_t step[4] = { kind, one, two, three };

    g_byte_array_append(a, step, sizeof(step));
}

/* Both sides of all flows say @count pieces; @twist: one differs. */
static void put_talk(GByteArray *a, unsigned count, uint8_t twist)
{
    unsigned i, flow;

    for (i = 0; i < count; i++) {
        for (flow = 0; flow < 3; flow++) {
            put(a, NEW_P, flow, 40 + i, i);
            put(a, NEW_S, flow, (40 + i) | (i == 2 ? twist : 0), i);
        }
    }
}

static void seed_talk(const char *name, uint8_t plan, uint8_t twist)
{
    g_autoptr(GByteArray) a = g_byte_array_new();

    g_byte_array_append(a, &plan, 1);
    put_talk(a, 2, 0);
    g_byte_array_append(a, &(uint8_t) { CHECKPOINT }, 1);
    put_talk(a, 4, twist);
    g_byte_array_append(a, (const uint8_t[]) { CUT, 1, TICK, 3 }, 4);
    put_talk(a, 3, 0);
    g_byte_array_append(a, (const uint8_t[]) { EPOCH, 0, RELEASE, 0 }, 4);
    put_talk(a, 3, 0);
    g_byte_array_append(a, (const uint8_t[]) { MODE, 2, MODE, 1, TICK, 2 }, 6);
    seed_save("compare", name, a);
}

static void put_raw(GByteArray *a, uint8_t kind, ColoNetFrame *f)
{
    uint32_t bytes = (f->size + 3) & ~3u;
    const uint8_t head[2] = { kind, bytes >> 2 };
    uint8_t zero[4] = { 0 };

    g_byte_array_append(a, head, sizeof(head));
    g_byte_array_append(a, f->data, f->size);
    g_byte_array_append(a, zero, bytes - f->size);
}

static void seed_raw(void)
{
    static const uint8_t body[64] = { 9, 9, 9, 9, 0, 64 };
    const NetPath path = { .family = 4, .src = { 1 }, .dst = { 2 } };
    const NetManner m = { .ttl = 9 };
    g_autoptr(GByteArray) a = g_byte_array_new();
    unsigned i;

    g_byte_array_append(a, &(uint8_t) { 0 }, 1);
    for (i = 0; i < 4; i++) {
        static const uint8_t protos[] = { NET_PROTO_UDP, NET_PROTO_ICMP,
                                          NET_PROTO_SCTP, NET_PROTO_TCP };
        ColoNetFrame *f = net_make_part(&path, &m, protos[i],
                                        (NetPart) { 0, i & 1 }, body, 64);

        put_raw(a, RAW_P, f);
        put_raw(a, RAW_S, f);
        colo_net_frame_free(f);
    }
    seed_save("compare", "raw", a);
}

void seeds_compare(void)
{
    seed_talk("talk-1", 1, 0);
    seed_talk("talk-2", 7, 0);
    seed_talk("differs-1", 1, 0x80);
    seed_talk("differs-2", 20, 0x80);
    seed_raw();
}
