/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo protect: the steps that start the secondary and connect it.
 *
 * The primary's guest runs all the while and notices none of it: nodes,
 * exports and chardevs carry nothing yet, and a compare object without a pair
 * lets every frame pass.
 */
#include "address.h"
#include "checks.h"
#include "error.h"
#include "live.h"
#include "protect.h"

enum { PORTS_TRIED = 200, REACH_LIMIT_MS = 3000, ASK_AGAIN_MS = 5 };

#define REACH_ID "colo-reach"

/* ------------------------------------------------------------- images */

static bool make_image(ColoProtect *p, const ColoDiskFact *fact,
                       GError **error)
{
    const ColoDisk *disk = colo_domain_disk(p->facts->domain, fact->target);

    if (fact->is_shared || fact->there.is_there) {
        return true;
    }
    if (g_str_has_prefix(fact->path_there, "/dev/")) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "There is no device %s on the other host; it has to "
                       "be made there by hand", fact->path_there);
        return false;
    }
    return colo_protect_plan(p, colo_undo_new(COLO_UNDO_VOLUME, true,
                                              fact->path_there), error) &&
           colo_host_volume_create(p->to, fact->path_there, disk->format,
                                   fact->size_bytes, error);
}

static bool make_images(ColoProtect *p, GError **error)
{
    unsigned i;

    for (i = 0; i < p->facts->disks->len; i++) {
        const ColoDiskFact *fact = g_ptr_array_index(p->facts->disks, i);
        const ColoDisk *disk = colo_domain_disk(p->facts->domain,
                                                fact->target);

        if (!make_image(p, fact, error)) {
            colo_error_what(error, "The image of disk %s cannot be made on "
                            "the other host%s", fact->target,
                            strcmp(disk->format, "raw")
                            ? ", which needs qemu-img for it" : "");
            return false;
        }
    }
    return true;
}

/* --------------------------------------------------------- the domain */

static bool remember(ColoProtect *p, GError **error)
{
    g_autofree char *before = p->facts->pair
                              ? colo_pair_to_xml(p->facts->pair) : NULL;

    return colo_protect_plan(p, colo_undo_new(COLO_UNDO_PAIR, false, before),
                             error) &&
           colo_host_set_pair(p->from, p->scene.domain, p->pair, error);
}

static bool compare_qemus(ColoProtect *p, GError **error)
{
    g_autoptr(GPtrArray) checks = colo_checks_new();
    g_autofree char *text = NULL;

    if (!colo_facts_qemu(p->to, p->scene.domain, &p->facts->qemu_there,
                         error)) {
        return false;
    }
    colo_checks_qemu(checks, p->facts);
    if (colo_checks_passed(checks)) {
        return true;
    }
    text = colo_checks_text(checks, false);
    colo_error_set(error, COLO_EXIT_CHECK, "%s", g_strchomp(text));
    return false;
}

/* A side that waits longer than the other speaks calls it lost. */
static bool copy_limits(ColoProtect *p, GError **error)
{
    JsonNode *limits = colo_host_monitor(
        p->from, p->scene.domain, colo_command("query-colo-parameters"),
        error);

    return limits &&
           colo_protect_there(p, colo_json_command("colo-set-parameters",
                                                   limits), error) &&
           colo_protect_there(p, colo_command_events(false), error);
}

bool colo_protect_start_peer(ColoProtect *p, GError **error)
{
    g_autofree char *xml = NULL;

    if (!remember(p, error) || !make_images(p, error)) {
        return false;
    }
    xml = colo_protect_peer_xml(p, error);
    if (!xml ||
        !colo_protect_plan(p, colo_undo_new(COLO_UNDO_DOMAIN, true, NULL),
                           error) ||
        !colo_host_create_paused(p->to, xml, error) ||
        !compare_qemus(p, error)) {
        return false;
    }
    p->peer = colo_live_domain(p->to, p->scene.domain, error);
    if (!p->peer ||
        !colo_protect_there(p, colo_command("colo-prepare-secondary"),
                            error) ||
        !colo_protect_there(p, colo_command_capability("x-colo", true),
                            error) ||
        !copy_limits(p, error)) {
        return false;
    }
    return !p->memory_buffer_bytes ||
           colo_protect_there(p, colo_command_parameter(
               "staging-limit", p->memory_buffer_bytes), error);
}

/* ---------------------------------------------------------- listening */

static bool is_taken(const GError *error)
{
    return strstr(error->message, "in use");
}

static bool is_literal(const char *address)
{
    return g_hostname_is_ip_address(address);
}

bool colo_protect_listen(ColoProtect *p, bool at_peer, ColoListenFn *make,
                         unsigned nic, uint16_t *port, GError **error)
{
    ColoHost *host = at_peer ? p->to : p->from;
    const char *address = at_peer ? p->to_address : p->from_address;
    unsigned first = p->options->port;
    unsigned i;

    for (i = 0; i < PORTS_TRIED; i++) {
        g_autoptr(GError) why = NULL;

        /* A name may mean another address to the host itself. */
        if (colo_host_run(host, p->scene.domain,
                          make(nic, is_literal(address) ? address : "",
                               first + i), &why)) {
            *port = first + i;
            return true;
        }
        if (!is_taken(why)) {
            g_propagate_error(error, g_steal_pointer(&why));
            return false;
        }
    }
    colo_error_set(error, COLO_EXIT_FAILED,
                   "No port from %u to %u is free", first,
                   first + PORTS_TRIED - 1);
    return false;
}

static JsonNode *make_listener(unsigned nic, const char *address,
                               unsigned port)
{
    return colo_command_chardev(REACH_ID, true, address, port);
}

/*
 * QEMU lets migrate-incoming fail only once. So a chardev finds out which port
 * is free.
 */
bool colo_protect_incoming(ColoProtect *p, GError **error)
{
    const char *address = is_literal(p->to_address) ? p->to_address : "";

    return colo_protect_listen(p, true, make_listener, 0,
                               &p->pair->migrate_port, error) &&
           colo_protect_there(p, colo_command_chardev_remove(REACH_ID),
                              error) &&
           colo_protect_there(p, colo_command_listen(
               address, p->pair->migrate_port), error);
}

static bool is_connected(ColoHost *host, const char *domain)
{
    g_autoptr(JsonNode) list = colo_host_monitor(
        host, domain, colo_command("query-chardev"), NULL);
    JsonNode *chardev = list ? colo_json_find(list, "", "label", REACH_ID)
                             : NULL;
    const char *name = chardev ? colo_json_string(chardev, "filename") : NULL;

    return name && !g_str_has_prefix(name, "disconnected:");
}

/*
 * QEMU's main loop, and with it the guest, would wait for a connection to an
 * address that swallows everything. A chardev connects in the background, so
 * it goes first.
 */
bool colo_protect_reach(ColoProtect *p, bool from_peer, const char *address,
                        unsigned port, GError **error)
{
    ColoHost *host = from_peer ? p->to : p->from;
    int64_t end_ms = colo_now_ms() + REACH_LIMIT_MS;
    bool ok;

    if (!colo_host_run(host, p->scene.domain, colo_command_chardev(
            REACH_ID, false, address, port), error)) {
        return false;
    }
    while (!(ok = is_connected(host, p->scene.domain)) &&
           colo_now_ms() < end_ms) {
        colo_host_event_free(colo_host_wait(host, ASK_AGAIN_MS));
    }
    colo_host_run(host, p->scene.domain,
                  colo_command_chardev_remove(REACH_ID), NULL);
    if (!ok) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "Port %u of %s cannot be reached from %s: look at "
                       "firewalls, or give another address with --%s-address",
                       port, address, from_peer ? p->facts->to.name
                                                : p->facts->from.name,
                       from_peer ? "from" : "to");
    }
    return ok;
}

/* -------------------------------------------------------------- disks */

static bool insert(ColoProtect *p, ColoHost *host, const char *node,
                   const ColoDiskFact *fact, GError **error)
{
    g_autofree char *directory = colo_live_directory(host, p->scene.domain);

    return colo_host_run(host, p->scene.domain, colo_command_disk_insert(
        fact->target, node, fact->is_shared, p->disk_buffer_bytes,
        directory), error);
}

static bool serve_disk(ColoProtect *p, const ColoDiskFact *fact,
                       GError **error)
{
    const ColoDisk *disk = colo_domain_disk(p->peer, fact->target);
    g_autofree char *node = NULL;
    uint64_t size_bytes = 0;

    if (!disk) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "The secondary has no disk %s", fact->target);
        return false;
    }
    node = colo_live_disk_node(p->to, p->scene.domain, disk, &size_bytes,
                               error);
    if (!node) {
        return false;
    }
    if (size_bytes != fact->size_bytes) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "Disk %s has %" PRIu64 " bytes here and %" PRIu64
                       " there", fact->target, fact->size_bytes, size_bytes);
        return false;
    }
    return insert(p, p->to, node, fact, error) &&
           colo_protect_there(p, colo_command_disk_export(fact->target,
                                                          node), error);
}

static JsonNode *make_disk_server(unsigned nic, const char *address,
                                  unsigned port)
{
    return colo_command_disk_serve(address, port);
}

/* A survivor has its node from the time when it was protected. */
static bool has_node(const ColoDiskFact *fact)
{
    g_autofree char *name = colo_name_disk(fact->target);

    return !strcmp(fact->node, name);
}

static bool insert_node(ColoProtect *p, const ColoDiskFact *fact,
                        GError **error)
{
    return has_node(fact) ||
           (colo_protect_plan(p, colo_undo_new(COLO_UNDO_NODE, false,
                                               fact->target), error) &&
            insert(p, p->from, fact->node, fact, error));
}

/*
 * All that this side has from now on is taken away by one command, before the
 * nodes that did not stand here already.
 */
static bool insert_nodes(ColoProtect *p, GError **error)
{
    unsigned i;

    for (i = 0; i < p->facts->disks->len; i++) {
        if (!insert_node(p, g_ptr_array_index(p->facts->disks, i), error)) {
            return false;
        }
    }
    return colo_protect_plan(p, colo_undo_new(COLO_UNDO_PARTS, false, NULL),
                             error);
}

static bool connect_disk(ColoProtect *p, const ColoDiskFact *fact,
                         GError **error)
{
    return colo_protect_here(p, colo_command_disk_connect(
        fact->target, p->to_address, p->pair->disk_port), error);
}

bool colo_protect_connect_disks(ColoProtect *p, GError **error)
{
    GPtrArray *disks = p->facts->disks;
    unsigned i;

    if (!insert_nodes(p, error)) {
        return false;
    }
    if (!disks->len) {
        return true;
    }
    if (!colo_protect_listen(p, true, make_disk_server, 0,
                             &p->pair->disk_port, error)) {
        return false;
    }
    for (i = 0; i < disks->len; i++) {
        if (!serve_disk(p, g_ptr_array_index(disks, i), error)) {
            return false;
        }
    }
    if (!colo_protect_reach(p, false, p->to_address, p->pair->disk_port,
                            error)) {
        return false;
    }
    for (i = 0; i < disks->len; i++) {
        if (!connect_disk(p, g_ptr_array_index(disks, i), error)) {
            return false;
        }
    }
    return true;
}

/* --------------------------------------------------------------- NICs */

static bool connect_nic(ColoProtect *p, unsigned i, GError **error)
{
    const ColoNicFact *fact = g_ptr_array_index(p->facts->nics, i);
    const ColoNic *nic = colo_domain_nic(p->peer, fact->name);
    g_autofree char *netdev = NULL;
    uint16_t port;

    if (!nic) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "The secondary has no network card %s", fact->name);
        return false;
    }
    netdev = g_strdup_printf("host%s", nic->alias);
    if (!colo_protect_listen(p, false, colo_command_net_listen, i, &port,
                             error)) {
        return false;
    }
    if (i == 0) {
        p->pair->net_port = port;
        if (!colo_protect_reach(p, true, p->from_address, port, error)) {
            return false;
        }
    }
    return colo_protect_here(p, colo_command_net_compare(i, fact->netdev),
                             error) &&
           colo_protect_there(p, colo_command_net_connect(
               i, p->from_address, port), error) &&
           colo_protect_there(p, colo_command_net_rewrite(i, netdev), error);
}

bool colo_protect_connect_nics(ColoProtect *p, GError **error)
{
    unsigned i;

    for (i = 0; i < p->facts->nics->len; i++) {
        if (!connect_nic(p, i, error)) {
            return false;
        }
    }
    return true;
}
