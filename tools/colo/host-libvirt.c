/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host through libvirt's public API.
 *
 * Nothing here decides. Domains come and go between two calls, so each call
 * looks for its domain. libvirt's own handle of one is not more than a UUID:
 * so the last one is kept for who asks by UUID, and spares a message.
 */
#include <libvirt/libvirt-qemu.h>
#include "host-libvirt.h"
#include "xml.h"

void colo_libvirt_free_domain(ColoDomainRef domain)
{
    virDomainFree(domain);
}

void colo_libvirt_free_pool(ColoPoolRef pool)
{
    virStoragePoolFree(pool);
}

void colo_libvirt_free_volume(ColoVolumeRef volume)
{
    virStorageVolFree(volume);
}

static ColoExit exit_of(int code)
{
    switch (code) {
    case VIR_ERR_NO_DOMAIN:
        return COLO_EXIT_NO_DOMAIN;
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_INVALID_CONN:
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_RPC:
        return COLO_EXIT_CONNECT;
    default:
        return COLO_EXIT_FAILED;
    }
}

bool colo_libvirt_failed(GError **error)
{
    virErrorPtr last = virGetLastError();

    colo_error_set(error, exit_of(last ? last->code : 0), "%s",
                   virGetLastErrorMessage());
    return false;
}

/* libvirt would print each error by itself, before we can. */
static void stay_silent(void *opaque, virErrorPtr last)
{
}

static void drop(ColoHost *host)
{
    ColoLibvirt *libvirt = colo_libvirt(host);

    colo_libvirt_unwatch(libvirt);
    if (libvirt->last) {
        virDomainFree(libvirt->last);
    }
    virConnectClose(libvirt->connection);
    g_free(libvirt);
}

char *colo_libvirt_own(char *string)
{
    char *copy = g_strdup(string);

    free(string);
    return copy;
}

static char *name(ColoHost *host)
{
    virConnectPtr connection = colo_libvirt(host)->connection;

    return colo_libvirt_own(virConnectGetHostname(connection));
}

/* What the page cache has can be had, too. */
static uint64_t free_memory(virConnectPtr connection)
{
    static const char *const names[] = {
        VIR_NODE_MEMORY_STATS_FREE, VIR_NODE_MEMORY_STATS_BUFFERS,
        VIR_NODE_MEMORY_STATS_CACHED, NULL
    };
    g_autofree virNodeMemoryStats *stats = NULL;
    uint64_t free_bytes = 0;
    int count = 0;
    int i;

    if (virNodeGetMemoryStats(connection, VIR_NODE_MEMORY_STATS_ALL_CELLS,
                              NULL, &count, 0) < 0 || !count) {
        return virNodeGetFreeMemory(connection);
    }
    stats = g_new0(virNodeMemoryStats, count);
    if (virNodeGetMemoryStats(connection, VIR_NODE_MEMORY_STATS_ALL_CELLS,
                              stats, &count, 0) < 0) {
        return virNodeGetFreeMemory(connection);
    }
    for (i = 0; i < count; i++) {
        if (g_strv_contains(names, stats[i].field)) {
            free_bytes += stats[i].value * 1024;
        }
    }
    return free_bytes;
}

static bool info(ColoHost *host, ColoHostInfo *info, GError **error)
{
    virConnectPtr connection = colo_libvirt(host)->connection;
    g_autofree char *capabilities = NULL;
    g_autoptr(xmlDoc) doc = NULL;
    unsigned long version;

    info->uri = colo_libvirt_own(virConnectGetURI(connection));
    info->name = colo_libvirt_own(virConnectGetHostname(connection));
    capabilities = colo_libvirt_own(virConnectGetCapabilities(connection));
    if (!info->uri || !info->name || !capabilities ||
        virConnectGetLibVersion(connection, &version) < 0) {
        return colo_libvirt_failed(error);
    }
    info->version = g_strdup_printf("%lu.%lu.%lu", version / 1000000,
                                    version / 1000 % 1000, version % 1000);
    info->free_bytes = free_memory(connection);
    /* The driver is a package of its own, which people may do without. */
    info->has_storage = virConnectNumOfStoragePools(connection) >= 0 ||
                        virGetLastErrorCode() != VIR_ERR_NO_SUPPORT;
    doc = colo_xml_parse(capabilities, NULL);
    if (doc) {
        g_autoptr(GPtrArray) nodes =
            colo_xml_nodes(colo_xml_root(doc), "/capabilities/host/cpu");

        if (nodes->len) {
            info->cpu = colo_xml_node_text(g_ptr_array_index(nodes, 0));
        }
    }
    return true;
}

static void keep(ColoLibvirt *libvirt, virDomainPtr domain)
{
    if (libvirt->last) {
        virDomainFree(libvirt->last);
    }
    virDomainRef(domain);
    libvirt->last = domain;
    virDomainGetUUIDString(domain, libvirt->last_uuid);
}

/* A domain may be called like the UUID of another: the UUID comes first. */
virDomainPtr colo_libvirt_find(ColoHost *host, const char *domain,
                               GError **error)
{
    ColoLibvirt *libvirt = colo_libvirt(host);
    virConnectPtr connection = libvirt->connection;
    virDomainPtr found = NULL;

    if (libvirt->last && !g_ascii_strcasecmp(domain, libvirt->last_uuid)) {
        virDomainRef(libvirt->last);
        return libvirt->last;
    }
    if (g_uuid_string_is_valid(domain)) {
        found = virDomainLookupByUUIDString(connection, domain);
    }
    if (!found) {
        found = virDomainLookupByName(connection, domain);
    }
    if (found) {
        keep(libvirt, found);
    } else {
        colo_libvirt_failed(error);
    }
    return found;
}

static ColoDomState state_of(int state)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
    case VIR_DOMAIN_SHUTDOWN:
        return COLO_DOM_RUNNING;
    case VIR_DOMAIN_PAUSED:
    case VIR_DOMAIN_PMSUSPENDED:
        return COLO_DOM_PAUSED;
    case VIR_DOMAIN_CRASHED:
        /* Its guest has panicked; its QEMU may be there. */
        return COLO_DOM_PAUSED;
    default:
        return COLO_DOM_OFF;
    }
}

static bool find(ColoHost *host, const char *domain, ColoDomStatus *status,
                 GError **error)
{
    g_autoptr(GError) why = NULL;
    g_auto(ColoDomainRef) found = colo_libvirt_find(host, domain, &why);
    int state, reason;

    *status = (ColoDomStatus) { .state = COLO_DOM_ABSENT };
    if (!found ||
        (virDomainGetState(found, &state, &reason, 0) < 0 &&
         !colo_libvirt_failed(&why))) {
        if (colo_error_exit(why) == COLO_EXIT_NO_DOMAIN) {
            return true;
        }
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    status->name = g_strdup(virDomainGetName(found));
    virDomainGetUUIDString(found, status->uuid);
    status->state = state_of(state);
    status->is_crashed = state == VIR_DOMAIN_SHUTOFF &&
                         (reason == VIR_DOMAIN_SHUTOFF_CRASHED ||
                          reason == VIR_DOMAIN_SHUTOFF_FAILED);
    return true;
}

static bool definition(ColoHost *host, const char *domain,
                       ColoDomStatus *status, GError **error)
{
    g_auto(ColoDomainRef) found = colo_libvirt_find(host, domain, error);
    int autostart = 0;

    if (!found) {
        return false;
    }
    status->is_persistent = virDomainIsPersistent(found) > 0;
    if (status->is_persistent &&
        virDomainGetAutostart(found, &autostart) == 0) {
        status->is_autostarted = autostart;
    }
    return true;
}

static char *xml(ColoHost *host, const char *domain, ColoXmlKind kind,
                 GError **error)
{
    static const unsigned flags[] = {
        [COLO_XML_LIVE] = VIR_DOMAIN_XML_SECURE,
        [COLO_XML_MIGRATABLE] = VIR_DOMAIN_XML_SECURE |
                                VIR_DOMAIN_XML_MIGRATABLE,
        [COLO_XML_PUBLIC] = 0,
    };
    g_auto(ColoDomainRef) found = colo_libvirt_find(host, domain, error);
    char *text;

    if (!found) {
        return NULL;
    }
    text = virDomainGetXMLDesc(found, flags[kind]);
    if (!text) {
        colo_libvirt_failed(error);
    }
    return colo_libvirt_own(text);
}

static JsonNode *monitor(ColoHost *host, const char *domain,
                         JsonNode *command, GError **error)
{
    g_auto(ColoDomainRef) found = colo_libvirt_find(host, domain, error);
    g_autofree char *text = colo_json_text(command, false);
    g_autoptr(JsonNode) answer = NULL;
    g_autofree char *result = NULL;
    char *raw = NULL;

    if (!found) {
        return NULL;
    }
    if (virDomainQemuMonitorCommand(found, text, &raw, 0) < 0) {
        colo_libvirt_failed(error);
        return NULL;
    }
    result = colo_libvirt_own(raw);
    answer = colo_json_parse(result, error);
    if (!answer) {
        return NULL;
    }
    if (colo_json_at(answer, "error")) {
        colo_error_set(error, COLO_EXIT_FAILED, "%s",
                       colo_json_string(answer, "error.desc"));
        return NULL;
    }
    return json_node_copy(colo_json_at(answer, "return"));
}

static bool create_paused(ColoHost *host, const char *xml, GError **error)
{
    g_auto(ColoDomainRef) made =
        virDomainCreateXML(colo_libvirt(host)->connection, xml,
                           VIR_DOMAIN_START_PAUSED);

    return made ? true : colo_libvirt_failed(error);
}

static bool destroy(ColoHost *host, const char *domain, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_auto(ColoDomainRef) found = colo_libvirt_find(host, domain, &why);

    if (!found) {
        if (colo_error_exit(why) == COLO_EXIT_NO_DOMAIN) {
            return true;
        }
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    if (virDomainDestroy(found) < 0 &&
        virGetLastErrorCode() != VIR_ERR_OPERATION_INVALID &&
        virGetLastErrorCode() != VIR_ERR_NO_DOMAIN) {
        return colo_libvirt_failed(error);
    }
    return true;
}

static bool resume(ColoHost *host, const char *domain, GError **error)
{
    g_auto(ColoDomainRef) found = colo_libvirt_find(host, domain, error);

    if (!found) {
        return false;
    }
    return virDomainResume(found) == 0 || colo_libvirt_failed(error);
}

static bool define(ColoHost *host, const char *xml, GError **error)
{
    g_auto(ColoDomainRef) made =
        virDomainDefineXMLFlags(colo_libvirt(host)->connection, xml, 0);

    return made ? true : colo_libvirt_failed(error);
}

static bool set_autostart(ColoHost *host, const char *domain, bool on,
                          GError **error)
{
    g_auto(ColoDomainRef) found = colo_libvirt_find(host, domain, error);

    if (!found) {
        return false;
    }
    return virDomainSetAutostart(found, on) == 0 ||
           colo_libvirt_failed(error);
}

static char *metadata(ColoHost *host, const char *domain, GError **error)
{
    g_auto(ColoDomainRef) found = colo_libvirt_find(host, domain, error);
    char *text;

    if (!found) {
        return NULL;
    }
    text = virDomainGetMetadata(found, VIR_DOMAIN_METADATA_ELEMENT,
                                COLO_XML_NS, VIR_DOMAIN_AFFECT_CURRENT);
    if (!text && virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_METADATA) {
        colo_libvirt_failed(error);
    }
    return colo_libvirt_own(text);
}

static bool set_metadata(ColoHost *host, const char *domain, const char *xml,
                         GError **error)
{
    g_auto(ColoDomainRef) found = colo_libvirt_find(host, domain, error);
    unsigned where = VIR_DOMAIN_AFFECT_CURRENT;

    if (!found) {
        return false;
    }
    if (virDomainIsActive(found) > 0 && virDomainIsPersistent(found) > 0) {
        where = VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG;
    }
    if (virDomainSetMetadata(found, VIR_DOMAIN_METADATA_ELEMENT, xml,
                             COLO_PAIR_KEY, COLO_XML_NS, where) < 0 &&
        (xml || virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_METADATA)) {
        return colo_libvirt_failed(error);
    }
    return true;
}

static GPtrArray *domains(ColoHost *host, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    virDomainPtr *list = NULL;
    int count = virConnectListAllDomains(colo_libvirt(host)->connection,
                                         &list, 0);
    int i;

    if (count < 0) {
        colo_libvirt_failed(error);
        return NULL;
    }
    for (i = 0; i < count; i++) {
        g_ptr_array_add(names, g_strdup(virDomainGetName(list[i])));
        virDomainFree(list[i]);
    }
    free(list);
    return g_steal_pointer(&names);
}

static bool cpu_fits(ColoHost *host, const char *emulator, const char *arch,
                     const char *machine, const char *type, const char *cpu,
                     ColoCpuFit *fit, GError **error)
{
    int result = virConnectCompareHypervisorCPU(
        colo_libvirt(host)->connection, emulator, arch, machine, type, cpu,
        0);

    if (result == VIR_CPU_COMPARE_ERROR) {
        *fit = COLO_CPU_UNKNOWN;
        return colo_libvirt_failed(error);
    }
    *fit = result == VIR_CPU_COMPARE_INCOMPATIBLE ? COLO_CPU_DIFFERS
                                                  : COLO_CPU_FITS;
    return true;
}

static const ColoHostOps libvirt_ops = {
    .free = drop,
    .info = info,
    .name = name,
    .find = find,
    .definition = definition,
    .xml = xml,
    .monitor = monitor,
    .create_paused = create_paused,
    .destroy = destroy,
    .resume = resume,
    .define = define,
    .set_autostart = set_autostart,
    .metadata = metadata,
    .set_metadata = set_metadata,
    .domains = domains,
    .volume = colo_libvirt_volume,
    .volume_create = colo_libvirt_volume_create,
    .volume_delete = colo_libvirt_volume_delete,
    .cpu_fits = cpu_fits,
    .watch = colo_libvirt_watch,
    .watch_process = colo_libvirt_watch_process,
    .wait = colo_libvirt_wait,
    .pause = colo_libvirt_pause,
};

ColoHost *colo_host_open(const char *uri, GError **error)
{
    ColoLibvirt *libvirt;
    virConnectPtr connection;

    virSetErrorFunc(NULL, stay_silent);
    connection = virConnectOpenAuth(uri, virConnectAuthPtrDefault, 0);
    if (!connection) {
        colo_error_set(error, COLO_EXIT_CONNECT, "%s",
                       virGetLastErrorMessage());
        colo_error_what(error, "Cannot connect to libvirt at %s",
                        uri ? uri : "its default URI");
        return NULL;
    }
    libvirt = g_new0(ColoLibvirt, 1);
    libvirt->host.ops = &libvirt_ops;
    libvirt->connection = connection;
    libvirt->monitor_watch = -1;
    libvirt->lifecycle_watch = -1;
    return &libvirt->host;
}
