/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: which client frames its guest gets, and when.
 *
 * The primary mirrors every frame that its guest gets and marks each cut in
 * that stream. Frames in front of marker n are in the state n which the
 * secondary loads: they are for a guest of epoch n - 1 only. Frames behind it
 * are for the guest of epoch n, and wait until it is there. So each frame
 * reaches the secondary's guest exactly once, by delivery or inside a state.
 *
 * Closed, a gate drops what is older than the guest, delivers what fits and
 * parks what is newer. Open (no lockstep, or this side is the survivor) it
 * delivers everything, what was parked first: the clients have sent it.
 */
#ifndef COLO_GATE_H
#define COLO_GATE_H

#include "colo/packet.h"

typedef struct ColoGate {
    bool open;
    bool marked;               /* this connection has had a marker */
    uint64_t stream_epoch;     /* of what arrives */
    uint64_t guest_epoch;
    ColoNetFrame *parked;      /* newer than the guest, oldest first */
    ColoNetFrame **parked_end;
    uint64_t *parked_epochs;   /* one for each */
    uint32_t parked_count, parked_room;
    uint64_t parked_bytes;
    ColoNetFrame *ready;       /* to be delivered */
    ColoNetFrame **ready_end;
    uint64_t delivered_count, dropped_count;
} ColoGate;

void colo_gate_init(ColoGate *g);              /* open */
void colo_gate_destroy(ColoGate *g);
/* Lockstep begins: nothing is for this guest before marker and enter(). */
void colo_gate_close(ColoGate *g);
/* Lockstep ends: parked frames become ready. */
void colo_gate_open(ColoGate *g);
/* A connection begins: what comes is of no epoch until a marker says so. */
void colo_gate_restart(ColoGate *g);
void colo_gate_marker(ColoGate *g, uint64_t epoch);
void colo_gate_frame(ColoGate *g, ColoNetFrame *f);    /* takes it over */
/* The guest is of @epoch now; ready frames not yet taken are dropped. */
void colo_gate_enter(ColoGate *g, uint64_t epoch);
/* Frames to be delivered in this order; the caller's now. */
ColoNetFrame *colo_gate_take(ColoGate *g);

#endif
