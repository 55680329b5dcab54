/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo unprotect, checkpoint, set and repair.
 */
#include "command.h"
#include "error.h"
#include "journal-file.h"
#include "live.h"
#include "takeover.h"
#include "undo-run.h"
#include "undo-spare.h"
#include "units.h"

/* ----------------------------------------------------------- unprotect */

static ColoUndo *add(GPtrArray *undos, ColoUndoKind kind, bool at_peer)
{
    ColoUndo *undo = colo_undo_new(kind, at_peer, NULL);

    g_ptr_array_add(undos, undo);
    return undo;
}

/* What a pair consists of, in the order in which it was put together. */
static GPtrArray *parts_of(const ColoPair *pair, bool has_peer)
{
    GPtrArray *undos = g_ptr_array_new_with_free_func(
        (GDestroyNotify)colo_undo_free);
    ColoUndo *parameters;

    if (pair->is_autostarted) {
        add(undos, COLO_UNDO_AUTOSTART, false);
    }
    if (has_peer) {
        add(undos, COLO_UNDO_PAIR, true);
        add(undos, COLO_UNDO_DOMAIN, true);
    }
    parameters = add(undos, COLO_UNDO_PARAMETERS, false);
    if (pair->parameters) {
        parameters->data = colo_json_parse(pair->parameters, NULL);
    }
    add(undos, COLO_UNDO_COLO, false);
    add(undos, COLO_UNDO_PROTECTION, false);
    return undos;
}

/* The metadata goes last: with it the command can be given again. */
static bool take_apart(const ColoScene *scene, const ColoPair *pair,
                       GError **error)
{
    g_autoptr(GPtrArray) undos = parts_of(pair, scene->to);
    g_autoptr(ColoUndo) metadata = colo_undo_new(COLO_UNDO_PAIR, false, NULL);

    return colo_undo_run_all(scene, undos, error) &&
           colo_undo_run(scene, metadata, error);
}

static bool end_both(ColoBoth *both, GError **error)
{
    bool is_swapped = both->pair && (both->pair->role == COLO_ROLE_SECONDARY ||
                                     both->pair->role == COLO_ROLE_STALE);
    const ColoScene scene = {
        .from = is_swapped ? both->peer : both->here,
        .to = is_swapped ? both->here : both->peer,
        .domain = both->uuid,
        .session = both->pair ? both->pair->session : NULL,
    };

    if (!both->pair) {
        colo_error_set(error, COLO_EXIT_FAILED, "It is not protected");
        return false;
    }
    if (!scene.from) {
        colo_error_set(error, COLO_EXIT_CONNECT,
                       "The host of the primary cannot be reached: %s",
                       both->why_not);
        return false;
    }
    return take_apart(&scene, both->pair, error);
}

bool colo_unprotect(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_auto(ColoBoth) both = {};

    if (!colo_both_open(&both, o, error) ||
        !colo_host_watch(both.here, error) ||
        (both.peer && !colo_host_watch(both.peer, error)) ||
        !end_both(&both, error)) {
        colo_error_what(error, "The protection of '%s' is not ended",
                        o->domain);
        return false;
    }
    *result = colo_json("s:domain", o->domain, "s:state", "off", NULL);
    colo_say(o, "Domain '%s' is not protected any more", o->domain);
    return true;
}

/* ---------------------------------------------------------- checkpoint */

static ColoHost *primary_of(ColoBoth *both, GError **error)
{
    bool is_there = both->pair && both->pair->role == COLO_ROLE_SECONDARY;
    ColoHost *host = is_there ? both->peer : both->here;

    if (!host) {
        colo_error_set(error, COLO_EXIT_CONNECT,
                       "The host of the primary cannot be reached: %s",
                       both->why_not);
    }
    return host;
}

bool colo_checkpoint(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_auto(ColoBoth) both = {};
    g_autoptr(ColoReport) report = NULL;
    ColoHost *host = colo_both_open(&both, o, error)
                     ? primary_of(&both, error) : NULL;
    g_autofree char *pause = NULL;

    if (!host || !colo_host_run(host, both.uuid,
                                colo_command("colo-checkpoint"), error)) {
        colo_error_what(error, "No checkpoint of '%s' was taken", o->domain);
        return false;
    }
    report = colo_live_report(host, both.uuid, NULL, error);
    if (!report) {
        return false;
    }
    pause = colo_units_us(report->pause_last_us);
    *result = colo_json("s:domain", o->domain,
                        "i:epoch", (int64_t)report->epoch,
                        "i:pause-us", (int64_t)report->pause_last_us, NULL);
    colo_say(o, "Checkpoint %" PRIu64 " of '%s': the guest stood still for "
             "%s", report->epoch, o->domain, pause);
    return true;
}

/* ----------------------------------------------------------------- set */

static JsonNode *limits_of(const ColoOptions *o, uint64_t buffer_bytes)
{
    const struct {
        const char *name;
        int value;
    } limits[] = {
        { "step-limit", o->step_limit_ms },
        { "checkpoint-limit", o->checkpoint_limit_ms },
        { "heartbeat", o->heartbeat_ms },
        { "min-gap", o->min_gap_ms },
        { "mismatch-gap", o->mismatch_gap_ms },
    };
    JsonNode *node = colo_json(NULL, NULL);
    JsonObject *object = json_node_get_object(node);
    unsigned i;

    for (i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (limits[i].value >= 0) {
            json_object_set_int_member(object, limits[i].name,
                                       limits[i].value);
        }
    }
    if (o->memory_buffer) {
        json_object_set_int_member(object, "staging-limit", buffer_bytes);
    }
    return node;
}

/* Both sides have the same, or one calls lost what the other waits for. */
static bool set_limits(ColoBoth *both, JsonNode *limits, GError **error)
{
    return colo_host_run(both->here, both->uuid, colo_json_command(
               "colo-set-parameters", json_node_copy(limits)), error) &&
           (!both->peer ||
            colo_host_run(both->peer, both->uuid, colo_json_command(
                "colo-set-parameters", json_node_copy(limits)), error));
}

static void tell_limits(const ColoOptions *o, JsonNode *limits,
                        JsonNode **result)
{
    JsonObject *object = json_node_get_object(limits);
    g_autoptr(GString) text = g_string_new(NULL);
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;

    if (o->interval_ms >= 0) {
        json_object_set_int_member(object, "interval", o->interval_ms);
    }
    json_object_iter_init_ordered(&iter, object);
    while (json_object_iter_next_ordered(&iter, &name, &value)) {
        g_string_append_printf(text, "%s%s %" G_GINT64_FORMAT "%s",
                               text->len ? ", " : "", name,
                               json_node_get_int(value),
                               strcmp(name, "staging-limit") ? " ms"
                                                             : " bytes");
    }
    colo_say(o, "Domain '%s': %s", o->domain, text->str);
    *result = colo_json("s:domain", o->domain,
                        "o:set", json_node_copy(limits), NULL);
}

bool colo_set(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_auto(ColoBoth) both = {};
    g_autoptr(JsonNode) limits = NULL;
    uint64_t buffer_bytes = 0;
    ColoHost *primary;
    bool ok;

    if (o->memory_buffer && !colo_units_parse_bytes(o->memory_buffer,
                                                    &buffer_bytes, error)) {
        return false;
    }
    limits = limits_of(o, buffer_bytes);
    ok = json_object_get_size(json_node_get_object(limits));
    if (!ok && o->interval_ms < 0) {
        colo_error_set(error, COLO_EXIT_USAGE,
                       "Nothing to set; see colo help set");
        return false;
    }
    primary = colo_both_open(&both, o, error) ? primary_of(&both, error)
                                              : NULL;
    ok = primary && (!ok || set_limits(&both, limits, error)) &&
         (o->interval_ms < 0 ||
          colo_host_run(primary, both.uuid,
                        colo_command_interval(o->interval_ms), error));
    if (!ok) {
        colo_error_what(error, "The limits of '%s' are not set", o->domain);
        return false;
    }
    tell_limits(o, limits, result);
    return true;
}

/* -------------------------------------------------------------- repair */

static bool repair_one(const ColoOptions *o, const char *uuid,
                       GError **error)
{
    g_autoptr(ColoJournalFile) file = colo_journal_file_open(uuid, error);
    g_autoptr(ColoHost) from = NULL;
    g_autoptr(ColoHost) to = NULL;
    ColoJournal *journal;
    ColoScene scene;
    bool is_over;

    if (!file) {
        return !error || !*error;
    }
    journal = colo_journal_file_get(file);
    colo_say(o, "Undoing 'colo %s %s', begun at %s", journal->command,
             journal->domain, journal->started ? journal->started : "?");
    from = colo_open(journal->from, error);
    if (!from) {
        return false;
    }
    to = journal->to ? colo_open(journal->to, NULL) : NULL;
    scene = (ColoScene) {
        .from = from, .to = to, .domain = uuid, .session = journal->session,
    };
    if (!colo_host_watch(from, error) ||
        (to && !colo_host_watch(to, error)) ||
        !colo_spare_is_over(&scene, &is_over, error) ||
        (!is_over && !colo_undo_run_all(&scene, journal->undos, error))) {
        colo_error_what(error, "'%s' cannot be repaired", journal->domain);
        return false;
    }
    if (is_over) {
        colo_say(o, "The guest has gone on at %s: nothing is left to undo",
                 journal->to);
    }
    colo_journal_file_finish(file);
    return true;
}

static bool is_meant(const ColoOptions *o, const char *uuid)
{
    g_autoptr(ColoJournalFile) file = NULL;

    if (!o->domain || !g_ascii_strcasecmp(o->domain, uuid)) {
        return true;
    }
    file = colo_journal_file_open(uuid, NULL);
    /* One that cannot be read might be meant; it is told of. */
    return !file || !strcmp(colo_journal_file_get(file)->domain, o->domain);
}

bool colo_repair(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_autoptr(GPtrArray) uuids = colo_journal_file_list();
    unsigned count = 0;
    unsigned i;

    for (i = 0; i < uuids->len; i++) {
        const char *uuid = g_ptr_array_index(uuids, i);

        if (is_meant(o, uuid)) {
            if (!repair_one(o, uuid, error)) {
                return false;
            }
            count++;
        }
    }
    *result = colo_json("i:repaired", (int64_t)count, NULL);
    if (!count) {
        colo_say(o, "There is nothing to repair.");
    }
    return true;
}
