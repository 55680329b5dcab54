/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: when the primary offers a disk write instead of sending it.
 *
 * Two guests in lockstep write the same data. The secondary has what its own
 * guest wrote, so the primary need not send it again: it offers place and
 * hash, and sends the data only if that is declined.
 *
 * An offer costs a round trip, and one that the secondary's guest may still
 * come up with costs the time that it is given for that. So small writes are
 * never offered, and after offers that were declined in a row more and more
 * writes are sent without being offered. One owner at a time.
 */
#ifndef COLO_OFFER_H
#define COLO_OFFER_H

#include <stdbool.h>
#include <stdint.h>
#include "colo/limits.h"

/* How long the secondary lets an offer wait for its guest. */
#define COLO_OFFER_WAIT_MS 5

/* Writes sent unoffered after an offer was declined, at most. */
#define COLO_OFFER_SKIP_MAX 64

/* All zeroes: nothing is known. */
typedef struct ColoOfferPolicy {
    uint32_t skip_count;       /* writes still to be sent unoffered */
    uint32_t skip_next;        /* and so many after the next decline */
} ColoOfferPolicy;

/* Can a write of @bytes be offered at all? */
static inline bool colo_offer_fits(uint64_t bytes)
{
    return bytes >= COLO_OFFER_MIN_BYTES && bytes <= COLO_OFFER_MAX_BYTES;
}

/* Is the next write, of @bytes, to be offered? */
bool colo_offer_choose(ColoOfferPolicy *p, uint64_t bytes);
/* What was answered to an offer. */
void colo_offer_answered(ColoOfferPolicy *p, bool is_accepted);

#endif
