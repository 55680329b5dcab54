/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One TCP connection: input, lines, buffered output. Contract: loop.h */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"

enum { SENDS_PER_TURN = 16 };

struct Conn {
    Source source;
    Loop *loop;
    const Service *service;
    Conn *next_closed;
    uint32_t events;        /* what the epoll set asks for now */
    bool raw;
    bool finishing;
    bool closed;
    size_t in_size;
    uint8_t *out;
    size_t out_start;
    size_t out_end;
    size_t out_capacity;
    uint8_t in[CONN_IN_BYTES + 1];
    _Alignas(16) uint8_t state[];
};

void *conn_state(Conn *conn)
{
    return conn->state;
}

void conn_set_raw(Conn *conn, bool raw)
{
    conn->raw = raw;
}

void conn_finish(Conn *conn)
{
    conn->finishing = true;
}

static size_t out_pending(const Conn *conn)
{
    return conn->out_end - conn->out_start;
}

static void conn_close(Conn *conn)
{
    if (conn->closed) {
        return;
    }
    conn->closed = true;
    close(conn->source.fd);
    conn->loop->conns_count--;
    conn->next_closed = conn->loop->closed;
    conn->loop->closed = conn;
}

void conn_free_closed(Loop *loop)
{
    while (loop->closed) {
        Conn *conn = loop->closed;

        loop->closed = conn->next_closed;
        free(conn->out);
        free(conn);
    }
}

void conn_send(Conn *conn, const void *bytes, size_t size)
{
    size_t pending = out_pending(conn);

    if (conn->out_capacity - conn->out_end < size) {
        memmove(conn->out, conn->out + conn->out_start, pending);
        conn->out_start = 0;
        conn->out_end = pending;
    }
    if (conn->out_capacity - conn->out_end < size) {
        size_t capacity = (pending + size) * 2;

        conn->out = realloc(conn->out, capacity);
        if (!conn->out) {
            die("no memory for %zu bytes of output", capacity);
        }
        conn->out_capacity = capacity;
    }
    memcpy(conn->out + conn->out_end, bytes, size);
    conn->out_end += size;
}

void conn_printf(Conn *conn, const char *format, ...)
{
    char text[CONN_IN_BYTES + 256];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (size >= (int)sizeof(text)) {
        die("reply of %d bytes does not fit", size);
    }
    conn_send(conn, text, size);
}

/* Hands buffered input to the service; leaves an unfinished line behind. */
static void conn_dispatch(Conn *conn)
{
    const Service *service = conn->service;
    size_t start = 0;

    while (start < conn->in_size && !conn->finishing) {
        uint8_t *from = conn->in + start;
        size_t size = conn->in_size - start;
        uint8_t *newline;

        if (conn->raw) {
            start += service->data(conn, from, size);
            continue;
        }
        newline = memchr(from, '\n', size);
        if (!newline) {
            break;
        }
        *newline = '\0';
        if (newline > from && newline[-1] == '\r') {
            newline[-1] = '\0';
        }
        start += newline - from + 1;
        service->line(conn, (char *)from);
    }
    conn->in_size -= start;
    memmove(conn->in, conn->in + start, conn->in_size);
    if (conn->in_size == CONN_IN_BYTES && !conn->finishing) {
        conn_printf(conn, "ERR line longer than %d bytes\n", CONN_IN_BYTES);
        conn_finish(conn);
    }
}

static void conn_read(Conn *conn)
{
    ssize_t size = read(conn->source.fd, conn->in + conn->in_size,
                        CONN_IN_BYTES - conn->in_size);

    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size < 0) {
        conn_close(conn);
        return;
    }
    if (size == 0) {
        conn_finish(conn);
        return;
    }
    conn->in_size += size;
    conn_dispatch(conn);
}

/*
 * Sends what the socket takes; asks the service for more when run empty. After
 * SENDS_PER_TURN it stops with output pending, so that others get their turn.
 */
static void conn_flush(Conn *conn)
{
    for (unsigned sends_count = 0;; sends_count++) {
        ssize_t size;

        if (!out_pending(conn) && conn->service->drain) {
            conn->service->drain(conn);
        }
        if (!out_pending(conn) || sends_count == SENDS_PER_TURN) {
            return;
        }
        size = send(conn->source.fd, conn->out + conn->out_start,
                    out_pending(conn), MSG_NOSIGNAL);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (size < 0) {
            conn_close(conn);
            return;
        }
        conn->out_start += size;
    }
}

static void conn_update(Conn *conn)
{
    size_t pending = out_pending(conn);
    uint32_t events = 0;

    if (conn->closed) {
        return;
    }
    if (!pending && conn->finishing) {
        conn_close(conn);
        return;
    }
    if (pending) {
        events |= EPOLLOUT;
    }
    if (pending < CONN_OUT_HIGH_BYTES && !conn->finishing) {
        events |= EPOLLIN;
    }
    if (events != conn->events) {
        conn->events = events;
        loop_control(conn->loop, EPOLL_CTL_MOD, &conn->source, events);
    }
}

static void conn_ready(Source *source, uint32_t events)
{
    Conn *conn = (Conn *)source;

    if (conn->closed) {
        return;
    }
    if (events & EPOLLERR) {
        conn_close(conn);
        return;
    }
    if ((events & EPOLLIN) && !conn->finishing) {
        conn_read(conn);
    }
    if (!conn->closed) {
        conn_flush(conn);
    }
    conn_update(conn);
}

void conn_new(Loop *loop, const Service *service, int fd)
{
    Conn *conn = calloc(1, sizeof(*conn) + service->state_size);

    if (!conn) {
        close(fd);
        return;
    }
    conn->source.fd = fd;
    conn->source.ready = conn_ready;
    conn->loop = loop;
    conn->service = service;
    conn->raw = !service->line;
    conn->events = EPOLLIN;
    loop->conns_count++;
    loop_control(loop, EPOLL_CTL_ADD, &conn->source, EPOLLIN);
}
