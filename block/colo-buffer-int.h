/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: one disk of the secondary, as the files that carry it out see it.
 *
 *   colo-buffer.c    the pair: begin, cut, enter, roll back, end
 *   colo-guest-io.c  requests of the guest
 *   colo-ingress.c   the node through which the peer's requests come
 *   colo-peer-io.c   what has to happen before such a request may go on
 *   colo-late.c      such a request goes on by itself
 *   colo-accept.c    it need not come at all
 *   colo-memory.c    memory of the store; what a checkpoint drops is freed
 *   colo-spill.c     the spill file
 *   colo-merge.c     own and undo move into the parent after a takeover
 *
 * Requests come in any thread, many at a time. Three lists keep them apart:
 *
 *   writers   own writes, peers that save what they overwrite, pieces being
 *             merged: no two that overlap at the same time, since each of
 *             them looks at the maps, moves data and then changes the maps
 *   peers     writes of the peer, whole: in the order in which they came
 *   readers   reads of the guest. The peer's data goes to the parent when
 *             those that may still look at the old data there are done
 *
 * A request takes its turn in them in the order peers, writers; a reader waits
 * for nobody; so nobody waits in a circle. What changes the stage keeps the
 * guest's requests out by draining the node, and those of the peer by the
 * gate: draining the ingress would wait for the peer's connection as well,
 * which may have ended in the middle of a request.
 */
#ifndef BLOCK_COLO_BUFFER_INT_H
#define BLOCK_COLO_BUFFER_INT_H

#include "block/block.h"
#include "block/reqlist.h"
#include "colo-blocked.h"
#include "colo-buffer.h"
#include "colo/disk.h"
#include "colo/rhythm.h"
#include "qemu/coroutine.h"
#include "qemu/ratelimit.h"
#include "qemu/thread.h"

typedef struct ColoLate ColoLate;
typedef struct ColoAccept ColoAccept;

typedef struct ColoMerge {
    Coroutine *co;             /* main loop; NULL: none */
    QemuCoSleep sleep;
    QEMUBH *told_bh;           /* calls fn in the main loop */
    void (*fn)(void *opaque, int ret);
    void *opaque;
    int ret;                   /* what fn is told */
    bool is_news;              /* and it has not been yet */
    RateLimit limit;
    bool has_failed;
    bool hurry;                /* the node is closed: no pauses, one try */
    bool paused;               /* yields until the drained section ends */
} ColoMerge;

/* A read of the guest. */
typedef struct ColoReader {
    BlockReq req;
    uint64_t seq;              /* of its last look at the maps */
} ColoReader;

struct ColoBuffer {
    /* never change */
    BlockDriverState *bs;
    ColoBufferOptions options;
    char *spill_dir;
    void (*peer_write)(void *opaque, int64_t offset, int64_t bytes);
    void *peer_opaque;

    /* main thread; what requests need of it changes while they are kept out */
    BdrvChild *parent;
    BlockDriverState *ingress; /* NULL: none */
    bool paired;               /* from begin to end */
    bool fenced;               /* has taken over: nobody else writes */
    ColoBlocked *blocked;      /* NULL: not */
    unsigned quiesce_count;    /* the node is drained */
    unsigned jobs;             /* workers that free what was dropped */
    ColoMerge merge;

    bool active;               /* atomic, see colo_buffer_is_active() */

    QemuMutex lock;            /* what follows */
    ColoDisk *disk;
    BlockReqList writers;
    BlockReqList peers;
    BlockReqList readers;      /* of ColoReader */
    uint64_t reader_seq;
    bool gate_closed;
    CoQueue gate_queue;
    unsigned peer_count;       /* past the gate; also read atomically */
    unsigned saving_count;     /* of these, not yet at the parent; likewise */
    char *cause;               /* why BROKEN */
    ColoLate *late;
    ColoAccept *accept;
    GPtrArray *idle;           /* chunks nobody uses */
    bool no_next;              /* epoch, so none has to be kept */
    uint64_t chunk_count;      /* in use, idle or about to be freed */
    CoQueue chunk_queue;       /* waits for a job to return chunks */
    uint64_t memory_peak;      /* bytes */
    bool spill_used;
    int spill_fd;              /* -1: none */

    CoMutex spill_open;        /* before lock */
};

/* ----------------------------------------------------------- colo-memory */

/* Where a piece lies. */
typedef struct ColoPlace {
    uint64_t offset;           /* bytes, on the disk */
    uint64_t size;
    bool is_zero;              /* nowhere: zeroes */
    uint8_t *data;             /* NULL: in the spill file */
    uint64_t spill_offset;     /* there */
} ColoPlace;

void colo_memory_init(ColoBuffer *b);
/* Nothing is dropped or used any more. */
void colo_memory_destroy(ColoBuffer *b);

/* Of a piece that the maps have. Lock held. */
void colo_memory_find(ColoBuffer *b, const ColoPiece *piece,
                      ColoPlace *place);
/*
 * The same for a piece to be filled; it is given memory if it has none yet. 0
 * or -ENOMEM. Lock held, and dropped while it waits.
 */
int coroutine_fn colo_memory_take(ColoBuffer *b, const ColoPiece *piece,
                                  ColoPlace *place);
/*
 * Free @dropped in a worker; its chunks are kept for the next epoch, unless
 * there is none. Main thread.
 */
void colo_memory_release(ColoBuffer *b, ColoDropped *dropped, bool is_last);

/*
 * Move a part of a request, which begins at @start on the disk, to its place
 * or from it. @qiov NULL: zeroes. 0 or -errno.
 */
int coroutine_fn colo_place_put(ColoBuffer *b, const ColoPlace *place,
                                QEMUIOVector *qiov, size_t qiov_offset,
                                uint64_t start);
int coroutine_fn colo_place_get(ColoBuffer *b, const ColoPlace *place,
                                QEMUIOVector *qiov, size_t qiov_offset,
                                uint64_t start);

/* ------------------------------------------------------------ colo-spill */

/* An unlinked file in @dir, or -errno. */
int colo_spill_open(const char *dir, Error **errp);
/* All @bytes of @qiov from @qiov_offset on; 0 or -errno. */
int coroutine_fn colo_spill_co_rw(ColoBuffer *b, bool write, uint64_t offset,
                                  uint64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset);

/* ---------------------------------------------------------- colo-peer-io */

/* A write, zeroes or a discard of the peer. */
typedef struct ColoPeerWrite {
    BlockReq req;
    uint64_t offset;           /* bytes, on the disk */
    uint64_t bytes;
} ColoPeerWrite;

/* Does the peer's disk still come before this side's guest? Lock held. */
bool colo_peer_may_write(ColoBuffer *b);
/*
 * Past the gate and in turn; its place is noted. 0, and colo_peer_save() has
 * to follow, or -errno.
 */
int coroutine_fn colo_peer_enter(ColoBuffer *b, ColoPeerWrite *w);
/*
 * The same for a write of which nothing has to be saved, since the guest has
 * written over all of it. Nobody else is at work there. Lock held.
 */
void colo_peer_enter_own(ColoBuffer *b, ColoPeerWrite *w);
/*
 * Until no read of the guest is under way there that looked at the maps
 * before. Lock held, dropped meanwhile.
 */
void coroutine_fn colo_peer_wait_for_readers(ColoBuffer *b,
                                             const ColoPeerWrite *w);
/* 0: the parent may be written, and colo_peer_end() has to follow. */
int coroutine_fn GRAPH_RDLOCK colo_peer_save(ColoBuffer *b,
                                             ColoPeerWrite *w);
/* Both of these. */
int coroutine_fn GRAPH_RDLOCK colo_peer_begin(ColoBuffer *b,
                                              ColoPeerWrite *w);
void coroutine_fn colo_peer_end(ColoBuffer *b, ColoPeerWrite *w);

/* ------------------------------------------------------------- colo-late */

/* What a write of the peer brings. */
typedef struct ColoPeerData {
    uint64_t offset;           /* bytes, on the disk */
    uint64_t bytes;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    BdrvRequestFlags flags;
} ColoPeerData;

void colo_late_init(ColoBuffer *b);
/* Main thread. */
void colo_late_destroy(ColoBuffer *b);
/* A new pair: what failed in the last one is no matter any more. */
void colo_late_reset(ColoBuffer *b);
/* The peer is gone: let the last ones end, give memory back. Main thread. */
void colo_late_forget(ColoBuffer *b);
/* Memory for late writes at most; less than the limit. Any thread. */
uint64_t colo_late_bytes_max(const ColoBuffer *b);
/*
 * True: it is acknowledged by *@ret being 0 and done by itself, or refused.
 * False: it has to be done while the peer waits.
 */
bool coroutine_fn colo_late_write(ColoBuffer *b, BlockDriverState *ingress,
                                  const ColoPeerData *data, int *ret);
/* All that were acknowledged so far are on the parent; or one failed. */
int coroutine_fn colo_late_wait(ColoBuffer *b);
/* The same for a flush of the peer's, before the parent is flushed. */
int coroutine_fn colo_late_flush(ColoBuffer *b);
/*
 * None is under way; but a disk that does nothing for long counts as one that
 * fails. Main thread; the gate is closed.
 */
void colo_late_settle(ColoBuffer *b);
/* -errno of the first that failed, or 0. Lock held. */
int colo_late_error_locked(const ColoBuffer *b);

/*
 * What this side's guest has written, and the peer's as well. Nobody changes
 * it until it is on the parent: @turn is in the writers' list.
 */
typedef struct ColoOwnWrite {
    BlockReq turn;
    uint64_t offset;           /* bytes, on the disk */
    uint64_t bytes;
    QEMUIOVector qiov;         /* in the store */
    GArray *pieces;            /* ColoPiece, the same */
} ColoOwnWrite;

/* No more than a certain amount of them is under way. Lock held. */
bool colo_late_has_room(const ColoBuffer *b, uint64_t bytes);
/*
 * It goes to the parent by itself; nobody else is at work there. Takes @own.
 * BQL; lock held.
 */
void colo_late_own_locked(ColoBuffer *b, ColoOwnWrite *own);

/* ----------------------------------------------------------- colo-accept */

void colo_accept_init(ColoBuffer *b);
/* Main thread. */
void colo_accept_destroy(ColoBuffer *b);
void colo_own_write_free(ColoOwnWrite *own);
/*
 * The guest has written these bytes, and still has its turn there. Lock held,
 * dropped meanwhile.
 */
void colo_accept_wrote(ColoBuffer *b, uint64_t offset, uint64_t bytes);
/*
 * The guest has written these bytes, or a request there is done: offers that
 * wait for that are looked at again. Lock held.
 */
void colo_accept_notice(ColoBuffer *b, uint64_t offset, uint64_t bytes);

/* ---------------------------------------------------------- colo-ingress */

/* Everyone who may write to the parent goes through it from now on. */
bool colo_ingress_insert(ColoBuffer *b, Error **errp);
/* The graph is as before. */
void colo_ingress_remove(ColoBuffer *b);
/* It stays as long as somebody uses it, and lets nobody write any more. */
void colo_ingress_fence(ColoBuffer *b);

/* ------------------------------------------------------------ colo-merge */

void colo_merge_init(ColoBuffer *b);
void colo_merge_start(ColoBuffer *b, void (*merged)(void *opaque, int ret),
                      void *opaque);
/* Stops it where it is. */
void colo_merge_destroy(ColoBuffer *b);

/* ----------------------------------------------------------- colo-buffer */

/* Own data could not be kept. Lock not held; any thread. */
void colo_buffer_break(ColoBuffer *b, const char *what, int ret);
/* Enter @req into @list, when nobody there overlaps it. Lock held. */
void coroutine_fn colo_buffer_take_turn(ColoBuffer *b, BlockReqList *list,
                                        BlockReq *req, uint64_t offset,
                                        uint64_t bytes);

#endif
