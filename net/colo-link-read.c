/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the receiving half of a link.
 *
 * Where the device is a plain socket, reading goes past it
 * (colo-link-socket.h); it then only says that a connection has begun or
 * ended. The end is left for it to find: from the first read that brings
 * nothing on, the device reads itself.
 *
 * Two event loops can do that reading, the link's own and the main loop, and
 * have an ear each. colo_link_listen() says which one watches the socket. Both
 * may for a moment: whoever reads has @input. What a reader finds to be done
 * in the link's own context is left to the BH of that ear.
 */
#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "chardev/char-socket.h"
#include "net/colo-link-int.h"
#include "trace.h"

enum {
    /* A read that finds the head of a large frame finds little more of it:
     * the rest is read to where it belongs. */
    READ_HEAD_BYTES = 2 * KiB, READ_MAX_BYTES = 64 * KiB,
    READ_ROUNDS = 4,
    GATHERED_ROUNDS = 16,      /* where as much is waited for */
};

/* ---------------------------------------------------------------- ears */

static void hear(void *opaque);

/* In the ear's loop. */
static void settle_ear(ColoEar *ear)
{
    ColoLink *link = ear->link;
    ColoSocket *s = NULL;

    WITH_QEMU_LOCK_GUARD(&link->lock) {
        if (ear == &link->ears[link->ear] && !link->paused && !link->ended &&
            !link->bad) {
            s = colo_socket_ref(link->socket);
        }
    }
    if (s != ear->watched) {
        if (ear->watched) {
            aio_set_fd_handler(ear->aio, colo_socket_fd(ear->watched), NULL,
                               NULL, NULL, NULL, ear);
        }
        if (s) {
            aio_set_fd_handler(ear->aio, colo_socket_fd(s), hear, NULL, NULL,
                               NULL, ear);
        }
    }
    colo_socket_unref(ear->watched);
    ear->watched = s;
}

static void settle_ears_soon(ColoLink *link)
{
    for (int i = 0; i < COLO_LINK_EARS; i++) {
        if (link->ears[i].bh) {
            qemu_bh_schedule(link->ears[i].bh);
        }
    }
}

/*
 * At once where that can be. A device that calls somebody has the first
 * connection told from the main loop, whose context it was made in.
 */
static void settle_ears(ColoLink *link)
{
    if (!link->ops->item) {
        return;
    }
    if (link->aio && link->aio != qemu_get_current_aio_context()) {
        settle_ears_soon(link);
        return;
    }
    settle_ear(&link->ears[COLO_LINK_OWN]);
    if (link->ears[COLO_LINK_MAIN].bh) {
        qemu_bh_schedule(link->ears[COLO_LINK_MAIN].bh);
    }
}

/* A reader has found the end, or nonsense. */
static void tell_own_context(ColoLink *link, bool *what)
{
    WITH_QEMU_LOCK_GUARD(&link->lock) {
        *what = true;
    }
    settle_ears_soon(link);
}

/* ------------------------------------------------------ by the device */

int colo_link_can_read(void *opaque)
{
    ColoLink *link = opaque;

    QEMU_LOCK_GUARD(&link->lock);
    return link->paused || (link->socket && link->ops->item)
        ? 0 : READ_MAX_BYTES;
}

/* Under input. */
static void take_bytes(ColoLink *link, const uint8_t *buf, size_t size)
{
    ColoFramerItem item;

    if (link->framer.error != COLO_FRAMER_OK) {
        return;                 /* told; not every device can be closed */
    }
    if (link->ops->begin) {
        link->ops->begin(link->opaque);
    }
    while (colo_framer_next(&link->framer, &buf, &size, &item)) {
        link->ops->item(link->opaque, &item);
    }
    if (link->ops->batch) {
        link->ops->batch(link->opaque);
    }
    if (link->framer.error != COLO_FRAMER_OK) {
        error_report("chardev '%s' does not bring frames: %s", link->name,
                     colo_framer_error_text(link->framer.error));
        tell_own_context(link, &link->bad);
    }
}

/* That was all, for now. Not under input. */
static void end_read(ColoLink *link, size_t bytes)
{
    if (bytes && link->ops->read) {
        link->ops->read(link->opaque, bytes);
    }
}

static uint8_t *bulk_room(ColoLink *link)
{
    if (!link->bulk) {
        link->bulk = g_malloc(READ_MAX_BYTES);
    }
    return link->bulk;
}

/* A socket whose bytes are what its peer sent, maybe encrypted, or NULL. */
static SocketChardev *socket_below(ColoLink *link)
{
    Object *chr = OBJECT(qemu_chr_fe_get_driver(&link->chr));
    SocketChardev *s;

    if (!object_dynamic_cast(chr, TYPE_CHARDEV_SOCKET)) {
        return NULL;
    }
    s = SOCKET_CHARDEV(chr);
    return s->is_telnet || s->is_tn3270 || s->is_websock ? NULL : s;
}

static bool is_paused(ColoLink *link)
{
    QEMU_LOCK_GUARD(&link->lock);
    return link->paused;
}

/*
 * With TLS: the device hands over 4 KiB for each turn of the event loop. Under
 * load that is a turn for every few frames, so the rest is read here. An end
 * or an error is left for the device to find.
 */
static size_t read_more(ColoLink *link)
{
    size_t total_bytes = 0;

    for (int i = 0; i < READ_ROUNDS && !is_paused(link); i++) {
        SocketChardev *s = socket_below(link);
        ssize_t size;

        if (!s || !s->ioc) {
            break;
        }
        size = qio_channel_read(s->ioc, (char *)bulk_room(link),
                                READ_MAX_BYTES, NULL);
        if (size <= 0) {
            break;
        }
        take_bytes(link, link->bulk, size);
        total_bytes += size;
    }
    return total_bytes;
}

void colo_link_read_bytes(void *opaque, const uint8_t *buf, int length)
{
    ColoLink *link = opaque;
    size_t size = length;

    if (!link->ops->item) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&link->input) {
        take_bytes(link, buf, size);
        if (length >= CHR_READ_BUF_LEN) {
            size += read_more(link);
        }
    }
    end_read(link, size);
}

/* ----------------------------------------------------- past the device */

void colo_link_read_begin(ColoLink *link)
{
    ColoSocket *s = colo_socket_of(qemu_chr_fe_get_driver(&link->chr));

    WITH_QEMU_LOCK_GUARD(&link->input) {
        colo_framer_reset(&link->framer);
    }
    if (s) {
        WITH_QEMU_LOCK_GUARD(&link->lock) {
            link->socket = s;
        }
        settle_ears(link);
    }
}

void colo_link_read_end(ColoLink *link)
{
    ColoSocket *s;

    WITH_QEMU_LOCK_GUARD(&link->lock) {
        s = g_steal_pointer(&link->socket);
        if (s && link->gather_bytes) {
            colo_socket_set_mark(s, 0);
        }
        link->gather_bytes = 0;
        link->ear = COLO_LINK_OWN;
        link->ended = link->bad = false;
    }
    if (!s) {
        return;
    }
    colo_socket_unref(s);
    WITH_QEMU_LOCK_GUARD(&link->input) {
        /* Whoever was reading it has come to an end. */
        QEMU_LOCK_GUARD(&link->lock);
        link->ended = link->bad = false;
    }
    settle_ears(link);
}

/* False: there is no more now, or it has ended. *@total_bytes has it added. */
static bool read_some(ColoLink *link, ColoSocket *s, bool first,
                      size_t *total_bytes)
{
    size_t room_bytes;
    uint8_t *room = colo_framer_room(&link->framer, &room_bytes);
    bool large = room_bytes > READ_HEAD_BYTES;
    size_t limit_bytes = first || large ? READ_HEAD_BYTES : READ_MAX_BYTES;
    struct iovec iov[] = {
        { .iov_base = room, .iov_len = room_bytes },
        { .iov_base = bulk_room(link), .iov_len = limit_bytes },
    };
    ssize_t n = colo_socket_readv(s, iov, ARRAY_SIZE(iov));

    if (n == -EAGAIN) {
        return false;
    }
    if (n <= 0) {
        tell_own_context(link, &link->ended);
        return false;
    }
    *total_bytes += n;
    colo_framer_advance(&link->framer, MIN(n, room_bytes));
    if (n >= room_bytes) {
        take_bytes(link, link->bulk, n - room_bytes);
    }
    return n == room_bytes + limit_bytes;
}

/* Under input. What has come, in bytes. */
static size_t read_socket(ColoLink *link)
{
    int rounds = READ_ROUNDS;
    size_t bytes = 0;
    bool more = true;

    for (int i = 0; i < rounds && more; i++) {
        ColoSocket *s = NULL;

        WITH_QEMU_LOCK_GUARD(&link->lock) {
            if (!link->paused && !link->ended && !link->bad) {
                s = colo_socket_ref(link->socket);
            }
            rounds = link->gather_bytes ? GATHERED_ROUNDS : rounds;
        }
        more = s && read_some(link, s, i == 0, &bytes);
        colo_socket_unref(s);
    }
    return bytes;
}

size_t colo_link_read(ColoLink *link)
{
    size_t bytes;

    WITH_QEMU_LOCK_GUARD(&link->input) {
        bytes = read_socket(link);
    }
    end_read(link, bytes);
    return bytes;
}

static void hear(void *opaque)
{
    ColoEar *ear = opaque;

    colo_link_read(ear->link);
}

void colo_link_read_rest(ColoLink *link)
{
    size_t bytes, total_bytes = 0;

    WITH_QEMU_LOCK_GUARD(&link->lock) {
        if (!link->aio || !link->socket) {
            return;             /* the device has read all */
        }
    }
    do {
        bytes = colo_link_read(link);
        total_bytes += bytes;
    } while (bytes && total_bytes < COLO_LINK_LIMIT_BYTES);
}

/* What readers found, and who is to listen. */
static void own_bh(void *opaque)
{
    ColoEar *ear = opaque;
    ColoLink *link = ear->link;
    bool bad, ended;

    WITH_QEMU_LOCK_GUARD(&link->lock) {
        bad = link->open && link->bad;
        ended = link->ended;
    }
    if (bad) {
        qemu_chr_fe_disconnect(&link->chr);
    } else if (ended) {
        colo_link_read_end(link);
        qemu_chr_fe_accept_input(&link->chr);
    } else {
        settle_ear(ear);
    }
}

static void main_bh(void *opaque)
{
    settle_ear(opaque);
}

void colo_link_listen(ColoLink *link, ColoLinkEar ear, uint32_t gather_bytes)
{
    QEMU_LOCK_GUARD(&link->lock);
    if (!link->socket) {
        return;
    }
    if (link->gather_bytes != gather_bytes) {
        link->gather_bytes = gather_bytes;
        colo_socket_set_mark(link->socket, gather_bytes);
    }
    if (link->ear != ear && link->ears[ear].bh) {
        trace_colo_link_listener(link->name, ear == COLO_LINK_MAIN
                                 ? "main loop" : "its own thread");
        link->ear = ear;
        settle_ears_soon(link);
    }
}

void colo_link_pause(ColoLink *link, bool on)
{
    bool past;

    WITH_QEMU_LOCK_GUARD(&link->lock) {
        if (link->paused == on) {
            return;
        }
        link->paused = on;
        past = link->socket != NULL;
    }
    if (past) {
        settle_ears(link);
    } else if (!on) {
        qemu_chr_fe_accept_input(&link->chr);
    }
}

/* ------------------------------------------------------ begin and end */

void colo_link_ears_init(ColoLink *link)
{
    ColoEar *own = &link->ears[COLO_LINK_OWN];
    ColoEar *main = &link->ears[COLO_LINK_MAIN];

    own->link = main->link = link;
    own->aio = link->aio ?: iohandler_get_aio_context();
    own->bh = aio_bh_new(link->aio ?: qemu_get_aio_context(), own_bh, own);
    if (link->aio) {
        main->aio = iohandler_get_aio_context();
        main->bh = qemu_bh_new(main_bh, main);
    }
}

static void end_ear(ColoEar *ear)
{
    if (ear->bh) {
        qemu_bh_delete(ear->bh);
        ear->bh = NULL;
        /* That may have been on its way with what is done here. */
        settle_ear(ear);
    }
}

void colo_link_end_own_ear(ColoLink *link)
{
    colo_link_read_end(link);
    end_ear(&link->ears[COLO_LINK_OWN]);
}

void colo_link_end_main_ear(ColoLink *link)
{
    end_ear(&link->ears[COLO_LINK_MAIN]);
}
