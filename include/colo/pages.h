/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: sets of guest pages, and the staging area of one checkpoint.
 *
 * ColoPageSet holds one bitmap per RAM block (bit = page), the union of what
 * both sides dirtied. ColoStage holds what the secondary received for one
 * checkpoint: chunks of runs with their data. Applying swaps guest memory
 * with the chunk's data, so that after the apply the stage holds the old
 * contents: applying once more undoes it.
 *
 * No locks: a set or stage belongs to one thread at a time.
 */
#ifndef COLO_PAGES_H
#define COLO_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "colo/wire.h"

typedef struct ColoPageMap {
    unsigned long *bits;       /* QEMU bitmap layout */
    uint64_t page_count;
} ColoPageMap;

typedef struct ColoPageSet {
    uint32_t block_count;
    ColoPageMap *maps;
} ColoPageSet;

void colo_page_set_init(ColoPageSet *s, const uint64_t *page_counts,
                        uint32_t block_count);
void colo_page_set_clear_all(ColoPageSet *s);      /* keeps memory */
void colo_page_set_destroy(ColoPageSet *s);
void colo_page_set_add(ColoPageSet *s, const ColoRun *run);
void colo_page_set_remove(ColoPageSet *s, uint32_t block, uint64_t page);
bool colo_page_set_test(const ColoPageSet *s, uint32_t block, uint64_t page);
void colo_page_set_union(ColoPageSet *dst, const ColoPageSet *src);
uint64_t colo_page_set_count(const ColoPageSet *s);
/*
 * The next run at or after (*@block, *@page), at most @max_count pages;
 * moves the position behind it. False at the end. Cost is proportional to
 * the words scanned, so that an idle checkpoint of a large guest is cheap.
 */
bool colo_page_set_next(const ColoPageSet *s, uint32_t *block, uint64_t *page,
                        uint32_t max_count, ColoRun *run);

/* ------------------------------------------------------------- staging */

typedef struct ColoChunk {
    ColoRun *runs;
    uint32_t run_count;
    uint64_t page_count;
    uint8_t *data;             /* page_count * page_bytes */
    struct ColoBuffer *buffer; /* owner of data; private to stage.c */
} ColoChunk;

typedef struct ColoStage {
    uint32_t page_bytes;
    uint64_t limit_bytes;      /* 0: none */
    uint64_t used_bytes;       /* data of this checkpoint */
    uint64_t held_bytes;       /* size of all buffers, used or spare */
    uint64_t peak_bytes;       /* largest held since init */
    uint64_t keep_bytes;       /* spare memory worth keeping, decays */
    GPtrArray *chunks;         /* ColoChunk*, in order of arrival */
    GPtrArray *spare;          /* ColoBuffer*, kept for reuse */
} ColoStage;

/*
 * When a stage is emptied, spare memory above this, and above what recent
 * checkpoints needed, is given back.
 */
#define COLO_STAGE_KEEP_BYTES (16u * 1024 * 1024)

void colo_stage_init(ColoStage *s, uint32_t page_bytes, uint64_t limit_bytes);
void colo_stage_destroy(ColoStage *s);
/*
 * Room for a frame of @page_count pages (<= COLO_PAGES_PER_FRAME_MAX); runs
 * are copied; they come from colo_wire_get_runs(), so they do not overlap.
 * Returns the chunk whose .data is to be filled, NULL when the limit would be
 * passed or the host has no memory.
 */
ColoChunk *colo_stage_add(ColoStage *s, const ColoRun *runs,
                          uint32_t run_count, uint64_t page_count);
void colo_stage_reset(ColoStage *s);               /* checkpoint over */

/*
 * Swap every staged page with guest memory, in order of arrival (@undo
 * false) or in reverse (@undo true), so that a page staged twice is right
 * both ways. @page_at gives the host address of a page; @touched, when not
 * NULL, is told each run after it was swapped.
 */
typedef void *(*ColoPageAt)(void *opaque, uint32_t block, uint64_t page);
typedef void (*ColoTouched)(void *opaque, const ColoRun *run);
void colo_stage_swap(ColoStage *s, bool undo, ColoPageAt page_at,
                     ColoTouched touched, void *opaque);

/* ---------------------------------------------------------- page hashes */

typedef struct ColoHashKey {
    uint8_t secret[192];       /* XXH3 secret derived from the session key */
} ColoHashKey;

void colo_hash_key_init(ColoHashKey *k, const uint8_t key[COLO_KEY_BYTES]);
void colo_page_hash(const ColoHashKey *k, const void *page, size_t size,
                    uint8_t out[COLO_HASH_BYTES]);

/* The same of data that lies in pieces. */
typedef struct ColoPieceHash ColoPieceHash;
ColoPieceHash *colo_piece_hash_new(const ColoHashKey *k);
void colo_piece_hash_add(ColoPieceHash *h, const void *data, size_t size);
/* Ends it. */
void colo_piece_hash_free(ColoPieceHash *h, uint8_t out[COLO_HASH_BYTES]);

/* Running checksum of END. */
typedef struct ColoChecksum ColoChecksum;
ColoChecksum *colo_checksum_new(void);
void colo_checksum_reset(ColoChecksum *c);
void colo_checksum_add(ColoChecksum *c, const void *data, size_t size);
uint64_t colo_checksum_value(const ColoChecksum *c);
void colo_checksum_free(ColoChecksum *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoChecksum, colo_checksum_free)

#endif
