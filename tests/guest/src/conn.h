/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What loop.c and conn.c share; services use loop.h only. */
#ifndef COLO_GUEST_CONN_H
#define COLO_GUEST_CONN_H

#include "loop.h"

/* First member of everything that an epoll set watches. */
typedef struct Source Source;
struct Source {
    int fd;
    void (*ready)(Source *source, uint32_t events);
};

struct Loop {
    const char *name;
    int epoll_fd;
    unsigned conns_count;
    Conn *closed;       /* closed in this round, freed at its end */
};

void loop_control(Loop *loop, int op, Source *source, uint32_t events);

/* Takes over the connected, non-blocking socket @fd. */
void conn_new(Loop *loop, const Service *service, int fd);

/*
 * Frees what was closed since the last call. Separate from closing because
 * the same round of epoll events may still name the connection.
 */
void conn_free_closed(Loop *loop);

#endif
