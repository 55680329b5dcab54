# SPDX-License-Identifier: GPL-2.0-or-later
"""A secondary's disk: every operation in every stage.

Random writes, zeroes, discards, flushes and reads at any offset, by the guest
and by the peer; after each step both must see exactly what they should.
"""

from typing import Any

from colo.case import Context, add, check_equal
from disklab import MIB, DiskLab, Setup

COUNT = 40
ROWS = {
    "raw": Setup(),
    "raw_direct": Setup(direct=True),
    "raw_iothread": Setup(iothread=True, seed=2),
    "raw_empty": Setup(empty=True, seed=3),
    "raw_odd_size": Setup(size=5 * MIB + 512 * 3, seed=4),
    "raw_spills": Setup(seed=5, options={"buffer-limit": MIB}),
    "qcow2": Setup(kind="qcow2", seed=6),
    "qcow2_spills": Setup(kind="qcow2", seed=7, empty=True, iothread=True,
                          options={"buffer-limit": MIB}),
}


def all_stages(context: Context, setup: Setup) -> None:
    """Through the life of a pair, to a takeover and the end of QEMU."""
    lab = DiskLab(context, setup)
    lab.work(COUNT)
    for step in ("begin", "cut", "enter", "cut", "roll-back", "cut", "enter",
                 "check", "take-over"):
        lab.step(step)
        context.step(f"{step}: {lab.buffer()}")
        lab.work(COUNT)
    lab.wait_merged()
    lab.work(COUNT)
    lab.quit()
    lab.check_image()


def not_survivor(context: Context, setup: Setup) -> None:
    """The other side goes on: its data remains, and the graph as it was."""
    lab = DiskLab(context, setup)
    before = graph(lab)
    for _ in range(2):
        lab.steps("begin", "cut", "enter")
        lab.work(COUNT)
        lab.step("end")
        check_equal(graph(lab), before, "the graph after the end")
        lab.work(COUNT)
    lab.quit()
    lab.check_image()


def graph(lab: DiskLab) -> Any:
    """Who uses whom, by name."""
    found = lab.cmd("x-debug-query-block-graph")
    names = {node["id"]: node["name"] for node in found["nodes"]}
    return sorted((names[edge["parent"]], names[edge["child"]], edge["name"],
                   tuple(sorted(edge["perm"])),
                   tuple(sorted(edge["shared-perm"])))
                  for edge in found["edges"])


def _register() -> None:
    for name, setup in ROWS.items():
        for function, prefix in ((all_stages, "disk_stages_"),
                                 (not_survivor, "disk_ends_")):
            def body(context: Context, function: Any = function,
                     setup: Setup = setup) -> None:
                function(context, setup)
            body.__doc__ = function.__doc__
            add(prefix + name, body, linux=False, reference=False)


_register()
