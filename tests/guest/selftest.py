#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Exercises every service of a running test guest, or boots one first.

Against a guest that is already up (ports of the guest at ADDRESS):
    selftest.py --address 10.77.0.2
With a guest of its own, through user networking and one port per service:
    selftest.py --qemu build/qemu-system-x86_64 [--machine q35] [--nic e1000]
                [--disk virtio-blk-pci] [--smp 2] [--full] [-- QEMU ARGUMENTS]
Output is TAP; the last line counts passed, failed and skipped. Exit status 0
only if nothing failed.
"""
import argparse
import socket
import struct
import sys
import time
import zlib

import guestclient
import guestvm


class Report:
    """Runs checks one after the other and prints TAP."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def run(self, check, *arguments):
        number = self.passed + self.failed + self.skipped + 1
        name = check.__name__.removeprefix("check_").replace("_", " ")
        start = time.monotonic()
        try:
            reason = check(*arguments)
        except (AssertionError, OSError, ValueError) as error:
            self.failed += 1
            print(f"not ok {number} - {name}: {error!r}", flush=True)
            return
        if reason:
            self.skipped += 1
            print(f"ok {number} - {name} # SKIP {reason}", flush=True)
        else:
            self.passed += 1
            took = time.monotonic() - start
            print(f"ok {number} - {name} ({took:.2f} s)", flush=True)

    def finish(self):
        print(f"1..{self.passed + self.failed + self.skipped}")
        print(f"{self.passed} passed, {self.failed} failed, "
              f"{self.skipped} skipped")
        return 1 if self.failed else 0


def expect(got, want):
    assert got == want, f"got {got!r}, expected {want!r}"


def check_control_answers(guest):
    with guest.lines("control") as control:
        expect(control.ask("PING"), "PONG")
        info = guestclient.fields(control.ask("INFO"))
        assert int(info["mem_total_kib"]) > 0 and len(info["boot_id"]) == 36
        first = int(control.ask("TIME").split()[1])
        assert int(control.ask("TIME").split()[1]) >= first
        assert control.ask("NONSENSE").startswith("ERR unknown command")


def check_tcp_echo(guest):
    with guest.connect("echo") as sock:
        for size in (1, 1460, 4096, 100000):
            payload = guestclient.stream_bytes(size, seed=size)
            sock.sendall(payload)
            expect(guestclient.receive_exactly(sock, size), payload)


def check_tcp_echo_on_200_connections(guest):
    socks = []
    # One after the other: user networking accepts one connection at a time.
    for index in range(200):
        socks.append(guest.connect("echo"))
        socks[-1].sendall(b"hello")
        expect(guestclient.receive_exactly(socks[-1], 5), b"hello")
    for index, sock in enumerate(socks):
        sock.sendall(b"connection %d" % index)
    for index, sock in enumerate(socks):
        want = b"connection %d" % index
        expect(guestclient.receive_exactly(sock, len(want)), want)
        sock.close()


def ask_datagram(sock, request):
    """The answer to a datagram, which is repeated while none comes."""
    for _ in range(5):
        sock.send(request)
        try:
            return sock.recv(65536)
        except socket.timeout:
            continue
    raise AssertionError(f"no answer to {len(request)} bytes")


def check_udp_echo(guest):
    with guest.udp_socket() as sock:
        for size in (1, 512, 1400, 8000):
            payload = guestclient.stream_bytes(size, seed=size)
            expect(ask_datagram(sock, payload), payload)


def check_ledger(guest):
    with guest.udp_socket(service="ledger") as sock:
        def ask(text):
            return ask_datagram(sock, text.encode()).decode()
        name = f"t{time.time_ns()}"
        first = ask(f"NEXT {name} 1")
        assert first.startswith(f"OK {name} 1 "), first
        expect(ask(f"NEXT {name} 1"), first)
        second = ask(f"NEXT {name} 2")
        assert second.split()[:3] == ["OK", name, "2"], second
        assert second.split()[3] != first.split()[3], second
        expect(ask(f"NEXT {name} 4"), f"ERR {name} 2")
        expect(ask(f"NEXT {name} 0"), f"ERR {name} 2")
        expect(ask(f"NEXT other{name} 1").split()[3], first.split()[3])
        assert ask("NEXT").startswith("ERR usage")
        assert ask("N" * 200).startswith("ERR request too long")


def dns_query(name, kind, flags=0x0100):
    labels = b"".join(bytes([len(label)]) + label.encode()
                      for label in name.split("."))
    return (struct.pack(">6H", 4711, flags, 1, 0, 0, 0) + labels + b"\0" +
            struct.pack(">2H", kind, 1))


def check_dns(guest):
    with guest.udp_socket(service="dns") as sock:
        for kind, head in ((1, b"\x0a"), (28, b"\xfd" + bytes(11))):
            query = dns_query("Www.Example.org", kind)
            answer = ask_datagram(sock, query)
            crc = struct.pack(">I", zlib.crc32(b"www.example.org"))
            data = head + (crc[1:] if kind == 1 else crc)
            expect(answer, struct.pack(">6H", 4711, 0x8500, 1, 1, 0, 0) +
                   query[12:] + struct.pack(">3HIH", 0xc00c, kind, 1, 60,
                                            len(data)) + data)
        for query, flags in (
                (dns_query("none.example.org", 1), 0x8503),
                (dns_query("www.example.org", 15), 0x8500),
                (dns_query("www.example.org", 1)[:20], 0x8501),
                (dns_query("www.example.org", 1, 0x2800), 0xac04)):
            answer = ask_datagram(sock, query)
            expect(struct.unpack(">4H", answer[:8])[1:4:2], (flags, 0))
        sock.send(dns_query("www.example.org", 1, 0x8000))
        sock.send(b"short")
        expect(ask_datagram(sock, dns_query("none.x", 1))[3], 0x03)


def http_response(file):
    """Status and body of the next response."""
    status = int(file.readline().split()[1])
    fields = {}
    while True:
        line = file.readline().strip()
        if not line:
            break
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    return status, file.read(int(fields[b"content-length"]))


def check_http(guest):
    with guest.connect("http") as sock:
        file = sock.makefile("rb")
        for size, seed in ((0, 1), (1, 1), (100000, 2), (1 << 20, 1)):
            sock.sendall(b"GET /bytes/%d/%d HTTP/1.1\r\nHost: guest\r\n\r\n"
                         % (size, seed))
            expect(http_response(file),
                   (200, guestclient.stream_bytes(size, seed)))
        sock.sendall(b"GET /bytes/10/3 HTTP/1.1\r\nHost: guest\r\n\r\n" * 50)
        for _ in range(50):
            expect(http_response(file)[0], 200)
        sock.sendall(b"GET /elsewhere HTTP/1.1\r\nHost: guest\r\n\r\n")
        expect(http_response(file), (404, b""))
        sock.sendall(b"GET /bytes/5/1 HTTP/1.1\r\nConnection: close\r\n\r\n")
        expect(http_response(file)[0], 200)
        expect(file.read(), b"")


def check_http_refusals(guest):
    for request, status in ((b"POST / HTTP/1.1\r\n\r\n", 405),
                            (b"what\r\n\r\n", 400),
                            (b"GET /bytes/1/1 HTTP/1.0\r\n\r\n", 200)):
        with guest.connect("http") as sock:
            file = sock.makefile("rb")
            sock.sendall(request)
            expect(http_response(file)[0], status)
            expect(file.read(), b"")


def check_store_counts_revisions(guest):
    with guest.lines("kv") as store:
        rev = int(store.ask("REV").split()[1])
        expect(store.ask("SET alpha one two"), f"OK {rev + 1}")
        expect(store.ask("SET alpha three"), f"OK {rev + 2}")
        expect(store.ask("GET alpha"), f"VALUE {rev + 2} three")
        expect(store.ask("GET nothing-here"), "NONE")
        expect(store.ask("REV"), f"REV {rev + 2}")
        assert store.ask("SET onlykey").startswith("ERR usage")
        assert store.ask("SET k " + "v" * 20000).startswith("ERR")
        expect(store.ask("REV"), f"REV {rev + 2}")
        assert store.list()["alpha"] == (rev + 2, "three")


def check_store_pipelines(guest):
    with guest.lines("kv") as store:
        rev = int(store.ask("REV").split()[1])
        store.send("".join(f"SET p{i} {i}\n" for i in range(2000)))
        for index in range(2000):
            expect(store.read(), f"OK {rev + 1 + index}")


def check_store_is_bounded(guest):
    with guest.lines("kv") as store:
        rev = int(store.ask("REV").split()[1])
        store.send("".join(f"SET big{i} {'v' * 16000}\n" for i in range(1100)))
        replies = [store.read() for _ in range(1100)]
        taken = sum(reply.startswith("OK ") for reply in replies)
        assert 1000 < taken < 1050, taken
        assert all(reply.startswith("ERR the store is full")
                   for reply in replies[taken:]), replies[-1]
        expect(store.ask("CLEAR"), f"OK {rev + taken}")
        expect(store.list(), {})


def check_durable_writes(guest):
    with guest.lines("kv") as store:
        rev = int(store.ask("REV").split()[1])
        reply = store.ask("SETD disk-key 0")
        if "no disk" in reply:
            return reply
        if "something else" in reply:
            expect(store.ask("FORMAT"), "OK 0")
            rev = 0
            reply = store.ask("SETD disk-key 0")
        expect(reply, f"OK {rev + 1}")
        for index in range(1, 50):
            expect(store.ask(f"SETD disk-key {index}"),
                   f"OK {rev + 1 + index}")
        expect(store.ask("GET disk-key"), f"VALUE {rev + 50} 49")
    return None


def check_memory_dirtying(guest, command):
    with guest.lines("control") as control:
        expect(control.ask(f"{command} 20 8"), "OK")
        time.sleep(1.5)
        stat = guestclient.fields(control.ask("DIRTYSTAT"))
        # 20 MiB/s for 1.5 s is 7680 pages; a loaded host may reach less.
        assert int(stat["pages_written"]) >= 1000, stat
        assert int(stat["pages_written"]) <= 12000, stat
        expect(control.ask("DIRTYCHECK"), "OK 8")
        expect(control.ask("DIRTY 0"), "OK")
        expect(guestclient.fields(control.ask("DIRTYSTAT"))["span_mib"], "0")
        assert "not enough free memory" in control.ask(f"{command} 1 60000")


def check_sparse_dirtying(guest):
    check_memory_dirtying(guest, "DIRTY")


def check_full_dirtying(guest):
    check_memory_dirtying(guest, "DIRTYFULL")


def check_bulk_source(guest):
    with guest.connect("source") as sock:
        for size, seed in ((1, 1), (65536, 2), (3000001, 3), (16 << 20, 4)):
            guestclient.get_bulk(sock, size, seed)


def check_bulk_sink(guest):
    with guest.connect("sink") as sock:
        for size, seed in ((1, 1), (65536, 2), (3000001, 3), (16 << 20, 4)):
            guestclient.put_bulk(sock, size, seed)


def check_bulk_sink_sees_a_wrong_byte(guest):
    with guest.connect("sink") as sock:
        data = bytearray(guestclient.stream_bytes(200000, seed=5))
        data[123456] ^= 1
        sock.sendall(b"PUT 200000 5\n" + data)
        expect(sock.makefile().readline(), "ERR wrong byte at 123456\n")


def check_cpu_load(guest):
    with guest.lines("control") as control:
        expect(control.ask("CPU 2"), "OK")
        expect(control.ask("PING"), "PONG")
        expect(control.ask("CPU 0"), "OK")
        assert control.ask("CPU 1000").startswith("ERR")


def check_disk_load(guest):
    with guest.lines("control") as control:
        reply = control.ask("DISK WRITE 8 4")
        if "no disk" in reply:
            return reply
        expect(reply, "OK")
        time.sleep(1.2)
        expect(control.ask("DISK CHECK"), "OK")
        expect(control.ask("DISK READ 8 4"), "OK")
        time.sleep(0.3)
        stat = guestclient.fields(control.ask("DISK STAT"))
        expect(control.ask("DISK STOP"), "OK")
        assert int(stat["chunks"]) > 0 and stat["errors"] == "0", stat
        expect(control.ask("DISK CHECK"), "OK")
    return None


def check_store_survives_reboot(guest):
    with guest.lines("kv") as store:
        rev_reply = store.ask("SETD survivor yes")
        if "no disk" in rev_reply:
            return rev_reply
        rev = int(rev_reply.split()[1])
        store.ask("SET memory-only lost")
    with guest.lines("control") as control:
        boot_id = guestclient.fields(control.ask("INFO"))["boot_id"]
        expect(control.ask("REBOOT"), "OK")
    guest.wait_ready(old_boot_id=boot_id)
    with guest.lines("kv") as store:
        expect(store.ask("GET survivor"), f"VALUE {rev} yes")
        expect(store.ask("REV"), f"REV {rev}")
        expect(store.ask("GET memory-only"), "NONE")
    return None


def check_volumes(guest):
    try:
        with guest.lines("volumes") as volumes:
            if volumes.ask("MOUNT vdb") != "OK":
                return "no second disk with ext4"
    except OSError:
        return "only in the full guest, with colo.volumes=1"
    with guest.lines("volumes") as volumes:
        for number in range(1, 8):
            expect(volumes.ask(f"RECORD vdb some {number}"), f"OK {number}")
        expect(volumes.ask("RECORDS vdb some 7"), "OK 7")
        assert volumes.ask("RECORDS vdb some 9").startswith("ERR record 9")
        expect(volumes.ask("DATABASE vdb delete"), "OK")
        for number in range(1, 4):
            expect(volumes.ask(f"COMMIT me {number}"), f"OK {number}")
        expect(volumes.ask("AUDIT me 3"), "OK 3")
        assert volumes.ask("AUDIT me 5").startswith("ERR entry 4")
        assert volumes.ask("COMMIT me 3").startswith("ERR")
    with guest.lines("volumes") as volumes:
        assert volumes.ask("RECORD vdc some 1").startswith("ERR")
        expect(volumes.ask("UMOUNT vdb"), "OK")
        expect(volumes.ask("FSCK vdb"), "OK")
        expect(volumes.ask("WRITE vdb sequential 1 2"), "OK 2")
        expect(volumes.ask("WRITE vdb random 1 4"), "OK 4")
        expect(volumes.ask("READ vdb random 1 4"), "OK 4")
        assert volumes.ask("READ vdb random 2 4").startswith("ERR the disk")
        expect(volumes.ask("DISCARD vdb 0 1048576"), "OK 1048576")
        assert volumes.ask("FSCK vdb").startswith("ERR")
    return None


def check_power_off(guest, machine):
    with guest.lines("control") as control:
        expect(control.ask("POWEROFF"), "OK")
    machine.wait_exit()


CHECKS = (
    check_control_answers, check_tcp_echo, check_tcp_echo_on_200_connections,
    check_udp_echo, check_ledger, check_dns, check_http, check_http_refusals,
    check_store_counts_revisions, check_store_pipelines,
    check_store_is_bounded, check_durable_writes, check_sparse_dirtying,
    check_full_dirtying, check_bulk_source, check_bulk_sink,
    check_bulk_sink_sees_a_wrong_byte, check_cpu_load, check_disk_load,
    check_volumes,
)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--address", help="of a guest that is up")
    guestvm.add_arguments(parser)
    arguments = parser.parse_args()
    if bool(arguments.address) == bool(arguments.qemu):
        parser.error("give --address of a running guest, or --qemu to boot one")
    return arguments


def main():
    arguments = parse_arguments()
    report = Report()
    if arguments.address:
        guest = guestclient.Guest(arguments.address)
        for check in CHECKS:
            report.run(check, guest)
        return report.finish()
    with guestvm.Machine(arguments) as machine:
        guest = machine.guest
        print(f"# ready after {machine.wait_ready():.1f} s", flush=True)
        for check in CHECKS + (check_store_survives_reboot,):
            report.run(check, guest)
        report.run(check_power_off, guest, machine)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
