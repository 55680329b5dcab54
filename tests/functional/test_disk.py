# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system and a database on a replicated disk, and sides that die.

Whatever the guest acknowledged is on the survivor's disk, and the disk is a
whole one: no lost record, no torn page, no file system to repair.
"""

import secrets
from typing import Callable

from colo import disk, diskload, images, volumes
from colo.case import Context, add, case, check
from colo.ending import end_side, take_over
from colo.faultpoints import MANY_PAGES, arm, points, wait_passed
from colo.traffic import ClientError

EXCHANGES = 60
# Between the cuts of both sides, and around the load of it.
COMMON_POINTS = ("p-captured", "p-end-sent", "p-loaded", "s-received",
                 "s-apply-devices", "s-applied")
KILLS_COUNT = 3             # of each side; more: tests/bench/run.py


def lose_a_side(context: Context, kind: str, side: str, work: str) -> None:
    """Protect, load the disk, lose a side, look at what is left."""
    pair = diskload.start(context, kind)
    client = context.client(work)
    client.wait_progress(EXCHANGES)
    pair.wait_checkpoints(5)
    client.wait_progress(EXCHANGES)
    context.step(f"kill the {side}")
    client.mark()
    end_side(pair, side)
    client.wait_progress(EXCHANGES)
    diskload.verify(context, pair, client)


def power_failure(context: Context, kind: str) -> None:
    """The primary dies; while the load goes on, so does the survivor."""
    pair = diskload.start(context, kind)
    client = context.client("database,records")
    client.wait_progress(EXCHANGES)
    pair.wait_checkpoints(3)
    context.step("kill the primary, then the survivor")
    end_side(pair, "primary")
    client.wait_progress(EXCHANGES)
    pair.disk.settle(pair.secondary().qmp)
    client.wait_progress(EXCHANGES)
    # First the failure: what is acknowledged behind the report is not in it.
    pair.secondary().kill()
    diskload.look_at_images(context, pair, "secondary", [client.check()],
                            calm=False)


def random_kill(context: Context, kind: str, side: str) -> None:
    """One kill at a moment that nobody chose."""
    diskload.one_kill(context, kind, side, secrets.randbelow(1 << 32))


def at_point(context: Context, kind: str, point: str, victim: str) -> None:
    """A side dies while one, perhaps the other, is at a fault point."""
    pair = diskload.start(context, kind, limits=MANY_PAGES.get(point, {}))
    client = context.client("database,records")
    if point in MANY_PAGES:
        client.control("DIRTY 20 16")
    client.wait_progress(EXCHANGES)
    pair.wait_checkpoints(2)
    there = pair.p if point.startswith("p-") else pair.secondary()
    dies = there is (pair.p if victim == "primary" else pair.secondary())
    action = "kill" if dies else "freeze"
    arm(context, there, point, action)
    wait_passed(there, point, action)
    context.step(f"the {victim} dies at {point}")
    if not dies:
        pair.p.kill()
        there.thaw()
    take_over(pair, victim)
    client.wait_progress(EXCHANGES)
    diskload.verify(context, pair, client)


def _add(name: str, words: str, function: Callable[..., None],
         *arguments: str, slow: bool = False) -> None:
    def body(context: Context) -> None:
        function(context, *arguments)
    body.__doc__ = words
    add(name, body, timeout_s=150, reference=False, slow=slow)


# The older form differs in its graph only.
OLD_FORM_WORK = (("primary", "database"), ("secondary", "records"))


def _register(kind: str, prefix: str) -> None:
    for side in ("primary", "secondary"):
        for work in ("database", "databasewal", "records"):
            _add(f"{prefix}{work}_{side}_dies",
                 f"{kind} disk under {work}, the {side} dies",
                 lose_a_side, kind, side, work,
                 slow=work == "databasewal" or (
                     kind != diskload.best_kind() and
                     (side, work) not in OLD_FORM_WORK))
        for number in range(1, KILLS_COUNT + 1):
            _add(f"{prefix}kill_{side}_{number}",
                 f"{kind} disk, the {side} dies at a random moment",
                 random_kill, kind, side,
                 slow=number > 1 or kind != diskload.best_kind())
    for point in points("p") + points("s"):
        side = "primary" if point.startswith("p-") else "secondary"
        for victim in dict.fromkeys((side, "primary")):
            _add(f"{prefix}{victim}_dies_at_{point.replace('-', '_')}",
                 f"{kind} disk, the {victim} dies at {point}",
                 at_point, kind, point, victim,
                 slow=kind != diskload.best_kind() or point not in COMMON_POINTS)
    _add(f"{prefix}power_failure",
         f"{kind} disk, the survivor dies as well, under load",
         power_failure, kind, slow=kind != diskload.best_kind())


_register("replicated", "disk_replicated_")
if diskload.has_symmetric():
    _register("symmetric", "disk_")


# -- the checks themselves ------------------------------------------------

def expect_complaint(words: str, function: Callable[[], object]) -> None:
    """The check must fail, and say this."""
    try:
        function()
    except (AssertionError, RuntimeError, ClientError) as error:
        check(words in str(error), f"not for '{words}': {error}")
    else:
        raise AssertionError(f"nobody noticed: {words}")


def damage(path: str, offset: int) -> None:
    """Turn one bit over."""
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@case(timeout_s=60)
def disk_load_is_durable(context: Context) -> None:
    """What the loads acknowledge is on a disk without any protection, too.

    Only then a record that is missing after a takeover is COLO's.
    """
    pair = context.booted_primary(diskload.config(context, "replicated"))
    client = context.client("databasealone,records", pause_ms=500)
    client.wait_progress(5)
    pair.p.kill()
    diskload.look_at_images(context, pair, "primary", [client.check()],
                            calm=False)


@case(timeout_s=90, reference=False)
def disk_checks_notice(context: Context) -> None:
    """Lost and damaged records, rows, files and bytes are all noticed."""
    pair = context.booted_primary(diskload.config(context, "replicated"))
    client = context.client("database,records")
    client.wait_progress(EXCHANGES)
    report = client.verify()
    client.close()
    calm = context.client("")
    lane = f"records-0 {report['records']['last']['records-0'] + 3}"
    expect_complaint("record", lambda: calm.volume(f"RECORDS vda {lane}"))
    calm.volume("UMOUNT vda")
    calm.volume("FSCK vda")
    pair.p.kill()
    files = diskload.open_image(context, pair, "primary")
    notice_losses(context, files, report)
    notice_damage(context, files, report)
    notice_difference(context)


def notice_losses(context: Context, files: images.FileSystem,
                  report: volumes.Report) -> None:
    """More was acknowledged than is there."""
    volumes.check(files, report, "vda", context.run_dir)
    for work, figures in report.items():
        for name in figures["last"]:
            figures["last"][name] += 3
            expect_complaint("acknowledged up to", lambda: volumes.check(
                files, {work: figures}, "vda", context.run_dir))
            figures["last"][name] -= 3


def notice_damage(context: Context, files: images.FileSystem,
                  report: volumes.Report) -> None:
    """One bit is wrong: in a record, in the database, in the directory."""
    def look() -> None:
        volumes.check(files, report, "vda", context.run_dir)
    # Any other slot may be the one that the write under way had begun with.
    slot = volumes.newest_slot(report["records"]["last"]["records-0"])
    for path, block, byte, words in (
            ("records-0/ring", slot, 50, "missing or damaged"),
            ("base.db", 0, 100, "")):
        place = files.offset_of(path, block) + byte
        damage(files.path, place)
        if words:
            expect_complaint(words, look)
        else:
            try:
                look()
            except Exception as error:  # pylint: disable=broad-except
                context.step(f"noticed: {error}")
            else:
                raise AssertionError("a damaged database passed")
        damage(files.path, place)
    look()
    damage(files.path, files.offset_of("records-0") + 20)
    expect_complaint("e2fsck", files.check)


def notice_difference(context: Context) -> None:
    """The comparison of images names the first byte that differs."""
    qemu_img = disk.tool(context.binary, "qemu-img")
    pair = [f"{context.run_dir}/{name}.raw" for name in ("one", "other")]
    images.create(qemu_img, pair, "raw", 64, True)
    images.compare(qemu_img, *pair)
    damage(pair[1], 5000001)
    expect_complaint("at byte 5000001:",
                     lambda: images.compare(qemu_img, *pair))
    images.create(qemu_img, pair[1:], "raw", 65, True)
    expect_complaint("bytes, ", lambda: images.compare(qemu_img, *pair))
