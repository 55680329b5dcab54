# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands, ranges and refusals, as a management program meets them."""

from typing import Any, Dict, List, Set, Tuple

from colo import bootsector, procs, status
from colo.case import Context, add, case, check, check_equal
from colo.pair import Pair
from colo.qmp import QMPClient, QMPClosed, QMPError
from colo.vm import VM, Spec

DEFAULTS = {"step-limit": 5000, "checkpoint-limit": 60000, "heartbeat": 1000,
            "min-gap": 0, "mismatch-gap": 10, "hybrid-enter": 30,
            "hybrid-window": 2000, "hybrid-interval": 50, "hybrid-exit": 20,
            "staging-limit": 0, "page-hash": "auto",
            "checkpoint-events": True}
REFUSED_CAPABILITIES = ("postcopy-ram", "background-snapshot", "release-ram",
                        "mapped-ram")
REASON_BYTES_MIN = 20


def lone_machine(context: Context) -> VM:
    """A QEMU that takes no part in COLO."""
    return context.machine("lone", ["-machine", "none", "-display", "none",
                                    "-nodefaults"]).start()


def refused(monitor: QMPClient, command: str,
            arguments: Dict[str, Any]) -> str:
    """The text of the refusal, which there must be."""
    error = monitor.try_cmd(command, arguments)
    check(error is not None, f"{command} {arguments} was accepted")
    assert error is not None
    check(len(error.desc) >= REASON_BYTES_MIN,
          f"{command}: '{error.desc}' is no reason")
    return error.desc


@case(linux=False, reference=False)
def query_outside_colo(context: Context) -> None:
    """Before COLO everything is none, off and zero."""
    monitor = lone_machine(context).qmp
    info = monitor.cmd("query-colo")
    check_equal((info["role"], info["state"], info["cause"]),
                ("none", "off", "none"), "role, state, cause")
    for field in ("epoch", "checkpoints-total", "staging-bytes"):
        check_equal(info[field], 0, field)
    check_equal(set(info["checkpoints"].values()), {0}, "checkpoint counts")
    check_equal(monitor.cmd("query-colo-status"),
                {"mode": "none", "last-mode": "none", "reason": "none"},
                "query-colo-status")
    check("off" in monitor.hmp("info colo"), "info colo")


@case(linux=False, reference=False)
def commands_outside_colo(context: Context) -> None:
    """Commands which need COLO say so without it."""
    monitor = lone_machine(context).qmp
    for command in ("x-colo-lost-heartbeat", "colo-checkpoint"):
        context.step(refused(monitor, command, {}))
    text = monitor.hmp("x_colo_lost_heartbeat")
    check("rror" in text, f"x_colo_lost_heartbeat printed '{text}'")


@case(linux=False, reference=False)
def parameters_ranges(context: Context) -> None:
    """Each limit has its range; a refused call changes nothing."""
    monitor = lone_machine(context).qmp
    check_equal(monitor.cmd("query-colo-parameters"), DEFAULTS, "defaults")
    bad: List[Tuple[str, Any]] = [
        ("step-limit", 19), ("step-limit", 3600001), ("checkpoint-limit", 99),
        ("checkpoint-limit", 3600001), ("heartbeat", 4),
        ("heartbeat", 600001), ("min-gap", 600001),
        ("mismatch-gap", 600001), ("hybrid-enter", 65),
        ("hybrid-window", 0), ("hybrid-interval", 0), ("hybrid-exit", 0)]
    for name, value in bad:
        text = refused(monitor, "colo-set-parameters", {name: value})
        check(name in text, f"'{text}' does not name {name}")
    refused(monitor, "colo-set-parameters",
            {"min-gap": 10, "step-limit": 0})
    check_equal(monitor.cmd("query-colo-parameters"), DEFAULTS,
                "parameters after refusals")
    wanted = {"step-limit": 900, "checkpoint-limit": 5000, "heartbeat": 100,
              "min-gap": 5, "mismatch-gap": 20, "hybrid-enter": 64,
              "hybrid-window": 3000, "hybrid-interval": 60,
              "hybrid-exit": 30, "staging-limit": 1 << 26,
              "page-hash": "off", "checkpoint-events": False}
    monitor.cmd("colo-set-parameters", wanted)
    check_equal(monitor.cmd("query-colo-parameters"), wanted, "parameters")
    monitor.cmd("colo-set-parameters", {"min-gap": 6})
    check_equal(monitor.cmd("query-colo-parameters"),
                {**wanted, "min-gap": 6}, "parameters after one change")


@case(linux=False, reference=False)
def heartbeat_below_half_step(context: Context) -> None:
    """A heartbeat that could not come in time is refused."""
    monitor = lone_machine(context).qmp
    context.step(refused(monitor, "colo-set-parameters",
                         {"step-limit": 1000, "heartbeat": 500}))
    monitor.cmd("colo-set-parameters", {"step-limit": 1000,
                                        "heartbeat": 499})


@case(linux=False, reference=False)
def state_hash_needs_a_stopped_guest(context: Context) -> None:
    """The digest command refuses a running guest, and is repeatable."""
    machine = context.machine("m", Spec(memory_mib=32, linux=False).argv())
    monitor = machine.start().qmp
    refused(monitor, "x-query-colo-state-hash", {})
    monitor.cmd("stop")
    first = monitor.cmd("x-query-colo-state-hash")
    check_equal(monitor.cmd("x-query-colo-state-hash"), first, "second hash")


def small_pair(context: Context, **settings: Any) -> Pair:
    """A pair with the boot-sector guest."""
    settings.setdefault("delay_ms", 200)
    return context.pair(
        spec=Spec(memory_mib=32, linux=False,
                  extra=bootsector.options(context.run_dir)),
        network=False, **settings)


@case(linux=False, reference=False)
def checkpoint_on_demand(context: Context) -> None:
    """colo-checkpoint answers when done; the secondary refuses it."""
    pair = small_pair(context, delay_ms=60000)
    pair.start()
    pair.protect()
    done = pair.checkpoints()
    for _ in range(20):
        pair.p.qmp.cmd("colo-checkpoint")
    check(pair.checkpoints() >= done + 20, "20 requests, "
          f"{pair.checkpoints() - done} checkpoints")
    info = status.query(pair.p)
    check(info["checkpoints"]["user"] >= 20, f"{info['checkpoints']}")
    check(info["timings"] and info["timings"][0]["name"] == "pause",
          "no pause among the timings")
    refused(pair.secondary().qmp, "colo-checkpoint", {})


@case(linux=False, reference=False)
def capabilities_locked_while_protected(context: Context) -> None:
    """What the pair agreed on cannot be changed under it."""
    pair = small_pair(context)
    pair.start()
    pair.protect()
    for machine in (pair.p, pair.secondary()):
        refused(machine.qmp, "migrate-set-capabilities", {"capabilities": [
            {"capability": "x-colo", "state": False}]})
    pair.wait_checkpoints(2)


def has_given_up(second: VM) -> bool:
    """True once a secondary has ended, or stands still as lost."""
    try:
        return status.query(second)["state"] == "lost"
    except QMPClosed:
        check(second.wait_exit(5) == 1, "the secondary did not end well\n"
              + second.log_tail())
        return True


@case(linux=False, reference=False)
def lost_heartbeat_while_protected(context: Context) -> None:
    """Told to go on alone in good health, the primary does."""
    pair = small_pair(context)
    pair.start()
    pair.protect()
    pair.p.qmp.cmd("x-colo-lost-heartbeat")
    pair.wait_alone(pair.p)
    second = pair.secondary()
    procs.wait_until(lambda: has_given_up(second), 10,
                     "the secondary noticing")
    check(not second.alive() or second.runstate() != "running",
          "both guests run")
    pair.p.qmp.wait_event("COLO_EXIT", 5,
                          match=lambda d: d["reason"] == "request")


@case(linux=False, reference=False)
def yank_ends_a_stuck_channel(context: Context) -> None:
    """yank on the migration channel is noticed as a lost peer."""
    pair = small_pair(context)
    pair.start()
    pair.protect()
    pair.p.qmp.cmd("yank", {"instances": [{"type": "migration"}]})
    for machine in (pair.p, pair.secondary()):
        procs.wait_until(lambda m=machine: status.query(m)["state"] == "lost",
                         5, f"{machine.name} noticing")
    pair.secondary().kill()
    pair.failover_to_primary()
    pair.wait_alone(pair.p)


@case(linux=False, reference=False)
def different_machines_are_refused(context: Context) -> None:
    """A secondary with other memory cannot protect; the guest goes on."""
    pair = small_pair(context)
    pair.start_primary()
    pair.config.spec = Spec(memory_mib=48, linux=False,
                            extra=pair.config.spec.extra)
    pair.start_secondary()
    pair.begin()
    procs.wait_until(lambda: pair.p.qmp.cmd("query-migrate").get("status")
                     in ("failed", "completed"), 15, "the end of the attempt")
    procs.wait_until(lambda: pair.p.runstate() == "running", 5,
                     "the guest going on")
    check(not pair.p.crashed(), "the primary crashed")


def capability_conflict(context: Context, name: str) -> None:
    """The capability is refused together with x-colo, in either order."""
    for order in (("x-colo", name), (name, "x-colo")):
        machine = context.machine(
            f"{order[0]}-first", Spec(memory_mib=32, linux=False).argv())
        monitor = machine.start().qmp
        try:
            for capability in order:
                monitor.cmd("migrate-set-capabilities", {"capabilities": [
                    {"capability": capability, "state": True}]})
            monitor.cmd("migrate", {"uri": "tcp:127.0.0.1:1"})
        except QMPError as error:
            context.step(f"{order}: {error.desc}")
            check("colo" in error.desc.lower(), f"the refusal of {name} does "
                  f"not speak of COLO: '{error.desc}'")
            machine.kill()
            continue
        raise AssertionError(f"{' then '.join(order)} was accepted")


def _register() -> None:
    for name in REFUSED_CAPABILITIES:
        def body(context: Context, name: str = name) -> None:
            capability_conflict(context, name)
        body.__doc__ = f"{name} and x-colo do not go together"
        add(f"conflict_{name.replace('-', '_')}", body, linux=False,
            reference=False)


_register()


def quiet_pair(context: Context, delay_ms: int) -> Pair:
    """A protected pair whose checkpoints raise no events."""
    pair = small_pair(context, delay_ms=delay_ms)
    pair.start()
    for machine in (pair.p, pair.secondary()):
        machine.qmp.cmd("colo-set-parameters", {"checkpoint-events": False})
    pair.protect()
    return pair


@case(linux=False, reference=False)
def quiet_checkpoints(context: Context) -> None:
    """Checkpoints that are no STOP and RESUME; a user's stop still is."""
    pair = quiet_pair(context, 50)
    second = pair.secondary()
    marks = {m: m.qmp.mark() for m in (pair.p, second)}
    begun = status.query(pair.p)["checkpoints-total"]
    procs.wait_until(lambda: status.query(pair.p)["checkpoints-total"]
                     > begun + 5, 10, "five checkpoints")
    for machine, mark in marks.items():
        for name in ("STOP", "RESUME"):
            check(not machine.qmp.seen(name, mark),
                  f"{machine.name} raised {name} for a checkpoint")
    for command, name in (("stop", "STOP"), ("cont", "RESUME")):
        pair.p.qmp.cmd(command)
        pair.p.qmp.wait_event(name, 5, marks[pair.p])
    check_equal(len(pair.p.qmp.seen("STOP", marks[pair.p])), 1, "STOP events")


@case(linux=False, reference=False)
def quiet_checkpoints_have_no_state(context: Context) -> None:
    """Who hears of no STOP reads of no stop either: no RESUME would follow."""
    pair = quiet_pair(context, 1)
    second = pair.secondary()
    begun = status.query(pair.p)["checkpoints-total"]
    states: Dict[VM, Set[str]] = {pair.p: set(), second: set()}
    while status.query(pair.p)["checkpoints-total"] < begun + 500:
        for machine, seen in states.items():
            seen.add(machine.runstate())
    for machine, seen in states.items():
        check_equal(seen, {"running"}, f"states of {machine.name}")
    context.step("a user's stop is seen at once, and its end")
    mark = pair.p.qmp.mark()
    for _ in range(50):
        pair.p.qmp.cmd("stop")
        check_equal(pair.p.runstate(), "paused", "after stop")
        pair.p.qmp.cmd("cont")
        check_equal(pair.p.runstate(), "running", "after cont")
    # The last cont may have met a checkpoint: its RESUME comes at the end.
    begun = status.query(pair.p)["checkpoints-total"]
    procs.wait_until(lambda: status.query(pair.p)["checkpoints-total"]
                     > begun + 1, 10, "the checkpoint's end")
    counts = [len(pair.p.qmp.seen(name, mark)) for name in ("STOP", "RESUME")]
    check_equal(counts[0], counts[1], "STOP and RESUME events")


@case(linux=False, reference=False)
def prepared_secondary(context: Context) -> None:
    """A guest that has not run can be made to wait for a primary."""
    waiting = context.machine("waiting", ["-machine", "none", "-display",
                                          "none", "-nodefaults",
                                          "-S"]).start().qmp
    context.step("before it is told to, it does not listen")
    uri = f"unix:{context.run_dir}/incoming"
    refused(waiting, "migrate-incoming", {"uri": uri})
    for _ in range(2):
        waiting.cmd("colo-prepare-secondary")
        check_equal(waiting.cmd("query-status")["status"], "inmigrate",
                    "status")
    waiting.cmd("migrate-incoming", {"uri": uri})
    running = lone_machine(context).qmp
    context.step(refused(running, "colo-prepare-secondary", {}))
    check_equal(running.cmd("query-status")["status"], "running", "status")
