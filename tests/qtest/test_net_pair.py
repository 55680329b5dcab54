# SPDX-License-Identifier: GPL-2.0-or-later
"""colo-compare in a pair: two real QEMUs, and we are its links.

The guest is the boot sector, which has no NIC: what its NIC would send comes
from us, as do the marks of the cut and the answers of the secondary.
"""

import time
from typing import Any, Dict, List

import packets
from colo import bootsector, procs, status
from colo.case import Context, case, check, check_equal
from colo.pair import Config, Pair
from colo.vm import VM, Spec
from netlab import Lab
from test_net_compare import CHARDEVS, Bench
from wires import EPOCH, GAP, Marker, Wire

GAP_MS = 20
STALL_BYTES = 80 << 20
FRAME_BYTES = 60000
CHECKPOINTS = 12
HELLO = b"Hello! Any bytes will do."
SETTLED_S = 1.0
HOLD_MS = 500
ASKED_LIMIT_S = 0.7         # the comparer looks around each second


class PairLab(Lab):
    """Parts are added to the primary of a pair."""

    # pylint: disable=super-init-not-called
    def __init__(self, context: Context, machine: VM) -> None:
        self.context = context
        self._name = machine.name
        self.machine = machine
        self.qmp = machine.qmp
        self._hubs_count = 0


def protected(context: Context, **limits: Any) -> Pair:
    """A pair that takes a checkpoint only if it is asked for one."""
    config = Config(
        spec=Spec(memory_mib=32, linux=False,
                  extra=bootsector.options(context.run_dir)),
        network=False, delay_ms=600000,
        limits={"mismatch-gap": GAP_MS, "hybrid-enter": 0, **limits})
    pair = Pair(context.binary, context.run_dir, context.log_dir, None,
                config)
    context.at_end(pair.close)
    pair.start()
    procs.wait_until(lambda: bootsector.progress(pair.p.console()), 20,
                     "the boot sector at work")
    pair.protect()
    return pair


def epoch(pair: Pair) -> int:
    """The number of the last checkpoint."""
    return int(status.query(pair.p)["epoch"])


def asked(pair: Pair) -> Dict[str, int]:
    """How many checkpoints were taken, by reason; not those of none."""
    counts = status.query(pair.p)["checkpoints"]
    return {name: count for name, count in counts.items() if count}


def mark(*wires: Wire, number: int) -> None:
    """All these streams are at that cut."""
    for wire in wires:
        wire.send_marker(number)


@case(linux=False, reference=False)
def net_pair_asks_are_served_by_the_cut(context: Context) -> None:
    """What is asked for until the cut's mark comes leads to no other one."""
    pair = protected(context)
    lab = PairLab(context, pair.p)
    lab.chardev(*CHARDEVS.values())
    lab.add("colo-compare", "x0", compare_timeout=HOLD_MS, **CHARDEVS)
    made = Bench(lab, *lab.wires(*CHARDEVS.values()))
    number = epoch(pair)
    mark(made.pri, made.sec, number=number)
    made.both(packets.udp(b"equal"))
    before = asked(pair)
    made.pri.send(packets.udp(b"one"))
    made.sec.send(packets.udp(b"two"))
    procs.wait_until(lambda: epoch(pair) == number + 1, 5, "a checkpoint")
    counts = asked(pair)
    check_equal(counts["mismatch"], before.get("mismatch", 0) + 1,
                "checkpoints by mismatch")
    # The cut is made, but its mark is behind something. Now it times out.
    made.pri.send(packets.udp(b"three"))
    time.sleep(SETTLED_S)
    check_equal((epoch(pair), asked(pair)), (number + 1, counts),
                "checkpoints before the mark came")
    made.out.quiet(0.1)
    mark(made.pri, made.sec, number=number + 1)
    check_equal(made.out.frames(2), [packets.udp(b"one"),
                                     packets.udp(b"three")],
                "what is before the cut")
    made.both(packets.udp(b"equal again"))
    made.pri.send(packets.udp(b"four"))
    procs.wait_until(lambda: epoch(pair) == number + 2, 5, "another one")
    check(asked(pair)["timeout"] == counts.get("timeout", 0) + 1,
          f"asked for: {asked(pair)}")


@case(linux=False, reference=False)
def net_pair_secondary_hangs_up(context: Context) -> None:
    """What is held then leaves by a checkpoint, which is asked for at once."""
    pair = protected(context)
    lab = PairLab(context, pair.p)
    lab.chardev(*CHARDEVS.values())
    lab.add("colo-compare", "x0", **CHARDEVS)
    made = Bench(lab, *lab.wires(*CHARDEVS.values()))
    number = epoch(pair)
    mark(made.pri, made.sec, number=number)
    made.both(packets.udp(b"equal"))
    made.pri.send(packets.udp(b"held"))
    lab.wait_compare("x0", "held-frames", 1)
    begin_s = time.monotonic()
    made.sec.close()
    procs.wait_until(lambda: epoch(pair) > number, 5, "a checkpoint", 0.01)
    waited_s = time.monotonic() - begin_s
    context.step(f"{waited_s:.2f} s until the checkpoint")
    check(waited_s < ASKED_LIMIT_S, f"asked for after {waited_s:.2f} s")
    mark(made.pri, number=number + 1)
    check_equal(made.out.frame(), packets.udp(b"held"), "what was held")


def items(wire: Wire, last: Any = None) -> List[Any]:
    """All that comes until it is quiet: numbers of frames, and markers.

    A machine that stands still for a moment is not quiet before @last came.
    """
    found: List[Any] = []
    try:
        while True:
            item = wire.item(10 if last is not None and last not in found
                             else 0.5)
            found.append(item.marker or int.from_bytes(item.frame[:8], "big"))
    except TimeoutError:
        return found


def numbered(number: int, size: int = FRAME_BYTES) -> bytes:
    """A frame that items() knows again."""
    return number.to_bytes(8, "big") + bytes(size - 8)


@case(linux=False, reference=False)
def net_pair_answers_left_out_are_told(context: Context) -> None:
    """A primary that stalls learns where answers of the secondary lack."""
    pair = protected(context)
    lab = PairLab(context, pair.secondary())
    nic = lab.nic("n0")
    lab.chardev("c0")
    lab.add("filter-rewriter", "r0", netdev="n0", primary="c0")
    primary = lab.wire("c0", vnet=True)
    count = STALL_BYTES // FRAME_BYTES
    for number in range(1, count + 1):
        nic.guest.send(numbered(number))
    lab.qmp.cmd("query-status")
    found = items(primary)
    nic.guest.send(numbered(count + 1))
    found += items(primary, count + 1)
    check_equal(found.pop(0), Marker(EPOCH, epoch(pair)), "the begin")
    check_equal(found.pop(), count + 1, "the end")
    check(isinstance(found[-1], Marker) and found.pop().kind == GAP,
          f"no gap was told behind {found[-3:]}")
    check_equal(found, list(range(1, len(found) + 1)), "what came before")
    check(len(found) < count, "nothing was left out")


@case(linux=False, reference=False)
def net_pair_marks_in_a_stall(context: Context) -> None:
    """Cuts that nobody reads of do not add up."""
    pair = protected(context)
    lab = PairLab(context, pair.p)
    nic = lab.nic("n0")
    lab.chardev("c0")
    lab.add("filter-mirror", "m0", netdev="n0", queue="tx", outdev="c0")
    mirror = lab.wire("c0")
    check_equal(mirror.item().marker, Marker(EPOCH, epoch(pair)), "the begin")
    for number in range(1, 101):
        nic.client.send(numbered(number))
        check_equal(nic.guest.frame()[:8], number.to_bytes(8, "big"),
                    "for the guest")
    for _ in range(CHECKPOINTS):
        pair.p.qmp.cmd("colo-checkpoint")
    found = items(mirror, Marker(EPOCH, epoch(pair)))
    check_equal(found[:100], list(range(1, 101)), "frames")
    check_equal(found[100:], [Marker(EPOCH, epoch(pair))], "marks")


@case(linux=False, reference=False)
def net_pair_netdev_goes(context: Context) -> None:
    """netdev_del takes the filters along; the guest has no reason to stop."""
    pair = protected(context)
    lab = PairLab(context, pair.p)
    lab.netdev("n0")
    lab.chardev("c0")
    lab.add("filter-redirector", "d0", netdev="n0", queue="rx", outdev="c0")
    error = lab.qmp.try_cmd("object-del", {"id": "d0"})
    check(error is not None, "a part that is needed was removed")
    lab.qmp.cmd("netdev_del", {"id": "n0"})
    check_equal(pair.p.runstate(), "running", "the primary")
    before = bootsector.progress(pair.p.console())
    procs.wait_until(lambda: bootsector.progress(pair.p.console()) != before,
                     5, "the guest at work")
    check_equal(asked(pair).get("queue-full", 0), 0, "asked for nothing")
