/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HTTP/1.1 (RFC 9112), as much of it as a test needs: GET of a page whose
 * content follows from its name.
 *
 * "/bytes/SIZE/SEED" is the first SIZE bytes of that bulk stream. Connections
 * persist unless the request says "Connection: close" or HTTP/1.0; requests may
 * be pipelined. There is no Date field, since two machines in lockstep would
 * disagree about it; a server without a clock sends none (RFC 9110, 6.6.1).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bulk.h"
#include "services.h"

enum { PAGE_MAX_BYTES = 8 << 20 };

typedef struct HttpState {
    bool in_fields;             /* past the request line */
    bool close;
    int status;
    uint64_t size;
    uint64_t seed;
} HttpState;

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    default:
        return "Bad Request";
    }
}

static void send_page(Conn *conn, uint64_t size, uint64_t seed)
{
    static Bulk bulk;           /* one thread serves all connections */
    const uint8_t *bytes;

    bulk_begin(&bulk, size, seed);
    while (bulk.done < bulk.size) {
        size_t part = bulk_next(&bulk, &bytes, BULK_BLOCK_BYTES);

        conn_send(conn, bytes, part);
        bulk.done += part;
    }
}

static void respond(Conn *conn)
{
    HttpState *http = conn_state(conn);
    uint64_t size = http->status == 200 ? http->size : 0;

    conn_printf(conn, "HTTP/1.1 %d %s\r\nServer: colo-guest\r\n"
                "Content-Type: application/octet-stream\r\n"
                "Content-Length: %" PRIu64 "\r\n%s\r\n", http->status,
                reason(http->status), size,
                http->close ? "Connection: close\r\n" : "");
    send_page(conn, size, http->seed);
    if (http->close) {
        conn_finish(conn);
    }
    memset(http, 0, sizeof(*http));
}

static void request_line(HttpState *http, const char *line)
{
    char method[16], target[128], rest;
    unsigned minor;

    http->in_fields = true;
    if (sscanf(line, "%15s %127s HTTP/1.%u%c", method, target, &minor,
               &rest) != 3) {
        http->status = 400;
        http->close = true;
        return;
    }
    http->close = minor == 0;
    if (strcmp(method, "GET")) {
        /* Its body would be taken for the next request. */
        http->status = 405;
        http->close = true;
    } else if (sscanf(target, "/bytes/%" SCNu64 "/%" SCNu64 "%c",
                      &http->size, &http->seed, &rest) != 2 ||
               http->size > PAGE_MAX_BYTES) {
        http->status = 404;
    } else {
        http->status = 200;
    }
}

static void http_line(Conn *conn, char *line)
{
    HttpState *http = conn_state(conn);

    if (http->in_fields && !*line) {
        respond(conn);
    } else if (http->in_fields) {
        if (!strcasecmp(line, "Connection: close")) {
            http->close = true;
        }
    } else if (*line) {
        request_line(http, line);
    }
}

const Service http_service = {
    .name = "http",
    .port = PORT_HTTP,
    .line = http_line,
    .state_size = sizeof(HttpState),
};
