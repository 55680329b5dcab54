/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: stopping the guest for a checkpoint and letting it go again.
 *
 * "Held" is the one bit that matters: the guest ran and COLO stopped it.
 * Only then does COLO start it again, so that a guest paused by its user, by
 * an I/O error or by its own panic stays as it is over any number of
 * checkpoints. Who stops or continues the guest while it is held changes
 * @wanted, the state it gets when COLO lets it go.
 *
 * Pausing vCPUs lets go of the BQL, on either thread. So the bit is set before
 * COLO pauses them, and COLO waits while the main thread is doing so, before
 * it stops the guest and before it lets it go: vCPUs that are started under
 * somebody who waits for their stop never stop. The same holds for resets. What
 * would change a held guest (stop, cont, reset, suspend) is put off until COLO
 * lets it go, for its pages may be on their way.
 *
 * The stop differs from vm_stop() in one point: disks are drained but not
 * flushed. A checkpoint needs requests to be complete; that they are on
 * stable storage is the guest's business, with its own flushes.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/block.h"
#include "qapi/qapi-events-run-state.h"
#include "qemu/main-loop.h"
#include "system/cpus.h"
#include "system/cpu-timers.h"
#include "migration/colo.h"
#include "net/colo.h"
#include "system/reset.h"
#include "system/runstate.h"
#include "colo-session.h"

/* Each of these can be left for RUN_STATE_COLO and entered from it. */
QEMU_BUILD_BUG_ON(RUN_STATE__MAX != 16);

static bool held;
static bool letting_go;
static bool hidden;                /* nobody is to know that it is held */
static bool quiet;                 /* no STOP was sent, so no RESUME will be */
static RunState wanted = RUN_STATE_RUNNING;
static ShutdownCause reset_later = SHUTDOWN_CAUSE_NONE;
static unsigned stopping;          /* the main thread pauses vCPUs */
static bool for_good;              /* QEMU ends */
static bool throttled;             /* stopped by colo_net_hold_guest() */
static bool throttle_asked;        /* any thread, atomic */
static QemuCond stopped_cond;

static void __attribute__((constructor)) colo_guest_setup(void)
{
    qemu_cond_init(&stopped_cond);
}

void colo_guest_stopping(bool on)
{
    stopping += on ? 1 : -1;
    if (!stopping) {
        qemu_cond_broadcast(&stopped_cond);
    }
}

void colo_guest_begin(RunState state)
{
    held = true;
    hidden = quiet = false;
    reset_later = SHUTDOWN_CAUSE_NONE;
    /* A guest that was not started yet (-S) starts protected. */
    wanted = runstate_is_live(state) || state == RUN_STATE_PRELAUNCH
             ? RUN_STATE_RUNNING : state;
}

/* What the main thread does to the machine, a cut does not fall into. */
static void wait_for_main_thread(void)
{
    while (stopping) {
        qemu_cond_wait_bql(&stopped_cond);
    }
}

void colo_guest_end(void)
{
    held = hidden = false;
}

/* The guest is not held yet. */
static void hold(void)
{
    RunState was = runstate_get();

    held = true;
    hidden = !colo_checkpoint_events();
    quiet = false;
    reset_later = SHUTDOWN_CAUSE_NONE;
    if (!runstate_is_live(was)) {
        wanted = was;
        return;
    }
    quiet = hidden;
    wanted = RUN_STATE_RUNNING;
    vm_set_suspended(was == RUN_STATE_SUSPENDED);
    runstate_set(RUN_STATE_COLO);
    cpu_disable_ticks();
    if (was == RUN_STATE_RUNNING) {
        pause_all_vcpus();
    }
    vm_state_notify(false, RUN_STATE_COLO);
    if (!quiet) {
        qapi_event_send_stop();
    }
    bdrv_drain_all();
}

void colo_guest_stop(void)
{
    wait_for_main_thread();
    if (!held) {
        hold();
    }
}

void colo_guest_stop_for_good(void)
{
    while (letting_go) {
        qemu_cond_wait_bql(&stopped_cond);
    }
    colo_guest_stopping(true);
    if (!held) {
        hold();
    }
    for_good = true;
    wanted = RUN_STATE_SHUTDOWN;
    colo_guest_stopping(false);
}

/*
 * Back-pressure. The next GUEST_RUN of a checkpoint ends it, or the end of
 * COLO; a checkpoint is asked for by whoever throttles.
 */
void colo_net_hold_guest(void)
{
    if (held || colo_net_role() != COLO_NET_PRIMARY) {
        return;                 /* it may be too late: nothing is held back */
    }
    throttled = true;
    colo_guest_stopping(true);
    hold();
    colo_guest_stopping(false);
}

static void throttle_bh(void *opaque)
{
    qatomic_set(&throttle_asked, false);
    colo_net_hold_guest();
}

void colo_net_throttle(void)
{
    if (!qatomic_xchg(&throttle_asked, true)) {
        colo_session_ask_checkpoint(COLO_REASON_QUEUE_FULL);
        aio_bh_schedule_oneshot(qemu_get_aio_context(), throttle_bh, NULL);
    }
}

void colo_guest_unthrottle(void)
{
    if (throttled) {
        throttled = false;
        colo_guest_run();
    }
}

/* @state is what the guest shall get; the secondary is to learn of it. */
static void want(RunState state)
{
    if (wanted != state) {
        wanted = state;
        colo_session_ask_checkpoint(COLO_REASON_USER);
    }
}

void colo_guest_run(void)
{
    RunState requested;

    wait_for_main_thread();
    if (!held) {
        return;
    }
    /* A vCPU may have asked for a stop that nobody has carried out yet. */
    if (qemu_vmstop_requested(&requested)) {
        want(requested);
    }
    throttled = false;
    letting_go = true;
    if (wanted == RUN_STATE_RUNNING) {
        vm_start();
        if (wanted != RUN_STATE_RUNNING) {
            /* Stopped in between: KVM's clock lets go of the BQL there. */
            qemu_system_vmstop_request_prepare();
            qemu_system_vmstop_request(wanted);
        }
    } else {
        if (!runstate_check(wanted)) {
            /* Continued and stopped again while it was held. */
            if (!runstate_check(RUN_STATE_COLO)) {
                runstate_set(RUN_STATE_COLO);
            }
            runstate_set(wanted);
        }
        if (quiet) {
            qapi_event_send_stop();
        }
    }
    letting_go = false;
    held = hidden = quiet = false;
    qemu_cond_broadcast(&stopped_cond);
    if (reset_later != SHUTDOWN_CAUSE_NONE) {
        qemu_system_reset_request(reset_later);
        reset_later = SHUTDOWN_CAUSE_NONE;
    }
    /* What the main loop has put off. */
    qemu_notify_event();
}

void colo_guest_force_run(bool paused)
{
    if (!runstate_is_live(runstate_get()) &&
        !runstate_check(RUN_STATE_COLO)) {
        runstate_set(RUN_STATE_COLO);
    }
    held = true;
    wanted = for_good ? RUN_STATE_SHUTDOWN
             : paused ? RUN_STATE_PAUSED : RUN_STATE_RUNNING;
    if (!paused) {
        colo_guest_run();
    } else if (quiet) {
        /* It stays so: that is more than the stop of a checkpoint. */
        hidden = quiet = false;
        qapi_event_send_stop();
    }
}

void colo_guest_replaced(void)
{
    RunState stale;

    reset_later = SHUTDOWN_CAUSE_NONE;
    qemu_vmstop_requested(&stale);
}

bool colo_guest_stops(RunState state)
{
    if (!held || state == RUN_STATE_COLO) {
        return false;
    }
    if (wanted == RUN_STATE_RUNNING) {
        want(state);
    }
    return true;
}

bool colo_guest_starts(void)
{
    if (!held || letting_go) {
        return false;
    }
    want(RUN_STATE_RUNNING);
    return true;
}

bool colo_guest_resumes_quietly(void)
{
    return letting_go && quiet;
}

RunState colo_guest_shown_state(RunState state)
{
    if (!hidden) {
        return state;
    }
    return wanted == RUN_STATE_RUNNING && vm_get_suspended()
           ? RUN_STATE_SUSPENDED : wanted;
}

bool colo_guest_resets_later(ShutdownCause cause)
{
    if (!held) {
        colo_session_ask_checkpoint(COLO_REASON_DEVICE);
        return false;
    }
    reset_later = cause;
    qemu_notify_event();
    return true;
}

bool colo_guest_continues(Error **errp)
{
    if (!held) {
        return false;
    }
    if (wanted == RUN_STATE_INTERNAL_ERROR || wanted == RUN_STATE_SHUTDOWN) {
        error_setg(errp, "The guest has ended (%s); reset it first",
                   RunState_str(wanted));
    } else {
        want(RUN_STATE_RUNNING);
    }
    return true;
}

bool colo_guest_is_held(void)
{
    return held;
}

bool colo_guest_is_paused(void)
{
    return held ? wanted != RUN_STATE_RUNNING
                : !runstate_is_live(runstate_get());
}
