/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every monitor command that `colo` gives.
 */
#include "commands.h"

/* A peer's chardev that is not there yet is tried again after this. */
enum { RECONNECT_MS = 200 };

char *colo_name_disk(const char *target)
{
    return g_strdup_printf("colo-%s", target);
}

char *colo_name_copy(const char *target)
{
    return g_strdup_printf("colo-%s-copy", target);
}

char *colo_name_export(const char *target)
{
    return g_strdup_printf("colo-%s-export", target);
}

char *colo_name_link(unsigned nic)
{
    return g_strdup_printf("colo-link%u", nic);
}

char *colo_name_compare(unsigned nic)
{
    return g_strdup_printf("colo-compare%u", nic);
}

char *colo_name_peer_link(unsigned nic)
{
    return g_strdup_printf("colo-peer%u", nic);
}

char *colo_name_rewriter(unsigned nic)
{
    return g_strdup_printf("colo-rewriter%u", nic);
}

JsonNode *colo_command(const char *execute)
{
    return colo_json_command(execute, NULL);
}

JsonNode *colo_command_capability(const char *name, bool on)
{
    JsonNode *one = colo_json("s:capability", name, "b:state", on, NULL);

    return colo_json_command("migrate-set-capabilities",
        colo_json("o:capabilities", colo_json_array(one, NULL), NULL));
}

/* As QAPI's SocketAddress with the type beside the host. */
static JsonNode *inet_flat(const char *address, unsigned port)
{
    g_autofree char *text = g_strdup_printf("%u", port);

    return colo_json("s:type", "inet", "s:host", address, "s:port", text,
                     NULL);
}

/* As QAPI's SocketAddressLegacy. */
static JsonNode *inet_nested(const char *address, unsigned port)
{
    g_autofree char *text = g_strdup_printf("%u", port);
    JsonNode *data = colo_json("s:host", address, "s:port", text, NULL);

    return colo_json("s:type", "inet", "o:data", data, NULL);
}

static JsonNode *channels(const char *address, unsigned port)
{
    g_autofree char *text = g_strdup_printf("%u", port);
    JsonNode *addr = colo_json("s:transport", "socket", "s:type", "inet",
                               "s:host", address, "s:port", text, NULL);
    JsonNode *channel = colo_json("s:channel-type", "main", "o:addr", addr,
                                  NULL);

    return colo_json("o:channels", colo_json_array(channel, NULL), NULL);
}

JsonNode *colo_command_listen(const char *address, unsigned port)
{
    return colo_json_command("migrate-incoming", channels(address, port));
}

JsonNode *colo_command_migrate(const char *address, unsigned port)
{
    return colo_json_command("migrate", channels(address, port));
}

static JsonNode *migrate_parameter(const char *tagged, int64_t value)
{
    return colo_json_command("migrate-set-parameters",
                             colo_json(tagged, value, NULL));
}

JsonNode *colo_command_interval(uint32_t interval_ms)
{
    return migrate_parameter("i:x-checkpoint-delay", interval_ms);
}

JsonNode *colo_command_downtime(uint32_t limit_ms)
{
    return migrate_parameter("i:downtime-limit", limit_ms);
}

JsonNode *colo_command_bandwidth(uint64_t bytes_per_s)
{
    return migrate_parameter("i:max-bandwidth", bytes_per_s);
}

JsonNode *colo_command_events(bool on)
{
    return colo_json_command("colo-set-parameters",
                             colo_json("b:checkpoint-events", on, NULL));
}

JsonNode *colo_command_parameter(const char *name, int64_t value)
{
    g_autofree char *tagged = g_strconcat("i:", name, NULL);

    return colo_json_command("colo-set-parameters",
                             colo_json(tagged, value, NULL));
}

JsonNode *colo_command_disk_insert(const char *target, const char *below,
                                   bool is_shared, uint64_t buffer_bytes,
                                   const char *directory)
{
    g_autofree char *name = colo_name_disk(target);
    JsonNode *arguments = colo_json("s:node", below, "s:node-name", name,
                                    "s:spill-dir", directory, NULL);
    JsonObject *object = json_node_get_object(arguments);

    if (is_shared) {
        json_object_set_boolean_member(object, "shared", true);
    }
    if (buffer_bytes) {
        json_object_set_int_member(object, "buffer-limit", buffer_bytes);
    }
    return colo_json_command("colo-disk-insert", arguments);
}

JsonNode *colo_command_disk_remove(const char *target)
{
    g_autofree char *name = colo_name_disk(target);

    return colo_json_command("colo-disk-remove",
                             colo_json("s:node", name, NULL));
}

JsonNode *colo_command_disk_connect(const char *target, const char *address,
                                    unsigned port)
{
    g_autofree char *node = colo_name_copy(target);
    g_autofree char *name = colo_name_export(target);

    return colo_json_command("blockdev-add",
        colo_json("s:driver", "nbd", "s:node-name", node,
                  "o:server", inet_flat(address, port), "s:export", name,
                  NULL));
}

JsonNode *colo_command_disk_attach(const char *target, const char *sync,
                                   const char *base, uint64_t bytes_per_s)
{
    g_autofree char *node = colo_name_disk(target);
    g_autofree char *copy = colo_name_copy(target);
    JsonNode *arguments = colo_json("s:node", node, "s:target", copy,
                                    "s:sync", sync, "s:base", base,
                                    "s:id", node, NULL);

    if (bytes_per_s) {
        json_object_set_int_member(json_node_get_object(arguments), "speed",
                                   bytes_per_s);
    }
    return colo_json_command("colo-disk-attach", arguments);
}

JsonNode *colo_command_disk_serve(const char *address, unsigned port)
{
    return colo_json_command("nbd-server-start",
        colo_json("o:addr", inet_nested(address, port), NULL));
}

JsonNode *colo_command_disk_export(const char *target, const char *node)
{
    g_autofree char *name = colo_name_export(target);

    return colo_json_command("block-export-add",
        colo_json("s:type", "nbd", "s:id", name, "s:node-name", node,
                  "s:name", name, "b:writable", true, NULL));
}

JsonNode *colo_command_chardev(const char *id, bool is_server,
                               const char *address, unsigned port)
{
    JsonNode *data = colo_json("o:addr", inet_nested(address, port),
                               "b:server", is_server, NULL);
    JsonObject *object = json_node_get_object(data);

    if (is_server) {
        json_object_set_boolean_member(object, "wait", false);
    } else {
        json_object_set_int_member(object, "reconnect-ms", RECONNECT_MS);
    }
    return colo_json_command("chardev-add", colo_json(
        "s:id", id,
        "o:backend", colo_json("s:type", "socket", "o:data", data, NULL),
        NULL));
}

JsonNode *colo_command_net_listen(unsigned nic, const char *address,
                                  unsigned port)
{
    g_autofree char *id = colo_name_link(nic);

    return colo_command_chardev(id, true, address, port);
}

JsonNode *colo_command_net_connect(unsigned nic, const char *address,
                                   unsigned port)
{
    g_autofree char *id = colo_name_peer_link(nic);

    return colo_command_chardev(id, false, address, port);
}

JsonNode *colo_command_net_compare(unsigned nic, const char *netdev)
{
    g_autofree char *id = colo_name_compare(nic);
    g_autofree char *link = colo_name_link(nic);

    return colo_json_command("object-add",
        colo_json("s:qom-type", "colo-compare", "s:id", id,
                  "s:netdev", netdev, "s:secondary", link, NULL));
}

JsonNode *colo_command_net_rewrite(unsigned nic, const char *netdev)
{
    g_autofree char *id = colo_name_rewriter(nic);
    g_autofree char *link = colo_name_peer_link(nic);

    return colo_json_command("object-add",
        colo_json("s:qom-type", "filter-rewriter", "s:id", id,
                  "s:netdev", netdev, "s:queue", "all", "s:primary", link,
                  NULL));
}

JsonNode *colo_command_chardev_remove(const char *id)
{
    return colo_json_command("chardev-remove",
                             colo_json("s:id", id, NULL));
}

JsonNode *colo_command_clean_up(bool is_survivor)
{
    static const char *const kept[] = { "disks", "connections", "limits" };
    JsonNode *keep = colo_json_list();
    unsigned i;

    for (i = 0; is_survivor && i < G_N_ELEMENTS(kept); i++) {
        json_array_add_string_element(json_node_get_array(keep), kept[i]);
    }
    return colo_json_command("colo-clean-up",
                             colo_json("o:keep", keep, NULL));
}

JsonNode *colo_command_yank(JsonNode *instances)
{
    return colo_json_command("yank",
                             colo_json("o:instances", instances, NULL));
}
