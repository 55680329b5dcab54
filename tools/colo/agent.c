/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo agent: takes over by itself where nothing has to be decided.
 *
 * It watches the domains of one host and, for those that have a peer, the
 * peer's host. When one of both sides says `lost` and the other's process is
 * known to have died by itself, the one goes on alone (guard.h). It never
 * acts on silence: a host that cannot be reached may still run its guest; nor
 * when the other side was ended on purpose.
 *
 * Of a process on its own machine it sees the end at once, of others when
 * their libvirt tells. So with an agent on each host, each is quick about the
 * death of its own side's process, and tells the other side to go on; and the
 * other agent comes later, if it is still needed.
 *
 * Everything happens in one thread, driven by events; only connections are
 * opened in others. Events may be lost, so it also looks by itself now and
 * then; not while something happens, for a libvirt that clears up behind a
 * process holds up who asks about its domain.
 */
#include "agent-int.h"
#include "cancel.h"
#include "command.h"
#include "error.h"
#include "live.h"

enum { TICK_MS = 1000, FAST_TICK_MS = 50, LOOK_MS = 3000, BUSY_MS = 1000 };

/* --------------------------------------------------------------- events */

/*
 * Something happens: what is looked at by itself has time. Not what happened
 * before there was a connection.
 */
static void put_off_looking(ColoAgent *a)
{
    if (a->look_ms) {
        a->look_ms = colo_now_ms() + BUSY_MS;
    }
}

/* The end of its migration says that it has let go of everything. */
static bool is_release(const AgentGuard *guard, const ColoHostEvent *event)
{
    return guard->stage == STAGE_RUNS &&
           event->kind == COLO_EVENT_MONITOR &&
           !strcmp(event->name, "MIGRATION");
}

static bool is_status(const ColoHostEvent *event)
{
    return event->kind == COLO_EVENT_MONITOR &&
           !strcmp(event->name, "COLO_STATUS");
}

static void take_status(ColoAgent *a, AgentGuard *guard, AgentPlace place,
                        const ColoHostEvent *event)
{
    const char *state = colo_json_string(event->data, "state");
    const char *cause = colo_json_string(event->data, "cause");
    g_autofree char *where = colo_agent_place(guard, place);

    put_off_looking(a);
    colo_agent_note(guard, place, state, cause, colo_now_ms());
    colo_agent_tell(a, guard->domain, "%s %s (%s)", state, where, cause);
    colo_agent_act(a, guard);
}

static void take_end(ColoAgent *a, AgentGuard *guard, AgentPlace place,
                     const ColoHostEvent *event)
{
    ColoGuardSide *side = &guard->sides[place];
    g_autofree char *where = colo_agent_place(guard, place);

    put_off_looking(a);
    colo_agent_tell(a, guard->domain, "its process %s %s%s", where,
                    event->is_crash ? "has died" : "was ended",
                    event->kind == COLO_EVENT_ENDED ? "" : ", says libvirt");
    if (event->kind == COLO_EVENT_ENDED) {
        side->broken_ms = event->is_crash ? colo_now_ms() : 0;
    } else {
        side->is_dead = event->is_crash;
        side->was_ended = !event->is_crash;
    }
    colo_agent_act(a, guard);
}

/* Its user did it. There may be a survivor to be tidied up all the same. */
static void forget_ended(ColoAgent *a, const char *domain)
{
    AgentGuard *guard = g_hash_table_lookup(a->guards, domain);

    if (guard && guard->stage != STAGE_ASKED && guard->stage != STAGE_RUNS) {
        g_hash_table_remove(a->guards, domain);
    }
}

static void on_here(ColoAgent *a, const ColoHostEvent *event)
{
    AgentGuard *guard;

    if (event->kind == COLO_EVENT_CLOSED) {
        a->is_closed = true;
        return;
    }
    guard = g_hash_table_lookup(a->guards, event->domain);
    if (!guard && is_status(event)) {
        guard = colo_agent_guard(a, event->domain);
    }
    if (!guard) {
        return;
    }
    if (is_status(event)) {
        take_status(a, guard, HERE, event);
    } else if (is_release(guard, event)) {
        colo_agent_act(a, guard);
    } else if (event->kind == COLO_EVENT_ENDED) {
        take_end(a, guard, HERE, event);
    } else if (event->kind == COLO_EVENT_STOPPED) {
        take_end(a, guard, HERE, event);
        if (!event->is_crash) {
            forget_ended(a, event->domain);
        }
    } else if (event->kind == COLO_EVENT_STARTED) {
        g_hash_table_remove(a->guards, event->domain);
    }
}

static void lose_peer(ColoAgent *a, const char *uri)
{
    GHashTableIter iter;
    gpointer value;

    colo_agent_tell(a, NULL, "lost the connection to %s", uri);
    g_hash_table_iter_init(&iter, a->guards);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        AgentGuard *guard = value;

        if (!strcmp(guard->peer_uri, uri)) {
            guard->was_seen_there = false;
            if (guard->stage == STAGE_SETTLED) {
                guard->stage = STAGE_WATCH;     /* this may be why */
            }
        }
    }
    colo_peers_close(a->peers, uri);
}

static void on_peer(ColoAgent *a, const char *uri, const ColoHostEvent *event)
{
    AgentGuard *guard;

    if (event->kind == COLO_EVENT_CLOSED) {
        lose_peer(a, uri);
        return;
    }
    guard = g_hash_table_lookup(a->guards, event->domain);
    if (!guard || strcmp(guard->peer_uri, uri)) {
        return;
    }
    if (is_status(event)) {
        take_status(a, guard, THERE, event);
    } else if (is_release(guard, event)) {
        colo_agent_act(a, guard);
    } else if (event->kind == COLO_EVENT_STOPPED) {
        take_end(a, guard, THERE, event);
    } else if (event->kind == COLO_EVENT_STARTED) {
        guard->sides[THERE] = (ColoGuardSide) {};
        guard->was_seen_there = true;
    }
}

static void on_event(ColoAgent *a, const ColoHostEvent *event)
{
    const char *uri = event->host == a->here
                      ? NULL : colo_peers_uri(a->peers, event->host);

    if (event->host == a->here) {
        on_here(a, event);
    } else if (uri) {
        on_peer(a, uri, event);
    }
}

static void on_opened(void *opaque, const char *uri, bool is_open)
{
    ColoAgent *a = opaque;

    colo_agent_tell(a, NULL, is_open ? "connected to %s"
                                     : "cannot reach %s", uri);
    if (is_open) {
        a->look_ms = 0;         /* what happened there so far is not told */
    }
}

/* ------------------------------------------------------------ the whole */

static void guard_free(gpointer opaque)
{
    AgentGuard *guard = opaque;

    g_free(guard->domain);
    g_free(guard->peer_uri);
    g_free(guard);
}

static bool run(ColoAgent *a, GError **error)
{
    while (!colo_cancel_asked() && !a->is_closed &&
           !(a->options->once && a->takeover_count)) {
        g_autoptr(ColoHostEvent) event = NULL;
        bool is_opening;

        if (colo_now_ms() >= a->look_ms) {
            a->look_ms = colo_now_ms() + LOOK_MS;
            colo_agent_look_around(a);
        }
        is_opening = colo_peers_keep(a->peers);
        event = colo_host_wait(a->here, !a->look_ms ? 0
                               : is_opening ? FAST_TICK_MS : TICK_MS);
        if (event) {
            on_event(a, event);
        }
    }
    if (a->is_closed) {
        colo_error_set(error, COLO_EXIT_CONNECT,
                       "libvirt closed the connection");
    }
    return !a->is_closed;
}

bool colo_agent(const ColoOptions *options, JsonNode **result, GError **error)
{
    ColoAgent a = { .options = options };
    bool ok = false;

    a.here = colo_open(options->from, error);
    if (!a.here) {
        return false;
    }
    a.peers = colo_peers_new(on_opened, &a);
    a.guards = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                     guard_free);
    if (colo_host_watch(a.here, error)) {
        colo_agent_tell(&a, NULL, "watching %s", options->from ? options->from
                                                               : "this host");
        ok = run(&a, error);
    }
    *result = colo_json("i:takeovers", (int64_t)a.takeover_count, NULL);
    g_hash_table_unref(a.guards);
    colo_peers_free(a.peers);
    colo_host_free(a.here);
    return ok;
}
