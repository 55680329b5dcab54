# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs cases, each in its own process, network and directory.

Prints TAP: one `ok`/`not ok` line per case, a reason for each skip, and
`N passed, N failed, N skipped` at the end.  Ctrl-C ends what runs and leaves
nothing behind.
"""

import argparse
import dataclasses
import fnmatch
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, List, Optional

from . import netns, procs, vm
from .case import CASES, Case
from .worker import EXIT_SKIP, load_cases

FUNCTIONAL = os.path.join(vm.TOP, "tests", "functional")
END_GRACE_S = 10.0
JOBS_MAX = 2        # a pair under load keeps two processors busy


@dataclasses.dataclass
class Outcome:
    """How a case ended."""

    case: Case
    result: str             # passed, failed or skipped
    reason: str
    seconds: float


class Job:
    """A case that runs."""

    def __init__(self, what: Case, options: argparse.Namespace,
                 enter: List[str]) -> None:
        self.case = what
        self.log_dir = os.path.join(options.results, what.name)
        shutil.rmtree(self.log_dir, ignore_errors=True)
        os.makedirs(self.log_dir)
        self.log_path = os.path.join(self.log_dir, "test.log")
        self.run_dir = tempfile.mkdtemp(prefix="colo-")
        self.keep = options.keep
        self.start_s = time.monotonic()
        self._ended_s: Optional[float] = None
        argv = enter + [sys.executable, "-m", "colo.worker", what.name,
                        "--binary", options.binary, "--run-dir", self.run_dir,
                        "--log-dir", self.log_dir]
        for directory in options.cases:
            argv += ["--cases", directory]
        if options.is_reference:
            argv.append("--is-reference")
        self._shown_bytes = 0 if options.verbose else -1
        with open(self.log_path, "wb") as log:
            self.process = procs.spawn(
                argv, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                stdout=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": FUNCTIONAL,
                     "PYTHONDONTWRITEBYTECODE": "1"})

    def poll(self) -> Optional[int]:
        """The exit code once it has ended; enforces the time limit."""
        code = self.process.poll()
        age_s = time.monotonic() - self.start_s
        self._show()
        if code is None and age_s > self.case.timeout_s:
            if self._ended_s is None:
                self._ended_s = age_s
                self.process.terminate()
            elif age_s > self._ended_s + END_GRACE_S:
                self.kill()
                code = self.process.wait()
        return code

    def _show(self) -> None:
        if self._shown_bytes < 0:
            return
        with open(self.log_path, "rb") as file:
            file.seek(self._shown_bytes)
            text = file.read()
        self._shown_bytes += len(text)
        sys.stdout.write(text.decode(errors="replace"))
        sys.stdout.flush()

    def kill(self) -> None:
        """End the case and all that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def finish(self, code: int) -> Outcome:
        """Tidy up and say how it went."""
        self.kill()
        self.process.wait()
        if not self.keep:
            shutil.rmtree(self.run_dir, ignore_errors=True)
        result = {0: "passed", EXIT_SKIP: "skipped"}.get(code, "failed")
        return Outcome(self.case, result, self._reason(code),
                       time.monotonic() - self.start_s)

    def _reason(self, code: int) -> str:
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            reasons = [line[7:].strip() for line in file
                       if line.startswith("RESULT ")]
        if reasons:
            return reasons[-1]
        return f"see {self.log_path}" if code else ""


def select(patterns: List[str], everything: bool) -> List[Case]:
    """The cases that match; all but the slow ones without a pattern."""
    if not patterns:
        return [c for c in CASES.values() if everything or not c.slow]
    chosen = []
    for what in CASES.values():
        if any(fnmatch.fnmatch(what.name, p) or what.group == p
               for p in patterns):
            chosen.append(what)
    return chosen


def cannot_run(what: Case, options: argparse.Namespace) -> str:
    """Why the case cannot run on this machine; empty if it can."""
    if not os.path.exists(options.binary):
        return f"no {options.binary}: run ./configure and make build"
    if what.linux and vm.guest_missing():
        return vm.guest_missing()
    if options.is_reference and not what.reference:
        return "only for this project's QEMU"
    return ""


def report(number: int, outcome: Outcome) -> None:
    """One TAP line, and where to look after a failure."""
    word = "not ok" if outcome.result == "failed" else "ok"
    line = f"{word} {number} - {outcome.case.name}"
    if outcome.result == "skipped":
        line += f" # SKIP {outcome.reason}"
    else:
        line += f" # {outcome.seconds:.1f} s"
    print(line, flush=True)
    if outcome.result == "failed":
        print(f"# {outcome.reason}", flush=True)


def run_all(chosen: List[Case], options: argparse.Namespace,
            enter: List[str]) -> List[Outcome]:
    """Run the cases, `jobs` at a time."""
    outcomes: List[Outcome] = []
    running: List[Job] = []
    waiting = list(chosen)

    def done(outcome: Outcome) -> None:
        outcomes.append(outcome)
        report(len(outcomes), outcome)
    try:
        while waiting or running:
            while waiting and len(running) < options.jobs:
                what = waiting.pop(0)
                problem = cannot_run(what, options)
                if problem:
                    done(Outcome(what, "skipped", problem, 0.0))
                else:
                    running.append(Job(what, options, enter))
            for job in list(running):
                code = job.poll()
                if code is not None:
                    running.remove(job)
                    done(job.finish(code))
            time.sleep(0.05)
    finally:
        # A second Ctrl-C must not interrupt the tidying up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for job in running:
            job.finish(1)
    return outcomes


def parse(argv: List[str], description: str) -> argparse.Namespace:
    """The command line, the same for every suite."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("patterns", nargs="*", metavar="CASE",
                        help="names, globs or groups; default: all but slow")
    parser.add_argument("--list", action="store_true", help="show the cases")
    parser.add_argument("--all", action="store_true",
                        help="the slow cases, too")
    parser.add_argument("--binary", default=vm.BINARY,
                        help="the QEMU to test, default build/")
    parser.add_argument("--reference", metavar="BINARY",
                        help="test the QEMU that is replaced, instead")
    parser.add_argument("--jobs", type=int,
                        default=min(JOBS_MAX, os.cpu_count() or 1),
                        help="cases at the same time, default %(default)s")
    parser.add_argument("--results", metavar="DIR",
                        help="where the logs go, default build/results/")
    parser.add_argument("--keep", action="store_true",
                        help="keep the run directories (images, sockets)")
    parser.add_argument("--verbose", action="store_true",
                        help="show what each case does ")
    return parser.parse_args(argv)


def main(argv: List[str], directory: str, suite: str,
         description: str) -> int:
    """Run the suite whose cases lie in `directory`."""
    options = parse(argv, description)
    options.cases = [directory]
    options.is_reference = bool(options.reference)
    options.binary = os.path.abspath(options.reference or options.binary)
    options.results = os.path.abspath(options.results or os.path.join(
        vm.TOP, "build", "results", suite))
    load_cases(options.cases)
    chosen = select(options.patterns, options.all)
    if options.list:
        for what in CASES.values():
            mark = " (slow)" if what.slow else ""
            print(f"{what.group:12} {what.name:36} {what.summary()}{mark}")
        return 0
    if not chosen:
        print(f"no case matches {options.patterns}; see --list",
              file=sys.stderr)
        return 2
    return run_suite(chosen, options)


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def run_suite(chosen: List[Case], options: argparse.Namespace) -> int:
    """Run and summarise; the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    print(f"1..{len(chosen)}", flush=True)
    try:
        enter = netns.enter_command()
        outcomes = run_all(chosen, options, enter)
    except netns.NoNetwork as problem:
        outcomes = [Outcome(c, "skipped", str(problem), 0.0) for c in chosen]
        for number, outcome in enumerate(outcomes, 1):
            report(number, outcome)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    count = {word: sum(o.result == word for o in outcomes)
             for word in ("passed", "failed", "skipped")}
    print(", ".join(f"{count[w]} {w}" for w in count), flush=True)
    return 1 if count["failed"] else 0
