# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that meet what COLO is just doing.

Whoever pauses vCPUs lets go of the machine's lock for a moment, and another
thread takes it.  Here two threads have something to do at the same time, over
and over.
"""

from typing import Any

from colo import bootsector, procs, status
from colo.case import Context, case, check, check_equal
from colo.pair import Pair
from colo.vm import Spec
from test_net_compare import CHARDEVS
from test_net_pair import PairLab

CPUS = 4                        # each has to be waited for
ROUNDS = 6
RESETS = 150
PROGRESS_LIMIT_S = 20.0


def busy_pair(context: Context, **settings: Any) -> Pair:
    """A pair with several vCPUs under protection."""
    pair = context.pair(
        spec=Spec(memory_mib=32, linux=False, smp=CPUS,
                  extra=bootsector.options(context.run_dir)),
        network=False, **{"delay_ms": 5, **settings})
    pair.start()
    procs.wait_until(lambda: bootsector.progress(pair.p.console()), 20,
                     "the boot sector at work")
    pair.protect()
    return pair


def lose_secondary(pair: Pair) -> None:
    """The primary has lost it, and nobody has decided yet."""
    pair.secondary().kill()
    pair.wait_peer_lost(pair.p)


def wait_progress(pair: Pair) -> None:
    """The guest of the primary runs."""
    before = len(bootsector.progress(pair.p.console()))
    procs.wait_until(
        lambda: len(bootsector.progress(pair.p.console())) > before + 2,
        PROGRESS_LIMIT_S, "the guest going on")


@case(linux=False, reference=False)
def moment_failover_and_quit(context: Context) -> None:
    """The guest is let go and stopped for good at the same time."""
    for _ in range(ROUNDS):
        pair = busy_pair(context)
        lose_secondary(pair)
        pair.p.qmp.cmds_at_once("x-colo-lost-heartbeat", "quit")
        check_equal(pair.p.wait_exit(), 0, "exit code")
        pair.close()


@case(linux=False, reference=False)
def moment_comparer_goes_before_quit(context: Context) -> None:
    """What is left of a comparer ends while QEMU lets go of its links."""
    for decided in (False, True):
        pair = busy_pair(context)
        lab = PairLab(context, pair.p)
        lab.chardev(*CHARDEVS.values())
        lab.add("colo-compare", "x0", **CHARDEVS)
        wires = lab.wires(*CHARDEVS.values())
        lose_secondary(pair)
        pair.p.qmp.cmd("object-del", {"id": "x0"})
        words = ["x-colo-lost-heartbeat"] if decided else []
        pair.p.qmp.cmds_at_once(*words, "quit")
        check_equal(pair.p.wait_exit(), 0, "exit code")
        for wire in wires:
            wire.close()
        pair.close()


@case(timeout_s=120, linux=False, reference=False)
def moment_reset_of_a_stopped_guest(context: Context) -> None:
    """A reset falls into the checkpoint that a stop has asked for."""
    pair = busy_pair(context)
    for _ in range(RESETS):
        for command in ("stop", "system_reset", "cont"):
            pair.p.qmp.cmd(command)
    pair.wait_checkpoints(3)
    wait_progress(pair)


@case(timeout_s=120, linux=False, reference=False)
def moment_reset_at_the_end(context: Context) -> None:
    """The session ends in the middle of a reset."""
    for _ in range(ROUNDS):
        pair = busy_pair(context)
        lose_secondary(pair)
        pair.p.qmp.cmds_at_once("system_reset", "x-colo-lost-heartbeat",
                                "system_reset")
        pair.wait_alone(pair.p)
        wait_progress(pair)
        pair.close()


@case(linux=False, reference=False)
def moment_for_another_toolstack(context: Context) -> None:
    """Xen's commands do not take part in a pair that is not Xen's."""
    pair = busy_pair(context)
    for machine in (pair.p, pair.secondary()):
        for command, arguments in (
                ("xen-colo-do-checkpoint", None),
                ("xen-set-replication", {"primary": True, "enable": False,
                                         "failover": True})):
            error = machine.qmp.try_cmd(command, arguments)
            check(error is not None and "not by Xen" in error.desc,
                  f"{machine.name}: {command}: {error}")
    pair.wait_checkpoints(3)
    check_equal(status.query(pair.p)["state"] in ("protected", "checkpoint"),
                True, "still protected")
