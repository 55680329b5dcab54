/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: what its guest has said and no client has confirmed.
 *
 * In lockstep the answers of the secondary's guest go to the primary alone.
 * If that dies, its client waits until a timer of TCP brings them again,
 * which takes 200 ms at least. So they are kept here until the client has
 * acknowledged them, and a survivor sends them again as it takes over: its
 * own guest's segments, once, as that guest would itself a little later.
 *
 *   kept        segments with data, SYN or FIN, until they are acknowledged
 *   last word   of a flow: a pure acknowledgement, for a client that waits
 *               for no more than that; or an RST
 *
 * Nothing but TCP, whose receivers expect repetitions, is ever sent again. A
 * checkpoint makes the guest another one, which may say something else in
 * the same place: reset() forgets all.
 *
 * What goes out again says what a repetition by the guest itself would say:
 * the latest acknowledgement and window of its flow. So does its timestamp,
 * but for one thing: a client drops what has an older one than it has seen
 * (RFC 7323 5), and the clock of the primary's guest may have been ahead by
 * what a checkpoint takes. So the survivor's clock jumps ahead a little, and
 * stands until the guest's own has got there. What clients echo meanwhile is
 * a time to come for the guest, by which it measures nothing.
 *
 * All numbers are those that the client sees: it stands between the rewriter
 * and the network. A SYN whose connection the rewriter does not know yet has
 * the guest's own number, and any acknowledgement of the client is one of it.
 *
 * Bounded in bytes for each flow and all together, and in flows. At a bound
 * the oldest goes (counted); then TCP's own means are left, and with the
 * newest still there the client asks for what is missing at once.
 */
#ifndef COLO_RESEND_H
#define COLO_RESEND_H

#include "colo/packet.h"

typedef struct ColoResend ColoResend;

typedef struct ColoResendLimits {
    uint64_t bytes_max;        /* of all flows, with what keeping costs */
    uint64_t flow_bytes_max;
    uint32_t flows_max;
} ColoResendLimits;

#define COLO_RESEND_BYTES_MAX        (32ull << 20)
#define COLO_RESEND_FLOW_BYTES_MAX   (8ull << 20)
enum { COLO_RESEND_FLOWS_MAX = 8192 };
/* A flow whose guest has been silent for so long is forgotten. */
#define COLO_RESEND_FLOW_MAX_US      (10 * 1000000ll)
/* A flow that settles and is silent for so long has a clock that got there. */
#define COLO_RESEND_SETTLE_MAX_US    (600 * 1000000ll)
/* A last word that is older has been heard, or asked for again. */
#define COLO_RESEND_WORD_MAX_US      (2 * 1000000ll)

typedef struct ColoResendStats {
    uint64_t kept_frames, kept_bytes;    /* now */
    uint64_t flows;                      /* now */
    uint64_t dropped_frames;             /* for want of room */
} ColoResendStats;

/* @limits NULL: the ones above. */
ColoResend *colo_resend_new(const ColoResendLimits *limits);
void colo_resend_free(ColoResend *r);
/* The guest has said @f, whose view is @p; takes it. */
void colo_resend_egress(ColoResend *r, ColoNetFrame *f, const ColoPacket *p,
                        int64_t now_us);
/* The guest gets what @p is the view of, as the client has sent it. */
void colo_resend_ingress(ColoResend *r, const uint8_t *eth,
                         const ColoPacket *p);
/*
 * A client's segment came some other way: can it be one that the guest has
 * not got? Only a guess where the flow is not known: then it is.
 */
bool colo_resend_is_news(const ColoResend *r, const ColoPacket *p);
/*
 * What to send again, in this order; the caller's. What is left are flows
 * whose clock has jumped: until the guest's own has got there, settle() moves
 * it in what the guest says. True if it changed this segment.
 */
ColoNetFrame *colo_resend_take(ColoResend *r, int64_t now_us);
bool colo_resend_settle(ColoResend *r, uint8_t *eth, ColoPacket *p);
void colo_resend_reset(ColoResend *r);
/* Forget flows that are silent. */
void colo_resend_tick(ColoResend *r, int64_t now_us);
void colo_resend_get_stats(const ColoResend *r, ColoResendStats *out);

#endif
