/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers as people write and read them.
 */
#ifndef COLO_TOOL_UNITS_H
#define COLO_TOOL_UNITS_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

/* "512", "64M", "1.5G": bytes, with a binary suffix or none. */
bool colo_units_parse_bytes(const char *text, uint64_t *bytes,
                            GError **error);

/* "1.5 GiB", "812 B". Caller frees. */
char *colo_units_bytes(uint64_t bytes);

/* "812 us", "12.3 ms", "4.1 s". Caller frees. */
char *colo_units_us(uint64_t us);

/* "4 s", "2 min", "3 h 5 min", "12 days". Caller frees. */
char *colo_units_span(int64_t seconds);

#endif
