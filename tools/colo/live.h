/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Questions to a running domain's QEMU, and waiting for its answers to
 * change.
 */
#ifndef COLO_TOOL_LIVE_H
#define COLO_TOOL_LIVE_H

#include "domain.h"
#include "host.h"
#include "report.h"

/* Bits of ColoPhase. */
#define COLO_PHASE_BIT(phase) (1u << (phase))

/*
 * NULL and an error if QEMU does not answer or knows nothing of COLO. @raw,
 * if wanted, gets what it returned.
 */
ColoReport *colo_live_report(ColoHost *host, const char *domain,
                             JsonNode **raw, GError **error);

/*
 * Waits until the state is one of @phases. False after @limit_ms, or if the
 * domain ends.
 */
bool colo_live_wait_phase(ColoHost *host, const char *domain,
                          unsigned phases, unsigned limit_ms,
                          GError **error);

/*
 * A side that says that it is alone still lets go of what it used: NICs,
 * disks and the migration. True when that is over.
 */
bool colo_live_is_released(ColoHost *host, const char *domain);
/* Waits for it. False after @limit_ms, or if the domain ends. */
bool colo_live_wait_released(ColoHost *host, const char *domain,
                             unsigned limit_ms, GError **error);

/* query-migrate's status; "none" if there was no migration. Caller frees. */
char *colo_live_migration(ColoHost *host, const char *domain,
                          GError **error);
bool colo_migration_is_active(const char *status);

/*
 * Is there a block node of that name? If that cannot be told, there may be:
 * what then fails is its removal, and is reported.
 */
bool colo_live_has_node(ColoHost *host, const char *domain,
                        const char *node);

/*
 * The block node that the guest's device uses for a disk with this alias.
 * Caller frees. NULL and an error if there is none.
 */
char *colo_live_disk_node(ColoHost *host, const char *domain,
                          const ColoDisk *disk, uint64_t *size_bytes,
                          GError **error);

/*
 * A directory in which this QEMU may make files, whatever confines it: the
 * one of its monitor. NULL if that is not known. Caller frees.
 */
char *colo_live_directory(ColoHost *host, const char *domain);

/* Its domain from libvirt's XML as it runs. */
ColoDomain *colo_live_domain(ColoHost *host, const char *domain,
                             GError **error);

/* Milliseconds of a clock that only goes forward; a model's in tests. */
extern int64_t (*colo_now_ms)(void);

#endif
