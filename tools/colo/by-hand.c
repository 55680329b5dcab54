/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo xml: what `colo protect` would do, for people who do it themselves.
 *
 * The output is a domain XML that can be given to virsh as it is; the monitor
 * commands follow it in a comment. Names of block nodes on the other side are
 * those of this side, which is right if neither has hot-plugged disks.
 */
#include <stdio.h>
#include "command.h"
#include "domain.h"
#include "error.h"
#include "live.h"
#include "maps.h"
#include "peer-xml.h"

typedef struct ByHand {
    const ColoOptions *options;
    ColoHost *host;
    char *uuid;
    ColoDomain *domain;
    ColoMap *disks;
    ColoMap *networks;
    ColoPair *pair;
    GPtrArray *steps;       /* JsonNode: "at" and "command" */
} ByHand;

static void by_hand_clear(ByHand *h)
{
    g_clear_pointer(&h->host, colo_host_free);
    g_clear_pointer(&h->uuid, g_free);
    g_clear_pointer(&h->domain, colo_domain_free);
    g_clear_pointer(&h->disks, colo_map_free);
    g_clear_pointer(&h->networks, colo_map_free);
    g_clear_pointer(&h->pair, colo_pair_free);
    g_clear_pointer(&h->steps, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ByHand, by_hand_clear)

static void add(ByHand *h, JsonNode *command)
{
    g_ptr_array_add(h->steps, command);
}

static const char *address(const char *told, const char *fallback)
{
    return told ? told : fallback;
}

static bool make_pair(ByHand *h, ColoRole role, GError **error)
{
    unsigned i;

    h->pair = colo_pair_new(role);
    h->pair->peer = g_strdup(h->options->to);
    h->pair->migrate_port = h->options->port;
    h->pair->disk_port = h->options->port + 1;
    h->pair->net_port = h->options->port + 2;
    h->pair->nic_count = h->domain->nics->len;
    for (i = 0; i < h->domain->disks->len; i++) {
        const ColoDisk *disk = g_ptr_array_index(h->domain->disks, i);
        g_autofree char *node = NULL;
        uint64_t size_bytes;

        if (!colo_disk_is_written(disk)) {
            continue;
        }
        node = colo_live_disk_node(h->host, h->uuid, disk, &size_bytes,
                                   error);
        if (!node) {
            return false;
        }
        colo_pair_add_disk(h->pair, disk->target, node, false);
    }
    return true;
}

static bool prepare(ByHand *h, ColoRole role, GError **error)
{
    const ColoOptions *o = h->options;
    unsigned i;

    h->steps = g_ptr_array_new_with_free_func((GDestroyNotify)json_node_unref);
    h->disks = colo_map_new();
    h->networks = colo_map_new();
    for (i = 0; o->disks && o->disks[i]; i++) {
        if (!colo_map_add(h->disks, "--disk", o->disks[i], error)) {
            return false;
        }
    }
    for (i = 0; o->networks && o->networks[i]; i++) {
        if (!colo_map_add(h->networks, "--network", o->networks[i], error)) {
            return false;
        }
    }
    h->host = colo_open(o->from, error);
    h->uuid = h->host ? colo_resolve(h->host, o->domain, error) : NULL;
    h->domain = h->uuid ? colo_live_domain(h->host, h->uuid, error) : NULL;
    return h->domain && make_pair(h, role, error);
}

static void secondary_steps(ByHand *h)
{
    const char *here = address(h->options->to_address, "SECONDARY-ADDRESS");
    const char *there = address(h->options->from_address, "PRIMARY-ADDRESS");
    unsigned i;

    add(h, colo_command("colo-prepare-secondary"));
    add(h, colo_command_capability("x-colo", true));
    add(h, colo_command_events(false));
    add(h, colo_command_disk_serve(here, h->pair->disk_port));
    for (i = 0; i < h->pair->disks->len; i++) {
        const ColoPairDisk *disk = g_ptr_array_index(h->pair->disks, i);

        add(h, colo_command_disk_insert(disk->target, disk->base, false, 0,
                                        NULL));
        add(h, colo_command_disk_export(disk->target, disk->base));
    }
    for (i = 0; i < h->pair->nic_count; i++) {
        const ColoNic *nic = g_ptr_array_index(h->domain->nics, i);
        g_autofree char *netdev = g_strdup_printf("host%s", nic->alias);

        add(h, colo_command_net_connect(i, there, h->pair->net_port + i));
        add(h, colo_command_net_rewrite(i, netdev));
    }
    add(h, colo_command_listen(here, h->pair->migrate_port));
}

static void primary_steps(ByHand *h)
{
    const char *here = address(h->options->from_address, "PRIMARY-ADDRESS");
    const char *there = address(h->options->to_address, "SECONDARY-ADDRESS");
    unsigned i;

    for (i = 0; i < h->pair->nic_count; i++) {
        const ColoNic *nic = g_ptr_array_index(h->domain->nics, i);
        g_autofree char *netdev = g_strdup_printf("host%s", nic->alias);

        add(h, colo_command_net_listen(i, here, h->pair->net_port + i));
        add(h, colo_command_net_compare(i, netdev));
    }
    for (i = 0; i < h->pair->disks->len; i++) {
        const ColoPairDisk *disk = g_ptr_array_index(h->pair->disks, i);

        add(h, colo_command_disk_insert(disk->target, disk->base, false, 0,
                                        NULL));
        add(h, colo_command_disk_connect(disk->target, there,
                                         h->pair->disk_port));
        add(h, colo_command_disk_attach(disk->target, "full", NULL, 0));
    }
    add(h, colo_command_events(false));
    add(h, colo_command_capability("x-colo", true));
    add(h, colo_command_interval(1000));
    add(h, colo_command_migrate(there, h->pair->migrate_port));
}

static void print_steps(const ByHand *h, bool is_primary)
{
    unsigned i;

    puts(is_primary
         ? "<!-- The domain stays as it is. When the secondary has had its "
           "commands,\n     give these to the primary with virsh "
           "qemu-monitor-command, the last one\n     when query-colo says "
           "in-sync for each disk:\n"
         : "<!-- Make the images of its disks, start it with virsh create "
           "and its\n     option 'paused', then give it these with virsh "
           "qemu-monitor-command:\n");
    for (i = 0; i < h->steps->len; i++) {
        g_autofree char *text = colo_json_text(
            g_ptr_array_index(h->steps, i), false);

        puts(text);
    }
    puts("-->");
}

static JsonNode *as_json(ByHand *h, const char *xml)
{
    JsonNode *list = colo_json_list();
    unsigned i;

    for (i = 0; i < h->steps->len; i++) {
        json_array_add_element(json_node_get_array(list), json_node_copy(
            g_ptr_array_index(h->steps, i)));
    }
    return colo_json("s:xml", xml, "o:steps", list, NULL);
}

static char *xml_of(ByHand *h, bool is_primary, GError **error)
{
    g_autofree char *xml = colo_host_xml(
        h->host, h->uuid, is_primary ? COLO_XML_LIVE : COLO_XML_MIGRATABLE,
        error);

    if (!xml || is_primary) {
        return g_steal_pointer(&xml);
    }
    return colo_peer_xml(xml, h->disks, h->networks, h->pair, error);
}

bool colo_xml(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_auto(ByHand) h = { .options = o };
    ColoRole role = o->role ? colo_role_parse(o->role) : COLO_ROLE_NONE;
    bool is_primary = role == COLO_ROLE_PRIMARY;
    g_autofree char *xml = NULL;

    if (!is_primary && role != COLO_ROLE_SECONDARY) {
        colo_error_set(error, COLO_EXIT_USAGE,
                       "--role has to be primary or secondary");
        return false;
    }
    xml = prepare(&h, role, error) ? xml_of(&h, is_primary, error) : NULL;
    if (!xml) {
        colo_error_what(error, "The XML of '%s' cannot be made", o->domain);
        return false;
    }
    if (is_primary) {
        primary_steps(&h);
    } else {
        secondary_steps(&h);
    }
    *result = as_json(&h, xml);
    if (!o->json) {
        fputs(xml, stdout);
        print_steps(&h, is_primary);
    }
    return true;
}
