/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What an agent knows of both sides of a pair, and what follows from it.
 *
 * Pure: what was seen goes in, with the time; a decision comes out. It is
 * about one side, the survivor, of which the other may be dead.
 *
 * MUST: a side goes on only if the other's process is known to be dead. It
 * does not go on by itself if the other side was ended by its user, said
 * goodbye, or went on alone. That a process has ended is seen at once by who
 * runs on its host, why it ended is told by libvirt some time later. It need
 * not be waited for where both hold:
 *  - the process ended without clearing up behind itself, which QEMU does
 *    when it is told to end, but not when it crashes or is killed;
 *  - the survivor had its connection closed on it at that very time. A pair
 *    that fell apart before may have been ended by a user in the meantime, by
 *    force if it hung.
 */
#ifndef COLO_TOOL_GUARD_H
#define COLO_TOOL_GUARD_H

#include <stdbool.h>
#include <stdint.h>

/* Longest time between the end of a process and the closed connection. */
enum { COLO_GUARD_SAME_TIME_MS = 1000 };

typedef struct ColoGuardSide {
    bool is_lost;           /* it says that its peer is */
    bool is_cut;            /* ... since the connection was closed on it */
    bool was_left;          /* ... since the peer said goodbye */
    int64_t lost_ms;        /* when it said so; 0: before we listened */
    bool has_gone_on;       /* it says that it is alone */
    bool is_dead;           /* its libvirt says that it died by itself */
    bool was_ended;         /* its libvirt says that its user ended it */
    int64_t broken_ms;      /* its process was seen to end, without clearing
                             * up behind itself; 0: not seen */
} ColoGuardSide;

typedef enum ColoGuardAdvice {
    COLO_GUARD_KEEP_STILL,
    COLO_GUARD_GO_ON,
    COLO_GUARD_ASK_USER,    /* the other side was ended on purpose */
} ColoGuardAdvice;

/*
 * @side said at @now_ms, or (@now_ms is 0) said earlier, that it is in this
 * state for this cause; words of query-colo and COLO_STATUS.
 */
void colo_guard_note(ColoGuardSide *side, const char *state,
                     const char *cause, int64_t now_ms);

ColoGuardAdvice colo_guard_advise(const ColoGuardSide *survivor,
                                  const ColoGuardSide *other);

/* Both sides agree: whatever was seen of their ends was before. */
bool colo_guard_is_whole(const char *state);

#endif
