# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU without a machine whose network parts are made by QMP.

A NIC without a guest: two netdevs of type stream meet in a hub.  The first,
with the NIC's name, is the backend to which filters are added; what we write
at its socket is what clients send.  Behind the second, at its peer's place,
we play the guest:

    we, as client --- netdev NAME --- hub --- netdev NAME-guest --- we, as guest
                      (filters)

A stream netdev waits for its reader, and QEMU with it: read what arrives.
"""

import os
import socket
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from colo import procs
from colo.case import Context, check
from colo.qmp import QMPError
from wires import Wire

Properties = Dict[str, Any]


class Nic(NamedTuple):
    """Our two ends of a NIC."""

    client: Wire
    guest: Wire


class Lab:
    """See the top of the file."""

    def __init__(self, context: Context, name: str = "lab",
                 argv: Sequence[str] = ("-machine", "none")) -> None:
        self.context = context
        self._name = name
        # Memory that was freed shows when it is used again.
        os.environ["MALLOC_PERTURB_"] = "165"
        self.machine = context.machine(
            name, [*argv, "-display", "none", "-nodefaults"]).start()
        self.qmp = self.machine.qmp
        self._hubs_count = 0

    # -- chardevs --------------------------------------------------------

    def path(self, name: str) -> str:
        """Where the socket of that chardev or netdev is."""
        return os.path.join(self.context.run_dir, f"{self._name}-{name}")

    def chardev(self, *names: str) -> None:
        """Add listening sockets."""
        for name in names:
            self.qmp.cmd("chardev-add", {"id": name, "backend": {
                "type": "socket", "data": {
                    "addr": {"type": "unix", "data": {
                        "path": self.path(name)}},
                    "server": True, "wait": False}}})

    def calling_chardev(self, name: str,
                        reconnect_ms: int = 50) -> socket.socket:
        """Add a chardev that connects by itself; where it connects to."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path(name))
        listener.listen(1)
        listener.settimeout(5)
        self.context.at_end(listener.close)
        self.qmp.cmd("chardev-add", {"id": name, "backend": {
            "type": "socket", "data": {
                "addr": {"type": "unix", "data": {"path": self.path(name)}},
                "server": False, "reconnect-ms": reconnect_ms}}})
        return listener

    def tcp_wire(self, name: str, vnet: bool = False) -> Wire:
        """Add a chardev that is a TCP connection; our end of it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            self.qmp.cmd("chardev-add", {"id": name, "backend": {
                "type": "socket", "data": {
                    "addr": {"type": "inet", "data": {
                        "host": "127.0.0.1", "port": str(port)}},
                    "server": False, "nodelay": True}}})
            wire = Wire(listener.accept()[0], vnet)
        self.context.at_end(wire.close)
        return wire

    def connected(self, name: str) -> bool:
        """Does QEMU know that somebody is connected to the chardev?"""
        return any(c["label"] == name
                   and not c["filename"].startswith("disconnected:")
                   for c in self.qmp.cmd("query-chardev"))

    def wire(self, name: str, vnet: bool = False) -> Wire:
        """Connect to the chardev, and wait until QEMU knows."""
        wire = self._connect(name, vnet)
        self.wait_connected(name)
        return wire

    def wait_connected(self, name: str, yes: bool = True) -> None:
        """Wait until QEMU knows that somebody is, or nobody."""
        procs.wait_until(lambda: self.connected(name) == yes, 5,
                         f"chardev {name} {'' if yes else 'dis'}connected")

    def wires(self, *names: str, vnet: bool = False) -> List[Wire]:
        """Connect to several."""
        return [self.wire(name, vnet) for name in names]

    def _connect(self, name: str, vnet: bool = False) -> Wire:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

        def listening() -> bool:
            return sock.connect_ex(self.path(name)) == 0
        procs.wait_until(listening, 5, f"{name} listening")
        wire = Wire(sock, vnet)
        self.context.at_end(wire.close)
        return wire

    # -- netdevs ---------------------------------------------------------

    def netdev(self, name: str) -> Wire:
        """Add a netdev; our end of it."""
        self.qmp.cmd("netdev_add", {
            "type": "stream", "id": name, "server": True,
            "addr": {"type": "unix", "path": self.path(name)}})
        mark = self.qmp.mark()
        wire = self._connect(name)
        self.qmp.wait_event("NETDEV_STREAM_CONNECTED", 5, mark,
                            lambda data: data["netdev-id"] == name)
        return wire

    def nic(self, name: str) -> Nic:
        """Add a NIC without a guest."""
        nic = Nic(self.netdev(name), self.netdev(f"{name}-guest"))
        for netdev in (name, f"{name}-guest"):
            self.qmp.cmd("netdev_add", {
                "type": "hubport", "id": f"{netdev}-port",
                "hubid": self._hubs_count, "netdev": netdev})
        self._hubs_count += 1
        return nic

    # -- objects ---------------------------------------------------------

    def add(self, kind: str, name: str, **properties: Any) -> None:
        """Add an object."""
        self.qmp.cmd("object-add",
                     {"qom-type": kind, "id": name, **properties})

    def refused(self, kind: str, name: str, **properties: Any) -> str:
        """Add an object, which must fail; the text."""
        error = self.qmp.try_cmd(
            "object-add", {"qom-type": kind, "id": name, **properties})
        check(error is not None, f"{kind} {properties} was accepted")
        assert error is not None
        return error.desc

    def delete(self, *names: str) -> None:
        """Delete objects."""
        for name in names:
            self.qmp.cmd("object-del", {"id": name})

    def get(self, name: str, prop: str) -> Any:
        """A property of an object."""
        return self.qmp.cmd("qom-get", {"path": f"/objects/{name}",
                                        "property": prop})

    def set(self, name: str, prop: str, value: Any) -> Optional[QMPError]:
        """Set a property; the refusal if there is one."""
        return self.qmp.try_cmd("qom-set", {
            "path": f"/objects/{name}", "property": prop, "value": value})

    def nic_info(self, name: str) -> Dict[str, Any]:
        """The entry of that object in query-colo."""
        for info in self.qmp.cmd("query-colo")["nics"]:
            if info["id"] == name:
                return dict(info)
        raise AssertionError(f"query-colo does not know {name}")

    def compare_info(self, name: str) -> Dict[str, Any]:
        """The counters of a colo-compare."""
        return dict(self.nic_info(name)["compare"])

    def wait_compare(self, name: str, what: str, value: Any) -> None:
        """Wait until a counter of a colo-compare has that value."""
        procs.wait_until(
            lambda: self.compare_info(name)[what] == value, 5,
            f"{what} of {name} being {value}")

    # -- its health ------------------------------------------------------

    def log(self) -> str:
        """All that QEMU wrote to stderr."""
        with open(self.machine.log_path("log"), encoding="utf-8",
                  errors="replace") as file:
            return file.read()

    def wait_log(self, text: str) -> None:
        """Wait until QEMU has written that."""
        procs.wait_until(lambda: text in self.log(), 5,
                         f"'{text}' in the log")

    def open_files(self) -> int:
        """Number of its file descriptors."""
        return len(os.listdir(f"/proc/{self.machine.pid}/fd"))

    def threads(self) -> int:
        """Number of its threads, with those that have just been joined:
        pthread_join() returns while the kernel still puts one away."""
        return len(os.listdir(f"/proc/{self.machine.pid}/task"))

    def wait_threads(self, most: int) -> None:
        """Wait until there are not more threads than that."""
        procs.wait_until(lambda: self.threads() <= most, 5,
                         f"{self._name} having {most} threads")

    def quit(self) -> None:
        """It ends in good order when told to."""
        self.qmp.cmd("quit")
        code = self.machine.wait_exit(10)
        check(code == 0, f"{self._name} ended with {code}\n"
              + self.machine.log_tail())
