/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the tests of the disk share: requests done as the glue does them, of
 * which only the places matter.
 */
#ifndef COLO_DISK_TEST_H
#define COLO_DISK_TEST_H

#include <glib.h>
#include "colo/disk.h"

enum { CHUNK = COLO_DISK_CHUNK_BYTES };

static inline void own_write(ColoDisk *d, uint64_t offset, uint64_t size)
{
    while (size > 0) {
        ColoPiece p;

        colo_disk_write_at(d, offset, size, &p);
        g_assert_cmpuint(p.offset, ==, offset);
        g_assert(p.size > 0 && p.size <= size);
        g_assert(!p.in_store || p.where % CHUNK + p.size <= CHUNK);
        colo_disk_wrote(d, &p);
        offset += p.size;
        size -= p.size;
    }
}

/* How many bytes had to be saved for it. */
static inline uint64_t peer_write(ColoDisk *d, uint64_t offset, uint64_t size)
{
    uint64_t saved = 0, from = offset;
    ColoPiece p;

    while (colo_disk_undo_at(d, offset, size, &p)) {
        g_assert(p.in_store && p.is_new);
        g_assert(p.offset >= from && p.size > 0);
        g_assert(p.offset + p.size <= offset + size);
        g_assert(p.where % CHUNK + p.size <= CHUNK);
        colo_disk_saved(d, &p);
        from = p.offset + p.size;
        saved += p.size;
    }
    return saved;
}

/* Where the guest's own writes lie, all of @offset, @size: of ColoPiece. */
static inline GArray *own_pieces(const ColoDisk *d, uint64_t offset,
                                 uint64_t size)
{
    GArray *pieces = g_array_new(false, false, sizeof(ColoPiece));

    while (size > 0) {
        ColoPiece p;

        g_assert_true(colo_disk_own_at(d, offset, size, &p));
        g_array_append_val(pieces, p);
        offset += p.size;
        size -= p.size;
    }
    return pieces;
}

/* Frees @pieces. */
static inline void reuse(ColoDisk *d, GArray *pieces)
{
    guint i;

    for (i = 0; i < pieces->len; i++) {
        colo_disk_reuse(d, &g_array_index(pieces, ColoPiece, i));
    }
    g_array_unref(pieces);
}

/* The peer writes what the guest has written there. */
static inline void twin_write(ColoDisk *d, uint64_t offset, uint64_t size)
{
    GArray *pieces = own_pieces(d, offset, size);

    colo_disk_settled(d, offset, size);
    reuse(d, pieces);
}

static inline ColoPiece read_piece(const ColoDisk *d, uint64_t offset,
                                   uint64_t size)
{
    ColoPiece p;

    colo_disk_read_at(d, offset, size, &p);
    g_assert_cmpuint(p.offset, ==, offset);
    g_assert(p.size > 0 && p.size <= size && !p.is_new);
    return p;
}

static inline void assert_in_store(const ColoDisk *d, uint64_t offset,
                                   uint64_t size, uint64_t where)
{
    ColoPiece p = read_piece(d, offset, size);

    g_assert_true(p.in_store);
    g_assert_cmpuint(p.size, ==, size);
    g_assert_cmpuint(p.where, ==, where);
}

static inline void assert_on_parent(const ColoDisk *d, uint64_t offset,
                                    uint64_t size)
{
    ColoPiece p = read_piece(d, offset, size);

    g_assert_false(p.in_store);
    g_assert_cmpuint(p.size, ==, size);
}

static inline ColoDiskCounts counts_of(const ColoDisk *d)
{
    ColoDiskCounts counts;

    colo_disk_counts(d, &counts);
    return counts;
}

static inline void enter(ColoDisk *d)
{
    ColoDropped *dropped = colo_disk_enter(d);

    g_assert_nonnull(dropped);
    colo_dropped_free(dropped, g_free);
}

static inline void stop(ColoDisk *d)
{
    colo_dropped_free(colo_disk_stop(d), g_free);
}

/* A step of a scenario that is no request. False: it is one. */
static inline bool stage_step(ColoDisk *d, char step)
{
    switch (step) {
    case 'C':
        colo_disk_cut(d);
        return true;
    case 'E':
        enter(d);
        return true;
    case 'R':
        colo_disk_roll_back(d);
        return true;
    case 'T':
        colo_disk_take_over(d);
        return true;
    default:
        return false;
    }
}

static inline ColoDisk *new_running(uint64_t memory_bytes)
{
    ColoDisk *d = colo_disk_new(memory_bytes);

    colo_disk_begin(d);
    return d;
}

#endif
