/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: durations of checkpoints. See colo-stats.h.
 */
#include "qemu/osdep.h"
#include "colo-channel.h"
#include "colo-stats.h"
#include "trace.h"

const char *colo_phase_name(ColoPhase phase)
{
    static const char *const names[COLO_PHASE__MAX] = {
        [COLO_PHASE_PAUSE] = "pause",
        [COLO_PHASE_REQUEST] = "request",
        [COLO_PHASE_PREPARE] = "prepare",
        [COLO_PHASE_STOP] = "stop",
        [COLO_PHASE_CAPTURE] = "capture",
        [COLO_PHASE_SEND] = "send",
        [COLO_PHASE_RECEIVED] = "received",
        [COLO_PHASE_LOADED] = "loaded",
        [COLO_PHASE_RELEASE] = "release",
        [COLO_PHASE_RESUME] = "resume",
        [COLO_PHASE_COLLECT] = "collect",
        [COLO_PHASE_RECEIVE] = "receive",
        [COLO_PHASE_APPLY] = "apply",
        [COLO_PHASE_APPLY_RESET] = "apply-reset",
        [COLO_PHASE_APPLY_PAGES] = "apply-pages",
        [COLO_PHASE_APPLY_DEVICES] = "apply-devices",
        [COLO_PHASE_APPLY_NICS] = "apply-nics",
        [COLO_PHASE_CUT_DISKS] = "cut-disks",
        [COLO_PHASE_ENTER_DISKS] = "enter-disks",
    };

    return names[phase];
}

int64_t colo_stats_note(ColoStats *s, ColoPhase phase, uint64_t epoch,
                        int64_t from_us)
{
    int64_t now_us = colo_now_us();
    uint64_t us = MAX(now_us - from_us, 0);
    ColoTimer *t = &s->timers[phase];

    t->last_us = us;
    t->max_us = MAX(t->max_us, us);
    t->sum_us += us;
    t->count++;
    trace_colo_phase(colo_phase_name(phase), epoch, us);
    return now_us;
}
