# SPDX-License-Identifier: GPL-2.0-or-later
"""Our end of a stream of frames, as net filters speak it on a chardev.

A frame is its length (32 bits, big endian, vnet header included), with vnet
headers their length (32 bits), and the bytes.  A marker is 0xC0100001, its
type, and an epoch of 64 bits.  Netdevs of type stream and socket speak the
same without vnet headers and markers.
"""

import dataclasses
import select
import socket
import struct
import threading
import time
from typing import Dict, List, Optional

MARKER = 0xC0100001
MARKER_BYTES = 16
EPOCH, GAP = 1, 2
QUIET_S = 0.25
TIMEOUT_S = 5.0


class WireClosed(Exception):
    """QEMU closed its end."""


@dataclasses.dataclass(frozen=True)
class Marker:
    """An epoch marker."""

    kind: int
    epoch: int


@dataclasses.dataclass(frozen=True)
class Item:
    """One frame, with its vnet header, or a marker."""

    frame: bytes = b""
    vnet: bytes = b""
    marker: Optional[Marker] = None


class Wire:
    """A connected socket; see the top of the file."""

    def __init__(self, sock: socket.socket, vnet: bool = False) -> None:
        self.sock = sock
        self._vnet = vnet
        self._pending = bytearray()
        self.last_vnet = b""        # of the last frame
        sock.setblocking(False)

    # -- out -------------------------------------------------------------

    def encode(self, frame: bytes, vnet: bytes = b"") -> bytes:
        """A frame as it is on the wire."""
        head = struct.pack(">I", len(vnet) + len(frame))
        if self._vnet:
            head += struct.pack(">I", len(vnet))
        return head + vnet + frame

    def send(self, *frames: bytes, vnet: bytes = b"") -> None:
        """Send frames, all with the same vnet header."""
        self.send_raw(b"".join(self.encode(f, vnet) for f in frames))

    def send_marker(self, epoch: int, kind: int = EPOCH) -> None:
        """Send a marker."""
        self.send_raw(struct.pack(">IIQ", MARKER, kind, epoch))

    def send_raw(self, data: bytes) -> None:
        """Send bytes; all of them have to be taken within the limit."""
        left = self.send_some(data, TIMEOUT_S)
        if left:
            raise TimeoutError(f"QEMU does not take {left} of {len(data)} "
                               "bytes")

    def send_some(self, data: bytes, limit_s: float) -> int:
        """Send what is taken in that time; how many bytes are left."""
        view = memoryview(data)
        end_s = time.monotonic() + limit_s
        while view and time.monotonic() < end_s:
            ready = select.select([], [self.sock], [], 0.05)[1]
            if ready:
                try:
                    view = view[self.sock.send(view[:1 << 20]):]
                except OSError as error:
                    raise WireClosed(str(error)) from error
        return len(view)

    # -- in --------------------------------------------------------------

    def _read(self, wait_s: float) -> bool:
        if not select.select([self.sock], [], [], max(wait_s, 0))[0]:
            return False
        try:
            data = self.sock.recv(1 << 20)
        except ConnectionError:
            data = b""
        if not data:
            raise WireClosed("QEMU closed the connection")
        self._pending += data
        return True

    def _next(self) -> Optional[Item]:
        if len(self._pending) < 4:
            return None
        word = struct.unpack_from(">I", self._pending)[0]
        if word == MARKER:
            if len(self._pending) < MARKER_BYTES:
                return None
            kind, epoch = struct.unpack_from(">IQ", self._pending, 4)
            del self._pending[:MARKER_BYTES]
            return Item(marker=Marker(kind, epoch))
        head = 8 if self._vnet else 4
        if len(self._pending) < head + word:
            return None
        vnet_bytes = 0
        if self._vnet:
            vnet_bytes = struct.unpack_from(">I", self._pending, 4)[0]
        body = bytes(self._pending[head:head + word])
        del self._pending[:head + word]
        return Item(frame=body[vnet_bytes:], vnet=body[:vnet_bytes])

    def item(self, limit_s: float = TIMEOUT_S) -> Item:
        """The next frame or marker."""
        end_s = time.monotonic() + limit_s
        while True:
            item = self._next()
            if item is not None:
                return item
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"no frame within {limit_s} s, "
                                   f"{len(self._pending)} bytes of one")
            self._read(left_s)

    def frame(self, limit_s: float = TIMEOUT_S) -> bytes:
        """The next frame; a marker is a failure."""
        item = self.item(limit_s)
        if item.marker is not None:
            raise AssertionError(f"a marker: {item.marker}")
        self.last_vnet = item.vnet
        return item.frame

    def frame_with_vnet(self) -> bytes:
        """The next frame behind its vnet header."""
        frame = self.frame()
        return self.last_vnet + frame

    def frames(self, count: int, limit_s: float = TIMEOUT_S) -> List[bytes]:
        """The next frames."""
        return [self.frame(limit_s) for _ in range(count)]

    def quiet(self, wait_s: float = QUIET_S) -> None:
        """Nothing comes for a while."""
        item = self._next()
        if item is None and self._read(wait_s):
            item = self._next() or Item(frame=bytes(self._pending))
        if item is not None:
            raise AssertionError(f"something came: {item}")

    def wait_closed(self, limit_s: float = TIMEOUT_S) -> None:
        """QEMU closes its end within the limit."""
        end_s = time.monotonic() + limit_s
        try:
            while time.monotonic() < end_s:
                self._read(end_s - time.monotonic())
        except WireClosed:
            return
        raise TimeoutError(f"still connected after {limit_s} s")

    def close(self) -> None:
        """Close our end."""
        self.sock.close()


class _Background:
    """Does something with each wire until it is told to stop, or until QEMU
    closes its end."""

    def __init__(self, *wires: Wire) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(wire,),
                                          daemon=True) for wire in wires]
        for thread in self._threads:
            thread.start()

    def _run(self, wire: Wire) -> None:
        try:
            while not self._stop.is_set():
                self.turn(wire)
        except WireClosed:
            pass

    def turn(self, wire: Wire) -> None:
        """A piece of it, of 50 ms at most."""
        raise NotImplementedError

    def stop(self) -> None:
        """From here on the wires are the caller's."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


class Drain(_Background):
    """Reads, so that QEMU never waits for us."""

    def turn(self, wire: Wire) -> None:
        try:
            wire.item(0.05)
        except TimeoutError:
            pass


class Flood(_Background):
    """Sends frames over and over; the last one may stay cut off."""

    def __init__(self, frames: List[bytes], *wires: Wire) -> None:
        self._frames = frames
        self._left: Dict[Wire, bytes] = {}
        super().__init__(*wires)

    def turn(self, wire: Wire) -> None:
        data = self._left.get(wire) or b"".join(map(wire.encode,
                                                    self._frames))
        left = wire.send_some(data, 0.05)
        self._left[wire] = data[len(data) - left:]
