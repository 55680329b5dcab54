# SPDX-License-Identifier: GPL-2.0-or-later
"""The process in which one case runs, inside its private network.

Its exit code is the result: 0 passed, 77 skipped, anything else failed.  The
reason is the last line on stdout that starts with "RESULT ".
"""

import argparse
import importlib
import os
import pkgutil
import signal
import sys
import traceback
from types import FrameType
from typing import Iterator, List, Optional

from . import netns, procs, status, vm
from .case import CASES, Context, Skip, check

EXIT_SKIP = 77


class Interrupted(Exception):
    """The runner asks us to end: time is over, or Ctrl-C."""


def load_cases(directories: List[str]) -> None:
    """Import every test_*.py there, which registers its cases."""
    for directory in directories:
        if directory not in sys.path:
            sys.path.insert(0, directory)
        for module in sorted(m.name for m in pkgutil.iter_modules([directory])
                             if m.name.startswith("test_")):
            importlib.import_module(module)


def _on_term(_number: int, _frame: Optional[FrameType]) -> None:
    raise Interrupted("time limit of the case reached")


def _machines(context: Context) -> Iterator[vm.VM]:
    """All QEMUs of the case."""
    for closer in context._closers:  # pylint: disable=protected-access
        owner = getattr(closer, "__self__", None)
        for machine in getattr(owner, "machines", [owner]):
            if isinstance(machine, vm.VM):
                yield machine


def _show_state(context: Context) -> None:
    """Help the reader of a failure: what do both sides say now?"""
    for machine in _machines(context):
        _show_machine(machine)


def _check_no_crash(context: Context) -> None:
    """Whatever a case is about: no QEMU of ours ends by a signal of its own."""
    for machine in () if context.is_reference else _machines(context):
        check(not machine.crashed(), f"{machine.name} crashed")


def _show_machine(machine: vm.VM) -> None:
    if not machine.alive():
        print(f"{machine.name}: not running")
    else:
        machine.qmp.timeout_s = 2.0
        print(f"{machine.name}: {status.describe(machine)}")
    print(machine.log_tail())


def run_case(name: str, context: Context) -> int:
    """Run one case to its end; the exit code."""
    try:
        CASES[name].function(context)
        _check_no_crash(context)
        print("RESULT passed")
        return 0
    except Skip as skip:
        print(f"RESULT {skip}")
        return EXIT_SKIP
    except (Exception, Interrupted) as error:  # pylint: disable=W0718
        traceback.print_exc(file=sys.stdout)
        signal.alarm(0)
        try:
            _show_state(context)
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc(file=sys.stdout)
        first = (str(error) or type(error).__name__).splitlines()[0]
        print(f"RESULT {type(error).__name__}: {first}")
        return 1


def main(argv: List[str]) -> int:
    """Entry point, see runner.py for who calls it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--run-dir", required=True)
    parser.add_argument("--log-dir", required=True)
    parser.add_argument("--cases", action="append", default=[])
    parser.add_argument("--is-reference", action="store_true")
    options = parser.parse_args(argv)
    procs.die_with_parent()
    signal.signal(signal.SIGTERM, _on_term)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load_cases(options.cases)
    context = Context(options.binary, options.run_dir, options.log_dir,
                      options.is_reference)
    netns.loopback_up()
    os.chdir(options.run_dir)
    code = run_case(options.name, context)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.close()
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
