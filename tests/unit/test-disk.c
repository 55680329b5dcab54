/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the secondary's disk: what its guest reads, from where, and
 * what is saved before the peer's writes.
 *
 * A scenario is a string of steps; offsets and sizes in units:
 *   oOFFSET,SIZE  own write        pOFFSET,SIZE  peer write
 *   zOFFSET,SIZE  own zeroes       qOFFSET,SIZE  peer write over zeroes
 *   sOFFSET,SIZE  settled: the parent has what the guest wrote
 *   C cut   E enter   R roll back   T take over
 * and the expectation is a picture of the first 12 units, of the first byte
 * of each: the letter of the step that gave it its place (a for the first
 * step), 0 for zeroes without a place, or . for the parent.
 */
#include <stdio.h>
#include <string.h>
#include "disk-test.h"

enum { UNIT = 128, UNITS = 12 };
G_STATIC_ASSERT(CHUNK % UNIT == 0);

/*
 * Which step took each unit of the store. What a step takes lies behind all
 * that the ones before it took.
 */
static void mark(GString *places, const ColoPiece *p, char step)
{
    while (places->len < (p->where + p->size) / UNIT) {
        g_string_append_c(places, step);
    }
}

static void step_requests(ColoDisk *d, GString *places, const char *word,
                          char step)
{
    unsigned long long offset, size;
    ColoPiece p;
    int n = sscanf(word + 1, "%llu,%llu", &offset, &size);

    g_assert_cmpint(n, ==, 2);
    offset *= UNIT;
    size *= UNIT;
    if (*word == 's') {
        colo_disk_settled(d, offset, size);
        return;
    }
    if (*word == 'q') {
        uint64_t gap, gap_size;

        while (colo_disk_undo_gap(d, offset, size, &gap, &gap_size)) {
            colo_disk_saved_zero(d, gap, gap_size);
        }
        return;
    }
    if (*word == 'p') {
        while (colo_disk_undo_at(d, offset, size, &p)) {
            mark(places, &p, step);
            colo_disk_saved(d, &p);
        }
        return;
    }
    while (size > 0) {
        if (*word == 'z') {
            colo_disk_write_zero_at(d, offset, size, &p);
        } else {
            colo_disk_write_at(d, offset, size, &p);
        }
        if (p.in_store) {
            mark(places, &p, step);
        }
        colo_disk_wrote(d, &p);
        offset += p.size;
        size -= p.size;
    }
}

static void do_step(ColoDisk *d, GString *places, const char *word, char step)
{
    if (!stage_step(d, *word)) {
        step_requests(d, places, word, step);
    }
}

static char *picture(const ColoDisk *d, const GString *places)
{
    GString *out = g_string_new("");
    uint64_t i;

    for (i = 0; i < UNITS; i++) {
        ColoPiece p = read_piece(d, i * UNIT, UNIT);

        g_assert_cmpuint(p.size, ==, UNIT);
        g_assert(!p.is_zero || !p.in_store);
        g_string_append_c(out, p.is_zero ? '0' : !p.in_store ? '.' :
                          places->str[p.where / UNIT]);
    }
    return g_string_free(out, false);
}

typedef struct Scenario {
    const char *name, *steps, *picture;
    unsigned own, undo;        /* units that the maps cover */
} Scenario;

static const Scenario scenarios[] = {
    { "nothing", "", "............", 0, 0 },
    { "own", "o2,3", "..aaa.......", 3, 0 },
    { "peer", "p2,3", "..aaa.......", 0, 3 },
    { "own-over-own", "o2,3 o1,5", ".baaab......", 5, 0 },
    { "peer-over-peer", "p2,3 p1,5", ".baaab......", 0, 5 },
    { "peer-over-own", "o2,3 p1,5", ".baaab......", 3, 2 },
    { "own-over-peer", "p2,3 o1,5", ".baaab......", 5, 0 },
    { "own-inside-peer", "p1,6 o3,2", ".aaaaaa.....", 2, 4 },
    { "own-over-both", "p0,2 o4,2 o1,4", "aaccbb......", 5, 1 },
    { "peer-between", "o0,1 o2,1 o4,1 p0,6", "adbdcd......", 3, 3 },
    /* a checkpoint that is loaded drops what was before its cut */
    { "enter", "o2,3 p6,2 C E", "............", 0, 0 },
    { "enter-keeps-newer", "o2,3 p6,2 C p3,4 E", "...dddd.....", 0, 4 },
    { "newer-saves-all", "p2,3 C p2,3 E", "..ccc.......", 0, 3 },
    /* before it is loaded the guest's view is the older one */
    { "cut", "o2,3 p6,2 C", "..aaa.bb....", 3, 2 },
    { "cut-older-first", "o2,3 p6,2 C p1,8", ".daaadbbd...", 3, 10 },
    { "roll-back", "o2,3 p6,2 C R", "..aaa.bb....", 3, 2 },
    { "roll-back-older-first", "o2,3 p6,2 C p1,8 R", ".daaadbbd...", 3, 5 },
    { "roll-back-twice", "o2,1 C p1,2 R C p0,5 R", "fcaff.......", 1, 4 },
    { "roll-back-then-enter", "o2,1 C p1,2 R C p5,2 E", ".....ff.....", 0, 2 },
    { "roll-back-then-own", "o2,1 C p1,2 R o1,3", ".cae........", 3, 0 },
    { "many-epochs", "o0,9 C p0,3 E o1,1 C p2,2 E o3,1 C p9,1 E",
      ".........k..", 0, 1 },
    /* zeroes need no place; what has one is overwritten there */
    { "zeroes", "z2,3", "..000.......", 3, 0 },
    { "zeroes-over-own", "o2,2 z1,4", ".0aa0.......", 4, 0 },
    { "zeroes-over-peer", "p2,2 z1,4", ".0000.......", 4, 0 },
    { "zeroes-over-zeroes", "z2,2 z1,4", ".0000.......", 4, 0 },
    { "own-over-zeroes", "z1,6 o2,2", ".0bb000.....", 6, 0 },
    { "own-over-saved-zeroes", "q1,6 o2,2", ".0bb000.....", 2, 4 },
    { "peer-over-zeroes", "q1,4", ".0000.......", 0, 4 },
    { "peer-over-own-zeroes", "z1,2 p0,4", "b00b........", 2, 2 },
    { "zeroes-entered", "z1,2 q4,2 C q0,9 E", "000000000...", 0, 9 },
    { "zeroes-rolled-back", "z1,2 q4,2 C p0,6 R", "d00d00......", 2, 4 },
    { "zeroes-merging", "z1,4 q6,2 T o2,1", ".0.00.00....", 3, 2 },
    /* what the guest writes while merging is on the parent */
    { "take-over", "o2,3 p6,2 T", "..aaa.bb....", 3, 2 },
    { "written-while-merging", "o2,3 p6,3 T o4,3", "..aa...bb...", 2, 2 },
    { "all-written-while-merging", "o2,3 p6,2 T o0,12", "............", 0, 0 },
    /* what both have written is on the parent, for this guest as well */
    { "settled", "o2,3 s2,3", "............", 0, 0 },
    { "settled-in-part", "o2,4 s3,2", "..a..a......", 2, 0 },
    { "settled-zeroes", "z2,3 s3,1", "..0.0.......", 2, 0 },
    { "settled-over-peer", "p2,3 o2,3 s2,3", "............", 0, 0 },
    { "settled-inside-peer", "p1,5 o2,3 s2,3", ".a...a......", 0, 2 },
    { "settled-then-peer", "o2,3 s2,3 p1,3", ".ccc........", 0, 3 },
    { "settled-then-own", "o2,3 s2,2 o1,4", ".ccca.......", 4, 0 },
    { "settled-then-entered", "o2,4 s2,2 C p1,6 E", ".dddddd.....", 0, 6 },
    { "settled-then-cut", "o2,4 s2,2 C p1,6", ".dddaad.....", 2, 6 },
    { "settled-then-rolled-back", "o2,4 s2,2 C p1,6 R", ".dddaad.....", 2,
      4 },
    { "settled-after-roll-back", "o2,4 C p1,6 R s2,2", ".c..aac.....", 2, 2 },
    { "settled-then-merging", "o2,4 s2,2 T", "....aa......", 2, 0 },
    { "all-settled-then-merged", "o2,4 s2,4 T", "............", 0, 0 },
};

static void play(ColoDisk *d, GString *places, const char *steps)
{
    g_auto(GStrv) words = g_strsplit(steps, " ", -1);
    char step = 'a';

    for (char **w = words; *w; w++) {
        do_step(d, places, *w, step++);
    }
}

static void test_scenario(const void *data)
{
    const Scenario *s = data;
    ColoDisk *d = new_running(CHUNK);
    GString *places = g_string_new("");
    g_autofree char *seen = NULL;

    play(d, places, s->steps);
    seen = picture(d, places);
    g_assert_cmpstr(seen, ==, s->picture);
    g_assert_cmpuint(counts_of(d).own, ==, s->own * UNIT);
    g_assert_cmpuint(counts_of(d).undo, ==, s->undo * UNIT);
    g_string_free(places, true);
    colo_disk_free(d, g_free);
}

/* ----------------------------------------------------- what is its own */

/* As a picture, with the parent for all that the guest has not written. */
static char *own_picture(const ColoDisk *d, const GString *places)
{
    GString *out = g_string_new("");
    uint64_t i;

    for (i = 0; i < UNITS; i++) {
        bool is_own;
        ColoPiece p;

        is_own = colo_disk_own_at(d, i * UNIT, UNIT, &p);
        if (is_own) {
            g_assert_cmpuint(p.offset, ==, i * UNIT);
            g_assert_cmpuint(p.size, ==, UNIT);
            g_assert(p.is_zero != p.in_store && !p.is_new);
        }
        g_string_append_c(out, !is_own ? '.' : p.is_zero ? '0' :
                          places->str[p.where / UNIT]);
    }
    return g_string_free(out, false);
}

typedef struct OwnScenario {
    const char *name, *steps, *picture;
} OwnScenario;

static const OwnScenario own_scenarios[] = {
    { "nothing", "", "............" },
    { "own", "o2,3", "..aaa......." },
    { "own-over-own", "o2,3 o1,5", ".baaab......" },
    { "peer", "p2,3", "............" },
    { "peer-zeroes", "q2,3", "............" },
    { "peer-over-own", "o2,3 p1,5", "..aaa......." },
    { "own-inside-peer", "p1,6 o3,2", "...aa......." },
    { "zeroes", "z2,3", "..000......." },
    { "zeroes-and-own", "z1,6 o2,2 q0,9", ".0bb000....." },
    { "zeroes-over-own", "o2,2 z1,4", ".0aa0......." },
    { "entered", "o2,3 z6,2 C E", "............" },
    { "entered-with-undo", "o2,3 C p1,5 E", "............" },
    { "entered-then-own", "o2,3 C p1,5 E o3,1", "...c........" },
    { "rolled-back", "o2,3 z6,2 C R", "..aaa.00...." },
    { "rolled-back-with-undo", "o2,3 p6,2 C p0,9 R", "..aaa......." },
    { "rolled-back-then-own", "o2,1 C p1,2 R o1,3", ".cae........" },
    { "settled", "o2,4 s3,2", "..a..a......" },
    { "settled-then-own", "o2,3 s2,3 o3,1", "...c........" },
    { "settled-then-peer", "o2,3 s2,2 p1,4", "....a......." },
    { "settled-then-rolled-back", "o2,3 s2,2 C p1,4 R", "....a......." },
};

static void test_own_scenario(const void *data)
{
    const OwnScenario *s = data;
    ColoDisk *d = new_running(CHUNK);
    GString *places = g_string_new("");
    g_autofree char *seen = NULL;

    play(d, places, s->steps);
    seen = own_picture(d, places);
    g_assert_cmpstr(seen, ==, s->picture);
    g_string_free(places, true);
    colo_disk_free(d, g_free);
}

/* From where it is asked on, up to a hole or the end of a chunk. */
static void test_own_pieces(void)
{
    static const struct {
        uint64_t offset, size, found;
    } rows[] = {
        { 0, 5 * CHUNK, 1000 }, { 1000, CHUNK, 0 }, { 4999, 2, 0 },
        { 5000, 1, 1 }, { 5000, 5 * CHUNK, CHUNK - 1000 },
        { 5010, 100, 100 }, { 4000 + CHUNK, 5 * CHUNK, CHUNK },
        { 3999 + CHUNK, 2, 1 }, { 4000 + 3 * CHUNK, CHUNK, 1000 },
        { 5000 + 3 * CHUNK, CHUNK, 0 },
    };
    ColoDisk *d = new_running(CHUNK);
    unsigned i;

    own_write(d, 0, 1000);
    colo_disk_cut(d);
    colo_disk_roll_back(d);
    own_write(d, 5000, 3 * CHUNK);
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        bool is_own;
        ColoPiece p;

        is_own = colo_disk_own_at(d, rows[i].offset, rows[i].size, &p);
        g_assert_cmpint(is_own, ==, rows[i].found > 0);
        if (is_own) {
            g_assert_cmpuint(p.offset, ==, rows[i].offset);
            g_assert_cmpuint(p.size, ==, rows[i].found);
            assert_in_store(d, p.offset, p.size, p.where);
        }
    }
    colo_disk_free(d, g_free);
}

/* A write on its way is nobody's, and one that is given up stays so. */
static void test_own_when_entered(void)
{
    ColoDisk *d = new_running(CHUNK);
    ColoPiece a, b, p;

    colo_disk_write_at(d, 0, 100, &a);
    colo_disk_write_at(d, 100, 100, &b);
    g_assert_false(colo_disk_own_at(d, 0, 200, &p));
    colo_disk_wrote(d, &a);
    colo_disk_abandon(d, &b);
    g_assert_true(colo_disk_own_at(d, 0, 200, &p));
    g_assert_cmpuint(p.size, ==, 100);
    g_assert_cmpuint(p.where, ==, a.where);
    g_assert_false(colo_disk_own_at(d, 100, 100, &p));
    colo_disk_free(d, g_free);
}

/* Who looked before goes on reading where the data lies. */
static void test_settled_under_readers(void)
{
    ColoDisk *d = new_running(CHUNK);
    GArray *pieces;
    ColoPiece p;

    own_write(d, 0, 1000);
    pieces = own_pieces(d, 200, 300);
    p = read_piece(d, 0, 1000);
    colo_disk_settled(d, 200, 300);
    assert_in_store(d, 0, 200, p.where);
    assert_on_parent(d, 200, 300);
    assert_in_store(d, 500, 500, p.where + 500);
    /* nobody else gets that room meanwhile, though the maps do not have it */
    own_write(d, 200, 300);
    assert_in_store(d, 200, 300, 1000);
    peer_write(d, 5000, 100);
    assert_in_store(d, 5000, 100, 1300);
    g_assert_cmpuint(colo_disk_chunk(d, 0)->taken_bytes, ==, 1400);
    reuse(d, pieces);
    g_assert_cmpuint(colo_disk_chunk(d, 0)->taken_bytes, ==, 1100);
    colo_disk_free(d, g_free);
}

/* ------------------------------------------------------------- merging */

static void test_merge_in_turn(void)
{
    static const struct {
        uint64_t from, size_max, offset, size;
    } rows[] = {
        { 0, CHUNK, 100, 10 }, { 100, 4, 100, 4 }, { 105, CHUNK, 105, 5 },
        { 110, CHUNK, 200, 20 }, { 219, CHUNK, 219, 1 },
        { 220, CHUNK, 300, 30 }, { 329, 1, 329, 1 },
        /* from the beginning again */
        { 330, CHUNK, 100, 10 }, { 1ull << 62, 3, 100, 3 },
    };
    ColoDisk *d = new_running(CHUNK);
    unsigned i;

    peer_write(d, 200, 20);
    own_write(d, 300, 30);
    own_write(d, 100, 10);
    colo_disk_take_over(d);
    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        ColoPiece p;

        g_assert_true(colo_disk_merge_at(d, rows[i].from, rows[i].size_max,
                                         &p));
        g_assert_true(p.in_store);
        g_assert_cmpuint(p.offset, ==, rows[i].offset);
        g_assert_cmpuint(p.size, ==, rows[i].size);
        assert_in_store(d, p.offset, p.size, p.where);
    }
    colo_disk_free(d, g_free);
}

static void test_merge_to_the_end(void)
{
    ColoDisk *d = new_running(CHUNK);
    uint64_t left = 3 * CHUNK + 200;
    ColoDropped *dropped;
    ColoPiece p = { 0 };

    own_write(d, 100, 3 * CHUNK);
    peer_write(d, 0, 3 * CHUNK + 200);
    colo_disk_chunk(d, 0)->data = g_malloc(CHUNK);
    g_assert_cmpuint(counts_of(d).merge_left, ==, 0);
    colo_disk_take_over(d);
    while (colo_disk_merge_at(d, p.offset + p.size, 100000, &p)) {
        g_assert_cmpuint(counts_of(d).merge_left, ==, left);
        g_assert(p.size <= 100000 && p.where % CHUNK + p.size <= CHUNK);
        colo_disk_merged(d, &p);
        assert_on_parent(d, p.offset, p.size);
        left -= p.size;
    }
    g_assert_cmpuint(left, ==, 0);
    g_assert_cmpint(colo_disk_stage(d), ==, COLO_DISK_ALONE);
    g_assert_cmpuint(counts_of(d).memory, ==, CHUNK);
    dropped = colo_disk_leftover(d);
    g_assert_nonnull(dropped);
    colo_dropped_free(dropped, g_free);
    g_assert_null(colo_disk_leftover(d));
    g_assert_cmpuint(counts_of(d).memory, ==, 0);
    g_assert_cmpuint(counts_of(d).spill_end, ==, 0);
    own_write(d, 0, 1000);
    g_assert_null(colo_disk_stop(d));
    colo_disk_free(d, g_free);
}

/* A write that was given up is no reason to merge, but took a chunk. */
static void test_nothing_to_merge(void)
{
    ColoDisk *d = new_running(CHUNK);
    ColoPiece p;

    colo_disk_write_at(d, 0, 100, &p);
    colo_disk_abandon(d, &p);
    assert_on_parent(d, 0, 100);
    colo_disk_take_over(d);
    g_assert_cmpint(colo_disk_stage(d), ==, COLO_DISK_ALONE);
    colo_dropped_free(colo_disk_leftover(d), g_free);
    g_assert_cmpuint(counts_of(d).memory, ==, 0);
    colo_disk_free(d, g_free);
}

/* The guest may have merged the rest itself. */
static void test_merged_by_the_guest(void)
{
    ColoDisk *d = new_running(CHUNK);
    ColoPiece p;

    own_write(d, 0, 100);
    colo_disk_take_over(d);
    own_write(d, 0, 100);
    g_assert_false(colo_disk_merge_at(d, 0, CHUNK, &p));
    g_assert_cmpint(colo_disk_stage(d), ==, COLO_DISK_ALONE);
    colo_disk_free(d, g_free);
}

/* -------------------------------------------------------------- pieces */

/* Given up: the map knows nothing, and nobody gets the room again. */
static void test_abandon(void)
{
    ColoDisk *d = new_running(CHUNK);
    ColoPiece p, again;

    g_assert_true(colo_disk_undo_at(d, 1000, 100, &p));
    colo_disk_abandon(d, &p);
    assert_on_parent(d, 0, 10000);
    g_assert_true(colo_disk_undo_at(d, 1000, 100, &again));
    g_assert_cmpuint(again.where, ==, p.where + 100);
    colo_disk_saved(d, &again);
    /* the undo stays when a write over it is given up */
    colo_disk_write_at(d, 1000, 50, &p);
    g_assert_cmpuint(p.where, ==, again.where);
    colo_disk_abandon(d, &p);
    assert_in_store(d, 1000, 100, again.where);
    g_assert_cmpuint(counts_of(d).undo, ==, 100);
    colo_disk_free(d, g_free);
}

/* Requests on their way at the same time, entered in any order. */
static void test_at_the_same_time(void)
{
    ColoDisk *d = new_running(CHUNK);
    ColoPiece a, b, c;

    colo_disk_write_at(d, 0, 100, &a);
    g_assert_true(colo_disk_undo_at(d, 200, 100, &b));
    colo_disk_write_at(d, 100, 100, &c);
    assert_on_parent(d, 0, 300);
    colo_disk_wrote(d, &c);
    colo_disk_saved(d, &b);
    colo_disk_wrote(d, &a);
    assert_in_store(d, 0, 100, 0);
    assert_in_store(d, 100, 100, 200);
    assert_in_store(d, 200, 100, 100);
    colo_disk_free(d, g_free);
}

static void test_last_byte(void)
{
    const uint64_t last = (1ull << 63) - 1;
    ColoDisk *d = new_running(CHUNK);

    own_write(d, last, 1);
    g_assert_cmpuint(peer_write(d, last - 9, 10), ==, 9);
    assert_on_parent(d, 0, last - 9);
    assert_in_store(d, last, 1, 0);
    colo_disk_free(d, g_free);
}

static void append_run(uint64_t offset, uint64_t size, void *opaque)
{
    g_string_append_printf(opaque, "%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT
                           " ", offset, size);
}

static void test_foreach(void)
{
    ColoDisk *d = new_running(CHUNK);
    GString *runs = g_string_new("");

    own_write(d, 50, 10);
    own_write(d, 0, 10);
    peer_write(d, 100, 20);
    colo_disk_cut(d);
    peer_write(d, 5, 30);
    colo_disk_foreach(d, append_run, runs);
    g_assert_cmpstr(runs->str, ==, "0,10 50,10 100,20 5,30 ");
    g_string_free(runs, true);
    colo_disk_free(d, g_free);
}

/* Zeroes beside zeroes are one run, however they came. */
static void test_zero_runs(void)
{
    ColoDisk *d = new_running(CHUNK);
    GString *runs = g_string_new("");
    ColoPiece p;
    uint64_t i;

    for (i = 0; i < 3; i++) {
        colo_disk_write_zero_at(d, 1000 + 100 * i, 100, &p);
        g_assert_true(p.is_zero && p.is_new);
        colo_disk_wrote(d, &p);
        colo_disk_saved_zero(d, 50 + 100 * i, 100);
    }
    colo_disk_foreach(d, append_run, runs);
    g_assert_cmpstr(runs->str, ==, "1000,300 50,300 ");
    g_assert_true(read_piece(d, 1000, 300).size == 300);
    g_assert_cmpuint(counts_of(d).memory, ==, 0);
    g_string_free(runs, true);
    colo_disk_free(d, g_free);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/disk/%s",
                                                scenarios[i].name);

        g_test_add_data_func(path, &scenarios[i], test_scenario);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(own_scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/disk/own/%s",
                                                own_scenarios[i].name);

        g_test_add_data_func(path, &own_scenarios[i], test_own_scenario);
    }
    g_test_add_func("/disk/own/pieces", test_own_pieces);
    g_test_add_func("/disk/own/when-entered", test_own_when_entered);
    g_test_add_func("/disk/settled-under-readers",
                    test_settled_under_readers);
    g_test_add_func("/disk/merge-in-turn", test_merge_in_turn);
    g_test_add_func("/disk/merge-to-the-end", test_merge_to_the_end);
    g_test_add_func("/disk/nothing-to-merge", test_nothing_to_merge);
    g_test_add_func("/disk/merged-by-the-guest", test_merged_by_the_guest);
    g_test_add_func("/disk/abandon", test_abandon);
    g_test_add_func("/disk/at-the-same-time", test_at_the_same_time);
    g_test_add_func("/disk/last-byte", test_last_byte);
    g_test_add_func("/disk/foreach", test_foreach);
    g_test_add_func("/disk/zero-runs", test_zero_runs);
    return g_test_run();
}
