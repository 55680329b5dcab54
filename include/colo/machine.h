/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the checkpoint and failover machines of both sides.
 *
 * Each side is one state machine. The glue (or the simulator) turns what
 * happens into events and calls step(); step() changes the state and returns
 * the actions to be executed, in order, before the next event is given.
 * A machine does no I/O, reads no clock and keeps no global: time comes in
 * as @now_ms, monotonic. Both machines belong to one thread each.
 *
 * Actions marked "local" finish before the executor returns and are answered
 * by exactly one result event (LOCAL_OK, LOCAL_FAILED, or LOCAL_BROKEN),
 * given as the next event. A step() returns at most one local action and it
 * is the last of its list. All other actions cannot fail in a way that the
 * machine must know; a send that fails is followed by EV_PEER_LOST.
 *
 * Rules kept here (DESIGN section 3): output leaves the primary only through
 * ACT_RELEASE_OUTPUT, given on LOADED or when the primary is the survivor;
 * the secondary applies only what is complete and verified; an apply that
 * fails is rolled back; a failover asked during an apply waits for its end;
 * every wait has a deadline (colo_*_deadline()); neither side promotes
 * itself because of silence.
 */
#ifndef COLO_MACHINE_H
#define COLO_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include "colo/limits.h"
#include "colo/policy.h"
#include "colo/wire.h"

/* ------------------------------------------------------------- events */

typedef enum ColoEventType {
    COLO_EV_START,            /* both: the first copy is done, begin */
    COLO_EV_MESSAGE,          /* both: a valid frame; .msg .epoch .arg */
    COLO_EV_TICK,             /* both: deadline reached (or any time) */
    COLO_EV_WANT_CHECKPOINT,  /* P: .reason */
    COLO_EV_LOCAL_OK,         /* both: the local action succeeded */
    COLO_EV_LOCAL_FAILED,     /* both: it failed and left nothing changed */
    COLO_EV_LOCAL_BROKEN,     /* S: apply failed and so did its rollback */
    COLO_EV_STATE_BAD,        /* S: staged state incomplete or not verified */
    COLO_EV_PEER_LOST,        /* both: EOF, reset, send failed, garbage */
    COLO_EV_FAILOVER,         /* both: x-colo-lost-heartbeat */
    COLO_EV_QUIT,             /* both: this QEMU is going to exit */
    COLO_EV_GUEST_GONE,       /* P: the guest shut itself down for good */
    COLO_EV__MAX
} ColoEventType;

/* Why a side is not, or no longer, protected; shown with a remedy. */
typedef enum ColoCause {
    COLO_CAUSE_NONE,
    COLO_CAUSE_PEER_CLOSED,      /* the channel ended: process dead or cut */
    COLO_CAUSE_PEER_SILENT,      /* step limit */
    COLO_CAUSE_PEER_SLOW,        /* checkpoint limit */
    COLO_CAUSE_PROTOCOL,         /* a valid frame at the wrong place/epoch */
    COLO_CAUSE_GARBAGE,          /* a frame that does not parse */
    COLO_CAUSE_REFUSED,          /* the peer refused at the handshake */
    COLO_CAUSE_LOCAL,            /* a local action failed (text has it) */
    COLO_CAUSE_APPLY_FAILED,     /* S could not take it; on its own epoch */
    COLO_CAUSE_APPLY_BROKEN,     /* S could not load nor roll back */
    COLO_CAUSE_REQUESTED,        /* x-colo-lost-heartbeat */
    COLO_CAUSE_PEER_QUIT,        /* the peer's operator ended its QEMU */
    COLO_CAUSE_GUEST_SHUTDOWN,   /* the guest powered itself off */
    COLO_CAUSE_PEER_ALONE,       /* S: the primary ended the protection */
    COLO_CAUSE__MAX
} ColoCause;

typedef struct ColoEvent {
    ColoEventType type;
    ColoMsgType msg;           /* EV_MESSAGE */
    uint64_t epoch;            /* EV_MESSAGE */
    uint32_t arg;              /* EV_MESSAGE: cause of GOODBYE, FAILED and
                                * REFUSE; reason of REQUEST */
    ColoReason reason;         /* EV_WANT_CHECKPOINT */
    ColoCause cause;           /* EV_PEER_LOST: CLOSED or GARBAGE */
} ColoEvent;

/* ------------------------------------------------------------ actions */

typedef enum ColoActionType {
    COLO_ACT_SEND,             /* both: frame .msg .epoch .arg */
    COLO_ACT_BEGIN,            /* both, local: what starts with protection:
                                * disk replication, dirty log */
    COLO_ACT_GUEST_STOP,       /* both: stop the guest (idempotent) */
    COLO_ACT_GUEST_RUN,        /* both: let it run if its own state says so */
    COLO_ACT_COLLECT,          /* S, local: own device state for rollback,
                                * dirty pages, send DIRTY frames */
    COLO_ACT_CAPTURE,          /* P, local: guest is stopped: cut NICs and
                                * disks, device state, dirty pages */
    COLO_ACT_SEND_STATE,       /* P, local: STATE .. END; a channel error is
                                * EV_PEER_LOST instead of a local result */
    COLO_ACT_APPLY,            /* S, local: the transaction; FAILED means
                                * rolled back, BROKEN means not */
    COLO_ACT_DISCARD,          /* S: throw staged state away */
    COLO_ACT_RELEASE_OUTPUT,   /* P: what was held before cut .epoch */
    COLO_ACT_NET_MODE,         /* P: what may leave in the epoch that begins:
                                * .arg is a ColoNetMode. Releases nothing by
                                * itself; the guest stands still */
    COLO_ACT_RELEASE_ALL,      /* P: everything held, for good */
    COLO_ACT_TAKE_OVER,        /* S: disks and NICs become the primary's */
    COLO_ACT_GO_ALONE,         /* P: end replication, no more comparing */
    COLO_ACT_CLOSE,            /* both: shut the channel down */
    COLO_ACT_STATUS,           /* both: state or cause changed: COLO_STATUS */
    COLO_ACT_EXIT_EVENT,       /* both: COLO_EXIT, .cause */
    COLO_ACT_GUEST_SHUTDOWN,   /* S: end the guest as the primary's ended */
    COLO_ACT__MAX
} ColoActionType;

/* Argument of ACT_NET_MODE. A primary begins with MATCH. */
typedef enum ColoNetMode {
    COLO_NET_MATCH,            /* what the secondary has sent, too */
    COLO_NET_BUFFER,           /* hybrid mode: nothing before the next cut */
    COLO_NET__MAX
} ColoNetMode;

typedef struct ColoAction {
    ColoActionType type;
    ColoMsgType msg;
    uint64_t epoch;
    uint32_t arg;
    ColoCause cause;
} ColoAction;

enum { COLO_ACTIONS_MAX = 12 };

typedef struct ColoActions {
    unsigned count;
    ColoAction list[COLO_ACTIONS_MAX];
} ColoActions;

/* ------------------------------------------------------------ primary */

/*
 * Guest column: may the primary's guest run in this state?
 *
 *  state      meaning                                   guest  leaves on
 *  OFF        before START                              -      START
 *  HELLO      HELLO sent, READY due                     no     READY/lost
 *  BEGINNING  local: disks start                        no     result
 *  RUNNING    lockstep in .epoch                        yes    want/tick/lost
 *  REQUESTED  REQUEST(.epoch + 1) sent, REPLY due       yes    REPLY/lost/tick
 *  CAPTURING  local: cut and capture                    no     result
 *  SENDING    local: STATE..END                         no     result/lost
 *  SENT       RECEIVED due                              no     RECEIVED/FAILED
 *  COMMITTING LOADED due                                no     LOADED/FAILED
 *  PARTING    GOODBYE sent, the secondary's due         yes    GOODBYE/lost
 *  LOST       peer gone or useless, output held         yes    FAILOVER
 *  ALONE      final: the survivor, or never protected   yes    -
 *  ENDED      final: this QEMU leaves                   -      -
 *
 * The guest of a primary that loses its peer inside a checkpoint runs again
 * (GUEST_RUN): its output stays held until FAILOVER decides.
 *
 * A secondary before START(1), one that said GOODBYE and one that said
 * FAILED(apply-broken) has no claim on the guest: the primary goes ALONE at
 * once, by itself. Any other FAILED comes from a secondary that is whole in
 * its own epoch and would be promoted if the primary died now: output may
 * leave only when it is known to have given its claim up. So the primary
 * says GOODBYE, lets the guest run with its output held (PARTING), and goes
 * ALONE when the secondary's GOODBYE confirms. The same handshake ends the
 * protection when CAPTURE fails here or the guest shut itself down.
 */
typedef enum ColoPrimaryState {
    COLO_P_OFF,
    COLO_P_HELLO,
    COLO_P_BEGINNING,
    COLO_P_RUNNING,
    COLO_P_REQUESTED,
    COLO_P_CAPTURING,
    COLO_P_SENDING,
    COLO_P_SENT,
    COLO_P_COMMITTING,
    COLO_P_PARTING,
    COLO_P_LOST,
    COLO_P_ALONE,
    COLO_P_ENDED,
    COLO_P__MAX
} ColoPrimaryState;

typedef struct ColoPrimary {
    ColoPrimaryState state;
    ColoLimits limits;          /* copied; colo_primary_set_limits() */
    ColoPolicy policy;
    uint64_t epoch;             /* the epoch both guests run in; 0: none */
    ColoNetMode net_mode;       /* what ACT_NET_MODE has said last */
    ColoReason reason;          /* of the checkpoint in progress */
    ColoCause cause;            /* why LOST/ALONE/ENDED */
    bool failover_pending;      /* asked during a local action */
    bool quit_pending;          /* ditto */
    bool gone_pending;          /* ditto: the guest shut itself down */
    ColoMsgType peer_pending;   /* FAILED or GOODBYE during a local action */
    ColoCause pending_cause;    /* of peer_pending, or peer lost meanwhile */
    bool channel_lost;          /* ditto: nothing can be sent any more */
    int64_t rx_ms;              /* last frame from the peer, or the time at
                                 * which the present wait began */
    int64_t tx_ms;              /* last frame to the peer */
    int64_t started_ms;         /* of the checkpoint in progress */
    unsigned breakage;          /* sim only: COLO_BREAK_* bits */
} ColoPrimary;

void colo_primary_init(ColoPrimary *p, const ColoLimits *limits);
void colo_primary_set_limits(ColoPrimary *p, const ColoLimits *limits,
                             int64_t now_ms);
/* One event in, actions out. @out is cleared first. An event that the table
 * does not know in this state is ignored if it is the operator's or the
 * clock's, and EV_PEER_LOST with CAUSE_PROTOCOL if it is the peer's. */
void colo_primary_step(ColoPrimary *p, const ColoEvent *ev, int64_t now_ms,
                       ColoActions *out);
/* When EV_TICK is due at the latest, INT64_MAX in final states, in LOST and in
 * states of a local action. In SENDING it bounds the sending: a TICK after it
 * ends the wait (LOST), the result of SEND_STATE is then ignored. */
int64_t colo_primary_deadline(const ColoPrimary *p);
/* The glue calls this when bytes flowed, so a long SEND is not silence. */
void colo_primary_progress(ColoPrimary *p, int64_t now_ms);

/* ---------------------------------------------------------- secondary */

/*
 *  state      meaning                                   guest  leaves on
 *  OFF        before START                              -      START
 *  WAITING    HELLO due                                 no     HELLO/lost
 *  BEGINNING  local: replication, dirty log             no     result
 *  READY      READY sent, START(1) due                  no     START/lost
 *  RUNNING    lockstep in .epoch                        yes    REQUEST/lost
 *  COLLECTING local: stop, own state, dirty pages       no     result
 *  RECEIVING  REPLY sent, STATE..END due                no     END/bad/lost
 *  APPLYING   local: the transaction                    no     result
 *  FAILING    FAILED sent, GOODBYE due                  no     GOODBYE/lost
 *  LOST       peer gone; may be promoted                no     FAILOVER
 *  TAKEN_OVER final: the survivor                       yes    -
 *  DEAD       final: must not be promoted               no     -
 *
 * Before START(1) the secondary has no claim: a lost peer makes it DEAD.
 * In APPLYING a FAILOVER or a lost peer is remembered until the result.
 * END comes in as EV_MESSAGE only after the glue has verified counts and
 * checksum; otherwise the glue gives EV_STATE_BAD.
 * GOODBYE(peer-quit) means that the primary ended without releasing: LOST,
 * promotable. Any other GOODBYE means that it goes on alone (or its guest is
 * off) as soon as we confirm: SEND GOODBYE, DEAD.
 * In FAILING, state frames of the refused checkpoint are ignored; a peer lost
 * -> LOST, running state is its own epoch.
 * A secondary whose guest was running when the peer was lost stops it.
 */
typedef enum ColoSecondaryState {
    COLO_S_OFF,
    COLO_S_WAITING,
    COLO_S_BEGINNING,
    COLO_S_READY,
    COLO_S_RUNNING,
    COLO_S_COLLECTING,
    COLO_S_RECEIVING,
    COLO_S_APPLYING,
    COLO_S_FAILING,
    COLO_S_LOST,
    COLO_S_TAKEN_OVER,
    COLO_S_DEAD,
    COLO_S__MAX
} ColoSecondaryState;

typedef struct ColoSecondary {
    ColoSecondaryState state;
    ColoLimits limits;
    uint64_t epoch;             /* epoch of the guest's present state */
    uint64_t pending_epoch;     /* of the checkpoint being received */
    ColoCause cause;
    bool failover_pending;
    bool quit_pending;
    bool lost_pending;          /* peer lost during a local action */
    bool goodbye_pending;       /* or it said so */
    ColoCause pending_cause;    /* of the two above */
    bool limits_changed;        /* silence counts from the next event on */
    int64_t rx_ms;
    int64_t tx_ms;
    int64_t started_ms;
    unsigned breakage;
} ColoSecondary;

void colo_secondary_init(ColoSecondary *s, const ColoLimits *limits);
/* Takes effect with the next event; the deadline may be in the past. */
void colo_secondary_set_limits(ColoSecondary *s, const ColoLimits *limits);
void colo_secondary_step(ColoSecondary *s, const ColoEvent *ev,
                         int64_t now_ms, ColoActions *out);
int64_t colo_secondary_deadline(const ColoSecondary *s);
void colo_secondary_progress(ColoSecondary *s, int64_t now_ms);

/* ------------------------------------------------------------- naming */

const char *colo_primary_state_name(ColoPrimaryState s);
const char *colo_secondary_state_name(ColoSecondaryState s);
const char *colo_event_name(ColoEventType t);
const char *colo_action_name(ColoActionType t);
const char *colo_net_mode_name(ColoNetMode m);         /* "match" */
/* Short lower-case word, e.g. "peer-silent". */
const char *colo_cause_name(ColoCause c);
/* What happened, for people, where nobody has said it more exactly. */
const char *colo_cause_text(ColoCause c);
/* One sentence for people: what the operator of this side should do. */
const char *colo_cause_remedy(ColoCause c, bool primary, bool final);

/* Rules that the simulator breaks on purpose to see its invariants catch it. */
enum {
    COLO_BREAK_EARLY_RELEASE = 1u << 0,   /* release on RECEIVED */
    COLO_BREAK_APPLY_UNVERIFIED = 1u << 1,/* apply although STATE_BAD */
    COLO_BREAK_NO_ROLLBACK = 1u << 2,     /* treat FAILED apply as success */
    COLO_BREAK_NO_TIMEOUT = 1u << 3,      /* deadline() is always "never" */
    COLO_BREAK_SELF_PROMOTE = 1u << 4,    /* LOST becomes survivor by itself */
};

#endif
