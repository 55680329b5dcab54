/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: frames over a QIOChannel, with a limit on every wait.
 *
 * The channel is the migration's, taken over after the first copy. All I/O
 * is non-blocking; a wait ends when the channel is ready, when the peer made
 * no progress for @limit_ms, when @deadline_ms is reached, or when another
 * thread kicks. Small frames are queued and leave in one write together with
 * what follows them, so that neither Nagle nor delayed ACK is met.
 *
 * A channel belongs to one thread; only colo_channel_kick() and
 * colo_channel_shutdown() may be called from others.
 */
#ifndef MIGRATION_COLO_CHANNEL_H
#define MIGRATION_COLO_CHANNEL_H

#include "io/channel.h"
#include "qemu/event_notifier.h"
#include "colo/wire.h"

typedef enum ColoIo {
    COLO_IO_OK,
    COLO_IO_CLOSED,        /* EOF or error; errp has it */
    COLO_IO_SILENT,        /* limit_ms without progress */
    COLO_IO_SLOW,          /* deadline_ms reached */
    COLO_IO_KICKED,        /* another thread wants attention */
    COLO_IO_GARBAGE,       /* bytes that are no valid frame; errp */
} ColoIo;

typedef struct ColoChannel {
    QIOChannel *ioc;
    EventNotifier kick;
    GMainContext *context;
    uint8_t *rx;
    size_t rx_head, rx_tail;
    GByteArray *tx;
    uint32_t rx_sequence, tx_sequence;
    uint64_t rx_bytes, tx_bytes;
    int64_t limit_ms;              /* relative, per wait */
    int64_t deadline_ms;           /* absolute, INT64_MAX: none */
    /* In the middle of a frame: does a kick mean "give up"? */
    bool (*give_up)(void *opaque);
    void *opaque;
} ColoChannel;

ColoChannel *colo_channel_new(QIOChannel *ioc, Error **errp);
void colo_channel_free(ColoChannel *ch);
void colo_channel_kick(ColoChannel *ch);
void colo_channel_shutdown(ColoChannel *ch);

/* Sleep until somebody kicks. */
void colo_channel_wait_kick(ColoChannel *ch);

/* Bytes that somebody read from the channel before us. */
void colo_channel_preload(ColoChannel *ch, const uint8_t *data, size_t size);

/* Queue a frame; it leaves with the next flush. */
void colo_channel_queue(ColoChannel *ch, ColoMsgType type, uint64_t epoch,
                        uint32_t flags, const void *payload, size_t size);
ColoIo colo_channel_flush(ColoChannel *ch, Error **errp);
/*
 * Queue a frame whose payload is @head followed by the @niov pieces of @iov,
 * and send it, with all that is queued, straight from where it lies.
 */
ColoIo colo_channel_send_vector(ColoChannel *ch, ColoMsgType type,
                                uint64_t epoch, const GByteArray *head,
                                const struct iovec *iov, size_t niov,
                                Error **errp);

/*
 * Wait for the next frame header until @until_ms (absolute). KICKED is
 * returned only between frames.
 */
ColoIo colo_channel_next(ColoChannel *ch, ColoFrame *frame, int64_t until_ms,
                         Error **errp);
/* The frame that next() has just returned comes again. */
void colo_channel_unread(ColoChannel *ch);
/* Read @size bytes of payload and forget them. */
ColoIo colo_channel_skip(ColoChannel *ch, size_t size, Error **errp);
/* Payload bytes of the frame just begun. */
ColoIo colo_channel_read(ColoChannel *ch, void *buf, size_t size,
                         Error **errp);

int64_t colo_now_ms(void);
int64_t colo_now_us(void);

#endif
