/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COLO: the flows that the rewriter knows. Private to rewrite*.c. */
#ifndef COLO_REWRITE_INT_H
#define COLO_REWRITE_INT_H

#include <string.h>
#include <glib.h>
#include "colo/rewrite.h"
#include "tcp-key.h"

/* What each means: rewrite.c. */
typedef enum FlowState {
    FLOW_SYN_SENT,
    FLOW_ANSWERED,
    FLOW_LEARNED,
} FlowState;

typedef struct Flow {
    ColoTcpKey key;
    uint8_t state;             /* FlowState */
    bool isn_known;            /* not if imported */
    bool has_timestamp;        /* the guest's SYN had one */
    bool guest_fin, client_fin, rst;
    bool listed;               /* link is in .passing */
    uint32_t isn;              /* the guest's own */
    uint32_t syn_end;          /* what acknowledges its SYN, own numbers */
    uint32_t syn_tsval;
    uint32_t client_next;      /* ANSWERED: next that the guest expects */
    uint32_t seq_delta;        /* client's view minus guest's */
    uint32_t ts_delta;
    int64_t last_us;
    GList link;                /* .data is the flow */
} Flow;

struct ColoRewrite {
    GHashTable *flows;         /* by .key of Flow */
    GQueue passing;            /* half-open and ended, oldest first */
    uint32_t flows_max;
    int64_t linger_us;
    bool learning;
    ColoRewriteStats stats;
};

static inline bool flow_has_difference(const Flow *flow)
{
    return flow->seq_delta != 0 || flow->ts_delta != 0;
}

/* NULL: there is none. */
Flow *colo_rewrite_find(const ColoRewrite *r, const ColoTcpKey *key);
/* NULL: no room, and nothing that could make some. */
Flow *colo_rewrite_add(ColoRewrite *r, const ColoTcpKey *key);
void colo_rewrite_drop(ColoRewrite *r, Flow *flow);
/* After each frame: the flow's place in the list, or that it has none. */
void colo_rewrite_touch(ColoRewrite *r, Flow *flow, int64_t now_us);

#endif
