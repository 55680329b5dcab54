/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO as driven by Xen: its toolstack moves RAM and devices itself and asks
 * QEMU only for what disks and net filters do at the start, at a checkpoint
 * and at the end.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colo.h"
#include "block/colo.h"
#include "migration/colo.h"
#include "net/colo.h"
#include "net/filter.h"

/* What another toolstack orders would release what this pair holds. */
static bool is_protected_here(Error **errp)
{
    if (migration_in_colo_state() || migration_incoming_in_colo_state()) {
        error_setg(errp, "This VM is protected by a session of its own QEMU, "
                   "not by Xen; colo-checkpoint and x-colo-lost-heartbeat "
                   "are its commands");
        return true;
    }
    return false;
}

void qmp_xen_set_replication(bool primary, bool enable, bool has_failover,
                             bool failover, Error **errp)
{
    if (is_protected_here(errp)) {
        return;
    }
    if (enable && has_failover) {
        error_setg(errp, "'failover' says how replication is stopped; leave "
                   "it out when starting");
    } else if (enable) {
        colo_disks_begin(primary, "xen", errp);
    } else {
        colo_disks_end(has_failover && failover, errp);
    }
}

ReplicationStatus *qmp_query_xen_replication_status(Error **errp)
{
    ReplicationStatus *status = g_new0(ReplicationStatus, 1);
    Error *err = NULL;

    status->error = !colo_disks_check(&err);
    if (status->error) {
        status->desc = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    return status;
}

void qmp_xen_colo_do_checkpoint(Error **errp)
{
    ERRP_GUARD();

    if (!is_protected_here(errp) && colo_disks_check(errp)) {
        uint64_t epoch = colo_net_epoch() + 1;

        colo_disks_cut(epoch, false);
        colo_disks_enter(epoch);
        colo_notify_filters_event(COLO_EVENT_CHECKPOINT, errp);
        colo_net_next_epoch();
    }
}
