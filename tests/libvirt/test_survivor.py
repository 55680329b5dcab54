# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain that lived through a failover is like any other."""

import contextlib
import signal
import subprocess

from colo.case import Context, case, check, check_equal
from domains import Disk, Domain, Plain, boot
from hosts import IMAGES, Hosts
from scenario import EXCHANGES, INTERVAL_MS, fail_over, program, went_on

COPY = f"{IMAGES}/copy.qcow2"
ACTIONS = (
    "suspend plain",
    "resume plain",
    "snapshot-create-as plain one --disk-only --no-metadata",
    "blockcommit plain vda --active --pivot --wait",
    f"blockcopy plain vda {COPY} --transient-job --wait --pivot",
    f"save plain {IMAGES}/saved",
    f"restore {IMAGES}/saved",
)


@case(timeout_s=300, reference=False)
def survivor_is_ordinary(context: Context) -> None:
    """Snapshot, commit, copy, save, restore, migrate: all as ever."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    boot(hosts, Plain(disks=[Disk("qcow2")]), persistent=True)
    client = context.client("kv,durable")
    client.wait_progress(EXCHANGES)
    colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
    fail_over(context, colo, hosts.a, hosts.b)
    for line in ACTIONS:
        context.step(f"virsh {line}")
        hosts.b.virsh(*line.split())
    went_on(context, client)
    context.step("protect it again, with its new disk")
    colo.protect("plain", hosts.b, hosts.a, "--interval", INTERVAL_MS)
    fail_over(context, colo, hosts.b, hosts.a)
    went_on(context, client)
    context.step("virsh migrate")
    hosts.a.virsh("migrate", "--live", "--p2p", "--copy-storage-all",
                  "plain", hosts.b.tcp_uri)
    check_equal(Domain(hosts.b, "plain").state(), "running", "the guest on B")
    went_on(context, client)
    client.verify()


@case(timeout_s=300, reference=False)
def survivor_resumes_command(context: Context) -> None:
    """A failover or unprotect that was killed is done by another one."""
    hosts = Hosts(context).start()
    colo = program(context, hosts)
    domain = boot(hosts, Plain(), persistent=True)
    client = context.client("kv,durable")
    client.wait_progress(EXCHANGES)
    for delay_ms in (40, 80, 120):
        context.step(f"unprotect is killed after {delay_ms} ms")
        colo.protect("plain", hosts.a, hosts.b, "--interval", INTERVAL_MS)
        process = colo.start("unprotect", "plain", "-c", hosts.a.uri)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(delay_ms / 1000)
        colo.finish(process, None, signal.SIGKILL)
        colo.call("unprotect", "plain", "-c", hosts.a.uri, code=None)
        check_equal(colo.status("plain", hosts.a)["word"], "Never protected",
                    "status")
        check_equal(hosts.b.domains(), [], "domains on B")
        check(not [name for name in domain.qmp("query-named-block-nodes")
                   if name["node-name"].startswith("colo-")], "a node is left")
    client.verify()
