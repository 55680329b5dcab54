# SPDX-License-Identifier: GPL-2.0-or-later
"""Registration of cases, and the context in which one runs.

A case is a function that takes a `Context` and returns, raises `Skip`, or
raises anything else, which is a failure.  It runs in a process and a network
namespace of its own (runner.py), so it may leave things as they are.
"""

import dataclasses
import os
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Set

from . import netns, traffic, vm
from .pair import Config, Pair

CASES: Dict[str, "Case"] = {}


class Skip(Exception):
    """The case cannot run here; the text says why."""


@dataclasses.dataclass
class Case:
    """A registered case."""

    name: str
    function: Callable[["Context"], None]
    timeout_s: int
    group: str
    linux: bool
    reference: bool
    slow: bool

    def summary(self) -> str:
        """The first line of its documentation."""
        text = (self.function.__doc__ or "").strip()
        return text.splitlines()[0] if text else ""


def case(timeout_s: int = 60, linux: bool = True, reference: bool = True,
         slow: bool = False, name: str = "") -> Callable[..., Any]:
    """Register a function as a case.

    linux: needs the Linux guest; reference: makes sense with the QEMU that
    is replaced, too; slow: only runs when asked for by name or --all.
    """
    def register(function: Callable[["Context"], None]) -> Any:
        add(name or function.__name__, function, timeout_s, linux, reference,
            slow)
        return function
    return register


def add(name: str, function: Callable[["Context"], None],
        timeout_s: int = 60, linux: bool = True, reference: bool = True,
        slow: bool = False) -> None:
    """Register a case under a name of its own, for generated cases."""
    if name in CASES:
        raise ValueError(f"two cases are called {name}")
    group = os.path.splitext(os.path.basename(
        function.__code__.co_filename))[0].replace("test_", "")
    CASES[name] = Case(name, function, timeout_s, group, linux, reference,
                       slow)


class Context:
    """What a case needs: QEMUs, network, client, all ended at the end."""

    def __init__(self, binary: str, run_dir: str, log_dir: str,
                 is_reference: bool = False, verbose: bool = True) -> None:
        self.binary = binary
        self.run_dir = run_dir
        self.log_dir = log_dir
        self.secondary_cpus: Set[int] = set()   # of pairs; empty: any
        self.is_reference = is_reference
        self._verbose = verbose
        self._net: Optional[netns.Network] = None
        self._closers: List[Callable[[], None]] = []
        self._start_s = time.monotonic()
        self._clients_count = 0
        self.client_at_work: Optional[traffic.Client] = None

    # -- parts -----------------------------------------------------------

    @property
    def net(self) -> netns.Network:
        """The network, made on first use."""
        if self._net is None:
            self.network()
        assert self._net is not None
        return self._net

    def network(self, **options: Any) -> netns.Network:
        """The network, made now, with these `netns.Options`."""
        assert self._net is None, "there is one already"
        self._net = netns.Network(netns.Options(**options))
        self._closers.append(self._net.stop)
        self._net.start()
        return self._net

    def pair(self, config: Optional[Config] = None,
             **settings: Any) -> Pair:
        """A pair that is not yet started."""
        config = config or Config(**settings)
        net = self.net if config.network else None
        made = Pair(self.binary, self.run_dir, self.log_dir, net, config)
        made.secondary_cpus = self.secondary_cpus
        self._closers.append(made.close)
        return made

    def protected_pair(self, **settings: Any) -> Pair:
        """A pair with a booted Linux guest under protection."""
        made = self.booted_pair(**settings)
        self.step("protect")
        made.protect()
        return made

    def booted_pair(self, **settings: Any) -> Pair:
        """A pair whose guest is up and not yet protected."""
        made = self.pair(**settings)
        self.step("start both sides, boot the guest")
        made.start()
        made.p.wait_console("colo-guest: ready")
        return made

    def booted_primary(self, config: Optional[Config] = None,
                       **settings: Any) -> Pair:
        """A pair without a secondary whose guest is up."""
        made = self.pair(config, **settings)
        made.start_primary()
        made.p.wait_console("colo-guest: ready")
        return made

    def machine(self, name: str, argv: List[str]) -> vm.VM:
        """A single QEMU that is not yet started."""
        made = vm.VM(name, self.binary, argv, self.run_dir, self.log_dir)
        self._closers.append(made.close)
        return made

    def client(self, work: str = "kv,echo",
               pause_ms: float = 1.0) -> traffic.Client:
        """A client at work."""
        self._clients_count += 1
        made = traffic.Client(
            self.net, work, pause_ms,
            os.path.join(self.log_dir, f"client{self._clients_count}.log"))
        self._closers.append(made.close)
        return made

    def at_end(self, closer: Callable[[], None]) -> None:
        """Have `closer` called when the case ends."""
        self._closers.append(closer)

    # -- words -----------------------------------------------------------

    def step(self, text: str) -> None:
        """Say what happens next, with the time since the start."""
        if self._verbose:
            elapsed_s = time.monotonic() - self._start_s
            print(f"[{elapsed_s:7.2f}] {text}", flush=True)

    def skip(self, reason: str) -> None:
        """Give up on the case for a reason that is not a failure."""
        raise Skip(reason)

    def require_device(self, name: str) -> None:
        """Skip unless this QEMU has the device."""
        if not vm.supports(self.binary, "device", name):
            raise Skip(f"this QEMU is built without {name}")

    def close(self) -> None:
        """End everything, last made first."""
        while self._closers:
            try:
                self._closers.pop()()
            except Exception as error:  # pylint: disable=broad-except
                print(f"while ending: {error}", file=sys.stderr)


def check(condition: Any, text: str) -> None:
    """An assertion with words; never compiled away."""
    if not condition:
        raise AssertionError(text)


def check_equal(found: Any, expected: Any, what: str) -> None:
    """An assertion that shows both values."""
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected "
                             f"{expected!r}")
