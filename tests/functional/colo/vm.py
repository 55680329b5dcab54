# SPDX-License-Identifier: GPL-2.0-or-later
"""One QEMU process: command line, life, death, logs.

`Spec` says what the guest looks like and is the same for both sides of a
pair; `VM` is one process made from it.  Logs go to the result directory of
the test: NAME.log (stderr), NAME.console (serial port), NAME.qmp (monitor
traffic) and NAME.cmd (the command line, to run it by hand).
"""

import dataclasses
import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import Dict, List, Optional, Set, Tuple

from . import netns, procs, qmp

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
BINARY = os.path.join(TOP, "build", "qemu-system-x86_64")
GUEST = os.path.join(TOP, "build", "guest")
GUEST_TOOLS = os.path.join(TOP, "tests", "guest")
CMDLINE = os.path.join(GUEST_TOOLS, "cmdline")
FIRMWARE = ("/usr/share/qemu", "/usr/share/seabios")

# machine -> how its NIC is called and what the machine needs to start
_NO_PCI = ("microvm",)


@dataclasses.dataclass
class Spec:
    """What the guest looks like."""

    machine: str = "pc"
    accel: str = "tcg"
    cpu: str = ""
    memory_mib: int = 256
    smp: int = 1
    nic: str = "virtio-net-pci"
    devices: List[str] = dataclasses.field(default_factory=list)
    extra: List[str] = dataclasses.field(default_factory=list)
    linux: bool = True
    full: bool = False          # the kernel with the drivers of real hardware
    append: str = ""
    ip: str = netns.GUEST_IP
    mac: str = netns.GUEST_MAC

    def nic_option(self) -> str:
        """The -device argument of the network card."""
        model = self.nic
        if self.machine_type() in _NO_PCI and model == "virtio-net-pci":
            model = "virtio-net-device"
        option = f"{model},id=e0,netdev=hn0,mac={self.mac}"
        return option if model.endswith("-device") else option + ",romfile="

    def net_argv(self, tap: str) -> List[str]:
        """The network card at a tap."""
        return ["-netdev", f"tap,id=hn0,ifname={tap},script=no,"
                           "downscript=no,vhost=off",
                "-device", self.nic_option()]

    def has_vnet_header(self) -> bool:
        """True if frames on the netdev carry a virtio-net header."""
        return self.nic.startswith("virtio-net")

    def machine_type(self) -> str:
        """The machine's name without its options."""
        return self.machine.split(",")[0]

    def argv(self) -> List[str]:
        """Everything but the network, the disk and the monitor."""
        machine = f"{self.machine},accel={self.accel}"
        argv = ["-machine", machine, "-m", str(self.memory_mib),
                "-smp", str(self.smp), "-nodefaults", "-no-user-config",
                "-display", "none"]
        if self.cpu:
            argv += ["-cpu", self.cpu]
        for directory in FIRMWARE:
            if os.path.isdir(directory):
                argv += ["-L", directory]
        if self.linux:
            argv += self.linux_argv()
        for device in self.devices:
            argv += ["-device", device]
        return argv + self.extra

    def linux_argv(self) -> List[str]:
        """Kernel, initramfs and their arguments."""
        words = [_read(CMDLINE).strip(), _counter_word(self.accel),
                 f"colo.ip={self.ip}/{netns.PREFIX}", self.append]
        kernel, initrd = _guest_files(self.full)
        return ["-kernel", kernel, "-initrd", initrd,
                "-append", " ".join(w for w in words if w)]


def _counter_word(accel: str) -> str:
    """The counter's frequency, which a guest on a busy host cannot measure."""
    if GUEST_TOOLS not in sys.path:
        sys.path.append(GUEST_TOOLS)
    tsc = importlib.import_module("tsc")
    khz = tsc.frequency_khz() if accel.startswith("tcg") else None
    return f"tsc_early_khz={khz}" if khz else ""


def _guest_files(full: bool) -> Tuple[str, str]:
    tail = "-full" if full else ""
    return (os.path.join(GUEST, f"vmlinuz{tail}"),
            os.path.join(GUEST, f"initramfs{tail}.cpio.gz"))


def guest_missing(full: bool = False) -> str:
    """Why the Linux guest cannot be used; empty if it can."""
    for path in _guest_files(full):
        if not os.path.exists(path):
            option = " --full" if full else ""
            return (f"no {os.path.relpath(path, TOP)}: run "
                    f"tests/guest/build.sh{option}")
    return ""


def guest_outdated(part: str) -> str:
    """Why the full guest has no such part; empty if it has."""
    problem = guest_missing(full=True)
    if not problem and part not in _read(os.path.join(GUEST,
                                                      "version-full.txt")):
        problem = (f"the full guest is older than its {part}: run "
                   "tests/guest/build.sh --full")
    return problem


class VM:
    """One QEMU process; see the top of the file."""

    def __init__(self, name: str, binary: str, argv: List[str],
                 run_dir: str, log_dir: str,
                 pass_fds: Optional[List[int]] = None) -> None:
        self.name = name
        self.binary = binary
        self.log_dir = log_dir
        self.cpus: Set[int] = set()     # it may run on; empty: as we
        self._pass_fds = pass_fds or []
        self._qmp_path = qmp.socket_path(run_dir, f"{name}.qmp")
        self._argv = [binary, "-name", f"{name},debug-threads=on",
                      "-qmp", f"unix:{self._qmp_path},server=on,wait=off",
                      "-serial", f"file:{self.log_path('console')}", *argv]
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self._frozen = False
        self.qmp = qmp.QMPClient(
            self._qmp_path, name,
            log=open(self.log_path("qmp"), "w", encoding="utf-8"))

    def log_path(self, kind: str) -> str:
        """Where that log of this machine is."""
        return os.path.join(self.log_dir, f"{self.name}.{kind}")

    def wrap(self, *words: str) -> None:
        """Have QEMU started by another program, which must become it."""
        self._argv[:0] = words

    # -- life ------------------------------------------------------------

    def start(self) -> "VM":
        """Start QEMU and connect to its monitor."""
        self.launch()
        self.connect()
        return self

    def launch(self) -> None:
        """Start QEMU without waiting for its monitor."""
        before = os.sched_getaffinity(0)
        try:
            # A process begins on the processors of the one that starts it.
            os.sched_setaffinity(0, self.cpus or before)
            self._launch()
        finally:
            os.sched_setaffinity(0, before)

    def _launch(self) -> None:
        with open(self.log_path("cmd"), "w", encoding="utf-8") as file:
            file.write(shlex.join(self._argv) + "\n")
        with open(self.log_path("log"), "wb") as log:
            self._process = procs.spawn(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=self._pass_fds)
        for fd in self._pass_fds:
            os.close(fd)
        self._pass_fds = []

    def connect(self) -> None:
        """Connect to the monitor of a launched QEMU."""
        try:
            self.qmp.connect(self.alive)
        except qmp.QMPClosed as error:
            raise qmp.QMPClosed(f"{error}\n{self.log_tail()}") from error

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def alive(self) -> bool:
        """True while the process runs (frozen counts as running)."""
        return self._process is not None and self._process.poll() is None

    def wait_exit(self, timeout_s: float = 20.0) -> int:
        """Wait for QEMU to end by itself; its exit code (-N: signal N)."""
        assert self._process is not None
        limit = time.monotonic() + timeout_s
        while self._process.poll() is None:
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.name} still runs after "
                                   f"{timeout_s} s")
            self.qmp.poll(0.02)
        self.qmp.poll()
        return self._process.returncode

    # -- death -----------------------------------------------------------

    def kill(self) -> None:
        """kill -9: the host of this side is gone."""
        if self.alive():
            assert self._process is not None
            self._process.kill()
            self._process.wait()
        self._frozen = False

    def freeze(self) -> None:
        """SIGSTOP: the side is there but says nothing any more."""
        os.kill(self.pid, signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        """SIGCONT after freeze()."""
        os.kill(self.pid, signal.SIGCONT)
        self._frozen = False

    def close(self) -> None:
        """End it whatever its state, and close the logs."""
        if self.alive() and not self._frozen:
            try:
                self.qmp.poll()
            except (OSError, ValueError):
                pass
        self.kill()
        self.qmp.close()

    def crashed(self) -> bool:
        """True if QEMU ended by a signal that we did not send."""
        code = self._process.poll() if self._process is not None else None
        return code is not None and code < 0 and -code not in (
            signal.SIGKILL, signal.SIGTERM)

    # -- looking ---------------------------------------------------------

    def rss_kib(self) -> int:
        """Resident memory of the process."""
        return procs.status_number(self.pid, "VmRSS")

    def peak_rss_kib(self) -> int:
        """Highest resident memory so far."""
        return procs.status_number(self.pid, "VmHWM")

    def runstate(self) -> str:
        """QEMU's run state, for example running, paused, colo."""
        return self.qmp.cmd("query-status")["status"]

    def console(self) -> str:
        """All that the guest wrote to its serial port."""
        return _read(self.log_path("console"))

    def wait_console(self, text: str, timeout_s: float = 120.0) -> None:
        """Wait until the guest has written `text`."""
        def written() -> bool:
            if not self.alive():
                raise RuntimeError(f"{self.name} ended while we waited for "
                                   f"'{text}' on its console\n"
                                   + self.log_tail())
            return text in self.console()
        procs.wait_until(written, timeout_s,
                         f"'{text}' on the console of {self.name}")

    def log_tail(self, lines: int = 12) -> str:
        """The end of what QEMU wrote to stderr."""
        tail = _read(self.log_path("log")).splitlines()[-lines:]
        return "\n".join([f"last lines of {self.name}.log:"] + tail)

    def command_line(self) -> List[str]:
        """The words with which QEMU was started."""
        return list(self._argv)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def supports(binary: str, kind: str, name: str,
             cache: Dict[str, str] = {}) -> bool:  # noqa: B006 (memo)
    """True if `binary -KIND help` names it: -device, -machine, -object."""
    key = f"{binary} {kind}"
    if key not in cache:
        argv = [binary, f"-{kind}", "help"]
        if kind == "device":
            argv[1:1] = ["-machine", "none"]
        cache[key] = procs.run(argv)
    words = cache[key].replace('"', " ").replace(",", " ").split()
    return name in words
