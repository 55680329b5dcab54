/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: compares what two guests send and says what may leave.
 *
 * This file keeps the rule that is the same for every protocol: who may leave
 * when. A frame of the primary takes one of these ways:
 *
 *   waiting   its epoch is not released: it is looked at later
 *   held      an item, in the list of all that is held and (mostly) in a flow
 *   batches   a cut came: it is before it, and leaves with release()
 *   output    it may leave
 *
 * Only these put a frame into output: colo_item_release() and
 * colo_frame_leave(), called by protocols for what both sides have, and
 * release_batches(); colo_item_pass() and the mode PASS. In mode BUFFER the
 * first two do not: what is proven stays held until the cut.
 *
 * Protocols (an ops table by kind of flow) decide what matches what.
 */
#include "compare-int.h"

enum { EXPIRY_STEP_US = 1000000 };

void colo_compare_limits_init(ColoCompareLimits *l)
{
    *l = (ColoCompareLimits) {
        .hold_us = 3000000,
        .split_us = 1000,
        .flow_idle_us = 300000000,
        .closed_idle_us = 10000000,
        .flows = 65536,
        .queue_frames = 1024,
        .held_bytes = 64 << 20,
    };
}

/* ------------------------------------------------------ lists of frames */

static void append(ColoNetFrame ***end, ColoNetFrame *f)
{
    **end = f;
    while (f) {
        *end = &f->next;
        f = f->next;
    }
}

static ColoNetFrame *take_all(ColoNetFrame **list, ColoNetFrame ***end)
{
    ColoNetFrame *all = *list;

    *list = NULL;
    *end = list;
    return all;
}

/* -------------------------------------------------------------- items */

static void let_go(ColoCompare *c, ColoItem *item)
{
    colo_item_unhold(c, item);
    append(&c->output_end, take_all(&item->frames, &item->frames_end));
    colo_item_free(c, item);
}

void colo_frame_leave(ColoCompare *c, ColoNetFrame *f)
{
    if (colo_keeps_all(c)) {
        colo_net_frame_free(f);
    } else {
        c->stats.made_frames++;
        append(&c->output_end, f);
    }
}

void colo_item_release(ColoCompare *c, ColoItem *item)
{
    if (!colo_keeps_all(c)) {
        *(item->made ? &c->stats.made_frames : &c->stats.matched_frames) +=
            item->count;
        let_go(c, item);
    }
}

void colo_item_pass(ColoCompare *c, ColoItem *item, unsigned rule)
{
    if (!item->made) {
        c->stats.passed_frames += item->count;
        c->rule_frames[rule] += item->count;
    }
    let_go(c, item);
}

void colo_item_merge(ColoCompare *c, ColoItem *item)
{
    colo_item_unhold(c, item);
    c->stats.merged_frames += item->made ? 0 : item->count;
    colo_item_free(c, item);
}

/* ---------------------------------------------------------------- asks */

void colo_ask(ColoCompare *c, ColoVerdict verdict)
{
    uint32_t bit = 1u << colo_verdict_reason(verdict);

    c->stats.verdicts[verdict]++;
    if (!(c->asked & bit)) {
        c->asked |= bit;
        c->asks |= bit;
        c->stats.asked_checkpoints++;
    }
}

static unsigned sample(uint8_t *to, const uint8_t *from, size_t bytes)
{
    unsigned count = MIN(bytes, sizeof(((ColoDifference *)NULL)->primary));

    if (count) {
        memcpy(to, from, count);
    }
    return count;
}

void colo_diverge(ColoCompare *c, ColoFlow *flow, ColoVerdict verdict,
                  uint64_t offset, const uint8_t *p, size_t p_bytes,
                  const uint8_t *s, size_t s_bytes)
{
    ColoDifference *d = &c->difference;

    flow->diverged = true;
    colo_flow_describe(flow, c->flow_text, sizeof(c->flow_text));
    *d = (ColoDifference) {
        .verdict = verdict,
        .flow = c->flow_text,
        .offset = offset,
    };
    d->primary_count = sample(d->primary, p, p_bytes);
    d->secondary_count = sample(d->secondary, s, s_bytes);
    c->has_difference = true;
    colo_ask(c, verdict);
}

/* ----------------------------------------------------- frames come in */

static const ColoFlowOps *ops_of(const ColoFlowKey *key)
{
    return key->kind == COLO_PACKET_TCP ? &colo_tcp_ops : &colo_datagram_ops;
}

static void give_primary(ColoCompare *c, ColoItem *item,
                         const ColoFlowKey *key)
{
    ColoFlow *flow = colo_flow_get(c, key, &item->view, true);
    int rule = flow ? flow->rule
                    : colo_rules_find(c->rules, c->rules_count, &item->view);

    if (!flow) {
        colo_ask(c, COLO_VERDICT_FLOWS);
    }
    if (rule >= 0) {
        colo_item_pass(c, item, rule);
    }
    if (rule >= 0 || !flow) {
        return;                /* without a flow it is held until the cut */
    }
    if (flow->live && flow->live->primary_count >= c->limits.queue_frames) {
        colo_ask(c, COLO_VERDICT_QUEUE);
    }
    ops_of(key)->primary(c, flow, item);
}

/* With the key of its flow; NULL: a part of a datagram, more is to come. */
static ColoItem *make_item(ColoCompare *c, ColoNetFrame *f, bool primary,
                           ColoFlowKey *key)
{
    ColoItem *item = colo_item_blank(c);
    ColoPacket *p = &item->view;

    colo_packet_parse_frame(f, p);
    if (primary) {
        c->stats.rejects[p->reject]++;
    }
    if (p->kind == COLO_PACKET_FRAGMENT) {
        ColoPacket view = *p;

        colo_item_free(c, item);
        return colo_fragment(c, f, &view, primary, key);
    }
    colo_flow_key(p, colo_net_frame_eth(f), key);
    colo_item_begin(c, item, f, primary);
    return item;
}

static void look_at_primary(ColoCompare *c, ColoNetFrame *f)
{
    ColoFlowKey key;
    ColoItem *item = make_item(c, f, true, &key);

    if (item) {
        give_primary(c, item, &key);
    }
    if (colo_compare_full(c)) {
        colo_ask(c, COLO_VERDICT_QUEUE);
    }
}

static bool is_released(const ColoCompare *c)
{
    return c->released >= c->epoch;
}

void colo_compare_primary(ColoCompare *c, ColoNetFrame *f, int64_t now_us)
{
    c->now_us = now_us;
    f->next = NULL;
    c->stats.primary_frames++;
    c->stats.primary_bytes += f->size;
    if (c->mode == COLO_COMPARE_PASS) {
        c->stats.passed_frames++;
        append(&c->output_end, f);
    } else if (!is_released(c)) {
        colo_account_held(c, f, 1);
        append(&c->waiting_end, f);
    } else {
        look_at_primary(c, f);
    }
}

/* Without the @bytes that have just come. */
static bool is_secondary_full(const ColoCompare *c, const ColoFlow *flow,
                              uint32_t bytes)
{
    return c->stats.secondary_held_bytes - bytes > c->limits.held_bytes ||
           (flow->live &&
            flow->live->secondary_count >= c->limits.queue_frames);
}

static void look_at_secondary(ColoCompare *c, ColoNetFrame *f)
{
    ColoFlowKey key;
    ColoItem *item = make_item(c, f, false, &key);
    ColoFlow *flow;

    if (!item) {
        return;
    }
    flow = colo_flow_get(c, &key, &item->view, false);
    if (!flow) {
        colo_ask(c, COLO_VERDICT_FLOWS);
    }
    if (!flow || flow->rule >= 0 || flow->diverged) {
        colo_item_free(c, item);
        return;
    }
    if (is_secondary_full(c, flow, item->bytes)) {
        colo_item_free(c, item);
        colo_diverge(c, flow, COLO_VERDICT_QUEUE, 0, NULL, 0, NULL, 0);
        return;
    }
    ops_of(&key)->secondary(c, flow, item);
}

/* Of the secondary's present epoch. */
static void note_gap(ColoCompare *c)
{
    c->gap = true;
    c->gap_epoch = c->s_epoch;
}

static void park(ColoCompare *c, ColoNetFrame *f)
{
    ColoParked *parked;

    if (c->parked.length >= COLO_PARKED_MAX ||
        c->stats.secondary_held_bytes > c->limits.held_bytes) {
        colo_net_frame_free(f);
        note_gap(c);
        c->lost = true;
        return;
    }
    parked = g_new(ColoParked, 1);
    parked->frame = f;
    parked->epoch = c->s_epoch;
    colo_account_secondary(c, 1, f->size);
    g_queue_push_tail(&c->parked, parked);
}

void colo_compare_secondary(ColoCompare *c, ColoNetFrame *f, int64_t now_us)
{
    c->now_us = now_us;
    f->next = NULL;
    c->stats.secondary_frames++;
    c->stats.secondary_bytes += f->size;
    if (c->mode == COLO_COMPARE_PASS) {
        colo_net_frame_free(f);
    } else if (c->s_epoch < c->epoch) {
        c->stats.stale_frames++;
        colo_net_frame_free(f);
    } else if (c->s_epoch > c->epoch || !is_released(c)) {
        park(c, f);
    } else {
        look_at_secondary(c, f);
    }
}

/* -------------------------------------------------------------- epochs */

/*
 * Epochs rise while there is a pair. What is told in mode PASS is of the pair
 * to come, or the rest of what was on its way of the last one: the first that
 * is told behind it counts, whatever it is. True: @epoch is another.
 */
static bool told(ColoCompare *c, ColoTold what, uint64_t *epoch,
                 uint64_t value)
{
    bool fresh = c->fresh & what;

    if (c->mode != COLO_COMPARE_PASS) {
        c->fresh &= ~what;
    }
    if (fresh ? value == *epoch : value <= *epoch) {
        return false;
    }
    *epoch = value;
    return true;
}

static void look_at_waiting(ColoCompare *c)
{
    ColoNetFrame *f = take_all(&c->waiting, &c->waiting_end);

    while (f) {
        ColoNetFrame *next = f->next;

        f->next = NULL;
        colo_account_held(c, f, -1);
        look_at_primary(c, f);
        f = next;
    }
}

/* What was put off until this epoch is the released one. */
static void catch_up(ColoCompare *c)
{
    ColoParked *parked;

    if (c->lost && c->gap_epoch <= c->epoch) {
        c->lost = false;
        colo_ask(c, COLO_VERDICT_QUEUE);
    }
    look_at_waiting(c);
    while ((parked = g_queue_peek_head(&c->parked)) &&
           parked->epoch <= c->epoch) {
        g_queue_pop_head(&c->parked);
        colo_account_secondary(c, -1, -(int64_t)parked->frame->size);
        if (parked->epoch == c->epoch) {
            look_at_secondary(c, parked->frame);
        } else {
            c->stats.stale_frames++;
            colo_net_frame_free(parked->frame);
        }
        g_free(parked);
    }
}

static void release_batches(ColoCompare *c)
{
    ColoBatch *batch;

    while ((batch = g_queue_peek_head(&c->batches)) &&
           batch->epoch <= c->released) {
        g_queue_pop_head(&c->batches);
        colo_account_held(c, batch->frames, -1);
        c->stats.checkpoint_frames += batch->count;
        append(&c->output_end, batch->frames);
        g_free(batch);
    }
}

/* Every held frame, in order of arrival; @count of them are the primary's. */
static ColoNetFrame *gather(ColoCompare *c, uint64_t *count)
{
    ColoNetFrame *list = NULL;
    ColoNetFrame **end = &list;

    while (c->oldest) {
        ColoItem *item = c->oldest;

        *count += item->made ? 0 : item->count;
        colo_item_unhold(c, item);
        append(&end, take_all(&item->frames, &item->frames_end));
        colo_item_free(c, item);
    }
    return list;
}

static void forget_live(ColoCompare *c)
{
    while (c->alive) {
        ColoLive *live = c->alive;

        live->primary = NULL;
        live->primary_end = &live->primary;
        live->ack = NULL;
        colo_live_free(c, live);
    }
    colo_trains_clear(c);
    c->split_due_us = INT64_MAX;
}

void colo_compare_cut(ColoCompare *c, uint64_t epoch, int64_t now_us)
{
    uint64_t before = c->epoch, next = c->epoch;
    ColoBatch *batch;

    c->now_us = now_us;
    if (!told(c, COLO_TOLD_CUT, &next, epoch)) {
        return;
    }
    if (c->mode == COLO_COMPARE_PASS) {
        c->epoch = next;       /* nothing is held */
        return;
    }
    /* The flows have to know what the primary has sent; it does not leave. */
    c->cutting = true;
    look_at_waiting(c);
    c->cutting = false;
    batch = g_new0(ColoBatch, 1);
    batch->epoch = epoch;
    batch->frames = gather(c, &batch->count);
    colo_account_held(c, batch->frames, 1);
    forget_live(c);
    c->epoch = next;
    c->keep = false;
    c->asks = c->asked = 0;
    c->timeout_asked_us = 0;
    if (c->table_full || next < before) {
        colo_flows_clear(c);
        c->table_full = false;
    }
    g_queue_push_tail(&c->batches, batch);
    if (is_released(c)) {
        release_batches(c);
        catch_up(c);
    }
}

void colo_compare_release(ColoCompare *c, uint64_t epoch, int64_t now_us)
{
    c->now_us = now_us;
    if (epoch == UINT64_MAX) {
        epoch = c->epoch;      /* whatever was cut, and no more */
    }
    if (!told(c, COLO_TOLD_RELEASE, &c->released, epoch)) {
        return;
    }
    release_batches(c);
    if (is_released(c)) {
        catch_up(c);
    }
}

void colo_compare_secondary_epoch(ColoCompare *c, uint64_t epoch,
                                  int64_t now_us)
{
    c->now_us = now_us;
    told(c, COLO_TOLD_SECONDARY, &c->s_epoch, epoch);
}

/*
 * TCP finds its place by numbers and waits for what is missing. Of datagrams
 * nobody knows from here on which are twins: until the cut they are held.
 */
void colo_compare_secondary_gap(ColoCompare *c)
{
    ColoLive *live, *next;

    note_gap(c);
    for (live = c->alive; live; live = next) {
        next = live->next;
        colo_flow_after_gap(c, live->flow);
    }
}

/* --------------------------------------------------------------- modes */

static void release_everything(ColoCompare *c)
{
    c->released = MAX(c->released, c->epoch);
    release_batches(c);
    c->cutting = true;
    look_at_waiting(c);
    c->cutting = false;
    append(&c->output_end, gather(c, &c->stats.passed_frames));
    forget_live(c);
}

static void drop_parked(ColoCompare *c)
{
    ColoParked *parked;

    while ((parked = g_queue_pop_head(&c->parked))) {
        colo_account_secondary(c, -1, -(int64_t)parked->frame->size);
        colo_net_frame_free(parked->frame);
        g_free(parked);
    }
}

void colo_compare_set_mode(ColoCompare *c, ColoCompareMode mode,
                           int64_t now_us)
{
    ColoCompareMode before = c->mode;

    if (mode == before) {
        return;
    }
    c->now_us = now_us;
    c->mode = mode;
    if (mode == COLO_COMPARE_PASS) {
        release_everything(c);
        drop_parked(c);
        colo_flows_clear(c);
        c->epoch = c->released = c->s_epoch = 0;
        c->fresh = COLO_TOLD_ALL;
        c->asks = c->asked = 0;
        c->has_difference = false;
    } else if (before == COLO_COMPARE_PASS) {
        c->keep = c->gap = c->lost = false;
    } else {
        /* Nothing overtakes what BUFFER has kept. */
        c->keep = mode == COLO_COMPARE_MATCH && c->oldest;
    }
}

static uint64_t frames_by_name(const ColoCompare *c, const char *name)
{
    for (unsigned i = 0; i < c->rules_count; i++) {
        if (strcmp(c->rules[i].name, name) == 0) {
            return c->rule_frames[i];
        }
    }
    return 0;
}

void colo_compare_set_rules(ColoCompare *c, const ColoRule *rules,
                            unsigned count, int64_t now_us)
{
    uint64_t frames[COLO_RULES_MAX] = { 0 };

    g_assert(count <= COLO_RULES_MAX);
    c->now_us = now_us;
    for (unsigned i = 0; i < count; i++) {
        frames[i] = frames_by_name(c, rules[i].name);
    }
    if (count) {
        memcpy(c->rules, rules, count * sizeof(*rules));
    }
    memcpy(c->rule_frames, frames, sizeof(frames));
    c->rules_count = count;
    c->rules_generation++;
    c->rules_epoch = c->epoch;
    colo_flows_apply_rules(c);
}

uint64_t colo_compare_rule_frames(const ColoCompare *c, unsigned index)
{
    return index < c->rules_count ? c->rule_frames[index] : 0;
}

/* ------------------------------------------------------- what is known */

ColoNetFrame *colo_compare_take_output(ColoCompare *c)
{
    for (ColoNetFrame *f = c->output; f; f = f->next) {
        c->stats.released_frames++;
        c->stats.released_bytes += f->size;
    }
    return take_all(&c->output, &c->output_end);
}

ColoReason colo_compare_take_ask(ColoCompare *c)
{
    for (ColoReason r = COLO_REASON_NONE + 1; r < COLO_REASON__MAX; r++) {
        if (c->asks & (1u << r)) {
            c->asks &= ~(1u << r);
            return r;
        }
    }
    return COLO_REASON_NONE;
}

bool colo_compare_take_difference(ColoCompare *c, ColoDifference *d)
{
    if (!c->has_difference) {
        return false;
    }
    *d = c->difference;
    c->has_difference = false;
    return true;
}

bool colo_compare_full(const ColoCompare *c)
{
    /* A cut that is on its way is behind what would be kept out. */
    return c->stats.held_bytes > c->limits.held_bytes &&
           c->released <= c->epoch;
}

uint64_t colo_compare_epoch(const ColoCompare *c)
{
    return c->epoch;
}

const ColoCompareStats *colo_compare_stats(const ColoCompare *c)
{
    return &c->stats;
}

/* ---------------------------------------------------------------- time */

static int64_t timeout_due_us(const ColoCompare *c)
{
    return c->oldest ? MAX(c->waits_since_us, c->timeout_asked_us) +
                       c->limits.hold_us : INT64_MAX;
}

int64_t colo_compare_deadline_us(const ColoCompare *c)
{
    int64_t due_us = MIN(timeout_due_us(c), c->split_due_us);

    if (g_hash_table_size(c->table)) {
        due_us = MIN(due_us, c->now_us + EXPIRY_STEP_US);
    }
    return due_us;
}

static void split_due(ColoCompare *c)
{
    ColoLive *live, *next;

    c->split_due_us = INT64_MAX;
    for (live = c->alive; live; live = next) {
        next = live->next;
        if (live->split_us) {
            if (live->split_us <= c->now_us) {
                colo_tcp_split(c, live->flow);
            } else {
                c->split_due_us = MIN(c->split_due_us, live->split_us);
            }
        }
    }
}

/*
 * Exactly. What is held is in the order in which it came, but a kept ack may
 * wait since before it came, or since after.
 */
static void find_waits_since(ColoCompare *c)
{
    const ColoItem *item = c->oldest;

    while (item && item->kept_ack) {
        item = item->newer;
    }
    c->waits_since_us = item ? item->since_us : INT64_MAX;
    for (const ColoLive *live = c->alive; live; live = live->next) {
        if (live->ack) {
            c->waits_since_us = MIN(c->waits_since_us, live->ack_since_us);
        }
    }
}

void colo_compare_tick(ColoCompare *c, int64_t now_us)
{
    c->now_us = now_us;
    if (now_us >= c->split_due_us) {
        split_due(c);
    }
    if (now_us >= timeout_due_us(c)) {
        find_waits_since(c);
    }
    if (now_us >= timeout_due_us(c)) {
        c->timeout_asked_us = now_us;
        c->asked &= ~(1u << COLO_REASON_TIMEOUT);
        colo_ask(c, COLO_VERDICT_TIMEOUT);
    }
    colo_flows_expire(c);
}

/* -------------------------------------------------------- make and free */

ColoCompare *colo_compare_new(const ColoCompareLimits *limits)
{
    ColoCompare *c = g_new0(ColoCompare, 1);

    c->limits = *limits;
    c->fresh = COLO_TOLD_ALL;
    c->waiting_end = &c->waiting;
    c->output_end = &c->output;
    c->split_due_us = INT64_MAX;
    g_queue_init(&c->batches);
    g_queue_init(&c->parked);
    colo_flows_clear(c);
    return c;
}

void colo_compare_free(ColoCompare *c)
{
    release_everything(c);
    drop_parked(c);
    colo_net_frame_free_list(c->output);
    colo_flows_clear(c);
    g_hash_table_destroy(c->table);
    colo_spares_free(&c->spare_items);
    colo_spares_free(&c->spare_lives);
    g_free(c);
}

void colo_compare_set_limits(ColoCompare *c, const ColoCompareLimits *l)
{
    c->limits = *l;
}

/* --------------------------------------------------------------- names */

const char *colo_verdict_name(ColoVerdict v)
{
    static const char *const names[COLO_VERDICT__MAX] = {
        [COLO_VERDICT_MATCH] = "match",
        [COLO_VERDICT_PAYLOAD] = "payload",
        [COLO_VERDICT_LENGTH] = "length",
        [COLO_VERDICT_HEADER] = "header",
        [COLO_VERDICT_SYN] = "syn",
        [COLO_VERDICT_FIN] = "fin",
        [COLO_VERDICT_RST] = "rst",
        [COLO_VERDICT_TIMEOUT] = "timeout",
        [COLO_VERDICT_QUEUE] = "queue",
        [COLO_VERDICT_FLOWS] = "flows",
        [COLO_VERDICT_FRAGMENTS] = "fragments",
    };

    return v < COLO_VERDICT__MAX ? names[v] : "unknown";
}

ColoReason colo_verdict_reason(ColoVerdict v)
{
    switch (v) {
    case COLO_VERDICT_MATCH:
        return COLO_REASON_NONE;
    case COLO_VERDICT_TIMEOUT:
        return COLO_REASON_TIMEOUT;
    case COLO_VERDICT_QUEUE:
    case COLO_VERDICT_FLOWS:
    case COLO_VERDICT_FRAGMENTS:
        return COLO_REASON_QUEUE_FULL;
    default:
        return COLO_REASON_MISMATCH;
    }
}
