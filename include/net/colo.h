/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO's network half as the session (migration/colo-*.c) drives it, and the
 * register of its parts.
 *
 * Parts are filter-mirror, filter-redirector, filter-rewriter and
 * colo-compare objects. Each enters itself here when it is made; the session
 * tells all of them at once what happens to the pair: it begins, a cut is
 * taken, a checkpoint has been loaded, it ends. So every stream between the
 * two sides is marked at the same moment, with the guest standing still.
 *
 * Everything here is for the main thread or a thread with the BQL, unless
 * said otherwise. Nothing here waits for the peer or for another thread.
 */
#ifndef NET_COLO_H
#define NET_COLO_H

#include "qemu/queue.h"
#include "qemu/typedefs.h"
#include "qapi/qapi-types-colo-net.h"
#include "colo/clean-up.h"

typedef enum ColoNetRole {
    COLO_NET_NONE,             /* no pair: filters are plain filters */
    COLO_NET_PRIMARY,
    COLO_NET_SECONDARY,
} ColoNetRole;

typedef struct ColoNetPart ColoNetPart;

/* Each may be NULL. */
typedef struct ColoNetPartOps {
    void (*begin)(ColoNetPart *part);
    /* P, guest stopped: what follows in every stream belongs to @epoch. */
    void (*cut)(ColoNetPart *part, uint64_t epoch);
    /* P: the secondary has loaded @epoch. */
    void (*release)(ColoNetPart *part, uint64_t epoch);
    /* S, guest stopped: it is now the primary's of cut @epoch. */
    void (*enter)(ColoNetPart *part, uint64_t epoch);
    /* P: leave at checkpoints only / by comparison again. */
    void (*buffer)(ColoNetPart *part, bool on);
    /* S: device state is going to be loaded. */
    void (*before_load)(ColoNetPart *part);
    /* @survivor: this side goes on with its guest; else it is over. */
    void (*end)(ColoNetPart *part, bool survivor);
    /* S: every part has ended, and this side goes on. */
    void (*alone)(ColoNetPart *part);
    /* S: this came from clients by @netdev and is not for the guest yet. */
    void (*early)(ColoNetPart *part, NetClientState *netdev,
                  const struct iovec *iov, int iovcnt);
    /* Add what query-colo shows; NULL: nothing of its own. */
    ColoNicInfo *(*info)(ColoNetPart *part);
    /* Set or clear one pass-through rule; see colo-pass.c. */
    void (*rules_changed)(ColoNetPart *part);
    /* QEMU ends: let go of chardevs now, if netdevs do not end the part. */
    void (*shutdown)(ColoNetPart *part);
} ColoNetPartOps;

struct ColoNetPart {
    const ColoNetPartOps *ops;
    const char *name;          /* object id, for messages; may be NULL */
    QTAILQ_ENTRY(ColoNetPart) next;
};

/* A part made while a pair exists is told to begin at once. */
void colo_net_add(ColoNetPart *part);
void colo_net_remove(ColoNetPart *part);
/*
 * May a part be taken away now? In lockstep it is needed; once the other
 * side is lost or a failover was asked for, scripts take parts away.
 */
bool colo_net_may_remove(void);

ColoNetRole colo_net_role(void);
/* Last cut (primary) or last checkpoint loaded (secondary). */
uint64_t colo_net_epoch(void);
/* True while the primary leaves output to checkpoints (hybrid mode). */
bool colo_net_buffering(void);

/* For a part that drops what clients send to the secondary itself. */
void colo_net_early(NetClientState *netdev, const struct iovec *iov,
                    int iovcnt);

/* ---------------------------------------------- driven by the session */

void colo_net_begin(bool primary);
void colo_net_cut(uint64_t epoch);
void colo_net_release(uint64_t epoch);
void colo_net_enter(uint64_t epoch);
void colo_net_buffer(bool on);
void colo_net_before_load(void);
void colo_net_end(bool survivor);
/*
 * Main thread, at the end of QEMU. Chardevs go before objects do: without this
 * they would go from under threads that use them.
 */
void colo_net_shutdown(void);
/* One entry per NIC with a comparer or rewriter. */
ColoNicInfoList *colo_net_info(void);

/* Adds all objects and chardevs that are COLO's. Main thread. */
void colo_clean_find_net(GPtrArray *list);
/* Takes one of them away. */
void colo_clean_take_net(const ColoCleanPart *part, Error **errp);

/* For Xen, whose toolstack has no epochs: the next one, loaded. */
void colo_net_next_epoch(void);

#endif
