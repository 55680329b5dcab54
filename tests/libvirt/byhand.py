# SPDX-License-Identifier: GPL-2.0-or-later
"""Protection of a running domain step by step, with nothing but virsh.

What a person can do without any program of ours, and what the program `colo`
does for them: the secondary is made from the primary's own XML, everything
else goes through `qemu-monitor-command`.  Without replicated disks: a domain
here has none, or one that nobody writes.
"""

import xml.etree.ElementTree as ET
from typing import Any, Dict, List

from colo import procs
from domains import Domain, write_xml
from hosts import Host

QEMU_XML = "http://libvirt.org/schemas/domain/qemu/1.0"
MIGRATE_PORT = 49800
NIC_PORT = 49810


def with_incoming(xml: str) -> str:
    """A domain's XML with the words by which it waits for a primary."""
    ET.register_namespace("qemu", QEMU_XML)
    tree = ET.fromstring(xml)
    words = ET.SubElement(tree, f"{{{QEMU_XML}}}commandline")
    for value in ("-incoming", "defer"):
        ET.SubElement(words, f"{{{QEMU_XML}}}arg", value=value)
    return ET.tostring(tree, encoding="unicode")


def start_secondary(primary: Domain, host: Host) -> Domain:
    """Create it, waiting, on another host."""
    xml = primary.host.virsh("dumpxml", "--migratable", primary.name)
    path = write_xml(host, f"{primary.name}-secondary", with_incoming(xml))
    host.virsh("create", "--paused", path)
    return Domain(host, primary.name)


def netdevs(domain: Domain) -> List[str]:
    """The backends of the domain's cards, from libvirt's names of them."""
    xml = ET.fromstring(domain.host.virsh("dumpxml", domain.name))
    aliases = [alias.get("name", "") for alias in
               xml.findall("./devices/interface/alias")]
    return [f"host{alias}" for alias in aliases]


def _socket(host: str, port: int, server: bool) -> Dict[str, Any]:
    data: Dict[str, Any] = {
        "addr": {"type": "inet", "data": {"host": host, "port": str(port)}},
        "server": server, "nodelay": True}
    if server:
        data["wait"] = False
    else:
        data["reconnect-ms"] = 100
    return {"type": "socket", "data": data}


def connect_nics(primary: Domain, secondary: Domain) -> None:
    """A comparer and a rewriter for each card, and a line between them.

    The primary's half stays when its secondary is lost, for the next one.
    """
    there = {char["label"] for char in primary.qmp("query-chardev")}
    for number, netdev in enumerate(netdevs(primary)):
        port = NIC_PORT + number
        if f"colo-nic{number}" not in there:
            primary.qmp("chardev-add", id=f"colo-nic{number}",
                        backend=_socket(primary.host.address, port, True))
            primary.qmp_raw({"execute": "object-add", "arguments": {
                "qom-type": "colo-compare", "id": f"colo-compare{number}",
                "netdev": netdev, "secondary": f"colo-nic{number}"}})
        secondary.qmp("chardev-add", id=f"colo-nic{number}", backend=_socket(
            primary.host.address, port, False))
        secondary.qmp_raw({"execute": "object-add", "arguments": {
            "qom-type": "filter-rewriter", "id": f"colo-rewriter{number}",
            "netdev": netdev, "queue": "all",
            "primary": f"colo-nic{number}"}})


def protect(primary: Domain, host: Host, delay_ms: int = 200) -> Domain:
    """Protect a running domain; its secondary, once that is done."""
    secondary = start_secondary(primary, host)
    for side in (primary, secondary):
        side.qmp("migrate-set-capabilities", capabilities=[
            {"capability": "x-colo", "state": True}])
        side.qmp("migrate-set-parameters", x_checkpoint_delay=delay_ms,
                 max_bandwidth=8 << 30)
    connect_nics(primary, secondary)
    uri = f"tcp:{host.address}:{MIGRATE_PORT}"
    secondary.qmp("migrate-incoming", uri=uri)
    primary.qmp("migrate", uri=uri)
    for side in (primary, secondary):
        procs.wait_until(
            lambda: side.colo()["state"] in ("protected", "checkpoint"),
            60.0, f"protection, says host {side.host.name}")
    return secondary


def checkpoints(primary: Domain) -> int:
    """How many were completed so far."""
    return int(primary.colo()["checkpoints-total"])


def wait_checkpoints(primary: Domain, more: int) -> None:
    """Until that many further ones were completed."""
    goal = checkpoints(primary) + more
    procs.wait_until(lambda: checkpoints(primary) >= goal, 60.0,
                     f"{more} more checkpoints")
