/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Streams of numbered, checksummed records in files.
 *
 * A stream is a directory of a volume. Record n, counted from 1, is found by
 * its number alone:
 *   odd n    appended to the file log.K; LOG_RECORDS of them in each. When
 *            log.K begins, log.K-2 is removed: blocks come and go.
 *   even n   written over an older record, in slot n/2 mod RING_SLOTS of the
 *            file ring.
 * Size and content follow from stream and number. A record is acknowledged
 * after fsync() of its file and, if that is new, of the directory.
 *
 * The check is told the last acknowledged number. It reads from the disk all
 * that must be there still: each slot of the ring, the current log and the
 * one before. One number further may be there, whole or torn: it was under
 * way.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/crc32.h"
#include "server.h"

enum {
    RECORD_MAGIC = 0x524c4f43,  /* "COLR" */
    PAYLOAD_MIN_BYTES = 24,
    PAYLOAD_SPREAD_BYTES = 2048,
    RING_SLOTS = 64,
    SLOT_BYTES = 4096,
    LOG_RECORDS = 100,
};

/* Little endian, as the processor's. */
typedef struct Record {
    uint32_t magic;
    uint32_t crc;               /* of all that follows */
    uint64_t stream;            /* hash of its name */
    uint64_t number;
    uint32_t size;              /* bytes with this head */
    uint32_t zero;
    uint8_t payload[];
} Record;

struct Records {
    char device[NAME_MAX_BYTES + 1];
    char stream[NAME_MAX_BYTES + 1];
    uint64_t hash;
    int directory_fd;
    int ring_fd;
    int log_fd;
    uint64_t log_index;
    uint64_t log_end;           /* bytes */
    uint64_t log_next;          /* number of the record that belongs there */
};

/* FNV-1a, 64 bits. */
static uint64_t hash_of(const char *text)
{
    uint64_t hash = 14695981039346656037u;

    for (; *text; text++) {
        hash = (hash ^ (uint8_t)*text) * 1099511628211u;
    }
    return hash;
}

static uint64_t mix(uint64_t hash, uint64_t number)
{
    uint64_t word = (hash ^ number * 0x9e3779b97f4a7c15u) | 1;

    word ^= word << 13;
    word ^= word >> 7;
    return word ^ word << 17;
}

static uint32_t size_of(uint64_t hash, uint64_t number)
{
    return sizeof(Record) + PAYLOAD_MIN_BYTES +
           mix(hash, number) % PAYLOAD_SPREAD_BYTES;
}

/* Makes record @number in @buffer, SLOT_BYTES long. */
static Record *make_record(void *buffer, uint64_t hash, uint64_t number)
{
    Record *record = buffer;
    uint64_t word = mix(hash, number);

    memset(buffer, 0, SLOT_BYTES);
    record->magic = RECORD_MAGIC;
    record->stream = hash;
    record->number = number;
    record->size = size_of(hash, number);
    for (uint32_t i = 0; i < record->size - sizeof(*record); i++) {
        if (i % 8 == 0) {
            word = mix(word, i + 1);
        }
        record->payload[i] = word >> i % 8 * 8;
    }
    record->crc = crc32_of(&record->stream, record->size -
                           offsetof(Record, stream));
    return record;
}

static uint64_t log_index_of(uint64_t number)
{
    return (number - 1) / 2 / LOG_RECORDS;
}

static uint64_t log_first(uint64_t index)
{
    return index * LOG_RECORDS * 2 + 1;
}

static uint64_t slot_offset(uint64_t number)
{
    return number / 2 % RING_SLOTS * SLOT_BYTES;
}

static int open_file(const Records *records, const char *name, bool create)
{
    int flags = create ? O_RDWR | O_CREAT : O_RDONLY;

    return openat(records->directory_fd, name, flags | O_CLOEXEC, 0644);
}

static void log_name(char name[NAME_MAX_BYTES + 1], uint64_t index)
{
    snprintf(name, NAME_MAX_BYTES + 1, "log.%llu", (unsigned long long)index);
}

void records_close(Records *records)
{
    if (!records) {
        return;
    }
    if (records->log_fd >= 0) {
        close(records->log_fd);
    }
    if (records->ring_fd >= 0) {
        close(records->ring_fd);
    }
    if (records->directory_fd >= 0) {
        close(records->directory_fd);
    }
    free(records);
}

/* Opens the directory of a stream, made if that is asked for; or NULL. */
static Records *records_open(const char *device, const char *stream,
                             bool create)
{
    Records *records = calloc(1, sizeof(*records));
    char path[PATH_MAX_BYTES];

    if (!records) {
        return NULL;
    }
    records->ring_fd = records->log_fd = -1;
    strcpy(records->device, device);
    strcpy(records->stream, stream);
    records->hash = hash_of(stream);
    volume_path(path, device, stream);
    if (create) {
        mkdir(path, 0755);
    }
    records->directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (records->directory_fd < 0) {
        records_close(records);
        return NULL;
    }
    return records;
}

/* Makes log.@index the one that is written to. NULL or a reason. */
static const char *begin_log(Records *records, uint64_t index)
{
    char name[NAME_MAX_BYTES + 1];

    if (records->log_fd >= 0) {
        close(records->log_fd);
    }
    log_name(name, index);
    records->log_fd = open_file(records, name, true);
    if (records->log_fd < 0) {
        return failure(name);
    }
    records->log_index = index;
    records->log_end = 0;
    records->log_next = log_first(index);
    if (index >= 2) {
        log_name(name, index - 2);
        if (unlinkat(records->directory_fd, name, 0) && errno != ENOENT) {
            return failure(name);
        }
    }
    return fsync(records->directory_fd) ? failure("fsync") : NULL;
}

static const char *write_at(int fd, const Record *record, uint64_t offset)
{
    ssize_t done = pwrite(fd, record, record->size, offset);

    if (done < 0) {
        return failure("pwrite");
    }
    if ((uint32_t)done != record->size) {
        return "a short write";
    }
    return fsync(fd) ? failure("fsync") : NULL;
}

static const char *append(Records *records, const Record *record)
{
    uint64_t index = log_index_of(record->number);
    const char *problem = NULL;

    if (records->log_fd < 0 || records->log_index != index) {
        problem = begin_log(records, index);
    }
    if (problem) {
        return problem;
    }
    /* A stream that is continued: pass over what is there. */
    while (records->log_next < record->number) {
        records->log_end += size_of(records->hash, records->log_next);
        records->log_next += 2;
    }
    if (records->log_next != record->number) {
        return "numbers must rise";
    }
    problem = write_at(records->log_fd, record, records->log_end);
    if (!problem) {
        records->log_end += record->size;
        records->log_next += 2;
    }
    return problem;
}

static const char *overwrite(Records *records, const Record *record)
{
    if (records->ring_fd < 0) {
        records->ring_fd = open_file(records, "ring", true);
        if (records->ring_fd < 0 || fsync(records->directory_fd)) {
            return failure("ring");
        }
    }
    return write_at(records->ring_fd, record, slot_offset(record->number));
}

/* The stream that the session writes to becomes this one. */
static const char *select_stream(Session *session, const char *device,
                                 const char *stream)
{
    Records *records = session->records;

    if (records && !strcmp(records->device, device) &&
        !strcmp(records->stream, stream)) {
        return NULL;
    }
    records_close(records);
    session->records = records_open(device, stream, true);
    return session->records ? NULL : failure(stream);
}

void command_record(Session *session, char **words)
{
    _Alignas(Record) uint8_t buffer[SLOT_BYTES];
    uint64_t number = number_of(words[2]);
    const char *problem = "bad name or number, or not mounted";
    Record *record;

    if (is_name(words[1]) && number && volume_is_mounted(words[0])) {
        problem = select_stream(session, words[0], words[1]);
    }
    if (!problem) {
        record = make_record(buffer, session->records->hash, number);
        problem = number % 2 ? append(session->records, record)
                             : overwrite(session->records, record);
    }
    answer_number(session, problem, number);
}

/* -- the check --------------------------------------------------------- */

/* The problem with record @number at @offset of @fd, or NULL. */
static const char *check_record(const Records *records, int fd,
                                uint64_t offset, uint64_t number)
{
    static __thread char text[128];
    _Alignas(Record) uint8_t wanted[SLOT_BYTES];
    uint8_t found[SLOT_BYTES];
    Record *record = make_record(wanted, records->hash, number);
    ssize_t got = pread(fd, found, record->size, offset);

    if (got == record->size && !memcmp(found, wanted, got)) {
        return NULL;
    }
    snprintf(text, sizeof(text), "record %llu at byte %llu: %s",
             (unsigned long long)number, (unsigned long long)offset,
             got < 0 ? strerror(errno) : got < record->size
             ? "the file ends before it" : "wrong content");
    return text;
}

/* All of log.@index up to record @last. */
static const char *check_log(const Records *records, uint64_t index,
                             uint64_t last, uint64_t *count)
{
    uint64_t end = log_first(index + 1);
    const char *problem = NULL;
    char name[NAME_MAX_BYTES + 1];
    uint64_t offset = 0;
    int fd;

    log_name(name, index);
    fd = open_file(records, name, false);
    if (fd < 0) {
        return failure(name);
    }
    for (uint64_t number = log_first(index);
         number < end && number <= last && !problem; number += 2) {
        problem = check_record(records, fd, offset, number);
        offset += size_of(records->hash, number);
        ++*count;
    }
    close(fd);
    return problem;
}

/* Each slot holds the last record that belongs there, or the next one. */
static const char *check_ring(const Records *records, uint64_t last,
                              uint64_t *count)
{
    uint64_t newest = last / 2 * 2;
    uint64_t span = RING_SLOTS * 2;
    uint64_t number = newest > span ? newest - span + 2 : 2;
    const char *problem = NULL;
    int fd = open_file(records, "ring", false);

    if (fd < 0) {
        return failure("ring");
    }
    for (; number <= newest && !problem; number += 2) {
        /* What was under way may have replaced it, torn at worst. */
        if (number + span != last + 1) {
            problem = check_record(records, fd, slot_offset(number), number);
            ++*count;
        }
    }
    close(fd);
    return problem;
}

static const char *check_all(const Records *records, uint64_t last,
                             uint64_t *count)
{
    uint64_t index = log_index_of(last);
    const char *problem = NULL;

    /* The one before is gone once the next one has begun. */
    if (index && log_index_of(last + 1) == index) {
        problem = check_log(records, index - 1, last, count);
    }
    if (!problem) {
        problem = check_log(records, index, last, count);
    }
    if (!problem && last >= 2) {
        problem = check_ring(records, last, count);
    }
    return problem;
}

void command_records(Session *session, char **words)
{
    uint64_t last = number_of(words[2]);
    const char *problem = "bad name or number";
    uint64_t count = 0;
    Records *records;

    if (is_name(words[1]) && last) {
        drop_caches();
        records = records_open(words[0], words[1], false);
        problem = records ? check_all(records, last, &count)
                          : failure(words[1]);
        records_close(records);
    }
    answer_number(session, problem, count);
}
