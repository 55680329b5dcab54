# SPDX-License-Identifier: GPL-2.0-or-later
"""Every machine and device that a COLO user is likely to have.

A checkpoint loads device state over devices that run.  Each case boots Linux
with the device in use where the guest has a driver, takes checkpoints under
load, kills the primary, and checks the client's data on the survivor.
"""

import dataclasses
from typing import List

from colo import disk, vm
from colo.case import Context, Skip, add, case, check
from colo.ending import kill_and_verify
from colo.qmp import QMPError
from colo.vm import Spec

CHECKPOINTS_COUNT = 10
DELAY_MS = 200


@dataclasses.dataclass
class Row:
    """One line of the matrix."""

    name: str
    machine: str = "pc"
    smp: int = 1
    nic: str = "virtio-net-pci"
    devices: List[str] = dataclasses.field(default_factory=list)
    disk: str = ""              # -device argument of a replicated disk
    full: bool = False          # the kernel with drivers of real hardware
    reference: bool = True      # known to work with the QEMU replaced
    slow: bool = False


MATRIX = [
    Row("machine_pc_smp2", smp=2),
    Row("machine_pc_smp4", smp=4, slow=True),
    Row("machine_q35", machine="q35", reference=False),
    Row("machine_q35_smp2", machine="q35", smp=2, reference=False),
    Row("machine_q35_smp4", machine="q35", smp=4, reference=False,
        slow=True),
    Row("machine_microvm", machine="microvm"),
    Row("machine_microvm_smp2", machine="microvm", smp=2, slow=True),
    Row("nic_e1000", nic="e1000", full=True),
    Row("nic_e1000e", machine="q35", nic="e1000e", full=True,
        reference=False),
    Row("nic_rtl8139", nic="rtl8139", full=True),
    Row("disk_virtio_blk", disk="virtio-blk-pci"),
    Row("disk_virtio_blk_q35", machine="q35", disk="virtio-blk-pci",
        reference=False),
    Row("disk_virtio_scsi", devices=["virtio-scsi-pci,id=scsi0"],
        disk="scsi-hd,bus=scsi0.0"),
    Row("disk_ide", disk="ide-hd,bus=ide.0"),
    Row("disk_ahci", machine="q35", disk="ide-hd,bus=ide.0", full=True,
        reference=False),
    Row("device_rng", devices=["virtio-rng-pci"]),
    Row("device_balloon", devices=["virtio-balloon-pci"]),
    Row("device_serial", devices=["virtio-serial-pci"]),
    Row("device_vga", devices=["VGA"]),
    Row("device_vga_q35", machine="q35", devices=["VGA"], reference=False,
        slow=True),
    Row("device_usb_tablet", devices=["piix3-usb-uhci,id=usb",
                                      "usb-tablet,bus=usb.0"], full=True),
    Row("device_usb_tablet_xhci", machine="q35", full=True, reference=False,
        devices=["qemu-xhci,id=usb", "usb-tablet,bus=usb.0"]),
]


def run_row(context: Context, row: Row) -> None:
    """One line of the matrix."""
    for device in [row.nic, row.disk, *row.devices]:
        if device and row.machine != "microvm":
            context.require_device(device.split(",")[0])
    if row.full and vm.guest_missing(full=True):
        raise Skip(vm.guest_missing(full=True))
    spec = Spec(machine=row.machine, smp=row.smp, nic=row.nic,
                devices=row.devices, full=row.full)
    pair = context.protected_pair(
        spec=spec, delay_ms=DELAY_MS,
        disk="replicated" if row.disk else "none",
        disk_device=row.disk or disk.DEFAULT_DEVICE)
    client = context.client("kv,echo,durable" if row.disk else "kv,echo")
    client.control("DIRTY 10 8")
    client.wait_progress(50)
    context.step(f"{CHECKPOINTS_COUNT} checkpoints")
    pair.wait_checkpoints(CHECKPOINTS_COUNT)
    kill_and_verify(context, pair, client)


def _register() -> None:
    for row in MATRIX:
        def body(context: Context, row: Row = row) -> None:
            run_row(context, row)
        what = row.disk or row.nic
        body.__doc__ = " ".join([f"{row.machine}, {row.smp} CPU:", what]
                                + row.devices)
        add(row.name, body, timeout_s=200, reference=row.reference,
            slow=row.slow)


_register()


@case(timeout_s=60)
def disk_nvme_is_refused(context: Context) -> None:
    """The base marks nvme as not migratable: refused before anything moves."""
    context.require_device("nvme")
    pair = context.booted_pair(disk="replicated",
                               disk_device="nvme,serial=colo0")
    client = context.client("kv,durable")
    try:
        pair.begin()
    except QMPError as error:
        check("nvme" in error.desc, f"refused for another reason: {error}")
    else:
        raise AssertionError("nvme can be migrated now: put it in the matrix")
    pair.secondary().kill()
    pair.disk.primary_failover(pair.p.qmp)
    pair.proxy.primary_failover(pair.p.qmp)
    client.wait_progress(50)
    client.verify()
