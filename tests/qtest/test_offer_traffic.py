# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes that are offered: both guests write all the time.

They do mostly the same, some of it not, and now one is ahead, now the other.
At each checkpoint both disks are equal, and before it each guest sees its own
writes only.
"""

import concurrent.futures
import random
from typing import Any, Dict, List, NamedTuple

from colo.case import Context, add, check, check_equal
from nbdclient import NBDClient
from offerlab import KIB, MIB, SIZE_MIB, OfferLab

LANES_COUNT = 4             # hands of each guest on each disk
LANE_BYTES = SIZE_MIB * MIB // LANES_COUNT
STEPS_COUNT = 24            # of each between two checkpoints
ROUNDS = 4
DIFFERENT = 0.1             # of what the guests write
SIZES = (512, 4 * KIB, 64 * KIB, 64 * KIB, 200_000, 256 * KIB, MIB, MIB)
ROWS: Dict[str, Dict[str, Any]] = {
    "raw": {},
    "qcow2": {"format": "qcow2"},
    "spills": {"buffer_limit_mib": 4},
    "two_disks": {"count": 2},
}


class Step(NamedTuple):
    """One request of a hand."""

    kind: str
    offset: int
    data: bytes


def begin(client: NBDClient, step: Step) -> None:
    """Ask for it; finish() takes the answer of a write or flush."""
    if step.kind == "write":
        client.send_write(step.offset, step.data)
    elif step.kind == "flush":
        client.send_flush()
    elif step.kind == "fua":
        client.write(step.offset, step.data, True)
    else:
        client.zeroes(step.offset, len(step.data), step.offset % 1024 == 0)


def finish(client: NBDClient, model: bytearray, step: Step) -> None:
    """Wait for it, and note it."""
    if step.kind in ("write", "flush"):
        check_equal(client.finish(), 0, f"{step.kind} at {step.offset}")
    model[step.offset:step.offset + len(step.data)] = step.data


def plan(dice: random.Random, lane: int) -> List[Step]:
    """What a hand does in a round; later steps meet earlier ones."""
    steps = []
    first = dice.randrange(2) * LANE_BYTES // 2
    for _ in range(STEPS_COUNT):
        size = dice.choice(SIZES)
        offset = first + dice.randrange((LANE_BYTES // 2 - size) // 512) * 512
        kind = dice.choice(("write",) * 12 + ("fua", "zeroes", "flush"))
        if kind == "flush":
            size = 0
        data = bytes(size) if kind == "zeroes" else dice.randbytes(size)
        steps.append(Step(kind, lane * LANE_BYTES + offset, data))
    return steps


def diverge(dice: random.Random, step: Step) -> Step:
    """What the other guest does in place of it."""
    if dice.random() > DIFFERENT or not step.data:
        return step
    kind = dice.choice(("other", "last byte", "left out", "beside"))
    if kind == "left out":
        return Step("flush", step.offset, b"")
    if kind == "last byte":
        return step._replace(data=step.data[:-1] + b"!", kind="write")
    if kind == "beside":
        return step._replace(data=step.data[512:], kind="write",
                             offset=step.offset + 512)
    return step._replace(data=dice.randbytes(len(step.data)), kind="write")


class Traffic:
    """All hands on all disks."""

    def __init__(self, lab: OfferLab) -> None:
        self.lab = lab
        disks = range(lab.setup.count)
        self._hands = {side: [[lab.hand(side, index)
                               for _ in range(LANES_COUNT)]
                              for index in disks] for side in "ps"}
        self.models = {side: [bytearray(lab.size) for _ in disks]
                       for side in "ps"}

    def work(self, seed: int) -> None:
        """One round."""
        with concurrent.futures.ThreadPoolExecutor(
                LANES_COUNT * self.lab.setup.count) as pool:
            runs = []
            for index in range(self.lab.setup.count):
                for lane in range(LANES_COUNT):
                    # The disks hold much that is equal.
                    dice = random.Random(f"{seed} {lane}")
                    steps = plan(dice, lane)
                    others = [diverge(dice, step) for step in steps]
                    runs.append(pool.submit(self._run, index, lane, steps,
                                            others))
            for run in runs:
                run.result()

    def _run(self, index: int, lane: int, steps: List[Step],
             others: List[Step]) -> None:
        hands = {side: self._hands[side][index][lane] for side in "ps"}
        for number, pair in enumerate(zip(steps, others)):
            # Now one is a little ahead, now the other.
            sides = list(zip("ps", pair))[::-1 if number % 4 else 1]
            for side, step in sides:
                begin(hands[side], step)
            for side, step in sides:
                finish(hands[side], self.models[side][index], step)

    def look(self, sides: str = "ps") -> None:
        """Each guest sees what it wrote."""
        for side in sides:
            for index, model in enumerate(self.models[side]):
                self.lab.expect_all(f"{side}, disk{index}",
                                    self._hands[side][index][0], model)


def traffic(context: Context, changes: Dict[str, Any]) -> None:
    """Rounds, checkpoints, a takeover."""
    lab = OfferLab(context, **changes)
    load = Traffic(lab)
    for number in range(ROUNDS):
        load.work(number)
        load.look()
        lab.checkpoint()
        load.models["s"] = [bytearray(model) for model in load.models["p"]]
        load.look()
        lab.compare()
    for index in range(lab.setup.count):
        figures = lab.forward(index)
        context.step(f"disk{index}: {figures['accepted'] / MIB:.1f} of "
                     f"{figures['bytes'] / MIB:.1f} MiB accepted")
        check(figures["accepted"], f"disk{index}: nothing was accepted")
    lab.expect_calm()
    load.work(ROUNDS)
    lab.take_over()
    load.look("s")
    for index, model in enumerate(load.models["s"]):
        lab.expect_all(f"image of disk{index}", lab.peers[index], model)


def _register() -> None:
    for name, changes in ROWS.items():
        def body(context: Context,
                 changes: Dict[str, Any] = changes) -> None:
            traffic(context, changes)
        body.__doc__ = f"guests that mostly write the same: {name}"
        add(f"offer_traffic_{name}", body, linux=False, reference=False)


_register()
