# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames that a guest could send, with right checksums.

From the guest 10.0.7.2 to a client 10.0.7.1.  Written from the RFCs and not
from the code under test.
"""

import struct

from colo import netns

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
GUEST_PORT = 80
CLIENT_PORT = 4711


def _mac(text: str) -> bytes:
    return bytes(int(part, 16) for part in text.split(":"))


def _address(text: str) -> bytes:
    return bytes(int(part) for part in text.split("."))


GUEST_MAC = _mac(netns.GUEST_MAC)
CLIENT_MAC = _mac(netns.CLIENT_MAC)
GUEST = _address(netns.GUEST_IP)
CLIENT = _address(netns.CLIENT_IP)


def checksum(data: bytes) -> int:
    """The checksum of RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ethernet(body: bytes, ethertype: int = ETHERTYPE_IPV4) -> bytes:
    """A frame of the guest to the client."""
    return CLIENT_MAC + GUEST_MAC + struct.pack(">H", ethertype) + body


def ipv4(protocol: int, body: bytes, identification: int = 0) -> bytes:
    """A frame with an IPv4 datagram."""
    length = min(20 + len(body), 0xFFFF)
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, length, identification,
                       0x4000, 64, protocol, 0, GUEST, CLIENT)
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return ethernet(head + body)


def _with_checksum(protocol: int, body: bytes, at: int) -> bytes:
    pseudo = GUEST + CLIENT + struct.pack(">HH", protocol,
                                          len(body) & 0xFFFF)
    value = struct.pack(">H", checksum(pseudo + body))
    return body[:at] + value + body[at + 2:]


def tcp(seq: int, data: bytes = b"", ack: int = 1, flags: int = ACK,
        guest_port: int = GUEST_PORT, client_port: int = CLIENT_PORT,
        identification: int = 0) -> bytes:
    """A TCP segment."""
    head = struct.pack(">HHIIBBHHH", guest_port, client_port,
                       seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 5 << 4, flags,
                       0xFFFF, 0, 0)
    return ipv4(6, _with_checksum(6, head + data, 16), identification)


def udp(data: bytes, guest_port: int = 53,
        client_port: int = CLIENT_PORT, identification: int = 0) -> bytes:
    """A UDP datagram."""
    head = struct.pack(">HHHH", guest_port, client_port, 8 + len(data), 0)
    return ipv4(17, _with_checksum(17, head + data, 6), identification)


def arp(operation: int = 1) -> bytes:
    """Who has the client's address?  (1), or an answer (2)."""
    body = struct.pack(">HHBBH6s4s6s4s", 1, ETHERTYPE_IPV4, 6, 4, operation,
                       GUEST_MAC, GUEST, bytes(6), CLIENT)
    return ethernet(body, ETHERTYPE_ARP)


def tcp_data(frame: bytes) -> bytes:
    """The payload of a segment made by tcp(), perhaps cut since."""
    length = struct.unpack(">H", frame[16:18])[0]
    return frame[54:14 + length]


def tcp_seq(frame: bytes) -> int:
    """The sequence number of a segment."""
    return int(struct.unpack(">I", frame[38:42])[0])
