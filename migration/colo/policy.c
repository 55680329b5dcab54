/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: when to take a checkpoint, and whether page hashes pay.
 *
 * Requests are one bit, the first reason, and counters. The bit lives from
 * the first request until the next cut: whatever asked before the cut is
 * served by it, and the first request after the cut starts anew. Time is
 * measured from the end of the last checkpoint, so that a slow checkpoint
 * cannot make the next one due at once.
 */
#include <glib.h>
#include "colo/policy.h"

void colo_policy_init(ColoPolicy *p, uint32_t delay_ms, uint32_t min_gap_ms,
                      int64_t now_ms)
{
    *p = (ColoPolicy) {
        .delay_ms = delay_ms,
        .min_gap_ms = min_gap_ms,
        .last_end_ms = now_ms,
        .pending_reason = COLO_REASON_NONE,
    };
}

void colo_policy_set(ColoPolicy *p, uint32_t delay_ms, uint32_t min_gap_ms)
{
    p->delay_ms = delay_ms;
    p->min_gap_ms = min_gap_ms;
}

static void assert_reason(ColoReason reason)
{
    g_assert(reason > COLO_REASON_NONE && reason < COLO_REASON__MAX);
}

void colo_policy_ask(ColoPolicy *p, ColoReason reason)
{
    assert_reason(reason);
    p->asked[reason]++;
    if (!p->pending) {
        p->pending = true;
        p->pending_reason = reason;
    }
}

int64_t colo_policy_due_ms(const ColoPolicy *p)
{
    uint32_t wait_ms = p->min_gap_ms;

    if (!p->pending && p->delay_ms > wait_ms) {
        wait_ms = p->delay_ms;
    }
    return p->last_end_ms + wait_ms;
}

ColoReason colo_policy_poll(const ColoPolicy *p, int64_t now_ms)
{
    if (now_ms < colo_policy_due_ms(p)) {
        return COLO_REASON_NONE;
    }
    return p->pending ? p->pending_reason : COLO_REASON_PERIODIC;
}

void colo_policy_begin(ColoPolicy *p, ColoReason reason)
{
    assert_reason(reason);
    p->taken[reason]++;
}

void colo_policy_cut(ColoPolicy *p)
{
    p->pending = false;
    p->pending_reason = COLO_REASON_NONE;
}

void colo_policy_end(ColoPolicy *p, int64_t now_ms)
{
    p->last_end_ms = now_ms;
}

const char *colo_reason_name(ColoReason r)
{
    switch (r) {
    case COLO_REASON_NONE:
        return "none";
    case COLO_REASON_PERIODIC:
        return "periodic";
    case COLO_REASON_MISMATCH:
        return "mismatch";
    case COLO_REASON_TIMEOUT:
        return "timeout";
    case COLO_REASON_QUEUE_FULL:
        return "queue-full";
    case COLO_REASON_USER:
        return "user";
    case COLO_REASON_DEVICE:
        return "device";
    case COLO_REASON__MAX:
        break;
    }
    return "unknown";
}

/* -------------------------------------------------------------- hashes */

enum {
    /* Hashing a page at both ends costs about a quarter of moving it. */
    HASH_PAYS_PERMILLE = 250,
    /* Checkpoints without hashes between two probes. */
    HASH_PROBE_INTERVAL = 16,
    /* A new sample counts for one part in this many. */
    HASH_SMOOTHING = 4,
};

void colo_hash_policy_init(ColoHashPolicy *h)
{
    *h = (ColoHashPolicy) { .equal_permille = HASH_PAYS_PERMILLE };
}

bool colo_hash_policy_choose(ColoHashPolicy *h)
{
    if (h->equal_permille < HASH_PAYS_PERMILLE &&
        h->skipped < HASH_PROBE_INTERVAL) {
        h->skipped++;
        h->unused_count++;
        return false;
    }
    h->skipped = 0;
    h->used_count++;
    return true;
}

void colo_hash_policy_learn(ColoHashPolicy *h, uint64_t equal_count,
                            uint64_t compared_count)
{
    uint32_t sample;

    if (compared_count == 0) {
        return;
    }
    g_assert(equal_count <= compared_count);
    sample = (double)equal_count / compared_count * 1000;
    h->equal_permille += ((int32_t)sample - (int32_t)h->equal_permille) /
                         HASH_SMOOTHING;
}
