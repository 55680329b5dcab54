/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bulk stream: content that both ends can compute. Format: bulk.c */
#ifndef COLO_GUEST_BULK_H
#define COLO_GUEST_BULK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BULK_BLOCK_BYTES = 65536 };

/* A place in a stream; zeroed memory is a stream of no bytes. */
typedef struct Bulk {
    uint64_t size;
    uint64_t done;
    uint64_t seed;
    bool filled;                    /* the block is that of the seed */
    uint8_t block[BULK_BLOCK_BYTES];
} Bulk;

/* Goes to the start of a stream of @size bytes. */
void bulk_begin(Bulk *bulk, uint64_t size, uint64_t seed);

/*
 * Points *bytes at the stream from bulk->done on; returns how many are there,
 * at most @limit and not beyond the block or the end.
 */
size_t bulk_next(Bulk *bulk, const uint8_t **bytes, size_t limit);

#endif
