/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: durations and sizes of checkpoints, for query-colo.
 *
 * Plain data: the COLO thread fills its copy and publishes it.
 */
#ifndef MIGRATION_COLO_STATS_H
#define MIGRATION_COLO_STATS_H

#include <stdint.h>

typedef enum ColoPhase {
    COLO_PHASE_PAUSE,          /* guest of this side stood still */
    COLO_PHASE_REQUEST,        /* P: REQUEST to REPLY */
    COLO_PHASE_PREPARE,        /* P: hashes while the guest still runs */
    COLO_PHASE_STOP,           /* both: stopping the guest */
    COLO_PHASE_CAPTURE,        /* P: devices and dirty pages */
    COLO_PHASE_SEND,           /* P: STATE to END */
    COLO_PHASE_RECEIVED,       /* P: END to RECEIVED */
    COLO_PHASE_LOADED,         /* P: RECEIVED to LOADED */
    COLO_PHASE_RELEASE,        /* P: held output leaves */
    COLO_PHASE_RESUME,         /* both: letting the guest go */
    COLO_PHASE_COLLECT,        /* S: own state, dirty pages, hashes */
    COLO_PHASE_RECEIVE,        /* S: STATE to END */
    COLO_PHASE_APPLY,          /* S: the transaction */
    COLO_PHASE_APPLY_RESET,    /* S: part of apply: devices as new */
    COLO_PHASE_APPLY_PAGES,    /* S: part of apply: pages */
    COLO_PHASE_APPLY_DEVICES,  /* S: part of apply: devices loaded */
    COLO_PHASE_APPLY_NICS,     /* S: part of apply: the NICs' new epoch */
    COLO_PHASE_CUT_DISKS,      /* both: the disks' cut, P: in the pause */
    COLO_PHASE_ENTER_DISKS,    /* both: the disks' new epoch, in the pause */
    COLO_PHASE__MAX
} ColoPhase;

typedef struct ColoTimer {
    uint64_t last_us;
    uint64_t max_us;
    uint64_t sum_us;
    uint64_t count;
} ColoTimer;

typedef struct ColoStats {
    ColoTimer timers[COLO_PHASE__MAX];
    uint64_t dirty_pages;
    uint64_t compared_pages;
    uint64_t equal_pages;
    uint64_t sent_pages;
    uint64_t sent_bytes;
    uint64_t total_sent_bytes;
    uint64_t device_bytes;
    uint64_t staging_bytes;
    uint64_t staging_peak_bytes;
    uint64_t hashed_checkpoints;
    uint64_t late_pages;
    uint64_t checkpoint_count;
} ColoStats;

const char *colo_phase_name(ColoPhase phase);
/* Note that @phase of @epoch took from @from_us until now; returns now. */
int64_t colo_stats_note(ColoStats *s, ColoPhase phase, uint64_t epoch,
                        int64_t from_us);

#endif
