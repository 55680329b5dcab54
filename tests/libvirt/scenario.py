# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps that the cases of the program have in common."""

import difflib
import json
from typing import Any, Dict, List, Optional

from colo import diskload, images, volumes, vm
from colo.case import Context, check, check_equal
from colo.traffic import Client, longest_gap_ms
from domains import QEMU_IMG, Disk, Domain, Plain, boot
from hosts import Host, Hosts
from program import Program

EXCHANGES = 20
INTERVAL_MS = "200"
GAP_LIMIT_MS = 20000        # not a figure to be reached: a sign of a hang


def database_domain(context: Context, **settings: Any) -> Plain:
    """A domain with a file system on its disks; skips without tools."""
    for problem in (images.missing(), vm.guest_outdated("volumes")):
        if problem:
            context.skip(problem)
    settings.setdefault("disks", [Disk("raw")])
    for disk in settings["disks"]:
        disk.filesystem = True
        disk.size_mib = 96
    return Plain(full=True, append="colo.volumes=1", **settings)


def program(context: Context, hosts: Hosts) -> Program:
    """The program; skips the case if this QEMU cannot do its part."""
    if not diskload.has_symmetric():
        context.skip("this QEMU cannot put replication under a disk in use")
    return Program(context, hosts)


def went_on(context: Context, client: Client) -> None:
    """The client went on, and nothing took for ever since the mark."""
    client.wait_progress(EXCHANGES)
    report = client.check()
    gap_ms = longest_gap_ms(report)
    context.step("longest gaps: " + ", ".join(
        f"{name} {figures['gap-ms']:.0f} ms"
        for name, figures in report.items()))
    check(gap_ms < GAP_LIMIT_MS, f"the client waited {gap_ms:.0f} ms")
    client.mark()


def both_ways(context: Context, hosts: Hosts, uri: str) -> None:
    """Protect by that URI of B, and come back by the one that is made of it.

    The program runs on the hosts; each finds the other through the domain.
    """
    colo = program(context, hosts)
    boot(hosts, Plain(), persistent=True)
    load = context.client("kv,durable")
    load.wait_progress(EXCHANGES)
    colo.call("protect", "plain", "--to", uri, "--interval", INTERVAL_MS,
              on=hosts.a)
    for host in hosts.both:
        said = colo.call("status", "plain", on=host).said
        check("plain: Protected" in said, said)
    colo.call("failover", "plain", "--planned", on=hosts.b)
    went_on(context, load)
    load.verify()
    colo.call("unprotect", "plain", on=hosts.b)
    check_equal(hosts.b.virsh("domstate", "plain"), "running", "the guest")


def fail_over(context: Context, colo: Program, source: Host, target: Host,
              name: str = "plain") -> None:
    """Kill the primary's QEMU, then `colo failover`."""
    context.step("kill -9 the primary")
    source.kill_domain(name)
    colo.wait_status(name, target, "Primary lost")
    colo.call("failover", name, "-c", target.uri)
    status = colo.status(name, target)
    check_equal(status["word"], "Running alone", "status behind a failover")
    check(not status["protected"], str(status))
    check_equal(Domain(target, name).state(), "running",
                "the survivor, says libvirt")


def end_load(context: Context, client: Client) -> volumes.Report:
    """Read everything back in the guest, which then leaves its disks be."""
    return diskload.verify_in_guest(context, client)


def _guest_name(files: images.FileSystem, report: volumes.Report,
                names: List[str]) -> str:
    """As which of these disks the guest has used an image.

    Two disks on one SCSI controller are found at the same time, and either
    may be the first.
    """
    there = files.names("/")
    for name in names:
        lanes = [lane for figures in report.values()
                 if figures.get("device") == name for lane in figures["last"]]
        if any(lane in there or (lane.startswith("database") and
                                 "base.db" in there) for lane in lanes):
            return name
    return names[0]


def look_into(context: Context, spec: Plain, host: Host,
              report: volumes.Report) -> None:
    """Images whose QEMU has ended hold all that was acknowledged."""
    names = spec.disk_names()
    for number in range(len(spec.disks)):
        files = images.FileSystem(QEMU_IMG, spec.image(host, number),
                                  f"{context.run_dir}/look.raw")
        files.check()
        disk = _guest_name(files, report, names)
        names.remove(disk)
        found = volumes.check(files, report, disk, context.run_dir)
        files.close()
        context.step(f"{disk} on host {host.name} holds {found}")


def compare_images(spec: Plain, one: Host, other: Host) -> None:
    """The same bytes on both; no guest may be writing."""
    for number in range(len(spec.disks)):
        images.compare(QEMU_IMG, spec.image(one, number),
                       spec.image(other, number))


def everything(domain: Domain) -> Dict[str, Any]:
    """All of a domain and its QEMU that protecting it may change."""
    def names(command: str, key: str, **arguments: Any) -> List[str]:
        return sorted(str(entry.get(key))
                      for entry in domain.qmp(command, **arguments))

    def without_shell(xml: str) -> str:
        # Libvirt keeps the empty element when the last entry goes.
        return xml.replace("  <metadata/>\n", "")
    return {
        "xml": without_shell(domain.host.virsh("dumpxml", domain.name)),
        "persistent xml": without_shell(domain.persistent_xml()),
        "autostart": _line(domain.host.virsh("dominfo", domain.name),
                           "Autostart"),
        "nodes": names("query-named-block-nodes", "node-name"),
        "jobs": domain.qmp("query-jobs"),
        "exports": domain.qmp("query-block-exports"),
        "devices": [(entry["qdev"], _node(entry))
                    for entry in domain.qmp("query-block")],
        "chardevs": names("query-chardev", "label"),
        "objects": names("qom-list", "name", path="/objects"),
        "capabilities": domain.qmp("query-migrate-capabilities"),
        "parameters": domain.qmp("query-migrate-parameters"),
        "limits": domain.qmp("query-colo-parameters"),
    }


def check_unchanged(before: Dict[str, Any], domain: Domain) -> None:
    """Everything is as it was."""
    now = everything(domain)
    changed = [f"{name}: {_difference(before[name], now[name])}"
               for name in before if before[name] != now[name]]
    check(not changed, "\n".join(changed))
    check_equal(domain.state(), "running", "the domain")


def _difference(one: Any, other: Any) -> str:
    """The lines in which two values differ."""
    texts = [value if isinstance(value, str)
             else json.dumps(value, indent=1, sort_keys=True)
             for value in (one, other)]
    lines = difflib.ndiff(texts[0].splitlines(), texts[1].splitlines())
    return " ".join(line for line in lines if line[0] in "+-")


def _node(entry: Dict[str, Any]) -> Optional[str]:
    inserted = entry.get("inserted") or {}
    return inserted.get("node-name")


def _line(text: str, name: str) -> str:
    return next((line for line in text.splitlines()
                 if line.startswith(name)), "")
