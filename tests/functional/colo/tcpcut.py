# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP relay in the middle of a connection that can be cut and made again."""

import select
import socket
import threading
from typing import List, Optional


class Cut:
    """Listens on one port of loopback, connects to another."""

    def __init__(self, port: int, target_port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._target = ("127.0.0.1", target_port)
        self._lock = threading.Lock()
        self._pairs: List[socket.socket] = []
        self._listener: Optional[socket.socket] = None
        self.go_on()

    def go_on(self) -> None:
        """Accept connections (again)."""
        listener = socket.create_server(self._address)
        with self._lock:
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,),
                         daemon=True).start()

    def stop(self) -> None:
        """Break what there is and accept nothing."""
        with self._lock:
            sockets = self._pairs + ([self._listener] if self._listener
                                     else [])
            self._pairs = []
            self._listener = None
        for sock in sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    close = stop

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                ours, _ = listener.accept()
            except OSError:
                return
            try:
                theirs = socket.create_connection(self._target, 5)
            except OSError:
                ours.close()
                continue
            for sock in (ours, theirs):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs += [ours, theirs]
            threading.Thread(target=_copy, args=(ours, theirs),
                             daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    peers = {one: other, other: one}
    try:
        while True:
            for sock in select.select([one, other], [], [])[0]:
                data = sock.recv(1 << 16)
                if not data:
                    return
                peers[sock].sendall(data)
    except (OSError, ValueError):
        pass
    finally:
        one.close()
        other.close()
