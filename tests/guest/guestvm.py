# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots one test guest under QEMU with user networking.

Needs neither root nor a network namespace: each service of the guest is
forwarded to a free port of 127.0.0.1.
"""
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import guestclient
import tsc

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build"
FIRMWARE_DIRS = ("/usr/share/qemu", "/usr/share/seabios")
BOOT_LIMIT_S = 120
EXIT_LIMIT_S = 20
DISK_BYTES = 64 << 20

# Devices that hang on a controller which the machine does not have by itself.
CONTROLLERS = {"scsi-hd": ["virtio-scsi-pci"], "nvme": []}


def add_arguments(parser):
    parser.add_argument("--qemu", help="boot a guest with this binary")
    parser.add_argument("--machine", default="pc")
    parser.add_argument("--accel", default="tcg")
    parser.add_argument("--smp", type=int, default=1)
    parser.add_argument("--memory-mib", type=int, default=256)
    parser.add_argument("--nic", help="device model (default: virtio)")
    parser.add_argument("--disk", default="virtio",
                        help="device model, or 'none' (default: virtio)")
    parser.add_argument("--full", action="store_true",
                        help="the guest of build.sh --full")
    parser.add_argument("--guest-dir", default=str(BUILD / "guest"))
    parser.add_argument("--keep-log", help="copy of the serial console")
    parser.add_argument("extra", nargs="*", metavar="-- QEMU ARGUMENTS")


def free_ports(kind, count):
    """Port numbers that were free a moment ago."""
    socks = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def kernel_parameters(accel="tcg"):
    """The recommended kernel command line on this host, without addresses."""
    text = (HERE / "cmdline").read_text().strip()
    khz = tsc.frequency_khz() if accel.startswith("tcg") else None
    return f"{text} tsc_early_khz={khz}" if khz else text


def volume_options(arguments, directory):
    """A second disk with a file system, for the full guest's volumes."""
    mke2fs = shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin")
    if not arguments.full or arguments.disk != "virtio" or not mke2fs:
        return []
    path = directory / "volume.raw"
    with open(path, "wb") as disk:
        disk.truncate(DISK_BYTES)
    subprocess.run([mke2fs, "-q", "-F", "-t", "ext4", path], check=True)
    bus = "device" if arguments.machine.startswith("microvm") else "pci"
    return ["-drive", f"if=none,id=disk1,format=raw,file={path}",
            "-device", f"virtio-blk-{bus},drive=disk1"]


def command_line(arguments, ports, disk_path, log_path):
    """The QEMU command line for the parsed arguments of add_arguments()."""
    bus = "device" if arguments.machine.startswith("microvm") else "pci"
    suffix = "-full" if arguments.full else ""
    nic = arguments.nic or f"virtio-net-{bus}"
    disk = arguments.disk
    if disk == "virtio":
        disk = f"virtio-blk-{bus}"
    forwards = "".join(
        f",hostfwd={'udp' if name in guestclient.DATAGRAM_SERVICES else 'tcp'}"
        f":127.0.0.1:{port}-:{guestclient.PORTS[name]}"
        for name, port in ports.items())
    append = (kernel_parameters(arguments.accel) +
              " colo.ip=10.0.2.15/24 colo.gw=10.0.2.2" +
              (" colo.volumes=1" if arguments.full else ""))
    command = [arguments.qemu]
    for directory in FIRMWARE_DIRS:
        command += ["-L", directory]
    command += [
        "-nodefaults", "-display", "none", "-machine", arguments.machine,
        "-accel", arguments.accel, "-m", str(arguments.memory_mib),
        "-smp", str(arguments.smp), "-serial", f"file:{log_path}",
        "-kernel", f"{arguments.guest_dir}/vmlinuz{suffix}",
        "-initrd", f"{arguments.guest_dir}/initramfs{suffix}.cpio.gz",
        "-append", append, "-netdev", f"user,id=net0{forwards}", "-device",
        nic + ",netdev=net0" + ("" if bus == "device" else ",romfile="),
    ]
    if arguments.machine.startswith("q35") and disk.startswith("ide-"):
        # SeaBIOS 1.16.2 waits 32 s for its first AHCI command on QEMU 10.
        command += ["-bios", "qboot.rom"]
    if disk != "none":
        for controller in CONTROLLERS.get(disk.split(",")[0], ()):
            command += ["-device", controller]
        command += ["-drive", f"if=none,id=disk0,format=raw,file={disk_path}",
                    "-device", f"{disk},drive=disk0" +
                    (",serial=colo" if disk.startswith("nvme") else "")]
    return command + arguments.extra


class Machine:
    """A QEMU process; leaves nothing behind when its context ends."""

    def __init__(self, arguments):
        self.directory = tempfile.TemporaryDirectory(prefix="colo-guest-")
        base = pathlib.Path(self.directory.name)
        self.log_path = pathlib.Path(arguments.keep_log or base / "console")
        self.log_path.unlink(missing_ok=True)
        disk_path = base / "disk.raw"
        with open(disk_path, "wb") as disk:
            disk.truncate(DISK_BYTES)
        datagrams = guestclient.DATAGRAM_SERVICES
        streams = [n for n in guestclient.PORTS if n not in datagrams]
        ports = {**dict(zip(streams, free_ports(socket.SOCK_STREAM,
                                                len(streams)))),
                 **dict(zip(datagrams, free_ports(socket.SOCK_DGRAM,
                                                  len(datagrams))))}
        self.guest = guestclient.Guest("127.0.0.1", ports)
        self.start = time.monotonic()
        self.process = subprocess.Popen(
            command_line(arguments, ports, disk_path, self.log_path) +
            volume_options(arguments, base),
            stdin=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.directory.cleanup()

    def console(self):
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text(errors="replace")

    def wait_ready(self):
        """Seconds from the start of QEMU until all services are open."""
        while "colo-guest: ready" not in self.console():
            status = self.process.poll()
            if status is not None:
                raise SystemExit(f"QEMU ended with status {status}; its "
                                 "message is above this line")
            if time.monotonic() - self.start > BOOT_LIMIT_S:
                raise SystemExit(f"no guest within {BOOT_LIMIT_S} s; its "
                                 f"console:\n{self.console()[-3000:]}")
            time.sleep(0.05)
        return time.monotonic() - self.start

    def wait_exit(self):
        try:
            self.process.wait(EXIT_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"QEMU still runs {EXIT_LIMIT_S} s after "
                                 "the power off") from None
