/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: sets of guest pages.
 *
 * One bitmap per RAM block in QEMU's layout: bit n of the map is bit
 * n % BITS_PER_LONG of word n / BITS_PER_LONG. Glue may set bits of a map
 * itself; bits past the last page must stay zero, and are never looked at.
 *
 * A checkpoint of an idle guest finds a handful of bits in a map of a
 * million, so scanning goes by words and touches a word once.
 */
#include <string.h>
#include "colo/pages.h"

#define WORD_BITS ((unsigned)(sizeof(unsigned long) * 8))

static uint64_t word_count(uint64_t page_count)
{
    return page_count / WORD_BITS + (page_count % WORD_BITS != 0);
}

/* Bits @first to the end of the word. */
static unsigned long mask_from(uint64_t first)
{
    return ~0ul << (first % WORD_BITS);
}

/* Bits 0 to the one before @end, the whole word when @end starts the next. */
static unsigned long mask_until(uint64_t end)
{
    return ~0ul >> ((WORD_BITS - end % WORD_BITS) % WORD_BITS);
}

void colo_page_set_init(ColoPageSet *s, const uint64_t *page_counts,
                        uint32_t block_count)
{
    uint32_t i;

    s->block_count = block_count;
    s->maps = g_new0(ColoPageMap, block_count);
    for (i = 0; i < block_count; i++) {
        s->maps[i].page_count = page_counts[i];
        s->maps[i].bits = g_new0(unsigned long, word_count(page_counts[i]));
    }
}

void colo_page_set_clear_all(ColoPageSet *s)
{
    uint32_t i;

    for (i = 0; i < s->block_count; i++) {
        ColoPageMap *m = &s->maps[i];

        if (m->page_count > 0) {
            memset(m->bits, 0, word_count(m->page_count) * sizeof(*m->bits));
        }
    }
}

void colo_page_set_destroy(ColoPageSet *s)
{
    uint32_t i;

    for (i = 0; i < s->block_count; i++) {
        g_free(s->maps[i].bits);
    }
    g_free(s->maps);
    memset(s, 0, sizeof(*s));
}

static ColoPageMap *map_of(const ColoPageSet *s, uint32_t block,
                           uint64_t first, uint64_t count)
{
    ColoPageMap *m;

    g_assert(block < s->block_count);
    m = &s->maps[block];
    g_assert(first <= m->page_count && count <= m->page_count - first);
    return m;
}

void colo_page_set_add(ColoPageSet *s, const ColoRun *run)
{
    ColoPageMap *m = map_of(s, run->block, run->first, run->count);
    uint64_t end = run->first + run->count;
    uint64_t word = run->first / WORD_BITS;
    uint64_t last;

    if (run->count == 0) {
        return;
    }
    last = (end - 1) / WORD_BITS;
    if (word == last) {
        m->bits[word] |= mask_from(run->first) & mask_until(end);
        return;
    }
    m->bits[word] |= mask_from(run->first);
    for (word++; word < last; word++) {
        m->bits[word] = ~0ul;
    }
    m->bits[last] |= mask_until(end);
}

void colo_page_set_remove(ColoPageSet *s, uint32_t block, uint64_t page)
{
    ColoPageMap *m = map_of(s, block, page, 1);

    m->bits[page / WORD_BITS] &= ~(1ul << (page % WORD_BITS));
}

bool colo_page_set_test(const ColoPageSet *s, uint32_t block, uint64_t page)
{
    const ColoPageMap *m = map_of(s, block, page, 1);

    return m->bits[page / WORD_BITS] >> (page % WORD_BITS) & 1;
}

void colo_page_set_union(ColoPageSet *dst, const ColoPageSet *src)
{
    uint32_t i;

    g_assert(dst->block_count == src->block_count);
    for (i = 0; i < dst->block_count; i++) {
        unsigned long *to = dst->maps[i].bits;
        const unsigned long *from = src->maps[i].bits;
        uint64_t words = word_count(dst->maps[i].page_count);
        uint64_t w;

        g_assert(dst->maps[i].page_count == src->maps[i].page_count);
        for (w = 0; w < words; w++) {
            to[w] |= from[w];
        }
    }
}

static uint64_t map_count(const ColoPageMap *m)
{
    uint64_t words = word_count(m->page_count);
    uint64_t count = 0;
    uint64_t w;

    for (w = 0; w + 1 < words; w++) {
        /* most are zero, and counting may be a library call */
        if (m->bits[w]) {
            count += __builtin_popcountl(m->bits[w]);
        }
    }
    if (words > 0) {
        count += __builtin_popcountl(m->bits[words - 1] &
                                     mask_until(m->page_count));
    }
    return count;
}

uint64_t colo_page_set_count(const ColoPageSet *s)
{
    uint64_t count = 0;
    uint32_t i;

    for (i = 0; i < s->block_count; i++) {
        count += map_count(&s->maps[i]);
    }
    return count;
}

/*
 * The first page at or after @page, before @end, whose bit is set (@flip 0)
 * or clear (@flip ~0), or @end.
 */
static uint64_t map_find(const ColoPageMap *m, uint64_t page, uint64_t end,
                         unsigned long flip)
{
    uint64_t words = word_count(end);
    uint64_t w = page / WORD_BITS;
    unsigned long bits;

    if (page >= end) {
        return end;
    }
    bits = (m->bits[w] ^ flip) & mask_from(page);
    while (!bits) {
        if (++w >= words) {
            return end;
        }
        bits = m->bits[w] ^ flip;
    }
    page = w * WORD_BITS + __builtin_ctzl(bits);
    return MIN(page, end);
}

bool colo_page_set_next(const ColoPageSet *s, uint32_t *block, uint64_t *page,
                        uint32_t max_count, ColoRun *run)
{
    g_assert(max_count > 0);
    for (; *block < s->block_count; ++*block, *page = 0) {
        const ColoPageMap *m = &s->maps[*block];
        uint64_t first = map_find(m, *page, m->page_count, 0);
        uint64_t end;

        if (first == m->page_count) {
            continue;
        }
        end = m->page_count - first > max_count ? first + max_count
                                                : m->page_count;
        end = map_find(m, first, end, ~0ul);
        *run = (ColoRun) { *block, end - first, first };
        *page = end;
        return true;
    }
    return false;
}
