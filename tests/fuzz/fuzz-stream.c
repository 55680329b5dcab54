/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole conversation: frames in a row, each decoded and acted on the way
 * a secondary does, with a toy guest behind it.
 *
 * Input: one byte of mode, then frames. In mode 0 the stream is taken as it
 * is; in any other, magic, version, sequence and checksum of each header are
 * made right first and END is believed, so that mutations reach what lies
 * behind them.
 *
 * Checked: whatever arrives, memory outside the guest is never touched (the
 * sanitizers see to it), a checkpoint that is applied leaves exactly the
 * staged pages in the guest, and undo leaves exactly what was there before.
 */
#include <xxhash.h>
#include "colo/pages.h"
#include "fuzz.h"

enum { BLOCKS = 2, PAGE_BYTES = 1024, STAGE_LIMIT_BYTES = 200 * 1024 };

static const uint64_t page_counts[BLOCKS] = { 70, 9 };

typedef struct Toy {
    uint8_t *ram[BLOCKS];      /* the guest */
    uint8_t *wanted[BLOCKS];   /* what it should be after the apply */
    ColoStage stage;
    ColoPageSet dirty;
    ColoChecksum *checksum;
    ColoEnd got;               /* what END should say */
    ColoRun *runs;
    uint32_t sequence;
} Toy;

static void toy_init(Toy *t)
{
    unsigned b;

    memset(t, 0, sizeof(*t));
    for (b = 0; b < BLOCKS; b++) {
        t->ram[b] = g_malloc(page_counts[b] * PAGE_BYTES);
        memset(t->ram[b], 0x11 * (b + 1), page_counts[b] * PAGE_BYTES);
        t->wanted[b] = g_memdup2(t->ram[b], page_counts[b] * PAGE_BYTES);
    }
    colo_stage_init(&t->stage, PAGE_BYTES, STAGE_LIMIT_BYTES);
    colo_page_set_init(&t->dirty, page_counts, BLOCKS);
    t->checksum = colo_checksum_new();
    t->runs = g_new(ColoRun, COLO_RUNS_PER_FRAME_MAX);
}

static void toy_clear(Toy *t)
{
    unsigned b;

    for (b = 0; b < BLOCKS; b++) {
        g_free(t->ram[b]);
        g_free(t->wanted[b]);
    }
    colo_stage_destroy(&t->stage);
    colo_page_set_destroy(&t->dirty);
    colo_checksum_free(t->checksum);
    g_free(t->runs);
}

static void *page_at(void *opaque, uint32_t block, uint64_t page)
{
    Toy *t = opaque;

    g_assert(block < BLOCKS && page < page_counts[block]);
    return t->ram[block] + page * PAGE_BYTES;
}

static void touched(void *opaque, const ColoRun *run)
{
    Toy *t = opaque;

    colo_page_set_add(&t->dirty, run);
}

/* ------------------------------------------------------------- payloads */

static bool on_dirty(Toy *t, const ColoFrame *f, const uint8_t *in)
{
    uint32_t run_count, i;
    uint64_t page_count;
    size_t head_bytes;

    if (colo_wire_get_runs(in, f->length, page_counts, BLOCKS,
                           COLO_HASHES_PER_FRAME_MAX, t->runs, &run_count,
                           &page_count, &head_bytes) != COLO_WIRE_OK ||
        colo_wire_check_tail(f->length, head_bytes, page_count,
                             f->flags & COLO_DIRTY_HAS_HASHES
                             ? COLO_HASH_BYTES : 0) != COLO_WIRE_OK) {
        return false;
    }
    for (i = 0; i < run_count; i++) {
        colo_page_set_add(&t->dirty, &t->runs[i]);
    }
    return true;
}

static void want_pages(Toy *t, const ColoChunk *c)
{
    const uint8_t *data = c->data;
    uint32_t i;

    for (i = 0; i < c->run_count; i++) {
        size_t bytes = (size_t)c->runs[i].count * PAGE_BYTES;

        memcpy(t->wanted[c->runs[i].block] + c->runs[i].first * PAGE_BYTES,
               data, bytes);
        data += bytes;
    }
}

static bool on_pages(Toy *t, const ColoFrame *f, const uint8_t *in)
{
    uint32_t run_count;
    uint64_t page_count;
    size_t head_bytes;
    ColoChunk *c;

    if (colo_wire_get_runs(in, f->length, page_counts, BLOCKS,
                           COLO_PAGES_PER_FRAME_MAX, t->runs, &run_count,
                           &page_count, &head_bytes) != COLO_WIRE_OK ||
        colo_wire_check_tail(f->length, head_bytes, page_count,
                             PAGE_BYTES) != COLO_WIRE_OK) {
        return false;
    }
    c = colo_stage_add(&t->stage, t->runs, run_count, page_count);
    g_assert(t->stage.used_bytes <= STAGE_LIMIT_BYTES);
    if (!c) {
        return false;
    }
    memcpy(c->data, in + head_bytes, page_count * PAGE_BYTES);
    want_pages(t, c);
    colo_checksum_add(t->checksum, in, f->length);
    t->got.page_count += page_count;
    t->got.frame_count++;
    return true;
}

static bool on_device(Toy *t, const ColoFrame *f, const uint8_t *in)
{
    colo_checksum_add(t->checksum, in, f->length);
    t->got.device_bytes += f->length;
    t->got.frame_count++;
    return true;
}

static void assert_ram(const Toy *t, uint8_t *const expected[BLOCKS])
{
    unsigned b;

    for (b = 0; b < BLOCKS; b++) {
        g_assert(memcmp(t->ram[b], expected[b],
                        page_counts[b] * PAGE_BYTES) == 0);
    }
}

/* Apply, undo, apply again: the second apply is the one that stays. */
static void apply(Toy *t)
{
    uint8_t *before[BLOCKS];
    unsigned b;

    for (b = 0; b < BLOCKS; b++) {
        before[b] = g_memdup2(t->ram[b], page_counts[b] * PAGE_BYTES);
    }
    colo_page_set_clear_all(&t->dirty);
    colo_stage_swap(&t->stage, false, page_at, touched, t);
    assert_ram(t, t->wanted);
    g_assert(colo_page_set_count(&t->dirty) <= t->got.page_count);
    colo_stage_swap(&t->stage, true, page_at, NULL, t);
    assert_ram(t, before);
    colo_stage_swap(&t->stage, false, page_at, NULL, t);
    assert_ram(t, t->wanted);
    for (b = 0; b < BLOCKS; b++) {
        g_free(before[b]);
    }
}

static bool is_complete(const Toy *t, const ColoEnd *e)
{
    return e->page_count == t->got.page_count &&
           e->device_bytes == t->got.device_bytes &&
           e->frame_count == t->got.frame_count &&
           e->checksum == colo_checksum_value(t->checksum);
}

static bool on_end(Toy *t, const ColoFrame *f, const uint8_t *in, bool strict)
{
    ColoEnd e;

    if (colo_wire_get_end(in, f->length, &e) != COLO_WIRE_OK ||
        (strict && !is_complete(t, &e))) {
        return false;
    }
    apply(t);
    colo_stage_reset(&t->stage);
    g_assert(t->stage.used_bytes == 0);
    g_assert(t->stage.held_bytes <= t->stage.keep_bytes);
    colo_checksum_reset(t->checksum);
    memset(&t->got, 0, sizeof(t->got));
    return true;
}

static bool on_hello(const ColoFrame *f, const uint8_t *in)
{
    ColoHello h;
    bool good = colo_wire_get_hello(in, f->length, &h) == COLO_WIRE_OK;

    colo_hello_clear(&h);
    return good;
}

static bool on_state(const ColoFrame *f, const uint8_t *in)
{
    g_autofree ColoBlockInfo *blocks = NULL;
    uint32_t count;

    return colo_wire_get_blocks(in, f->length, &blocks, &count) ==
           COLO_WIRE_OK;
}

/* False ends the conversation, as a malformed frame does. */
static bool on_frame(Toy *t, const ColoFrame *f, const uint8_t *in,
                     bool strict)
{
    ColoAnswer answer;
    ColoNotice notice;
    ColoOffer offer;
    ColoReply reply;
    uint32_t reason;
    bool paused;

    switch (f->type) {
    case COLO_MSG_HELLO:
    case COLO_MSG_READY:
        return on_hello(f, in);
    case COLO_MSG_REFUSE:
    case COLO_MSG_FAILED:
    case COLO_MSG_GOODBYE:
        return colo_wire_get_notice(in, f->length, &notice) == COLO_WIRE_OK;
    case COLO_MSG_START:
        return colo_wire_get_start(in, f->length, &paused) == COLO_WIRE_OK;
    case COLO_MSG_REQUEST:
        return colo_wire_get_request(in, f->length, &reason) == COLO_WIRE_OK;
    case COLO_MSG_DIRTY:
        return on_dirty(t, f, in);
    case COLO_MSG_REPLY:
        return colo_wire_get_reply(in, f->length, &reply) == COLO_WIRE_OK;
    case COLO_MSG_STATE:
        return on_state(f, in);
    case COLO_MSG_PAGES:
        return on_pages(t, f, in);
    case COLO_MSG_DEVICE:
        return on_device(t, f, in);
    case COLO_MSG_END:
        return on_end(t, f, in, strict);
    case COLO_MSG_OFFER:
        return colo_wire_get_offer(in, f->length, &offer) == COLO_WIRE_OK;
    case COLO_MSG_ANSWER:
        return colo_wire_get_answer(in, f->length, &answer) == COLO_WIRE_OK;
    case COLO_MSG_RECEIVED:
    case COLO_MSG_LOADED:
    case COLO_MSG_PING:
    case COLO_MSG_PONG:
        g_assert(f->length == 0);
        return true;
    case COLO_MSG_INVALID:
    case COLO_MSG__MAX:
        break;
    }
    g_assert_not_reached();
}

/* -------------------------------------------------------------- headers */

static void make_right(uint8_t *header, uint32_t sequence)
{
    const uint32_t magic = GUINT32_TO_BE(COLO_WIRE_MAGIC);
    const uint16_t version = GUINT16_TO_BE(COLO_WIRE_VERSION);
    uint32_t check;

    sequence = GUINT32_TO_BE(sequence);
    memcpy(header, &magic, 4);
    memcpy(header + 4, &version, 2);
    memcpy(header + 16, &sequence, 4);
    check = GUINT32_TO_BE(XXH32(header, 28, COLO_WIRE_MAGIC));
    memcpy(header + 28, &check, 4);
}

/* One frame; returns the bytes it took, 0 at the end or at an error. */
static size_t take_frame(Toy *t, const uint8_t *in, size_t size, bool strict)
{
    uint8_t header[COLO_WIRE_HEADER_BYTES];
    g_autofree uint8_t *payload = NULL;
    ColoFrame f;

    if (size < sizeof(header)) {
        return 0;
    }
    memcpy(header, in, sizeof(header));
    if (!strict) {
        make_right(header, t->sequence);
    }
    if (colo_wire_get_header(header, &f) != COLO_WIRE_OK ||
        f.sequence != t->sequence++ || f.length > size - sizeof(header)) {
        return 0;
    }
    /* a block of its own, so that reading past the payload is seen */
    payload = g_memdup2(in + sizeof(header), f.length);
    return on_frame(t, &f, payload, strict) ? sizeof(header) + f.length : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    size_t at = 1, taken;
    Toy t;

    if (size < 1) {
        return 0;
    }
    toy_init(&t);
    do {
        taken = take_frame(&t, in + at, size - at, in[0] == 0);
        at += taken;
    } while (taken > 0);
    toy_clear(&t);
    return 0;
}
