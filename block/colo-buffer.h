/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the secondary's side of one disk. Carries out what the core
 * (colo/disk.h) decides: moves data between the guest, the store (memory and
 * spill file) and the parent, keeps requests that overlap apart, puts the
 * ingress node above the parent while a pair exists, merges after a takeover.
 */
#ifndef BLOCK_COLO_BUFFER_H
#define BLOCK_COLO_BUFFER_H

#include "block/block_int.h"
#include "block/colo.h"
#include "qapi/qapi-types-colo-disk.h"

typedef struct ColoBuffer ColoBuffer;

typedef struct ColoBufferOptions {
    uint64_t limit_bytes;      /* memory for own and undo */
    const char *spill_dir;     /* NULL: where QEMU keeps temporary files */
    uint64_t merge_speed;      /* bytes/s after a takeover; 0: no limit */
    bool shared;               /* the primary writes to the same image */
} ColoBufferOptions;

/* @bs: the replication node. Nothing is inserted yet. */
ColoBuffer *colo_buffer_new(BlockDriverState *bs,
                            const ColoBufferOptions *options);
/* Stops first if it has to. Main thread. NULL is ignored. */
void colo_buffer_free(ColoBuffer *b);

/*
 * Whether the guest's requests go through the functions below; else the
 * parent holds all and they go there directly. Any thread, in a request.
 */
bool colo_buffer_is_active(ColoBuffer *b);

/*
 * A pair begins: @parent (a child of the replication node) becomes what the
 * primary writes to. Every other user of the parent's node, such as an NBD
 * export, is led through an ingress node of ours; an export made later must
 * name the parent's node too and is led there as well. On failure the graph
 * is as before. Main thread, guest stopped.
 */
bool colo_buffer_begin(ColoBuffer *b, BdrvChild *parent, Error **errp);
/* Main thread or BQL, guest stopped and drained; see block/colo.h. */
bool colo_buffer_check(ColoBuffer *b, Error **errp);
void colo_buffer_cut(ColoBuffer *b);
void colo_buffer_enter(ColoBuffer *b);
void colo_buffer_roll_back(ColoBuffer *b);
/*
 * The pair has ended. @survivor: own and undo are merged into the parent in
 * the background, @merged (may be NULL) is called in the main thread: with
 * -errno once if something cannot be merged, which is tried again and again,
 * and with 0 when all is in the parent and durable. Before end() returns,
 * @differs is called for each run that differs from the peer's disk. Not
 * survivor: all is dropped. Never fails when not active. Guest stopped or not.
 * May free @b, if the pair was the last user of its node.
 */
bool colo_buffer_end(ColoBuffer *b, bool survivor,
                     void (*differs)(void *opaque, int64_t offset,
                                     int64_t bytes),
                     void (*merged)(void *opaque, int ret),
                     void *opaque, Error **errp);
/* The peer offers a write, or nothing any more; see block/colo.h. BQL. */
ColoOffered colo_accept_offer(ColoBuffer *b, const ColoOffer *offer);
void colo_accept_decline(ColoBuffer *b);
/* Between these the merge does nothing. Main thread. */
void colo_buffer_drained_begin(ColoBuffer *b);
void colo_buffer_drained_end(ColoBuffer *b);
/*
 * What the replication node may do to the parent, and lets others do, as far
 * as a pair or a takeover changes that. From its .bdrv_child_perm.
 */
void colo_buffer_perm(ColoBuffer *b, uint64_t *perm, uint64_t *shared);
/* A node through which a peer came that is gone. Main thread. */
bool GRAPH_RDLOCK colo_ingress_is_unused(BlockDriverState *bs);
/*
 * Whether a survivor keeps all others from writing to the parent; returns what
 * was so before. Takes effect when permissions are refreshed next, which the
 * caller causes. Main thread.
 */
bool colo_buffer_set_fence(ColoBuffer *b, bool fenced);
ColoDiskBufferInfo *colo_buffer_info(ColoBuffer *b);
/* The peer writes these bytes of the parent; called before it does. */
void colo_buffer_on_peer_write(ColoBuffer *b,
                               void (*fn)(void *opaque, int64_t offset,
                                          int64_t bytes),
                               void *opaque);

/* Requests of the guest; only while active. As the BlockDriver's of these
 * names; zeroes and discards are kept without their bytes. */
int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_preadv(ColoBuffer *b, int64_t offset, int64_t bytes,
                      QEMUIOVector *qiov, size_t qiov_offset);
int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_pwritev(ColoBuffer *b, int64_t offset, int64_t bytes,
                       QEMUIOVector *qiov, size_t qiov_offset,
                       BdrvRequestFlags flags);
int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_pwrite_zeroes(ColoBuffer *b, int64_t offset, int64_t bytes,
                             BdrvRequestFlags flags);
int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_pdiscard(ColoBuffer *b, int64_t offset, int64_t bytes);
/* Only what has been merged matters to a flush: the parent's. */
int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_flush(ColoBuffer *b);
int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_block_status(ColoBuffer *b, bool want_zero, int64_t offset,
                            int64_t bytes, int64_t *pnum, int64_t *map,
                            BlockDriverState **file);

#endif
