/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: frames and markers over a character device, both directions.
 *
 * Never waits: what the device does not take stays in a buffer of limited
 * size. A connection that ends drops what was not sent, and a new one begins
 * at a frame's first byte, so that the receiver never sees half a frame.
 *
 * The receiving callbacks run in the link's context (main loop or an
 * iothread), or where colo_link_listen() says. Sending is for any thread.
 */
#ifndef NET_COLO_LINK_H
#define NET_COLO_LINK_H

#include "block/aio.h"
#include "qemu/iov.h"
#include "qemu/units.h"
#include "colo/framer.h"

typedef struct ColoLink ColoLink;

typedef struct ColoLinkOps {
    /* A piece of input is going to be handed over. May be NULL. */
    void (*begin)(void *opaque);
    /* One item; a frame is the receiver's. NULL: nothing is read. */
    void (*item)(void *opaque, ColoFramerItem *item);
    /* All items of it have been handed over. May be NULL. */
    void (*batch)(void *opaque);
    /* So have those of all pieces that were there, @bytes in all. May be
     * NULL. */
    void (*read)(void *opaque, size_t bytes);
    /* The device is connected / not any more. May be NULL. */
    void (*opened)(void *opaque);
    void (*closed)(void *opaque);
    /* After a time of taking nothing the device has taken more. May be NULL. */
    void (*drained)(void *opaque);
} ColoLinkOps;

typedef enum ColoLinkResult {
    COLO_LINK_OK,
    COLO_LINK_CLOSED,          /* nobody is connected */
    COLO_LINK_FULL,            /* over the limit: not taken */
    COLO_LINK_BAD,             /* longer than a frame can be: not taken */
} ColoLinkResult;

/* Who reads: the link's own context, or the main loop for it. */
typedef enum ColoLinkEar {
    COLO_LINK_OWN,
    COLO_LINK_MAIN,
    COLO_LINK_EARS,
} ColoLinkEar;

enum { COLO_LINK_LIMIT_BYTES = 64 * MiB };

/*
 * @property names the option whose value is @chardev, for errors. @ctx is
 * NULL for the main loop, else an iothread's with its @aio.
 */
ColoLink *colo_link_new(const char *property, const char *chardev, bool vnet,
                        GMainContext *ctx, AioContext *aio,
                        const ColoLinkOps *ops, void *opaque, Error **errp);
/* Callbacks may come from here on, OPENED first if it is. Main thread, BQL. */
void colo_link_start(ColoLink *link);
/* Main thread, BQL. After it no callback comes any more, and the device is not
 * used. It is as if nobody was connected. @link may be NULL, or closed. */
void colo_link_close(ColoLink *link);
/* Closes it, too. */
void colo_link_free(ColoLink *link);
const char *colo_link_name(const ColoLink *link);

/* Send a frame as far as the device takes it now, and queue the rest. @iov
 * begins with @vnet_bytes of vnet header. */
ColoLinkResult colo_link_send_iov(ColoLink *link, const struct iovec *iov,
                                  int iovcnt, uint32_t vnet_bytes);
/* Only queue, for a flush behind several. */
ColoLinkResult colo_link_put(ColoLink *link, const ColoNetFrame *f);
/* What follows belongs to @epoch; only queued. */
void colo_link_put_epoch(ColoLink *link, uint64_t epoch);
/* @r is what became of the frame sent last: the receiver learns where some
 * were not taken. One thread sends and calls this. */
void colo_link_note_gap(ColoLink *link, ColoLinkResult r, uint64_t epoch);
/* Send what is queued as far as the device takes it now. */
void colo_link_flush(ColoLink *link);
bool colo_link_is_open(ColoLink *link);
/* Let that loop read when so many bytes have come (0: as they come), where
 * the device can wait for them. For this connection, or until the next call.
 * The callbacks with what was read then come in that loop. */
void colo_link_listen(ColoLink *link, ColoLinkEar ear, uint32_t gather_bytes);
/* Read now what has come, if the device is read past; how many bytes. In the
 * main loop, or the link's own context if that is another one. */
size_t colo_link_read(ColoLink *link);
/* In the link's context: stop or go on reading. */
void colo_link_pause(ColoLink *link, bool on);

#endif
