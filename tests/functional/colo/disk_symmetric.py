# SPDX-License-Identifier: GPL-2.0-or-later
"""The disk of a pair in the form that is the same on both sides.

Each side has one image, or with `shared` both have the same, and the same node
above it:

    parent0   the image
    disk0     driver=replication over it, under the guest's device

The secondary exports parent0; the primary attaches disk0 to that export, and
when both are in sync the pair may begin.  After a failure nothing is to be
done on the survivor.  Protected again, only what may differ is copied.  All
that is said to QEMU about it is in this file.
"""

import os
from typing import Any, Dict, List

from . import images, procs
from .disk import NoDisk, Options
from .qmp import QMPClient
from .tcpcut import Cut

FIRST_PORT = 9500           # of the first secondary's server
# A busy machine's disk loses nobody; less than the step limit.
PATIENT = {"link-limit": "4000"}
RELAY_BEHIND = 100          # a relayed server listens so much higher
SYNC_LIMIT_S = 120.0


class SymmetricDisk(NoDisk):
    """See the top of the file."""

    def __init__(self, run_dir: str, device: str, qemu_img: str,
                 options: Options) -> None:
        self._dir = run_dir
        self._device = device
        self._options = options
        # Where the images lie; the letters change places when the former
        # secondary gets a secondary of its own.
        self._place = {"primary": "a",
                       "secondary": "a" if options.shared else "b"}
        self._generation = 0
        self._relays: List[Cut] = []
        self.copied_bytes = 0       # by the last attachment, all disks
        for index in range(options.count):
            images.create(qemu_img, [self.path(place, index) for place in
                                     sorted(set(self._place.values()))],
                          options.format, options.size_mib,
                          options.filesystem)

    # -- names -----------------------------------------------------------

    def path(self, place: str, index: int) -> str:
        """The image of that disk at that place."""
        return os.path.join(self._dir,
                            f"{place}{index}.{self._options.format}")

    def image(self, side: str, index: int = 0) -> str:
        return self.path(self._place[side], index)

    def _peer(self, index: int) -> str:
        return f"peer{index}-{self._generation}"

    def _port(self) -> int:
        return FIRST_PORT + self._generation

    # -- command lines ---------------------------------------------------

    def _argv(self, side: str) -> List[str]:
        argv: List[str] = []
        for index in range(self._options.count):
            argv += ["-blockdev",
                     f"driver={self._options.format},node-name=parent{index},"
                     "discard=unmap,file.driver=file,file.discard=unmap,"
                     f"file.filename={self.image(side, index)}"
                     + self._sharing(side),
                     "-blockdev",
                     f"driver=replication,node-name=disk{index},"
                     f"file=parent{index},discard=unmap"
                     + self._state_file(side, index) + self._limits(),
                     "-device", f"{self._device},drive=disk{index}"]
        return argv

    def _state_file(self, side: str, index: int) -> str:
        """A raw image has no room for what a later resync must know."""
        if self._options.format != "raw":
            return ""
        return f",state-file={self.image(side, index)}.state"

    def _sharing(self, side: str) -> str:
        """Of an image that two hosts have open."""
        if not self._options.shared:
            return ""
        locking = "off" if side == "secondary" else "auto"
        return f",file.cache.direct=on,file.locking={locking}"

    def _limits(self) -> str:
        text = ",shared=on" if self._options.shared else ""
        text += "".join(f",{name}={value}" for name, value in
                        {**PATIENT, **self._options.extra}.items())
        if self._options.buffer_limit_mib:
            text += (f",buffer-limit={self._options.buffer_limit_mib}M,"
                     f"spill-dir={self._dir}")
        return text

    def primary_argv(self) -> List[str]:
        return self._argv("primary")

    def secondary_argv(self) -> List[str]:
        return self._argv("secondary")

    # -- before protection -----------------------------------------------

    def connect(self, primary: QMPClient, secondary: QMPClient) -> None:
        self._forget_peers(primary)
        self._generation += 1
        self.serve(secondary)
        self._relay()
        address = {"type": "inet", "host": "127.0.0.1",
                   "port": str(self._port())}
        for index in range(self._options.count):
            primary.cmd("blockdev-add", {
                "driver": "nbd", "node-name": self._peer(index),
                "server": address, "export": f"parent{index}"})
            primary.cmd("colo-disk-attach", {
                "node": f"disk{index}", "target": self._peer(index),
                "auto-dismiss": False,
                **self._how(secondary, index)})
        self._wait_in_sync(primary)

    def serve(self, secondary: QMPClient) -> None:
        """Export all disks of the secondary."""
        port = self._port()
        if self._options.relayed:
            port += RELAY_BEHIND
        secondary.cmd("nbd-server-start", {"addr": {
            "type": "inet", "data": {"host": "127.0.0.1",
                                     "port": str(port)}}})
        for index in range(self._options.count):
            secondary.cmd("block-export-add", {
                "type": "nbd", "id": f"export{index}",
                "node-name": f"parent{index}", "name": f"parent{index}",
                "writable": True})

    def _relay(self) -> None:
        if self._options.relayed:
            for relay in self._relays:
                relay.close()
            self._relays = [Cut(self._port(), self._port() + RELAY_BEHIND)]

    def relay(self) -> Cut:
        """The cable of the present attachment; needs `relayed`."""
        return self._relays[0]

    def _how(self, secondary: QMPClient, index: int) -> Dict[str, Any]:
        """What the first secondary needs; a side that returns needs little."""
        if self._options.shared:
            return {"sync": "none"}
        if self._generation == 1:
            return {"sync": self._options.sync}
        return {"sync": "incremental", "base": self.state(secondary, index)}

    @staticmethod
    def _forget_peers(primary: QMPClient) -> None:
        """QEMU has detached them by itself; the nodes are ours to remove."""
        for node in primary.cmd("query-named-block-nodes", {"flat": True}):
            if node["node-name"].startswith("peer"):
                primary.cmd("blockdev-del", {"node-name": node["node-name"]})

    # -- what QEMU says --------------------------------------------------

    @staticmethod
    def entry(monitor: QMPClient, index: int = 0) -> Dict[str, Any]:
        """What query-colo says about a disk."""
        for disk in monitor.cmd("query-colo")["disks"]:
            if disk["node"] == f"disk{index}":
                return dict(disk)
        raise RuntimeError(f"query-colo does not know disk{index}")

    @classmethod
    def state(cls, monitor: QMPClient, index: int = 0) -> str:
        """The text by which the other side knows what this image holds."""
        return str(cls.entry(monitor, index)["state"])

    def _wait_in_sync(self, primary: QMPClient) -> None:
        for index in range(self._options.count):
            procs.wait_until(lambda index=index: self._is_in_sync(
                primary, index), SYNC_LIMIT_S, f"disk{index} in sync", 0.05)
        self.copied_bytes = 0
        for job in primary.cmd("query-jobs"):
            if job["id"].startswith("disk"):
                self.copied_bytes += int(job["current-progress"])
                primary.cmd("job-dismiss", {"id": job["id"]})

    def _is_in_sync(self, primary: QMPClient, index: int) -> bool:
        for job in primary.cmd("query-jobs"):
            if job["id"] == f"disk{index}" and job.get("error"):
                raise RuntimeError(f"disk{index}: {job['error']}")
        forward = self.entry(primary, index).get("forward")
        return bool(forward and forward["in-sync"])

    def settle(self, monitor: QMPClient) -> None:
        for index in range(self._options.count):
            procs.wait_until(
                lambda index=index: self.entry(monitor, index).get(
                    "buffer", {}).get("merge-left", 0) == 0,
                SYNC_LIMIT_S, f"disk{index} merged", 0.1)

    # -- roles -----------------------------------------------------------

    def promote(self) -> None:
        """The former secondary is a primary that gets a secondary."""
        self._place = {"primary": self._place["secondary"],
                       "secondary": self._place["primary"]}

    def close(self) -> None:
        for relay in self._relays:
            relay.close()

