/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page sets, held against an array of bytes that says the same page by page.
 */
#include <string.h>
#include "colo/pages.h"

#define WORD_BITS (sizeof(unsigned long) * 8)

static const uint64_t geometry[] = { 0, 1, 63, 64, 65, 0, 127, 128, 1000, 0 };
enum { BLOCKS = G_N_ELEMENTS(geometry), PAGES_MOST = 1000 };

typedef struct Oracle {
    uint8_t dirty[BLOCKS][PAGES_MOST];
} Oracle;

static void assert_matches(const ColoPageSet *s, const Oracle *o)
{
    uint64_t page, count = 0;
    uint32_t b;

    for (b = 0; b < BLOCKS; b++) {
        for (page = 0; page < geometry[b]; page++) {
            g_assert_cmpint(colo_page_set_test(s, b, page), ==,
                            o->dirty[b][page]);
            count += o->dirty[b][page];
        }
    }
    g_assert_cmpuint(colo_page_set_count(s), ==, count);
}

/* The next run by looking at every page. */
static bool oracle_next(const Oracle *o, uint32_t *b, uint64_t *page,
                        uint32_t max_count, ColoRun *run)
{
    for (; *b < BLOCKS; ++*b, *page = 0) {
        for (; *page < geometry[*b]; ++*page) {
            if (!o->dirty[*b][*page]) {
                continue;
            }
            *run = (ColoRun) { *b, 0, *page };
            while (*page < geometry[*b] && o->dirty[*b][*page] &&
                   run->count < max_count) {
                run->count++;
                ++*page;
            }
            return true;
        }
    }
    return false;
}

static void assert_same_runs(const ColoPageSet *s, const Oracle *o,
                             uint32_t max_count)
{
    uint32_t block = 0, o_block = 0;
    uint64_t page = 0, o_page = 0;
    ColoRun run, expected;

    while (oracle_next(o, &o_block, &o_page, max_count, &expected)) {
        g_assert_true(colo_page_set_next(s, &block, &page, max_count, &run));
        g_assert_cmpuint(run.block, ==, expected.block);
        g_assert_cmpuint(run.first, ==, expected.first);
        g_assert_cmpuint(run.count, ==, expected.count);
        g_assert_cmpuint(block, ==, run.block);
        g_assert_cmpuint(page, ==, run.first + run.count);
    }
    g_assert_false(colo_page_set_next(s, &block, &page, max_count, &run));
    g_assert_cmpuint(block, ==, BLOCKS);
    g_assert_false(colo_page_set_next(s, &block, &page, max_count, &run));
}

static void random_add(GRand *rand, ColoPageSet *s, Oracle *o)
{
    uint32_t b = g_rand_int_range(rand, 0, BLOCKS);
    uint64_t first = g_rand_int_range(rand, 0, geometry[b] + 1);
    uint64_t most = geometry[b] - first;
    const ColoRun run = {
        b, g_rand_int_range(rand, 0, MIN(most, 150) + 1), first
    };

    colo_page_set_add(s, &run);
    memset(&o->dirty[b][first], 1, run.count);
}

static void random_remove(GRand *rand, ColoPageSet *s, Oracle *o)
{
    uint32_t b = g_rand_int_range(rand, 0, BLOCKS);
    uint64_t page;

    if (geometry[b] > 0) {
        page = g_rand_int_range(rand, 0, geometry[b]);
        colo_page_set_remove(s, b, page);
        o->dirty[b][page] = 0;
    }
}

static void test_against_oracle(void)
{
    static const uint32_t limits[] = { 1, 2, 63, 64, 65, 512, UINT32_MAX };
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    unsigned round, step;

    for (round = 0; round < 60; round++) {
        g_autofree Oracle *o = g_new0(Oracle, 1);
        ColoPageSet s;

        colo_page_set_init(&s, geometry, BLOCKS);
        for (step = 0; step < 40; step++) {
            random_add(rand, &s, o);
            random_remove(rand, &s, o);
            assert_same_runs(&s, o, limits[step % G_N_ELEMENTS(limits)]);
        }
        assert_matches(&s, o);
        colo_page_set_clear_all(&s);
        memset(o, 0, sizeof(*o));
        assert_matches(&s, o);
        assert_same_runs(&s, o, 512);
        colo_page_set_destroy(&s);
    }
}

static void test_union(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(2);
    unsigned round, i, b;

    for (round = 0; round < 100; round++) {
        g_autofree Oracle *oa = g_new0(Oracle, 1);
        g_autofree Oracle *ob = g_new0(Oracle, 1);
        ColoPageSet sa, sb;

        colo_page_set_init(&sa, geometry, BLOCKS);
        colo_page_set_init(&sb, geometry, BLOCKS);
        for (i = 0; i < round % 20; i++) {
            random_add(rand, &sa, oa);
            random_add(rand, &sb, ob);
        }
        colo_page_set_union(&sa, &sb);
        for (b = 0; b < BLOCKS; b++) {
            for (i = 0; i < PAGES_MOST; i++) {
                oa->dirty[b][i] |= ob->dirty[b][i];
            }
        }
        assert_matches(&sa, oa);
        assert_matches(&sb, ob);
        colo_page_set_destroy(&sa);
        colo_page_set_destroy(&sb);
    }
}

/* Starting in the middle of a run, of a word, of nothing. */
static void test_next_from(void)
{
    static const struct {
        uint64_t from;
        uint32_t max_count;
        uint64_t first;
        uint32_t count;
    } cases[] = {
        { 0, 999, 60, 10 }, { 59, 999, 60, 10 }, { 60, 999, 60, 10 },
        { 63, 999, 63, 7 }, { 64, 999, 64, 6 }, { 69, 999, 69, 1 },
        { 60, 4, 60, 4 }, { 60, 5, 60, 5 }, { 60, 1, 60, 1 },
        { 70, 999, 999, 1 }, { 999, 999, 999, 1 }, { 1000, 999, 0, 0 },
    };
    const uint64_t page_count = 1000;
    ColoPageSet s;
    ColoRun run;
    unsigned i;

    colo_page_set_init(&s, &page_count, 1);
    colo_page_set_add(&s, &(ColoRun) { 0, 10, 60 });
    colo_page_set_add(&s, &(ColoRun) { 0, 1, 999 });
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint32_t block = 0;
        uint64_t page = cases[i].from;
        bool found = colo_page_set_next(&s, &block, &page,
                                        cases[i].max_count, &run);

        g_assert_cmpint(found, ==, cases[i].count > 0);
        if (found) {
            g_assert_cmpuint(run.first, ==, cases[i].first);
            g_assert_cmpuint(run.count, ==, cases[i].count);
        }
    }
    colo_page_set_destroy(&s);
}

/* Glue may set whole words; what lies past the last page is not a page. */
static void test_bits_past_the_end(void)
{
    const uint64_t page_counts[] = { 5, WORD_BITS, WORD_BITS + 1 };
    uint32_t block = 0, found = 0;
    uint64_t page = 0;
    ColoPageSet s;
    ColoRun run;

    colo_page_set_init(&s, page_counts, 3);
    s.maps[0].bits[0] = ~0ul;
    s.maps[1].bits[0] = ~0ul;
    s.maps[2].bits[0] = s.maps[2].bits[1] = ~0ul;
    g_assert_cmpuint(colo_page_set_count(&s), ==, 5 + 2 * WORD_BITS + 1);
    while (colo_page_set_next(&s, &block, &page, UINT32_MAX, &run)) {
        g_assert_cmpuint(run.first, ==, 0);
        g_assert_cmpuint(run.count, ==, page_counts[run.block]);
        found++;
    }
    g_assert_cmpuint(found, ==, 3);
    colo_page_set_destroy(&s);
}

/* Bit n of word m is page m * bits + n, as in QEMU's bitmaps. */
static void test_layout(void)
{
    const uint64_t page_count = 4 * WORD_BITS;
    ColoPageSet s;

    colo_page_set_init(&s, &page_count, 1);
    colo_page_set_add(&s, &(ColoRun) { 0, 2, WORD_BITS - 1 });
    g_assert_cmphex(s.maps[0].bits[0], ==, 1ul << (WORD_BITS - 1));
    g_assert_cmphex(s.maps[0].bits[1], ==, 1);
    g_assert_cmphex(s.maps[0].bits[2], ==, 0);
    colo_page_set_add(&s, &(ColoRun) { 0, page_count, 0 });
    g_assert_cmphex(s.maps[0].bits[3], ==, ~0ul);
    colo_page_set_destroy(&s);
}

static void test_empty(void)
{
    ColoPageSet s;
    uint32_t block = 0;
    uint64_t page = 0;
    ColoRun run;

    colo_page_set_init(&s, NULL, 0);
    g_assert_cmpuint(colo_page_set_count(&s), ==, 0);
    g_assert_false(colo_page_set_next(&s, &block, &page, 1, &run));
    colo_page_set_clear_all(&s);
    colo_page_set_union(&s, &s);
    colo_page_set_destroy(&s);
    colo_page_set_destroy(&s);
    g_assert_null(s.maps);
}

/* An idle checkpoint of a 64 GiB guest: scan and find one page, quickly. */
static void test_sparse_scan(void)
{
    const uint64_t page_count = 16ull << 20;
    int64_t start_us, spent_us = INT64_MAX;
    ColoPageSet s;
    unsigned i;

    colo_page_set_init(&s, &page_count, 1);
    colo_page_set_add(&s, &(ColoRun) { 0, 1, page_count - 1 });
    for (i = 0; i < 5; i++) {
        uint32_t block = 0;
        uint64_t page = 0;
        ColoRun run;

        start_us = g_get_monotonic_time();
        g_assert_true(colo_page_set_next(&s, &block, &page, 512, &run));
        g_assert_cmpuint(run.first, ==, page_count - 1);
        g_assert_false(colo_page_set_next(&s, &block, &page, 512, &run));
        spent_us = MIN(spent_us, g_get_monotonic_time() - start_us);
    }
    g_test_message("scan of 64 GiB: %" G_GINT64_FORMAT " us", spent_us);
    /* by bits it would take 16 Mi steps; by words 262,144 */
    g_assert_cmpint(spent_us, <, 10000);
    colo_page_set_destroy(&s);
}

typedef struct BugCase {
    const char *path;
    ColoRun run;
} BugCase;

static void test_outside_is_a_bug(gconstpointer opaque)
{
    const BugCase *bug = opaque;

    if (g_test_subprocess()) {
        ColoPageSet s;

        colo_page_set_init(&s, geometry, BLOCKS);
        colo_page_set_add(&s, &bug->run);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*assertion failed*");
}

int main(int argc, char **argv)
{
    static const BugCase bugs[] = {
        { "/pages/bug/block", { BLOCKS, 1, 0 } },
        { "/pages/bug/first", { 1, 0, 2 } },
        { "/pages/bug/count", { 1, 2, 0 } },
        { "/pages/bug/wrap", { 1, 2, UINT64_MAX } },
    };
    unsigned i;

    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pages/oracle", test_against_oracle);
    g_test_add_func("/pages/union", test_union);
    g_test_add_func("/pages/next-from", test_next_from);
    g_test_add_func("/pages/past-end", test_bits_past_the_end);
    g_test_add_func("/pages/layout", test_layout);
    g_test_add_func("/pages/empty", test_empty);
    g_test_add_func("/pages/sparse", test_sparse_scan);
    for (i = 0; i < G_N_ELEMENTS(bugs); i++) {
        g_test_add_data_func(bugs[i].path, &bugs[i], test_outside_is_a_bug);
    }
    return g_test_run();
}
