/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: frames over a QIOChannel. See colo-channel.h for the contract.
 *
 * Receiving goes through one buffer that is refilled with whatever the
 * channel has; payloads larger than what is buffered are read straight to
 * their destination. Sending gathers queued frames and page data into one
 * vectored write.
 */
#include "qemu/osdep.h"
#include <glib-unix.h>
#include "qapi/error.h"
#include "qemu/iov.h"
#include "qemu/timer.h"
#include "colo-channel.h"
#include "trace.h"

enum {
    RX_BUFFER_BYTES = 64 * 1024,
    TX_GATHER_BYTES = 64 * 1024,   /* copy into one write below this */
};

int64_t colo_now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

int64_t colo_now_us(void)
{
    return qemu_clock_get_us(QEMU_CLOCK_REALTIME);
}

ColoChannel *colo_channel_new(QIOChannel *ioc, Error **errp)
{
    ColoChannel *ch = g_new0(ColoChannel, 1);

    if (event_notifier_init(&ch->kick, false) < 0) {
        error_setg(errp, "COLO: cannot create an event notifier");
        g_free(ch);
        return NULL;
    }
    if (qio_channel_set_blocking(ioc, false, errp) < 0) {
        event_notifier_cleanup(&ch->kick);
        g_free(ch);
        return NULL;
    }
    qio_channel_set_delay(ioc, false);
    ch->ioc = ioc;
    object_ref(OBJECT(ioc));
    ch->context = g_main_context_new();
    ch->rx = g_malloc(RX_BUFFER_BYTES);
    ch->tx = g_byte_array_new();
    ch->limit_ms = COLO_STEP_LIMIT_MS_DEFAULT;
    ch->deadline_ms = INT64_MAX;
    return ch;
}

void colo_channel_free(ColoChannel *ch)
{
    if (!ch) {
        return;
    }
    event_notifier_cleanup(&ch->kick);
    g_main_context_unref(ch->context);
    g_byte_array_unref(ch->tx);
    g_free(ch->rx);
    object_unref(OBJECT(ch->ioc));
    g_free(ch);
}

void colo_channel_kick(ColoChannel *ch)
{
    event_notifier_set(&ch->kick);
}

void colo_channel_shutdown(ColoChannel *ch)
{
    qio_channel_shutdown(ch->ioc, QIO_CHANNEL_SHUTDOWN_BOTH, NULL);
}

void colo_channel_preload(ColoChannel *ch, const uint8_t *data, size_t size)
{
    assert(size <= RX_BUFFER_BYTES - ch->rx_tail);
    memcpy(ch->rx + ch->rx_tail, data, size);
    ch->rx_tail += size;
}

/* ------------------------------------------------------------- waiting */

typedef struct Wait {
    bool ready;
    bool kicked;
    bool timeout;
} Wait;

static gboolean wait_ready(QIOChannel *ioc, GIOCondition c, gpointer opaque)
{
    ((Wait *)opaque)->ready = true;
    return G_SOURCE_REMOVE;
}

static gboolean wait_kicked(gint fd, GIOCondition c, gpointer opaque)
{
    ((Wait *)opaque)->kicked = true;
    return G_SOURCE_REMOVE;
}

static gboolean wait_timeout(gpointer opaque)
{
    ((Wait *)opaque)->timeout = true;
    return G_SOURCE_REMOVE;
}

static void wait_add(ColoChannel *ch, GSource *source, GSourceFunc fn,
                     Wait *w)
{
    g_source_set_callback(source, fn, w, NULL);
    g_source_attach(source, ch->context);
}

static void wait_remove(GSource *source)
{
    g_source_destroy(source);
    g_source_unref(source);
}

/* Until ready for @cond, kicked, or @until_ms. */
static Wait channel_wait(ColoChannel *ch, GIOCondition cond, int64_t until_ms)
{
    Wait w = {};
    int64_t left_ms = MAX(until_ms - colo_now_ms(), 0);
    GSource *io = qio_channel_create_watch(ch->ioc, cond | G_IO_HUP |
                                           G_IO_ERR);
    GSource *kick = g_unix_fd_source_new(event_notifier_get_fd(&ch->kick),
                                         G_IO_IN);
    GSource *timer = g_timeout_source_new(MIN(left_ms, INT32_MAX));

    wait_add(ch, io, (GSourceFunc)wait_ready, &w);
    wait_add(ch, kick, (GSourceFunc)wait_kicked, &w);
    wait_add(ch, timer, wait_timeout, &w);
    while (!w.ready && !w.kicked && !w.timeout) {
        g_main_context_iteration(ch->context, true);
    }
    wait_remove(timer);
    wait_remove(kick);
    wait_remove(io);
    if (w.kicked) {
        event_notifier_test_and_clear(&ch->kick);
    }
    return w;
}

/* In the middle of a frame: progress is due within the limits. */
static ColoIo wait_progress(ColoChannel *ch, GIOCondition cond)
{
    int64_t until_ms = MIN(colo_now_ms() + ch->limit_ms, ch->deadline_ms);

    for (;;) {
        Wait w = channel_wait(ch, cond, until_ms);

        if (w.ready) {
            return COLO_IO_OK;
        }
        if (w.kicked && ch->give_up && ch->give_up(ch->opaque)) {
            return COLO_IO_KICKED;
        }
        if (w.timeout) {
            return until_ms >= ch->deadline_ms ? COLO_IO_SLOW
                                               : COLO_IO_SILENT;
        }
    }
}

void colo_channel_wait_kick(ColoChannel *ch)
{
    GPollFD fd = {
        .fd = event_notifier_get_fd(&ch->kick),
        .events = G_IO_IN,
    };

    g_poll(&fd, 1, -1);
    event_notifier_test_and_clear(&ch->kick);
}

/* ----------------------------------------------------------- receiving */

/* Read once what there is; 0 bytes with COLO_IO_OK when it would block. */
static ColoIo read_some(ColoChannel *ch, void *buf, size_t size, size_t *got,
                        Error **errp)
{
    struct iovec iov = { .iov_base = buf, .iov_len = size };
    ssize_t n = qio_channel_readv(ch->ioc, &iov, 1, errp);

    *got = 0;
    if (n == QIO_CHANNEL_ERR_BLOCK) {
        return COLO_IO_OK;
    }
    if (n < 0) {
        return COLO_IO_CLOSED;
    }
    if (n == 0) {
        error_setg(errp, "the peer closed the channel");
        return COLO_IO_CLOSED;
    }
    *got = n;
    ch->rx_bytes += n;
    return COLO_IO_OK;
}

static ColoIo refill(ColoChannel *ch, size_t *got, Error **errp)
{
    ColoIo io;

    if (ch->rx_head) {
        memmove(ch->rx, ch->rx + ch->rx_head, ch->rx_tail - ch->rx_head);
        ch->rx_tail -= ch->rx_head;
        ch->rx_head = 0;
    }
    io = read_some(ch, ch->rx + ch->rx_tail, RX_BUFFER_BYTES - ch->rx_tail,
                   got, errp);
    ch->rx_tail += *got;
    return io;
}

static ColoIo parse_header(ColoChannel *ch, ColoFrame *frame, Error **errp)
{
    ColoWireError e = colo_wire_get_header(ch->rx + ch->rx_head, frame);

    ch->rx_head += COLO_WIRE_HEADER_BYTES;
    if (e == COLO_WIRE_OK && frame->sequence != ch->rx_sequence) {
        e = COLO_WIRE_BAD_SEQUENCE;
    }
    if (e == COLO_WIRE_BAD_VERSION) {
        error_setg(errp, "the peer speaks version %u of the COLO protocol, "
                   "this QEMU version %u; run the same build on both sides",
                   frame->version, COLO_WIRE_VERSION);
        return COLO_IO_GARBAGE;
    }
    if (e != COLO_WIRE_OK) {
        error_setg(errp, "no valid COLO frame: %s", colo_wire_strerror(e));
        return COLO_IO_GARBAGE;
    }
    ch->rx_sequence++;
    trace_colo_frame_in(colo_msg_name(frame->type), frame->epoch,
                        frame->sequence, frame->length);
    return COLO_IO_OK;
}

ColoIo colo_channel_next(ColoChannel *ch, ColoFrame *frame, int64_t until_ms,
                         Error **errp)
{
    size_t got;
    ColoIo io;

    while (ch->rx_tail - ch->rx_head < COLO_WIRE_HEADER_BYTES) {
        io = refill(ch, &got, errp);
        if (io != COLO_IO_OK) {
            return io;
        }
        if (got) {
            continue;
        }
        if (ch->rx_tail == ch->rx_head) {
            Wait w = channel_wait(ch, G_IO_IN, until_ms);

            if (w.kicked) {
                return COLO_IO_KICKED;
            }
            if (w.timeout && !w.ready) {
                return COLO_IO_SILENT;
            }
        } else {
            io = wait_progress(ch, G_IO_IN);
            if (io != COLO_IO_OK) {
                return io;
            }
        }
    }
    return parse_header(ch, frame, errp);
}

void colo_channel_unread(ColoChannel *ch)
{
    ch->rx_head -= COLO_WIRE_HEADER_BYTES;
    ch->rx_sequence--;
}

ColoIo colo_channel_read(ColoChannel *ch, void *buf, size_t size,
                         Error **errp)
{
    uint8_t *p = buf;
    size_t have = MIN(size, ch->rx_tail - ch->rx_head);

    memcpy(p, ch->rx + ch->rx_head, have);
    ch->rx_head += have;
    while (have < size) {
        size_t got;
        ColoIo io;

        if (size - have < RX_BUFFER_BYTES / 2) {
            io = refill(ch, &got, errp);
            got = MIN(size - have, ch->rx_tail - ch->rx_head);
            memcpy(p + have, ch->rx + ch->rx_head, got);
            ch->rx_head += got;
        } else {
            io = read_some(ch, p + have, size - have, &got, errp);
        }
        have += got;
        if (io == COLO_IO_OK && !got) {
            io = wait_progress(ch, G_IO_IN);
        }
        if (io != COLO_IO_OK) {
            return io;
        }
    }
    return COLO_IO_OK;
}

ColoIo colo_channel_skip(ColoChannel *ch, size_t size, Error **errp)
{
    uint8_t scratch[4096];
    ColoIo io = COLO_IO_OK;

    while (size && io == COLO_IO_OK) {
        size_t part = MIN(size, sizeof(scratch));

        io = colo_channel_read(ch, scratch, part, errp);
        size -= part;
    }
    return io;
}

/* ------------------------------------------------------------- sending */

static void put_header(ColoChannel *ch, ColoMsgType type, uint64_t epoch,
                       uint32_t flags, size_t size)
{
    uint8_t header[COLO_WIRE_HEADER_BYTES];
    ColoFrame frame = {
        .version = COLO_WIRE_VERSION,
        .type = type,
        .epoch = epoch,
        .sequence = ch->tx_sequence++,
        .flags = flags,
        .length = size,
    };

    assert(size <= colo_wire_max_length(type));
    trace_colo_frame_out(colo_msg_name(type), epoch, frame.sequence, size);
    colo_wire_put_header(header, &frame);
    g_byte_array_append(ch->tx, header, sizeof(header));
}

void colo_channel_queue(ColoChannel *ch, ColoMsgType type, uint64_t epoch,
                        uint32_t flags, const void *payload, size_t size)
{
    put_header(ch, type, epoch, flags, size);
    if (size) {
        g_byte_array_append(ch->tx, payload, size);
    }
}

static ColoIo write_all(ColoChannel *ch, struct iovec *iov, unsigned niov,
                        Error **errp)
{
    while (niov) {
        ssize_t n = qio_channel_writev(ch->ioc, iov, MIN(niov, IOV_MAX),
                                       errp);

        if (n == QIO_CHANNEL_ERR_BLOCK) {
            ColoIo io = wait_progress(ch, G_IO_OUT);

            if (io != COLO_IO_OK) {
                return io;
            }
        } else if (n < 0) {
            return COLO_IO_CLOSED;
        } else {
            ch->tx_bytes += n;
            iov_discard_front(&iov, &niov, n);
        }
    }
    return COLO_IO_OK;
}

ColoIo colo_channel_flush(ColoChannel *ch, Error **errp)
{
    struct iovec iov = { .iov_base = ch->tx->data, .iov_len = ch->tx->len };
    ColoIo io = ch->tx->len ? write_all(ch, &iov, 1, errp) : COLO_IO_OK;

    g_byte_array_set_size(ch->tx, 0);
    return io;
}

ColoIo colo_channel_send_vector(ColoChannel *ch, ColoMsgType type,
                                uint64_t epoch, const GByteArray *head,
                                const struct iovec *iov, size_t niov,
                                Error **errp)
{
    size_t data = iov_size(iov, niov);
    g_autofree struct iovec *all = NULL;
    ColoIo io;

    put_header(ch, type, epoch, 0, head->len + data);
    g_byte_array_append(ch->tx, head->data, head->len);
    if (ch->tx->len + data <= TX_GATHER_BYTES) {
        for (size_t i = 0; i < niov; i++) {
            g_byte_array_append(ch->tx, iov[i].iov_base, iov[i].iov_len);
        }
        return COLO_IO_OK;
    }
    all = g_new(struct iovec, niov + 1);
    all[0].iov_base = ch->tx->data;
    all[0].iov_len = ch->tx->len;
    memcpy(all + 1, iov, niov * sizeof(*iov));
    io = write_all(ch, all, niov + 1, errp);
    g_byte_array_set_size(ch->tx, 0);
    return io;
}
