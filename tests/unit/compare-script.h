/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Tests of the comparer are small scripts: who sends what, and what leaves.
 *
 *     "p 0+100; s 0+60; s 60+40 > 0+100"
 *
 * Steps are divided by ';'. A step is an action, then what leaves by it behind
 * '>' in order, divided by ',', then what is asked for behind '!'. What is not
 * written must not happen. Actions:
 *
 *   p FRAME, s FRAME   a guest sends; primary, secondary
 *   cut N, release N|max, epoch N (of the secondary), gap
 *   tick US            so much time passes
 *   mode pass|match|buffer
 *   rule WHAT|none     set the one rule: a kind, "tcp" for one
 *   full yes|no        what colo_compare_full() has to say
 *   held N, flows N    what the counters have to say
 *   merged N, made N, stale N, matched N, checkpointed N, passed N    ditto
 *   waiting N          ditto, frames of the secondary
 *
 * A segment is PLACE+BYTES, places counting from the first byte of data, and
 * words: aN acknowledges N; S F R are flags, n no ACK; tN a timestamp, wN a
 * window, gN to be cut to segments of N bytes; xN byte N is wrong; z the
 * sequence number 0; for SYN mN the MSS, o without window scale. #N names
 * another flow, iN another incarnation of its ports. Initial sequence numbers
 * of the sides differ, but only SYN of the secondary has its own, and not even
 * that if T is written.
 *
 * A datagram is a letter and a number, its content: u UDP, i ICMP echo, k SCTP,
 * r ARP, o neither of these, h frames that are rejected. Words: xN, #N as
 * above; lN longer by N; d to another Ethernet address; c partial checksum;
 * y another TTL, TOS and id. uN/K is fragment K of four, the last being 3.
 */
#ifndef COMPARE_SCRIPT_H
#define COMPARE_SCRIPT_H

#include "../net/frames.h"
#include "colo/compare.h"

typedef struct Script {
    const char *name, *text;
} Script;

/* Small and round: hold 1 s, split 1 ms, idle 10 s, closed 2 s, 4 flows, 8
 * frames and 16 KiB held. */
void script_limits(ColoCompareLimits *l);

/* Each in several ways: IPv4 and 6, with tags, and with wrapping numbers. */
void script_add(const char *path, const Script *scripts, unsigned count);

#endif
