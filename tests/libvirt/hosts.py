# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts on one machine, each with a libvirt daemon of its own.

         client namespace         namespace of the test
         +-------------+          +--------------------+
         | eth0  .7.1  |---veth---| br0                |
         +-------------+          |  |       \\         |
                                  +--|--------\\--------+
                 host a              |         \\      host b
         +---------------------------|--+   +----\\--------------------+
         | link0 .9.1  br0 --- lan0--+  |   |  +--lan0 --- br0   link0 |
         |   |          |               |   |               |     |.9.2|
         |   |        domain            |   |            domain   |    |
         +---|--------------------------+   +---------------------|----+
             +----------------- private link ----------------------+

A host is a namespace each of mounts, network and processes (hostinit.py).
Both have the same paths: an image at /var/lib/libvirt/images/x is another
file on each, and the emulator is /opt/colo/qemu-system-x86_64 on both.

    hosts = Hosts(context).start()
    hosts.a.virsh("list")                   # from the test, over the socket
    hosts.a.run(["virsh", "list"])          # a program that runs on the host
    hosts.b.virsh("-c", hosts.b.tcp_uri, "list")

Everything in a host ends with its first process, and that with the test, also
after `kill -9`.  Needs root; skips, saying so, where that or libvirt lacks.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import uuid
from typing import Any, List, Optional, Tuple

from colo import procs, vm
from colo.addresses import (CLIENT_SECOND_IP, CLIENT_SECOND_MAC,
                            GUEST_SECOND_IP, GUEST_SECOND_MAC, PREFIX)
from colo.case import Context, Skip

HERE = os.path.dirname(os.path.abspath(__file__))
EMULATOR = "/opt/colo/" + os.path.basename(vm.BINARY)
IMAGES = "/var/lib/libvirt/images"
LINK_PREFIX = 24
START_LIMIT_S = 30.0
COMMAND_LIMIT_S = 60.0
NEEDED = ("libvirtd", "virsh", "nsenter", "unshare")

DAEMON_CONF = """\
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_outputs = "3:stderr"
"""

# Nothing collects output for libvirt here (virtlogd); the machine's control
# groups belong to nobody here, and both hosts would use the same ones.
QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
cgroup_controllers = []
"""


ADDRESSES = {"a": "10.0.9.1", "b": "10.0.9.2"}      # on the private link
HOSTS = "127.0.0.1 localhost\n" + "".join(
    f"{address} host-{name}\n" for name, address in ADDRESSES.items())


class VirshError(Exception):
    """virsh refused; the text is what it printed."""


def require() -> None:
    """Skip the case where such hosts cannot be made."""
    if not procs.is_root():
        raise Skip("hosts with a libvirt of their own need root")
    for program in NEEDED:
        if not _program(program):
            raise Skip(f"{program} is not installed; make check does that")


class Host:
    """One of the two; see the top of the file."""

    def __init__(self, name: str, run_dir: str, log_dir: str) -> None:
        self.name = name
        self.address = ADDRESSES[name]
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"host-{name}"))
        self.directory = os.path.join(run_dir, name)
        self.log_path = os.path.join(log_dir, f"libvirtd-{name}.log")
        self._init: Optional["subprocess.Popen[bytes]"] = None
        self._daemon: Optional["subprocess.Popen[bytes]"] = None

    # -- how to reach it -------------------------------------------------

    @property
    def uri(self) -> str:
        """Reaches the daemon from anywhere on this machine."""
        path = self.path("/run/libvirt/libvirt-sock")
        return f"qemu+unix:///system?socket={path}"

    @property
    def tcp_uri(self) -> str:
        """Reaches the daemon from the other host, over the private link."""
        return f"qemu+tcp://host-{self.name}/system"

    def path(self, inside: str) -> str:
        """Where a file of the host is for those outside."""
        return os.path.join(self.directory, inside.lstrip("/"))

    @property
    def pid(self) -> int:
        """The host's first process, as those outside know it."""
        assert self._init is not None, f"host {self.name} is not up"
        with open(f"/proc/{self._init.pid}/task/{self._init.pid}/children",
                  encoding="ascii") as file:
            return int(file.read().split()[0])

    def enter_argv(self, argv: List[str]) -> List[str]:
        """The command line which runs `argv` on the host."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--net",
                "--uts", "--pid", "--", *argv]

    def run(self, argv: List[str], **options: Any) -> str:
        """Run a program on the host to its end; its output."""
        return procs.run(self.enter_argv(argv), **options)

    def spawn(self, argv: List[str],
              **options: Any) -> "subprocess.Popen[Any]":
        """Start a program on the host."""
        return procs.spawn(self.enter_argv(argv), **options)

    def virsh(self, *words: str, stdin: str = "",
              timeout_s: float = COMMAND_LIMIT_S) -> str:
        """Run virsh; what it printed, or VirshError with that."""
        done = subprocess.run(
            ["virsh", "--quiet", "--connect", self.uri, *words],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=timeout_s,
            preexec_fn=procs.die_with_parent)
        if done.returncode:
            raise VirshError(f"{self.name}: virsh {' '.join(words)}: "
                             f"{done.stdout.strip()}")
        return done.stdout.strip()

    def refusal(self, *words: str) -> str:
        """What virsh says against a command; empty if it took it."""
        try:
            self.virsh(*words)
        except VirshError as error:
            return str(error)
        return ""

    def domains(self) -> List[str]:
        """The names of all domains that the host knows."""
        return self.virsh("list", "--all", "--name").split()

    # -- life ------------------------------------------------------------

    def start(self) -> None:
        """Make the host; its network cables and its daemon come later."""
        os.makedirs(os.path.join(self.directory, "etc"))
        self._write("etc/hosts", HOSTS)
        self._init = procs.spawn(
            ["unshare", "--mount", "--net", "--uts", "--pid", "--fork",
             "--kill-child", "--mount-proc", "--", sys.executable,
             os.path.join(HERE, "hostinit.py"), f"host-{self.name}",
             self.directory, os.path.join(vm.TOP, "build")],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._init.stdout is not None
        ready, _, _ = select.select([self._init.stdout], [], [],
                                    START_LIMIT_S)
        said = self._init.stdout.readline().decode() if ready else "nothing"
        if said != "ready\n":
            raise RuntimeError(f"host {self.name}: {said.strip()}")
        self.run(["ip", "link", "set", "lo", "up"])
        self._write("etc/libvirt/libvirtd.conf",
                    DAEMON_CONF.format(uuid=self.uuid))
        self._write("etc/libvirt/qemu.conf", QEMU_CONF)

    def start_daemon(self) -> None:
        """Start libvirt's daemon; `wait_daemon` says when it answers."""
        # It looks for qemu-img, which lies beside the emulator.
        path = f"{os.environ['PATH']}:{os.path.dirname(EMULATOR)}"
        with open(self.log_path, "ab") as log:
            self._daemon = self.spawn(
                ["libvirtd", "--listen"], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, "PATH": path})

    def wait_daemon(self) -> None:
        """Until the daemon answers."""
        def answers() -> bool:
            assert self._daemon is not None
            if self._daemon.poll() is not None:
                raise RuntimeError(f"libvirtd on host {self.name} ended, "
                                   f"see {self.log_path}")
            try:
                self.virsh("uri")
                return True
            except VirshError:
                return False
        procs.wait_until(answers, START_LIMIT_S,
                         f"an answer of libvirtd on host {self.name}", 0.05)

    def end_daemon(self, number: int = signal.SIGTERM) -> None:
        """End the daemon; domains stay."""
        assert self._daemon is not None
        with open(self.path("/run/libvirtd.pid"), encoding="ascii") as file:
            os.kill(self.outside_pid(int(file.read())), number)
        self._daemon.wait(COMMAND_LIMIT_S)

    def restart_daemon(self, number: int = signal.SIGTERM) -> None:
        """End the daemon and start it again."""
        self.end_daemon(number)
        self.start_daemon()
        self.wait_daemon()
        # It answers before it is connected to its domains again; a command
        # to their QEMU waits for that.
        for name in self.virsh("list", "--name").split():
            self.refusal("qemu-monitor-command", name,
                         '{"execute": "query-status"}')

    def stop(self) -> None:
        """End everything on the host, and clean up what it leaves."""
        procs.reap(self._init)
        procs.reap(self._daemon)
        self._init = self._daemon = None

    # -- domains and their processes -------------------------------------

    def domain_pid(self, domain: str) -> int:
        """The process of a running domain, as those outside know it."""
        with open(self.path(f"/run/libvirt/qemu/{domain}.pid"),
                  encoding="ascii") as file:
            return self.outside_pid(int(file.read()))

    def outside_pid(self, inside: int) -> int:
        """Who is that process of the host to those outside?"""
        space = os.readlink(f"/proc/{self.pid}/ns/pid")
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == space \
                        and _last_pid(name) == inside:
                    return int(name)
            except OSError:
                continue        # it ended meanwhile
        raise ProcessLookupError(f"no process {inside} on host {self.name}")

    def kill_domain(self, domain: str) -> None:
        """kill -9 of the domain's process; returns once it is gone."""
        pid = self.domain_pid(domain)
        handle = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        ended, _, _ = select.select([handle], [], [], COMMAND_LIMIT_S)
        os.close(handle)
        assert ended, f"process {pid} survived SIGKILL"

    def put(self, source: str, name: str) -> str:
        """Copy a file to the host's images; its path there.

        A copy, since libvirt notes the owner of a file in the file itself,
        and two of them would fight about it.
        """
        inside = os.path.join(IMAGES, name)
        if not os.path.exists(self.path(inside)):
            shutil.copyfile(source, self.path(inside))
        return inside

    def domain_log(self, domain: str) -> str:
        """What the domain's QEMU wrote to stderr."""
        path = self.path(f"/var/log/libvirt/qemu/{domain}.log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def _write(self, name: str, text: str) -> None:
        with open(os.path.join(self.directory, name), "w",
                  encoding="utf-8") as file:
            file.write(text)


class Hosts:
    """Both hosts and their cables; see the top of the file."""

    def __init__(self, context: Context, lans: int = 1) -> None:
        """lans: 1 or 2 networks of the client, br0 and br1 on each host."""
        require()
        self.net = context.net
        self._lans = lans
        self._log_dir = context.log_dir
        self.a = Host("a", context.run_dir, context.log_dir)
        self.b = Host("b", context.run_dir, context.log_dir)
        self.both: Tuple[Host, Host] = (self.a, self.b)
        context.at_end(self.stop)

    def start(self) -> "Hosts":
        """Start both hosts and their daemons."""
        if self._lans > 1:
            self._second_lan()
        for host in self.both:
            host.start()
            for lan in range(self._lans):
                _connect(host, lan)
        self._link()
        for host in self.both:
            host.start_daemon()
        for host in self.both:
            host.wait_daemon()
        return self

    def _second_lan(self) -> None:
        """br1 beside br0, and the client's card on it."""
        _ip("link", "add", "br1", "type", "bridge")
        _ip("link", "set", "br1", "up")
        for words in (
                ["link", "add", "eth1", "address", CLIENT_SECOND_MAC, "type",
                 "veth", "peer", "name", "veth1", "netns", str(os.getpid())],
                ["link", "set", "eth1", "up"],
                ["address", "add", f"{CLIENT_SECOND_IP}/{PREFIX}", "dev",
                 "eth1"],
                ["neighbour", "replace", GUEST_SECOND_IP, "lladdr",
                 GUEST_SECOND_MAC, "dev", "eth1", "nud", "permanent"]):
            self.net.client_run(["ip", *words])
        _ip("link", "set", "veth1", "master", "br1", "up")

    def _link(self) -> None:
        """The private link between the hosts."""
        _ip("link", "add", "link0", "netns", str(self.a.pid), "type", "veth",
            "peer", "name", "link0", "netns", str(self.b.pid))
        for host in self.both:
            host.run(["ip", "address", "add",
                      f"{host.address}/{LINK_PREFIX}", "dev", "link0"])
            host.run(["ip", "link", "set", "link0", "up"])

    def set_link(self, up: bool) -> None:
        """Pull or plug the cable of the private link."""
        self.a.run(["ip", "link", "set", "link0", "up" if up else "down"])

    def other(self, host: Host) -> Host:
        """The one which that is not."""
        return self.b if host is self.a else self.a

    def stop(self) -> None:
        """Keep the logs, end both hosts."""
        for host in self.both:
            logs = host.path("/var/log/libvirt/qemu")
            if os.path.isdir(logs):
                shutil.copytree(
                    logs, os.path.join(self._log_dir, f"qemu-{host.name}"),
                    dirs_exist_ok=True)
            host.stop()


def _connect(host: Host, lan: int) -> None:
    """A bridge for the domains, and a cable to the clients' network."""
    cable, bridge, card = f"cable-{host.name}{lan}", f"br{lan}", f"lan{lan}"
    _ip("link", "add", cable, "type", "veth", "peer", "name", card,
        "netns", str(host.pid))
    _ip("link", "set", cable, "master", bridge, "up")
    host.run(["ip", "link", "add", bridge, "type", "bridge"])
    host.run(["ip", "link", "set", card, "master", bridge, "up"])
    host.run(["ip", "link", "set", bridge, "up"])


def _program(name: str) -> Optional[str]:
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def _last_pid(name: str) -> int:
    """The id of a process in its own, innermost namespace."""
    with open(f"/proc/{name}/status", encoding="ascii",
              errors="replace") as file:
        for line in file:
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return 0


def _ip(*words: str) -> None:
    procs.run(["ip", *words])
