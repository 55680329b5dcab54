/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: when a disk's writer is about to flush.
 *
 * Programs that want their data to be durable write it in a rhythm: so many
 * writes, a flush, as many writes, a flush. Once the same number has come
 * several times in a row, the last write of the next round can be told, and
 * the medium can begin before it is asked. So it can in the middle of a round
 * that is large.
 *
 * A guess costs a flush at most, and a wrong one ends the rhythm: one wrong
 * guess for every COLO_RHYTHM_ROUNDS rounds is the worst. One owner at a time.
 */
#ifndef COLO_RHYTHM_H
#define COLO_RHYTHM_H

#include <stdbool.h>
#include <stdint.h>

/* Rounds of the same length that make a rhythm. */
#define COLO_RHYTHM_ROUNDS 3

/* After so much a flush is worth its while in the middle of a round. */
#define COLO_RHYTHM_BYTES (4 * 1024 * 1024)

/* All zeroes: nothing is known. */
typedef struct ColoRhythm {
    uint64_t run_count;        /* writes since the last flush */
    uint64_t run_bytes;        /* of these, since the last true answer */
    uint64_t round_count;      /* writes of the round before */
    unsigned rounds_count;     /* of that length, in a row */
} ColoRhythm;

/* @bytes more were written. True: what is there may be flushed already. */
bool colo_rhythm_write(ColoRhythm *r, uint64_t bytes);
/* The writer has asked for a flush. */
void colo_rhythm_flush(ColoRhythm *r);

#endif
