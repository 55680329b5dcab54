# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the stages of `make check` and adds up what they say.

Each stage is a list of commands.  A command reports in one of three ways:

- core:   meson's test log of a build of the core, with or without
          sanitizers; the cases are the TAP lines of each test program;
- runner: the last line `N passed, N failed, N skipped` of one of our runners;
- step:   its exit status, as one case (building QEMU, packing the guest).

A command that dies, hangs or says nothing has failed, whatever it counted.
Output goes to build/results/STAGE.log, the sum to build/results/check.json,
and the very last line printed is `N passed, N failed, N skipped`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BUILD = TOP / "build"
RESULTS = BUILD / "results"
VARIANTS = {"core": "none", "core-asan": "address,undefined",
            "core-tsan": "thread"}
PYTHON = "/usr/bin/python3"

TOTAL_LIMIT_S = 80 * 60      # a guard: twice what a quiet 2-core host needs
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped\s*$")
TAP = re.compile(r"^\s*(ok|not ok)\b\s*\d*\s*-?\s*(.*)$")


@dataclass
class Command:
    """One program of a stage, and how its result is read."""
    kind: str
    argv: list
    limit_s: int
    needs: tuple = ()


@dataclass
class Count:
    """Cases by outcome, with the names of those that failed."""
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list = field(default_factory=list)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures

    def fail(self, name):
        self.failed += 1
        self.failures.append(name)

    def __str__(self):
        return (f"{self.passed} passed, {self.failed} failed, "
                f"{self.skipped} skipped")


def core_stage(suite, limit_s, variant="core-asan"):
    return [Command("core", [suite, variant], limit_s)]


def runner(path, limit_s, needs=()):
    return [Command("runner", [PYTHON, path], limit_s, needs)]


EMULATOR = "build/qemu-system-x86_64"
KERNEL = "build/guest/vmlinuz"

STAGES = {
    "unit": core_stage("unit", 120),
    # Without a sanitizer it tries far more schedules in the same time.
    "sim": core_stage("sim", 300, "core") + core_stage("sim", 300),
    "net": core_stage("net", 200),
    "tools": core_stage("tools", 120),
    "disk": core_stage("disk", 120, "core") + core_stage("disk", 120),
    "fuzz": core_stage("fuzz", 120)
    + [Command("step", ["scripts/fuzz.sh", "--build"], 600),
       Command("runner", ["scripts/fuzz.sh", "--smoke"], 240)],
    "lint": runner("tests/lint/run.py", 400),
    "build": [Command("step", ["scripts/build.sh"], 1500)],
    "guest": [Command("step", ["tests/guest/build.sh"], 300),
              Command("step", ["tests/guest/build.sh", "--full"], 600)],
    "qtest": runner("tests/qtest/run.py", 900, (EMULATOR,)),
    "functional": runner("tests/functional/run.py", 2700, (EMULATOR, KERNEL)),
    "libvirt": runner("tests/libvirt/run.py", 1500, (EMULATOR, KERNEL)),
}

# Not part of the whole. tsan: the core has no threads, and this shows that
# its tests stay clean where glue calls it from several.
EXTRA = {
    "tsan": core_stage("unit", 300, "core-tsan")
    + core_stage("sim", 600, "core-tsan"),
}

# A stage asked for by name brings what it runs on.
BRINGS = {"qtest": ["build"], "functional": ["build", "guest"],
          "libvirt": ["build", "guest"]}


def count_tap(text):
    """Cases of one program's TAP output."""
    count = Count()
    for line in text.splitlines():
        match = TAP.match(line)
        if not match:
            continue
        verdict, name = match.groups()
        if re.search(r"#\s*skip", name, re.IGNORECASE):
            count.skipped += 1
        elif verdict == "ok":
            count.passed += 1
        else:
            count.fail(re.sub(r"\s*#.*", "", name))
    return count


def stop(process):
    """End a command and everything that it left in its process group."""
    for number, patience_s in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience_s)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def run(argv, log, limit_s, echo=True):
    """Run with output to the log and, unless told not to, the terminal.

    Returns the lines and the exit status; None as the status means that the
    time limit was reached.
    """
    expired = threading.Event()
    lines = []
    env = dict(os.environ, PYTHONUNBUFFERED="1")
    with subprocess.Popen(argv, cwd=TOP, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", env=env,
                          start_new_session=True) as process:
        def expire():
            expired.set()
            stop(process)
        timer = threading.Timer(max(limit_s, 1), expire)
        timer.start()
        try:
            for line in process.stdout:
                log.write(line)
                log.flush()
                lines.append(line)
                if echo and not SUMMARY.match(line):
                    print("  " + line, end="", flush=True)
            status = process.wait()
        except BaseException:
            stop(process)
            raise
        finally:
            timer.cancel()
    return lines, None if expired.is_set() else status


def ended_badly(argv, status, limit_s):
    what = " ".join(str(arg) for arg in argv)
    if status is None:
        return f"{what}: not done within {limit_s} s"
    return f"{what}: exit status {status}"


# ---- the three kinds of commands ----

def run_step(command, log, limit_s):
    count = Count()
    _, status = run(command.argv, log, limit_s)
    if status == 0:
        count.passed += 1
    else:
        count.fail(ended_badly(command.argv, status, limit_s))
    return count


def run_runner(command, log, limit_s):
    lines, status = run(command.argv, log, limit_s)
    count = count_tap("".join(lines))
    found = [match for match in map(SUMMARY.match, lines) if match]
    if found:
        count.passed, count.failed, count.skipped = map(int, found[-1].groups())
    elif status == 0:
        count.fail(f"{command.argv[-1]}: printed no summary")
    if status != 0 and count.failed == 0:
        count.fail(ended_badly(command.argv, status, limit_s))
    return count


def core_setup(variant, log):
    """Configure and build one variant of the core.

    Returns the failure, if any.
    """
    sanitizer = VARIANTS[variant]
    core = str(BUILD / variant)
    print(f"  building the core (sanitizer: {sanitizer})", flush=True)
    steps = []
    if not (BUILD / variant / "build.ninja").exists():
        steps.append(["meson", "setup", core, str(TOP),
                      f"-Db_sanitize={sanitizer}"])
    steps.append(["ninja", "-C", core])
    for argv in steps:
        lines, status = run(argv, log, 300, echo=False)
        if status != 0:
            print("".join("  " + line for line in lines[-30:]), end="")
            return ended_badly(argv, status, 300)
    return None


def core_tests(core, suite):
    """Names of the tests whose programs are built from tests/SUITE."""
    text = subprocess.run(["meson", "introspect", "--tests", str(core)],
                          check=True, capture_output=True, text=True).stdout
    place = f"/tests/{suite}/"
    return sorted({test["name"] for test in json.loads(text)
                   if place in test["cmd"][0]})


def run_core(command, log, limit_s):
    count = Count()
    suite, variant = command.argv
    core = BUILD / variant
    failure = core_setup(variant, log)
    if failure:
        count.fail(failure)
        return count
    names = core_tests(core, suite)
    if not names:
        count.fail(f"tests/{suite}: no tests")
        return count
    argv = ["meson", "test", "-C", str(core), "--no-rebuild",
            "--print-errorlogs", "--logbase", suite, *names]
    _, status = run(argv, log, limit_s)
    report = core / "meson-logs" / f"{suite}.json"
    for line in report.read_text().splitlines() if report.exists() else ():
        count.add(count_core_test(json.loads(line)))
    if status != 0 and count.failed == 0:
        count.fail(ended_badly(argv[:2], status, limit_s))
    return count


def count_core_test(test):
    """One test program of meson's log: its TAP cases, or itself as one."""
    count = count_tap(test.get("stdout") or "")
    good = test["result"] in ("OK", "SKIP", "EXPECTEDFAIL")
    if not good and count.failed == 0:
        count.fail(f"{test['name']}: {test['result']}")
    elif good and count == Count():
        if test["result"] == "SKIP":
            count.skipped += 1
        else:
            count.passed += 1
    return count


KINDS = {"step": run_step, "runner": run_runner, "core": run_core}


# ---- stages ----

def run_command(command, log, deadline_s):
    count = Count()
    for path in command.needs:
        if not (TOP / path).exists():
            count.fail(f"{command.argv[-1]}: not run, there is no {path}")
            return count
    left_s = int(deadline_s - time.monotonic())
    if left_s <= 0:
        count.fail(f"{command.argv[-1]}: not run, {TOTAL_LIMIT_S} s are over")
        return count
    try:
        return KINDS[command.kind](command, log, min(command.limit_s, left_s))
    except OSError as error:
        count.fail(f"{command.argv[-1]}: {error}")
        return count


def run_stage(name, deadline_s):
    print(f"== {name}", flush=True)
    start_s = time.monotonic()
    count = Count()
    with open(RESULTS / f"{name}.log", "w", encoding="utf-8") as log:
        for command in {**STAGES, **EXTRA}[name]:
            count.add(run_command(command, log, deadline_s))
    took_s = round(time.monotonic() - start_s, 1)
    print(f"== {name}: {count.passed} ok, {count.failed} failed, "
          f"{count.skipped} skipped in {took_s} s", flush=True)
    return count, took_s


def chosen(names):
    """The stages to run, with what they need before them, in order."""
    wanted = set(names or STAGES)
    unknown = wanted - set(STAGES) - set(EXTRA)
    if unknown:
        sys.exit(f"check: error: no stage {', '.join(sorted(unknown))}; "
                 f"there are: {', '.join([*STAGES, *EXTRA])}")
    for name in list(wanted):
        wanted.update(BRINGS.get(name, ()))
    return [name for name in (*STAGES, *EXTRA) if name in wanted]


def main():
    deadline_s = time.monotonic() + TOTAL_LIMIT_S
    total = Count()
    report = []
    failed = []
    interrupted = False
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in chosen(sys.argv[1:]):
        try:
            count, took_s = run_stage(name, deadline_s)
        except KeyboardInterrupt:
            total.fail("interrupted")
            failed.append(f"{name}: interrupted")
            interrupted = True
            break
        total.add(count)
        failed += [f"{name}: {one}" for one in count.failures]
        report.append({"stage": name, "passed": count.passed,
                       "failed": count.failed, "skipped": count.skipped,
                       "failures": count.failures, "duration_s": took_s})
    (RESULTS / "check.json").write_text(json.dumps(
        {"stages": report, "passed": total.passed, "failed": total.failed,
         "skipped": total.skipped}, indent=2) + "\n")
    for failure in failed:
        print(f"FAILED: {failure}")
    print(total, flush=True)
    if interrupted:
        return 130
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
