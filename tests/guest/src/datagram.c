/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * UDP services: one socket per port, IPv6 and IPv4, one reply per request.
 *
 * A request that finds the socket's buffer full is lost, as with any UDP
 * service; the client asks again. Contract: loop.h
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "loop.h"

typedef struct Port {
    DatagramAnswer *answer;
    uint8_t request[DATAGRAM_MAX_BYTES];
    uint8_t reply[DATAGRAM_MAX_BYTES];
} Port;

static void port_ready(int fd, void *opaque)
{
    Port *port = opaque;
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof(peer);
    ssize_t size = recvfrom(fd, port->request, sizeof(port->request),
                            MSG_DONTWAIT, (struct sockaddr *)&peer,
                            &peer_size);

    if (size < 0) {
        return;
    }
    size = port->answer(port->request, size, port->reply);
    if (size > 0) {
        sendto(fd, port->reply, size, MSG_DONTWAIT, (struct sockaddr *)&peer,
               peer_size);
    }
}

/* A bound socket on all addresses, or -1 with errno. */
static int bind_port(uint16_t port)
{
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                               .sin6_port = htons(port) };
    struct sockaddr_in v4 = { .sin_family = AF_INET,
                              .sin_port = htons(port) };
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int off = 0;

    if (fd >= 0) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        return bind(fd, (struct sockaddr *)&v6, sizeof(v6)) < 0 ? -1 : fd;
    }
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return bind(fd, (struct sockaddr *)&v4, sizeof(v4)) < 0 ? -1 : fd;
}

void loop_datagrams(Loop *loop, uint16_t port, DatagramAnswer *answer)
{
    Port *opened = calloc(1, sizeof(*opened));
    int fd = bind_port(port);

    if (fd < 0 || !opened) {
        die("cannot bind UDP port %u: %s", port, strerror(errno));
    }
    opened->answer = answer;
    loop_watch(loop, fd, port_ready, opened);
}
