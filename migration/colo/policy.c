/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: when to take a checkpoint, and whether page hashes pay.
 *
 * Requests are one bit for each reason, the first reason, and counters. The
 * bits live from the first request until the next cut: whatever asked before
 * the cut is served by it, and the first request after the cut starts anew.
 * Time is measured from the end of the last checkpoint, so that a slow
 * checkpoint cannot make the next one due at once.
 *
 * Hybrid mode is judged once per epoch, at the cut that ends it. The times of
 * diverged cuts are kept in a ring; the mode begins when the oldest of the
 * last hybrid_enter_count lies within the window, and it begins to count
 * anew when it ends.
 */
#include <glib.h>
#include "colo/policy.h"

enum {
    DIVERGED = 1u << COLO_REASON_MISMATCH | 1u << COLO_REASON_TIMEOUT,
    FULL = 1u << COLO_REASON_QUEUE_FULL,
};

void colo_policy_init(ColoPolicy *p, const ColoLimits *limits,
                      int64_t now_ms)
{
    *p = (ColoPolicy) {
        .limits = *limits,
        .last_end_ms = now_ms,
        .pending_reason = COLO_REASON_NONE,
    };
}

void colo_policy_set(ColoPolicy *p, const ColoLimits *limits)
{
    p->limits = *limits;
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
        p->pending_reason = reason;
    }
    p->pending |= 1u << reason;
}

int64_t colo_policy_due_ms(const ColoPolicy *p)
{
    const ColoLimits *l = &p->limits;
    uint32_t wait_ms = l->checkpoint_delay_ms;

    if (p->hybrid) {
        wait_ms = MIN(wait_ms, l->hybrid_interval_ms);
    }
    if ((p->pending & FULL) || (!p->hybrid && (p->pending & DIVERGED))) {
        wait_ms = MIN(wait_ms, l->mismatch_gap_ms);
    }
    if (p->pending & ~COLO_REASONS_NETWORK) {
        wait_ms = 0;
    }
    return p->last_end_ms + MAX(wait_ms, l->min_gap_ms);
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

/* ------------------------------------------------------------ hybrid mode */

static void leave_hybrid(ColoPolicy *p)
{
    p->hybrid = false;
    p->clean_count = 0;
    p->cuts_count = 0;
}

static void judge_hybrid_epoch(ColoPolicy *p, bool diverged)
{
    p->clean_count = diverged ? 0 : p->clean_count + 1;
    if (p->limits.hybrid_enter_count == 0 ||
        (!diverged && p->clean_count >= p->limits.hybrid_exit_count)) {
        leave_hybrid(p);
    }
}

/* Does the @count-th last diverged cut lie within the window? */
static bool diverges_often(const ColoPolicy *p, uint32_t count,
                           int64_t now_ms)
{
    uint64_t oldest = p->diverged_count - count;

    return count > 0 && p->cuts_count >= count &&
           now_ms - p->diverged_cuts_ms[oldest % COLO_HYBRID_ENTER_COUNT_MAX]
           <= p->limits.hybrid_window_ms;
}

static void judge_diverged_epoch(ColoPolicy *p, int64_t now_ms)
{
    uint32_t count = MIN(p->limits.hybrid_enter_count,
                         COLO_HYBRID_ENTER_COUNT_MAX);

    if (diverges_often(p, count, now_ms)) {
        p->hybrid = true;
        p->hybrid_since_ms = now_ms;
        p->hybrid_entered_count++;
    }
}

void colo_policy_cut(ColoPolicy *p, int64_t now_ms)
{
    bool diverged = p->pending & DIVERGED;

    if (diverged) {
        p->diverged_cuts_ms[p->diverged_count %
                            COLO_HYBRID_ENTER_COUNT_MAX] = now_ms;
        p->diverged_count++;
        p->cuts_count = MIN(p->cuts_count + 1, COLO_HYBRID_ENTER_COUNT_MAX);
    }
    if (p->hybrid) {
        judge_hybrid_epoch(p, diverged);
    } else if (diverged) {
        judge_diverged_epoch(p, now_ms);
    }
    p->pending = 0;
    p->pending_reason = COLO_REASON_NONE;
}

void colo_policy_stop(ColoPolicy *p)
{
    leave_hybrid(p);
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
