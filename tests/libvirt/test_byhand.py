# SPDX-License-Identifier: GPL-2.0-or-later
"""Protection by hand through virsh: what libvirt lets us do, and sees.

The domains here have no disks, which need more steps than anybody would type.
"""

import signal
from typing import Tuple

import byhand
from colo import procs
from colo.case import Context, case, check, check_equal
from colo.traffic import longest_gap_ms
from domains import Domain, Plain, boot
from hosts import IMAGES, Host, Hosts


def protected(context: Context,
              delay_ms: int = 200) -> Tuple[Hosts, Domain, Domain]:
    """Hosts, and a domain protected on them."""
    hosts = Hosts(context).start()
    context.step("start the domain")
    primary = boot(hosts, Plain(disks=[]))
    context.step("protect")
    return hosts, primary, byhand.protect(primary, hosts.b, delay_ms)


@case(timeout_s=240, reference=False)
def hand_failover(context: Context) -> None:
    """virsh alone: protect, kill the primary, the client goes on."""
    hosts = Hosts(context).start()
    primary = boot(hosts, Plain(disks=[]))
    client = context.client("kv,echo")
    context.step("protect")
    secondary = byhand.protect(primary, hosts.b)
    byhand.wait_checkpoints(primary, 10)
    client.wait_progress(100)
    gap_ms = longest_gap_ms(client.check())
    context.step(f"protected; longest gap so far {gap_ms:.0f} ms")
    context.step("restart both daemons")
    hosts.a.restart_daemon(signal.SIGKILL)
    hosts.b.restart_daemon()
    byhand.wait_checkpoints(primary, 5)
    context.step("kill -9 the primary")
    client.mark()
    hosts.a.kill_domain(primary.name)
    secondary.wait_colo("lost")
    secondary.qmp("x-colo-lost-heartbeat")
    secondary.wait_colo("alone")
    client.wait_progress(100)
    gap_ms = longest_gap_ms(client.check())
    context.step(f"longest gap {gap_ms:.0f} ms")
    check(gap_ms < 15000, f"the client waited {gap_ms:.0f} ms")
    client.verify()
    check_equal(secondary.state(), "running", "the survivor's state")
    context.step("save and restore the survivor")
    secondary.qmp("migrate-set-capabilities", capabilities=[
        {"capability": "x-colo", "state": False}])
    image = f"{IMAGES}/saved"
    hosts.b.virsh("save", secondary.name, image)
    hosts.b.virsh("restore", image)
    again = context.client("kv,echo")
    again.wait_progress(20)
    again.verify()


# virsh command, and a word of the reason for which QEMU refuses it.
REFUSED = (
    ("save NAME " + IMAGES + "/save", "migration process in progress"),
    ("dump NAME " + IMAGES + "/dump --memory-only", "protected by COLO"),
    ("dump NAME " + IMAGES + "/dump --live", "migration process in progress"),
    ("setmem NAME 200M --live", "balloon is not possible"),
    ("attach-interface NAME bridge br0 --model virtio --live",
     "device_add is not possible"),
    ("migrate --live --p2p --unsafe NAME qemu+tcp://OTHER/system",
     "already"),
)
REFUSED_SECONDARY = (
    ("reset NAME", "on a COLO secondary"),
    ("save NAME " + IMAGES + "/save", "on a COLO secondary"),
    ("dump NAME " + IMAGES + "/dump --memory-only", "on a COLO secondary"),
    ("setmem NAME 200M --live", "on a COLO secondary"),
    ("attach-interface NAME bridge br0 --model virtio --live",
     "on a COLO secondary"),
)


def check_refused(context: Context, host: Host, other: Host, line: str,
                  reason: str) -> None:
    """The command is refused for that reason."""
    words = line.replace("NAME", "plain").replace("OTHER", other.address)
    said = host.refusal(*words.split())
    context.step(said or f"{host.name}: virsh {words}: done")
    check(reason in said, f"virsh {words} on host {host.name} said "
                          f"'{said}', not '{reason}'")


@case(timeout_s=240, reference=False, slow=True)
def hand_actions(context: Context) -> None:
    """What users do with a protected domain: honoured, or refused."""
    hosts, primary, secondary = protected(context)
    for line, reason in REFUSED:
        check_refused(context, hosts.a, hosts.b, line, reason)
    for line, reason in REFUSED_SECONDARY:
        check_refused(context, hosts.b, hosts.a, line, reason)
    byhand.wait_checkpoints(primary, 3)
    context.step("suspend and resume")
    hosts.a.virsh("suspend", primary.name)
    check_equal(primary.qmp("query-status")["status"], "paused",
                "the suspended primary")
    count = byhand.checkpoints(primary)
    primary.qmp("colo-checkpoint")
    check(byhand.checkpoints(primary) > count, "no checkpoint while paused")
    check_equal(primary.state(), "paused", "the primary behind a checkpoint")
    hosts.a.virsh("resume", primary.name)
    client = context.client("kv,echo")
    client.wait_progress(20)
    client.verify()
    context.step("reset")
    hosts.a.virsh("reset", primary.name)
    byhand.wait_checkpoints(primary, 5)
    again = context.client("kv,echo")
    again.wait_progress(20)
    again.verify()
    for side in (primary, secondary):
        check(side.colo()["state"] in ("protected", "checkpoint"),
              f"host {side.host.name}: {side.colo()}")


@case(timeout_s=240, reference=False)
def hand_ends(context: Context) -> None:
    """A destroyed secondary leaves the primary alone; power-off ends both."""
    hosts, primary, _ = protected(context)
    client = context.client("kv,echo")
    hosts.b.virsh("destroy", primary.name)
    primary.wait_colo("alone")
    check_equal(primary.state(), "running", "the primary's state")
    client.wait_progress(20)
    client.verify()
    context.step("protect again")
    byhand.protect(primary, hosts.b)
    byhand.wait_checkpoints(primary, 3)
    context.step("power off")
    context.client("").control_may_fail("POWEROFF")
    for host in hosts.both:
        procs.wait_until(lambda: not host.domains(), 20.0,
                         f"the end of the domain on host {host.name}", 0.1)
