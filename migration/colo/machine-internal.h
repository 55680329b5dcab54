/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: what both machines share: one step's context, and building the
 * list of actions. Private to primary.c and secondary.c.
 */
#ifndef COLO_MACHINE_INTERNAL_H
#define COLO_MACHINE_INTERNAL_H

#include <glib.h>
#include "colo/machine.h"

/* One call of step(): what came in, when, and where the answer goes. */
typedef struct ColoStep {
    const ColoEvent *ev;
    int64_t now_ms;
    ColoActions *out;
} ColoStep;

static inline ColoAction *colo_act(ColoStep *c, ColoActionType type)
{
    ColoAction *a;

    g_assert(c->out->count < COLO_ACTIONS_MAX);
    a = &c->out->list[c->out->count++];
    *a = (ColoAction) { .type = type };
    return a;
}

static inline void colo_act_epoch(ColoStep *c, ColoActionType type,
                                  uint64_t epoch)
{
    colo_act(c, type)->epoch = epoch;
}

static inline void colo_act_exit(ColoStep *c, ColoCause cause)
{
    colo_act(c, COLO_ACT_EXIT_EVENT)->cause = cause;
}

static inline void colo_act_send(ColoStep *c, ColoMsgType msg,
                                 uint64_t epoch, uint32_t arg)
{
    ColoAction *a = colo_act(c, COLO_ACT_SEND);

    a->msg = msg;
    a->epoch = epoch;
    a->arg = arg;
}

/* The cause of an EV_PEER_LOST; one that was not filled in means EOF. */
static inline ColoCause colo_step_lost_cause(const ColoStep *c)
{
    return c->ev->cause == COLO_CAUSE_NONE ? COLO_CAUSE_PEER_CLOSED
                                           : c->ev->cause;
}

static inline int64_t colo_min_ms(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

#endif
