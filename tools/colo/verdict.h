/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From what both sides say to one answer: protected or not, why not, and what
 * to do next.
 *
 * Only a QEMU knows whether it is in lockstep, so "protected" is what the
 * primary's QEMU says; everything else explains why it does not.
 */
#ifndef COLO_TOOL_VERDICT_H
#define COLO_TOOL_VERDICT_H

#include "host.h"
#include "pair.h"
#include "report.h"

typedef enum ColoReach {
    COLO_REACH_FINE,        /* its QEMU answered */
    COLO_REACH_UNKNOWN,     /* nobody knows where it is */
    COLO_REACH_NO_HOST,     /* its libvirt does not answer */
    COLO_REACH_NO_DOMAIN,   /* libvirt answers, the domain does not run */
    COLO_REACH_SILENT,      /* it runs, and its QEMU does not answer */
} ColoReach;

/* One side as far as it could be seen. */
typedef struct ColoSide {
    ColoReach reach;
    char *uri;              /* NULL: libvirt's default */
    char *host;             /* name of the host, if known */
    char *problem;          /* why it could not be asked */
    ColoDomState state;
    bool is_crashed;
    bool is_guest_paused;   /* by a user, an I/O error, ... */
    ColoPair *pair;         /* NULL: remembers nothing */
    ColoReport *report;     /* COLO_REACH_FINE, and it has COLO */
    JsonNode *raw;          /* what query-colo returned */
    int copy_percent;       /* of the memory; -1: not under way */
    int sync_percent;       /* of the disks; -1: not under way */
    uint64_t interval_ms;
    uint64_t guest_bytes;   /* memory of the guest */
    char *change;           /* what is not covered by the protection */
} ColoSide;

void colo_side_clear(ColoSide *side);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ColoSide, colo_side_clear)

/* In the order of the page docs/colo-status.md. */
typedef enum ColoWord {
    COLO_WORD_PROTECTED,
    COLO_WORD_PAUSED,
    COLO_WORD_STARTING,
    COLO_WORD_RESYNCING,
    COLO_WORD_PRIMARY_LOST,
    COLO_WORD_SECONDARY_LOST,
    COLO_WORD_LINK_LOST,
    COLO_WORD_ALONE,
    COLO_WORD_CHANGED,
    COLO_WORD_SECONDARY_BROKEN,
    COLO_WORD_STALE,
    COLO_WORD_INTERRUPTED,
    COLO_WORD_SILENT,
    COLO_WORD_SHUT_OFF,
    COLO_WORD_NEVER,
    COLO_WORD__MAX
} ColoWord;

typedef struct ColoVerdict {
    ColoWord word;
    bool is_protected;
    int percent;            /* -1: none belongs to the word */
    char *detail;           /* NULL: none */
    char *remedy;           /* NULL: nothing is to be done */
    const ColoSide *primary;/* NULL: neither is */
    const ColoSide *secondary;
} ColoVerdict;

void colo_verdict_clear(ColoVerdict *verdict);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ColoVerdict, colo_verdict_clear)

/* @here was asked for; @peer is where it says that its peer is. */
void colo_verdict(ColoVerdict *verdict, const char *domain,
                  const ColoSide *here, const ColoSide *peer);

const char *colo_word_text(ColoWord word);

/* `Protected`, or `Not protected (Resyncing 42 %)`. Caller frees. */
char *colo_verdict_text(const ColoVerdict *verdict);

#endif
