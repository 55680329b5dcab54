/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames and markers of a stream. The first byte says whether frames carry
 * the length of a vnet header, and how the rest is cut to pieces. However it
 * is cut the same comes out, and what came out, written again, is what went
 * in, up to a part that is not complete or the first nonsense. Whether the
 * rest of a frame is handed over or put to where it belongs is the same too.
 */
#include "colo/framer.h"
#include "fuzz.h"

static void write_item(GByteArray *out, bool vnet, const ColoFramerItem *item)
{
    uint8_t head[COLO_MARKER_BYTES];
    ColoNetFrame *f = item->frame;
    size_t bytes;

    if (!f) {
        g_assert(item->marker > COLO_MARKER_NONE);
        g_assert(item->marker < COLO_MARKER__MAX);
        colo_framer_put_marker(head, item->marker, item->epoch);
        g_byte_array_append(out, head, sizeof(head));
        return;
    }
    g_assert(item->marker == COLO_MARKER_NONE);
    g_assert(f->size <= COLO_PACKET_MAX_BYTES);
    g_assert(f->vnet_bytes <= (vnet ? COLO_VNET_MAX_BYTES : 0));
    bytes = colo_framer_put_head(head, vnet, f->vnet_bytes, f->size);
    g_byte_array_append(out, head, bytes);
    g_byte_array_append(out, f->data, f->vnet_bytes + f->size);
    colo_net_frame_free(f);
}

/* What of @in is the rest of a frame, put to where it belongs. */
static size_t feed_room(ColoFramer *fr, const uint8_t *in, size_t size)
{
    size_t bytes;
    uint8_t *room = colo_framer_room(fr, &bytes);

    bytes = MIN(bytes, size);
    if (bytes) {
        memcpy(room, in, bytes);
    }
    colo_framer_advance(fr, bytes);
    return bytes;
}

/* Feed pieces of @step, @step + 1, ... bytes; 0: all at once. */
static GByteArray *feed(bool vnet, const uint8_t *in, size_t size, size_t step,
                        bool direct, ColoFramerError *error)
{
    GByteArray *out = g_byte_array_new();
    ColoFramerItem item;
    ColoFramer fr;

    colo_framer_init(&fr, vnet);
    while (size > 0 && !fr.error) {
        size_t piece = step ? MIN(step++, size) : size;
        size_t done = direct ? feed_room(&fr, in, piece) : 0;
        size_t left = piece - done;
        const uint8_t *data = in + done;

        while (colo_framer_next(&fr, &data, &left, &item)) {
            write_item(out, vnet, &item);
        }
        g_assert(data == in + piece - left);
        g_assert(left == 0 || fr.error);
        in += piece;
        size -= piece;
    }
    *error = fr.error;
    colo_framer_destroy(&fr);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) whole = NULL;
    g_autoptr(GByteArray) pieces = NULL;
    g_autoptr(GByteArray) direct = NULL;
    ColoFramerError error, again;
    bool vnet = size > 0 && (in[0] & 1);

    if (size == 0) {
        return 0;
    }
    whole = feed(vnet, in + 1, size - 1, 0, false, &error);
    pieces = feed(vnet, in + 1, size - 1, 1 + (in[0] >> 1), false, &again);
    g_assert(error == again);
    fuzz_assert_same(pieces, whole->data, whole->len);
    direct = feed(vnet, in + 1, size - 1, 1 + (in[0] >> 1), true, &again);
    g_assert(error == again);
    fuzz_assert_same(direct, whole->data, whole->len);
    g_assert(whole->len < size);
    fuzz_assert_same(whole, in + 1, whole->len);
    return 0;
}
