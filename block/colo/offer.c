/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COLO: when a disk write is offered. See colo/offer.h. */
#include <glib.h>
#include "colo/offer.h"

bool colo_offer_choose(ColoOfferPolicy *p, uint64_t bytes)
{
    if (!colo_offer_fits(bytes)) {
        return false;
    }
    if (p->skip_count > 0) {
        p->skip_count--;
        return false;
    }
    return true;
}

void colo_offer_answered(ColoOfferPolicy *p, bool is_accepted)
{
    if (is_accepted) {
        *p = (ColoOfferPolicy) { 0 };
        return;
    }
    p->skip_count = MAX(p->skip_next, 1);
    p->skip_next = MIN(p->skip_count * 2, COLO_OFFER_SKIP_MAX);
}
