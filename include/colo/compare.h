/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: compares what two guests send and says what may leave.
 *
 * One ColoCompare for one NIC. Frames of the primary go in by
 * colo_compare_primary() and come out, when they may leave, in the output
 * list; frames of the secondary only ever serve to prove them. There is no
 * other way out (DESIGN section 3, output commit):
 *   - matched by what the secondary sent in the same epoch,
 *   - released by colo_compare_release() of a cut that follows the frame,
 *   - mode PASS: no lockstep, or the primary is the survivor,
 *   - a pass-through rule of the operator.
 *
 * Epochs. colo_compare_cut(n) marks the place in the primary's stream: all
 * frames before it are part of state n and leave at release(n), in the order
 * in which they came; frames behind it are epoch n. Frames of the secondary
 * belong to the epoch of the last colo_compare_secondary_epoch(). Frames of
 * an older epoch are dropped, of a newer one are kept until release(n).
 * Neither side's order of these calls is trusted: any order is safe.
 *
 * TCP is a byte stream; see compare-tcp.c. A frame that leaves for TCP may be
 * made new: with an acknowledgement lowered to what both sides have, or a
 * segment cut to what both sides have sent.
 *
 * Bounds. Held frames of a flow (queue_frames) and of all flows (held_bytes)
 * and the number of flows (flows): at a bound nothing is dropped and nothing
 * leaves early; a checkpoint is asked for, and colo_compare_full() says that
 * the guest should be kept from sending more. Of the secondary as much may
 * wait, for the primary to say the same or for its epoch; what is over that
 * is dropped, which can only lead to a checkpoint.
 *
 * No clock, no lock: one thread at a time, time as an argument in
 * microseconds of a monotonic clock.
 */
#ifndef COLO_COMPARE_H
#define COLO_COMPARE_H

#include "colo/packet.h"
#include "colo/policy.h"
#include "colo/rules.h"

typedef struct ColoCompare ColoCompare;

typedef enum ColoCompareMode {
    COLO_COMPARE_PASS,         /* everything leaves at once */
    COLO_COMPARE_MATCH,        /* lockstep */
    COLO_COMPARE_BUFFER,       /* hybrid: leaves at checkpoints only; still
                                * compared, so that the rate is known */
} ColoCompareMode;

typedef struct ColoCompareLimits {
    uint32_t hold_us;          /* a frame held longer asks for a checkpoint */
    uint32_t split_us;         /* a segment half proven for longer is cut */
    uint32_t flow_idle_us;     /* a quiet flow is forgotten */
    uint32_t closed_idle_us;   /* the same after FIN or RST */
    uint32_t flows;            /* in the table */
    uint32_t queue_frames;     /* held in one flow, per side */
    uint64_t held_bytes;       /* held in all, per side */
} ColoCompareLimits;

/* 3 s, 1 ms, 300 s, 10 s, 65536, 1024, 64 MiB. */
void colo_compare_limits_init(ColoCompareLimits *l);

/* Every way in which a frame or flow is found equal, or not. */
typedef enum ColoVerdict {
    COLO_VERDICT_MATCH,
    COLO_VERDICT_PAYLOAD,      /* stream or datagram bytes differ */
    COLO_VERDICT_LENGTH,       /* datagram lengths differ */
    COLO_VERDICT_HEADER,       /* a header field that counts differs */
    COLO_VERDICT_SYN,          /* SYN at one side only, or its options */
    COLO_VERDICT_FIN,          /* FIN at another place of the stream */
    COLO_VERDICT_RST,          /* RST at another place, or data behind it */
    COLO_VERDICT_TIMEOUT,      /* no twin within hold_us */
    COLO_VERDICT_QUEUE,        /* a bound of held frames */
    COLO_VERDICT_FLOWS,        /* the table is full */
    COLO_VERDICT_FRAGMENTS,    /* too many unfinished datagrams */
    COLO_VERDICT__MAX
} ColoVerdict;

const char *colo_verdict_name(ColoVerdict v);    /* "payload" */
/* COLO_REASON_NONE for MATCH, else MISMATCH, TIMEOUT or QUEUE_FULL. */
ColoReason colo_verdict_reason(ColoVerdict v);

typedef struct ColoCompareStats {
    uint64_t primary_frames, primary_bytes;
    uint64_t secondary_frames, secondary_bytes;
    uint64_t released_frames, released_bytes;
    uint64_t matched_frames;       /* of the primary, proven by the secondary */
    uint64_t checkpoint_frames;    /* of the primary, left at a checkpoint */
    uint64_t passed_frames;        /* by mode or rule */
    uint64_t made_frames;          /* left cut or with a lowered ack */
    uint64_t merged_frames;        /* pure acks that a later one replaced,
                                    * exact repetitions of a held segment */
    uint64_t stale_frames;         /* of the secondary, of an old epoch */
    uint64_t verdicts[COLO_VERDICT__MAX];
    uint64_t rejects[COLO_REJECT__MAX];
    uint64_t held_frames, held_bytes;          /* now */
    uint64_t held_peak_frames;
    uint64_t secondary_held_frames, secondary_held_bytes;    /* now */
    uint64_t longest_hold_us;
    uint64_t flows, flows_peak;                /* now, most ever */
    uint64_t asked_checkpoints;
} ColoCompareStats;

/* What differed, for a trace event. Valid until the next call. */
typedef struct ColoDifference {
    ColoVerdict verdict;
    const char *flow;              /* "tcp 10.0.7.2:80 -> 10.0.7.1:4711" */
    uint64_t offset;               /* in stream or datagram */
    unsigned primary_count, secondary_count;    /* valid bytes below */
    uint8_t primary[16], secondary[16];
} ColoDifference;

ColoCompare *colo_compare_new(const ColoCompareLimits *limits);
void colo_compare_free(ColoCompare *c);          /* drops what it holds */
void colo_compare_set_limits(ColoCompare *c, const ColoCompareLimits *l);

/*
 * PASS releases everything held at once, in order of arrival. From PASS to
 * MATCH or BUFFER starts with an empty table. Frames of the secondary in mode
 * PASS are dropped.
 */
void colo_compare_set_mode(ColoCompare *c, ColoCompareMode mode,
                           int64_t now_us);
/*
 * Copied. They count at once: what is held of a flow that may pass leaves.
 * Counters of rules that keep their name go on.
 */
void colo_compare_set_rules(ColoCompare *c, const ColoRule *rules,
                            unsigned count, int64_t now_us);

/* Both take @f over. */
void colo_compare_primary(ColoCompare *c, ColoNetFrame *f, int64_t now_us);
void colo_compare_secondary(ColoCompare *c, ColoNetFrame *f, int64_t now_us);

/* Epochs rise; a call with one that is not newer does nothing. */
void colo_compare_cut(ColoCompare *c, uint64_t epoch, int64_t now_us);
void colo_compare_release(ColoCompare *c, uint64_t epoch, int64_t now_us);
void colo_compare_secondary_epoch(ColoCompare *c, uint64_t epoch,
                                  int64_t now_us);
/* The secondary's stream broke or skipped: what is unproven stays so. */
void colo_compare_secondary_gap(ColoCompare *c);

/* Frames that may leave, oldest first, linked by .next; the caller's now. */
ColoNetFrame *colo_compare_take_output(ColoCompare *c);
/* At most one ask per epoch and reason; COLO_REASON_NONE: none. */
ColoReason colo_compare_take_ask(ColoCompare *c);
/* What caused the last ask; false if nothing new. */
bool colo_compare_take_difference(ColoCompare *c, ColoDifference *d);
/* Of the last cut it was told. */
uint64_t colo_compare_epoch(const ColoCompare *c);
/* Held bytes or frames of the primary are over their bound. */
bool colo_compare_full(const ColoCompare *c);

/* When tick() is due; INT64_MAX: never. */
int64_t colo_compare_deadline_us(const ColoCompare *c);
void colo_compare_tick(ColoCompare *c, int64_t now_us);

/* Frames that left by rule @index. */
uint64_t colo_compare_rule_frames(const ColoCompare *c, unsigned index);
/* As they are; they go on with the next call. */
const ColoCompareStats *colo_compare_stats(const ColoCompare *c);
/* Bytes of one idle flow in the table, with its share of the table. */
size_t colo_compare_flow_bytes(void);

#endif
