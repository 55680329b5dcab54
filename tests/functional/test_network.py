# SPDX-License-Identifier: GPL-2.0-or-later
"""The network half in both forms, and what users do to it meanwhile."""

import os
import threading
import time
from typing import Any, Dict, List

from colo import procs, proxy, status
from colo.case import Context, add, case, check, check_equal
from colo.ending import check_client, end_side
from colo.pair import Pair
from colo.qmp import QMPError
from colo.tcpcut import Cut
from colo.traffic import Client
from colo.vm import VM, Spec

GAP_LIMIT_MS = 5000.0
FORMS = ("chardev", "direct")
TRACE = ["-trace", "colo_compare_difference"]
HYBRID = {"hybrid-enter": 5, "hybrid-window": 5000, "hybrid-interval": 100,
          "hybrid-exit": 5}


def compare(pair: Pair) -> Dict[str, Any]:
    """Counters of the comparer."""
    for nic in pair.p.qmp.cmd("query-colo")["nics"]:
        if "compare" in nic:
            return dict(nic["compare"])
    raise AssertionError("query-colo shows no comparer")


def mismatches(pair: Pair) -> Dict[str, int]:
    """Differences so far by reason; nobody's slowness is one."""
    return {m["reason"]: m["count"] for m in compare(pair)["mismatches"]
            if m["reason"] != "timeout"}


# ---- answers leave by comparison, not by waiting ----

def run_matched(context: Context, form: str) -> None:
    """Ordinary traffic is matched and needs no checkpoint."""
    pair = context.protected_pair(form=form, delay_ms=20000,
                                  extra_primary=TRACE)
    client = context.client()
    pair.p.qmp.cmd("colo-checkpoint")
    before = compare(pair)
    client.wait_progress(500)
    after = compare(pair)
    matched = after["matched-frames"] - before["matched-frames"]
    released = after["released-frames"] - before["released-frames"]
    check(matched >= 500, f"only {matched} frames were matched")
    check(released >= 500, f"only {released} frames left")
    asked = status.query(pair.p)["checkpoints"]
    check(asked["timeout"] == 0, f"checkpoints by timeout: {asked}")
    check(after["held-frames"] <= 64, f"held: {after['held-frames']}")
    client.verify()


# ---- a connection that survives one failover after another ----

def run_chain(context: Context, form: str) -> None:
    """One connection, three hosts dead one after the other."""
    pair = context.protected_pair(form=form, delay_ms=300)
    client = context.client()
    for number, side in enumerate(("primary", "primary", "secondary")):
        before = compare(pair)["matched-frames"]
        client.wait_progress(50)
        check(compare(pair)["matched-frames"] > before + 20,
              f"protected for the {number + 1}. time, answers do not match")
        pair.wait_checkpoints(3)
        client.mark()
        context.step(f"kill the {side}")
        end_side(pair, side, "kill")
        client.wait_progress(50)
        context.step("a new secondary")
        pair.reprotect(f"n{number}")
    client.wait_progress(50)
    context.step("kill the primary")
    client.mark()
    end_side(pair, "primary", "kill")
    check_client(context, client, GAP_LIMIT_MS)


# ---- a connection of the epoch in which the primary dies ----

def run_young(context: Context, form: str) -> None:
    """Connections made after the last checkpoint live on."""
    pair = context.protected_pair(form=form, delay_ms=20000,
                                  extra_primary=TRACE)
    context.client("").close()
    client = context.client()
    client.wait_progress(50)
    check(status.query(pair.p)["checkpoints"]["mismatch"] <= 3,
          "connections cost a checkpoint each")
    client.mark()
    end_side(pair, "primary", "kill")
    check_client(context, client, GAP_LIMIT_MS)


def _register() -> None:
    for form in FORMS:
        for name, run in (("matched", run_matched), ("chain", run_chain),
                          ("young", run_young)):
            def body(context: Context, form: str = form,
                     run: Any = run) -> None:
                """One form."""
                run(context, form)
            body.__doc__ = f"{(run.__doc__ or '').strip()} ({form} form)"
            add(f"net_{name}_{form}", body, timeout_s=120, reference=False)


_register()


# ---- the connection between the two sides ----

@case(timeout_s=90, reference=False)
def net_link_cut(context: Context) -> None:
    """The frames' own connection breaks and comes back."""
    pair = context.pair(form="direct", relayed=True, delay_ms=500)
    cut = Cut(proxy.PORT, proxy.RELAYED_PORT)
    context.at_end(cut.close)
    pair.start()
    pair.p.wait_console("colo-guest: ready")
    pair.protect()
    client = context.client()
    client.wait_progress(100)
    context.step("cut the connection")
    cut.stop()
    procs.wait_until(lambda: not compare(pair)["connected"], 10,
                     "the comparer noticing")
    client.wait_progress(20)
    check_equal(status.query(pair.p)["state"] in ("protected", "checkpoint"),
                True, "still protected")
    context.step("let it be made again")
    cut.go_on()
    procs.wait_until(lambda: compare(pair)["connected"], 20, "a connection")
    pair.wait_checkpoints(3)
    before = compare(pair)["matched-frames"]
    client.wait_progress(200)
    check(compare(pair)["matched-frames"] - before >= 100,
          "answers are not matched after the reconnect")
    client.mark()
    end_side(pair, "primary", "kill")
    check_client(context, client, GAP_LIMIT_MS)


# ---- several NICs at once ----

NICS_COUNT = 8


def _more_nics(context: Context) -> Dict[str, Any]:
    """Settings of a pair with seven NICs more, each with its own link."""
    devices: List[str] = []
    primary: List[str] = []
    secondary: List[str] = []
    for number in range(1, NICS_COUNT):
        path = os.path.join(context.run_dir, f"link{number}")
        devices += ["-netdev", f"user,id=hn{number},restrict=on",
                    # Behind the pair's own, which the guest calls eth0.
                    "-device", f"virtio-net-pci,id=e{number},romfile=,"
                               f"netdev=hn{number},addr={16 + number:#x},"
                               f"mac=52:54:00:07:01:{number:02x}"]
        primary += ["-chardev", f"socket,id=more{number},path={path},"
                                "server=on,wait=off",
                    "-object", f"colo-compare,id=comp{number},"
                               f"netdev=hn{number},secondary=more{number}"]
        secondary += ["-chardev", f"socket,id=more{number},path={path},"
                                  "reconnect-ms=1000",
                      "-object", f"filter-rewriter,id=rew{number},"
                                 f"netdev=hn{number},queue=all,"
                                 f"primary=more{number}"]
    return {"spec": Spec(extra=devices), "extra_primary": primary,
            "extra_secondary": secondary}


def _nics(machine: VM, kind: str) -> Dict[str, Any]:
    """What query-colo tells of each netdev's part of that kind."""
    return {nic["netdev"]: nic[kind]
            for nic in machine.qmp.cmd("query-colo")["nics"] if kind in nic}


@case(timeout_s=120, reference=False)
def net_eight_nics(context: Context) -> None:
    """Eight NICs, each with its own comparer; the primary dies."""
    pair = context.protected_pair(form="direct", delay_ms=300,
                                  **_more_nics(context))
    names = [f"hn{number}" for number in range(NICS_COUNT)]
    client = context.client()
    client.wait_progress(100)
    pair.wait_checkpoints(5)
    found = _nics(pair.p, "compare")
    check_equal(sorted(found), names, "NICs with a comparer")
    check_equal([n for n in names if found[n]["mode"] != "match" or
                 not found[n]["connected"]], [], "NICs that do not compare")
    check_equal(len(procs.threads_named(pair.p.pid, "IO colo-comp")),
                NICS_COUNT, "worker threads")
    check_equal(sorted(_nics(pair.secondary(), "rewriter")), names,
                "NICs with a rewriter")
    check(found["hn0"]["matched-frames"] >= 100, "nothing was matched")
    client.wait_progress(100)
    client.mark()
    end_side(pair, "primary", "kill")
    check_client(context, client, GAP_LIMIT_MS)
    check_equal(sorted(_nics(pair.secondary(), "rewriter")), names,
                "NICs of the survivor")


# ---- what users do ----

@case(timeout_s=60, reference=False)
def net_parts_stay(context: Context) -> None:
    """Parts cannot be taken away while protected; frames go on."""
    pair = context.protected_pair(delay_ms=500)
    client = context.client()
    _refused(pair, ["comp0", "m0", "redire0", "redire1"],
             ["f1", "f2", "rew0"])
    client.wait_progress(100)
    client.verify()


def _refused(pair: Pair, primary: List[str], secondary: List[str]) -> None:
    for machine, names in ((pair.p, primary), (pair.secondary(), secondary)):
        for name in names:
            try:
                machine.qmp.cmd("object-del", {"id": name})
            except QMPError as error:
                check("in use" in str(error), f"object-del {name}: {error}")
            else:
                raise AssertionError(f"{name} was deleted while protected")


@case(timeout_s=90, reference=False)
def net_pass_rule(context: Context) -> None:
    """A rule lets a divergent service pass; without it each answer costs."""
    pair = context.protected_pair(form="direct", delay_ms=20000,
                                  extra_primary=TRACE)
    client = context.client("")
    rule = {"name": "time", "protocol": "tcp", "direction": "inbound",
            "port": 7002}
    pair.p.qmp.cmd("colo-pass-add", {"compare": "comp0", "rule": rule})
    before = mismatches(pair)
    for _ in range(20):
        client.control("TIME")
    check_equal(mismatches(pair), before, "mismatches under the rule")
    listed = pair.p.qmp.cmd("query-colo-pass", {"compare": "comp0"})
    check_equal(listed[0]["rule"]["name"], "time", "the rule")
    check(listed[0]["frames"] >= 40, f"frames by the rule: {listed}")
    pair.p.qmp.cmd("colo-pass-remove", {"compare": "comp0", "name": "time"})
    for _ in range(20):
        client.control("TIME")
    check(mismatches(pair).get("payload", 0) > 0,
          "the service is not divergent: this test shows nothing")


@case(timeout_s=90, reference=False)
def net_hybrid(context: Context) -> None:
    """A storm of mismatches begins the hybrid mode; calm ends it."""
    pair = context.protected_pair(form="direct", delay_ms=20000,
                                  limits=HYBRID)
    noisy = context.client("")
    client = context.client()
    stop = threading.Event()

    def storm() -> None:
        while not stop.is_set():
            noisy.control("TIME")
    thread = threading.Thread(target=storm)
    thread.start()
    try:
        procs.wait_until(lambda: _hybrid(pair)["active"], 30, "hybrid mode")
        wait_mode(pair, "buffer")
        client.wait_progress(20)
    finally:
        stop.set()
        thread.join()
    procs.wait_until(lambda: not _hybrid(pair)["active"], 30,
                     "the end of hybrid mode")
    wait_mode(pair, "match")
    check(_hybrid(pair)["entered"] >= 1, "hybrid mode was not counted")
    client.verify()


def wait_mode(pair: Pair, mode: str) -> None:
    """It changes between two epochs, at the end of that checkpoint."""
    procs.wait_until(lambda: compare(pair)["mode"] == mode, 5,
                     f"the comparer's mode {mode}")


def _hybrid(pair: Pair) -> Dict[str, Any]:
    return dict(pair.p.qmp.cmd("query-colo")["hybrid"])


@case(timeout_s=60, reference=False)
def net_open_before(context: Context) -> None:
    """Comparer in place from the start: traffic flows unprotected too."""
    pair = context.pair(form="direct", proxy_at_start=True)
    pair.start_primary()
    pair.p.qmp.cmd("cont")
    pair.p.wait_console("colo-guest: ready")
    client = context.client()
    client.wait_progress(100)
    check_equal(compare(pair)["mode"], "pass", "the comparer's mode")
    pair.start_secondary()
    pair.protect()
    check_equal(compare(pair)["mode"], "match", "the comparer's mode")
    client.wait_progress(100)
    client.mark()
    end_side(pair, "secondary", "kill")
    check_client(context, client, GAP_LIMIT_MS)
    check_equal(compare(pair)["mode"], "pass", "the comparer's mode")


@case(timeout_s=60, reference=False)
def net_secondary_hears_the_mirror_only(context: Context) -> None:
    """Broadcasts on the secondary's own wire are not for its guest."""
    pair = context.protected_pair(form="direct", delay_ms=20000,
                                  extra_primary=TRACE)
    client: Client = context.client()
    client.wait_progress(50)
    before = mismatches(pair)
    context.net.client_run(["sh", "-c",
                            "for i in 1 2 3 4 5; do arping -c 1 -I eth0 "
                            "10.0.7.99 >/dev/null 2>&1; done; true"])
    time.sleep(0.5)
    client.wait_progress(50)
    check_equal(mismatches(pair), before, "mismatches")
    client.mark()
    end_side(pair, "primary", "kill")
    check_client(context, client, GAP_LIMIT_MS)
