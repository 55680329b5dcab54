# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a program of ours in a private network, for the demo and the bench.

The program starts a second time inside; `inside()` tells it so and names a
scratch directory.  All that it starts is in one process group, which ends
with it.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import List, Optional

from . import netns, procs

VARIABLE = "COLO_PRIVATE_RUN_DIR"


def inside() -> Optional[str]:
    """The scratch directory if we are the inner program, else None."""
    return os.environ.get(VARIABLE)


def enter() -> str:
    """First thing of the inner program; the scratch directory."""
    run_dir = os.environ[VARIABLE]
    procs.die_with_parent()
    netns.loopback_up()
    return run_dir


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def call(script: str, argv: List[str], output: Optional[int] = None) -> int:
    """Run `script argv` inside and wait for it; its exit code.

    output: a file descriptor for its stdout.  KeyboardInterrupt passes
    through after everything inside has ended; SIGTERM counts as one.
    """
    prefix = netns.enter_command()
    run_dir = tempfile.mkdtemp(prefix="colo-")
    before = signal.signal(signal.SIGTERM, _interrupt)
    child: Optional["subprocess.Popen[bytes]"] = None
    try:
        child = procs.spawn(
            prefix + [sys.executable, script, *argv], stdout=output,
            env={**os.environ, VARIABLE: run_dir}, start_new_session=True)
        return child.wait()
    finally:
        # A second Ctrl-C must not interrupt the tidying up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if child is not None:
            _end_group(child)
        shutil.rmtree(run_dir, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()
