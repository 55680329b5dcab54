/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO wire format: frame header, names, bounds, and the text rule.
 *
 * Everything that is known about a message type before its payload is read
 * stands in one table: its name, the flags it may carry and the largest
 * payload. A header is believed only after its own checksum, so that a
 * stream that lost its place is told from a peer of another version.
 */
#include <xxhash.h>
#include "colo/wire.h"
#include "wire-bytes.h"

enum {
    HEADER_CHECKED_BYTES = COLO_WIRE_HEADER_BYTES - 4,
    STRING_MAX_BYTES = 1 + COLO_NAME_MAX_BYTES,
    BLOCKS_MAX_BYTES = 4 + COLO_BLOCKS_MAX * (STRING_MAX_BYTES + 8 + 4),
    HELLO_MAX_BYTES = 2 + 2 + 4 + COLO_KEY_BYTES + 2 * STRING_MAX_BYTES +
                      BLOCKS_MAX_BYTES,
    NOTICE_MAX_BYTES = 4 + 2 + COLO_TEXT_MAX_BYTES,
    DIRTY_MAX_BYTES = 4 + COLO_RUNS_PER_FRAME_MAX * COLO_WIRE_RUN_BYTES +
                      COLO_HASHES_PER_FRAME_MAX * COLO_HASH_BYTES,
    /* a run has at least one page, so no more runs than pages */
    PAGES_MAX_BYTES = 4 + COLO_PAGES_PER_FRAME_MAX *
                          (COLO_WIRE_RUN_BYTES + COLO_PAGE_MAX_BYTES),
};

static const struct {
    const char *name;
    uint32_t flags;
    uint32_t max_length;
} messages[COLO_MSG__MAX] = {
    [COLO_MSG_INVALID]  = { "INVALID", 0, 0 },
    [COLO_MSG_HELLO]    = { "HELLO", 0, HELLO_MAX_BYTES },
    [COLO_MSG_READY]    = { "READY", 0, HELLO_MAX_BYTES },
    [COLO_MSG_REFUSE]   = { "REFUSE", 0, NOTICE_MAX_BYTES },
    [COLO_MSG_START]    = { "START", 0, 4 },
    [COLO_MSG_REQUEST]  = { "REQUEST",
                             COLO_REQUEST_WANT_HASHES |
                             COLO_REQUEST_DISKS_DURABLE, 4 },
    [COLO_MSG_DIRTY]    = { "DIRTY", COLO_DIRTY_HAS_HASHES, DIRTY_MAX_BYTES },
    [COLO_MSG_REPLY]    = { "REPLY", 0, 12 },
    [COLO_MSG_STATE]    = { "STATE", COLO_STATE_GUEST_PAUSED,
                            BLOCKS_MAX_BYTES },
    [COLO_MSG_PAGES]    = { "PAGES", 0, PAGES_MAX_BYTES },
    [COLO_MSG_DEVICE]   = { "DEVICE", 0, COLO_DEVICE_FRAME_MAX_BYTES },
    [COLO_MSG_END]      = { "END", 0, 28 },
    [COLO_MSG_RECEIVED] = { "RECEIVED", 0, 0 },
    [COLO_MSG_LOADED]   = { "LOADED", 0, 0 },
    [COLO_MSG_FAILED]   = { "FAILED", 0, NOTICE_MAX_BYTES },
    [COLO_MSG_PING]     = { "PING", 0, 0 },
    [COLO_MSG_PONG]     = { "PONG", 0, 0 },
    [COLO_MSG_GOODBYE]  = { "GOODBYE", 0, NOTICE_MAX_BYTES },
    [COLO_MSG_OFFER]    = { "OFFER", 0, 8 + 8 + 8 + 4 + COLO_HASH_BYTES },
    [COLO_MSG_ANSWER]   = { "ANSWER", 0, 8 + 4 },
};

static bool msg_is_known(unsigned t)
{
    return t > COLO_MSG_INVALID && t < COLO_MSG__MAX;
}

const char *colo_msg_name(ColoMsgType t)
{
    return msg_is_known(t) ? messages[t].name : messages[0].name;
}

uint32_t colo_wire_max_length(ColoMsgType t)
{
    return msg_is_known(t) ? messages[t].max_length : 0;
}

const char *colo_wire_strerror(ColoWireError e)
{
    switch (e) {
    case COLO_WIRE_OK:
        return "no error";
    case COLO_WIRE_BAD_MAGIC:
        return "not a COLO frame (bad magic)";
    case COLO_WIRE_BAD_CHECK:
        return "frame header damaged (bad checksum)";
    case COLO_WIRE_BAD_VERSION:
        return "unsupported protocol version";
    case COLO_WIRE_BAD_TYPE:
        return "unknown message type";
    case COLO_WIRE_BAD_FLAGS:
        return "unknown flags";
    case COLO_WIRE_BAD_LENGTH:
        return "payload too long or too short";
    case COLO_WIRE_BAD_SEQUENCE:
        return "frame lost or repeated (bad sequence number)";
    case COLO_WIRE_BAD_STRING:
        return "invalid text";
    case COLO_WIRE_BAD_COUNT:
        return "count out of bounds";
    case COLO_WIRE_BAD_RUN:
        return "page run outside its RAM block or out of order";
    case COLO_WIRE_BAD_VALUE:
        return "value out of bounds";
    case COLO_WIRE_TRAILING:
        return "unexpected bytes after the payload";
    }
    return "unknown error";
}

static uint32_t header_check(const uint8_t *header)
{
    return XXH32(header, HEADER_CHECKED_BYTES, COLO_WIRE_MAGIC);
}

void colo_wire_put_header(uint8_t out[COLO_WIRE_HEADER_BYTES],
                          const ColoFrame *f)
{
    colo_store_u32(out, COLO_WIRE_MAGIC);
    colo_store_u16(out + 4, f->version);
    colo_store_u16(out + 6, f->type);
    colo_store_u64(out + 8, f->epoch);
    colo_store_u32(out + 16, f->sequence);
    colo_store_u32(out + 20, f->flags);
    colo_store_u32(out + 24, f->length);
    colo_store_u32(out + 28, header_check(out));
}

ColoWireError colo_wire_get_header(const uint8_t in[COLO_WIRE_HEADER_BYTES],
                                   ColoFrame *f)
{
    *f = (ColoFrame) { 0 };
    if (colo_load_u32(in) != COLO_WIRE_MAGIC) {
        return COLO_WIRE_BAD_MAGIC;
    }
    if (colo_load_u32(in + 28) != header_check(in)) {
        return COLO_WIRE_BAD_CHECK;
    }
    f->version = colo_load_u16(in + 4);
    f->type = colo_load_u16(in + 6);
    f->epoch = colo_load_u64(in + 8);
    f->sequence = colo_load_u32(in + 16);
    f->flags = colo_load_u32(in + 20);
    f->length = colo_load_u32(in + 24);
    if (f->version != COLO_WIRE_VERSION) {
        return COLO_WIRE_BAD_VERSION;
    }
    if (!msg_is_known(f->type)) {
        return COLO_WIRE_BAD_TYPE;
    }
    if (f->flags & ~messages[f->type].flags) {
        return COLO_WIRE_BAD_FLAGS;
    }
    if (f->length > messages[f->type].max_length) {
        return COLO_WIRE_BAD_LENGTH;
    }
    return COLO_WIRE_OK;
}

/* ---------------------------------------------------------------- text */

bool colo_text_is_valid(const uint8_t *text, size_t size)
{
    size_t i;

    for (i = 0; i < size; i++) {
        if (text[i] < 0x20 || text[i] == 0x7f) {
            return false;
        }
    }
    return g_utf8_validate((const char *)text, size, NULL);
}

void colo_get_text(ColoReader *r, size_t size, char *out)
{
    const uint8_t *p = colo_reader_take(r, size);

    out[0] = '\0';
    if (!p) {
        return;
    }
    if (!colo_text_is_valid(p, size)) {
        colo_reader_fail(r, COLO_WIRE_BAD_STRING);
        return;
    }
    memcpy(out, p, size);
    out[size] = '\0';
}
