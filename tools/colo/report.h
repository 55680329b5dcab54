/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one side's QEMU says of itself: query-colo, as numbers.
 *
 * A QEMU that knows less than this says less; what it does not say is 0.
 */
#ifndef COLO_TOOL_REPORT_H
#define COLO_TOOL_REPORT_H

#include "json.h"

typedef enum ColoPhase {
    COLO_PHASE_OFF,
    COLO_PHASE_CONNECTING,
    COLO_PHASE_PROTECTED,       /* `checkpoint` is a part of it */
    COLO_PHASE_LOST,
    COLO_PHASE_FAILING,
    COLO_PHASE_ALONE,
    COLO_PHASE_DEAD,
} ColoPhase;

enum { COLO_REPORT_REASONS = 6 };
extern const char *const colo_report_reasons[COLO_REPORT_REASONS];

typedef struct ColoReport {
    ColoPhase phase;
    bool is_primary;
    bool is_secondary;
    char *cause;
    char *reason;
    char *remedy;
    uint64_t epoch;
    uint64_t checkpoint_count;
    uint64_t reason_counts[COLO_REPORT_REASONS];
    uint64_t pause_last_us;
    uint64_t pause_mean_us;
    uint64_t pause_max_us;
    uint64_t dirty_pages;       /* of the last checkpoint */
    uint64_t sent_bytes;        /* of the last checkpoint */
    uint64_t total_sent_bytes;
    uint64_t staging_bytes;
    uint64_t staging_peak_bytes;
    bool is_hybrid;
    unsigned nic_count;         /* compared or rewritten */
    bool is_net_connected;      /* every compared NIC has its secondary */
    uint64_t held_frames;
    uint64_t held_bytes;
    uint64_t longest_hold_us;
    unsigned disk_count;
    bool is_disk_in_sync;       /* every disk that has a copy */
    uint64_t differs_bytes;
    uint64_t merge_left_bytes;
    uint64_t rewritten_flows;   /* connections that need translation */
} ColoReport;

/* @answer: what query-colo returned. */
ColoReport *colo_report_parse(JsonNode *answer);
void colo_report_free(ColoReport *report);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoReport, colo_report_free)

const char *colo_phase_name(ColoPhase phase);

#endif
