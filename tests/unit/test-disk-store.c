/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the store of the secondary's disk: how chunks fill, what lies
 * in memory and what in the spill file, what a checkpoint gives back, and
 * what a write of the peer does that the guest has made as well.
 */
#include <stdio.h>
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

/* ----------------------------------------------------------- used again */

/*
 * A row is a string of steps; offsets and sizes in quarters of a chunk:
 *   oOFFSET,SIZE  own write        pOFFSET,SIZE  peer write
 *   zOFFSET,SIZE  own zeroes       gOFFSET,SIZE  own write, given up
 *   tOFFSET,SIZE  peer write of what the guest has there
 *   C cut   E enter   R roll back
 * and then the guest writes one more quarter: where it comes to lie, and how
 * many chunks there are then.
 */
enum { QUARTER = CHUNK / 4 };

static const struct AgainRow {
    const char *name, *steps;
    unsigned limit;            /* chunks */
    unsigned quarter, memory, spilled;
} again_rows[] = {
    { "whole-chunk", "o0,4 t0,4", 4, 0, 1, 0 },
    { "in-parts", "o0,4 t0,1 t2,2 t1,1", 4, 0, 1, 0 },
    { "all-but-one-part", "o0,4 t0,1 t2,2", 4, 4, 2, 0 },
    { "crossing-chunks", "o0,2 o8,4 t8,4", 4, 4, 2, 0 },
    { "two-chunks", "o0,8 t0,8 o0,4", 4, 0, 2, 0 },
    { "two-chunks-and-more", "o0,8 t0,8 o0,8", 4, 8, 3, 0 },
    { "twice", "o0,4 t0,4 o0,4 t0,4", 4, 0, 1, 0 },
    /* the chunk that is being filled is begun anew */
    { "being-filled", "o0,2 t0,2", 4, 0, 1, 0 },
    { "being-filled-in-part", "o0,2 t0,1", 4, 2, 1, 0 },
    { "another-is-filled", "o0,6 t0,4", 4, 6, 2, 0 },
    { "another-is-full", "o0,6 t0,4 o12,2", 4, 0, 2, 0 },
    { "both", "o0,6 t0,6 o12,4", 4, 0, 2, 0 },
    /* a chunk in which anything lies stays */
    { "shared", "o0,2 o8,2 t0,2", 4, 4, 2, 0 },
    { "shared-to-the-end", "o0,2 o8,2 t0,2 t8,2", 4, 0, 1, 0 },
    { "shared-with-undo", "o0,2 p8,2 t0,2", 4, 4, 2, 0 },
    { "shared-with-given-up", "g8,2 o0,2 t0,2", 4, 4, 2, 0 },
    { "room-of-undo", "p0,4 o0,4 t0,4", 4, 0, 1, 0 },
    { "room-of-undo-in-part", "p0,4 o1,2 t1,2", 4, 4, 2, 0 },
    { "zeroes-have-none", "z0,4 t0,4", 4, 0, 1, 0 },
    /* what is in the spill file stays there until the generation goes */
    { "spilled", "o0,4 t0,4", 0, 4, 0, 2 },
    { "spilled-being-filled", "o0,2 t0,2", 0, 2, 0, 1 },
    { "memory-at-the-limit", "o0,8 t0,4", 1, 0, 1, 1 },
    { "spilled-at-the-limit", "o0,8 t4,4", 1, 8, 1, 2 },
    { "both-at-the-limit", "o0,8 t0,8", 1, 0, 1, 1 },
    /* of two generations that are one again */
    { "joined-nothing", "o0,2 C R t0,2", 4, 0, 1, 0 },
    { "joined", "o0,4 C p20,4 R t0,4", 4, 0, 2, 0 },
    { "joined-the-last-is-filled", "o0,2 C p20,2 R t0,2", 4, 6, 2, 0 },
    { "joined-the-last-is-full", "o0,2 C p20,2 R t0,2 o8,2", 4, 0, 2, 0 },
    { "empty-before-the-cut", "o0,2 t0,2 C p20,2 R o8,2", 4, 0, 2, 0 },
    /* what goes takes along what had been given back */
    { "dropped", "o0,8 t0,8 C E", 4, 8, 1, 0 },
    { "dropped-then-more", "o0,8 t0,8 C p0,4 E o20,4 t20,4", 4, 12, 2, 0 },
};

static void give_up(ColoDisk *d, uint64_t offset, uint64_t size)
{
    ColoPiece p;

    colo_disk_write_at(d, offset, size, &p);
    g_assert_cmpuint(p.size, ==, size);
    colo_disk_abandon(d, &p);
}

static void own_zeroes(ColoDisk *d, uint64_t offset, uint64_t size)
{
    ColoPiece p;

    colo_disk_write_zero_at(d, offset, size, &p);
    g_assert_cmpuint(p.size, ==, size);
    colo_disk_wrote(d, &p);
}

static void again_request(ColoDisk *d, const char *word)
{
    unsigned long long offset, size;
    int n = sscanf(word + 1, "%llu,%llu", &offset, &size);

    g_assert_cmpint(n, ==, 2);
    offset *= QUARTER;
    size *= QUARTER;
    switch (*word) {
    case 'o':
        own_write(d, offset, size);
        break;
    case 'p':
        peer_write(d, offset, size);
        break;
    case 'z':
        own_zeroes(d, offset, size);
        break;
    case 'g':
        give_up(d, offset, size);
        break;
    default:
        twin_write(d, offset, size);
    }
}

static void again_step(ColoDisk *d, const char *word)
{
    if (!stage_step(d, *word)) {
        again_request(d, word);
    }
}

static void test_again(const void *data)
{
    const struct AgainRow *row = data;
    ColoDisk *d = new_running((uint64_t)row->limit * CHUNK);
    g_auto(GStrv) words = g_strsplit(row->steps, " ", -1);
    uint64_t last = 1000 * CHUNK;
    ColoDiskCounts c;
    char **w;

    for (w = words; *w; w++) {
        again_step(d, *w);
    }
    own_write(d, last, QUARTER);
    assert_in_store(d, last, QUARTER, (uint64_t)row->quarter * QUARTER);
    c = counts_of(d);
    g_assert_cmpuint(c.memory, ==, (uint64_t)row->memory * CHUNK);
    g_assert_cmpuint(c.spilled, ==, (uint64_t)row->spilled * CHUNK);
    colo_disk_free(d, g_free);
}

/*
 * Between settled() and reuse() a cut may come. The room is of the older
 * generation then, and no other one's.
 */
static void test_again_after_cut(void)
{
    static const struct {
        bool back_in_cut, roll_back;
        uint64_t chunk;        /* of the next write */
        unsigned memory;
    } rows[] = {
        { true, true, 0, 2 }, { true, false, 2, 2 },
        { false, true, 0, 2 }, { false, false, 2, 2 },
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        ColoDisk *d = new_running(4 * CHUNK);
        GArray *pieces;

        own_write(d, 0, CHUNK);
        pieces = own_pieces(d, 0, CHUNK);
        colo_disk_settled(d, 0, CHUNK);
        assert_on_parent(d, 0, CHUNK);
        colo_disk_cut(d);
        if (rows[i].back_in_cut) {
            reuse(d, g_array_ref(pieces));
        }
        peer_write(d, 0, CHUNK);
        assert_in_store(d, 0, CHUNK, CHUNK);
        if (rows[i].roll_back) {
            colo_disk_roll_back(d);
        } else {
            enter(d);
        }
        if (!rows[i].back_in_cut && rows[i].roll_back) {
            reuse(d, g_array_ref(pieces));
        }
        g_array_unref(pieces);
        own_write(d, 8 * CHUNK, CHUNK);
        assert_in_store(d, 8 * CHUNK, CHUNK, rows[i].chunk * CHUNK);
        assert_counts(d, rows[i].memory, 0, 0);
        colo_disk_free(d, g_free);
    }
}

static void test_again_to_the_last_byte(void)
{
    ColoDisk *d = new_running(2 * CHUNK);

    own_write(d, 0, CHUNK);
    twin_write(d, 0, CHUNK - 1);
    own_write(d, CHUNK, 1);
    assert_in_store(d, CHUNK, 1, CHUNK);
    twin_write(d, CHUNK, 1);
    twin_write(d, CHUNK - 1, 1);
    assert_on_parent(d, 0, 2 * CHUNK);
    own_write(d, 0, 2 * CHUNK);
    assert_counts(d, 2, 0, 0);
    colo_disk_free(d, g_free);
}

/* The glue's memory of a chunk stays with it. */
static void test_again_same_data(void)
{
    ColoDisk *d = new_running(CHUNK);
    char *data = g_malloc(CHUNK);

    own_write(d, 0, CHUNK);
    colo_disk_chunk(d, 0)->data = data;
    twin_write(d, 0, CHUNK);
    own_write(d, 5, 10);
    g_assert_true(colo_disk_chunk(d, 0)->data == data);
    g_assert_cmpuint(colo_disk_chunk(d, 0)->taken_bytes, ==, 10);
    colo_disk_free(d, g_free);
}

/*
 * The guest writes one region over and over, and so does the peer, some writes
 * behind; beside them what stays the guest's own, at places that fit nothing.
 */
static const struct RegionRow {
    const char *name;
    uint64_t region, request, twin;
    uint64_t behind;           /* bytes that are not yet settled */
    unsigned small_count;      /* of small writes, of the peer too */
    bool is_within;            /* they overlap the region, too */
    unsigned memory_chunks_max;
} region_rows[] = {
    { "aligned", 4 * CHUNK, 65536, 65536, 0, 0, false, 1 },
    { "one-by-one", CHUNK, 512, 512, 0, 0, false, 1 },
    { "behind", 4 * CHUNK, 65536, 65536, CHUNK, 0, false, 2 },
    { "all-behind", 4 * CHUNK, 65536, 65536, 4 * CHUNK, 0, false, 4 },
    { "large", 8 * CHUNK, 4 * CHUNK, 4 * CHUNK, 0, 0, false, 4 },
    { "twins-are-smaller", 8 * CHUNK, 2 * CHUNK, 4096, 0, 0, false, 2 },
    { "twins-are-larger", 8 * CHUNK, 4096, 2 * CHUNK, 0, 0, false, 2 },
    { "small-beside", 4 * CHUNK, 65536, 65536, 0, 6, false, 4 },
    { "small-within", 4 * CHUNK, 65536, 65536, 0, 6, true, 4 },
    { "small-and-behind", 4 * CHUNK, 65536, 65536, CHUNK, 6, true, 2 },
};

static void small_write(ColoDisk *d, const struct RegionRow *row, unsigned i)
{
    uint64_t offset = row->region * i / row->small_count + 777;

    if (!row->is_within) {
        offset += 2 * row->region;
    }
    if (i % 2) {
        peer_write(d, offset, 1234);
    } else {
        own_write(d, offset, 1234);
    }
}

static void region_round(ColoDisk *d, const struct RegionRow *row)
{
    uint64_t written = 0, settled = 0, small = 0;

    while (settled < row->region) {
        if (small * row->region < written * row->small_count) {
            small_write(d, row, small++);
        }
        if (written < row->region) {
            own_write(d, written, row->request);
            written += row->request;
        }
        while (settled + row->twin <= written &&
               (settled + row->behind < written ||
                written == row->region)) {
            twin_write(d, settled, row->twin);
            settled += row->twin;
        }
    }
}

static void test_region(const void *data)
{
    const struct RegionRow *row = data;
    ColoDisk *d = new_running(100 * CHUNK);
    uint64_t memory;
    int i;

    for (i = 0; i < 300; i++) {
        region_round(d, row);
        memory = counts_of(d).memory;
        g_assert_cmpuint(memory, <=,
                         (uint64_t)row->memory_chunks_max * CHUNK);
    }
    /* the same in the next one */
    colo_disk_cut(d);
    enter(d);
    region_round(d, row);
    g_assert_cmpuint(counts_of(d).memory, <=, memory);
    colo_disk_free(d, g_free);
}

int main(int argc, char **argv)
{
    unsigned i;

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
    for (i = 0; i < G_N_ELEMENTS(again_rows); i++) {
        g_autofree char *path = g_strdup_printf("/disk-store/again/%s",
                                                again_rows[i].name);

        g_test_add_data_func(path, &again_rows[i], test_again);
    }
    g_test_add_func("/disk-store/again-after-cut", test_again_after_cut);
    g_test_add_func("/disk-store/again-to-the-last-byte",
                    test_again_to_the_last_byte);
    g_test_add_func("/disk-store/again-same-data", test_again_same_data);
    for (i = 0; i < G_N_ELEMENTS(region_rows); i++) {
        g_autofree char *path = g_strdup_printf("/disk-store/region/%s",
                                                region_rows[i].name);

        g_test_add_data_func(path, &region_rows[i], test_region);
    }
    return g_test_run();
}
