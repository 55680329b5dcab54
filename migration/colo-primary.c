/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO primary: events in, actions out.
 *
 * Frames become events in take_frame(), actions are carried out by execute();
 * colo-loop.c moves them. Nothing is decided here but how, never whether.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "block/colo.h"
#include "migration/colo.h"
#include "migration/global_state.h"
#include "net/colo.h"
#include "colo-loop.h"
#include "colo-primary.h"

static int64_t phase_us;           /* begin of the current phase */
static int64_t stopped_us;         /* begin of the pause */
static uint64_t sent_before;       /* tx_bytes at the last REQUEST */

/* ------------------------------------------------------- local actions */

/* A disk cannot be replicated any more; the next CAPTURE says why. */
static void disk_failed(void)
{
    colo_session_ask_checkpoint(COLO_REASON_DEVICE);
}

static bool begin(Error **errp)
{
    colo_need_bql();
    colo_disks_on_failed(disk_failed);
    if (!colo_disks_begin(true, colo_session.id, errp)) {
        return false;
    }
    colo_offers_start();
    colo_net_begin(true);
    return true;
}

/* What the network asked for before the cut is served by it, and counts for
 * the epoch that it ends. */
static void count_net_asks(void)
{
    uint32_t reasons = colo_session_take_net_asks();

    for (ColoReason r = COLO_REASON_NONE + 1; r < COLO_REASON__MAX; r++) {
        if (reasons & (1u << r)) {
            colo_policy_ask(&colo_session.primary.policy, r);
        }
    }
}

static bool capture(uint64_t epoch, Error **errp)
{
    ColoSession *s = &colo_session;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->view.cuts_begun++;
    }
    colo_need_bql();
    count_net_asks();
    colo_net_cut(epoch);
    if (!colo_disks_check(errp) || colo_fault("p-capture")) {
        return false;
    }
    colo_session_cut_disks(epoch);
    global_state_store();
    if (!colo_device_save(s->device, errp)) {
        return false;
    }
    colo_page_set_clear_all(&s->recent);
    colo_ram_sync(s->ram, &s->recent);
    g_free(s->table);
    s->table = colo_ram_table(s->ram);
    colo_drop_bql();
    colo_add_dirty(&s->recent);
    s->stats.device_bytes = s->device->len;
    return true;
}

/* -------------------------------------------------------------- output */

static void go_alone(void)
{
    Error *err = NULL;

    colo_need_bql();
    if (!colo_disks_end(true, &err)) {
        error_report_err(err);
    }
    colo_guest_unthrottle();
}

/* ------------------------------------------------------------ executor */

static ColoIo send_message(const ColoAction *a, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) payload = g_byte_array_new();
    uint32_t flags = 0;
    ColoHello hello;

    switch (a->msg) {
    case COLO_MSG_HELLO:
        colo_need_bql();
        colo_hello_fill(&hello, true);
        colo_wire_put_hello(payload, &hello);
        colo_hello_clear(&hello);
        break;
    case COLO_MSG_START:
        colo_wire_put_start(payload, colo_guest_is_paused());
        break;
    case COLO_MSG_REQUEST:
        colo_wire_put_request(payload, a->arg);
        if ((s->features & COLO_FEATURE_PAGE_HASH) &&
            (colo_page_hash_mode() == ON_OFF_AUTO_ON ||
             (colo_page_hash_mode() == ON_OFF_AUTO_AUTO &&
              colo_hash_policy_choose(&s->hash_policy)))) {
            flags = COLO_REQUEST_WANT_HASHES;
        }
        colo_need_bql();
        s->disks_durable = colo_disks_durable();
        if (s->disks_durable) {
            flags |= COLO_REQUEST_DISKS_DURABLE;
        }
        colo_page_set_clear_all(&s->dirty);
        g_array_set_size(s->peer_runs, 0);
        g_byte_array_set_size(s->peer_hashes, 0);
        sent_before = s->channel->tx_bytes;
        phase_us = colo_now_us();
        break;
    case COLO_MSG_GOODBYE:
        return colo_send_notice(a->msg, a->epoch, a->arg, errp);
    default:
        break;
    }
    return colo_send(a->msg, a->epoch, flags, payload, errp);
}

static void pause_over(uint64_t epoch)
{
    ColoSession *s = &colo_session;

    if (stopped_us) {
        colo_stats_note(&s->stats, COLO_PHASE_PAUSE, epoch, stopped_us);
        stopped_us = 0;
    }
}

static void execute_net(const ColoAction *a)
{
    colo_need_bql();
    if (a->type == COLO_ACT_NET_MODE) {
        colo_net_buffer(a->arg);
    } else if (a->type == COLO_ACT_RELEASE_ALL) {
        colo_net_end(true);
    } else {
        colo_fault("p-before-release");
        colo_net_release(a->epoch);
        colo_session_enter_disks(a->epoch);
        phase_us = colo_stats_note(&colo_session.stats, COLO_PHASE_RELEASE,
                                   a->epoch, phase_us);
        colo_fault("p-released");
    }
}

/* Result of the list: event to feed next, or COLO_EV__MAX. */
static ColoEventType execute(const ColoAction *a, ColoIo *io, Error **errp)
{
    ColoSession *s = &colo_session;
    bool ok = true;

    switch (a->type) {
    case COLO_ACT_SEND:
        *io = send_message(a, errp);
        return COLO_EV__MAX;
    case COLO_ACT_BEGIN:
        ok = begin(errp);
        break;
    case COLO_ACT_GUEST_STOP:
        stopped_us = colo_now_us();
        colo_need_bql();
        colo_guest_stop();
        phase_us = colo_stats_note(&s->stats, COLO_PHASE_STOP,
                                   s->primary.epoch + 1, stopped_us);
        colo_fault("p-stopped");
        return COLO_EV__MAX;
    case COLO_ACT_GUEST_RUN:
        phase_us = colo_now_us();
        colo_need_bql();
        colo_guest_run();
        colo_stats_note(&s->stats, COLO_PHASE_RESUME, s->primary.epoch,
                        phase_us);
        pause_over(s->primary.epoch);
        return COLO_EV__MAX;
    case COLO_ACT_CAPTURE:
        ok = capture(a->epoch, errp);
        phase_us = colo_stats_note(&s->stats, COLO_PHASE_CAPTURE, a->epoch,
                                   phase_us);
        colo_fault("p-captured");
        break;
    case COLO_ACT_SEND_STATE:
        *io = colo_send_state(a->epoch, errp);
        phase_us = colo_stats_note(&s->stats, COLO_PHASE_SEND, a->epoch,
                                   phase_us);
        colo_fault("p-end-sent");
        if (*io != COLO_IO_OK) {
            return COLO_EV__MAX;
        }
        break;
    case COLO_ACT_RELEASE_OUTPUT:
    case COLO_ACT_RELEASE_ALL:
    case COLO_ACT_NET_MODE:
        execute_net(a);
        return COLO_EV__MAX;
    case COLO_ACT_GO_ALONE:
        go_alone();
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
    default:
        g_assert_not_reached();
    }
    return ok ? COLO_EV_LOCAL_OK : COLO_EV_LOCAL_FAILED;
}

/* -------------------------------------------------------------- frames */

static ColoIo take_ready(const ColoFrame *f, GByteArray *in, Error **errp)
{
    ColoHello hello = {};
    ColoWireError e = colo_wire_get_hello(in->data, in->len, &hello);
    ColoIo io = colo_frame_check(f, e, errp);

    if (io == COLO_IO_OK) {
        colo_session.features = hello.features & COLO_FEATURES_ALL;
    }
    colo_hello_clear(&hello);
    return io;
}

static uint64_t peer_page_count(void)
{
    ColoSession *s = &colo_session;
    uint64_t pages = 0;

    for (guint i = 0; i < s->peer_runs->len; i++) {
        pages += g_array_index(s->peer_runs, ColoRun, i).count;
    }
    return pages;
}

static ColoIo take_dirty(const ColoFrame *f, GByteArray *in, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autofree ColoRun *runs = g_new(ColoRun, COLO_RUNS_PER_FRAME_MAX);
    bool hashes = f->flags & COLO_DIRTY_HAS_HASHES;
    uint64_t pages;
    uint32_t count;
    size_t head;
    ColoWireError e;

    e = colo_wire_get_runs(in->data, in->len, colo_ram_page_limits(s->ram),
                           colo_ram_block_count(s->ram),
                           COLO_HASHES_PER_FRAME_MAX, runs, &count, &pages,
                           &head);
    if (e == COLO_WIRE_OK) {
        e = colo_wire_check_tail(in->len, head, pages,
                                 hashes ? COLO_HASH_BYTES : 0);
    }
    if (e != COLO_WIRE_OK) {
        return colo_frame_check(f, e, errp);
    }
    if (s->primary.state != COLO_P_REQUESTED) {
        return COLO_IO_OK;           /* the machine will refuse it */
    }
    if ((peer_page_count() + pages) * colo_ram_page_bytes() >
        colo_ram_bytes(s->ram)) {
        error_setg(errp, "the secondary lists more dirty pages than the "
                   "guest has");
        return COLO_IO_GARBAGE;
    }
    g_array_append_vals(s->peer_runs, runs, count);
    g_byte_array_append(s->peer_hashes, in->data + head, in->len - head);
    return COLO_IO_OK;
}

static ColoIo take_reply(const ColoFrame *f, GByteArray *in, Error **errp)
{
    ColoSession *s = &colo_session;
    ColoReply reply;
    uint64_t pages = peer_page_count();
    ColoWireError e = colo_wire_get_reply(in->data, in->len, &reply);
    ColoIo io = colo_frame_check(f, e, errp);

    if (io != COLO_IO_OK || s->primary.state != COLO_P_REQUESTED) {
        return io;
    }
    if (reply.dirty_pages != pages ||
        (s->peer_hashes->len &&
         s->peer_hashes->len != pages * COLO_HASH_BYTES)) {
        error_setg(errp, "the secondary reported %" PRIu64 " dirty pages "
                   "but listed %" PRIu64, reply.dirty_pages, pages);
        return COLO_IO_GARBAGE;
    }
    colo_stats_note(&s->stats, COLO_PHASE_REQUEST, f->epoch, phase_us);
    colo_fault("p-reply");
    colo_prepare();
    return COLO_IO_OK;
}

static ColoIo take_frame(const ColoFrame *f, ColoEvent *ev, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) in = NULL;
    ColoIo io;

    if (f->type == COLO_MSG_REFUSE || f->type == COLO_MSG_FAILED ||
        f->type == COLO_MSG_GOODBYE) {
        return colo_read_notice(f, &ev->arg, errp);
    }
    in = g_byte_array_new();
    io = colo_read_payload(f, in, errp);
    if (io != COLO_IO_OK) {
        return io;
    }
    switch (f->type) {
    case COLO_MSG_READY:
        return take_ready(f, in, errp);
    case COLO_MSG_DIRTY:
        return take_dirty(f, in, errp);
    case COLO_MSG_REPLY:
        return take_reply(f, in, errp);
    case COLO_MSG_ANSWER:
        return colo_offers_take_answer(f, in, errp);
    case COLO_MSG_RECEIVED:
        phase_us = colo_stats_note(&s->stats, COLO_PHASE_RECEIVED, f->epoch,
                                   phase_us);
        colo_fault("p-received");
        return COLO_IO_OK;
    case COLO_MSG_LOADED:
        phase_us = colo_stats_note(&s->stats, COLO_PHASE_LOADED, f->epoch,
                                   phase_us);
        colo_fault("p-loaded");
        return COLO_IO_OK;
    default:
        return COLO_IO_OK;
    }
}

/* A checkpoint is complete when the machine took LOADED. */
static void frame_done(const ColoFrame *f)
{
    ColoSession *s = &colo_session;

    if (f->type != COLO_MSG_LOADED || s->primary.epoch != f->epoch) {
        return;
    }
    s->stats.sent_bytes = s->channel->tx_bytes - sent_before;
    s->stats.total_sent_bytes = s->channel->tx_bytes;
    s->stats.checkpoint_count++;
    colo_session_publish(false);
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->view.cuts_done = s->view.cuts_begun;
    }
    colo_waiters_wake(false);
}

/* -------------------------------------------------- what the loop asks */

static const char *state_name(void)
{
    return colo_primary_state_name(colo_session.primary.state);
}

static void step(const ColoEvent *ev, int64_t now_ms, ColoActions *out)
{
    colo_primary_step(&colo_session.primary, ev, now_ms, out);
}

static int64_t deadline_ms(void)
{
    return colo_primary_deadline(&colo_session.primary);
}

static bool is_final(void)
{
    return colo_session.primary.state == COLO_P_ALONE ||
           colo_session.primary.state == COLO_P_ENDED;
}

static bool is_lost(void)
{
    return colo_session.primary.state == COLO_P_LOST;
}

static void set_limits(const ColoLimits *limits)
{
    colo_primary_set_limits(&colo_session.primary, limits, colo_now_ms());
}

static void set_channel_limits(ColoChannel *ch)
{
    const ColoPrimary *m = &colo_session.primary;

    ch->limit_ms = m->limits.step_limit_ms;
    ch->deadline_ms = m->state == COLO_P_REQUESTED ||
                      m->state == COLO_P_SENT || m->state == COLO_P_COMMITTING
                      ? m->started_ms + m->limits.checkpoint_limit_ms
                      : INT64_MAX;
}

void colo_primary_run(void)
{
    static const ColoSide side = {
        .name = "primary",
        .state_name = state_name,
        .step = step,
        .deadline_ms = deadline_ms,
        .is_final = is_final,
        .is_lost = is_lost,
        .set_limits = set_limits,
        .set_channel_limits = set_channel_limits,
        .execute = execute,
        .take_frame = take_frame,
        .send_waiting = colo_offers_send,
        .frame_done = frame_done,
    };
    ColoLimits limits = colo_limits_now();

    stopped_us = 0;
    colo_primary_init(&colo_session.primary, &limits);
    colo_side_run(&side);
}
