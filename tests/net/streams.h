/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random conversations of two guests, pushed through the comparer.
 *
 * What a guest says is made once: a list of flows, each a string of symbols
 * (for TCP: SYN, bytes, FIN) or of datagrams. Two senders, primary and
 * secondary, say it each in its own manner: segmentation, order, repetition,
 * acknowledgements, options and timing differ, the symbols do not, except for
 * one place at most, the twist. A client receives what leaves, and its
 * acknowledgements let the senders go on.
 *
 *   frames.c          makes and reads frames
 *   stream-flows.c    what is said
 *   stream-guest.c    how a sender says it
 *   stream-world.c    who moves next: senders, client, checkpoints, clock
 *   stream-rig.c      every call of the comparer, its log and its replay
 *   stream-oracle.c   what may leave
 *   stream-must.c     what has to leave, and what has to be asked
 *   stream-datagram.c datagrams
 *
 * The oracle sees the calls and what comes out, nothing else, and so can
 * judge any part of a log: a failure is cut down to the fewest calls that
 * still show it.
 */
#ifndef COLO_TEST_NET_STREAMS_H
#define COLO_TEST_NET_STREAMS_H

#include <inttypes.h>
#include <stdio.h>
#include "colo/compare.h"
#include "frames.h"

enum { P, S, SIDES };

enum {
    FLOWS_MAX = 8,
    SYMBOL_SYN = 256,           /* others: bytes */
    SYMBOL_FIN = 257,
};

/* ------------------------------------------------------------ what is said */

typedef enum StreamEnd { END_OPEN, END_FIN, END_RST } StreamEnd;

/* One side's version: the same for both but for the twist. */
typedef struct StreamScript {
    StreamEnd end;
    uint32_t size;              /* symbols; for datagrams: bytes of all */
    uint16_t *symbols;
    uint32_t *first;            /* datagrams: place of each, and the end */
    uint32_t count;             /* datagrams */
    uint16_t syn_mss;
} StreamScript;

typedef enum TwistKind {
    TWIST_NONE, TWIST_BYTE, TWIST_FIN, TWIST_RST, TWIST_SYN,
    TWIST_LENGTH, TWIST_MISSING, TWIST_EXTRA,
} TwistKind;

typedef struct StreamFlow {
    NetPath path;
    uint8_t proto;              /* 0: no IP */
    uint16_t ethertype;         /* then */
    bool passes;                /* a rule lets it through */
    bool has_syn, active_open, timestamps;
    uint32_t isn[SIDES];        /* number of symbol 0; S only in its SYN */
    uint32_t client_isn;        /* acknowledgement before client's bytes */
    uint32_t start;             /* symbols said before the run began */
    uint8_t wscale;
    int successor;              /* flow that uses the ports again, or -1 */
    int predecessor;
    StreamScript script[SIDES];
} StreamFlow;

typedef struct StreamPlan {
    StreamFlow flow[FLOWS_MAX];
    unsigned flows;
    TwistKind twist;
    unsigned twist_flow;
    uint32_t twist_at;          /* symbol, or datagram */
    uint16_t vnet_bytes;
    ColoCompareLimits limits;
    bool tight;                 /* limits that will be reached */
    bool shuffled_parts;        /* fragments in any order */
    bool plain;                 /* see stream_plan_make() */
    ColoCompareMode mode;       /* after the start */
} StreamPlan;

/* @plain: no ports used twice, no flow older than the run, no twist. */
void stream_plan_make(StreamPlan *plan, bool plain, uint64_t *random);
void stream_plan_free(StreamPlan *plan);
static inline bool stream_is_tcp(const StreamFlow *f)
{
    return f->proto == NET_PROTO_TCP;
}
/* The checksum inside a datagram is made late, and does not count. */
void stream_blank_csum(const StreamFlow *f, uint8_t *body, size_t size);
/* Which flow is it? For TCP of the right incarnation. NULL: nobody's. */
const StreamFlow *stream_find(const StreamPlan *plan, const NetView *v);

/* ----------------------------------------------------------------- the rig */

typedef enum CallType {
    CALL_PRIMARY, CALL_SECONDARY, CALL_CUT, CALL_RELEASE, CALL_EPOCH,
    CALL_GAP, CALL_MODE, CALL_TICK,
} CallType;

typedef struct Call {
    CallType type;
    int64_t now_us;
    uint64_t value;             /* epoch or mode */
    ColoNetFrame *frame;
} Call;

/* How a test of the test spoils what the comparer does. */
typedef enum Breakage {
    BREAK_NOTHING, BREAK_EARLY, BREAK_DROP, BREAK_TWICE, BREAK_SWAP,
    BREAK_ACK, BREAK_BYTE, BREAK_LATE, BREAK_MUTE, BREAK_FALSE_ASK,
    BREAK_BELIEVE, BREAK_HASTY, BREAK_NO_TIMER, BREAK__MAX
} Breakage;

typedef struct StreamOracle StreamOracle;

typedef struct StreamRig {
    const StreamPlan *plan;
    ColoCompare *compare;
    StreamOracle *oracle;
    GArray *log;                /* of Call; NULL while replaying */
    Breakage breakage;
    uint64_t random;            /* of the breakage alone */
    ColoNetFrame *kept;         /* by BREAK_LATE */
    uint64_t fed, left;         /* frames of the primary, in and out */
    uint64_t full_count;        /* frames for which the table had no room */
    /* Is a frame none of the plan's? Told of what comes out, too. */
    bool (*foreign)(void *opaque, ColoNetFrame *f, bool out);
    void *opaque;
    bool trace;
} StreamRig;

void stream_rig_init(StreamRig *rig, const StreamPlan *plan, Breakage b);
void stream_rig_destroy(StreamRig *rig);
/* Takes @frame; false: a property is broken. */
bool stream_call(StreamRig *rig, CallType type, int64_t now_us,
                 uint64_t value, ColoNetFrame *frame);
/* Replays fewer and fewer calls of @log, prints the last that failed. */
void stream_minimize(const StreamPlan *plan, GArray *log, Breakage b,
                     const char *property);

/* -------------------------------------------------------------- the oracle */

/* @part: of a log, whose datagrams may lack their twins. */
StreamOracle *oracle_new(const StreamPlan *plan, bool part);
void oracle_free(StreamOracle *o);
/* Before the comparer is called. */
void oracle_before(StreamOracle *o, const Call *call);
/* Everything that came out of that call, in order. */
void oracle_output(StreamOracle *o, ColoNetFrame *f);
void oracle_ask(StreamOracle *o, ColoReason reason, ColoVerdict verdict);
/* The comparer's table had no room in this call. */
void oracle_table_full(StreamOracle *o);
void oracle_after(StreamOracle *o);

/* For what only the world can see. */
void oracle_fail(StreamOracle *o, const char *property, const char *detail);
const char *oracle_broken(const StreamOracle *o);   /* NULL: all is well */
const char *oracle_detail(const StreamOracle *o);
/* For whoever plays the client. */
uint32_t oracle_client_has(const StreamOracle *o, unsigned flow);
uint32_t oracle_client_acked(const StreamOracle *o, unsigned flow);
bool oracle_client_reset(const StreamOracle *o, unsigned flow);
/* Everything of the flow that the primary sent has left. */
bool oracle_nothing_held(const StreamOracle *o, unsigned flow);
bool oracle_known(const StreamOracle *o, unsigned flow);
/* To which the next frame of @side belongs. */
uint64_t oracle_epoch(const StreamOracle *o, unsigned side);
uint64_t oracle_released(const StreamOracle *o);
/* No checkpoint is needed for liveness: nothing that excuses a hold. */
bool oracle_lively(const StreamOracle *o);

/* ---------------------------------------------------------------- a sender */

typedef struct SenderFlow {
    uint32_t next;              /* symbol or datagram not said before */
    uint32_t acked;             /* symbols the client has confirmed */
    uint32_t received;          /* bytes of the client */
    bool reset, over;           /* RST said; ports used again */
    bool extra_said;
    bool own_isn;               /* S said SYN itself */
    uint32_t window;            /* symbols beyond .acked */
} SenderFlow;

typedef struct Sender {
    unsigned side;
    const StreamPlan *plan;
    SenderFlow flow[FLOWS_MAX];
    uint64_t random;
    uint16_t mss;
    bool gso, nagle;
    bool twisted;
    uint16_t ip_id;
    uint32_t clock;
} Sender;

void sender_init(Sender *s, const StreamPlan *plan, unsigned side,
                 uint64_t *random);
/* Become the primary, at the cut where it was @model. */
void sender_become(Sender *s, const Sender *model);
typedef enum SendWhat {
    SEND_NEW, SEND_AGAIN, SEND_ACK, SEND_PROBE,
} SendWhat;
/*
 * Frames linked by .next, or NULL if there is nothing of that kind to say.
 * .flags of a frame: SEND_IN_ORDER, must not be overtaken within its flow.
 */
enum { SEND_IN_ORDER = 1 };
bool sender_done_with(const Sender *s, unsigned flow);
ColoNetFrame *sender_send(Sender *s, unsigned flow, SendWhat what);

/* --------------------------------------------------------------- the world */

typedef struct StreamCount {
    uint64_t runs, calls, frames, checkpoints, mismatches, drained;
    uint64_t twisted, twist_noticed;
} StreamCount;

/* False: a property is broken, and has been reported on standard output. */
bool stream_run(uint64_t seed, Breakage b, bool trace, bool quiet,
                StreamCount *count, char *property, size_t property_bytes);

#endif
