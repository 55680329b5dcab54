/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: reading and writing the bytes of a payload. Private to wire*.c.
 *
 * A reader remembers its first error and from then on yields zeros and
 * consumes nothing, so that a decoder reads all its fields in a row and asks
 * once, at the end, whether they were there.
 */
#ifndef COLO_WIRE_BYTES_H
#define COLO_WIRE_BYTES_H

#include <string.h>
#include "colo/wire.h"

typedef struct ColoReader {
    const uint8_t *at;
    size_t left;
    ColoWireError error;
} ColoReader;

static inline ColoReader colo_reader(const uint8_t *in, size_t size)
{
    return (ColoReader) { .at = in, .left = size, .error = COLO_WIRE_OK };
}

/* The first error counts; a reader with an error is at its end. */
static inline void colo_reader_fail(ColoReader *r, ColoWireError error)
{
    if (r->error == COLO_WIRE_OK) {
        r->error = error;
    }
    r->left = 0;
}

/* The next @size bytes, or NULL with BAD_LENGTH. */
static inline const uint8_t *colo_reader_take(ColoReader *r, size_t size)
{
    const uint8_t *p = r->at;

    if (r->error != COLO_WIRE_OK || size > r->left) {
        colo_reader_fail(r, COLO_WIRE_BAD_LENGTH);
        return NULL;
    }
    r->at += size;
    r->left -= size;
    return p;
}

/* The verdict on a payload that must have been read to its last byte. */
static inline ColoWireError colo_reader_finish(ColoReader *r)
{
    if (r->left > 0) {
        colo_reader_fail(r, COLO_WIRE_TRAILING);
    }
    return r->error;
}

static inline uint16_t colo_load_u16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT16_FROM_BE(v);
}

static inline uint32_t colo_load_u32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_BE(v);
}

static inline uint64_t colo_load_u64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT64_FROM_BE(v);
}

static inline void colo_store_u16(uint8_t *p, uint16_t v)
{
    v = GUINT16_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static inline void colo_store_u32(uint8_t *p, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static inline void colo_store_u64(uint8_t *p, uint64_t v)
{
    v = GUINT64_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint8_t colo_get_u8(ColoReader *r)
{
    const uint8_t *p = colo_reader_take(r, 1);

    return p ? *p : 0;
}

static inline uint16_t colo_get_u16(ColoReader *r)
{
    const uint8_t *p = colo_reader_take(r, 2);

    return p ? colo_load_u16(p) : 0;
}

static inline uint32_t colo_get_u32(ColoReader *r)
{
    const uint8_t *p = colo_reader_take(r, 4);

    return p ? colo_load_u32(p) : 0;
}

static inline uint64_t colo_get_u64(ColoReader *r)
{
    const uint8_t *p = colo_reader_take(r, 8);

    return p ? colo_load_u64(p) : 0;
}

static inline void colo_put_u8(GByteArray *out, uint8_t v)
{
    g_byte_array_append(out, &v, 1);
}

static inline void colo_put_u16(GByteArray *out, uint16_t v)
{
    uint8_t b[2];

    colo_store_u16(b, v);
    g_byte_array_append(out, b, sizeof(b));
}

static inline void colo_put_u32(GByteArray *out, uint32_t v)
{
    uint8_t b[4];

    colo_store_u32(b, v);
    g_byte_array_append(out, b, sizeof(b));
}

static inline void colo_put_u64(GByteArray *out, uint64_t v)
{
    uint8_t b[8];

    colo_store_u64(b, v);
    g_byte_array_append(out, b, sizeof(b));
}

/*
 * The text rule of the wire: valid UTF-8 without control characters, so that
 * what a peer says can go to a log, a terminal or JSON as it is.
 */
bool colo_text_is_valid(const uint8_t *text, size_t size);

/*
 * Reads @size bytes of text into @out (room for @size + 1) and ends it with
 * NUL; fails with BAD_STRING when the text rule is broken.
 */
void colo_get_text(ColoReader *r, size_t size, char *out);

#endif
