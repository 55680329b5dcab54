# SPDX-License-Identifier: GPL-2.0-or-later
"""A primary's disk whose copy is lost: slow, silent, gone, or full of errors.

The guest's requests are completed on the local disk within the limit, the
reason can be read, and nothing is lost that an incremental copy needs.
"""

import os
import signal
import threading
import time
from typing import Any, Callable, List

from colo import procs
from colo.case import Context, case, check, check_equal
from nbdclient import error_of
from primarylab import (KIB, LIMIT_MS, MARGIN_S, MIB, NODE, PATIENT_MS,
                        PrimaryLab, Server, Setup, took_s)

LIMIT_S = LIMIT_MS / 1000
SENT_LIMIT_S = 5
EIO = 5
BASE = "xen:protected"


def protected(context: Context, **changes: Any) -> "tuple[PrimaryLab, Server]":
    """A disk in a pair."""
    lab = PrimaryLab(context, Setup(**changes))
    server = lab.serve()
    lab.protect(lab.add_target(server))
    lab.work(20)
    return lab, server


def expect_lost(lab: PrimaryLab, reason: str) -> None:
    """The copy is lost, for that reason, and a checkpoint says so too."""
    info = lab.info()
    check(reason in info.get("error", ""), f"{info.get('error')}")
    check("to-copy" in info["error"], f"{info['error']} names no node")
    check(not info["forward"]["in-sync"], "in sync")
    status = lab.cmd("query-xen-replication-status")
    check(status["error"] and reason in status["desc"], f"{status}")
    requests = info["forward"]["requests"]
    lab.work(10)
    check_equal(lab.forward()["requests"], requests, "requests sent")


def expect_return(lab: PrimaryLab, server: Server) -> None:
    """The pair ends; the server comes back and needs what differs."""
    lab.end()
    check("error" in lab.info(), "the reason is forgotten")
    lab.cmd("blockdev-del", {"node-name": "to-copy"})
    server.kill()
    server.start()
    lab.attach(lab.add_target(server), sync="incremental", base=BASE)
    lab.work(5)
    lab.wait_in_sync()
    check("error" not in lab.info(), f"{lab.info()}")
    lab.work(5)
    lab.compare()
    lab.quit()


def stalls(context: Context, act: Callable[[PrimaryLab], None],
           **changes: Any) -> None:
    """The server is silent while something is done."""
    lab, server = protected(context, limit_ms=LIMIT_MS, **changes)
    lab.write(MIB)              # so that there is something to flush
    server.stop()
    needed_s = took_s(lambda: act(lab))
    check(LIMIT_S * 0.8 < needed_s < LIMIT_S + MARGIN_S,
          f"it took {needed_s:.2f} s")
    expect_lost(lab, "no answer")
    server.go_on()
    expect_return(lab, server)


@case(linux=False, reference=False)
def disk_peer_stalls(context: Context) -> None:
    """A silent peer delays one write by the limit, and no other."""
    # So much that the socket is full in the middle of it.
    stalls(context, lambda lab: lab.write(0, 2 * MIB))


@case(linux=False, reference=False)
def disk_peer_stalls_iothread(context: Context) -> None:
    """The same when another thread serves the disk."""
    stalls(context, lambda lab: lab.write(0, 2 * MIB), iothread=True)


@case(linux=False, reference=False)
def disk_peer_stalls_flush(context: Context) -> None:
    """A flush is no different."""
    stalls(context, lambda lab: lab.guest.flush())


@case(linux=False, reference=False)
def disk_peer_is_flushed_once(context: Context) -> None:
    """A flush that has nothing to flush is not sent; any other one is."""
    lab, _ = protected(context)

    def sent(action: Callable[[], object]) -> int:
        before: int = lab.forward()["requests"]
        action()
        return int(lab.forward()["requests"]) - before

    lab.write(0)
    check_equal(sent(lab.guest.flush), 1, "flushes after a write")
    check_equal(sent(lab.guest.flush), 0, "flushes after a flush")
    check_equal(sent(lambda: lab.write(0)), 1, "writes")
    check_equal(sent(lab.guest.flush), 1, "flushes after another write")
    lab.guest.zeroes(0, 64 * KIB)
    check_equal(sent(lab.guest.flush), 1, "flushes after zeroes")
    lab.end()
    lab.quit()


def in_rhythm(lab: PrimaryLab, rounds: int = 3) -> None:
    """So that a flush is expected behind the next write."""
    lab.guest.flush()
    for number in range(rounds):
        lab.write(number * MIB)
        lab.guest.flush()


@case(linux=False, reference=False)
def disk_peer_is_flushed_early(context: Context) -> None:
    """Behind a write that is one of a rhythm both disks flush by themselves."""
    lab, _ = protected(context)
    in_rhythm(lab)
    before = lab.forward()["requests"]
    lab.write(0)
    procs.wait_until(lambda: lab.forward()["requests"] == before + 2,
                     SENT_LIMIT_S, "a flush that nobody asked for")
    lab.guest.flush()
    check_equal(lab.forward()["requests"], before + 2, "requests in the end")
    lab.end()
    lab.quit()


@case(linux=False, reference=False)
def disk_early_flush_error_is_told(context: Context) -> None:
    """A flush that nobody asked for and that failed, fails the next one."""
    writes = 4                  # three of a rhythm, and what breaks it
    lab = PrimaryLab(context, states=[
        {"event": "pwritev", "state": n, "new_state": n + 1}
        for n in range(1, writes)], faults=[
            {"event": "pwritev", "state": writes, "iotype": "flush",
             "errno": EIO, "once": True}])
    lab.protect(lab.add_target(lab.serve()))
    in_rhythm(lab)
    before = lab.forward()["requests"]
    lab.write(0)
    procs.wait_until(lambda: lab.forward()["requests"] == before + 2,
                     SENT_LIMIT_S, "a flush that nobody asked for")
    check_equal(error_of(lab.guest.flush), EIO, "the guest's flush")
    check_equal(error_of(lab.guest.flush), 0, "the one after it")
    lab.end()
    lab.quit()


@case(linux=False, reference=False)
def disk_peer_stalls_while_draining(context: Context) -> None:
    """Who drains while the peer is silent waits no longer than the limit."""
    def act(lab: PrimaryLab) -> None:
        lab.guest.send_write(0, bytes(64 * KIB))
        # A transaction begins with a drain of all disks.
        lab.cmd("transaction", {"actions": []})
        check_equal(lab.guest.finish(), 0, "the guest's write")

    stalls(context, act)


@case(linux=False, reference=False)
def disk_peer_stalls_many_writes(context: Context) -> None:
    """All that is under way comes back at once, from every thread."""
    def act(lab: PrimaryLab) -> None:
        clients = [lab.connect() for _ in range(8)]
        for number, client in enumerate(clients):
            client.send_write(number * MIB, bytes([number + 1]) * MIB)
        for client in clients:
            check_equal(client.finish(), 0, "the guest's write")

    stalls(context, act, iothread=True)


@case(linux=False, reference=False)
def disk_primary_stood_still(context: Context) -> None:
    """An answer that came while this side stood still is not a late one."""
    lab, server = protected(context, limit_ms=LIMIT_MS, iothread=True)
    for number in range(10):
        server.stop()
        lab.guest.send_write(number * MIB, bytes(4 * KIB))
        procs.wait_until(lambda: lab.forward()["in-flight"], SENT_LIMIT_S,
                         "the request to the server")
        os.kill(lab.machine.pid, signal.SIGSTOP)
        server.go_on()
        time.sleep(LIMIT_S * 1.2)
        os.kill(lab.machine.pid, signal.SIGCONT)
        check_equal(lab.guest.finish(), 0, "the guest's write")
        check("error" not in lab.info(), f"round {number}: {lab.info()}")
    lab.end()
    lab.quit()


@case(linux=False, reference=False)
def disk_peer_killed(context: Context) -> None:
    """The server dies: the guest sees nothing of it."""
    lab, server = protected(context)
    server.kill()
    needed_s = took_s(lambda: lab.work(10))
    check(needed_s < PATIENT_MS / 1000, f"it took {needed_s:.2f} s")
    expect_lost(lab, "failed")
    expect_return(lab, server)


@case(linux=False, reference=False)
def disk_peer_killed_reconnecting(context: Context) -> None:
    """A client that waits for the server waits no longer than the limit."""
    lab = PrimaryLab(context, limit_ms=LIMIT_MS)
    server = lab.serve()
    lab.protect(lab.add_target(server, **{"reconnect-delay": 60}))
    server.kill()
    needed_s = took_s(lambda: lab.write(0))
    check(needed_s < LIMIT_S + MARGIN_S, f"it took {needed_s:.2f} s")
    expect_lost(lab, "to-copy")
    expect_return(lab, server)


@case(linux=False, reference=False)
def disk_peer_has_errors(context: Context) -> None:
    """One error of the peer's disk ends the pair, with its reason."""
    lab = PrimaryLab(context)
    path = lab.copy()
    server = Server(lab, "copy", "driver=blkdebug,inject-error.0.event="
                    "none,inject-error.0.iotype=write,inject-error.0.errno="
                    "28,inject-error.0.sector=16384,image.driver=raw,"
                    f"image.file.driver=file,image.file.filename={path}")
    lab.tool("qemu-img", "convert", "-U", "-n", "-O", "raw", lab.image, path)
    lab.attach(lab.add_target(server), sync="none")
    lab.begin()
    lab.write(0)
    check("error" not in lab.info(), f"{lab.info()}")
    check_equal(error_of(lambda: lab.write(8 * MIB)), 0, "the guest's error")
    expect_lost(lab, "No space left")
    lab.quit()


@case(linux=False, reference=False)
def disk_copy_meets_errors(context: Context) -> None:
    """A resync that fails says why and leaves the disk without a copy."""
    lab = PrimaryLab(context)
    target = lab.add_target(lab.serve())
    lab.protect(target)
    lab.end()
    lab.write(4 * MIB)
    server = Server(lab, "bad", "driver=blkdebug,inject-error.0.event=none,"
                    "inject-error.0.iotype=write,inject-error.0.errno=28,"
                    "image.driver=raw,image.file.driver=file,"
                    f"image.file.filename={lab.copy('bad')}")
    bad = lab.add_target(server)
    for options in ({"sync": "full"},
                    {"sync": "incremental", "base": BASE}):
        lab.attach(bad, **options)
        procs.wait_until(lambda: "forward" not in lab.info(), 10, "the end")
        check("No space left" in lab.info()["error"], f"{lab.info()}")
        check_equal(lab.jobs(), [], "jobs")
        lab.work(5)
    lab.attach(target, sync="incremental", base=BASE)
    lab.wait_in_sync()
    lab.compare()
    lab.quit()


@case(linux=False, reference=False)
def disk_copy_peer_stalls(context: Context) -> None:
    """A resync whose peer falls silent ends, and the guest goes on."""
    lab = PrimaryLab(context, limit_ms=LIMIT_MS)
    server = lab.serve()
    lab.attach(lab.add_target(server), speed=MIB)
    server.stop()
    done: List[float] = []
    writer = threading.Thread(
        target=lambda: done.append(took_s(lambda: lab.write(MIB, 2 * MIB))))
    writer.start()
    procs.wait_until(lambda: "forward" not in lab.info(), 10, "the end")
    writer.join()
    check(done[0] < 2 * LIMIT_S + MARGIN_S, f"the write took {done[0]:.2f}")
    check("no answer" in lab.info()["error"], f"{lab.info()}")
    lab.work(10)
    server.go_on()
    lab.quit()


@case(linux=False, reference=False)
def disk_quit_with_a_copy(context: Context) -> None:
    """QEMU ends in good order whatever the copy is doing."""
    for stage in ("copying", "in sync", "protected", "silent"):
        context.step(stage)
        lab = PrimaryLab(context, limit_ms=LIMIT_MS)
        server = lab.serve()
        lab.attach(lab.add_target(server),
                   speed=MIB if stage == "copying" else 0)
        if stage != "copying":
            lab.wait_in_sync()
        if stage == "protected":
            lab.begin()
        if stage == "silent":
            server.stop()
            lab.guest.send_write(0, bytes(MIB))
        lab.quit()
        server.go_on()
        server.kill()


@case(linux=False, reference=False)
def disk_name_stays(context: Context) -> None:
    """A disk without users but with a copy stays until it is detached."""
    lab = PrimaryLab(context)
    lab.attach(lab.add_target(lab.serve()), sync="none")
    mark = lab.machine.qmp.mark()
    lab.cmd("block-export-del", {"id": "guest", "mode": "hard"})
    lab.machine.qmp.wait_event("BLOCK_EXPORT_DELETED", since=mark)
    text = lab.refusal("blockdev-del", node_name=NODE)
    check("copy at a secondary" in text, text)
    for command, words in (
            ("block_resize", {"node_name": NODE, "size": MIB}),
            ("block_resize", {"node_name": "image0", "size": MIB}),
            ("blockdev-snapshot-internal-sync", {"device": NODE,
                                                 "name": "x"}),
            ("block-commit", {"device": NODE})):
        text = lab.refusal(command, **words)
        check("copy at a secondary" in text, text)
    lab.detach()
    lab.cmd("blockdev-del", {"node-name": NODE})
    lab.cmd("block_resize", {"node-name": "image0", "size": lab.size})
    lab.quit()
