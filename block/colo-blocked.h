/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: operations that must not be done to a disk while it is replicated.
 *
 * What is checked against blockers would pull the disk from under the guest,
 * or lay something between, on this side only. So the disk and every node
 * above it is blocked, and stays there as long; likewise the way to the copy,
 * down to its end. Main thread.
 */
#ifndef BLOCK_COLO_BLOCKED_H
#define BLOCK_COLO_BLOCKED_H

#include "block/block-common.h"

typedef struct ColoBlocked ColoBlocked;

/*
 * @bs is the disk, @copy where its copy is written to, or NULL. @reason is
 * what the user is told; taken.
 */
ColoBlocked *colo_blocked_new(BlockDriverState *bs, BlockDriverState *copy,
                              Error *reason);
/* All is allowed again. NULL is ignored. May delete the nodes. */
void colo_blocked_free(ColoBlocked *blocked);

#endif
