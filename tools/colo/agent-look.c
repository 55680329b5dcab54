/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo agent: what it looks at by itself, since events may be lost.
 */
#include "agent-int.h"
#include "live.h"

/* -------------------------------------------------------------- domains */

/*
 * The process there is dead if its libvirt says so, not if nobody answers. A
 * transient domain is forgotten with its end; if that happened before our
 * eyes, an event tells why.
 */
static void look_at_peer(ColoAgent *a, AgentGuard *guard)
{
    ColoHost *host = colo_agent_host(a, guard, THERE);
    ColoGuardSide *side = &guard->sides[THERE];
    g_auto(ColoDomStatus) status = {};

    if (side->is_dead || side->was_ended || !host ||
        !colo_host_find(host, guard->domain, &status, NULL)) {
        return;
    }
    if (status.state == COLO_DOM_ABSENT) {
        side->is_dead = !guard->was_seen_there;
    } else if (status.state == COLO_DOM_OFF) {
        side->is_dead = status.is_crashed;
        side->was_ended = !status.is_crashed;
    }
}

/* So that its end will be told, and why. */
static void see_peer(ColoAgent *a, AgentGuard *guard)
{
    ColoHost *host = colo_agent_host(a, guard, THERE);

    if (!guard->was_seen_there && host) {
        ColoDomState state = colo_host_state(host, guard->domain);

        guard->was_seen_there = state == COLO_DOM_RUNNING ||
                                state == COLO_DOM_PAUSED;
    }
}

/* It may have gone on after a user's word while we could not see it. */
static void look_at_peer_role(ColoAgent *a, AgentGuard *guard)
{
    ColoHost *host = colo_agent_host(a, guard, THERE);
    g_autoptr(ColoPair) pair =
        host ? colo_host_pair(host, guard->domain, NULL) : NULL;

    if (pair && pair->role == COLO_ROLE_SURVIVOR) {
        guard->sides[THERE].has_gone_on = true;
    }
}

static AgentGuard *guard_new(ColoAgent *a, const char *domain,
                             const ColoPair *pair)
{
    AgentGuard *guard = g_new0(AgentGuard, 1);
    bool is_watched = colo_host_watch_process(a->here, domain, NULL);

    guard->domain = g_strdup(domain);
    g_hash_table_insert(a->guards, guard->domain, guard);
    colo_agent_tell(a, domain, "looked after as %s, peer at %s%s",
                    colo_role_name(pair->role), pair->peer,
                    is_watched ? "; its process is watched" : "");
    return guard;
}

AgentGuard *colo_agent_guard(ColoAgent *a, const char *domain)
{
    g_autoptr(ColoPair) pair = colo_host_pair(a->here, domain, NULL);
    AgentGuard *guard = g_hash_table_lookup(a->guards, domain);

    if (guard && guard->stage != STAGE_WATCH &&
        guard->stage != STAGE_SETTLED) {
        return guard;
    }
    if (!pair || !pair->peer || (pair->role != COLO_ROLE_PRIMARY &&
                                 pair->role != COLO_ROLE_SECONDARY)) {
        if (guard) {
            g_hash_table_remove(a->guards, domain);
        }
        return NULL;
    }
    if (!guard) {
        guard = guard_new(a, domain, pair);
    }
    g_free(guard->peer_uri);
    guard->peer_uri = g_strdup(pair->peer);
    guard->is_primary = pair->role == COLO_ROLE_PRIMARY;
    colo_peers_host(a->peers, pair->peer);
    colo_agent_look(a, guard, HERE);
    return guard;
}

/* ------------------------------------------------------ one after another */

/*
 * Its process has died here, so the survivor is there. True if another agent
 * or a user was quicker, or if there is none.
 */
static bool is_over(ColoAgent *a, AgentGuard *guard)
{
    ColoHost *host = colo_agent_host(a, guard, THERE);
    g_auto(ColoDomStatus) status = {};

    if (!host || !colo_host_find(host, guard->domain, &status, NULL)) {
        return false;
    }
    if (status.state == COLO_DOM_ABSENT || status.state == COLO_DOM_OFF) {
        return true;
    }
    colo_agent_look(a, guard, THERE);
    return guard->sides[THERE].has_gone_on;
}

/*
 * A secondary that is alone has taken over, and whoever did that did not
 * tidy up: it died, or could not. Seen for the second time, since somebody
 * may just be at it. Of a primary it cannot be told: a survivor that is
 * being protected again looks the same.
 */
static void look_for_untidy(ColoAgent *a, AgentGuard *guard)
{
    bool is_untidy = !guard->is_primary && guard->sides[HERE].has_gone_on &&
                     (guard->stage == STAGE_WATCH ||
                      guard->stage == STAGE_SETTLED);

    if (is_untidy && guard->was_untidy) {
        guard->survivor = HERE;
        guard->stage = STAGE_RUNS;
        colo_agent_tell(a, guard->domain, "has gone on here, and was not "
                        "tidied up");
    }
    guard->was_untidy = is_untidy;
}

static void look_at_guard(ColoAgent *a, AgentGuard *guard)
{
    guard->waits_for_look = false;
    if (guard->stage == STAGE_WATCH && guard->sides[HERE].is_dead &&
        is_over(a, guard)) {
        g_hash_table_remove(a->guards, guard->domain);
        return;
    }
    see_peer(a, guard);
    look_for_untidy(a, guard);
    if (guard->sides[HERE].is_lost ||
        (guard->stage == STAGE_RUNS && guard->survivor == HERE)) {
        look_at_peer(a, guard);
        look_at_peer_role(a, guard);
    }
    if (guard->stage == STAGE_ASKED) {
        colo_agent_look(a, guard, guard->survivor);
    }
    colo_agent_act(a, guard);
}

/* Domains may have begun to be protected unseen, events may be lost. */
void colo_agent_look_around(ColoAgent *a)
{
    g_autoptr(GPtrArray) names = colo_host_domains(a->here, NULL);
    g_autoptr(GList) guards = NULL;
    GList *at;
    unsigned i;

    for (i = 0; names && i < names->len; i++) {
        colo_agent_guard(a, g_ptr_array_index(names, i));
    }
    guards = g_hash_table_get_values(a->guards);
    for (at = guards; at; at = at->next) {
        look_at_guard(a, at->data);
    }
}
