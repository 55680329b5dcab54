/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of a domain and both hosts before it is protected.
 */
#include "error.h"
#include "facts.h"
#include "live.h"

void colo_qemu_clear(ColoQemu *qemu)
{
    g_clear_pointer(&qemu->version, g_free);
    g_clear_pointer(&qemu->machine, g_free);
}

static void disk_fact_free(gpointer opaque)
{
    ColoDiskFact *disk = opaque;

    g_free(disk->target);
    g_free(disk->node);
    g_free(disk->problem);
    g_free(disk->path_there);
    g_free(disk->there_problem);
    colo_volume_clear(&disk->there);
    g_free(disk);
}

static void nic_fact_free(gpointer opaque)
{
    ColoNicFact *nic = opaque;

    g_free(nic->name);
    g_free(nic->netdev);
    g_free(nic);
}

static void file_fact_free(gpointer opaque)
{
    ColoFileFact *file = opaque;

    g_free(file->name);
    g_free(file->problem);
    g_free(file);
}

ColoFacts *colo_facts_new(void)
{
    ColoFacts *facts = g_new0(ColoFacts, 1);

    facts->disks = g_ptr_array_new_with_free_func(disk_fact_free);
    facts->nics = g_ptr_array_new_with_free_func(nic_fact_free);
    facts->files = g_ptr_array_new_with_free_func(file_fact_free);
    return facts;
}

void colo_facts_free(ColoFacts *facts)
{
    if (!facts) {
        return;
    }
    colo_domain_free(facts->domain);
    colo_dom_status_clear(&facts->here);
    colo_dom_status_clear(&facts->there);
    colo_host_info_clear(&facts->from);
    colo_host_info_clear(&facts->to);
    colo_qemu_clear(&facts->qemu_here);
    colo_qemu_clear(&facts->qemu_there);
    g_free(facts->probe_problem);
    colo_pair_free(facts->pair);
    g_free(facts->phase);
    g_free(facts->migration);
    g_ptr_array_unref(facts->disks);
    g_ptr_array_unref(facts->nics);
    g_ptr_array_unref(facts->files);
    g_free(facts);
}

/* ------------------------------------------------------------ one QEMU */

static char *machine_of(ColoHost *host, const char *domain)
{
    g_autoptr(JsonNode) type = colo_host_monitor(
        host, domain, colo_json_command("qom-get", colo_json(
            "s:path", "/machine", "s:property", "type", NULL)), NULL);
    const char *name = type ? json_node_get_string(type) : NULL;

    /* "pc-q35-10.0-machine": the type, which is never an alias. */
    return name && g_str_has_suffix(name, "-machine")
           ? g_strndup(name, strlen(name) - strlen("-machine"))
           : g_strdup(name);
}

bool colo_facts_qemu(ColoHost *host, const char *domain, ColoQemu *qemu,
                     GError **error)
{
    g_autoptr(JsonNode) version = colo_host_monitor(
        host, domain, colo_command("query-version"), error);
    g_autoptr(JsonNode) commands = NULL;

    if (!version) {
        return false;
    }
    qemu->version = g_strdup_printf(
        "%d.%d.%d%s%s", (int)colo_json_int(version, "qemu.major"),
        (int)colo_json_int(version, "qemu.minor"),
        (int)colo_json_int(version, "qemu.micro"),
        *colo_json_string(version, "package") ? " " : "",
        colo_json_string(version, "package"));
    commands = colo_host_monitor(host, domain, colo_command("query-commands"),
                                 error);
    if (!commands) {
        return false;
    }
    qemu->has_colo = colo_json_find(commands, "", "name",
                                    "colo-disk-attach") &&
                     colo_json_find(commands, "", "name",
                                    "colo-prepare-secondary");
    qemu->machine = machine_of(host, domain);
    return true;
}

/* --------------------------------------------------------------- disks */

/* What is at the place where the secondary's image shall be. */
static void look_there(ColoHost *to, ColoDiskFact *fact)
{
    g_autoptr(GError) error = NULL;

    if (!to || fact->is_shared) {
        return;
    }
    fact->is_there_known = colo_host_volume(to, fact->path_there,
                                            &fact->there, &error);
    if (!fact->is_there_known) {
        fact->there_problem = g_strdup(error->message);
    }
}

static void add_disk(ColoFacts *facts, ColoHost *from, ColoHost *to,
                     const ColoDisk *disk, const ColoMap *map)
{
    ColoDiskFact *fact = g_new0(ColoDiskFact, 1);
    const char *told = colo_map_has(map, disk->target)
                       ? colo_map_get(map, disk->target) : NULL;
    g_autoptr(GError) error = NULL;

    g_ptr_array_add(facts->disks, fact);
    fact->target = g_strdup(disk->target);
    fact->is_shared = !g_strcmp0(told, COLO_MAP_SHARED);
    fact->path_there = g_strdup(told ? told : disk->source);
    fact->node = colo_live_disk_node(from, facts->here.uuid, disk,
                                     &fact->size_bytes, &error);
    if (!fact->node) {
        fact->problem = g_strdup(error->message);
    } else if (!told && strcmp(disk->type, "file") &&
               strcmp(disk->type, "block")) {
        fact->problem = g_strdup_printf(
            "its image, of the type '%s', cannot be made on the other host",
            disk->type);
    } else {
        look_there(to, fact);
    }
}

static void add_disks(ColoFacts *facts, ColoHost *from, ColoHost *to,
                      const ColoMap *map)
{
    unsigned i;

    for (i = 0; i < facts->domain->disks->len; i++) {
        const ColoDisk *disk = g_ptr_array_index(facts->domain->disks, i);

        if (colo_disk_is_written(disk)) {
            add_disk(facts, from, to, disk, map);
        }
    }
}

/* --------------------------------------------------------------- files */

static void add_files(ColoFacts *facts, ColoHost *to)
{
    unsigned i;

    for (i = 0; i < facts->domain->files->len; i++) {
        const ColoFile *file = g_ptr_array_index(facts->domain->files, i);
        ColoFileFact *fact = g_new0(ColoFileFact, 1);
        g_auto(ColoVolume) there = {};
        g_autoptr(GError) error = NULL;

        g_ptr_array_add(facts->files, fact);
        fact->name = g_strdup_printf("%s %s", file->what, file->path);
        if (!colo_host_volume(to, file->path, &there, &error)) {
            fact->problem = g_strdup(error->message);
        } else if (!there.is_there) {
            fact->problem = g_strdup("it is not on the other host");
        }
    }
}

/* ---------------------------------------------------------------- NICs */

static bool has_vhost(ColoHost *host, const char *domain, const ColoNic *nic)
{
    g_autofree char *path = g_strdup_printf(
        "/machine/peripheral/%s/virtio-backend", nic->alias);
    g_autoptr(JsonNode) status = colo_host_monitor(
        host, domain, colo_json_command("x-query-virtio-status", colo_json(
            "s:path", path, NULL)), NULL);

    return status && colo_json_at(status, "vhost-dev");
}

static void add_nics(ColoFacts *facts, ColoHost *from)
{
    unsigned i;

    for (i = 0; i < facts->domain->nics->len; i++) {
        const ColoNic *nic = g_ptr_array_index(facts->domain->nics, i);
        ColoNicFact *fact = g_new0(ColoNicFact, 1);

        g_ptr_array_add(facts->nics, fact);
        fact->name = g_strdup(nic->mac);
        fact->netdev = g_strdup_printf("host%s", nic->alias);
        fact->has_vhost = has_vhost(from, facts->here.uuid, nic);
    }
}

/* ----------------------------------------------------------- the whole */

static void ask_colo(ColoFacts *facts, ColoHost *from)
{
    g_autoptr(ColoReport) report = colo_live_report(from, facts->here.uuid,
                                                    NULL, NULL);
    g_autoptr(JsonNode) jobs = colo_host_monitor(
        from, facts->here.uuid, colo_command("query-block-jobs"), NULL);

    facts->phase = report ? g_strdup(colo_phase_name(report->phase)) : NULL;
    facts->migration = colo_live_migration(from, facts->here.uuid, NULL);
    facts->job_count = jobs ? colo_json_count(jobs, "") : 0;
}

static void compare_cpu(ColoFacts *facts, ColoHost *to)
{
    const ColoDomain *d = facts->domain;

    facts->cpu_fit = COLO_CPU_UNKNOWN;
    if (d->cpu && d->cpu_mode && !strcmp(d->cpu_mode, "custom")) {
        colo_host_cpu_fits(to, d->emulator, d->arch, d->machine, d->type,
                           d->cpu, &facts->cpu_fit, NULL);
    }
}

ColoFacts *colo_facts_gather(ColoHost *from, ColoHost *to,
                             const char *domain, const ColoMap *disks,
                             GError **error)
{
    g_autoptr(ColoFacts) facts = colo_facts_new();

    if (!colo_host_status(from, domain, &facts->here, error)) {
        return NULL;
    }
    if (facts->here.state == COLO_DOM_ABSENT) {
        colo_error_set(error, COLO_EXIT_NO_DOMAIN,
                       "There is no domain '%s'", domain);
        return NULL;
    }
    if (!colo_host_info(from, &facts->from, error) ||
        !colo_host_info(to, &facts->to, error) ||
        !colo_host_status(to, facts->here.uuid, &facts->there, error)) {
        return NULL;
    }
    if (facts->there.state == COLO_DOM_ABSENT &&
        !colo_host_status(to, facts->here.name, &facts->there, error)) {
        return NULL;
    }
    facts->pair = colo_host_pair(from, facts->here.uuid, NULL);
    if (facts->here.state == COLO_DOM_OFF) {
        return g_steal_pointer(&facts);
    }
    facts->domain = colo_live_domain(from, facts->here.uuid, error);
    if (!facts->domain ||
        !colo_facts_qemu(from, facts->here.uuid, &facts->qemu_here, error)) {
        return NULL;
    }
    facts->memory_bytes = facts->domain->memory_kib * 1024;
    ask_colo(facts, from);
    compare_cpu(facts, to);
    add_disks(facts, from, to, disks);
    add_nics(facts, from);
    add_files(facts, to);
    return g_steal_pointer(&facts);
}
