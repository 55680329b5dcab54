/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the frame parser: IPv4 (RFC 791) and IPv6 (RFC 8200).
 *
 * The end of the packet is where the IP header says, not where the frame
 * ends: short frames are padded. Fragments are told from whole packets here;
 * nothing behind their IP headers is looked at.
 *
 * IPv6 extension headers that can be skipped are skipped, up to a number
 * that no honest packet has. Authentication (51) and encryption (50) headers
 * are not: what they protect must not be changed, so they count as the
 * payload, a protocol that is not understood. A fragment header without
 * fragments around it (RFC 6946) is skipped like the others.
 */
#include "packet-internal.h"

enum {
    IP4_MIN_BYTES = 20,
    IP4_MORE = 0x2000, IP4_OFFSET_MASK = 0x1fff,
    IP6_MORE = 1, IP6_OFFSET_MASK = 0xfff8,
    FRAGMENT_UNIT_BYTES = 8,
    EXTENSION_MIN_BYTES = 8,
    EXTENSIONS_MAX = 8,
};

/* RFC 8200 4.1: hop by hop, routing, fragment, destination options. */
enum { EXT_HOP = 0, EXT_ROUTING = 43, EXT_FRAGMENT = 44, EXT_DEST = 60 };

/* .l4 to the end of the packet is a part of a datagram. */
static ColoReject parse_fragment(ColoPacket *p, uint32_t id, uint32_t offset,
                                 bool more)
{
    uint32_t bytes = colo_packet_l4_bytes(p);

    if (bytes == 0 || offset + bytes > COLO_IP_MAX_BYTES ||
        (more && bytes % FRAGMENT_UNIT_BYTES != 0)) {
        return COLO_REJECT_FRAGMENT;
    }
    p->kind = COLO_PACKET_FRAGMENT;
    p->fragment_id = id;
    p->fragment_offset = offset;
    p->fragment_more = more;
    p->payload = p->l4;
    p->payload_bytes = bytes;
    return COLO_REJECT_NONE;
}

ColoReject colo_packet_parse_ip4(const uint8_t *eth, size_t size, uint16_t l3,
                                 bool may_be_big, ColoPacket *p)
{
    const uint8_t *ip = eth + l3;
    size_t room = size - l3, total, header_bytes;
    uint16_t part;

    if (room < IP4_MIN_BYTES) {
        return COLO_REJECT_IP_SHORT;
    }
    if (ip[0] >> 4 != 4) {
        return COLO_REJECT_IP_VERSION;
    }
    header_bytes = (ip[0] & 15) * 4;
    total = colo_get_be16(ip + 2);
    if (total == 0 && may_be_big && ip[9] == COLO_PROTO_TCP) {
        total = room;
    }
    if (header_bytes < IP4_MIN_BYTES || header_bytes > total) {
        return COLO_REJECT_IP_HEADER;
    }
    if (total > room) {
        return header_bytes > room ? COLO_REJECT_IP_SHORT
                                   : COLO_REJECT_IP_LENGTH;
    }
    p->family = 4;
    p->ip_proto = ip[9];
    p->l3 = l3;
    p->l3_bytes = total;
    p->l4 = l3 + header_bytes;
    memcpy(p->src, ip + 12, 4);
    memcpy(p->dst, ip + 16, 4);
    part = colo_get_be16(ip + 6);
    if (part & (IP4_MORE | IP4_OFFSET_MASK)) {
        return parse_fragment(p, colo_get_be16(ip + 4),
                              (part & IP4_OFFSET_MASK) * FRAGMENT_UNIT_BYTES,
                              part & IP4_MORE);
    }
    return colo_packet_parse_l4(eth, p);
}

static bool is_extension(uint8_t proto)
{
    return proto == EXT_HOP || proto == EXT_ROUTING ||
           proto == EXT_FRAGMENT || proto == EXT_DEST;
}

/* Moves .l4 and .ip_proto behind the extension headers, or to a fragment. */
static ColoReject skip_extensions(const uint8_t *eth, ColoPacket *p)
{
    unsigned count = 0;

    while (is_extension(p->ip_proto)) {
        const uint8_t *ext = eth + p->l4;
        uint32_t left = colo_packet_l4_bytes(p), bytes = EXTENSION_MIN_BYTES;
        bool is_fragment = p->ip_proto == EXT_FRAGMENT;

        if (left >= bytes && !is_fragment) {
            bytes += ext[1] * EXTENSION_MIN_BYTES;
        }
        if (left < bytes || ++count > EXTENSIONS_MAX) {
            return COLO_REJECT_IP_OPTION;
        }
        p->ip_proto = ext[0];
        p->l4 += bytes;
        if (is_fragment) {
            uint16_t part = colo_get_be16(ext + 2);

            if (part & (IP6_OFFSET_MASK | IP6_MORE)) {
                return parse_fragment(p, colo_get_be32(ext + 4),
                                      part & IP6_OFFSET_MASK,
                                      part & IP6_MORE);
            }
        }
    }
    return COLO_REJECT_NONE;
}

ColoReject colo_packet_parse_ip6(const uint8_t *eth, size_t size, uint16_t l3,
                                 ColoPacket *p)
{
    const uint8_t *ip = eth + l3;
    size_t room = size - l3, total;
    ColoReject reject;

    if (room < COLO_IP6_HEADER_BYTES) {
        return COLO_REJECT_IP_SHORT;
    }
    if (ip[0] >> 4 != 6) {
        return COLO_REJECT_IP_VERSION;
    }
    total = COLO_IP6_HEADER_BYTES + colo_get_be16(ip + 4);
    if (total > room) {
        return COLO_REJECT_IP_LENGTH;
    }
    p->family = 6;
    p->ip_proto = ip[6];
    p->l3 = l3;
    p->l3_bytes = total;
    p->l4 = l3 + COLO_IP6_HEADER_BYTES;
    memcpy(p->src, ip + 8, sizeof(p->src));
    memcpy(p->dst, ip + 24, sizeof(p->dst));
    if (is_extension(p->ip_proto)) {
        reject = skip_extensions(eth, p);
        if (reject != COLO_REJECT_NONE || p->kind == COLO_PACKET_FRAGMENT) {
            return reject;
        }
    }
    return colo_packet_parse_l4(eth, p);
}
