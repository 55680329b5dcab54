/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: one disk of the secondary: which bytes its guest sees, and where.
 *
 * Up to two generations (disk-store.h), each with its two maps. Within one,
 * own and undo never overlap: what the guest writes needs no undo any more,
 * and takes over the room of the undo that it covers, since both guests tend
 * to write the same places. So a read asks the maps in turn, and what has to
 * be merged is just the sum of them.
 *
 * Between cut and load the guest's view is that of the older generation; its
 * maps come first, and the undo of the newer one serves for what only the
 * newer epoch has written over.
 *
 * The table below says who may do what in which stage; everything goes
 * through it.
 */
#include "disk-store.h"

/*
 * Zeroes lie nowhere: their positions are those of the disk, in a range of
 * their own, so that neighbours on the disk are neighbours there.
 */
#define ZERO (1ull << 63)

struct ColoDisk {
    ColoDiskStage stage;
    uint64_t open_count;       /* new pieces given, not yet entered */
    ColoStore store;
};

/* -------------------------------------------------------------- stages */

/* Calls that not every stage allows. */
typedef enum Call {
    CALL_BEGIN,
    CALL_CUT,
    CALL_ENTER,
    CALL_ROLL_BACK,
    CALL_TAKE_OVER,
    CALL_OWN_AT,
    CALL_SETTLED,
    CALL_REUSE,
    CALL_WRITE_AT,
    CALL_WROTE,
    CALL_UNDO_AT,
    CALL_SAVED,
    CALL_MERGE,
    CALL_CHUNK,
    CALL_LEFTOVER,
} Call;

#define IN(stage) (1u << COLO_DISK_##stage)
#define MAY(call) (1u << CALL_##call)

/* Where the guest's writes go. */
typedef enum Target { NOWHERE, TO_STORE, TO_PARENT } Target;

typedef struct Stage {
    const char *name;
    unsigned generations;      /* how many there are, ALONE: at most */
    Target writes;
    unsigned calls;            /* MAY() */
    unsigned next;             /* IN(): the stages that may follow */
} Stage;

/*
 * BROKEN still takes the pieces that were on their way when it came, and
 * keeps the generations it found.
 */
static const Stage stages[COLO_DISK__MAX] = {
    [COLO_DISK_OFF] = {
        "off", 0, TO_PARENT,
        MAY(BEGIN) | MAY(WRITE_AT) | MAY(WROTE),
        IN(OFF) | IN(RUNNING),
    },
    [COLO_DISK_RUNNING] = {
        "running", 1, TO_STORE,
        MAY(CUT) | MAY(TAKE_OVER) | MAY(OWN_AT) | MAY(SETTLED) |
        MAY(REUSE) | MAY(WRITE_AT) | MAY(WROTE) | MAY(UNDO_AT) |
        MAY(SAVED) | MAY(CHUNK),
        IN(OFF) | IN(CUT) | IN(MERGING) | IN(ALONE) | IN(BROKEN),
    },
    [COLO_DISK_CUT] = {
        "cut", 2, NOWHERE,
        MAY(ENTER) | MAY(ROLL_BACK) | MAY(UNDO_AT) | MAY(SAVED) |
        MAY(REUSE) | MAY(CHUNK),
        IN(OFF) | IN(RUNNING) | IN(BROKEN),
    },
    [COLO_DISK_MERGING] = {
        "merging", 1, TO_PARENT,
        MAY(WRITE_AT) | MAY(WROTE) | MAY(MERGE) | MAY(CHUNK),
        IN(OFF) | IN(ALONE),
    },
    [COLO_DISK_ALONE] = {
        "alone", 1, TO_PARENT,
        MAY(WRITE_AT) | MAY(WROTE) | MAY(LEFTOVER),
        IN(OFF),
    },
    [COLO_DISK_BROKEN] = {
        "broken", 2, NOWHERE,
        MAY(WROTE) | MAY(SAVED) | MAY(CHUNK),
        IN(OFF),
    },
};

const char *colo_disk_stage_name(ColoDiskStage stage)
{
    g_assert(stage < COLO_DISK__MAX);
    return stages[stage].name;
}

ColoDiskStage colo_disk_stage(const ColoDisk *d)
{
    return d->stage;
}

static void check(const ColoDisk *d, Call call)
{
    g_assert(stages[d->stage].calls & 1u << call);
}

/*
 * The one place that changes the stage. A piece given in one generation must
 * not be entered in another: only a break may come between.
 */
static void set_stage(ColoDisk *d, ColoDiskStage stage)
{
    g_assert(stages[d->stage].next & 1u << stage);
    g_assert(d->open_count == 0 || stage == COLO_DISK_BROKEN);
    g_assert(d->store.count <= stages[stage].generations);
    d->stage = stage;
}

ColoDisk *colo_disk_new(uint64_t memory_bytes)
{
    ColoDisk *d = g_new0(ColoDisk, 1);

    colo_store_init(&d->store, memory_bytes);
    return d;
}

void colo_disk_free(ColoDisk *d, GDestroyNotify free_data)
{
    while (d->store.count > 0) {
        colo_generation_free(colo_store_drop(&d->store), free_data);
    }
    colo_store_destroy(&d->store);
    g_free(d);
}

void colo_disk_begin(ColoDisk *d)
{
    check(d, CALL_BEGIN);
    colo_store_open(&d->store);
    set_stage(d, COLO_DISK_RUNNING);
}

void colo_disk_cut(ColoDisk *d)
{
    check(d, CALL_CUT);
    colo_store_open(&d->store);
    set_stage(d, COLO_DISK_CUT);
}

void colo_disk_roll_back(ColoDisk *d)
{
    check(d, CALL_ROLL_BACK);
    colo_store_join(&d->store);
    set_stage(d, COLO_DISK_RUNNING);
}

void colo_disk_break(ColoDisk *d)
{
    if (stages[d->stage].next & IN(BROKEN)) {
        set_stage(d, COLO_DISK_BROKEN);
    }
}

/* ------------------------------------------------------------- dropping */

struct ColoDropped {
    ColoGeneration *generations[COLO_GENERATIONS_MAX];
    unsigned count;
};

static ColoDropped *drop(ColoDisk *d, unsigned count)
{
    ColoDropped *dropped = NULL;

    if (count > 0) {
        dropped = g_new0(ColoDropped, 1);
        while (dropped->count < count) {
            dropped->generations[dropped->count++] =
                colo_store_drop(&d->store);
        }
    }
    return dropped;
}

ColoDropped *colo_disk_enter(ColoDisk *d)
{
    ColoDropped *dropped;

    check(d, CALL_ENTER);
    dropped = drop(d, 1);
    set_stage(d, COLO_DISK_RUNNING);
    return dropped;
}

ColoDropped *colo_disk_stop(ColoDisk *d)
{
    ColoDropped *dropped = drop(d, d->store.count);

    set_stage(d, COLO_DISK_OFF);
    return dropped;
}

ColoDropped *colo_disk_leftover(ColoDisk *d)
{
    check(d, CALL_LEFTOVER);
    return drop(d, d->store.count);
}

void colo_dropped_free(ColoDropped *dropped, GDestroyNotify free_data)
{
    unsigned i;

    if (dropped) {
        for (i = 0; i < dropped->count; i++) {
            colo_generation_free(dropped->generations[i], free_data);
        }
        g_free(dropped);
    }
}

/* ------------------------------------------------------------ requests */

static ColoGeneration *oldest(const ColoDisk *d)
{
    return d->store.generations[0];
}

static ColoGeneration *newest(const ColoDisk *d)
{
    return d->store.generations[d->store.count - 1];
}

/* Of @size bytes at @where, those that one piece can have. */
static void set_place(ColoPiece *piece, uint64_t where, uint64_t size)
{
    piece->is_zero = where & ZERO;
    piece->in_store = !piece->is_zero;
    piece->where = where;
    piece->size = piece->is_zero ? size : colo_store_in_chunk(where, size);
}

static void check_range(uint64_t offset, uint64_t size)
{
    g_assert(size > 0 && size <= 1ull << 63 &&
             offset <= (1ull << 63) - size);
}

/* What @m has at @offset as a piece; else *@size is cut to the hole. */
static bool find(const ColoExtents *m, uint64_t offset, uint64_t *size,
                 ColoPiece *piece)
{
    ColoExtent e;

    if (!colo_extents_at(m, offset, *size, &e, size)) {
        return false;
    }
    *piece = (ColoPiece) { .offset = offset };
    set_place(piece, e.where, e.size);
    return true;
}

void colo_disk_read_at(const ColoDisk *d, uint64_t offset, uint64_t size,
                       ColoPiece *piece)
{
    unsigned i;

    check_range(offset, size);
    for (i = 0; i < d->store.count; i++) {
        const ColoGeneration *g = d->store.generations[i];

        if (find(g->own, offset, &size, piece) ||
            find(g->undo, offset, &size, piece)) {
            return;
        }
    }
    *piece = (ColoPiece) { .offset = offset, .size = size };
}

bool colo_disk_own_at(const ColoDisk *d, uint64_t offset, uint64_t size,
                      ColoPiece *piece)
{
    check(d, CALL_OWN_AT);
    check_range(offset, size);
    return find(newest(d)->own, offset, &size, piece);
}

static void take(ColoDisk *d, uint64_t offset, uint64_t size,
                 ColoPiece *piece)
{
    *piece = (ColoPiece) { .offset = offset, .in_store = true };
    piece->where = colo_store_take(&d->store, size, &piece->size);
}

void colo_disk_write_at(ColoDisk *d, uint64_t offset, uint64_t size,
                        ColoPiece *piece)
{
    check(d, CALL_WRITE_AT);
    check_range(offset, size);
    if (stages[d->stage].writes == TO_PARENT) {
        *piece = (ColoPiece) { .offset = offset, .size = size };
        return;
    }
    if (find(newest(d)->own, offset, &size, piece)) {
        if (piece->in_store) {
            return;
        }
        take(d, offset, piece->size, piece);
    } else if (!find(newest(d)->undo, offset, &size, piece)) {
        take(d, offset, size, piece);
    } else if (piece->is_zero) {
        take(d, offset, piece->size, piece);
    }
    piece->is_new = true;
    d->open_count++;
}

void colo_disk_write_zero_at(ColoDisk *d, uint64_t offset, uint64_t size,
                             ColoPiece *piece)
{
    check(d, CALL_WRITE_AT);
    check_range(offset, size);
    if (stages[d->stage].writes == TO_PARENT) {
        *piece = (ColoPiece) { .offset = offset, .size = size };
    } else if (!find(newest(d)->own, offset, &size, piece)) {
        *piece = (ColoPiece) { .offset = offset, .is_new = true };
        set_place(piece, ZERO | offset, size);
        d->open_count++;
    }
}

void colo_disk_settled(ColoDisk *d, uint64_t offset, uint64_t size)
{
    check(d, CALL_SETTLED);
    check_range(offset, size);
    colo_extents_remove(newest(d)->own, offset, size);
}

void colo_disk_reuse(ColoDisk *d, const ColoPiece *piece)
{
    check(d, CALL_REUSE);
    if (piece->in_store) {
        colo_store_give_back(&d->store, piece->where, piece->size);
    }
}

static void close_piece(ColoDisk *d, const ColoPiece *piece)
{
    if (piece->is_new) {
        g_assert(d->open_count > 0);
        d->open_count--;
    }
}

static void enter(ColoExtents *m, const ColoPiece *piece)
{
    const ColoExtent e = { piece->offset, piece->size, piece->where };

    colo_extents_add(m, &e);
}

static void forget(const ColoDisk *d, const ColoPiece *piece)
{
    colo_extents_remove(oldest(d)->own, piece->offset, piece->size);
    colo_extents_remove(oldest(d)->undo, piece->offset, piece->size);
}

void colo_disk_wrote(ColoDisk *d, const ColoPiece *piece)
{
    check(d, CALL_WROTE);
    close_piece(d, piece);
    if (d->stage == COLO_DISK_MERGING) {
        forget(d, piece);
    } else if (piece->is_new) {
        colo_extents_remove(newest(d)->undo, piece->offset, piece->size);
        colo_extents_remove(newest(d)->own, piece->offset, piece->size);
        enter(newest(d)->own, piece);
    }
}

bool colo_disk_undo_gap(const ColoDisk *d, uint64_t offset, uint64_t size,
                        uint64_t *gap_offset, uint64_t *gap_size)
{
    const ColoGeneration *g;
    uint64_t end = offset + size;
    ColoPiece there;

    check(d, CALL_UNDO_AT);
    check_range(offset, size);
    g = newest(d);
    while (offset < end) {
        size = end - offset;
        if (!find(g->own, offset, &size, &there) &&
            !find(g->undo, offset, &size, &there)) {
            *gap_offset = offset;
            *gap_size = size;
            return true;
        }
        offset += there.size;
    }
    return false;
}

bool colo_disk_undo_at(ColoDisk *d, uint64_t offset, uint64_t size,
                       ColoPiece *piece)
{
    if (!colo_disk_undo_gap(d, offset, size, &offset, &size)) {
        return false;
    }
    take(d, offset, size, piece);
    piece->is_new = true;
    d->open_count++;
    return true;
}

void colo_disk_saved(ColoDisk *d, const ColoPiece *piece)
{
    uint64_t free_bytes = piece->size;
    ColoPiece other;

    check(d, CALL_SAVED);
    g_assert(!find(newest(d)->own, piece->offset, &free_bytes, &other) &&
             free_bytes == piece->size);
    close_piece(d, piece);
    enter(newest(d)->undo, piece);
}

void colo_disk_saved_zero(ColoDisk *d, uint64_t offset, uint64_t size)
{
    const ColoPiece piece = {
        .offset = offset,
        .size = size,
        .where = ZERO | offset,
    };

    check_range(offset, size);
    colo_disk_saved(d, &piece);
}

void colo_disk_abandon(ColoDisk *d, const ColoPiece *piece)
{
    close_piece(d, piece);
}

/* ------------------------------------------------------------- merging */

static bool is_merged(const ColoDisk *d)
{
    return colo_extents_count(oldest(d)->own) == 0 &&
           colo_extents_count(oldest(d)->undo) == 0;
}

void colo_disk_take_over(ColoDisk *d)
{
    check(d, CALL_TAKE_OVER);
    set_stage(d, is_merged(d) ? COLO_DISK_ALONE : COLO_DISK_MERGING);
}

bool colo_disk_merge_at(ColoDisk *d, uint64_t offset, uint64_t size_max,
                        ColoPiece *piece)
{
    ColoExtent own, undo;
    bool in_own, in_undo;

    check(d, CALL_MERGE);
    g_assert(size_max > 0);
    if (is_merged(d)) {
        set_stage(d, COLO_DISK_ALONE);
        return false;
    }
    in_own = colo_extents_next(oldest(d)->own, offset, &own);
    in_undo = colo_extents_next(oldest(d)->undo, offset, &undo);
    if (!in_own && !in_undo) {
        return colo_disk_merge_at(d, 0, size_max, piece);
    }
    if (!in_own || (in_undo && undo.offset < own.offset)) {
        own = undo;
    }
    *piece = (ColoPiece) { .offset = own.offset };
    set_place(piece, own.where, MIN(own.size, size_max));
    return true;
}

void colo_disk_merged(ColoDisk *d, const ColoPiece *piece)
{
    check(d, CALL_MERGE);
    forget(d, piece);
}

/* ----------------------------------------------------------- the store */

ColoDiskChunk *colo_disk_chunk(ColoDisk *d, uint64_t where)
{
    check(d, CALL_CHUNK);
    return colo_store_chunk(&d->store, where);
}

void colo_disk_counts(const ColoDisk *d, ColoDiskCounts *counts)
{
    unsigned i;

    *counts = (ColoDiskCounts) {
        .spill_end = (uint64_t)d->store.slots->len * COLO_DISK_CHUNK_BYTES,
    };
    for (i = 0; i < d->store.count; i++) {
        const ColoGeneration *g = d->store.generations[i];

        counts->own += colo_extents_bytes(g->own);
        counts->undo += colo_extents_bytes(g->undo);
        counts->memory += g->memory_count * COLO_DISK_CHUNK_BYTES;
        counts->spilled += g->spilled_count * COLO_DISK_CHUNK_BYTES;
    }
    if (d->stage == COLO_DISK_MERGING) {
        counts->merge_left = counts->own + counts->undo;
    }
}

static void each_extent(const ColoExtents *m,
                        void (*fn)(uint64_t offset, uint64_t size,
                                   void *opaque),
                        void *opaque)
{
    ColoExtent e = { 0 };

    while (colo_extents_next(m, e.offset + e.size, &e)) {
        fn(e.offset, e.size, opaque);
    }
}

void colo_disk_foreach(const ColoDisk *d,
                       void (*fn)(uint64_t offset, uint64_t size,
                                  void *opaque),
                       void *opaque)
{
    unsigned i;

    for (i = 0; i < d->store.count; i++) {
        each_extent(d->store.generations[i]->own, fn, opaque);
        each_extent(d->store.generations[i]->undo, fn, opaque);
    }
}
