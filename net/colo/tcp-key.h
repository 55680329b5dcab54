/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COLO: a TCP connection of the guest, as a key of tables. Private. */
#ifndef COLO_TCP_KEY_H
#define COLO_TCP_KEY_H

#include <glib.h>
#include "colo/packet.h"

/* Compared as bytes: no padding, unused parts are 0. */
typedef struct ColoTcpKey {
    uint8_t family, tag_count;
    uint16_t tags[2];
    uint16_t guest_port, client_port;
    uint8_t guest[16], client[16];
} ColoTcpKey;

G_STATIC_ASSERT(sizeof(ColoTcpKey) == 42);

/* @egress: the segment is the guest's. */
ColoTcpKey colo_tcp_key(const ColoPacket *p, bool egress);
/* A table whose keys are ColoTcpKey inside its values. */
GHashTable *colo_tcp_key_table(GDestroyNotify free_value);

#endif
