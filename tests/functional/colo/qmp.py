# SPDX-License-Identifier: GPL-2.0-or-later
"""A small QMP client.

One unix socket, one thread.  Nothing is read in the background: replies and
events are taken from the socket whenever a method of this class waits, so the
object needs no lock.  Every event is kept for good in `events`, in order of
arrival; a caller that wants "the next STOP from here on" takes `mark()` first
and hands it to `wait_event()`.  No method waits without a limit.
"""

import json
import os
import select
import socket
import time
from typing import Any, Callable, Dict, List, Optional, TextIO

Message = Dict[str, Any]


class QMPError(Exception):
    """QEMU refused a command."""

    def __init__(self, who: str, command: str, error: Message) -> None:
        self.command = command
        self.cls = str(error.get("class", "?"))
        self.desc = str(error.get("desc", "?"))
        super().__init__(f"{who}: {command}: {self.desc}")


class QMPTimeout(Exception):
    """Nothing came within the limit."""


class QMPClosed(Exception):
    """QEMU closed the monitor, normally because it ended."""


def event_time_s(event: Message) -> float:
    """The moment at which QEMU raised the event, in seconds."""
    stamp = event["timestamp"]
    return stamp["seconds"] + stamp["microseconds"] / 1e6


class QMPClient:
    """A connection to one monitor; see the top of the file."""

    def __init__(self, path: str, who: str, timeout_s: float = 20.0,
                 log: Optional[TextIO] = None) -> None:
        self.path = path
        self.who = who
        self.timeout_s = timeout_s
        self.events: List[Message] = []
        self.greeting: Message = {}
        self._log = log
        self._buffer = b""
        self._inbox: List[Message] = []
        self._serial = 0
        self._closed = False
        self._socket: Optional[socket.socket] = None

    # -- connection ------------------------------------------------------

    def connect(self, alive: Callable[[], bool]) -> None:
        """Connect and negotiate; `alive` tells whether QEMU still runs."""
        limit = time.monotonic() + self.timeout_s
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(self.path)
                break
            except OSError as error:
                sock.close()
                if not alive():
                    raise QMPClosed(f"{self.who}: QEMU ended before its "
                                    "monitor answered, see its log") from error
                if time.monotonic() > limit:
                    raise QMPTimeout(f"{self.who}: no monitor at {self.path} "
                                     f"after {self.timeout_s} s") from error
            time.sleep(0.02)
        self._socket = sock
        self.greeting = self._next_message(limit, "greeting")
        self.cmd("qmp_capabilities")

    def close(self) -> None:
        """Close our end; harmless when repeated."""
        self._closed = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # -- commands --------------------------------------------------------

    def cmd(self, command: str, arguments: Optional[Message] = None,
            timeout_s: Optional[float] = None,
            fds: Optional[List[int]] = None) -> Any:
        """Run a command and return its answer, or raise QMPError."""
        self._serial += 1
        request: Message = {"execute": command, "id": self._serial}
        if arguments:
            request["arguments"] = arguments
        self._send(request, fds)
        limit = time.monotonic() + (timeout_s or self.timeout_s)
        while True:
            answer = self._next_reply(limit, command)
            if answer.get("id") == self._serial:
                break
        if "error" in answer:
            raise QMPError(self.who, command, answer["error"])
        return answer["return"]

    def cmds_at_once(self, *commands: str) -> None:
        """Send commands in one piece; their answers are nobody's."""
        if self._socket is None:
            raise QMPClosed(f"{self.who}: monitor is closed")
        requests = [{"execute": command} for command in commands]
        for request in requests:
            self._note("->", request)
        self._socket.sendall(b"".join(json.dumps(request).encode() + b"\n"
                                      for request in requests))

    def hmp(self, line: str, timeout_s: Optional[float] = None) -> str:
        """Run a line of the human monitor and return what it printed."""
        return self.cmd("human-monitor-command", {"command-line": line},
                        timeout_s)

    def try_cmd(self, command: str,
                arguments: Optional[Message] = None) -> Optional[QMPError]:
        """Run a command whose refusal is of interest; the error or None."""
        try:
            self.cmd(command, arguments)
        except QMPError as error:
            return error
        return None

    def has_command(self, name: str) -> bool:
        """True if this QEMU offers the command."""
        if not hasattr(self, "_commands"):
            self._commands = {c["name"] for c in self.cmd("query-commands")}
        return name in self._commands

    # -- events ----------------------------------------------------------

    def mark(self) -> int:
        """A position for `wait_event`: what is known by now is behind it."""
        self.poll()
        return len(self.events)

    def poll(self, wait_s: float = 0.0) -> None:
        """Take in what has arrived, waiting at most `wait_s` for more."""
        while not self._closed and self._receive(wait_s):
            wait_s = 0.0

    def seen(self, name: str, since: int = 0) -> List[Message]:
        """All events of that name from `since` on."""
        self.poll()
        return [e for e in self.events[since:] if e["event"] == name]

    def wait_event(self, name: str, timeout_s: Optional[float] = None,
                   since: int = 0,
                   match: Optional[Callable[[Message], bool]] = None
                   ) -> Message:
        """The first event of that name (and match) from `since` on."""
        limit_s = timeout_s or self.timeout_s
        limit = time.monotonic() + limit_s
        while True:
            for event in self.events[since:]:
                since += 1
                if event["event"] != name:
                    continue
                if match is None or match(event.get("data", {})):
                    return event
            left_s = limit - time.monotonic()
            if left_s <= 0:
                raise QMPTimeout(f"{self.who}: no event {name} in {limit_s} s; "
                                 f"last events: {self._tail()}")
            if self._closed:
                raise QMPClosed(f"{self.who}: monitor closed, waiting for "
                                f"event {name}")
            self.poll(left_s)

    def _tail(self) -> str:
        return ", ".join(e["event"] for e in self.events[-6:]) or "none"

    # -- wire ------------------------------------------------------------

    def _send(self, request: Message, fds: Optional[List[int]]) -> None:
        if self._socket is None:
            raise QMPClosed(f"{self.who}: monitor is closed")
        data = json.dumps(request).encode() + b"\n"
        self._note("->", request)
        self._socket.settimeout(self.timeout_s)
        try:
            if fds:
                socket.send_fds(self._socket, [data], fds)
            else:
                self._socket.sendall(data)
        except socket.timeout as error:
            raise QMPTimeout(f"{self.who}: monitor takes no command, "
                             f"{request['execute']} not sent") from error
        except OSError as error:
            self._closed = True
            raise QMPClosed(f"{self.who}: monitor gone at "
                            f"{request['execute']}: {error}") from error

    def _next_reply(self, limit: float, what: str) -> Message:
        while True:
            for index, message in enumerate(self._inbox):
                if "event" not in message:
                    return self._inbox.pop(index)
            self._wait_more(limit, what)

    def _next_message(self, limit: float, what: str) -> Message:
        while not self._inbox:
            self._wait_more(limit, what)
        return self._inbox.pop(0)

    def _wait_more(self, limit: float, what: str) -> None:
        left_s = limit - time.monotonic()
        if left_s <= 0:
            raise QMPTimeout(f"{self.who}: no answer to {what}")
        if self._closed:
            raise QMPClosed(f"{self.who}: monitor closed during {what}")
        self._receive(left_s)

    def _receive(self, wait_s: float) -> bool:
        """Read once; False if nothing came or the peer is gone."""
        if self._socket is None:
            return False
        ready, _, _ = select.select([self._socket], [], [], max(wait_s, 0))
        if not ready:
            return False
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self._closed = True
            return False
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            if line.strip():
                self._store(json.loads(line))
        return True

    def _store(self, message: Message) -> None:
        self._note("<-", message)
        if "event" in message:
            self.events.append(message)
        else:
            self._inbox.append(message)

    def _note(self, arrow: str, message: Message) -> None:
        if self._log is not None and not self._log.closed:
            now = time.time()
            self._log.write(f"{now:.6f} {arrow} {json.dumps(message)}\n")


def socket_path(directory: str, name: str) -> str:
    """A path for a unix socket, checked against the kernel's limit."""
    path = os.path.join(directory, name)
    if len(path) > 100:
        raise ValueError(f"{path}: too long for a unix socket, "
                         "set TMPDIR to a shorter directory")
    return path
