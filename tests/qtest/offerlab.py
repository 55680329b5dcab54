# SPDX-License-Identifier: GPL-2.0-or-later
"""A protected pair, and somebody between the two who speaks their protocol.

The guests do nothing; an NBD client on each side writes to the guest's disk in
its place.  The session goes through a relay that knows its frames.  It keeps
offers back and answers them itself, so it plays the secondary, and it makes
offers of its own, so it plays the primary.  Bytes that both sides agreed upon
this way are on neither side's disk but where the lab put them: that shows who
was sent data.

Nothing here knows how an offer is hashed.  The primary is made to offer the
same data, and the hash is taken from that.
"""

import dataclasses
import re
import socket
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import wireframe
from colo import bootsector, disk_symmetric, images, pair, procs, status
from colo.case import Context, check, check_equal
from colo.disk import Options, tool
from colo.disk_symmetric import SymmetricDisk
from colo.vm import VM, Spec
from nbdclient import NBDClient
from relay import Damage, Relay
from wireframe import Frame

KIB = 1024
MIB = 1 << 20
SIZE_MIB = 32
RELAY_PORT = 9990
ANSWER_LIMIT_S = 10.0
SOON_S = 0.3                # what has not happened by then does not happen
WAIT_MS = 5                 # the secondary's, for its guest
OWN_IDS = 1 << 40           # ids of offers that the lab makes
NEVER_MS = 100_000_000
ACCEPTED, DECLINED, WAITS = 0, 1, 2     # as the secondary traces them
DEVICE = "/machine/peripheral-anon/device[0]/virtio-backend"
HALT: bootsector.Program = [("", "fa f4")]      # cli; hlt


@dataclasses.dataclass
class Offer:
    """What the primary says of a write."""

    id: int
    disk: int
    offset: int
    bytes: int
    hash: bytes

    def encode(self) -> bytes:
        """The payload of its frame."""
        return wireframe.OFFER.pack(*dataclasses.astuple(self))


class Middle(Relay):
    """See the top of the file."""

    def __init__(self, listen_port: int, target_port: int) -> None:
        super().__init__(listen_port, target_port, Damage("", ""))
        self.keeps_offers = False
        self.offers: List[Offer] = []               # of the primary
        self.answers: Dict[int, bool] = {}          # of the secondary
        self.order: List[Tuple[str, int]] = []      # name, id or 0
        # Called before the first frame of that name is passed on.
        self.before: Dict[str, Callable[[], None]] = {}
        self._sending = threading.RLock()
        self._news = threading.Condition()
        self._sequences: Dict[socket.socket, int] = {}

    def _frame(self, frame: Frame, body: bytes, sink: socket.socket) -> None:
        with self._sending:
            self.before.pop(frame.name, lambda: None)()
            if self._note(frame, body):
                self._send(frame, body, sink)

    def _note(self, frame: Frame, body: bytes) -> bool:
        """Is it to be passed on?"""
        passes, number = True, 0
        with self._news:
            if frame.name == "OFFER":
                self.offers.append(Offer(*wireframe.OFFER.unpack(body)))
                passes = not self.keeps_offers
            elif frame.name == "ANSWER":
                number, accepted = wireframe.ANSWER.unpack(body)
                check(number not in self.answers, f"{number} answered twice")
                self.answers[number] = bool(accepted)
                passes = number < OWN_IDS
            self.order.append((frame.name, number))
            self._news.notify_all()
        return passes

    def _send(self, frame: Frame, body: bytes, sink: socket.socket) -> None:
        frame.sequence = self._sequences.get(sink, 0)
        self._sequences[sink] = frame.sequence + 1
        sink.sendall(frame.encode() + body)

    def say(self, side: str, message: str, body: bytes) -> None:
        """A frame of the lab's to `primary` or `secondary`."""
        frame = Frame(wireframe.VERSION, wireframe.TYPES.index(message), 0, 0,
                      0, len(body))
        with self._sending:
            self._send(frame, body, self._sockets[side == "secondary"])

    def answer(self, offer: Offer, accepted: bool) -> None:
        """In the secondary's place."""
        self.say("primary", "ANSWER",
                 wireframe.ANSWER.pack(offer.id, accepted))

    def begin_to_answer(self) -> None:
        """The header comes, and nothing behind it."""
        frame = Frame(wireframe.VERSION, wireframe.TYPES.index("ANSWER"), 0,
                      self._sequences[self._sockets[0]], 0,
                      wireframe.ANSWER.size)
        with self._sending:
            self._sockets[0].sendall(frame.encode())
            self.silence()

    def has_seen(self, message: str) -> bool:
        """Has either side said that?"""
        with self._news:
            return any(name == message for name, _ in self.order)

    def hang_up(self) -> None:
        """The cable is cut."""
        self._hang_up()

    # -- waiting ---------------------------------------------------------

    def _until(self, found: Callable[[], bool], what: str) -> None:
        with self._news:
            check(self._news.wait_for(found, ANSWER_LIMIT_S), f"no {what}")

    def wait_offer(self, count: int) -> Offer:
        """The `count`-th offer of the primary, from 1."""
        self._until(lambda: len(self.offers) >= count, f"offer {count}")
        return self.offers[count - 1]

    def wait_answer(self, number: int) -> bool:
        """Was that offer accepted?"""
        self._until(lambda: number in self.answers, f"answer to {number}")
        return self.answers[number]


@dataclasses.dataclass
class Setup:
    """What the disks are made of, and who is slow."""

    count: int = 1
    format: str = "raw"
    buffer_limit_mib: int = 0
    stalls: bool = False        # the secondary's image does as debug() says
    extra: Dict[str, str] = dataclasses.field(default_factory=dict)
    limits: Dict[str, Any] = dataclasses.field(default_factory=dict)


class LabPair(pair.Pair):
    """A pair whose primary migrates to the relay."""

    stalls = False

    def begin(self) -> None:
        self.configure()
        self.disk.connect(self.p.qmp, self.secondary().qmp)
        self.p.qmp.cmd("migrate", {"uri": f"tcp:127.0.0.1:{RELAY_PORT}"})

    def _add(self, name: str, argv: List[str],
             fds: Optional[List[int]] = None) -> VM:
        if name == "s" and self.stalls:
            argv = [word.replace(
                "file.driver=file,file.discard=unmap,file.filename=",
                "file.driver=blkdebug,file.image.driver=file,"
                "file.image.discard=unmap,file.image.filename=")
                    for word in argv]
        return super()._add(name, argv, fds)


class OfferLab:
    """See the top of the file."""

    size = SIZE_MIB * MIB

    def __init__(self, context: Context, **changes: Any) -> None:
        self.context = context
        self.setup = Setup(**changes)
        self.pair = self._make_pair()
        self.middle = Middle(RELAY_PORT, pair.MIGRATE_PORT)
        self._hashes: Dict[bytes, bytes] = {}
        self._next_id = OWN_IDS
        self.pair.start()
        self.pair.protect()
        self.p, self.s = self.pair.p, self.pair.secondary()
        port = disk_symmetric.FIRST_PORT + 1
        self._places: Dict[str, Union[str, int]] = {
            "p": f"{context.run_dir}/p.nbd", "s": port}
        self.p.qmp.cmd("nbd-server-start", {"addr": {
            "type": "unix", "data": {"path": self._places["p"]}}})
        self.p_guests = self._export_disks("p", self.p)
        self.s_guests = self._export_disks("s", self.s)
        self.peers = [self._connect(port, f"parent{index}")
                      for index in range(self.setup.count)]
        self.p_guest, self.s_guest, self.peer = (
            self.p_guests[0], self.s_guests[0], self.peers[0])

    # -- making it -------------------------------------------------------

    def _make_pair(self) -> LabPair:
        setup, run_dir = self.setup, self.context.run_dir
        config = pair.Config(
            spec=Spec(memory_mib=32, linux=False,
                      extra=bootsector.options(run_dir, HALT) + [
                          "-trace", "colo_disk_offer"]),
            network=False, delay_ms=NEVER_MS, limits=setup.limits,
            disk="symmetric", disk_device="virtio-blk-pci,share-rw=on",
            disk_options=Options(
                size_mib=SIZE_MIB, format=setup.format, count=setup.count,
                extra=setup.extra, buffer_limit_mib=setup.buffer_limit_mib))
        made = LabPair(self.context.binary, run_dir, self.context.log_dir,
                       None, config)
        made.stalls = setup.stalls
        self.context.at_end(made.close)
        return made

    def _export_disks(self, side: str, machine: VM) -> List[NBDClient]:
        """The guest's hands."""
        for index in range(self.setup.count):
            machine.qmp.cmd("block-export-add", {
                "type": "nbd", "id": f"guest{index}", "writable": True,
                "node-name": f"disk{index}", "name": f"guest{index}"})
        return [self.hand(side, index) for index in range(self.setup.count)]

    def _connect(self, where: Union[str, int], export: str) -> NBDClient:
        made = NBDClient(where, export)
        self.context.at_end(made.close)
        return made

    def hand(self, side: str, index: int = 0) -> NBDClient:
        """One more of the guest on that side, `p` or `s`."""
        return self._connect(self._places[side], f"guest{index}")

    def debug(self, command: str) -> None:
        """Have a request to the secondary's image stall, or go on."""
        printed = self.s.qmp.hmp(f'qemu-io -d {DEVICE} "{command}"')
        check("rror" not in printed, printed)

    # -- the protocol ----------------------------------------------------

    def learn(self, data: bytes, place: int = 0) -> Offer:
        """An offer of these bytes, as the primary makes it.

        The primary believes that the secondary has them there.
        """
        self.middle.keeps_offers = True
        count = len(self.middle.offers)
        self.p_guest.send_write(place, data)
        offer = self.middle.wait_offer(count + 1)
        self.middle.answer(offer, True)
        check_equal(self.p_guest.finish(), 0, "the guest's write")
        return offer

    def offer_of(self, data: bytes, offset: int, **changes: int) -> Offer:
        """An offer by the lab."""
        if data not in self._hashes:
            learned = self.learn(data)
            self._hashes[data] = learned.hash
            self.disk_number = learned.disk
        self._next_id += 1
        made = Offer(self._next_id, self.disk_number, offset, len(data),
                     self._hashes[data])
        return dataclasses.replace(made, **changes)

    def make(self, offer: Offer) -> None:
        """Make it to the secondary, and wait for nothing."""
        self.middle.say("secondary", "OFFER", offer.encode())

    def is_accepted(self, offer: Offer) -> bool:
        """What the secondary says to it."""
        self.make(offer)
        return self.middle.wait_answer(offer.id)

    def looks(self, offer: Offer) -> List[int]:
        """What the secondary has found out about it, in order."""
        with open(self.s.log_path("log"), encoding="utf-8") as log:
            return [int(text) for text in re.findall(
                rf"offer {offer.id}, .*: (\d+)$", log.read(), re.M)]

    def checkpoint(self) -> None:
        """Take one; nobody writes meanwhile."""
        self.p.qmp.cmd("colo-checkpoint")

    # -- looking ---------------------------------------------------------

    def buffer(self, index: int = 0) -> Dict[str, Any]:
        """The secondary's part of query-colo about the disk."""
        return dict(SymmetricDisk.entry(self.s.qmp, index)["buffer"])

    def forward(self, index: int = 0) -> Dict[str, Any]:
        """The primary's."""
        return dict(SymmetricDisk.entry(self.p.qmp, index)["forward"])

    def wait_own(self, size: int) -> None:
        """Until the secondary holds that many bytes of its guest."""
        procs.wait_until(lambda: self.buffer()["own"] == size, 5,
                         f"{size} bytes of the guest's own", 0.01)

    def expect(self, who: str, client: NBDClient, offset: int,
               data: Union[bytes, bytearray]) -> None:
        """These bytes are there."""
        found = client.read(offset, len(data))
        if found != data:
            at = next(i for i, byte in enumerate(found) if byte != data[i])
            raise AssertionError(f"{who}: byte {offset + at} is {found[at]}, "
                                 f"not {data[at]}")

    def expect_all(self, who: str, client: NBDClient,
                   data: bytearray) -> None:
        """The whole disk is this."""
        for offset in range(0, self.size, 2 * MIB):
            self.expect(who, client, offset, data[offset:offset + 2 * MIB])

    def expect_calm(self) -> None:
        """Nothing has happened to the pair."""
        check(status.is_protected(self.p, self.s, True),
              f"{status.describe(self.p)}, {status.describe(self.s)}")
        check(not self.middle.errors, f"relay: {self.middle.errors}")

    def wait_lost(self, machine: VM) -> Dict[str, Any]:
        """Until that side has noticed; what it says then."""
        procs.wait_until(
            lambda: status.query(machine)["state"] in ("lost", "alone"),
            ANSWER_LIMIT_S, f"{machine.name} noticing", 0.02)
        return status.query(machine)

    def take_over(self) -> None:
        """The primary dies, the secondary goes on and is merged."""
        self.p.kill()
        self.wait_lost(self.s)
        self.s.qmp.cmd("x-colo-lost-heartbeat")
        procs.wait_until(lambda: self.s.runstate() == "running", 5,
                         "the secondary going on")
        self.pair.disk.settle(self.s.qmp)

    def compare(self) -> None:
        """Both sides' images are equal."""
        for index in range(self.setup.count):
            self.p_guests[index].flush()
            images.compare(tool(self.context.binary, "qemu-img"),
                           self.pair.disk.image("primary", index),
                           self.pair.disk.image("secondary", index))


def soon(action: Callable[[], bool]) -> bool:
    """Does it happen within a while?"""
    limit = time.monotonic() + SOON_S
    while time.monotonic() < limit:
        if action():
            return True
        time.sleep(0.02)
    return False

