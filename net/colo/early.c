/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COLO secondary: requests that came before it took over. */
#include <string.h>
#include <glib.h>
#include "colo/early.h"

enum { GROUP_BIT = 1 };

typedef struct Early {
    ColoNetFrame *frame;
    int64_t at_us;
    GList link;                /* .data is this */
} Early;

struct ColoEarly {
    GQueue frames;             /* Early, oldest first */
    uint64_t bytes;
    bool has_mac;
    uint8_t mac[COLO_MAC_BYTES];
};

static uint64_t cost(const ColoNetFrame *f)
{
    return sizeof(Early) + sizeof(*f) + f->vnet_bytes + f->size;
}

static ColoNetFrame *take_oldest(ColoEarly *e)
{
    Early *oldest = g_queue_peek_head(&e->frames);
    ColoNetFrame *f = oldest->frame;

    g_queue_unlink(&e->frames, &oldest->link);
    e->bytes -= cost(f);
    g_free(oldest);
    return f;
}

ColoEarly *colo_early_new(void)
{
    ColoEarly *e = g_new0(ColoEarly, 1);

    g_queue_init(&e->frames);
    return e;
}

void colo_early_free(ColoEarly *e)
{
    while (e && e->frames.head) {
        colo_net_frame_free(take_oldest(e));
    }
    g_free(e);
}

void colo_early_learn(ColoEarly *e, const uint8_t *eth, size_t size)
{
    if (size >= 2 * COLO_MAC_BYTES && !(eth[COLO_MAC_BYTES] & GROUP_BIT)) {
        memcpy(e->mac, eth + COLO_MAC_BYTES, COLO_MAC_BYTES);
        e->has_mac = true;
    }
}

bool colo_early_wants(const ColoEarly *e, const uint8_t *eth, size_t size)
{
    return e->has_mac && size >= COLO_MAC_BYTES &&
           memcmp(eth, e->mac, COLO_MAC_BYTES) == 0;
}

void colo_early_tick(ColoEarly *e, int64_t now_us)
{
    const Early *oldest;

    while ((oldest = g_queue_peek_head(&e->frames)) &&
           now_us - oldest->at_us >= COLO_EARLY_MAX_US) {
        colo_net_frame_free(take_oldest(e));
    }
}

void colo_early_add(ColoEarly *e, ColoNetFrame *f, int64_t now_us)
{
    ColoPacket p;
    Early *newest;

    colo_early_tick(e, now_us);
    colo_packet_parse_frame(f, &p);
    if (p.kind != COLO_PACKET_TCP) {
        colo_net_frame_free(f);
        return;
    }
    newest = g_new(Early, 1);
    *newest = (Early) { .frame = f, .at_us = now_us, .link.data = newest };
    g_queue_push_tail_link(&e->frames, &newest->link);
    e->bytes += cost(f);
    while (e->bytes > COLO_EARLY_BYTES_MAX) {
        colo_net_frame_free(take_oldest(e));
    }
}

ColoNetFrame *colo_early_take(ColoEarly *e, int64_t now_us)
{
    ColoNetFrame *first = NULL, **end = &first;

    colo_early_tick(e, now_us);
    while (e->frames.head) {
        *end = take_oldest(e);
        end = &(*end)->next;
    }
    *end = NULL;
    return first;
}

uint64_t colo_early_bytes(const ColoEarly *e)
{
    return e->bytes;
}
