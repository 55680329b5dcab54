/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the frame parser: Ethernet, its tags, ARP, and the vnet header.
 *
 * Each layer checks that its header is inside the layer below and only then
 * writes what it found to the view, so whatever a view says is safe to use.
 * At the first layer that is not understood the parser stops and takes back
 * what belongs to the layers above IP.
 *
 * The vnet header comes last: what it promises (where a checksum belongs,
 * that the payload is to be cut to segments) is only believed when the frame
 * itself says the same. Its header length is only a hint (virtio 1.2,
 * section 5.1.6) and not looked at.
 */
#include "packet-internal.h"

enum {
    ETH_BYTES = 14, TAG_BYTES = 4,
    ETHERTYPE_MIN = 0x600,      /* less is a length: IEEE 802.3 */
    ETHERTYPE_IP4 = 0x0800, ETHERTYPE_ARP = 0x0806, ETHERTYPE_IP6 = 0x86dd,
    ETHERTYPE_VLAN = 0x8100,    /* IEEE 802.1Q */
    ETHERTYPE_SERVICE = 0x88a8, /* IEEE 802.1ad */
    ETHERTYPE_OLD_QINQ = 0x9100, /* what was used before 802.1ad */
    TAG_ID_MASK = 0xfff,
    ARP_FIXED_BYTES = 8,
};

/* Of the vnet header: flags and GSO types. */
enum {
    FLAG_NEEDS_CSUM = 1,
    GSO_NONE = 0, GSO_TCP4 = 1, GSO_UDP = 3, GSO_TCP6 = 4, GSO_UDP_L4 = 5,
    GSO_ECN = 0x80,             /* beside one of TCP */
};

typedef struct Vnet {
    bool needs_csum;
    uint8_t gso_type;
    uint16_t gso_size, csum_start, csum_offset;
} Vnet;

/* ------------------------------------------------------- Ethernet and ARP */

static bool is_tag(uint16_t ethertype)
{
    return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_SERVICE ||
           ethertype == ETHERTYPE_OLD_QINQ;
}

/* Leaves in @l3 where the payload of the frame begins. */
static ColoReject parse_tags(const uint8_t *eth, size_t size, uint16_t *l3,
                             ColoPacket *p)
{
    while (is_tag(p->ethertype)) {
        if (p->tag_count == G_N_ELEMENTS(p->tags)) {
            return COLO_REJECT_TAG_DEEP;
        }
        if (size < *l3 + (size_t)TAG_BYTES) {
            return COLO_REJECT_TAG_SHORT;
        }
        p->tags[p->tag_count++] = colo_get_be16(eth + *l3) & TAG_ID_MASK;
        p->ethertype = colo_get_be16(eth + *l3 + 2);
        *l3 += TAG_BYTES;
    }
    return COLO_REJECT_NONE;
}

/* RFC 826: two pairs of addresses, whose lengths the packet tells. */
static ColoReject parse_arp(const uint8_t *eth, size_t size, uint16_t l3,
                            ColoPacket *p)
{
    const uint8_t *arp = eth + l3;
    size_t bytes = ARP_FIXED_BYTES;

    if (size - l3 >= bytes) {
        bytes += 2 * (arp[4] + arp[5]);
    }
    if (size - l3 < bytes) {
        return COLO_REJECT_ARP_SHORT;
    }
    p->kind = COLO_PACKET_ARP;
    p->l3 = p->l4 = p->payload = l3;
    p->l3_bytes = p->payload_bytes = bytes;
    return COLO_REJECT_NONE;
}

static ColoReject parse_layers(const uint8_t *eth, size_t size,
                               bool may_be_big, ColoPacket *p)
{
    uint16_t l3 = ETH_BYTES;

    if (size < ETH_BYTES) {
        return COLO_REJECT_ETH_SHORT;
    }
    p->ethertype = colo_get_be16(eth + ETH_BYTES - 2);
    if (is_tag(p->ethertype)) {
        ColoReject reject = parse_tags(eth, size, &l3, p);

        if (reject != COLO_REJECT_NONE) {
            return reject;
        }
    }
    switch (p->ethertype) {
    case ETHERTYPE_IP4:
        return colo_packet_parse_ip4(eth, size, l3, may_be_big, p);
    case ETHERTYPE_IP6:
        return colo_packet_parse_ip6(eth, size, l3, p);
    case ETHERTYPE_ARP:
        return parse_arp(eth, size, l3, p);
    default:
        return COLO_REJECT_NONE;    /* opaque, and that is fine */
    }
}

/* ------------------------------------------------------------ vnet header */

static Vnet read_vnet(const uint8_t *vnet)
{
    return (Vnet) {
        .needs_csum = vnet[COLO_VNET_FLAGS] & FLAG_NEEDS_CSUM,
        .gso_type = vnet[COLO_VNET_GSO_TYPE],
        .gso_size = colo_get_le16(vnet + COLO_VNET_GSO_SIZE),
        .csum_start = colo_get_le16(vnet + COLO_VNET_CSUM_START),
        .csum_offset = colo_get_le16(vnet + COLO_VNET_CSUM_OFFSET),
    };
}

static bool has_l4_header(const ColoPacket *p)
{
    return p->kind != COLO_PACKET_OPAQUE && p->kind != COLO_PACKET_ARP &&
           p->kind != COLO_PACKET_FRAGMENT;
}

static ColoReject check_csum(const Vnet *v, size_t size, ColoPacket *p)
{
    bool at_l4 = has_l4_header(p) && v->csum_start == p->l4;

    if ((size_t)v->csum_start + v->csum_offset + 2 > size) {
        return COLO_REJECT_VNET;
    }
    if (p->kind == COLO_PACKET_TCP &&
        (!at_l4 || v->csum_offset != COLO_TCP_CSUM)) {
        return COLO_REJECT_VNET;
    }
    /* Further in it may be a checksum of what a tunnel over UDP carries. */
    if (p->kind == COLO_PACKET_UDP &&
        (v->csum_start < p->l4 ||
         (at_l4 && v->csum_offset != COLO_UDP_CSUM))) {
        return COLO_REJECT_VNET;
    }
    p->needs_csum = at_l4;
    return COLO_REJECT_NONE;
}

/* Is this the frame that its kind of segmentation is for? */
static bool fits_gso(const Vnet *v, const ColoPacket *p)
{
    switch (v->gso_type) {
    case GSO_TCP4:
    case GSO_TCP4 | GSO_ECN:
        return p->kind == COLO_PACKET_TCP && p->family == 4;
    case GSO_TCP6:
    case GSO_TCP6 | GSO_ECN:
        return p->kind == COLO_PACKET_TCP && p->family == 6;
    case GSO_UDP:
    case GSO_UDP_L4:
        return p->kind == COLO_PACKET_UDP;
    default:
        return false;
    }
}

/* Can one segment be a packet? Of IPv6 even the whole is one. */
static bool segment_fits_ip(const Vnet *v, const ColoPacket *p)
{
    uint32_t bytes = p->payload - p->l3 + MIN(v->gso_size, p->payload_bytes);

    return p->family == 6 || bytes <= COLO_IP_MAX_BYTES;
}

static ColoReject check_vnet(const Vnet *v, size_t size, ColoPacket *p)
{
    ColoReject reject = COLO_REJECT_NONE;

    if (v->needs_csum) {
        reject = check_csum(v, size, p);
    }
    if (reject != COLO_REJECT_NONE || v->gso_type == GSO_NONE) {
        return reject;
    }
    if (v->gso_size == 0 || !fits_gso(v, p) || !segment_fits_ip(v, p)) {
        return COLO_REJECT_VNET;
    }
    /* GSO_UDP makes IP fragments of one datagram, not several datagrams. */
    if (v->gso_type != GSO_UDP && p->payload_bytes > v->gso_size) {
        p->gso = true;
        p->gso_size = v->gso_size;
    }
    return COLO_REJECT_NONE;
}

/* ------------------------------------------------------------------ whole */

/* The layers up to IP stay, if they were good. */
static void make_opaque(ColoPacket *p, ColoReject reject)
{
    const ColoPacket was = *p;

    *p = (ColoPacket) {
        .kind = COLO_PACKET_OPAQUE,
        .reject = reject,
        .family = was.family,
        .ip_proto = was.ip_proto,
        .tag_count = was.tag_count,
        .tags = { was.tags[0], was.tags[1] },
        .ethertype = was.ethertype,
        .l3 = was.l3,
        .l3_bytes = was.l3_bytes,
    };
    memcpy(p->src, was.src, sizeof(p->src));
    memcpy(p->dst, was.dst, sizeof(p->dst));
}

ColoReject colo_packet_parse(const uint8_t *eth, size_t size,
                             const uint8_t *vnet, size_t vnet_bytes,
                             ColoPacket *p)
{
    /* Copied: compilers clear this much with an instruction that takes as
     * long to start as all the rest does. */
    static const ColoPacket nothing;
    Vnet v = { .gso_type = GSO_NONE };
    ColoReject reject;

    memcpy(p, &nothing, sizeof(*p));
    if (colo_vnet_is_known(vnet_bytes)) {
        v = read_vnet(vnet);
    }
    reject = parse_layers(eth, size, (v.gso_type & ~GSO_ECN) == GSO_TCP4, p);
    if (reject == COLO_REJECT_NONE && (v.needs_csum || v.gso_type)) {
        reject = check_vnet(&v, size, p);
    }
    if (reject != COLO_REJECT_NONE) {
        make_opaque(p, reject);
    }
    return reject;
}

ColoReject colo_packet_parse_frame(const ColoNetFrame *f, ColoPacket *p)
{
    return colo_packet_parse(f->data + f->vnet_bytes, f->size, f->data,
                             f->vnet_bytes, p);
}

/* ------------------------------------------------------------------ names */

const char *colo_packet_kind_name(ColoPacketKind k)
{
    static const char *const names[COLO_PACKET__MAX] = {
        [COLO_PACKET_OPAQUE] = "opaque",
        [COLO_PACKET_ARP] = "arp",
        [COLO_PACKET_TCP] = "tcp",
        [COLO_PACKET_UDP] = "udp",
        [COLO_PACKET_ICMP] = "icmp",
        [COLO_PACKET_ICMP6] = "icmp6",
        [COLO_PACKET_IP] = "ip",
        [COLO_PACKET_FRAGMENT] = "fragment",
    };

    return k < COLO_PACKET__MAX ? names[k] : "unknown";
}

const char *colo_reject_name(ColoReject r)
{
    static const char *const names[COLO_REJECT__MAX] = {
        [COLO_REJECT_NONE] = "none",
        [COLO_REJECT_ETH_SHORT] = "eth-short",
        [COLO_REJECT_TAG_SHORT] = "tag-short",
        [COLO_REJECT_TAG_DEEP] = "tag-deep",
        [COLO_REJECT_ARP_SHORT] = "arp-short",
        [COLO_REJECT_IP_SHORT] = "ip-short",
        [COLO_REJECT_IP_VERSION] = "ip-version",
        [COLO_REJECT_IP_HEADER] = "ip-header",
        [COLO_REJECT_IP_LENGTH] = "ip-length",
        [COLO_REJECT_IP_OPTION] = "ip-option",
        [COLO_REJECT_FRAGMENT] = "fragment",
        [COLO_REJECT_TCP_SHORT] = "tcp-short",
        [COLO_REJECT_TCP_HEADER] = "tcp-header",
        [COLO_REJECT_UDP_SHORT] = "udp-short",
        [COLO_REJECT_UDP_LENGTH] = "udp-length",
        [COLO_REJECT_ICMP_SHORT] = "icmp-short",
        [COLO_REJECT_VNET] = "vnet",
    };

    return r < COLO_REJECT__MAX ? names[r] : "unknown";
}
