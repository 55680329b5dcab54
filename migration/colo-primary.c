/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO primary: events in, actions out.
 *
 * The loop waits for a frame, a kick, or the machine's deadline, turns each
 * into an event and executes what the machine answers. Nothing is decided
 * here but how, never whether.
 *
 * Pages: the secondary's REPLY finds the guest still running. While it runs,
 * the pages that the secondary dirtied are hashed here (prepare()); the dirty
 * log then tells which of those hashes are stale once the guest has stopped,
 * so that the pause pays only for the pages written meanwhile.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "block/replication.h"
#include "exec/memory.h"
#include "migration/colo.h"
#include "net/colo-compare.h"
#include "colo-session.h"
#include "trace.h"

enum {
    DEVICE_CHUNK_BYTES = 1024 * 1024,
    PREPARE_MIN_PAGES = 64,        /* below this hashing costs nothing */
};

static Notifier compare_notifier;
static bool compare_registered;
static int64_t phase_us;           /* begin of the current phase */
static int64_t stopped_us;         /* begin of the pause */
static uint64_t sent_before;       /* tx_bytes at the last REQUEST */

/* ---------------------------------------------------- hashes and pages */

static void hash_peer_pages(const ColoPageSet *only)
{
    ColoSession *s = &colo_session;
    uint8_t *hash;
    size_t at = 0;

    g_byte_array_set_size(s->own_hashes, s->peer_hashes->len);
    hash = s->own_hashes->data;
    for (guint i = 0; i < s->peer_runs->len; i++) {
        const ColoRun *run = &g_array_index(s->peer_runs, ColoRun, i);

        for (uint64_t p = run->first; p < run->first + run->count; p++) {
            if (!only || colo_page_set_test(only, run->block, p)) {
                colo_page_hash(&s->hash_key,
                               colo_ram_page_at(s->ram, run->block, p),
                               colo_ram_page_bytes(), hash + at);
            }
            at += COLO_HASH_BYTES;
        }
    }
}

/* Pages that are equal on both sides need not travel. */
static void drop_equal_pages(void)
{
    ColoSession *s = &colo_session;
    const uint8_t *own = s->own_hashes->data;
    const uint8_t *peer = s->peer_hashes->data;
    uint64_t equal = 0;
    size_t at = 0;

    for (guint i = 0; i < s->peer_runs->len; i++) {
        const ColoRun *run = &g_array_index(s->peer_runs, ColoRun, i);

        for (uint64_t p = run->first; p < run->first + run->count; p++) {
            if (!memcmp(own + at, peer + at, COLO_HASH_BYTES)) {
                colo_page_set_remove(&s->dirty, run->block, p);
                equal++;
            }
            at += COLO_HASH_BYTES;
        }
    }
    s->stats.compared_pages = at / COLO_HASH_BYTES;
    s->stats.equal_pages = equal;
    colo_hash_policy_learn(&s->hash_policy, equal, s->stats.compared_pages);
}

/* REPLY is here, the guest still runs. */
static void prepare(void)
{
    ColoSession *s = &colo_session;
    int64_t begin_us = colo_now_us();

    g_byte_array_set_size(s->own_hashes, 0);
    if (s->peer_hashes->len < PREPARE_MIN_PAGES * COLO_HASH_BYTES) {
        return;
    }
    colo_need_bql();
    colo_ram_sync(s->ram, &s->dirty);
    /* No store that passed the log before it was cleared is under way. */
    memory_global_after_dirty_log_sync();
    colo_drop_bql();
    hash_peer_pages(NULL);
    colo_stats_note(&s->stats, COLO_PHASE_PREPARE, s->primary.epoch + 1,
                    begin_us);
}

static void add_dirty(ColoPageSet *recent)
{
    ColoSession *s = &colo_session;

    colo_page_set_union(&s->dirty, recent);
    for (guint i = 0; i < s->peer_runs->len; i++) {
        colo_page_set_add(&s->dirty,
                          &g_array_index(s->peer_runs, ColoRun, i));
    }
    s->stats.dirty_pages = colo_page_set_count(&s->dirty);
    s->stats.compared_pages = s->stats.equal_pages = 0;
    if (s->peer_hashes->len) {
        hash_peer_pages(s->own_hashes->len ? recent : NULL);
        drop_equal_pages();
        s->stats.hashed_checkpoints++;
    }
}

/* ------------------------------------------------------- local actions */

static void mismatch_found(Notifier *notifier, void *data)
{
    colo_session_ask_checkpoint(COLO_REASON_MISMATCH);
}

static bool begin(Error **errp)
{
    ERRP_GUARD();

    colo_need_bql();
    replication_start_all(REPLICATION_MODE_PRIMARY, errp);
    if (*errp) {
        return false;
    }
    compare_notifier.notify = mismatch_found;
    colo_compare_register_notifier(&compare_notifier);
    compare_registered = true;
    return true;
}

static bool capture(Error **errp)
{
    ERRP_GUARD();
    ColoSession *s = &colo_session;
    ColoPageSet recent;
    bool ok;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->view.cuts_begun++;
    }
    colo_need_bql();
    replication_do_checkpoint_all(errp);
    if (*errp || colo_fault("p-capture")) {
        return false;
    }
    ok = colo_device_save(s->device, errp);
    if (!ok) {
        return false;
    }
    colo_page_set_init(&recent, colo_ram_page_limits(s->ram),
                       colo_ram_block_count(s->ram));
    colo_ram_sync(s->ram, &recent);
    g_free(s->table);
    s->table = colo_ram_table(s->ram);
    colo_drop_bql();
    add_dirty(&recent);
    colo_page_set_destroy(&recent);
    s->stats.device_bytes = s->device->len;
    return true;
}

/* --------------------------------------------------------- SEND_STATE */

typedef struct PageFrame {
    ColoRun runs[COLO_RUNS_PER_FRAME_MAX];
    struct iovec iov[COLO_RUNS_PER_FRAME_MAX];
    uint32_t run_count;
    uint32_t page_count;
} PageFrame;

static ColoIo send_page_frame(PageFrame *pf, uint64_t epoch, ColoEnd *end,
                              Error **errp)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) head = g_byte_array_new();
    ColoIo io;

    colo_wire_put_runs(head, pf->runs, pf->run_count);
    colo_checksum_add(s->checksum, head->data, head->len);
    for (uint32_t i = 0; i < pf->run_count; i++) {
        colo_checksum_add(s->checksum, pf->iov[i].iov_base,
                          pf->iov[i].iov_len);
    }
    io = colo_channel_send_vector(s->channel, COLO_MSG_PAGES, epoch, head,
                                  pf->iov, pf->run_count, errp);
    colo_primary_progress(&s->primary, colo_now_ms());
    end->frame_count++;
    end->page_count += pf->page_count;
    pf->run_count = pf->page_count = 0;
    return io;
}

/* Clip to what the block holds now: it may have shrunk since it was logged. */
static bool clip_run(ColoRun *run)
{
    const ColoBlockInfo *b = &colo_session.table[run->block];
    uint64_t pages = b->used_bytes / b->page_bytes;

    if (run->first >= pages) {
        return false;
    }
    run->count = MIN(run->count, pages - run->first);
    return true;
}

static ColoIo send_pages(uint64_t epoch, ColoEnd *end, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autofree PageFrame *pf = g_new0(PageFrame, 1);
    uint64_t page = 0;
    uint32_t block = 0;
    ColoIo io = COLO_IO_OK;
    ColoRun run;

    while (colo_page_set_next(&s->dirty, &block, &page,
                              COLO_PAGES_PER_FRAME_MAX - pf->page_count,
                              &run)) {
        if (!clip_run(&run)) {
            continue;
        }
        pf->runs[pf->run_count] = run;
        pf->iov[pf->run_count].iov_base =
            colo_ram_page_at(s->ram, run.block, run.first);
        pf->iov[pf->run_count].iov_len =
            (size_t)run.count * colo_ram_page_bytes();
        pf->run_count++;
        pf->page_count += run.count;
        if (pf->page_count == COLO_PAGES_PER_FRAME_MAX) {
            io = send_page_frame(pf, epoch, end, errp);
            if (io != COLO_IO_OK) {
                return io;
            }
            colo_fault("p-pages-sent");
        }
    }
    return pf->page_count ? send_page_frame(pf, epoch, end, errp) : io;
}

static void queue_device(uint64_t epoch, ColoEnd *end)
{
    ColoSession *s = &colo_session;

    for (size_t at = 0; at < s->device->len; at += DEVICE_CHUNK_BYTES) {
        size_t part = MIN(s->device->len - at, DEVICE_CHUNK_BYTES);

        colo_checksum_add(s->checksum, s->device->data + at, part);
        colo_channel_queue(s->channel, COLO_MSG_DEVICE, epoch, 0,
                           s->device->data + at, part);
        end->frame_count++;
        end->device_bytes += part;
    }
}

static ColoIo send_state(uint64_t epoch, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) payload = g_byte_array_new();
    uint32_t flags = colo_guest_is_paused() ? COLO_STATE_GUEST_PAUSED : 0;
    ColoEnd end = {};
    ColoIo io;

    s->channel->deadline_ms = s->primary.started_ms +
                              s->primary.limits.checkpoint_limit_ms;
    colo_checksum_reset(s->checksum);
    colo_wire_put_blocks(payload, s->table, colo_ram_block_count(s->ram));
    colo_channel_queue(s->channel, COLO_MSG_STATE, epoch, flags,
                       payload->data, payload->len);
    io = send_pages(epoch, &end, errp);
    if (io == COLO_IO_OK) {
        queue_device(epoch, &end);
        end.checksum = colo_checksum_value(s->checksum);
        g_byte_array_set_size(payload, 0);
        colo_wire_put_end(payload, &end);
        colo_channel_queue(s->channel, COLO_MSG_END, epoch, 0,
                           payload->data, payload->len);
        io = colo_channel_flush(s->channel, errp);
    }
    s->channel->deadline_ms = INT64_MAX;
    s->stats.sent_pages = end.page_count;
    trace_colo_pages(epoch, s->stats.dirty_pages, s->stats.compared_pages,
                     s->stats.equal_pages, s->stats.sent_pages);
    return io;
}

/* -------------------------------------------------------------- output */

static void release_output(void)
{
    Error *err = NULL;

    colo_notify_compares_event(NULL, COLO_EVENT_CHECKPOINT, &err);
    if (err) {
        warn_report_err(err);
    }
}

static void go_alone(void)
{
    Error *err = NULL;

    colo_need_bql();
    if (compare_registered) {
        colo_compare_unregister_notifier(&compare_notifier);
        compare_registered = false;
    }
    replication_stop_all(true, &err);
    if (err) {
        error_report_err(err);
    }
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
        colo_need_bql();
        colo_guest_run();
        pause_over(s->primary.epoch);
        return COLO_EV__MAX;
    case COLO_ACT_CAPTURE:
        ok = capture(errp);
        phase_us = colo_stats_note(&s->stats, COLO_PHASE_CAPTURE, a->epoch,
                                   phase_us);
        colo_fault("p-captured");
        break;
    case COLO_ACT_SEND_STATE:
        *io = send_state(a->epoch, errp);
        phase_us = colo_stats_note(&s->stats, COLO_PHASE_SEND, a->epoch,
                                   phase_us);
        colo_fault("p-end-sent");
        if (*io != COLO_IO_OK) {
            return COLO_EV__MAX;
        }
        break;
    case COLO_ACT_RELEASE_OUTPUT:
        colo_fault("p-before-release");
        release_output();
        phase_us = colo_stats_note(&s->stats, COLO_PHASE_RELEASE, a->epoch,
                                   phase_us);
        colo_fault("p-released");
        return COLO_EV__MAX;
    case COLO_ACT_RELEASE_ALL:
        release_output();
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

static void feed(ColoEvent ev)
{
    ColoSession *s = &colo_session;

    while (ev.type != COLO_EV__MAX) {
        ColoIo io = COLO_IO_OK;
        Error *err = NULL;
        ColoActions acts;

        trace_colo_event("primary", colo_primary_state_name(s->primary.state),
                         colo_event_name(ev.type), colo_msg_name(ev.msg),
                         ev.epoch);
        colo_primary_step(&s->primary, &ev, colo_now_ms(), &acts);
        ev = (ColoEvent) { .type = COLO_EV__MAX };
        for (unsigned i = 0; i < acts.count; i++) {
            const ColoAction *a = &acts.list[i];
            ColoIo this_io = COLO_IO_OK;
            Error *this_err = NULL;

            trace_colo_action("primary",
                              colo_primary_state_name(s->primary.state),
                              colo_action_name(a->type),
                              colo_msg_name(a->msg), a->epoch);
            ev.type = execute(a, &this_io, &this_err);
            if (this_io != COLO_IO_OK && io == COLO_IO_OK) {
                io = this_io;
            }
            error_propagate(&err, this_err);
        }
        colo_session_set_detail_err(err);
        if (io != COLO_IO_OK) {
            if (ev.type != COLO_EV__MAX) {
                feed(ev);
            }
            ev = (ColoEvent) { .type = COLO_EV_PEER_LOST,
                               .cause = colo_io_cause(io) };
        }
    }
    colo_drop_bql();
    colo_session_publish(false);
}

/* -------------------------------------------------------------- frames */

static ColoIo bad_frame(ColoWireError e, const ColoFrame *f, Error **errp)
{
    if (e == COLO_WIRE_OK) {
        return COLO_IO_OK;
    }
    error_setg(errp, "malformed %s: %s", colo_msg_name(f->type),
               colo_wire_strerror(e));
    return COLO_IO_GARBAGE;
}

static ColoIo take_ready(const ColoFrame *f, GByteArray *in, Error **errp)
{
    ColoHello hello = {};
    ColoIo io = bad_frame(colo_wire_get_hello(in->data, in->len, &hello), f,
                          errp);

    if (io == COLO_IO_OK) {
        colo_session.features = hello.features & COLO_FEATURES_ALL;
    }
    colo_hello_clear(&hello);
    return io;
}

static ColoIo take_dirty(const ColoFrame *f, GByteArray *in, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autofree ColoRun *runs = g_new(ColoRun, COLO_RUNS_PER_FRAME_MAX);
    bool hashes = f->flags & COLO_DIRTY_HAS_HASHES;
    uint64_t pages;
    uint32_t count;
    size_t head;
    ColoIo io;

    io = bad_frame(colo_wire_get_runs(in->data, in->len,
                                      colo_ram_page_limits(s->ram),
                                      colo_ram_block_count(s->ram),
                                      COLO_HASHES_PER_FRAME_MAX, runs,
                                      &count, &pages, &head), f, errp);
    if (io != COLO_IO_OK) {
        return io;
    }
    if (in->len - head != (hashes ? pages * COLO_HASH_BYTES : 0)) {
        return bad_frame(COLO_WIRE_BAD_LENGTH, f, errp);
    }
    if (s->primary.state != COLO_P_REQUESTED) {
        return COLO_IO_OK;           /* the machine will refuse it */
    }
    g_array_append_vals(s->peer_runs, runs, count);
    g_byte_array_append(s->peer_hashes, in->data + head, in->len - head);
    return COLO_IO_OK;
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

static ColoIo take_reply(const ColoFrame *f, GByteArray *in, Error **errp)
{
    ColoSession *s = &colo_session;
    ColoReply reply;
    uint64_t pages = peer_page_count();
    ColoIo io = bad_frame(colo_wire_get_reply(in->data, in->len, &reply), f,
                          errp);

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
    prepare();
    return COLO_IO_OK;
}

static ColoIo take_frame(const ColoFrame *f, uint32_t *arg, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) in = NULL;
    ColoIo io;

    if (f->type == COLO_MSG_REFUSE || f->type == COLO_MSG_FAILED ||
        f->type == COLO_MSG_GOODBYE) {
        return colo_read_notice(f, arg, errp);
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
static void account(const ColoFrame *f, uint64_t epoch_before)
{
    ColoSession *s = &colo_session;

    if (f->type != COLO_MSG_LOADED || s->primary.epoch == epoch_before) {
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

static void receive(void)
{
    ColoSession *s = &colo_session;
    uint64_t epoch = s->primary.epoch;
    ColoEvent ev = { .type = COLO_EV_MESSAGE };
    Error *err = NULL;
    ColoFrame f;
    ColoIo io;

    s->channel->limit_ms = s->primary.limits.step_limit_ms;
    io = colo_channel_next(s->channel, &f,
                           colo_primary_deadline(&s->primary), &err);
    if (io == COLO_IO_KICKED) {
        return;
    }
    if (io == COLO_IO_SILENT) {
        feed((ColoEvent) { .type = COLO_EV_TICK });
        return;
    }
    if (io == COLO_IO_OK) {
        ev.msg = f.type;
        ev.epoch = f.epoch;
        io = take_frame(&f, &ev.arg, &err);
    }
    if (io != COLO_IO_OK) {
        colo_session_set_detail_err(err);
        feed((ColoEvent) { .type = COLO_EV_PEER_LOST,
                           .cause = colo_io_cause(io) });
        return;
    }
    feed(ev);
    account(&f, epoch);
}

static void answer_asks(void)
{
    ColoSession *s = &colo_session;
    ColoAsks asks = colo_session_take_asks();

    if (asks.limits) {
        ColoLimits limits = colo_limits_now();

        colo_primary_set_limits(&s->primary, &limits, colo_now_ms());
    }
    for (ColoReason r = COLO_REASON_NONE + 1; r < COLO_REASON__MAX; r++) {
        if (asks.reasons & (1u << r)) {
            feed((ColoEvent) { .type = COLO_EV_WANT_CHECKPOINT,
                               .reason = r });
        }
    }
    if (asks.guest_gone) {
        feed((ColoEvent) { .type = COLO_EV_GUEST_GONE });
    }
    if (asks.failover) {
        feed((ColoEvent) { .type = COLO_EV_FAILOVER });
    }
    if (asks.quit) {
        feed((ColoEvent) { .type = COLO_EV_QUIT });
    }
}

void colo_primary_run(void)
{
    ColoSession *s = &colo_session;
    ColoLimits limits = colo_limits_now();

    stopped_us = 0;
    colo_primary_init(&s->primary, &limits);
    feed((ColoEvent) { .type = COLO_EV_START });
    while (s->primary.state != COLO_P_ALONE &&
           s->primary.state != COLO_P_ENDED) {
        answer_asks();
        if (s->primary.state == COLO_P_LOST) {
            colo_channel_wait_kick(s->channel);
        } else if (s->primary.state != COLO_P_ALONE &&
                   s->primary.state != COLO_P_ENDED) {
            receive();
        }
    }
}
