/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the wire format of the checkpoint stream, version 1.
 *
 * One frame header for both directions, big-endian:
 *
 *   byte  0  u32  magic     0x434F4C4F "COLO"
 *         4  u16  version   of the format, 1
 *         6  u16  type      ColoMsgType, 0 is invalid
 *         8  u64  epoch     the checkpoint this frame belongs to, 0: none
 *        16  u32  sequence  counts the frames of this direction from 0
 *        20  u32  flags     per type, unknown bits are an error
 *        24  u32  length    payload bytes that follow the header
 *        28  u32  check     XXH32(bytes 0..27, seed = magic)
 *
 * Payloads are bounded per type (colo_wire_max_length). All decoders take
 * (bytes, length), never read beyond, and either fill a validated view or
 * return an error by name. Strings are u8/u16 length + bytes: valid UTF-8
 * without control characters.
 *
 * Direction, in order of use (P primary, S secondary, n epoch):
 *
 *   P HELLO            S READY | REFUSE          P START(1)
 *   P REQUEST(n)       S DIRTY(n)* REPLY(n)
 *   P STATE(n) PAGES(n)* DEVICE(n)* END(n)
 *   S RECEIVED(n)      S LOADED(n) | FAILED(n)
 *   between checkpoints, with COLO_FEATURE_OFFER: P OFFER*, each answered by
 *   S ANSWER, in any order, before the REPLY to the REQUEST that follows
 *   either PING, answered by PONG, when nothing else came for a while
 *   either GOODBYE
 */
#ifndef COLO_WIRE_H
#define COLO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <glib.h>
#include "colo/limits.h"

#define COLO_WIRE_MAGIC   0x434F4C4Fu
#define COLO_WIRE_VERSION 1
#define COLO_WIRE_HEADER_BYTES 32

/* Numbers are the wire's: never reuse, never reorder. */
typedef enum ColoMsgType {
    COLO_MSG_INVALID = 0,
    COLO_MSG_HELLO = 1,
    COLO_MSG_READY = 2,
    COLO_MSG_REFUSE = 3,
    COLO_MSG_START = 4,
    COLO_MSG_REQUEST = 5,
    COLO_MSG_DIRTY = 6,
    COLO_MSG_REPLY = 7,
    COLO_MSG_STATE = 8,
    COLO_MSG_PAGES = 9,
    COLO_MSG_DEVICE = 10,
    COLO_MSG_END = 11,
    COLO_MSG_RECEIVED = 12,
    COLO_MSG_LOADED = 13,
    COLO_MSG_FAILED = 14,
    COLO_MSG_PING = 15,
    COLO_MSG_PONG = 16,
    COLO_MSG_GOODBYE = 17,
    COLO_MSG_OFFER = 18,
    COLO_MSG_ANSWER = 19,
    COLO_MSG__MAX
} ColoMsgType;

/* Flags by type. */
#define COLO_REQUEST_WANT_HASHES  (1u << 0)  /* REQUEST */
#define COLO_REQUEST_DISKS_DURABLE (1u << 1) /* REQUEST: all disk writes before
                                              * the cut of the present epoch
                                              * are durable on both sides */
#define COLO_DIRTY_HAS_HASHES     (1u << 0)  /* DIRTY */
#define COLO_STATE_GUEST_PAUSED   (1u << 0)  /* STATE: S must not run it */

typedef enum ColoWireError {
    COLO_WIRE_OK = 0,
    COLO_WIRE_BAD_MAGIC,
    COLO_WIRE_BAD_CHECK,
    COLO_WIRE_BAD_VERSION,
    COLO_WIRE_BAD_TYPE,
    COLO_WIRE_BAD_FLAGS,
    COLO_WIRE_BAD_LENGTH,      /* over the type's bound, or payload short */
    COLO_WIRE_BAD_SEQUENCE,
    COLO_WIRE_BAD_STRING,
    COLO_WIRE_BAD_COUNT,       /* a count over its bound or zero */
    COLO_WIRE_BAD_RUN,         /* a run empty, outside its block, or out of
                                * order */
    COLO_WIRE_BAD_VALUE,       /* an enum or size that makes no sense */
    COLO_WIRE_TRAILING,        /* bytes left over after the payload */
} ColoWireError;

typedef struct ColoFrame {
    uint16_t version;
    ColoMsgType type;
    uint64_t epoch;
    uint32_t sequence;
    uint32_t flags;
    uint32_t length;
} ColoFrame;

const char *colo_msg_name(ColoMsgType t);
const char *colo_wire_strerror(ColoWireError e);
uint32_t colo_wire_max_length(ColoMsgType t);

void colo_wire_put_header(uint8_t out[COLO_WIRE_HEADER_BYTES],
                          const ColoFrame *f);
/* Checks everything but the sequence, which the caller counts. A version
 * other than ours is BAD_VERSION but @f is filled, so that it can be named;
 * its type, flags and length are then not checked. */
ColoWireError colo_wire_get_header(const uint8_t in[COLO_WIRE_HEADER_BYTES],
                                   ColoFrame *f);

/* -- RAM block table: HELLO and STATE -------------------------------- */

typedef struct ColoBlockInfo {
    char name[COLO_NAME_MAX_BYTES + 1];
    uint64_t used_bytes;
    uint32_t page_bytes;       /* unit of tracking: the target page size */
} ColoBlockInfo;

/* -- HELLO (P) and READY (S) ------------------------------------------ */

typedef struct ColoHello {
    uint16_t min_version;      /* oldest format the sender can speak */
    uint16_t max_version;
    uint32_t features;         /* COLO_FEATURE_*, READY: the common ones */
    uint8_t key[COLO_KEY_BYTES];             /* HELLO only, READY: zero */
    char build[COLO_NAME_MAX_BYTES + 1];     /* QEMU version and package */
    char machine[COLO_NAME_MAX_BYTES + 1];   /* e.g. pc-q35-10.0 */
    uint32_t block_count;
    ColoBlockInfo *blocks;     /* owned; colo_hello_clear(). READY may have
                                * none */
} ColoHello;

#define COLO_FEATURE_PAGE_HASH (1u << 0)
#define COLO_FEATURE_OFFER     (1u << 1)
#define COLO_FEATURES_ALL      (COLO_FEATURE_PAGE_HASH | COLO_FEATURE_OFFER)

void colo_hello_clear(ColoHello *h);
/* At most COLO_BLOCKS_MAX blocks: the caller refuses a guest with more. */
void colo_wire_put_hello(GByteArray *out, const ColoHello *h);
/* @h need not be initialized; on error it is cleared. */
ColoWireError colo_wire_get_hello(const uint8_t *in, size_t size,
                                  ColoHello *h);
/* Common version in *@version, or false. */
bool colo_wire_negotiate(const ColoHello *ours, const ColoHello *theirs,
                         uint16_t *version, uint32_t *features);

/* -- REFUSE, FAILED, GOODBYE ------------------------------------------ */

typedef struct ColoNotice {
    uint32_t cause;            /* ColoCause of machine.h */
    char text[COLO_TEXT_MAX_BYTES + 1];
} ColoNotice;

/* Text that is too long is cut, text that is not valid is made so. */
void colo_wire_put_notice(GByteArray *out, uint32_t cause, const char *text);
ColoWireError colo_wire_get_notice(const uint8_t *in, size_t size,
                                   ColoNotice *n);

/* -- REQUEST ----------------------------------------------------------- */

/* payload: u32 reason (ColoReason of policy.h) */
void colo_wire_put_request(GByteArray *out, uint32_t reason);
ColoWireError colo_wire_get_request(const uint8_t *in, size_t size,
                                    uint32_t *reason);

/* -- DIRTY (S) and the head of PAGES (P): runs of pages ---------------- */

typedef struct ColoRun {
    uint32_t block;            /* index in the table of HELLO/STATE */
    uint32_t count;            /* pages, > 0 */
    uint64_t first;            /* page number within the block */
} ColoRun;

#define COLO_WIRE_RUN_BYTES 16

/*
 * DIRTY payload: u32 run_count, runs, then with HAS_HASHES one hash of 16
 * bytes for each page of each run, in order.
 * PAGES payload: u32 run_count, runs, then the data of each page in order.
 * Both start with the same head; runs are in ascending (block, first) order
 * without overlap inside one frame.
 */
/* 1 to COLO_RUNS_PER_FRAME_MAX runs. */
void colo_wire_put_runs(GByteArray *out, const ColoRun *runs,
                        uint32_t run_count);
/*
 * Decode the head. @page_counts[i] is the number of pages of block i. Fills
 * @runs (room for COLO_RUNS_PER_FRAME_MAX), *@run_count, *@page_count and
 * *@head_bytes. The total of pages is bounded by @page_count_max.
 */
ColoWireError colo_wire_get_runs(const uint8_t *in, size_t size,
                                 const uint64_t *page_counts,
                                 uint32_t block_count,
                                 uint64_t page_count_max, ColoRun *runs,
                                 uint32_t *run_count, uint64_t *page_count,
                                 size_t *head_bytes);
/*
 * After get_runs(): do exactly @page_count units of @unit_bytes (hashes or
 * pages) follow the head in a payload of @size bytes?
 */
ColoWireError colo_wire_check_tail(size_t size, size_t head_bytes,
                                   uint64_t page_count, uint32_t unit_bytes);

/* -- REPLY (S) ---------------------------------------------------------- */

typedef struct ColoReply {
    uint64_t dirty_pages;      /* told in the DIRTY frames of this epoch */
    uint32_t dirty_frames;
} ColoReply;

void colo_wire_put_reply(GByteArray *out, const ColoReply *r);
ColoWireError colo_wire_get_reply(const uint8_t *in, size_t size,
                                  ColoReply *r);

/* -- STATE (P): the block table as it is now ---------------------------- */

void colo_wire_put_blocks(GByteArray *out, const ColoBlockInfo *blocks,
                          uint32_t block_count);
/* At least one block. *@blocks is allocated with g_new; free with g_free. */
ColoWireError colo_wire_get_blocks(const uint8_t *in, size_t size,
                                   ColoBlockInfo **blocks,
                                   uint32_t *block_count);

/* -- END (P) ------------------------------------------------------------ */

typedef struct ColoEnd {
    uint64_t page_count;       /* pages sent in PAGES frames */
    uint64_t device_bytes;     /* bytes sent in DEVICE frames */
    uint32_t frame_count;      /* PAGES and DEVICE frames */
    uint64_t checksum;         /* XXH3-64 of all their payloads in order */
} ColoEnd;

void colo_wire_put_end(GByteArray *out, const ColoEnd *e);
ColoWireError colo_wire_get_end(const uint8_t *in, size_t size, ColoEnd *e);

/* -- OFFER (P) and ANSWER (S) ------------------------------------------- */

/*
 * The primary's guest writes @hash's data to a disk. A secondary whose guest
 * has written the same need not be sent it: it accepts, which stands for
 * having received the write.
 */
typedef struct ColoOffer {
    uint64_t id;               /* of the offer, new for each in a session */
    uint64_t disk;             /* the same number on both sides, not 0 */
    uint64_t offset;           /* bytes, on the disk */
    uint32_t bytes;            /* COLO_OFFER_MIN_BYTES to _MAX_BYTES */
    uint8_t hash[COLO_HASH_BYTES]; /* keyed, of these bytes */
} ColoOffer;

typedef struct ColoAnswer {
    uint64_t id;               /* of the offer */
    bool is_accepted;          /* else the data is to be sent */
} ColoAnswer;

void colo_wire_put_offer(GByteArray *out, const ColoOffer *o);
ColoWireError colo_wire_get_offer(const uint8_t *in, size_t size,
                                  ColoOffer *o);
void colo_wire_put_answer(GByteArray *out, const ColoAnswer *a);
ColoWireError colo_wire_get_answer(const uint8_t *in, size_t size,
                                   ColoAnswer *a);

/* START: u32 paused (0/1): the primary's guest is paused by its operator. */
void colo_wire_put_start(GByteArray *out, bool paused);
ColoWireError colo_wire_get_start(const uint8_t *in, size_t size,
                                  bool *paused);

#endif
