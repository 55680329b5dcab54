/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the loop that drives a state machine. COLO thread only.
 */
#ifndef MIGRATION_COLO_LOOP_H
#define MIGRATION_COLO_LOOP_H

#include "colo-session.h"

/* What the loop needs to know of a side. */
typedef struct ColoSide {
    const char *name;
    const char *(*state_name)(void);
    void (*step)(const ColoEvent *ev, int64_t now_ms, ColoActions *out);
    int64_t (*deadline_ms)(void);
    bool (*is_final)(void);
    bool (*is_lost)(void);             /* the channel is closed for good */
    void (*set_limits)(const ColoLimits *limits);
    void (*set_channel_limits)(ColoChannel *ch);
    /*
     * Carry out one action. Returns the result of a local action, else
     * COLO_EV__MAX; *@io tells how the channel fared.
     */
    ColoEventType (*execute)(const ColoAction *a, ColoIo *io, Error **errp);
    /* Read the frame's payload; may change @ev. */
    ColoIo (*take_frame)(const ColoFrame *f, ColoEvent *ev, Error **errp);
    /* What waits to be sent, beside what the machine says. */
    ColoIo (*send_waiting)(Error **errp);
    /* Optional: the machine has taken the frame / it was no valid frame. */
    void (*frame_done)(const ColoFrame *f);
    void (*garbage)(void);
} ColoSide;

/* From START to a final state. */
void colo_side_run(const ColoSide *side);
void colo_side_feed(const ColoSide *side, ColoEvent ev);

#endif
