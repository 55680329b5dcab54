/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event loop: epoll set, listeners and watches. Contract: loop.h */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conn.h"

enum { EVENTS_PER_WAIT = 64 };

typedef struct Listener {
    Source source;
    Loop *loop;
    const Service *service;
} Listener;

typedef struct Watch {
    Source source;
    void (*ready)(int fd, void *opaque);
    void *opaque;
} Watch;

void die(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "colo-guest: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    exit(1);
}

Loop *loop_new(const char *name)
{
    Loop *loop = calloc(1, sizeof(*loop));

    if (!loop) {
        die("no memory for loop %s", name);
    }
    loop->name = name;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        die("epoll for %s: %s", name, strerror(errno));
    }
    return loop;
}

void loop_control(Loop *loop, int op, Source *source, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = source };

    if (epoll_ctl(loop->epoll_fd, op, source->fd, &event) < 0) {
        die("epoll_ctl in %s: %s", loop->name, strerror(errno));
    }
}

static void listener_ready(Source *source, uint32_t events)
{
    Listener *listener = (Listener *)source;
    int one = 1;
    int fd;

    (void)events;
    fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (listener->loop->conns_count >= LOOP_CONNS_MAX) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    conn_new(listener->loop, listener->service, fd);
}

/* A listening socket on all addresses, or -1 with errno. */
static int listen_on(int family, uint16_t port)
{
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                               .sin6_port = htons(port) };
    struct sockaddr_in v4 = { .sin_family = AF_INET,
                              .sin_port = htons(port) };
    bool is_v6 = family == AF_INET6;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1, off = 0;
    int rc;

    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (is_v6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        rc = bind(fd, (struct sockaddr *)&v6, sizeof(v6));
    } else {
        rc = bind(fd, (struct sockaddr *)&v4, sizeof(v4));
    }
    if (rc < 0 || listen(fd, 1024) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void loop_listen(Loop *loop, const Service *service)
{
    Listener *listener = calloc(1, sizeof(*listener));
    int fd = listen_on(AF_INET6, service->port);

    if (fd < 0) {
        fd = listen_on(AF_INET, service->port);
    }
    if (fd < 0 || !listener) {
        die("cannot listen on port %u for %s: %s", service->port,
            service->name, strerror(errno));
    }
    listener->source.fd = fd;
    listener->source.ready = listener_ready;
    listener->loop = loop;
    listener->service = service;
    loop_control(loop, EPOLL_CTL_ADD, &listener->source, EPOLLIN);
}

static void watch_ready(Source *source, uint32_t events)
{
    Watch *watch = (Watch *)source;

    (void)events;
    watch->ready(source->fd, watch->opaque);
}

void loop_watch(Loop *loop, int fd, void (*ready)(int fd, void *opaque),
                void *opaque)
{
    Watch *watch = calloc(1, sizeof(*watch));

    if (!watch) {
        die("no memory for a watch in %s", loop->name);
    }
    watch->source.fd = fd;
    watch->source.ready = watch_ready;
    watch->ready = ready;
    watch->opaque = opaque;
    loop_control(loop, EPOLL_CTL_ADD, &watch->source, EPOLLIN);
}

static void *loop_run(void *opaque)
{
    Loop *loop = opaque;
    struct epoll_event events[EVENTS_PER_WAIT];

    for (;;) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_WAIT, -1);

        if (count < 0 && errno != EINTR) {
            die("epoll_wait in %s: %s", loop->name, strerror(errno));
        }
        for (int i = 0; i < count; i++) {
            Source *source = events[i].data.ptr;

            source->ready(source, events[i].events);
        }
        conn_free_closed(loop);
    }
    return NULL;
}

void loop_start(Loop *loop)
{
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, loop_run, loop);

    if (rc) {
        die("thread for %s: %s", loop->name, strerror(rc));
    }
    pthread_detach(thread);
}
