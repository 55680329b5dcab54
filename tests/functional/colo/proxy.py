# SPDX-License-Identifier: GPL-2.0-or-later
"""The network half of a pair: filters, compare object and their sockets.

Names and wiring are those of the documentation that people follow:

    primary    mirror0 :9003  what the clients sent, to the secondary
               compare1 :9004 what the secondary answered
               compare0 :9001 what the primary answered, to the compare object
               compare_out :9005 what may go out
    secondary  red0 -> :9003, red1 -> :9004, rewriter rew0
"""

import os
from typing import Any, Dict, List

from .qmp import QMPClient

_PORTS = {"mirror0": 9003, "compare1": 9004, "compare0": 9001,
          "compare_out": 9005}
# Of the direct form; where the primary listens behind a relay.
PORT = _PORTS["mirror0"]
RELAYED_PORT = PORT + 100
GENERATION_PORTS = 10
_LOCAL = (("compare0-0", "compare0"), ("compare_out0", "compare_out"))
_PRIMARY_IDS = ("comp0", "iothread1", "m0", "redire0", "redire1")


class Proxy:
    """Makes the options and commands; see the top of the file."""

    def __init__(self, run_dir: str, kind: str, vnet_header: bool,
                 relayed: bool = False) -> None:
        self._run_dir = run_dir
        self._kind = kind
        self._vnet_header = vnet_header
        self._relayed = relayed
        self._generation = 0    # of the primary's sockets

    # -- command line ----------------------------------------------------

    def primary_chardevs(self) -> List[str]:
        """The listening sockets of the primary, and its own two clients."""
        argv: List[str] = []
        for name in _PORTS:
            argv += ["-chardev", f"socket,id={name},{self._address(name)},"
                                 "server=on,wait=off" + self._nodelay()]
        for name, peer in _LOCAL:
            argv += ["-chardev", f"socket,id={name},{self._address(peer)}"
                     + self._nodelay()]
        return argv

    def secondary_argv(self) -> List[str]:
        """Sockets and filters of the secondary."""
        argv: List[str] = []
        for name, peer in (("red0", "mirror0"), ("red1", "compare1")):
            argv += ["-chardev", f"socket,id={name},{self._address(peer)},"
                                 "reconnect-ms=1000" + self._nodelay()]
        for option in ("filter-redirector,id=f1,netdev=hn0,queue=tx,"
                       "indev=red0",
                       "filter-redirector,id=f2,netdev=hn0,queue=rx,"
                       "outdev=red1",
                       "filter-rewriter,id=rew0,netdev=hn0,queue=all"):
            argv += ["-object", option + self._vnet()]
        return argv

    def primary_objects(self) -> List[str]:
        """The objects of the primary as command line options."""
        argv: List[str] = []
        for properties in self._objects():
            words = dict(properties)
            kind = words.pop("qom-type")
            argv += ["-object", ",".join(
                [kind] + [f"{k}={_text(v)}" for k, v in words.items()])]
        return argv

    def _path(self, name: str) -> str:
        return os.path.join(self._run_dir, f"{name}.{self._generation}")

    def _port(self, name: str) -> int:
        return _PORTS[name] + GENERATION_PORTS * self._generation

    def _address(self, name: str) -> str:
        if self._kind == "unix":
            return "path=" + self._path(name)
        return f"host=127.0.0.1,port={self._port(name)}"

    def _nodelay(self) -> str:
        return "" if self._kind == "unix" else ",nodelay=on"

    def _vnet(self) -> str:
        return ",vnet_hdr_support=on" if self._vnet_header else ""

    # -- monitor ---------------------------------------------------------

    def _objects(self) -> List[Dict[str, Any]]:
        objects: List[Dict[str, Any]] = [
            {"qom-type": "filter-mirror", "id": "m0", "netdev": "hn0",
             "queue": "tx", "outdev": "mirror0"},
            {"qom-type": "filter-redirector", "id": "redire0",
             "netdev": "hn0", "queue": "rx", "indev": "compare_out"},
            {"qom-type": "filter-redirector", "id": "redire1",
             "netdev": "hn0", "queue": "rx", "outdev": "compare0"},
            {"qom-type": "iothread", "id": "iothread1"},
            {"qom-type": "colo-compare", "id": "comp0",
             "primary_in": "compare0-0", "secondary_in": "compare1",
             "outdev": "compare_out0", "iothread": "iothread1"}]
        if self._vnet_header:
            for properties in objects:
                if properties["qom-type"] != "iothread":
                    properties["vnet_hdr_support"] = True
        return objects

    def add_primary_objects(self, monitor: QMPClient,
                            before: str = "") -> None:
        """Put the filters into the path of a running primary.

        before: on a former secondary, the filter that stays: they go in
        front of it.
        """
        order = {"iothread1": 0, "comp0": 1, "redire0": 2, "m0": 3,
                 "redire1": 4}
        for properties in sorted(self._objects(),
                                 key=lambda p: order[p["id"]]):
            if before and "netdev" in properties:
                properties.update(insert="before", position=f"id={before}")
            monitor.cmd("object-add", properties)

    def promote(self, monitor: QMPClient) -> None:
        """Give a former secondary the sockets of a primary."""
        for name in _PORTS:
            self._add_chardev(monitor, name, name, True)
        for name, peer in _LOCAL:
            self._add_chardev(monitor, name, peer, False)

    def _add_chardev(self, monitor: QMPClient, name: str, peer: str,
                     server: bool) -> None:
        if self._kind == "unix":
            address = {"type": "unix", "data": {"path": self._path(peer)}}
        else:
            address = {"type": "inet", "data": {
                "host": "127.0.0.1", "port": str(self._port(peer))}}
        data: Dict[str, Any] = {"addr": address, "server": server}
        if server:
            data["wait"] = False
        if self._kind != "unix":
            data["nodelay"] = True
        monitor.cmd("chardev-add", {"id": name, "backend": {
            "type": "socket", "data": data}})

    @staticmethod
    def primary_failover(monitor: QMPClient) -> None:
        """Take the filters away after the secondary was lost."""
        for name in _PRIMARY_IDS:
            monitor.cmd("object-del", {"id": name})

    @staticmethod
    def secondary_failover(monitor: QMPClient) -> None:
        """Let the secondary talk to the network itself."""
        for name in ("f2", "f1"):
            monitor.cmd("object-del", {"id": name})
        for name in ("red1", "red0"):
            monitor.cmd("chardev-remove", {"id": name})


class DirectProxy(Proxy):
    """One object and one connection at each side.

        primary    net0 :9003, colo-compare comp0 in the path of the NIC
        secondary  red0 -> :9003, rewriter rew0
    """

    def primary_chardevs(self) -> List[str]:
        address = self._address("mirror0")
        if self._relayed:
            address = address.replace(str(PORT), str(RELAYED_PORT))
        return ["-chardev", f"socket,id=net0,{address},"
                            "server=on,wait=off" + self._nodelay()]

    def secondary_argv(self) -> List[str]:
        return ["-chardev", f"socket,id=red0,{self._address('mirror0')},"
                            "reconnect-ms=1000" + self._nodelay(),
                "-object", "filter-rewriter,id=rew0,netdev=hn0,queue=all,"
                           "primary=red0"]

    def _objects(self) -> List[Dict[str, Any]]:
        return [{"qom-type": "colo-compare", "id": "comp0", "netdev": "hn0",
                 "secondary": "net0"}]

    def add_primary_objects(self, monitor: QMPClient,
                            before: str = "") -> None:
        """Nothing depends on the order: it takes its own place."""
        there = {child["name"] for child in
                 monitor.cmd("qom-list", {"path": "/objects"})}
        for properties in self._objects():
            if properties["id"] not in there:
                monitor.cmd("object-add", properties)

    def promote(self, monitor: QMPClient) -> None:
        # Not where the survivor itself still calls its old primary, which is
        # on a host of its own in earnest.
        self._generation += 1
        self._add_chardev(monitor, "net0", "mirror0", True)

    @staticmethod
    def primary_failover(monitor: QMPClient) -> None:
        """Without a pair the comparer lets everything pass."""

    @staticmethod
    def secondary_failover(monitor: QMPClient) -> None:
        """The rewriter goes on by itself."""


def make(form: str, run_dir: str, kind: str, vnet_header: bool,
         relayed: bool) -> Proxy:
    """The form is `chardev` or `direct`."""
    made = {"chardev": Proxy, "direct": DirectProxy}[form]
    return made(run_dir, kind, vnet_header, relayed)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
