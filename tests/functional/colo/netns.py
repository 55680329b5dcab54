# SPDX-License-Identifier: GPL-2.0-or-later
"""The private network of one test.

    client namespace            namespace of the test
    +--------------+        +------------------------------+
    | eth0  .7.1   |--veth--| br0 --- tap-p  (primary)     |
    +--------------+        |    \\--- tap-s  (secondary)   |
                            +------------------------------+

On request (`Options`) there are also IPv6, a VLAN, an MTU, neighbour entries
that are found out instead of given, and in the place of the veth pair taps with
a relay between them (linkrelay.py), which loses and delays frames. The client's
side of the VLAN is the relay's work, too: few test machines have a driver.

The test itself runs in a network namespace of its own: as root under
`unshare --net`, without root under `unshare --user --map-root-user --net`.
Loopback is private too, so that port numbers can be fixed.  Namespaces,
bridge and taps are gone when the last process in them ends; there is nothing
to remove.
"""

import dataclasses
import os
import subprocess
import time
from typing import List, Optional

from . import linkrelay, procs
from .addresses import (CLIENT_IP, CLIENT_IP6, CLIENT_MAC, CLIENT_VLAN_IP,
                        CLIENT_VLAN_IP6, GUEST_IP, GUEST_IP6, GUEST_MAC,
                        GUEST_VLAN_IP, GUEST_VLAN_IP6, PREFIX, PREFIX6,
                        VLAN_ID)

__all__ = ["CLIENT_IP", "CLIENT_MAC", "GUEST_IP", "GUEST_MAC", "PREFIX"]

MTU = 1500

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


@dataclasses.dataclass
class Options:
    """What the network has beyond IPv4 on a plain Ethernet."""

    ipv6: bool = False
    vlan: bool = False                  # IPv4, and IPv6 if that is on
    static_neighbours: bool = True      # else by ARP and ND
    mtu: int = 0                        # of client and guest; 0: as usual
    relay_seed: Optional[int] = None    # a link that can have faults

    def guest_words(self) -> str:
        """Kernel parameters by which the guest has the same."""
        words = []
        if self.ipv6:
            words.append(f"colo.ip6={GUEST_IP6}/{PREFIX6}")
        if self.vlan:
            words += [f"colo.vlan={VLAN_ID}",
                      f"colo.vlanip={GUEST_VLAN_IP}/{PREFIX}"]
            if self.ipv6:
                words.append(f"colo.vlanip6={GUEST_VLAN_IP6}/{PREFIX6}")
        if self.mtu:
            words.append(f"colo.mtu={self.mtu}")
        return " ".join(words)


class Network:
    """Bridge, taps and the client's namespace; see the top of the file."""

    def __init__(self, options: Optional[Options] = None) -> None:
        self.options = options or Options()
        self._holder: Optional["subprocess.Popen[bytes]"] = None
        self._relay: Optional[linkrelay.LinkRelay] = None
        self._taps: List[str] = []

    def start(self) -> None:
        """Build it.  We must already be in a private namespace."""
        _quiet_ipv6()
        _ip("link", "add", "name", "br0", "type", "bridge")
        _ip("link", "set", "br0", "up")
        self._start_client_namespace()
        self._start_cable()
        self._client_ip("link", "set", "lo", "up")
        self._configure("eth0", CLIENT_IP, GUEST_IP, CLIENT_IP6, GUEST_IP6)
        if self.options.vlan:
            self._configure("vlan0", CLIENT_VLAN_IP, GUEST_VLAN_IP,
                            CLIENT_VLAN_IP6, GUEST_VLAN_IP6)

    def _start_cable(self) -> None:
        """eth0 and vlan0, which the client gets, and veth0 at the bridge."""
        if self.options.relay_seed is None and not self.options.vlan:
            _ip("link", "add", "name", "veth0", "type", "veth",
                "peer", "name", "eth0")
        elif self.options.vlan:
            self._relay = linkrelay.LinkRelay(
                "eth0", "veth0", self.options.relay_seed or 0,
                "vlan0", VLAN_ID)
        else:
            self._relay = linkrelay.LinkRelay(
                "eth0", "veth0", self.options.relay_seed or 0)
        self._join_bridge("veth0")

    def _join_bridge(self, device: str) -> None:
        # A bridge drops what is larger than its port may send.
        _ip("link", "set", device, "mtu", str(max(self.options.mtu, MTU)),
            "master", "br0", "up")

    def _configure(self, device: str, client: str, guest: str,
                   client6: str, guest6: str) -> None:
        """Give the client a device, its addresses, and where the guest is."""
        assert self._holder is not None
        _ip("link", "set", device, "netns", str(self._holder.pid))
        mtu = str(self.options.mtu or MTU)
        self._client_ip("link", "set", device, "address", CLIENT_MAC,
                        "mtu", mtu, "up")
        self._client_ip("address", "add", f"{client}/{PREFIX}",
                        "dev", device)
        guests = [guest]
        if self.options.ipv6:
            # No duplicate address detection: it takes a second.
            self._client_ip("-6", "address", "add", f"{client6}/{PREFIX6}",
                            "dev", device, "nodad")
            guests.append(guest6)
        for address in guests if self.options.static_neighbours else ():
            self._client_ip("neighbour", "replace", address, "lladdr",
                            GUEST_MAC, "dev", device, "nud", "permanent")

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
            self._join_bridge(name)
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

    def _client_ip(self, *words: str) -> None:
        self.client_run(["ip", *words])

    def relay(self) -> linkrelay.LinkRelay:
        """The faulty link, if there is one."""
        assert self._relay is not None, "this network has no relay"
        return self._relay

    def stop(self) -> None:
        """Drop the client's namespace; ours goes with its last process."""
        if self._relay is not None:
            self._relay.close()
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
