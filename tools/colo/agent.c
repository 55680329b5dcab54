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
#include <stdio.h>
#include "cancel.h"
#include "command.h"
#include "error.h"
#include "guard.h"
#include "live.h"
#include "peers.h"
#include "takeover.h"

enum { TICK_MS = 1000, FAST_TICK_MS = 50, LOOK_MS = 3000, BUSY_MS = 1000 };

typedef enum Place { HERE, THERE, PLACES } Place;

typedef enum Stage {
    STAGE_WATCH,
    STAGE_ASKED,                /* the survivor's QEMU was told to go on */
    STAGE_RUNS,                 /* it does; its domain is to be tidied up */
    STAGE_SETTLED,              /* told, or failed: others decide now */
} Stage;

typedef struct Guard {
    char *domain;               /* name */
    char *peer_uri;
    bool is_primary;            /* here */
    ColoGuardSide sides[PLACES];
    bool was_seen_there;        /* alive, through the present connection */
    Stage stage;
    Place survivor;             /* unless STAGE_WATCH */
    int64_t asked_us;           /* when it was told */
} Guard;

typedef struct Agent {
    const ColoOptions *options;
    ColoHost *here;
    ColoPeers *peers;
    GHashTable *guards;         /* name -> Guard */
    unsigned takeover_count;
    int64_t look_ms;            /* when to look at all domains again */
    bool is_closed;
} Agent;

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

static ColoHost *host_at(Agent *a, const Guard *guard, Place place)
{
    return place == HERE ? a->here
                         : colo_peers_host(a->peers, guard->peer_uri);
}

/* "here" or "at URI". Caller frees. */
static char *place_text(const Guard *guard, Place place)
{
    return place == HERE ? g_strdup("here")
                         : g_strconcat("at ", guard->peer_uri, NULL);
}

static void note_state(Guard *guard, Place place, const char *state,
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

/* Its QEMU is asked. False if it does not answer, or is not there. */
static bool look_at_state(Agent *a, Guard *guard, Place place)
{
    ColoHost *host = host_at(a, guard, place);
    g_autoptr(ColoReport) report =
        host ? colo_live_report(host, guard->domain, NULL, NULL) : NULL;

    if (report) {
        note_state(guard, place, colo_phase_name(report->phase),
                   report->cause, 0);
    }
    return report;
}

/* ------------------------------------------------------- going on alone */

static void go_on(Agent *a, Guard *guard, Place survivor)
{
    ColoHost *host = host_at(a, guard, survivor);
    bool is_primary = guard->is_primary == (survivor == HERE);
    g_autoptr(GError) error = NULL;

    if (!host) {
        return;
    }
    guard->survivor = survivor;
    guard->asked_us = g_get_monotonic_time();
    guard->stage = STAGE_ASKED;
    if (colo_takeover_begin(host, guard->domain, is_primary, &error)) {
        return;
    }
    guard->stage = STAGE_SETTLED;
    look_at_state(a, guard, survivor);
    if (guard->sides[survivor].has_gone_on) {
        tell(a, guard->domain, "somebody else was quicker");
    } else {
        tell(a, guard->domain, "cannot take over: %s", error->message);
    }
}

/* QEMU has said that it is alone. */
static void end_takeover(Agent *a, Guard *guard)
{
    g_autofree char *where = place_text(guard, guard->survivor);
    double ms = (g_get_monotonic_time() - guard->asked_us) / 1000.0;
    g_autoptr(GError) error = NULL;

    tell(a, guard->domain, "took over %s within %.1f ms", where, ms);
    guard->stage = STAGE_RUNS;
    if (!colo_takeover_end(host_at(a, guard, guard->survivor),
                           guard->domain, &error)) {
        tell(a, guard->domain, "libvirt cannot be told: %s", error->message);
    }
}

/* The libvirt of the other side knows by now that its domain has ended. */
static void tidy(Agent *a, Guard *guard)
{
    g_autoptr(GError) error = NULL;

    if (colo_takeover_tidy(host_at(a, guard, guard->survivor),
                           host_at(a, guard, !guard->survivor),
                           guard->domain, &error)) {
        tell(a, guard->domain, "is an ordinary domain again");
    } else {
        g_autofree char *text = colo_error_text(error);

        tell(a, guard->domain, "could not be tidied up: %s",
             g_strchomp(text));
    }
    a->takeover_count++;
}

/* What QEMU used may be taken away. */
static bool is_released(Agent *a, Guard *guard)
{
    ColoHost *host = host_at(a, guard, guard->survivor);

    return host && colo_live_is_released(host, guard->domain);
}

static void take_advice(Agent *a, Guard *guard)
{
    Place place;

    for (place = HERE; place < PLACES && guard->stage == STAGE_WATCH;
         place++) {
        switch (colo_guard_advise(&guard->sides[place],
                                  &guard->sides[!place])) {
        case COLO_GUARD_GO_ON:
            go_on(a, guard, place);
            break;
        case COLO_GUARD_ASK_USER:
            tell(a, guard->domain, "its peer was ended on purpose; colo "
                 "failover goes on with it, virsh destroy ends it");
            guard->stage = STAGE_SETTLED;
            break;
        default:
            break;
        }
    }
}

/* What follows from what is known. The guard may be gone then. */
static void act(Agent *a, Guard *guard)
{
    const ColoGuardSide *survivor, *other;

    take_advice(a, guard);
    survivor = &guard->sides[guard->survivor];
    other = &guard->sides[!guard->survivor];
    if (guard->stage == STAGE_ASKED && survivor->has_gone_on &&
        host_at(a, guard, guard->survivor)) {
        end_takeover(a, guard);
    }
    if (guard->stage == STAGE_RUNS && (other->is_dead || other->was_ended) &&
        is_released(a, guard)) {
        tidy(a, guard);
        g_hash_table_remove(a->guards, guard->domain);
    }
}

/* -------------------------------------------------------------- domains */

/*
 * The process there is dead if its libvirt says so, not if nobody answers. A
 * transient domain is forgotten with its end; if that happened before our
 * eyes, an event tells why.
 */
static void look_at_peer(Agent *a, Guard *guard)
{
    ColoHost *host = host_at(a, guard, THERE);
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
static void see_peer(Agent *a, Guard *guard)
{
    ColoHost *host = host_at(a, guard, THERE);

    if (!guard->was_seen_there && host) {
        ColoDomState state = colo_host_state(host, guard->domain);

        guard->was_seen_there = state == COLO_DOM_RUNNING ||
                                state == COLO_DOM_PAUSED;
    }
}

/* It may have gone on after a user's word while we could not see it. */
static void look_at_peer_role(Agent *a, Guard *guard)
{
    ColoHost *host = host_at(a, guard, THERE);
    g_autoptr(ColoPair) pair =
        host ? colo_host_pair(host, guard->domain, NULL) : NULL;

    if (pair && pair->role == COLO_ROLE_SURVIVOR) {
        guard->sides[THERE].has_gone_on = true;
    }
}

static Guard *guard_new(Agent *a, const char *domain, const ColoPair *pair)
{
    Guard *guard = g_new0(Guard, 1);
    bool is_watched = colo_host_watch_process(a->here, domain, NULL);

    guard->domain = g_strdup(domain);
    g_hash_table_insert(a->guards, guard->domain, guard);
    tell(a, domain, "looked after as %s, peer at %s%s",
         colo_role_name(pair->role), pair->peer,
         is_watched ? "; its process is watched" : "");
    return guard;
}

/* Begins, or goes on, to look after a domain that has a peer. */
static Guard *guard_for(Agent *a, const char *domain)
{
    g_autoptr(ColoPair) pair = colo_host_pair(a->here, domain, NULL);
    Guard *guard = g_hash_table_lookup(a->guards, domain);

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
    look_at_state(a, guard, HERE);
    return guard;
}

/* --------------------------------------------------------------- events */

/* Something happens: what is looked at by itself has time. */
static void put_off_looking(Agent *a)
{
    a->look_ms = colo_now_ms() + BUSY_MS;
}

/* The end of its migration says that it has let go of everything. */
static bool is_release(const Guard *guard, const ColoHostEvent *event)
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

static void take_status(Agent *a, Guard *guard, Place place,
                        const ColoHostEvent *event)
{
    const char *state = colo_json_string(event->data, "state");
    const char *cause = colo_json_string(event->data, "cause");
    g_autofree char *where = place_text(guard, place);

    put_off_looking(a);
    note_state(guard, place, state, cause, colo_now_ms());
    tell(a, guard->domain, "%s %s (%s)", state, where, cause);
    act(a, guard);
}

static void take_end(Agent *a, Guard *guard, Place place,
                     const ColoHostEvent *event)
{
    ColoGuardSide *side = &guard->sides[place];
    g_autofree char *where = place_text(guard, place);

    put_off_looking(a);
    tell(a, guard->domain, "its process %s %s%s", where,
         event->is_crash ? "has died" : "was ended",
         event->kind == COLO_EVENT_ENDED ? "" : ", says libvirt");
    if (event->kind == COLO_EVENT_ENDED) {
        side->broken_ms = event->is_crash ? colo_now_ms() : 0;
    } else {
        side->is_dead = event->is_crash;
        side->was_ended = !event->is_crash;
    }
    act(a, guard);
}

/* Its user did it. There may be a survivor to be tidied up all the same. */
static void forget_ended(Agent *a, const char *domain)
{
    Guard *guard = g_hash_table_lookup(a->guards, domain);

    if (guard && guard->stage != STAGE_ASKED && guard->stage != STAGE_RUNS) {
        g_hash_table_remove(a->guards, domain);
    }
}

static void on_here(Agent *a, const ColoHostEvent *event)
{
    Guard *guard;

    if (event->kind == COLO_EVENT_CLOSED) {
        a->is_closed = true;
        return;
    }
    guard = g_hash_table_lookup(a->guards, event->domain);
    if (!guard && is_status(event)) {
        guard = guard_for(a, event->domain);
    }
    if (!guard) {
        return;
    }
    if (is_status(event)) {
        take_status(a, guard, HERE, event);
    } else if (is_release(guard, event)) {
        act(a, guard);
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

static void lose_peer(Agent *a, const char *uri)
{
    GHashTableIter iter;
    gpointer value;

    tell(a, NULL, "lost the connection to %s", uri);
    g_hash_table_iter_init(&iter, a->guards);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Guard *guard = value;

        if (!strcmp(guard->peer_uri, uri)) {
            guard->was_seen_there = false;
            if (guard->stage == STAGE_SETTLED) {
                guard->stage = STAGE_WATCH;     /* this may be why */
            }
        }
    }
    colo_peers_close(a->peers, uri);
}

static void on_peer(Agent *a, const char *uri, const ColoHostEvent *event)
{
    Guard *guard;

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
        act(a, guard);
    } else if (event->kind == COLO_EVENT_STOPPED) {
        take_end(a, guard, THERE, event);
    } else if (event->kind == COLO_EVENT_STARTED) {
        guard->sides[THERE] = (ColoGuardSide) {};
        guard->was_seen_there = true;
    }
}

static void on_event(Agent *a, const ColoHostEvent *event)
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
    Agent *a = opaque;

    tell(a, NULL, is_open ? "connected to %s" : "cannot reach %s", uri);
    if (is_open) {
        a->look_ms = 0;         /* what happened there so far is not told */
    }
}

/* ------------------------------------------------------------ the whole */

/*
 * Its process has died here, so the survivor is there. True if another agent
 * or a user was quicker, or if there is none.
 */
static bool is_over(Agent *a, Guard *guard)
{
    ColoHost *host = host_at(a, guard, THERE);
    g_auto(ColoDomStatus) status = {};

    if (!host || !colo_host_find(host, guard->domain, &status, NULL)) {
        return false;
    }
    if (status.state == COLO_DOM_ABSENT || status.state == COLO_DOM_OFF) {
        return true;
    }
    look_at_state(a, guard, THERE);
    return guard->sides[THERE].has_gone_on;
}

static void look_at_guard(Agent *a, Guard *guard)
{
    if (guard->stage == STAGE_WATCH && guard->sides[HERE].is_dead &&
        is_over(a, guard)) {
        g_hash_table_remove(a->guards, guard->domain);
        return;
    }
    see_peer(a, guard);
    if (guard->sides[HERE].is_lost ||
        (guard->stage == STAGE_RUNS && guard->survivor == HERE)) {
        look_at_peer(a, guard);
        look_at_peer_role(a, guard);
    }
    if (guard->stage == STAGE_ASKED) {
        look_at_state(a, guard, guard->survivor);
    }
    act(a, guard);
}

/* Domains may have begun to be protected unseen, events may be lost. */
static void look_around(Agent *a)
{
    g_autoptr(GPtrArray) names = colo_host_domains(a->here, NULL);
    g_autoptr(GList) guards = NULL;
    GList *at;
    unsigned i;

    for (i = 0; names && i < names->len; i++) {
        guard_for(a, g_ptr_array_index(names, i));
    }
    guards = g_hash_table_get_values(a->guards);
    for (at = guards; at; at = at->next) {
        look_at_guard(a, at->data);
    }
}

static bool run(Agent *a, GError **error)
{
    while (!colo_cancel_asked() && !a->is_closed &&
           !(a->options->once && a->takeover_count)) {
        g_autoptr(ColoHostEvent) event = NULL;
        bool is_opening;

        if (colo_now_ms() >= a->look_ms) {
            a->look_ms = colo_now_ms() + LOOK_MS;
            look_around(a);
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
    Agent a = { .options = options };
    bool ok = false;

    a.here = colo_open(options->from, error);
    if (!a.here) {
        return false;
    }
    a.peers = colo_peers_new(on_opened, &a);
    a.guards = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                     guard_free);
    if (colo_host_watch(a.here, error)) {
        tell(&a, NULL, "watching %s", options->from ? options->from
                                                    : "this host");
        ok = run(&a, error);
    }
    *result = colo_json("i:takeovers", (int64_t)a.takeover_count, NULL);
    g_hash_table_unref(a.guards);
    colo_peers_free(a.peers);
    colo_host_free(a.here);
    return ok;
}
