/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What undoing has to spare: the guest, if it went on at the secondary's
 * host, or could, and the disks that it has there.
 *
 * What cannot be told is taken for the worse.
 */
#ifndef COLO_TOOL_UNDO_SPARE_H
#define COLO_TOOL_UNDO_SPARE_H

#include "undo-run.h"

/* False and an error if it cannot be told. */
bool colo_spare_find(ColoHost *host, const char *domain, bool *is_running,
                     GError **error);

/* What runs at the secondary's host is no more than a secondary. */
bool colo_spare_secondary(const ColoScene *scene, GError **error);

/* Nothing runs at the secondary's host, and what is off is no survivor. */
bool colo_spare_survivor(const ColoScene *scene, GError **error);

/* The image there, which is of the pair, is not the guest's latest disk. */
bool colo_spare_image(const ColoScene *scene, GError **error);

/*
 * The primary's domain may be what it was before the pair. @is_stale: its
 * guest went on elsewhere, and nothing is to be done.
 */
bool colo_spare_primary(const ColoScene *scene, bool *is_stale,
                        GError **error);

/*
 * The guest has gone on over there in this very session, and the primary has
 * been told: that takeover has tidied up, and nothing is left to undo. Not for
 * a journal that does not name its session.
 */
bool colo_spare_is_over(const ColoScene *scene, bool *is_over,
                        GError **error);

#endif
