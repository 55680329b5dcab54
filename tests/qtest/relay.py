# SPDX-License-Identifier: GPL-2.0-or-later
"""A link between the two sides that breaks at a chosen message.

The primary migrates to the relay, the relay connects to the secondary.  Bytes
pass unchanged until the first COLO frame (the migration stream before it has
no frames); from there on the relay reads frame by frame and does its damage
at the n-th frame of the chosen type.
"""

import dataclasses
import os
import socket
import threading
from typing import Callable, Dict, List, Optional

import wireframe
from wireframe import HEADER_BYTES, Frame

KEEP_BYTES = HEADER_BYTES - 1


@dataclasses.dataclass
class Damage:
    """What to do to which message."""

    message: str
    kind: str
    nth: int = 1


class Relay:
    """See the top of the file."""

    def __init__(self, listen_port: int, target_port: int,
                 damage: Damage) -> None:
        self.damage = damage
        self.done = threading.Event()
        self.seen: Dict[str, int] = {}
        self.errors: List[str] = []
        self._target_port = target_port
        self._silent = threading.Event()
        self._sockets: List[socket.socket] = []
        self._swallowed: Optional[socket.socket] = None
        self._listener = socket.create_server(("127.0.0.1", listen_port))
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *words: object) -> None:
        threading.Thread(target=target, args=words, daemon=True).start()

    def _accept(self) -> None:
        primary, _ = self._listener.accept()
        secondary = socket.create_connection(("127.0.0.1", self._target_port))
        for sock in (primary, secondary):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets = [primary, secondary]
        self._start(self._guard, primary, secondary)
        self._start(self._guard, secondary, primary)

    def _guard(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            self._pump(source, sink)
        except OSError:
            pass                # one of the ends is gone, as it should be
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(repr(error))
        if not self._silent.is_set():
            self._hang_up()

    def _hang_up(self) -> None:
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    # -- one direction ---------------------------------------------------

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        pending = b""
        framed = False
        while True:
            data = source.recv(1 << 18)
            if not data:
                return
            if self._silent.is_set():
                continue
            pending += data
            if not framed:
                at = wireframe.find(pending)
                framed = at >= 0
                # Hold back what could be the beginning of a header.
                ready = at if framed else max(len(pending) - KEEP_BYTES, 0)
                if not framed and b"COLO"[:1] not in pending[ready:]:
                    ready = len(pending)
                sink.sendall(pending[:ready])
                pending = pending[ready:]
            if framed:
                pending = self._frames(pending, sink)

    def _frames(self, pending: bytes, sink: socket.socket) -> bytes:
        """Pass on all whole frames; what is left over."""
        while len(pending) >= HEADER_BYTES:
            frame = wireframe.decode(pending)
            if frame is None:
                raise ValueError(f"no frame header: {pending[:32].hex()}")
            if len(pending) < HEADER_BYTES + frame.length:
                break
            body = pending[HEADER_BYTES:HEADER_BYTES + frame.length]
            pending = pending[HEADER_BYTES + frame.length:]
            self._frame(frame, body, sink)
        return pending

    def _frame(self, frame: Frame, body: bytes, sink: socket.socket) -> None:
        self.seen[frame.name] = self.seen.get(frame.name, 0) + 1
        wanted = (frame.name == self.damage.message
                  and self.seen[frame.name] == self.damage.nth
                  and not self.done.is_set())
        if self._silent.is_set():
            return
        if not wanted:
            if sink is self._swallowed:
                frame.sequence -= 1
            sink.sendall(frame.encode() + body)
            return
        if self.damage.kind == "swallowed":
            self._swallowed = sink
        self.done.set()
        data = DAMAGES[self.damage.kind](self, frame, body)
        if data is not None:
            sink.sendall(data)
        if self.damage.kind in ("eof", "cut"):
            self._hang_up()
        if self.damage.kind == "half":
            threading.Event().wait()    # for nobody: the other way is open

    def silence(self) -> None:
        """Both sides stay connected and hear nothing any more."""
        self._silent.set()


Doer = Callable[[Relay, Frame, bytes], Optional[bytes]]


def _silence(relay: Relay, _frame: Frame, _body: bytes) -> Optional[bytes]:
    relay.silence()
    return None


def _stall(relay: Relay, frame: Frame, body: bytes) -> Optional[bytes]:
    relay.silence()
    return _half(relay, frame, body)


def _half(_relay: Relay, frame: Frame, body: bytes) -> Optional[bytes]:
    data = frame.encode() + body
    return data[:max(len(data) // 2, 1)]


def _flip_header(_relay: Relay, frame: Frame, body: bytes) -> bytes:
    head = bytearray(frame.encode())
    head[9] ^= 0x40
    return bytes(head) + body


def _flip_payload(_relay: Relay, frame: Frame, body: bytes) -> bytes:
    changed = bytearray(body)
    changed[-1] ^= 0x01
    return frame.encode() + bytes(changed)


def _renumbered(**changes: int) -> Doer:
    def change(_relay: Relay, frame: Frame, body: bytes) -> bytes:
        new = dataclasses.replace(frame)
        for name, value in changes.items():
            setattr(new, name, getattr(frame, name) + value)
        return new.encode() + body
    return change


DAMAGES: Dict[str, Doer] = {
    "eof": lambda relay, frame, body: None,
    "cut": _half,
    "half": _half,
    "silence": _silence,
    "stall": _stall,
    "flip-header": _flip_header,
    "flip-payload": _flip_payload,
    "garbage": lambda relay, frame, body: os.urandom(64) + frame.encode()
    + body,
    "twice": lambda relay, frame, body: (frame.encode() + body) * 2,
    "lost": lambda relay, frame, body: b"",
    # Like lost, but the peer that sent it never counted it either.
    "swallowed": lambda relay, frame, body: b"",
    "other-epoch": _renumbered(epoch=5),
    "other-version": _renumbered(version=1),
    "unknown-type": _renumbered(type=100),
    "unknown-flag": _renumbered(flags=1 << 30),
    "huge": lambda relay, frame, body: dataclasses.replace(
        frame, length=0xFFFFFFF0).encode() + body,
}

