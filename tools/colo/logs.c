/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo logs: what happened to a domain's protection, and what happens.
 *
 * libvirt does not hand out the logs of its domains, so they are read where
 * they lie: on this host. For the other one the command is told that prints
 * them. What both sides say now, and what they tell later, comes through
 * libvirt.
 */
#include <stdio.h>
#include "address.h"
#include "cancel.h"
#include "command.h"
#include "error.h"
#include "live.h"

enum { WAIT_MS = 1000 };

static char *log_path(const char *name)
{
    const char *told = g_getenv("COLO_LOG_DIR");
    g_autofree char *file = g_strconcat(name, ".log", NULL);

    return g_build_filename(told ? told : "/var/log/libvirt/qemu", file,
                            NULL);
}

static bool is_telling(const char *line)
{
    return strcasestr(line, "colo") || strstr(line, "error") ||
           strstr(line, "starting up") || strstr(line, "shutting down");
}

/* The lines that matter; NULL if there is no log on this host. */
static JsonNode *read_log(const char *path)
{
    JsonNode *list = colo_json_list();
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned i;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        json_node_unref(list);
        return NULL;
    }
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i]; i++) {
        if (is_telling(lines[i])) {
            json_array_add_string_element(json_node_get_array(list),
                                          lines[i]);
        }
    }
    return list;
}

static void say_log(const ColoOptions *o, const char *path, JsonNode *lines)
{
    unsigned i;

    if (!lines) {
        colo_say(o, "%s: not to be read on this host", path);
        return;
    }
    for (i = 0; i < colo_json_count(lines, ""); i++) {
        colo_say(o, "%s",
                 json_node_get_string(colo_json_element(lines, "", i)));
    }
}

/* How to read the other side's. NULL: nobody knows where it is. */
static char *peer_command(const ColoBoth *both, const char *domain)
{
    g_autofree char *file = g_strconcat(domain, ".log", NULL);
    g_autofree char *path = g_build_filename("/var/log/libvirt/qemu", file,
                                             NULL);
    g_autofree char *quoted = g_shell_quote(path);
    g_autofree char *command = g_strconcat("grep -ie colo -e error ", quoted,
                                           NULL);
    g_autofree char *name = both->peer ? colo_host_name(both->peer) : NULL;

    return both->peer_uri
           ? colo_address_shell(both->peer_uri, name, command) : NULL;
}

static JsonNode *side_now(ColoHost *host, const char *domain)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ColoReport) report = host
        ? colo_live_report(host, domain, NULL, &error) : NULL;

    if (!report) {
        return error ? colo_json("s:problem", error->message, NULL) : NULL;
    }
    return colo_json("s:state", colo_phase_name(report->phase),
                     "i:epoch", (int64_t)report->epoch,
                     "s:reason", report->reason, NULL);
}

static void say_side(const ColoOptions *o, const char *place, JsonNode *now)
{
    const char *reason = now ? colo_json_string(now, "reason") : NULL;

    if (!now) {
        return;
    }
    if (colo_json_string(now, "problem")) {
        colo_say(o, "%s: %s", place, colo_json_string(now, "problem"));
        return;
    }
    colo_say(o, "%s: now %s in epoch %" PRId64 "%s%s", place,
             colo_json_string(now, "state"), colo_json_int(now, "epoch"),
             reason && *reason ? ": " : "", reason ? reason : "");
}

/* -------------------------------------------------------------- events */

/* What an event says; NULL if it says nothing of the protection. */
static const char *text_of(const ColoHostEvent *event)
{
    switch (event->kind) {
    case COLO_EVENT_MONITOR:
        return g_str_has_prefix(event->name, "COLO") ||
               g_str_has_prefix(event->name, "BLOCK_JOB") ||
               !strcmp(event->name, "MIGRATION") ? event->name : NULL;
    case COLO_EVENT_STOPPED:
        return event->is_crash ? "the process has died"
                               : "the process was ended";
    case COLO_EVENT_STARTED:
        return "started";
    case COLO_EVENT_CLOSED:
        return "libvirt closed the connection";
    default:
        return NULL;
    }
}

static void tell_event(const ColoOptions *o, const char *place,
                       const ColoHostEvent *event)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%F %T");
    const char *text = text_of(event);
    g_autoptr(JsonNode) node = NULL;
    g_autofree char *line = NULL;

    if (!text) {
        return;
    }
    if (!o->json) {
        g_autofree char *data = event->data
            ? colo_json_text(event->data, false) : g_strdup("");

        colo_say(o, "%s %s: %s %s", time, place, text, data);
        return;
    }
    node = colo_json("s:time", time, "s:place", place, "s:event", text,
                     "o:data", event->data ? json_node_copy(event->data)
                                           : NULL, NULL);
    line = colo_json_text(node, false);
    puts(line);
    fflush(stdout);
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
            tell_event(o, event->host == both->here ? "here" : "peer",
                       event);
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
    g_autofree char *path = NULL;
    g_autofree char *command = NULL;
    JsonNode *lines, *here, *peer;

    if (!colo_both_open(&both, o, error) ||
        !colo_host_find(both.here, both.uuid, &status, error)) {
        colo_error_what(error, "The logs of '%s' cannot be shown",
                        o->domain);
        return false;
    }
    path = log_path(status.name);
    lines = read_log(path);
    here = side_now(both.here, both.uuid);
    peer = side_now(both.peer, both.uuid);
    command = peer_command(&both, status.name);
    say_log(o, path, lines);
    say_side(o, "here", here);
    say_side(o, "peer", peer);
    if (command) {
        colo_say(o, "the other host's log: %s", command);
    }
    *result = colo_json("s:domain", status.name, "o:lines", lines,
                        "o:here", here, "o:peer", peer,
                        "s:peer-log", command, NULL);
    return !o->watch || follow(o, &both, status.name, error);
}
