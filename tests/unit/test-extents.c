/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unit tests of the interval map.
 *
 * A scenario is a string of steps on a disk of ten bytes or more, written as
 *   +OFFSET,SIZE@WHERE   add          -OFFSET,SIZE   remove
 * and the expectation is the extents that are left, in order.
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/extents/%s",
                                                scenarios[i].name);

        g_test_add_data_func(path, &scenarios[i], test_scenario);
    }
    return g_test_run();
}
