/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest TCP that notices when its peer's numbers are wrong.
 *
 * An endpoint is plain data: a checkpoint copies it by assignment. It keeps to
 * RFC 9293 where that matters here: what acknowledgement and what sequence
 * number is acceptable and what is answered otherwise, RFC 7323 for PAWS and
 * RFC 2018 for SACK. Whatever would stall or break a real connection is
 * written down in .complaint.
 *
 * On top is one of two applications. The asker sends a request, waits for the
 * whole reply, makes the next request of it, and closes after the last; the
 * answerer makes each reply of its request. A byte lost, repeated or changed
 * changes all that follows.
 */
#ifndef COLO_TEST_NET_MINITCP_H
#define COLO_TEST_NET_MINITCP_H

#include "frames.h"

enum {
    MINI_REQUEST_BYTES = 20, MINI_REPLY_BYTES = 50, MINI_REQUESTS = 2,
    MINI_STREAM_BYTES = 256,
    MINI_RTO_US = 20000,
};

typedef enum MiniState {
    MINI_CLOSED, MINI_LISTEN, MINI_SYN_SENT, MINI_SYN_RECEIVED, MINI_OPEN,
} MiniState;

typedef struct MiniTcp {
    NetPath path;               /* from here to the peer */
    MiniState state;
    bool asker, passive;
    bool timestamps, sack;      /* agreed on, or offered */
    uint32_t ts_offset, ts_recent;
    uint32_t iss, irs;
    uint32_t una, next, most;   /* of what is sent, from .iss on */
    uint8_t out[MINI_STREAM_BYTES], in[MINI_STREAM_BYTES];
    uint8_t have[MINI_STREAM_BYTES];    /* of .in, also beyond a hole */
    uint32_t out_bytes, in_bytes, used_bytes;
    bool closing, peer_closed;
    uint32_t peer_end;          /* bytes before its FIN, if .peer_fin */
    bool peer_fin;
    unsigned requests;
    bool must_ack;
    unsigned owed;              /* segments not acknowledged yet */
    int64_t rto_at_us, ack_at_us;
    unsigned timeouts;          /* how often the first of these has passed */
    /* habits, which a checkpoint copies, too */
    uint16_t mss, delay_ack;    /* acknowledge every so many segments */
    uint16_t vnet_bytes;
    bool partial_csum;
    uint64_t random;
    const char *complaint;
} MiniTcp;

/* Frames to send are appended to @out. */
void mini_connect(MiniTcp *t, GQueue *out, int64_t now_us);
void mini_input(MiniTcp *t, const NetView *v, GQueue *out, int64_t now_us);
/* Timers and the application. */
void mini_poll(MiniTcp *t, GQueue *out, int64_t now_us);
/* Everything is said and confirmed in both directions. */
bool mini_done(const MiniTcp *t);
const char *mini_state_name(const MiniTcp *t);

#endif
