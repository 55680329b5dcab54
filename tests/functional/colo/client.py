# SPDX-License-Identifier: GPL-2.0-or-later
"""The client that checks: is the guest still the same guest?

Runs as a process of its own in the client's namespace.  Each workload keeps
one TCP connection for its whole life and checks every answer:

    durable the same with `SETD`: acknowledged once on the disk.
    kv      `SET key value` -> `OK revision`.  Acknowledged writes are kept in
            a journal; revisions must rise; the final check reads all back.
    echo    a numbered line comes back as it was sent.
    source  endless bulk from the guest, content known by position.
    sink    bulk to the guest, which checks it and confirms each piece.

A connection that breaks is an error, whatever the reason.  The longest time
in which no answer came is the *gap*.  Commands come as lines on stdin (`mark`,
`report`, `verify`, `stop`, `control LINE` for the guest's control port), each answered by one line of JSON on stdout.
"""

import argparse
import json
import os
import socket
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

if __package__:
    from . import patterns
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import patterns  # type: ignore[no-redef]

PORT_ECHO = 7000
PORT_KV = 7001
PORT_CONTROL = 7002
PORT_SOURCE = 7003
PORT_SINK = 7004
ANSWER_LIMIT_S = 60.0
KEYS_COUNT = 64
ENDLESS_BYTES = 1 << 50
SINK_PIECE_BYTES = 1 << 20
ROUND_TRIPS_KEPT = 200_000


class Broken(Exception):
    """What the client saw is not what a healthy guest does."""


class Workload(threading.Thread):
    """One connection and its checks; subclasses do the talking."""

    name = "?"
    port = 0

    def __init__(self, address: str, pause_s: float) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.pause_s = pause_s
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.error = ""
        self.done_count = 0
        self.bytes_count = 0
        self.gap_s = 0.0
        self.round_trips_us: List[float] = []
        self._last_s = 0.0
        self.sock = self.connect()
        self.reader = self.sock.makefile("rb")

    def connect(self) -> socket.socket:
        """A connection to this workload's port."""
        sock = socket.create_connection((self.address, self.port),
                                        ANSWER_LIMIT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return sock

    def step(self) -> int:
        """One exchange; the number of payload bytes."""
        raise NotImplementedError

    def run(self) -> None:
        self._last_s = time.monotonic()
        try:
            while not self.stopping.is_set():
                start_s = time.monotonic()
                size = self.step()
                self.account(start_s, size)
                if self.pause_s:
                    time.sleep(self.pause_s)
        except (OSError, Broken, ValueError) as error:
            with self.lock:
                self.error = f"{type(error).__name__}: {error}"

    def account(self, start_s: float, size: int) -> None:
        """Count one finished exchange."""
        now_s = time.monotonic()
        with self.lock:
            self.gap_s = max(self.gap_s, now_s - self._last_s)
            self._last_s = now_s
            self.done_count += 1
            self.bytes_count += size
            if len(self.round_trips_us) < ROUND_TRIPS_KEPT:
                self.round_trips_us.append((now_s - start_s) * 1e6)

    def mark(self) -> None:
        """Start counting afresh."""
        with self.lock:
            self.gap_s = 0.0
            self.done_count = self.bytes_count = 0
            self.round_trips_us.clear()
            # A gap that is under way belongs to what comes after the mark,
            # from the mark on.
            self._last_s = time.monotonic()

    def report(self) -> Dict[str, Any]:
        """The figures since the last mark; an open gap counts as well."""
        with self.lock:
            open_s = 0.0 if self.error else time.monotonic() - self._last_s
            trips = sorted(self.round_trips_us)
            return {"error": self.error, "done": self.done_count,
                    "bytes": self.bytes_count,
                    "gap-ms": round(max(self.gap_s, open_s) * 1000, 1),
                    "p50-us": round(percentile(trips, 0.50), 1),
                    "p99-us": round(percentile(trips, 0.99), 1)}

    def verify(self) -> str:
        """A last check after the load has ended; the problem or ''."""
        return ""

    def halt(self) -> None:
        """End the load, keep the connection."""
        self.stopping.set()
        self.join(ANSWER_LIMIT_S)
        if self.is_alive() and not self.error:
            self.error = "no answer any more"

    def line(self) -> bytes:
        """The next line from the guest."""
        line = self.reader.readline()
        if not line:
            raise Broken("the guest closed the connection")
        return line.rstrip(b"\n")


class KeyValue(Workload):
    """Acknowledged writes must survive."""

    name = "kv"
    port = PORT_KV
    verb = "SET"

    def __init__(self, address: str, pause_s: float) -> None:
        self.journal: Dict[str, str] = {}
        self.revision = 0
        self._number = 0
        super().__init__(address, pause_s)

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

    name = "durable"
    verb = "SETD"


class Echo(Workload):
    """Every byte comes back."""

    name = "echo"
    port = PORT_ECHO

    def __init__(self, address: str, pause_s: float) -> None:
        self._number = 0
        super().__init__(address, pause_s)

    def step(self) -> int:
        self._number += 1
        line = b"echo %d %s" % (self._number, b"x" * (self._number % 200))
        self.sock.sendall(line + b"\n")
        answer = self.line()
        if answer != line:
            raise Broken(f"echo of number {self._number} is {answer[:60]!r}")
        return len(line)


class Source(Workload):
    """Bulk from the guest; each byte's value follows from its position."""

    name = "source"
    port = PORT_SOURCE

    def __init__(self, address: str, pause_s: float) -> None:
        self._position = 0
        super().__init__(address, 0.0)
        self.sock.sendall(b"GET %d %d\n" % (ENDLESS_BYTES, patterns.SEED))

    def step(self) -> int:
        data = self.sock.recv(1 << 18)
        if not data:
            raise Broken("the guest closed the bulk connection")
        bad = patterns.mismatch(data, self._position)
        if bad >= 0:
            raise Broken(f"bulk from the guest differs at byte "
                         f"{self._position + bad}")
        self._position += len(data)
        return len(data)


class Sink(Workload):
    """Bulk to the guest, which checks every byte and confirms each piece."""

    name = "sink"
    port = PORT_SINK

    def __init__(self, address: str, pause_s: float) -> None:
        self._piece = patterns.chunk(0, SINK_PIECE_BYTES)
        self._request = b"PUT %d %d" % (SINK_PIECE_BYTES, patterns.SEED)
        super().__init__(address, 0.0)

    def step(self) -> int:
        self.sock.sendall(self._request + b"\n")
        self.sock.sendall(self._piece)
        answer = self.line()
        if answer != self._request.replace(b"PUT", b"OK"):
            raise Broken(f"sink answered {answer[:60]!r}")
        return SINK_PIECE_BYTES


KINDS: Tuple[Callable[[str, float], Workload], ...] = (
    KeyValue, Durable, Echo, Source, Sink)


def percentile(ordered: List[float], share: float) -> float:
    """A percentile of an ordered list; 0 if it is empty."""
    if not ordered:
        return 0.0
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def wait_guest(address: str, limit_s: float) -> Optional[str]:
    """Wait until the guest's services answer; the reason if they do not."""
    limit = time.monotonic() + limit_s
    while True:
        try:
            socket.create_connection((address, PORT_ECHO), 1.0).close()
            return None
        except OSError as error:
            if time.monotonic() > limit:
                return f"guest at {address} does not answer: {error}"
        time.sleep(0.1)


def control(address: str, line: str) -> Dict[str, str]:
    """One command for the guest's control port; its answer."""
    try:
        with socket.create_connection((address, PORT_CONTROL),
                                      ANSWER_LIMIT_S) as sock:
            sock.sendall(line.encode() + b"\n")
            answer = sock.makefile("rb").readline().decode().strip()
            return {"answer": answer}
    except OSError as error:
        return {"answer": f"ERR {error}"}


def serve(address: str, works: List[Workload]) -> None:
    """Obey the commands on stdin until `stop` or its end."""
    for line in sys.stdin:
        command = line.strip()
        answer: Dict[str, Any] = {}
        if command.startswith("control "):
            print(json.dumps(control(address, command[8:])), flush=True)
            continue
        if command == "mark":
            for work in works:
                work.mark()
        elif command in ("verify", "stop"):
            for work in works:
                work.stopping.set()
            for work in works:
                work.halt()
        for work in works:
            answer[work.name] = work.report()
            if command == "verify":
                answer[work.name]["verdict"] = work.verify()
        print(json.dumps(answer), flush=True)
        if command == "stop":
            return


def main() -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("--work", default="kv,echo")
    parser.add_argument("--pause-ms", type=float, default=1.0)
    parser.add_argument("--wait-s", type=float, default=60.0)
    options = parser.parse_args()
    kinds = {kind.name: kind for kind in KINDS}  # type: ignore[attr-defined]
    problem = wait_guest(options.address, options.wait_s)
    works: List[Workload] = []
    try:
        if not problem:
            works = [kinds[name](options.address, options.pause_ms / 1000)
                     for name in options.work.split(",") if name]
    except OSError as error:
        problem = f"{options.address}: {error}"
    print(json.dumps({"problem": problem or ""}), flush=True)
    if problem:
        return 1
    for work in works:
        work.start()
    serve(options.address, works)
    return 0


if __name__ == "__main__":
    sys.exit(main())
