# SPDX-License-Identifier: GPL-2.0-or-later
"""The program `colo` over TLS, with certificates of an authority of its own."""

import os
import shutil
from typing import List

from colo import procs
from colo.case import Context, case
from hosts import Host, Hosts
from scenario import both_ways

PKI = "/etc/libvirt/pki"        # on each host, and its own
DAEMON = """
listen_tls = 1
key_file = "{pki}/clientkey.pem"
cert_file = "{pki}/clientcert.pem"
ca_file = "{pki}/cacert.pem"
"""


def openssl(directory: str, *words: str) -> None:
    """Run it there."""
    procs.run(["openssl", *words], cwd=directory)


def new_key(name: str) -> List[str]:
    """The words for a key without a password."""
    return ["-newkey", "rsa:2048", "-nodes", "-keyout", name]


def make_certificates(context: Context, hosts: Hosts) -> None:
    """One for each host, which is server and client."""
    directory = os.path.join(context.run_dir, "authority")
    os.mkdir(directory)
    openssl(directory, "req", "-x509", *new_key("cakey.pem"), "-out",
            "cacert.pem", "-subj", "/CN=authority", "-days", "2", "-addext",
            "keyUsage=critical,keyCertSign")
    for host in hosts.both:
        name = f"host-{host.name}"
        with open(os.path.join(directory, "extensions"), "w",
                  encoding="ascii") as file:
            file.write(f"subjectAltName=DNS:{name}\n"
                       "keyUsage=critical,digitalSignature,"
                       "keyEncipherment\n"
                       "extendedKeyUsage=serverAuth,clientAuth\n")
        openssl(directory, "req", *new_key("clientkey.pem"), "-out",
                "request", "-subj", f"/CN={name}")
        openssl(directory, "x509", "-req", "-in", "request", "-CA",
                "cacert.pem", "-CAkey", "cakey.pem", "-CAcreateserial",
                "-extfile", "extensions", "-days", "2", "-out",
                "clientcert.pem")
        os.mkdir(host.path(PKI))
        for part in ("cacert.pem", "clientcert.pem", "clientkey.pem"):
            shutil.copy(os.path.join(directory, part), host.path(PKI))


def listen(host: Host) -> None:
    """Its daemon takes connections over TLS, and over TCP no more."""
    path = host.path("/etc/libvirt/libvirtd.conf")
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("listen_")]
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(lines) + DAEMON.format(pki=PKI))
    host.restart_daemon()


def uri_of(host: Host) -> str:
    """By which the other host reaches this one's libvirt."""
    return f"qemu+tls://host-{host.name}/system?pkipath={PKI}"


@case(timeout_s=240, reference=False)
def tls_both_ways(context: Context) -> None:
    """Protect over TLS; the way back is found by itself."""
    hosts = Hosts(context).start()
    make_certificates(context, hosts)
    for host in hosts.both:
        listen(host)
    both_ways(context, hosts, uri_of(hosts.b))
