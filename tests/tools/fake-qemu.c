/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The QEMU of a model host.
 *
 * One handler for each monitor command. A thing that is put into QEMU is a
 * line of text in a set; what stands on another thing cannot outlive it.
 */
#include <string.h>
#include "error.h"
#include "fake-qemu.h"

typedef JsonNode *Handler(FakeHost *h, JsonNode *arguments, GError **error);

static JsonNode *nothing(void)
{
    return colo_json("s:ok", NULL, NULL);
}

static JsonNode *refuse(GError **error, const char *why)
{
    colo_error_set(error, COLO_EXIT_FAILED, "%s", why);
    return NULL;
}

static bool has(const FakeHost *h, const char *kind, const char *name)
{
    g_autofree char *key = g_strdup_printf("%s %s", kind, name);

    return g_hash_table_contains(h->things, key);
}

static JsonNode *put(FakeHost *h, const char *kind, const char *name,
                     GError **error)
{
    g_autofree char *key = g_strdup_printf("%s %s", kind, name);

    if (!g_hash_table_add(h->things, g_steal_pointer(&key))) {
        return refuse(error, "it exists");
    }
    return nothing();
}

static JsonNode *take(FakeHost *h, const char *kind, const char *name,
                      GError **error)
{
    g_autofree char *key = g_strdup_printf("%s %s", kind, name);

    return g_hash_table_remove(h->things, key)
           ? nothing() : refuse(error, "it does not exist");
}

/* Each thing of a kind as an object with one member. */
static JsonNode *list_of(FakeHost *h, const char *kind, const char *member)
{
    g_autofree char *prefix = g_strconcat(kind, " ", NULL);
    JsonNode *list = colo_json_list();
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, h->things);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (g_str_has_prefix(key, prefix)) {
            g_autofree char *tagged = g_strconcat("s:", member, NULL);

            json_array_add_element(
                json_node_get_array(list),
                colo_json(tagged, (char *)key + strlen(prefix),
                          "s:filename", "tcp:connected", NULL));
        }
    }
    return list;
}

static gboolean is_owner(gpointer port, gpointer owner, gpointer name)
{
    return !strcmp(owner, name);
}

static bool take_port(FakeHost *h, const char *port, const char *owner,
                      GError **error)
{
    if (g_hash_table_contains(h->taken_ports, port)) {
        colo_error_set(error, COLO_EXIT_FAILED, "Address already in use");
        return false;
    }
    g_hash_table_insert(h->taken_ports, g_strdup(port), g_strdup(owner));
    return true;
}

/* ------------------------------------------------------- what it knows */

static JsonNode *query_version(FakeHost *h, JsonNode *args, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(h->version, ".", 3);

    return colo_json("o:qemu", colo_json(
        "i:major", (int64_t)atoi(parts[0]),
        "i:minor", (int64_t)atoi(parts[1]),
        "i:micro", (int64_t)atoi(parts[2]), NULL), "s:package", "", NULL);
}

static JsonNode *query_commands(FakeHost *h, JsonNode *args, GError **error)
{
    return colo_json_array(colo_json("s:name", "colo-prepare-secondary",
                                     NULL),
                           colo_json("s:name", "colo-disk-attach", NULL),
                           NULL);
}

static JsonNode *qom_get(FakeHost *h, JsonNode *args, GError **error)
{
    JsonNode *node = json_node_new(JSON_NODE_VALUE);

    json_node_set_string(node, "pc-q35-10.0-machine");
    return node;
}

static JsonNode *block_entry(FakeHost *h, const char *qdev, const char *base,
                             const char *repl)
{
    JsonNode *image = colo_json("i:virtual-size", (int64_t)FAKE_DISK_BYTES,
                                NULL);

    return colo_json("s:qdev", qdev, "o:inserted", colo_json(
        "s:node-name", has(h, "node", repl) ? repl : base,
        "o:image", image, NULL), NULL);
}

static JsonNode *query_block(FakeHost *h, JsonNode *args, GError **error)
{
    return colo_json_array(
        block_entry(h, "/machine/peripheral/virtio-disk0/virtio-backend",
                    "libvirt-2-format", "colo-vda"),
        block_entry(h, "sata0-0-0", "libvirt-1-format", "colo-sda"), NULL);
}

static JsonNode *disks_of(FakeHost *h)
{
    static const char *const names[] = { "colo-vda", "colo-sda" };
    JsonNode *list = colo_json_list();
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        gpointer waits;
        JsonNode *forward = NULL;

        if (!has(h, "node", names[i])) {
            continue;
        }
        if (g_hash_table_lookup_extended(h->attached, names[i], NULL,
                                         &waits)) {
            forward = colo_json("b:in-sync", !GPOINTER_TO_INT(waits), NULL);
        }
        json_array_add_element(json_node_get_array(list), colo_json(
            "s:node", names[i], "o:forward", forward,
            "s:state", h->is_secondary ? "base" : NULL, NULL));
    }
    return list;
}

static JsonNode *nics_of(FakeHost *h)
{
    if (strcmp(h->phase, "alone") || !h->settling_left) {
        return colo_json_list();
    }
    h->settling_left--;
    if (h->on_settling) {
        h->on_settling(h->world);
    }
    return colo_json_array(colo_json(
        "o:rewriter", colo_json("i:settling", (int64_t)1, NULL), NULL), NULL);
}

static JsonNode *query_colo(FakeHost *h, JsonNode *args, GError **error)
{
    bool is_off = !strcmp(h->phase, "off");

    return colo_json(
        "s:role", is_off ? "none" : h->is_secondary ? "secondary" : "primary",
        "s:state", h->phase, "s:cause", h->cause, "s:reason", "",
        "s:remedy", "", "o:disks", disks_of(h), "o:nics", nics_of(h), NULL);
}

static JsonNode *query_migrate(FakeHost *h, JsonNode *args, GError **error)
{
    return h->migration
           ? colo_json("s:status", h->migration, "o:ram", colo_json(
                 "i:total", (int64_t)1000,
                 "i:remaining", (int64_t)h->waits_left * 100, NULL), NULL)
           : nothing();
}

static JsonNode *query_parameters(FakeHost *h, JsonNode *args,
                                  GError **error)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    /* What changes later must not change what was answered. */
    json_node_set_object(node, h->parameters);
    text = colo_json_text(node, false);
    return colo_json_parse(text, NULL);
}

static JsonNode *set_parameters(FakeHost *h, JsonNode *args, GError **error)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    json_object_iter_init(&iter, json_node_get_object(args));
    while (json_object_iter_next(&iter, &name, &value)) {
        json_object_set_member(h->parameters, name, json_node_copy(value));
    }
    return nothing();
}

static JsonNode *set_capabilities(FakeHost *h, JsonNode *args,
                                  GError **error)
{
    JsonNode *one = colo_json_element(args, "capabilities", 0);

    g_assert_cmpstr(colo_json_string(one, "capability"), ==, "x-colo");
    if (h->release_left) {
        return refuse(error, "There's a migration process in progress");
    }
    h->has_x_colo = colo_json_bool(one, "state");
    return nothing();
}

/* ------------------------------------------------------------- network */

static JsonNode *chardev_add(FakeHost *h, JsonNode *args, GError **error)
{
    const char *port = colo_json_string(args,
                                        "backend.data.addr.data.port");

    if (colo_json_bool(args, "backend.data.server") &&
        !take_port(h, port, colo_json_string(args, "id"), error)) {
        return NULL;
    }
    return put(h, "chardev", colo_json_string(args, "id"), error);
}

static JsonNode *chardev_remove(FakeHost *h, JsonNode *args, GError **error)
{
    const char *id = colo_json_string(args, "id");
    g_autofree char *used = g_strconcat(id, " used", NULL);

    if (has(h, "chardev", used)) {
        return refuse(error, "chardev is busy");
    }
    g_hash_table_foreach_remove(h->taken_ports, is_owner, (gpointer)id);
    return take(h, "chardev", id, error);
}

static const char *link_of(const char *id, char *link, size_t size)
{
    g_snprintf(link, size, "%s%c used",
               strstr(id, "compare") ? "colo-link" : "colo-peer",
               id[strlen(id) - 1]);
    return link;
}

static JsonNode *object_add(FakeHost *h, JsonNode *args, GError **error)
{
    const char *id = colo_json_string(args, "id");
    char link[64];

    g_assert_true(g_str_has_prefix(colo_json_string(args, "netdev"),
                                   "hostnet"));
    g_hash_table_add(h->things, g_strdup_printf(
        "chardev %s", link_of(id, link, sizeof(link))));
    return put(h, "object", id, error);
}

static JsonNode *list_chardevs(FakeHost *h, JsonNode *args, GError **error)
{
    return list_of(h, "chardev", "label");
}

static JsonNode *list_nodes(FakeHost *h, JsonNode *args, GError **error)
{
    return list_of(h, "node", "node-name");
}

/* --------------------------------------------------------------- disks */

static JsonNode *prepare(FakeHost *h, JsonNode *args, GError **error)
{
    g_assert_cmpint(h->state, ==, COLO_DOM_PAUSED);
    h->is_secondary = true;
    return nothing();
}

static JsonNode *disk_insert(FakeHost *h, JsonNode *args, GError **error)
{
    return put(h, "node", colo_json_string(args, "node-name"), error);
}

static JsonNode *disk_remove(FakeHost *h, JsonNode *args, GError **error)
{
    const char *node = colo_json_string(args, "node");

    if (!strcmp(h->phase, "protected") ||
        g_hash_table_contains(h->attached, node)) {
        return refuse(error, "has a copy attached");
    }
    return take(h, "node", node, error);
}

static JsonNode *blockdev_add(FakeHost *h, JsonNode *args, GError **error)
{
    g_autofree char *export = g_strdup_printf(
        "export %s", colo_json_string(args, "export"));

    if (!g_hash_table_contains(h->peer->things, export)) {
        return refuse(error, "no such export");
    }
    return put(h, "node", colo_json_string(args, "node-name"), error);
}

static JsonNode *disk_attach(FakeHost *h, JsonNode *args, GError **error)
{
    const char *node = colo_json_string(args, "node");

    if (!has(h, "node", node) ||
        !has(h, "node", colo_json_string(args, "target"))) {
        return refuse(error, "no such node");
    }
    if (!strcmp(colo_json_string(args, "sync"), "incremental")) {
        return refuse(error, "the base is not known");
    }
    g_hash_table_insert(h->attached, g_strdup(node), GINT_TO_POINTER(2));
    return nothing();
}

static JsonNode *nbd_start(FakeHost *h, JsonNode *args, GError **error)
{
    return take_port(h, colo_json_string(args, "addr.data.port"), "nbd",
                     error)
           ? put(h, "server", "nbd", error) : NULL;
}

static JsonNode *export_add(FakeHost *h, JsonNode *args, GError **error)
{
    return put(h, "export", colo_json_string(args, "name"), error);
}

static JsonNode *query_jobs(FakeHost *h, JsonNode *args, GError **error)
{
    return colo_json_list();
}

/* -------------------------------------------------------------- memory */

static JsonNode *incoming(FakeHost *h, JsonNode *args, GError **error)
{
    JsonNode *channel = colo_json_element(args, "channels", 0);

    if (!h->is_secondary || h->migration) {
        return refuse(error, "migrate-incoming can be tried once only");
    }
    h->migration = "setup";
    if (!take_port(h, colo_json_string(channel, "addr.port"), "migration",
                   error)) {
        return NULL;
    }
    return nothing();
}

static JsonNode *migrate(FakeHost *h, JsonNode *args, GError **error)
{
    g_assert_true(h->has_x_colo && h->peer->has_x_colo);
    g_assert_nonnull(h->peer->migration);
    h->migration = "active";
    h->waits_left = 3;
    return nothing();
}

static JsonNode *migrate_cancel(FakeHost *h, JsonNode *args, GError **error)
{
    if (!g_strcmp0(h->migration, "active")) {
        h->migration = "cancelled";
    }
    return nothing();
}

static JsonNode *checkpoint(FakeHost *h, JsonNode *args, GError **error)
{
    return strcmp(h->phase, "protected")
           ? refuse(error, "not the primary of a protected pair")
           : nothing();
}

static void post_event(FakeHost *h, const char *name, const char *data)
{
    fake_world_post(h->world, h == h->world->hosts[1], COLO_EVENT_MONITOR,
                    name, data, false);
}

/* The survivor's COLO thread has ended. */
static void release(FakeHost *h)
{
    h->migration = "completed";
    g_hash_table_remove_all(h->attached);
    post_event(h, "MIGRATION", "{\"status\":\"completed\"}");
}

static JsonNode *lost_heartbeat(FakeHost *h, JsonNode *args, GError **error)
{
    if (strcmp(h->phase, "lost")) {
        return refuse(error, "takes no part");
    }
    /* MUST: never two guests. */
    g_assert_true(h->peer->state != COLO_DOM_RUNNING ||
                  h->peer->is_dead_unseen);
    h->phase = "alone";
    h->release_left = 2;
    post_event(h, "COLO_STATUS", "{\"state\":\"alone\"}");
    return nothing();
}

/* What is there only as long as nothing is kept: replication nodes. */
static bool is_kept(const char *thing, bool keeps_disks)
{
    return keeps_disks && g_str_has_prefix(thing, "node ") &&
           !g_str_has_suffix(thing, "-copy");
}

static gboolean is_taken(gpointer thing, gpointer value, gpointer keeps_disks)
{
    return !is_kept(thing, GPOINTER_TO_INT(keeps_disks));
}

static JsonNode *clean_up(FakeHost *h, JsonNode *args, GError **error)
{
    bool is_survivor = colo_json_count(args, "keep");

    if (h->release_left || (strcmp(h->phase, "off") &&
                            strcmp(h->phase, "alone"))) {
        return refuse(error, "the guest is protected");
    }
    if (!g_strcmp0(h->migration, "active")) {
        return refuse(error, "a migration is under way");
    }
    if (h->is_merging && !is_survivor) {
        return refuse(error, "a disk is still being merged");
    }
    g_hash_table_remove_all(h->attached);
    g_hash_table_remove_all(h->taken_ports);
    g_hash_table_foreach_remove(h->things, is_taken,
                                GINT_TO_POINTER(is_survivor));
    h->has_x_colo = false;
    json_object_set_boolean_member(h->parameters, "checkpoint-events", true);
    if (!is_survivor) {
        json_object_set_int_member(h->parameters, "step-limit", 5000);
        json_object_set_int_member(h->parameters, "x-checkpoint-delay",
                                   20000);
    }
    return nothing();
}

static JsonNode *query_status(FakeHost *h, JsonNode *args, GError **error)
{
    return colo_json("b:running", true, NULL);
}

static JsonNode *quit(FakeHost *h, JsonNode *args, GError **error)
{
    fake_qemu_end(h, false);
    return nothing();
}

static JsonNode *no_answer(FakeHost *h, JsonNode *args, GError **error)
{
    return colo_json_list();
}

static const struct {
    const char *name;
    Handler *run;
} handlers[] = {
    { "query-version", query_version },
    { "query-commands", query_commands },
    { "qom-get", qom_get },
    { "query-block", query_block },
    { "query-colo", query_colo },
    { "query-migrate", query_migrate },
    { "query-migrate-parameters", query_parameters },
    { "migrate-set-parameters", set_parameters },
    { "colo-set-parameters", set_parameters },
    { "query-colo-parameters", query_parameters },
    { "migrate-set-capabilities", set_capabilities },
    { "chardev-add", chardev_add },
    { "chardev-remove", chardev_remove },
    { "query-chardev", list_chardevs },
    { "object-add", object_add },
    { "colo-prepare-secondary", prepare },
    { "colo-clean-up", clean_up },
    { "colo-disk-insert", disk_insert },
    { "colo-disk-remove", disk_remove },
    { "colo-disk-attach", disk_attach },
    { "blockdev-add", blockdev_add },
    { "query-named-block-nodes", list_nodes },
    { "query-block-jobs", query_jobs },
    { "query-jobs", query_jobs },
    { "nbd-server-start", nbd_start },
    { "block-export-add", export_add },
    { "migrate-incoming", incoming },
    { "migrate", migrate },
    { "migrate_cancel", migrate_cancel },
    { "colo-checkpoint", checkpoint },
    { "x-colo-lost-heartbeat", lost_heartbeat },
    { "query-status", query_status },
    { "query-yank", no_answer },
    { "x-query-virtio-status", no_answer },
    { "quit", quit },
};

JsonNode *fake_qemu_run(FakeHost *h, JsonNode *command, GError **error)
{
    const char *name = colo_json_string(command, "execute");
    unsigned i;

    if (h->refused_left && !strcmp(name, h->refused)) {
        h->refused_left--;
        if (h->on_refusal) {
            h->on_refusal(h->world);
        }
        return refuse(error, "not now");
    }
    for (i = 0; i < G_N_ELEMENTS(handlers); i++) {
        if (!strcmp(name, handlers[i].name)) {
            return handlers[i].run(h, colo_json_at(command, "arguments"),
                                   error);
        }
    }
    g_error("the model knows no command %s", name);
}

/* ------------------------------------------------------ its life */

void fake_qemu_start(FakeHost *h, ColoDomState state)
{
    h->state = state;
    h->is_crashed = false;
    h->phase = "off";
    h->cause = "none";
    h->migration = NULL;
    h->is_secondary = false;
    h->has_x_colo = false;
    h->release_left = 0;
    g_hash_table_remove_all(h->things);
    g_hash_table_remove_all(h->attached);
    json_object_set_int_member(h->parameters, "downtime-limit", 300);
    json_object_set_int_member(h->parameters, "max-bandwidth", 1000);
    json_object_set_int_member(h->parameters, "x-checkpoint-delay", 20000);
    json_object_set_boolean_member(h->parameters, "checkpoint-events", true);
    json_object_set_int_member(h->parameters, "step-limit", 5000);
}

/* Of a peer that is gone: a primary goes on, a secondary waits. */
static void lose_peer(FakeHost *h, bool is_crash)
{
    if (!g_strcmp0(h->migration, "active")) {
        h->migration = "failed";
    }
    if (!g_strcmp0(h->phase, "protected")) {
        h->phase = h->is_secondary || is_crash ? "lost" : "alone";
        h->cause = is_crash ? "peer-closed" : "peer-quit";
        if (!strcmp(h->phase, "alone")) {
            h->migration = "completed";
            g_hash_table_remove_all(h->attached);
        }
    }
}

void fake_qemu_end(FakeHost *h, bool is_crash)
{
    h->state = h->is_persistent ? COLO_DOM_OFF : COLO_DOM_ABSENT;
    h->is_crashed = is_crash;
    g_hash_table_remove_all(h->things);
    g_hash_table_remove_all(h->taken_ports);
    if (!h->is_persistent) {
        g_clear_pointer(&h->xml, g_free);
        g_clear_pointer(&h->pair, g_free);
    }
    lose_peer(h->peer, is_crash);
}

void fake_qemu_pass_time(FakeHost *h)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, h->attached);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        int waits = GPOINTER_TO_INT(value);

        g_hash_table_iter_replace(&iter,
                                  GINT_TO_POINTER(MAX(waits - 1, 0)));
    }
    if (h->release_left && !--h->release_left) {
        release(h);
    }
    if (g_strcmp0(h->migration, "active") || --h->waits_left) {
        return;
    }
    h->migration = "colo";
    h->phase = "protected";
    h->peer->phase = "protected";
    h->peer->migration = "colo";
}
