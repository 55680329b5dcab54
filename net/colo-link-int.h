/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COLO: inside a link; for colo-link.c and colo-link-read.c only. */
#ifndef NET_COLO_LINK_INT_H
#define NET_COLO_LINK_INT_H

#include "qemu/thread.h"
#include "chardev/char-fe.h"
#include "net/colo-link.h"
#include "net/colo-link-socket.h"

/* An event loop that can read the socket. */
typedef struct ColoEar {
    ColoLink *link;
    AioContext *aio;
    QEMUBH *bh;                /* in this loop: do what is due */
    ColoSocket *watched;       /* the loop's */
} ColoEar;

struct ColoLink {
    CharBackend chr;
    char *name;
    bool vnet;
    GMainContext *ctx;
    AioContext *aio;
    const ColoLinkOps *ops;
    void *opaque;
    ColoEar ears[COLO_LINK_EARS];
    bool closed;               /* the main thread's */

    QemuRecMutex input;        /* whoever reads has it */
    ColoFramer framer;         /* under input */
    uint8_t *bulk;             /* ditto */

    QemuMutex lock;            /* order: input, lock */
    bool open;                 /* under lock, as all below */
    bool paused;
    ColoLinkEar ear;           /* who is to read the socket */
    bool ended, bad;           /* found by a reader, for the link's context */
    bool writing;              /* somebody is between take and put back */
    GByteArray *queued;
    size_t marker_end;         /* of the last epoch in queued, or 0 */
    bool gap;                  /* of frames not taken, and that is told */
    GByteArray *leaving;       /* the writer's while @writing */
    size_t left_bytes;         /* of leaving: already with the device */
    uint64_t connection;       /* how many there have been */
    ColoSocket *socket;        /* past the device; NULL: through it */
    uint32_t gather_bytes;     /* its mark; 0: readable at once */
    GSource *watch;
};

/* Main thread. */
void colo_link_ears_init(ColoLink *link);
/* Nothing is read any more: first in the link's own context, then in the main
 * thread. */
void colo_link_end_own_ear(ColoLink *link);
void colo_link_end_main_ear(ColoLink *link);
/* A connection is there, or not any more: in the link's context, or where a
 * device that is not read past fails. Nobody reads when the second is back. */
void colo_link_read_begin(ColoLink *link);
void colo_link_read_end(ColoLink *link);
/* Before it: what has come belongs to the connection that is over. The device
 * may tell the end while the main loop still has to read. */
void colo_link_read_rest(ColoLink *link);
/* Handlers for the device. */
int colo_link_can_read(void *link);
void colo_link_read_bytes(void *link, const uint8_t *buf, int length);

#endif
