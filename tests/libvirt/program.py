# SPDX-License-Identifier: GPL-2.0-or-later
"""The program `colo` as its users run it, and what it says.

It runs outside of both hosts, as on the desk of a person who manages them, and
reaches their daemons by URI; or on one of them.  Every call goes to the log of
the case with its output and its exit status.

COLO_PROGRAM in the environment names another one than that of build/core,
which is built on first use.
"""

import fcntl
import json
import os
import subprocess
import time
from typing import Any, Dict, List, Optional

from colo import procs, vm
from colo.case import Context
from domains import Domain
from hosts import Host, Hosts

BUILD = os.path.join(vm.TOP, "build", "core")
PROGRAM = os.path.join(BUILD, "tools", "colo", "colo")
CALL_LIMIT_S = 180.0

# Exit status, as the manual page has it.
DONE, FAILED, USAGE, NO_LIBVIRT, NO_DOMAIN = 0, 1, 2, 3, 4
CHECK_FAILED, UNSAFE, HALF_DONE, INTERRUPTED = 5, 6, 7, 8


def build() -> str:
    """Build the program unless that is done; its path."""
    chosen = os.environ.get("COLO_PROGRAM")
    if chosen:
        return chosen
    os.makedirs(BUILD, exist_ok=True)
    with open(BUILD + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(BUILD, "build.ninja")):
            procs.run(["meson", "setup", BUILD, vm.TOP])
        procs.run(["ninja", "-C", BUILD, "tools/colo/colo"])
    return PROGRAM


class Answer:
    """What one call came to."""

    def __init__(self, words: List[str], code: int, said: str,
                 complaint: str, seconds: float) -> None:
        self.words = words
        self.code = code
        self.said = said            # stdout
        self.complaint = complaint  # stderr
        self.seconds = seconds

    @property
    def text(self) -> str:
        """All of it."""
        return self.said + self.complaint

    def json(self) -> Dict[str, Any]:
        """The one object that --json prints."""
        return json.loads(self.said)


class Program:
    """See the top of the file."""

    def __init__(self, context: Context, hosts: Hosts) -> None:
        self._context = context
        self._hosts = hosts
        self._path = build()
        self._env = {**os.environ, "COLO_STATE_DIR":
                     os.path.join(context.run_dir, "colo-state")}

    # -- calls -----------------------------------------------------------

    def call(self, *words: str, code: Optional[int] = DONE,
             on: Optional[Host] = None) -> Answer:
        """Run it to its end; code: the expected exit status, None: any.

        on: the host on which it runs, as for those who log in there.
        """
        start_s = time.monotonic()
        argv = [self._path, *words]
        done = subprocess.run(
            on.enter_argv(argv) if on else argv, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            check=False, env=self._env, timeout=CALL_LIMIT_S,
            preexec_fn=procs.die_with_parent)
        answer = Answer(list(words), done.returncode, done.stdout,
                        done.stderr, time.monotonic() - start_s)
        self._log(answer)
        if code is not None and answer.code != code:
            raise AssertionError(
                f"colo {' '.join(words)} ended with {answer.code}, not "
                f"{code}: {answer.text.strip()}")
        return answer

    def start(self, *words: str,
              on: Optional[Host] = None) -> "subprocess.Popen[str]":
        """Run it in the background; its output is in a pipe."""
        self._context.step(f"start colo {' '.join(words)}")
        argv = [self._path, *words]
        process = procs.spawn(
            on.enter_argv(argv) if on else argv, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=self._env)
        self._context.at_end(lambda: procs.reap(process))
        return process

    def finish(self, process: "subprocess.Popen[str]", code: Optional[int],
               number: int = 0) -> str:
        """Wait for the end of what `start` started, or cause it by a signal.

        code: the expected exit status, None: any; what it said.
        """
        if number:
            os.kill(_program_pid(process), number)
        start_s = time.monotonic()
        said, _ = process.communicate(timeout=CALL_LIMIT_S)
        self._log(Answer(process.args[1:],          # type: ignore[index]
                         process.returncode, "", said,
                         time.monotonic() - start_s))
        if code is not None and process.returncode != code:
            raise AssertionError(f"it ended with {process.returncode}, not "
                                 f"{code}: {said.strip()}")
        return said

    def _log(self, answer: Answer) -> None:
        self._context.step(f"colo {' '.join(answer.words)} -> "
                           f"{answer.code} in {answer.seconds:.2f} s")
        shown = answer.complaint if "--json" in answer.words else answer.text
        for line in shown.splitlines():
            print(f"          | {line}", flush=True)

    # -- what is done with it --------------------------------------------

    def between(self, source: Host, target: Host) -> List[str]:
        """The options by which it finds both hosts."""
        return ["--from", source.uri, "--to", target.uri, "--from-address",
                source.address, "--to-address", target.address]

    def protect(self, domain: str, source: Host, target: Host,
                *words: str, code: Optional[int] = DONE) -> Answer:
        """Protect a domain that runs on `source`."""
        return self.call("protect", domain, *self.between(source, target),
                         *words, code=code)

    def status(self, domain: str, host: Host) -> Dict[str, Any]:
        """What `colo status` says of a domain, asked at that host."""
        return self._status(domain, host, DONE)

    def _status(self, domain: str, host: Host, *codes: int) -> Dict[str, Any]:
        """The same; empty if it ended with another one of `codes`."""
        done = subprocess.run(
            [self._path, "status", domain, "-c", host.uri, "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, check=False, env=self._env,
            timeout=CALL_LIMIT_S, preexec_fn=procs.die_with_parent)
        if done.returncode not in codes:
            raise AssertionError(f"colo status {domain}: {done.stderr}")
        return {} if done.returncode else _one(json.loads(done.stdout))

    def time_ms(self, *words: str) -> float:
        """How long a command takes that has no reason to fail.

        Without a copy of this process before it begins, which start() has.
        """
        begin_s = time.monotonic()
        subprocess.run([self._path, *words], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, check=True, env=self._env,
                       timeout=CALL_LIMIT_S, close_fds=False)
        return (time.monotonic() - begin_s) * 1000

    def wait_status(self, domain: str, host: Host, word: str,
                    timeout_s: float = 30.0) -> Dict[str, Any]:
        """Wait until `colo status` has that word; the whole answer.

        A daemon that is busy may be late with its answer.
        """
        last: Dict[str, Any] = {}

        def reached() -> bool:
            last.clear()
            last.update(self._status(domain, host, DONE, NO_LIBVIRT))
            return last.get("word") == word
        try:
            procs.wait_until(reached, timeout_s, f"status {word}", 0.1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the last was "
                               f"{last.get('status')}") from error
        return last

    def checkpoints(self, domain: str, host: Host) -> int:
        """How many were taken since the domain is protected from there."""
        return int(Domain(host, domain).colo()["checkpoints-total"])

    def wait_checkpoints(self, domain: str, host: Host, more: int) -> None:
        """Until that many further ones were completed."""
        goal = self.checkpoints(domain, host) + more
        procs.wait_until(lambda: self.checkpoints(domain, host) >= goal,
                         120.0, f"{more} more checkpoints", 0.1)


def _program_pid(process: "subprocess.Popen[str]") -> int:
    """Its own, or that of what nsenter has started in a host."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children",
              encoding="ascii") as file:
        children = file.read().split()
    return int(children[0]) if children else process.pid


def _one(answer: Dict[str, Any]) -> Dict[str, Any]:
    """The only domain of an answer that may have a list of them."""
    if "domains" in answer:
        assert len(answer["domains"]) == 1, answer
        return answer["domains"][0]
    return answer
