/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: items of the comparer: made, held, given back.
 *
 * One is made and freed for each frame of either side, so those that are free
 * are kept for the next ones, up to a bound. The same for what a flow needs
 * while something waits in it, which comes and goes as often.
 */
#include "compare-int.h"

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

enum { SPARES_MAX = 1024 };   /* of each kind; the rest is freed */

/* Not in a build that is to find uses of freed memory. */
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { KEEPS_SPARES = false };
#else
enum { KEEPS_SPARES = true };
#endif

/* ------------------------------------------------------------- spares */

void *colo_spare_take(ColoSpares *s, size_t size)
{
    void **first = s->first;

    if (!first) {
        return g_malloc(size);
    }
    s->first = *first;
    s->count--;
    return first;
}

void colo_spare_give(ColoSpares *s, void *memory)
{
    void **first = memory;

    if (!KEEPS_SPARES || s->count == SPARES_MAX) {
        g_free(memory);
        return;
    }
    *first = s->first;
    s->first = first;
    s->count++;
}

void colo_spares_free(ColoSpares *s)
{
    while (s->first) {
        void **first = s->first;

        s->first = *first;
        g_free(first);
    }
    s->count = 0;
}

/* -------------------------------------------------------------- items */

ColoItem *colo_item_blank(ColoCompare *c)
{
    ColoItem *item = colo_spare_take(&c->spare_items, sizeof(*item));

    memset(item, 0, offsetof(ColoItem, view));
    item->frames_end = &item->frames;
    return item;
}

void colo_item_begin(ColoCompare *c, ColoItem *item, ColoNetFrame *f,
                     bool primary)
{
    item->since_us = c->now_us;
    item->secondary = !primary;
    if (primary) {
        item->older = c->newest;
        if (c->newest) {
            c->newest->newer = item;
        } else {
            c->oldest = item;
            c->waits_since_us = c->now_us;
        }
        c->newest = item;
    }
    colo_item_add_frame(c, item, f, primary);
}

ColoItem *colo_item_new(ColoCompare *c, ColoNetFrame *f,
                        const ColoPacket *view, bool primary)
{
    ColoItem *item = colo_item_blank(c);

    item->view = *view;
    colo_item_begin(c, item, f, primary);
    return item;
}

void colo_item_add_frame(ColoCompare *c, ColoItem *item, ColoNetFrame *f,
                         bool primary)
{
    f->next = NULL;
    *item->frames_end = f;
    item->frames_end = &f->next;
    item->count++;
    item->bytes += f->size;
    if (primary) {
        colo_account_held(c, f, 1);
    } else {
        colo_account_secondary(c, 1, f->size);
    }
}

void colo_item_unhold(ColoCompare *c, ColoItem *item)
{
    uint64_t hold_us = c->now_us - item->since_us;

    if (item->older) {
        item->older->newer = item->newer;
    } else {
        c->oldest = item->newer;
    }
    if (item->newer) {
        item->newer->older = item->older;
    } else {
        c->newest = item->older;
    }
    item->older = item->newer = NULL;
    colo_account_held(c, item->frames, -1);
    c->stats.longest_hold_us = MAX(c->stats.longest_hold_us, hold_us);
}

void colo_item_free(ColoCompare *c, ColoItem *item)
{
    if (item) {
        if (item->secondary) {
            colo_account_secondary(c, -(int64_t)item->count,
                                   -(int64_t)item->bytes);
        }
        colo_net_frame_free_list(item->frames);
        colo_spare_give(&c->spare_items, item);
    }
}

void colo_account_held(ColoCompare *c, const ColoNetFrame *f, int sign)
{
    for (; f; f = f->next) {
        c->stats.held_frames += sign;
        c->stats.held_bytes += sign * (int64_t)f->size;
    }
    if (c->stats.held_frames > c->stats.held_peak_frames) {
        c->stats.held_peak_frames = c->stats.held_frames;
    }
}

void colo_account_secondary(ColoCompare *c, int64_t frames, int64_t bytes)
{
    c->stats.secondary_held_frames += frames;
    c->stats.secondary_held_bytes += bytes;
}
