# SPDX-License-Identifier: GPL-2.0-or-later
"""Our handle on the client process (client.py)."""

import json
import os
import select
import subprocess
import sys
import time
from typing import Any, Dict, List

from . import netns, procs

FUNCTIONAL = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ANSWER_LIMIT_S = 90.0


class ClientError(Exception):
    """The client saw something that a healthy guest does not do."""


class Client:
    """Starts the client and asks it how it fares."""

    def __init__(self, net: netns.Network, work: str = "kv,echo",
                 pause_ms: float = 1.0, log_path: str = os.devnull) -> None:
        argv = [sys.executable, "-m", "colo.client", "--work", work,
                "--pause-ms", str(pause_ms)]
        with open(log_path, "ab") as log:
            self._process = procs.spawn(
                net.client_argv(argv), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, bufsize=0,
                env={**os.environ, "PYTHONPATH": FUNCTIONAL})
        hello = self._answer()
        if hello["problem"]:
            raise ClientError(hello["problem"])

    def ask(self, command: str) -> Dict[str, Dict[str, Any]]:
        """Send a command; figures by workload."""
        self.post(command)
        return self._answer()

    def post(self, command: str) -> None:
        """Send a command whose answer is taken later, by `answer()`."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")

    def answer(self) -> Dict[str, Any]:
        """The answer to a command that was posted."""
        return self._answer()

    def mark(self) -> None:
        """Start counting afresh."""
        self.ask("mark")

    def check(self) -> Dict[str, Dict[str, Any]]:
        """Figures so far; raises if any workload saw an error."""
        return _raise_errors(self.ask("report"), "error")

    def wait_progress(self, exchanges: int = 20,
                      timeout_s: float = 90.0) -> None:
        """Until each workload has had that many more exchanges."""
        before = {n: r["done"] for n, r in self.check().items()}

        def moved() -> bool:
            now = self.check()
            return all(now[n]["done"] >= before[n] + exchanges
                       or now[n]["finished"] for n in before)
        procs.wait_until(moved, timeout_s,
                         f"{exchanges} more answers for the client", 0.05)

    def wait_finished(self, timeout_s: float = 60.0) -> None:
        """Until the workloads that come to an end have done so."""
        procs.wait_until(lambda: all(r["finished"] or not r["finite"]
                                     for r in self.check().values()),
                         timeout_s, "the client's transfers at their end",
                         0.1)

    def verify(self) -> Dict[str, Dict[str, Any]]:
        """End the load and check all that was acknowledged."""
        return _raise_errors(self.ask("verify"), "verdict")

    def control(self, line: str) -> str:
        """A command for the guest's control port; its answer."""
        answer = str(self.ask("control " + line)["answer"])
        if answer.startswith("ERR"):
            raise ClientError(f"{line}: {answer}")
        return answer

    def volume(self, line: str) -> str:
        """A command for the guest's volume service; its answer."""
        answer = str(self.ask("volume " + line)["answer"])
        if not answer.startswith("OK"):
            raise ClientError(f"{line}: {answer}")
        return answer

    def control_may_fail(self, line: str) -> str:
        """The same where no answer is expected, as for POWEROFF."""
        return str(self.ask("control " + line)["answer"])

    def close(self) -> None:
        """End the client."""
        procs.reap(self._process)

    def _answer(self) -> Dict[str, Any]:
        assert self._process.stdout is not None
        limit = time.monotonic() + ANSWER_LIMIT_S
        data = b""
        while not data.endswith(b"\n"):
            left_s = max(limit - time.monotonic(), 0)
            if not select.select([self._process.stdout], [], [], left_s)[0]:
                raise ClientError("the client process does not answer")
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                raise ClientError("the client process ended")
            data += more
        return json.loads(data)


def _raise_errors(answer: Dict[str, Dict[str, Any]],
                  field: str) -> Dict[str, Dict[str, Any]]:
    problems: List[str] = [f"{name}: {report[field]}"
                           for name, report in answer.items()
                           if report.get(field)]
    if problems:
        raise ClientError("; ".join(problems))
    return answer


def longest_gap_ms(report: Dict[str, Dict[str, Any]]) -> float:
    """The longest time without an answer, over all workloads."""
    return max(figures["gap-ms"] for figures in report.values())
