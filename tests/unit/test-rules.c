/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pass-through rules: what is a prefix, which rules make sense, what matches.
 */
#include <string.h>
#include <glib.h>
#include "colo/rules.h"

/* -------------------------------------------------------------- prefixes */

static const struct {
    const char *text;
    uint8_t family, bits, first, last;   /* bytes of the prefix */
} prefixes[] = {
    { "10.0.0.0/8", 4, 8, 10, 0 }, { "0.0.0.0/0", 4, 0, 0, 0 },
    { "192.0.2.7", 4, 32, 192, 7 }, { "192.0.2.7/32", 4, 32, 192, 7 },
    { "192.0.2.6/31", 4, 31, 192, 6 }, { "8000::/1", 6, 1, 128, 0 },
    { "2001:db8::/32", 6, 32, 0x20, 0 }, { "::/0", 6, 0, 0, 0 },
    { "fe80::1", 6, 128, 0xfe, 1 }, { "fe80::2/127", 6, 127, 0xfe, 2 },
    { "::ffff:192.0.2.7", 6, 128, 0, 7 },
    { "2001:0db8:0000:0000:0000:0000:0000:0001", 6, 128, 0x20, 1 },
};

static void test_prefix_good(void)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        ColoRule r = { .name = "r", .kind = COLO_RULE_ANY_KIND };

        memset(r.prefix, 0xee, sizeof(r.prefix));
        g_assert_true(colo_rule_set_prefix(&r, prefixes[i].text));
        g_assert_cmpuint(r.family, ==, prefixes[i].family);
        g_assert_cmpuint(r.prefix_bits, ==, prefixes[i].bits);
        g_assert_cmpuint(r.prefix[0], ==, prefixes[i].first);
        g_assert_cmpuint(r.prefix[r.family == 4 ? 3 : 15], ==,
                         prefixes[i].last);
        g_assert_cmpuint(r.prefix[r.family == 4 ? 15 : 8], ==, 0);
        g_assert_null(colo_rule_problem(&r));
    }
}

static void test_prefix_bad(void)
{
    static const char *const bad[] = {
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1",
        "10.0.0.0/+8", "10.0.0.0/ 8", "10.0.0.0/8 ", "10.0.0.0/08",
        "10.0.0.0/0008", "10.0.0.0/4294967304", "10.0.0.0/8/8",
        "10.0.0.0/8x", "10.0.0/8",
        "10.0.0.0.0", "256.0.0.0", " 10.0.0.0", "10.0.0.1/8",
        "192.0.2.7/31", "0.0.0.1/0", "::/129", "::1/0", "::1/127",
        "2001:db8::1/64", "2001:db8::8000:0:0:0/64", "fe80::1%eth0",
        "[::1]", ":::", "1:2:3:4:5:6:7:8:9", "name.example",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/8",
        "0000000000000000000000000000000000000000000000",   /* 46 */
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        ColoRule r = { .name = "r" };
        const ColoRule before = r;

        if (colo_rule_set_prefix(&r, bad[i])) {
            g_error("%s is taken for a prefix", bad[i]);
        }
        g_assert_cmpmem(&r, sizeof(r), &before, sizeof(before));
    }
}

/* -------------------------------------------------------------- problems */

#define RULE(...) { .name = "r", __VA_ARGS__ }

static const struct {
    ColoRule rule;
    const char *problem;       /* a word of it; NULL: none */
} rules[] = {
    { RULE(.kind = COLO_RULE_ANY_KIND), NULL },
    { RULE(.kind = COLO_PACKET_OPAQUE), NULL },
    { RULE(.kind = COLO_PACKET_FRAGMENT, .family = 6), NULL },
    { RULE(.kind = COLO_PACKET_TCP, .has_port = true, .port = 22,
           .direction = COLO_RULE_INBOUND), NULL },
    { RULE(.kind = COLO_PACKET_UDP, .has_port = true, .port = 123,
           .direction = COLO_RULE_OUTBOUND), NULL },
    { RULE(.kind = COLO_RULE_ANY_KIND, .has_port = true, .port = 53), NULL },
    { RULE(.kind = COLO_PACKET_OPAQUE, .has_ethertype = true,
           .ethertype = 0x88cc), NULL },
    { RULE(.kind = COLO_PACKET_ARP, .has_vlan = true, .vlan = 4094), NULL },
    { RULE(.kind = COLO_PACKET_ICMP, .family = 4), NULL },
    { RULE(.kind = COLO_PACKET_ICMP6, .family = 6), NULL },

    { { .kind = COLO_RULE_ANY_KIND }, "name" },
    { RULE(.kind = COLO_RULE_ANY_KIND + 1), "protocol" },
    { RULE(.kind = 255), "protocol" },
    { RULE(.kind = COLO_PACKET_TCP, .direction = 3), "direction" },
    { RULE(.kind = COLO_PACKET_ICMP, .has_port = true), "have ports" },
    { RULE(.kind = COLO_PACKET_ARP, .has_port = true), "have ports" },
    { RULE(.kind = COLO_PACKET_IP, .has_port = true), "have ports" },
    { RULE(.kind = COLO_PACKET_FRAGMENT, .has_port = true), "have ports" },
    { RULE(.kind = COLO_PACKET_TCP, .direction = COLO_RULE_INBOUND),
      "needs a port" },
    { RULE(.kind = COLO_PACKET_TCP, .direction = COLO_RULE_OUTBOUND),
      "needs a port" },
    { RULE(.kind = COLO_PACKET_TCP, .family = 5), "family" },
    { RULE(.kind = COLO_PACKET_TCP, .family = 4, .prefix_bits = 33),
      "prefix" },
    { RULE(.kind = COLO_PACKET_TCP, .family = 4, .prefix_bits = 8,
           .prefix = { 10, 1 }), "prefix" },
    { RULE(.kind = COLO_PACKET_TCP, .family = 4, .prefix_bits = 32,
           .prefix = { 10, 0, 0, 1, 1 }), "prefix" },
    { RULE(.kind = COLO_PACKET_TCP, .family = 6, .prefix_bits = 129),
      "prefix" },
    { RULE(.kind = COLO_PACKET_ARP, .family = 4), "IP protocol" },
    { RULE(.kind = COLO_PACKET_OPAQUE, .family = 4), "IP protocol" },
    { RULE(.kind = COLO_PACKET_ICMP, .family = 6), "IP version" },
    { RULE(.kind = COLO_PACKET_ICMP6, .family = 4), "IP version" },
    { RULE(.kind = COLO_PACKET_ARP, .has_ethertype = true,
           .ethertype = 0x806), "'other'" },
    { RULE(.kind = COLO_RULE_ANY_KIND, .has_ethertype = true,
           .ethertype = 0x88cc), "'other'" },
    { RULE(.kind = COLO_PACKET_OPAQUE, .has_ethertype = true,
           .ethertype = 0x5ff), "0x600" },
    { RULE(.kind = COLO_PACKET_TCP, .has_vlan = true, .vlan = 4095),
      "4094" },
};

static void test_problems(void)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(rules); i++) {
        const char *problem = colo_rule_problem(&rules[i].rule);

        if (!rules[i].problem) {
            g_assert_cmpstr(problem, ==, NULL);
        } else if (!problem || !strstr(problem, rules[i].problem)) {
            g_error("rule %u: %s instead of something with '%s'", i,
                    problem ? problem : "no problem", rules[i].problem);
        }
    }
}

static void test_endless_name(void)
{
    ColoRule r = { .kind = COLO_RULE_ANY_KIND };

    memset(r.name, 'n', sizeof(r.name));
    g_assert_nonnull(colo_rule_problem(&r));
    r.name[COLO_RULE_NAME_MAX_BYTES] = '\0';
    g_assert_null(colo_rule_problem(&r));
}

/* -------------------------------------------------------------- matching */

static ColoPacket packet(ColoPacketKind kind, const char *dst,
                         uint16_t src_port, uint16_t dst_port)
{
    ColoPacket p = {
        .kind = kind, .src_port = src_port, .dst_port = dst_port,
        .ethertype = 0x800, .src = { 192, 0, 2, 1 },
    };
    ColoRule r;

    g_assert_true(colo_rule_set_prefix(&r, dst));
    p.family = r.family;
    memcpy(p.dst, r.prefix, sizeof(p.dst));
    return p;
}

/* The guest's own port is 22, the other end's 40000. */
static void test_direction(void)
{
    static const struct {
        ColoRuleDirection direction;
        uint16_t port;
        bool matches;
    } cases[] = {
        { COLO_RULE_BOTH, 22, true }, { COLO_RULE_BOTH, 40000, true },
        { COLO_RULE_BOTH, 23, false }, { COLO_RULE_INBOUND, 22, true },
        { COLO_RULE_INBOUND, 40000, false },
        { COLO_RULE_OUTBOUND, 22, false },
        { COLO_RULE_OUTBOUND, 40000, true },
    };
    unsigned i, kind;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (kind = 0; kind < COLO_PACKET__MAX; kind++) {
            ColoPacket p = packet(kind, "10.0.0.9", 22, 40000);
            ColoRule r = {
                .kind = COLO_RULE_ANY_KIND, .has_port = true,
                .port = cases[i].port, .direction = cases[i].direction,
            };
            bool has_port = kind == COLO_PACKET_TCP || kind == COLO_PACKET_UDP;

            g_assert_cmpint(colo_rule_matches(&r, &p), ==,
                            cases[i].matches && has_port);
        }
    }
}

static void test_kind(void)
{
    unsigned kind, other;

    for (kind = 0; kind <= COLO_RULE_ANY_KIND; kind++) {
        const ColoRule r = { .kind = kind };

        for (other = 0; other < COLO_PACKET__MAX; other++) {
            ColoPacket p = packet(other, "::1", 1, 2);

            g_assert_cmpint(colo_rule_matches(&r, &p), ==,
                            kind == other || kind == COLO_RULE_ANY_KIND);
        }
    }
}

static void test_prefix_match(void)
{
    static const struct {
        const char *prefix, *address;
        bool matches;
    } cases[] = {
        { "10.0.0.0/8", "10.255.3.4", true },
        { "10.0.0.0/8", "192.0.2.1", false },
        { "10.128.0.0/9", "10.128.0.1", true },
        { "10.128.0.0/9", "10.127.255.255", false },
        { "192.0.2.6/31", "192.0.2.7", true },
        { "192.0.2.6/31", "192.0.2.8", false },
        { "192.0.2.7", "192.0.2.7", true },
        { "192.0.2.7", "192.0.2.6", false },
        { "0.0.0.0/0", "255.255.255.255", true },
        { "0.0.0.0/0", "::1", false }, { "::/0", "10.0.0.1", false },
        { "::/0", "ffff::", true },
        { "2001:db8::/33", "2001:db8:7fff::1", true },
        { "2001:db8::/33", "2001:db8:8000::1", false },
        { "fe80::1", "fe80::1", true }, { "fe80::1", "fe80::", false },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        ColoPacket p = packet(COLO_PACKET_UDP, cases[i].address, 1, 2);
        ColoRule r = { .kind = COLO_PACKET_UDP };

        g_assert_true(colo_rule_set_prefix(&r, cases[i].prefix));
        g_assert_cmpint(colo_rule_matches(&r, &p), ==, cases[i].matches);
    }
}

static void test_layer2(void)
{
    const ColoRule lldp = { .kind = COLO_PACKET_OPAQUE, .has_ethertype = true,
                            .ethertype = 0x88cc };
    const ColoRule vlan = { .kind = COLO_RULE_ANY_KIND, .has_vlan = true,
                            .vlan = 7 };
    const ColoRule untagged = { .kind = COLO_RULE_ANY_KIND, .has_vlan = true,
                                .vlan = 0 };
    ColoPacket p = { .kind = COLO_PACKET_OPAQUE, .ethertype = 0x88cc };

    g_assert_true(colo_rule_matches(&lldp, &p));
    p.ethertype++;
    g_assert_false(colo_rule_matches(&lldp, &p));
    g_assert_false(colo_rule_matches(&vlan, &p));
    g_assert_false(colo_rule_matches(&untagged, &p));
    p.tag_count = 2;
    p.tags[1] = 7;
    g_assert_false(colo_rule_matches(&vlan, &p));
    g_assert_true(colo_rule_matches(&untagged, &p));
    p.tags[0] = 7;
    p.tags[1] = 8;
    g_assert_true(colo_rule_matches(&vlan, &p));
}

static void test_find(void)
{
    const ColoRule list[] = {
        { .kind = COLO_PACKET_TCP, .has_port = true, .port = 5 },
        { .kind = COLO_PACKET_TCP },
        { .kind = COLO_RULE_ANY_KIND },
    };
    ColoPacket p = packet(COLO_PACKET_TCP, "10.0.0.1", 5, 6);

    g_assert_cmpint(colo_rules_find(list, 3, &p), ==, 0);
    p.src_port = 4;
    g_assert_cmpint(colo_rules_find(list, 3, &p), ==, 1);
    g_assert_cmpint(colo_rules_find(list, 1, &p), ==, -1);
    p.kind = COLO_PACKET_ARP;
    g_assert_cmpint(colo_rules_find(list, 3, &p), ==, 2);
    g_assert_cmpint(colo_rules_find(NULL, 0, &p), ==, -1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rules/prefix/good", test_prefix_good);
    g_test_add_func("/rules/prefix/bad", test_prefix_bad);
    g_test_add_func("/rules/problems", test_problems);
    g_test_add_func("/rules/name", test_endless_name);
    g_test_add_func("/rules/direction", test_direction);
    g_test_add_func("/rules/kind", test_kind);
    g_test_add_func("/rules/prefix/match", test_prefix_match);
    g_test_add_func("/rules/layer2", test_layer2);
    g_test_add_func("/rules/find", test_find);
    return g_test_run();
}
