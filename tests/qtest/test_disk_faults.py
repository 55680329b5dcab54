# SPDX-License-Identifier: GPL-2.0-or-later
"""A secondary's disk when something below it, or the peer, fails.

Whatever fails: nobody is told that a write is kept which is not, the guest
sees its own data and no one else's, and no step waits for ever.
"""

import os
import threading
import time
from typing import Any, List

from colo import procs
from colo.case import Context, case, check, check_equal
from disklab import (DISK_NODE, EIO, ENOSPC, IMAGE_NODE, MIB, DiskLab,
                     small_directory)
from nbdclient import NBDClient, error_of
from test_disk_stages import graph

KIB = 1024
# A disk that hangs holds a step up for two seconds.
STEP_LIMIT_S = 6.0
REQUESTS_COUNT = 32
PAGES_PER_REQUEST_MAX = 64      # of 256


def once(iotype: str, offset: int = -1, errno: int = EIO) -> Any:
    """The first request of that type (that touches this byte) fails."""
    place = {} if offset < 0 else {"sector": offset // 512}
    return {"event": "none", "iotype": iotype, "errno": errno, "once": True,
            **place}


def fill(lab: DiskLab, who: str, size: int) -> int:
    """Write until it fails; the error number."""
    step = 128 * KIB
    for offset in range(0, size, step):
        number = error_of(lambda offset=offset: lab.write(
            who, offset, lab.random.randbytes(step)))
        if number:
            return number
    return 0


def quick(lab: DiskLab, *names: str) -> None:
    """Steps which must not wait for what is stuck."""
    for name in names:
        start = time.monotonic()
        lab.advance(name)
        check(time.monotonic() - start < STEP_LIMIT_S, f"{name} waited")


def refusal(lab: DiskLab, step: str) -> str:
    """Why it cannot be taken."""
    error = lab.machine.qmp.try_cmd("x-colo-disk-step", {"step": step})
    check(error, f"{step} was not refused")
    assert error is not None
    return error.desc


# -- the parent -----------------------------------------------------------

def lose(lab: DiskLab) -> None:
    """A write of the peer has failed behind its back: the end of the pair."""
    check_equal(error_of(lab.peer.flush), EIO, "the flush")
    check_equal(error_of(lambda: lab.peer.write(0, b"z" * 512)), EIO,
                "the next write")
    check_equal(lab.buffer()["stage"], "running", "stage")
    lab.check_guest()
    why = refusal(lab, "check")
    check("could not write what the primary wrote" in why, why)
    # This side's own guest is whole, and may go on.
    lab.write("guest", 2 * MIB, b"own" * 1000)
    lab.advance("take-over")
    lab.wait_merged()
    lab.check_guest()
    lab.quit()
    lab.check_image()


@case(linux=False, reference=False)
def disk_undo_cannot_be_read(context: Context) -> None:
    """What would be overwritten is unreadable: the peer gets no further."""
    lab = DiskLab(context, faults=[once("read", MIB)])
    lab.advance("begin")
    check_equal(error_of(lambda: lab.peer.write(MIB, b"x" * 4096)), 0,
                "what the peer is told at first")
    lose(lab)


@case(linux=False, reference=False)
def disk_peer_write_fails(context: Context) -> None:
    """The disk refuses what the peer writes: the peer gets no further."""
    lab = DiskLab(context, faults=[once("write", MIB)])
    lab.advance("begin")
    check_equal(error_of(lambda: lab.peer.write(MIB, b"x" * 4096)), 0,
                "what the peer is told at first")
    lose(lab)


@case(linux=False, reference=False)
def disk_peer_flush_fails(context: Context) -> None:
    """A flush that fails is told, and that is all."""
    lab = DiskLab(context, faults=[once("flush")])
    lab.advance("begin")
    lab.write("peer", MIB, b"y" * 4096)
    check_equal(error_of(lab.peer.flush), EIO, "the flush")
    lab.check()
    lab.work(10)
    lab.steps("cut", "enter")
    lab.quit()

@case(linux=False, reference=False)
def disk_early_flush(context: Context) -> None:
    """A disk in a rhythm flushes before it is asked; that may fail as well."""
    rounds = 3
    lab = DiskLab(context, states=[
        {"event": "pwritev", "state": n, "new_state": n + 1}
        for n in range(1, rounds + 1)], faults=[
            {**once("flush"), "event": "pwritev", "state": rounds + 1}])
    lab.advance("begin")
    for number in range(rounds):
        lab.write("peer", number * MIB, b"y" * 4096)
        lab.peer.flush()
    check_equal(error_of(lambda: lab.peer.write(MIB, b"x" * 4096)), 0,
                "what the peer is told at first")
    lab.peer.status(0, MIB)     # it has begun by then
    lose(lab)


@case(linux=False, reference=False)
def disk_guest_read_fails(context: Context) -> None:
    """An unreadable sector is the guest's business, as on any disk."""
    lab = DiskLab(context, faults=[once("read", MIB)])
    lab.advance("begin")
    check_equal(error_of(lambda: lab.guest.read(MIB - 512, 2048)), EIO,
                "the guest's error")
    lab.check()
    lab.quit()


@case(linux=False, reference=False)
def disk_merge_meets_errors(context: Context) -> None:
    """A failing write or flush holds the merge up; the guest sees nothing."""
    lab = DiskLab(context, faults=[
        once("write", MIB), once("write", 0), once("write", MIB, ENOSPC),
        once("flush")])
    lab.advance("begin")
    for offset in range(0, 4 * MIB, 512 * KIB):
        lab.write("guest", offset, lab.random.randbytes(100 * KIB))
    # A write of the peer at the place would take the fault away.
    lab.write("peer", 5 * MIB, lab.random.randbytes(MIB))
    lab.step("take-over")
    procs.wait_until(lambda: lab.info().get("error"), 10, "the first error",
                     0.02)
    check("cannot be merged" in lab.info()["error"], lab.info()["error"])
    lab.check()
    lab.wait_merged()
    lab.work(5)
    lab.quit()
    lab.check_image()


@case(linux=False, reference=False)
def disk_stalled_write(context: Context) -> None:
    """The disk hangs in the peer's write: a cut waits a while, then parts."""
    lab = DiskLab(context, stalls=True)
    lab.advance("begin")
    lab.debug("break write_aio A")
    lab.peer.write(MIB, lab.random.randbytes(8192))
    # It is not on the disk, and not in what the guest sees.
    lab.check_guest()
    lab.write("guest", MIB + 100, b"own" * 500)
    lab.peer.send_flush()
    check(not lab.peer.is_answered(0.3), "the flush did not wait")
    quick(lab, "cut")
    why = refusal(lab, "check")
    check("could not write what the primary wrote" in why, why)
    lab.advance("roll-back")
    lab.check_guest()
    lab.debug("resume A")
    check_equal(lab.peer.finish(), EIO, "the flush")
    lab.advance("take-over")
    lab.finish_merge()


@case(linux=False, reference=False)
def disk_stalled_read(context: Context) -> None:
    """The guest reads slowly: the peer's write waits, the guest gets old."""
    lab = DiskLab(context, stalls=True)
    lab.advance("begin")
    reader = lab.connect("guest")
    lab.debug("break read_aio A")
    reader.send_read(MIB, 8192)
    check(not reader.is_answered(0.2), "the read is not stuck")
    lab.write("peer", MIB + 512, b"new" * 512)
    lab.peer.send_flush()
    check(not lab.peer.is_answered(0.3), "the peer did not wait for a reader")
    # Those who look now look elsewhere, and wait for nobody.
    lab.check_guest()
    lab.debug("resume A")
    check_equal(reader.finish_read(MIB, 8192), bytes(lab.view[MIB:MIB + 8192]),
                "what the guest read")
    check_equal(lab.peer.finish(), 0, "the peer's flush")
    lab.check()
    lab.quit()


@case(linux=False, reference=False)
def disk_merge_and_guest_meet(context: Context) -> None:
    """Guest and merge write the same place: the guest's data remains."""
    lab = DiskLab(context, stalls=True)
    lab.advance("begin")
    lab.write("guest", MIB, b"old" * 2000)
    lab.debug("break write_aio A")
    lab.advance("take-over")
    writer = lab.connect("guest")
    writer.send_write(MIB + 1000, b"new" * 1000)
    check(not writer.is_answered(0.3), "the guest did not wait")
    # Elsewhere it does not, and it reads what it has there.
    lab.check_guest()
    lab.write("guest", 2 * MIB, b"other")
    lab.debug("resume A")
    check_equal(writer.finish(), 0, "the guest's write")
    lab.view[MIB + 1000:MIB + 4000] = b"new" * 1000
    lab.finish_merge()


@case(linux=False, reference=False)
def disk_merge_waits_for_the_guest(context: Context) -> None:
    """The guest's write is under way when the merge comes to its place."""
    lab = DiskLab(context, stalls=True, options={"merge-speed": MIB})
    lab.advance("begin")
    lab.write("guest", 0, lab.random.randbytes(MIB))
    lab.write("guest", 4 * MIB, b"old" * 2000)
    lab.advance("take-over")
    procs.wait_until(lambda: lab.buffer()["merge-left"] < MIB, 5,
                     "the first part being merged", 0.01)
    writer = lab.connect("guest")
    lab.debug("break write_aio A")
    writer.send_write(4 * MIB + 1000, b"new" * 1000)
    check(not writer.is_answered(0.1), "the guest's write is not stuck")
    lab.debug("break write_aio B")
    time.sleep(1.5)             # by now the merge is there
    lab.debug("resume A")
    check_equal(writer.finish(), 0, "the guest's write")
    lab.view[4 * MIB + 1000:4 * MIB + 4000] = b"new" * 1000
    time.sleep(0.2)
    lab.debug("resume B")
    lab.finish_merge()


@case(linux=False, reference=False)
def disk_guest_waits_for_the_undo(context: Context) -> None:
    """Both write one place, and what was there is not kept yet."""
    lab = DiskLab(context, stalls=True)
    lab.advance("begin")
    lab.debug("break read_aio A")
    lab.peer.write(MIB, b"peer" * 1000)
    lab.guest.send_write(MIB + 2000, b"guest" * 800)
    check(not lab.guest.is_answered(0.3), "the guest did not wait")
    lab.debug("resume A")
    check_equal(lab.guest.finish(), 0, "the guest's error")
    lab.parent[MIB:MIB + 4000] = b"peer" * 1000
    lab.view[MIB + 2000:MIB + 6000] = b"guest" * 800
    lab.check()
    lab.step("take-over")
    lab.finish_merge()


@case(linux=False, reference=False)
def disk_cut_waits_for_the_undo(context: Context) -> None:
    """The disk is slow, and a step falls into the keeping of what was."""
    for number, steps in enumerate((("cut", "enter"), ("cut", "roll-back"),
                                    ("take-over",), ("end",))):
        lab = DiskLab(context, slow=True, size=64 * KIB,
                      name=f"disk{number}")
        lab.advance("begin")
        for step in steps:
            data = lab.random.randbytes(4000)
            lab.peer.read(0, 512)       # after this the disk makes a pause
            lab.peer.send_write(8 * KIB, data)
            time.sleep(0.05)
            lab.advance(step)
            check(step not in ("take-over", "end")
                  or lab.peer.is_answered(0.1), "the peer writes on")
            check_equal(lab.peer.finish(), 0, f"the write before {step}")
            lab.parent[8 * KIB:8 * KIB + 4000] = data
            if step == "cut":       # it had begun before: it is part of it
                at_cut = data
        if steps[-1] == "enter":
            lab.view[8 * KIB:8 * KIB + 4000] = at_cut
        if steps[-1] != "take-over":
            lab.check()
        lab.quit()


# -- the spill file -------------------------------------------------------

@case(linux=False, reference=False)
def disk_spill_full_for_the_guest(context: Context) -> None:
    """The guest's own data cannot be kept: this side must not take over."""
    lab = DiskLab(context, small_directory(context, "2m"))
    lab.advance("begin")
    number = fill(lab, "guest", 8 * MIB)
    check_equal(number, ENOSPC, "the guest's error")
    check_equal(lab.buffer()["stage"], "broken", "stage")
    for step in ("check", "take-over"):
        words = refusal(lab, step)
        check("could not keep what the guest wrote" in words
              and "No space" in words and DISK_NODE in words, words)
    for who in ("guest", "peer"):
        lab.expect_refusal(who)
    quick(lab, "cut", "roll-back", "enter", "end")
    lab.work(10)
    lab.steps("begin", "check", "end")
    lab.quit()


@case(linux=False, reference=False)
def disk_spill_full_for_the_peer(context: Context) -> None:
    """What the peer overwrites cannot be kept: it must not overwrite it."""
    lab = DiskLab(context, small_directory(context, "2m"))
    lab.advance("begin")
    check_equal(fill(lab, "peer", 8 * MIB), ENOSPC, "the peer's error")
    check_equal(lab.buffer()["stage"], "running", "stage")
    lab.steps("check", "cut", "enter")
    check_equal(fill(lab, "peer", 2 * MIB), 0, "the next epoch's error")
    lab.check()
    lab.step("take-over")
    lab.finish_merge()


@case(linux=False, reference=False)
def disk_spill_directory_unusable(context: Context) -> None:
    """A pair does not begin when it could not spill, and says where."""
    file = os.path.join(context.run_dir, "file")
    with open(file, "w", encoding="ascii"):
        pass
    for number, path in enumerate(("/nonexistent", file, "/proc/self")):
        lab = DiskLab(context, name=f"disk{number}",
                      options={"spill-dir": path})
        before = graph(lab)
        words = refusal(lab, "begin")
        check(f"'{path}'" in words, words)
        check_equal(graph(lab), before, "the graph")
        lab.work(5)
        lab.quit()
        lab.check_image()


@case(linux=False, reference=False)
def disk_spill_space_comes_back(context: Context) -> None:
    """A storm far above the limit: memory stays below it, files go."""
    lab = DiskLab(context, size=64 * MIB, empty=True,
                  options={"buffer-limit": 4 * MIB,
                           "spill-dir": context.run_dir})
    lab.advance("begin")
    for _ in range(3):
        for offset in range(0, 48 * MIB, MIB):
            data = lab.random.randbytes(MIB)
            lab.write("guest", offset, data)
            lab.write("peer", offset + 16 * MIB, data)
        counts = lab.buffer()
        check_equal(counts["memory"], 4 * MIB, "memory")
        check(counts["spilled"] > 40 * MIB, f"spilled {counts['spilled']}")
        check(spilled_bytes(lab) > 40 * MIB, "nothing is in a file")
        lab.steps("cut", "enter")
        counts = lab.buffer()
        check_equal((counts["memory"], counts["spilled"]), (0, 0), "kept")
        procs.wait_until(lambda: spilled_bytes(lab) == 0, 10,
                         "the spill file being gone", 0.02)
    check(lab.buffer()["memory-peak"] <= 4 * MIB, "peak above the limit")
    lab.quit()


def spilled_bytes(lab: DiskLab) -> int:
    """What files without a name take on the disk."""
    directory = f"/proc/{lab.machine.pid}/fd"
    total = 0
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        try:
            if "colo-spill" in os.readlink(path):
                total += os.stat(path).st_blocks * 512
        except OSError:
            continue
    return total


# -- the peer's connection ------------------------------------------------

@case(linux=False, reference=False)
def disk_peer_ends_in_a_request(context: Context) -> None:
    """The host of the peer dies in the middle of a write: nothing hangs."""
    lab = DiskLab(context)
    lab.advance("begin")
    lab.work(5)
    half = lab.connect("peer")
    half.send_write(MIB, bytes(256 * KIB), 100 * KIB)
    lab.steps("cut", "enter")
    lab.work(5)
    quick(lab, "take-over")
    lab.wait_merged()
    lab.work(5)
    lab.quit()
    lab.check_image()


def stop_s(lab: DiskLab) -> float:
    """How long it takes to stop, as at each checkpoint, and go on."""
    start = time.monotonic()
    lab.cmd("stop")
    took_s = time.monotonic() - start
    lab.cmd("cont")
    return took_s


@case(linux=False, reference=False)
def disk_peer_stops_in_a_request(context: Context) -> None:
    """A request that never ends holds nobody up for long."""
    lab = DiskLab(context)
    lab.advance("begin")
    writer, reader = lab.connect("peer"), lab.connect("peer")
    writer.send_write(MIB, bytes(256 * KIB), 100 * KIB)
    for _ in range(8):
        reader.send_read(0, 4 * MIB)
    time.sleep(0.3)
    took_s = stop_s(lab)
    context.step(f"stopped in {took_s:.2f} s")
    check(0.5 < took_s < 5, f"stop took {took_s:.2f} s")
    check(stop_s(lab) < 0.5, "it stays slow")
    check("is disconnected" in lab.machine.log_tail(), "nobody was told")
    lab.work(5)
    lab.steps("cut", "enter", "end")
    lab.quit()


@case(linux=False, reference=False)
def disk_peer_comes_while_stopping(context: Context) -> None:
    """A client that is there only now is not waited for at all."""
    lab = DiskLab(context)
    lab.advance("begin")
    writer = lab.connect("peer")
    writer.send_write(MIB, bytes(256 * KIB), 100 * KIB)
    there, go_on = threading.Event(), threading.Event()

    def pause() -> None:
        there.set()
        go_on.wait()
    late: List[NBDClient] = []
    comer = threading.Thread(
        target=lambda: late.append(lab.connect("peer", pause=pause)))
    comer.start()
    check(there.wait(5), "no handshake")
    threading.Timer(0.5, go_on.set).start()
    took_s = stop_s(lab)
    context.step(f"stopped in {took_s:.2f} s")
    check(took_s > 0.5, "the first one was not waited for")
    comer.join()
    late[0].write(2 * MIB, bytes(KIB))
    lab.quit()


@case(linux=False, reference=False)
def disk_request_in_two_parts(context: Context) -> None:
    """A stop in the middle of a header: the request is still understood."""
    lab = DiskLab(context)
    lab.advance("begin")
    for sent in (1, 10, 27, 28, 1000):
        data = lab.random.randbytes(8 * KIB)
        rest = lab.peer.send_write(MIB, data, sent)
        later = threading.Timer(0.2, lambda rest=rest: lab.peer.send(rest))
        later.start()
        stop_s(lab)
        later.join()
        check_equal(lab.peer.finish(), 0, f"write sent up to byte {sent}")
        lab.parent[MIB:MIB + 8 * KIB] = data
    check("is disconnected" not in lab.machine.log_tail(), "not waited for")
    lab.check()
    lab.quit()


def minor_faults(pid: int) -> int:
    """Pages that a process was given so far."""
    return int(procs.stat_fields(pid)[7])


@case(linux=False, reference=False)
def disk_request_memory_is_kept(context: Context) -> None:
    """One request's buffer serves the next, whatever their sizes are."""
    lab = DiskLab(context)
    lab.advance("begin")
    lab.write("peer", 0, lab.random.randbytes(MIB))
    before = minor_faults(lab.machine.pid)
    for _ in range(REQUESTS_COUNT):
        lab.write("peer", 0, lab.random.randbytes(MIB))
    pages = minor_faults(lab.machine.pid) - before
    context.step(f"{pages} pages for {REQUESTS_COUNT} requests")
    check(pages < REQUESTS_COUNT * PAGES_PER_REQUEST_MAX,
          f"{pages} pages for {REQUESTS_COUNT} requests of 1 MiB")
    for size in (4 * KIB, MIB, 512, 3 * MIB, MIB + 512, 100 * KIB, 2 * MIB):
        lab.write("peer", 0, lab.random.randbytes(size))
        check_equal(lab.peer.read(0, size), bytes(lab.parent[:size]),
                    f"{size} bytes of the disk")
    lab.check()
    lab.quit()


@case(linux=False, reference=False)
def disk_late_writes_are_fenced(context: Context) -> None:
    """After a takeover no peer reaches the disk, whatever it tries."""
    lab = DiskLab(context)
    lab.steps("begin", "take-over")
    lab.wait_merged()
    lab.export("late", IMAGE_NODE)
    late = lab.connect("late")
    for client in (lab.peer, late):
        for request in (lambda: client.write(0, b"x"),
                        lambda: client.zeroes(0, 1),
                        lambda: client.trim(0, 4096)):
            check_equal(error_of(request), EIO, "the peer's error")
        check_equal(client.read(0, 4096), bytes(lab.view[:4096]), "its read")
    lab.remove_disk()
    check_equal(error_of(lambda: late.write(0, b"x")), EIO,
                "the error once the node is gone")
    lab.quit()
    lab.check_image()
