# SPDX-License-Identifier: GPL-2.0-or-later
"""What a management program may want to do with a disk that is in a pair."""

import dataclasses
import os
from typing import Any, Dict, List, Tuple

from colo import disk, procs
from colo.case import Context, check, check_equal
from colo.vm import VM

Request = Tuple[str, Dict[str, Any]]
# For nodes that QEMU refuses before anybody asks whether it is in a pair.
QEMUS_WORDS = ("root block node", "in use", "is no replication node",
               "does not support reopening", "Permission conflict",
               "already in use", "without a backing file")


@dataclasses.dataclass
class Actor:
    """Somebody with ideas, and disks to carry them out with."""

    context: Context
    machine: VM
    size: int

    def __post_init__(self) -> None:
        for name in ("other0", "other1"):
            path = self._path(f"{name}.qcow2")
            procs.run([disk.tool(self.context.binary, "qemu-img"), "create",
                       "-q", "-f", "qcow2", path, str(self.size)])
            self.machine.qmp.cmd("blockdev-add", {
                "driver": "qcow2", "node-name": name,
                "file": {"driver": "file", "filename": path}})

    def _path(self, name: str) -> str:
        return os.path.join(self.context.run_dir, name)

    def graph(self) -> Any:
        """Who uses whom, by name."""
        found = self.machine.qmp.cmd("x-debug-query-block-graph")
        names = {node["id"]: node["name"] for node in found["nodes"]}
        return sorted(str((names[edge["parent"]], names[edge["child"]],
                           edge["name"], edge["perm"]))
                      for edge in found["edges"])

    # -- ideas -----------------------------------------------------------

    def _sizes_and_layers(self, node: str) -> List[Request]:
        return [
            ("block_resize", {"node-name": node, "size": 2 * self.size}),
            ("blockdev-snapshot", {"node": node, "overlay": "other0"}),
            ("blockdev-snapshot-sync", {
                "node-name": node, "snapshot-file": self._path("above"),
                "snapshot-node-name": "above0"}),
            ("blockdev-snapshot-internal-sync", {"device": node,
                                                 "name": "moment"}),
            ("blockdev-snapshot-delete-internal-sync", {"device": node,
                                                        "name": "moment"}),
            ("change-backing-file", {
                "device": node, "image-node-name": node,
                "backing-file": "x"}),
            ("colo-disk-insert", {"node": node, "node-name": "insert0"}),
            ("colo-disk-remove", {"node": node}),
            ("blockdev-del", {"node-name": node}),
        ]

    def _jobs(self, node: str) -> List[Request]:
        copy: Dict[str, Any] = {"sync": "full", "job-id": "job0"}
        file = {"target": self._path("file"), "format": "raw", **copy}
        return [
            ("blockdev-mirror", {"device": node, "target": "other1",
                                 **copy}),
            ("blockdev-mirror", {"device": "other1", "target": node,
                                 **copy}),
            ("blockdev-backup", {"device": node, "target": "other1",
                                 **copy}),
            ("blockdev-backup", {"device": "other1", "target": node,
                                 **copy}),
            ("drive-mirror", {"device": node, **file}),
            ("drive-backup", {"device": node, **file}),
            ("block-stream", {"device": node, "job-id": "job0"}),
            ("block-commit", {"device": node, "job-id": "job0"}),
        ]

    # -- what becomes of them --------------------------------------------

    def expect_refusals(self, node: str, reason: str) -> None:
        """All is refused, in words that say why, and nothing changes."""
        before = self.graph()
        told = 0
        for command, arguments in (self._sizes_and_layers(node)
                                   + self._jobs(node)):
            error = self.machine.qmp.try_cmd(command, arguments)
            check(error, f"{command} of {node} was not refused")
            assert error is not None
            self.context.step(f"{command} {node}: {error.desc}")
            words = error.desc
            told += reason in words
            check(reason in words or any(text in words
                                         for text in QEMUS_WORDS), words)
        check(told >= 9, f"the reason was told {told} times only")
        check_equal(self.machine.qmp.cmd("query-jobs"), [], "jobs")
        check_equal(self.graph(), before, "the graph")

    def save(self, node: str, name: str) -> str:
        """Copy the node to a file; its path."""
        path = self._path(name)
        mark = self.machine.qmp.mark()
        self.machine.qmp.cmd("drive-backup", {
            "device": node, "target": path, "format": "raw",
            "sync": "full", "job-id": "save0"})
        done = self.machine.qmp.wait_event("BLOCK_JOB_COMPLETED", since=mark)
        check("error" not in done["data"], str(done))
        return path
