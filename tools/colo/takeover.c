/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Going on at one side alone.
 *
 * The order matters. First connections are cut on which something may wait
 * for a host that is gone; then QEMU is told that it is the survivor; then
 * libvirt learns that the guest runs, and only then everything else is tidied
 * up, which takes longer and which no client waits for.
 */
#include "error.h"
#include "live.h"
#include "peer-xml.h"
#include "takeover.h"

enum { ALONE_LIMIT_MS = 60000, RELEASE_LIMIT_MS = 15000 };
/* Most guests need half a second; and a silent connection is no reason. */
enum { SETTLE_LIMIT_MS = 2000, SETTLE_AGAIN_MS = 100 };

/* ----------------------------------------------------------- the guest */

static bool is_ours(JsonNode *instance)
{
    const char *node = colo_json_string(instance, "node-name");
    const char *id = colo_json_string(instance, "id");

    return (node && g_str_has_prefix(node, "colo-")) ||
           (id && g_str_has_prefix(id, "colo-"));
}

/* All that is ours, never libvirt's own monitor. */
static void cut_connections(ColoHost *host, const char *domain)
{
    g_autoptr(JsonNode) list = colo_host_monitor(
        host, domain, colo_command("query-yank"), NULL);
    g_autoptr(JsonNode) ours = colo_json_list();
    unsigned i;

    for (i = 0; list && i < colo_json_count(list, ""); i++) {
        JsonNode *instance = colo_json_element(list, "", i);

        if (is_ours(instance)) {
            json_array_add_element(json_node_get_array(ours),
                                   json_node_copy(instance));
        }
    }
    if (colo_json_count(ours, "")) {
        colo_host_run(host, domain,
                      colo_command_yank(g_steal_pointer(&ours)), NULL);
    }
}

bool colo_takeover_begin(ColoHost *host, const char *domain, bool is_primary,
                         GError **error)
{
    if (is_primary) {
        cut_connections(host, domain);
    }
    return colo_host_run(host, domain, colo_command("x-colo-lost-heartbeat"),
                         error);
}

/* QEMU knows best whether the guest runs; libvirt is told. */
bool colo_takeover_end(ColoHost *host, const char *domain, GError **error)
{
    g_auto(ColoDomStatus) known = {};
    g_autoptr(JsonNode) status = NULL;

    if (!colo_host_find(host, domain, &known, error)) {
        return false;
    }
    if (known.state != COLO_DOM_PAUSED) {
        return true;
    }
    status = colo_host_monitor(host, domain, colo_command("query-status"),
                               error);
    if (!status) {
        return false;
    }
    return !colo_json_bool(status, "running") ||
           colo_host_resume(host, domain, error);
}

bool colo_takeover(ColoHost *host, const char *domain, bool is_primary,
                   GError **error)
{
    return colo_takeover_begin(host, domain, is_primary, error) &&
           colo_live_wait_phase(host, domain,
                                COLO_PHASE_BIT(COLO_PHASE_ALONE),
                                ALONE_LIMIT_MS, error) &&
           colo_takeover_end(host, domain, error);
}

/* ---------------------------------------------------------- tidying up */

static bool is_settling(JsonNode *answer)
{
    unsigned i;

    for (i = 0; i < colo_json_count(answer, "nics"); i++) {
        JsonNode *nic = colo_json_element(answer, "nics", i);

        if (colo_json_int(nic, "rewriter.settling")) {
            return true;
        }
    }
    return false;
}

/*
 * Until clients do without the rewriter: they have been shown a clock a little
 * ahead of the guest's, and drop what has an older one.
 */
static bool wait_settled(ColoHost *host, const char *domain, GError **error)
{
    int64_t end_ms = colo_now_ms() + SETTLE_LIMIT_MS;

    do {
        g_autoptr(JsonNode) answer = colo_host_monitor(
            host, domain, colo_command("query-colo"), error);

        if (!answer) {
            return false;
        }
        if (!is_settling(answer)) {
            return true;
        }
        colo_host_pause(host, SETTLE_AGAIN_MS);
    } while (colo_now_ms() < end_ms);
    return true;
}

/* In QEMU. */
static bool remove_parts(ColoHost *host, const char *domain, GError **error)
{
    return colo_live_wait_released(host, domain, RELEASE_LIMIT_MS, error) &&
           wait_settled(host, domain, error) &&
           colo_host_run(host, domain, colo_command_clean_up(true), error);
}

static bool define_here(ColoHost *host, const char *domain,
                        const ColoPair *pair, GError **error)
{
    g_autofree char *xml = NULL;
    g_autofree char *clean = NULL;

    if (!pair->is_persistent) {
        return true;
    }
    xml = colo_host_xml(host, domain, COLO_XML_MIGRATABLE, error);
    clean = xml ? colo_survivor_xml(xml, pair, error) : NULL;
    return clean && colo_host_define(host, clean, error) &&
           (!pair->is_autostarted ||
            colo_host_set_autostart(host, domain, true, error));
}

/* The other host must not start its old disks by itself. */
static bool retire_peer(ColoHost *peer, const char *domain,
                        const ColoPair *pair, GError **error)
{
    g_autoptr(ColoPair) stale = NULL;
    g_auto(ColoDomStatus) status = {};

    if (!colo_host_status(peer, domain, &status, error)) {
        return false;
    }
    if (status.state != COLO_DOM_OFF || !status.is_persistent) {
        return true;
    }
    stale = colo_host_pair(peer, domain, NULL);
    if (!stale) {
        stale = colo_pair_copy(pair);
        g_clear_pointer(&stale->peer, g_free);
    }
    stale->role = COLO_ROLE_STALE;
    return (!status.is_autostarted ||
            colo_host_set_autostart(peer, domain, false, error)) &&
           colo_host_set_pair(peer, domain, stale, error);
}

bool colo_takeover_tidy(ColoHost *host, ColoHost *peer, const char *domain,
                        GError **error)
{
    g_autoptr(ColoPair) pair = colo_host_pair(host, domain, error);
    bool was_secondary;

    /* Whoever took over may have died before libvirt was told. */
    if (!pair || !colo_takeover_end(host, domain, error)) {
        return false;
    }
    was_secondary = pair->role == COLO_ROLE_SECONDARY;
    pair->role = COLO_ROLE_SURVIVOR;
    if (!remove_parts(host, domain, error)) {
        return false;
    }
    if (was_secondary && !define_here(host, domain, pair, error)) {
        colo_error_what(error, "The domain cannot be defined here");
        return false;
    }
    if (!was_secondary && pair->is_autostarted &&
        !colo_host_set_autostart(host, domain, true, error)) {
        return false;
    }
    return colo_host_set_pair(host, domain, pair, error) &&
           (!peer || retire_peer(peer, domain, pair, error));
}
