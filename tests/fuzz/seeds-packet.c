/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first inputs of the frame parser: a frame for each of its ways. */
#include "../unit/packet-test.h"
#include "seeds.h"

#define TEXT(name, text) .name = text, .name##_bytes = sizeof(text) - 1
#define OPTIONS(text) .options = text, .option_bytes = sizeof(text) - 1

/* As fuzz-packet.c reads them: which vnet header, and what to change. */
enum { VNET_NONE = 0, VNET_12 = 2, VNET_20 = 3 };

static const struct {
    const char *name;
    PacketPlan plan;
    uint8_t vnet, gso_type;
} seeds[] = {
    { "tcp", { 4, 0, .proto = TEST_TCP, .data_bytes = 20,
               OPTIONS("\1\1\10\12ABCDEFGH") }, VNET_NONE, 0 },
    { "syn", { 4, 2, .proto = TEST_TCP, TEXT(middle, "\224\4\0\0"),
               OPTIONS("\2\4\5\264\4\2\10\12ABCDEFGH\1\3\3\7"),
               .tcp_flags = COLO_TCP_SYN }, VNET_NONE, 0 },
    { "sack", { 6, 0, .proto = TEST_TCP, .padding_bytes = 4,
                OPTIONS("\1\10\12ABCDEFGH\5\22abcdefghABCDEFGH\1\1\1") },
      VNET_NONE, 0 },
    { "gso4", { 4, 0, .proto = TEST_TCP, .data_bytes = 90,
                .tcp_flags = 0x19 }, VNET_12, TEST_GSO_TCP4 },
    { "gso6", { 6, 1, .proto = TEST_TCP, .data_bytes = 90,
                OPTIONS("\1\1\10\12ABCDEFGH") }, VNET_20, TEST_GSO_TCP6 },
    { "udp-gso", { 4, 0, .proto = TEST_UDP, .data_bytes = 90 }, VNET_12,
      TEST_GSO_UDP_L4 },
    { "udp6", { 6, 0, .proto = TEST_UDP, .data_bytes = 9, .middle_proto = 0,
                TEXT(middle, "\53\0\5\2\0\0\0\0\21\0\4\0\0\0\0\0") },
      VNET_NONE, 0 },
    { "icmp", { 4, 0, .proto = TEST_ICMP, .data_bytes = 8 }, VNET_NONE, 0 },
    { "icmp6", { 6, 0, .proto = TEST_ICMP6, .data_bytes = 8 }, VNET_NONE, 0 },
    { "fragment6", { 6, 0, .proto = TEST_SCTP, .middle_proto = 44,
                     TEXT(middle, "\204\0\0\11\1\2\3\4"), .data_bytes = 16 },
      VNET_NONE, 0 },
};

static void save_frame(const char *name, uint8_t vnet, const ColoNetFrame *f)
{
    const uint8_t head[8] = { vnet, 0, 0, 33, 0xff, 0xfe, 0x12, 0x34 };
    g_autoptr(GByteArray) a = g_byte_array_new();

    g_byte_array_append(a, head, sizeof(head));
    g_byte_array_append(a, f->data, f->vnet_bytes + f->size);
    seed_save("packet", name, a);
}

static void seed_arp(void)
{
    const PacketPlan plan = { 4, 0, .proto = TEST_SCTP, .data_bytes = 26 };
    g_autoptr(ColoNetFrame) f = plan_frame(&plan, 0, NULL);
    uint8_t *eth = colo_net_frame_eth(f);

    test_put16(eth + 12, 0x806);
    test_put32(eth + 14, 0x10800);
    test_put32(eth + 18, 0x6040001);
    save_frame("arp", VNET_NONE, f);
}

/* Part of a datagram, cut at a multiple of eight. */
static void seed_fragment(void)
{
    const PacketPlan plan = { 4, 0, .proto = TEST_UDP, .data_bytes = 16 };
    g_autoptr(ColoNetFrame) f = plan_frame(&plan, 0, NULL);

    test_put16(colo_net_frame_eth(f) + plan_l3(&plan) + 6, 0x2001);
    save_frame("fragment4", VNET_NONE, f);
}

void seeds_packet(void)
{
    static const unsigned vnet_sizes[] = { 0, 10, 12, 20 };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(seeds); i++) {
        const PacketPlan *plan = &seeds[i].plan;
        const VnetPlan v = {
            TEST_VNET_CSUM, seeds[i].gso_type, plan_data(plan), 31,
            plan_l4(plan), plan->proto == TEST_TCP ? 16 : 6,
        };
        g_autoptr(ColoNetFrame) f =
            plan_frame(plan, vnet_sizes[seeds[i].vnet], &v);

        save_frame(seeds[i].name, seeds[i].vnet, f);
    }
    seed_arp();
    seed_fragment();
}
