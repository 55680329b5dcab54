/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: frames and epoch markers in a stream of bytes.
 *
 * The format of net filters on a chardev, as any QEMU has it: each frame is
 * its length (32 bits, big endian, vnet header included), with vnet_hdr_support
 * the length of the vnet header (32 bits), and the bytes. A length never has
 * its highest bits set there. Ours adds epoch markers, which a guest cannot
 * forge because they are no frames:
 *
 *     0xC0100001 (32 bits), type (32 bits), epoch (64 bits)
 *
 * A stream without markers is one of an old peer and parses all the same.
 */
#ifndef COLO_FRAMER_H
#define COLO_FRAMER_H

#include "colo/packet.h"

enum { COLO_MARKER_WORD = 0xC0100001u, COLO_MARKER_BYTES = 16 };

typedef enum ColoMarkerType {
    COLO_MARKER_NONE,
    COLO_MARKER_EPOCH,         /* what follows belongs to .epoch */
    COLO_MARKER_GAP,           /* frames were left out before this place */
    COLO_MARKER__MAX
} ColoMarkerType;

typedef enum ColoFramerError {
    COLO_FRAMER_OK,
    COLO_FRAMER_LENGTH,        /* 0 or more than a frame can have */
    COLO_FRAMER_VNET,          /* vnet header longer than the frame or known */
    COLO_FRAMER_MARKER,        /* unknown type of marker */
} ColoFramerError;
const char *colo_framer_error_text(ColoFramerError e);

/* What comes out: exactly one of the two. */
typedef struct ColoFramerItem {
    ColoNetFrame *frame;       /* the receiver's now; NULL: a marker */
    ColoMarkerType marker;
    uint64_t epoch;
} ColoFramerItem;

typedef struct ColoFramer {
    bool vnet;                 /* frames carry the length of a vnet header */
    ColoFramerError error;     /* stays; nothing more comes out */
    uint8_t head[COLO_MARKER_BYTES];
    uint32_t have;             /* bytes of head, then of the frame */
    uint32_t need;
    ColoNetFrame *frame;       /* being filled */
} ColoFramer;

void colo_framer_init(ColoFramer *fr, bool vnet);
void colo_framer_destroy(ColoFramer *fr);
/* The stream begins anew (a reconnect). */
void colo_framer_reset(ColoFramer *fr);
/*
 * Take bytes from *@data and advance it; true: *@item is one more item and
 * there may be more. False: all bytes are used, or fr->error.
 */
bool colo_framer_next(ColoFramer *fr, const uint8_t **data, size_t *size,
                      ColoFramerItem *item);

/*
 * Where the rest of a frame that has begun belongs, and in *@size how many
 * bytes that are; *@size is 0 if none has. Whoever puts some there himself
 * says so, and calls colo_framer_next() when it is all.
 */
uint8_t *colo_framer_room(ColoFramer *fr, size_t *size);
void colo_framer_advance(ColoFramer *fr, size_t bytes);

/* Bytes in front of a frame: returns how many were put into @out[8]. */
size_t colo_framer_put_head(uint8_t *out, bool vnet, uint32_t vnet_bytes,
                            uint32_t size);
void colo_framer_put_marker(uint8_t out[COLO_MARKER_BYTES],
                            ColoMarkerType type, uint64_t epoch);

#endif
