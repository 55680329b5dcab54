# SPDX-License-Identifier: GPL-2.0-or-later
"""A secondary's disk under many requests at a time.

The guest and the peer write all the time, in pieces that touch each other and
lie across sectors; the peer overwrites what the guest reads and writes.  The
guest sees nothing of it, and at the end every byte is where it belongs.
"""

import random
import threading
import time
from typing import Callable, List

from colo import procs
from colo.case import Context, add, case, check
from disklab import MIB, DiskLab, Setup, small_directory
from nbdclient import NBDClient, error_of

PIECE_BYTES = 1000
PERIOD_S = 0.5
ROUNDS = 4
WRITERS_COUNT = 3
ROWS = {
    "raw": Setup(),
    "raw_spills": Setup(options={"buffer-limit": MIB}),
    "qcow2_iothread": Setup(kind="qcow2", iothread=True, empty=True),
    "raw_direct_iothread": Setup(direct=True, iothread=True),
}


class Hand(threading.Thread):
    """Does the same thing again and again, unless it is told to rest."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._may_go = threading.Event()
        self._rests = threading.Event()
        self._over = False
        self._failure: List[BaseException] = []
        self.count = 0
        self.start()

    def run(self) -> None:
        while not self._over:
            self._rests.set()
            self._may_go.wait()
            self._rests.clear()
            while self._may_go.is_set() and not self._failure:
                try:
                    self._work()
                    self.count += 1
                except BaseException as error:  # pylint: disable=W0718
                    self._failure.append(error)
                    self._may_go.clear()

    def go(self) -> None:
        """Begin, or go on."""
        self._may_go.set()

    def rest(self) -> None:
        """Stop; what was begun is done when this returns."""
        self._may_go.clear()
        check(self._rests.wait(20), "a request hangs")
        if self._failure:
            raise self._failure[0]

    def end(self) -> None:
        """For good."""
        self._over = True
        self._may_go.set()


class Mill:
    """All hands on one disk."""

    def __init__(self, context: Context, setup: Setup) -> None:
        self.lab = DiskLab(context, setup)
        self.half = self.lab.size // 2 // PIECE_BYTES
        self.pieces = self.lab.size // PIECE_BYTES
        self.guests = self._writers(context, "guest", self.half)
        self.peers = self._writers(context, "peer", self.pieces)
        client = self.lab.connect("guest")
        self.guests.append(self._hand(
            context, lambda: self._read(client, random.Random(9))))

    @staticmethod
    def _hand(context: Context, work: Callable[[], None]) -> Hand:
        made = Hand(work)
        context.at_end(made.end)
        return made

    def _writers(self, context: Context, who: str, limit: int) -> List[Hand]:
        hands = []
        for number in range(WRITERS_COUNT):
            arguments = (who, number, limit, self.lab.connect(who),
                         random.Random(f"{who}{number}"))
            hands.append(self._hand(
                context, lambda arguments=arguments: self._write(*arguments)))
        return hands

    def _write(self, who: str, number: int, limit: int, client: NBDClient,
               source: random.Random) -> None:
        """Some of the pieces that are this writer's."""
        piece = source.randrange(limit // WRITERS_COUNT) * WRITERS_COUNT
        offset = (piece + number) * PIECE_BYTES
        if source.random() < 0.15:
            data = bytes(PIECE_BYTES)
            client.zeroes(offset, PIECE_BYTES)
        else:
            data = source.randbytes(PIECE_BYTES)
            client.write(offset, data)
        model = self.lab.view if who == "guest" else self.lab.parent
        model[offset:offset + PIECE_BYTES] = data

    def _read(self, client: NBDClient, source: random.Random) -> None:
        """Where the guest does not write nothing ever changes."""
        first = self.half * PIECE_BYTES
        size = source.randrange(1, 300000)
        offset = source.randrange(first, self.lab.size - size)
        check(client.read(offset, size)
              == self.lab.view[offset:offset + size],
              f"the guest sees the peer's data at {offset}+{size}")

    @staticmethod
    def go(hands: List[Hand]) -> None:
        """Let them work."""
        for hand in hands:
            hand.go()

    @staticmethod
    def rest(hands: List[Hand]) -> None:
        """Wait until they are idle."""
        for hand in hands:
            hand.rest()


def traffic(context: Context, setup: Setup) -> None:
    """Checkpoints, one that fails, a takeover, under full load."""
    mill = Mill(context, setup)
    lab = mill.lab
    lab.advance("begin")
    for number in range(ROUNDS):
        mill.go(mill.guests + mill.peers)
        time.sleep(PERIOD_S)
        # As in a checkpoint: all are still, then the primary goes on first.
        mill.rest(mill.guests + mill.peers)
        lab.check()
        lab.advance("cut")
        mill.go(mill.peers)
        time.sleep(PERIOD_S / 4)
        lab.advance("roll-back" if number == 1 else "enter")
    mill.go(mill.guests)
    time.sleep(PERIOD_S)
    mill.rest(mill.peers)
    context.step(f"{lab.buffer()}")
    lab.advance("take-over")
    procs.wait_until(lab.is_merged, 30, "the merge under load", 0.05)
    mill.rest(mill.guests)
    lab.wait_merged()
    context.step(f"requests: {[hand.count for hand in mill.guests]} of the "
                 f"guest, {[hand.count for hand in mill.peers]} of the peer")
    lab.quit()
    lab.check_image()


@case(linux=False, reference=False)
def disk_breaks_under_traffic(context: Context) -> None:
    """The spill file is full while guest and peer write: all ends well."""
    lab = DiskLab(context, small_directory(context, "1m"), size=32 * MIB)
    lab.advance("begin")

    def storm(client: NBDClient, source: random.Random) -> None:
        offset = source.randrange(lab.size - MIB)
        error_of(lambda: client.write(
            offset, source.randbytes(source.randrange(1, MIB))))

    hands = []
    for number, who in enumerate(("guest", "peer", "guest", "peer")):
        arguments = (lab.connect(who), random.Random(number))
        hands.append(Hand(lambda arguments=arguments: storm(*arguments)))
        context.at_end(hands[-1].end)
    for _ in range(4):
        Mill.go(hands)
        procs.wait_until(lambda: lab.buffer()["stage"] == "broken", 10,
                         "the disk being broken", 0.01)
        time.sleep(0.2)
        lab.cmd("x-colo-disk-step", {"step": "cut"})
        lab.cmd("x-colo-disk-step", {"step": "roll-back"})
        Mill.rest(hands)
        lab.advance("end")
        lab.parent[:] = b"".join(lab.peer.read(offset, MIB) for offset
                                 in range(0, lab.size, MIB))
        lab.check()
        lab.step("begin")
    lab.step("end")
    lab.quit()


def _register() -> None:
    for name, setup in ROWS.items():
        def body(context: Context, setup: Setup = setup) -> None:
            traffic(context, setup)
        body.__doc__ = f"{traffic.__doc__}"
        add(f"disk_traffic_{name}", body, linux=False, reference=False)


_register()
