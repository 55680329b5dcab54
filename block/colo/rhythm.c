/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COLO: when a disk's writer is about to flush. See colo/rhythm.h. */
#include "colo/rhythm.h"

bool colo_rhythm_write(ColoRhythm *r, uint64_t bytes)
{
    r->run_count++;
    r->run_bytes += bytes;
    if (r->run_count > r->round_count) {
        r->rounds_count = 0;
    }
    if (r->rounds_count < COLO_RHYTHM_ROUNDS ||
        (r->run_count < r->round_count &&
         r->run_bytes < COLO_RHYTHM_BYTES)) {
        return false;
    }
    r->run_bytes = 0;
    return true;
}

void colo_rhythm_flush(ColoRhythm *r)
{
    /* Flushes before a write as well as after it are common. */
    if (r->run_count == 0) {
        return;
    }
    if (r->run_count != r->round_count) {
        r->round_count = r->run_count;
        r->rounds_count = 0;
    }
    r->rounds_count++;
    r->run_count = 0;
    r->run_bytes = 0;
}
