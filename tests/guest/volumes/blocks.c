/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes to a bare disk, to measure it, to fill buffers behind it, and to
 * give its blocks back. The disk must not be mounted.
 *
 *   WRITE dev random seed count      4 KiB each, anywhere on the disk, each
 *                                    on the medium before the next begins
 *   WRITE dev sequential seed count  1 MiB each, one behind the other, on
 *                                    the medium at the end; seed times count
 *                                    is the first, so seeds that rise go
 *                                    through the disk, and again
 *   READ dev random|sequential seed count    what such a WRITE left, compared
 *   DISCARD dev offset size          the blocks are no longer needed; bytes
 *
 * Content follows from seed and place alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "server.h"

enum {
    RANDOM_BYTES = 4096,
    SEQUENTIAL_BYTES = 1 << 20,
    ALIGN_BYTES = 4096,
};

static uint64_t next_word(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state ^ *state >> 31;
}

static int open_disk(const char *device, int flags, uint64_t *size)
{
    char path[PATH_MAX_BYTES];
    int fd;

    snprintf(path, sizeof(path), "/dev/%s", device);
    fd = open(path, O_RDWR | O_EXCL | O_DIRECT | O_CLOEXEC | flags);
    if (fd >= 0 && ioctl(fd, BLKGETSIZE64, size) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Tells blocks apart that are otherwise alike. */
static void stamp(uint64_t *block, uint64_t seed, uint64_t offset)
{
    block[0] = seed;
    block[1] = offset;
}

/* What a command is about. */
typedef struct Job {
    int fd;
    bool writes;
    bool is_random;
    uint64_t seed;
    uint64_t count;
    uint64_t disk_size;
} Job;

static const char *do_block(const Job *job, const uint64_t *block,
                            uint64_t *found, size_t size, uint64_t offset)
{
    if (job->writes) {
        return pwrite(job->fd, block, size, offset) == (ssize_t)size
               ? NULL : failure("pwrite");
    }
    if (pread(job->fd, found, size, offset) != (ssize_t)size) {
        return failure("pread");
    }
    return memcmp(block, found, size)
           ? "the disk does not hold what was written" : NULL;
}

static const char *do_blocks(const Job *job, uint64_t *block, uint64_t *found)
{
    size_t size = job->is_random ? RANDOM_BYTES : SEQUENTIAL_BYTES;
    uint64_t places_count = job->disk_size / size;
    const char *problem = NULL;
    uint64_t state = job->seed;

    if (!block || !found || !places_count) {
        return "no memory, or the disk is too small";
    }
    for (size_t i = 0; i < size / sizeof(*block); i++) {
        block[i] = next_word(&state);
    }
    for (uint64_t i = 0; i < job->count && !problem; i++) {
        uint64_t place = job->is_random ? next_word(&state)
                                        : job->seed * job->count + i;
        uint64_t offset = place % places_count * size;

        stamp(block, job->seed, offset);
        problem = do_block(job, block, found, size, offset);
    }
    if (!problem && job->writes && fdatasync(job->fd)) {
        problem = failure("fdatasync");
    }
    return problem;
}

static void run_job(Session *session, char **words, bool writes)
{
    Job job = {
        .writes = writes,
        .is_random = !strcmp(words[1], "random"),
        .seed = number_of(words[2]),
        .count = number_of(words[3]),
    };
    const char *problem;
    uint64_t *blocks;

    if (!job.count || (!job.is_random && strcmp(words[1], "sequential"))) {
        answer(session, "ERR random or sequential, seed, count");
        return;
    }
    job.fd = open_disk(words[0], job.is_random ? O_DSYNC : 0,
                       &job.disk_size);
    if (job.fd < 0) {
        answer(session, "ERR %s", failure(words[0]));
        return;
    }
    blocks = aligned_alloc(ALIGN_BYTES, 2 * SEQUENTIAL_BYTES);
    problem = do_blocks(&job, blocks, blocks ? blocks + SEQUENTIAL_BYTES /
                        sizeof(*blocks) : NULL);
    free(blocks);
    close(job.fd);
    answer_number(session, problem, job.count);
}

void command_write(Session *session, char **words)
{
    run_job(session, words, true);
}

void command_read(Session *session, char **words)
{
    run_job(session, words, false);
}

void command_discard(Session *session, char **words)
{
    uint64_t range[2] = { number_of(words[1]), number_of(words[2]) };
    const char *problem = NULL;
    uint64_t size;
    int fd = open_disk(words[0], 0, &size);

    if (fd < 0 || ioctl(fd, BLKDISCARD, range)) {
        problem = failure(words[0]);
    }
    if (fd >= 0) {
        close(fd);
    }
    answer_number(session, problem, range[1]);
}
