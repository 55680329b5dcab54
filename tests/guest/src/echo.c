/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Echo: TCP and UDP, bytes come back as they went in. */
#include <string.h>

#include "services.h"

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

size_t echo_datagram(const uint8_t *request, size_t size, uint8_t *reply)
{
    memcpy(reply, request, size);
    return size;
}
