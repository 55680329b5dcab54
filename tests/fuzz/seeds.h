/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the makers of fuzz seeds share. */
#ifndef COLO_FUZZ_SEEDS_H
#define COLO_FUZZ_SEEDS_H

#include <glib.h>

/* Writes, or compares with what is there: corpus/@target/seed-@name. */
void seed_save(const char *target, const char *name, const GByteArray *a);

/* seeds-net.c: framer and rewriter */
void seeds_net(void);
/* seeds-compare.c: comparer */
void seeds_compare(void);
/* seeds-packet.c: frame parser */
void seeds_packet(void);

#endif
