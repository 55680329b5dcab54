/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From libvirt URIs to where the other host is.
 *
 * A URI is DRIVER[+TRANSPORT]://[USER@][HOST][:PORT]/PATH[?PARAMETERS]. One
 * with a host, or with the parameter `socket`, leads to its host from
 * anywhere that has the same view of names and files.
 */
#include "address.h"

typedef struct Parts {
    char *scheme;           /* qemu, qemu+ssh */
    char *user;             /* with its @, or empty */
    char *host;             /* with brackets if it had them, or empty */
    char *rest;             /* :PORT/PATH?PARAMETERS */
} Parts;

static void parts_clear(Parts *parts)
{
    g_free(parts->scheme);
    g_free(parts->user);
    g_free(parts->host);
    g_free(parts->rest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Parts, parts_clear)

static bool split(const char *uri, Parts *parts)
{
    const char *at, *host, *end;
    const char *colon = strstr(uri, "://");

    if (!colon) {
        return false;
    }
    host = colon + 3;
    end = host + strcspn(host, "/?");
    at = memchr(host, '@', end - host);
    parts->scheme = g_strndup(uri, colon - uri);
    parts->user = g_strndup(host, at ? at + 1 - host : 0);
    host = at ? at + 1 : host;
    if (*host == '[') {
        const char *close = memchr(host, ']', end - host);

        end = close ? close + 1 : end;
    } else {
        end = host + strcspn(host, ":/?");
    }
    parts->host = g_strndup(host, end - host);
    parts->rest = g_strdup(end);
    return true;
}

char *colo_address_of_uri(const char *uri)
{
    g_auto(Parts) parts = {};
    size_t length;

    if (!split(uri, &parts) || !*parts.host) {
        return NULL;
    }
    length = strlen(parts.host);
    if (*parts.host == '[') {
        return g_strndup(parts.host + 1, length - 2);
    }
    return g_strdup(parts.host);
}

char *colo_address_back(const char *from, const char *from_host,
                        const char *to)
{
    g_auto(Parts) here = {};
    g_auto(Parts) there = {};

    if (!split(from, &here) || *here.host || strchr(from, '?') ||
        !split(to, &there) || !*there.host) {
        return g_strdup(from);
    }
    return g_strconcat(there.scheme, "://", there.user, from_host,
                       there.rest, NULL);
}

char *colo_address_shell(const char *uri, const char *name,
                         const char *command)
{
    g_auto(Parts) parts = {};
    g_autofree char *port = NULL;
    g_autofree char *host = NULL;

    if (!split(uri, &parts) || !*parts.host ||
        !(g_str_has_suffix(parts.scheme, "+ssh") ||
          g_str_has_suffix(parts.scheme, "+libssh") ||
          g_str_has_suffix(parts.scheme, "+libssh2"))) {
        return g_strdup_printf("%s    # on %s", command, name ? name : uri);
    }
    if (*parts.rest == ':') {
        port = g_strndup(parts.rest + 1, strcspn(parts.rest + 1, "/?"));
    }
    host = colo_address_of_uri(uri);
    return g_strdup_printf("ssh %s%s%s%s%s %s", port ? "-p " : "",
                           port ? port : "", port ? " " : "", parts.user,
                           host, command);
}
