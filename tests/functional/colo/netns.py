# SPDX-License-Identifier: GPL-2.0-or-later
"""The private network of one test.

    client namespace            namespace of the test
    +--------------+        +------------------------------+
    | eth0  .7.1   |--veth--| br0 --- tap-p  (primary)     |
    +--------------+        |    \\--- tap-s  (secondary)   |
                            +------------------------------+

The test itself runs in a network namespace of its own: as root under
`unshare --net`, without root under `unshare --user --map-root-user --net`.
Loopback is private too, so that port numbers can be fixed.  Namespaces,
bridge and taps are gone when the last process in them ends; there is nothing
to remove.
"""

import os
import subprocess
import time
from typing import List, Optional

from . import procs

CLIENT_IP = "10.0.7.1"
GUEST_IP = "10.0.7.2"
GUEST_MAC = "52:54:00:07:00:02"
CLIENT_MAC = "52:54:00:07:00:01"
PREFIX = 24

_ROOT = ["unshare", "--net", "--"]
_USER = ["unshare", "--user", "--map-root-user", "--net", "--"]


class NoNetwork(Exception):
    """This machine lets us make no private network; the text says why."""


def enter_command() -> List[str]:
    """The prefix which runs a command in a new private network."""
    reasons = []
    for prefix in ([_ROOT] if procs.is_root() else []) + [_USER]:
        done = subprocess.run(
            prefix + ["ip", "tuntap", "add", "probe0", "mode", "tap"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            check=False)
        if done.returncode == 0:
            return prefix
        reasons.append(done.stdout.strip())
    raise NoNetwork("no private network on this machine: " + "; ".join(reasons)
                    + " (needs iproute2, /dev/net/tun and either root or "
                    "kernel.unprivileged_userns_clone=1)")


class Network:
    """Bridge, taps and the client's namespace; see the top of the file."""

    def __init__(self) -> None:
        self._holder: Optional["subprocess.Popen[bytes]"] = None
        self._taps: List[str] = []

    def start(self) -> None:
        """Build it.  We must already be in a private namespace."""
        _quiet_ipv6()
        _ip("link", "add", "name", "br0", "type", "bridge")
        _ip("link", "set", "br0", "up")
        self._start_client_namespace()
        _ip("link", "add", "name", "veth0", "type", "veth",
            "peer", "name", "eth0", "address", CLIENT_MAC)
        _ip("link", "set", "veth0", "master", "br0", "up")
        assert self._holder is not None
        _ip("link", "set", "eth0", "netns", str(self._holder.pid))
        self.client_run(["ip", "link", "set", "lo", "up"])
        self.client_run(["ip", "address", "add", f"{CLIENT_IP}/{PREFIX}",
                         "dev", "eth0"])
        self.client_run(["ip", "link", "set", "eth0", "up"])
        self.client_run(["ip", "neighbour", "replace", GUEST_IP, "lladdr",
                         GUEST_MAC, "dev", "eth0", "nud", "permanent"])

    def _start_client_namespace(self) -> None:
        mine = os.readlink("/proc/self/ns/net")
        self._holder = procs.spawn(
            ["unshare", "--net", "--", "sleep", "infinity"])
        path = f"/proc/{self._holder.pid}/ns/net"
        limit = time.monotonic() + 10
        while os.readlink(path) == mine:
            if self._holder.poll() is not None or time.monotonic() > limit:
                raise NoNetwork("cannot make the client's namespace")
            time.sleep(0.01)

    def tap(self, side: str) -> str:
        """A tap on the bridge for that side, made on first use."""
        name = f"tap-{side}"
        if name not in self._taps:
            _ip("tuntap", "add", name, "mode", "tap", "vnet_hdr")
            _ip("link", "set", name, "master", "br0", "up")
            self._taps.append(name)
        return name

    def client_argv(self, argv: List[str]) -> List[str]:
        """The command line which runs `argv` in the client's namespace."""
        assert self._holder is not None
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"] \
            + argv

    def client_run(self, argv: List[str]) -> str:
        """Run a command in the client's namespace to its end."""
        return procs.run(self.client_argv(argv))

    def stop(self) -> None:
        """Drop the client's namespace; ours goes with its last process."""
        procs.reap(self._holder)
        self._holder = None


def loopback_up() -> None:
    """Each private network has its own loopback, which starts down."""
    _ip("link", "set", "lo", "up")


def _ip(*words: str) -> None:
    procs.run(["ip", *words])


def _quiet_ipv6() -> None:
    """No router solicitations: they would be traffic nobody asked for."""
    for scope in ("all", "default"):
        path = f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write("1")
        except OSError:
            pass
