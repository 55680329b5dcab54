/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Echo: TCP and UDP, bytes come back as they went in. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "services.h"

enum { UDP_PAYLOAD_MAX_BYTES = 65536 };

static size_t echo_data(Conn *conn, const uint8_t *bytes, size_t size)
{
    conn_send(conn, bytes, size);
    return size;
}

const Service echo_service = {
    .name = "echo",
    .port = PORT_ECHO,
    .data = echo_data,
};

static void udp_ready(int fd, void *opaque)
{
    static uint8_t payload[UDP_PAYLOAD_MAX_BYTES];
    struct sockaddr_storage peer;
    socklen_t peer_size = sizeof(peer);
    ssize_t size = recvfrom(fd, payload, sizeof(payload), MSG_DONTWAIT,
                            (struct sockaddr *)&peer, &peer_size);

    (void)opaque;
    if (size >= 0) {
        sendto(fd, payload, size, MSG_DONTWAIT, (struct sockaddr *)&peer,
               peer_size);
    }
}

void udp_echo_start(Loop *loop)
{
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                               .sin6_port = htons(PORT_UDP_ECHO) };
    struct sockaddr_in v4 = { .sin_family = AF_INET,
                              .sin_port = htons(PORT_UDP_ECHO) };
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int off = 0;
    int rc;

    if (fd >= 0) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        rc = bind(fd, (struct sockaddr *)&v6, sizeof(v6));
    } else {
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        rc = bind(fd, (struct sockaddr *)&v4, sizeof(v4));
    }
    if (rc < 0) {
        die("cannot bind UDP port %d: %s", PORT_UDP_ECHO, strerror(errno));
    }
    loop_watch(loop, fd, udp_ready, NULL);
}
