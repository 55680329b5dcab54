/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The frame parser, and changes to what it takes for TCP.
 *
 * Input: one byte for the kind of vnet header, seven for what is changed to
 * what, the vnet header, the frame. The checksums of a TCP frame are first
 * made right, computed over all bytes; then they have to stay right.
 */
#include "../unit/packet-test.h"
#include "fuzz.h"

static const uint8_t vnet_sizes[] = { 0, 10, 12, 20, 24 };

enum { HEAD_BYTES = 8, KEEP_AT = 2, VALUE_AT = 4 };

/* What a checksum is good for: all ones as well as zero. */
static uint32_t ip_sum(const uint8_t *eth, const ColoPacket *p)
{
    unsigned bytes = (eth[p->l3] & 15) * 4;

    return p->family == 6 ? 0 : reference_sum(0, eth + p->l3, bytes) % 0xffff;
}

/* 0 when right, be it full or partial. */
static uint32_t tcp_sum(const uint8_t *eth, const ColoPacket *p)
{
    uint32_t end = p->l3 + p->l3_bytes;

    if (p->needs_csum) {
        uint32_t sum = test_get16(eth + p->l4 + 16) + 0xffff -
            reference_pseudo(eth, p->family, p->l3, TEST_TCP, end - p->l4);

        return sum % 0xffff;
    }
    return reference_l4_sum(eth, p->family, p->l3, p->l4, TEST_TCP, end)
           % 0xffff;
}

static void make_right(uint8_t *eth, const ColoPacket *p)
{
    uint8_t *csum = eth + p->l4 + 16;

    test_put16(csum, 0);
    test_put16(csum, p->needs_csum ? 0xffff - tcp_sum(eth, p)
                                   : ~tcp_sum(eth, p));
    if (p->family == 4) {
        test_put16(eth + p->l3 + 10, 0);
        test_put16(eth + p->l3 + 10, ~ip_sum(eth, p));
    }
}

static void assert_right(const uint8_t *eth, const ColoPacket *p)
{
    g_assert(tcp_sum(eth, p) == 0);
    g_assert(ip_sum(eth, p) == 0);
}

/* ------------------------------------------------------------------ changes */

/* [@at, @at + @bytes) and the checksum may differ, nothing else. */
static void assert_only(const ColoNetFrame *f, const ColoNetFrame *before,
                        const ColoPacket *p, size_t at, size_t bytes)
{
    const uint8_t *eth = f->data + f->vnet_bytes;
    const uint8_t *old = before->data + before->vnet_bytes;
    size_t csum = p->l4 + 16, i;

    g_assert(memcmp(f->data, before->data, f->vnet_bytes) == 0);
    for (i = 0; i < f->size; i++) {
        g_assert(eth[i] == old[i] || (i >= at && i < at + bytes) ||
                 (i >= csum && i < csum + 2 && !p->needs_csum));
    }
}

static void assert_fresh(const ColoNetFrame *f, const ColoPacket *p)
{
    ColoPacket again;

    colo_packet_parse_frame(f, &again);
    g_assert(memcmp(p, &again, sizeof(again)) == 0);
}

static void change_field(const ColoNetFrame *f, const ColoPacket *view,
                         unsigned which, uint32_t value)
{
    ColoNetFrame *out = colo_net_frame_copy(f->data, f->vnet_bytes + f->size,
                                            f->vnet_bytes);
    uint8_t *eth = colo_net_frame_eth(out);
    ColoPacket p = *view;
    size_t at, bytes = 4;

    switch (which) {
    case 0:
        at = p.l4 + 4;
        colo_packet_set_seq(eth, &p, value);
        break;
    case 1:
        at = p.l4 + 8;
        colo_packet_set_ack(eth, &p, value);
        break;
    case 2:
        at = p.l4 + 14;
        bytes = 2;
        colo_packet_set_window(eth, &p, value);
        break;
    case 3:
        at = p.tcp_sack;
        bytes = 8 * p.tcp_sack_count;
        colo_packet_shift_sack(eth, &p, value);
        break;
    default:
        which &= 1;
        at = p.tcp_timestamp + 4 * which;
        colo_packet_set_timestamp(eth, &p, which, value);
        g_assert(colo_packet_timestamp(eth, &p, which) == value);
    }
    assert_only(out, f, &p, at, bytes);
    assert_right(eth, &p);
    assert_fresh(out, &p);
    colo_net_frame_free(out);
}

static void trim(const ColoNetFrame *f, const ColoPacket *p, uint32_t keep,
                 uint32_t value)
{
    uint32_t kept = MIN(keep, p->payload_bytes);
    ColoNetFrame *out = colo_packet_trimmed(f, p, keep, value, ~value,
                                            (int32_t)(value % 65537) - 1);
    uint8_t *eth = colo_net_frame_eth(out);
    ColoPacket q;

    g_assert(out->size == p->payload + kept);
    g_assert(out->vnet_bytes == f->vnet_bytes);
    g_assert(colo_packet_parse_frame(out, &q) == COLO_REJECT_NONE);
    assert_view_inside(&q, out->size);
    g_assert(q.kind == COLO_PACKET_TCP && q.payload_bytes == kept);
    g_assert(q.tcp_seq == value && q.tcp_ack == ~value);
    g_assert(q.needs_csum == p->needs_csum);
    g_assert(q.gso == (p->gso && kept > p->gso_size));
    g_assert(memcmp(eth + q.payload, f->data + f->vnet_bytes + p->payload,
                    kept) == 0);
    assert_right(eth, &q);
    colo_net_frame_free(out);
}

static void cut_out(const ColoNetFrame *f, const ColoPacket *p,
                    uint32_t from, uint32_t keep, uint32_t value)
{
    uint32_t first = MIN(from, p->payload_bytes);
    uint32_t kept = MIN(keep, p->payload_bytes - first);
    ColoNetFrame *out = colo_packet_part(f, p, from, keep, value, value,
                                         ~value, -1);
    uint8_t *eth = colo_net_frame_eth(out);
    ColoPacket q;

    g_assert(colo_packet_parse_frame(out, &q) == COLO_REJECT_NONE);
    g_assert(q.kind == COLO_PACKET_TCP && q.payload_bytes == kept);
    g_assert(q.tcp_flags == (uint8_t)value && q.tcp_seq == value);
    g_assert(q.tcp_window == p->tcp_window);
    g_assert(memcmp(eth + q.payload,
                    f->data + f->vnet_bytes + p->payload + first, kept) == 0);
    assert_right(eth, &q);
    colo_net_frame_free(out);
}

static void change(ColoNetFrame *f, const ColoPacket *p, const uint8_t *head)
{
    uint32_t value = test_get32(head + VALUE_AT);
    unsigned which;

    make_right(colo_net_frame_eth(f), p);
    assert_right(colo_net_frame_eth(f), p);
    for (which = 0; which < 4 + (p->has_timestamp ? 2 : 0); which++) {
        change_field(f, p, which, value);
    }
    trim(f, p, test_get16(head + KEEP_AT), value);
    if (p->payload_bytes) {
        trim(f, p, value % p->payload_bytes, value);
        cut_out(f, p, value % p->payload_bytes, test_get16(head + KEEP_AT),
                value);
    }
}

/* ------------------------------------------------------------------ parsing */

/* Bytes behind the packet are padding, whatever they are. */
static void check_padding(const ColoNetFrame *f, const ColoPacket *p)
{
    size_t bytes = f->vnet_bytes + f->size;
    ColoNetFrame *longer = colo_net_frame_new(f->vnet_bytes, f->size + 3);
    ColoPacket again;

    memcpy(longer->data, f->data, bytes);
    memset(longer->data + bytes, 0x45, 3);
    colo_packet_parse_frame(longer, &again);
    g_assert(memcmp(p, &again, sizeof(again)) == 0);
    colo_net_frame_free(longer);
}

static bool is_big(const ColoNetFrame *f, const ColoPacket *p)
{
    return p->family == 4 &&
           test_get16(f->data + f->vnet_bytes + p->l3 + 2) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    ColoNetFrame *f;
    ColoPacket p;
    size_t vnet_bytes;

    if (size < HEAD_BYTES) {
        return 0;
    }
    vnet_bytes = vnet_sizes[in[0] % G_N_ELEMENTS(vnet_sizes)];
    if (size < HEAD_BYTES + vnet_bytes) {
        return 0;
    }
    f = colo_net_frame_copy(in + HEAD_BYTES, size - HEAD_BYTES, vnet_bytes);
    memset(&p, 0xee, sizeof(p));
    g_assert(colo_packet_parse_frame(f, &p) == p.reject);
    assert_view_inside(&p, f->size);
    if (p.reject == COLO_REJECT_NONE && !is_big(f, &p)) {
        check_padding(f, &p);
    }
    if (p.kind == COLO_PACKET_TCP) {
        change(f, &p, in);
    }
    colo_net_frame_free(f);
    return 0;
}
