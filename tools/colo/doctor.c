/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo doctor and colo logs: what a report of a problem needs, and what
 * happened.
 *
 * The collection is one JSON document. Passwords are not in it: the XML is
 * asked for without them.
 */
#include <stdio.h>
#include "cancel.h"
#include "command.h"
#include "error.h"
#include "journal-file.h"
#include "live.h"
#include "undo.h"

enum { WAIT_MS = 1000 };

/* -------------------------------------------------------------- doctor */

static const char *const questions[] = {
    "query-version", "query-status", "query-colo", "query-colo-parameters",
    "query-migrate", "query-migrate-capabilities", "query-migrate-parameters",
    "query-block", "query-block-exports", "query-jobs", "query-chardev",
    "query-yank", "query-iothreads",
};

static JsonNode *ask_all(ColoHost *host, const char *domain)
{
    JsonNode *answers = colo_json(NULL, NULL);
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(questions); i++) {
        g_autoptr(GError) error = NULL;
        JsonNode *answer = colo_host_monitor(
            host, domain, colo_command(questions[i]), &error);

        if (!answer) {
            answer = colo_json("s:error", error->message, NULL);
        }
        json_object_set_member(json_node_get_object(answers), questions[i],
                               answer);
    }
    return answers;
}

static JsonNode *examine_domain(ColoHost *host, const char *domain)
{
    g_autofree char *xml = colo_host_xml(host, domain, COLO_XML_PUBLIC,
                                         NULL);
    ColoDomState state = colo_host_state(host, domain);
    bool runs = state == COLO_DOM_RUNNING || state == COLO_DOM_PAUSED;

    return colo_json("s:xml", xml,
                     "o:answers", runs ? ask_all(host, domain) : NULL, NULL);
}

/* Takes nothing over; @host may be NULL. */
static JsonNode *examine_host(ColoHost *host, const char *uri,
                              const char *problem, const char *domain)
{
    g_auto(ColoHostInfo) info = {};
    g_autoptr(GError) error = NULL;

    if (!host || !colo_host_info(host, &info, &error)) {
        return colo_json("s:uri", uri, "s:problem",
                         error ? error->message : problem, NULL);
    }
    return colo_json("s:uri", info.uri, "s:libvirt", info.version,
                     "i:free-bytes", (int64_t)info.free_bytes,
                     "s:processor", info.cpu,
                     "o:domain", domain ? examine_domain(host, domain) : NULL,
                     NULL);
}

static JsonNode *journals(void)
{
    g_autoptr(GPtrArray) uuids = colo_journal_file_list();
    JsonNode *list = colo_json_list();
    unsigned i, j;

    for (i = 0; i < uuids->len; i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(ColoJournalFile) file = colo_journal_file_open(
            g_ptr_array_index(uuids, i), &error);
        ColoJournal *journal = file ? colo_journal_file_get(file) : NULL;
        GString *text = g_string_new(error ? error->message : "");

        for (j = 0; journal && j < journal->undos->len; j++) {
            g_autofree char *line = colo_journal_line(
                g_ptr_array_index(journal->undos, j));

            g_string_append(text, line);
        }
        json_array_add_string_element(json_node_get_array(list), text->str);
        g_string_free(text, TRUE);
    }
    return list;
}

static JsonNode *examine(const ColoOptions *o, GError **error)
{
    g_auto(ColoBoth) both = {};
    g_autoptr(ColoHost) alone = NULL;
    JsonNode *list = colo_json_list();
    JsonArray *hosts = json_node_get_array(list);

    if (o->domain && colo_both_open(&both, o, error)) {
        json_array_add_element(hosts, examine_host(both.here, o->from, NULL,
                                                   both.uuid));
        json_array_add_element(hosts, examine_host(both.peer, both.peer_uri,
                                                   both.why_not, both.uuid));
    } else if (!o->domain) {
        alone = colo_open(o->from, error);
        json_array_add_element(hosts, examine_host(
            alone, o->from, error && *error ? (*error)->message : NULL,
            NULL));
    }
    return colo_json("s:colo", COLO_VERSION, "s:domain", o->domain,
                     "o:hosts", list, "o:journals", journals(), NULL);
}

bool colo_doctor(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_autofree char *text = NULL;

    *result = examine(o, error);
    if (!o->json) {
        text = colo_json_text(*result, true);
        puts(text);
    }
    return !error || !*error;
}

/* ---------------------------------------------------------------- logs */

/*
 * libvirt does not hand out the logs of its domains, so they are read where
 * they lie: on this host.
 */
static char *log_path(const char *name)
{
    const char *told = g_getenv("COLO_LOG_DIR");
    g_autofree char *file = g_strconcat(name, ".log", NULL);

    return g_build_filename(told ? told : "/var/log/libvirt/qemu", file,
                            NULL);
}

static void print_log(const ColoOptions *o, const char *name)
{
    g_autofree char *path = log_path(name);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned i;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        colo_say(o, "%s: not to be read on this host", path);
        return;
    }
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i]; i++) {
        if (strcasestr(lines[i], "colo") || strstr(lines[i], "error") ||
            strstr(lines[i], "starting up") ||
            strstr(lines[i], "shutting down")) {
            colo_say(o, "%s", lines[i]);
        }
    }
}

static void print_side(const ColoOptions *o, ColoHost *host,
                       const char *place, const char *domain)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ColoReport) report = host
        ? colo_live_report(host, domain, NULL, &error) : NULL;

    if (report) {
        colo_say(o, "%s: now %s in epoch %" PRIu64 "%s%s", place,
                 colo_phase_name(report->phase), report->epoch,
                 *report->reason ? ": " : "", report->reason);
    } else if (error) {
        colo_say(o, "%s: %s", place, error->message);
    }
}

static void print_event(const ColoOptions *o, const ColoBoth *both,
                        const ColoHostEvent *event)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%F %T");
    g_autofree char *data = event->data ? colo_json_text(event->data, false)
                                        : NULL;
    const char *place = event->host == both->here ? "here" : "peer";

    switch (event->kind) {
    case COLO_EVENT_MONITOR:
        if (g_str_has_prefix(event->name, "COLO") ||
            g_str_has_prefix(event->name, "BLOCK_JOB") ||
            !strcmp(event->name, "MIGRATION")) {
            colo_say(o, "%s %s: %s %s", time, place, event->name,
                     data ? data : "");
        }
        break;
    case COLO_EVENT_STOPPED:
        colo_say(o, "%s %s: the process %s", time, place,
                 event->is_crash ? "has died" : "was ended");
        break;
    case COLO_EVENT_STARTED:
        colo_say(o, "%s %s: started", time, place);
        break;
    case COLO_EVENT_CLOSED:
        colo_say(o, "%s %s: libvirt closed the connection", time, place);
        break;
    default:
        break;
    }
}

static bool follow(const ColoOptions *o, ColoBoth *both, const char *name,
                   GError **error)
{
    if (!colo_host_watch(both->here, error) ||
        (both->peer && !colo_host_watch(both->peer, error))) {
        return false;
    }
    while (!colo_cancel_asked()) {
        g_autoptr(ColoHostEvent) event = colo_host_wait(both->here, WAIT_MS);

        if (event && (!event->domain || !strcmp(event->domain, name))) {
            print_event(o, both, event);
        }
        if (event && event->kind == COLO_EVENT_CLOSED) {
            break;
        }
    }
    return true;
}

bool colo_logs(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_auto(ColoBoth) both = {};
    g_auto(ColoDomStatus) status = {};

    if (!colo_both_open(&both, o, error) ||
        !colo_host_status(both.here, both.uuid, &status, error)) {
        colo_error_what(error, "The logs of '%s' cannot be shown",
                        o->domain);
        return false;
    }
    print_log(o, status.name);
    print_side(o, both.here, "here", both.uuid);
    print_side(o, both.peer, "peer", both.uuid);
    return !o->watch || follow(o, &both, status.name, error);
}
