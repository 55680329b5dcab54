/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo doctor: what a report of a problem needs.
 *
 * The collection is one JSON document. Passwords are not in it: the XML is
 * asked for without them.
 */
#include <stdio.h>
#include "command.h"
#include "error.h"
#include "journal-file.h"
#include "live.h"
#include "undo.h"

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
