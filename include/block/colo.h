/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO's disk half as the session (migration/colo-*.c) drives it, and the
 * register of its parts.
 *
 * Each replication node (block/replication.c) enters itself here when it is
 * opened. The session tells all of them at once what happens to the pair, so
 * that all disks are cut at the same moment. All of it: main thread or a
 * thread with the BQL, never in a coroutine; guest stopped where said so.
 */
#ifndef BLOCK_COLO_H
#define BLOCK_COLO_H

#include "block/graph-lock.h"
#include "qemu/queue.h"
#include "qapi/qapi-types-colo-disk.h"
#include "colo/clean-up.h"

typedef struct ColoDiskPart ColoDiskPart;

typedef struct ColoDiskOps {
    /*
     * A pair begins; guest stopped, both sides' disks are equal. @session:
     * the same text on both sides, of this protection alone. On failure
     * everything is as before.
     */
    bool (*begin)(ColoDiskPart *part, bool primary, const char *session,
                  Error **errp);
    /* May a checkpoint still be taken? What forbids it is the error. */
    bool (*check)(ColoDiskPart *part, Error **errp);
    /*
     * Guest stopped and drained. P: what was written is state @epoch, what
     * follows belongs to the epoch that begins. S: the same, before RECEIVED.
     * @durable: see colo_disks_durable().
     */
    void (*cut)(ColoDiskPart *part, uint64_t epoch, bool durable);
    /* S: has loaded @epoch. P: the secondary has. */
    void (*enter)(ColoDiskPart *part, uint64_t epoch);
    /* S: could not load; back to the epoch before the cut. */
    void (*roll_back)(ColoDiskPart *part);
    /* P: everything before the last cut entered is durable on both sides. */
    bool (*is_durable)(ColoDiskPart *part);
    /*
     * The pair has ended. @survivor: this side goes on with its guest; else
     * what it wrote itself since the last checkpoint is dropped. Also given
     * to a part that has not begun.
     */
    bool (*end)(ColoDiskPart *part, bool survivor, Error **errp);
    /* QEMU exits: leave the pair, let the peer's disk go; may free @part. */
    void (*shutdown)(ColoDiskPart *part);
    ColoDiskInfo *(*info)(ColoDiskPart *part);
} ColoDiskOps;

struct ColoDiskPart {
    const ColoDiskOps *ops;
    QTAILQ_ENTRY(ColoDiskPart) next;
};

void colo_disks_add(ColoDiskPart *part);
void colo_disks_remove(ColoDiskPart *part);

/*
 * A disk lost its peer or cannot go on: the session takes the checkpoint that
 * finds out (check()). Any thread.
 */
void colo_disks_failed(void);
/* Who is to be told; NULL: nobody. */
void colo_disks_on_failed(void (*fn)(void));

/*
 * Where an export of @bs has to be attached: above the ingress if @bs is the
 * disk of a secondary (block/colo-ingress.c), else @bs. Main thread.
 */
BlockDriverState *colo_ingress_above(BlockDriverState *bs);

/*
 * @bs is a root node, or used by nothing but a replication node that is one
 * and that has nothing to do: commands that work on disks from the root on may
 * take it for the root. Main thread.
 */
bool GRAPH_RDLOCK colo_disk_is_root(BlockDriverState *bs);

/* ----------------------------------------------- driven by the session */

/* Begins all or none. */
bool colo_disks_begin(bool primary, const char *session, Error **errp);
bool colo_disks_check(Error **errp);
void colo_disks_cut(uint64_t epoch, bool durable);
void colo_disks_enter(uint64_t epoch);
void colo_disks_roll_back(void);
/*
 * P, when it asks for a checkpoint: is everything before the last cut that S
 * has entered on stable storage at both sides? The answer travels in REQUEST
 * and is given to cut() on both sides, so that the base of a later resync
 * advances by the same step on both.
 */
bool colo_disks_durable(void);
/* Tells all, whatever fails; the first error is returned. */
bool colo_disks_end(bool survivor, Error **errp);
/* QEMU exits. Block jobs have ended. */
void colo_disks_shutdown(void);
ColoDiskInfoList *colo_disks_info(void);

/* Adds all nodes, copies, exports and their server. Main thread. */
void colo_clean_find_disks(GPtrArray *list);
/* Takes one of them away. Nothing of it is on its way then. */
void colo_clean_take_disk(const ColoCleanPart *part, Error **errp);

#endif
