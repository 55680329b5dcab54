/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: colo-clean-up, one command that takes COLO out of this QEMU.
 *
 * Each half lists its parts, the core decides (colo/clean-up.h), and then the
 * parts go, one by one. All that can be known beforehand to be in the way has
 * refused the command by then. If a removal fails all the same, what went
 * before it is not put back: the graph is whole after each step, and the
 * command can be given again.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colo-clean-up.h"
#include "qapi/qapi-commands-colo.h"
#include "qapi/qapi-commands-migration.h"
#include "block/colo.h"
#include "migration/colo.h"
#include "migration/misc.h"
#include "net/colo.h"
#include "system/runstate.h"
#include "options.h"
#include "colo-session.h"

#define X_COLO "x-colo"
#define EVENTS "checkpoint-events"

QEMU_BUILD_BUG_ON((int)COLO_CLEAN__MAX != (int)COLO_PART_KIND__MAX);
QEMU_BUILD_BUG_ON((int)COLO_CLEAN_COPY != (int)COLO_PART_KIND_COPY);

/* ---------------------------------------------------------------- what is */

static ColoCleanState state_now(void)
{
    bool is_active, is_dead;

    WITH_QEMU_LOCK_GUARD(&colo_session.lock) {
        is_active = colo_session.active;
        is_dead = colo_session.view.state == COLO_STATE_DEAD;
    }
    if (is_dead) {
        return COLO_CLEAN_DEAD;
    }
    if (is_active || migration_in_colo_state() ||
        migration_incoming_in_colo_state() ||
        colo_net_role() != COLO_NET_NONE) {
        return COLO_CLEAN_IN_COLO;
    }
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        return COLO_CLEAN_WAITING;
    }
    return migration_is_running() ? COLO_CLEAN_MIGRATING : COLO_CLEAN_IDLE;
}

static void find_settings(GPtrArray *list)
{
    if (migrate_colo()) {
        colo_clean_add(list, COLO_CLEAN_SETTING, X_COLO);
    }
    if (!colo_checkpoint_events()) {
        colo_clean_add(list, COLO_CLEAN_SETTING, EVENTS);
    }
    if (!colo_limits_are_default()) {
        colo_clean_add(list, COLO_CLEAN_LIMITS, "limits");
    }
}

/* ---------------------------------------------------------------- refusal */

static void refuse_state(ColoCleanState state, Error **errp)
{
    switch (state) {
    case COLO_CLEAN_IN_COLO:
        error_setg(errp, "The guest is protected, or its protection is not "
                   "over yet; query-colo tells its state");
        error_append_hint(errp, "x-colo-lost-heartbeat makes this side the "
                          "survivor.\n");
        break;
    case COLO_CLEAN_DEAD:
        error_setg(errp, "This secondary cannot go on: end it");
        break;
    case COLO_CLEAN_WAITING:
        error_setg(errp, "This QEMU waits for its guest to come; end it, or "
                   "let the guest come");
        break;
    case COLO_CLEAN_MIGRATING:
        error_setg(errp, "A migration is under way; cancel it, or wait for "
                   "its end");
        break;
    default:
        g_assert_not_reached();
    }
}

static void refuse(ColoCleanVerdict verdict, ColoCleanState state,
                   const ColoCleanPart *who, Error **errp)
{
    ERRP_GUARD();

    switch (verdict) {
    case COLO_CLEAN_BAD_STATE:
        refuse_state(state, errp);
        break;
    case COLO_CLEAN_IS_PAIRED:
        error_setg(errp, "Disk '%s' is in use by a protected guest",
                   who->name);
        error_append_hint(errp, "End the protection first.\n");
        break;
    case COLO_CLEAN_IS_MERGING:
        error_setg(errp, "Disk '%s' is still being merged; query-colo shows "
                   "how much is left", who->name);
        error_append_hint(errp, "Wait for its end, or keep the disks.\n");
        break;
    case COLO_CLEAN_IS_USED:
        error_setg(errp, "Node '%s' cannot be taken away: %s", who->name,
                   who->user);
        break;
    default:
        g_assert_not_reached();
    }
}

/* ----------------------------------------------------------------- doing it */

static void switch_off_colo(Error **errp)
{
    MigrationCapabilityStatus status = {
        .capability = MIGRATION_CAPABILITY_X_COLO, .state = false,
    };
    MigrationCapabilityStatusList list = { .value = &status };

    qmp_migrate_set_capabilities(&list, errp);
}

static void take_setting(const char *name, Error **errp)
{
    if (!strcmp(name, X_COLO)) {
        switch_off_colo(errp);
    } else {
        ColoParameters events = {
            .has_checkpoint_events = true, .checkpoint_events = true,
        };

        qmp_colo_set_parameters(&events, errp);
    }
}

static void take(const ColoCleanPart *part, Error **errp)
{
    switch (part->kind) {
    case COLO_CLEAN_FILTER:
    case COLO_CLEAN_COMPARE:
    case COLO_CLEAN_REWRITER:
    case COLO_CLEAN_CHARDEV:
        colo_clean_take_net(part, errp);
        break;
    case COLO_CLEAN_SETTING:
        take_setting(part->name, errp);
        break;
    case COLO_CLEAN_LIMITS:
        colo_limits_reset(errp);
        break;
    default:
        colo_clean_take_disk(part, errp);
        break;
    }
}

static bool take_all(GPtrArray *list, Error **errp)
{
    ERRP_GUARD();

    for (unsigned i = 0; i < list->len && !*errp; i++) {
        const ColoCleanPart *part = g_ptr_array_index(list, i);

        if (part->goes) {
            take(part, errp);
        }
    }
    return !*errp;
}

static ColoCleanUpResult *result_of(GPtrArray *list)
{
    ColoCleanUpResult *result = g_new0(ColoCleanUpResult, 1);
    ColoPartList **removed = &result->removed;
    ColoPartList **kept = &result->kept;

    for (unsigned i = 0; i < list->len; i++) {
        const ColoCleanPart *part = g_ptr_array_index(list, i);
        ColoPart *told = g_new0(ColoPart, 1);

        told->kind = (ColoPartKind)part->kind;
        told->name = g_strdup(part->name);
        if (part->goes) {
            QAPI_LIST_APPEND(removed, told);
        } else {
            QAPI_LIST_APPEND(kept, told);
        }
    }
    return result;
}

static unsigned keep_of(const ColoCleanUpKeepList *keep)
{
    static const unsigned bits[] = {
        [COLO_CLEAN_UP_KEEP_DISKS] = COLO_CLEAN_KEEP_DISKS,
        [COLO_CLEAN_UP_KEEP_CONNECTIONS] = COLO_CLEAN_KEEP_CONNECTIONS,
        [COLO_CLEAN_UP_KEEP_LIMITS] = COLO_CLEAN_KEEP_LIMITS,
    };
    unsigned all = 0;

    for (; keep; keep = keep->next) {
        all |= bits[keep->value];
    }
    return all;
}

ColoCleanUpResult *qmp_colo_clean_up(bool has_keep, ColoCleanUpKeepList *keep,
                                     Error **errp)
{
    g_autoptr(GPtrArray) list = colo_clean_list_new();
    ColoCleanState state = state_now();
    const ColoCleanPart *who;
    ColoCleanVerdict verdict;

    colo_clean_find_net(list);
    colo_clean_find_disks(list);
    find_settings(list);
    verdict = colo_clean_decide(list, state, keep_of(keep), &who);
    if (verdict != COLO_CLEAN_OK) {
        refuse(verdict, state, who, errp);
        return NULL;
    }
    return take_all(list, errp) ? result_of(list) : NULL;
}
