/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the replication node, as its own files see it.
 *
 * Kinds:
 *   FORWARDER  `mode=primary`: a child of a quorum; sends what is written to
 *              it to its file child, the peer's export. Is never read.
 *   DISK       everything else: a filter above the disk of the guest, that can
 *              be either side. `mode=secondary` with `top-id` has two scratch
 *              images between itself and the disk, as older command lines
 *              have them; they are opened and left alone.
 *
 * Who may touch what: the options never change; role, forward and in_sync
 * change in the main thread, with the node drained, and are read by requests;
 * buffer, forward and track look after themselves.
 */
#ifndef BLOCK_REPLICATION_INT_H
#define BLOCK_REPLICATION_INT_H

#include "block/block-global-state.h"
#include "block/block-io.h"
#include "block/block_int.h"
#include "block/colo.h"
#include "qemu/stats64.h"
#include "colo-blocked.h"
#include "colo-buffer.h"
#include "colo-forward.h"
#include "colo-label.h"
#include "colo-ranges.h"
#include "colo-track.h"

/* The name of the child through which the peer's disk is written. */
#define REPLICATION_TARGET "target"

typedef enum ReplicationRole {
    REPLICATION_ROLE_NONE,
    REPLICATION_ROLE_PRIMARY,
    REPLICATION_ROLE_SECONDARY,
} ReplicationRole;

typedef struct BDRVReplicationState {
    ColoDiskPart part;
    BlockDriverState *bs;

    /* options */
    bool is_forwarder;
    bool has_mode;
    char *top_id;
    uint32_t limit_ms;
    uint64_t checkpoint_bytes;
    ColoBufferOptions options;
    char *spill_dir;
    char *state_file;
    bool ignore_state;

    BdrvChild *parent;         /* the guest's disk; DISK only */
    BdrvChild *target;         /* the peer's export, if attached */
    char *copy_name;           /* of its node, also of the last one */
    ReplicationRole role;
    char *session;             /* that the role belongs to */
    bool is_labelled;          /* the label names it */
    ColoBuffer *buffer;        /* DISK only */
    ColoForward *forward;      /* with target */
    ColoRanges ranges;
    ColoTrack *track;          /* DISK only */
    ColoLabel *label;          /* DISK only */
    bool in_sync;              /* the peer's disk equals this one */
    bool has_failed_here;      /* but for what failed on this one; atomic */
    bool is_flushing;          /* the primary's own flush is under way; both
                                * atomic */
    bool is_flushed;           /* all before the last mark is durable */
    int64_t flushed_ms;        /* when the last such flush began */
    bool is_flushing_early;    /* before the guest asks for it; atomic */
    Coroutine *early_flush;    /* that does so; atomic, to be compared only */
    int early_error;           /* it failed; atomic */
    BlockJob *job;             /* the resync; NULL: none */
    Stat64 copied_bytes;       /* by the last one */
    ColoBlocked *blocked;      /* while there is a target, or a pair */
    BlockDriverState *above;   /* a forwarder's neighbours when the pair began;
                                * only to be compared */
    BlockDriverState *below;
    char *error;               /* what ended it, for query-colo */
} BDRVReplicationState;

/* ------------------------------------------------------- replication.c */

typedef struct ReplicationWrite {
    ColoForwardOp op;          /* not FLUSH */
    int64_t offset;
    int64_t bytes;
    QEMUIOVector *qiov;        /* WRITE only */
    size_t qiov_offset;
    BdrvRequestFlags flags;
} ReplicationWrite;

/* NULL unless @bs is a replication node, of either kind. */
BDRVReplicationState *replication_of(BlockDriverState *bs);
/* The one behind @s, or the first; NULL: no more. Main thread. */
BDRVReplicationState *replication_next(BDRVReplicationState *s);
/* NULL with @errp unless @node_name names a replication node of kind DISK. */
BDRVReplicationState *replication_find(const char *node_name, Error **errp);

/* What the guest sees on this side; DISK only. */
int coroutine_fn GRAPH_RDLOCK
replication_read_co(BDRVReplicationState *s, int64_t offset, int64_t bytes,
                    QEMUIOVector *qiov, size_t qiov_offset,
                    BdrvRequestFlags flags);
/* To the buffer or the parent, as the stage of the buffer is. */
int coroutine_fn GRAPH_RDLOCK
replication_write_here_co(BDRVReplicationState *s, const ReplicationWrite *w);
int coroutine_fn GRAPH_RDLOCK
replication_flush_here_co(BDRVReplicationState *s);

/* --------------------------------------------- replication-session.c */

/* The node takes part in what the register says, from now on. */
void replication_session_join(BDRVReplicationState *s);
void replication_session_leave(BDRVReplicationState *s);
/* For query-colo; takes @err. */
void replication_set_error(BDRVReplicationState *s, Error *err);
/* A merge was interrupted, and none is under way. */
bool replication_needs_resync(BDRVReplicationState *s);

/* --------------------------------------------- replication-primary.c */

int coroutine_fn GRAPH_RDLOCK
replication_primary_write_co(BDRVReplicationState *s,
                             const ReplicationWrite *w);
int coroutine_fn GRAPH_RDLOCK
replication_primary_flush_co(BDRVReplicationState *s);

/* False: the copy may have what could not be written or flushed here. */
bool replication_primary_is_even(BDRVReplicationState *s, Error **errp);

/* As in block/colo.h. */
bool replication_primary_begin(BDRVReplicationState *s, Error **errp);
bool replication_primary_check(BDRVReplicationState *s, Error **errp);
void replication_primary_enter(BDRVReplicationState *s);
bool replication_primary_is_durable(BDRVReplicationState *s);
/*
 * Not @survivor: the begin is taken back, the copy stays. May free @s, if
 * nobody else uses the node.
 */
void replication_primary_end(BDRVReplicationState *s, bool survivor);

/*
 * From now on what the guest writes goes to @target first. Main thread; the
 * node is drained inside.
 */
bool replication_attach(BDRVReplicationState *s, BlockDriverState *target,
                        Error **errp);
/* A resync is cancelled. Nothing if there is no target. May free @s. */
void replication_detach(BDRVReplicationState *s);

/* ---------------------------------------------------- colo-insert.c */

/*
 * Out from between a disk and its users, and away. For who has seen that
 * there is no pair, no copy and nothing to merge. @s is gone then.
 */
void replication_take_out(BDRVReplicationState *s, Error **errp);

/* ---------------------------------------------------- colo-resync.c */

/*
 * Copy to the target what differs (not @is_full: by the track), in a job of
 * this @id. In the end in_sync is set, or the target is detached. @speed in
 * bytes/s, 0: no limit.
 */
bool replication_resync(BDRVReplicationState *s, const char *id, bool is_full,
                        int64_t speed, bool auto_dismiss, Error **errp);

#endif
