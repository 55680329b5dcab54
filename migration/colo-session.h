/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: what one side's session consists of, and who owns it.
 *
 * There is at most one session in a QEMU process. Its COLO thread (on the
 * primary the migration thread, on the secondary a thread of its own) owns
 * machine, channel, RAM and blobs. Other threads talk to it in two ways:
 * they leave an ask (colo_session_ask_*) and kick the channel, or they read
 * the view that the COLO thread publishes after each step. Both are under
 * @lock. Lock order: BQL, then @lock. The BQL is never held over channel I/O.
 */
#ifndef MIGRATION_COLO_SESSION_H
#define MIGRATION_COLO_SESSION_H

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "qemu/thread.h"
#include "qapi/qapi-types-colo.h"
#include "qapi/qapi-types-run-state.h"
#include "colo/machine.h"
#include "colo/pages.h"
#include "colo-channel.h"
#include "colo-ram.h"
#include "colo-stats.h"

/* What other threads may ask for. Under lock. */
typedef struct ColoAsks {
    uint32_t reasons;          /* bit per ColoReason: checkpoint wanted */
    bool failover;
    bool quit;
    bool guest_gone;
    bool limits;
} ColoAsks;

/* What QMP shows. Under lock. */
typedef struct ColoView {
    COLOMode role;
    COLOMode last_role;
    COLOExitReason exit_reason;
    ColoState state;
    const char *phase;
    ColoCause cause;
    char *detail;              /* text beside cause, or NULL */
    const char *remedy;
    uint64_t epoch;
    uint64_t checkpoint_count; /* completed */
    uint64_t cuts_begun;       /* what colo-checkpoint waits for ... */
    uint64_t cuts_done;        /* ... to be loaded */
    uint64_t taken[COLO_REASON__MAX];
    bool hybrid;
    int64_t hybrid_since_ms;
    uint64_t hybrid_entered_count;
    ColoStats stats;
} ColoView;

/* A coroutine waiting in colo-checkpoint. Under lock. */
typedef struct ColoWaiter ColoWaiter;

typedef struct ColoSession {
    /* -- COLO thread ------------------------------------------------- */
    COLOMode role;
    ColoChannel *channel;
    ColoRam *ram;
    uint32_t features;
    ColoHashKey hash_key;
    char id[17];               /* of this protection, the same on both sides */
    bool disks_durable;        /* as the last REQUEST said */
    union {
        ColoPrimary primary;
        ColoSecondary secondary;
    };
    ColoPageSet dirty;         /* P: to send. S: own, for the next DIRTY */
    ColoPageSet recent;        /* P: dirtied since the hashes were taken */
    GByteArray *device;        /* P: captured. S: received */
    GByteArray *own_device;    /* S: for rollback */
    ColoBlockInfo *table;      /* block table of the checkpoint */
    ColoBlockInfo *own_table;  /* S: for rollback */
    ColoStage stage;           /* S */
    ColoChecksum *checksum;
    GArray *peer_runs;         /* P: ColoRun, from DIRTY */
    GByteArray *peer_hashes;   /* P: a hash for each of their pages, if any */
    GByteArray *own_hashes;    /* P: hashes of the same pages here */
    ColoHashPolicy hash_policy;
    bool peer_paused;          /* S: the primary's guest is paused */
    bool staged_paused;        /* S: and in the checkpoint being received */
    ColoStats stats;
    char *error_text;          /* detail for the next cause */
    bool quitting;             /* this QEMU was told to exit */

    /* -- lock --------------------------------------------------------- */
    QemuMutex lock;
    QemuCond ended_cond;
    bool active;               /* between begin and end */
    bool running;              /* the COLO thread executes its machine */
    ColoAsks asks;
    ColoView view;
    bool in_checkpoint;        /* the machine is, whatever view says yet */
    GSList *waiters;           /* ColoWaiter* */
} ColoSession;

extern ColoSession colo_session;

/* ------------------------------------------------------------- colo.c */

/* Begin and end of a session; COLO thread, BQL. */
bool colo_session_begin(COLOMode role, QIOChannel *ioc, Error **errp);
void colo_session_end(void);
/* Page sets as large as the blocks, in their order; empty. */
void colo_session_size_sets(void);
/* Publish machine state; COLO thread. Emits COLO_STATUS when @event. */
void colo_session_publish(bool event);
/* After each step of the machine, before its actions; COLO thread. */
void colo_session_note_step(void);
/* The state of this side is that of a cut, as long as the BQL is held. */
bool colo_session_between_cuts(void);
/* Take pending asks; COLO thread. */
ColoAsks colo_session_take_asks(void);
/* Take what the network asks for alone, as bits. */
uint32_t colo_session_take_net_asks(void);
/* True when somebody wants the channel given up at once. */
bool colo_session_give_up(void *opaque);
/* Any thread. False when there is no session of that kind. */
bool colo_session_ask_checkpoint(ColoReason reason);
/* The claim of this side on the guest; errors for x-colo-lost-heartbeat. */
bool colo_session_ask_failover(Error **errp);
void colo_session_set_detail(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void colo_session_set_detail_err(Error *err);
bool colo_session_is(COLOMode role);
/*
 * ... and the guest is not this side's alone. Who reads "alone" is alone,
 * though the session, and with it the migration, has yet to end.
 */
bool colo_session_binds(COLOMode role);
/* Cause for a failed channel operation. */
ColoCause colo_io_cause(ColoIo io);
/* Complete or fail the colo-checkpoint commands that wait; any thread. */
void colo_waiters_wake(bool ended);

/* ------------------------------------------------------ colo-execute.c */

/*
 * What both sides' executors share. The BQL is taken when the first action
 * needs it and dropped before the channel is touched, so that consecutive
 * actions on the machine are one critical section.
 */
void colo_need_bql(void);
void colo_drop_bql(void);
/* Send a frame without bulk data now. */
ColoIo colo_send(ColoMsgType type, uint64_t epoch, uint32_t flags,
                 const GByteArray *payload, Error **errp);
/* REFUSE, FAILED, GOODBYE with the cause and its detail. */
ColoIo colo_send_notice(ColoMsgType type, uint64_t epoch, uint32_t cause,
                        Error **errp);
/* Read a whole small payload into @to. */
ColoIo colo_read_payload(const ColoFrame *frame, GByteArray *to,
                         Error **errp);
/* Read REFUSE, FAILED or GOODBYE; text becomes the detail. */
ColoIo colo_read_notice(const ColoFrame *frame, uint32_t *cause,
                        Error **errp);
/* COLO_IO_OK for WIRE_OK, else GARBAGE with an error naming frame and fault. */
ColoIo colo_frame_check(const ColoFrame *frame, ColoWireError e,
                        Error **errp);
/* COLO_EXIT. */
void colo_emit_exit(ColoCause cause);

/* -------------------------------------------------------- colo-hello.c */

void colo_hello_fill(ColoHello *hello, bool primary);
/* Secondary: is this primary's HELLO acceptable? */
bool colo_hello_check(const ColoHello *hello, Error **errp);

/* -------------------------------------------------------- colo-caps.c */

/* Can checkpoints travel over this channel? */
bool colo_channel_fits(QIOChannel *ioc, Error **errp);

/* ------------------------------------------------- primary, secondary */

void colo_primary_run(void);
void colo_secondary_run(void);
/* Limits in force, from the parameters and x-checkpoint-delay. */
ColoLimits colo_limits_now(void);
bool colo_limits_are_default(void);        /* x-checkpoint-delay as well */
void colo_limits_reset(Error **errp);      /* BQL, no session */
OnOffAuto colo_page_hash_mode(void);
/* Report the stop of each checkpoint as STOP and RESUME? Any thread. */
bool colo_checkpoint_events(void);

/* The disks' part of a checkpoint on either side, timed. BQL. */
void colo_session_cut_disks(uint64_t epoch);
void colo_session_enter_disks(uint64_t epoch);

/* -------------------------------------------------------- colo-guest.c */

/* All BQL. "Held": stopped by COLO, to be started again by COLO. */
/* It stands still now; @state is what it was in before. */
void colo_guest_begin(RunState state);
/* COLO is over, whatever the guest is in. */
void colo_guest_end(void);
void colo_guest_stop(void);
/*
 * This QEMU ends: the guest stands still with its requests done, also after a
 * checkpoint that is under way. Main thread.
 */
void colo_guest_stop_for_good(void);
/* COLO is over: what colo_net_hold_guest() stopped runs again. */
void colo_guest_unthrottle(void);
void colo_guest_run(void);
/* cont while held: true when that is dealt with here, maybe by an error. */
bool colo_guest_continues(Error **errp);
/* Secondary: the guest is another one now; forget what it had asked for. */
void colo_guest_replaced(void);
/* Would the guest run if COLO let it? What STATE and START tell S. */
bool colo_guest_is_paused(void);
/* Secondary: run from whatever state its own guest left it in. */
void colo_guest_force_run(bool paused);

/* ------------------------------------------------------- colo-offers.c */

/* The disks have begun. BQL, guest stopped. */
void colo_offers_start(void);
/*
 * P: the machine is in @state now, and has not acted on it yet. May wait for
 * answers. BQL not held if it is a new state.
 */
void colo_offers_follow(ColoState state);
/* What the disks want to be sent. */
ColoIo colo_offers_send(Error **errp);                 /* P */
ColoIo colo_answers_send(Error **errp);                /* S */
/* ANSWER; OFFER. */
ColoIo colo_offers_take_answer(const ColoFrame *f, const GByteArray *in,
                               Error **errp);
ColoIo colo_answers_take_offer(const ColoFrame *f, const GByteArray *in,
                               Error **errp);
/* S: a REQUEST has come; all that was offered is answered now. */
ColoIo colo_answers_end(Error **errp);

/* ------------------------------------------------------- colo-device.c */

/* Device state of this machine. BQL, guest stopped. */
bool colo_device_save(GByteArray *out, Error **errp);
/* Put the machine into the state of @blob, whatever it is in. BQL. */
bool colo_device_load(const GByteArray *blob, Error **errp);
/* Between these two colo_is_applying() holds. BQL. */
void colo_apply_begin(void);
void colo_apply_end(void);
/* Digest as lower-case hex; g_free(). */
char *colo_device_digest(Error **errp);

/* --------------------------------------------------------- colo-user.c */

/* False if a device insists on discarding RAM. BQL. */
bool colo_user_begin(Error **errp);
void colo_user_end(void);                  /* BQL */
/* Secondary: the guest that may have ended itself is gone. BQL. */
void colo_user_guest_replaced(void);

/* -------------------------------------------------------- colo-fault.c */

#ifdef CONFIG_COLO_FAULTS
/* Pass a fault point; may not return. True: the step is to fail. */
bool colo_fault(const char *point);
#else
static inline bool colo_fault(const char *point)
{
    return false;
}
#endif

#endif
