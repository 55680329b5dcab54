/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: numbered fault points, for tests.
 *
 * A point is a place between two actions where a crash, a freeze or a
 * failure must be survived. One point can be armed at a time; passing it
 * disarms it. The list below is the one that docs/testing.md explains; a
 * test walks it, so that a new point is exercised without more ado.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colo.h"
#include "colo-session.h"

#ifdef CONFIG_COLO_FAULTS

static const char *const points[] = {
    "p-reply", "p-stopped", "p-capture", "p-captured", "p-pages-sent",
    "p-end-sent", "p-received", "p-loaded", "p-before-release",
    "p-released",
    "s-request", "s-stopped", "s-collect", "s-collected", "s-replied",
    "s-pages", "s-end", "s-received", "s-apply-reset", "s-apply-pages",
    "s-apply-devices", "s-rollback", "s-applied", "s-loaded",
};

typedef enum Action { NOTHING, KILL, FREEZE, FAIL } Action;

static struct {
    QemuMutex lock;
    const char *point;
    Action action;
    uint32_t skip;
} armed;

static void __attribute__((constructor)) colo_fault_setup(void)
{
    qemu_mutex_init(&armed.lock);
}

static Action pass(const char *point)
{
    QEMU_LOCK_GUARD(&armed.lock);
    if (!armed.point || strcmp(armed.point, point)) {
        return NOTHING;
    }
    if (armed.skip) {
        armed.skip--;
        return NOTHING;
    }
    armed.point = NULL;
    return armed.action;
}

bool colo_fault(const char *point)
{
    Action action = pass(point);

    if (action == KILL) {
        kill(getpid(), SIGKILL);
    } else if (action == FREEZE) {
        raise(SIGSTOP);           /* this thread first, not any of them */
    }
    return action == FAIL;
}

void qmp_x_colo_fault(const char *point, const char *action, bool has_skip,
                      uint32_t skip, Error **errp)
{
    static const char *const actions[] = {
        [KILL] = "kill", [FREEZE] = "freeze", [FAIL] = "fail",
    };

    for (unsigned a = KILL; a <= FAIL; a++) {
        for (unsigned i = 0; i < ARRAY_SIZE(points); i++) {
            if (strcmp(actions[a], action) || strcmp(points[i], point)) {
                continue;
            }
            QEMU_LOCK_GUARD(&armed.lock);
            armed.point = points[i];
            armed.action = a;
            armed.skip = has_skip ? skip : 0;
            return;
        }
    }
    error_setg(errp, "There is no fault point '%s' with action '%s'; "
               "docs/testing.md lists them", point, action);
}

#else

void qmp_x_colo_fault(const char *point, const char *action, bool has_skip,
                      uint32_t skip, Error **errp)
{
    error_setg(errp, "This build has no fault points; run configure without "
               "--disable-faults");
}

#endif
