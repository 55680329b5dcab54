/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: pass-through rules.
 *
 * A rule is checked once, when the operator sets it (colo_rule_problem()), so
 * that matching is a row of comparisons which each may say no. A rule that
 * could never match, or whose meaning nobody could tell, is a problem: better
 * an error at once than frames which are compared although the operator
 * believes that they are not.
 *
 * Rules are looked at when a flow is new, not per frame; a walk over all of
 * them is cheap enough.
 */
#include <arpa/inet.h>
#include <string.h>
#include <glib.h>
#include "colo/rules.h"

enum {
    VLAN_ID_MAX = 4094,        /* IEEE 802.1Q: 4095 is reserved */
    ETHERTYPE_MIN = 0x600,     /* below it is a length of IEEE 802.3 */
};

static unsigned family_bits(unsigned family)
{
    return family == 4 ? 32 : 128;
}

/* Any bit set behind the first @bits of the 16 bytes? */
static bool bits_behind(const uint8_t *address, unsigned bits)
{
    unsigned i;

    for (i = bits / 8; i < 16; i++) {
        uint8_t kept = i == bits / 8 ? ~(0xff >> bits % 8) : 0;

        if (address[i] & (uint8_t)~kept) {
            return true;
        }
    }
    return false;
}

/* Up to three digits without leading zeros and nothing behind them. */
static bool parse_bits(const char *text, unsigned bits_max, unsigned *bits)
{
    size_t digits = strspn(text, "0123456789"), i;

    if (digits == 0 || digits > 3 || text[digits] ||
        (text[0] == '0' && digits > 1)) {
        return false;
    }
    *bits = 0;
    for (i = 0; i < digits; i++) {
        *bits = *bits * 10 + (text[i] - '0');
    }
    return *bits <= bits_max;
}

bool colo_rule_set_prefix(ColoRule *r, const char *text)
{
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    char address[INET6_ADDRSTRLEN];
    uint8_t prefix[16] = { 0 };
    unsigned family, bits;

    if (length >= sizeof(address)) {
        return false;
    }
    memcpy(address, text, length);
    address[length] = '\0';
    if (inet_pton(AF_INET, address, prefix) == 1) {
        family = 4;
    } else if (inet_pton(AF_INET6, address, prefix) == 1) {
        family = 6;
    } else {
        return false;
    }
    bits = family_bits(family);
    if (slash && !parse_bits(slash + 1, bits, &bits)) {
        return false;
    }
    if (bits_behind(prefix, bits)) {
        return false;
    }
    r->family = family;
    r->prefix_bits = bits;
    memcpy(r->prefix, prefix, sizeof(prefix));
    return true;
}

static bool kind_has_port(unsigned kind)
{
    return kind == COLO_PACKET_TCP || kind == COLO_PACKET_UDP ||
           kind == COLO_RULE_ANY_KIND;
}

static const char *prefix_problem(const ColoRule *r)
{
    if (r->family != 4 && r->family != 6) {
        return "unknown address family";
    }
    if (r->prefix_bits > family_bits(r->family) ||
        bits_behind(r->prefix, r->prefix_bits)) {
        return "the address has bits set behind its prefix";
    }
    if (r->kind == COLO_PACKET_ARP || r->kind == COLO_PACKET_OPAQUE) {
        return "an address prefix needs an IP protocol";
    }
    if ((r->kind == COLO_PACKET_ICMP && r->family != 4) ||
        (r->kind == COLO_PACKET_ICMP6 && r->family != 6)) {
        return "the address is of the other IP version than the protocol";
    }
    return NULL;
}

static const char *layer2_problem(const ColoRule *r)
{
    if (r->has_ethertype && r->kind != COLO_PACKET_OPAQUE) {
        return "an Ethernet type needs the protocol 'other'";
    }
    if (r->has_ethertype && r->ethertype < ETHERTYPE_MIN) {
        return "an Ethernet type is at least 0x600";
    }
    if (r->has_vlan && r->vlan > VLAN_ID_MAX) {
        return "a VLAN id is at most 4094";
    }
    return NULL;
}

const char *colo_rule_problem(const ColoRule *r)
{
    const char *problem;

    if (!r->name[0] || !memchr(r->name, '\0', sizeof(r->name))) {
        return "a rule needs a name of 1 to 63 bytes";
    }
    if (r->kind > COLO_RULE_ANY_KIND) {
        return "unknown protocol";
    }
    if (r->direction > COLO_RULE_OUTBOUND) {
        return "unknown direction";
    }
    if (r->has_port && !kind_has_port(r->kind)) {
        return "only TCP and UDP have ports";
    }
    if (r->direction != COLO_RULE_BOTH && !r->has_port) {
        return "a direction needs a port: it says whose port is meant";
    }
    problem = r->family ? prefix_problem(r) : NULL;
    return problem ? problem : layer2_problem(r);
}

static bool port_matches(const ColoRule *r, const ColoPacket *p)
{
    if (p->kind != COLO_PACKET_TCP && p->kind != COLO_PACKET_UDP) {
        return false;
    }
    return (r->direction != COLO_RULE_OUTBOUND && p->src_port == r->port) ||
           (r->direction != COLO_RULE_INBOUND && p->dst_port == r->port);
}

static bool prefix_matches(const ColoRule *r, const ColoPacket *p)
{
    unsigned whole = r->prefix_bits / 8, rest = r->prefix_bits % 8;
    uint8_t mask = ~(0xff >> rest);

    return p->family == r->family && memcmp(p->dst, r->prefix, whole) == 0 &&
           (rest == 0 || ((p->dst[whole] ^ r->prefix[whole]) & mask) == 0);
}

bool colo_rule_matches(const ColoRule *r, const ColoPacket *p)
{
    return (r->kind == COLO_RULE_ANY_KIND || r->kind == p->kind) &&
           (!r->has_port || port_matches(r, p)) &&
           (!r->family || prefix_matches(r, p)) &&
           (!r->has_ethertype || p->ethertype == r->ethertype) &&
           (!r->has_vlan || (p->tag_count > 0 && p->tags[0] == r->vlan));
}

int colo_rules_find(const ColoRule *rules, unsigned count,
                    const ColoPacket *p)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        if (colo_rule_matches(&rules[i], p)) {
            return i;
        }
    }
    return -1;
}
