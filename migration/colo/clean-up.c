/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: which of its parts are taken away, and what forbids it.
 */
#include <string.h>
#include "colo/clean-up.h"

static void part_free(gpointer data)
{
    ColoCleanPart *part = data;

    g_free(part->name);
    g_free(part->user);
    g_ptr_array_unref(part->owners);
    g_free(part);
}

GPtrArray *colo_clean_list_new(void)
{
    return g_ptr_array_new_with_free_func(part_free);
}

ColoCleanPart *colo_clean_add(GPtrArray *list, ColoCleanKind kind,
                              const char *name)
{
    ColoCleanPart *part = g_new0(ColoCleanPart, 1);

    part->kind = kind;
    part->name = g_strdup(name);
    part->owners = g_ptr_array_new();
    g_ptr_array_add(list, part);
    return part;
}

void colo_clean_add_owner(ColoCleanPart *part, ColoCleanPart *owner)
{
    g_ptr_array_add(part->owners, owner);
}

ColoCleanPart *colo_clean_find(GPtrArray *list, ColoCleanKind kind,
                               const char *name)
{
    guint i;

    for (i = 0; i < list->len; i++) {
        ColoCleanPart *part = g_ptr_array_index(list, i);

        if (part->kind == kind && !strcmp(part->name, name)) {
            return part;
        }
    }
    return NULL;
}

bool colo_clean_is_own_name(const char *name)
{
    return g_str_has_prefix(name, "colo-");
}

/* By itself, whatever becomes of its owners. */
static bool is_wanted(const ColoCleanPart *part, unsigned keep)
{
    switch (part->kind) {
    case COLO_CLEAN_DISK:
        return keep & COLO_CLEAN_KEEP_DISKS;
    case COLO_CLEAN_REWRITER:
        return part->is_busy && (keep & COLO_CLEAN_KEEP_CONNECTIONS);
    case COLO_CLEAN_LIMITS:
        return keep & COLO_CLEAN_KEEP_LIMITS;
    case COLO_CLEAN_SERVER:
    case COLO_CLEAN_CHARDEV:
        return part->user;
    default:
        return false;
    }
}

/* Owners are of earlier kinds, or listed earlier: they are decided. */
static bool has_owner(const ColoCleanPart *part)
{
    guint i;

    for (i = 0; i < part->owners->len; i++) {
        const ColoCleanPart *owner = g_ptr_array_index(part->owners, i);

        if (!owner->goes) {
            return true;
        }
    }
    return false;
}

static ColoCleanVerdict object_to(const ColoCleanPart *part)
{
    if (part->in_pair) {
        return COLO_CLEAN_IS_PAIRED;
    }
    if (!part->goes) {
        return COLO_CLEAN_OK;
    }
    if (part->is_merging) {
        return COLO_CLEAN_IS_MERGING;
    }
    return part->user ? COLO_CLEAN_IS_USED : COLO_CLEAN_OK;
}

static int by_kind(gconstpointer a, gconstpointer b)
{
    const ColoCleanPart *const *x = a, *const *y = b;

    return (int)(*x)->kind - (int)(*y)->kind;
}

ColoCleanVerdict colo_clean_decide(GPtrArray *list, ColoCleanState state,
                                   unsigned keep, const ColoCleanPart **who)
{
    guint i;

    *who = NULL;
    if (state != COLO_CLEAN_IDLE) {
        return COLO_CLEAN_BAD_STATE;
    }
    /* It is stable: those of one kind stay as they were listed. */
    g_ptr_array_sort(list, by_kind);
    for (i = 0; i < list->len; i++) {
        ColoCleanPart *part = g_ptr_array_index(list, i);
        ColoCleanVerdict verdict;

        part->goes = !is_wanted(part, keep) && !has_owner(part);
        verdict = object_to(part);
        if (verdict != COLO_CLEAN_OK) {
            *who = part;
            return verdict;
        }
    }
    return COLO_CLEAN_OK;
}
