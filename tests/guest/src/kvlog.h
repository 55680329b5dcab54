/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The log of the key-value store on a raw disk; format in kvlog.c. */
#ifndef COLO_GUEST_KVLOG_H
#define COLO_GUEST_KVLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KEY_MAX_BYTES = 255,
    VALUE_MAX_BYTES = 16384,
};

/* Called for each record found, oldest first. */
typedef void KvLogFound(uint64_t rev, const char *key, const char *value);

/*
 * Opens the log on @path and replays it. A blank disk (zeros) is formatted.
 * Returns NULL or a reason, after which kvlog_append() answers with it too.
 */
const char *kvlog_open(const char *path, KvLogFound *found);

/* Starts an empty log; older records never come back. NULL or a reason. */
const char *kvlog_format(void);

/* Returns NULL once the record is on the medium, else a reason. */
const char *kvlog_append(uint64_t rev, const char *key, const char *value);

#endif
