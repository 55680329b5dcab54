/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pre-flight checks.
 *
 * One function for each thing that is looked at. They are in the order in
 * which a person would mend things: the domain, the hosts, its devices.
 */
#include "checks.h"
#include "error.h"

static void check_free(gpointer opaque)
{
    ColoCheck *check = opaque;

    g_free(check->name);
    g_free(check->detail);
    g_free(check->remedy);
    g_free(check);
}

GPtrArray *colo_checks_new(void)
{
    return g_ptr_array_new_with_free_func(check_free);
}

void colo_checks_add(GPtrArray *checks, ColoFinding finding,
                     const char *name, const char *detail,
                     const char *remedy)
{
    ColoCheck *check = g_new0(ColoCheck, 1);

    check->finding = finding;
    check->name = g_strdup(name);
    check->detail = g_strdup(detail);
    check->remedy = finding == COLO_FINDING_OK ? NULL : g_strdup(remedy);
    g_ptr_array_add(checks, check);
}

/* Frees @detail. */
static void add(GPtrArray *checks, bool ok, const char *name, char *detail,
                const char *remedy)
{
    colo_checks_add(checks, ok ? COLO_FINDING_OK : COLO_FINDING_FAILED, name,
                    detail, remedy);
    g_free(detail);
}

bool colo_checks_passed(GPtrArray *checks)
{
    unsigned i;

    for (i = 0; i < checks->len; i++) {
        const ColoCheck *check = g_ptr_array_index(checks, i);

        if (check->finding == COLO_FINDING_FAILED) {
            return false;
        }
    }
    return true;
}

static void check_running(GPtrArray *checks, const ColoFacts *f)
{
    bool ok = f->here.state == COLO_DOM_RUNNING ||
              f->here.state == COLO_DOM_PAUSED;

    add(checks, ok, "domain", g_strdup_printf(
            "%s %s on %s", f->domain ? f->domain->name : f->here.name,
            f->here.state == COLO_DOM_RUNNING ? "runs" :
            f->here.state == COLO_DOM_PAUSED ? "is paused" : "does not run",
            f->from.name),
        "start it with virsh start");
}

static void check_idle(GPtrArray *checks, const ColoFacts *f)
{
    bool is_off = !f->phase || !strcmp(f->phase, "off") ||
                  !strcmp(f->phase, "alone");
    bool is_copying = f->migration && strcmp(f->migration, "none") &&
                      strcmp(f->migration, "completed") &&
                      strcmp(f->migration, "failed") &&
                      strcmp(f->migration, "cancelled");

    if (!is_off) {
        add(checks, false, "protection",
            g_strdup_printf("it takes part in COLO already: %s", f->phase),
            "see colo status; colo unprotect ends it");
    } else if (is_copying) {
        add(checks, false, "protection",
            g_strdup_printf("a migration is under way: %s", f->migration),
            "wait for its end, or end it with virsh domjobabort");
    } else if (f->pair && f->pair->role == COLO_ROLE_STALE) {
        add(checks, false, "protection", g_strdup(
                "the guest went on at another host; the disks here are old"),
            "protect it from that host to this one");
    } else {
        add(checks, true, "protection", g_strdup("not protected yet"), NULL);
    }
    if (f->job_count) {
        add(checks, false, "block jobs",
            g_strdup_printf("%u under way", f->job_count),
            "let them end, or end them with virsh blockjob --abort");
    }
}

static void check_qemu_here(GPtrArray *checks, const ColoFacts *f)
{
    add(checks, f->qemu_here.has_colo, "QEMU here", g_strdup_printf(
            "%s, %s", f->qemu_here.version ? f->qemu_here.version : "unknown",
            f->qemu_here.has_colo ? "with this COLO" : "without this COLO"),
        "name this project's qemu-system in the domain's <emulator> and start "
        "the domain again");
}

static void check_other_host(GPtrArray *checks, const ColoFacts *f)
{
    bool is_running = f->there.state == COLO_DOM_RUNNING ||
                      f->there.state == COLO_DOM_PAUSED;
    bool is_other = f->there.state != COLO_DOM_ABSENT &&
                    g_ascii_strcasecmp(f->there.uuid, f->here.uuid);

    if (is_running) {
        add(checks, false, "other host", g_strdup_printf(
                "%s runs on %s already", f->there.name, f->to.name),
            "if it is the same host, give another with --to; else stop the "
            "domain there");
    } else if (is_other) {
        add(checks, false, "other host", g_strdup_printf(
                "%s has another domain called %s", f->to.name,
                f->there.name),
            "rename or undefine it there");
    } else {
        add(checks, true, "other host", g_strdup_printf(
                "%s, libvirt %s", f->to.name, f->to.version), NULL);
    }
}

static void check_memory(GPtrArray *checks, const ColoFacts *f)
{
    g_autofree char *need = g_format_size_full(f->memory_bytes,
                                               G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *have = g_format_size_full(f->to.free_bytes,
                                               G_FORMAT_SIZE_IEC_UNITS);

    if (!f->to.free_bytes) {
        colo_checks_add(checks, COLO_FINDING_NOTE, "memory",
                        "libvirt cannot tell how much is free there", NULL);
        return;
    }
    add(checks, f->to.free_bytes >= f->memory_bytes, "memory",
        g_strdup_printf("%s needed there, %s free", need, have),
        "free memory on the other host");
}

static void check_cpu(GPtrArray *checks, const ColoFacts *f)
{
    const char *mode = f->domain->cpu_mode ? f->domain->cpu_mode : "default";
    bool is_same = !g_strcmp0(f->from.cpu, f->to.cpu);

    if (!strcmp(mode, "host-passthrough") || !strcmp(mode, "maximum")) {
        add(checks, is_same, "processor", g_strdup_printf(
                "mode %s, the hosts' processors %s", mode,
                is_same ? "are alike" : "differ"),
            "use <cpu mode='custom'> with a model that both hosts have and "
            "start the domain again");
        return;
    }
    add(checks, f->cpu_fit != COLO_CPU_DIFFERS, "processor",
        g_strdup_printf("mode %s, %s", mode,
                        f->cpu_fit == COLO_CPU_FITS ? "the other host has it"
                        : f->cpu_fit == COLO_CPU_DIFFERS
                        ? "the other host does not have it"
                        : "libvirt cannot compare it"),
        "use a model that both hosts have and start the domain again");
}

static void check_obstacles(GPtrArray *checks, const ColoFacts *f)
{
    unsigned i;

    for (i = 0; i < f->domain->obstacles->len; i++) {
        const ColoObstacle *o = g_ptr_array_index(f->domain->obstacles, i);

        colo_checks_add(checks, COLO_FINDING_FAILED, o->what, o->why,
                        o->remedy);
    }
}

/* What helps where a file on the other host cannot be looked at. */
static const char *remedy_there(const ColoFacts *f, const char *usual)
{
    return f->to.has_storage ? usual :
           "install libvirt's storage driver there (in Debian "
           "libvirt-daemon-driver-storage) and restart its libvirt";
}

static void check_image_there(GPtrArray *checks, const char *name,
                              const ColoFacts *f, const ColoDiskFact *d)
{
    g_autofree char *size = g_format_size_full(d->size_bytes,
                                               G_FORMAT_SIZE_IEC_UNITS);

    if (d->is_shared) {
        add(checks, true, name, g_strdup_printf("%s, shared", size), NULL);
    } else if (!d->is_there_known) {
        add(checks, false, name, g_strdup_printf(
                "%s there: %s", d->path_there,
                d->there_problem ? d->there_problem : "unknown"),
            remedy_there(f, "make the directory there, or give another path "
                            "with --disk"));
    } else if (d->there.is_there && d->there.size_bytes != d->size_bytes) {
        add(checks, false, name, g_strdup_printf(
                "%s is there already and has another size: %" PRIu64
                " bytes instead of %" PRIu64, d->path_there,
                d->there.size_bytes, d->size_bytes),
            "delete it there, or give another path with --disk");
    } else {
        add(checks, true, name, g_strdup_printf(
                "%s, %s there %s", size, d->path_there,
                d->there.is_there ? "is overwritten" : "is made"), NULL);
    }
}

static void check_disks(GPtrArray *checks, const ColoFacts *f)
{
    unsigned i;

    for (i = 0; i < f->disks->len; i++) {
        const ColoDiskFact *d = g_ptr_array_index(f->disks, i);
        g_autofree char *name = g_strdup_printf("disk %s", d->target);

        if (d->problem) {
            add(checks, false, name, g_strdup(d->problem),
                "copy it to a file or a block device, or share it with both "
                "hosts and say --disk TARGET=shared");
        } else {
            check_image_there(checks, name, f, d);
        }
    }
}

static void check_nics(GPtrArray *checks, const ColoFacts *f)
{
    unsigned i;

    for (i = 0; i < f->nics->len; i++) {
        const ColoNicFact *n = g_ptr_array_index(f->nics, i);
        g_autofree char *name = g_strdup_printf("interface %s", n->name);

        add(checks, !n->has_vhost, name,
            g_strdup(n->has_vhost ? "its frames pass the kernel (vhost), not "
                                    "QEMU" : "compared"),
            "add <driver name='qemu'/> to it and start the domain again");
    }
}

static void check_files(GPtrArray *checks, const ColoFacts *f)
{
    unsigned i;

    for (i = 0; i < f->files->len; i++) {
        const ColoFileFact *file = g_ptr_array_index(f->files, i);

        add(checks, !file->problem, file->name,
            g_strdup(file->problem ? file->problem : "there as well"),
            remedy_there(f, "copy it to the same place there"));
    }
}

void colo_checks_static(GPtrArray *checks, const ColoFacts *f)
{
    check_running(checks, f);
    if (f->domain) {
        check_idle(checks, f);
        check_qemu_here(checks, f);
        check_other_host(checks, f);
        check_memory(checks, f);
        check_cpu(checks, f);
        check_obstacles(checks, f);
        check_disks(checks, f);
        check_nics(checks, f);
        check_files(checks, f);
    }
}

void colo_checks_qemu(GPtrArray *checks, const ColoFacts *f)
{
    const ColoQemu *there = &f->qemu_there;

    if (f->probe_problem) {
        add(checks, false, "QEMU there", g_strdup(f->probe_problem),
            "the other host has to be able to run the domain; --network and "
            "--disk give its names there");
        return;
    }
    if (!there->version) {
        return;
    }
    add(checks, there->has_colo &&
                !g_strcmp0(there->version, f->qemu_here.version),
        "QEMU there", g_strdup_printf(
            "%s, %s", there->version,
            there->has_colo ? "with this COLO" : "without this COLO"),
        "install the same build of QEMU on both hosts");
    add(checks, !g_strcmp0(there->machine, f->qemu_here.machine), "machine",
        g_strdup_printf("%s here, %s there", f->qemu_here.machine,
                        there->machine),
        "write the full name of the machine in the domain's XML, such as "
        "pc-q35-10.0");
}

char *colo_checks_text(GPtrArray *checks, bool all)
{
    static const char *const marks[] = {
        [COLO_FINDING_OK] = "ok  ",
        [COLO_FINDING_NOTE] = "note",
        [COLO_FINDING_FAILED] = "FAIL",
    };
    GString *text = g_string_new(NULL);
    unsigned i;

    for (i = 0; i < checks->len; i++) {
        const ColoCheck *check = g_ptr_array_index(checks, i);

        if (!all && check->finding == COLO_FINDING_OK) {
            continue;
        }
        g_string_append_printf(text, "%s  %-12s %s\n",
                               marks[check->finding], check->name,
                               check->detail);
        if (check->remedy) {
            g_string_append_printf(text, "      remedy: %s\n",
                                   check->remedy);
        }
    }
    return g_string_free(text, FALSE);
}

JsonNode *colo_checks_json(GPtrArray *checks)
{
    static const char *const results[] = { "ok", "note", "failed" };
    JsonNode *list = colo_json_list();
    unsigned i;

    for (i = 0; i < checks->len; i++) {
        const ColoCheck *check = g_ptr_array_index(checks, i);

        json_array_add_element(json_node_get_array(list), colo_json(
            "s:name", check->name, "s:result", results[check->finding],
            "s:detail", check->detail, "s:remedy", check->remedy, NULL));
    }
    return list;
}
