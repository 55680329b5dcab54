/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO wire format: page runs, and the payloads of a few fields.
 *
 *   runs     u32 run_count, then for each: u32 block, u32 count, u64 first
 *   notice   u32 cause, u16 text_bytes, text       REFUSE FAILED GOODBYE
 *   request  u32 reason                            REQUEST
 *   reply    u64 dirty_pages, u32 dirty_frames     REPLY
 *   end      u64 page_count, u64 device_bytes, u32 frame_count, u64 checksum
 *   start    u32 paused                            START
 *   offer    u64 id, u64 disk, u64 offset, u32 bytes, u8 hash[16]   OFFER
 *   answer   u64 id, u32 accepted                  ANSWER
 *
 * Runs are the head of DIRTY and PAGES. They are checked against the table
 * of RAM blocks while they are decoded: whoever holds decoded runs may index
 * memory with them.
 */
#include <string.h>
#include "colo/machine.h"
#include "colo/offer.h"
#include "colo/wire.h"
#include "wire-bytes.h"

/* --------------------------------------------------------------- runs */

void colo_wire_put_runs(GByteArray *out, const ColoRun *runs,
                        uint32_t run_count)
{
    uint32_t i;
    guint at = out->len + 4;
    uint8_t *p;

    g_assert(run_count > 0 && run_count <= COLO_RUNS_PER_FRAME_MAX);
    colo_put_u32(out, run_count);
    g_byte_array_set_size(out, at + run_count * COLO_WIRE_RUN_BYTES);
    p = out->data + at;
    for (i = 0; i < run_count; i++, p += COLO_WIRE_RUN_BYTES) {
        colo_store_u32(p, runs[i].block);
        colo_store_u32(p + 4, runs[i].count);
        colo_store_u64(p + 8, runs[i].first);
    }
}

static ColoRun load_run(const uint8_t *p)
{
    return (ColoRun) {
        .block = colo_load_u32(p),
        .count = colo_load_u32(p + 4),
        .first = colo_load_u64(p + 8),
    };
}

static bool run_is_inside(const ColoRun *run, const uint64_t *page_counts,
                          uint32_t block_count)
{
    return run->block < block_count && run->count > 0 &&
           run->first < page_counts[run->block] &&
           run->count <= page_counts[run->block] - run->first;
}

/* Both are inside their blocks, so the sum cannot wrap. */
static bool run_is_after(const ColoRun *run, const ColoRun *previous)
{
    return run->block > previous->block ||
           (run->block == previous->block &&
            run->first >= previous->first + previous->count);
}

ColoWireError colo_wire_get_runs(const uint8_t *in, size_t size,
                                 const uint64_t *page_counts,
                                 uint32_t block_count,
                                 uint64_t page_count_max, ColoRun *runs,
                                 uint32_t *run_count, uint64_t *page_count,
                                 size_t *head_bytes)
{
    ColoReader r = colo_reader(in, size);
    uint32_t count = colo_get_u32(&r);
    uint64_t pages = 0;
    const uint8_t *p;
    uint32_t i;

    *run_count = 0;
    *page_count = 0;
    *head_bytes = 0;
    if (r.error == COLO_WIRE_OK &&
        (count == 0 || count > COLO_RUNS_PER_FRAME_MAX)) {
        return COLO_WIRE_BAD_COUNT;
    }
    p = colo_reader_take(&r, (size_t)count * COLO_WIRE_RUN_BYTES);
    if (!p) {
        return r.error;
    }
    for (i = 0; i < count; i++, p += COLO_WIRE_RUN_BYTES) {
        runs[i] = load_run(p);
        if (!run_is_inside(&runs[i], page_counts, block_count) ||
            (i > 0 && !run_is_after(&runs[i], &runs[i - 1]))) {
            return COLO_WIRE_BAD_RUN;
        }
        pages += runs[i].count;
        if (pages > page_count_max) {
            return COLO_WIRE_BAD_COUNT;
        }
    }
    *run_count = count;
    *page_count = pages;
    *head_bytes = 4 + (size_t)count * COLO_WIRE_RUN_BYTES;
    return COLO_WIRE_OK;
}

ColoWireError colo_wire_check_tail(size_t size, size_t head_bytes,
                                   uint64_t page_count, uint32_t unit_bytes)
{
    uint64_t tail = size - head_bytes;

    /* get_runs() bounds both factors */
    g_assert(head_bytes <= size && page_count <= UINT32_MAX);
    if (tail < page_count * unit_bytes) {
        return COLO_WIRE_BAD_LENGTH;
    }
    return tail > page_count * unit_bytes ? COLO_WIRE_TRAILING : COLO_WIRE_OK;
}

/* ------------------------------------------------------------- notice */

/* Longest prefix of valid @text that fits and ends with a whole character. */
static size_t fitting_bytes(const char *text, size_t max_bytes)
{
    size_t size = strlen(text);

    if (size <= max_bytes) {
        return size;
    }
    for (size = max_bytes; ((uint8_t)text[size] & 0xc0) == 0x80; size--) {
        /* inside a character */
    }
    return size;
}

void colo_wire_put_notice(GByteArray *out, uint32_t cause, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text ? text : "", -1);
    size_t size = fitting_bytes(valid, COLO_TEXT_MAX_BYTES);
    size_t i;

    for (i = 0; i < size; i++) {
        if ((uint8_t)valid[i] < 0x20 || valid[i] == 0x7f) {
            valid[i] = ' ';
        }
    }
    colo_put_u32(out, cause);
    colo_put_u16(out, size);
    g_byte_array_append(out, (const uint8_t *)valid, size);
}

ColoWireError colo_wire_get_notice(const uint8_t *in, size_t size,
                                   ColoNotice *n)
{
    ColoReader r = colo_reader(in, size);
    uint16_t text_bytes;

    n->cause = colo_get_u32(&r);
    text_bytes = colo_get_u16(&r);
    if (text_bytes > COLO_TEXT_MAX_BYTES) {
        colo_reader_fail(&r, COLO_WIRE_BAD_STRING);
        text_bytes = 0;
    }
    colo_get_text(&r, text_bytes, n->text);
    if (r.error == COLO_WIRE_OK && n->cause >= COLO_CAUSE__MAX) {
        colo_reader_fail(&r, COLO_WIRE_BAD_VALUE);
    }
    return colo_reader_finish(&r);
}

/* ------------------------------------------------------------ request */

void colo_wire_put_request(GByteArray *out, uint32_t reason)
{
    colo_put_u32(out, reason);
}

ColoWireError colo_wire_get_request(const uint8_t *in, size_t size,
                                    uint32_t *reason)
{
    ColoReader r = colo_reader(in, size);

    *reason = colo_get_u32(&r);
    if (r.error == COLO_WIRE_OK &&
        (*reason == COLO_REASON_NONE || *reason >= COLO_REASON__MAX)) {
        colo_reader_fail(&r, COLO_WIRE_BAD_VALUE);
    }
    return colo_reader_finish(&r);
}

/* -------------------------------------------------------------- reply */

void colo_wire_put_reply(GByteArray *out, const ColoReply *reply)
{
    colo_put_u64(out, reply->dirty_pages);
    colo_put_u32(out, reply->dirty_frames);
}

ColoWireError colo_wire_get_reply(const uint8_t *in, size_t size,
                                  ColoReply *reply)
{
    ColoReader r = colo_reader(in, size);

    reply->dirty_pages = colo_get_u64(&r);
    reply->dirty_frames = colo_get_u32(&r);
    /* each DIRTY frame tells at least one page */
    if (r.error == COLO_WIRE_OK &&
        (reply->dirty_pages < reply->dirty_frames ||
         (reply->dirty_pages > 0 && reply->dirty_frames == 0))) {
        colo_reader_fail(&r, COLO_WIRE_BAD_VALUE);
    }
    return colo_reader_finish(&r);
}

/* ---------------------------------------------------------------- end */

void colo_wire_put_end(GByteArray *out, const ColoEnd *e)
{
    colo_put_u64(out, e->page_count);
    colo_put_u64(out, e->device_bytes);
    colo_put_u32(out, e->frame_count);
    colo_put_u64(out, e->checksum);
}

ColoWireError colo_wire_get_end(const uint8_t *in, size_t size, ColoEnd *e)
{
    ColoReader r = colo_reader(in, size);

    e->page_count = colo_get_u64(&r);
    e->device_bytes = colo_get_u64(&r);
    e->frame_count = colo_get_u32(&r);
    e->checksum = colo_get_u64(&r);
    if (r.error == COLO_WIRE_OK && e->device_bytes > COLO_DEVICE_MAX_BYTES) {
        colo_reader_fail(&r, COLO_WIRE_BAD_VALUE);
    }
    return colo_reader_finish(&r);
}

/* -------------------------------------------------------------- start */

void colo_wire_put_start(GByteArray *out, bool paused)
{
    colo_put_u32(out, paused);
}

ColoWireError colo_wire_get_start(const uint8_t *in, size_t size,
                                  bool *paused)
{
    ColoReader r = colo_reader(in, size);
    uint32_t value = colo_get_u32(&r);

    *paused = value;
    if (value > 1) {
        colo_reader_fail(&r, COLO_WIRE_BAD_VALUE);
    }
    return colo_reader_finish(&r);
}

/* ----------------------------------------------------- offer and answer */

void colo_wire_put_offer(GByteArray *out, const ColoOffer *o)
{
    colo_put_u64(out, o->id);
    colo_put_u64(out, o->disk);
    colo_put_u64(out, o->offset);
    colo_put_u32(out, o->bytes);
    g_byte_array_append(out, o->hash, sizeof(o->hash));
}

ColoWireError colo_wire_get_offer(const uint8_t *in, size_t size,
                                  ColoOffer *o)
{
    ColoReader r = colo_reader(in, size);
    const uint8_t *hash;

    o->id = colo_get_u64(&r);
    o->disk = colo_get_u64(&r);
    o->offset = colo_get_u64(&r);
    o->bytes = colo_get_u32(&r);
    hash = colo_reader_take(&r, sizeof(o->hash));
    if (hash) {
        memcpy(o->hash, hash, sizeof(o->hash));
    }
    if (r.error == COLO_WIRE_OK &&
        (o->disk == 0 || !colo_offer_fits(o->bytes) ||
         o->offset > (uint64_t)INT64_MAX - o->bytes)) {
        colo_reader_fail(&r, COLO_WIRE_BAD_VALUE);
    }
    return colo_reader_finish(&r);
}

void colo_wire_put_answer(GByteArray *out, const ColoAnswer *a)
{
    colo_put_u64(out, a->id);
    colo_put_u32(out, a->is_accepted);
}

ColoWireError colo_wire_get_answer(const uint8_t *in, size_t size,
                                   ColoAnswer *a)
{
    ColoReader r = colo_reader(in, size);
    uint32_t value;

    a->id = colo_get_u64(&r);
    value = colo_get_u32(&r);
    a->is_accepted = value;
    if (value > 1) {
        colo_reader_fail(&r, COLO_WIRE_BAD_VALUE);
    }
    return colo_reader_finish(&r);
}
