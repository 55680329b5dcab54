/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO's network half as the session drives it, and the register of parts.
 *
 * There is one pair at most, so there is one role and one epoch for all
 * NICs. Parts come and go by object-add and object-del, in the main thread;
 * one that comes late is brought to where the others are.
 */
#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qapi/util.h"
#include "migration/colo.h"
#include "net/colo.h"
#include "trace.h"

static QTAILQ_HEAD(, ColoNetPart) parts = QTAILQ_HEAD_INITIALIZER(parts);
static ColoNetRole role;
static uint64_t epoch;
static bool buffering;

/* Call an operation of every part that has it. A part may not vanish here. */
#define EACH_PART(op, ...)                                  \
    do {                                                    \
        ColoNetPart *part_;                                 \
                                                            \
        g_assert(bql_locked());                             \
        QTAILQ_FOREACH(part_, &parts, next) {               \
            if (part_->ops->op) {                           \
                part_->ops->op(part_ __VA_OPT__(,)          \
                               __VA_ARGS__);                \
            }                                               \
        }                                                   \
    } while (0)

ColoNetRole colo_net_role(void)
{
    return role;
}

uint64_t colo_net_epoch(void)
{
    return epoch;
}

bool colo_net_buffering(void)
{
    return buffering;
}

void colo_net_add(ColoNetPart *part)
{
    g_assert(bql_locked());
    QTAILQ_INSERT_TAIL(&parts, part, next);
    if (role != COLO_NET_NONE && part->ops->begin) {
        part->ops->begin(part);
    }
}

void colo_net_remove(ColoNetPart *part)
{
    g_assert(bql_locked());
    QTAILQ_REMOVE(&parts, part, next);
}

bool colo_net_may_remove(void)
{
    return role == COLO_NET_NONE || colo_session_is_ending();
}

void colo_net_begin(bool primary)
{
    trace_colo_net_begin(primary);
    role = primary ? COLO_NET_PRIMARY : COLO_NET_SECONDARY;
    epoch = primary ? 1 : 0;
    buffering = false;
    EACH_PART(begin);
}

void colo_net_cut(uint64_t n)
{
    trace_colo_net_cut(n);
    epoch = n;
    EACH_PART(cut, n);
}

void colo_net_release(uint64_t n)
{
    trace_colo_net_release(n);
    EACH_PART(release, n);
}

void colo_net_enter(uint64_t n)
{
    trace_colo_net_enter(n);
    epoch = n;
    EACH_PART(enter, n);
}

void colo_net_buffer(bool on)
{
    trace_colo_net_buffer(on);
    buffering = on;
    EACH_PART(buffer, on);
}

void colo_net_before_load(void)
{
    EACH_PART(before_load);
}

void colo_net_end(bool survivor)
{
    bool taken_over = survivor && role == COLO_NET_SECONDARY;

    trace_colo_net_end(survivor);
    EACH_PART(end, survivor);
    role = COLO_NET_NONE;
    buffering = false;
    if (taken_over) {
        EACH_PART(alone);
    }
}

void colo_net_shutdown(void)
{
    EACH_PART(shutdown);
}

void colo_net_early(NetClientState *netdev, const struct iovec *iov,
                    int iovcnt)
{
    EACH_PART(early, netdev, iov, iovcnt);
}

void colo_net_next_epoch(void)
{
    epoch++;
    EACH_PART(cut, epoch);
    EACH_PART(release, epoch);
    EACH_PART(before_load);
    EACH_PART(enter, epoch);
}

ColoNicInfoList *colo_net_info(void)
{
    ColoNicInfoList *list = NULL;
    ColoNicInfoList **tail = &list;
    ColoNetPart *part;

    g_assert(bql_locked());
    QTAILQ_FOREACH(part, &parts, next) {
        ColoNicInfo *info = part->ops->info ? part->ops->info(part) : NULL;

        if (info) {
            QAPI_LIST_APPEND(tail, info);
        }
    }
    return list;
}
