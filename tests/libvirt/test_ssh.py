# SPDX-License-Identifier: GPL-2.0-or-later
"""The program `colo` over ssh, as most people connect to the other host.

Each host runs an ssh server of its own.
"""

import os
import stat

import openssh
from colo import procs
from colo.case import Context, case
from hosts import Host, Hosts
from scenario import both_ways

CONFIG = """\
Port 22
HostKey {key}
AuthorizedKeysFile {key}.pub
PidFile none
PermitRootLogin yes
StrictModes no
UsePAM no
"""


def start_servers(context: Context, hosts: Hosts) -> str:
    """One on each host; the ssh client that may log in there."""
    server = openssh.command()
    key = os.path.join(context.run_dir, "key")
    config = os.path.join(context.run_dir, "sshd_config")
    client = os.path.join(context.run_dir, "ssh")
    procs.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    with open(config, "w", encoding="ascii") as file:
        file.write(CONFIG.format(key=key))
    with open(client, "w", encoding="ascii") as file:
        file.write(f'#!/bin/sh\nexec ssh -F none -i {key} -o UserKnownHosts'
                   'File=/dev/null -o StrictHostKeyChecking=no -o '
                   'LogLevel=ERROR "$@"\n')
    os.chmod(client, stat.S_IRWXU)
    for host in hosts.both:
        host.run(["mkdir", "-m", "755", "/run/sshd"])
        log = os.path.join(context.log_dir, f"sshd-{host.name}.log")
        with open(log, "ab") as output:
            server_process = host.spawn(
                [*server, "-D", "-e", "-f", config], stdout=output,
                stderr=output)
        context.at_end(lambda process=server_process: procs.reap(process))
    return client


def uri_of(host: Host, client: str) -> str:
    """By which the other host reaches this one's libvirt."""
    return f"qemu+ssh://{host.address}/system?command={client}"


@case(timeout_s=240, reference=False)
def ssh_both_ways(context: Context) -> None:
    """Protect over ssh; the way back is found by itself."""
    hosts = Hosts(context).start()
    client = start_servers(context, hosts)
    both_ways(context, hosts, uri_of(hosts.b, client))
