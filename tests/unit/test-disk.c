/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the secondary's disk: what goes where in each stage.
 */
#include <glib.h>
#include "colo/disk.h"

enum { CHUNK = COLO_DISK_CHUNK_BYTES };

static void own_write(ColoDisk *d, uint64_t offset, uint64_t size)
{
    while (size > 0) {
        ColoPiece p;

        colo_disk_write_at(d, offset, size, &p);
        g_assert_cmpuint(p.offset, ==, offset);
        g_assert(p.size > 0 && p.size <= size);
        colo_disk_wrote(d, &p);
        offset += p.size;
        size -= p.size;
    }
}

static void peer_write(ColoDisk *d, uint64_t offset, uint64_t size)
{
    ColoPiece p;

    while (colo_disk_undo_at(d, offset, size, &p)) {
        g_assert(p.in_store && p.is_new);
        colo_disk_saved(d, &p);
    }
}

static ColoDiskCounts counts_of(const ColoDisk *d)
{
    ColoDiskCounts counts;

    colo_disk_counts(d, &counts);
    return counts;
}

/* Both guests write the same place: one room for both. */
static void test_same_place(void)
{
    ColoDisk *d = colo_disk_new(CHUNK);
    ColoPiece p;

    colo_disk_begin(d);
    peer_write(d, 1000, 300);
    own_write(d, 1100, 100);
    own_write(d, 5000, 100);
    peer_write(d, 4900, 300);
    g_assert_cmpuint(counts_of(d).own, ==, 200);
    g_assert_cmpuint(counts_of(d).undo, ==, 400);
    colo_disk_read_at(d, 1000, 300, &p);
    g_assert(p.in_store && p.where == 0 && p.size == 100);
    colo_disk_read_at(d, 1100, 200, &p);
    g_assert(p.in_store && p.where == 100 && p.size == 100);
    colo_disk_read_at(d, 1300, 10000, &p);
    g_assert(!p.in_store && p.size == 3600);
    colo_dropped_free(colo_disk_stop(d), g_free);
    colo_disk_free(d, g_free);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/disk/same-place", test_same_place);
    return g_test_run();
}
