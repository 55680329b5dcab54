# SPDX-License-Identifier: GPL-2.0-or-later
"""A survivor becomes an ordinary machine under its guest's feet.

Nothing is given to it but x-colo-lost-heartbeat and colo-clean-up, whatever
command line it was started with, while a client works on it.
"""

from typing import Any, Dict, List, Set

from colo import diskload, procs
from colo.case import Context, add, check, check_equal
from colo.pair import Pair
from colo.qmp import QMPError
from colo.vm import VM

EXCHANGES = 60
MERGE_LIMIT_S = 60
FORMS = {"direct": "symmetric", "chardev": "replicated"}


def kinds(parts: List[Dict[str, Any]]) -> Set[str]:
    """Of these parts."""
    return {str(part["kind"]) for part in parts}


def clean_up(survivor: VM, *keep: str) -> Dict[str, Any]:
    """As soon as QEMU has let go of everything, and disks are merged."""
    result: List[Dict[str, Any]] = []

    def accepted() -> bool:
        try:
            result.append(survivor.qmp.cmd("colo-clean-up",
                                           {"keep": list(keep)}))
        except QMPError as error:
            if "not over yet" in error.desc or "merged" in error.desc:
                return False
            raise
        return True
    procs.wait_until(accepted, MERGE_LIMIT_S, "colo-clean-up", 0.1)
    return result[0]


def lose(pair: Pair, side: str) -> VM:
    """One side dies, the other is told so and nothing else."""
    victim = pair.p if side == "primary" else pair.secondary()
    survivor = pair.secondary() if side == "primary" else pair.p
    victim.kill()
    pair.wait_peer_lost(survivor)
    survivor.qmp.cmd("x-colo-lost-heartbeat")
    pair.wait_alone(survivor)
    return survivor


def ordinary(context: Context, form: str, side: str) -> None:
    """Lose a side; the client notices neither that nor the clean-up."""
    pair = diskload.start(context, FORMS[form], form=form)
    client = context.client("kv,records")
    client.wait_progress(EXCHANGES)
    pair.wait_checkpoints(3)
    context.step(f"kill the {side}")
    survivor = lose(pair, side)
    client.wait_progress(EXCHANGES)
    context.step("clean up, but for what connections need")
    removed = kinds(clean_up(survivor, "connections")["removed"])
    check({"chardev", "setting"} <= removed, f"removed only {removed}")
    check(("export" if side == "primary" else "compare") in removed,
          f"removed only {removed}")
    client.wait_progress(EXCHANGES)
    client.verify()
    context.step("clean up the rest")
    check_equal(clean_up(survivor)["kept"], [], "what stays")
    check_equal(survivor.qmp.cmd("query-colo")["disks"], [], "disks")
    files = [str(node["file"]) for node in survivor.qmp.cmd(
        "query-named-block-nodes", {"flat": True})]
    check(not any(name in file for file in files
                  for name in ("active", "hidden", "nbd")), f"open: {files}")
    names = {part["name"]
             for part in survivor.qmp.cmd("qom-list", {"path": "/objects"})}
    check(not names & {"comp0", "m0", "redire0", "redire1", "f1", "f2",
                       "rew0"}, f"objects {names}")
    again = context.client("kv,records")
    again.wait_progress(EXCHANGES)
    diskload.verify_in_guest(context, again)


def _register() -> None:
    for form in FORMS:
        for side in ("primary", "secondary"):
            def body(context: Context, form: str = form,
                     side: str = side) -> None:
                ordinary(context, form, side)
            body.__doc__ = f"{form} form; the {side} dies"
            add(f"ordinary_{form}_{side}_dies", body, timeout_s=150,
                reference=False)


_register()
