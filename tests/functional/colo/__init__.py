# SPDX-License-Identifier: GPL-2.0-or-later
"""Building blocks of the functional tests: two QEMUs, a network, a client."""
