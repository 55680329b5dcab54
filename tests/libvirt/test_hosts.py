# SPDX-License-Identifier: GPL-2.0-or-later
"""The two hosts themselves: an ordinary domain without any protection."""

from colo.case import Context, case, check_equal
from domains import Plain, boot
from hosts import Hosts


@case(timeout_s=240, reference=False)
def plain_domain(context: Context) -> None:
    """A domain runs on one host, serves a client, and is ended."""
    hosts = Hosts(context).start()
    context.step("start the domain")
    domain = boot(hosts, Plain())
    check_equal(hosts.a.domains(), ["plain"], "domains on A")
    check_equal(hosts.b.domains(), [], "domains on B")
    client = context.client("kv,durable,echo")
    client.wait_progress(50)
    client.verify()
    context.step("look from one host at the other")
    seen = hosts.b.run(["virsh", "--quiet", "--connect", hosts.a.tcp_uri,
                        "list", "--name"])
    check_equal(seen.strip(), "plain", "domains on A, seen from B")
    context.step("restart the daemon, destroy the domain")
    hosts.a.restart_daemon()
    check_equal(domain.state(), "running", "state behind a restart")
    hosts.a.virsh("destroy", "plain")
    check_equal(hosts.a.domains(), [], "domains on A at the end")
