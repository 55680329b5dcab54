# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP relay in the middle of a connection that can be cut and made again.

It can also be slow, hold back everything without a word, and it counts.
"""

import select
import socket
import threading
import time
from typing import List, Optional


class Cut:
    """Listens on one port of loopback, connects to another."""

    def __init__(self, port: int, target_port: int,
                 bytes_per_s: float = 0) -> None:
        self.bytes_per_s = bytes_per_s      # of both directions; 0: no limit
        self.passed_bytes = 0
        self._flowing = threading.Event()
        self._flowing.set()
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

    def hold(self) -> None:
        """Connections stay, and nothing comes through."""
        self._flowing.clear()

    def release(self) -> None:
        """What was held back comes through."""
        self._flowing.set()

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
            threading.Thread(target=self._copy, args=(ours, theirs),
                             daemon=True).start()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        peers = {one: other, other: one}
        try:
            while True:
                for sock in select.select([one, other], [], [])[0]:
                    data = sock.recv(1 << 16)
                    if not data:
                        return
                    self._flowing.wait()
                    if self.bytes_per_s:
                        time.sleep(len(data) / self.bytes_per_s)
                    peers[sock].sendall(data)
                    with self._lock:
                        self.passed_bytes += len(data)
        except (OSError, ValueError):
            pass
        finally:
            one.close()
            other.close()
