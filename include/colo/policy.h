/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: when to take a checkpoint, and whether page hashes pay.
 *
 * ColoPolicy answers one question: at which time is the next checkpoint due?
 * Requests of any reason are coalesced: those that arrive while one is
 * pending or in progress before its cut are served by it; those after its
 * cut ask for the next. A minimum gap keeps a storm of mismatches from
 * stopping the guest for good.
 *
 * ColoHashPolicy decides per checkpoint if the secondary sends a hash per
 * dirty page: hashing pays while a fair part of those pages is equal on both
 * sides; when it does not pay it is probed again now and then.
 */
#ifndef COLO_POLICY_H
#define COLO_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include "colo/limits.h"

/* Order is part of the wire format of REQUEST (wire.h): append only. */
typedef enum ColoReason {
    COLO_REASON_NONE,
    COLO_REASON_PERIODIC,      /* checkpoint delay elapsed */
    COLO_REASON_MISMATCH,      /* outputs differ */
    COLO_REASON_TIMEOUT,       /* an output waits too long for its twin */
    COLO_REASON_QUEUE_FULL,    /* too much output is held */
    COLO_REASON_USER,          /* colo-checkpoint, or a user action to sync */
    COLO_REASON_DEVICE,        /* a device or the guest asks: reset, resize */
    COLO_REASON__MAX
} ColoReason;

typedef struct ColoPolicy {
    uint32_t delay_ms;
    uint32_t min_gap_ms;
    int64_t last_end_ms;             /* end of the last checkpoint, or start */
    bool pending;
    ColoReason pending_reason;       /* first reason since the last cut */
    uint64_t asked[COLO_REASON__MAX];/* requests seen */
    uint64_t taken[COLO_REASON__MAX];/* checkpoints begun, by reason */
} ColoPolicy;

void colo_policy_init(ColoPolicy *p, uint32_t delay_ms, uint32_t min_gap_ms,
                      int64_t now_ms);
void colo_policy_set(ColoPolicy *p, uint32_t delay_ms, uint32_t min_gap_ms);
/* Remember a request; counts it. */
void colo_policy_ask(ColoPolicy *p, ColoReason reason);
/* Time at which a checkpoint may begin, never before last_end + min_gap. */
int64_t colo_policy_due_ms(const ColoPolicy *p);
/* Due now? Returns the reason to use, or COLO_REASON_NONE. */
ColoReason colo_policy_poll(const ColoPolicy *p, int64_t now_ms);
/* REQUEST goes out: counted; requests until cut() belong to it. */
void colo_policy_begin(ColoPolicy *p, ColoReason reason);
/* The cut: from now on requests are for the next checkpoint. */
void colo_policy_cut(ColoPolicy *p);
void colo_policy_end(ColoPolicy *p, int64_t now_ms);
const char *colo_reason_name(ColoReason r);

typedef struct ColoHashPolicy {
    uint32_t equal_permille;    /* smoothed share of equal pages, 0..1000 */
    uint32_t skipped;           /* checkpoints since hashes were last used */
    uint64_t used_count;        /* checkpoints with hashes */
    uint64_t unused_count;
} ColoHashPolicy;

void colo_hash_policy_init(ColoHashPolicy *h);
/* Ask for hashes with the next REQUEST? Counts the choice. */
bool colo_hash_policy_choose(ColoHashPolicy *h);
/* Feed back what hashes saved: @equal of @compared pages. */
void colo_hash_policy_learn(ColoHashPolicy *h, uint64_t equal_count,
                            uint64_t compared_count);

#endif
