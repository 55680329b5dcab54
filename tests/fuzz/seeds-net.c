/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The first inputs of the targets of the network: a stream of a net filter,
 * and connections through the rewriter.
 */
#include "../net/frames.h"
#include "colo/framer.h"
#include "seeds.h"

/* ----------------------------------------------------------------- framer */

static void put_marker(GByteArray *a, ColoMarkerType type, uint64_t epoch)
{
    uint8_t marker[COLO_MARKER_BYTES];

    colo_framer_put_marker(marker, type, epoch);
    g_byte_array_append(a, marker, sizeof(marker));
}

static void put_frame(GByteArray *a, bool vnet, uint32_t vnet_bytes,
                      const char *text)
{
    static const uint8_t zero[COLO_VNET_MAX_BYTES];
    uint8_t head[8];
    size_t bytes = colo_framer_put_head(head, vnet, vnet_bytes, strlen(text));

    g_byte_array_append(a, head, bytes);
    g_byte_array_append(a, zero, vnet_bytes);
    g_byte_array_append(a, (const uint8_t *)text, strlen(text));
}

static void seed_framer(bool vnet)
{
    g_autoptr(GByteArray) a = g_byte_array_new();
    uint32_t vnet_bytes = vnet ? 12 : 0;

    g_byte_array_append(a, &(uint8_t) { 2 | vnet }, 1);
    put_marker(a, COLO_MARKER_EPOCH, 1);
    put_frame(a, vnet, vnet_bytes, "a frame");
    put_frame(a, vnet, 0, "and another one");
    put_marker(a, COLO_MARKER_GAP, 1);
    put_frame(a, vnet, vnet_bytes, "!");
    put_marker(a, COLO_MARKER_EPOCH, 0x123456789ull);
    seed_save("framer", vnet ? "vnet" : "plain", a);
}

/* --------------------------------------------------------------- rewriter */

/* As fuzz-rewrite.c reads them: what to do, flags, and codes of numbers. */
enum { OUT = 0x00, IN = 0x01, OPTIONS = 0x80, VNET = 0x40,
       TRAVEL = 5 << 3 | 4, SURVIVE = 1 << 3 | 4 };
enum { AT_50 = 1 << 5, AT_100 = 2 << 5, AT_500 = 3 << 5 };

static void put_made(GByteArray *a, uint8_t op, uint8_t flags, uint8_t seq,
                     uint8_t ack)
{
    const uint8_t step[7] = {
        op, flags, seq, ack, op & IN ? 9 : AT_50 + 3, op & IN ? AT_100 + 3 : 9,
        op & IN ? AT_100 + 4 : AT_500 + 4,
    };

    g_byte_array_append(a, step, sizeof(step));
}

static void put_talk(GByteArray *a, uint8_t op)
{
    put_made(a, op | OUT, NET_ACK | 3 << 5, AT_50 + 1, AT_500 + 1);
    put_made(a, op | IN, NET_ACK | 1 << 5, AT_500 + 1, AT_100 + 4);
    put_made(a, op | OUT, NET_ACK | NET_FIN, AT_50 + 4, AT_500 + 2);
    put_made(a, op | IN, NET_ACK | NET_FIN, AT_500 + 2, AT_100 + 5);
    put_made(a, op | OUT, NET_RST, AT_50 + 5, 0);
}

static void seed_made(const char *name, uint8_t op, uint8_t control)
{
    g_autoptr(GByteArray) a = g_byte_array_new();

    put_made(a, op | IN, NET_SYN, AT_500, 0);
    put_made(a, op | OUT, NET_SYN | NET_ACK, AT_50, AT_500 + 1);
    put_made(a, op | IN, NET_ACK, AT_500 + 1, AT_100 + 1);
    g_byte_array_append(a, &control, 1);
    put_talk(a, op);
    put_made(a, op | OUT, NET_SYN, AT_50 + 20, 0);
    put_made(a, op | IN, NET_SYN | NET_ACK, AT_500, AT_100 + 21);
    put_made(a, op | OUT, NET_ACK, AT_50 + 21, AT_500 + 1);
    seed_save("rewrite", name, a);
}

static void put_raw(GByteArray *a, bool egress, const NetPath *path,
                    const NetManner *manner, const NetTcp *tcp)
{
    ColoNetFrame *f = net_make_tcp(path, manner, tcp);
    uint32_t bytes = f->vnet_bytes + f->size;
    const uint8_t head[3] = {
        (egress ? 2 : 3) | (f->vnet_bytes ? 2 << 3 : 0), bytes >> 8, bytes,
    };

    g_byte_array_append(a, head, sizeof(head));
    g_byte_array_append(a, f->data, bytes);
    colo_net_frame_free(f);
}

/* Frames that the made ones are not: two tags, options, GSO. */
static void seed_raw(uint8_t family)
{
    g_autoptr(GByteArray) a = g_byte_array_new();
    const NetPath out = {
        .family = family, .tag_count = 2, .tags = { 1, 2 }, .src = { 1 },
        .dst = { 2 }, .src_port = 80, .dst_port = 7, .ip_options = true,
    };
    const NetPath in = {
        .family = family, .tag_count = 2, .tags = { 1, 2 }, .src = { 2 },
        .dst = { 1 }, .src_port = 7, .dst_port = 80, .ip_options = true,
    };
    const NetManner plain = { .pad = true };
    const NetManner gso = { .vnet_bytes = 12, .partial_csum = true,
                            .gso_size = 2 };
    const NetTcp syn = { .seq = 50, .flags = NET_SYN };
    const NetTcp answer = { .seq = 500, .ack = 101,
                            .flags = NET_SYN | NET_ACK };
    const NetTcp data = {
        .seq = 51, .ack = 501, .flags = NET_ACK,
        .data = (const uint8_t *)"hello", .data_bytes = 5,
    };

    put_raw(a, true, &out, &plain, &syn);
    put_raw(a, false, &in, &plain, &answer);
    put_raw(a, true, &out, &gso, &data);
    put_raw(a, true, &out, &plain, &data);
    seed_save("rewrite", family == 4 ? "raw-ipv4" : "raw-ipv6", a);
}

void seeds_net(void)
{
    seed_framer(false);
    seed_framer(true);
    seed_made("ipv4", OPTIONS, TRAVEL);
    seed_made("ipv6-vnet", OPTIONS | VNET | 1 << 3, SURVIVE);
    seed_made("vlan-bare", 2 << 3, TRAVEL);
    seed_raw(4);
    seed_raw(6);
}
