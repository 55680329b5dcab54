# SPDX-License-Identifier: GPL-2.0-or-later
"""The client that checks: is the guest still the same guest?

Runs as a process of its own in the client's namespace.  Each workload checks
every answer:

    kv        `SET key value` -> `OK revision`.  Acknowledged writes are kept
              in a journal; revisions must rise; at the end all is read back.
    durable   the same with `SETD`: acknowledged once on the disk.
    echo      a numbered line comes back as it was sent.
    source    endless bulk from the guest, content known by position.
    sink      bulk to the guest, which checks it and confirms each piece.
    fixed     exactly 96 MB from the guest; `fixedup`: to the guest.
    http      a new connection for each page; `https`: and a TLS handshake.
    web       all pages on one connection; `tls`: with TLS.
    udp       numbered requests, answers that depend on all before.
    bigudp    datagrams of 4000 bytes, which need fragments.
    dns       questions from ever new ports.
    ping      ICMP echo.
    records   numbered records in files of a disk, see workloads_volume.
    database  transactions of an SQLite database; `databasewal`: with a WAL;
              `databasealone`: one at a time.
    blocks    durable writes of 4 KiB on a bare disk; `bigblocks`: of 1 MiB.
    neighbour ARP or neighbour discovery, then ICMP echo.

A name goes to the guest's IPv4 address; with `6` behind it to its IPv6
address, with `.vlan` to those within the VLAN: `kv6`, `kv.vlan`, `kv6.vlan`;
with `.second` to that of the second network card.

A connection that breaks is an error, whatever the reason.  The longest time
in which no answer came is the *gap*.  Commands come as lines on stdin
(`mark`, `report`, `verify`, `stop`, `control LINE` for the guest's control
port, `volume LINE` for its volume service), each answered by one line of JSON
on stdout.
"""

import argparse
import json
import socket
import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from . import (addresses, workloads_datagram, workloads_stream,
               workloads_volume, workloads_web)
from .workload import ANSWER_LIMIT_S, Workload

PORT_ECHO = 7000
PORT_CONTROL = 7002

KINDS = {kind.kind: kind for kind in (
    *workloads_stream.KINDS, *workloads_datagram.KINDS, *workloads_web.KINDS,
    *workloads_volume.KINDS)}


def resolve(label: str) -> Tuple[str, str]:
    """The kind of a workload and the address that it talks to."""
    words = label.partition(":")[0]
    for suffix, address in sorted(addresses.GUEST_OF_SUFFIX.items(),
                                  key=lambda item: -len(item[0])):
        kind = words[:len(words) - len(suffix)]
        if words.endswith(suffix) and kind in KINDS:
            return kind, address
    raise SystemExit(f"no workload is called {label}")


def make(labels: List[str], pause_s: float) -> List[Workload]:
    """The workloads, connected, not started."""
    works: List[Workload] = []
    for label in labels:
        kind, address = resolve(label)
        works.append(KINDS[kind](label, address, pause_s))
    return works


def wait_guest(address: str, limit_s: float) -> Optional[str]:
    """Wait until the guest's services answer; the reason if they do not."""
    limit = time.monotonic() + limit_s
    while True:
        try:
            socket.create_connection((address, PORT_ECHO), 1.0).close()
            return None
        except OSError as error:
            if time.monotonic() > limit:
                return f"guest at {address} does not answer: {error}"
        time.sleep(0.1)


def control(line: str) -> Dict[str, str]:
    """One command for the guest's control port; its answer."""
    try:
        with socket.create_connection((addresses.GUEST_IP, PORT_CONTROL),
                                      ANSWER_LIMIT_S) as sock:
            sock.sendall(line.encode() + b"\n")
            answer = sock.makefile("rb").readline().decode().strip()
            return {"answer": answer}
    except OSError as error:
        return {"answer": f"ERR {error}"}


def volume(line: str) -> Dict[str, str]:
    """One command for the guest's volume service; its answer."""
    try:
        return {"answer": workloads_volume.command(addresses.GUEST_IP, line)}
    except OSError as error:
        return {"answer": f"ERR {error}"}


def serve(works: List[Workload]) -> None:
    """Obey the commands on stdin until `stop` or its end."""
    for line in sys.stdin:
        command = line.strip()
        answer: Dict[str, Any] = {}
        verb, _, rest = command.partition(" ")
        if verb in ("control", "volume"):
            ask = control if verb == "control" else volume
            print(json.dumps(ask(rest)), flush=True)
            continue
        if command == "mark":
            for work in works:
                work.mark()
        elif command in ("verify", "stop"):
            for work in works:
                work.stopping.set()
            for work in works:
                work.halt()
        for work in works:
            answer[work.name] = work.report()
            if command == "verify":
                answer[work.name]["verdict"] = work.verify()
        print(json.dumps(answer), flush=True)
        if command == "stop":
            return


def main() -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", default="kv,echo")
    parser.add_argument("--pause-ms", type=float, default=1.0)
    parser.add_argument("--wait-s", type=float, default=60.0)
    options = parser.parse_args()
    labels = [label for label in options.work.split(",") if label]
    targets = {resolve(label)[1] for label in labels} or {addresses.GUEST_IP}
    problem: Optional[str] = None
    works: List[Workload] = []
    try:
        for address in sorted(targets):
            problem = problem or wait_guest(address, options.wait_s)
        if not problem:
            works = make(labels, options.pause_ms / 1000)
    except OSError as error:
        problem = str(error)
    print(json.dumps({"problem": problem or ""}), flush=True)
    if problem:
        return 1
    for work in works:
        work.start()
    serve(works)
    return 0


if __name__ == "__main__":
    sys.exit(main())
