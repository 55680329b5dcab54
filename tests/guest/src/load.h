/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads on CPU and disk, started and stopped from the control port. */
#ifndef COLO_GUEST_LOAD_H
#define COLO_GUEST_LOAD_H

#include <stdbool.h>
#include <stdint.h>

/* Spins on @threads_count threads; 0 stops. Returns NULL or a reason. */
const char *cpu_load(unsigned threads_count);

/* Names the disk (NULL: none) whose second half the load below uses. */
void disk_load_open(const char *disk_path);

typedef struct DiskStat {
    bool running;
    bool writing;
    uint64_t chunks_done;   /* since the last start */
    uint64_t pass;
    uint64_t errors;
} DiskStat;

/*
 * Sequential load, over and over the first @span_mib of the second half of
 * the disk. Stops what runs; @rate_mib_per_s 0 only stops. What was written
 * stays known to disk_load_check(). Returns NULL or a reason.
 */
const char *disk_load_start(bool write, unsigned rate_mib_per_s,
                            unsigned span_mib);
DiskStat disk_load_stat(void);

/* Reads back what the last write load left. Returns NULL or a reason. */
const char *disk_load_check(uint64_t *chunks_checked);

#endif
