# SPDX-License-Identifier: GPL-2.0-or-later
"""What `colo protect --check` finds, before anything is changed."""

import os
from typing import Any, Dict, List

from colo.case import Context, case, check, check_equal
from domains import Disk, Domain, Nic, Plain, boot, start
from hosts import Host, Hosts
from program import (CHECK_FAILED, DONE, FAILED, NO_DOMAIN, NO_LIBVIRT, USAGE,
                     Program)
from scenario import program

# What runs under libvirt and cannot be protected.
OBSTACLES = """
<shmem name='shared'><model type='ivshmem-plain'/><size unit='M'>4</size>
</shmem>
<interface type='user'><mac address='52:54:00:07:02:01'/>
  <model type='virtio'/></interface>
<interface type='bridge'><mac address='52:54:00:07:02:02'/>
  <source bridge='br0'/><model type='virtio'/>
  <driver name='qemu' queues='2'/></interface>
"""
NAMES = ("shared memory shared", "interface 52:54:00:07:02:01",
         "interface 52:54:00:07:02:02", "disk vdb")


def failed(colo: Program, source: Host, target: Host,
           *words: str) -> Dict[str, Dict[str, Any]]:
    """The checks that fail, by name; each must have its remedy."""
    answer = colo.protect("plain", source, target, "--check", "--json",
                          *words, code=None)
    checks = answer.json()["checks"]
    found = {c["name"]: c for c in checks if c["result"] == "failed"}
    check_equal(answer.code, CHECK_FAILED if found else DONE, "exit status")
    for entry in found.values():
        check(entry["detail"] and entry["remedy"], f"no remedy: {entry}")
    return found


def named(found: Dict[str, Any], name: str) -> None:
    """That, and nothing else, stands in the way."""
    check_equal(list(found), [name], "failed checks")


@case(timeout_s=300, reference=False)
def checks_find(context: Context) -> None:
    """Pre-flight checks: everything fine, then one thing after the other."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    spec = Plain()
    domain = boot(hosts, spec, persistent=True)
    before = domain.host.virsh("dumpxml", "plain")
    check_equal(failed(colo, hosts.a, hosts.b), {}, "failed checks")
    context.step("an image of another size on the other host")
    path = spec.image(hosts.b)
    with open(path, "wb") as file:
        file.truncate(1 << 20)
    named(failed(colo, hosts.a, hosts.b), "disk vda")
    check_equal(failed(colo, hosts.a, hosts.b, "--disk",
                       "vda=/var/lib/libvirt/images/other.raw"), {},
                "failed checks with another path")
    os.unlink(path)
    context.step("no such bridge on the other host")
    hosts.b.run(["ip", "link", "set", "br0", "name", "br7"])
    named(failed(colo, hosts.a, hosts.b), "QEMU there")
    check_equal(failed(colo, hosts.a, hosts.b, "--network", "br0=br7"), {},
                "failed checks with another bridge")
    hosts.b.run(["ip", "link", "set", "br7", "name", "br0"])
    context.step("another domain of that name on the other host")
    other = spec.xml().replace(spec.uuid, hosts.b.uuid)
    with open(hosts.b.path("/run/other.xml"), "w", encoding="utf-8") as file:
        file.write(other)
    hosts.b.virsh("define", hosts.b.path("/run/other.xml"))
    check("other host" in failed(colo, hosts.a, hosts.b), "not noticed")
    hosts.b.virsh("undefine", "plain")
    context.step("the same host")
    check("other host" in failed(colo, hosts.a, hosts.a), "not noticed")
    context.step("no emulator on the other host")
    hosts.b.run(["umount", "/opt/colo"])
    named(failed(colo, hosts.a, hosts.b), "QEMU there")
    check_equal(hosts.b.domains(), [], "what the checks left on B")
    check_equal(domain.host.virsh("dumpxml", "plain"), before,
                "the domain's XML")


def _complaints(colo: Program, words: List[str], code: int,
                word: str) -> None:
    """A call that cannot work says why, in two lines, with that status."""
    text = colo.call(*words, code=code).text
    lines = [line for line in text.splitlines() if line]
    check(all(line.startswith("error: ") for line in lines) and lines,
          f"not an error: {text}")
    check(word in text, f"'{word}' is not in: {text}")


@case(timeout_s=240, linux=False, reference=False)
def checks_refuse(context: Context) -> None:
    """Mistakes of the user, each with its reason and exit status."""
    hosts = Hosts(context).start()
    colo = Program(context, hosts)
    there = colo.between(hosts.a, hosts.b)
    _complaints(colo, ["protect", "nobody", *there], NO_DOMAIN, "nobody")
    _complaints(colo, ["protect", "nobody", "--from", hosts.a.uri],
                USAGE, "--to")
    _complaints(colo, ["nonsense"], USAGE, "nonsense")
    _complaints(colo, ["status", "--nonsense"], USAGE, "--nonsense")
    _complaints(colo, ["protect", "nobody", "--from", hosts.a.uri, "--to",
                       "qemu+unix:///system?socket=/nowhere"],
                NO_LIBVIRT, "/nowhere")
    spec = Plain(disks=[])
    spec.install(hosts.a)
    start(hosts.a, spec, persistent=True)
    _complaints(colo, ["protect", "plain", *there, "--disk", "vdz=/x"],
                USAGE, "vdz")
    _complaints(colo, ["protect", "plain", *there, "--port", "70000"],
                USAGE, "70000")
    for command in ("unprotect", "checkpoint", "failover"):
        _complaints(colo, [command, "plain", "-c", hosts.a.uri], FAILED,
                    "plain")
    hosts.a.virsh("destroy", "plain")
    found = failed(colo, hosts.a, hosts.b)
    check("domain" in found, f"a domain that does not run: {found}")


@case(timeout_s=240, linux=False, reference=False)
def checks_obstacles(context: Context) -> None:
    """A domain full of things that cannot be protected: each is named."""
    hosts = Hosts(context).start()
    colo = Program(context, hosts)
    spec = Plain(disks=[Disk(), Disk("qcow2", inside="<transient/>")],
                 nics=[Nic()], devices=OBSTACLES)
    for host in hosts.both:
        spec.install(host)
    domain: Domain = start(hosts.a, spec)
    found = failed(colo, hosts.a, hosts.b)
    for name in NAMES:
        check(name in found, f"'{name}' is not among {sorted(found)}")
    context.step("protect without asking first")
    text = colo.protect("plain", hosts.a, hosts.b, code=CHECK_FAILED).text
    for name in NAMES:
        check(name in text, f"'{name}' is not in {text}")
    check_equal(hosts.b.domains(), [], "domains on B")
    check_equal(domain.state(), "running", "the domain")
