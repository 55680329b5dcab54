/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo agent: takes over by itself where nothing has to be decided.
 *
 * It watches the domains of one host and, for those that have a peer, the
 * peer's host. A side that says `lost` goes on alone if the libvirt of the
 * other host says that the other process has died by itself. It never acts on
 * silence: a host that cannot be reached may still run its guest; nor when
 * the other side was ended on purpose.
 *
 * Everything happens in one thread, driven by events; only connections are
 * opened in others, since that may take long.
 */
#include <stdio.h>
#include "cancel.h"
#include "command.h"
#include "error.h"
#include "live.h"
#include "takeover.h"

enum { TICK_MS = 1000, FAST_TICK_MS = 50, REOPEN_MS = 5000 };

/* One other host; shared by all domains that have their peer there. */
typedef struct Peer {
    char *uri;
    ColoHost *host;             /* NULL: not connected */
    bool is_opening;
    int64_t retry_ms;
} Peer;

typedef struct Guard {
    char *domain;               /* name */
    char *peer_uri;
    bool is_primary;
    bool is_lost;
    bool was_ended;             /* its peer, on purpose */
    bool is_peer_dead;
    bool is_settled;            /* told, or failed: others decide now */
} Guard;

typedef struct Opened {
    char *uri;
    ColoHost *host;
} Opened;

typedef struct Agent {
    const ColoOptions *options;
    ColoHost *here;
    GHashTable *peers;          /* URI -> Peer */
    GHashTable *guards;         /* name -> Guard */
    GAsyncQueue *opened;        /* Opened, from other threads */
    unsigned takeover_count;
    int64_t look_ms;            /* when to look at all domains again */
    bool is_closed;
} Agent;

static void peer_free(gpointer opaque)
{
    Peer *peer = opaque;

    colo_host_free(peer->host);
    g_free(peer->uri);
    g_free(peer);
}

static void guard_free(gpointer opaque)
{
    Guard *guard = opaque;

    g_free(guard->domain);
    g_free(guard->peer_uri);
    g_free(guard);
}

static void tell(const Agent *a, const char *domain, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static void tell(const Agent *a, const char *domain, const char *format, ...)
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

/* ---------------------------------------------------------- other hosts */

typedef struct Opening {
    GAsyncQueue *opened;
    char *uri;
} Opening;

static gpointer open_thread(gpointer opaque)
{
    Opening *opening = opaque;
    Opened *opened = g_new0(Opened, 1);

    opened->uri = opening->uri;
    opened->host = colo_open(opening->uri, NULL);
    g_async_queue_push(opening->opened, opened);
    g_async_queue_unref(opening->opened);
    g_free(opening);
    return NULL;
}

static void open_peer(Agent *a, Peer *peer)
{
    Opening *opening = g_new0(Opening, 1);

    opening->opened = g_async_queue_ref(a->opened);
    opening->uri = g_strdup(peer->uri);
    peer->is_opening = true;
    g_thread_unref(g_thread_new("open", open_thread, opening));
}

static void take_opened(Agent *a)
{
    Opened *opened;

    while ((opened = g_async_queue_try_pop(a->opened))) {
        Peer *peer = g_hash_table_lookup(a->peers, opened->uri);

        peer->is_opening = false;
        peer->retry_ms = colo_now_ms() + REOPEN_MS;
        peer->host = opened->host;
        if (peer->host && !colo_host_watch(peer->host, NULL)) {
            g_clear_pointer(&peer->host, colo_host_free);
        }
        if (peer->host) {
            a->look_ms = 0;     /* what happened there so far is not told */
        }
        tell(a, NULL, peer->host ? "connected to %s" : "cannot reach %s",
             peer->uri);
        g_free(opened->uri);
        g_free(opened);
    }
}

static bool keep_peers_open(Agent *a)
{
    GHashTableIter iter;
    gpointer value;
    bool is_opening = false;

    take_opened(a);
    g_hash_table_iter_init(&iter, a->peers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Peer *peer = value;

        if (!peer->host && !peer->is_opening &&
            colo_now_ms() >= peer->retry_ms) {
            open_peer(a, peer);
        }
        is_opening |= peer->is_opening;
    }
    return is_opening;
}

static Peer *peer_at(Agent *a, const char *uri)
{
    Peer *peer = g_hash_table_lookup(a->peers, uri);

    if (!peer) {
        peer = g_new0(Peer, 1);
        peer->uri = g_strdup(uri);
        g_hash_table_insert(a->peers, peer->uri, peer);
    }
    return peer;
}

/* -------------------------------------------------------------- domains */

static void note_cause(Guard *guard, const char *state, const char *cause)
{
    guard->is_lost = !g_strcmp0(state, "lost");
    if (!guard->is_lost) {
        guard->was_ended = false;
        guard->is_peer_dead = false;
        guard->is_settled = false;
        return;
    }
    /* What its libvirt said of the end counts, too, and stays. */
    guard->was_ended |= !g_strcmp0(cause, "peer-quit") ||
                        !g_strcmp0(cause, "guest-shutdown");
}

/* Begins, or goes on, to look after a domain that has a peer. */
static Guard *guard_for(Agent *a, const char *domain)
{
    g_autoptr(ColoPair) pair = colo_host_pair(a->here, domain, NULL);
    g_autoptr(ColoReport) report = NULL;
    Guard *guard = g_hash_table_lookup(a->guards, domain);

    if (!pair || !pair->peer || (pair->role != COLO_ROLE_PRIMARY &&
                                 pair->role != COLO_ROLE_SECONDARY)) {
        if (guard) {
            g_hash_table_remove(a->guards, domain);
        }
        return NULL;
    }
    if (!guard) {
        guard = g_new0(Guard, 1);
        guard->domain = g_strdup(domain);
        g_hash_table_insert(a->guards, guard->domain, guard);
        tell(a, domain, "looked after as %s, peer at %s",
             colo_role_name(pair->role), pair->peer);
    }
    g_free(guard->peer_uri);
    guard->peer_uri = g_strdup(pair->peer);
    guard->is_primary = pair->role == COLO_ROLE_PRIMARY;
    peer_at(a, pair->peer);
    report = colo_live_report(a->here, domain, NULL, NULL);
    if (report) {
        note_cause(guard, colo_phase_name(report->phase), report->cause);
    }
    return guard;
}

/* The process is dead if its libvirt says so, not if nobody answers. */
static void look_at_peer(Agent *a, Guard *guard)
{
    Peer *peer = peer_at(a, guard->peer_uri);
    g_auto(ColoDomStatus) status = {};

    if (guard->is_peer_dead || !peer->host ||
        !colo_host_status(peer->host, guard->domain, &status, NULL)) {
        return;
    }
    /* A transient domain that died is forgotten at once. */
    if (status.state == COLO_DOM_ABSENT) {
        guard->is_peer_dead = true;
    } else if (status.state == COLO_DOM_OFF) {
        guard->is_peer_dead = true;
        guard->was_ended |= !status.is_crashed;
    }
}

static void tidy(Agent *a, Guard *guard)
{
    Peer *peer = peer_at(a, guard->peer_uri);
    g_autoptr(GError) error = NULL;

    if (colo_takeover_tidy(a->here, peer->host, guard->domain, &error)) {
        tell(a, guard->domain, "is an ordinary domain again");
    } else {
        g_autofree char *text = colo_error_text(error);

        tell(a, guard->domain, "could not be tidied up: %s",
             g_strchomp(text));
    }
}

static void act(Agent *a, Guard *guard)
{
    g_autoptr(GError) error = NULL;
    int64_t start_ms = colo_now_ms();

    if (!guard->is_lost || guard->is_settled) {
        return;
    }
    if (!guard->was_ended) {
        look_at_peer(a, guard);
    }
    if (guard->was_ended) {
        tell(a, guard->domain, "its peer was ended on purpose; colo failover "
             "goes on with it, virsh destroy ends it");
        guard->is_settled = true;
        return;
    }
    if (!guard->is_peer_dead) {
        return;
    }
    if (!colo_takeover(a->here, guard->domain, guard->is_primary, &error)) {
        tell(a, guard->domain, "cannot take over: %s", error->message);
        guard->is_settled = true;
        return;
    }
    tell(a, guard->domain, "took over within %" PRId64 " ms",
         colo_now_ms() - start_ms);
    a->takeover_count++;
    tidy(a, guard);
    g_hash_table_remove(a->guards, guard->domain);
}

/* --------------------------------------------------------------- events */

static void on_here(Agent *a, const ColoHostEvent *event)
{
    Guard *guard;

    if (event->kind == COLO_EVENT_CLOSED) {
        a->is_closed = true;
        return;
    }
    guard = g_hash_table_lookup(a->guards, event->domain);
    if (event->kind == COLO_EVENT_STOPPED) {
        g_hash_table_remove(a->guards, event->domain);
        return;
    }
    if (event->kind != COLO_EVENT_MONITOR ||
        strcmp(event->name, "COLO_STATUS")) {
        return;
    }
    if (!guard) {
        guard = guard_for(a, event->domain);
    }
    if (guard) {
        note_cause(guard, colo_json_string(event->data, "state"),
                   colo_json_string(event->data, "cause"));
        tell(a, guard->domain, "%s", colo_json_string(event->data, "state"));
        act(a, guard);
    }
}

static void on_peer(Agent *a, Peer *peer, const ColoHostEvent *event)
{
    Guard *guard;

    if (event->kind == COLO_EVENT_CLOSED) {
        tell(a, NULL, "lost the connection to %s", peer->uri);
        g_clear_pointer(&peer->host, colo_host_free);
        return;
    }
    guard = g_hash_table_lookup(a->guards, event->domain);
    if (event->kind != COLO_EVENT_STOPPED || !guard ||
        strcmp(guard->peer_uri, peer->uri)) {
        return;
    }
    tell(a, guard->domain, "its peer's process %s",
         event->is_crash ? "has died" : "was ended");
    guard->is_peer_dead = true;
    guard->was_ended |= !event->is_crash;
    act(a, guard);
}

static void on_event(Agent *a, const ColoHostEvent *event)
{
    GHashTableIter iter;
    gpointer value;

    if (event->host == a->here) {
        on_here(a, event);
        return;
    }
    g_hash_table_iter_init(&iter, a->peers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Peer *peer = value;

        if (peer->host == event->host) {
            on_peer(a, peer, event);
            return;
        }
    }
}

/* Domains may have begun to be protected unseen, events may be lost. */
static void look_around(Agent *a)
{
    g_autoptr(GPtrArray) names = colo_host_domains(a->here, NULL);
    unsigned i;

    for (i = 0; names && i < names->len; i++) {
        Guard *guard = guard_for(a, g_ptr_array_index(names, i));

        if (guard) {
            act(a, guard);
        }
    }
}

static bool run(Agent *a, GError **error)
{
    while (!colo_cancel_asked() && !a->is_closed &&
           !(a->options->once && a->takeover_count)) {
        g_autoptr(ColoHostEvent) event = NULL;
        bool is_opening;

        if (colo_now_ms() >= a->look_ms) {
            a->look_ms = colo_now_ms() + TICK_MS;
            look_around(a);
        }
        is_opening = keep_peers_open(a);
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
    Agent a = { .options = options };
    bool ok = false;

    a.here = colo_open(options->from, error);
    if (!a.here) {
        return false;
    }
    a.peers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                    peer_free);
    a.guards = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                     guard_free);
    a.opened = g_async_queue_new();
    if (colo_host_watch(a.here, error)) {
        tell(&a, NULL, "watching %s", options->from ? options->from
                                                    : "this host");
        ok = run(&a, error);
    }
    *result = colo_json("i:takeovers", (int64_t)a.takeover_count, NULL);
    g_hash_table_unref(a.guards);
    g_hash_table_unref(a.peers);
    colo_host_free(a.here);
    g_async_queue_unref(a.opened);
    return ok;
}
