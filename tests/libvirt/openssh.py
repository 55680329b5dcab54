# SPDX-License-Identifier: GPL-2.0-or-later
"""An ssh server for hosts that have none.

Its package would start one on the machine itself, so it is not installed but
unpacked below build/, before the cases begin: these have no network.
"""

import glob
import os
import shutil
import subprocess
from typing import List

from colo import vm

UNPACKED = os.path.join(vm.TOP, "build", "openssh")
SERVER = os.path.join(UNPACKED, "usr/sbin/sshd")
# The second one is a library of it that few machines have.
PACKAGES = ("openssh-server", "libwrap0")
LOG = os.path.join(UNPACKED, "unpack.log")


def installed() -> str:
    """The machine's own; empty if it has none."""
    return shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin") or ""


def prepare() -> None:
    """See to it that command() has a server to start; what fails is in LOG."""
    if installed() or os.path.exists(SERVER):
        return
    os.makedirs(UNPACKED, exist_ok=True)
    print("# Unpacking an ssh server ...", flush=True)
    with open(LOG, "wb") as log:
        for package in PACKAGES:
            subprocess.run(["apt-get", "download", package], cwd=UNPACKED,
                           stdout=log, stderr=log, check=False)
        for path in glob.glob(os.path.join(UNPACKED, "*.deb")):
            subprocess.run(["dpkg-deb", "-x", path, UNPACKED], stdout=log,
                           stderr=log, check=False)


def command() -> List[str]:
    """How to start a server."""
    if installed():
        return [installed()]
    if not os.path.exists(SERVER):
        raise AssertionError(f"there is no sshd, and none was unpacked, see "
                             f"{LOG}: apt-get install openssh-server")
    libraries = [path for pattern in ("lib", "usr/lib") for path in
                 glob.glob(os.path.join(UNPACKED, pattern, "*-linux-gnu*"))]
    words = ["env", "LD_LIBRARY_PATH=" + ":".join(libraries), SERVER]
    session = os.path.join(UNPACKED, "usr/lib/openssh/sshd-session")
    if os.path.exists(session):         # from 9.8 on
        words += ["-o", f"SshdSessionPath={session}"]
    return words
