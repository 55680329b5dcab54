# SPDX-License-Identifier: GPL-2.0-or-later
"""What `colo status` says, and what users do with a protected domain."""

import statistics
import time
from typing import Tuple

from colo import procs
from colo.case import Context, case, check, check_equal
from domains import Disk, Domain, Plain, boot
from hosts import IMAGES, Hosts
from program import UNSAFE, Program
from scenario import EXCHANGES, INTERVAL_MS, program, went_on

STATUS_CALLS = 15
OTHER_GAP_MS = 7            # not the default, to be seen on the other side


def protected(context: Context,
              spec: Plain) -> Tuple[Hosts, Program, Domain]:
    """A domain that `colo` protects from A to B."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    domain = boot(hosts, spec, persistent=True)
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    return hosts, colo, domain


def check_words(colo: Program, hosts: Hosts, word: str) -> None:
    """Whichever host is asked, the answer is the same, with a remedy."""
    for host in hosts.both:
        status = colo.wait_status("plain", host, word)
        if word != "Protected":
            check(status.get("remedy"), f"no remedy: {status['status']}")


@case(timeout_s=300, reference=False)
def status_words(context: Context) -> None:
    """Each state has its word, its remedy, and the remedy works."""
    hosts, colo, domain = protected(context, Plain())
    check_words(colo, hosts, "Protected")
    check(hosts.b.refusal("start", "plain"), "a second guest was started")
    times_ms = []
    for _ in range(STATUS_CALLS):
        start_s = time.monotonic()
        colo.status("plain", hosts.a)
        times_ms.append((time.monotonic() - start_s) * 1000)
    median_ms = statistics.median(times_ms)
    context.step(f"colo status takes {median_ms:.0f} ms")
    context.step("paused by its user")
    hosts.a.virsh("suspend", "plain")
    check_words(colo, hosts, "Paused by user")
    hosts.a.virsh("resume", "plain")
    check_words(colo, hosts, "Protected")
    context.step("a cable is pulled between two hosts that can be managed")
    colo.call("set", "plain", "-c", hosts.a.uri, "--step-limit", "1500",
              "--heartbeat", "300")
    hosts.set_link(False)
    check_words(colo, hosts, "Link lost")
    hosts.set_link(True)
    colo.call("failover", "plain", "-c", hosts.a.uri)
    check_equal(domain.state(), "running", "the guest on A")
    check("running" not in hosts.b.virsh("list", "--all"), "two guests")
    check_equal(colo.status("plain", hosts.a)["word"], "Running alone",
                "status of the survivor")
    context.step("its secondary is killed")
    # What is quick to notice a pulled cable is too quick for a busy machine.
    domain.qmp("colo-set-parameters", step_limit=5000, heartbeat=1000,
               mismatch_gap=OTHER_GAP_MS)
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    check_equal(Domain(hosts.b, "plain").qmp("query-colo-parameters"),
                domain.qmp("query-colo-parameters"), "limits of both sides")
    hosts.b.kill_domain("plain")
    status = colo.wait_status("plain", hosts.a, "Secondary lost")
    check(not status["protected"], str(status))
    colo.call("failover", "plain", "-c", hosts.a.uri)
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    check_words(colo, hosts, "Protected")
    context.client("kv").wait_progress(EXCHANGES)


@case(timeout_s=300, reference=False)
def status_unsafe(context: Context) -> None:
    """Nothing makes two guests: who may live is not pushed aside."""
    hosts, colo, _ = protected(context, Plain())
    client = context.client("kv,echo")
    context.step("both sides live")
    for host in hosts.both:
        colo.call("failover", "plain", "-c", host.uri, code=UNSAFE)
    check(colo.status("plain", hosts.a)["protected"], "not protected now")
    context.step("the primary's libvirt does not answer any more")
    hosts.a.end_daemon()
    hosts.a.kill_domain("plain")
    Domain(hosts.b, "plain").wait_colo("lost")
    colo.call("failover", "plain", "-c", hosts.b.uri, code=UNSAFE)
    context.step("its user has made sure")
    client.mark()
    colo.call("failover", "plain", "-c", hosts.b.uri, "--force")
    went_on(context, client)
    client.verify()


# What is refused while protected, and how it is worded for the user.
REFUSED = (
    "snapshot-create-as plain one --disk-only",
    "blockcopy plain vda " + IMAGES + "/copy.raw --transient-job",
    "save plain " + IMAGES + "/save",
    "managedsave plain",
    "dump plain " + IMAGES + "/dump --memory-only",
    "setmem plain 200M --live",
    "attach-interface plain bridge br0 --model virtio --live",
    "attach-disk plain /run/some.raw vdb --live",
    "detach-disk plain vda --live",
    "migrate --live --p2p --unsafe plain qemu+tcp://10.0.9.2/system",
    "blockresize plain vda 128M",
)


@case(timeout_s=300, reference=False)
def status_actions(context: Context) -> None:
    """What users do meanwhile is honoured or refused, never half of it."""
    hosts, colo, domain = protected(context, Plain(disks=[Disk("qcow2")]))
    with open(hosts.a.path("/run/some.raw"), "wb") as file:
        file.truncate(1 << 20)
    for line in REFUSED:
        said = hosts.a.refusal(*line.split())
        context.step(said or f"{line}: done")
        check(said, f"virsh {line} was not refused")
        # libvirt stops the guest for some of them, and takes it for running
        # again when QEMU's event has come.
        colo.wait_status("plain", hosts.a, "Protected")
    colo.wait_checkpoints("plain", hosts.a, 3)
    context.step("the daemons are restarted")
    for host in hosts.both:
        host.restart_daemon()
    check_words(colo, hosts, "Protected")
    context.step("reset")
    hosts.a.virsh("reset", "plain")
    colo.wait_checkpoints("plain", hosts.a, 3)
    client = context.client("kv,echo")
    client.wait_progress(EXCHANGES)
    context.step("checkpoints do not look like suspend and resume")
    for _ in range(20):
        check_equal(domain.state(), "running", "the domain's state")
        time.sleep(0.02)
    client.verify()
    context.step("power off")
    context.client("").control_may_fail("POWEROFF")
    for host in hosts.both:
        procs.wait_until(lambda: not host.virsh("list", "--name"), 30.0,
                         f"the guest's end on host {host.name}", 0.2)
    check_equal(hosts.a.domains(), ["plain"], "domains of A")
