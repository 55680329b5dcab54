/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO simulator: both machines in a toy world with a virtual clock.
 *
 * The world is one struct, driven by one random generator: a seed is a
 * schedule, and running it again gives the same trace. A step of the world is
 * one move: an event given to a node, one action (or one part of a local
 * action) executed, one request served by a guest, the clock advanced. Between
 * any two moves a fault may strike. After every move the invariants of
 * check.c are tested.
 *
 *   guest.c      toy guest: deterministic service with some noise, and disk
 *   channel.c    the checkpoint channel: FIFO, delay, stall, cut, garbage
 *   network.c    client, held output, comparison, mirrored requests
 *   primary.c    how the primary's actions are executed
 *   secondary.c  how the secondary's actions are executed: the transaction
 *   faults.c     what goes wrong, and when
 *   arbiter.c    the operator, who lets exactly one survivor go on
 *   check.c      the invariants
 *   world.c      the scheduler
 *   main.c       command line and TAP
 */
#ifndef COLO_SIM_H
#define COLO_SIM_H

#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include "colo/machine.h"

enum {
    SIM_PAGES = 24,
    SIM_PAGE_WORDS = 4,
    SIM_KEYS = 8,
    SIM_REQUESTS = 64,          /* ids 1..63 */
    SIM_BATCH_PAGES = 4,        /* pages in one PAGES frame */
    SIM_CHANNEL_FRAMES = 64,    /* one direction of the channel */
    SIM_PIPE_ITEMS = 128,       /* mirror and egress */
    SIM_HELD_MAX = 8,           /* the bound of held output */
    SIM_TWINS_MAX = 16,         /* answers of the secondary kept to compare */
    SIM_WRITES_MAX = 128,       /* forwarded disk writes of one epoch */
};

/* ------------------------------------------------------------- the guest */

typedef struct SimGuest {
    uint64_t page[SIM_PAGES][SIM_PAGE_WORDS];
    uint64_t device_rev;        /* device state: follows the head page */
    uint32_t dirty;             /* pages, since the last cut */
} SimGuest;

typedef struct SimReply {
    unsigned id;
    uint64_t content;
    bool wrote;                 /* key_of(id) was written to disk */
} SimReply;

void sim_guest_init(SimGuest *g, uint64_t salt);
/* False if @id leaves a gap: nothing happens. */
bool sim_guest_serve(SimGuest *g, unsigned id, SimReply *reply);
/* What a guest does by itself: no two do it alike. */
void sim_guest_noise(SimGuest *g, uint64_t random);
uint64_t sim_guest_hash(const SimGuest *g);
bool sim_guest_whole(const SimGuest *g);
unsigned sim_last_id(const SimGuest *g);
uint64_t *sim_reply_slot(SimGuest *g, unsigned id);
unsigned sim_reply_page(unsigned id, unsigned *word);
unsigned sim_key_of(unsigned id);
bool sim_is_write(unsigned id);
uint64_t sim_mix(uint64_t a, uint64_t b);

/* ----------------------------------------------------------- the channel */

typedef enum SimFrameKind {
    SIM_FRAME_MSG,
    SIM_FRAME_EOF,
    SIM_FRAME_GARBAGE,
} SimFrameKind;

typedef struct SimFrame {
    SimFrameKind kind;
    ColoMsgType msg;
    uint64_t epoch;
    uint32_t arg;
    int64_t arrival_ms;
    uint32_t mask;              /* DIRTY and PAGES: which pages */
    uint64_t data[SIM_BATCH_PAGES][SIM_PAGE_WORDS];
    uint64_t device_rev;        /* DEVICE */
    uint32_t page_count;        /* END */
    uint64_t checksum;          /* END */
} SimFrame;

typedef struct SimLane {
    SimFrame ring[SIM_CHANNEL_FRAMES];
    unsigned head;
    unsigned count;
    int64_t last_arrival_ms;
    int64_t stalled_until_ms;
    bool duplicate_next;
    bool garble_next;
    bool flip_next;             /* payload damage that only END can tell */
} SimLane;

typedef struct SimItem {
    unsigned id;                /* 0: marker */
    uint64_t epoch;
    uint64_t content;
    int64_t arrival_ms;
} SimItem;

typedef struct SimPipe {
    SimItem ring[SIM_PIPE_ITEMS];
    unsigned head;
    unsigned count;
    int64_t last_arrival_ms;
} SimPipe;

/* --------------------------------------------------------------- a node */

typedef enum SimResult {
    SIM_RESULT_NONE,
    SIM_RESULT_OK,
    SIM_RESULT_FAILED,
    SIM_RESULT_BROKEN,
    SIM_RESULT_LOST,            /* SEND_STATE hit the channel's end */
} SimResult;

typedef struct SimNode {
    bool alive;
    bool frozen;
    int64_t frozen_until_ms;
    ColoActions acts;           /* of the last step */
    unsigned act_index;
    unsigned part;              /* of the local action being executed */
    bool blocked;               /* in a send that does not go on */
    bool torn;                  /* such a send was given up in a frame */
    int64_t busy_until_ms;
    SimResult result;           /* of the local action just finished */
    ColoEvent orders[4];        /* from the operator */
    unsigned order_count;
    SimGuest guest;
    bool guest_runs;
    bool closed;                /* ACT_CLOSE was executed */
    bool peer_closed;           /* the other end has closed or died */
    bool eof_seen;
    int reported;               /* state told by ACT_STATUS */
    int64_t reported_ms;
    unsigned exit_events;
    unsigned actions_done;
    int64_t heard_ms;           /* last frame, or begin of the wait */
    int last_state;
} SimNode;

typedef struct SimHeld {
    unsigned id;
    uint64_t content;
    uint64_t epoch;             /* the cut after which it was sent */
    uint64_t serial;
    int64_t since_ms;
    bool matched;
    bool timeout_told;
} SimHeld;

typedef struct SimPrimarySide {
    SimNode node;
    ColoPrimary machine;
    uint64_t cut_epoch;         /* tags output and disk writes */
    uint32_t peer_dirty;
    uint32_t send_mask;         /* pages of the checkpoint being sent */
    uint64_t send_checksum;
    uint32_t send_count;
    uint64_t cut_hash;          /* of the guest at the last cut */
    uint64_t disk[SIM_KEYS];    /* id of the last writer */
    bool disk_failed;           /* a write could not be forwarded */
    SimHeld held[SIM_HELD_MAX + 2];
    unsigned held_count;
    uint64_t next_serial;
    uint64_t released_serial;   /* the last one */
    bool released_all;
    bool alone;                 /* GO_ALONE was executed */
    bool buffering;             /* output leaves at checkpoints only */
    ColoReason want;
    int64_t request_ms;         /* REQUEST of the checkpoint in progress */
    bool parted;                /* has been PARTING */
    unsigned failovers;         /* orders given */
} SimPrimarySide;

typedef struct SimWrite {
    unsigned key;
    unsigned id;
    uint64_t epoch;
} SimWrite;

typedef struct SimSecondarySide {
    SimNode node;
    ColoSecondary machine;
    uint64_t staged[SIM_PAGES][SIM_PAGE_WORDS];
    uint32_t staged_mask;
    uint32_t staged_count;      /* pages received, for END */
    uint64_t staged_checksum;
    uint64_t staged_device_rev;
    uint32_t staged_limit;      /* pages */
    uint32_t next_limit;        /* from the next checkpoint on */
    uint32_t swapped;           /* transaction: pages exchanged */
    uint64_t undo_device_rev;
    bool device_swapped;
    bool rolling_back;
    uint64_t before_hash;       /* of the guest when the apply began */
    uint64_t base[SIM_KEYS];    /* disk at the cut of .epoch */
    uint64_t own[SIM_KEYS];     /* own writes since, 0: none */
    SimWrite writes[SIM_WRITES_MAX];
    unsigned write_count;
    bool taken_over;
    bool shut_down;
    bool refused;               /* a failover came before START(1) */
    unsigned failovers;
} SimSecondarySide;

/* ----------------------------------------------------------------- faults */

typedef enum SimFaultType {
    SIM_FAULT_CRASH_P,
    SIM_FAULT_CRASH_S,
    SIM_FAULT_CUT,              /* nothing passes, nobody is told */
    SIM_FAULT_RESET,            /* both ends are told */
    SIM_FAULT_STALL_PS,
    SIM_FAULT_STALL_SP,
    SIM_FAULT_FREEZE_P,
    SIM_FAULT_FREEZE_S,
    SIM_FAULT_DUPLICATE_PS,
    SIM_FAULT_DUPLICATE_SP,
    SIM_FAULT_GARBAGE_PS,
    SIM_FAULT_GARBAGE_SP,
    SIM_FAULT_FLIP,
    SIM_FAULT_APPLY_FAILS,
    SIM_FAULT_APPLY_BREAKS,
    SIM_FAULT_CAPTURE_FAILS,
    SIM_FAULT_COLLECT_FAILS,
    SIM_FAULT_BEGIN_P_FAILS,
    SIM_FAULT_BEGIN_S_FAILS,
    SIM_FAULT_QUIT_P,
    SIM_FAULT_QUIT_S,
    SIM_FAULT_GUEST_GONE,
    SIM_FAULT_LIMIT_STAGING,
    SIM_FAULT_LIMITS_P,         /* no fault: the operator sets other limits */
    SIM_FAULT_LIMITS_S,
    SIM_FAULT__MAX
} SimFaultType;

typedef enum SimTrigger {
    SIM_AT_STEP,                /* of the world */
    SIM_AT_P_ACTION,            /* before the primary's n-th action, which
                                 * is after its (n-1)-th */
    SIM_AT_S_ACTION,
} SimTrigger;

typedef struct SimFault {
    SimFaultType type;
    SimTrigger trigger;
    unsigned at;
    unsigned detail;            /* part of the transaction, duration, ... */
    bool done;
} SimFault;

enum { SIM_FAULTS_MAX = 3 };

/* -------------------------------------------------------------- the world */

typedef struct SimCoverage {
    uint64_t p_state[COLO_P__MAX];
    uint64_t s_state[COLO_S__MAX];
    uint64_t action[COLO_ACT__MAX];
    uint64_t fault[SIM_FAULT__MAX];
    uint64_t cause[COLO_CAUSE__MAX];
    uint64_t steps;
    uint64_t checkpoints;
    uint64_t released_compared;
    uint64_t released_committed;
    uint64_t storms;            /* hybrid mode was entered */
    uint64_t calms;             /* and left */
    uint64_t takeovers;
    uint64_t primaries_alone;
    uint64_t rollbacks;
    uint64_t served;
    uint64_t lost_excused;      /* double faults */
} SimCoverage;

typedef struct SimWorld {
    uint64_t seed;
    uint64_t random;
    int64_t now_ms;
    unsigned step;
    unsigned horizon;           /* no faults after this step */
    unsigned haste;             /* weight of the clock among the moves; 0:
                                 * it waits until both nodes are idle */
    bool trace;
    SimPrimarySide p;
    SimSecondarySide s;
    SimLane lane_ps;
    SimLane lane_sp;
    SimPipe mirror;             /* P to S: requests and markers */
    SimPipe egress;             /* S to P: answers */
    bool link_cut;
    SimItem twins[SIM_TWINS_MAX];
    unsigned twin_count;
    /* the client */
    unsigned sent_id;
    unsigned acked_id;          /* all up to it were answered */
    bool seen_flag[SIM_REQUESTS];
    uint64_t seen[SIM_REQUESTS];
    unsigned request_id;        /* on its way to the service, 0: none */
    int64_t retry_ms;
    bool quiet;                 /* sends nothing until the faults are over */
    bool settling;
    unsigned goal_id;
    /* the operator */
    int64_t operator_ms;        /* next look */
    bool decided;               /* one survivor has been chosen */
    bool frozen_for_good;       /* one node never comes back */
    bool hasty;                 /* orders a failover before S noticed */
    bool guest_gone;
    bool p_quits;
    bool s_quits;
    bool must_survive_p;
    bool must_survive_s;
    bool apply_fails;           /* armed faults of local actions */
    bool apply_breaks;
    bool capture_fails;
    bool collect_fails;
    bool begin_p_fails;
    bool begin_s_fails;
    unsigned apply_at;          /* part at which the apply fails */
    SimFault faults[SIM_FAULTS_MAX];
    unsigned fault_count;
    SimCoverage *coverage;
    /* the verdict */
    const char *broken;         /* name of the invariant, NULL: all hold */
    char detail[200];
} SimWorld;

typedef struct SimOptions {
    unsigned breakage;          /* COLO_BREAK_* for both machines */
    bool trace;
    SimCoverage *coverage;      /* added to */
    const SimFault *only;       /* this fault alone, in a prompt schedule */
} SimOptions;

/* Run one schedule; false: w->broken and w->detail say what. */
bool sim_run(SimWorld *w, uint64_t seed, const SimOptions *options);

uint64_t sim_rand(SimWorld *w);
/* 0..n-1 */
unsigned sim_pick(SimWorld *w, unsigned n);
bool sim_chance(SimWorld *w, unsigned one_in);
void sim_broken(SimWorld *w, const char *invariant, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

#define sim_trace(w, ...)                                   \
    do {                                                    \
        if ((w)->trace) {                                   \
            printf("# %6u %5" PRId64 "ms  ", (w)->step,     \
                   (w)->now_ms);                            \
            printf(__VA_ARGS__);                            \
            putchar('\n');                                  \
        }                                                   \
    } while (0)

/* channel.c */
void sim_channel_send(SimWorld *w, bool from_p, const SimFrame *f);
/* The head if it has arrived, NULL otherwise. */
const SimFrame *sim_channel_head(SimWorld *w, bool to_p);
void sim_channel_pop(SimWorld *w, bool to_p);
int64_t sim_channel_next_ms(const SimWorld *w, bool to_p);
bool sim_channel_blocked(const SimWorld *w, bool from_p);
void sim_channel_close(SimWorld *w, bool from_p);
void sim_channel_reset(SimWorld *w);
/* The process at this end died; @silently: and so did its host. */
void sim_channel_died(SimWorld *w, bool p_died, bool silently);
void sim_pipe_push(SimWorld *w, SimPipe *pipe, SimItem item);
SimItem *sim_pipe_head(SimWorld *w, SimPipe *pipe);
void sim_pipe_pop(SimPipe *pipe);
int64_t sim_pipe_next_ms(const SimWorld *w, const SimPipe *pipe);

/* network.c */
bool sim_client_ready(const SimWorld *w);
void sim_client_move(SimWorld *w);
bool sim_p_guest_ready(const SimWorld *w);
void sim_p_guest_move(SimWorld *w);
bool sim_s_guest_ready(const SimWorld *w);
void sim_s_guest_move(SimWorld *w);
bool sim_compare_ready(SimWorld *w);
void sim_compare_move(SimWorld *w);
int64_t sim_compare_next_ms(const SimWorld *w);
void sim_release_before(SimWorld *w, uint64_t epoch);
void sim_release_all(SimWorld *w);
void sim_mirror_loaded(SimWorld *w, uint64_t epoch);

/* primary.c and secondary.c: one action, or one part of a local one */
void sim_p_execute(SimWorld *w);
void sim_p_event(SimWorld *w, const ColoEvent *ev);
void sim_p_receive(SimWorld *w);
void sim_s_execute(SimWorld *w);
void sim_s_event(SimWorld *w, const ColoEvent *ev);
void sim_s_receive(SimWorld *w);
uint64_t sim_s_disk(const SimSecondarySide *s, unsigned key);

/* faults.c */
void sim_faults_plan(SimWorld *w);
void sim_faults_strike(SimWorld *w);
void sim_p_is_gone(SimWorld *w);
void sim_kill_p(SimWorld *w, bool silently);
void sim_kill_s(SimWorld *w, bool silently);
void sim_order(SimNode *n, ColoEventType type);
const char *sim_fault_name(SimFaultType type);

/* arbiter.c */
void sim_arbiter_look(SimWorld *w);

/* check.c */
bool sim_s_claims(const SimWorld *w);
bool sim_idle(const SimNode *n);
bool sim_p_can_serve(const SimWorld *w);
bool sim_s_can_serve(const SimWorld *w);
/* After every move; and before the clock moves on. */
void sim_check_step(SimWorld *w);
void sim_check_waits(SimWorld *w);
void sim_check_release(SimWorld *w, const SimHeld *h);
void sim_check_applied(SimWorld *w, uint64_t cut_hash);
void sim_check_rolled_back(SimWorld *w);
void sim_check_survivor_p(SimWorld *w);
void sim_check_survivor_s(SimWorld *w);
void sim_check_reply(SimWorld *w, unsigned id, uint64_t content);
/* Has the schedule reached its end? Judges it if so. */
bool sim_check_end(SimWorld *w);

#endif
