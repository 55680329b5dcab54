# SPDX-License-Identifier: GPL-2.0-or-later
"""Protection begins, goes on, and the client does not notice."""

from typing import Any, Dict

from colo import status
from colo.case import Context, case, check, check_equal
from colo.ending import kill_and_verify
from colo.vm import VM, Spec

RSS_GROWTH_LIMIT_KIB = 16 * 1024


@case(timeout_s=60, linux=False)
def protect_firmware_only(context: Context) -> None:
    """A machine without system, disk and network: the smallest pair."""
    pair = context.pair(spec=Spec(memory_mib=32, linux=False), network=False,
                        delay_ms=200)
    pair.start()
    pair.protect()
    context.step("protected; ten checkpoints")
    pair.wait_checkpoints(10)
    context.step("kill the primary")
    pair.p.kill()
    pair.wait_peer_lost(pair.secondary())
    pair.failover_to_secondary()
    pair.wait_alone(pair.secondary())
    check(not pair.secondary().crashed(), "the survivor crashed")


@case(timeout_s=60)
def protect_running_guest(context: Context) -> None:
    """A guest that serves a client is protected; the connection stays."""
    pair = context.booted_pair(delay_ms=500)
    client = context.client()
    client.wait_progress(50)
    client.mark()
    context.step("protect")
    pair.protect()
    pair.wait_checkpoints(5)
    client.wait_progress(200)
    client.verify()


@case(timeout_s=120)
def checkpoints_200_under_load(context: Context) -> None:
    """200 checkpoints at 50 ms while memory and network are busy."""
    pair = context.protected_pair(delay_ms=50)
    client = context.client()
    client.control("DIRTY 20 16")
    pair.wait_checkpoints(20)
    before_kib = [m.rss_kib() for m in (pair.p, pair.secondary())]
    context.step("200 checkpoints")
    pair.wait_checkpoints(200, 90)
    after_kib = [m.rss_kib() for m in (pair.p, pair.secondary())]
    for name, old, new in zip("ps", before_kib, after_kib):
        context.step(f"{name}: {old} KiB before, {new} KiB after")
        check(new - old < RSS_GROWTH_LIMIT_KIB,
              f"{name} grew from {old} to {new} KiB in 200 checkpoints")
    answer = client.control("DIRTYCHECK")
    check(answer.startswith("OK"), f"guest memory: {answer}")
    client.wait_progress(100)
    client.verify()


@case(timeout_s=90)
def documented_command_lines(context: Context) -> None:
    """All objects on the command line, -S, boot under protection."""
    pair = context.pair(delay_ms=500, proxy_at_start=True)
    pair.start()
    pair.protect()
    context.step("protected before the guest has booted")
    pair.p.wait_console("colo-guest: ready", 60)
    client = context.client()
    client.wait_progress(100)
    kill_and_verify(context, pair, client)


@case(timeout_s=90)
def replicated_disk(context: Context) -> None:
    """Durable writes go through replication and survive the primary."""
    pair = context.protected_pair(delay_ms=500, disk="replicated")
    client = context.client(work="kv,echo,durable")
    client.wait_progress(100)
    pair.wait_checkpoints(5)
    kill_and_verify(context, pair, client)


@case(timeout_s=90)
def replicated_disk_secondary_dies(context: Context) -> None:
    """The same, and it is the secondary which dies."""
    pair = context.protected_pair(delay_ms=500, disk="replicated")
    client = context.client(work="kv,echo,durable")
    client.wait_progress(100)
    pair.wait_checkpoints(3)
    context.step("kill the secondary")
    pair.secondary().kill()
    pair.wait_peer_lost(pair.p)
    pair.failover_to_primary()
    pair.wait_alone(pair.p)
    client.wait_progress(100)
    client.verify()


@case(timeout_s=90, reference=False)
def bulk_both_ways(context: Context) -> None:
    """Checked bulk streams run across checkpoints and across the kill."""
    pair = context.protected_pair(delay_ms=500)
    client = context.client(work="source,sink,echo")
    pair.wait_checkpoints(5)
    kill_and_verify(context, pair, client)


@case(timeout_s=90, reference=False)
def status_and_events(context: Context) -> None:
    """query-colo, query-colo-status and the events agree at each step."""
    pair = context.booted_pair(delay_ms=300)
    second = pair.secondary()
    for machine in (pair.p, second):
        expect(machine, "none", "off")
    pair.protect()
    expect(pair.p, "primary", "protected", "checkpoint")
    expect(second, "secondary", "protected", "checkpoint")
    for machine, role in ((pair.p, "primary"), (second, "secondary")):
        check_equal(machine.qmp.cmd("query-colo-status")["mode"], role,
                    f"mode of {machine.name}")
        machine.qmp.wait_event("COLO_STATUS", 5, match=lambda d: d["state"]
                               == "protected" and d["cause"] == "none")
    epoch = status.query(pair.p)["epoch"]
    pair.p.qmp.cmd("colo-checkpoint")
    check(status.query(pair.p)["epoch"] > epoch, "no new epoch after "
          "colo-checkpoint")
    check("role: primary" in pair.p.qmp.hmp("info colo"), "info colo")
    pair.wait_checkpoints(3)
    counts = status.query(pair.p)["checkpoints"]
    check(counts["periodic"] >= 2, f"checkpoints by reason: {counts}")
    check_equal(counts["user"], 1, "checkpoints that a user asked for")
    pair.p.kill()
    pair.wait_peer_lost(second)
    info = expect(second, "secondary", "lost")
    for field in ("cause", "reason", "remedy"):
        check(info[field], f"no {field} after the loss of the primary")
    check_equal(second.qmp.wait_event("COLO_EXIT", 5)["data"],
                {"mode": "secondary", "reason": "error"}, "COLO_EXIT")
    pair.failover_to_secondary()
    pair.wait_alone(second)
    expect(second, "secondary", "alone")
    second.qmp.wait_event("COLO_EXIT", 5,
                          match=lambda d: d["reason"] == "request")
    check_equal(second.qmp.cmd("query-colo-status")["mode"], "none",
                "mode of the survivor")


def expect(machine: VM, role: str, *states: str) -> Dict[str, Any]:
    """Check role and state of one side; its query-colo."""
    info = status.query(machine)
    check_equal(info["role"], role, "role")
    check(info["state"] in states, f"state {info['state']}, not {states}")
    return info
