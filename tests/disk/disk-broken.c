/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The calls of the core as the world makes them: passed on, or, with a
 * breakage, spoilt now and then the way a wrong core would.
 */
#include "disk-world-int.h"

bool broken_now(DiskWorld *w, Breakage b)
{
    return w->breakage == b && choose(w, 4) == 0;
}

void core_read_at(DiskWorld *w, uint64_t offset, uint64_t size, ColoPiece *p)
{
    colo_disk_read_at(w->disk, offset, size, p);
    if (p->in_store && p->where % CHUNK + p->size < CHUNK &&
        broken_now(w, BREAK_WRONG_PLACE)) {
        p->where += w->grain;
    }
    if (p->is_zero && broken_now(w, BREAK_ZEROES)) {
        p->is_zero = false;
    }
}

bool core_own_at(DiskWorld *w, uint64_t offset, uint64_t size, ColoPiece *p)
{
    if (broken_now(w, BREAK_UNDO_AS_OWN)) {
        colo_disk_read_at(w->disk, offset, size, p);
        return p->in_store || p->is_zero;
    }
    return colo_disk_own_at(w->disk, offset, size, p) &&
           !broken_now(w, BREAK_OWN_UNTOLD);
}

static void maybe_to_parent(DiskWorld *w, ColoPiece *p)
{
    if ((p->in_store || p->is_zero) && broken_now(w, BREAK_OWN_TO_PARENT)) {
        if (p->in_store) {
            world_note(w, p, !has_room(w, p));
        }
        colo_disk_abandon(w->disk, p);
        *p = (ColoPiece) { .offset = p->offset, .size = p->size };
    }
}

void core_write_at(DiskWorld *w, uint64_t offset, uint64_t size, ColoPiece *p)
{
    colo_disk_write_at(w->disk, offset, size, p);
    maybe_to_parent(w, p);
}

void core_write_zero_at(DiskWorld *w, uint64_t offset, uint64_t size,
                        ColoPiece *p)
{
    colo_disk_write_zero_at(w->disk, offset, size, p);
    maybe_to_parent(w, p);
}

void core_wrote(DiskWorld *w, const ColoPiece *p)
{
    if (p->is_new && broken_now(w, BREAK_LOSE_OWN)) {
        colo_disk_abandon(w->disk, p);
    } else if (colo_disk_stage(w->disk) != COLO_DISK_MERGING ||
               !broken_now(w, BREAK_MERGE_OVER)) {
        colo_disk_wrote(w->disk, p);
    }
}

void core_settled(DiskWorld *w, uint64_t offset, uint64_t size)
{
    if (offset + size < w->bytes && broken_now(w, BREAK_SETTLED_BESIDE)) {
        size += w->grain;
    }
    if (!broken_now(w, BREAK_UNSETTLED)) {
        colo_disk_settled(w->disk, offset, size);
    }
}

/* What the store knows of a chunk is spoilt only meanwhile. */
void core_reuse(DiskWorld *w, const ColoPiece *p)
{
    ColoDiskChunk *c, was;

    if (broken_now(w, BREAK_REUSE_NEVER)) {
        return;
    }
    if (!p->in_store) {
        colo_disk_reuse(w->disk, p);
        return;
    }
    c = colo_disk_chunk(w->disk, p->where);
    was = *c;
    if (broken_now(w, BREAK_REUSE_ALL)) {
        c->taken_bytes = p->size;
    }
    if (broken_now(w, BREAK_REUSE_SPILLED)) {
        c->spilled = false;
    }
    colo_disk_reuse(w->disk, p);
    c->taken_bytes = was.taken_bytes - p->size;
    c->spilled = was.spilled;
}

static bool is_skipped(DiskWorld *w, const ColoPiece *p)
{
    ColoPiece seen;

    if (w->stage == COLO_DISK_CUT && w->breakage == BREAK_OLDER_COVERS) {
        colo_disk_read_at(w->disk, p->offset, p->size, &seen);
        return seen.in_store;
    }
    return broken_now(w, BREAK_SKIP_UNDO);
}

bool core_undo_at(DiskWorld *w, uint64_t offset, uint64_t size, ColoPiece *p)
{
    if (!colo_disk_undo_at(w->disk, offset, size, p)) {
        return false;
    }
    if (is_skipped(w, p)) {
        world_note(w, p, true);
        colo_disk_abandon(w->disk, p);
        return false;
    }
    return true;
}

bool core_merge_at(DiskWorld *w, uint64_t offset, uint64_t size_max,
                   ColoPiece *p)
{
    return !broken_now(w, BREAK_MERGE_SHORT) &&
           colo_disk_merge_at(w->disk, offset, size_max, p);
}

ColoDiskChunk core_chunk(DiskWorld *w, uint64_t where)
{
    ColoDiskChunk c = *colo_disk_chunk(w->disk, where);

    if (c.spilled && w->breakage == BREAK_SLOT_TWICE) {
        c.slot /= 2;
    }
    if (w->breakage == BREAK_NO_LIMIT) {
        c.spilled = false;
    }
    return c;
}

void core_enter(DiskWorld *w)
{
    if (broken_now(w, BREAK_NO_DROP)) {
        colo_disk_roll_back(w->disk);
    } else {
        g_ptr_array_add(w->dropped, colo_disk_enter(w->disk));
    }
}

void core_roll_back(DiskWorld *w)
{
    if (broken_now(w, BREAK_OLD_GUEST)) {
        g_ptr_array_add(w->dropped, colo_disk_enter(w->disk));
    } else {
        colo_disk_roll_back(w->disk);
    }
}

void core_counts(DiskWorld *w, ColoDiskCounts *counts)
{
    colo_disk_counts(w->disk, counts);
    if (counts->own > 0 && broken_now(w, BREAK_COUNT)) {
        counts->own--;
    }
}

typedef struct Filter {
    DiskWorld *w;
    void (*fn)(uint64_t offset, uint64_t size, void *opaque);
    void *opaque;
} Filter;

static void pass_run(uint64_t offset, uint64_t size, void *opaque)
{
    Filter *f = opaque;

    if (!broken_now(f->w, BREAK_RUN)) {
        f->fn(offset, size, f->opaque);
    }
}

void core_foreach(DiskWorld *w,
                  void (*fn)(uint64_t offset, uint64_t size, void *opaque),
                  void *opaque)
{
    Filter f = { w, fn, opaque };

    colo_disk_foreach(w->disk, pass_run, &f);
}
