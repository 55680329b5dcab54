/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: memory of the store of one disk.
 *
 * The core says which chunks lie in memory and how many may; here they get
 * theirs. What a checkpoint drops is taken apart by a worker thread, since
 * that takes time with the amount. The chunks it finds become idle, to be
 * used by the next epoch, which thereby does not pay for fresh pages; what
 * lay idle all through the last epoch is freed.
 *
 * To the core memory is free as soon as it is dropped. So that the limit
 * holds all the same, a request that finds all of it still with the worker
 * waits for it. Chunks are mapped, not allocated: what is freed is the
 * system's again, whatever else lies beside it.
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "block/thread-pool.h"
#include "block/aio-wait.h"
#include "colo-buffer-int.h"
#include "trace.h"

typedef struct ReleaseJob {
    ColoBuffer *b;
    ColoDropped *dropped;
    int fd;                    /* of a spill file nobody needs; -1: none */
} ReleaseJob;

/* Where collect() puts what it is given. */
static __thread GPtrArray *collected;

static void *map_chunk(void)
{
    void *data = mmap(NULL, COLO_DISK_CHUNK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return data == MAP_FAILED ? NULL : data;
}

static void unmap_chunk(void *data)
{
    munmap(data, COLO_DISK_CHUNK_BYTES);
}

void colo_memory_init(ColoBuffer *b)
{
    b->idle = g_ptr_array_new_with_free_func(unmap_chunk);
    qemu_co_queue_init(&b->chunk_queue);
}

void colo_memory_destroy(ColoBuffer *b)
{
    AIO_WAIT_WHILE_UNLOCKED(NULL, b->jobs > 0);
    g_ptr_array_unref(b->idle);
}

/* ------------------------------------------------------------- places */

static void set_place(const ColoPiece *piece, const ColoDiskChunk *chunk,
                      ColoPlace *place)
{
    uint64_t in_chunk = piece->where % COLO_DISK_CHUNK_BYTES;

    *place = (ColoPlace) { .offset = piece->offset, .size = piece->size };
    if (chunk->spilled) {
        place->spill_offset = chunk->slot * COLO_DISK_CHUNK_BYTES + in_chunk;
    } else {
        place->data = (uint8_t *)chunk->data + in_chunk;
    }
}

void colo_memory_find(ColoBuffer *b, const ColoPiece *piece,
                      ColoPlace *place)
{
    if (piece->is_zero) {
        *place = (ColoPlace) { piece->offset, piece->size, true };
        return;
    }
    set_place(piece, colo_disk_chunk(b->disk, piece->where), place);
}

/* The limit is one for the store and for late writes together. */
static uint64_t chunk_max_count(ColoBuffer *b)
{
    return DIV_ROUND_UP(b->options.limit_bytes - colo_late_bytes_max(b),
                        COLO_DISK_CHUNK_BYTES);
}

static void note_peak(ColoBuffer *b)
{
    ColoDiskCounts counts;

    colo_disk_counts(b->disk, &counts);
    b->memory_peak = MAX(b->memory_peak, counts.memory);
}

int coroutine_fn colo_memory_take(ColoBuffer *b, const ColoPiece *piece,
                                  ColoPlace *place)
{
    ColoDiskChunk *chunk = colo_disk_chunk(b->disk, piece->where);

    while (!chunk->spilled && !chunk->data && b->idle->len == 0 &&
           b->chunk_count == chunk_max_count(b)) {
        qemu_co_queue_wait(&b->chunk_queue, &b->lock);
        chunk = colo_disk_chunk(b->disk, piece->where);
    }
    if (!chunk->spilled && !chunk->data) {
        if (b->idle->len > 0) {
            chunk->data = g_ptr_array_steal_index_fast(b->idle,
                                                       b->idle->len - 1);
        } else {
            chunk->data = map_chunk();
            if (!chunk->data) {
                return -ENOMEM;
            }
            b->chunk_count++;
        }
        note_peak(b);
    }
    set_place(piece, chunk, place);
    return 0;
}

static int coroutine_fn spill_zeroes(ColoBuffer *b, const ColoPlace *place)
{
    void *zeroes = g_try_malloc0(place->size);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, zeroes, place->size);
    int ret;

    if (!zeroes) {
        return -ENOMEM;
    }
    ret = colo_spill_co_rw(b, true, place->spill_offset, place->size, &qiov,
                           0);
    g_free(zeroes);
    return ret;
}

int coroutine_fn colo_place_put(ColoBuffer *b, const ColoPlace *place,
                                QEMUIOVector *qiov, size_t qiov_offset,
                                uint64_t start)
{
    qiov_offset += place->offset - start;
    if (!place->data) {
        return qiov ? colo_spill_co_rw(b, true, place->spill_offset,
                                       place->size, qiov, qiov_offset)
                    : spill_zeroes(b, place);
    }
    if (qiov) {
        qemu_iovec_to_buf(qiov, qiov_offset, place->data, place->size);
    } else {
        memset(place->data, 0, place->size);
    }
    return 0;
}

int coroutine_fn colo_place_get(ColoBuffer *b, const ColoPlace *place,
                                QEMUIOVector *qiov, size_t qiov_offset,
                                uint64_t start)
{
    qiov_offset += place->offset - start;
    if (place->is_zero) {
        qemu_iovec_memset(qiov, qiov_offset, 0, place->size);
        return 0;
    }
    if (!place->data) {
        return colo_spill_co_rw(b, false, place->spill_offset, place->size,
                                qiov, qiov_offset);
    }
    qemu_iovec_from_buf(qiov, qiov_offset, place->data, place->size);
    return 0;
}

/* ------------------------------------------------------------ releasing */

static void collect(void *data)
{
    g_ptr_array_add(collected, data);
}

static void swap(GPtrArray **a, GPtrArray **b)
{
    GPtrArray *t = *a;

    *a = *b;
    *b = t;
}

/* Give the chunks of @array back. Lock not held. */
static void free_chunks(ColoBuffer *b, GPtrArray *array)
{
    guint count = array->len;

    g_ptr_array_unref(array);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        b->chunk_count -= count;
        qemu_co_enter_all(&b->chunk_queue, &b->lock);
    }
}

static int release_work(void *opaque)
{
    ReleaseJob *job = opaque;
    ColoBuffer *b = job->b;
    GPtrArray *dropped = g_ptr_array_new_with_free_func(unmap_chunk);
    GPtrArray *unused = g_ptr_array_new_with_free_func(unmap_chunk);

    collected = dropped;
    colo_dropped_free(job->dropped, collect);
    collected = NULL;
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        swap(b->no_next ? &unused : &dropped, &b->idle);
        trace_colo_disk_freed(b->bs->node_name, dropped->len + unused->len,
                              b->idle->len);
        qemu_co_enter_all(&b->chunk_queue, &b->lock);
    }
    free_chunks(b, dropped);
    free_chunks(b, unused);
    if (job->fd >= 0) {
        close(job->fd);
    }
    return 0;
}

static void release_done(void *opaque, int ret)
{
    ReleaseJob *job = opaque;

    job->b->jobs--;
    aio_wait_kick();
    g_free(job);
}

void colo_memory_release(ColoBuffer *b, ColoDropped *dropped, bool is_last)
{
    ReleaseJob *job = g_new(ReleaseJob, 1);
    ColoDiskCounts counts;

    GLOBAL_STATE_CODE();
    *job = (ReleaseJob) { .b = b, .dropped = dropped, .fd = -1 };
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        colo_disk_counts(b->disk, &counts);
        b->no_next = is_last;
        if (counts.spill_end == 0 && (b->spill_used || is_last)) {
            job->fd = b->spill_fd;
            b->spill_fd = -1;
            b->spill_used = false;
        }
    }
    b->jobs++;
    thread_pool_submit_aio(release_work, job, release_done, job);
}
