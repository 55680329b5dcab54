# SPDX-License-Identifier: GPL-2.0-or-later
"""`colo agent`: takes over where nothing has to be decided."""

import json
import os
import signal
import statistics
import time
from datetime import datetime, timezone
from typing import Any, Dict, List, Sequence

from colo import procs
from colo.case import Context, case, check, check_equal
from colo.traffic import longest_gap_ms
from domains import Disk, Domain, Plain, boot
from hosts import Host, Hosts
from program import Program
from scenario import EXCHANGES, INTERVAL_MS, program, went_on

ROUNDS = 16
SETTLE_S = 0.5              # they look around once more when connected
QUIET_S = 3.0               # so long nothing must happen


class Agents:
    """An agent on each of some hosts, as its user would have it there.

    One on a host sees the process of its own domain end; one of no host
    knows what libvirt tells.
    """

    def __init__(self, colo: Program, hosts: Sequence[Host],
                 inside: bool) -> None:
        self._colo = colo
        self._running = [
            colo.start("agent", on=host) if inside
            else colo.start("agent", "-c", host.uri) for host in hosts]

    def wait_ready(self) -> None:
        """Until each looks after its domain and is connected to the peer."""
        for agent in self._running:
            assert agent.stdout is not None
            said = ""
            while "connected to" not in said:
                said = agent.stdout.readline()
                assert said, "an agent ended"
        time.sleep(SETTLE_S)

    def still_run(self) -> bool:
        """None has ended by itself."""
        return all(agent.poll() is None for agent in self._running)

    def stop(self) -> str:
        """What they said since they were ready, in order of time."""
        lines: List[str] = []
        for agent in self._running:
            lines += self._colo.finish(agent, None,
                                       signal.SIGTERM).splitlines()
        return "\n".join(sorted(lines))


def kill_primary(context: Context, colo: Program, source: Host,
                 target: Host) -> None:
    """Kill the primary's process; agents do the rest."""
    now = datetime.now(timezone.utc)
    source.kill_domain("plain")
    context.step(f"killed at {now:%H:%M:%S.%f}")
    colo.wait_status("plain", target, "Running alone")
    procs.wait_until(lambda: colo.status("plain", target)["here"].get("role")
                     == "survivor", 10.0, "the survivor is tidied up", 0.05)


@case(timeout_s=300, reference=False)
def agent_takeover(context: Context) -> None:
    """The primary's process dies: the agent takes over by itself."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    boot(hosts, Plain())
    client = context.client("kv,durable,echo")
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    agents = Agents(colo, [hosts.b], inside=False)
    agents.wait_ready()
    client.wait_progress(EXCHANGES)
    client.mark()
    kill_primary(context, colo, hosts.a, hosts.b)
    went_on(context, client)
    client.verify()
    check(" took over here " in agents.stop(), "it was not the agent")


@case(timeout_s=300, reference=False)
def agents_takeover(context: Context) -> None:
    """An agent on each host: one of them takes over, and only one."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    boot(hosts, Plain(), persistent=True)
    client = context.client("kv,durable,echo")
    source, target = hosts.both
    for _ in range(2):
        colo.protect("plain", source, target, "--interval", INTERVAL_MS)
        agents = Agents(colo, hosts.both, inside=True)
        agents.wait_ready()
        client.wait_progress(EXCHANGES)
        client.mark()
        kill_primary(context, colo, source, target)
        went_on(context, client)
        said = agents.stop()
        check_equal(said.count(" took over "), 1, said)
        check("could not" not in said and "cannot be" not in said, said)
        source, target = target, source
    context.step("an agent beside the process that dies is enough")
    colo.protect("plain", source, target, "--interval", INTERVAL_MS)
    agents = Agents(colo, [source], inside=True)
    agents.wait_ready()
    client.mark()
    kill_primary(context, colo, source, target)
    went_on(context, client)
    said = agents.stop()
    check(f" took over at {target.uri} " in said, said)
    # It saw the end of the process itself, before libvirt told.
    check("has died, says libvirt" not in said.split(" took over ")[0], said)
    source, target = target, source
    context.step("the secondary dies: the primary's answers go out at once")
    colo.protect("plain", source, target, "--interval", INTERVAL_MS)
    agents = Agents(colo, hosts.both, inside=True)
    agents.wait_ready()
    client.mark()
    kill_primary(context, colo, target, source)
    went_on(context, client)
    said = agents.stop()
    check_equal(said.count(" took over "), 1, said)
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
    agents = Agents(colo, [hosts.b], inside=False)
    agents.wait_ready()
    context.step("the link is cut, both sides live")
    hosts.set_link(False)
    secondary = Domain(hosts.b, "plain")
    secondary.wait_colo("lost")
    time.sleep(QUIET_S)
    check_equal(secondary.colo()["state"], "lost", "the secondary")
    check(agents.still_run(), "the agent ended")
    context.step("the primary is ended by its user")
    hosts.set_link(True)
    hosts.a.virsh("destroy", "plain")
    time.sleep(QUIET_S)
    agents.stop()
    check_equal(secondary.colo()["state"], "lost", "the secondary")


@case(timeout_s=300, reference=False)
def agents_keep_still(context: Context) -> None:
    """Beside the process, too: ended in order, or by force as it hung."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    for way in ("destroy", "quit", "hangs"):
        context.step(f"the primary is ended: {way}")
        boot(hosts, Plain())
        colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
        agents = Agents(colo, hosts.both, inside=True)
        agents.wait_ready()
        secondary = Domain(hosts.b, "plain")
        if way == "quit":
            # Its answer may be cut off by its end.
            hosts.a.refusal("qemu-monitor-command", "plain",
                            '{"execute": "quit"}')
        else:
            if way == "hangs":
                os.kill(hosts.a.domain_pid("plain"), signal.SIGSTOP)
            hosts.a.virsh("destroy", "plain")
        secondary.wait_colo("lost")
        time.sleep(QUIET_S)
        check_equal(secondary.colo()["state"], "lost", "the secondary")
        said = agents.stop()
        check(" took over " not in said, said)
        hosts.b.virsh("destroy", "plain")


@case(timeout_s=900, reference=False, slow=True)
def agent_figures(context: Context) -> None:
    """Figures with an agent at the secondary's host alone."""
    measure(context, False)


@case(timeout_s=900, reference=False, slow=True)
def agents_figures(context: Context) -> None:
    """Figures with an agent on each host, as the tutorial has it."""
    measure(context, True)


def measure(context: Context, both: bool) -> None:
    """Start to protected, stall meanwhile, takeover, status.

    One client always waits for an answer. Another one thinks for 1 ms after
    each: what it asks between death and takeover no host may get, and then it
    waits for TCP's timer of 200 ms.
    """
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    boot(hosts, Plain(disks=[Disk()]))
    figures: Dict[str, List[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    source, target = hosts.both
    for number in range(ROUNDS):
        context.step(f"round {number}")
        kind, pause_ms = (("busy", 0), ("thinking", 1))[number % 2]
        client = context.client("kv,echo", pause_ms=pause_ms)
        client.wait_progress(EXCHANGES)
        client.mark()
        answer = colo.protect("plain", source, target, "--interval", "1000")
        note("protect-s", answer.seconds)
        note("stall-ms", longest_gap_ms(client.check()))
        client.wait_progress(EXCHANGES)
        for _ in range(5):
            note("status-ms", colo.time_ms("status", "plain", "-c",
                                           source.uri, "--json"))
            note("version-ms", colo.time_ms("--version"))
        agents = Agents(colo, hosts.both if both else [target], inside=both)
        agents.wait_ready()
        client.mark()
        kill_primary(context, colo, source, target)
        agents.stop()
        client.wait_progress(EXCHANGES)
        note(f"takeover-{kind}-ms", longest_gap_ms(client.check()))
        client.verify()
        client.close()
        source, target = target, source
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
