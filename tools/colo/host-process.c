/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Seeing a domain's process end, where libvirt runs on this machine.
 *
 * libvirt holds the domain while it makes sure that the process is gone, and
 * tells of it a fifth of a second later; the kernel tells at once.
 *
 * A QEMU that is told to end removes the socket of its monitor as one of the
 * last things that it does, and libvirt does so with what a crash has left.
 * So a socket which is there at the end of the process means a crash.
 */
#include <unistd.h>
#include "host-libvirt.h"
#include "live.h"
#include "process.h"

typedef struct Watched {
    ColoHost *host;
    char *domain;               /* name */
    char *socket;               /* of its monitor */
    int fd;
    int watch;
} Watched;

static void watched_free(gpointer opaque)
{
    Watched *watched = opaque;

    if (watched->watch >= 0) {
        virEventRemoveHandle(watched->watch);
    }
    if (watched->fd >= 0) {
        close(watched->fd);
    }
    g_free(watched->domain);
    g_free(watched->socket);
    g_free(watched);
}

static void on_end(int watch, int fd, int events, void *opaque)
{
    Watched *watched = opaque;
    ColoHostEvent *event = colo_libvirt_post(watched->host, COLO_EVENT_ENDED,
                                             watched->domain);

    event->is_crash = g_file_test(watched->socket, G_FILE_TEST_EXISTS);
    g_hash_table_remove(colo_libvirt(watched->host)->processes,
                        watched->domain);
}

static bool open_process(Watched *watched, GError **error)
{
    virConnectPtr connection = colo_libvirt(watched->host)->connection;
    g_autofree char *uri = colo_libvirt_own(virConnectGetURI(connection));
    g_autofree char *pids = uri ? colo_process_directory(uri) : NULL;
    g_autofree char *monitor = colo_live_directory(watched->host,
                                                   watched->domain);
    g_auto(ColoDomainRef) found = NULL;
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (!pids || !monitor) {
        colo_error_set(error, COLO_EXIT_FAILED,
                       "It does not run on this machine");
        return false;
    }
    found = colo_libvirt_find(watched->host, watched->domain, error);
    if (!found || virDomainGetUUIDString(found, uuid) < 0) {
        return false;
    }
    watched->socket = g_build_filename(monitor, "monitor.sock", NULL);
    watched->fd = colo_process_open(pids, watched->domain, uuid, error);
    return watched->fd >= 0;
}

bool colo_libvirt_watch_process(ColoHost *host, const char *domain,
                                GError **error)
{
    ColoLibvirt *libvirt = colo_libvirt(host);
    Watched *watched;

    if (!libvirt->processes) {
        libvirt->processes = g_hash_table_new_full(g_str_hash, g_str_equal,
                                                   NULL, watched_free);
    }
    if (g_hash_table_contains(libvirt->processes, domain)) {
        return true;
    }
    watched = g_new0(Watched, 1);
    watched->host = host;
    watched->domain = g_strdup(domain);
    watched->fd = -1;
    watched->watch = -1;
    if (!open_process(watched, error)) {
        watched_free(watched);
        return false;
    }
    watched->watch = virEventAddHandle(watched->fd, VIR_EVENT_HANDLE_READABLE,
                                       on_end, watched, NULL);
    if (watched->watch < 0) {
        watched_free(watched);
        return colo_libvirt_failed(error);
    }
    g_hash_table_insert(libvirt->processes, watched->domain, watched);
    return true;
}
