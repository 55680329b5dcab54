/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a command of `colo` ends.
 *
 * An error is a GError whose code is the exit status and whose message has
 * one line for each level, the outermost first: what failed, then why. They
 * are printed as `error: what` and `error: why`.
 */
#ifndef COLO_TOOL_ERROR_H
#define COLO_TOOL_ERROR_H

#include <glib.h>

/* Exit statuses; documented in colo(1), so their numbers stay. */
typedef enum ColoExit {
    COLO_EXIT_DONE = 0,
    COLO_EXIT_FAILED = 1,        /* and undone */
    COLO_EXIT_USAGE = 2,
    COLO_EXIT_CONNECT = 3,       /* libvirt cannot be reached */
    COLO_EXIT_NO_DOMAIN = 4,
    COLO_EXIT_CHECK = 5,         /* a pre-flight check failed */
    COLO_EXIT_UNSAFE = 6,        /* refused: two guests might run */
    COLO_EXIT_HALF_DONE = 7,     /* something is left for `colo repair` */
    COLO_EXIT_INTERRUPTED = 8,   /* and undone */
} ColoExit;

#define COLO_ERROR (colo_error_quark())
GQuark colo_error_quark(void);

/* Sets why; the caller that knows what it was doing adds that. */
void colo_error_set(GError **error, ColoExit code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Puts what failed above the error; keeps its code. No error: nothing. */
void colo_error_what(GError **error, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/* Exit status of an error, COLO_EXIT_DONE for none. */
ColoExit colo_error_exit(const GError *error);

/* Each line with `error: ` before it. Caller frees. */
char *colo_error_text(const GError *error);

#endif
