/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interval map against a plain array: random adding, removing and looking,
 * on a few small spans so that everything touches everything.
 *
 *   test-extents-array [--operations N] [--seed S]
 *
 * After each change the places that it could have moved are looked at, with
 * the number of extents and bytes; now and then, all of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <glib.h>
#include "colo/extents.h"

enum { SPAN_MAX = 400, NOWHERE = -1, LOOK_AT_ALL = 256 };

typedef struct World {
    GRand *rand;
    ColoExtents *map;
    uint32_t span;
    int64_t array[SPAN_MAX];   /* where each byte is kept, or NOWHERE */
    uint64_t count, bytes;     /* extents and bytes of the array */
    uint64_t added, removed, split, joined;
} World;

static uint32_t below(World *w, uint32_t n)
{
    return g_rand_int_range(w->rand, 0, n);
}

/* Is byte @i the first of an extent? */
static bool is_first(const World *w, uint32_t i)
{
    return w->array[i] != NOWHERE &&
           (i == 0 || w->array[i - 1] != w->array[i] - 1);
}

/* Of @from up to @to, and the byte behind, which may become a first one. */
static uint64_t count_first(const World *w, uint32_t from, uint32_t to)
{
    uint64_t count = 0;
    uint32_t i;

    for (i = from; i <= to && i < w->span; i++) {
        count += is_first(w, i);
    }
    return count;
}

/* Bytes @from up to @to are kept from @where on, or nowhere. */
static void set(World *w, uint32_t from, uint32_t to, int64_t where)
{
    uint64_t before = count_first(w, from, to), after;
    uint32_t i;

    for (i = from; i < to; i++) {
        w->bytes -= w->array[i] != NOWHERE;
        w->array[i] = where == NOWHERE ? NOWHERE : where + i - from;
        w->bytes += w->array[i] != NOWHERE;
    }
    after = count_first(w, from, to);
    w->count += after - before;
    w->split += where == NOWHERE && after > before;
    w->joined += where != NOWHERE && after < before;
}

/* From @i on: the extent that lies there or comes next, as the array has it. */
static bool expected_next(const World *w, uint32_t i, ColoExtent *e)
{
    uint32_t end;

    while (i < w->span && w->array[i] == NOWHERE) {
        i++;
    }
    if (i >= w->span) {
        return false;
    }
    for (end = i + 1; end < w->span && w->array[end] != NOWHERE &&
                      !is_first(w, end); end++) {
        continue;
    }
    *e = (ColoExtent) { i, end - i, w->array[i] };
    return true;
}

static void assert_equal(const ColoExtent *a, const ColoExtent *b)
{
    g_assert_cmpuint(a->offset, ==, b->offset);
    g_assert_cmpuint(a->size, ==, b->size);
    g_assert_cmpuint(a->where, ==, b->where);
}

/* Both ways of looking, from byte @i on. */
static void look(World *w, uint32_t i)
{
    uint64_t size = 1 + below(w, w->span), hole = 0;
    ColoExtent expected, e;
    bool is_next = expected_next(w, i, &expected), is_there;

    g_assert_true(colo_extents_next(w->map, i, &e) == is_next);
    if (is_next) {
        assert_equal(&e, &expected);
    }
    is_there = is_next && expected.offset == i;
    g_assert_true(colo_extents_at(w->map, i, size, &e, &hole) == is_there);
    if (is_there) {
        expected.size = MIN(expected.size, size);
        assert_equal(&e, &expected);
    } else {
        g_assert_cmpuint(hole, ==,
                         is_next ? MIN(size, expected.offset - i) : size);
    }
}

static void look_around(World *w, uint32_t from, uint32_t to)
{
    const uint32_t places[] = {
        from - MIN(from, 1), from, (from + to) / 2, to - 1, to,
        MIN(to + 1, SPAN_MAX),
    };
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(places); i++) {
        look(w, places[i]);
    }
    g_assert_cmpuint(colo_extents_count(w->map), ==, w->count);
    g_assert_cmpuint(colo_extents_bytes(w->map), ==, w->bytes);
}

static void look_at_all(World *w)
{
    uint64_t count = 0, bytes = 0;
    uint32_t i;

    for (i = 0; i < w->span; i++) {
        look(w, i);
        count += is_first(w, i);
        bytes += w->array[i] != NOWHERE;
    }
    g_assert_cmpuint(count, ==, w->count);
    g_assert_cmpuint(bytes, ==, w->bytes);
}

static void add(World *w)
{
    uint32_t from = below(w, w->span), to = from;
    uint32_t limit = from + 1 + below(w, w->span / 8);
    /* not far from where its neighbours are kept, so that some touch */
    int64_t where = SPAN_MAX + below(w, 2) * 1000 + from;

    while (to < MIN(limit, w->span) && w->array[to] == NOWHERE) {
        to++;
    }
    if (to > from) {
        const ColoExtent e = { from, to - from, where };

        colo_extents_add(w->map, &e);
        set(w, from, to, where);
        w->added++;
        look_around(w, from, to);
    }
}

static void remove_some(World *w)
{
    uint32_t from = below(w, w->span);
    uint32_t size = below(w, below(w, 2) ? 3 : w->span / 5);
    uint32_t to = MIN(from + size, w->span);

    colo_extents_remove(w->map, from, size);
    set(w, from, to, NOWHERE);
    w->removed++;
    look_around(w, from, MAX(to, from + 1));
}

static void run(World *w, uint32_t span, uint32_t operations)
{
    uint32_t i;

    w->span = span;
    w->count = w->bytes = 0;
    w->map = colo_extents_new();
    for (i = 0; i < span; i++) {
        w->array[i] = NOWHERE;
    }
    for (i = 0; i < operations; i++) {
        if (below(w, 5) < 3) {
            add(w);
        } else {
            remove_some(w);
        }
        if (i % LOOK_AT_ALL == 0) {
            look_at_all(w);
        }
    }
    look_at_all(w);
    colo_extents_free(w->map);
}

int main(int argc, char **argv)
{
    static const uint32_t spans[] = { 24, 96, SPAN_MAX };
    int operations = 1000000, seed = 1;
    const GOptionEntry options[] = {
        { "operations", 0, 0, G_OPTION_ARG_INT, &operations, "in all", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "of the choices", "S" },
        { 0 }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_autoptr(GError) error = NULL;
    World w = { 0 };
    uint64_t tenth;
    bool all;
    size_t i;

    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 2;
    }
    w.rand = g_rand_new_with_seed(seed);
    for (i = 0; i < G_N_ELEMENTS(spans); i++) {
        run(&w, spans[i], operations / G_N_ELEMENTS(spans) + 1);
    }
    g_rand_free(w.rand);
    printf("ok 1 - an array has what the map has\n# %" G_GUINT64_FORMAT
           " added, %" G_GUINT64_FORMAT " removed, %" G_GUINT64_FORMAT
           " times split, %" G_GUINT64_FORMAT " times joined, seed %d\n",
           w.added, w.removed, w.split, w.joined, seed);
    /* a map that is full, or empty, all the time is mute */
    tenth = operations / 10;
    all = w.added > 2 * tenth && w.removed > 2 * tenth &&
          w.split > tenth / 10 && w.joined > tenth / 10;
    printf("%sok 2 - all of it has happened\n1..2\n", all ? "" : "not ");
    return !all;
}
