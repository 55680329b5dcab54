/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COLO: one frame of the network as it is handed around. */
#include <string.h>
#include <glib.h>
#include "colo/packet.h"

ColoNetFrame *colo_net_frame_new(size_t vnet_bytes, size_t size)
{
    ColoNetFrame *f = g_malloc(sizeof(*f) + vnet_bytes + size);

    f->next = NULL;
    f->size = size;
    f->vnet_bytes = vnet_bytes;
    f->flags = 0;
    return f;
}

ColoNetFrame *colo_net_frame_copy(const void *data, size_t size,
                                  size_t vnet_bytes)
{
    ColoNetFrame *f = colo_net_frame_new(vnet_bytes, size - vnet_bytes);

    memcpy(f->data, data, size);
    return f;
}

void colo_net_frame_free(ColoNetFrame *f)
{
    g_free(f);
}

void colo_net_frame_free_list(ColoNetFrame *f)
{
    while (f) {
        ColoNetFrame *next = f->next;

        g_free(f);
        f = next;
    }
}
