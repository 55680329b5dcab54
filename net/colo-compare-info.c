/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-compare: what query-colo tells about one object.
 *
 * All counters are the core's, but for what only glue knows: whether somebody
 * is connected, and what became of frames outside of the core.
 */
#include "qemu/osdep.h"
#include "qapi/util.h"
#include "qemu/lockable.h"
#include "net/colo-compare-unit.h"

static void count_mismatches(const ColoCompareStats *st,
                             ColoCompareInfo *info)
{
    ColoMismatchList **tail = &info->mismatches;

    for (ColoVerdict v = COLO_VERDICT_MATCH + 1; v < COLO_VERDICT__MAX; v++) {
        ColoMismatch *m;

        if (st->verdicts[v] == 0) {
            continue;
        }
        m = g_new0(ColoMismatch, 1);
        m->reason = g_strdup(colo_verdict_name(v));
        m->count = st->verdicts[v];
        QAPI_LIST_APPEND(tail, m);
    }
}

static ColoCompareInfo *compare_info(CompareUnit *u)
{
    ColoCompareInfo *info = g_new0(ColoCompareInfo, 1);
    ColoCompareStats st;

    WITH_QEMU_LOCK_GUARD(&u->lock) {
        st = *colo_compare_stats(u->core);
        info->mode = u->passing ? COLO_RELEASE_MODE_PASS
                     : colo_net_buffering() ? COLO_RELEASE_MODE_BUFFER
                     : COLO_RELEASE_MODE_MATCH;
        info->lost_frames = u->lost_frames;
        info->connected = u->secondary_open;
    }
    info->primary_frames = st.primary_frames;
    info->primary_bytes = st.primary_bytes;
    info->secondary_frames = st.secondary_frames;
    info->secondary_bytes = st.secondary_bytes;
    info->released_frames = st.released_frames;
    info->matched_frames = st.matched_frames;
    info->checkpoint_frames = st.checkpoint_frames;
    info->passed_frames = st.passed_frames;
    info->made_frames = st.made_frames;
    info->merged_frames = st.merged_frames;
    info->stale_frames = st.stale_frames;
    info->held_frames = st.held_frames;
    info->held_bytes = st.held_bytes;
    info->held_peak_frames = st.held_peak_frames;
    info->secondary_held_frames = st.secondary_held_frames;
    info->secondary_held_bytes = st.secondary_held_bytes;
    info->longest_hold_us = st.longest_hold_us;
    info->flows = st.flows;
    info->flows_peak = st.flows_peak;
    info->asked_checkpoints = st.asked_checkpoints;
    info->mirrored_frames = u->mirrored_frames;
    info->mirrored_bytes = u->mirrored_bytes;
    info->unmirrored_frames = u->unmirrored_frames;
    count_mismatches(&st, info);
    return info;
}

ColoNicInfo *compare_unit_info(CompareUnit *u)
{
    ColoNicInfo *info = g_new0(ColoNicInfo, 1);

    info->id = g_strdup(u->name);
    info->netdev = g_strdup(u->netdev);
    info->compare = compare_info(u);
    return info;
}
