/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Log of acknowledged writes on a raw disk.
 *
 * The first half of the disk is the log, the second half belongs to the disk
 * load (disk.c). Block 0 is the head: magic, generation, checksum. Records
 * follow back to back, each padded to whole 512-byte sectors:
 *     magic, generation, rev, key and value size, CRC-32 of all that and of
 *     key and value, then key and value without terminators.
 * Recovery reads records until one does not verify. A generation number makes
 * what a formatted log left behind invalid. Writes are O_DIRECT | O_DSYNC: a
 * record is acknowledged by the medium, and recovery reads the medium, not a
 * cache.
 *
 * A torn last record fails its checksum and was never acknowledged. The log
 * does not wrap: when full, appending fails with a reason.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "crc32.h"
#include "kvlog.h"

enum {
    SECTOR_BYTES = 512,
    HEAD_BYTES = 4096,
    BUFFER_BYTES = 32768,       /* holds the largest record */
    HEAD_MAGIC = 0x474c4f43,    /* "COLG" */
    RECORD_MAGIC = 0x524c4f43,  /* "COLR" */
};

typedef struct LogHead {
    uint32_t magic;
    uint32_t crc;               /* of generation */
    uint64_t generation;
} LogHead;

typedef struct LogRecord {
    uint32_t magic;
    uint32_t crc;               /* of the rest, key and value */
    uint64_t generation;
    uint64_t rev;
    uint32_t key_bytes;
    uint32_t value_bytes;
    char text[];
} LogRecord;

static struct {
    int fd;
    const char *unusable;       /* reason, or NULL */
    uint64_t generation;
    uint64_t end;               /* where the next record goes */
    uint64_t limit;
    uint8_t *buffer;            /* BUFFER_BYTES, aligned for O_DIRECT */
} kvlog = { .fd = -1, .unusable = "the guest has no disk" };

static uint32_t record_crc(const LogRecord *record)
{
    const uint8_t *from = (const uint8_t *)&record->generation;
    size_t fixed = sizeof(*record) - offsetof(LogRecord, generation);

    return crc32_of(from, fixed + record->key_bytes + record->value_bytes);
}

static size_t record_bytes(size_t key_bytes, size_t value_bytes)
{
    size_t size = sizeof(LogRecord) + key_bytes + value_bytes;

    return (size + SECTOR_BYTES - 1) / SECTOR_BYTES * SECTOR_BYTES;
}

static bool write_all(const void *bytes, size_t size, uint64_t offset)
{
    ssize_t done = pwrite(kvlog.fd, bytes, size, offset);

    if (done >= 0 && (size_t)done != size) {
        errno = EIO;
    }
    return done >= 0 && (size_t)done == size;
}

static const char *write_head(uint64_t generation)
{
    LogHead *head = (LogHead *)kvlog.buffer;

    memset(kvlog.buffer, 0, HEAD_BYTES);
    head->magic = HEAD_MAGIC;
    head->generation = generation;
    head->crc = crc32_of(&head->generation, sizeof(head->generation));
    if (!write_all(kvlog.buffer, HEAD_BYTES, 0)) {
        return strerror(errno);
    }
    kvlog.generation = generation;
    kvlog.end = HEAD_BYTES;
    kvlog.unusable = NULL;
    return NULL;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, size - 1);
}

/* Reads block 0: formats a blank disk, refuses one that is someone else's. */
static const char *open_head(void)
{
    LogHead *head = (LogHead *)kvlog.buffer;

    if (pread(kvlog.fd, kvlog.buffer, HEAD_BYTES, 0) != HEAD_BYTES) {
        return "cannot read the disk";
    }
    if (is_zero(kvlog.buffer, HEAD_BYTES)) {
        return write_head(1);
    }
    if (head->magic != HEAD_MAGIC ||
        head->crc != crc32_of(&head->generation, sizeof(head->generation))) {
        return "the disk holds something else: send FORMAT to use it anyway";
    }
    kvlog.generation = head->generation;
    kvlog.end = HEAD_BYTES;
    kvlog.unusable = NULL;
    return NULL;
}

/* The verified record at @offset, or NULL. Lives in the buffer. */
static LogRecord *read_record(uint64_t offset)
{
    LogRecord *record = (LogRecord *)kvlog.buffer;
    ssize_t got = pread(kvlog.fd, kvlog.buffer, BUFFER_BYTES, offset);

    if (got < SECTOR_BYTES || record->magic != RECORD_MAGIC ||
        record->generation != kvlog.generation ||
        record->key_bytes > KEY_MAX_BYTES ||
        record->value_bytes > VALUE_MAX_BYTES ||
        record_bytes(record->key_bytes, record->value_bytes) > (size_t)got ||
        record->crc != record_crc(record)) {
        return NULL;
    }
    return record;
}

static void replay(KvLogFound *found)
{
    LogRecord *record;

    while ((record = read_record(kvlog.end))) {
        char key[KEY_MAX_BYTES + 1];
        char value[VALUE_MAX_BYTES + 1];

        memcpy(key, record->text, record->key_bytes);
        key[record->key_bytes] = '\0';
        memcpy(value, record->text + record->key_bytes, record->value_bytes);
        value[record->value_bytes] = '\0';
        found(record->rev, key, value);
        kvlog.end += record_bytes(record->key_bytes, record->value_bytes);
    }
}

const char *kvlog_open(const char *path, KvLogFound *found)
{
    uint64_t size;

    kvlog.fd = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (kvlog.fd < 0 || ioctl(kvlog.fd, BLKGETSIZE64, &size) < 0) {
        kvlog.unusable = strerror(errno);
        return kvlog.unusable;
    }
    kvlog.limit = size / 2 / HEAD_BYTES * HEAD_BYTES;
    kvlog.buffer = aligned_alloc(HEAD_BYTES, BUFFER_BYTES);
    if (!kvlog.buffer || kvlog.limit <= HEAD_BYTES) {
        kvlog.unusable = "the disk is too small";
        return kvlog.unusable;
    }
    kvlog.unusable = open_head();
    if (!kvlog.unusable) {
        replay(found);
    }
    return kvlog.unusable;
}

const char *kvlog_format(void)
{
    if (!kvlog.buffer) {
        return kvlog.unusable;
    }
    return write_head(kvlog.generation + 1);
}

const char *kvlog_append(uint64_t rev, const char *key, const char *value)
{
    LogRecord *record = (LogRecord *)kvlog.buffer;
    size_t key_bytes = strlen(key), value_bytes = strlen(value);
    size_t size = record_bytes(key_bytes, value_bytes);

    if (kvlog.unusable) {
        return kvlog.unusable;
    }
    if (kvlog.end + size > kvlog.limit) {
        return "the log is full: FORMAT it or use a larger disk";
    }
    memset(kvlog.buffer, 0, size);
    record->magic = RECORD_MAGIC;
    record->generation = kvlog.generation;
    record->rev = rev;
    record->key_bytes = key_bytes;
    record->value_bytes = value_bytes;
    memcpy(record->text, key, key_bytes);
    memcpy(record->text + key_bytes, value, value_bytes);
    record->crc = record_crc(record);
    if (!write_all(kvlog.buffer, size, kvlog.end)) {
        return strerror(errno);
    }
    kvlog.end += size;
    return NULL;
}
