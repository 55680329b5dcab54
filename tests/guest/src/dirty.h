/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory dirtying at a given rate; theory of operation in dirty.c. */
#ifndef COLO_GUEST_DIRTY_H
#define COLO_GUEST_DIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct DirtyStat {
    unsigned rate_mib_per_s;    /* 0: stopped */
    unsigned span_mib;
    bool full;
    uint64_t pages_written;     /* since the last start */
    uint64_t pass;              /* the one being written, 1 is the first */
} DirtyStat;

/*
 * Stops what runs, then starts with new parameters; the area is filled with
 * pass 0 first. @rate_mib_per_s 0 only stops. Returns NULL or a reason.
 */
const char *dirty_start(unsigned rate_mib_per_s, unsigned span_mib, bool full);

DirtyStat dirty_stat(void);

/*
 * Compares the whole area with what must be there. Writing is paused for the
 * time of it. Returns true if equal, else the first byte offset that is not.
 */
bool dirty_check(size_t *bad_offset);

#endif
