/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo agent: what it does about one domain.
 *
 * All that is known of both sides comes together here, and what follows from
 * it is done: the survivor is told, then libvirt, and when the dead side is
 * known to be gone, what is left of the pair is taken away.
 */
#include <stdio.h>
#include "agent-int.h"
#include "command.h"
#include "error.h"
#include "live.h"
#include "takeover.h"

void colo_agent_tell(const ColoAgent *a, const char *domain,
                     const char *format, ...)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%FT%T.%fZ");
    g_autofree char *text = NULL;
    va_list args;

    if (a->options->quiet) {
        return;
    }
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    if (a->options->json) {
        g_autoptr(JsonNode) node = colo_json("s:time", time, "s:domain",
                                             domain, "s:text", text, NULL);
        g_autofree char *line = colo_json_text(node, false);

        puts(line);
    } else {
        printf("%s %s%s%s\n", time, domain ? domain : "",
               domain ? ": " : "", text);
    }
    fflush(stdout);
}

ColoHost *colo_agent_host(ColoAgent *a, const AgentGuard *guard,
                          AgentPlace place)
{
    return place == HERE ? a->here
                         : colo_peers_host(a->peers, guard->peer_uri);
}

char *colo_agent_place(const AgentGuard *guard, AgentPlace place)
{
    return place == HERE ? g_strdup("here")
                         : g_strconcat("at ", guard->peer_uri, NULL);
}

void colo_agent_note(AgentGuard *guard, AgentPlace place, const char *state,
                     const char *cause, int64_t now_ms)
{
    bool was_whole = !guard->sides[place].is_lost &&
                     !guard->sides[place].has_gone_on;

    colo_guard_note(&guard->sides[place], state, cause, now_ms);
    if (colo_guard_is_whole(state) && !was_whole) {
        /* Protected again; who died then is back. */
        guard->sides[!place] = (ColoGuardSide) {};
        guard->stage = STAGE_WATCH;
    }
}

bool colo_agent_look(ColoAgent *a, AgentGuard *guard, AgentPlace place)
{
    ColoHost *host = colo_agent_host(a, guard, place);
    g_autoptr(ColoReport) report =
        host ? colo_live_report(host, guard->domain, NULL, NULL) : NULL;

    if (report) {
        colo_agent_note(guard, place, colo_phase_name(report->phase),
                        report->cause, 0);
    }
    return report;
}

/* ------------------------------------------------------- going on alone */

/* At the next look; each would say the same. */
static void try_again(ColoAgent *a, AgentGuard *guard, const char *what,
                      const GError *error)
{
    g_autofree char *text = colo_error_text(error);

    guard->waits_for_look = true;
    if (!guard->has_complained) {
        colo_agent_tell(a, guard->domain, "%s: %s", what, g_strchomp(text));
        guard->has_complained = true;
    }
}

static void go_on(ColoAgent *a, AgentGuard *guard, AgentPlace survivor)
{
    ColoHost *host = colo_agent_host(a, guard, survivor);
    bool is_primary = guard->is_primary == (survivor == HERE);
    g_autoptr(GError) error = NULL;

    if (!host || guard->waits_for_look) {
        return;
    }
    guard->survivor = survivor;
    guard->asked_us = g_get_monotonic_time();
    guard->stage = STAGE_ASKED;
    if (colo_takeover_begin(host, guard->domain, is_primary, &error)) {
        return;
    }
    colo_agent_look(a, guard, survivor);
    if (guard->sides[survivor].has_gone_on) {
        guard->stage = STAGE_SETTLED;
        colo_agent_tell(a, guard->domain, "somebody else was quicker");
        return;
    }
    /* The guest stands still until somebody succeeds. */
    guard->stage = STAGE_WATCH;
    try_again(a, guard, "cannot take over", error);
}

/* QEMU has said that it is alone. */
static void end_takeover(ColoAgent *a, AgentGuard *guard)
{
    g_autofree char *where = colo_agent_place(guard, guard->survivor);
    double ms = (g_get_monotonic_time() - guard->asked_us) / 1000.0;
    g_autoptr(GError) error = NULL;

    colo_agent_tell(a, guard->domain, "took over %s within %.1f ms", where, ms);
    guard->stage = STAGE_RUNS;
    if (!colo_takeover_end(colo_agent_host(a, guard, guard->survivor),
                           guard->domain, &error)) {
        colo_agent_tell(a, guard->domain, "libvirt cannot be told: %s",
                        error->message);
    }
}

/*
 * The libvirt of the other side knows by now that its domain has ended.
 * @guard is gone if that is done.
 */
static void tidy(ColoAgent *a, AgentGuard *guard)
{
    g_autoptr(GError) error = NULL;

    if (!colo_takeover_tidy(colo_agent_host(a, guard, guard->survivor),
                            colo_agent_host(a, guard, !guard->survivor),
                            guard->domain, &error)) {
        try_again(a, guard, "could not be tidied up", error);
        return;
    }
    colo_agent_tell(a, guard->domain, "is an ordinary domain again");
    a->takeover_count++;
    g_hash_table_remove(a->guards, guard->domain);
}

/* What QEMU used may be taken away. */
static bool is_released(ColoAgent *a, AgentGuard *guard)
{
    ColoHost *host = colo_agent_host(a, guard, guard->survivor);

    return host && colo_live_is_released(host, guard->domain);
}

static void take_advice(ColoAgent *a, AgentGuard *guard)
{
    AgentPlace place;

    for (place = HERE; place < PLACES && guard->stage == STAGE_WATCH;
         place++) {
        switch (colo_guard_advise(&guard->sides[place],
                                  &guard->sides[!place])) {
        case COLO_GUARD_GO_ON:
            go_on(a, guard, place);
            break;
        case COLO_GUARD_ASK_USER:
            colo_agent_tell(a, guard->domain, "its peer was ended on "
                            "purpose; colo failover goes on with it, virsh "
                            "destroy ends it");
            guard->stage = STAGE_SETTLED;
            break;
        default:
            break;
        }
    }
}

void colo_agent_act(ColoAgent *a, AgentGuard *guard)
{
    const ColoGuardSide *survivor, *other;

    take_advice(a, guard);
    survivor = &guard->sides[guard->survivor];
    other = &guard->sides[!guard->survivor];
    if (guard->stage == STAGE_ASKED && survivor->has_gone_on &&
        colo_agent_host(a, guard, guard->survivor)) {
        end_takeover(a, guard);
    }
    if (guard->stage == STAGE_RUNS && !guard->waits_for_look &&
        (other->is_dead || other->was_ended) && is_released(a, guard)) {
        tidy(a, guard);
    }
}
