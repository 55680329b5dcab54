/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Everything but TCP: one datagram against another, in order. */
#include "compare-script.h"

static const Script pairs[] = {
    { "udp", "p u1; s u1 > u1; s u2; p u2 > u2; held 0; matched 2" },
    { "icmp", "p i1; s i1 > i1" },
    { "sctp", "p k1; s k1 > k1" },
    { "arp", "p r1; s r1 > r1" },
    { "opaque", "p o1; s o1 > o1" },
    { "rejected", "p h1; s h1 > h1" },
    { "in-order", "p u1; p u2; s u1 > u1; s u2 > u2" },
    { "secondary-ahead", "s u1; s u2; s u3; p u1 > u1; p u2 > u2; "
      "p u3 > u3" },
    { "flows-apart", "p u1; p u2 #1; s u2 #1 > u2; s u1 > u1" },
    { "kinds-apart", "p u1; p i1; p r1; p o1; s o1 > o1; s r1 > r1; "
      "s i1 > i1; s u1 > u1" },
    { "arp-addresses-apart", "p r1; p r2 x27; s r2 x27 > r2; s r1 > r1" },
    { "echo-ids-apart", "p i1; p i2 #1; s i2 #1 > i2; s i1 > i1" },
    { "twice-the-same", "p u1; p u1; s u1 > u1; held 1; s u1 > u1" },
};

/* What does not count. */
static const Script neutral[] = {
    { "ip-header", "p u1; s u1 y > u1; p i1; s i1 y > i1; p k1; "
      "s k1 y > k1" },
    { "partial-checksum", "p u1 c; s u1 > u1; p u2; s u2 c > u2; p u3 c; "
      "s u3 c > u3" },
    { "bytes-beside-a-partial-checksum", "p u1 c; s u1 x8 "
      "! mismatch payload" },
};

static const Script different[] = {
    { "udp", "p u1; s u1 x30 ! mismatch payload; held 1" },
    { "last-byte", "p u1; s u1 x59 ! mismatch payload" },
    { "icmp", "p i1; s i1 x30 ! mismatch payload" },
    { "icmp-code", "p i1; s i1 x1 ! mismatch payload" },
    { "sctp", "p k1; s k1 x8 ! mismatch payload" },
    { "arp", "p r1; s r1 x22 ! mismatch payload" },
    { "opaque", "p o1; s o1 x59 ! mismatch payload" },
    { "rejected", "p h1; s h1 x59 ! mismatch payload" },
    { "length", "p u1; s u1 l1 ! mismatch length; held 1" },
    { "length-of-what-is-opaque", "p o1; s o1 l1 ! mismatch length" },
    { "ethernet-address", "p u1; s u1 d ! mismatch header; held 1" },
    { "ethernet-address-of-arp", "p r1; s r1 d ! mismatch header" },
    { "order", "p u1; p u2; s u2 ! mismatch payload; s u1; held 2" },
    { "nothing-leaves-any-more", "p u1; s u1 x30 ! mismatch payload; p u2; "
      "s u1; s u2; held 2; cut 1; release 1 > u1, u2; epoch 1; p u3; "
      "s u3 > u3" },
    { "others-go-on", "p u1; s u1 x30 ! mismatch payload; p u2 #1; "
      "s u2 #1 > u2; p i1; s i1 > i1" },
    { "asked-once", "p u1; s u1 x30 ! mismatch payload; p i1; s i1 x30; "
      "cut 1; release 1 > u1, i1; epoch 1; p u1; "
      "s u1 x30 ! mismatch payload" },
    { "missing-at-the-secondary", "p u1; tick 999999; tick 1 ! timeout; "
      "held 1; tick 999999; tick 1 ! timeout" },
};

/* Datagrams in four parts. */
static const Script fragments[] = {
    { "whole-train", "p u1/0; p u1/1; p u1/2; p u1/3; s u1/0; s u1/1; "
      "s u1/2; s u1/3 > u1/0, u1/1, u1/2, u1/3; held 0; matched 4" },
    { "secondary-first", "s u1/0; s u1/1; s u1/2; s u1/3; p u1/0; p u1/1; "
      "p u1/2; p u1/3 > u1/0, u1/1, u1/2, u1/3" },
    { "trains-interleaved", "p u1/0; p u2/0 #1; p u1/1; p u2/1 #1; p u1/2; "
      "p u1/3; p u2/2 #1; p u2/3 #1; s u2/0 #1; s u2/1 #1; s u2/2 #1; "
      "s u2/3 #1 > u2/0, u2/1, u2/2, u2/3; s u1/0; s u1/1; s u1/2; "
      "s u1/3 > u1/0, u1/1, u1/2, u1/3" },
    { "a-byte-differs", "p u1/0; p u1/1; p u1/2; p u1/3; s u1/0; s u1/1; "
      "s u1/2 x40; s u1/3 ! mismatch payload; held 4" },
    { "length-differs", "p u1/0; p u1/1; p u1/2; p u1/3; s u1/0; s u1/1; "
      "s u1/2; s u1/3 l8 ! mismatch length" },
    { "same-flow-as-whole-ones", "p u1; p u2/0; p u2/1; p u2/2; p u2/3; "
      "s u2/0; s u2/1; s u2/2; s u2/3 ! mismatch payload; held 5" },
    { "cut-at-one-side-only", "p u1/0; p u1/1; p u1/2; p u1/3; "
      "s u1 > u1/0, u1/1, u1/2, u1/3; p u2; s u2/0; s u2/1; s u2/2; "
      "s u2/3 > u2" },
    { "half-a-train", "p u1/0; p u1/1; s u1/0; s u1/1; held 2; "
      "tick 1000000 ! timeout; cut 1; release 1 > u1/0, u1/1; epoch 1; "
      "p u1/2; s u1/2 > u1/2" },
    { "out-of-order", "p u1/0; p u1/2; p u1/1; p u1/3; s u1/0; "
      "s u1/2 > u1/2; s u1/1; s u1/3 > u1/3; cut 1; release 1 > u1/0, u1/1; "
      "held 0" },
    { "backwards", "p u1/3; s u1/3 > u1/3; p u1/2; s u1/2 > u1/2; p u1/1; "
      "s u1/1 > u1/1" },
    { "another-part-of-the-same", "p u1/2; s u1/1 ! mismatch header; "
      "held 1" },
    { "together-at-a-cut", "p u1/0; p u7; p u1/1; cut 1; "
      "release 1 > u1/0, u1/1, u7; held 0" },
    { "one-rule-for-all-parts", "rule udp; p u1/0; p u1/1; p u1/2; "
      "p u1/3 > u1/0, u1/1, u1/2, u1/3; passed 4" },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    script_add("/datagram/pairs", pairs, G_N_ELEMENTS(pairs));
    script_add("/datagram/neutral", neutral, G_N_ELEMENTS(neutral));
    script_add("/datagram/different", different, G_N_ELEMENTS(different));
    script_add("/datagram/fragments", fragments, G_N_ELEMENTS(fragments));
    return g_test_run();
}
