# SPDX-License-Identifier: GPL-2.0-or-later
"""What all workloads of the client have in common.

A workload is a thread that talks to one service of the guest and checks
every answer.  `step()` is one exchange.  An error, whatever the reason, ends
it.  The longest time in which no answer came is the *gap*.
"""

import socket
import threading
import time
from typing import Any, Dict, List

ANSWER_LIMIT_S = 60.0
RETRY_S = 0.2
ROUND_TRIPS_KEPT = 200_000


class Broken(Exception):
    """What the client saw is not what a healthy guest does."""


class Workload(threading.Thread):
    """Counts, keeps the time, ends; subclasses do the talking."""

    kind = "?"
    port = 0
    finite = False              # comes to an end by itself

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(name=label, daemon=True)
        self.address = address
        self.pause_s = pause_s
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.error = ""
        self.finished = False
        self.done_count = 0
        self.bytes_count = 0
        self.retries_count = 0
        self.gap_s = 0.0
        self.round_trips_us: List[float] = []
        self._last_s = time.monotonic()

    def step(self) -> int:
        """One exchange; the number of payload bytes."""
        raise NotImplementedError

    def going(self) -> bool:
        """Whether another step is wanted."""
        return not self.finished and not self.stopping.is_set()

    def run(self) -> None:
        self._last_s = time.monotonic()
        try:
            while self.going():
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
            self.done_count = self.bytes_count = self.retries_count = 0
            self.round_trips_us.clear()
            # A gap that is under way belongs to what comes after the mark,
            # from the mark on.
            self._last_s = time.monotonic()

    def report(self) -> Dict[str, Any]:
        """The figures since the last mark; an open gap counts as well."""
        with self.lock:
            over = bool(self.error) or self.finished
            open_s = 0.0 if over else time.monotonic() - self._last_s
            trips = sorted(self.round_trips_us)
            return {"error": self.error, "done": self.done_count,
                    "bytes": self.bytes_count,
                    "retries": self.retries_count,
                    "finite": self.finite, "finished": self.finished,
                    "gap-ms": round(max(self.gap_s, open_s) * 1000, 1),
                    "p50-us": round(percentile(trips, 0.50), 1),
                    "p99-us": round(percentile(trips, 0.99), 1)}

    def verify(self) -> str:
        """A last check after the load has ended; the problem or ''."""
        return self.error

    def halt(self) -> None:
        """End the load, keep the connection."""
        self.stopping.set()
        self.join(ANSWER_LIMIT_S)
        if self.is_alive() and not self.error:
            self.error = "no answer any more"


def open_stream(address: str, port: int) -> socket.socket:
    """A TCP connection as all workloads want it."""
    sock = socket.create_connection((address, port), ANSWER_LIMIT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def family_of(address: str) -> int:
    """The socket family of a numeric address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def percentile(ordered: List[float], share: float) -> float:
    """A percentile of an ordered list; 0 if it is empty."""
    if not ordered:
        return 0.0
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
