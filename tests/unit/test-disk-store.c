/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the store of the secondary's disk: how chunks fill, what lies
 * in memory and what in the spill file, and what a checkpoint gives back.
 */
#include "disk-test.h"

/* Where the store put the one chunk at @where: -1 memory, else the slot. */
static int slot_of(ColoDisk *d, uint64_t where)
{
    const ColoDiskChunk *c = colo_disk_chunk(d, where);

    return c->spilled ? (int)c->slot : -1;
}

static void assert_counts(const ColoDisk *d, unsigned memory_chunks,
                          unsigned spilled_chunks, unsigned spill_end_chunks)
{
    ColoDiskCounts c = counts_of(d);

    g_assert_cmpuint(c.memory, ==, (uint64_t)memory_chunks * CHUNK);
    g_assert_cmpuint(c.spilled, ==, (uint64_t)spilled_chunks * CHUNK);
    g_assert_cmpuint(c.spill_end, ==, (uint64_t)spill_end_chunks * CHUNK);
}

static void test_small_writes_fill_one(void)
{
    ColoDisk *d = new_running(10 * CHUNK);
    uint64_t i;

    for (i = 0; i < CHUNK / 512; i++) {
        own_write(d, 512 * i, 512);
    }
    assert_counts(d, 1, 0, 0);
    /* and lie beside each other, so that they are read as one */
    assert_in_store(d, 0, CHUNK, 0);
    own_write(d, 512 * i, 512);
    assert_counts(d, 2, 0, 0);
    g_assert_cmpuint(read_piece(d, CHUNK - 512, 1024).size, ==, 512);
    colo_disk_free(d, g_free);
}

static void test_big_write_takes_many(void)
{
    ColoDisk *d = new_running(10 * CHUNK);
    uint64_t offset;

    own_write(d, 0, 1000);
    own_write(d, 5000, 3 * CHUNK);
    assert_counts(d, 4, 0, 0);
    assert_in_store(d, 5000, CHUNK - 1000, 1000);
    for (offset = CHUNK; offset < 3 * CHUNK; offset += CHUNK) {
        assert_in_store(d, 4000 + offset, CHUNK, offset);
    }
    assert_in_store(d, 4000 + offset, 1000, offset);
    colo_disk_free(d, g_free);
}

static void test_written_in_place(void)
{
    ColoDisk *d = new_running(10 * CHUNK);
    int i;

    for (i = 0; i < 1000; i++) {
        own_write(d, 7 * (i % 11), CHUNK / 2);
    }
    assert_counts(d, 1, 0, 0);
    g_assert_cmpuint(counts_of(d).own, ==, CHUNK / 2 + 70);
    colo_disk_free(d, g_free);
}

static void test_limit(void)
{
    static const struct {
        uint64_t memory_bytes;
        unsigned memory_chunks;
    } rows[] = {
        { 0, 0 }, { 1, 1 }, { CHUNK - 1, 1 }, { CHUNK, 1 }, { CHUNK + 1, 2 },
        { 3 * CHUNK, 3 }, { UINT64_MAX, 5 },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        ColoDisk *d = new_running(rows[i].memory_bytes);
        unsigned spilled = 5 - rows[i].memory_chunks;

        own_write(d, 0, 5 * CHUNK);
        assert_counts(d, rows[i].memory_chunks, spilled, spilled);
        colo_disk_free(d, g_free);
    }
}

static void test_slots_in_order(void)
{
    ColoDisk *d = new_running(CHUNK);
    int i;

    own_write(d, 0, 4 * CHUNK);
    for (i = 0; i < 4; i++) {
        g_assert_cmpint(slot_of(d, (uint64_t)i * CHUNK), ==, i - 1);
    }
    colo_disk_free(d, g_free);
}

/* Of two generations, and which room is free when the older one goes. */
static void test_slots_come_back(void)
{
    ColoDisk *d = new_running(CHUNK);
    ColoPiece p;

    own_write(d, 0, 3 * CHUNK);                  /* memory, 0, 1 */
    colo_disk_cut(d);
    peer_write(d, 0, 2 * CHUNK);                 /* 2, 3 */
    assert_counts(d, 1, 4, 4);
    enter(d);
    assert_counts(d, 0, 2, 4);
    p = read_piece(d, 0, 4 * CHUNK);
    g_assert_cmpint(slot_of(d, p.where), ==, 2);
    own_write(d, 10 * CHUNK, 4 * CHUNK);         /* memory, 0, 1, 4 */
    assert_counts(d, 1, 5, 5);
    p = read_piece(d, 10 * CHUNK, 4 * CHUNK);
    g_assert_cmpint(slot_of(d, p.where), ==, -1);
    g_assert_cmpint(slot_of(d, p.where + CHUNK), ==, 0);
    g_assert_cmpint(slot_of(d, p.where + 2 * CHUNK), ==, 1);
    g_assert_cmpint(slot_of(d, p.where + 3 * CHUNK), ==, 4);
    colo_disk_cut(d);
    peer_write(d, 0, CHUNK);                     /* 5 */
    colo_disk_roll_back(d);
    assert_counts(d, 1, 6, 6);
    colo_disk_free(d, g_free);
}

/* What is rolled back keeps its places until a checkpoint takes all of it. */
static void test_slots_of_a_roll_back(void)
{
    ColoDisk *d = new_running(0);

    own_write(d, 0, CHUNK);                      /* 0 */
    colo_disk_cut(d);
    peer_write(d, 4 * CHUNK, CHUNK);             /* 1 */
    colo_disk_roll_back(d);
    own_write(d, 8 * CHUNK, CHUNK);              /* 2 */
    assert_counts(d, 0, 3, 3);
    g_assert_cmpint(slot_of(d, read_piece(d, 0, 1).where), ==, 0);
    g_assert_cmpint(slot_of(d, read_piece(d, 4 * CHUNK, 1).where), ==, 1);
    g_assert_cmpint(slot_of(d, read_piece(d, 8 * CHUNK, 1).where), ==, 2);
    colo_disk_cut(d);
    peer_write(d, 0, CHUNK);                     /* 3 */
    enter(d);
    assert_counts(d, 0, 1, 4);
    own_write(d, CHUNK, 4 * CHUNK);              /* 0, 1, 2, 4 */
    assert_counts(d, 0, 5, 5);
    colo_disk_cut(d);
    enter(d);
    assert_counts(d, 0, 0, 0);
    colo_disk_free(d, g_free);
}

/* Memory of what was dropped is free at once, whoever still holds it. */
static void test_memory_comes_back(void)
{
    ColoDisk *d = new_running(2 * CHUNK);
    ColoDropped *dropped;
    uint64_t i;

    own_write(d, 0, 2 * CHUNK);
    for (i = 0; i < 2; i++) {
        colo_disk_chunk(d, i * CHUNK)->data = g_malloc(CHUNK);
    }
    colo_disk_cut(d);
    dropped = colo_disk_enter(d);
    assert_counts(d, 0, 0, 0);
    own_write(d, 0, 2 * CHUNK);
    assert_counts(d, 2, 0, 0);
    colo_dropped_free(dropped, g_free);
    colo_dropped_free(NULL, g_free);
    colo_disk_free(d, g_free);
}

static void *free_dropped(void *opaque)
{
    colo_dropped_free(opaque, g_free);
    return NULL;
}

/* For the thread sanitizer: freeing needs nothing that the disk uses. */
static void test_freed_by_a_thread(void)
{
    ColoDisk *d = new_running(2 * CHUNK);
    int i;

    for (i = 0; i < 20; i++) {
        uint64_t where;
        GThread *thread;

        own_write(d, 1000 * i, 4 * CHUNK);
        where = read_piece(d, 1000 * i, 1).where;
        colo_disk_chunk(d, where)->data = g_malloc(CHUNK);
        colo_disk_cut(d);
        peer_write(d, 0, 1000);
        thread = g_thread_new("free", free_dropped, colo_disk_enter(d));
        own_write(d, 5 * CHUNK, 4 * CHUNK);
        g_thread_join(thread);
    }
    colo_disk_free(d, g_free);
}

static void test_data_stays(void)
{
    ColoDisk *d = new_running(UINT64_MAX);
    char *first = g_strdup("first");
    uint64_t offset;

    own_write(d, 0, 1);
    colo_disk_chunk(d, 0)->data = first;
    for (offset = 0; offset < 100 * CHUNK; offset += CHUNK) {
        own_write(d, offset, CHUNK);
    }
    g_assert_true(colo_disk_chunk(d, 17)->data == first);
    colo_disk_free(d, g_free);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/disk-store/small-writes", test_small_writes_fill_one);
    g_test_add_func("/disk-store/big-write", test_big_write_takes_many);
    g_test_add_func("/disk-store/in-place", test_written_in_place);
    g_test_add_func("/disk-store/limit", test_limit);
    g_test_add_func("/disk-store/slots-in-order", test_slots_in_order);
    g_test_add_func("/disk-store/slots-come-back", test_slots_come_back);
    g_test_add_func("/disk-store/slots-of-a-roll-back",
                    test_slots_of_a_roll_back);
    g_test_add_func("/disk-store/memory-comes-back", test_memory_comes_back);
    g_test_add_func("/disk-store/freed-by-a-thread", test_freed_by_a_thread);
    g_test_add_func("/disk-store/data-stays", test_data_stays);
    return g_test_run();
}
