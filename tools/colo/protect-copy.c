/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo protect: the steps that copy the domain and begin lockstep.
 *
 * Disks first, while the guest runs; once they are equal each of its writes
 * goes to both. Then the memory, by an ordinary migration whose end is the
 * beginning of lockstep.
 */
#include "error.h"
#include "live.h"
#include "protect.h"

enum {
    ASK_AGAIN_MS = 50,
    FIRST_DOWNTIME_MS = 20,     /* the guest may stand still for so long */
    LAST_DOWNTIME_MS = 2000,    /* ... when nothing less is enough */
    PATIENT_PASSES = 3,
};

/* -------------------------------------------------------------- disks */

/* What a disk of the secondary says that it is; NULL: it does not know. */
static char *state_there(ColoProtect *p, const char *target)
{
    g_autofree char *node = colo_name_disk(target);
    g_autoptr(JsonNode) answer = colo_host_monitor(
        p->to, p->scene.domain, colo_command("query-colo"), NULL);
    JsonNode *disk = answer ? colo_json_find(answer, "disks", "node", node)
                            : NULL;

    return disk ? g_strdup(colo_json_string(disk, "state")) : NULL;
}

static bool attach(ColoProtect *p, const ColoDiskFact *fact, GError **error)
{
    g_autofree char *base = NULL;

    if (fact->is_shared) {
        return colo_protect_here(p, colo_command_disk_attach(
            fact->target, "none", NULL, 0), error);
    }
    base = fact->there.is_there ? state_there(p, fact->target) : NULL;
    /* What is refused is copied as a whole. */
    if (base && colo_protect_here(p, colo_command_disk_attach(
                    fact->target, "incremental", base, p->speed_bytes_s),
                    NULL)) {
        return true;
    }
    return colo_protect_here(p, colo_command_disk_attach(
        fact->target, "full", NULL, p->speed_bytes_s), error);
}

/* QEMU's own limit for the memory is less than most networks can carry. */
#define ANY_SPEED (UINT64_C(1) << 40)

typedef struct Copy {
    uint64_t done_bytes;
    uint64_t total_bytes;
    unsigned waiting_count;     /* disks that are not in sync */
} Copy;

static void add_job(Copy *copy, JsonNode *jobs, const char *id)
{
    JsonNode *job = colo_json_find(jobs, "", "id", id);

    if (job) {
        copy->done_bytes += colo_json_int(job, "current-progress");
        copy->total_bytes += colo_json_int(job, "total-progress");
    }
}

static bool look_at_disk(const ColoDiskFact *fact, JsonNode *answer,
                         JsonNode *jobs, Copy *copy, GError **error)
{
    g_autofree char *node = colo_name_disk(fact->target);
    JsonNode *disk = colo_json_find(answer, "disks", "node", node);
    const char *problem = disk ? colo_json_string(disk, "error") : NULL;

    add_job(copy, jobs, node);
    if (colo_json_bool(disk, "forward.in-sync")) {
        return true;
    }
    copy->waiting_count++;
    if (problem || !disk || !colo_json_at(disk, "forward")) {
        colo_error_set(error, COLO_EXIT_FAILED, "Disk %s: %s", fact->target,
                       problem ? problem : "its copy was taken away");
        return false;
    }
    return true;
}

static bool look_at_disks(ColoProtect *p, Copy *copy, GError **error)
{
    g_autoptr(JsonNode) answer = colo_host_monitor(
        p->from, p->scene.domain, colo_command("query-colo"), error);
    g_autoptr(JsonNode) jobs = answer ? colo_host_monitor(
        p->from, p->scene.domain, colo_command("query-jobs"), error) : NULL;
    unsigned i;

    *copy = (Copy) {};
    for (i = 0; jobs && i < p->facts->disks->len; i++) {
        const ColoDiskFact *fact = g_ptr_array_index(p->facts->disks, i);

        if (!look_at_disk(fact, answer, jobs, copy, error)) {
            return false;
        }
    }
    return jobs;
}

bool colo_protect_copy_disks(ColoProtect *p, GError **error)
{
    Copy copy;
    unsigned i;

    for (i = 0; i < p->facts->disks->len; i++) {
        if (!attach(p, g_ptr_array_index(p->facts->disks, i), error)) {
            return false;
        }
    }
    for (;;) {
        if (!colo_protect_may_go_on(p, error) ||
            !look_at_disks(p, &copy, error)) {
            return false;
        }
        if (copy.total_bytes) {
            colo_progress_show(&p->progress, "Disks", copy.done_bytes,
                               copy.total_bytes, colo_now_ms());
        }
        if (!copy.waiting_count) {
            colo_progress_end(&p->progress, true);
            return true;
        }
        colo_host_event_free(colo_host_wait(p->from, ASK_AGAIN_MS));
    }
}

/* ------------------------------------------------------------- memory */

/* Limits of COLO, which the user may change meanwhile. */
static JsonNode *limits_before(ColoProtect *p, GError **error)
{
    JsonNode *limits = colo_host_monitor(
        p->from, p->scene.domain, colo_command("query-colo-parameters"),
        error);

    if (limits) {
        json_object_set_boolean_member(json_node_get_object(limits),
                                       "checkpoint-events", true);
    }
    return limits;
}

/* What is changed for the copy, or later, to be put back. */
static ColoUndo *parameters_before(ColoProtect *p, GError **error)
{
    g_autoptr(JsonNode) now = colo_host_monitor(
        p->from, p->scene.domain, colo_command("query-migrate-parameters"),
        error);
    JsonNode *limits = now ? limits_before(p, error) : NULL;
    ColoUndo *undo;

    if (!limits) {
        return NULL;
    }
    undo = colo_undo_new(COLO_UNDO_PARAMETERS, false, NULL);
    undo->data = colo_json(
        "o:migration", colo_json(
            "i:downtime-limit", colo_json_int(now, "downtime-limit"),
            "i:max-bandwidth", colo_json_int(now, "max-bandwidth"),
            "i:x-checkpoint-delay", colo_json_int(now, "x-checkpoint-delay"),
            NULL),
        "o:colo", limits, NULL);
    return undo;
}

static bool set_parameters(ColoProtect *p, GError **error)
{
    const ColoPair *before = p->facts->pair;
    ColoUndo *undo = parameters_before(p, error);

    if (!undo) {
        return false;
    }
    /* A survivor's are those from before it was protected first. */
    g_free(p->pair->parameters);
    p->pair->parameters = before && before->parameters
                          ? g_strdup(before->parameters)
                          : colo_json_text(undo->data, false);
    return colo_protect_plan(p, undo, error) &&
           colo_protect_here(p, colo_command_events(false), error) &&
           colo_protect_here(p, colo_command_interval(
               p->options->interval_ms), error) &&
           colo_protect_here(p, colo_command_downtime(FIRST_DOWNTIME_MS),
                             error) &&
           colo_protect_here(p, colo_command_bandwidth(
               p->speed_bytes_s ? p->speed_bytes_s : ANY_SPEED), error);
}

static bool begin_copy(ColoProtect *p, GError **error)
{
    return set_parameters(p, error) &&
           colo_protect_incoming(p, error) &&
           colo_protect_plan(p, colo_undo_new(COLO_UNDO_PROTECTION, false,
                                              NULL), error) &&
           colo_protect_here(p, colo_command_capability("x-colo", true),
                             error) &&
           colo_protect_here(p, colo_command_migrate(
               p->to_address, p->pair->migrate_port), error);
}

/* A guest that writes faster than it can be copied gets a longer stop. */
static bool allow_downtime(ColoProtect *p, unsigned passes,
                           unsigned *limit_ms, GError **error)
{
    unsigned shift = passes > PATIENT_PASSES ? passes - PATIENT_PASSES : 0;
    unsigned wanted_ms = MIN(FIRST_DOWNTIME_MS << MIN(shift, 10),
                             LAST_DOWNTIME_MS);

    if (wanted_ms <= *limit_ms) {
        return true;
    }
    *limit_ms = wanted_ms;
    return colo_protect_here(p, colo_command_downtime(wanted_ms), error);
}

static bool look_at_migration(ColoProtect *p, unsigned *limit_ms,
                              bool *is_done, GError **error)
{
    g_autoptr(JsonNode) now = colo_host_monitor(
        p->from, p->scene.domain, colo_command("query-migrate"), error);
    const char *status = now ? colo_json_string(now, "status") : NULL;
    uint64_t total_bytes, left_bytes;

    if (!now) {
        return false;
    }
    if (!g_strcmp0(status, "failed") || !g_strcmp0(status, "cancelled")) {
        const char *why = colo_json_string(now, "error-desc");

        colo_error_set(error, COLO_EXIT_FAILED, "%s",
                       why ? why : "The copy was cancelled by somebody");
        return false;
    }
    if (!g_strcmp0(status, "completed")) {
        colo_error_set(error, COLO_EXIT_FAILED, "The migration ended without "
                       "lockstep: this QEMU's COLO is not ours");
        return false;
    }
    *is_done = !g_strcmp0(status, "colo");
    total_bytes = colo_json_int(now, "ram.total");
    left_bytes = *is_done ? 0 : colo_json_int(now, "ram.remaining");
    if (total_bytes) {
        colo_progress_show(&p->progress, "Memory", total_bytes - left_bytes,
                           total_bytes, colo_now_ms());
    }
    return *is_done ||
           allow_downtime(p, colo_json_int(now, "ram.dirty-sync-count"),
                          limit_ms, error);
}

static bool wait_for_lockstep(ColoProtect *p, bool *is_over, GError **error)
{
    g_autoptr(ColoReport) report = colo_live_report(
        p->from, p->scene.domain, NULL, error);

    *is_over = false;
    if (!report) {
        return false;
    }
    *is_over = report->phase == COLO_PHASE_PROTECTED;
    if (*is_over || report->phase == COLO_PHASE_OFF ||
        report->phase == COLO_PHASE_CONNECTING) {
        return true;
    }
    colo_error_set(error, COLO_EXIT_FAILED, "%s", report->reason);
    return false;
}

bool colo_protect_copy_memory(ColoProtect *p, GError **error)
{
    unsigned limit_ms = FIRST_DOWNTIME_MS;
    bool is_copied = false;
    bool is_over = false;

    if (!begin_copy(p, error)) {
        return false;
    }
    for (;;) {
        if (!colo_protect_may_go_on(p, error) ||
            !look_at_migration(p, &limit_ms, &is_copied, error)) {
            return false;
        }
        if (is_copied && !wait_for_lockstep(p, &is_over, error)) {
            return false;
        }
        if (is_over) {
            colo_progress_end(&p->progress, true);
            return true;
        }
        colo_host_event_free(colo_host_wait(p->from, ASK_AGAIN_MS));
    }
}

/* ------------------------------------------------------------- the end */

/*
 * A primary that died must not come back by itself beside a secondary that
 * took over. Who survives switches it on again.
 */
static bool stop_autostart(ColoProtect *p, GError **error)
{
    return !p->facts->here.is_autostarted ||
           (colo_protect_plan(p, colo_undo_new(COLO_UNDO_AUTOSTART, false,
                                               NULL), error) &&
            colo_host_set_autostart(p->from, p->scene.domain, false, error));
}

static bool restore_downtime(ColoProtect *p, GError **error)
{
    GPtrArray *undos = colo_journal_file_get(p->journal)->undos;
    unsigned i;

    for (i = 0; i < undos->len; i++) {
        const ColoUndo *undo = g_ptr_array_index(undos, i);

        if (undo->kind == COLO_UNDO_PARAMETERS) {
            return colo_protect_here(p, colo_command_downtime(
                colo_json_int(undo->data, "migration.downtime-limit")),
                error);
        }
    }
    return true;
}

bool colo_protect_settle(ColoProtect *p, GError **error)
{
    g_autoptr(ColoPair) there = NULL;

    if (!colo_protect_here(p, colo_command("colo-checkpoint"), error) ||
        !restore_downtime(p, error) || !stop_autostart(p, error)) {
        return false;
    }
    there = colo_host_pair(p->to, p->scene.domain, error);
    if (!there) {
        return false;
    }
    there->disk_port = p->pair->disk_port;
    there->migrate_port = p->pair->migrate_port;
    there->net_port = p->pair->net_port;
    return colo_host_set_pair(p->to, p->scene.domain, there, error) &&
           colo_host_set_pair(p->from, p->scene.domain, p->pair, error);
}
