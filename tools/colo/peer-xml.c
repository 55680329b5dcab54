/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Domain XML for the other host, and for after a failover.
 *
 * What libvirt made up for the primary's host (names of taps, indexes of
 * images) is left out, so that the other host makes up its own. So is
 * `-incoming`, which people who do it by hand may have given to QEMU.
 */
#include "error.h"
#include "peer-xml.h"
#include "xml.h"

/* What libvirt makes up anew, and what only the first host knows. */
static const char *const made_up[] = {
    "/domain/@id",
    "/domain/devices/disk/backingStore",
    "/domain/devices/disk/mirror",
    "/domain/devices/disk/source/@index",
    "/domain/devices/interface/target[starts-with(@dev, 'vnet') or "
    "starts-with(@dev, 'macvtap')]",
    "/domain/devices/channel[@type='unix']/source[@mode='bind' and "
    "contains(@path, '/channel/target/')]",
};

static void map_attribute(xmlNode *node, const char *name, const ColoMap *map)
{
    g_autofree char *value = colo_xml_attribute(node, name);

    if (value && colo_map_has(map, value)) {
        colo_xml_set(node, name, colo_map_get(map, value));
    }
}

static void map_networks(xmlNode *root, const ColoMap *map)
{
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(
        root, "/domain/devices/interface/source | "
        "/domain/devices/interface/target");
    unsigned i;

    for (i = 0; i < nodes->len; i++) {
        xmlNode *node = g_ptr_array_index(nodes, i);

        map_attribute(node, "bridge", map);
        map_attribute(node, "network", map);
        map_attribute(node, "dev", map);
    }
}

static void map_disk(xmlNode *disk, const ColoMap *map)
{
    g_autofree char *target = colo_xml_get(disk, "target/@dev");
    g_autoptr(GPtrArray) sources = colo_xml_nodes(disk, "source");
    const char *path;
    xmlNode *source;
    bool is_block;

    if (!target || !sources->len || !colo_map_has(map, target)) {
        return;
    }
    path = colo_map_get(map, target);
    if (!strcmp(path, COLO_MAP_SHARED)) {
        return;
    }
    /* A file there may be a device here, and the other way round. */
    source = g_ptr_array_index(sources, 0);
    is_block = g_str_has_prefix(path, "/dev/");
    colo_xml_set(disk, "type", is_block ? "block" : "file");
    xmlUnsetProp(source, BAD_CAST "file");
    xmlUnsetProp(source, BAD_CAST "dev");
    xmlUnsetProp(source, BAD_CAST "pool");
    xmlUnsetProp(source, BAD_CAST "volume");
    colo_xml_set(source, is_block ? "dev" : "file", path);
}

static void map_disks(xmlNode *root, const ColoMap *map)
{
    g_autoptr(GPtrArray) nodes = colo_xml_nodes(root, "/domain/devices/disk");
    unsigned i;

    for (i = 0; i < nodes->len; i++) {
        map_disk(g_ptr_array_index(nodes, i), map);
    }
}

static void remove_argument(xmlNode *root, const char *name)
{
    g_autofree char *value = g_strdup_printf(
        "/domain/qemu:commandline/qemu:arg[@value='%s']"
        "/following-sibling::qemu:arg[1]", name);
    g_autofree char *option = g_strdup_printf(
        "/domain/qemu:commandline/qemu:arg[@value='%s']", name);

    colo_xml_remove(root, value);
    colo_xml_remove(root, option);
    colo_xml_remove(root, "/domain/qemu:commandline[not(*)]");
}

static void set_pair(xmlNode *root, const ColoPair *pair)
{
    g_autofree char *text = colo_pair_to_xml(pair);
    g_autoptr(xmlDoc) doc = colo_xml_parse(text, NULL);
    xmlNode *node = xmlDocCopyNode(colo_xml_root(doc), root->doc, 1);

    colo_xml_remove(root, "/domain/metadata/colo:pair");
    xmlSetNs(node, xmlNewNs(node, BAD_CAST COLO_XML_NS,
                            BAD_CAST COLO_PAIR_KEY));
    xmlAddChild(colo_xml_child(root, "metadata"), node);
}

char *colo_peer_xml(const char *xml, const ColoMap *disks,
                    const ColoMap *networks, const ColoPair *pair,
                    GError **error)
{
    g_autoptr(xmlDoc) doc = colo_xml_parse(xml, error);
    xmlNode *root;
    unsigned i;

    if (!doc) {
        colo_error_what(error, "The XML of the domain cannot be read");
        return NULL;
    }
    root = colo_xml_root(doc);
    for (i = 0; i < G_N_ELEMENTS(made_up); i++) {
        colo_xml_remove(root, made_up[i]);
    }
    map_disks(root, disks);
    map_networks(root, networks);
    remove_argument(root, "-incoming");
    set_pair(root, pair);
    return colo_xml_text(doc);
}

char *colo_probe_xml(const char *peer_xml, const char *uuid, GError **error)
{
    g_autoptr(xmlDoc) doc = colo_xml_parse(peer_xml, error);
    g_autofree char *name = NULL;
    xmlNode *root;

    if (!doc) {
        return NULL;
    }
    root = colo_xml_root(doc);
    name = g_strdup_printf("colo-check-%.8s", uuid);
    xmlNodeSetContent(colo_xml_child(root, "name"), BAD_CAST name);
    xmlNodeSetContent(colo_xml_child(root, "uuid"), BAD_CAST uuid);
    colo_xml_remove(root, "/domain/devices/disk");
    colo_xml_remove(root, "/domain/metadata");
    colo_xml_remove(root, "/domain/sysinfo/system/entry[@name='uuid']");
    colo_xml_remove(root, "/domain/devices/graphics");
    return colo_xml_text(doc);
}

char *colo_survivor_xml(const char *xml, const ColoPair *pair,
                        GError **error)
{
    g_autoptr(xmlDoc) doc = colo_xml_parse(xml, error);
    xmlNode *root;

    if (!doc) {
        colo_error_what(error, "The XML of the domain cannot be read");
        return NULL;
    }
    root = colo_xml_root(doc);
    remove_argument(root, "-incoming");
    set_pair(root, pair);
    return colo_xml_text(doc);
}
