/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pre-flight checks: can this domain be protected there, and if not, why not
 * and what helps?
 *
 * Pure: facts that were gathered go in, a list of findings comes out.
 */
#ifndef COLO_TOOL_CHECKS_H
#define COLO_TOOL_CHECKS_H

#include "facts.h"

typedef enum ColoFinding {
    COLO_FINDING_OK,
    COLO_FINDING_NOTE,      /* not forbidden; worth to know */
    COLO_FINDING_FAILED,
} ColoFinding;

typedef struct ColoCheck {
    ColoFinding finding;
    char *name;             /* what was looked at: "processor", "disk vda" */
    char *detail;           /* what was found */
    char *remedy;           /* NULL unless failed */
} ColoCheck;

/* Array of ColoCheck. */
GPtrArray *colo_checks_new(void);
void colo_checks_add(GPtrArray *checks, ColoFinding finding,
                     const char *name, const char *detail,
                     const char *remedy);
bool colo_checks_passed(GPtrArray *checks);

/* What can be told before anything is started there. */
void colo_checks_static(GPtrArray *checks, const ColoFacts *facts);
/* What only a QEMU there can tell. */
void colo_checks_qemu(GPtrArray *checks, const ColoFacts *facts);

/* For people, one or two lines for each; @all: also those that are fine. */
char *colo_checks_text(GPtrArray *checks, bool all);
JsonNode *colo_checks_json(GPtrArray *checks);

#endif
