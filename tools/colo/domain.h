/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What COLO has to know of a libvirt domain, read from its XML.
 *
 * Strings that the XML does not have are NULL. Names: a disk is known by its
 * target (`vda`), which is the same on both hosts; libvirt's aliases name the
 * devices in QEMU, and may differ between the two.
 */
#ifndef COLO_TOOL_DOMAIN_H
#define COLO_TOOL_DOMAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

typedef struct ColoDisk {
    char *target;
    char *alias;
    char *device;           /* disk, cdrom, floppy, lun */
    char *type;             /* file, block, network, volume, ... */
    char *source;           /* path or name; NULL: no medium */
    char *format;           /* raw, qcow2, ... */
    char *bus;
    bool is_readonly;
} ColoDisk;

typedef struct ColoNic {
    char *alias;
    char *mac;
    char *type;             /* bridge, network, ethernet, ... */
    char *source;           /* name of bridge, network or device */
    char *target;           /* name of the tap */
    char *model;
    char *driver;           /* vhost, qemu; NULL: libvirt chooses */
    unsigned queue_count;   /* 1 unless said otherwise */
} ColoNic;

/* A file that is read, not written, and has to be on both hosts. */
typedef struct ColoFile {
    const char *what;       /* kernel, ... */
    char *path;
} ColoFile;

/* Something in the XML that cannot be protected, by name. */
typedef struct ColoObstacle {
    char *what;
    char *why;
    char *remedy;
} ColoObstacle;

typedef struct ColoDomain {
    char *name;
    char *uuid;
    char *type;             /* kvm, qemu */
    char *emulator;
    char *machine;
    char *arch;
    char *cpu;              /* its <cpu> element as text */
    char *cpu_mode;
    uint64_t memory_kib;
    unsigned vcpu_count;
    unsigned iothread_count;
    GPtrArray *disks;       /* ColoDisk */
    GPtrArray *nics;        /* ColoNic */
    GPtrArray *files;       /* ColoFile */
    GPtrArray *obstacles;   /* ColoObstacle */
} ColoDomain;

ColoDomain *colo_domain_parse(const char *xml, GError **error);
void colo_domain_free(ColoDomain *domain);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoDomain, colo_domain_free)

/* NULL if there is none. */
const ColoDisk *colo_domain_disk(const ColoDomain *domain,
                                 const char *target);
const ColoNic *colo_domain_nic(const ColoDomain *domain, const char *mac);

/* What its guest writes has to reach the other host. */
bool colo_disk_is_written(const ColoDisk *disk);

#endif
