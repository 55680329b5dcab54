/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: a TCP connection of the guest, as a key of tables: VLANs, addresses
 * and ports, the same for both directions.
 */
#include <string.h>
#include <xxhash.h>
#include "tcp-key.h"

static guint key_hash(gconstpointer key)
{
    return XXH3_64bits(key, sizeof(ColoTcpKey));
}

static gboolean key_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(ColoTcpKey)) == 0;
}

GHashTable *colo_tcp_key_table(GDestroyNotify free_value)
{
    return g_hash_table_new_full(key_hash, key_equal, NULL, free_value);
}

ColoTcpKey colo_tcp_key(const ColoPacket *p, bool egress)
{
    ColoTcpKey key = {
        .family = p->family,
        .tag_count = p->tag_count,
        .guest_port = egress ? p->src_port : p->dst_port,
        .client_port = egress ? p->dst_port : p->src_port,
    };

    memcpy(key.tags, p->tags, p->tag_count * sizeof(key.tags[0]));
    memcpy(key.guest, egress ? p->src : p->dst, sizeof(key.guest));
    memcpy(key.client, egress ? p->dst : p->src, sizeof(key.client));
    return key;
}
