# SPDX-License-Identifier: GPL-2.0-or-later
"""One subject, one round: a guest is measured from its client's side.

A subject is a QEMU binary with or without protection.  The result is a flat
dictionary of figures, units in the names, plus the phases of checkpoints
where QEMU tells them.  A *pause* is the time in which the primary's guest
stood still for one checkpoint: from query-colo where QEMU has it, else from
the STOP and RESUME events.
"""

import dataclasses
import statistics
import time
from typing import Any, Dict, List

from colo import status
from colo.case import Context
from colo.pair import Pair
from colo.traffic import Client
from colo.vm import Spec

SETTLE_CHECKPOINTS = 2
IDLE_DELAY_MS = 500
LOAD_DELAY_MS = 1000
TRAFFIC_DELAY_MS = 1000
LOADS_MIB_PER_S = (20, 100)
POLL_S = 0.02


@dataclasses.dataclass
class Plan:
    """How long to measure what."""

    memory_mib: int = 256
    channel: str = "tcp"
    disk: str = "readonly"
    form: str = "direct"
    pauses_count: int = 10
    traffic_s: float = 4.0
    loads: bool = True
    traffic: bool = True


class Sampler:
    """Collects one sample per checkpoint."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._ours = pair.ours

    def collect(self, count: int) -> List[Dict[str, Any]]:
        """`count` checkpoints from now on, after a few to settle."""
        self._pair.wait_checkpoints(SETTLE_CHECKPOINTS)
        limit = time.monotonic() + 30 + 3 * count
        found: List[Dict[str, Any]] = []
        mark = self._pair.p.qmp.mark()
        last = self._total()
        while len(found) < count:
            if time.monotonic() > limit:
                raise TimeoutError(f"{len(found)} of {count} checkpoints")
            status.check_not_failed(self._pair.p, self._pair.secondary())
            if self._ours:
                last = self._poll_ours(last, found)
            else:
                found = [{"pause-us": pause_ms * 1000} for _, pause_ms
                         in status.stops(self._pair.p, mark)]
            self._pair.p.qmp.poll(POLL_S)
        return found[:count]

    def _total(self) -> int:
        if not self._ours:
            return 0
        return int(status.query(self._pair.p)["checkpoints-total"])

    def _poll_ours(self, last: int, found: List[Dict[str, Any]]) -> int:
        info = status.query(self._pair.p)
        total = int(info["checkpoints-total"])
        if total > last and info["state"] == "protected":
            timings = {t["name"]: t["last-us"] for t in info["timings"]}
            found.append({"pause-us": timings.pop("pause"),
                          "sent-bytes": info["sent-bytes"],
                          "device-bytes": info["device-bytes"],
                          "phases-us": timings, **{
                              f"{k}-pages": v
                              for k, v in info["pages"].items()}})
        return total


def summarize(samples: List[Dict[str, Any]], prefix: str,
              out: Dict[str, Any]) -> None:
    """Medians of the samples under names that start with `prefix`."""
    pauses = sorted(s["pause-us"] for s in samples)
    out[f"{prefix}-pause-p50-ms"] = statistics.median(pauses) / 1000
    out[f"{prefix}-pause-max-ms"] = pauses[-1] / 1000
    for name in ("sent-bytes", "device-bytes", "dirty-pages",
                 "equal-pages", "sent-pages"):
        values = [s[name] for s in samples if name in s]
        if values:
            out[f"{prefix}-{name}"] = statistics.median(values)
    phases = [s["phases-us"] for s in samples if s.get("phases-us")]
    if phases:
        out[f"{prefix}-phases-us"] = {
            name: statistics.median(p.get(name, 0) for p in phases)
            for name in phases[-1]}


def measure_pauses(pair: Pair, control: Client, plan: Plan,
                   out: Dict[str, Any]) -> None:
    """Pause idle, then under each load."""
    sampler = Sampler(pair)
    pair.set_delay_ms(IDLE_DELAY_MS)
    summarize(sampler.collect(plan.pauses_count), "idle", out)
    if not plan.loads:
        return
    pair.set_delay_ms(LOAD_DELAY_MS)
    for rate in LOADS_MIB_PER_S:
        control.control(f"DIRTY {rate} {rate}")
        summarize(sampler.collect(plan.pauses_count), f"dirty{rate}", out)
        control.control("DIRTY 0")


def measure_traffic(context: Context, plan: Plan,
                    out: Dict[str, Any]) -> None:
    """Round trips and bulk in both directions, seen by the client."""
    report = report_of(context, "echo", plan.traffic_s)
    out["round-trip-p50-us"] = report["p50-us"]
    out["round-trip-p99-us"] = report["p99-us"]
    for work in ("source", "sink"):
        out[f"bulk-{work}-mb-per-s"] = mb_per_s(
            report_of(context, work, plan.traffic_s))


def report_of(context: Context, work: str, seconds: float) -> Dict[str, Any]:
    """What a client that has one work did in a window of time."""
    client = context.client(work, pause_ms=0.5)
    report, = window(client, seconds).values()
    client.close()
    return report


def mb_per_s(report: Dict[str, Any]) -> float:
    """Of bulk, in a window."""
    return float(report["bytes"] / 1e6 / report["window-s"])


def window(client: Client, seconds: float) -> Dict[str, Dict[str, Any]]:
    """What the client did in a window of time."""
    time.sleep(0.5)
    client.mark()
    begin_s = time.monotonic()
    time.sleep(seconds)
    report = client.check()
    length_s = time.monotonic() - begin_s
    for figures in report.values():
        figures["window-s"] = length_s
    return report


def measure_memory(pair: Pair, out: Dict[str, Any]) -> None:
    """What the secondary needs beyond what the same guest needs anyway."""
    primary_kib = pair.p.rss_kib()
    out["primary-rss-mib"] = primary_kib / 1024
    out["secondary-peak-rss-mib"] = pair.secondary().peak_rss_kib() / 1024
    out["secondary-extra-mib"] = (pair.secondary().peak_rss_kib()
                                  - primary_kib) / 1024
    info = status.query(pair.secondary())
    if "staging-peak-bytes" in info:
        out["staging-peak-mib"] = info["staging-peak-bytes"] / (1 << 20)
    if "timings" in info:
        out["secondary-means-us"] = {t["name"]: t["mean-us"]
                                     for t in info["timings"]}
    mismatches = status.query(pair.p).get("checkpoints", {}).get("mismatch")
    if mismatches is not None:
        out["mismatch-checkpoints"] = mismatches


def booted_pair(context: Context, plan: Plan, delay_ms: int) -> Pair:
    """The pair that the plan is for, not yet protected."""
    return context.booted_pair(
        spec=Spec(memory_mib=plan.memory_mib), channel=plan.channel,
        disk=plan.disk, delay_ms=delay_ms,
        form="chardev" if context.is_reference else plan.form)


def protected(context: Context, plan: Plan) -> Dict[str, Any]:
    """All figures of a protected guest."""
    out: Dict[str, Any] = {}
    pair = booted_pair(context, plan, IDLE_DELAY_MS)
    begin_s = time.monotonic()
    pair.protect(180)
    out["protect-s"] = time.monotonic() - begin_s
    control = context.client("")
    measure_pauses(pair, control, plan, out)
    measure_memory(pair, out)
    if plan.traffic:
        pair.set_delay_ms(TRAFFIC_DELAY_MS)
        measure_traffic(context, plan, out)
    return out


def unprotected(context: Context, plan: Plan) -> Dict[str, Any]:
    """The same guest without protection: a primary that nobody protects."""
    out: Dict[str, Any] = {}
    pair = context.booted_primary(
        spec=Spec(memory_mib=plan.memory_mib), disk=plan.disk)
    measure_traffic(context, plan, out)
    out["primary-rss-mib"] = pair.p.rss_kib() / 1024
    return out
