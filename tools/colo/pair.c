/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a domain remembers of its protection.
 */
#include "error.h"
#include "pair.h"
#include "xml.h"

static const char *const role_names[] = {
    [COLO_ROLE_NONE] = "none",
    [COLO_ROLE_PRIMARY] = "primary",
    [COLO_ROLE_SECONDARY] = "secondary",
    [COLO_ROLE_SURVIVOR] = "survivor",
    [COLO_ROLE_STALE] = "stale",
};

const char *colo_role_name(ColoRole role)
{
    return role_names[role];
}

ColoRole colo_role_parse(const char *name)
{
    unsigned role;

    for (role = 0; role < G_N_ELEMENTS(role_names); role++) {
        if (!g_strcmp0(name, role_names[role])) {
            return role;
        }
    }
    return COLO_ROLE_NONE;
}

static void disk_free(gpointer opaque)
{
    ColoPairDisk *disk = opaque;

    g_free(disk->target);
    g_free(disk->base);
    g_free(disk);
}

ColoPair *colo_pair_new(ColoRole role)
{
    ColoPair *pair = g_new0(ColoPair, 1);

    pair->role = role;
    pair->disks = g_ptr_array_new_with_free_func(disk_free);
    return pair;
}

void colo_pair_free(ColoPair *pair)
{
    if (!pair) {
        return;
    }
    g_free(pair->session);
    g_free(pair->peer);
    g_free(pair->since);
    g_free(pair->parameters);
    g_ptr_array_unref(pair->disks);
    g_free(pair);
}

void colo_pair_add_disk(ColoPair *pair, const char *target, const char *base,
                        bool is_shared)
{
    ColoPairDisk *disk = g_new0(ColoPairDisk, 1);

    disk->target = g_strdup(target);
    disk->base = g_strdup(base);
    disk->is_shared = is_shared;
    g_ptr_array_add(pair->disks, disk);
}

ColoPair *colo_pair_copy(const ColoPair *pair)
{
    ColoPair *copy = colo_pair_new(pair->role);
    unsigned i;

    copy->session = g_strdup(pair->session);
    copy->peer = g_strdup(pair->peer);
    copy->since = g_strdup(pair->since);
    copy->is_persistent = pair->is_persistent;
    copy->is_autostarted = pair->is_autostarted;
    copy->migrate_port = pair->migrate_port;
    copy->disk_port = pair->disk_port;
    copy->net_port = pair->net_port;
    copy->nic_count = pair->nic_count;
    copy->parameters = g_strdup(pair->parameters);
    for (i = 0; i < pair->disks->len; i++) {
        const ColoPairDisk *disk = g_ptr_array_index(pair->disks, i);

        colo_pair_add_disk(copy, disk->target, disk->base, disk->is_shared);
    }
    return copy;
}

static void set_flag(xmlNode *node, const char *name, bool value)
{
    colo_xml_set(node, name, value ? "yes" : "no");
}

static void set_number(xmlNode *node, const char *name, unsigned value)
{
    g_autofree char *text = g_strdup_printf("%u", value);

    colo_xml_set(node, name, text);
}

static void set_text(xmlNode *node, const char *name, const char *value)
{
    if (value) {
        colo_xml_set(node, name, value);
    }
}

char *colo_pair_to_xml(const ColoPair *pair)
{
    g_autoptr(xmlDoc) doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNode *root = xmlNewDocNode(doc, NULL, BAD_CAST "pair", NULL);
    unsigned i;

    xmlDocSetRootElement(doc, root);
    colo_xml_set(root, "role", colo_role_name(pair->role));
    set_text(root, "session", pair->session);
    set_text(root, "peer", pair->peer);
    set_text(root, "since", pair->since);
    set_flag(root, "persistent", pair->is_persistent);
    set_flag(root, "autostart", pair->is_autostarted);
    set_number(root, "migrate-port", pair->migrate_port);
    set_number(root, "disk-port", pair->disk_port);
    set_number(root, "net-port", pair->net_port);
    set_number(root, "nics", pair->nic_count);
    set_text(root, "parameters", pair->parameters);
    for (i = 0; i < pair->disks->len; i++) {
        const ColoPairDisk *disk = g_ptr_array_index(pair->disks, i);
        xmlNode *node = xmlNewChild(root, NULL, BAD_CAST "disk", NULL);

        colo_xml_set(node, "target", disk->target);
        set_text(node, "base", disk->base);
        set_flag(node, "shared", disk->is_shared);
    }
    return colo_xml_text(doc);
}

static bool get_flag(xmlNode *node, const char *name)
{
    g_autofree char *text = colo_xml_attribute(node, name);

    return !g_strcmp0(text, "yes");
}

static void parse_disks(ColoPair *pair, xmlNode *root)
{
    /* Seen below <metadata> of a whole domain, or alone. */
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(root, "*[local-name()='disk']");
    unsigned i;

    for (i = 0; i < nodes->len; i++) {
        xmlNode *node = g_ptr_array_index(nodes, i);
        g_autofree char *target = colo_xml_attribute(node, "target");
        g_autofree char *base = colo_xml_attribute(node, "base");

        if (target) {
            colo_pair_add_disk(pair, target, base, get_flag(node, "shared"));
        }
    }
}

ColoPair *colo_pair_parse(const char *xml, GError **error)
{
    g_autoptr(xmlDoc) doc = colo_xml_parse(xml, error);
    g_autofree char *role = NULL;
    ColoPair *pair;
    xmlNode *root;

    if (!doc) {
        return NULL;
    }
    root = colo_xml_root(doc);
    role = colo_xml_attribute(root, "role");
    if (!role || g_strcmp0((const char *)root->name, "pair") ||
        colo_role_parse(role) == COLO_ROLE_NONE) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "The domain's <metadata> for COLO has no known role");
        return NULL;
    }
    pair = colo_pair_new(colo_role_parse(role));
    pair->session = colo_xml_attribute(root, "session");
    pair->peer = colo_xml_attribute(root, "peer");
    pair->since = colo_xml_attribute(root, "since");
    pair->is_persistent = get_flag(root, "persistent");
    pair->is_autostarted = get_flag(root, "autostart");
    pair->migrate_port = colo_xml_get_uint(root, "@migrate-port", 0);
    pair->disk_port = colo_xml_get_uint(root, "@disk-port", 0);
    pair->net_port = colo_xml_get_uint(root, "@net-port", 0);
    pair->nic_count = colo_xml_get_uint(root, "@nics", 0);
    pair->parameters = colo_xml_attribute(root, "parameters");
    parse_disks(pair, root);
    return pair;
}
