/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames of the network tests: made here, and read again here.
 *
 * Maker and reader know nothing of net/colo: what leaves the comparer is
 * judged by a second opinion, checksums included. The reader is strict. It
 * only ever sees what the maker made or what became of that, and any frame
 * that a receiver would not take is reported by name.
 */
#ifndef COLO_TEST_NET_FRAMES_H
#define COLO_TEST_NET_FRAMES_H

#include <glib.h>
#include <string.h>
#include "colo/packet.h"

enum {
    NET_FIN = 1, NET_SYN = 2, NET_RST = 4, NET_PSH = 8, NET_ACK = 16,
};

enum {
    NET_PROTO_ICMP = 1, NET_PROTO_TCP = 6, NET_PROTO_UDP = 17,
    NET_PROTO_ICMP6 = 58, NET_PROTO_SCTP = 132,
    NET_ETHERTYPE_ARP = 0x0806,
};

/* Between which two ends a frame travels. */
typedef struct NetPath {
    uint8_t family;             /* 4, 6; 0: no IP */
    uint8_t tag_count;
    uint16_t tags[2];           /* outer first */
    uint8_t src[16], dst[16];
    uint16_t src_port, dst_port;
    bool ip_options;            /* IPv4 options or an extension header */
} NetPath;

/* What never counts in a comparison: each guest has its own. */
typedef struct NetManner {
    uint16_t ip_id;
    uint8_t ttl, tos;
    bool pad;                   /* short frames to 60 bytes */
    bool partial_csum;          /* left to the device; needs vnet_bytes */
    uint16_t vnet_bytes;
    uint16_t gso_size;          /* 0: one segment */
} NetManner;

typedef struct NetTcp {
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    uint8_t options[40];
    unsigned option_bytes;      /* multiple of 4 */
    const uint8_t *data;
    uint32_t data_bytes;
} NetTcp;

/* A part of a datagram; the whole: { 0, false }. */
typedef struct NetPart {
    uint32_t offset;            /* multiple of 8 */
    bool more;
} NetPart;

ColoNetFrame *net_make_tcp(const NetPath *path, const NetManner *m,
                           const NetTcp *tcp);
/* @body begins with the header of @proto, whose checksum is made here. */
ColoNetFrame *net_make_ip(const NetPath *path, const NetManner *m,
                          uint8_t proto, const uint8_t *body, size_t size);
/* Bytes [part.offset, +size) of @body, which had its checksum before. */
ColoNetFrame *net_make_part(const NetPath *path, const NetManner *m,
                            uint8_t proto, NetPart part, const uint8_t *body,
                            size_t size);
ColoNetFrame *net_make_raw(const NetPath *path, const NetManner *m,
                           uint16_t ethertype, const uint8_t *body,
                           size_t size);
/* Makes the checksum of a datagram of @proto right. */
void net_fill_csum(const NetPath *path, uint8_t proto, uint8_t *body,
                   size_t size);

typedef struct NetView {
    uint8_t family, proto, tag_count;
    uint16_t tags[2];
    uint16_t ethertype;
    uint8_t src[16], dst[16];
    bool fragment;
    NetPart part;
    uint16_t ip_id;
    const uint8_t *body;        /* behind the IP header; or the raw body */
    uint32_t body_bytes;
    uint16_t src_port, dst_port;    /* TCP and whole UDP */
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    const uint8_t *options;
    unsigned option_bytes;
    const uint8_t *data;
    uint32_t data_bytes;
    bool partial_csum;
    uint16_t gso_size;
} NetView;

/* NULL: well made; or what a receiver would not like. */
const char *net_read(ColoNetFrame *f, NetView *v);

/* The value of option @kind with @bytes bytes (header too), or NULL. */
const uint8_t *net_tcp_option(const NetView *v, uint8_t kind, unsigned bytes);

static inline void net_put16(uint8_t *p, uint16_t v)
{
    p[0] = v >> 8;
    p[1] = v;
}

static inline void net_put32(uint8_t *p, uint32_t v)
{
    net_put16(p, v >> 16);
    net_put16(p + 2, v);
}

static inline uint16_t net_get16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

static inline uint32_t net_get32(const uint8_t *p)
{
    return (uint32_t)net_get16(p) << 16 | net_get16(p + 2);
}

/* A small generator: the same seed makes the same test everywhere. */
static inline uint64_t net_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static inline uint32_t net_below(uint64_t *state, uint32_t bound)
{
    return bound > 1 ? (net_random(state) >> 32) * bound >> 32 : 0;
}

#endif
