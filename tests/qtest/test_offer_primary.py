# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes that are offered: what the primary offers, and what it does then.

The lab keeps the offers back and plays the secondary (offerlab.py).  What was
sent is on the secondary's disk; what was accepted is not, since the lab only
said so.
"""

import threading
import time
from typing import Any, Callable, Dict, List

import wireframe
from colo import procs, status
from colo.case import Context, add, case, check, check_equal
from offerlab import KIB, MIB, SOON_S, Offer, OfferLab

SIZE = 256 * KIB
PLACE = 4 * MIB + 512
LINK_LIMIT_MS = 400
LIMIT_S = 3.0
SMALLEST, LARGEST = 64 * KIB, 8 * MIB
NOTHING = bytes(SIZE)


def bytes_of(number: int, size: int = SIZE) -> bytes:
    """Not all alike."""
    part = number.to_bytes(4, "big") + bytes(range(251))
    return (part * (size // len(part) + 1))[:size]


ONE, OTHER = bytes_of(1), bytes_of(2)


def keeper(context: Context, **changes: Any) -> OfferLab:
    """A lab that keeps all offers back."""
    lab = OfferLab(context, **changes)
    lab.middle.keeps_offers = True
    return lab


def offered(lab: OfferLab, data: bytes = ONE, place: int = PLACE) -> Offer:
    """The guest writes it, and waits; what was offered."""
    count = len(lab.middle.offers)
    lab.p_guest.send_write(place, data)
    offer = lab.middle.wait_offer(count + 1)
    check_equal((offer.offset, offer.bytes), (place, len(data)), "the offer")
    check(offer.disk, "the disk has no number")
    return offer


def is_offered_now(lab: OfferLab, count: int) -> bool:
    """Behind `count` offers: is the write offered, or simply answered?"""
    procs.wait_until(lambda: lab.p_guest.is_answered(0.01) or
                     len(lab.middle.offers) > count, 10, "either")
    return len(lab.middle.offers) > count


def written(lab: OfferLab, data: bytes = ONE, place: int = PLACE) -> bool:
    """The guest writes it; was it offered first? It is declined then."""
    count = len(lab.middle.offers)
    lab.p_guest.send_write(place, data)
    is_offered = is_offered_now(lab, count)
    if is_offered:
        lab.middle.answer(lab.middle.wait_offer(count + 1), False)
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    check_equal(len(lab.middle.offers), count + is_offered, "offers")
    return is_offered


def expect_sent(lab: OfferLab, data: bytes = ONE, place: int = PLACE) -> None:
    """It is on both sides' disks."""
    lab.expect("the guest", lab.p_guest, place, data)
    lab.p_guest.flush()
    lab.expect("the secondary's disk", lab.peer, place, data)


# -- answers --------------------------------------------------------------

@case(linux=False, reference=False)
def offer_answer_accepted(context: Context) -> None:
    """The write is done with that, and nothing is sent."""
    lab = keeper(context)
    for number in range(1, 4):
        place = PLACE + number * MIB
        before = lab.forward()
        offer = offered(lab, bytes_of(number), place)
        check_equal(offer.id, number - 1, "number of the offer")
        check(not lab.p_guest.is_answered(SOON_S), "the guest did not wait")
        check_equal(lab.forward()["accepted"], before["accepted"], "counted")
        lab.middle.answer(offer, True)
        check_equal(lab.p_guest.finish(), 0, "the guest's write")
        after = lab.forward()
        for field in ("accepted", "bytes"):
            check_equal(after[field] - before[field], SIZE, field)
        lab.p_guest.flush()
        lab.expect("the guest", lab.p_guest, place, bytes_of(number))
        lab.expect("the secondary's disk", lab.peer, place, NOTHING)
    hashes = {offer.hash for offer in lab.middle.offers}
    check_equal(len(hashes), 3, "hashes of three writes")
    lab.expect_calm()


@case(linux=False, reference=False)
def offer_answer_declined(context: Context) -> None:
    """The data comes over NBD, and counts as sent."""
    lab = keeper(context)
    lab.middle.answer(offered(lab), False)
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    expect_sent(lab)
    check_equal(lab.forward()["accepted"], 0, "accepted bytes")
    check(lab.forward()["bytes"] >= SIZE, "bytes sent")
    lab.expect_calm()


@case(linux=False, reference=False)
def offer_answer_for_nobody(context: Context) -> None:
    """An answer to an offer that there is not is not a word to the others."""
    lab = keeper(context)
    offer = offered(lab)
    for number in (offer.id + 1, offer.id + 2 ** 40, 2 ** 64 - 1):
        lab.middle.say("primary", "ANSWER", wireframe.ANSWER.pack(number, 1))
    check(not lab.p_guest.is_answered(SOON_S), "the guest did not wait")
    lab.middle.answer(offer, False)
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    lab.middle.answer(offer, True)
    check_equal(lab.forward()["accepted"], 0, "accepted bytes")
    expect_sent(lab)
    lab.expect_calm()


@case(linux=False, reference=False)
def offer_answers_in_any_order(context: Context) -> None:
    """Each write gets its own answer."""
    lab = keeper(context)
    hands = [lab.hand("p") for _ in range(6)]
    for number, hand in enumerate(hands):
        hand.send_write(PLACE + number * MIB, bytes_of(number))
        lab.middle.wait_offer(number + 1)
    for number in (4, 1, 5, 0, 3, 2):
        lab.middle.answer(lab.middle.offers[number], number % 2 == 0)
        check_equal(hands[number].finish(), 0, f"write {number}")
    for number in range(6):
        lab.expect("the guest", lab.p_guest, PLACE + number * MIB,
                   bytes_of(number))
        lab.expect("the secondary's disk", lab.peer, PLACE + number * MIB,
                   NOTHING if number % 2 == 0 else bytes_of(number))
    check_equal(lab.forward()["accepted"], 3 * SIZE, "accepted bytes")
    lab.expect_calm()


# -- no answer ------------------------------------------------------------

@case(linux=False, reference=False)
def offer_without_answer(context: Context) -> None:
    """Then the disk has lost its peer, and the guest waits no longer."""
    lab = keeper(context, extra={"link-limit": str(LINK_LIMIT_MS)})
    start_s = time.monotonic()
    offered(lab)
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    needed_s = time.monotonic() - start_s
    check(LINK_LIMIT_MS / 1000 * 0.9 < needed_s < LIMIT_S,
          f"the guest waited for {needed_s:.2f} s")
    lab.expect("the guest", lab.p_guest, PLACE, ONE)
    lab.pair.wait_alone(lab.p)
    info = status.query(lab.p)
    check_equal(info["cause"], "local", "cause")
    check("link-limit" in info["reason"], info["reason"])
    lab.p_guest.write(PLACE, OTHER)
    lab.expect("the guest", lab.p_guest, PLACE, OTHER)


@case(linux=False, reference=False)
def offer_and_cable_is_cut(context: Context) -> None:
    """The session is over: what was offered is sent, as long as it can be."""
    lab = keeper(context)
    offered(lab)
    lab.middle.hang_up()
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    info = lab.wait_lost(lab.p)
    check_equal(info["state"], "lost", "state")
    expect_sent(lab)
    count = len(lab.middle.offers)
    lab.p_guest.write(PLACE, OTHER)
    expect_sent(lab, OTHER)
    check_equal(len(lab.middle.offers), count, "offers")


@case(linux=False, reference=False)
def offer_and_secondary_dies(context: Context) -> None:
    """Host and all: the write is on the image of the one that is left."""
    lab = keeper(context)
    offered(lab)
    lab.s.kill()
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    lab.wait_lost(lab.p)
    lab.p.qmp.cmd("x-colo-lost-heartbeat")
    lab.expect("the guest", lab.p_guest, PLACE, ONE)
    lab.p_guest.write(PLACE, OTHER)
    lab.expect("the guest", lab.p_guest, PLACE, OTHER)


@case(linux=False, reference=False)
def offer_holds_checkpoint_up(context: Context) -> None:
    """Without the answer no checkpoint is made, nor is it waited for for ever:
    the guest, which it would stop, has a write under way."""
    lab = keeper(context, extra={"link-limit": str(LINK_LIMIT_MS)})
    offered(lab)
    error = lab.p.qmp.try_cmd("colo-checkpoint")
    check(error is not None, "the checkpoint was taken")
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    lab.pair.wait_alone(lab.p)
    # Asked for it may be, by a primary that has yet to learn of the loss.
    check(not lab.middle.has_seen("END"), "a checkpoint was sent")
    reason = status.query(lab.p)["reason"]
    check("link-limit" in reason, reason)
    lab.expect("the guest", lab.p_guest, PLACE, ONE)


def answered_late(context: Context, accepted: bool) -> None:
    """A checkpoint is wanted while a write waits; it comes behind the
    answer."""
    lab = keeper(context)
    offer = offered(lab)
    said: List[float] = []

    def answer() -> None:
        said.append(time.monotonic())
        lab.middle.answer(offer, accepted)
    asked: List[float] = []
    lab.middle.before["REQUEST"] = lambda: asked.append(time.monotonic())
    timer = threading.Timer(SOON_S, answer)
    timer.start()
    lab.checkpoint()
    timer.join()
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    check(said[0] < asked[0], "the checkpoint was asked for before the answer")
    check_equal(lab.forward()["accepted"], SIZE if accepted else 0,
                "accepted bytes")
    lab.expect("the secondary's disk", lab.peer, PLACE,
               NOTHING if accepted else ONE)
    lab.expect_calm()
    written(lab, OTHER)
    if not accepted:
        written(lab, OTHER)
    expect_sent(lab, OTHER)


@case(linux=False, reference=False)
def offer_answer_out_of_turn(context: Context) -> None:
    """An answer behind the REPLY ends the protection."""
    lab = keeper(context)
    offer = offered(lab)
    lab.middle.answer(offer, True)
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    lab.middle.before["RECEIVED"] = lambda: lab.middle.answer(offer, True)
    error = lab.p.qmp.try_cmd("colo-checkpoint")
    check(error is not None, "the checkpoint was taken")
    check_equal(lab.wait_lost(lab.p)["cause"], "protocol", "cause")


def garbage_late(context: Context, payload: bytes) -> None:
    """The same when a checkpoint waits for that answer."""
    lab = keeper(context)
    offered(lab)
    timer = threading.Timer(SOON_S, lambda: lab.middle.say(
        "primary", "ANSWER", payload))
    timer.start()
    error = lab.p.qmp.try_cmd("colo-checkpoint")
    timer.join()
    check(error is not None, "the checkpoint was taken")
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    lab.wait_lost(lab.p)
    check(not lab.middle.has_seen("REQUEST"), "a checkpoint was asked for")
    check("ANSWER" in lab.p.log_tail(), lab.p.log_tail())
    expect_sent(lab)


@case(linux=False, reference=False)
def offer_answer_stalls(context: Context) -> None:
    """It stops in the middle of the answer that a checkpoint waits for."""
    lab = keeper(context, limits={"step-limit": 600, "heartbeat": 100})
    offered(lab)
    timer = threading.Timer(0.1, lab.middle.begin_to_answer)
    timer.start()
    error = lab.p.qmp.try_cmd("colo-checkpoint")
    timer.join()
    check(error is not None, "the checkpoint was taken")
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    lab.wait_lost(lab.p)
    check(not lab.middle.has_seen("REQUEST"), "a checkpoint was asked for")
    lab.expect("the guest", lab.p_guest, PLACE, ONE)


RUBBISH: Dict[str, bytes] = {
    "value": wireframe.ANSWER.pack(0, 2),
    "short": wireframe.ANSWER.pack(0, 1)[:-1],
    "empty": b"",
}


def garbage(context: Context, payload: bytes) -> None:
    """The session ends and says why; the guest's write is done."""
    lab = keeper(context)
    offered(lab)
    lab.middle.say("primary", "ANSWER", payload)
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    info = lab.wait_lost(lab.p)
    check_equal(info["cause"], "garbage", "cause")
    check("ANSWER" in info["reason"], info["reason"])
    expect_sent(lab)


# -- what is offered ------------------------------------------------------

@case(linux=False, reference=False)
def offer_not_worth_it(context: Context) -> None:
    """Small and huge writes, those that go through, and what is no write."""
    lab = keeper(context)
    big = bytes_of(3, LARGEST + 512)
    rows: List[Callable[[], object]] = [
        lambda: lab.p_guest.write(PLACE, ONE[:SMALLEST - 512]),
        lambda: lab.p_guest.write(PLACE, ONE[:SMALLEST - 1]),
        lambda: lab.p_guest.write(PLACE, big),
        lambda: lab.p_guest.write(PLACE, ONE, True),
        lambda: lab.p_guest.zeroes(PLACE, SIZE, True),
        lambda: lab.p_guest.zeroes(PLACE, SIZE),
        lambda: lab.p_guest.trim(PLACE, SIZE),
        lab.p_guest.flush,
    ]
    for number, row in enumerate(rows):
        row()
        check_equal(lab.middle.offers, [], f"offers after row {number}")
    lab.compare()
    for size in (SMALLEST, LARGEST):
        lab.middle.answer(offered(lab, big[:size]), True)
        check_equal(lab.p_guest.finish(), 0, "the guest's write")
    lab.expect_calm()


@case(linux=False, reference=False)
def offer_less_when_declined(context: Context) -> None:
    """After 1, 2, 4 ... declines as many writes go unasked; until one is
    accepted."""
    lab = keeper(context)
    pattern = [written(lab, bytes_of(number)) for number in range(12)]
    check_equal("".join("-x"[asked] for asked in pattern), "x-x--x----x-",
                "which writes were offered")
    expect_sent(lab, bytes_of(11))
    while not written_once(lab):
        pass
    check(written(lab) and not written(lab) and written(lab),
          "it is not forgotten what was declined before")
    lab.expect_calm()


def written_once(lab: OfferLab) -> bool:
    """One more write; was it offered? It is accepted then."""
    count = len(lab.middle.offers)
    lab.p_guest.send_write(PLACE, OTHER)
    if not is_offered_now(lab, count):
        check_equal(lab.p_guest.finish(), 0, "the guest's write")
        return False
    lab.middle.answer(lab.middle.wait_offer(count + 1), True)
    check_equal(lab.p_guest.finish(), 0, "the guest's write")
    return True


@case(linux=False, reference=False)
def offer_names_its_disk(context: Context) -> None:
    """Two disks have two numbers, the same after a checkpoint."""
    lab = keeper(context, count=2)
    for number in range(2):
        for index, guest in enumerate(lab.p_guests):
            guest.send_write(PLACE, ONE)
            lab.middle.answer(
                lab.middle.wait_offer(2 * number + index + 1), True)
            check_equal(guest.finish(), 0, "the guest's write")
        lab.checkpoint()
    numbers = [offer.disk for offer in lab.middle.offers]
    check_equal(numbers[:2], numbers[2:], "numbers of the disks")
    check(numbers[0] != numbers[1], f"both disks are {numbers[0]}")
    check_equal([lab.forward(index)["accepted"] for index in range(2)],
                [2 * SIZE, 2 * SIZE], "accepted bytes")


@case(linux=False, reference=False)
def offer_after_protection(context: Context) -> None:
    """A primary that is alone offers nothing."""
    lab = keeper(context)
    lab.s.kill()
    lab.wait_lost(lab.p)
    lab.p.qmp.cmd("x-colo-lost-heartbeat")
    procs.wait_until(lambda: status.is_alone(lab.p), 5, "being alone")
    lab.p_guest.write(PLACE, ONE)
    check_equal(lab.middle.offers, [], "offers")


def _register() -> None:
    for accepted in (True, False):
        def late(context: Context, accepted: bool = accepted) -> None:
            answered_late(context, accepted)
        word = "accepted" if accepted else "declined"
        late.__doc__ = f"a checkpoint is wanted before an offer is {word}"
        add(f"offer_{word}_then_asked", late, linux=False,
            reference=False)
    for name, payload in RUBBISH.items():
        for function in (garbage, garbage_late):
            def body(context: Context, payload: bytes = payload,
                     function: Callable[..., None] = function) -> None:
                function(context, payload)
            body.__doc__ = f"an ANSWER that makes no sense: {name}"
            add(f"offer_answer_{function.__name__}_{name}", body, linux=False,
                reference=False)


_register()
