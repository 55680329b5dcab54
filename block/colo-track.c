/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: where a disk may differ from its peer's.
 *
 * Two bitmaps of one granularity under one lock. A bit stands for 16 KiB, or
 * for as much as keeps each map at 2^20 bits. A write that is noted already
 * costs a look under the lock and no more.
 */
#include "qemu/osdep.h"
#include "qemu/hbitmap.h"
#include "qemu/lockable.h"
#include "colo-track.h"

enum {
    GRAIN_BITS_MIN = 14,       /* 16 KiB */
    MAP_BITS_MAX_BITS = 20,    /* at most 2^20 bits in a map */
};

struct ColoTrack {
    int64_t bytes;             /* of the disk */
    int grain_bits;
    QemuMutex lock;            /* for the maps */
    HBitmap *base;
    HBitmap *recent;
};

static int choose_grain_bits(int64_t bytes)
{
    int bits = GRAIN_BITS_MIN;

    while (bytes > 1ll << (MAP_BITS_MAX_BITS + bits)) {
        bits++;
    }
    return bits;
}

ColoTrack *colo_track_new(int64_t bytes)
{
    ColoTrack *t = g_new0(ColoTrack, 1);

    t->bytes = bytes;
    t->grain_bits = choose_grain_bits(bytes);
    qemu_mutex_init(&t->lock);
    t->base = hbitmap_alloc(bytes, t->grain_bits);
    t->recent = hbitmap_alloc(bytes, t->grain_bits);
    return t;
}

void colo_track_free(ColoTrack *t)
{
    if (t) {
        hbitmap_free(t->base);
        hbitmap_free(t->recent);
        qemu_mutex_destroy(&t->lock);
        g_free(t);
    }
}

uint32_t colo_track_grain_bytes(const ColoTrack *t)
{
    return 1u << t->grain_bits;
}

void colo_track_reset(ColoTrack *t)
{
    QEMU_LOCK_GUARD(&t->lock);
    hbitmap_reset_all(t->base);
    hbitmap_reset_all(t->recent);
}

void colo_track_set_all(ColoTrack *t)
{
    QEMU_LOCK_GUARD(&t->lock);
    if (t->bytes > 0) {
        hbitmap_set(t->base, 0, t->bytes);
    }
}

static void note_locked(ColoTrack *t, int64_t offset, int64_t bytes)
{
    /* A request that is rounded up may end behind the disk. */
    bytes = MIN(bytes, t->bytes - offset);
    if (bytes > 0) {
        hbitmap_set(t->recent, offset, bytes);
    }
}

void colo_track_note(ColoTrack *t, int64_t offset, int64_t bytes)
{
    QEMU_LOCK_GUARD(&t->lock);
    note_locked(t, offset, bytes);
}

void colo_track_resize(ColoTrack *t, int64_t bytes)
{
    int64_t before;

    QEMU_LOCK_GUARD(&t->lock);
    before = t->bytes;
    t->bytes = bytes;
    hbitmap_truncate(t->base, bytes);
    hbitmap_truncate(t->recent, bytes);
    note_locked(t, before, bytes - before);
}

void colo_track_fold(ColoTrack *t)
{
    QEMU_LOCK_GUARD(&t->lock);
    hbitmap_merge(t->base, t->recent, t->base);
    hbitmap_reset_all(t->recent);
}

void colo_track_mark(ColoTrack *t)
{
    HBitmap *was_base;

    QEMU_LOCK_GUARD(&t->lock);
    was_base = t->base;
    hbitmap_reset_all(was_base);
    t->base = t->recent;
    t->recent = was_base;
}

bool colo_track_is_clean(ColoTrack *t)
{
    QEMU_LOCK_GUARD(&t->lock);
    return hbitmap_empty(t->base) && hbitmap_empty(t->recent);
}

uint64_t colo_track_bytes(ColoTrack *t)
{
    int64_t grain = 1ll << t->grain_bits;
    HBitmap *both;
    uint64_t bytes;

    QEMU_LOCK_GUARD(&t->lock);
    both = hbitmap_alloc(t->bytes, t->grain_bits);
    hbitmap_merge(t->base, t->recent, both);
    bytes = hbitmap_count(both);
    if (t->bytes % grain && hbitmap_get(both, t->bytes - 1)) {
        bytes -= grain - t->bytes % grain;
    }
    hbitmap_free(both);
    return bytes;
}

bool colo_track_next(ColoTrack *t, int64_t offset, int64_t bytes_max,
                     int64_t *run_offset, int64_t *run_bytes)
{
    QEMU_LOCK_GUARD(&t->lock);
    return hbitmap_next_dirty_area(t->base, offset, t->bytes, bytes_max,
                                   run_offset, run_bytes);
}
