/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: its network parts, found and taken away (colo/clean-up.h).
 *
 * Compare objects and rewriters are COLO's alone. Mirrors and redirectors are
 * of use without it; beside one of the others they are taken for COLO's,
 * since a redirector whose compare object is gone would keep frames from ever
 * leaving. Chardevs are found by the properties of all these.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-char.h"
#include "chardev/char.h"
#include "net/colo.h"
#include "qom/object.h"
#include "qom/object_interfaces.h"

static const struct {
    const char *type;
    ColoCleanKind kind;
} types[] = {
    { "filter-mirror", COLO_CLEAN_FILTER },
    { "filter-redirector", COLO_CLEAN_FILTER },
    { "colo-compare", COLO_CLEAN_COMPARE },
    { "filter-rewriter", COLO_CLEAN_REWRITER },
};

/* Those of all types that name a chardev. */
static const char *const links[] = {
    "indev", "outdev", "primary_in", "secondary_in", "notify_dev",
    "secondary", "mirrordev", "primary",
};

/* COLO_CLEAN__MAX: none of COLO's. */
static ColoCleanKind kind_of(Object *obj)
{
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        if (object_dynamic_cast(obj, types[i].type)) {
            return types[i].kind;
        }
    }
    return COLO_CLEAN__MAX;
}

static bool is_translating(const char *id)
{
    g_autoptr(ColoNicInfoList) list = colo_net_info();

    for (ColoNicInfoList *l = list; l; l = l->next) {
        if (!strcmp(l->value->id, id) && l->value->rewriter) {
            return l->value->rewriter->flows > 0;
        }
    }
    return false;
}

static bool is_mux(Chardev *chr)
{
    return object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_MUX);
}

static void add_chardev(GPtrArray *list, const char *name,
                        ColoCleanPart *owner)
{
    Chardev *chr = qemu_chr_find(name);
    ColoCleanPart *part;

    if (!chr) {
        return;
    }
    part = colo_clean_find(list, COLO_CLEAN_CHARDEV, name);
    if (!part) {
        part = colo_clean_add(list, COLO_CLEAN_CHARDEV, name);
        if (is_mux(chr)) {
            part->user = g_strdup("it may have several users");
        }
    }
    colo_clean_add_owner(part, owner);
}

static void add_object(GPtrArray *list, Object *obj, ColoCleanKind kind)
{
    const char *id = object_get_canonical_path_component(obj);
    ColoCleanPart *part = colo_clean_add(list, kind, id);

    part->is_busy = kind == COLO_CLEAN_REWRITER && is_translating(id);
    for (unsigned i = 0; i < ARRAY_SIZE(links); i++) {
        g_autofree char *name = NULL;

        if (object_property_find(obj, links[i])) {
            name = object_property_get_str(obj, links[i], NULL);
        }
        if (name) {
            add_chardev(list, name, part);
        }
    }
}

static int add_if_own(Object *obj, void *opaque)
{
    ColoCleanKind kind = kind_of(obj);

    if (kind == COLO_CLEAN_COMPARE || kind == COLO_CLEAN_REWRITER) {
        add_object(opaque, obj, kind);
    }
    return 0;
}

static int add_if_filter(Object *obj, void *opaque)
{
    if (kind_of(obj) == COLO_CLEAN_FILTER) {
        add_object(opaque, obj, COLO_CLEAN_FILTER);
    }
    return 0;
}

/* Made for an object that then was not made. */
static int add_if_left(Object *obj, void *opaque)
{
    Chardev *chr = CHARDEV(obj);

    if (chr->label && colo_clean_is_own_name(chr->label) && !chr->be &&
        !is_mux(chr)) {
        colo_clean_add(opaque, COLO_CLEAN_CHARDEV, chr->label);
    }
    return 0;
}

void colo_clean_find_net(GPtrArray *list)
{
    Object *objects = object_get_objects_root();
    unsigned others = list->len;

    object_child_foreach(objects, add_if_own, list);
    if (list->len > others) {
        object_child_foreach(objects, add_if_filter, list);
    }
    object_child_foreach(object_get_container("chardevs"), add_if_left, list);
}

void colo_clean_take_net(const ColoCleanPart *part, Error **errp)
{
    if (part->kind == COLO_CLEAN_CHARDEV) {
        qmp_chardev_remove(part->name, errp);
    } else {
        user_creatable_del(part->name, errp);
    }
}
