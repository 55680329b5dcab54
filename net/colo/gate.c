/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO secondary: which client frames its guest gets, and when.
 *
 * Two lists: frames that wait for their epoch, each with its number beside
 * it, and frames ready for delivery. Entering an epoch moves from the first
 * to the second or to the bin; epochs only rise, so one pass from the front
 * is enough.
 */
#include <string.h>
#include <glib.h>
#include "colo/gate.h"

void colo_gate_init(ColoGate *g)
{
    *g = (ColoGate) { .open = true };
    g->parked_end = &g->parked;
    g->ready_end = &g->ready;
}

static void drop_ready(ColoGate *g)
{
    for (ColoNetFrame *f = g->ready; f; f = f->next) {
        g->dropped_count++;
    }
    colo_net_frame_free_list(g->ready);
    g->ready = NULL;
    g->ready_end = &g->ready;
}

void colo_gate_destroy(ColoGate *g)
{
    drop_ready(g);
    colo_net_frame_free_list(g->parked);
    g_free(g->parked_epochs);
    colo_gate_init(g);
}

static void make_ready(ColoGate *g, ColoNetFrame *f)
{
    f->next = NULL;
    *g->ready_end = f;
    g->ready_end = &f->next;
}

static void park(ColoGate *g, ColoNetFrame *f)
{
    if (g->parked_count == g->parked_room) {
        g->parked_room = MAX(64, g->parked_room * 2);
        g->parked_epochs = g_renew(uint64_t, g->parked_epochs,
                                   g->parked_room);
    }
    g->parked_epochs[g->parked_count++] = g->stream_epoch;
    g->parked_bytes += f->size;
    f->next = NULL;
    *g->parked_end = f;
    g->parked_end = &f->next;
}

/* Sort out the oldest @count parked frames by what the guest is now. */
static void unpark(ColoGate *g, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ColoNetFrame *f = g->parked;

        g->parked = f->next;
        g->parked_bytes -= f->size;
        if (g->open || g->parked_epochs[i] == g->guest_epoch) {
            make_ready(g, f);
        } else {
            g->dropped_count++;
            colo_net_frame_free(f);
        }
    }
    g->parked_count -= count;
    if (g->parked) {
        memmove(g->parked_epochs, g->parked_epochs + count,
                g->parked_count * sizeof(g->parked_epochs[0]));
    } else {
        g->parked_end = &g->parked;
    }
}

void colo_gate_restart(ColoGate *g)
{
    g->marked = false;
    g->stream_epoch = 0;
}

void colo_gate_close(ColoGate *g)
{
    g->open = false;
    g->guest_epoch = 0;
    colo_gate_restart(g);
    drop_ready(g);
}

void colo_gate_open(ColoGate *g)
{
    g->open = true;
    unpark(g, g->parked_count);
}

void colo_gate_marker(ColoGate *g, uint64_t epoch)
{
    g->marked = true;
    g->stream_epoch = epoch;
}

void colo_gate_frame(ColoGate *g, ColoNetFrame *f)
{
    if (g->open) {
        make_ready(g, f);
    } else if (!g->marked || g->stream_epoch < g->guest_epoch) {
        g->dropped_count++;
        colo_net_frame_free(f);
    } else if (g->stream_epoch == g->guest_epoch && !g->parked &&
               g->guest_epoch > 0) {
        make_ready(g, f);
    } else {
        park(g, f);
    }
}

void colo_gate_enter(ColoGate *g, uint64_t epoch)
{
    uint32_t count = 0;

    drop_ready(g);
    g->guest_epoch = epoch;
    while (count < g->parked_count && g->parked_epochs[count] <= epoch) {
        count++;
    }
    unpark(g, count);
}

ColoNetFrame *colo_gate_take(ColoGate *g)
{
    ColoNetFrame *list = g->ready;

    for (ColoNetFrame *f = list; f; f = f->next) {
        g->delivered_count++;
    }
    g->ready = NULL;
    g->ready_end = &g->ready;
    return list;
}
