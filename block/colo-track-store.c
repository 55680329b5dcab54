/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the map of what differs, across a restart.
 *
 * When the node is closed, the map becomes a persistent bitmap of the image
 * below, named after the session. It is left enabled, so whoever writes to
 * the image without this node is noted too. When the node is opened, it is
 * taken over and removed: a crash leaves none behind, and what is not there
 * cannot be trusted by mistake. No map, or one that the image format calls
 * inconsistent, means that all may differ.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "block/block-io.h"
#include "block/block_int.h"
#include "block/dirty-bitmap.h"
#include "colo-track.h"

#define PREFIX "colo-"

/* Somebody writes to it whom this node does not see yet. */
static bool has_writer(BlockDriverState *bs)
{
    uint64_t perm, shared;

    GRAPH_RDLOCK_GUARD_MAINLOOP();
    bdrv_get_cumulative_perm(bs, &perm, &shared);
    return perm & BLK_PERM_WRITE;
}

static bool is_usable(BlockDriverState *bs)
{
    return !bdrv_is_read_only(bs) && !(bs->open_flags & BDRV_O_INACTIVE) &&
           bdrv_supports_persistent_dirty_bitmap(bs);
}

static BdrvDirtyBitmap *find_ours(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap;

    FOR_EACH_DIRTY_BITMAP(bs, bitmap) {
        const char *name = bdrv_dirty_bitmap_name(bitmap);

        if (name && strstart(name, PREFIX, NULL)) {
            return bitmap;
        }
    }
    return NULL;
}

static bool remove_bitmap(BlockDriverState *bs, BdrvDirtyBitmap *bitmap)
{
    Error *err = NULL;

    if (bdrv_dirty_bitmap_get_persistence(bitmap) &&
        bdrv_remove_persistent_dirty_bitmap(bs,
                                            bdrv_dirty_bitmap_name(bitmap),
                                            &err) < 0) {
        warn_reportf_err(err, "Disk '%s' keeps an old map of a replication: ",
                         bs->node_name);
        return false;
    }
    bdrv_release_dirty_bitmap(bitmap);
    return true;
}

static void take_over(ColoTrack *t, BdrvDirtyBitmap *bitmap)
{
    int64_t offset = 0, bytes = 0;

    while (bdrv_dirty_bitmap_next_dirty_area(bitmap, offset + bytes,
                                             INT64_MAX, INT64_MAX,
                                             &offset, &bytes)) {
        colo_track_note(t, offset, bytes);
    }
}

void colo_track_load(ColoTrack *t, BlockDriverState *bs, const char *session)
{
    g_autofree char *name = g_strconcat(PREFIX, session, NULL);
    bool is_complete = !has_writer(bs);
    BdrvDirtyBitmap *bitmap;
    bool is_found = false;

    GLOBAL_STATE_CODE();
    while (is_usable(bs) && (bitmap = find_ours(bs))) {
        bool is_good = !strcmp(bdrv_dirty_bitmap_name(bitmap), name) &&
                       !bdrv_dirty_bitmap_inconsistent(bitmap) && is_complete;

        if (is_good) {
            take_over(t, bitmap);
        }
        if (!remove_bitmap(bs, bitmap)) {
            is_found = false;
            break;
        }
        is_found |= is_good;
    }
    if (!is_found) {
        colo_track_set_all(t);
    }
}

void colo_track_store(ColoTrack *t, BlockDriverState *bs, const char *session)
{
    g_autofree char *name = g_strconcat(PREFIX, session, NULL);
    uint32_t grain_bytes = colo_track_grain_bytes(t);
    BdrvDirtyBitmap *bitmap;
    int64_t offset = 0, bytes = 0;

    GLOBAL_STATE_CODE();
    if (!is_usable(bs)) {
        return;
    }
    while ((bitmap = find_ours(bs))) {
        if (!remove_bitmap(bs, bitmap)) {
            return;
        }
    }
    if (!bdrv_can_store_new_dirty_bitmap(bs, name, grain_bytes, NULL)) {
        return;
    }
    bitmap = bdrv_create_dirty_bitmap(bs, grain_bytes, name, NULL);
    if (!bitmap) {
        return;
    }
    colo_track_fold(t);
    while (colo_track_next(t, offset + bytes, INT64_MAX, &offset, &bytes)) {
        bdrv_set_dirty_bitmap(bitmap, offset, bytes);
    }
    bdrv_dirty_bitmap_set_persistence(bitmap, true);
}
