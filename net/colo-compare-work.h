/* SPDX-License-Identifier: GPL-2.0-or-later */
/* colo-compare: frames on their way through a unit; for colo-compare-unit.c. */
#ifndef NET_COLO_COMPARE_WORK_H
#define NET_COLO_COMPARE_WORK_H

#include "net/colo-compare-unit.h"

/* For the links of a unit, all of them with the unit. */
extern const ColoLinkOps compare_primary_ops, compare_secondary_ops;
extern const ColoLinkOps compare_out_ops, compare_mirror_ops;
extern const ColoLinkOps compare_notify_ops;

/* The clock of the core. */
int64_t compare_now_us(void);
/* Main thread; @u has its iothread. Before the first link, after the last. */
void compare_work_begin(CompareUnit *u);
void compare_work_end(CompareUnit *u);
/* BQL: the core was told something, see what follows from it. */
void compare_settle(CompareUnit *u);
/* BQL: what is mirrored from here on belongs to the epoch that is now. */
void compare_mark_mirror(CompareUnit *u);
/* BQL: mirror a frame that was mirrored in the last epoch already. */
void compare_send_again(const uint8_t *data, size_t size, void *unit);

#endif
