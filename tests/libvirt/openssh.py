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
# Programs that it looks for where they would have been installed: the first
# one from 9.8 on, the second one from 10.0 on.
PARTS = (("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth"))
LOG = os.path.join(UNPACKED, "unpack.log")


def installed() -> str:
    """The machine's own; empty if it has none."""
    return shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin") or ""


def prepare() -> None:
    """See to it that command() has a server to start; what fails is in LOG."""
    if installed() or os.path.exists(SERVER):
        return
    os.makedirs(os.path.join(UNPACKED, "partial"), exist_ok=True)
    print("# Unpacking an ssh server ...", flush=True)
    with open(LOG, "wb") as log:
        # It, and of the libraries that it needs those which are not there.
        subprocess.run(["apt-get", "install", "--download-only", "--yes",
                        "--no-install-recommends", "-o",
                        f"Dir::Cache::Archives={UNPACKED}", "openssh-server"],
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
    for option, name in PARTS:
        part = os.path.join(UNPACKED, "usr/lib/openssh", name)
        if os.path.exists(part):
            words += ["-o", f"{option}={part}"]
    return words
