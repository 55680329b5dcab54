/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What undoing has to spare.
 *
 * A journal may be old: since it was written the guest may have gone on at
 * the other host, been switched off there, or been protected anew. So it is
 * the domains and what they remember that decide, never the journal alone.
 */
#include "error.h"
#include "live.h"
#include "undo-spare.h"

bool colo_spare_find(ColoHost *host, const char *domain, bool *is_running,
                     GError **error)
{
    g_auto(ColoDomStatus) status = {};

    if (!colo_host_find(host, domain, &status, error)) {
        return false;
    }
    *is_running = status.state == COLO_DOM_RUNNING ||
                  status.state == COLO_DOM_PAUSED;
    return true;
}

/* NULL in @pair: it remembers nothing, or is not there. */
static bool read_pair(ColoHost *host, const char *domain, ColoPair **pair,
                      GError **error)
{
    g_auto(ColoDomStatus) status = {};
    g_autoptr(GError) why = NULL;

    *pair = NULL;
    if (!colo_host_find(host, domain, &status, error)) {
        return false;
    }
    if (status.state != COLO_DOM_ABSENT) {
        *pair = colo_host_pair(host, domain, &why);
    }
    if (why) {
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    return true;
}

/* Journals of before do not say which one it was. */
static bool is_our_session(const ColoScene *s, const ColoPair *pair)
{
    return !s->session || !g_strcmp0(s->session, pair->session);
}

static bool refuse_survivor(GError **error)
{
    colo_error_set(error, COLO_EXIT_UNSAFE, "The guest goes on at the other "
                   "host, which took over; it is left alone");
    return false;
}

static bool refuse_stranger(GError **error)
{
    colo_error_set(error, COLO_EXIT_UNSAFE, "The domain at the other host is "
                   "not known to be of this protection; it is left alone");
    return false;
}

bool colo_spare_secondary(const ColoScene *s, GError **error)
{
    g_autoptr(ColoPair) pair = NULL;

    if (!read_pair(s->to, s->domain, &pair, error)) {
        return false;
    }
    if (pair && pair->role == COLO_ROLE_SURVIVOR) {
        return refuse_survivor(error);
    }
    return (pair && is_our_session(s, pair)) || refuse_stranger(error);
}

bool colo_spare_survivor(const ColoScene *s, GError **error)
{
    g_autoptr(ColoPair) pair = NULL;
    bool is_running;

    if (!colo_spare_find(s->to, s->domain, &is_running, error) ||
        !read_pair(s->to, s->domain, &pair, error)) {
        return false;
    }
    if (pair && pair->role == COLO_ROLE_SURVIVOR) {
        return refuse_survivor(error);
    }
    if (is_running) {
        colo_error_set(error, COLO_EXIT_UNSAFE,
                       "The domain still runs at the other host");
        return false;
    }
    /* Old disks are nobody's guest, whichever session made them old. */
    return !pair || pair->role == COLO_ROLE_STALE ||
           is_our_session(s, pair) || refuse_stranger(error);
}

bool colo_spare_image(const ColoScene *s, GError **error)
{
    g_autoptr(ColoPair) pair = NULL;
    bool is_running;

    if (!colo_spare_survivor(s, error) ||
        !colo_spare_find(s->from, s->domain, &is_running, error) ||
        !read_pair(s->from, s->domain, &pair, error)) {
        return false;
    }
    /* A survivor may have been forgotten since, and its domain with it. */
    if (!is_running && (!pair || pair->role == COLO_ROLE_STALE ||
                        !is_our_session(s, pair))) {
        colo_error_set(error, COLO_EXIT_UNSAFE, "Nobody knows whether the "
                       "guest went on with it; delete it by hand if it did "
                       "not");
        return false;
    }
    return true;
}

bool colo_spare_primary(const ColoScene *s, bool *is_stale, GError **error)
{
    g_autoptr(ColoPair) pair = NULL;
    bool is_running;

    *is_stale = false;
    if (!colo_spare_find(s->from, s->domain, &is_running, error)) {
        return false;
    }
    if (is_running) {
        return true;
    }
    if (!read_pair(s->from, s->domain, &pair, error)) {
        return false;
    }
    *is_stale = pair && pair->role == COLO_ROLE_STALE;
    return *is_stale || !s->to || colo_spare_survivor(s, error);
}

bool colo_spare_is_over(const ColoScene *s, bool *is_over, GError **error)
{
    g_autoptr(ColoPair) here = NULL;
    g_autoptr(ColoPair) there = NULL;
    bool is_running;

    *is_over = false;
    if (!s->session || !s->to) {
        return true;
    }
    if (!colo_spare_find(s->from, s->domain, &is_running, error) ||
        !read_pair(s->from, s->domain, &here, error) ||
        !read_pair(s->to, s->domain, &there, error)) {
        return false;
    }
    *is_over = !is_running && here && here->role == COLO_ROLE_STALE &&
               there && there->role == COLO_ROLE_SURVIVOR &&
               is_our_session(s, there);
    return true;
}
