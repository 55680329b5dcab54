/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking at both sides of a domain, within a time limit.
 */
#ifndef COLO_TOOL_SIDE_H
#define COLO_TOOL_SIDE_H

#include "domain.h"
#include "verdict.h"

/* What of the running domain the protection does not cover; NULL: nothing. */
char *colo_side_change(const ColoDomain *domain, const ColoPair *pair);

/* Both sides of a domain and what they mean together. */
typedef struct ColoView {
    char *domain;           /* name */
    char *uuid;
    ColoSide here;
    ColoSide peer;
    ColoVerdict verdict;
} ColoView;

/*
 * Looks at the domain on the host at @uri (NULL: libvirt's default), and at
 * its peer where its metadata or @to (NULL: unknown) says that it is. Whoever
 * has not answered after @limit_ms does not count.
 * NULL and an error if the domain or the first host cannot be found.
 */
ColoView *colo_view_new(const char *uri, const char *to, const char *domain,
                        unsigned limit_ms, GError **error);
void colo_view_free(ColoView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ColoView, colo_view_free)

#endif
