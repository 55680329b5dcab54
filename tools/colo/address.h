/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From libvirt URIs to where the other host is.
 */
#ifndef COLO_TOOL_ADDRESS_H
#define COLO_TOOL_ADDRESS_H

#include <stdbool.h>
#include <glib.h>

/*
 * Host that a URI names, without brackets around an IPv6 address. NULL if it
 * names none, which means this host. Caller frees.
 */
char *colo_address_of_uri(const char *uri);

/*
 * How the host @to gets back to @from. A URI that says how to reach its host
 * is good anywhere; a plain local one is made into one of the kind of @to,
 * with @from_host, the name that the host gives itself. Caller frees.
 */
char *colo_address_back(const char *from, const char *from_host,
                        const char *to);

/*
 * What a user types here to run @command on the host to which that URI leads:
 * through ssh if libvirt is reached so, else it is to be run there. @name: the
 * host's name, NULL: unknown. Caller frees.
 */
char *colo_address_shell(const char *uri, const char *name,
                         const char *command);

#endif
