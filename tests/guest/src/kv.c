/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Key-value store with a revision counter.
 *
 * Every accepted SET or SETD takes the next revision. SETD is acknowledged
 * only once its record is on the disk (kvlog.h) and survives a restart; SET
 * lives in memory only. A failed SETD changes nothing. LIST answers in the
 * order in which the keys first appeared, so equal histories give equal
 * replies on two machines. Runs in the thread of its loop alone.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvlog.h"
#include "services.h"

enum {
    BUCKETS_COUNT = 4096,
    KEYS_MAX = 100000,
    STORE_MAX_BYTES = 16 << 20,     /* keys and values together */
};

typedef struct Entry Entry;
struct Entry {
    Entry *next_in_bucket;
    Entry *next;            /* in order of first appearance */
    uint64_t rev;
    char *value;
    char key[];
};

static struct {
    Entry *buckets[BUCKETS_COUNT];
    Entry *first;
    Entry **tail;
    uint64_t rev;
    unsigned keys_count;
    size_t bytes;
} kv = { .tail = &kv.first };

/* FNV-1a, 32 bits, reduced to a bucket. */
static Entry **bucket_of(const char *key)
{
    uint32_t hash = 2166136261u;

    for (; *key; key++) {
        hash = (hash ^ (uint8_t)*key) * 16777619u;
    }
    return &kv.buckets[hash % BUCKETS_COUNT];
}

static Entry *find(const char *key)
{
    Entry *entry = *bucket_of(key);

    while (entry && strcmp(entry->key, key)) {
        entry = entry->next_in_bucket;
    }
    return entry;
}

static Entry *add(const char *key)
{
    Entry **bucket = bucket_of(key);
    Entry *entry = calloc(1, sizeof(*entry) + strlen(key) + 1);

    if (!entry) {
        die("no memory for another key");
    }
    strcpy(entry->key, key);
    entry->next_in_bucket = *bucket;
    *bucket = entry;
    *kv.tail = entry;
    kv.tail = &entry->next;
    kv.keys_count++;
    kv.bytes += strlen(key);
    return entry;
}

static void store(uint64_t rev, const char *key, const char *value)
{
    Entry *entry = find(key);
    char *copy = strdup(value);

    if (!copy) {
        die("no memory for another value");
    }
    if (!entry) {
        entry = add(key);
    }
    if (entry->value) {
        kv.bytes -= strlen(entry->value);
        free(entry->value);
    }
    kv.bytes += strlen(value);
    entry->value = copy;
    entry->rev = rev;
    kv.rev = rev;
}

static void clear(void)
{
    while (kv.first) {
        Entry *entry = kv.first;

        kv.first = entry->next;
        free(entry->value);
        free(entry);
    }
    memset(kv.buckets, 0, sizeof(kv.buckets));
    kv.tail = &kv.first;
    kv.keys_count = 0;
    kv.bytes = 0;
}

/* Why the store does not take this pair, or NULL. */
static const char *store_refuses(const char *key, const char *value)
{
    if (strlen(key) > KEY_MAX_BYTES || strlen(value) > VALUE_MAX_BYTES) {
        return "key or value too long";
    }
    if (kv.keys_count >= KEYS_MAX ||
        kv.bytes + strlen(key) + strlen(value) > STORE_MAX_BYTES) {
        return "the store is full: CLEAR or FORMAT it";
    }
    return NULL;
}

static void command_set(Conn *conn, char *key, bool durable)
{
    char *value = key ? strchr(key, ' ') : NULL;
    const char *problem;

    if (!value || value == key) {
        conn_printf(conn, "ERR usage: SET key value\n");
        return;
    }
    *value++ = '\0';
    problem = store_refuses(key, value);
    if (!problem && durable) {
        problem = kvlog_append(kv.rev + 1, key, value);
    }
    if (problem) {
        conn_printf(conn, "ERR %s\n", problem);
        return;
    }
    store(kv.rev + 1, key, value);
    conn_printf(conn, "OK %" PRIu64 "\n", kv.rev);
}

static void command_get(Conn *conn, const char *key)
{
    Entry *entry = key ? find(key) : NULL;

    if (entry) {
        conn_printf(conn, "VALUE %" PRIu64 " %s\n", entry->rev, entry->value);
    } else {
        conn_printf(conn, "NONE\n");
    }
}

static void command_list(Conn *conn)
{
    for (Entry *entry = kv.first; entry; entry = entry->next) {
        conn_printf(conn, "KEY %s %" PRIu64 " %s\n", entry->key, entry->rev,
                    entry->value);
    }
    conn_printf(conn, "END %u %" PRIu64 "\n", kv.keys_count, kv.rev);
}

static void command_format(Conn *conn)
{
    const char *problem = kvlog_format();

    if (problem) {
        conn_printf(conn, "ERR %s\n", problem);
        return;
    }
    clear();
    kv.rev = 0;
    conn_printf(conn, "OK 0\n");
}

static void kv_line(Conn *conn, char *line)
{
    char *argument = strchr(line, ' ');

    if (argument) {
        *argument++ = '\0';
    }
    if (!strcmp(line, "SET")) {
        command_set(conn, argument, false);
    } else if (!strcmp(line, "SETD")) {
        command_set(conn, argument, true);
    } else if (!strcmp(line, "GET")) {
        command_get(conn, argument);
    } else if (!strcmp(line, "LIST")) {
        command_list(conn);
    } else if (!strcmp(line, "REV")) {
        conn_printf(conn, "REV %" PRIu64 "\n", kv.rev);
    } else if (!strcmp(line, "CLEAR")) {
        clear();
        conn_printf(conn, "OK %" PRIu64 "\n", kv.rev);
    } else if (!strcmp(line, "FORMAT")) {
        command_format(conn);
    } else {
        conn_printf(conn, "ERR unknown command; known: SET SETD GET LIST REV "
                    "CLEAR FORMAT\n");
    }
}

void kv_open(const char *disk_path)
{
    const char *problem;

    if (!disk_path) {
        printf("colo-guest: no disk, SETD is not available\n");
        return;
    }
    problem = kvlog_open(disk_path, store);
    if (problem) {
        printf("colo-guest: %s: %s\n", disk_path, problem);
        return;
    }
    printf("colo-guest: %s: %u keys recovered, revision %" PRIu64 "\n",
           disk_path, kv.keys_count, kv.rev);
}

const Service kv_service = {
    .name = "key-value store",
    .port = PORT_KV,
    .line = kv_line,
};
