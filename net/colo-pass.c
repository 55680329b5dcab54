/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: pass-through rules by QMP.
 *
 * A rule belongs to one colo-compare object and has a name there. What a rule
 * means and which frames it matches is the core's (colo/rules.h).
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colo-net.h"
#include "qemu/cutils.h"
#include "qemu/lockable.h"
#include "net/colo-compare-unit.h"

static CompareUnit *find_unit(const char *id, Error **errp)
{
    CompareUnit *u = compare_unit_find(id);

    if (!u) {
        error_setg(errp, "There is no colo-compare object '%s'", id);
    }
    return u;
}

static int find_rule(const CompareUnit *u, const char *name)
{
    for (guint i = 0; i < u->rules->len; i++) {
        if (g_str_equal(g_array_index(u->rules, ColoRule, i).name, name)) {
            return i;
        }
    }
    return -1;
}

static const uint8_t kinds[] = {
    [COLO_PASS_PROTOCOL_ANY] = COLO_RULE_ANY_KIND,
    [COLO_PASS_PROTOCOL_TCP] = COLO_PACKET_TCP,
    [COLO_PASS_PROTOCOL_UDP] = COLO_PACKET_UDP,
    [COLO_PASS_PROTOCOL_ICMP] = COLO_PACKET_ICMP,
    [COLO_PASS_PROTOCOL_ICMP6] = COLO_PACKET_ICMP6,
    [COLO_PASS_PROTOCOL_ARP] = COLO_PACKET_ARP,
    [COLO_PASS_PROTOCOL_IP] = COLO_PACKET_IP,
    [COLO_PASS_PROTOCOL_OTHER] = COLO_PACKET_OPAQUE,
};

static const uint8_t directions[] = {
    [COLO_PASS_DIRECTION_BOTH] = COLO_RULE_BOTH,
    [COLO_PASS_DIRECTION_INBOUND] = COLO_RULE_INBOUND,
    [COLO_PASS_DIRECTION_OUTBOUND] = COLO_RULE_OUTBOUND,
};

static bool make_rule(const ColoPassRule *in, ColoRule *rule, Error **errp)
{
    const char *problem;

    *rule = (ColoRule) { .kind = COLO_RULE_ANY_KIND };
    if (!in->name[0] || strlen(in->name) > COLO_RULE_NAME_MAX_BYTES) {
        error_setg(errp, "'name' must have 1 to %d characters",
                   COLO_RULE_NAME_MAX_BYTES);
        return false;
    }
    pstrcpy(rule->name, sizeof(rule->name), in->name);
    if (in->has_protocol) {
        rule->kind = kinds[in->protocol];
    }
    if (in->has_direction) {
        rule->direction = directions[in->direction];
    }
    if (in->prefix && !colo_rule_set_prefix(rule, in->prefix)) {
        error_setg(errp, "'prefix': '%s' is no address and no prefix like "
                   "10.0.0.0/8 or 2001:db8::/32", in->prefix);
        return false;
    }
    rule->has_port = in->has_port;
    rule->port = in->port;
    rule->has_ethertype = in->has_ethertype;
    rule->ethertype = in->ethertype;
    rule->has_vlan = in->has_vlan;
    rule->vlan = in->vlan;
    problem = colo_rule_problem(rule);
    if (problem) {
        error_setg(errp, "rule '%s': %s", in->name, problem);
    }
    return !problem;
}

void qmp_colo_pass_add(const char *compare, ColoPassRule *in, Error **errp)
{
    CompareUnit *u = find_unit(compare, errp);
    ColoRule rule;

    if (!u || !make_rule(in, &rule, errp)) {
        return;
    }
    if (find_rule(u, rule.name) >= 0) {
        error_setg(errp, "'%s' has a rule '%s' already", compare, rule.name);
    } else if (u->rules->len == COLO_RULES_MAX) {
        error_setg(errp, "'%s' has %d rules, which is the most", compare,
                   COLO_RULES_MAX);
    } else {
        g_array_append_val(u->rules, rule);
        compare_unit_set_rules(u);
    }
}

void qmp_colo_pass_remove(const char *compare, const char *name, Error **errp)
{
    CompareUnit *u = find_unit(compare, errp);
    int i = u ? find_rule(u, name) : -1;

    if (u && i < 0) {
        error_setg(errp, "'%s' has no rule '%s'", compare, name);
    } else if (u) {
        g_array_remove_index(u->rules, i);
        compare_unit_set_rules(u);
    }
}

static char *prefix_text(const ColoRule *r)
{
    char text[INET6_ADDRSTRLEN];

    inet_ntop(r->family == 4 ? AF_INET : AF_INET6, r->prefix, text,
              sizeof(text));
    return g_strdup_printf("%s/%d", text, r->prefix_bits);
}

static uint8_t find_index(const uint8_t *table, size_t count, uint8_t value)
{
    size_t i = 0;

    while (i < count - 1 && table[i] != value) {
        i++;
    }
    return i;
}

static ColoPassRule *show_rule(const ColoRule *r)
{
    ColoPassRule *out = g_new0(ColoPassRule, 1);

    out->name = g_strdup(r->name);
    out->has_protocol = out->has_direction = true;
    out->protocol = find_index(kinds, ARRAY_SIZE(kinds), r->kind);
    out->direction = find_index(directions, ARRAY_SIZE(directions),
                                r->direction);
    out->prefix = r->family ? prefix_text(r) : NULL;
    out->has_port = r->has_port;
    out->port = r->port;
    out->has_ethertype = r->has_ethertype;
    out->ethertype = r->ethertype;
    out->has_vlan = r->has_vlan;
    out->vlan = r->vlan;
    return out;
}

ColoPassInfoList *qmp_query_colo_pass(const char *compare, Error **errp)
{
    CompareUnit *u = find_unit(compare, errp);
    ColoPassInfoList *list = NULL;
    ColoPassInfoList **tail = &list;

    for (guint i = 0; u && i < u->rules->len; i++) {
        ColoPassInfo *info = g_new0(ColoPassInfo, 1);

        info->rule = show_rule(&g_array_index(u->rules, ColoRule, i));
        WITH_QEMU_LOCK_GUARD(&u->lock) {
            info->frames = colo_compare_rule_frames(u->core, i);
        }
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}
