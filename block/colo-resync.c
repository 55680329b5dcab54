/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: a returning peer's disk is brought up to date while the guest runs.
 *
 * The guest's writes go to both disks already. This job copies the rest: the
 * whole disk, or the runs that the track had when the copy was attached. Each
 * piece is held (colo-ranges.h) from before it is read until it has been
 * sent, so no write of the guest comes in between and none is overwritten
 * with what was there before. Zeroes are sent as zeroes, and not at all where
 * the peer has them.
 *
 * All goes through the forward, so the limit on a silent peer holds for the
 * copy too, and there is one place that says why a peer is lost. The order of
 * locks is graph, then range, as for the guest's requests.
 *
 * A slow link is no silent one: while a piece takes a good part of the limit,
 * less is sent at a time, so that what waits behind it, the guest's writes
 * too, does not get too old.
 *
 * At the end both are flushed. Then what was to be copied is equal on stable
 * storage; the track keeps what the guest wrote meanwhile.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/aio_task.h"
#include "block/blockjob_int.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "replication-int.h"

enum {
    WINDOW_BYTES_MIN = 16 * KiB,       /* of data under way */
    WINDOW_BYTES_START = 256 * KiB,
    WINDOW_BYTES_MAX = 4 * MiB,
    TASKS_MAX_COUNT = 4,
    PIECE_BYTES_MIN = 16 * KiB,
    ZERO_BYTES_MAX = 64 * MiB,
};

typedef struct ColoResync {
    BlockJob common;
    BDRVReplicationState *s;
    bool is_full;
    int64_t disk_bytes;
    int64_t window_bytes;
    unsigned tasks_count;      /* under way */
    int read_ret;              /* why a task failed; 0: the forward knows */
} ColoResync;

typedef struct CopyTask {
    AioTask task;
    ColoResync *job;
    int64_t offset;
    int64_t bytes;
} CopyTask;

/* ---------------------------------------------------------------- a task */

static int coroutine_fn GRAPH_RDLOCK
copy_zeroes(ColoResync *job, int64_t offset, int64_t bytes)
{
    ColoForward *f = job->s->forward;

    while (bytes > 0) {
        int64_t run;

        if (!colo_forward_is_zero_co(f, offset, bytes, &run) &&
            !colo_forward_co(f, COLO_FORWARD_ZEROES, offset, run, NULL, 0,
                             BDRV_REQ_MAY_UNMAP)) {
            return -EIO;
        }
        offset += run;
        bytes -= run;
    }
    return 0;
}

static void adapt(ColoResync *job, int64_t took_ns)
{
    int64_t limit_ns = (int64_t)job->s->limit_ms * SCALE_MS;

    if (took_ns > limit_ns / 8) {
        job->window_bytes = MAX(job->window_bytes / 2, WINDOW_BYTES_MIN);
    } else if (took_ns < limit_ns / 32) {
        job->window_bytes = MIN(job->window_bytes * 2, WINDOW_BYTES_MAX);
    }
}

static int64_t piece_bytes(const ColoResync *job)
{
    return MAX(job->window_bytes / TASKS_MAX_COUNT, PIECE_BYTES_MIN);
}

static bool may_start(const ColoResync *job)
{
    return job->tasks_count * piece_bytes(job) < job->window_bytes;
}

static int coroutine_fn GRAPH_RDLOCK
copy_data(ColoResync *job, int64_t offset, int64_t bytes)
{
    BDRVReplicationState *s = job->s;
    void *data = qemu_blockalign(s->bs, bytes);
    QEMUIOVector qiov = QEMU_IOVEC_INIT_BUF(qiov, data, bytes);
    int ret = replication_read_co(s, offset, bytes, &qiov, 0, 0);
    int64_t start_ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    if (ret < 0) {
        job->read_ret = ret;
    } else if (!colo_forward_co(s->forward, COLO_FORWARD_WRITE, offset, bytes,
                                &qiov, 0, 0)) {
        ret = -EIO;
    } else {
        adapt(job, qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start_ns);
        stat64_add(&s->copied_bytes, bytes);
        block_job_ratelimit_processed_bytes(&job->common, bytes);
    }
    qemu_vfree(data);
    return MIN(ret, 0);
}

static int coroutine_fn GRAPH_RDLOCK
copy_held(ColoResync *job, int64_t offset, int64_t bytes)
{
    int ret = 0;

    while (bytes > 0 && ret >= 0) {
        int64_t piece;

        ret = bdrv_co_block_status_above(job->s->bs, NULL, offset,
                                         bytes, &piece, NULL, NULL);
        if (ret < 0) {
            job->read_ret = ret;
        } else if (ret & BDRV_BLOCK_ZERO) {
            ret = copy_zeroes(job, offset, piece);
        } else {
            piece = MIN(piece, piece_bytes(job));
            ret = copy_data(job, offset, piece);
        }
        offset += piece;
        bytes -= piece;
    }
    return ret;
}

static int coroutine_fn copy_task_co(AioTask *task)
{
    CopyTask *t = container_of(task, CopyTask, task);
    BDRVReplicationState *s = t->job->s;
    ColoRange range;
    int ret;

    WITH_GRAPH_RDLOCK_GUARD() {
        colo_ranges_lock(&s->ranges, &range, t->offset, t->bytes);
        ret = copy_held(t->job, t->offset, t->bytes);
        colo_ranges_unlock(&s->ranges, &range);
    }
    job_progress_update(&t->job->common.job, t->bytes);
    t->job->tasks_count--;
    bdrv_dec_in_flight(s->bs);
    return ret;
}

static void coroutine_fn start_task(ColoResync *job, AioTaskPool *pool,
                                    int64_t offset, int64_t bytes)
{
    CopyTask *t = g_new(CopyTask, 1);

    *t = (CopyTask) {
        .task.func = copy_task_co,
        .job = job,
        .offset = offset,
        .bytes = bytes,
    };
    /* Whoever drains the node waits for the task. */
    bdrv_inc_in_flight(job->s->bs);
    job->tasks_count++;
    aio_task_pool_start_task(pool, &t->task);
}

/* --------------------------------------------------------------- the job */

/* How much to look at in one go: much where it is likely to be zeroes. */
static int64_t coroutine_fn piece_at(ColoResync *job, int64_t offset,
                                     int64_t bytes)
{
    int64_t piece = 0;
    int ret;

    WITH_GRAPH_RDLOCK_GUARD() {
        ret = bdrv_co_block_status_above(job->s->bs, NULL, offset,
                                         bytes, &piece, NULL, NULL);
    }
    if (ret < 0 || !(ret & BDRV_BLOCK_ZERO)) {
        return MIN(bytes, piece_bytes(job));
    }
    return MIN(piece, ZERO_BYTES_MAX);
}

/* The next run at or after *@offset. */
static bool next_run(ColoResync *job, int64_t *offset, int64_t *bytes)
{
    if (!job->is_full) {
        return colo_track_next(job->s->track, *offset, ZERO_BYTES_MAX,
                               offset, bytes);
    }
    *bytes = job->disk_bytes - *offset;
    return *bytes > 0;
}

static int coroutine_fn copy_all(ColoResync *job)
{
    AioTaskPool *pool = aio_task_pool_new(TASKS_MAX_COUNT);
    int64_t offset = 0, bytes;
    int ret;

    while (aio_task_pool_status(pool) == 0 &&
           next_run(job, &offset, &bytes)) {
        block_job_ratelimit_sleep(&job->common);
        if (job_is_cancelled(&job->common.job)) {
            break;
        }
        while (job->tasks_count > 0 && !may_start(job)) {
            aio_task_pool_wait_one(pool);
        }
        bytes = piece_at(job, offset, bytes);
        start_task(job, pool, offset, bytes);
        offset += bytes;
    }
    aio_task_pool_wait_all(pool);
    ret = aio_task_pool_status(pool);
    aio_task_pool_free(pool);
    return ret;
}

static int coroutine_fn resync_run(Job *common, Error **errp)
{
    ColoResync *job = container_of(common, ColoResync, common.job);
    BDRVReplicationState *s = job->s;
    int ret;

    job_progress_set_remaining(common, job->is_full ? job->disk_bytes
                                       : colo_track_bytes(s->track));
    ret = copy_all(job);
    if (!ret && !job_is_cancelled(common)) {
        GRAPH_RDLOCK_GUARD();
        job->read_ret = bdrv_co_flush(s->bs);
    }
    if (job->read_ret < 0) {
        error_setg_errno(errp, -job->read_ret, "Disk '%s' cannot be copied",
                         s->bs->node_name);
        return job->read_ret;
    }
    return colo_forward_check(s->forward, errp) &&
           replication_primary_is_even(s, errp) ? ret : -EIO;
}

static void resync_commit(Job *common)
{
    ColoResync *job = container_of(common, ColoResync, common.job);

    colo_track_mark(job->s->track);
    job->s->in_sync = true;
}

static void resync_abort(Job *common)
{
    ColoResync *job = container_of(common, ColoResync, common.job);

    job->s->job = NULL;
    if (common->err) {
        replication_set_error(job->s, error_copy(common->err));
    }
    replication_detach(job->s);
}

static void resync_clean(Job *common)
{
    ColoResync *job = container_of(common, ColoResync, common.job);

    job->s->job = NULL;
    /*
     * A job that is freed lets go of its node with the graph locked, and
     * drains it then: a request of an iothread that waits for that lock would
     * never end. Drained before, there is none.
     */
    bdrv_drain_all_begin();
    block_job_remove_all_bdrv(&job->common);
    bdrv_drain_all_end();
}

static const BlockJobDriver resync_driver = {
    .job_driver = {
        .instance_size = sizeof(ColoResync),
        .job_type = JOB_TYPE_COLO_RESYNC,
        .free = block_job_free,
        .user_resume = block_job_user_resume,
        .run = resync_run,
        .commit = resync_commit,
        .abort = resync_abort,
        .clean = resync_clean,
    },
};

bool replication_resync(BDRVReplicationState *s, const char *id, bool is_full,
                        int64_t speed, bool auto_dismiss, Error **errp)
{
    ColoResync *job;

    GLOBAL_STATE_CODE();
    job = block_job_create(id, &resync_driver, NULL, s->bs, 0, BLK_PERM_ALL,
                           speed, auto_dismiss ? 0 : JOB_MANUAL_DISMISS,
                           NULL, NULL, errp);
    if (!job) {
        return false;
    }
    /* From here on base is what differed, and recent what goes to both. */
    colo_track_fold(s->track);
    job->s = s;
    job->is_full = is_full;
    job->window_bytes = WINDOW_BYTES_START;
    job->disk_bytes = bdrv_getlength(s->bs);
    stat64_init(&s->copied_bytes, 0);
    s->job = &job->common;
    job_start(&job->common.job);
    return true;
}
