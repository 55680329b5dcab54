/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A world around the disk: its stages, and the choice of steps.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "disk-world-int.h"

void world_must(DiskWorld *w, bool good, const char *property)
{
    if (!good && !w->failed) {
        w->failed = property;
    }
}

const char *disk_world_failed(const DiskWorld *w)
{
    return w->failed;
}

/* -------------------------------------------------------------- stages */

static void do_begin(DiskWorld *w)
{
    colo_disk_begin(w->disk);
    epoch_open(w);
    w->stage = COLO_DISK_RUNNING;
}

static void do_cut(DiskWorld *w)
{
    colo_disk_cut(w->disk);
    epoch_open(w);
    w->stage = COLO_DISK_CUT;
}

static void do_enter(DiskWorld *w)
{
    core_enter(w);
    epoch_drop(w);
    w->stage = COLO_DISK_RUNNING;
    w->count->enters++;
}

static void do_roll_back(DiskWorld *w)
{
    core_roll_back(w);
    epoch_join(w);
    w->stage = COLO_DISK_RUNNING;
    w->count->roll_backs++;
}

static void do_take_over(DiskWorld *w)
{
    colo_disk_take_over(w->disk);
    w->stage = epoch_covers(w, &w->epochs[0]) ? COLO_DISK_MERGING
                                              : COLO_DISK_ALONE;
}

static void drop_all(DiskWorld *w, ColoDropped *dropped)
{
    world_must(w, !dropped == !w->epoch_count, "stage");
    if (dropped) {
        g_ptr_array_add(w->dropped, dropped);
    }
    while (w->epoch_count > 0) {
        epoch_drop(w);
    }
}

static void do_leftover(DiskWorld *w)
{
    drop_all(w, colo_disk_leftover(w->disk));
}

static void do_stop(DiskWorld *w)
{
    drop_all(w, colo_disk_stop(w->disk));
    w->stage = COLO_DISK_OFF;
}

static void do_break(DiskWorld *w)
{
    colo_disk_break(w->disk);
    w->stage = COLO_DISK_BROKEN;
    w->count->breaks++;
}

/* --------------------------------------------------------------- steps */

/* Mostly small; what is large lets the rest of the disk be covered. */
static void choose_range(DiskWorld *w, uint32_t *offset, uint32_t *size)
{
    uint32_t units = w->bytes / w->unit;
    uint32_t most = choose(w, 24) == 0 ? units : MAX(1, units / 12);

    *size = 1 + choose(w, most);
    *offset = choose(w, units - *size + 1) * w->unit;
    *size *= w->unit;
}

static void step_range(DiskWorld *w, const char *name,
                       void (*fn)(DiskWorld *w, uint32_t offset,
                                  uint32_t size))
{
    uint32_t offset, size;

    choose_range(w, &offset, &size);
    if (w->trace) {
        printf("# %s %u,%u\n", name, offset, size);
    }
    fn(w, offset, size);
}

static void step_own(DiskWorld *w)
{
    step_range(w, "own", world_own);
}

static void step_zeroes(DiskWorld *w)
{
    step_range(w, "zeroes", world_own_zeroes);
}

static void step_peer(DiskWorld *w)
{
    step_range(w, "peer", world_peer);
}

static void read_settled(DiskWorld *w, uint32_t offset, uint32_t size)
{
    world_settle(w, offset, size);
    world_read(w, offset, size);
    if (w->stage == COLO_DISK_RUNNING) {
        world_look_own(w, offset, size);
    }
}

static void step_read(DiskWorld *w)
{
    step_range(w, "read", read_settled);
}

/* What is on its way must not be seen, so nothing is settled. */
static void step_look(DiskWorld *w)
{
    world_check(w);
}

static void step_settle(DiskWorld *w)
{
    step_range(w, "settle", world_settle);
}

/* Also from behind all that there is. */
static void merge_from(DiskWorld *w, uint32_t offset, uint32_t size)
{
    world_merge(w, choose(w, 8) == 0 ? w->bytes : offset, size);
}

static void step_merge(DiskWorld *w)
{
    step_range(w, "merge", merge_from);
}

static void step_waste(DiskWorld *w)
{
    world_waste(w, (1 + choose(w, CHUNK / w->grain)) * w->grain);
}

static void step_twin(DiskWorld *w)
{
    step_range(w, "twin", world_twin);
}

static void step_churn(DiskWorld *w)
{
    world_churn(w, (1 + choose(w, CHUNK / w->grain)) * w->grain);
}

static void step_reader(DiskWorld *w)
{
    step_range(w, "reader", world_reader);
}

static void step_go_on(DiskWorld *w)
{
    world_go_on(w);
}

static void step_free(DiskWorld *w)
{
    /* a wrong core may still use it */
    if (w->dropped->len > 0 && w->breakage == BREAK_NOTHING) {
        g_ptr_array_remove_index_fast(w->dropped,
                                      choose(w, w->dropped->len));
    }
}

#define IN(stage) (1u << COLO_DISK_##stage)

/*
 * What may be done in which stages, how often, and which changes them. Kept
 * inputs of the fuzzer know a step by the weights before it: new ones go to
 * the end.
 */
static const struct Step {
    const char *name;
    void (*fn)(DiskWorld *w);
    unsigned stages, weight;
    bool is_change, waits;
} steps[] = {
    { "own", step_own, IN(OFF) | IN(RUNNING) | IN(MERGING) | IN(ALONE), 24,
      false, false },
    { "zeroes", step_zeroes,
      IN(OFF) | IN(RUNNING) | IN(MERGING) | IN(ALONE), 6, false, false },
    { "peer", step_peer, IN(OFF) | IN(RUNNING) | IN(CUT), 24, false, false },
    { "read", step_read, ~0u, 16, false, false },
    { "look", step_look, ~0u, 1, false, false },
    { "settle", step_settle, ~0u, 6, false, false },
    { "free", step_free, ~0u, 2, false, false },
    { "waste", step_waste, IN(RUNNING), 2, false, false },
    { "merge", step_merge, IN(MERGING), 40, false, false },
    { "begin", do_begin, IN(OFF), 30, true, true },
    { "cut", do_cut, IN(RUNNING), 4, true, true },
    { "enter", do_enter, IN(CUT), 6, true, true },
    { "roll back", do_roll_back, IN(CUT), 3, true, true },
    { "take over", do_take_over, IN(RUNNING), 1, true, true },
    { "leftover", do_leftover, IN(ALONE), 6, true, true },
    { "stop", do_stop, IN(CUT) | IN(MERGING), 1, true, true },
    { "stop", do_stop, IN(ALONE) | IN(BROKEN), 20, true, true },
    { "break", do_break, IN(RUNNING) | IN(CUT), 1, true, false },
    { "twin", step_twin, IN(RUNNING), 14, false, false },
    { "churn", step_churn, IN(RUNNING), 10, false, false },
    { "reader", step_reader, IN(RUNNING), 8, false, false },
    { "go on", step_go_on, IN(RUNNING) | IN(CUT) | IN(BROKEN), 8, false,
      false },
};

static const struct Step *choose_step(DiskWorld *w)
{
    unsigned total = 0, i;
    uint32_t at;

    for (i = 0; i < G_N_ELEMENTS(steps); i++) {
        total += steps[i].stages >> w->stage & 1 ? steps[i].weight : 0;
    }
    at = choose(w, total);
    for (i = 0; ; i++) {
        unsigned weight = steps[i].stages >> w->stage & 1 ? steps[i].weight
                                                          : 0;

        if (at < weight) {
            return &steps[i];
        }
        at -= weight;
    }
}

bool disk_world_step(DiskWorld *w)
{
    const struct Step *step = choose_step(w);

    w->count->steps++;
    if (step->is_change && w->stage == COLO_DISK_RUNNING &&
        choose(w, w->patience) > 0) {
        return true;
    }
    if (step->waits) {
        world_quiesce(w, step->fn == do_cut || step->fn == do_roll_back);
    }
    if (w->trace && step->is_change) {
        printf("# %s\n", step->name);
    }
    if (!w->failed) {
        step->fn(w);
    }
    if (step->is_change && !w->failed) {
        world_check(w);
    }
    return !w->failed;
}

/* --------------------------------------------------------------- world */

static void free_dropped(void *dropped)
{
    colo_dropped_free(dropped, cells_give);
}

static void clear_twin(void *twin)
{
    g_array_unref(((Twin *)twin)->pieces);
}

/* The same for all worlds. */
static const Cell *get_noise(void)
{
    static Cell *noise;
    uint64_t state = 1;
    uint32_t i;

    if (noise) {
        return noise;
    }
    noise = g_new0(Cell, NOISE_CELLS);
    for (i = 0; i < ZEROES; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        noise[i] = (state >> 48) % UINT16_MAX + 1;
    }
    return noise;
}

DiskWorld *disk_world_new(Choices *choices, Breakage breakage, bool trace,
                          WorldCount *count)
{
    static const struct {
        uint32_t bytes, unit;
    } disks[] = {
        { 200, 1 }, { 3000, 1 }, { 3000, 100 }, { 16384, 512 },
        { 3000, 1 }, { 200, 1 }, { 6000, 7 }, { 720 * 1024, 512 },
    };
    static const uint64_t memory_max[] = { 0, 1, 2, 5, 1000 };
    DiskWorld *w = g_new0(DiskWorld, 1);
    uint32_t kind;

    w->choices = choices;
    w->breakage = breakage;
    w->trace = trace;
    w->count = count;
    kind = choose(w, G_N_ELEMENTS(disks));
    w->bytes = disks[kind].bytes / disks[kind].unit * disks[kind].unit;
    w->unit = disks[kind].unit;
    w->grain = CHUNK % w->unit ? 1 : w->unit;
    w->memory_max = memory_max[choose(w, G_N_ELEMENTS(memory_max))];
    w->patience = choose(w, 3) == 0 ? 12 : 1;
    if (trace) {
        printf("# disk of %u bytes, requests of %u, memory of %" PRIu64
               " chunks\n", w->bytes, w->unit, w->memory_max);
    }
    w->disk = colo_disk_new(w->memory_max * CHUNK);
    g_assert(grains(w) <= GRAINS_MAX);
    w->parent = g_new0(Cell, grains(w));
    w->image = g_new0(Cell, grains(w));
    epoch_init(w, &w->epochs[0]);
    epoch_init(w, &w->epochs[1]);
    w->noise = get_noise();
    w->slots = g_ptr_array_new_with_free_func(cells_give);
    w->late = g_array_new(false, false, sizeof(Late));
    w->twins = g_array_new(false, false, sizeof(Twin));
    g_array_set_clear_func(w->twins, clear_twin);
    w->readers = g_array_new(false, false, sizeof(ColoPiece));
    w->dropped = g_ptr_array_new_with_free_func(free_dropped);
    return w;
}

void disk_world_free(DiskWorld *w)
{
    colo_disk_free(w->disk, cells_give);
    g_free(w->parent);
    g_free(w->image);
    epoch_destroy(&w->epochs[0]);
    epoch_destroy(&w->epochs[1]);
    g_ptr_array_unref(w->slots);
    g_array_unref(w->late);
    g_array_unref(w->twins);
    g_array_unref(w->readers);
    g_ptr_array_unref(w->dropped);
    g_free(w);
    /* the memory of each chunk comes back, once */
    g_assert(cells_are_back());
}
