# SPDX-License-Identifier: GPL-2.0-or-later
"""Protection begins, goes on, and the client does not notice."""

from colo.case import Context, case, check


@case(timeout_s=60, linux=False)
def protect_firmware_only(context: Context) -> None:
    """A machine without system, disk and network: the smallest pair."""
    from colo.vm import Spec
    pair = context.pair(spec=Spec(memory_mib=32, linux=False), network=False,
                        delay_ms=200)
    pair.start()
    pair.protect()
    context.step("protected; ten checkpoints")
    pair.wait_checkpoints(10)
    context.step("kill the primary")
    pair.p.kill()
    pair.wait_peer_lost(pair.secondary())
    pair.failover_to_secondary()
    pair.wait_alone(pair.secondary())
    check(not pair.secondary().crashed(), "the survivor crashed")
