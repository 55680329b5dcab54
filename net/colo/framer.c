/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: frames and epoch markers in a stream of bytes.
 *
 * Two phases take turns. The head is collected in .head: four bytes tell a
 * length from a marker, and only then is it known how many more belong to
 * it. Then the frame's memory is got once, in its size, and filled with what
 * each call brings, in pieces as large as they come. A frame is limited
 * before it is allocated, so a peer can make us hold one frame and no more.
 *
 * An error is the end of the stream: behind a length that makes no sense
 * nobody knows where the next frame begins.
 */
#include <glib.h>
#include <string.h>
#include "colo/framer.h"

enum {
    WORD_BYTES = 4,
    FRAME_MAX_BYTES = COLO_PACKET_MAX_BYTES + COLO_VNET_MAX_BYTES,
};

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_BE(v);
}

static void store_u32(uint8_t *p, uint32_t v)
{
    v = GUINT32_TO_BE(v);
    memcpy(p, &v, sizeof(v));
}

const char *colo_framer_error_text(ColoFramerError e)
{
    switch (e) {
    case COLO_FRAMER_OK:
        return "no error";
    case COLO_FRAMER_LENGTH:
        return "impossible length of a frame: is this a stream of a net "
               "filter, and does vnet_hdr_support agree at both ends?";
    case COLO_FRAMER_VNET:
        return "impossible length of a vnet header: does vnet_hdr_support "
               "agree at both ends?";
    case COLO_FRAMER_MARKER:
        return "unknown type of marker: is the peer a newer version?";
    }
    return "unknown error";
}

static void expect_head(ColoFramer *fr)
{
    fr->have = 0;
    fr->need = WORD_BYTES;
}

void colo_framer_init(ColoFramer *fr, bool vnet)
{
    *fr = (ColoFramer) { .vnet = vnet };
    expect_head(fr);
}

void colo_framer_destroy(ColoFramer *fr)
{
    colo_net_frame_free(fr->frame);
    fr->frame = NULL;
}

void colo_framer_reset(ColoFramer *fr)
{
    colo_framer_destroy(fr);
    colo_framer_init(fr, fr->vnet);
}

/* True: the present part is complete. */
static bool fill(ColoFramer *fr, uint8_t *out, const uint8_t **data,
                 size_t *size)
{
    size_t bytes = MIN(fr->need - fr->have, *size);

    if (bytes > 0) {
        memcpy(out + fr->have, *data, bytes);
        *data += bytes;
        *size -= bytes;
        fr->have += bytes;
    }
    return fr->have == fr->need;
}

static void expect_frame(ColoFramer *fr, uint32_t bytes, uint32_t vnet_bytes)
{
    if (vnet_bytes > COLO_VNET_MAX_BYTES || vnet_bytes > bytes) {
        fr->error = COLO_FRAMER_VNET;
    } else if (bytes - vnet_bytes > COLO_PACKET_MAX_BYTES) {
        fr->error = COLO_FRAMER_LENGTH;
    } else {
        fr->frame = colo_net_frame_new(vnet_bytes, bytes - vnet_bytes);
        fr->have = 0;
        fr->need = bytes;
    }
}

/*
 * The head is as long as it was known to be: know more. True: it was a
 * marker, now in @item.
 */
static bool head_filled(ColoFramer *fr, ColoFramerItem *item)
{
    uint32_t word = load_u32(fr->head);

    if (word == COLO_MARKER_WORD) {
        if (fr->have < COLO_MARKER_BYTES) {
            fr->need = COLO_MARKER_BYTES;
            return false;
        }
        *item = (ColoFramerItem) {
            .marker = load_u32(fr->head + 4),
            .epoch = (uint64_t)load_u32(fr->head + 8) << 32 |
                     load_u32(fr->head + 12),
        };
        expect_head(fr);
        return true;
    }
    if (word == 0 || word > FRAME_MAX_BYTES) {
        fr->error = COLO_FRAMER_LENGTH;
    } else if (fr->vnet && fr->have == WORD_BYTES) {
        fr->need = 2 * WORD_BYTES;
    } else {
        expect_frame(fr, word, fr->vnet ? load_u32(fr->head + 4) : 0);
    }
    return false;
}

bool colo_framer_next(ColoFramer *fr, const uint8_t **data, size_t *size,
                      ColoFramerItem *item)
{
    while (!fr->error && !fr->frame) {
        if (!fill(fr, fr->head, data, size)) {
            return false;
        }
        if (head_filled(fr, item)) {
            if (item->marker > COLO_MARKER_NONE &&
                item->marker < COLO_MARKER__MAX) {
                return true;
            }
            fr->error = COLO_FRAMER_MARKER;
        }
    }
    if (fr->error || !fill(fr, fr->frame->data, data, size)) {
        return false;
    }
    *item = (ColoFramerItem) { .frame = fr->frame };
    fr->frame = NULL;
    expect_head(fr);
    return true;
}

uint8_t *colo_framer_room(ColoFramer *fr, size_t *size)
{
    if (!fr->frame) {
        *size = 0;
        return NULL;
    }
    *size = fr->need - fr->have;
    return fr->frame->data + fr->have;
}

void colo_framer_advance(ColoFramer *fr, size_t bytes)
{
    g_assert(bytes == 0 || (fr->frame && bytes <= fr->need - fr->have));
    fr->have += bytes;
}

size_t colo_framer_put_head(uint8_t *out, bool vnet, uint32_t vnet_bytes,
                            uint32_t size)
{
    store_u32(out, vnet_bytes + size);
    if (!vnet) {
        return WORD_BYTES;
    }
    store_u32(out + WORD_BYTES, vnet_bytes);
    return 2 * WORD_BYTES;
}

void colo_framer_put_marker(uint8_t out[COLO_MARKER_BYTES],
                            ColoMarkerType type, uint64_t epoch)
{
    store_u32(out, COLO_MARKER_WORD);
    store_u32(out + 4, type);
    store_u32(out + 8, epoch >> 32);
    store_u32(out + 12, epoch);
}
