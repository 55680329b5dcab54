# SPDX-License-Identifier: GPL-2.0-or-later
"""Loads on the guest's disks, each with an exact notion of what must be there.

A workload has several *lanes*: connections with a thread of the guest behind
each, so that writes of different lanes meet on the disk.  A lane counts from
1; number n is acknowledged once it is on the disk.  `name:vdb` works on that
disk instead of vda, `name:vda:x` on files and rows of its own, so that a load
can come after another one on the same disk.
"""

import select
import socket
from typing import Any, Dict, List

from .workload import ANSWER_LIMIT_S, Broken, Workload, open_stream

PORT = 7007
DEVICE = "vda"


class Lane:
    """One connection to the guest's volume service."""

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self.acknowledged = 0
        self.waiting = False
        self.sock = open_stream(address, PORT)
        self._data = b""

    def fileno(self) -> int:
        """For select()."""
        return self.sock.fileno()

    def send(self, line: str) -> None:
        """Send a command; its answer is taken later."""
        self.sock.sendall(line.encode() + b"\n")
        self.waiting = True

    def receive(self) -> str:
        """The answer to what was sent."""
        while b"\n" not in self._data:
            more = self.sock.recv(4096)
            if not more:
                raise Broken(f"{self.name}: the guest closed the connection")
            self._data += more
        line, self._data = self._data.split(b"\n", 1)
        self.waiting = False
        return line.decode()

    def ask(self, line: str) -> str:
        """A command that must not fail; its answer."""
        self.send(line)
        answer = self.receive()
        if not answer.startswith("OK"):
            raise Broken(f"'{line}' answered '{answer}'")
        return answer

    def close(self) -> None:
        """The guest then closes its files."""
        self.sock.close()


class Lanes(Workload):
    """Keeps a request under way in each lane."""

    lanes_count = 2

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        _, device, tag = (label + "::").split(":")[:3]
        self.device = device or DEVICE
        self.lanes: List[Lane] = []
        for number in range(self.lanes_count):
            lane = Lane(address, f"{self.kind}{tag}-{number}")
            self.lanes.append(lane)
            self.open(lane)

    def open(self, lane: Lane) -> None:
        """What comes before the first request."""
        lane.ask(f"MOUNT {self.device}")

    def request(self, lane: Lane, number: int) -> str:
        """The command that makes `number` durable."""
        raise NotImplementedError

    def check(self, lane: Lane) -> str:
        """The command that looks for all of a lane, up to its last number."""
        raise NotImplementedError

    def step(self) -> int:
        for lane in self.lanes:
            if not lane.waiting:
                lane.send(self.request(lane, lane.acknowledged + 1))
        ready = select.select(self.lanes, [], [], ANSWER_LIMIT_S)[0]
        if not ready:
            raise Broken(f"no answer within {ANSWER_LIMIT_S:.0f} s")
        for lane in ready:
            self.acknowledge(lane)
        return len(ready)

    def acknowledge(self, lane: Lane) -> None:
        """Take the answer to the request that is under way."""
        answer = lane.receive()
        wanted = lane.acknowledged + 1
        if answer != f"OK {wanted}":
            raise Broken(f"{lane.name} number {wanted}: '{answer}'")
        with self.lock:
            lane.acknowledged = wanted

    def run(self) -> None:
        super().run()
        try:
            for lane in self.lanes:
                if lane.waiting and not self.error:
                    self.acknowledge(lane)
        except (OSError, Broken) as error:
            with self.lock:
                self.error = f"{type(error).__name__}: {error}"

    def verify(self) -> str:
        """Each number of each lane is on the disk; then the lanes close."""
        if self.error:
            return self.error
        try:
            for lane in self.lanes:
                if lane.acknowledged:
                    lane.ask(self.check(lane))
        except (OSError, Broken) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            for lane in self.lanes:
                lane.close()
        return ""

    def report(self) -> Dict[str, Any]:
        with self.lock:
            last = {lane.name: lane.acknowledged for lane in self.lanes}
        return {**super().report(), "device": self.device, "last": last}


class Records(Lanes):
    """Checksummed records, appended and overwritten, with fsync."""

    kind = "records"
    lanes_count = 4

    def request(self, lane: Lane, number: int) -> str:
        return f"RECORD {self.device} {lane.name} {number}"

    def check(self, lane: Lane) -> str:
        return f"RECORDS {self.device} {lane.name} {lane.acknowledged}"


class Database(Lanes):
    """Transactions of an SQLite database, with a rollback journal."""

    kind = "database"
    journal = "delete"

    def open(self, lane: Lane) -> None:
        super().open(lane)
        lane.ask(f"DATABASE {self.device} {self.journal}")

    def request(self, lane: Lane, number: int) -> str:
        return f"COMMIT {lane.name} {number}"

    def check(self, lane: Lane) -> str:
        return f"AUDIT {lane.name} {lane.acknowledged}"


class DatabaseWal(Database):
    """The same with a write-ahead log."""

    kind = "databasewal"
    journal = "wal"


class DatabaseAlone(Database):
    """With a rollback journal, and nothing behind its newest transaction."""

    kind = "databasealone"
    lanes_count = 1


class Blocks(Lanes):
    """4 KiB writes anywhere on a bare disk, each durable, in batches."""

    kind = "blocks"
    lanes_count = 1
    words = "random"
    batch_count = 64
    block_bytes = 4096

    def open(self, lane: Lane) -> None:
        """The disk has no file system."""

    def request(self, lane: Lane, number: int) -> str:
        return f"WRITE {self.device} {self.words} {number} {self.batch_count}"

    def acknowledge(self, lane: Lane) -> None:
        answer = lane.receive()
        if answer != f"OK {self.batch_count}":
            raise Broken(f"{self.kind}: '{answer}'")
        with self.lock:
            lane.acknowledged += 1

    def step(self) -> int:
        return super().step() * self.batch_count * self.block_bytes

    def check(self, lane: Lane) -> str:
        """The last batch; earlier ones it may have overwritten."""
        return (f"READ {self.device} {self.words} {lane.acknowledged} "
                f"{self.batch_count}")


class BigBlocks(Blocks):
    """1 MiB writes through a bare disk, each batch durable at its end."""

    kind = "bigblocks"
    words = "sequential"
    batch_count = 16
    block_bytes = 1 << 20


def command(address: str, line: str) -> str:
    """One command for the volume service; its answer."""
    with socket.create_connection((address, PORT), ANSWER_LIMIT_S) as sock:
        sock.sendall(line.encode() + b"\n")
        return sock.makefile("rb").readline().decode().strip()


KINDS = (Records, Database, DatabaseWal, DatabaseAlone, Blocks, BigBlocks)
