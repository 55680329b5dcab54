/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Event loop of the guest daemon.
 *
 * One Loop is one thread with one epoll set. A Service is a TCP port served by
 * a loop; each accepted connection is a Conn. A service takes whole lines
 * (line), raw bytes (data), or both (conn_set_raw switches), and may produce
 * output on demand (drain, called whenever the output buffer has run empty).
 *
 * Back-pressure: while a connection has CONN_OUT_HIGH_BYTES or more unsent, no
 * further input of it is read. Nothing is ever dropped.
 *
 * Every function here runs in the thread of the loop that owns the Conn.
 */
#ifndef COLO_GUEST_LOOP_H
#define COLO_GUEST_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONN_IN_BYTES = 64 * 1024,         /* longest line, and one read */
    CONN_OUT_HIGH_BYTES = 256 * 1024,  /* stop reading above this */
    LOOP_CONNS_MAX = 1024,             /* further ones are closed at once */
    DATAGRAM_MAX_BYTES = 65536,
};

typedef struct Loop Loop;
typedef struct Conn Conn;

typedef struct Service {
    const char *name;
    uint16_t port;
    /* Returns the bytes consumed: all of them unless it left raw mode. */
    size_t (*data)(Conn *conn, const uint8_t *bytes, size_t size);
    void (*line)(Conn *conn, char *line);
    void (*drain)(Conn *conn);
    size_t state_size;      /* bytes of zeroed per-connection state */
} Service;

/* Creates a loop. Exits the program with a message if that fails. */
Loop *loop_new(const char *name);

/* Listens on @service's port, IPv6 and IPv4. Exits with a message on error. */
void loop_listen(Loop *loop, const Service *service);

/*
 * A UDP service: the reply to the @size bytes of @request goes to @reply, which
 * has room for DATAGRAM_MAX_BYTES; returns its size, 0 for no reply.
 */
typedef size_t DatagramAnswer(const uint8_t *request, size_t size,
                              uint8_t *reply);

/* Binds UDP @port, IPv6 and IPv4. Exits with a message on error. */
void loop_datagrams(Loop *loop, uint16_t port, DatagramAnswer *answer);

/* Watches @fd for input; @ready is called with @opaque. */
void loop_watch(Loop *loop, int fd, void (*ready)(int fd, void *opaque),
                void *opaque);

/* Starts a thread that runs @loop for ever. */
void loop_start(Loop *loop);

/* The per-connection state, Service.state_size bytes. */
void *conn_state(Conn *conn);

/* Appends to the output of @conn. */
void conn_send(Conn *conn, const void *bytes, size_t size);
void conn_printf(Conn *conn, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Closes @conn once its output has been sent and drain() adds no more; input
 * is ignored from now on. The peer closing its side does the same.
 */
void conn_finish(Conn *conn);

/* From line() or data(): the bytes that follow go to data(), or to line(). */
void conn_set_raw(Conn *conn, bool raw);

/* Prints "colo-guest: ..." and exits. */
void die(const char *format, ...) __attribute__((noreturn))
    __attribute__((format(printf, 1, 2)));

#endif
