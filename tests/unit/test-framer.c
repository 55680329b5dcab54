/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames and markers out of a stream: however it is cut into pieces, the same
 * comes out; the first nonsense is the end.
 */
#include <string.h>
#include <glib.h>
#include "colo/framer.h"

typedef struct Stream {
    bool vnet;
    GByteArray *bytes;
} Stream;

static void put_frame(Stream *s, uint32_t vnet_bytes, uint32_t size,
                      uint8_t fill)
{
    uint8_t head[8];
    size_t head_bytes = colo_framer_put_head(head, s->vnet, vnet_bytes, size);
    g_autofree uint8_t *body = g_malloc(vnet_bytes + size);

    memset(body, 0xbb, vnet_bytes);
    memset(body + vnet_bytes, fill, size);
    g_byte_array_append(s->bytes, head, head_bytes);
    g_byte_array_append(s->bytes, body, vnet_bytes + size);
}

static void put_marker(Stream *s, unsigned type, uint64_t epoch)
{
    uint8_t marker[COLO_MARKER_BYTES];

    colo_framer_put_marker(marker, type, epoch);
    g_byte_array_append(s->bytes, marker, sizeof(marker));
}

static void expect_frame(const ColoFramerItem *item, uint32_t vnet_bytes,
                         uint32_t size, uint8_t fill)
{
    uint32_t i;

    g_assert_nonnull(item->frame);
    g_assert_cmpint(item->marker, ==, COLO_MARKER_NONE);
    g_assert_cmpuint(item->frame->vnet_bytes, ==, vnet_bytes);
    g_assert_cmpuint(item->frame->size, ==, size);
    for (i = 0; i < vnet_bytes; i++) {
        g_assert_cmpuint(item->frame->data[i], ==, 0xbb);
    }
    for (i = 0; i < size; i++) {
        g_assert_cmpuint(colo_net_frame_eth(item->frame)[i], ==, fill);
    }
    colo_net_frame_free(item->frame);
}

static void expect_marker(const ColoFramerItem *item, ColoMarkerType type,
                          uint64_t epoch)
{
    g_assert_null(item->frame);
    g_assert_cmpint(item->marker, ==, type);
    g_assert_cmpuint(item->epoch, ==, epoch);
}

/* The @n-th item of what conversation() put. */
static void expect_nth(const Stream *s, unsigned n, const ColoFramerItem *item)
{
    const uint32_t vnet_bytes = s->vnet ? 12 : 0;

    switch (n) {
    case 0:
        expect_marker(item, COLO_MARKER_EPOCH, 1);
        break;
    case 1:
        expect_frame(item, vnet_bytes, 60, 1);
        break;
    case 2:
        expect_frame(item, vnet_bytes, 1, 2);
        break;
    case 3:
        expect_marker(item, COLO_MARKER_GAP, UINT64_MAX);
        break;
    case 4:
        expect_marker(item, COLO_MARKER_EPOCH, 0x0102030405060708ull);
        break;
    case 5:
        expect_frame(item, s->vnet ? 20 : 0, COLO_PACKET_MAX_BYTES, 0xc0);
        break;
    default:
        g_assert_not_reached();
    }
}

enum { CONVERSATION_ITEMS = 6 };

static Stream conversation(bool vnet)
{
    Stream s = { .vnet = vnet, .bytes = g_byte_array_new() };
    const uint32_t vnet_bytes = vnet ? 12 : 0;

    put_marker(&s, COLO_MARKER_EPOCH, 1);
    put_frame(&s, vnet_bytes, 60, 1);
    put_frame(&s, vnet_bytes, 1, 2);
    put_marker(&s, COLO_MARKER_GAP, UINT64_MAX);
    put_marker(&s, COLO_MARKER_EPOCH, 0x0102030405060708ull);
    put_frame(&s, vnet ? 20 : 0, COLO_PACKET_MAX_BYTES, 0xc0);
    return s;
}

/* Feed @size bytes; each piece is its own block, so that ASan sees overruns. */
static unsigned feed(ColoFramer *fr, const Stream *s, const uint8_t *in,
                     size_t size, unsigned n)
{
    g_autofree uint8_t *piece = g_malloc(MAX(size, 1));
    const uint8_t *data = piece;
    size_t left = size;
    ColoFramerItem item;

    memcpy(piece, in, size);
    while (colo_framer_next(fr, &data, &left, &item)) {
        expect_nth(s, n++, &item);
    }
    g_assert_cmpint(fr->error, ==, COLO_FRAMER_OK);
    g_assert_cmpuint(left, ==, 0);
    g_assert_true(data == piece + size);
    return n;
}

static void test_pieces(gconstpointer vnet)
{
    const size_t sizes[] = { 1, 2, 3, 5, 7, 16, 61, 1000, 65536, 1 << 20 };
    Stream s = conversation(GPOINTER_TO_INT(vnet));
    ColoFramer fr;
    unsigned i, n;
    size_t at;

    colo_framer_init(&fr, s.vnet);
    for (i = 0; i < G_N_ELEMENTS(sizes); i++) {
        n = 0;
        for (at = 0; at < s.bytes->len; at += sizes[i]) {
            n = feed(&fr, &s, s.bytes->data + at,
                     MIN(sizes[i], s.bytes->len - at), n);
        }
        g_assert_cmpuint(n, ==, CONVERSATION_ITEMS);
    }
    colo_framer_destroy(&fr);
    g_byte_array_unref(s.bytes);
}

/* The rest of a frame put to where it belongs, in steps of any size. */
static void test_room(gconstpointer vnet)
{
    const size_t sizes[] = { 1, 3, 16, 61, 1000, 65536, 1 << 20 };
    Stream s = conversation(GPOINTER_TO_INT(vnet));
    ColoFramer fr;

    colo_framer_init(&fr, s.vnet);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        unsigned n = 0, direct = 0;
        size_t at = 0;

        while (at < s.bytes->len) {
            size_t size = MIN(sizes[i], s.bytes->len - at), room_bytes;
            uint8_t *room = colo_framer_room(&fr, &room_bytes);
            size_t bytes = MIN(size, room_bytes);

            g_assert_true(!room == !room_bytes);
            if (bytes) {
                memcpy(room, s.bytes->data + at, bytes);
                colo_framer_advance(&fr, bytes);
                direct++;
            }
            n = feed(&fr, &s, s.bytes->data + at + bytes, size - bytes, n);
            at += size;
        }
        g_assert_cmpuint(n, ==, CONVERSATION_ITEMS);
        g_assert_true(direct > 0 || sizes[i] > COLO_PACKET_MAX_BYTES);
    }
    colo_framer_destroy(&fr);
    g_byte_array_unref(s.bytes);
}

/* Cut at every place into two, begin anew in the middle of anything. */
static void test_cuts(gconstpointer vnet)
{
    Stream s = conversation(GPOINTER_TO_INT(vnet));
    ColoFramer fr;
    size_t at;

    colo_framer_init(&fr, s.vnet);
    for (at = 0; at < 240; at++) {
        unsigned n = feed(&fr, &s, s.bytes->data, at, 0);

        n = feed(&fr, &s, s.bytes->data + at, s.bytes->len - at, n);
        g_assert_cmpuint(n, ==, CONVERSATION_ITEMS);
        feed(&fr, &s, s.bytes->data, at, 0);
        colo_framer_reset(&fr);
        g_assert_cmpint(fr.vnet, ==, s.vnet);
    }
    colo_framer_destroy(&fr);
    g_byte_array_unref(s.bytes);
}

static void test_bytes(void)
{
    static const uint8_t marker[] = {
        0xc0, 0x10, 0, 1, 0, 0, 0, 1, 0xa1, 2, 3, 4, 5, 6, 7, 0xa8,
    };
    static const uint8_t plain[] = { 0, 0, 0, 72 };
    static const uint8_t vnet[] = { 0, 1, 0, 12, 0, 0, 0, 12 };
    uint8_t out[COLO_MARKER_BYTES];

    colo_framer_put_marker(out, COLO_MARKER_EPOCH, 0xa1020304050607a8ull);
    g_assert_cmpmem(out, sizeof(out), marker, sizeof(marker));
    g_assert_cmpuint(colo_framer_put_head(out, false, 12, 60), ==, 4);
    g_assert_cmpmem(out, 4, plain, sizeof(plain));
    g_assert_cmpuint(colo_framer_put_head(out, true, 12, 65536), ==, 8);
    g_assert_cmpmem(out, 8, vnet, sizeof(vnet));
}

/* A frame of nothing but its vnet header is odd, but a guest may send it. */
static void test_only_vnet(void)
{
    Stream s = { .vnet = true, .bytes = g_byte_array_new() };
    const uint8_t *data;
    size_t size;
    ColoFramer fr;
    ColoFramerItem item;

    put_frame(&s, 12, 0, 0);
    data = s.bytes->data;
    size = s.bytes->len;
    colo_framer_init(&fr, true);
    g_assert_true(colo_framer_next(&fr, &data, &size, &item));
    expect_frame(&item, 12, 0, 0);
    g_byte_array_unref(s.bytes);
}

static const struct {
    uint8_t bytes[16];
    uint8_t size;
    bool vnet;
    ColoFramerError error;
} bad[] = {
    { { 0, 0, 0, 0 }, 4, false, COLO_FRAMER_LENGTH },
    { { 0, 0, 0, 0 }, 4, true, COLO_FRAMER_LENGTH },
    { { 0, 1, 0, 65 }, 4, false, COLO_FRAMER_LENGTH },
    { { 0, 1, 0, 85 }, 4, true, COLO_FRAMER_LENGTH },
    { { 0, 1, 0, 84, 0, 0, 0, 19 }, 8, true, COLO_FRAMER_LENGTH },
    { { 0xc0, 0x10, 0, 2 }, 4, false, COLO_FRAMER_LENGTH },
    { { 0xff, 0xff, 0xff, 0xff }, 4, false, COLO_FRAMER_LENGTH },
    { { 0, 0, 0, 60, 0, 0, 0, 21 }, 8, true, COLO_FRAMER_VNET },
    { { 0, 0, 0, 60, 0x80, 0, 0, 12 }, 8, true, COLO_FRAMER_VNET },
    { { 0, 0, 0, 11, 0, 0, 0, 12 }, 8, true, COLO_FRAMER_VNET },
    { { 0xc0, 0x10, 0, 1, 0, 0, 0, 0 }, 16, false, COLO_FRAMER_MARKER },
    { { 0xc0, 0x10, 0, 1, 0, 0, 0, 3 }, 16, true, COLO_FRAMER_MARKER },
    { { 0xc0, 0x10, 0, 1, 0xff, 0, 0, 1 }, 16, false, COLO_FRAMER_MARKER },
};

/* The error comes with the byte that makes it one, and stays. */
static void test_errors(void)
{
    unsigned i, b;

    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        ColoFramer fr;
        ColoFramerItem item;

        colo_framer_init(&fr, bad[i].vnet);
        for (b = 0; b < bad[i].size; b++) {
            const uint8_t *data = &bad[i].bytes[b];
            size_t size = 1;

            g_assert_cmpint(fr.error, ==, COLO_FRAMER_OK);
            g_assert_false(colo_framer_next(&fr, &data, &size, &item));
        }
        g_assert_cmpint(fr.error, ==, bad[i].error);
        for (b = 0; b < 3; b++) {
            const uint8_t *data = bad[i].bytes;
            size_t size = 16;

            g_assert_false(colo_framer_next(&fr, &data, &size, &item));
            g_assert_cmpuint(size, ==, 16);
        }
        g_assert_null(fr.frame);
        colo_framer_reset(&fr);
        g_assert_cmpint(fr.error, ==, COLO_FRAMER_OK);
        colo_framer_destroy(&fr);
    }
}

static void test_error_texts(void)
{
    const ColoFramerError last = COLO_FRAMER_MARKER;
    unsigned e, other;

    for (e = COLO_FRAMER_OK; e <= last + 1; e++) {
        g_assert_cmpuint(strlen(colo_framer_error_text(e)), >, 0);
        for (other = COLO_FRAMER_OK; other < e; other++) {
            g_assert_cmpstr(colo_framer_error_text(e), !=,
                            colo_framer_error_text(other));
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/framer/pieces/plain", GINT_TO_POINTER(false),
                         test_pieces);
    g_test_add_data_func("/framer/pieces/vnet", GINT_TO_POINTER(true),
                         test_pieces);
    g_test_add_data_func("/framer/room/plain", GINT_TO_POINTER(false),
                         test_room);
    g_test_add_data_func("/framer/room/vnet", GINT_TO_POINTER(true),
                         test_room);
    g_test_add_data_func("/framer/cuts/plain", GINT_TO_POINTER(false),
                         test_cuts);
    g_test_add_data_func("/framer/cuts/vnet", GINT_TO_POINTER(true),
                         test_cuts);
    g_test_add_func("/framer/bytes", test_bytes);
    g_test_add_func("/framer/only-vnet", test_only_vnet);
    g_test_add_func("/framer/errors", test_errors);
    g_test_add_func("/framer/error-texts", test_error_texts);
    return g_test_run();
}
