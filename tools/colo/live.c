/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to a running domain's QEMU.
 *
 * Waiting: libvirt tells of QEMU's events, and after each event, or some
 * milliseconds without one, the question is asked again. So an event that got
 * lost costs time, never the answer.
 */
#include "error.h"
#include "live.h"

enum { ASK_AGAIN_MS = 50, RELEASE_AGAIN_MS = 10 };

static int64_t now_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

int64_t (*colo_now_ms)(void) = now_ms;

ColoReport *colo_live_report(ColoHost *host, const char *domain,
                             JsonNode **raw, GError **error)
{
    g_autoptr(JsonNode) answer =
        colo_host_monitor(host, domain, colo_command("query-colo"), error);
    ColoReport *report;

    if (!answer) {
        return NULL;
    }
    report = colo_report_parse(answer);
    if (raw) {
        *raw = g_steal_pointer(&answer);
    }
    return report;
}

bool colo_live_wait_phase(ColoHost *host, const char *domain,
                          unsigned phases, unsigned limit_ms, GError **error)
{
    int64_t end_ms = colo_now_ms() + limit_ms;

    for (;;) {
        g_autoptr(ColoReport) report = colo_live_report(host, domain, NULL,
                                                        error);

        if (!report) {
            return false;
        }
        if (phases & COLO_PHASE_BIT(report->phase)) {
            return true;
        }
        if (colo_now_ms() >= end_ms) {
            colo_error_set(error, COLO_EXIT_FAILED,
                           "Its state is still '%s' after %u ms%s%s",
                           colo_phase_name(report->phase), limit_ms,
                           report->reason && *report->reason ? ": " : "",
                           report->reason ? report->reason : "");
            return false;
        }
        colo_host_pause(host, ASK_AGAIN_MS);
    }
}

bool colo_live_is_released(ColoHost *host, const char *domain)
{
    g_autofree char *status = colo_live_migration(host, domain, NULL);

    return status && strcmp(status, "colo") &&
           !colo_migration_is_active(status);
}

bool colo_live_wait_released(ColoHost *host, const char *domain,
                             unsigned limit_ms, GError **error)
{
    int64_t end_ms = colo_now_ms() + limit_ms;

    while (!colo_live_is_released(host, domain)) {
        g_autoptr(ColoReport) report = colo_live_report(host, domain, NULL,
                                                        error);

        if (!report) {
            return false;
        }
        if (colo_now_ms() >= end_ms) {
            colo_error_set(error, COLO_EXIT_FAILED,
                           "Its migration is not over after %u ms",
                           limit_ms);
            return false;
        }
        colo_host_pause(host, RELEASE_AGAIN_MS);
    }
    return true;
}

char *colo_live_migration(ColoHost *host, const char *domain, GError **error)
{
    g_autoptr(JsonNode) answer = colo_host_monitor(
        host, domain, colo_command("query-migrate"), error);
    const char *status;

    if (!answer) {
        return NULL;
    }
    status = colo_json_string(answer, "status");
    return g_strdup(status ? status : "none");
}

bool colo_migration_is_active(const char *status)
{
    static const char *const over[] = {
        "none", "completed", "failed", "cancelled", "colo", NULL
    };

    return !g_strv_contains(over, status);
}

bool colo_live_has_node(ColoHost *host, const char *domain, const char *node)
{
    g_autoptr(JsonNode) list = colo_host_monitor(
        host, domain, colo_json_command(
            "query-named-block-nodes", colo_json("b:flat", true, NULL)),
        NULL);

    return !list || colo_json_find(list, "", "node-name", node);
}

/* "virtio-disk0", or "/machine/peripheral/virtio-disk0/virtio-backend". */
static bool is_device(const char *qdev, const char *alias)
{
    g_autofree char *inside = g_strdup_printf("/%s/", alias);

    return !g_strcmp0(qdev, alias) || (qdev && strstr(qdev, inside)) ||
           (qdev && g_str_has_suffix(qdev, alias) &&
            qdev[strlen(qdev) - strlen(alias) - 1] == '/');
}

char *colo_live_disk_node(ColoHost *host, const char *domain,
                          const ColoDisk *disk, uint64_t *size_bytes,
                          GError **error)
{
    g_autoptr(JsonNode) list = colo_host_monitor(
        host, domain, colo_command("query-block"), error);
    unsigned i;

    if (!list) {
        return NULL;
    }
    for (i = 0; disk->alias && i < colo_json_count(list, ""); i++) {
        JsonNode *entry = colo_json_element(list, "", i);
        const char *node = colo_json_string(entry, "inserted.node-name");

        if (node && is_device(colo_json_string(entry, "qdev"),
                              disk->alias)) {
            *size_bytes = colo_json_int(entry, "inserted.image.virtual-size");
            return g_strdup(node);
        }
    }
    colo_error_set(error, COLO_EXIT_FAILED,
                   "QEMU has no block node for disk %s", disk->target);
    return NULL;
}

ColoDomain *colo_live_domain(ColoHost *host, const char *domain,
                             GError **error)
{
    g_autofree char *xml = colo_host_xml(host, domain, COLO_XML_LIVE, error);

    return xml ? colo_domain_parse(xml, error) : NULL;
}

/* "unix:/var/lib/libvirt/qemu/domain-1-vm/monitor.sock,server=on" */
char *colo_live_directory(ColoHost *host, const char *domain)
{
    g_autoptr(JsonNode) list = colo_host_monitor(
        host, domain, colo_command("query-chardev"), NULL);
    JsonNode *monitor = list ? colo_json_find(list, "", "label",
                                              "charmonitor") : NULL;
    const char *name = monitor ? colo_json_string(monitor, "filename") : NULL;
    g_auto(GStrv) parts = NULL;

    if (!name || !g_str_has_prefix(name, "unix:/")) {
        return NULL;
    }
    parts = g_strsplit(name + strlen("unix:"), ",", 2);
    return g_path_get_dirname(parts[0]);
}
