/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo-compare: the object a user makes; its properties and their checks.
 *
 * Two forms. With chardevs, as ever: primary_in and secondary_in bring what
 * the two guests answer, what may leave goes to outdev, and filters beside it
 * do the rest. Direct: netdev names the NIC, the object sits in its path
 * itself, mirrors what clients send, and one chardev (secondary) connects it
 * to the filter-rewriter of the other side.
 *
 * The work is in colo-compare-unit.c.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qom/object.h"
#include "qom/object_interfaces.h"
#include "net/colo-compare-unit.h"

#define TYPE_COLO_COMPARE "colo-compare"
OBJECT_DECLARE_SIMPLE_TYPE(CompareState, COLO_COMPARE)

struct CompareState {
    Object parent_obj;
    CompareConfig config;
    uint32_t scan_ms;          /* expired_scan_cycle: kept, not needed */
    CompareUnit *unit;
};

/* ------------------------------------------------------- completeness */

static bool check_chardev_form(const CompareConfig *c, Error **errp)
{
    if (!c->primary_in || !c->secondary_in || !c->outdev) {
        error_setg(errp, "colo-compare needs 'primary_in', 'secondary_in' "
                   "and 'outdev', or 'netdev' and 'secondary'");
        return false;
    }
    if (c->secondary || c->mirrordev) {
        error_setg(errp, "'%s' needs 'netdev'",
                   c->secondary ? "secondary" : "mirrordev");
        return false;
    }
    if (g_str_equal(c->primary_in, c->secondary_in) ||
        g_str_equal(c->primary_in, c->outdev) ||
        g_str_equal(c->secondary_in, c->outdev)) {
        error_setg(errp, "'primary_in', 'secondary_in' and 'outdev' must be "
                   "three different chardevs");
        return false;
    }
    return true;
}

static bool check_direct_form(const CompareConfig *c, Error **errp)
{
    if (c->primary_in || c->outdev) {
        error_setg(errp, "'%s' does not go with 'netdev': the frames of the "
                   "primary are taken from the NIC",
                   c->primary_in ? "primary_in" : "outdev");
        return false;
    }
    if (c->secondary ? c->secondary_in || c->mirrordev
                     : !c->secondary_in || !c->mirrordev) {
        error_setg(errp, "with 'netdev' give either 'secondary', the chardev "
                   "for both directions, or 'mirrordev' and 'secondary_in'");
        return false;
    }
    if (!c->secondary && g_str_equal(c->secondary_in, c->mirrordev)) {
        error_setg(errp, "'mirrordev' and 'secondary_in' are the same "
                   "chardev: give it as 'secondary'");
        return false;
    }
    return true;
}

static void compare_complete(UserCreatable *uc, Error **errp)
{
    CompareState *s = COLO_COMPARE(uc);
    CompareConfig *c = &s->config;

    if (c->netdev ? check_direct_form(c, errp)
                  : check_chardev_form(c, errp)) {
        s->unit = compare_unit_new(
            object_get_canonical_path_component(OBJECT(s)), c, errp);
    }
}

/* -------------------------------------------------------- properties */

/* Strings that are fixed once the object is complete; by offset. */
static char *get_string(CompareState *s, size_t offset)
{
    return g_strdup(*(char **)((char *)&s->config + offset));
}

static void set_string(CompareState *s, size_t offset, const char *name,
                       const char *value, Error **errp)
{
    char **where = (char **)((char *)&s->config + offset);

    if (s->unit) {
        error_setg(errp, "'%s' cannot change any more; make the object anew",
                   name);
        return;
    }
    g_free(*where);
    *where = g_strdup(value);
}

#define STRING_PROPERTY(name)                                             \
    static char *get_##name(Object *obj, Error **errp)                    \
    {                                                                     \
        return get_string(COLO_COMPARE(obj),                              \
                          offsetof(CompareConfig, name));                 \
    }                                                                     \
    static void set_##name(Object *obj, const char *value, Error **errp)  \
    {                                                                     \
        set_string(COLO_COMPARE(obj), offsetof(CompareConfig, name),      \
                   #name, value, errp);                                   \
    }

STRING_PROPERTY(primary_in)
STRING_PROPERTY(secondary_in)
STRING_PROPERTY(outdev)
STRING_PROPERTY(iothread)
STRING_PROPERTY(notify_dev)
STRING_PROPERTY(netdev)
STRING_PROPERTY(secondary)
STRING_PROPERTY(mirrordev)

/* Numbers may change at any time. */
typedef struct NumberProperty {
    const char *name;
    uint64_t max;
    uint64_t (*get)(CompareState *s);
    void (*set)(CompareState *s, uint64_t value);
} NumberProperty;

static uint64_t get_timeout(CompareState *s)
{
    return s->config.limits.hold_us / 1000;
}

static void set_timeout(CompareState *s, uint64_t value)
{
    s->config.limits.hold_us = value * 1000;
}

static uint64_t get_scan(CompareState *s)
{
    return s->scan_ms;
}

static void set_scan(CompareState *s, uint64_t value)
{
    s->scan_ms = value;
}

static uint64_t get_queue(CompareState *s)
{
    return s->config.limits.queue_frames;
}

static void set_queue(CompareState *s, uint64_t value)
{
    s->config.limits.queue_frames = value;
}

static uint64_t get_flows(CompareState *s)
{
    return s->config.limits.flows;
}

static void set_flows(CompareState *s, uint64_t value)
{
    s->config.limits.flows = value;
}

static uint64_t get_held(CompareState *s)
{
    return s->config.limits.held_bytes;
}

static void set_held(CompareState *s, uint64_t value)
{
    s->config.limits.held_bytes = value;
}

static const NumberProperty numbers[] = {
    { "compare_timeout", 3600 * 1000, get_timeout, set_timeout },
    { "expired_scan_cycle", UINT32_MAX, get_scan, set_scan },
    { "max_queue_size", 1u << 24, get_queue, set_queue },
    { "max_flows", 1u << 24, get_flows, set_flows },
    { "max_held_bytes", 1ull << 40, get_held, set_held },
};

static void get_number(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    const NumberProperty *n = opaque;
    uint64_t value = n->get(COLO_COMPARE(obj));

    visit_type_uint64(v, name, &value, errp);
}

static void set_number(Object *obj, Visitor *v, const char *name,
                       void *opaque, Error **errp)
{
    CompareState *s = COLO_COMPARE(obj);
    const NumberProperty *n = opaque;
    uint64_t value;

    if (!visit_type_uint64(v, name, &value, errp)) {
        return;
    }
    if (value == 0 || value > n->max) {
        error_setg(errp, "'%s' must be between 1 and %" PRIu64, name, n->max);
        return;
    }
    n->set(s, value);
    if (s->unit) {
        compare_unit_set_limits(s->unit, &s->config.limits);
    }
}

static bool get_vnet_hdr(Object *obj, Error **errp)
{
    return COLO_COMPARE(obj)->config.vnet_hdr;
}

static void set_vnet_hdr(Object *obj, bool value, Error **errp)
{
    CompareState *s = COLO_COMPARE(obj);

    if (s->unit && s->config.vnet_hdr != value) {
        error_setg(errp, "'vnet_hdr_support' cannot change any more; make "
                   "the object anew");
        return;
    }
    s->config.vnet_hdr = value;
}

static bool get_standalone(Object *obj, Error **errp)
{
    return COLO_COMPARE(obj)->config.standalone;
}

static void set_standalone(Object *obj, bool value, Error **errp)
{
    CompareState *s = COLO_COMPARE(obj);

    if (s->unit && s->config.standalone != value) {
        error_setg(errp, "'standalone' cannot change any more; make the "
                   "object anew");
        return;
    }
    s->config.standalone = value;
}

/* ----------------------------------------------------------- the type */

enum { SCAN_MS_DEFAULT = 1000 };

static void compare_init(Object *obj)
{
    CompareState *s = COLO_COMPARE(obj);

    colo_compare_limits_init(&s->config.limits);
    s->scan_ms = SCAN_MS_DEFAULT;
}

static void compare_finalize(Object *obj)
{
    CompareState *s = COLO_COMPARE(obj);
    CompareConfig *c = &s->config;

    compare_unit_unref(s->unit);
    g_free(c->primary_in);
    g_free(c->secondary_in);
    g_free(c->outdev);
    g_free(c->notify_dev);
    g_free(c->netdev);
    g_free(c->secondary);
    g_free(c->mirrordev);
    g_free(c->iothread);
}

static bool can_be_deleted(UserCreatable *uc)
{
    return colo_net_may_remove();
}

static void compare_class_init(ObjectClass *oc, void *data)
{
    UserCreatableClass *ucc = USER_CREATABLE_CLASS(oc);

    ucc->complete = compare_complete;
    ucc->can_be_deleted = can_be_deleted;
#define ADD_STRING(name) \
    object_class_property_add_str(oc, #name, get_##name, set_##name)
    ADD_STRING(primary_in);
    ADD_STRING(secondary_in);
    ADD_STRING(outdev);
    ADD_STRING(iothread);
    ADD_STRING(notify_dev);
    ADD_STRING(netdev);
    ADD_STRING(secondary);
    ADD_STRING(mirrordev);
#undef ADD_STRING
    for (int i = 0; i < ARRAY_SIZE(numbers); i++) {
        object_class_property_add(oc, numbers[i].name, "uint64", get_number,
                                  set_number, NULL, (void *)&numbers[i]);
    }
    object_class_property_add_bool(oc, "vnet_hdr_support", get_vnet_hdr,
                                   set_vnet_hdr);
    object_class_property_add_bool(oc, "standalone", get_standalone,
                                   set_standalone);
}

static const TypeInfo compare_type = {
    .name = TYPE_COLO_COMPARE,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(CompareState),
    .instance_init = compare_init,
    .instance_finalize = compare_finalize,
    .class_init = compare_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    },
};

static void register_types(void)
{
    type_register_static(&compare_type);
}

type_init(register_types)
