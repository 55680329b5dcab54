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
#include "colo-buffer.h"
#include "colo-forward.h"
#include "colo-track.h"

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

    BdrvChild *parent;         /* the guest's disk; DISK only */
    BdrvChild *target;         /* the peer's export, if attached */
    ReplicationRole role;
    ColoBuffer *buffer;        /* DISK only */
    ColoForward *forward;      /* with target */
    ColoTrack *track;          /* DISK only */
    bool in_sync;              /* the peer's disk equals this one */
    char *error;               /* what ended it, for query-colo */
} BDRVReplicationState;

/* NULL with @errp unless @node_name names a replication node of kind DISK. */
BDRVReplicationState *replication_find(const char *node_name, Error **errp);

/*
 * From now on what the guest writes goes to @target first. Main thread; the
 * node is drained inside.
 */
bool replication_attach(BDRVReplicationState *s, BlockDriverState *target,
                        Error **errp);
void replication_detach(BDRVReplicationState *s);

#endif
