/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the socket below a chardev, for a link to read and write itself.
 *
 * A socket chardev hands over 4 KiB for each turn of the event loop and wakes
 * that loop twice more by attaching itself to it again; and it wants what is
 * to be written in one piece. At the rate of a network that is a large part
 * of all work. So where a chardev is nothing but a socket, frames go past it:
 * it only listens, connects, and finds out that a connection has ended.
 *
 * The descriptor is our own duplicate, so that nobody else closes it under a
 * thread that is in the middle of a call. Any thread.
 */
#ifndef NET_COLO_LINK_SOCKET_H
#define NET_COLO_LINK_SOCKET_H

#include "chardev/char.h"

typedef struct ColoSocket ColoSocket;

/* NULL: the bytes of this chardev are not those of a socket. */
ColoSocket *colo_socket_of(Chardev *chr);
ColoSocket *colo_socket_ref(ColoSocket *s);         /* NULL is fine */
void colo_socket_unref(ColoSocket *s);              /* ditto */
int colo_socket_fd(const ColoSocket *s);
/* Bytes, 0 at the end of the stream, or -errno. Never wait. */
ssize_t colo_socket_readv(ColoSocket *s, const struct iovec *iov, int count);
ssize_t colo_socket_writev(ColoSocket *s, const struct iovec *iov, int count);
/* So many bytes make it readable; where sockets have no such mark: any. */
void colo_socket_set_mark(ColoSocket *s, uint32_t bytes);

#endif
