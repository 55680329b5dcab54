/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: monitor commands for people.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colo.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"

void hmp_x_colo_lost_heartbeat(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;

    qmp_x_colo_lost_heartbeat(&err);
    hmp_handle_error(mon, err);
}

static void print_state(Monitor *mon, const ColoInfo *info)
{
    monitor_printf(mon, "role: %s\nstate: %s (%s)\nepoch: %" PRIu64 "\n",
                   COLOMode_str(info->role), ColoState_str(info->state),
                   info->phase, info->epoch);
    if (strcmp(info->cause, "none")) {
        monitor_printf(mon, "why: %s%s%s\n", info->cause,
                       info->reason[0] ? ": " : "", info->reason);
    }
    if (info->remedy[0]) {
        monitor_printf(mon, "what to do: %s\n", info->remedy);
    }
}

static void print_counters(Monitor *mon, const ColoInfo *info)
{
    const ColoCheckpointCounts *c = info->checkpoints;

    monitor_printf(mon, "checkpoints: %" PRIu64 " (periodic %" PRIu64
                   ", mismatch %" PRIu64 ", timeout %" PRIu64
                   ", queue full %" PRIu64 ", user %" PRIu64
                   ", device %" PRIu64 ")\n", info->checkpoints_total,
                   c->periodic, c->mismatch, c->timeout, c->queue_full,
                   c->user, c->device);
    monitor_printf(mon, "last checkpoint: %" PRIu64 " pages dirty, %" PRIu64
                   " equal, %" PRIu64 " sent; devices %" PRIu64
                   " bytes; on the wire %" PRIu64 " bytes\n",
                   info->pages->dirty, info->pages->equal,
                   info->pages->sent, info->device_bytes, info->sent_bytes);
    monitor_printf(mon, "staging: %" PRIu64 " bytes now, %" PRIu64
                   " at most\n", info->staging_bytes,
                   info->staging_peak_bytes);
}

void hmp_info_colo(Monitor *mon, const QDict *qdict)
{
    g_autoptr(ColoInfo) info = qmp_query_colo(NULL);

    print_state(mon, info);
    if (info->role == COLO_MODE_NONE) {
        return;
    }
    print_counters(mon, info);
    for (ColoTimingList *l = info->timings; l; l = l->next) {
        monitor_printf(mon, "%14s: last %" PRIu64 " us, mean %" PRIu64
                       " us, max %" PRIu64 " us\n", l->value->name,
                       l->value->last_us, l->value->mean_us,
                       l->value->max_us);
    }
}
