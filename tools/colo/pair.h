/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a domain remembers of its protection: an element in its <metadata>.
 *
 * It says what the user wants (the intent), which part this domain plays,
 * where its peer is, and the names of what was put into QEMU, so that any
 * later command can end the protection, from either host and without what the
 * first command knew. It stays after a failover, because the wish to be
 * protected does; `colo unprotect` removes it.
 */
#ifndef COLO_TOOL_PAIR_H
#define COLO_TOOL_PAIR_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

typedef enum ColoRole {
    COLO_ROLE_NONE,
    COLO_ROLE_PRIMARY,
    COLO_ROLE_SECONDARY,
    COLO_ROLE_SURVIVOR,     /* went on alone */
    COLO_ROLE_STALE,        /* its disks are those of before a failover */
} ColoRole;

/* One replicated disk. */
typedef struct ColoPairDisk {
    char *target;           /* vda */
    char *base;             /* node below, on this side */
    bool is_shared;         /* both sides have the same image */
} ColoPairDisk;

typedef struct ColoPair {
    ColoRole role;
    char *session;          /* the same text on both sides */
    char *peer;             /* URI of the other host, as this side uses it */
    char *since;            /* ISO 8601, UTC */
    bool is_persistent;     /* the domain was defined, not only running */
    bool is_autostarted;    /* ... and libvirtd started it by itself */
    uint16_t migrate_port;  /* listens on the secondary */
    uint16_t disk_port;     /* listens on the secondary */
    uint16_t net_port;      /* first of those that listen on the primary */
    unsigned nic_count;
    char *parameters;       /* of QEMU from before, as JSON; NULL: unknown */
    GPtrArray *disks;       /* ColoPairDisk */
} ColoPair;

ColoPair *colo_pair_new(ColoRole role);
ColoPair *colo_pair_copy(const ColoPair *pair);
void colo_pair_free(ColoPair *pair);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoPair, colo_pair_free)

void colo_pair_add_disk(ColoPair *pair, const char *target, const char *base,
                        bool is_shared);

/* As libvirt takes it for its <metadata>. Caller frees. */
char *colo_pair_to_xml(const ColoPair *pair);
/* NULL and an error if it is not what colo_pair_to_xml() made. */
ColoPair *colo_pair_parse(const char *xml, GError **error);

const char *colo_role_name(ColoRole role);
/* COLO_ROLE_NONE if there is no role of that name. */
ColoRole colo_role_parse(const char *name);

/* Prefix under which libvirt shows the element. */
#define COLO_PAIR_KEY "colo"

#endif
