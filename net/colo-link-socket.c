/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the socket below a chardev; see the header.
 *
 * Not for a chardev that does something with its bytes: TLS, telnet,
 * websockets, a log file, record and replay.
 */
#include "qemu/osdep.h"
#include "qemu/sockets.h"
#include "chardev/char-socket.h"
#include "io/channel-socket.h"
#include "net/colo-link-socket.h"

#ifdef CONFIG_POSIX

struct ColoSocket {
    int fd;
};

static bool is_plain(Chardev *chr)
{
    SocketChardev *s;

    if (!object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_SOCKET) ||
        chr->logfd >= 0 || qemu_chr_replay(chr)) {
        return false;
    }
    s = SOCKET_CHARDEV(chr);
    return !s->is_telnet && !s->is_tn3270 && !s->is_websock && s->ioc &&
           object_dynamic_cast(OBJECT(s->ioc), TYPE_QIO_CHANNEL_SOCKET);
}

ColoSocket *colo_socket_of(Chardev *chr)
{
    ColoSocket *s;
    int fd;

    if (!is_plain(chr)) {
        return NULL;
    }
    fd = qemu_dup(QIO_CHANNEL_SOCKET(SOCKET_CHARDEV(chr)->ioc)->fd);
    if (fd < 0) {
        return NULL;
    }
    s = g_atomic_rc_box_new(ColoSocket);
    s->fd = fd;
    return s;
}

static void close_fd(void *opaque)
{
    ColoSocket *s = opaque;

    close(s->fd);
}

ColoSocket *colo_socket_ref(ColoSocket *s)
{
    return s ? g_atomic_rc_box_acquire(s) : NULL;
}

void colo_socket_unref(ColoSocket *s)
{
    if (s) {
        g_atomic_rc_box_release_full(s, close_fd);
    }
}

int colo_socket_fd(const ColoSocket *s)
{
    return s->fd;
}

ssize_t colo_socket_readv(ColoSocket *s, const struct iovec *iov, int count)
{
    struct msghdr msg = {
        .msg_iov = (struct iovec *)iov,
        .msg_iovlen = count,
    };
    ssize_t n = RETRY_ON_EINTR(recvmsg(s->fd, &msg, MSG_DONTWAIT));

    return n < 0 ? -errno : n;
}

ssize_t colo_socket_writev(ColoSocket *s, const struct iovec *iov, int count)
{
    struct msghdr msg = {
        .msg_iov = (struct iovec *)iov,
        .msg_iovlen = count,
    };
    ssize_t n = RETRY_ON_EINTR(sendmsg(s->fd, &msg,
                                       MSG_DONTWAIT | MSG_NOSIGNAL));

    return n < 0 ? -errno : n;
}

void colo_socket_set_mark(ColoSocket *s, uint32_t bytes)
{
    int mark = MAX(1, MIN(bytes, INT_MAX));

    setsockopt(s->fd, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof(mark));
}

#else

ColoSocket *colo_socket_of(Chardev *chr)
{
    return NULL;
}

ColoSocket *colo_socket_ref(ColoSocket *s)
{
    return s;
}

void colo_socket_unref(ColoSocket *s)
{
}

int colo_socket_fd(const ColoSocket *s)
{
    g_assert_not_reached();
}

ssize_t colo_socket_readv(ColoSocket *s, const struct iovec *iov, int count)
{
    g_assert_not_reached();
}

ssize_t colo_socket_writev(ColoSocket *s, const struct iovec *iov, int count)
{
    g_assert_not_reached();
}

void colo_socket_set_mark(ColoSocket *s, uint32_t bytes)
{
    g_assert_not_reached();
}

#endif
