/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: stopping the guest for a checkpoint and letting it go again.
 *
 * "Held" is the one bit that matters: the guest ran and COLO stopped it.
 * Only then does COLO start it again, so that a guest paused by its user, by
 * an I/O error or by its own panic stays as it is over any number of
 * checkpoints. A user's stop or cont in the middle of one changes what will
 * happen at its end.
 *
 * The stop differs from vm_stop() in one point: disks are drained but not
 * flushed. A checkpoint needs requests to be complete; that they are on
 * stable storage is the guest's business, with its own flushes.
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "qapi/qapi-events-run-state.h"
#include "system/cpus.h"
#include "system/cpu-timers.h"
#include "system/runstate.h"
#include "colo-session.h"

static bool held;
static bool user_paused;       /* the user wants it paused when let go */

void colo_guest_begin(bool paused)
{
    held = true;
    user_paused = paused;
}

void colo_guest_stop(void)
{
    RunState was = runstate_get();

    if (!runstate_is_live(was)) {
        return;
    }
    vm_set_suspended(was == RUN_STATE_SUSPENDED);
    runstate_set(RUN_STATE_COLO);
    cpu_disable_ticks();
    if (was == RUN_STATE_RUNNING) {
        pause_all_vcpus();
    }
    vm_state_notify(false, RUN_STATE_COLO);
    qapi_event_send_stop();
    bdrv_drain_all();
    held = true;
    user_paused = false;
}

void colo_guest_run(void)
{
    if (!held) {
        return;
    }
    held = false;
    if (!user_paused) {
        vm_start();
    } else if (!runstate_check(RUN_STATE_PAUSED)) {
        runstate_set(RUN_STATE_PAUSED);
    }
}

void colo_guest_force_run(bool paused)
{
    if (!runstate_is_live(runstate_get()) &&
        !runstate_check(RUN_STATE_COLO)) {
        runstate_set(RUN_STATE_COLO);
    }
    held = true;
    user_paused = paused;
    if (!paused) {
        colo_guest_run();
    }
}

void colo_guest_hold_paused(bool paused)
{
    user_paused = paused;
}

bool colo_guest_is_held(void)
{
    return held;
}

bool colo_guest_is_paused(void)
{
    return held ? user_paused : !runstate_is_live(runstate_get());
}
