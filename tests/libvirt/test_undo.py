# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that do not come to their end leave nothing half-done behind."""

import os
import signal
import subprocess
from typing import Callable, Tuple

from colo import procs
from colo.case import Context, add, case, check, check_equal
from colo.traffic import Client
from domains import Disk, Domain, Plain, boot
from hosts import IMAGES, Hosts
from program import DONE, FAILED, HALF_DONE, INTERRUPTED, Program
from scenario import (EXCHANGES, INTERVAL_MS, check_unchanged, everything,
                      program, went_on)

# Copying takes long enough to be interrupted: 64 MiB and more at this rate.
SLOW = ("--speed", "16M", "--interval", INTERVAL_MS)


def prepared(context: Context) -> Tuple[Hosts, Program, Domain, Client]:
    """A domain with a full disk and a busy memory, and its client."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    domain = boot(hosts, Plain(disks=[Disk(filled=True)]), persistent=True)
    hosts.a.virsh("autostart", "plain")
    client = context.client("kv,echo")
    client.wait_progress(EXCHANGES)
    return hosts, colo, domain, client


def nothing_left(hosts: Hosts) -> None:
    """No domain, no image and no leftover process on B."""
    check_equal(hosts.b.domains(), [], "domains on B")
    files = sorted(os.listdir(hosts.b.path(IMAGES)))
    check_equal(files, ["initramfs.cpio.gz", "vmlinuz"], "files on B")


def wait_disk_copy(domain: Domain) -> None:
    """Until the copy of the disk is well under way."""
    def under_way() -> bool:
        jobs = domain.qmp("query-block-jobs")
        return any(0 < job["offset"] for job in jobs)
    procs.wait_until(under_way, 60.0, "a disk being copied")


def wait_memory_copy(domain: Domain) -> None:
    """Until the copy of the memory is under way."""
    def under_way() -> bool:
        return domain.qmp("query-migrate").get("status") == "active"
    procs.wait_until(under_way, 120.0, "the memory being copied")


def start_protect(hosts: Hosts, colo: Program) -> "subprocess.Popen[str]":
    """`colo protect` in the background, slow enough to be disturbed."""
    return colo.start("protect", "plain", *colo.between(hosts.a, hosts.b),
                      *SLOW)


def stopped_at(name: str, words: str,
               wait: Callable[[Domain], None]) -> None:
    """Ctrl-C at that stage."""
    def body(context: Context) -> None:
        hosts, colo, domain, client = prepared(context)
        before = everything(domain)
        process = start_protect(hosts, colo)
        wait(domain)
        context.step("Ctrl-C")
        colo.finish(process, INTERRUPTED, signal.SIGINT)
        check_unchanged(before, domain)
        nothing_left(hosts)
        went_on(context, client)
        check_equal(colo.status("plain", hosts.a)["word"],
                    "Never protected", "status")
        client.verify()
    body.__doc__ = words
    add(name, body, timeout_s=300, reference=False)


stopped_at("undo_disk", "Ctrl-C while a disk is copied: all as before",
           wait_disk_copy)
stopped_at("undo_memory", "Ctrl-C while the memory is copied: all as before",
           wait_memory_copy)


@case(timeout_s=300, reference=False)
def undo_repair(context: Context) -> None:
    """kill -9 of the program: `colo repair` puts everything back."""
    hosts, colo, domain, client = prepared(context)
    before = everything(domain)
    process = start_protect(hosts, colo)
    wait_disk_copy(domain)
    colo.finish(process, -signal.SIGKILL, signal.SIGKILL)
    went_on(context, client)
    colo.call("repair", "plain", "-c", hosts.a.uri)
    check_unchanged(before, domain)
    nothing_left(hosts)
    context.step("a second repair finds nothing to do")
    colo.call("repair", "plain", "-c", hosts.a.uri)
    check_unchanged(before, domain)
    context.step("now protect it")
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    colo.wait_checkpoints("plain", hosts.a, 3)
    colo.call("unprotect", "plain", "-c", hosts.a.uri)
    context.step("unprotect leaves nothing either")
    check_unchanged(before, domain)
    check_equal(hosts.b.domains(), [], "domains on B")
    client.verify()


@case(timeout_s=300, reference=False)
def undo_lost_host(context: Context) -> None:
    """The other host dies while a disk is copied: undone on this one."""
    hosts, colo, domain, client = prepared(context)
    before = everything(domain)
    process = start_protect(hosts, colo)
    wait_disk_copy(domain)
    context.step("the other host dies")
    hosts.b.stop()
    colo.finish(process, None)
    check(process.returncode in (FAILED, HALF_DONE),
          f"exit status {process.returncode}")
    check_unchanged(before, domain)
    went_on(context, client)
    client.verify()


@case(timeout_s=300, reference=False)
def undo_lost_peer(context: Context) -> None:
    """The secondary's QEMU dies while memory is copied: undone."""
    hosts, colo, domain, client = prepared(context)
    before = everything(domain)
    process = start_protect(hosts, colo)
    wait_memory_copy(domain)
    hosts.b.kill_domain("plain")
    colo.finish(process, FAILED)
    check_unchanged(before, domain)
    nothing_left(hosts)
    went_on(context, client)
    context.step("nothing keeps it from being protected now")
    check_equal(colo.protect("plain", hosts.a, hosts.b).code, DONE, "status")
    client.verify()
