/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What one side's QEMU says of itself.
 */
#include "report.h"

const char *const colo_report_reasons[COLO_REPORT_REASONS] = {
    "periodic", "mismatch", "timeout", "queue-full", "user", "device",
};

static const struct {
    const char *name;
    ColoPhase phase;
} phases[] = {
    { "off", COLO_PHASE_OFF },
    { "connecting", COLO_PHASE_CONNECTING },
    { "protected", COLO_PHASE_PROTECTED },
    { "checkpoint", COLO_PHASE_PROTECTED },
    { "lost", COLO_PHASE_LOST },
    { "failing", COLO_PHASE_FAILING },
    { "alone", COLO_PHASE_ALONE },
    { "dead", COLO_PHASE_DEAD },
};

const char *colo_phase_name(ColoPhase phase)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(phases); i++) {
        if (phases[i].phase == phase) {
            return phases[i].name;
        }
    }
    g_assert_not_reached();
}

static ColoPhase phase_of(const char *name)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(phases); i++) {
        if (!g_strcmp0(phases[i].name, name)) {
            return phases[i].phase;
        }
    }
    return COLO_PHASE_OFF;
}

static void read_nics(ColoReport *report, JsonNode *answer)
{
    unsigned i;

    report->is_net_connected = true;
    report->nic_count = colo_json_count(answer, "nics");
    for (i = 0; i < report->nic_count; i++) {
        JsonNode *nic = colo_json_element(answer, "nics", i);

        if (colo_json_at(nic, "compare") &&
            !colo_json_bool(nic, "compare.connected")) {
            report->is_net_connected = false;
        }
        report->held_frames += colo_json_int(nic, "compare.held-frames");
        report->held_bytes += colo_json_int(nic, "compare.held-bytes");
        report->longest_hold_us =
            MAX(report->longest_hold_us,
                (uint64_t)colo_json_int(nic, "compare.longest-hold-us"));
        report->rewritten_flows += colo_json_int(nic, "rewriter.learned");
    }
}

static void read_disks(ColoReport *report, JsonNode *answer)
{
    unsigned i;

    report->is_disk_in_sync = true;
    report->disk_count = colo_json_count(answer, "disks");
    for (i = 0; i < report->disk_count; i++) {
        JsonNode *disk = colo_json_element(answer, "disks", i);

        if (colo_json_at(disk, "forward") &&
            !colo_json_bool(disk, "forward.in-sync")) {
            report->is_disk_in_sync = false;
        }
        report->differs_bytes += colo_json_int(disk, "differs");
        report->merge_left_bytes += colo_json_int(disk, "buffer.merge-left");
    }
}

static void read_checkpoints(ColoReport *report, JsonNode *answer)
{
    JsonNode *pause = colo_json_find(answer, "timings", "name", "pause");
    unsigned i;

    report->epoch = colo_json_int(answer, "epoch");
    report->checkpoint_count = colo_json_int(answer, "checkpoints-total");
    for (i = 0; i < COLO_REPORT_REASONS; i++) {
        g_autofree char *path = g_strconcat("checkpoints.",
                                            colo_report_reasons[i], NULL);

        report->reason_counts[i] = colo_json_int(answer, path);
    }
    if (pause) {
        report->pause_last_us = colo_json_int(pause, "last-us");
        report->pause_mean_us = colo_json_int(pause, "mean-us");
        report->pause_max_us = colo_json_int(pause, "max-us");
    }
    report->dirty_pages = colo_json_int(answer, "pages.dirty");
    report->sent_bytes = colo_json_int(answer, "sent-bytes");
    report->total_sent_bytes = colo_json_int(answer, "total-sent-bytes");
    report->staging_bytes = colo_json_int(answer, "staging-bytes");
    report->staging_peak_bytes = colo_json_int(answer, "staging-peak-bytes");
    report->is_hybrid = colo_json_bool(answer, "hybrid.active");
}

ColoReport *colo_report_parse(JsonNode *answer)
{
    ColoReport *report = g_new0(ColoReport, 1);
    const char *role = colo_json_string(answer, "role");

    report->phase = phase_of(colo_json_string(answer, "state"));
    report->is_primary = !g_strcmp0(role, "primary");
    report->is_secondary = !g_strcmp0(role, "secondary");
    report->cause = g_strdup(colo_json_string(answer, "cause"));
    report->reason = g_strdup(colo_json_string(answer, "reason"));
    report->remedy = g_strdup(colo_json_string(answer, "remedy"));
    read_checkpoints(report, answer);
    read_nics(report, answer);
    read_disks(report, answer);
    return report;
}

void colo_report_free(ColoReport *report)
{
    if (!report) {
        return;
    }
    g_free(report->cause);
    g_free(report->reason);
    g_free(report->remedy);
    g_free(report);
}
