# SPDX-License-Identifier: GPL-2.0-or-later
"""The peer, or the link, misbehaves at every message of the protocol.

Two real QEMUs with the self-checking boot-sector guest, and between them a
relay that breaks one message.  Whatever is broken: both sides notice within
the configured limit, say why, answer their monitors, never both go on, and
the one that is told to go on does so with sound memory.
"""

import time
from typing import List, Tuple

from colo import bootsector, pair as pair_module, procs, status
from colo.case import Context, add, case, check, check_equal
from colo.pair import Pair
from colo.qmp import QMPClosed
from colo.vm import VM, Spec
from relay import Damage, Relay

RELAY_PORT = 9990
STEP_LIMIT_MS = 2000        # once there is something to notice
HEARTBEAT_MS = 100
MONITOR_LIMIT_S = 4.0       # less than the step limit that a pair begins with
NOTICE_LIMIT_S = 8.0
SETUP = ("HELLO", "READY", "START")
FROM_PRIMARY = ("HELLO", "START", "REQUEST", "STATE", "PAGES", "DEVICE",
                "END", "PING")
FROM_SECONDARY = ("READY", "DIRTY", "REPLY", "RECEIVED", "LOADED", "PONG")
ENDED = "ended"             # a secondary without a claim ends by itself
OVER = ("lost", "alone", "dead", "off", ENDED)


def rows() -> List[Tuple[str, str]]:
    """All (message, damage) pairs that make sense."""
    found = []
    for message in FROM_PRIMARY + FROM_SECONDARY:
        for kind in ("eof", "silence", "flip-header"):
            found.append((message, kind))
    for message in ("HELLO", "DIRTY", "PAGES", "DEVICE", "END"):
        found += [(message, "cut"), (message, "stall")]
    for message in ("STATE", "PAGES", "DEVICE", "END"):
        found.append((message, "flip-payload"))
    for message in ("HELLO", "REQUEST", "PAGES", "END", "LOADED", "REPLY"):
        found += [(message, "garbage"), (message, "twice")]
    for message in ("REQUEST", "STATE", "DEVICE", "END", "RECEIVED",
                    "LOADED"):
        found += [(message, "other-epoch"), (message, "lost")]
    for message in ("STATE", "DEVICE", "END", "REPLY"):
        found.append((message, "swallowed"))
    for message in ("HELLO", "REQUEST"):
        found += [(message, "other-version"), (message, "unknown-type"),
                  (message, "unknown-flag"), (message, "huge")]
    return found


class RelayedPair(Pair):
    """A pair whose primary migrates to the relay."""

    def begin(self) -> None:
        self.configure()
        self.p.qmp.cmd("migrate", {"uri": f"tcp:127.0.0.1:{RELAY_PORT}"})


def state_of(machine: VM) -> str:
    """The state of one side; its monitor must answer at once.

    A primary that says goodbye is "lost" to its users, but may still learn
    that its secondary lets it go on: "parting" here, which is not the end.
    """
    machine.qmp.timeout_s = MONITOR_LIMIT_S
    try:
        info = status.query(machine)
        return str("parting" if info["phase"] == "parting"
                   else info["state"])
    except QMPClosed:
        code = machine.wait_exit(5)
        check(code == 1, f"{machine.name} ended with {code}\n"
              + machine.log_tail())
        check("without taking over" in machine.log_tail(),
              f"{machine.name} ended without a word")
        return ENDED


def run_row(context: Context, message: str, kind: str) -> None:
    """One message, one damage, both sides checked."""
    pair = make_pair(context)
    pair.start()
    procs.wait_until(lambda: bootsector.progress(pair.p.console()), 20,
                     "the boot sector at work")
    nth = 1 if message in SETUP else 4
    relay = Relay(RELAY_PORT, pair_module.MIGRATE_PORT,
                  Damage(message, kind, nth))
    pair.begin()
    check(relay.done.wait(15), f"message {nth} of type {message} never "
          f"came; seen: {relay.seen}")
    lose_patience(pair)
    context.step(f"{kind} at {message} number {nth}")
    states = wait_over(context, pair)
    check(not relay.errors, f"relay: {relay.errors}")
    check_words(pair)
    go_on(context, pair, states, message)


@case(linux=False, reference=False)
def peer_quits_in_a_frame(context: Context) -> None:
    """A secondary that ends while it receives says goodbye all the same."""
    pair = make_pair(context)
    pair.start()
    relay = Relay(RELAY_PORT, pair_module.MIGRATE_PORT,
                  Damage("PAGES", "half", 4))
    pair.begin()
    check(relay.done.wait(15), f"no PAGES; seen: {relay.seen}")
    pair.secondary().qmp.cmd("quit")
    pair.wait_alone(pair.p, NOTICE_LIMIT_S)
    check_equal(status.query(pair.p)["cause"], "peer-quit", "cause")
    check_equal(pair.secondary().wait_exit(), 0, "exit code")


def lose_patience(pair: Pair) -> None:
    """From here on both wait for each other for a short time only.

    Not before: a busy machine must not part them by itself.
    """
    for machine in (pair.p, pair.secondary()):
        try:
            machine.qmp.try_cmd("colo-set-parameters",
                                {"step-limit": STEP_LIMIT_MS})
        except QMPClosed:
            pass                # it has noticed


def make_pair(context: Context) -> Pair:
    """A pair that asks often whether the other one is there."""
    config = pair_module.Config(
        spec=Spec(memory_mib=32, linux=False,
                  extra=bootsector.options(context.run_dir)),
        network=False, delay_ms=250,
        limits={"heartbeat": HEARTBEAT_MS})
    made = RelayedPair(context.binary, context.run_dir, context.log_dir,
                       None, config)
    context.at_end(made.close)
    return made


def wait_over(context: Context, pair: Pair) -> Tuple[str, str]:
    """Until both sides have noticed; their states."""
    limit = time.monotonic() + NOTICE_LIMIT_S
    while True:
        states = (state_of(pair.p), state_of(pair.secondary()))
        check(states != ("alone", "alone"), "both sides go on")
        if all(state in OVER for state in states):
            break
        if time.monotonic() > limit:
            raise TimeoutError(f"states {states} {NOTICE_LIMIT_S} s later")
        time.sleep(0.02)
    check(states[0] != ENDED, "the primary ended")
    context.step(f"primary {status.describe(pair.p)}")
    if states[1] != ENDED:
        context.step(f"secondary {status.describe(pair.secondary())}")
    return states


def check_words(pair: Pair) -> None:
    """A side that is not protected any more says why and what to do."""
    for machine in (pair.p, pair.secondary()):
        if state_of(machine) in ("off", "dead", ENDED):
            continue            # "dead": it is about to end
        info = status.query(machine)
        for field in ("cause", "reason", "remedy"):
            check(info[field] and info[field] != "none",
                  f"{machine.name}: {info['state']} without {field}")


def check_refused(second: VM) -> None:
    """A secondary without a claim does not take over; it may just end."""
    try:
        error = second.qmp.try_cmd("x-colo-lost-heartbeat")
    except QMPClosed:
        return
    check(error is not None, "a secondary without a claim took over")


def go_on(context: Context, pair: Pair, states: Tuple[str, str],
          message: str) -> None:
    """One side is told to go on, and does; the other is refused."""
    second = pair.secondary()
    if states[1] not in ("lost", ENDED):
        check_refused(second)
    take_secondary = states == ("lost", "lost") and len(message) % 2 == 0
    if take_secondary:
        survivor, victim = second, pair.p
    else:
        check(states[0] in ("lost", "alone", "off"),
              f"nobody can go on: {states}")
        survivor, victim = pair.p, second
    victim.kill()
    if state_of(survivor) == "lost":
        survivor.qmp.cmd("x-colo-lost-heartbeat")
    procs.wait_until(lambda: survivor.runstate() == "running", 5,
                     f"the guest running at {survivor.name}")
    before = len(bootsector.progress(survivor.console()))
    procs.wait_until(
        lambda: len(bootsector.progress(survivor.console())) > before + 8,
        10, f"the guest going on at {survivor.name}")
    context.step(f"{survivor.name} goes on with sound memory")


def _register() -> None:
    for message, kind in rows():
        def body(context: Context, message: str = message,
                 kind: str = kind) -> None:
            run_row(context, message, kind)
        body.__doc__ = f"the link: {kind} at {message}"
        add(f"peer_{message.lower()}_{kind.replace('-', '_')}", body,
            timeout_s=60, linux=False, reference=False)


_register()
