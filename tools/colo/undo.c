/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a command has to take back: the records, and their journal as text.
 */
#include "commands.h"
#include "error.h"
#include "undo.h"

static const struct {
    const char *name;
    const char *text;       /* %s is the record's own text */
} kinds[COLO_UNDO__MAX] = {
    [COLO_UNDO_PAIR] = { "pair", "Restoring the domain's metadata" },
    [COLO_UNDO_AUTOSTART] = { "autostart", "Restoring autostart" },
    [COLO_UNDO_VOLUME] = { "volume", "Deleting the image %s" },
    [COLO_UNDO_DOMAIN] = { "domain", "Ending the secondary" },
    [COLO_UNDO_NODE] = { "node", "Taking the replication of disk %s out" },
    [COLO_UNDO_PARTS] = { "parts", "Disconnecting disks and network cards" },
    [COLO_UNDO_COLO] = { "colo", "Taking COLO out" },
    [COLO_UNDO_PARAMETERS] = { "parameters", "Restoring parameters" },
    [COLO_UNDO_PROTECTION] = { "protection", "Ending the protection" },
};

ColoUndo *colo_undo_new(ColoUndoKind kind, bool at_peer, const char *text)
{
    ColoUndo *undo = g_new0(ColoUndo, 1);

    undo->kind = kind;
    undo->at_peer = at_peer;
    undo->text = g_strdup(text);
    return undo;
}

void colo_undo_free(ColoUndo *undo)
{
    if (!undo) {
        return;
    }
    g_free(undo->text);
    g_clear_pointer(&undo->data, json_node_unref);
    g_free(undo);
}

JsonNode *colo_undo_to_json(const ColoUndo *undo)
{
    return colo_json("s:undo", kinds[undo->kind].name,
                     "b:at-peer", undo->at_peer,
                     "s:text", undo->text,
                     "o:data", undo->data ? json_node_copy(undo->data) : NULL,
                     NULL);
}

ColoUndo *colo_undo_from_json(JsonNode *node, GError **error)
{
    const char *name = colo_json_string(node, "undo");
    ColoUndo *undo;
    unsigned kind;

    for (kind = 0; kind < COLO_UNDO__MAX; kind++) {
        if (!g_strcmp0(name, kinds[kind].name)) {
            break;
        }
    }
    if (kind == COLO_UNDO__MAX) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "It has a record of the unknown kind '%s'",
                       name ? name : "");
        return NULL;
    }
    undo = colo_undo_new(kind, colo_json_bool(node, "at-peer"),
                         colo_json_string(node, "text"));
    if (colo_json_at(node, "data")) {
        undo->data = json_node_copy(colo_json_at(node, "data"));
    }
    return undo;
}

char *colo_undo_text(const ColoUndo *undo)
{
    g_auto(GStrv) parts = g_strsplit(kinds[undo->kind].text, "%s", 2);

    return g_strjoinv(undo->text ? undo->text : "", parts);
}

ColoJournal *colo_journal_new(const char *command, const char *domain,
                              const char *uuid, const char *from,
                              const char *to)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    ColoJournal *journal = g_new0(ColoJournal, 1);

    journal->command = g_strdup(command);
    journal->domain = g_strdup(domain);
    journal->uuid = g_strdup(uuid);
    journal->from = g_strdup(from);
    journal->to = g_strdup(to);
    journal->started = g_date_time_format(now, "%FT%TZ");
    journal->undos = g_ptr_array_new_with_free_func(
        (GDestroyNotify)colo_undo_free);
    return journal;
}

void colo_journal_free(ColoJournal *journal)
{
    if (!journal) {
        return;
    }
    g_free(journal->command);
    g_free(journal->domain);
    g_free(journal->uuid);
    g_free(journal->session);
    g_free(journal->from);
    g_free(journal->to);
    g_free(journal->started);
    g_ptr_array_unref(journal->undos);
    g_free(journal);
}

static char *line_of(JsonNode *node)
{
    g_autoptr(JsonNode) owned = node;
    g_autofree char *text = colo_json_text(owned, false);

    return g_strconcat(text, "\n", NULL);
}

char *colo_journal_head(const ColoJournal *journal)
{
    return line_of(colo_json("s:command", journal->command,
                             "s:domain", journal->domain,
                             "s:uuid", journal->uuid,
                             "s:session", journal->session,
                             "s:from", journal->from,
                             "s:to", journal->to,
                             "s:started", journal->started,
                             "i:pid", journal->pid, NULL));
}

char *colo_journal_line(const ColoUndo *undo)
{
    return line_of(colo_undo_to_json(undo));
}

static ColoJournal *parse_head(const char *line, GError **error)
{
    g_autoptr(JsonNode) node = colo_json_parse(line, error);
    ColoJournal *journal;

    if (!node) {
        return NULL;
    }
    if (!colo_json_string(node, "domain") || !colo_json_string(node, "uuid") ||
        !colo_json_string(node, "command")) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "It does not say which command it belongs to");
        return NULL;
    }
    journal = colo_journal_new(colo_json_string(node, "command"),
                               colo_json_string(node, "domain"),
                               colo_json_string(node, "uuid"),
                               colo_json_string(node, "from"),
                               colo_json_string(node, "to"));
    journal->session = g_strdup(colo_json_string(node, "session"));
    g_free(journal->started);
    journal->started = g_strdup(colo_json_string(node, "started"));
    journal->pid = colo_json_int(node, "pid");
    return journal;
}

static bool parse_line(ColoJournal *journal, const char *line,
                       GError **error)
{
    g_autoptr(JsonNode) node = colo_json_parse(line, error);
    ColoUndo *undo = node ? colo_undo_from_json(node, error) : NULL;

    if (!undo) {
        return false;
    }
    g_ptr_array_add(journal->undos, undo);
    return true;
}

ColoJournal *colo_journal_parse(const char *text, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    unsigned count = g_strv_length(lines);
    g_autoptr(ColoJournal) journal = NULL;
    unsigned i;

    /* What follows the last line end is empty, or half a line. */
    if (count < 2) {
        colo_error_set(error, COLO_EXIT_FAILED, "It is empty");
        return NULL;
    }
    journal = parse_head(lines[0], error);
    for (i = 1; journal && i < count - 1; i++) {
        if (!parse_line(journal, lines[i], error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&journal);
}
