# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU with a secondary's disk, and what its guest and its peer must see.

No guest runs and there is no primary: two NBD clients play them, one on the
replication node, one on the disk below, where the primary's writes arrive.
x-colo-disk-step plays the session.  The lab keeps what each of them must find,
byte for byte: `view` and `parent`.
"""

import dataclasses
import os
import random
import shlex
from typing import Any, Dict, List, Optional

import diskimage
from colo import disk, procs
from colo.case import Context, check, check_equal
from nbdclient import NBDClient, error_of, listens

MIB = 1 << 20
EIO, EINVAL, ENOSPC = 5, 22, 28
FILE_NODE = "file0"
IMAGE_NODE = "parent0"
DISK_NODE = "disk0"
MERGE_LIMIT_S = 30.0
OPERATIONS = ("write", "write", "write", "zeroes", "plain zeroes", "trim",
              "flush", "read")
Options = Dict[str, Any]


@dataclasses.dataclass
class Setup:
    """What the disk is made of."""

    size: int = 8 * MIB
    kind: str = "raw"                   # or qcow2, luks
    seed: int = 1
    empty: bool = False                 # the image, else full of data
    direct: bool = False                # O_DIRECT
    iothread: bool = False
    remote: bool = False                # the image is at an NBD server
    # faults of the file: rules of blkdebug; "stalls": by debug()
    faults: List[Options] = dataclasses.field(default_factory=list)
    states: List[Options] = dataclasses.field(default_factory=list)
    stalls: bool = False
    slow: bool = False                  # a few requests in a second
    name: str = "disk"                  # of the image, and of QEMU
    wrapper: List[str] = dataclasses.field(default_factory=list)
    options: Options = dataclasses.field(default_factory=dict)


def small_directory(context: Context, size: str, name: str = "small") -> Setup:
    """A disk that spills to a file system of that size, and soon."""
    path = os.path.join(context.run_dir, name)
    os.mkdir(path)
    mount = f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(path)}"
    return Setup(wrapper=["unshare", "--mount", "sh", "-c",
                          f'{mount} && exec "$@"', "-"],
                 options={"buffer-limit": MIB, "spill-dir": path})


class DiskLab:
    """See the top of the file."""

    def __init__(self, context: Context, setup: Optional[Setup] = None,
                 **changes: Any) -> None:
        self.context = context
        self.setup = dataclasses.replace(setup or Setup(), **changes)
        self.size = self.setup.size
        self.random = random.Random(self.setup.seed)
        self.stage = "off"
        self.parent = self._make_image()
        self.view = self.parent
        self._at_cut = bytearray()
        self._socket = self._in_run_dir(f"{self.setup.name}.nbd")
        self.machine = self._make_machine()
        self.cmd = self.machine.qmp.cmd
        self._add_nodes()
        self.serve()
        self.export("peer", IMAGE_NODE)
        self.export("guest", DISK_NODE)
        self.peer = self.connect("peer")
        self.guest = self.connect("guest")

    # -- making it -------------------------------------------------------

    @property
    def path(self) -> str:
        """The image."""
        return self._in_run_dir(f"{self.setup.name}.{self.setup.kind}")

    def _in_run_dir(self, name: str) -> str:
        return os.path.join(self.context.run_dir, name)

    def _make_image(self) -> bytearray:
        raw = self._in_run_dir("content")
        data = bytearray(self.size)
        if not self.setup.empty:
            # Every fourth MiB of the image is a hole.
            for start in range(0, self.size, 4 * MIB):
                end = min(start + 3 * MIB, self.size)
                data[start:end] = self.random.randbytes(end - start)
        with open(raw, "wb") as file:
            file.write(data)
        diskimage.make(self._qemu_img(), raw, self.path, self.setup.kind)
        return data

    def _qemu_img(self) -> str:
        return disk.tool(self.context.binary, "qemu-img")

    def _make_machine(self) -> Any:
        machine = self.context.machine(self.setup.name, [
            "-machine", "none", "-nodefaults", "-display", "none",
            "-object", "iothread,id=io0"])
        if self.setup.wrapper:
            machine.wrap(*self.setup.wrapper)
        return machine.start()

    def _protocol(self) -> Options:
        """How the image is reached."""
        if not self.setup.remote:
            return {"driver": "file", "filename": self.path}
        path = self._in_run_dir(f"{self.setup.name}.remote")
        server = procs.spawn([
            disk.tool(self.context.binary, "qemu-nbd"), "-k", path, "-t",
            "-f", "raw", "--discard=unmap", self.path])
        self.context.at_end(lambda: procs.reap(server))
        procs.wait_until(lambda: listens(path), 10, "qemu-nbd", 0.02)
        return {"driver": "nbd", "server": {"type": "unix", "path": path}}

    def _add_nodes(self) -> None:
        self.cmd("blockdev-add", {
            **self._protocol(), "node-name": FILE_NODE,
            "discard": "unmap", "cache": {"direct": self.setup.direct}})
        below = FILE_NODE
        if self.setup.faults:
            below = "fault0"
            self.cmd("blockdev-add", {
                "node-name": below, **diskimage.faulty(
                    FILE_NODE, self.setup.faults, self.setup.states)})
        elif self.setup.stalls:
            # By this way it has a name that debug() may use at any time.
            below = "fault0"
            self.machine.qmp.hmp(f"drive_add 0 if=none,id=faults,node-name="
                                 f"{below},driver=blkdebug,image={FILE_NODE}")
        elif self.setup.slow:
            below = "slow0"
            self.cmd("object-add", {
                "qom-type": "throttle-group", "id": "few",
                "limits": {"iops-total": 4}})
            self.cmd("blockdev-add", {
                "driver": "throttle", "node-name": below,
                "throttle-group": "few", "file": FILE_NODE})
        self.cmd("blockdev-add", {
            "driver": self.setup.kind, "node-name": IMAGE_NODE,
            "file": below, "discard": "unmap",
            **diskimage.node_options(self.cmd, self.setup.kind)})
        self.add_disk()

    def debug(self, command: str) -> None:
        """Have a request stall, or go on; needs `stalls`."""
        printed = self.machine.qmp.hmp(f'qemu-io faults "{command}"')
        check("rror" not in printed, printed)

    def add_disk(self) -> None:
        """The replication node."""
        self.cmd("blockdev-add", {
            "driver": "replication", "node-name": DISK_NODE,
            "file": IMAGE_NODE, "discard": "unmap", **self.setup.options})

    def remove_disk(self) -> None:
        """Take the guest away, and the replication node with it."""
        mark = self.machine.qmp.mark()
        self.cmd("block-export-del", {"id": "guest", "mode": "hard"})
        self.machine.qmp.wait_event("BLOCK_EXPORT_DELETED", since=mark)
        self.cmd("blockdev-del", {"node-name": DISK_NODE})

    def serve(self) -> None:
        """Start the NBD server."""
        self.cmd("nbd-server-start", {"addr": {
            "type": "unix", "data": {"path": self._socket}}})

    def export(self, name: str, node: str) -> None:
        """Export that node."""
        options = {"iothread": "io0"} if self.setup.iothread else {}
        self.cmd("block-export-add", {
            "type": "nbd", "id": name, "node-name": node, "name": name,
            "writable": True, **options})

    def connect(self, name: str, **options: Any) -> NBDClient:
        """A client of that export."""
        made = NBDClient(self._socket, name, **options)
        self.context.at_end(made.close)
        check_equal(made.size, self.size, f"size of export {name}")
        return made

    # -- steps -----------------------------------------------------------

    def step(self, step: str) -> None:
        """Take it, and see that both sides see what they must."""
        self.advance(step)
        self.check()

    def advance(self, step: str) -> None:
        """Take it, while requests may be under way."""
        self.cmd("x-colo-disk-step", {"step": step})
        if step == "begin":
            self.view = bytearray(self.parent)
        elif step == "cut":
            self._at_cut = bytearray(self.parent)
        elif step == "enter":
            self.view = self._at_cut
        elif step == "take-over":
            self.parent = self.view
        elif step == "end":
            self.view = self.parent
        self.stage = {"begin": "running", "enter": "running", "cut": "cut",
                      "roll-back": "running", "take-over": "merging",
                      "end": "off", "check": self.stage}[step]

    def steps(self, *names: str) -> None:
        """One after the other."""
        for name in names:
            self.step(name)

    def info(self) -> Options:
        """What query-colo says about the disk."""
        found = [entry for entry in self.cmd("query-colo")["disks"]
                 if entry["node"] == DISK_NODE]
        check_equal(len(found), 1, "entries of the disk in query-colo")
        return dict(found[0])

    def buffer(self) -> Options:
        """Its part about the buffer; an empty one when there is none."""
        return dict(self.info().get("buffer") or {
            "stage": "off", "own": 0, "undo": 0, "memory": 0, "spilled": 0,
            "memory-peak": 0, "merge-left": 0})

    def is_merged(self) -> bool:
        """Nothing is left to be merged after a takeover."""
        return self.buffer()["stage"] in ("off", "alone")

    def wait_merged(self) -> None:
        """Until then; the disk holds what its guest sees."""
        procs.wait_until(self.is_merged, MERGE_LIMIT_S, "the merge", 0.02)
        self.stage = "alone"
        self.check()

    def finish_merge(self) -> None:
        """Wait for it, end QEMU, and look into the image."""
        self.wait_merged()
        self.quit()
        self.check_image()

    # -- looking ---------------------------------------------------------

    def check(self) -> None:
        """Guest and peer see what they must."""
        self.check_guest()
        if self.stage != "merging":
            self._compare("peer", self.peer, self.parent)

    def check_guest(self) -> None:
        """The guest sees what it must."""
        self._compare("guest", self.guest, self.view)

    def _compare(self, who: str, client: NBDClient,
                 expected: bytearray) -> None:
        for offset in range(0, self.size, 2 * MIB):
            size = min(2 * MIB, self.size - offset)
            found = client.read(offset, size)
            if found != expected[offset:offset + size]:
                at = next(i for i in range(size)
                          if found[i] != expected[offset + i])
                raise AssertionError(
                    f"{who}, {self.stage}: byte {offset + at} is "
                    f"{found[at]}, not {expected[offset + at]}")

    def check_image(self) -> None:
        """QEMU has ended: the image holds what the guest saw."""
        copy = self._in_run_dir("copy")
        diskimage.read(self._qemu_img(), self.path, self.setup.kind, copy)
        with open(copy, "rb") as file:
            check(file.read() == self.view, "the image is not what the guest "
                                            "saw last")

    def quit(self) -> None:
        """End QEMU in good order."""
        self.cmd("quit")
        check_equal(self.machine.wait_exit(), 0, "exit code")

    # -- requests --------------------------------------------------------

    def write(self, who: str, offset: int, data: bytes,
              fua: bool = False) -> None:
        """By guest or peer."""
        getattr(self, who).write(offset, data, fua)
        self._written(who, offset, data)

    def _written(self, who: str, offset: int, data: bytes) -> None:
        self._model(who)[offset:offset + len(data)] = data
        if (who == "peer" and self.stage != "off"
                and self.setup.options.get("shared")):
            # A primary that shares the image asks first, then writes itself.
            with open(self.path, "r+b", buffering=0) as file:
                os.pwrite(file.fileno(), data, offset)

    def _model(self, who: str) -> bytearray:
        return self.view if who == "guest" else self.parent

    def _range(self) -> List[int]:
        limit = self.random.choice((3000, 70000, 700000))
        size = self.random.randint(1, limit)
        offset = self.random.randrange(self.size - size)
        if self.random.random() < 0.5:
            offset, size = offset & ~4095, max(size & ~4095, 4096)
        return [offset, min(size, self.size - offset)]

    def operate(self, who: str) -> None:
        """One operation that nobody chose."""
        operation = self.random.choice(OPERATIONS)
        client: NBDClient = getattr(self, who)
        offset, size = self._range()
        if operation == "write":
            self.write(who, offset, self.random.randbytes(size),
                       self.random.random() < 0.1)
        elif operation == "flush":
            client.flush()
        elif operation == "read":
            check(client.read(offset, size)
                  == self._model(who)[offset:offset + size]
                  or (who, self.stage) == ("peer", "merging"),
                  f"{who}, {self.stage}: {offset}+{size} differs")
        elif operation == "trim":
            client.trim(offset, size)
            self._adopt(who, offset, size)
        else:
            client.zeroes(offset, size, operation == "plain zeroes")
            self._written(who, offset, bytes(size))

    def _adopt(self, who: str, offset: int, size: int) -> None:
        """What was discarded is as it was, or zero."""
        found = getattr(self, who).read(offset, size)
        model = self._model(who)
        for at in range(0, size, 512):
            part = found[at:at + 512]
            before = model[offset + at:offset + at + len(part)]
            if part != before and part != bytes(len(part)):
                check(all(byte in (0, before[i])
                          for i, byte in enumerate(part)),
                      f"{who}: new bytes at {offset + at} after a discard")
        model[offset:offset + size] = found

    def may(self, who: str) -> bool:
        """Is it this one's turn to write, in this stage?"""
        return self.stage not in (("cut",) if who == "guest"
                                  else ("merging", "alone"))

    def work(self, count: int) -> None:
        """Some operations by each that may; the others are refused."""
        for _ in range(count):
            for who in ("guest", "peer"):
                if self.may(who):
                    self.operate(who)
                else:
                    self.expect_refusal(who)
        self.check()

    def expect_refusal(self, who: str) -> None:
        """A request that changes the disk is refused and does nothing."""
        client: NBDClient = getattr(self, who)
        offset, size = self._range()
        number = error_of(self.random.choice((
            lambda: client.write(offset, bytes(size)),
            lambda: client.zeroes(offset, size),
            lambda: client.trim(offset, size))))
        check(number in (EIO, EINVAL), f"{who}, {self.stage}: error {number}")
