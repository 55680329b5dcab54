/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: staging a checkpoint.
 *
 * STATE opens it, PAGES and DEVICE fill it, END closes it with counts and a
 * checksum. Nothing of the machine is touched here. Page data is read from
 * the channel straight into the staging area. A checkpoint that breaks a
 * limit or does not verify is remembered as bad: the rest of it is read and
 * dropped, and the machine is told once.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "colo-secondary.h"

static ColoEnd got;                /* counted while receiving */
static bool bad;
static int64_t begin_us;
static uint64_t *page_counts;      /* by the table of STATE */

static void state_bad(ColoEvent *ev)
{
    if (!bad) {
        bad = true;
        ev->type = COLO_EV_STATE_BAD;
    }
}

/* ---------------------------------------------------------------- STATE */

static bool table_fits(const ColoBlockInfo *table, uint32_t count)
{
    ColoSession *s = &colo_session;
    const uint64_t *limits = colo_ram_page_limits(s->ram);

    if (count != colo_ram_block_count(s->ram)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        page_counts[i] = table[i].used_bytes / colo_ram_page_bytes();
        if (table[i].page_bytes != colo_ram_page_bytes() ||
            page_counts[i] > limits[i] ||
            strcmp(table[i].name, s->own_table[i].name)) {
            return false;
        }
    }
    return true;
}

static ColoIo open_state(const ColoFrame *f, ColoEvent *ev, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) in = g_byte_array_new();
    uint32_t count;
    ColoWireError e;
    ColoIo io = colo_read_payload(f, in, errp);

    if (io != COLO_IO_OK) {
        return io;
    }
    begin_us = colo_now_us();
    colo_stage_reset(&s->stage);
    g_byte_array_set_size(s->device, 0);
    colo_checksum_reset(s->checksum);
    got = (ColoEnd) {};
    bad = false;
    e = colo_wire_get_blocks(in->data, in->len, &s->table, &count);
    if (e != COLO_WIRE_OK) {
        return colo_frame_check(f, e, errp);
    }
    g_free(page_counts);
    page_counts = g_new0(uint64_t, colo_ram_block_count(s->ram));
    if (!table_fits(s->table, count)) {
        colo_session_set_detail("the primary's RAM blocks have changed in a "
                                "way this secondary cannot follow");
        state_bad(ev);
    }
    s->staged_paused = f->flags & COLO_STATE_GUEST_PAUSED;
    return COLO_IO_OK;
}

/* ---------------------------------------------------------------- PAGES */

/* Read the head of a PAGES frame into @head, and decode it. */
static ColoIo read_runs(const ColoFrame *f, GByteArray *head, ColoRun *runs,
                        uint32_t *run_count, uint64_t *pages, Error **errp)
{
    ColoSession *s = &colo_session;
    uint32_t count_be;
    size_t size;
    ColoWireError e;
    ColoIo io;

    if (f->length < sizeof(count_be)) {
        return colo_frame_check(f, COLO_WIRE_BAD_LENGTH, errp);
    }
    io = colo_channel_read(s->channel, &count_be, sizeof(count_be), errp);
    if (io != COLO_IO_OK) {
        return io;
    }
    size = sizeof(count_be) +
           (size_t)be32_to_cpu(count_be) * COLO_WIRE_RUN_BYTES;
    if (be32_to_cpu(count_be) > COLO_RUNS_PER_FRAME_MAX ||
        size > f->length) {
        return colo_frame_check(f, COLO_WIRE_BAD_COUNT, errp);
    }
    g_byte_array_set_size(head, size);
    memcpy(head->data, &count_be, sizeof(count_be));
    io = colo_channel_read(s->channel, head->data + sizeof(count_be),
                           size - sizeof(count_be), errp);
    if (io != COLO_IO_OK) {
        return io;
    }
    e = colo_wire_get_runs(head->data, head->len, page_counts,
                           colo_ram_block_count(s->ram),
                           COLO_PAGES_PER_FRAME_MAX, runs, run_count, pages,
                           &size);
    if (e != COLO_WIRE_OK) {
        return colo_frame_check(f, e, errp);
    }
    e = colo_wire_check_tail(f->length, size, *pages,
                             colo_ram_page_bytes());
    return colo_frame_check(f, e, errp);
}

static ColoIo take_pages(const ColoFrame *f, ColoEvent *ev, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autofree ColoRun *runs = g_new(ColoRun, COLO_RUNS_PER_FRAME_MAX);
    g_autoptr(GByteArray) head = g_byte_array_new();
    ColoChunk *chunk;
    uint64_t pages;
    uint32_t count;
    size_t size;
    ColoIo io = read_runs(f, head, runs, &count, &pages, errp);

    if (io != COLO_IO_OK) {
        return io;
    }
    size = pages * colo_ram_page_bytes();
    chunk = colo_stage_add(&s->stage, runs, count, pages);
    if (!chunk) {
        colo_session_set_detail("the checkpoint needs more than the %" PRIu64
                                " bytes that staging-limit allows; raise it "
                                "or take checkpoints more often",
                                s->stage.limit_bytes);
        state_bad(ev);
        return colo_channel_skip(s->channel, size, errp);
    }
    io = colo_channel_read(s->channel, chunk->data, size, errp);
    if (io == COLO_IO_OK) {
        colo_checksum_add(s->checksum, head->data, head->len);
        colo_checksum_add(s->checksum, chunk->data, size);
        got.frame_count++;
        got.page_count += pages;
        colo_fault("s-pages");
    }
    return io;
}

/* --------------------------------------------------------- DEVICE and END */

static ColoIo take_device(const ColoFrame *f, ColoEvent *ev, Error **errp)
{
    ColoSession *s = &colo_session;
    guint at = s->device->len;
    ColoIo io;

    if ((uint64_t)at + f->length > COLO_DEVICE_MAX_BYTES) {
        colo_session_set_detail("the primary's device state is too large");
        state_bad(ev);
        return colo_channel_skip(s->channel, f->length, errp);
    }
    g_byte_array_set_size(s->device, at + f->length);
    io = colo_channel_read(s->channel, s->device->data + at, f->length,
                           errp);
    if (io == COLO_IO_OK) {
        colo_checksum_add(s->checksum, s->device->data + at, f->length);
        got.frame_count++;
        got.device_bytes += f->length;
    }
    return io;
}

static ColoIo take_end(const ColoFrame *f, ColoEvent *ev, Error **errp)
{
    ColoSession *s = &colo_session;
    g_autoptr(GByteArray) in = g_byte_array_new();
    ColoEnd end;
    ColoWireError e;
    ColoIo io = colo_read_payload(f, in, errp);

    if (io != COLO_IO_OK) {
        return io;
    }
    e = colo_wire_get_end(in->data, in->len, &end);
    if (e != COLO_WIRE_OK) {
        return colo_frame_check(f, e, errp);
    }
    got.checksum = colo_checksum_value(s->checksum);
    if (end.page_count != got.page_count ||
        end.device_bytes != got.device_bytes ||
        end.frame_count != got.frame_count ||
        end.checksum != got.checksum) {
        colo_session_set_detail("the checkpoint arrived damaged: %" PRIu64
                                " of %" PRIu64 " pages, checksum %s",
                                got.page_count, end.page_count,
                                end.checksum == got.checksum ? "right"
                                                             : "wrong");
        state_bad(ev);
    }
    s->stats.sent_pages = got.page_count;
    s->stats.device_bytes = got.device_bytes;
    s->stats.staging_bytes = s->stage.held_bytes;
    s->stats.staging_peak_bytes = s->stage.peak_bytes;
    colo_stats_note(&s->stats, COLO_PHASE_RECEIVE, f->epoch, begin_us);
    colo_fault("s-end");
    return COLO_IO_OK;
}

ColoIo colo_receive_state(const ColoFrame *f, ColoEvent *ev, Error **errp)
{
    ColoSecondary *m = &colo_session.secondary;

    /* Out of place, or of a checkpoint that has been refused. */
    if (m->state != COLO_S_RECEIVING || f->epoch != m->pending_epoch ||
        (colo_session.table && bad)) {
        return colo_channel_skip(colo_session.channel, f->length, errp);
    }
    if ((f->type == COLO_MSG_STATE) != !colo_session.table) {
        error_setg(errp, "%s %s STATE", colo_msg_name(f->type),
                   colo_session.table ? "after" : "before");
        return COLO_IO_GARBAGE;
    }
    colo_secondary_progress(m, colo_now_ms());
    switch (f->type) {
    case COLO_MSG_STATE:
        return open_state(f, ev, errp);
    case COLO_MSG_PAGES:
        return take_pages(f, ev, errp);
    case COLO_MSG_DEVICE:
        return take_device(f, ev, errp);
    default:
        return take_end(f, ev, errp);
    }
}
