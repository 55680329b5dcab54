# SPDX-License-Identifier: GPL-2.0-or-later
"""The secondary's memory is the primary's memory, seen from both ends."""

from typing import Any

from colo import bootsector, procs, status
from colo.case import Context, case, check, check_equal
from colo.ending import kill_and_verify, take_over
from colo.pair import Pair
from colo.qmp import QMPClosed, QMPError
from colo.vm import VM, Spec

KVM_TRY_S = 20.0
ROUNDS = 8
DIGESTS_COUNT = 100


def run_boot_sector(context: Context, accel: str, side: str) -> None:
    """Protect the self-checking guest, lose a side, go on."""
    spec = Spec(accel=accel, memory_mib=64, linux=False,
                extra=bootsector.options(context.run_dir))
    pair = context.pair(spec=spec, network=False, delay_ms=100)
    start_boot_sector(context, pair, accel)
    pair.protect()
    context.step("protected; 30 checkpoints")
    pair.wait_checkpoints(30)
    for machine in (pair.p, pair.secondary()):
        bootsector.progress(machine.console())
    context.step(f"kill the {side}")
    victim = pair.p if side == "primary" else pair.secondary()
    survivor = pair.secondary() if side == "primary" else pair.p
    victim.kill()
    take_over(pair, side)
    before = len(bootsector.progress(survivor.console()))
    procs.wait_until(
        lambda: len(bootsector.progress(survivor.console())) > before + 32,
        20, f"the guest going on at {survivor.name}")
    check(not survivor.crashed(), "the survivor crashed")


def start_boot_sector(context: Context, pair: Pair, accel: str) -> None:
    """Start both sides; skip if the accelerator cannot run a guest."""
    try:
        pair.start()
        procs.wait_until(
            lambda: len(bootsector.progress(pair.p.console())) > 4,
            KVM_TRY_S, "the boot sector at work")
    except (QMPClosed, TimeoutError) as error:
        if accel != "kvm":
            raise
        last = (pair.p.log_tail().splitlines() or [""])[-1]
        context.skip(f"KVM runs no guest here: {last or error}")


@case(timeout_s=60, linux=False)
def boot_sector_tcg(context: Context) -> None:
    """A guest that checks its own memory, primary killed, TCG."""
    run_boot_sector(context, "tcg", "primary")


@case(timeout_s=120, linux=False)
def boot_sector_kvm(context: Context) -> None:
    """The same under KVM, where KVM runs a guest."""
    run_boot_sector(context, "kvm", "primary")


@case(timeout_s=120, linux=False)
def boot_sector_kvm_secondary_dies(context: Context) -> None:
    """Under KVM, and it is the secondary which dies."""
    run_boot_sector(context, "kvm", "secondary")


def digest(machine: VM) -> Any:
    """Of RAM and devices, at a cut, not in the middle of one."""
    def answer() -> Any:
        try:
            return machine.qmp.cmd("x-query-colo-state-hash", timeout_s=60)
        except QMPError as error:
            check("under way" in error.desc, str(error))
            return None

    return procs.wait_until(answer, 10, "a digest of a cut", 0.001)


def stand_still(pair: Pair) -> None:
    """Stop the guest; one checkpoint later the secondary's stands, too."""
    pair.p.qmp.cmd("stop")
    pair.p.qmp.cmd("colo-checkpoint")
    procs.wait_until(lambda: pair.secondary().runstate() != "running", 5,
                     "the secondary standing still with its primary")


def compare_state(pair: Pair) -> Any:
    """Stop the guest; one checkpoint later both sides must be equal."""
    stand_still(pair)
    hashes = [digest(m) for m in (pair.p, pair.secondary())]
    check_equal(hashes[1]["ram"], hashes[0]["ram"], "RAM of the secondary")
    check_equal(hashes[1]["devices"], hashes[0]["devices"],
                "device state of the secondary")
    return hashes[0]


def compare_first(context: Context) -> None:
    """The counter counts at the primary alone; one checkpoint later."""
    spec = Spec(memory_mib=64, linux=False, extra=bootsector.options(
        context.run_dir, bootsector.COUNTER))
    pair = context.pair(spec=spec, network=False, delay_ms=100000,
                        parameters={"max-bandwidth": 1 << 20},
                        extra_primary=["-cpu", "qemu64,stepping=1"],
                        extra_secondary=["-cpu", "qemu64,stepping=0"])
    pair.start()
    procs.wait_until(lambda: bootsector.progress(pair.p.console()), 20,
                     "the counter at work")
    pair.begin()
    while not status.is_protected(pair.p, pair.secondary(), pair.ours):
        status.check_not_failed(pair.p, pair.secondary())
        pair.p.qmp.cmd("query-qmp-schema")
    check_equal(pair.checkpoints(), 0, "checkpoints so far")
    compare_state(pair)
    pair.close()


@case(timeout_s=60, linux=False, reference=False)
def first_checkpoint_is_whole(context: Context) -> None:
    """What only the primary writes, from the first copy's end on, arrives.

    Only the primary's guest counts, before, at and after the end of the first
    copy, so that the page is none of the secondary's dirty ones. That copy is
    slow enough for its last round to look at the page twice, and the monitor
    busy, for the guest to count in between, which it does in some rounds.
    """
    for number in range(ROUNDS):
        context.step(f"round {number + 1} of {ROUNDS}")
        compare_first(context)


def state_hash(context: Context, load: str, smp: int, machine: str) -> None:
    """Stop both sides at one cut and compare RAM and devices.

    The clock chip follows the guest's time here: with the host's, saving it
    on two sides in two different seconds gives two states.
    """
    pair = context.protected_pair(
        delay_ms=300, spec=Spec(machine=machine, smp=smp,
                                extra=["-rtc", "clock=vm"]))
    client = context.client()
    if load:
        client.control(load)
    pair.wait_checkpoints(10)
    context.step(f"equal: {compare_state(pair)}")
    pair.p.qmp.cmd("cont")
    procs.wait_until(lambda: pair.secondary().runstate() == "running", 5,
                     "`cont` reaching the secondary")
    check(status.query(pair.p)["state"] in status.PROTECTED,
          status.describe(pair.p))
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def state_equal_idle(context: Context) -> None:
    """RAM and device state are equal at the same cut, idle guest."""
    state_hash(context, "", 1, "pc")


@case(timeout_s=60, reference=False)
def state_equal_load(context: Context) -> None:
    """The same with a guest that dirties 40 MB/s on two CPUs, q35."""
    state_hash(context, "DIRTY 40 32", 2, "q35")


@case(timeout_s=60, reference=False)
def state_digest_is_whole(context: Context) -> None:
    """A digest is that of a cut, however often checkpoints are applied."""
    pair = context.protected_pair(
        delay_ms=20, spec=Spec(extra=["-rtc", "clock=vm"]))
    stand_still(pair)
    digests = {digest(pair.secondary())["devices"]
               for _ in range(DIGESTS_COUNT)}
    check_equal(digests, {digest(pair.p)["devices"]}, "devices' digests")
