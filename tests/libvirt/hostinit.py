# SPDX-License-Identifier: GPL-2.0-or-later
"""Process 1 of a host: gives it directories of its own, then reaps.

    hostinit.py NAME DIRECTORY BUILD

Started by hosts.py in fresh namespaces of mounts, network, processes and names.  What
libvirt keeps in the system is replaced by what lies in DIRECTORY, so that its
daemon sees a freshly installed machine and the machine that it runs on is not
touched.  BUILD, with the emulator in it, appears as /opt/colo, where a user
without rights finds it too, wherever the checkout lies.

The namespace of processes ends with this one, and takes all of them along.
Libvirt asks for a domain's process until it is reaped, so that has to be
prompt.
"""

import os
import signal
import socket
import subprocess
import sys
from typing import List

# What replaces what: the directory below DIRECTORY, and where it appears.
PLACES = (("etc/libvirt", "/etc/libvirt"), ("etc/passwd", "/etc/passwd"),
          ("etc/group", "/etc/group"), ("etc/hosts", "/etc/hosts"),
          ("var", "/var"), ("run", "/run"), ("opt", "/opt"))

# Of the device nodes a host needs few.  It has no KVM, which libvirt would
# spend seconds on to find out that it is of no use to an emulated domain, and
# no vhost-net, which libvirt would use for every virtio NIC.
NODES = ("null", "zero", "full", "random", "urandom", "tty", "net/tun")

USER = "libvirt-qemu"
UID = 64055             # as the distribution's package has it
GROUPS = (("kvm", 64056), ("libvirt", 64057))


def mount(*words: str) -> None:
    """mount(8), which says what went wrong."""
    subprocess.run(["mount", *words], check=True)


def with_accounts(directory: str) -> None:
    """passwd and group, plus what libvirt's QEMU driver insists on.

    The package with the daemon's start-up scripts makes these accounts; it
    is not needed here, and a test has no business to make accounts.
    """
    passwd = _read("/etc/passwd")
    group = _read("/etc/group")
    names = [name for name, _ in GROUPS] + [USER]
    for name, gid in (*GROUPS, (USER, UID)):
        if f"\n{name}:" not in group:
            group += f"{name}:x:{gid}:\n"
    gid_text = next(line.split(":")[2] for line in group.splitlines()
                    if line.startswith(f"{names[0]}:"))
    # Of the ssh server, where a test runs one.
    if "\nsshd:" not in passwd:
        passwd += "sshd:x:64059:65534::/run/sshd:/bin/false\n"
    if f"\n{USER}:" not in passwd:
        passwd += f"{USER}:x:{UID}:{gid_text}::/var/lib/libvirt:/bin/false\n"
    _write(os.path.join(directory, "etc/passwd"), passwd)
    _write(os.path.join(directory, "etc/group"), group)


def make_devices(directory: str) -> None:
    """A small /dev made of the real one's nodes."""
    place = os.path.join(directory, "dev")
    mount("-t", "tmpfs", "-o", "mode=755", "dev", place)
    for node in NODES:
        path = os.path.join(place, node)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        _write(path, "")
        mount("--bind", os.path.join("/dev", node), path)
    for name in ("shm", "pts", "mqueue"):
        os.mkdir(os.path.join(place, name))
    mount("-t", "tmpfs", "shm", os.path.join(place, "shm"))
    mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=620",
          "devpts", os.path.join(place, "pts"))
    os.symlink("pts/ptmx", os.path.join(place, "ptmx"))
    os.symlink("/proc/self/fd", os.path.join(place, "fd"))
    mount("--rbind", place, "/dev")


def quiet_network() -> None:
    """No IPv6 of the host's own, whose solicitations guests would see."""
    for scope in ("all", "default"):
        path = f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"
        if os.path.exists(path):
            _write(path, "1")


def furnish(directory: str, build: str) -> None:
    """Put the host's own things in their places."""
    with_accounts(directory)
    for path in ("opt/colo", "var/tmp", "var/lib/libvirt/images",
                 "var/cache/libvirt", "var/log/libvirt/qemu", "run/libvirt",
                 "etc/libvirt", "dev"):
        os.makedirs(os.path.join(directory, path), exist_ok=True)
    os.chmod(os.path.join(directory, "var/tmp"), 0o1777)
    os.symlink("/run", os.path.join(directory, "var/run"))
    mount("--bind", build, os.path.join(directory, "opt/colo"))
    make_devices(directory)
    # The network of /sys is the one of the process that mounted it.
    mount("-t", "sysfs", "sysfs", "/sys")
    for source, target in PLACES:
        mount("--rbind", os.path.join(directory, source), target)


def reap_for_ever() -> None:
    """Wait for orphans, of which a host has many, as they end."""
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


def main(argv: List[str]) -> None:
    """Entry point; the line "ready" on stdout says that all is in place."""
    name, directory, build = argv
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    socket.sethostname(name)
    quiet_network()
    furnish(directory, build)
    print("ready", flush=True)
    reap_for_ever()


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return "\n" + file.read().strip("\n") + "\n"


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.lstrip("\n"))


if __name__ == "__main__":
    main(sys.argv[1:])
