/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COLO: what the parts of the frame parser share. Private to packet*.c. */
#ifndef COLO_PACKET_INTERNAL_H
#define COLO_PACKET_INTERNAL_H

#include <string.h>
#include <glib.h>
#include "colo/packet.h"

enum {
    COLO_PROTO_ICMP = 1, COLO_PROTO_TCP = 6, COLO_PROTO_UDP = 17,
    COLO_PROTO_ICMP6 = 58,
    COLO_IP_MAX_BYTES = 65535,
    COLO_IP6_HEADER_BYTES = 40,
    COLO_TCP_MIN_BYTES = 20, COLO_UDP_BYTES = 8,
    /* where the checksum is in their headers */
    COLO_TCP_CSUM = 16, COLO_UDP_CSUM = 6,
};

/*
 * Vnet header (virtio 1.2, section 5.1.6). The hash report behind its first
 * twelve bytes says nothing about the frame itself.
 */
enum {
    COLO_VNET_FLAGS = 0, COLO_VNET_GSO_TYPE = 1, COLO_VNET_HEADER_BYTES = 2,
    COLO_VNET_GSO_SIZE = 4, COLO_VNET_CSUM_START = 6,
    COLO_VNET_CSUM_OFFSET = 8,
};

static inline bool colo_vnet_is_known(size_t vnet_bytes)
{
    return vnet_bytes == 10 || vnet_bytes == 12 || vnet_bytes == 20;
}

static inline uint16_t colo_get_be16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT16_FROM_BE(v);
}

static inline uint32_t colo_get_be32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_BE(v);
}

static inline uint16_t colo_get_le16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT16_FROM_LE(v);
}

static inline void colo_set_be16(uint8_t *p, uint16_t v)
{
    v = GUINT16_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static inline void colo_set_be32(uint8_t *p, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static inline void colo_set_le16(uint8_t *p, uint16_t v)
{
    v = GUINT16_TO_LE(v);
    memcpy(p, &v, sizeof(v));
}

/* Bytes from .l4 to the end of the IP packet. */
static inline uint32_t colo_packet_l4_bytes(const ColoPacket *p)
{
    return p->l3 + p->l3_bytes - p->l4;
}

/*
 * IP at @l3 of a frame of @size bytes, and what it carries. Until the IP
 * header is known to be good nothing in @p is touched. @may_be_big: the
 * frame is one for TCP segmentation, so an IPv4 length of 0 means all of it.
 */
ColoReject colo_packet_parse_ip4(const uint8_t *eth, size_t size, uint16_t l3,
                                 bool may_be_big, ColoPacket *p);
ColoReject colo_packet_parse_ip6(const uint8_t *eth, size_t size, uint16_t l3,
                                 ColoPacket *p);

/* What is at .l4 by .family and .ip_proto, which with .l3_bytes are set. */
ColoReject colo_packet_parse_l4(const uint8_t *eth, ColoPacket *p);

#endif
