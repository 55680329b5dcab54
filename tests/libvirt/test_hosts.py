# SPDX-License-Identifier: GPL-2.0-or-later
"""The two hosts themselves: an ordinary domain without any protection."""

from colo.case import Context, case, check, check_equal
from domains import Plain, start
from hosts import Hosts, VirshError


@case(timeout_s=60, reference=False)
def plain_domain(context: Context) -> None:
    """A domain runs on one host, serves a client, and is ended."""
    hosts = Hosts(context).start()
    spec = Plain().install(hosts.a)
    context.step("start the domain")
    domain = start(hosts.a, spec)
    check_equal(hosts.a.virsh("list", "--name"), "plain", "domains on A")
    check_equal(hosts.b.virsh("list", "--all", "--name"), "",
                "domains on B")
    context.step("wait for its guest")
    domain.wait_console("colo-guest: ready")
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
    try:
        domain.state()
        check(False, "a destroyed domain is still there")
    except VirshError as error:
        check("failed to get domain" in str(error), str(error))
