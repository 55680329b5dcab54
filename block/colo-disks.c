/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: the register of replication nodes.
 *
 * A list, and one function for each thing that happens to all of its parts
 * at once. Nothing is decided here, except that a pair begins on all disks
 * or on none. Main thread or a thread with the BQL.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "block/colo.h"
#include "colo-offer.h"

static QTAILQ_HEAD(, ColoDiskPart) parts = QTAILQ_HEAD_INITIALIZER(parts);
static void (*failed_fn)(void);

void colo_disks_add(ColoDiskPart *part)
{
    GLOBAL_STATE_CODE();
    QTAILQ_INSERT_TAIL(&parts, part, next);
}

void colo_disks_remove(ColoDiskPart *part)
{
    GLOBAL_STATE_CODE();
    QTAILQ_REMOVE(&parts, part, next);
}

bool colo_disks_begin(bool primary, const char *session, Error **errp)
{
    ColoDiskPart *part;
    ColoDiskPart *begun;

    GLOBAL_STATE_CODE();
    colo_disks_number(NULL);
    QTAILQ_FOREACH(part, &parts, next) {
        if (!part->ops->begin(part, primary, session, errp)) {
            goto undo;
        }
    }
    return true;

undo:
    QTAILQ_FOREACH(begun, &parts, next) {
        if (begun == part) {
            break;
        }
        begun->ops->end(begun, false, NULL);
    }
    return false;
}

bool colo_disks_check(Error **errp)
{
    ColoDiskPart *part;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(part, &parts, next) {
        if (!part->ops->check(part, errp)) {
            return false;
        }
    }
    return true;
}

void colo_disks_cut(uint64_t epoch, bool durable)
{
    ColoDiskPart *part;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(part, &parts, next) {
        part->ops->cut(part, epoch, durable);
    }
}

void colo_disks_enter(uint64_t epoch)
{
    ColoDiskPart *part;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(part, &parts, next) {
        part->ops->enter(part, epoch);
    }
}

void colo_disks_roll_back(void)
{
    ColoDiskPart *part;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(part, &parts, next) {
        part->ops->roll_back(part);
    }
}

bool colo_disks_durable(void)
{
    ColoDiskPart *part;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(part, &parts, next) {
        if (!part->ops->is_durable(part)) {
            return false;
        }
    }
    return true;
}

bool colo_disks_end(bool survivor, Error **errp)
{
    ColoDiskPart *part;
    ColoDiskPart *next;
    bool ok = true;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH_SAFE(part, &parts, next, next) {
        if (!part->ops->end(part, survivor, ok ? errp : NULL)) {
            ok = false;
        }
    }
    return ok;
}

void colo_disks_shutdown(void)
{
    ColoDiskPart *part;
    ColoDiskPart *next;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH_SAFE(part, &parts, next, next) {
        part->ops->shutdown(part);
    }
}

bool colo_disks_offered(const ColoOffer *offer, ColoAnswer *answer)
{
    ColoOffered offered = COLO_OFFERED_DECLINE;
    ColoDiskPart *part;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(part, &parts, next) {
        if (part->number == offer->disk) {
            offered = part->ops->offered(part, offer);
        }
    }
    *answer = (ColoAnswer) { offer->id, offered == COLO_OFFERED_ACCEPT };
    return offered != COLO_OFFERED_WAIT;
}

void colo_disks_decline(void)
{
    ColoDiskPart *part;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(part, &parts, next) {
        part->ops->decline(part);
    }
}

/* Two disks of one number have none: nobody knows which is which. */
static void forget_twins(void)
{
    ColoDiskPart *part;
    ColoDiskPart *other;

    QTAILQ_FOREACH(part, &parts, next) {
        bool is_twin = false;

        QTAILQ_FOREACH(other, &parts, next) {
            if (other != part && other->number == part->number) {
                other->number = 0;
                is_twin = true;
            }
        }
        if (is_twin) {
            part->number = 0;
        }
    }
}

void colo_disks_number(uint64_t (*number)(BlockDriverState *bs))
{
    ColoDiskPart *part;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(part, &parts, next) {
        part->number = number ? number(part->ops->node(part)) : 0;
    }
    forget_twins();
}

ColoDiskInfoList *colo_disks_info(void)
{
    ColoDiskInfoList *head = NULL;
    ColoDiskInfoList **tail = &head;
    ColoDiskPart *part;

    GLOBAL_STATE_CODE();
    QTAILQ_FOREACH(part, &parts, next) {
        QAPI_LIST_APPEND(tail, part->ops->info(part));
    }
    return head;
}

void colo_disks_on_failed(void (*fn)(void))
{
    failed_fn = fn;
}

void colo_disks_failed(void)
{
    if (failed_fn) {
        failed_fn();
    }
}
