/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an agent knows of both sides of a pair, and what follows from it.
 */
#include <glib.h>
#include "guard.h"

bool colo_guard_is_whole(const char *state)
{
    return !g_strcmp0(state, "protected") ||
           !g_strcmp0(state, "checkpoint") ||
           !g_strcmp0(state, "connecting");
}

void colo_guard_note(ColoGuardSide *side, const char *state,
                     const char *cause, int64_t now_ms)
{
    side->is_lost = !g_strcmp0(state, "lost");
    side->has_gone_on = !g_strcmp0(state, "alone");
    if (!side->is_lost) {
        side->is_cut = false;
        side->was_left = false;
        side->lost_ms = 0;
        return;
    }
    side->is_cut = !g_strcmp0(cause, "peer-closed");
    side->was_left = !g_strcmp0(cause, "peer-quit") ||
                     !g_strcmp0(cause, "guest-shutdown");
    if (!side->lost_ms) {
        side->lost_ms = now_ms;
    }
}

/* Its process died while both sides were whole: nobody else ended it. */
static bool has_died_at_once(const ColoGuardSide *survivor,
                             const ColoGuardSide *other)
{
    return other->broken_ms && survivor->is_cut && survivor->lost_ms &&
           ABS(survivor->lost_ms - other->broken_ms) <=
           COLO_GUARD_SAME_TIME_MS;
}

ColoGuardAdvice colo_guard_advise(const ColoGuardSide *survivor,
                                  const ColoGuardSide *other)
{
    if (!survivor->is_lost || other->has_gone_on) {
        return COLO_GUARD_KEEP_STILL;
    }
    if (survivor->was_left || other->was_ended) {
        return COLO_GUARD_ASK_USER;
    }
    return other->is_dead || has_died_at_once(survivor, other)
           ? COLO_GUARD_GO_ON : COLO_GUARD_KEEP_STILL;
}
