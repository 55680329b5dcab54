/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: inside of the comparer. Nobody but net/colo/compare*.c, flow.c,
 * fragment.c and item.c includes this.
 *
 * An item is what is compared or held as one: a frame, or all fragments of a
 * datagram. Items of the primary are in the list of everything held, in
 * order of arrival, from push to release; most are in the queue of a flow as
 * well. Items of the secondary are in their flow's queue only.
 */
#ifndef COLO_COMPARE_INT_H
#define COLO_COMPARE_INT_H

#include <string.h>
#include <glib.h>
#include "colo/compare.h"

typedef struct ColoFlow ColoFlow;
typedef struct ColoItem ColoItem;
typedef struct ColoLive ColoLive;

/* Compared and hashed as bytes: no padding. */
typedef struct ColoFlowKey {
    uint8_t src[16], dst[16];
    uint16_t src_port, dst_port;
    uint16_t tags[2];
    uint16_t ethertype;
    uint8_t kind, proto;
} ColoFlowKey;

struct ColoItem {
    ColoItem *next;            /* in its flow's queue */
    ColoItem *older, *newer;   /* of all that is held; primary only */
    ColoNetFrame *frames;      /* linked by .next */
    ColoNetFrame **frames_end;
    int64_t since_us;
    uint32_t count, bytes;     /* of frames */
    /* TCP: places in the stream; [start, end), the FIN is a place. */
    uint32_t start, end;
    uint32_t left;             /* everything before it has left already */
    bool made;                 /* here: no frame of the primary */
    bool secondary;            /* of the secondary; was begun as such */
    bool kept_ack;             /* it is, or has been, its flow's .ack */
    ColoPacket view;           /* of the first frame; the last member */
};

/* What a flow needs only while something waits in it. */
struct ColoLive {
    ColoLive *prev, *next;     /* of all that are alive */
    ColoFlow *flow;
    ColoItem *primary, **primary_end;       /* order of arrival */
    ColoItem *secondary, **secondary_end;   /* TCP: order of the stream */
    ColoItem *later, **later_end;           /* S: behind a SYN that is early */
    uint32_t primary_count, secondary_count;
    bool reordered;            /* primary: not in the order of the stream */
    bool s_rst;                /* the secondary's RST has come */
    uint32_t s_rst_seq, s_rst_ack;
    bool s_rst_has_ack;
    ColoItem *s_syn;           /* the secondary's SYN, until it is matched */
    int64_t split_us;          /* when cmp came to be inside a segment; 0 */
    ColoItem *ack;             /* P: newest frame whose ack may not leave yet */
    int64_t ack_since_us;      /* the client waits for more than has left */
};

typedef struct ColoTcpFlow {
    uint32_t cmp;              /* before it both sides agree */
    uint32_t isn, s_isn;       /* of each side's SYN */
    uint32_t begin;            /* where comparing began, if in mid-stream */
    uint32_t least;            /* cmp will not be less: common at the cut */
    uint32_t p_rst;            /* where the primary has reset it */
    uint32_t p_end;            /* highest place the primary has sent */
    uint32_t p_ack, s_ack;     /* highest each side has acknowledged */
    uint32_t left_ack;         /* highest that has left */
    uint32_t left_time;        /* timestamp of what left last */
    uint16_t p_window, s_window;    /* with p_ack, s_ack; not scaled */
    uint16_t left_window;      /* that has left last */
    bool cmp_known, p_end_known, p_ack_known, s_ack_known, left_ack_known;
    bool begin_known, isn_known, s_isn_known;
    bool left_time_known;
    bool least_known;
    bool p_rst_known, rst_agreed;
    bool syn_waits;            /* the primary's SYN waits for its twin */
} ColoTcpFlow;

struct ColoFlow {
    ColoFlowKey key;
    ColoFlow *newer, *older;   /* by last use */
    ColoLive *live;
    int64_t used_us;
    uint64_t epoch;            /* its state is of this epoch */
    uint64_t rules_generation;
    int16_t rule;              /* that lets it pass, or -1 */
    bool closed;
    bool diverged;
    ColoTcpFlow tcp;
};

/* Frames before a cut, in order. */
typedef struct ColoBatch {
    uint64_t epoch;
    ColoNetFrame *frames;
    uint64_t count;            /* of frames that the primary has sent */
} ColoBatch;

typedef struct ColoParked {
    ColoNetFrame *frame;
    uint64_t epoch;
} ColoParked;

/* Free memory of one kind, linked by its first word. */
typedef struct ColoSpares {
    void *first;
    uint32_t count;
} ColoSpares;

/* Recently used first. */
typedef struct ColoFlowList {
    ColoFlow *newest, *oldest;
} ColoFlowList;

enum { COLO_TRAINS_MAX = 64, COLO_PARKED_MAX = 65536 };

/* What is told about epochs, as bits. */
typedef enum ColoTold {
    COLO_TOLD_CUT = 1, COLO_TOLD_RELEASE = 2, COLO_TOLD_SECONDARY = 4,
    COLO_TOLD_ALL = 7,
} ColoTold;

/* A datagram whose fragments are coming in. */
typedef struct ColoTrain {
    ColoFlowKey key;
    uint32_t id;
    uint32_t next_offset;
    ColoItem *item;            /* NULL: free */
} ColoTrain;

struct ColoCompare {
    ColoCompareLimits limits;
    ColoCompareMode mode;
    int64_t now_us;            /* of the present call */
    ColoRule rules[COLO_RULES_MAX];
    unsigned rules_count;
    uint64_t rules_generation;
    uint64_t rule_frames[COLO_RULES_MAX];
    uint64_t rules_epoch;      /* in which they were set */

    unsigned fresh;            /* ColoTold: nothing of this pair was told */
    uint64_t epoch;            /* of the primary: last cut */
    bool cutting;              /* a cut is being made */
    bool keep;                 /* until the next cut: as mode BUFFER */
    uint64_t released;         /* last release */
    uint64_t s_epoch;          /* of the secondary's frames */
    GQueue batches;            /* ColoBatch: cut, not released */
    ColoNetFrame *waiting, **waiting_end;   /* P, of an epoch not released */
    GQueue parked;             /* ColoParked: S, of an epoch to come */

    GHashTable *table;         /* ColoFlowKey -> ColoFlow */
    ColoFlowList open, closed;
    ColoFlow *last_primary, *last_secondary;
    bool table_full;           /* some frames of this epoch are in no flow */
    bool gap;                  /* the secondary's stream lacks something... */
    uint64_t gap_epoch;        /* ...in this epoch */
    bool lost;                 /* by us; to be asked for in that epoch */
    ColoLive *alive;
    ColoItem *oldest, *newest; /* all held items of the primary */
    ColoTrain trains[2][COLO_TRAINS_MAX];   /* primary, secondary */
    ColoSpares spare_items, spare_lives;

    ColoNetFrame *output, **output_end;
    int64_t split_due_us;
    int64_t waits_since_us;    /* nothing that is held waits since before */
    int64_t timeout_asked_us;
    uint32_t asks, asked;      /* bits of ColoReason: to take, this epoch */
    bool has_difference;
    ColoDifference difference;
    char flow_text[160];
    ColoCompareStats stats;
};

/* ---------------------------------------------------------- compare.c */

/* Frames of the secondary are missing in this epoch. */
static inline bool colo_in_gap(const ColoCompare *c)
{
    return c->gap && c->gap_epoch == c->epoch;
}

/* Also what is proven waits for the cut. */
static inline bool colo_keeps_all(const ColoCompare *c)
{
    return c->mode != COLO_COMPARE_MATCH || c->keep || c->cutting;
}

/* The primary's item is proven and leaves, whole. The caller has taken it
 * out of its flow. It stays held if all is kept. */
void colo_item_release(ColoCompare *c, ColoItem *item);
/* A frame that was made of proven ones leaves, unless all is kept. */
void colo_frame_leave(ColoCompare *c, ColoNetFrame *f);
/* The item leaves by a rule. */
void colo_item_pass(ColoCompare *c, ColoItem *item, unsigned rule);
/* It does not leave: something later says the same. */
void colo_item_merge(ColoCompare *c, ColoItem *item);
void colo_ask(ColoCompare *c, ColoVerdict verdict);
/* The two sides differ in @flow: it is stuck until the next cut. */
void colo_diverge(ColoCompare *c, ColoFlow *flow, ColoVerdict verdict,
                  uint64_t offset, const uint8_t *p, size_t p_bytes,
                  const uint8_t *s, size_t s_bytes);

/* ------------------------------------------------------------- item.c */

/* Item of one frame, held from now on if it is the primary's. */
ColoItem *colo_item_new(ColoCompare *c, ColoNetFrame *f,
                        const ColoPacket *view, bool primary);
/* The same in two steps, for a view that is made where it belongs: .view is
 * not set yet. */
ColoItem *colo_item_blank(ColoCompare *c);
void colo_item_begin(ColoCompare *c, ColoItem *item, ColoNetFrame *f,
                     bool primary);
void colo_item_add_frame(ColoCompare *c, ColoItem *item, ColoNetFrame *f,
                         bool primary);
void colo_item_free(ColoCompare *c, ColoItem *item);
void colo_item_unhold(ColoCompare *c, ColoItem *item);
/* The frames from @f on are held now (@sign 1), or not any more (-1). */
void colo_account_held(ColoCompare *c, const ColoNetFrame *f, int sign);
/* So many more of the secondary wait; items do this themselves. */
void colo_account_secondary(ColoCompare *c, int64_t frames, int64_t bytes);

/* Memory of @size bytes, always the same of one kind; not cleared. */
void *colo_spare_take(ColoSpares *s, size_t size);
void colo_spare_give(ColoSpares *s, void *memory);
void colo_spares_free(ColoSpares *s);

/* ------------------------------------------------------------- flow.c */

void colo_flow_key(const ColoPacket *p, const uint8_t *eth,
                   ColoFlowKey *key);
/* NULL: the table is full. Settled in the present epoch. */
ColoFlow *colo_flow_get(ColoCompare *c, const ColoFlowKey *key,
                        const ColoPacket *p, bool primary);
/* It has ended, and is forgotten sooner; it begins anew. */
void colo_flow_close(ColoCompare *c, ColoFlow *flow);
void colo_flow_reopen(ColoCompare *c, ColoFlow *flow);
/* Was something lost that this flow cannot do without? Then it is stuck. */
void colo_flow_after_gap(ColoCompare *c, ColoFlow *flow);
ColoLive *colo_flow_live(ColoCompare *c, ColoFlow *flow);
/* Drop what it holds of the secondary; nothing is held of the primary. */
void colo_live_free(ColoCompare *c, ColoLive *live);
/* The same if it holds nothing of either. */
void colo_live_done(ColoCompare *c, ColoFlow *flow);
/* New rules: what is held of flows that may pass now leaves. */
void colo_flows_apply_rules(ColoCompare *c);
void colo_flows_expire(ColoCompare *c);
void colo_flows_clear(ColoCompare *c);
void colo_flow_describe(const ColoFlow *flow, char *text, size_t size);
void colo_queue_push(ColoItem ***end, ColoItem *item);
/* @previous is what points to it; @end the end of that queue. */
ColoItem *colo_queue_take(ColoItem **previous, ColoItem ***end);

/* -------------------------------------------------- one per protocol */

typedef struct ColoFlowOps {
    /* Take the item over; the primary's is held already. */
    void (*primary)(ColoCompare *c, ColoFlow *flow, ColoItem *item);
    void (*secondary)(ColoCompare *c, ColoFlow *flow, ColoItem *item);
    /* A cut: the secondary is now what the primary is. May be NULL. */
    void (*settle)(ColoFlow *flow);
} ColoFlowOps;

extern const ColoFlowOps colo_tcp_ops;
extern const ColoFlowOps colo_datagram_ops;

/* Time for segments that are proven in part. compare-tcp.c */
void colo_tcp_split(ColoCompare *c, ColoFlow *flow);

/* --------------------------------------------------------- fragment.c */

/*
 * Takes a fragment over. A datagram that is now complete comes back as one
 * item with the key of its flow; NULL: not yet.
 */
ColoItem *colo_fragment(ColoCompare *c, ColoNetFrame *f,
                        const ColoPacket *p, bool primary,
                        ColoFlowKey *key);
/* At a cut the secondary's are dropped, the primary's are not trains any
 * more: their items are held and leave with the cut. */
void colo_trains_clear(ColoCompare *c);

#endif
