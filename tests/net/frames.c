/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes and reads frames; see frames.h. */
#include "frames.h"

enum { ETH_BYTES = 14, VNET_NEEDS_CSUM = 1, VNET_TCP4 = 1, VNET_TCP6 = 4 };

/* --------------------------------------------------------------- checksums */

static uint64_t sum_bytes(uint64_t sum, const uint8_t *p, size_t size)
{
    size_t i;

    for (i = 0; i + 1 < size; i += 2) {
        sum += net_get16(p + i);
    }
    return i < size ? sum + ((uint64_t)p[i] << 8) : sum;
}

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static uint64_t sum_pseudo(uint8_t family, const uint8_t *src,
                           const uint8_t *dst, uint8_t proto, size_t size)
{
    unsigned bytes = family == 4 ? 4 : 16;
    uint64_t sum = sum_bytes(0, src, bytes);

    sum = sum_bytes(sum, dst, bytes);
    return sum + proto + (size >> 16) + (size & 0xffff);
}

/* Where a protocol has its checksum, or -1. */
static int csum_place(uint8_t proto)
{
    switch (proto) {
    case NET_PROTO_TCP:
        return 16;
    case NET_PROTO_UDP:
        return 6;
    case NET_PROTO_ICMP:
    case NET_PROTO_ICMP6:
        return 2;
    default:
        return -1;
    }
}

void net_fill_csum(const NetPath *path, uint8_t proto, uint8_t *body,
                   size_t size)
{
    int place = csum_place(proto);
    uint64_t sum = 0;
    uint16_t value;

    if (place < 0) {
        return;
    }
    if (proto != NET_PROTO_ICMP) {
        sum = sum_pseudo(path->family, path->src, path->dst, proto, size);
    }
    net_put16(body + place, 0);
    value = ~fold(sum_bytes(sum, body, size));
    if (proto == NET_PROTO_UDP && value == 0) {
        value = 0xffff;
    }
    net_put16(body + place, value);
}

/* ------------------------------------------------------------------- maker */

static size_t ip_bytes(const NetPath *path, bool fragment)
{
    if (path->family == 4) {
        return path->ip_options ? 24 : 20;
    }
    return 40 + (path->ip_options ? 8 : 0) + (fragment ? 8 : 0);
}

static uint8_t *put_eth(uint8_t *p, const NetPath *path, uint16_t ethertype)
{
    static const uint8_t macs[12] = {
        0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2
    };
    unsigned i;

    memcpy(p, macs, sizeof(macs));
    p += sizeof(macs);
    for (i = 0; i < path->tag_count; i++) {
        bool outer = i + 1 < path->tag_count;

        net_put16(p, outer ? 0x88a8 : 0x8100);
        net_put16(p + 2, path->tags[i]);
        p += 4;
    }
    net_put16(p, ethertype);
    return p + 2;
}

static uint8_t *put_ip4(uint8_t *p, const NetPath *path, const NetManner *m,
                        uint8_t proto, NetPart part, size_t size)
{
    size_t head = ip_bytes(path, false);

    memset(p, 0, head);
    p[0] = 0x40 | head / 4;
    p[1] = m->tos;
    net_put16(p + 2, head + size);
    net_put16(p + 4, m->ip_id);
    net_put16(p + 6, part.offset / 8 | (part.more ? 0x2000 : 0));
    p[8] = m->ttl;
    p[9] = proto;
    memcpy(p + 12, path->src, 4);
    memcpy(p + 16, path->dst, 4);
    if (path->ip_options) {
        memset(p + 20, 1, 4);               /* no operation */
    }
    net_put16(p + 10, ~fold(sum_bytes(0, p, head)));
    return p + head;
}

static uint8_t *put_ip6(uint8_t *p, const NetPath *path, const NetManner *m,
                        uint8_t proto, NetPart part, size_t size)
{
    static const uint8_t options[8] = { 0, 0, 1, 4, 0, 0, 0, 0 };
    bool fragment = part.more || part.offset;
    size_t head = ip_bytes(path, fragment);
    uint8_t *next = p + 6;

    net_put32(p, 6u << 28 | m->tos << 20 | m->ip_id);   /* as flow label */
    net_put16(p + 4, head - 40 + size);
    p[7] = m->ttl;
    memcpy(p + 8, path->src, 16);
    memcpy(p + 24, path->dst, 16);
    p += 40;
    if (path->ip_options) {
        *next = 60;                         /* destination options */
        memcpy(p, options, 8);
        next = p;
        p += 8;
    }
    if (fragment) {
        *next = 44;
        next = p;
        p[1] = 0;
        net_put16(p + 2, part.offset | part.more);
        net_put32(p + 4, 0xabc00000u | m->ip_id);
        p += 8;
    }
    *next = proto;
    return p;
}

ColoNetFrame *net_make_raw(const NetPath *path, const NetManner *m,
                           uint16_t ethertype, const uint8_t *body,
                           size_t size)
{
    size_t bytes = ETH_BYTES + 4 * path->tag_count + size;
    size_t padded = m->pad ? MAX(bytes, 60) : bytes;
    ColoNetFrame *f = colo_net_frame_new(m->vnet_bytes, padded);
    uint8_t *p;

    memset(f->data, 0, f->vnet_bytes);
    p = put_eth(colo_net_frame_eth(f), path, ethertype);
    memcpy(p, body, size);
    memset(p + size, 0xee, padded - bytes); /* padding of a careless driver */
    return f;
}

ColoNetFrame *net_make_part(const NetPath *path, const NetManner *m,
                            uint8_t proto, NetPart part, const uint8_t *body,
                            size_t size)
{
    size_t head = ip_bytes(path, part.more || part.offset);
    g_autofree uint8_t *ip = g_malloc(head + size);
    uint8_t *p;

    if (path->family == 4) {
        p = put_ip4(ip, path, m, proto, part, size);
    } else {
        p = put_ip6(ip, path, m, proto, part, size);
    }
    memcpy(p, body + part.offset, size);
    return net_make_raw(path, m, path->family == 4 ? 0x0800 : 0x86dd, ip,
                        head + size);
}

/* The checksum is left to the device: the field has the pseudo header's. */
static void leave_csum(ColoNetFrame *f, const NetPath *path,
                       const NetManner *m, uint8_t proto, size_t size,
                       size_t head_bytes)
{
    size_t l4 = ETH_BYTES + 4 * path->tag_count + ip_bytes(path, false);
    uint8_t *vnet = f->data;
    int place = csum_place(proto);
    uint64_t sum = sum_pseudo(path->family, path->src, path->dst, proto, size);

    net_put16(colo_net_frame_eth(f) + l4 + place, fold(sum));
    vnet[0] = VNET_NEEDS_CSUM;
    vnet[6] = l4;
    vnet[7] = l4 >> 8;
    vnet[8] = place;
    if (m->gso_size) {
        vnet[1] = path->family == 4 ? VNET_TCP4 : VNET_TCP6;
        vnet[2] = l4 + head_bytes;
        vnet[3] = (l4 + head_bytes) >> 8;
        vnet[4] = m->gso_size;
        vnet[5] = m->gso_size >> 8;
    }
}

ColoNetFrame *net_make_ip(const NetPath *path, const NetManner *m,
                          uint8_t proto, const uint8_t *body, size_t size)
{
    g_autofree uint8_t *own = g_memdup2(body, size);
    ColoNetFrame *f;

    net_fill_csum(path, proto, own, size);
    f = net_make_part(path, m, proto, (NetPart) { 0 }, own, size);
    if (m->partial_csum && m->vnet_bytes &&
        (proto == NET_PROTO_TCP || proto == NET_PROTO_UDP)) {
        size_t head = proto == NET_PROTO_TCP ? own[12] >> 4 << 2 : 8;

        leave_csum(f, path, m, proto, size, head);
    }
    return f;
}

ColoNetFrame *net_make_tcp(const NetPath *path, const NetManner *m,
                           const NetTcp *tcp)
{
    size_t head = 20 + tcp->option_bytes;
    g_autofree uint8_t *p = g_malloc0(head + tcp->data_bytes);

    net_put16(p, path->src_port);
    net_put16(p + 2, path->dst_port);
    net_put32(p + 4, tcp->seq);
    net_put32(p + 8, tcp->flags & NET_ACK ? tcp->ack : 0);
    p[12] = head / 4 << 4;
    p[13] = tcp->flags;
    net_put16(p + 14, tcp->window);
    memcpy(p + 20, tcp->options, tcp->option_bytes);
    if (tcp->data_bytes) {
        memcpy(p + head, tcp->data, tcp->data_bytes);
    }
    return net_make_ip(path, m, NET_PROTO_TCP, p, head + tcp->data_bytes);
}

/* ------------------------------------------------------------------ reader */

static const char *read_ip4(const uint8_t *p, const uint8_t *end, NetView *v)
{
    size_t head, total;

    if (end - p < 20 || p[0] >> 4 != 4) {
        return "no IPv4 header";
    }
    head = (p[0] & 15) * 4;
    total = net_get16(p + 2);
    if (head < 20 || total < head || total > (size_t)(end - p)) {
        return "IPv4 lengths";
    }
    if (fold(sum_bytes(0, p, head)) != 0xffff) {
        return "IPv4 checksum";
    }
    v->family = 4;
    v->proto = p[9];
    v->ip_id = net_get16(p + 4);
    v->part.offset = (net_get16(p + 6) & 0x1fff) * 8;
    v->part.more = net_get16(p + 6) & 0x2000;
    v->fragment = v->part.offset || v->part.more;
    memcpy(v->src, p + 12, 4);
    memcpy(v->dst, p + 16, 4);
    v->body = p + head;
    v->body_bytes = total - head;
    return NULL;
}

static const char *read_ip6(const uint8_t *p, const uint8_t *end, NetView *v)
{
    size_t total;

    if (end - p < 40 || p[0] >> 4 != 6) {
        return "no IPv6 header";
    }
    total = 40 + net_get16(p + 4);
    if (total > (size_t)(end - p)) {
        return "IPv6 length";
    }
    end = p + total;
    v->family = 6;
    v->proto = p[6];
    memcpy(v->src, p + 8, 16);
    memcpy(v->dst, p + 24, 16);
    p += 40;
    while (v->proto == 60 || v->proto == 44) {
        if (end - p < 8) {
            return "IPv6 extension header";
        }
        if (v->proto == 44) {
            v->fragment = true;
            v->part.offset = net_get16(p + 2) & 0xfff8;
            v->part.more = net_get16(p + 2) & 1;
            v->ip_id = net_get16(p + 6);
        }
        v->proto = p[0];
        p += 8;
    }
    v->body = p;
    v->body_bytes = end - p;
    return NULL;
}

static const char *check_csum(const NetView *v)
{
    int place = csum_place(v->proto);
    uint64_t sum = 0;

    if (place < 0 || v->fragment) {
        return NULL;
    }
    if (v->body_bytes < (size_t)place + 2) {
        return "no room for a checksum";
    }
    if (v->proto != NET_PROTO_ICMP) {
        sum = sum_pseudo(v->family, v->src, v->dst, v->proto, v->body_bytes);
    }
    if (v->partial_csum) {
        return net_get16(v->body + place) == fold(sum) ? NULL
            : "partial checksum";
    }
    if (v->proto == NET_PROTO_UDP && net_get16(v->body + place) == 0) {
        return NULL;
    }
    return fold(sum_bytes(sum, v->body, v->body_bytes)) == 0xffff ? NULL
        : "checksum";
}

static const char *read_tcp(NetView *v)
{
    const uint8_t *p = v->body;
    size_t head;

    if (v->body_bytes < 20) {
        return "TCP header";
    }
    head = p[12] >> 4 << 2;
    if (head < 20 || head > v->body_bytes) {
        return "TCP header length";
    }
    v->src_port = net_get16(p);
    v->dst_port = net_get16(p + 2);
    v->seq = net_get32(p + 4);
    v->ack = net_get32(p + 8);
    v->flags = p[13];
    v->window = net_get16(p + 14);
    v->options = p + 20;
    v->option_bytes = head - 20;
    v->data = p + head;
    v->data_bytes = v->body_bytes - head;
    if (!v->gso_size && v->partial_csum && v->data_bytes > 9000) {
        return "a jumbo segment without GSO";
    }
    return NULL;
}

static const char *read_vnet(const ColoNetFrame *f, const uint8_t *eth,
                             NetView *v)
{
    const uint8_t *vnet = f->data;

    if (!f->vnet_bytes || vnet[0] != VNET_NEEDS_CSUM) {
        return NULL;
    }
    v->partial_csum = true;
    if (eth + (vnet[6] | vnet[7] << 8) != v->body ||
        vnet[8] != csum_place(v->proto) || vnet[9]) {
        return "vnet checksum offsets";
    }
    if (!vnet[1]) {
        return vnet[4] || vnet[5] ? "vnet gso_size without a type" : NULL;
    }
    v->gso_size = vnet[4] | vnet[5] << 8;
    return vnet[1] == (v->family == 4 ? VNET_TCP4 : VNET_TCP6) &&
        v->gso_size ? NULL : "vnet GSO type";
}

static const char *read_transport(ColoNetFrame *f, NetView *v)
{
    const char *bad = read_vnet(f, colo_net_frame_eth(f), v);

    if (!bad) {
        bad = check_csum(v);
    }
    if (!bad && v->proto == NET_PROTO_TCP && !v->fragment) {
        bad = read_tcp(v);
    }
    if (!bad && v->proto == NET_PROTO_UDP && !v->fragment) {
        v->src_port = net_get16(v->body);
        v->dst_port = net_get16(v->body + 2);
    }
    return bad;
}

const char *net_read(ColoNetFrame *f, NetView *v)
{
    const uint8_t *p = colo_net_frame_eth(f);
    const uint8_t *end = p + f->size;
    const char *bad;

    memset(v, 0, sizeof(*v));
    if (f->size < ETH_BYTES) {
        return "no Ethernet header";
    }
    p += 12;
    while ((net_get16(p) == 0x8100 || net_get16(p) == 0x88a8) &&
           v->tag_count < 2 && end - p >= 6) {
        v->tags[v->tag_count++] = net_get16(p + 2);
        p += 4;
    }
    v->ethertype = net_get16(p);
    p += 2;
    v->body = p;
    v->body_bytes = end - p;
    if (v->ethertype == 0x0800) {
        bad = read_ip4(p, end, v);
    } else if (v->ethertype == 0x86dd) {
        bad = read_ip6(p, end, v);
    } else {
        return NULL;
    }
    return bad ? bad : read_transport(f, v);
}

const uint8_t *net_tcp_option(const NetView *v, uint8_t kind, unsigned bytes)
{
    unsigned i = 0;

    while (i < v->option_bytes && v->options[i] != 0) {
        if (v->options[i] == 1) {
            i++;
            continue;
        }
        if (i + 1 >= v->option_bytes || v->options[i + 1] < 2) {
            break;
        }
        if (v->options[i] == kind && v->options[i + 1] == bytes &&
            i + bytes <= v->option_bytes) {
            return v->options + i + 2;
        }
        i += v->options[i + 1];
    }
    return NULL;
}
