#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`make demo`: watch a guest survive the death of its primary.

Everything happens on this machine, in a network of its own which ends with
the demo; without root, inside a user namespace.  Ctrl-C ends it at any time
and leaves nothing behind.
"""

import argparse
import os
import sys
import time
from typing import List

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from colo import netns, private, status, traffic, vm  # noqa: E402
from colo.case import Context  # noqa: E402
from colo.disk_symmetric import SymmetricDisk  # noqa: E402
from colo.pair import DiskOptions, Pair  # noqa: E402

RESULTS = os.path.join(vm.TOP, "build", "results", "demo")
CHECKPOINTS_COUNT = 10
DELAY_MS = 300
DISK_MIB = 256
# The log of the guest's store: see tests/guest/src/kvlog.c.
LOG_BYTES = DISK_MIB << 19
SECTOR_BYTES = 512
RECORD_MAGIC = b"COLR"


class Voice:
    """Prints what happens, in colour where somebody watches."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._start_s = time.monotonic()

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colours else text

    def say(self, text: str) -> None:
        """A thing that happens."""
        stamp = f"{time.monotonic() - self._start_s:6.1f} s"
        print(f"{self._paint('2', stamp)}  {text}", flush=True)

    def detail(self, text: str) -> None:
        """More about it."""
        print(f"{'':10}{self._paint('2', text)}", flush=True)

    def good(self, text: str) -> None:
        """A thing that must be so, and is."""
        print(f"{'':10}{self._paint('32', 'ok')}  {text}", flush=True)

    def alarm(self, text: str) -> None:
        """The disaster."""
        stamp = f"{time.monotonic() - self._start_s:6.1f} s"
        print(f"{stamp}  {self._paint('1;31', text)}", flush=True)


def start(context: Context, voice: Voice) -> Pair:
    """Both sides and the guest."""
    pair = context.pair(delay_ms=DELAY_MS, disk="symmetric",
                        disk_options=DiskOptions(size_mib=DISK_MIB,
                                                 sync="full"))
    voice.say("Two QEMU processes stand for two hosts, each with a disk of "
              "its own. The primary boots a Linux")
    voice.detail("guest; the secondary waits.")
    pair.start()
    voice.detail(f"primary process {pair.p.pid}, secondary process "
                 f"{pair.secondary().pid}, guest at {netns.GUEST_IP}")
    pair.p.wait_console("colo-guest: ready")
    voice.say("The guest is up and serves.")
    return pair


def start_client(context: Context, voice: Voice) -> traffic.Client:
    """A client that writes and checks."""
    client = context.client("durable,echo")
    client.wait_progress(50)
    voice.say("A client connects. It writes to the guest's key-value store, "
              "over one TCP connection, and")
    voice.detail("remembers every write the guest acknowledged, each of them "
                 "on the disk by then; a second")
    voice.detail("connection checks an echo.")
    return client


def watch_checkpoints(pair: Pair, voice: Voice) -> None:
    """Show some checkpoints with their pause."""
    mark = pair.p.qmp.mark()
    shown = 0
    while shown < CHECKPOINTS_COUNT:
        status.check_not_failed(pair.p, pair.secondary())
        pauses = status.stops(pair.p, mark)
        for _, pause_ms in pauses[shown:CHECKPOINTS_COUNT]:
            shown += 1
            voice.detail(f"checkpoint {shown:2}: guest stood still for "
                         f"{pause_ms:5.1f} ms")
        pair.p.qmp.poll(0.05)


def disaster(pair: Pair, client: traffic.Client, voice: Voice) -> float:
    """Kill the primary and let the secondary take over."""
    client.mark()
    begin_s = time.monotonic()
    pair.p.kill()
    voice.alarm(f"kill -9 {pair.p.pid}: the primary is gone, in the middle "
                "of its work.")
    survivor = pair.secondary()
    pair.wait_peer_lost(survivor)
    voice.say("The secondary has noticed. This script plays the cluster "
              "manager and tells it to take over.")
    info = status.query(survivor)
    if info.get("reason", "none") not in ("", "none"):
        voice.detail(f"it says: {info['reason']}")
    pair.failover_to_secondary()
    pair.wait_alone(survivor)
    took_ms = (time.monotonic() - begin_s) * 1000
    voice.say(f"It took over, {took_ms:.0f} ms after the kill. The same "
              "guest goes on in the other process.")
    return took_ms


def copied_kib(pair: Pair) -> int:
    """What the copy of the disk had to move."""
    assert isinstance(pair.disk, SymmetricDisk)
    forward = pair.disk.entry(pair.p.qmp)["forward"]
    return int(forward["copied"]) >> 10


def check_disk(pair: Pair, revision: int) -> None:
    """Every write has its record in the image that the survivor has."""
    assert isinstance(pair.disk, SymmetricDisk)
    pair.disk.settle(pair.secondary().qmp)
    with open(pair.disk.image("secondary"), "rb") as file:
        records = file.read(LOG_BYTES)
    found = {int.from_bytes(records[at + 16:at + 24], "little")
             for at in range(0, len(records), SECTOR_BYTES)
             if records.startswith(RECORD_MAGIC, at)}
    missing = set(range(1, revision + 1)) - found
    if missing:
        raise RuntimeError(f"{len(missing)} writes are not on the disk, the "
                           f"first is {min(missing)}")


def run(context: Context, voice: Voice) -> None:
    """The whole story."""
    pair = start(context, voice)
    client = start_client(context, voice)
    identity = client.control("INFO").split("boot_id=")[1].split()[0]
    voice.say("Protection begins: disk and memory of the running guest are "
              "copied, then both guests run")
    voice.detail("side by side.")
    pair.protect()
    voice.good(f"both sides report: protected ({copied_kib(pair)} KiB of the "
               f"disk held data; all {DISK_MIB} MiB are in sync)")
    client.wait_progress(50)
    voice.say(f"Every {DELAY_MS} ms the secondary is brought to the "
              "primary's exact state (a checkpoint):")
    client.mark()
    watch_checkpoints(pair, voice)
    before = client.check()
    disaster(pair, client, voice)
    client.wait_progress(300)
    after = client.check()
    gap_ms = traffic.longest_gap_ms(after)
    voice.say("What the client saw:")
    if client.control("INFO").split("boot_id=")[1].split()[0] != identity:
        raise RuntimeError("the guest is not the one that was protected")
    voice.good("the guest is the same one: same boot id, it never restarted")
    report = client.verify()
    client.close()
    check_disk(pair, report["durable"]["revision"])
    voice.good("both TCP connections are the ones opened before the kill")
    voice.good(f"no acknowledged write is lost: all "
               f"{report['durable']['revision']} are there, in memory and on "
               "the survivor's disk")
    voice.good(f"longest wait for an answer: {gap_ms:.0f} ms across the "
               f"kill; {traffic.longest_gap_ms(before):.0f} ms before it")


def inside(binary: str, run_dir: str) -> int:
    """The demo proper, in its private network."""
    voice = Voice()
    context = Context(binary, run_dir, RESULTS, verbose=False)
    begin_s = time.monotonic()
    try:
        run(context, voice)
    except Exception as error:  # pylint: disable=broad-except
        voice.alarm(f"The demo failed: {error}")
        print(f"{'':10}logs: {os.path.relpath(RESULTS)}")
        return 1
    finally:
        context.close()
    print(f"\nDone in {time.monotonic() - begin_s:.0f} s. Logs, with both "
          f"command lines: {os.path.relpath(RESULTS)}")
    return 0


def main(argv: List[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=vm.BINARY)
    options = parser.parse_args(argv)
    problem = vm.guest_missing()
    if not os.path.exists(options.binary):
        problem = f"no {options.binary}: run ./configure and make build"
    if problem:
        print(f"The demo cannot start: {problem}", file=sys.stderr)
        return 1
    os.makedirs(RESULTS, exist_ok=True)
    if private.inside():
        return inside(options.binary, private.enter())
    try:
        return private.call(os.path.abspath(__file__), argv)
    except KeyboardInterrupt:
        print("\ninterrupted; both sides are ended", flush=True)
        return 130
    except netns.NoNetwork as error:
        print(f"The demo cannot start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
