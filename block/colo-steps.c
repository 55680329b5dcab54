/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: a secondary's disks taken through their stages by a test.
 *
 * A session passes some stages in less than a millisecond. For a test that
 * wants to read and write in each of them, a monitor plays the session, and
 * one QEMU without a guest is enough.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colo-disk.h"
#include "block/colo.h"
#include "migration/colo.h"

#ifdef CONFIG_COLO_FAULTS

static void take(ColoDiskStep step, Error **errp)
{
    static uint64_t epoch;

    switch (step) {
    case COLO_DISK_STEP_BEGIN:
        colo_disks_begin(false, "test", errp);
        break;
    case COLO_DISK_STEP_CHECK:
        colo_disks_check(errp);
        break;
    case COLO_DISK_STEP_CUT:
        colo_disks_cut(++epoch, false);
        break;
    case COLO_DISK_STEP_ENTER:
        colo_disks_enter(epoch);
        break;
    case COLO_DISK_STEP_ROLL_BACK:
        colo_disks_roll_back();
        break;
    case COLO_DISK_STEP_END:
    case COLO_DISK_STEP_TAKE_OVER:
        colo_disks_end(step == COLO_DISK_STEP_TAKE_OVER, errp);
        break;
    default:
        g_assert_not_reached();
    }
}

void qmp_x_colo_disk_step(ColoDiskStep step, Error **errp)
{
    if (migration_in_colo_state() || migration_incoming_in_colo_state()) {
        error_setg(errp, "The guest is protected: its session takes the "
                   "steps");
        return;
    }
    take(step, errp);
}

#else

void qmp_x_colo_disk_step(ColoDiskStep step, Error **errp)
{
    error_setg(errp, "This build has no fault points; run configure without "
               "--disable-faults");
}

#endif
