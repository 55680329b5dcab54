/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-compare: the working part of one object.
 *
 * It is apart from the object since it can outlive it: an object that is
 * deleted after the secondary was lost still holds frames that may leave only
 * when it is decided who goes on.
 *
 * Threads: one worker, an iothread, reads the chardevs and compares. The
 * main thread (BQL) tells cuts, releases and the end, and in the direct form
 * brings the guest's frames and reads the secondary's, but for bulk. Core and
 * list of released frames are under @lock, which is held for a batch of frames
 * at most and never over I/O that waits. Lock order: BQL, a link's input,
 * @lock, then a link's own lock.
 */
#ifndef NET_COLO_COMPARE_UNIT_H
#define NET_COLO_COMPARE_UNIT_H

#include "block/aio.h"
#include "net/colo.h"
#include "net/net.h"
#include "qemu/thread.h"
#include "system/iothread.h"
#include "colo/compare.h"
#include "colo/patience.h"
#include "net/colo-link.h"

/* What an object was given. */
typedef struct CompareConfig {
    char *primary_in, *secondary_in, *outdev, *notify_dev;
    char *netdev, *secondary, *mirrordev;
    char *iothread;
    bool vnet_hdr;
    bool standalone;
    ColoCompareLimits limits;
} CompareConfig;

typedef struct CompareUnit {
    char *name;
    char *netdev;              /* direct form, else NULL */
    bool vnet_hdr;
    bool standalone;
    IOThread *iothread;
    bool own_iothread;
    AioContext *aio;
    QemuThread main_thread;
    QEMUTimer *timer;          /* worker */
    QEMUBH *pace_bh;           /* worker */
    ColoNetPart part;
    ColoLink *primary, *secondary, *out, *notify, *mirror;
    Object *filter;            /* direct form: sits in the NIC's path */
    QEMUBH *deliver_bh;        /* main loop */
    QEMUBH *mark_bh;           /* ditto */
    QEMUBH *orphan_bh;         /* frees it; set: the object is gone */

    QemuMutex lock;
    ColoCompare *core;         /* under lock, as all below */
    ColoPatience patience;     /* with the secondary */
    bool many_cpus;            /* both threads together, at the connection */
    int64_t armed_us;
    int64_t input_us;          /* when the piece being read came */
    ColoNetFrame *ready;       /* may leave, oldest first */
    ColoNetFrame **ready_end;
    bool passing;              /* mode PASS */
    uint64_t cut_epoch;        /* of the last cut made; 0: no pair */
    bool mirror_gap;
    bool secondary_open;
    uint64_t xen_epoch;
    GArray *rules;             /* ColoRule */
    uint64_t lost_frames;      /* could leave, but outdev had no reader */
    uint64_t mirrored_frames, mirrored_bytes, unmirrored_frames;
} CompareUnit;

CompareUnit *compare_unit_new(const char *name, const CompareConfig *config,
                              Error **errp);
/* The object goes; the unit goes at once or when the pair has ended. */
void compare_unit_unref(CompareUnit *u);
void compare_unit_set_limits(CompareUnit *u, const ColoCompareLimits *l);
CompareUnit *compare_unit_find(const char *name);
void compare_unit_set_rules(CompareUnit *u);

/* For query-colo. BQL. colo-compare-info.c */
ColoNicInfo *compare_unit_info(CompareUnit *u);

/* --------------------------------------- direct form; colo-compare-filter.c */

/* A filter at the NIC @u->netdev, nearest to its network. */
Object *compare_filter_new(CompareUnit *u, Error **errp);
void compare_filter_free(Object *filter);
/* A released frame goes on towards the network. BQL. */
void compare_filter_pass(Object *filter, const ColoNetFrame *f);
/* Frames mirrored but not yet with the guest. BQL. */
void compare_filter_undelivered(Object *filter,
                                void (*fn)(const uint8_t *, size_t, void *),
                                void *opaque);
/* From the filter: the guest's output; false: let it pass by itself. */
bool compare_unit_from_guest(CompareUnit *u, const struct iovec *iov,
                             int iovcnt, uint32_t vnet_bytes);
/* From the filter: what goes to the guest. */
void compare_unit_to_guest(CompareUnit *u, const struct iovec *iov,
                           int iovcnt, uint32_t vnet_bytes);

#endif
