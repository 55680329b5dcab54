# SPDX-License-Identifier: GPL-2.0-or-later
"""What the network does when the secondary takes over: nobody waits.

Two real QEMUs; we are the NIC's guest and its clients at the secondary, and
the primary's end of the streams between the two sides, until all of it dies.
"""

import threading
from typing import Any, Dict, List, NamedTuple

import packets
from colo.case import Context, add, check, check_equal
from colo.pair import Pair
from netlab import Nic
from packets import ACK, PSH
from test_net_pair import PairLab, epoch, protected
from wires import Wire

FORMS = ("direct", "chardev")
EARLY_S = 1.0               # how long a request that came early is kept
FLOW_LIMIT_BYTES = 8 << 20
FRAME_BYTES = 60000
QUIET_S = 0.2


class Side(NamedTuple):
    """The secondary of a pair, and our ends of it."""

    pair: Pair
    lab: PairLab
    nic: Nic
    mirror: Wire            # to it: what clients sent
    answers: Wire           # from it: what its guest says

    def guest_says(self, *frames: bytes) -> None:
        """And the primary hears it."""
        self.nic.guest.send(*frames)
        for frame in frames:
            check_equal(self.answers.frame(), frame, "an answer")

    def guest_hears(self, *frames: bytes) -> None:
        """By the mirror."""
        self.mirror.send(*frames)
        for frame in frames:
            check_equal(self.nic.guest.frame(), frame, "a request")

    def info(self) -> Dict[str, Any]:
        """The counters of the rewriter."""
        return dict(self.lab.nic_info("rew0")["rewriter"])

    def checkpoint(self) -> None:
        """One more, up to which all streams are marked."""
        self.pair.p.qmp.cmd("colo-checkpoint")
        number = epoch(self.pair)
        item = self.answers.item()
        while item.marker is None or item.marker.epoch != number:
            item = self.answers.item()
        self.mirror.send_marker(number)

    def lose_primary(self, count: int = 0) -> List[bytes]:
        """It dies, and the secondary is told at once.

        Returns the first frames that the clients get. This kind of netdev
        waits for readers, and QEMU's answer may have to wait with it.
        """
        self.pair.p.kill()
        survivor = self.pair.secondary()
        told = threading.Thread(target=survivor.qmp.cmd,
                                args=("x-colo-lost-heartbeat",))
        told.start()
        frames = self.nic.client.frames(count)
        told.join()
        self.pair.wait_alone(survivor)
        return frames

    def check_counts(self, resent: int, early: int) -> None:
        """So many frames went out again, so many were given to the guest."""
        info = self.info()
        check_equal((info["resent-frames"], info["early-frames"],
                     info["kept-frames"], info["kept-bytes"]),
                    (resent, early, 0, 0), "resent, early and kept")


def make(context: Context, form: str) -> Side:
    """A secondary in lockstep, with a NIC of that form."""
    pair = protected(context)
    lab = PairLab(context, pair.secondary())
    nic = lab.nic("n0")
    if form == "direct":
        lab.chardev("c0")
        lab.add("filter-rewriter", "rew0", netdev="n0", primary="c0")
        mirror = answers = lab.wire("c0", vnet=True)
    else:
        lab.chardev("red0", "red1")
        lab.add("filter-redirector", "f1", netdev="n0", queue="tx",
                indev="red0")
        lab.add("filter-redirector", "f2", netdev="n0", queue="rx",
                outdev="red1")
        lab.add("filter-rewriter", "rew0", netdev="n0", queue="all")
        mirror, answers = lab.wires("red0", "red1")
    side = Side(pair, lab, nic, mirror, answers)
    side.checkpoint()
    return side


def turned(frame: bytes) -> bytes:
    """The same the other way round: sums do not mind."""
    return (frame[6:12] + frame[:6] + frame[12:26] + frame[30:34]
            + frame[26:30] + frame[36:38] + frame[34:36] + frame[38:])


def request(seq: int, data: bytes = b"", ack: int = 1,
            **more: Any) -> bytes:
    """A segment of the client."""
    return turned(packets.tcp(seq, data, ack, **more))


def answers_go_out_again(context: Context, form: str) -> None:
    """What nobody has acknowledged; once, in order, and nothing else."""
    side = make(context, form)
    said = [packets.tcp(100 + 10 * n, bytes([n]) * 10, 50, ACK | PSH)
            for n in range(5)]
    other = packets.tcp(7, b"of another flow", 9, client_port=99)
    side.guest_says(said[0], said[1], packets.udp(b"a datagram"), said[2],
                    other, packets.arp(), said[3], said[4])
    side.guest_hears(request(50, ack=120))
    check_equal(side.info()["kept-frames"], 4, "frames that are kept")
    side.nic.client.quiet(QUIET_S)
    check_equal(side.lose_primary(4), [said[2], other, *said[3:]],
                "what went out again")
    side.nic.client.quiet(QUIET_S)
    side.check_counts(4, 0)
    fresh = packets.tcp(150, b"fresh", 50)
    side.nic.guest.send(fresh)
    check_equal(side.nic.client.frame(), fresh, "what the guest says then")
    side.nic.client.quiet(QUIET_S)


def an_upload_goes_on(context: Context, form: str) -> None:
    """A client that waits for an acknowledgement alone gets the last."""
    side = make(context, form)
    side.guest_hears(request(50, b"x" * 900, 100))
    side.guest_says(packets.tcp(100, ack=400), packets.tcp(100, ack=950))
    check_equal(side.lose_primary(1), [packets.tcp(100, ack=950)],
                "the last word")
    side.nic.client.quiet(QUIET_S)
    side.check_counts(1, 0)


def not_of_an_older_epoch(context: Context, form: str) -> None:
    """A checkpoint makes the guest another one."""
    side = make(context, form)
    side.guest_says(packets.tcp(100, b"in epoch n", 50))
    check_equal(side.info()["kept-frames"], 1, "frames that are kept")
    side.checkpoint()
    check_equal(side.info()["kept-frames"], 0, "frames that are kept then")
    later = packets.tcp(200, b"in epoch n + 1", 50)
    side.guest_says(later)
    check_equal(side.lose_primary(1), [later], "of this epoch")
    side.nic.client.quiet(QUIET_S)
    side.check_counts(1, 0)


def requests_that_came_early(context: Context, form: str) -> None:
    """They reach the guest once it is alone; no other frames do."""
    side = make(context, form)
    client = side.nic.client
    client.send(request(40, b"before the guest has said anything"))
    side.guest_says(packets.tcp(100, b"answer", 50))
    client.send(request(50, b"too old", 106))
    side.nic.guest.quiet(EARLY_S + 0.1)
    mirrored = request(57, b"comes both ways", 106)
    wanted = [request(72, b"one", 106), request(75, b"two", 106)]
    client.send(mirrored)
    side.guest_hears(mirrored)
    for frame in (wanted[0], turned(packets.udp(b"datagram")),
                  turned(packets.arp()), b"\xff" * 6 + wanted[0][6:],
                  b"\x02" * 6 + wanted[0][6:], wanted[1]):
        client.send(frame)
    side.lose_primary()         # soon: they are kept for a second
    check_equal(side.nic.guest.frames(2), wanted, "early requests")
    side.nic.guest.quiet(QUIET_S)
    client.quiet(QUIET_S)   # they acknowledge the answer
    side.check_counts(0, 2)
    client.send(wanted[1])
    check_equal(side.nic.guest.frame(), wanted[1], "what comes then")


def bounded(context: Context, form: str) -> None:
    """A client that never acknowledges costs bounded memory."""
    side = make(context, form)
    count = 2 * FLOW_LIMIT_BYTES // FRAME_BYTES
    for number in range(count):
        side.guest_says(packets.tcp(number * FRAME_BYTES,
                                    bytes(FRAME_BYTES), 50))
    info = side.info()
    check(FLOW_LIMIT_BYTES - 2 * FRAME_BYTES < info["kept-bytes"]
          <= FLOW_LIMIT_BYTES, f"kept {info['kept-bytes']} bytes")
    check_equal(info["kept-frames"] + info["unkept-frames"], count,
                "frames kept and not")
    found = [packets.tcp_seq(frame)
             for frame in side.lose_primary(info["kept-frames"])]
    check_equal(found, [number * FRAME_BYTES for number in range(
        info["unkept-frames"], count)], "the newest")
    side.check_counts(info["kept-frames"], 0)


def _register() -> None:
    for function in (answers_go_out_again, an_upload_goes_on,
                     not_of_an_older_epoch, requests_that_came_early,
                     bounded):
        for form in FORMS:
            def body(context: Context, function: Any = function,
                     form: str = form) -> None:
                function(context, form)
            body.__doc__ = f"{form}: {function.__doc__}"
            add(f"net_takeover_{function.__name__}_{form}", body,
                timeout_s=60, linux=False, reference=False)


_register()
