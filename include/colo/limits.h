/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: every limit in one place.
 *
 * A limit has a name, a unit, and a policy for the moment it is reached.
 * Limits that an operator may change live in ColoLimits; limits that belong
 * to the wire format are constants and never change within a version.
 */
#ifndef COLO_LIMITS_H
#define COLO_LIMITS_H

#include <stdint.h>

/* Wire constants: a peer that exceeds one of them is malformed, not slow. */
enum {
    COLO_NAME_MAX_BYTES = 255,        /* RAM block id, build, machine */
    COLO_TEXT_MAX_BYTES = 1023,       /* human text in REFUSE/FAILED/GOODBYE */
    COLO_BLOCKS_MAX = 1024,           /* RAM blocks in one table */
    COLO_RUNS_PER_FRAME_MAX = 4096,   /* page runs in one DIRTY/PAGES frame */
    COLO_PAGES_PER_FRAME_MAX = 512,   /* pages of data in one PAGES frame */
    COLO_HASHES_PER_FRAME_MAX = 32768,/* pages described by one DIRTY frame */
    COLO_HASH_BYTES = 16,             /* XXH3 128 bit */
    COLO_KEY_BYTES = 32,              /* session key of the page hash */
    COLO_DEVICE_MAX_BYTES = 1 << 30,  /* one device state blob */
    COLO_DEVICE_FRAME_MAX_BYTES = 1 << 22, /* part of it in one frame */
    COLO_OFFER_MIN_BYTES = 1 << 16,   /* disk write that is offered by hash */
    COLO_OFFER_MAX_BYTES = 1 << 23,
    COLO_PAGE_MIN_BYTES = 1024,       /* unit of tracking, a power of two */
    COLO_PAGE_MAX_BYTES = 65536,
};

/* One RAM block: keeps every product of pages and bytes inside 64 bits. */
#define COLO_BLOCK_MAX_BYTES (1ull << 56)

/* Cuts of diverged epochs that the policy remembers. */
enum { COLO_HYBRID_ENTER_COUNT_MAX = 64 };

/*
 * Operator limits. All times are milliseconds of a monotonic clock.
 * Who acts when one is reached is said at each member.
 */
typedef struct ColoLimits {
    /* longest silence of the peer while something is due -> peer lost */
    uint32_t step_limit_ms;
    /* longest checkpoint, REQUEST to LOADED, progress or not -> peer lost */
    uint32_t checkpoint_limit_ms;
    /* silence after which a PING goes out while nothing else is due */
    uint32_t heartbeat_ms;
    /* time between two checkpoints when nothing asks for one sooner */
    uint32_t checkpoint_delay_ms;
    /* shortest time between the end of one checkpoint and the next start */
    uint32_t min_gap_ms;
    /* ditto, while only the network asks: mismatch, timeout, queue full */
    uint32_t mismatch_gap_ms;
    /* so many epochs that ended diverged within the window -> hybrid mode:
     * output leaves at checkpoints only; 0: never; at most
     * COLO_HYBRID_ENTER_COUNT_MAX */
    uint32_t hybrid_enter_count;
    uint32_t hybrid_window_ms;
    /* time between two checkpoints in hybrid mode */
    uint32_t hybrid_interval_ms;
    /* so many epochs in a row without divergence -> hybrid mode ends */
    uint32_t hybrid_exit_count;
    /* bytes the secondary stages for one checkpoint -> checkpoint refused */
    uint64_t staging_limit_bytes;
} ColoLimits;

#define COLO_STEP_LIMIT_MS_DEFAULT        5000
#define COLO_CHECKPOINT_LIMIT_MS_DEFAULT  60000
#define COLO_HEARTBEAT_MS_DEFAULT         1000
#define COLO_CHECKPOINT_DELAY_MS_DEFAULT  20000
#define COLO_MIN_GAP_MS_DEFAULT           0
/* A guest whose every answer differs still runs half of the time. */
#define COLO_MISMATCH_GAP_MS_DEFAULT      10
/*
 * With 50 ms and what a checkpoint takes, the hybrid mode makes about 15 of
 * them in a second whether or not there is a difference: so it begins when
 * differences cause as many, and for longer than a burst of new connections.
 * It ends after more than a second without any.
 */
#define COLO_HYBRID_ENTER_COUNT_DEFAULT   30
#define COLO_HYBRID_WINDOW_MS_DEFAULT     2000
#define COLO_HYBRID_INTERVAL_MS_DEFAULT   50
#define COLO_HYBRID_EXIT_COUNT_DEFAULT    20
#define COLO_STAGING_LIMIT_BYTES_DEFAULT  0   /* 0: bounded by RAM size */

#endif
