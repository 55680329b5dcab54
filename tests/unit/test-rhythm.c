/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the rhythm of writes and flushes.
 *
 * A scenario is a string: `w` a small write, `b` one that is as large as may
 * wait for a flush, `h` one of half that size, `f` a flush. The expectation is
 * the same string with capitals for the writes behind which to flush.
 */
#include <glib.h>
#include "colo/rhythm.h"

static uint64_t bytes_of(char c)
{
    return c == 'b' ? COLO_RHYTHM_BYTES
         : c == 'h' ? COLO_RHYTHM_BYTES / 2 : 512;
}

static char *play(const char *steps)
{
    GString *out = g_string_new(steps);
    ColoRhythm r = { 0 };

    for (char *c = out->str; *c; c++) {
        if (*c == 'f') {
            colo_rhythm_flush(&r);
        } else if (colo_rhythm_write(&r, bytes_of(*c))) {
            *c = g_ascii_toupper(*c);
        }
    }
    return g_string_free(out, false);
}

typedef struct Row {
    const char *name;
    const char *expected;
} Row;

static const Row rows[] = {
    { "one", "wfwfwfWfWfWf" },
    { "three", "wwwfwwwfwwwfwwWfwwWf" },
    { "both-sides", "fwffwffwffWffWff" },
    { "never", "wwwwwwwwwwww" },
    { "flushes-only", "ffffff" },
    /* No flush came: the guess was wrong, and it begins again. */
    { "longer", "wfwfwfWwwfwfwfwfWf" },
    { "shorter", "wwfwwfwwfwWfwfwwfwwfwwfwWf" },
    { "changing", "wfwwfwfwwfwfwwf" },
    { "end", "wfwfwfWwwwwwww" },
    { "large", "bbwfbbwfbbwfBBWf" },
    { "halves", "hhhhwfhhhhwfhhhhwfhHhHWfhHhHW" },
    { "large-and-no-rhythm", "bbbbfbfbbbf" },
    { "large-and-longer", "bfbfbfBbbfb" },
};

static void test_row(gconstpointer data)
{
    const Row *row = data;
    g_autofree char *steps = g_ascii_strdown(row->expected, -1);
    g_autofree char *found = play(steps);

    g_assert_cmpstr(found, ==, row->expected);
}

/* Whatever comes, a wrong guess needs as many rounds as made the rhythm. */
static void test_price(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    unsigned wrong = 0, flushes = 0;
    bool is_expected = false;
    ColoRhythm r = { 0 };

    for (int i = 0; i < 1000000; i++) {
        if (g_rand_boolean(rand)) {
            colo_rhythm_flush(&r);
            flushes++;
            is_expected = false;
        } else {
            wrong += is_expected;
            is_expected = colo_rhythm_write(&r, 512);
        }
    }
    g_assert_cmpuint(wrong, >, 0);
    g_assert_cmpuint(wrong * COLO_RHYTHM_ROUNDS, <=, flushes);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strconcat("/rhythm/", rows[i].name, NULL);

        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/rhythm/price", test_price);
    return g_test_run();
}
