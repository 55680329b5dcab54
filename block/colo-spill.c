/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the spill file of one disk.
 *
 * What the memory limit does not hold goes to a file without a name, so that
 * nothing is left behind however this process ends. It is opened when a pair
 * begins, which is when somebody can still be told that the directory is no
 * good. A checkpoint that leaves nothing in it gives it to the worker that
 * frees memory, and the next one that needs a file opens another: to shorten
 * a large file takes time, and a checkpoint has none.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "block/thread-pool.h"
#include "qemu/iov.h"
#include "colo-buffer-int.h"

static const char *default_dir(void)
{
    return getenv("TMPDIR") ?: "/var/tmp";
}

int colo_spill_open(const char *dir, Error **errp)
{
    g_autofree char *path = g_build_filename(dir ?: default_dir(),
                                             "colo-spill-XXXXXX", NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
    int errno_ = errno;

    if (fd < 0) {
        error_setg_errno(errp, errno_, "Cannot create a spill file in '%s'",
                         dir ?: default_dir());
        error_append_hint(errp, "Name a directory that can be written to, "
                          "with room for what the guest may write between "
                          "two checkpoints, with spill-dir.\n");
        return -errno_;
    }
    unlink(path);
    return fd;
}

static int open_work(void *opaque)
{
    ColoBuffer *b = opaque;
    int fd = colo_spill_open(b->spill_dir, NULL);

    if (fd < 0) {
        return fd;
    }
    QEMU_LOCK_GUARD(&b->lock);
    b->spill_fd = fd;
    return 0;
}

/* The file, opened if there is none, or -errno. */
static int coroutine_fn get_file(ColoBuffer *b)
{
    int ret = 0;
    int fd;

    qemu_co_mutex_lock(&b->spill_open);
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        fd = b->spill_fd;
    }
    if (fd < 0) {
        ret = thread_pool_submit_co(open_work, b);
    }
    WITH_QEMU_LOCK_GUARD(&b->lock) {
        fd = b->spill_fd;
        b->spill_used = true;
    }
    qemu_co_mutex_unlock(&b->spill_open);
    return ret < 0 ? ret : fd;
}

typedef struct SpillJob {
    int fd;
    bool write;
    struct iovec *iov;
    unsigned iov_count;
    off_t offset;
    size_t bytes;
} SpillJob;

static int rw_work(void *opaque)
{
    SpillJob *job = opaque;
    ssize_t n;

    while (job->bytes > 0) {
        unsigned count = MIN(job->iov_count, IOV_MAX);

        n = job->write ? pwritev(job->fd, job->iov, count, job->offset)
                       : preadv(job->fd, job->iov, count, job->offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : job->write ? -ENOSPC : -EIO;
        }
        iov_discard_front(&job->iov, &job->iov_count, n);
        job->offset += n;
        job->bytes -= n;
    }
    return 0;
}

int coroutine_fn colo_spill_co_rw(ColoBuffer *b, bool write, uint64_t offset,
                                  uint64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset)
{
    QEMUIOVector slice;
    SpillJob job = { .write = write, .offset = offset, .bytes = bytes };
    int ret;

    job.fd = get_file(b);
    if (job.fd < 0) {
        return job.fd;
    }
    qemu_iovec_init_slice(&slice, qiov, qiov_offset, bytes);
    job.iov = slice.iov;
    job.iov_count = slice.niov;
    ret = thread_pool_submit_co(rw_work, &job);
    qemu_iovec_destroy(&slice);
    return ret;
}
