# SPDX-License-Identifier: GPL-2.0-or-later
"""Client side of the test guest's services; protocol in README.md.

Import it from tests: Guest(address) opens connections, lines() gives the text
services, get_bulk() and put_bulk() stream and check content.
"""
import functools
import socket
import time

PORTS = {"echo": 7000, "kv": 7001, "control": 7002, "source": 7003,
         "sink": 7004, "http": 80, "udp": 7005, "ledger": 7006, "volumes": 7007,
         "dns": 53}
DATAGRAM_SERVICES = ("udp", "ledger", "dns")
BLOCK_BYTES = 65536
NUMBER_BYTES = 8
MASK = (1 << 64) - 1


class Lines:
    """A text service: one request line, one reply line."""

    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("r", encoding="utf-8", newline="\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def send(self, text):
        self.sock.sendall(text.encode())

    def read(self):
        line = self.file.readline()
        if not line.endswith("\n"):
            raise ConnectionError("the guest closed the connection")
        return line[:-1]

    def ask(self, request):
        self.send(request + "\n")
        return self.read()

    def list(self):
        """Key-value store only: {key: (rev, value)}."""
        entries = {}
        self.send("LIST\n")
        while True:
            word, *rest = self.read().split(" ", 3)
            if word == "END":
                return entries
            entries[rest[0]] = (int(rest[1]), rest[2])


class Guest:
    """Addresses of one guest. ports maps service names to port numbers."""

    def __init__(self, address, ports=None, timeout_s=30.0):
        self.address = address
        self.ports = ports or PORTS
        self.timeout_s = timeout_s

    def connect(self, service):
        sock = socket.create_connection((self.address, self.ports[service]),
                                        self.timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def lines(self, service):
        return Lines(self.connect(service))

    def udp_socket(self, timeout_s=1.0, service="udp"):
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.settimeout(timeout_s)
        sock.connect((self.address, self.ports[service]))
        return sock

    def wait_ready(self, old_boot_id=None, limit_s=120.0):
        """Waits for the control port of a guest that is not old_boot_id."""
        end = time.monotonic() + limit_s
        while True:
            try:
                with Guest(self.address, self.ports,
                           timeout_s=2.0).lines("control") as control:
                    if fields(control.ask("INFO"))["boot_id"] != old_boot_id:
                        return
            except OSError:
                pass
            if time.monotonic() > end:
                raise TimeoutError(f"no guest at {self.address} within "
                                   f"{limit_s:.0f} s")
            time.sleep(0.1)


def fields(reply):
    """'WORD a=1 b=2' -> {'a': '1', 'b': '2'}"""
    return dict(word.split("=", 1) for word in reply.split()[1:])


def receive_exactly(sock, size):
    received = bytearray(size)
    view = memoryview(received)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise ConnectionError(f"closed with {len(view)} of {size} bytes "
                                  "missing")
        view = view[count:]
    return bytes(received)


@functools.lru_cache(maxsize=16)
def block_tail(seed):
    """The 65,528 bytes that every block of a seed's stream has in common."""
    word = (seed * 2 + 1) & MASK
    tail = bytearray()
    while len(tail) < BLOCK_BYTES - NUMBER_BYTES:
        word ^= (word << 13) & MASK
        word ^= word >> 7
        word ^= (word << 17) & MASK
        tail += word.to_bytes(8, "little")
    return bytes(tail)


def stream_block(number, seed):
    return number.to_bytes(NUMBER_BYTES, "little") + block_tail(seed)


def stream_bytes(size, seed):
    blocks_count = -(-size // BLOCK_BYTES)
    return b"".join(stream_block(number, seed)
                    for number in range(blocks_count))[:size]


def get_bulk(sock, size, seed, progress=None):
    """Reads and checks a stream; progress(bytes so far) after each block."""
    sock.sendall(b"GET %d %d\n" % (size, seed))
    for number in range(-(-size // BLOCK_BYTES)):
        start = number * BLOCK_BYTES
        part = min(BLOCK_BYTES, size - start)
        got = receive_exactly(sock, part)
        if got != stream_block(number, seed)[:part]:
            raise ValueError(f"wrong content in bytes {start} to "
                             f"{start + part} of seed {seed}")
        if progress:
            progress(start + part)


def put_bulk(sock, size, seed, progress=None):
    """Sends a stream and waits for the guest to confirm its content."""
    sock.sendall(b"PUT %d %d\n" % (size, seed))
    for number in range(-(-size // BLOCK_BYTES)):
        start = number * BLOCK_BYTES
        part = min(BLOCK_BYTES, size - start)
        sock.sendall(stream_block(number, seed)[:part])
        if progress:
            progress(start + part)
    want = b"OK %d %d\n" % (size, seed)
    got = receive_exactly(sock, len(want))
    if got != want:
        raise ValueError(f"the guest answered {got!r}, not {want!r}")
