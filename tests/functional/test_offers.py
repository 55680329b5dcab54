# SPDX-License-Identifier: GPL-2.0-or-later
"""Large writes of a real guest, most of which the secondary need not be sent.

Both guests write the same, so the primary's write is offered and accepted
(include/colo/offer.h).  What is acknowledged is on both disks all the same.
"""

from typing import List

from colo import diskload, status, volumes
from colo.case import Context, case, check
from colo.disk import Options
from colo.disk_symmetric import SymmetricDisk
from colo.ending import end_side
from colo.pair import Pair
from colo.traffic import Client

WRITES = 6                  # of 16 MiB each
EXCHANGES = 30
KILLS_COUNT = 3
DRAINS_COUNT = 500
DRAINS_DELAY_MS = 30
SIZE_MIB = 160


def start(context: Context) -> Pair:
    """Two disks with equal file systems; large writes go to the second."""
    return diskload.start(context, "symmetric", disk_options=Options(
        size_mib=SIZE_MIB, filesystem=True, count=2))


def accepted_share(context: Context, pair: Pair) -> float:
    """Of what was written to the second disk."""
    figures = SymmetricDisk.entry(pair.p.qmp, 1)["forward"]
    share = figures["accepted"] / max(figures["bytes"], 1)
    context.step(f"{figures['bytes'] >> 20} MiB written, {share:.0%} of it "
                 "accepted")
    return share


def load(context: Context, pair: Pair, tag: str = "") -> Client:
    """Large writes and durable records, some of each."""
    client = context.client(f"bigblocks:vdb{tag},records:vda{tag}")
    client.wait_progress(WRITES)
    pair.wait_checkpoints(3)
    client.wait_progress(WRITES)
    return client


@case(timeout_s=150, reference=False)
def offers_then_primary_dies(context: Context) -> None:
    """Much of what is written is accepted; then the primary dies."""
    pair = start(context)
    client = load(context, pair)
    share = accepted_share(context, pair)
    # How much depends on how close together the guests run here.
    check(share > 0.05, f"only {share:.0%} were accepted")
    context.step("kill the primary")
    client.mark()
    end_side(pair, "primary")
    client.wait_progress(WRITES)
    diskload.verify(context, pair, client)


@case(timeout_s=150, reference=False)
def offers_under_drains(context: Context) -> None:
    """Monitors wait for the guests' writes while checkpoints are decided for.

    Who drains has the BQL, and writes wait for answers meanwhile.
    """
    pair = start(context)
    pair.set_delay_ms(DRAINS_DELAY_MS)
    client = load(context, pair)
    for _ in range(DRAINS_COUNT):
        for machine in (pair.p, pair.secondary()):
            machine.qmp.cmd("transaction", {"actions": []})
    client.wait_progress(WRITES)
    check(accepted_share(context, pair) > 0, "nothing was accepted")
    failed = SymmetricDisk.entry(pair.p.qmp, 1)["forward"]["failed"]
    check(failed == 0, f"{failed} writes failed")
    state = status.query(pair.p)["state"]
    check(state in ("protected", "checkpoint"), f"the primary is {state}")
    end_side(pair, "primary")
    client.wait_progress(WRITES)
    diskload.verify(context, pair, client)


@case(timeout_s=300, reference=False)
def offers_and_kills(context: Context) -> None:
    """Sides die under large writes, return, and the images are equal."""
    pair = start(context)
    reports: List[volumes.Report] = []
    for number in range(1, KILLS_COUNT + 1):
        side = "secondary" if number == 2 else "primary"
        client = load(context, pair, f":r{number}")
        check(accepted_share(context, pair) > 0, "nothing was accepted")
        context.step(f"kill the {side}")
        end_side(pair, side)
        client.wait_progress(WRITES)
        context.step("protect again")
        pair.reprotect(f"n{number}")
        client.wait_progress(EXCHANGES)
        reports.append(diskload.verify_in_guest(context, client))
        diskload.compare_images(context, pair)
    end_side(pair, "primary")
    diskload.look_into(context, pair, reports, calm=True)
