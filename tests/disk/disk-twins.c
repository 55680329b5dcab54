/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What both guests write, in a world around the disk: the peer's write is done
 * with this guest's own data, from where it lies in the store. Such a write
 * goes its way in three steps (the parent, the maps, the store), and beside it
 * go readers that looked for their data before.
 */
#include "disk-world-int.h"

enum { TWINS_MAX = 6, READERS_MAX = 4 };

/* -------------------------------------------------------------- readers */

void world_reader(DiskWorld *w, uint32_t offset, uint32_t size)
{
    ColoPiece p;

    world_settle_late(w, offset, size);
    if (w->failed || w->readers->len == READERS_MAX) {
        return;
    }
    core_read_at(w, offset, size, &p);
    world_check_piece(w, &p, offset, size);
    g_array_append_val(w->readers, p);
}

static void end_reader(DiskWorld *w, guint i)
{
    const ColoPiece p = g_array_index(w->readers, ColoPiece, i);

    g_array_remove_index_fast(w->readers, i);
    world_see(w, &p);
}

static void end_readers(DiskWorld *w, uint64_t offset, uint64_t size,
                        bool only_of_store)
{
    guint i = w->readers->len;

    while (i-- > 0 && !w->failed) {
        const ColoPiece *p = &g_array_index(w->readers, ColoPiece, i);

        if (overlap(p->offset, p->size, offset, size) &&
            (p->in_store || !only_of_store)) {
            end_reader(w, i);
        }
    }
}

void world_settle_readers(DiskWorld *w, uint32_t offset, uint32_t size)
{
    end_readers(w, offset, size, false);
}

/* ---------------------------------------------------------------- steps */

static const ColoPiece *piece_of(const Twin *t, guint i)
{
    return &g_array_index(t->pieces, ColoPiece, i);
}

static void write_twin(DiskWorld *w, const Twin *t)
{
    guint i;

    copy(w, w->image, t->offset,
         newest_epoch(w)->view + grains_in(w, t->offset), t->size);
    if (broken_now(w, BREAK_SETTLED_UNWRITTEN)) {
        return;
    }
    for (i = 0; i < t->pieces->len && !w->failed; i++) {
        const ColoPiece *p = piece_of(t, i);
        const Cell *data = world_data(w, p);

        if (data) {
            copy(w, w->parent, p->offset, data, p->size);
        }
    }
    w->count->bytes += t->size;
}

static void settle_twin(DiskWorld *w, const Twin *t)
{
    const ColoPiece whole = { .offset = t->offset, .size = t->size };

    core_settled(w, t->offset, t->size);
    cover(w, &whole, BY_NONE);
}

/* Who looked at the store does not do so any more; then it is given back. */
static void reuse_twin(DiskWorld *w, const Twin *t)
{
    guint i;

    if (!broken_now(w, BREAK_REUSE_EARLY)) {
        end_readers(w, t->offset, t->size, true);
    }
    for (i = 0; i < t->pieces->len && !w->failed; i++) {
        const ColoPiece *p = piece_of(t, i);

        core_reuse(w, p);
        if (p->in_store) {
            world_back(w, p);
        }
    }
}

/* True: that was its last step, or the stage does not allow another one. */
static bool go_on(DiskWorld *w, Twin *t)
{
    if (t->is_settled) {
        if (w->stage == COLO_DISK_RUNNING ||
            (w->stage == COLO_DISK_CUT && choose(w, 2))) {
            reuse_twin(w, t);
        }
        return true;
    }
    if (w->stage != COLO_DISK_RUNNING) {
        return true;
    }
    if (t->is_written) {
        settle_twin(w, t);
        t->is_settled = true;
    } else {
        write_twin(w, t);
        t->is_written = true;
    }
    return false;
}

static void go_steps(DiskWorld *w, guint i, unsigned steps)
{
    while (steps-- > 0 && !w->failed) {
        if (go_on(w, &g_array_index(w->twins, Twin, i))) {
            g_array_remove_index_fast(w->twins, i);
            return;
        }
    }
}

static void end_twin(DiskWorld *w, guint i)
{
    go_steps(w, i, 3);
}

/* -------------------------------------------------------------- requests */

static void begin(DiskWorld *w, const Twin *t, unsigned steps)
{
    if (w->twins->len == TWINS_MAX) {
        end_twin(w, choose(w, TWINS_MAX));
    }
    g_array_append_vals(w->twins, t, 1);
    w->count->twins++;
    go_steps(w, w->twins->len - 1, steps);
}

/* What of it the guest wrote, from @offset on without a gap. */
static GArray *gather(DiskWorld *w, uint64_t offset, uint64_t size)
{
    GArray *pieces = g_array_new(false, false, sizeof(ColoPiece));
    ColoPiece p;

    while (size > 0 && !w->failed && core_own_at(w, offset, size, &p)) {
        world_check_piece(w, &p, offset, size);
        if (!w->failed) {
            world_check_own(w, &p);
        }
        g_array_append_val(pieces, p);
        offset += p.size;
        size -= p.size;
    }
    return pieces;
}

void world_twin(DiskWorld *w, uint32_t offset, uint32_t size)
{
    const Epoch *e = newest_epoch(w);
    Twin t = { .offset = offset };
    const ColoPiece *last;

    while (size > w->grain &&
           !(e->covered[grains_in(w, t.offset)] & BY_OWN)) {
        t.offset += w->grain;
        size -= w->grain;
    }
    world_settle(w, t.offset, size);
    if (w->failed) {
        return;
    }
    t.pieces = gather(w, t.offset, size);
    if (w->failed || t.pieces->len == 0) {
        g_array_unref(t.pieces);
        return;
    }
    last = piece_of(&t, t.pieces->len - 1);
    t.size = last->offset + last->size - t.offset;
    if (choose(w, 2)) {
        world_reader(w, t.offset, t.size);
    }
    begin(w, &t, choose(w, 4));
}

/* Nobody sees what lies there: only the room counts. */
void world_churn(DiskWorld *w, uint32_t size)
{
    Twin t = { .offset = w->bytes, .size = size, .is_settled = true };
    ColoPiece p;

    while (size > 0 && !w->failed) {
        colo_disk_write_at(w->disk, t.offset + t.size - size, size, &p);
        world_must(w, p.in_store && p.is_new, "piece");
        if (!w->failed) {
            world_note(w, &p, true);
        }
        colo_disk_wrote(w->disk, &p);
        size -= p.size;
    }
    if (w->failed) {
        return;
    }
    t.pieces = g_array_new(false, false, sizeof(p));
    for (size = t.size; size > 0; size -= p.size) {
        bool is_own = colo_disk_own_at(w->disk, t.offset + t.size - size,
                                       size, &p);

        g_assert(is_own);
        g_array_append_val(t.pieces, p);
    }
    colo_disk_settled(w->disk, t.offset, t.size);
    begin(w, &t, choose(w, 2));
}

void world_go_on(DiskWorld *w)
{
    guint count = w->twins->len + w->readers->len, i;

    if (count == 0) {
        return;
    }
    i = choose(w, count);
    if (i < w->twins->len) {
        go_steps(w, i, 1);
    } else {
        end_reader(w, i - w->twins->len);
    }
}

void world_settle_twins(DiskWorld *w, uint32_t offset, uint32_t size)
{
    guint i = w->twins->len;

    while (i-- > 0 && !w->failed) {
        const Twin *t = &g_array_index(w->twins, Twin, i);

        if (overlap(t->offset, t->size, offset, size)) {
            end_twin(w, i);
        }
    }
}

void world_quiesce(DiskWorld *w, bool may_take_long)
{
    guint i = w->twins->len;

    world_settle_late(w, 0, w->bytes);
    world_settle_readers(w, 0, w->bytes);
    while (i-- > 0 && !w->failed) {
        if (may_take_long && choose(w, 2)) {
            w->count->outlasted++;
        } else {
            end_twin(w, i);
        }
    }
}
