/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: pass-through rules, for flows that are divergent by nature.
 *
 * A rule names a protocol, a port, a prefix of addresses and a direction;
 * what is left out matches everything. Frames of a matching flow leave the
 * primary without comparison. The client of such a flow may see a break at a
 * failover: that is what the operator accepts with the rule.
 *
 * Frames are those that the guest sends. Inbound: the flow serves others,
 * the port is the guest's own. Outbound: the guest is the client, the port is
 * the other end's. The prefix is always the other end's address.
 */
#ifndef COLO_RULES_H
#define COLO_RULES_H

#include "colo/packet.h"

typedef enum ColoRuleDirection {
    COLO_RULE_BOTH, COLO_RULE_INBOUND, COLO_RULE_OUTBOUND,
} ColoRuleDirection;

enum { COLO_RULES_MAX = 256, COLO_RULE_NAME_MAX_BYTES = 63 };
enum { COLO_RULE_ANY_KIND = COLO_PACKET__MAX };

typedef struct ColoRule {
    char name[COLO_RULE_NAME_MAX_BYTES + 1];
    uint8_t kind;              /* ColoPacketKind or COLO_RULE_ANY_KIND */
    uint8_t direction;         /* ColoRuleDirection */
    uint8_t family;            /* of the prefix; 0: no prefix */
    uint8_t prefix_bits;
    uint8_t prefix[16];
    bool has_port;
    uint16_t port;
    bool has_ethertype;        /* only with kind OPAQUE */
    uint16_t ethertype;
    bool has_vlan;
    uint16_t vlan;             /* outermost VLAN id */
} ColoRule;

/*
 * "10.0.0.0/8", "2001:db8::/32" or a bare address. False: @text is no such
 * thing, or has bits set behind the prefix.
 */
bool colo_rule_set_prefix(ColoRule *r, const char *text);
/* NULL, or why the rule makes no sense: a port with ICMP, for one. */
const char *colo_rule_problem(const ColoRule *r);
bool colo_rule_matches(const ColoRule *r, const ColoPacket *p);
/* Index of the first rule that matches, or -1. */
int colo_rules_find(const ColoRule *rules, unsigned count,
                    const ColoPacket *p);

#endif
