# SPDX-License-Identifier: GPL-2.0-or-later
"""A small NBD client: one request at a time, every byte its caller's.

Unlike the clients of QEMU it writes at any offset in any size, sends what it
is told although the server is unwell, and can stop in the middle of a request.
Protocol: the NBD project's doc/proto.md; structured replies are always used.
"""

import socket
import struct
from typing import Callable, List, Optional, Tuple, Union

OPTION_MAGIC = 0x49484156454F5054
OPTION_REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
CHUNK_MAGIC = 0x668E33EF
OPT_GO, OPT_STRUCTURED, OPT_SET_META = 7, 8, 10
REPLY_ACK, REPLY_META = 1, 4
READ, WRITE, FLUSH, TRIM, ZEROES, STATUS = 0, 1, 3, 4, 6, 7
# In pieces, QEMU answers a read that fails by hanging up.
FLAG_FUA, FLAG_NO_HOLE, FLAG_IN_ONE = 1, 2, 4
CHUNK_DONE = 1
CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_ERROR = 1, 2, 5, 1 << 15
STATE_HOLE, STATE_ZERO = 1, 2
CONTEXT = b"base:allocation"
NAMES = {READ: "read", WRITE: "write", FLUSH: "flush", TRIM: "trim",
         ZEROES: "zeroes", STATUS: "status"}


class NBDError(Exception):
    """The server answered with an error number."""

    def __init__(self, command: int, offset: int, size: int,
                 number: int) -> None:
        self.number = number
        super().__init__(f"{NAMES[command]} {offset}+{size}: error {number}")


def listens(path: str) -> bool:
    """A server is there; its socket's file may be before it listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


class NBDClient:
    """A connection to one export: over a unix socket, or to a TCP port."""

    def __init__(self, where: Union[str, int], export: str,
                 timeout_s: float = 20.0,
                 pause: Callable[[], object] = lambda: None) -> None:
        """`pause` is called before the last byte of the handshake."""
        if isinstance(where, int):
            self._socket = socket.create_connection(("127.0.0.1", where))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect(where)
        self._socket.settimeout(timeout_s)
        self._handle = 0
        self.size = 0
        self._greet(export.encode(), pause)

    def close(self) -> None:
        """Without a word, as a host that has died."""
        self._socket.close()

    # -- bytes -----------------------------------------------------------

    def _take(self, size: int) -> bytes:
        parts = []
        while size > 0:
            part = self._socket.recv(min(size, 1 << 20))
            if not part:
                raise ConnectionError("the NBD server closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    # -- handshake -------------------------------------------------------

    def _greet(self, export: bytes, pause: Callable[[], object]) -> None:
        self._take(18)
        self._socket.sendall(struct.pack(">I", 3))
        self._option(OPT_STRUCTURED, b"")
        name = struct.pack(">I", len(export)) + export
        self._option(OPT_SET_META, name + struct.pack(
            ">II", 1, len(CONTEXT)) + CONTEXT)
        for reply in self._option(OPT_GO, name + struct.pack(">H", 0), pause):
            if reply[:2] == b"\0\0":
                self.size = struct.unpack(">Q", reply[2:10])[0]

    def _option(self, option: int, data: bytes,
                pause: Callable[[], object] = lambda: None) -> List[bytes]:
        self._socket.sendall(struct.pack(">QII", OPTION_MAGIC, option,
                                         len(data)) + data[:-1])
        pause()
        self._socket.sendall(data[-1:])
        replies = []
        while True:
            magic, echo, kind, size = struct.unpack(">QIII", self._take(20))
            assert (magic, echo) == (OPTION_REPLY_MAGIC, option)
            payload = self._take(size)
            if kind == REPLY_ACK:
                return replies
            if kind & 1 << 31:
                raise ConnectionError(f"option {option} refused: {payload!r}")
            replies.append(payload)

    # -- requests --------------------------------------------------------

    def _header(self, command: int, offset: int, size: int,
                flags: int) -> bytes:
        self._handle += 1
        return struct.pack(">IHHQQI", REQUEST_MAGIC, flags, command,
                           self._handle, offset, size)

    def _request(self, command: int, offset: int, size: int, flags: int = 0,
                 data: bytes = b"") -> List[Tuple[int, bytes]]:
        self._socket.sendall(self._header(command, offset, size, flags) + data)
        number, chunks = self._reply()
        if number:
            raise NBDError(command, offset, size, number)
        return chunks

    def _reply(self) -> Tuple[int, List[Tuple[int, bytes]]]:
        number = 0
        chunks: List[Tuple[int, bytes]] = []
        while True:
            magic, = struct.unpack(">I", self._take(4))
            if magic == SIMPLE_REPLY_MAGIC:
                number, handle = struct.unpack(">IQ", self._take(12))
                assert handle == self._handle
                return number, chunks
            assert magic == CHUNK_MAGIC, hex(magic)
            flags, kind, handle, size = struct.unpack(">HHQI", self._take(16))
            assert handle == self._handle
            payload = self._take(size)
            if kind & CHUNK_ERROR:
                number = struct.unpack(">I", payload[:4])[0]
            else:
                chunks.append((kind, payload))
            if flags & CHUNK_DONE:
                return number, chunks

    def read(self, offset: int, size: int) -> bytes:
        """These bytes."""
        return self._joined(self._request(READ, offset, size, FLAG_IN_ONE),
                            offset, size)

    @staticmethod
    def _joined(chunks: List[Tuple[int, bytes]], offset: int,
                size: int) -> bytes:
        data = bytearray(size)
        for kind, payload in chunks:
            if kind == CHUNK_DATA:
                at = struct.unpack(">Q", payload[:8])[0] - offset
                data[at:at + len(payload) - 8] = payload[8:]
        return bytes(data)

    def write(self, offset: int, data: bytes, fua: bool = False) -> None:
        """Write these bytes."""
        self._request(WRITE, offset, len(data), FLAG_FUA if fua else 0, data)

    def zeroes(self, offset: int, size: int, no_hole: bool = False) -> None:
        """Write zeroes; the server may punch a hole."""
        self._request(ZEROES, offset, size, FLAG_NO_HOLE if no_hole else 0)

    def trim(self, offset: int, size: int) -> None:
        """These bytes are not needed any more."""
        self._request(TRIM, offset, size)

    def flush(self) -> None:
        """What was written is to be durable."""
        self._request(FLUSH, 0, 0)

    def status(self, offset: int, size: int) -> List[Tuple[int, int]]:
        """Runs of (size, STATE_ bits) that cover all of it."""
        runs: List[Tuple[int, int]] = []
        covered = 0
        while covered < size:
            chunks = self._request(STATUS, offset + covered, size - covered)
            for _kind, payload in chunks:
                for run, state in struct.iter_unpack(">II", payload[4:]):
                    runs.append((min(run, size - covered), state))
                    covered += run
        return runs

    # -- misbehaviour, and requests in the air ---------------------------

    def send(self, data: bytes) -> None:
        """Just that."""
        self._socket.sendall(data)

    def send_write(self, offset: int, data: bytes,
                   sent: Optional[int] = None) -> bytes:
        """Send a write, or the first `sent` bytes of it, and return the rest;
        see finish()."""
        message = self._header(WRITE, offset, len(data), 0) + data
        self.send(message[:sent])
        return b"" if sent is None else message[sent:]

    def send_flush(self) -> None:
        """Ask for a flush; see finish()."""
        self.send(self._header(FLUSH, 0, 0, 0))

    def finish(self) -> int:
        """Wait for the answer to a write or flush; its error number or 0."""
        return self._reply()[0]

    def send_read(self, offset: int, size: int) -> None:
        """Ask for these bytes; see finish_read()."""
        self._socket.sendall(self._header(READ, offset, size, FLAG_IN_ONE))

    def finish_read(self, offset: int, size: int) -> bytes:
        """Wait for the answer to send_read()."""
        number, chunks = self._reply()
        if number:
            raise NBDError(READ, offset, size, number)
        return self._joined(chunks, offset, size)

    def is_answered(self, timeout_s: float) -> bool:
        """Has the server said something?"""
        before = self._socket.gettimeout()
        self._socket.settimeout(timeout_s)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except socket.timeout:
            return False
        finally:
            self._socket.settimeout(before)


def error_of(request: Callable[[], object]) -> int:
    """The error number of a request, 0 if it succeeds."""
    try:
        request()
    except NBDError as error:
        return error.number
    return 0
