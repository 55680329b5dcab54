/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The head of DIRTY and PAGES. Accepted runs must be safe to index a page
 * set with, and the set must hold exactly as many pages as were told.
 */
#include "fuzz.h"
#include "colo/pages.h"

/* Of several sizes, one empty, so that bounds are met from both sides. */
static const uint64_t page_counts[] = { 300, 0, 64, 5 };
enum { BLOCKS = G_N_ELEMENTS(page_counts), PAGES_MAX = 320 };

static void check_set(const ColoRun *runs, uint32_t run_count,
                      uint64_t page_count)
{
    uint32_t block = 0, i;
    uint64_t page = 0, seen = 0;
    ColoPageSet s;
    ColoRun run;

    colo_page_set_init(&s, page_counts, BLOCKS);
    for (i = 0; i < run_count; i++) {
        colo_page_set_add(&s, &runs[i]);
    }
    g_assert(colo_page_set_count(&s) == page_count);
    while (colo_page_set_next(&s, &block, &page, 7, &run)) {
        g_assert(run.count > 0 && run.count <= 7);
        seen += run.count;
    }
    g_assert(seen == page_count);
    colo_page_set_destroy(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autofree ColoRun *runs = g_new(ColoRun, COLO_RUNS_PER_FRAME_MAX);
    uint32_t run_count;
    uint64_t page_count;
    size_t head_bytes;

    if (colo_wire_get_runs(in, size, page_counts, BLOCKS, PAGES_MAX, runs,
                           &run_count, &page_count, &head_bytes) ==
        COLO_WIRE_OK) {
        g_assert(head_bytes <= size && page_count <= PAGES_MAX);
        colo_wire_put_runs(again, runs, run_count);
        fuzz_assert_same(again, in, head_bytes);
        check_set(runs, run_count, page_count);
    }
    return 0;
}
