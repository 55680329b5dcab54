/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo status: one answer for each domain, and what to do next.
 */
#include <stdio.h>
#include "cancel.h"
#include "command.h"
#include "error.h"
#include "live.h"
#include "side.h"
#include "units.h"

enum { LOOK_LIMIT_MS = 3000, WATCH_MS = 1000 };

/* ---------------------------------------------------------------- JSON */

static JsonNode *side_json(const ColoSide *side)
{
    static const char *const reaches[] = {
        "fine", "unknown", "no-host", "no-domain", "silent",
    };
    static const char *const states[] = {
        "absent", "off", "running", "paused",
    };

    JsonNode *node = colo_json(
        "s:uri", side->uri, "s:host", side->host,
        "s:reach", reaches[side->reach], "s:domain", states[side->state],
        "s:problem", side->problem,
        "s:role", side->pair ? colo_role_name(side->pair->role) : NULL,
        "s:peer", side->pair ? side->pair->peer : NULL,
        "s:since", side->pair ? side->pair->since : NULL,
        "o:colo", side->raw ? json_node_copy(side->raw) : NULL, NULL);

    /* Of a secondary nobody asks for them. */
    if (side->guest_bytes) {
        JsonObject *object = json_node_get_object(node);

        json_object_set_int_member(object, "interval-ms", side->interval_ms);
        json_object_set_int_member(object, "guest-bytes", side->guest_bytes);
    }
    return node;
}

static JsonNode *view_json(const ColoView *view)
{
    const ColoVerdict *v = &view->verdict;
    g_autofree char *text = colo_verdict_text(v);
    JsonNode *node = colo_json(
        "s:domain", view->domain, "s:uuid", view->uuid,
        "b:protected", v->is_protected,
        "s:status", text, "s:word", colo_word_text(v->word),
        "s:detail", v->detail, "s:remedy", v->remedy,
        "o:here", side_json(&view->here), "o:peer", side_json(&view->peer),
        NULL);

    if (v->percent >= 0) {
        json_object_set_int_member(json_node_get_object(node), "percent",
                                   v->percent);
    }
    return node;
}

/* ---------------------------------------------------------------- text */

static void say_line(const ColoOptions *o, const char *name, char *value)
{
    g_autofree char *owned = value;

    colo_say(o, "  %-12s %s", name, owned);
}

static char *place(const ColoSide *side)
{
    const char *uri = side->uri ? side->uri : "here";

    return side->host ? g_strdup_printf("%s (%s)", side->host, uri)
                      : g_strdup(uri);
}

static char *since(const ColoPair *pair)
{
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) then = g_date_time_new_from_iso8601(pair->since,
                                                             utc);
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *span = NULL;

    if (!then) {
        return g_strdup(pair->since);
    }
    span = colo_units_span(g_date_time_difference(now, then) /
                           G_TIME_SPAN_SECOND);
    return g_strdup_printf("%s (%s)", pair->since, span);
}

static char *reasons(const ColoReport *r)
{
    GString *text = g_string_new(NULL);
    unsigned i;

    for (i = 0; i < COLO_REPORT_REASONS; i++) {
        if (r->reason_counts[i]) {
            g_string_append_printf(text, "%s%s %" PRIu64,
                                   text->len ? ", " : "",
                                   colo_report_reasons[i],
                                   r->reason_counts[i]);
        }
    }
    return g_string_free(text, FALSE);
}

static void say_numbers(const ColoOptions *o, const ColoSide *p,
                        const ColoSide *s)
{
    const ColoReport *r = p->report;
    g_autofree char *why = reasons(r);
    g_autofree char *last = colo_units_us(r->pause_last_us);
    g_autofree char *mean = colo_units_us(r->pause_mean_us);
    g_autofree char *max = colo_units_us(r->pause_max_us);
    g_autofree char *hold = colo_units_us(r->longest_hold_us);
    g_autofree char *bytes = colo_units_bytes(r->sent_bytes);
    g_autofree char *total = colo_units_bytes(r->total_sent_bytes);
    g_autofree char *guest = colo_units_bytes(p->guest_bytes);

    say_line(o, "checkpoints", g_strdup_printf(
        "%" PRIu64 ", one each %" PRIu64 " ms at least (%s)",
        r->checkpoint_count, p->interval_ms, why));
    say_line(o, "pause", g_strdup_printf("last %s, mean %s, longest %s",
                                         last, mean, max));
    say_line(o, "sent", g_strdup_printf(
        "last %s (%" PRIu64 " pages), in all %s", bytes, r->dirty_pages,
        total));
    say_line(o, "output", g_strdup_printf(
        "%" PRIu64 " frames held, longest hold %s%s", r->held_frames, hold,
        r->is_hybrid ? ", leaves at checkpoints only" : ""));
    if (s && s->report) {
        g_autofree char *peak = colo_units_bytes(
            s->report->staging_peak_bytes);

        say_line(o, "memory", g_strdup_printf(
            "guest %s, beside it at most %s there", guest, peak));
    }
}

static void say_view(const ColoOptions *o, const ColoView *view)
{
    const ColoVerdict *v = &view->verdict;
    g_autofree char *text = colo_verdict_text(v);
    const ColoSide *p = v->primary;

    colo_say(o, "%s: %s%s%s", view->domain, text, v->detail ? ": " : "",
             v->detail ? v->detail : "");
    if (p && p->pair && p->report) {
        say_line(o, "primary", place(p));
        say_line(o, "secondary", place(v->secondary));
        if (p->pair->since) {
            say_line(o, "since", since(p->pair));
        }
        if (v->is_protected) {
            say_numbers(o, p, v->secondary);
        }
    }
    if (v->remedy) {
        say_line(o, "to do", g_strdup(v->remedy));
    }
}

/* ----------------------------------------------------------- the whole */

/* Domains that remember to have been protected. */
static GPtrArray *names_to_look_at(const ColoOptions *o, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) all = NULL;
    g_autoptr(ColoHost) host = NULL;
    unsigned i;

    if (o->domain) {
        g_ptr_array_add(names, g_strdup(o->domain));
        return g_steal_pointer(&names);
    }
    host = colo_open(o->from, error);
    all = host ? colo_host_domains(host, error) : NULL;
    if (!all) {
        return NULL;
    }
    for (i = 0; i < all->len; i++) {
        const char *name = g_ptr_array_index(all, i);
        g_autoptr(ColoPair) pair = colo_host_pair(host, name, NULL);

        if (pair) {
            g_ptr_array_add(names, g_strdup(name));
        }
    }
    return g_steal_pointer(&names);
}

static bool look_once(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_autoptr(GPtrArray) names = names_to_look_at(o, error);
    g_autoptr(JsonNode) list = colo_json_list();
    unsigned i;

    for (i = 0; names && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autoptr(ColoView) view = colo_view_new(o->from, o->to, name,
                                                 LOOK_LIMIT_MS, error);

        if (!view) {
            colo_error_what(error, "The status of '%s' cannot be told",
                            name);
            return false;
        }
        say_view(o, view);
        json_array_add_element(json_node_get_array(list), view_json(view));
    }
    if (names && !names->len) {
        colo_say(o, "No domain here is, or was, protected.");
    }
    if (names) {
        *result = o->domain
                  ? json_node_copy(colo_json_element(list, "", 0))
                  : colo_json("o:domains", g_steal_pointer(&list), NULL);
    }
    return names;
}

bool colo_status(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_autoptr(ColoHost) clock = NULL;

    if (!o->watch) {
        return look_once(o, result, error);
    }
    clock = colo_open(o->from, error);
    if (!clock || !colo_host_watch(clock, error)) {
        return false;
    }
    while (!colo_cancel_asked()) {
        if (!look_once(o, result, error)) {
            return false;
        }
        if (o->json) {
            g_autofree char *text = colo_json_text(*result, false);

            puts(text);
            fflush(stdout);
        }
        g_clear_pointer(result, json_node_unref);
        colo_host_event_free(colo_host_wait(clock, WATCH_MS));
    }
    return true;
}
