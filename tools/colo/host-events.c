/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens on hosts, one thing at a time.
 *
 * libvirt calls back from its event loop, where no call to libvirt may be
 * made. So the callbacks only put what happened into a queue, which belongs
 * to the one thread that runs the loop, and colo_libvirt_wait() hands it out.
 */
#include <unistd.h>
#include <libvirt/libvirt-qemu.h>
#include "host-libvirt.h"

static GQueue queue = G_QUEUE_INIT;     /* ColoHostEvent */
static int timer = -1;
static bool is_expired;
static bool is_cancelled;

static void expire(int id, void *opaque)
{
    is_expired = true;
    virEventUpdateTimeout(id, -1);
}

static void cancel(int watch, int fd, int events, void *opaque)
{
    char bytes[16];

    /* How often it was asked does not matter. */
    is_cancelled = read(fd, bytes, sizeof(bytes)) > 0;
}

void colo_host_setup(int cancel_fd)
{
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0) {
        g_error("libvirt cannot be initialized: %s",
                virGetLastErrorMessage());
    }
    timer = virEventAddTimeout(-1, expire, NULL, NULL);
    if (cancel_fd >= 0) {
        virEventAddHandle(cancel_fd, VIR_EVENT_HANDLE_READABLE, cancel, NULL,
                          NULL);
    }
}

ColoHostEvent *colo_libvirt_post(ColoHost *host, ColoEventKind kind,
                                 const char *domain)
{
    ColoHostEvent *event = g_new0(ColoHostEvent, 1);

    event->host = host;
    event->kind = kind;
    event->domain = g_strdup(domain);
    g_queue_push_tail(&queue, event);
    return event;
}

static ColoHostEvent *post(ColoHost *host, ColoEventKind kind,
                           virDomainPtr domain)
{
    return colo_libvirt_post(host, kind,
                             domain ? virDomainGetName(domain) : NULL);
}

static void on_monitor(virConnectPtr connection, virDomainPtr domain,
                       const char *name, long long seconds, unsigned micros,
                       const char *details, void *opaque)
{
    ColoHostEvent *event = post(opaque, COLO_EVENT_MONITOR, domain);

    event->name = g_strdup(name);
    event->data = details ? colo_json_parse(details, NULL) : NULL;
}

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain,
                        int what, int detail, void *opaque)
{
    ColoHostEvent *event;

    switch (what) {
    case VIR_DOMAIN_EVENT_STARTED:
        post(opaque, COLO_EVENT_STARTED, domain);
        break;
    case VIR_DOMAIN_EVENT_STOPPED:
        event = post(opaque, COLO_EVENT_STOPPED, domain);
        event->is_crash = detail == VIR_DOMAIN_EVENT_STOPPED_FAILED ||
                          detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED;
        break;
    default:
        post(opaque, COLO_EVENT_OTHER, domain);
    }
    return 0;
}

static void on_close(virConnectPtr connection, int reason, void *opaque)
{
    post(opaque, COLO_EVENT_CLOSED, NULL);
}

bool colo_libvirt_watch(ColoHost *host, GError **error)
{
    ColoLibvirt *libvirt = colo_libvirt(host);

    if (libvirt->is_watched) {
        return true;
    }
    libvirt->monitor_watch = virConnectDomainQemuMonitorEventRegister(
        libvirt->connection, NULL, NULL, on_monitor, host, NULL, 0);
    /* One prototype for events of every kind; libvirt casts it back. */
    libvirt->lifecycle_watch = virConnectDomainEventRegisterAny(
        libvirt->connection, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
        VIR_DOMAIN_EVENT_CALLBACK(G_CALLBACK(on_lifecycle)), host, NULL);
    if (libvirt->monitor_watch < 0 || libvirt->lifecycle_watch < 0) {
        return colo_libvirt_failed(error);
    }
    /* Some connections know neither; they are noticed at the next call. */
    virConnectRegisterCloseCallback(libvirt->connection, on_close, host,
                                    NULL);
    virConnectSetKeepAlive(libvirt->connection, 1, 3);
    libvirt->is_watched = true;
    return true;
}

static void forget(ColoHost *host)
{
    GList *at = queue.head;

    while (at) {
        GList *next = at->next;
        ColoHostEvent *event = at->data;

        if (event->host == host) {
            colo_host_event_free(event);
            g_queue_delete_link(&queue, at);
        }
        at = next;
    }
}

void colo_libvirt_unwatch(ColoLibvirt *libvirt)
{
    if (libvirt->monitor_watch >= 0) {
        virConnectDomainQemuMonitorEventDeregister(libvirt->connection,
                                                   libvirt->monitor_watch);
    }
    if (libvirt->lifecycle_watch >= 0) {
        virConnectDomainEventDeregisterAny(libvirt->connection,
                                           libvirt->lifecycle_watch);
    }
    if (libvirt->is_watched) {
        virConnectUnregisterCloseCallback(libvirt->connection, on_close);
    }
    g_clear_pointer(&libvirt->processes, g_hash_table_unref);
    forget(&libvirt->host);
}

/* Until there are more events than @count, or the time is over. */
static void run_until(unsigned count, unsigned timeout_ms)
{
    is_expired = false;
    is_cancelled = false;
    virEventUpdateTimeout(timer, timeout_ms);
    while (queue.length <= count && !is_expired && !is_cancelled) {
        if (virEventRunDefaultImpl() < 0) {
            break;
        }
    }
    virEventUpdateTimeout(timer, -1);
}

ColoHostEvent *colo_libvirt_wait(ColoHost *host, unsigned timeout_ms)
{
    run_until(0, timeout_ms);
    return g_queue_pop_head(&queue);
}

void colo_libvirt_pause(ColoHost *host, unsigned timeout_ms)
{
    run_until(queue.length, timeout_ms);
}
