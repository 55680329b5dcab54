/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host through libvirt: what its files share. Commands use host.h and
 * colo_host_open() only.
 */
#ifndef COLO_TOOL_HOST_LIBVIRT_H
#define COLO_TOOL_HOST_LIBVIRT_H

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include "error.h"
#include "host.h"

typedef struct ColoLibvirt {
    ColoHost host;
    virConnectPtr connection;
    virDomainPtr last;          /* looked for; NULL: none */
    char last_uuid[VIR_UUID_STRING_BUFLEN];
    bool is_watched;
    int monitor_watch;          /* -1: none */
    int lifecycle_watch;        /* -1: none */
    GHashTable *processes;      /* those that are watched; NULL: none yet */
} ColoLibvirt;

/* NULL: libvirt's default connection. */
ColoHost *colo_host_open(const char *uri, GError **error);

/*
 * Once, before the first host is opened. @cancel_fd: when there is something
 * to be read, colo_host_wait() returns; -1 for none.
 */
void colo_host_setup(int cancel_fd);

typedef virDomainPtr ColoDomainRef;
typedef virStoragePoolPtr ColoPoolRef;
typedef virStorageVolPtr ColoVolumeRef;

void colo_libvirt_free_domain(ColoDomainRef domain);
void colo_libvirt_free_pool(ColoPoolRef pool);
void colo_libvirt_free_volume(ColoVolumeRef volume);

G_DEFINE_AUTO_CLEANUP_FREE_FUNC(ColoDomainRef, colo_libvirt_free_domain, NULL)
G_DEFINE_AUTO_CLEANUP_FREE_FUNC(ColoPoolRef, colo_libvirt_free_pool, NULL)
G_DEFINE_AUTO_CLEANUP_FREE_FUNC(ColoVolumeRef, colo_libvirt_free_volume, NULL)

static inline ColoLibvirt *colo_libvirt(ColoHost *host)
{
    return (ColoLibvirt *)host;
}

/* What libvirt said last, as an error; returns false. */
bool colo_libvirt_failed(GError **error);

/* NULL and COLO_EXIT_NO_DOMAIN if there is none of that name or UUID. */
virDomainPtr colo_libvirt_find(ColoHost *host, const char *domain,
                               GError **error);

/* What libvirt has allocated, as GLib's. */
char *colo_libvirt_own(char *string);

/* host-volume.c */
bool colo_libvirt_volume(ColoHost *host, const char *path,
                         ColoVolume *volume, GError **error);
bool colo_libvirt_volume_create(ColoHost *host, const char *path,
                                const char *format, uint64_t size_bytes,
                                GError **error);
bool colo_libvirt_volume_delete(ColoHost *host, const char *path,
                                GError **error);

/* host-events.c */
bool colo_libvirt_watch(ColoHost *host, GError **error);
void colo_libvirt_unwatch(ColoLibvirt *libvirt);
ColoHostEvent *colo_libvirt_wait(ColoHost *host, unsigned timeout_ms);
void colo_libvirt_pause(ColoHost *host, unsigned timeout_ms);
/* For callbacks: something happened; the caller fills in more. */
ColoHostEvent *colo_libvirt_post(ColoHost *host, ColoEventKind kind,
                                 const char *domain);

/* host-process.c */
bool colo_libvirt_watch_process(ColoHost *host, const char *domain,
                                GError **error);

#endif
