# SPDX-License-Identifier: GPL-2.0-or-later
"""A primary's own disk fails, and the copy at the secondary does not.

The guest is told, as by any disk.  But the copy has what this disk lacks, so
the two are not called equal any more, and what differs is not forgotten.
"""

from typing import Any, Callable, Dict

from colo import procs
from colo.case import Context, add, check, check_equal
from nbdclient import error_of
from primarylab import EIO, KIB, MIB, PrimaryLab
from test_disk_faults import once

BASE = "xen:protected"
PLACE = 9 * MIB
WORDS = "failed on this side"


REQUESTS: Dict[str, Callable[[PrimaryLab], Any]] = {
    "write": lambda lab: lab.write(PLACE),
    "fua": lambda lab: lab.guest.write(PLACE, b"new" * 1000, True),
    "zeroes": lambda lab: lab.guest.zeroes(PLACE, 64 * KIB),
    "hole": lambda lab: lab.guest.zeroes(PLACE, 64 * KIB, True),
    "flush": lambda lab: (lab.write(PLACE), lab.guest.flush()),
}
# What the local file is asked for in that request.
KINDS = {"write": "write", "fua": "write", "zeroes": "write-zeroes",
         "hole": "write-zeroes", "flush": "flush"}
# The first flush behind a write of the guest; the copying has its own before.
FLUSH_FAULT = {**once("flush"), "event": "write_aio"}


def fail(lab: PrimaryLab, request: str) -> None:
    """Do it; the guest is told, and nobody is told that all is well."""
    check_equal(error_of(lambda: REQUESTS[request](lab)), EIO,
                "the guest's error")
    info = lab.info()
    check(not info["forward"]["in-sync"], "in sync all the same")
    check(WORDS in info["error"], f"{info}")
    check_equal(info["forward"]["failed"], 0, "requests that the copy failed")


def bring_up_to_date(lab: PrimaryLab, **options: str) -> None:
    """Attach it again: what differed is copied, and both are equal."""
    lab.attach("to-copy", **options)
    lab.wait_in_sync()
    check("error" not in lab.info(), f"{lab.info()}")
    lab.work(5)
    lab.compare()


def ready(context: Context, request: str) -> PrimaryLab:
    """In sync, after a first pair, with a fault at that place."""
    if request == "flush":
        lab = PrimaryLab(context, faults=[FLUSH_FAULT])
    else:
        lab = PrimaryLab(context, faults=[once(KINDS[request], PLACE)])
    lab.attach(lab.add_target(lab.serve()), sync="full")
    return lab


def fails_in_sync(context: Context, request: str) -> None:
    """No pair begins until the copy has been brought up to date."""
    lab = ready(context, request)
    lab.wait_in_sync()
    fail(lab, request)
    text = lab.refusal("xen-set-replication", primary=True, enable=True)
    check(WORDS in text, text)
    lab.detach()
    bring_up_to_date(lab, sync="full")
    lab.begin()
    lab.work(10)
    lab.compare()
    lab.quit()


def fails_in_a_pair(context: Context, request: str) -> None:
    """The pair goes on: the other side has what this one lacks."""
    lab = ready(context, request)
    lab.wait_in_sync()
    lab.begin()
    fail(lab, request)
    lab.cmd("xen-colo-do-checkpoint")
    status = lab.cmd("query-xen-replication-status")
    check(not status["error"], f"{status}")
    lab.work(5)
    lab.end()
    bring_up_to_date(lab, sync="incremental", base=BASE)
    lab.quit()


def fails_in_the_copy(context: Context, request: str) -> None:
    """The copy is not called complete; the next one is."""
    lab = ready(context, request)
    lab.detach()
    lab.attach("to-copy", sync="full", speed=MIB)
    check_equal(error_of(lambda: REQUESTS[request](lab)), EIO,
                "the guest's error")
    lab.cmd("block-job-set-speed", {"device": "disk0", "speed": 0})
    procs.wait_until(lambda: "forward" not in lab.info(), 20, "the end")
    check(WORDS in lab.info()["error"], f"{lab.info()}")
    lab.attach("to-copy", sync="full")
    lab.wait_in_sync()
    lab.compare()
    lab.quit()


def _register() -> None:
    for request in REQUESTS:
        for function, name in ((fails_in_sync, "in_sync"),
                               (fails_in_a_pair, "in_a_pair"),
                               (fails_in_the_copy, "in_the_copy")):
            def body(context: Context, function: Any = function,
                     request: str = request) -> None:
                function(context, request)
            body.__doc__ = f"a local {request} fails: {function.__doc__}"
            add(f"disk_local_{request}_fails_{name}", body, linux=False,
                reference=False)


_register()
