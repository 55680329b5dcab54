/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO primary: which pages travel, and how.
 *
 * Dirty is what either side has written since the last cut. The secondary's
 * REPLY finds the guest still running: while it runs, the pages that the
 * secondary dirtied are hashed here (colo_prepare()); the dirty log then tells
 * which of those hashes are stale once the guest has stopped, so that the
 * pause pays only for pages written meanwhile. Pages whose hashes are equal
 * stay here; the others go out straight from guest memory.
 */
#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "exec/memory.h"
#include "colo-primary.h"
#include "trace.h"

enum {
    DEVICE_CHUNK_BYTES = 1024 * 1024,
    PREPARE_MIN_PAGES = 64,        /* below this hashing costs nothing */
};

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
void colo_prepare(void)
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

void colo_add_dirty(const ColoPageSet *recent)
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

ColoIo colo_send_state(uint64_t epoch, Error **errp)
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
