# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads without a connection: UDP, DNS, ICMP, neighbour discovery.

A request that is not answered within RETRY_S is repeated.  That is counted
and is no error; no answer within ANSWER_LIMIT_S is.
"""

import errno
import os
import socket
import struct
import subprocess
import time
import zlib
from typing import Callable, Optional

from . import addresses, patterns
from .workload import (ANSWER_LIMIT_S, RETRY_S, Broken, Workload, family_of)

PORT_DNS = 53
PORT_ECHO = 7005
PORT_LEDGER = 7006
TYPE_A = 1
TYPE_AAAA = 28
DNS_TTL_S = 60
BIG_BYTES = 4000
PING_BYTES = 56
ICMP_ECHO = 8
ICMP_ECHO_REPLY = 0
ICMP6_ECHO = 128
ICMP6_ECHO_REPLY = 129
NEIGHBOUR_PAUSE_S = 0.1


class Datagrams(Workload):
    """Requests and answers that may be lost on the way."""

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        self._number = 0

    def open(self) -> socket.socket:
        """A socket for this workload's port."""
        sock = socket.socket(family_of(self.address), socket.SOCK_DGRAM)
        sock.connect((self.address, self.port))
        return sock

    def ask(self, sock: socket.socket, request: bytes,
            accept: Callable[[bytes], bool]) -> None:
        """Send until an answer is accepted; others are passed over."""
        limit_s = time.monotonic() + ANSWER_LIMIT_S
        while True:
            try:
                sock.send(request)
                if self._await(sock, accept):
                    return
            except OSError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                # Its address was not found, which is repeated likewise.
                time.sleep(RETRY_S)
            if time.monotonic() > limit_s:
                raise Broken(f"number {self._number} got no answer in "
                             f"{ANSWER_LIMIT_S:.0f} s")
            with self.lock:
                self.retries_count += 1

    @staticmethod
    def _await(sock: socket.socket,
               accept: Callable[[bytes], bool]) -> bool:
        until_s = time.monotonic() + RETRY_S
        while True:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            sock.settimeout(left_s)
            try:
                answer = sock.recv(1 << 16)
            except socket.timeout:
                return False
            if accept(answer):
                return True


class Ledger(Datagrams):
    """Numbered requests; each answer depends on all before it."""

    kind = "udp"
    port = PORT_LEDGER

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        self._client = f"{label}-{os.getpid()}"
        self._sum = 0
        self._sock = self.open()

    def step(self) -> int:
        self._number += 1
        self._sum = zlib.crc32(struct.pack("<QII", self._number, self._sum,
                                           0))
        expected = f"OK {self._client} {self._number} {self._sum:08x}"

        def accept(answer: bytes) -> bool:
            text = answer.decode()
            if text == expected:
                return True
            words = text.split()
            if words[0] != "OK" or words[1] != self._client or \
                    int(words[2]) >= self._number:
                raise Broken(f"'{text}' instead of '{expected}'")
            return False        # a late answer to a repeated request
        self.ask(self._sock, f"NEXT {self._client} {self._number}".encode(),
                 accept)
        return len(expected)


class BigEcho(Datagrams):
    """Datagrams of several fragments come back whole."""

    kind = "bigudp"
    port = PORT_ECHO

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        self._sock = self.open()
        self._tail = patterns.chunk(0, BIG_BYTES)[8:]

    def step(self) -> int:
        self._number += 1
        payload = struct.pack(">Q", self._number) + self._tail

        def accept(answer: bytes) -> bool:
            if answer == payload:
                return True
            number = int.from_bytes(answer[:8], "big")
            if answer[8:] != self._tail or number >= self._number:
                raise Broken(f"echo of datagram {self._number}: "
                             f"{len(answer)} bytes, number {number}")
            return False
        self.ask(self._sock, payload, accept)
        return len(payload)


class Dns(Datagrams):
    """Questions from ever new ports; A, AAAA and names that do not exist."""

    kind = "dns"
    port = PORT_DNS

    def step(self) -> int:
        self._number += 1
        name = f"host{self._number}.{self.name.replace('.', '-')}.test"
        kind = TYPE_AAAA if self._number % 2 else TYPE_A
        if self._number % 5 == 0:
            name = "none." + name
        query = _dns_query(self._number & 0xffff, name, kind)
        expected = _dns_answer(query, name, kind)

        def accept(answer: bytes) -> bool:
            if answer != expected:
                raise Broken(f"{name} is answered {answer.hex()}, not "
                             f"{expected.hex()}")
            return True
        with self.open() as sock:
            self.ask(sock, query, accept)
        return len(expected)


def _dns_query(number: int, name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode()
                      for label in name.split("."))
    return (struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0"
            + struct.pack(">2H", kind, 1))


def _dns_answer(query: bytes, name: str, kind: int) -> bytes:
    exists = not name.startswith("none.")
    head = query[:2] + struct.pack(">5H", 0x8500 if exists else 0x8503, 1,
                                   int(exists), 0, 0)
    if not exists:
        return head + query[12:]
    crc = zlib.crc32(name.encode())
    if kind == TYPE_A:
        data = struct.pack(">I", 10 << 24 | crc & 0xffffff)
    else:
        data = struct.pack(">4I", 0xfd000000, 0, 0, crc)
    record = struct.pack(">3HIH", 0xc00c, kind, 1, DNS_TTL_S, len(data))
    return head + query[12:] + record + data


class Ping(Datagrams):
    """ICMP echo, on a raw socket: the client is root in its namespace."""

    kind = "ping"

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        self._is_v6 = family_of(address) == socket.AF_INET6
        self._id = zlib.crc32(f"{label} {os.getpid()}".encode()) & 0xffff
        self._sock = self.open()
        self._payload = patterns.chunk(100, PING_BYTES)

    def open(self) -> socket.socket:
        protocol = (socket.getprotobyname("ipv6-icmp") if self._is_v6
                    else socket.IPPROTO_ICMP)
        sock = socket.socket(family_of(self.address), socket.SOCK_RAW,
                             protocol)
        sock.connect((self.address, 0))
        return sock

    def step(self) -> int:
        self._number += 1
        sequence = self._number & 0xffff
        self.ask(self._sock, self._message(sequence),
                 lambda packet: self._is_reply(packet, sequence))
        return PING_BYTES

    def _message(self, sequence: int) -> bytes:
        kind = ICMP6_ECHO if self._is_v6 else ICMP_ECHO
        message = struct.pack(">BBHHH", kind, 0, 0, self._id, sequence) \
            + self._payload
        if self._is_v6:
            return message      # the kernel adds the checksum, RFC 3542
        total = checksum(message)
        return message[:2] + struct.pack(">H", total) + message[4:]

    def _is_reply(self, packet: bytes, sequence: int) -> bool:
        # An IPv4 raw socket also delivers the IP header.
        message = packet if self._is_v6 else packet[(packet[0] & 15) * 4:]
        kind, _, _, number, found = struct.unpack(">BBHHH", message[:8])
        wanted = ICMP6_ECHO_REPLY if self._is_v6 else ICMP_ECHO_REPLY
        if kind != wanted or number != self._id or found != sequence:
            return False
        if message[8:] != self._payload:
            raise Broken(f"echo reply {sequence} has another payload")
        return True


def checksum(data: bytes) -> int:
    """The Internet checksum, RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Neighbour(Ping):
    """Forget the guest's MAC address, find it again by ARP or ND, ping.

    Another workload on the same address, or the guest asking for the client,
    may be what finds it again.
    """

    kind = "neighbour"

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, max(pause_s, NEIGHBOUR_PAUSE_S))

    def step(self) -> int:
        subprocess.run(["ip", "neighbour", "flush", "to", self.address],
                       check=True)
        size = super().step()
        if self._known() != addresses.GUEST_MAC:
            raise Broken(f"neighbour {self.address} is {self._known()}")
        return size

    def _known(self) -> Optional[str]:
        shown = subprocess.run(["ip", "neighbour", "show", "to",
                                self.address], check=True,
                               stdout=subprocess.PIPE, text=True).stdout
        words = shown.split()
        return words[words.index("lladdr") + 1] if "lladdr" in words else None


KINDS = (Ledger, BigEcho, Dns, Ping, Neighbour)
