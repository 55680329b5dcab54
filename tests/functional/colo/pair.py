# SPDX-License-Identifier: GPL-2.0-or-later
"""A protected pair, driven exactly as its documentation tells people to.

    p  primary:   runs the guest, copies its traffic to s, compares answers
    s  secondary: the same guest one step behind, ready to take over

The management of a cluster is played by this class: there is no arbiter, so
it is the one who says `x-colo-lost-heartbeat`.  It never does so while both
sides may run: a frozen side is killed first (fenced).

Works with this project's QEMU and with the one it replaces; `ours` tells
which, by the presence of query-colo.
"""

import dataclasses
import os
import socket
import time
from typing import Any, Dict, List, Optional, Set

from . import disk, disk_symmetric, netns, procs, proxy, status, vm

MIGRATE_PORT = 9998
DISK_DEVICE = disk.DEFAULT_DEVICE
DiskOptions = disk.Options


@dataclasses.dataclass
class Config:
    """How the pair is put together."""

    spec: vm.Spec = dataclasses.field(default_factory=vm.Spec)
    channel: str = "tcp"                # tcp, unix or fd
    chardev: str = "tcp"                # sockets of the proxy: tcp or unix
    form: str = "chardev"               # of colo-compare: chardev or direct
    relayed: bool = False               # a relay between (direct form)
    delay_ms: int = 1000                # x-checkpoint-delay
    disk: str = "none"                  # see make_disk()
    disk_device: str = DISK_DEVICE
    disk_options: DiskOptions = dataclasses.field(
        default_factory=DiskOptions)
    network: bool = True
    capabilities: List[str] = dataclasses.field(default_factory=list)
    parameters: Dict[str, Any] = dataclasses.field(default_factory=dict)
    limits: Dict[str, Any] = dataclasses.field(default_factory=dict)
    extra_primary: List[str] = dataclasses.field(default_factory=list)
    extra_secondary: List[str] = dataclasses.field(default_factory=list)
    proxy_at_start: bool = False        # filters on the command line


def make_disk(config: Config, binary: str, run_dir: str) -> disk.NoDisk:
    """The disk of the kind that `config.disk` names."""
    device, options = config.disk_device, config.disk_options
    if config.disk == "none":
        return disk.NoDisk()
    if config.disk == "readonly":
        return disk.ReadonlyDisk(run_dir, device)
    made = {"replicated": disk.ReplicatedDisk,
            "symmetric": disk_symmetric.SymmetricDisk}[config.disk]
    return made(run_dir, device, disk.tool(binary, "qemu-img"), options)


class Pair:
    """See the top of the file."""

    def __init__(self, binary: str, run_dir: str, log_dir: str,
                 net: Optional[netns.Network], config: Config) -> None:
        self.binary = binary
        self.run_dir = run_dir
        self.log_dir = log_dir
        self.net = net
        self.config = config
        self.machines: List[vm.VM] = []
        self.secondary_cpus: Set[int] = set()       # empty: any
        self.disk = make_disk(config, binary, run_dir)
        self.proxy = proxy.make(config.form, run_dir, config.chardev,
                                config.spec.has_vnet_header(),
                                config.relayed)
        self._fd: Optional[socket.socket] = None
        self.p: vm.VM = self._make_primary()
        self.s: Optional[vm.VM] = None
        self._listen = ""
        self._before = ""       # filter of a former secondary that stays

    # -- command lines ---------------------------------------------------

    def _netdev(self, side: str) -> List[str]:
        if self.net is None or not self.config.network:
            return []
        return self.config.spec.net_argv(self.net.tap(side))

    def _make_primary(self) -> vm.VM:
        argv = self.config.spec.argv() + self._netdev("p")
        if self.config.network:
            argv += self.proxy.primary_chardevs()
            if self.config.proxy_at_start:
                argv += self.proxy.primary_objects() + ["-S"]
        argv += self.disk.primary_argv() + self.config.extra_primary
        return self._add("p", argv)

    def _make_secondary(self, name: str) -> vm.VM:
        fds: List[int] = []
        argv = self.config.spec.argv() + self._netdev(name)
        if self.config.network:
            argv += self.proxy.secondary_argv()
        argv += self.disk.secondary_argv()
        self._listen = self._incoming_uri(fds)
        # Some capabilities must be known before the secondary listens.
        argv += ["-incoming", "defer" if self._defers() else self._listen]
        return self._add(name, argv + self.config.extra_secondary, fds)

    def _add(self, name: str, argv: List[str],
             fds: Optional[List[int]] = None) -> vm.VM:
        machine = vm.VM(name, self.binary, argv, self.run_dir, self.log_dir,
                        fds)
        self.machines.append(machine)
        return machine

    def _defers(self) -> bool:
        return bool(self.config.capabilities or self.config.parameters)

    def _incoming_uri(self, fds: List[int]) -> str:
        if self.config.channel == "fd":
            ours, theirs = socket.socketpair()
            fds.append(os.dup(theirs.fileno()))
            theirs.close()
            self._fd = ours
            return f"fd:{fds[0]}"
        return self.uri()

    def uri(self) -> str:
        """The migration address, as `migrate` and -incoming take it."""
        if self.config.channel == "unix":
            return "unix:" + os.path.join(self.run_dir, "migrate")
        if self.config.channel == "fd":
            return "fd:colo"
        return f"tcp:127.0.0.1:{MIGRATE_PORT}"

    # -- start and protect -----------------------------------------------

    def start(self) -> "Pair":
        """Start both QEMUs; the guest boots on the primary."""
        self.start_primary()
        self.start_secondary()
        return self

    def start_primary(self) -> None:
        """Start the primary only."""
        self.p.start()

    def start_secondary(self, name: str = "s") -> None:
        """Start the secondary, which then waits for the primary."""
        self.s = self._make_secondary(name)
        self.s.cpus = self.secondary_cpus
        self.s.start()

    @property
    def ours(self) -> bool:
        """True for this project's QEMU, false for the one it replaces."""
        return self.p.qmp.has_command("query-colo")

    def secondary(self) -> vm.VM:
        """The secondary, which must have been started."""
        assert self.s is not None, "no secondary was started"
        return self.s

    def configure(self) -> None:
        """Capabilities, parameters and limits on both sides."""
        names = ["x-colo", *self.config.capabilities]
        states = [{"capability": n, "state": True} for n in names]
        parameters = {"max-bandwidth": 8 << 30, "downtime-limit": 300,
                      "x-checkpoint-delay": self.config.delay_ms}
        parameters.update(self.config.parameters)
        for machine in (self.p, self.secondary()):
            machine.qmp.cmd("migrate-set-capabilities",
                            {"capabilities": states})
            machine.qmp.cmd("migrate-set-parameters", parameters)
            if self.config.limits and self.ours:
                machine.qmp.cmd("colo-set-parameters", self.config.limits)
        if self._defers():
            self.secondary().qmp.cmd("migrate-incoming",
                                     {"uri": self._listen})

    def protect(self, timeout_s: float = 60.0) -> None:
        """Bring the guest under protection and wait until it is."""
        self.begin()
        self.wait_protected(timeout_s)

    def begin(self) -> None:
        """All commands up to and including `migrate`."""
        self.configure()
        self.disk.connect(self.p.qmp, self.secondary().qmp)
        if self.config.network and not self.config.proxy_at_start:
            self.proxy.add_primary_objects(self.p.qmp, self._before)
        if self.config.channel == "fd":
            assert self._fd is not None
            self.p.qmp.cmd("getfd", {"fdname": "colo"},
                           fds=[self._fd.fileno()])
            self._fd.close()
        self.p.qmp.cmd("migrate", {"uri": self.uri()})

    def wait_protected(self, timeout_s: float = 60.0) -> None:
        """Until both sides say that the guest is protected."""
        limit = time.monotonic() + timeout_s
        while not status.is_protected(self.p, self.secondary(), self.ours):
            status.check_not_failed(self.p, self.secondary())
            if time.monotonic() > limit:
                raise TimeoutError(
                    f"not protected after {timeout_s} s: primary "
                    f"{status.describe(self.p)}, secondary "
                    f"{status.describe(self.secondary())}")
            time.sleep(0.02)

    # -- checkpoints -----------------------------------------------------

    def set_delay_ms(self, delay_ms: int) -> None:
        """Change the interval between checkpoints."""
        self.p.qmp.cmd("migrate-set-parameters",
                       {"x-checkpoint-delay": delay_ms})

    def checkpoints(self) -> int:
        """How many checkpoints were completed so far."""
        return status.checkpoints(self.p, self.ours)

    def wait_checkpoints(self, more: int, timeout_s: float = 60.0) -> None:
        """Until `more` further checkpoints were completed."""
        goal = self.checkpoints() + more

        def reached() -> bool:
            status.check_not_failed(self.p, self.secondary())
            return self.checkpoints() >= goal
        procs.wait_until(reached, timeout_s, f"{more} more checkpoints")

    # -- failover --------------------------------------------------------

    def wait_peer_lost(self, survivor: vm.VM, timeout_s: float = 15.0) -> None:
        """Until the survivor itself has noticed and said so."""
        status.wait_lost(survivor, self.ours, timeout_s)

    def failover_to_secondary(self) -> None:
        """The documented commands; the primary must be dead."""
        survivor = self.secondary()
        assert not self.p.alive(), "fence the primary first"
        self.disk.secondary_failover(survivor.qmp)
        survivor.qmp.cmd("x-colo-lost-heartbeat")
        if self.config.network:
            self.proxy.secondary_failover(survivor.qmp)

    def failover_to_primary(self) -> None:
        """The documented commands; the secondary must be dead."""
        assert not self.secondary().alive(), "fence the secondary first"
        self.disk.primary_failover(self.p.qmp)
        if self.config.network:
            self.proxy.primary_failover(self.p.qmp)
        # A secondary that gave up its claim lets the primary go by itself.
        if status.query(self.p)["state"] not in status.ALONE:
            self.p.qmp.cmd("x-colo-lost-heartbeat")

    # -- protection again ------------------------------------------------

    def reprotect(self, name: str) -> None:
        """Give the survivor, which runs alone, a new secondary.

        The survivor becomes or stays the primary.
        """
        assert self.disk.can_reprotect, "needs a disk copy first"
        if not self.p.alive():
            self.p = self.secondary()
            self.disk.promote()
            if self.config.network:
                self.proxy.promote(self.p.qmp)
                self._before = "rew0"
        self.p.qmp.events.clear()
        self.start_secondary(name)
        self.protect()

    def wait_alone(self, survivor: vm.VM, timeout_s: float = 20.0) -> None:
        """Until the survivor runs the guest on its own."""
        procs.wait_until(lambda: status.is_alone(survivor), timeout_s,
                         f"{survivor.name} running alone")

    def close(self) -> None:
        """End both sides."""
        for machine in self.machines:
            machine.close()
        self.disk.close()
        if self._fd is not None:
            self._fd.close()
