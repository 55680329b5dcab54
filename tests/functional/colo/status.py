# SPDX-License-Identifier: GPL-2.0-or-later
"""What a QEMU says about its protection, in one vocabulary.

Our QEMU answers query-colo and raises COLO_STATUS.  The one it replaces has
query-colo-status and COLO_EXIT only; what it cannot say is derived from
query-migrate, and from the STOP and RESUME events that each checkpoint
raises on the primary.  Fields which this file does not know are ignored.
"""

from typing import Any, Dict, List, Optional, Tuple

from . import procs, qmp, vm

PROTECTED = ("protected", "checkpoint")
LOST = ("lost",)
ALONE = ("alone",)


def query(machine: vm.VM) -> Dict[str, Any]:
    """query-colo, or what the other QEMU says in its place."""
    if machine.qmp.has_command("query-colo"):
        return machine.qmp.cmd("query-colo")
    answer = machine.qmp.cmd("query-colo-status")
    return {"role": answer["mode"], "state": "", "reason": answer["reason"],
            "last-role": answer["last-mode"]}


def describe(machine: vm.VM) -> str:
    """A short text for error messages; never raises."""
    try:
        info = query(machine)
        text = f"{info.get('role')}/{info.get('state')}"
        if info.get("reason"):
            text += f" ({info['reason']})"
        migration = machine.qmp.cmd("query-migrate")
        text += f", migration {migration.get('status', 'none')}"
        if migration.get("error-desc"):
            text += f": {migration['error-desc']}"
        return text + f", {machine.runstate()}"
    except (qmp.QMPError, qmp.QMPTimeout, qmp.QMPClosed) as error:
        return f"no answer ({error})"


def is_protected(primary: vm.VM, secondary: vm.VM, ours: bool) -> bool:
    """True once both sides say that the guest is protected."""
    if ours:
        sides = (("primary", query(primary)), ("secondary", query(secondary)))
        return all(info["role"] == role and info["state"] in PROTECTED
                   for role, info in sides)
    if primary.qmp.cmd("query-migrate").get("status") != "colo":
        return False
    return (query(primary)["role"] == "primary"
            and query(secondary)["role"] == "secondary"
            and secondary.runstate() == "running"
            and primary.runstate() == "running")


def check_not_failed(primary: vm.VM, secondary: vm.VM) -> None:
    """Raise if protection ended or one side is gone."""
    for machine in (primary, secondary):
        if not machine.alive():
            raise RuntimeError(f"{machine.name} ended unexpectedly\n"
                               + machine.log_tail())
        migration = machine.qmp.cmd("query-migrate")
        if migration.get("status") in ("failed", "cancelled"):
            raise RuntimeError(f"migration on {machine.name}: "
                               f"{describe(machine)}\n{machine.log_tail()}")
        exits = machine.qmp.seen("COLO_EXIT")
        if exits:
            raise RuntimeError(f"{machine.name} left COLO: "
                               f"{exits[-1]['data']}, {describe(machine)}\n"
                               + machine.log_tail())


def checkpoints(primary: vm.VM, ours: bool) -> int:
    """Completed checkpoints since protection began."""
    if ours:
        return int(query(primary)["checkpoints-total"])
    return len(stops(primary))


def stops(primary: vm.VM, since: int = 0) -> List[Tuple[float, float]]:
    """(moment in seconds, length in ms) of each STOP..RESUME pair."""
    primary.qmp.poll()
    pairs: List[Tuple[float, float]] = []
    stopped: Optional[float] = None
    for event in primary.qmp.events[since:]:
        if event["event"] == "STOP":
            stopped = qmp.event_time_s(event)
        elif event["event"] == "RESUME" and stopped is not None:
            length_ms = (qmp.event_time_s(event) - stopped) * 1000
            pairs.append((stopped, length_ms))
            stopped = None
    return pairs


def wait_lost(survivor: vm.VM, ours: bool, timeout_s: float) -> None:
    """Until the survivor has noticed that its peer is gone."""
    if ours:
        procs.wait_until(lambda: query(survivor)["state"] in LOST + ALONE,
                         timeout_s,
                         f"{survivor.name} noticing that its peer is lost")
    else:
        survivor.qmp.wait_event("COLO_EXIT", timeout_s)


def is_alone(survivor: vm.VM) -> bool:
    """True if the survivor runs and no longer has a role in COLO."""
    info = query(survivor)
    if survivor.runstate() != "running":
        return False
    if info["state"]:
        return info["state"] in ALONE
    return info["role"] == "none"
