/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: which flow a frame belongs to, and when a flow is forgotten.
 *
 * The table has one entry for each flow, bounded. Entries are in one of two
 * lists by last use, open and closed ones, so that those to forget are at
 * the ends. What a flow needs only while something waits in it is apart
 * (ColoLive), so that an idle one is small.
 *
 * A cut makes the secondary what the primary is, for all flows at once. Flows
 * with something waiting are known; the rest learn of it at their next use,
 * by the number of the epoch they carry.
 */
#include <arpa/inet.h>
#include <xxhash.h>
#include "compare-int.h"

enum { USE_STEP_US = 1000000 };

/* ---------------------------------------------------------------- keys */

static uint16_t icmp_id(const ColoPacket *p, const uint8_t *eth)
{
    enum { ECHO_REPLY = 0, ECHO = 8, ECHO6 = 128, ECHO6_REPLY = 129 };
    const uint8_t *h = eth + p->l4;
    bool echo = p->kind == COLO_PACKET_ICMP
                ? h[0] == ECHO || h[0] == ECHO_REPLY
                : h[0] == ECHO6 || h[0] == ECHO6_REPLY;

    return echo && p->payload_bytes >= 8 ? h[4] << 8 | h[5] : 0;
}

/* Operation and protocol addresses (RFC 826): who asks, and about whom. */
static void arp_key(const uint8_t *h, ColoFlowKey *key)
{
    enum { FIXED_BYTES = 8, ADDRESS_MAX_BYTES = 16 };
    uint8_t hardware = h[4], protocol = MIN(h[5], ADDRESS_MAX_BYTES);

    key->src_port = h[6] << 8 | h[7];
    memcpy(key->src, h + FIXED_BYTES + hardware, protocol);
    memcpy(key->dst, h + FIXED_BYTES + 2 * hardware + h[5], protocol);
}

void colo_flow_key(const ColoPacket *p, const uint8_t *eth, ColoFlowKey *key)
{
    memset(key, 0, sizeof(*key));
    key->kind = p->kind;
    key->ethertype = p->ethertype;
    key->tags[0] = p->tags[0];
    key->tags[1] = p->tags[1];
    memcpy(key->src, p->src, sizeof(key->src));
    memcpy(key->dst, p->dst, sizeof(key->dst));
    key->proto = p->ip_proto;
    switch (p->kind) {
    case COLO_PACKET_TCP:
    case COLO_PACKET_UDP:
        key->src_port = p->src_port;
        key->dst_port = p->dst_port;
        break;
    case COLO_PACKET_ICMP:
    case COLO_PACKET_ICMP6:
        key->src_port = eth[p->l4];
        key->dst_port = icmp_id(p, eth);
        break;
    case COLO_PACKET_ARP:
        arp_key(eth + p->l3, key);
        break;
    case COLO_PACKET_OPAQUE:
        if (p->ethertype) {     /* so there are addresses before it */
            memcpy(key->dst, eth, 6);
        }
        break;
    default:
        break;
    }
}

static guint hash_key(gconstpointer key)
{
    return XXH3_64bits(key, sizeof(ColoFlowKey));
}

static gboolean equal_keys(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(ColoFlowKey)) == 0;
}

void colo_flow_describe(const ColoFlow *flow, char *text, size_t size)
{
    const ColoFlowKey *k = &flow->key;
    int family = k->ethertype == 0x86dd ? AF_INET6 : AF_INET;
    char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];

    if (k->kind == COLO_PACKET_OPAQUE || k->kind == COLO_PACKET_ARP) {
        g_snprintf(text, size, "%s ethertype %04x",
                   colo_packet_kind_name(k->kind), k->ethertype);
        return;
    }
    inet_ntop(family, k->src, src, sizeof(src));
    inet_ntop(family, k->dst, dst, sizeof(dst));
    g_snprintf(text, size, "%s %s:%u -> %s:%u",
               colo_packet_kind_name(k->kind), src, k->src_port, dst,
               k->dst_port);
}

/* --------------------------------------------------------------- lists */

static ColoFlowList *list_of(ColoCompare *c, const ColoFlow *flow)
{
    return flow->closed ? &c->closed : &c->open;
}

static void list_remove(ColoCompare *c, ColoFlow *flow)
{
    ColoFlowList *list = list_of(c, flow);

    if (flow->newer) {
        flow->newer->older = flow->older;
    } else {
        list->newest = flow->older;
    }
    if (flow->older) {
        flow->older->newer = flow->newer;
    } else {
        list->oldest = flow->newer;
    }
}

static void list_add(ColoCompare *c, ColoFlow *flow)
{
    ColoFlowList *list = list_of(c, flow);

    flow->newer = NULL;
    flow->older = list->newest;
    if (list->newest) {
        list->newest->newer = flow;
    } else {
        list->oldest = flow;
    }
    list->newest = flow;
}

static void set_closed(ColoCompare *c, ColoFlow *flow, bool closed)
{
    if (flow->closed != closed) {
        list_remove(c, flow);
        flow->closed = closed;
        list_add(c, flow);
    }
}

void colo_flow_close(ColoCompare *c, ColoFlow *flow)
{
    set_closed(c, flow, true);
}

void colo_flow_reopen(ColoCompare *c, ColoFlow *flow)
{
    set_closed(c, flow, false);
}

void colo_flow_after_gap(ColoCompare *c, ColoFlow *flow)
{
    if (colo_in_gap(c) && !flow->diverged &&
        flow->key.kind != COLO_PACKET_TCP && flow->live &&
        flow->live->primary) {
        colo_diverge(c, flow, COLO_VERDICT_TIMEOUT, 0, NULL, 0, NULL, 0);
    }
}

static void use(ColoCompare *c, ColoFlow *flow)
{
    if (c->now_us - flow->used_us >= USE_STEP_US) {
        flow->used_us = c->now_us;
        list_remove(c, flow);
        list_add(c, flow);
    }
}

/* --------------------------------------------------------------- table */

static void settle(ColoCompare *c, ColoFlow *flow)
{
    if (flow->epoch != c->epoch) {
        flow->epoch = c->epoch;
        flow->diverged = false;
        if (flow->key.kind == COLO_PACKET_TCP) {
            colo_tcp_ops.settle(flow);
        }
    }
}

static ColoFlow *make(ColoCompare *c, const ColoFlowKey *key)
{
    ColoFlow *flow;

    /* Once full it stays so until the cut: a flow that began outside must not
     * go on inside. */
    c->table_full |= g_hash_table_size(c->table) >= c->limits.flows;
    if (c->table_full) {
        return NULL;
    }
    flow = g_new0(ColoFlow, 1);
    flow->key = *key;
    flow->used_us = c->now_us;
    flow->epoch = c->epoch;
    flow->rule = -1;
    flow->rules_generation = c->rules_generation - 1;
    list_add(c, flow);
    g_hash_table_insert(c->table, &flow->key, flow);
    c->stats.flows = g_hash_table_size(c->table);
    c->stats.flows_peak = MAX(c->stats.flows_peak, c->stats.flows);
    return flow;
}

/* What is held of a flow that a rule now lets pass may leave. */
static void pass_held(ColoCompare *c, ColoFlow *flow)
{
    ColoLive *live = flow->live;
    ColoItem *item;

    if (!live) {
        return;
    }
    while ((item = colo_queue_take(&live->primary, &live->primary_end))) {
        colo_item_pass(c, item, flow->rule);
    }
    if (live->ack) {
        colo_item_pass(c, g_steal_pointer(&live->ack), flow->rule);
    }
    colo_live_free(c, live);
}

/* Nobody has compared what it sent: it begins anew, at a cut. */
static void stop_passing(ColoCompare *c, ColoFlow *flow)
{
    flow->tcp = (ColoTcpFlow) {};
    if (c->rules_epoch == c->epoch) {
        colo_diverge(c, flow, COLO_VERDICT_TIMEOUT, 0, NULL, 0, NULL, 0);
    }
}

static void apply_rules(ColoCompare *c, ColoFlow *flow, const ColoPacket *p)
{
    bool passed = flow->rule >= 0;

    if (flow->rules_generation == c->rules_generation) {
        return;
    }
    flow->rules_generation = c->rules_generation;
    flow->rule = colo_rules_find(c->rules, c->rules_count, p);
    if (flow->rule >= 0) {
        pass_held(c, flow);
    } else if (passed) {
        stop_passing(c, flow);
    }
}

void colo_flows_apply_rules(ColoCompare *c)
{
    ColoLive *live = c->alive;

    while (live) {
        ColoLive *next = live->next;
        const ColoItem *item = live->primary ? live->primary : live->ack;

        if (item) {
            apply_rules(c, live->flow, &item->view);
        }
        live = next;
    }
}

ColoFlow *colo_flow_get(ColoCompare *c, const ColoFlowKey *key,
                        const ColoPacket *p, bool primary)
{
    ColoFlow **last = primary ? &c->last_primary : &c->last_secondary;
    ColoFlow *twin = primary ? c->last_secondary : c->last_primary;
    ColoFlow *flow = *last;

    if (!flow || !equal_keys(&flow->key, key)) {
        flow = twin && equal_keys(&twin->key, key)
               ? twin : g_hash_table_lookup(c->table, key);
        if (!flow) {
            flow = make(c, key);
        }
        if (!flow) {
            return NULL;
        }
        *last = flow;
    }
    settle(c, flow);
    apply_rules(c, flow, p);
    use(c, flow);
    return flow;
}

/* ---------------------------------------------------------------- live */

ColoLive *colo_flow_live(ColoCompare *c, ColoFlow *flow)
{
    ColoLive *live = flow->live;

    if (!live) {
        live = colo_spare_take(&c->spare_lives, sizeof(*live));
        *live = (ColoLive) {};
        live->primary_end = &live->primary;
        live->secondary_end = &live->secondary;
        live->later_end = &live->later;
        live->flow = flow;
        live->next = c->alive;
        if (c->alive) {
            c->alive->prev = live;
        }
        c->alive = live;
        flow->live = live;
    }
    return live;
}

void colo_queue_push(ColoItem ***end, ColoItem *item)
{
    item->next = NULL;
    **end = item;
    *end = &item->next;
}

ColoItem *colo_queue_take(ColoItem **previous, ColoItem ***end)
{
    ColoItem *item = *previous;

    if (item) {
        *previous = item->next;
        if (!item->next) {
            *end = previous;
        }
        item->next = NULL;
    }
    return item;
}

static void free_queue(ColoCompare *c, ColoItem **queue, ColoItem ***end)
{
    ColoItem *item;

    while ((item = colo_queue_take(queue, end))) {
        colo_item_free(c, item);
    }
}

void colo_live_free(ColoCompare *c, ColoLive *live)
{
    g_assert(!live->primary && !live->ack);
    free_queue(c, &live->secondary, &live->secondary_end);
    free_queue(c, &live->later, &live->later_end);
    colo_item_free(c, live->s_syn);
    if (live->prev) {
        live->prev->next = live->next;
    } else {
        c->alive = live->next;
    }
    if (live->next) {
        live->next->prev = live->prev;
    }
    live->flow->live = NULL;
    colo_spare_give(&c->spare_lives, live);
}

void colo_live_done(ColoCompare *c, ColoFlow *flow)
{
    ColoLive *live = flow->live;

    if (live && !live->primary && !live->secondary && !live->later &&
        !live->ack && !live->s_rst && !live->s_syn) {
        colo_live_free(c, live);
    }
}

/* ------------------------------------------------------------- forgetting */

static void forget(ColoCompare *c, ColoFlow *flow)
{
    if (c->last_primary == flow) {
        c->last_primary = NULL;
    }
    if (c->last_secondary == flow) {
        c->last_secondary = NULL;
    }
    if (flow->live) {
        colo_live_free(c, flow->live);
    }
    list_remove(c, flow);
    g_hash_table_remove(c->table, &flow->key);
    g_free(flow);
    c->stats.flows = g_hash_table_size(c->table);
}

static void expire_list(ColoCompare *c, ColoFlowList *list, int64_t idle_us)
{
    ColoFlow *flow = list->oldest;

    while (flow && c->now_us - flow->used_us >= idle_us) {
        ColoFlow *newer = flow->newer;

        if (!flow->live) {
            forget(c, flow);
        }
        flow = newer;
    }
}

void colo_flows_expire(ColoCompare *c)
{
    expire_list(c, &c->open, c->limits.flow_idle_us);
    expire_list(c, &c->closed, c->limits.closed_idle_us);
}

void colo_flows_clear(ColoCompare *c)
{
    c->last_primary = c->last_secondary = NULL;
    if (!c->table) {
        c->table = g_hash_table_new(hash_key, equal_keys);
        return;
    }
    while (c->open.oldest) {
        forget(c, c->open.oldest);
    }
    while (c->closed.oldest) {
        forget(c, c->closed.oldest);
    }
}

size_t colo_compare_flow_bytes(void)
{
    enum { MALLOC_BYTES = 16, SLOT_BYTES = 2 * sizeof(void *) + 4 };

    /* GHashTable is between a quarter and nearly full. */
    return sizeof(ColoFlow) + MALLOC_BYTES + 4 * SLOT_BYTES / 2;
}
