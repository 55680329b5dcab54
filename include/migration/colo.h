/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO as the rest of QEMU sees it: the seams through which migration
 * enters it, and the questions that hooks elsewhere ask.
 *
 * Everything here is callable whether or not COLO is built in or active;
 * without it the answers are "no" and "go on" (migration/colo-stubs.c).
 */
#ifndef MIGRATION_COLO_H
#define MIGRATION_COLO_H

#include "qapi/qapi-types-run-state.h"
#include "colo/policy.h"

/* What net filters and colo-compare are told. */
enum colo_event {
    COLO_EVENT_NONE,
    COLO_EVENT_CHECKPOINT,   /* the secondary is in a new epoch / release */
    COLO_EVENT_FAILOVER,     /* the secondary takes over */
};

/* ------------------------------------------------- seams of migration.c */

/*
 * Primary: first copy sent, guest stopped. Runs COLO until its end in the
 * calling (migration) thread. Called and returns with the BQL, which is
 * released in between. The guest has then the state it shall keep.
 */
void migrate_start_colo_process(MigrationState *s);

/* Secondary: the stream announces COLO; called before any RAM. 0 or -errno. */
int colo_incoming_prepare(void);

/*
 * Secondary: first copy loaded. Yields until the end of COLO. True when
 * this side took over and its guest has the state it shall keep; false when
 * it must not run, with @errp unless it ends because the guest has ended.
 */
bool coroutine_fn colo_incoming_co(Error **errp);

/* x-checkpoint-delay was set. */
void colo_checkpoint_delay_set(void);

/* QEMU exits: say goodbye, do not wait for the peer. Main thread, BQL. */
void colo_shutdown(void);

/* Is @caps (indexed by MigrationCapability) possible with x-colo? */
bool colo_caps_check(const bool *caps, Error **errp);

/* Migration state is COLO on the outgoing / incoming side. Any thread. */
bool migration_in_colo_state(void);
bool migration_incoming_in_colo_state(void);

/* Defined in migration.c. */
int migration_incoming_enable_colo(void);
void migration_incoming_disable_colo(void);
bool migration_incoming_colo_enabled(void);

/* ---------------------------------------------------- for the network */

/* A checkpoint is wanted; nothing happens without a primary. Any thread. */
void colo_net_ask(ColoReason reason);

/*
 * The other side is lost, a failover was asked for, or there is no session:
 * the network's parts may be taken away. Any thread.
 */
bool colo_session_is_ending(void);

/*
 * The guest sends more than may be held: it stands still until a checkpoint
 * or the end of COLO has made room. Any thread; returns at once.
 */
void colo_net_throttle(void);
/* The same at once, on a primary; also when its output lost its guard. BQL. */
void colo_net_hold_guest(void);

/* --------------------------------------------------- hooks of the rest */

typedef enum ColoUserAction {
    COLO_USER_STOP,
    COLO_USER_CONT,
    COLO_USER_RESET,
    COLO_USER_POWERDOWN,
    COLO_USER_MIGRATE,
    COLO_USER_MIGRATE_CANCEL,
    COLO_USER_SAVEVM,
    COLO_USER_LOADVM,
    COLO_USER_DEVICE_ADD,
    COLO_USER_DEVICE_DEL,
    COLO_USER_BALLOON,
    COLO_USER_DUMP,
    COLO_USER_XEN_SAVE,
    COLO_USER__MAX
} ColoUserAction;

/*
 * A user asks for @action. False: go on as without COLO. True: COLO has
 * dealt with it, by refusing it (@errp says why and what to do; printed
 * when @errp is NULL) or by taking note of it. Main thread, BQL.
 */
bool colo_user_handles(ColoUserAction action, Error **errp);

/* COLO has stopped the guest and will let it go. Main thread, BQL. */
bool colo_guest_is_held(void);

/* The main thread begins / has ended to pause vCPUs for a stop. BQL. */
void colo_guest_stopping(bool on);

/*
 * vm_stop(@state), vm_start() or a reset while COLO holds the guest. True:
 * not now; it happens when COLO lets the guest go. Main thread, BQL.
 */
bool colo_guest_stops(RunState state);
bool colo_guest_starts(void);
/* This start ends a stop that was not reported: no RESUME either. BQL. */
bool colo_guest_resumes_quietly(void);
/*
 * What query-status says of a guest whose run state is @state: with a stop
 * that was not reported, the state it will have when COLO lets it go. BQL.
 */
RunState colo_guest_shown_state(RunState state);
bool colo_guest_resets_later(ShutdownCause cause);

/*
 * The guest or a user ends this VM. True: do not, the guest was stopped
 * instead (a secondary does not end before its primary). Main thread, BQL.
 */
bool colo_guest_ends(ShutdownCause cause);

/*
 * A checkpoint is just being applied to this machine: its RAM is not to be
 * refilled by a reset. BQL.
 */
bool colo_is_applying(void);

/*
 * CPU state is being loaded and translated code of every changed page has
 * already been dropped, so the rest of the code cache stays valid. BQL.
 */
bool colo_keeps_code_coherent(void);

#endif
