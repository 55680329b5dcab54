/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sequential disk load on the second half of the disk.
 *
 * Chunks of 64 KiB, O_DIRECT, over and over a span, at a given rate. Content
 * depends on (chunk, pass) only. Invariant outside the lock: chunks below
 * "next" hold pass "pass", the others pass - 1 (unknown in pass 1). The
 * position is in the guest's memory and the data on its disk, so the check
 * also tells whether both belong to the same moment.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "load.h"
#include "services.h"

enum {
    CHUNK_BYTES = 65536,
    CHUNK_WORDS = CHUNK_BYTES / 8,
    CHUNKS_PER_MIB = (1 << 20) / CHUNK_BYTES,
    SLICE_US = 5000,
    CATCH_UP_MAX_US = 50000,
};

static struct {
    const char *unusable;
    int fd;
    uint64_t start;             /* byte offset of the second half */
    uint64_t size;
    pthread_t thread;
    bool running;
    unsigned rate_mib_per_s;
    /* under the lock */
    pthread_mutex_t lock;
    bool stop;
    uint64_t *buffer;
    uint64_t chunks_count;
    uint64_t next;
    uint64_t pass;
    DiskStat stat;
    /* what the last write load left, for the check */
    uint64_t written_count;
    uint64_t written_next;
    uint64_t written_pass;
} disk = {
    .unusable = "the guest has no disk", .fd = -1,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};

void disk_load_open(const char *disk_path)
{
    uint64_t size;

    if (!disk_path) {
        return;
    }
    disk.fd = open(disk_path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (disk.fd < 0 || ioctl(disk.fd, BLKGETSIZE64, &size) < 0) {
        disk.unusable = strerror(errno);
        return;
    }
    disk.start = size / 2 / CHUNK_BYTES * CHUNK_BYTES;
    disk.size = size - disk.start;
    disk.buffer = aligned_alloc(4096, CHUNK_BYTES);
    if (!disk.buffer) {
        die("no memory for the disk buffer");
    }
    disk.unusable = NULL;
}

static uint64_t word_value(uint64_t chunk, uint64_t pass, unsigned word)
{
    uint64_t mixed = (chunk << 13 | word) * 0x9e3779b97f4a7c15u;

    return mixed + pass * 0xd1342543de82ef95u;
}

static bool write_chunk(uint64_t chunk, uint64_t pass)
{
    for (unsigned i = 0; i < CHUNK_WORDS; i++) {
        disk.buffer[i] = word_value(chunk, pass, i);
    }
    return pwrite(disk.fd, disk.buffer, CHUNK_BYTES,
                  disk.start + chunk * CHUNK_BYTES) == CHUNK_BYTES;
}

static bool read_chunk(uint64_t chunk)
{
    return pread(disk.fd, disk.buffer, CHUNK_BYTES,
                 disk.start + chunk * CHUNK_BYTES) == CHUNK_BYTES;
}

/* A failed chunk is counted and tried again in the next slice. */
static bool do_chunk_locked(void)
{
    bool done = disk.stat.writing ? write_chunk(disk.next, disk.pass)
                                  : read_chunk(disk.next);

    if (!done) {
        disk.stat.errors++;
        return false;
    }
    disk.stat.chunks_done++;
    if (++disk.next == disk.chunks_count) {
        disk.next = 0;
        disk.pass++;
    }
    if (disk.stat.writing) {
        disk.written_next = disk.next;
        disk.written_pass = disk.pass;
    }
    return true;
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000ull + now.tv_nsec / 1000;
}

static void *disk_run(void *opaque)
{
    const struct timespec slice = { .tv_nsec = SLICE_US * 1000 };
    uint64_t last_us = now_us();
    uint64_t due = 0;       /* chunks times microseconds per second */
    bool stop = false;

    (void)opaque;
    while (!stop) {
        uint64_t time_us, passed_us;

        nanosleep(&slice, NULL);
        time_us = now_us();
        passed_us = time_us - last_us;
        last_us = time_us;
        if (passed_us > CATCH_UP_MAX_US) {
            passed_us = CATCH_UP_MAX_US;
        }
        due += passed_us * disk.rate_mib_per_s * CHUNKS_PER_MIB;
        pthread_mutex_lock(&disk.lock);
        while (due >= 1000000 && !disk.stop) {
            due -= 1000000;
            if (!do_chunk_locked()) {
                break;
            }
        }
        stop = disk.stop;
        pthread_mutex_unlock(&disk.lock);
    }
    return NULL;
}

static void disk_load_stop(void)
{
    if (!disk.running) {
        return;
    }
    pthread_mutex_lock(&disk.lock);
    disk.stop = true;
    pthread_mutex_unlock(&disk.lock);
    pthread_join(disk.thread, NULL);
    disk.running = false;
    disk.stat.running = false;
}

const char *disk_load_start(bool write, unsigned rate_mib_per_s,
                            unsigned span_mib)
{
    disk_load_stop();
    if (!rate_mib_per_s) {
        return NULL;
    }
    if (disk.unusable) {
        return disk.unusable;
    }
    if (!span_mib || (uint64_t)span_mib << 20 > disk.size) {
        return "the span does not fit into the second half of the disk";
    }
    disk.rate_mib_per_s = rate_mib_per_s;
    disk.chunks_count = (uint64_t)span_mib * CHUNKS_PER_MIB;
    disk.next = 0;
    disk.pass = 1;
    disk.stop = false;
    disk.stat = (DiskStat){ .running = true, .writing = write };
    if (write) {
        disk.written_count = disk.chunks_count;
        disk.written_next = 0;
        disk.written_pass = 1;
    }
    if (pthread_create(&disk.thread, NULL, disk_run, NULL)) {
        return "no thread";
    }
    disk.running = true;
    return NULL;
}

DiskStat disk_load_stat(void)
{
    DiskStat stat;

    pthread_mutex_lock(&disk.lock);
    stat = disk.stat;
    stat.pass = disk.pass;
    pthread_mutex_unlock(&disk.lock);
    return stat;
}

static const char *check_chunk_locked(uint64_t chunk, uint64_t pass)
{
    if (!read_chunk(chunk)) {
        return "cannot read the disk";
    }
    for (unsigned i = 0; i < CHUNK_WORDS; i++) {
        if (disk.buffer[i] != word_value(chunk, pass, i)) {
            return "the disk does not hold what was written";
        }
    }
    return NULL;
}

const char *disk_load_check(uint64_t *chunks_checked)
{
    const char *problem = disk.unusable;

    *chunks_checked = 0;
    pthread_mutex_lock(&disk.lock);
    for (uint64_t chunk = 0; !problem && chunk < disk.written_count; chunk++) {
        uint64_t pass = disk.written_pass - (chunk >= disk.written_next);

        if (pass) {
            problem = check_chunk_locked(chunk, pass);
            ++*chunks_checked;
        }
    }
    pthread_mutex_unlock(&disk.lock);
    return problem;
}
