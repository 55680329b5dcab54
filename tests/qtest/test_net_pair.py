# SPDX-License-Identifier: GPL-2.0-or-later
"""colo-compare in a pair: two real QEMUs, and we are its links.

The guest is the boot sector, which has no NIC: what its NIC would send comes
from us, as do the marks of the cut and the answers of the secondary.
"""

import time
from typing import Any, Dict

import packets
from colo import bootsector, procs, status
from colo.case import Context, case, check, check_equal
from colo.pair import Config, Pair
from colo.vm import VM, Spec
from netlab import Lab
from test_net_compare import CHARDEVS, Bench
from wires import Wire

GAP_MS = 20
SETTLED_S = 0.5
HOLD_MS = 100


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
