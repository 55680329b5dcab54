/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo protect: checks, then the steps, and everything undone if one fails.
 */
#include "cancel.h"
#include "address.h"
#include "checks.h"
#include "error.h"
#include "live.h"
#include "peer-xml.h"
#include "protect.h"
#include "units.h"

enum { DEFAULT_INTERVAL_MS = 1000 };

void colo_protect_clear(ColoProtect *p)
{
    g_clear_pointer(&p->journal, colo_journal_file_free);
    g_clear_pointer(&p->facts, colo_facts_free);
    g_clear_pointer(&p->checks, g_ptr_array_unref);
    g_clear_pointer(&p->pair, colo_pair_free);
    g_clear_pointer(&p->peer, colo_domain_free);
    g_clear_pointer(&p->disks, colo_map_free);
    g_clear_pointer(&p->networks, colo_map_free);
    g_clear_pointer(&p->from_address, g_free);
    g_clear_pointer(&p->to_address, g_free);
    g_clear_pointer(&p->from, colo_host_free);
    g_clear_pointer(&p->to, colo_host_free);
}

/* ------------------------------------------------------------- options */

static bool fill_map(ColoMap *map, const char *name, char **texts,
                     GError **error)
{
    unsigned i;

    for (i = 0; texts && texts[i]; i++) {
        if (!colo_map_add(map, name, texts[i], error)) {
            return false;
        }
    }
    return true;
}

static bool parse_bytes(const char *text, uint64_t *bytes, GError **error)
{
    return !text || colo_units_parse_bytes(text, bytes, error);
}

static bool read_options(ColoProtect *p, GError **error)
{
    const ColoOptions *o = p->options;

    if (!o->to) {
        colo_error_set(error, COLO_EXIT_USAGE,
                       "--to has to say which host shall protect it");
        return false;
    }
    if (o->port < 1 || o->port > 65000) {
        colo_error_set(error, COLO_EXIT_USAGE,
                       "--port is %d, but must be between 1 and 65000",
                       o->port);
        return false;
    }
    return fill_map(p->disks, "--disk", o->disks, error) &&
           fill_map(p->networks, "--network", o->networks, error) &&
           parse_bytes(o->memory_buffer, &p->memory_buffer_bytes, error) &&
           parse_bytes(o->disk_buffer, &p->disk_buffer_bytes, error) &&
           parse_bytes(o->speed, &p->speed_bytes_s, error);
}

/* A disk that is not there is a mistake that would surface much too late. */
static bool check_maps(ColoProtect *p, GError **error)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    const char *unknown;
    unsigned i;

    for (i = 0; i < p->facts->domain->disks->len; i++) {
        const ColoDisk *disk = g_ptr_array_index(p->facts->domain->disks, i);

        g_ptr_array_add(known, disk->target);
    }
    g_ptr_array_add(known, NULL);
    unknown = colo_map_unknown(p->disks, (const char *const *)known->pdata);
    if (unknown) {
        colo_error_set(error, COLO_EXIT_USAGE,
                       "--disk: the domain has no disk '%s'", unknown);
        return false;
    }
    return true;
}

static char *address_for(const char *told, const char *uri, const char *name)
{
    char *address = told ? g_strdup(told) : colo_address_of_uri(uri);

    return address ? address : g_strdup(name);
}

bool colo_protect_prepare(ColoProtect *p, const ColoOptions *options,
                          GError **error)
{
    p->options = options;
    p->disks = colo_map_new();
    p->networks = colo_map_new();
    p->checks = colo_checks_new();
    p->start_ms = colo_now_ms();
    p->end_ms = options->timeout_s > 0
                ? p->start_ms + options->timeout_s * 1000LL : INT64_MAX;
    colo_progress_init(&p->progress, options->verbose && !options->json);
    if (!read_options(p, error)) {
        return false;
    }
    p->from = colo_open(options->from, error);
    p->to = p->from ? colo_open(options->to, error) : NULL;
    if (!p->to) {
        return false;
    }
    p->facts = colo_facts_gather(p->from, p->to, options->domain, p->disks,
                                 error);
    if (!p->facts || (p->facts->domain && !check_maps(p, error))) {
        return false;
    }
    p->scene = (ColoScene) {
        .from = p->from, .to = p->to, .domain = p->facts->here.uuid,
    };
    p->from_address = address_for(options->from_address, p->facts->from.uri,
                                  p->facts->from.name);
    p->to_address = address_for(options->to_address, options->to,
                                p->facts->to.name);
    return true;
}

/* --------------------------------------------------------------- pairs */

static ColoPair *make_pair(ColoProtect *p)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    ColoPair *pair = colo_pair_new(COLO_ROLE_PRIMARY);
    unsigned i;

    pair->session = g_uuid_string_random();
    pair->since = g_date_time_format(now, "%FT%TZ");
    pair->peer = g_strdup(p->options->to);
    pair->is_persistent = p->facts->here.is_persistent;
    /* Switched off while protected; a survivor remembers what it was. */
    pair->is_autostarted = p->facts->here.is_autostarted ||
                           (p->facts->pair &&
                            p->facts->pair->is_autostarted);
    pair->nic_count = p->facts->nics->len;
    for (i = 0; i < p->facts->disks->len; i++) {
        const ColoDiskFact *disk = g_ptr_array_index(p->facts->disks, i);

        colo_pair_add_disk(pair, disk->target, disk->node, disk->is_shared);
    }
    return pair;
}

char *colo_protect_peer_xml(ColoProtect *p, GError **error)
{
    g_autoptr(ColoPair) pair = colo_pair_copy(p->pair);
    g_autofree char *xml = colo_host_xml(p->from, p->scene.domain,
                                         COLO_XML_MIGRATABLE, error);

    if (!xml) {
        return NULL;
    }
    pair->role = COLO_ROLE_SECONDARY;
    g_free(pair->peer);
    pair->peer = colo_address_back(p->facts->from.uri, p->from_address,
                                   p->options->to);
    return colo_peer_xml(xml, p->disks, p->networks, pair, error);
}

/* ---------------------------------------------------------- --check */

/* Starts what could run there, to ask it; nothing of it remains. */
static void probe(ColoProtect *p)
{
    g_autofree char *uuid = g_uuid_string_random();
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = colo_protect_peer_xml(p, &error);
    g_autofree char *probe_xml = xml ? colo_probe_xml(xml, uuid, &error)
                                     : NULL;

    if (probe_xml && colo_host_create_paused(p->to, probe_xml, &error)) {
        colo_facts_qemu(p->to, uuid, &p->facts->qemu_there, &error);
        colo_host_destroy(p->to, uuid, NULL);
    }
    if (error) {
        p->facts->probe_problem = g_strdup(error->message);
    }
}

static void add_checks(ColoProtect *p, JsonNode **result)
{
    colo_checks_static(p->checks, p->facts);
    if (p->options->check && p->facts->domain) {
        probe(p);
        colo_checks_qemu(p->checks, p->facts);
    }
    *result = colo_json("s:domain", p->options->domain,
                        "o:checks", colo_checks_json(p->checks), NULL);
}

static bool report_checks(ColoProtect *p, GError **error)
{
    bool ok = colo_checks_passed(p->checks);
    bool all = p->options->check || p->options->verbose;
    g_autofree char *text = colo_checks_text(p->checks, all);

    if (*text) {
        colo_say(p->options, "%s", g_strchomp(text));
    }
    if (!ok) {
        colo_error_set(error, COLO_EXIT_CHECK,
                       "A pre-flight check failed; nothing was changed");
    }
    return ok;
}

/* --------------------------------------------------------------- steps */

bool colo_protect_may_go_on(ColoProtect *p, GError **error)
{
    if (colo_cancel_asked()) {
        colo_error_set(error, COLO_EXIT_INTERRUPTED, "Interrupted");
        return false;
    }
    if (colo_now_ms() >= p->end_ms) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "It was not done within %d s", p->options->timeout_s);
        return false;
    }
    return true;
}

bool colo_protect_plan(ColoProtect *p, ColoUndo *undo, GError **error)
{
    return colo_journal_file_add(p->journal, undo, error);
}

bool colo_protect_here(ColoProtect *p, JsonNode *command, GError **error)
{
    return colo_host_run(p->from, p->scene.domain, command, error);
}

bool colo_protect_there(ColoProtect *p, JsonNode *command, GError **error)
{
    return colo_host_run(p->to, p->scene.domain, command, error);
}

static const struct {
    const char *what;
    bool (*run)(ColoProtect *p, GError **error);
} steps[] = {
    { "Starting the secondary", colo_protect_start_peer },
    { "Connecting the disks", colo_protect_connect_disks },
    { "Connecting the network cards", colo_protect_connect_nics },
    { "Copying the disks", colo_protect_copy_disks },
    { "Copying the memory", colo_protect_copy_memory },
    { "Taking the first checkpoint", colo_protect_settle },
};

static bool run_steps(ColoProtect *p, GError **error)
{
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(steps); i++) {
        int64_t start_ms = colo_now_ms();

        if (!colo_protect_may_go_on(p, error) ||
            !steps[i].run(p, error)) {
            colo_error_what(error, "%s failed", steps[i].what);
            return false;
        }
        if (p->options->verbose) {
            colo_say(p->options, "%s: done after %d ms", steps[i].what,
                     (int)(colo_now_ms() - start_ms));
        }
    }
    return true;
}

/* Back to what was before; what cannot be taken back is for `colo repair`. */
static void take_back(ColoProtect *p, GError **error)
{
    ColoJournal *journal = colo_journal_file_get(p->journal);
    g_autoptr(GError) why = NULL;

    colo_progress_end(&p->progress, false);
    if (p->options->verbose) {
        colo_say(p->options, "Undoing what was done");
    }
    if (colo_undo_run_all(&p->scene, journal->undos, &why)) {
        colo_journal_file_finish(p->journal);
        return;
    }
    g_prefix_error(error, "%s\n", why->message);
    if (error && *error) {
        (*error)->code = COLO_EXIT_HALF_DONE;
        (*error)->domain = COLO_ERROR;
        colo_error_what(error, "Some of it could not be undone; run: colo "
                        "repair %s", p->facts->here.name);
    }
}

static bool begin(ColoProtect *p, GError **error)
{
    ColoJournal *journal = colo_journal_new(
        "protect", p->facts->here.name, p->facts->here.uuid,
        p->options->from, p->options->to);

    journal->session = g_strdup(p->pair->session);
    p->scene.session = p->pair->session;
    p->journal = colo_journal_file_begin(journal, error);
    return p->journal && colo_host_watch(p->from, error) &&
           colo_host_watch(p->to, error);
}

static void tell(ColoProtect *p, JsonNode *result)
{
    double seconds = (colo_now_ms() - p->start_ms) / 1000.0;
    JsonObject *object = json_node_get_object(result);

    json_object_set_string_member(object, "state", "protected");
    json_object_set_string_member(object, "from", p->facts->from.uri);
    json_object_set_string_member(object, "to", p->options->to);
    json_object_set_double_member(object, "seconds", seconds);
    colo_say(p->options, "Domain '%s' is protected by %s (%.1f s)",
             p->facts->here.name, p->facts->to.name, seconds);
}

/* What an earlier command has left is to be mended before all else. */
static bool has_no_journal(ColoProtect *p, GError **error)
{
    g_autoptr(GError) why = NULL;
    g_autoptr(ColoJournalFile) left = colo_journal_file_open(
        p->facts->here.uuid, &why);

    if (left) {
        colo_error_set(error, COLO_EXIT_HALF_DONE, "An earlier command was "
                       "interrupted; run: colo repair %s",
                       p->facts->here.name);
    } else if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    return !left;
}

bool colo_protect(const ColoOptions *options, JsonNode **result,
                  GError **error)
{
    g_auto(ColoProtect) p = {};
    ColoOptions told = *options;

    if (told.interval_ms < 0) {
        told.interval_ms = DEFAULT_INTERVAL_MS;
    }
    if (!colo_protect_prepare(&p, &told, error) ||
        !has_no_journal(&p, error)) {
        colo_error_what(error, "Domain '%s' cannot be protected",
                        options->domain);
        return false;
    }
    p.pair = make_pair(&p);
    add_checks(&p, result);
    if (!report_checks(&p, error)) {
        colo_error_what(error, "Domain '%s' cannot be protected",
                        options->domain);
        return false;
    }
    if (options->check) {
        return true;
    }
    if (!begin(&p, error) || !run_steps(&p, error)) {
        colo_error_what(error, "Domain '%s' is not protected",
                        options->domain);
        if (p.journal) {
            take_back(&p, error);
        }
        return false;
    }
    colo_journal_file_finish(p.journal);
    tell(&p, *result);
    return true;
}
