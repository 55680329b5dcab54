/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * colo failover: go on at one side, because the other is gone or because it
 * shall go.
 *
 * MUST: never two guests. The other side has to be seen dead through its own
 * libvirt, or be ended by us, or the user says that it is off. A planned move
 * needs none of that: the primary's QEMU, told to quit, tells the secondary
 * that it has ended for good without letting out what it held.
 */
#include "command.h"
#include "error.h"
#include "live.h"
#include "takeover.h"

enum { QUIT_LIMIT_MS = 20000, GONE_LIMIT_MS = 20000, ASK_AGAIN_MS = 20 };

/* ------------------------------------------------------ the other side */

static bool end_peer(ColoBoth *both, GError **error)
{
    g_autoptr(ColoReport) report = colo_live_report(both->peer, both->uuid,
                                                    NULL, NULL);
    g_autoptr(ColoPair) pair = colo_host_pair(both->peer, both->uuid, NULL);

    if ((report && report->phase == COLO_PHASE_ALONE) ||
        (pair && pair->role == COLO_ROLE_SURVIVOR)) {
        colo_error_set(error, COLO_EXIT_UNSAFE, "The other side has taken "
                       "over and runs at %s", both->peer_uri);
        return false;
    }
    return colo_host_destroy(both->peer, both->uuid, error);
}

static bool make_sure(ColoBoth *both, bool is_forced, GError **error)
{
    g_auto(ColoDomStatus) status = {};

    if (both->peer &&
        colo_host_find(both->peer, both->uuid, &status, NULL)) {
        return status.state == COLO_DOM_OFF ||
               status.state == COLO_DOM_ABSENT || end_peer(both, error);
    }
    if (is_forced) {
        return true;
    }
    colo_error_set(error, COLO_EXIT_UNSAFE, "The other side cannot be seen "
                   "(%s), so it may still run; make sure that it is off, "
                   "then add --force",
                   both->why_not ? both->why_not : "no answer");
    return false;
}

/* ----------------------------------------------------------- unplanned */

static bool may_go_on(const ColoReport *report, GError **error)
{
    switch (report->phase) {
    case COLO_PHASE_LOST:
    case COLO_PHASE_ALONE:
        return true;
    case COLO_PHASE_PROTECTED:
    case COLO_PHASE_CONNECTING:
        colo_error_set(error, COLO_EXIT_UNSAFE, "Both sides live and agree; "
                       "to move the guest to the secondary, add --planned");
        return false;
    case COLO_PHASE_OFF:
        colo_error_set(error, COLO_EXIT_FAILED, "It takes no part in COLO");
        return false;
    default:
        colo_error_set(error, COLO_EXIT_FAILED, "%s", report->remedy);
        return false;
    }
}

static bool go_on_here(ColoBoth *both, bool is_forced, GError **error)
{
    g_autoptr(ColoReport) report = colo_live_report(both->here, both->uuid,
                                                    NULL, error);

    if (!report || !may_go_on(report, error)) {
        return false;
    }
    if (report->phase == COLO_PHASE_LOST &&
        (!make_sure(both, is_forced, error) ||
         !colo_takeover(both->here, both->uuid, report->is_primary,
                        error))) {
        return false;
    }
    return colo_takeover_tidy(both->here, both->peer, both->uuid, error);
}

/* ------------------------------------------------------------- planned */

typedef struct Move {
    ColoHost *from;
    ColoHost *to;
} Move;

static bool find_move(ColoBoth *both, Move *move, GError **error)
{
    bool is_here = both->pair && both->pair->role == COLO_ROLE_SECONDARY;

    if (!both->peer) {
        colo_error_set(error, COLO_EXIT_CONNECT,
                       "The other side cannot be reached: %s",
                       both->why_not);
        return false;
    }
    move->from = is_here ? both->peer : both->here;
    move->to = is_here ? both->here : both->peer;
    return true;
}

static bool wait_until_gone(ColoHost *host, const char *domain,
                            GError **error)
{
    int64_t end_ms = colo_now_ms() + GONE_LIMIT_MS;

    for (;;) {
        g_auto(ColoDomStatus) status = {};

        if (!colo_host_find(host, domain, &status, error)) {
            return false;
        }
        if (status.state == COLO_DOM_OFF ||
            status.state == COLO_DOM_ABSENT) {
            return true;
        }
        if (colo_now_ms() >= end_ms) {
            colo_error_set(error, COLO_EXIT_FAILED,
                           "The old primary's QEMU does not end");
            return false;
        }
        colo_host_event_free(colo_host_wait(host, ASK_AGAIN_MS));
    }
}

/*
 * A primary that says that it quits has let nothing out since, and will not.
 * One that is lost for another reason, a link that has gone silent just then,
 * may live: its libvirt has to say that it does not.
 */
static bool wait_until_harmless(const Move *move, const char *domain,
                                GError **error)
{
    g_autoptr(ColoReport) report = NULL;

    if (!colo_live_wait_phase(move->to, domain,
                              COLO_PHASE_BIT(COLO_PHASE_LOST),
                              QUIT_LIMIT_MS, error)) {
        return false;
    }
    report = colo_live_report(move->to, domain, NULL, error);
    return report && (!g_strcmp0(report->cause, "peer-quit") ||
                      wait_until_gone(move->from, domain, error));
}

/* The checkpoint makes the secondary's state the primary's very own. */
static bool move_guest(const Move *move, const char *domain, GError **error)
{
    if (!colo_host_run(move->from, domain, colo_command("colo-checkpoint"),
                       error)) {
        return false;
    }
    /* Its answer may be cut off by its end, which is what is wanted. */
    colo_host_run(move->from, domain, colo_command("quit"), NULL);
    return wait_until_harmless(move, domain, error) &&
           colo_takeover(move->to, domain, false, error) &&
           wait_until_gone(move->from, domain, error) &&
           colo_takeover_tidy(move->to, move->from, domain, error);
}

static bool go_on_there(ColoBoth *both, GError **error)
{
    Move move;

    return find_move(both, &move, error) &&
           colo_host_watch(move.to, error) &&
           colo_host_watch(move.from, error) &&
           move_guest(&move, both->uuid, error);
}

bool colo_failover(const ColoOptions *o, JsonNode **result, GError **error)
{
    g_auto(ColoBoth) both = {};
    int64_t start_ms = colo_now_ms();
    double seconds;
    bool ok = colo_both_open(&both, o, error) &&
              colo_host_watch(both.here, error) &&
              (o->planned ? go_on_there(&both, error)
                          : go_on_here(&both, o->force, error));

    if (!ok) {
        colo_error_what(error, "No failover of '%s'", o->domain);
        return false;
    }
    seconds = (colo_now_ms() - start_ms) / 1000.0;
    *result = colo_json("s:domain", o->domain, "s:state", "alone",
                        "i:milliseconds", (int64_t)(seconds * 1000), NULL);
    colo_say(o, "Domain '%s' goes on alone (%.1f s)", o->domain, seconds);
    return true;
}
