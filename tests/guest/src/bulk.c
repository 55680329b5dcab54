/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bulk streams with content that both ends can compute.
 *
 * Stream of a seed: blocks of 64 KiB. A block is its number (8 bytes, little
 * endian, from 0) followed by 65,528 bytes which are the same in every block of
 * that seed: xorshift64 words (13, 7, 17), little endian, state starting at
 * seed * 2 + 1, first word after one step. Lost, doubled or swapped data shows,
 * and checking costs one comparison per block.
 *
 * Source: "GET bytes seed" -> exactly that many bytes of the stream.
 * Sink:   "PUT bytes seed", the bytes -> "OK bytes seed", or "ERR ... at N"
 *         and the connection is closed.
 * Both serve one request after the other on a connection.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bulk.h"
#include "services.h"

enum { NUMBER_BYTES = 8 };

static void put_number(uint8_t *block, uint64_t number)
{
    for (int i = 0; i < NUMBER_BYTES; i++) {
        block[i] = number >> 8 * i;
    }
}

void bulk_begin(Bulk *bulk, uint64_t size, uint64_t seed)
{
    uint64_t word = seed * 2 + 1;

    bulk->size = size;
    bulk->done = 0;
    if (bulk->filled && bulk->seed == seed) {
        return;
    }
    bulk->seed = seed;
    bulk->filled = true;
    for (int at = NUMBER_BYTES; at < BULK_BLOCK_BYTES; at += 8) {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        put_number(bulk->block + at, word);
    }
}

size_t bulk_next(Bulk *bulk, const uint8_t **bytes, size_t limit)
{
    size_t in_block = bulk->done % BULK_BLOCK_BYTES;
    size_t size = BULK_BLOCK_BYTES - in_block;

    put_number(bulk->block, bulk->done / BULK_BLOCK_BYTES);
    *bytes = bulk->block + in_block;
    if (size > bulk->size - bulk->done) {
        size = bulk->size - bulk->done;
    }
    return size < limit ? size : limit;
}

static bool parse(Conn *conn, const char *line, const char *verb)
{
    Bulk *bulk = conn_state(conn);
    size_t verb_size = strlen(verb);
    uint64_t size, seed;
    char rest;

    if (strncmp(line, verb, verb_size) ||
        sscanf(line + verb_size, " %" SCNu64 " %" SCNu64 " %c", &size, &seed,
               &rest) != 2) {
        conn_printf(conn, "ERR usage: %s bytes seed\n", verb);
        return false;
    }
    bulk_begin(bulk, size, seed);
    return true;
}

static void source_line(Conn *conn, char *line)
{
    Bulk *bulk = conn_state(conn);

    if (bulk->done < bulk->size) {
        conn_printf(conn, "ERR the stream before is not finished\n");
        bulk->size = bulk->done;
        conn_finish(conn);
        return;
    }
    parse(conn, line, "GET");
}

static void source_drain(Conn *conn)
{
    Bulk *bulk = conn_state(conn);
    const uint8_t *bytes;
    size_t size;

    if (bulk->done == bulk->size) {
        return;
    }
    size = bulk_next(bulk, &bytes, BULK_BLOCK_BYTES);
    conn_send(conn, bytes, size);
    bulk->done += size;
}

static void sink_finish_if_done(Conn *conn)
{
    Bulk *bulk = conn_state(conn);

    conn_set_raw(conn, bulk->done < bulk->size);
    if (bulk->done == bulk->size) {
        conn_printf(conn, "OK %" PRIu64 " %" PRIu64 "\n", bulk->size,
                    bulk->seed);
    }
}

static void sink_line(Conn *conn, char *line)
{
    if (parse(conn, line, "PUT")) {
        sink_finish_if_done(conn);
    }
}

static void sink_mismatch(Conn *conn, const uint8_t *got, const uint8_t *want)
{
    Bulk *bulk = conn_state(conn);

    while (*got == *want) {
        got++;
        want++;
        bulk->done++;
    }
    conn_printf(conn, "ERR wrong byte at %" PRIu64 "\n", bulk->done);
    conn_finish(conn);
}

static size_t sink_data(Conn *conn, const uint8_t *bytes, size_t size)
{
    Bulk *bulk = conn_state(conn);
    size_t used = 0;

    while (used < size && bulk->done < bulk->size) {
        const uint8_t *want;
        size_t part = bulk_next(bulk, &want, size - used);

        if (memcmp(bytes + used, want, part)) {
            sink_mismatch(conn, bytes + used, want);
            return size;
        }
        used += part;
        bulk->done += part;
    }
    sink_finish_if_done(conn);
    return used;
}

const Service source_service = {
    .name = "bulk source",
    .port = PORT_SOURCE,
    .line = source_line,
    .drain = source_drain,
    .state_size = sizeof(Bulk),
};

const Service sink_service = {
    .name = "bulk sink",
    .port = PORT_SINK,
    .line = sink_line,
    .data = sink_data,
    .state_size = sizeof(Bulk),
};
