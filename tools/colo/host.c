/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host as the commands see it: what is the same for every kind of it.
 */
#include "error.h"
#include "host.h"

void colo_dom_status_clear(ColoDomStatus *status)
{
    g_clear_pointer(&status->name, g_free);
}

void colo_host_info_clear(ColoHostInfo *info)
{
    g_clear_pointer(&info->uri, g_free);
    g_clear_pointer(&info->name, g_free);
    g_clear_pointer(&info->version, g_free);
    g_clear_pointer(&info->cpu, g_free);
}

void colo_volume_clear(ColoVolume *volume)
{
    g_clear_pointer(&volume->format, g_free);
}

void colo_host_event_free(ColoHostEvent *event)
{
    if (!event) {
        return;
    }
    g_free(event->domain);
    g_free(event->name);
    if (event->data) {
        json_node_unref(event->data);
    }
    g_free(event);
}

void colo_host_free(ColoHost *host)
{
    if (host) {
        host->ops->free(host);
    }
}

bool colo_host_info(ColoHost *host, ColoHostInfo *info, GError **error)
{
    return host->ops->info(host, info, error);
}

char *colo_host_name(ColoHost *host)
{
    return host->ops->name(host);
}

bool colo_host_status(ColoHost *host, const char *domain,
                      ColoDomStatus *status, GError **error)
{
    return colo_host_find(host, domain, status, error) &&
           (status->state == COLO_DOM_ABSENT ||
            host->ops->definition(host, domain, status, error));
}

bool colo_host_find(ColoHost *host, const char *domain, ColoDomStatus *status,
                    GError **error)
{
    return host->ops->find(host, domain, status, error);
}

ColoDomState colo_host_state(ColoHost *host, const char *domain)
{
    g_auto(ColoDomStatus) status = {};

    return colo_host_find(host, domain, &status, NULL) ? status.state
                                                       : COLO_DOM_ABSENT;
}

char *colo_host_xml(ColoHost *host, const char *domain, ColoXmlKind kind,
                    GError **error)
{
    return host->ops->xml(host, domain, kind, error);
}

JsonNode *colo_host_monitor(ColoHost *host, const char *domain,
                            JsonNode *command, GError **error)
{
    g_autoptr(JsonNode) owned = command;

    return host->ops->monitor(host, domain, owned, error);
}

bool colo_host_run(ColoHost *host, const char *domain, JsonNode *command,
                   GError **error)
{
    g_autoptr(JsonNode) result = colo_host_monitor(host, domain, command,
                                                   error);

    return result;
}

bool colo_host_create_paused(ColoHost *host, const char *xml, GError **error)
{
    return host->ops->create_paused(host, xml, error);
}

bool colo_host_destroy(ColoHost *host, const char *domain, GError **error)
{
    return host->ops->destroy(host, domain, error);
}

bool colo_host_resume(ColoHost *host, const char *domain, GError **error)
{
    return host->ops->resume(host, domain, error);
}

bool colo_host_define(ColoHost *host, const char *xml, GError **error)
{
    return host->ops->define(host, xml, error);
}

bool colo_host_set_autostart(ColoHost *host, const char *domain, bool on,
                             GError **error)
{
    return host->ops->set_autostart(host, domain, on, error);
}

ColoPair *colo_host_pair(ColoHost *host, const char *domain, GError **error)
{
    g_autofree char *xml = host->ops->metadata(host, domain, error);

    return xml ? colo_pair_parse(xml, error) : NULL;
}

bool colo_host_set_pair(ColoHost *host, const char *domain,
                        const ColoPair *pair, GError **error)
{
    g_autofree char *xml = pair ? colo_pair_to_xml(pair) : NULL;

    return host->ops->set_metadata(host, domain, xml, error);
}

GPtrArray *colo_host_domains(ColoHost *host, GError **error)
{
    return host->ops->domains(host, error);
}

bool colo_host_volume(ColoHost *host, const char *path, ColoVolume *volume,
                      GError **error)
{
    return host->ops->volume(host, path, volume, error);
}

bool colo_host_volume_create(ColoHost *host, const char *path,
                             const char *format, uint64_t size_bytes,
                             GError **error)
{
    return host->ops->volume_create(host, path, format, size_bytes, error);
}

bool colo_host_volume_delete(ColoHost *host, const char *path, GError **error)
{
    return host->ops->volume_delete(host, path, error);
}

bool colo_host_cpu_fits(ColoHost *host, const char *emulator,
                        const char *arch, const char *machine,
                        const char *type, const char *cpu, ColoCpuFit *fit,
                        GError **error)
{
    return host->ops->cpu_fits(host, emulator, arch, machine, type, cpu, fit,
                               error);
}

bool colo_host_watch(ColoHost *host, GError **error)
{
    return host->ops->watch(host, error);
}

bool colo_host_watch_process(ColoHost *host, const char *domain,
                             GError **error)
{
    return host->ops->watch_process(host, domain, error);
}

ColoHostEvent *colo_host_wait(ColoHost *host, unsigned timeout_ms)
{
    return host->ops->wait(host, timeout_ms);
}

void colo_host_pause(ColoHost *host, unsigned timeout_ms)
{
    host->ops->pause(host, timeout_ms);
}
