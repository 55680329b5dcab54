/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: what a frame of the network is, and a validated view of its headers.
 *
 * Bytes come from guests and clients and are hostile. colo_packet_parse()
 * looks at them once: afterwards every offset and length of the view lies
 * inside the frame, or the view says why it is not understood (.reject) and
 * the frame is an opaque string of bytes. Lengths come from the IP header,
 * so that padding of short frames never counts as payload.
 *
 * Understood: Ethernet II, VLAN and QinQ tags, ARP, IPv4 (RFC 791) with
 * options and fragments, IPv6 (RFC 8200) with extension headers and
 * fragments, TCP (RFC 9293) with options, UDP, ICMP, ICMPv6. 802.3/LLC and
 * everything else is opaque without being a rejection.
 */
#ifndef COLO_PACKET_H
#define COLO_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest frame: 64 KiB of IP, Ethernet with two tags, and slack. */
enum { COLO_PACKET_MAX_BYTES = 65536 + 64 };
/* Longest vnet header in front of a frame (virtio_net_hdr_v1_hash). */
enum { COLO_VNET_MAX_BYTES = 20 };

/*
 * One frame as it is handed around: a vnet header of .vnet_bytes (0, 10, 12
 * or 20; others are carried but not understood) and then .size bytes of
 * Ethernet. Made and freed as one piece of memory.
 */
typedef struct ColoNetFrame {
    struct ColoNetFrame *next;  /* for whoever owns it */
    uint32_t size;              /* Ethernet bytes, without the vnet header */
    uint16_t vnet_bytes;
    uint16_t flags;             /* for whoever owns it; 0 when made */
    uint8_t data[];             /* vnet header, then the frame */
} ColoNetFrame;

ColoNetFrame *colo_net_frame_new(size_t vnet_bytes, size_t size);
/* From one buffer that holds both. @size includes @vnet_bytes, is not less. */
ColoNetFrame *colo_net_frame_copy(const void *data, size_t size,
                                  size_t vnet_bytes);
void colo_net_frame_free(ColoNetFrame *f);        /* NULL is fine */
void colo_net_frame_free_list(ColoNetFrame *f);   /* it and all .next */

static inline uint8_t *colo_net_frame_eth(ColoNetFrame *f)
{
    return f->data + f->vnet_bytes;
}

typedef enum ColoPacketKind {
    COLO_PACKET_OPAQUE,        /* not IP, or rejected: bytes */
    COLO_PACKET_ARP,
    COLO_PACKET_TCP,
    COLO_PACKET_UDP,
    COLO_PACKET_ICMP,
    COLO_PACKET_ICMP6,
    COLO_PACKET_IP,            /* IP with another protocol, SCTP for one */
    COLO_PACKET_FRAGMENT,      /* a part of an IP datagram */
    COLO_PACKET__MAX
} ColoPacketKind;

/* Why a frame is not understood beyond some layer; it is opaque then. */
typedef enum ColoReject {
    COLO_REJECT_NONE,
    COLO_REJECT_ETH_SHORT,     /* no room for an Ethernet header */
    COLO_REJECT_TAG_SHORT,     /* cut off inside a VLAN tag */
    COLO_REJECT_TAG_DEEP,      /* more than two tags */
    COLO_REJECT_ARP_SHORT,
    COLO_REJECT_IP_SHORT,      /* cut off inside the IP header */
    COLO_REJECT_IP_VERSION,
    COLO_REJECT_IP_HEADER,     /* header length is impossible */
    COLO_REJECT_IP_LENGTH,     /* says more bytes than there are */
    COLO_REJECT_IP_OPTION,     /* extension headers do not end */
    COLO_REJECT_FRAGMENT,      /* impossible offset or length */
    COLO_REJECT_TCP_SHORT,
    COLO_REJECT_TCP_HEADER,    /* data offset is impossible */
    COLO_REJECT_UDP_SHORT,
    COLO_REJECT_UDP_LENGTH,
    COLO_REJECT_ICMP_SHORT,
    COLO_REJECT_VNET,          /* GSO or checksum fields are impossible */
    COLO_REJECT__MAX
} ColoReject;

enum {
    COLO_TCP_FIN = 1, COLO_TCP_SYN = 2, COLO_TCP_RST = 4, COLO_TCP_PSH = 8,
    COLO_TCP_ACK = 16, COLO_TCP_URG = 32,
};

/* Offsets count from the first byte of the Ethernet header. */
typedef struct ColoPacket {
    uint8_t kind;              /* ColoPacketKind */
    uint8_t reject;            /* ColoReject */
    uint8_t family;            /* 4, 6, or 0 */
    uint8_t ip_proto;          /* of the payload behind extension headers */
    uint8_t tag_count;         /* 0..2 */
    uint8_t tcp_flags;
    uint8_t tcp_header_bytes;  /* with options */
    bool needs_csum;           /* l4's checksum field holds a partial sum */
    bool gso;                  /* one frame stands for several segments */
    bool fragment_more;
    bool has_timestamp;
    uint16_t tags[2];          /* VLAN ids, outer first */
    uint16_t ethertype;        /* behind the tags; a length if < 0x600 */
    uint16_t gso_size;         /* payload bytes of one segment, if gso */
    uint16_t l3;               /* IP or ARP header; 0 if none */
    uint16_t l4;               /* header or payload behind IP; ARP: l3 */
    uint16_t src_port, dst_port; /* TCP, UDP; host order */
    uint16_t tcp_window;
    uint16_t tcp_timestamp;    /* offset of the 8 bytes tsval, tsecr; or 0 */
    uint16_t tcp_sack;         /* offset of the first SACK block; or 0 */
    uint8_t tcp_sack_count;    /* blocks of 8 bytes */
    uint32_t payload;          /* TCP, UDP: data; else the same as l4 */
    uint32_t payload_bytes;    /* from the IP header */
    uint32_t l3_bytes;         /* IP header and all behind it; no padding */
    uint32_t tcp_seq, tcp_ack; /* host order */
    uint32_t fragment_id;
    uint32_t fragment_offset;  /* bytes */
    uint8_t src[16], dst[16];  /* IPv4 in the first four, rest 0 */
} ColoPacket;

/*
 * Look at @size bytes of Ethernet in @eth with a vnet header of @vnet_bytes
 * at @vnet (little endian as virtio 1.0 and modern taps have it; may be NULL
 * with 0). Fills @p in every case; returns p->reject. A rejected frame is
 * COLO_PACKET_OPAQUE with what was understood of lower layers kept (tags,
 * ethertype). A GSO TCP frame may be longer than an IPv4 length can say
 * only if the IP length is 0 (BIG TCP): then it is taken from @size.
 */
ColoReject colo_packet_parse(const uint8_t *eth, size_t size,
                             const uint8_t *vnet, size_t vnet_bytes,
                             ColoPacket *p);
ColoReject colo_packet_parse_frame(const ColoNetFrame *f, ColoPacket *p);

const char *colo_packet_kind_name(ColoPacketKind k);   /* "tcp" */
const char *colo_reject_name(ColoReject r);            /* "ip-length" */

/* --------------------------------------------- changing a parsed TCP frame */

/*
 * Each keeps the TCP checksum right: incrementally (RFC 1624) when it is a
 * full one; a partial one (needs_csum) does not cover these fields. @p is the
 * view of @eth and is updated with it. Only for p->kind == COLO_PACKET_TCP.
 */
void colo_packet_set_seq(uint8_t *eth, ColoPacket *p, uint32_t seq);
void colo_packet_set_ack(uint8_t *eth, ColoPacket *p, uint32_t ack);
void colo_packet_set_window(uint8_t *eth, ColoPacket *p, uint16_t window);
/* which: 0 tsval, 1 tsecr. Only if p->tcp_timestamp. */
void colo_packet_set_timestamp(uint8_t *eth, ColoPacket *p, int which,
                               uint32_t value);
uint32_t colo_packet_timestamp(const uint8_t *eth, const ColoPacket *p,
                               int which);
/* Put no-operations where the SACK blocks are, if there are any. */
void colo_packet_drop_sack(uint8_t *eth, ColoPacket *p);
/* Add @delta (mod 2^32) to both edges of every SACK block. */
void colo_packet_shift_sack(uint8_t *eth, const ColoPacket *p,
                            uint32_t delta);

/*
 * A new frame: that of @f with @keep bytes of its payload, from byte @from
 * on, with TCP flags @flags, @seq, @ack and, unless negative, @window. IP
 * length, IP and TCP checksums and the vnet header (gso off when no more than
 * one segment is left) follow; padding goes.
 */
ColoNetFrame *colo_packet_part(const ColoNetFrame *f, const ColoPacket *p,
                               uint32_t from, uint32_t keep, uint8_t flags,
                               uint32_t seq, uint32_t ack, int32_t window);
/* The first @keep bytes, without FIN and PSH when that drops any. */
ColoNetFrame *colo_packet_trimmed(const ColoNetFrame *f, const ColoPacket *p,
                                  uint32_t keep, uint32_t seq, uint32_t ack,
                                  int32_t window);

/* ------------------------------------------------ sequence arithmetic */

static inline int32_t colo_seq_diff(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b);
}
static inline bool colo_seq_before(uint32_t a, uint32_t b)
{
    return colo_seq_diff(a, b) < 0;
}

#endif
