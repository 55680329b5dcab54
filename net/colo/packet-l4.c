/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the frame parser: TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792, 4443).
 *
 * Of the TCP options only those are noted which carry numbers that lockstep
 * translates: timestamps (RFC 7323) and SACK blocks (RFC 2018). Of options
 * said twice the last one counts, as in common receivers. When a length in
 * the option area makes no sense, the search ends there: that is what a
 * receiver does too, and no reason to reject the segment.
 *
 * The payload reaches to the end of the IP packet, also for UDP, whose own
 * length may be less: what lies behind (RFC 9868) is sent as well.
 */
#include "packet-internal.h"

enum { ICMP_BYTES = 8 };

enum {
    OPTION_END = 0, OPTION_NOP = 1, OPTION_SACK = 5, OPTION_TIMESTAMP = 8,
    OPTION_TIMESTAMP_BYTES = 10, OPTION_SACK_BLOCK_BYTES = 8,
    /* RFC 7323 appendix A: how nearly every segment's options look */
    USUAL_OPTION_BYTES = 12,
    USUAL_OPTION_WORD = 0x0101080a,     /* NOP NOP TIMESTAMP 10 */
};

static void note_option(const uint8_t *eth, uint16_t at, uint8_t bytes,
                        ColoPacket *p)
{
    uint8_t value_bytes = bytes - 2;

    if (eth[at] == OPTION_TIMESTAMP && bytes == OPTION_TIMESTAMP_BYTES) {
        p->has_timestamp = true;
        p->tcp_timestamp = at + 2;
    } else if (eth[at] == OPTION_SACK && value_bytes > 0 &&
               value_bytes % OPTION_SACK_BLOCK_BYTES == 0) {
        p->tcp_sack = at + 2;
        p->tcp_sack_count = value_bytes / OPTION_SACK_BLOCK_BYTES;
    }
}

static void parse_options(const uint8_t *eth, ColoPacket *p)
{
    uint16_t at = p->l4 + COLO_TCP_MIN_BYTES;

    if (p->payload - at >= USUAL_OPTION_BYTES &&
        colo_get_be32(eth + at) == USUAL_OPTION_WORD) {
        p->has_timestamp = true;
        p->tcp_timestamp = at + 4;
        at += USUAL_OPTION_BYTES;
    }
    while (at < p->payload && eth[at] != OPTION_END) {
        uint8_t bytes = 1;

        if (eth[at] != OPTION_NOP) {
            bytes = p->payload - at >= 2 ? eth[at + 1] : 0;
            if (bytes < 2 || bytes > p->payload - at) {
                return;
            }
            note_option(eth, at, bytes, p);
        }
        at += bytes;
    }
}

static ColoReject parse_tcp(const uint8_t *eth, ColoPacket *p)
{
    const uint8_t *tcp = eth + p->l4;
    uint32_t bytes = colo_packet_l4_bytes(p);
    uint8_t header_bytes;

    if (bytes < COLO_TCP_MIN_BYTES) {
        return COLO_REJECT_TCP_SHORT;
    }
    header_bytes = (tcp[12] >> 4) * 4;
    if (header_bytes < COLO_TCP_MIN_BYTES || header_bytes > bytes) {
        return COLO_REJECT_TCP_HEADER;
    }
    p->kind = COLO_PACKET_TCP;
    p->src_port = colo_get_be16(tcp);
    p->dst_port = colo_get_be16(tcp + 2);
    p->tcp_seq = colo_get_be32(tcp + 4);
    p->tcp_ack = colo_get_be32(tcp + 8);
    p->tcp_flags = tcp[13];
    p->tcp_window = colo_get_be16(tcp + 14);
    p->tcp_header_bytes = header_bytes;
    p->payload = p->l4 + header_bytes;
    p->payload_bytes = bytes - header_bytes;
    parse_options(eth, p);
    return COLO_REJECT_NONE;
}

static ColoReject parse_udp(const uint8_t *eth, ColoPacket *p)
{
    const uint8_t *udp = eth + p->l4;
    uint32_t bytes = colo_packet_l4_bytes(p), told;

    if (bytes < COLO_UDP_BYTES) {
        return COLO_REJECT_UDP_SHORT;
    }
    told = colo_get_be16(udp + 4);
    if (told < COLO_UDP_BYTES || told > bytes) {
        return COLO_REJECT_UDP_LENGTH;
    }
    p->kind = COLO_PACKET_UDP;
    p->src_port = colo_get_be16(udp);
    p->dst_port = colo_get_be16(udp + 2);
    p->payload = p->l4 + COLO_UDP_BYTES;
    p->payload_bytes = bytes - COLO_UDP_BYTES;
    return COLO_REJECT_NONE;
}

static ColoReject parse_whole(ColoPacket *p, ColoPacketKind kind)
{
    p->kind = kind;
    p->payload = p->l4;
    p->payload_bytes = colo_packet_l4_bytes(p);
    return COLO_REJECT_NONE;
}

static ColoReject parse_icmp(ColoPacket *p, ColoPacketKind kind)
{
    if (colo_packet_l4_bytes(p) < ICMP_BYTES) {
        return COLO_REJECT_ICMP_SHORT;
    }
    return parse_whole(p, kind);
}

ColoReject colo_packet_parse_l4(const uint8_t *eth, ColoPacket *p)
{
    switch (p->ip_proto) {
    case COLO_PROTO_TCP:
        return parse_tcp(eth, p);
    case COLO_PROTO_UDP:
        return parse_udp(eth, p);
    case COLO_PROTO_ICMP:
        if (p->family == 4) {
            return parse_icmp(p, COLO_PACKET_ICMP);
        }
        break;
    case COLO_PROTO_ICMP6:
        if (p->family == 6) {
            return parse_icmp(p, COLO_PACKET_ICMP6);
        }
        break;
    }
    return parse_whole(p, COLO_PACKET_IP);
}
