# SPDX-License-Identifier: GPL-2.0-or-later
"""colo-compare through its chardevs, without a pair (standalone=on).

We are both guests and the client.  What both sent leaves, once, in the
primary's order; nothing else ever leaves.
"""

import dataclasses
import random
import struct
import time
from typing import Any, Dict, List

import packets
from colo import procs
from colo.case import Context, add, case, check, check_equal
from netlab import Lab
from wires import Wire

VNET_BYTES = 12
NEEDS_CSUM, GSO_TCPV4 = 1, 1
MIB = 1 << 20
STALL_LIMIT_MIB = 64
ANSWER_LIMIT_S = 1.0
CHARDEVS = {"primary_in": "pri", "secondary_in": "sec", "outdev": "out"}


@dataclasses.dataclass
class Bench:
    """One comparer and our ends of its chardevs."""

    lab: Lab
    pri: Wire
    sec: Wire
    out: Wire

    def both(self, *frames: bytes) -> None:
        """Both guests send; all of it leaves in the primary's order."""
        self.pri.send(*frames)
        self.sec.send(*frames)
        got = self.out.frames(len(frames))
        check(got == list(frames), f"what left: {got}")

    def info(self) -> Dict[str, Any]:
        """Its counters."""
        return self.lab.compare_info("x0")

    def mismatches(self) -> Dict[str, int]:
        """Differences by reason."""
        return {m["reason"]: m["count"] for m in self.info()["mismatches"]}


def bench(context: Context, vnet: bool = False, name: str = "lab",
          **properties: Any) -> Bench:
    """A comparer, connected at all ends."""
    lab = Lab(context, name)
    lab.chardev("pri", "sec", "out")
    lab.add("colo-compare", "x0", standalone=True, vnet_hdr_support=vnet,
            **CHARDEVS, **properties)
    return Bench(lab, *lab.wires("pri", "sec", "out", vnet=vnet))


def mixture(seed: int, count: int) -> List[bytes]:
    """Frames of several flows and kinds, in a random order.

    Each seed has TCP connections of its own.
    """
    rng = random.Random(seed)
    seqs = [rng.getrandbits(32) for _ in range(8)]
    frames = []
    for number in range(count):
        flow = rng.randrange(8)
        data = rng.randbytes(rng.randrange(1, 1400))
        if flow < 4:
            frames.append(packets.tcp(seqs[flow], data, client_port=seed,
                                      guest_port=80 + flow,
                                      flags=packets.ACK | packets.PSH))
            seqs[flow] += len(data)
        elif flow < 6:
            frames.append(packets.udp(data, guest_port=53 + flow))
        elif flow == 6:
            frames.append(packets.arp(1 + number % 2))
        else:
            frames.append(packets.ethernet(data, 0x88B5))
    return frames


@case(linux=False, reference=False)
def net_compare_equal(context: Context) -> None:
    """Equal frames leave once and in order, whoever is first."""
    made = bench(context)
    frames = mixture(1, 400)
    for begin in range(0, 400, 100):
        made.both(*frames[begin:begin + 100])
    later = mixture(2, 50)
    made.sec.send(*later)
    made.out.quiet()
    made.pri.send(*later)
    check(made.out.frames(50) == later, "frames the secondary sent first")
    made.out.quiet()
    info = made.info()
    check_equal(info["mismatches"], [], "mismatches")
    check_equal((info["primary-frames"], info["secondary-frames"],
                 info["released-frames"], info["matched-frames"],
                 info["held-frames"]), (450, 450, 450, 450, 0), "counters")


@case(linux=False, reference=False)
def net_compare_alone_nothing_leaves(context: Context) -> None:
    """What only one of them sent does not leave."""
    made = bench(context)
    made.pri.send(packets.udp(b"only the primary"), packets.arp())
    made.sec.send(packets.tcp(1, b"only the secondary"))
    made.out.quiet()
    made.lab.wait_compare("x0", "held-frames", 2)
    made.sec.send(packets.udp(b"only the primary"), packets.arp())
    made.out.frames(2)


DIFFERENT = {
    "udp bytes": (packets.udp(b"one"), packets.udp(b"two"), "payload"),
    "udp length": (packets.udp(b"one"), packets.udp(b"three"), "length"),
    "tcp bytes": (packets.tcp(7, b"one"), packets.tcp(7, b"two"), "payload"),
    "tcp fin": (packets.tcp(7, b"one", flags=packets.ACK | packets.FIN),
                packets.tcp(7, b"one, two"), "fin"),
    "arp": (packets.arp(1), packets.arp(1)[:27] + b"\x09"
            + packets.arp(1)[28:], "payload"),
    "opaque": (packets.ethernet(b"one", 0x88B5),
               packets.ethernet(b"two", 0x88B5), "payload"),
}


def different(context: Context, what: str) -> None:
    """The frame stays, others of its flow too; other flows go on."""
    ours, theirs, reason = DIFFERENT[what]
    made = bench(context)
    other = packets.udp(b"of another flow", guest_port=123)
    made.pri.send(ours, ours)
    made.sec.send(theirs, theirs)
    made.both(other)
    made.out.quiet()
    check_equal(made.mismatches().get(reason), 1, f"'{reason}' counted in "
                f"{made.mismatches()}")
    check(made.info()["asked-checkpoints"] >= 1, "no checkpoint asked for")
    check(made.info()["held-frames"] >= 1, "nothing is held")
    made.sec.send(ours)
    made.out.quiet()


@case(linux=False, reference=False)
def net_compare_segmentation(context: Context) -> None:
    """TCP is compared as a stream, cut into segments anyhow."""
    made = bench(context)
    data = random.Random(3).randbytes(40000)
    made.pri.send(*[packets.tcp(100 + at, data[at:at + 1448])
                    for at in range(0, len(data), 1448)])
    made.sec.send(*[packets.tcp(100 + at, data[at:at + 500],
                                identification=at & 0xFFFF)
                    for at in range(0, len(data), 500)])
    check(stream(made.out, 100, len(data)) == data, "the stream that left")


def stream(wire: Wire, first_seq: int, size: int,
           begun: bytes = b"") -> bytes:
    """The bytes of a TCP stream, whatever its segments."""
    data = bytearray(begun)
    while len(data) < size:
        frame = wire.frame()
        at = packets.tcp_seq(frame) - first_seq
        check(0 <= at <= len(data), f"a hole at {len(data)}: {at}")
        part = packets.tcp_data(frame)
        data[at:at + len(part)] = part
    return bytes(data)


@case(linux=False, reference=False)
def net_compare_only_what_is_proven(context: Context) -> None:
    """Half a segment of the secondary lets half a segment out."""
    made = bench(context)
    data = bytes(range(250)) * 4
    made.pri.send(packets.tcp(100, data))
    made.out.quiet()
    made.sec.send(packets.tcp(100, data[:500]))
    frame = made.out.frame()
    check_equal((packets.tcp_seq(frame), packets.tcp_data(frame)),
                (100, data[:500]), "the part that left")
    made.out.quiet()
    made.sec.send(packets.tcp(600, data[500:]))
    check(stream(made.out, 100, 1000, data[:500]) == data, "the rest")


@case(linux=False, reference=False)
def net_compare_timeout(context: Context) -> None:
    """A frame without its twin asks for a checkpoint, and stays."""
    made = bench(context, compare_timeout=150)
    frame = packets.udp(b"late")
    begin_s = time.monotonic()
    made.pri.send(frame)
    procs.wait_until(lambda: made.mismatches().get("timeout"), 5,
                     "the timeout counted", 0.005)
    waited_s = time.monotonic() - begin_s
    # Without the property it would be three seconds.
    check(0.15 <= waited_s < 2.5, f"counted after {waited_s} s")
    check(made.info()["asked-checkpoints"] >= 1, "no checkpoint asked for")
    made.out.quiet()
    check_equal(made.info()["held-frames"], 1, "held frames")
    check(made.lab.set("x0", "compare_timeout", 3600000) is None, "set")
    made.pri.send(packets.udp(b"patient", guest_port=99))
    made.sec.send(packets.udp(b"patient", guest_port=99))
    check_equal(made.out.frame(), packets.udp(b"patient", guest_port=99),
                "another flow")


@case(linux=False, reference=False)
def net_compare_queue_limit(context: Context) -> None:
    """At a flow's bound a checkpoint is asked for, nothing is dropped."""
    made = bench(context, max_queue_size=8)
    frames = [packets.udp(b"%d" % number) for number in range(200)]
    made.pri.send(*frames)
    made.lab.wait_compare("x0", "held-frames", 200)
    check_equal(list(made.mismatches()), ["queue"], "mismatches")
    check(made.info()["asked-checkpoints"] >= 1, "no checkpoint asked for")
    made.out.quiet(0.1)
    prove_slowly(made, frames)


def prove_slowly(made: Bench, frames: List[bytes]) -> None:
    """The secondary sends, few at a time: all leaves, in order."""
    for begin in range(0, len(frames), 4):
        made.sec.send(*frames[begin:begin + 4])
        check_equal(made.out.frames(4), frames[begin:begin + 4],
                    "what the secondary proved")


@case(linux=False, reference=False)
def net_compare_held_limit(context: Context) -> None:
    """At the bound of all held bytes the primary has to wait."""
    made = bench(context, max_held_bytes=100000)
    frames = [packets.udp(b"%d" % number + bytes(900),
                          guest_port=1 + number % 10)
              for number in range(2000)]
    data = b"".join(map(made.pri.encode, frames))
    left = made.pri.send_some(data, 0.5)
    check(left > len(data) / 2, f"only {left} of {len(data)} have to wait")
    check(made.info()["held-bytes"] < 150000, f"{made.info()['held-bytes']} "
          "bytes are held")
    check("queue" in made.mismatches(), f"{made.mismatches()}")
    made.out.quiet(0.1)
    prove_slowly(made, frames[:100])
    check(made.lab.set("x0", "max_held_bytes", 1 << 30) is None, "set")
    made.pri.send_raw(data[len(data) - left:])
    prove_slowly(made, frames[100:])


@case(linux=False, reference=False)
def net_compare_without_reader(context: Context) -> None:
    """What may leave when nobody listens is lost, and counted."""
    lab = Lab(context)
    lab.chardev("pri", "sec", "out")
    lab.add("colo-compare", "x0", standalone=True, **CHARDEVS)
    pri, sec = lab.wires("pri", "sec")
    check_equal(lab.compare_info("x0")["connected"], True, "connected")
    for wire in (pri, sec):
        wire.send(*[packets.udp(b"%d" % n) for n in range(10)])
    lab.wait_compare("x0", "lost-frames", 10)
    made = Bench(lab, pri, sec, lab.wire("out"))
    made.both(packets.udp(b"heard"))
    sec.close()
    lab.wait_compare("x0", "connected", False)


# ----------------------------------------------------------- vnet, GSO

def vnet_header(gso_size: int = 0, csum: bool = False) -> bytes:
    """virtio_net_hdr_mrg_rxbuf for TCP over IPv4 without options."""
    return struct.pack("<BBHHHHH", NEEDS_CSUM if csum else 0,
                       GSO_TCPV4 if gso_size else 0, 54 if gso_size else 0,
                       gso_size, 34 if csum else 0, 16 if csum else 0, 0)


@case(linux=False, reference=False)
def net_compare_vnet_header(context: Context) -> None:
    """With vnet_hdr_support each frame leaves with the primary's header."""
    made = bench(context, vnet=True)
    for number in range(20):
        frame = packets.tcp(100 + 10 * number, b"0123456789")
        made.pri.send(frame, vnet=vnet_header(csum=True))
        made.sec.send(frame, vnet=vnet_header())
        check_equal(made.out.frame(), frame, "the frame that left")
        check_equal(made.out.last_vnet, vnet_header(csum=True),
                    "its vnet header")
    check_equal(made.info()["mismatches"], [], "mismatches")


@case(linux=False, reference=False)
def net_compare_large_segments(context: Context) -> None:
    """GSO frames of 64 KiB against the same stream in small segments."""
    made = bench(context, vnet=True)
    data = random.Random(4).randbytes(4 * 60000)
    for at in range(0, len(data), 60000):
        made.pri.send(packets.tcp(100 + at, data[at:at + 60000]),
                      vnet=vnet_header(1448, True))
        made.sec.send(*[packets.tcp(100 + part, data[part:part + 1000])
                        for part in range(at, at + 60000, 1000)],
                      vnet=vnet_header())
    check(stream(made.out, 100, len(data)) == data, "the stream that left")
    large = packets.udp(bytes(65507 - 8))
    made.pri.send(large, vnet=vnet_header())
    made.sec.send(large, vnet=vnet_header())
    limit_s = time.monotonic() + 5
    while made.out.frame() != large:
        check(time.monotonic() < limit_s, "the large datagram never left")
    check_equal(made.info()["mismatches"], [], "mismatches")


# ------------------------------------------------------- bad neighbours

GARBAGE = {
    "length 0": b"\0\0\0\0",
    "an absurd length": b"\x7f\xff\xff\xff" + bytes(64),
    "text": b"GET / HTTP/1.0\r\n\r\n",
    "an unknown marker": b"\xc0\x10\0\x01" + b"\0\0\0\x09" + bytes(8),
}
VNET_GARBAGE = {
    "a vnet header longer than its frame": b"\0\0\0\x40\0\0\0\x41",
    "an unknown length of vnet header": b"\0\0\0\x40\0\0\0\x20",
    "a frame without vnet header": b"\0\0\0\x2a" + packets.arp(),
}


def garbage(context: Context, vnet: bool) -> None:
    """Words, the end of this connection and of no other; then again."""
    made = bench(context, vnet=vnet)
    words = 0
    for name in ("pri", "sec"):
        for what, data in {**GARBAGE, **(VNET_GARBAGE if vnet
                                         else {})}.items():
            words += 1
            wire = getattr(made, name)
            wire.send_raw(data)
            wire.wait_closed()
            text = f"chardev '{name}' does not bring frames: "
            procs.wait_until(
                lambda: made.lab.log().count("does not bring") == words, 5,
                f"words about {what}")
            check(text in made.lab.log(), f"no '{text}' in the log")
            wire.close()
            setattr(made, name, made.lab.wire(name, vnet))
            made.both(packets.tcp(1, what.encode(),
                                  guest_port=1000 + words))
    made.lab.quit()


@case(linux=False, reference=False)
def net_compare_half_a_frame(context: Context) -> None:
    """A new connection begins with a frame's first byte."""
    made = bench(context)
    for name in ("pri", "sec"):
        wire = getattr(made, name)
        wire.send_raw(wire.encode(packets.arp())[:20])
        wire.close()
        made.lab.wait_connected(name, False)
        setattr(made, name, made.lab.wire(name))
        made.both(packets.tcp(1, b"after", guest_port=ord(name[0])))


@case(linux=False, reference=False)
def net_compare_stalled_reader(context: Context) -> None:
    """Nobody reads outdev: memory is bounded, and nothing gets lost."""
    made = bench(context)
    qmp = made.lab.qmp
    data = random.Random(5).randbytes(60000)
    seq = taken = 0
    before_kib = made.lab.machine.rss_kib()
    while taken < 4 * STALL_LIMIT_MIB * MIB:
        block = b"".join(made.pri.encode(packets.tcp(seq + at, data))
                         for at in range(0, 60000 * 16, 60000))
        left = [made.pri.send_some(block, 1.0), 0]
        made.sec.send_raw(block)
        begin_s = time.monotonic()
        qmp.cmd("query-status")
        check(time.monotonic() - begin_s < ANSWER_LIMIT_S, "slow monitor")
        if left[0]:
            break
        seq += 60000 * 16
        taken += len(block)
    grown_mib = (made.lab.machine.rss_kib() - before_kib) / 1024
    context.step(f"{taken / MIB:.0f} MiB taken, grown by {grown_mib:.0f} MiB")
    check(left[0], f"{taken / MIB} MiB were taken that nobody reads")
    check(grown_mib < 4 * STALL_LIMIT_MIB, f"grown by {grown_mib} MiB")
    resume_after_stall(made, block, left, data, seq)


def resume_after_stall(made: Bench, block: bytes, left: List[int],
                       data: bytes, seq: int) -> None:
    """Once the output is read, all comes, and the rest is taken.

    Nothing new arrives from the secondary meanwhile: draining alone has to
    set the primary going again.
    """
    for at in range(0, seq, 60000):
        frame = made.out.frame()
        check(packets.tcp_seq(frame) == at and packets.tcp_data(frame)
              == data, f"the frame at {at} of {seq}")
    made.pri.send_raw(block[len(block) - left[0]:])
    if left[1]:
        made.sec.send_raw(block[len(block) - left[1]:])
    check(stream(made.out, seq, 60000 * 16) == data * 16, "the last block")


@case(linux=False, reference=False)
def net_compare_reconnecting_client(context: Context) -> None:
    """Chardevs that connect by themselves, again and again."""
    lab = Lab(context)
    listeners = [lab.calling_chardev(name) for name in CHARDEVS.values()]
    lab.add("colo-compare", "x0", standalone=True, **CHARDEVS)
    for number in range(4):
        wires = [Wire(listener.accept()[0]) for listener in listeners]
        for name in CHARDEVS.values():
            lab.wait_connected(name)
        made = Bench(lab, *wires)
        made.both(packets.tcp(1, b"hello", guest_port=2000 + number))
        for wire in wires:
            wire.close()
    lab.quit()


def _register() -> None:
    for what in DIFFERENT:
        def body(context: Context, what: str = what) -> None:
            different(context, what)
        body.__doc__ = f"what differs does not leave: {what}"
        add(f"net_compare_differs_{what.replace(' ', '_')}", body,
            linux=False, reference=False)
    for vnet in (False, True):
        def bad(context: Context, vnet: bool = vnet) -> None:
            garbage(context, vnet)
        word = "with" if vnet else "without"
        bad.__doc__ = f"garbage on an input {word} vnet headers"
        add(f"net_compare_garbage_{word}_vnet", bad, linux=False,
            reference=False)


_register()
