# SPDX-License-Identifier: GPL-2.0-or-later
"""Ordinary libvirt domains around the test guest.

`Plain` says what a domain looks like; `xml()` is what a person would write
for it, with nothing in it that has to do with protection.  The same text
serves on both hosts, since their paths are the same.

    spec = Plain(disks=[Disk("raw"), Disk("qcow2", bus="scsi")])
    spec.install(hosts.a)           # kernel, initramfs and images
    domain = start(hosts.a, spec)
"""

import dataclasses
import json
import os
import subprocess
import uuid
from typing import Any, Dict, List

from colo import addresses, images, procs, vm
from colo.qmp import QMPError
from colo.vm import Spec
from hosts import EMULATOR, IMAGES, Host, Hosts

DISK_MIB = 64
QEMU_IMG = os.path.join(os.path.dirname(vm.BINARY), "qemu-img")
QEMU_IO = os.path.join(os.path.dirname(vm.BINARY), "qemu-io")
NAMES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd"}


@dataclasses.dataclass
class Disk:
    """A disk with an image of its own on each host."""

    kind: str = "raw"               # or qcow2
    bus: str = "virtio"             # scsi: on a virtio-scsi controller; sata
    size_mib: int = DISK_MIB
    filesystem: bool = False        # an ext4 is on it
    filled: bool = False            # no block of it is zero
    driver: str = ""                # further attributes of <driver>
    inside: str = ""                # further elements
    device: str = "disk"            # or lun, cdrom

    def file(self, number: int) -> str:
        """The name of the image."""
        return f"disk{number}.{self.kind}"


@dataclasses.dataclass
class Nic:
    """A network card; the first one is on the clients' network."""

    kind: str = "bridge"            # or ethernet: a tap made by make_taps()
    model: str = "virtio"
    inside: str = ""                # further elements


@dataclasses.dataclass
class Plain:
    """A domain; see the top of the file."""

    name: str = "plain"
    machine: str = "pc"
    memory_mib: int = 256
    vcpus: int = 1
    disks: List[Disk] = dataclasses.field(default_factory=lambda: [Disk()])
    nics: List[Nic] = dataclasses.field(default_factory=lambda: [Nic()])
    iothreads: int = 0
    devices: str = ""               # further elements of <devices>
    inside: str = ""                # further elements of <domain>
    append: str = ""                # words for the guest's kernel
    full: bool = False              # the guest with drivers of real hardware
    cpu: str = "<cpu mode='custom'><model>qemu64</model></cpu>"

    @property
    def uuid(self) -> str:
        """The same for the same name."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name))

    # -- files -----------------------------------------------------------

    def install_boot_files(self, host: Host) -> None:
        """Put kernel and initramfs on a host."""
        for name in self._boot_files():
            host.put(os.path.join(vm.GUEST, name), name)

    def install(self, host: Host) -> "Plain":
        """The same, and empty images."""
        self.install_boot_files(host)
        for number, disk in enumerate(self.disks):
            path = self.image(host, number)
            if not os.path.exists(path):
                images.create(QEMU_IMG, [path], disk.kind, disk.size_mib,
                              disk.filesystem)
                if disk.filled:
                    procs.run([QEMU_IO, "-f", disk.kind, "-c",
                               f"write -q -P 1 0 {disk.size_mib}M", path])
        return self

    def disk_names(self) -> List[str]:
        """What libvirt, and in the same way the guest, call the disks."""
        names = []
        for disk in self.disks:
            prefix = NAMES[disk.bus]
            count = sum(name.startswith(prefix) for name in names)
            names.append(prefix + "abcdefgh"[count])
        return names

    def make_taps(self, host: Host) -> None:
        """What interfaces of type ethernet expect to be there."""
        for number, nic in enumerate(self.nics):
            if nic.kind == "ethernet":
                tap = f"colo-tap{number}"
                host.run(["ip", "tuntap", "add", "dev", tap, "mode", "tap",
                          "vnet_hdr"])
                host.run(["ip", "link", "set", tap, "master", f"br{number}",
                          "up"])

    def image(self, host: Host, number: int = 0) -> str:
        """Where those outside find a disk's image."""
        name = self.disks[number].file(number)
        return host.path(os.path.join(IMAGES, name))

    def _boot_files(self) -> List[str]:
        tail = "-full" if self.full else ""
        return [f"vmlinuz{tail}", f"initramfs{tail}.cpio.gz"]

    # -- XML -------------------------------------------------------------

    def xml(self) -> str:
        """The domain as a person would write it."""
        return f"""\
<domain type='qemu'>
  <name>{self.name}</name>
  <uuid>{self.uuid}</uuid>
  <memory unit='MiB'>{self.memory_mib}</memory>
  <vcpu>{self.vcpus}</vcpu>
  {f"<iothreads>{self.iothreads}</iothreads>" if self.iothreads else ""}
  {self._os()}
  <features><acpi/></features>
  {self.cpu}
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>{EMULATOR}</emulator>
{self._disks()}{self._nics()}    <serial type='pty'>
      <log file='/var/log/libvirt/qemu/{self.name}.console' append='on'/>
    </serial>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    {self.devices}
  </devices>
  {self.inside}
</domain>
"""

    def _os(self) -> str:
        kernel, initrd = (os.path.join(IMAGES, name)
                          for name in self._boot_files())
        # SeaBIOS takes half a minute to find that a SATA disk has no system.
        loader = "<loader type='rom'>/usr/share/qemu/qboot.rom</loader>" \
            if any(disk.bus == "sata" for disk in self.disks) else ""
        return (f"<os><type machine='{self.machine}'>hvm</type>{loader}"
                f"<kernel>{kernel}</kernel><initrd>{initrd}</initrd>"
                f"<cmdline>{self._cmdline()}</cmdline></os>")

    def _cmdline(self) -> str:
        append = self.append
        if len(self.nics) > 1:
            append += f" colo.ip1={addresses.GUEST_SECOND_IP}/{addresses.PREFIX}"
        argv = Spec(append=append).linux_argv()
        return argv[argv.index("-append") + 1]

    def _disks(self) -> str:
        text = ""
        for number, (disk, name) in enumerate(zip(self.disks,
                                                  self.disk_names())):
            text += f"""\
    <disk type='file' device='{disk.device}'>
      <driver name='qemu' type='{disk.kind}' {disk.driver}/>
      <source file='{os.path.join(IMAGES, disk.file(number))}'/>
      <target dev='{name}' bus='{disk.bus}'/>{disk.inside}
    </disk>
"""
        if any(disk.bus == "scsi" for disk in self.disks):
            text += "    <controller type='scsi' model='virtio-scsi'/>\n"
        return text

    def _nics(self) -> str:
        text = ""
        for number, nic in enumerate(self.nics):
            source = f"<source bridge='br{number}'/>" \
                if nic.kind == "bridge" else \
                f"<target dev='colo-tap{number}' managed='no'/>"
            mac = addresses.GUEST_SECOND_MAC if number else addresses.GUEST_MAC
            text += f"""\
    <interface type='{nic.kind}'>
      <mac address='{mac}'/>
      {source}<model type='{nic.model}'/>{nic.inside}
    </interface>
"""
        return text


class Domain:
    """A domain on a host, by name."""

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name

    def state(self) -> str:
        """As libvirt words it: running, paused, shut off."""
        return self.host.virsh("domstate", self.name)

    def persistent_xml(self) -> str:
        """What the next start would use; empty for a transient domain."""
        if "yes" not in next(
                line for line in self.host.virsh("dominfo", self.name)
                .splitlines() if line.startswith("Persistent")):
            return ""
        return self.host.virsh("dumpxml", "--inactive", self.name)

    def console(self) -> str:
        """All that the guest wrote to its serial port."""
        path = self.host.path(
            f"/var/log/libvirt/qemu/{self.name}.console")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def qmp(self, command: str, **arguments: Any) -> Any:
        """A command of the domain's QEMU; `_` in names stands for `-`."""
        words = {name.replace("_", "-"): value
                 for name, value in arguments.items()}
        return self.qmp_raw({"execute": command, "arguments": words})

    def qmp_raw(self, request: Dict[str, Any]) -> Any:
        """The same with a request as it stands."""
        answer = json.loads(self.host.virsh(
            "qemu-monitor-command", self.name, json.dumps(request)))
        if "error" in answer:
            raise QMPError(f"{self.name} on {self.host.name}",
                           request["execute"], answer["error"])
        return answer["return"]

    def colo(self) -> Dict[str, Any]:
        """What QEMU says about its protection."""
        return self.qmp("query-colo")

    def wait_colo(self, state: str, timeout_s: float = 30.0) -> None:
        """Wait until `query-colo` tells that state."""
        def reached() -> bool:
            return self.colo()["state"] == state
        procs.wait_until(reached, timeout_s,
                         f"state {state} of {self.name} on {self.host.name}")

    def wait_console(self, text: str, timeout_s: float = 120.0,
                     behind: int = 0) -> None:
        """Wait until the guest has written `text`.

        behind: so much was written before, by the guest of another start.
        """
        procs.wait_until(lambda: text in self.console()[behind:], timeout_s,
                         f"'{text}' on the console of {self.name}")


def start(host: Host, spec: Plain, persistent: bool = False) -> Domain:
    """Start a domain, defined first if it is to stay."""
    path = write_xml(host, spec.name, spec.xml())
    if persistent:
        host.virsh("define", "--validate", path)
        host.virsh("start", spec.name)
    else:
        host.virsh("create", "--validate", path)
    return Domain(host, spec.name)


def boot(hosts: Hosts, spec: Plain, persistent: bool = False) -> Domain:
    """A domain on A whose guest is up; B has the kernel to run it."""
    spec.install_boot_files(hosts.b)
    for host in hosts.both:
        spec.make_taps(host)
    written = len(Domain(hosts.a, spec.name).console())
    domain = start(hosts.a, spec.install(hosts.a), persistent)
    domain.wait_console("colo-guest: ready", behind=written)
    return domain


def objections(text: str) -> str:
    """What libvirt's schema has against a domain; empty: nothing."""
    done = subprocess.run(["virt-xml-validate", "-", "domain"], input=text,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return done.stdout if done.returncode else ""


def write_xml(host: Host, name: str, text: str) -> str:
    """Put a domain's XML into a file for virsh; its path."""
    path = os.path.join(host.directory, f"{name}.xml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path
