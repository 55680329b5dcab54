/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: how much the secondary may say before the primary listens.
 *
 * To wake up the comparing thread for each frame costs the primary's
 * processor more than to read and compare the frame. In bulk much may gather:
 *
 *   - The secondary is ahead, and all that the primary has sent has left.
 *     What the secondary says next is needed only when the primary has
 *     caught up: half of the lead may gather.
 *   - The primary is far ahead. What it holds leaves in pieces anyway: an
 *     eighth of it may gather, if that is not too much for what else waits.
 *   - Else nothing may, so that a single answer is never late.
 *
 * And not for long: clients may wait for something that the secondary says
 * while the primary has nothing to say, like that there is room again. When
 * the time is over all is read as it comes, until it comes in bulk again.
 *
 * What the primary sends meanwhile can end the patience and never adds to it.
 *
 * It also says which loop is to listen: with @bulk, a thread of its own is
 * worth it. A single answer would only lose time on its way through another
 * thread.
 */
#ifndef COLO_PATIENCE_H
#define COLO_PATIENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Less at once is no bulk; less to gather is not worth it. */
    COLO_PATIENCE_BULK_BYTES = 16 << 10,
    COLO_PATIENCE_LEAST_BYTES = 32 << 10,
    COLO_PATIENCE_AHEAD_BYTES = 256 << 10,   /* the most, secondary ahead */
    COLO_PATIENCE_BEHIND_BYTES = 64 << 10,   /* ditto, behind */
    COLO_PATIENCE_CALM_READS = 8,            /* without bulk: it is over */
    COLO_PATIENCE_AHEAD_US = 5000,
    COLO_PATIENCE_BEHIND_US = 1000,
};

typedef struct ColoPatience {
    uint32_t bytes;            /* may gather; 0: none */
    int64_t due_us;            /* its end; INT64_MAX: there is none */
    bool bulk;                 /* much came at once, not long ago */
    uint8_t calm_reads;        /* since then */
} ColoPatience;

/* What is held of either side, in bytes. */
typedef struct ColoPatienceHeld {
    uint64_t primary, secondary;
} ColoPatienceHeld;

void colo_patience_init(ColoPatience *p);
/* The secondary has been read: @bytes were there, @held is held now. */
void colo_patience_read(ColoPatience *p, size_t bytes,
                        ColoPatienceHeld held, int64_t now_us);
/* The primary has sent, or anything else has happened. */
void colo_patience_look(ColoPatience *p, ColoPatienceHeld held);
void colo_patience_tick(ColoPatience *p, int64_t now_us);

#endif
