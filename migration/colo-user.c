/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: what users and the guest itself do to a protected VM.
 *
 * On the primary, what changes the guest (stop, cont, reset, powerdown, an
 * I/O error stop, a panic) happens as ever and is then brought to the
 * secondary with a checkpoint at once. A stop or cont that falls into a
 * checkpoint takes effect at its end (colo-guest.c). On the secondary they are
 * refused: its guest follows the primary's. What a checkpoint cannot carry
 * over (another device, another migration, a snapshot loaded) is refused on
 * both sides.
 *
 * A guest that powers itself off ends on both sides: the primary tells the
 * secondary, and its own end waits until that is done. A secondary's guest
 * that ends by itself just stands still until the next checkpoint replaces
 * it, or, after a takeover, ends then.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "migration/colo.h"
#include "system/runstate.h"
#include "system/system.h"
#include "exec/memory.h"
#include "colo-session.h"

static VMChangeStateEntry *state_handler;
static Notifier powerdown_notifier;
static Notifier wakeup_notifier;
static ShutdownCause guest_end;    /* how the guest ended itself, or NONE */

/* ------------------------------------------------------ what is refused */

typedef struct Rule {
    const char *what;
    bool primary;                  /* refused on the primary, too */
    const char *remedy;
} Rule;

static const Rule rules[COLO_USER__MAX] = {
    [COLO_USER_STOP] = { "stop" },
    [COLO_USER_CONT] = { "cont" },
    [COLO_USER_RESET] = { "system_reset" },
    [COLO_USER_POWERDOWN] = { "system_powerdown" },
    [COLO_USER_BALLOON] = { "balloon", true,
        "set the balloon before protection begins" },
    [COLO_USER_DUMP] = { "dump-guest-memory", true,
        "end protection with x-colo-lost-heartbeat first" },
    [COLO_USER_XEN_SAVE] = { "xen-save-devices-state", true,
        "end protection with x-colo-lost-heartbeat first" },
    [COLO_USER_MIGRATE] = { "migrate", true,
        "end protection with x-colo-lost-heartbeat first" },
    [COLO_USER_MIGRATE_CANCEL] = { "migrate_cancel", true,
        "end protection with x-colo-lost-heartbeat" },
    [COLO_USER_SAVEVM] = { "snapshot-save", true,
        "end protection with x-colo-lost-heartbeat first" },
    [COLO_USER_LOADVM] = { "snapshot-load", true,
        "end protection with x-colo-lost-heartbeat first" },
    [COLO_USER_DEVICE_ADD] = { "device_add", true,
        "end protection, add the device, protect again" },
    [COLO_USER_DEVICE_DEL] = { "device_del", true,
        "end protection, remove the device, protect again" },
};

static void refuse(const Rule *rule, bool primary, Error **errp)
{
    Error *err = NULL;

    if (primary) {
        error_setg(&err, "%s is not possible while this VM is protected by "
                   "COLO; %s", rule->what, rule->remedy);
    } else {
        error_setg(&err, "%s is not possible on a COLO secondary: its guest "
                   "follows the primary's; use the primary, or "
                   "x-colo-lost-heartbeat when the primary is gone",
                   rule->what);
    }
    if (errp) {
        error_propagate(errp, err);
    } else {
        error_report_err(err);
    }
}

bool colo_user_handles(ColoUserAction action, Error **errp)
{
    const Rule *rule = &rules[action];
    bool is_migrating = action == COLO_USER_MIGRATE ||
                        action == COLO_USER_MIGRATE_CANCEL;
    bool (*is)(COLOMode) = is_migrating ? colo_session_is
                                        : colo_session_binds;

    if (is(COLO_MODE_SECONDARY)) {
        refuse(rule, false, errp);
        return true;
    }
    if (!is(COLO_MODE_PRIMARY)) {
        return false;
    }
    if (rule->primary) {
        refuse(rule, true, errp);
        return true;
    }
    return action == COLO_USER_CONT && colo_guest_continues(errp);
}

/* --------------------------------------------- what the primary passes on */

static void state_changed(void *opaque, bool running, RunState state)
{
    if (state != RUN_STATE_COLO && !colo_guest_is_held()) {
        colo_session_ask_checkpoint(COLO_REASON_USER);
    }
}

static void powerdown(Notifier *n, void *data)
{
    colo_session_ask_checkpoint(COLO_REASON_USER);
}

static void wakeup(Notifier *n, void *data)
{
    colo_session_ask_checkpoint(COLO_REASON_DEVICE);
}

bool colo_user_begin(Error **errp)
{
    if (ram_block_discard_disable(true)) {
        error_setg(errp, "COLO: a device of this VM discards guest RAM "
                   "(virtio-mem, for example); remove it to protect the VM");
        return false;
    }
    guest_end = SHUTDOWN_CAUSE_NONE;
    /* It stays: a session may end while the list of them is walked. */
    if (!state_handler) {
        state_handler = qemu_add_vm_change_state_handler(state_changed, NULL);
    }
    powerdown_notifier.notify = powerdown;
    qemu_register_powerdown_notifier(&powerdown_notifier);
    wakeup_notifier.notify = wakeup;
    qemu_register_wakeup_notifier(&wakeup_notifier);
    return true;
}

void colo_user_end(void)
{
    notifier_remove(&powerdown_notifier);
    notifier_remove(&wakeup_notifier);
    ram_block_discard_disable(false);
    if (guest_end != SHUTDOWN_CAUSE_NONE) {
        qemu_system_shutdown_request(guest_end);
        guest_end = SHUTDOWN_CAUSE_NONE;
    }
}

/* --------------------------------------------------- the guest ends itself */

/* A new cause needs a decision whose doing it is. */
QEMU_BUILD_BUG_ON(SHUTDOWN_CAUSE__MAX != 11);

static bool is_guests_own(ShutdownCause cause)
{
    return cause == SHUTDOWN_CAUSE_GUEST_SHUTDOWN ||
           cause == SHUTDOWN_CAUSE_GUEST_RESET ||
           cause == SHUTDOWN_CAUSE_GUEST_PANIC;
}

static bool primary_in_lockstep(void)
{
    ColoState state;

    WITH_QEMU_LOCK_GUARD(&colo_session.lock) {
        state = colo_session.view.state;
    }
    return colo_session_is(COLO_MODE_PRIMARY) &&
           (state == COLO_STATE_PROTECTED || state == COLO_STATE_CHECKPOINT);
}

bool colo_guest_ends(ShutdownCause cause)
{
    ColoSession *s = &colo_session;
    bool primary = primary_in_lockstep();

    if (!is_guests_own(cause) ||
        (!primary && !colo_session_binds(COLO_MODE_SECONDARY)) ||
        guest_end != SHUTDOWN_CAUSE_NONE) {
        return false;
    }
    guest_end = cause;
    vm_stop(RUN_STATE_SHUTDOWN);
    if (primary) {
        WITH_QEMU_LOCK_GUARD(&s->lock) {
            /* Stopping let go of the BQL: the session may be over. */
            if (s->active) {
                s->asks.guest_gone = true;
                colo_channel_kick(s->channel);
            }
        }
    }
    return true;
}

void colo_user_guest_replaced(void)
{
    guest_end = SHUTDOWN_CAUSE_NONE;
    colo_guest_replaced();
}
