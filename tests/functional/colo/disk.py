# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk of a pair: none, read-only, or replicated as documented.

The newer form of replication, the same on both sides, is disk_symmetric.py.

Replicated: the primary's disk is a quorum whose second child, added when the
pair is protected, sends each write to the secondary over NBD; the secondary
sees parent + hidden + active images.  Both start from equal content.
"""

import dataclasses
import os
import re
from typing import Dict, List

from . import images, procs
from .qmp import QMPClient

NBD_PORT = 9999
SIZE_MIB = 64
TOP_ID = "colo-disk0"
MERGE_LIMIT_S = 60.0
DEFAULT_DEVICE = "virtio-blk-pci"


@dataclasses.dataclass
class Options:
    """What the disk is like, for the kinds that are written to."""

    size_mib: int = SIZE_MIB
    filesystem: bool = False    # ext4 on the whole of it
    # Of the symmetric form only:
    format: str = "raw"         # or qcow2
    count: int = 1              # disks
    sync: str = "none"          # at first: both images are equal; or full
    buffer_limit_mib: int = 0   # 0: QEMU's default
    relayed: bool = False       # a relay before the secondary's server
    shared: bool = False        # both sides have one image
    extra: Dict[str, str] = dataclasses.field(default_factory=dict)


class NoDisk:
    """A guest without disk; the interface of all kinds of disk."""

    can_reprotect = True

    def primary_argv(self) -> List[str]:
        """Options of the primary."""
        return []

    def secondary_argv(self) -> List[str]:
        """Options of the secondary."""
        return []

    def connect(self, primary: QMPClient, secondary: QMPClient) -> None:
        """Commands before `migrate`."""

    def settle(self, monitor: QMPClient) -> None:
        """Wait until the survivor's image holds all that its guest sees."""

    def image(self, side: str, index: int = 0) -> str:
        """The image of that side, primary or secondary, for colo.images."""
        raise NotImplementedError

    def promote(self) -> None:
        """The survivor, a former secondary, gets a secondary of its own."""

    def close(self) -> None:
        """All QEMUs have ended."""

    def primary_failover(self, monitor: QMPClient) -> None:
        """Commands on a primary that lost its secondary."""

    def secondary_failover(self, monitor: QMPClient) -> None:
        """Commands on a secondary that lost its primary."""


class ReadonlyDisk(NoDisk):
    """One image that both sides read and nobody writes."""

    def __init__(self, run_dir: str, device: str) -> None:
        self._path = os.path.join(run_dir, "disk.raw")
        self._device = device
        with open(self._path, "wb") as file:
            file.write(b"shared disk\n".ljust(512, b"\0"))
            file.truncate(SIZE_MIB << 20)

    def primary_argv(self) -> List[str]:
        return ["-blockdev", f"driver=file,node-name=disk0,read-only=on,"
                             f"filename={self._path}",
                "-device", f"{self._device},drive=disk0"]

    def secondary_argv(self) -> List[str]:
        return self.primary_argv()


class ReplicatedDisk(NoDisk):
    """quorum and driver=replication; see the top of the file."""

    can_reprotect = False       # needs a copy of the disk first

    def __init__(self, run_dir: str, device: str, qemu_img: str,
                 options: Options) -> None:
        self._dir = run_dir
        self._device = device
        self._child = "replication0"
        for names, filesystem in ((("primary", "secondary"),
                                   options.filesystem),
                                  (("active", "hidden"), False)):
            images.create(qemu_img, [self.path(name) for name in names],
                          "qcow2", options.size_mib, filesystem)

    def path(self, name: str) -> str:
        """The image of that role."""
        return os.path.join(self._dir, f"{name}.qcow2")

    def settle(self, monitor: QMPClient) -> None:
        # After a failover, a job brings the active image into the parent.
        procs.wait_until(lambda: not monitor.cmd("query-block-jobs"),
                         MERGE_LIMIT_S, "the images being one", 0.1)

    def image(self, side: str, index: int = 0) -> str:
        return self.path(side)

    def primary_argv(self) -> List[str]:
        return ["-drive", f"if=none,id={TOP_ID},driver=quorum,"
                          "read-pattern=fifo,vote-threshold=1,"
                          f"children.0.file.filename={self.path('primary')},"
                          "children.0.driver=qcow2",
                "-device", f"{self._device},drive={TOP_ID}"]

    def secondary_argv(self) -> List[str]:
        return ["-drive", f"if=none,id=parent0,driver=qcow2,"
                          f"file.filename={self.path('secondary')}",
                "-drive", "if=none,id=childs0,driver=replication,"
                          "mode=secondary,file.driver=qcow2,"
                          f"top-id={TOP_ID},"
                          f"file.file.filename={self.path('active')},"
                          "file.backing.driver=qcow2,"
                          "file.backing.file.filename="
                          f"{self.path('hidden')},"
                          "file.backing.backing=parent0",
                "-drive", f"if=none,id={TOP_ID},driver=quorum,"
                          "read-pattern=fifo,vote-threshold=1,"
                          "children.0=childs0",
                "-device", f"{self._device},drive={TOP_ID}"]

    def connect(self, primary: QMPClient, secondary: QMPClient) -> None:
        address = {"type": "inet", "data": {"host": "127.0.0.1",
                                            "port": str(NBD_PORT)}}
        secondary.cmd("nbd-server-start", {"addr": address})
        secondary.cmd("nbd-server-add", {"device": "parent0",
                                         "writable": True})
        printed = primary.hmp(
            f"drive_add -n buddy driver=replication,mode=primary,"
            f"file.driver=nbd,file.host=127.0.0.1,file.port={NBD_PORT},"
            f"file.export=parent0,node-name={self._child}")
        if "rror" in printed:
            raise RuntimeError(f"drive_add: {printed.strip()}")
        primary.cmd("x-blockdev-change", {"parent": TOP_ID,
                                          "node": self._child})

    def primary_failover(self, monitor: QMPClient) -> None:
        nodes = monitor.hmp("info block")
        if not re.search(TOP_ID, nodes):
            raise RuntimeError(f"the disk {TOP_ID} is gone:\n{nodes}")
        monitor.cmd("x-blockdev-change", {"parent": TOP_ID,
                                          "child": "children.1"})
        monitor.hmp(f"drive_del {self._child}")

    def secondary_failover(self, monitor: QMPClient) -> None:
        monitor.cmd("nbd-server-stop")


def tool(binary: str, name: str) -> str:
    """A program that lies beside the emulator."""
    path = os.path.join(os.path.dirname(binary), name)
    return path if os.path.exists(path) else name
