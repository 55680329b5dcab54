#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of protection under libvirt: two hosts, two daemons, one program.

Same harness and same options as the functional tests (tests/functional).
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "functional"))
sys.dont_write_bytecode = True

from colo import runner  # noqa: E402  pylint: disable=wrong-import-position
import openssh  # noqa: E402  pylint: disable=wrong-import-position

if __name__ == "__main__":
    openssh.prepare()
    sys.exit(runner.main(sys.argv[1:], HERE, "libvirt", __doc__))
