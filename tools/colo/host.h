/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host as the commands see it: a libvirt connection, or in tests a model.
 *
 * Domains are named by name or UUID. Each function that can fail sets an
 * error whose text is libvirt's or QEMU's own. What blocks, blocks: a QEMU
 * that does not answer holds up the call that asked it.
 *
 * One thread uses a host at a time.
 */
#ifndef COLO_TOOL_HOST_H
#define COLO_TOOL_HOST_H

#include "commands.h"
#include "json.h"
#include "pair.h"

typedef struct ColoHost ColoHost;

typedef enum ColoDomState {
    COLO_DOM_ABSENT,        /* libvirt does not know it */
    COLO_DOM_OFF,           /* known, not running */
    COLO_DOM_RUNNING,
    COLO_DOM_PAUSED,
} ColoDomState;

typedef enum ColoXmlKind {
    COLO_XML_LIVE,          /* as it runs */
    COLO_XML_MIGRATABLE,    /* as it runs, for another host */
    COLO_XML_PUBLIC,        /* as it runs, without passwords */
} ColoXmlKind;

typedef struct ColoDomStatus {
    ColoDomState state;
    bool is_persistent;
    bool is_autostarted;
    bool is_crashed;        /* OFF, and nobody asked for it */
    char uuid[37];
    char *name;
} ColoDomStatus;

void colo_dom_status_clear(ColoDomStatus *status);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ColoDomStatus, colo_dom_status_clear)

typedef struct ColoHostInfo {
    char *uri;              /* as libvirt tells it */
    char *name;             /* host name */
    char *version;          /* of libvirt */
    uint64_t free_bytes;    /* memory */
    char *cpu;              /* <cpu> of the host as text */
    bool has_storage;       /* its libvirt can look at disk images */
} ColoHostInfo;

void colo_host_info_clear(ColoHostInfo *info);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ColoHostInfo, colo_host_info_clear)

typedef struct ColoVolume {
    bool is_there;
    uint64_t size_bytes;    /* as the guest sees it */
    char *format;
} ColoVolume;

void colo_volume_clear(ColoVolume *volume);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ColoVolume, colo_volume_clear)

typedef enum ColoCpuFit {
    COLO_CPU_FITS,
    COLO_CPU_DIFFERS,
    COLO_CPU_UNKNOWN,       /* libvirt cannot tell there */
} ColoCpuFit;

typedef enum ColoEventKind {
    COLO_EVENT_MONITOR,     /* @name is QEMU's, @data what it carries */
    COLO_EVENT_STARTED,
    COLO_EVENT_STOPPED,     /* the process is gone, says libvirt; @is_crash */
    COLO_EVENT_ENDED,       /* a watched process has ended; @is_crash: it did
                             * not clear up behind itself */
    COLO_EVENT_OTHER,       /* something else of its life */
    COLO_EVENT_CLOSED,      /* the connection to the host is gone */
} ColoEventKind;

typedef struct ColoHostEvent {
    ColoHost *host;
    ColoEventKind kind;
    char *domain;           /* name; NULL for COLO_EVENT_CLOSED */
    char *name;
    JsonNode *data;
    bool is_crash;
} ColoHostEvent;

void colo_host_event_free(ColoHostEvent *event);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoHostEvent, colo_host_event_free)

typedef struct ColoHostOps {
    void (*free)(ColoHost *host);
    bool (*info)(ColoHost *host, ColoHostInfo *info, GError **error);
    char *(*name)(ColoHost *host);
    bool (*find)(ColoHost *host, const char *domain, ColoDomStatus *status,
                 GError **error);
    bool (*definition)(ColoHost *host, const char *domain,
                       ColoDomStatus *status, GError **error);
    char *(*xml)(ColoHost *host, const char *domain, ColoXmlKind kind,
                 GError **error);
    JsonNode *(*monitor)(ColoHost *host, const char *domain,
                         JsonNode *command, GError **error);
    bool (*create_paused)(ColoHost *host, const char *xml, GError **error);
    bool (*destroy)(ColoHost *host, const char *domain, GError **error);
    bool (*resume)(ColoHost *host, const char *domain, GError **error);
    bool (*define)(ColoHost *host, const char *xml, GError **error);
    bool (*set_autostart)(ColoHost *host, const char *domain, bool on,
                          GError **error);
    char *(*metadata)(ColoHost *host, const char *domain, GError **error);
    bool (*set_metadata)(ColoHost *host, const char *domain, const char *xml,
                         GError **error);
    GPtrArray *(*domains)(ColoHost *host, GError **error);
    bool (*volume)(ColoHost *host, const char *path, ColoVolume *volume,
                   GError **error);
    bool (*volume_create)(ColoHost *host, const char *path,
                          const char *format, uint64_t size_bytes,
                          GError **error);
    bool (*volume_delete)(ColoHost *host, const char *path, GError **error);
    bool (*cpu_fits)(ColoHost *host, const char *emulator, const char *arch,
                     const char *machine, const char *type, const char *cpu,
                     ColoCpuFit *fit, GError **error);
    bool (*watch)(ColoHost *host, GError **error);
    bool (*watch_process)(ColoHost *host, const char *domain, GError **error);
    ColoHostEvent *(*wait)(ColoHost *host, unsigned timeout_ms);
    void (*pause)(ColoHost *host, unsigned timeout_ms);
} ColoHostOps;

struct ColoHost {
    const ColoHostOps *ops;
};

void colo_host_free(ColoHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoHost, colo_host_free)

bool colo_host_info(ColoHost *host, ColoHostInfo *info, GError **error);

/* Its name alone, which is quicker; NULL if it does not tell. */
char *colo_host_name(ColoHost *host);

/* A domain that is not there is no error, but COLO_DOM_ABSENT. */
bool colo_host_status(ColoHost *host, const char *domain,
                      ColoDomStatus *status, GError **error);
/* The same without what is about its definition, which is quicker. */
bool colo_host_find(ColoHost *host, const char *domain, ColoDomStatus *status,
                    GError **error);
/*
 * Shorthand for who only wants to know whether it was seen to run:
 * COLO_DOM_ABSENT also if it cannot be told.
 */
ColoDomState colo_host_state(ColoHost *host, const char *domain);

char *colo_host_xml(ColoHost *host, const char *domain, ColoXmlKind kind,
                    GError **error);

/* Takes @command over. What QEMU returned, or NULL with QEMU's error. */
JsonNode *colo_host_monitor(ColoHost *host, const char *domain,
                            JsonNode *command, GError **error);
/* The same where nothing but success is of interest. */
bool colo_host_run(ColoHost *host, const char *domain, JsonNode *command,
                   GError **error);

bool colo_host_create_paused(ColoHost *host, const char *xml, GError **error);
/* A domain that does not run is no error. */
bool colo_host_destroy(ColoHost *host, const char *domain, GError **error);
bool colo_host_resume(ColoHost *host, const char *domain, GError **error);
bool colo_host_define(ColoHost *host, const char *xml, GError **error);
bool colo_host_set_autostart(ColoHost *host, const char *domain, bool on,
                             GError **error);

/* What the domain remembers; NULL without an error if that is nothing. */
ColoPair *colo_host_pair(ColoHost *host, const char *domain, GError **error);
/* NULL: forget. Of the running domain, and of its definition if it has one. */
bool colo_host_set_pair(ColoHost *host, const char *domain,
                        const ColoPair *pair, GError **error);

/* Names of all domains: char *. */
GPtrArray *colo_host_domains(ColoHost *host, GError **error);

bool colo_host_volume(ColoHost *host, const char *path, ColoVolume *volume,
                      GError **error);
bool colo_host_volume_create(ColoHost *host, const char *path,
                             const char *format, uint64_t size_bytes,
                             GError **error);
/* A volume that is not there is no error. */
bool colo_host_volume_delete(ColoHost *host, const char *path,
                             GError **error);

bool colo_host_cpu_fits(ColoHost *host, const char *emulator,
                        const char *arch, const char *machine,
                        const char *type, const char *cpu, ColoCpuFit *fit,
                        GError **error);

/* From now on colo_host_wait() tells what happens on this host. */
bool colo_host_watch(ColoHost *host, GError **error);
/*
 * COLO_EVENT_ENDED tells as soon as this running domain's process ends, which
 * is sooner than libvirt does. Only where the domain runs on this machine;
 * once for each process, also if it is asked for again. @domain: its name.
 */
bool colo_host_watch_process(ColoHost *host, const char *domain,
                             GError **error);
/*
 * The next thing that happened on any host that is watched, or NULL after
 * @timeout_ms or when the user wants to end.
 */
ColoHostEvent *colo_host_wait(ColoHost *host, unsigned timeout_ms);
/*
 * Until something more happens, or as long; what it was is left for
 * colo_host_wait(). For who waits for one thing in the midst of others.
 */
void colo_host_pause(ColoHost *host, unsigned timeout_ms);

#endif
