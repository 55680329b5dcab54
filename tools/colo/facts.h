/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of a domain and both hosts before it is protected.
 */
#ifndef COLO_TOOL_FACTS_H
#define COLO_TOOL_FACTS_H

#include "domain.h"
#include "host.h"
#include "maps.h"

/* What one QEMU is. */
typedef struct ColoQemu {
    char *version;          /* number and package; NULL: not asked */
    char *machine;          /* its full name */
    bool has_colo;          /* ours, and new enough */
} ColoQemu;

void colo_qemu_clear(ColoQemu *qemu);

typedef struct ColoDiskFact {
    char *target;
    char *node;             /* NULL: @problem says why */
    char *problem;
    uint64_t size_bytes;
    char *path_there;
    bool is_shared;
    ColoVolume there;       /* what is at @path_there */
    bool is_there_known;    /* its storage could be asked */
    char *there_problem;
} ColoDiskFact;

typedef struct ColoNicFact {
    char *name;             /* MAC */
    char *netdev;
    bool has_vhost;         /* its frames do not pass QEMU now */
} ColoNicFact;

/* A file that the domain reads, and that is missing on the other host. */
typedef struct ColoFileFact {
    char *name;             /* "kernel /boot/vmlinuz" */
    char *problem;          /* NULL: it is there */
} ColoFileFact;

typedef struct ColoFacts {
    ColoDomain *domain;
    ColoDomStatus here;
    ColoDomStatus there;
    ColoHostInfo from;
    ColoHostInfo to;
    ColoQemu qemu_here;
    ColoQemu qemu_there;    /* .version NULL: no QEMU was started there */
    char *probe_problem;    /* why none could be */
    ColoPair *pair;         /* of the domain here */
    char *phase;            /* of COLO here; NULL if QEMU has none */
    char *migration;        /* query-migrate's status */
    unsigned job_count;     /* block jobs under way */
    ColoCpuFit cpu_fit;
    uint64_t memory_bytes;  /* that the secondary will need */
    GPtrArray *disks;       /* ColoDiskFact */
    GPtrArray *nics;        /* ColoNicFact */
    GPtrArray *files;       /* ColoFileFact */
} ColoFacts;

ColoFacts *colo_facts_new(void);
void colo_facts_free(ColoFacts *facts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoFacts, colo_facts_free)

/*
 * Asks both hosts. @domain: name or UUID. Only what makes every other
 * question pointless is an error; the rest is left to the checks.
 */
ColoFacts *colo_facts_gather(ColoHost *from, ColoHost *to,
                             const char *domain, const ColoMap *disks,
                             GError **error);

/* What the QEMU of a running domain is. */
bool colo_facts_qemu(ColoHost *host, const char *domain, ColoQemu *qemu,
                     GError **error);

#endif
