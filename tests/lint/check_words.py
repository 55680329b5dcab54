# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing in the repository is true of one machine only."""

import ipaddress
import re

import repo

# Hosts that documentation may cite; nothing here fetches from a fixed host.
HOSTS = re.compile(r"^([\w-]+\.)*(qemu\.org|qemu-project\.org|gnu\.org"
                   r"|kernel\.org|debian\.org/doc|libvirt\.org|w3\.org"
                   r"|rfc-editor\.org|ietf\.org|xxhash\.com|spdx\.org"
                   r"|mesonbuild\.com|llvm\.org|example\.(com|org|net))$")
URL = re.compile(r"\b(?:https?|ftp|git|ssh)://([\w.-]+\w)")
HOME = re.compile(r"(?<![\w.$}~-])/(?:root|home|work|mnt|srv|Users)/\w")
IPV4 = re.compile(r"(?<![\w.-])(\d{1,3}(?:\.\d{1,3}){3})(?![\w.])")


def text_lines():
    for name in repo.all_files():
        for number, line in repo.lines(name):
            if not repo.PATCHES.match(name) or line.startswith("+"):
                yield f"{name}:{number}", line


def check_urls():
    for place, line in text_lines():
        for match in URL.finditer(line):
            if not HOSTS.match(match.group(1)):
                yield f"{place}: names the host {match.group(1)}"


def check_paths_of_one_machine():
    for place, line in text_lines():
        match = HOME.search(line)
        if match:
            yield f"{place}: a path of one machine: {line.strip()}"


def check_addresses():
    for place, line in text_lines():
        for match in IPV4.finditer(line):
            try:
                address = ipaddress.ip_address(match.group(1))
            except ValueError:
                continue    # four numbers, but no address
            if address.is_global:
                yield f"{place}: {address} is an address of somebody"
