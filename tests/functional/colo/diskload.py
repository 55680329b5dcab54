# SPDX-License-Identifier: GPL-2.0-or-later
"""Pairs with a file system under load, and the proof that nothing was lost.

The proof has three parts: the running guest reads back what it acknowledged,
past its caches, and checks its file system; then QEMU is killed, and the image
is looked into from outside.
"""

import os
import random
import time
from typing import Any, List

from . import disk, images, vm, volumes
from .case import Context
from .disk import tool
from .ending import end_side
from .pair import Config, Pair
from .traffic import Client
from .vm import VM, Spec

SIZE_MIB = 160
DELAY_MS = 300
LOADS = ("database", "databasewal", "records", "database,records",
         "database,records,kv")
WAIT_MAX_S = 2.0
EXCHANGES = 40


def has_symmetric() -> bool:
    """True if this source has the form that is the same on both sides."""
    with open(os.path.join(vm.TOP, "qapi", "colo-disk.json"),
              encoding="utf-8") as file:
        return "colo-disk-attach" in file.read()


def best_kind() -> str:
    """The kind of disk of which most is tested."""
    return "symmetric" if has_symmetric() else "replicated"


def config(context: Context, kind: str, **settings: Any) -> Config:
    """How these pairs are put together; skips where they cannot run."""
    for problem in (images.missing(), vm.guest_outdated("volumes")):
        if problem:
            context.skip(problem)
    options = settings.pop("disk_options", None) or disk.Options(
        size_mib=SIZE_MIB, filesystem=True)
    spec = Spec(full=True, append="colo.volumes=1")
    settings.setdefault("delay_ms", DELAY_MS)
    return Config(spec=spec, disk=kind, disk_options=options, **settings)


def start(context: Context, kind: str, **settings: Any) -> Pair:
    """A protected pair."""
    return context.protected_pair(config=config(context, kind, **settings))


def survivor_of(pair: Pair) -> VM:
    """The side that is left."""
    alive: List[VM] = [m for m in (pair.p, pair.secondary()) if m.alive()]
    if len(alive) != 1:
        raise AssertionError(f"{len(alive)} sides are left, not one")
    return alive[0]


def verify(context: Context, pair: Pair, client: Client) -> None:
    """All three parts; ends the load, the client and the survivor."""
    report = verify_in_guest(context, client)
    look_into(context, pair, [report], calm=True)


def verify_in_guest(context: Context, client: Client) -> volumes.Report:
    """End the load and the client, read all back, unmount, check.

    Returns what was acknowledged, for a later look into the images.
    """
    context.step("read back in the guest")
    report = client.verify()
    client.close()
    calm = context.client("")
    for device in devices_of([report]):
        calm.volume(f"UMOUNT {device}")
        calm.volume(f"FSCK {device}")
    calm.close()
    return report


def devices_of(reports: List[volumes.Report]) -> List[str]:
    """The disks with a file system that these loads were on."""
    return sorted({figures["device"] for report in reports
                   for name, figures in report.items()
                   if "device" in figures and "blocks" not in name})


def look_into(context: Context, pair: Pair, reports: List[volumes.Report],
              calm: bool) -> None:
    """Kill the survivor and look into its images.

    calm: the file systems were unmounted; else the power failed, and the
    journal comes first.
    """
    survivor = survivor_of(pair)
    side = "primary" if survivor is pair.p else "secondary"
    if calm:
        pair.disk.settle(survivor.qmp)
    survivor.kill()
    look_at_images(context, pair, side, reports, calm)


def look_at_images(context: Context, pair: Pair, side: str,
                   reports: List[volumes.Report], calm: bool) -> None:
    """The same for a side whose QEMU has ended already."""
    for device in devices_of(reports):
        files = open_image(context, pair, side, device)
        if not calm:
            files.recover()
        files.check()
        found = [volumes.check(files, report, device, context.run_dir)
                 for report in reports]
        files.close()
        context.step(f"the {side}'s {device} holds " + ", ".join(
            text for text in found if text))


def open_image(context: Context, pair: Pair, side: str,
               device: str = "vda") -> images.FileSystem:
    """The file system of an image whose QEMU has ended."""
    return images.FileSystem(tool(pair.binary, "qemu-img"),
                             pair.disk.image(side, disk_index(device)),
                             os.path.join(context.run_dir, "look.raw"))


def disk_index(device: str) -> int:
    """vda is the first, 0."""
    return ord(device[-1]) - ord("a")


def compare_images(context: Context, pair: Pair) -> None:
    """Both sides hold the same bytes; the guest must not be writing."""
    for index in range(pair.config.disk_options.count):
        images.compare(tool(pair.binary, "qemu-img"),
                       pair.disk.image("primary", index),
                       pair.disk.image("secondary", index))
    context.step("the images are equal")


def one_kill(context: Context, kind: str, side: str, seed: int) -> None:
    """One round of a storm: a side dies at a moment that nobody chose.

    The seed gives load, interval and wait; where in a checkpoint or in a
    transaction the kill falls it cannot give.
    """
    dice = random.Random(seed)
    work = dice.choice(LOADS)
    pair = start(context, kind, delay_ms=dice.choice((100, 300, 1000)))
    client = context.client(work)
    client.wait_progress(EXCHANGES)
    pair.wait_checkpoints(2)
    time.sleep(dice.uniform(0, WAIT_MAX_S))
    client.check()
    context.step(f"seed {seed}: kill the {side}, load {work}")
    end_side(pair, side)
    client.wait_progress(EXCHANGES)
    verify(context, pair, client)
