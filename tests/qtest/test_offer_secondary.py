# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes that are offered: what the secondary does with an offer.

The lab plays the primary (offerlab.py): it makes offers, and writes to the
secondary's disk over NBD.  "The disk" is what lies there for the primary,
"the guest" what this side's guest sees.
"""

from typing import Any, Callable, List, Tuple

import wireframe
from colo import procs
from colo.case import Context, add, case, check, check_equal
from offerlab import (ACCEPTED, DECLINED, KIB, MIB, SIZE_MIB, SOON_S,
                      WAITS, OfferLab)

SIZE = 256 * KIB
PLACE = 4 * MIB + 512
TRIES = 40


def bytes_of(text: str, size: int = SIZE) -> bytes:
    """Not all alike."""
    part = text.encode() + bytes(range(251))
    return (part * (size // len(part) + 1))[:size]


ONE, OTHER, THIRD = (bytes_of(text) for text in ("one", "other", "third"))
NOTHING = bytes(SIZE)


def accepted(lab: OfferLab, data: bytes = ONE, place: int = PLACE) -> None:
    """The guest writes it, it is offered and taken."""
    lab.s_guest.write(place, data)
    offer = lab.offer_of(data, place)
    check(lab.is_accepted(offer), f"{offer} was declined")
    check_equal(lab.looks(offer), [ACCEPTED], "how it was looked at")


def declined(lab: OfferLab, place: int, **changes: int) -> None:
    """That offer is, and nothing else happens."""
    offer = lab.offer_of(ONE, place, **changes)
    check(not lab.is_accepted(offer), f"{offer} was accepted")
    lab.peer.flush()
    lab.expect_calm()


# -- accepted -------------------------------------------------------------

@case(linux=False, reference=False)
def offer_is_accepted(context: Context) -> None:
    """What the guest has written is on the disk, and nowhere else."""
    lab = OfferLab(context)
    for number, place in enumerate((0, PLACE, SIZE_MIB * MIB - SIZE)):
        accepted(lab, bytes_of(f"number {number}"), place)
        lab.peer.flush()
        lab.wait_own(0)
        for client in (lab.peer, lab.s_guest):
            lab.expect("after it", client, place,
                       bytes_of(f"number {number}"))
    lab.s_guest.write(PLACE, ONE)
    lab.wait_own(SIZE)
    lab.expect_calm()


@case(linux=False, reference=False)
def offer_in_pieces(context: Context) -> None:
    """What was written in several requests is one write of the other."""
    lab = OfferLab(context)
    for start, end in ((100000, SIZE), (0, 50000), (40000, 120000)):
        lab.s_guest.write(PLACE + start, ONE[start:end])
    offer = lab.offer_of(ONE, PLACE)
    check(lab.is_accepted(offer), "it was declined")
    lab.peer.flush()
    lab.wait_own(0)
    lab.expect("the disk", lab.peer, PLACE, ONE)
    lab.expect("the guest", lab.s_guest, PLACE, ONE)


@case(linux=False, reference=False)
def offer_waits_for_the_guest(context: Context) -> None:
    """An offer that comes before the guest's write waits for it."""
    lab = OfferLab(context)
    place = 0
    for _ in range(TRIES):
        offer = lab.offer_of(ONE, place)
        lab.make(offer)
        lab.s_guest.write(place, ONE)
        is_accepted = lab.middle.wait_answer(offer.id)
        lab.peer.flush()
        lab.expect("the guest", lab.s_guest, place, ONE)
        lab.expect("the disk", lab.peer, place,
                   ONE if is_accepted else NOTHING)
        if lab.looks(offer) == [WAITS, ACCEPTED]:
            lab.expect_calm()
            return
        place += SIZE
    raise AssertionError(f"none of {TRIES} offers waited and was accepted")


@case(linux=False, reference=False)
def offer_many_at_once(context: Context) -> None:
    """They are answered one by one, whatever the order."""
    lab = OfferLab(context)
    lab.offer_of(ONE, 0)
    offers = [lab.offer_of(ONE, number * SIZE) for number in range(64)]
    for number, offer in enumerate(offers):
        if number % 2 == 0:
            lab.s_guest.write(offer.offset, ONE)
    for offer in offers:
        lab.make(offer)
    for number, offer in enumerate(offers):
        check_equal(lab.middle.wait_answer(offer.id), number % 2 == 0,
                    f"answer to number {number}")
    lab.peer.flush()
    lab.wait_own(0)
    for number, offer in enumerate(offers):
        lab.expect("the disk", lab.peer, offer.offset,
                   NOTHING if number % 2 else ONE)
    lab.expect_calm()


# -- declined -------------------------------------------------------------

def nothing_written(_lab: OfferLab) -> bytes:
    """The guest has written nothing there."""
    return NOTHING


def other_bytes(lab: OfferLab) -> bytes:
    """It has written something else there."""
    lab.s_guest.write(PLACE, OTHER)
    return NOTHING


def last_byte(lab: OfferLab) -> bytes:
    """It has written the same but for the last byte."""
    lab.s_guest.write(PLACE, ONE[:-1] + b"!")
    return NOTHING


def overwritten(lab: OfferLab) -> bytes:
    """It has written the same, and then one byte of it anew."""
    lab.s_guest.write(PLACE, ONE)
    lab.s_guest.write(PLACE + 70000, b"?")
    return NOTHING


def overwritten_between(lab: OfferLab) -> bytes:
    """The same while offers are made, so that it is hashed at once."""
    accepted(lab, OTHER, PLACE + MIB)
    return overwritten(lab)


def partly_written(lab: OfferLab) -> bytes:
    """It has written most of it; the rest lies on the disk already."""
    lab.peer.write(PLACE, ONE)
    lab.s_guest.write(PLACE + 4096, ONE[4096:])
    return ONE


def lies_on_disk(lab: OfferLab) -> bytes:
    """All of it lies on the disk, and the guest sees it, but wrote nothing."""
    lab.peer.write(PLACE, ONE)
    lab.checkpoint()
    lab.expect("the guest", lab.s_guest, PLACE, ONE)
    return ONE


def before_checkpoint(lab: OfferLab) -> bytes:
    """It has written it before the last checkpoint, which dropped that."""
    lab.s_guest.write(PLACE, ONE)
    lab.checkpoint()
    return NOTHING


def hashed_before_checkpoint(lab: OfferLab) -> bytes:
    """The same when it was hashed as it was written."""
    accepted(lab, OTHER, PLACE + MIB)
    lab.s_guest.write(PLACE, ONE)
    lab.checkpoint()
    lab.s_guest.write(PLACE, OTHER)
    return NOTHING


REASONS: List[Callable[[OfferLab], bytes]] = [
    nothing_written, other_bytes, last_byte, overwritten, overwritten_between,
    partly_written, lies_on_disk, before_checkpoint, hashed_before_checkpoint]


def is_declined(context: Context, reason: Callable[[OfferLab], bytes]) -> None:
    """In vain, after it has waited; nothing is changed."""
    lab = OfferLab(context)
    lab.offer_of(ONE, 0)
    on_disk = reason(lab)
    seen = lab.s_guest.read(PLACE, SIZE)
    offer = lab.offer_of(ONE, PLACE)
    check(not lab.is_accepted(offer), "it was accepted")
    check_equal(lab.looks(offer), [WAITS, DECLINED], "how it was looked at")
    lab.peer.flush()
    lab.expect("the disk", lab.peer, PLACE, on_disk)
    lab.expect("the guest", lab.s_guest, PLACE, seen)
    lab.expect_calm()


@case(linux=False, reference=False)
def offer_of_zeroes(context: Context) -> None:
    """Zeroes of the guest lie nowhere: they are not taken, and not wrong."""
    lab = OfferLab(context)
    lab.peer.write(PLACE, ONE)
    lab.s_guest.zeroes(PLACE, SIZE)
    check(not lab.is_accepted(lab.offer_of(NOTHING, PLACE)), "accepted")
    lab.expect("the disk", lab.peer, PLACE, ONE)
    lab.expect("the guest", lab.s_guest, PLACE, NOTHING)
    lab.expect_calm()


@case(linux=False, reference=False)
def offer_of_nowhere(context: Context) -> None:
    """A disk that there is not, and places beyond the end."""
    lab = OfferLab(context)
    lab.s_guest.write(PLACE, ONE)
    end = SIZE_MIB * MIB
    lab.s_guest.write(end - SIZE, ONE)
    declined(lab, PLACE, disk=lab.offer_of(ONE, 0).disk ^ 1)
    for place in (end, end - SIZE // 2, end - 1, 1 << 40,
                  (1 << 63) - 1 - SIZE):
        declined(lab, place)
    check(lab.is_accepted(lab.offer_of(ONE, end - SIZE)), "at the end")
    check(lab.is_accepted(lab.offer_of(ONE, PLACE)), "in the middle")


@case(linux=False, reference=False)
def offer_goes_to_its_disk(context: Context) -> None:
    """Two disks on which the guest wrote the same at the same place."""
    lab = OfferLab(context, count=2)
    for guest in lab.s_guests:
        guest.write(PLACE, ONE)
    check(lab.is_accepted(lab.offer_of(ONE, PLACE)), "declined")
    lab.peers[0].flush()
    lab.wait_own(0)
    check_equal(lab.buffer(1)["own"], SIZE, "the other disk's")
    lab.expect("the disk", lab.peers[0], PLACE, ONE)
    lab.expect("the other disk", lab.peers[1], PLACE, NOTHING)
    check(not lab.is_accepted(lab.offer_of(ONE, PLACE)), "a second time")
    for guest in lab.s_guests:
        lab.expect("the guest", guest, PLACE, ONE)


# -- meanwhile ------------------------------------------------------------

@case(linux=False, reference=False)
def offer_then_guest_overwrites(context: Context) -> None:
    """The disk gets what was offered, although the guest goes on at once."""
    lab = OfferLab(context, stalls=True)
    lab.s_guest.write(PLACE, ONE)
    offer = lab.offer_of(ONE, PLACE)
    lab.debug("break write_aio A")
    check(lab.is_accepted(offer), "it was declined")
    lab.s_guest.send_write(PLACE, OTHER)
    check(not lab.s_guest.is_answered(SOON_S), "the guest did not wait")
    lab.debug("resume A")
    check_equal(lab.s_guest.finish(), 0, "the guest's write")
    lab.peer.flush()
    lab.expect("the disk", lab.peer, PLACE, ONE)
    lab.expect("the guest", lab.s_guest, PLACE, OTHER)
    check_equal(lab.buffer()["own"], SIZE, "bytes of the guest's own")
    check(lab.is_accepted(lab.offer_of(OTHER, PLACE)), "the next")
    lab.peer.flush()
    lab.expect("the disk", lab.peer, PLACE, OTHER)


@case(linux=False, reference=False)
def offer_then_guest_reads(context: Context) -> None:
    """What is on its way to the disk is seen meanwhile."""
    lab = OfferLab(context, stalls=True)
    lab.s_guest.write(PLACE, ONE)
    offer = lab.offer_of(ONE, PLACE)
    lab.debug("break write_aio A")
    check(lab.is_accepted(offer), "it was declined")
    lab.expect("the guest", lab.s_guest, PLACE, ONE)
    lab.peer.send_flush()
    check(not lab.peer.is_answered(SOON_S), "a flush did not wait")
    lab.debug("resume A")
    check_equal(lab.peer.finish(), 0, "the flush")
    lab.expect("the guest", lab.s_guest, PLACE, ONE)
    lab.expect("the disk", lab.peer, PLACE, ONE)


@case(linux=False, reference=False)
def offer_then_peer_writes(context: Context) -> None:
    """The guest still sees its own when the primary has gone on."""
    lab = OfferLab(context)
    accepted(lab)
    lab.peer.write(PLACE + 4096, OTHER[4096:])
    lab.expect("the disk", lab.peer, PLACE, ONE[:4096] + OTHER[4096:])
    lab.expect("the guest", lab.s_guest, PLACE, ONE)
    check_equal(lab.buffer()["undo"], SIZE - 4096, "bytes of undo")
    lab.take_over()
    lab.expect("the survivor", lab.s_guest, PLACE, ONE)
    lab.expect("its image", lab.peer, PLACE, ONE)


@case(linux=False, reference=False)
def offer_while_peer_writes(context: Context) -> None:
    """No offer is accepted where a write of the primary's is on its way."""
    lab = OfferLab(context, stalls=True)
    offer = lab.offer_of(ONE, PLACE)
    lab.s_guest.write(PLACE, ONE)
    lab.debug("break write_aio A")
    lab.peer.send_write(PLACE + SIZE - 512, OTHER)
    lab.peer.is_answered(SOON_S)    # at once, or when it is on the disk
    check(not lab.is_accepted(offer), "it was accepted")
    lab.debug("resume A")
    check_equal(lab.peer.finish(), 0, "the primary's write")
    lab.peer.flush()
    lab.expect("the disk", lab.peer, PLACE + SIZE - 512, OTHER)
    lab.expect("the guest", lab.s_guest, PLACE, ONE)
    check(lab.is_accepted(lab.offer_of(ONE, PLACE)), "afterwards")
    lab.peer.flush()
    lab.expect("the disk", lab.peer, PLACE, ONE)
    lab.expect("the disk", lab.peer, PLACE + SIZE, OTHER[512:])


# -- what comes next ------------------------------------------------------

@case(linux=False, reference=False)
def offer_then_checkpoint(context: Context) -> None:
    """What was accepted belongs to the state that is loaded."""
    lab = OfferLab(context)
    lab.s_guest.write(PLACE + MIB, OTHER)
    accepted(lab)
    lab.checkpoint()
    lab.expect("the disk", lab.peer, PLACE, ONE)
    lab.expect("the guest", lab.s_guest, PLACE, ONE)
    lab.expect("the guest", lab.s_guest, PLACE + MIB, NOTHING)
    lab.peer.write(PLACE, OTHER)
    lab.expect("the guest", lab.s_guest, PLACE, ONE)
    lab.expect_calm()


@case(linux=False, reference=False)
def offer_then_takeover(context: Context) -> None:
    """The survivor has what it saw, on its disk as well."""
    lab = OfferLab(context)
    lab.peer.write(PLACE + MIB, OTHER)
    accepted(lab)
    lab.s_guest.write(PLACE + 2 * MIB, THIRD)
    lab.take_over()
    for place, data in ((PLACE, ONE), (PLACE + MIB, NOTHING),
                        (PLACE + 2 * MIB, THIRD)):
        lab.expect("the survivor", lab.s_guest, place, data)
        lab.expect("its image", lab.peer, place, data)


@case(linux=False, reference=False)
def offer_then_takeover_at_once(context: Context) -> None:
    """The primary dies while what was accepted is on its way to the disk."""
    lab = OfferLab(context)
    contents = (ONE, OTHER, THIRD) * 7
    offers = [lab.offer_of(data, PLACE + number * MIB)
              for number, data in enumerate(contents)]
    for offer, data in zip(offers, contents):
        lab.s_guest.write(offer.offset, data)
    for offer in offers:
        lab.make(offer)
    lab.middle.wait_answer(offers[-1].id)
    lab.take_over()
    for offer, data in zip(offers, contents):
        lab.expect("the survivor", lab.s_guest, offer.offset, data)
        lab.expect("its image", lab.peer, offer.offset, data)


@case(linux=False, reference=False)
def offer_then_end(context: Context) -> None:
    """The primary ends the pair and has on this disk what was accepted."""
    lab = OfferLab(context)
    lab.s_guest.write(PLACE + MIB, OTHER)
    accepted(lab)
    lab.s.qmp.cmd("quit")
    check_equal(lab.s.wait_exit(), 0, "exit code")
    with open(lab.pair.disk.image("secondary"), "rb") as image:
        image.seek(PLACE)
        check(image.read(SIZE) == ONE, "the image lacks it")
        image.seek(PLACE + MIB)
        check(image.read(SIZE) == NOTHING, "the image has the guest's own")
    lab.wait_lost(lab.p)


@case(linux=False, reference=False)
def offer_before_request(context: Context) -> None:
    """An offer that waits is answered before the checkpoint goes on."""
    lab = OfferLab(context)
    offers = [lab.offer_of(ONE, PLACE + number * MIB) for number in range(3)]

    def ask() -> None:
        for offer in offers:
            lab.make(offer)
    lab.middle.before["REQUEST"] = ask
    lab.checkpoint()
    order = [(name, number) for name, number in lab.middle.order
             if name in ("ANSWER", "REPLY")]
    for offer in offers:
        check(("ANSWER", offer.id) in order, f"{offer.id} has no answer")
        check(order.index(("ANSWER", offer.id)) < order.index(("REPLY", 0)),
              f"answered behind the REPLY: {order}")
    lab.expect_calm()


# -- rubbish --------------------------------------------------------------

RUBBISH = {
    "no_bytes": {"bytes": 0},
    "few_bytes": {"bytes": 64 * KIB - 1},
    "too_many_bytes": {"bytes": 8 * MIB + 1},
    "no_disk": {"disk": 0},
    "beyond_all": {"offset": (1 << 63) - SIZE + 1},
}


def garbage(context: Context, spoil: Callable[[bytes], bytes],
            word: str) -> None:
    """The session ends and says why; QEMU, and the guest's disk, live on."""
    lab = OfferLab(context)
    accepted(lab)
    payload = spoil(lab.offer_of(ONE, PLACE).encode())
    lab.middle.say("secondary", "OFFER", payload)
    info = lab.wait_lost(lab.s)
    check_equal(info["cause"], "garbage", "cause")
    check(word in info["reason"], f"no '{word}' in '{info['reason']}'")
    lab.wait_lost(lab.p)
    lab.p.qmp.cmd("query-status")
    lab.take_over()
    lab.expect("the survivor", lab.s_guest, PLACE, ONE)


def spoiled(**changes: int) -> Callable[[bytes], bytes]:
    """With other numbers."""
    def spoil(payload: bytes) -> bytes:
        fields: List[Any] = list(wireframe.OFFER.unpack(payload))
        for at, name in enumerate(("id", "disk", "offset", "bytes")):
            fields[at] = changes.get(name, fields[at])
        return wireframe.OFFER.pack(*fields)
    return spoil


@case(linux=False, reference=False)
def offer_out_of_turn(context: Context) -> None:
    """An offer in the middle of a checkpoint ends the protection."""
    lab = OfferLab(context)
    offer = lab.offer_of(ONE, PLACE)
    lab.middle.before["END"] = lambda: lab.make(offer)
    error = lab.p.qmp.try_cmd("colo-checkpoint")
    check(error is not None, "the checkpoint was taken")
    info = lab.wait_lost(lab.s)
    check_equal(info["cause"], "protocol", "cause")
    lab.take_over()
    lab.expect("the survivor", lab.s_guest, PLACE, NOTHING)


def _register() -> None:
    for reason in REASONS:
        def body(context: Context,
                 reason: Callable[[OfferLab], bytes] = reason) -> None:
            is_declined(context, reason)
        body.__doc__ = reason.__doc__
        add(f"offer_declined_{reason.__name__}", body, linux=False,
            reference=False)
    rows = {name: (spoiled(**changes), "OFFER")
            for name, changes in RUBBISH.items()}
    rows["short"] = (lambda payload: payload[:-1], "OFFER")
    rows["empty"] = (lambda payload: b"", "OFFER")
    rows["long"] = (lambda payload: payload + b"\0", "too long")
    for name, row in rows.items():
        def other(context: Context,
                  row: Tuple[Callable[[bytes], bytes], str] = row) -> None:
            garbage(context, *row)
        other.__doc__ = f"an OFFER that makes no sense: {name}"
        add(f"offer_garbage_{name}", other, linux=False, reference=False)


_register()
