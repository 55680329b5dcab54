/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: guest RAM of this side: which blocks there are, what was dirtied,
 * and how the pages of a checkpoint are put in place.
 *
 * The table of blocks is the primary's: its order defines the block numbers
 * of the wire. Dirty logging stays on from the first copy to the end; each
 * sync moves the log into a page set.
 *
 * "BQL": to be called with the big lock held and vCPUs stopped, unless said
 * otherwise. The object belongs to the COLO thread.
 */
#ifndef MIGRATION_COLO_RAM_H
#define MIGRATION_COLO_RAM_H

#include "colo/pages.h"

typedef struct ColoRam ColoRam;

/* All migratable blocks, in this side's order. BQL. */
ColoRam *colo_ram_new(Error **errp);
void colo_ram_free(ColoRam *ram);

/* Start or stop dirty logging; starting drops what was logged so far. BQL. */
bool colo_ram_log_start(Error **errp);
void colo_ram_log_stop(void);

uint32_t colo_ram_block_count(const ColoRam *ram);
/* Page counts by the largest size a block may take. */
const uint64_t *colo_ram_page_limits(const ColoRam *ram);
/* The table as it is now; g_free(). BQL. */
ColoBlockInfo *colo_ram_table(ColoRam *ram);
uint32_t colo_ram_page_bytes(void);
/* Sum of all blocks. */
uint64_t colo_ram_bytes(const ColoRam *ram);

/* Secondary: adopt the primary's order; false if the blocks differ. BQL. */
bool colo_ram_adopt(ColoRam *ram, const ColoBlockInfo *table, uint32_t count,
                    Error **errp);
/*
 * Secondary: give resizable blocks the sizes of @table. @old, when not NULL,
 * receives the table before. BQL.
 */
bool colo_ram_resize(ColoRam *ram, const ColoBlockInfo *table,
                     Error **errp);

/* Move the dirty log into @set (adding). BQL; vCPUs may run. */
void colo_ram_sync(ColoRam *ram, ColoPageSet *set);

/* ColoPageAt and ColoTouched of colo_stage_swap(); opaque is the ColoRam. */
void *colo_ram_page_at(void *opaque, uint32_t block, uint64_t page);
void colo_ram_touched(void *opaque, const ColoRun *run);

/* Digest of all pages, hex; for tests. g_free(). BQL. */
char *colo_ram_digest(ColoRam *ram);

#endif
