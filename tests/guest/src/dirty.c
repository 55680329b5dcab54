/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory dirtying with content that can be checked.
 *
 * An area of span MiB is written page after page, over and over. The value of
 * every word depends on (page, pass, word) only, never on the time, so that two
 * machines in lockstep write the same content although not at the same moment.
 *   sparse  the first 8 bytes of each 64-byte line change with the pass, the
 *           rest keeps the value of pass 0
 *   full    all 512 words of the page change with the pass
 * Invariant outside the lock: pages below "next" hold pass "pass", the others
 * hold pass - 1. dirty_check() verifies exactly that.
 *
 * Pace: every SLICE_US the thread writes the pages that are due since the last
 * slice. A machine that was stopped for longer (a checkpoint) does not make up
 * for more than CATCH_UP_MAX_US, so a pause is not followed by a burst.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "dirty.h"

enum {
    PAGE_BYTES = 4096,
    PAGE_WORDS = PAGE_BYTES / 8,
    LINE_WORDS = 64 / 8,
    PAGES_PER_MIB = (1 << 20) / PAGE_BYTES,
    SLICE_US = 2000,
    CATCH_UP_MAX_US = 50000,
    SPAN_MAX_MIB = 65536,
    LEAVE_FREE_MIB = 16,        /* for everything else in the guest */
};

static struct {
    pthread_mutex_t lock;
    pthread_t thread;
    bool running;               /* control thread only */
    /* under the lock */
    bool stop;
    uint64_t *area;
    uint64_t pages_count;
    uint64_t next;
    DirtyStat stat;
} dirty = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* One round of multiply and shift: cheap, and no two neighbours alike. */
static inline uint64_t word_value(uint64_t page, uint64_t pass, unsigned word)
{
    uint64_t mixed = (page << 9 | word) * 0x9e3779b97f4a7c15u;

    mixed += (pass + 1) * 0xd1342543de82ef95u;
    return mixed ^ mixed >> 29;
}

static void write_page(uint64_t page, uint64_t pass, unsigned step)
{
    uint64_t *words = dirty.area + page * PAGE_WORDS;

    for (unsigned i = 0; i < PAGE_WORDS; i += step) {
        words[i] = word_value(page, pass, i);
    }
}

static void write_next_page_locked(void)
{
    write_page(dirty.next, dirty.stat.pass, dirty.stat.full ? 1 : LINE_WORDS);
    dirty.stat.pages_written++;
    if (++dirty.next == dirty.pages_count) {
        dirty.next = 0;
        dirty.stat.pass++;
    }
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

static void *dirty_run(void *opaque)
{
    const struct timespec slice = { .tv_nsec = SLICE_US * 1000 };
    uint64_t last_us = now_us();
    uint64_t due = 0;       /* pages times microseconds per second */

    (void)opaque;
    for (;;) {
        uint64_t time_us, passed_us;

        nanosleep(&slice, NULL);
        pthread_mutex_lock(&dirty.lock);
        if (dirty.stop) {
            pthread_mutex_unlock(&dirty.lock);
            return NULL;
        }
        time_us = now_us();
        passed_us = time_us - last_us;
        last_us = time_us;
        if (passed_us > CATCH_UP_MAX_US) {
            passed_us = CATCH_UP_MAX_US;
        }
        due += passed_us * dirty.stat.rate_mib_per_s * PAGES_PER_MIB;
        for (; due >= 1000000; due -= 1000000) {
            write_next_page_locked();
        }
        pthread_mutex_unlock(&dirty.lock);
    }
}

static bool fits_into_memory(unsigned span_mib)
{
    struct sysinfo memory;

    sysinfo(&memory);
    return span_mib + LEAVE_FREE_MIB <=
           ((uint64_t)memory.freeram * memory.mem_unit >> 20);
}

static void dirty_stop(void)
{
    if (!dirty.running) {
        return;
    }
    pthread_mutex_lock(&dirty.lock);
    dirty.stop = true;
    pthread_mutex_unlock(&dirty.lock);
    pthread_join(dirty.thread, NULL);
    munmap(dirty.area, dirty.pages_count * PAGE_BYTES);
    dirty.area = NULL;
    dirty.pages_count = 0;
    dirty.stat = (DirtyStat){ 0 };
    dirty.running = false;
}

const char *dirty_start(unsigned rate_mib_per_s, unsigned span_mib, bool full)
{
    size_t size = (size_t)span_mib << 20;
    void *area;

    dirty_stop();
    if (!rate_mib_per_s) {
        return NULL;
    }
    if (!span_mib || span_mib > SPAN_MAX_MIB) {
        return "span out of range";
    }
    if (!fits_into_memory(span_mib)) {
        return "not enough free memory for the span: give the guest more";
    }
    area = mmap(NULL, size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) {
        return "no address space for the span";
    }
    dirty.area = area;
    dirty.pages_count = (uint64_t)span_mib * PAGES_PER_MIB;
    dirty.next = 0;
    dirty.stop = false;
    dirty.stat = (DirtyStat){ .rate_mib_per_s = rate_mib_per_s,
                              .span_mib = span_mib, .full = full, .pass = 1 };
    for (uint64_t page = 0; page < dirty.pages_count; page++) {
        write_page(page, 0, 1);
    }
    if (pthread_create(&dirty.thread, NULL, dirty_run, NULL)) {
        munmap(area, size);
        return "no thread";
    }
    dirty.running = true;
    return NULL;
}

DirtyStat dirty_stat(void)
{
    DirtyStat stat;

    pthread_mutex_lock(&dirty.lock);
    stat = dirty.stat;
    pthread_mutex_unlock(&dirty.lock);
    return stat;
}

static bool page_is_right(uint64_t page, size_t *bad_offset)
{
    const uint64_t *words = dirty.area + page * PAGE_WORDS;
    uint64_t pass = dirty.stat.pass - (page >= dirty.next);

    for (unsigned i = 0; i < PAGE_WORDS; i++) {
        bool changes = dirty.stat.full || i % LINE_WORDS == 0;

        if (words[i] != word_value(page, changes ? pass : 0, i)) {
            *bad_offset = page * PAGE_BYTES + i * 8;
            return false;
        }
    }
    return true;
}

bool dirty_check(size_t *bad_offset)
{
    bool right = true;

    pthread_mutex_lock(&dirty.lock);
    for (uint64_t page = 0; right && page < dirty.pages_count; page++) {
        right = page_is_right(page, bad_offset);
    }
    pthread_mutex_unlock(&dirty.lock);
    return right;
}
