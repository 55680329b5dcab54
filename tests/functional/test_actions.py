# SPDX-License-Identifier: GPL-2.0-or-later
"""What people do to a guest while it is protected.

Each action has one of two results: it is done, on both sides alike, or it is
refused with an error that says so.  Never an abort, never silently undone.
"""

import os
import time
from typing import Any, Dict, Optional

from colo import procs, status
from colo.case import Context, case, check
from colo.ending import kill_and_verify
from colo.pair import Pair
from colo.qmp import QMPError
from colo.traffic import Client
from colo.vm import VM, Spec

DELAY_MS = 200
DISK_BYTES = 64 << 20
LOAD_SECTOR = DISK_BYTES // 2 // 512    # where the guest's disk load begins
INTERVALS_S = 5 * DELAY_MS / 1000


def refusal(machine: VM, command: str,
            arguments: Optional[Dict[str, Any]] = None) -> str:
    """Run a command; the text of its refusal, '' if it was done."""
    error = machine.qmp.try_cmd(command, arguments)
    if error is None:
        return ""
    check(len(error.desc) > 15, f"{command} refused without a reason: "
                                f"'{error.desc}'")
    return error.desc


def still_protected(context: Context, pair: Pair) -> None:
    """Both sides live, say so, and complete checkpoints."""
    check(pair.p.alive(), "the primary ended\n" + pair.p.log_tail())
    check(pair.secondary().alive(), "the secondary ended\n"
          + pair.secondary().log_tail())
    pair.wait_protected(10)
    pair.wait_checkpoints(3, 20)
    context.step("still protected")


def no_crash(pair: Pair) -> None:
    """Neither side ended by a signal."""
    for machine in (pair.p, pair.secondary()):
        check(not machine.crashed(), f"{machine.name} crashed\n"
              + machine.log_tail())


@case(timeout_s=60, reference=False)
def stop_and_cont(context: Context) -> None:
    """`stop` holds across checkpoints; `cont` goes on under protection."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    client = context.client()
    client.wait_progress(50)
    refused = refusal(pair.p, "stop")
    if refused:
        context.step(f"refused: {refused}")
    else:
        limit = time.monotonic() + INTERVALS_S
        while time.monotonic() < limit:
            check(pair.p.runstate() != "running", "`stop` was undone")
            time.sleep(0.02)
        check(pair.secondary().alive(), "the secondary did not bear `stop`")
        pair.p.qmp.cmd("cont")
        procs.wait_until(lambda: pair.p.runstate() == "running", 5,
                         "`cont` taking effect")
    still_protected(context, pair)
    client.wait_progress(100)
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def stop_on_the_secondary(context: Context) -> None:
    """A user may not stop the secondary alone unnoticed."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    client = context.client()
    refused = refusal(pair.secondary(), "stop")
    context.step(f"refused: {refused}" if refused else "done")
    if not refused:
        pair.secondary().qmp.cmd("cont")
    still_protected(context, pair)
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def primary_dies_while_stopped(context: Context) -> None:
    """The primary dies after a `stop`: nobody starts the guest unasked."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    if refusal(pair.p, "stop"):
        context.skip("`stop` is refused")
    time.sleep(INTERVALS_S)
    pair.p.kill()
    pair.wait_peer_lost(pair.secondary())
    pair.failover_to_secondary()
    procs.wait_until(
        lambda: status.query(pair.secondary())["state"] == "alone", 10,
        "takeover of a stopped guest")
    no_crash(pair)
    pair.secondary().qmp.cmd("cont")
    client = context.client()
    client.wait_progress(50)


@case(timeout_s=90, reference=False)
def system_reset(context: Context) -> None:
    """A reset reaches both sides; the guest boots under protection."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    pair.wait_checkpoints(2)
    refused = refusal(pair.p, "system_reset")
    check(not refused, f"system_reset refused: {refused}")
    procs.wait_until(
        lambda: pair.p.console().count("colo-guest: ready") == 2, 60,
        "the second boot")
    still_protected(context, pair)
    client = context.client()
    client.wait_progress(50)
    kill_and_verify(context, pair, client)


@case(timeout_s=90, reference=False)
def guest_reboots(context: Context) -> None:
    """The guest reboots itself under protection."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    client = context.client(work="echo")
    client.control("REBOOT")
    client.close()
    procs.wait_until(
        lambda: pair.p.console().count("colo-guest: ready") == 2, 60,
        "the second boot")
    # The base source's rewriter loses a connection whose handshake meets a
    # checkpoint; after the next checkpoint both sides know it alike.
    client = context.client()
    still_protected(context, pair)
    kill_and_verify(context, pair, client)


def powered_off(context: Context, pair: Pair) -> None:
    """The guest is off: the primary ends well, nobody takes over."""
    code = pair.p.wait_exit(30)
    check(code == 0, f"the primary ended with {code}\n{pair.p.log_tail()}")
    time.sleep(2)
    no_crash(pair)
    second = pair.secondary()
    if second.alive():
        info = status.query(second)
        context.step(f"the secondary says {status.describe(second)}")
        check(info["state"] != "alone", "the secondary runs a guest that "
              "was powered off")
        check(info["remedy"], "no remedy for the secondary")
    else:
        context.step("the secondary has ended, too")


@case(timeout_s=60, reference=False)
def system_powerdown(context: Context) -> None:
    """The power button: the guest ends, and stays off."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    pair.p.qmp.cmd("system_powerdown")
    powered_off(context, pair)


@case(timeout_s=60, reference=False)
def guest_shuts_down(context: Context) -> None:
    """The guest switches itself off, and stays off."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    client = context.client(work="echo")
    client.control("POWEROFF")
    client.close()
    powered_off(context, pair)


@case(timeout_s=60, reference=False)
def guest_panics(context: Context) -> None:
    """A panic that stops the guest: reported, no abort on either side."""
    pair = context.protected_pair(
        delay_ms=DELAY_MS,
        spec=Spec(devices=["pvpanic"], extra=["-action", "panic=pause"]))
    client = context.client(work="echo")
    client.control("PANIC")
    client.close()
    pair.p.qmp.wait_event("GUEST_PANICKED", 20)
    time.sleep(INTERVALS_S)
    no_crash(pair)
    check(pair.p.alive(), "the primary ended\n" + pair.p.log_tail())
    check(pair.p.runstate() == "guest-panicked",
          f"the panic was undone: {pair.p.runstate()}")
    context.step(f"secondary: {status.describe(pair.secondary())}")


@case(timeout_s=60, reference=False)
def device_hotplug(context: Context) -> None:
    """device_add and device_del while protected."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    client = context.client()
    for machine in (pair.p, pair.secondary()):
        refused = refusal(machine, "device_add", {
            "driver": "virtio-rng-pci", "id": "hot0"})
        context.step(f"{machine.name}: {refused or 'done'}")
    refused = refusal(pair.p, "device_del", {"id": "e0"})
    context.step(f"device_del: {refused or 'done'}")
    check(refused, "device_del took the network card of a protected guest")
    still_protected(context, pair)
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def memory_hotplug(context: Context) -> None:
    """More memory while protected: refused or handled, never ignored."""
    pair = context.booted_pair(delay_ms=DELAY_MS, spec=Spec(
        extra=["-m", "256,slots=2,maxmem=1G"]))
    pair.protect()
    client = context.client()
    for machine in (pair.p, pair.secondary()):
        problem = refusal(machine, "object-add", {
            "qom-type": "memory-backend-ram", "id": "more",
            "size": 64 << 20}) or refusal(machine, "device_add", {
                "driver": "pc-dimm", "id": "dimm0", "memdev": "more"})
        context.step(f"{machine.name}: {problem or 'done'}")
    still_protected(context, pair)
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def balloon(context: Context) -> None:
    """Ballooning while protected: refused or harmless."""
    context.require_device("virtio-balloon-pci")
    pair = context.protected_pair(
        delay_ms=DELAY_MS, spec=Spec(devices=["virtio-balloon-pci"]))
    client = context.client()
    client.control("DIRTY 20 16")
    refused = refusal(pair.p, "balloon", {"value": 192 << 20})
    context.step(f"balloon: {refused or 'done'}")
    still_protected(context, pair)
    answer = client.control("DIRTYCHECK")
    check(answer.startswith("OK"), f"guest memory: {answer}")
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def savevm(context: Context) -> None:
    """A snapshot while protected is refused, or does no harm."""
    pair = context.protected_pair(delay_ms=DELAY_MS, disk="replicated")
    client = context.client()
    context.step("savevm: " + (pair.p.qmp.hmp("savevm now", 30).strip()
                               or "done"))
    still_protected(context, pair)
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def migrate_again(context: Context) -> None:
    """A second `migrate` is refused; protection goes on."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    client = context.client()
    refused = refusal(pair.p, "migrate", {"uri": "tcp:127.0.0.1:9997"})
    check(refused, "a second migrate was accepted while protected")
    context.step(f"refused: {refused}")
    still_protected(context, pair)
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def migrate_cancel(context: Context) -> None:
    """migrate_cancel while protected: refused, or one side goes on."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    client = context.client()
    client.wait_progress(50)
    refused = refusal(pair.p, "migrate_cancel")
    time.sleep(INTERVALS_S)
    no_crash(pair)
    context.step(f"primary {status.describe(pair.p)}, secondary "
                 f"{status.describe(pair.secondary())}")
    if status.query(pair.p)["state"] in status.PROTECTED:
        still_protected(context, pair)
        kill_and_verify(context, pair, client)
        return
    check(not refused, "refused, and yet protection ended")
    check(status.query(pair.secondary())["state"] != "alone",
          "both sides run")
    pair.secondary().kill()
    if status.query(pair.p)["state"] == "lost":
        pair.failover_to_primary()
    else:
        pair.proxy.primary_failover(pair.p.qmp)
    client.wait_progress(50)
    client.verify()


@case(timeout_s=60, reference=False)
def cont_during_checkpoints(context: Context) -> None:
    """A storm of `cont` never runs the guest in the middle of a cut."""
    pair = context.protected_pair(delay_ms=50)
    client = context.client()
    client.control("DIRTY 20 16")
    for _ in range(100):
        try:
            pair.p.qmp.cmd("cont")
        except QMPError:
            pass
        time.sleep(0.01)
    still_protected(context, pair)
    answer = client.control("DIRTYCHECK")
    check(answer.startswith("OK"), f"guest memory: {answer}")
    kill_and_verify(context, pair, client)


@case(timeout_s=60, reference=False)
def quit_on_each_side(context: Context) -> None:
    """`quit` on the secondary: the primary survives and says so."""
    pair = context.protected_pair(delay_ms=DELAY_MS)
    client: Client = context.client()
    client.wait_progress(50)
    pair.secondary().qmp.cmd("quit")
    check(pair.secondary().wait_exit(10) == 0, "the secondary did not end "
          "well\n" + pair.secondary().log_tail())
    procs.wait_until(lambda: status.query(pair.p)["state"]
                     in status.LOST + status.ALONE, 10, "the primary noticing")
    pair.failover_to_primary()
    pair.wait_alone(pair.p)
    client.wait_progress(100)
    client.verify()
    pair.p.qmp.cmd("quit")
    check(pair.p.wait_exit(10) == 0, "the primary did not end well")


@case(timeout_s=90, reference=False)
def io_error_stop(context: Context) -> None:
    """werror=stop on the primary: reported, kept, and `cont` goes on."""
    disks = [os.path.join(context.run_dir, f"{n}.raw") for n in "ps"]
    for path in disks:
        with open(path, "wb") as file:
            file.truncate(DISK_BYTES)
    device = ["-device", "virtio-blk-pci,drive=top,werror=stop"]
    pair = context.booted_pair(
        delay_ms=DELAY_MS,
        extra_primary=[
            "-blockdev", f"driver=file,node-name=image,filename={disks[0]}",
            "-blockdev", "driver=blkdebug,node-name=top,image=image,"
            "inject-error.0.event=none,inject-error.0.iotype=write,"
            f"inject-error.0.sector={LOAD_SECTOR},inject-error.0.once=on",
            *device],
        extra_secondary=["-blockdev", f"driver=file,node-name=top,filename="
                         f"{disks[1]}", *device])
    pair.protect()
    client = context.client("echo")
    client.post("control DISK WRITE 2 4")
    procs.wait_until(lambda: pair.p.runstate() == "io-error", 15,
                     "the I/O error stopping the guest")
    time.sleep(INTERVALS_S)
    no_crash(pair)
    check(pair.p.runstate() == "io-error",
          f"the stop was undone: {pair.p.runstate()}")
    context.step(f"secondary: {status.describe(pair.secondary())}")
    pair.p.qmp.cmd("cont")
    check(client.answer()["answer"] == "OK", "the write after `cont`")
    still_protected(context, pair)
    kill_and_verify(context, pair, client)
