# SPDX-License-Identifier: GPL-2.0-or-later
"""filter-mirror and filter-redirector as plain tools, without a pair."""

import os
import socket
import time
from typing import Any, Callable, Dict, List, Tuple

import packets
from colo import procs
from colo.case import Context, add, case, check, check_equal
from colo.vm import Spec
from netlab import Lab, Nic
from wires import Wire

HELLO = b"Hello! Any bytes will do."
SIZES = (1, 14, 59, 60, 1514, 4096, 9014, 65535, 65600)
OVERSIZE = 65601            # a netdev takes it, a frame on a chardev is less
TAP = "tap0"
ETH_P_ALL = 3
VNET_BYTES = 10            # until a driver asks for more
MIB = 1 << 20
STALL_LIMIT_MIB = 64
ANSWER_LIMIT_S = 1.0


def numbered(count: int, size: int = 100) -> List[bytes]:
    """Frames that differ in their number."""
    return [packets.ethernet(number.to_bytes(8, "big") + bytes(size), 0x88B5)
            for number in range(count)]


# -------------------------------------------------------------- mirror

@case(linux=False)
def net_mirror_copies(context: Context) -> None:
    """A mirror copies its direction, and takes nothing away."""
    lab = Lab(context)
    for number, (queue, of_client, of_guest) in enumerate(
            (("tx", True, False), ("rx", False, True), ("all", True, True))):
        name = f"n{number}"
        nic = lab.nic(name)
        lab.chardev(f"c{number}")
        lab.add("filter-mirror", f"f{number}", netdev=name, queue=queue,
                outdev=f"c{number}")
        copy = lab.wire(f"c{number}")
        nic.client.send(HELLO + b"1")
        check_equal(nic.guest.frame(), HELLO + b"1", f"{queue}: guest got")
        nic.guest.send(HELLO + b"2")
        check_equal(nic.client.frame(), HELLO + b"2", f"{queue}: client got")
        wanted = [HELLO + b"1"] * of_client + [HELLO + b"2"] * of_guest
        check_equal(copy.frames(len(wanted)), wanted, f"{queue}: copies")
        copy.quiet(0.1)


@case(linux=False)
def net_mirror_to_a_file(context: Context) -> None:
    """Any kind of chardev may be the receiver of the copies."""
    lab = Lab(context)
    nic = lab.nic("n0")
    path = os.path.join(context.run_dir, "copies")
    lab.qmp.cmd("chardev-add", {"id": "c0", "backend": {
        "type": "file", "data": {"out": path}}})
    lab.add("filter-mirror", "f0", netdev="n0", outdev="c0")
    nic.client.send(HELLO)
    check_equal(nic.guest.frame(), HELLO, "frame for the guest")
    wanted = nic.client.encode(HELLO)

    def written() -> bytes:
        with open(path, "rb") as file:
            return file.read()
    procs.wait_until(lambda: written() == wanted, 5, "the copy in the file")


@case(linux=False, reference=False)
def net_frame_sizes(context: Context) -> None:
    """Frames of every size; one that is too long breaks nothing."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("c0", "c1")
    lab.qmp.cmd("chardev-add", {"id": "in", "backend": {
        "type": "socket", "data": {"server": False, "addr": {
            "type": "unix", "data": {"path": lab.path("c0")}}}}})
    lab.add("filter-redirector", "f0", netdev="n0", queue="tx", outdev="c0")
    lab.add("filter-redirector", "f1", netdev="n0", queue="tx", indev="in")
    lab.add("filter-mirror", "f2", netdev="n0", queue="tx", outdev="c1")
    copy = lab.wire("c1")
    for size in SIZES:
        frame = bytes([size & 0xFF]) * size
        nic.client.send(frame)
        check(nic.guest.frame() == frame, f"{size} bytes for the guest")
        check(copy.frame() == frame, f"{size} bytes mirrored")
    nic.client.send(bytes(OVERSIZE), HELLO)
    got = nic.guest.frame()
    if len(got) == OVERSIZE:
        got = nic.guest.frame()
    check_equal(got, HELLO, "what follows a frame that is too long")
    check("does not bring frames" not in lab.log(),
          "a frame that is too long broke a stream\n" + lab.log())


# ---------------------------------------------------------- redirector

def chain(lab: Lab, queue: str) -> Dict[str, Any]:
    """Three redirectors, the first two joined by chardevs."""
    lab.chardev("c0", "c1")
    lab.qmp.cmd("chardev-add", {"id": "c2", "backend": {
        "type": "socket", "data": {"server": False, "addr": {
            "type": "unix", "data": {"path": lab.path("c0")}}}}})
    lab.wait_connected("c0")
    return {"netdev": "n0", "queue": queue}


@case(linux=False)
def net_redirector_tx(context: Context) -> None:
    """Out to a chardev, in from it, out to us; the guest gets nothing."""
    lab = Lab(context)
    nic = lab.nic("n0")
    where = chain(lab, "tx")
    lab.add("filter-redirector", "f0", outdev="c0", **where)
    lab.add("filter-redirector", "f1", indev="c2", **where)
    lab.add("filter-redirector", "f2", outdev="c1", **where)
    out = lab.wire("c1")
    frames = numbered(50)
    nic.client.send(*frames)
    check_equal(out.frames(50), frames, "frames at the end of the chain")
    nic.guest.quiet(0.1)
    nic.guest.send(HELLO)
    check_equal(nic.client.frame(), HELLO, "the other direction")


@case(linux=False)
def net_redirector_rx(context: Context) -> None:
    """In from us, out to a chardev, in from it, to the client."""
    lab = Lab(context)
    nic = lab.nic("n0")
    where = chain(lab, "rx")
    lab.add("filter-redirector", "f0", indev="c2", **where)
    lab.add("filter-redirector", "f1", outdev="c0", **where)
    lab.add("filter-redirector", "f2", indev="c1", **where)
    source = lab.wire("c1")
    frames = numbered(50)
    source.send(*frames)
    check_equal(nic.client.frames(50), frames, "frames for the client")
    nic.guest.quiet(0.1)


@case(linux=False)
def net_redirector_both(context: Context) -> None:
    """One redirector takes away and puts in its place."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("c0", "c1")
    lab.add("filter-redirector", "f0", netdev="n0", queue="tx", outdev="c0",
            indev="c1")
    out, source = lab.wires("c0", "c1")
    nic.client.send(HELLO + b"1")
    check_equal(out.frame(), HELLO + b"1", "taken away")
    source.send(HELLO + b"2")
    check_equal(nic.guest.frame(), HELLO + b"2", "put in its place")
    nic.guest.send(HELLO + b"3")
    check_equal(nic.client.frame(), HELLO + b"3", "the other direction")
    nic.guest.quiet(0.1)


@case(linux=False)
def net_filter_status(context: Context) -> None:
    """A filter that is off lets everything pass, until it is on."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("c0", "c1")
    lab.add("filter-redirector", "f0", netdev="n0", queue="tx", outdev="c0",
            status="off")
    lab.add("filter-mirror", "f1", netdev="n0", queue="tx", outdev="c1",
            status="off")
    out, copy = lab.wires("c0", "c1")
    nic.client.send(HELLO)
    check_equal(nic.guest.frame(), HELLO, "past filters that are off")
    for name in ("f0", "f1"):
        check(lab.set(name, "status", "on") is None, "cannot be set on")
        check_equal(lab.get(name, "status"), "on", "status")
    nic.client.send(HELLO)
    check_equal(out.frame(), HELLO, "redirected when on")
    nic.guest.quiet(0.1)
    lab.set("f0", "status", "off")
    nic.client.send(HELLO)
    check_equal(nic.guest.frame(), HELLO, "past the redirector again")
    check_equal(copy.frame(), HELLO, "the copy of the mirror behind it")


@case(linux=False, reference=False)
def net_redirector_without_reader(context: Context) -> None:
    """Without a pair, frames pass a redirector that nobody is behind."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("c0")
    lab.add("filter-redirector", "f0", netdev="n0", queue="tx", outdev="c0")
    nic.client.send(HELLO)
    check_equal(nic.guest.frame(), HELLO, "nobody behind it")
    out = lab.wire("c0")
    nic.client.send(HELLO)
    check_equal(out.frame(), HELLO, "somebody behind it")
    nic.guest.quiet(0.1)
    out.close()
    lab.wait_connected("c0", False)
    nic.client.send(HELLO)
    check_equal(nic.guest.frame(), HELLO, "nobody again")


@case(linux=False, reference=False)
def net_markers_are_no_frames(context: Context) -> None:
    """Markers between frames, in pieces, never reach anybody."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("c0")
    lab.add("filter-redirector", "f0", netdev="n0", queue="tx", indev="c0")
    source = lab.wire("c0")
    source.send_marker(1)
    for byte in source.encode(HELLO):
        source.send_raw(bytes([byte]))
    source.send_marker(2)
    source.send(HELLO)
    check_equal(nic.guest.frames(2), [HELLO] * 2, "frames between markers")
    nic.guest.quiet(0.1)


# ------------------------------------------------------- bad neighbours

@case(linux=False, reference=False)
def net_mirror_stalled_reader(context: Context) -> None:
    """A receiver that does not read costs bounded memory, no time."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("c0")
    lab.add("filter-mirror", "f0", netdev="n0", queue="tx", outdev="c0")
    copy = lab.wire("c0")
    frames = [bytes([number]) * 60000 for number in range(1, 17)]
    before_kib = lab.machine.rss_kib()
    sent_bytes = 0
    while sent_bytes < 3 * STALL_LIMIT_MIB * MIB:
        for frame in frames:
            nic.client.send(frame)
            check(nic.guest.frame() == frame, "the guest gets its frames")
        sent_bytes += sum(map(len, frames))
        begin_s = time.monotonic()
        lab.qmp.cmd("query-status")
        check(time.monotonic() - begin_s < ANSWER_LIMIT_S, "slow monitor")
    grown_mib = (lab.machine.rss_kib() - before_kib) / 1024
    context.step(f"grown by {grown_mib:.0f} MiB")
    check(STALL_LIMIT_MIB / 2 < grown_mib < 3 * STALL_LIMIT_MIB,
          f"{grown_mib} MiB more memory")
    read_until_quiet(copy, frames)
    left_mib = (lab.machine.rss_kib() - before_kib) / 1024
    check(left_mib < STALL_LIMIT_MIB / 4, f"{left_mib} MiB are never freed")
    nic.client.send(HELLO)
    check_equal(nic.guest.frame(), HELLO, "for the guest")
    check_equal(copy.frame(), HELLO, "copy after the stall")


def read_until_quiet(copy: Wire, frames: List[bytes]) -> None:
    """What was kept comes whole and in order, without a gap."""
    count = 0
    try:
        while True:
            check(copy.frame(0.5) == frames[count % len(frames)],
                  f"frame {count} of the copies")
            count += 1
    except TimeoutError as error:
        check("0 bytes" in str(error), f"half a frame: {error}")
    kept_mib = count * len(frames[0]) / MIB
    check(STALL_LIMIT_MIB - 1 < kept_mib < STALL_LIMIT_MIB + 2,
          f"{kept_mib} MiB were kept")


GARBAGE = {
    "length 0": b"\0\0\0\0",
    "an absurd length": b"\x7f\xff\xff\xff" + bytes(64),
    "text": b"GET / HTTP/1.0\r\n\r\n",
    "an unknown marker": b"\xc0\x10\0\x01" + b"\0\0\0\x09" + bytes(8),
}


@case(linux=False, reference=False)
def net_redirector_garbage(context: Context) -> None:
    """What is no frame ends the connection with words; the next serves."""
    lab = Lab(context)
    nic = lab.nic("n0")
    lab.chardev("c0")
    lab.add("filter-redirector", "f0", netdev="n0", queue="tx", indev="c0")
    for number, (what, data) in enumerate(GARBAGE.items(), 1):
        source = lab.wire("c0")
        source.send(HELLO)
        check_equal(nic.guest.frame(), HELLO, f"frame before {what}")
        source.send_raw(data)
        source.wait_closed()
        procs.wait_until(
            lambda n=number: lab.log().count("chardev 'c0' does not bring "
                                             "frames: ") == n,
            5, f"words about {what}")
    source = lab.wire("c0")
    source.send(HELLO)
    check_equal(nic.guest.frame(), HELLO, "frame after garbage")
    source.send_raw(source.encode(HELLO)[:7])       # and then gone
    source.close()
    lab.wait_connected("c0", False)
    source = lab.wire("c0")
    source.send(HELLO)
    check_equal(nic.guest.frame(), HELLO, "frame after half a frame")


@case(linux=False, reference=False)
def net_redirector_garbage_in_a_pipe(context: Context) -> None:
    """A device that cannot be closed: it is said once."""
    lab = Lab(context)
    nic = lab.nic("n0")
    path = lab.path("pipe")
    for end in ("in", "out"):
        os.mkfifo(f"{path}.{end}")
    lab.qmp.cmd("chardev-add", {"id": "c0", "backend": {
        "type": "pipe", "data": {"device": path}}})
    lab.add("filter-redirector", "f0", netdev="n0", queue="tx", indev="c0")
    with open(f"{path}.in", "wb", buffering=0) as pipe:
        pipe.write(nic.client.encode(HELLO))
        check_equal(nic.guest.frame(), HELLO, "frame before garbage")
        for _ in range(20):
            pipe.write(GARBAGE["text"])
            lab.qmp.cmd("query-status")
    lab.wait_log("chardev 'c0' does not bring frames: ")
    nic.guest.quiet(0.1)
    check_equal(lab.log().count("does not bring frames"), 1, "said so often")
    lab.quit()


# ---------------------------------------------------------- vnet header

def vnet_lab(context: Context) -> Lab:
    """A NIC with vnet headers.

    Its guest has no driver and takes nothing: one frame that gets past all
    filters stops the netdev.
    """
    procs.run(["ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr"])
    argv = Spec(memory_mib=32, linux=False).argv()
    return Lab(context, argv=[
        *argv, "-netdev",
        f"tap,id=n0,ifname={TAP},script=no,downscript=no,vnet_hdr=on",
        "-device", "virtio-net-pci,netdev=n0,romfile="])


def host_end(context: Context) -> socket.socket:
    """The host's end of the tap; frames flow from here on."""
    procs.run(["ip", "link", "set", TAP, "up"])
    host = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                         socket.htons(ETH_P_ALL))
    host.bind((TAP, 0))
    host.settimeout(5)
    context.at_end(host.close)
    return host


def next_of_ours(receive: Callable[[], bytes]) -> bytes:
    """Skip what the kernel itself sends on a tap that is up."""
    while True:
        frame = receive()
        if packets.GUEST_MAC in frame[:12 + VNET_BYTES]:
            return frame


@case(linux=False)
def net_vnet_header(context: Context) -> None:
    """With vnet_hdr_support the header travels along, and is told apart."""
    lab = vnet_lab(context)
    lab.chardev("mirror", "out", "in")
    lab.add("filter-mirror", "f0", netdev="n0", queue="tx", outdev="mirror",
            vnet_hdr_support=True)
    lab.add("filter-redirector", "f1", netdev="n0", queue="tx", outdev="out",
            vnet_hdr_support=True)
    lab.add("filter-redirector", "f2", netdev="n0", queue="rx", indev="in",
            vnet_hdr_support=True)
    copy, out, source = lab.wires("mirror", "out", "in", vnet=True)
    host = host_end(context)
    for size in (100, 1000, 1400):
        frame = packets.udp(bytes(size))
        host.send(frame)
        for wire in (copy, out):
            whole = next_of_ours(lambda w=wire: w.frame_with_vnet())
            check_equal(whole[VNET_BYTES:], frame, "frame behind its header")
            check_equal(len(wire.last_vnet), VNET_BYTES, "told length")
        source.send(frame, vnet=bytes(VNET_BYTES))
        check_equal(next_of_ours(lambda: host.recv(4096)), frame,
                    "frame from indev")


@case(linux=False, reference=False)
def net_vnet_header_of_another_length(context: Context) -> None:
    """Frames for another kind of network card are dropped, with words."""
    lab = vnet_lab(context)
    lab.chardev("in")
    lab.add("filter-redirector", "f0", netdev="n0", queue="rx", indev="in",
            vnet_hdr_support=True)
    source = lab.wire("in", vnet=True)
    host = host_end(context)
    bad, good = packets.udp(b"bad"), packets.udp(b"good")
    for size in (0, 12, 20):
        source.send(bad, vnet=bytes(size))
    source.send(good, vnet=bytes(VNET_BYTES))
    check_equal(next_of_ours(lambda: host.recv(4096)), good, "what came")
    words = ("f0: chardev 'in' brings frames with vnet headers of 0 bytes, "
             "and those of netdev 'n0' have 10: dropped; the network cards "
             "of both sides must be alike")
    check(words in lab.log(), f"no '{words}' in the log")
    check_equal(lab.log().count("dropped"), 1, "times it was said")


@case(linux=False)
def net_vnet_header_not_told(context: Context) -> None:
    """Without vnet_hdr_support the header is part of the bytes."""
    lab = vnet_lab(context)
    lab.chardev("mirror", "out")
    lab.add("filter-mirror", "f0", netdev="n0", queue="tx", outdev="mirror")
    lab.add("filter-redirector", "f1", netdev="n0", queue="tx", outdev="out")
    wires = lab.wires("mirror", "out")
    host = host_end(context)
    frame = packets.udp(b"x" * 100)
    host.send(frame)
    for wire in wires:
        check_equal(next_of_ours(wire.frame)[VNET_BYTES:], frame,
                    "frame behind its header")


# --------------------------------------------------------------- many

def eight_nics(context: Context, kinds: Tuple[str, ...]) -> None:
    """Eight NICs at once, nothing gets from one to another."""
    lab = Lab(context)
    nics: List[Nic] = []
    outs: List[Wire] = []
    for number in range(8):
        nics.append(lab.nic(f"n{number}"))
        for kind in kinds:
            lab.chardev(f"{kind}{number}")
            lab.add(f"filter-{kind}", f"{kind}-{number}",
                    netdev=f"n{number}", queue="tx",
                    outdev=f"{kind}{number}")
            outs.append(lab.wire(f"{kind}{number}"))
    for number, nic in enumerate(nics):
        nic.client.send(*[HELLO + bytes([number, count])
                          for count in range(100)])
    for number, nic in enumerate(nics):
        wanted = [HELLO + bytes([number, count]) for count in range(100)]
        for wire in outs[number * len(kinds):(number + 1) * len(kinds)]:
            check_equal(wire.frames(100), wanted, f"frames of NIC {number}")
        if "redirector" in kinds:
            nic.guest.quiet(0.02)
        else:
            check_equal(nic.guest.frames(100), wanted,
                        f"the guest's frames of NIC {number}")


def _register() -> None:
    for kinds in (("mirror",), ("redirector",), ("mirror", "redirector")):
        def body(context: Context, kinds: Tuple[str, ...] = kinds) -> None:
            eight_nics(context, kinds)
        body.__doc__ = f"eight NICs with {' and '.join(kinds)}"
        add(f"net_eight_nics_{'_'.join(kinds)}", body, linux=False)


_register()
