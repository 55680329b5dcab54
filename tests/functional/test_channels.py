# SPDX-License-Identifier: GPL-2.0-or-later
"""Channels and capabilities that must work together with COLO."""

import os
from typing import Any, Dict, List

from colo.case import Context, add, case
from colo.ending import kill_and_verify
from colo.pair import Pair
from colo.qmp import QMPError


def run_pair(context: Context, pair: Pair) -> None:
    """Protect, ten checkpoints with a busy client, kill, verify."""
    context.step("protect")
    pair.protect()
    client = context.client()
    client.control("DIRTY 20 16")
    pair.wait_checkpoints(10)
    answer = client.control("DIRTYCHECK")
    if not answer.startswith("OK"):
        raise AssertionError(f"guest memory: {answer}")
    kill_and_verify(context, pair, client)


def _register() -> None:
    capabilities: Dict[str, List[str]] = {
        "return_path": ["return-path"],
        "multifd": ["multifd"],
        "multifd_return_path": ["multifd", "return-path"],
        "xbzrle": ["xbzrle"],
        "auto_converge": ["auto-converge"],
        "events": ["events"],
    }
    for name, wanted in capabilities.items():
        def with_capability(context: Context,
                            wanted: List[str] = wanted) -> None:
            run_pair(context, context.booted_pair(
                delay_ms=200, capabilities=wanted))
        with_capability.__doc__ = f"first copy with {', '.join(wanted)}"
        add(f"with_{name}", with_capability, timeout_s=60,
            reference="return_path" not in name and name != "multifd")
    for channel in ("unix", "fd"):
        def over(context: Context, channel: str = channel) -> None:
            run_pair(context, context.booted_pair(
                delay_ms=200, channel=channel))
        over.__doc__ = f"protected over a {channel} channel"
        add(f"over_{channel}", over, timeout_s=60)


_register()


def tls_pair(context: Context, capabilities: List[str]) -> Pair:
    """A pair whose channel is encrypted with a shared key."""
    with open(os.path.join(context.run_dir, "keys.psk"), "w",
              encoding="ascii") as file:
        file.write("qemu:" + os.urandom(32).hex() + "\n")
    pair = context.booted_pair(delay_ms=200, capabilities=capabilities,
                               parameters={"tls-creds": "tls0"})
    for machine, endpoint in ((pair.p, "client"),
                              (pair.secondary(), "server")):
        options: Dict[str, Any] = {
            "qom-type": "tls-creds-psk", "id": "tls0",
            "endpoint": endpoint, "dir": context.run_dir}
        if endpoint == "client":
            options["username"] = "qemu"
        try:
            machine.qmp.cmd("object-add", options)
        except QMPError as error:
            context.skip(f"no TLS in this QEMU: {error.desc}")
    return pair


@case(timeout_s=60)
def with_tls(context: Context) -> None:
    """The channel is encrypted, for the copy and every checkpoint."""
    run_pair(context, tls_pair(context, []))


@case(timeout_s=60, reference=False)
def with_tls_multifd(context: Context) -> None:
    """The same with multifd for the first copy."""
    run_pair(context, tls_pair(context, ["multifd"]))
