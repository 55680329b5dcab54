/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How far a copy is, for people: percent, rate, time left.
 */
#ifndef COLO_TOOL_PROGRESS_H
#define COLO_TOOL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

typedef struct ColoProgress {
    bool is_shown;
    bool is_terminal;       /* one line that changes, else a line for each */
    const char *what;       /* NULL: nothing is under way */
    int64_t start_ms;
    uint64_t start_bytes;   /* done when it began */
    int last_percent;
    int64_t last_ms;
} ColoProgress;

void colo_progress_init(ColoProgress *progress, bool is_shown);

/* @what is a literal, and names what is copied. */
void colo_progress_show(ColoProgress *progress, const char *what,
                        uint64_t done, uint64_t total, int64_t now_ms);
/* It is done, or failed. */
void colo_progress_end(ColoProgress *progress, bool ok);

/* 0 to 100; 100 only if nothing is left. */
int colo_progress_percent(uint64_t done, uint64_t total);

/* "Disks: [ 42 %]  118 MiB/s, 3 s left". Caller frees. */
char *colo_progress_text(const ColoProgress *progress, uint64_t done,
                         uint64_t total, int64_t now_ms);

#endif
