/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: events in, actions out.
 *
 * Same shape as colo-primary.c. What arrives of a checkpoint is staged aside
 * (colo-receive.c); what the machine orders to apply becomes the guest's
 * state in one transaction (colo-apply.c).
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "block/colo.h"
#include "migration/colo.h"
#include "migration/global_state.h"
#include "net/announce.h"
#include "net/colo.h"
#include "net/filter.h"
#include "system/runstate.h"
#include "system/system.h"
#include "migration.h"
#include "colo-loop.h"
#include "colo-secondary.h"

static Error *hello_error;         /* why the HELLO cannot be accepted */
static bool want_hashes;           /* of the REQUEST being answered */
static int64_t stopped_us;
static AnnounceTimer announce;

/* ------------------------------------------------------- local actions */

static bool begin(Error **errp)
{
    if (hello_error) {
        error_propagate(errp, g_steal_pointer(&hello_error));
        return false;
    }
    colo_need_bql();
    if (!migration_block_activate(errp)) {
        return false;
    }
    if (!colo_disks_begin(false, colo_session.id, errp)) {
        return false;
    }
    colo_offers_start();
    colo_net_begin(false);
    return true;
}

/* Runs and hashes of one DIRTY frame. */
static ColoIo send_dirty_frame(const ColoRun *runs, uint32_t run_count,
                               uint64_t epoch, ColoReply *reply,
                               Error **errp)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) payload = g_byte_array_new();
    uint8_t hash[COLO_HASH_BYTES];

    colo_wire_put_runs(payload, runs, run_count);
    for (uint32_t i = 0; i < run_count; i++) {
        reply->dirty_pages += runs[i].count;
        for (uint32_t j = 0; want_hashes && j < runs[i].count; j++) {
            colo_page_hash(&s->hash_key,
                           colo_ram_page_at(s->ram, runs[i].block,
                                            runs[i].first + j),
                           colo_ram_page_bytes(), hash);
            g_byte_array_append(payload, hash, sizeof(hash));
        }
    }
    reply->dirty_frames++;
    colo_channel_queue(s->channel, COLO_MSG_DIRTY, epoch,
                       want_hashes ? COLO_DIRTY_HAS_HASHES : 0,
                       payload->data, payload->len);
    return s->channel->tx->len < COLO_DIRTY_FLUSH_BYTES ? COLO_IO_OK
           : colo_channel_flush(s->channel, errp);
}

static ColoIo send_dirty(uint64_t epoch, ColoReply *reply, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autofree ColoRun *runs = g_new(ColoRun, COLO_RUNS_PER_FRAME_MAX);
    uint32_t count = 0;
    uint32_t block = 0;
    uint64_t page = 0;
    uint64_t pages = 0;
    ColoIo io = COLO_IO_OK;

    while (io == COLO_IO_OK &&
           colo_page_set_next(&s->dirty, &block, &page,
                              COLO_HASHES_PER_FRAME_MAX - pages,
                              &runs[count])) {
        pages += runs[count++].count;
        if (count == COLO_RUNS_PER_FRAME_MAX ||
            pages == COLO_HASHES_PER_FRAME_MAX) {
            io = send_dirty_frame(runs, count, epoch, reply, errp);
            count = pages = 0;
        }
    }
    if (io == COLO_IO_OK && count) {
        io = send_dirty_frame(runs, count, epoch, reply, errp);
    }
    return io;
}

static ColoReply reply;            /* to be sent after COLLECT */

/*
 * Own device state first: what saving it writes is then dirty in time. The
 * set begins with what the last apply has found late.
 */
static bool collect(uint64_t epoch, ColoIo *io, Error **errp)
{
    ColoSession *s = &colo_session;
    bool ok;

    colo_need_bql();
    global_state_store();
    ok = !colo_fault("s-collect") && colo_device_save(s->own_device, errp);
    colo_ram_sync(s->ram, &s->dirty);
    g_free(s->own_table);
    s->own_table = colo_ram_table(s->ram);
    g_clear_pointer(&s->table, g_free);
    colo_drop_bql();
    s->channel->deadline_ms = s->secondary.started_ms +
                              s->secondary.limits.checkpoint_limit_ms;
    reply = (ColoReply) {};
    if (ok) {
        *io = send_dirty(epoch, &reply, errp);
    }
    colo_fault("s-collected");
    return ok;
}

static void take_over(void)
{
    Error *err = NULL;

    colo_need_bql();
    if (!colo_disks_end(true, &err)) {
        error_report_err(g_steal_pointer(&err));
    }
    colo_notify_filters_event(COLO_EVENT_FAILOVER, &err);
    if (err) {
        error_report_err(err);
    }
    colo_net_end(true);
    /* Switches are to learn where the guest is now. */
    qemu_announce_self(&announce, migrate_announce_params());
}

/* ------------------------------------------------------------ executor */

static ColoIo send_message(const ColoAction *a, Error **errp)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    ColoHello hello;
    ColoIo io;

    switch (a->msg) {
    case COLO_MSG_READY:
        colo_need_bql();
        colo_hello_fill(&hello, false);
        colo_wire_put_hello(payload, &hello);
        colo_hello_clear(&hello);
        break;
    case COLO_MSG_REPLY:
        colo_wire_put_reply(payload, &reply);
        break;
    case COLO_MSG_RECEIVED:
        /* What the primary writes once it knows is a new epoch's. */
        colo_need_bql();
        colo_session_cut_disks(a->epoch);
        break;
    case COLO_MSG_REFUSE:
    case COLO_MSG_FAILED:
    case COLO_MSG_GOODBYE:
        return colo_send_notice(a->msg, a->epoch, a->arg, errp);
    default:
        break;
    }
    io = colo_send(a->msg, a->epoch, 0, payload, errp);
    if (a->msg == COLO_MSG_REPLY) {
        colo_fault("s-replied");
    } else if (a->msg == COLO_MSG_RECEIVED) {
        colo_fault("s-received");
    } else if (a->msg == COLO_MSG_LOADED) {
        colo_fault("s-loaded");
    }
    return io;
}

static void guest_run(void)
{
    ColoSession *s = &colo_session;

    int64_t begin_us = colo_now_us();

    colo_need_bql();
    if (colo_net_role() == COLO_NET_SECONDARY && colo_net_epoch() == 0) {
        colo_net_enter(s->secondary.epoch);
    }
    colo_guest_force_run(s->peer_paused);
    if (s->peer_paused && s->secondary.state == COLO_S_TAKEN_OVER) {
        colo_guest_run();                /* as paused */
    }
    colo_stats_note(&s->stats, COLO_PHASE_RESUME, s->secondary.epoch,
                    begin_us);
    if (stopped_us) {
        colo_stats_note(&s->stats, COLO_PHASE_PAUSE, s->secondary.epoch,
                        stopped_us);
        stopped_us = 0;
    }
}

static ColoEventType apply(const ColoAction *a, Error **errp)
{
    ColoSession *s = &colo_session;
    int64_t begin_us = colo_now_us();
    ColoApplied r;

    colo_need_bql();
    r = colo_apply(errp);
    colo_stats_note(&s->stats, COLO_PHASE_APPLY, a->epoch, begin_us);
    switch (r) {
    case COLO_APPLIED:
        colo_stage_reset(&s->stage);
        s->stats.checkpoint_count++;
        s->peer_paused = s->staged_paused;
        colo_user_guest_replaced();
        colo_fault("s-applied");
        return COLO_EV_LOCAL_OK;
    case COLO_APPLY_ROLLED_BACK:
        return COLO_EV_LOCAL_FAILED;
    default:
        return COLO_EV_LOCAL_BROKEN;
    }
}

static ColoEventType execute(const ColoAction *a, ColoIo *io, Error **errp)
{
    ColoSession *s = &colo_session;
    int64_t begin_us = colo_now_us();
    bool ok = true;

    switch (a->type) {
    case COLO_ACT_SEND:
        *io = send_message(a, errp);
        return COLO_EV__MAX;
    case COLO_ACT_BEGIN:
        ok = begin(errp);
        break;
    case COLO_ACT_GUEST_STOP:
        stopped_us = begin_us;
        colo_need_bql();
        colo_guest_stop();
        colo_stats_note(&s->stats, COLO_PHASE_STOP,
                        s->secondary.pending_epoch, begin_us);
        colo_fault("s-stopped");
        return COLO_EV__MAX;
    case COLO_ACT_GUEST_RUN:
        guest_run();
        return COLO_EV__MAX;
    case COLO_ACT_COLLECT:
        ok = collect(a->epoch, io, errp);
        colo_stats_note(&s->stats, COLO_PHASE_COLLECT, a->epoch, begin_us);
        if (*io != COLO_IO_OK) {
            return COLO_EV__MAX;
        }
        break;
    case COLO_ACT_APPLY:
        return apply(a, errp);
    case COLO_ACT_DISCARD:
        colo_stage_reset(&s->stage);
        return COLO_EV__MAX;
    case COLO_ACT_TAKE_OVER:
        take_over();
        return COLO_EV__MAX;
    case COLO_ACT_CLOSE:
        colo_drop_bql();
        colo_channel_shutdown(s->channel);
        return COLO_EV__MAX;
    case COLO_ACT_STATUS:
        colo_drop_bql();
        colo_session_publish(true);
        return COLO_EV__MAX;
    case COLO_ACT_EXIT_EVENT:
        colo_emit_exit(a->cause);
        return COLO_EV__MAX;
    case COLO_ACT_GUEST_SHUTDOWN:
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        return COLO_EV__MAX;
    default:
        g_assert_not_reached();
    }
    return ok ? COLO_EV_LOCAL_OK : COLO_EV_LOCAL_FAILED;
}

/* -------------------------------------------------------------- frames */

static ColoIo take_hello(const ColoFrame *f, Error **errp)
{
    g_autoptr(GByteArray) in = g_byte_array_new();
    ColoHello hello = {};
    ColoWireError e;
    ColoIo io = colo_read_payload(f, in, errp);

    if (io != COLO_IO_OK) {
        return io;
    }
    e = colo_wire_get_hello(in->data, in->len, &hello);
    if (e != COLO_WIRE_OK) {
        return colo_frame_check(f, e, errp);
    }
    colo_need_bql();
    error_free(g_steal_pointer(&hello_error));
    if (colo_session.secondary.state == COLO_S_WAITING) {
        colo_hello_check(&hello, &hello_error);
    }
    colo_drop_bql();
    colo_hello_clear(&hello);
    return COLO_IO_OK;
}

static ColoIo take_small(const ColoFrame *f, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) in = g_byte_array_new();
    ColoWireError e = COLO_WIRE_OK;
    uint32_t reason;
    bool paused = false;
    ColoIo io = colo_read_payload(f, in, errp);

    if (io != COLO_IO_OK) {
        return io;
    }
    if (f->type == COLO_MSG_START) {
        e = colo_wire_get_start(in->data, in->len, &paused);
        if (s->secondary.state == COLO_S_READY) {
            s->peer_paused = paused;
        }
    } else if (f->type == COLO_MSG_REQUEST) {
        e = colo_wire_get_request(in->data, in->len, &reason);
        want_hashes = f->flags & COLO_REQUEST_WANT_HASHES;
        s->disks_durable = f->flags & COLO_REQUEST_DISKS_DURABLE;
        colo_fault("s-request");
        if (e == COLO_WIRE_OK) {
            io = colo_answers_end(errp);
        }
    } else if (f->type == COLO_MSG_OFFER) {
        return colo_answers_take_offer(f, in, errp);
    }
    return io == COLO_IO_OK ? colo_frame_check(f, e, errp) : io;
}

static ColoIo take_frame(const ColoFrame *f, ColoEvent *ev, Error **errp)
{
    switch (f->type) {
    case COLO_MSG_HELLO:
        return take_hello(f, errp);
    case COLO_MSG_REFUSE:
    case COLO_MSG_FAILED:
    case COLO_MSG_GOODBYE:
        return colo_read_notice(f, &ev->arg, errp);
    case COLO_MSG_STATE:
    case COLO_MSG_PAGES:
    case COLO_MSG_DEVICE:
    case COLO_MSG_END:
        return colo_receive_state(f, ev, errp);
    default:
        return take_small(f, errp);
    }
}

/* A primary of another version can at least read who refuses it. */
static void refuse_garbage(void)
{
    if (colo_session.secondary.state == COLO_S_WAITING) {
        colo_send_notice(COLO_MSG_REFUSE, 0, COLO_CAUSE_GARBAGE, NULL);
    }
}

/* -------------------------------------------------- what the loop asks */

static const char *state_name(void)
{
    return colo_secondary_state_name(colo_session.secondary.state);
}

static void step(const ColoEvent *ev, int64_t now_ms, ColoActions *out)
{
    colo_secondary_step(&colo_session.secondary, ev, now_ms, out);
}

static int64_t deadline_ms(void)
{
    return colo_secondary_deadline(&colo_session.secondary);
}

static bool is_final(void)
{
    return colo_session.secondary.state == COLO_S_TAKEN_OVER ||
           colo_session.secondary.state == COLO_S_DEAD;
}

static bool is_lost(void)
{
    return colo_session.secondary.state == COLO_S_LOST;
}

static void set_limits(const ColoLimits *limits)
{
    /* A page is staged once: what exceeds RAM is a peer gone wrong. */
    colo_session.stage.limit_bytes = limits->staging_limit_bytes
                                     ?: colo_ram_bytes(colo_session.ram);
    colo_secondary_set_limits(&colo_session.secondary, limits);
}

static void set_channel_limits(ColoChannel *ch)
{
    const ColoSecondary *m = &colo_session.secondary;

    ch->limit_ms = m->limits.step_limit_ms;
    ch->deadline_ms = m->state == COLO_S_RECEIVING
                      ? m->started_ms + m->limits.checkpoint_limit_ms
                      : INT64_MAX;
}

void colo_secondary_run(void)
{
    static const ColoSide side = {
        .name = "secondary",
        .state_name = state_name,
        .step = step,
        .deadline_ms = deadline_ms,
        .is_final = is_final,
        .is_lost = is_lost,
        .set_limits = set_limits,
        .set_channel_limits = set_channel_limits,
        .execute = execute,
        .take_frame = take_frame,
        .send_waiting = colo_answers_send,
        .garbage = refuse_garbage,
    };
    ColoLimits limits = colo_limits_now();

    stopped_us = 0;
    colo_secondary_init(&colo_session.secondary, &limits);
    set_limits(&limits);
    colo_side_run(&side);
}
