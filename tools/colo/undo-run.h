/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Carries out what a command has to take back.
 */
#ifndef COLO_TOOL_UNDO_RUN_H
#define COLO_TOOL_UNDO_RUN_H

#include "host.h"
#include "undo.h"

/* The two hosts of a command, and the domain on both. */
typedef struct ColoScene {
    ColoHost *from;         /* of the primary */
    ColoHost *to;           /* of the secondary; NULL: cannot be reached */
    const char *domain;     /* UUID */
    const char *session;    /* of the pair; NULL: unknown */
} ColoScene;

/* True also if there was nothing to do. */
bool colo_undo_run(const ColoScene *scene, const ColoUndo *undo,
                   GError **error);

/*
 * All of them, the last first; goes on after a failure. False if any failed:
 * then @error has them all.
 */
bool colo_undo_run_all(const ColoScene *scene, GPtrArray *undos,
                       GError **error);

/*
 * Ends lockstep and migration so that the primary's guest goes on alone. The
 * secondary is destroyed if it is more than waiting: the primary never lets
 * go what it holds while the secondary might run on.
 */
bool colo_end_protection(const ColoScene *scene, GError **error);

#endif
