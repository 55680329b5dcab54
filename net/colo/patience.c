/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COLO: how much the secondary may say before the primary listens. */
#include <glib.h>
#include "colo/patience.h"

enum { PARTS_OF_LEAD = 2, PARTS_OF_HELD = 8 };

static void listen(ColoPatience *p)
{
    p->bytes = 0;
    p->due_us = INT64_MAX;
}

void colo_patience_init(ColoPatience *p)
{
    p->bulk = false;
    p->calm_reads = 0;
    listen(p);
}

static uint32_t may_gather(ColoPatienceHeld held)
{
    uint64_t bytes = held.primary
        ? MIN(held.primary / PARTS_OF_HELD, COLO_PATIENCE_BEHIND_BYTES)
        : MIN(held.secondary / PARTS_OF_LEAD, COLO_PATIENCE_AHEAD_BYTES);

    return bytes < COLO_PATIENCE_LEAST_BYTES ? 0 : bytes;
}

void colo_patience_read(ColoPatience *p, size_t bytes,
                        ColoPatienceHeld held, int64_t now_us)
{
    listen(p);
    if (bytes < COLO_PATIENCE_BULK_BYTES) {
        p->calm_reads += p->bulk;
        p->bulk = p->bulk && p->calm_reads < COLO_PATIENCE_CALM_READS;
        return;
    }
    p->calm_reads = 0;
    p->bytes = may_gather(held);
    if (p->bytes) {
        p->bulk = true;
        p->due_us = now_us + (held.primary ? COLO_PATIENCE_BEHIND_US
                                           : COLO_PATIENCE_AHEAD_US);
    }
}

void colo_patience_look(ColoPatience *p, ColoPatienceHeld held)
{
    if (p->bytes && !may_gather(held)) {
        listen(p);
    }
}

void colo_patience_tick(ColoPatience *p, int64_t now_us)
{
    if (now_us >= p->due_us) {
        listen(p);
    }
}
