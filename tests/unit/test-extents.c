/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the interval map.
 *
 * A scenario is a string of steps, written as
 *   +OFFSET,SIZE@WHERE   add          -OFFSET,SIZE   remove
 * and the expectation is the extents that are left, in order. Random steps
 * against an array: tests/disk/test-extents-array.c.
 */
#include <stdio.h>
#include <glib.h>
#include "colo/extents.h"

static char *describe(const ColoExtents *m)
{
    GString *out = g_string_new("");
    ColoExtent e = { 0 };
    uint64_t count = 0, bytes = 0;

    while (colo_extents_next(m, e.offset + e.size, &e)) {
        g_string_append_printf(out, "%s%" G_GUINT64_FORMAT ",%"
                               G_GUINT64_FORMAT "@%" G_GUINT64_FORMAT,
                               count ? " " : "", e.offset, e.size, e.where);
        count++;
        bytes += e.size;
    }
    g_assert_cmpuint(count, ==, colo_extents_count(m));
    g_assert_cmpuint(bytes, ==, colo_extents_bytes(m));
    return g_string_free(out, false);
}

static ColoExtents *play(const char *steps)
{
    ColoExtents *m = colo_extents_new();
    g_auto(GStrv) words = g_strsplit(steps, " ", -1);

    for (char **w = words; *w; w++) {
        ColoExtent e = { 0 };
        unsigned long long a, b, c = 0;
        int n = sscanf(*w + 1, "%llu,%llu@%llu", &a, &b, &c);

        g_assert(n == (**w == '+' ? 3 : 2));
        e = (ColoExtent) { a, b, c };
        if (**w == '+') {
            colo_extents_add(m, &e);
        } else {
            colo_extents_remove(m, e.offset, e.size);
        }
    }
    return m;
}

typedef struct Scenario {
    const char *name, *steps, *left;
} Scenario;

static const Scenario scenarios[] = {
    { "one", "+10,5@100", "10,5@100" },
    { "at-zero", "+0,1@0", "0,1@0" },
    { "in-order", "+20,5@0 +0,5@50 +10,5@90", "0,5@50 10,5@90 20,5@0" },
    { "touch-before", "+0,5@0 +5,5@5", "0,10@0" },
    { "touch-after", "+5,5@5 +0,5@0", "0,10@0" },
    { "touch-both", "+0,5@10 +10,5@20 +5,5@15", "0,15@10" },
    { "touch-before-only", "+0,5@10 +10,5@30 +5,5@15", "0,10@10 10,5@30" },
    { "touch-after-only", "+0,5@10 +10,5@30 +5,5@25", "0,5@10 5,10@25" },
    { "on-disk-only", "+0,5@0 +5,5@6", "0,5@0 5,5@6" },
    { "in-store-only", "+0,5@0 +6,5@5", "0,5@0 6,5@5" },
    { "remove-all", "+0,5@0 -0,5", "" },
    { "remove-more", "+5,5@0 -0,20", "" },
    { "remove-head", "+10,10@50 -5,8", "13,7@53" },
    { "remove-tail", "+10,10@50 -15,9", "10,5@50" },
    { "remove-middle", "+10,10@50 -13,4", "10,3@50 17,3@57" },
    { "remove-nothing", "+10,10@50 -13,0", "10,10@50" },
    { "remove-beside", "+10,10@50 -5,5 -20,5", "10,10@50" },
    { "remove-in-none", "-5,5", "" },
    { "remove-many", "+0,4@0 +4,4@90 +9,4@40 +20,4@60 -2,20",
      "0,2@0 22,2@62" },
    { "fill-a-hole", "+0,9@0 -3,3 +3,3@3", "0,9@0" },
    { "fill-from-elsewhere", "+0,9@0 -3,3 +3,3@70", "0,3@0 3,3@70 6,3@6" },
};

static void test_scenario(const void *data)
{
    const Scenario *s = data;
    ColoExtents *m = play(s->steps);
    g_autofree char *left = describe(m);

    g_assert_cmpstr(left, ==, s->left);
    colo_extents_free(m);
}

/* ------------------------------------------------------------- looking */

static void test_at(void)
{
    static const struct {
        uint64_t offset, size;
        bool covered;
        uint64_t bytes, where;     /* of the extent or the hole */
    } rows[] = {
        { 0, 5, false, 5, 0 }, { 0, 100, false, 10, 0 },
        { 9, 1, false, 1, 0 }, { 10, 1, true, 1, 500 },
        { 10, 100, true, 5, 500 }, { 14, 9, true, 1, 504 },
        { 15, 9, true, 5, 700 }, { 20, 9, false, 9, 0 },
        { 20, UINT64_MAX, false, 10, 0 }, { 35, 9, true, 5, 5 },
        { 40, 9, false, 9, 0 }, { 1ull << 62, 9, false, 9, 0 },
    };
    ColoExtents *m = play("+10,5@500 +15,5@700 +30,10@0");
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        ColoExtent e;
        uint64_t hole = 77;

        g_assert(rows[i].covered == colo_extents_at(m, rows[i].offset,
                                                    rows[i].size, &e, &hole));
        if (rows[i].covered) {
            g_assert_cmpuint(e.offset, ==, rows[i].offset);
            g_assert_cmpuint(e.size, ==, rows[i].bytes);
            g_assert_cmpuint(e.where, ==, rows[i].where);
        } else {
            g_assert_cmpuint(hole, ==, rows[i].bytes);
        }
    }
    colo_extents_free(m);
}

static void test_next(void)
{
    static const struct {
        uint64_t from, offset, size, where;
    } rows[] = {
        { 0, 10, 5, 500 }, { 10, 10, 5, 500 }, { 11, 11, 4, 501 },
        { 14, 14, 1, 504 }, { 15, 30, 10, 0 }, { 39, 39, 1, 9 },
    };
    ColoExtents *m = play("+10,5@500 +30,10@0");
    ColoExtent e;
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_assert_true(colo_extents_next(m, rows[i].from, &e));
        g_assert_cmpuint(e.offset, ==, rows[i].offset);
        g_assert_cmpuint(e.size, ==, rows[i].size);
        g_assert_cmpuint(e.where, ==, rows[i].where);
    }
    g_assert_false(colo_extents_next(m, 40, &e));
    g_assert_false(colo_extents_next(m, UINT64_MAX, &e));
    colo_extents_free(m);
}

/* --------------------------------------------------------------- many */

static void test_many(void)
{
    enum { MANY = 20000 };
    ColoExtents *m = colo_extents_new();
    uint64_t i;

    for (i = 0; i < MANY; i++) {
        /* far from the order of the disk, every second byte */
        uint64_t place = i * 7919 % MANY;
        const ColoExtent e = { 2 * place, 1, 2 * place };

        colo_extents_add(m, &e);
    }
    g_assert_cmpuint(colo_extents_count(m), ==, MANY);
    colo_extents_remove(m, 1, 2 * MANY - 3);
    g_assert_cmpuint(colo_extents_count(m), ==, 2);
    g_assert_cmpuint(colo_extents_bytes(m), ==, 2);
    colo_extents_free(m);
}

/* ---------------------------------------------------------------- edges */

static void test_last_byte(void)
{
    const ColoExtent last = { (1ull << 63) - 1, 1, 0 };
    ColoExtents *m = colo_extents_new();
    ColoExtent e;

    colo_extents_add(m, &last);
    g_assert_true(colo_extents_next(m, 0, &e));
    g_assert_cmpuint(e.offset, ==, last.offset);
    colo_extents_remove(m, 0, 1ull << 63);
    g_assert_cmpuint(colo_extents_count(m), ==, 0);
    colo_extents_free(m);
    colo_extents_free(NULL);
}

static void test_bug(const void *steps)
{
    if (g_test_subprocess()) {
        colo_extents_free(play(steps));
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*assertion failed*");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path, *steps;
    } bugs[] = {
        { "/extents/bug/empty", "+5,0@0" },
        { "/extents/bug/over-the-head", "+5,5@0 +9,5@100" },
        { "/extents/bug/over-the-tail", "+5,5@0 +1,5@100" },
        { "/extents/bug/twice", "+5,5@0 +5,5@0" },
        { "/extents/bug/too-far", "+9223372036854775808,1@0" },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/extents/%s",
                                                scenarios[i].name);

        g_test_add_data_func(path, &scenarios[i], test_scenario);
    }
    g_test_add_func("/extents/at", test_at);
    g_test_add_func("/extents/next", test_next);
    g_test_add_func("/extents/many", test_many);
    g_test_add_func("/extents/last-byte", test_last_byte);
    for (size_t i = 0; i < G_N_ELEMENTS(bugs); i++) {
        g_test_add_data_func(bugs[i].path, bugs[i].steps, test_bug);
    }
    return g_test_run();
}
