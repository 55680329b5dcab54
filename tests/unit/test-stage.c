/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The staging area: apply puts the staged pages into memory, undo puts back
 * what was there, and memory is bounded and given back.
 */
#include <string.h>
#include <sys/mman.h>
#include "colo/pages.h"

enum { BLOCKS = 2, PAGES = 40, TOUCHED_MAX = 10000 };

typedef struct Guest {
    uint32_t page_bytes;
    uint8_t *ram[BLOCKS];
    ColoRun touched[TOUCHED_MAX];
    unsigned touched_count;
} Guest;

static size_t ram_bytes(const Guest *g)
{
    return (size_t)PAGES * g->page_bytes;
}

static Guest *guest_new(uint32_t page_bytes, GRand *rand)
{
    Guest *g = g_new0(Guest, 1);
    size_t i;
    unsigned b;

    g->page_bytes = page_bytes;
    for (b = 0; b < BLOCKS; b++) {
        g->ram[b] = g_malloc(ram_bytes(g));
        for (i = 0; i < ram_bytes(g); i++) {
            g->ram[b][i] = g_rand_int(rand);
        }
    }
    return g;
}

static Guest *guest_copy(const Guest *from)
{
    Guest *g = g_new0(Guest, 1);
    unsigned b;

    g->page_bytes = from->page_bytes;
    for (b = 0; b < BLOCKS; b++) {
        g->ram[b] = g_memdup2(from->ram[b], ram_bytes(from));
    }
    return g;
}

static void guest_free(Guest *g)
{
    unsigned b;

    for (b = 0; b < BLOCKS; b++) {
        g_free(g->ram[b]);
    }
    g_free(g);
}

static void assert_same_ram(const Guest *a, const Guest *b)
{
    unsigned i;

    for (i = 0; i < BLOCKS; i++) {
        g_assert_cmpmem(a->ram[i], ram_bytes(a), b->ram[i], ram_bytes(b));
    }
}

static void *page_at(void *opaque, uint32_t block, uint64_t page)
{
    Guest *g = opaque;

    g_assert_cmpuint(block, <, BLOCKS);
    g_assert_cmpuint(page, <, PAGES);
    return g->ram[block] + page * g->page_bytes;
}

static void touched(void *opaque, const ColoRun *run)
{
    Guest *g = opaque;

    g_assert_cmpuint(g->touched_count, <, TOUCHED_MAX);
    g->touched[g->touched_count++] = *run;
}

/* ---------------------------------------------------------------- swap */

/* A frame of ascending runs, staged and written to @result page by page. */
static void stage_frame(ColoStage *s, Guest *result, GRand *rand)
{
    ColoRun runs[BLOCKS * PAGES];
    uint32_t run_count = 0, b, r, i;
    uint64_t pages = 0, at;
    ColoChunk *c;
    uint8_t *data;

    for (b = 0; b < BLOCKS; b++) {
        for (at = g_rand_int_range(rand, 0, 4); at < PAGES;
             at += g_rand_int_range(rand, 0, 6)) {
            ColoRun *run = &runs[run_count++];

            *run = (ColoRun) { b, g_rand_int_range(rand, 1,
                               MIN(PAGES - at, 5) + 1), at };
            pages += run->count;
            at += run->count;
        }
    }
    c = colo_stage_add(s, runs, run_count, pages);
    g_assert_nonnull(c);
    g_assert_cmpuint(c->page_count, ==, pages);
    g_assert_cmpmem(c->runs, c->run_count * sizeof(ColoRun),
                    runs, run_count * sizeof(ColoRun));
    data = c->data;
    for (r = 0; r < run_count; r++) {
        for (i = 0; i < runs[r].count; i++, data += s->page_bytes) {
            memset(data, g_rand_int(rand), s->page_bytes);
            data[s->page_bytes - 1] ^= 0x55;
            memcpy(page_at(result, runs[r].block, runs[r].first + i), data,
                   s->page_bytes);
        }
    }
}

/* Frames name pages again and again: the last one must win, undo must end
 * at the beginning, and applying again must be as good as the first time. */
static void test_swap_and_undo(gconstpointer opaque)
{
    uint32_t page_bytes = GPOINTER_TO_UINT(opaque);
    g_autoptr(GRand) rand = g_rand_new_with_seed(page_bytes);
    unsigned round, i;
    ColoStage s;

    colo_stage_init(&s, page_bytes, 0);
    for (round = 0; round < 6; round++) {
        Guest *g = guest_new(page_bytes, rand);
        Guest *before = guest_copy(g), *after = guest_copy(g);

        for (i = 0; i < round; i++) {
            stage_frame(&s, after, rand);
        }
        for (i = 0; i < 2; i++) {
            colo_stage_swap(&s, false, page_at, touched, g);
            assert_same_ram(g, after);
            colo_stage_swap(&s, true, page_at, NULL, g);
            assert_same_ram(g, before);
        }
        colo_stage_reset(&s);
        g_assert_cmpuint(s.chunks->len, ==, 0);
        colo_stage_swap(&s, false, page_at, NULL, g);
        assert_same_ram(g, before);
        guest_free(g);
        guest_free(before);
        guest_free(after);
    }
    colo_stage_destroy(&s);
}

static void test_touched_runs(void)
{
    static const ColoRun first[] = { { 0, 2, 1 }, { 0, 1, 7 }, { 1, 3, 0 } };
    static const ColoRun second[] = { { 1, 1, 39 } };
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);
    Guest *g = guest_new(1024, rand);
    ColoStage s;

    colo_stage_init(&s, 1024, 0);
    memset(colo_stage_add(&s, first, 3, 6)->data, 1, 6 * 1024);
    memset(colo_stage_add(&s, second, 1, 1)->data, 2, 1024);
    colo_stage_swap(&s, false, page_at, touched, g);
    g_assert_cmpuint(g->touched_count, ==, 4);
    g_assert_cmpmem(g->touched, sizeof(first), first, sizeof(first));
    g_assert_cmpmem(&g->touched[3], sizeof(second), second, sizeof(second));
    colo_stage_swap(&s, true, page_at, touched, g);
    g_assert_cmpuint(g->touched_count, ==, 8);
    g_assert_cmpmem(&g->touched[4], sizeof(second), second, sizeof(second));
    colo_stage_destroy(&s);
    guest_free(g);
}

/* -------------------------------------------------------------- memory */

static const ColoRun one_run = { 0, 1, 0 };

static ColoChunk *add_pages(ColoStage *s, uint64_t page_count)
{
    ColoRun run = one_run;
    ColoChunk *c;

    run.count = page_count;
    c = colo_stage_add(s, &run, 1, page_count);
    if (c) {
        memset(c->data, 0xee, page_count * s->page_bytes);
    }
    return c;
}

static void test_limit(void)
{
    ColoStage s;

    colo_stage_init(&s, 4096, 10 * 4096);
    g_assert_null(add_pages(&s, 11));
    g_assert_cmpuint(s.used_bytes, ==, 0);
    g_assert_nonnull(add_pages(&s, 4));
    g_assert_null(add_pages(&s, 7));
    g_assert_nonnull(add_pages(&s, 6));
    g_assert_cmpuint(s.used_bytes, ==, 10 * 4096);
    g_assert_null(add_pages(&s, 1));
    g_assert_cmpuint(s.chunks->len, ==, 2);
    colo_stage_reset(&s);
    g_assert_cmpuint(s.used_bytes, ==, 0);
    g_assert_nonnull(add_pages(&s, 10));
    /* lowered by the operator under what is staged: nothing more fits */
    s.limit_bytes = 4096;
    g_assert_null(add_pages(&s, 1));
    colo_stage_destroy(&s);
}

/* The same checkpoint again and again takes no new memory. */
static void test_reuse(void)
{
    ColoStage s;
    uint64_t held_bytes = 0;
    unsigned round, i;

    colo_stage_init(&s, 4096, 0);
    for (round = 0; round < 50; round++) {
        for (i = 1; i <= 10; i++) {
            ColoChunk *c = add_pages(&s, i * 51);

            g_assert_nonnull(c);
            g_assert_cmpuint((uintptr_t)c->data % 4096, ==, 0);
        }
        if (round == 0) {
            held_bytes = s.held_bytes;
        }
        g_assert_cmpuint(s.used_bytes, ==, 55 * 51 * 4096);
        g_assert_cmpuint(s.held_bytes, ==, held_bytes);
        g_assert_cmpuint(s.held_bytes, >=, s.used_bytes);
        colo_stage_reset(&s);
        g_assert_cmpuint(s.held_bytes, ==, held_bytes);
    }
    g_assert_cmpuint(s.peak_bytes, ==, held_bytes);
    colo_stage_destroy(&s);
}

enum { LARGE_FRAMES = 32, FRAME_BYTES = COLO_PAGES_PER_FRAME_MAX * 4096 };

/* How much of the buffers, freed or not, has memory behind it? */
static uint64_t resident_bytes(uint8_t *const data[LARGE_FRAMES])
{
    unsigned char there;
    uint64_t bytes = 0;
    unsigned i, page;

    for (i = 0; i < LARGE_FRAMES; i++) {
        for (page = 0; page < COLO_PAGES_PER_FRAME_MAX; page++) {
            uint8_t *at = data[i] + page * 4096;

            /* an error: not even the address is left */
            if (mincore(at, 4096, &there) == 0 && (there & 1)) {
                bytes += 4096;
            }
        }
    }
    return bytes;
}

/* One checkpoint of @frames full frames. */
static void checkpoint(ColoStage *s, unsigned frames)
{
    while (frames-- > 0) {
        g_assert_nonnull(add_pages(s, COLO_PAGES_PER_FRAME_MAX));
    }
    colo_stage_reset(s);
}

/*
 * Large checkpoints keep their memory, small ones after them give it back:
 * also when malloc took it from its heap, as it does once it has seen a
 * larger block freed, and something lies above that cannot move.
 */
static void test_give_back(void)
{
    const uint64_t large_bytes = (uint64_t)LARGE_FRAMES * FRAME_BYTES;
    g_autofree void *above = NULL;
    uint8_t *data[LARGE_FRAMES];
    ColoStage s;
    unsigned i;

    g_free(g_malloc(4 * FRAME_BYTES));
    colo_stage_init(&s, 4096, 0);
    for (i = 0; i < LARGE_FRAMES; i++) {
        data[i] = add_pages(&s, COLO_PAGES_PER_FRAME_MAX)->data;
    }
    above = g_malloc(FRAME_BYTES / 2);
    colo_stage_reset(&s);
    checkpoint(&s, LARGE_FRAMES);
    g_assert_cmpuint(s.held_bytes, ==, large_bytes);
    g_assert_cmpuint(resident_bytes(data), >, large_bytes / 2);
    for (i = 0; s.held_bytes > COLO_STAGE_KEEP_BYTES; i++) {
        uint64_t held_bytes = s.held_bytes;

        g_assert_cmpuint(i, <, 10);
        checkpoint(&s, 1);
        g_assert_cmpuint(s.held_bytes, <, held_bytes);
    }
    checkpoint(&s, 1);
    g_assert_cmpuint(s.held_bytes, ==, COLO_STAGE_KEEP_BYTES);
    g_assert_cmpuint(s.peak_bytes, ==, large_bytes);
    /* the allocator may keep notes of its own in what was freed */
    g_assert_cmpuint(resident_bytes(data), <=,
                     COLO_STAGE_KEEP_BYTES + LARGE_FRAMES * 16384);
    colo_stage_destroy(&s);
    g_assert_cmpuint(s.held_bytes, ==, 0);
}

/* Small frames are not charged a large buffer; the accounts agree. */
static void test_small_frames(void)
{
    ColoStage s;
    unsigned i;

    colo_stage_init(&s, 4096, 0);
    for (i = 0; i < 300; i++) {
        g_assert_nonnull(add_pages(&s, 1));
    }
    g_assert_cmpuint(s.used_bytes, ==, 300 * 4096);
    g_assert_cmpuint(s.held_bytes, ==, 300ull * 64 * 4096);
    colo_stage_reset(&s);
    g_assert_cmpuint(s.held_bytes, ==, 300ull * 64 * 4096);
    g_assert_nonnull(add_pages(&s, COLO_PAGES_PER_FRAME_MAX));
    colo_stage_destroy(&s);
}

/* A spare buffer serves what it has room for, and nothing larger. */
static void test_spare_has_room(void)
{
    static const struct {
        uint64_t page_count, held_pages;
    } cases[] = {
        { 1, 64 }, { 64, 64 }, { 65, 64 + 128 }, { 128, 64 + 128 },
        { 129, 64 + 128 + 256 }, { 10, 64 + 128 + 256 },
        { 256, 64 + 128 + 256 }, { 257, 64 + 128 + 256 + 512 },
        { 512, 64 + 128 + 256 + 512 },
    };
    ColoStage s;
    unsigned i;

    colo_stage_init(&s, 4096, 0);
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_nonnull(add_pages(&s, cases[i].page_count));
        g_assert_cmpuint(s.held_bytes, ==, cases[i].held_pages * 4096);
        colo_stage_reset(&s);
    }
    colo_stage_destroy(&s);
}

static void test_destroy_twice(void)
{
    ColoStage s = { 0 };

    colo_stage_destroy(&s);
    colo_stage_init(&s, 65536, 0);
    g_assert_nonnull(add_pages(&s, COLO_PAGES_PER_FRAME_MAX));
    g_assert_cmpuint(s.held_bytes, ==, 65536 * COLO_PAGES_PER_FRAME_MAX);
    colo_stage_destroy(&s);
    colo_stage_destroy(&s);
    g_assert_null(s.chunks);
}

static void test_too_many_pages_is_a_bug(gconstpointer page_count)
{
    if (g_test_subprocess()) {
        ColoStage s;

        colo_stage_init(&s, 4096, 0);
        add_pages(&s, GPOINTER_TO_UINT(page_count));
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*COLO_PAGES_PER_FRAME_MAX*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/stage/swap/1024", GUINT_TO_POINTER(1024),
                         test_swap_and_undo);
    g_test_add_data_func("/stage/swap/4096", GUINT_TO_POINTER(4096),
                         test_swap_and_undo);
    g_test_add_data_func("/stage/swap/65536", GUINT_TO_POINTER(65536),
                         test_swap_and_undo);
    g_test_add_func("/stage/touched", test_touched_runs);
    g_test_add_func("/stage/limit", test_limit);
    g_test_add_func("/stage/reuse", test_reuse);
    g_test_add_func("/stage/give-back", test_give_back);
    g_test_add_func("/stage/small-frames", test_small_frames);
    g_test_add_func("/stage/spare", test_spare_has_room);
    g_test_add_func("/stage/destroy", test_destroy_twice);
    g_test_add_data_func("/stage/bug/none", GUINT_TO_POINTER(0),
                         test_too_many_pages_is_a_bug);
    g_test_add_data_func("/stage/bug/many",
                         GUINT_TO_POINTER(COLO_PAGES_PER_FRAME_MAX + 1),
                         test_too_many_pages_is_a_bug);
    return g_test_run();
}
