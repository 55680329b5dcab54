# SPDX-License-Identifier: GPL-2.0-or-later
"""Direct form: who listens to the secondary.

Single answers are read in the main loop, where the primary's frames leave, and
the worker sleeps.  Bulk is read by the worker, if QEMU may use a processor
more.  Whoever listens, and whenever that changes, frames leave once and in
order.
"""

import os
import random
from typing import Callable, List, Tuple

import packets
from colo import procs
from colo.case import Context, add, case, check, check_equal
from netlab import Lab, Nic
from wires import Wire

CALM_READS = 8          # COLO_PATIENCE_CALM_READS
BULK_FRAMES = 200       # more than 64 KiB that nothing is held of
ANSWERS = 200


def started(context: Context, one_cpu: bool) -> Tuple[Lab, Nic, Wire]:
    """A NIC whose output is compared with what we send as the secondary."""
    lab = started_lab(context, one_cpu)
    nic = lab.nic("n0")
    lab.chardev("sec")
    add_compare(lab)
    return lab, nic, lab.wire("sec", vnet=True)


def add_compare(lab: Lab) -> None:
    """The object, in the direct form."""
    lab.add("colo-compare", "x0", netdev="n0", secondary="sec",
            standalone=True)


def started_lab(context: Context, one_cpu: bool) -> Lab:
    """A QEMU that may have to do with one processor."""
    cpus = os.sched_getaffinity(0)
    try:
        if one_cpu:
            os.sched_setaffinity(0, {min(cpus)})
        return Lab(context, argv=("-machine", "none", "-trace",
                                  "colo_link_listener"))
    finally:
        os.sched_setaffinity(0, cpus)


def worker_turns(lab: Lab) -> int:
    """How often the worker has gone to sleep."""
    thread, = procs.threads_named(lab.machine.pid, "IO colo-x0")
    return procs.status_number(thread, "voluntary_ctxt_switches")


def listeners(lab: Lab) -> List[str]:
    """Who read the secondary, one after the other."""
    return [line.rpartition(": ")[2] for line in lab.log().splitlines()
            if "colo_link_listener" in line]


def answer(nic: Nic, sec: Wire, count: int) -> None:
    """Frames one by one, each with its twin behind it."""
    for number in range(count):
        frame = packets.udp(b"answer %d" % number, guest_port=9)
        nic.guest.send(frame)
        sec.send(frame)
        check_equal(nic.client.frame(), frame, "the answer")


def bulk(count: int) -> List[bytes]:
    """Frames that make much at once."""
    return [packets.udp(b"%1400d" % number) for number in range(count)]


def get_ahead(lab: Lab, sec: Wire, frames: List[bytes]) -> None:
    """The secondary has said all of that before the primary said any."""
    half = len(frames) // 2
    for part, held in ((frames[:half], half), (frames[half:], len(frames))):
        sec.send(*part)
        lab.wait_compare("x0", "secondary-held-frames", held)


def follow(nic: Nic, frames: List[bytes]) -> None:
    """The primary says it, too."""
    for begin in range(0, len(frames), 50):
        nic.guest.send(*frames[begin:begin + 50])
        check(nic.client.frames(50) == frames[begin:begin + 50], "the bulk")


def check_worker_sleeps(lab: Lab, nic: Nic, sec: Wire) -> None:
    """Answers do not wake it."""
    before = worker_turns(lab)
    answer(nic, sec, ANSWERS)
    turns = worker_turns(lab) - before
    check(turns < ANSWERS / 10, f"the worker ran {turns} times")


@case(linux=False, reference=False)
def net_listener_answers(context: Context) -> None:
    """Answers one at a time do not wake the worker."""
    lab, nic, sec = started(context, False)
    answer(nic, sec, 5)
    check_worker_sleeps(lab, nic, sec)
    lab.quit()


@case(linux=False, reference=False)
def net_listener_calls(context: Context) -> None:
    """A chardev that calls, and does so before there is an object, tells its
    first connection in the main loop: answered at once, each time anew."""
    lab = started_lab(context, False)
    nic = lab.nic("n0")
    listener = lab.calling_chardev("sec", reconnect_ms=2000)
    for number in range(3):
        add_compare(lab)
        frame = packets.udp(b"at once %d" % number)
        nic.guest.send(frame)
        lab.wait_compare("x0", "held-frames", 1)
        sec = Wire(listener.accept()[0], vnet=True)
        context.at_end(sec.close)
        sec.send(frame)
        check_equal(nic.client.frame(), frame, "the frame")
        check_worker_sleeps(lab, nic, sec)
        lab.delete("x0")
        sec.close()
        lab.wait_connected("sec", False)
    lab.quit()


def listener_bulk(context: Context, one_cpu: bool) -> None:
    """Bulk is the worker's where it has a processor, and calm ends that."""
    lab, nic, sec = started(context, one_cpu)
    one = one_cpu or len(os.sched_getaffinity(0)) == 1
    expected = []
    for _ in range(3):
        answer(nic, sec, 2 * CALM_READS)
        expected += ["main loop"] if not (one and expected) else []
        check_equal(listeners(lab), expected, "who listens when calm")
        frames = bulk(BULK_FRAMES)
        get_ahead(lab, sec, frames)
        expected += [] if one else ["its own thread"]
        check_equal(listeners(lab), expected, "who listens in bulk")
        follow(nic, frames)
    lab.quit()


def listener_changes(context: Context, one_cpu: bool) -> None:
    """Bulk and calm in turn, and beside each other."""
    lab, nic, sec = started(context, one_cpu)
    chance = random.Random(3)
    for _ in range(15):
        frames = bulk(50 * chance.randrange(1, 8))
        get_ahead(lab, sec, frames)
        answer(nic, sec, chance.randrange(2 * CALM_READS))
        follow(nic, frames)
        answer(nic, sec, chance.randrange(2 * CALM_READS))
    nic.client.quiet()
    info = lab.compare_info("x0")
    check_equal((info["held-frames"], info["secondary-held-frames"],
                 info["asked-checkpoints"]), (0, 0, 0), "counters")
    lab.quit()


def listener_hangs_up(context: Context, one_cpu: bool) -> None:
    """The secondary goes while either listens, in the middle of what it says,
    and another one comes; or the object goes."""
    lab, nic, sec = started(context, one_cpu)
    chance = random.Random(4)
    for number in range(20):
        answer(nic, sec, chance.randrange(3 * CALM_READS))
        if number % 2:
            get_ahead(lab, sec, bulk(BULK_FRAMES))
        rest = sec.encode(packets.udp(b"cut off" * 200))
        sec.send_raw(rest[:chance.randrange(len(rest))])
        sec.close()
        lab.wait_connected("sec", False)
        if number % 4 == 3:
            lab.delete("x0")
            add_compare(lab)
        sec = lab.wire("sec", vnet=True)
        # What the one before had said is no twin of anything.
        nic.guest.send(packets.udp(b"nobody says that %d" % number))
        nic.client.quiet(0.02)
        lab.delete("x0")
        add_compare(lab)
    answer(nic, sec, 5)
    lab.quit()


def listener_last_words(context: Context, one_cpu: bool) -> None:
    """What the secondary said before it hung up counts, whoever listens, also
    when all of that is seen at once."""
    lab, nic, sec = started(context, one_cpu)
    for number in range(10):
        answer(nic, sec, 2 * CALM_READS)
        lead = bulk(BULK_FRAMES * (number % 2))
        get_ahead(lab, sec, lead)
        last = [packets.udp(b"last %d" % word, guest_port=9)
                for word in range(100)]
        nic.guest.send(*last)
        lab.wait_compare("x0", "held-frames", len(last))
        lab.machine.freeze()
        sec.send(*last)
        sec.close()
        lab.machine.thaw()
        check(nic.client.frames(len(last)) == last, "the last words")
        lab.wait_connected("sec", False)
        lab.delete("x0")
        add_compare(lab)
        sec = lab.wire("sec", vnet=True)
    lab.quit()


def listener_nonsense(context: Context, one_cpu: bool) -> None:
    """Nonsense ends the connection, whoever listens, and not the next one."""
    lab, nic, sec = started(context, one_cpu)
    for number in range(6):
        answer(nic, sec, 2 * CALM_READS)
        get_ahead(lab, sec, bulk(BULK_FRAMES * (number % 2)))
        sec.send_raw(b"\xff" * 5000)
        sec.wait_closed()
        lab.wait_connected("sec", False)
        check_equal(lab.log().count("chardev 'sec' does not bring frames"),
                    number + 1, "words about it")
        lab.delete("x0")
        add_compare(lab)
        sec = lab.wire("sec", vnet=True)
    answer(nic, sec, 5)
    lab.quit()


def _register() -> None:
    for function in (listener_bulk, listener_changes, listener_hangs_up,
                     listener_last_words, listener_nonsense):
        for one_cpu in (False, True):
            def body(context: Context, one_cpu: bool = one_cpu,
                     function: Callable[[Context, bool], None] = function
                     ) -> None:
                function(context, one_cpu)
            body.__doc__ = function.__doc__
            add(f"net_{function.__name__}" + "_one_cpu" * one_cpu, body,
                linux=False, reference=False)


_register()
