#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Records the capture that test-pcap replays: data/conversation.pcap.

Two private network namespaces, a guest and a client, with a wire between
them that is this program: it carries each Ethernet frame by hand, loses and
delays a few, and writes down what it carries.  What is said is synthetic; how
it is said is Linux: handshakes, windows, retransmissions, SACK, FIN and RST,
neighbour discovery, fragments.  Needs root, and iproute2.

    tests/net/record.py tests/net/data/conversation.pcap
"""

import ctypes
import fcntl
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SIOCETHTOOL = 0x8946
OFFLOADS = (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C)     # csum, sg, TSO, GSO, GRO
LOST_ONE_IN = 14
SNAP_BYTES = 65535
GUEST_MAC, CLIENT_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
V4, V6 = ("10.77.0.2", "10.77.0.1"), ("fd77::2", "fd77::1")
TEXT = b"".join(b"line %06d of what is said\n" % i for i in range(2000))


def private_network():
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        sys.exit(f"record: unshare: {os.strerror(ctypes.get_errno())}")


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def no_offloads(name):
    """The wire needs frames as they would be on one, checksums filled in."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for command in OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP", name.encode(),
                                  ctypes.addressof(value))
            try:
                fcntl.ioctl(s, SIOCETHTOOL, request)
            except OSError:
                pass        # one that this kernel has not


def end_of_wire(name, mac, mine):
    """A process in a namespace of its own; returns its pid when it is up."""
    ready_r, ready_w = os.pipe()
    go_r, go_w = os.pipe()
    pid = os.fork()
    if pid:
        os.read(ready_r, 1)
        ip("link", "set", name, "netns", str(pid))
        os.write(go_w, b"x")
        os.read(ready_r, 1)
        return pid
    private_network()
    os.write(ready_w, b"x")
    os.read(go_r, 1)
    no_offloads(name)
    ip("link", "set", "lo", "up")
    ip("link", "set", name, "address", mac)
    ip("addr", "add", mine[0] + "/24", "dev", name)
    ip("addr", "add", mine[1] + "/64", "dev", name, "nodad")
    ip("link", "set", name, "up")
    os.write(ready_w, b"x")
    return 0


# ---- the guest ----

def serve(family, address, port, handle):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(8)

    def loop():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=handle, args=(connection,),
                             daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()


def answer(connection):
    """A request is a number of bytes as text; the reply has so many."""
    with connection, connection.makefile("rwb") as stream:
        for line in stream:
            stream.write(TEXT[:int(line)])
            stream.flush()


def swallow(connection):
    with connection:
        total = 0
        while data := connection.recv(4096):
            total += len(data)
        connection.sendall(b"%d\n" % total)


def call_client():
    """The guest opens, and ends without manners."""
    with socket.create_connection((V4[1], 7100)) as s:
        s.sendall(TEXT[:700])
        s.recv(100)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                     struct.pack("ii", 1, 0))


def guest():
    serve(socket.AF_INET, V4[0], 80, answer)
    serve(socket.AF_INET6, V6[0], 80, answer)
    serve(socket.AF_INET, V4[0], 81, swallow)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((V4[0], 7))
    while True:
        data, peer = udp.recvfrom(10000)
        if data == b"call":
            call_client()
        else:
            udp.sendto(data[::-1], peer)


# ---- the client ----

def ask(family, address, sizes):
    with socket.create_connection((address, 80)) as s, \
            s.makefile("rwb") as stream:
        for size in sizes:
            stream.write(b"%d\n" % size)
            stream.flush()
            assert stream.read(size) == TEXT[:size]


def ping(count):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW,
                       socket.IPPROTO_ICMP) as s:
        for i in range(count):
            body = struct.pack(">BBHHH", 8, 0, 0, 77, i) + TEXT[:56]
            total = sum(struct.unpack(f">{len(body) // 2}H", body))
            total = (total >> 16) + (total & 0xFFFF)
            total += total >> 16
            s.sendto(body[:2] + struct.pack(">H", ~total & 0xFFFF) + body[4:],
                     (V4[0], 0))
            time.sleep(0.01)


def client():
    listener = socket.create_server((V4[1], 7100))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for size in (20, 300, 1400, 2500, 60):
        udp.sendto(TEXT[:size], (V4[0], 7))
        time.sleep(0.02)
    ping(4)
    for sizes in ((100, 2000), (1,), (5000, 10, 10, 300)):
        ask(socket.AF_INET, V4[0], sizes)
    ask(socket.AF_INET6, V6[0], (3000, 40))
    ask(socket.AF_INET, V4[0], (24000,))
    with socket.create_connection((V4[0], 81)) as s:
        s.sendall(TEXT[:12000])
        s.shutdown(socket.SHUT_WR)
        s.recv(100)
    try:
        socket.create_connection((V4[0], 9)).close()
    except ConnectionRefusedError:
        pass
    udp.sendto(b"call", (V4[0], 7))
    connection, _ = listener.accept()
    with connection:
        connection.recv(2000)
        connection.sendall(b"enough")
        time.sleep(0.3)


# ---- the wire ----

def open_end(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                      socket.htons(ETH_P_ALL))
    s.bind((name, ETH_P_ALL))
    return s


def carry(ends, out, stop):
    """Frames from each end to the other, until @stop says so."""
    rand = random.Random(1)
    out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAP_BYTES, 1))
    while not stop.is_set():
        for s in select.select(ends, [], [], 0.1)[0]:
            try:
                frame, address = s.recvfrom(70000)
            except OSError:
                return          # the client has left, and its end with it
            if address[2] == socket.PACKET_OUTGOING:
                continue
            now = time.time()
            out.write(struct.pack("<IIII", int(now), int(now % 1 * 1e6),
                                  len(frame), len(frame)) + frame)
            if len(frame) > 100 and rand.randrange(LOST_ONE_IN) == 0:
                continue
            ends[s is ends[0]].send(frame)


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE")
    private_network()
    for end in ("guest", "client"):
        ip("link", "add", end, "type", "veth", "peer", "name", end + "-wire")
        no_offloads(end + "-wire")
        ip("link", "set", end + "-wire", "up")
    guest_pid = end_of_wire("guest", GUEST_MAC, (V4[0], V6[0]))
    if not guest_pid:
        guest()
    ends = [open_end("guest-wire"), open_end("client-wire")]
    client_pid = end_of_wire("client", CLIENT_MAC, (V4[1], V6[1]))
    if not client_pid:
        client()
        os._exit(0)
    stop = threading.Event()
    with open(sys.argv[1], "wb") as out:
        wire = threading.Thread(target=carry, args=(ends, out, stop))
        wire.start()
        _, status = os.waitpid(client_pid, 0)
        time.sleep(0.5)
        stop.set()
        wire.join()
    os.kill(guest_pid, signal.SIGKILL)
    os.waitpid(guest_pid, 0)
    sys.exit(status != 0)


if __name__ == "__main__":
    main()
