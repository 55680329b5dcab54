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
#include "colo/wire.h"

typedef struct ColoDiskPart ColoDiskPart;

typedef enum ColoOffered {
    COLO_OFFERED_ACCEPT,
    COLO_OFFERED_DECLINE,
    COLO_OFFERED_WAIT,
} ColoOffered;

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
    /*
     * S: the primary offers a write to this disk. What cannot be answered
     * at once is by colo_offer_answer(), or at the latest by decline().
     */
    ColoOffered (*offered)(ColoDiskPart *part, const ColoOffer *offer);
    /* S: whatever is offered and not answered yet is declined. */
    void (*decline)(ColoDiskPart *part);
    /* The node, for the number of the disk. */
    BlockDriverState *(*node)(ColoDiskPart *part);
    /* QEMU exits: leave the pair, let the peer's disk go; may free @part. */
    void (*shutdown)(ColoDiskPart *part);
    ColoDiskInfo *(*info)(ColoDiskPart *part);
} ColoDiskOps;

struct ColoDiskPart {
    const ColoDiskOps *ops;
    uint64_t number;           /* of the disk in a pair that can offer writes,
                                * the same on both sides; else 0 */
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

/* -------------------------------- writes offered (block/colo-offer.c) */

typedef struct ColoOfferOps {
    /* Keyed hash of all of @iov, the same on both sides. Any thread. */
    void (*hash)(const struct iovec *iov, size_t niov,
                 uint8_t out[COLO_HASH_BYTES]);
    /* An offer or an answer is to be sent. Any thread. */
    void (*kick)(void);
    /* What is called the same on both sides, as a number; 0: nothing. */
    uint64_t (*number)(DeviceState *dev);
} ColoOfferOps;

/*
 * A pair has just begun; @can_offer: on both sides. @ops stay for ever. BQL,
 * guest stopped.
 */
void colo_offers_begin(const ColoOfferOps *ops, bool can_offer);

typedef enum ColoOffersWhen {
    COLO_OFFERS_NOW,
    COLO_OFFERS_LATER,         /* nor is sent what has not been yet */
    COLO_OFFERS_NEVER,         /* nor will there be an answer */
} ColoOffersWhen;

/* P: may writes be offered? Any thread. */
void colo_offers_allow(ColoOffersWhen when);
/* P: the next one to be sent. False: there is none. Any thread. */
bool colo_offers_next(ColoOffer *offer);
void colo_offers_answered(const ColoAnswer *answer);
/* P: no answer will come, and nobody knows what it would have been. */
void colo_offers_lost(int ret);
/* P: one waits for its answer. */
bool colo_offers_are_open(void);

/* S: an offer has come. BQL. True: @answer is to be sent now. */
bool colo_disks_offered(const ColoOffer *offer, ColoAnswer *answer);
/* S: none waits any longer; the last answers are there to be sent. BQL. */
void colo_disks_decline(void);
/* S: the next answer to be sent. False: there is none. Any thread. */
bool colo_offers_next_answer(ColoAnswer *answer);

/* Adds all nodes, copies, exports and their server. Main thread. */
void colo_clean_find_disks(GPtrArray *list);
/* Takes one of them away. Nothing of it is on its way then. */
void colo_clean_take_disk(const ColoCleanPart *part, Error **errp);

#endif
