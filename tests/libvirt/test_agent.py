# SPDX-License-Identifier: GPL-2.0-or-later
"""`colo agent`: takes over where nothing has to be decided."""

import json
import os
import signal
import statistics
import time
from typing import Any, Dict, List

from colo.case import Context, case, check, check_equal
from colo.traffic import longest_gap_ms
from domains import Disk, Domain, Plain, boot
from hosts import Host, Hosts
from program import DONE, Program
from scenario import EXCHANGES, INTERVAL_MS, program, went_on

ROUNDS = 12


def take_over(colo: Program, source: Host, target: Host) -> None:
    """Kill the primary; the agent at the other host does the rest."""
    agent = colo.start("agent", "-c", target.uri, "--once")
    time.sleep(1.0)             # it has nothing to say when it is ready
    source.kill_domain("plain")
    colo.finish(agent, DONE)
    check_equal(colo.status("plain", target)["word"], "Running alone",
                "status behind the takeover")


@case(timeout_s=300, reference=False)
def agent_takeover(context: Context) -> None:
    """The primary's process dies: the agent takes over by itself."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    boot(hosts, Plain())
    client = context.client("kv,durable,echo")
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    client.wait_progress(EXCHANGES)
    client.mark()
    take_over(colo, hosts.a, hosts.b)
    went_on(context, client)
    client.verify()


@case(timeout_s=300, reference=False)
def agent_keeps_still(context: Context) -> None:
    """A primary that was ended, or may live, is not taken over from."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    boot(hosts, Plain(), persistent=True)
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    colo.call("set", "plain", "-c", hosts.a.uri, "--step-limit", "1500",
              "--heartbeat", "300")
    colo.call("set", "plain", "-c", hosts.b.uri, "--step-limit", "1500",
              "--heartbeat", "300")
    agent = colo.start("agent", "-c", hosts.b.uri)
    context.step("the link is cut, both sides live")
    hosts.set_link(False)
    secondary = Domain(hosts.b, "plain")
    secondary.wait_colo("lost")
    time.sleep(3)
    check_equal(secondary.colo()["state"], "lost", "the secondary")
    check(agent.poll() is None, "the agent ended")
    context.step("the primary is ended by its user")
    hosts.set_link(True)
    hosts.a.virsh("destroy", "plain")
    time.sleep(3)
    colo.finish(agent, None, signal.SIGTERM)
    check_equal(secondary.colo()["state"], "lost", "the secondary")


@case(timeout_s=900, reference=False, slow=True)
def agent_figures(context: Context) -> None:
    """Figures: start to protected, stall meanwhile, takeover, status."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    boot(hosts, Plain(disks=[Disk()]))
    client = context.client("kv,echo")
    client.wait_progress(EXCHANGES)
    figures: Dict[str, List[float]] = {
        "protect-s": [], "stall-ms": [], "takeover-ms": [], "status-ms": []}
    source, target = hosts.both
    for number in range(ROUNDS):
        context.step(f"round {number}")
        client.mark()
        answer = colo.protect("plain", source, target, "--interval", "1000")
        figures["protect-s"].append(answer.seconds)
        figures["stall-ms"].append(longest_gap_ms(client.check()))
        client.wait_progress(EXCHANGES)
        for _ in range(5):
            start_s = time.monotonic()
            colo.status("plain", source)
            figures["status-ms"].append((time.monotonic() - start_s) * 1000)
        client.mark()
        take_over(colo, source, target)
        client.wait_progress(EXCHANGES)
        figures["takeover-ms"].append(longest_gap_ms(client.check()))
        source, target = target, source
    client.verify()
    report(context, figures)


def report(context: Context, figures: Dict[str, List[float]]) -> None:
    """Write medians and extremes to figures.json beside the log."""
    summary: Dict[str, Any] = {}
    for name, values in figures.items():
        summary[name] = {"p50": round(statistics.median(values), 2),
                         "max": round(max(values), 2), "count": len(values)}
        context.step(f"{name}: {summary[name]}")
    path = os.path.join(context.log_dir, "figures.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(summary, file, indent=2)
