#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Functional tests: real guests, real kills.  See README.md here."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from colo import runner  # noqa: E402  pylint: disable=wrong-import-position

if __name__ == "__main__":
    sys.exit(runner.main(sys.argv[1:], HERE, "functional", __doc__))
