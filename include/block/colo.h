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

#include "qemu/queue.h"
#include "qapi/qapi-types-block-core.h"

typedef struct ColoDiskPart ColoDiskPart;

/* Each may be NULL: nothing to do, never an error. */
typedef struct ColoDiskOps {
    /*
     * A pair begins, the guest is stopped and both sides' disks are equal.
     * @session: the same text on both sides, of this protection alone. On
     * failure everything is as before.
     */
    bool (*begin)(ColoDiskPart *part, bool primary, const char *session,
                  Error **errp);
    /* Can a checkpoint still be taken? What ended it is the error. */
    bool (*check)(ColoDiskPart *part, Error **errp);
    /*
     * Guest stopped and drained. P: what was written is state @epoch, what
     * follows belongs to the epoch after it. S: same, before RECEIVED.
     * @durable: see colo_disks_durable().
     */
    bool (*cut)(ColoDiskPart *part, uint64_t epoch, bool durable,
                Error **errp);
    /* S: loaded @epoch. P: S has loaded @epoch. Cannot fail. */
    void (*enter)(ColoDiskPart *part, uint64_t epoch);
    /* S: could not load; back to the epoch before the cut. */
    void (*roll_back)(ColoDiskPart *part);
    /* P: are all writes before the last cut entered durable on both sides? */
    bool (*is_durable)(ColoDiskPart *part);
    /*
     * The pair has ended. @survivor: this side goes on with its guest;
     * otherwise what it wrote itself since the last checkpoint is dropped.
     */
    bool (*end)(ColoDiskPart *part, bool survivor, Error **errp);
} ColoDiskOps;

struct ColoDiskPart {
    const ColoDiskOps *ops;
    QTAILQ_ENTRY(ColoDiskPart) next;
};

void colo_disks_add(ColoDiskPart *part);
void colo_disks_remove(ColoDiskPart *part);

/* ----------------------------------------------- driven by the session */

/* Begins all or none. */
bool colo_disks_begin(bool primary, const char *session, Error **errp);
bool colo_disks_check(Error **errp);
bool colo_disks_cut(uint64_t epoch, bool durable, Error **errp);
void colo_disks_enter(uint64_t epoch);
void colo_disks_roll_back(void);
/*
 * P, when it asks for a checkpoint: is everything before the last cut that S
 * has entered on stable storage at both sides? The answer travels in REQUEST
 * and is given to cut() on both sides: the base of a later resync advances
 * by the same step on both.
 */
bool colo_disks_durable(void);
/* Tells all, whatever fails; the first error is returned. */
bool colo_disks_end(bool survivor, Error **errp);

/* A disk lost its peer or cannot go on: ask for the checkpoint that says so.
 * Any thread. */
void colo_disks_failed(void);

#endif
