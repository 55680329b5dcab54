/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the table of the rewriter: by VLAN, addresses and ports.
 *
 * Half-open and ended flows are on a list in the order of their last frame;
 * they are forgotten after linger_us, or sooner for want of room. All have
 * the same time to linger, so the head of the list is the next to go and
 * nothing is ever searched. Live flows are on no list and are never forgotten
 * but by reset() and import().
 */
#include "rewrite-int.h"

enum { VLAN_ID_MAX = 4095 };

/* ------------------------------------------------------------- the table */

ColoRewrite *colo_rewrite_new(uint32_t flows_max, int64_t linger_us)
{
    ColoRewrite *r = g_new0(ColoRewrite, 1);

    r->flows = colo_tcp_key_table(g_free);
    g_queue_init(&r->passing);
    r->flows_max = flows_max;
    r->linger_us = linger_us;
    return r;
}

void colo_rewrite_free(ColoRewrite *r)
{
    if (r) {
        g_hash_table_destroy(r->flows);
        g_free(r);
    }
}

static bool has_ended(const Flow *flow)
{
    return flow->rst || (flow->guest_fin && flow->client_fin);
}

static void unlist(ColoRewrite *r, Flow *flow)
{
    if (flow->listed) {
        g_queue_unlink(&r->passing, &flow->link);
        flow->listed = false;
    }
}

void colo_rewrite_drop(ColoRewrite *r, Flow *flow)
{
    unlist(r, flow);
    g_hash_table_remove(r->flows, &flow->key);
}

void colo_rewrite_touch(ColoRewrite *r, Flow *flow, int64_t now_us)
{
    unlist(r, flow);
    flow->last_us = now_us;
    if (flow->state != FLOW_LEARNED || has_ended(flow)) {
        flow->link.data = flow;
        g_queue_push_tail_link(&r->passing, &flow->link);
        flow->listed = true;
    }
}

Flow *colo_rewrite_find(const ColoRewrite *r, const ColoTcpKey *key)
{
    return g_hash_table_lookup(r->flows, key);
}

Flow *colo_rewrite_add(ColoRewrite *r, const ColoTcpKey *key)
{
    Flow *flow;

    if (g_hash_table_size(r->flows) >= r->flows_max) {
        Flow *oldest = g_queue_peek_head(&r->passing);

        if (!oldest) {
            r->stats.refused_flows++;
            return NULL;
        }
        r->stats.evicted_flows++;
        colo_rewrite_drop(r, oldest);
    }
    flow = g_new0(Flow, 1);
    flow->key = *key;
    g_hash_table_insert(r->flows, &flow->key, flow);
    return flow;
}

void colo_rewrite_reset(ColoRewrite *r)
{
    g_queue_init(&r->passing);
    g_hash_table_remove_all(r->flows);
}

void colo_rewrite_tick(ColoRewrite *r, int64_t now_us)
{
    Flow *oldest;

    while ((oldest = g_queue_peek_head(&r->passing)) &&
           now_us - oldest->last_us >= r->linger_us) {
        colo_rewrite_drop(r, oldest);
    }
}

void colo_rewrite_set_learning(ColoRewrite *r, bool on)
{
    r->learning = on;
}

void colo_rewrite_survive(ColoRewrite *r)
{
    GHashTableIter iter;
    gpointer value;

    r->learning = false;
    g_hash_table_iter_init(&iter, r->flows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Flow *flow = value;

        if (flow->state == FLOW_LEARNED && !flow_has_difference(flow)) {
            unlist(r, flow);
            g_hash_table_iter_remove(&iter);
        }
    }
}

void colo_rewrite_get_stats(const ColoRewrite *r, ColoRewriteStats *out)
{
    *out = r->stats;
    out->flows = g_hash_table_size(r->flows);
}

/* ----------------------------------------------- travel with a checkpoint */

uint32_t colo_rewrite_export_count(const ColoRewrite *r)
{
    GHashTableIter iter;
    gpointer value;
    uint32_t count = 0;

    g_hash_table_iter_init(&iter, r->flows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        count += flow_has_difference(value);
    }
    return count;
}

static void export_one(const Flow *flow, ColoRewriteFlow *out)
{
    *out = (ColoRewriteFlow) {
        .family = flow->key.family,
        .tag_count = flow->key.tag_count,
        .ended = has_ended(flow),
        .guest_port = flow->key.guest_port,
        .client_port = flow->key.client_port,
        .seq_delta = flow->seq_delta,
        .ts_delta = flow->ts_delta,
    };
    memcpy(out->tags, flow->key.tags, sizeof(out->tags));
    memcpy(out->guest, flow->key.guest, sizeof(out->guest));
    memcpy(out->client, flow->key.client, sizeof(out->client));
}

void colo_rewrite_export(const ColoRewrite *r, ColoRewriteFlow *out,
                         uint32_t *count)
{
    GHashTableIter iter;
    gpointer value;
    uint32_t done = 0;

    g_hash_table_iter_init(&iter, r->flows);
    while (done < *count && g_hash_table_iter_next(&iter, NULL, &value)) {
        if (flow_has_difference(value)) {
            export_one(value, &out[done++]);
        }
    }
    *count = done;
}

static bool tags_fit(const ColoRewriteFlow *in)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(in->tags); i++) {
        if (in->tags[i] > (i < in->tag_count ? VLAN_ID_MAX : 0)) {
            return false;
        }
    }
    return in->tag_count <= G_N_ELEMENTS(in->tags);
}

static bool address_fits(unsigned family, const uint8_t address[16])
{
    static const uint8_t zero[12];

    return family == 6 ||
           (family == 4 && memcmp(address + 4, zero, sizeof(zero)) == 0);
}

static Flow *import_one(const ColoRewriteFlow *in)
{
    Flow *flow;

    if (!tags_fit(in) || !address_fits(in->family, in->guest) ||
        !address_fits(in->family, in->client) ||
        (in->seq_delta == 0 && in->ts_delta == 0)) {
        return NULL;
    }
    flow = g_new0(Flow, 1);
    flow->state = FLOW_LEARNED;
    flow->guest_fin = flow->client_fin = in->ended;
    flow->seq_delta = in->seq_delta;
    flow->ts_delta = in->ts_delta;
    flow->key.family = in->family;
    flow->key.tag_count = in->tag_count;
    flow->key.guest_port = in->guest_port;
    flow->key.client_port = in->client_port;
    memcpy(flow->key.tags, in->tags, sizeof(in->tags));
    memcpy(flow->key.guest, in->guest, sizeof(in->guest));
    memcpy(flow->key.client, in->client, sizeof(in->client));
    return flow;
}

bool colo_rewrite_import(ColoRewrite *r, const ColoRewriteFlow *in,
                         uint32_t count, int64_t now_us)
{
    GHashTable *flows;
    GHashTableIter iter;
    gpointer value;
    uint32_t i;

    if (count > r->flows_max) {
        return false;
    }
    flows = colo_tcp_key_table(g_free);
    for (i = 0; i < count; i++) {
        Flow *flow = import_one(&in[i]);

        if (!flow || !g_hash_table_replace(flows, &flow->key, flow)) {
            g_hash_table_destroy(flows);
            return false;
        }
    }
    colo_rewrite_reset(r);
    g_hash_table_destroy(r->flows);
    r->flows = flows;
    g_hash_table_iter_init(&iter, flows);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        colo_rewrite_touch(r, value, now_us);
    }
    return true;
}
