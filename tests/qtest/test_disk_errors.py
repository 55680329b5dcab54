# SPDX-License-Identifier: GPL-2.0-or-later
"""One request of a secondary's disk fails below, in each stage of its life.

A row is a stage, a request of guest or peer, and the kind of request to the
file that fails once.  Whoever is told, whatever is kept: the guest sees its own
data, before and after, in every stage that follows, and in the image.
"""

import os
from typing import Any, Callable, Dict, List, Tuple

from colo import procs
from colo.case import Context, add, case, check, check_equal
from disklab import EIO, ENOSPC, MIB, DiskLab, small_directory
from nbdclient import error_of
from test_disk_faults import KIB, fill, lose, once, refusal

PLACE = 6 * MIB
SIZE = 8 * KIB
SLOW = {"merge-speed": 64 * KIB}

# Steps to the stage, and those from there to a takeover.
STAGES: Dict[str, Tuple[Tuple[str, ...], Tuple[str, ...]]] = {
    "off": ((), ("begin", "cut", "enter", "take-over")),
    "running": (("begin",), ("cut", "enter", "take-over")),
    "loaded": (("begin", "cut", "enter"), ("cut", "enter", "take-over")),
    "cut": (("begin", "cut"), ("enter", "take-over")),
    "cut, not loaded": (("begin", "cut"), ("roll-back", "take-over")),
    "rolled back": (("begin", "cut", "roll-back"), ("take-over",)),
    "merging": (("begin", "take-over"), ()),
    "alone": (("begin", "take-over"), ()),
}
GUEST_STAGES = ("off", "running", "loaded", "rolled back", "merging", "alone")
PEER_STAGES = ("off", "running", "loaded", "cut", "cut, not loaded",
               "rolled back")
# Where the guest's writes and flushes go to the file.
AT_FILE = ("off", "merging", "alone")

Request = Callable[[DiskLab, str], None]
REQUESTS: Dict[str, Tuple[str, Request]] = {
    "read": ("read", lambda lab, who: getattr(lab, who).read(PLACE, SIZE)),
    "write": ("write", lambda lab, who: lab.write(
        who, PLACE, lab.random.randbytes(SIZE))),
    "fua": ("write", lambda lab, who: lab.write(
        who, PLACE, lab.random.randbytes(SIZE), True)),
    "zeroes": ("write-zeroes", lambda lab, who: zeroes(lab, who)),
    "flush": ("flush", lambda lab, who: getattr(lab, who).flush()),
}


def zeroes(lab: DiskLab, who: str) -> None:
    """A write of zeroes, noted when it is done."""
    getattr(lab, who).zeroes(PLACE, SIZE)
    (lab.view if who == "guest" else lab.parent)[PLACE:PLACE + SIZE] = \
        bytes(SIZE)


def enter_stage(context: Context, stage: str, kind: str) -> DiskLab:
    """A disk in that stage whose next such request at the place fails."""
    fault = once(kind, PLACE)
    if kind == "flush":
        # The first behind a write: what comes before has its own.
        fault = {**once(kind), "event": "write_aio"}
    lab = DiskLab(context, faults=[fault], options=SLOW)
    for step in STAGES[stage][0]:
        if step == "take-over" and stage == "merging":
            # Enough to last, and none of it at the place.
            lab.write("guest", 0, lab.random.randbytes(MIB // 4))
        lab.advance(step)
    if stage == "alone":
        procs.wait_until(lab.is_merged, 10, "the merge", 0.02)
        lab.stage = "alone"
    return lab


def go_on(lab: DiskLab, stage: str) -> None:
    """To the end, with looks at everything on the way."""
    lab.check()
    for step in STAGES[stage][1]:
        lab.write("guest" if lab.may("guest") else "peer", 3 * MIB,
                  lab.random.randbytes(SIZE))
        lab.step(step)
    lab.write("guest", 5 * MIB, lab.random.randbytes(SIZE))
    # If the file has not failed until now, the merge meets it, and goes on.
    lab.finish_merge()


def expected(stage: str, who: str, name: str) -> int:
    """What this one is told."""
    if who == "guest" and name != "read" and stage not in AT_FILE:
        return 0                # kept in the buffer
    return EIO


def one(context: Context, stage: str, who: str, name: str) -> None:
    """The request fails, or does not even get there."""
    kind, request = REQUESTS[name]
    lab = enter_stage(context, stage, kind)
    if name == "flush":
        lab.write(who, PLACE, b"x" * SIZE)
    late = who == "peer" and name == "write" and stage != "off"
    number = error_of(lambda: request(lab, who))
    check_equal(number, 0 if late else expected(stage, who, name),
                "what it is told")
    if late:
        if stage.startswith("cut"):
            check("could not write what the primary wrote"
                  in refusal_after_flush(lab), "not that")
            lab.advance("roll-back")
        lose(lab)
        return
    go_on(lab, stage)


def refusal_after_flush(lab: DiskLab) -> str:
    """Why the cut cannot be entered, once the failure is known."""
    check_equal(error_of(lab.peer.flush), EIO, "the flush")
    return refusal(lab, "check")


def _rows() -> List[Tuple[str, str, str]]:
    rows = [(stage, "guest", name) for stage in GUEST_STAGES
            for name in REQUESTS]
    return rows + [(stage, "peer", name) for stage in PEER_STAGES
                   for name in REQUESTS]


def _register() -> None:
    for stage, who, name in _rows():
        def body(context: Context, stage: str = stage, who: str = who,
                 name: str = name) -> None:
            one(context, stage, who, name)
        words = stage.replace(", ", "_").replace(" ", "_")
        body.__doc__ = f"{stage}: a {name} by the {who}, the file fails once"
        add(f"disk_error_{words}_{who}_{name}", body, linux=False,
            reference=False)


_register()


# -- the merge and the spill file -----------------------------------------

@case(linux=False, reference=False)
def disk_error_of_the_guest_over_own(context: Context) -> None:
    """Merging: the write over its own data fails, and that data stays."""
    lab = DiskLab(context, faults=[once("write", PLACE)], options=SLOW)
    lab.advance("begin")
    lab.write("guest", 0, lab.random.randbytes(MIB // 4))
    lab.write("guest", PLACE - SIZE, lab.random.randbytes(3 * SIZE))
    lab.advance("take-over")
    check_equal(error_of(lambda: lab.write("guest", PLACE, bytes(SIZE))),
                EIO, "the guest's error")
    lab.check()
    lab.finish_merge()


def spill(context: Context) -> DiskLab:
    """Most of what the guest wrote lies in the spill file."""
    lab = DiskLab(context, options={"buffer-limit": MIB,
                                    "spill-dir": context.run_dir})
    lab.advance("begin")
    for offset in range(0, 4 * MIB, MIB):
        lab.write("guest", offset, lab.random.randbytes(MIB))
    check(lab.buffer()["spilled"] >= 2 * MIB, f"{lab.buffer()}")
    return lab


def cut_short(lab: DiskLab) -> None:
    """The file system loses the end of the spill file."""
    directory = f"/proc/{lab.machine.pid}/fd"
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        try:
            if "colo-spill" in os.readlink(path):
                os.truncate(path, 512 * KIB)
        except FileNotFoundError:
            continue


@case(linux=False, reference=False)
def disk_spill_cut_short(context: Context) -> None:
    """A read that comes back short is an error, never somebody's zeroes."""
    lab = spill(context)
    cut_short(lab)
    errors = [error_of(lambda offset=offset: lab.guest.read(offset, MIB))
              for offset in range(0, 4 * MIB, MIB)]
    check_equal(errors[0], 0, "what lies in memory")
    check(EIO in errors, f"errors {errors}")
    lab.write("guest", 0, b"new" * 1000)
    # The next epoch has no use for it: all is well again.
    lab.advance("cut")
    lab.step("enter")
    lab.work(10)
    lab.step("take-over")
    lab.finish_merge()


@case(linux=False, reference=False)
def disk_spill_cut_short_merging(context: Context) -> None:
    """What cannot be read cannot be merged: not taken for good, and said."""
    lab = spill(context)
    lab.advance("take-over")
    cut_short(lab)
    procs.wait_until(lambda: "cannot be merged" in lab.info().get("error", ""),
                     10, "the merge complaining", 0.05)
    check(lab.buffer()["merge-left"] > 0, "all is merged")
    check_equal(lab.info()["state"].rpartition(":")[2], "merging", "state")
    check_equal(error_of(lambda: lab.guest.read(3 * MIB, MIB)), EIO,
                "the guest's error")
    lab.cmd("quit")
    check_equal(lab.machine.wait_exit(), 0, "exit code")
    check("of use to a resync only" in lab.machine.log_tail(), "no word")


@case(linux=False, reference=False)
def disk_spill_full_in_the_cut(context: Context) -> None:
    """After the cut: what the peer overwrites cannot be kept, so it must not."""
    for number, step in enumerate(("enter", "roll-back")):
        lab = DiskLab(context, small_directory(context, "2m", f"small{number}"),
                      name=f"disk{number}")
        lab.advance("begin")
        lab.write("guest", 0, lab.random.randbytes(MIB // 2))
        lab.write("peer", MIB, lab.random.randbytes(MIB // 2))
        lab.step("cut")
        check_equal(fill(lab, "peer", 8 * MIB), ENOSPC, "the peer's error")
        check_equal(lab.buffer()["stage"], "cut", "stage")
        lab.check()
        lab.steps(step, "check")
        lab.step("take-over")
        lab.finish_merge()
