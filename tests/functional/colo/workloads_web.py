# SPDX-License-Identifier: GPL-2.0-or-later
"""Workloads on the guest's HTTP server, in the clear and over TLS.

    http, https   a connection for every page; its end is asked for by the
                  one and by the other side in turn
    web, tls      all pages on one connection
"""

import http.client
import os
import socket
import ssl
from typing import Optional

from . import patterns
from .workload import Broken, Workload, open_stream

PORT_HTTP = 80
PORT_TLS = 443
TLS_HOST = "guest.test"
SHORT_MAX_BYTES = 20_000
LONG_MAX_BYTES = 100_000
STRIDE = 7919           # a prime: sizes in no regular order
CERTIFICATE = os.path.join(
    os.path.dirname(os.path.abspath(__file__)),
    "../../../build/guest/tls/certificate.pem")


class Pages(Workload):
    """Ask for pages of many sizes, check each byte."""

    tls = False
    max_bytes = 0

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        self._context: Optional[ssl.SSLContext] = None
        if self.tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.load_verify_locations(CERTIFICATE)
        self.number = 0

    def connect(self) -> socket.socket:
        """A connection, with TLS and a checked certificate if so."""
        sock = open_stream(self.address, PORT_TLS if self.tls else PORT_HTTP)
        if self._context is None:
            return sock
        # An end without the closing message of TLS is an error.
        return self._context.wrap_socket(sock, server_hostname=TLS_HOST,
                                         suppress_ragged_eofs=False)

    def fetch(self, sock: socket.socket, close: bool = False) -> int:
        """Get and check the next page."""
        self.number += 1
        size = self.number * STRIDE % self.max_bytes
        lines = [f"GET /bytes/{size}/{patterns.SEED} HTTP/1.1",
                 f"Host: {TLS_HOST}", *["Connection: close"] * close, "", ""]
        sock.sendall("\r\n".join(lines).encode())
        response = http.client.HTTPResponse(sock)
        response.begin()
        body = response.read()
        if response.status != 200 or len(body) != size:
            raise Broken(f"page {self.number}: status {response.status}, "
                         f"{len(body)} of {size} bytes")
        bad = patterns.mismatch(body, 0) if body else -1
        if bad >= 0:
            raise Broken(f"page {self.number} differs at byte {bad}")
        return size


class Http(Pages):
    """A connection for each page."""

    kind = "http"
    max_bytes = SHORT_MAX_BYTES

    def step(self) -> int:
        guest_closes = self.number % 2 == 0
        with self.connect() as sock:
            size = self.fetch(sock, guest_closes)
            if guest_closes and sock.recv(1):
                raise Broken("more after the end of the page")
        return size


class Https(Http):
    """A TLS handshake for each page."""

    kind = "https"
    tls = True


class Web(Pages):
    """All pages on one connection."""

    kind = "web"
    max_bytes = LONG_MAX_BYTES

    def __init__(self, label: str, address: str, pause_s: float) -> None:
        super().__init__(label, address, pause_s)
        self._sock = self.connect()

    def step(self) -> int:
        return self.fetch(self._sock)


class Tls(Web):
    """All pages on one TLS connection."""

    kind = "tls"
    tls = True


KINDS = (Http, Https, Web, Tls)
