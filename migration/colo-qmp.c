/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: QMP commands and the parameters behind them.
 *
 * Commands run in the main thread and only ever read the published view or
 * leave an ask; none of them waits for the COLO thread but colo-checkpoint,
 * as a coroutine.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-colo.h"
#include "qapi/qapi-commands-migration.h"
#include "qapi/qapi-types-migration.h"
#include "qapi/qmp/qerror.h"
#include "block/aio.h"
#include "block/colo.h"
#include "qemu/coroutine.h"
#include "migration/colo.h"
#include "net/colo.h"
#include "system/runstate.h"
#include "options.h"
#include "colo-session.h"

/* --------------------------------------------------------- parameters */

static const ColoLimits defaults = {
    .step_limit_ms = COLO_STEP_LIMIT_MS_DEFAULT,
    .checkpoint_limit_ms = COLO_CHECKPOINT_LIMIT_MS_DEFAULT,
    .heartbeat_ms = COLO_HEARTBEAT_MS_DEFAULT,
    .min_gap_ms = COLO_MIN_GAP_MS_DEFAULT,
    .staging_limit_bytes = COLO_STAGING_LIMIT_BYTES_DEFAULT,
    .mismatch_gap_ms = COLO_MISMATCH_GAP_MS_DEFAULT,
    .hybrid_enter_count = COLO_HYBRID_ENTER_COUNT_DEFAULT,
    .hybrid_window_ms = COLO_HYBRID_WINDOW_MS_DEFAULT,
    .hybrid_interval_ms = COLO_HYBRID_INTERVAL_MS_DEFAULT,
    .hybrid_exit_count = COLO_HYBRID_EXIT_COUNT_DEFAULT,
};
static ColoLimits parameters;      /* but for checkpoint_delay_ms */
static OnOffAuto page_hash = ON_OFF_AUTO_AUTO;
static bool checkpoint_events = true;

static void __attribute__((constructor)) parameters_setup(void)
{
    parameters = defaults;
}

ColoLimits colo_limits_now(void)
{
    ColoLimits limits;

    WITH_QEMU_LOCK_GUARD(&colo_session.lock) {
        limits = parameters;
    }
    limits.checkpoint_delay_ms = migrate_checkpoint_delay();
    return limits;
}

bool colo_checkpoint_events(void)
{
    return qatomic_read(&checkpoint_events);
}

OnOffAuto colo_page_hash_mode(void)
{
    return qatomic_read(&page_hash);
}

static bool check_range(const char *name, uint32_t value, uint32_t min,
                        uint32_t max, Error **errp)
{
    if (value < min || value > max) {
        error_setg(errp, "%s is %u ms, but must be between %u and %u ms",
                   name, value, min, max);
        return false;
    }
    return true;
}

static bool check_limits(const ColoLimits *l, Error **errp)
{
    const uint32_t hour_ms = 3600 * 1000;

    if (!check_range("step-limit", l->step_limit_ms, 20, hour_ms, errp) ||
        !check_range("checkpoint-limit", l->checkpoint_limit_ms, 100,
                     hour_ms, errp) ||
        !check_range("heartbeat", l->heartbeat_ms, 5, 600 * 1000, errp) ||
        !check_range("min-gap", l->min_gap_ms, 0, 600 * 1000, errp) ||
        !check_range("mismatch-gap", l->mismatch_gap_ms, 0, 600 * 1000,
                     errp) ||
        !check_range("hybrid-window", l->hybrid_window_ms, 1, hour_ms,
                     errp) ||
        !check_range("hybrid-interval", l->hybrid_interval_ms, 1, hour_ms,
                     errp)) {
        return false;
    }
    if (l->hybrid_enter_count > COLO_HYBRID_ENTER_COUNT_MAX) {
        error_setg(errp, "hybrid-enter is %u, but must be between 0 and %d",
                   l->hybrid_enter_count, COLO_HYBRID_ENTER_COUNT_MAX);
        return false;
    }
    if (l->hybrid_exit_count == 0) {
        error_setg(errp, "hybrid-exit is 0, but must be at least 1");
        return false;
    }
    if (l->heartbeat_ms * 2ull >= l->step_limit_ms) {
        error_setg(errp, "heartbeat is %u ms, but must be less than half of "
                   "step-limit, which is %u ms", l->heartbeat_ms,
                   l->step_limit_ms);
        return false;
    }
    return true;
}

void qmp_colo_set_parameters(ColoParameters *p, Error **errp)
{
    ColoSession *s = &colo_session;
    ColoLimits l;

    QEMU_LOCK_GUARD(&s->lock);
    l = parameters;
    l.step_limit_ms = p->has_step_limit ? p->step_limit : l.step_limit_ms;
    l.checkpoint_limit_ms = p->has_checkpoint_limit ? p->checkpoint_limit
                                                    : l.checkpoint_limit_ms;
    l.heartbeat_ms = p->has_heartbeat ? p->heartbeat : l.heartbeat_ms;
    l.min_gap_ms = p->has_min_gap ? p->min_gap : l.min_gap_ms;
    l.staging_limit_bytes = p->has_staging_limit ? p->staging_limit
                                                 : l.staging_limit_bytes;
    l.mismatch_gap_ms = p->has_mismatch_gap ? p->mismatch_gap
                                            : l.mismatch_gap_ms;
    l.hybrid_enter_count = p->has_hybrid_enter ? p->hybrid_enter
                                               : l.hybrid_enter_count;
    l.hybrid_window_ms = p->has_hybrid_window ? p->hybrid_window
                                              : l.hybrid_window_ms;
    l.hybrid_interval_ms = p->has_hybrid_interval ? p->hybrid_interval
                                                  : l.hybrid_interval_ms;
    l.hybrid_exit_count = p->has_hybrid_exit ? p->hybrid_exit
                                             : l.hybrid_exit_count;
    if (!check_limits(&l, errp)) {
        return;
    }
    parameters = l;
    if (p->has_page_hash) {
        qatomic_set(&page_hash, p->page_hash);
    }
    if (p->has_checkpoint_events) {
        qatomic_set(&checkpoint_events, p->checkpoint_events);
    }
    if (s->active) {
        s->asks.limits = true;
        colo_channel_kick(s->channel);
    }
}

bool colo_limits_are_default(void)
{
    ColoLimits now = colo_limits_now();
    ColoLimits usual = defaults;

    usual.checkpoint_delay_ms = COLO_CHECKPOINT_DELAY_MS_DEFAULT;
    return !memcmp(&now, &usual, sizeof(now)) &&
           colo_page_hash_mode() == ON_OFF_AUTO_AUTO;
}

void colo_limits_reset(Error **errp)
{
    MigrateSetParameters delay = {
        .has_x_checkpoint_delay = true,
        .x_checkpoint_delay = COLO_CHECKPOINT_DELAY_MS_DEFAULT,
    };

    WITH_QEMU_LOCK_GUARD(&colo_session.lock) {
        parameters = defaults;
    }
    qatomic_set(&page_hash, ON_OFF_AUTO_AUTO);
    qmp_migrate_set_parameters(&delay, errp);
}

ColoParameters *qmp_query_colo_parameters(Error **errp)
{
    ColoParameters *p = g_new0(ColoParameters, 1);
    ColoLimits l = colo_limits_now();

    p->has_step_limit = true;
    p->step_limit = l.step_limit_ms;
    p->has_checkpoint_limit = true;
    p->checkpoint_limit = l.checkpoint_limit_ms;
    p->has_heartbeat = true;
    p->heartbeat = l.heartbeat_ms;
    p->has_min_gap = true;
    p->min_gap = l.min_gap_ms;
    p->has_staging_limit = true;
    p->staging_limit = l.staging_limit_bytes;
    p->has_mismatch_gap = true;
    p->mismatch_gap = l.mismatch_gap_ms;
    p->has_hybrid_enter = true;
    p->hybrid_enter = l.hybrid_enter_count;
    p->has_hybrid_window = true;
    p->hybrid_window = l.hybrid_window_ms;
    p->has_hybrid_interval = true;
    p->hybrid_interval = l.hybrid_interval_ms;
    p->has_hybrid_exit = true;
    p->hybrid_exit = l.hybrid_exit_count;
    p->has_page_hash = true;
    p->page_hash = colo_page_hash_mode();
    p->has_checkpoint_events = true;
    p->checkpoint_events = colo_checkpoint_events();
    return p;
}

/* -------------------------------------------------------------- status */

COLOStatus *qmp_query_colo_status(Error **errp)
{
    COLOStatus *status = g_new0(COLOStatus, 1);

    QEMU_LOCK_GUARD(&colo_session.lock);
    status->mode = colo_session.view.state == COLO_STATE_ALONE
                   ? COLO_MODE_NONE : colo_session.view.role;
    status->last_mode = colo_session.view.last_role;
    status->reason = colo_session.view.exit_reason;
    return status;
}

static void add_timings(ColoInfo *info, const ColoStats *stats)
{
    ColoTimingList **tail = &info->timings;

    for (ColoPhase p = 0; p < COLO_PHASE__MAX; p++) {
        const ColoTimer *t = &stats->timers[p];
        ColoTiming *timing;

        if (!t->count) {
            continue;
        }
        timing = g_new0(ColoTiming, 1);
        timing->name = g_strdup(colo_phase_name(p));
        timing->last_us = t->last_us;
        timing->mean_us = t->sum_us / t->count;
        timing->max_us = t->max_us;
        QAPI_LIST_APPEND(tail, timing);
    }
}

/* A new reason needs a member of ColoCheckpointCounts. */
QEMU_BUILD_BUG_ON(COLO_REASON__MAX != 7);

static ColoCheckpointCounts *checkpoint_counts(const uint64_t *taken)
{
    ColoCheckpointCounts *c = g_new0(ColoCheckpointCounts, 1);

    c->periodic = taken[COLO_REASON_PERIODIC];
    c->mismatch = taken[COLO_REASON_MISMATCH];
    c->timeout = taken[COLO_REASON_TIMEOUT];
    c->queue_full = taken[COLO_REASON_QUEUE_FULL];
    c->user = taken[COLO_REASON_USER];
    c->device = taken[COLO_REASON_DEVICE];
    return c;
}

static void add_sizes(ColoInfo *info, const ColoStats *stats)
{
    info->pages = g_new0(ColoPageCounts, 1);
    info->pages->dirty = stats->dirty_pages;
    info->pages->compared = stats->compared_pages;
    info->pages->equal = stats->equal_pages;
    info->pages->sent = stats->sent_pages;
    info->sent_bytes = stats->sent_bytes;
    info->total_sent_bytes = stats->total_sent_bytes;
    info->device_bytes = stats->device_bytes;
    info->staging_bytes = stats->staging_bytes;
    info->staging_peak_bytes = stats->staging_peak_bytes;
    info->hashed_checkpoints = stats->hashed_checkpoints;
    info->late_pages = stats->late_pages;
}

ColoInfo *qmp_query_colo(Error **errp)
{
    const ColoView *v = &colo_session.view;
    ColoInfo *info = g_new0(ColoInfo, 1);

    info->nics = colo_net_info();
    info->disks = colo_disks_info();
    QEMU_LOCK_GUARD(&colo_session.lock);
    info->role = v->last_role;
    info->state = v->state;
    info->phase = g_strdup(v->phase ? v->phase : "off");
    info->cause = g_strdup(colo_cause_name(v->cause));
    info->reason = g_strdup(v->detail ? v->detail : "");
    info->remedy = g_strdup(v->remedy ? v->remedy : "");
    info->epoch = v->epoch;
    info->checkpoints_total = v->checkpoint_count;
    info->checkpoints = checkpoint_counts(v->taken);
    info->hybrid = g_new0(ColoHybridInfo, 1);
    info->hybrid->active = v->hybrid;
    info->hybrid->entered = v->hybrid_entered_count;
    info->hybrid->since_ms = v->hybrid ? colo_now_ms() - v->hybrid_since_ms
                                       : 0;
    add_timings(info, &v->stats);
    add_sizes(info, &v->stats);
    return info;
}

void qmp_x_colo_lost_heartbeat(Error **errp)
{
    colo_session_ask_failover(errp);
}

/*
 * All that -incoming does before a migration comes: it keeps the guest from
 * running, and it lets migrate-incoming be given. What it does besides, not
 * to touch the disks yet, matters for disks that both sides use at once, and
 * a secondary's are its own.
 */
void qmp_colo_prepare_secondary(Error **errp)
{
    if (runstate_check(RUN_STATE_INMIGRATE)) {
        return;
    }
    if (!runstate_check(RUN_STATE_PRELAUNCH)) {
        error_setg(errp, "This guest has run already, or is running; a "
                   "secondary is started with -S and never continued");
        return;
    }
    runstate_set(RUN_STATE_INMIGRATE);
}

/* ----------------------------------------------------- colo-checkpoint */

struct ColoWaiter {
    Coroutine *co;
    AioContext *context;
    uint64_t target;           /* cuts_done that satisfies it */
    bool ok;
};

void colo_waiters_wake(bool ended)
{
    ColoSession *s = &colo_session;
    GSList *due = NULL;
    GSList *keep = NULL;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        for (GSList *l = s->waiters; l; l = l->next) {
            ColoWaiter *w = l->data;

            w->ok = s->view.cuts_done >= w->target;
            if (w->ok || ended) {
                due = g_slist_prepend(due, w);
            } else {
                keep = g_slist_prepend(keep, w);
            }
        }
        g_slist_free(s->waiters);
        s->waiters = keep;
    }
    for (GSList *l = due; l; l = l->next) {
        ColoWaiter *w = l->data;

        aio_co_schedule(w->context, w->co);
    }
    g_slist_free(due);
}

static bool waiter_add(ColoWaiter *w)
{
    ColoSession *s = &colo_session;

    QEMU_LOCK_GUARD(&s->lock);
    if (!s->active || s->view.role != COLO_MODE_PRIMARY ||
        (s->view.state != COLO_STATE_PROTECTED &&
         s->view.state != COLO_STATE_CHECKPOINT)) {
        return false;
    }
    w->target = s->view.cuts_begun + 1;
    s->waiters = g_slist_prepend(s->waiters, w);
    s->asks.reasons |= 1u << COLO_REASON_USER;
    colo_channel_kick(s->channel);
    return true;
}

void coroutine_fn qmp_colo_checkpoint(Error **errp)
{
    ColoWaiter w = {
        .co = qemu_coroutine_self(),
        .context = qemu_get_current_aio_context(),
    };

    if (!waiter_add(&w)) {
        error_setg(errp, "This QEMU is not the primary of a protected pair; "
                   "query-colo tells its state");
        return;
    }
    qemu_coroutine_yield();
    if (!w.ok) {
        error_setg(errp, "Protection ended before the checkpoint was "
                   "complete; query-colo tells why");
    }
}

/* ------------------------------------------------------------- testing */

ColoStateHash *qmp_x_query_colo_state_hash(Error **errp)
{
    ColoStateHash *hash;
    ColoRam *ram;
    char *devices;

    if (runstate_is_running()) {
        error_setg(errp, "The guest is running; stop it first");
        return NULL;
    }
    /* Applying lets the main loop in, where a device calls a vCPU. */
    if (!colo_session_between_cuts()) {
        error_setg(errp, "A checkpoint is under way; ask again");
        return NULL;
    }
    ram = colo_ram_new(errp);
    devices = ram ? colo_device_digest(errp) : NULL;
    if (!devices) {
        colo_ram_free(ram);
        return NULL;
    }
    hash = g_new0(ColoStateHash, 1);
    hash->devices = devices;
    hash->ram = colo_ram_digest(ram);
    colo_ram_free(ram);
    return hash;
}
