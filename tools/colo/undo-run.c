/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries out what a command has to take back.
 *
 * Each function looks first whether its thing is there. A QEMU that is gone
 * took with it all that was put into it, so then there is nothing to do.
 */
#include "error.h"
#include "live.h"
#include "undo-run.h"
#include "undo-spare.h"

enum { END_LIMIT_MS = 15000, ASK_AGAIN_MS = 20 };

static bool cancel_migration(const ColoScene *s, GError **error)
{
    int64_t end_ms = colo_now_ms() + END_LIMIT_MS;

    for (;;) {
        g_autofree char *status = colo_live_migration(s->from, s->domain,
                                                      error);

        if (!status) {
            return false;
        }
        if (!colo_migration_is_active(status)) {
            return true;
        }
        if (colo_now_ms() >= end_ms) {
            colo_error_set(error, COLO_EXIT_HALF_DONE,
                           "The migration is still '%s'", status);
            return false;
        }
        colo_host_run(s->from, s->domain, colo_command("migrate_cancel"),
                      NULL);
        colo_host_event_free(colo_host_wait(s->from, ASK_AGAIN_MS));
    }
}

/* libvirt may take a process for alive for some time after its end. */
static bool answers(ColoHost *host, const char *domain)
{
    g_autoptr(ColoReport) report = colo_live_report(host, domain, NULL,
                                                    NULL);

    return report;
}

/*
 * Whoever ends the secondary must not end the guest with it: not one that
 * took over, and not one that could while the primary is gone. So the primary
 * is asked after the secondary, which may say that it is lost only as the
 * primary has just died.
 */
static bool destroy_running(const ColoScene *s, GError **error)
{
    g_autoptr(ColoReport) report = NULL;
    bool may_go_on;

    if (!colo_spare_secondary(s, error)) {
        return false;
    }
    report = colo_live_report(s->to, s->domain, NULL, NULL);
    if (report && report->phase == COLO_PHASE_ALONE) {
        colo_error_set(error, COLO_EXIT_UNSAFE, "The guest goes on at the "
                       "other host, which took over; it is left alone");
        return false;
    }
    may_go_on = !report || report->phase == COLO_PHASE_LOST ||
                report->phase == COLO_PHASE_PROTECTED;
    if (may_go_on && !answers(s->from, s->domain)) {
        colo_error_set(error, COLO_EXIT_UNSAFE, "The primary is gone, and "
                       "the secondary can go on: run colo failover there");
        return false;
    }
    return colo_host_destroy(s->to, s->domain, error);
}

/*
 * It may end at any moment without us: by a command that was killed when
 * libvirt was ending it already. That is as good.
 */
static bool destroy_secondary(const ColoScene *s, GError **error)
{
    g_autoptr(GError) why = NULL;
    bool is_running;

    if (!colo_spare_find(s->to, s->domain, &is_running, error)) {
        return false;
    }
    if (!is_running || destroy_running(s, &why) ||
        (colo_spare_find(s->to, s->domain, &is_running, NULL) &&
         !is_running)) {
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

static bool end_lockstep(const ColoScene *s, GError **error)
{
    const unsigned over = COLO_PHASE_BIT(COLO_PHASE_LOST) |
                          COLO_PHASE_BIT(COLO_PHASE_ALONE) |
                          COLO_PHASE_BIT(COLO_PHASE_OFF);
    g_autoptr(ColoReport) report = NULL;

    if (!s->to) {
        colo_error_set(error, COLO_EXIT_UNSAFE, "The host of the secondary "
                       "cannot be reached, so the secondary may still run");
        return false;
    }
    if (!destroy_secondary(s, error) ||
        !colo_live_wait_phase(s->from, s->domain, over, END_LIMIT_MS,
                              error)) {
        return false;
    }
    report = colo_live_report(s->from, s->domain, NULL, error);
    if (!report) {
        return false;
    }
    if (report->phase == COLO_PHASE_LOST) {
        return colo_host_run(s->from, s->domain,
                             colo_command("x-colo-lost-heartbeat"), error) &&
               colo_live_wait_phase(s->from, s->domain,
                                    COLO_PHASE_BIT(COLO_PHASE_ALONE),
                                    END_LIMIT_MS, error);
    }
    return true;
}

/* Until nothing is in use any more. Lockstep may only just have begun. */
static bool let_go(const ColoScene *s, GError **error)
{
    int64_t end_ms = colo_now_ms() + END_LIMIT_MS;

    while (!colo_live_is_released(s->from, s->domain)) {
        g_autoptr(ColoReport) report = colo_live_report(s->from, s->domain,
                                                        NULL, error);

        if (!report) {
            return false;
        }
        if (report->phase == COLO_PHASE_LOST) {
            colo_host_run(s->from, s->domain,
                          colo_command("x-colo-lost-heartbeat"), NULL);
        }
        if (colo_now_ms() >= end_ms) {
            colo_error_set(error, COLO_EXIT_HALF_DONE,
                           "Its migration is not over");
            return false;
        }
        colo_host_event_free(colo_host_wait(s->from, ASK_AGAIN_MS));
    }
    return true;
}

static bool is_in_colo(const ColoScene *s, const ColoReport *report)
{
    g_autofree char *status = NULL;

    if (report->phase != COLO_PHASE_OFF) {
        return report->phase != COLO_PHASE_ALONE;
    }
    status = colo_live_migration(s->from, s->domain, NULL);
    return !g_strcmp0(status, "colo");
}

bool colo_end_protection(const ColoScene *s, GError **error)
{
    g_autoptr(ColoReport) report = NULL;
    bool is_running;

    if (!colo_spare_find(s->from, s->domain, &is_running, error)) {
        return false;
    }
    if (!is_running) {
        return true;
    }
    report = colo_live_report(s->from, s->domain, NULL, error);
    if (!report) {
        return false;
    }
    if (report->phase == COLO_PHASE_OFF && !cancel_migration(s, error)) {
        return false;
    }
    /* It may have got through just before it was cancelled. */
    g_clear_pointer(&report, colo_report_free);
    report = colo_live_report(s->from, s->domain, NULL, error);
    if (!report) {
        return false;
    }
    return (!is_in_colo(s, report) || end_lockstep(s, error)) &&
           let_go(s, error);
}

static bool remove_node(ColoHost *host, const char *domain,
                        const char *target, GError **error)
{
    g_autofree char *node = colo_name_disk(target);

    return !colo_live_has_node(host, domain, node) ||
           colo_host_run(host, domain, colo_command_disk_remove(target),
                         error);
}

static bool restore_parameters(ColoHost *host, const char *domain,
                               JsonNode *data, GError **error)
{
    JsonNode *migration = data ? colo_json_at(data, "migration") : NULL;
    JsonNode *colo = data ? colo_json_at(data, "colo") : NULL;

    if (migration &&
        !colo_host_run(host, domain, colo_json_command(
            "migrate-set-parameters", json_node_copy(migration)), error)) {
        return false;
    }
    return !colo ||
           colo_host_run(host, domain, colo_json_command(
               "colo-set-parameters", json_node_copy(colo)), error);
}

static bool restore_pair(const ColoScene *s, ColoHost *host,
                         const char *text, GError **error)
{
    g_auto(ColoDomStatus) status = {};
    g_autoptr(ColoPair) pair = NULL;
    bool is_stale = false;

    if (!colo_host_find(host, s->domain, &status, error)) {
        return false;
    }
    if (status.state == COLO_DOM_ABSENT) {
        return true;
    }
    if (host == s->to ? !colo_spare_survivor(s, error)
                      : !colo_spare_primary(s, &is_stale, error)) {
        return false;
    }
    if (is_stale) {
        return true;
    }
    pair = text ? colo_pair_parse(text, error) : NULL;
    if (text && !pair) {
        return false;
    }
    return colo_host_set_pair(host, s->domain, pair, error);
}

static bool restore_autostart(const ColoScene *s, GError **error)
{
    bool is_stale;

    return colo_spare_primary(s, &is_stale, error) &&
           (is_stale ||
            colo_host_set_autostart(s->from, s->domain, true, error));
}

static bool delete_image(const ColoScene *s, const char *path,
                         GError **error)
{
    g_auto(ColoVolume) volume = {};

    if (!colo_host_volume(s->to, path, &volume, error)) {
        return false;
    }
    return !volume.is_there ||
           (colo_spare_image(s, error) &&
            colo_host_volume_delete(s->to, path, error));
}

static bool run_in_qemu(ColoHost *host, const char *domain,
                        const ColoUndo *undo, GError **error)
{
    bool is_running;

    if (!colo_spare_find(host, domain, &is_running, error)) {
        return false;
    }
    if (!is_running) {
        return true;
    }
    switch (undo->kind) {
    case COLO_UNDO_NODE:
        return remove_node(host, domain, undo->text, error);
    case COLO_UNDO_PARTS:
    case COLO_UNDO_COLO:
        return colo_host_run(host, domain, colo_command_clean_up(
            undo->kind == COLO_UNDO_PARTS), error);
    case COLO_UNDO_PARAMETERS:
        return restore_parameters(host, domain, undo->data, error);
    default:
        g_assert_not_reached();
    }
}

static bool run_one(const ColoScene *scene, const ColoUndo *undo,
                    GError **error)
{
    ColoHost *host = undo->at_peer ? scene->to : scene->from;

    if (undo->kind == COLO_UNDO_PROTECTION) {
        return colo_end_protection(scene, error);
    }
    if (!host) {
        colo_error_set(error, COLO_EXIT_CONNECT,
                       "The other host cannot be reached");
        return false;
    }
    switch (undo->kind) {
    case COLO_UNDO_PAIR:
        return restore_pair(scene, host, undo->text, error);
    case COLO_UNDO_AUTOSTART:
        return restore_autostart(scene, error);
    case COLO_UNDO_VOLUME:
        return delete_image(scene, undo->text, error);
    case COLO_UNDO_DOMAIN:
        return destroy_secondary(scene, error);
    default:
        return run_in_qemu(host, scene->domain, undo, error);
    }
}

/* It may have ended while it was looked at, and all in it with it. */
static bool is_gone(const ColoScene *scene, const ColoUndo *undo)
{
    ColoHost *host = undo->at_peer ? scene->to : scene->from;
    g_auto(ColoDomStatus) status = {};

    return undo->kind >= COLO_UNDO_NODE && host &&
           colo_host_find(host, scene->domain, &status, NULL) &&
           (status.state == COLO_DOM_OFF || status.state == COLO_DOM_ABSENT);
}

bool colo_undo_run(const ColoScene *scene, const ColoUndo *undo,
                   GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autofree char *what = NULL;

    if (run_one(scene, undo, &why) || is_gone(scene, undo)) {
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&why));
    what = colo_undo_text(undo);
    colo_error_what(error, "%s failed", what);
    return false;
}

bool colo_undo_run_all(const ColoScene *scene, GPtrArray *undos,
                       GError **error)
{
    g_autoptr(GString) failed = g_string_new(NULL);
    unsigned i;

    for (i = undos->len; i-- > 0;) {
        g_autoptr(GError) why = NULL;

        if (!colo_undo_run(scene, g_ptr_array_index(undos, i), &why)) {
            g_string_append_printf(failed, "%s%s", failed->len ? "\n" : "",
                                   why->message);
        }
    }
    if (failed->len) {
        colo_error_set(error, COLO_EXIT_HALF_DONE, "%s", failed->str);
        return false;
    }
    return true;
}
