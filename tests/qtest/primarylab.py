# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU with a primary's disk, and the servers that hold its copy.

No guest runs and there is no session: NBD clients play the guest, one or more
at a time, and the Xen commands play the session.  Each server is a qemu-nbd
of its own, so it can be stopped, killed and started again.
"""

import dataclasses
import os
import random
import signal
import time
from typing import Any, Dict, List, Optional

import diskimage
from colo import disk, images, procs
from colo.case import Context, check, check_equal
from nbdclient import NBDClient, listens

MIB = 1 << 20
KIB = 1024
EIO = 5
LIMIT_MS = 1000              # where a peer is to be found silent
MARGIN_S = 3.0               # what a busy machine may add to it
PATIENT_MS = 20000           # elsewhere: a busy machine loses no peer
SYNC_LIMIT_S = 30.0
NODE = "disk0"
IMAGE_NODE = "image0"
FILE_NODE = "file0"
Options = Dict[str, Any]


class Server:
    """A qemu-nbd that exports one image."""

    def __init__(self, lab: "PrimaryLab", name: str, image: str) -> None:
        self.name = name
        self.socket = lab.path(f"{name}.nbd")
        self._image = image
        self._lab = lab
        self._process: Any = None
        lab.context.at_end(self.kill)
        self.start()

    def start(self) -> None:
        """As soon as it listens."""
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self._process = procs.spawn(
            [disk.tool(self._lab.context.binary, "qemu-nbd"), "-k",
             self.socket, "-x", self.name, "-t", "-e", "4",
             "--discard=unmap", "--image-opts", self._image])
        procs.wait_until(lambda: listens(self.socket), 10, "qemu-nbd", 0.02)

    def stop(self) -> None:
        """It says nothing any more, as behind a cut cable."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After stop()."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """At once."""
        procs.reap(self._process)


@dataclasses.dataclass
class Setup:
    """What the disk is made of."""

    size: int = 16 * MIB
    kind: str = "raw"                   # or qcow2, luks
    seed: int = 1
    iothread: bool = False
    image: str = ""                     # one that is there already
    # faults of the file: rules of blkdebug; "stalls": by debug()
    faults: List[Options] = dataclasses.field(default_factory=list)
    states: List[Options] = dataclasses.field(default_factory=list)
    stalls: bool = False
    limit_ms: int = PATIENT_MS          # link-limit
    options: Options = dataclasses.field(default_factory=dict)


class PrimaryLab:
    """See the top of the file."""

    def __init__(self, context: Context, setup: Optional[Setup] = None,
                 **changes: Any) -> None:
        self.context = context
        self.setup = dataclasses.replace(setup or Setup(), **changes)
        self.size = self.setup.size
        self.random = random.Random(self.setup.seed)
        self.image = (self.setup.image
                      or self.path(f"here.{self.setup.kind}"))
        self._starts = 0
        self._clients = 0
        if not self.setup.image:
            self._make_image(self.image)
        self.start()

    # -- making it -------------------------------------------------------

    def path(self, name: str) -> str:
        """A file of this case."""
        return os.path.join(self.context.run_dir, name)

    def tool(self, name: str, *words: str) -> str:
        """Run such a program."""
        return procs.run([self.tool_path(name), *words])

    def tool_path(self, name: str) -> str:
        """A program that lies beside QEMU."""
        return disk.tool(self.context.binary, name)

    def _make_image(self, path: str) -> None:
        """Every fourth MiB is a hole."""
        raw = self.path("content")
        with open(raw, "wb") as file:
            for at in self._data_offsets():
                file.seek(at)
                file.write(self.random.randbytes(MIB))
            file.truncate(self.size)
        diskimage.make(self.tool_path("qemu-img"), raw, path, self.setup.kind)

    def _data_offsets(self) -> List[int]:
        return [at for at in range(0, self.size, MIB) if at // MIB % 4 != 3]

    def data_bytes(self) -> int:
        """What the image holds before the guest writes to it."""
        if self.setup.kind == "luks":
            return self.size    # there a hole is not known as one
        return sum(min(MIB, self.size - at) for at in self._data_offsets())

    def start(self) -> None:
        """QEMU with the disk and its guest."""
        self.machine = self.context.machine(f"primary{self._starts}", [
            "-machine", "none", "-nodefaults", "-display", "none",
            "-object", "iothread,id=io0"]).start()
        self._starts += 1
        self.cmd = self.machine.qmp.cmd
        self.cmd("blockdev-add", {
            "driver": self.setup.kind, "node-name": IMAGE_NODE,
            "discard": "unmap", "file": self._add_file(),
            **diskimage.node_options(self.cmd, self.setup.kind)})
        self.add_disk()
        self._socket = self.path(f"guest{self._starts}.nbd")
        self.cmd("nbd-server-start", {
            "addr": {"type": "unix", "data": {"path": self._socket}}})
        options = {"iothread": "io0"} if self.setup.iothread else {}
        self.cmd("block-export-add", {
            "type": "nbd", "id": "guest", "node-name": NODE, "name": "guest",
            "writable": True, **options})
        self.guest = self.connect()

    def _add_file(self) -> str:
        """The node of the image, or of what lets it fail."""
        self.cmd("blockdev-add", {
            "driver": "file", "node-name": FILE_NODE, "filename": self.image,
            "discard": "unmap"})
        if self.setup.stalls:
            # By this way it has a name that debug() may use at any time.
            self.machine.qmp.hmp("drive_add 0 if=none,id=faults,node-name="
                                 f"fault0,driver=blkdebug,image={FILE_NODE}")
            return "fault0"
        if self.setup.faults:
            self.cmd("blockdev-add", {
                "node-name": "fault0", **diskimage.faulty(
                    FILE_NODE, self.setup.faults, self.setup.states)})
            return "fault0"
        return FILE_NODE

    def debug(self, command: str) -> None:
        """Have a request stall, or go on; needs `stalls`."""
        printed = self.machine.qmp.hmp(f'qemu-io faults "{command}"')
        check("rror" not in printed, printed)

    def add_disk(self, **options: Any) -> None:
        """The replication node."""
        self.cmd("blockdev-add", {
            "driver": "replication", "node-name": NODE, "file": IMAGE_NODE,
            "link-limit": self.setup.limit_ms, **self.setup.options, **options})

    def connect(self) -> NBDClient:
        """One more hand of the guest."""
        made = NBDClient(self._socket, "guest")
        self.context.at_end(made.close)
        check_equal(made.size, self.size, "size of the disk")
        return made

    def copy(self, name: str = "copy", kind: str = "raw",
             random_bytes: bool = True, size: int = 0) -> str:
        """An image for a server, full of something else."""
        path = self.path(f"{name}.{kind}")
        self.tool("qemu-img", "create", "-q", "-f", kind, path,
                  str(size or self.size))
        if random_bytes and kind == "raw":
            with open(path, "r+b") as file:
                file.write(self.random.randbytes(self.size // 2))
        return path

    def serve(self, name: str = "copy", **options: Any) -> Server:
        """A server for such an image."""
        path = self.copy(name, **options)
        return Server(self, name, "driver=raw,discard=unmap,cache.no-flush=on,"
                                  f"file.driver=file,file.filename={path}")

    def add_target(self, server: Any, **options: Any) -> str:
        """The node that writes to a Server, or to what has its name."""
        node = f"to-{server.name}"
        self.cmd("blockdev-add", {
            "driver": "nbd", "node-name": node, "discard": "unmap",
            "server": {"type": "unix", "path": server.socket},
            "export": server.name, **options})
        return node

    # -- what the user does ----------------------------------------------

    def attach(self, target: str, **options: Any) -> None:
        """colo-disk-attach."""
        self.cmd("colo-disk-attach", {"node": NODE, "target": target,
                                      **options})

    def protect(self, target: str, **options: Any) -> None:
        """Attach it, wait until it is in sync, begin."""
        self.attach(target, **options)
        self.wait_in_sync()
        self.begin()

    def detach(self) -> None:
        """colo-disk-detach."""
        self.cmd("colo-disk-detach", {"node": NODE})

    def refusal(self, command: str, **arguments: Any) -> str:
        """Why that cannot be done."""
        error = self.machine.qmp.try_cmd(
            command, {name.replace("_", "-"): value
                      for name, value in arguments.items()})
        check(error, f"{command} {arguments} was not refused")
        assert error is not None
        return error.desc

    def begin(self) -> None:
        """A pair begins and has its first checkpoint."""
        self.cmd("xen-set-replication", {"primary": True, "enable": True})
        self.cmd("xen-colo-do-checkpoint")

    def end(self) -> None:
        """It has ended, this side goes on."""
        self.cmd("xen-set-replication", {"primary": True, "enable": False,
                                         "failover": True})

    # -- looking ---------------------------------------------------------

    def info(self) -> Options:
        """What query-colo says about the disk."""
        found = [entry for entry in self.cmd("query-colo")["disks"]
                 if entry["node"] == NODE]
        check_equal(len(found), 1, "entries of the disk in query-colo")
        return dict(found[0])

    def forward(self) -> Options:
        """Its part about the copy."""
        return dict(self.info()["forward"])

    def jobs(self) -> List[Options]:
        """What is under way."""
        return list(self.cmd("query-block-jobs"))

    def wait_in_sync(self) -> None:
        """Until the copy is complete."""
        def arrived() -> bool:
            info = self.info()
            check("forward" in info, f"the copy failed: {info.get('error')}")
            return bool(info["forward"]["in-sync"])
        procs.wait_until(arrived, SYNC_LIMIT_S, "the copy", 0.02)

    def compare(self, name: str = "copy") -> None:
        """The image and its copy are equal; nobody writes now."""
        self.guest.flush()
        image = self.image
        if self.setup.kind == "luks":
            image = self.path("decrypted.raw")
            diskimage.read(self.tool_path("qemu-img"), self.image, "luks", image)
        images.compare(self.tool_path("qemu-img"), image, self.path(f"{name}.raw"))

    def quit(self) -> None:
        """End QEMU in good order."""
        self.cmd("quit")
        check_equal(self.machine.wait_exit(), 0, "exit code")

    # -- the guest -------------------------------------------------------

    def work(self, count: int, client: Optional[NBDClient] = None) -> None:
        """Operations nobody chose."""
        guest = client or self.guest
        for _ in range(count):
            size = self.random.randint(1, 200 * KIB)
            offset = self.random.randrange(self.size - size)
            kind = self.random.choice(("write", "write", "zeroes", "hole",
                                       "trim", "flush"))
            if kind == "write":
                guest.write(offset, self.random.randbytes(size))
            elif kind == "flush":
                guest.flush()
            elif kind == "trim":
                guest.trim(offset, size)
            else:
                guest.zeroes(offset, size, kind == "zeroes")

    def write(self, offset: int, size: int = 64 * KIB) -> None:
        """New bytes there."""
        self.guest.write(offset, self.random.randbytes(size))


def took_s(action: Any) -> float:
    """How long that took."""
    start_s = time.monotonic()
    action()
    return time.monotonic() - start_s
