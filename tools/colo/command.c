/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the commands share.
 */
#include <stdio.h>
#include "command.h"
#include "error.h"

void colo_say(const ColoOptions *options, const char *format, ...)
{
    va_list args;

    if (options->json || options->quiet) {
        return;
    }
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

char *colo_resolve(ColoHost *host, const char *domain, GError **error)
{
    g_auto(ColoDomStatus) status = {};

    if (!colo_host_find(host, domain, &status, error)) {
        return NULL;
    }
    if (status.state == COLO_DOM_ABSENT) {
        colo_error_set(error, COLO_EXIT_NO_DOMAIN,
                       "libvirt knows no domain '%s'", domain);
        return NULL;
    }
    return g_strdup(status.uuid);
}

void colo_both_clear(ColoBoth *both)
{
    g_clear_pointer(&both->here, colo_host_free);
    g_clear_pointer(&both->peer, colo_host_free);
    g_clear_pointer(&both->pair, colo_pair_free);
    g_clear_pointer(&both->uuid, g_free);
    g_clear_pointer(&both->peer_uri, g_free);
    g_clear_pointer(&both->why_not, g_free);
}

bool colo_both_open(ColoBoth *both, const ColoOptions *options,
                    GError **error)
{
    g_autoptr(GError) why = NULL;

    both->here = colo_open(options->from, error);
    if (!both->here) {
        return false;
    }
    both->uuid = colo_resolve(both->here, options->domain, error);
    if (!both->uuid) {
        return false;
    }
    both->pair = colo_host_pair(both->here, both->uuid, NULL);
    both->peer_uri = g_strdup(options->to ? options->to :
                              both->pair ? both->pair->peer : NULL);
    if (!both->peer_uri) {
        both->why_not = g_strdup("nobody knows where it is");
        return true;
    }
    both->peer = colo_open(both->peer_uri, &why);
    if (!both->peer) {
        both->why_not = g_strdup(why->message);
    }
    return true;
}
