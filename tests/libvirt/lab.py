#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Both hosts to play with, until Ctrl-C or until a command ends.

    tests/libvirt/lab.py                        # two empty hosts
    tests/libvirt/lab.py --domain               # and a domain on A, booted
    tests/libvirt/lab.py --domain --client      # and a client at work
    tests/libvirt/lab.py --domain sh -c 'virsh -c "$A" dominfo plain'

The command runs outside of the hosts, with the URIs of both daemons in $A and
$B, their addresses on the private link in $A_ADDRESS and $B_ADDRESS, and in
$ON_A and $ON_B what to put before a command that is to run on a host:
`$ON_A virsh list`.  The exit status is the command's, or 1 if the client saw
something wrong.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from typing import Dict, List, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "functional"))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from colo import private, procs, traffic, vm  # noqa: E402
from colo.case import Context, Skip  # noqa: E402
from domains import Disk, Nic, Plain, boot  # noqa: E402
from hosts import Hosts  # noqa: E402

LOGS = os.path.join(vm.TOP, "build", "results", "libvirt", "lab")


def environment(hosts: Hosts) -> Dict[str, str]:
    """What a command needs to know about the hosts."""
    words = {}
    for name, host in (("A", hosts.a), ("B", hosts.b)):
        words[name] = host.uri
        words[f"{name}_ADDRESS"] = host.address
        words[f"ON_{name}"] = shlex.join(host.enter_argv([]))
    return words


def serve(context: Context, options: argparse.Namespace) -> int:
    """Start what was asked for and wait; the exit status."""
    hosts = Hosts(context, options.nics).start()
    client: Optional[traffic.Client] = None
    if options.domain:
        spec = Plain(machine=options.machine, disks=[
            Disk(kind) for kind in options.disks.split(",") if kind],
            nics=[Nic() for _ in range(options.nics)])
        boot(hosts, spec, persistent=True)
    if options.client:
        client = context.client(
            "kv,echo" if options.nics == 1 else "kv,echo,kv.second")
    words = environment(hosts)
    if options.command:
        status = subprocess.call(options.command, env={**os.environ, **words},
                                 preexec_fn=procs.die_with_parent)
    else:
        for name, value in words.items():
            print(f"{name}={shlex.quote(value)}")
        print("Ctrl-C ends both hosts.", flush=True)
        signal.pause()
        status = 0
    if client is not None:
        for name, figures in client.verify().items():
            print(f"client, {name}: {figures}", flush=True)
    return status


def parse(argv: List[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--domain", action="store_true",
                        help="start the domain `plain` on A and let it boot")
    parser.add_argument("--client", action="store_true",
                        help="a client that checks every answer of it")
    parser.add_argument("--machine", default="pc", help="pc or q35")
    parser.add_argument("--disks", default="raw",
                        help="formats, for example raw,qcow2")
    parser.add_argument("--nics", type=int, default=1)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(argv)


def main() -> int:
    """Entry point, both outside and inside of the private network."""
    options = parse(sys.argv[1:])
    if private.inside() is None:
        try:
            return private.call(os.path.abspath(__file__), sys.argv[1:])
        except KeyboardInterrupt:
            return 130
    run_dir = private.enter()
    os.makedirs(LOGS, exist_ok=True)
    context = Context(vm.BINARY, run_dir, LOGS)
    try:
        return serve(context, options)
    except (Skip, traffic.ClientError) as problem:
        print(f"lab: {problem}", file=sys.stderr)
        return 1
    finally:
        context.close()


if __name__ == "__main__":
    sys.exit(main())
