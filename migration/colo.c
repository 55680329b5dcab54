/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the session, and the seams through which migration enters it.
 *
 * A session begins when the first copy is done, on the primary in the
 * migration thread, on the secondary in a thread of its own while the
 * incoming coroutine sleeps. It takes over the channel from the QEMUFile,
 * runs its state machine (colo-primary.c, colo-secondary.c) to a final state
 * and gives the guest back to migration in the state it shall keep.
 *
 * What other threads want from the session, and what they may know of it,
 * goes through the asks and the view (colo-session.h).
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-events-colo.h"
#include "qemu/error-report.h"
#include "qemu/job.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "block/colo.h"
#include "block/export.h"
#include "exec/memory.h"
#include "migration/colo.h"
#include "net/colo.h"
#include "system/runstate.h"
#include "migration.h"
#include "options.h"
#include "qemu-file.h"
#include "colo-session.h"

ColoSession colo_session;

static void __attribute__((constructor)) colo_session_setup(void)
{
    qemu_mutex_init(&colo_session.lock);
    qemu_cond_init(&colo_session.ended_cond);
}

bool migration_in_colo_state(void)
{
    return migrate_get_current()->state == MIGRATION_STATUS_COLO;
}

bool migration_incoming_in_colo_state(void)
{
    MigrationIncomingState *mis = migration_incoming_get_current();

    return mis && mis->state == MIGRATION_STATUS_COLO;
}

/* ---------------------------------------------------------------- asks */

bool colo_session_is(COLOMode role)
{
    QEMU_LOCK_GUARD(&colo_session.lock);
    return colo_session.active && colo_session.view.role == role;
}

bool colo_session_binds(COLOMode role)
{
    QEMU_LOCK_GUARD(&colo_session.lock);
    return colo_session.active && colo_session.view.role == role &&
           colo_session.view.state != COLO_STATE_ALONE;
}

bool colo_session_ask_checkpoint(ColoReason reason)
{
    ColoSession *s = &colo_session;

    QEMU_LOCK_GUARD(&s->lock);
    if (!s->active || s->view.role != COLO_MODE_PRIMARY) {
        return false;
    }
    s->asks.reasons |= 1u << reason;
    colo_channel_kick(s->channel);
    return true;
}

bool colo_session_ask_failover(Error **errp)
{
    ColoSession *s = &colo_session;

    QEMU_LOCK_GUARD(&s->lock);
    if (!s->active) {
        error_setg(errp, "This QEMU takes no part in COLO");
        return false;
    }
    if (s->view.state == COLO_STATE_CONNECTING &&
        s->view.role == COLO_MODE_SECONDARY) {
        error_setg(errp, "This secondary was never in lockstep with its "
                   "primary and has nothing to take over");
        return false;
    }
    if (s->asks.failover || s->view.state == COLO_STATE_ALONE ||
        s->view.state == COLO_STATE_DEAD) {
        error_setg(errp, "COLO is ending on this side already");
        return false;
    }
    s->asks.failover = true;
    s->view.exit_reason = COLO_EXIT_REASON_PROCESSING;
    colo_channel_kick(s->channel);
    return true;
}

void colo_net_ask(ColoReason reason)
{
    colo_session_ask_checkpoint(reason);
}

bool colo_session_is_ending(void)
{
    ColoSession *s = &colo_session;

    QEMU_LOCK_GUARD(&s->lock);
    return !s->active || s->asks.failover ||
           s->view.exit_reason == COLO_EXIT_REASON_PROCESSING ||
           s->view.state == COLO_STATE_LOST ||
           s->view.state == COLO_STATE_ALONE ||
           s->view.state == COLO_STATE_DEAD;
}

ColoAsks colo_session_take_asks(void)
{
    ColoSession *s = &colo_session;
    ColoAsks asks;

    QEMU_LOCK_GUARD(&s->lock);
    asks = s->asks;
    s->asks = (ColoAsks) {};
    return asks;
}

uint32_t colo_session_take_net_asks(void)
{
    uint32_t reasons;

    QEMU_LOCK_GUARD(&colo_session.lock);
    reasons = colo_session.asks.reasons & COLO_REASONS_NETWORK;
    colo_session.asks.reasons &= ~COLO_REASONS_NETWORK;
    return reasons;
}

bool colo_session_give_up(void *opaque)
{
    QEMU_LOCK_GUARD(&colo_session.lock);
    return colo_session.asks.failover || colo_session.asks.quit;
}

void colo_checkpoint_delay_set(void)
{
    ColoSession *s = &colo_session;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->asks.limits = true;
    }
    colo_session_ask_checkpoint(COLO_REASON_USER);
}

/* ------------------------------------------------------- what is known */

void colo_session_set_detail(const char *fmt, ...)
{
    va_list ap;

    g_free(colo_session.error_text);
    va_start(ap, fmt);
    colo_session.error_text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
}

void colo_session_set_detail_err(Error *err)
{
    if (err) {
        colo_session_set_detail("%s", error_get_pretty(err));
        error_free(err);
    }
}

ColoCause colo_io_cause(ColoIo io)
{
    switch (io) {
    case COLO_IO_SILENT:
        return COLO_CAUSE_PEER_SILENT;
    case COLO_IO_SLOW:
        return COLO_CAUSE_PEER_SLOW;
    case COLO_IO_GARBAGE:
        return COLO_CAUSE_GARBAGE;
    default:
        return COLO_CAUSE_PEER_CLOSED;
    }
}

static ColoState primary_view_state(ColoPrimaryState state)
{
    switch (state) {
    case COLO_P_HELLO:
    case COLO_P_BEGINNING:
        return COLO_STATE_CONNECTING;
    case COLO_P_RUNNING:
        return COLO_STATE_PROTECTED;
    case COLO_P_REQUESTED:
    case COLO_P_CAPTURING:
    case COLO_P_SENDING:
    case COLO_P_SENT:
    case COLO_P_COMMITTING:
        return COLO_STATE_CHECKPOINT;
    case COLO_P_PARTING:
    case COLO_P_LOST:
        return COLO_STATE_LOST;
    case COLO_P_ALONE:
        return COLO_STATE_ALONE;
    default:
        return COLO_STATE_OFF;
    }
}

static ColoState secondary_view_state(ColoSecondaryState state)
{
    switch (state) {
    case COLO_S_WAITING:
    case COLO_S_BEGINNING:
    case COLO_S_READY:
        return COLO_STATE_CONNECTING;
    case COLO_S_RUNNING:
        return COLO_STATE_PROTECTED;
    case COLO_S_COLLECTING:
    case COLO_S_RECEIVING:
    case COLO_S_APPLYING:
        return COLO_STATE_CHECKPOINT;
    case COLO_S_FAILING:
        return COLO_STATE_FAILING;
    case COLO_S_LOST:
        return COLO_STATE_LOST;
    case COLO_S_TAKEN_OVER:
        return COLO_STATE_ALONE;
    case COLO_S_DEAD:
        return COLO_STATE_DEAD;
    default:
        return COLO_STATE_OFF;
    }
}

static ColoState view_state(const ColoSession *s)
{
    return s->role == COLO_MODE_PRIMARY
           ? primary_view_state(s->primary.state)
           : secondary_view_state(s->secondary.state);
}

void colo_session_note_step(void)
{
    ColoSession *s = &colo_session;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->in_checkpoint = view_state(s) == COLO_STATE_CHECKPOINT;
    }
    if (s->role == COLO_MODE_PRIMARY) {
        colo_offers_follow(view_state(s));
    }
}

bool colo_session_between_cuts(void)
{
    ColoSession *s = &colo_session;

    QEMU_LOCK_GUARD(&s->lock);
    return !s->active || !s->in_checkpoint;
}

static void fill_view(ColoSession *s, ColoView *v)
{
    bool primary = s->role == COLO_MODE_PRIMARY;

    v->role = v->last_role = s->role;
    v->state = view_state(s);
    if (primary) {
        v->phase = colo_primary_state_name(s->primary.state);
        v->cause = s->primary.cause;
        v->epoch = s->primary.epoch;
        memcpy(v->taken, s->primary.policy.taken, sizeof(v->taken));
        v->hybrid = s->primary.policy.hybrid;
        v->hybrid_since_ms = s->primary.policy.hybrid_since_ms;
        v->hybrid_entered_count = s->primary.policy.hybrid_entered_count;
    } else {
        v->phase = colo_secondary_state_name(s->secondary.state);
        v->cause = s->secondary.cause;
        v->epoch = s->secondary.epoch;
        s->stats.staging_bytes = s->stage.held_bytes;
    }
    v->stats = s->stats;
    v->checkpoint_count = s->stats.checkpoint_count;
    g_free(v->detail);
    v->detail = v->cause == COLO_CAUSE_NONE ? NULL
                : g_strdup(s->error_text ?: colo_cause_text(v->cause));
    /* However it came to it, the survivor is one by request. */
    v->remedy = v->state == COLO_STATE_ALONE && !primary
                ? colo_cause_remedy(COLO_CAUSE_REQUESTED, false, true)
                : colo_cause_remedy(v->cause, primary,
                                    v->state == COLO_STATE_ALONE ||
                                    v->state == COLO_STATE_DEAD);
}

void colo_session_publish(bool event)
{
    ColoSession *s = &colo_session;
    g_autofree char *text = NULL;
    ColoView v;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        fill_view(s, &s->view);
        v = s->view;
        text = g_strdup(v.detail ? v.detail : "");
    }
    if (v.state != COLO_STATE_PROTECTED && v.state != COLO_STATE_CHECKPOINT) {
        colo_waiters_wake(true);
    }
    if (event) {
        qapi_event_send_colo_status(v.role, v.state,
                                    colo_cause_name(v.cause), text,
                                    v.remedy, v.epoch);
    }
}

/* --------------------------------------------------- begin and end */

void colo_session_size_sets(void)
{
    ColoSession *s = &colo_session;

    colo_page_set_destroy(&s->dirty);
    colo_page_set_destroy(&s->recent);
    colo_page_set_init(&s->dirty, colo_ram_page_limits(s->ram),
                       colo_ram_block_count(s->ram));
    colo_page_set_init(&s->recent, colo_ram_page_limits(s->ram),
                       colo_ram_block_count(s->ram));
}

bool colo_session_begin(COLOMode role, QIOChannel *ioc, Error **errp)
{
    ColoSession *s = &colo_session;
    ColoChannel *channel;

    if (!colo_channel_fits(ioc, errp)) {
        return false;
    }
    channel = colo_channel_new(ioc, errp);
    if (!channel) {
        return false;
    }
    s->ram = colo_ram_new(errp);
    if (!s->ram || !colo_user_begin(errp)) {
        g_clear_pointer(&s->ram, colo_ram_free);
        colo_channel_free(channel);
        return false;
    }
    s->role = role;
    channel->give_up = colo_session_give_up;
    colo_session_size_sets();
    s->device = g_byte_array_new();
    s->own_device = g_byte_array_new();
    s->checksum = colo_checksum_new();
    s->peer_runs = g_array_new(false, false, sizeof(ColoRun));
    s->peer_hashes = g_byte_array_new();
    s->own_hashes = g_byte_array_new();
    colo_stage_init(&s->stage, colo_ram_page_bytes(), 0);
    colo_hash_policy_init(&s->hash_policy);
    s->stats = (ColoStats) {};
    s->peer_paused = false;
    s->quitting = false;
    g_clear_pointer(&s->error_text, g_free);
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->channel = channel;
        s->asks = (ColoAsks) {};
        s->view.role = role;
        s->view.exit_reason = COLO_EXIT_REASON_NONE;
        s->view.state = COLO_STATE_CONNECTING;
        s->in_checkpoint = false;
        s->active = true;
    }
    return true;
}

void colo_session_end(void)
{
    ColoSession *s = &colo_session;
    ColoChannel *channel;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->active = false;
        s->view.role = COLO_MODE_NONE;
        channel = g_steal_pointer(&s->channel);
    }
    colo_waiters_wake(true);
    if (colo_net_role() != COLO_NET_NONE) {
        colo_net_end(false);
    }
    colo_guest_unthrottle();
    colo_guest_end();
    colo_user_end();
    colo_channel_shutdown(channel);
    colo_channel_free(channel);
    colo_page_set_destroy(&s->dirty);
    colo_page_set_destroy(&s->recent);
    colo_stage_destroy(&s->stage);
    g_clear_pointer(&s->device, g_byte_array_unref);
    g_clear_pointer(&s->own_device, g_byte_array_unref);
    g_clear_pointer(&s->peer_hashes, g_byte_array_unref);
    g_clear_pointer(&s->own_hashes, g_byte_array_unref);
    g_clear_pointer(&s->peer_runs, g_array_unref);
    g_clear_pointer(&s->checksum, colo_checksum_free);
    g_clear_pointer(&s->table, g_free);
    g_clear_pointer(&s->own_table, g_free);
    g_clear_pointer(&s->ram, colo_ram_free);
}

/* The COLO thread executes its machine between these two. */
static void session_run(void (*run)(void))
{
    ColoSession *s = &colo_session;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->running = true;
    }
    run();
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->running = false;
        qemu_cond_broadcast(&s->ended_cond);
    }
}

/* Net filters and colo-compare of the base source know these numbers. */
QEMU_BUILD_BUG_ON(COLO_EVENT_NONE != 0 || COLO_EVENT_CHECKPOINT != 1 ||
                  COLO_EVENT_FAILOVER != 2);

/* What the QEMUFile has read ahead belongs to us. */
static void take_over_buffer(QEMUFile *f)
{
    uint8_t bytes[QEMU_FILE_AHEAD_MAX];

    if (f) {
        size_t size = qemu_file_take_ahead(f, bytes, sizeof(bytes));

        colo_channel_preload(colo_session.channel, bytes, size);
    }
}

/* ------------------------------------------------------------- primary */

/*
 * The return path's thread ends when the secondary is done with loading. It
 * posts rp_sem at its end; one that does not come is helped by shutting the
 * channel down, and HELLO will fail.
 */
static void join_return_path(MigrationState *s)
{
    enum { LOOK_MS = 100 };
    int64_t end_ms = colo_now_ms() + colo_limits_now().checkpoint_limit_ms;

    if (!s->rp_state.rp_thread_created) {
        return;
    }
    while (qemu_sem_timedwait(&s->rp_state.rp_sem, LOOK_MS) < 0) {
        if (colo_session_give_up(NULL) || colo_now_ms() >= end_ms) {
            colo_channel_shutdown(colo_session.channel);
            break;
        }
    }
    qemu_thread_join(&s->rp_state.rp_thread);
    s->rp_state.rp_thread_created = false;
}

static void close_return_path(MigrationState *s)
{
    QEMUFile *file;

    WITH_QEMU_LOCK_GUARD(&s->qemu_file_lock) {
        file = g_steal_pointer(&s->rp_state.from_dst_file);
    }
    if (file) {
        qemu_fclose(file);
    }
}

void migrate_start_colo_process(MigrationState *s)
{
    QIOChannel *ioc = qemu_file_get_ioc(s->to_dst_file);
    bool ok;
    Error *err = NULL;

    colo_guest_begin(s->vm_old_state);
    ok = colo_session_begin(COLO_MODE_PRIMARY, ioc, &err);
    if (!ok) {
        error_report_err(err);
        colo_guest_run();
        migrate_set_state(&s->state, MIGRATION_STATUS_COLO,
                          MIGRATION_STATUS_FAILED);
        return;
    }
    bql_unlock();
    join_return_path(s);
    take_over_buffer(s->rp_state.from_dst_file);
    session_run(colo_primary_run);
    bql_lock();
    ok = colo_session.primary.epoch > 0;
    if (!ok) {
        error_setg(&err, "COLO could not begin: %s",
                   colo_session.error_text ?: "the secondary was lost");
        migrate_set_error(s, err);
        error_report_err(err);
    }
    colo_session_end();
    close_return_path(s);
    migrate_set_state(&s->state, MIGRATION_STATUS_COLO,
                      ok ? MIGRATION_STATUS_COMPLETED
                         : MIGRATION_STATUS_FAILED);
}

/* ----------------------------------------------------------- secondary */

int colo_incoming_prepare(void)
{
    Error *err = NULL;

    if (!colo_ram_log_start(&err)) {
        error_report_err(err);
        return -EINVAL;
    }
    return 0;
}

typedef struct Incoming {
    QemuThread thread;
    Coroutine *co;
} Incoming;

static void incoming_done(void *opaque)
{
    Incoming *in = opaque;

    qemu_coroutine_enter(in->co);
}

static void *incoming_thread(void *opaque)
{
    rcu_register_thread();
    session_run(colo_secondary_run);
    rcu_unregister_thread();
    aio_bh_schedule_oneshot(qemu_get_aio_context(), incoming_done, opaque);
    return NULL;
}

/* Its thread on the primary waits for this before COLO begins. */
static void finish_return_path(MigrationIncomingState *mis)
{
    if (mis->to_src_file) {
        migrate_send_rp_shut(mis, 0);
    }
}

bool coroutine_fn colo_incoming_co(Error **errp)
{
    MigrationIncomingState *mis = migration_incoming_get_current();
    QIOChannel *ioc = qemu_file_get_ioc(mis->from_src_file);
    Incoming in = { .co = qemu_coroutine_self() };
    bool survived;

    finish_return_path(mis);
    colo_guest_begin(RUN_STATE_RUNNING);
    if (!colo_session_begin(COLO_MODE_SECONDARY, ioc, errp)) {
        colo_ram_log_stop();
        return false;
    }
    migrate_set_state(&mis->state, MIGRATION_STATUS_ACTIVE,
                      MIGRATION_STATUS_COLO);
    take_over_buffer(mis->from_src_file);
    qemu_thread_create(&in.thread, MIGRATION_THREAD_DST_COLO,
                       incoming_thread, &in, QEMU_THREAD_JOINABLE);
    qemu_coroutine_yield();
    qemu_thread_join(&in.thread);

    survived = colo_session.secondary.state == COLO_S_TAKEN_OVER;
    if (!survived && !colo_session.quitting &&
        colo_session.secondary.cause != COLO_CAUSE_GUEST_SHUTDOWN) {
        error_setg(errp, "this COLO secondary has ended without taking "
                   "over (%s%s%s)",
                   colo_cause_name(colo_session.secondary.cause),
                   colo_session.error_text ? ": " : "",
                   colo_session.error_text ?: "");
    }
    colo_session_end();
    colo_ram_log_stop();
    migrate_set_state(&mis->state, MIGRATION_STATUS_COLO,
                      survived ? MIGRATION_STATUS_COMPLETED
                               : MIGRATION_STATUS_ACTIVE);
    return survived;
}

/* -------------------------------------------------------------- disks */

void colo_session_cut_disks(uint64_t epoch)
{
    ColoSession *s = &colo_session;
    int64_t begin_us = colo_now_us();

    colo_disks_cut(epoch, s->disks_durable);
    colo_stats_note(&s->stats, COLO_PHASE_CUT_DISKS, epoch, begin_us);
}

void colo_session_enter_disks(uint64_t epoch)
{
    int64_t begin_us = colo_now_us();

    colo_disks_enter(epoch);
    colo_stats_note(&colo_session.stats, COLO_PHASE_ENTER_DISKS, epoch,
                    begin_us);
}

/* ------------------------------------------------------------ shutdown */

/* False: there is no session, or there is none any more. */
static bool ask_to_quit(ColoSession *s)
{
    QEMU_LOCK_GUARD(&s->lock);
    if (s->active) {
        s->asks.quit = true;
        colo_channel_kick(s->channel);
    }
    return s->active;
}

static void end_session(void)
{
    ColoSession *s = &colo_session;
    enum { GOODBYE_LIMIT_MS = 500 };

    /*
     * The peer may take over at our GOODBYE. What this guest did after it
     * would be on this side's disks only, and nobody would know where.
     */
    if (colo_session_is(COLO_MODE_PRIMARY) ||
        colo_session_is(COLO_MODE_SECONDARY)) {
        colo_guest_stop_for_good();
    }
    if (!ask_to_quit(s)) {
        return;
    }

    /* The COLO thread may need the BQL on its way out. */
    bql_unlock();
    qemu_mutex_lock(&s->lock);
    if (s->running) {
        qemu_cond_timedwait(&s->ended_cond, &s->lock, GOODBYE_LIMIT_MS);
    }
    qemu_mutex_unlock(&s->lock);
    bql_lock();
}

void colo_shutdown(void)
{
    end_session();
    colo_net_shutdown();
    /*
     * Disks are closed next, and must not be in a pair then, whoever began it
     * (Xen has no session). To leave it they are drained, which must not wait
     * for a peer: exports go first.
     */
    blk_exp_close_all();
    job_cancel_sync_all();
    colo_disks_shutdown();
}
