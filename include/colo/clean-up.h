/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: taking what it added to a QEMU away again, decided.
 *
 * The glue lists all parts that it can tell to be COLO's, with what it knows
 * of each; colo_clean_decide() says of each whether it goes or stays, or
 * refuses all of it. Refusing comes first: nothing has been taken away then.
 *
 * Parts are taken away in the order of ColoCleanKind, and those of one kind in
 * the order in which they were listed. Two rules make that order. What may
 * still fail, as somebody has a say in it whom the glue cannot ask, comes
 * before all else. And who uses a thing goes before it: exports before their
 * server, filters before their chardevs, a copy before the disk that it is of
 * and before the node that leads to it.
 */
#ifndef COLO_CLEAN_UP_H
#define COLO_CLEAN_UP_H

#include <glib.h>
#include <stdbool.h>

/* QAPI's ColoPartKind, in its order. */
typedef enum ColoCleanKind {
    COLO_CLEAN_FORWARDER,   /* replication node of a quorum */
    COLO_CLEAN_EXPORT,      /* through which the peer wrote to a disk */
    COLO_CLEAN_SERVER,      /* of these exports; has no name of its own */
    COLO_CLEAN_FILTER,      /* mirror or redirector */
    COLO_CLEAN_COMPARE,
    COLO_CLEAN_REWRITER,
    COLO_CLEAN_CHARDEV,
    COLO_CLEAN_COPY,        /* of the disk whose name it has */
    COLO_CLEAN_DISK,        /* replication node above a disk */
    COLO_CLEAN_NODE,        /* that led to the peer's disk */
    COLO_CLEAN_SETTING,
    COLO_CLEAN_LIMITS,
    COLO_CLEAN__MAX
} ColoCleanKind;

typedef struct ColoCleanPart {
    ColoCleanKind kind;
    char *name;
    char *user;             /* one that is not COLO's, and what it does:
                             * "job 'x' uses it"; NULL: none */
    GPtrArray *owners;      /* parts that use it; not owned */
    bool in_pair;           /* it plays its role */
    bool is_merging;        /* a disk */
    bool is_busy;           /* a rewriter: connections need it */
    bool goes;              /* decided */
} ColoCleanPart;

/* What the whole QEMU is doing. */
typedef enum ColoCleanState {
    COLO_CLEAN_IDLE,
    COLO_CLEAN_IN_COLO,     /* protected, or not over yet */
    COLO_CLEAN_DEAD,        /* must not go on */
    COLO_CLEAN_WAITING,     /* for a primary or another migration */
    COLO_CLEAN_MIGRATING,
} ColoCleanState;

/* What is to stay, as bits. */
typedef enum ColoCleanKeep {
    COLO_CLEAN_KEEP_DISKS = 1,
    COLO_CLEAN_KEEP_CONNECTIONS = 2,
    COLO_CLEAN_KEEP_LIMITS = 4,
} ColoCleanKeep;

typedef enum ColoCleanVerdict {
    COLO_CLEAN_OK,
    COLO_CLEAN_BAD_STATE,   /* see the state */
    COLO_CLEAN_IS_PAIRED,   /* part @who is; there is no session */
    COLO_CLEAN_IS_MERGING,
    COLO_CLEAN_IS_USED,     /* by its .user */
} ColoCleanVerdict;

/* ColoCleanPart; owns them. */
GPtrArray *colo_clean_list_new(void);
/* At the end of the list, which owns it; nothing is decided of it. */
ColoCleanPart *colo_clean_add(GPtrArray *list, ColoCleanKind kind,
                              const char *name);
void colo_clean_add_owner(ColoCleanPart *part, ColoCleanPart *owner);
/* NULL: there is none. */
ColoCleanPart *colo_clean_find(GPtrArray *list, ColoCleanKind kind,
                               const char *name);

/*
 * Does a thing of this name, which nobody uses, belong to COLO? Whoever makes
 * such things for COLO, and may be interrupted before they are in use, gives
 * them names of this kind.
 */
bool colo_clean_is_own_name(const char *name);

/*
 * Sets .goes of all, and puts @list into the order in which parts are taken
 * away. @who: NULL, or the part that the verdict is about.
 */
ColoCleanVerdict colo_clean_decide(GPtrArray *list, ColoCleanState state,
                                   unsigned keep, const ColoCleanPart **who);

#endif
