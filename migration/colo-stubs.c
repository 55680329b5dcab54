/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO is not built in: every question gets the answer of a VM that is not
 * protected. The migration capability x-colo cannot be set in such a build,
 * so that the seams of migration.c are never entered.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "migration/colo.h"

void migrate_start_colo_process(MigrationState *s)
{
    g_assert_not_reached();
}

int colo_incoming_prepare(void)
{
    return -ENOTSUP;
}

bool coroutine_fn colo_incoming_co(Error **errp)
{
    error_setg(errp, "COLO is not built into this QEMU");
    return false;
}

void colo_checkpoint_delay_set(void)
{
}

void colo_shutdown(void)
{
}

bool colo_caps_check(const bool *caps, Error **errp)
{
    return true;
}

bool migration_in_colo_state(void)
{
    return false;
}

bool migration_incoming_in_colo_state(void)
{
    return false;
}

bool colo_user_handles(ColoUserAction action, Error **errp)
{
    return false;
}

bool colo_guest_is_held(void)
{
    return false;
}

void colo_guest_stopping(bool on)
{
}

bool colo_guest_stops(RunState state)
{
    return false;
}

bool colo_guest_starts(void)
{
    return false;
}

bool colo_guest_resumes_quietly(void)
{
    return false;
}

RunState colo_guest_shown_state(RunState state)
{
    return state;
}

bool colo_guest_resets_later(ShutdownCause cause)
{
    return false;
}

bool colo_guest_ends(ShutdownCause cause)
{
    return false;
}

bool colo_is_applying(void)
{
    return false;
}

bool colo_keeps_code_coherent(void)
{
    return false;
}

void colo_net_ask(ColoReason reason)
{
}

bool colo_session_is_ending(void)
{
    return true;
}

void colo_net_throttle(void)
{
}

void colo_net_hold_guest(void)
{
}
