/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process of a domain on this machine, and seeing it end.
 */
#ifndef COLO_TOOL_PROCESS_H
#define COLO_TOOL_PROCESS_H

#include <glib.h>

/*
 * The directory in which the libvirt of this URI keeps the files that name
 * the processes of its domains. NULL if it runs on another machine, or if
 * that is not certain. Caller frees.
 */
char *colo_process_directory(const char *uri);

/*
 * A file descriptor which is ready to be read as soon as the process of that
 * domain has ended. -1 and an error if there is no such process, or if it
 * cannot be told that it is the one.
 */
int colo_process_open(const char *directory, const char *name,
                      const char *uuid, GError **error);

#endif
