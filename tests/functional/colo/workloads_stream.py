# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads on one TCP connection that lives as long as they do."""

import os
import socket
from typing import Any, Dict

from . import patterns
from .workload import Broken, Workload, open_stream

KEYS_COUNT = 64
ENDLESS_BYTES = 1 << 50
FIXED_BYTES = 96_000_000        # no whole number of blocks
SINK_PIECE_BYTES = 1 << 20
FIXED_PIECE_BYTES = 1 << 18


class Stream(Workload):
    """A connection, made at once, and lines on it."""

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        self.sock = self.connect()
        self.reader = self.sock.makefile("rb")

    def connect(self) -> socket.socket:
        """A connection to this workload's port."""
        return open_stream(self.address, self.port)

    def line(self) -> bytes:
        """The next line from the guest."""
        line = self.reader.readline()
        if not line:
            raise Broken("the guest closed the connection")
        return line.rstrip(b"\n")


class KeyValue(Stream):
    """Acknowledged writes must survive."""

    kind = "kv"
    port = 7001
    verb = "SET"

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        self.journal: Dict[str, str] = {}
        self.revision = 0
        self._number = 0

    def step(self) -> int:
        self._number += 1
        key = f"{self.name}{os.getpid()}-{self._number % KEYS_COUNT}"
        value = f"value{self._number}"
        self.sock.sendall(f"{self.verb} {key} {value}\n".encode())
        answer = self.line().decode()
        word, _, number = answer.partition(" ")
        if word != "OK":
            raise Broken(f"SET answered '{answer}'")
        if int(number) <= self.revision:
            raise Broken(f"revision went back from {self.revision} to "
                         f"{number}: an acknowledged write was undone")
        self.revision = int(number)
        self.journal[key] = value
        return len(value)

    def verify(self) -> str:
        if self.error:
            return self.error
        with self.connect() as fresh:
            reader = fresh.makefile("rb")
            for key, value in self.journal.items():
                fresh.sendall(f"GET {key}\n".encode())
                answer = reader.readline().decode().split()
                if value not in answer:
                    return f"{key}: acknowledged {value}, found {answer}"
        return ""

    def report(self) -> Dict[str, Any]:
        return {**super().report(), "revision": self.revision}


class Durable(KeyValue):
    """Writes that the guest acknowledges once they are on its disk."""

    kind = "durable"
    verb = "SETD"


class Echo(Stream):
    """Every byte comes back."""

    kind = "echo"
    port = 7000

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        self._number = 0

    def step(self) -> int:
        self._number += 1
        line = b"echo %d %s" % (self._number, b"x" * (self._number % 200))
        self.sock.sendall(line + b"\n")
        answer = self.line()
        if answer != line:
            raise Broken(f"echo of number {self._number} is {answer[:60]!r}")
        return len(line)


class Source(Stream):
    """Bulk from the guest; each byte's value follows from its position."""

    kind = "source"
    port = 7003
    size = ENDLESS_BYTES

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, 0.0)
        self.position = 0
        self.sock.sendall(b"GET %d %d\n" % (self.size, patterns.SEED))

    def step(self) -> int:
        data = self.sock.recv(1 << 18)
        if not data:
            raise Broken("the guest closed the bulk connection")
        bad = patterns.mismatch(data, self.position)
        if bad >= 0:
            raise Broken(f"bulk from the guest differs at byte "
                         f"{self.position + bad}")
        self.position += len(data)
        return len(data)


class Sink(Stream):
    """Bulk to the guest, which checks every byte and confirms each piece."""

    kind = "sink"
    port = 7004

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, 0.0)
        self._piece = patterns.chunk(0, SINK_PIECE_BYTES)
        self._request = b"PUT %d %d" % (SINK_PIECE_BYTES, patterns.SEED)

    def step(self) -> int:
        self.sock.sendall(self._request + b"\n")
        self.sock.sendall(self._piece)
        answer = self.line()
        if answer != self._request.replace(b"PUT", b"OK"):
            raise Broken(f"sink answered {answer[:60]!r}")
        return SINK_PIECE_BYTES


class FixedSource(Source):
    """Exactly 96 MB from the guest, and not a byte more."""

    kind = "fixed"
    finite = True
    size = FIXED_BYTES

    def going(self) -> bool:
        return not self.finished    # only the whole is checked

    def step(self) -> int:
        size = super().step()
        if self.position < self.size:
            return size
        # The next answer on the connection begins right behind the stream.
        self.sock.sendall(b"GET 9 %d\n" % patterns.SEED)
        tail = self.reader.read(9)
        if self.position > self.size or tail != patterns.chunk(0, 9):
            raise Broken(f"{self.position} bytes instead of {self.size}, "
                         f"then {tail!r}")
        self.finished = True
        return size


class FixedSink(Stream):
    """Exactly 96 MB to the guest, which confirms the whole at the end."""

    kind = "fixedup"
    finite = True
    port = 7004

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, 0.0)
        self._position = 0
        self._request = b"PUT %d %d" % (FIXED_BYTES, patterns.SEED)
        self.sock.sendall(self._request + b"\n")

    def going(self) -> bool:
        return not self.finished

    def step(self) -> int:
        size = min(FIXED_PIECE_BYTES, FIXED_BYTES - self._position)
        self.sock.sendall(patterns.chunk(self._position, size))
        self._position += size
        if self._position == FIXED_BYTES:
            answer = self.line()
            if answer != self._request.replace(b"PUT", b"OK"):
                raise Broken(f"sink answered {answer[:60]!r}")
            self.finished = True
        return size


KINDS = (KeyValue, Durable, Echo, Source, Sink, FixedSource, FixedSink)
