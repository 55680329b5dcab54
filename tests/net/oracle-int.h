/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the oracle: what it remembers of each flow. */
#ifndef COLO_TEST_NET_ORACLE_INT_H
#define COLO_TEST_NET_ORACLE_INT_H

#include "streams.h"

/* When the comparer notes that a flow is used. */
enum { USE_STEP_US = 1000000 };

/* What has happened to a symbol. */
enum {
    MARK_P = 1,                 /* the primary said it */
    MARK_S = 2,                 /* the secondary the same, in this epoch */
    MARK_OTHER = 4,             /* the secondary something else */
    MARK_LEFT = 8,              /* the client has it */
};

/* A frame of the primary. */
typedef struct Item {
    ColoNetFrame *copy;
    uint32_t from, to;          /* symbols */
    uint32_t ack;               /* bytes of the client, if .has_ack */
    bool has_ack, rst;
    bool part;                  /* a fragment */
    bool left;
    int64_t at_us;
    uint64_t serial, epoch;
} Item;

/* A flow as it stood at a cut. */
typedef struct Settled {
    uint64_t epoch;
    uint32_t end, ack;
    bool rst;
} Settled;

/* A datagram that one side has said in full in this epoch. */
typedef struct Said {
    GByteArray *bytes;          /* without its checksum */
    uint64_t serial;            /* of the primary's last frame of it */
} Said;

typedef struct OracleFlow {
    const StreamFlow *f;
    const StreamScript *script; /* the primary's */
    uint8_t *marks;
    GArray *items;              /* of Item, oldest first */
    GArray *settled;            /* of Settled, not yet released */
    int64_t used_us;            /* as the comparer notes it; 0: not yet */
    bool diverged;              /* in this epoch: waits for the cut */
    /* TCP */
    bool known;                 /* .common is certain */
    uint32_t common;            /* both have said everything before it */
    int64_t moved_us;           /* when .common did, last */
    bool misplaced;             /* the comparer took a place too low */
    bool seen[SIDES];
    uint32_t first[SIDES];      /* of each side, before .known */
    uint32_t floor;             /* said when the comparer knew nothing */
    uint32_t shown, least;      /* the primary's highest symbol since; at the
                                 * last cut */
    uint32_t begin;             /* where comparing began in this epoch, if in
                                 * mid-stream; else 0 */
    uint32_t end;               /* the primary's highest symbol, plus one */
    uint32_t base, base_ack;    /* released */
    bool base_rst;
    uint32_t p_ack, s_ack, left_ack;
    bool p_ack_heard, s_ack_heard;      /* else nothing is known of it */
    bool ack_left;              /* ditto, of .left_ack */
    bool ack_forgotten;         /* the comparer knows nothing of .left_ack */
    int64_t ack_moved_us;       /* when .left_ack did, last */
    uint32_t rst[SIDES];        /* place of RST plus one; 0: none */
    bool left_rst;
    bool over;                  /* its ports have another connection */
    uint32_t client_has;        /* without a gap */
    /* datagrams */
    GArray *said[SIDES];        /* of Said, since the cut */
    GByteArray *part[SIDES];    /* of a train */
    bool out_of_order;          /* trains that nobody can follow */
    guint same;                 /* said[] are equal before it */
} OracleFlow;

struct StreamOracle {
    const StreamPlan *plan;
    bool part;                  /* of a log: datagrams may lack twins */
    OracleFlow flow[FLOWS_MAX];
    int64_t now_us;
    CallType call;
    ColoCompareMode mode;
    uint64_t cut, released, s_epoch;
    bool fresh[3];              /* of these nothing was told of this pair */
    uint64_t base_epoch;        /* the newest cut that is released */
    int64_t release_us;         /* when that was: no frame waits before */
    uint64_t serial;
    uint64_t cut_serial;        /* of the first frame behind the last cut */
    uint64_t release_serial;    /* last that left in this release */
    bool excused;               /* a gap or a bound in this epoch */
    bool gap;                   /* frames of the secondary were lost... */
    uint64_t gap_epoch;         /* ...in this epoch */
    bool mode_changed;          /* in this epoch */
    bool table_full;            /* since the last cut */
    bool odd_syn;               /* in this epoch the primary said SYN again
                                 * that the comparer has never seen */
    bool mismatch_asked;        /* in this epoch */
    bool mismatch_new;          /* in this call */
    ColoVerdict verdict;        /* of that */
    bool timeout_asked;
    bool timeout_odd;           /* in this call, and nothing waits for long */
    GArray *inbox;              /* of Call: the secondary's, for later */
    const char *broken;
    char detail[256];
};

void oracle_break(StreamOracle *o, const char *property, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);
/* Nothing of this flow may leave but by a rule. */
bool oracle_blocked(const StreamOracle *o);
/*
 * It begins before the place where comparing did: a repetition of something
 * old, or it was overtaken. Nobody can tell, so it may wait for the cut.
 */
bool oracle_may_wait(const OracleFlow *of, const Item *item);
void oracle_expect_mismatch(StreamOracle *o, OracleFlow *of,
                            const char *what);
bool oracle_same_frame(const ColoNetFrame *a, const ColoNetFrame *b);
void oracle_note_order(StreamOracle *o, const OracleFlow *of,
                       const Item *item);

/* stream-datagram.c */
void datagram_heard(StreamOracle *o, OracleFlow *of, unsigned side,
                    const NetView *v, const Item *item);
void datagram_left(StreamOracle *o, OracleFlow *of, ColoNetFrame *f);
void datagram_cut(OracleFlow *of);
void datagram_check(StreamOracle *o, OracleFlow *of);
bool datagram_differs(const OracleFlow *of);
void datagram_free(OracleFlow *of);

#endif
