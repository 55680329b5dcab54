/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: requests of the secondary's guest while its disk is not its own yet.
 *
 * A read takes up to PLACES_MAX pieces at a time. What of them lies on the
 * parent is read in one go, from the first such piece to the last, and what
 * the store has is laid over it: two maps that are finely mixed would else
 * make many small reads of one large one. The maps may change meanwhile; that
 * does not matter, since neither the peer nor the merge touches data that a
 * reader still looks at.
 *
 * A write goes piece by piece to where the core says. Zeroes and discards
 * take no room, unless other data of this epoch lies there. Once this side has
 * taken over that is the parent, and the piece leaves the maps.
 */
#include "qemu/osdep.h"
#include "colo-buffer-int.h"

#define PLACES_MAX 32

/* -------------------------------------------------------------- reading */

typedef struct ReadRound {
    uint64_t start;            /* bytes, on the disk */
    uint64_t end;
    uint64_t parent_start;     /* what is read from the parent; none: equal */
    uint64_t parent_end;
    ColoPlace places[PLACES_MAX];
    unsigned count;
} ReadRound;

static void look_up(ColoBuffer *b, uint64_t offset, uint64_t bytes,
                    ReadRound *r)
{
    uint64_t end = offset + bytes;

    r->start = r->end = offset;
    r->parent_start = r->parent_end = offset;
    r->count = 0;
    while (r->end < end && r->count < PLACES_MAX) {
        ColoPiece piece;

        colo_disk_read_at(b->disk, r->end, end - r->end, &piece);
        r->end += piece.size;
        if (piece.in_store || piece.is_zero) {
            colo_memory_find(b, &piece, &r->places[r->count++]);
        } else {
            if (r->parent_start == r->parent_end) {
                r->parent_start = piece.offset;
            }
            r->parent_end = r->end;
        }
    }
}

static int coroutine_fn GRAPH_RDLOCK
read_round(ColoBuffer *b, const ReadRound *r, QEMUIOVector *qiov,
           size_t qiov_offset)
{
    unsigned i;
    int ret = 0;

    if (r->parent_start < r->parent_end) {
        ret = bdrv_co_preadv_part(b->parent, r->parent_start,
                                  r->parent_end - r->parent_start, qiov,
                                  qiov_offset + r->parent_start - r->start,
                                  0);
    }
    for (i = 0; i < r->count && ret >= 0; i++) {
        ret = colo_place_get(b, &r->places[i], qiov, qiov_offset, r->start);
    }
    return ret < 0 ? ret : 0;
}

int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_preadv(ColoBuffer *b, int64_t offset, int64_t bytes,
                      QEMUIOVector *qiov, size_t qiov_offset)
{
    ReadRound r = { .end = offset };
    ColoReader reader;
    int ret = 0;

    if (bytes == 0) {
        return 0;
    }
    qemu_mutex_lock(&b->lock);
    reqlist_init_req(&b->readers, &reader.req, offset, bytes);
    while (r.end < offset + bytes && ret == 0) {
        reader.seq = b->reader_seq++;
        look_up(b, r.end, offset + bytes - r.end, &r);
        qemu_mutex_unlock(&b->lock);
        ret = read_round(b, &r, qiov, qiov_offset + r.start - offset);
        qemu_mutex_lock(&b->lock);
    }
    reqlist_remove_req(&reader.req);
    qemu_mutex_unlock(&b->lock);
    return ret;
}

/* -------------------------------------------------------------- writing */

typedef enum GuestOp {
    GUEST_WRITE,
    GUEST_ZEROES,
    GUEST_DISCARD,
} GuestOp;

typedef struct GuestWrite {
    GuestOp op;
    uint64_t start;            /* bytes, on the disk */
    QEMUIOVector *qiov;        /* GUEST_WRITE */
    size_t qiov_offset;
    BdrvRequestFlags flags;
} GuestWrite;

/* Lock held, and dropped meanwhile, here and below. */
static int coroutine_fn write_to_store(ColoBuffer *b, const GuestWrite *w,
                                       const ColoPiece *piece)
{
    ColoPlace place;
    int ret = colo_memory_take(b, piece, &place);

    if (ret == 0) {
        qemu_mutex_unlock(&b->lock);
        ret = colo_place_put(b, &place, w->qiov, w->qiov_offset, w->start);
        qemu_mutex_lock(&b->lock);
    }
    if (ret == 0) {
        colo_disk_wrote(b->disk, piece);
    } else {
        colo_disk_abandon(b->disk, piece);
    }
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
write_to_parent(ColoBuffer *b, const GuestWrite *w, const ColoPiece *piece)
{
    int ret;

    qemu_mutex_unlock(&b->lock);
    switch (w->op) {
    case GUEST_WRITE:
        ret = bdrv_co_pwritev_part(b->parent, piece->offset, piece->size,
                                   w->qiov,
                                   w->qiov_offset + piece->offset - w->start,
                                   w->flags);
        break;
    case GUEST_ZEROES:
        ret = bdrv_co_pwrite_zeroes(b->parent, piece->offset, piece->size,
                                    w->flags);
        break;
    case GUEST_DISCARD:
        ret = bdrv_co_pdiscard(b->parent, piece->offset, piece->size);
        break;
    default:
        g_assert_not_reached();
    }
    qemu_mutex_lock(&b->lock);
    if (ret >= 0) {
        colo_disk_wrote(b->disk, piece);
    }
    return ret < 0 ? ret : 0;
}

/*
 * A discard may do nothing. Where the maps have something, the parent has the
 * lost primary's data below it, which must not come up.
 */
static int coroutine_fn GRAPH_RDLOCK
discard_merging(ColoBuffer *b, const GuestWrite *w, uint64_t offset,
                uint64_t end, ColoPiece *piece)
{
    GuestWrite now = *w;

    colo_disk_read_at(b->disk, offset, end - offset, piece);
    if (piece->in_store || piece->is_zero) {
        now.op = GUEST_ZEROES;
        now.flags = BDRV_REQ_MAY_UNMAP;
    }
    colo_disk_write_zero_at(b->disk, offset, piece->size, piece);
    return write_to_parent(b, &now, piece);
}

/* The first piece; 0 or -errno. */
static int coroutine_fn GRAPH_RDLOCK
write_piece(ColoBuffer *b, const GuestWrite *w, uint64_t offset,
            uint64_t end, ColoPiece *piece, bool *lost)
{
    ColoDiskStage stage = colo_disk_stage(b->disk);
    int ret;

    switch (stage) {
    case COLO_DISK_CUT:
        /* The guest is stopped, so this is somebody else. */
        return -EBUSY;
    case COLO_DISK_BROKEN:
        return -EIO;
    default:
        break;
    }
    if (w->op == GUEST_DISCARD && stage == COLO_DISK_MERGING) {
        return discard_merging(b, w, offset, end, piece);
    }
    if (w->op == GUEST_WRITE) {
        colo_disk_write_at(b->disk, offset, end - offset, piece);
    } else {
        colo_disk_write_zero_at(b->disk, offset, end - offset, piece);
    }
    if (piece->is_zero) {
        colo_disk_wrote(b->disk, piece);
        return 0;
    }
    if (!piece->in_store) {
        return write_to_parent(b, w, piece);
    }
    ret = write_to_store(b, w, piece);
    *lost = ret < 0;
    return ret;
}

static int coroutine_fn GRAPH_RDLOCK
guest_write(ColoBuffer *b, const GuestWrite *w, uint64_t bytes)
{
    uint64_t offset = w->start;
    uint64_t end = w->start + bytes;
    bool lost = false;
    BlockReq req;
    int ret = 0;

    if (bytes == 0) {
        return 0;
    }
    qemu_mutex_lock(&b->lock);
    colo_buffer_take_turn(b, &b->writers, &req, offset, bytes);
    while (offset < end && ret == 0) {
        ColoPiece piece = { 0 };

        ret = write_piece(b, w, offset, end, &piece, &lost);
        offset += piece.size;
    }
    if (colo_disk_stage(b->disk) == COLO_DISK_RUNNING) {
        colo_accept_wrote(b, w->start, bytes);
    }
    reqlist_remove_req(&req);
    colo_accept_notice(b, w->start, bytes);
    qemu_mutex_unlock(&b->lock);
    if (lost) {
        colo_buffer_break(b, "keep what the guest wrote", ret);
    }
    return ret;
}

int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_pwritev(ColoBuffer *b, int64_t offset, int64_t bytes,
                       QEMUIOVector *qiov, size_t qiov_offset,
                       BdrvRequestFlags flags)
{
    const GuestWrite w = {
        GUEST_WRITE, offset, qiov, qiov_offset, flags,
    };

    return guest_write(b, &w, bytes);
}

int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_pwrite_zeroes(ColoBuffer *b, int64_t offset, int64_t bytes,
                             BdrvRequestFlags flags)
{
    const GuestWrite w = { GUEST_ZEROES, offset, .flags = flags };

    return guest_write(b, &w, bytes);
}

int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_pdiscard(ColoBuffer *b, int64_t offset, int64_t bytes)
{
    const GuestWrite w = { GUEST_DISCARD, offset };

    return guest_write(b, &w, bytes);
}

/* ------------------------------------------------------------ the others */

static ColoDiskStage current_stage(ColoBuffer *b)
{
    QEMU_LOCK_GUARD(&b->lock);
    return colo_disk_stage(b->disk);
}

int coroutine_fn GRAPH_RDLOCK colo_buffer_co_flush(ColoBuffer *b)
{
    switch (current_stage(b)) {
    case COLO_DISK_RUNNING:
    case COLO_DISK_CUT:
        /* Should both sides die, what counts is the primary's disk. */
        return 0;
    case COLO_DISK_BROKEN:
        return -EIO;
    default:
        return bdrv_co_flush(b->parent->bs);
    }
}

int coroutine_fn GRAPH_RDLOCK
colo_buffer_co_block_status(ColoBuffer *b, bool want_zero, int64_t offset,
                            int64_t bytes, int64_t *pnum, int64_t *map,
                            BlockDriverState **file)
{
    ColoPiece piece;

    WITH_QEMU_LOCK_GUARD(&b->lock) {
        colo_disk_read_at(b->disk, offset, bytes, &piece);
    }
    *pnum = piece.size;
    if (piece.is_zero) {
        return BDRV_BLOCK_ZERO;
    }
    if (piece.in_store) {
        return BDRV_BLOCK_DATA;
    }
    *map = offset;
    *file = b->parent->bs;
    return BDRV_BLOCK_RAW | BDRV_BLOCK_OFFSET_VALID;
}
