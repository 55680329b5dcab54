/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: guest RAM of this side. See colo-ram.h for the contract.
 *
 * What is dirty is asked from the same log as migration uses
 * (DIRTY_MEMORY_MIGRATION, system/physmem.c), but not through ram.c: its
 * bitmaps belong to the first copy. A block's part of the log is copied and
 * cleared in words; block offsets in ram_addr_t space are aligned such that
 * two blocks never share a word (find_ram_offset(), system/physmem.c).
 *
 * Pages are put in place behind the back of the CPU. Under TCG the code that
 * was translated from a changed page is dropped page by page, which lets the
 * rest of the code cache live on over a checkpoint.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bitmap.h"
#include "qemu/rcu.h"
#include "exec/exec-all.h"
#include "exec/memory.h"
#include "exec/ram_addr.h"
#include "exec/ramblock.h"
#include "exec/target_page.h"
#include "system/runstate.h"
#include "system/tcg.h"
#include "migration/misc.h"
#include "migration.h"
#include "ram.h"
#include "colo-ram.h"

typedef struct ColoBlock {
    RAMBlock *rb;
    MemoryRegion *mr;        /* referenced */
} ColoBlock;

struct ColoRam {
    uint32_t count;
    ColoBlock *blocks;
    uint64_t *page_limits;
};

static int collect_block(RAMBlock *rb, void *opaque)
{
    GPtrArray *list = opaque;

    g_ptr_array_add(list, rb);
    return 0;
}

ColoRam *colo_ram_new(Error **errp)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    ColoRam *ram;

    WITH_RCU_READ_LOCK_GUARD() {
        foreach_not_ignored_block(collect_block, list);
    }
    if (list->len == 0 || list->len > COLO_BLOCKS_MAX) {
        error_setg(errp, "COLO: this machine has %u RAM blocks, "
                   "between 1 and %d can be protected",
                   list->len, COLO_BLOCKS_MAX);
        return NULL;
    }
    ram = g_new0(ColoRam, 1);
    ram->count = list->len;
    ram->blocks = g_new0(ColoBlock, ram->count);
    ram->page_limits = g_new0(uint64_t, ram->count);
    for (uint32_t i = 0; i < ram->count; i++) {
        RAMBlock *rb = list->pdata[i];

        ram->blocks[i].rb = rb;
        ram->blocks[i].mr = rb->mr;
        memory_region_ref(rb->mr);
        ram->page_limits[i] = rb->max_length >> TARGET_PAGE_BITS;
    }
    return ram;
}

void colo_ram_free(ColoRam *ram)
{
    if (!ram) {
        return;
    }
    for (uint32_t i = 0; i < ram->count; i++) {
        memory_region_unref(ram->blocks[i].mr);
    }
    g_free(ram->blocks);
    g_free(ram->page_limits);
    g_free(ram);
}

uint32_t colo_ram_block_count(const ColoRam *ram)
{
    return ram->count;
}

const uint64_t *colo_ram_page_limits(const ColoRam *ram)
{
    return ram->page_limits;
}

uint32_t colo_ram_page_bytes(void)
{
    return TARGET_PAGE_SIZE;
}

uint64_t colo_ram_bytes(const ColoRam *ram)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < ram->count; i++) {
        sum += ram->page_limits[i] << TARGET_PAGE_BITS;
    }
    return sum;
}

ColoBlockInfo *colo_ram_table(ColoRam *ram)
{
    ColoBlockInfo *table = g_new0(ColoBlockInfo, ram->count);

    for (uint32_t i = 0; i < ram->count; i++) {
        g_strlcpy(table[i].name, ram->blocks[i].rb->idstr,
                  sizeof(table[i].name));
        table[i].used_bytes = ram->blocks[i].rb->used_length;
        table[i].page_bytes = TARGET_PAGE_SIZE;
    }
    return table;
}

/* ------------------------------------------------ the primary's table */

static int find_block(const ColoRam *ram, const char *name, uint32_t from)
{
    for (uint32_t i = from; i < ram->count; i++) {
        if (!strcmp(ram->blocks[i].rb->idstr, name)) {
            return i;
        }
    }
    return -1;
}

bool colo_ram_adopt(ColoRam *ram, const ColoBlockInfo *table, uint32_t count,
                    Error **errp)
{
    if (count != ram->count) {
        error_setg(errp, "the primary has %u RAM blocks, the secondary %u; "
                   "give both the same devices", count, ram->count);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        int at = find_block(ram, table[i].name, i);
        ColoBlock tmp;
        uint64_t limit;

        if (at < 0) {
            error_setg(errp, "the secondary has no RAM block '%s'; give "
                       "both sides the same devices", table[i].name);
            return false;
        }
        if (table[i].page_bytes != TARGET_PAGE_SIZE ||
            table[i].used_bytes > ram->blocks[at].rb->max_length) {
            error_setg(errp, "RAM block '%s' has another size on the "
                       "secondary", table[i].name);
            return false;
        }
        tmp = ram->blocks[i];
        ram->blocks[i] = ram->blocks[at];
        ram->blocks[at] = tmp;
        limit = ram->page_limits[i];
        ram->page_limits[i] = ram->page_limits[at];
        ram->page_limits[at] = limit;
    }
    return true;
}

bool colo_ram_resize(ColoRam *ram, const ColoBlockInfo *table, Error **errp)
{
    for (uint32_t i = 0; i < ram->count; i++) {
        RAMBlock *rb = ram->blocks[i].rb;

        if (rb->used_length == table[i].used_bytes) {
            continue;
        }
        if (strcmp(rb->idstr, table[i].name) ||
            table[i].used_bytes > rb->max_length) {
            error_setg(errp, "RAM block '%s' cannot take the size %" PRIu64
                       " that it has on the primary", rb->idstr,
                       table[i].used_bytes);
            return false;
        }
        if (qemu_ram_resize(rb, table[i].used_bytes, errp) < 0) {
            return false;
        }
    }
    return true;
}

/* --------------------------------------------------------- dirty pages */

/* The log is moved in whole words. */
QEMU_BUILD_BUG_ON(DIRTY_MEMORY_BLOCK_SIZE % BITS_PER_LONG);

static void sync_block(ColoRam *ram, uint32_t i, ColoPageSet *set)
{
    RAMBlock *rb = ram->blocks[i].rb;
    uint64_t pages = ram->page_limits[i];
    uint64_t first = rb->offset >> TARGET_PAGE_BITS;
    unsigned long *to = set ? set->maps[i].bits : NULL;
    DirtyMemoryBlocks *log;
    bool any = false;

    RCU_READ_LOCK_GUARD();
    log = qatomic_rcu_read(&ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION]);
    for (uint64_t p = 0; p < pages; p += BITS_PER_LONG) {
        uint64_t at = first + p;
        unsigned long *word = log->blocks[at / DIRTY_MEMORY_BLOCK_SIZE] +
            BIT_WORD(at % DIRTY_MEMORY_BLOCK_SIZE);
        unsigned long bits;

        if (!*word) {
            continue;
        }
        bits = qatomic_xchg(word, 0);
        if (pages - p < BITS_PER_LONG) {
            bits &= BITMAP_LAST_WORD_MASK(pages - p);
        }
        if (to) {
            to[BIT_WORD(p)] |= bits;
        }
        any = true;
    }
    if (any) {
        if (tcg_enabled()) {
            tlb_reset_dirty_range_all(rb->offset, rb->used_length);
        }
        memory_region_clear_dirty_bitmap(rb->mr, 0, rb->used_length);
    }
}

void colo_ram_sync(ColoRam *ram, ColoPageSet *set)
{
    memory_global_dirty_log_sync(!runstate_is_running());
    for (uint32_t i = 0; i < ram->count; i++) {
        sync_block(ram, i, set);
    }
}

bool colo_ram_log_start(Error **errp)
{
    ColoRam *ram = colo_ram_new(errp);

    if (!ram) {
        return false;
    }
    if (!memory_global_dirty_log_start(GLOBAL_DIRTY_MIGRATION, errp)) {
        colo_ram_free(ram);
        return false;
    }
    /* KVM's log and fresh RAM begin all dirty: not what we want to know. */
    colo_ram_sync(ram, NULL);
    colo_ram_free(ram);
    return true;
}

void colo_ram_log_stop(void)
{
    memory_global_dirty_log_stop(GLOBAL_DIRTY_MIGRATION);
}

/* ------------------------------------------------------- pages in place */

void *colo_ram_page_at(void *opaque, uint32_t block, uint64_t page)
{
    ColoRam *ram = opaque;

    return ram->blocks[block].rb->host + (page << TARGET_PAGE_BITS);
}

void colo_ram_touched(void *opaque, const ColoRun *run)
{
    ColoRam *ram = opaque;
    ram_addr_t start = ram->blocks[run->block].rb->offset +
                       (run->first << TARGET_PAGE_BITS);
    ram_addr_t size = (ram_addr_t)run->count << TARGET_PAGE_BITS;

#ifdef CONFIG_TCG
    if (tcg_enabled()) {
        /* One page at a time: a page without code costs a bit test. */
        for (ram_addr_t at = start; at < start + size;
             at += TARGET_PAGE_SIZE) {
            if (!cpu_physical_memory_get_dirty_flag(at,
                                                    DIRTY_MEMORY_CODE)) {
                tb_invalidate_phys_range(at, at + TARGET_PAGE_SIZE - 1);
            }
        }
    }
#endif
    cpu_physical_memory_set_dirty_range(start, size,
                                        1 << DIRTY_MEMORY_VGA);
}
