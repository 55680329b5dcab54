/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ctrl-C and SIGTERM: the command stops between two steps and undoes what it
 * did. While it undoes, they are taken note of and nothing else.
 */
#ifndef COLO_TOOL_CANCEL_H
#define COLO_TOOL_CANCEL_H

#include <stdbool.h>

/* Returns a descriptor that can be read when somebody wants to end. */
int colo_cancel_setup(void);

/* Has somebody asked? */
bool colo_cancel_asked(void);

#endif
