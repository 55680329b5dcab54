# SPDX-License-Identifier: GPL-2.0-or-later
"""The link of a primary's disk ends in the middle of something.

Between QEMU and the server of the copy is a wire that is cut, or falls silent,
after so many bytes in one direction: in a request's header or data, or in an
answer.  In each stage of a copy the guest sees nothing of it but a pause, the
copy is never called equal, and an attach brings it up to date.
"""

import socket
import threading
from typing import Dict, List, Tuple

from colo import procs
from colo.case import Context, add, check, check_equal
from primarylab import (KIB, LIMIT_MS, MARGIN_S, MIB, PATIENT_MS, PrimaryLab,
                        Server, took_s)

BASE = "xen:protected"
# Bytes that still pass: of a header, of the data, of an answer.
PLACES: Dict[str, Tuple[str, int]] = {
    "header": ("there", 11), "data": ("there", 28 + 20000),
    "answer": ("back", 5), "nothing": ("there", 0)}


class Wire:
    """Looks like the server that it leads to, until it is cut."""

    def __init__(self, lab: PrimaryLab, server: Server) -> None:
        self.name = server.name
        self.socket = lab.path("wire.nbd")
        self._server = server
        self._left = {"there": -1, "back": -1}      # bytes; -1: no end
        self._hangs_up = True
        self._sockets: List[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.socket)
        self._listener.listen()
        lab.context.at_end(self._listener.close)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, direction: str, count: int, hangs_up: bool) -> None:
        """So many bytes still pass; then the end, or silence."""
        self._hangs_up = hangs_up
        self._left[direction] = count
        if not count and hangs_up:
            self.hang_up()

    def mend(self) -> None:
        """For connections to come."""
        self.hang_up()
        self._left = {"there": -1, "back": -1}

    def hang_up(self) -> None:
        """Both ways."""
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._server.socket)
            self._sockets = [near, far]
            for words in ((near, far, "there"), (far, near, "back")):
                threading.Thread(target=self._pump, args=words,
                                 daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket,
              direction: str) -> None:
        try:
            while self._pass(source.recv(64 * KIB), sink, direction):
                pass
        except OSError:
            pass
        if self._hangs_up or self._left[direction] < 0:
            for sock in (source, sink):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _pass(self, data: bytes, sink: socket.socket, direction: str) -> bool:
        """False: this was the last of it."""
        left = self._left[direction]
        if left < 0:
            sink.sendall(data)
            return bool(data)
        sink.sendall(data[:left])
        self._left[direction] = max(left - len(data), 0)
        return bool(data) and len(data) < left


def to_stage(context: Context, stage: str,
             limit_ms: int) -> Tuple[PrimaryLab, Wire]:
    """A disk whose copy is reached by a wire."""
    lab = PrimaryLab(context, limit_ms=limit_ms)
    wire = Wire(lab, lab.serve())
    target = lab.add_target(wire)
    lab.protect(target)
    lab.end()
    lab.write(0)
    if stage == "copying":
        lab.attach(target, sync="full", speed=MIB)
        return lab, wire
    lab.attach(target, sync="incremental", base=BASE)
    lab.wait_in_sync()
    if stage == "protected":
        lab.begin()
    return lab, wire


def expect_lost(lab: PrimaryLab, stage: str, limit_s: float) -> None:
    """It is said, whatever the stage, and no pair begins or goes on."""
    if stage == "copying":
        procs.wait_until(lambda: "forward" not in lab.info(), limit_s,
                         "the end of the copy")
        check_equal(lab.jobs(), [], "jobs")
    else:
        check(not lab.forward()["in-sync"], "in sync")
    check("to-copy" in lab.info()["error"], f"{lab.info()}")
    if stage == "protected":
        status = lab.cmd("query-xen-replication-status")
        check(status["error"], f"{status}")
        lab.end()
    elif stage == "in sync":
        text = lab.refusal("xen-set-replication", primary=True, enable=True)
        check("to-copy" in text, text)
        lab.detach()


def ends(context: Context, stage: str, place: str, hangs_up: bool) -> None:
    """See the top."""
    # An end is not waited for: it is seen long before any limit.
    limit_s = (PATIENT_MS / 1000 if hangs_up
               else LIMIT_MS / 1000 + MARGIN_S)
    lab, wire = to_stage(context, stage, PATIENT_MS if hangs_up else LIMIT_MS)
    wire.cut_after(*PLACES[place], hangs_up)
    needed_s = took_s(lambda: lab.write(4 * MIB, MIB))
    check(needed_s < limit_s, f"the guest waited for {needed_s:.2f} s")
    expect_lost(lab, stage, limit_s)
    lab.work(10)
    wire.mend()
    lab.cmd("blockdev-del", {"node-name": "to-copy"})
    lab.attach(lab.add_target(wire), sync="incremental", base=BASE)
    lab.work(5)
    lab.wait_in_sync()
    lab.begin()
    lab.work(5)
    lab.compare()
    lab.quit()


def _register() -> None:
    for stage in ("copying", "in sync", "protected"):
        for place in PLACES:
            for hangs_up in (True, False):
                def body(context: Context, stage: str = stage,
                         place: str = place,
                         hangs_up: bool = hangs_up) -> None:
                    ends(context, stage, place, hangs_up)
                how = "end" if hangs_up else "silence"
                body.__doc__ = f"{stage}: {how} behind {place} of a request"
                add(f"disk_short_{stage.replace(' ', '_')}_{place}_{how}",
                    body, linux=False, reference=False)


_register()
