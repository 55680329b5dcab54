/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: a staged checkpoint becomes the machine's state, or does
 * not, as a whole.
 *
 *   1  resizable RAM blocks take the primary's sizes
 *   2  devices are reset, so that each is loaded into the state it expects
 *   3  staged pages are swapped with the guest's: the stage is the undo log
 *   4  device state is loaded
 *   5  disks and NICs take their cut
 *
 * A failure in 1 to 4 is undone: pages are swapped back, the devices are
 * reset again and loaded with the state that this side saved when it stopped.
 * Step 5 drops what the secondary's guest wrote since the last cut and cannot
 * be undone; it comes last, and if it fails the machine is broken.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/colo.h"
#include "exec/memory.h"
#include "migration/colo.h"
#include "net/colo.h"
#include "net/filter.h"
#include "system/runstate.h"
#include "colo-secondary.h"
#include "trace.h"

static void swap_pages(bool undo)
{
    ColoSession *s = &colo_session;

    colo_stage_swap(&s->stage, undo, colo_ram_page_at, colo_ram_touched,
                    s->ram);
}

/*
 * Nothing should write to RAM while the guest stands still and disks are
 * drained. What was written nevertheless, by a device's reset or post_load,
 * is told with the next checkpoint, and counted.
 */
static void note_late_pages(void)
{
    ColoSession *s = &colo_session;
    uint64_t count;

    colo_page_set_clear_all(&s->dirty);
    colo_ram_sync(s->ram, &s->dirty);
    count = colo_page_set_count(&s->dirty);
    if (count) {
        trace_colo_late_pages(s->secondary.pending_epoch, count);
        s->stats.late_pages += count;
    }
}

/* One rebuild of the memory map for all devices that change it. */
static void reset_devices(void)
{
    memory_region_transaction_begin();
    qemu_system_reset(SHUTDOWN_CAUSE_SNAPSHOT_LOAD);
    memory_region_transaction_commit();
}

/* Steps 1 to 4; @swapped tells if step 3 was done. */
static bool load(bool *swapped, Error **errp)
{
    ColoSession *s = &colo_session;
    uint64_t epoch = s->secondary.pending_epoch;
    int64_t t = colo_now_us();

    if (!colo_ram_resize(s->ram, s->table, errp)) {
        return false;
    }
    reset_devices();
    t = colo_stats_note(&s->stats, COLO_PHASE_APPLY_RESET, epoch, t);
    colo_fault("s-apply-reset");
    swap_pages(false);
    *swapped = true;
    t = colo_stats_note(&s->stats, COLO_PHASE_APPLY_PAGES, epoch, t);
    colo_fault("s-apply-pages");
    if (!colo_device_load(s->device, errp)) {
        return false;
    }
    colo_stats_note(&s->stats, COLO_PHASE_APPLY_DEVICES, epoch, t);
    if (colo_fault("s-apply-devices")) {
        error_setg(errp, "fault point s-apply-devices");
        return false;
    }
    return true;
}

static bool roll_back(bool swapped, Error **errp)
{
    ColoSession *s = &colo_session;

    if (swapped) {
        swap_pages(true);
    }
    if (colo_fault("s-rollback")) {
        error_setg(errp, "fault point s-rollback");
        return false;
    }
    if (!colo_ram_resize(s->ram, s->own_table, errp)) {
        return false;
    }
    reset_devices();
    return colo_device_load(s->own_device, errp);
}

static bool enter_epoch(Error **errp)
{
    ERRP_GUARD();
    ColoSession *s = &colo_session;
    uint64_t epoch = s->secondary.pending_epoch;
    int64_t t;

    colo_session_enter_disks(epoch);
    t = colo_now_us();
    colo_notify_filters_event(COLO_EVENT_CHECKPOINT, errp);
    colo_net_enter(epoch);
    colo_stats_note(&s->stats, COLO_PHASE_APPLY_NICS, epoch, t);
    return !*errp;
}

ColoApplied colo_apply(Error **errp)
{
    Error *undo_err = NULL;
    bool swapped = false;
    bool ok;

    if (!colo_disks_check(errp)) {
        colo_disks_roll_back();
        return COLO_APPLY_ROLLED_BACK;
    }
    colo_apply_begin();
    ok = load(&swapped, errp);
    if (!ok) {
        colo_disks_roll_back();
    }
    if (!ok && !roll_back(swapped, &undo_err)) {
        error_append_hint(errp, "%s\n", error_get_pretty(undo_err));
        error_free(undo_err);
        colo_apply_end();
        return COLO_APPLY_BROKEN;
    }
    colo_apply_end();
    if (!ok) {
        return COLO_APPLY_ROLLED_BACK;
    }
    note_late_pages();
    return enter_epoch(errp) ? COLO_APPLIED : COLO_APPLY_BROKEN;
}
