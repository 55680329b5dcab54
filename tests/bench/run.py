#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench`: what protection costs.

The same guest unprotected, protected by our QEMU and, with --reference, by
another one, in turn, round by round, so that a change of the machine's mood
meets all alike.  Prints medians and ratios; writes build/results/bench.json
and build/results/checkpoint-phases.svg.
"""

import argparse
import json
import os
import statistics
import sys
from typing import Any, Dict, List, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "functional"))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from colo import diskload, netns, private, vm  # noqa: E402
import compare_alone  # noqa: E402
import picture  # noqa: E402
import table  # noqa: E402

RESULTS = os.path.join(vm.TOP, "build", "results")
BIG_MEMORY_MIB = 4096
Job = Dict[str, Any]


class Bench:
    """Runs jobs one after the other and keeps what came out."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.errors: List[str] = []
        self._answer = os.path.join(RESULTS, "bench-answer.json")
        self._number = 0

    def run(self, words: str, job: Job) -> Dict[str, Any]:
        """One job in a private network of its own; {} if it failed."""
        self._number += 1
        print(f"  {words} ...", end="", flush=True)
        job = {"binary": self.options.binary, **job, "answer": self._answer,
               "one-cpu-per-host": self.options.one_cpu_per_host}
        job = {**job, "is-reference": job["binary"] == self.options.reference,
               "log-dir": os.path.join(RESULTS, "bench",
                                       f"{self._number:03}-{job['kind']}")}
        if os.path.exists(self._answer):
            os.unlink(self._answer)
        private.call(os.path.join(HERE, "worker.py"), [json.dumps(job)])
        try:
            with open(self._answer, encoding="utf-8") as file:
                answer = json.load(file)
            os.unlink(self._answer)
        except OSError:
            answer = {"error": "the measuring process died"}
        if "error" in answer:
            print(f" FAILED: {answer['error']}", flush=True)
            self.errors.append(f"{words}: {answer['error']}")
            return {}
        print(" done", flush=True)
        return dict(answer["result"])

    # -- kinds of runs ---------------------------------------------------

    def subjects(self) -> List[Tuple[str, str, str]]:
        """(name, kind, binary) of all that is compared."""
        found = [("plain", "unprotected", self.options.binary),
                 ("ours", "protected", self.options.binary)]
        if self.options.reference:
            found.append(("reference", "protected", self.options.reference))
        return found

    def compare(self) -> Dict[str, Any]:
        """The interleaved rounds."""
        rounds: Dict[str, List[Dict[str, Any]]] = {}
        plan = {"memory_mib": self.options.memory,
                "channel": self.options.channel,
                "pauses_count": self.options.pauses}
        for number in range(1, self.options.rounds + 1):
            for name, kind, binary in self.subjects():
                figures = self.run(
                    f"round {number}: {name}",
                    {"kind": kind, "binary": binary, "plan": plan})
                if figures:
                    rounds.setdefault(name, []).append(figures)
        self._with_disk(rounds)
        merged = {name: table.medians(list_) for name, list_ in
                  rounds.items()}
        return {"rounds": rounds, "median": merged}

    def _with_disk(self, rounds: Dict[str, List[Dict[str, Any]]]) -> None:
        """The idle pause once more, with a replicated disk in the pair."""
        plan = {"memory_mib": self.options.memory, "disk": "replicated",
                "channel": self.options.channel, "loads": False,
                "traffic": False, "pauses_count": self.options.pauses}
        for name, kind, binary in self.subjects():
            if kind != "protected" or name not in rounds:
                continue
            figures = self.run(f"idle with a replicated disk: {name}",
                               {"kind": kind, "binary": binary, "plan": plan})
            if figures:
                rounds[name].append({"replicated-pause-p50-ms":
                                     figures["idle-pause-p50-ms"]})

    def compare_alone(self) -> Dict[str, Any]:
        """colo-compare by itself."""
        return compare_alone.rounds(
            self.run, [(name, binary) for name, _, binary in self.subjects()
                       if name != "plain"], self.options.rounds)

    def big(self, idle_ms: float) -> Dict[str, Any]:
        """Does the idle pause grow with the size of the guest?"""
        plan = {"memory_mib": BIG_MEMORY_MIB, "loads": False,
                "traffic": False, "channel": self.options.channel}
        figures = self.run(f"idle pause at {BIG_MEMORY_MIB} MiB",
                           {"kind": "protected", "plan": plan})
        if figures and idle_ms:
            figures["idle-pause-ratio"] = (figures["idle-pause-p50-ms"]
                                           / idle_ms)
        return figures

    def kills(self, count: int) -> Dict[str, Any]:
        """Random kills on each side; who survived."""
        out: Dict[str, Any] = {}
        for side in ("primary", "secondary"):
            gaps = []
            for number in range(count):
                seed = self.options.seed + number
                figures = self.run(
                    f"kill {number + 1} of {count}: {side}, seed {seed}",
                    {"kind": "kill", "side": side, "seed": seed})
                gaps += [figures["gap-ms"]] if figures else []
            out[side] = {"kills": count, "survived": len(gaps),
                         "gap-p50-ms": statistics.median(gaps or [0]),
                         "gap-max-ms": max(gaps or [0])}
        return out

    def disk(self) -> Dict[str, Any]:
        """Writes of the guest, round by round, and a resync."""
        kind = self.options.disk_kind
        out: Dict[str, Any] = {"kind": kind, "rounds": []}
        for number in range(1, self.options.rounds + 1):
            figures = self.run(f"disk {number}: {kind}",
                               {"kind": "disk-writes", "disk": kind})
            out["rounds"] += [figures] if figures else []
        if kind == "symmetric":
            out["resync"] = self.run("disk: resync", {"kind": "disk-resync"})
        return out

    def traffic(self) -> List[Dict[str, Any]]:
        """The network of a protected guest and of one beside it."""
        rounds = [self.run(f"network {number}", {"kind": "traffic"})
                  for number in range(1, self.options.rounds + 1)]
        return [figures for figures in rounds if figures]

    def disk_kills(self, count: int) -> Dict[str, Any]:
        """Random kills under a database and records; what was whole."""
        kind = self.options.disk_kind
        out: Dict[str, Any] = {}
        for side in ("primary", "secondary"):
            whole = 0
            for number in range(count):
                seed = self.options.seed + number
                figures = self.run(
                    f"disk kill {number + 1} of {count}: {side}, seed {seed}",
                    {"kind": "disk-kill", "disk": kind, "side": side,
                     "seed": seed})
                whole += int(figures.get("whole", 0)) if figures else 0
            out[side] = {"kills": count, "whole": whole}
        return out

    def streams(self, count: int) -> Dict[str, Any]:
        """Transfers with the primary killed in the middle; who is whole."""
        out: Dict[str, Any] = {}
        for work in ("fixed", "fixedup"):
            whole = 0
            for number in range(count):
                seed = self.options.seed + number
                figures = self.run(
                    f"stream {number + 1} of {count}: {work}, seed {seed}",
                    {"kind": "stream", "work": work, "seed": seed})
                whole += int(figures.get("whole", 0)) if figures else 0
            out[work] = {"streams": count, "whole": whole}
        return out


def show(result: Dict[str, Any]) -> None:
    """The tables."""
    if result.get("compare"):
        print("\n" + table.render(result["compare"]["median"]))
    if result.get("compare-alone"):
        print("\n" + compare_alone.render(result["compare-alone"]))
    if result.get("big"):
        print(f"idle pause, {BIG_MEMORY_MIB} MiB guest: "
              f"{result['big']['idle-pause-p50-ms']:.2f} ms, "
              f"{result['big'].get('idle-pause-ratio', 0):.2f} times that "
              "of the small one")
    if result.get("soak"):
        print(f"soak: {json.dumps(result['soak'])}")
    for work, figures in result.get("streams", {}).items():
        print(f"96 MB, {work}: {figures['whole']} of {figures['streams']} "
              "whole after the primary was killed in the middle")
    if result.get("mixed"):
        print("a minute of mixed TCP load: " + ", ".join(
            f"{value} {name}" for name, value in result["mixed"].items()))
    if result.get("disk", {}).get("rounds"):
        print(f"\nthe guest's disk, {result['disk']['kind']}:\n"
              + table.render_ranges(result["disk"]["rounds"]))
    if result.get("traffic"):
        print("\nthe guest's network:\n"
              + table.render_ranges(result["traffic"]))
    if result.get("disk", {}).get("resync"):
        print("resync: " + json.dumps(result["disk"]["resync"]))
    for side, figures in result.get("disk-kills", {}).items():
        print(f"kills under a database, {side}: {figures['whole']} of "
              f"{figures['kills']} whole")
    for side, figures in result.get("kills", {}).items():
        print(f"kills, {side}: {figures['survived']} of {figures['kills']} "
              f"survived, longest gap {figures['gap-max-ms']:.0f} ms, median "
              f"{figures['gap-p50-ms']:.0f} ms")


def _before(path: str) -> Dict[str, Any]:
    """What earlier runs left, so that a soak does not erase a comparison."""
    try:
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


def save(result: Dict[str, Any]) -> None:
    """bench.json and the picture."""
    path = os.path.join(RESULTS, "bench.json")
    result = {**_before(path), **result}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1, sort_keys=True)
    print(f"written: {os.path.relpath(path)}")
    ours = result.get("compare", {}).get("median", {}).get("ours", {})
    svg = picture.draw(ours)
    if svg:
        path = os.path.join(RESULTS, "checkpoint-phases.svg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(svg)
        print(f"written: {os.path.relpath(path)}")


def parse(argv: List[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=vm.BINARY)
    parser.add_argument("--reference", help="another QEMU to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pauses", type=int, default=10,
                        help="checkpoints measured per load and round")
    parser.add_argument("--memory", type=int, default=256, metavar="MIB")
    parser.add_argument("--channel", default="tcp", choices=("tcp", "unix"))
    parser.add_argument("--no-big", action="store_true",
                        help=f"leave out the {BIG_MEMORY_MIB} MiB guest")
    parser.add_argument("--compare-alone", action="store_true",
                        help="only colo-compare by itself, frames/s")
    parser.add_argument("--soak", type=int, metavar="N",
                        help="only N checkpoints at 50 ms, RSS growth")
    parser.add_argument("--kills", type=int, metavar="N",
                        help="only N kills at random moments, per side")
    parser.add_argument("--streams", type=int, metavar="N",
                        help="only N transfers each way, primary killed in "
                             "the middle")
    parser.add_argument("--mixed", action="store_true",
                        help="only a minute of mixed TCP load: mismatches")
    parser.add_argument("--traffic", action="store_true",
                        help="only the guest's network: round trips and bulk "
                             "with and without protection, in turn")
    parser.add_argument("--disk", action="store_true",
                        help="only the guest's disk: writes, resync")
    parser.add_argument("--disk-kills", type=int, metavar="N",
                        help="only N kills at random moments under a "
                             "database, per side")
    parser.add_argument("--disk-kind", default=diskload.best_kind(),
                        choices=("replicated", "symmetric"))
    parser.add_argument("--one-cpu-per-host", action="store_true",
                        help="the secondary has a processor of its own, and "
                             "the primary with the client another, also "
                             "where there is no secondary: two equal hosts "
                             "on one machine")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    options.binary = os.path.abspath(options.binary)
    if options.reference:
        options.reference = os.path.abspath(options.reference)
    return options


def missing(options: argparse.Namespace) -> str:
    """What is not there; '' if all is."""
    for binary in (options.binary, options.reference):
        if binary and not os.path.exists(binary):
            return f"no {binary}: run ./configure and make build"
    return "" if options.compare_alone else vm.guest_missing()


def measure_all(bench: Bench, options: argparse.Namespace,
                result: Dict[str, Any]) -> None:
    """The parts that were asked for; without a wish, the usual ones."""
    usual = not (options.soak or options.kills or options.compare_alone or
                 options.streams or options.mixed or options.disk or
                 options.disk_kills or options.traffic)
    if options.soak:
        result["soak"] = bench.run(f"soak, {options.soak} checkpoints",
                                   {"kind": "soak", "count": options.soak})
    if options.kills:
        result["kills"] = bench.kills(options.kills)
    if options.disk_kills:
        result["disk-kills"] = bench.disk_kills(options.disk_kills)
    if usual or options.traffic:
        result["traffic"] = bench.traffic()
    if usual or options.disk:
        result["disk"] = bench.disk()
    if options.streams:
        result["streams"] = bench.streams(options.streams)
    if usual or options.mixed:
        result["mixed"] = bench.run(
            "a minute of mixed TCP load",
            {"kind": "mixed", "binary": options.binary})
    if usual or options.compare_alone:
        result["compare-alone"] = bench.compare_alone()
    if usual:
        result["compare"] = bench.compare()
        idle_ms = result["compare"]["median"].get("ours", {}).get(
            "idle-pause-p50-ms", 0)
        if not options.no_big:
            result["big"] = bench.big(idle_ms)


def main(argv: List[str]) -> int:
    """Entry point."""
    options = parse(argv)
    problem = missing(options)
    if problem:
        print(f"The bench cannot start: {problem}", file=sys.stderr)
        return 1
    os.makedirs(RESULTS, exist_ok=True)
    bench = Bench(options)
    result: Dict[str, Any] = {"binary": options.binary,
                              "reference": options.reference,
                              "channel": options.channel}
    try:
        measure_all(bench, options, result)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except netns.NoNetwork as error:
        print(f"The bench cannot start: {error}", file=sys.stderr)
        return 1
    result["errors"] = bench.errors
    show(result)
    save(result)
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
