# SPDX-License-Identifier: GPL-2.0-or-later
"""colo-compare in its direct form, and filter-rewriter, without a pair.

The NIC's guest is we, behind a hub (netlab.py).  Mirroring to the secondary
belongs to a pair and is tested with one.  The line between the two sides
always tells the length of the vnet header, which is 0 here.
"""

import random
import threading
import time
from typing import Any, List, Tuple

import packets
from colo.case import Context, case, check, check_equal
from netlab import Lab, Nic
from test_net_compare import mixture
from wires import Drain, Wire

HELLO = b"Hello! Any bytes will do."


def direct(context: Context, **properties: Any) -> Tuple[Lab, Nic, Wire]:
    """A NIC whose output is compared with what we send as the secondary."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("sec")
    lab.add("colo-compare", "x0", netdev="n0", secondary="sec",
            **properties)
    return lab, nic, lab.wire("sec", vnet=True)


@case(linux=False, reference=False)
def net_direct_equal(context: Context) -> None:
    """Equal frames of the guest leave once and in order."""
    lab, nic, sec = direct(context, standalone=True)
    frames = mixture(1, 300)
    for begin in range(0, 300, 50):
        part = frames[begin:begin + 50]
        nic.guest.send(*part)
        sec.send(*part)
        check(nic.client.frames(50) == part, "what left")
    nic.client.quiet()
    info = lab.compare_info("x0")
    check_equal((info["matched-frames"], info["held-frames"],
                 info["mode"], info["connected"]), (300, 0, "match", True),
                "counters")


@case(linux=False, reference=False)
def net_direct_different(context: Context) -> None:
    """What differs is held; clients' frames pass, and go nowhere else."""
    lab, nic, sec = direct(context, standalone=True)
    nic.guest.send(packets.udp(b"one"))
    nic.client.quiet()
    sec.send(packets.udp(b"two"))
    nic.client.quiet()
    lab.wait_compare("x0", "held-frames", 1)
    nic.client.send(HELLO)
    check_equal(nic.guest.frame(), HELLO, "a client's frame")
    sec.quiet(0.1)
    nic.guest.send(packets.udp(b"equal", guest_port=9))
    sec.send(packets.udp(b"equal", guest_port=9))
    check_equal(nic.client.frame(), packets.udp(b"equal", guest_port=9),
                "another flow")
    check_equal(lab.compare_info("x0")["mirrored-frames"], 0,
                "frames mirrored without a pair")
    lab.qmp.cmd("colo-pass-add", {"compare": "x0", "rule": {
        "name": "dns", "protocol": "udp", "port": 53}})
    check_equal(nic.client.frame(), packets.udp(b"one"), "freed by a rule")


@case(linux=False, reference=False)
def net_direct_passes_without_a_pair(context: Context) -> None:
    """Not standalone and without a pair it is as if it were not there."""
    lab, nic, sec = direct(context)
    for number in range(100):
        frame = packets.udp(b"%d" % number)
        nic.guest.send(frame)
        check_equal(nic.client.frame(), frame, "the guest's frame")
        nic.client.send(HELLO)
        check_equal(nic.guest.frame(), HELLO, "the client's frame")
    sec.send(packets.udp(b"never asked for"))
    sec.quiet(0.1)
    nic.client.quiet(0.1)
    check_equal(lab.compare_info("x0")["mode"], "pass", "mode")


@case(linux=False, reference=False)
def net_direct_round_trip(context: Context) -> None:
    """A frame goes on at once when its twin comes, by event and not by
    time."""
    _, nic, sec = direct(context, standalone=True)
    slowest_s = 0.0
    for number in range(200):
        frame = packets.udp(b"%d" % number)
        nic.guest.send(frame)
        begin_s = time.monotonic()
        sec.send(frame)
        check_equal(nic.client.frame(), frame, "the frame")
        slowest_s = max(slowest_s, time.monotonic() - begin_s)
    context.step(f"slowest of 200: {slowest_s * 1000:.1f} ms")
    check(slowest_s < 2.0, f"a frame waited {slowest_s} s for nothing")


@case(linux=False, reference=False)
def net_direct_split(context: Context) -> None:
    """With two chardevs in place of one it works the same."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("sec", "mirror")
    lab.add("colo-compare", "x0", netdev="n0", secondary_in="sec",
            mirrordev="mirror", standalone=True)
    sec, mirror = lab.wires("sec", "mirror")
    for number in range(20):
        frame = packets.udp(b"%d" % number)
        nic.guest.send(frame)
        sec.send(frame)
        check_equal(nic.client.frame(), frame, "the frame")
    mirror.quiet(0.1)


def ahead(context: Context) -> Tuple[Lab, Nic, Wire, List[bytes]]:
    """The secondary is far ahead by TCP; what it has said."""
    lab = Lab(context)
    nic = lab.nic("n0")
    sec = lab.tcp_wire("sec", vnet=True)
    lab.add("colo-compare", "x0", netdev="n0", secondary="sec",
            standalone=True)
    said = [packets.udp(b"%1400d" % number) for number in range(400)]
    sec.send(*said)
    lab.wait_compare("x0", "secondary-held-frames", len(said))
    return lab, nic, sec, said


@case(linux=False, reference=False)
def net_direct_ahead(context: Context) -> None:
    """A secondary that is far ahead is read all the same: what it says when
    its bulk is over, an answer of another flow, and what follows."""
    lab, nic, sec, said = ahead(context)
    answer = packets.udp(b"answer", guest_port=9)
    for number in range(10):
        last = packets.udp(b"%d" % number)
        sec.send(last)
        said.append(last)
        lab.wait_compare("x0", "secondary-held-frames", len(said))
        sec.send(answer)
        nic.guest.send(answer)
        check_equal(nic.client.frame(), answer, "an answer meanwhile")
    more = said[:200]
    for turn in range(10):
        sec.send(*more[20 * turn:20 * turn + 20])
        part = said[41 * turn:41 * turn + 41]
        nic.guest.send(*part)
        check(nic.client.frames(len(part)) == part, "what left")
    for begin in range(0, len(more), 50):
        nic.guest.send(*more[begin:begin + 50])
        check(nic.client.frames(50) == more[begin:begin + 50], "the rest")
    nic.client.quiet()
    info = lab.compare_info("x0")
    check_equal((info["held-frames"], info["secondary-held-frames"],
                 info["asked-checkpoints"]), (0, 0, 0), "counters")


@case(linux=False, reference=False)
def net_direct_ahead_hangs_up(context: Context) -> None:
    """What it has said before it hangs up counts, and the end is seen."""
    lab, nic, sec, said = ahead(context)
    said += [packets.udp(b"last word"), packets.udp(b"very last word")]
    sec.send(*said[-2:])
    sec.close()
    lab.wait_connected("sec", False)
    lab.wait_compare("x0", "secondary-held-frames", len(said))
    check_equal(lab.compare_info("x0")["connected"], False, "connected")
    nic.guest.send(*said[:10])
    nic.client.quiet()          # behind a gap no datagram has a twin


@case(linux=False, reference=False)
def net_direct_order(context: Context) -> None:
    """What the worker lets out and what the main loop does keep their order:
    the guest is ahead here, and there the secondary."""
    lab, nic, sec = direct(context, standalone=True)
    chance = random.Random(1)
    frames = [packets.udp(b"%d" % number) for number in range(3000)]
    sent = {nic.guest: 0, sec: 0}
    left: List[bytes] = []
    while len(left) < len(frames):
        wire = chance.choice((nic.guest, sec))
        end = sent[wire] + chance.randrange(8)
        wire.send(*frames[sent[wire]:end])
        sent[wire] = min(end, len(frames))
        if chance.random() < 0.1:
            left += nic.client.frames(min(sent.values()) - len(left))
    check(left == frames, "the order")
    nic.client.quiet()
    check_equal(lab.compare_info("x0")["held-frames"], 0, "held frames")


@case(linux=False, reference=False)
def net_direct_worker_in_demand(context: Context) -> None:
    """The main loop waits for the worker, with the BQL, while that has frames
    to let out: neither waits for ever."""
    lab, nic, sec = direct(context, standalone=True)
    drain = Drain(nic.client)
    frames = [packets.udp(b"%d" % number, guest_port=1000 + number // 500)
              for number in range(3000)]

    def feed() -> None:
        for begin in range(0, len(frames), 5):
            part = b"".join(map(sec.encode, frames[begin:begin + 5]))
            if sec.send_some(part, 0.1):
                break

    for number in range(20):
        nic.guest.send(*frames)
        lab.wait_compare("x0", "held-frames", len(frames))
        feeder = threading.Thread(target=feed)
        feeder.start()
        time.sleep(0.0005 * number)
        lab.delete("x0")
        feeder.join()
        sec.close()
        lab.wait_connected("sec", False)
        lab.add("colo-compare", "x0", netdev="n0", secondary="sec",
                standalone=True)
        sec = lab.wire("sec", vnet=True)
    drain.stop()
    lab.quit()


@case(linux=False, reference=False)
def net_direct_netdev_goes(context: Context) -> None:
    """netdev_del under it, with frames held; the object stays harmless."""
    lab, nic, sec = direct(context, standalone=True)
    nic.guest.send(packets.udp(b"held"))
    lab.wait_compare("x0", "held-frames", 1)
    lab.qmp.cmd("netdev_del", {"id": "n0"})
    sec.send(packets.udp(b"held"))
    lab.wait_compare("x0", "held-frames", 0)
    lab.delete("x0")
    lab.qmp.cmd("chardev-remove", {"id": "sec"})
    lab.quit()


@case(linux=False, reference=False)
def net_direct_quit(context: Context) -> None:
    """QEMU ends in order while it holds frames and reads more."""
    lab, nic, _ = direct(context, standalone=True)
    nic.guest.send(*mixture(2, 200))
    lab.wait_compare("x0", "held-frames", 200)
    lab.quit()


@case(linux=False, reference=False)
def net_direct_eight_nics(context: Context) -> None:
    """Eight NICs, each with its comparer; frames stay in theirs."""
    lab = Lab(context)
    nics = [lab.nic(f"n{number}") for number in range(8)]
    lab.chardev(*[f"sec{number}" for number in range(8)])
    for number in range(8):
        lab.add("colo-compare", f"x{number}", netdev=f"n{number}",
                secondary=f"sec{number}", standalone=True)
    secs = lab.wires(*[f"sec{number}" for number in range(8)], vnet=True)
    frames = [[packets.udp(b"%d %d" % (number, n)) for n in range(100)]
              for number in range(8)]
    for number in range(8):
        nics[number].guest.send(*frames[number])
        secs[7 - number].send(*frames[7 - number])
    for number in range(8):
        check_equal(nics[number].client.frames(100), frames[number],
                    f"what left NIC {number}")
    told = lab.qmp.cmd("query-colo")["nics"]
    check_equal([(n["id"], n["netdev"], n["compare"]["matched-frames"])
                 for n in told], [(f"x{n}", f"n{n}", 100) for n in range(8)],
                "query-colo")
    lab.quit()


@case(linux=False)
def net_rewriter_without_a_pair(context: Context) -> None:
    """Without a pair a filter-rewriter changes nothing."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.add("filter-rewriter", "r0", netdev="n0")
    frames = [packets.tcp(1000, flags=packets.SYN | packets.ACK)]
    frames += mixture(3, 100)
    nic.guest.send(*frames)
    check(nic.client.frames(101) == frames, "the guest's frames")
    nic.client.send(*frames)
    check(nic.guest.frames(101) == frames, "the clients' frames")


@case(linux=False, reference=False)
def net_rewriter_primary_without_a_pair(context: Context) -> None:
    """Nor does one with `primary`; what comes from there is dropped."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("c0")
    lab.add("filter-rewriter", "r0", netdev="n0", primary="c0")
    primary = lab.wire("c0", vnet=True)
    primary.send_marker(1)
    primary.send(packets.udp(b"from a primary that is none"))
    nic.guest.quiet()
    for frame in mixture(4, 20):
        nic.guest.send(frame)
        check_equal(nic.client.frame(), frame, "the guest's frame")
        nic.client.send(frame)
        check_equal(nic.guest.frame(), frame, "the client's frame")
    primary.quiet(0.1)
    info = lab.nic_info("r0")
    check_equal((info["netdev"], info["rewriter"]), ("n0", {
        "flows": 0, "learned": 0, "refused": 0, "rewritten-frames": 0,
        "kept-frames": 0, "kept-bytes": 0, "unkept-frames": 0,
        "resent-frames": 0, "early-frames": 0, "settling": 0}),
                "query-colo")
