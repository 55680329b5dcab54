/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: frames and markers over a character device, both directions.
 *
 * Sending has two buffers. Senders append to @queued under the lock. One of
 * them at a time (@writing) takes it away as @leaving and writes without the
 * lock, since a device that fails calls back into event() from inside its
 * write. A device that takes no more is watched, and the watch goes on with
 * the same function.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "block/aio-wait.h"
#include "chardev/char-fe.h"
#include "chardev/char-socket.h"
#include "net/colo-link.h"
#include "trace.h"

enum { READ_MAX_BYTES = 64 * KiB, READ_ROUNDS = 4, KEEP_BYTES = 1 * MiB };

struct ColoLink {
    CharBackend chr;
    char *name;
    bool vnet;
    GMainContext *ctx;
    AioContext *aio;
    const ColoLinkOps *ops;
    void *opaque;
    ColoFramer framer;         /* the link's context */
    bool paused;               /* ditto */
    uint8_t *bulk;             /* ditto, READ_MAX_BYTES, made when needed */

    QemuMutex lock;
    bool open;                 /* under lock, as all below */
    bool writing;              /* somebody is between take and put back */
    GByteArray *queued;
    GByteArray *leaving;       /* the writer's while @writing */
    size_t left_bytes;         /* of leaving: already with the device */
    GSource *watch;
};

const char *colo_link_name(const ColoLink *link)
{
    return link->name;
}

/* ------------------------------------------------------------- sending */

static gboolean writable(void *unused, GIOCondition cond, void *opaque)
{
    ColoLink *link = opaque;

    WITH_QEMU_LOCK_GUARD(&link->lock) {
        g_clear_pointer(&link->watch, g_source_unref);
    }
    colo_link_flush(link);
    if (link->ops->drained) {
        link->ops->drained(link->opaque);
    }
    return G_SOURCE_REMOVE;
}

static void watch_locked(ColoLink *link)
{
    GSource *source;
    guint tag;

    if (link->watch || !link->open) {
        return;
    }
    tag = qemu_chr_fe_add_watch(&link->chr, G_IO_OUT | G_IO_HUP, writable,
                                link);
    source = tag ? g_main_context_find_source_by_id(link->ctx, tag) : NULL;
    link->watch = source ? g_source_ref(source) : NULL;
}

static void unwatch_locked(ColoLink *link)
{
    if (link->watch) {
        g_source_destroy(link->watch);
        g_clear_pointer(&link->watch, g_source_unref);
    }
}

/* An array that has grown in a stall does not keep its memory. */
static GByteArray *emptied(GByteArray *array)
{
    if (array->len > KEEP_BYTES) {
        g_byte_array_unref(array);
        return g_byte_array_new();
    }
    return g_byte_array_set_size(array, 0);
}

static void drop_queued_locked(ColoLink *link)
{
    link->queued = emptied(link->queued);
    if (!link->writing) {
        link->leaving = emptied(link->leaving);
        link->left_bytes = 0;
    }
}

/* Something to write in @leaving? */
static bool take_locked(ColoLink *link)
{
    GByteArray *empty;

    if (link->left_bytes < link->leaving->len) {
        return true;
    }
    link->leaving = emptied(link->leaving);
    link->left_bytes = 0;
    empty = link->leaving;
    link->leaving = link->queued;
    link->queued = empty;
    return link->leaving->len > 0;
}

void colo_link_flush(ColoLink *link)
{
    QEMU_LOCK_GUARD(&link->lock);

    if (link->writing) {
        return;
    }
    link->writing = true;
    while (link->open && take_locked(link)) {
        uint8_t *data = link->leaving->data + link->left_bytes;
        size_t size = link->leaving->len - link->left_bytes;
        int n;

        qemu_mutex_unlock(&link->lock);
        n = qemu_chr_fe_write(&link->chr, data, MIN(size, INT_MAX));
        if (n < 0 && errno != EAGAIN) {
            n = -2;
        }
        qemu_mutex_lock(&link->lock);
        if (n > 0) {
            link->left_bytes += n;
        } else {
            if (n != -2) {
                watch_locked(link);
            }
            break;
        }
    }
    link->writing = false;
    if (!link->open) {
        drop_queued_locked(link);
    }
}

static size_t unsent_locked(const ColoLink *link)
{
    return link->queued->len + link->leaving->len - link->left_bytes;
}

ColoLinkResult colo_link_put_iov(ColoLink *link, const struct iovec *iov,
                                 int iovcnt, uint32_t vnet_bytes)
{
    size_t size = iov_size(iov, iovcnt);
    uint8_t head[8];
    size_t head_bytes;

    /* No network has such a frame, but a guest may make one. */
    if (size <= vnet_bytes || size - vnet_bytes > COLO_PACKET_MAX_BYTES) {
        return COLO_LINK_BAD;
    }
    head_bytes = colo_framer_put_head(head, link->vnet, vnet_bytes,
                                      size - vnet_bytes);
    QEMU_LOCK_GUARD(&link->lock);

    if (!link->open) {
        return COLO_LINK_CLOSED;
    }
    if (unsent_locked(link) + head_bytes + size > COLO_LINK_LIMIT_BYTES) {
        return COLO_LINK_FULL;
    }
    g_byte_array_append(link->queued, head, head_bytes);
    for (int i = 0; i < iovcnt; i++) {
        g_byte_array_append(link->queued, iov[i].iov_base, iov[i].iov_len);
    }
    return COLO_LINK_OK;
}

ColoLinkResult colo_link_put(ColoLink *link, const ColoNetFrame *f)
{
    struct iovec iov = {
        .iov_base = (void *)f->data,
        .iov_len = f->vnet_bytes + f->size,
    };

    return colo_link_put_iov(link, &iov, 1, f->vnet_bytes);
}

/* Markers are few and small: the limit is not for them. */
void colo_link_put_marker(ColoLink *link, ColoMarkerType type,
                          uint64_t epoch)
{
    uint8_t marker[COLO_MARKER_BYTES];

    colo_framer_put_marker(marker, type, epoch);
    QEMU_LOCK_GUARD(&link->lock);
    if (link->open) {
        g_byte_array_append(link->queued, marker, sizeof(marker));
    }
}

bool colo_link_is_open(ColoLink *link)
{
    QEMU_LOCK_GUARD(&link->lock);
    return link->open;
}

/* ----------------------------------------------------------- receiving */

static int can_read(void *opaque)
{
    ColoLink *link = opaque;

    return link->paused ? 0 : READ_MAX_BYTES;
}

static void take_bytes(ColoLink *link, const uint8_t *buf, size_t size)
{
    ColoFramerItem item;

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
        qemu_chr_fe_disconnect(&link->chr);
    }
}

/* A socket whose bytes are what its peer sent, or NULL. */
static SocketChardev *plain_socket(ColoLink *link)
{
    Object *chr = OBJECT(qemu_chr_fe_get_driver(&link->chr));
    SocketChardev *s;

    if (!object_dynamic_cast(chr, TYPE_CHARDEV_SOCKET)) {
        return NULL;
    }
    s = SOCKET_CHARDEV(chr);
    return s->is_telnet || s->is_tn3270 || s->is_websock ? NULL : s;
}

/*
 * A socket chardev hands over 4 KiB for each turn of the event loop. Under
 * load that is a turn for every few frames, so the rest is read here. An end
 * or an error is left for the chardev to find.
 */
static void read_more(ColoLink *link)
{
    for (int i = 0; i < READ_ROUNDS; i++) {
        SocketChardev *s = plain_socket(link);
        ssize_t size;

        if (!s || !s->ioc || link->paused) {
            return;
        }
        if (!link->bulk) {
            link->bulk = g_malloc(READ_MAX_BYTES);
        }
        size = qio_channel_read(s->ioc, (char *)link->bulk, READ_MAX_BYTES,
                                NULL);
        if (size <= 0) {
            return;
        }
        take_bytes(link, link->bulk, size);
    }
}

static void read_bytes(void *opaque, const uint8_t *buf, int length)
{
    ColoLink *link = opaque;

    if (link->ops->item) {
        take_bytes(link, buf, length);
        if (length >= CHR_READ_BUF_LEN) {
            read_more(link);
        }
    }
}

static void set_open(ColoLink *link, bool open)
{
    QEMU_LOCK_GUARD(&link->lock);
    link->open = open;
    unwatch_locked(link);
    drop_queued_locked(link);
}

/* Answers are small: they must not wait for what comes after them. */
static void set_nodelay(ColoLink *link)
{
    Object *chr = OBJECT(qemu_chr_fe_get_driver(&link->chr));

    if (object_dynamic_cast(chr, TYPE_CHARDEV_SOCKET) &&
        SOCKET_CHARDEV(chr)->ioc) {
        qio_channel_set_delay(SOCKET_CHARDEV(chr)->ioc, false);
    }
}

static void event(void *opaque, QEMUChrEvent what)
{
    ColoLink *link = opaque;

    if (what == CHR_EVENT_OPENED) {
        trace_colo_link_open(link->name);
        set_nodelay(link);
        colo_framer_reset(&link->framer);
        set_open(link, true);
        if (link->ops->opened) {
            link->ops->opened(link->opaque);
        }
    } else if (what == CHR_EVENT_CLOSED) {
        trace_colo_link_closed(link->name);
        set_open(link, false);
        if (link->ops->closed) {
            link->ops->closed(link->opaque);
        }
    }
}

void colo_link_pause(ColoLink *link, bool on)
{
    if (link->paused != on) {
        link->paused = on;
        if (!on) {
            qemu_chr_fe_accept_input(&link->chr);
        }
    }
}

/* ----------------------------------------------------- making, ending */

static void attach(void *opaque)
{
    ColoLink *link = opaque;

    qemu_chr_fe_set_handlers(&link->chr, can_read, read_bytes, event, NULL,
                             link, link->ctx, true);
}

static void detach(void *opaque)
{
    ColoLink *link = opaque;

    WITH_QEMU_LOCK_GUARD(&link->lock) {
        unwatch_locked(link);
        link->open = false;
    }
    qemu_chr_fe_deinit(&link->chr, false);
}

/* In the link's own context, so that no callback is under way. */
static void in_context(ColoLink *link, QEMUBHFunc *fn)
{
    if (link->aio) {
        aio_wait_bh_oneshot(link->aio, fn, link);
    } else {
        fn(link);
    }
}

static Chardev *find_chardev(const char *property, const char *id,
                             bool needs_context, Error **errp)
{
    Chardev *chr = id ? qemu_chr_find(id) : NULL;

    if (!id) {
        error_setg(errp, "Parameter '%s' is required", property);
    } else if (!chr) {
        error_setg(errp, "'%s': there is no chardev '%s'", property, id);
    } else if (needs_context &&
               (!qemu_chr_has_feature(chr, QEMU_CHAR_FEATURE_GCONTEXT) ||
                !qemu_chr_has_feature(chr,
                                      QEMU_CHAR_FEATURE_RECONNECTABLE))) {
        error_setg(errp, "'%s': chardev '%s' cannot be served by another "
                   "thread; use a socket", property, id);
        chr = NULL;
    }
    return chr;
}

ColoLink *colo_link_new(const char *property, const char *chardev, bool vnet,
                        GMainContext *ctx, AioContext *aio,
                        const ColoLinkOps *ops, void *opaque, Error **errp)
{
    Chardev *chr = find_chardev(property, chardev, ctx != NULL, errp);
    ColoLink *link;

    if (!chr) {
        return NULL;
    }
    link = g_new0(ColoLink, 1);
    if (!qemu_chr_fe_init(&link->chr, chr, errp)) {
        error_prepend(errp, "'%s': ", property);
        g_free(link);
        return NULL;
    }
    link->name = g_strdup(chardev);
    link->vnet = vnet;
    link->ctx = ctx;
    link->aio = aio;
    link->ops = ops;
    link->opaque = opaque;
    link->queued = g_byte_array_new();
    link->leaving = g_byte_array_new();
    colo_framer_init(&link->framer, vnet);
    qemu_mutex_init(&link->lock);
    return link;
}

void colo_link_start(ColoLink *link)
{
    in_context(link, attach);
}

void colo_link_free(ColoLink *link)
{
    if (!link) {
        return;
    }
    in_context(link, detach);
    colo_framer_destroy(&link->framer);
    g_byte_array_unref(link->queued);
    g_byte_array_unref(link->leaving);
    qemu_mutex_destroy(&link->lock);
    g_free(link->bulk);
    g_free(link->name);
    g_free(link);
}
