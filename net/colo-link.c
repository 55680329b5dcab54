/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: frames and markers over a character device, both directions.
 *
 * Sending has two buffers. Senders append to @queued under the lock. One of
 * them at a time (@writing) takes it away as @leaving and writes without the
 * lock, since a device that fails calls back into event() from inside its
 * write. A device that takes no more is watched, and the watch goes on with
 * the same function. A frame for which nothing waits is written from where
 * it is. Whoever comes back from writing looks at @connection: what is left
 * of an older one is for nobody.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/lockable.h"
#include "block/aio-wait.h"
#include "chardev/char-fe.h"
#include "chardev/char-socket.h"
#include "net/colo-link-int.h"
#include "trace.h"

enum {
    KEEP_BYTES = 1 * MiB,
    DIRECT_PIECES = 15,        /* of a frame that is not copied */
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
    link->marker_end = 0;
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
    link->marker_end = 0;
    return link->leaving->len > 0;
}

/* Without the lock; @s is from under it. Bytes, or -errno. */
static ssize_t write_out(ColoLink *link, ColoSocket *s,
                         const struct iovec *iov, int count)
{
    int n;

    if (s) {
        return colo_socket_writev(s, iov, count);
    }
    n = qemu_chr_fe_write(&link->chr, iov->iov_base,
                          MIN(iov->iov_len, INT_MAX));
    return n < 0 ? -errno : n;
}

/*
 * The caller is the one that is @writing. False: the connection is not the
 * one any more for which @iov was.
 */
static bool write_unlocked(ColoLink *link, const struct iovec *iov,
                           int count, ssize_t *n)
{
    ColoSocket *s = colo_socket_ref(link->socket);
    uint64_t connection = link->connection;

    qemu_mutex_unlock(&link->lock);
    *n = write_out(link, s, iov, count);
    colo_socket_unref(s);
    qemu_mutex_lock(&link->lock);
    return link->open && link->connection == connection;
}

static void flush_locked(ColoLink *link)
{
    if (link->writing) {
        return;
    }
    link->writing = true;
    while (link->open && take_locked(link)) {
        struct iovec iov = {
            .iov_base = link->leaving->data + link->left_bytes,
            .iov_len = link->leaving->len - link->left_bytes,
        };
        ssize_t n;

        if (!write_unlocked(link, &iov, 1, &n)) {
            link->left_bytes = link->leaving->len;
        } else if (n > 0) {
            link->left_bytes += n;
        } else {
            if (n == 0 || n == -EAGAIN) {
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

void colo_link_flush(ColoLink *link)
{
    QEMU_LOCK_GUARD(&link->lock);
    flush_locked(link);
}

static size_t unsent_locked(const ColoLink *link)
{
    return link->queued->len + link->leaving->len - link->left_bytes;
}

typedef struct Head {
    uint8_t bytes[8];
    size_t size;
} Head;

/* No network has a frame as long as a guest may make one. */
static bool make_head(const ColoLink *link, const struct iovec *iov,
                      int iovcnt, uint32_t vnet_bytes, Head *head)
{
    size_t size = iov_size(iov, iovcnt);

    if (size <= vnet_bytes || size - vnet_bytes > COLO_PACKET_MAX_BYTES) {
        return false;
    }
    head->size = colo_framer_put_head(head->bytes, link->vnet, vnet_bytes,
                                      size - vnet_bytes);
    return true;
}

static ColoLinkResult put_locked(ColoLink *link, const Head *head,
                                 const struct iovec *iov, int iovcnt)
{
    if (!link->open) {
        return COLO_LINK_CLOSED;
    }
    if (unsent_locked(link) + head->size + iov_size(iov, iovcnt) >
        COLO_LINK_LIMIT_BYTES) {
        return COLO_LINK_FULL;
    }
    g_byte_array_append(link->queued, head->bytes, head->size);
    for (int i = 0; i < iovcnt; i++) {
        g_byte_array_append(link->queued, iov[i].iov_base, iov[i].iov_len);
    }
    return COLO_LINK_OK;
}

/* Nothing is before it: write it from where it is, keep only the rest. */
static void write_direct_locked(ColoLink *link, const Head *head,
                                const struct iovec *iov, int iovcnt)
{
    struct iovec out[1 + DIRECT_PIECES] = {
        { .iov_base = (void *)head->bytes, .iov_len = head->size },
    };
    size_t size;
    ssize_t n;

    memcpy(out + 1, iov, iovcnt * sizeof(*iov));
    size = iov_size(out, 1 + iovcnt);
    link->writing = true;
    if (write_unlocked(link, out, 1 + iovcnt, &n) && n < (ssize_t)size) {
        size_t at = link->leaving->len, done = MAX(n, 0);

        g_byte_array_set_size(link->leaving, at + size - done);
        iov_to_buf(out, 1 + iovcnt, done, link->leaving->data + at,
                   size - done);
    }
    link->writing = false;
}

ColoLinkResult colo_link_send_iov(ColoLink *link, const struct iovec *iov,
                                  int iovcnt, uint32_t vnet_bytes)
{
    ColoLinkResult r = COLO_LINK_OK;
    Head head;

    if (!make_head(link, iov, iovcnt, vnet_bytes, &head)) {
        return COLO_LINK_BAD;
    }
    QEMU_LOCK_GUARD(&link->lock);
    if (link->open && link->socket && !link->writing &&
        unsent_locked(link) == 0 && iovcnt <= DIRECT_PIECES) {
        write_direct_locked(link, &head, iov, iovcnt);
    } else {
        r = put_locked(link, &head, iov, iovcnt);
    }
    if (r == COLO_LINK_OK && unsent_locked(link)) {
        flush_locked(link);
    }
    return r;
}

ColoLinkResult colo_link_put(ColoLink *link, const ColoNetFrame *f)
{
    struct iovec iov = {
        .iov_base = (void *)f->data,
        .iov_len = f->vnet_bytes + f->size,
    };
    Head head;

    if (!make_head(link, &iov, 1, f->vnet_bytes, &head)) {
        return COLO_LINK_BAD;
    }
    QEMU_LOCK_GUARD(&link->lock);
    return put_locked(link, &head, &iov, 1);
}

/*
 * The limit is not for markers. But of those that follow each other only the
 * last one counts, so that there are not more of them than frames.
 */
static void put_marker_locked(ColoLink *link, ColoMarkerType type,
                              uint64_t epoch)
{
    uint8_t marker[COLO_MARKER_BYTES];

    if (!link->open) {
        return;
    }
    colo_framer_put_marker(marker, type, epoch);
    if (link->marker_end && link->marker_end == link->queued->len) {
        g_byte_array_set_size(link->queued,
                              link->marker_end - sizeof(marker));
    }
    g_byte_array_append(link->queued, marker, sizeof(marker));
    link->marker_end = type == COLO_MARKER_EPOCH ? link->queued->len : 0;
}

void colo_link_put_epoch(ColoLink *link, uint64_t epoch)
{
    QEMU_LOCK_GUARD(&link->lock);
    put_marker_locked(link, COLO_MARKER_EPOCH, epoch);
}

void colo_link_note_gap(ColoLink *link, ColoLinkResult r, uint64_t epoch)
{
    QEMU_LOCK_GUARD(&link->lock);
    if (r != COLO_LINK_OK && !link->gap) {
        put_marker_locked(link, COLO_MARKER_GAP, epoch);
        flush_locked(link);
    }
    link->gap = r != COLO_LINK_OK;
}

bool colo_link_is_open(ColoLink *link)
{
    QEMU_LOCK_GUARD(&link->lock);
    return link->open;
}

/* ------------------------------------------------- the connection itself */

static void set_open(ColoLink *link, bool open)
{
    QEMU_LOCK_GUARD(&link->lock);
    link->open = open;
    link->connection += open;
    link->gap = false;
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
        colo_link_read_end(link);
        colo_link_read_begin(link);
        set_open(link, true);
        if (link->ops->opened) {
            link->ops->opened(link->opaque);
        }
    } else if (what == CHR_EVENT_CLOSED) {
        trace_colo_link_closed(link->name);
        colo_link_read_rest(link);
        set_open(link, false);
        colo_link_read_end(link);
        if (link->ops->closed) {
            link->ops->closed(link->opaque);
        }
    }
}

/* ----------------------------------------------------- making, ending */

static void attach(void *opaque)
{
    ColoLink *link = opaque;

    qemu_chr_fe_set_handlers(&link->chr, colo_link_can_read,
                             colo_link_read_bytes, event, NULL, link,
                             link->ctx, true);
}

static void detach(void *opaque)
{
    ColoLink *link = opaque;

    WITH_QEMU_LOCK_GUARD(&link->lock) {
        unwatch_locked(link);
        link->open = false;
    }
    colo_link_end_own_ear(link);
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
    qemu_rec_mutex_init(&link->input);
    qemu_mutex_init(&link->lock);
    colo_link_ears_init(link);
    return link;
}

void colo_link_start(ColoLink *link)
{
    in_context(link, attach);
}

void colo_link_close(ColoLink *link)
{
    if (link && !link->closed) {
        link->closed = true;
        in_context(link, detach);
        colo_link_end_main_ear(link);
    }
}

void colo_link_free(ColoLink *link)
{
    if (!link) {
        return;
    }
    colo_link_close(link);
    colo_framer_destroy(&link->framer);
    g_byte_array_unref(link->queued);
    g_byte_array_unref(link->leaving);
    qemu_mutex_destroy(&link->lock);
    qemu_rec_mutex_destroy(&link->input);
    g_free(link->bulk);
    g_free(link->name);
    g_free(link);
}
