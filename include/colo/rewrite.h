/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: the client's TCP connections are the primary's.
 *
 * A connection that is set up while both guests run gets two initial
 * sequence numbers (and two timestamp offsets): the client knows the
 * primary's. ColoRewrite learns the difference from the handshake and
 * translates from then on, so that the secondary's guest and the client
 * understand each other, also after a failover:
 *
 *   egress  (guest -> client)   seq, tsval              += difference
 *   ingress (client -> guest)   ack, SACK edges, tsecr  -= difference
 *
 * SYN of the secondary's guest goes out as it is; its sequence number is
 * learned. The first acknowledgement that the client sends afterwards is the
 * primary's SYN plus one. The timestamp difference follows from its tsecr.
 * From then on a repeated SYN is translated like everything else.
 * Both sides of the handshake may open (RFC 9293 3.5); the client's numbers
 * are the same for both guests and are never touched.
 *
 * A checkpoint makes the secondary's guest the primary's: every difference is
 * then zero, whatever a handshake was in the middle of (reset()). A flow ends
 * by FIN in both directions or RST, and is kept for some time for what is
 * still on its way (linger_us). After a failover (survive()) no new flow is
 * learned, and those without a difference are forgotten.
 *
 * The table can travel with the checkpoint: a survivor that is protected
 * again still translates, and its new secondary has to go on with that
 * (export/import). All numbers are those that the client sees: frames come
 * here as the client sent them, not as another table has changed them. So
 * flows that are learned later stand beside the imported ones, or, if the
 * guest opens one of those anew, in its place.
 *
 * Bounded: at @flows_max a new flow takes the place of the oldest one that is
 * half-open or has ended (counted); if there is none it is not learned
 * (counted), which can only lead to a mismatch and so to a checkpoint.
 */
#ifndef COLO_REWRITE_H
#define COLO_REWRITE_H

#include "colo/packet.h"

typedef struct ColoRewrite ColoRewrite;

typedef struct ColoRewriteStats {
    uint64_t egress_frames, ingress_frames;     /* TCP frames seen */
    uint64_t rewritten_frames;
    uint64_t learned_flows, refused_flows, evicted_flows;
    uint64_t flows;                             /* now */
} ColoRewriteStats;

/* One flow as it travels; numbers in host order. */
typedef struct ColoRewriteFlow {
    uint8_t family;            /* 4 or 6 */
    uint8_t tag_count;
    bool ended;                /* closed by both ends: it only lingers */
    uint16_t tags[2];
    uint8_t guest[16], client[16];
    uint16_t guest_port, client_port;
    uint32_t seq_delta;        /* client's view minus guest's */
    uint32_t ts_delta;
} ColoRewriteFlow;

ColoRewrite *colo_rewrite_new(uint32_t flows_max, int64_t linger_us);
void colo_rewrite_free(ColoRewrite *r);
/* Change a frame, and @p which is its view, in place. True if it changed. */
bool colo_rewrite_egress(ColoRewrite *r, ColoNetFrame *f, ColoPacket *p,
                         int64_t now_us);
bool colo_rewrite_ingress(ColoRewrite *r, ColoNetFrame *f, ColoPacket *p,
                          int64_t now_us);
/* Learn new flows (a secondary in lockstep) or not (anything else). */
void colo_rewrite_set_learning(ColoRewrite *r, bool on);
/* A checkpoint: forget everything. */
void colo_rewrite_reset(ColoRewrite *r);
/* A failover: no learning; forget flows without a difference. Flows in the
 * middle of a handshake still learn, also after set_learning(false). */
void colo_rewrite_survive(ColoRewrite *r);
/* Flows with a difference, for a checkpoint; ColoRewriteFlow elements. */
void colo_rewrite_export(const ColoRewrite *r, ColoRewriteFlow *out,
                         uint32_t *count);        /* in: room; out: number */
uint32_t colo_rewrite_export_count(const ColoRewrite *r);
/* Takes the place of what was there. False: nonsense (also: more than
 * flows_max, a flow twice or without a difference), nothing changed. */
bool colo_rewrite_import(ColoRewrite *r, const ColoRewriteFlow *in,
                         uint32_t count, int64_t now_us);
/* Forget what has lingered. */
void colo_rewrite_tick(ColoRewrite *r, int64_t now_us);
void colo_rewrite_get_stats(const ColoRewrite *r, ColoRewriteStats *out);

#endif
