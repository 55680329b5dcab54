/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests in a world around the disk, done as the contract of the core says,
 * and what they mean to the oracle.
 */
#include <string.h>
#include "disk-world-int.h"

/* Contents that no other write has at this place, as good as never. */
static uint32_t new_noise(DiskWorld *w)
{
    return choose(w, NOISE_BEGINS);
}

/* In undo, what nothing has covered so far. */
static void cover_undo(DiskWorld *w, const ColoPiece *p, uint8_t by)
{
    uint8_t *covered = newest_epoch(w)->covered + grains_in(w, p->offset);
    uint32_t count = grains_in(w, p->size), i;

    for (i = 0; i < count; i++) {
        covered[i] = covered[i] == BY_NONE ? by : covered[i];
    }
}

static void put(DiskWorld *w, uint64_t where, const Cell *data,
                uint64_t size)
{
    Cell *to = world_place(w, where, size);

    if (to) {
        copy(w, to, 0, data, size);
    }
}

void world_check_piece(DiskWorld *w, const ColoPiece *p, uint64_t offset,
                       uint64_t size)
{
    world_must(w, p->offset == offset && p->size > 0 && p->size <= size &&
                  p->size % w->grain == 0, "piece");
}

/* ---------------------------------------------------------------- read */

static const Cell *view_of(DiskWorld *w)
{
    return w->epoch_count > 0 && w->stage != COLO_DISK_ALONE
           ? w->epochs[0].view : w->image;
}

const Cell *world_data(DiskWorld *w, const ColoPiece *p)
{
    return p->in_store ? world_place(w, p->where, p->size)
           : p->is_zero ? noise_of(w, ZEROES)
                        : w->parent + grains_in(w, p->offset);
}

void world_see(DiskWorld *w, const ColoPiece *p)
{
    const Cell *seen = world_data(w, p);

    if (!w->failed) {
        world_must(w, equal(w, seen, view_of(w) + grains_in(w, p->offset),
                            p->size), "guest-view");
    }
}

void world_read(DiskWorld *w, uint32_t offset, uint32_t size)
{
    while (size > 0 && !w->failed) {
        ColoPiece p;

        core_read_at(w, offset, size, &p);
        world_check_piece(w, &p, offset, size);
        world_must(w, !p.is_new && !(p.in_store && p.is_zero), "piece");
        if (!w->failed) {
            world_see(w, &p);
        }
        offset += p.size;
        size -= p.size;
    }
}

void world_check_own(DiskWorld *w, const ColoPiece *p)
{
    const Epoch *e = newest_epoch(w);
    uint32_t at = grains_in(w, p->offset), count = grains_in(w, p->size), i;
    const Cell *seen;

    world_must(w, !p->is_new && p->in_store != p->is_zero, "piece");
    for (i = 0; i < count; i++) {
        world_must(w, e->covered[at + i] ==
                      (p->is_zero ? BY_OWN | NO_ROOM : BY_OWN), "own");
    }
    seen = world_data(w, p);
    world_must(w, seen && equal(w, seen, e->view + at, p->size), "own");
}

void world_look_own(DiskWorld *w, uint32_t offset, uint32_t size)
{
    const Epoch *e = newest_epoch(w);

    while (size > 0 && !w->failed) {
        ColoPiece p;

        if (core_own_at(w, offset, size, &p)) {
            world_check_piece(w, &p, offset, size);
            if (!w->failed) {
                world_check_own(w, &p);
            }
        } else {
            world_must(w, !(e->covered[grains_in(w, offset)] & BY_OWN),
                       "own");
            p.size = w->grain;
        }
        offset += p.size;
        size -= p.size;
    }
}

/* ----------------------------------------------------------- on the way */

static void end_own(DiskWorld *w, const Late *l)
{
    Epoch *e = newest_epoch(w);
    const ColoPiece *p = &l->piece;

    if (p->in_store && !l->is_put) {
        put(w, p->where, noise_of(w, l->noise), p->size);
    }
    core_wrote(w, p);
    copy(w, e->view, p->offset, noise_of(w, l->noise), p->size);
    cover(w, p, p->is_zero ? BY_OWN | NO_ROOM : BY_OWN);
    w->count->zeroes += p->is_zero;
}

/* What was to be saved is; then the peer may write, unless all is lost. */
static void end_peer(DiskWorld *w, const Late *l)
{
    const ColoPiece *p = &l->piece;

    if (!l->is_put) {
        put(w, p->where, w->parent + grains_in(w, p->offset), p->size);
    }
    colo_disk_saved(w->disk, p);
    cover_undo(w, p, BY_UNDO);
    if (w->stage != COLO_DISK_BROKEN) {
        copy(w, w->parent, p->offset, noise_of(w, l->noise), p->size);
        copy(w, w->image, p->offset, noise_of(w, l->noise), p->size);
    }
}

static void end_late(DiskWorld *w, guint i)
{
    const Late l = g_array_index(w->late, Late, i);

    g_array_remove_index_fast(w->late, i);
    if (choose(w, 6) == 0) {
        colo_disk_abandon(w->disk, &l.piece);
        w->count->given_up++;
    } else if (l.own) {
        end_own(w, &l);
    } else {
        end_peer(w, &l);
    }
}

void world_settle_late(DiskWorld *w, uint32_t offset, uint32_t size)
{
    guint i = w->late->len;

    while (i-- > 0 && !w->failed) {
        const ColoPiece *p = &g_array_index(w->late, Late, i).piece;

        if (overlap(p->offset, p->size, offset, size)) {
            end_late(w, i);
        }
    }
}

void world_settle(DiskWorld *w, uint32_t offset, uint32_t size)
{
    world_settle_late(w, offset, size);
    world_settle_twins(w, offset, size);
    world_settle_readers(w, offset, size);
}

/* The request stays on its way; it was given new room. */
static bool stays(DiskWorld *w, const ColoPiece *p, bool own, bool is_fresh,
                  uint32_t noise)
{
    Late l = { *p, own, false, noise };

    if (w->late->len >= 4 || choose(w, 8) > 0) {
        return false;
    }
    /* over an undo the data would be seen */
    if (own && is_fresh && choose(w, 2)) {
        put(w, p->where, noise_of(w, noise), p->size);
        l.is_put = true;
    }
    g_array_append_val(w->late, l);
    w->count->late++;
    return true;
}

/* -------------------------------------------------------------- writes */

/* What has room is overwritten there, and only what has none gets some. */
static void check_place(DiskWorld *w, const ColoPiece *p)
{
    bool has = has_room(w, p);
    uint64_t i;

    for (i = w->grain; i < p->size; i += w->grain) {
        const ColoPiece part = { .offset = p->offset + i };

        world_must(w, has_room(w, &part) == has, "place");
    }
}

/* One piece; false: the rest of the request does not come. */
static bool own_piece(DiskWorld *w, const ColoPiece *p, uint32_t noise)
{
    Late l = { *p, true, false, noise };

    if (p->is_new) {
        bool is_fresh = p->in_store && !has_room(w, p);

        if (p->in_store) {
            check_place(w, p);
            world_note(w, p, is_fresh);
        }
        if (w->failed || stays(w, p, true, is_fresh, l.noise)) {
            return false;
        }
    }
    if (p->in_store || p->is_zero) {
        end_own(w, &l);
    } else {
        copy(w, w->parent, p->offset, noise_of(w, l.noise), p->size);
        core_wrote(w, p);
        if (w->stage == COLO_DISK_RUNNING) {
            /* wrong, but the oracle has to find it */
            copy(w, newest_epoch(w)->view, p->offset, noise_of(w, l.noise),
                 p->size);
            cover(w, p, BY_OWN);
            return true;
        }
        copy(w, w->image, p->offset, noise_of(w, l.noise), p->size);
        if (w->stage == COLO_DISK_MERGING) {
            copy(w, newest_epoch(w)->view, p->offset, noise_of(w, l.noise),
                 p->size);
            cover(w, p, BY_NONE);
        }
    }
    return true;
}

static void own(DiskWorld *w, uint32_t offset, uint32_t size, bool zeroes)
{
    world_settle(w, offset, size);
    while (size > 0 && !w->failed) {
        ColoPiece p;

        if (zeroes) {
            core_write_zero_at(w, offset, size, &p);
        } else {
            core_write_at(w, offset, size, &p);
        }
        world_check_piece(w, &p, offset, size);
        world_must(w, !p.is_zero || (zeroes && !p.in_store), "piece");
        world_must(w, w->stage == COLO_DISK_RUNNING ||
                      (!p.in_store && !p.is_zero && p.size == size), "piece");
        if (w->failed || !own_piece(w, &p, zeroes ? ZEROES : new_noise(w))) {
            return;
        }
        w->count->bytes += p.size;
        offset += p.size;
        size -= p.size;
    }
}

void world_own(DiskWorld *w, uint32_t offset, uint32_t size)
{
    own(w, offset, size, false);
}

void world_own_zeroes(DiskWorld *w, uint32_t offset, uint32_t size)
{
    own(w, offset, size, true);
}

/* What reads as zeroes is saved without its bytes. */
static void save_zeroes(DiskWorld *w, uint64_t offset, uint64_t size)
{
    uint64_t end = offset + size, at, gap;

    while (offset < end &&
           colo_disk_undo_gap(w->disk, offset, end - offset, &at, &gap)) {
        const ColoPiece p = { .offset = at, .size = gap };

        world_must(w, at >= offset && gap > 0 && at + gap <= end &&
                      at % w->grain == 0 && gap % w->grain == 0, "piece");
        if (w->failed) {
            return;
        }
        if (equal(w, w->parent + grains_in(w, at), noise_of(w, ZEROES),
                  gap)) {
            colo_disk_saved_zero(w->disk, at, gap);
            cover_undo(w, &p, BY_UNDO | NO_ROOM);
            w->count->zeroes++;
        }
        offset = at + gap;
    }
}

/* Save what has to be; false: the peer's write does not come to its end. */
static bool save(DiskWorld *w, uint32_t offset, uint32_t size, uint32_t noise)
{
    uint64_t from = offset;
    ColoPiece p;

    while (core_undo_at(w, offset, size, &p)) {
        world_must(w, p.offset >= from && p.size > 0 && p.in_store &&
                      p.is_new && p.offset + p.size <= offset + size &&
                      p.offset % w->grain == 0 && p.size % w->grain == 0,
                   "piece");
        world_must(w, !has_room(w, &p), "place");
        world_note(w, &p, true);
        if (w->failed || stays(w, &p, false, true,
                               noise + grains_in(w, p.offset - offset))) {
            return false;
        }
        put(w, p.where, w->parent + grains_in(w, p.offset), p.size);
        colo_disk_saved(w->disk, &p);
        cover_undo(w, &p, BY_UNDO);
        from = p.offset + p.size;
    }
    return true;
}

void world_peer(DiskWorld *w, uint32_t offset, uint32_t size)
{
    const ColoPiece whole = { .offset = offset, .size = size };
    uint32_t noise = choose(w, 3) == 0 ? ZEROES : new_noise(w);

    world_settle(w, offset, size);
    if (w->stage != COLO_DISK_OFF) {
        if (!w->failed && choose(w, 2)) {
            save_zeroes(w, offset, size);
        }
        if (w->failed || !save(w, offset, size, noise)) {
            return;
        }
        cover_undo(w, &whole, BY_UNDO);
    }
    copy(w, w->parent, offset, noise_of(w, noise), size);
    copy(w, w->image, offset, noise_of(w, noise), size);
    w->count->bytes += size;
}

/* A write behind the end of the disk that is given up. */
void world_waste(DiskWorld *w, uint32_t size)
{
    ColoPiece p;

    colo_disk_write_at(w->disk, w->bytes, size, &p);
    world_must(w, p.in_store && p.is_new, "piece");
    if (!w->failed) {
        world_note(w, &p, true);
        colo_disk_abandon(w->disk, &p);
    }
}

/* --------------------------------------------------------------- merge */

void world_merge(DiskWorld *w, uint32_t offset, uint32_t size_max)
{
    Epoch *e = newest_epoch(w);
    const Cell *data;
    ColoPiece p;

    if (!core_merge_at(w, offset, size_max, &p)) {
        w->stage = COLO_DISK_ALONE;
        w->count->merges++;
        /* it is the guest's disk now */
        world_must(w, equal(w, w->parent, e->view, w->bytes), "parent");
        world_check(w);
        return;
    }
    world_must(w, p.in_store != p.is_zero && p.size > 0 &&
                  p.size <= size_max && p.offset + p.size <= w->bytes &&
                  p.offset % w->grain == 0 && p.size % w->grain == 0,
               "piece");
    data = world_data(w, &p);
    if (w->failed) {
        return;
    }
    if (!broken_now(w, BREAK_MERGE_SKIP)) {
        copy(w, w->parent, p.offset, data, p.size);
    }
    colo_disk_merged(w->disk, &p);
    copy(w, w->image, p.offset, e->view + grains_in(w, p.offset), p.size);
    cover(w, &p, BY_NONE);
}
