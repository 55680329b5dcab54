/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking at both sides of a domain, within a time limit.
 *
 * A host that is gone, or a QEMU that hangs, may keep its caller waiting for
 * minutes. So each side is looked at by a thread of its own. One that is late
 * is left behind: it holds a reference of what it writes to, and ends with the
 * process at the latest.
 */
#include "command.h"
#include "domain.h"
#include "error.h"
#include "live.h"
#include "side.h"

/* ------------------------------------------------------------ one side */

static void look_at_copy(ColoSide *side, ColoHost *host, const char *domain)
{
    g_autoptr(JsonNode) now = colo_host_monitor(
        host, domain, colo_command("query-migrate"), NULL);
    const char *status = now ? colo_json_string(now, "status") : NULL;
    uint64_t total = now ? colo_json_int(now, "ram.total") : 0;

    if (status && total && colo_migration_is_active(status)) {
        side->copy_percent = 100 - 100.0 *
            colo_json_int(now, "ram.remaining") / total;
    }
}

static void look_at_sync(ColoSide *side, ColoHost *host, const char *domain)
{
    g_autoptr(JsonNode) jobs = colo_host_monitor(
        host, domain, colo_command("query-jobs"), NULL);
    double done = 0;
    double total = 0;
    unsigned i;

    for (i = 0; jobs && i < colo_json_count(jobs, ""); i++) {
        JsonNode *job = colo_json_element(jobs, "", i);
        const char *id = colo_json_string(job, "id");

        if (id && g_str_has_prefix(id, "colo-")) {
            done += colo_json_int(job, "current-progress");
            total += colo_json_int(job, "total-progress");
        }
    }
    if (total > 0) {
        side->sync_percent = MIN(100 * done / total, 99);
    }
}

char *colo_side_change(const ColoDomain *domain, const ColoPair *pair)
{
    unsigned i, j;

    for (i = 0; i < domain->disks->len; i++) {
        const ColoDisk *disk = g_ptr_array_index(domain->disks, i);
        bool is_known = !colo_disk_is_written(disk);

        for (j = 0; j < pair->disks->len; j++) {
            const ColoPairDisk *known = g_ptr_array_index(pair->disks, j);

            is_known |= !g_strcmp0(known->target, disk->target);
        }
        if (!is_known) {
            return g_strdup_printf("disk %s is not replicated",
                                   disk->target);
        }
    }
    if (domain->nics->len > pair->nic_count) {
        return g_strdup_printf("%u of %u network cards are not compared",
                               domain->nics->len - pair->nic_count,
                               domain->nics->len);
    }
    return NULL;
}

static void look_at_domain(ColoSide *side, ColoHost *host,
                           const char *domain)
{
    g_autoptr(ColoDomain) parsed = colo_live_domain(host, domain, NULL);

    if (!parsed) {
        return;
    }
    side->guest_bytes = parsed->memory_kib * 1024;
    if (side->pair && side->report->phase == COLO_PHASE_PROTECTED) {
        side->change = colo_side_change(parsed, side->pair);
    }
}

/* The interval, and what is of a guest whose side decides about it. */
static void look_at_guest(ColoSide *side, ColoHost *host, const char *domain)
{
    g_autoptr(JsonNode) parameters = colo_host_monitor(
        host, domain, colo_command("query-migrate-parameters"), NULL);

    if (parameters) {
        side->interval_ms = colo_json_int(parameters, "x-checkpoint-delay");
    }
    look_at_domain(side, host, domain);
}

static void look_into_qemu(ColoSide *side, ColoHost *host,
                           const char *domain)
{
    g_autoptr(GError) error = NULL;

    side->report = colo_live_report(host, domain, &side->raw, &error);
    if (!side->report) {
        side->problem = g_strdup(error->message);
        return;
    }
    if (side->report->phase != COLO_PHASE_PROTECTED) {
        look_at_copy(side, host, domain);
        look_at_sync(side, host, domain);
    }
    if (!side->report->is_secondary) {
        look_at_guest(side, host, domain);
    }
}

/*
 * A QEMU without COLO answers, too. One that does not may have died just now,
 * which libvirt takes some time to notice.
 */
static void look_whether_it_answers(ColoSide *side, ColoHost *host,
                                    const char *domain)
{
    g_auto(ColoDomStatus) again = {};

    if (side->report ||
        colo_host_run(host, domain, colo_command("query-status"), NULL)) {
        side->reach = COLO_REACH_FINE;
        return;
    }
    if (colo_host_find(host, domain, &again, NULL) &&
        (again.state == COLO_DOM_OFF || again.state == COLO_DOM_ABSENT)) {
        side->reach = COLO_REACH_NO_DOMAIN;
        side->state = again.state;
        side->is_crashed = again.is_crashed;
        side->is_guest_paused = false;
    }
}

/* Everything that the host can tell; its pair is known by now. */
static void look_at_side(ColoSide *side, ColoHost *host,
                         const ColoDomStatus *status, const char *domain)
{
    side->state = status->state;
    side->is_crashed = status->is_crashed;
    side->reach = COLO_REACH_NO_DOMAIN;
    side->host = colo_host_name(host);
    if (status->state == COLO_DOM_RUNNING ||
        status->state == COLO_DOM_PAUSED) {
        side->reach = COLO_REACH_SILENT;
        side->is_guest_paused = status->state == COLO_DOM_PAUSED;
        look_into_qemu(side, host, domain);
        look_whether_it_answers(side, host, domain);
    }
}

/* --------------------------------------------------------- two threads */

typedef struct Look {
    grefcount references;
    GMutex lock;
    GCond changed;
    char *uri;
    char *domain;
    ColoSide side;          /* of the thread until .is_done, under @lock */
    char *uuid;             /* these three: @lock, set once */
    char *name;
    char *peer;             /* where its peer is */
    ColoExit exit;          /* why the domain could not be found */
    bool is_connected;      /* @lock: its libvirt answered */
    bool is_done;           /* @lock */
} Look;

static void look_unref(Look *look)
{
    if (!g_ref_count_dec(&look->references)) {
        return;
    }
    colo_side_clear(&look->side);
    g_free(look->uri);
    g_free(look->domain);
    g_free(look->uuid);
    g_free(look->name);
    g_free(look->peer);
    g_mutex_clear(&look->lock);
    g_cond_clear(&look->changed);
    g_free(look);
}

/* Whoever waits for it can look at the peer now, too. */
static void tell_who(Look *look, const ColoDomStatus *status,
                     const ColoPair *pair)
{
    g_mutex_lock(&look->lock);
    look->is_connected = true;
    if (status->state != COLO_DOM_ABSENT) {
        look->uuid = g_strdup(status->uuid);
        look->name = g_strdup(status->name);
        look->peer = g_strdup(pair ? pair->peer : NULL);
    }
    g_cond_signal(&look->changed);
    g_mutex_unlock(&look->lock);
}

static void look_fill(Look *look, ColoSide *side)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ColoHost) host = colo_open(look->uri, &error);
    g_auto(ColoDomStatus) status = {};

    side->copy_percent = -1;
    side->sync_percent = -1;
    if (!host || !colo_host_find(host, look->domain, &status, &error)) {
        side->reach = COLO_REACH_NO_HOST;
        side->problem = g_strdup(error->message);
        look->exit = colo_error_exit(error);
        return;
    }
    if (status.state == COLO_DOM_ABSENT) {
        look->exit = COLO_EXIT_NO_DOMAIN;
    } else {
        side->pair = colo_host_pair(host, status.uuid, NULL);
    }
    tell_who(look, &status, side->pair);
    look_at_side(side, host, &status, status.uuid);
}

static gpointer look_thread(gpointer opaque)
{
    Look *look = opaque;
    ColoSide side = {};

    look_fill(look, &side);
    g_mutex_lock(&look->lock);
    look->side = side;
    look->is_done = true;
    g_cond_signal(&look->changed);
    g_mutex_unlock(&look->lock);
    look_unref(look);
    return NULL;
}

static Look *look_start(const char *uri, const char *domain)
{
    Look *look = g_new0(Look, 1);

    g_ref_count_init(&look->references);
    g_ref_count_inc(&look->references);
    g_mutex_init(&look->lock);
    g_cond_init(&look->changed);
    look->uri = g_strdup(uri);
    look->domain = g_strdup(domain);
    g_thread_unref(g_thread_new("look", look_thread, look));
    return look;
}

/* Until it is known who the domain is, or it turns out that it is not. */
static void look_who(Look *look, ColoView *view, char **peer, int64_t end_us)
{
    g_mutex_lock(&look->lock);
    while (!look->uuid && !look->is_done &&
           g_cond_wait_until(&look->changed, &look->lock, end_us)) {
        /* again */
    }
    view->uuid = g_strdup(look->uuid ? look->uuid : look->domain);
    view->domain = g_strdup(look->name ? look->name : look->domain);
    *peer = g_strdup(look->peer);
    g_mutex_unlock(&look->lock);
}

/* Moves what it found to @side. */
static void look_end(Look *look, ColoSide *side, int64_t end_us)
{
    g_mutex_lock(&look->lock);
    while (!look->is_done &&
           g_cond_wait_until(&look->changed, &look->lock, end_us)) {
        /* again */
    }
    if (look->is_done) {
        *side = look->side;
        look->side = (ColoSide) {};
    } else {
        *side = (ColoSide) {
            .reach = look->is_connected ? COLO_REACH_SILENT
                                        : COLO_REACH_NO_HOST,
            .problem = g_strdup("no answer in time"),
            .copy_percent = -1,
            .sync_percent = -1,
        };
    }
    side->uri = g_strdup(look->uri);
    g_mutex_unlock(&look->lock);
}

/* The peer is looked at meanwhile. */
static void look_at_both(ColoView *view, Look *here, const char *to,
                         unsigned limit_ms)
{
    int64_t end_us = g_get_monotonic_time() + limit_ms * 1000LL;
    g_autofree char *peer = NULL;
    Look *there = NULL;

    look_who(here, view, &peer, end_us);
    if (to || peer) {
        there = look_start(to ? to : peer, view->uuid);
    }
    look_end(here, &view->here, end_us);
    if (!there) {
        view->peer = (ColoSide) {
            .reach = COLO_REACH_UNKNOWN, .copy_percent = -1,
            .sync_percent = -1,
        };
        return;
    }
    look_end(there, &view->peer, end_us + limit_ms * 1000LL);
    look_unref(there);
}

ColoView *colo_view_new(const char *uri, const char *to, const char *domain,
                        unsigned limit_ms, GError **error)
{
    Look *look = look_start(uri, domain);
    ColoView *view = g_new0(ColoView, 1);
    ColoExit exit;

    look_at_both(view, look, to, limit_ms);
    exit = look->exit;
    look_unref(look);
    if (view->here.reach == COLO_REACH_NO_HOST ||
        exit == COLO_EXIT_NO_DOMAIN) {
        colo_error_set(error, exit ? exit : COLO_EXIT_CONNECT, "%s",
                       view->here.problem ? view->here.problem
                       : "libvirt knows no domain of that name");
        colo_view_free(view);
        return NULL;
    }
    colo_verdict(&view->verdict, view->domain, &view->here, &view->peer);
    return view;
}

void colo_view_free(ColoView *view)
{
    if (!view) {
        return;
    }
    colo_verdict_clear(&view->verdict);
    colo_side_clear(&view->here);
    colo_side_clear(&view->peer);
    g_free(view->domain);
    g_free(view->uuid);
    g_free(view);
}
