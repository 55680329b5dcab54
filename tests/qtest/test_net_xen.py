# SPDX-License-Identifier: GPL-2.0-or-later
"""colo-compare with notify_dev: the words it exchanges with Xen's toolstack.

Each word is a frame on the chardev.  Xen has its own pair and checkpoints, so
that the comparer compares without one of ours.
"""

import threading
import time
from typing import Any, List, Tuple

import packets
from colo import procs
from colo.case import Context, case, check, check_equal
from netlab import Lab
from test_net_compare import CHARDEVS, Bench
from wires import Wire

INIT, INIT_ANSWER = b"COLO_USERSPACE_PROXY_INIT", b"COLO_COMPARE_GET_XEN_INIT"
CHECKPOINT, DO_CHECKPOINT = b"COLO_CHECKPOINT", b"DO_CHECKPOINT"


def xen_bench(context: Context, **properties: Any) -> Tuple[Bench, Wire]:
    """A comparer with a toolstack that has greeted it."""
    lab = Lab(context)
    lab.chardev("pri", "sec", "out", "xen")
    lab.add("iothread", "io0")
    lab.add("colo-compare", "x0", notify_dev="xen", iothread="io0",
            **CHARDEVS, **properties)
    wires = lab.wires("pri", "sec", "out", "xen")
    toolstack = wires.pop()
    toolstack.send(INIT)
    check_equal(toolstack.frame(), INIT_ANSWER, "answer to the greeting")
    return Bench(lab, *wires), toolstack


@case(linux=False)
def net_xen_mismatch(context: Context) -> None:
    """A difference asks for a checkpoint, which lets out what was held."""
    made, toolstack = xen_bench(context)
    made.both(packets.udp(b"equal"))
    toolstack.quiet()
    for number in range(3):
        held = packets.udp(b"primary %d" % number)
        made.pri.send(held)
        made.sec.send(packets.udp(b"another %d" % number))
        check_equal(toolstack.frame(), DO_CHECKPOINT, "word at a mismatch")
        made.out.quiet()
        toolstack.send(CHECKPOINT)
        check_equal(made.out.frame(), held, "released at the checkpoint")
        made.both(packets.udp(b"equal %d" % number))
    toolstack.quiet()


@case(linux=False, reference=False)
def net_xen_periodic_checkpoint(context: Context) -> None:
    """A checkpoint nobody asked for releases, too, all flows in order."""
    made, toolstack = xen_bench(context)
    held = [packets.udp(b"%d" % number, guest_port=number % 7)
            for number in range(50)]
    made.pri.send(*held)
    made.lab.wait_compare("x0", "held-frames", 50)
    made.out.quiet()
    toolstack.send(CHECKPOINT)
    check_equal(made.out.frames(50), held, "released at the checkpoint")
    info = made.info()
    check_equal((info["checkpoint-frames"], info["held-frames"]), (50, 0),
                "counters")
    toolstack.quiet(0.1)


@case(linux=False, reference=False)
def net_xen_checkpoint_makes_room(context: Context) -> None:
    """Behind a checkpoint of a full comparer the primary goes on at once."""
    limit = 20000
    made, toolstack = xen_bench(context, max_held_bytes=limit)
    frames = [packets.udp(b"%d" % number + bytes(1400))
              for number in range(1000)]
    sender = threading.Thread(target=made.pri.send, args=frames)
    sender.start()
    left: List[bytes] = []
    checkpoints = 0
    waited_s = 0.0
    while len(left) < len(frames):
        begin_s = time.monotonic()
        procs.wait_until(
            lambda: made.info()["held-bytes"] > limit
            or made.info()["held-frames"] == len(frames) - len(left), 5,
            "a full comparer", 0.01)
        waited_s += time.monotonic() - begin_s
        held = made.info()["held-frames"]
        toolstack.send(CHECKPOINT)
        left += made.out.frames(held)
        checkpoints += 1
    sender.join()
    check(left == frames, "what left is not what came")
    check(checkpoints >= 5, f"full only {checkpoints} times")
    check(waited_s < 0.3 * checkpoints,
          f"{waited_s:.1f} s until full again, {checkpoints} times")


@case(linux=False, reference=False)
def net_xen_unknown_word(context: Context) -> None:
    """A word nobody knows is told, and nothing ends."""
    made, toolstack = xen_bench(context)
    toolstack.send(b"COLO_CHECKPOINTS", b"x" * 60000, CHECKPOINT[:-1])
    made.lab.wait_log("x0: notify_dev brought an unknown word of 16 bytes")
    made.lab.wait_log("x0: notify_dev brought an unknown word of 60000 bytes")
    made.lab.wait_log("x0: notify_dev brought an unknown word of 14 bytes")
    toolstack.send(INIT)
    check_equal(toolstack.frame(), INIT_ANSWER, "answer to the greeting")
    made.both(packets.udp(b"equal"))


@case(linux=False, reference=False)
def net_xen_toolstack_gone(context: Context) -> None:
    """Without a toolstack frames are held; the next one is told again."""
    made, toolstack = xen_bench(context)
    toolstack.close()
    made.lab.wait_connected("xen", False)
    held = packets.udp(b"primary")
    made.pri.send(held)
    made.sec.send(packets.udp(b"another"))
    made.lab.wait_compare("x0", "held-frames", 1)
    made.out.quiet()
    toolstack = made.lab.wire("xen")
    toolstack.send(INIT)
    words = [toolstack.frame()]
    if words == [DO_CHECKPOINT]:
        words.append(toolstack.frame())
    check(INIT_ANSWER in words, f"no answer to the greeting: {words}")
    toolstack.send(CHECKPOINT)
    check_equal(made.out.frame(), held, "released at the checkpoint")
