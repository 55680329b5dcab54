# SPDX-License-Identifier: GPL-2.0-or-later
"""Who has which address in the private network of a test.

The client process uses this too, so nothing else is imported here.
"""

PREFIX = 24
PREFIX6 = 64
VLAN_ID = 8

CLIENT_MAC = "52:54:00:07:00:01"
GUEST_MAC = "52:54:00:07:00:02"
PLAIN_MAC = "52:54:00:07:00:03"
CLIENT_SECOND_MAC = "52:54:00:07:01:01"
GUEST_SECOND_MAC = "52:54:00:07:01:02"

CLIENT_IP = "10.0.7.1"
GUEST_IP = "10.0.7.2"
PLAIN_IP = "10.0.7.3"               # of a guest beside it without protection
CLIENT_IP6 = "fd07::1"
GUEST_IP6 = "fd07::2"
CLIENT_VLAN_IP = "10.0.8.1"
GUEST_VLAN_IP = "10.0.8.2"
CLIENT_VLAN_IP6 = "fd08::1"
GUEST_VLAN_IP6 = "fd08::2"
CLIENT_SECOND_IP = "10.0.10.1"      # of a second network card
GUEST_SECOND_IP = "10.0.10.2"

# What is put behind the name of a workload, and where it then goes.
GUEST_OF_SUFFIX = {
    "": GUEST_IP,
    "6": GUEST_IP6,
    ".vlan": GUEST_VLAN_IP,
    "6.vlan": GUEST_VLAN_IP6,
    ".second": GUEST_SECOND_IP,
    ".plain": PLAIN_IP,
}
