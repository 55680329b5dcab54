/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: when to take a checkpoint, and whether page hashes pay.
 *
 * ColoPolicy answers one question: at which time is the next checkpoint due?
 * Requests of any reason are coalesced: those that arrive while one is
 * pending or in progress before its cut are served by it; those after its
 * cut ask for the next. A minimum gap keeps a storm of mismatches from
 * stopping the guest for good; users and devices do not wait for that.
 *
 * An epoch in which the guests' output differed (mismatch or timeout; a full
 * queue is a matter of volume) has diverged. When they do so all the time,
 * comparing only costs, and hybrid mode begins: output leaves at checkpoints
 * alone, and those come in a short, even rhythm instead of after each
 * difference. Comparison goes on, so that the end of it is noticed. The mode
 * changes at cuts only; whoever holds the output follows at the beginning of
 * the next epoch (machine.h, COLO_ACT_NET_MODE).
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

/* Reasons of the network, as bits: about output since the last cut, and so
 * served by the next one whenever they are noticed. */
enum {
    COLO_REASONS_NETWORK = 1u << COLO_REASON_MISMATCH |
                           1u << COLO_REASON_TIMEOUT |
                           1u << COLO_REASON_QUEUE_FULL,
};

typedef struct ColoPolicy {
    ColoLimits limits;
    int64_t last_end_ms;             /* end of the last checkpoint, or start */
    uint32_t pending;                /* one bit for each reason asked */
    ColoReason pending_reason;       /* first reason since the last cut */
    uint64_t asked[COLO_REASON__MAX];/* requests seen */
    uint64_t taken[COLO_REASON__MAX];/* checkpoints begun, by reason */

    bool hybrid;
    int64_t hybrid_since_ms;         /* when it began, if .hybrid */
    uint64_t hybrid_entered_count;
    uint64_t diverged_count;         /* epochs that ended so */
    uint32_t clean_count;            /* hybrid: epochs in a row without */
    uint32_t cuts_count;             /* of those below that are known */
    int64_t diverged_cuts_ms[COLO_HYBRID_ENTER_COUNT_MAX]; /* a ring */
} ColoPolicy;

void colo_policy_init(ColoPolicy *p, const ColoLimits *limits,
                      int64_t now_ms);
/* Hybrid mode that is switched off ends with the next cut, not before. */
void colo_policy_set(ColoPolicy *p, const ColoLimits *limits);
/* Remember a request; counts it. */
void colo_policy_ask(ColoPolicy *p, ColoReason reason);
/* Time at which a checkpoint may begin, never before last_end + min_gap. */
int64_t colo_policy_due_ms(const ColoPolicy *p);
/* Due now? Returns the reason to use, or COLO_REASON_NONE. */
ColoReason colo_policy_poll(const ColoPolicy *p, int64_t now_ms);
/* REQUEST goes out: counted; requests until cut() belong to it. */
void colo_policy_begin(ColoPolicy *p, ColoReason reason);
/* The cut: from now on requests are for the next checkpoint. An epoch has
 * ended, and with it hybrid mode may begin or end. */
void colo_policy_cut(ColoPolicy *p, int64_t now_ms);
void colo_policy_end(ColoPolicy *p, int64_t now_ms);
/* There will be no more checkpoints: no more hybrid mode either. */
void colo_policy_stop(ColoPolicy *p);
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
